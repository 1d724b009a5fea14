//! What a mass-spring network is made of.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::law::Law;

/// A network of point masses, springs and handles, as data.
///
/// A handle is a point that is moved from outside: it has no mass and feels no force. The potential
/// is U(x, p) = Σ ψ(ℓ − L) − Σ mᵢ g·xᵢ, with x the stacked positions of the masses and p those of the
/// handles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Dimension d of the space: 2 or 3.
    pub dimension: usize,
    /// The masses (kg).
    pub masses: Vec<f64>,
    /// Number of handles.
    pub n_handles: usize,
    /// The springs.
    pub springs: Vec<Spring>,
    /// Force −δ m v on every mass, δ ≥ 0 [1/s].
    #[serde(default)]
    pub mass_damping: f64,
    /// Gravity, d entries [m/s²].
    pub gravity: Vec<f64>,
}

/// A spring, with a dashpot parallel to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spring {
    /// The two points that it joins; at most one of them is a handle.
    pub ends: [End; 2],
    /// Stiffness k [N/m].
    pub stiffness: f64,
    /// Rest length L (m). 0 is allowed for a bilateral spring without damping.
    pub rest_length: f64,
    /// How the force depends on the stretch.
    #[serde(default)]
    pub law: Law,
    /// Damping b ≥ 0 along the spring [N·s/m]: force b dℓ/dt, taut or slack. Over a step it is
    /// b (ℓₙ₊₁ − ℓₙ)/h, the derivative of a dissipation energy.
    #[serde(default)]
    pub damping: f64,
}

/// One end of a spring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// The mass of this index.
    Mass(usize),
    /// The handle of this index.
    Handle(usize),
}

/// What is wrong with a network, its integration or a state of it.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The space has another dimension than 2 or 3.
    #[error("a network lives in 2 or 3 dimensions, not in {found}")]
    Dimension {
        /// The dimension given.
        found: usize,
    },
    /// There is nothing to move.
    #[error("a network needs at least one mass")]
    NoMasses,
    /// A number of the description is out of its range.
    #[error("entry {index} of `{what}` is {value}, but must be {needed}")]
    Parameter {
        /// Name of the parameter.
        what: &'static str,
        /// Which mass, spring or coordinate; 0 where there is one only.
        index: usize,
        /// The value given.
        value: f64,
        /// The range that is allowed, in words.
        needed: &'static str,
    },
    /// A spring is tied to something that does not exist.
    #[error("spring {spring} is tied to {kind} {index}, but there are {count}")]
    EndOutOfRange {
        /// Index of the spring.
        spring: usize,
        /// `mass` or `handle`.
        kind: &'static str,
        /// The index given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A spring joins a point to itself.
    #[error("spring {spring} joins a point to itself; give it two different ends")]
    SelfJoined {
        /// Index of the spring.
        spring: usize,
    },
    /// A spring joins two handles, where its force moves nothing.
    #[error("spring {spring} joins two handles; one of its ends must be a mass")]
    HandlesJoined {
        /// Index of the spring.
        spring: usize,
    },
    /// A vector has the wrong length.
    #[error("`{what}` has {found} entries, needs {needed}")]
    Length {
        /// The argument that is wrong.
        what: &'static str,
        /// Entries given.
        found: usize,
        /// Entries needed.
        needed: usize,
    },
    /// A spring of positive rest length has no direction.
    #[error("spring {spring} has a rest length but starts at zero length, so without direction")]
    ZeroLength {
        /// Index of the spring.
        spring: usize,
    },
}

impl NetworkSpec {
    /// Checks every number and index.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), NetworkError> {
        if !matches!(self.dimension, 2 | 3) {
            return Err(NetworkError::Dimension { found: self.dimension });
        }
        if self.masses.is_empty() {
            return Err(NetworkError::NoMasses);
        }
        if self.gravity.len() != self.dimension {
            return Err(NetworkError::Length {
                what: "gravity",
                found: self.gravity.len(),
                needed: self.dimension,
            });
        }
        for (index, &mass) in self.masses.iter().enumerate() {
            positive("masses", index, mass)?;
        }
        for (index, &value) in self.gravity.iter().enumerate() {
            require(value.is_finite(), "gravity", index, value, "finite")?;
        }
        not_negative("mass_damping", 0, self.mass_damping)?;
        self.springs.iter().enumerate().try_for_each(|(index, spring)| self.check(index, spring))
    }

    fn check(&self, index: usize, spring: &Spring) -> Result<(), NetworkError> {
        for end in spring.ends {
            let (kind, at, count) = match end {
                End::Mass(at) => ("mass", at, self.masses.len()),
                End::Handle(at) => ("handle", at, self.n_handles),
            };
            if at >= count {
                return Err(NetworkError::EndOutOfRange { spring: index, kind, index: at, count });
            }
        }
        match spring.ends {
            [a, b] if a == b => return Err(NetworkError::SelfJoined { spring: index }),
            [End::Handle(_), End::Handle(_)] => {
                return Err(NetworkError::HandlesJoined { spring: index });
            }
            _ => {}
        }
        positive("stiffness", index, spring.stiffness)?;
        not_negative("rest_length", index, spring.rest_length)?;
        not_negative("damping", index, spring.damping)?;
        if spring.rest_length == 0.0 {
            // A dashpot along a spring that may pass through length 0 has a kink there.
            let needed = "0 for a spring of rest length 0";
            require(spring.damping == 0.0, "damping", index, spring.damping, needed)?;
        }
        if let Law::Unilateral { smoothing } = spring.law {
            positive("smoothing", index, smoothing)?;
            // Then the force is zero at length 0, where the spring has no direction.
            let needed = "at most the rest length";
            require(smoothing <= spring.rest_length, "smoothing", index, smoothing, needed)?;
        }
        Ok(())
    }
}

fn require(
    fits: bool,
    what: &'static str,
    index: usize,
    value: f64,
    needed: &'static str,
) -> Result<(), NetworkError> {
    if fits { Ok(()) } else { Err(NetworkError::Parameter { what, index, value, needed }) }
}

pub(super) fn positive(what: &'static str, index: usize, value: f64) -> Result<(), NetworkError> {
    require(value.is_finite() && value > 0.0, what, index, value, "positive and finite")
}

fn not_negative(what: &'static str, index: usize, value: f64) -> Result<(), NetworkError> {
    require(value.is_finite() && value >= 0.0, what, index, value, "finite and not negative")
}

pub(super) fn check_slice(
    what: &'static str,
    values: &[f64],
    needed: usize,
) -> Result<(), NetworkError> {
    if values.len() != needed {
        return Err(NetworkError::Length { what, found: values.len(), needed });
    }
    values
        .iter()
        .enumerate()
        .try_for_each(|(index, &value)| require(value.is_finite(), what, index, value, "finite"))
}
