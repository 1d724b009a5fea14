//! Learning on a task that takes seconds, and what goes wrong in words.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use agents::{
    Budget, LearnError, Learner, Policy, SacLearner, SacSettings, TrainSettings,
    ValueGradientSettings, evaluate,
};
use common::PointMass;
use dynamics::{Stream, Task};
use nalgebra::DVector;

/// Uniformly random actions.
struct Random(Stream);

impl Policy for Random {
    fn act(&mut self, _t: usize, _x: &DVector<f64>, u: &mut DVector<f64>) {
        u[0] = self.0.uniform(-2.0, 2.0);
    }
}

fn small(settings: SacSettings) -> SacSettings {
    SacSettings {
        actor_hidden: vec![16, 16],
        critic_hidden: vec![16, 16],
        learning_rate: 3e-3,
        tau: 0.02,
        alpha: 0.05,
        batch_size: 32,
        random_steps: 200,
        update_after: 32,
        ..settings
    }
}

fn mean_return(task: &dyn Task, policy: &mut dyn Policy) -> f64 {
    evaluate(task, policy, 50, &mut Stream::new(9, "test starts", 0)).unwrap().mean_return()
}

#[test]
fn both_methods_solve_the_point_mass_far_beyond_random() {
    let task = PointMass::new();
    let random = mean_return(&task, &mut Random(Stream::new(0, "random", 0)));
    assert!(random < -10.0, "random actions return {random}");
    for settings in [SacSettings::sac(), SacSettings::paired_sac(), SacSettings::vg_sac()] {
        for seed in [0, 1] {
            let mut learner = SacLearner::new(&task, &small(settings.clone()), seed).unwrap();
            while learner.advance(Budget { env_steps: 100 }).unwrap().env_steps < 2500 {}
            let learned = mean_return(&task, &mut *learner.policy().unwrap());
            // 25 would be the middle from the first step on, which no force can reach.
            assert!(learned > 12.0, "{} seed {seed}: {learned}", learner.method());
        }
    }
}

#[test]
fn a_reward_that_is_no_number_is_told_with_seed_and_step() {
    let mut task = PointMass::new();
    task.reward_until = 2.5;
    let mut learner = SacLearner::new(&task, &small(SacSettings::sac()), 17).unwrap();
    let mut before = 0;
    let error = loop {
        match learner.advance(Budget { env_steps: 1 }) {
            Ok(progress) => before = progress.env_steps,
            Err(error) => break error,
        }
    };
    assert_eq!(
        error.to_string(),
        format!("the task failed at environment step {before} (seed 17)")
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("`point-mass`: entry 0 of `reward` is NaN"), "{source}");
}

#[test]
fn weights_that_blow_up_are_told_with_seed_step_and_update() {
    let task = PointMass::new();
    let settings = SacSettings { learning_rate: 1e30, ..small(SacSettings::vg_sac()) };
    let mut learner = SacLearner::new(&task, &settings, 5).unwrap();
    let error = loop {
        if let Err(error) = learner.advance(Budget { env_steps: 25 }) {
            break error;
        }
    };
    let LearnError::NotFinite { method, seed, env_step, update, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((method.as_str(), *seed), ("vg-sac", 5));
    assert!(*update >= 1 && *env_step > 32);
    assert!(error.to_string().ends_with("Try a smaller `method.learning_rate`"), "{error}");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let task = PointMass::new();
    let refusal =
        |settings: SacSettings| SacLearner::new(&task, &settings, 0).err().unwrap().to_string();
    let sac = SacSettings::sac;
    let cases = [
        (SacSettings { learning_rate: f64::NAN, ..sac() }, "`method.learning_rate` is NaN"),
        (SacSettings { learning_rate: -1.0, ..sac() }, "`method.learning_rate` is -1"),
        (SacSettings { tau: 1.5, ..sac() }, "`method.tau` is 1.5"),
        (SacSettings { alpha: -0.1, ..sac() }, "`method.alpha` is -0.1"),
        (SacSettings { alpha: f64::INFINITY, ..sac() }, "`method.alpha` is inf"),
        (SacSettings { alpha: 0.0, ..sac() }, "`method.alpha` is 0"),
        (SacSettings { batch_size: 0, ..sac() }, "`method.batch_size` is 0"),
        (SacSettings { batch_size: 1 << 40, ..sac() }, "`method.batch_size` is 1099511627776"),
        (SacSettings { replay_capacity: 100, ..sac() }, "`method.replay_capacity` is 100"),
        (SacSettings { critic_hidden: vec![], ..sac() }, "`method.critic_hidden` is []"),
    ];
    for (settings, start) in cases {
        let message = refusal(settings);
        assert!(message.starts_with(start) && message.contains("but must be"), "{message}");
    }
    let vg = ValueGradientSettings::default;
    let cases = [
        (ValueGradientSettings { zeta_s: -1.0, ..vg() }, "zeta_s` is -1"),
        (ValueGradientSettings { zeta_a: f64::NAN, ..vg() }, "zeta_a` is NaN"),
        (ValueGradientSettings { kappa_smoothing: 2.0, ..vg() }, "kappa_smoothing` is 2"),
        (ValueGradientSettings { median_decay: -0.5, ..vg() }, "median_decay` is -0.5"),
    ];
    for (value_gradient, part) in cases {
        let message = refusal(SacSettings { value_gradient: Some(value_gradient), ..sac() });
        assert!(message.starts_with("`method.value_gradient.") && message.contains(part));
    }
    assert!(refusal(SacSettings { actor_hidden: vec![0], ..sac() }).contains("[2, 0, 2]"));
}

#[test]
fn loop_settings_of_zero_are_refused_by_name() {
    let ok = TrainSettings::default;
    ok().check().unwrap();
    for (settings, key) in [
        (TrainSettings { total_steps: 0, ..ok() }, "total_steps"),
        (TrainSettings { evaluate_every_episodes: 0, ..ok() }, "evaluate_every_episodes"),
        (TrainSettings { evaluation_episodes: 0, ..ok() }, "evaluation_episodes"),
        (TrainSettings { checkpoint_every_steps: 0, ..ok() }, "checkpoint_every_steps"),
    ] {
        let message = settings.check().unwrap_err().to_string();
        assert_eq!(message, format!("`train.{key}` is 0, but must be at least 1"));
    }
}
