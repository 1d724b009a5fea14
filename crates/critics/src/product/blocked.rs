//! How a product of any size is cut into the kernels' pieces.
//!
//! A panel of A (a tile's rows × at most `INNER` of k) stays in the first-level cache while it meets a
//! block of columns of B, which stays in the second. B is read where it stands if its columns are
//! contiguous along k, else it is packed. The cuts follow from the shape alone.

use std::ops::Range;

use super::lanes::Lanes;
use super::pack::{Copying, with_memory};
use super::tile::{Dots, Tile};
use crate::Real;

/// Largest part of k that is summed in registers: a panel of A then takes 32 KiB at most.
const INNER: usize = 256;
/// Bytes of B that meet a panel of A: half of a usual second-level cache.
const B_BYTES: usize = 512 * 1024;
/// Bytes of A that are packed together, so that its lines are read in long runs.
const A_BYTES: usize = 128 * 1024;
/// Bytes of A that may stay in the first-level cache for all columns.
const A_RESIDENT: usize = 32 * 1024;
/// Up to this many tiles side by side, A is read in place if its rows are contiguous.
const DIRECT_TILES: usize = 8;
/// Up to this many tiles side by side, B is read in place in any case.
const FEW_TILES: usize = 3;
/// Up to this k, B is read in place in any case.
const DIRECT_INNER: usize = 32;
/// Below this k the result is never computed transposed.
const SWAPPED_INNER: usize = 16;
/// Up to this many columns scalar products along k win over packing.
const DOT_COLUMNS: usize = 12;

