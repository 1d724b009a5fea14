//! Differential dynamic programming.

mod lqr;
