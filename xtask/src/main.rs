//! The command line of Costate.
//!
//! `main` parses and dispatches; every command is a module of [`commands`]. Results go to stdout,
//! messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.

mod cell;
mod commands;
mod curves;
mod dvp;
mod figure;
mod interrupt;
mod machine;
mod plan;
mod pods;
mod progress;
mod report;
mod runs;
mod settings;
mod svg;
mod tracking;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use critics::{Backend, InstructionPath, set_backend, set_instruction_path};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Reinforcement learning and optimal control where every model knows its own derivatives.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Cli {
    /// Run the network kernels on these instructions: portable, avx2 or avx512 [default: the widest]
    #[arg(long, global = true, value_name = "PATH")]
    simd: Option<InstructionPath>,
    /// Compute the networks with this backend: native, candle or cuda [default: native]
    ///
    /// candle and cuda exist in programs built with `--features candle` and `--features cuda`.
    #[arg(long, global = true, value_name = "NAME")]
    backend: Option<Backend>,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough: no failure of ours.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if stderr is closed as well.
            let _ = io::stderr().write_all(describe(&error).as_bytes());
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn run(self) -> anyhow::Result<()> {
        if let Some(path) = self.simd {
            set_instruction_path(path)?;
        }
        if let Some(backend) = self.backend {
            set_backend(backend)?;
        }
        self.command.run()
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<commands::OutputError>()
        .is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
}

/// The error on one line, each cause on a line below it.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (i, cause) in error.chain().enumerate() {
        let prefix = if i == 0 { "error" } else { "  caused by" };
        // Some libraries break their messages into lines. Writing to a string cannot fail.
        let message = cause.to_string().lines().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{prefix}: {message}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn causes_stand_below_the_error_one_per_line() {
        let error =
            anyhow::anyhow!("disk\nis full\n").context("cannot write").context("cell failed");
        assert_eq!(
            describe(&error),
            "error: cell failed\n  caused by: cannot write\n  caused by: disk is full\n"
        );
    }

    #[test]
    fn only_a_closed_output_ends_quietly() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let output = anyhow::Error::from(commands::OutputError(closed()));
        assert!(is_closed_pipe(&output.context("while listing")));
        assert!(!is_closed_pipe(&anyhow::Error::from(closed())));
    }
}
