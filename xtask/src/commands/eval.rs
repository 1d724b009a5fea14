//! `eval` and `play`: what a trained policy earns, and how it moves.

use std::path::{Path, PathBuf};

use agents::{Actor, MeanPolicy, evaluate, load_policy, record_rollout};
use anyhow::{Context as _, Result};
use bench_tasks::{BenchTask, Variant};
use critics::write_file_atomic;
use dynamics::Stream;
use serde_json::json;

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
        let mut policy = MeanPolicy::new(task, run.actor)?;
        let mut stream = Stream::new(self.seed, "eval command", 0);
        let evaluation = evaluate(task, &mut policy, self.episodes as usize, &mut stream)?;
        let returns: Vec<f64> = evaluation.episodes.iter().map(|e| e.total_reward).collect();
        let (low, high) = mean_interval(&returns);
        let mean = evaluation.mean_return();
        let text = if self.json {
            let object = json!({
                "run": self.run,
                "episodes": self.episodes,
                "return_mean": mean,
                "return_interval_95": [low, high],
                "return_std": evaluation.return_deviation(),
                "length_mean": evaluation.mean_length(),
            });
            format!("{object}\n")
        } else {
            let (worst, best) = evaluation.return_range();
            format!(
                "return {mean:.2}, 95 % interval {low:.2} … {high:.2} over {} episodes\n\
                 deviation {:.2}, range {worst:.2} … {best:.2}, mean length {:.1} steps\n",
                self.episodes,
                evaluation.return_deviation(),
                evaluation.mean_length()
            )
        };
        Ok(print(&text)?)
    }
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
        let mut policy = MeanPolicy::new(task, run.actor)?;
        let mut stream = Stream::new(self.seed, "play command", 0);
        let rollout = record_rollout(task, &mut policy, &mut stream)?;
        let page = self.out.unwrap_or_else(|| self.run.join("play.html"));
        let data = page.with_extension("json");
        write_file_atomic(&data, serde_json::to_string(&rollout)?.as_bytes())?;
        write_file_atomic(&page, rollout_html(&data)?.as_bytes())?;
        let total: f64 = rollout.rewards.iter().sum();
        tell(&format!("return {total:.2} in {} steps", rollout.rewards.len()));
        Ok(print(&format!("{}\n", page.display()))?)
    }
}

/// A finished run: its task and its policy.
struct StoredRun {
    task: Box<dyn BenchTask>,
    actor: Actor,
}

impl StoredRun {
    fn open(run: &Path, variant: Option<Variant>) -> Result<Self> {
        let mut config = CellConfig::read(run)?;
        config.variant = variant.unwrap_or(config.variant);
        let path = run.join("policy.safetensors");
        let actor = load_policy(&path).with_context(|| match path.exists() {
            true => format!(
                "the policy of `{}` is damaged; delete the folder and run it again",
                run.display()
            ),
            false => format!("`{}` has no policy; is the run finished?", run.display()),
        })?;
        Ok(Self { task: config.build_task()?, actor })
    }
}
