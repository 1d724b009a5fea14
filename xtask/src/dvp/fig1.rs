//! Figure 1: convergence of the loop on three systems.

use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::curves::{columns, entry, lines, mean, power};
use super::found::{Findings, Found};
use super::loops::{Loop, LoopResult, LoopRow};
use super::settings::Size;
use super::system::System;
use super::{Figure, MIN_SEEDS};
use crate::report::lines::{Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};

/// Steps of each solve.
const HORIZON: usize = 60;

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig1",
    title: "The loop converges on unicycle, cart-pole and pendulum",
    claim: "Differential value programming converges within a few iterations, the pendulum after \
            one, the cart-pole after four, the unicycle last (Parag et al. 2022, figure 1)",
    note: "T = 60. The paper prints neither weights nor boxes of starts: unicycle w = (√2/10, \
           √2/10), x and y in ±2.1, θ in ±2π; cart-pole and pendulum with w_u/w_x = 0.03, scaled \
           to an rms value of 0.03. Its curves of “Bellman residuals” equal those that its figure \
           3 calls differences to the ground truth, so its two titles are probably exchanged; both \
           quantities are shown here under their own names, and the rule compares errors with the \
           paper's left panel.",
    rule: "With geometric means over seeds of the error to the ground truth. Order: in the last \
           iteration pendulum < cart-pole < unicycle. Levels: the pendulum's is at most 1.5·10⁻⁶ \
           from iteration 1 on, the cart-pole's at most 3.3·10⁻⁵ from iteration 4 on, the \
           unicycle's at most 3.6·10⁻⁴ in the last one (three times what the paper plots). \
           Reproduced: both. Partly: one of them. Not reproduced: none.",
    sizes: Size::loop_note,
    overview: true,
    cells,
    judge,
};

/// Task, its name in the figure, the first iteration at which the paper has converged, and the
/// level it then plots.
const SYSTEMS: [(&str, &str, usize, f64); 3] = [
    ("unicycle", "unicycle", 9, 1.2e-4),
    ("cartpole-gym", "cart-pole", 4, 1.1e-5),
    ("pendulum-ddp", "pendulum", 1, 5e-7),
];

/// Factor around published levels.
const WITHIN: f64 = 3.0;

/// The loop on a system with a horizon.
pub(super) fn loop_on(size: &Size, system: &System, horizon: usize, seed: u64) -> Cell {
    let settings = size.dvp(system, horizon);
    let run = Loop { truth: size.truth(), settings };
    Cell::new(system.clone(), seed, Experiment::Loop(run))
}

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let systems = [System::unicycle_a()?, System::cartpole()?, System::pendulum()?];
    let all = (0..size.seeds).flat_map(|seed| systems.iter().map(move |s| (seed, s)));
    Ok(all.map(|(seed, system)| loop_on(size, system, HORIZON, seed)).collect())
}

/// A system's numbers: seeds at each iteration.
#[derive(Debug, Clone, Default)]
struct Curve {
    errors: Vec<Vec<f64>>,
    residuals: Vec<Vec<f64>>,
    /// Errors of V(x) − V(goal).
    from_goal: Vec<Vec<f64>>,
}

