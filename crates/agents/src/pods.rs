//! PODS: policy optimisation via differentiable simulation (Zamora Mora, Peychev, Ha, Vechev and Coros,
//! ICML 2021).
//!
//! An epoch:
//! 1. Roll out the policy on the nominal model from k starts.
//! 2. Improve the controls a of each roll-out alone, by a step of first or second order with a line
//!    search on true roll-outs: V(ā) > V(a), or ā = a where no step helps.
//! 3. Regress the policy on the improved roll-outs, L = 1/k Σᵢ Σₜ ½ ‖π(o(sₜ(ā))) − āₜ‖², by a few
//!    steps of Adam. The states are those that ā leads to, not those of the policy.
//!
//! Observations are normalised by the statistics of the first improved roll-outs, the data of the first
//! regression, and in the same way ever after. Statistics of the first policy's own roll-outs, which
//! wander off, make learning slower and less sure: with 64 roll-outs of 50 steps of the 2D pendulum, α = 1
//! and Adam 1e-3, the cost from 300 starts after ten epochs was between 6.2 and 52 over ten seeds, in the
//! place of 6.1 to 6.4.

use critics::Real;
use ddp::DdpError;
use dynamics::{Stream, Task};
use nalgebra::DVector;

use crate::normalized_policy::NormalizedPolicy;
use crate::policy_search::PolicySearch;
use crate::{LearnError, PodsSettings};

/// PODS on a task whose objective is a sum of costs.
pub struct Pods<'a, T: Real = f32> {
    pub(crate) search: PolicySearch<'a, T>,
    settings: PodsSettings,
    /// Samples of a minibatch.
    indices: Vec<usize>,
}

/// What became of one roll-out of the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PodsRollout {
    /// Cost of the policy's roll-out.
    pub cost_before: f64,
    /// Cost of the improved one, never more.
    pub cost_after: f64,
    /// Step length that the line search took; none where no step lowered the cost.
    pub step_length: Option<f64>,
    /// Roll-outs of the line search.
    pub trials: usize,
    /// Those of them that the model refused.
    pub failed_trials: usize,
    /// Whether the direction minimises the quadratic model; a step of first order claims nothing.
    pub converged: bool,
}

/// What an epoch did.
#[derive(Debug, Clone, PartialEq)]
pub struct PodsEpoch {
    /// From 0.
    pub epoch: u64,
    /// One entry per start, in order; roll-outs that failed are in no regression.
    pub rollouts: Vec<Result<PodsRollout, DdpError>>,
    /// L before every step of the regression.
    pub losses: Vec<f64>,
}

impl PodsEpoch {
    /// The roll-outs that did not fail.
    pub fn kept(&self) -> impl Iterator<Item = &PodsRollout> {
        self.rollouts.iter().flatten()
    }
    /// Roll-outs that failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.rollouts.iter().filter(|rollout| rollout.is_err()).count()
    }
    /// Mean of a number over the roll-outs that did not fail.
    pub fn mean(&self, number: impl Fn(&PodsRollout) -> f64) -> f64 {
        self.kept().map(number).sum::<f64>() / self.kept().count() as f64
    }
}

impl<'a, T: Real> Pods<'a, T> {
    /// PODS at its start. Its weights depend on the seed and their number alone, and are those of
    /// [`Bptt`](crate::Bptt) with the same.
    ///
    /// # Errors
    /// Settings out of range; a task without an objective or without finite limits of its controls.
    pub fn new(task: &'a dyn Task, settings: &PodsSettings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let method = if settings.order == 1 { FIRST_ORDER } else { SECOND_ORDER };
        let sizes = (&*settings.hidden, settings.rollouts, settings.learning_rate);
        let search = PolicySearch::new(method, task, sizes, seed)?;
        Ok(Self { search, settings: settings.clone(), indices: Vec::new() })
    }

    /// The policy as it is now.
    #[must_use]
    pub fn policy(&self) -> &NormalizedPolicy<T> {
        &self.search.policy
    }

    /// Steps 1 to 3.
    ///
    /// # Errors
    /// [`LearnError::NoRollouts`] if all roll-outs fail, [`LearnError::NotFinite`] for a loss that is
    /// not, and what is wrong with the problem as a whole.
    pub fn epoch(&mut self) -> Result<PodsEpoch, LearnError> {
        let epoch = self.search.epochs;
        let starts = self.search.starts(epoch, self.settings.rollouts);
        let rollouts = self.improve(&starts)?;
        self.search.normalize();
        let losses = self.regress()?;
        self.search.epochs += 1;
        Ok(PodsEpoch { epoch, rollouts, losses })
    }

