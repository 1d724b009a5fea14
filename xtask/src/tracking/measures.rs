//! What figures of laps show alike: measures of evaluations against minutes of the plant, and in a table.

use anyhow::Result;

use super::arms::{Lap, untrained};
use crate::report::lines::{Marks, Panel, Scale};
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Table};
use crate::runs::found::{Column, Found, Group};

/// Measures of the tasks, in their order, and how tables call them.
const MEASURES: [(&str, &str); 3] = [
    ("cost per step", "cost_per_step"),
    ("distance [m]", "track_distance"),
    ("speed [m/s]", "speed"),
];

/// Curves of a figure that have a run.
pub(super) fn shown<'f>(found: &'f Found, task: &str, arms: &[Lap]) -> Vec<(Lap, &'f Group)> {
    let group = |lap: &Lap| {
        let group = found.group(task, lap.name()).filter(|group| group.has(1))?;
        Some((*lap, group))
    };
    arms.iter().filter_map(group).collect()
}

/// A measure against time; a step of the policy takes so many seconds of the plant.
pub(super) fn panel(
    shown: &[(Lap, &Group)],
    (x, seconds): (&'static str, f64),
    (y, column): (&'static str, &'static str),
) -> Panel {
    let lines = shown.iter().flat_map(|(_, group)| {
        let mut lines = group.plain_lines(Column::Episodes, Column::Named(column));
        for line in &mut lines {
            line.points.iter_mut().for_each(|(x, _)| *x *= seconds / 60.0);
        }
        lines
    });
    Panel {
        title: String::new(),
        x: Scale { label: x, marks: Marks::Linear },
        y: Scale { label: y, marks: Marks::Linear },
        lines: lines.collect(),
    }
}

/// All measures before training and after so many steps of the policy, each of so many seconds of the plant.
pub(super) fn table(shown: &[(Lap, &Group)], (steps, seconds): (&[usize], f64)) -> Result<Table> {
    let minutes = |step: usize| step as f64 * seconds / 60.0;
    let after_steps: Vec<_> =
        steps.iter().map(|&step| format!("{step} steps, {:.1} min", minutes(step))).collect();
    let head = ["costates", "seeds", "ρ(Â + B̂K)", "", "before"].into_iter();
    let head: Vec<&str> = head.chain(after_steps.iter().map(String::as_str)).collect();
    let mut table = Table::new(&head, 3);
    for (lap, group) in shown {
        let Some(run) = group.runs.first() else { continue };
        for ((name, column), before) in MEASURES.into_iter().zip(untrained(run)?) {
            let mut row = vec![
                Entry::text(lap.name()),
                Entry::text(group.runs.len().to_string()),
                radius(group),
                Entry::text(name),
                Entry::text(format!("{before:.3}")),
            ];
            for &step in steps {
                row.push(Entry::estimate(&Estimate::mean(&after(group, column, step)), Some(3)));
            }
            table.push(row);
        }
    }
    Ok(table)
}

/// Largest spectral radius of the model's closed loop along the first roll-outs, mean over seeds.
pub(super) fn radius(group: &Group) -> Entry {
    let first = |cell| Column::Named("closed_loop_radius").of(cell).first().copied();
    let radii: Vec<f64> = group.runs.iter().filter_map(first).collect();
    Entry::text(format!("{:.3}", mean(&radii).unwrap_or(f64::NAN)))
}

/// A measure of each run after so many steps.
pub(super) fn after(group: &Group, column: &'static str, step: usize) -> Vec<f64> {
    let of = |cell| Column::Named(column).of(cell).get(step - 1).copied();
    group.runs.iter().filter_map(of).collect()
}
