//! critics
