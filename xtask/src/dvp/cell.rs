//! Cells of the experiments on values: one run, one regression or one set of ground truth each.
//!
//! As with the cells of learning curves, a folder is named after its whole configuration, is called
//! `<id>.partial` until it is whole, and says in `<id>.failed/error.json` what went wrong. These
//! cells take a minute or two, so one that is interrupted begins anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use agents::RESULT_FILE;
use anyhow::{Context as _, Result, bail};
use critics::{instruction_path, write_file_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::control::{ClosedLoops, Paths, TickTimes};
use super::fits::Fit;
use super::loops::{Loop, MapLoop};
use super::ppo_critic::{DiscountedTruth, DvpCritic, PpoCritic};
use super::system::System;
use super::truth::{Truth, TruthData};
use crate::cell::{CONFIG_FILE, CellOutcome, lock, mark_failed, unlock, with_suffix};

/// Format of the files of a cell.
const SCHEMA: u32 = 1;
/// Name of the file with what is not the same in every run: times.
pub(super) const TIMING_FILE: &str = "timing.json";

/// Everything that determines a cell (`config.toml`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cell {
    /// Version of this format.
    pub(crate) schema: u32,
    /// Seed of every random stream but those of ground truth.
    pub(crate) seed: u64,
    /// What is done.
    pub(crate) experiment: Experiment,
    /// On which system.
    pub(crate) system: System,
}

/// What a cell does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Experiment {
    /// Values of a long horizon.
    Truth(Truth),
    /// The loop, measured after every iteration.
    Loop(Loop),
    /// A single regression.
    Fit(Fit),
    /// The loop, its last gradient on a plane.
    Map(MapLoop),
    /// Plans that end in a learned value.
    Paths(Paths),
    /// Closed loops that plan with a learned value.
    ClosedLoops(ClosedLoops),
    /// Values of a long, discounted horizon.
    DiscountedTruth(DiscountedTruth),
    /// DVP on a discounted problem.
    DvpCritic(DvpCritic),
    /// PPO on the same.
    PpoCritic(PpoCritic),
}

/// How a cell tells how far it is, and hears that it is to stop.
pub(crate) struct Work<'a> {
    stop: &'a AtomicBool,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Work<'a> {
    /// Work that is watched by `progress`.
    pub(crate) fn new(stop: &'a AtomicBool, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { stop, done: 0, progress }
    }

    /// Whether somebody wants it to end.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Counts steps.
    pub(crate) fn advance(&mut self, steps: u64) {
        self.done += steps;
        (self.progress)(self.done);
    }
}

/// Times of a cell (`timing.json`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Timing {
    /// The whole cell.
    pub(crate) seconds: f64,
    /// Plans of closed loops.
    pub(crate) plans: Option<TickTimes>,
    /// Instructions that the network kernels ran on; others may round differently.
    pub(crate) instructions: String,
}

impl Cell {
    /// A cell of this build.
    pub(crate) fn new(system: System, seed: u64, experiment: Experiment) -> Self {
        Self { schema: SCHEMA, seed, experiment, system }
    }

    /// Name of the cell: readable first, then a hash of the whole configuration.
    ///
    /// # Errors
    /// A value that has no place in TOML.
    pub(crate) fn id(&self) -> Result<String> {
        let hash = blake3::hash(self.text()?.as_bytes()).to_hex();
        let kind = match &self.experiment {
            Experiment::Truth(_) => "truth",
            Experiment::Loop(_) => "loop",
            Experiment::Fit(_) => "fit",
            Experiment::Map(_) => "map",
            Experiment::Paths(_) => "paths",
            Experiment::ClosedLoops(_) => "closed-loops",
            Experiment::DiscountedTruth(_) => "discounted-truth",
            Experiment::DvpCritic(_) => "dvp-critic",
            Experiment::PpoCritic(_) => "ppo-critic",
        };
        Ok(format!("dvp-{kind}-{}-s{}-{}", self.system.task, self.seed, &hash[..10]))
    }

    /// The ground truth that the cell is measured against, as a cell.
    pub(crate) fn needs(&self) -> Option<Self> {
        let truth = match &self.experiment {
            Experiment::Loop(run) => &run.truth,
            Experiment::Map(map) => &map.truth,
            _ => return None,
        };
        Some(Self::new(self.system.clone(), 0, Experiment::Truth(truth.clone())))
    }

    /// Steps of the cell, for the display of progress: epochs of regressions, and what takes as
    /// long of the solves of ground truth.
    pub(crate) fn steps(&self) -> u64 {
        // An epoch of 100 samples takes as long as 10 to 20 steps of one solve.
        const NODES: usize = 20;
        let loops = |settings: &agents::dvp::DvpSettings| settings.iterations * settings.fit.epochs;
        let steps = match &self.experiment {
            Experiment::Truth(truth) => truth.solves() * truth.horizon / NODES,
            Experiment::Loop(run) => loops(&run.settings),
            Experiment::Fit(fit) => fit.fit.epochs,
            Experiment::Map(map) => loops(&map.settings),
            Experiment::Paths(paths) => loops(&paths.settings),
            Experiment::ClosedLoops(run) => loops(&run.settings),
            Experiment::DiscountedTruth(truth) => truth.solves() * truth.horizon / NODES,
            Experiment::DvpCritic(dvp) => loops(&dvp.settings),
            Experiment::PpoCritic(ppo) => return ppo.steps(),
        };
        steps as u64
    }

