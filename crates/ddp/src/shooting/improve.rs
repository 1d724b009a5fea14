//! Better controls than those of a roll-out: a step and a line search over true roll-outs.

use dynamics::{Cost, Dynamics, TerminalCost};
use nalgebra::DVector;

use super::{Route, RouteReport, Shooting};
use crate::DdpError;
use crate::forward_pass::clamp;

/// Halvings of a step length at most.
const HALVINGS: usize = 12;
/// Share of the linear decrease that a step must bring.
const ARMIJO: f64 = 1e-4;

/// Where to look for better controls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Along −g. With control limits the controls are projected on them.
    FirstOrder {
        /// Step length that is tried first. It decides how far the controls move, more than the method.
        step_length: f64,
    },
    /// Along the minimiser of the quadratic model.
    SecondOrder {
        /// How to find it.
        route: Route,
        /// Step length that is tried first; 1 goes to the minimiser.
        step_length: f64,
    },
}

/// The controls that a line search accepted, or those of the roll-out itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Improvement<'s> {
    /// Controls, T.
    pub us: &'s [DVector<f64>],
    /// The states that they lead to, T + 1.
    pub xs: &'s [DVector<f64>],
    /// J of the roll-out.
    pub cost_before: f64,
    /// J of `us`; never above `cost_before`.
    pub cost_after: f64,
    /// The step length α that was accepted; none if no step lowered the cost enough, and then `us` and
    /// `xs` are those of the roll-out.
    pub step_length: Option<f64>,
    /// Roll-outs that were tried.
    pub trials: usize,
    /// Those of them that the model refused or that were not finite.
    pub failed_trials: usize,
    /// What the last of those reported.
    pub failure: Option<DdpError>,
    /// How a step of second order was found.
    pub second_order: Option<RouteReport>,
}

/// A roll-out that is tried.
pub(super) struct Trial {
    pub(super) xs: Vec<DVector<f64>>,
    pub(super) us: Vec<DVector<f64>>,
}

impl<D: Dynamics, C: Cost, E: TerminalCost> Shooting<'_, D, C, E> {
    /// Looks for controls with a lower cost: takes u + αδ (of first order u − αg) within the control
    /// limits, halves α up to twelve times, and accepts the first roll-out whose cost falls by more than
    /// 10⁻⁴ of the linear decrease. The roll-out and its derivatives stay as they are.
    ///
    /// # Errors
    /// As [`Shooting::gradient`] and, of second order, [`Shooting::second_order_step`];
    /// [`DdpError::Setting`] for a step length that is not positive. Roll-outs that fail on the way are
    /// counted in the answer.
    pub fn improve(&mut self, step: Step) -> Result<Improvement<'_>, DdpError> {
        self.check_ready()?;
        let (Step::FirstOrder { step_length: mut length }
        | Step::SecondOrder { step_length: mut length, .. }) = step;
        if !(length > 0.0 && length.is_finite()) {
            let (key, needed) = ("step_length", "positive and finite");
            return Err(DdpError::Setting { key, value: length, needed });
        }
        let second_order = match step {
            Step::FirstOrder { .. } => {
                self.model.differentiate()?;
                let gradient = self.newton.delta.iter_mut().zip(&self.model.gradient);
                gradient.for_each(|(delta, g)| *delta = -g);
                None
            }
            Step::SecondOrder { route, .. } => Some(self.minimize(route)?),
        };
        let (mut trials, mut failed_trials, mut failure) = (0, 0, None);
        let mut accepted = None;
        while accepted.is_none() && trials <= HALVINGS {
            let decrease = self.move_controls(length);
            trials += 1;
            match self.roll_trial() {
                Ok(cost) if cost < self.cost - (ARMIJO * decrease).max(0.0) => {
                    accepted = Some((length, cost));
                }
                Ok(_) => {}
                Err(error) => {
                    failed_trials += 1;
                    failure = Some(error);
                }
            }
            length *= 0.5;
        }
        let (us, xs) = match accepted {
            Some(_) => (&self.trial.us, &self.trial.xs),
            None => (&self.us, &self.xs),
        };
        Ok(Improvement {
            us,
            xs,
            cost_before: self.cost,
            cost_after: accepted.map_or(self.cost, |(_, cost)| cost),
            step_length: accepted.map(|(length, _)| length),
            trials,
            failed_trials,
            failure,
            second_order,
        })
    }

    /// Writes the trial's controls; returns the decrease that the gradient expects of them.
    fn move_controls(&mut self, length: f64) -> f64 {
        let nu = self.model.nu;
        let mut decrease = 0.0;
        for (t, (to, from)) in self.trial.us.iter_mut().zip(&self.us).enumerate() {
            let (delta, gradient) =
                (&self.newton.delta[t * nu..][..nu], &self.model.gradient[t * nu..][..nu]);
            for (j, to) in to.iter_mut().enumerate() {
                *to = from[j] + length * delta[j];
            }
            if let Some(limits) = self.problem.control_limits {
                clamp(to, limits);
            }
            for (j, g) in gradient.iter().enumerate() {
                decrease += g * (from[j] - to[j]);
            }
        }
        decrease
    }
}