fn judge(found: &Found) -> Result<Findings> {
    let mut all = found.by::<_, LoopResult>(|cell| match &cell.experiment {
        Experiment::Loop(_) => Some(cell.system.task.clone()),
        _ => None,
    })?;
    let curves = SYSTEMS.map(|(task, ..)| {
        let seeds: Vec<Vec<LoopRow>> =
            all.remove(task).into_iter().flatten().map(|result| result.iterations).collect();
        Curve {
            errors: columns(&seeds, |row| Some(row.error)),
            residuals: columns(&seeds, |row| row.residual),
            from_goal: columns(&seeds, |row| Some(row.error_from_goal)),
        }
    });
    let panel = |title: &str, label, numbers: fn(&Curve) -> &[Vec<f64>]| Panel {
        title: title.to_owned(),
        x: Scale { label: "iteration", marks: Marks::Linear },
        y: Scale { label, marks: Marks::Decades },
        lines: (SYSTEMS.iter().zip(&curves))
            .flat_map(|((_, name, ..), curve)| {
                let points = numbers(curve).iter().enumerate().filter(|(_, v)| !v.is_empty());
                let points: Vec<_> = points.map(|(i, v)| (i as f64, v.clone())).collect();
                lines(name, Stroke::Dotted, &points)
            })
            .collect(),
    };
    let panels = [
        panel("Error: Vᵢ against ground truth", "mean squared error", |c| &c.errors),
        panel("Bellman residual: Vᵢ against Vᵢ₋₁", "mean squared difference", |c| {
            &c.residuals
        }),
    ];
    let picture = picture("Error and Bellman residual against the iteration", &panels);
    let caption = "Mean squared error to long-horizon values, and mean squared difference of \
                   successive networks, at fixed random states: geometric mean over seeds with 95 \
                   % band.";
    let mut table = Table::new(
        &[
            "system",
            "error, iteration 0",
            "iteration 1",
            "iteration 4",
            "last",
            "last, V − V(goal)",
            "residual, last",
        ],
        1,
    );
    for ((_, name, ..), curve) in SYSTEMS.iter().zip(&curves) {
        let at = |i: usize| curve.errors.get(i).map_or_else(|| Entry::text("–"), |v| entry(v));
        let last = |v: &[Vec<f64>]| v.last().map_or_else(|| Entry::text("–"), |v| entry(v));
        table.push(vec![
            Entry::text(*name),
            at(0),
            at(1),
            at(4),
            last(&curve.errors),
            last(&curve.from_goal),
            last(&curve.residuals),
        ]);
    }
    Ok(Findings {
        verdict: decide(&curves),
        pictures: vec![Illustration { name: "curves", caption: caption.to_owned(), picture }],
        tables: vec![("Mean squared errors and residuals".to_owned(), table)],
    })
}

fn decide(curves: &[Curve; 3]) -> Verdict {
    let means = |curve: &Curve| curve.errors.iter().map(|v| mean(v)).collect::<Vec<_>>();
    let last = |curve: &Curve| means(curve).last().copied().unwrap_or(f64::NAN);
    let [unicycle, cartpole, pendulum] = curves.each_ref().map(last);
    let ours = format!(
        "error in the last iteration: unicycle {}, cart-pole {}, pendulum {}",
        power(unicycle),
        power(cartpole),
        power(pendulum)
    );
    let enough = |curve: &Curve| {
        curve.errors.len() > 4 && curve.errors.iter().all(|seeds| seeds.len() >= MIN_SEEDS)
    };
    if !curves.iter().all(enough) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds and 5 iterations of every system");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let ordered = pendulum < cartpole && cartpole < unicycle;
    let late: Vec<&str> = (SYSTEMS.iter().zip(curves))
        .filter(|((_, _, from, level), curve)| {
            let means = means(curve);
            let from = (*from).min(means.len() - 1);
            !means[from..].iter().all(|error| *error <= WITHIN * level)
        })
        .map(|((_, name, ..), _)| *name)
        .collect();
    let kind = match (ordered, late.is_empty()) {
        (true, true) => Kind::Reproduced,
        (false, false) => Kind::NotReproduced,
        _ => Kind::Partly,
    };
    let order = if ordered { "The order is the paper's" } else { "The order is not the paper's" };
    let levels = match late.is_empty() {
        true => "all three reach the published levels in time".to_owned(),
        false => format!("above the published level: {}", late.join(", ")),
    };
    Verdict { kind, ours, reason: format!("{order}; {levels}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(errors: [f64; 6]) -> Curve {
        Curve { errors: errors.map(|e| vec![e; 3]).to_vec(), ..Curve::default() }
    }

    #[test]
    fn order_and_levels_decide() {
        let unicycle = curve([1e-3, 9e-4, 5e-4, 4e-4, 3e-4, 2e-4]);
        let cartpole = curve([5e-5, 9e-5, 5e-5, 4e-5, 3e-6, 2e-6]);
        let pendulum = curve([5e-5, 9e-7, 5e-7, 4e-7, 3e-7, 2e-7]);
        let kind = |curves: [&Curve; 3]| decide(&curves.map(Clone::clone)).kind;
        assert_eq!(kind([&unicycle, &cartpole, &pendulum]), Kind::Reproduced);
        let slow = curve([5e-5, 9e-5, 5e-5, 4e-5, 4e-5, 2e-6]);
        assert_eq!(kind([&unicycle, &slow, &pendulum]), Kind::Partly);
        assert_eq!(kind([&cartpole, &unicycle, &pendulum]), Kind::NotReproduced);
        let two = Curve { errors: vec![vec![1e-9; 2]; 6], ..Curve::default() };
        assert_eq!(kind([&unicycle, &cartpole, &two]), Kind::NotRun);
    }
}
