//! Cells: deterministic runs, each in a folder of its own.
//!
//! A cell is known by its configuration alone; the same configuration run anywhere leaves the same
//! files (times apart). While it runs its folder is `<id>.partial`; a rename makes it whole; what
//! failed says so in `<id>.failed/error.json` and keeps its last checkpoint.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use agents::{
    LearnError, Learner, Observer, Outcome, RESULT_FILE, TrainSettings, discard_checkpoints,
    find_method, from_table, load_networks, train,
};
use anyhow::{Context as _, Result, bail};
use bench_tasks::{BenchTask, Preset, Variant};
use critics::write_file_atomic;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::settings::{apply_overrides, split_by_prefix};

/// Everything that determines a cell (`config.toml`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CellConfig {
    /// Version of this format.
    pub(crate) schema: u32,
    /// Name of the task.
    pub(crate) task: String,
    /// Preset that the task's settings started from.
    pub(crate) preset: Preset,
    /// Which model is the plant.
    pub(crate) variant: Variant,
    /// Name of the method.
    pub(crate) method_name: String,
    /// Seed of every random stream.
    pub(crate) seed: u64,
    /// Content hash of the networks that the run starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init_from: Option<String>,
    /// Settings of the task.
    pub(crate) task_settings: Table,
    /// Settings of the method.
    pub(crate) method: Table,
    /// Settings of the training loop.
    pub(crate) train: Table,
}

/// Format of `config.toml`.
pub(crate) const SCHEMA: u32 = 1;
/// Name of the file with the configuration.
pub(crate) const CONFIG_FILE: &str = "config.toml";

/// How a cell was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellOutcome {
    /// It was whole already.
    Found,
    /// It is whole now.
    Done,
    /// It was asked to stop at this environment step.
    Interrupted(u64),
}

impl CellConfig {
    /// The configuration of a run with default settings.
    ///
    /// # Errors
    /// Unknown task or method.
    pub(crate) fn new(
        task: &str,
        preset: Preset,
        variant: Variant,
        method: &str,
        seed: u64,
    ) -> Result<Self> {
        let settings = (find_method(method)?.settings)()?;
        Ok(Self {
            schema: SCHEMA,
            task: task.to_owned(),
            preset,
            variant,
            method_name: method.to_owned(),
            seed,
            init_from: None,
            task_settings: (bench_tasks::find(task)?.settings)(preset)?,
            train: default_train(method, &settings)?,
            method: settings,
        })
    }

    /// Changes settings by their dotted keys (`task.`, `method.`, `train.`, bare for the task).
    ///
    /// # Errors
    /// A key that there is not, or a value of the wrong type.
    pub(crate) fn override_all(&mut self, overrides: &[(String, String)]) -> Result<()> {
        let split = split_by_prefix(overrides, &self.task_settings)?;
        if let Some((key, _)) = split.solver.first() {
            match self.method.contains_key("solver") {
                true => bail!("`solver.{key}` belongs to the method: `method.solver.{key}`"),
                false => bail!(
                    "`solver.{key}` has no meaning here: method `{}` uses no solver",
                    self.method_name
                ),
            }
        }
        self.task_settings = apply_overrides(&self.task_settings, &split.task)?;
        let method = apply_overrides(&self.method, &split.method)
            .with_context(|| format!("cannot set `method.…` of `{}`", self.method_name))?;
        // What nobody has set follows the method.
        if self.train == default_train(&self.method_name, &self.method)? {
            self.train = default_train(&self.method_name, &method)?;
        }
        self.method = method;
        self.train = apply_overrides(&self.train, &split.train)
            .context("cannot set `train.…`, the training loop")?;
        Ok(())
    }

    /// Name of the cell: readable first, then a hash of the whole configuration.
    ///
    /// # Errors
    /// A value that has no place in TOML.
    pub(crate) fn id(&self) -> Result<String> {
        let hash = blake3::hash(self.text()?.as_bytes()).to_hex();
        let variant = match self.variant {
            Variant::Real => "real",
            Variant::Nominal => "nominal",
        };
        let Self { task, method_name, seed, .. } = self;
        Ok(format!("{task}-{variant}-{method_name}-s{seed}-{}", &hash[..10]))
    }

