//! Tasks by name.

use dynamics::{AnyDynamics, DualOracle, DynamicsError, Stream, Task};
use nalgebra::DVector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cartpole::{Cartpole, CartpoleSettings};
use crate::half_cheetah::{HalfCheetah, HalfCheetahSettings};
use crate::hopper::{Hopper, HopperSettings};
use crate::pendulum::{Pendulum, PendulumSettings};

/// Which model plays the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The real plant; the nominal model is only differentiated.
    Real,
    /// The nominal model is plant and derivative at once (pre-training).
    Nominal,
}

/// Which of two descriptions of a task is used where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// As in the released code.
    Released,
    /// As in the paper.
    Paper,
}

/// A task of the registry, with what the derivative checks need to know of it.
pub trait BenchTask: Task {
    /// The task alone.
    fn as_task(&self) -> &dyn Task;
    /// The models whose derivatives are checked.
    fn checked_models(&self) -> Vec<CheckedModel<'_>>;
    /// `n` states and actions, degenerate ones first, the rest random, none within reach of a kink
    /// of the model.
    fn check_points(&self, stream: &mut Stream, n: usize) -> Vec<(DVector<f64>, DVector<f64>)>;
}

/// One model of a task with an independent source of its derivatives.
pub struct CheckedModel<'a> {
    /// `real` or `nominal`.
    pub label: &'static str,
    /// The model.
    pub model: &'a dyn AnyDynamics,
    /// The same model on dual numbers, where it is written generically.
    pub oracle: Option<&'a dyn DualOracle>,
}

/// A task of the registry, or why it cannot be built.
pub type BoxedTask = Result<Box<dyn BenchTask>, TaskError>;

/// One task of the [`registry`].
#[derive(Clone, Copy)]
pub struct Entry {
    /// Name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// The paper it comes from.
    pub paper: &'static str,
    /// Its settings at a preset, as a table of numbers and words.
    pub settings: fn(Preset) -> Result<toml::Table, TaskError>,
    /// The task with the given settings (all keys present, as [`Entry::settings`] has them).
    pub build: fn(Variant, &toml::Table) -> BoxedTask,
}

/// Errors of building a task.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// There is no such task.
    #[error("there is no task `{name}`; the tasks are: {}", valid.join(", "))]
    Unknown {
        /// The name given.
        name: String,
        /// The names there are.
        valid: Vec<&'static str>,
    },
    /// A setting is out of its range.
    #[error("task `{task}`: `{key}` is {value}, but must be {needed}")]
    Setting {
        /// Name of the task.
        task: &'static str,
        /// Key of the setting.
        key: &'static str,
        /// Value given.
        value: f64,
        /// What is allowed.
        needed: &'static str,
    },
    /// A settings table lacks a key, has one too many, or holds a value of the wrong type.
    #[error("task `{task}`: settings cannot be read: {reason}")]
    Table {
        /// Name of the task.
        task: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A model refuses its parameters.
    #[error(transparent)]
    Model(#[from] DynamicsError),
}

const REGISTRY: [Entry; 4] = [CARTPOLE, HOPPER, HALF_CHEETAH, PENDULUM];

const CARTPOLE: Entry = Entry {
    name: "cartpole",
    summary: "swing a pole up on a cart with friction and keep it there (4 states, 1 action)",
    paper: "vg-sac",
    settings: |preset| table("cartpole", &CartpoleSettings::preset(preset)),
    build: |variant, settings| {
        Ok(Box::new(Cartpole::new(variant, &typed::<CartpoleSettings>("cartpole", settings)?)?))
    },
};

const HOPPER: Entry = Entry {
    name: "hopper",
    summary: "run on one leg without falling (12 states, 3 actions)",
    paper: "vg-sac",
    settings: |_| table("hopper", &HopperSettings::default()),
    build: |variant, settings| {
        Ok(Box::new(Hopper::new(variant, &typed::<HopperSettings>("hopper", settings)?)?))
    },
};

const HALF_CHEETAH: Entry = Entry {
    name: "halfcheetah",
    summary: "run on two legs (18 states, 6 actions)",
    paper: "vg-sac",
    settings: |preset| table("halfcheetah", &HalfCheetahSettings::preset(preset)),
    build: |variant, settings| {
        let settings = typed::<HalfCheetahSettings>("halfcheetah", settings)?;
        Ok(Box::new(HalfCheetah::new(variant, &settings)?))
    },
};

const PENDULUM: Entry = Entry {
    name: "pendulum",
    summary: "Gymnasium's Pendulum-v1: swing up with little torque (2 states, 1 action)",
    paper: "-",
    settings: |_| table("pendulum", &PendulumSettings::default()),
    build: |variant, settings| {
        Ok(Box::new(Pendulum::new(variant, &typed::<PendulumSettings>("pendulum", settings)?)?))
    },
};

/// All tasks.
#[must_use]
pub fn registry() -> &'static [Entry] {
    &REGISTRY
}

/// The task of the given name.
///
/// # Errors
/// [`TaskError::Unknown`], which lists the names there are.
pub fn find(name: &str) -> Result<&'static Entry, TaskError> {
    registry().iter().find(|entry| entry.name == name).ok_or_else(|| TaskError::Unknown {
        name: name.to_owned(),
        valid: registry().iter().map(|entry| entry.name).collect(),
    })
}

fn table(task: &'static str, settings: &impl Serialize) -> Result<toml::Table, TaskError> {
    toml::Table::try_from(settings)
        .map_err(|error| TaskError::Table { task, reason: error.to_string() })
}

fn typed<T: DeserializeOwned>(task: &'static str, settings: &toml::Table) -> Result<T, TaskError> {
    settings
        .clone()
        .try_into()
        .map_err(|error| TaskError::Table { task, reason: error.to_string() })
}
