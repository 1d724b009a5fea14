//! Rows about learned values: as a terminal cost, an epoch of their regression, and an iteration of
//! DVP.

use std::hint::black_box;
use std::ops::ControlFlow;

use agents::dvp::{Dvp, DvpSettings};
use anyhow::{Result, ensure};
use bench_tasks::BenchTask;
use critics::{
    Adam, AdamSettings, FitReport, FitSettings, Initialization, NeuralTerminalCost, Scaling,
    SobolevWeights, ValueData, ValueNetwork, ValueSpec,
};
use dynamics::{CostExpansion, HessianKind, Stream, Task, TerminalCost};
use nalgebra::DVector;

use super::case::{Case, Precision, Source, Unit, Work};
use super::flops;
use crate::dvp::System;

/// Entries of the arm's state and of its control.
const ARM: [usize; 2] = [14, 7];
/// Entries of the states of the regression, and its samples, as in `bench/peers/updates.py`.
const NX: usize = 3;
const SAMPLES: usize = 100;
/// Nodes and epochs of an iteration of DVP.
const HORIZON: usize = 60;
const EPOCHS: usize = 1000;

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Value, gradient and Gauss–Newton Hessian at one state of the arm.
    Terminal,
    /// An epoch on values and gradients.
    Epoch,
    /// Solves and regression of an iteration after the first.
    Iteration,
}

/// Names, what they measure and one line about each, in the order of the table.
pub(super) fn rows() -> [(&'static str, Measure, String); 3] {
    [
        (
            "dvp-terminal",
            Measure::Terminal,
            "value, gradient and Gauss–Newton Hessian of |r|², r 14-64-64-64-3 tanh, f64, one state"
                .to_owned(),
        ),
        (
            "sobolev-epoch",
            Measure::Epoch,
            format!(
                "values and gradients of |r|², r 3-64-64-64-3 tanh, {SAMPLES} samples, f64, full \
                 batch"
            ),
        ),
        (
            "dvp-iteration",
            Measure::Iteration,
            format!(
                "DVP on the unicycle: {SAMPLES} solves of {HORIZON} nodes that end in the value \
                 learned before, {EPOCHS} epochs on their values and gradients, 3-64-64-64-3"
            ),
        ),
    ]
}

/// The unicycle that is to drive to the origin, of figure 1 of DVP.
///
/// # Errors
/// Settings that the task refuses.
pub(super) fn unicycle() -> Result<Box<dyn BenchTask>> {
    System::unicycle_a()?.build()
}

/// The row of what is measured; `unicycle` is that of [`unicycle`].
///
/// # Errors
/// What networks, solves and regressions report.
pub(super) fn case<'a>(name: &str, measure: Measure, unicycle: &'a dyn Task) -> Result<Case<'a>> {
    let (unit, warm_up, granule, work): (_, _, _, Work<'a>) = match measure {
        Measure::Terminal => (Unit::Microseconds, 100, 100, terminal()?),
        Measure::Epoch => {
            let mut regression = Regression::new(&mut Stream::new(0, "bench sobolev", 0))?;
            (Unit::Milliseconds, 10, 10, Box::new(move |epochs| regression.fit(epochs).map(|_| ())))
        }
        // Its first iteration has warmed up.
        Measure::Iteration => (Unit::Seconds, 0, 1, iterations(unicycle)?),
    };
    let sizes = ValueSpec::new(NX).mlp().sizes;
    let epoch = (flops::sobolev_epoch(&sizes, SAMPLES), Precision::F64);
    Ok(Case {
        name: name.to_owned(),
        threads: 1,
        unit,
        flops: (measure == Measure::Epoch).then_some(epoch),
        updates_per_step: None,
        source: Source::timed(warm_up, granule, work),
    })
}

/// Expansions of a terminal cost at the same state.
fn terminal() -> Result<Work<'static>> {
    let mut stream = Stream::new(0, "bench terminal cost", 0);
    let [nx, nu] = ARM;
    let net = network(nx, Initialization::Pytorch, &mut stream)?;
    let cost = NeuralTerminalCost::new(net, HessianKind::GaussNewton);
    let x = DVector::from_fn(nx, |_, _| stream.normal());
    let (mut ws, mut out) = (cost.workspace(), CostExpansion::zeros(nx, nu));
    Ok(Box::new(move |calls| {
        for _ in 0..calls {
            cost.expand_terminal(&mut ws, black_box(&x), &mut out);
            black_box(&mut out);
        }
        Ok(())
    }))
}

