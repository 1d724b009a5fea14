//! `train`, `eval` and `play` from the start to the end.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;

use common::{
    LASTING, SMALL_DVP, assert_same_cell, command, names, refusal, success, text, train, trained,
};
use serde_json::Value;
use tempfile::tempdir;

#[test]
fn one_seed_twice_is_equal_and_another_differs() {
    let dir = tempdir().unwrap();
    let into = |name: &str| dir.path().join(name);
    let a = trained(&mut train("vg-sac", &into("a"), &[]));
    let b = trained(&mut train("vg-sac", &into("b"), &[]));
    assert_same_cell(&a, &b);
    let other = trained(&mut train("vg-sac", &into("a"), &["--seed", "1"]));
    assert_ne!(a, other);
    for name in LASTING {
        assert_ne!(fs::read(a.join(name)).unwrap(), fs::read(other.join(name)).unwrap(), "{name}");
    }
    let config = fs::read_to_string(a.join("config.toml")).unwrap();
    assert!(config.contains("task = \"cartpole\"") && config.contains("total_steps = 600"));
    assert!(!names(&a).iter().any(|name| name == "checkpoints" || name == "replay"));
}

#[test]
fn a_run_of_dvp_is_as_long_as_its_iterations_and_needs_an_objective() {
    let dir = tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let mut run = command(&["train", "--task", "unicycle", "--method", "dvp", "--out", out]);
    let set = [&SMALL_DVP[..], &["method.iterations=3", "train.evaluation_episodes=2"]].concat();
    run.args(set.iter().flat_map(|setting| ["--set", setting]));
    let cell = trained(&mut run);
    let result = fs::read_to_string(cell.join("result.json")).unwrap();
    assert!(result.contains("\"env_steps\": 90") && result.contains("\"episodes\": 3"), "{result}");

    let message = refusal(&mut command(&["train", "--task", "hopper", "--method", "dvp"]));
    for part in ["it needs an objective that is a sum of costs", "unicycle, cartpole-gym"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_run_that_is_there_is_not_run_again() {
    let dir = tempdir().unwrap();
    let cell = trained(&mut train("sac", dir.path(), &[]));
    let written = |name: &str| fs::metadata(cell.join(name)).unwrap().modified().unwrap();
    let before = LASTING.map(written);
    let again = train("sac", dir.path(), &[]).output().unwrap();
    assert!(again.status.success());
    assert!(text(&again.stderr).contains("this run is there already"));
    assert_eq!(text(&again.stdout).trim_end(), cell.to_str().unwrap());
    assert_eq!(LASTING.map(written), before);
}

#[test]
fn pre_training_on_the_nominal_model_and_fine_tuning_are_runs_of_their_own() {
    let dir = tempdir().unwrap();
    let real = trained(&mut train("sac", dir.path(), &[]));
    let nominal = trained(&mut train("sac", dir.path(), &["--variant", "nominal"]));
    assert!(nominal.file_name().unwrap().to_str().unwrap().starts_with("cartpole-nominal-sac-s0-"));
    let from = ["--init-from", nominal.to_str().unwrap()];
    let tuned = trained(&mut train("sac", dir.path(), &from));
    assert!(tuned != real && tuned != nominal, "{}", tuned.display());
    let curve = |cell: &std::path::Path| fs::read_to_string(cell.join("curve.csv")).unwrap();
    assert_ne!(curve(&real), curve(&nominal));
    assert_ne!(curve(&real), curve(&tuned));
    let config = fs::read_to_string(tuned.join("config.toml")).unwrap();
    assert!(config.lines().any(|line| line.starts_with("init_from = \"")), "{config}");
    // The networks count, not where they lie.
    let moved = dir.path().join("moved");
    fs::rename(&nominal, &moved).unwrap();
    let again = train("sac", dir.path(), &["--init-from", moved.to_str().unwrap()]);
    let again = { again }.output().unwrap();
    assert!(text(&again.stderr).contains("this run is there already"), "{}", text(&again.stderr));
    assert_eq!(text(&again.stdout).trim_end(), tuned.to_str().unwrap());
}

#[test]
fn a_trained_run_is_evaluated_and_played() {
    for method in ["vg-sac", "dvp"] {
        evaluate_and_play(method);
    }
}

#[track_caller]
fn evaluate_and_play(method: &str) {
    let dir = tempdir().unwrap();
    let cell = trained(&mut train(method, dir.path(), &[]));
    let cell = cell.to_str().unwrap();
    let json = |more: &[&str]| -> Value {
        let args = [&["eval", cell, "--json", "--episodes", "5"], more].concat();
        serde_json::from_str(&success(&mut command(&args))).unwrap()
    };
    let found = json(&[]);
    assert_eq!(found["episodes"], 5);
    let mean = found["return_mean"].as_f64().unwrap();
    let interval = found["return_interval_95"].as_array().unwrap();
    assert!(interval[0].as_f64().unwrap() <= mean && mean <= interval[1].as_f64().unwrap());
    assert_eq!(json(&[]), found, "the same seed gives the same answer");
    assert_ne!(json(&["--seed", "1"])["return_mean"], found["return_mean"]);
    assert_ne!(json(&["--variant", "nominal"])["return_mean"], found["return_mean"]);
    let words = success(&mut command(&["eval", cell, "--episodes", "5"]));
    assert!(words.starts_with(&format!("return {mean:.2}, 95 % interval ")), "{words}");

    let page = success(&mut command(&["play", cell]));
    let html = fs::read_to_string(page.trim_end()).unwrap();
    assert!(html.contains("<svg") && !html.contains("http://") && !html.contains("src=\"http"));
}