    /// Steps 1 and 2: fills the samples with observations and controls of the improved roll-outs.
    fn improve(
        &mut self,
        starts: &[DVector<f64>],
    ) -> Result<Vec<Result<PodsRollout, DdpError>>, LearnError> {
        let step = self.settings.step(self.search.horizon() * self.search.policy.nu());
        self.search.each(starts, |worker, x0, row| {
            worker.roll_out(x0)?;
            let better = worker.shooting.improve(step)?;
            for (t, (x, u)) in better.xs.iter().zip(better.us).enumerate() {
                worker.closed_loop.observe(x, row.input(t));
                row.set_value(t, u.as_slice());
            }
            Ok(PodsRollout {
                cost_before: better.cost_before,
                cost_after: better.cost_after,
                step_length: better.step_length,
                trials: better.trials,
                failed_trials: better.failed_trials,
                converged: better.second_order.is_none_or(|report| report.converged),
            })
        })
    }

    /// Step 3; returns the loss before each step of Adam.
    fn regress(&mut self) -> Result<Vec<f64>, LearnError> {
        let Self { search, settings, indices } = self;
        let n = search.samples.n();
        let batch = settings.minibatch.min(n);
        // A sum over time and a mean over roll-outs: T times the mean over samples.
        let scale = search.horizon() as f64 / batch as f64;
        let mut stream = Stream::new(search.seed, "regression minibatches", search.epochs);
        let mut losses = Vec::with_capacity(settings.regression_steps);
        for _ in 0..settings.regression_steps {
            let drawn = (batch < n).then(|| {
                indices.clear();
                indices.extend((0..batch).map(|_| stream.index(n)));
                &**indices
            });
            let PolicySearch { policy, adam, gradient, samples, .. } = search;
            let (loss, gradient) = gradient.compute(policy, samples, drawn, |action, target, w| {
                let mut loss = 0.0;
                for (j, w) in w.iter_mut().enumerate() {
                    let error = action[j] - target[j].to_f64();
                    *w = scale * error;
                    loss += 0.5 * scale * error * error;
                }
                loss
            });
            adam.step(policy.net_mut().params_mut(), gradient);
            search.check_finite("the regression's loss", loss)?;
            losses.push(loss);
        }
        Ok(losses)
    }
}

/// Name of the method with steps of second order.
pub(crate) const SECOND_ORDER: &str = "pods";
/// Name of the method with steps of first order.
pub(crate) const FIRST_ORDER: &str = "pods-first-order";

#[cfg(test)]
mod tests {
    use bench_tasks::{BenchTask, Preset, Variant};

    use super::*;

    fn pendulum() -> Box<dyn BenchTask> {
        let entry = bench_tasks::find("pods-2d-stop").unwrap();
        let mut table = (entry.settings)(Preset::Released).unwrap();
        table.insert("horizon".to_owned(), 30.into());
        (entry.build)(Variant::Nominal, &table).unwrap()
    }

    #[test]
    fn a_policy_that_looks_its_actions_up_reaches_the_improved_costs() {
        let task = pendulum();
        let settings = PodsSettings { hidden: vec![8], ..PodsSettings::second_order() };
        let mut pods = Pods::<f64>::new(task.as_task(), &settings, 3).unwrap();
        let starts = pods.search.starts(0, 6);
        let improved = pods.improve(&starts).unwrap();
        let known = pods.search.samples.clone();
        let (n, nu) = (known.n_inputs, known.n_values);
        let looked_up = pods.search.each(&starts, |worker, x0, row| {
            let closed_loop = &mut worker.closed_loop;
            worker.shooting.rollout_policy(x0, |t, x, u| {
                closed_loop.observe(x, row.input(t));
                let distance = |o: &[f64]| -> f64 {
                    o.iter().zip(&*row.input(t)).map(|(a, b)| (a - b).powi(2)).sum()
                };
                let samples = known.inputs().chunks_exact(n).map(distance).enumerate();
                let (nearest, _) = samples.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
                u.copy_from_slice(&known.values()[nearest * nu..][..nu]);
            })
        });
        for (cost, improved) in looked_up.unwrap().iter().zip(improved) {
            let improved = improved.unwrap();
            assert!(improved.cost_after < 0.9 * improved.cost_before, "{improved:?}");
            assert_eq!(*cost, Ok(improved.cost_after));
        }
    }

    #[test]
    fn the_actor_in_a_file_chooses_the_actions_of_the_policy() {
        let task = pendulum();
        let settings = PodsSettings { rollouts: 8, ..PodsSettings::second_order() };
        let mut pods = Pods::<f32>::new(task.as_task(), &settings, 3).unwrap();
        pods.epoch().unwrap();
        let (policy, actor) = (pods.policy(), pods.policy().actor().unwrap());
        for x in pods.search.starts(9, 20) {
            let mut o = vec![0.0; policy.n_observations()];
            task.as_task().observation().observe(&x, &mut o);
            let (mut input, mut a, mut b) = (vec![0.0; o.len()], [0.0; 2], [0.0; 2]);
            policy.normalize(&o, &mut input);
            policy.act(&input, &mut policy.net().workspace(1), &mut a);
            let o: Vec<f32> = o.iter().map(|&o| f32::from_f64(o)).collect();
            actor.act(&o, &mut actor.workspace(1), &mut b);
            assert!((a[0] - b[0]).abs() < 1e-4 && (a[1] - b[1]).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
}