/// Iterations of DVP that go on from one another, as in its loop.
fn iterations(unicycle: &dyn Task) -> Result<Work<'_>> {
    let settings = DvpSettings {
        samples: SAMPLES,
        horizon: HORIZON,
        start_spread: System::unicycle_a()?.spread,
        fit: FitSettings { epochs: EPOCHS, ..FitSettings::default() },
        ..DvpSettings::default()
    };
    let mut dvp = Dvp::new(unicycle, &settings, 0)?;
    // The first has no learned value at the end of its solves.
    dvp.iterate()?;
    Ok(Box::new(move |calls| {
        for _ in 0..calls {
            let done = dvp.iterate()?;
            ensure!(done.rejected == 0, "{} of {SAMPLES} solves were rejected", done.rejected);
        }
        Ok(())
    }))
}

fn network(
    nx: usize,
    initialization: Initialization,
    stream: &mut Stream,
) -> Result<ValueNetwork<f64>> {
    Ok(ValueNetwork::random(ValueSpec::new(nx), Scaling::none(nx), initialization, stream)?)
}

/// Training of V = |r(x)|² on V̂ = |x|² and ĝ = 2x at standard normal x, the data of
/// `bench/peers/updates.py`.
struct Regression {
    network: ValueNetwork<f64>,
    adam: Adam<f64>,
    data: ValueData<f64>,
}

impl Regression {
    fn new(stream: &mut Stream) -> Result<Self> {
        let x: Vec<f64> = (0..SAMPLES * NX).map(|_| stream.normal()).collect();
        let network = network(NX, Initialization::Xavier, stream)?;
        let adam = AdamSettings { lr: 1e-3, ..AdamSettings::default() };
        Ok(Self {
            adam: Adam::new(network.net().params().len(), adam),
            network,
            data: ValueData {
                v: x.chunks_exact(NX).map(|x| x.iter().map(|x| x * x).sum()).collect(),
                vx: x.iter().map(|x| 2.0 * x).collect(),
                vxx: Vec::new(),
                x,
            },
        })
    }

    /// The loss mean (V − V̂)² + mean |g − ĝ|²: the peers sum over the components of which ours
    /// takes the mean.
    fn weights() -> SobolevWeights {
        SobolevWeights { gradient: NX as f64, hessian: 0.0 }
    }

    /// Full-batch steps of Adam.
    fn fit(&mut self, epochs: usize) -> Result<FitReport> {
        let settings = FitSettings { epochs, weights: Self::weights(), ..FitSettings::default() };
        // Full batches draw nothing.
        let mut unused = Stream::new(0, "bench batches", 0);
        let Self { network, adam, data } = self;
        let mut go_on = |_: &_| ControlFlow::Continue(());
        Ok(network.fit(adam, data, None, &settings, &mut unused, &mut go_on)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regression() -> Regression {
        Regression::new(&mut Stream::new(3, "test", 0)).unwrap()
    }

    /// What the scripts of the peers minimise, from values and gradients alone.
    fn loss_of_the_peers(regression: &Regression) -> f64 {
        let Regression { network, data, .. } = regression;
        let (mut v, mut vx) = (vec![0.0; SAMPLES], vec![0.0; SAMPLES * NX]);
        let ws = &mut network.workspace(SAMPLES);
        network.value_and_gradient(&data.x, ws, &mut v, &mut vx);
        let of_sample = |i: usize| {
            let x = &data.x[i * NX..][..NX];
            let value: f64 = x.iter().map(|x| x * x).sum();
            let slopes = vx[i * NX..][..NX].iter().zip(x).map(|(g, x)| (g - 2.0 * x).powi(2));
            (v[i] - value).powi(2) + slopes.sum::<f64>()
        };
        (0..SAMPLES).map(of_sample).sum::<f64>() / SAMPLES as f64
    }

    #[test]
    fn an_epoch_has_the_loss_of_the_peers() {
        let mut regression = regression();
        let expected = loss_of_the_peers(&regression);
        let found = regression.fit(1).unwrap().epochs[0].train.loss(Regression::weights());
        assert!((found - expected).abs() < 1e-12 * expected, "{found} {expected}");
    }

    #[test]
    fn epochs_of_many_calls_are_those_of_one() {
        let (mut one, mut many) = (regression(), regression());
        let before = loss_of_the_peers(&one);
        one.fit(200).unwrap();
        (0..20).for_each(|_| assert_eq!(many.fit(10).unwrap().epochs.len(), 10));
        assert_eq!(one.network, many.network);
        let after = loss_of_the_peers(&one);
        assert!(after < 0.5 * before, "{before} to {after}");
    }

    #[test]
    fn every_row_can_be_prepared_and_called() {
        let task = unicycle().unwrap();
        for (name, measure, _) in rows() {
            let case = case(name, measure, task.as_task()).unwrap();
            let Source::Timed { mut work, granule, .. } = case.source else { unreachable!() };
            work(granule).unwrap();
        }
    }
}
