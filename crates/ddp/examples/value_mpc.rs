//! A value network as the terminal cost of a short-sighted MPC: `cargo run --release --example value_mpc [FILE]`
//!
//! FILE is a network as `ValueNetwork::save` writes it, for the unicycle with the cost below. Without one, a network is learned
//! from a hundred solves over a longer horizon and saved first; what drives the MPC is loaded from the file.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use critics::{
    Adam, AdamSettings, FitSettings, Initialization, NeuralTerminalCost, Scaling, ValueData,
    ValueNetwork, ValueSpec,
};
use ddp::{Guess, Method, Mpc, MpcSettings, Problem, Settings, TickSchedule, solve_batch};
use dynamics::models::Unicycle;
use dynamics::{Euler, HessianKind, QuadraticCost, Stream, TerminalCost, ZeroTerminalCost};
use nalgebra::{DVector, dvector};

type Model = Euler<Unicycle>;

fn main() -> Result<(), Box<dyn Error>> {
    let model = Euler::new(Unicycle, 0.1)?;
    let cost = QuadraticCost::new(vec![0.0; 3], vec![0.005; 3], vec![0.02; 2])?;
    let file = match std::env::args().nth(1) {
        Some(file) => PathBuf::from(file),
        None => {
            let file = std::env::temp_dir().join("unicycle-value.safetensors");
            learn(&model, &cost)?.save(&file)?;
            file
        }
    };
    let value = ValueNetwork::<f64>::load(Path::new(&file))?;
    let value = NeuralTerminalCost::new(value, HessianKind::GaussNewton);
    let blind = ZeroTerminalCost { ndx: 3 };
    let (alone, with_value) = (drive(&model, &cost, &blind)?, drive(&model, &cost, &value)?);
    println!("five steps ahead alone:      {alone:.4}");
    println!("five steps ahead with value: {with_value:.4}");
    if with_value < alone { Ok(()) } else { Err("this value makes the MPC no better".into()) }
}

/// Cost of twenty seconds under an MPC that looks half a second ahead.
fn drive<E: TerminalCost>(
    model: &Model,
    cost: &QuadraticCost,
    terminal: &E,
) -> Result<f64, Box<dyn Error>> {
    let problem = Problem::new(model, cost, terminal, 5);
    let (first, tick, still) = (Settings::default(), MpcSettings::default(), dvector![0.0, 0.0]);
    let mut mpc = Mpc::new(problem, Method::Fddp, first, tick, &still)?;
    let schedule = TickSchedule { steps_per_tick: 1, nodes_per_step: 1.0 };
    let run = mpc.run(model, &dvector![-0.7, 0.3, 1.0], 200, schedule, |_, _| {})?;
    let steps = run.xs.iter().zip(&run.us);
    Ok(steps.map(|(x, u)| 0.005 * x.norm_squared() + 0.02 * u.norm_squared()).sum())
}

/// V and V_x of a hundred starts over ten seconds, learned by Sobolev regression.
fn learn(model: &Model, cost: &QuadraticCost) -> Result<ValueNetwork<f64>, Box<dyn Error>> {
    let mut stream = Stream::new(0, "starts", 0);
    let starts: Vec<DVector<f64>> =
        (0..100).map(|_| DVector::from_fn(3, |_, _| stream.uniform(-1.2, 1.2))).collect();
    let (blind, still) = (ZeroTerminalCost { ndx: 3 }, dvector![0.0, 0.0]);
    let problem = Problem::new(model, cost, &blind, 100);
    let guess = |_| Guess::Repeat(&still);
    let mut data = ValueData::default();
    for solution in solve_batch(&problem, Method::Fddp, &Settings::default(), &starts, guess)? {
        let solution = solution?;
        data.x.extend(&solution.xs[0]);
        data.v.push(solution.cost);
        data.vx.extend(&solution.vx[0]);
    }
    let mut stream = Stream::new(0, "weights", 0);
    let (spec, scaling) = (ValueSpec::new(3), Scaling::none(3));
    let mut value = ValueNetwork::random(spec, scaling, Initialization::Pytorch, &mut stream)?;
    let mut adam = Adam::new(value.net().params().len(), AdamSettings::default());
    let settings = FitSettings { epochs: 3000, ..FitSettings::default() };
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    value.fit(&mut adam, &data, None, &settings, &mut stream, go_on)?;
    Ok(value)
}
