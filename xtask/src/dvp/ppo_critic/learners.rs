//! The two learners.

use agents::dvp::{DvpSettings, values};
use agents::{Budget, Learner as _, Policy, PpoLearner, PpoSettings};
use anyhow::{Result, ensure};
use ddp::{Mpc, MpcSettings, Problem, TickSchedule};
use dynamics::{ActionBounds, AnyCost, AnyDynamics, AnyPlant, Move, Scratch, Stream, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::super::cell::Work;
use super::super::loops::train;
use super::super::system::{System, costs};
use super::problem::{Discounted, Path};

/// DVP, and a receding horizon that ends in its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DvpCritic {
    /// The problem.
    pub(crate) problem: Discounted,
    /// The loop, with the discount of the problem and the box of the system.
    pub(crate) settings: DvpSettings,
}

/// PPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PpoCritic {
    /// The problem.
    pub(crate) problem: Discounted,
    /// Environment steps.
    pub(crate) total_steps: u64,
    /// Steps of an episode.
    pub(crate) episode: usize,
    /// Largest size of an action; the optimal ones in the box are smaller.
    pub(crate) max_action: f64,
    /// c of the reward −c ℓ, which brings V to the order of 1.
    pub(crate) reward_scale: f64,
    /// PPO itself.
    pub(crate) method: PpoSettings,
}

/// What `result.json` of DVP holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DvpCriticResult {
    /// V on the grid of the problem.
    pub(crate) v: Vec<f64>,
    /// The path of the receding horizon, planned anew in every step.
    pub(crate) path: Path,
}

/// What `result.json` of PPO holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PpoCriticResult {
    /// V on the grid of the problem, as a cost.
    pub(crate) v: Vec<f64>,
    /// The path of the mean actions.
    pub(crate) path: Path,
    /// The path of actions as PPO draws them.
    pub(crate) drawn: Path,
    /// σ of each action.
    pub(crate) deviation: Vec<f64>,
}

impl DvpCritic {
    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// What loop and solver report.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        work: &mut Work<'_>,
    ) -> Result<Option<DvpCriticResult>> {
        let Self { problem, settings } = self;
        let task = system.build()?;
        let task = task.as_task();
        let Some(dvp) = train(task, settings, seed, work, |_, _| {})? else { return Ok(None) };
        let objective = costs(task)?;
        let (model, terminal) = (task.nominal(), dvp.terminal_cost());
        let planned = Problem {
            discount: problem.discount,
            ..Problem::new(&model, &objective.stage, &terminal, settings.horizon)
        };
        let plans = MpcSettings::default();
        let mut mpc =
            Mpc::new(planned, settings.method, settings.solver.clone(), plans, objective.us0)?;
        let schedule = TickSchedule { steps_per_tick: 1, nodes_per_step: 1.0 };
        let run = mpc.run(&model, &problem.start(), problem.steps, schedule, |_, _| {})?;
        Ok(Some(DvpCriticResult {
            v: values(dvp.network(), &problem.states()),
            path: Path::new(objective.stage, problem.discount, &run.xs, &run.us),
        }))
    }
}

impl PpoCritic {
    /// PPO's steps that take as long as an epoch of DVP's regressions.
    const STEPS_OF_AN_EPOCH: u64 = 40;

    /// Steps for the display of progress.
    pub(crate) fn steps(&self) -> u64 {
        self.total_steps / Self::STEPS_OF_AN_EPOCH
    }

    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// Settings out of range, and what PPO reports.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        work: &mut Work<'_>,
    ) -> Result<Option<PpoCriticResult>> {
        let Self { total_steps, max_action, reward_scale, .. } = *self;
        for (key, value) in [("max_action", max_action), ("reward_scale", reward_scale)] {
            ensure!(value.is_finite() && value > 0.0, "`{key}` is {value}, but must be positive");
        }
        let task = system.build()?;
        let task = RewardedTask::new(task.as_task(), system, self)?;
        let mut learner = PpoLearner::new(&task, &self.method, seed)?;
        let mut done = 0;
        while done < total_steps {
            if work.stopped() {
                return Ok(None);
            }
            let before = done / Self::STEPS_OF_AN_EPOCH;
            // Returns after every episode.
            done = learner.advance(Budget { env_steps: total_steps - done })?.env_steps;
            work.advance(done / Self::STEPS_OF_AN_EPOCH - before);
        }
        let (_, log_std) = learner.networks()?.get_f32("log_std")?;
        let deviation: Vec<_> = log_std.iter().map(|log_std| f64::from(*log_std).exp()).collect();
        let mut policy = learner.policy()?;
        let mut stream = Stream::new(seed, "roll-out noise", 0);
        Ok(Some(PpoCriticResult {
            v: learner.values(&self.problem.states()).iter().map(|v| -v / reward_scale).collect(),
            path: task.path(&mut *policy, |_| ())?,
            drawn: task.path(&mut *policy, |u| {
                for (u, deviation) in u.iter_mut().zip(&deviation) {
                    *u = (*u + deviation * stream.normal()).clamp(-max_action, max_action);
                }
            })?,
            deviation,
        }))
    }
}

/// The problem as PPO sees it. Its episodes are cut by the clock alone, so that the last reward has
/// the value beyond in it.
pub(super) struct RewardedTask<'a> {
    inner: &'a dyn Task,
    stage: &'a dyn AnyCost,
    spread: &'a [f64],
    settings: &'a PpoCritic,
    bounds: ActionBounds,
}

impl<'a> RewardedTask<'a> {
    pub(super) fn new(
        inner: &'a dyn Task,
        system: &'a System,
        settings: &'a PpoCritic,
    ) -> Result<Self> {
        let (stage, spread) = (costs(inner)?.stage, &system.spread);
        let bounds = ActionBounds::symmetric(inner.nominal().any_nu(), settings.max_action);
        Ok(Self { inner, stage, spread, settings, bounds })
    }

    /// The path of a policy, whose actions `disturb` may change.
    fn path(
        &self,
        policy: &mut dyn Policy,
        mut disturb: impl FnMut(&mut DVector<f64>),
    ) -> Result<Path> {
        let (problem, plant) = (&self.settings.problem, self.plant());
        let mut ws = plant.any_workspace();
        let (mut xs, mut us) = (vec![problem.start()], Vec::new());
        for t in 0..problem.steps {
            let mut x_next = DVector::zeros(xs[t].len());
            let mut u = DVector::zeros(plant.any_nu());
            policy.act(t, &xs[t], &mut u);
            disturb(&mut u);
            plant.any_step(&mut ws, &xs[t], &u, &[], &mut x_next)?;
            xs.push(x_next);
            us.push(u);
        }
        Ok(Path::new(self.stage, problem.discount, &xs, &us))
    }
}

impl Task for RewardedTask<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn plant(&self) -> &dyn AnyPlant {
        self.inner.plant()
    }

    fn nominal(&self) -> &dyn AnyDynamics {
        self.inner.nominal()
    }

    fn horizon(&self) -> usize {
        self.settings.episode
    }

    fn dt(&self) -> f64 {
        self.inner.dt()
    }

    fn discount(&self) -> f64 {
        self.settings.problem.discount
    }

    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }

    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        for (x, spread) in x0.iter_mut().zip(self.spread) {
            *x = stream.uniform(-spread, *spread);
        }
    }

    fn reward_scratch(&self) -> Scratch {
        self.stage.any_workspace()
    }

    fn reward(&self, scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        -self.settings.reward_scale * self.stage.any_stage(scratch, m.t, m.x, m.u)
    }
}
