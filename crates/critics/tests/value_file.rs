//! Saved value networks come back with the same bits, and damage of any byte is found.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::fs;
use std::path::Path;

use common::values::{HEADS, single, value_network};
use critics::{Activation, CheckpointError, Head, Real, Tensors, ValueNetwork, ValueSpec};
use tempfile::tempdir;

/// Saves the network, changes its file, and gives the error of reading it again.
fn load_changed(
    net: &ValueNetwork<f64>,
    change: impl FnOnce(Tensors) -> Tensors,
) -> CheckpointError {
    let dir = tempdir().unwrap();
    let path = dir.path().join("value.safetensors");
    net.save(&path).unwrap();
    let tensors = Tensors::from_bytes(&path, &fs::read(&path).unwrap()).unwrap();
    fs::write(&path, change(tensors).to_bytes().unwrap()).unwrap();
    let error = ValueNetwork::<f64>::load(&path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("value.safetensors"), "no file in: {text}");
    error
}

fn small() -> ValueNetwork<f64> {
    value_network(2, &[3], Activation::Softplus, Head::SmoothNorm, 1)
}

fn round_trip<T: Real>(net: &ValueNetwork<T>, path: &Path) {
    net.save(path).unwrap();
    let loaded = ValueNetwork::<T>::load(path).unwrap();
    assert_eq!(&loaded, net);
    let bits = |net: &ValueNetwork<T>| -> Vec<u64> {
        net.net().params().iter().map(|p| p.to_f64().to_bits()).collect()
    };
    assert_eq!(bits(&loaded), bits(net));
    let x = vec![T::from_f64(0.3); net.nx()];
    let value = |net: &ValueNetwork<T>| {
        let mut v = [T::ZERO];
        net.value(&x, &mut net.workspace(1), &mut v);
        v[0].to_f64().to_bits()
    };
    assert_eq!(value(&loaded), value(net));
}

#[test]
fn networks_come_back_with_the_same_bits() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("value.safetensors");
    for head in HEADS {
        for activation in common::ACTIVATIONS {
            let mut net = value_network(3, &[5, 4], activation, head, 7);
            net.params_mut()[0] = -0.0;
            round_trip(&net, &path);
            round_trip(&single(&net), &path);
        }
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, [path]);
}

#[test]
fn changed_bytes_and_cuts_are_found() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("value.safetensors");
    let net = small();
    net.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        ValueNetwork::<f64>::load(&path)
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= [1, 0x20, 0x80, 0xff][at % 4];
        // White space may change in the header; the network may not.
        match load(&bytes) {
            Ok(found) => assert!(found == net, "byte {at} changed the network"),
            Err(error) => assert!(error.to_string().contains("value.safetensors"), "{error}"),
        }
        if at % 3 == 0 {
            let error = load(&whole[..at]).unwrap_err();
            assert!(matches!(error, CheckpointError::Format { .. }), "cut at {at}: {error}");
        }
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(load(&longer).is_err());
    assert_eq!(load(&whole).unwrap(), net);
}

#[test]
fn files_of_another_kind_say_what_they_are() {
    let net = small();
    let set = |key: &'static str, value: &'static str| {
        load_changed(&net, move |mut tensors| {
            tensors.insert_metadata(key, value);
            tensors
        })
    };
    let text = set("format", "another").to_string();
    assert!(text.ends_with("its format is `another`, needed is `costate-value-network`"), "{text}");
    assert!(matches!(set("version", "2"), CheckpointError::Version { found: 2, needed: 1, .. }));
    let text = set("version", "new").to_string();
    assert!(text.ends_with("its version `new` is no number"), "{text}");
    let text = set("dtype", "f32").to_string();
    assert!(text.ends_with("its numbers are `f32`, needed is `f64`"), "{text}");
    let text = set("spec", "{}").to_string();
    assert!(text.contains("its `spec`: missing field"), "{text}");
    assert!(matches!(set("blake3", "0"), CheckpointError::Corrupt { .. }));
    assert!(load_changed(&net, |_| Tensors::new()).to_string().contains("no metadata `format`"));

    let dir = tempdir().unwrap();
    let path = dir.path().join("value.safetensors");
    let error = ValueNetwork::<f64>::load(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Missing { .. }), "{error}");
    single(&net).save(&path).unwrap();
    let text = ValueNetwork::<f64>::load(&path).unwrap_err().to_string();
    assert!(text.ends_with("its numbers are `f32`, needed is `f64`"), "{text}");
}

/// The specification of the small network with other sizes.
fn spec_text(change: impl FnOnce(&mut ValueSpec)) -> String {
    let mut spec = small().spec().clone();
    change(&mut spec);
    serde_json::to_string(&spec).unwrap()
}

#[test]
fn specifications_that_do_not_fit_the_tensors_are_refused() {
    let net = small();
    let with = |text: String| {
        load_changed(&net, move |mut tensors| {
            tensors.insert_metadata("spec", &text);
            tensors
        })
    };
    let error = with(spec_text(|spec| spec.hidden = vec![4]));
    assert!(matches!(error, CheckpointError::Shape { .. }), "{error}");
    let error = with(spec_text(|spec| spec.hidden = vec![3, 1, 3]));
    assert!(matches!(error, CheckpointError::Shape { .. }), "{error}");
    let error = with(spec_text(|spec| spec.nx = 3));
    assert!(matches!(error, CheckpointError::Shape { .. }), "{error}");
    let error = with(spec_text(|spec| spec.hidden = vec![usize::MAX; 4]));
    assert!(error.to_string().contains("more than 100000000 parameters"), "{error}");
    let error = with(spec_text(|spec| spec.nx = 0));
    assert!(error.to_string().contains("every size must be at least 1"), "{error}");
    // Same shapes, other function.
    let error = with(spec_text(|spec| spec.head = Head::SumOfSquares));
    assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
}

#[test]
fn numbers_that_are_not_finite_are_neither_written_nor_read() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("value.safetensors");
    let mut net = small();
    net.params_mut()[4] = f64::NAN;
    let text = net.save(&path).unwrap_err().to_string();
    assert!(text.contains("`params` holds NaN at index 4"), "{text}");
    assert!(!path.exists());

    // A forged file with a hash that fits: written from a copy of the format.
    for bad in [f64::NAN, f64::INFINITY] {
        let error = load_changed(&small(), |tensors| forge(&tensors, bad));
        let text = error.to_string();
        assert!(text.contains("`params` holds") && text.contains("at index 0"), "{text}");
    }
}

/// The same file with another first weight and the hash of that.
fn forge(tensors: &Tensors, first: f64) -> Tensors {
    let mut forged = Tensors::new();
    let spec = tensors.metadata("spec").unwrap();
    let mut hashed = [b"f64", spec.as_bytes()].concat();
    let tensor = |name: &str| tensors.get_f64(name).unwrap();
    for name in ["shift", "scale", "value_scale"] {
        let (shape, values) = tensor(name);
        values.iter().for_each(|value| hashed.extend(value.to_le_bytes()));
        forged.insert_f64(name, &shape, &values).unwrap();
    }
    for name in ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"] {
        let (shape, mut values) = tensor(name);
        if name == "layers.0.weight" {
            values[0] = first;
        }
        values.iter().for_each(|value| hashed.extend(value.to_le_bytes()));
        forged.insert_f64(name, &shape, &values).unwrap();
    }
    for key in ["format", "version", "dtype", "spec"] {
        forged.insert_metadata(key, tensors.metadata(key).unwrap());
    }
    forged.insert_metadata("blake3", &critics::content_hash(&hashed));
    forged
}
