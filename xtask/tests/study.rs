//! `study` run as a user runs it, from few starts.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{command, names, success};
use serde_json::Value;
use tempfile::tempdir;

fn study(out: &Path, threads: &str, more: &[&str]) -> String {
    let mut study = command(&["study", "ddp", "--starts", "2", "--out"]);
    success(study.arg(out).args(more).env("RAYON_NUM_THREADS", threads))
}

#[test]
fn numbers_depend_on_the_seed_alone_and_every_step_keeps_the_rule() {
    let dir = tempdir().unwrap();
    let [a, b, other] = ["a", "b", "other"].map(|name| dir.path().join(name));
    let table = study(&a, "1", &[]);
    assert!(table.contains("box-fddp") && table.contains("0 of"), "{table}");
    assert_eq!(study(&b, "2", &[]), table);
    let read = |out: &Path, file| fs::read_to_string(out.join(file)).unwrap();
    for file in ["results/ddp/study.json", "images/ddp-rates.svg", "images/ddp-hard-starts.svg"] {
        assert!(read(&a, file) == read(&b, file), "{file} differs");
    }
    assert_eq!(names(&a.join("results/ddp")), ["README.md", "study.json"]);

    let numbers: Value = serde_json::from_str(&read(&a, "results/ddp/study.json")).unwrap();
    let hard = numbers["hard_starts"].as_array().unwrap();
    assert_eq!(hard.len(), 5);
    for method in hard.iter().flat_map(|problem| problem["methods"].as_array().unwrap()) {
        assert_eq!(method["violations"], 0, "{method}");
        assert_eq!(method["iterations"].as_array().unwrap().len(), 2, "{method}");
    }
    let rates = read(&a, "images/ddp-rates.svg");
    for text in ["cost gap J − J*", ">iteration<", "arm, T = 200", ">fddp<", ">ddp<"] {
        assert!(rates.contains(text), "{text}");
    }
    let page = read(&a, "results/ddp/README.md");
    assert!(page.contains("(../../images/ddp-hard-starts.svg)"), "{page}");

    study(&other, "2", &["--seed", "1"]);
    let other: Value = serde_json::from_str(&read(&other, "results/ddp/study.json")).unwrap();
    assert_ne!(numbers["hard_starts"], other["hard_starts"]);
    assert_eq!(numbers["rates"], other["rates"], "the rates are those of the tasks' own starts");
}
