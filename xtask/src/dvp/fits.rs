//! Single regressions on labels of a short horizon: figure 5, and accuracy against the number of
//! samples.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use critics::{
    Adam, AdamSettings, FitEpoch, FitSettings, Head, Initialization, Scaling, ValueData,
    ValueNetwork, ValueSpec,
};
use ddp::{Method, Solution, Status};
use dynamics::{HessianKind, Stream, ZeroTerminalCost};
use serde::{Deserialize, Serialize};

use super::cell::Work;
use super::system::{System, solve};

/// A regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fit {
    /// Steps of the solves that give the labels, behind which nothing is paid.
    pub(crate) horizon: usize,
    /// Their solver: `ddp` gives exact Hessians, `fddp` those of Gauss–Newton.
    pub(crate) method: Method,
    /// Samples to learn from.
    pub(crate) samples: usize,
    /// Samples of the same horizon to measure the result at.
    pub(crate) validation: usize,
    /// Hidden layers, tanh.
    pub(crate) hidden: Vec<usize>,
    /// How outputs become a value: the plain head is the feed-forward network of the paper.
    pub(crate) head: Head,
    /// Outputs below a head with residuals.
    pub(crate) residuals: usize,
    /// The regression.
    pub(crate) fit: FitSettings,
    /// Epochs from one point of the curves to the next.
    pub(crate) record_every: usize,
}

/// What `result.json` of a regression holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FitResult {
    /// Epochs of the curves.
    pub(crate) epochs: Vec<usize>,
    /// Mean squared error of V in training.
    pub(crate) v: Vec<f64>,
    /// Mean squared error of the entries of V_x in training; empty where they are not trained.
    pub(crate) vx: Vec<f64>,
    /// Errors at samples that were not learned from.
    pub(crate) validation: Errors,
}

/// Mean squared errors per entry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// Of V.
    pub(crate) v: f64,
    /// Of V_x.
    pub(crate) vx: f64,
    /// Of V_xx, exact in the network and as the solver gives it.
    pub(crate) vxx: f64,
}

impl Fit {
    /// Runs it; nothing if it was asked to stop.
    ///
    /// # Errors
    /// No solve that converges, a regression that diverges.
    pub(crate) fn run(
        &self,
        system: &System,
        seed: u64,
        work: &mut Work<'_>,
    ) -> Result<Option<FitResult>> {
        let validation = self.data(system, seed, "dvp validation", self.validation)?;
        let Some((network, epochs)) = self.train(system, seed, work)? else { return Ok(None) };
        let recorded: Vec<_> = epochs.iter().step_by(self.record_every.max(1)).collect();
        Ok(Some(FitResult {
            epochs: recorded.iter().map(|e| e.epoch).collect(),
            v: recorded.iter().map(|e| e.train.v).collect(),
            vx: recorded.iter().filter_map(|e| e.train.vx).collect(),
            validation: errors(&network, &validation),
        }))
    }

    fn train(
        &self,
        system: &System,
        seed: u64,
        work: &mut Work<'_>,
    ) -> Result<Option<(ValueNetwork<f64>, Vec<FitEpoch>)>> {
        let data = self.data(system, seed, "dvp samples", self.samples)?;
        let nx = system.spread.len();
        let spec = ValueSpec {
            hidden: self.hidden.clone(),
            head: self.head,
            residuals: self.residuals,
            ..ValueSpec::new(nx)
        };
        let stream = &mut Stream::new(seed, "value weights", 0);
        let (scaling, start) = (Scaling::none(nx), Initialization::Pytorch);
        let mut network = ValueNetwork::random(spec, scaling, start, stream)?;
        let mut adam = Adam::new(network.net().params().len(), AdamSettings::default());
        let mut stopped = false;
        let report = network.fit(
            &mut adam,
            &data,
            None,
            &self.fit,
            &mut Stream::new(seed, "dvp batches", 0),
            &mut |_| {
                work.advance(1);
                stopped = work.stopped();
                if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
        Ok((!stopped).then_some((network, report.epochs)))
    }

    /// Labels of `n` random starts; those whose solve did not converge are left out.
    fn data(&self, system: &System, seed: u64, purpose: &str, n: usize) -> Result<ValueData<f64>> {
        let task = system.build()?;
        let terminal = ZeroTerminalCost { ndx: system.spread.len() };
        let starts = system.starts(&mut Stream::new(seed, purpose, 0), n);
        let solutions = solve(task.as_task(), &terminal, self.horizon, self.method, &starts)?;
        let mut data = ValueData::default();
        for Solution { status, xs, v, vx, vxx, .. } in &solutions {
            if *status == Status::Converged {
                data.x.extend(&xs[0]);
                data.v.push(v[0]);
                data.vx.extend(&vx[0]);
                data.vxx.extend(&vxx[0]);
            }
        }
        ensure!(!data.v.is_empty(), "none of {n} solves over {} steps converged", self.horizon);
        Ok(data)
    }
}

/// Mean squared errors of value, gradient and exact Hessian.
fn errors(network: &ValueNetwork<f64>, data: &ValueData<f64>) -> Errors {
    let n = data.v.len();
    let (mut v, mut vx, mut vxx) = (vec![0.0; n], data.vx.clone(), data.vxx.clone());
    let mut ws = network.workspace(n);
    network.hessian(HessianKind::Exact, &data.x, &mut ws, &mut v, &mut vx, &mut vxx);
    let mean = agents::dvp::mean_squared_difference;
    Errors { v: mean(&v, &data.v), vx: mean(&vx, &data.vx), vxx: mean(&vxx, &data.vxx) }
}
