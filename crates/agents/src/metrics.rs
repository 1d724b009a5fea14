//! Diagnostics on their way from a method to the log.

use serde::{Deserialize, Serialize};

/// Sums since the metrics were last taken, and how many numbers each has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Means {
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Means {
    /// Takes one number of every metric, or none; what is not finite counts as none, since checkpoints
    /// could not keep it.
    pub(crate) fn add(&mut self, values: &[Option<f64>]) {
        self.sums.resize(values.len(), 0.0);
        self.counts.resize(values.len(), 0);
        for (i, value) in values.iter().enumerate() {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                self.sums[i] += value;
                self.counts[i] += 1;
            }
        }
    }

    /// Means of `n` metrics, and starts anew; what was not measured is not a number.
    pub(crate) fn take(&mut self, n: usize) -> Vec<f64> {
        let Self { mut sums, mut counts } = std::mem::take(self);
        sums.resize(n, 0.0);
        counts.resize(n, 0);
        sums.iter().zip(counts).map(|(sum, count)| sum / count as f64).collect()
    }
}
