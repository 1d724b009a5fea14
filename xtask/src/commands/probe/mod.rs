//! `probe`: one transition of a task, a roll-out, or the dynamics of a robot, as JSON, so that any
//! outside tool can check us.

mod batch;
mod robot;
mod rollout;
mod task;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bench_tasks::{BenchTask, Preset, Variant};
use clap::{ArgGroup, Args, ValueEnum};
use nalgebra::DMatrix;
use serde::Serialize;

use self::robot::RobotArgs;
use self::task::{TaskProber, TaskRequest};
use crate::settings::{
    Split, apply_overrides, parse_assignments, preset_parser, split_by_prefix, variant_parser,
};

/// Arguments of `probe`.
#[derive(Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["task", "robot"]))]
// A robot has a point by default.
#[command(
    group = ArgGroup::new("point")
        .required(true)
        .multiple(true)
        .args(["state", "batch", "rollout", "robot"])
)]
pub(crate) struct ProbeArgs {
    /// Name of the task
    task: Option<String>,
    /// Which model makes the transition
    #[arg(
        long,
        default_value = "real",
        value_parser = variant_parser(),
        conflicts_with = "robot"
    )]
    variant: Variant,
    /// Which description of the task
    #[arg(
        long,
        default_value = "released",
        value_parser = preset_parser(),
        conflicts_with = "robot"
    )]
    preset: Preset,
    /// State, its entries separated by commas
    #[arg(
        long,
        value_name = "A,B,…",
        allow_hyphen_values = true,
        requires = "action",
        conflicts_with_all = ["batch", "rollout", "robot"]
    )]
    state: Option<String>,
    /// Action, its entries separated by commas
    #[arg(
        long,
        value_name = "A,B,…",
        allow_hyphen_values = true,
        requires = "state",
        conflicts_with_all = ["batch", "rollout", "robot"]
    )]
    action: Option<String>,
    /// Change a setting of the task; may be given many times
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "robot")]
    set: Vec<String>,
    /// Whose Jacobian to print and to take the reward's derivative through
    #[arg(long, value_enum, default_value_t = Derivatives::Own)]
    #[arg(conflicts_with_all = ["rollout", "robot"])]
    derivatives: Derivatives,
    /// Answer each line {"state": […], "action": […]} of a file (`-`: standard input) with one line;
    /// of a robot, {"q": […], "v": […], "tau": […], "a": […]}
    #[arg(long, value_name = "FILE")]
    batch: Option<String>,
    /// Take {"state": […], "actions": [[…], …]} from a file (`-`: standard input) and print all
    /// states, rewards and the first action that ends the episode
    #[arg(long, value_name = "FILE", conflicts_with_all = ["batch", "robot"])]
    rollout: Option<String>,
    #[command(flatten)]
    robot: RobotArgs,
}

/// Whose derivatives are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Derivatives {
    /// Those of the model that makes the transition
    Own,
    /// Those of the nominal model, at the real next state (what VG-SAC stores)
    Nominal,
}

impl ProbeArgs {
    /// Prints the transition, the roll-out or the robot's dynamics, or one line for each of a batch.
    ///
    /// # Errors
    /// An unknown task or setting, a robot's file that cannot be used, a point that does not fit,
    /// results that are not finite, a plant without derivatives (except for a roll-out); a batch or
    /// a roll-out that cannot be read or has bad lines or entries.
    pub(crate) fn run(self) -> Result<()> {
        match (&self.robot.robot, &self.task) {
            (Some(file), _) => {
                let mut prober = self.robot.prober(file)?;
                match &self.batch {
                    Some(batch) => batch::answer_file(batch, |line| prober.answer(line)),
                    None => print_answer(&prober.answer(self.robot.request()?)?),
                }
            }
            (None, Some(task)) => self.probe_task(task),
            (None, None) => bail!("give the name of a task, or --robot FILE"),
        }
    }

    fn probe_task(&self, name: &str) -> Result<()> {
        let task = self.build(name)?;
        if let Some(file) = &self.rollout {
            return print_answer(&rollout::answer_file(task.as_task(), file)?);
        }
        let mut prober = TaskProber::new(task.as_task(), self.derivatives)?;
        match (&self.batch, &self.state, &self.action) {
            (Some(batch), _, _) => batch::answer_file(batch, |line| prober.answer(line)),
            (None, Some(state), Some(action)) => {
                let state = parse_numbers("state", state)?;
                let action = parse_numbers("action", action)?;
                print_answer(&prober.answer(TaskRequest { state, action })?)
            }
            _ => bail!("give --state and --action, --batch FILE, or --rollout FILE"),
        }
    }

    fn build(&self, name: &str) -> Result<Box<dyn BenchTask>> {
        let entry = bench_tasks::find(name)?;
        let defaults = (entry.settings)(self.preset)?;
        let Split { task, method, train, solver } =
            split_by_prefix(&parse_assignments(&self.set)?, &defaults)?;
        for (prefix, list) in [("method", method), ("train", train), ("solver", solver)] {
            if let Some((key, _)) = list.first() {
                bail!(
                    "`{prefix}.{key}` has no effect here; `probe` takes settings of the task only"
                );
            }
        }
        Ok((entry.build)(self.variant, &apply_overrides(&defaults, &task)?)?)
    }
}

/// Prints one answer as one line.
fn print_answer(answer: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(answer).context("an answer that is no JSON")?;
    Ok(super::print(&format!("{text}\n"))?)
}

fn rows(matrix: &DMatrix<f64>) -> Vec<Vec<f64>> {
    matrix.row_iter().map(|row| row.iter().copied().collect()).collect()
}

/// Numbers separated by commas.
fn parse_numbers(what: &str, text: &str) -> Result<Vec<f64>> {
    let entry = |(i, part): (usize, &str)| {
        part.trim().parse().map_err(|_| anyhow!("{what}[{i}] is `{part}`, which is no number"))
    };
    text.split(',').enumerate().map(entry).collect()
}

fn check_entries(
    model: &str,
    what: &str,
    values: &[f64],
    needed: usize,
    names: &[String],
) -> Result<()> {
    let found = values.len();
    let listed = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    ensure!(found == needed, "{what} has {found} entries, but `{model}` needs {needed}{listed}");
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => bail!("{what}[{i}] is {}, but every entry must be finite", values[i]),
        None => Ok(()),
    }
}
