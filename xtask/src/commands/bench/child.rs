//! Rows that need a process of their own: the memory of a run, and how long a start takes.
//!
//! This executable starts itself with `bench --child …`, a flag that help does not show.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use agents::{Budget, Learner as _, SacLearner, SacSettings, Silent};
use anyhow::{Context as _, Result, bail, ensure};
use bench_tasks::{Preset, Variant};
use clap::ValueEnum;

use super::case::{Case, Source, Unit};
use crate::cell::{self, CellConfig};
use crate::commands::print;

/// Where Linux tells a process's peak of resident memory.
const STATUS: &str = "/proc/self/status";
/// Transitions in memory when the peak is read.
const TRANSITIONS: u64 = 100_000;

/// What the child is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Child {
    /// Train with a large memory and print the peak of resident memory.
    Memory,
    /// Print a line after the first update.
    Start,
}

impl Child {
    /// Does the child's work.
    ///
    /// # Errors
    /// What learner, files and system report.
    pub(super) fn run(self) -> Result<()> {
        let text = match self {
            Self::Memory => format!("{}\n", memory()?),
            Self::Start => format!("{}\n", start()?),
        };
        print(&text)?;
        Ok(())
    }

    fn spawn(self) -> Result<Process> {
        let executable = std::env::current_exe().context("cannot find the own executable")?;
        let name = match self {
            Self::Memory => "memory",
            Self::Start => "start",
        };
        Command::new(&executable)
            .args(["--simd", critics::instruction_path(), "--backend", critics::backend().name()])
            .args(["bench", "--child", name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", executable.display()))
    }

    /// Seconds until the child has printed its line, and the number on it.
    fn ask(self) -> Result<(f64, f64)> {
        let start = Instant::now();
        let mut process = self.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = &mut process.stdout {
            BufReader::new(stdout).read_line(&mut line).context("cannot read from the child")?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut stderr = String::new();
        if let Some(pipe) = &mut process.stderr {
            // What cannot be read cannot be told either.
            pipe.read_to_string(&mut stderr).ok();
        }
        let status = process.wait().context("cannot wait for the child")?;
        ensure!(status.success(), "the child process failed ({status}): {}", stderr.trim());
        let number = line.trim().parse();
        Ok((seconds, number.with_context(|| format!("the child printed `{}`", line.trim()))?))
    }
}

/// The row of the peak of resident memory; none where the system does not tell it.
pub(super) fn memory_case(name: &str) -> Option<Case<'static>> {
    Path::new(STATUS).exists().then(|| Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::Megabytes,
        flops: None,
        updates_per_step: None,
        source: Source::Process(Box::new(|| Ok(Child::Memory.ask()?.1))),
    })
}

/// The row of the time from the start of a process to the end of its first update.
pub(super) fn start_case(name: &str) -> Case<'static> {
    Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::Seconds,
        flops: None,
        updates_per_step: None,
        source: Source::Process(Box::new(|| Ok(Child::Start.ask()?.0))),
    }
}

/// Trains with SAC's defaults, updates only at the end, and returns the peak in MB.
fn memory() -> Result<f64> {
    let folder = Temporary::create()?;
    let mut config = CellConfig::new("pendulum", Preset::Released, Variant::Real, "sac", 0)?;
    let set = |key: &str, value: u64| (key.to_owned(), value.to_string());
    config.override_all(&[
        set("method.random_steps", TRANSITIONS),
        set("method.update_after", TRANSITIONS - 100),
        set("train.total_steps", TRANSITIONS + 50),
        set("train.evaluate_every_episodes", 1_000),
    ])?;
    cell::run(&folder.0, &config, None, &mut Silent, &AtomicBool::new(false))?;
    let status = fs::read_to_string(STATUS).with_context(|| format!("cannot read `{STATUS}`"))?;
    peak_megabytes(&status).with_context(|| format!("`{STATUS}` does not tell the peak of memory"))
}

/// `VmHWM` of a process's status, in 10⁶ bytes.
fn peak_megabytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Learns with SAC's defaults up to the first update; returns the steps that took.
fn start() -> Result<u64> {
    let entry = bench_tasks::find("pendulum")?;
    let task = (entry.build)(Variant::Real, &(entry.settings)(Preset::Released)?)?;
    let mut learner = SacLearner::new(task.as_task(), &SacSettings::sac(), 0)?;
    // The random phase is 100 steps; thousands without an update would be a mistake.
    for _ in 0..10_000 {
        let progress = learner.advance(Budget { env_steps: 1 })?;
        if progress.updates > 0 {
            return Ok(progress.env_steps);
        }
    }
    bail!("there was no update within 10000 steps")
}

/// A folder that goes when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("costate-bench-{}", std::process::id()));
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot create the folder `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The system's folder for temporary files is cleaned by others too.
        fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_decimal_megabytes() {
        let status = "Name:\txtask\nVmPeak:\t  999 kB\nVmHWM:\t  125000 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_megabytes(status), Some(128.0));
        assert_eq!(peak_megabytes("Name:\txtask\n"), None);
    }

    #[test]
    fn the_first_update_follows_the_random_phase() {
        // 100 random steps fill the memory; the update comes before the step after the next.
        assert_eq!(start().unwrap(), 102);
    }
}
