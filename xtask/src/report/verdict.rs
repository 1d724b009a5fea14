//! Verdicts by written rules over the sample-efficiency ratios of [`super::ratio`].

use serde::{Deserialize, Serialize};

use super::Rule;
use super::analysis::GroupData;
use super::axis::number;
use super::ratio::{RatioPoint, RatioSeries};

/// Complete seeds that every judged group needs.
const MIN_SEEDS: usize = 3;

/// Outcome of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The claim holds by the rule.
    Reproduced,
    /// The numbers point the claim's way without the certainty asked for.
    Partly,
    /// They do not.
    NotReproduced,
    /// Too few or too short runs to judge.
    NotRun,
}

impl Kind {
    /// The words of the page.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Partly => "partly",
            Self::NotReproduced => "not reproduced",
            Self::NotRun => "not run at this profile",
        }
    }
}

/// A verdict with its grounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The outcome.
    pub(crate) kind: Kind,
    /// Our figures in one line.
    pub(crate) ours: String,
    /// How the rule came to its outcome.
    pub(crate) reason: String,
}

/// Applies a rule.
pub(crate) fn decide(
    rule: &Rule,
    groups: &[GroupData],
    ratios: &[RatioSeries],
    levels: &[f64],
    profile: &str,
) -> Verdict {
    let ours = summary(rule, ratios, groups);
    let verdict = |kind, reason: String| Verdict { kind, ours: ours.clone(), reason };
    if profile == "smoke" {
        let reason = "The smoke profile only shows that everything runs; it is too short to judge";
        return verdict(Kind::NotRun, reason.to_owned());
    }
    let judged = match *rule {
        Rule::FewerSamples { baseline, method } => vec![baseline, method],
        Rule::Comparable { reference, method, baseline } => vec![baseline, reference, method],
    };
    for index in judged {
        let Some(group) = groups.get(index) else {
            return verdict(Kind::NotRun, format!("The rule names group {index}, which is absent"));
        };
        let (found, expected) = (group.seeds.len(), group.expected);
        if found < MIN_SEEDS {
            let reason = format!(
                "{} has {found} of {expected} seeds complete; the rule needs {MIN_SEEDS}",
                group.label
            );
            return verdict(Kind::NotRun, reason);
        }
    }
    let Some(first) = ratios.first().filter(|_| !levels.is_empty()) else {
        return verdict(Kind::NotRun, "No return levels are set for this figure".to_owned());
    };
    let n = levels.len();
    let majority = |count: usize| 2 * count > n;
    let count =
        |test: &dyn Fn(&RatioPoint) -> bool| first.points.iter().filter(|p| test(p)).count();
    let above = count(&RatioPoint::above_one);
    let (kind, reason) = match rule {
        Rule::FewerSamples { .. } => {
            let sure = count(&RatioPoint::surely_above_one);
            let against = count(&RatioPoint::surely_below_one);
            let kind = match () {
                () if majority(sure) && against == 0 => Kind::Reproduced,
                () if majority(above) => Kind::Partly,
                () => Kind::NotReproduced,
            };
            let reason = format!(
                "Of {n} levels the interval lies above 1 at {sure} and below 1 at {against}; the \
                 ratio itself exceeds 1 at {above}"
            );
            (kind, reason)
        }
        Rule::Comparable { .. } => {
            let yardstick = ratios.get(1).map_or(&[][..], |r| &r.points);
            let pairs = first.points.iter().zip(yardstick);
            let level = pairs.filter(|(a, b)| a.above_one() && a.keeps_up_with(b)).count();
            let kind = match () {
                () if majority(level) => Kind::Reproduced,
                () if majority(above) => Kind::Partly,
                () => Kind::NotReproduced,
            };
            let reason = format!(
                "Of {n} levels the ratio exceeds 1 at {above}, and at {level} of them its interval \
                 also overlaps the reference's or lies above it"
            );
            (kind, reason)
        }
    };
    verdict(kind, reason)
}

