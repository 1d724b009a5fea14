//! Sample-efficiency ratios.
//!
//! The ratio at a level is the mean number of environment steps the baseline needs, divided by
//! the method's. Seeds that never reach the level count at their run's length, so the ratio
//! becomes a bound: "≥" where only baseline seeds fall short, "≤" where only method seeds do, "~"
//! (the ratio of the steps spent within the runs) where both do.

use serde::{Deserialize, Serialize};

use super::Rule;
use super::analysis::GroupData;
use super::axis::number;
use super::stats::{Estimate, Interval, Reach};

/// Runs whose lengths differ by less than this share count as equally long.
const SAME_LENGTH: f64 = 0.02;

/// How a ratio is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// Every seed reached the level.
    Exact,
    /// Some baseline seeds did not.
    AtLeast,
    /// Some method seeds did not.
    AtMost,
    /// Some of both did not.
    Within,
}

impl Bound {
    /// Sign in front of the number.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::AtLeast => "≥ ",
            Self::AtMost => "≤ ",
            Self::Within => "~ ",
        }
    }
}

/// The ratio of two groups at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RatioPoint {
    /// Return level.
    pub(crate) level: f64,
    /// Baseline over method; above 1 the method needs less.
    pub(crate) ratio: Estimate,
    /// How to read it.
    pub(crate) bound: Bound,
    /// May count for the method: not an artefact of its runs being shorter.
    pub(crate) may_favour: bool,
    /// May count against it: not an artefact of the baseline's runs being shorter.
    pub(crate) may_oppose: bool,
}

/// Ratios of two groups at all levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RatioSeries {
    /// "SAC / VG-SAC, environment steps".
    pub(crate) label: String,
    /// Group in the denominator, whose colour the series has.
    pub(crate) method: usize,
    /// Whether it compares seconds of training rather than environment steps.
    pub(crate) seconds: bool,
    /// One point per level.
    pub(crate) points: Vec<RatioPoint>,
}

impl RatioPoint {
    fn new(level: f64, baseline: &[Reach], method: &[Reach]) -> Self {
        let at = |r: &[Reach]| r.iter().map(|r| r.at).collect::<Vec<f64>>();
        let cut = |r: &[Reach]| r.iter().filter(|r| r.censored).map(|r| r.at).reduce(f64::min);
        let (base, ours) = (cut(baseline), cut(method));
        let bound = match (base, ours) {
            (None, None) => Bound::Exact,
            (Some(_), None) => Bound::AtLeast,
            (None, Some(_)) => Bound::AtMost,
            (Some(_), Some(_)) => Bound::Within,
        };
        let longest = |r: &[Reach]| r.iter().map(|r| r.at).fold(0.0, f64::max);
        let fair = |cut: Option<f64>, other: &[Reach]| {
            cut.is_none_or(|length| length >= (1.0 - SAME_LENGTH) * longest(other))
        };
        Self {
            level,
            ratio: Estimate::ratio_of_means(&at(baseline), &at(method)),
            bound,
            may_favour: fair(ours, baseline),
            may_oppose: fair(base, method),
        }
    }

    /// Counts as a gain by its point estimate.
    pub(crate) fn above_one(&self) -> bool {
        self.may_favour && self.ratio.value.is_some_and(|r| r > 1.0)
    }

    /// Counts as a gain by its whole interval.
    pub(crate) fn surely_above_one(&self) -> bool {
        self.may_favour && self.ratio.interval.is_some_and(|i| i.low > 1.0)
    }

    /// Counts as a loss by its whole interval.
    pub(crate) fn surely_below_one(&self) -> bool {
        self.may_oppose && self.ratio.interval.is_some_and(|i| i.high < 1.0)
    }

    /// The interval reaches the other's or lies above it.
    pub(crate) fn keeps_up_with(&self, other: &RatioPoint) -> bool {
        let pair = self.ratio.interval.zip(other.ratio.interval);
        pair.is_some_and(|(a, b)| a.overlaps(&b) || a.low > b.high)
    }

