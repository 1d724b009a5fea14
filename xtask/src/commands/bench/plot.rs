//! The cost of the algorithms against the number of links, as a picture with two logarithmic axes.

use std::fmt::Write as _;

use super::results::Row;
use super::robots::{CHAINS, Robot};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Pixels of the axes' ends: left, right, top, bottom. The right margin has the lines' names.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 350.0;
/// Colours of the lines (Okabe and Ito, 2008).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#b1568c", "#b57f00", "#3d7ea6"];
/// Least distance of two names (pixels).
const LINE_HEIGHT: f64 = 15.0;

/// One algorithm: its name, and links with microseconds.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// The picture, if an algorithm was measured on chains of two lengths at least.
pub(super) fn chains(rows: &[Row]) -> Option<String> {
    let lines = lines(rows);
    (!lines.is_empty()).then(|| draw(&lines))
}

/// The lines with two points or more, in the order of the rows.
fn lines(rows: &[Row]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for links in CHAINS {
        let prefix = Robot::Chain(links).name() + "-";
        for row in rows {
            let Some(name) = row.name.strip_prefix(&prefix) else { continue };
            let point = (links as f64, row.median);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name: name.to_owned(), points: vec![point] }),
            }
        }
    }
    lines.retain(|line| line.points.len() > 1);
    lines
}

/// Where a value lies between two ends, by logarithms.
fn place(value: f64, (low, high): (f64, f64), (from, to): (f64, f64)) -> f64 {
    from + (value / low).ln() / (high / low).ln() * (to - from)
}

fn draw(lines: &[Line]) -> String {
    let times = || lines.iter().flat_map(|line| line.points.iter().map(|(_, time)| *time));
    let (least, greatest) = super::stats::range(times());
    // Whole decades around all times.
    let decade = |time: f64| time.max(1e-3).log10();
    let (first, last) = (decade(least).floor() as i32, decade(greatest).floor() as i32 + 1);
    let rows = (10_f64.powi(first), 10_f64.powi(last));
    let columns = (CHAINS[0] as f64, CHAINS[CHAINS.len() - 1] as f64);
    let x = |links| place(links, columns, (LEFT, RIGHT));
    let y = |time| place(time, rows, (BOTTOM, TOP));

    let alt = "Microseconds a call against the number of links, one line for each algorithm";
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{alt}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#1b1f24\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    // Writing to a string cannot fail.
    let mut add = |element: String| _ = writeln!(svg, "{element}");
    let rule = |(x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str| {
        format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
        )
    };
    let text = |x: f64, y: f64, more: &str, text: &str| {
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {more}>{text}</text>")
    };
    for links in CHAINS {
        let at = x(links as f64);
        add(rule((at, TOP), (at, BOTTOM), "#e8ebee"));
        add(text(at, BOTTOM + 17.0, "text-anchor=\"middle\"", &links.to_string()));
    }
    for exponent in first..=last {
        let time = 10_f64.powi(exponent);
        let decimals = usize::try_from(-exponent).unwrap_or(0);
        add(rule((LEFT, y(time)), (RIGHT, y(time)), "#e8ebee"));
        add(text(LEFT - 8.0, y(time) + 4.0, "text-anchor=\"end\"", &format!("{time:.decimals$}")));
    }
    add(rule((LEFT, BOTTOM), (RIGHT, BOTTOM), "#8b949e"));
    add(rule((LEFT, TOP), (LEFT, BOTTOM), "#8b949e"));
    add(text((LEFT + RIGHT) / 2.0, BOTTOM + 38.0, "text-anchor=\"middle\"", "revolute links"));
    let middle = (TOP + BOTTOM) / 2.0;
    add(format!(
        "<text transform=\"translate(18 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">µs a \
         call</text>"
    ));

    let mut names = Vec::new();
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<(f64, f64)> = line.points.iter().map(|(n, t)| (x(*n), y(*t))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        add(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        ));
        for ((x, y), (_, time)) in points.iter().zip(&line.points) {
            add(format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{time:.3} \
                 µs</title></circle>"
            ));
        }
        if let Some((_, end)) = points.last() {
            names.push((*end, &line.name, colour));
        }
    }
    // Names stand at the lines' ends, from the top down and apart.
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::NEG_INFINITY;
    for (end, name, colour) in names {
        let at = f64::max(end, free);
        free = at + LINE_HEIGHT;
        add(text(RIGHT + 10.0, at + 4.0, &format!("fill=\"{colour}\" font-weight=\"600\""), name));
    }
    svg.push_str("</svg>\n");
    svg
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
            peers: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn every_algorithm_with_two_lengths_has_a_line() {
        let rows = [
            row("chain-2-aba", 0.4),
            row("arm-aba", 1.2),
            row("chain-64-aba", 12.8),
            row("chain-64-crba", 20.0),
        ];
        let found = lines(&rows);
        assert_eq!(
            found,
            [Line { name: "aba".to_owned(), points: vec![(2.0, 0.4), (64.0, 12.8)] }]
        );
        let svg = chains(&rows).unwrap();
        // From 0.1 µs to 100 µs: the time 12.8 lies at 0.7024 of the height.
        assert!(svg.contains("points=\"64.0,283.8 500.0,118.2\""), "{svg}");
        assert!(svg.contains(">0.1</text>") && svg.contains(">100</text>"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
    }

    #[test]
    fn one_length_makes_no_picture() {
        assert_eq!(chains(&[row("chain-2-aba", 0.4), row("arm-aba", 1.0)]), None);
    }
}
