//! What sets the values of solver, DVP and PPO apart.

use anyhow::{Result, ensure};

/// A squared difference so many times smaller is clearly better.
pub(crate) const CLEARLY: f64 = 5.0;
/// The quantiles of [`Differences`].
pub(crate) const QUANTILES: [f64; 4] = [0.1, 0.5, 0.9, 1.0];

/// Squared differences of two values over the grid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Differences {
    /// (a − b)² at each point.
    pub(crate) squares: Vec<f64>,
    /// Their [`QUANTILES`].
    pub(crate) quantiles: [f64; 4],
}

/// The values of one seed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// Solver and DVP, solver and PPO, PPO and DVP.
    pub(crate) pairs: [Differences; 3],
    /// Share of the grid on which PPO's squared difference from the solver is at least [`CLEARLY`]
    /// times DVP's.
    pub(crate) clearly_better: f64,
    /// Ratio of the medians of these, PPO's over DVP's.
    pub(crate) median_ratio: f64,
    /// Mean of V_dvp − V.
    pub(crate) dvp_bias: f64,
    /// Mean of V_ppo − V: above 0 PPO takes costs for higher than the best are.
    pub(crate) ppo_bias: f64,
}

impl Differences {
    fn new(a: &[f64], b: &[f64]) -> Self {
        let squares: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).collect();
        let mut sorted = squares.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
        Self { quantiles: QUANTILES.map(at), squares }
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantiles[1]
    }
}

impl Comparison {
    /// Of values on one grid.
    ///
    /// # Errors
    /// Values of different grids.
    pub(crate) fn new(truth: &[f64], dvp: &[f64], ppo: &[f64]) -> Result<Self> {
        let n = truth.len();
        ensure!(
            n > 0 && dvp.len() == n && ppo.len() == n,
            "values at {n}, {} and {} points cannot be compared",
            dvp.len(),
            ppo.len()
        );
        let bias = |v: &[f64]| v.iter().zip(truth).map(|(v, t)| v - t).sum::<f64>() / n as f64;
        let by_dvp = Differences::new(truth, dvp);
        let by_ppo = Differences::new(truth, ppo);
        let points = by_dvp.squares.iter().zip(&by_ppo.squares);
        let better = points.filter(|(dvp, ppo)| CLEARLY * **dvp <= **ppo).count();
        Ok(Self {
            clearly_better: better as f64 / n as f64,
            median_ratio: by_ppo.median() / by_dvp.median(),
            dvp_bias: bias(dvp),
            ppo_bias: bias(ppo),
            pairs: [by_dvp, by_ppo, Differences::new(ppo, dvp)],
        })
    }
}
