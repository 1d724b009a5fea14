//! Stochastic value gradients: Heess, Wayne, Silver, Lillicrap, Tassa and Erez, "Learning Continuous
//! Control Policies by Stochastic Value Gradients" (NIPS 2015).
//!
//! A policy a = π(s, η) and a model s' = f(s, a, ξ) whose randomness is made of standard normal noise can be
//! differentiated with the noise held fixed. From a transition that was *observed* its noise is inferred,
//! and the value's gradient goes back along it: real states, derivatives of a learned model, so that the
//! model's errors do not compound. One [`Recursion`] serves all variants ([`Estimator`]), which differ in
//! how many steps it goes and in what stands behind the last one.
//!
//! [`Svg`] is one update, [`SvgLearner`](crate::SvgLearner) runs it on a task.

mod agent;
mod experience;
mod model;
mod policy;
mod recursion;
mod settings;
mod sizes;
mod statistics;

use dynamics::DynamicsError;
use thiserror::Error;

pub use agent::{PolicyReport, Svg};
pub use experience::{Transition, Transitions};
pub use model::{LearnedDynamics, ModelWorkspace, Targets};
pub use policy::{GaussianPolicy, MeanScratch};
pub use recursion::{Recursion, StepGradient};
pub use settings::{
    CriticSettings, Estimator, ModelNoise, ModelSettings, ModelSource, SvgSettings,
};

pub(crate) use experience::Experience;
pub(crate) use sizes::Sizes;
pub(crate) use statistics::Statistics;

/// Why an update failed; nothing has moved then.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum UpdateError {
    /// A number is not finite.
    #[error("{what} is {value}")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// The task or its model failed.
    #[error(transparent)]
    Model(DynamicsError),
}
