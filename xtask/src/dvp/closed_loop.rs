//! Control with a learned value and a short horizon against a long horizon without.

use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::control::{ClosedLoops, ClosedLoopsResult, Controller, TickTimes};
use super::found::Found;
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/closed-loop",
    title: "Control with a learned value and a short horizon",
    claim: "A learned value at the end of a short horizon does the work of a long horizon, at less \
            cost per plan (Parag et al. 2022, in words)",
    note: "Unicycle, weights (0.1, 0.2), value learned with T = 50 from x and y in ±2, θ in ±π, \
           terminal costs held at 0 at the goal; 20 starts of 150 steps at the quick profile, 50 \
           of 300 at the paper's; the plant is the model, a plan at every step from the one before, shifted. Horizons \
           without a value end in the cost of one more step. What a run has not paid at its end is \
           the value of 1 000 steps there.",
    rule: "With means over seeds. A short horizon (at most 20 steps) with the value is compared \
           with the longest horizon without. Reproduced: one of them costs at most one hundredth \
           of the best cost more than it, and its plans take at most half the work, iterations \
           times horizon. Partly: every horizon with the value costs less than the same horizon \
           without. Not reproduced: otherwise.",
    sizes: Size::loop_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

const WITH: [usize; 4] = [5, 10, 20, 50];
const WITHOUT: [usize; 6] = [5, 10, 20, 50, 100, 200];
/// Longest horizon that counts as short.
const SHORT: usize = 20;
/// Excess cost that counts as equal, in units of the best cost.
const EQUAL: f64 = 0.01;

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let system = System::unicycle_b()?;
    let cell = |seed| {
        let loops = ClosedLoops {
            starts: size.pick(2, 20, 50),
            ticks: size.pick(10, 150, 300),
            with_value: WITH[..size.pick(1, 4, 4)].to_vec(),
            without: WITHOUT[..size.pick(1, 6, 6)].to_vec(),
            iterations: 100,
            reference: size.pick(100, 1000, 1000),
            settings: size.dvp(&system, 50),
        };
        Cell::new(system.clone(), seed, Experiment::ClosedLoops(loops))
    };
    Ok((0..size.seeds).map(cell).collect())
}

/// A controller over seeds.
struct Row {
    with_value: bool,
    horizon: usize,
    excess: Vec<f64>,
    first: Vec<f64>,
    iterations: Vec<f64>,
    micros: Vec<f64>,
}

fn judge(found: &Found) -> Result<Findings> {
    let seeds = found.by::<_, ClosedLoopsResult>(|cell| match cell.experiment {
        Experiment::ClosedLoops(_) => Some(()),
        _ => None,
    })?;
    let seeds: Vec<_> = seeds.into_values().flatten().collect();
    let times: Vec<&TickTimes> = found.timings().filter_map(|t| t.plans.as_ref()).collect();
    let rows = |with_value: bool| -> Vec<Row> {
        let controllers = |r: &ClosedLoopsResult| {
            if with_value { r.with_value.clone() } else { r.without.clone() }
        };
        let all: Vec<Vec<Controller>> = seeds.iter().map(controllers).collect();
        let length = all.iter().map(Vec::len).min().unwrap_or(0);
        let row = |i: usize| {
            let of = |pick: fn(&Controller) -> f64| all.iter().map(|c| pick(&c[i])).collect();
            let micros = times.iter().map(|t| if with_value { &t.with_value } else { &t.without });
            Row {
                with_value,
                horizon: all[0][i].horizon,
                excess: of(|c| c.excess),
                first: of(|c| c.first_iterations),
                iterations: of(|c| c.iterations),
                micros: micros.filter_map(|t| t.get(i).copied()).collect(),
            }
        };
        (0..length).map(row).collect()
    };
    let rows: Vec<Row> = rows(true).into_iter().chain(rows(false)).collect();
    let mut table = Table::new(
        &[
            "end of the horizon",
            "T",
            "excess cost [%]",
            "iterations, first plan",
            "later",
            "µs per plan",
        ],
        1,
    );
    for row in &rows {
        let show = |values: &[f64], factor: f64| {
            let scaled: Vec<f64> = values.iter().map(|v| factor * v).collect();
            Entry::estimate(&Estimate::mean(&scaled), Some(2))
        };
        table.push(vec![
            Entry::text(if row.with_value { "learned value" } else { "cost of one more step" }),
            Entry::text(row.horizon.to_string()),
            show(&row.excess, 100.0),
            show(&row.first, 1.0),
            show(&row.iterations, 1.0),
            show(&row.micros, 1.0),
        ]);
    }
    let line = |with_value: bool, name: &str, pick: fn(&Row) -> f64| Line {
        name: name.to_owned(),
        stroke: Stroke::Dotted,
        points: rows
            .iter()
            .filter(|row| row.with_value == with_value)
            .map(|row| (row.horizon as f64, pick(row)))
            .collect(),
    };
    let panel = |title: &str, label, pick: fn(&Row) -> f64| Panel {
        title: title.to_owned(),
        x: Scale {
            label: "steps of the horizon",
            marks: Marks::At(WITHOUT.map(|t| t as f64).to_vec()),
        },
        y: Scale { label, marks: Marks::Decades },
        lines: vec![line(true, "with the learned value", pick), line(false, "without", pick)],
    };
    let panels = [
        panel("Cost of control", "excess over the best cost", |row| mean(&row.excess)),
        panel("Work of a plan", "iterations × horizon", |row| {
            mean(&row.iterations) * row.horizon as f64
        }),
    ];
    let caption = "Closed loops from random starts: cost above the best there is, and work per \
                   plan; means over seeds.";
    Ok(Findings {
        verdict: decide(&rows),
        pictures: vec![Illustration {
            name: "cost",
            caption: caption.to_owned(),
            picture: picture("Cost and work against the horizon", &panels),
        }],
        rollouts: vec![],
        tables: vec![("Controllers; times are of the machine named below".to_owned(), table)],
    })
}

