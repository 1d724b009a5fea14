//! How a product of any size is cut into the kernels' pieces.
//!
//! A panel of A (a tile's rows × at most `INNER` of k) is packed into the first-level cache and meets
//! all columns of B before the next one. B is read where it stands if its columns are contiguous
//! along k, else it is packed once for all panels of A. The cuts follow from the shape alone.

use super::lanes::Lanes;
use super::pack::{copied, transposed, with_memory};
use super::tile::{Dots, Tile};
use crate::Real;

/// Largest part of k that is summed in registers: a panel of A then takes 32 KiB at most.
const INNER: usize = 256;
/// Bytes of B that meet a panel of A: half of a usual second-level cache.
const B_BYTES: usize = 512 * 1024;
/// Up to this many columns scalar products along k win over packing.
const DOT_COLUMNS: usize = 12;

/// C (m × n, its m rows contiguous) = [C +] A B, each matrix dense.
#[derive(Clone, Copy)]
pub struct Job<T> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    /// A (m × k), and whether it is contiguous along k, else along m.
    pub(super) a: *const T,
    pub(super) a_inner: bool,
    /// B (k × n), and whether it is contiguous along k, else along n.
    pub(super) b: *const T,
    pub(super) b_inner: bool,
    pub(super) c: *mut T,
    /// Whether C is added to.
    pub(super) keep: bool,
}

/// Carries a product out.
///
/// # Safety
///
/// As [`Lanes`]; the matrices must be good for m·k, k·n and m·n numbers, and C may overlap neither
/// factor.
pub(super) unsafe fn multiply<L: Lanes>(job: &Job<L::Real>) {
    let Job { m, n, k, .. } = *job;
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: every part below stays within the three matrices and the memory that it asks for.
    unsafe {
        if k == 0 {
            if !job.keep {
                for i in 0..m * n {
                    *job.c.add(i) = L::Real::ZERO;
                }
            }
            return;
        }
        // Narrow results would leave most lanes of a tile empty.
        let narrow = m <= L::N / 2;
        if !job.keep && job.b_inner && job.a_inner && (narrow || n <= DOT_COLUMNS) {
            scalar_products::<L>(job, job.a);
        } else if !job.keep && job.b_inner && narrow {
            with_memory([m * k, 0, 0], |[a, _, _]| {
                L::run_transposed(job.a, m, k, m, a, k);
                scalar_products::<L>(job, a);
            });
        } else if job.keep && !job.a_inner && !job.b_inner && swapping_wins::<L>(m, n) {
            let [a, b] = tile_memory::<L>(n, m, k, false);
            with_memory([a, b, m * n], |[a, b, swapped]| {
                let (m, n) = (n, m);
                let turned = Job { m, n, k, a: job.b, b: job.a, c: swapped, keep: false, ..*job };
                tiles::<L>(&turned, a, b);
                for i in 0..m {
                    for j in 0..n {
                        *job.c.add(i * n + j) += *swapped.add(j * m + i);
                    }
                }
            });
        } else {
            let [a, b] = tile_memory::<L>(m, n, k, job.b_inner);
            with_memory([a, b, 0], |[a, b, _]| tiles::<L>(job, a, b));
        }
    }
}

/// Whether Cᵀ = Bᵀ Aᵀ fills the lanes better: for few rows of C.
fn swapping_wins<L: Lanes>(m: usize, n: usize) -> bool {
    let work = |rows: usize, columns: usize| rows.next_multiple_of(L::N) * columns;
    m <= 2 * L::N && 5 * work(n, m) < 4 * work(m, n)
}

/// Columns of B that meet a panel of A.
fn block_columns<L: Lanes>() -> usize {
    B_BYTES / size_of::<L::Real>() / INNER
}

/// Whether [`tiles`] packs B: where its columns are not contiguous and are used more than once.
fn packs_b<L: Lanes>(m: usize, b_inner: bool) -> bool {
    !b_inner && m > L::TILE_VECTORS * L::N
}

/// Numbers that [`tiles`] needs for its panels of A and of B.
fn tile_memory<L: Lanes>(m: usize, n: usize, k: usize, b_inner: bool) -> [usize; 2] {
    let inner = k.min(INNER);
    let b = if packs_b::<L>(m, b_inner) { inner * n.min(block_columns::<L>()) } else { 0 };
    [inner * L::TILE_VECTORS * L::N, b]
}

