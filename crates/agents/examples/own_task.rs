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

impl Plant for Pendulum {
    type Workspace = ();
    fn name(&self) -> &str {
        "my pendulum"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        _ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[1] = x[1] + DT * (9.81 * x[0].sin() - self.damping * x[1] + u[0]);
        x_next[0] = x[0] + DT * x_next[1];
        Ok(())
    }
}

const DT: f64 = 0.05;

/// The real pendulum loses energy; the nominal model does not know, and knows no derivatives.
struct SwingUp {
    real: Pendulum,
    nominal: FiniteDifference<Pendulum>,
    bounds: ActionBounds,
}

impl Task for SwingUp {
    fn name(&self) -> &str {
        "swing-up"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.real
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.nominal
    }
    fn horizon(&self) -> usize {
        60
    }
    fn dt(&self) -> f64 {
        DT
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-3.0, 3.0);
        x0[1] = 0.0;
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        m.x_next[0].cos() - 0.01 * m.x_next[1].powi(2)
    }
    // Not required, but it helps: the same angle is always the same number.
    fn wrap(&self, x: &mut DVector<f64>) {
        x[0] = wrap_to_pi(x[0]);
    }
}

/// Mean return of the learner's deterministic policy.
fn mean_return(
    task: &SwingUp,
    learner: &SacLearner<'_>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let starts = &mut Stream::new(1, "starts", 0);
    Ok(evaluate(task, &mut *learner.policy()?, 20, starts)?.mean_return())
}

/// Trains, and returns the mean return before and after.
pub(crate) fn improve(env_steps: u64) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    let task = SwingUp {
        real: Pendulum { damping: 0.2 },
        nominal: FiniteDifference::new(Pendulum { damping: 0.0 })?,
        bounds: ActionBounds::symmetric(1, 8.0),
    };
    let settings = SacSettings {
        actor_hidden: vec![32, 32],
        critic_hidden: vec![32, 32],
        batch_size: 64,
        random_steps: 300,
        learning_rate: 1e-3,
        ..SacSettings::vg_sac()
    };
    let mut learner = SacLearner::new(&task, &settings, 0)?;
    let before = mean_return(&task, &learner)?;
    // `agents::train` in the place of this loop writes curves and checkpoints into a folder.
    while learner.advance(Budget { env_steps: 100 })?.env_steps < env_steps {}
    Ok([before, mean_return(&task, &learner)?])
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [before, after] = improve(6000)?;
    println!("return before {before:.1}, after {after:.1} (60 would be upright all the time)");
    Ok(())
}
