//! The step of second order.

use dynamics::{ActionBounds, Cost, Dynamics, TerminalCost};

use super::{Route, Shooting};
use crate::DdpError;

/// δ = argmin gᵀδ + ½ δᵀHδ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecondOrderStep<'s> {
    /// δ, T·nu.
    pub delta: &'s [f64],
    /// How it was found.
    pub report: RouteReport,
}

/// How a step of second order was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouteReport {
    /// The route that was taken, never [`Route::Auto`].
    pub route: Route,
    /// Linear systems that were solved: one without control limits.
    pub solves: usize,
    /// Whether δ is the minimiser up to the tolerance of the route. Otherwise it is a direction that
    /// goes downhill: conjugate gradients or the search for the active limits were cut off.
    pub converged: bool,
}

impl<D: Dynamics, C: Cost, E: TerminalCost> Shooting<'_, D, C, E> {
    /// The minimiser δ of the quadratic model with the Gauss–Newton Hessian, within
    /// low ≤ u + δ ≤ high if the problem limits its controls.
    ///
    /// # Errors
    /// As [`Shooting::gradient`]; [`DdpError::Indefinite`] if H is not positive definite, and
    /// [`DdpError::Setting`] for a tolerance out of range.
    pub fn second_order_step(&mut self, route: Route) -> Result<SecondOrderStep<'_>, DdpError> {
        let report = self.minimize(route)?;
        Ok(SecondOrderStep { delta: &self.newton.delta, report })
    }

    pub(super) fn minimize(&mut self, route: Route) -> Result<RouteReport, DdpError> {
        self.check_ready()?;
        let limits = self.problem.control_limits;
        let Self { model, newton, us, .. } = self;
        let limited = limits.is_some();
        let route = match model.derivatives.first() {
            Some(first) => route.resolve(first, model.ndx, model.nu, model.horizon, limited),
            None => route,
        };
        if let Route::ConjugateGradient { tolerance, .. } = route
            && !(tolerance > 0.0 && tolerance < 1.0)
        {
            let key = "the tolerance of conjugate gradients";
            return Err(DdpError::Setting { key, value: tolerance, needed: "in (0, 1)" });
        }
        model.differentiate()?;
        if let Some(ActionBounds { low, high }) = limits {
            let room =
                newton.low.chunks_exact_mut(model.nu).zip(newton.high.chunks_exact_mut(model.nu));
            for ((to_low, to_high), u) in room.zip(us.iter()) {
                for (j, u) in u.iter().enumerate() {
                    (to_low[j], to_high[j]) = (low[j] - u, high[j] - u);
                }
            }
        }
        let (solves, converged) = newton.minimize(model, route, limited)?;
        Ok(RouteReport { route, solves, converged })
    }
}
