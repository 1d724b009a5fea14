//! Two pieces of an update at the same time.

/// Multiply-adds from which handing one of two pieces to another thread pays. On two cores SAC with
/// networks of 2×256 and batch 256 (18 million) was 1.5 times as fast; with 2×128 (5 million) it was
/// slower as soon as the other core had something else to do.
const WORTH_A_THREAD: usize = 16_000_000;

/// Does both, side by side where the current rayon pool has a second thread and each is worth it
/// (`multiply_adds` of one of them). They share nothing that either changes, so the bits are the
/// same either way.
pub(crate) fn join(multiply_adds: usize, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    if multiply_adds >= WORTH_A_THREAD && rayon::current_num_threads() > 1 {
        rayon::join(a, b);
    } else {
        a();
        b();
    }
}
