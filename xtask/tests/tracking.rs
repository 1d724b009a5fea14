//! `reproduce tracking-feedback`: cells that do not depend on threads, and a report that shows every figure.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{assert_same_cell, command, names, success};
use tempfile::tempdir;

#[test]
fn every_figure_is_reported_from_cells_that_do_not_depend_on_threads() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let run = |out: &PathBuf, jobs| {
        let arguments = ["reproduce", "tracking-feedback", "--profile", "smoke", "--jobs", jobs];
        success(command(&arguments).arg("--out").arg(out))
    };
    let printed = run(&a, "1");
    run(&b, "2");
    let cells = |out: &PathBuf| {
        names(&out.join("cells")).iter().map(|n| out.join("cells").join(n)).collect::<Vec<_>>()
    };
    // Two seeds of nine policies with two models, three baselines, two horizons on quadruped and car, and
    // seven models of the car.
    assert_eq!(cells(&a).len(), 2 * (2 * 9 + 3 + 2 * 2 + 7));
    for (a, b) in cells(&a).iter().zip(&cells(&b)) {
        assert_same_cell(a, b);
    }
    let page = PathBuf::from(printed.lines().next().unwrap());
    let folder = page.parent().unwrap();
    let [markdown, html] =
        ["report.md", "report.html"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    for figure in ["fig2a", "fig2b", "fig3-left", "fig3-right", "fig4", "mismatch", "theory"] {
        assert!(html.contains(&format!("<article id=\"tracking-feedback-{figure}\">")), "{figure}");
    }
    for part in ["ρ(Â + B̂K)", "Fitted exponents", "\"drawing\":\"lap\"", "set points, outwards"]
    {
        assert!(markdown.contains(part) || html.contains(part), "{part}");
    }
    fs::remove_file(&page).unwrap();
    success(command(&["report"]).arg(folder));
    assert_eq!(fs::read_to_string(&page).unwrap(), markdown);
}

#[test]
fn logs_of_a_plant_move_the_policy() {
    let dir = tempdir().unwrap();
    let run = common::trained(&mut common::train("tracking", dir.path(), &[]));
    let [first, second] = ["a", "b"].map(|name| dir.path().join(name));
    let log = run.join("rollout.json");
    let mut learn = command(&["learn-from"]);
    let printed = success(learn.arg(&run).arg("--log").arg(&log).arg("--out").arg(&first));
    let found: serde_json::Value = serde_json::from_str(&printed).unwrap();
    // The roll-out was the last policy's own.
    assert!(found["metrics"]["action_mismatch"].as_f64().unwrap() < 1e-9, "{printed}");
    let moved = fs::read(&first).unwrap();
    assert_ne!(moved, fs::read(run.join("policy.safetensors")).unwrap());
    let mut learn = command(&["learn-from"]);
    learn.arg(&run).arg("--log").arg(&log).arg("--policy").arg(&first).arg("--out").arg(&second);
    success(&mut learn);
    assert_ne!(fs::read(&second).unwrap(), moved);
    let other = common::trained(&mut common::train("sac", dir.path(), &[]));
    let mut learn = command(&["learn-from"]);
    learn.arg(&other).arg("--log").arg(&log).arg("--out").arg(&second);
    let message = common::refusal(&mut learn);
    assert!(message.contains("only `tracking` and `tracking-cut`"), "{message}");
}

#[test]
fn the_closed_loop_is_reported_before_training() {
    let dir = tempdir().unwrap();
    let run = |settings: &[&str]| {
        let mut train = command(&["train", "--task", "car-lap", "--method", "tracking"]);
        let short = ["segments=4", "settle_segments=1", "train.total_steps=28"];
        train.args(short.iter().chain(settings).flat_map(|setting| ["--set", setting]));
        let output = train.arg("--out").arg(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&[]).contains("spectral radius of 0.99"), "the car's own gains");
    let stiffer = run(&["control.law=backstepping", "gains=[0.6, 0.4, 1.5, 2.0, 1.0, 1.0]"]);
    assert!(stiffer.contains("spectral radius of"), "{stiffer}");
}
