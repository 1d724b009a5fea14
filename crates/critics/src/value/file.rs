//! A value network as one safetensors file.
//!
//! Tensors `layers.0.weight` [out, in], `layers.0.bias` [out], … in the type of the network, and
//! `shift`, `scale` [nx] and `value_scale` [] in f64. Metadata: `format`, `version`, `dtype`, `spec`
//! (JSON of [`ValueSpec`]), and `blake3`, the hash of all that, so that every changed bit is found.

use std::path::Path;

use super::{Scaling, ValueNetwork, ValueSpec};
use crate::checkpoint::read_limited;
use crate::{
    CheckpointError, CriticError, MlpSpec, Real, Tensors, content_hash, write_file_atomic,
};

/// Value of the metadata `format`.
const FORMAT: &str = "costate-value-network";
/// Value of the metadata `version`.
const VERSION: u64 = 1;
/// Largest file: all parameters a network may have, and a header.
const LIMIT: u64 = 8 * MlpSpec::MAX_PARAMS as u64 + (1 << 20);

impl<T: Real> ValueNetwork<T> {
    /// Writes the network to a file, which appears whole or not at all.
    ///
    /// The folder must exist; an old file of that name is replaced. [`ValueNetwork::load`] gives back
    /// the same bits.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]; [`CheckpointError::Format`] for parameters that are not finite, which
    /// no file should carry on.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let (params, scaling) = (self.net().params(), self.scaling());
        crate::error::check_finite("`params`", params)
            .map_err(|error| format_error(path, error))?;
        let spec = serde_json::to_string(self.spec()).map_err(|error| format_error(path, error))?;
        let mut tensors = Tensors::new();
        for (name, shape, range) in layers(self.net().spec()) {
            insert(&mut tensors, &name, &shape, &params[range])?;
        }
        tensors.insert_f64("shift", &[self.nx()], &scaling.shift)?;
        tensors.insert_f64("scale", &[self.nx()], &scaling.scale)?;
        tensors.insert_f64("value_scale", &[], &[scaling.value])?;
        tensors.insert_metadata("format", FORMAT);
        tensors.insert_metadata("version", &VERSION.to_string());
        tensors.insert_metadata("dtype", T::NAME);
        tensors.insert_metadata("spec", &spec);
        tensors.insert_metadata("blake3", &fingerprint(&spec, scaling, params));
        write_file_atomic(path, &tensors.to_bytes()?)
    }

    /// Reads a network that [`ValueNetwork::save`] has written.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`], [`CheckpointError::Io`] or [`CheckpointError::TooLarge`];
    /// [`CheckpointError::Version`] for a later format; [`CheckpointError::Format`] for a network of
    /// the other scalar type; [`CheckpointError::Format`], [`CheckpointError::MissingTensor`],
    /// [`CheckpointError::Shape`] or [`CheckpointError::Corrupt`] for anything that is not what was
    /// saved.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let tensors = Tensors::from_bytes(path, &read_limited(path, LIMIT)?)?;
        let metadata = |key: &'static str| {
            let missing = || format_error(path, format!("it has no metadata `{key}`"));
            tensors.metadata(key).ok_or_else(missing)
        };
        let format = metadata("format")?;
        if format != FORMAT {
            let reason = format!("its format is `{format}`, needed is `{FORMAT}`");
            return Err(format_error(path, reason));
        }
        let version = metadata("version")?;
        let found: u64 = version
            .parse()
            .map_err(|_| format_error(path, format!("its version `{version}` is no number")))?;
        if found != VERSION {
            return Err(CheckpointError::Version { path: path.to_owned(), found, needed: VERSION });
        }
        let dtype = metadata("dtype")?;
        if dtype != T::NAME {
            let reason = format!("its numbers are `{dtype}`, needed is `{}`", T::NAME);
            return Err(format_error(path, reason));
        }
        let text = metadata("spec")?;
        let spec: ValueSpec = serde_json::from_str(text)
            .map_err(|error| format_error(path, format!("its `spec`: {error}")))?;
        let mlp = spec.mlp();
        mlp.validate().map_err(|error| format_error(path, error))?;
        // Grows with what is really there: a forged size must not take memory.
        let mut params = Vec::new();
        for (name, shape, _) in layers(&mlp) {
            read(&tensors, &name, &shape, &mut params)?;
        }
        let [value] = tensors.f64_of_shape("value_scale", &[])?[..] else {
            return Err(format_error(path, "its `value_scale` is no single number"));
        };
        let scaling = Scaling {
            shift: tensors.f64_of_shape("shift", &[spec.nx])?,
            scale: tensors.f64_of_shape("scale", &[spec.nx])?,
            value,
        };
        let (found, stored) = (fingerprint(text, &scaling, &params), metadata("blake3")?);
        if found != stored {
            return Err(CheckpointError::Corrupt {
                path: path.to_owned(),
                reason: format!("the BLAKE3 hash of its content is {found}, it says `{stored}`"),
                hint: "it was changed after it was written; train or copy the network again",
            });
        }
        Self::new(spec, scaling, params).map_err(|error: CriticError| format_error(path, error))
    }
}

/// Name, shape and place in the flat vector of every tensor of a perceptron.
fn layers(
    spec: &MlpSpec,
) -> impl Iterator<Item = (String, Vec<usize>, std::ops::Range<usize>)> + '_ {
    (0..spec.n_layers()).flat_map(|layer| {
        let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
        [
            (format!("layers.{layer}.weight"), vec![n_out, n_in], spec.weight(layer)),
            (format!("layers.{layer}.bias"), vec![n_out], spec.bias(layer)),
        ]
    })
}

/// The hash of everything that makes the network.
fn fingerprint<T: Real>(spec: &str, scaling: &Scaling, params: &[T]) -> String {
    let mut bytes = Vec::with_capacity(8 * params.len() + spec.len() + 64);
    bytes.extend(T::NAME.as_bytes());
    bytes.extend(spec.as_bytes());
    let scaling = scaling.shift.iter().chain(&scaling.scale).chain([&scaling.value]);
    // An f32 goes into f64 and back without loss.
    let numbers = scaling.copied().chain(params.iter().map(|p| p.to_f64()));
    numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
    content_hash(&bytes)
}

fn insert<T: Real>(
    tensors: &mut Tensors,
    name: &str,
    shape: &[usize],
    values: &[T],
) -> Result<(), CheckpointError> {
    let values: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
    if T::NAME == f64::NAME {
        return tensors.insert_f64(name, shape, &values);
    }
    let values: Vec<f32> = values.into_iter().map(f32::from_f64).collect();
    tensors.insert_f32(name, shape, &values)
}

fn read<T: Real>(
    tensors: &Tensors,
    name: &str,
    shape: &[usize],
    to: &mut Vec<T>,
) -> Result<(), CheckpointError> {
    let values = if T::NAME == f64::NAME {
        tensors.f64_of_shape(name, shape)?
    } else {
        tensors.f32_of_shape(name, shape)?.into_iter().map(f64::from).collect()
    };
    to.extend(values.into_iter().map(T::from_f64));
    Ok(())
}

fn format_error(path: &Path, reason: impl std::fmt::Display) -> CheckpointError {
    CheckpointError::Format { path: path.to_owned(), reason: reason.to_string() }
}
