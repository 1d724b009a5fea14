//! Soft actor-critic on branched roll-outs of the model.

use critics::{Adam, CriticError, Mlp};
use dynamics::{ActionBounds, Stream, Task};

use super::ensemble::Ensemble;
use super::settings::{ADAM_NAMES, MEMBER_NAMES, MbpoSettings};
use crate::off_policy::{Interaction, OffPolicy, Scalars, transition_shape};
use crate::replay::{Batch, Replay, TransitionShape};
use crate::{Actor, LearnError, OffPolicyLearner, Sac};

/// MBPO beside interaction and memory.
pub struct Mbpo {
    settings: MbpoSettings,
    shape: TransitionShape,
    sac: Sac<f32>,
    ensemble: Ensemble,
    /// Rows [o, a, r, o', mask] that the model has made, those of each fit apart, the latest last.
    imagined: Vec<Vec<f32>>,
    /// Of the last fit: error on held-out rows, passes; and the length of its roll-outs.
    report: [f32; 3],
    joined: Batch<f32>,
}

/// Beside SAC's: share of the variance of held-out transitions that the elites do not predict, passes of the
/// last fit, length of its roll-outs.
const METRICS: [&str; 11] = [
    "q_loss",
    "policy_loss",
    "entropy",
    "state_gradient_loss",
    "action_gradient_loss",
    "kappa_s",
    "kappa_a",
    "alpha",
    "model_error",
    "model_epochs",
    "rollout_length",
];

/// MBPO learning on a task.
///
/// Its model predicts observations, rewards and whether an episode goes on, all of them learned; a task
/// needs no derivatives.
pub type MbpoLearner<'a> = OffPolicyLearner<'a, Mbpo>;

impl<'a> MbpoLearner<'a> {
    /// A learner at the start of a run.
    ///
    /// # Errors
    /// Settings out of range, networks that cannot be built.
    pub fn new(task: &'a dyn Task, settings: &MbpoSettings, seed: u64) -> Result<Self, LearnError> {
        settings.check()?;
        let sac = &settings.sac;
        if sac.value_gradient.is_some() || !sac.normalize_actions || sac.random_steps < 2 {
            return Err(LearnError::Setting {
                key: "method.sac",
                value: "something else".to_owned(),
                needed: "plain SAC with normalised actions and at least two random steps",
            });
        }
        let interaction = Interaction {
            batch_size: settings.real_batch(),
            replay_capacity: sac.replay_capacity,
            random_steps: sac.random_steps,
            update_after: sac.update_after.max(sac.random_steps as usize),
            normalize_actions: true,
            reward_scale: sac.reward_scale,
            jacobians: None,
        };
        interaction.check()?;
        let bounds = interaction.network_bounds(task.action_bounds());
        let shape = transition_shape(task);
        let (no, nu) = (shape.n_observations, shape.nu);
        let agent = Mbpo {
            sac: Sac::new(sac, shape, task.discount(), &bounds, seed)?,
            ensemble: Ensemble::new((no + nu, no + 2, no + 1), &settings.model, seed)?,
            imagined: Vec::new(),
            report: [f32::NAN; 3],
            joined: Batch::default(),
            settings: settings.clone(),
            shape,
        };
        Self::with_agent(task, agent, interaction, seed)
    }
}

impl Mbpo {
    /// Entries of a row [o, a, r, o', mask].
    fn width(&self) -> usize {
        2 * self.shape.n_observations + self.shape.nu + 2
    }

    /// Fits the model to all of the memory, and rolls it out from states of the memory.
    fn refit(&mut self, replay: &Replay, env_steps: u64, noise: &mut Stream) {
        let TransitionShape { n_observations: no, nu, .. } = self.shape;
        let (_, records) = replay.records_from(0);
        let n = replay.len();
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for record in records.chunks_exact(replay.layout().width()) {
            // [o, u, reward, o', mask]
            let (o, next) = (&record[..no], &record[no + nu + 1..][..no]);
            inputs.extend(&record[..no + nu]);
            targets.extend(next.iter().zip(o).map(|(next, o)| next - o));
            targets.push(record[no + nu]);
            targets.push(record[2 * no + nu + 1]);
        }
        let fit = self.ensemble.fit(&inputs, &targets);
        let length = self.settings.length_at(env_steps);
        self.report = [fit.holdout_error as f32, fit.epochs as f32, length as f32];
        let mut o: Vec<f32> = Vec::new();
        for _ in 0..self.settings.rollouts {
            let row = noise.index(n);
            o.extend(&inputs[row * (no + nu)..][..no]);
        }
        let mut rows = Vec::with_capacity(self.settings.rollouts * length * self.width());
        for _ in 0..length {
            o = self.imagine(&o, noise, &mut rows);
            if o.is_empty() {
                break;
            }
        }
        if self.imagined.len() == self.settings.kept_fits {
            self.imagined.remove(0);
        }
        self.imagined.push(rows);
    }

