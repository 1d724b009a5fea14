//! Environments of one task side by side, stepped together.

use std::time::Instant;

use dynamics::{DynamicsError, Environment, Step, Stream, StreamState, Task};
use nalgebra::DVector;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::policy::narrow;
use crate::{Episode, LearnError};

/// Environments of one task that take their steps together, each with random streams of its own.
///
/// Every environment is a row of the flat buffers that go in and out. Streams belong to rows, never
/// to threads, so the numbers do not depend on how many threads there are.
///
/// [`VectorEnvironment::observe`] begins new episodes where one is over, the policy decides for all
/// rows, [`VectorEnvironment::step`] applies the actions; then the outcomes and the states reached
/// can be read until the next of the two calls.
///
/// A step uses the current rayon pool where that wins time. What a row costs is measured in the
/// first steps; rows go to other threads in runs of at least 20 µs of work, so a cheap model with
/// few environments stays on the thread of the caller.
pub struct VectorEnvironment<'a> {
    task: &'a dyn Task,
    rows: Vec<Row<'a>>,
    n_observations: usize,
    nu: usize,
    run_length: RunLength,
}

/// One environment, with what it needs for itself.
struct Row<'a> {
    env: Environment<'a>,
    starts: Stream,
    in_episode: bool,
    episode_return: f64,
    u: DVector<f64>,
    observation: Vec<f64>,
    outcome: Step,
    error: Option<DynamicsError>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("environment {row} failed")]
pub struct RowError {
    /// The first environment that failed.
    pub row: usize,
    /// What failed.
    #[source]
    pub source: DynamicsError,
}

/// One environment of a [`VectorEnvironment`] in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedEnvironment {
    in_episode: bool,
    t: usize,
    x: Vec<f64>,
    episode_return: f64,
    start: StreamState,
    plant_noise: Option<StreamState>,
}

impl<'a> VectorEnvironment<'a> {
    /// `n_envs` environments before their first episodes.
    #[must_use]
    pub fn new(task: &'a dyn Task, seed: u64, n_envs: usize) -> Self {
        let plant = task.plant();
        let rows = (0..n_envs as u64).map(|index| {
            let noise = (plant.any_n_noise() > 0).then(|| Stream::new(seed, "plant noise", index));
            Row::new(task, noise, Stream::new(seed, "episode starts", index))
        });
        Self {
            rows: rows.collect(),
            n_observations: task.observation().n_observations(plant.any_nx()),
            nu: plant.any_nu(),
            task,
            run_length: RunLength::Measuring { steps: 0, row_seconds: f64::INFINITY },
        }
    }

    /// Sets how many rows another thread takes at least, in the place of the measurement; the
    /// numbers stay the same.
    #[must_use]
    pub fn with_rows_per_task(mut self, n_rows: usize) -> Self {
        self.run_length = RunLength::Rows(n_rows.max(1));
        self
    }

    /// Environments.
    #[must_use]
    pub fn n_envs(&self) -> usize {
        self.rows.len()
    }

    /// Begins a new episode wherever one is over, and writes what every environment shows before
    /// its next action into `o`, row after row, in the networks' precision.
    ///
    /// # Panics
    /// When `o` has not room for exactly one observation per environment.
    pub fn observe(&mut self, o: &mut [f32]) {
        assert_eq!(o.len(), self.rows.len() * self.n_observations, "one observation per row");
        for (row, o) in self.rows.iter_mut().zip(o.chunks_exact_mut(self.n_observations)) {
            row.begin_if_over();
            row.observe(self.task, o);
        }
    }

    /// Writes what environment `row` shows in the state that it has reached, also if its episode is
    /// over there.
    pub fn observe_reached(&mut self, row: usize, o: &mut [f32]) {
        self.rows[row].observe(self.task, o);
    }

    /// Applies `u` for one control step, an action of the plant per row.
    ///
    /// # Errors
    /// [`RowError`] with what the first failing environment reports. The others have taken their
    /// step, so the environments are good for nothing more.
    ///
    /// # Panics
    /// When `u` has not exactly one action per environment.
    pub fn step(&mut self, u: &[f64]) -> Result<(), RowError> {
        let (nu, n_envs) = (self.nu, self.rows.len());
        assert_eq!(u.len(), n_envs * nu, "one action per row");
        match self.run_length {
            _ if n_envs <= 1 || rayon::current_num_threads() == 1 => self.step_in_turn(u),
            RunLength::Measuring { steps, row_seconds } => {
                let start = Instant::now();
                self.step_in_turn(u);
                let seconds = start.elapsed().as_secs_f64() / n_envs as f64;
                self.run_length = RunLength::Measuring { steps, row_seconds }.and(seconds);
            }
            RunLength::Rows(n_rows) if n_envs / 2 < n_rows => self.step_in_turn(u),
            RunLength::Rows(n_rows) => self
                .rows
                .par_iter_mut()
                .zip(u.par_chunks_exact(nu))
                .with_min_len(n_rows)
                .for_each(|(row, u)| row.step(u)),
        }
        // By index, so that the error does not depend on who came first.
        let failed = self.rows.iter_mut().enumerate().find_map(|(i, r)| Some((i, r.error.take()?)));
        failed.map_or(Ok(()), |(row, source)| Err(RowError { row, source }))
    }

    fn step_in_turn(&mut self, u: &[f64]) {
        for (row, u) in self.rows.iter_mut().zip(u.chunks_exact(self.nu)) {
            row.step(u);
        }
    }

