//! Accuracy against the number of samples: what the paper argues for without showing it.

use std::collections::BTreeMap;

use anyhow::Result;
use critics::{FitSettings, SobolevWeights};
use ddp::Method;

use super::cell::{Cell, Experiment};
use super::fig5::{NETWORKS, network};
use super::fits::{Errors, Fit, FitResult};
use super::found::Found;
use super::system::System;
use super::{Figure, Findings, MIN_SEEDS, Size};
use crate::curves::{entry, geometric_mean, lines, power};
use crate::report::lines::{Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};

pub(super) const FIGURE: Figure = Figure {
    id: "dvp/samples",
    title: "Accuracy against the number of samples",
    claim: "Sobolev training needs about 50 samples to reach 10⁻³ on validation data, far fewer \
            than values alone (Parag et al. 2022, in words)",
    note: "Unicycle, weights (0.1, 0.2), x, y and θ in ±1, T = 50; solved by DDP, whose Hessians \
           are exact. Order 2, which learns the Hessians too, goes beyond the paper. Errors are \
           those at samples of the same horizon that were not learned from.",
    rule: "With geometric means over seeds of the residual network's error of V. Reproduced: order \
           1 with 50 samples has 10⁻³ at most and less than order 0 has with 200. Partly: with 25, \
           50 and 100 samples less than order 0 with as many. Not reproduced: otherwise. On this \
           problem 10⁻³ takes fewer than 50 samples, so the comparison of the orders decides.",
    sizes: Size::fit_note,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

const SAMPLES: [usize; 5] = [10, 25, 50, 100, 200];
/// Numbers of samples at which the orders are compared.
const COMPARED: [usize; 3] = [25, 50, 100];
/// Samples, and the error that they are to reach.
const TARGET: (usize, f64) = (50, 1e-3);
/// Samples without gradients that they are to outdo.
const OUTDONE: usize = 200;

/// Network, order, samples.
type Key = (usize, usize, usize);

fn order(weights: SobolevWeights) -> usize {
    match () {
        () if weights.hessian > 0.0 => 2,
        () if weights.gradient > 0.0 => 1,
        () => 0,
    }
}

fn cells(size: &Size) -> Result<Vec<Cell>> {
    let system = System::unicycle_b_near()?;
    let mut cells = Vec::new();
    for seed in 0..size.seeds {
        for (head, _) in NETWORKS {
            for [gradient, hessian] in [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]] {
                for samples in &SAMPLES[..size.pick(2, 5, 5)] {
                    let weights = SobolevWeights { gradient, hessian };
                    let epochs = size.pick(40, 3000, 5000);
                    let fit = FitSettings { epochs, weights, ..FitSettings::default() };
                    let fit = Fit { samples: *samples, method: Method::Ddp, fit, ..size.fit(head) };
                    cells.push(Cell::new(system.clone(), seed, Experiment::Fit(fit)));
                }
            }
        }
    }
    Ok(cells)
}

