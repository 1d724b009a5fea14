//! Bring your own task: a pendulum that is known only by its step, swung up by VG-SAC.
//!
//! `cargo run --release -p agents --example own_task`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use agents::{Budget, Learner, SacLearner, SacSettings, evaluate};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DynamicsError, FiniteDifference, Move, Plant, Scratch,
    Stream, Task, wrap_to_pi,
};
use nalgebra::DVector;

/// A simulator as a black box: x = [θ from the top, θ̇], u = torque. Any code that steps will do.
struct Pendulum {
    damping: f64,
}

const DT: f64 = 0.05;

#[rustfmt::skip] // What only answers takes one line.
impl Plant for Pendulum {
    type Workspace = ();
    fn name(&self) -> &str { "my pendulum" }
    fn nx(&self) -> usize { 2 }
    fn nu(&self) -> usize { 1 }
    fn workspace(&self) {}
    fn step(
        &self, _: &mut (), x: &DVector<f64>, u: &DVector<f64>, x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[1] = x[1] + DT * (9.81 * x[0].sin() - self.damping * x[1] + u[0]);
        x_next[0] = x[0] + DT * x_next[1];
        Ok(())
    }
}

/// The real pendulum loses energy. The nominal one knows nothing of that, nor its own derivatives:
/// they are differences.
struct SwingUp {
    real: Pendulum,
    nominal: FiniteDifference<Pendulum>,
    bounds: ActionBounds,
}

#[rustfmt::skip]
impl Task for SwingUp {
    fn name(&self) -> &str { "swing-up" }
    fn plant(&self) -> &dyn AnyPlant { &self.real }
    fn nominal(&self) -> &dyn AnyDynamics { &self.nominal }
    fn horizon(&self) -> usize { 60 }
    fn dt(&self) -> f64 { DT }
    fn action_bounds(&self) -> &ActionBounds { &self.bounds }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        (x0[0], x0[1]) = (stream.uniform(-3.0, 3.0), 0.0);
    }
    fn reward(&self, _: &mut Scratch, m: &Move<'_>) -> f64 {
        m.x_next[0].cos() - 0.01 * m.x_next[1].powi(2)
    }
    // Not required, but it helps: equal angles are equal numbers.
    fn wrap(&self, x: &mut DVector<f64>) { x[0] = wrap_to_pi(x[0]); }
}

/// Trains, and returns the mean return before and after.
pub(crate) fn improve(env_steps: u64) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    let (real, nominal) = (Pendulum { damping: 0.2 }, Pendulum { damping: 0.0 });
    let bounds = ActionBounds::symmetric(1, 8.0);
    let task = SwingUp { real, nominal: FiniteDifference::new(nominal)?, bounds };
    let (actor_hidden, critic_hidden) = (vec![32, 32], vec![32, 32]);
    let small =
        SacSettings { actor_hidden, critic_hidden, batch_size: 64, ..SacSettings::vg_sac() };
    let settings = SacSettings { random_steps: 300, learning_rate: 1e-3, ..small };
    let mut learner = SacLearner::new(&task, &settings, 0)?;
    let before = evaluate(&task, &mut *learner.policy()?, 20, &mut Stream::new(1, "starts", 0))?;
    // `agents::train` in the place of this loop writes curves and checkpoints into a folder.
    while learner.advance(Budget { env_steps: 100 })?.env_steps < env_steps {}
    let after = evaluate(&task, &mut *learner.policy()?, 20, &mut Stream::new(1, "starts", 0))?;
    Ok([before.mean_return(), after.mean_return()])
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [before, after] = improve(6000)?;
    println!("return before {before:.1}, after {after:.1} (60 would be upright all the time)");
    Ok(())
}
