//! Figure 1: convergence of the loop on three systems.

use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::found::Found;
use super::loops::{Loop, LoopResult, LoopRow};
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{columns, entry, geometric_mean, lines, power};
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
           to an rms value of 0.03. Terminal costs are V(x) − V(goal), which the paper does not \
           describe: without discount nothing else takes errors of the regression at the goal out \
           again. The unicycle, whose error they are largest for, is shown without that as well. \
           The paper's curves of “Bellman residuals” equal those that its figure \
           3 calls differences to the ground truth, so its two titles are probably exchanged; both \
           quantities are shown here under their own names, and the rule compares errors with the \
           paper's left panel and residuals with its right one.",
    rule: "With geometric means over seeds of the error to the ground truth. Order: in the last \
           iteration pendulum < cart-pole < unicycle. Errors: the pendulum's is at most 1.5·10⁻⁶ \
           from iteration 1 on, the cart-pole's at most 3.3·10⁻⁵ from iteration 4 on, the \
           unicycle's at most 3.6·10⁻⁴ in the last one. Residuals in the last iteration: at most \
           9·10⁻⁵, 1.2·10⁻⁷ and 2.7·10⁻⁵ on unicycle, cart-pole and pendulum. All levels are three \
           times what the paper plots. Reproduced: all three. Partly: one or two of them. Not \
           reproduced: none.",
    sizes: Size::truth_note,
    min_seeds: MIN_SEEDS,
    overview: true,
    cells,
    judge,
};

/// A system of the figure.
struct Published {
    task: &'static str,
    name: &'static str,
    /// First iteration at which the paper has converged.
    from: usize,
    /// Error that it then plots.
    error: f64,
    /// Residual that it plots last.
    residual: f64,
}

const SYSTEMS: [Published; 3] = [
    Published { task: "unicycle", name: "unicycle", from: 9, error: 1.2e-4, residual: 3e-5 },
    Published { task: "cartpole-gym", name: "cart-pole", from: 4, error: 1.1e-5, residual: 4e-8 },
    Published { task: "pendulum-ddp", name: "pendulum", from: 1, error: 5e-7, residual: 9e-6 },
];
/// Name of the unicycle's curve without an anchor.
const FREE: &str = "unicycle, not anchored";

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
    let cell = |seed, system: &System| loop_on(size, system, HORIZON, seed);
    let free = |seed| {
        let mut cell = cell(seed, &systems[0]);
        if let Experiment::Loop(run) = &mut cell.experiment {
            run.settings.anchor.clear();
        }
        cell
    };
    let all = |seed| systems.iter().map(move |s| cell(seed, s)).chain([free(seed)]);
    Ok((0..size.seeds).flat_map(all).collect())
}

/// A system's numbers: seeds at each iteration.
#[derive(Debug, Clone, Default)]
struct Curve {
    errors: Vec<Vec<f64>>,
    residuals: Vec<Vec<f64>>,
    /// Errors of V(x) − V(goal).
    from_goal: Vec<Vec<f64>>,
}

impl Curve {
    fn of(results: Vec<LoopResult>) -> Self {
        let seeds: Vec<Vec<LoopRow>> = results.into_iter().map(|r| r.iterations).collect();
        Self {
            errors: columns(&seeds, |row| Some(row.error)),
            residuals: columns(&seeds, |row| row.residual),
            from_goal: columns(&seeds, |row| Some(row.error_from_goal)),
        }
    }
}

