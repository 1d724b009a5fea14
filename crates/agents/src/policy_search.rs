//! What PODS and BPTT share: a policy, the optimiser of its weights, and roll-outs in the nominal model
//! from many starts side by side.

use std::sync::{Mutex, PoisonError};

use critics::{Adam, AdamSettings, Real};
use ddp::shooting::Shooting;
use ddp::{DdpError, Problem};
use dynamics::{AnyCost, AnyDynamics, AnyTerminalCost, Objective, Stream, Task};
use nalgebra::DVector;
use rayon::prelude::*;

use crate::LearnError;
use crate::normalized_policy::{ClosedLoop, Normalization, NormalizedPolicy};
use crate::sample_gradient::{SampleGradient, Samples};

type AnyShooting<'w> = Shooting<'w, &'w dyn AnyDynamics, &'w dyn AnyCost, &'w dyn AnyTerminalCost>;

/// What the search for a policy has in any method.
pub(crate) struct PolicySearch<'a, T: Real> {
    method: &'static str,
    task: &'a dyn Task,
    objective: Objective<'a>,
    pub(crate) seed: u64,
    /// k, starts of an epoch.
    pub(crate) rollouts: usize,
    pub(crate) policy: NormalizedPolicy<T>,
    pub(crate) adam: Adam<T>,
    /// Epochs done.
    pub(crate) epochs: u64,
    /// Whether the policy's normalisation is settled.
    pub(crate) normalized: bool,
    pub(crate) samples: Samples<T>,
    pub(crate) gradient: SampleGradient<T>,
}

/// Scratch of a thread.
pub(crate) struct Worker<'w, T: Real> {
    pub(crate) shooting: AnyShooting<'w>,
    pub(crate) closed_loop: ClosedLoop<'w, T>,
}

impl<T: Real> Worker<'_, T> {
    /// Rolls out the policy from `x0`; returns J.
    pub(crate) fn roll_out(&mut self, x0: &DVector<f64>) -> Result<f64, DdpError> {
        let Self { shooting, closed_loop } = self;
        shooting.rollout_policy(x0, |_, x, u| closed_loop.act(x, u))
    }
}

impl<'a, T: Real> PolicySearch<'a, T> {
    /// A search at its start, with random weights.
    pub(crate) fn new(
        method: &'static str,
        task: &'a dyn Task,
        (hidden, rollouts, learning_rate): (&[usize], usize, f64),
        seed: u64,
    ) -> Result<Self, LearnError> {
        let unfit = |needed| LearnError::Unfit { method, task: task.name().to_owned(), needed };
        let mut objective =
            task.objective().ok_or_else(|| unfit("an objective that is a sum of costs"))?;
        // Where the costs know no limits, those of the policy hold: it could not follow beyond them.
        let bounds = objective.control_limits.unwrap_or(task.action_bounds());
        objective.control_limits = Some(bounds);
        let ranges = || bounds.low.iter().zip(&bounds.high);
        if !ranges().all(|(low, high)| low.is_finite() && high.is_finite() && low < high) {
            return Err(unfit("finite limits of all controls"));
        }
        let model = task.nominal();
        let observation = task.observation();
        if observation.jacobian().is_none() && model.any_nx() != model.any_ndx() {
            return Err(unfit("an observation with a Jacobian"));
        }
        let n_observations = observation.n_observations(model.any_nx());
        let policy = NormalizedPolicy::random(n_observations, hidden, bounds.clone(), seed)?;
        let adam = AdamSettings { lr: learning_rate, ..AdamSettings::default() };
        Ok(Self {
            method,
            task,
            objective,
            seed,
            rollouts,
            adam: Adam::new(policy.net().params().len(), adam),
            epochs: 0,
            normalized: false,
            samples: Samples::new(n_observations, model.any_nu(), task.horizon()),
            gradient: SampleGradient::default(),
            policy,
        })
    }

