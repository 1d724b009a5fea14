//! Running means and deviations, entry by entry.

/// Mean, deviation and range of numbers as they come (Welford).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) n: u64,
    mean: Vec<f64>,
    squares: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

/// Added to deviations, so that an entry that hardly moves is not blown up.
const SMALLEST: f64 = 1e-3;

impl Statistics {
    pub(crate) fn new(width: usize) -> Self {
        Self {
            n: 0,
            mean: vec![0.0; width],
            squares: vec![0.0; width],
            low: vec![f64::INFINITY; width],
            high: vec![f64::NEG_INFINITY; width],
        }
    }

    pub(crate) fn push(&mut self, row: impl Iterator<Item = f64>) {
        self.n += 1;
        for (i, value) in row.enumerate() {
            let before = value - self.mean[i];
            self.mean[i] += before / self.n as f64;
            self.squares[i] += before * (value - self.mean[i]);
            self.low[i] = self.low[i].min(value);
            self.high[i] = self.high[i].max(value);
        }
    }

    pub(crate) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of entry `i`.
    pub(crate) fn deviation(&self, i: usize) -> f64 {
        (self.squares[i] / self.n.max(1) as f64).sqrt()
    }

    /// The deviation of entry `i` and a little more; 1 where it has been the same always, and nothing is
    /// known.
    pub(crate) fn scale(&self, i: usize) -> f64 {
        if self.is_constant(i) { 1.0 } else { self.deviation(i) + SMALLEST }
    }

    /// Whether entry `i` has been the same always, to rounding.
    pub(crate) fn is_constant(&self, i: usize) -> bool {
        let (low, high) = (self.low[i], self.high[i]);
        self.n > 0 && high - low <= 1e-9 * low.abs().max(high.abs())
    }

    /// Everything but `n`, for a checkpoint.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        [&self.mean, &self.squares, &self.low, &self.high].into_iter().flatten().copied().collect()
    }

    /// Takes up what [`Statistics::numbers`] returned.
    pub(crate) fn restore(&mut self, n: u64, numbers: &[f64]) {
        let width = self.mean.len();
        self.n = n;
        let parts = [&mut self.mean, &mut self.squares, &mut self.low, &mut self.high];
        for (part, numbers) in parts.into_iter().zip(numbers.chunks_exact(width)) {
            part.copy_from_slice(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_they_come_have_the_mean_and_deviation_of_all() {
        let rows = [[1.0, 7.0], [3.0, 7.0], [5.0, 7.0], [7.0, 7.0]];
        let mut statistics = Statistics::new(2);
        rows.iter().for_each(|row| statistics.push(row.iter().copied()));
        assert_eq!(statistics.mean(), [4.0, 7.0]);
        assert!((statistics.deviation(0) - 5.0_f64.sqrt()).abs() < 1e-15);
        assert_eq!([0, 1].map(|i| statistics.scale(i)), [5.0_f64.sqrt() + SMALLEST, 1.0]);
        assert_eq!([0, 1].map(|i| statistics.is_constant(i)), [false, true]);
        let mut again = Statistics::new(2);
        again.restore(statistics.n, &statistics.numbers());
        assert_eq!(again, statistics);
    }
}
