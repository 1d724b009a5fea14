//! Linear-quadratic regulators.
