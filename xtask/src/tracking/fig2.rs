//! Figure 2: the double pendulum with and without feedback, with a true model and with half the masses.

use anyhow::Result;

use super::arms::{MIN_SEEDS, PENDULUM, PENDULUMS, Pendulum, ROLLOUTS, pendulum, too_few};
use super::measures::radius;
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Marks, Panel, Scale, picture};
use crate::report::stats::{mean, standard_deviation};
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

const NOTE: &str = "Costs are those of the five roll-outs of a step of the policy, summed as in the paper, \
     whose minus is the reward it plots. The network without feedback sees state and time, as released; one \
     that sees the time alone is beside it. Rates are for the sum over roll-outs. The paper's text has the \
     whole horizon and the regulator of the continuous model, which leaves the model of half the masses \
     unstable at this sampling rate: the released code cuts the costate at each decision. Judged is the \
     regulator of the discrete model over the whole horizon. Gravity is 1 m/s². The best rate without feedback is chosen and judged on the same seeds, in its favour.";

pub(super) const MATCHED: Figure = Figure {
    id: "tracking-feedback/fig2a",
    title: "The double pendulum, true model",
    claim: "With a tracking controller inside, the policy learns in few steps and reliably; without \
            feedback it does not (Westenbroek et al. 2023, figure 2a)",
    note: NOTE,
    rule: "Reproduced: with feedback the mean over seeds of the cost of five roll-outs is below 30 at step 20 \
           with a standard deviation of at most 15; without feedback, at the best of five rates over three \
           decades, the last cost (mean of ten steps) is at least five times as large, with a standard \
           deviation of at least half of it. Partly: the first, or the second without its deviation. Not \
           reproduced: neither.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells: |size| cells(size, 1.0),
    judge: |found| judge(found, false),
};

pub(super) const HALF_MASSES: Figure = Figure {
    id: "tracking-feedback/fig2b",
    title: "The double pendulum, model of half the masses",
    claim: "With feedback a model of half the masses serves as well; without it learning is worse still \
            (Westenbroek et al. 2023, figure 2b)",
    note: NOTE,
    rule: "Reproduced: with feedback the last cost (mean of ten steps) is within a factor of 2 of that with \
           the true model, and without feedback, at the best of five rates over three decades, it is at least \
           five times as large. Partly: one of the two. Not reproduced: neither.",
    cells: |size| {
        let mut all = cells(size, 0.5)?;
        all.push(pendulum(size, Pendulum::Regulator, 1.0)?);
        Ok(all)
    },
    judge: |found| judge(found, true),
    ..MATCHED
};

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: three steps of 30 time steps, small networks.",
        Profile::Quick | Profile::Paper => {
            "100 steps of the policy, five roll-outs of 300 time steps each, networks of 2×64."
        }
    }
}

fn cells(size: &Size, factor: f64) -> Result<Vec<Curve>> {
    PENDULUMS.into_iter().map(|policy| pendulum(size, policy, factor)).collect()
}

/// Minutes of the plant that a step of the policy takes: five roll-outs of 3 s.
const MINUTES: f64 = 0.25;

/// Costs of the roll-outs of each step, summed over them, run by run.
fn costs(group: &Group) -> Vec<Vec<f64>> {
    let of = |cell| -> Vec<f64> {
        let returns = Column::Named("train_return").of(cell);
        returns.into_iter().map(|reward| -(ROLLOUTS as f64) * reward).collect()
    };
    group.runs.iter().map(of).collect()
}

/// Cost of each run at a step (from 0), or at the end: mean of the last ten.
fn at(group: &Group, step: Option<usize>) -> Vec<f64> {
    let of = |costs: Vec<f64>| match step {
        Some(step) => costs.get(step).copied().unwrap_or(f64::NAN),
        None => mean(&costs[costs.len().saturating_sub(10)..]).unwrap_or(f64::NAN),
    };
    costs(group).into_iter().map(of).collect()
}

