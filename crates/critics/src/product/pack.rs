//! Copies of factors in the order in which the kernels read them, and the memory for them.

use std::cell::Cell;

use super::lanes::Lanes;
use crate::Real;

/// A cache line; vectors of an aligned panel never straddle two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    /// The packing memory of this thread. It grows to the largest product and stays.
    static MEMORY: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Three separate, aligned buffers of so many numbers, as pointers that are good during `f`.
///
/// They hold whatever was there before, which are initialised bytes.
pub(super) fn with_memory<T: Real>(numbers: [usize; 3], f: impl FnOnce([*mut T; 3])) {
    let lines = numbers.map(|n| (n * size_of::<T>()).div_ceil(size_of::<Line>()));
    // At the end of a thread its memory may be gone already; fresh memory serves then.
    let mut memory = MEMORY.try_with(Cell::take).unwrap_or_default();
    let needed = lines.iter().sum();
    if memory.len() < needed {
        memory.clear();
        memory.resize(needed, Line([0; 64]));
    }
    let start = memory.as_mut_ptr();
    f([0, lines[0], lines[0] + lines[1]].map(|offset| start.wrapping_add(offset).cast()));
    let _ = MEMORY.try_with(|cell| cell.set(memory));
}

/// `width` rows by k, from rows that are contiguous along k: to[p·width + i] = from[i·from_step + p]
/// for i < rows, and 0 for the other rows.
///
/// # Safety
///
/// As [`Lanes`]; `from` must be good for rows × k numbers, `to` for k·width.
#[inline(always)]
pub(super) unsafe fn transposed<L: Lanes>(
    from: *const L::Real,
    from_step: usize,
    rows: usize,
    k: usize,
    to: *mut L::Real,
    width: usize,
) {
    // SAFETY: all offsets are those of the two blocks that the caller vouches for.
    unsafe {
        let (whole_rows, whole_k) = (rows / L::N * L::N, k / L::N * L::N);
        for i in (0..whole_rows).step_by(L::N) {
            for p in (0..whole_k).step_by(L::N) {
                L::transpose(from.add(i * from_step + p), from_step, to.add(p * width + i), width);
            }
        }
        for i in 0..width {
            let start = if i < whole_rows { whole_k } else { 0 };
            for p in start..k {
                let value = if i < rows { *from.add(i * from_step + p) } else { L::Real::ZERO };
                *to.add(p * width + i) = value;
            }
        }
    }
}

/// A factor whose lines across k are contiguous, and the panels that it is to be copied to.
pub(super) struct Copying<T> {
    /// Line p begins at p·from_step.
    pub(super) from: *const T,
    pub(super) from_step: usize,
    /// Numbers of a line that are wanted.
    pub(super) lanes: usize,
    /// Lines.
    pub(super) k: usize,
    /// Panels one behind the other, each k lines.
    pub(super) to: *mut T,
    /// The last panel is as wide as a multiple of this that holds what is left; 0 fills it up.
    pub(super) round: usize,
}

/// Panels that are filled side by side, so that lines are read in runs of several cache lines.
const SIDE_BY_SIDE: usize = 8;

/// Copies into panels of width W: line p of panel q is at (q·k + p)·W, in the last panel with its
/// own width.
///
/// # Safety
///
/// As [`Lanes`]; `from` must be good for k × `lanes` numbers, `to` for k times the width of all
/// panels, and `round` must divide W.
#[inline(always)]
pub(super) unsafe fn copied<T: Real, const W: usize>(copy: &Copying<T>) {
    let Copying { from, from_step, lanes, k, to, round } = *copy;
    let whole = lanes / W;
    // SAFETY: all offsets are those of the two blocks that the caller vouches for. They do not
    // overlap, since one of them is packing memory.
    unsafe {
        for first in (0..whole).step_by(SIDE_BY_SIDE) {
            let panels = first..whole.min(first + SIDE_BY_SIDE);
            for p in 0..k {
                for q in panels.clone() {
                    let line = from.add(p * from_step + q * W).cast::<[T; W]>();
                    to.add((q * k + p) * W).cast::<[T; W]>().write_unaligned(line.read_unaligned());
                }
            }
        }
        let rest = lanes - whole * W;
        let width = rest.next_multiple_of(round);
        let (from, to) = (from.add(whole * W), to.add(whole * k * W));
        for p in 0..k {
            for i in 0..width {
                let value = if i < rest { *from.add(p * from_step + i) } else { T::ZERO };
                *to.add(p * width + i) = value;
            }
        }
    }
}
