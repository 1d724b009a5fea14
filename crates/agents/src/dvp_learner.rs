//! DVP as a method beside the others: its iterations in the training loop.

use std::path::Path;

use critics::{
    CheckpointError, FitSettings, Scaling, Snapshot, SnapshotWriter, Tensors, ValueNetwork,
    ValueSpec,
};
use ddp::Method;
use dynamics::{Stream, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::dvp::{Dvp, DvpIteration, DvpSettings, Trajectory, mean_squared_difference, values};
use crate::ppo_learner::{SavedMethod, check};
use crate::{Budget, Episode, LearnError, Learner, Policy, Progress, TrainSettings, ValuePlanner};

/// Settings of [`DvpLearner`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DvpLearnerSettings {
    /// The loop. Its discount multiplies the task's; its number of iterations is the default length of
    /// a run.
    #[serde(flatten)]
    pub values: DvpSettings,
    /// Whether the solves of the first iteration end in the task's own terminal cost, and not in
    /// `first_bias`.
    pub task_terminal: bool,
    /// Steps that the policy plans ahead.
    pub plan_horizon: usize,
    /// Iterations of a plan at most, after the first of an episode.
    pub plan_iterations: usize,
}

impl Default for DvpLearnerSettings {
    /// Within the limits of the controls, and with every node of a trajectory as a sample: episodes
    /// start in a small region, but plans end anywhere on the way.
    fn default() -> Self {
        let fit = FitSettings { epochs: 60, batch: Some(256), ..FitSettings::default() };
        let values = DvpSettings {
            iterations: 5,
            samples: 50,
            horizon: 100,
            all_nodes: true,
            normalize: true,
            method: Method::BoxFddp,
            fit,
            ..DvpSettings::default()
        };
        Self { values, task_terminal: true, plan_horizon: 20, plan_iterations: 10 }
    }
}

impl DvpLearnerSettings {
    /// Steps of an iteration: the nodes of its solves.
    fn steps(&self) -> u64 {
        self.values.samples as u64 * self.values.horizon as u64
    }

    /// γ of the labels and plans.
    pub(crate) fn discount(&self, task: &dyn Task) -> f64 {
        task.discount() * self.values.discount
    }

    /// Checks what the loop does not.
    pub(crate) fn check(&self) -> Result<(), LearnError> {
        let rate = self.values.learning_rate;
        if !(rate > 0.0 && rate.is_finite()) {
            let (key, needed) = ("method.learning_rate", "positive and finite");
            return Err(LearnError::Setting { key, value: rate.to_string(), needed });
        }
        let counts = [
            ("method.plan_horizon", self.plan_horizon),
            ("method.plan_iterations", self.plan_iterations),
            ("method.fit.epochs", self.values.fit.epochs),
            ("method.fit.batch", self.values.fit.batch.unwrap_or(1)),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            None => Ok(()),
            Some((key, _)) => {
                Err(LearnError::Setting { key, value: "0".to_owned(), needed: "at least 1" })
            }
        }
    }

    /// The training loop of a run of so many iterations, with an evaluation and a checkpoint after
    /// each.
    #[must_use]
    pub fn train_settings(&self) -> TrainSettings {
        TrainSettings {
            // What is 0 by mistake is refused by its own name, not by that of the steps.
            total_steps: (self.steps() * self.values.iterations as u64).max(1),
            evaluate_every_episodes: 1,
            evaluation_episodes: 20,
            checkpoint_every_steps: self.steps().max(1),
            // An iteration may be worse than the one before it.
            keep_best: true,
            ..TrainSettings::default()
        }
    }
}

/// DVP learning on a task.
///
/// It learns from the nominal model alone and takes no step of the plant. What counts as an
/// environment step is a node of a solve, labelled or rejected; an iteration of the loop counts as an
/// episode. An iteration is never divided, so a budget may be exceeded.
pub struct DvpLearner<'a> {
    dvp: Dvp<'a>,
    planner: ValuePlanner<'a>,
    settings: DvpLearnerSettings,
    seed: u64,
    /// Where the Bellman residual is taken.
    test_states: Vec<DVector<f64>>,
    metrics: Metrics,
}

const METHOD: &str = "dvp";
/// Number of states at which the Bellman residual is taken.
const TEST_STATES: usize = 100;
const METRICS: [&str; 6] =
    ["v_loss", "vx_loss", "solved", "rejected", "solver_iterations", "bellman_residual"];

