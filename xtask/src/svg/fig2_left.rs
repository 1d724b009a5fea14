//! Figure 2, left: SVG(∞) and the planner on the hand-ball.

use agents::svg::Estimator;
use anyhow::Result;

use super::arms::{
    HAND_BALL, HEADLINE, MIN_SEEDS, QUALITIES, Quality, SETTINGS, hand_ball, key, too_few,
};
use crate::curves::geometric_mean;
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Illustration, Interval, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "svg/fig2-left",
    title: "SVG(∞) and a planner with the same model on the hand-ball",
    claim: "SVG(∞) learns easily; the planner, which differs only in that it goes back along imagined \
            trajectories, makes little progress and ends much worse (Heess et al. 2015, figure 2 left)",
    note: SETTINGS,
    rule: "The area under a run's curve is its mean return over the first 150 episodes, by trapezoids over evaluations. \
           Judged at the stated quality of the model: raw units, ten minibatches after each \
           episode. Reproduced: the probability that a run of SVG(∞) has the larger area has a 95 % \
           interval above ½ there. Partly: at another quality alone. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: true,
    cells,
    judge,
};

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: three episodes of 30 steps.",
        Profile::Quick => "Quick profile: 150 episodes.",
        Profile::Paper => "Paper profile: 400 episodes.",
    }
}

/// Episodes over which the methods are compared: later the planner's model has become good.
const EARLY: f64 = 150.5;

const METHODS: [Estimator; 2] = [Estimator::Infinite, Estimator::Planner];

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for quality in QUALITIES {
        for method in METHODS {
            curves.push(hand_ball(size, method, quality)?);
        }
    }
    Ok(curves)
}

/// Both methods at a quality.
struct Duel<'f> {
    quality: Quality,
    svg: &'f Group,
    planner: &'f Group,
}

impl<'f> Duel<'f> {
    fn all(found: &'f Found, n: usize) -> Vec<Self> {
        let of = |quality| {
            let group = |method| found.group(HAND_BALL, &key(method, quality)).filter(|g| g.has(n));
            Some(Self { quality, svg: group(METHODS[0])?, planner: group(METHODS[1])? })
        };
        QUALITIES.into_iter().filter_map(of).collect()
    }

    fn areas(&self) -> [Vec<f64>; 2] {
        [self.svg, self.planner]
            .map(|group| group.areas_until(EARLY, Column::Episodes, Column::Return))
    }

    /// Whether SVG(∞) has the larger areas beyond chance.
    fn is_won(&self) -> bool {
        let [svg, planner] = self.areas();
        Estimate::improvement(&svg, &planner).interval.is_some_and(|i| i.low > 0.5)
    }
}

fn judge(found: &Found) -> Result<Findings> {
    let shown = Duel::all(found, 1);
    let panel = |duel: &Duel<'_>| Panel {
        title: format!("Model: {}", duel.quality.name()),
        x: Scale { label: "episode", marks: Marks::Linear },
        y: Scale { label: "mean return", marks: Marks::Linear },
        lines: [(METHODS[0], duel.svg), (METHODS[1], duel.planner)]
            .into_iter()
            .flat_map(|(method, group)| {
                let name = super::arms::label(method).unwrap_or_default();
                let mut lines = group.plain_lines(Column::Episodes, Column::Return);
                lines.iter_mut().for_each(|line| name.clone_into(&mut line.name));
                lines
            })
            .collect(),
    };
    let curves = picture("Return against episodes", &shown.iter().map(panel).collect::<Vec<_>>());
    let curves = Illustration {
        name: "curves",
        caption: "Mean return of 32 evaluation episodes without noise, by the quality of the model (its units, \
                  minibatches per episode): interquartile mean over seeds with 95 % band."
            .to_owned(),
        picture: curves,
    };
    let mut table = Table::new(
        &[
            "model",
            "unexplained",
            "cosine of ∂x'/∂a",
            "SVG(∞), area",
            "planner, area",
            "P(SVG(∞) better)",
            "SVG(∞), end",
            "planner, end",
            "planner imagines",
        ],
        1,
    );
    for duel in &shown {
        let [svg, planner] = duel.areas();
        let plain = |values: &[f64]| Entry::estimate(&Estimate::mean(values), Some(2));
        let of = |name| duel.svg.means(Column::Named(name));
        table.push(vec![
            Entry::text(duel.quality.name()),
            plain(&of("model_unexplained")),
            plain(&of("control_cosine")),
            plain(&svg),
            plain(&planner),
            Entry::estimate(&Estimate::improvement(&svg, &planner), Some(2)),
            plain(&duel.svg.ends(Column::Return)),
            plain(&duel.planner.ends(Column::Return)),
            crate::curves::entry(&negated(&duel.planner.means(Column::Named("imagined_return")))),
        ]);
    }
    let duels = Duel::all(found, MIN_SEEDS);
    let verdict = if duels.len() == QUALITIES.len() { decide(&duels) } else { too_few() };
    let rollouts = shown
        .iter()
        .find(|duel| duel.quality == HEADLINE)
        .map_or_else(Vec::new, |duel| duel.svg.before_and_after());
    Ok(Findings {
        verdict,
        pictures: vec![curves, gap(&shown)],
        rollouts,
        tables: vec![(
            "By the quality of the model. Unexplained: share of the variance of changes that \
             predictions of one step miss, on transitions not learned yet; both are means over training. \
             The planner's imagined cost is minus its imagined return"
                .to_owned(),
            table,
        )],
    })
}

