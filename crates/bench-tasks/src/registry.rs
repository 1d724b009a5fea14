//! Tasks by name.

use ddp::lqr::LqrError;
use dynamics::mass_spring::NetworkError;
use dynamics::rigid_body::ModelError;
use dynamics::rigid_body::error::RobotFileError;
use dynamics::{AnyDynamics, DualOracle, DynamicsError, Stream, Task};
use nalgebra::DVector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::arm::ArmSettings;
use crate::car::{self, CarSettings};
use crate::cartpole::{Cartpole, CartpoleSettings};
use crate::cartpole_gym::{self, CartpoleGymSettings};
use crate::cartpole_svg::{CartpoleSvg, CartpoleSvgSettings};
use crate::double_pendulum::{self, DoublePendulumSettings};
use crate::half_cheetah::{HalfCheetah, HalfCheetahSettings};
use crate::hand_ball::{HandBall, HandBallSettings};
use crate::hopper::{Hopper, HopperSettings};
use crate::pendulum::{Pendulum, PendulumSettings};
use crate::pendulum_ddp::{self, PendulumDdpSettings};
use crate::pods_settings::PodsSettings;
use crate::quadrotor::{self, QuadrotorSettings};
use crate::reach::ReachSettings;
use crate::tracking::{
    CarLapSettings, KnotSettings, KnotTask, LapTask, QuadrupedLapSettings, ReachPoint,
    ReachPointSettings, TrackLine, TrackLineSettings,
};
use crate::{arm, pods, reach, unicycle};

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
    /// A choice that does not suit the task.
    #[error("task `{task}`: `{key}` is `{value}`, but must be {needed}")]
    Choice {
        /// Name of the task.
        task: &'static str,
        /// Key of the setting.
        key: &'static str,
        /// Value given.
        value: String,
        /// What suits.
        needed: &'static str,
    },
    /// A list of settings has the wrong length.
    #[error("task `{task}`: `{key}` has {found} entries, but needs {needed}")]
    Length {
        /// Name of the task.
        task: &'static str,
        /// Key of the setting.
        key: &'static str,
        /// Entries given.
        found: usize,
        /// Entries needed.
        needed: usize,
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
    /// A mass-spring network cannot be built.
    #[error("task `{task}`: the mass-spring network cannot be built")]
    Network {
        /// Name of the task.
        task: &'static str,
        /// What is wrong with it.
        #[source]
        source: NetworkError,
    },
    /// A controller cannot be made.
    #[error("task `{task}`: there is no linear-quadratic regulator for `nominal`")]
    Regulator {
        /// Name of the task.
        task: &'static str,
        /// Why not.
        #[source]
        source: LqrError,
    },
    /// A robot's file cannot be read.
    #[error("task `{task}`: `robot` cannot be read")]
    RobotFile {
        /// Name of the task.
        task: &'static str,
        /// What is wrong with the file, and where.
        #[source]
        source: RobotFileError,
    },
    /// A robot lacks what a setting asks for.
    #[error("task `{task}`: `{key}` does not fit robot `{robot}`")]
    Robot {
        /// Name of the task.
        task: &'static str,
        /// Key of the setting.
        key: &'static str,
        /// File of the robot, or its name.
        robot: String,
        /// What is wrong with it, and what there is.
        #[source]
        source: ModelError,
    },
    /// The limits of a robot's motors are to be kept, but its file has none.
    #[error(
        "task `{task}`: `effort_limits` is true, but robot `{robot}` has no limit for joint \
         `{joint}`; give it one in the file, or set `u_max` instead"
    )]
    NoEffortLimit {
        /// Name of the task.
        task: &'static str,
        /// File of the robot, or its name.
        robot: String,
        /// The joint without a limit.
        joint: String,
    },
}

const REGISTRY: [Entry; 26] = [
    CARTPOLE,
    HOPPER,
    HALF_CHEETAH,
    PENDULUM,
    UNICYCLE,
    CARTPOLE_GYM,
    PENDULUM_DDP,
    DOUBLE_PENDULUM,
    CAR,
    QUADROTOR,
    ARM,
    REACH,
    PODS_2D_STOP,
    PODS_2D_ORIGIN,
    PODS_3D_STOP,
    PODS_3D_ORIGIN,
    PODS_DOUBLE_STOP,
    PODS_DOUBLE_ORIGIN,
    HAND_BALL,
    CARTPOLE_SVG,
    TRACK_LINE,
    DOUBLE_PENDULUM_REACH,
    CAR_LAP,
    QUADRUPED_LAP,
    CAR_LAP_KNOTS,
    QUADRUPED_LAP_KNOTS,
];

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

