//! The two innermost kernels: a tile of sums along the rows of C, and scalar products along k.
//!
//! Both give every element of C one chain of sums in the order of k, so its bits do not depend on
//! the tile it falls into.

use super::lanes::Lanes;

/// C (rows × columns) = [C +] A B for a tile that fits the registers.
pub(super) struct Tile<T> {
    /// Inner dimension.
    pub(super) k: usize,
    /// A, with whole vectors of rows contiguous, and the distance from one k to the next.
    pub(super) a: *const T,
    pub(super) a_step: usize,
    /// B, and the distances to the next k and to the next column.
    pub(super) b: *const T,
    pub(super) b_step: usize,
    pub(super) b_column: usize,
    /// C, rows contiguous, and the distance to the next column.
    pub(super) c: *mut T,
    pub(super) c_column: usize,
    /// Rows of C, in as many vectors as the tile has.
    pub(super) rows: usize,
    /// Whether C is added to.
    pub(super) keep: bool,
}

/// One tile of V vectors by C columns. Where A is SHORT, its last vector is read up to `rows` only.
///
/// # Safety
///
/// As [`Lanes`]; A must be good for k·V vectors (k·rows numbers if it is SHORT), B for k × C
/// numbers, C for rows × C numbers with (V − 1)·N < rows ≤ V·N.
#[inline(always)]
pub(super) unsafe fn tile<L: Lanes, const V: usize, const C: usize, const SHORT: bool>(
    t: &Tile<L::Real>,
) {
    // SAFETY: the reads and writes are those that the caller vouches for; the pointers may be moved
    // one step beyond their matrices, but are not read there.
    unsafe {
        let last = t.rows - (V - 1) * L::N;
        let mut sums = [[L::zero(); V]; C];
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.k {
            let mut column = [L::zero(); V];
            for v in 0..V {
                let from = a.add(v * L::N);
                let short = SHORT && v == V - 1;
                column[v] = if short { L::load_first(from, last) } else { L::load(from) };
            }
            for c in 0..C {
                let factor = L::splat(*b.add(c * t.b_column));
                for v in 0..V {
                    sums[c][v] = column[v].mul_add(factor, sums[c][v]);
                }
            }
            a = a.wrapping_add(t.a_step);
            b = b.wrapping_add(t.b_step);
        }
        for c in 0..C {
            for v in 0..V {
                let (to, sum) = (t.c.add(c * t.c_column + v * L::N), sums[c][v]);
                if v < V - 1 || last == L::N {
                    if t.keep { sum.add(L::load(to)) } else { sum }.store(to);
                } else {
                    let kept = if t.keep { sum.add(L::load_first(to, last)) } else { sum };
                    kept.store_first(to, last);
                }
            }
        }
    }
}

/// C (R × C) = A B with both factors contiguous along k.
pub(super) struct Dots<T> {
    /// Inner dimension.
    pub(super) k: usize,
    /// A, and the distance to the next row.
    pub(super) a: *const T,
    pub(super) a_row: usize,
    /// B, and the distance to the next column.
    pub(super) b: *const T,
    pub(super) b_column: usize,
    /// C, rows contiguous, and the distance to the next column.
    pub(super) c: *mut T,
    pub(super) c_column: usize,
}

/// R × C scalar products side by side.
///
/// # Safety
///
/// As [`Lanes`]; A must be good for R × k numbers, B for k × C, C for R × C.
#[inline(always)]
pub(super) unsafe fn dots<L: Lanes, const R: usize, const C: usize>(d: &Dots<L::Real>) {
    // SAFETY: the reads and writes are those that the caller vouches for.
    unsafe {
        let mut sums = [[L::zero(); R]; C];
        let whole = d.k / L::N * L::N;
        let mut p = 0;
        while p < whole {
            let mut rows = [L::zero(); R];
            for r in 0..R {
                rows[r] = L::load(d.a.add(r * d.a_row + p));
            }
            for c in 0..C {
                let column = L::load(d.b.add(c * d.b_column + p));
                for r in 0..R {
                    sums[c][r] = rows[r].mul_add(column, sums[c][r]);
                }
            }
            p += L::N;
        }
        let rest = d.k - whole;
        if rest > 0 {
            for c in 0..C {
                let column = L::load_first(d.b.add(c * d.b_column + whole), rest);
                for r in 0..R {
                    let row = L::load_first(d.a.add(r * d.a_row + whole), rest);
                    sums[c][r] = row.mul_add(column, sums[c][r]);
                }
            }
        }
        for c in 0..C {
            for r in 0..R {
                *d.c.add(c * d.c_column + r) = sums[c][r].sum();
            }
        }
    }
}
