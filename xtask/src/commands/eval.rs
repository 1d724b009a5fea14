//! `eval` and `play`: what a trained policy earns, and how it moves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use agents::{StoredPolicy, evaluate, evaluate_from, find_method, record_rollout};
use anyhow::{Context as _, Result, bail};
use bench_tasks::{BenchTask, Variant};
use critics::write_file_atomic;
use dynamics::{Stream, Task};
use nalgebra::DVector;
use serde_json::{Value, json};

use super::print;
use crate::cell::CellConfig;
use crate::progress::tell;
use crate::report::{mean_interval, rollout_html};
use crate::settings::variant_parser;

/// Arguments of `eval`.
#[derive(clap::Args)]
pub(crate) struct EvalArgs {
    /// Folder of a finished run
    run: PathBuf,
    /// Episodes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    episodes: u32,
    /// Seed of the starts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Start from the states in this JSON file, one episode from each: `[[…], …]`, or an object
    /// with such a list under `starts`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["episodes", "seed"])]
    starts: Option<PathBuf>,
    /// Evaluate on this model in the place of the one trained on
    #[arg(long, value_parser = variant_parser())]
    variant: Option<Variant>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    /// Evaluates the run's policy.
    ///
    /// # Errors
    /// A folder that is no finished run, a policy that does not fit the task.
    pub(crate) fn run(self) -> Result<()> {
        let run = StoredRun::open(&self.run, self.variant)?;
        let task = run.task.as_task();
        let stored = run.policy()?;
        let policy = &mut *stored.policy()?;
        let mut stream = Stream::new(self.seed, "eval command", 0);
        let evaluation = match &self.starts {
            None => evaluate(task, policy, self.episodes as usize, &mut stream)?,
            Some(file) => evaluate_from(task, policy, &read_starts(file, task)?, &stream)?,
        };
        let returns: Vec<f64> = evaluation.episodes.iter().map(|e| e.total_reward).collect();
        let (low, high) = mean_interval(&returns);
        let mean = evaluation.mean_return();
        let measures = task.measures().iter().zip(evaluation.mean_measures());
        let text = if self.json {
            let object = json!({
                "run": self.run,
                "episodes": returns.len(),
                "return_mean": mean,
                "return_interval_95": [low, high],
                "return_std": evaluation.return_deviation(),
                "length_mean": evaluation.mean_length(),
                "measures_mean": measures.collect::<BTreeMap<_, _>>(),
                "returns": returns,
            });
            format!("{object}\n")
        } else {
            let (worst, best) = evaluation.return_range();
            let measures: String =
                measures.map(|(name, mean)| format!("{name} {mean:.4} on average\n")).collect();
            format!(
                "return {mean:.2}, 95 % interval {low:.2} … {high:.2} over {} episodes\n\
                 deviation {:.2}, range {worst:.2} … {best:.2}, mean length {:.1} steps\n{measures}",
                returns.len(),
                evaluation.return_deviation(),
                evaluation.mean_length()
            )
        };
        Ok(print(&text)?)
    }
}

/// Reads the states from which the episodes of an evaluation start.
fn read_starts(file: &Path, task: &dyn Task) -> Result<Vec<DVector<f64>>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the starts in `{}`", file.display()))?;
    parse_starts(&text, task)
        .with_context(|| format!("`{}` cannot be used as a list of starts", file.display()))
}

fn parse_starts(text: &str, task: &dyn Task) -> Result<Vec<DVector<f64>>> {
    let value: Value = serde_json::from_str(text).context("it is no JSON")?;
    let list = match &value {
        Value::Object(object) => object.get("starts"),
        list => Some(list),
    };
    let Some(rows) = list.and_then(Value::as_array) else {
        bail!("it must be a list of states, or an object with one under `starts`");
    };
    if rows.is_empty() {
        bail!("the list is empty; it must have a state at least");
    }
    let names = task.state_names();
    let start = |(index, row): (usize, &Value)| {
        let numbers: Option<Vec<f64>> =
            row.as_array().and_then(|row| row.iter().map(Value::as_f64).collect());
        let Some(numbers) = numbers else {
            bail!("start {index} (counted from 0) is no list of numbers: {row}");
        };
        if numbers.len() != names.len() {
            bail!(
                "start {index} (counted from 0) has {} entries, task `{}` needs {}: {}",
                numbers.len(),
                task.name(),
                names.len(),
                names.join(", ")
            );
        }
        Ok(DVector::from_vec(numbers))
    };
    rows.iter().enumerate().map(start).collect()
}

