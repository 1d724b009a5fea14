//! Trajectories of a plant.

use std::path::Path;

use dynamics::{DynamicsError, Environment, Stream, Task, check_vector};
use nalgebra::DVector;
use serde::Deserialize;

use crate::{LearnError, Policy};

/// States x₀ … x_T and actions u₀ … u_{T−1}, as they were observed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recording {
    /// T + 1 states.
    pub xs: Vec<DVector<f64>>,
    /// T actions.
    pub us: Vec<DVector<f64>>,
}

/// What of a file is read.
#[derive(Deserialize)]
struct Stored {
    xs: Vec<Vec<f64>>,
    us: Vec<Vec<f64>>,
}

impl Recording {
    /// Runs one episode of `policy` from a start drawn with `starts`; a plant with exogenous noise gets
    /// it from `noise`.
    ///
    /// # Errors
    /// What the plant reports.
    pub fn of(
        task: &dyn Task,
        policy: &mut dyn Policy,
        starts: &mut Stream,
        noise: Option<Stream>,
    ) -> Result<Self, DynamicsError> {
        let mut x0 = DVector::zeros(task.plant().any_nx());
        task.sample_x0(starts, &mut x0);
        Self::from_start(task, policy, &x0, noise)
    }

    /// The same from `x0`, nx entries.
    ///
    /// # Errors
    /// What the plant reports, and a start of another size or with entries that are not finite.
    pub fn from_start(
        task: &dyn Task,
        policy: &mut dyn Policy,
        x0: &DVector<f64>,
        noise: Option<Stream>,
    ) -> Result<Self, DynamicsError> {
        let mut env = Environment::new(task, noise);
        env.restore(x0, 0)?;
        policy.reset();
        let mut recording = Self { xs: vec![env.x().clone()], us: Vec::new() };
        let mut u = DVector::zeros(task.plant().any_nu());
        loop {
            policy.act(env.t(), env.x(), &mut u);
            let step = env.step(&u)?;
            recording.us.push(u.clone());
            recording.xs.push(env.x().clone());
            if step.end.is_some() {
                return Ok(recording);
            }
        }
    }

    /// Whether it is a trajectory of the task: one more state than actions, each of their sizes and finite.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn check(&self, task: &dyn Task) -> Result<(), String> {
        let (xs, us) = (self.xs.len(), self.us.len());
        if us == 0 || xs != us + 1 {
            return Err(format!(
                "{xs} rows in `xs` and {us} in `us`, but a trajectory has one more state than actions"
            ));
        }
        if us > task.horizon() {
            let (name, horizon) = (task.name(), task.horizon());
            return Err(format!("{us} steps, but episodes of `{name}` have {horizon}"));
        }
        let plant = task.plant();
        for (name, rows, width) in
            [("xs", &self.xs, plant.any_nx()), ("us", &self.us, plant.any_nu())]
        {
            for (t, row) in rows.iter().enumerate() {
                check_vector(task.name(), "a row", row.as_slice(), width)
                    .map_err(|error| format!("`{name}`, row {t}: {error}"))?;
            }
        }
        Ok(())
    }

    /// Reads a log of the plant: JSON with the rows `xs`, one more than `us`, from the first decision of an
    /// episode on; other fields, such as those of `rollout.json`, are passed over. The columns are the
    /// task's state ([`Task::state_names`]). Where a task has a tracker, rows may also have the tracked
    /// entries and the last one alone, such as x, y, v, φ and the time: what comes between them (lags,
    /// commands under way) neither model nor controller knows, and a robot does not log. It becomes 0, so that
    /// the plant's own Jacobians (`method.derivatives=plant`) mean nothing along such a log.
    ///
    /// # Errors
    /// A file that cannot be read, and rows of the wrong number, length or content, by name.
    pub fn read(task: &dyn Task, path: &Path) -> Result<Self, LearnError> {
        let io =
            |source| LearnError::Io { action: "read the recording", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let damaged = |reason: String| LearnError::Recording { path: path.to_owned(), reason };
        let Stored { xs, us } = serde_json::from_str(&text).map_err(|error| {
            let hint = if text.contains("NaN") { "; JSON has no NaN" } else { "" };
            damaged(format!("{error}{hint}"))
        })?;
        let nx = task.plant().any_nx();
        let tracked = task.tracker().map_or(nx, |tracker| tracker.shape().n_tracked);
        let state = |row: Vec<f64>| match row.len() {
            n if n == tracked + 1 && n < nx => {
                let mut x = DVector::zeros(nx);
                x.as_mut_slice()[..tracked].copy_from_slice(&row[..tracked]);
                x[nx - 1] = row[tracked];
                x
            }
            _ => DVector::from_vec(row),
        };
        let recording = Self {
            xs: xs.into_iter().map(state).collect(),
            us: us.into_iter().map(DVector::from_vec).collect(),
        };
        recording.check(task).map_err(|reason| {
            let odd = tracked + 1 < nx && recording.xs.iter().any(|x| x.len() != nx);
            damaged(match odd {
                true => {
                    format!("{reason} (or {}: those that are tracked, and the time)", tracked + 1)
                }
                false => reason,
            })
        })?;
        Ok(recording)
    }

    /// Steps T.
    #[must_use]
    pub fn n_steps(&self) -> usize {
        self.us.len()
    }
}
