//! One seed gives one result: twice, interrupted anywhere, killed while results are written, and
//! started from the networks of another run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agents::replay_log::{ReplayLog, SegmentRef};
use agents::{
    Budget, LearnError, Learner, Observer, Outcome, Progress, SacLearner, SacSettings, Silent,
    Timing, TrainSettings, load_networks, train,
};
use common::PointMass;
use critics::{Checkpoints, Tensors};
use tempfile::{TempDir, tempdir};

/// What a run leaves and a repetition must leave bit by bit.
const FILES: [&str; 5] =
    ["networks.safetensors", "policy.safetensors", "curve.csv", "result.json", "rollout.json"];

fn method(base: SacSettings) -> SacSettings {
    SacSettings {
        actor_hidden: vec![8, 8],
        critic_hidden: vec![8, 8],
        learning_rate: 3e-3,
        batch_size: 16,
        random_steps: 40,
        update_after: 20,
        ..base
    }
}

fn short() -> TrainSettings {
    TrainSettings {
        total_steps: 230,
        evaluate_every_episodes: 2,
        evaluation_episodes: 3,
        checkpoint_every_steps: 31,
        ..TrainSettings::default()
    }
}

/// Sets the flag once the run has come to a step, and keeps what it is told.
struct StopAt<'a> {
    step: u64,
    flag: &'a AtomicBool,
    notes: Vec<String>,
}

impl Observer for StopAt<'_> {
    fn progress(&mut self, progress: &Progress, _timing: &Timing) {
        if progress.env_steps >= self.step {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// Trains in `dir`, with a new learner each time it is stopped at one of `stops` and goes on.
fn run(
    dir: &Path,
    settings: &SacSettings,
    train_settings: &TrainSettings,
    seed: u64,
    stops: &[u64],
) {
    let task = PointMass::new();
    for &step in stops.iter().chain([&u64::MAX]) {
        let flag = AtomicBool::new(false);
        let mut observer = StopAt { step, flag: &flag, notes: Vec::new() };
        let mut learner = SacLearner::new(&task, settings, seed).unwrap();
        let outcome =
            train(&task, &mut learner, train_settings, seed, dir, &mut observer, &flag).unwrap();
        if step == u64::MAX {
            assert_eq!(outcome, Outcome::Complete);
        } else {
            let Outcome::Interrupted { env_steps } = outcome else { panic!("not stopped: {step}") };
            assert!(env_steps >= step, "{env_steps} for {step}");
        }
        assert_eq!(observer.notes.is_empty(), step == stops.first().copied().unwrap_or(step));
    }
}

fn files(dir: &Path) -> [Vec<u8>; 5] {
    FILES.map(|name| fs::read(dir.join(name)).unwrap())
}

fn fresh(settings: &SacSettings, train_settings: &TrainSettings, seed: u64) -> TempDir {
    let dir = tempdir().unwrap();
    run(dir.path(), settings, train_settings, seed, &[]);
    dir
}

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    for ((name, a), b) in FILES.iter().zip(files(a)).zip(files(b)) {
        assert!(a == b, "{name} differs");
    }
}

#[test]
fn one_seed_twice_gives_equal_files_and_another_seed_others() {
    for base in [SacSettings::sac(), SacSettings::vg_sac()] {
        let settings = method(base);
        let [a, b, other] = [1, 1, 2].map(|seed| fresh(&settings, &short(), seed));
        assert_same(a.path(), b.path());
        let (a, other) = (files(a.path()), files(other.path()));
        for i in 0..FILES.len() {
            assert_ne!(a[i], other[i], "{}", FILES[i]);
        }
    }
}

#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() {
    for base in [SacSettings::sac(), SacSettings::vg_sac()] {
        // The second memory holds 50 of 230 transitions: the ring goes around.
        for replay_capacity in [1000, 50] {
            let settings = SacSettings { replay_capacity, ..method(base.clone()) };
            let whole = fresh(&settings, &short(), 3);
            // In the random phase, before the first update, within episodes and at their ends (25
            // steps), at checkpoints (31), and near the end.
            for stops in [&[3, 31, 56, 75, 124, 211][..], &[100, 101, 102]] {
                let dir = tempdir().unwrap();
                run(dir.path(), &settings, &short(), 3, stops);
                assert_same(whole.path(), dir.path());
            }
        }
    }
}

