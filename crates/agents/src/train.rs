//! The training loop of all methods: learn, evaluate, log, checkpoint, stop, resume.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use critics::{
    CheckpointError, Checkpoints, Snapshot, Tensors, instruction_path, write_file_atomic,
};
use dynamics::{Stream, Task};
use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, evaluate, record_rollout};
use crate::logs::{CurveRow, LogMarks, RunLogs, Timing};
use crate::replay_log::REPLAY_DIR;
use crate::{Budget, LearnError, Learner, Progress, TrainSettings};

/// Gets to see a run as it goes on.
pub trait Observer {
    /// After each part of learning (an episode at most).
    fn progress(&mut self, _progress: &Progress, _timing: &Timing) {}
    /// After each evaluation.
    fn evaluation(&mut self, _row: &CurveRow, _timing: &Timing) {}
    /// Something the user should know, such as where a run was resumed.
    fn note(&mut self, _text: &str) {}
}

/// Sees nothing.
pub struct Silent;
impl Observer for Silent {}

/// How [`train`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The run is whole; its results are in the folder.
    Complete,
    /// It was asked to stop, and a checkpoint was written at this environment step.
    Interrupted {
        /// Where the run will go on.
        env_steps: u64,
    },
}

/// What a finished run says of itself (`result.json`); it holds no times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// Version of the format.
    pub schema: u32,
    /// Name of the task.
    pub task: String,
    /// Name of the method.
    pub method: String,
    /// Seed of the run.
    pub seed: u64,
    /// Always `complete`.
    pub status: String,
    /// Why it ended: `total_steps` or `patience`.
    pub stopped_by: String,
    /// Environment steps.
    pub env_steps: u64,
    /// Episodes finished.
    pub episodes: u64,
    /// Updates.
    pub updates: u64,
    /// Instruction path of the kernels, on which the bits depend.
    pub instructions: String,
    /// Mean return of the last evaluation.
    pub final_return: f64,
    /// Mean return of the best evaluation.
    pub best_return: f64,
}

/// The loop's own part of a checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoopState {
    settings: TrainSettings,
    evaluations: u64,
    last_evaluation: Option<(u64, f64)>,
    best: Option<BestEvaluation>,
    marks: LogMarks,
    timing: Timing,
    /// Why learning ended; absent while it goes on.
    stopped_by: Option<String>,
    /// Instruction path of the kernels, on which the bits depend.
    instructions: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BestEvaluation {
    return_mean: f64,
    episodes: u64,
}

const LOOP_FILE: &str = "loop.json";
const BEST_FILE: &str = "best.safetensors";
const CHECKPOINT_DIR: &str = "checkpoints";
/// Checkpoints kept: the newest, and one to fall back on.
const KEPT_CHECKPOINTS: usize = 2;
/// Longest part of learning between two looks at the stop flag.
const SLICE: u64 = 100;

/// A run in its folder.
pub struct Training<'a> {
    task: &'a dyn Task,
    learner: &'a mut dyn Learner,
    settings: &'a TrainSettings,
    seed: u64,
    dir: &'a Path,
    observer: &'a mut dyn Observer,
    checkpoints: Checkpoints,
    logs: RunLogs,
    progress: Progress,
    evaluations: u64,
    last_evaluation: Option<(u64, f64)>,
    best: Option<BestEvaluation>,
    best_networks: Option<Tensors>,
    timing: Timing,
    stopped_by: Option<String>,
}

/// Trains `learner` on `task` in the folder `dir` until `settings` say it is done or `stop` is set.
///
/// A folder with checkpoints is resumed where the newest whole one stands; the final weights are
/// those of an uninterrupted run, bit by bit. When the run is whole, `dir` holds `result.json`,
/// `curve.csv`, `timing.csv`, `policy.safetensors`, `networks.safetensors`, `rollout.json` and the
/// TensorBoard events; [`discard_checkpoints`] then removes what only a resumption needs.
///
/// # Errors
/// A task that fails, numbers that are not finite, files that cannot be written or belong to
/// another run, checkpoints none of which is whole. The last checkpoint stays.
pub fn train(
    task: &dyn Task,
    learner: &mut dyn Learner,
    settings: &TrainSettings,
    seed: u64,
    dir: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome, LearnError> {
    settings.check()?;
    let mut training = Training::open(task, learner, settings, seed, dir, observer)?;
    let mut checkpointed = training.progress.env_steps;
    let stopped_by = loop {
        // A kill while the results were written: learning must not go on.
        if let Some(stopped_by) = &training.stopped_by {
            break stopped_by.clone();
        }
        if training.progress.env_steps >= settings.total_steps {
            break "total_steps".to_owned();
        }
        if stop.load(Ordering::Relaxed) {
            training.checkpoint()?;
            return Ok(Outcome::Interrupted { env_steps: training.progress.env_steps });
        }
        let next_checkpoint = checkpointed + settings.checkpoint_every_steps;
        training.learn(next_checkpoint.min(settings.total_steps))?;
        if training.patience_is_over() {
            break "patience".to_owned();
        }
        if training.progress.env_steps >= next_checkpoint {
            training.checkpoint()?;
            checkpointed = training.progress.env_steps;
        }
    };
    training.finish(stopped_by)?;
    Ok(Outcome::Complete)
}

/// Removes what only a resumption needs from a run that is whole: checkpoints, replay segments, and
/// the temporary files that a kill left.
///
/// # Errors
/// What the file system reports.
pub fn discard_checkpoints(dir: &Path) -> Result<(), LearnError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| LearnError::Io { action, path, source }
    };
    for folder in [CHECKPOINT_DIR, REPLAY_DIR] {
        let path = dir.join(folder);
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(io("remove", &path))?;
        }
    }
    for entry in std::fs::read_dir(dir).map_err(io("read", dir))? {
        let path = entry.map_err(io("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            std::fs::remove_file(&path).map_err(io("remove", &path))?;
        }
    }
    Ok(())
}

