//! Settings of the stochastic value gradients.

use serde::{Deserialize, Serialize};

use crate::LearnError;

/// Which gradient the policy follows. The names are those of the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// SVG(∞): back along the whole episode that was observed, one step of the policy per episode.
    #[serde(rename = "svg-inf")]
    Infinite,
    /// The planner: the same along an episode that the model imagines.
    #[serde(rename = "svg-planner")]
    Planner,
    /// SVG(1): one observed step and a value function behind it, on transitions of the episode under way.
    #[serde(rename = "svg-1")]
    One,
    /// SVG(1)-ER: the same on all transitions that are remembered, with importance weights.
    #[serde(rename = "svg-1-er")]
    OneReplay,
    /// SVG(k)-ER: k observed steps, then a value function.
    #[serde(rename = "svg-k")]
    Steps,
    /// SVG(0): through a critic Q with the noise of the action drawn anew. No model.
    #[serde(rename = "svg-0")]
    Zero,
    /// The deterministic policy gradient: SVG(0) without noise.
    #[serde(rename = "dpg")]
    Deterministic,
    /// The actor-critic: TD error times the gradient of the log-density. No model.
    #[serde(rename = "ac")]
    ActorCritic,
}

impl Estimator {
    /// Name of the method on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Infinite => "svg-inf",
            Self::Planner => "svg-planner",
            Self::One => "svg-1",
            Self::OneReplay => "svg-1-er",
            Self::Steps => "svg-k",
            Self::Zero => "svg-0",
            Self::Deterministic => "dpg",
            Self::ActorCritic => "ac",
        }
    }

    /// Whether the policy moves once per episode, and not once per step.
    #[must_use]
    pub fn is_episodic(self) -> bool {
        matches!(self, Self::Infinite | Self::Planner)
    }

    /// Whether it needs a model.
    #[must_use]
    pub fn has_model(self) -> bool {
        !matches!(self, Self::Zero | Self::Deterministic | Self::ActorCritic)
    }

    /// Whether its critic judges actions as well as states.
    #[must_use]
    pub fn has_q(self) -> bool {
        matches!(self, Self::Zero | Self::Deterministic)
    }

    /// Whether it has a critic V, whose regression weighs remembered actions by how likely they are now.
    #[must_use]
    pub fn has_v(self) -> bool {
        !self.is_episodic() && !self.has_q()
    }

    /// Whether the policy's gradient weighs actions in this way, too.
    #[must_use]
    pub fn is_weighted(self) -> bool {
        matches!(self, Self::OneReplay | Self::Steps)
    }
}

/// Settings of [`SvgLearner`](crate::SvgLearner). The paper's main text publishes next to none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SvgSettings {
    /// Which gradient.
    pub estimator: Estimator,
    /// k, steps of a real trajectory per gradient, where the estimator leaves it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Hidden layers of the policy, tanh.
    pub hidden: Vec<usize>,
    /// Adam's step size for the policy.
    pub learning_rate: f64,
    /// Deviation of the actions at the start, as a share of half their range.
    pub std: f64,
    /// Whether deviations are learned.
    pub learn_std: bool,
    /// Gradients of the policy, the model and the critic are each shortened to this norm before Adam
    /// sees them; inf for as long as they are.
    pub max_gradient_norm: f64,
    /// Transitions of a step of Adam; `svg-k` draws as many runs of k as make so many.
    pub minibatch: usize,
    /// Transitions that are remembered.
    pub replay_capacity: usize,
    /// Largest importance weight, where there are any; inf for as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<f64>,
    /// The model, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSettings>,
    /// The critic, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic: Option<CriticSettings>,
}

/// Settings of the model that is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Where derivatives come from.
    pub source: ModelSource,
    /// Hidden layers of the network of each entry of the state, tanh.
    pub hidden: Vec<usize>,
    /// What is known of the deviation of the changes.
    pub noise: ModelNoise,
    /// Whether observations go in, and changes come out, in units of their deviations; otherwise in those
    /// of the task.
    pub normalize: bool,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Steps of Adam: per episode for `svg-inf` and `svg-planner`, else per step.
    pub updates: usize,
}

/// Whose derivatives the policy follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelSource {
    /// Those of the model learned from the transitions.
    Learned,
    /// Those of the task's nominal model; nothing is learned. The planner imagines without noise then.
    Nominal,
}

