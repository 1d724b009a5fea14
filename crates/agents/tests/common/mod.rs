//! A mass on a line, pushed to the middle: the cheapest task with noise, early ends and a model
//! that is a little wrong.

use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, Dynamics, DynamicsError, End, Linearization, Move, Plant,
    Scratch, Stream, Task, Termination,
};
use nalgebra::DVector;

const DT: f64 = 0.2;

/// x = [p, v], u = force: v' = v + dt u/m, p' = p + dt v', and noise on v'.
pub(crate) struct Mass {
    mass: f64,
    noise: f64,
}

impl Plant for Mass {
    type Workspace = ();
    fn name(&self) -> &str {
        "mass"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn n_noise(&self) -> usize {
        usize::from(self.noise > 0.0)
    }
    fn workspace(&self) {}
    fn step(
        &self,
        ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.step_with_noise(ws, x, u, &[0.0], x_next)
    }
    fn step_with_noise(
        &self,
        _ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[1] = x[1] + DT * u[0] / self.mass + self.noise * noise[0];
        x_next[0] = x[0] + DT * x_next[1];
        Ok(())
    }
}

impl Dynamics for Mass {
    fn linearize(
        &self,
        _ws: &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.copy_from_slice(&[1.0, 0.0, DT, 1.0]);
        out.fu.copy_from_slice(&[DT * DT / self.mass, DT / self.mass]);
        Ok(())
    }
}

/// The task: r = 1 − p'² − 0.1 v'², starts anywhere in [−2, 2], ends beyond |p| = 4.
pub(crate) struct PointMass {
    real: Mass,
    nominal: Mass,
    bounds: ActionBounds,
    /// Rewards are not numbers beyond this position.
    pub(crate) reward_until: f64,
}

impl PointMass {
    pub(crate) fn new() -> Self {
        Self {
            real: Mass { mass: 1.2, noise: 0.01 },
            nominal: Mass { mass: 1.0, noise: 0.0 },
            bounds: ActionBounds::symmetric(1, 2.0),
            reward_until: f64::INFINITY,
        }
    }
}

impl Task for PointMass {
    fn name(&self) -> &str {
        "point-mass"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.real
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.nominal
    }
    fn horizon(&self) -> usize {
        25
    }
    fn dt(&self) -> f64 {
        DT
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-2.0, 2.0);
        x0[1] = 0.0;
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        if m.x_next[0].abs() > self.reward_until {
            return f64::NAN;
        }
        1.0 - m.x_next[0].powi(2) - 0.1 * m.x_next[1].powi(2)
    }
    fn ends(&self, m: &Move<'_>, reward: f64) -> Option<Termination> {
        (m.x_next[0].abs() > 4.0).then_some(Termination { end: End::Terminated, reward })
    }
}