/// Sums since the metrics were last taken, and how many numbers each has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    sums: [f64; METRICS.len()],
    counts: [u64; METRICS.len()],
}

/// Everything of the state that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedState {
    method: String,
    seed: u64,
    iteration: usize,
    learned: bool,
    adam_steps: u64,
    trajectories: usize,
    metrics: Metrics,
}

const STATE_FILE: &str = "state.json";
const TENSOR_FILE: &str = "tensors.safetensors";
/// Metadata that says what network the tensors are of.
const SPEC: &str = "value_spec";

impl<'a> DvpLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range; a task without an objective or with states on a Lie group.
    pub fn new(
        task: &'a dyn Task,
        settings: &DvpLearnerSettings,
        seed: u64,
    ) -> Result<Self, LearnError> {
        let discount = settings.discount(task);
        let mut dvp = Dvp::new(task, &DvpSettings { discount, ..settings.values.clone() }, seed)?;
        if settings.task_terminal {
            dvp.first_terminal = task.objective().map(|objective| objective.terminal);
        }
        let mut stream = Stream::new(seed, "dvp test states", 0);
        Ok(Self {
            planner: ValuePlanner::new(task, dvp.terminal_cost(), settings)?,
            settings: settings.clone(),
            seed,
            test_states: dvp.starts(&mut stream, TEST_STATES),
            metrics: Metrics::default(),
            dvp,
        })
    }

    /// The value network as it is now.
    #[must_use]
    pub fn network(&self) -> &ValueNetwork<f64> {
        self.dvp.network()
    }

    fn progress(&self) -> Progress {
        let iterations = self.dvp.iteration as u64;
        Progress {
            env_steps: iterations * self.settings.steps(),
            updates: self.dvp.adam.t(),
            episodes: iterations,
            episode: None,
        }
    }
}

/// The network as JSON.
fn spec(network: &ValueNetwork<f64>) -> Result<String, CheckpointError> {
    serde_json::to_string(network.spec()).map_err(|error| CheckpointError::Format {
        path: TENSOR_FILE.into(),
        reason: error.to_string(),
    })
}

impl Metrics {
    fn add(&mut self, iteration: &DvpIteration, residual: Option<f64>) {
        let last = iteration.fit.last().map(|epoch| epoch.train);
        let values = [
            last.map(|errors| errors.v),
            last.and_then(|errors| errors.vx),
            Some(iteration.solved as f64),
            Some(iteration.rejected as f64),
            Some(iteration.solver_iterations),
            residual,
        ];
        for (i, value) in values.into_iter().enumerate() {
            self.sums[i] += value.unwrap_or(0.0);
            self.counts[i] += u64::from(value.is_some());
        }
    }
}

