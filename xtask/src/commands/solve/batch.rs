//! Many starts of one problem: a line for each.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Error, Result, ensure};
use ddp::{DdpError, Solution, Status, solve_batch};
use nalgebra::DVector;
use serde_json::json;

use super::{Answer, Job};
use crate::commands::print;
use crate::commands::train::with_threads;
use crate::machine;
use crate::progress::tell;

impl Job<'_> {
    /// Solves from every start and prints the answers in their order.
    ///
    /// # Errors
    /// Settings that do not fit; at the end, starts without an answer.
    pub(super) fn solve_all(
        &self,
        starts: Vec<DVector<f64>>,
        full: bool,
        threads: Option<usize>,
    ) -> Result<()> {
        let us0: Vec<_> = starts.iter().map(|x0| self.setup.us0_at(x0)).collect::<Result<_>>()?;
        let begin = Instant::now();
        let results = with_threads(threads.unwrap_or_else(machine::n_cores), || {
            solve_batch(&self.problem, self.method, &self.settings, &starts, |i| {
                self.guess(&us0[i])
            })
        })??;
        let seconds = begin.elapsed().as_secs_f64();
        let mut text = String::new();
        for (x0, result) in starts.iter().zip(&results) {
            let line = match result {
                Ok(solution) => {
                    let answer = Answer::new(self.task.name(), solution).from(x0);
                    let answer = if full { answer.full(solution) } else { answer };
                    serde_json::to_string(&answer)?
                }
                Err(error) => {
                    let error = format!("{:#}", Error::new(error.clone()));
                    json!({ "error": error, "x0": x0.as_slice() }).to_string()
                }
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        print(&text)?;
        tell(&format!("{}, {seconds:.2} s", summary(&results)));
        let bad = results.iter().filter(|result| result.is_err()).count();
        ensure!(bad == 0, "starts without an answer: {bad}; the error stands in their place");
        Ok(())
    }
}

/// How many converged, and in how many iterations the solves ended.
fn summary(results: &[Result<Solution, DdpError>]) -> String {
    let solutions: Vec<_> = results.iter().flatten().collect();
    let converged = solutions.iter().filter(|s| s.status == Status::Converged).count();
    let mut iterations: Vec<_> = solutions.iter().map(|s| s.iterations).collect();
    iterations.sort_unstable();
    let mut text = format!("converged {converged} of {}", results.len());
    let n = iterations.len();
    if let (Some(most), middle) = (iterations.last(), [n.saturating_sub(1) / 2, n / 2]) {
        let median = middle.map(|i| iterations[i] as f64).iter().sum::<f64>() / 2.0;
        // Writing to a string cannot fail.
        let _ = write!(text, ", iterations: median {median}, maximum {most}");
    }
    text
}
