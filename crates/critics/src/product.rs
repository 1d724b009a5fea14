//! The three matrix products of a layer, over the `gemm` crate.
//!
//! W is [out, in] row-major; a batch of n features is n × batch with the samples contiguous. Each
//! function checks its lengths, which is all that `gemm` asks for. Everything runs on the calling
//! thread, so the bits never depend on how many threads there are.
#![allow(unsafe_code, reason = "`gemm` takes pointers; every length is checked before the call")]

use gemm::Parallelism;

use crate::Real;

/// A matrix in a slice: element (row, column) at `row·row_stride + column·column_stride`.
#[derive(Clone, Copy)]
struct Strides {
    row: usize,
    column: usize,
}

/// Z = W X: `z` (out × batch) from `w` (out × in) and `x` (in × batch).
///
/// # Panics
///
/// When a length does not fit the sizes.
pub(crate) fn forward<T: Real>(w: &[T], x: &[T], z: &mut [T], n_out: usize, n_in: usize) {
    let batch = x.len() / n_in;
    product(
        [n_out, batch, n_in],
        (z, Strides { row: 1, column: n_out }),
        (w, Strides { row: n_in, column: 1 }),
        (x, Strides { row: 1, column: n_in }),
        false,
    );
}

/// X̄ = Wᵀ Z̄: `x_bar` (in × batch) from `w` (out × in) and `z_bar` (out × batch).
///
/// # Panics
///
/// When a length does not fit the sizes.
pub(crate) fn input<T: Real>(w: &[T], z_bar: &[T], x_bar: &mut [T], n_out: usize, n_in: usize) {
    let batch = z_bar.len() / n_out;
    product(
        [n_in, batch, n_out],
        (x_bar, Strides { row: 1, column: n_in }),
        (w, Strides { row: 1, column: n_in }),
        (z_bar, Strides { row: 1, column: n_out }),
        false,
    );
}

/// W̄ += Z̄ Xᵀ: `w_bar` (out × in) from `z_bar` (out × batch) and `x` (in × batch).
///
/// # Panics
///
/// When a length does not fit the sizes.
pub(crate) fn weight<T: Real>(z_bar: &[T], x: &[T], w_bar: &mut [T], n_out: usize, n_in: usize) {
    let batch = z_bar.len() / n_out;
    product(
        [n_out, n_in, batch],
        (w_bar, Strides { row: n_in, column: 1 }),
        (z_bar, Strides { row: 1, column: n_out }),
        (x, Strides { row: n_in, column: 1 }),
        true,
    );
}

/// C = A B, or C += A B when `accumulate`; C is m × n, A is m × k, B is k × n.
///
/// Each matrix fills its slice exactly.
fn product<T: Real>(
    [m, n, k]: [usize; 3],
    (c, c_strides): (&mut [T], Strides),
    (a, a_strides): (&[T], Strides),
    (b, b_strides): (&[T], Strides),
    accumulate: bool,
) {
    assert_eq!(c.len(), m * n, "the result of a {m} x {k} x {n} product needs {m} x {n} numbers");
    assert_eq!(a.len(), m * k, "the left factor of a {m} x {k} x {n} product");
    assert_eq!(b.len(), k * n, "the right factor of a {m} x {k} x {n} product");
    for (strides, [rows, columns]) in
        [(c_strides, [m, n]), (a_strides, [m, k]), (b_strides, [k, n])]
    {
        // Row- or column-major and dense: the largest offset is then rows·columns − 1.
        assert!(
            strides.row == 1 && strides.column == rows
                || strides.column == 1 && strides.row == columns
        );
    }
    // A slice never exceeds isize::MAX bytes, so none of the strides of a filled slice does.
    #[expect(clippy::cast_possible_wrap, reason = "see above")]
    let signed = |s: Strides| (s.column as isize, s.row as isize);
    let ((c_cs, c_rs), (a_cs, a_rs), (b_cs, b_rs)) =
        (signed(c_strides), signed(a_strides), signed(b_strides));
    // SAFETY: the assertions above bound every offset that the three shapes and strides can form by
    // the length of its slice, and `c` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_cs,
            c_rs,
            accumulate,
            a.as_ptr(),
            a_cs,
            a_rs,
            b.as_ptr(),
            b_cs,
            b_rs,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
