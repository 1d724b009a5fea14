//! Pictures of rows that come in families: cost against the number of links or the horizon.

use super::optimal_control::HORIZONS;
use super::results::Row;
use super::robots::CHAINS;
use super::springs;
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, draw};

/// How the rows of chains begin.
const CHAIN: &str = "chain-";
/// Rows that differ in their horizon: what they begin with, is followed by a name and the horizon.
pub(super) struct Family {
    pub(super) prefix: &'static str,
    horizons: &'static [usize],
    label: &'static str,
}

/// All families; a picture shows one.
pub(super) const FAMILIES: [Family; 2] = [
    Family { prefix: "ddp-horizons-", horizons: &HORIZONS, label: "µs an iteration" },
    Family {
        prefix: "pods-horizons-",
        horizons: &springs::HORIZONS,
        label: "µs a step of second order",
    },
];

/// Microseconds of the algorithms on chains, if one was measured on two lengths at least.
pub(super) fn chains(rows: &[Row]) -> Option<String> {
    // chain-LINKS-ALGORITHM
    let lines = lines(rows, |name| {
        let (links, algorithm) = name.strip_prefix(CHAIN)?.split_once('-')?;
        Some((algorithm, links.parse().ok()?))
    });
    let marks = CHAINS.map(|links| links as f64).to_vec();
    let alt = "Microseconds a call against the number of links, one line for each algorithm";
    plot(alt, Scale { label: "revolute links", marks: Marks::At(marks) }, "µs a call", lines)
}

/// Microseconds of the first family with rows against the horizon, beside proportional growth, if a
/// name was measured at two horizons at least.
pub(super) fn horizons(rows: &[Row]) -> Option<String> {
    let drawn = FAMILIES.iter().map(|family| (family, horizon_lines(rows, family)));
    let (family, mut lines) = drawn.into_iter().find(|(_, lines)| !lines.is_empty())?;
    let marks: Vec<f64> = family.horizons.iter().map(|horizon| *horizon as f64).collect();
    let (first, last) = (marks[0], marks[marks.len() - 1]);
    // The guide goes up from the middle of what was measured at the shortest horizon.
    let starts = lines.iter().filter_map(|line| line.points.first());
    let levels: Vec<f64> = starts.map(|(horizon, time)| (time / horizon).ln()).collect();
    let level = (levels.iter().sum::<f64>() / levels.len() as f64).exp();
    for line in &mut lines {
        line.name = format!("{} (∝ T^{:.2})", line.name, exponent(&line.points));
    }
    let points = vec![(first, level * first), (last, level * last)];
    lines.push(Line { name: "∝ T".to_owned(), stroke: Stroke::Guide, points });
    let alt = format!("{} against the horizon, one line for each problem or route", family.label);
    let x = Scale { label: "horizon T [nodes]", marks: Marks::At(marks) };
    plot(&alt, x, family.label, lines)
}

/// Problem or route, and exponent of the power of T with which its time grows.
pub(super) fn growth(rows: &[Row]) -> Vec<(String, f64)> {
    let of = |line: Line| (exponent(&line.points), line.name);
    let lines = FAMILIES.iter().flat_map(|family| horizon_lines(rows, family));
    lines.map(of).map(|(exponent, name)| (name, exponent)).collect()
}

fn horizon_lines(rows: &[Row], family: &Family) -> Vec<Line> {
    // PREFIX-NAME-T
    lines(rows, |name| {
        let (problem, horizon) = name.strip_prefix(family.prefix)?.rsplit_once('-')?;
        Some((problem, horizon.parse().ok()?))
    })
}

/// The lines with two points or more, in the order of the rows; `split` gives a row's line and place.
fn lines(rows: &[Row], split: impl Fn(&str) -> Option<(&str, f64)>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let Some((name, x)) = split(&row.name) else { continue };
        let point = (x, row.median);
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: name.to_owned(),
                stroke: Stroke::Dotted,
                points: vec![point],
            }),
        }
    }
    lines.retain(|line| line.points.len() > 1);
    lines
}

fn plot(alt: &str, x: Scale, label: &'static str, lines: Vec<Line>) -> Option<String> {
    let y = Scale { label, marks: Marks::Decades };
    (!lines.is_empty()).then(|| draw(alt, &[Panel { title: String::new(), x, y, lines }]))
}

/// Slope of the least-squares line through the logarithms of the points.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let logs = || points.iter().map(|(x, y)| (x.ln(), y.ln()));
    let (mx, my) = logs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (xx, xy) = logs()
        .fold((0.0, 0.0), |(xx, xy), (x, y)| (xx + (x - mx) * (x - mx), xy + (x - mx) * (y - my)));
    xy / xx
}

#[cfg(test)]
mod tests {
    use super::super::stats::Series;
    use super::*;

    fn row(name: &str, median: f64) -> Row {
        Row {
            name: name.to_owned(),
            what: String::new(),
            threads: 1,
            unit: "µs",
            median,
            best: median,
            spread: 0.0,
            n: 1,
            samples: Series::default(),
            updates_per_second: None,
            gflops: None,
            share_of_peak: None,
            speed_up: None,
            peers: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn every_algorithm_with_two_lengths_has_a_line() {
        let rows = [
            row("chain-2-aba-derivatives", 0.4),
            row("arm-aba", 1.2),
            row("chain-64-aba-derivatives", 12.8),
            row("chain-64-crba", 20.0),
        ];
        let svg = chains(&rows).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains(">aba-derivatives</text>") && !svg.contains(">crba</text>"), "{svg}");
        // From 0.1 µs to 100 µs.
        assert!(svg.contains(">0.1</text>") && svg.contains(">100</text>"), "{svg}");
        assert_eq!(chains(&rows[1..]), None, "one length makes no picture");
        assert_eq!(horizons(&rows), None);
    }

    #[test]
    fn growth_is_the_slope_of_the_logarithms() {
        let times = [(10, 30.0), (100, 300.0), (1_000, 3_000.0)];
        let mut rows: Vec<Row> = times
            .iter()
            .map(|(horizon, time)| row(&format!("ddp-horizons-arm-{horizon}"), *time))
            .collect();
        rows.push(row("ddp-horizons-unicycle-10", 1.0));
        rows.push(row("ddp-horizons-unicycle-1000", 100.0));
        let found = growth(&rows);
        assert_eq!(
            found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["arm", "unicycle"]
        );
        assert!((found[0].1 - 1.0).abs() < 1e-12 && (found[1].1 - 1.0).abs() < 1e-12, "{found:?}");
        let svg = horizons(&rows).unwrap();
        for text in ["arm (∝ T^1.00)", ">∝ T<", "horizon T [nodes]", ">2,000<", "µs an iteration"]
        {
            assert!(svg.contains(text), "{text}");
        }
    }
}
