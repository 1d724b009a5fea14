//! Numbers as text, and axes with round tick marks.

/// A mapping of data to pixels with its ticks and label.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Quantity and unit.
    pub(crate) label: String,
    /// Data range.
    pub(crate) range: (f64, f64),
    /// Pixels of the range's two ends.
    pub(crate) pixels: (f64, f64),
    /// Tick positions and their texts.
    pub(crate) ticks: Vec<(f64, String)>,
    logarithmic: bool,
}

impl Axis {
    /// A linear axis over `range` with about `target` ticks.
    pub(crate) fn linear(
        label: &str,
        range: (f64, f64),
        pixels: (f64, f64),
        target: usize,
    ) -> Self {
        let range = widen(range);
        Self::with_step(label, range, pixels, nice_step(range.1 - range.0, target))
    }

    /// A linear axis whose ends are moved outwards to ticks.
    pub(crate) fn rounded(
        label: &str,
        range: (f64, f64),
        pixels: (f64, f64),
        target: usize,
    ) -> Self {
        let (low, high) = widen(range);
        let step = nice_step(high - low, target);
        let ends = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        Self::with_step(label, ends, pixels, step)
    }

    fn with_step(label: &str, range: (f64, f64), pixels: (f64, f64), step: f64) -> Self {
        let ticks = linear_ticks(range, step).into_iter().map(|v| (v, tick_text(v, step)));
        let ticks = ticks.collect();
        Self { label: label.to_owned(), range, pixels, ticks, logarithmic: false }
    }

    /// A logarithmic axis over a positive range, for ratios.
    pub(crate) fn logarithmic(label: &str, range: (f64, f64), pixels: (f64, f64)) -> Self {
        let low = if range.0.is_finite() { range.0.max(1e-6) } else { 1.0 };
        let high = if range.1.is_finite() { range.1.max(low * 1.5) } else { low * 1.5 };
        let range = (low, high);
        let ticks = ratio_ticks(range).into_iter().map(|v| (v, ratio_text(v))).collect();
        Self { label: label.to_owned(), range, pixels, ticks, logarithmic: true }
    }

    /// A logarithmic axis over the whole decades around a positive range, with at most nine ticks.
    pub(crate) fn decades(label: &str, (low, high): (f64, f64), pixels: (f64, f64)) -> Self {
        let exponent = |value: f64| value.clamp(1e-300, 1e300).log10();
        let (first, last) =
            ((exponent(low) + 1e-9).floor() as i32, (exponent(high) - 1e-9).ceil() as i32);
        let last = last.max(first + 1);
        let every = ((last - first) as usize).div_ceil(8);
        let ticks = (first..=last).step_by(every).map(|e| (10_f64.powi(e), power_text(e)));
        let (ticks, range) = (ticks.collect(), (10_f64.powi(first), 10_f64.powi(last)));
        Self { label: label.to_owned(), range, pixels, ticks, logarithmic: true }
    }

    /// A logarithmic axis from the first to the last of some positive numbers in rising order, which
    /// are its ticks.
    pub(crate) fn marks(label: &str, marks: &[f64], pixels: (f64, f64)) -> Self {
        let ends = marks.first().zip(marks.last()).map(|(low, high)| (*low, *high));
        let ticks = marks.iter().map(|v| (*v, number(*v, usize::from(v.fract() != 0.0)))).collect();
        let range = ends.filter(|(low, high)| low < high).unwrap_or((1.0, 10.0));
        Self { label: label.to_owned(), range, pixels, ticks, logarithmic: true }
    }

    /// Pixel of a value; `None` where it has none (not finite, not positive on a log axis).
    pub(crate) fn at(&self, value: f64) -> Option<f64> {
        let ((a, b), (p, q)) = (self.range, self.pixels);
        let share =
            if self.logarithmic { (value / a).ln() / (b / a).ln() } else { (value - a) / (b - a) };
        Some(p + share * (q - p)).filter(|pixel| pixel.is_finite())
    }

    /// Pixel of a value moved into the range.
    pub(crate) fn clamped(&self, value: f64) -> Option<f64> {
        self.at(value.clamp(self.range.0, self.range.1))
    }
}

/// A range that can carry an axis, whatever was given.
fn widen((low, high): (f64, f64)) -> (f64, f64) {
    match (low.is_finite() && high.is_finite(), low < high) {
        (false, _) => (0.0, 1.0),
        (true, true) => (low, high),
        (true, false) => (low - 0.5, low + 0.5),
    }
}

/// Smallest and largest finite value; `None` where there is none.
pub(crate) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((f64::min(low, v), f64::max(high, v))),
    })
}

/// The step 1, 2 or 5 times a power of ten that gives about `target` intervals.
pub(crate) fn nice_step(span: f64, target: usize) -> f64 {
    let raw = (span / target.max(1) as f64).max(1e-12);
    let power = 10_f64.powf(raw.log10().floor());
    let mantissa = raw / power;
    let nice = [1.0, 2.0, 5.0].into_iter().find(|n| mantissa <= n * 1.000_001).unwrap_or(10.0);
    nice * power
}

fn linear_ticks((low, high): (f64, f64), step: f64) -> Vec<f64> {
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    // Adding 0.0 turns −0 into 0.
    (0..=(last - first).clamp(0.0, 200.0) as usize)
        .map(|i| (first + i as f64) * step + 0.0)
        .collect()
}

fn tick_text(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    number(value, decimals)
}

fn ratio_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let fine: &[f64] = &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0];
    let coarse: &[f64] = &[1.0, 2.0, 5.0];
    let set = if high / low > 12.0 { coarse } else { fine };
    let set = if high / low > 1e3 { &coarse[..1] } else { set };
    (-7..9)
        .flat_map(|e| set.iter().map(move |m| m * 10_f64.powi(e)))
        .filter(|v| (low * 0.999..=high * 1.001).contains(v))
        .collect()
}

