//! Loading one cell's folder. Whatever is wrong with it becomes a [`CellState`], never an error:
//! a report names the cells it could not use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What was found where a cell was expected.
#[derive(Clone, Debug)]
pub(crate) enum CellState {
    /// All files are there and consistent.
    Complete(Box<Cell>),
    /// No folder.
    Missing,
    /// The run stopped with an error.
    Failed(String),
    /// The folder exists but cannot be used.
    Corrupt(String),
}

/// A complete cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// Folder it was read from.
    pub(crate) folder: PathBuf,
    /// Seed of the run.
    pub(crate) seed: u64,
    /// Every other setting, flattened to `table.key = value`.
    pub(crate) settings: BTreeMap<String, String>,
    /// Evaluations over training.
    pub(crate) curve: Curve,
    /// The other columns of `curve.csv` by name; not a number where nothing was measured.
    pub(crate) metrics: BTreeMap<String, Vec<f64>>,
    /// Seconds at each evaluation, where the times are readable.
    pub(crate) timing: Option<Timing>,
    /// What is odd but does not make the cell unusable.
    pub(crate) warnings: Vec<String>,
}

/// The columns of `curve.csv` that the report uses, one entry per evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// Environment steps at the evaluation.
    pub(crate) env_steps: Vec<f64>,
    /// Episodes finished.
    pub(crate) episodes: Vec<f64>,
    /// Network updates made.
    pub(crate) updates: Vec<f64>,
    /// Mean undiscounted return of the evaluation's episodes.
    pub(crate) returns: Vec<f64>,
}

/// The columns of `timing.csv`, row by row beside the curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// Seconds of training, evaluations excluded.
    pub(crate) train_seconds: Vec<f64>,
    /// Seconds since the start of the run, everything included.
    pub(crate) total_seconds: Vec<f64>,
}

#[derive(Deserialize)]
struct ResultFile {
    status: String,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
    env_steps: Option<u64>,
}

/// Reads the cell expected at `folder`.
pub(crate) fn load(folder: &Path) -> CellState {
    if folder.is_dir() {
        return match load_complete(folder) {
            Ok(cell) => CellState::Complete(Box::new(cell)),
            Err(why) => CellState::Corrupt(why),
        };
    }
    let mut failed = folder.as_os_str().to_owned();
    failed.push(".failed");
    let failed = PathBuf::from(failed);
    if !failed.is_dir() {
        return CellState::Missing;
    }
    let text = std::fs::read_to_string(failed.join("error.json")).unwrap_or_default();
    CellState::Failed(match serde_json::from_str::<Failure>(&text) {
        Ok(Failure { error, env_steps: Some(n) }) => format!("{error} (at environment step {n})"),
        Ok(Failure { error, env_steps: None }) => error,
        Err(_) => "the run failed and left no readable `error.json`".to_owned(),
    })
}

fn load_complete(folder: &Path) -> Result<Cell, String> {
    let config: toml::Table = read(folder, "config.toml")?
        .parse()
        .map_err(|e: toml::de::Error| one_line("config.toml", e.message()))?;
    let seed = config.get("seed").and_then(toml::Value::as_integer);
    let seed = seed.and_then(|s| u64::try_from(s).ok());
    let seed = seed.ok_or("`config.toml` has no `seed` that is a whole number")?;
    let result: ResultFile = serde_json::from_str(&read(folder, "result.json")?)
        .map_err(|e| one_line("result.json", e))?;
    if result.status != "complete" {
        return Err(format!("`result.json` has status `{}`, not `complete`", result.status));
    }
    let names = ["env_steps", "episodes", "updates", "return_mean"];
    let mut columns = columns(folder, "curve.csv", &names)?.into_iter();
    let mut next = || columns.next().unwrap_or_default();
    let curve = Curve { env_steps: next(), episodes: next(), updates: next(), returns: next() };
    if curve.returns.is_empty() {
        return Err("`curve.csv` has no evaluation".to_owned());
    }
    if !curve.env_steps.is_sorted() {
        return Err("`curve.csv`: `env_steps` decrease from one row to the next".to_owned());
    }
    let metrics = load_metrics(folder, &names)?;
    let mut warnings = Vec::new();
    let timing = load_timing(folder, curve.returns.len()).map_err(|e| warnings.push(e)).ok();
    let mut settings = BTreeMap::new();
    for (key, value) in &config {
        // The schema names the file; seeds are what a group may differ in.
        if !["schema", "seed"].contains(&key.as_str()) {
            flatten(key, value, &mut settings);
        }
    }
    Ok(Cell { folder: folder.to_owned(), seed, settings, curve, metrics, timing, warnings })
}

