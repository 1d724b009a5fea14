//! The settings that every optimal-control task understands.

use dynamics::{ActionBounds, QuadraticCost};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::TaskError;

/// Horizon, weights, goal, limits and start of an [`OptimalControlTask`](crate::OptimalControlTask);
/// what the weights multiply stands with each task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimalControlSettings {
    /// Control steps.
    pub horizon: usize,
    /// Length of a control step (s).
    pub dt: f64,
    /// Weight w_x of the state.
    pub state_weight: f64,
    /// Weight w_u of the control.
    pub control_weight: f64,
    /// Weight w_T of the last state; `None` (in a table `[]`) is that of the state.
    #[serde(with = "optional")]
    pub terminal_weight: Option<f64>,
    /// Where the state is to go.
    pub goal: Vec<f64>,
    /// Largest size of every control; `None` (in a table `[]`) is no limit.
    #[serde(with = "optional")]
    pub u_max: Option<f64>,
    /// Where solvers start, and the middle of where episodes start.
    pub x0: Vec<f64>,
}

/// An optional number in a table: a list of none or one, since a table has no word for nothing.
mod optional {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        number: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let list = Vec::deserialize(deserializer)?;
        match list.as_slice() {
            [] => Ok(None),
            [number] => Ok(Some(*number)),
            more => Err(D::Error::invalid_length(more.len(), &"a list of no number or of one")),
        }
    }
}

impl OptimalControlSettings {
    /// w_T.
    #[must_use]
    pub fn last_weight(&self) -> f64 {
        self.terminal_weight.unwrap_or(self.state_weight)
    }

    /// Refuses weights that are negative or not finite.
    ///
    /// # Errors
    /// [`TaskError::Setting`].
    pub fn check_weights(&self, task: &'static str) -> Result<(), TaskError> {
        for (key, value) in [
            ("state_weight", self.state_weight),
            ("control_weight", self.control_weight),
            ("terminal_weight", self.last_weight()),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                let needed = "finite and not negative";
                return Err(TaskError::Setting { task, key, value, needed });
            }
        }
        Ok(())
    }

    /// The goal, if it has `needed` entries.
    ///
    /// # Errors
    /// [`TaskError::Length`], or [`TaskError::Setting`] for an entry that is not finite.
    pub fn goal(&self, task: &'static str, needed: usize) -> Result<DVector<f64>, TaskError> {
        vector(task, "goal", &self.goal, needed)
    }

    /// The initial state, if it has `needed` entries.
    ///
    /// # Errors
    /// As [`OptimalControlSettings::goal`].
    pub fn x0(&self, task: &'static str, needed: usize) -> Result<DVector<f64>, TaskError> {
        vector(task, "x0", &self.x0, needed)
    }

    /// The box `center` ± `u_max`, if there is a limit.
    ///
    /// # Errors
    /// [`TaskError::Setting`] for a limit that is not positive and finite.
    pub fn control_limits(
        &self,
        task: &'static str,
        center: &DVector<f64>,
    ) -> Result<Option<ActionBounds>, TaskError> {
        let Some(value) = self.u_max else { return Ok(None) };
        if !(value.is_finite() && value > 0.0) {
            let needed = "positive and finite, or [] for no limit";
            return Err(TaskError::Setting { task, key: "u_max", value, needed });
        }
        let edge = |offset: f64| center.iter().map(|u| u + offset).collect();
        Ok(Some(ActionBounds { low: edge(-value), high: edge(value) }))
    }

    /// Σᵢ w(w_x) sᵢ (xᵢ − goalᵢ)² + w(w_u) ‖u‖² and Σᵢ w(w_T) sᵢ (xᵢ − goalᵢ)² for the scales s of the
    /// state's entries, `nu` controls and the form w of the weights.
    ///
    /// # Errors
    /// As [`OptimalControlSettings::check_weights`] and [`OptimalControlSettings::goal`].
    pub(crate) fn quadratic(
        &self,
        task: &'static str,
        scales: &[f64],
        nu: usize,
        form: fn(f64) -> f64,
    ) -> Result<[QuadraticCost; 2], TaskError> {
        self.check_weights(task)?;
        let goal = self.goal(task, scales.len())?;
        let cost = |weight: f64, control_weight: f64| {
            let weights = scales.iter().map(|scale| form(weight) * scale).collect();
            QuadraticCost::new(goal.as_slice().to_vec(), weights, vec![form(control_weight); nu])
        };
        Ok([cost(self.state_weight, self.control_weight)?, cost(self.last_weight(), 0.0)?])
    }
}

fn vector(
    task: &'static str,
    key: &'static str,
    values: &[f64],
    needed: usize,
) -> Result<DVector<f64>, TaskError> {
    if values.len() != needed {
        return Err(TaskError::Length { task, key, found: values.len(), needed });
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(TaskError::Setting { task, key, value, needed: "finite" }),
        None => Ok(DVector::from_column_slice(values)),
    }
}
