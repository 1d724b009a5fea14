//! Value functions that are trained on values, gradients and Hessians, and end an optimal-control
//! problem.
//!
//! A [`ValueNetwork`] is a perceptron with a [`Head`] and its scalings.
//! [`ValueNetwork::sobolev_gradient`] differentiates the loss on its derivatives by the parameters,
//! [`ValueNetwork::fit`] trains on a data set, [`NeuralTerminalCost`] gives the network to a solver,
//! [`ValueNetwork::save`] and [`ValueNetwork::load`] keep it in one file.
//!
//! Everything here runs on this crate's own kernels, whatever the backend of the process is.

mod file;
mod fit;
mod head;
mod loss;
mod network;
mod second_order;
mod second_order_passes;
mod terminal;

pub use fit::{FitEpoch, FitReport, FitSettings, FitStop, ValueData};
pub use head::Head;
pub use loss::{HessianTargets, SobolevErrors, SobolevTargets, SobolevWeights, SobolevWorkspace};
pub use network::{Scaling, ValueNetwork, ValueSpec, ValueWorkspace};
pub use terminal::{NeuralTerminalCost, TerminalWorkspace};