/// Our figures in one line.
fn summary(rule: &Rule, ratios: &[RatioSeries], groups: &[GroupData]) -> String {
    let (method, baseline) = rule.method_and_baseline();
    let points = ratios.first().map_or(&[][..], |series| &series.points);
    let known: Vec<&RatioPoint> = points.iter().filter(|p| p.ratio.value.is_some()).collect();
    let (Some(base), Some(ours), Some((first, rest))) =
        (groups.get(baseline), groups.get(method), known.split_first())
    else {
        let done: usize = groups.iter().map(|g| g.seeds.len()).sum();
        let expected: usize = groups.iter().map(|g| g.expected).sum();
        return format!("{done} of {expected} cells complete");
    };
    let mut out = format!(
        "{} needs {} the environment steps of {} to reach a return of {}",
        base.label,
        first.text(),
        ours.label,
        number(first.level, 0)
    );
    for point in rest {
        out += &format!(", {} to reach {}", point.text(), number(point.level, 0));
    }
    out
}

/// The rule written out.
pub(crate) fn rule_text(rule: &Rule, labels: &[String]) -> String {
    let name = |i: usize| labels.get(i).map_or("an absent group", String::as_str);
    let judged = |method: usize, baseline: usize| {
        format!(
            "At each return level, r = mean environment steps of {b} / mean environment steps of \
             {m}, with a 95 % bootstrap interval over seeds. A seed reaches a level at the first \
             evaluation where the mean of the last three evaluations is at least the level \
             (interpolated linearly). A seed that never does counts at its run's length and r is \
             then a bound; steps are counted no farther than the shortest run that fell short, and \
             a level that no seed reaches counts for neither side.",
            b = name(baseline),
            m = name(method)
        )
    };
    let seeds = format!(
        "Not run at this profile: fewer than {MIN_SEEDS} complete seeds in a group, or the smoke \
         profile."
    );
    match *rule {
        Rule::FewerSamples { baseline, method } => format!(
            "{} Reproduced: the interval lies above 1 at a majority of the levels and below 1 at \
             none. Partly: r exceeds 1 at a majority of the levels. Not reproduced: otherwise. \
             {seeds}",
            judged(method, baseline)
        ),
        Rule::Comparable { reference, method, baseline } => format!(
            "{} The yardstick is the same ratio for {}. Reproduced: at a majority of the levels r \
             exceeds 1 and its interval overlaps the yardstick's or lies above it. Partly: r \
             exceeds 1 at a majority of the levels. Not reproduced: otherwise. {seeds}",
            judged(method, baseline),
            name(reference)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ratio::ratios;
    use super::super::stats::Reach;
    use super::*;

    /// A group whose seeds reach each level after the given steps; beyond `length` they do not.
    fn group(label: &str, length: f64, steps: &[&[f64]]) -> GroupData {
        let seeds = (0..steps.first().map_or(0, |s| s.len())).map(|seed| {
            let reach = |s: &&[f64]| Reach { at: s[seed].min(length), censored: s[seed] > length };
            serde_json::from_value(serde_json::json!({
                "seed": seed, "cell": "", "final_return": 1.0, "best_return": 1.0,
                "steps_to_level": steps.iter().map(reach).collect::<Vec<_>>(),
                "seconds_to_level": null, "timing": null,
                "curve": {"env_steps": [], "episodes": [], "updates": [], "returns": []},
            }))
            .unwrap()
        });
        let seeds: Vec<_> = seeds.collect();
        GroupData { label: label.to_owned(), expected: 5, seeds, ..GroupData::default() }
    }

    const RULE: Rule = Rule::FewerSamples { baseline: 0, method: 1 };

    fn judge(rule: Rule, groups: &[GroupData], n: usize, profile: &str) -> Verdict {
        let levels: Vec<f64> = (1..=n).map(|i| i as f64 * 10.0).collect();
        decide(&rule, groups, &ratios(&rule, groups, &levels), &levels, profile)
    }

    const SLOW: &[f64] = &[100.0, 110.0, 90.0, 105.0];
    const FAST: &[f64] = &[50.0, 55.0, 45.0, 52.0];

    #[test]
    fn clear_gains_at_a_majority_of_levels_reproduce_the_claim() {
        let groups = [group("a", 1e3, &[SLOW, SLOW, SLOW]), group("b", 1e3, &[FAST, FAST, SLOW])];
        let verdict = judge(RULE, &groups, 3, "quick");
        assert_eq!(verdict.kind, Kind::Reproduced);
        assert!(verdict.ours.starts_with("a needs 2.00× [1."), "{}", verdict.ours);
    }

    #[test]
    fn one_level_clearly_lost_makes_it_partly() {
        let groups = [group("a", 1e3, &[SLOW, SLOW, FAST]), group("b", 1e3, &[FAST, FAST, SLOW])];
        assert_eq!(judge(RULE, &groups, 3, "quick").kind, Kind::Partly);
        let swapped = [groups[1].clone(), groups[0].clone()];
        assert_eq!(judge(RULE, &swapped, 3, "quick").kind, Kind::NotReproduced);
    }

    #[test]
    fn gains_within_the_noise_are_partly() {
        let noisy: &[f64] = &[40.0, 160.0, 30.0, 130.0];
        let groups = [group("a", 1e3, &[SLOW]), group("b", 1e3, &[noisy])];
        assert_eq!(judge(RULE, &groups, 1, "quick").kind, Kind::Partly);
    }

    #[test]
    fn too_few_seeds_or_the_smoke_profile_are_not_judged() {
        let groups = [group("a", 1e3, &[SLOW]), group("b", 1e3, &[&FAST[..2]])];
        let verdict = judge(RULE, &groups, 1, "quick");
        assert_eq!(verdict.kind, Kind::NotRun);
        assert_eq!(verdict.reason, "b has 2 of 5 seeds complete; the rule needs 3");
        let groups = [group("a", 1e3, &[SLOW]), group("b", 1e3, &[FAST])];
        assert_eq!(judge(RULE, &groups, 1, "smoke").kind, Kind::NotRun);
        assert_eq!(judge(RULE, &groups[..1], 1, "quick").kind, Kind::NotRun);
        assert_eq!(judge(RULE, &groups, 0, "quick").kind, Kind::NotRun);
    }

    #[test]
    fn shorter_runs_of_the_method_cannot_count_for_it() {
        let groups = [group("a", 1e3, &[SLOW]), group("b", 40.0, &[FAST])];
        let verdict = judge(RULE, &groups, 1, "quick");
        assert_eq!(verdict.kind, Kind::NotReproduced);
        assert!(verdict.reason.starts_with("Of 1 levels the interval lies above 1 at 0"));
    }

    #[test]
    fn comparable_needs_a_gain_that_keeps_up_with_the_reference() {
        let rule = Rule::Comparable { reference: 1, method: 2, baseline: 0 };
        let middling: &[f64] = &[80.0, 85.0, 82.0, 84.0];
        let [slow, fast] = [group("a", 1e3, &[SLOW]), group("b", 1e3, &[FAST])];
        let kind = |steps| {
            let groups = [slow.clone(), fast.clone(), group("c", 1e3, &[steps])];
            judge(rule, &groups, 1, "quick").kind
        };
        assert_eq!(kind(FAST), Kind::Reproduced);
        assert_eq!(kind(&[10.0, 11.0, 12.0, 10.0]), Kind::Reproduced);
        assert_eq!(kind(middling), Kind::Partly);
        assert_eq!(kind(&[200.0, 210.0, 205.0, 200.0]), Kind::NotReproduced);
    }

    #[test]
    fn the_rule_text_names_its_groups() {
        let labels = ["SAC".to_owned(), "VG-SAC".to_owned()];
        assert!(
            rule_text(&RULE, &labels).contains("steps of SAC / mean environment steps of VG-SAC")
        );
        assert!(rule_text(&RULE, &[]).contains("an absent group"));
    }
}