fn judge(found: &Found) -> Result<Findings> {
    let all = found.by::<Key, FitResult>(|cell| match &cell.experiment {
        Experiment::Fit(fit) => Some((network(fit.head)?, order(fit.fit.weights), fit.samples)),
        _ => None,
    })?;
    let errors: BTreeMap<Key, Vec<Errors>> = all
        .into_iter()
        .map(|(key, seeds)| (key, seeds.into_iter().map(|seed| seed.validation).collect()))
        .collect();
    let panel = |title: &str, pick: fn(&Errors) -> f64| Panel {
        title: title.to_owned(),
        x: Scale { label: "samples", marks: Marks::At(SAMPLES.map(|n| n as f64).to_vec()) },
        y: Scale { label: "mean squared error", marks: Marks::Decades },
        lines: (0..6)
            .flat_map(|i| {
                let (index, order) = (i / 3, i % 3);
                let points = errors.iter().filter(|((n, o, _), _)| (*n, *o) == (index, order));
                let points = points.map(|((_, _, samples), seeds)| {
                    (*samples as f64, seeds.iter().map(pick).collect())
                });
                let name = format!("{}, order {order}", NETWORKS[index].1);
                lines(&name, Stroke::Dotted, &points.collect::<Vec<_>>())
            })
            .collect(),
    };
    let panels =
        [panel("Value", |e| e.v), panel("Gradient", |e| e.vx), panel("Hessian", |e| e.vxx)];
    let mut table = Table::new(&["network", "order", "samples", "value", "gradient", "Hessian"], 2);
    for ((index, order, samples), seeds) in &errors {
        let of = |pick: fn(&Errors) -> f64| entry(&seeds.iter().map(pick).collect::<Vec<_>>());
        table.push(vec![
            Entry::text(NETWORKS[*index].1),
            Entry::text(order.to_string()),
            Entry::text(samples.to_string()),
            of(|e| e.v),
            of(|e| e.vx),
            of(|e| e.vxx),
        ]);
    }
    let caption = "Mean squared errors per entry at samples that were not learned from: geometric \
                   mean over seeds with 95 % band.";
    Ok(Findings {
        verdict: decide(&errors),
        pictures: vec![Illustration {
            name: "errors",
            caption: caption.to_owned(),
            picture: picture("Errors against the number of samples", &panels),
        }],
        rollouts: vec![],
        tables: vec![("Errors on validation data".to_owned(), table)],
    })
}

fn decide(errors: &BTreeMap<Key, Vec<Errors>>) -> Verdict {
    let of = |order: usize, samples: usize| {
        let seeds = errors.get(&(0, order, samples)).map_or(&[][..], Vec::as_slice);
        (seeds.len(), geometric_mean(&seeds.iter().map(|e| e.v).collect::<Vec<_>>()))
    };
    let [zero, one, two] = [0, 1, 2].map(|order| of(order, TARGET.0).1);
    let ours = format!(
        "with {} samples the residual network's error of V is {} at order 0, {} at order 1, {} at \
         order 2",
        TARGET.0,
        power(zero),
        power(one),
        power(two)
    );
    let (n_many, many) = of(0, OUTDONE);
    if n_many < MIN_SEEDS || COMPARED.iter().any(|n| of(0, *n).0.min(of(1, *n).0) < MIN_SEEDS) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of orders 0 and 1");
        return Verdict { kind: Kind::NotRun, ours, reason };
    }
    let better = COMPARED.iter().filter(|n| of(1, **n).1 < of(0, **n).1).count();
    let kind = match () {
        () if one <= TARGET.1 && one < many => Kind::Reproduced,
        () if better == COMPARED.len() => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let reason = format!(
        "Order 1 has {} with {} samples, order 0 {} with {OUTDONE}; order 1 is better at {better} \
         of {} equal sizes",
        power(one),
        TARGET.0,
        power(many),
        COMPARED.len()
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(zero: f64, many: f64, one: f64, seeds: usize) -> BTreeMap<Key, Vec<Errors>> {
        let rows = |v| vec![Errors { v, vx: v, vxx: v }; seeds];
        let sizes = COMPARED.iter();
        let both = sizes.flat_map(|n| [((0, 0, *n), rows(zero)), ((0, 1, *n), rows(one))]);
        both.chain([((0, 0, OUTDONE), rows(many))]).collect()
    }

    #[test]
    fn the_target_and_the_orders_decide() {
        assert_eq!(decide(&errors(1e-2, 2e-4, 1e-4, 3)).kind, Kind::Reproduced);
        assert_eq!(decide(&errors(1e-2, 5e-5, 1e-4, 3)).kind, Kind::Partly);
        assert_eq!(decide(&errors(1e-2, 5e-3, 2e-3, 3)).kind, Kind::Partly);
        assert_eq!(decide(&errors(1e-3, 1e-3, 2e-3, 3)).kind, Kind::NotReproduced);
        assert_eq!(decide(&errors(1e-2, 2e-4, 1e-4, 2)).kind, Kind::NotRun);
    }
}
