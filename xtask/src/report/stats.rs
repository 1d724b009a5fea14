//! Statistics of a comparison. The unit is always the seed: one run gives one number.
//!
//! Intervals are 95 % percentile intervals of a stratified bootstrap: every group of seeds is one
//! stratum and is resampled with replacement on its own, 2,000 times. The resamples come from a
//! counter-based generator with a constant key, so the same numbers give the same interval on
//! every machine. With five seeds such an interval is too narrow (about 83 % of intervals hold the
//! true mean of a normal distribution, see the tests); the page says so.

use serde::{Deserialize, Serialize};

/// Number of bootstrap resamples behind every interval.
pub(crate) const RESAMPLES: usize = 2_000;
/// Number of evaluations in the trailing window of [`first_reach`] and of a final return.
pub(crate) const WINDOW: usize = 3;
/// Key of the bootstrap's random numbers.
const KEY: u64 = 0x0C05_7A7E;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The 2.5th percentile.
    pub(crate) low: f64,
    /// The 97.5th percentile.
    pub(crate) high: f64,
}

impl Interval {
    /// Whether the two intervals share a point.
    pub(crate) fn overlaps(&self, other: &Interval) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// A number with its interval. Both are absent where no seed gave the number, and the interval is
/// absent where only one did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    /// The point estimate.
    pub(crate) value: Option<f64>,
    /// Its 95 % bootstrap interval.
    pub(crate) interval: Option<Interval>,
}

impl Estimate {
    /// A statistic of independent groups of seeds with its stratified-bootstrap interval.
    pub(crate) fn of(strata: &[&[f64]], statistic: impl Fn(&[&[f64]]) -> Option<f64>) -> Self {
        Self { value: statistic(strata), interval: bootstrap(strata, &statistic) }
    }

    /// The mean of one group.
    pub(crate) fn mean(values: &[f64]) -> Self {
        Self::of(&[values], |s| mean(s[0]))
    }

    /// The ratio of the means of two groups, `numerator / denominator`.
    pub(crate) fn ratio_of_means(numerator: &[f64], denominator: &[f64]) -> Self {
        Self::of(&[numerator, denominator], |s| {
            let (n, d) = (mean(s[0])?, mean(s[1])?);
            (d > 0.0).then(|| n / d)
        })
    }

    /// The difference of the means of two groups, `a − b`.
    pub(crate) fn difference_of_means(a: &[f64], b: &[f64]) -> Self {
        Self::of(&[a, b], |s| Some(mean(s[0])? - mean(s[1])?))
    }

    /// The probability that a random seed of `a` exceeds a random seed of `b`, ties counted half.
    pub(crate) fn improvement(a: &[f64], b: &[f64]) -> Self {
        Self::of(&[a, b], |s| probability_of_improvement(s[0], s[1]))
    }
}

/// Counter-based random numbers: draw `i` is splitmix64's finaliser of `key + (i + 1) · γ`.
struct Counter {
    state: u64,
}

impl Counter {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A uniform index below `n`: the high word of the product, whose bias is n / 2⁶⁴.
    fn index(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// Arithmetic mean; `None` for no values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (divisor n − 1); `None` below two values.
pub(crate) fn standard_deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Interquartile mean: ⌊n/4⌋ values are cut at either end before averaging.
pub(crate) fn interquartile_mean(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// Percentile `p` in [0, 100] of sorted values, linear between order statistics.
pub(crate) fn percentile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (p / 100.0).clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (at - below as f64) * (sorted[above] - sorted[below]))
}

/// P(a > b) + ½ P(a = b) over all pairs; `None` where a group is empty.
pub(crate) fn probability_of_improvement(a: &[f64], b: &[f64]) -> Option<f64> {
    let pairs = (a.len() * b.len()) as f64;
    let wins: f64 = a
        .iter()
        .flat_map(|x| b.iter().map(move |y| if x > y { 1.0 } else { f64::from(x == y) * 0.5 }))
        .sum();
    (pairs > 0.0).then(|| wins / pairs)
}

/// Stratified bootstrap interval of a statistic; `None` unless every stratum has two values and
/// the statistic is defined and finite on every resample.
pub(crate) fn bootstrap(
    strata: &[&[f64]],
    statistic: impl Fn(&[&[f64]]) -> Option<f64>,
) -> Option<Interval> {
    if strata.is_empty() || strata.iter().any(|s| s.len() < 2) {
        return None;
    }
    let mut random = Counter { state: KEY };
    let mut resample: Vec<Vec<f64>> = strata.iter().map(|s| s.to_vec()).collect();
    let mut results = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for (out, from) in resample.iter_mut().zip(strata) {
            out.fill_with(|| from[random.index(from.len())]);
        }
        let views: Vec<&[f64]> = resample.iter().map(Vec::as_slice).collect();
        results.push(statistic(&views).filter(|v| v.is_finite())?);
    }
    results.sort_by(f64::total_cmp);
    Some(Interval { low: percentile(&results, 2.5)?, high: percentile(&results, 97.5)? })
}

