//! Parks a unicycle by model predictive control at 100 Hz: `cargo run --release --example unicycle_mpc`
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use ddp::{Method, Mpc, MpcSettings, Problem, Settings, TickSchedule};
use dynamics::models::Unicycle;
use dynamics::{ActionBounds, Euler, QuadraticCost};
use nalgebra::{DVector, dvector};

fn main() -> Result<(), Box<dyn Error>> {
    // The plan: 50 nodes of 0.1 s. The plant: steps of 0.01 s, a tick before each.
    let model = Euler::new(Unicycle, 0.1)?;
    let plant = Euler::new(Unicycle, 0.01)?;
    let stage = QuadraticCost::new(vec![0.0; 3], vec![1.0; 3], vec![0.1; 2])?;
    let end = QuadraticCost::new(vec![0.0; 3], vec![20.0; 3], vec![0.0; 2])?;
    let limits = ActionBounds { low: vec![-1.0, -2.0], high: vec![1.0, 2.0] };
    let mut problem = Problem::new(&model, &stage, &end, 50);
    problem.control_limits = Some(&limits);

    let still = dvector![0.0, 0.0];
    let mut mpc =
        Mpc::new(problem, Method::BoxFddp, Settings::default(), MpcSettings::default(), &still)?;
    let schedule = TickSchedule { steps_per_tick: 1, nodes_per_step: 0.1 };
    // A push to the side after three of twelve seconds.
    let push = |tick: usize, x: &mut DVector<f64>| {
        if tick == 300 {
            x[1] += 0.5;
        }
    };
    let run = mpc.run(&plant, &dvector![-1.0, -1.0, 1.0], 1200, schedule, push)?;

    for (x, u) in run.xs.iter().zip(&run.us).step_by(100) {
        println!("x {:6.3}  y {:6.3}  θ {:6.3}   v {:6.3}  ω {:6.3}", x[0], x[1], x[2], u[0], u[1]);
    }
    let slowest = run.ticks[1..].iter().map(|tick| tick.seconds).fold(0.0, f64::max);
    println!("slowest of {} ticks: {:.0} µs", run.ticks.len(), 1e6 * slowest);
    Ok(())
}
