//! The values of DVP and of PPO on one discounted problem: figures 7 and 8.
//!
//! The unicycle without a terminal cost, J = Σ γᵗ ℓ(xₜ, uₜ). Three routes to its value on the
//! plane θ = 0, a cell each: the solver over a long horizon ([`DiscountedTruth`]), DVP
//! ([`DvpCritic`]) and PPO ([`PpoCritic`]). [`Comparison`] puts the values of one seed together.

mod comparison;
mod learners;
mod problem;
#[cfg(test)]
mod tests;

use agents::PpoSettings;
use agents::dvp::DvpSettings;
use anyhow::Result;
use critics::FitSettings;

pub(crate) use self::comparison::{CLEARLY, Comparison};
pub(crate) use self::learners::{DvpCritic, DvpCriticResult, PpoCritic, PpoCriticResult};
pub(crate) use self::problem::{Discounted, DiscountedTruth, DiscountedTruthData, Path};
use super::Size;
use super::cell::{Cell, Experiment};
use super::found::Found;
use super::system::System;

/// Discounts, and the steps of the horizon behind which nothing counts any more. At γ = 0.998 a
/// horizon of 1 000 steps leaves out about 3 % of the value, 2 500 a twentieth of that.
pub(super) const DISCOUNTS: [(f64, usize); 2] = [(0.99, 1000), (0.998, 2500)];

/// Half-width of the square of figure 7.
const HALF: f64 = 0.3;

/// Weights of set B. Starts lie in a box that has the square of figure 7 and the path of figure 8
/// within it.
fn system() -> Result<System> {
    Ok(System { spread: vec![1.0, 1.0, 1.5], ..System::unicycle_b()? })
}

fn problem(size: &Size, discount: f64) -> Discounted {
    Discounted {
        discount,
        half: HALF,
        points: size.pick(4, 12, 20),
        start: vec![-1.0, -1.0, 1.0],
        steps: size.pick(20, 200, 200),
    }
}

fn dvp(size: &Size, problem: Discounted, system: &System) -> DvpCritic {
    let settings = DvpSettings {
        iterations: size.pick(3, 10, 10),
        samples: size.pick(10, 100, 100),
        horizon: size.pick(20, 100, 100),
        discount: problem.discount,
        start_spread: system.spread.clone(),
        hidden: size.pick(vec![8; 2], vec![64; 3], vec![64; 3]),
        normalize: true,
        fit: FitSettings { epochs: size.pick(40, 5000, 5000), ..FitSettings::default() },
        ..DvpSettings::default()
    };
    DvpCritic { problem, settings }
}

fn ppo(size: &Size, problem: Discounted) -> PpoCritic {
    let method = PpoSettings {
        rollout_steps: size.pick(512, 8192, 8192),
        minibatch: 256,
        ..PpoSettings::default()
    };
    PpoCritic {
        problem,
        method,
        total_steps: size.pick(1024, 3_000_000, 3_000_000),
        episode: size.pick(20, 200, 200),
        max_action: 1.0,
        reward_scale: 10.0,
    }
}

/// The cells of one of [`DISCOUNTS`]: ground truth, and for every seed DVP and PPO.
pub(super) fn cells(size: &Size, index: usize) -> Result<Vec<Cell>> {
    let (discount, horizon) = DISCOUNTS[index];
    let (system, problem) = (system()?, problem(size, discount));
    let horizon = size.pick(100, horizon, horizon);
    let truth = DiscountedTruth { problem: problem.clone(), horizon, guess: 0.1 };
    let cell = |seed, experiment| Cell::new(system.clone(), seed, experiment);
    let mut cells = vec![cell(0, Experiment::DiscountedTruth(truth))];
    for seed in 0..size.seeds {
        cells.extend([
            cell(seed, Experiment::DvpCritic(dvp(size, problem.clone(), &system))),
            cell(seed, Experiment::PpoCritic(ppo(size, problem.clone()))),
        ]);
    }
    Ok(cells)
}

/// What is there of one of [`DISCOUNTS`].
pub(super) struct Results {
    /// The ground truth.
    pub(super) truth: DiscountedTruthData,
    /// Half-width of its square.
    pub(super) half: f64,
    /// Seeds of which both are there.
    pub(super) seeds: Vec<(DvpCriticResult, PpoCriticResult)>,
}

/// Reads one of [`DISCOUNTS`]; nothing without its ground truth.
///
/// # Errors
/// A result that holds something else.
pub(super) fn read(found: &Found, index: usize) -> Result<Option<Results>> {
    let (discount, _) = DISCOUNTS[index];
    let ours =
        |problem: &Discounted, cell: &Cell| (problem.discount == discount).then_some(cell.seed);
    let truth = found.by(|cell| match &cell.experiment {
        Experiment::DiscountedTruth(truth) => ours(&truth.problem, cell),
        _ => None,
    })?;
    let dvp = found.by(|cell| match &cell.experiment {
        Experiment::DvpCritic(dvp) => ours(&dvp.problem, cell),
        _ => None,
    })?;
    let mut ppo = found.by(|cell| match &cell.experiment {
        Experiment::PpoCritic(ppo) => ours(&ppo.problem, cell),
        _ => None,
    })?;
    let Some(truth) = truth.into_values().flatten().next() else { return Ok(None) };
    let pairs = dvp.into_iter().filter_map(|(seed, dvp)| Some((dvp, ppo.remove(&seed)?)));
    let seeds = pairs.flat_map(|(dvp, ppo)| dvp.into_iter().zip(ppo)).collect();
    Ok(Some(Results { truth, half: HALF, seeds }))
}
