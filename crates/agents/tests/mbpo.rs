//! Model-based policy optimisation learns, and is the same however often it is interrupted.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agents::mbpo::{EnsembleSettings, MbpoLearner, MbpoSettings};
use agents::{
    Budget, Learner, Observer, Progress, SacSettings, Timing, TrainSettings, evaluate, train,
};
use bench_tasks::{Preset, Variant, registry};
use common::PointMass;
use dynamics::Stream;

fn settings() -> MbpoSettings {
    let default = MbpoSettings::default();
    MbpoSettings {
        refit_every: 100,
        rollouts: 400,
        rollout_length: [1, 3],
        rollout_steps: [100, 500],
        kept_fits: 2,
        updates: 5,
        real_share: 0.1,
        model: EnsembleSettings {
            members: 3,
            elites: 2,
            hidden: vec![16, 16],
            learning_rate: 3e-3,
            max_epochs: 300,
            batch: 16,
            ..default.model
        },
        sac: SacSettings {
            actor_hidden: vec![16, 16],
            critic_hidden: vec![16, 16],
            learning_rate: 3e-3,
            tau: 0.02,
            alpha: 0.05,
            learn_alpha: false,
            batch_size: 32,
            random_steps: 100,
            update_after: 50,
            ..default.sac
        },
    }
}

#[test]
fn it_solves_the_point_mass_from_fewer_steps_than_sac_needs() {
    let task = PointMass::new();
    for seed in [0, 1, 2] {
        let mut learner = MbpoLearner::new(&task, &settings(), seed).unwrap();
        while learner.advance(Budget { env_steps: 100 }).unwrap().env_steps < 1000 {}
        let stream = &mut Stream::new(9, "test starts", 0);
        let learned = evaluate(&task, &mut *learner.policy().unwrap(), 50, stream).unwrap();
        // SAC has 2,500 steps for the same.
        assert!(learned.mean_return() > 12.0, "seed {seed}: {}", learned.mean_return());
    }
}

/// Stops at a step.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Observer for StopAt<'_> {
    fn progress(&mut self, progress: &Progress, _timing: &Timing) {
        if progress.env_steps >= self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    fn note(&mut self, _text: &str) {}
}

fn run(dir: &Path, stops: &[u64]) -> Vec<Vec<u8>> {
    let task = PointMass::new();
    let loop_ = TrainSettings {
        total_steps: 330,
        evaluate_every_episodes: 2,
        evaluation_episodes: 3,
        checkpoint_every_steps: 31,
        ..TrainSettings::default()
    };
    for &step in stops.iter().chain([&u64::MAX]) {
        let flag = AtomicBool::new(false);
        let mut learner = MbpoLearner::new(&task, &settings(), 4).unwrap();
        train(&task, &mut learner, &loop_, 4, dir, &mut StopAt(step, &flag), &flag).unwrap();
    }
    ["networks.safetensors", "policy.safetensors", "curve.csv", "result.json"]
        .map(|name| fs::read(dir.join(name)).unwrap())
        .to_vec()
}

#[test]
fn interruptions_leave_no_trace() {
    let (once, often) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (once, often) = (run(once.path(), &[]), run(often.path(), &[60, 101, 150, 222, 305]));
    assert!(once == often, "the files differ");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let task = PointMass::new();
    let refusal =
        |settings: MbpoSettings| MbpoLearner::new(&task, &settings, 0).err().unwrap().to_string();
    let model = EnsembleSettings { members: 2, elites: 3, ..settings().model };
    for (settings, key) in [
        (MbpoSettings { refit_every: 0, ..settings() }, "method.refit_every"),
        (MbpoSettings { real_share: 1.5, ..settings() }, "method.real_share"),
        (MbpoSettings { model, ..settings() }, "method.model.members"),
        (MbpoSettings { sac: SacSettings::vg_sac(), ..settings() }, "method.sac"),
    ] {
        let refused = refusal(settings);
        assert!(refused.contains(key), "{refused}");
    }
}

#[test]
fn it_runs_on_every_task() {
    let settings = MbpoSettings {
        refit_every: 20,
        rollouts: 10,
        rollout_length: [1, 1],
        updates: 1,
        model: EnsembleSettings { hidden: vec![4], max_epochs: 2, ..settings().model },
        sac: SacSettings {
            actor_hidden: vec![4],
            critic_hidden: vec![4],
            batch_size: 8,
            random_steps: 10,
            update_after: 10,
            ..settings().sac
        },
        ..settings()
    };
    for entry in registry() {
        let task = (entry.settings)(Preset::Released)
            .and_then(|settings| (entry.build)(Variant::Real, &settings))
            .unwrap();
        let mut learner = MbpoLearner::new(task.as_task(), &settings, 0).unwrap();
        let mut steps = 0;
        while steps < 25 {
            steps = learner.advance(Budget { env_steps: 25 - steps }).unwrap().env_steps;
        }
        let metrics = learner.take_metrics();
        assert!(metrics[0].is_finite() && metrics[8].is_finite(), "{}: {metrics:?}", entry.name);
    }
}