#[test]
fn best_networks_and_early_stop_survive_interruptions() {
    let settings = method(SacSettings::vg_sac());
    let base = TrainSettings { evaluate_every_episodes: 1, ..short() };
    let variants = [
        TrainSettings { keep_best: true, ..base.clone() },
        TrainSettings { patience_episodes: 2, ..base.clone() },
        TrainSettings { patience_episodes: 3, keep_best: true, ..base.clone() },
    ];
    for (train_settings, early) in variants.iter().zip([false, true, true]) {
        let whole = fresh(&settings, train_settings, 4);
        let result = fs::read_to_string(whole.path().join("result.json")).unwrap();
        assert_eq!(result.contains("\"stopped_by\": \"patience\""), early, "{result}");
        let dir = tempdir().unwrap();
        run(dir.path(), &settings, train_settings, 4, &[30, 75]);
        assert_same(whole.path(), dir.path());
    }
    // Keeping the best is a choice that shows.
    let [kept, last] = [&variants[0], &base].map(|t| fresh(&settings, t, 4));
    let networks = |dir: &TempDir| fs::read(dir.path().join("networks.safetensors")).unwrap();
    assert_ne!(networks(&kept), networks(&last));
}

#[test]
fn a_kill_while_results_are_written_learns_no_further() {
    let settings = method(SacSettings::sac());
    for patience_episodes in [0, 2] {
        let train_settings = TrainSettings {
            patience_episodes,
            keep_best: true,
            evaluate_every_episodes: 1,
            ..short()
        };
        let dir = fresh(&settings, &train_settings, 4);
        let expected = files(dir.path());
        for n_written in 0..FILES.len() {
            // As after a kill: the last checkpoint stands, some of the results are missing.
            for name in
                ["policy.safetensors", "networks.safetensors", "rollout.json", "result.json"]
                    .iter()
                    .skip(n_written)
            {
                fs::remove_file(dir.path().join(name)).unwrap();
            }
            let task = PointMass::new();
            let mut learner = SacLearner::new(&task, &settings, 4).unwrap();
            let stop = AtomicBool::new(false);
            train(&task, &mut learner, &train_settings, 4, dir.path(), &mut Silent, &stop).unwrap();
            assert_eq!(files(dir.path()), expected, "patience {patience_episodes}");
        }
    }
}

/// A run stopped between two regular checkpoints, with two checkpoints.
fn stopped(settings: &SacSettings) -> TempDir {
    let dir = tempdir().unwrap();
    let task = PointMass::new();
    let flag = AtomicBool::new(false);
    let mut observer = StopAt { step: 165, flag: &flag, notes: Vec::new() };
    let mut learner = SacLearner::new(&task, settings, 3).unwrap();
    train(&task, &mut learner, &short(), 3, dir.path(), &mut observer, &flag).unwrap();
    dir
}

fn resume(dir: &Path, settings: &SacSettings) -> (Result<Outcome, LearnError>, Vec<String>) {
    let task = PointMass::new();
    let flag = AtomicBool::new(false);
    let mut observer = StopAt { step: u64::MAX, flag: &flag, notes: Vec::new() };
    let mut learner = SacLearner::new(&task, settings, 3).unwrap();
    let outcome = train(&task, &mut learner, &short(), 3, dir, &mut observer, &flag);
    (outcome, observer.notes)
}