    /// One step of the model from rows of observations; returns the observations that go on.
    fn imagine(&mut self, o: &[f32], noise: &mut Stream, rows: &mut Vec<f32>) -> Vec<f32> {
        let TransitionShape { n_observations: no, nu, .. } = self.shape;
        let n = o.len() / no;
        let actions = self.sac.sample_rows(o, noise);
        let mut inputs = Vec::with_capacity(n * (no + nu));
        for (o, a) in o.chunks_exact(no).zip(actions.chunks_exact(nu)) {
            inputs.extend(o);
            inputs.extend(a);
        }
        let mut drawn = vec![0.0; n * (no + 2)];
        self.ensemble.draw(&inputs, noise, &mut drawn);
        let mut goes_on = Vec::new();
        for (input, drawn) in inputs.chunks_exact(no + nu).zip(drawn.chunks_exact(no + 2)) {
            let next = input.iter().zip(&drawn[..no]).map(|(o, change)| o + change);
            let mask = if drawn[no + 1] > 0.5 { 1.0 } else { 0.0 };
            rows.extend(input);
            rows.push(drawn[no]);
            rows.extend(next.clone());
            rows.push(mask);
            if mask > 0.0 {
                goes_on.extend(next);
            }
        }
        goes_on
    }

    /// The batch of the plant's transitions, filled up with those of the model.
    fn join(&mut self, batch: &Batch<f32>, noise: &mut Stream) {
        let TransitionShape { n_observations: no, nu, .. } = self.shape;
        let width = self.width();
        let joined = &mut self.joined;
        for (to, from) in [
            (&mut joined.o, &batch.o),
            (&mut joined.u, &batch.u),
            (&mut joined.reward, &batch.reward),
            (&mut joined.o_next, &batch.o_next),
            (&mut joined.mask, &batch.mask),
        ] {
            to.clone_from(from);
        }
        let total: usize = self.imagined.iter().map(|rows| rows.len() / width).sum();
        for _ in batch.reward.len()..self.settings.sac.batch_size {
            let mut at = noise.index(total);
            let rows = self.imagined.iter().find(|rows| {
                let n = rows.len() / width;
                let here = at < n;
                if !here {
                    at -= n;
                }
                here
            });
            let Some(row) = rows.map(|rows| &rows[at * width..][..width]) else { continue };
            joined.o.extend(&row[..no]);
            joined.u.extend(&row[no..no + nu]);
            joined.reward.push(row[no + nu]);
            joined.o_next.extend(&row[no + nu + 1..][..no]);
            joined.mask.push(row[width - 1]);
        }
    }
}