/// Linear interpolation of a curve with non-decreasing `xs` at `x`; `None` outside its range.
pub(crate) fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> Option<f64> {
    let (first, last) = (*xs.first()?, *xs.last()?);
    if !(first..=last).contains(&x) {
        return None;
    }
    let above = xs.partition_point(|&v| v < x);
    if above == 0 || xs[above] == x {
        return Some(ys[above]);
    }
    let weight = (x - xs[above - 1]) / (xs[above] - xs[above - 1]);
    Some(ys[above - 1] + weight * (ys[above] - ys[above - 1]))
}

/// `n` equidistant points over the range that every curve covers; empty where there is none.
pub(crate) fn common_grid(curves: &[&[f64]], n: usize) -> Vec<f64> {
    let starts = curves.iter().filter_map(|c| c.first().copied());
    let ends = curves.iter().filter_map(|c| c.last().copied());
    let low = starts.fold(f64::NEG_INFINITY, f64::max);
    let high = ends.fold(f64::INFINITY, f64::min);
    if n < 2 || !low.is_finite() || !high.is_finite() || low >= high {
        return Vec::new();
    }
    let step = (high - low) / (n - 1) as f64;
    // The last point is the bound itself: low + (n − 1)·step may round past it.
    (0..n).map(|i| if i + 1 == n { high } else { low + i as f64 * step }).collect()
}

/// Where one run first reached a return level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// Steps (or seconds) at the crossing; the run's length where it never came.
    pub(crate) at: f64,
    /// Whether the run ended without reaching the level.
    pub(crate) censored: bool,
}

/// First point at which the mean of the last [`WINDOW`] evaluations is at least `level`, linear
/// between evaluations. A run with fewer evaluations averages those it has, at its last one.
pub(crate) fn first_reach(xs: &[f64], returns: &[f64], level: f64) -> Option<Reach> {
    let (window, end) = (WINDOW.min(returns.len()), *xs.last()?);
    if window == 0 {
        return None;
    }
    let smooth: Vec<f64> = returns.windows(window).filter_map(mean).collect();
    let Some(i) = smooth.iter().position(|&m| m >= level) else {
        return Some(Reach { at: end, censored: true });
    };
    let x = xs[i + window - 1];
    if i == 0 {
        return Some(Reach { at: x, censored: false });
    }
    let before = xs[i + window - 2];
    let weight = (level - smooth[i - 1]) / (smooth[i] - smooth[i - 1]);
    Some(Reach { at: before + weight * (x - before), censored: false })
}