impl Learner for DvpLearner<'_> {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn advance(&mut self, budget: Budget) -> Result<Progress, LearnError> {
        if budget.env_steps == 0 {
            return Ok(self.progress());
        }
        let before = self.dvp.learned.then(|| values(&self.dvp.network, &self.test_states));
        let iteration = self.dvp.iterate()?;
        let after = values(&self.dvp.network, &self.test_states);
        let residual = before.map(|before| mean_squared_difference(&before, &after));
        self.metrics.add(&iteration, residual);
        self.planner.set_terminal(self.dvp.terminal_cost());
        let episode =
            Episode { total_reward: -iteration.cost, length: self.settings.values.horizon };
        Ok(Progress { episode: Some(episode), ..self.progress() })
    }

    fn policy(&self) -> Result<Box<dyn Policy + '_>, LearnError> {
        Ok(Box::new(self.planner.policy()?))
    }

    fn metric_names(&self) -> &[&'static str] {
        &METRICS
    }

    fn take_metrics(&mut self) -> Vec<f64> {
        let Metrics { sums, counts } = std::mem::take(&mut self.metrics);
        sums.iter().zip(counts).map(|(sum, count)| sum / count as f64).collect()
    }

    fn save_policy(&self, path: &Path) -> Result<(), LearnError> {
        Ok(self.dvp.network.save(path)?)
    }

    fn networks(&self) -> Result<Tensors, CheckpointError> {
        let network = &self.dvp.network;
        let (params, Scaling { shift, scale, value }) = (network.net().params(), network.scaling());
        let mut tensors = Tensors::new();
        tensors.insert_f64("value", &[params.len()], params)?;
        tensors.insert_f64("shift", &[shift.len()], shift)?;
        tensors.insert_f64("scale", &[scale.len()], scale)?;
        tensors.insert_f64("value_scale", &[1], &[*value])?;
        tensors.insert_metadata(SPEC, &spec(network)?);
        Ok(tensors)
    }

    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        self.set_networks(networks)?;
        // The first solves end in the value there is.
        self.dvp.learned = true;
        self.planner.set_terminal(self.dvp.terminal_cost());
        Ok(())
    }

    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError> {
        let network = &self.dvp.network;
        let needed = spec(network)?;
        check("the value network", networks.metadata(SPEC).unwrap_or("none"), &needed)?;
        let (nx, n_params) = (network.nx(), network.net().params().len());
        let spec: ValueSpec = network.spec().clone();
        let scaling = Scaling {
            shift: networks.f64_of_shape("shift", &[nx])?,
            scale: networks.f64_of_shape("scale", &[nx])?,
            value: networks.f64_of_shape("value_scale", &[1])?[0],
        };
        let params = networks.f64_of_shape("value", &[n_params])?;
        self.dvp.network = ValueNetwork::new(spec, scaling, params)?;
        self.planner.set_terminal(self.dvp.terminal_cost());
        Ok(())
    }

    fn save(
        &mut self,
        _dir: &Path,
        checkpoint: &mut SnapshotWriter,
    ) -> Result<(), CheckpointError> {
        let mut tensors = self.networks()?;
        let Dvp { adam, trajectories, iteration, learned, .. } = &self.dvp;
        tensors.insert_f64("adam.m", &[adam.m().len()], adam.m())?;
        tensors.insert_f64("adam.v", &[adam.v().len()], adam.v())?;
        for (i, Trajectory { xs, us }) in trajectories.iter().enumerate() {
            insert_rows(&mut tensors, &format!("xs.{i}"), xs)?;
            insert_rows(&mut tensors, &format!("us.{i}"), us)?;
        }
        checkpoint.tensors(TENSOR_FILE, &tensors)?;
        let state = SavedState {
            method: METHOD.to_owned(),
            seed: self.seed,
            iteration: *iteration,
            learned: *learned,
            adam_steps: adam.t(),
            trajectories: trajectories.len(),
            metrics: self.metrics,
        };
        checkpoint.json(STATE_FILE, &state)
    }

    fn load(&mut self, _dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError> {
        // Another method's state has other fields; its name says more than the missing field.
        let method: SavedMethod = checkpoint.json(STATE_FILE)?;
        check("the method", &method.method, METHOD)?;
        let saved: SavedState = checkpoint.json(STATE_FILE)?;
        check("the seed", saved.seed, self.seed)?;
        let tensors = checkpoint.tensors(TENSOR_FILE)?;
        let horizon = self.settings.values.horizon;
        let (nx, nu) = self.planner.sizes();
        let rows = |name: String, n: usize, width: usize| -> Result<Vec<_>, CheckpointError> {
            let numbers = tensors.f64_of_shape(&name, &[n, width])?;
            Ok(numbers.chunks_exact(width).map(DVector::from_column_slice).collect())
        };
        let trajectories = (0..saved.trajectories).map(|i| {
            let xs = rows(format!("xs.{i}"), horizon + 1, nx)?;
            Ok(Trajectory { xs, us: rows(format!("us.{i}"), horizon, nu)? })
        });
        let trajectories = trajectories.collect::<Result<_, CheckpointError>>()?;
        let n_params = self.dvp.network.net().params().len();
        let moment = |part| tensors.f64_of_shape(part, &[n_params]);
        self.dvp.adam.restore(moment("adam.m")?, moment("adam.v")?, saved.adam_steps)?;
        self.dvp.trajectories = trajectories;
        self.dvp.iteration = saved.iteration;
        self.dvp.learned = saved.learned;
        self.metrics = saved.metrics;
        self.set_networks(&tensors)
    }
}

/// Adds vectors of equal length as the rows of a matrix.
fn insert_rows(
    tensors: &mut Tensors,
    name: &str,
    rows: &[DVector<f64>],
) -> Result<(), CheckpointError> {
    let numbers: Vec<f64> = rows.iter().flat_map(|row| row.iter().copied()).collect();
    tensors.insert_f64(name, &[rows.len(), rows.first().map_or(0, DVector::len)], &numbers)
}
