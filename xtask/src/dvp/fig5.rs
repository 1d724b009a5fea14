//! Figure 5: training of the residual and of the feed-forward network.

use anyhow::Result;
use critics::Head;

use super::cell::{Cell, Experiment};
use super::fits::FitResult;
use super::found::Found;
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{columns, entry, geometric, geometric_mean, lines, power};
use crate::report::lines::{Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/fig5",
    title: "Training of the residual and of the feed-forward network",
    claim: "With Sobolev training both networks learn the values alike, but the residual network \
            learns the gradients five to ten times better (Parag et al. 2022, figure 5)",
    note: "100 samples of the unicycle, weights (0.1, 0.2), x, y and θ in ±1, T = 50, Sobolev \
           order 1, full batches; the paper names neither its system nor its weights. Losses are \
           those of the training data, as in the paper. How far the networks differ depends on the \
           box of the samples, so the table has smaller and larger ones as well.",
    rule: "With geometric means over seeds and the last tenth of 5 000 epochs. Reproduced: the \
           gradient loss of the feed-forward network is at least 5 times that of the residual \
           network, and the value losses differ by a factor of 3 at most. Partly: the gradient \
           loss is at least twice as large. Not reproduced: otherwise.",
    sizes: Size::seeds_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// The networks with their names.
pub(super) const NETWORKS: [(Head, &str); 2] =
    [(Head::SumOfSquares, "residual"), (Head::Plain, "feed-forward")];

/// Position of a network in [`NETWORKS`].
pub(super) fn network(head: Head) -> Option<usize> {
    NETWORKS.iter().position(|(known, _)| *known == head)
}

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let near = System::unicycle_b_near()?;
    let boxes = &BOXES[..size.pick(1, 4, 4)];
    let mut cells = Vec::new();
    for seed in 0..size.seeds {
        for half in boxes {
            for (head, _) in NETWORKS {
                let system = System { spread: vec![*half; 3], ..near.clone() };
                cells.push(Cell::new(system, seed, Experiment::Fit(size.fit(head))));
            }
        }
    }
    Ok(cells)
}

/// Half-widths of the boxes of samples, that of the figure first.
const BOXES: [f64; 4] = [1.0, 0.3, 0.5, 2.0];

/// Losses of all seeds at each epoch.
type Curve = Vec<(f64, Vec<f64>)>;

/// Losses of a network.
#[derive(Debug, Clone, Default)]
struct Losses {
    v: Curve,
    vx: Curve,
}

fn judge(found: &Found) -> Result<Findings> {
    let mut all = found.by::<_, FitResult>(|cell| match &cell.experiment {
        Experiment::Fit(fit) => {
            let half = BOXES.iter().position(|half| cell.system.spread[0] == *half)?;
            Some((half, network(fit.head)?))
        }
        _ => None,
    })?;
    let boxes: Vec<[Losses; 2]> = (0..BOXES.len())
        .map(|half| [0, 1].map(|head| Losses::of(&all.remove(&(half, head)).unwrap_or_default())))
        .collect();
    let losses = &boxes[0];
    let panel = |title: &str, pick: fn(&Losses) -> &Curve| Panel {
        title: title.to_owned(),
        x: Scale { label: "epoch", marks: Marks::Linear },
        y: Scale { label: "mean squared error", marks: Marks::Decades },
        lines: (NETWORKS.iter().zip(losses))
            .flat_map(|((_, name), losses)| lines(name, Stroke::Plain, pick(losses)))
            .collect(),
    };
    let panels = [panel("Value", |l| &l.v), panel("Gradient", |l| &l.vx)];
    let mut table = Table::new(&["samples in", "network", "value, end", "gradient, end"], 2);
    for (half, losses) in BOXES.iter().zip(&boxes) {
        for ((_, name), losses) in NETWORKS.iter().zip(losses) {
            let (v, vx) = (tail(&losses.v), tail(&losses.vx));
            let half = Entry::text(format!("±{half}"));
            table.push(vec![half, Entry::text(*name), entry(&v), entry(&vx)]);
        }
    }
    let caption = "Losses in training: geometric mean over seeds with 95 % band.";
    Ok(Findings {
        verdict: decide(losses),
        pictures: vec![Illustration {
            name: "losses",
            caption: caption.to_owned(),
            picture: picture("Losses of both networks against the epoch", &panels),
        }],
        rollouts: vec![],
        tables: vec![("Losses over the last tenth of the training".to_owned(), table)],
    })
}

impl Losses {
    fn of(seeds: &[FitResult]) -> Self {
        let epochs = seeds.first().map(|seed| seed.epochs.clone()).unwrap_or_default();
        let curve = |pick: fn(&FitResult) -> &Vec<f64>| {
            let rows: Vec<Vec<f64>> = seeds.iter().map(|seed| pick(seed).clone()).collect();
            epochs.iter().map(|e| *e as f64).zip(columns(&rows, |v| Some(*v))).collect()
        };
        Self { v: curve(|fit| &fit.v), vx: curve(|fit| &fit.vx) }
    }
}

/// Every seed's geometric mean over the last tenth of a curve.
fn tail(curve: &[(f64, Vec<f64>)]) -> Vec<f64> {
    let last = &curve[curve.len() - curve.len().div_ceil(10)..];
    let n_seeds = last.iter().map(|(_, seeds)| seeds.len()).min().unwrap_or(0);
    let seed =
        |i: usize| geometric_mean(&last.iter().map(|(_, seeds)| seeds[i]).collect::<Vec<_>>());
    (0..n_seeds).map(seed).collect()
}

fn decide([residual, plain]: &[Losses; 2]) -> Verdict {
    let seeds = [&residual.v, &residual.vx, &plain.v, &plain.vx].map(|curve| tail(curve));
    let [rv, rg, pv, pg] = seeds.each_ref().map(|seeds| geometric(seeds).value.unwrap_or(f64::NAN));
    let ours = format!(
        "gradient loss {} residual, {} feed-forward ({:.1} times); value loss {} and {}",
        power(rg),
        power(pg),
        pg / rg,
        power(rv),
        power(pv)
    );
    if seeds.iter().any(|seeds| seeds.len() < MIN_SEEDS) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of both networks");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let (ratio, values) = (pg / rg, (pv / rv).max(rv / pv));
    let kind = match () {
        () if ratio >= 5.0 && values <= 3.0 => Kind::Reproduced,
        () if ratio >= 2.0 => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let reason = format!(
        "The gradient loss of the feed-forward network is {ratio:.1} times that of the residual \
         network; the value losses differ by a factor of {values:.1}"
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(v: f64, vx: f64, seeds: usize) -> Losses {
        let curve = |last: f64| vec![(0.0, vec![1.0; seeds]), (1.0, vec![last; seeds])];
        Losses { v: curve(v), vx: curve(vx) }
    }

    #[test]
    fn the_ends_of_the_curves_decide() {
        let residual = losses(1e-6, 1e-5, 3);
        let kind = |plain: Losses| decide(&[residual.clone(), plain]).kind;
        assert_eq!(kind(losses(2e-6, 1e-4, 3)), Kind::Reproduced);
        assert_eq!(kind(losses(9e-6, 1e-4, 3)), Kind::Partly);
        assert_eq!(kind(losses(2e-6, 3e-5, 3)), Kind::Partly);
        assert_eq!(kind(losses(2e-6, 1e-5, 3)), Kind::NotReproduced);
        assert_eq!(kind(losses(2e-6, 1e-4, 2)), Kind::NotRun);
    }
}
