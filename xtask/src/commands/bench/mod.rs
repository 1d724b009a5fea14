//! `bench`: how fast this machine learns, beside other libraries where they are installed.
//!
//! A row is a [`Case`] of the [`catalogue`]. All rows take their samples in turns, so that drifts of
//! the machine meet all alike; with peers, rounds of ours and runs of theirs alternate.
//! `docs/benchmarks.md` says what is measured and how.

mod case;
mod catalogue;
mod child;
mod flops;
mod networks;
mod optimal_control;
mod peer_process;
mod peers;
mod pinocchio;
mod planar;
mod plot;
mod results;
mod robots;
mod show;
mod springs;
mod stats;
mod steps;
mod values;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use case::{Case, Pools};
use catalogue::{Unavailable, select};
use child::Child;
use optimal_control::Problems;
use peers::Peers;
use results::{Measured, Results, Skipped};
use stats::Series;
use steps::Tasks;

use crate::machine;
use crate::progress::{duration, tell};
use crate::report::RunInfo;

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Measure the rows whose names begin so; all by default
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure PyTorch, JAX, Stable-Baselines3, SBX, Pinocchio, MuJoCo and Crocoddyl in turns with
    /// ours, as far as they are in this virtual environment (made by `bench/peers/setup.sh`); may be
    /// given many times, and the first one that has a peer is taken for it
    #[arg(long, value_name = "VENV")]
    peers: Vec<PathBuf>,
    /// Print one JSON object in the place of the table
    #[arg(long)]
    json: bool,
    /// Write a report in Markdown too, and a picture beside it where chains were measured
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where `ddp-horizons` or `pods-horizons` were measured, draw them to this file
    #[arg(long, value_name = "FILE")]
    horizons: Option<PathBuf>,
    /// Few and short samples, to see that everything runs; the numbers mean nothing
    #[arg(long)]
    quick: bool,
    /// What a process does that a measurement has started
    #[arg(long, hide = true)]
    child: Option<Child>,
}

/// How much is measured.
struct Effort {
    /// Seconds of a sample at least.
    sample: f64,
    /// Blocks of rounds, with the peers between them.
    blocks: usize,
    /// Rounds of a block that count; one more comes before them.
    rounds: usize,
}

impl Effort {
    fn new(quick: bool, with_peers: bool) -> Self {
        match (quick, with_peers) {
            (true, _) => Self { sample: 0.001, blocks: 1, rounds: 1 },
            (false, false) => Self { sample: 0.05, blocks: 1, rounds: 7 },
            (false, true) => Self { sample: 0.05, blocks: 3, rounds: 3 },
        }
    }
}