fn mean(values: &[f64]) -> f64 {
    Estimate::mean(values).value.unwrap_or(f64::NAN)
}

fn decide(rows: &[Row]) -> Verdict {
    let work = |row: &Row| mean(&row.iterations) * row.horizon as f64;
    let short = rows.iter().filter(|row| row.with_value && row.horizon <= SHORT);
    let best = short.min_by(|a, b| mean(&a.excess).total_cmp(&mean(&b.excess)));
    let long = rows.iter().filter(|row| !row.with_value).max_by_key(|row| row.horizon);
    let (Some(best), Some(long)) = (best, long) else {
        let reason = "No controller is complete".to_owned();
        return Verdict { kind: Kind::NotRun, ours: String::new(), reason };
    };
    let ours = format!(
        "T = {} with the value costs {:.2} % more than the best, T = {} without {:.2} %; work per \
         plan {:.0} and {:.0}",
        best.horizon,
        100.0 * mean(&best.excess),
        long.horizon,
        100.0 * mean(&long.excess),
        work(best),
        work(long)
    );
    let seeds = rows.iter().map(|row| row.excess.len()).min().unwrap_or(0);
    if seeds < MIN_SEEDS {
        let reason = format!("{seeds} seeds are complete; the rule needs {MIN_SEEDS}");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let equal = mean(&best.excess) <= mean(&long.excess) + EQUAL;
    let less = work(best) <= 0.5 * work(long);
    let with = rows.iter().filter(|row| row.with_value);
    let better = with.clone().all(|row| {
        let same = rows.iter().find(|other| !other.with_value && other.horizon == row.horizon);
        same.is_none_or(|same| mean(&row.excess) < mean(&same.excess))
    });
    let kind = match () {
        () if equal && less => Kind::Reproduced,
        () if better => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let reason = format!(
        "The best short horizon with the value takes {:.2} times the work of the longest without",
        work(best) / work(long)
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(with_value: bool, horizon: usize, excess: f64) -> Row {
        let three = |v: f64| vec![v; 3];
        Row {
            with_value,
            horizon,
            excess: three(excess),
            first: three(1.0),
            iterations: three(2.0),
            micros: Vec::new(),
        }
    }

    #[test]
    fn cost_and_work_decide() {
        let kind = |with: f64, short: f64| {
            decide(&[row(true, 10, with), row(false, 10, short), row(false, 200, 0.002)]).kind
        };
        assert_eq!(kind(0.005, 0.5), Kind::Reproduced);
        assert_eq!(kind(0.05, 0.5), Kind::Partly);
        assert_eq!(kind(0.6, 0.5), Kind::NotReproduced);
        assert_eq!(decide(&[]).kind, Kind::NotRun);
    }
}
