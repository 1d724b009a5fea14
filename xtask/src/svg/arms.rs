//! The curves of the experiments: methods with their settings.

use agents::TrainSettings;
use agents::svg::{Estimator, SvgSettings};
use anyhow::Result;

use crate::figure::{Size, not_run};
use crate::report::Verdict;
use crate::runs::found::{Found, Group};
use crate::runs::{Curve, curve};

/// How well the model of the hand-ball is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quality {
    /// Minibatches after each episode.
    pub(super) updates: usize,
    /// Whether it sees observations and learns changes in units of their deviations.
    pub(super) scaled: bool,
}

impl Quality {
    /// Part of a curve's key, and name in tables.
    pub(super) fn name(self) -> String {
        let units = if self.scaled { "normalised" } else { "raw" };
        format!("{units}, {}", self.updates)
    }
}

/// From poor to good.
pub(super) const QUALITIES: [Quality; 4] = [
    Quality { updates: 2, scaled: false },
    Quality { updates: 10, scaled: false },
    Quality { updates: 50, scaled: false },
    Quality { updates: 50, scaled: true },
];

/// The one at which the claim is judged.
pub(super) const HEADLINE: Quality = QUALITIES[1];

pub(super) const HAND_BALL: &str = "hand-ball";
pub(super) const CARTPOLE: &str = "cartpole-svg";

/// Key of a curve of the hand-ball.
pub(super) fn key(estimator: Estimator, quality: Quality) -> String {
    format!("{} {}", estimator.name(), quality.name())
}

/// Name of a method in legends.
pub(super) fn label(estimator: Estimator) -> Result<&'static str> {
    Ok(agents::find_method(estimator.name())?.label)
}

/// SVG(∞) or the planner on the hand-ball, a policy of 2 × 50, models of 2 × 10 per entry of the state.
pub(super) fn hand_ball(size: &Size, estimator: Estimator, quality: Quality) -> Result<Curve> {
    let mut settings = SvgSettings::of(estimator);
    settings.hidden = size.pick(vec![8; 2], vec![50; 2], vec![50; 2]);
    if let Some(model) = &mut settings.model {
        model.hidden = size.pick(vec![5; 2], vec![10; 2], vec![10; 2]);
        model.updates = quality.updates;
        model.normalize = quality.scaled;
    }
    let (horizon, episodes) = size.pick((30, 3), (1000, 150), (1000, 400));
    let train = TrainSettings {
        total_steps: episodes * horizon,
        evaluate_every_episodes: size.pick(1, 10, 10),
        evaluation_episodes: size.pick(2, 32, 32),
        common_starts: true,
        checkpoint_every_steps: 20 * horizon,
        ..TrainSettings::default()
    };
    let horizon = horizon.to_string();
    let name = (&*key(estimator, quality), format!("{}, {}", label(estimator)?, quality.name()));
    curve(size, name, HAND_BALL, (estimator.name(), &settings), &train, &[("horizon", &horizon)])
}

/// A method on the cart-pole; `first` units in the first layer of its critic, half as many in the second.
pub(super) fn cartpole(size: &Size, estimator: Estimator, first: usize) -> Result<Curve> {
    let mut settings = SvgSettings::of(estimator);
    settings.hidden = size.pick(vec![8; 2], vec![100; 2], vec![100; 2]);
    settings.minibatch = size.pick(16, 64, 128);
    if let Some(model) = &mut settings.model {
        model.hidden = size.pick(vec![5; 2], vec![20; 2], vec![20; 2]);
    }
    if let Some(critic) = &mut settings.critic {
        critic.hidden =
            size.pick(vec![first / 20, first / 40], vec![first, first / 2], vec![first, first / 2]);
    }
    let train = TrainSettings {
        total_steps: size.pick(1_500, 40_000, 100_000),
        evaluate_every_episodes: size.pick(1, 5, 5),
        evaluation_episodes: size.pick(2, 10, 32),
        common_starts: true,
        checkpoint_every_steps: 10_000,
        ..TrainSettings::default()
    };
    let critic = if estimator.is_episodic() { 0 } else { first };
    let key = format!("{} {critic}", estimator.name());
    let name = match critic {
        0 => label(estimator)?.to_owned(),
        _ => format!("{}, critic {first}", label(estimator)?),
    };
    curve(size, (&key, name), CARTPOLE, (estimator.name(), &settings), &train, &[])
}

/// The curve of a method on the cart-pole.
pub(super) fn group(found: &Found, estimator: Estimator, first: usize) -> Option<&Group> {
    let critic = if estimator.is_episodic() { 0 } else { first };
    found.group(CARTPOLE, &format!("{} {critic}", estimator.name()))
}

/// Complete seeds that a verdict needs: with fewer, intervals on a single task say nothing.
pub(super) const MIN_SEEDS: usize = 5;

/// Where a rule wants more seeds.
pub(super) fn too_few() -> Verdict {
    let reason = format!("The rule needs {MIN_SEEDS} seeds of every curve");
    not_run(String::new(), reason)
}

/// What the paper leaves open, and how all experiments have it.
pub(super) const SETTINGS: &str = "The paper's main text publishes neither constants of the tasks nor step \
     sizes, batches or noise: all are choices (see the method's page). Actions have a fixed deviation of 0.3 of half \
     their range; Adam has 1e-3 for policy, model and critic; gradients are \
     shortened to norm 1 (whole trajectories) or 10 before Adam. Evaluations are without noise.";