const UNICYCLE: Entry = Entry {
    name: "unicycle",
    summary: "drive a wheel to the origin (3 states, 2 actions)",
    paper: "dvp",
    settings: |_| table("unicycle", &unicycle::settings()),
    build: |variant, settings| {
        Ok(Box::new(unicycle::build(variant, &typed("unicycle", settings)?)?))
    },
};

const CARTPOLE_GYM: Entry = Entry {
    name: "cartpole-gym",
    summary: "swing up the pole of Gymnasium's cart with any force (4 states, 1 action)",
    paper: "dvp",
    settings: |_| table("cartpole-gym", &CartpoleGymSettings::default()),
    build: |variant, settings| {
        Ok(Box::new(cartpole_gym::build(variant, &typed("cartpole-gym", settings)?)?))
    },
};

const PENDULUM_DDP: Entry = Entry {
    name: "pendulum-ddp",
    summary: "swing a pendulum up with any torque (2 states, 1 action)",
    paper: "dvp",
    settings: |_| table("pendulum-ddp", &PendulumDdpSettings::default()),
    build: |variant, settings| {
        Ok(Box::new(pendulum_ddp::build(variant, &typed("pendulum-ddp", settings)?)?))
    },
};

const DOUBLE_PENDULUM: Entry = Entry {
    name: "double-pendulum",
    summary: "raise two rods upright with a motor at each joint (4 states, 2 actions)",
    paper: "tracking-feedback",
    settings: |_| table("double-pendulum", &DoublePendulumSettings::default()),
    build: |variant, settings| {
        Ok(Box::new(double_pendulum::build(variant, &typed("double-pendulum", settings)?)?))
    },
};

const CAR: Entry = Entry {
    name: "car",
    summary: "park a car that steers by curvature (4 states, 2 actions)",
    paper: "tracking-feedback",
    settings: |_| table("car", &CarSettings::default()),
    build: |variant, settings| Ok(Box::new(car::build(variant, &typed("car", settings)?)?)),
};

const QUADROTOR: Entry = Entry {
    name: "quadrotor",
    summary: "fly to a place and hover there (12 states, 4 actions)",
    paper: "vg-sac",
    settings: |_| table("quadrotor", &QuadrotorSettings::default()),
    build: |variant, settings| {
        Ok(Box::new(quadrotor::build(variant, &typed("quadrotor", settings)?)?))
    },
};

const ARM: Entry = Entry {
    name: "arm",
    summary: "bring the tool of a 7-joint arm to a point (14 states, 7 actions)",
    paper: "dvp",
    settings: |_| table("arm", &ArmSettings::default()),
    build: |variant, settings| Ok(Box::new(arm::build(variant, &typed("arm", settings)?)?)),
};

const REACH: Entry = Entry {
    name: "reach",
    summary: "bring a frame of the robot in a file to a point or pose",
    paper: "-",
    settings: |_| table("reach", &ReachSettings::default()),
    build: |variant, settings| Ok(Box::new(reach::build(variant, &typed("reach", settings)?)?)),
};

/// A task of PODS from its name, its summary and its settings.
macro_rules! pods_task {
    ($name:literal, $summary:literal, $dimension:literal, $settings:expr) => {
        Entry {
            name: $name,
            summary: $summary,
            paper: "pods",
            settings: |_| table($name, &$settings),
            build: |variant, settings| {
                let settings = typed::<PodsSettings>($name, settings)?;
                Ok(Box::new(pods::build($name, $dimension, variant, &settings)?))
            },
        }
    };
}

const PODS_2D_STOP: Entry = pods_task!(
    "pods-2d-stop",
    "still a swinging mass by moving the handle of its spring, in the plane (11 states, 2 actions)",
    2,
    PodsSettings::stop(2, 1)
);
const PODS_2D_ORIGIN: Entry = pods_task!(
    "pods-2d-origin",
    "still it with the handle at the origin (11 states, 2 actions)",
    2,
    PodsSettings::origin(2, 1)
);
const PODS_3D_STOP: Entry = pods_task!(
    "pods-3d-stop",
    "still a swinging mass by moving the handle of its spring, in space (16 states, 3 actions)",
    3,
    PodsSettings::stop(3, 1)
);
const PODS_3D_ORIGIN: Entry = pods_task!(
    "pods-3d-origin",
    "still it with the handle at the origin (16 states, 3 actions)",
    3,
    PodsSettings::origin(3, 1)
);
const PODS_DOUBLE_STOP: Entry = pods_task!(
    "pods-double-stop",
    "still two swinging masses, one below the other, in space (28 states, 3 actions)",
    3,
    PodsSettings::stop(3, 2)
);
const PODS_DOUBLE_ORIGIN: Entry = pods_task!(
    "pods-double-origin",
    "still them with the handle at the origin (28 states, 3 actions)",
    3,
    PodsSettings::origin(3, 2)
);

