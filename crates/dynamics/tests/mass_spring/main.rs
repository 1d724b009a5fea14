//! Mass-spring networks: descriptions, steps against analytic cases, derivatives against independent
//! sources.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod defaults;
mod derivatives;
mod description;
mod networks;
mod periods;
mod residual;
mod steps;
