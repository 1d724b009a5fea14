//! Differential dynamic programming.

mod backward_pass;
mod batch;
mod box_qp;
mod forward_pass;
mod kernels;
pub mod lqr;
mod mpc;
mod problem;
mod regularization;
mod serde_lists;
mod settings;
mod solution;
mod solver;
mod trajectory;

pub use batch::solve_batch;
pub use mpc::{ClosedLoop, Mpc, MpcSettings, Tick, TickSchedule};
pub use problem::{DdpError, Problem};
pub use settings::{Method, Settings};
pub use solution::{FeedbackPolicy, IterationRow, Solution, Status};
pub use solver::{Guess, Solver};