    /// Environment steps of the run.
    pub(crate) fn total_steps(&self) -> u64 {
        let steps = self.train.get("total_steps").and_then(toml::Value::as_integer);
        steps.and_then(|steps| u64::try_from(steps).ok()).unwrap_or(0)
    }

    /// Checks every setting without running anything or writing a file.
    ///
    /// # Errors
    /// Settings that task, method or training loop refuse, networks to start from that do not fit.
    pub(crate) fn check(&self, init_from: Option<&Path>) -> Result<()> {
        from_table::<TrainSettings>("train", &self.train)?.check()?;
        self.with_learner(init_from, |_| Ok(()))
    }

    /// What a user should know before the run ([`Learner::remark`]).
    ///
    /// # Errors
    /// As [`CellConfig::check`]; what task and model report.
    pub(crate) fn remark(&self, init_from: Option<&Path>) -> Result<Option<String>> {
        self.with_learner(init_from, |learner| Ok(learner.remark()?))
    }

    fn with_learner<R>(
        &self,
        init_from: Option<&Path>,
        work: impl FnOnce(&dyn Learner) -> Result<R>,
    ) -> Result<R> {
        let task = self.build_task()?;
        let mut learner =
            find_method(&self.method_name)?.build(task.as_task(), &self.method, self.seed)?;
        if let Some(run) = init_from {
            learner.start_from(&load_networks(run)?)?;
        }
        work(&*learner)
    }

    /// The task that the run is about.
    ///
    /// # Errors
    /// Settings that the task refuses.
    pub(crate) fn build_task(&self) -> Result<Box<dyn BenchTask>> {
        Ok((bench_tasks::find(&self.task)?.build)(self.variant, &self.task_settings)?)
    }

    /// Reads the configuration of a run folder.
    ///
    /// # Errors
    /// A file that is missing or no configuration of this version.
    pub(crate) fn read(run: &Path) -> Result<Self> {
        let path = run.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("`{}` is no run folder: cannot read `{}`", run.display(), path.display())
        })?;
        let config: Self = toml::from_str(&text).with_context(|| {
            format!(
                "`{}` is damaged or of another version; run the experiment again in a new folder",
                path.display()
            )
        })?;
        if config.schema != SCHEMA {
            bail!("`{}` has schema {}, this build reads {SCHEMA}", path.display(), config.schema);
        }
        Ok(config)
    }

    fn text(&self) -> Result<String> {
        toml::to_string(self).context("the configuration cannot be written as TOML")
    }
}

/// The training loop of a method with these settings.
fn default_train(method: &str, settings: &Table) -> Result<Table> {
    Ok(agents::to_table("train", &find_method(method)?.train_settings(settings)?)?)
}

/// Folder of a whole cell below `root`.
///
/// # Errors
/// As [`CellConfig::id`].
pub(crate) fn folder(root: &Path, config: &CellConfig) -> Result<PathBuf> {
    Ok(root.join(config.id()?))
}