fn judge(found: &Found) -> Result<Findings> {
    let mut all = found.by::<_, LoopResult>(|cell| match &cell.experiment {
        Experiment::Loop(run) => Some((cell.system.task.clone(), run.settings.anchor.is_empty())),
        _ => None,
    })?;
    let mut take =
        |task: &str, free| Curve::of(all.remove(&(task.to_owned(), free)).unwrap_or_default());
    let curves = SYSTEMS.map(|system| take(system.task, false));
    let free = take(SYSTEMS[0].task, true);
    let named: Vec<(&str, &Curve)> =
        SYSTEMS.iter().map(|s| s.name).zip(&curves).chain([(FREE, &free)]).collect();
    let panel = |title: &str, label, numbers: fn(&Curve) -> &[Vec<f64>]| Panel {
        title: title.to_owned(),
        x: Scale { label: "iteration", marks: Marks::Linear },
        y: Scale { label, marks: Marks::Decades },
        lines: (named.iter())
            .flat_map(|(name, curve)| {
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
    for (name, curve) in named {
        let at = |i: usize| curve.errors.get(i).map_or_else(|| Entry::text("–"), |v| entry(v));
        let last = |v: &[Vec<f64>]| v.last().map_or_else(|| Entry::text("–"), |v| entry(v));
        table.push(vec![
            Entry::text(name),
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
        rollouts: vec![],
        tables: vec![("Mean squared errors and residuals".to_owned(), table)],
    })
}

fn decide(curves: &[Curve; 3]) -> Verdict {
    let means = |seeds: &[Vec<f64>]| seeds.iter().map(|v| geometric_mean(v)).collect::<Vec<_>>();
    let last = |seeds: &[Vec<f64>]| means(seeds).last().copied().unwrap_or(f64::NAN);
    let list = |numbers: [f64; 3]| {
        let named = SYSTEMS.iter().zip(numbers);
        named.map(|(s, n)| format!("{} {}", s.name, power(n))).collect::<Vec<_>>().join(", ")
    };
    let errors = curves.each_ref().map(|curve| last(&curve.errors));
    let residuals = curves.each_ref().map(|curve| last(&curve.residuals));
    let ours = format!("last error: {}; last residual: {}", list(errors), list(residuals));
    let enough = |curve: &Curve| {
        curve.errors.len() > 4 && curve.errors.iter().all(|seeds| seeds.len() >= MIN_SEEDS)
    };
    if !curves.iter().all(enough) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds and 5 iterations of every system");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let [unicycle, cartpole, pendulum] = errors;
    let ordered = pendulum < cartpole && cartpole < unicycle;
    let above = |late: Vec<&str>, what: &str| match late.is_empty() {
        true => format!("all {what} reach the published levels"),
        false => format!("{what} above the published levels: {}", late.join(", ")),
    };
    let late_errors: Vec<&str> = (SYSTEMS.iter().zip(curves))
        .filter(|(system, curve)| {
            let means = means(&curve.errors);
            let from = system.from.min(means.len() - 1);
            !means[from..].iter().all(|error| *error <= WITHIN * system.error)
        })
        .map(|(system, _)| system.name)
        .collect();
    let late_residuals: Vec<&str> = (SYSTEMS.iter().zip(residuals))
        .filter(|(system, residual)| residual.is_nan() || *residual > WITHIN * system.residual)
        .map(|(system, _)| system.name)
        .collect();
    let holds = [ordered, late_errors.is_empty(), late_residuals.is_empty()];
    let kind = match holds.iter().filter(|holds| **holds).count() {
        3 => Kind::Reproduced,
        0 => Kind::NotReproduced,
        _ => Kind::Partly,
    };
    let order = if ordered { "The order is the paper's" } else { "The order is not the paper's" };
    let (errors, residuals) = (above(late_errors, "errors"), above(late_residuals, "residuals"));
    Verdict { kind, ours, reason: format!("{order}; {errors}; {residuals}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(errors: [f64; 6]) -> Curve {
        let residuals = vec![vec![1e-8; 3]];
        Curve { errors: errors.map(|e| vec![e; 3]).to_vec(), residuals, ..Curve::default() }
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
        assert_eq!(kind([&cartpole, &unicycle, &pendulum]), Kind::Partly);
        let rough = Curve { residuals: vec![vec![1e-3; 3]], ..unicycle.clone() };
        assert_eq!(kind([&rough, &cartpole, &pendulum]), Kind::Partly);
        assert_eq!(kind([&cartpole, &rough, &pendulum]), Kind::NotReproduced);
        let two = Curve { errors: vec![vec![1e-9; 2]; 6], ..Curve::default() };
        assert_eq!(kind([&unicycle, &cartpole, &two]), Kind::NotRun);
    }
}