/// Calls `$run` with the sizes that are known only now as constants.
macro_rules! by_size {
    ($sizes:expr, $lanes:ident::$run:ident($piece:expr): $(($($size:literal),+))*) => {
        match $sizes {
            $(($($size),+) => $lanes::$run::<$($size),+>($piece),)*
            _ => unreachable!("no kernel of this size is ever asked for"),
        }
    };
}

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
        } else if job.keep && !job.a_inner && !job.b_inner && swapping_wins::<L>(m, n, k) {
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
fn swapping_wins<L: Lanes>(m: usize, n: usize, k: usize) -> bool {
    let work = |rows: usize, columns: usize| rows.next_multiple_of(L::N) * columns;
    k >= SWAPPED_INNER && m <= 4 * L::N && 5 * work(n, m) < 4 * work(m, n)
}

/// Columns of B that meet a block of A.
fn block_columns<L: Lanes>() -> usize {
    B_BYTES / size_of::<L::Real>() / INNER / L::TILE_COLUMNS * L::TILE_COLUMNS
}

/// Parts of k of nearly equal size.
fn parts(k: usize) -> impl Iterator<Item = Range<usize>> {
    let n_parts = k.div_ceil(INNER);
    let (length, longer) = (k / n_parts, k % n_parts);
    let start = move |part: usize| part * length + part.min(longer);
    (0..n_parts).map(move |part| start(part)..start(part + 1))
}

/// Rows of A that are packed together: as many panels as fit, but at least one.
fn block_rows<L: Lanes>(m: usize, k: usize) -> usize {
    let (panel, inner) = (L::TILE_VECTORS * L::N, k.min(INNER));
    let rows = (A_BYTES / size_of::<L::Real>() / inner / panel).max(1) * panel;
    rows.min(m.next_multiple_of(L::N))
}

/// Whether [`tiles`] packs B: where its columns are not contiguous and are used often enough.
fn packs_b<L: Lanes>(m: usize, n: usize, k: usize, b_inner: bool) -> bool {
    let much = m > 4 * L::TILE_VECTORS * L::N && n > FEW_TILES * L::TILE_COLUMNS;
    !b_inner && much && k > DIRECT_INNER
}

/// Numbers that [`tiles`] needs for its panels of A and of B.
fn tile_memory<L: Lanes>(m: usize, n: usize, k: usize, b_inner: bool) -> [usize; 2] {
    let (inner, rows) = (k.min(INNER), block_rows::<L>(m, k));
    let columns = if packs_b::<L>(m, n, k, b_inner) { n.min(block_columns::<L>()) } else { 0 };
    [inner * rows, inner * columns]
}

/// The product in tiles.
///
/// # Safety
///
/// As [`multiply`], k > 0, and the panels must be as large as [`tile_memory`] says.
unsafe fn tiles<L: Lanes>(job: &Job<L::Real>, a_panels: *mut L::Real, b_panels: *mut L::Real) {
    let Job { m, n, k, .. } = *job;
    // With few columns of B, packing A would cost as much as the product.
    let a_direct = !job.a_inner && n <= DIRECT_TILES * L::TILE_COLUMNS;
    let b_packed = packs_b::<L>(m, n, k, job.b_inner);
    let rows = block_rows::<L>(m, k);
    for j0 in (0..n).step_by(block_columns::<L>()) {
        let columns = (n - j0).min(block_columns::<L>());
        for Range { start: p0, end } in parts(k) {
            let inner = end - p0;
            // SAFETY: part p0 … of the columns j0 … of B and of C; the panels are large enough.
            let block = unsafe {
                let (from, c) =
                    (job.b.add(if job.b_inner { j0 * k + p0 } else { p0 * n + j0 }), job.c);
                let b = if b_packed {
                    pack_b::<L>(from, n, columns, inner, b_panels);
                    Columns::Panels { at: b_panels, inner }
                } else if job.b_inner {
                    Columns::AlongInner { at: from, step: k }
                } else {
                    Columns::Across { at: from, step: n }
                };
                Block { b, columns, inner, c: c.add(j0 * m), m, keep: job.keep || p0 > 0 }
            };
            // SAFETY: rows i0 … of part p0 … of A and of C.
            unsafe {
                if a_direct {
                    direct::<L>(&block, job.a.add(p0 * m));
                    continue;
                }
                for i0 in (0..m).step_by(rows) {
                    let rows = (m - i0).min(rows);
                    if job.a_inner {
                        pack_a_transposed::<L>(job.a.add(i0 * k + p0), k, rows, inner, a_panels);
                    } else {
                        pack_a::<L>(job.a.add(p0 * m + i0), m, rows, inner, a_panels);
                    }
                    panels::<L>(&block, a_panels, i0, rows);
                }
            }
        }
    }
}

/// Where the columns of B that are at work stand.
enum Columns<T> {
    /// Packed, in panels as wide as a tile and `inner` long.
    Panels { at: *const T, inner: usize },
    /// In place, contiguous along k; `step` to the next column.
    AlongInner { at: *const T, step: usize },
    /// In place, contiguous across k; `step` to the next k.
    Across { at: *const T, step: usize },
}

/// A part of B and the columns of C that belong to it.
struct Block<T> {
    b: Columns<T>,
    columns: usize,
    inner: usize,
    /// The first of these columns, all m rows of it.
    c: *mut T,
    m: usize,
    keep: bool,
}

impl<T: Real> Block<T> {
    /// First column and width of every tile: as wide as a tile where B is packed for that, else
    /// nearly equal, since narrow tiles do not keep the processor busy.
    #[inline]
    fn widths<L: Lanes<Real = T>>(&self) -> impl Iterator<Item = (usize, usize)> + use<T, L> {
        let columns = self.columns;
        let n_tiles = columns.div_ceil(L::TILE_COLUMNS);
        let packed = matches!(self.b, Columns::Panels { .. });
        let start = move |t: usize| {
            if packed { (t * L::TILE_COLUMNS).min(columns) } else { t * columns / n_tiles }
        };
        (0..n_tiles).map(move |t| (start(t), start(t + 1) - start(t)))
    }

    /// The tile of rows i … and columns j …, with A as given.
    ///
    /// # Safety
    ///
    /// The tile must lie within the block.
    #[inline(always)]
    unsafe fn tile(
        &self,
        (a, a_step): (*const T, usize),
        i: usize,
        rows: usize,
        j: usize,
        width: usize,
    ) -> Tile<T> {
        // SAFETY: the offsets are those of elements within the block.
        unsafe {
            let (b, b_step, b_column) = match self.b {
                Columns::Panels { at, inner } => (at.add(j * inner), width, 1),
                Columns::AlongInner { at, step } => (at.add(j * step), 1, step),
                Columns::Across { at, step } => (at.add(j), step, 1),
            };
            let (k, c, c_column, keep) =
                (self.inner, self.c.add(j * self.m + i), self.m, self.keep);
            Tile { k, a, a_step, b, b_step, b_column, c, c_column, rows, keep }
        }
    }
}

/// All columns of a block with rows i0 … i0 + rows, which are packed.
///
/// # Safety
///
/// As [`multiply`]; the panels must hold these rows.
unsafe fn panels<L: Lanes>(block: &Block<L::Real>, a: *const L::Real, i0: usize, rows: usize) {
    let panel = L::TILE_VECTORS * L::N;
    let run = |i: usize, j: usize, width: usize| {
        let height = (rows - i).min(panel);
        let vectors = height.div_ceil(L::N);
        // SAFETY: within block and panels.
        unsafe {
            let a = (a.add(i * block.inner), vectors * L::N);
            run_tile::<L>(&block.tile(a, i0 + i, height, j, width), vectors, width, false);
        }
    };
    if rows * block.inner * size_of::<L::Real>() <= A_RESIDENT {
        // All of these rows stay in the first-level cache, and C is written column after column.
        for (j, width) in block.widths::<L>() {
            (0..rows).step_by(panel).for_each(|i| run(i, j, width));
        }
    } else {
        for i in (0..rows).step_by(panel) {
            block.widths::<L>().for_each(|(j, width)| run(i, j, width));
        }
    }
}

/// All columns of a block with all rows of A (contiguous) in place.
///
/// # Safety
///
/// As [`multiply`].
unsafe fn direct<L: Lanes>(block: &Block<L::Real>, a: *const L::Real) {
    // One or two columns leave registers free for more rows.
    let tallest = match block.columns {
        1 => 8,
        2 => 4,
        _ => L::TILE_VECTORS,
    };
    let m = block.m;
    let mut i = 0;
    while i < m {
        let vectors = ((m - i) / L::N).min(tallest);
        let (vectors, rows) = if vectors > 0 { (vectors, vectors * L::N) } else { (1, m - i) };
        for (j, width) in block.widths::<L>() {
            // SAFETY: rows i … i + rows of A, and a tile of the block.
            unsafe {
                let tile = block.tile((a.add(i), m), i, rows, j, width);
                run_tile::<L>(&tile, vectors, width, rows < L::N);
            }
        }
        i += rows;
    }
}

/// Packs rows of A that are contiguous across k.
///
/// # Safety
///
/// As [`super::pack::copied`].
unsafe fn pack_a<L: Lanes>(
    from: *const L::Real,
    from_step: usize,
    lanes: usize,
    k: usize,
    to: *mut L::Real,
) {
    let copy = Copying { from, from_step, lanes, k, to, round: L::N };
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match L::TILE_VECTORS * L::N {
            4 => L::run_copied::<4>(&copy),
            8 => L::run_copied::<8>(&copy),
            16 => L::run_copied::<16>(&copy),
            32 => L::run_copied::<32>(&copy),
            _ => unreachable!("no path has panels of this width"),
        }
    }
}

