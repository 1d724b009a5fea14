//! No random number of the workspace comes from anywhere but a named stream.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// What would draw from a generator without our seed; in pieces, so that this file does not contain
/// it.
fn patterns() -> Vec<String> {
    [
        ["Tensor::", "rand"],
        ["Var::", "rand"],
        ["thread", "_rng"],
        ["rand::", "rng("],
        ["rand::", "random"],
        ["from_", "os_rng"],
        ["from_", "entropy"],
        ["try_from_", "os_rng"],
        ["Os", "Rng"],
        ["Sys", "Rng"],
        ["Thread", "Rng"],
        ["Std", "Rng"],
        ["Small", "Rng"],
        ["rand_", "like("],
        ["randn_", "like("],
        ["from_", "varmap"],
        ["fast", "rand::"],
        ["get", "random::"],
    ]
    .map(|pieces| pieces.concat())
    .to_vec()
}

/// Whether a line of code contains one of the patterns as a word of its own.
fn offends<'p>(line: &str, patterns: &'p [String]) -> Option<&'p str> {
    patterns.iter().map(String::as_str).find(|pattern| {
        line.match_indices(pattern)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_random_number_comes_from_a_named_stream() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        let folder = root.join(folder);
        if folder.is_dir() {
            rust_files(&folder, &mut files);
        }
    }
    files.sort();
    assert!(files.len() > 10, "only {} files below {}", files.len(), root.display());
    let patterns = patterns();
    let mut offences = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for (index, line) in text.lines().enumerate() {
            if let Some(pattern) = offends(line, &patterns) {
                offences.push(format!("{}:{}: `{pattern}`", file.display(), index + 1));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "random numbers must come from `dynamics::Stream`:\n{}",
        offences.join("\n")
    );
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let patterns = patterns();
    assert!(offends(&["let x = Tensor::", "randn(0.0, 1.0)"].concat(), &patterns).is_some());
    assert!(offends(&["rand::rngs::", "Std", "Rng"].concat(), &patterns).is_some());
    assert!(offends("use rand::{Rng, RngExt, SeedableRng};", &patterns).is_none());
}
