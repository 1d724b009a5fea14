//! BPTT: the policy gradient of a roll-out by back-propagation through policy and simulator.
//!
//! With the costates λ of the closed loop and νₜ = dJ/dāₜ, dJ/dθ = Σₜ (∂π/∂θ)ᵀ νₜ. There is no tape:
//! the sweep back through time is that of the open loop with (∂π/∂x)ᵀ νₜ added to λₜ, and the sum over
//! the samples of all roll-outs is one pass through the network.
//!
//! The normalisation of observations is that of PODS with steps of second order, so that equal seeds
//! start from equal policies. It is the better one for BPTT as well: with statistics of the first
//! policy's own roll-outs, the 2D pendulum costs 14 in the place of 10 after ten epochs.

use critics::Real;
use ddp::DdpError;
use dynamics::Task;
use nalgebra::DVector;

use crate::normalized_policy::NormalizedPolicy;
use crate::policy_search::PolicySearch;
use crate::{BpttSettings, LearnError, PodsSettings};

/// BPTT on a task whose objective is a sum of costs.
pub struct Bptt<'a, T: Real = f32> {
    pub(crate) search: PolicySearch<'a, T>,
    settings: BpttSettings,
    gradient: Vec<T>,
}

/// What an epoch did.
#[derive(Debug, Clone, PartialEq)]
pub struct BpttEpoch {
    /// From 0.
    pub epoch: u64,
    /// Cost of the policy's roll-out from every start, in order, or why there is none.
    pub costs: Vec<Result<f64, DdpError>>,
    /// Roll-outs for the statistics of observations, in the first epoch.
    pub statistics_rollouts: usize,
    /// Norm of the gradient before it is shortened.
    pub gradient_norm: f64,
}

impl BpttEpoch {
    /// Mean cost of the roll-outs that did not fail.
    #[must_use]
    pub fn mean_cost(&self) -> f64 {
        let kept = || self.costs.iter().flatten();
        kept().sum::<f64>() / kept().count() as f64
    }
    /// Roll-outs that failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.costs.iter().filter(|cost| cost.is_err()).count()
    }
}

impl<'a, T: Real> Bptt<'a, T> {
    /// BPTT at its start, with the weights of [`Pods`](crate::Pods) for the same seed and sizes.
    ///
    /// # Errors
    /// As [`Pods::new`](crate::Pods::new).
    pub fn new(task: &'a dyn Task, settings: &BpttSettings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let sizes = (&*settings.hidden, settings.rollouts, settings.learning_rate);
        let search = PolicySearch::new(METHOD, task, sizes, seed)?;
        Ok(Self { search, settings: settings.clone(), gradient: Vec::new() })
    }

    /// The policy as it is now.
    #[must_use]
    pub fn policy(&self) -> &NormalizedPolicy<T> {
        &self.search.policy
    }

    /// The policy, to be changed.
    pub fn policy_mut(&mut self) -> &mut NormalizedPolicy<T> {
        &mut self.search.policy
    }

    /// Settles the normalisation as PODS of second order does, by improved roll-outs of the first policy;
    /// returns how many roll-outs that took.
    fn normalize(&mut self, starts: &[DVector<f64>]) -> Result<usize, LearnError> {
        if self.search.normalized {
            return Ok(0);
        }
        let step =
            PodsSettings::second_order().step(self.search.horizon() * self.search.policy.nu());
        let outcomes = self.search.each(starts, |worker, x0, row| {
            worker.roll_out(x0)?;
            let better = worker.shooting.improve(step)?;
            for (x, input) in better.xs.iter().zip(row.inputs()) {
                worker.closed_loop.observe(x, input);
            }
            Ok(1 + better.trials)
        })?;
        self.search.normalize();
        Ok(outcomes.into_iter().map(|trials| trials.unwrap_or(1)).sum())
    }

    /// Gradient that was taken last, shortened if an epoch did so; empty before the first.
    #[must_use]
    pub fn gradient(&self) -> &[T] {
        &self.gradient
    }

    /// Costs of the policy's roll-outs from `starts`; takes the [`Bptt::gradient`] of their mean by the
    /// weights. Roll-outs that fail do not count.
    ///
    /// # Errors
    /// As [`Bptt::epoch`].
    pub fn differentiate(
        &mut self,
        starts: &[DVector<f64>],
    ) -> Result<Vec<Result<f64, DdpError>>, LearnError> {
        let costs = self.search.each(starts, |worker, x0, row| {
            let cost = worker.roll_out(x0)?;
            let closed_loop = &mut worker.closed_loop;
            let nu = worker.shooting.gradient_with_policy(|t, x, nu, lambda| {
                closed_loop.pull_back(x, nu, lambda, row.input(t));
            })?;
            row.set_values(nu);
            Ok(cost)
        })?;
        let scale = 1.0 / costs.iter().flatten().count() as f64;
        let PolicySearch { policy, samples, gradient, .. } = &mut self.search;
        let (_, gradient) = gradient.compute(policy, samples, None, |_, nu, w| {
            w.iter_mut().zip(nu).for_each(|(w, nu)| *w = scale * nu.to_f64());
            0.0
        });
        self.gradient.clear();
        self.gradient.extend_from_slice(gradient);
        Ok(costs)
    }

    /// Roll-outs from fresh starts and one step of Adam along the gradient of their mean cost.
    ///
    /// # Errors
    /// [`LearnError::NoRollouts`] if all roll-outs fail, [`LearnError::NotFinite`] for a gradient that
    /// is not, and what is wrong with the problem as a whole.
    pub fn epoch(&mut self) -> Result<BpttEpoch, LearnError> {
        let epoch = self.search.epochs;
        let starts = self.search.starts(epoch, self.settings.rollouts);
        let statistics_rollouts = self.normalize(&starts)?;
        let costs = self.differentiate(&starts)?;
        let squares = self.gradient.iter().map(|g| g.to_f64().powi(2));
        let gradient_norm = squares.sum::<f64>().sqrt();
        self.search.check_finite("the gradient's norm", gradient_norm)?;
        if gradient_norm > self.settings.max_gradient_norm {
            let shorter = self.settings.max_gradient_norm / gradient_norm;
            let gradient = self.gradient.iter_mut();
            gradient.for_each(|g| *g = T::from_f64(shorter * g.to_f64()));
        }
        let PolicySearch { policy, adam, .. } = &mut self.search;
        adam.step(policy.net_mut().params_mut(), &self.gradient);
        self.search.epochs += 1;
        Ok(BpttEpoch { epoch, costs, statistics_rollouts, gradient_norm })
    }
}

/// Name of the method.
pub(crate) const METHOD: &str = "bptt";
