//! Runs that are killed or interrupted end with the bits of those that were not, whatever the
//! method.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{assert_same_cell, names, text, train, trained};
use dynamics::Stream;
use tempfile::tempdir;

/// What `kill -9` sends.
const SIGKILL: i32 = 9;

/// Long enough to be caught in the middle.
const LONGER: [&str; 2] = ["--set", "train.total_steps=1500"];

fn start(method: &str, out: &Path, settings: &[&str]) -> Child {
    let mut command = train(method, out, settings);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// The folder of the run below `out` that is under way or was left in the middle.
fn partial(out: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(out).ok()?.map(|entry| entry.unwrap().path());
    paths.into_iter().find(|path| path.extension().is_some_and(|e| e == "partial"))
}

/// What the run below `out` names as its newest checkpoint.
fn checkpoint(out: &Path) -> Option<String> {
    fs::read_to_string(partial(out)?.join("checkpoints/LATEST")).ok()
}

/// Whether the run below `out` was left between its first checkpoint and its results.
fn is_in_the_middle(out: &Path) -> bool {
    checkpoint(out).is_some() && partial(out).is_some_and(|run| !run.join("result.json").exists())
}

/// Waits until the run has written a checkpoint other than `before`, or is over.
fn wait_for_checkpoint(child: &mut Child, out: &Path, before: Option<&str>) {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if checkpoint(out).is_some_and(|now| Some(now.as_str()) != before) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
        sleep(Duration::from_millis(1));
    }
}

/// Kills the training again and again until it comes to its end. Returns how many kills left it in
/// the middle.
///
/// Every other process is killed a moment after it has written a checkpoint, however slow the
/// machine is, so that the run gets on; the others at any moment, also before they have begun.
fn with_kills(method: &str, out: &Path, whole: Duration, moments: &mut Stream) -> u32 {
    let mut kills = 0;
    for number in 0.. {
        let before = checkpoint(out);
        let mut child = start(method, out, &LONGER);
        if number % 2 == 0 {
            wait_for_checkpoint(&mut child, out, before.as_deref());
            sleep(whole.mul_f64(moments.uniform(0.0, 0.05)));
        } else {
            sleep(whole.mul_f64(moments.uniform(0.02, 0.5)));
        }
        child.kill().unwrap();
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(SIGKILL), "{}", text(&stderr));
        kills += u32::from(is_in_the_middle(out));
    }
    kills
}

/// Kills in the middle that a method must survive.
const KILLS: u32 = 20;

fn survives_kills(method: &str) {
    let dir = tempdir().unwrap();
    let begin = Instant::now();
    let reference = trained(&mut train(method, &dir.path().join("whole"), &LONGER));
    let whole = begin.elapsed();
    let mut moments = Stream::new(2026, "kills", 0);
    let mut kills = 0;
    for round in 0..50 {
        let out = dir.path().join(format!("killed-{round}"));
        kills += with_kills(method, &out, whole, &mut moments);
        // The same command says where the cell is, and runs nothing.
        let cell = trained(&mut train(method, &out, &LONGER));
        assert_same_cell(&reference, &cell);
        assert_eq!(names(&out).len(), 1, "nothing else is left: {:?}", names(&out));
        if kills >= KILLS {
            return;
        }
    }
    panic!("only {kills} kills hit a run in the middle");
}

/// Starts a run below `dir` and sends it `signal` after its first checkpoint; again in another
/// folder if the run was over before. Returns the folder and what the process said.
fn signalled(method: &str, signal: &str, dir: &Path) -> (PathBuf, Output) {
    for round in 0..50 {
        // A folder of its own: a checkpoint there means that this process is under way.
        let out = dir.join(format!("{signal}-{round}"));
        let mut child = start(method, &out, &LONGER);
        wait_for_checkpoint(&mut child, &out, None);
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            return (out, output);
        }
    }
    panic!("{signal} never came before the end");
}

fn survives_signals(method: &str) {
    let dir = tempdir().unwrap();
    let reference = trained(&mut train(method, &dir.path().join("whole"), &LONGER));
    for signal in ["INT", "TERM"] {
        let (out, output) = signalled(method, signal, dir.path());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(output.stdout.is_empty());
        assert!(is_in_the_middle(&out), "{message}");
        let last = message.lines().last().unwrap();
        let step = last.strip_prefix("error: checkpointed at step ").unwrap_or_default();
        let step = step.strip_suffix("; the same command goes on from there");
        let step: u32 = step.unwrap_or_else(|| panic!("{message}")).parse().unwrap();
        assert!((60..1500).contains(&step), "{message}");
        let resumed = train(method, &out, &LONGER).output().unwrap();
        let found = text(&resumed.stderr);
        assert!(found.contains(&format!("resumed at step {step}")), "{found}");
        assert_same_cell(&reference, Path::new(text(&resumed.stdout).trim_end()));
    }
}

/// Two tests per method, and one that there is no other method.
macro_rules! methods {
    ($($module:ident: $method:literal),+ $(,)?) => {
        $(mod $module {
            #[test]
            fn killed_at_random_moments_ends_with_the_same_bits() {
                super::survives_kills($method);
            }

            #[test]
            fn control_c_writes_a_checkpoint_and_the_same_command_goes_on() {
                super::survives_signals($method);
            }
        })+

        #[test]
        fn every_method_is_interrupted() {
            let methods: Vec<_> = agents::methods().iter().map(|method| method.name).collect();
            assert_eq!(methods, [$($method),+]);
        }
    };
}

methods! {
    sac: "sac",
    vg_sac: "vg-sac",
    ddpg: "ddpg",
    vg_ddpg: "vg-ddpg",
    td3: "td3",
    ppo: "ppo",
    mbpo: "mbpo",
    dvp: "dvp",
    pods: "pods",
    pods_first_order: "pods-first-order",
    bptt: "bptt",
    svg_inf: "svg-inf",
    svg_planner: "svg-planner",
    svg_1: "svg-1",
    svg_1_er: "svg-1-er",
    svg_k: "svg-k",
    svg_0: "svg-0",
    dpg: "dpg",
    ac: "ac",
    tracking: "tracking",
    tracking_cut: "tracking-cut",
}

#[test]
fn a_second_process_is_kept_out_of_a_running_cell() {
    let dir = tempdir().unwrap();
    // So long that it is under way whenever the second process comes.
    let endless = ["--set", "train.total_steps=1000000000"];
    let mut first = start("sac", dir.path(), &endless);
    wait_for_checkpoint(&mut first, dir.path(), None);
    let message = common::refusal(&mut train("sac", dir.path(), &endless));
    assert!(message.contains("another process is running `"), "{message}");
    assert!(is_in_the_middle(dir.path()) && first.try_wait().unwrap().is_none());
    send("INT", &first);
    let message = text(&first.wait_with_output().unwrap().stderr);
    assert!(message.contains("checkpointed at step "), "{message}");
    assert_eq!(names(dir.path()).len(), 1, "{:?}", names(dir.path()));
}