/// The product in tiles.
///
/// # Safety
///
/// As [`multiply`], k > 0, and the panels must be as large as [`tile_memory`] says.
unsafe fn tiles<L: Lanes>(job: &Job<L::Real>, a_panel: *mut L::Real, b_panel: *mut L::Real) {
    let Job { m, n, k, .. } = *job;
    // With few columns of B, packing A would cost as much as the product.
    let a_direct = !job.a_inner && n <= L::TILE_COLUMNS;
    let tallest = match n {
        1 if a_direct => 8,
        2 if a_direct => 4,
        _ => L::TILE_VECTORS,
    };
    let b_packed = packs_b::<L>(m, job.b_inner);
    let n_parts = k.div_ceil(INNER);
    for j0 in (0..n).step_by(block_columns::<L>()) {
        let columns = (n - j0).min(block_columns::<L>());
        let mut p0 = 0;
        for part in 0..n_parts {
            // Parts of nearly equal size; each adds to what the ones before it have left in C.
            let inner = (k - p0).div_ceil(n_parts - part);
            let widths = (0..columns).step_by(L::TILE_COLUMNS);
            let widths = widths.map(|j| (j, (columns - j).min(L::TILE_COLUMNS)));
            if b_packed {
                for (j, width) in widths.clone() {
                    // SAFETY: rows p0 … of B, and the part of the panel that belongs to column j.
                    unsafe {
                        let from = job.b.add(p0 * n + j0 + j);
                        copied(from, n, width, inner, b_panel.add(j * inner), width);
                    }
                }
            }
            let mut i = 0;
            while i < m {
                let mut rows = (m - i).min(tallest * L::N);
                let mut vectors = rows.div_ceil(L::N);
                let (a, a_step);
                // SAFETY: rows i … i + rows and part p0 … p0 + inner of A; the panel takes as many
                // vectors as a tile, and a direct tile has whole vectors only.
                unsafe {
                    if a_direct && rows >= L::N {
                        vectors = rows / L::N;
                        rows = vectors * L::N;
                        (a, a_step) = (job.a.add(p0 * m + i), m);
                    } else {
                        a_step = vectors * L::N;
                        if job.a_inner {
                            let from = job.a.add(i * k + p0);
                            L::run_transposed(from, k, rows, inner, a_panel, a_step);
                        } else {
                            copied(job.a.add(p0 * m + i), m, rows, inner, a_panel, a_step);
                        }
                        a = a_panel.cast_const();
                    }
                }
                for (j, width) in widths.clone() {
                    // SAFETY: columns j0 + j … of B and C; width ≤ the columns of a tile.
                    unsafe {
                        let (b, b_step, b_column) = if b_packed {
                            (b_panel.add(j * inner).cast_const(), width, 1)
                        } else if job.b_inner {
                            (job.b.add((j0 + j) * k + p0), 1, k)
                        } else {
                            (job.b.add(p0 * n + j0 + j), n, 1)
                        };
                        let c = job.c.add((j0 + j) * m + i);
                        let keep = job.keep || part > 0;
                        let tile = Tile {
                            k: inner,
                            a,
                            a_step,
                            b,
                            b_step,
                            b_column,
                            c,
                            c_column: m,
                            rows,
                            keep,
                        };
                        run_tile::<L>(&tile, vectors, width);
                    }
                }
                i += rows;
            }
            p0 += inner;
        }
    }
}

/// The product as scalar products along k, A being given with its rows contiguous.
///
/// # Safety
///
/// As [`multiply`]; B must be contiguous along k, and `a` good for m·k numbers.
unsafe fn scalar_products<L: Lanes>(job: &Job<L::Real>, a: *const L::Real) {
    let Job { m, n, k, .. } = *job;
    let power = |limit: usize| 1 << limit.min(8).ilog2();
    let mut i = 0;
    while i < m {
        let r: usize = power((m - i).min(if n == 1 { 8 } else { 4 }).min(L::DOTS));
        let mut j = 0;
        while j < n {
            let c = power((n - j).min(L::DOTS / r));
            // SAFETY: rows i … i + r of A and columns j … j + c of B.
            unsafe {
                let (a, b, to) = (a.add(i * k), job.b.add(j * k), job.c.add(j * m + i));
                let dots = Dots { k, a, a_row: k, b, b_column: k, c: to, c_column: m };
                run_dots::<L>(&dots, r, c);
            }
            j += c;
        }
        i += r;
    }
}

/// Calls `$run` with the sizes that are known only now as constants.
macro_rules! by_size {
    ($sizes:expr, $lanes:ident::$run:ident($piece:expr): $(($a:literal, $b:literal))*) => {
        match $sizes {
            $(($a, $b) => $lanes::$run::<$a, $b>($piece),)*
            _ => unreachable!("no kernel of this size is ever asked for"),
        }
    };
}

/// # Safety
///
/// As [`super::tile::tile`].
unsafe fn run_tile<L: Lanes>(tile: &Tile<L::Real>, vectors: usize, columns: usize) {
    // SAFETY: the caller's promises are passed on.
    unsafe {
        by_size!((vectors, columns), L::run_tile(tile):
            (1, 1) (1, 2) (1, 3) (1, 4) (1, 5) (1, 6) (1, 7) (1, 8)
            (2, 1) (2, 2) (2, 3) (2, 4) (2, 5) (2, 6) (2, 7) (2, 8)
            (3, 1) (4, 1) (5, 1) (6, 1) (7, 1) (8, 1) (3, 2) (4, 2)
        );
    }
}

/// # Safety
///
/// As [`super::tile::dots`].
unsafe fn run_dots<L: Lanes>(dots: &Dots<L::Real>, rows: usize, columns: usize) {
    // SAFETY: the caller's promises are passed on.
    unsafe {
        by_size!((rows, columns), L::run_dots(dots):
            (1, 1) (2, 1) (4, 1) (8, 1) (1, 2) (2, 2) (4, 2) (1, 4) (2, 4) (4, 4) (1, 8) (2, 8)
        );
    }
}
