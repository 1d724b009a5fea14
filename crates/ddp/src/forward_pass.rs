//! The forward pass: a roll-out under the gains, and what improvement to expect of it.

use dynamics::{ActionBounds, Cost, Dynamics, TerminalCost};
use nalgebra::DVector;

use crate::Solver;
use crate::backward_pass::HUGE;

/// The expected improvement ΔJ(α) = α (d₁ + ½ α d₂) of a step α.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expectation {
    /// Parts of d₁ and d₂ that do not depend on the trial.
    pub(crate) slope_part: f64,
    pub(crate) curvature_part: f64,
    /// d₁.
    pub(crate) slope: f64,
    /// d₂.
    pub(crate) curvature: f64,
    /// Σ |Q_u k| over the clamped controls, where the slope leaves them out.
    pub(crate) clamped: f64,
}

impl Expectation {
    /// Discounts what was added so far, before the node in front of it.
    pub(crate) fn discount(&mut self, gamma: f64) {
        for part in [&mut self.slope_part, &mut self.curvature_part, &mut self.clamped] {
            *part *= gamma;
        }
    }

    pub(crate) fn at(&self, step: f64) -> f64 {
        step * (self.slope + 0.5 * step * self.curvature)
    }
}

impl<D: Dynamics, C: Cost, E: TerminalCost> Solver<'_, D, C, E> {
    /// Rolls out u'ₜ = uₜ + α kₜ + Kₜ (x'ₜ ⊖ xₜ) into the trial trajectory.
    ///
    /// With open gaps and α < 1 the feasibility-driven methods keep a share 1 − α of each gap:
    /// x'ₜ₊₁ = f(x'ₜ, u'ₜ) ⊕ (α − 1) gap. Otherwise the trial is feasible. False if a cost or state is
    /// not finite.
    pub fn forward_pass(&mut self, step: f64) -> bool {
        let closing = self.feasible || step == 1.0 || !self.keeps_gaps();
        let (problem, t0) = (self.problem, self.t0);
        let states = problem.dynamics.states();
        let limits = problem.control_limits.filter(|_| self.method.boxed());
        let [scratch, ..] = &mut self.scratch[..] else { return false };
        let (from, to) = (&self.now, &mut self.trial);
        if closing {
            to.xs[0].copy_from(&self.x0);
        } else {
            self.dx.zip_apply(&from.gaps[0], |dx, gap| *dx = (step - 1.0) * gap);
            states.integrate(&self.x0, &self.dx, &mut to.xs[0]);
        }
        for (t, node) in self.nodes.iter().enumerate() {
            let (done, ahead) = to.xs.split_at_mut(t + 1);
            let (x, x_next, u) = (&done[t], &mut ahead[0], &mut to.us[t]);
            states.difference(&from.xs[t], x, &mut self.dx);
            u.copy_from(&from.us[t]);
            u.axpy(step, &node.k, 1.0);
            u.gemv(1.0, &node.gains, &self.dx, 1.0);
            if let Some(limits) = limits {
                clamp(u, limits);
            }
            to.costs[t] = problem.cost.stage(&mut scratch.cost, t0 + t, x, u);
            let target = if closing { &mut *x_next } else { &mut self.x_next };
            let stepped = problem.dynamics.step(&mut scratch.dynamics, x, u, target);
            let small = |v: &f64| v.abs() < HUGE;
            if stepped.is_err() || !small(&to.costs[t]) || !target.iter().all(small) {
                self.trouble = Some(t);
                to.costs[t] = f64::NAN;
                return false;
            }
            if !closing {
                self.dx.zip_apply(&from.gaps[t + 1], |dx, gap| *dx = (step - 1.0) * gap);
                states.integrate(&self.x_next, &self.dx, x_next);
                states.difference(x_next, &self.x_next, &mut to.gaps[t + 1]);
            }
        }
        let horizon = problem.horizon;
        to.costs[horizon] = problem.terminal.terminal(&mut self.terminal_ws, &to.xs[horizon]);
        to.sum_costs(problem.discount);
        if closing {
            to.gaps.iter_mut().for_each(|gap| gap.fill(0.0));
        } else {
            states.difference(&to.xs[0], &self.x0, &mut to.gaps[0]);
        }
        let finite = to.cost.abs() < HUGE;
        if !finite {
            self.trouble = Some(horizon);
        }
        finite
    }

    /// Completes the expected improvement for the trial trajectory: with open gaps,
    /// d_v = −Σ gapᵀ V_xx (x ⊖ x'), d₁ += d_v, d₂ −= 2 d_v.
    pub(crate) fn expected_improvement(&mut self) {
        let mut d_v = 0.0;
        if !self.feasible && self.keeps_gaps() {
            let states = self.problem.dynamics.states();
            let nodes = self.trial.xs.iter().zip(&self.now.xs).zip(&self.vxx_gaps);
            let mut weight = 1.0;
            for ((x_trial, x), vxx_gap) in nodes {
                states.difference(x_trial, x, &mut self.dx);
                d_v -= weight * vxx_gap.dot(&self.dx);
                weight *= self.problem.discount;
            }
        }
        let e = &mut self.expectation;
        e.slope = e.slope_part + d_v;
        e.curvature = e.curvature_part - 2.0 * d_v;
    }
}

/// Moves a control into its limits.
pub(crate) fn clamp(u: &mut DVector<f64>, limits: &ActionBounds) {
    for (u, (&low, &high)) in u.iter_mut().zip(limits.low.iter().zip(&limits.high)) {
        *u = u.clamp(low, high);
    }
}
