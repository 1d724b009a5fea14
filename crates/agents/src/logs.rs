//! The files that a run writes while it learns: `curve.csv`, `timing.csv` and TensorBoard events.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::csv_log::CsvLog;
use crate::tensorboard::EventWriter;

/// One evaluation: a row of `curve.csv`, which holds no times.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveRow {
    /// Environment steps so far.
    pub env_steps: u64,
    /// Episodes so far.
    pub episodes: u64,
    /// Updates so far.
    pub updates: u64,
    /// Mean undiscounted return of the evaluation.
    pub return_mean: f64,
    /// Standard deviation of the returns over the evaluation's episodes.
    pub return_std: f64,
    /// Smallest return.
    pub return_min: f64,
    /// Largest return.
    pub return_max: f64,
    /// Mean length of the evaluation's episodes.
    pub length_mean: f64,
    /// The task's measures and the method's own diagnostics.
    pub metrics: Vec<f64>,
}

const CURVE_COLUMNS: [&str; 8] = [
    "env_steps",
    "episodes",
    "updates",
    "return_mean",
    "return_std",
    "return_min",
    "return_max",
    "length_mean",
];
const TIMING_COLUMNS: [&str; 4] = ["env_steps", "updates", "train_seconds", "total_seconds"];
const CURVE_FILE: &str = "curve.csv";
const TIMING_FILE: &str = "timing.csv";
const EVENT_FILE: &str = "events.out.tfevents.0.costate";

/// Wall-clock time of a run, over all its parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Time spent learning (s).
    pub train_seconds: f64,
    /// Time spent learning, evaluating and writing (s).
    pub total_seconds: f64,
}

/// Lengths of the log files at a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMarks {
    curve: u64,
    timing: u64,
    events: u64,
}

/// The open log files of a run.
pub struct RunLogs {
    /// Where TensorBoard shows the columns behind those of every task and method.
    tags: Vec<String>,
    curve: CsvLog,
    timing: CsvLog,
    events: EventWriter,
}

impl RunLogs {
    /// Opens the files in `dir`: anew, or as they were at a checkpoint. Rows have the task's `measures`,
    /// then the method's `metrics`.
    ///
    /// # Errors
    /// What the file system reports, and files that are not those of the checkpoint.
    pub fn open(
        dir: &Path,
        measures: &[&'static str],
        metrics: &[&'static str],
        marks: Option<LogMarks>,
    ) -> Result<Self, LearnError> {
        let columns = [&CURVE_COLUMNS, measures, metrics].concat();
        let tags = measures.iter().map(|name| format!("evaluation/{name}"));
        let tags = tags.chain(metrics.iter().map(|name| format!("train/{name}"))).collect();
        let [curve, timing, events] = [CURVE_FILE, TIMING_FILE, EVENT_FILE].map(|f| dir.join(f));
        Ok(match marks {
            None => Self {
                tags,
                curve: CsvLog::create(&curve, &columns)?,
                timing: CsvLog::create(&timing, &TIMING_COLUMNS)?,
                events: EventWriter::create(&events)?,
            },
            Some(marks) => Self {
                tags,
                curve: CsvLog::resume(&curve, &columns, marks.curve)?,
                timing: CsvLog::resume(&timing, &TIMING_COLUMNS, marks.timing)?,
                events: EventWriter::resume(&events, marks.events)?,
            },
        })
    }

    /// Appends an evaluation to all files.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn append(&mut self, row: &CurveRow, timing: &Timing) -> Result<(), LearnError> {
        let (env_steps, updates) = (row.env_steps as f64, row.updates as f64);
        let mut values = vec![
            env_steps,
            row.episodes as f64,
            updates,
            row.return_mean,
            row.return_std,
            row.return_min,
            row.return_max,
            row.length_mean,
        ];
        values.extend(&row.metrics);
        self.curve.append(&values)?;
        self.timing.append(&[env_steps, updates, timing.train_seconds, timing.total_seconds])?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        let evaluation =
            [("evaluation/return", row.return_mean), ("evaluation/length", row.length_mean)];
        let others = self.tags.iter().map(String::as_str).zip(row.metrics.iter().copied());
        for (tag, value) in evaluation.into_iter().chain(others) {
            #[expect(clippy::cast_possible_truncation, reason = "the format has single precision")]
            let value = value as f32;
            self.events.scalar(tag, row.env_steps, value, now)?;
        }
        Ok(self.events.flush()?)
    }

    /// Waits until everything is on disk and says how long the files are.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn marks(&mut self) -> Result<LogMarks, LearnError> {
        self.curve.sync()?;
        self.timing.sync()?;
        self.events.flush()?;
        Ok(LogMarks {
            curve: self.curve.len_bytes(),
            timing: self.timing.len_bytes(),
            events: self.events.len_bytes(),
        })
    }
}
