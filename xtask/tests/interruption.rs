//! Runs that are killed or interrupted end with the bits of those that were not.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{assert_same_cell, names, text, train, trained};
use dynamics::Stream;
use tempfile::tempdir;

/// Runs the training again and again, killed after a random share of the time that a whole run
/// takes, until it comes to its end. Returns the number of kills.
fn with_kills(method: &str, out: &Path, whole: Duration, moments: &mut Stream) -> u32 {
    let mut kills = 0;
    loop {
        let mut child =
            train(method, out, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(moments.uniform(0.02, 0.5)));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return kills;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 200, "the run does not get on");
    }
}

fn survives_kills(method: &str, needed: u32) {
    let dir = tempdir().unwrap();
    let start = Instant::now();
    let reference = trained(&mut train(method, &dir.path().join("whole"), &[]));
    let whole = start.elapsed();
    let mut moments = Stream::new(2026, "kills", 0);
    let mut kills = 0;
    for round in 0.. {
        let out = dir.path().join(format!("killed-{round}"));
        kills += with_kills(method, &out, whole, &mut moments);
        // The last run printed to nobody; the same command says where the cell is, and runs nothing.
        let cell = trained(&mut train(method, &out, &[]));
        assert_same_cell(&reference, &cell);
        assert_eq!(names(&reference), names(&cell), "the same files");
        assert_eq!(names(&out).len(), 1, "nothing else is left: {:?}", names(&out));
        if kills >= needed {
            return;
        }
    }
}

#[test]
fn vg_sac_killed_at_random_moments_ends_with_the_same_bits() {
    survives_kills("vg-sac", 40);
}

#[test]
fn sac_killed_at_random_moments_ends_with_the_same_bits() {
    survives_kills("sac", 15);
}

/// Waits until the run has written a checkpoint.
fn wait_for_checkpoint(out: &Path) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let partial = fs::read_dir(out).ok().and_then(|mut entries| entries.next());
        if partial.is_some_and(|p| p.unwrap().path().join("checkpoints/LATEST").exists()) {
            return;
        }
        sleep(Duration::from_millis(2));
    }
    panic!("no checkpoint after a minute");
}

#[test]
fn control_c_writes_a_checkpoint_and_the_same_command_goes_on() {
    let dir = tempdir().unwrap();
    // Long enough to be caught in the middle.
    let longer = ["--set", "train.total_steps=3000"];
    let reference = trained(&mut train("sac", &dir.path().join("whole"), &longer));
    for signal in ["INT", "TERM"] {
        // A folder of its own: a checkpoint there means that this process is under way.
        let out = dir.path().join(signal);
        let mut child = train("sac", &out, &longer);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for_checkpoint(&out);
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(output.stdout.is_empty());
        let last = message.lines().last().unwrap();
        let step = last.strip_prefix("error: checkpointed at step ").unwrap_or_default();
        let step = step.strip_suffix("; the same command goes on from there");
        let step: u32 = step.unwrap_or_else(|| panic!("{message}")).parse().unwrap();
        assert!((60..3000).contains(&step), "{message}");
        let resumed = train("sac", &out, &longer).output().unwrap();
        assert!(text(&resumed.stderr).contains("resumed at step "), "{}", text(&resumed.stderr));
        assert_same_cell(&reference, Path::new(text(&resumed.stdout).trim_end()));
    }
}

#[test]
fn a_second_process_is_kept_out_of_a_running_cell() {
    let dir = tempdir().unwrap();
    let longer = ["--set", "train.total_steps=3000"];
    let mut first = train("sac", dir.path(), &longer);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_checkpoint(dir.path());
    let message = common::refusal(&mut train("sac", dir.path(), &longer));
    assert!(message.contains("another process is running `"), "{message}");
    assert!(first.wait().unwrap().success());
    assert_eq!(names(dir.path()).len(), 1, "{:?}", names(dir.path()));
}