    /// Simulated steps of an epoch's roll-outs.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        self.rollouts as u64 * self.task.horizon() as u64
    }

    pub(crate) fn horizon(&self) -> usize {
        self.task.horizon()
    }

    /// Draws `n` starts, the same for every method with the seed.
    pub(crate) fn starts(&self, epoch: u64, n: usize) -> Vec<DVector<f64>> {
        let mut stream = Stream::new(self.seed, "policy search starts", epoch);
        let draw = |_| {
            let mut x0 = self.objective.x0.clone();
            self.task.sample_x0(&mut stream, &mut x0);
            x0
        };
        (0..n).map(draw).collect()
    }

    /// Takes the normalisation from the samples at hand, which were observed without one, and normalises
    /// them. Later it stays: a policy whose inputs changed would not be the one that was rolled out.
    pub(crate) fn normalize(&mut self) {
        if self.normalized {
            return;
        }
        let normalization = Normalization::of(self.samples.inputs(), self.policy.n_observations());
        self.samples.map_inputs(|j, o| normalization.apply(j, o));
        self.policy.normalization = normalization;
        self.normalized = true;
    }

    /// Does `work` for every start, in parallel, each thread with a [`Worker`] of its own; each start
    /// has a row of [`Samples`] to fill. The outcomes are in order and depend on nothing but start and
    /// policy. Samples of starts that failed are taken out.
    ///
    /// # Errors
    /// What is wrong with the problem as a whole; [`LearnError::NoRollouts`] if every start failed.
    pub(crate) fn each<R: Send>(
        &mut self,
        starts: &[DVector<f64>],
        work: impl Fn(&mut Worker<'_, T>, &DVector<f64>, &mut SampleRow<'_, T>) -> Result<R, DdpError>
        + Sync,
    ) -> Result<Vec<Result<R, DdpError>>, LearnError> {
        let Self { task, objective, policy, samples, .. } = self;
        let model = task.nominal();
        let problem = Problem {
            dynamics: &model,
            cost: &objective.stage,
            terminal: &objective.terminal,
            horizon: task.horizon(),
            discount: task.discount(),
            control_limits: objective.control_limits,
        };
        let (policy, task) = (&*policy, *task);
        samples.resize(starts.len());
        let mut outcomes: Vec<_> = starts.iter().map(|_| Err(DdpError::NoRollout)).collect();
        let (n_inputs, n_values) = (samples.n_inputs, samples.n_values);
        let rows =
            samples.rows().map(|(inputs, values)| SampleRow { inputs, values, n_inputs, n_values });
        let queue = Mutex::new(starts.iter().zip(rows).zip(outcomes.iter_mut()));
        let n_workers = rayon::current_num_threads().min(starts.len());
        (0..n_workers).into_par_iter().with_max_len(1).try_for_each(|_| {
            let mut worker = Worker {
                shooting: Shooting::new(problem)?,
                closed_loop: ClosedLoop::new(policy, task),
            };
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(((x0, mut row), outcome)) = next else { return Ok::<_, DdpError>(()) };
                *outcome = work(&mut worker, x0, &mut row);
            }
        })?;
        drop(queue);
        for outcome in &outcomes {
            match outcome {
                Ok(_) => {}
                // Some starts run away; anything else is wrong for all of them.
                Err(
                    DdpError::Model { .. }
                    | DdpError::NotFinite { .. }
                    | DdpError::Indefinite { .. },
                ) => {}
                Err(error) => return Err(error.clone().into()),
            }
        }
        samples.keep(|i| outcomes[i].is_ok());
        if let (0, Some(Err(source))) = (samples.n(), outcomes.first()) {
            return Err(LearnError::NoRollouts {
                method: self.method,
                epoch: self.epochs,
                rollouts: starts.len(),
                source: source.clone(),
            });
        }
        Ok(outcomes)
    }

    /// Refuses a number that is not finite.
    pub(crate) fn check_finite(&self, what: &'static str, value: f64) -> Result<(), LearnError> {
        if value.is_finite() {
            return Ok(());
        }
        Err(LearnError::NotFinite {
            method: self.method.to_owned(),
            seed: self.seed,
            what,
            value,
            env_step: self.epochs * self.steps_per_epoch(),
            update: self.adam.t(),
        })
    }
}

/// The samples of one start: an input and a value per step.
pub(crate) struct SampleRow<'s, T> {
    inputs: &'s mut [T],
    values: &'s mut [T],
    n_inputs: usize,
    n_values: usize,
}

impl<T: Real> SampleRow<'_, T> {
    /// The network's inputs, step after step.
    pub(crate) fn inputs(&mut self) -> impl Iterator<Item = &mut [T]> {
        self.inputs.chunks_exact_mut(self.n_inputs)
    }

    /// The network's input at step `t`.
    pub(crate) fn input(&mut self, t: usize) -> &mut [T] {
        &mut self.inputs[t * self.n_inputs..][..self.n_inputs]
    }

    /// Sets the value (nu) at step `t`.
    pub(crate) fn set_value(&mut self, t: usize, value: &[f64]) {
        let row = &mut self.values[t * self.n_values..][..self.n_values];
        row.iter_mut().zip(value).for_each(|(to, &from)| *to = T::from_f64(from));
    }

    /// Sets the values of all steps (T·nu).
    pub(crate) fn set_values(&mut self, values: &[f64]) {
        self.values.iter_mut().zip(values).for_each(|(to, &from)| *to = T::from_f64(from));
    }
}
