//! One file of named arrays, in the safetensors format.

use super::CheckpointError;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Greatest accepted header in bytes; ours have a few kilobytes.
const HEADER_LIMIT: usize = 16 << 20;

/// The key that the format reserves for text beside the tensors.
const METADATA_KEY: &str = "__metadata__";

/// Named arrays of `f32`, `f64` or `u64` with row-major shapes, and lines of text about them: the
/// content of one safetensors file.
///
/// Values keep all their bits: infinities, the sign of zero and the payload of a NaN included. The
/// same content gives the same bytes, whatever the order of insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensors {
    /// Where the content came from; errors name it.
    origin: PathBuf,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

/// One array as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The JSON text at the beginning of a file.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

/// What the header says of one tensor.
#[derive(Serialize, Deserialize)]
struct TensorInfo {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// A number that a tensor can hold.
trait Element: Sized {
    /// The format's name of the type.
    const DTYPE: &'static str;
    fn encode(values: &[Self]) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($type:ty, $dtype:literal) => {
        impl Element for $type {
            const DTYPE: &'static str = $dtype;
            fn encode(values: &[Self]) -> Vec<u8> {
                let mut bytes = vec![0; std::mem::size_of_val(values)];
                let places = bytes.as_chunks_mut().0;
                for (place, value) in places.iter_mut().zip(values) {
                    *place = value.to_le_bytes();
                }
                bytes
            }
            fn decode(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|place| Self::from_le_bytes(*place)).collect()
            }
        }
    };
}
element!(f32, "F32");
element!(f64, "F64");
element!(u64, "U64");

impl Default for Tensors {
    fn default() -> Self {
        Self::new()
    }
}

