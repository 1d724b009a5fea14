//! Samples of one row, taken in blocks, and what is told of them.

use serde::Serialize;

/// The middle value; the mean of the two middle ones where their number is even, and not a number
/// where there are none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match (n, n % 2) {
        (0, _) => f64::NAN,
        (_, 1) => sorted[n / 2],
        _ => 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]),
    }
}

/// Smallest and largest value; ∞ and −∞ where there are none.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
}

/// Samples in blocks: between two blocks somebody else was measured.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Series {
    blocks: Vec<Vec<f64>>,
}

impl Series {
    /// Begins the next block.
    pub(super) fn begin_block(&mut self) {
        self.blocks.push(Vec::new());
    }

    /// Adds a sample to the block under way.
    pub(super) fn push(&mut self, value: f64) {
        if let Some(block) = self.blocks.last_mut() {
            block.push(value);
        }
    }

    /// The median of the blocks' medians, which weighs every block alike.
    pub(super) fn median(&self) -> f64 {
        let medians: Vec<f64> = self.blocks.iter().map(|block| median(block)).collect();
        median(&medians)
    }

    /// Smallest and largest sample.
    pub(super) fn range(&self) -> (f64, f64) {
        range(self.all())
    }

    /// Distance of the quartiles as a share of the median.
    pub(super) fn spread(&self) -> f64 {
        let mut sorted: Vec<f64> = self.all().collect();
        sorted.sort_by(f64::total_cmp);
        // Each half without the middle value has one quartile as its median.
        let half = sorted.len() / 2;
        let (lower, upper) = (&sorted[..half], &sorted[sorted.len() - half..]);
        match half {
            0 => 0.0,
            _ => (median(upper) - median(lower)) / self.median(),
        }
    }

    /// Number of samples.
    pub(super) fn n(&self) -> usize {
        self.all().count()
    }

    fn all(&self) -> impl Iterator<Item = f64> {
        self.blocks.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(blocks: &[&[f64]]) -> Series {
        let mut series = Series::default();
        for block in blocks {
            series.begin_block();
            block.iter().for_each(|value| series.push(*value));
        }
        series
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn blocks_count_alike_whatever_their_length() {
        // One slow block of many samples does not outvote two short ones.
        let found = series(&[&[1.0, 1.2, 1.1], &[9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0], &[1.3]]);
        assert_eq!(found.median(), 1.3);
        assert_eq!(found.range(), (1.0, 9.0));
        assert_eq!(found.n(), 11);
    }

    #[test]
    fn spread_is_the_distance_of_the_quartiles() {
        let found = series(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]);
        assert_eq!(found.spread(), (6.0 - 2.0) / 4.0);
        assert_eq!(series(&[&[5.0]]).spread(), 0.0);
    }
}
