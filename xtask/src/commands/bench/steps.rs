//! Rows that count environment steps: whole steps of learners, and environments alone.

use agents::{
    Budget, Learner, PpoLearner, PpoSettings, SacLearner, SacSettings, Td3Learner, Td3Settings,
};
use anyhow::{Context as _, Result};
use bench_tasks::{BenchTask, Preset, Variant, registry};
use dynamics::{Environment, JacobianSource, Move, Stream, Task, TransitionGradient};
use nalgebra::DVector;

use super::case::{Case, Source, Unit};

/// The task on which learners are measured: the peers have it too.
const LEARNERS_TASK: &str = "pendulum";
const WIDTHS: [usize; 2] = [256; 2];
const BATCH: usize = 256;
/// Environment steps of an interval, as in `bench/peers/steps.py`.
const INTERVAL: usize = 200;
const ROLL_OUT: usize = 1024;
const EPOCHS: usize = 10;
const MINIBATCH: usize = 64;

/// Tasks of the registry, built once.
pub(super) struct Tasks(Vec<(&'static str, Box<dyn BenchTask>)>);

impl Tasks {
    /// Every task with its released settings on its real plant.
    ///
    /// # Errors
    /// What the tasks report.
    pub(super) fn build() -> Result<Self> {
        let build = |entry: &bench_tasks::Entry| {
            let settings = (entry.settings)(Preset::Released)?;
            Ok((entry.name, (entry.build)(Variant::Real, &settings)?))
        };
        Ok(Self(registry().iter().map(build).collect::<Result<_>>()?))
    }

    /// The task of the given name.
    ///
    /// # Errors
    /// A name that is not in the registry.
    pub(super) fn find(&self, name: &str) -> Result<&dyn Task> {
        let name = bench_tasks::find(name)?.name;
        let found = self.0.iter().find(|(task, _)| *task == name);
        let (_, task) = found.with_context(|| format!("task `{name}` has not been built"))?;
        Ok(task.as_task())
    }
}

/// A method whose whole steps are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// SAC with the defaults of Stable-Baselines3.
    Sac,
    /// VG-SAC.
    VgSac,
    /// TD3.
    Td3,
    /// DDPG.
    Ddpg,
    /// VG-DDPG.
    VgDdpg,
    /// PPO.
    Ppo,
}

type SendLearner<'a> = Box<dyn Learner + Send + 'a>;

/// A learner, the steps of its random phase, and those of an interval.
fn learner(method: Stepped, task: &dyn Task) -> Result<(SendLearner<'_>, usize, usize)> {
    let sac = |settings: SacSettings| -> Result<_> {
        let settings = SacSettings {
            actor_hidden: WIDTHS.to_vec(),
            critic_hidden: WIDTHS.to_vec(),
            batch_size: BATCH,
            // Random steps beyond those that fill the first batch only take time here.
            random_steps: settings.update_after as u64,
            ..settings
        };
        let learner: SendLearner<'_> = Box::new(SacLearner::new(task, &settings, 0)?);
        Ok((learner, settings.update_after + 1, INTERVAL))
    };
    let td3 = |settings: Td3Settings| -> Result<_> {
        let settings = Td3Settings {
            actor_hidden: WIDTHS.to_vec(),
            critic_hidden: WIDTHS.to_vec(),
            batch_size: BATCH,
            random_steps: settings.update_after as u64,
            ..settings
        };
        let learner: SendLearner<'_> = Box::new(Td3Learner::new(task, &settings, 0)?);
        Ok((learner, settings.update_after + 1, INTERVAL))
    };
    match method {
        Stepped::Sac => sac(SacSettings::sac()),
        Stepped::VgSac => sac(SacSettings::vg_sac()),
        Stepped::Td3 => td3(Td3Settings::td3()),
        Stepped::Ddpg => td3(Td3Settings::ddpg()),
        Stepped::VgDdpg => td3(Td3Settings::vg_ddpg()),
        Stepped::Ppo => {
            let settings = PpoSettings {
                rollout_steps: ROLL_OUT,
                epochs: EPOCHS,
                minibatch: MINIBATCH,
                hidden: vec![64, 64],
                ..PpoSettings::default()
            };
            Ok((Box::new(PpoLearner::new(task, &settings, 0)?), 0, ROLL_OUT))
        }
    }
}

/// Whole steps of a method: environment, replay and update.
///
/// # Errors
/// A task that the method cannot learn on.
pub(super) fn learning<'a>(
    name: &str,
    threads: usize,
    method: Stepped,
    tasks: &'a Tasks,
) -> Result<Case<'a>> {
    let (mut learner, random_phase, interval) = learner(method, tasks.find(LEARNERS_TASK)?)?;
    let mut done = 0;
    let work = move |steps: usize| {
        let goal = done + steps as u64;
        // A learner also returns where an episode ends.
        while done < goal {
            done = learner.advance(Budget { env_steps: goal - done })?.env_steps;
        }
        Ok(())
    };
    let updates = match method {
        Stepped::Ppo => EPOCHS as f64 / MINIBATCH as f64,
        _ => 1.0,
    };
    Ok(Case {
        name: name.to_owned(),
        threads,
        unit: Unit::StepsPerSecond,
        flops: None,
        updates_per_step: Some(updates),
        source: Source::timed(random_phase, interval, Box::new(work)),
    })
}

