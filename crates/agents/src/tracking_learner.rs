//! The tracking-feedback policy gradient as a method beside the others (algorithm 1).

use std::path::Path;

use critics::{CheckpointError, Snapshot, SnapshotWriter, Tensors};
use dynamics::{Stream, Task};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::metrics::Means;
use crate::ppo_learner::{SavedMethod, check};
use crate::tracking::{
    GradientReport, Recording, TrackingGradient, TrackingPolicy, TrackingSettings, Windows,
};
use crate::{Budget, Episode, LearnError, Learner, Policy, Progress};

/// Gradient ascent along real trajectories.
///
/// Environment steps are the plant's: N roll-outs per step of the policy, which counts as an episode and
/// is never divided, so a budget may be exceeded.
pub struct TrackingLearner<'a> {
    task: &'a dyn Task,
    settings: TrackingSettings,
    seed: u64,
    policy: TrackingPolicy<'a>,
    progress: Progress,
    metrics: Means,
}

/// Per step of the policy: mean return of its roll-outs, norm of the gradient before it is shortened, the
/// largest spectral radius of the model's closed loop at the starts of segments, and the largest difference
/// between an action and what the policy would have done.
const METRICS: [&str; 4] =
    ["train_return", "gradient_norm", "closed_loop_radius", "action_mismatch"];

/// Everything of the state that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedState {
    method: String,
    seed: u64,
    env_steps: u64,
    updates: u64,
    metrics: Means,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";

impl<'a> TrackingLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, windows longer than an episode; a task without a tracker.
    pub fn new(
        task: &'a dyn Task,
        settings: &TrackingSettings,
        seed: u64,
    ) -> Result<Self, LearnError> {
        settings.check()?;
        let policy = TrackingPolicy::new(task, &settings.hidden, seed)?;
        let Windows { length, start } = settings.windows;
        let n_segments = task.horizon().div_ceil(policy.tracker().shape().segment);
        if !settings.windows.fit(n_segments) {
            return Err(LearnError::Setting {
                key: "method.windows",
                value: format!("{length} segments from segment {start} on"),
                needed: "at least one window within an episode; `method.windows.length=0` for none",
            });
        }
        // A plant without derivatives is refused here, and not after the first roll-outs.
        TrackingGradient::new(&policy, task, settings.derivatives, settings.horizon)?;
        Ok(Self {
            task,
            settings: settings.clone(),
            seed,
            policy,
            progress: Progress::default(),
            metrics: Means::default(),
        })
    }

    /// The policy as it is now.
    #[must_use]
    pub fn tracking_policy(&self) -> &TrackingPolicy<'a> {
        &self.policy
    }

    /// The roll-outs of the policy as it is now. Their starts depend on seed and step alone.
    ///
    /// # Errors
    /// What the plant reports.
    pub fn record(&self) -> Result<Vec<Recording>, LearnError> {
        let n = self.settings.rollouts as u64;
        let first = self.progress.updates * n;
        let one = |i: u64| {
            let noisy = self.task.plant().any_n_noise() > 0;
            let noise = noisy.then(|| Stream::new(self.seed, "plant noise", first + i));
            let starts = &mut Stream::new(self.seed, "episode starts", first + i);
            Recording::of(self.task, &mut self.policy.follower(), starts, noise)
        };
        let recordings: Result<_, _> = (0..n).into_par_iter().map(one).collect();
        recordings.map_err(|source| LearnError::Task {
            seed: self.seed,
            env_step: self.progress.env_steps,
            source,
        })
    }

    /// dJ/dθ along a recording, added to zeros.
    fn gradient(&self, recording: &Recording) -> Result<(Vec<f64>, GradientReport), LearnError> {
        let TrackingSettings { derivatives, horizon, windows, .. } = self.settings;
        let mut estimator = TrackingGradient::new(&self.policy, self.task, derivatives, horizon)?
            .with_windows(windows);
        let mut grads = vec![0.0; self.policy.params().len()];
        let report = estimator.costate(&self.policy, recording, &mut grads);
        let report = report.map_err(|source| LearnError::Task {
            seed: self.seed,
            env_step: self.progress.env_steps,
            source,
        })?;
        Ok((grads, report))
    }

    /// What is wrong with recordings that nothing can be learned from.
    fn check(&self, recordings: &[Recording]) -> Result<(), String> {
        if recordings.is_empty() {
            return Err("there are none".to_owned());
        }
        let Windows { length, start } = self.settings.windows;
        let segment = self.policy.tracker().shape().segment;
        for (i, recording) in recordings.iter().enumerate() {
            recording.check(self.task).map_err(|reason| format!("recording {i}: {reason}"))?;
            let n = recording.n_steps().div_ceil(segment);
            if !self.settings.windows.fit(n) {
                return Err(format!(
                    "recording {i} has {n} segments, but `method.windows` asks for {length} from segment {start} on"
                ));
            }
        }
        Ok(())
    }

    /// One step of the policy up the mean of the gradients along `recordings`, which may come from
    /// anywhere (logs of a robot that ran this policy).
    ///
    /// # Errors
    /// No recordings, or some that do not fit the task; a gradient that is not finite; what the model
    /// reports. The policy has not moved then.
    pub fn learn_from(&mut self, recordings: &[Recording]) -> Result<(), LearnError> {
        self.check(recordings).map_err(|reason| LearnError::Recordings { reason })?;
        let TrackingSettings { learning_rate, max_gradient_norm, .. } = self.settings;
        let found: Vec<_> =
            recordings.par_iter().map(|one| self.gradient(one)).collect::<Result<_, _>>()?;
        let n = found.len() as f64;
        let mut gradient = vec![0.0; self.policy.params().len()];
        for (grads, _) in &found {
            gradient.iter_mut().zip(grads).for_each(|(sum, grad)| *sum += grad / n);
        }
        let norm = gradient.iter().map(|grad| grad * grad).sum::<f64>().sqrt();
        let largest = |of: fn(&GradientReport) -> f64| {
            found.iter().map(|(_, report)| of(report)).fold(0.0, f64::max)
        };
        let radius = largest(|report| report.closed_loop_radius);
        if !norm.is_finite() {
            return Err(LearnError::NotFinite {
                method: self.method().to_owned(),
                seed: self.seed,
                what: match radius >= 1.0 {
                    true => {
                        "the gradient's norm (the model's closed loop has a spectral radius of 1 or more)"
                    }
                    false => "the gradient's norm",
                },
                value: norm,
                env_step: self.progress.env_steps,
                update: self.progress.updates,
            });
        }
        let rate = learning_rate * (max_gradient_norm / norm).min(1.0);
        for (param, grad) in self.policy.params_mut().iter_mut().zip(&gradient) {
            *param += rate * grad;
        }
        let mean = found.iter().map(|(_, report)| report.total_reward).sum::<f64>() / n;
        let mismatch = largest(|report| report.action_mismatch);
        self.metrics.add(&[Some(mean), Some(norm), Some(radius), Some(mismatch)]);
        let steps: usize = recordings.iter().map(Recording::n_steps).sum();
        self.progress.env_steps += steps as u64;
        self.progress.updates += 1;
        self.progress.episodes += 1;
        let length = steps / recordings.len();
        self.progress.episode = Some(Episode { total_reward: mean, length });
        Ok(())
    }
}

