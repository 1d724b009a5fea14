//! The results of a figure's cells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agents::RESULT_FILE;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cell::{Cell, Experiment, TIMING_FILE, Timing, read_json};
use super::truth::TruthData;
use crate::cell::with_suffix;
use crate::figure::UNREADABLE;
use crate::report::{FinishedCell, Problem};

/// Everything a figure's cells have left.
pub(crate) struct Found {
    cells: Vec<(Cell, serde_json::Value, Timing)>,
    /// Whole cells.
    pub(super) finished: Vec<FinishedCell>,
    /// Cells that cannot be used.
    pub(super) problems: Vec<Problem>,
}

impl Found {
    /// Reads the cells in these folders.
    pub(super) fn read(folders: &[PathBuf]) -> Self {
        let mut found = Self { cells: Vec::new(), finished: Vec::new(), problems: Vec::new() };
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut problem = |kind: &str, detail: String| {
                let (cell, kind) = (name.clone(), kind.to_owned());
                found.problems.push(Problem { cell, kind, detail });
            };
            if !folder.join(RESULT_FILE).exists() {
                match failure(folder) {
                    Some(error) => problem("failed", error),
                    None => problem("missing", "not run yet".to_owned()),
                }
                continue;
            }
            match read(folder) {
                Ok((cell, result, timing)) => {
                    let (seed, seconds) = (cell.seed, timing.seconds);
                    found.finished.push(FinishedCell { name, seed, seconds });
                    found.cells.push((cell, result, timing));
                }
                Err(error) => {
                    let hint = "delete the folder to run the cell again";
                    problem(UNREADABLE, format!("{error:#}; {hint}"));
                }
            }
        }
        found
    }

    /// The results that `key` wants, by its key, seeds in order.
    ///
    /// # Errors
    /// A result that holds something else.
    pub(super) fn by<K: Ord, R: DeserializeOwned>(
        &self,
        key: impl Fn(&Cell) -> Option<K>,
    ) -> Result<BTreeMap<K, Vec<R>>> {
        let mut found: BTreeMap<K, Vec<(u64, R)>> = BTreeMap::new();
        for (cell, result, _) in &self.cells {
            if let Some(key) = key(cell) {
                let result = R::deserialize(result)?;
                found.entry(key).or_default().push((cell.seed, result));
            }
        }
        let sorted = found.into_iter().map(|(key, mut results)| {
            results.sort_by_key(|(seed, _)| *seed);
            (key, results.into_iter().map(|(_, result)| result).collect())
        });
        Ok(sorted.collect())
    }

    /// Times of the cells that do more than learn.
    pub(super) fn timings(&self) -> impl Iterator<Item = &Timing> {
        self.cells.iter().map(|(_, _, timing)| timing)
    }

    /// The ground truth.
    ///
    /// # Errors
    /// It is missing, or holds something else.
    pub(super) fn truth(&self) -> Result<TruthData> {
        let found = self.by(|cell| match cell.experiment {
            Experiment::Truth(_) => Some(()),
            _ => None,
        })?;
        found.into_values().flatten().next().context("the ground truth is missing")
    }
}

fn read(folder: &Path) -> Result<(Cell, serde_json::Value, Timing)> {
    // Times are no part of the result: a cell without them is whole.
    let timing = read_json(&folder.join(TIMING_FILE)).unwrap_or_default();
    Ok((Cell::read(folder)?, super::cell::load(folder)?, timing))
}

/// What `<id>.failed/error.json` says, if there is one.
fn failure(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Failure {
        error: String,
    }
    let file = with_suffix(folder, ".failed").join("error.json");
    read_json::<Failure>(&file).ok().map(|failure| failure.error)
}
