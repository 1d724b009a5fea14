//! What can go wrong in a model.

use thiserror::Error;

/// Errors of models, integrators and environments.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DynamicsError {
    /// A vector or matrix has the wrong size.
    #[error("`{model}`: `{what}` has {found} entries, needs {needed}")]
    Dimension {
        /// Name of the model or task.
        model: String,
        /// The argument that is wrong.
        what: &'static str,
        /// Entries given.
        found: usize,
        /// Entries needed.
        needed: usize,
    },
    /// A number that goes into or comes out of a model is not finite.
    #[error("`{model}`: entry {index} of `{what}` is {value}; every entry must be finite")]
    NotFinite {
        /// Name of the model or task.
        model: String,
        /// The vector that holds it.
        what: &'static str,
        /// Position in that vector.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A parameter of a model, an integrator or a cost is out of its range.
    #[error("`{model}`: {parameter} is {value}, but must be {needed}")]
    Parameter {
        /// Name of the model.
        model: String,
        /// Name of the parameter.
        parameter: &'static str,
        /// The value given.
        value: f64,
        /// The range that is allowed, in words.
        needed: &'static str,
    },
    /// Something must be given where the state has more entries than its tangent space.
    #[error(
        "`{task}`: its state has {nx} entries but {ndx} directions to move in, so it needs {needed}"
    )]
    OnLieGroup {
        /// Name of the task.
        task: String,
        /// Entries of the state.
        nx: usize,
        /// Dimension of its tangent space.
        ndx: usize,
        /// What the task must have.
        needed: &'static str,
    },
    /// The equation of an implicit step was not solved.
    #[error(
        "`{model}`: implicit step of {dt} s stopped at residual {residual:.2e} N (tolerance \
         {tolerance:.0e}) after {iterations} Newton iterations; use a smaller step or start with \
         springs nearer to their rest lengths"
    )]
    ImplicitStep {
        /// Name of the model.
        model: &'static str,
        /// Length of the step (s).
        dt: f64,
        /// Largest entry of the residual (N); not a number if the state or the control is not.
        residual: f64,
        /// The residual that is asked for (N).
        tolerance: f64,
        /// Newton iterations made.
        iterations: usize,
    },
    /// An implicit step was solved at a point where it has no derivative.
    #[error("`{model}`: the matrix of a step of {dt} s is singular there; use a smaller step")]
    SingularStep {
        /// Name of the model.
        model: &'static str,
        /// Length of the step (s).
        dt: f64,
    },
    /// A workspace made by one model was handed to another.
    #[error(
        "`{model}` was given the workspace of another model; use the one its `workspace()` returns"
    )]
    Workspace {
        /// Type of the model that refused it.
        model: &'static str,
    },
}

/// Checks length and finiteness of a vector that enters or leaves a model.
///
/// # Errors
/// [`DynamicsError::Dimension`] or [`DynamicsError::NotFinite`], naming `model` and `what`.
pub fn check_vector(
    model: &str,
    what: &'static str,
    values: &[f64],
    needed: usize,
) -> Result<(), DynamicsError> {
    if values.len() != needed {
        return Err(DynamicsError::Dimension {
            model: model.to_owned(),
            what,
            found: values.len(),
            needed,
        });
    }
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(DynamicsError::NotFinite {
            model: model.to_owned(),
            what,
            index,
            value: values[index],
        }),
    }
}
