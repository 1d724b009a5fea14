//! Checkpoints survive kills, and damage is found before anything is read from them.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use critics::{CheckpointError, Checkpoints, Snapshot, SnapshotWriter, Tensors, write_file_atomic};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counters {
    step: u64,
    mean: f64,
    curve_bytes: u64,
}

fn counters(step: u64) -> Counters {
    // One third has no short decimal form, and the largest integer needs all 64 bits.
    Counters { step, mean: 1.0 / 3.0, curve_bytes: u64::MAX }
}

fn save(checkpoints: &Checkpoints, step: u64) -> PathBuf {
    checkpoints
        .save(step, |w| {
            let mut tensors = Tensors::new();
            tensors.insert_f64("critic.w1", &[2, 2], &[step as f64, 2.0, 3.0, 4.0])?;
            w.tensors("weights.safetensors", &tensors)?;
            w.json("state.json", &counters(step))
        })
        .unwrap()
}

/// Three saves, of which the last two stay: steps 20 and 30.
fn saved() -> (TempDir, Checkpoints) {
    let dir = tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 2);
    for step in [10, 20, 30] {
        save(&checkpoints, step);
    }
    (dir, checkpoints)
}

/// The step of the newest complete checkpoint and the texts of what was skipped.
fn latest(checkpoints: &Checkpoints) -> (Option<u64>, Vec<String>) {
    let latest = checkpoints.latest().unwrap();
    let skipped = latest.skipped.iter().map(|skipped| skipped.reason.to_string()).collect();
    (latest.found.map(|(step, _)| step), skipped)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every bit pattern that arithmetic could lose.
fn special_f64() -> Vec<f64> {
    let bits = [0x7ff8_0000_dead_beef_u64, 0x7ff0_0000_0000_0001, 0xfff8_0000_0000_0001, 1];
    let mut values =
        vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1.0 / 3.0];
    values.extend(bits.map(f64::from_bits));
    values
}

fn special_f32() -> Vec<f32> {
    let bits = [0x7fc0_beef_u32, 0x7f80_0001, 0xffc0_0001, 1];
    let mut values = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1.0 / 3.0];
    values.extend(bits.map(f32::from_bits));
    values
}

fn sample_tensors() -> Tensors {
    let mut tensors = Tensors::new();
    tensors.insert_f32("a", &[2, 5], &special_f32()).unwrap();
    tensors.insert_f64("b", &[10], &special_f64()).unwrap();
    tensors.insert_u64("c", &[], &[u64::MAX]).unwrap();
    tensors.insert_f32("empty", &[0, 3], &[]).unwrap();
    tensors.insert_metadata("layers", "4-64-64-1");
    tensors.insert_metadata("activation", "silu");
    tensors
}

#[test]
fn tensors_keep_every_bit() {
    let bytes = sample_tensors().to_bytes().unwrap();
    let read = Tensors::from_bytes(Path::new("x"), &bytes).unwrap();
    let bits32 = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let bits64 = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let (shape, values) = read.get_f32("a").unwrap();
    assert_eq!((shape, bits32(&values)), (vec![2, 5], bits32(&special_f32())));
    let (shape, values) = read.get_f64("b").unwrap();
    assert_eq!((shape, bits64(&values)), (vec![10], bits64(&special_f64())));
    assert_eq!(read.get_u64("c").unwrap(), (vec![], vec![u64::MAX]));
    assert_eq!(read.get_f32("empty").unwrap(), (vec![0, 3], vec![]));
    assert_eq!(read.metadata("layers"), Some("4-64-64-1"));
    assert_eq!(read.metadata("absent"), None);
    assert_eq!(read.names().collect::<Vec<_>>(), ["a", "b", "c", "empty"]);
}