fn damage(dir: &Path, step: u64) {
    let path = dir.join(format!("checkpoints/step-{step:09}/tensors.safetensors"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_it_serves() {
    let settings = method(SacSettings::vg_sac());
    let whole = fresh(&settings, &short(), 3);
    let dir = stopped(&settings);
    let steps = Checkpoints::new(dir.path().join("checkpoints"), 2).steps().unwrap();
    // The next regular one, 31 steps after the one it goes on from, lies behind the damaged.
    assert!(steps.len() == 2 && steps[1] < steps[0] + 31, "{steps:?}");
    damage(dir.path(), steps[1]);
    let (outcome, notes) = resume(dir.path(), &settings);
    assert_eq!(outcome.unwrap(), Outcome::Complete);
    assert!(notes[0].starts_with("left out a damaged checkpoint"), "{notes:?}");
    assert_eq!(notes[1], format!("resumed at step {}", steps[0]));
    assert_same(whole.path(), dir.path());
}

#[test]
fn a_run_without_a_whole_checkpoint_is_refused_and_left_as_it_is() {
    let settings = method(SacSettings::sac());
    let dir = stopped(&settings);
    for step in Checkpoints::new(dir.path().join("checkpoints"), 2).steps().unwrap() {
        damage(dir.path(), step);
    }
    let curve = fs::read(dir.path().join("curve.csv")).unwrap();
    let (outcome, notes) = resume(dir.path(), &settings);
    let message = outcome.unwrap_err().to_string();
    assert!(
        message.starts_with("no checkpoint of `") && message.contains("delete that folder"),
        "{message}"
    );
    assert_eq!(notes.len(), 2, "both are named: {notes:?}");
    assert_eq!(fs::read(dir.path().join("curve.csv")).unwrap(), curve);
}

#[test]
fn a_run_of_other_settings_method_or_seed_is_refused() {
    let settings = method(SacSettings::sac());
    let dir = stopped(&settings);
    let task = PointMass::new();
    let refusal = |settings: &SacSettings, train_settings: &TrainSettings, seed| {
        let mut learner = SacLearner::new(&task, settings, seed).unwrap();
        let stop = AtomicBool::new(false);
        train(&task, &mut learner, train_settings, seed, dir.path(), &mut Silent, &stop)
            .unwrap_err()
            .to_string()
    };
    let longer = TrainSettings { total_steps: 1000, ..short() };
    assert!(refusal(&settings, &longer, 3).starts_with("the [train] settings of the stored run"));
    let other = refusal(&method(SacSettings::vg_sac()), &short(), 3);
    assert!(other.starts_with("the method of the stored run does not fit"), "{other}");
    assert!(refusal(&settings, &short(), 4).contains("the seed of the stored run"));
    let wide = SacSettings { actor_hidden: vec![9, 8], ..settings.clone() };
    assert!(refusal(&wide, &short(), 3).contains("were the network sizes changed"));
}

/// The actions in the replay memory of a checkpoint that `learner` writes into `dir`.
fn stored_actions(learner: &mut SacLearner<'_>, dir: &Path) -> (Vec<f32>, Tensors) {
    let checkpoints = Checkpoints::new(dir.join("checkpoints"), 1);
    let step = learner.advance(Budget { env_steps: 0 }).unwrap().env_steps;
    checkpoints.save(step, |writer| learner.save(dir, writer)).unwrap();
    let snapshot = checkpoints.open(step).unwrap();
    let state: serde_json::Value = snapshot.json("state.json").unwrap();
    let segments: Vec<SegmentRef> = serde_json::from_value(state["segments"].clone()).unwrap();
    // [o, u, reward, o', mask] of the point mass.
    let mut log = ReplayLog::open(dir.join("replay"), 7, 1000).unwrap();
    let mut actions = Vec::new();
    log.load(&segments, &mut |_, record| actions.push(record[2])).unwrap();
    (actions, snapshot.tensors("tensors.safetensors").unwrap())
}

#[test]
fn fine_tuning_starts_from_the_networks_with_fresh_optimisers_and_no_random_phase() {
    let settings = method(SacSettings::sac());
    let source = fresh(&settings, &short(), 6);
    let networks = load_networks(source.path()).unwrap();
    // An actor that always pushes to the right tells its own actions from random ones.
    let mut changed = Tensors::new();
    for name in networks.names() {
        let (shape, mut values) = networks.get_f32(name).unwrap();
        if name == "actor" {
            let last = values.len();
            values.fill(0.0);
            values[last - 2] = 10.0;
        }
        changed.insert_f32(name, &shape, &values).unwrap();
    }
    let task = PointMass::new();
    let settings = SacSettings { random_steps: 1000, ..settings };
    let mut learner = SacLearner::new(&task, &settings, 8).unwrap();
    learner.start_from(&changed).unwrap();
    for name in changed.names() {
        let found = learner.networks().unwrap().get_f32(name).unwrap();
        assert_eq!(found, changed.get_f32(name).unwrap(), "{name}");
    }
    let dir = tempdir().unwrap();
    let (actions, state) = stored_actions(&mut learner, dir.path());
    assert!(actions.is_empty());
    for name in state.names().filter(|name| name.starts_with("adam")) {
        assert!(state.get_f32(name).unwrap().1.iter().all(|&v| v == 0.0), "{name}");
    }
    learner.advance(Budget { env_steps: 8 }).unwrap();
    let (actions, _) = stored_actions(&mut learner, dir.path());
    assert!(actions.len() >= 5 && actions.iter().all(|&u| u > 0.99), "{actions:?}");

    let wide = SacSettings { critic_hidden: vec![8, 9], ..settings };
    let mut learner = SacLearner::new(&task, &wide, 8).unwrap();
    let message = learner.start_from(&networks).unwrap_err().to_string();
    assert!(message.contains("were the network sizes changed"), "{message}");
}

#[test]
fn a_folder_without_networks_cannot_be_started_from() {
    let dir = tempdir().unwrap();
    let message = load_networks(dir.path()).unwrap_err().to_string();
    assert!(message.starts_with("cannot read the networks "), "{message}");
    fs::write(dir.path().join("networks.safetensors"), b"nonsense").unwrap();
    let message = load_networks(dir.path()).unwrap_err().to_string();
    assert!(message.contains("networks.safetensors` cannot be read"), "{message}");
}
