//! Figure 3: the horizon of the solves.

use std::collections::BTreeMap;

use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::fig1::loop_on;
use super::found::Found;
use super::loops::LoopResult;
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{columns, entry, geometric_mean, lines, power};
use crate::report::lines::{Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig3",
    title: "Short and long horizons on the unicycle",
    claim: "Short horizons (5 to 20 steps) start far from the truth, fall fast and may rise a \
            little later; horizons from 50 steps on are near the truth from the first iteration \
            (Parag et al. 2022, figure 3)",
    note: "Weights, starts, ground truth and the anchor at the goal are those of figure 1. With \
           these weights a horizon of 50 steps alone misses 6·10⁻⁴ of the truth, so that the \
           paper's 2·10⁻⁴ is out of reach at iteration 0.",
    rule: "With geometric means over seeds of the mean squared error to the ground truth. Short \
           horizons: each starts within a factor of 3 of the paper's 2.6, 0.45, 0.13 and 0.042 and \
           falls to a tenth or less within five iterations. Long horizons: at most 2·10⁻⁴ in every \
           iteration. Reproduced: both. Partly: the short ones, or the long ones at most 6·10⁻⁴. \
           Not reproduced: otherwise.",
    sizes: Size::truth_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// Short horizons with the errors that the paper plots at iteration 0.
const SHORT: [(usize, f64); 4] = [(5, 2.6), (10, 0.45), (15, 0.13), (20, 0.042)];
const LONG: [usize; 4] = [50, 60, 80, 100];
/// Factor around published numbers.
const WITHIN: f64 = 3.0;
/// What the paper's curves of long horizons stay below.
const LONG_LEVEL: f64 = 2e-4;
/// Iterations after which short horizons are to have fallen.
const FAST: usize = 5;

/// Seeds at each iteration, by horizon.
type Curves = BTreeMap<usize, Vec<Vec<f64>>>;

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let system = System::unicycle_a()?;
    let horizons = SHORT.map(|(horizon, _)| horizon).into_iter().chain(LONG);
    let horizons: Vec<_> = horizons.take(size.pick(2, 8, 8)).collect();
    let all = (0..size.seeds).flat_map(|seed| horizons.iter().map(move |h| (seed, *h)));
    Ok(all.map(|(seed, horizon)| loop_on(size, &system, horizon, seed)).collect())
}

fn judge(found: &Found) -> Result<Findings> {
    let all = found.by::<_, LoopResult>(|cell| match &cell.experiment {
        Experiment::Loop(run) => Some(run.settings.horizon),
        _ => None,
    })?;
    let curves: Curves = all
        .into_iter()
        .map(|(horizon, results)| {
            let seeds: Vec<_> = results.into_iter().map(|result| result.iterations).collect();
            (horizon, columns(&seeds, |row| Some(row.error)))
        })
        .collect();
    let panel = |title: &str, horizons: &[usize]| Panel {
        title: title.to_owned(),
        x: Scale { label: "iteration", marks: Marks::Linear },
        y: Scale { label: "mean squared error", marks: Marks::Decades },
        lines: horizons
            .iter()
            .filter_map(|horizon| Some((horizon, curves.get(horizon)?)))
            .flat_map(|(horizon, errors)| {
                let points = errors.iter().enumerate().map(|(i, v)| (i as f64, v.clone()));
                lines(&format!("T = {horizon}"), Stroke::Dotted, &points.collect::<Vec<_>>())
            })
            .collect(),
    };
    let panels = [
        panel("Short horizons", &SHORT.map(|(horizon, _)| horizon)),
        panel("Long horizons", &LONG),
    ];
    let picture = picture("Error against the iteration for eight horizons", &panels);
    let caption =
        "Mean squared error to long-horizon values: geometric mean over seeds with 95 % band.";
    let mut table = Table::new(&["T", "iteration 0", "least", "last", "paper, iteration 0"], 1);
    for (horizon, errors) in &curves {
        let by_mean =
            |a: &&Vec<f64>, b: &&Vec<f64>| geometric_mean(a).total_cmp(&geometric_mean(b));
        let show = |v: Option<&Vec<f64>>| v.map_or_else(|| Entry::text("–"), |v| entry(v));
        let published = SHORT.iter().find(|(h, _)| h == horizon).map(|(_, e)| power(*e));
        table.push(vec![
            Entry::text(horizon.to_string()),
            show(errors.first()),
            show(errors.iter().min_by(by_mean)),
            show(errors.last()),
            Entry::text(published.unwrap_or_else(|| "1 to 3·10⁻⁴".to_owned())),
        ]);
    }
    Ok(Findings {
        verdict: decide(&curves),
        pictures: vec![Illustration { name: "curves", caption: caption.to_owned(), picture }],
        rollouts: vec![],
        tables: vec![("Mean squared errors".to_owned(), table)],
    })
}

