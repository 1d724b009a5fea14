//! `learn-from`: one step of a tracking policy along logs of the plant.

use std::fs;
use std::path::{Path, PathBuf};

use agents::tracking::{Recording, TrackingSettings};
use agents::{LearnError, Learner as _, TrackingLearner, from_table, load_networks};
use anyhow::{Context as _, Result, bail};
use critics::Tensors;
use serde_json::json;

use super::print;
use crate::cell::CellConfig;
use crate::progress::tell;

/// Arguments of `learn-from`.
#[derive(clap::Args)]
pub(crate) struct LearnFromArgs {
    /// Folder of a finished run of `tracking` or `tracking-cut`, which gives task and settings
    run: PathBuf,
    /// A log of the plant under the policy: JSON with the states `xs`, one more than the actions `us`;
    /// repeated, the mean of the gradients is taken
    #[arg(long = "log", value_name = "FILE", required = true)]
    logs: Vec<PathBuf>,
    /// The policy that made the logs [default: that of the run]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where the next policy goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Step along the gradient [default: that of the run]
    #[arg(long)]
    learning_rate: Option<f64>,
}

impl LearnFromArgs {
    /// Reads the logs, takes the step, and writes the policy; prints what it found as JSON.
    ///
    /// # Errors
    /// A folder that is no such run, logs or policies that do not fit the task.
    pub(crate) fn run(self) -> Result<()> {
        let config = CellConfig::read(&self.run)?;
        if !config.method_name.starts_with("tracking") {
            bail!(
                "`{}` is a run of `{}`; only `tracking` and `tracking-cut` learn from logs",
                self.run.display(),
                config.method_name
            );
        }
        let task = config.build_task()?;
        let task = task.as_task();
        let mut settings: TrackingSettings = from_table("method", &config.method)?;
        settings.learning_rate = self.learning_rate.unwrap_or(settings.learning_rate);
        let mut learner = TrackingLearner::new(task, &settings, config.seed)?;
        let networks = match &self.policy {
            None => load_networks(&self.run)?,
            Some(path) => read(path)?,
        };
        learner.start_from(&networks)?;
        let recordings = self.logs.iter().map(|log| Recording::read(task, log));
        learner.learn_from(&recordings.collect::<Result<Vec<_>, LearnError>>()?)?;
        let metrics = learner.take_metrics();
        let [total_reward, norm, _, mismatch] = metrics[..] else { bail!("four metrics") };
        if total_reward == 0.0 && norm == 0.0 {
            bail!(
                "no reward of these logs counts: they are not longer than the task lets the robot settle \
                 (`settle_segments`)"
            );
        }
        if mismatch > MISMATCH {
            tell(&format!(
                "the logs' actions differ from the policy's by up to {mismatch:.3}: another policy made them, or time \
                 and units of the log are not the task's"
            ));
        }
        learner.save_policy(&self.out)?;
        let names = learner.metric_names().iter().map(|name| (*name).to_owned());
        let object = json!({
            "policy": self.out,
            "logs": self.logs.len(),
            "metrics": names.zip(metrics).collect::<std::collections::BTreeMap<_, _>>(),
        });
        Ok(print(&format!("{object}\n"))?)
    }
}

/// Difference of actions from which on a log is not the policy's own (of rounded logs it is about 1e-3).
const MISMATCH: f64 = 0.02;

fn read(path: &Path) -> Result<Tensors> {
    let bytes =
        fs::read(path).with_context(|| format!("cannot read the policy `{}`", path.display()))?;
    Ok(Tensors::from_bytes(path, &bytes)?)
}
