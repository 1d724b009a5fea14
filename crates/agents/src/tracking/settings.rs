//! Settings of the tracking-feedback policy gradient.

use serde::{Deserialize, Serialize};

use crate::{LearnError, TrainSettings};

/// How far back costates go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Horizon {
    /// To the start of the episode, as the paper has it.
    Full,
    /// To the start of the segment, as the released code has it: a decision answers for its own segment,
    /// and through the reference for the next.
    Segment,
}

impl Horizon {
    /// Name of the method with this horizon.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Full => "tracking",
            Self::Segment => "tracking-cut",
        }
    }
}

/// Whose Jacobians are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Derivatives {
    /// The nominal model's: the estimate.
    Nominal,
    /// The plant's: the true gradient, where the plant has any.
    Plant,
}

/// Windows of consecutive segments, advancing by one; a reward counts once for each that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Segments of a window, W (30 for the published car); 0 for none: every reward counts once.
    pub length: usize,
    /// Segments before the first window (40 for the published car).
    pub start: usize,
}

impl Windows {
    /// Whether there are none, or the first is within `n` segments.
    #[must_use]
    pub fn fit(&self, n: usize) -> bool {
        self.length == 0 || self.start.saturating_add(self.length) <= n
    }

    /// How often the rewards of segment `j` of `n` count: never, where no window fits.
    #[must_use]
    pub fn containing(&self, j: usize, n: usize) -> usize {
        if self.length == 0 {
            return 1;
        }
        let Some(last) = n.checked_sub(self.length) else { return 0 };
        let first = (j + 1).saturating_sub(self.length).max(self.start);
        (j.min(last) + 1).saturating_sub(first)
    }
}

/// Settings of [`TrackingLearner`](crate::TrackingLearner).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackingSettings {
    /// How far back costates go.
    pub horizon: Horizon,
    /// Whose Jacobians are used.
    pub derivatives: Derivatives,
    /// Hidden layers of the network, tanh.
    pub hidden: Vec<usize>,
    /// Step along the gradient of the *mean* return of the roll-outs. The released code sums over
    /// roll-outs: its rates are these divided by `rollouts`.
    pub learning_rate: f64,
    /// Roll-outs of the plant per step, N.
    pub rollouts: usize,
    /// Gradients are shortened to this norm; infinite, as published, for as long as they are.
    pub max_gradient_norm: f64,
    /// Sliding windows, as the released code has them on hardware.
    pub windows: Windows,
}

impl TrackingSettings {
    /// The paper's network and plain gradient ascent with one roll-out per step; the step is the one that
    /// suits car and quadruped over the whole horizon, or cut at the segments.
    #[must_use]
    pub fn of(horizon: Horizon) -> Self {
        Self {
            horizon,
            derivatives: Derivatives::Nominal,
            hidden: vec![64, 64],
            learning_rate: match horizon {
                Horizon::Full => 1e-4,
                Horizon::Segment => 6e-3,
            },
            rollouts: 1,
            max_gradient_norm: f64::INFINITY,
            windows: Windows::default(),
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
        let rate = self.learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            return refuse("method.learning_rate", rate.to_string(), "positive and finite");
        }
        let norm = self.max_gradient_norm;
        if norm.is_nan() || norm <= 0.0 {
            let needed = "positive; left out for no limit";
            return refuse("method.max_gradient_norm", norm.to_string(), needed);
        }
        if !(1..=100_000).contains(&self.rollouts) {
            let needed = "between 1 and 100000";
            return refuse("method.rollouts", self.rollouts.to_string(), needed);
        }
        Ok(())
    }

    /// An evaluation after each step of the policy, and 25 of them on the car (156 segments of 7 steps).
    #[must_use]
    pub fn train_settings(&self) -> TrainSettings {
        let steps = 1092 * self.rollouts as u64;
        TrainSettings {
            total_steps: 25 * steps,
            evaluate_every_episodes: 1,
            evaluation_episodes: 10,
            common_starts: true,
            checkpoint_every_steps: 5 * steps,
            ..TrainSettings::default()
        }
    }
}