/// Packs rows of A that are contiguous along k.
///
/// # Safety
///
/// As [`super::pack::transposed`], for panels as wide as a tile has rows.
unsafe fn pack_a_transposed<L: Lanes>(
    from: *const L::Real,
    from_step: usize,
    rows: usize,
    k: usize,
    to: *mut L::Real,
) {
    let panel = L::TILE_VECTORS * L::N;
    for i in (0..rows).step_by(panel) {
        let height = (rows - i).min(panel);
        // SAFETY: rows i … i + height; panels of full width stand before this one.
        unsafe {
            let (from, to) = (from.add(i * from_step), to.add(i * k));
            L::run_transposed(from, from_step, height, k, to, height.next_multiple_of(L::N));
        }
    }
}

/// Packs columns of B that are contiguous across k.
///
/// # Safety
///
/// As [`super::pack::copied`].
unsafe fn pack_b<L: Lanes>(
    from: *const L::Real,
    from_step: usize,
    lanes: usize,
    k: usize,
    to: *mut L::Real,
) {
    let copy = Copying { from, from_step, lanes, k, to, round: 1 };
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match L::TILE_COLUMNS {
            4 => L::run_copied::<4>(&copy),
            6 => L::run_copied::<6>(&copy),
            8 => L::run_copied::<8>(&copy),
            _ => unreachable!("no path has tiles of this width"),
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

/// # Safety
///
/// As [`super::tile::tile`].
unsafe fn run_tile<L: Lanes>(tile: &Tile<L::Real>, vectors: usize, columns: usize, short: bool) {
    // SAFETY: the caller's promises are passed on.
    unsafe {
        by_size!((vectors, columns, short), L::run_tile(tile):
            (1, 1, false) (1, 2, false) (1, 3, false) (1, 4, false)
            (1, 5, false) (1, 6, false) (1, 7, false) (1, 8, false)
            (2, 1, false) (2, 2, false) (2, 3, false) (2, 4, false)
            (2, 5, false) (2, 6, false) (2, 7, false) (2, 8, false)
            (3, 1, false) (4, 1, false) (5, 1, false) (6, 1, false)
            (7, 1, false) (8, 1, false) (3, 2, false) (4, 2, false)
            (1, 1, true) (1, 2, true) (1, 3, true) (1, 4, true)
            (1, 5, true) (1, 6, true) (1, 7, true) (1, 8, true)
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
