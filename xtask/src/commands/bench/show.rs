//! Results as a table for terminals and as Markdown.

use std::fmt::Write as _;

use super::results::{PeerRow, Results, Row};
use crate::commands::table;
use crate::report::RunInfo;

/// Columns of both tables.
const HEADER: [&str; 9] =
    ["case", "threads", "median", "best", "spread", "n", "from it", "peers", "targets"];

/// The machine on one line, the table, and what was left out.
pub(super) fn terminal(results: &Results) -> String {
    let mut table = table(HEADER);
    for row in &results.rows {
        table.add_row(cells(row));
    }
    let RunInfo { cpu, instruction_path, .. } = &results.machine;
    let mut text = format!("{cpu}, instruction path {instruction_path}\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{table}");
    for note in notes(results) {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// A page with machine, versions, table, a picture of the given name and what the rows are.
pub(super) fn markdown(results: &Results, picture: Option<&str>) -> String {
    let RunInfo { cpu, cores, memory, os, rustc, version, commit, instruction_path, .. } =
        &results.machine;
    let RunInfo { command, elapsed, .. } = &results.machine;
    let mut text = format!(
        "# Benchmarks\n\nWritten by `{command}` in {elapsed}; `docs/benchmarks.md` says what is \
         measured and how.\n\n| | |\n|---|---|\n"
    );
    for (name, value) in [
        ("processor", cpu),
        ("cores", cores),
        ("memory", memory),
        ("system", os),
        ("compiler", rustc),
        ("version", version),
        ("commit", commit),
        ("instruction path", instruction_path),
        ("target features", &results.target_features),
    ] {
        let _ = writeln!(text, "| {name} | {} |", or_unknown(value));
    }
    let versions = results.peer_versions.iter().map(|(name, version)| format!("{name} {version}"));
    let versions = versions.collect::<Vec<_>>().join(", ");
    if !versions.is_empty() {
        let _ = writeln!(text, "| peers | {versions} |");
    }
    let _ = writeln!(text, "\n| {} |\n|{}", HEADER.join(" | "), "---|".repeat(HEADER.len()));
    for row in &results.rows {
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text.push('\n');
    for note in notes(results) {
        let _ = writeln!(text, "{note}\n");
    }
    if let Some(picture) = picture {
        let _ = writeln!(text, "![Cost against the number of links]({picture})\n");
    }
    text.push_str("The cases:\n\n");
    let mut last = "";
    for row in results.rows.iter().filter(|row| row.name != std::mem::replace(&mut last, &row.name))
    {
        let _ = writeln!(text, "- `{}`: {}", row.name, row.what);
    }
    text
}

fn cells(row: &Row) -> [String; 9] {
    let unit = row.unit;
    let with_unit = |value| format!("{} {unit}", short(value));
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let derived = [
        row.updates_per_second.map(|rate| format!("{} updates/s", short(rate))),
        row.gflops.map(|rate| format!("{} GFLOP/s", short(rate))),
        row.share_of_peak.map(|share| format!("{} of peak", percent(share))),
        row.speed_up.map(|ratio| format!("{}× one thread", short(ratio))),
    ];
    let peers = row.peers.iter().map(|PeerRow { peer, median, best, ratio, .. }| {
        let (median, best) = (with_unit(*median), with_unit(*best));
        format!("{peer}: {median}, best {best} ({}×)", short(*ratio))
    });
    let targets = row.targets.iter().map(|target| {
        format!("{}: {}", target.what, if target.reached { "reached" } else { "missed" })
    });
    [
        row.name.clone(),
        row.threads.to_string(),
        with_unit(row.median),
        with_unit(row.best),
        format!("{:.1} %", 100.0 * row.spread),
        row.n.to_string(),
        derived.into_iter().flatten().collect::<Vec<_>>().join(", "),
        peers.collect::<Vec<_>>().join(", "),
        targets.collect::<Vec<_>>().join(", "),
    ]
}

/// What a reader must know of the numbers as a whole.
fn notes(results: &Results) -> Vec<String> {
    let mut notes = Vec::new();
    if results.quick {
        notes.push(
            "Short and few samples: these numbers only show that everything runs.".to_owned(),
        );
    }
    if !results.missing_peers.is_empty() {
        let missing = results.missing_peers.join(", ");
        notes.push(format!("Not installed among the peers, and not measured: {missing}."));
    }
    if !results.growth.is_empty() {
        let of = |(problem, power): (&String, &f64)| format!("T^{power:.2} ({problem})");
        let growth: Vec<String> = results.growth.iter().map(of).collect();
        notes.push(format!("Rows at horizon T take a time ∝ {}.", growth.join(", ")));
    }
    notes.extend(results.skipped.iter().map(|skipped| {
        format!("Left out: {} on {} threads; {}.", skipped.name, skipped.threads, skipped.reason)
    }));
    notes
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// Three digits that count; from 100 on no fraction, but every digit before it.
fn short(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "n/a".to_owned(),
        size if size >= 99.95 => thousands(&format!("{value:.0}")),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Digits with a comma before every third from the end.
fn thousands(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::results::{Skipped, Verdict};
    use super::super::stats::Series;
    use super::*;

    fn results() -> Results {
        let row = |threads| Row {
            name: "sac-update".to_owned(),
            what: "SAC".to_owned(),
            threads,
            unit: "ms",
            median: 12.34,
            best: 11.9,
            spread: 0.021,
            n: 9,
            samples: Series::default(),
            updates_per_second: Some(81.0),
            gflops: Some(143.4),
            share_of_peak: Some(0.724),
            speed_up: (threads > 1).then_some(1.6),
            peers: vec![PeerRow {
                peer: "JAX".to_owned(),
                median: 15.0,
                best: 14.0,
                n: 9,
                ratio: 1.2156,
            }],
            targets: vec![Verdict {
                what: "≥ 1.1× JAX".to_owned(),
                needed: 1.1,
                found: 1.2156,
                reached: true,
            }],
        };
        Results {
            machine: RunInfo { cpu: "a processor".to_owned(), ..RunInfo::default() },
            quick: true,
            target_features: "sse2".to_owned(),
            missing_peers: vec!["pin".to_owned(), "mujoco".to_owned()],
            peer_versions: [("jax".to_owned(), "0.1".to_owned())].into(),
            rows: vec![row(1), row(2)],
            growth: [("arm".to_owned(), 0.987)].into(),
            skipped: vec![Skipped {
                name: "td3-step".to_owned(),
                threads: 2,
                reason: "there is one core".to_owned(),
            }],
        }
    }

    #[test]
    fn a_row_of_markdown_has_every_number() {
        let text = markdown(&results(), Some("a.svg"));
        assert!(
            text.contains(
                "| sac-update | 1 | 12.3 ms | 11.9 ms | 2.1 % | 9 | 81.0 updates/s, 143 GFLOP/s, \
                 72 % of peak | JAX: 15.0 ms, best 14.0 ms (1.22×) | ≥ 1.1× JAX: reached |\n"
            ),
            "{text}"
        );
        assert!(text.contains("| processor | a processor |\n| cores | unknown |"), "{text}");
        assert!(text.contains("| target features | sse2 |"), "{text}");
        assert!(text.contains("| peers | jax 0.1 |"), "{text}");
        assert!(text.contains("peers, and not measured: pin, mujoco."), "{text}");
        assert!(text.contains("links](a.svg)"), "{text}");
        assert!(text.contains("72 % of peak, 1.60× one thread |"), "{text}");
        assert!(text.contains("a time ∝ T^0.99 (arm)."), "{text}");
        assert!(text.contains("Left out: td3-step on 2 threads; there is one core."), "{text}");
        assert_eq!(text.matches("- `sac-update`: SAC").count(), 1, "{text}");
    }

    #[test]
    fn numbers_have_three_digits() {
        let found = [21_536_661.0, 1234.4, 99.96, 12.34, 9.996, 1.0, 0.0123, f64::NAN].map(short);
        assert_eq!(found, ["21,536,661", "1,234", "100", "12.3", "10.0", "1.00", "0.012", "n/a"]);
    }
}