impl OffPolicy for Mbpo {
    fn method(&self) -> &'static str {
        "mbpo"
    }

    fn metric_names(&self) -> &'static [&'static str] {
        &METRICS
    }

    fn explore(&mut self, o: &[f32], noise: &mut Stream, action: &mut [f32]) {
        self.sac.explore(o, noise, action);
    }

    fn updates_per_step(&self) -> usize {
        self.settings.updates
    }

    fn prepare(&mut self, replay: &Replay, env_steps: u64, noise: &mut Stream) {
        if self.imagined.is_empty() || env_steps.is_multiple_of(self.settings.refit_every) {
            self.refit(replay, env_steps, noise);
        }
    }

    fn update(
        &mut self,
        batch: &Batch<f32>,
        noise: &mut Stream,
        metrics: &mut [f64],
    ) -> Result<(), (&'static str, f64)> {
        let [error, ..] = self.report;
        if !error.is_finite() {
            return Err(("the model's error", f64::from(error)));
        }
        self.join(batch, noise);
        let (sac, model) = metrics.split_at_mut(METRICS.len() - 3);
        model.copy_from_slice(&self.report.map(f64::from));
        let joined = std::mem::take(&mut self.joined);
        let outcome = OffPolicy::update(&mut self.sac, &joined, noise, sac);
        self.joined = joined;
        outcome
    }

    fn actor(&self, bounds: &ActionBounds) -> Result<Actor, CriticError> {
        OffPolicy::actor(&self.sac, bounds)
    }

    fn networks(&self) -> Vec<(&'static str, &Mlp<f32>)> {
        let mut networks = OffPolicy::networks(&self.sac);
        let members = MEMBER_NAMES.into_iter().zip(&self.ensemble.members);
        networks.extend(members.map(|(name, member)| (name, &member.net)));
        networks
    }

    fn networks_mut(&mut self) -> Vec<&mut Mlp<f32>> {
        let mut networks = OffPolicy::networks_mut(&mut self.sac);
        networks.extend(self.ensemble.members.iter_mut().map(|member| &mut member.net));
        networks
    }

    fn optimizers(&self) -> Vec<(&'static str, &Adam<f32>)> {
        let mut optimizers = OffPolicy::optimizers(&self.sac);
        let members = ADAM_NAMES.into_iter().zip(&self.ensemble.members);
        optimizers.extend(members.map(|(name, member)| (name, &member.adam)));
        optimizers
    }

    fn optimizers_mut(&mut self) -> Vec<&mut Adam<f32>> {
        let mut optimizers = OffPolicy::optimizers_mut(&mut self.sac);
        optimizers.extend(self.ensemble.members.iter_mut().map(|member| &mut member.adam));
        optimizers
    }

    fn scalars(&self) -> Scalars {
        OffPolicy::scalars(&self.sac)
    }

    fn set_scalars(&mut self, scalars: Scalars) -> Result<(), CriticError> {
        OffPolicy::set_scalars(&mut self.sac, scalars)
    }

    /// Units, elites, bounds with their optimisers, and what the model has made.
    fn numbers(&self) -> Vec<(String, Vec<f32>)> {
        let e = &self.ensemble;
        let mut all = vec![
            ("model.input_mean".to_owned(), e.units.input_mean.clone()),
            ("model.input_deviation".to_owned(), e.units.input_deviation.clone()),
            ("model.target_mean".to_owned(), e.units.target_mean.clone()),
            ("model.target_deviation".to_owned(), e.units.target_deviation.clone()),
            ("model.elites".to_owned(), e.elites.iter().map(|&i| i as f32).collect()),
            ("model.fits".to_owned(), vec![e.fits as f32]),
            ("model.report".to_owned(), self.report.to_vec()),
        ];
        for (i, member) in e.members.iter().enumerate() {
            let adam = &member.bounds_adam;
            let numbers = [&member.bounds, adam.m(), adam.v(), &[adam.t() as f32]].concat();
            all.push((format!("model.{i}.bounds"), numbers));
        }
        all.push(("imagined".to_owned(), vec![self.imagined.len() as f32]));
        for (i, rows) in self.imagined.iter().enumerate() {
            all.push((format!("imagined.{i}"), rows.clone()));
        }
        all
    }

    fn set_numbers(
        &mut self,
        numbers: &mut dyn FnMut(&str) -> Result<Vec<f32>, LearnError>,
    ) -> Result<(), LearnError> {
        let odd = |what: &str| LearnError::Mismatch {
            what: format!("`{what}` of the checkpoint"),
            found: "another length".to_owned(),
            needed: "that of these settings".to_owned(),
        };
        let width = self.width();
        let e = &mut self.ensemble;
        let mut of_length = |name: &str, n: usize| {
            numbers(name).and_then(|v| if v.len() == n { Ok(v) } else { Err(odd(name)) })
        };
        let units = &mut e.units;
        for (name, numbers) in [
            ("model.input_mean", &mut units.input_mean),
            ("model.input_deviation", &mut units.input_deviation),
            ("model.target_mean", &mut units.target_mean),
            ("model.target_deviation", &mut units.target_deviation),
        ] {
            *numbers = of_length(name, numbers.len())?;
        }
        let elites = of_length("model.elites", e.elites.len())?;
        e.elites = elites.into_iter().map(|i| i as usize).collect();
        if e.elites.iter().any(|&i| i >= e.members.len()) {
            return Err(odd("model.elites"));
        }
        e.fits = of_length("model.fits", 1)?[0] as u64;
        self.report.copy_from_slice(&of_length("model.report", 3)?);
        for (i, member) in e.members.iter_mut().enumerate() {
            let n = member.bounds.len();
            let all = of_length(&format!("model.{i}.bounds"), 3 * n + 1)?;
            member.bounds.copy_from_slice(&all[..n]);
            let (m, v) = (all[n..2 * n].to_vec(), all[2 * n..3 * n].to_vec());
            member.bounds_adam.restore(m, v, all[3 * n] as u64)?;
        }
        let n = of_length("imagined", 1)?[0] as usize;
        self.imagined.clear();
        for i in 0..n {
            let name = format!("imagined.{i}");
            let rows = numbers(&name)?;
            if !rows.len().is_multiple_of(width) {
                return Err(odd(&name));
            }
            self.imagined.push(rows);
        }
        Ok(())
    }
}
