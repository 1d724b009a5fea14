//! Programs of the peers: how they are run, what they print, and how they fail.

use std::io;
use std::process::{Command, ExitStatus};

use serde::Deserialize;
use thiserror::Error;

use crate::progress::tell;

/// Errors of measuring the peers.
#[derive(Debug, Error)]
pub(super) enum PeerError {
    /// There is no interpreter where a virtual environment has one.
    #[error(
        "`{venv}` is no virtual environment: there is no `{python}`; make one with \
         `bench/peers/setup.sh {venv}`"
    )]
    NoPython {
        /// The folder given.
        venv: String,
        /// Where the interpreter was looked for.
        python: String,
    },
    /// No package of any peer is there.
    #[error(
        "`{venv}` has no peer: it lacks {}; `bench/peers/setup.sh {venv}` makes an environment that \
         has them",
        missing.join(", ")
    )]
    Packages {
        /// The folder given.
        venv: String,
        /// Names of the packages.
        missing: Vec<String>,
    },
    /// Interpreter, compiler or program cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// What was to be started.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A script, or the compiler, ended with an error.
    #[error("`{script}` failed ({status}): {}", last_line(stderr))]
    Failed {
        /// The script with its arguments.
        script: String,
        /// How it ended.
        status: ExitStatus,
        /// All it wrote to standard error.
        stderr: String,
    },
    /// A script printed something else than its results.
    #[error("`{script}` printed no results that can be read, but `{found}`")]
    Output {
        /// The script with its arguments.
        script: String,
        /// Its last line.
        found: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Runs a program and returns what it prints; `name` is what errors call it.
///
/// # Errors
/// A program that cannot be started or fails.
pub(super) fn run(name: &str, command: &mut Command) -> Result<String, PeerError> {
    let output = command.output().map_err(|source| PeerError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if !output.status.success() {
        // The error itself has one line; a traceback has many.
        tell(stderr.trim_end());
        return Err(PeerError::Failed { script: name.to_owned(), status: output.status, stderr });
    }
    Ok(stdout)
}

/// Runs a program and reads the value that it ends with.
///
/// # Errors
/// A program that cannot be started, fails or ends with something else.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    name: &str,
    command: &mut Command,
) -> Result<T, PeerError> {
    let stdout = run(name, command)?;
    serde_json::from_str(last_value(&stdout)).map_err(|source| PeerError::Output {
        script: name.to_owned(),
        found: last_line(&stdout).to_owned(),
        source,
    })
}

/// What begins with the last bracket at the start of a line; libraries print notices before it. All
/// of the text where there is none.
fn last_value(text: &str) -> &str {
    let starts = text.match_indices(['[', '{']).map(|(at, _)| at);
    let mut starts = starts.filter(|at| *at == 0 || text[..*at].ends_with('\n'));
    starts.next_back().map_or(text, |at| &text[at..])
}

/// The last line that is not blank.
fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_follow_notices() {
        assert_eq!(last_value("a [notice]\n[1]\n[\n {\n  2\n }\n]\n"), "[\n {\n  2\n }\n]\n");
        assert_eq!(last_value("hello"), "hello");
        assert_eq!(last_line(""), "");
    }
}