impl Tensors {
    /// No tensors yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: PathBuf::from("tensors in memory"),
            entries: BTreeMap::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Adds an array of `f32`, row-major, of the given shape (`[]` is a single number).
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Shape`] unless `values` has as many numbers as the shape says,
    /// [`CheckpointError::Duplicate`] if the name is taken or reserved by the format.
    pub fn insert_f32(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<(), CheckpointError> {
        self.insert(name, shape, values)
    }

    /// Adds an array of `f64`; otherwise as [`insert_f32`](Self::insert_f32).
    ///
    /// # Errors
    ///
    /// As [`insert_f32`](Self::insert_f32).
    pub fn insert_f64(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[f64],
    ) -> Result<(), CheckpointError> {
        self.insert(name, shape, values)
    }

    /// Adds an array of `u64`; otherwise as [`insert_f32`](Self::insert_f32).
    ///
    /// # Errors
    ///
    /// As [`insert_f32`](Self::insert_f32).
    pub fn insert_u64(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[u64],
    ) -> Result<(), CheckpointError> {
        self.insert(name, shape, values)
    }

    /// Sets a line of text about the tensors, such as the architecture they belong to.
    pub fn insert_metadata(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    /// Shape and row-major values of an array of `f32`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::MissingTensor`] or [`CheckpointError::ElementType`].
    pub fn get_f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), CheckpointError> {
        self.get(name)
    }

    /// Shape and row-major values of an array of `f64`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::MissingTensor`] or [`CheckpointError::ElementType`].
    pub fn get_f64(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>), CheckpointError> {
        self.get(name)
    }

    /// Shape and row-major values of an array of `u64`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::MissingTensor`] or [`CheckpointError::ElementType`].
    pub fn get_u64(&self, name: &str) -> Result<(Vec<usize>, Vec<u64>), CheckpointError> {
        self.get(name)
    }

    /// The values of an array of `f32` that must have the shape `needed`.
    ///
    /// # Errors
    ///
    /// As [`get_f32`](Self::get_f32), and [`CheckpointError::Shape`].
    pub fn f32_of_shape(&self, name: &str, needed: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        self.get_of_shape(name, needed)
    }

    /// The values of an array of `f64` that must have the shape `needed`.
    ///
    /// # Errors
    ///
    /// As [`get_f64`](Self::get_f64), and [`CheckpointError::Shape`].
    pub fn f64_of_shape(&self, name: &str, needed: &[usize]) -> Result<Vec<f64>, CheckpointError> {
        self.get_of_shape(name, needed)
    }

    /// The line of text stored under `key`.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The names of all tensors in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file's bytes: length of the header, header, data.
    ///
    /// Types of eight bytes come first, so that every array is aligned in the file. The header is
    /// written here and not by `safetensors`, which puts the metadata in an order that changes
    /// from run to run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Format`] if the header cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut ordered: Vec<_> = self.entries.iter().collect();
        ordered.sort_by_key(|(_, entry)| entry.dtype == f32::DTYPE);
        let mut end = 0;
        let mut tensors = BTreeMap::new();
        for (name, entry) in &ordered {
            let start = end;
            end += entry.bytes.len();
            let info = TensorInfo {
                dtype: entry.dtype.to_owned(),
                shape: entry.shape.clone(),
                data_offsets: (start, end),
            };
            tensors.insert((*name).clone(), info);
        }
        let header = Header { metadata: self.metadata.clone(), tensors };
        let mut header =
            serde_json::to_vec(&header).map_err(|error| format_error(&self.origin, &error))?;
        // Spaces at the end of the header keep the data on a multiple of eight bytes.
        header.resize(header.len().next_multiple_of(8), b' ');

        let mut bytes = Vec::with_capacity(8 + header.len() + end);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for (_, entry) in ordered {
            bytes.extend(&entry.bytes);
        }
        Ok(bytes)
    }

    /// Reads the bytes of a safetensors file; `path` is only named in errors.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Format`] if the header does not describe the bytes exactly, or if a
    /// tensor has an element type other than `f32`, `f64` and `u64`.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let header = read_header(bytes).map_err(|reason| format_error(path, &reason))?;
        let parsed = SafeTensors::deserialize(bytes).map_err(|error| format_error(path, &error))?;
        let mut entries = BTreeMap::new();
        for (name, view) in parsed.iter() {
            let dtype = match view.dtype() {
                safetensors::Dtype::F32 => f32::DTYPE,
                safetensors::Dtype::F64 => f64::DTYPE,
                safetensors::Dtype::U64 => u64::DTYPE,
                other => {
                    let reason =
                        format!("tensor `{name}` holds {other}; only F32, F64 and U64 are read");
                    return Err(format_error(path, &reason));
                }
            };
            let entry = Entry { dtype, shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            entries.insert(name.to_owned(), entry);
        }
        Ok(Self { origin: path.to_owned(), entries, metadata: header.metadata })
    }

    fn insert<T: Element>(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[T],
    ) -> Result<(), CheckpointError> {
        let n_values = shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length));
        if n_values != Some(values.len()) {
            return Err(CheckpointError::Shape {
                path: self.origin.clone(),
                name: name.to_owned(),
                found: vec![values.len()],
                needed: shape.to_vec(),
            });
        }
        if name == METADATA_KEY || self.entries.contains_key(name) {
            return Err(CheckpointError::Duplicate {
                path: self.origin.clone(),
                name: name.to_owned(),
            });
        }
        let entry = Entry { dtype: T::DTYPE, shape: shape.to_vec(), bytes: T::encode(values) };
        self.entries.insert(name.to_owned(), entry);
        Ok(())
    }

    fn get<T: Element>(&self, name: &str) -> Result<(Vec<usize>, Vec<T>), CheckpointError> {
        let entry = self.entries.get(name).ok_or_else(|| CheckpointError::MissingTensor {
            path: self.origin.clone(),
            name: name.to_owned(),
            available: self.names().map(str::to_owned).collect(),
        })?;
        if entry.dtype != T::DTYPE {
            return Err(CheckpointError::ElementType {
                path: self.origin.clone(),
                name: name.to_owned(),
                found: entry.dtype,
                needed: T::DTYPE,
            });
        }
        Ok((entry.shape.clone(), T::decode(&entry.bytes)))
    }

    fn get_of_shape<T: Element>(
        &self,
        name: &str,
        needed: &[usize],
    ) -> Result<Vec<T>, CheckpointError> {
        let (found, values) = self.get(name)?;
        if found != needed {
            return Err(CheckpointError::Shape {
                path: self.origin.clone(),
                name: name.to_owned(),
                found,
                needed: needed.to_vec(),
            });
        }
        Ok(values)
    }
}

/// Reads the header and checks that no offset lies outside of the data.
///
/// `safetensors` checks everything else, but adds the last offset to other lengths without
/// guarding against overflow: a forged offset near 2⁶⁴ must not reach it.
fn read_header(bytes: &[u8]) -> Result<Header, String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("it has {} bytes, too few for a header", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    let length = usize::try_from(length).ok().filter(|&n| n <= rest.len().min(HEADER_LIMIT));
    let Some((header, data)) = length.and_then(|n| rest.split_at_checked(n)) else {
        return Err("the length of its header is more than the file holds".to_owned());
    };
    let header: Header = serde_json::from_slice(header).map_err(|error| error.to_string())?;
    for (name, info) in &header.tensors {
        if info.data_offsets.1 > data.len() {
            return Err(format!("tensor `{name}` ends behind the end of the file"));
        }
    }
    Ok(header)
}

fn format_error(path: &Path, reason: &dyn std::fmt::Display) -> CheckpointError {
    CheckpointError::Format { path: path.to_owned(), reason: reason.to_string() }
}
