//! `probe`: one transition of a task as JSON, so that any outside tool can check us.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bench_tasks::{BenchTask, Preset, Variant};
use clap::{ArgGroup, Args, ValueEnum};
use dynamics::{End, JacobianSource, Move, Scratch, Task, TransitionGradient, check_vector};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::OutputError;
use crate::settings::{
    Split, apply_overrides, parse_assignments, preset_parser, split_by_prefix, variant_parser,
};

/// Arguments of `probe`.
#[derive(Args)]
#[command(group = ArgGroup::new("point").required(true).args(["state", "batch"]))]
pub(crate) struct ProbeArgs {
    /// Name of the task
    task: String,
    /// Which model makes the transition
    #[arg(long, default_value = "real", value_parser = variant_parser())]
    variant: Variant,
    /// Which description of the task
    #[arg(long, default_value = "released", value_parser = preset_parser())]
    preset: Preset,
    /// State, its entries separated by commas
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true, requires = "action")]
    state: Option<String>,
    /// Action, its entries separated by commas
    #[arg(
        long,
        value_name = "A,B,…",
        allow_hyphen_values = true,
        requires = "state",
        conflicts_with = "batch"
    )]
    action: Option<String>,
    /// Change a setting of the task; may be given many times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Whose Jacobian to print and to take the reward's derivative through
    #[arg(long, value_enum, default_value_t = Derivatives::Own)]
    derivatives: Derivatives,
    /// Answer each line {"state": […], "action": […]} of a file (`-`: standard input) with one line
    #[arg(long, value_name = "FILE")]
    batch: Option<String>,
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
    /// Prints the transition, or one line for each of a batch.
    ///
    /// # Errors
    /// An unknown task or setting, a point that does not fit the task, a transition that is not
    /// finite, a plant without derivatives; a batch that cannot be read or has bad lines.
    pub(crate) fn run(self) -> Result<()> {
        let task = self.build()?;
        let mut prober = Prober::new(task.as_task(), self.derivatives)?;
        match (&self.batch, &self.state, &self.action) {
            (Some(file), _, _) => answer_file(&mut prober, file),
            (None, Some(state), Some(action)) => {
                let state = parse_numbers("state", state)?;
                let action = parse_numbers("action", action)?;
                let answer = prober.answer(state, action)?;
                super::print(&format!("{}\n", serde_json::to_string(&answer)?))?;
                Ok(())
            }
            _ => bail!("give --state and --action, or --batch FILE"),
        }
    }

    fn build(&self) -> Result<Box<dyn BenchTask>> {
        let entry = bench_tasks::find(&self.task)?;
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

/// One line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    state: Vec<f64>,
    action: Vec<f64>,
}

/// What is printed of a transition; the contracts fix the names.
#[derive(Serialize)]
struct Answer {
    /// Next state, wrapped.
    x_next: Vec<f64>,
    /// ∂x'/∂x as a list of rows; ignores the wrap.
    fx: Vec<Vec<f64>>,
    /// ∂x'/∂u as a list of rows.
    fu: Vec<Vec<f64>>,
    /// What a learner gets.
    reward: f64,
    /// dr/d[x, u] through fx and fu; of the formula of the reward, also where the end of the
    /// episode replaces its value.
    reward_gradient: Vec<f64>,
    /// Whether the task itself ends the episode here; never for the time limit.
    terminated: bool,
}

/// What stands in the place of an [`Answer`] that there is none for.
#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// A task with everything that answering needs.
struct Prober<'a> {
    task: &'a dyn Task,
    plant: Scratch,
    reward: Scratch,
    gradient: TransitionGradient<'a>,
}

impl<'a> Prober<'a> {
    fn new(task: &'a dyn Task, derivatives: Derivatives) -> Result<Self> {
        let model = match derivatives {
            Derivatives::Nominal => task.nominal(),
            Derivatives::Own => task.plant_dynamics().with_context(|| {
                format!(
                    "the plant of `{}` has no derivatives; take those of the nominal model with \
                     --derivatives nominal",
                    task.name()
                )
            })?,
        };
        Ok(Self {
            task,
            plant: task.plant().any_workspace(),
            reward: task.reward_scratch(),
            gradient: TransitionGradient::through(task, model, JacobianSource::Analytic)?,
        })
    }

