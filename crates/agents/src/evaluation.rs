//! How good a policy is: undiscounted returns of whole episodes on a task's plant.

use std::sync::atomic::{AtomicUsize, Ordering};

use dynamics::{DynamicsError, Environment, Move, Stream, StreamState, Task};
use nalgebra::DVector;
use rayon::prelude::*;
use serde::Serialize;
use thiserror::Error;

use crate::{Episode, Policy};

/// Returns and lengths of the episodes of an evaluation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// One entry per episode, in order.
    pub episodes: Vec<Episode>,
    /// The task's [`measures`](Task::measures) of each episode.
    pub measures: Vec<Vec<f64>>,
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

    /// Mean of each of the task's measures.
    #[must_use]
    pub fn mean_measures(&self) -> Vec<f64> {
        let n = self.measures.first().map_or(0, Vec::len);
        let mean = |i| self.measures.iter().map(|m: &Vec<f64>| m[i]).sum::<f64>();
        (0..n).map(|i| mean(i) / self.measures.len() as f64).collect()
    }

    fn push(&mut self, (episode, measures): (Episode, Vec<f64>)) {
        self.episodes.push(episode);
        self.measures.push(measures);
    }

    fn mean(&self, value: impl Fn(&Episode) -> f64) -> f64 {
        self.episodes.iter().map(value).sum::<f64>() / self.episodes.len() as f64
    }
}

/// An episode of an evaluation that failed.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("episode {episode} of the evaluation failed")]
pub struct EpisodeError {
    /// The first episode that failed, from 0.
    pub episode: usize,
    /// What failed.
    #[source]
    pub source: DynamicsError,
}

/// Runs `n_episodes` episodes of `policy`, starts drawn from `stream` one after another.
///
/// Otherwise as [`evaluate_from`].
///
/// # Errors
/// As [`evaluate_from`].
pub fn evaluate(
    task: &dyn Task,
    policy: &mut dyn Policy,
    n_episodes: usize,
    stream: &mut Stream,
) -> Result<Evaluation, EpisodeError> {
    let nx = task.plant().any_nx();
    let starts: Vec<_> = (0..n_episodes)
        .map(|_| {
            let mut x0 = DVector::zeros(nx);
            task.sample_x0(stream, &mut x0);
            x0
        })
        .collect();
    evaluate_from(task, policy, &starts, stream)
}

/// Runs one episode of `policy` from each of `starts` (nx entries each).
///
/// The episodes run in parallel in the current rayon pool, each thread with its own
/// [`Policy::fork`]; a policy that cannot be forked runs them one after another. Episode `i` gets
/// the exogenous noise of a stream made from `i` and from seed and name of `stream`, wherever that
/// stands, so the numbers do not depend on the number of threads.
///
/// # Errors
/// [`EpisodeError`] with what the first failing episode reports: what the plant reports, a start of
/// the wrong size or with entries that are not finite.
pub fn evaluate_from(
    task: &dyn Task,
    policy: &mut dyn Policy,
    starts: &[DVector<f64>],
    stream: &Stream,
) -> Result<Evaluation, EpisodeError> {
    let n_workers = rayon::current_num_threads().min(starts.len());
    if n_workers > 1
        && let Some(policies) = forks(policy, n_workers)
    {
        return in_parallel(task, policies, starts, stream);
    }
    let mut evaluation = Evaluation::default();
    for (episode, start) in starts.iter().enumerate() {
        let outcome = episode_from(task, policy, start, stream, episode);
        evaluation.push(outcome.map_err(|source| EpisodeError { episode, source })?);
    }
    Ok(evaluation)
}

fn forks(policy: &dyn Policy, n: usize) -> Option<Vec<Box<dyn Policy + '_>>> {
    (0..n).map(|_| policy.fork()).collect()
}

/// Each policy takes the next episode that nobody has begun; results come together by index.
fn in_parallel(
    task: &dyn Task,
    policies: Vec<Box<dyn Policy + '_>>,
    starts: &[DVector<f64>],
    stream: &Stream,
) -> Result<Evaluation, EpisodeError> {
    let next = AtomicUsize::new(0);
    let mut outcomes: Vec<_> = policies
        .into_par_iter()
        .with_max_len(1)
        .flat_map_iter(|mut policy| {
            let next = &next;
            std::iter::from_fn(move || {
                let episode = next.fetch_add(1, Ordering::Relaxed);
                let start = starts.get(episode)?;
                let outcome = episode_from(task, &mut *policy, start, stream, episode);
                if outcome.is_err() {
                    // What has not begun comes after this episode and would be in vain.
                    next.store(starts.len(), Ordering::Relaxed);
                }
                Some((episode, outcome))
            })
        })
        .collect();
    outcomes.sort_unstable_by_key(|(episode, _)| *episode);
    let mut evaluation = Evaluation::default();
    for (episode, outcome) in outcomes {
        evaluation.push(outcome.map_err(|source| EpisodeError { episode, source })?);
    }
    Ok(evaluation)
}

/// Episode number `index` of an evaluation. It has an environment of its own: nothing that a plant
/// keeps in its workspace goes from one episode into the next.
fn episode_from(
    task: &dyn Task,
    policy: &mut dyn Policy,
    start: &DVector<f64>,
    stream: &Stream,
    index: usize,
) -> Result<(Episode, Vec<f64>), DynamicsError> {
    let mut env = environment(task, stream, index);
    env.restore(start, 0)?;
    let (mut total_reward, mut measures) = (0.0, vec![0.0; task.measures().len()]);
    run_episode(task, &mut env, policy, |transition, reward| {
        total_reward += reward;
        task.measure(transition, &mut measures);
    })?;
    Ok((Episode { total_reward, length: env.t() }, measures))
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
    let mut env = environment(task, stream, 0);
    env.reset(stream);
    let mut rollout = Rollout {
        task: task.name().to_owned(),
        dt: task.dt(),
        state_names: task.state_names(),
        xs: vec![env.x().as_slice().to_vec()],
        us: Vec::new(),
        rewards: Vec::new(),
    };
    run_episode(task, &mut env, policy, |transition, reward| {
        rollout.xs.push(transition.x_next.as_slice().to_vec());
        rollout.us.push(transition.u.as_slice().to_vec());
        rollout.rewards.push(reward);
    })?;
    Ok(rollout)
}

/// An environment whose exogenous noise, if any, has its own stream beside `stream`, one per index.
fn environment<'a>(task: &'a dyn Task, stream: &Stream, index: usize) -> Environment<'a> {
    let StreamState { seed, id, .. } = stream.state();
    let noise = (task.plant().any_n_noise() > 0)
        .then(|| Stream::new(seed, "evaluation noise", id.wrapping_add(index as u64)));
    Environment::new(task, noise)
}

/// Runs the current episode to its end; `seen` gets each transition with its reward.
fn run_episode(
    task: &dyn Task,
    env: &mut Environment<'_>,
    policy: &mut dyn Policy,
    mut seen: impl FnMut(&Move<'_>, f64),
) -> Result<(), DynamicsError> {
    let (mut x, mut u) = (env.x().clone(), DVector::zeros(task.plant().any_nu()));
    policy.reset();
    loop {
        let t = env.t();
        x.copy_from(env.x());
        policy.act(t, &x, &mut u);
        let step = env.step(&u)?;
        seen(&Move { t, x: &x, u: &u, x_next: env.x() }, step.reward);
        if step.end.is_some() {
            return Ok(());
        }
    }
}
