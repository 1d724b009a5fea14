//! Figure 2, right: critics of less capacity.

use agents::svg::Estimator;
use anyhow::Result;

use super::arms::{MIN_SEEDS, SETTINGS, cartpole, group, label, too_few};
use super::fig2_middle::sizes;
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Marks, Panel, Scale, picture};
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Illustration, Interval, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "svg/fig2-right",
    title: "Critics of less capacity on the cart-pole",
    claim: "With 100 and 50 units in the place of 200 in the critic's first layer, SVG(1), which needs V, \
            degrades less than DPG, which needs Q (Heess et al. 2015, figure 2 right)",
    note: SETTINGS,
    rule: "Returns are means over training (areas under curves by trapezoids), in units in which the first \
           evaluations' mean is 0 and the best run is 1. A method's drop is its mean with 200 units minus \
           that with 50. Reproduced: the drop of SVG(1) is smaller than DPG's, by a 95 % bootstrap \
           interval of their difference that excludes 0. Partly: smaller, but the interval does not \
           exclude 0. Not reproduced: otherwise, and where one of \
           both is below a quarter with 200 units: who has not learned has nothing to lose. In the paper profile SVG(1) with replay is shown beside them.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

const METHODS: [Estimator; 2] = [Estimator::One, Estimator::Deterministic];
const WIDTHS: [usize; 3] = [200, 100, 50];

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let widths: &[usize] = match size.profile {
        Profile::Quick => &[200, 50],
        _ => &WIDTHS,
    };
    let mut curves = Vec::new();
    for method in METHODS {
        for &width in widths {
            curves.push(cartpole(size, method, width)?);
        }
    }
    if size.profile == Profile::Paper {
        for width in WIDTHS {
            curves.push(cartpole(size, Estimator::OneReplay, width)?);
        }
    }
    Ok(curves)
}

fn areas(group: &Group) -> Vec<f64> {
    group.areas(Column::EnvSteps, Column::Return)
}

fn judge(found: &Found) -> Result<Findings> {
    let all = [METHODS[0], METHODS[1], Estimator::OneReplay];
    let panel = |method: Estimator| -> Result<Panel> {
        Ok(Panel {
            title: label(method)?.to_owned(),
            x: Scale { label: "environment steps", marks: Marks::Linear },
            y: Scale { label: "mean return", marks: Marks::Linear },
            lines: WIDTHS
                .iter()
                .filter_map(|&width| Some((width, group(found, method, width)?)))
                .flat_map(|(width, group)| {
                    let mut lines = group.plain_lines(Column::EnvSteps, Column::Return);
                    lines.iter_mut().for_each(|line| line.name = format!("{width} units"));
                    lines
                })
                .collect(),
        })
    };
    let there =
        |method: &Estimator| WIDTHS.iter().any(|&width| group(found, *method, width).is_some());
    let panels = all.into_iter().filter(there).map(panel).collect::<Result<Vec<_>>>()?;
    let mut table = Table::new(
        &["method", "first layer", "seeds", "area", "return at the end", "critic's loss"],
        1,
    );
    for method in all {
        for width in WIDTHS {
            let Some(group) = group(found, method, width).filter(|group| group.has(1)) else {
                continue;
            };
            table.push(vec![
                Entry::text(label(method)?),
                Entry::text(width.to_string()),
                Entry::text(group.runs.len().to_string()),
                Entry::estimate(&Estimate::mean(&areas(group)), Some(1)),
                Entry::estimate(&Estimate::mean(&group.ends(Column::Return)), Some(1)),
                Entry::estimate(
                    &Estimate::mean(&group.means(Column::Named("critic_loss"))),
                    Some(2),
                ),
            ]);
        }
    }
    let judged = |method, width| group(found, method, width).filter(|group| group.has(MIN_SEEDS));
    let verdict = match [
        judged(METHODS[0], 200),
        judged(METHODS[0], 50),
        judged(METHODS[1], 200),
        judged(METHODS[1], 50),
    ] {
        [Some(a), Some(b), Some(c), Some(d)] => {
            let groups = [a, b, c, d];
            let first = groups.iter().flat_map(|group| {
                group.runs.iter().filter_map(|run| run.curve.returns.first().copied())
            });
            let first = mean(&first.collect::<Vec<_>>()).unwrap_or(f64::NAN);
            decide(&groups.map(areas), first)
        }
        _ => too_few(),
    };
    Ok(Findings {
        verdict,
        pictures: vec![Illustration {
            name: "curves",
            caption: "Mean return without noise by the width of the critic's first layer: interquartile mean \
                      over seeds with 95 % band."
                .to_owned(),
            picture: picture("Return against steps", &panels),
        }],
        rollouts: Vec::new(),
        tables: vec![("Mean returns over training (areas) and at the end".to_owned(), table)],
    })
}

/// Areas of SVG(1) with 200 and 50 units, then of DPG; `first` is the return that counts as 0.
fn decide(areas: &[Vec<f64>; 4], first: f64) -> Verdict {
    let best = areas.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let scaled = areas.clone().map(|areas| {
        areas.into_iter().map(|area| (area - first) / (best - first)).collect::<Vec<_>>()
    });
    let strata: Vec<&[f64]> = scaled.iter().map(Vec::as_slice).collect();
    let difference =
        Estimate::of(&strata, |s| Some((mean(s[0])? - mean(s[1])?) - (mean(s[2])? - mean(s[3])?)));
    let learned = [&scaled[0], &scaled[2]].map(|values| mean(values).is_some_and(|m| m >= 0.25));
    let kind = match (difference.value, difference.interval) {
        _ if learned.contains(&false) => Kind::NotReproduced,
        (Some(value), Some(Interval { high, .. })) if value < 0.0 && high < 0.0 => Kind::Reproduced,
        (Some(value), _) if value < 0.0 => Kind::Partly,
        _ => Kind::NotReproduced,
    };
    let [a, b, c, d] = scaled.each_ref().map(|values| mean(values).unwrap_or(f64::NAN));
    let interval =
        difference.interval.map_or(String::new(), |i| format!(" [{:.2}, {:.2}]", i.low, i.high));
    Verdict {
        kind,
        ours: format!(
            "Drops from 200 to 50 units: SVG(1) {:.2} (from {a:.2}), DPG {:.2} (from {c:.2})",
            a - b,
            c - d
        ),
        reason: format!(
            "The difference of the drops is {:.2}{interval}",
            difference.value.unwrap_or(f64::NAN)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_the_drops_decides() {
        let areas = |numbers: [f64; 4]| numbers.map(|number| vec![number; 3]);
        assert_eq!(decide(&areas([10.0, 9.0, 10.0, 4.0]), 0.0).kind, Kind::Reproduced);
        assert_eq!(decide(&areas([10.0, 4.0, 10.0, 9.0]), 0.0).kind, Kind::NotReproduced);
        assert_eq!(decide(&areas([1.0, 1.0, 10.0, 4.0]), 0.0).kind, Kind::NotReproduced);
        let mut shaky = areas([10.0, 9.0, 10.0, 8.0]);
        shaky[1] = vec![4.0, 9.0, 14.0];
        assert_eq!(decide(&shaky, 0.0).kind, Kind::Partly);
    }
}