#[test]
fn equal_content_gives_equal_bytes_in_any_order_of_insertion() {
    let mut other = Tensors::new();
    other.insert_metadata("activation", "silu");
    other.insert_metadata("layers", "4-64-64-1");
    other.insert_f32("empty", &[0, 3], &[]).unwrap();
    other.insert_u64("c", &[], &[u64::MAX]).unwrap();
    other.insert_f64("b", &[10], &special_f64()).unwrap();
    other.insert_f32("a", &[2, 5], &special_f32()).unwrap();
    assert_eq!(other.to_bytes().unwrap(), sample_tensors().to_bytes().unwrap());
}

#[test]
fn the_safetensors_library_reads_our_files_and_we_read_its_own() {
    let ours = sample_tensors().to_bytes().unwrap();
    let view = safetensors::SafeTensors::deserialize(&ours).unwrap();
    let a = view.tensor("a").unwrap();
    assert_eq!((a.dtype(), a.shape()), (safetensors::Dtype::F32, &[2, 5][..]));
    assert_eq!(a.data()[4..8], (-0.0_f32).to_le_bytes());
    // The data begin on a multiple of eight bytes, and so do the arrays of eight-byte numbers.
    let data = ours.len() - view.iter().map(|(_, tensor)| tensor.data().len()).sum::<usize>();
    assert_eq!(data % 8, 0);

    let theirs = safetensors::serialize(view.tensors(), None).unwrap();
    let read = Tensors::from_bytes(Path::new("x"), &theirs).unwrap();
    assert_eq!(read.get_u64("c").unwrap().1, [u64::MAX]);
}

#[test]
fn wrong_use_of_tensors_is_told_with_names_and_shapes() {
    let mut tensors = sample_tensors();
    let text = |error: CheckpointError| error.to_string();
    assert_eq!(
        text(tensors.get_f32("w").unwrap_err()),
        "`tensors in memory` has no tensor `w`; it has `a`, `b`, `c`, `empty`"
    );
    assert_eq!(
        text(tensors.get_f64("a").unwrap_err()),
        "`tensors in memory`: tensor `a` holds F32, but F64 is needed"
    );
    let read = Tensors::from_bytes(Path::new("run/p"), &tensors.to_bytes().unwrap()).unwrap();
    assert_eq!(
        text(read.f32_of_shape("a", &[5, 2]).unwrap_err()),
        "`run/p`: tensor `a` has shape [2, 5], but [5, 2] is needed; were the network sizes \
         changed since it was saved?"
    );
    assert_eq!(read.f32_of_shape("a", &[2, 5]).unwrap()[0], 0.0);
    assert_eq!(read.f64_of_shape("b", &[10]).unwrap()[5], 1.0 / 3.0);
    let wrong = tensors.insert_f32("d", &[2, 3], &[1.0]).unwrap_err();
    assert!(matches!(wrong, CheckpointError::Shape { .. }), "{wrong}");
    // The product of these lengths does not fit into 64 bits.
    let wrong = tensors.insert_f32("d", &[usize::MAX, 2], &[1.0]).unwrap_err();
    assert!(matches!(wrong, CheckpointError::Shape { .. }), "{wrong}");
    for name in ["a", "__metadata__"] {
        let twice = tensors.insert_u64(name, &[1], &[1]).unwrap_err();
        assert!(matches!(twice, CheckpointError::Duplicate { .. }), "{twice}");
    }
}

/// A file with this header and this many bytes of data.
fn forged(header: &str, n_data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + n_data, 0);
    bytes
}

