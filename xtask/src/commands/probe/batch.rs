//! Many probes from one file: a line of JSON in, a line of JSON out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands::OutputError;

/// What stands in the place of an answer that there is none for.
#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// Answers a file (`-`: standard input) line by line on stdout.
///
/// # Errors
/// A file that cannot be read, an output that cannot be written to; at the end, lines that `answer`
/// refused.
pub(super) fn answer_file<Q: DeserializeOwned, A: Serialize>(
    file: &str,
    answer: impl FnMut(Q) -> Result<A>,
) -> Result<()> {
    let source = open(file)?;
    let stdout = BufWriter::new(io::stdout().lock());
    let bad = answer_lines(answer, BufReader::new(source), stdout)
        .with_context(|| format!("stopped in `{file}`"))?;
    ensure!(
        bad == 0,
        "lines of `{file}` without an answer: {bad}; the error stands in their place"
    );
    Ok(())
}

/// A file, or standard input for `-`.
///
/// # Errors
/// A file that cannot be opened.
pub(super) fn open(file: &str) -> Result<Box<dyn Read>> {
    Ok(match file {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(file).with_context(|| format!("cannot open `{file}`"))?),
    })
}

/// Writes one line for each line of `source` that is not blank; returns how many are errors.
fn answer_lines<Q: DeserializeOwned, A: Serialize>(
    mut answer: impl FnMut(Q) -> Result<A>,
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
        let text = match parse(&line).and_then(&mut answer) {
            Ok(answer) => serde_json::to_string(&answer)?,
            Err(error) => {
                bad += 1;
                serde_json::to_string(&Refusal { error: format!("line {number}: {error:#}") })?
            }
        };
        writeln!(out, "{text}").map_err(OutputError)?;
    }
}

fn parse<Q: DeserializeOwned>(line: &[u8]) -> Result<Q> {
    serde_json::from_slice(line).map_err(|error| {
        // The parser counts lines within what it is given, which is always the first.
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        match text.strip_suffix(&place) {
            Some(reason) => anyhow!("column {}: {reason}", error.column()),
            None => anyhow!(text),
        }
    })
}
