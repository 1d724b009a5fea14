//! Figure 6: the gradient of the value on the plane θ = 0.

use agents::dvp::DvpSettings;
use anyhow::Result;

use super::cell::{Cell, Experiment};
use super::fig5::{NETWORKS, network};
use super::found::Found;
use super::loops::{MapLoop, MapResult};
use super::system::System;
use super::truth::{TruthData, grid};
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{entry, geometric, geometric_mean};
use crate::report::{Colours, Entry, Estimate, Illustration, Kind, Map, Table, Verdict, draw_maps};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig6",
    title: "Gradient of the unicycle's value on the plane θ = 0",
    claim: "The residual network's gradient looks like the true one, the feed-forward network's \
            does not (Parag et al. 2022, figure 6: 100 samples, T = 50, 50 000 epochs)",
    note: "Weights (0.1, 0.2), starts with x, y and θ in ±1, terminal costs held at 0 at the goal. \
           The 50 000 epochs are taken as those of ten iterations, each with 100 new samples: with \
           labels of 50 steps alone ∂V/∂θ ends at 0.18 in the corners, the paper's residual \
           network at 0.28 like the truth. The truth has 1 000 steps and is the best of three \
           guesses at every point; an even grid leaves out the lines on which the solver finds no \
           reason to turn. The true gradient jumps at x = 0, which both networks smooth.",
    rule: "With the root mean square error of all entries of the gradient over the square, and the \
           residual network's as a multiple of the feed-forward network's that learned from the \
           same samples, geometric mean over seeds. Reproduced: at most 0.7, the 95 % interval \
           stays below 1, and the truth is odd and even as plotted at 95 % of the points. Partly: \
           below 1. Not reproduced: otherwise.",
    sizes: Size::seeds_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// Half-width of the square.
const HALF: f64 = 1.0;
const ENTRIES: [&str; 3] = ["∂V/∂x", "∂V/∂y", "∂V/∂θ"];
/// Largest colours: those of the paper, for ∂V/∂y without the spikes at the crease.
const LIMITS: [f64; 3] = [0.203, 0.7, 0.28];
/// Share of the points at which the truth has to be symmetric.
const MOST: f64 = 0.95;
/// An error so much smaller is clearly below.
const CLEARLY: f64 = 0.7;

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let system = System::unicycle_b_near()?;
    let cell = |seed, head| {
        let mut settings = DvpSettings { head, ..size.dvp(&system, 50) };
        settings.samples = size.pick(10, 100, 100);
        settings.fit.epochs = size.pick(40, 5000, 5000);
        let truth = size.plane(size.pick(150, 1000, 1000), HALF);
        Cell::new(system.clone(), seed, Experiment::Map(MapLoop { truth, settings }))
    };
    Ok((0..size.seeds).flat_map(|seed| NETWORKS.map(|(head, _)| cell(seed, head))).collect())
}

fn judge(found: &Found) -> Result<Findings> {
    let truth: TruthData = found.truth()?;
    let all = found.by::<_, MapResult>(|cell| match &cell.experiment {
        Experiment::Map(map) => Some((cell.seed, network(map.settings.head)?)),
        _ => None,
    })?;
    // Seeds of which both networks are there, so that errors are compared in pairs.
    let results = [0, 1].map(|index| -> Vec<MapResult> {
        let both = all.iter().filter(|((seed, network), _)| {
            *network == index && all.contains_key(&(*seed, 1 - index))
        });
        both.flat_map(|(_, results)| results.iter().cloned()).collect()
    });
    let n = (truth.x.len() as f64).sqrt().round() as usize;
    let lines = grid(n, HALF);
    let map = |title: String, values: Vec<f64>| Map {
        title,
        xs: lines.clone(),
        ys: lines.clone(),
        values,
    };
    let shown =
        || NETWORKS.iter().zip(&results).filter_map(|((_, n), seeds)| Some((*n, seeds.first()?)));
    let mut rows: Vec<(Colours, Vec<Map>)> = (0..3)
        .map(|i| {
            let networks = shown().map(|(name, seed)| (name, &seed.vx));
            let all = [("truth", &truth.vx)].into_iter().chain(networks);
            let one = |(name, vx): (&str, &Vec<Vec<f64>>)| {
                map(
                    format!("{}, {name}", ENTRIES[i]),
                    vx.iter().map(|entries| entries[i]).collect(),
                )
            };
            (Colours::Around0 { limit: LIMITS[i] }, all.map(one).collect())
        })
        .collect();
    let errors = shown().map(|(name, seed)| {
        let square = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
        };
        let squares = seed.vx.iter().zip(&truth.vx).map(square).collect();
        map(format!("‖error‖², {name}"), squares)
    });
    rows.push((Colours::Decades { low: 1e-5, high: 1e-1 }, errors.collect()));
    let mut table = Table::new(&["network", "∂V/∂x", "∂V/∂y", "∂V/∂θ", "all"], 1);
    for ((_, name), seeds) in NETWORKS.iter().zip(&results) {
        let of = |i: usize| entry(&seeds.iter().map(|seed| seed.rms[i]).collect::<Vec<_>>());
        table.push(vec![Entry::text(*name), of(0), of(1), of(2), entry(&totals(seeds))]);
    }
    let caption = "Gradient of the value over the square: truth and the networks of the first \
                   seed, and below the squares of their errors.";
    Ok(Findings {
        verdict: decide(&results.each_ref().map(|seeds| totals(seeds)), symmetry(&truth, n)),
        pictures: vec![Illustration {
            name: "maps",
            caption: caption.to_owned(),
            picture: draw_maps("Maps of the gradient and of its errors", ["x [m]", "y [m]"], &rows),
        }],
        rollouts: vec![],
        tables: vec![("Root mean square errors of the gradient".to_owned(), table)],
    })
}