#[test]
fn forged_tensor_files_are_refused() {
    let last = u64::MAX;
    let huge_offset =
        format!(r#"{{"a":{{"dtype":"F32","shape":[0],"data_offsets":[{last},{last}]}}}}"#);
    let files = [
        vec![],
        vec![0xff; 8],
        forged("{", 0),
        forged(&huge_offset, 0),
        forged(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
        forged(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8),
        forged(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
        forged(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, 4),
        forged(&"[".repeat(100_000), 0),
    ];
    for bytes in &files {
        let error = Tensors::from_bytes(Path::new("x"), bytes).unwrap_err();
        assert!(matches!(error, CheckpointError::Format { .. }), "{error}");
        assert!(error.to_string().starts_with("`x` cannot be read: "), "{error}");
    }
    let half = Tensors::from_bytes(Path::new("x"), &files[7]).unwrap_err();
    assert!(half.to_string().contains("tensor `a` holds F16"), "{half}");
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(at in 0_usize..600, value: u8, cut in 0_usize..600) {
        let mut bytes = sample_tensors().to_bytes().unwrap();
        let n = bytes.len();
        bytes[at % n] = value;
        // Whatever is still accepted has consistent shapes.
        if let Ok(tensors) = Tensors::from_bytes(Path::new("x"), &bytes) {
            for name in tensors.names() {
                if let Ok((shape, values)) = tensors.get_f32(name) {
                    prop_assert_eq!(shape.iter().product::<usize>(), values.len());
                }
            }
        }
        prop_assert!(Tensors::from_bytes(Path::new("x"), &bytes[..cut % n]).is_err());
    }
}

#[test]
fn the_last_checkpoints_stay_and_the_newest_is_found() {
    let (_dir, checkpoints) = saved();
    assert_eq!(names(checkpoints.root()), ["LATEST", "step-000000020", "step-000000030"]);
    assert_eq!(checkpoints.steps().unwrap(), [20, 30]);
    let latest = checkpoints.latest().unwrap();
    assert!(latest.skipped.is_empty());
    let (step, snapshot) = latest.found.unwrap();
    assert_eq!(step, 30);
    assert_eq!(snapshot.files().collect::<Vec<_>>(), ["state.json", "weights.safetensors"]);
    assert_eq!(snapshot.json::<Counters>("state.json").unwrap(), counters(30));
    let weights = snapshot.tensors("weights.safetensors").unwrap();
    assert_eq!(weights.get_f64("critic.w1").unwrap(), (vec![2, 2], vec![30.0, 2.0, 3.0, 4.0]));
    let earlier = checkpoints.open(20).unwrap();
    assert_eq!(earlier.json::<Counters>("state.json").unwrap().step, 20);
}

#[test]
fn json_is_written_for_people_in_the_order_of_the_fields() {
    let (_dir, checkpoints) = saved();
    let text = fs::read_to_string(checkpoints.root().join("step-000000030/state.json")).unwrap();
    assert_eq!(
        text,
        "{\n  \"step\": 30,\n  \"mean\": 0.3333333333333333,\n  \"curve_bytes\": \
         18446744073709551615\n}\n"
    );
}

#[test]
fn no_folder_means_no_checkpoint() {
    let dir = tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().join("absent"), 2);
    assert_eq!(latest(&checkpoints), (None, vec![]));
    assert_eq!(checkpoints.steps().unwrap(), [0_u64; 0]);
}

#[test]
fn a_kill_while_writing_leaves_the_checkpoint_before() {
    let (_dir, checkpoints) = saved();
    // Forgotten instead of dropped, as by a kill.
    let mut writer = SnapshotWriter::create(checkpoints.root(), "step-000000040").unwrap();
    writer.bytes("weights.safetensors", b"half").unwrap();
    std::mem::forget(writer);
    fs::write(checkpoints.root().join("LATEST.1-0.tmp"), b"step").unwrap();
    assert!(checkpoints.root().join("step-000000040.tmp").exists());
    assert_eq!(latest(&checkpoints), (Some(30), vec![]));

    // The same command again: the rests are gone, and nothing of them is in the new checkpoint.
    save(&checkpoints, 40);
    assert_eq!(names(checkpoints.root()), ["LATEST", "step-000000030", "step-000000040"]);
    assert_eq!(latest(&checkpoints), (Some(40), vec![]));
}

#[test]
fn a_kill_between_folder_and_latest_goes_on_from_latest() {
    let (_dir, checkpoints) = saved();
    fs::write(checkpoints.root().join("LATEST"), "step-000000020\n").unwrap();
    assert_eq!(latest(&checkpoints), (Some(20), vec![]));
}

#[test]
fn a_kill_while_a_step_is_replaced_loses_nothing() {
    let (_dir, checkpoints) = saved();
    let folder = checkpoints.root().join("step-000000030");
    let aside = checkpoints.root().join("step-000000030.replaced");
    fs::rename(&folder, &aside).unwrap();
    let found = checkpoints.latest().unwrap().found.unwrap();
    assert_eq!((found.0, found.1.path()), (30, aside.as_path()));
    save(&checkpoints, 30);
    assert_eq!(names(checkpoints.root()), ["LATEST", "step-000000020", "step-000000030"]);
}

#[test]
fn a_step_can_be_saved_again() {
    let (_dir, checkpoints) = saved();
    let path = checkpoints.save(30, |w| w.bytes("other.bin", b"new")).unwrap();
    assert_eq!(names(&path), ["manifest.json", "other.bin"]);
    assert_eq!(names(checkpoints.root()), ["LATEST", "step-000000020", "step-000000030"]);
}

#[test]
fn a_failed_save_leaves_everything_as_it_was() {
    let (_dir, checkpoints) = saved();
    let before = names(checkpoints.root());
    let error = checkpoints
        .save(40, |w| {
            w.bytes("a.bin", b"a")?;
            w.bytes("../b.bin", b"b")
        })
        .unwrap_err();
    assert!(matches!(error, CheckpointError::Name { .. }), "{error}");
    assert_eq!(names(checkpoints.root()), before);
    assert_eq!(latest(&checkpoints), (Some(30), vec![]));
}

#[test]
fn latest_naming_a_missing_folder_falls_back() {
    let (_dir, checkpoints) = saved();
    fs::remove_dir_all(checkpoints.root().join("step-000000030")).unwrap();
    let (step, skipped) = latest(&checkpoints);
    assert_eq!(step, Some(20));
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].ends_with("step-000000030` is missing"), "{}", skipped[0]);
}