impl<'a> Training<'a> {
    fn open(
        task: &'a dyn Task,
        learner: &'a mut dyn Learner,
        settings: &'a TrainSettings,
        seed: u64,
        dir: &'a Path,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, LearnError> {
        std::fs::create_dir_all(dir).map_err(|source| LearnError::Io {
            action: "create the run folder",
            path: dir.to_owned(),
            source,
        })?;
        let checkpoints = Checkpoints::new(dir.join(CHECKPOINT_DIR), KEPT_CHECKPOINTS);
        let latest = checkpoints.latest()?;
        for skipped in &latest.skipped {
            observer.note(&format!(
                "left out a damaged checkpoint, {}: {}",
                skipped.path.display(),
                skipped.reason
            ));
        }
        let (measures, metrics) = (task.measures(), learner.metric_names());
        let Some((step, snapshot)) = latest.found else {
            if let Some(skipped) = latest.skipped.into_iter().next() {
                return Err(LearnError::NoWholeCheckpoint {
                    run: dir.to_owned(),
                    source: skipped.reason,
                });
            }
            let logs = RunLogs::open(dir, measures, metrics, None)?;
            return Ok(Self {
                task,
                learner,
                settings,
                seed,
                dir,
                observer,
                checkpoints,
                logs,
                progress: Progress::default(),
                evaluations: 0,
                last_evaluation: None,
                best: None,
                best_networks: None,
                timing: Timing::default(),
                stopped_by: None,
            });
        };
        let state: LoopState = snapshot.json(LOOP_FILE)?;
        if state.settings != *settings {
            return Err(LearnError::Mismatch {
                what: "the [train] settings".to_owned(),
                found: format!("{:?}", state.settings),
                needed: format!("{settings:?}"),
            });
        }
        if state.instructions != instruction_path() {
            observer.note(&format!(
                "the run was checkpointed on instruction path `{}` and goes on with `{}`: its \
                 numbers will differ in the last bits from an uninterrupted run",
                state.instructions,
                instruction_path()
            ));
        }
        learner.load(dir, &snapshot)?;
        // An empty advance only reports where the learner stands.
        let progress = learner.advance(Budget { env_steps: 0 })?;
        let best_networks = best_networks(&snapshot)?;
        let logs = RunLogs::open(dir, measures, learner.metric_names(), Some(state.marks))?;
        observer.note(&format!("resumed at step {step}"));
        Ok(Self {
            task,
            learner,
            settings,
            seed,
            dir,
            observer,
            checkpoints,
            logs,
            progress,
            evaluations: state.evaluations,
            last_evaluation: state.last_evaluation,
            best: state.best,
            best_networks,
            timing: state.timing,
            stopped_by: state.stopped_by,
        })
    }