/// The columns of `curve.csv` but those of these names.
fn load_metrics(folder: &Path, but: &[&str]) -> Result<BTreeMap<String, Vec<f64>>, String> {
    let text = read(folder, "curve.csv")?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| one_line("curve.csv", e))?.clone();
    let mut columns = vec![Vec::new(); header.len()];
    for record in reader.records() {
        let record = record.map_err(|e| one_line("curve.csv", e))?;
        for (column, field) in columns.iter_mut().zip(&record) {
            column.push(field.trim().parse().unwrap_or(f64::NAN));
        }
    }
    let named = header.iter().map(|name| name.trim().to_owned()).zip(columns);
    Ok(named.filter(|(name, _)| !but.contains(&name.as_str())).collect())
}

fn load_timing(folder: &Path, rows: usize) -> Result<Timing, String> {
    let mut columns = columns(folder, "timing.csv", &["train_seconds", "total_seconds"])?;
    let total_seconds = columns.pop().unwrap_or_default();
    let train_seconds = columns.pop().unwrap_or_default();
    if train_seconds.len() != rows {
        let found = train_seconds.len();
        return Err(format!("`timing.csv` has {found} rows, `curve.csv` has {rows}"));
    }
    if !train_seconds.is_sorted() {
        return Err("`timing.csv`: `train_seconds` decrease from one row to the next".to_owned());
    }
    Ok(Timing { train_seconds, total_seconds })
}

fn read(folder: &Path, name: &str) -> Result<String, String> {
    std::fs::read_to_string(folder.join(name)).map_err(|e| format!("`{name}`: {e}"))
}

/// A parser's message often spans lines and shows the source; the first line says it.
fn one_line(name: &str, error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    format!("`{name}`: {}", text.lines().next().unwrap_or("unreadable"))
}

/// Named columns of a CSV file as finite numbers.
fn columns(folder: &Path, name: &str, wanted: &[&str]) -> Result<Vec<Vec<f64>>, String> {
    let text = read(folder, name)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| one_line(name, e))?.clone();
    let mut places = Vec::new();
    for column in wanted {
        let place = header.iter().position(|h| h.trim() == *column);
        places.push(place.ok_or_else(|| format!("`{name}` has no column `{column}`"))?);
    }
    let mut out = vec![Vec::new(); wanted.len()];
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| one_line(name, e))?;
        for ((&place, column), values) in places.iter().zip(wanted).zip(&mut out) {
            let field = record.get(place).unwrap_or("");
            let value = field.trim().parse::<f64>().ok().filter(|v| v.is_finite());
            values.push(value.ok_or_else(|| {
                format!("`{name}`, row {}: `{column}` is `{field}`, not a finite number", row + 1)
            })?);
        }
    }
    Ok(out)
}

fn flatten(key: &str, value: &toml::Value, out: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                flatten(&format!("{key}.{name}"), value, out);
            }
        }
        toml::Value::String(text) => {
            out.insert(key.to_owned(), text.clone());
        }
        other => {
            out.insert(key.to_owned(), other.to_string());
        }
    }
}

