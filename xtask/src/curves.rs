//! Errors over seeds as numbers, words and lines.

use crate::report::lines::{Line, Stroke};
use crate::report::stats::interquartile_mean;
use crate::report::{Entry, Estimate, Interval};

/// Geometric mean over seeds with its 95 % bootstrap interval: errors differ by factors. A zero
/// makes it 0, and it has no interval then.
pub(crate) fn geometric(values: &[f64]) -> Estimate {
    let logarithms: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    let Estimate { value, interval } = Estimate::mean(&logarithms);
    Estimate {
        value: value.map(f64::exp).filter(|v| v.is_finite()),
        interval: interval.map(|i| Interval { low: i.low.exp(), high: i.high.exp() }),
    }
}

/// The geometric mean alone; NaN where there is none.
pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    geometric(values).value.unwrap_or(f64::NAN)
}

/// A number as `1.2·10⁻⁴`.
pub(crate) fn power(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    let text = format!("{value:.1e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let raised: String = exponent
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            digit => {
                let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
                digits[digit.to_digit(10).unwrap_or(0) as usize]
            }
        })
        .collect();
    let mantissa = mantissa.replace('-', "−");
    if raised == "⁰" { mantissa } else { format!("{mantissa}·10{raised}") }
}

/// A geometric mean with its interval for a table.
pub(crate) fn entry(values: &[f64]) -> Entry {
    let Estimate { value, interval } = geometric(values);
    let detail = interval.map(|i| format!("[{}, {}]", power(i.low), power(i.high)));
    Entry::with(power(value.unwrap_or(f64::NAN)), detail.unwrap_or_default())
}

/// The interquartile mean over seeds with its 95 % bootstrap interval.
pub(crate) fn interquartile(values: &[f64]) -> Estimate {
    Estimate::of(&[values], |seeds| interquartile_mean(seeds[0]))
}

/// Geometric means with the band of their intervals; every point has the values of all seeds.
pub(crate) fn lines(name: &str, stroke: Stroke, points: &[(f64, Vec<f64>)]) -> [Line; 2] {
    lines_of(name, stroke, points, geometric)
}

/// The same with any estimate in the place of the geometric mean.
pub(crate) fn lines_of(
    name: &str,
    stroke: Stroke,
    points: &[(f64, Vec<f64>)],
    estimate: fn(&[f64]) -> Estimate,
) -> [Line; 2] {
    let estimates: Vec<_> = points.iter().map(|(x, seeds)| (*x, estimate(seeds))).collect();
    let line = |stroke, points| Line { name: name.to_owned(), stroke, points };
    let middle = estimates.iter().filter_map(|(x, e)| Some((*x, e.value?))).collect();
    let intervals = estimates.iter().filter_map(|(x, e)| Some((*x, e.interval?)));
    let low: Vec<_> = intervals.clone().map(|(x, i)| (x, i.low)).collect();
    let high = intervals.rev().map(|(x, i)| (x, i.high));
    [line(stroke, middle), line(Stroke::Band, low.into_iter().chain(high).collect())]
}

/// Column `i` of rows that every seed has: the values of all seeds at each `i`.
pub(crate) fn columns<T>(seeds: &[Vec<T>], value: impl Fn(&T) -> Option<f64>) -> Vec<Vec<f64>> {
    let length = seeds.iter().map(Vec::len).min().unwrap_or(0);
    (0..length).map(|i| seeds.iter().filter_map(|rows| value(&rows[i])).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_geometric_and_numbers_read_as_powers() {
        assert!((geometric_mean(&[1e-6, 1e-2]) - 1e-4).abs() < 1e-18);
        assert!(geometric_mean(&[1e-6, 0.0]) == 0.0 && geometric_mean(&[]).is_nan());
        assert_eq!(power(1.24e-4), "1.2·10⁻⁴");
        assert_eq!(power(3.0), "3.0");
        assert_eq!(power(0.0), "0");
        assert_eq!(power(f64::NAN), "–");
    }

    #[test]
    fn a_line_has_its_band_around_it() {
        let points = [(0.0, vec![1.0, 2.0, 4.0]), (1.0, vec![0.5, 0.5, 0.5])];
        let [middle, band] = lines("a", Stroke::Dotted, &points);
        assert!((middle.points[0].1 - 2.0).abs() < 1e-12);
        assert_eq!(band.points.len(), 4);
        assert!(band.points[0].1 < 2.0 && band.points[3].1 > 2.0);
        let columns = columns(&[vec![1.0, 2.0], vec![3.0, 4.0, 5.0]], |v| Some(*v));
        assert_eq!(columns, [[1.0, 3.0], [2.0, 4.0]]);
    }
}
