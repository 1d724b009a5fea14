//! Sample-efficiency ratios.
//!
//! The ratio at a level is the mean number of environment steps the baseline needs, divided by
//! the method's. Seeds that never reach the level count at their run's length, so the ratio
//! becomes a bound: "≥" where only baseline seeds fall short, "≤" where only method seeds do, "~"
//! (the ratio of the steps spent within the runs) where both do. So that a run gains nothing by
//! being shorter, steps are counted no farther than the shortest run that fell short. A level
//! that no seed reaches has no ratio.

use serde::{Deserialize, Serialize};

use super::Rule;
use super::analysis::GroupData;
use super::axis::number;
use super::stats::{Estimate, Interval, Reach};

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
            Self::AtLeast => "≥\u{a0}",
            Self::AtMost => "≤\u{a0}",
            Self::Within => "~\u{a0}",
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
}

/// Ratios of two groups at all levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RatioSeries {
    /// "environment steps: SAC / VG-SAC".
    pub(crate) label: String,
    /// Group in the denominator, whose colour the series has.
    pub(crate) method: usize,
    /// Whether it compares seconds of training rather than environment steps.
    pub(crate) seconds: bool,
    /// One point per level.
    pub(crate) points: Vec<RatioPoint>,
}

impl RatioPoint {
    /// Compares two groups; with `fair`, no farther than the shortest run that fell short.
    fn new(level: f64, baseline: &[Reach], method: &[Reach], fair: bool) -> Self {
        let short = baseline.iter().chain(method).filter(|r| r.censored).map(|r| r.at);
        let end = short.filter(|_| fair).fold(f64::INFINITY, f64::min);
        let at = |r: &[Reach]| r.iter().map(|r| r.at.min(end)).collect::<Vec<f64>>();
        let falls_short = |r: &Reach| r.censored || r.at > end;
        let bound = match (baseline.iter().any(falls_short), method.iter().any(falls_short)) {
            (false, false) => Bound::Exact,
            (true, false) => Bound::AtLeast,
            (false, true) => Bound::AtMost,
            (true, true) => Bound::Within,
        };
        let reached = !baseline.iter().chain(method).all(falls_short);
        let ratio = reached.then(|| Estimate::ratio_of_means(&at(baseline), &at(method)));
        Self { level, ratio: ratio.unwrap_or_default(), bound }
    }

    /// Counts as a gain by its point estimate.
    pub(crate) fn above_one(&self) -> bool {
        self.ratio.value.is_some_and(|r| r > 1.0)
    }

    /// Counts as a gain by its whole interval.
    pub(crate) fn surely_above_one(&self) -> bool {
        self.ratio.interval.is_some_and(|i| i.low > 1.0)
    }

    /// Counts as a loss by its whole interval.
    pub(crate) fn surely_below_one(&self) -> bool {
        self.ratio.interval.is_some_and(|i| i.high < 1.0)
    }

    /// The interval reaches the other's or lies above it.
    pub(crate) fn keeps_up_with(&self, other: &RatioPoint) -> bool {
        let pair = self.ratio.interval.zip(other.ratio.interval);
        pair.is_some_and(|(a, b)| a.overlaps(&b) || a.low > b.high)
    }

    /// "≥ 2.13× [1.6, 2.9]".
    pub(crate) fn text(&self) -> String {
        let Some(value) = self.ratio.value else { return "not reached".to_owned() };
        let value = format!("{}{}×", self.bound.sign(), number(value, 2));
        match self.ratio.interval {
            Some(Interval { low, high }) => {
                format!("{value} [{},\u{a0}{}]", number(low, 2), number(high, 2))
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
            RatioPoint::new(level, &reached(base), &reached(ours), !seconds)
        };
        let unit = if seconds { "training time" } else { "environment steps" };
        let label = format!("{unit}: {} / {}", base.label, ours.label);
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
        RatioPoint::new(1.0, &reach(base, base_end), &reach(ours, ours_end), true)
    }

    const SLOW: &[f64] = &[100.0, 110.0, 90.0, 105.0];
    const FAST: &[f64] = &[50.0, 55.0, 45.0, 52.0];

    #[test]
    fn censored_seeds_turn_the_ratio_into_a_bound() {
        assert_eq!(point(SLOW, 1e3, FAST, 1e3).bound, Bound::Exact);
        // (95 + 95 + 90 + 95) / 4 over 50.5.
        let below = point(SLOW, 95.0, FAST, 1e3);
        assert_eq!(below.bound, Bound::AtLeast);
        assert!(below.text().starts_with("≥\u{a0}1.86× [1."), "{}", below.text());
        assert_eq!(point(FAST, 1e3, SLOW, 95.0).bound, Bound::AtMost);
        assert_eq!(point(SLOW, 95.0, FAST, 51.0).bound, Bound::Within);
    }

    #[test]
    fn a_shorter_run_is_no_gain_and_a_shorter_baseline_no_loss() {
        // All method runs end at 40; within 40 steps nobody has reached the level.
        let short = point(SLOW, 1e3, FAST, 40.0);
        assert_eq!((short.ratio.value, short.text().as_str()), (None, "not reached"));
        assert_eq!(point(FAST, 40.0, SLOW, 1e3).ratio.value, None);
        // One method run ends at 60, where the others are done: the baseline counts up to there.
        let reach = |at: f64, censored| Reach { at, censored };
        let base = SLOW.iter().map(|&at| reach(at, false)).collect::<Vec<_>>();
        let ours = [reach(30.0, false), reach(30.0, false), reach(60.0, true)];
        let cut = RatioPoint::new(1.0, &base, &ours, true);
        assert_eq!((cut.ratio.value, cut.bound), (Some(1.5), Bound::Within));
        // Runs of equal length lose nothing.
        assert!(point(SLOW, 104.0, FAST, 104.0).surely_above_one());
        assert!(point(FAST, 104.0, SLOW, 104.0).surely_below_one());
    }

    #[test]
    fn chance_differences_in_run_length_are_no_gain() {
        // Runs end with an episode, so their lengths differ a little; one method seed gets there.
        let ends = |base: f64| (0..5).map(move |i| base + f64::from(i));
        let base: Vec<Reach> = ends(1_010.0).map(|at| Reach { at, censored: true }).collect();
        let mut ours: Vec<Reach> = ends(1_000.0).map(|at| Reach { at, censored: true }).collect();
        assert_eq!(RatioPoint::new(1.0, &base, &ours, true).ratio.value, None);
        ours[0] = Reach { at: 700.0, censored: false };
        let point = RatioPoint::new(1.0, &base, &ours, true);
        assert!(point.above_one() && !point.surely_above_one());
    }

    #[test]
    fn intervals_keep_up_when_they_overlap_or_lie_above() {
        let (double, middling) = (point(SLOW, 1e3, FAST, 1e3), point(SLOW, 1e3, &[80.0; 4], 1e3));
        assert!(double.keeps_up_with(&double) && double.keeps_up_with(&middling));
        assert!(!middling.keeps_up_with(&double));
    }
}