/// Writes cells for the tests of this module's neighbours.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use std::fmt::Write as _;

    /// A cell with `returns` evaluated every 1,000 steps and 10 seconds.
    pub(crate) fn write(root: &Path, id: &str, seed: u64, returns: &[f64]) -> PathBuf {
        let folder = root.join(id);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "schema = 1\ntask = \"cartpole\"\npreset = \"released\"\n\
             variant = \"real\"\nmethod = \"sac\"\nseed = {seed}\n\
             [method_settings]\nhidden = [64, 64]\n[train]\nenv_steps = 20000\n"
        );
        std::fs::write(folder.join("config.toml"), config).unwrap();
        let mut curve = "env_steps,episodes,updates,return_mean,return_std\n".to_owned();
        let mut timing = "env_steps,updates,train_seconds,total_seconds\n".to_owned();
        for (i, value) in returns.iter().enumerate() {
            let n = i + 1;
            writeln!(curve, "{},{n},{},{value},1.0", n * 1_000, n * 900).unwrap();
            writeln!(timing, "{},{},{},{}", n * 1_000, n * 900, n * 10, n * 12).unwrap();
        }
        std::fs::write(folder.join("curve.csv"), curve).unwrap();
        std::fs::write(folder.join("timing.csv"), timing).unwrap();
        std::fs::write(folder.join("result.json"), r#"{"status":"complete"}"#).unwrap();
        folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrupt(folder: &Path) -> String {
        match load(folder) {
            CellState::Corrupt(why) => why,
            other => panic!("expected a corrupt cell, found {other:?}"),
        }
    }

    #[test]
    fn a_complete_cell_gives_its_curve_times_and_settings() {
        let root = tempfile::tempdir().unwrap();
        let folder = fixture::write(root.path(), "a", 7, &[1.0, 2.0]);
        let CellState::Complete(cell) = load(&folder) else { panic!("not complete") };
        assert_eq!(cell.seed, 7);
        assert_eq!(cell.settings["task"], "cartpole");
        assert_eq!(cell.curve.env_steps, [1_000.0, 2_000.0]);
        assert_eq!(cell.curve.returns, [1.0, 2.0]);
        assert_eq!(cell.timing.unwrap().total_seconds, [12.0, 24.0]);
        assert_eq!(cell.settings["method_settings.hidden"], "[64, 64]");
        assert_eq!(cell.settings["train.env_steps"], "20000");
        assert!(!cell.settings.contains_key("seed") && !cell.settings.contains_key("label"));
    }

    #[test]
    fn missing_and_failed_cells_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("b");
        assert!(matches!(load(&folder), CellState::Missing));
        let failed = root.path().join("b.failed");
        std::fs::create_dir(&failed).unwrap();
        assert!(matches!(load(&folder), CellState::Failed(why) if why.contains("no readable")));
        std::fs::write(failed.join("error.json"), r#"{"error":"loss is NaN","env_steps":420}"#)
            .unwrap();
        assert!(matches!(load(&folder), CellState::Failed(why)
            if why == "loss is NaN (at environment step 420)"));
    }

    #[test]
    fn corrupt_cells_name_file_row_and_column() {
        let root = tempfile::tempdir().unwrap();
        let folder = fixture::write(root.path(), "c", 1, &[1.0, f64::NAN]);
        assert_eq!(
            corrupt(&folder),
            "`curve.csv`, row 2: `return_mean` is `NaN`, not a finite number"
        );
        std::fs::write(folder.join("curve.csv"), "env_steps,episodes,updates\n").unwrap();
        assert_eq!(corrupt(&folder), "`curve.csv` has no column `return_mean`");
        std::fs::write(folder.join("result.json"), r#"{"status":"running"}"#).unwrap();
        assert!(corrupt(&folder).contains("status `running`"));
        std::fs::write(folder.join("config.toml"), "task = [").unwrap();
        assert!(corrupt(&folder).starts_with("`config.toml`: "));
        let empty = fixture::write(root.path(), "d", 1, &[]);
        assert_eq!(corrupt(&empty), "`curve.csv` has no evaluation");
    }

    #[test]
    fn a_cell_without_times_is_usable_and_says_so() {
        let root = tempfile::tempdir().unwrap();
        let folder = fixture::write(root.path(), "e", 1, &[1.0, 2.0]);
        std::fs::write(folder.join("timing.csv"), "train_seconds,total_seconds\n1,2\n").unwrap();
        let CellState::Complete(cell) = load(&folder) else { panic!("not complete") };
        assert_eq!(cell.timing, None);
        assert_eq!(cell.warnings, ["`timing.csv` has 1 rows, `curve.csv` has 2"]);
    }
}