const HAND_BALL: Entry = Entry {
    name: "hand-ball",
    summary: "bring a ball on a spring to its target against a random force (8 states, 2 actions)",
    paper: "svg",
    settings: |_| table("hand-ball", &HandBallSettings::default()),
    build: |variant, settings| {
        let settings = typed::<HandBallSettings>("hand-ball", settings)?;
        Ok(Box::new(HandBall::new(variant, &settings)?))
    },
};

const CARTPOLE_SVG: Entry = Entry {
    name: "cartpole-svg",
    summary: "swing up the pole of the control suite's cart (4 states, 1 action)",
    paper: "svg",
    settings: |_| table("cartpole-svg", &CartpoleSvgSettings::default()),
    build: |variant, settings| {
        let settings = typed::<CartpoleSvgSettings>("cartpole-svg", settings)?;
        Ok(Box::new(CartpoleSvg::new(variant, &settings)?))
    },
};

const TRACK_LINE: Entry = Entry {
    name: "track-line",
    summary: "hold a point on a line at the origin, stable or not (1 state, 1 action)",
    paper: "tracking-feedback",
    settings: |_| table("track-line", &TrackLineSettings::default()),
    build: |variant, settings| {
        let settings = typed::<TrackLineSettings>("track-line", settings)?;
        Ok(Box::new(TrackLine::new(variant, &settings)?))
    },
};

const DOUBLE_PENDULUM_REACH: Entry = Entry {
    name: "double-pendulum-reach",
    summary: "bring the end of two rods to a point with a motor at each joint (4 states, 2 actions)",
    paper: "tracking-feedback",
    settings: |_| table("double-pendulum-reach", &ReachPointSettings::default()),
    build: |variant, settings| {
        let settings = typed::<ReachPointSettings>("double-pendulum-reach", settings)?;
        Ok(Box::new(ReachPoint::new(variant, &settings)?))
    },
};

const CAR_LAP: Entry = Entry {
    name: "car-lap",
    summary: "drive a car along a figure of eight (5 or 14 states, 2 actions)",
    paper: "tracking-feedback",
    settings: |preset| table("car-lap", &CarLapSettings::preset(preset)),
    build: |variant, settings| {
        let settings = typed::<CarLapSettings>("car-lap", settings)?;
        Ok(Box::new(LapTask::car(variant, &settings)?))
    },
};

const QUADRUPED_LAP: Entry = Entry {
    name: "quadruped-lap",
    summary: "walk along a figure of eight at commanded velocities (5 or 8 states, 2 actions)",
    paper: "tracking-feedback",
    settings: |preset| table("quadruped-lap", &QuadrupedLapSettings::preset(preset)),
    build: |variant, settings| {
        let settings = typed::<QuadrupedLapSettings>("quadruped-lap", settings)?;
        Ok(Box::new(LapTask::quadruped(variant, &settings)?))
    },
};

const CAR_LAP_KNOTS: Entry = Entry {
    name: "car-lap-knots",
    summary: "correct the controller of the car, a decision at a time (11 or 20 states, 10 actions)",
    paper: "tracking-feedback",
    settings: |preset| table("car-lap-knots", &KnotSettings::car(preset)),
    build: |variant, settings| {
        Ok(Box::new(KnotTask::car(variant, &typed("car-lap-knots", settings)?)?))
    },
};

const QUADRUPED_LAP_KNOTS: Entry = Entry {
    name: "quadruped-lap-knots",
    summary: "correct the controller of the quadruped, a decision at a time (11 or 14 states, 10 actions)",
    paper: "tracking-feedback",
    settings: |preset| table("quadruped-lap-knots", &KnotSettings::quadruped(preset)),
    build: |variant, settings| {
        Ok(Box::new(KnotTask::quadruped(variant, &typed("quadruped-lap-knots", settings)?)?))
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
