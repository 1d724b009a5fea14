//! The commands, one module each: arguments as a `clap` struct with `run(self)`.

mod gradcheck;
mod list;
mod probe;

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};

use clap::Subcommand;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;

/// Every command with its arguments.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print one transition of a task with its derivatives as JSON
    Probe(probe::ProbeArgs),
    /// Check every derivative of tasks against independent sources
    Gradcheck(gradcheck::GradcheckArgs),
    /// List tasks and methods
    List(list::ListArgs),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// What the command reports.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Probe(args) => args.run(),
            Self::Gradcheck(args) => args.run(),
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

/// A table with the given header in the style that all commands use.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}
