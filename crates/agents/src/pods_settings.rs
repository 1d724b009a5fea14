//! Settings of PODS and of BPTT.

use ddp::shooting::{Route, Step};
use serde::{Deserialize, Serialize};

use crate::{LearnError, TrainSettings};

/// Settings of [`Pods`](crate::Pods). The paper publishes the numbers of roll-outs and regression steps;
/// the others are ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodsSettings {
    /// k, roll-outs per epoch.
    pub rollouts: usize,
    /// Order of the step that improves a roll-out, 1 or 2.
    pub order: u32,
    /// α, the step length that line searches try first.
    pub alpha: f64,
    /// How a step of second order is found.
    pub route: StepRoute,
    /// Steps of Adam per epoch.
    pub regression_steps: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Samples that a step of Adam sees: drawn afresh for each where there are more.
    pub minibatch: usize,
    /// Hidden layers of the policy, tanh.
    pub hidden: Vec<usize>,
}

/// [`Route`] by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepRoute {
    /// The one that is expected to be fastest.
    Auto,
    /// Cholesky of the whole Hessian.
    Dense,
    /// A Riccati recursion.
    Riccati,
    /// Conjugate gradients, to a relative residual of 10⁻⁶.
    ConjugateGradient,
}

impl PodsSettings {
    /// Steps of second order, with 500 roll-outs per epoch. Adam's step size is not published; with 1e-3
    /// policies learn too little of their targets in 50 steps, and some runs in space get worse.
    #[must_use]
    pub fn second_order() -> Self {
        Self {
            rollouts: 500,
            order: 2,
            alpha: 0.3,
            route: StepRoute::Auto,
            regression_steps: 50,
            learning_rate: 3e-3,
            minibatch: 16_384,
            hidden: vec![64, 64],
        }
    }

    /// The same with steps of first order. They are short, and Adam 1e-3 learns them as fast as 3e-3 does.
    #[must_use]
    pub fn first_order() -> Self {
        Self { order: 1, alpha: 0.05, learning_rate: 1e-3, ..Self::second_order() }
    }

    /// The step that improves roll-outs of `unknowns` controls.
    pub(crate) fn step(&self, unknowns: usize) -> Step {
        if self.order == 1 {
            return Step::FirstOrder { step_length: self.alpha };
        }
        let route = match self.route {
            StepRoute::Auto => Route::Auto,
            StepRoute::Dense => Route::Dense,
            StepRoute::Riccati => Route::Riccati,
            StepRoute::ConjugateGradient => {
                Route::ConjugateGradient { tolerance: 1e-6, max_iterations: 20 * unknowns }
            }
        };
        Step::SecondOrder { route, step_length: self.alpha }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        check_counts(&[
            ("method.rollouts", self.rollouts),
            ("method.regression_steps", self.regression_steps),
            ("method.minibatch", self.minibatch),
        ])?;
        check_positive("method.alpha", self.alpha)?;
        check_positive("method.learning_rate", self.learning_rate)?;
        if !(1..=2).contains(&self.order) {
            let (key, value) = ("method.order", self.order.to_string());
            return Err(LearnError::Setting { key, value, needed: "1 or 2" });
        }
        Ok(())
    }

    /// The training loop of a run that says nothing else: see [`BpttSettings::train_settings`].
    #[must_use]
    pub fn train_settings(&self) -> TrainSettings {
        train_settings(self.rollouts, 60)
    }
}

/// Settings of [`Bptt`](crate::Bptt).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BpttSettings {
    /// Roll-outs per epoch, which is one step of Adam.
    pub rollouts: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Gradients are shortened to this norm; inf for as long as they are.
    pub max_gradient_norm: f64,
    /// Hidden layers of the policy, tanh.
    pub hidden: Vec<usize>,
}

impl Default for BpttSettings {
    fn default() -> Self {
        Self {
            rollouts: 500,
            learning_rate: 3e-3,
            max_gradient_norm: f64::INFINITY,
            hidden: vec![64, 64],
        }
    }
}

impl BpttSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        check_counts(&[("method.rollouts", self.rollouts)])?;
        check_positive("method.learning_rate", self.learning_rate)?;
        if self.max_gradient_norm.is_nan() || self.max_gradient_norm <= 0.0 {
            let (key, value) = ("method.max_gradient_norm", self.max_gradient_norm.to_string());
            let needed = "positive, or inf for gradients as long as they are";
            return Err(LearnError::Setting { key, value, needed });
        }
        Ok(())
    }

    /// The training loop of a run that says nothing else: 300 epochs (PODS: 60) of roll-outs over 100
    /// steps, with an evaluation after each.
    #[must_use]
    pub fn train_settings(&self) -> TrainSettings {
        train_settings(self.rollouts, 300)
    }
}

fn train_settings(rollouts: usize, epochs: u64) -> TrainSettings {
    // No roll-outs are refused by their own name.
    let steps = 100 * rollouts.max(1) as u64;
    TrainSettings {
        total_steps: steps * epochs,
        evaluate_every_episodes: 1,
        checkpoint_every_steps: 5 * steps,
        ..TrainSettings::default()
    }
}

fn check_counts(counts: &[(&'static str, usize)]) -> Result<(), LearnError> {
    for &(key, value) in counts {
        // A slip of the finger must not take the machine's whole memory.
        if !(1..=1_000_000).contains(&value) {
            let needed = "between 1 and 1000000";
            return Err(LearnError::Setting { key, value: value.to_string(), needed });
        }
    }
    Ok(())
}

fn check_positive(key: &'static str, value: f64) -> Result<(), LearnError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(LearnError::Setting { key, value: value.to_string(), needed: "positive and finite" })
}
