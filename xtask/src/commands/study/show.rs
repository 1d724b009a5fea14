//! What was found, as numbers, tables and pictures.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::Findings;
use super::hard_starts::{HardStarts, Outcome};
use super::rates::{Rate, Rates};
use crate::commands::table;
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, draw};

const RATES: [&str; 6] = ["problem", "method", "least cost", "iterations", "last ratio", "order"];
const STARTS: [&str; 9] = [
    "problem",
    "method",
    "converged",
    "iterations 10 %",
    "50 %",
    "90 %",
    "most",
    "best optimum",
    "steps that break the rule",
];

/// All numbers, one problem a line.
pub(super) fn json(findings: &Findings) -> Result<String> {
    let Findings { seed, starts, stop, max_iterations, rates, hard_starts } = findings;
    let list = |lines: Vec<String>| format!("[\n{}\n]", lines.join(",\n"));
    Ok(format!(
        "{{\"seed\":{seed},\"starts\":{starts},\"stop\":{stop:e},\"max_iterations\":\
         {max_iterations},\n\"rates\":{},\n\"hard_starts\":{}}}\n",
        list(lines(rates)?),
        list(lines(hard_starts)?),
    ))
}

fn lines<T: Serialize>(values: &[T]) -> Result<Vec<String>, serde_json::Error> {
    values.iter().map(serde_json::to_string).collect()
}

/// Both tables for a terminal.
pub(super) fn terminal(findings: &Findings) -> String {
    let (mut rates, mut starts) = (table(RATES), table(STARTS));
    for row in rate_rows(findings) {
        rates.add_row(row);
    }
    for row in start_rows(findings) {
        starts.add_row(row);
    }
    format!("{rates}\n\n{starts}\n")
}

/// A page with both tables and both pictures.
pub(super) fn markdown(findings: &Findings) -> String {
    let Findings { seed, starts, stop, max_iterations, hard_starts, .. } = findings;
    let mut text = format!(
        "# Convergence of DDP\n\nWritten by `cargo xtask study ddp --starts {starts} --seed \
         {seed}`; the numbers are in [study.json](study.json), and the same command writes the same \
         bytes.\n\n## Rates\n\nThe cost J above the least one J\\*, from the usual start of each \
         task. J\\* is the least cost of the solve and of Newton steps (full DDP) after it; a gap \
         that its rounding error hides is the last one, which the picture shows at the size of that \
         error. `last ratio` is between the last two gaps above 1,000 rounding errors; `order` is the \
         ratio of the last two decreases of the gap's logarithm, 1 for linear convergence and 2 for \
         quadratic. Full DDP is Newton's method where the Hessians of the costs are exact, as on \
         the unicycle and the cart-pole; those of the arm are Gauss–Newton.\n\n![Cost gap against \
         iteration](../../images/ddp-rates.svg)\n\n"
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", rows(RATES, rate_rows(findings)));
    let _ = writeln!(
        text,
        "## Hard starts\n\n{starts} random starts of each problem, at most {max_iterations} \
         iterations, converged at an expected improvement below {stop:e}. The guess repeats the start \
         with the controls of the task's guess (zero; for the arm the torques that hold it). \
         Iterations are counted from 0, over the solves that converged. `best optimum` counts solves \
         whose cost is within 0.1 % of the least that any method found from the same start. Every \
         accepted step is held against the rule: from a feasible iterate the cost rises by no more \
         than rounding; from one with gaps FDDP gains a tenth of what it expects, or rises by at most \
         twice what it expects.\n\n![Share of converged solves against \
         iterations](../../images/ddp-hard-starts.svg)\n"
    );
    let _ = writeln!(text, "{}", rows(STARTS, start_rows(findings)));
    text.push_str("The starts, and how the other solves ended:\n\n");
    for HardStarts { problem, horizon, starts, methods } in hard_starts {
        let _ = writeln!(text, "- `{problem}`, {horizon} steps: {starts}{}", ends(methods));
    }
    text
}

/// How solves ended that did not converge.
fn ends(methods: &[Outcome]) -> String {
    let mut text = String::new();
    for Outcome { method, ended, .. } in methods {
        let others = ended.iter().filter(|(status, _)| **status != "converged");
        let others = others.map(|(status, n)| format!("{n} {}", status.replace('_', " ")));
        let others: Vec<String> = others.collect();
        if !others.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {method}: {}", others.join(", "));
        }
    }
    text
}

fn rows<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(N));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}

