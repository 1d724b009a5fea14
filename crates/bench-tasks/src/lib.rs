//! The tasks of the five papers: real plant, nominal model, reward, starts, horizon.
//!
//! A task is found by name in the [`registry`]; its settings are a table that starts from a preset
//! and can be overridden entry by entry.
//!
//! ```
//! use bench_tasks::{Preset, Variant};
//!
//! let entry = bench_tasks::find("cartpole")?;
//! let settings = (entry.settings)(Preset::Released)?;
//! let task = (entry.build)(Variant::Real, &settings)?;
//! assert_eq!(task.as_task().horizon(), 100);
//! # Ok::<(), bench_tasks::TaskError>(())
//! ```
//!
//! No learning, no files, no printing here: a task is data for agents and solvers.

mod arm;
mod car;
mod cartpole;
mod cartpole_gym;
mod cartpole_svg;
mod double_pendulum;
mod half_cheetah;
mod hand_ball;
mod hopper;
mod optimal_control;
mod optimal_control_settings;
mod pendulum;
mod pendulum_ddp;
mod planar_walker;
mod pods;
mod pods_settings;
mod quadrotor;
mod reach;
mod registry;
mod tracking;
mod unicycle;

pub use cartpole::{Cartpole, CartpoleSettings};
pub use cartpole_svg::{CartpoleStart, CartpoleSvg, CartpoleSvgSettings};
pub use half_cheetah::{HalfCheetah, HalfCheetahSettings};
pub use hand_ball::{HandBall, HandBallSettings};
pub use hopper::{Hopper, HopperSettings};
pub use optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
pub use optimal_control_settings::OptimalControlSettings;
pub use pendulum::{Pendulum, PendulumSettings};
pub use pods::{PodsMeter, test_starts};
pub use pods_settings::PodsSettings;
pub use registry::{
    BenchTask, BoxedTask, CheckedModel, Entry, Preset, TaskError, Variant, find, registry,
};
pub use tracking::{
    CarLapSettings, FigureEight, KnotSettings, KnotTask, LapCommon, LapControl, LapLaw, LapTask,
    LapTracker, PendulumControl, QuadraticSpline, QuadrupedLapSettings, ReachPoint,
    ReachPointSettings, TrackErrors, TrackLine, TrackLineSettings,
};
