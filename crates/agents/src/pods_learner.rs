//! PODS and BPTT as methods beside the others: their epochs in the training loop.

use std::path::Path;

use critics::{CheckpointError, Snapshot, SnapshotWriter, Tensors};
use dynamics::Task;
use serde::{Deserialize, Serialize};

use crate::bptt::{self, BpttEpoch};
use crate::metrics::Means;
use crate::normalized_policy::Normalization;
use crate::pods::{self, PodsEpoch};
use crate::policy_search::PolicySearch;
use crate::ppo_learner::{SavedMethod, check};
use crate::{
    Actor, Bptt, BpttSettings, Budget, Episode, LearnError, Learner, MeanPolicy, Pods,
    PodsSettings, Policy, Progress, save_policy,
};

/// PODS or BPTT learning on a task.
///
/// An environment step is one of the nominal model under the policy: k·T per epoch, failed roll-outs
/// included. Roll-outs of line searches and statistics are counted apart, in the metrics. An epoch
/// counts as an episode and is never divided, so a budget may be exceeded.
pub struct PolicySearchLearner<'a> {
    method: SearchMethod<'a>,
    task: &'a dyn Task,
    metrics: Means,
}

enum SearchMethod<'a> {
    Pods { pods: Pods<'a>, name: &'static str },
    Bptt(Bptt<'a>),
}

/// Per epoch: returns of the policy's roll-outs and of the improved ones; share of roll-outs that no
/// step improved; mean step length of the others; roll-outs that failed, and trials of line searches
/// that did; directions that do not minimise their quadratic model; the regression's loss before its
/// last step; roll-outs that were differentiated, and all roll-outs beside the policy's own.
const PODS_METRICS: [&str; 10] = [
    "train_return",
    "improved_return",
    "unimproved",
    "step_length",
    "failures",
    "failed_trials",
    "cut_off_steps",
    "loss",
    "gradients",
    "other_rollouts",
];

/// As those of PODS.
const BPTT_METRICS: [&str; 5] =
    ["train_return", "failures", "gradient_norm", "gradients", "other_rollouts"];

/// Everything of the state that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedState {
    method: String,
    seed: u64,
    epochs: u64,
    normalized: bool,
    adam_steps: u64,
    metrics: Means,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";

impl<'a> PolicySearchLearner<'a> {
    /// PODS at the start of a run.
    ///
    /// # Errors
    /// As [`Pods::new`].
    pub fn pods(
        task: &'a dyn Task,
        settings: &PodsSettings,
        seed: u64,
    ) -> Result<Self, LearnError> {
        let pods = Pods::new(task, settings, seed)?;
        let name = if settings.order == 1 { pods::FIRST_ORDER } else { pods::SECOND_ORDER };
        let method = SearchMethod::Pods { pods, name };
        Ok(Self { method, task, metrics: Means::default() })
    }

    /// BPTT at the start of a run.
    ///
    /// # Errors
    /// As [`Bptt::new`].
    pub fn bptt(
        task: &'a dyn Task,
        settings: &BpttSettings,
        seed: u64,
    ) -> Result<Self, LearnError> {
        let method = SearchMethod::Bptt(Bptt::new(task, settings, seed)?);
        Ok(Self { method, task, metrics: Means::default() })
    }

    fn search(&self) -> &PolicySearch<'a, f32> {
        match &self.method {
            SearchMethod::Pods { pods, .. } => &pods.search,
            SearchMethod::Bptt(bptt) => &bptt.search,
        }
    }

    fn search_mut(&mut self) -> &mut PolicySearch<'a, f32> {
        match &mut self.method {
            SearchMethod::Pods { pods, .. } => &mut pods.search,
            SearchMethod::Bptt(bptt) => &mut bptt.search,
        }
    }

    fn actor(&self) -> Result<Actor, LearnError> {
        Ok(self.search().policy.actor()?)
    }

    fn progress(&self) -> Progress {
        let search = self.search();
        Progress {
            env_steps: search.epochs * search.steps_per_epoch(),
            updates: search.adam.t(),
            episodes: search.epochs,
            episode: None,
        }
    }
}

/// The numbers of [`PODS_METRICS`]; none where nothing was improved.
fn pods_metrics(epoch: &PodsEpoch) -> [Option<f64>; PODS_METRICS.len()] {
    let count = |number: fn(&pods::PodsRollout) -> usize| epoch.kept().map(number).sum::<usize>();
    let improved = count(|r| usize::from(r.step_length.is_some()));
    let lengths: f64 = epoch.kept().filter_map(|r| r.step_length).sum();
    let kept = epoch.kept().count();
    [
        Some(-epoch.mean(|r| r.cost_before)),
        Some(-epoch.mean(|r| r.cost_after)),
        Some((kept - improved) as f64 / kept as f64),
        (improved > 0).then(|| lengths / improved as f64),
        Some(epoch.failures() as f64),
        Some(count(|r| r.failed_trials) as f64),
        Some(count(|r| usize::from(!r.converged)) as f64),
        epoch.losses.last().copied(),
        Some(kept as f64),
        Some(count(|r| r.trials) as f64),
    ]
}

