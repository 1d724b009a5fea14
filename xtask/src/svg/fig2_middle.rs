//! Figure 2, middle: all methods on the cart-pole.

use agents::svg::Estimator;
use anyhow::Result;

use super::arms::{MIN_SEEDS, SETTINGS, cartpole, group, label, too_few};
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Marks, Panel, Scale, picture};
use crate::report::stats::{final_return, interquartile_mean};
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "svg/fig2-middle",
    title: "Swinging up the cart-pole: the family, DPG and the actor-critic",
    claim: "SVG(1)-ER learns fastest (Heess et al. 2015, figure 2 middle)",
    note: SETTINGS,
    rule: "The area under a run's curve is its mean return over training, by trapezoids over evaluations. \
           Reproduced: SVG(1)-ER has the largest interquartile mean of areas, and the probability that \
           one of its runs has a larger area than one of another method has a 95 % interval above ½ for \
           every other method. Partly: the former alone, or the latter for at least half of the methods. \
           Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

pub(super) fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: three episodes, small networks.",
        Profile::Quick => {
            "Quick profile: 40,000 steps, minibatches of 64, policies of 2×100, critics of 200 and 100 units."
        }
        Profile::Paper => {
            "Paper profile: 100,000 steps, minibatches of 128, policies of 2×100, critics of 200 and 100 units."
        }
    }
}

/// SVG(1)-ER first.
const METHODS: [Estimator; 8] = [
    Estimator::OneReplay,
    Estimator::One,
    Estimator::Steps,
    Estimator::Infinite,
    Estimator::Planner,
    Estimator::Zero,
    Estimator::Deterministic,
    Estimator::ActorCritic,
];

/// Units in the first layer of critics.
const CRITIC: usize = 200;

fn cells(size: &Size) -> Result<Vec<Curve>> {
    METHODS.into_iter().map(|method| cartpole(size, method, CRITIC)).collect()
}

fn areas(group: &Group) -> Vec<f64> {
    group.areas(Column::EnvSteps, Column::Return)
}

fn judge(found: &Found) -> Result<Findings> {
    let groups = |n: usize| {
        METHODS
            .into_iter()
            .filter_map(|method| {
                Some((method, group(found, method, CRITIC).filter(|group| group.has(n))?))
            })
            .collect::<Vec<_>>()
    };
    let shown = groups(1);
    let panel = |title: &str, x: Column, label, y: Column, what| Panel {
        title: title.to_owned(),
        x: Scale { label, marks: Marks::Linear },
        y: Scale { label: what, marks: Marks::Linear },
        lines: shown.iter().flat_map(|(_, group)| group.plain_lines(x, y)).collect(),
    };
    let upright = Column::Named("upright");
    let panels = [
        panel("Return", Column::EnvSteps, "environment steps", Column::Return, "mean return"),
        panel("Time", Column::Seconds, "training time [s]", Column::Return, "mean return"),
        panel("Pole", Column::EnvSteps, "environment steps", upright, "mean cos θ, last 2 s"),
    ];
    let curves = Illustration {
        name: "curves",
        caption: "Evaluations without noise: interquartile mean over seeds with 95 % band."
            .to_owned(),
        picture: picture("Return and height of the pole against steps and time", &panels),
    };
    let mut table = Table::new(
        &[
            "method",
            "seeds",
            "area",
            "P(SVG(1)-ER better)",
            "return at the end",
            "with noise",
            "cos θ at the end",
            "swung up",
            "weights: effective share",
            "model: unexplained",
            "cosine of ∂x'/∂a",
        ],
        1,
    );
    let best = shown.first().filter(|(method, _)| *method == METHODS[0]);
    for (method, group) in &shown {
        let plain = |values: &[f64]| Entry::estimate(&Estimate::mean(values), Some(2));
        let against = best.filter(|_| *method != METHODS[0]).map_or_else(
            || Entry::text("–"),
            |(_, er)| Entry::estimate(&Estimate::improvement(&areas(er), &areas(group)), Some(2)),
        );
        let up = group
            .runs
            .iter()
            .filter(|run| final_return(&upright.of(run)).is_some_and(|height| height > SWUNG_UP));
        table.push(vec![
            Entry::text(label(*method)?),
            Entry::text(group.runs.len().to_string()),
            Entry::estimate(&Estimate::mean(&areas(group)), Some(1)),
            against,
            Entry::estimate(&Estimate::mean(&group.ends(Column::Return)), Some(1)),
            Entry::estimate(&Estimate::mean(&group.ends(Column::Named("train_return"))), Some(1)),
            plain(&group.ends(upright)),
            Entry::text(format!("{} of {}", up.count(), group.runs.len())),
            plain(&group.means(Column::Named("effective_share"))),
            plain(&group.means(Column::Named("model_unexplained"))),
            plain(&group.means(Column::Named("control_cosine"))),
        ]);
    }
    let judged = groups(MIN_SEEDS);
    let verdict = match judged.len() == METHODS.len() {
        true => {
            let areas: Vec<_> =
                judged.iter().map(|(method, group)| (*method, areas(group))).collect();
            decide(&areas)
        }
        false => too_few(),
    };
    Ok(Findings {
        verdict,
        pictures: vec![curves],
        rollouts: best.map_or_else(Vec::new, |(_, group)| group.before_and_after()),
        tables: vec![(
            "Mean returns over training (areas) and at the end, there also of the training episodes, whose \
             actions have noise; swung up: mean cos θ above 0.95 over the \
             last two seconds, mean of three evaluations"
                .to_owned(),
            table,
        )],
    })
}

/// Mean cos θ from which a pole counts as swung up.
const SWUNG_UP: f64 = 0.95;

/// SVG(1)-ER stands first.
fn decide(areas: &[(Estimator, Vec<f64>)]) -> Verdict {
    let Some(((_, er), others)) = areas.split_first() else { return too_few() };
    let iqm = |values: &[f64]| interquartile_mean(values).unwrap_or(f64::NAN);
    let best = others.iter().all(|(_, areas)| iqm(er) > iqm(areas));
    let beaten = others.iter().filter(|(_, areas)| {
        Estimate::improvement(er, areas).interval.is_some_and(|i| i.low > 0.5)
    });
    let (beaten, n) = (beaten.count(), others.len());
    let kind = match () {
        () if best && beaten == n => Kind::Reproduced,
        () if best || 2 * beaten >= n => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let all: Vec<_> = areas
        .iter()
        .map(|(method, areas)| format!("{} {:.0}", method.name(), iqm(areas)))
        .collect();
    Verdict {
        kind,
        ours: format!("Mean returns over training: {}", all.join(", ")),
        reason: format!(
            "SVG(1)-ER is {} and ahead beyond chance of {beaten} of {n} methods",
            if best { "first" } else { "not first" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_first_and_ahead_of_all_decides() {
        let kind = |other: f64, third: f64| {
            let areas = [10.0, other, third];
            let all: Vec<_> =
                METHODS.iter().zip(areas).map(|(&method, area)| (method, vec![area; 3])).collect();
            decide(&all).kind
        };
        assert_eq!(kind(5.0, 6.0), Kind::Reproduced);
        assert_eq!(kind(5.0, 11.0), Kind::Partly);
        assert_eq!(kind(12.0, 11.0), Kind::NotReproduced);
    }
}
