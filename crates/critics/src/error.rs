//! What can go wrong when networks, policies and optimisers are put together.

/// An error of this crate's networks, policies, losses and optimisers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CriticError {
    /// A specification without an input and an output, or with an empty layer.
    #[error(
        "layer sizes {sizes:?}: a network needs an input and an output size, and every size must \
         be at least 1"
    )]
    LayerSizes {
        /// Sizes as given: input, hidden layers, output.
        sizes: Vec<usize>,
    },
    /// More parameters than a network may have.
    #[error("layer sizes {sizes:?} make more than {limit} parameters; use smaller layers")]
    TooLarge {
        /// Sizes as given: input, hidden layers, output.
        sizes: Vec<usize>,
        /// Most parameters that are allowed.
        limit: usize,
    },
    /// A vector or matrix whose shape is not the one needed.
    #[error("{what} has shape {found:?}, needed is {needed:?}")]
    Shape {
        /// What was given, with its name in backticks.
        what: &'static str,
        /// Shape that was given.
        found: Vec<usize>,
        /// Shape that is needed.
        needed: Vec<usize>,
    },
    /// Output heads that do not add up to the output.
    #[error(
        "heads {heads:?} sum to {sum}, but the network has {n_out} outputs; give the size of every \
         head, or an empty slice for a single head"
    )]
    Heads {
        /// Sizes as given.
        heads: Vec<usize>,
        /// Their sum.
        sum: usize,
        /// Outputs of the network.
        n_out: usize,
    },
    /// An action range that is empty or not finite.
    #[error(
        "action {index} has the range [{low}, {high}]; both bounds must be finite and `low` below \
         `high`"
    )]
    ActionRange {
        /// Index of the action's component.
        index: usize,
        /// Lower bound as given.
        low: f64,
        /// Upper bound as given.
        high: f64,
    },
    /// A number that is not finite.
    #[error("{what} holds {value} at index {index}, where only finite numbers are allowed")]
    NotFinite {
        /// What was given, with its name in backticks.
        what: &'static str,
        /// Index of the first such number.
        index: usize,
        /// The number.
        value: f64,
    },
    /// A setting outside of its range.
    #[error("`{name}` is {found}; {needed}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What was given.
        found: f64,
        /// What is needed instead.
        needed: &'static str,
    },
    /// Training whose loss or parameters are no longer finite.
    #[error(
        "training diverged in epoch {epoch}: {what}; use a lower learning rate, or scale inputs and \
         values to the order of 1"
    )]
    Diverged {
        /// Epoch, from 0.
        epoch: usize,
        /// What was found.
        what: String,
    },
    /// An operation of candle failed.
    #[cfg(feature = "candle")]
    #[error("candle could not {operation}")]
    Candle {
        /// What was attempted.
        operation: &'static str,
        /// candle's own error.
        #[source]
        source: Box<candle_core::Error>,
    },
}

/// Refuses the first number of `values` that is not finite.
///
/// # Errors
///
/// [`CriticError::NotFinite`] with `what` and the number's index.
pub(crate) fn check_finite<T: crate::Real>(
    what: &'static str,
    values: &[T],
) -> Result<(), CriticError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(CriticError::NotFinite { what, index, value: values[index].to_f64() }),
    }
}

/// Refuses a vector that does not have `needed` components.
///
/// # Errors
///
/// [`CriticError::Shape`] with both lengths.
pub(crate) fn check_length(
    what: &'static str,
    found: usize,
    needed: usize,
) -> Result<(), CriticError> {
    if found == needed {
        Ok(())
    } else {
        Err(CriticError::Shape { what, found: vec![found], needed: vec![needed] })
    }
}
