//! Which instructions the kernels run on.

/// The instruction set that products and element-wise functions choose on this machine: `avx512`,
/// `avx2`, or `portable`.
///
/// The same binary gives the same bits on the same path, whatever the number of threads; between
/// paths products may round differently.
#[must_use]
pub fn instruction_path() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if pulp::x86::V4::try_new().is_some() {
            return "avx512";
        }
        if pulp::x86::V3::try_new().is_some() {
            return "avx2";
        }
    }
    "portable"
}
