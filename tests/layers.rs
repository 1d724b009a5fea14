//! What the architecture promises about layers: a crate imports only those above it.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The crates in the order of the layers, and those of the lines above that each may import.
const LAYERS: [(&str, &[&str]); 6] = [
    ("crates/dynamics", &[]),
    ("crates/ddp", &["dynamics"]),
    ("crates/critics", &["dynamics"]),
    ("crates/agents", &["dynamics", "ddp", "critics"]),
    ("crates/bench-tasks", &["dynamics", "ddp"]),
    ("xtask", &["dynamics", "ddp", "critics", "agents", "bench-tasks"]),
];

fn dependencies(folder: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn a_crate_imports_only_crates_of_the_layers_above_it() {
    let ours: BTreeSet<&str> =
        LAYERS.iter().filter_map(|(folder, _)| folder.rsplit('/').next()).collect();
    for (folder, allowed) in LAYERS {
        for dependency in dependencies(folder) {
            assert!(
                !ours.contains(dependency.as_str()) || allowed.contains(&dependency.as_str()),
                "{folder} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn dynamics_knows_no_networks_no_threads_and_no_command_line() {
    for foreign in ["candle-core", "critics", "rayon", "clap", "indicatif", "anyhow"] {
        assert!(!dependencies("crates/dynamics").contains(foreign), "{foreign}");
    }
}

#[test]
fn the_programs_are_built_without_candle() {
    // The workspace table switches critics' default features off, and nobody switches them on.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let critics = &manifest["workspace"]["dependencies"]["critics"];
    assert_eq!(critics["default-features"].as_bool(), Some(false));
    for (folder, _) in LAYERS.iter().filter(|(folder, _)| *folder != "crates/critics") {
        let path = root.join(folder).join("Cargo.toml");
        assert!(!fs::read_to_string(path).unwrap().contains("\"candle\""), "{folder}");
    }
}