fn ratio_text(value: f64) -> String {
    let decimals = if value >= 1.0 { usize::from(value.fract() > 0.01) } else { 2 };
    let text = number(value, decimals);
    let trimmed =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{trimmed}×")
}

/// A power of ten: written out near 1, as 10 with a raised exponent elsewhere.
fn power_text(exponent: i32) -> String {
    match exponent {
        0..=4 => number(10_f64.powi(exponent), 0),
        -2..=-1 => number(10_f64.powi(exponent), exponent.unsigned_abs() as usize),
        _ => {
            let raised = |c| match c {
                '-' => '⁻',
                '1' => '¹',
                '2' => '²',
                '3' => '³',
                // The digits that are left follow each other.
                c => char::from_u32('⁰' as u32 + c as u32 - '0' as u32).unwrap_or(c),
            };
            let text: String = exponent.to_string().chars().map(raised).collect();
            format!("10{text}")
        }
    }
}

/// A number with fixed decimals, thousands separators and a real minus sign; "–" if not finite.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('−');
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Decimals that show a quantity of this size with about three digits.
pub(crate) fn decimals_for(size: f64) -> usize {
    match size.abs() {
        s if s >= 100.0 || !s.is_finite() => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        _ => 3,
    }
}

/// A number with about three digits.
pub(crate) fn short(value: f64) -> String {
    number(value, decimals_for(value))
}

/// A duration in words: seconds, minutes or hours.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "–".to_owned(),
        s if s < 120.0 => format!("{} s", short(s)),
        s if s < 7_200.0 => format!("{} min", number(s / 60.0, 1)),
        s => format!("{} h", number(s / 3_600.0, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_of_one_two_or_five() {
        let axis = Axis::linear("", (-3.0, 104.0), (0.0, 1.0), 6);
        let values: Vec<f64> = axis.ticks.iter().map(|t| t.0).collect();
        assert_eq!(values, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let axis = Axis::linear("", (0.0, 0.7), (0.0, 1.0), 7);
        let texts: Vec<&str> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(texts, ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]);
        assert!((nice_step(37.0, 5) - 10.0).abs() < 1e-12);
        assert!((nice_step(0.013, 5) - 0.005).abs() < 1e-12);
    }

    #[test]
    fn rounded_axes_end_on_ticks_and_map_linearly() {
        let axis = Axis::rounded("", (-48.0, 97.0), (300.0, 0.0), 6);
        assert_eq!(axis.range, (-50.0, 100.0));
        assert_eq!(axis.at(25.0), Some(150.0));
        assert_eq!(axis.clamped(500.0), Some(0.0));
        assert_eq!(axis.at(f64::NAN), None);
        // Moving the ends outwards does not change the step.
        let axis = Axis::rounded("", (-4.7, 3.1), (0.0, 1.0), 4);
        assert_eq!(axis.range, (-6.0, 4.0));
        assert_eq!(axis.ticks.first().unwrap().0, -6.0);
        assert_eq!(axis.ticks.last().unwrap().0, 4.0);
    }

    #[test]
    fn ratio_axes_are_logarithmic_with_short_labels() {
        let axis = Axis::logarithmic("", (0.5, 4.0), (0.0, 300.0));
        assert!((axis.at(1.0).unwrap() - 100.0).abs() < 1e-9);
        assert_eq!(axis.at(-1.0), None);
        let texts: Vec<&str> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(texts, ["0.5×", "0.7×", "1×", "1.5×", "2×", "3×", "4×"]);
    }

    #[test]
    fn decades_surround_the_range_and_have_few_ticks() {
        let axis = Axis::decades("", (0.05, 2_300.0), (0.0, 6.0));
        let texts: Vec<&str> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(texts, ["0.01", "0.1", "1", "10", "100", "1,000", "10,000"]);
        assert!((axis.at(10.0).unwrap() - 3.0).abs() < 1e-9);
        let axis = Axis::decades("", (1e-15, 1e2), (0.0, 1.0));
        let texts: Vec<&str> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(texts, ["10⁻¹⁵", "10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1"]);
        let axis = Axis::marks("", &[10.0, 20.0, 2_000.0], (0.0, 1.0));
        assert_eq!((axis.range, axis.ticks[2].1.as_str()), ((10.0, 2_000.0), "2,000"));
    }

    #[test]
    fn degenerate_ranges_still_make_axes() {
        for range in [(f64::NAN, 1.0), (2.0, 2.0), (5.0, -5.0), (f64::INFINITY, 0.0)] {
            let axis = Axis::rounded("", range, (0.0, 10.0), 5);
            assert!(axis.ticks.len() > 1 && axis.range.0 < axis.range.1, "{range:?}");
            assert!(!Axis::logarithmic("", range, (0.0, 10.0)).range.0.is_nan());
            let decades = Axis::decades("", range, (0.0, 10.0));
            assert!(decades.ticks.len() > 1 && decades.ticks.len() < 10, "{range:?}");
        }
    }

    #[test]
    fn numbers_have_separators_and_a_minus_sign() {
        assert_eq!(number(-1_234_567.891, 1), "−1,234,567.9");
        assert_eq!(number(-0.01, 1), "0.0");
        assert_eq!(number(999.96, 1), "1,000.0");
        assert_eq!(number(f64::NAN, 1), "–");
        assert_eq!(short(12.345), "12.3");
        assert_eq!(duration(3_600.0), "60.0 min");
        assert_eq!(duration(12.0), "12.0 s");
        assert_eq!(extent([f64::NAN, 2.0, -1.0]), Some((-1.0, 2.0)));
    }
}
