//! Differential dynamic programming.

mod backward_pass;
mod box_qp;
mod forward_pass;
mod kernels;
pub mod lqr;
mod problem;
mod regularization;
mod serde_lists;
mod settings;
mod solution;
mod solver;
mod trajectory;

pub use problem::{DdpError, Problem};
pub use settings::{Method, Settings};
pub use solution::{FeedbackPolicy, IterationRow, Solution, Status};
pub use solver::{Guess, Solver};