    /// Learns for a slice, at most until environment step `until`, and evaluates if an episode that
    /// asks for it has ended.
    fn learn(&mut self, until: u64) -> Result<(), LearnError> {
        let start = Instant::now();
        let env_steps = (until - self.progress.env_steps).min(SLICE);
        self.progress = self.learner.advance(Budget { env_steps })?;
        let seconds = start.elapsed().as_secs_f64();
        self.timing.train_seconds += seconds;
        self.timing.total_seconds += seconds;
        self.observer.progress(&self.progress, &self.timing);
        let every = self.settings.evaluate_every_episodes;
        if self.progress.episode.is_some() && (self.progress.episodes - 1).is_multiple_of(every) {
            self.evaluate()?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<(), LearnError> {
        let start = Instant::now();
        let (seed, number) = match self.settings.common_starts {
            true => (0, 0),
            false => (self.seed, self.evaluations),
        };
        let mut stream = Stream::new(seed, "evaluation starts", number);
        let evaluation: Evaluation = evaluate(
            self.task,
            &mut *self.learner.policy()?,
            self.settings.evaluation_episodes,
            &mut stream,
        )
        .map_err(|source| LearnError::Evaluation {
            seed: self.seed,
            env_step: self.progress.env_steps,
            source,
        })?;
        self.evaluations += 1;
        let return_mean = evaluation.mean_return();
        let (return_min, return_max) = evaluation.return_range();
        let row = CurveRow {
            env_steps: self.progress.env_steps,
            episodes: self.progress.episodes,
            updates: self.progress.updates,
            return_mean,
            return_std: evaluation.return_deviation(),
            return_min,
            return_max,
            length_mean: evaluation.mean_length(),
            metrics: [evaluation.mean_measures(), self.learner.take_metrics()].concat(),
        };
        self.last_evaluation = Some((row.env_steps, return_mean));
        if self.best.is_none_or(|best| return_mean > best.return_mean) {
            self.best = Some(BestEvaluation { return_mean, episodes: row.episodes });
            if self.settings.keep_best {
                self.best_networks = Some(self.learner.networks()?);
            }
        }
        self.timing.total_seconds += start.elapsed().as_secs_f64();
        self.logs.append(&row, &self.timing)?;
        self.observer.evaluation(&row, &self.timing);
        Ok(())
    }

    fn patience_is_over(&self) -> bool {
        let patience = self.settings.patience_episodes;
        let age = self.best.map_or(0, |best| self.progress.episodes - best.episodes);
        patience > 0 && age > patience
    }

    fn checkpoint(&mut self) -> Result<(), LearnError> {
        let start = Instant::now();
        let state = LoopState {
            settings: self.settings.clone(),
            evaluations: self.evaluations,
            last_evaluation: self.last_evaluation,
            best: self.best,
            marks: self.logs.marks()?,
            timing: self.timing,
            stopped_by: self.stopped_by.clone(),
            instructions: instruction_path().to_owned(),
        };
        let (learner, dir, best) = (&mut *self.learner, self.dir, &self.best_networks);
        self.checkpoints.save(self.progress.env_steps, |writer| {
            learner.save(dir, writer)?;
            if let Some(best) = best {
                writer.tensors(BEST_FILE, best)?;
            }
            writer.json(LOOP_FILE, &state)
        })?;
        self.learner.prune(self.dir, &self.checkpoints)?;
        self.timing.total_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Writes the results. `result.json` comes last: a folder that has it is whole.
    fn finish(&mut self, stopped_by: String) -> Result<(), LearnError> {
        if self.last_evaluation.is_none_or(|(step, _)| step < self.progress.env_steps) {
            self.evaluate()?;
        }
        // A kill from here on must neither repeat the evaluation nor go on learning.
        self.stopped_by = Some(stopped_by.clone());
        self.checkpoint()?;
        if let Some(best) = &self.best_networks {
            self.learner.set_networks(best)?;
        }
        self.learner.save_policy(&self.dir.join("policy.safetensors"))?;
        let networks = self.learner.networks()?.to_bytes()?;
        write_file_atomic(&self.dir.join(NETWORKS_FILE), &networks)?;
        let rollout =
            record_rollout(self.task, &mut *self.learner.policy()?, &mut rollout_start(self.seed))?;
        write_json(&self.dir.join("rollout.json"), &rollout)?;
        let result = RunResult {
            schema: 1,
            task: self.task.name().to_owned(),
            method: self.learner.method().to_owned(),
            seed: self.seed,
            status: "complete".to_owned(),
            stopped_by,
            env_steps: self.progress.env_steps,
            episodes: self.progress.episodes,
            updates: self.progress.updates,
            instructions: instruction_path().to_owned(),
            final_return: self.last_evaluation.map_or(f64::NAN, |(_, value)| value),
            best_return: self.best.map_or(f64::NAN, |best| best.return_mean),
        };
        write_json(&self.dir.join(RESULT_FILE), &result)
    }
}

/// The stream that draws the start of the trajectory in a run's `rollout.json`.
#[must_use]
pub fn rollout_start(seed: u64) -> Stream {
    Stream::new(seed, "rollout", 0)
}

/// The file that makes a run folder whole.
pub const RESULT_FILE: &str = "result.json";
/// The networks of a finished run, for [`Learner::start_from`].
pub const NETWORKS_FILE: &str = "networks.safetensors";

/// Reads the networks of a finished run.
///
/// # Errors
/// A file that is missing or damaged.
pub fn load_networks(run: &Path) -> Result<Tensors, LearnError> {
    let path = run.join(NETWORKS_FILE);
    let bytes = std::fs::read(&path).map_err(|source| LearnError::Io {
        action: "read the networks",
        path: path.clone(),
        source,
    })?;
    Ok(Tensors::from_bytes(&path, &bytes)?)
}

fn best_networks(snapshot: &Snapshot) -> Result<Option<Tensors>, CheckpointError> {
    let stored = snapshot.files().any(|file| file == BEST_FILE);
    stored.then(|| snapshot.tensors(BEST_FILE)).transpose()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LearnError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| LearnError::Settings {
        what: path.display().to_string(),
        reason: error.to_string(),
    })?;
    text.push('\n');
    Ok(write_file_atomic(path, text.as_bytes())?)
}