/// Steps of a task under random actions, with the derivatives of every transition or without.
///
/// # Errors
/// An unknown task, a model that cannot be differentiated.
pub(super) fn environment<'a>(
    name: &str,
    task: &str,
    derivatives: bool,
    tasks: &'a Tasks,
) -> Result<Case<'a>> {
    let task = tasks.find(task)?;
    let noise = (task.plant().any_n_noise() > 0).then(|| Stream::new(0, "bench noise", 0));
    let mut env = Environment::new(task, noise);
    let mut gradient = match derivatives {
        true => Some(TransitionGradient::new(task, JacobianSource::Analytic)?),
        false => None,
    };
    let mut stream = Stream::new(0, "bench actions", 0);
    let mut u = DVector::zeros(task.plant().any_nu());
    env.reset(&mut stream);
    let work = move |steps| {
        for _ in 0..steps {
            task.action_bounds().sample(&mut stream, u.as_mut_slice());
            let t = env.t();
            let end = env.step(&u)?.end;
            if let Some(gradient) = &mut gradient {
                gradient.evaluate(&Move { t, x: env.x_previous(), u: &u, x_next: env.x() })?;
            }
            if end.is_some() {
                env.reset(&mut stream);
            }
        }
        Ok(())
    };
    Ok(Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::StepsPerSecond,
        flops: None,
        updates_per_step: None,
        source: Source::timed(0, 100, Box::new(work)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_learner_updates_once_a_step_after_its_random_phase() {
        let tasks = Tasks::build().unwrap();
        let task = tasks.find(LEARNERS_TASK).unwrap();
        for method in [Stepped::Sac, Stepped::VgSac, Stepped::Td3, Stepped::Ddpg, Stepped::VgDdpg] {
            let (mut learner, random_phase, _) = learner(method, task).unwrap();
            let mut at = |steps: u64| loop {
                let now = learner.advance(Budget { env_steps: 0 }).unwrap().env_steps;
                let progress = learner.advance(Budget { env_steps: steps - now }).unwrap();
                if progress.env_steps == steps {
                    break progress.updates;
                }
            };
            assert_eq!(at(random_phase as u64), 0, "{method:?}");
            assert_eq!(at(random_phase as u64 + 2), 2, "{method:?}");
        }
    }

    #[test]
    fn an_unknown_task_is_told_with_the_known_ones() {
        let tasks = Tasks::build().unwrap();
        let message = tasks.find("acrobat").err().unwrap().to_string();
        assert!(message.contains("pendulum"), "{message}");
    }
}
