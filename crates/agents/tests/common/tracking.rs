//! Roll-outs and gradients of tracking policies.

use agents::tracking::{Derivatives, Horizon, Recording, TrackingGradient, TrackingPolicy};
use dynamics::{Move, Stream, Task};
use nalgebra::DVector;

/// An episode from `x0`.
pub(crate) fn record(task: &dyn Task, policy: &TrackingPolicy<'_>, x0: &DVector<f64>) -> Recording {
    Recording::from_start(task, &mut policy.follower(), x0, None).unwrap()
}

pub(crate) fn start(task: &dyn Task, seed: u64) -> DVector<f64> {
    let mut x0 = DVector::zeros(task.plant().any_nx());
    task.sample_x0(&mut Stream::new(seed, "starts", 0), &mut x0);
    x0
}

pub(crate) fn gradient(
    task: &dyn Task,
    policy: &TrackingPolicy<'_>,
    recording: &Recording,
    (derivatives, horizon): (Derivatives, Horizon),
) -> DVector<f64> {
    let mut grads = vec![0.0; policy.params().len()];
    let mut estimator = TrackingGradient::new(policy, task, derivatives, horizon).unwrap();
    let report = estimator.costate(policy, recording, &mut grads).unwrap();
    assert!(report.action_mismatch < 1e-12, "{report:?}");
    DVector::from_vec(grads)
}

/// The sum of rewards of an episode from `x0`.
pub(crate) fn total_reward(task: &dyn Task, policy: &TrackingPolicy<'_>, x0: &DVector<f64>) -> f64 {
    let recording = record(task, policy, x0);
    let mut scratch = task.reward_scratch();
    let reward = |(t, u): (usize, &DVector<f64>)| {
        let m = Move { t, x: &recording.xs[t], u, x_next: &recording.xs[t + 1] };
        task.reward(&mut scratch, &m)
    };
    recording.us.iter().enumerate().map(reward).sum()
}
