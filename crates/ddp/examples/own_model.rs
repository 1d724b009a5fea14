//! A model of one's own, from a step function alone: `cargo run --release --example own_model`
#![allow(clippy::print_stdout, reason = "an example prints")]
use ddp::{Guess, Method, Problem, Settings, Solver};
use dynamics::{DynamicsError, FiniteDifference, Plant, QuadraticCost};
use nalgebra::{DVector, dvector};

/// A crane's trolley with a load on 2 m of rope: x = [p, φ, ṗ, φ̇], u = acceleration of the trolley.
struct Crane;
const DT: f64 = 0.05;

impl Plant for Crane {
    type Workspace = ();

    fn name(&self) -> &str {
        "crane"
    }
    fn nx(&self) -> usize {
        4
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[2] = x[2] + DT * u[0];
        x_next[3] = x[3] - DT * (9.81 * x[1].sin() + u[0] * x[1].cos()) / 2.0;
        x_next[0] = x[0] + DT * x_next[2];
        x_next[1] = x[1] + DT * x_next[3];
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Derivatives by central differences; implement `dynamics::Dynamics` to give your own.
    let model = FiniteDifference::new(Crane)?;
    let stage = QuadraticCost::new(vec![5.0, 0.0, 0.0, 0.0], vec![0.01; 4], vec![0.1])?;
    let end = QuadraticCost::new(vec![5.0, 0.0, 0.0, 0.0], vec![100.0; 4], vec![0.0])?;
    let mut solver =
        Solver::new(Problem::new(&model, &stage, &end, 100), Method::Fddp, Settings::default())?;
    let solution = solver.solve(&DVector::zeros(4), Guess::Repeat(&dvector![0.0]))?;
    println!("{} after {} iterations", solution.status, solution.iterations);
    solution.xs.iter().step_by(20).for_each(|x| println!("p {:6.3}  φ {:6.3}", x[0], x[1]));
    Ok(())
}
