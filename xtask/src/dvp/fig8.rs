//! Figure 8: the unicycle under DVP's value and under PPO's policy.

use anyhow::{Context as _, Result};

use super::cell::Cell;
use super::found::Found;
use super::ppo_critic::{Path, Results, cells as critics, read};
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{geometric, geometric_mean};
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig8",
    title: "The unicycle's states under DVP's value and under PPO's policy",
    claim: "Both drive the unicycle to the origin, DVP more smoothly (Parag et al. 2022, figure 8)",
    note: "The start, (−1, −1, 1), is ours, the paper's is not given. γ = 0.998 and not the 0.99 \
           of figure 7, at which even the best path stops short of the origin, 0.16 away after 200 \
           steps; here it is 0.04. DVP plans anew in every step, T = 100 with its value at the end, two \
           iterations from the plan before; PPO acts by the mean of its policy, and as a second \
           curve by actions drawn from it. Learners and settings are those of figure 7. A total \
           variation Σ ‖xₜ₊₁ − xₜ‖₁ adds metres and radians.",
    rule: "With 95 % intervals and means over seeds, a run reaching the origin if it ends at most \
           0.1 from it (norm of the state after 200 steps; the start is 1.73 away). DVP is \
           smoother if the interval of the ratio of the total variations of the states, DVP's over PPO's, \
           lies below 1. Reproduced: both reach the origin (PPO by its mean actions) and DVP is \
           smoother than PPO's mean actions. Partly: one of the two. Not reproduced: neither. Drawn \
           actions contain PPO's noise and are shown for comparison alone.",
    sizes: Size::seeds_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// Which of the discounts: 0.998.
const INDEX: usize = 1;
/// Distance from the origin that counts as there.
const THERE: f64 = 0.1;
const STATES: [(&str, &str); 3] = [("x", "x [m]"), ("y", "y [m]"), ("θ", "θ [rad]")];
/// Names of the controllers, the solver's plan last.
const DVP: &str = "DVP";
const PPO: &str = "PPO, mean actions";
const DRAWN: &str = "PPO, drawn actions";
const BEST: &str = "solver";

fn cells(size: &Size) -> Result<Vec<Cell>> {
    critics(size, INDEX)
}

fn judge(found: &Found) -> Result<Findings> {
    let results = read(found, INDEX)?.context("the ground truth is missing")?;
    let (first_dvp, first_ppo) = results.seeds.first().context("no seed is complete")?;
    let shown = [
        // Mean actions are dashed, so that the drawn ones below them show through.
        (DRAWN, Stroke::Plain, &first_ppo.drawn),
        (PPO, Stroke::Plain, &first_ppo.path),
        (DVP, Stroke::Plain, &first_dvp.path),
        (BEST, Stroke::Guide, &results.truth.path),
    ];
    let panels = STATES.iter().enumerate().map(|(i, (title, label))| Panel {
        title: (*title).to_owned(),
        x: Scale { label: "knot", marks: Marks::Linear },
        y: Scale { label, marks: Marks::Linear },
        lines: shown.map(|(name, stroke, path)| line(name, stroke, path, i)).to_vec(),
    });
    let picture = picture("States of the unicycle against the knot", &panels.collect::<Vec<_>>());
    let caption = "Runs of the first seed from (−1, −1, 1); dashed in grey, the best plan of the \
                   solver.";
    let mut table = Table::new(
        &["controller", "cost Σ γᵗ ℓ", "distance at the end", "variation of states", "of controls"],
        1,
    );
    let numbers = Numbers::new(&results);
    for (name, paths) in [
        (DVP, results.seeds.iter().map(|(dvp, _)| &dvp.path).collect::<Vec<_>>()),
        (PPO, results.seeds.iter().map(|(_, ppo)| &ppo.path).collect()),
        (DRAWN, results.seeds.iter().map(|(_, ppo)| &ppo.drawn).collect()),
        (BEST, vec![&results.truth.path]),
    ] {
        let of = |pick: fn(&Path) -> f64| {
            let values: Vec<f64> = paths.iter().map(|path| pick(path)).collect();
            Entry::estimate(&Estimate::mean(&values), Some(3))
        };
        table.push(vec![
            Entry::text(name),
            of(|path| path.cost),
            of(|path| path.distance),
            of(|path| path.variation),
            of(|path| path.control_variation),
        ]);
    }
    let mut ratios = Table::new(&["DVP's total variation over that of", "states", "controls"], 1);
    for (name, states, controls) in [
        (PPO, &numbers.mean_actions, &numbers.mean_controls),
        (DRAWN, &numbers.drawn_actions, &numbers.drawn_controls),
    ] {
        let of = |ratios: &[f64]| Entry::estimate(&geometric(ratios), Some(2));
        ratios.push(vec![Entry::text(name), of(states), of(controls)]);
    }
    Ok(Findings {
        verdict: decide(&numbers),
        pictures: vec![Illustration { name: "states", caption: caption.to_owned(), picture }],
        rollouts: vec![],
        tables: vec![
            ("Runs, means over seeds".to_owned(), table),
            ("Ratios of total variations, geometric means over seeds".to_owned(), ratios),
        ],
    })
}

