//! Figure 2: paths of the unicycle from one start.

use std::collections::BTreeMap;

use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::control::{Paths, PathsResult};
use super::found::Found;
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig2",
    title: "Paths of the unicycle with and without a learned value",
    claim: "With the learned value as terminal cost even short plans follow the path of a plan of \
            1 000 steps; without it they stop on the way (Parag et al. 2022, figure 2)",
    note: "Weights (0.1, 0.2), found by matching the end points that the paper plots without a \
           value. Its starts are not published either: those of the loop have x in ±1.6, y and θ in \
           ±1.3, a box about the path; the table has a wider one, of ±2, ±2 and ±π, as well. One \
           value, learned with T = 50 and held at 0 at the goal, ends all plans. Plans without it \
           end in the cost of one more step, as in the paper.",
    rule: "Left: the largest distance between a plan of T steps and the first T steps of the path \
           of 1 000 (from any point of either line to the other line), median over seeds, is at \
           most 0.05 at every T. Right: the plans without a value end within 0.02 of the \
           paper's points. Reproduced: both. Partly: the right, and at every T the end of the plan \
           with the value is nearer to the end of the path than that of the plan without. Not \
           reproduced: otherwise.",
    sizes: Size::loop_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// Steps of the plans.
const HORIZONS: [usize; 6] = [20, 40, 50, 60, 80, 100];
/// Ends of the plans without a value, read off the paper's plot (T = 20 is not in it).
const ENDS: [(usize, [f64; 2]); 5] = [
    (40, [-0.82, -1.145]),
    (50, [-0.43, -0.985]),
    (60, [-0.19, -0.80]),
    (80, [0.0, -0.56]),
    (100, [0.03, -0.425]),
];
/// Distances that count as equal.
const NEAR: f64 = 0.05;
const SAME_END: f64 = 0.02;

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let cell = |seed, system: &System| {
        let paths = Paths {
            start: vec![-1.24; 3],
            horizons: HORIZONS.to_vec(),
            reference: size.pick(150, 1000, 1000),
            settings: size.dvp(system, 50),
        };
        Cell::new(system.clone(), seed, Experiment::Paths(paths))
    };
    let boxes = [System::unicycle_b_path()?, System::unicycle_b()?];
    Ok((0..size.seeds).flat_map(|seed| boxes.iter().map(move |b| cell(seed, b))).collect())
}

/// What the rule looks at.
#[derive(Debug, Clone, Default)]
struct Numbers {
    /// Distances of all seeds, by horizon.
    distances: BTreeMap<usize, Vec<f64>>,
    /// The same with starts from the wide box.
    wide: BTreeMap<usize, Vec<f64>>,
    /// Distances of the ends from the end of the path, of all seeds with the value and without it.
    ends: BTreeMap<usize, (Vec<f64>, f64)>,
    /// Ends without the value.
    without: BTreeMap<usize, [f64; 2]>,
}

fn judge(found: &Found) -> Result<Findings> {
    let wide = System::unicycle_b()?.spread;
    let mut boxes = found.by::<_, PathsResult>(|cell| match cell.experiment {
        Experiment::Paths(_) => Some(cell.system.spread == wide),
        _ => None,
    })?;
    let (seeds, wide) = [false, true].map(|b| boxes.remove(&b).unwrap_or_default()).into();
    let Some(first) = seeds.first() else { anyhow::bail!("no seed is complete") };
    let mut numbers = Numbers::default();
    let goal = end(&first.reference);
    for horizon in HORIZONS {
        let far = |s: &PathsResult| {
            let steps = (horizon + 1).min(s.reference.len());
            Some(distance(s.with_value.get(&horizon)?, &s.reference[..steps]))
        };
        numbers.distances.insert(horizon, seeds.iter().filter_map(far).collect());
        numbers.wide.insert(horizon, wide.iter().filter_map(far).collect());
        let ends = seeds.iter().filter_map(|s| s.with_value.get(&horizon));
        let ends = ends.map(|path| apart(end(path), goal)).collect();
        if let Some(path) = first.without.get(&horizon) {
            numbers.ends.insert(horizon, (ends, apart(end(path), goal)));
            numbers.without.insert(horizon, end(path));
        }
    }
    let panel = |title: &str, paths: &BTreeMap<usize, Vec<[f64; 2]>>| Panel {
        title: title.to_owned(),
        x: Scale { label: "x [m]", marks: Marks::Linear },
        y: Scale { label: "y [m]", marks: Marks::Linear },
        lines: paths
            .iter()
            .map(|(horizon, path)| line(&format!("T = {horizon}"), Stroke::Plain, path))
            .chain([line("1 000 steps", Stroke::Guide, &first.reference)])
            .collect(),
    };
    let panels =
        [panel("With the learned value", &first.with_value), panel("Without", &first.without)];
    let mut table = Table::new(
        &[
            "T",
            "distance from the path",
            "with wide starts",
            "end from its end, with V",
            "without",
            "paper's end",
            "ours",
        ],
        1,
    );
    for horizon in HORIZONS {
        let point = |p: Option<[f64; 2]>| {
            p.map_or_else(|| "–".to_owned(), |[x, y]| format!("({x:.3}, {y:.3})"))
        };
        let published = ENDS.iter().find(|(h, _)| *h == horizon).map(|(_, p)| *p);
        let (with, without) = numbers.ends.get(&horizon).cloned().unwrap_or_default();
        table.push(vec![
            Entry::text(horizon.to_string()),
            spread(&numbers.distances[&horizon]),
            spread(&numbers.wide[&horizon]),
            spread(&with),
            Entry::text(format!("{without:.3}")),
            Entry::text(point(published)),
            Entry::text(point(numbers.without.get(&horizon).copied())),
        ]);
    }
    let caption =
        "Plans from (−1.24, −1.24, −1.24) of the first seed; dashed, the plan of 1 000 steps.";
    Ok(Findings {
        verdict: decide(&numbers),
        pictures: vec![Illustration {
            name: "paths",
            caption: caption.to_owned(),
            picture: picture("Paths in the plane for six horizons", &panels),
        }],
        rollouts: vec![],
        tables: vec![("Distances [m], median over seeds with range".to_owned(), table)],
    })
}

