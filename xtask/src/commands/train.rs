//! `train`: one run.

use std::path::PathBuf;

use agents::{LearnError, find_method, load_networks};
use anyhow::{Context as _, Error, Result, anyhow, bail};
use bench_tasks::{Preset, Variant, registry};
use rayon::ThreadPoolBuilder;

use super::print;
use crate::cell::{self, CellConfig, CellOutcome};
use crate::interrupt;
use crate::machine;
use crate::progress::{Display, tell};
use crate::settings::{parse_assignments, preset_parser, variant_parser};

/// Arguments of `train`.
#[derive(clap::Args)]
pub(crate) struct TrainArgs {
    /// Task (see `list`)
    #[arg(long)]
    task: String,
    /// Method (see `list`)
    #[arg(long)]
    method: String,
    /// Which model is the plant; nominal is for pre-training
    #[arg(long, default_value = "real", value_parser = variant_parser())]
    variant: Variant,
    /// Which description of the task, where paper and released code differ
    #[arg(long, default_value = "released", value_parser = preset_parser())]
    preset: Preset,
    /// Seed of every random stream
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Change a setting: `key=value`, with `task.`, `method.` or `train.` before the key
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Start from the networks of this run: fresh optimiser, empty memory, no random phase
    #[arg(long, value_name = "RUN")]
    init_from: Option<PathBuf>,
    /// Threads of the run; the results do not depend on them [default: the number of cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Folder for runs
    #[arg(long, default_value = "runs/train")]
    out: PathBuf,
}

impl TrainArgs {
    /// Trains, or goes on where an interrupted run with the same arguments was.
    ///
    /// # Errors
    /// Unknown names or settings, a run that fails.
    pub(crate) fn run(self) -> Result<()> {
        let mut config =
            CellConfig::new(&self.task, self.preset, self.variant, &self.method, self.seed)?;
        config.override_all(&parse_assignments(&self.set)?)?;
        if let Some(run) = &self.init_from {
            let networks = load_networks(run)
                .with_context(|| format!("`{}` is no finished run", run.display()))?
                .to_bytes()?;
            config.init_from = Some(blake3::hash(&networks).to_hex().to_string());
        }
        let checked = config.check(self.init_from.as_deref());
        checked.or_else(|error| Err(with_fitting_tasks(&self.method, error)?))?;
        let folder = cell::folder(&self.out, &config)?;
        let display = Display::new(1, config.total_steps());
        let name = format!("{} {} #{}", config.task, config.method_name, config.seed);
        let mut observer = display.cell(&name, config.total_steps());
        let stop = interrupt::flag()?;
        let threads = self.threads.map_or_else(machine::n_cores, usize::from);
        let outcome = with_threads(threads, || {
            if let Some(remark) = config.remark(self.init_from.as_deref())? {
                tell(&remark);
            }
            cell::run(&self.out, &config, self.init_from.as_deref(), &mut observer, stop)
        })??;
        match outcome {
            CellOutcome::Interrupted(step) => {
                display.finish();
                bail!("checkpointed at step {step}; the same command goes on from there");
            }
            CellOutcome::Found => tell("this run is there already"),
            CellOutcome::Done => observer.done(),
        }
        display.finish();
        tell(&format!("next: cargo xtask eval {0}; cargo xtask play {0}", folder.display()));
        print(&format!("{}\n", folder.display()))?;
        Ok(())
    }
}

/// Says on which tasks a method can learn, where it cannot on the one given.
fn with_fitting_tasks(method: &str, error: Error) -> Result<Error> {
    if !matches!(error.downcast_ref(), Some(LearnError::Unfit { .. })) {
        return Ok(error);
    }
    let (method, mut names) = (find_method(method)?, Vec::new());
    let settings = (method.settings)()?;
    for entry in registry() {
        let task = (entry.build)(Variant::Real, &(entry.settings)(Preset::Released)?)?;
        if method.build(task.as_task(), &settings, 0).is_ok() {
            names.push(entry.name);
        }
    }
    Ok(anyhow!("{error}; tasks on which it can: {}", names.join(", ")))
}

/// Runs `work` in a pool of its own with this many threads.
///
/// # Errors
/// Threads that the system does not give.
pub(super) fn with_threads<R: Send>(
    n_threads: usize,
    work: impl FnOnce() -> R + Send,
) -> Result<R> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .with_context(|| format!("cannot start {n_threads} threads; use fewer"))?;
    Ok(pool.install(work))
}
