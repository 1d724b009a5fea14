//! Where a solve begins.

use dynamics::{Cost, Dynamics, TerminalCost, check_vector};
use nalgebra::DVector;

use crate::forward_pass::clamp;
use crate::{DdpError, Solution, Solver};

/// Where a solve begins.
#[derive(Debug, Clone, Copy)]
pub enum Guess<'a> {
    /// The initial state and this control at every node: a trajectory with gaps, unless x₀ is a rest
    /// under the control. What Crocoddyl does without a guess.
    Repeat(&'a DVector<f64>),
    /// These controls (T of them), rolled out: feasible.
    Controls(&'a [DVector<f64>]),
    /// These states (T + 1) and controls (T); gaps are found.
    Trajectory(&'a [DVector<f64>], &'a [DVector<f64>]),
}

impl<'a> Guess<'a> {
    /// The trajectory of a solution, for a warm start.
    #[must_use]
    pub fn of(solution: &'a Solution) -> Self {
        Self::Trajectory(&solution.xs, &solution.us)
    }
}

impl<D: Dynamics, C: Cost, E: TerminalCost> Solver<'_, D, C, E> {
    /// Puts the solver at a guess; limited controls are moved into their box.
    ///
    /// [`Solver::evaluate`], [`Solver::linearize`], [`Solver::backward_pass`] and
    /// [`Solver::forward_pass`] are the phases of an iteration from there, for whoever measures them.
    ///
    /// # Errors
    /// [`DdpError`] for a state or guess of the wrong size or with entries that are not finite.
    pub fn set_guess(&mut self, x0: &DVector<f64>, guess: Guess<'_>) -> Result<(), DdpError> {
        let problem = self.problem;
        let (name, nu) = (problem.dynamics.name(), problem.dynamics.nu());
        problem.check_state("x0", x0)?;
        self.x0.copy_from(x0);
        let length = |what, found, needed| match found == needed {
            true => Ok(()),
            false => Err(DdpError::GuessLength { what, found, needed }),
        };
        self.now.xs.iter_mut().for_each(|x| x.copy_from(x0));
        match guess {
            Guess::Repeat(u) => {
                check_vector(name, "the guess of the control", u.as_slice(), nu)?;
                self.now.us.iter_mut().for_each(|to| to.copy_from(u));
            }
            Guess::Controls(us) => self.set_controls(us, length)?,
            Guess::Trajectory(xs, us) => {
                length("states", xs.len(), problem.horizon + 1)?;
                self.set_controls(us, length)?;
                for (to, x) in self.now.xs.iter_mut().zip(xs) {
                    problem.check_state("a state of the guess", x)?;
                    to.copy_from(x);
                }
            }
        }
        if let Some(limits) = problem.control_limits.filter(|_| self.method.boxed()) {
            self.now.us.iter_mut().for_each(|u| clamp(u, limits));
        }
        // A roll-out from a trajectory with zero gains is feasible.
        let roll_out = matches!(guess, Guess::Controls(_));
        if roll_out {
            for node in &mut self.nodes {
                node.k.fill(0.0);
                node.gains.fill(0.0);
            }
            // A roll-out that fails leaves a cost that is not finite at its node.
            self.forward_pass(1.0);
            std::mem::swap(&mut self.now, &mut self.trial);
        }
        self.feasible = roll_out;
        self.exact_box = false;
        Ok(())
    }

    fn set_controls(
        &mut self,
        us: &[DVector<f64>],
        length: impl Fn(&'static str, usize, usize) -> Result<(), DdpError>,
    ) -> Result<(), DdpError> {
        length("controls", us.len(), self.problem.horizon)?;
        for (to, u) in self.now.us.iter_mut().zip(us) {
            let name = self.problem.dynamics.name();
            check_vector(name, "a control of the guess", u.as_slice(), to.len())?;
            to.copy_from(u);
        }
        Ok(())
    }
}