fn line(name: &str, stroke: Stroke, path: &[[f64; 2]]) -> Line {
    Line { name: name.to_owned(), stroke, points: path.iter().map(|p| (p[0], p[1])).collect() }
}

fn end(path: &[[f64; 2]]) -> [f64; 2] {
    path.last().copied().unwrap_or([f64::NAN; 2])
}

/// Largest distance from a point of either line to the other line.
fn distance(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let farthest = |points: &[[f64; 2]], line: &[[f64; 2]]| {
        points.iter().map(|p| from_line(*p, line)).fold(0.0, f64::max)
    };
    farthest(a, b).max(farthest(b, a))
}

/// Distance of a point from a line of pieces.
fn from_line(p: [f64; 2], line: &[[f64; 2]]) -> f64 {
    let to_piece = |piece: &[[f64; 2]]| {
        let (a, along) = (piece[0], [piece[1][0] - piece[0][0], piece[1][1] - piece[0][1]]);
        let square = along[0].powi(2) + along[1].powi(2);
        let dot = (p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1];
        let share = if square > 0.0 { (dot / square).clamp(0.0, 1.0) } else { 0.0 };
        apart(p, [a[0] + share * along[0], a[1] + share * along[1]])
    };
    line.windows(2).map(to_piece).fold(f64::INFINITY, f64::min)
}

fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> Entry {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    if values.is_empty() {
        return Entry::text("–");
    }
    Entry::with(format!("{:.3}", median(values)), format!("[{low:.3}, {high:.3}]"))
}

fn decide(numbers: &Numbers) -> Verdict {
    let medians: Vec<_> = numbers.distances.iter().map(|(t, v)| (*t, median(v))).collect();
    let farthest = medians.iter().map(|(_, d)| *d).fold(0.0, f64::max);
    let near = medians.iter().filter(|(_, d)| *d <= NEAR).count();
    let ends = ENDS.iter().filter_map(|(t, p)| Some(apart(*numbers.without.get(t)?, *p)));
    let (n_ends, off) = ends.fold((0, 0.0), |(n, off), d| (n + 1, f64::max(off, d)));
    let ours = format!(
        "plans with the value differ from the path of 1 000 steps by {farthest:.3} at most; \
         without it they end within {off:.3} of the paper's points"
    );
    let seeds = numbers.distances.values().map(Vec::len).min().unwrap_or(0);
    if seeds < MIN_SEEDS || n_ends < ENDS.len() {
        let reason = format!("{seeds} seeds are complete; the rule needs {MIN_SEEDS}");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let right = off <= SAME_END;
    let nearer = numbers.ends.values().all(|(with, without)| median(with) < *without);
    let kind = match () {
        () if right && near == HORIZONS.len() => Kind::Reproduced,
        () if right && nearer => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let ends = if nearer { "nearer" } else { "not always nearer" };
    let reason = format!(
        "{near} of {} plans with the value stay within {NEAR} of the path, and their ends are \
         {ends} to its end than those without",
        HORIZONS.len()
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(distance: f64, with: f64, off: f64) -> Numbers {
        Numbers {
            distances: HORIZONS.map(|t| (t, vec![distance; 3])).into(),
            wide: BTreeMap::new(),
            ends: HORIZONS.map(|t| (t, (vec![with; 3], 0.5))).into(),
            without: ENDS.map(|(t, [x, y])| (t, [x + off, y])).into(),
        }
    }

    #[test]
    fn a_plan_that_stays_at_its_start_is_far_from_the_path() {
        let path = [[0.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 1.0]];
        assert!((distance(&[[0.0, 0.0], [0.0, 0.0]], &path) - 5.0_f64.sqrt()).abs() < 1e-12);
        assert!((distance(&[[0.0, 0.5], [2.0, 0.5], [2.0, 1.0]], &path) - 0.5).abs() < 1e-12);
        assert!(from_line([2.0, 0.7], &path) < 1e-15);
    }

    #[test]
    fn distances_and_ends_decide() {
        assert_eq!(decide(&numbers(0.04, 0.1, 0.01)).kind, Kind::Reproduced);
        assert_eq!(decide(&numbers(0.4, 0.1, 0.01)).kind, Kind::Partly);
        assert_eq!(decide(&numbers(0.4, 0.6, 0.01)).kind, Kind::NotReproduced);
        assert_eq!(decide(&numbers(0.04, 0.1, 0.3)).kind, Kind::NotReproduced);
        assert_eq!(decide(&Numbers::default()).kind, Kind::NotRun);
    }
}
