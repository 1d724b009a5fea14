//! The family's members and their constants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DdpError;

/// A member of the family. They share backward pass, line search and regularisation and differ in
/// three things: the curvature of the dynamics, gaps, and the box of the controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Iterative LQR (Li and Todorov 2004): first derivatives of the dynamics, feasible after one
    /// step.
    Ilqr,
    /// Differential dynamic programming (Mayne 1966): second derivatives of the dynamics as well,
    /// where the trajectory is feasible and the control Hessians are positive definite with them.
    Ddp,
    /// Feasibility-driven DDP (Mastalli et al. 2020): first derivatives; a guess may have gaps, which
    /// shrink by 1 − α at a step α.
    Fddp,
    /// [`Method::Ilqr`] within the control limits (Tassa, Mansard and Todorov 2014).
    BoxDdp,
    /// [`Method::Fddp`] within the control limits.
    BoxFddp,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fddp, Self::Ddp, Self::Ilqr, Self::BoxDdp, Self::BoxFddp];

    /// Name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ilqr => "ilqr",
            Self::Ddp => "ddp",
            Self::Fddp => "fddp",
            Self::BoxDdp => "box-ddp",
            Self::BoxFddp => "box-fddp",
        }
    }

    pub(crate) fn second_order(self) -> bool {
        self == Self::Ddp
    }
    pub(crate) fn keeps_gaps(self) -> bool {
        matches!(self, Self::Fddp | Self::BoxFddp)
    }
    pub(crate) fn boxed(self) -> bool {
        matches!(self, Self::BoxDdp | Self::BoxFddp)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let valid: Vec<_> = Self::ALL.iter().map(|method| method.name()).collect();
            format!("there is no solver `{name}`; the solvers are: {}", valid.join(", "))
        })
    }
}

/// A time budget that nobody reaches, but that files can hold.
pub(crate) const UNLIMITED_SECONDS: f64 = 1e9;

/// A row of the checks: key, value, whether it is right, what is needed.
type Check = (&'static str, f64, bool, &'static str);

pub(crate) fn check_budget(seconds: f64) -> Check {
    let right = seconds > 0.0 && seconds.is_finite();
    ("time_budget", seconds, right, "positive and finite, in seconds")
}

/// Threads at most, each of which has scratch of its own.
const MAX_THREADS: usize = 1024;

/// Constants of a solve. The defaults are Crocoddyl's (Mastalli et al. 2020), but for `stop`, which
/// Crocoddyl sets to 5e-5 for the methods with control limits, and for `max_iterations`, where
/// Crocoddyl's 100 are too few for a swing-up; DVP (Parag et al. 2022) has 1000.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Iterations at most.
    pub max_iterations: usize,
    /// Converged when a feasible iterate's expected improvement |d₁ + ½ d₂| is below this.
    pub stop: f64,
    /// A step is accepted if it brings this share of the expected improvement (b₁ of FDDP's
    /// Goldstein-like condition).
    pub accept_ratio: f64,
    /// Where the expectation is a rise and there are gaps, a rise up to this multiple is accepted (b₂).
    pub accept_rise: f64,
    /// Below this slope d₁ every step is accepted that does not raise the cost by more than rounding.
    pub min_slope: f64,
    /// Step lengths tried: 1, ½, ¼, …
    pub n_step_lengths: usize,
    /// μ of the first iteration.
    pub regularization: f64,
    /// Smallest μ.
    pub min_regularization: f64,
    /// Largest μ; reaching it ends the solve.
    pub max_regularization: f64,
    /// Factor by which μ grows and shrinks.
    pub regularization_factor: f64,
    /// A step longer than this shrinks μ.
    pub long_step: f64,
    /// A step not longer than this raises μ.
    pub short_step: f64,
    /// Seconds after which no new iteration begins; practically none by default.
    pub time_budget: f64,
    /// Threads that linearise the nodes of one trajectory. The result does not depend on it.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_iterations: 1000,
            stop: 1e-9,
            accept_ratio: 0.1,
            accept_rise: 2.0,
            min_slope: 1e-12,
            n_step_lengths: 10,
            regularization: 1e-9,
            min_regularization: 1e-9,
            max_regularization: 1e9,
            regularization_factor: 10.0,
            long_step: 0.5,
            short_step: 0.01,
            time_budget: UNLIMITED_SECONDS,
            threads: 1,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), DdpError> {
        let in_unit = |value: f64| (0.0..=1.0).contains(&value);
        let budget = check_budget(self.time_budget);
        let checks = [
            ("stop", self.stop, self.stop >= 0.0, "not negative"),
            (
                "accept_ratio",
                self.accept_ratio,
                (0.0..1.0).contains(&self.accept_ratio),
                "in [0, 1)",
            ),
            ("accept_rise", self.accept_rise, self.accept_rise >= 0.0, "not negative"),
            ("min_slope", self.min_slope, self.min_slope >= 0.0, "not negative"),
            (
                "n_step_lengths",
                self.n_step_lengths as f64,
                (1..=60).contains(&self.n_step_lengths),
                "from 1 to 60",
            ),
            (
                "regularization",
                self.regularization,
                self.regularization >= 0.0 && self.regularization < self.max_regularization,
                "not negative and below max_regularization",
            ),
            (
                "min_regularization",
                self.min_regularization,
                self.min_regularization > 0.0 && self.min_regularization < self.max_regularization,
                "positive and below max_regularization",
            ),
            (
                "max_regularization",
                self.max_regularization,
                self.max_regularization.is_finite(),
                "finite",
            ),
            (
                "regularization_factor",
                self.regularization_factor,
                self.regularization_factor > 1.0 && self.regularization_factor.is_finite(),
                "above 1",
            ),
            ("long_step", self.long_step, in_unit(self.long_step), "in [0, 1]"),
            ("short_step", self.short_step, in_unit(self.short_step), "in [0, 1]"),
            budget,
            (
                "threads",
                self.threads as f64,
                (1..=MAX_THREADS).contains(&self.threads),
                "from 1 to 1024",
            ),
        ];
        match checks.into_iter().find(|(_, _, ok, _)| !ok) {
            Some((key, value, _, needed)) => Err(DdpError::Setting { key, value, needed }),
            None => Ok(()),
        }
    }
}