/// Runs a cell below `root` unless it is whole already, or goes on where it was interrupted.
///
/// `init_from` is the run folder whose networks the cell starts from, if it does.
///
/// # Errors
/// Whatever stops the run; the cell is then marked as failed, unless another process is at it.
pub(crate) fn run(
    root: &Path,
    config: &CellConfig,
    init_from: Option<&Path>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<CellOutcome> {
    let whole = folder(root, config)?;
    let (partial, failed) = (with_suffix(&whole, ".partial"), with_suffix(&whole, ".failed"));
    if whole.join(RESULT_FILE).exists() {
        // A kill may have come between the rename and this.
        discard_checkpoints(&whole)?;
        return Ok(CellOutcome::Found);
    }
    if whole.exists() {
        bail!(
            "`{}` is there without `{RESULT_FILE}`: it was changed after it was written; put the \
             file back, or delete the folder to run the cell again",
            whole.display()
        );
    }
    fs::create_dir_all(&partial)
        .with_context(|| format!("cannot create the run folder `{}`", partial.display()))?;
    let lock = lock(&partial)?;
    let outcome = match run_partial(&partial, config, init_from, observer, stop) {
        Ok(outcome) => outcome,
        Err(error) => {
            mark_failed(&failed, &error)?;
            return Err(error.context(format!("cell `{}` failed", config.id()?)));
        }
    };
    if let Outcome::Interrupted { env_steps } = outcome {
        return Ok(CellOutcome::Interrupted(env_steps));
    }
    unlock(lock, &partial);
    fs::rename(&partial, &whole)
        .with_context(|| format!("cannot rename `{}`", partial.display()))?;
    if failed.exists() {
        fs::remove_dir_all(&failed)
            .with_context(|| format!("cannot remove `{}`", failed.display()))?;
    }
    discard_checkpoints(&whole)?;
    Ok(CellOutcome::Done)
}

fn run_partial(
    partial: &Path,
    config: &CellConfig,
    init_from: Option<&Path>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome> {
    if partial.join(RESULT_FILE).exists() {
        return Ok(Outcome::Complete);
    }
    if partial.join(CONFIG_FILE).exists() {
        let found = CellConfig::read(partial)?;
        if found != *config {
            bail!("`{}` belongs to another configuration; delete it", partial.display());
        }
    } else {
        write_file_atomic(&partial.join(CONFIG_FILE), config.text()?.as_bytes())?;
    }
    let task = config.build_task()?;
    let task = task.as_task();
    let settings: TrainSettings = from_table("train", &config.train)?;
    let mut learner = find_method(&config.method_name)?.build(task, &config.method, config.seed)?;
    if let Some(run) = init_from {
        check_origin(run, config)?;
        learner.start_from(&load_networks(run)?)?;
    }
    let outcome = train(task, &mut *learner, &settings, config.seed, partial, observer, stop)?;
    Ok(outcome)
}

/// Refuses networks that mean something else than those of the cell.
fn check_origin(run: &Path, config: &CellConfig) -> Result<()> {
    let origin = CellConfig::read(run)?;
    if origin.task != config.task {
        bail!(
            "`{}` was trained on task `{}`, this run is about `{}`",
            run.display(),
            origin.task,
            config.task
        );
    }
    for key in [
        "actor_hidden",
        "actor_activation",
        "critic_hidden",
        "critic_activation",
        "normalize_actions",
        "reward_scale",
    ] {
        let (found, needed) = (origin.method.get(key), config.method.get(key));
        if found != needed {
            let show = |value: Option<&toml::Value>| {
                value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            bail!(
                "`{}` has method.{key} = {}, this run {}; set it with --set method.{key}=…",
                run.display(),
                show(found),
                show(needed)
            );
        }
    }
    Ok(())
}

const LOCK_FILE: &str = "lock";

/// Lets go of the folder before it is renamed.
pub(crate) fn unlock(lock: File, partial: &Path) {
    drop(lock);
    fs::remove_file(partial.join(LOCK_FILE)).ok();
}

/// Keeps a second process out of the folder; the system lets go of it when this process ends.
///
/// # Errors
/// Another process that has it, a file that cannot be written.
pub(crate) fn lock(partial: &Path) -> Result<File> {
    let path = partial.join(LOCK_FILE);
    let file =
        File::create(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another process is running `{}`; wait for it, or stop it first",
            partial.display()
        ),
        // A file system without locks: go on without one.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// What `error.json` holds.
#[derive(Serialize)]
struct Failure {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    env_steps: Option<u64>,
}

/// Writes what went wrong.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn mark_failed(failed: &Path, error: &anyhow::Error) -> Result<()> {
    let env_steps = error.downcast_ref().and_then(|error| match error {
        LearnError::NotFinite { env_step, .. } | LearnError::Task { env_step, .. } => {
            Some(*env_step)
        }
        _ => None,
    });
    let failure = Failure { error: format!("{error:#}"), env_steps };
    fs::create_dir_all(failed)
        .with_context(|| format!("cannot create `{}` for: {error:#}", failed.display()))?;
    let text = serde_json::to_string_pretty(&failure)?;
    write_file_atomic(&failed.join("error.json"), text.as_bytes())
        .with_context(|| format!("cannot write `{}` for: {error:#}", failed.display()))?;
    Ok(())
}

/// The path with more at the end of its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
