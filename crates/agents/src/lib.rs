//! Policy learning with the simulator's derivatives.
//!
//! One module per method, below them replay, evaluation and the training loop. A method meets a
//! task at [`dynamics::Task`]; this crate knows no task by name.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use agents::{SacLearner, SacSettings, Silent, TrainSettings, train};
//!
//! # fn run(task: &dyn dynamics::Task) -> Result<(), agents::LearnError> {
//! let mut learner = SacLearner::new(task, &SacSettings::vg_sac(), 0)?;
//! let settings = TrainSettings { total_steps: 20_000, ..TrainSettings::default() };
//! let stop = AtomicBool::new(false); // set it from a signal handler to stop and resume later
//! train(task, &mut learner, &settings, 0, "runs/mine".as_ref(), &mut Silent, &stop)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! - [`Sac`]: SAC and VG-SAC, one update in the order of the algorithm box; [`SacLearner`] runs it
//!   on a task.
//! - [`mbpo`]: soft actor-critic on short roll-outs of a learned ensemble.
//! - [`Ppo`]: the clipped policy gradient, one update; [`PpoLearner`] collects its roll-outs.
//! - [`dvp`]: value functions learned from trajectory optimisation; [`DvpLearner`] runs the loop on a
//!   task, [`ValuePlanner`] is the controller that comes out.
//! - [`Pods`] and [`Bptt`]: policies from roll-outs in the nominal model, improved one by one or by their
//!   gradient; [`PolicySearchLearner`] runs either.
//! - [`svg`]: stochastic value gradients and the dynamics they learn; [`SvgLearner`] runs them on a task.
//! - [`tracking`]: policies that correct a controller's set points and gains, and their gradient along real
//!   trajectories; [`TrackingLearner`] runs it on a task.
//! - [`Learner`]: what every method offers; [`methods`]: methods by name with their settings.
//! - [`train`]: the loop with evaluation, logs, checkpoints, early stop and resume; [`Observer`]
//!   watches it.
//! - [`Policy`], [`evaluate`], [`evaluate_from`], [`record_rollout`]: what comes out.
//! - [`VectorEnvironment`]: environments side by side, for methods that learn from roll-outs.
//! - [`replay`], [`replay_log`], [`csv_log`], [`tensorboard`]: memory and files.
//!
//! Work is shared out over the rayon pool in which a call is made (`ThreadPool::install`), and the
//! bits of the result do not depend on its size.
//!
//! Networks are in f32, physics and rewards in f64; `policy::narrow` is the one border. Nothing
//! here prints, and no loop is written twice for two methods.

mod bptt;
mod critic_ensemble;
pub mod csv_log;
pub mod dvp;
mod dvp_learner;
mod dvp_policy;
mod error;
mod evaluation;
mod learner;
mod logs;
pub mod mbpo;
mod methods;
mod metrics;
mod normalized_policy;
mod off_policy;
mod off_policy_learner;
mod pods;
mod pods_learner;
mod pods_settings;
mod policy;
mod policy_search;
mod ppo;
mod ppo_learner;
mod ppo_rollout;
mod ppo_settings;
pub mod replay;
pub mod replay_log;
mod rows;
mod sac;
mod sac_settings;
mod sample_gradient;
pub mod svg;
mod svg_learner;
mod td3;
pub mod tensorboard;
mod threads;
pub mod tracking;
mod tracking_learner;
mod train;
mod vector_environment;

pub use bptt::{Bptt, BpttEpoch};
pub use critic_ensemble::{Critic, CriticEnsemble, CriticReport, LossBalance};
pub use dvp_learner::{DvpLearner, DvpLearnerSettings};
pub use dvp_policy::{PlanPolicy, ValuePlanner};
pub use error::LearnError;
pub use evaluation::{EpisodeError, Evaluation, Rollout, evaluate, evaluate_from, record_rollout};
pub use learner::{Budget, Episode, Learner, Progress};
pub use logs::{CurveRow, LogMarks, RunLogs, Timing};
pub use methods::{
    BoxedLearner, Method, TrainSettings, find_method, from_table, methods, to_table,
};
pub use normalized_policy::{Normalization, NormalizedPolicy};
pub use off_policy::{Interaction, OffPolicy, Scalars, transition_shape};
pub use off_policy_learner::OffPolicyLearner;
pub use pods::{Pods, PodsEpoch, PodsRollout};
pub use pods_learner::PolicySearchLearner;
pub use pods_settings::{BpttSettings, PodsSettings, StepRoute};
pub use policy::{Actor, MeanPolicy, Policy, Squash, StoredPolicy, load_policy, save_policy};
pub use ppo::{Ppo, PpoBatch, PpoNetworks, PpoReport, log_density, orthogonal};
pub use ppo_learner::PpoLearner;
pub use ppo_rollout::generalized_advantages;
pub use ppo_settings::{PpoSettings, PpoWeights};
/// The pools in which this crate works, for callers that size one.
pub use sac::{Sac, SacLearner, Temperature, UpdateReport};
pub use sac_settings::{GradientTarget, SacSettings, ValueGradientSettings};
pub use svg_learner::SvgLearner;
pub use td3::{Td3, Td3Learner, Td3Report, Td3Settings};
pub use tracking_learner::TrackingLearner;
pub use train::{
    NETWORKS_FILE, Observer, Outcome, RESULT_FILE, RunResult, Silent, Training,
    discard_checkpoints, load_networks, rollout_start, train,
};
pub use vector_environment::{RowError, SavedEnvironment, VectorEnvironment};