#[test]
fn an_absent_or_senseless_latest_falls_back_to_the_greatest_step() {
    let (_dir, checkpoints) = saved();
    for text in ["", "step-30\n", "../../other", "step-000000030.replaced/x", "\u{0}\u{1}"] {
        fs::write(checkpoints.root().join("LATEST"), text).unwrap();
        let (step, skipped) = latest(&checkpoints);
        assert_eq!((step, skipped.len()), (Some(30), 1), "{skipped:?}");
        assert!(skipped[0].contains("LATEST` cannot be read: it names"), "{}", skipped[0]);
    }
    fs::remove_file(checkpoints.root().join("LATEST")).unwrap();
    assert_eq!(latest(&checkpoints), (Some(30), vec![]));
}

/// Applies `damage` to one file of step 30; the step before must be found, and the text tell why.
fn damaged(file: &str, damage: impl Fn(&mut Vec<u8>), expected: &str) {
    let (_dir, checkpoints) = saved();
    let path = checkpoints.root().join("step-000000030").join(file);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let (step, skipped) = latest(&checkpoints);
    assert_eq!((step, skipped.len()), (Some(20), 1), "{skipped:?}");
    assert!(skipped[0].contains(file), "{}", skipped[0]);
    assert!(skipped[0].contains(expected), "{}", skipped[0]);
    // The run goes on from step 20, and the damaged folder must not come back as the newest.
    save(&checkpoints, 25);
    assert_eq!(checkpoints.steps().unwrap(), [20, 25]);
}