impl Learner for TrackingLearner<'_> {
    fn method(&self) -> &'static str {
        self.settings.horizon.method()
    }

    fn advance(&mut self, budget: Budget) -> Result<Progress, LearnError> {
        self.progress.episode = None;
        if budget.env_steps > 0 {
            let recordings = self.record()?;
            self.learn_from(&recordings)?;
        }
        Ok(self.progress)
    }

    fn policy(&self) -> Result<Box<dyn Policy + '_>, LearnError> {
        Ok(Box::new(self.policy.follower()))
    }

    /// The spectral radius of the model's closed loop along the next roll-outs.
    fn remark(&self) -> Result<Option<String>, LearnError> {
        let reports = self.record()?;
        let radii = reports.iter().map(|one| Ok(self.gradient(one)?.1.closed_loop_radius));
        let radii: Vec<f64> = radii.collect::<Result<_, LearnError>>()?;
        let radius = radii.into_iter().fold(0.0, f64::max);
        let words = match radius < 1.0 {
            true => "costates stay bounded",
            false => {
                "costates grow with the horizon; a controller or a time step of another kind, or \
                      `tracking-cut`, may mend that"
            }
        };
        Ok(Some(format!(
            "the model's closed loop, Â + B̂K, has a spectral radius of {radius:.4} at most: {words}"
        )))
    }

    fn metric_names(&self) -> &[&'static str] {
        &METRICS
    }

    fn take_metrics(&mut self) -> Vec<f64> {
        self.metrics.take(METRICS.len())
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        self.policy.save(path)
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        self.policy.tensors()
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        self.set_networks(networks)
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let n = self.policy.params().len();
        let params = networks.f64_of_shape("tracking", &[n])?;
        self.policy.params_mut().copy_from_slice(&params);
        Ok(())
    }

    fn save(
        &mut self,
        _dir: &Path,
        checkpoint: &mut SnapshotWriter,
    ) -> Result<(), CheckpointError> {
        checkpoint.tensors(TENSOR_FILE, &self.networks()?)?;
        let state = SavedState {
            method: self.method().to_owned(),
            seed: self.seed,
            env_steps: self.progress.env_steps,
            updates: self.progress.updates,
            metrics: self.metrics.clone(),
        };
        checkpoint.json(STATE_FILE, &state)
    }

    fn load(&mut self, _dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError> {
        // Another method's state has other fields; its name says more than the missing field.
        let method: SavedMethod = checkpoint.json(STATE_FILE)?;
        check("the method", &method.method, self.method())?;
        let saved: SavedState = checkpoint.json(STATE_FILE)?;
        check("the seed", saved.seed, self.seed)?;
        self.set_networks(&checkpoint.tensors(TENSOR_FILE)?)?;
        self.metrics = saved.metrics;
        self.progress = Progress {
            env_steps: saved.env_steps,
            updates: saved.updates,
            episodes: saved.updates,
            episode: None,
        };
        Ok(())
    }
}
