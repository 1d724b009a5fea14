//! Figure 4: a first terminal cost that is off by a constant.

use std::collections::BTreeMap;

use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::fig1::loop_on;
use super::found::Found;
use super::loops::{LoopResult, LoopRow};
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{columns, entry, geometric_mean, lines, power};
use crate::report::lines::{Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig4",
    title: "A biased first terminal cost",
    claim: "The loop recovers from a biased first terminal cost within three or four iterations, \
            on the pendulum within one (Parag et al. 2022, figure 4)",
    note: "T = 60. The biases are those whose squares the paper's curves start at; three labels of \
           its legend are ten times too large. The loop does not discount, so a constant behind \
           the horizon shifts no trajectory and is added to every later value as well: it goes \
           only if V is held at 0 at the goal. The paper describes nothing of that kind; here \
           terminal costs are V(x) − V(goal). What becomes of the largest bias without that is \
           shown beside it.",
    rule: "With geometric means over seeds of the mean squared error to the ground truth, for \
           every bias: at most 5·10⁻⁵ from iteration 1 on (pendulum) and 3·10⁻⁵ from iteration 3 \
           on (cart-pole), as the paper plots. Reproduced: by the loop as the paper describes it, \
           without an anchor, too. Partly: with terminal costs that are held at 0 at the goal. Not \
           reproduced: otherwise.",
    sizes: Size::truth_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// The biases, and none to compare with.
const BIASES: [f64; 7] = [0.0, 0.001, 0.005, 0.01, 0.05, 0.07, 0.1];
/// Task, name, the iteration from which the bias is to be forgotten, the level that counts as such.
const SYSTEMS: [(&str, &str, usize, f64); 2] =
    [("cartpole-gym", "Cart-pole", 3, 3e-5), ("pendulum-ddp", "Pendulum", 1, 5e-5)];

/// The bias that is shown without an anchor as well.
const UNANCHORED: f64 = 0.1;

/// Rows of all seeds by task and curve.
type Runs = BTreeMap<(String, Curve), Vec<Vec<LoopRow>>>;

/// A curve of the figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Curve {
    thousandths: u64,
    anchored: bool,
}

impl Curve {
    fn new(bias: f64, anchored: bool) -> Self {
        Self { thousandths: (1e3 * bias).round() as u64, anchored }
    }

    fn all() -> impl Iterator<Item = Self> {
        let anchored = BIASES.map(|bias| Self::new(bias, true));
        anchored.into_iter().chain([Self::new(UNANCHORED, false)])
    }

