//! `reproduce`: runs the cells that are missing, then writes the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use agents::{RESULT_FILE, discard_checkpoints};
use anyhow::{Context as _, Result, bail};
use critics::write_file_atomic;
use serde::{Deserialize, Serialize};

use super::print;
use super::train::with_threads;
use crate::cell::{self, CellConfig, CellOutcome};
use crate::dvp;
use crate::interrupt;
use crate::machine;
use crate::plan::{self, Profile, Selection};
use crate::progress::{Display, duration, tell};
use crate::report::{self, FigureSpec, ReportPaths, RunInfo};
use crate::runs;
use crate::settings::parse_assignments;

/// Arguments of `reproduce`.
#[derive(clap::Args)]
pub(crate) struct ReproduceArgs {
    /// Papers (vg-sac, dvp, pods, svg) or figures (vg-sac/fig2-cartpole, dvp/fig1); without any, the overview
    names: Vec<String>,
    /// Size of the experiments
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Run only these tasks
    #[arg(long)]
    task: Vec<String>,
    /// Run only the cells of these methods
    #[arg(long)]
    method: Vec<String>,
    /// Seeds per curve, in the place of the profile's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Change a setting in every cell that has it, such as `method.value_gradient.zeta_s=0.1`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Cells at once; each runs on one thread unless cores are left over [default: the number of
    /// cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Folder for cells and reports
    #[arg(long, default_value = "runs")]
    out: PathBuf,
}

/// What a report was made of (`plan.json`), so that it can be made again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredPlan {
    pub(crate) title: String,
    pub(crate) info: RunInfo,
    pub(crate) figures: Vec<FigureSpec>,
    /// Figures about learned values.
    #[serde(default)]
    pub(crate) values: Vec<dvp::StoredFigure>,
    /// Figures made of runs.
    #[serde(default, alias = "pods")]
    pub(crate) runs: Vec<runs::StoredFigure>,
}

pub(crate) const PLAN_FILE: &str = "plan.json";

impl ReproduceArgs {
    /// Runs what is missing and writes the report.
    ///
    /// # Errors
    /// Unknown names, files that cannot be written; a cell that fails is named in the report and
    /// makes the command fail in the end.
    pub(crate) fn run(self) -> Result<()> {
        let started = SystemTime::now();
        let clock = Instant::now();
        let selection = Selection {
            names: self.names,
            profile: self.profile,
            tasks: self.task,
            methods: self.method,
            n_seeds: self.seeds,
            overrides: parse_assignments(&self.set)?,
        };
        let planned = selection.plan()?;
        let values = selection.plan_values()?;
        let runs = selection.plan_runs()?;
        let cells_dir = self.out.join("cells");
        let mut cells = BTreeMap::new();
        let curves = planned.iter().flat_map(|f| f.curves.iter().flat_map(|c| &c.cells));
        for config in curves.chain(runs.iter().flat_map(runs::Planned::cells)) {
            if selection.runs(config) {
                cells.insert(config.id()?, config.clone());
            }
        }
        // Seeds first, so that every curve grows evenly.
        let mut cells: Vec<_> = cells.into_values().collect();
        cells.sort_by_key(|config| config.seed);
        // A value that a task or method refuses is told before hours of other cells.
        for config in &cells {
            config.check(None)?;
        }
        let jobs = self.jobs.map_or_else(default_jobs, usize::from);
        let stop = interrupt::flag()?;
        let mut n_cells = cells.len();
        let mut failures = match cells.is_empty() {
            true => Vec::new(),
            false => run_cells(&cells_dir, &cells, jobs, stop)?,
        };
        if !values.is_empty() && !stop.load(Ordering::Relaxed) {
            let share = |n_cells| share_cores(n_cells, jobs, machine::n_cores());
            let (n, failed) = dvp::run_missing(&self.out, &values, share, stop)?;
            n_cells += n;
            failures.extend(failed);
        }

        let info = RunInfo {
            profile: selection.profile.name().to_owned(),
            command: std::env::args().skip(1).fold("cargo xtask".to_owned(), |a, b| a + " " + &b),
            started: utc(started),
            elapsed: duration(clock.elapsed().as_secs_f64()),
            ..machine::describe()
        };
        let plan = StoredPlan {
            title: format!("Costate: {}, {} profile", selection.slug(), selection.profile.name()),
            info,
            figures: plan::figure_specs(&planned, &selection, &cells_dir)?,
            values: values.iter().map(|figure| figure.stored(&self.out)).collect::<Result<_>>()?,
            runs: runs
                .iter()
                .map(|figure| figure.stored(&cells_dir, &selection.changes()))
                .collect::<Result<_>>()?,
        };
        let name = selection.folder_name();
        let paths = write_report(&self.out.join("reports").join(name), &plan)?;
        if stop.load(Ordering::Relaxed) {
            bail!(
                "stopped by the user; the same command goes on where it was. What is there so far: \
                 {}",
                paths.html.display()
            );
        }
        failures.extend(report::unreadable_cells(&plan.figures));
        failures.extend(dvp::unreadable(&plan.values));
        failures.extend(runs::unreadable(&plan.runs));
        for failure in &failures {
            tell(&format!("failed: {failure}"));
        }
        print(&format!("{}\n{}\n", paths.markdown.display(), paths.html.display()))?;
        if !failures.is_empty() {
            bail!("{} of {} cells cannot be used; the report names them", failures.len(), n_cells);
        }
        Ok(())
    }
}

