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

    /// Reads a log of the plant: JSON with the rows `xs`, one more than `us`; other fields, such as those
    /// of `rollout.json`, are passed over.
    ///
    /// # Errors
    /// A file that cannot be read, and rows of the wrong number, length or content, by name.
    pub fn read(task: &dyn Task, path: &Path) -> Result<Self, LearnError> {
        let io =
            |source| LearnError::Io { action: "read the recording", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let damaged = |reason: String| LearnError::Recording { path: path.to_owned(), reason };
        let Stored { xs, us } =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if us.is_empty() || xs.len() != us.len() + 1 {
            let (xs, us) = (xs.len(), us.len());
            return Err(damaged(format!(
                "{xs} rows in `xs` and {us} in `us`, but a trajectory has one more state than actions"
            )));
        }
        if us.len() > task.horizon() {
            return Err(damaged(format!(
                "{} steps, but episodes of `{}` have {}",
                us.len(),
                task.name(),
                task.horizon()
            )));
        }
        let plant = task.plant();
        let rows = |name: &str, rows: Vec<Vec<f64>>, width| -> Result<Vec<_>, LearnError> {
            let row = |(t, row): (usize, Vec<f64>)| {
                check_vector(task.name(), "a row", &row, width)
                    .map_err(|error| damaged(format!("`{name}`, row {t}: {error}")))?;
                Ok(DVector::from_vec(row))
            };
            rows.into_iter().enumerate().map(row).collect()
        };
        Ok(Self { xs: rows("xs", xs, plant.any_nx())?, us: rows("us", us, plant.any_nu())? })
    }

    /// Steps T.
    #[must_use]
    pub fn n_steps(&self) -> usize {
        self.us.len()
    }
}