/// Root mean square over all entries.
fn whole(rms: &[f64]) -> f64 {
    (rms.iter().map(|e| e * e).sum::<f64>() / rms.len() as f64).sqrt()
}

fn totals(seeds: &[MapResult]) -> Vec<f64> {
    seeds.iter().map(|seed| whole(&seed.rms)).collect()
}

/// Share of the grid at which the truth is as symmetric as the problem: ∂V/∂x odd in x and even in
/// y, ∂V/∂y the other way round, ∂V/∂θ odd in both, to a hundredth of their colour scales.
fn symmetry(truth: &TruthData, n: usize) -> f64 {
    let at = |row: usize, column: usize, i: usize| truth.vx[row * n + column][i];
    let pairs = (0..n).flat_map(|row| (0..n).map(move |column| (row, column)));
    // Factors under x → −x and under y → −y.
    const SIGNS: [[f64; 2]; 3] = [[-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]];
    let odd = pairs.filter(|&(row, column)| {
        (0..3).all(|i| {
            let here = at(row, column, i);
            let [in_x, in_y] = [at(row, n - 1 - column, i), at(n - 1 - row, column, i)];
            let off = |there: f64, sign: f64| (here - sign * there).abs() / LIMITS[i];
            off(in_x, SIGNS[i][0]) < 0.01 && off(in_y, SIGNS[i][1]) < 0.01
        })
    });
    odd.count() as f64 / (n * n).max(1) as f64
}

fn decide(errors: &[Vec<f64>; 2], symmetric: f64) -> Verdict {
    let [residual, plain] = errors.each_ref().map(|seeds| geometric_mean(seeds));
    let ours = format!(
        "root mean square error of the gradient {residual:.3} residual, {plain:.3} feed-forward; \
         the truth has the problem's symmetry at {:.0} % of the points",
        100.0 * symmetric
    );
    if errors.iter().any(|seeds| seeds.len() < MIN_SEEDS) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of both networks");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let ratios: Vec<f64> = errors[0].iter().zip(&errors[1]).map(|(r, p)| r / p).collect();
    let Estimate { value, interval } = geometric(&ratios);
    let (ratio, high) = (value.unwrap_or(f64::NAN), interval.map_or(f64::NAN, |i| i.high));
    let kind = match () {
        () if ratio <= CLEARLY && high < 1.0 && symmetric >= MOST => Kind::Reproduced,
        () if ratio < 1.0 => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let reason = format!(
        "The residual network's error is {ratio:.2} times the other's, at most {high:.2} times by \
         its 95 % interval"
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::super::truth::States;
    use super::*;
    use crate::plan::Profile;

    #[test]
    fn the_ratio_of_the_errors_decides() {
        let kind =
            |residual: f64, seeds| decide(&[vec![residual; seeds], vec![0.1; seeds]], 1.0).kind;
        assert_eq!(kind(0.05, 3), Kind::Reproduced);
        let wide = [vec![0.01, 0.01, 0.2], vec![0.1; 3]];
        assert_eq!(decide(&wide, 1.0).kind, Kind::Partly);
        assert_eq!(decide(&[vec![0.05; 3], vec![0.1; 3]], 0.5).kind, Kind::Partly);
        assert_eq!(kind(0.09, 3), Kind::Partly);
        assert_eq!(kind(0.11, 3), Kind::NotReproduced);
        assert_eq!(kind(0.05, 2), Kind::NotRun);
    }

    #[test]
    fn both_networks_see_the_same_truth() {
        let cells = cells(&Size { profile: Profile::Quick, seeds: 1 }).unwrap();
        let [residual, plain] =
            cells.iter().map(Cell::needs).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(residual, plain);
        let Experiment::Truth(truth) = residual.unwrap().experiment else { panic!("no truth") };
        assert!(matches!(truth.states, States::Plane { .. }));
    }
}
