//! The command line as a user runs it, on runs of a second.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Settings of the off-policy methods that make a training take a second.
pub(crate) const SMALL: [&str; 5] = [
    "method.actor_hidden=[8,8]",
    "method.critic_hidden=[8,8]",
    "method.batch_size=16",
    "method.update_after=20",
    "method.random_steps=50",
];

/// The same of PPO; checkpoints fall into roll-outs, between the turns of two environments.
pub(crate) const SMALL_PPO: [&str; 5] = [
    "method.hidden=[8,8]",
    "method.rollout_steps=10",
    "method.n_envs=7",
    "method.minibatch=20",
    "method.epochs=3",
];

/// The same of DVP, of which an iteration has 30 steps.
pub(crate) const SMALL_DVP: [&str; 6] = [
    "method.hidden=[8,8]",
    "method.samples=3",
    "method.horizon=10",
    "method.fit.epochs=5",
    "method.plan_horizon=3",
    "method.plan_iterations=1",
];

/// The same of PODS and of BPTT, whose epoch is one roll-out here.
pub(crate) const SMALL_PODS: [&str; 3] =
    ["method.hidden=[8,8]", "method.rollouts=1", "method.regression_steps=3"];
/// See [`SMALL_PODS`].
pub(crate) const SMALL_BPTT: [&str; 2] = ["method.hidden=[8,8]", "method.rollouts=1"];

/// The same of stochastic value gradients and what they are compared with.
pub(crate) const SMALL_SVG: [&str; 3] =
    ["task.horizon=40", "method.hidden=[8,8]", "method.minibatch=10"];

/// Settings of such a training's loop.
pub(crate) const SHORT: [&str; 4] = [
    "train.total_steps=600",
    "train.checkpoint_every_steps=60",
    "train.evaluate_every_episodes=2",
    "train.evaluation_episodes=2",
];

/// What the same configuration leaves bit by bit, wherever and however it is run.
pub(crate) const LASTING: [&str; 6] = [
    "networks.safetensors",
    "policy.safetensors",
    "curve.csv",
    "result.json",
    "config.toml",
    "rollout.json",
];

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args);
    command
}

/// Roll-outs of 60 steps.
const SMALL_TRACKING: [&str; 2] = ["task.horizon=60", "method.hidden=[8,8]"];

/// Fits within seconds.
const SMALL_MBPO: [&str; 11] = [
    "method.refit_every=100",
    "method.rollouts=100",
    "method.updates=2",
    "method.model.members=2",
    "method.model.elites=1",
    "method.model.hidden=[8,8]",
    "method.model.max_epochs=3",
    "method.sac.actor_hidden=[8,8]",
    "method.sac.critic_hidden=[8,8]",
    "method.sac.random_steps=50",
    "method.sac.update_after=50",
];

/// `train` on a cart-pole into `out` with small networks, few steps and `more` arguments.
pub(crate) fn train(method: &str, out: &Path, more: &[&str]) -> Command {
    let is_svg = method.starts_with("svg") || ["dpg", "ac"].contains(&method);
    let is_tracking = method.starts_with("tracking");
    let task = match () {
        () if is_svg => "cartpole-svg",
        () if is_tracking => "double-pendulum-reach",
        () => "cartpole",
    };
    let mut command = command(&["train", "--task", task, "--method", method]);
    let small: &[&str] = match method {
        _ if is_svg => &SMALL_SVG,
        _ if is_tracking => &SMALL_TRACKING,
        "mbpo" => &SMALL_MBPO,
        "ppo" => &SMALL_PPO,
        "dvp" => &SMALL_DVP,
        "pods" | "pods-first-order" => &SMALL_PODS,
        "bptt" => &SMALL_BPTT,
        _ => &SMALL,
    };
    command.args(small.iter().chain(&SHORT).flat_map(|setting| ["--set", setting]));
    command.arg("--out").arg(out).args(more);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command that must succeed prints on stdout.
#[track_caller]
pub(crate) fn success(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command that must fail says; it prints no result and does not panic.
#[track_caller]
pub(crate) fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.code(), Some(1), "{}", text(&stderr));
    assert_eq!(text(&stdout), "");
    let message = text(&stderr);
    assert!(!message.contains("panicked"), "{message}");
    assert!(message.contains("error: "), "{message}");
    message
}

/// The folder that `train` printed.
#[track_caller]
pub(crate) fn trained(command: &mut Command) -> PathBuf {
    PathBuf::from(success(command).trim_end())
}

/// Names of the entries of a folder, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Asserts that two whole cells are equal but for their times.
#[track_caller]
pub(crate) fn assert_same_cell(a: &Path, b: &Path) {
    assert_eq!(names(a), names(b));
    for name in LASTING {
        let [a, b] = [a, b].map(|dir| fs::read(dir.join(name)).unwrap());
        assert!(a == b, "{name} differs");
    }
}

/// Changes one bit in the middle of a file.
pub(crate) fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}
