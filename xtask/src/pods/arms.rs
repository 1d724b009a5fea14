//! The curves of the experiments: methods with their settings, on every task the same.

use agents::{BpttSettings, PodsSettings, PpoSettings, PpoWeights, SacSettings, TrainSettings};
use anyhow::Result;
use critics::{Activation, Initialization};

use crate::figure::Size;
use crate::runs::{Curve, curve};

/// The pendulums in the order of the paper's table 1.
pub(super) const TASKS: [&str; 6] = [
    "pods-2d-stop",
    "pods-3d-stop",
    "pods-double-stop",
    "pods-2d-origin",
    "pods-3d-origin",
    "pods-double-origin",
];

/// Keys of curves.
pub(super) const FEW: &str = "pods-few";
pub(super) const SMALL: &str = "pods-small";
pub(super) const LARGE: &str = "pods-large";
pub(super) const SAC: &str = "sac";
pub(super) const PPO: &str = "ppo";
pub(super) const SAC_FIELD: &str = "sac-field";
pub(super) const PPO_FIELD: &str = "ppo-field";

/// Whether a task is to stop at the origin.
pub(super) fn is_origin(task: &str) -> bool {
    task.ends_with("-origin")
}

/// Sizes of the experiments.
impl Size {
    /// The tasks that are compared.
    pub(super) fn tasks(&self) -> &'static [&'static str] {
        self.pick(&["pods-2d-stop", "pods-double-origin"], &TASKS, &TASKS)
    }

    /// Hidden layers of policies, critics and value functions.
    fn layers(&self) -> Vec<usize> {
        self.pick(vec![8; 2], vec![64; 2], vec![64; 2])
    }

    /// A training loop that ends after `episodes` episodes of `steps` steps each and evaluates every so
    /// many of them, always from the same starts.
    fn train(&self, episodes: u64, steps: u64, every: u64) -> TrainSettings {
        TrainSettings {
            total_steps: episodes * steps,
            evaluate_every_episodes: every,
            evaluation_episodes: self.pick(4, 100, 1000),
            common_starts: true,
            checkpoint_every_steps: (episodes * steps / 20).max(1),
            ..TrainSettings::default()
        }
    }
}

/// Steps of an episode where the task says nothing else.
pub(super) const HORIZON: u64 = 100;

/// PODS of second order with k roll-outs an epoch.
pub(super) fn pods(size: &Size, key: &str, task: &'static str) -> Result<Curve> {
    let (rollouts, epochs) = match key {
        FEW => size.pick((3, 2), (16, 20), (32, 40)),
        SMALL => size.pick((4, 2), (64, 15), (500, 20)),
        _ => size.pick((8, 2), (128, 10), (4000, 20)),
    };
    let settings = PodsSettings { rollouts, hidden: size.layers(), ..PodsSettings::second_order() };
    let train = size.train(epochs, rollouts as u64 * HORIZON, 1);
    curve(size, (key, format!("PODS, k = {rollouts}")), task, ("pods", &settings), &train, &[])
}

/// SAC or PPO with the paper's settings (those of Spinning Up) or the field's (those of
/// Stable-Baselines3), with the network and the first weights of PODS.
pub(super) fn baseline(size: &Size, key: &str, task: &'static str) -> Result<Curve> {
    let discount = [("discount", "0.99")];
    let episodes = |smoke, quick, paper| size.pick(smoke, quick, paper) / HORIZON;
    if key == SAC || key == SAC_FIELD {
        let common = SacSettings {
            actor_hidden: size.layers(),
            actor_activation: Activation::Tanh,
            critic_hidden: size.layers(),
            initialization: Initialization::Pytorch,
            ..SacSettings::sac()
        };
        let spinning_up = SacSettings {
            learning_rate: 1e-3,
            // The costs of a step are near ten at first.
            reward_scale: 0.1,
            alpha: 0.2,
            learn_alpha: false,
            batch_size: 100,
            random_steps: size.pick(200, 2_000, 10_000),
            update_after: size.pick(100, 1_000, 1_000),
            ..common.clone()
        };
        let (label, settings, episodes) = match key {
            SAC => ("SAC", spinning_up, episodes(600, 12_000, 100_000)),
            _ => ("SAC, the field's settings", common, episodes(600, 10_000, 50_000)),
        };
        let train = size.train(episodes, HORIZON, size.pick(3, 20, 20));
        let name = (key, label.to_owned());
        return curve(size, name, task, ("sac", &settings), &train, &discount);
    }
    let common = PpoSettings {
        hidden: size.layers(),
        weights: PpoWeights::Uniform(Initialization::Pytorch),
        ..PpoSettings::default()
    };
    let spinning_up = PpoSettings {
        rollout_steps: size.pick(400, 4_000, 4_000),
        minibatch: size.pick(400, 4_000, 4_000),
        epochs: 80,
        value_learning_rate: 1e-3,
        adam_epsilon: 1e-8,
        gae_lambda: 0.97,
        max_gradient_norm: f64::INFINITY,
        max_kl: 0.015,
        log_std: -0.5,
        ..common.clone()
    };
    let (label, settings) = match key {
        PPO => ("PPO", spinning_up),
        _ => ("PPO, the field's settings", common),
    };
    let train = size.train(episodes(1_200, 32_000, 200_000), HORIZON, size.pick(4, 50, 40));
    curve(size, (key, label.to_owned()), task, ("ppo", &settings), &train, &discount)
}

/// The comparison of figure 3: 50 steps of 1/30 s on the 2D pendulum, at which k = 64 roll-outs give the
/// curve of 256.
const FIG3: [(&str, &str); 2] = [("horizon", "50"), ("dt", "0.03333333333333333")];

/// A curve of figure 3: PODS of an order from the first step length `alpha`.
pub(super) fn ordered(size: &Size, order: u32, alpha: f64) -> Result<Curve> {
    let rollouts = size.pick(4, 64, 64);
    let (method, name, defaults) = match order {
        1 => ("pods-first-order", "1st order", PodsSettings::first_order()),
        _ => ("pods", "2nd order", PodsSettings::second_order()),
    };
    let settings = PodsSettings { rollouts, alpha, hidden: size.layers(), ..defaults };
    let train = size.train(size.pick(2, 60, 60), rollouts as u64 * 50, 1);
    let name = (format!("order-{order}-{alpha}"), format!("{name}, α = {alpha}"));
    curve(size, (&name.0, name.1), TASKS[0], (method, &settings), &train, &FIG3)
}

/// A curve of figure 3: BPTT with a step size of Adam, its gradients shortened to a norm if one is given.
pub(super) fn bptt(size: &Size, learning_rate: f64, norm: Option<f64>) -> Result<Curve> {
    let rollouts = size.pick(4, 64, 64);
    let settings = BpttSettings {
        rollouts,
        learning_rate,
        max_gradient_norm: norm.unwrap_or(f64::INFINITY),
        hidden: size.layers(),
    };
    let epochs = size.pick(4, 200, 300);
    let train = size.train(epochs, rollouts as u64 * 50, size.pick(2, 5, 5));
    let mut name = (format!("bptt-{learning_rate}"), format!("BPTT, Adam {learning_rate}"));
    if let Some(norm) = norm {
        name.0 += &format!("-clip-{norm}");
        name.1 += &format!(", norm at most {norm}");
    }
    curve(size, (&name.0, name.1), TASKS[0], ("bptt", &settings), &train, &FIG3)
}