fn rate_rows(findings: &Findings) -> Vec<[String; 6]> {
    let optional = |value: Option<f64>, decimals: usize| match value {
        Some(value) if value < 1e-3 => format!("{value:.1e}"),
        Some(value) => format!("{value:.decimals$}"),
        None => "–".to_owned(),
    };
    let row = |problem: &Rates, rate: &Rate| {
        [
            problem.problem.to_owned(),
            rate.method.to_owned(),
            format!("{:.8}", rate.least_cost),
            rate.gaps.len().to_string(),
            optional(rate.ratio, 4),
            optional(rate.order, 2),
        ]
    };
    let of = |problem| move |rate| row(problem, rate);
    findings.rates.iter().flat_map(|problem| problem.methods.iter().map(of(problem))).collect()
}

fn start_rows(findings: &Findings) -> Vec<[String; 9]> {
    let mut rows = Vec::new();
    for HardStarts { problem, methods, .. } in &findings.hard_starts {
        for outcome in methods {
            let share = |n: usize| format!("{:.1} %", 100.0 * n as f64 / outcome.solves as f64);
            let [first, middle, late, most] = match outcome.quantiles {
                Some(quantiles) => quantiles.map(|n| n.to_string()),
                None => std::array::from_fn(|_| "–".to_owned()),
            };
            rows.push([
                problem.to_string(),
                outcome.method.to_owned(),
                share(outcome.converged),
                first,
                middle,
                late,
                most,
                share(outcome.best),
                format!("{} of {}", outcome.violations, outcome.steps),
            ]);
        }
    }
    rows
}

/// Cost gaps against iterations, a panel for each problem.
pub(super) fn rates_picture(findings: &Findings) -> String {
    let line = |rate: &Rate| {
        // What rounding hides stands where rounding begins.
        let least = f64::EPSILON * rate.least_cost.abs();
        let points = (0..).zip(&rate.gaps).map(|(i, gap)| (f64::from(i), gap.max(least)));
        Line { name: rate.method.to_owned(), stroke: Stroke::Dotted, points: points.collect() }
    };
    let panel = |rates: &Rates| Panel {
        title: format!("{}, T = {}", rates.problem, rates.horizon),
        x: Scale { label: "iteration", marks: Marks::Linear },
        y: Scale { label: "cost gap J − J*", marks: Marks::Decades },
        // From its first full step on iLQR is FDDP.
        lines: rates.methods.iter().filter(|rate| rate.method != "ilqr").map(line).collect(),
    };
    let panels: Vec<Panel> = findings.rates.iter().map(panel).collect();
    draw("Cost gap against iteration, a panel for each problem, a line for each method", &panels)
}

/// Shares of the starts that have converged against iterations, a panel for each problem.
pub(super) fn hard_starts_picture(findings: &Findings) -> String {
    let limit = findings.max_iterations;
    let panel = |hard: &HardStarts| Panel {
        title: hard.problem.to_owned(),
        x: Scale {
            label: "iterations",
            marks: Marks::At(vec![1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]),
        },
        y: Scale { label: "converged [% of starts]", marks: Marks::Linear },
        lines: hard
            .methods
            .iter()
            .map(|outcome| Line {
                name: outcome.method.to_owned(),
                stroke: Stroke::Plain,
                points: steps(&outcome.iterations, limit),
            })
            .collect(),
    };
    let panels: Vec<Panel> = findings.hard_starts.iter().map(panel).collect();
    let alt = "Share of the random starts that have converged against iterations, a panel for each \
               problem, a line for each method";
    draw(alt, &panels)
}

/// The percentage of solves that are done after so many passes, as a line of steps from one pass to
/// the limit. A solve of i iterations took i + 1 passes.
fn steps(iterations: &[Option<usize>], limit: usize) -> Vec<(f64, f64)> {
    let mut passes: Vec<usize> = iterations.iter().flatten().map(|i| i + 1).collect();
    passes.sort_unstable();
    let percent = |n: usize| 100.0 * n as f64 / iterations.len() as f64;
    let mut points = vec![(1.0, 0.0)];
    for (done, pass) in passes.iter().enumerate() {
        points.push((*pass as f64, percent(done)));
        points.push((*pass as f64, percent(done + 1)));
    }
    points.push((limit as f64, percent(passes.len())));
    // Of the points of one pass the first and the last are enough.
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if let [.., a, b] = kept[..]
            && a.0 == b.0
            && b.0 == point.0
        {
            kept.pop();
        }
        kept.push(point);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_rise_in_steps_to_what_converged() {
        let found = steps(&[Some(4), None, Some(9), Some(4)], 1000);
        let expected =
            [(1.0, 0.0), (5.0, 0.0), (5.0, 50.0), (10.0, 50.0), (10.0, 75.0), (1000.0, 75.0)];
        assert_eq!(found, expected);
        assert_eq!(steps(&[None], 10), [(1.0, 0.0), (10.0, 0.0)]);
    }

    #[test]
    fn bars_in_names_do_not_break_tables() {
        let text = rows(["a", "b"], vec![["|u| ≤ 2".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "| a | b |\n|---|---|\n| \\|u\\| ≤ 2 | 1 |\n");
    }
}
