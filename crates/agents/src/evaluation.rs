//! How good a policy is: undiscounted returns of whole episodes on a task's plant.

use dynamics::{DynamicsError, Environment, Stream, Task};
use nalgebra::DVector;
use serde::Serialize;

use crate::{Episode, Policy};

/// Returns and lengths of the episodes of an evaluation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// One entry per episode.
    pub episodes: Vec<Episode>,
}

impl Evaluation {
    /// Mean of the returns.
    #[must_use]
    pub fn mean_return(&self) -> f64 {
        self.mean(|e| e.total_reward)
    }

    /// Standard deviation of the returns (n − 1; 0 for one episode).
    #[must_use]
    pub fn return_deviation(&self) -> f64 {
        let n = self.episodes.len();
        if n < 2 {
            return 0.0;
        }
        let mean = self.mean_return();
        let squares = self.mean(|e| (e.total_reward - mean).powi(2));
        (squares * n as f64 / (n - 1) as f64).sqrt()
    }

    /// Smallest and largest return.
    #[must_use]
    pub fn return_range(&self) -> (f64, f64) {
        self.episodes.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), e| {
            (low.min(e.total_reward), high.max(e.total_reward))
        })
    }

    /// Mean length in steps.
    #[must_use]
    pub fn mean_length(&self) -> f64 {
        self.mean(|e| e.length as f64)
    }

    fn mean(&self, value: impl Fn(&Episode) -> f64) -> f64 {
        self.episodes.iter().map(value).sum::<f64>() / self.episodes.len() as f64
    }
}

/// Runs `n_episodes` episodes of `policy`, starts drawn from `stream`.
///
/// # Errors
/// What the plant reports.
pub fn evaluate(
    task: &dyn Task,
    policy: &mut dyn Policy,
    n_episodes: usize,
    stream: &mut Stream,
) -> Result<Evaluation, DynamicsError> {
    let mut evaluation = Evaluation::default();
    let mut env = environment(task, stream);
    for _ in 0..n_episodes {
        env.reset(stream);
        let mut total_reward = 0.0;
        run_episode(task, &mut env, policy, |_, _, reward| total_reward += reward)?;
        evaluation.episodes.push(Episode { total_reward, length: env.t() });
    }
    Ok(evaluation)
}

/// One episode with its whole trajectory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rollout {
    /// Name of the task.
    pub task: String,
    /// Length of a control step (s).
    pub dt: f64,
    /// Names of the state's entries.
    pub state_names: Vec<String>,
    /// States x₀ … x_T.
    pub xs: Vec<Vec<f64>>,
    /// Actions u₀ … u_{T−1}.
    pub us: Vec<Vec<f64>>,
    /// Rewards of the steps.
    pub rewards: Vec<f64>,
}

/// Records one episode of `policy`, its start drawn from `stream`.
///
/// # Errors
/// What the plant reports.
pub fn record_rollout(
    task: &dyn Task,
    policy: &mut dyn Policy,
    stream: &mut Stream,
) -> Result<Rollout, DynamicsError> {
    let mut env = environment(task, stream);
    env.reset(stream);
    let mut rollout = Rollout {
        task: task.name().to_owned(),
        dt: task.dt(),
        state_names: task.state_names(),
        xs: vec![env.x().as_slice().to_vec()],
        us: Vec::new(),
        rewards: Vec::new(),
    };
    run_episode(task, &mut env, policy, |x_next, u, reward| {
        rollout.xs.push(x_next.as_slice().to_vec());
        rollout.us.push(u.as_slice().to_vec());
        rollout.rewards.push(reward);
    })?;
    Ok(rollout)
}

/// An environment whose exogenous noise, if any, continues from `stream`'s seed.
fn environment<'a>(task: &'a dyn Task, stream: &Stream) -> Environment<'a> {
    let state = stream.state();
    let noise = (task.plant().any_n_noise() > 0)
        .then(|| Stream::new(state.seed, "evaluation noise", state.id));
    Environment::new(task, noise)
}

/// Runs the current episode to its end; `seen` gets x', u and reward of each step.
fn run_episode(
    task: &dyn Task,
    env: &mut Environment<'_>,
    policy: &mut dyn Policy,
    mut seen: impl FnMut(&DVector<f64>, &DVector<f64>, f64),
) -> Result<(), DynamicsError> {
    let mut u = DVector::zeros(task.plant().any_nu());
    policy.reset();
    loop {
        policy.act(env.t(), env.x(), &mut u);
        let step = env.step(&u)?;
        seen(env.x(), &u, step.reward);
        if step.end.is_some() {
            return Ok(());
        }
    }
}