    /// Reads the configuration in a folder.
    ///
    /// # Errors
    /// A file that is missing or no configuration of this version.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let cell: Self = toml::from_str(&text)
            .with_context(|| format!("`{}` is damaged or of another version", path.display()))?;
        if cell.schema != SCHEMA {
            bail!("`{}` has schema {}, this build reads {SCHEMA}", path.display(), cell.schema);
        }
        Ok(cell)
    }

    /// Folder of the whole cell below `root`.
    ///
    /// # Errors
    /// As [`Cell::id`].
    pub(crate) fn folder(&self, root: &Path) -> Result<PathBuf> {
        Ok(root.join(self.id()?))
    }

    /// Runs the cell below `root` unless it is whole already. What it [`needs`](Cell::needs) must
    /// be there.
    ///
    /// # Errors
    /// Whatever stops it; it is then marked as failed.
    pub(crate) fn run(&self, root: &Path, work: &mut Work<'_>) -> Result<CellOutcome> {
        let whole = self.folder(root)?;
        if whole.join(RESULT_FILE).exists() {
            return Ok(CellOutcome::Found);
        }
        let (partial, failed) = (with_suffix(&whole, ".partial"), with_suffix(&whole, ".failed"));
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot create the run folder `{}`", partial.display()))?;
        let guard = lock(&partial)?;
        match self.write(root, &partial, work) {
            Ok(true) => {}
            Ok(false) => return Ok(CellOutcome::Interrupted(work.done)),
            Err(error) => {
                mark_failed(&failed, &error)?;
                return Err(error.context(format!("cell `{}` failed", self.id()?)));
            }
        }
        unlock(guard, &partial);
        fs::rename(&partial, &whole)
            .with_context(|| format!("cannot rename `{}`", partial.display()))?;
        if failed.exists() {
            fs::remove_dir_all(&failed)
                .with_context(|| format!("cannot remove `{}`", failed.display()))?;
        }
        Ok(CellOutcome::Done)
    }

    /// Writes the files of the cell; false if it was asked to stop.
    fn write(&self, root: &Path, partial: &Path, work: &mut Work<'_>) -> Result<bool> {
        let clock = Instant::now();
        let Some((result, plans)) = self.compute(root, work)? else { return Ok(false) };
        let instructions = instruction_path().to_owned();
        let timing = Timing { seconds: clock.elapsed().as_secs_f64(), plans, instructions };
        let files = [
            (CONFIG_FILE, self.text()?),
            (TIMING_FILE, serde_json::to_string_pretty(&timing)?),
            (RESULT_FILE, result),
        ];
        for (name, text) in files {
            write_file_atomic(&partial.join(name), text.as_bytes())?;
        }
        Ok(true)
    }

    fn compute(
        &self,
        root: &Path,
        work: &mut Work<'_>,
    ) -> Result<Option<(String, Option<TickTimes>)>> {
        let truth_cell = self.needs();
        let truth = || {
            let cell = truth_cell.as_ref().context("nothing to be measured against")?;
            load::<TruthData>(&cell.folder(root)?)
        };
        let (system, seed) = (&self.system, self.seed);
        let result = match &self.experiment {
            Experiment::Truth(truth) => {
                let data = truth.compute(system)?;
                work.advance(self.steps());
                Some(json(&data)?)
            }
            Experiment::Loop(run) => optional(run.run(system, seed, &truth()?, work)?)?,
            Experiment::Fit(fit) => optional(fit.run(system, seed, work)?)?,
            Experiment::Map(map) => optional(map.run(system, seed, &truth()?, work)?)?,
            Experiment::Paths(paths) => optional(paths.run(system, seed, work)?)?,
            Experiment::ClosedLoops(loops) => {
                let Some((result, times)) = loops.run(system, seed, work)? else { return Ok(None) };
                return Ok(Some((json(&result)?, Some(times))));
            }
            Experiment::DiscountedTruth(truth) => {
                let data = truth.compute(system)?;
                work.advance(self.steps());
                Some(json(&data)?)
            }
            Experiment::DvpCritic(dvp) => optional(dvp.run(system, seed, work)?)?,
            Experiment::PpoCritic(ppo) => optional(ppo.run(system, seed, work)?)?,
        };
        Ok(result.map(|text| (text, None)))
    }

    fn text(&self) -> Result<String> {
        toml::to_string(self).context("the configuration cannot be written as TOML")
    }
}

/// One line, so that long lists of numbers stay small.
fn json(result: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(result)? + "\n")
}

/// The same of what is there.
fn optional(result: Option<impl Serialize>) -> Result<Option<String>> {
    result.as_ref().map(json).transpose()
}

/// Reads the result in a folder.
///
/// # Errors
/// A file that is missing or holds something else.
pub(crate) fn load<R: DeserializeOwned>(folder: &Path) -> Result<R> {
    read_json(&folder.join(RESULT_FILE))
}

/// Reads a JSON file.
///
/// # Errors
/// A file that is missing or holds something else.
pub(super) fn read_json<R: DeserializeOwned>(path: &Path) -> Result<R> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("`{}` is damaged or of another version", path.display()))
}
