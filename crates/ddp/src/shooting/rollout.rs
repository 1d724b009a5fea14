//! Roll-outs with derivatives, and without for line searches.

use dynamics::{Cost, CostExpansion, Dynamics, TerminalCost};
use nalgebra::DVector;

use super::Shooting;
use crate::DdpError;
use crate::backward_pass::HUGE;

impl<D: Dynamics, C: Cost, E: TerminalCost> Shooting<'_, D, C, E> {
    /// Rolls out the controls `us` from `x0` and differentiates every step; returns J. The controls are
    /// taken as they are, also outside the control limits.
    ///
    /// # Errors
    /// [`DdpError::GuessLength`], [`DdpError::Input`] for a state or control of the wrong size,
    /// [`DdpError::Model`] where the model fails, and [`DdpError::NotFinite`] for a control, cost or
    /// state that is not finite. There is then no roll-out.
    pub fn rollout(&mut self, x0: &DVector<f64>, us: &[DVector<f64>]) -> Result<f64, DdpError> {
        self.ready = false;
        self.cost = f64::NAN;
        let needed = self.problem.horizon;
        if us.len() != needed {
            return Err(DdpError::GuessLength { what: "controls", found: us.len(), needed });
        }
        for u in us {
            self.check_length("a control", u.len(), self.model.nu)?;
        }
        self.roll(x0, |t, _, u| u.copy_from(&us[t]))
    }

    /// Rolls out from `x0` the controls that `policy` writes, given t and xₜ; returns J.
    ///
    /// # Errors
    /// As [`Shooting::rollout`].
    pub fn rollout_policy(
        &mut self,
        x0: &DVector<f64>,
        policy: impl FnMut(usize, &DVector<f64>, &mut DVector<f64>),
    ) -> Result<f64, DdpError> {
        self.ready = false;
        self.cost = f64::NAN;
        self.roll(x0, policy)
    }

    fn roll(
        &mut self,
        x0: &DVector<f64>,
        mut control: impl FnMut(usize, &DVector<f64>, &mut DVector<f64>),
    ) -> Result<f64, DdpError> {
        let problem = self.problem;
        problem.check_state("x0", x0)?;
        self.model.reset();
        self.xs[0].copy_from(x0);
        let (mut weight, mut cost) = (1.0, 0.0);
        for t in 0..problem.horizon {
            let (done, ahead) = self.xs.split_at_mut(t + 1);
            let (x, x_next, u) = (&done[t], &mut ahead[0], &mut self.us[t]);
            control(t, x, u);
            check_finite("the control", t, u)?;
            let expansion = &mut self.model.costs[t];
            problem.cost.expand_stage(&mut self.cost_ws, t, x, u, expansion);
            cost += weight * expansion.l;
            scale(expansion, weight);
            problem
                .dynamics
                .derivative(&mut self.dynamics_ws, x, u, x_next, &mut self.model.derivatives[t])
                .map_err(|source| DdpError::Model { t, source })?;
            check_cost(t, cost)?;
            check_finite("the state", t + 1, x_next)?;
            weight *= problem.discount;
        }
        let last = problem.horizon;
        let expansion = &mut self.model.costs[last];
        problem.terminal.expand_terminal(&mut self.terminal_ws, &self.xs[last], expansion);
        cost += weight * expansion.l;
        scale(expansion, weight);
        check_cost(last, cost)?;
        (self.cost, self.ready) = (cost, true);
        Ok(cost)
    }

    /// J of the trial's controls, whose states it writes.
    pub(super) fn roll_trial(&mut self) -> Result<f64, DdpError> {
        let problem = self.problem;
        let (xs, us) = (&mut self.trial.xs, &self.trial.us);
        xs[0].copy_from(&self.xs[0]);
        let (mut weight, mut cost) = (1.0, 0.0);
        for (t, u) in us.iter().enumerate() {
            let (done, ahead) = xs.split_at_mut(t + 1);
            let (x, x_next) = (&done[t], &mut ahead[0]);
            cost += weight * problem.cost.stage(&mut self.cost_ws, t, x, u);
            problem
                .dynamics
                .step(&mut self.dynamics_ws, x, u, x_next)
                .map_err(|source| DdpError::Model { t, source })?;
            check_cost(t, cost)?;
            check_finite("the state", t + 1, x_next)?;
            weight *= problem.discount;
        }
        let last = problem.horizon;
        cost += weight * problem.terminal.terminal(&mut self.terminal_ws, &xs[last]);
        check_cost(last, cost)?;
        Ok(cost)
    }
}

/// Multiplies the derivatives of a cost by its discount.
fn scale(expansion: &mut CostExpansion, weight: f64) {
    if weight != 1.0 {
        let CostExpansion { l, lx, lu, lxx, lux, luu } = expansion;
        *l *= weight;
        for block in [
            lx.as_mut_slice(),
            lu.as_mut_slice(),
            lxx.as_mut_slice(),
            lux.as_mut_slice(),
            luu.as_mut_slice(),
        ] {
            block.iter_mut().for_each(|entry| *entry *= weight);
        }
    }
}

fn check_finite(what: &'static str, t: usize, values: &DVector<f64>) -> Result<(), DdpError> {
    match values.iter().all(|v| v.abs() < HUGE) {
        true => Ok(()),
        false => Err(DdpError::NotFinite { what, t }),
    }
}

fn check_cost(t: usize, cost: f64) -> Result<(), DdpError> {
    match cost.abs() < HUGE {
        true => Ok(()),
        false => Err(DdpError::NotFinite { what: "the cost", t }),
    }
}
