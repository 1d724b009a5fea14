//! The policy gradient through a tracking controller: Westenbroek, Levy and Fridovich-Keil, "Enabling
//! Efficient, Reliable Real-World RL with Approximate Physics-Based Models" (CoRL 2023), also known as
//! "Feedback is All You Need".
//!
//! The plant is only sampled, never differentiated; the nominal model is only differentiated, never rolled
//! out. Along a recorded trajectory the costate goes back through the model's Jacobians *and the feedback of
//! the policy*: what the controller contracts, the estimator contracts too, so that neither bias nor
//! variance nor curvature grow exponentially with the horizon.
//!
//! A [`TrackingPolicy`] corrects the set points and gains of a task's [`Tracker`](dynamics::Tracker), a
//! [`Recording`] is a trajectory of the plant, [`TrackingGradient`] the estimator in both of its forms, and
//! [`TrackingLearner`](crate::TrackingLearner) the loop around them.

mod gradient;
mod policy;
mod recording;
mod settings;
mod statistics;

pub use gradient::{GradientReport, TrackingGradient};
pub use policy::{Corrections, TrackingFollower, TrackingPolicy};
pub use recording::Recording;
pub use settings::{Derivatives, Horizon, TrackingSettings, Windows};
pub use statistics::{GradientStatistics, return_hessian};
