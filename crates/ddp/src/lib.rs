//! Differential dynamic programming over any [`dynamics::Dynamics`] and [`dynamics::Cost`]: optimal
//! trajectories, feedback gains, and the value with its gradient and Hessian at every node.
//!
//! ```
//! use ddp::{Guess, Method, Problem, Settings, Solver, Status};
//! use dynamics::models::Unicycle;
//! use dynamics::{Euler, QuadraticCost};
//! use nalgebra::dvector;
//!
//! let model = Euler::new(Unicycle, 0.1)?;
//! let cost = QuadraticCost::new(vec![0.0; 3], vec![0.5; 3], vec![0.5; 2])?;
//! let problem = Problem::new(&model, &cost, &cost, 50);
//! let mut solver = Solver::new(problem, Method::Fddp, Settings::default())?;
//! let solution = solver.solve(&dvector![-1.0, -1.0, 1.0], Guess::Repeat(&dvector![0.0, 0.0]))?;
//! assert_eq!(solution.status, Status::Converged);
//! assert_eq!(solution.v[0], solution.cost); // vx[0]: 3, vxx[0]: 3 × 3, gains[0]: 2 × 3
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//! - A [`Problem`] is dynamics, costs, horizon, discount, control limits. A [`Solver`] solves it by one
//!   of five [`Method`]s with [`Settings`] from a [`Guess`]; [`solve_batch`] does so for many starts.
//! - A [`Solution`] has the trajectory, the [`Status`] with one [`IterationRow`] per iteration, and can
//!   be saved, warm-start the next solve, or run as a [`FeedbackPolicy`].
//! - [`Mpc`] replans at every tick without allocation.
//! - [`shooting`] has gradients, Hessians and steps of a cost by the controls of a roll-out, open loop
//!   or under a policy.
//! - [`lqr`] has the linear-quadratic regulators: finite and infinite horizon, discrete and
//!   continuous.
//!
//! # Conventions
//! - u = us + α k + K (x ⊖ xs): the opposite sign of Crocoddyl's k and K.
//! - `vx`, `vxx` and gains are in tangent coordinates of the states, `lux` is nu × ndx.
//! - Costs of later nodes are discounted; V of a node is in units of that node.
//! - The result depends neither on the number of threads nor on the instruction set: products are
//!   not fused with sums.

mod backward_pass;
mod batch;
mod box_qp;
mod forward_pass;
mod guess;
mod kernels;
pub mod lqr;
mod mpc;
mod problem;
mod refresh;
mod regularization;
mod serde_lists;
mod settings;
pub mod shooting;
mod solution;
mod solver;
mod trajectory;

pub use batch::solve_batch;
pub use guess::Guess;
pub use mpc::{ClosedLoop, Mpc, MpcSettings, Tick, TickSchedule};
pub use problem::{DdpError, Problem};
pub use settings::{Method, Settings};
pub use solution::{FeedbackPolicy, IterationRow, Solution, Status};
pub use solver::Solver;
