//! The problems of the studies: tasks of the registry with some settings changed.

use std::f64::consts::PI;

use anyhow::{Context as _, Result};
use bench_tasks::{BenchTask, Entry, Preset, Variant};
use ddp::{Method, Problem};
use dynamics::{AnyCost, AnyDynamics, AnyTerminalCost, Objective, Stream};
use nalgebra::DVector;
use toml::{Table, Value};

use crate::settings::apply_overrides;

/// Methods for problems without and with limits of the controls.
pub(super) const FREE: &[Method] = &[Method::Fddp, Method::Ilqr, Method::Ddp];
const LIMITED: &[Method] = &[Method::BoxFddp, Method::BoxDdp];

/// A problem of the study.
#[derive(Debug, Clone, Copy)]
pub(super) struct Definition {
    /// Name in tables.
    pub(super) name: &'static str,
    task: &'static str,
    /// Settings of the task that are changed.
    changes: &'static [(&'static str, &'static str)],
    /// Middle and half-width of the box of random starts; that of the task where there is none.
    range: Option<(&'static [f64], &'static [f64])>,
    /// What random starts are, in words.
    pub(super) starts: &'static str,
    /// The methods that solve it.
    pub(super) methods: &'static [Method],
}

/// Driving to the origin.
pub(super) const UNICYCLE: Definition = Definition {
    name: "unicycle",
    task: "unicycle",
    changes: &[],
    range: Some((&[0.0; 3], &[2.1, 2.1, 2.0 * PI])),
    starts: "|x|, |y| ≤ 2.1 m, |θ| ≤ 2π",
    methods: FREE,
};
/// Swinging a pole up with any force.
pub(super) const CARTPOLE: Definition = Definition {
    name: "cartpole-gym",
    task: "cartpole-gym",
    changes: &[],
    range: Some((&[0.0, PI, 0.0, 0.0], &[1.0, PI, 1.0, 1.0])),
    starts: "any angle, |p| ≤ 1 m, |ṗ| ≤ 1 m/s, |θ̇| ≤ 1 rad/s",
    methods: FREE,
};
/// Reaching with the arm.
pub(super) const ARM: Definition = Definition {
    name: "arm",
    task: "arm",
    changes: &[],
    range: None,
    starts: "±0.9 rad about a configuration at the goal, within the joints' limits, |v| ≤ 0.01 rad/s",
    methods: FREE,
};
const PENDULUM: Definition = Definition {
    name: "pendulum-ddp",
    task: "pendulum-ddp",
    changes: &[],
    range: None,
    starts: "any angle, |θ̇| ≤ 1 rad/s",
    methods: FREE,
};
/// Torques below a third of what holds the pendulum level.
const WEAK_PENDULUM: Definition = Definition {
    name: "pendulum-ddp, |u| ≤ 2",
    changes: &[("u_max", "2")],
    methods: LIMITED,
    ..PENDULUM
};

/// The problems that are solved from random starts.
pub(super) const HARD: [Definition; 5] = [UNICYCLE, CARTPOLE, PENDULUM, WEAK_PENDULUM, ARM];

impl Definition {
    /// The task, ready for solvers.
    ///
    /// # Errors
    /// Settings that the task refuses.
    pub(super) fn build(self) -> Result<Built> {
        let entry = bench_tasks::find(self.task)?;
        let changes = self.changes.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let changes: Vec<_> = changes.collect();
        let settings = apply_overrides(&(entry.settings)(Preset::Released)?, &changes)?;
        let task = (entry.build)(Variant::Nominal, &settings)?;
        Ok(Built { definition: self, entry, settings, task })
    }
}

/// A problem with its task.
pub(super) struct Built {
    definition: Definition,
    entry: &'static Entry,
    settings: Table,
    task: Box<dyn BenchTask>,
}

/// A problem whose parts are known by their traits alone.
pub(super) type AnyProblem<'a> =
    Problem<'a, &'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost>;

impl Built {
    /// The dynamics and costs that a solver borrows.
    ///
    /// # Errors
    /// A task without a sum of costs.
    pub(super) fn parts(&self) -> Result<(&dyn AnyDynamics, Objective<'_>)> {
        let task = self.task.as_task();
        let objective = task.objective().context("the task has no objective")?;
        Ok((task.nominal(), objective))
    }

    /// Control steps.
    pub(super) fn horizon(&self) -> usize {
        self.task.as_task().horizon()
    }

    /// The problem of the parts.
    pub(super) fn problem<'a>(
        &self,
        model: &'a &'a dyn AnyDynamics,
        objective: &'a Objective<'a>,
    ) -> AnyProblem<'a> {
        let Objective { stage, terminal, control_limits, .. } = objective;
        let control_limits = *control_limits;
        Problem { control_limits, ..Problem::new(model, stage, terminal, self.horizon()) }
    }

    /// Random starts; the first ones do not depend on how many follow.
    pub(super) fn starts(&self, n: u32, seed: u64) -> Vec<DVector<f64>> {
        let Definition { name, range, .. } = self.definition;
        let task = self.task.as_task();
        let start = |i: u32| {
            let stream = &mut Stream::new(seed, &format!("study {name}"), i.into());
            match range {
                Some((middle, half)) => DVector::from_fn(middle.len(), |i, _| {
                    middle[i] + stream.uniform(-half[i], half[i])
                }),
                None => {
                    let mut x0 = DVector::zeros(task.plant().any_nx());
                    task.sample_x0(stream, &mut x0);
                    x0
                }
            }
        };
        (0..n).map(start).collect()
    }

    /// The control that the guess repeats from `x0`: what holds the arm at rest depends on where it
    /// stands.
    ///
    /// # Errors
    /// A state that the task refuses.
    pub(super) fn u_guess(&self, x0: &DVector<f64>) -> Result<DVector<f64>> {
        let mut settings = self.settings.clone();
        let x0 = x0.iter().copied().map(Value::Float).collect();
        settings.insert("x0".to_owned(), Value::Array(x0));
        let task = (self.entry.build)(Variant::Nominal, &settings)?;
        let objective = task.objective().context("the task has no objective")?;
        Ok(objective.us0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_lie_in_their_box_and_do_not_depend_on_their_number() {
        let built = UNICYCLE.build().unwrap();
        let starts = built.starts(50, 3);
        assert!(starts.iter().all(|x| x[0].abs() <= 2.1 && x[2].abs() <= 2.0 * PI));
        assert!(starts.iter().any(|x| x[2].abs() > PI), "{starts:?}");
        assert_eq!(built.starts(7, 3), starts[..7]);
        assert_ne!(built.starts(7, 4), starts[..7]);
    }

    #[test]
    fn limits_and_guesses_are_those_of_the_task() {
        let built = WEAK_PENDULUM.build().unwrap();
        let (_, objective) = built.parts().unwrap();
        assert_eq!(objective.control_limits.unwrap().high, [2.0]);
        let arm = ARM.build().unwrap();
        let starts = arm.starts(2, 0);
        let torques = |x0| arm.u_guess(x0).unwrap();
        // What holds the arm against gravity: tens of newton metres at the second joint.
        assert_ne!(torques(&starts[0]), torques(&starts[1]));
        assert!(torques(&starts[0])[1].abs() > 1.0);
    }
}
