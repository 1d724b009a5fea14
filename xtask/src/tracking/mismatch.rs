//! The study of the published appendix: a model whose constants are a share γ of the car's.

use agents::tracking::Horizon;
use anyhow::Result;
use bench_tasks::Preset;
use dynamics::models::CarParameters;

use super::arms::{CAR, CAR_SECONDS, Lap, MIN_SEEDS, laps, too_few};
use super::measures::radius;
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Marks, Panel, Scale, picture};
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "tracking-feedback/mismatch",
    title: "The released car with models of a share of its constants",
    claim: "Learning gets slower, not worse, as the model's constants shrink to a quarter of the car's (study \
            of the published appendix)",
    note: "The released simulated car; losses are costs over the 812 steps of a roll-out that count. Cut at the \
           decisions, as released, the gradient is proportional to the model's inputs; over the whole horizon it \
           hardly depends on them.",
    rule: "Reproduced: cut at the decisions the losses after 15 steps have the order of γ (1 lowest), the last \
           ones (mean of three) are at most 10 for γ ≥ ½ and 12 to 25 for γ = ¼; and over the whole horizon the \
           last ones of γ = 1 and ¼ differ by less than a quarter. Partly: the order alone. Not reproduced: \
           otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

const SHARES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];
const CUT: Lap = Lap { horizon: Horizon::Segment, rate: 6e-3 };
const FULL: Lap = Lap { horizon: Horizon::Full, rate: 1e-4 };
/// Steps of a roll-out that count.
const COUNTED: f64 = 812.0;

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: two steps, small networks.",
        _ => "25 steps of one roll-out each.",
    }
}

fn key(lap: Lap, share: f64) -> String {
    format!("{}, γ = {share}", lap.name())
}

fn arms() -> impl Iterator<Item = (Lap, f64)> {
    SHARES.into_iter().map(|share| (CUT, share)).chain([(FULL, 1.0), (FULL, 0.5), (FULL, 0.25)])
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let curve = |(lap, share): (Lap, f64)| {
        let CarParameters { throttle_gain, drag, steering_gain, steering_bias, .. } =
            CarParameters::released().scaled(share);
        let texts = [throttle_gain, drag, steering_gain, steering_bias].map(|c| c.to_string());
        let keys = [
            "nominal.throttle_gain",
            "nominal.drag",
            "nominal.steering_gain",
            "nominal.steering_bias",
        ];
        let changes: Vec<_> = keys.into_iter().zip(texts.iter().map(String::as_str)).collect();
        let key = key(lap, share);
        laps(size, (&key, key.clone()), (Preset::Released, CAR), lap, 25, &changes)
    };
    arms().map(curve).collect()
}

fn losses(group: &Group, step: Option<usize>) -> Vec<f64> {
    let of = |run| {
        let costs = Column::Named("cost_per_step").of(run);
        let cost = match step {
            Some(step) => costs.get(step - 1).copied(),
            None => mean(&costs[costs.len().saturating_sub(3)..]),
        };
        COUNTED * cost.unwrap_or(f64::NAN)
    };
    group.runs.iter().map(of).collect()
}

fn judge(found: &Found) -> Result<Findings> {
    let group =
        |lap, share, n: usize| found.group(CAR, &key(lap, share)).filter(|group| group.has(n));
    let panel = |lap: Lap| Panel {
        title: lap.name().to_owned(),
        x: Scale { label: "minutes of driving", marks: Marks::Linear },
        y: Scale { label: "cost per step", marks: Marks::Decades },
        lines: arms()
            .filter(|(of, _)| *of == lap)
            .filter_map(|(_, share)| Some((share, group(lap, share, 1)?)))
            .flat_map(|(share, group)| {
                let mut lines = group.plain_lines(Column::Episodes, Column::Named("cost_per_step"));
                for line in &mut lines {
                    line.name = format!("γ = {share}");
                    line.points.iter_mut().for_each(|(x, _)| *x *= CAR_SECONDS / 60.0);
                }
                lines
            })
            .collect(),
    };
    let mut table = Table::new(
        &[
            "costates",
            "γ",
            "seeds",
            "ρ(Â + B̂K)",
            "step 1, 0.4 min",
            "5, 1.8 min",
            "10, 3.6 min",
            "15, 5.5 min",
            "20, 7.3 min",
            "end, 9.1 min",
        ],
        1,
    );
    for (lap, share) in arms() {
        let Some(group) = group(lap, share, 1) else { continue };
        let mut row = vec![
            Entry::text(lap.name()),
            Entry::text(share.to_string()),
            Entry::text(group.runs.len().to_string()),
            radius(group),
        ];
        for step in [Some(1), Some(5), Some(10), Some(15), Some(20), None] {
            row.push(Entry::estimate(&Estimate::mean(&losses(group, step)), Some(1)));
        }
        table.push(row);
    }
    let loss = |lap, share, step| {
        let group = group(lap, share, MIN_SEEDS)?;
        mean(&losses(group, step))
    };
    let cut: Option<Vec<_>> = SHARES
        .into_iter()
        .map(|share| Some((loss(CUT, share, Some(15))?, loss(CUT, share, None)?)))
        .collect();
    let full = [1.0, 0.25].map(|share| loss(FULL, share, None));
    let verdict = match (cut, full) {
        (Some(cut), [Some(one), Some(quarter)]) => decide(&cut, [one, quarter]),
        _ => too_few(),
    };
    Ok(Findings {
        verdict,
        pictures: vec![Illustration {
            name: "curves",
            caption: "Evaluations after each step: interquartile mean over seeds with 95 % band."
                .to_owned(),
            picture: picture("Cost against minutes of driving", &[panel(CUT), panel(FULL)]),
        }],
        rollouts: Vec::new(),
        tables: vec![("Losses of evaluations after so many steps of the policy".to_owned(), table)],
    })
}

/// Losses after 15 steps and at the end by γ, falling; and at the end over the whole horizon.
fn decide(cut: &[(f64, f64)], [one, quarter]: [f64; 2]) -> Verdict {
    let ordered = cut.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let levels = cut.iter().take(3).all(|(_, end)| *end <= 10.0)
        && cut.last().is_some_and(|(_, end)| (12.0..=25.0).contains(end));
    let alike = (one / quarter).max(quarter / one) < 1.25;
    let kind = match () {
        () if ordered && levels && alike => Kind::Reproduced,
        () if ordered => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let ends: Vec<_> = cut.iter().map(|(_, end)| format!("{end:.1}")).collect();
    Verdict {
        kind,
        ours: format!(
            "Losses at the end, cut: {} for γ = 1, ¾, ½, ¼; whole horizon: {one:.1} and {quarter:.1} for γ = 1 \
             and ¼",
            ends.join(", ")
        ),
        reason: format!(
            "After 15 steps the losses {} the order of γ; the levels {}; over the whole horizon the ends {}",
            if ordered { "have" } else { "do not have" },
            if levels { "are met" } else { "are not met" },
            if alike { "agree" } else { "differ" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_levels_count() {
        let cut = [(8.6, 8.0), (10.6, 8.0), (16.0, 9.8), (34.0, 17.7)];
        assert_eq!(decide(&cut, [19.0, 20.0]).kind, Kind::Reproduced);
        assert_eq!(decide(&cut, [19.0, 40.0]).kind, Kind::Partly);
        let mut mixed = cut;
        mixed[0].0 = 20.0;
        assert_eq!(decide(&mixed, [19.0, 20.0]).kind, Kind::NotReproduced);
    }
}