fn negated(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| -v).collect()
}

/// By how much SVG(∞) is ahead against what the model leaves unexplained.
fn gap(duels: &[Duel<'_>]) -> Illustration {
    let mut points = Vec::new();
    for duel in duels {
        let [svg, planner] = duel.areas();
        let unexplained = Some(geometric_mean(&duel.svg.means(Column::Named("model_unexplained"))));
        let estimate = Estimate::difference_of_means(&svg, &planner);
        points.extend(unexplained.zip(estimate.value).map(|(x, y)| (x, y, estimate.interval)));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line = |stroke, points| Line { name: "SVG(∞) − planner".to_owned(), stroke, points };
    let with = |of: fn(&Interval) -> f64| {
        points.iter().filter_map(move |(x, _, i)| Some((*x, of(i.as_ref()?)))).collect::<Vec<_>>()
    };
    let mut band = with(|i| i.low);
    band.extend(with(|i| i.high).into_iter().rev());
    let middle = points.iter().map(|(x, y, _)| (*x, *y)).collect();
    let panel = Panel {
        title: "Gap against the quality of the model".to_owned(),
        x: Scale { label: "unexplained share of the changes", marks: Marks::Decades },
        y: Scale { label: "difference of mean returns", marks: Marks::Linear },
        lines: vec![line(Stroke::Dotted, middle), line(Stroke::Band, band)],
    };
    Illustration {
        name: "gap",
        caption: "How far the area under SVG(∞)'s curve is ahead of the planner's, against the model's one-step \
                  error: mean over seeds with 95 % band."
            .to_owned(),
        picture: picture("Gap against the quality of the model", &[panel]),
    }
}

fn decide(duels: &[Duel<'_>]) -> Verdict {
    let won: Vec<_> = duels.iter().filter(|duel| duel.is_won()).map(|duel| duel.quality).collect();
    let kind = match () {
        () if won.contains(&HEADLINE) => Kind::Reproduced,
        () if !won.is_empty() => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let names: Vec<_> = won.iter().map(|quality| quality.name()).collect();
    let among = if names.is_empty() { "none".to_owned() } else { names.join("; ") };
    let areas: Vec<_> = duels
        .iter()
        .map(|duel| {
            let [svg, planner] = duel.areas().map(|areas| mean(&areas).unwrap_or(f64::NAN));
            format!("{svg:.2} and {planner:.2} ({})", duel.quality.name())
        })
        .collect();
    Verdict {
        kind,
        ours: format!("Mean returns over training of SVG(∞) and planner: {}", areas.join(", ")),
        reason: format!("SVG(∞) is ahead beyond chance with these models: {among}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::found::fixture::{found, group};

    /// Both methods at all qualities with these costs.
    fn duels(costs: [[f64; 2]; 4]) -> Found {
        let groups = QUALITIES.iter().zip(costs).flat_map(|(&quality, costs)| {
            METHODS
                .iter()
                .zip(costs)
                .map(move |(&method, cost)| group(&key(method, quality), HAND_BALL, &[cost, cost]))
        });
        found(groups.collect())
    }

    #[test]
    fn the_stated_quality_decides() {
        let kind = |costs| decide(&Duel::all(&duels(costs), 3)).kind;
        let (ahead, level) = ([1.0, 2.0], [1.0, 1.0]);
        assert_eq!(kind([level, ahead, level, level]), Kind::Reproduced);
        assert_eq!(kind([level, level, ahead, level]), Kind::Partly);
        assert_eq!(kind([level, [2.0, 1.0], level, level]), Kind::NotReproduced);
        let three_seeds = duels([ahead, level, level, level]);
        assert!(Duel::all(&three_seeds, 4).is_empty());
    }
}
