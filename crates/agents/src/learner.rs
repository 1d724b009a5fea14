//! The one interface of all methods.

use std::path::Path;

use critics::{CheckpointError, Checkpoints, Snapshot, SnapshotWriter, Tensors};

use crate::{LearnError, Policy};

/// A method while it learns on a task. Training loop, evaluation, logs, checkpoints and early stop
/// live outside, in [`crate::train`].
pub trait Learner {
    /// Name of the method on the command line.
    fn method(&self) -> &'static str;
    /// Learns until `budget` is used up or an episode ends, whichever comes first.
    ///
    /// # Errors
    /// A task that fails, or a number that is not finite.
    fn advance(&mut self, budget: Budget) -> Result<Progress, LearnError>;
    /// The deterministic policy as it is now.
    ///
    /// # Errors
    /// Sizes that do not fit the task.
    fn policy(&self) -> Result<Box<dyn Policy + '_>, LearnError>;
    /// What a user should know before the first step, if there is anything.
    ///
    /// # Errors
    /// What task and model report.
    fn remark(&self) -> Result<Option<String>, LearnError> {
        Ok(None)
    }
    /// Names of [`Learner::take_metrics`]' numbers.
    fn metric_names(&self) -> &[&'static str];
    /// Diagnostics averaged since the last call; what has not been measured since is not a number.
    fn take_metrics(&mut self) -> Vec<f64>;

    /// Writes the policy alone into a file, for use without the learner.
    ///
    /// # Errors
    /// What the file system reports.
    fn save_policy(&self, path: &Path) -> Result<(), LearnError>;
    /// All networks, for fine-tuning and for keeping the best.
    ///
    /// # Errors
    /// As [`Tensors`].
    fn networks(&self) -> Result<Tensors, CheckpointError>;
    /// Takes the networks of another run as the start of this one: optimiser and memory stay
    /// empty, and there is no random phase.
    ///
    /// # Errors
    /// Networks of other sizes.
    fn start_from(&mut self, networks: &Tensors) -> Result<(), LearnError>;
    /// Replaces the networks and nothing else.
    ///
    /// # Errors
    /// Networks of other sizes.
    fn set_networks(&mut self, networks: &Tensors) -> Result<(), LearnError>;

    /// Writes the whole state into a checkpoint; what only grows goes into `dir` in segments.
    ///
    /// # Errors
    /// What the file system reports.
    fn save(&mut self, dir: &Path, checkpoint: &mut SnapshotWriter) -> Result<(), CheckpointError>;
    /// Takes up the state of a checkpoint, bit by bit.
    ///
    /// # Errors
    /// A checkpoint that is damaged or of another configuration.
    fn load(&mut self, dir: &Path, checkpoint: &Snapshot) -> Result<(), LearnError>;
    /// Deletes segments in `dir` that no kept checkpoint needs.
    ///
    /// # Errors
    /// What the file system reports.
    fn prune(&mut self, _dir: &Path, _kept: &Checkpoints) -> Result<(), CheckpointError> {
        Ok(())
    }
}

/// How far a learner may go before it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Environment steps at most.
    pub env_steps: u64,
}

/// Where a learner stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Environment steps since the start of the run.
    pub env_steps: u64,
    /// Gradient updates since the start.
    pub updates: u64,
    /// Episodes finished since the start.
    pub episodes: u64,
    /// The episode that has just ended, if one has.
    pub episode: Option<Episode>,
}

/// A finished episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// Undiscounted sum of rewards.
    pub total_reward: f64,
    /// Steps.
    pub length: usize,
}