    /// "≥ 2.13× [1.6, 2.9]".
    pub(crate) fn text(&self) -> String {
        let Some(value) = self.ratio.value else { return "–".to_owned() };
        let value = format!("{}{}×", self.bound.sign(), number(value, 2));
        match self.ratio.interval {
            Some(Interval { low, high }) => {
                format!("{value} [{}, {}]", number(low, 2), number(high, 2))
            }
            None => value,
        }
    }
}

/// The ratio series of a rule: the one that decides first, then a yardstick, then seconds.
pub(crate) fn ratios(rule: &Rule, groups: &[GroupData], levels: &[f64]) -> Vec<RatioSeries> {
    let (method, baseline, reference) = match *rule {
        Rule::FewerSamples { baseline, method } => (method, baseline, None),
        Rule::Comparable { reference, method, baseline } => (method, baseline, Some(reference)),
    };
    let Some(base) = groups.get(baseline) else { return Vec::new() };
    let series = |index: usize, seconds: bool| {
        let ours = groups.get(index)?;
        let point = |(i, &level): (usize, &f64)| {
            let reached = |g: &GroupData| if seconds { g.seconds_to(i) } else { g.steps_to(i) };
            RatioPoint::new(level, &reached(base), &reached(ours))
        };
        let unit = if seconds { "training time" } else { "environment steps" };
        let label = format!("{} over {}, {unit}", base.label, ours.label);
        let points = levels.iter().enumerate().map(point).collect();
        Some(RatioSeries { label, method: index, seconds, points })
    };
    let steps = [Some(method), reference].into_iter().flatten().map(|i| (i, false));
    let wanted = steps.chain([(method, true)]);
    wanted.filter_map(|(i, seconds)| series(i, seconds)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(base: &[f64], base_end: f64, ours: &[f64], ours_end: f64) -> RatioPoint {
        let reach = |steps: &[f64], end: f64| -> Vec<Reach> {
            steps.iter().map(|&at| Reach { at: at.min(end), censored: at > end }).collect()
        };
        RatioPoint::new(1.0, &reach(base, base_end), &reach(ours, ours_end))
    }

    const SLOW: &[f64] = &[100.0, 110.0, 90.0, 105.0];
    const FAST: &[f64] = &[50.0, 55.0, 45.0, 52.0];

    #[test]
    fn censored_seeds_turn_the_ratio_into_a_bound() {
        assert_eq!(point(SLOW, 1e3, FAST, 1e3).bound, Bound::Exact);
        // (95 + 95 + 90 + 95) / 4 over 50.5.
        let below = point(SLOW, 95.0, FAST, 1e3);
        assert_eq!(below.bound, Bound::AtLeast);
        assert!(below.text().starts_with("≥ 1.86× [1."), "{}", below.text());
        assert_eq!(point(SLOW, 1e3, FAST, 51.0).bound, Bound::AtMost);
        assert_eq!(point(SLOW, 95.0, FAST, 51.0).bound, Bound::Within);
    }

    #[test]
    fn a_shorter_run_is_no_gain_and_a_shorter_baseline_no_loss() {
        let short = point(SLOW, 1e3, FAST, 40.0);
        assert!(
            short.ratio.value.unwrap() > 2.0 && !short.above_one() && !short.surely_above_one()
        );
        let swapped = point(FAST, 40.0, SLOW, 1e3);
        assert!(swapped.ratio.value.unwrap() < 0.5 && !swapped.surely_below_one());
        // Runs of equal length are fair: both stop at 104, which is where some seeds fall short.
        assert!(point(SLOW, 104.0, FAST, 104.0).surely_above_one());
        assert!(point(FAST, 104.0, SLOW, 104.0).surely_below_one());
    }

    #[test]
    fn intervals_keep_up_when_they_overlap_or_lie_above() {
        let (double, middling) = (point(SLOW, 1e3, FAST, 1e3), point(SLOW, 1e3, &[80.0; 4], 1e3));
        assert!(double.keeps_up_with(&double) && double.keeps_up_with(&middling));
        assert!(!middling.keeps_up_with(&double));
    }
}
