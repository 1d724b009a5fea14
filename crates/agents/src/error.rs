//! What can go wrong while learning.

use critics::{CheckpointError, CriticError};
use dynamics::DynamicsError;
use thiserror::Error;

use crate::EpisodeError;
use crate::csv_log::LogError;

/// Errors of agents, training and evaluation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LearnError {
    /// A number that came up while learning is not finite.
    #[error(
        "`{method}`, seed {seed}: {what} is {value} at environment step {env_step}, update \
         {update}; the last checkpoint is kept. Try a smaller `method.learning_rate`"
    )]
    NotFinite {
        /// The method.
        method: String,
        /// Seed of the run.
        seed: u64,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Environment steps done.
        env_step: u64,
        /// Updates done.
        update: u64,
    },
    /// There is no such method.
    #[error("there is no method `{name}`; the methods are: {}", valid.join(", "))]
    UnknownMethod {
        /// The name given.
        name: String,
        /// The names there are.
        valid: Vec<&'static str>,
    },
    /// A settings table cannot be read.
    #[error("settings of `{what}` cannot be read: {reason}")]
    Settings {
        /// Whose settings.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting is out of range.
    #[error("`{key}` is {value}, but must be {needed}")]
    Setting {
        /// Key of the setting.
        key: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        needed: &'static str,
    },
    /// A method cannot learn on a task.
    #[error("`{method}` cannot learn on task `{task}`: it needs {needed}")]
    Unfit {
        /// The method.
        method: &'static str,
        /// The task.
        task: String,
        /// What the task lacks.
        needed: &'static str,
    },
    /// A recording cannot be used.
    #[error("`{}` is no recording of the task: {reason}", path.display())]
    Recording {
        /// Its file.
        path: std::path::PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// No solve gave a label.
    #[error(
        "`{method}`, iteration {iteration}: none of {rejected} solves can be used; try a shorter \
         horizon, other starts, or `method.solver.max_iterations`"
    )]
    NoLabels {
        /// The method.
        method: &'static str,
        /// Iteration of the loop, from 0.
        iteration: usize,
        /// Solves that were rejected.
        rejected: usize,
    },
    /// Every roll-out of an epoch failed.
    #[error(
        "`{method}`, epoch {epoch}: all {rollouts} roll-outs of the policy failed; try a smaller \
         `method.learning_rate` or a shorter step of the task"
    )]
    NoRollouts {
        /// The method.
        method: &'static str,
        /// Epoch, from 0.
        epoch: u64,
        /// Roll-outs of the epoch.
        rollouts: usize,
        /// What the first of them reported.
        source: ddp::DdpError,
    },
    /// A solver cannot start.
    #[error(transparent)]
    Solver(#[from] ddp::DdpError),
    /// A run was stored by another configuration than the one that resumes it.
    #[error(
        "{what} of the stored run does not fit this one: found {found}, needed {needed}; use \
         another folder, or delete the stored run to start again"
    )]
    Mismatch {
        /// What differs.
        what: String,
        /// As stored.
        found: String,
        /// As needed.
        needed: String,
    },
    /// Recordings from which nothing can be learned.
    #[error("cannot learn from these recordings: {reason}")]
    Recordings {
        /// What is wrong, and with which.
        reason: String,
    },
    /// A run has checkpoints, but every one of them is damaged.
    #[error(
        "no checkpoint of `{}` is whole; put one back, or delete that folder to start again",
        run.display()
    )]
    NoWholeCheckpoint {
        /// Folder of the run.
        run: std::path::PathBuf,
        /// What is wrong with the newest.
        source: CheckpointError,
    },
    /// The plant, the nominal model or the reward failed.
    #[error("the task failed at environment step {env_step} (seed {seed})")]
    Task {
        /// Seed of the run.
        seed: u64,
        /// Environment steps done.
        env_step: u64,
        /// What failed.
        #[source]
        source: DynamicsError,
    },
    /// An evaluation failed.
    #[error("the evaluation at environment step {env_step} failed (seed {seed})")]
    Evaluation {
        /// Seed of the run.
        seed: u64,
        /// Environment steps done.
        env_step: u64,
        /// Which episode, and what failed.
        #[source]
        source: EpisodeError,
    },
    /// A model, a network or an environment cannot be set up.
    #[error(transparent)]
    Dynamics(#[from] DynamicsError),
    /// A network cannot be built.
    #[error(transparent)]
    Critic(#[from] CriticError),
    /// A checkpoint or result cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A log file cannot be written or read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file cannot be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