/// One cell per core: on two cores, two cells on a thread each made 865 steps/s of SAC together (2×256),
/// one cell on two threads 686.
fn default_jobs() -> usize {
    machine::n_cores()
}

/// How many of `n_cells` cells run at once, and on how many threads each. Cells side by side make
/// more steps together than threads within a cell, so a cell gets a second thread only where cells
/// are to run one after another, or where there are fewer of them than cores.
fn share_cores(n_cells: usize, jobs: usize, n_cores: usize) -> (usize, usize) {
    let jobs = jobs.min(n_cells).max(1);
    let idle = jobs == 1 || n_cells < n_cores;
    (jobs, if idle { (n_cores / jobs).max(1) } else { 1 })
}

/// Writes the report of a plan, and the plan beside it.
pub(crate) fn write_report(dir: &Path, plan: &StoredPlan) -> Result<ReportPaths> {
    let sheets = [dvp::sheets(&plan.values), runs::sheets(&plan.runs)].concat();
    let paths = report::build(dir, &plan.title, &plan.info, &plan.figures, sheets)?;
    let text = serde_json::to_string_pretty(plan)?;
    write_file_atomic(&dir.join(PLAN_FILE), text.as_bytes())?;
    Ok(paths)
}

/// Runs the cells that are not whole, `jobs` at once; returns what failed, in words.
fn run_cells(
    root: &Path,
    cells: &[CellConfig],
    jobs: usize,
    stop: &'static AtomicBool,
) -> Result<Vec<String>> {
    std::fs::create_dir_all(root)
        .with_context(|| format!("cannot create the folder `{}`", root.display()))?;
    let total_steps = cells.iter().map(CellConfig::total_steps).sum();
    let display = Display::new(cells.len(), total_steps);
    let mut missing = Vec::new();
    for config in cells {
        if cell::folder(root, config)?.join(RESULT_FILE).exists() {
            // A kill may have come between the cell's last rename and this.
            discard_checkpoints(&cell::folder(root, config)?)?;
            display.found(config.total_steps());
        } else {
            missing.push(config);
        }
    }
    let (jobs, threads) = share_cores(missing.len(), jobs, machine::n_cores());
    display.line(&format!(
        "{} cells, {} of them to run, {jobs} at a time (Ctrl-C stops, the same command goes on)",
        cells.len(),
        missing.len()
    ));
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(config) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = config.id().unwrap_or_default();
                    let mut observer = display.cell(&name, config.total_steps());
                    let run = || cell::run(root, config, None, &mut observer, stop);
                    match with_threads(threads, run).flatten() {
                        Ok(CellOutcome::Done | CellOutcome::Found) => observer.done(),
                        Ok(CellOutcome::Interrupted(step)) => {
                            display.line(&format!("{name}: checkpointed at step {step}"));
                        }
                        Err(error) => {
                            let text = format!("{error:#}");
                            failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                        }
                    }
                }
            });
        }
    });
    display.finish();
    Ok(failures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A time as `2026-11-20 18:03 UTC`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count, with years that begin in March.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn cells_have_one_thread_each_unless_cores_are_left_over() {
        // (cells, --jobs, cores) → (cells at once, threads of each)
        for (given, expected) in [
            ((100, 8, 8), (8, 1)),
            ((100, 2, 8), (2, 1)),
            ((100, 1, 8), (1, 8)),
            ((3, 8, 8), (3, 2)),
            ((1, 8, 8), (1, 8)),
            ((5, 4, 8), (4, 2)),
            ((6, 16, 2), (6, 1)),
            ((0, 8, 8), (1, 8)),
        ] {
            let (n_cells, jobs, n_cores) = given;
            assert_eq!(share_cores(n_cells, jobs, n_cores), expected, "{given:?}");
        }
    }

    #[test]
    fn dates_of_known_days() {
        let at = |seconds| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 00:00 UTC");
        assert_eq!(at(951_827_696), "2000-02-29 12:34 UTC");
        assert_eq!(at(1_795_197_780), "2026-11-20 18:03 UTC");
    }
}