/// Arguments of `play`.
#[derive(clap::Args)]
pub(crate) struct PlayArgs {
    /// Folder of a finished run
    run: PathBuf,
    /// Seed of the start
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Play on this model in the place of the one trained on
    #[arg(long, value_parser = variant_parser())]
    variant: Option<Variant>,
    /// Page to write [default: play.html in the run's folder]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl PlayArgs {
    /// Rolls the run's policy out and writes a page that animates it.
    ///
    /// # Errors
    /// A folder that is no finished run, a page that cannot be written.
    pub(crate) fn run(self) -> Result<()> {
        let run = StoredRun::open(&self.run, self.variant)?;
        let task = run.task.as_task();
        let stored = run.policy()?;
        let mut stream = Stream::new(self.seed, "play command", 0);
        let rollout = record_rollout(task, &mut *stored.policy()?, &mut stream)?;
        let page = self.out.unwrap_or_else(|| self.run.join("play.html"));
        let data = page.with_extension("json");
        write_file_atomic(&data, serde_json::to_string(&rollout)?.as_bytes())?;
        write_file_atomic(&page, rollout_html(&data)?.as_bytes())?;
        let total: f64 = rollout.rewards.iter().sum();
        tell(&format!("return {total:.2} in {} steps", rollout.rewards.len()));
        Ok(print(&format!("{}\n", page.display()))?)
    }
}

/// A finished run and its task.
struct StoredRun<'r> {
    folder: &'r Path,
    config: CellConfig,
    task: Box<dyn BenchTask>,
}

impl<'r> StoredRun<'r> {
    fn open(folder: &'r Path, variant: Option<Variant>) -> Result<Self> {
        let mut config = CellConfig::read(folder)?;
        config.variant = variant.unwrap_or(config.variant);
        Ok(Self { task: config.build_task()?, folder, config })
    }

    fn policy(&self) -> Result<StoredPolicy<'_>> {
        let method = find_method(&self.config.method_name)?;
        let path = self.folder.join("policy.safetensors");
        let run = self.folder.display();
        method.load_policy(self.task.as_task(), &self.config.method, &path).with_context(|| {
            match path.exists() {
                true => {
                    format!("the policy of `{run}` is damaged; delete the folder and run it again")
                }
                false => format!("`{run}` has no policy; is the run finished?"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bench_tasks::Preset;

    use super::*;

    #[test]
    fn starts_are_read_bare_or_by_name_and_refused_by_row() {
        let table = (bench_tasks::find("pendulum").unwrap().settings)(Preset::Released).unwrap();
        let task = (bench_tasks::find("pendulum").unwrap().build)(Variant::Real, &table).unwrap();
        let parse = |text| parse_starts(text, task.as_task());
        let expected = [DVector::from_vec(vec![0.5, -1.0]), DVector::from_vec(vec![2.0, 0.25])];
        for text in
            ["[[0.5, -1], [2, 0.25]]", r#"{"seed": 1, "starts": [[0.5, -1], [2, 0.25]], "n": []}"#]
        {
            assert_eq!(parse(text).unwrap(), expected);
        }
        for (text, part) in [
            ("[[1, 2]", "no JSON"),
            ("[[1, 1e999]]", "no JSON"),
            (r#"{"start": [[1, 2]]}"#, "an object with one under `starts`"),
            ("3", "must be a list of states"),
            ("[]", "the list is empty"),
            ("[[1, 2], 3]", "start 1 (counted from 0) is no list of numbers: 3"),
            ("[[1, null]]", "start 0 (counted from 0) is no list of numbers: [1,null]"),
            (
                "[[1, 2], [1, 2, 3]]",
                "start 1 (counted from 0) has 3 entries, task `pendulum` needs 2",
            ),
        ] {
            let message = format!("{:#}", parse(text).unwrap_err());
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
