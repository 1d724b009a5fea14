//! Which library computes the networks.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::OnceLock;

use thiserror::Error;

/// What computes an [`Mlp`](crate::Mlp): its results are the same to rounding on every backend.
///
/// A backend is chosen per network by [`Mlp::with_backend`](crate::Mlp::with_backend), or for the
/// whole process by [`set_backend`]. By name there are `native`, `candle` (on the processor) and
/// `cuda` (candle on the first GPU that the process sees); the latter two need the features of the
/// same name.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Backend {
    /// The kernels of this crate: one thread, no allocation, reproducible to the bit.
    #[default]
    Native,
    /// candle's tensors on one of its devices, parameter gradients by its tape.
    ///
    /// Every call copies its slices to the device and back; candle allocates and has threads of its
    /// own.
    #[cfg(feature = "candle")]
    Candle(candle_core::Device),
}

/// A backend that cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A name that belongs to no backend.
    #[error("unknown backend `{name}`; choose `native`, `candle` or `cuda`")]
    Unknown {
        /// What was given.
        name: String,
    },
    /// A backend that this program was built without.
    #[error(
        "this program was built without the backend `{name}`; build it with `--features {name}`"
    )]
    NotCompiled {
        /// Name of the backend and of its feature.
        name: &'static str,
    },
    /// A backend whose device is missing or out of order.
    #[cfg(feature = "candle")]
    #[error("the backend `{name}` finds no device that works; check driver and visible GPUs")]
    NoDevice {
        /// Name of the backend.
        name: &'static str,
        /// What candle says.
        #[source]
        source: Box<candle_core::Error>,
    },
    /// The process runs on another backend already.
    #[error("networks run on `{in_use}` already; set `{backend}` before the first network is made")]
    InUse {
        /// What was asked for.
        backend: Backend,
        /// What has been chosen before.
        in_use: Backend,
    },
}

/// The choice of this process, once there is one.
static CHOICE: OnceLock<Backend> = OnceLock::new();

impl Backend {
    /// candle on the processor.
    ///
    /// # Errors
    ///
    /// [`BackendError::NotCompiled`] without the feature `candle`.
    pub fn candle() -> Result<Self, BackendError> {
        #[cfg(feature = "candle")]
        return Ok(Self::Candle(candle_core::Device::Cpu));
        #[cfg(not(feature = "candle"))]
        return Err(BackendError::NotCompiled { name: "candle" });
    }

    /// candle on the first GPU that the process sees.
    ///
    /// # Errors
    ///
    /// [`BackendError::NotCompiled`] without the feature `cuda`, `BackendError::NoDevice` where there
    /// is no GPU or it cannot be used.
    pub fn cuda() -> Result<Self, BackendError> {
        if cfg!(not(feature = "cuda")) {
            return Err(BackendError::NotCompiled { name: "cuda" });
        }
        #[cfg(feature = "candle")]
        return match candle_core::Device::new_cuda(0) {
            Ok(device) => Ok(Self::Candle(device)),
            Err(source) => Err(BackendError::NoDevice { name: "cuda", source: Box::new(source) }),
        };
        #[cfg(not(feature = "candle"))]
        return Err(BackendError::NotCompiled { name: "cuda" });
    }

    /// `native`, or what candle runs on: `candle` (the processor), `cuda` or `metal`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            #[cfg(feature = "candle")]
            Self::Candle(candle_core::Device::Cpu) => "candle",
            #[cfg(feature = "candle")]
            Self::Candle(candle_core::Device::Cuda(_)) => "cuda",
            #[cfg(feature = "candle")]
            Self::Candle(candle_core::Device::Metal(_)) => "metal",
        }
    }
}

/// Two backends are equal when they compute with the same library on the same physical device.
impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Native, Self::Native) => true,
            #[cfg(feature = "candle")]
            (Self::Candle(a), Self::Candle(b)) => a.location() == b.location(),
            #[cfg(feature = "candle")]
            _ => false,
        }
    }
}

impl Eq for Backend {}

impl Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    /// The backend of a name, its device opened.
    fn from_str(name: &str) -> Result<Self, BackendError> {
        match name {
            "native" => Ok(Self::Native),
            "candle" => Self::candle(),
            "cuda" => Self::cuda(),
            _ => Err(BackendError::Unknown { name: name.to_owned() }),
        }
    }
}

/// Makes `backend` the one that new networks run on. To be called at the start of the process: the
/// first network settles the choice for good.
///
/// # Errors
///
/// [`BackendError::InUse`] when another backend is settled already.
pub fn set_backend(backend: Backend) -> Result<(), BackendError> {
    let in_use = CHOICE.get_or_init(|| backend.clone());
    if *in_use == backend {
        Ok(())
    } else {
        Err(BackendError::InUse { backend, in_use: in_use.clone() })
    }
}

/// The backend that new networks run on: what [`set_backend`] chose, else [`Backend::Native`].
#[must_use]
pub fn backend() -> &'static Backend {
    CHOICE.get_or_init(Backend::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_rejected_with_the_valid_ones() {
        let error = "torch".parse::<Backend>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown backend `torch`; choose `native`, `candle` or `cuda`"
        );
    }

    #[test]
    fn names_are_read_back_where_the_backend_was_compiled_in() {
        assert_eq!("native".parse::<Backend>().unwrap(), Backend::Native);
        assert_eq!(Backend::Native.to_string(), "native");
        #[cfg(feature = "candle")]
        {
            let candle = Backend::candle().unwrap();
            assert_eq!("candle".parse::<Backend>().unwrap(), candle);
            assert_eq!(candle.to_string(), "candle");
            assert_ne!(candle, Backend::Native);
        }
    }

    #[test]
    #[cfg(not(feature = "candle"))]
    fn candle_that_was_not_compiled_in_names_its_feature() {
        assert_eq!(
            "candle".parse::<Backend>().unwrap_err().to_string(),
            "this program was built without the backend `candle`; build it with `--features candle`"
        );
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn cuda_that_was_not_compiled_in_names_its_feature() {
        assert_eq!(
            "cuda".parse::<Backend>().unwrap_err().to_string(),
            "this program was built without the backend `cuda`; build it with `--features cuda`"
        );
    }
}
