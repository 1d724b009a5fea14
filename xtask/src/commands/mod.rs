//! The commands, one module each: arguments as a `clap` struct with `run(self)`.

mod bench;
mod check_robot;
mod eval;
mod gradcheck;
mod learn_from;
mod list;
mod probe;
mod report;
mod reproduce;
mod robot;
mod solve;
mod study;
mod train;

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};

use clap::Subcommand;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

/// Every command with its arguments.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the experiments of papers and figures that are missing, and write the report
    Reproduce(reproduce::ReproduceArgs),
    /// Train one method on one task
    Train(train::TrainArgs),
    /// Evaluate the policy of a finished run
    Eval(eval::EvalArgs),
    /// Animate a roll-out of the policy of a finished run
    Play(eval::PlayArgs),
    /// One step of a tracking policy along logs of a real plant
    LearnFrom(learn_from::LearnFromArgs),
    /// Write a report again from stored results, or compare two
    Report(report::ReportArgs),
    /// Print one transition of a task, or a robot's dynamics, with derivatives as JSON
    Probe(probe::ProbeArgs),
    /// Optimise the trajectory of a task and print it with the derivatives of its value as JSON
    Solve(solve::SolveArgs),
    /// Study how solvers converge, and write tables and pictures
    Study(study::StudyArgs),
    /// Check every derivative of tasks against independent sources
    Gradcheck(gradcheck::GradcheckArgs),
    /// Measure how fast this machine learns, beside other libraries where they are installed
    Bench(bench::BenchArgs),
    /// Show what a robot's file describes and check the derivatives of its dynamics
    CheckRobot(check_robot::CheckRobotArgs),
    /// List papers, figures, tasks and methods
    List(list::ListArgs),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// What the command reports.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Reproduce(args) => args.run(),
            Self::Train(args) => args.run(),
            Self::Eval(args) => args.run(),
            Self::Play(args) => args.run(),
            Self::LearnFrom(args) => args.run(),
            Self::Report(args) => args.run(),
            Self::Probe(args) => args.run(),
            Self::Solve(args) => args.run(),
            Self::Study(args) => args.run(),
            Self::Gradcheck(args) => args.run(),
            Self::Bench(args) => args.run(),
            Self::CheckRobot(args) => args.run(),
            Self::List(args) => args.run(),
        }
    }
}

/// Writing to stdout failed; a closed pipe is no error to the user.
#[derive(Debug)]
pub(crate) struct OutputError(pub(crate) io::Error);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot write to the standard output")
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Writes a text to stdout.
///
/// # Errors
/// [`OutputError`].
pub(crate) fn print(text: &str) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(OutputError)
}

/// A table with the given header in the style that all commands use; on a terminal it is wrapped to
/// the width there is.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let rule = LineStyle::none().fill('─').junction('─');
    let style = TableStyle::new().top_border(rule).header_separator(rule).bottom_border(rule);
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}