    fn name(self) -> String {
        let free = if self.anchored { "" } else { ", not anchored" };
        format!("b = {}{free}", self.thousandths as f64 / 1e3)
    }
}

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let curves: Vec<_> = Curve::all().take(size.pick(2, usize::MAX, usize::MAX)).collect();
    let mut cells = Vec::new();
    for seed in 0..size.seeds {
        for system in [System::cartpole()?, System::pendulum()?] {
            for curve in &curves {
                let mut cell = loop_on(size, &system, 60, seed);
                if let Experiment::Loop(run) = &mut cell.experiment {
                    run.settings.first_bias = curve.thousandths as f64 / 1e3;
                    if !curve.anchored {
                        run.settings.anchor.clear();
                    }
                }
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

fn judge(found: &Found) -> Result<Findings> {
    let runs: Runs = found
        .by::<_, LoopResult>(|cell| match &cell.experiment {
            Experiment::Loop(run) => {
                let anchored = !run.settings.anchor.is_empty();
                Some((cell.system.task.clone(), Curve::new(run.settings.first_bias, anchored)))
            }
            _ => None,
        })?
        .into_iter()
        .map(|(key, results)| (key, results.into_iter().map(|r| r.iterations).collect()))
        .collect();
    let panel = |task: &str, name: &str| Panel {
        title: name.to_owned(),
        x: Scale { label: "iteration", marks: Marks::Linear },
        y: Scale { label: "mean squared error", marks: Marks::Decades },
        lines: Curve::all()
            .filter_map(|curve| Some((curve, runs.get(&(task.to_owned(), curve))?)))
            .flat_map(|(curve, seeds)| {
                let errors = columns(seeds, |row| Some(row.error));
                let points = errors.into_iter().enumerate().map(|(i, v)| (i as f64, v));
                lines(&curve.name(), Stroke::Dotted, &points.collect::<Vec<_>>())
            })
            .collect(),
    };
    let panels = SYSTEMS.map(|(task, name, ..)| panel(task, name));
    let mut table = Table::new(&["system", "bias", "iteration 0", "1", "3", "last"], 1);
    for (task, name, ..) in SYSTEMS {
        for curve in Curve::all() {
            let Some(seeds) = runs.get(&(task.to_owned(), curve)) else { continue };
            let errors = columns(seeds, |row| Some(row.error));
            let show = |v: Option<&Vec<f64>>| v.map_or_else(|| Entry::text("–"), |v| entry(v));
            table.push(vec![
                Entry::text(name),
                Entry::text(curve.name()),
                show(errors.first()),
                show(errors.get(1)),
                show(errors.get(3)),
                show(errors.last()),
            ]);
        }
    }
    let caption = "Mean squared error of V to long-horizon values: geometric mean over seeds with \
                   95 % band.";
    Ok(Findings {
        verdict: decide(&runs),
        pictures: vec![Illustration {
            name: "errors",
            caption: caption.to_owned(),
            picture: picture("Error against the iteration, by bias", &panels),
        }],
        rollouts: vec![],
        tables: vec![("Mean squared errors".to_owned(), table)],
    })
}

fn decide(runs: &Runs) -> Verdict {
    let seeds = |task: &str, curve| runs.get(&(task.to_owned(), curve));
    let enough = SYSTEMS.iter().all(|(task, _, from, _)| {
        Curve::all().all(|curve| {
            seeds(task, curve).is_some_and(|seeds| {
                seeds.len() >= MIN_SEEDS && seeds.iter().all(|rows| rows.len() > *from)
            })
        })
    });
    // The largest error from the iteration on.
    let worst = |task: &str, from: usize, curves: &mut dyn Iterator<Item = Curve>| {
        let all = curves.filter_map(|curve| seeds(task, curve));
        let errors = all.flat_map(|s| columns(s, |row| Some(row.error)).into_iter().skip(from));
        errors.map(|seeds| geometric_mean(&seeds)).fold(f64::NAN, f64::max)
    };
    let found = SYSTEMS.map(|(task, name, from, level)| {
        let biased = &mut Curve::all().filter(|curve| curve.anchored && curve.thousandths > 0);
        let free = &mut Curve::all().filter(|curve| !curve.anchored);
        (name, from, level, worst(task, from, biased), worst(task, from, free))
    });
    let text = found.map(|(name, from, _, worst, free)| {
        format!(
            "{name} from iteration {from} on: at most {}, without the anchor {}",
            power(worst),
            power(free)
        )
    });
    let ours = text.join("; ");
    if !enough {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of every curve");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let forgotten = found.iter().all(|(_, _, level, worst, _)| worst <= level);
    let freely = found.iter().all(|(_, _, level, _, free)| free <= level);
    let (kind, reason) = match (forgotten, freely) {
        (true, true) => (Kind::Reproduced, "Every bias is forgotten, with and without the anchor"),
        (true, false) => (
            Kind::Partly,
            "Every bias is forgotten where V is held at 0 at the goal, which the paper does not \
             describe; without that V keeps the constant, as a loop without discount must",
        ),
        _ => (Kind::NotReproduced, "Biases leave more than the paper's levels"),
    };
    Verdict { kind, ours, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(anchored: f64, free: f64) -> Runs {
        let row = |error| LoopRow {
            error,
            error_from_goal: error,
            value_at_goal: 0.0,
            residual: None,
            solved: 1,
            rejected: 0,
            solver_iterations: 1.0,
            fit_v: 0.0,
            fit_vx: None,
        };
        let keys = SYSTEMS.iter().flat_map(|(task, ..)| {
            Curve::all().map(move |curve| {
                ((*task).to_owned(), curve, if curve.anchored { anchored } else { free })
            })
        });
        keys.map(|(task, curve, error)| {
            ((task, curve), vec![vec![row(1e-2), row(error), row(error), row(error)]; 3])
        })
        .collect()
    }

    #[test]
    fn what_is_left_of_a_bias_decides() {
        assert_eq!(decide(&runs(1e-5, 1e-5)).kind, Kind::Reproduced);
        assert_eq!(decide(&runs(1e-5, 1e-2)).kind, Kind::Partly);
        assert_eq!(decide(&runs(1e-2, 1e-2)).kind, Kind::NotReproduced);
        let mut few = runs(1e-5, 1e-5);
        few.values_mut().for_each(|seeds| seeds.truncate(2));
        assert_eq!(decide(&few).kind, Kind::NotRun);
    }
}