    /// Reward and end of the last step of environment `row`.
    #[must_use]
    pub fn outcome(&self, row: usize) -> Step {
        self.rows[row].outcome
    }

    /// The environment of a row: its state now, the one before, and the steps of the episode.
    #[must_use]
    pub fn environment(&self, row: usize) -> &Environment<'a> {
        &self.rows[row].env
    }

    /// The episode of environment `row` as far as it has come.
    #[must_use]
    pub fn episode(&self, row: usize) -> Episode {
        let row = &self.rows[row];
        Episode { total_reward: row.episode_return, length: row.env.t() }
    }

    /// The state for a checkpoint, one entry per row.
    #[must_use]
    pub fn save(&self) -> Vec<SavedEnvironment> {
        self.rows.iter().map(Row::save).collect()
    }

    /// Takes up the state of a checkpoint, bit by bit.
    ///
    /// # Errors
    /// [`LearnError::Mismatch`] for another number of environments, [`LearnError::Dynamics`] for
    /// states that are not the task's.
    pub fn restore(&mut self, saved: &[SavedEnvironment]) -> Result<(), LearnError> {
        if saved.len() != self.rows.len() {
            return Err(LearnError::Mismatch {
                what: "the number of environments".to_owned(),
                found: saved.len().to_string(),
                needed: self.rows.len().to_string(),
            });
        }
        let rows = saved.iter().map(|saved| Row::load(self.task, saved));
        self.rows = rows.collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn new(task: &'a dyn Task, noise: Option<Stream>, starts: Stream) -> Self {
        let plant = task.plant();
        Self {
            env: Environment::new(task, noise),
            starts,
            in_episode: false,
            episode_return: 0.0,
            u: DVector::zeros(plant.any_nu()),
            observation: vec![0.0; task.observation().n_observations(plant.any_nx())],
            outcome: Step { reward: 0.0, end: None },
            error: None,
        }
    }

    /// A new episode in the place of one that is over.
    fn begin_if_over(&mut self) {
        if !self.in_episode {
            self.env.reset(&mut self.starts);
            self.in_episode = true;
            self.episode_return = 0.0;
        }
    }

    fn observe(&mut self, task: &dyn Task, o: &mut [f32]) {
        task.observation().observe(self.env.x(), &mut self.observation);
        narrow(&self.observation, o);
    }

    fn step(&mut self, u: &[f64]) {
        self.begin_if_over();
        self.u.copy_from_slice(u);
        match self.env.step(&self.u) {
            Ok(outcome) => {
                self.outcome = outcome;
                self.episode_return += outcome.reward;
                self.in_episode = outcome.end.is_none();
            }
            Err(error) => self.error = Some(error),
        }
    }

    fn save(&self) -> SavedEnvironment {
        SavedEnvironment {
            in_episode: self.in_episode,
            t: self.env.t(),
            x: self.env.x().as_slice().to_vec(),
            episode_return: self.episode_return,
            start: self.starts.state(),
            plant_noise: self.env.noise_stream().map(Stream::state),
        }
    }

    fn load(task: &'a dyn Task, saved: &SavedEnvironment) -> Result<Self, DynamicsError> {
        let noise = saved.plant_noise.map(Stream::at);
        let mut row = Self::new(task, noise, Stream::at(saved.start));
        row.env.restore(&DVector::from_column_slice(&saved.x), saved.t)?;
        row.in_episode = saved.in_episode;
        row.episode_return = saved.episode_return;
        Ok(row)
    }
}

/// How many rows in a row one thread takes at least.
#[derive(Debug, Clone, Copy, PartialEq)]
enum RunLength {
    /// Not known yet: after this many steps the quickest took this long per row.
    Measuring { steps: u32, row_seconds: f64 },
    /// This many.
    Rows(usize),
}

/// Steps that are measured; the first ones meet cold caches, so the quickest counts.
const MEASURED_STEPS: u32 = 8;
/// Work that is worth another thread (s): several times what it takes to wake one.
const TASK_SECONDS: f64 = 20e-6;

impl RunLength {
    /// With one more measurement (s per row).
    fn and(self, seconds: f64) -> Self {
        let Self::Measuring { steps, row_seconds } = self else {
            return self;
        };
        let row_seconds = row_seconds.min(seconds);
        if steps + 1 < MEASURED_STEPS {
            return Self::Measuring { steps: steps + 1, row_seconds };
        }
        // A clock that shows no time at all leaves every row on this thread.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let n_rows = (TASK_SECONDS / row_seconds).ceil() as usize;
        Self::Rows(n_rows.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_other_threads_in_runs_that_are_worth_it() {
        let measured = |seconds: &[f64]| {
            let start = RunLength::Measuring { steps: 0, row_seconds: f64::INFINITY };
            seconds.iter().fold(start, |length, &seconds| length.and(seconds))
        };
        assert_eq!(measured(&[3e-6; 7]), RunLength::Measuring { steps: 7, row_seconds: 3e-6 });
        assert_eq!(measured(&[3e-6; 8]), RunLength::Rows(7));
        assert_eq!(measured(&[1e-3; 8]), RunLength::Rows(1));
        // The first step is a slow one.
        let mut seconds = [0.21e-6; 8];
        seconds[0] = 1e-3;
        assert_eq!(measured(&seconds), RunLength::Rows(96));
        assert_eq!(measured(&[0.0; 8]), RunLength::Rows(usize::MAX));
    }
}
