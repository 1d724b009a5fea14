//! Settings of SAC and VG-SAC.

use critics::{Activation, Initialization};
use dynamics::JacobianSource;
use serde::{Deserialize, Serialize};

use crate::LearnError;

/// Settings of SAC and VG-SAC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SacSettings {
    /// Hidden layers of the actor.
    pub actor_hidden: Vec<usize>,
    /// Activation of the actor.
    pub actor_activation: Activation,
    /// Hidden layers of each critic.
    pub critic_hidden: Vec<usize>,
    /// Activation of the critics; gradient losses need a smooth one.
    pub critic_activation: Activation,
    /// Adam step size of actor and critics.
    pub learning_rate: f64,
    /// Factor of the rewards that the critics learn, and of their gradients; α is relative to it.
    pub reward_scale: f64,
    /// Rate τ at which the target critics follow.
    pub tau: f64,
    /// Entropy weight α; where it is learned, its first value.
    pub alpha: f64,
    /// Learn α so that the entropy stays at −nu (Haarnoja et al. 2018, section 5).
    pub learn_alpha: bool,
    /// Transitions per update.
    pub batch_size: usize,
    /// Transitions the replay memory holds.
    pub replay_capacity: usize,
    /// Steps with uniformly random actions at the start.
    pub random_steps: u64,
    /// Updates begin once the memory holds more transitions than this.
    pub update_after: usize,
    /// How weights and biases are drawn.
    pub initialization: Initialization,
    /// Networks see actions scaled to [−1, 1] in the place of physical ones.
    pub normalize_actions: bool,
    /// The value-gradient losses; absent in plain SAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_gradient: Option<ValueGradientSettings>,
}

/// Settings of the value-gradient losses (`docs/methods/vg-sac.md`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueGradientSettings {
    /// Where the nominal model's Jacobian and the reward gradient come from.
    pub jacobians: JacobianSource,
    /// Which target the gradients are regressed on.
    pub target: GradientTarget,
    /// ζ_s: factor of the state-gradient loss on top of its on-line weight κ_s.
    pub zeta_s: f64,
    /// ζ_a: factor of the action-gradient loss on top of its on-line weight κ_a.
    pub zeta_a: f64,
    /// Updates between two recomputations of κ_s and κ_a.
    pub kappa_interval: u64,
    /// Share of the old κ that is kept at a recomputation.
    pub kappa_smoothing: f64,
    /// Share of the old running median that is kept at each use.
    pub median_decay: f64,
}

/// The target of the value-gradient losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientTarget {
    /// The next action is held constant and the entropy term is left out (released code).
    Released,
    /// The total derivative of min Q̄(s′, a′) − α log π(a′|s′) in s′, with a′ reparameterised and
    /// its noise fixed (eqs. 6, 12, 14, 15).
    Paper,
}

impl Default for ValueGradientSettings {
    fn default() -> Self {
        Self {
            jacobians: JacobianSource::Analytic,
            target: GradientTarget::Released,
            zeta_s: 0.5,
            zeta_a: 0.5,
            kappa_interval: 20,
            kappa_smoothing: 0.3,
            median_decay: 0.95,
        }
    }
}

impl SacSettings {
    /// SAC with the defaults of Stable-Baselines3.
    #[must_use]
    pub fn sac() -> Self {
        Self {
            actor_hidden: vec![256, 256],
            actor_activation: Activation::Relu,
            critic_hidden: vec![256, 256],
            critic_activation: Activation::Relu,
            learning_rate: 3e-4,
            reward_scale: 1.0,
            tau: 0.005,
            alpha: 1.0,
            learn_alpha: true,
            batch_size: 256,
            replay_capacity: 1_000_000,
            random_steps: 100,
            update_after: 100,
            initialization: Initialization::Pytorch,
            normalize_actions: true,
            value_gradient: None,
        }
    }

    /// SAC as VG-SAC's authors run it, the baseline of their comparison: VG-SAC without its losses.
    #[must_use]
    pub fn paired_sac() -> Self {
        Self { value_gradient: None, ..Self::vg_sac() }
    }

    /// VG-SAC with the settings of its released code.
    #[must_use]
    pub fn vg_sac() -> Self {
        Self {
            critic_activation: Activation::Tanh,
            alpha: 0.2,
            learn_alpha: false,
            random_steps: 1000,
            update_after: 256,
            initialization: Initialization::Xavier,
            normalize_actions: false,
            value_gradient: Some(ValueGradientSettings::default()),
            ..Self::sac()
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |key, value: String, needed| Err(LearnError::Setting { key, value, needed });
        let positive = |v: f64| v.is_finite() && v > 0.0;
        let share = |v: f64| (0.0..=1.0).contains(&v);
        if !positive(self.learning_rate) {
            return refuse("method.learning_rate", self.learning_rate.to_string(), "positive");
        }
        if !positive(self.reward_scale) {
            return refuse("method.reward_scale", self.reward_scale.to_string(), "positive");
        }
        if !share(self.tau) {
            return refuse("method.tau", self.tau.to_string(), "between 0 and 1");
        }
        if !(self.alpha.is_finite() && self.alpha >= 0.0) {
            return refuse("method.alpha", self.alpha.to_string(), "finite and not negative");
        }
        if self.learn_alpha && self.alpha == 0.0 {
            let value = self.alpha.to_string();
            return refuse("method.alpha", value, "positive where it is learned");
        }
        if self.critic_hidden.is_empty() {
            return refuse("method.critic_hidden", "[]".to_owned(), "at least one layer");
        }
        match &self.value_gradient {
            Some(vg) => vg.check(),
            None => Ok(()),
        }
    }
}

impl ValueGradientSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`], naming the key.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |key, value: f64, needed| {
            Err(LearnError::Setting { key, value: value.to_string(), needed })
        };
        for (key, value) in [
            ("method.value_gradient.kappa_smoothing", self.kappa_smoothing),
            ("method.value_gradient.median_decay", self.median_decay),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(key, value, "between 0 and 1");
            }
        }
        for (key, value) in [
            ("method.value_gradient.zeta_s", self.zeta_s),
            ("method.value_gradient.zeta_a", self.zeta_a),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value, "finite and not negative");
            }
        }
        Ok(())
    }
}
