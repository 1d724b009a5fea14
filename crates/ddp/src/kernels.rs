//! Products of small column-major matrices, written so that the compiler vectorises them.
//!
//! Rows are padded to a multiple of [`LANES`], sums run over the inner dimension in order and
//! multiplications are not fused with additions: the result has the same bits on every instruction
//! set.

/// Rows of a padded matrix come in multiples of this.
const LANES: usize = 4;

/// Rows with their padding.
pub(crate) fn padded(rows: usize) -> usize {
    rows.next_multiple_of(LANES)
}

/// A right factor B: entry (k, j) at `entries[k·row + j·column]`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) entries: &'a [f64],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// C ← A B with padded columns of length `rows` in A and C; A has `depth` columns, C as many as fit.
/// With `LOWER`, entries above the diagonal may be left alone.
#[inline(always)]
pub(crate) fn product<const LOWER: bool>(
    c: &mut [f64],
    a: &[f64],
    b: Right<'_>,
    rows: usize,
    depth: usize,
) {
    tiles::<LOWER, false>(c, a, b, rows, depth);
}

/// C ← C − A B on and below the diagonal; see [`product`].
#[inline(always)]
pub(crate) fn subtract_product(c: &mut [f64], a: &[f64], b: Right<'_>, rows: usize, depth: usize) {
    tiles::<true, true>(c, a, b, rows, depth);
}

#[inline(always)]
fn tiles<const LOWER: bool, const SUBTRACT: bool>(
    c: &mut [f64],
    a: &[f64],
    b: Right<'_>,
    rows: usize,
    depth: usize,
) {
    let columns = c.len() / rows;
    let mut column = 0;
    while column < columns {
        let wide = column + 4 <= columns;
        let mut row = 0;
        while row < rows {
            let tall = row + 8 <= rows;
            let height = if tall { 8 } else { 4 };
            if !LOWER || row + height > column {
                let at = (row, column);
                match (tall, wide) {
                    (true, true) => tile::<8, 4, SUBTRACT>(c, a, b, rows, depth, at),
                    (false, true) => tile::<4, 4, SUBTRACT>(c, a, b, rows, depth, at),
                    (true, false) => tile::<8, 1, SUBTRACT>(c, a, b, rows, depth, at),
                    (false, false) => tile::<4, 1, SUBTRACT>(c, a, b, rows, depth, at),
                }
            }
            row += height;
        }
        column += if wide { 4 } else { 1 };
    }
}

#[inline(always)]
fn tile<const HEIGHT: usize, const WIDTH: usize, const SUBTRACT: bool>(
    c: &mut [f64],
    a: &[f64],
    b: Right<'_>,
    rows: usize,
    depth: usize,
    (row, column): (usize, usize),
) {
    let mut sums = [[0.0; HEIGHT]; WIDTH];
    for k in 0..depth {
        let left = &a[k * rows + row..][..HEIGHT];
        for (j, sums) in sums.iter_mut().enumerate() {
            let factor = b.entries[k * b.row + (column + j) * b.column];
            for (sum, left) in sums.iter_mut().zip(left) {
                *sum += left * factor;
            }
        }
    }
    for (j, sums) in sums.iter().enumerate() {
        let out = &mut c[(column + j) * rows + row..][..HEIGHT];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = if SUBTRACT { *out - sum } else { *sum };
        }
    }
}

/// y ← y + a x.
#[inline(always)]
pub(crate) fn axpy(y: &mut [f64], a: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Σ xᵢ yᵢ.
#[inline(always)]
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Replaces the lower triangle of an n × n matrix by its Cholesky factor L; false if some pivot is not
/// positive.
#[inline(always)]
pub(crate) fn cholesky(l: &mut [f64], n: usize) -> bool {
    for j in 0..n {
        for k in 0..j {
            let factor = l[k * n + j];
            for i in j..n {
                l[j * n + i] -= l[k * n + i] * factor;
            }
        }
        let pivot = l[j * n + j];
        // Also refuses a pivot that is not a number.
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        let root = pivot.sqrt();
        let inverse = 1.0 / root;
        l[j * n + j] = root;
        for i in j + 1..n {
            l[j * n + i] *= inverse;
        }
    }
    true
}

/// x ← L⁻ᵀ L⁻¹ x.
#[inline(always)]
pub(crate) fn cholesky_solve(l: &[f64], n: usize, x: &mut [f64]) {
    for j in 0..n {
        x[j] /= l[j * n + j];
        for i in j + 1..n {
            x[i] -= l[j * n + i] * x[j];
        }
    }
    for j in (0..n).rev() {
        for i in j + 1..n {
            x[j] -= l[j * n + i] * x[i];
        }
        x[j] /= l[j * n + j];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: f64) -> Vec<f64> {
        (0..n).map(|i| (seed + 1.7 * i as f64).sin()).collect()
    }

    #[test]
    fn products_of_all_small_sizes_match_sums() {
        for rows in 1..20 {
            for columns in 1..8 {
                for depth in 1..6 {
                    let ld = padded(rows);
                    let (a, b) = (numbers(ld * depth, 0.3), numbers(depth * columns, 0.9));
                    let mut c = numbers(ld * columns, 0.1);
                    let before = c.clone();
                    let right = Right { entries: &b, row: 1, column: depth };
                    product::<false>(&mut c, &a, right, ld, depth);
                    let sum = |i: usize, j: usize| -> f64 {
                        (0..depth).map(|k| a[k * ld + i] * b[j * depth + k]).sum()
                    };
                    let mut lower = before.clone();
                    subtract_product(&mut lower, &a, right, ld, depth);
                    for j in 0..columns {
                        for i in 0..rows {
                            assert!((c[j * ld + i] - sum(i, j)).abs() < 1e-14);
                            let expected = before[j * ld + i] - sum(i, j);
                            assert!(i < j || (lower[j * ld + i] - expected).abs() < 1e-14);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn cholesky_solves_and_refuses_indefinite_matrices() {
        let n = 5;
        let g = numbers(n * n, 0.2);
        let mut h: Vec<f64> = (0..n * n)
            .map(|at| (0..n).map(|k| g[k * n + at % n] * g[k * n + at / n]).sum())
            .collect();
        (0..n).for_each(|i| h[i * n + i] += 0.1);
        let (mut l, b) = (h.clone(), numbers(n, 2.0));
        assert!(cholesky(&mut l, n));
        let mut x = b.clone();
        cholesky_solve(&l, n, &mut x);
        for i in 0..n {
            let product: f64 = (0..n).map(|k| h[k * n + i] * x[k]).sum();
            assert!((product - b[i]).abs() < 1e-10);
        }
        let mut indefinite = vec![1.0, 2.0, 2.0, 1.0];
        assert!(!cholesky(&mut indefinite, 2));
        assert!(!cholesky(&mut [f64::NAN], 1));
    }
}