fn decide(curves: &Curves) -> Verdict {
    let means = |horizon: usize| -> Vec<f64> {
        curves.get(&horizon).into_iter().flatten().map(|v| geometric_mean(v)).collect()
    };
    let least = |errors: &[f64]| errors.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |errors: &[f64]| errors.iter().copied().fold(f64::NAN, f64::max);
    let falls: Vec<String> = SHORT
        .iter()
        .map(|(horizon, _)| (horizon, means(*horizon)))
        .filter(|(_, errors)| !errors.is_empty())
        .map(|(horizon, e)| format!("T = {horizon} from {} to {}", power(e[0]), power(least(&e))))
        .collect();
    let long = LONG.map(|horizon| most(&means(horizon)));
    let ours = format!("{}; long horizons at most {}", falls.join(", "), power(most(&long)));
    let enough = |horizon: usize| {
        curves.get(&horizon).is_some_and(|errors| {
            errors.len() > 1 && errors.iter().all(|seeds| seeds.len() >= MIN_SEEDS)
        })
    };
    if !SHORT.iter().map(|(horizon, _)| *horizon).chain(LONG).all(enough) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of every horizon");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let falling = SHORT.iter().filter(|(horizon, published)| {
        let errors = means(*horizon);
        let starts = errors[0] <= WITHIN * published && errors[0] >= published / WITHIN;
        starts && least(&errors[..errors.len().min(1 + FAST)]) <= 0.1 * errors[0]
    });
    let falling = falling.count();
    let below = |level: f64| long.iter().filter(|error| **error <= level).count();
    let (near, close) = (below(LONG_LEVEL), below(WITHIN * LONG_LEVEL));
    let fall = falling == SHORT.len();
    let kind = match () {
        () if fall && near == LONG.len() => Kind::Reproduced,
        () if fall || close == LONG.len() => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let reason = format!(
        "{falling} of {} short horizons start and fall like the paper's; of {} long ones {near} \
         stay below {} and {close} below {}",
        SHORT.len(),
        LONG.len(),
        power(LONG_LEVEL),
        power(WITHIN * LONG_LEVEL)
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_falls_and_levels_decide() {
        let seeds = |errors: [f64; 3]| errors.map(|e| vec![e; 3]).to_vec();
        let mut curves: Curves =
            SHORT.iter().map(|(h, e)| (*h, seeds([*e, 0.05 * e, 0.2 * e]))).collect();
        assert_eq!(decide(&curves).kind, Kind::NotRun);
        curves.extend(LONG.map(|h| (h, seeds([1.9e-4, 2e-4, 1e-4]))));
        assert_eq!(decide(&curves).kind, Kind::Reproduced);
        curves.insert(80, seeds([5e-4, 2e-4, 1e-4]));
        assert_eq!(decide(&curves).kind, Kind::Partly);
        curves.insert(80, seeds([3e-3, 2e-4, 1e-4]));
        assert_eq!(decide(&curves).kind, Kind::Partly);
        curves.insert(5, seeds([0.5, 0.01, 0.01]));
        assert_eq!(decide(&curves).kind, Kind::NotReproduced);
    }
}