/// The numbers of [`BPTT_METRICS`].
fn bptt_metrics(epoch: &BpttEpoch) -> [Option<f64>; BPTT_METRICS.len()] {
    [
        Some(-epoch.mean_cost()),
        Some(epoch.failures() as f64),
        Some(epoch.gradient_norm),
        Some((epoch.costs.len() - epoch.failures()) as f64),
        Some(epoch.statistics_rollouts as f64),
    ]
}

impl Learner for PolicySearchLearner<'_> {
    fn method(&self) -> &'static str {
        match self.method {
            SearchMethod::Pods { name, .. } => name,
            SearchMethod::Bptt(_) => bptt::METHOD,
        }
    }

    fn advance(&mut self, budget: Budget) -> Result<Progress, LearnError> {
        if budget.env_steps == 0 {
            return Ok(self.progress());
        }
        let cost = match &mut self.method {
            SearchMethod::Pods { pods, .. } => {
                let epoch = pods.epoch()?;
                self.metrics.add(&pods_metrics(&epoch));
                epoch.mean(|rollout| rollout.cost_before)
            }
            SearchMethod::Bptt(bptt) => {
                let epoch = bptt.epoch()?;
                self.metrics.add(&bptt_metrics(&epoch));
                epoch.mean_cost()
            }
        };
        let episode = Episode { total_reward: -cost, length: self.task.horizon() };
        Ok(Progress { episode: Some(episode), ..self.progress() })
    }

    fn policy(&self) -> Result<Box<dyn Policy + '_>, LearnError> {
        Ok(Box::new(MeanPolicy::new(self.task, self.actor()?)?))
    }

    fn metric_names(&self) -> &[&'static str] {
        match self.method {
            SearchMethod::Pods { .. } => &PODS_METRICS,
            SearchMethod::Bptt(_) => &BPTT_METRICS,
        }
    }

    fn take_metrics(&mut self) -> Vec<f64> {
        let n = self.metric_names().len();
        self.metrics.take(n)
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        save_policy(path, &self.actor()?)
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        let policy = &self.search().policy;
        let Normalization { mean, scale } = policy.normalization();
        let params = policy.net().params();
        let mut tensors = Tensors::new();
        tensors.insert_f32("policy", &[params.len()], params)?;
        tensors.insert_f64("mean", &[mean.len()], mean)?;
        tensors.insert_f64("scale", &[scale.len()], scale)?;
        Ok(tensors)
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        self.set_networks(networks)?;
        self.search_mut().normalized = true;
        Ok(())
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let policy = &mut self.search_mut().policy;
        let n_params = policy.net.params().len();
        let params = networks.f32_of_shape("policy", &[n_params])?;
        let n = policy.n_observations();
        let mean = networks.f64_of_shape("mean", &[n])?;
        let scale = networks.f64_of_shape("scale", &[n])?;
        policy.net.params_mut().copy_from_slice(&params);
        policy.normalization = Normalization { mean, scale };
        Ok(())
    }

    fn save(
        &mut self,
        _dir: &Path,
        checkpoint: &mut SnapshotWriter,
    ) -> Result<(), CheckpointError> {
        let mut tensors = self.networks()?;
        let PolicySearch { adam, seed, epochs, normalized, .. } = self.search();
        tensors.insert_f32("adam.m", &[adam.m().len()], adam.m())?;
        tensors.insert_f32("adam.v", &[adam.v().len()], adam.v())?;
        checkpoint.tensors(TENSOR_FILE, &tensors)?;
        let state = SavedState {
            method: self.method().to_owned(),
            seed: *seed,
            epochs: *epochs,
            normalized: *normalized,
            adam_steps: adam.t(),
            metrics: self.metrics.clone(),
        };
        checkpoint.json(STATE_FILE, &state)
    }

    fn load(&mut self, _dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError> {
        // Another method's state has other fields; its name says more than the missing field.
        let method: SavedMethod = checkpoint.json(STATE_FILE)?;
        check("the method", &method.method, self.method())?;
        let saved: SavedState = checkpoint.json(STATE_FILE)?;
        check("the seed", saved.seed, self.search().seed)?;
        let tensors = checkpoint.tensors(TENSOR_FILE)?;
        self.set_networks(&tensors)?;
        self.metrics = saved.metrics;
        let search = self.search_mut();
        let n_params = search.policy.net.params().len();
        let moment = |part| tensors.f32_of_shape(part, &[n_params]);
        search.adam.restore(moment("adam.m")?, moment("adam.v")?, saved.adam_steps)?;
        search.epochs = saved.epochs;
        search.normalized = saved.normalized;
        Ok(())
    }
}