    fn answer(&mut self, state: Vec<f64>, action: Vec<f64>) -> Result<Answer> {
        let Self { task, gradient, .. } = self;
        let plant = task.plant();
        check_entries(task.name(), "state", &state, plant.any_nx(), &task.state_names())?;
        check_entries(task.name(), "action", &action, plant.any_nu(), &[])?;
        let (x, u) = (DVector::from_vec(state), DVector::from_vec(action));
        let mut x_next = DVector::zeros(x.len());
        plant.any_step(&mut self.plant, &x, &u, &[], &mut x_next)?;
        check_vector(task.name(), "x_next", x_next.as_slice(), x.len())?;
        task.wrap(&mut x_next);
        let m = Move { t: 0, x: &x, u: &u, x_next: &x_next };
        gradient.evaluate(&m)?;
        let reward = task.reward(&mut self.reward, &m);
        let end = task.ends(&m, reward);
        let reward = end.map_or(reward, |end| end.reward);
        check_vector(task.name(), "reward", &[reward], 1)?;
        Ok(Answer {
            fx: rows(&gradient.jacobian.fx),
            fu: rows(&gradient.jacobian.fu),
            reward,
            reward_gradient: gradient.reward_gradient.as_slice().to_vec(),
            terminated: end.is_some_and(|end| end.end == End::Terminated),
            x_next: x_next.data.into(),
        })
    }
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
    task: &str,
    what: &str,
    values: &[f64],
    needed: usize,
    names: &[String],
) -> Result<()> {
    let found = values.len();
    let listed = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    ensure!(found == needed, "{what} has {found} entries, but `{task}` needs {needed}{listed}");
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => bail!("{what}[{i}] is {}, but every entry must be finite", values[i]),
        None => Ok(()),
    }
}

/// Answers a file (`-`: standard input) line by line on stdout.
fn answer_file(prober: &mut Prober<'_>, file: &str) -> Result<()> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(file).with_context(|| format!("cannot open `{file}`"))?),
    };
    let stdout = BufWriter::new(io::stdout().lock());
    let bad = answer_lines(prober, BufReader::new(source), stdout)
        .with_context(|| format!("stopped in `{file}`"))?;
    ensure!(
        bad == 0,
        "lines of `{file}` without an answer: {bad}; the error stands in their place"
    );
    Ok(())
}

/// Writes one line for each line of `source` that is not blank; returns how many are errors.
fn answer_lines(
    prober: &mut Prober<'_>,
    mut source: BufReader<impl Read>,
    mut out: impl Write,
) -> Result<usize> {
    let (mut line, mut number, mut bad) = (Vec::new(), 0_usize, 0);
    loop {
        // Whoever talks to us through pipes waits for the answer before the next line.
        if source.buffer().is_empty() {
            out.flush().map_err(OutputError)?;
        }
        line.clear();
        if source.read_until(b'\n', &mut line).context("cannot read on")? == 0 {
            return Ok(bad);
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let text = match answer_line(prober, &line) {
            Ok(answer) => serde_json::to_string(&answer)?,
            Err(error) => {
                bad += 1;
                serde_json::to_string(&Refusal { error: format!("line {number}: {error:#}") })?
            }
        };
        writeln!(out, "{text}").map_err(OutputError)?;
    }
}

fn answer_line(prober: &mut Prober<'_>, line: &[u8]) -> Result<Answer> {
    let Request { state, action } = serde_json::from_slice(line).map_err(|error| {
        // The parser counts lines within what it is given, which is always the first.
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        match text.strip_suffix(&place) {
            Some(reason) => anyhow!("column {}: {reason}", error.column()),
            None => anyhow!(text),
        }
    })?;
    prober.answer(state, action)
}
