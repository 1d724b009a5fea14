//! `study`: experiments about solvers. What they write depends on the seed alone: no times, no names
//! of machines.

mod hard_starts;
mod problem;
mod rates;
mod show;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use critics::write_file_atomic;
use serde::Serialize;

use self::hard_starts::HardStarts;
use self::rates::Rates;
use crate::progress::tell;

/// Arguments of `study`.
#[derive(Args)]
pub(crate) struct StudyArgs {
    /// What is studied
    #[arg(value_name = "NAME")]
    study: Study,
    /// Folder into whose `results/NAME` tables and numbers go, and into whose `images` the pictures
    #[arg(long, value_name = "DIR", default_value = "docs")]
    out: PathBuf,
    /// Random starts of each problem
    #[arg(long, value_name = "N", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    starts: u32,
    /// Seed of the random starts
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What can be studied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Study {
    /// Rates of convergence of the methods of `ddp`, and solves from hard starts
    Ddp,
}

/// Names of the studies and one line about each.
pub(super) const STUDIES: [(&str, &str); 1] = [(
    "ddp",
    "how fast iLQR, FDDP and DDP converge near an optimum, and from how many hard starts",
)];

/// Everything that is found.
#[derive(Serialize)]
struct Findings {
    seed: u64,
    starts: u32,
    /// Largest expected improvement of a solve that counts as converged.
    stop: f64,
    max_iterations: usize,
    rates: Vec<Rates>,
    hard_starts: Vec<HardStarts>,
}

impl StudyArgs {
    /// Solves, writes tables, numbers and pictures, and prints the table.
    ///
    /// # Errors
    /// A solve without an answer, a file that cannot be written.
    pub(crate) fn run(self) -> Result<()> {
        let Study::Ddp = self.study;
        let settings = hard_starts::settings();
        let findings = Findings {
            seed: self.seed,
            starts: self.starts,
            stop: settings.stop,
            max_iterations: settings.max_iterations,
            rates: rates::study()?,
            hard_starts: hard_starts::study(self.starts, self.seed)?,
        };
        let (results, images) = (self.out.join("results/ddp"), self.out.join("images"));
        for folder in [&results, &images] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder `{}`", folder.display()))?;
        }
        for (path, text) in [
            (results.join("study.json"), show::json(&findings)?),
            (results.join("README.md"), show::markdown(&findings)),
            (images.join("ddp-rates.svg"), show::rates_picture(&findings)),
            (images.join("ddp-hard-starts.svg"), show::hard_starts_picture(&findings)),
        ] {
            write_file_atomic(&path, text.as_bytes())?;
            tell(&format!("written: {}", path.display()));
        }
        super::print(&show::terminal(&findings))?;
        Ok(())
    }
}