impl BenchArgs {
    /// Measures and prints.
    ///
    /// # Errors
    /// An unknown name, a folder that is no environment of the peers, a script that fails, a file
    /// that cannot be written.
    pub(crate) fn run(self) -> Result<()> {
        if let Some(child) = self.child {
            return child.run();
        }
        let clock = Instant::now();
        let selected = select(&self.names)?;
        let is_measured =
            |family: &&plot::Family| selected.iter().any(|row| row.name.starts_with(family.prefix));
        ensure!(
            self.horizons.is_none() || plot::FAMILIES.iter().filter(is_measured).count() == 1,
            "`--horizons` draws one picture of the rows {}: choose one of them",
            plot::FAMILIES.map(|family| format!("`{}…`", family.prefix)).join(" or ")
        );
        let mut peers = match &self.peers[..] {
            [] => None,
            folders => Some(Peers::open(folders)?),
        };
        if cfg!(debug_assertions) {
            tell("built for debugging: every number is too slow; use `cargo xtask bench`");
        }
        let cores = machine::n_cores();
        let pools = Pools::new([1, 2].into_iter().filter(|threads| *threads <= cores))?;
        let tasks = Tasks::build()?;
        let problems = Problems::new(&tasks)?;
        let robots = peers.as_ref().and_then(Peers::robots);
        let (mut measured, mut skipped): (Vec<Measured<'_>>, _) = (Vec::new(), Vec::new());
        for definition in &selected {
            for &threads in definition.threads {
                let case = match threads <= cores {
                    true => definition.case(threads, &tasks, &problems, robots.as_deref())?,
                    false => Err(Unavailable(format!("cores on this machine: {cores}"))),
                };
                let name = definition.name.clone();
                match case {
                    Ok(case) => measured.push((case, definition.what.clone(), Series::default())),
                    Err(Unavailable(reason)) => skipped.push(Skipped { name, threads, reason }),
                }
            }
        }
        measure(&mut measured, &pools, self.quick, peers.as_mut())?;
        let rows = results::rows(measured, peers.as_ref());
        let results = Results {
            machine: RunInfo {
                command: command(std::env::args().skip(1)),
                elapsed: duration(clock.elapsed().as_secs_f64()),
                ..machine::describe()
            },
            quick: self.quick,
            target_features: target_features(),
            missing_peers: peers.as_ref().map_or_else(Default::default, |p| p.missing.clone()),
            peer_versions: peers.as_ref().map_or_else(Default::default, |p| p.versions.clone()),
            growth: plot::growth(&rows).into_iter().collect(),
            rows,
            skipped,
        };
        self.show(&results)
    }

    fn show(&self, results: &Results) -> Result<()> {
        if let Some((path, picture)) = self.horizons.as_ref().zip(plot::horizons(&results.rows)) {
            create_parent(path)?;
            critics::write_file_atomic(path, picture.as_bytes())?;
            tell(&format!("picture: {}", path.display()));
        }
        if let Some(path) = &self.out {
            create_parent(path)?;
            let picture = plot::chains(&results.rows);
            let file = path.with_extension("svg");
            if let Some(picture) = &picture {
                critics::write_file_atomic(&file, picture.as_bytes())?;
                tell(&format!("picture: {}", file.display()));
            }
            let name = picture.and(file.file_name()).map(|name| name.to_string_lossy());
            critics::write_file_atomic(path, show::markdown(results, name.as_deref()).as_bytes())?;
            tell(&format!("report: {}", path.display()));
        }
        let text = match self.json {
            true => format!("{}\n", serde_json::to_string(results)?),
            false => show::terminal(results),
        };
        super::print(&text)?;
        Ok(())
    }
}

/// Creates the folder of a file.
fn create_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder `{}`", folder.display()))
}

/// What the compiler was allowed to use everywhere: the portable build has the least, one for this
/// machine alone (`-C target-cpu=native`) more.
fn target_features() -> String {
    let known = [
        ("sse2", cfg!(target_feature = "sse2")),
        ("avx", cfg!(target_feature = "avx")),
        ("avx2", cfg!(target_feature = "avx2")),
        ("fma", cfg!(target_feature = "fma")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("neon", cfg!(target_feature = "neon")),
    ];
    let enabled: Vec<&str> = known.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    enabled.join(" ")
}

/// Takes the samples of all rows in turns.
fn measure(
    measured: &mut [Measured<'_>],
    pools: &Pools,
    quick: bool,
    mut peers: Option<&mut Peers>,
) -> Result<()> {
    let Effort { sample, blocks, rounds } = Effort::new(quick, peers.is_some());
    let failed = |case: &Case<'_>| format!("`{}` on {} threads failed", case.name, case.threads);
    if let Some(peers) = &peers {
        let names: Vec<&str> = measured.iter().map(|(case, ..)| case.name.as_str()).collect();
        peers.prepare(&names)?;
    }
    for (case, ..) in &mut *measured {
        case.prepare(pools, sample).with_context(|| failed(case))?;
    }
    for block in 1..=blocks {
        measured.iter_mut().for_each(|(.., series)| series.begin_block());
        // The first round fills caches and is not counted.
        for round in 0..=rounds {
            tell(&format!("block {block} of {blocks}, round {round} of {rounds}"));
            for (case, _, series) in &mut *measured {
                let value = case.sample(pools).with_context(|| failed(case))?;
                if round > 0 {
                    series.push(value);
                }
            }
        }
        if let Some(peers) = &mut peers {
            let rows: Vec<(String, usize)> =
                measured.iter().map(|(case, ..)| (case.name.clone(), case.threads)).collect();
            peers.measure(&rows, quick)?;
        }
    }
    Ok(())
}

/// The command as it is told in reports: a folder of one machine means nothing on another.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut text = "cargo xtask".to_owned();
    let mut is_folder = false;
    for argument in arguments {
        text += " ";
        text += if is_folder { "VENV" } else { &argument };
        is_folder = argument == "--peers";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_command_names_no_folder_of_this_machine() {
        let arguments =
            ["bench", "sac", "--peers", "/home/me/a", "--peers", "/home/me/b", "--json"];
        assert_eq!(
            command(arguments.map(String::from).into_iter()),
            "cargo xtask bench sac --peers VENV --peers VENV --json"
        );
    }
}
