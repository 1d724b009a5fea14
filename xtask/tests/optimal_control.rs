//! Settings of optimal-control tasks as a user gives them: lists, optional numbers, mistakes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::{Command, Output};

use serde_json::Value;

fn probe(sets: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["probe", "unicycle", "--state=1,2,0", "--action=3,-1"]);
    for set in sets {
        command.args(["--set", set]);
    }
    command.output().unwrap()
}

#[track_caller]
fn reward(sets: &[&str]) -> f64 {
    let output = probe(sets);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["reward"].as_f64().unwrap()
}

#[track_caller]
fn refusal(set: &str) -> String {
    let output = probe(&[set]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{set}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn weights_goal_and_last_weight_are_set_one_by_one() {
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
    close(reward(&[]), -0.5 * (5.0 + 10.0));
    close(reward(&["goal=[1, 2, 0.5]"]), -0.5 * (0.25 + 10.0));
    close(reward(&["state_weight=0.1", "control_weight=0.2"]), -0.5 * (0.05 + 0.4));
    // The step goes to (1.3, 2, −0.1); the last one counts its end, by default like any state.
    let (stage, end) = (15.0, 1.3 * 1.3 + 4.0 + 0.01);
    close(reward(&["horizon=1"]), -0.5 * (stage + end));
    close(reward(&["horizon=1", "terminal_weight=2"]), -0.5 * (stage + 4.0 * end));
    close(reward(&["horizon=1", "terminal_weight=[]"]), -0.5 * (stage + end));
    close(reward(&["horizon=1", "state_weight=3"]), -0.5 * (9.0 * 5.0 + 10.0 + 9.0 * end));
}

#[test]
fn mistakes_are_told_with_what_is_needed() {
    for (set, part) in [
        ("goal=[1, 2]", "must be 3 finite numbers separated by commas (default [0.0, 0.0, 0.0])"),
        ("x0=[1, 2, x]", "`x0` is `[1, 2, x]`"),
        ("u_max=-1", "`u_max` is -1, but must be positive and finite, or [] for no limit"),
        ("u_max=[1, 2]", "a list of no number or of one"),
        ("gaol=[1, 2, 3]", "did you mean `goal`?"),
        ("dt=-0.1", "dt is -0.1, but must be positive"),
    ] {
        let message = refusal(set);
        assert!(message.contains(part), "{set}: {message}");
    }
}
