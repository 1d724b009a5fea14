//! The robust loss on input gradients of the value-gradient soft actor-critic.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Real;

/// Running median of the errors of every column, the scale of [`gradient_loss`].
///
/// The first median is taken over as it is; then M ← decay·M + (1 − decay)·median. Both critics of a
/// pair share one, which therefore advances twice per update; state and action gradients have one
/// each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningMedian {
    /// M of every column; none before the first use.
    pub values: Option<Vec<f64>>,
    /// Share of the old value that is kept, 0.95.
    pub decay: f64,
}

impl Default for RunningMedian {
    fn default() -> Self {
        Self { values: None, decay: 0.95 }
    }
}

impl RunningMedian {
    /// Takes up the median of `errors`, those of one column, and returns the updated M.
    ///
    /// `first` says that this column has no median yet.
    fn advance(&mut self, column: usize, first: bool, errors: &mut [f64]) -> f64 {
        // The lower of the two middle values for an even count.
        let middle = (errors.len() - 1) / 2;
        let (_, median, _) = errors.select_nth_unstable_by(middle, f64::total_cmp);
        let values = self.values.get_or_insert_default();
        if first {
            values.push(*median);
        } else {
            values[column] = self.decay * values[column] + (1.0 - self.decay) * *median;
        }
        values[column]
    }
}

/// The loss of input gradients `q_grad` against `target`, and its derivative.
///
/// Both are batch × `stride`; only the given columns count, so that one array of gradients in
/// [state, action] serves a state and an action loss. Per row b and column j
///
/// d = |mask_b (q_grad_bj − target_bj)|, then M_j advances with the column's median of d, and
/// ℓ = d² where d < 2M_j, 4M_j d elsewhere.
///
/// Returned is the mean of ℓ over batch and columns; `v` (batch × `stride`) receives ∂loss/∂q_grad
/// in the given columns, with M held constant, and keeps its other columns. A masked row counts with
/// d = 0. `scratch` is room for one column. A number that is not finite makes the loss so.
///
/// Source: value-gradient soft actor-critic, released implementation (the paper calls it a hinge at
/// the moving average of the median).
///
/// # Panics
///
/// When a length does not fit, the batch or the columns are empty, or the number of columns is not
/// that of the earlier uses of `median`.
pub fn gradient_loss<T: Real>(
    q_grad: &[T],
    target: &[T],
    mask: &[T],
    batch: usize,
    stride: usize,
    columns: Range<usize>,
    median: &mut RunningMedian,
    scratch: &mut Vec<f64>,
    v: &mut [T],
) -> f64 {
    assert!(batch > 0 && !columns.is_empty() && columns.end <= stride, "{batch} x {columns:?}");
    assert_eq!(mask.len(), batch, "one mask per row");
    for length in [q_grad.len(), target.len(), v.len()] {
        assert_eq!(length, batch * stride, "{batch} rows of {stride}");
    }
    let n_columns = columns.len();
    #[expect(clippy::cast_precision_loss, reason = "batches are far smaller than 2⁵²")]
    let count = (batch * n_columns) as f64;
    let error = |row: usize, column: usize| {
        let at = row * stride + column;
        mask[row].to_f64() * (q_grad[at].to_f64() - target[at].to_f64())
    };
    let first = median.values.is_none();
    if let Some(values) = &median.values {
        assert_eq!(values.len(), n_columns, "one running median per column");
    }
    let mut sum = 0.0;
    for (index, column) in columns.enumerate() {
        scratch.clear();
        scratch.extend((0..batch).map(|row| error(row, column).abs()));
        let m = median.advance(index, first, scratch);
        for row in 0..batch {
            let signed = error(row, column);
            let d = signed.abs();
            let slope = if d < 2.0 * m {
                sum += d * d;
                2.0 * signed
            } else {
                sum += 4.0 * m * d;
                // The sign of 0 is 0 here.
                if d == 0.0 { 0.0 } else { 4.0 * m * signed.signum() }
            };
            v[row * stride + column] = T::from_f64(mask[row].to_f64() * slope / count);
        }
    }
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_slopes_on_both_sides_of_the_threshold() {
        // Errors 1, 2, 3, 10 in column 1: median 2, threshold 4.
        let q = [9.0, 1.0, 9.0, -2.0, 9.0, 3.0, 9.0, -10.0];
        let mut v = [7.0; 8];
        let mut median = RunningMedian::default();
        let mut scratch = Vec::new();
        let target = [0.0; 8];
        let loss =
            gradient_loss(&q, &target, &[1.0; 4], 4, 2, 1..2, &mut median, &mut scratch, &mut v);
        assert_eq!(median.values, Some(vec![2.0]));
        assert_eq!(loss, (1.0 + 4.0 + 9.0 + 80.0) / 4.0);
        assert_eq!(v, [7.0, 0.5, 7.0, -1.0, 7.0, 1.5, 7.0, -2.0]);
    }

    #[test]
    fn the_running_median_advances_with_every_use_and_starts_at_the_first_median() {
        let mut median = RunningMedian::default();
        let (mut scratch, mut v) = (Vec::new(), [0.0; 3]);
        let mut advance = |q: [f64; 3]| {
            gradient_loss(&q, &[0.0; 3], &[1.0; 3], 3, 1, 0..1, &mut median, &mut scratch, &mut v);
            median.values.as_ref().unwrap()[0]
        };
        assert_eq!(advance([1.0, -4.0, 2.0]), 2.0);
        assert_eq!(advance([3.0, -4.0, 5.0]), 0.95 * 2.0 + (1.0 - 0.95) * 4.0);
    }

    #[test]
    fn masked_rows_count_as_zero_error_and_pass_no_gradient() {
        let (mut scratch, mut v) = (Vec::new(), [1.0; 3]);
        let mut median = RunningMedian::default();
        let loss = gradient_loss(
            &[1.0, 50.0, 2.0],
            &[0.0; 3],
            &[1.0, 0.0, 1.0],
            3,
            1,
            0..1,
            &mut median,
            &mut scratch,
            &mut v,
        );
        // d = 1, 0, 2: median 1; 2 lies on the threshold and is linear there.
        assert_eq!(median.values, Some(vec![1.0]));
        assert_eq!(loss, (1.0 + 0.0 + 8.0) / 3.0);
        assert_eq!(v, [2.0 / 3.0, 0.0, 4.0 / 3.0]);
    }

    #[test]
    fn perfect_gradients_cost_nothing_and_a_nan_reaches_the_loss() {
        let (mut scratch, mut v) = (Vec::new(), [1.0_f32; 2]);
        let mut median = RunningMedian::default();
        let mut loss = |q: [f32; 2]| {
            gradient_loss(&q, &[3.0, 4.0], &[1.0], 1, 2, 0..2, &mut median, &mut scratch, &mut v)
        };
        assert_eq!(loss([3.0, 4.0]), 0.0);
        assert!(loss([3.0, f32::NAN]).is_nan());
        assert_eq!(v[0], 0.0);
    }
}