#[test]
fn a_flipped_bit_is_detected() {
    damaged("weights.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 1, "its BLAKE3 hash is");
    damaged("state.json", |bytes| bytes[15] ^= 1, "remove it, and an earlier complete one is used");
}

#[test]
fn a_cut_file_is_detected() {
    damaged("state.json", |bytes| bytes.truncate(10), "it has 10 bytes, the manifest says 86");
    damaged("weights.safetensors", Vec::clear, "it has 0 bytes");
    damaged("manifest.json", |bytes| bytes.truncate(20), "EOF while parsing");
    damaged("manifest.json", Vec::clear, "EOF while parsing");
}

#[test]
fn a_foreign_or_huge_manifest_is_refused() {
    let later = br#"{"schema": 2, "archives": []}"#;
    damaged("manifest.json", |b| *b = later.to_vec(), "has format version 2, but this build reads");
    let typo = br#"{"schema": 1, "files": {}, "fles": {}}"#;
    damaged("manifest.json", |b| *b = typo.to_vec(), "unknown field `fles`");
    damaged("manifest.json", |b| b.resize((1 << 20) + 1, b' '), "more than the 1048576");
    for name in ["../LATEST", "/etc/hostname", "a/../../LATEST"] {
        let text = format!(r#"{{"schema":1,"files":{{"{name}":{{"bytes":15,"blake3":"x"}}}}}}"#);
        let (_dir, checkpoints) = saved();
        let folder = checkpoints.root().join("step-000000030");
        fs::write(folder.join("manifest.json"), text).unwrap();
        let error = Snapshot::open(&folder).unwrap_err();
        assert!(matches!(error, CheckpointError::Name { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_refused() {
    let (dir, checkpoints) = saved();
    let path = checkpoints.root().join("step-000000030/state.json");
    let outside = dir.path().join("outside.json");
    fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    let (step, skipped) = latest(&checkpoints);
    assert_eq!(step, Some(20));
    assert!(skipped[0].contains("it is no regular file"), "{}", skipped[0]);
}

#[test]
fn damage_after_opening_is_detected_too() {
    let (_dir, checkpoints) = saved();
    let snapshot = checkpoints.open(30).unwrap();
    let path = snapshot.path().join("state.json");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = snapshot.bytes("state.json").unwrap_err();
    assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
    let error = snapshot.bytes("manifest.json").unwrap_err();
    assert!(matches!(error, CheckpointError::Missing { .. }), "{error}");
}

#[test]
fn a_writer_refuses_bad_and_repeated_names_and_cleans_up() {
    let dir = tempdir().unwrap();
    let mut writer = SnapshotWriter::create(dir.path(), "cell").unwrap();
    writer.bytes("a.bin", b"a").unwrap();
    for name in ["a.bin", "manifest.json"] {
        let error = writer.bytes(name, b"b").unwrap_err();
        assert!(matches!(error, CheckpointError::Duplicate { .. }), "{error}");
    }
    for name in ["..", "sub/a", "/abs", ""] {
        let error = writer.json(name, &1).unwrap_err();
        assert!(matches!(error, CheckpointError::Name { .. }), "{error}");
        let error = SnapshotWriter::create(dir.path(), name).unwrap_err();
        assert!(matches!(error, CheckpointError::Name { .. }), "{error}");
    }
    drop(writer);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_wrong_type_in_json_names_file_line_and_column() {
    let dir = tempdir().unwrap();
    let mut writer = SnapshotWriter::create(dir.path(), "cell").unwrap();
    writer.json("state.json", &vec!["text"]).unwrap();
    let snapshot = Snapshot::open(&writer.commit().unwrap()).unwrap();
    let error = snapshot.json::<Vec<u64>>("state.json").unwrap_err().to_string();
    assert!(error.contains("state.json` cannot be read"), "{error}");
    assert!(error.contains("line 2 column 8"), "{error}");
}

#[test]
fn a_file_is_replaced_whole_and_a_missing_folder_is_named() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("result.json");
    write_file_atomic(&path, b"a long first version").unwrap();
    write_file_atomic(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names(dir.path()), ["result.json"]);
    let error = write_file_atomic(&dir.path().join("no/such"), b"x").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot create `{}`", dir.path().join("no/such").display())
    );
}

#[test]
fn a_refused_folder_says_what_to_do() {
    let error = CheckpointError::Io {
        action: "create",
        path: PathBuf::from("/runs/x"),
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    assert_eq!(
        error.to_string(),
        "cannot create `/runs/x`: permission denied; choose a folder that you may write to, or \
         change its permissions"
    );
}