fn judge(found: &Found, half: bool) -> Result<Findings> {
    let factor = if half { 0.5 } else { 1.0 };
    let group = |policy: Pendulum, factor: f64, n: usize| {
        found.group(PENDULUM, &policy.key(factor)).filter(|group| group.has(n))
    };
    let shown: Vec<_> = PENDULUMS
        .into_iter()
        .filter_map(|policy| Some((policy, group(policy, factor, 1)?)))
        .collect();
    let panel = |title: &str, keep: fn(&Pendulum) -> bool| Panel {
        title: title.to_owned(),
        x: Scale { label: "minutes of the plant", marks: Marks::Linear },
        y: Scale { label: "cost of five roll-outs", marks: Marks::Decades },
        lines: shown
            .iter()
            .filter(|(policy, _)| keep(policy))
            .flat_map(|(_, group)| {
                let mut points = group.points(Column::Episodes, Column::Named("train_return"));
                for (step, seeds) in &mut points {
                    *step *= MINUTES;
                    seeds.iter_mut().for_each(|reward| *reward *= -(ROLLOUTS as f64));
                }
                crate::curves::lines(&group.label, crate::report::lines::Stroke::Plain, &points)
            })
            .collect(),
    };
    let panels = [
        panel("With feedback", |p| !matches!(p, Pendulum::Open(_) | Pendulum::OpenTime(_))),
        panel("Without", |p| matches!(p, Pendulum::Open(_) | Pendulum::OpenTime(_))),
    ];
    let mut table = Table::new(
        &[
            "policy",
            "seeds",
            "step 1, 0.25 min",
            "5, 1.25 min",
            "10, 2.5 min",
            "20, 5 min",
            "end, 25 min",
            "deviation at the end",
            "ρ(Â + B̂K)",
        ],
        1,
    );
    for (policy, group) in &shown {
        let number = |values: &[f64]| Entry::estimate(&Estimate::mean(values), Some(1));
        table.push(vec![
            Entry::text(policy.name()),
            Entry::text(group.runs.len().to_string()),
            number(&at(group, Some(0))),
            number(&at(group, Some(4))),
            number(&at(group, Some(9))),
            number(&at(group, Some(19))),
            number(&at(group, None)),
            Entry::text(format!("{:.1}", standard_deviation(&at(group, None)).unwrap_or(f64::NAN))),
            radius(group),
        ]);
    }
    let open: Vec<_> = PENDULUMS
        .into_iter()
        .filter(|policy| matches!(policy, Pendulum::Open(_)))
        .filter_map(|policy| Some((policy, group(policy, factor, MIN_SEEDS)?)))
        .collect();
    let n_open = PENDULUMS.iter().filter(|policy| matches!(policy, Pendulum::Open(_))).count();
    let feedback = group(Pendulum::Regulator, factor, MIN_SEEDS);
    let matched = group(Pendulum::Regulator, 1.0, MIN_SEEDS);
    let verdict = match (feedback, matched) {
        (Some(feedback), Some(matched)) if open.len() == n_open => {
            let best = open
                .iter()
                .map(|(policy, group)| {
                    let ends = at(group, None);
                    let deviation = standard_deviation(&ends).unwrap_or(f64::NAN);
                    let cost = mean(&ends).unwrap_or(f64::NAN);
                    Best { policy: *policy, cost, deviation }
                })
                .min_by(|a, b| a.cost.total_cmp(&b.cost));
            let end = mean(&at(feedback, None)).unwrap_or(f64::NAN);
            let learned = if half {
                let ratio = end / mean(&at(matched, None)).unwrap_or(f64::NAN);
                (ratio < 2.0, format!("{ratio:.2} times that with the true model"))
            } else {
                let early = at(feedback, Some(19));
                let (cost, deviation) = (
                    mean(&early).unwrap_or(f64::NAN),
                    standard_deviation(&early).unwrap_or(f64::NAN),
                );
                let words = format!("{cost:.1} ± {deviation:.1} at step 20");
                (cost < 30.0 && deviation <= 15.0, words)
            };
            best.map_or_else(too_few, |best| decide(learned, end, &best, !half))
        }
        _ => too_few(),
    };
    Ok(Findings {
        verdict,
        pictures: vec![Illustration {
            name: "curves",
            caption: "Cost of the five roll-outs of each step of the policy (15 s of the plant): geometric mean \
                      over seeds with 95 % band."
                .to_owned(),
            picture: picture("Cost against minutes of the plant", &panels),
        }],
        rollouts: shown
            .iter()
            .find(|(policy, _)| *policy == Pendulum::Regulator)
            .map_or_else(Vec::new, |(_, group)| group.before_and_after()),
        tables: vec![("Cost of five roll-outs, mean over seeds".to_owned(), table)],
    })
}

/// The best without feedback, at the end.
struct Best {
    policy: Pendulum,
    cost: f64,
    deviation: f64,
}

/// `unreliable`: what is left without feedback has to differ from seed to seed.
fn decide((learned, words): (bool, String), end: f64, best: &Best, unreliable: bool) -> Verdict {
    let &Best { policy, cost, deviation } = best;
    let apart = cost >= 5.0 * end;
    let spread = !unreliable || deviation >= 0.5 * cost;
    let kind = match (learned, apart) {
        (true, true) if spread => Kind::Reproduced,
        (false, false) => Kind::NotReproduced,
        _ => Kind::Partly,
    };
    let reliable = if spread { "" } else { "; but seeds hardly differ there" };
    Verdict {
        kind,
        ours: format!(
            "With feedback {words} and {end:.1} at the end; best without ({}): {cost:.0} ± {deviation:.0}",
            policy.name()
        ),
        reason: format!(
            "Without feedback the last cost is {:.1} times as large{reliable}",
            cost / end
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_the_claim_count() {
        let kind = |learned, cost, deviation, unreliable| {
            let best = Best { policy: Pendulum::Open(1e-7), cost, deviation };
            decide((learned, String::new()), 20.0, &best, unreliable).kind
        };
        assert_eq!(kind(true, 300.0, 200.0, true), Kind::Reproduced);
        assert_eq!(kind(true, 300.0, 10.0, true), Kind::Partly);
        assert_eq!(kind(true, 300.0, 10.0, false), Kind::Reproduced);
        assert_eq!(kind(true, 30.0, 30.0, true), Kind::Partly);
        assert_eq!(kind(false, 300.0, 300.0, true), Kind::Partly);
        assert_eq!(kind(false, 30.0, 30.0, true), Kind::NotReproduced);
    }
}