/// Deviation of the changes that a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelNoise {
    /// A network's output, as the mean is.
    StateDependent,
    /// A parameter per entry of the state.
    Constant,
    /// None is learned: the loss is the mean square.
    None,
}

/// Settings of the critic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticSettings {
    /// Hidden layers, tanh.
    pub hidden: Vec<usize>,
    /// Adam's step size.
    pub learning_rate: f64,
    /// τ: share of the critic that its target takes over.
    pub target_rate: f64,
    /// Steps of Adam between two such updates.
    pub target_every: u64,
    /// Steps of Adam per environment step.
    pub updates: usize,
}

impl SvgSettings {
    /// The defaults of a method.
    #[must_use]
    pub fn of(estimator: Estimator) -> Self {
        let model = ModelSettings {
            source: ModelSource::Learned,
            hidden: vec![20, 20],
            noise: ModelNoise::StateDependent,
            normalize: true,
            learning_rate: 1e-3,
            updates: if estimator.is_episodic() { 250 } else { 1 },
        };
        let critic = CriticSettings {
            hidden: vec![200, 100],
            learning_rate: 1e-3,
            target_rate: 0.005,
            target_every: 1,
            updates: 1,
        };
        Self {
            estimator,
            steps: (estimator == Estimator::Steps).then_some(5),
            hidden: vec![100, 100],
            learning_rate: 1e-3,
            std: 0.3,
            learn_std: false,
            max_gradient_norm: if estimator.is_episodic() { 1.0 } else { 10.0 },
            minibatch: 128,
            replay_capacity: 200_000,
            max_weight: estimator.has_v().then_some(5.0),
            model: estimator.has_model().then_some(model),
            critic: (!estimator.is_episodic()).then_some(critic),
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let counts = [
            ("method.minibatch", Some(self.minibatch)),
            ("method.replay_capacity", Some(self.replay_capacity)),
            ("method.steps", self.steps),
            ("method.model.updates", self.model.as_ref().map(|m| m.updates)),
            ("method.critic.updates", self.critic.as_ref().map(|c| c.updates)),
        ];
        for (key, count) in counts {
            // A slip of the finger must not take the machine's whole memory.
            if let Some(count) = count.filter(|count| !(1..=10_000_000).contains(count)) {
                let needed = "between 1 and 10000000";
                return Err(LearnError::Setting { key, value: count.to_string(), needed });
            }
        }
        let positive = [
            ("method.learning_rate", Some(self.learning_rate)),
            ("method.std", Some(self.std)),
            ("method.model.learning_rate", self.model.as_ref().map(|m| m.learning_rate)),
            ("method.critic.learning_rate", self.critic.as_ref().map(|c| c.learning_rate)),
        ];
        for (key, value) in positive {
            if let Some(value) = value.filter(|v| !(v.is_finite() && *v > 0.0)) {
                let needed = "positive and finite";
                return Err(LearnError::Setting { key, value: value.to_string(), needed });
            }
        }
        let limits = [
            ("method.max_gradient_norm", Some(self.max_gradient_norm)),
            ("method.max_weight", self.max_weight),
        ];
        for (key, value) in limits {
            if let Some(value) = value.filter(|v| v.is_nan() || *v <= 0.0) {
                let needed = "positive, or inf for no limit";
                return Err(LearnError::Setting { key, value: value.to_string(), needed });
            }
        }
        if let Some(critic) = &self.critic {
            let (rate, every) = (critic.target_rate, critic.target_every);
            if !(rate > 0.0 && rate <= 1.0) {
                let (key, value) = ("method.critic.target_rate", rate.to_string());
                return Err(LearnError::Setting { key, value, needed: "above 0 and at most 1" });
            }
            if every == 0 {
                let (key, value) = ("method.critic.target_every", every.to_string());
                return Err(LearnError::Setting { key, value, needed: "at least 1" });
            }
        }
        let estimator = self.estimator;
        for (key, there, needed) in [
            ("method.model", self.model.is_some(), estimator.has_model()),
            ("method.critic", self.critic.is_some(), !estimator.is_episodic()),
            ("method.steps", self.steps.is_some(), estimator == Estimator::Steps),
            ("method.max_weight", self.max_weight.is_some(), estimator.has_v()),
        ] {
            if there != needed {
                let needed =
                    if needed { "there with this estimator" } else { "absent with this estimator" };
                let value = if there { "there" } else { "absent" }.to_owned();
                return Err(LearnError::Setting { key, value, needed });
            }
        }
        Ok(())
    }
}