fn line(name: &str, stroke: Stroke, path: &Path, i: usize) -> Line {
    let points = path.xs.iter().enumerate().map(|(t, x)| (t as f64, x[i])).collect();
    Line { name: name.to_owned(), stroke, points }
}

/// What the rule looks at, for every seed.
#[derive(Debug, Clone, Default)]
struct Numbers {
    /// Distances at the end.
    dvp: Vec<f64>,
    ppo: Vec<f64>,
    /// DVP's total variation of the states over that of PPO's mean actions and drawn ones.
    mean_actions: Vec<f64>,
    drawn_actions: Vec<f64>,
    /// The same of the controls.
    mean_controls: Vec<f64>,
    drawn_controls: Vec<f64>,
}

impl Numbers {
    fn new(results: &Results) -> Self {
        let mut numbers = Self::default();
        for (dvp, ppo) in &results.seeds {
            let dvp = &dvp.path;
            numbers.dvp.push(dvp.distance);
            numbers.ppo.push(ppo.path.distance);
            numbers.mean_actions.push(dvp.variation / ppo.path.variation);
            numbers.drawn_actions.push(dvp.variation / ppo.drawn.variation);
            numbers.mean_controls.push(dvp.control_variation / ppo.path.control_variation);
            numbers.drawn_controls.push(dvp.control_variation / ppo.drawn.control_variation);
        }
        numbers
    }
}

fn decide(numbers: &Numbers) -> Verdict {
    let average = |values: &[f64]| Estimate::mean(values).value.unwrap_or(f64::NAN);
    let (dvp, ppo) = (average(&numbers.dvp), average(&numbers.ppo));
    let ours = format!(
        "distance at the end {dvp:.3} with DVP, {ppo:.3} with PPO; DVP's total variation of the \
         states is {:.2} times that of PPO's mean actions and {:.2} times that of its drawn ones, \
         of the controls {:.2} and {:.2} times",
        geometric_mean(&numbers.mean_actions),
        geometric_mean(&numbers.drawn_actions),
        geometric_mean(&numbers.mean_controls),
        geometric_mean(&numbers.drawn_controls),
    );
    if numbers.dvp.len() < MIN_SEEDS {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of both learners");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let smoother = geometric(&numbers.mean_actions).interval.is_some_and(|i| i.high < 1.0);
    let there = [dvp <= THERE, ppo <= THERE];
    let kind = match (there, smoother) {
        ([true, true], true) => Kind::Reproduced,
        ([true, true], false) | (_, true) => Kind::Partly,
        _ => Kind::NotReproduced,
    };
    let reached = match there {
        [true, true] => "Both reach the origin",
        [true, false] => "DVP alone reaches the origin",
        [false, true] => "PPO alone reaches the origin",
        [false, false] => "Neither reaches the origin",
    };
    let than = match smoother {
        true => "DVP is smoother than PPO's mean actions",
        false => "DVP is not clearly smoother than PPO's mean actions",
    };
    Verdict { kind, ours, reason: format!("{reached}; {than}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ends: [f64; 2], ratios: [f64; 2], seeds: usize) -> Numbers {
        let around = |value: f64| (0..seeds).map(|i| value * (0.99 + 0.01 * i as f64)).collect();
        Numbers {
            dvp: around(ends[0]),
            ppo: around(ends[1]),
            mean_actions: around(ratios[0]),
            drawn_actions: around(ratios[1]),
            ..Numbers::default()
        }
    }

    #[test]
    fn the_ends_and_the_variations_decide() {
        let kind = |ends, ratios| decide(&numbers(ends, ratios, 3)).kind;
        assert_eq!(kind([0.05, 0.08], [0.9, 1.2]), Kind::Reproduced);
        assert_eq!(kind([0.05, 0.2], [0.9, 0.8]), Kind::Partly);
        // An interval around 1 shows no difference.
        assert_eq!(kind([0.05, 0.08], [1.0, 0.8]), Kind::Partly);
        assert_eq!(kind([0.05, 0.2], [1.0, 0.8]), Kind::NotReproduced);
        assert_eq!(decide(&numbers([0.05, 0.08], [0.9, 0.8], 2)).kind, Kind::NotRun);
    }

    #[test]
    fn a_line_has_one_entry_of_every_state() {
        let path = Path {
            xs: vec![vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]],
            cost: 0.0,
            variation: 9.0,
            control_variation: 0.0,
            distance: 1.0,
        };
        assert_eq!(line("a", Stroke::Plain, &path, 2).points, [(0.0, 3.0), (1.0, 6.0)]);
    }
}
