//! The three matrix products of a layer: blocked, packed, without allocation in the steady state.
//!
//! W is [out, in] row-major; a batch of n features is n × batch with the samples contiguous.
//! Everything runs on the calling thread, and the order of every sum follows from the shape and the
//! instruction path alone.
//!
//! The only `unsafe` code of this crate is in this module. Its invariants:
//!
//! 1. *Instructions.* A kernel of a path runs only if the processor has it: [`Products`] is made for
//!    available paths only, and [`Kernels::multiply`] is called by it alone.
//! 2. *Bounds.* [`Products::product`] compares the length of every slice with its m × n, m × k or
//!    k × n without overflow; matrices are dense, so no offset i·stride + j of an element reaches
//!    beyond the slice. Kernels touch whole vectors only where there are whole vectors, and else
//!    load and store lanes one by one or masked.
//! 3. *Aliasing.* The result is a `&mut` slice, so it overlaps neither factor; packing memory is
//!    taken out of its thread's cell while it is used.
//! 4. *Initialisation.* Slices and packing memory are initialised; `f32` and `f64` have no invalid
//!    bits.
#![allow(unsafe_code, reason = "vector instructions and unchecked inner loops; see above")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over lanes and vectors are unrolled into registers"
)]

mod blocked;
mod lanes;
mod pack;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use blocked::{Job, multiply};
use lanes::Array;

use crate::{InstructionPath, InstructionPathError, Real};

/// The types that have kernels.
pub trait Kernels: Sized {
    /// Carries out a product on a path.
    ///
    /// # Safety
    ///
    /// The path must be available, and the matrices of the job must be good for their sizes.
    #[doc(hidden)]
    unsafe fn multiply(path: InstructionPath, job: &Job<Self>);
}

macro_rules! impl_kernels {
    ($real:ident, $portable:literal, $avx2:ident, $avx512:ident) => {
        impl Kernels for $real {
            unsafe fn multiply(path: InstructionPath, job: &Job<Self>) {
                // SAFETY: the caller vouches for path and matrices.
                unsafe {
                    match path {
                        #[cfg(target_arch = "x86_64")]
                        InstructionPath::Avx512 => multiply::<std::arch::x86_64::$avx512>(job),
                        #[cfg(target_arch = "x86_64")]
                        InstructionPath::Avx2 => multiply::<std::arch::x86_64::$avx2>(job),
                        _ => multiply::<Array<$real, $portable>>(job),
                    }
                }
            }
        }
    };
}

impl_kernels!(f32, 8, __m256, __m512);
impl_kernels!(f64, 4, __m256d, __m512d);

/// The matrix products of a layer on one instruction path.
///
/// Batches are slices, sample after sample; weights are [out, in] row-major. The number of samples
/// follows from the lengths. All methods panic when a length does not fit the sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Products {
    path: InstructionPath,
}

impl Products {
    /// Products on the path of this process.
    #[must_use]
    #[inline]
    pub fn current() -> Self {
        Self { path: InstructionPath::current() }
    }

    /// Products on a path of one's choice, whatever the path of the process is.
    ///
    /// # Errors
    ///
    /// [`InstructionPathError::NotAvailable`] on a processor without these instructions.
    pub fn on(path: InstructionPath) -> Result<Self, InstructionPathError> {
        if path.available() {
            Ok(Self { path })
        } else {
            let widest = InstructionPath::widest();
            Err(InstructionPathError::NotAvailable { path, widest })
        }
    }

    /// Z = W X: `z` (batch × out) from `w` (out × in) and `x` (batch × in).
    ///
    /// # Panics
    ///
    /// When a length does not fit the sizes.
    pub fn forward<T: Real>(self, w: &[T], x: &[T], z: &mut [T], n_out: usize, n_in: usize) {
        let batch = z.len().checked_div(n_out).unwrap_or(0);
        self.product([n_out, batch, n_in], (w, true), (x, true), z, false);
    }

    /// X̄ = Wᵀ Z̄: `x_bar` (batch × in) from `w` (out × in) and `z_bar` (batch × out).
    ///
    /// # Panics
    ///
    /// When a length does not fit the sizes.
    pub fn input<T: Real>(self, w: &[T], z_bar: &[T], x_bar: &mut [T], n_out: usize, n_in: usize) {
        let batch = x_bar.len().checked_div(n_in).unwrap_or(0);
        self.product([n_in, batch, n_out], (w, false), (z_bar, true), x_bar, false);
    }

    /// W̄ += Z̄ Xᵀ: `w_bar` (out × in) from `z_bar` (batch × out) and `x` (batch × in).
    ///
    /// # Panics
    ///
    /// When a length does not fit the sizes.
    pub fn weight<T: Real>(self, z_bar: &[T], x: &[T], w_bar: &mut [T], n_out: usize, n_in: usize) {
        let batch = z_bar.len().checked_div(n_out).unwrap_or(0);
        // W̄ row-major is W̄ᵀ column-major, and W̄ᵀ += X Z̄ᵀ.
        self.product([n_in, n_out, batch], (x, false), (z_bar, false), w_bar, true);
    }

    /// C = A B, or C += A B when `keep`; C is m × n with its rows contiguous, A m × k, B k × n, each
    /// with whether it is contiguous along k.
    fn product<T: Real>(
        self,
        [m, n, k]: [usize; 3],
        (a, a_inner): (&[T], bool),
        (b, b_inner): (&[T], bool),
        c: &mut [T],
        keep: bool,
    ) {
        for (what, length, rows, columns) in [
            ("result", c.len(), m, n),
            ("left factor", a.len(), m, k),
            ("right factor", b.len(), k, n),
        ] {
            assert!(
                rows.checked_mul(columns) == Some(length),
                "the {what} of a {m} x {k} x {n} product has {length} numbers"
            );
        }
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        let job = Job { m, n, k, a, a_inner, b, b_inner, c, keep };
        // SAFETY: the path is available since `self` exists; the lengths are checked above, and `c`
        // is borrowed mutably.
        unsafe { T::multiply(self.path, &job) };
    }
}
