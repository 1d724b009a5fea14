//! Which instructions the kernels run on.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use thiserror::Error;

/// An instruction set that products and element-wise passes can run on.
///
/// The same binary gives the same bits on the same path, whatever the number of threads. Between
/// paths products round differently; element-wise passes do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstructionPath {
    /// What every processor has; no fused multiply–add.
    Portable,
    /// 256 bits with fused multiply–add (x86-64-v3).
    Avx2,
    /// 512 bits (x86-64-v4).
    Avx512,
}

/// A path that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InstructionPathError {
    /// A name that belongs to no path.
    #[error("unknown instruction path `{name}`; choose `portable`, `avx2` or `avx512`")]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The processor lacks the instructions.
    #[error("this processor has no `{path}` instructions; the widest path it has is `{widest}`")]
    NotAvailable {
        /// What was asked for.
        path: InstructionPath,
        /// What there is.
        widest: InstructionPath,
    },
    /// The process runs on another path already.
    #[error("the process runs on `{in_use}` already; set `{path}` before anything is computed")]
    InUse {
        /// What was asked for.
        path: InstructionPath,
        /// What has been chosen before.
        in_use: InstructionPath,
    },
}

/// The choice of this process: 0 before there is one, then 1 + its place in `ALL`.
static CHOICE: AtomicU8 = AtomicU8::new(0);

impl InstructionPath {
    /// All paths, narrow before wide.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this processor has the instructions.
    #[must_use]
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The widest path of this processor.
    #[must_use]
    pub fn widest() -> Self {
        Self::ALL.into_iter().rfind(|path| path.available()).unwrap_or(Self::Portable)
    }

    /// The path of this process: what [`set_instruction_path`] chose, else the widest.
    #[must_use]
    #[inline]
    pub fn current() -> Self {
        match CHOICE.load(Ordering::Relaxed) {
            1 => Self::Portable,
            2 => Self::Avx2,
            3 => Self::Avx512,
            _ => choose(Self::widest()),
        }
    }

    /// `portable`, `avx2` or `avx512`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// Makes `path` the choice unless there is one already; returns the choice.
#[cold]
fn choose(path: InstructionPath) -> InstructionPath {
    let code = path as u8 + 1;
    match CHOICE.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => path,
        Err(earlier) => InstructionPath::ALL[usize::from(earlier - 1)],
    }
}

impl Display for InstructionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for InstructionPath {
    type Err = InstructionPathError;

    fn from_str(name: &str) -> Result<Self, InstructionPathError> {
        Self::ALL
            .into_iter()
            .find(|path| path.name() == name)
            .ok_or_else(|| InstructionPathError::Unknown { name: name.to_owned() })
    }
}

/// Makes the whole process run on `path`. To be called at its start: the first product or
/// element-wise pass settles the path for good.
///
/// # Errors
///
/// [`InstructionPathError::NotAvailable`] on a processor without these instructions,
/// [`InstructionPathError::InUse`] when another path is settled already.
pub fn set_instruction_path(path: InstructionPath) -> Result<(), InstructionPathError> {
    if !path.available() {
        let widest = InstructionPath::widest();
        return Err(InstructionPathError::NotAvailable { path, widest });
    }
    let in_use = choose(path);
    if in_use == path { Ok(()) } else { Err(InstructionPathError::InUse { path, in_use }) }
}

/// Name of what the bits of this process's networks depend on: the path `avx512`, `avx2` or
/// `portable`, or the [`Backend`](crate::Backend) in the place of our kernels.
#[must_use]
pub fn instruction_path() -> &'static str {
    match crate::backend() {
        crate::Backend::Native => InstructionPath::current().name(),
        #[cfg(feature = "candle")]
        candle => candle.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_rejected_with_the_valid_ones() {
        for path in InstructionPath::ALL {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        let error = "sse9".parse::<InstructionPath>().unwrap_err().to_string();
        assert_eq!(error, "unknown instruction path `sse9`; choose `portable`, `avx2` or `avx512`");
    }

    #[test]
    fn a_settled_path_stays() {
        let settled = InstructionPath::current();
        assert_eq!(set_instruction_path(settled), Ok(()));
        for path in InstructionPath::ALL.into_iter().filter(|path| *path != settled) {
            assert!(set_instruction_path(path).is_err());
        }
        assert_eq!(instruction_path(), settled.name());
    }
}
