//! `gradcheck` and `list` run as a user runs them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::{Command, Output};

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().unwrap()
}

/// Stdout of a run that must succeed.
#[track_caller]
fn text(args: &[&str]) -> String {
    let output = xtask(args);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
    String::from_utf8(output.stdout).unwrap()
}

/// The cells of a table's row of data.
fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn every_block_of_every_preset_and_model_is_checked_and_in_bounds() {
    let text = text(&["gradcheck", "--points", "50"]);
    for preset in ["released", "paper"] {
        for model in ["real", "nominal"] {
            for block in ["fx", "fu"] {
                let row = text
                    .lines()
                    .map(cells)
                    .find(|c| c.starts_with(&["cartpole", preset, model, block]));
                let row = row.unwrap();
                for (error, bound) in [(row[4], 1e-10), (row[5], 1e-6), (row[6], 1e-9)] {
                    assert!(error.parse::<f64>().unwrap() <= bound, "{row:?}");
                }
                assert_eq!(row[7..], ["1e-10", "/", "1e-6", "/", "1e-9", "yes"]);
            }
            for block in ["r_x", "r_u", "r_xnext"] {
                let row = text
                    .lines()
                    .map(cells)
                    .find(|c| c.starts_with(&["cartpole", preset, model, block]));
                let row = row.unwrap();
                assert!(row[5].parse::<f64>().unwrap() <= 1e-6, "{row:?}");
                assert_eq!((row[4], row[6], *row.last().unwrap()), ("–", "–", "yes"));
            }
        }
    }
}

#[test]
fn entries_at_the_kink_of_the_reward_are_left_out_and_counted() {
    // The first points hang straight down at rest; with the force inside a zeroing deadband they
    // stay there, where the angle to upright jumps from π to −π.
    let text = text(&["gradcheck", "cartpole", "--points", "3"]);
    assert!(
        text.contains(
            "cartpole paper real r_xnext: 2 of 12 entries left out, at a kink of the reward"
        ),
        "{text}"
    );
}

#[test]
fn the_same_seed_gives_the_same_table_and_another_seed_another() {
    let table = |seed| text(&["gradcheck", "cartpole", "--points", "30", "--seed", seed]);
    assert_eq!(table("4"), table("4"));
    assert_ne!(table("4"), table("5"));
}

#[test]
fn an_unknown_task_is_named_with_the_valid_ones() {
    let output = xtask(&["gradcheck", "cartpole", "cartpool"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.starts_with("error: there is no task `cartpool`; the tasks are: cartpole"),
        "{message}"
    );
    assert_eq!(xtask(&["gradcheck", "--points", "0"]).status.code(), Some(2));
}

#[test]
fn list_shows_tasks_with_their_presets_and_methods() {
    let text = text(&["list"]);
    for part in [
        "Tasks",
        "cartpole",
        "released, paper (differ in real.cart_mass, real.deadband_kind)",
        "Methods",
        "vg-sac",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    for name in ["sac", "vg-sac"] {
        assert!(text.lines().any(|line| cells(line).first() == Some(&name)), "{name}:\n{text}");
    }
}