/// Mean over the last [`WINDOW`] evaluations.
pub(crate) fn final_return(returns: &[f64]) -> Option<f64> {
    mean(&returns[returns.len().saturating_sub(WINDOW)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_small_samples_are_the_hand_computed_ones() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(mean(&[]), None);
        // Deviations −2, −1, 3: squares 14, divided by 2.
        assert_eq!(standard_deviation(&[1.0, 2.0, 6.0]), Some(7.0_f64.sqrt()));
        assert_eq!(standard_deviation(&[1.0]), None);
        // Eight values lose two at either end: (3 + 4 + 5 + 60) / 4.
        let eight = [900.0, 3.0, 1.0, 4.0, 60.0, 5.0, 2.0, 800.0];
        assert_eq!(interquartile_mean(&eight), Some(18.0));
        assert_eq!(interquartile_mean(&[7.0]), Some(7.0));
        assert_eq!(interquartile_mean(&[]), None);
        assert_eq!(percentile(&[10.0, 20.0, 40.0], 75.0), Some(30.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn probability_of_improvement_counts_ties_half() {
        // Pairs: 1<2, 1<3, 2=2, 2<3, 4>2, 4>3: (0.5 + 2) / 6.
        let p = probability_of_improvement(&[1.0, 2.0, 4.0], &[2.0, 3.0]).unwrap();
        assert!((p - 2.5 / 6.0).abs() < 1e-15);
        assert_eq!(probability_of_improvement(&[], &[1.0]), None);
    }

    #[test]
    fn bootstrap_repeats_itself_and_needs_two_seeds() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0];
        assert_eq!(Estimate::mean(&values), Estimate::mean(&values));
        assert_eq!(Estimate::mean(&[2.0]).interval, None);
        assert_eq!(Estimate::mean(&[]).value, None);
        let constant = Estimate::mean(&[2.0; 4]).interval.unwrap();
        assert_eq!((constant.low, constant.high), (2.0, 2.0));
    }

    #[test]
    fn bootstrap_of_a_mean_has_the_width_theory_gives() {
        // The bootstrap distribution of a mean of n = 400 is normal with sd σ̂/√n (divisor n).
        let values: Vec<f64> = (0..400).map(|i| f64::from(i) / 400.0).collect();
        let interval = Estimate::mean(&values).interval.unwrap();
        let expected = 2.0 * 1.96 * (1.0 / 12.0_f64).sqrt() / 20.0;
        assert!(((interval.high - interval.low) / expected - 1.0).abs() < 0.06);
    }

    #[test]
    fn bootstrap_of_a_ratio_keeps_the_groups_apart() {
        // Constant denominator: the ratio's interval is the numerator's, divided by two.
        let (a, b) = ([4.0, 6.0, 8.0, 10.0], [2.0; 6]);
        let ratio = Estimate::ratio_of_means(&a, &b);
        assert_eq!(ratio.value, Some(3.5));
        let interval = ratio.interval.unwrap();
        assert!(interval.low >= 2.0 && interval.low < 3.0 && interval.high <= 5.0);
        assert_eq!(Estimate::ratio_of_means(&a, &[0.0, 0.0]).value, None);
        assert_eq!(Estimate::difference_of_means(&a, &b).value, Some(5.0));
    }

    /// Share of 95 % intervals of `n` normal values that hold the true mean, over 1,000 samples.
    fn coverage(n: usize) -> f64 {
        let mut random = Counter { state: 99 };
        let mut uniform = move || (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut held = 0;
        for _ in 0..1_000 {
            // Twelve uniforms minus six have mean 0 and variance 1.
            let sample: Vec<f64> =
                (0..n).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect();
            let interval = Estimate::mean(&sample).interval.unwrap();
            held += usize::from(interval.low <= 0.0 && 0.0 <= interval.high);
        }
        held as f64 / 1_000.0
    }

    #[test]
    fn bootstrap_coverage_is_nominal_for_many_seeds_and_low_for_five() {
        assert!((0.92..0.97).contains(&coverage(30)), "{}", coverage(30));
        assert!((0.79..0.88).contains(&coverage(5)), "{}", coverage(5));
    }

    #[test]
    fn interpolation_stays_inside_the_range_every_seed_covers() {
        let xs = [100.0, 200.0, 400.0];
        let ys = [0.0, 10.0, 30.0];
        assert_eq!(interpolate(&xs, &ys, 300.0), Some(20.0));
        assert_eq!(interpolate(&xs, &ys, 400.0), Some(30.0));
        assert_eq!(interpolate(&xs, &ys, 99.0), None);
        assert_eq!(interpolate(&[], &[], 1.0), None);
        let grid = common_grid(&[&xs, &[150.0, 390.0]], 5);
        assert_eq!(grid, [150.0, 210.0, 270.0, 330.0, 390.0]);
        assert!(common_grid(&[&xs, &[500.0, 600.0]], 5).is_empty());
        assert!(common_grid(&[], 5).is_empty());
    }

    #[test]
    fn reach_uses_the_trailing_window_and_interpolates() {
        let xs = [1.0, 2.0, 3.0, 4.0, 5.0];
        // Windows end at 3, 4, 5 with means 1, 3, 6; level 4 lies a third of the way from 4 to 5.
        let returns = [0.0, 3.0, 0.0, 6.0, 12.0];
        let reach = first_reach(&xs, &returns, 4.0).unwrap();
        assert!((reach.at - (4.0 + 1.0 / 3.0)).abs() < 1e-12 && !reach.censored);
        // A single lucky evaluation does not count.
        assert!(first_reach(&xs, &[0.0, 50.0, 0.0, 0.0, 0.0], 30.0).unwrap().censored);
        // Reached from the start: the first full window.
        assert_eq!(first_reach(&xs, &[9.0; 5], 5.0), Some(Reach { at: 3.0, censored: false }));
        // Never reached: the run's length, marked.
        assert_eq!(first_reach(&xs, &returns, 99.0), Some(Reach { at: 5.0, censored: true }));
        assert_eq!(first_reach(&[7.0], &[3.0], 2.0), Some(Reach { at: 7.0, censored: false }));
        assert_eq!(first_reach(&[], &[], 2.0), None);
    }

    #[test]
    fn final_return_averages_the_last_three_evaluations() {
        assert_eq!(final_return(&[100.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(final_return(&[4.0]), Some(4.0));
        assert_eq!(final_return(&[]), None);
    }
}
