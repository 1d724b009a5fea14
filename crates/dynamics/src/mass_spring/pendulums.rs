//! Chains that hang from one handle: pendulums and ropes.

use super::law::Law;
use super::network::{End, NetworkError, NetworkSpec, Spring, check_slice, positive};

/// Standard gravity as the tasks have it [m/s²].
pub const GRAVITY: f64 = 9.81;

/// One link of a chain: a spring and the mass at its lower end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Rest length L (m).
    pub length: f64,
    /// Mass at its lower end (kg).
    pub mass: f64,
    /// Stiffness k [N/m].
    pub stiffness: f64,
    /// Law of the spring.
    pub law: Law,
}

impl Link {
    /// The link of the pendulum tasks: 0.5 m, 1 kg, 10 kN/m, bilateral.
    #[must_use]
    pub fn pendulum() -> Self {
        Self { length: 0.5, mass: 1.0, stiffness: 1e4, law: Law::Bilateral }
    }

    /// Stretch ℓ − L at which the spring pulls with `tension` > 0 (N).
    fn stretch(&self, tension: f64) -> f64 {
        match self.law {
            Law::Bilateral => tension / self.stiffness,
            Law::Unilateral { smoothing: e } => {
                let linear = tension / self.stiffness;
                if linear > 0.5 * e { linear - 0.5 * e } else { (2.0 * e * linear).sqrt() - e }
            }
        }
    }
}

/// A chain from a handle downwards, in `dimension` 2 (gravity along −y) or 3 (along −z).
#[must_use]
pub fn pendulum(dimension: usize, links: &[Link]) -> NetworkSpec {
    let end = |index: usize| match index {
        0 => End::Handle(0),
        _ => End::Mass(index - 1),
    };
    let springs = links
        .iter()
        .enumerate()
        .map(|(i, link)| Spring {
            ends: [end(i), end(i + 1)],
            stiffness: link.stiffness,
            rest_length: link.length,
            law: link.law,
            damping: 0.0,
        })
        .collect();
    let mut gravity = vec![0.0; dimension];
    if let Some(vertical) = gravity.last_mut() {
        *vertical = -GRAVITY;
    }
    let masses = links.iter().map(|link| link.mass).collect();
    NetworkSpec { dimension, masses, n_handles: 1, springs, mass_damping: 0.0, gravity }
}

/// Positions and velocities of a chain that starts in axial balance.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainStart {
    /// Positions of the masses, stacked (m).
    pub x: Vec<f64>,
    /// Their velocities, stacked [m/s].
    pub v: Vec<f64>,
}

/// A chain whose links point along the unit vectors `directions` (stacked, seen from the handle at
/// `p`), each lower end moving with the stacked `velocities` relative to its upper end.
///
/// Each spring is stretched by the tension M (g·d + |v|²/ℓ), with d the direction, M the mass that
/// hangs from it and v its relative velocity: exact for one link. Where that would be a push, the
/// spring has its rest length.
///
/// # Errors
/// [`NetworkError::Length`] or [`NetworkError::Parameter`] for a vector of the wrong length or
/// numbers that are not finite, or a link that is not positive.
pub fn chain_start(
    dimension: usize,
    links: &[Link],
    p: &[f64],
    directions: &[f64],
    velocities: &[f64],
) -> Result<ChainStart, NetworkError> {
    let n = dimension * links.len();
    check_slice("p", p, dimension)?;
    check_slice("directions", directions, n)?;
    check_slice("velocities", velocities, n)?;
    let (mut x, mut v) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let (mut at, mut speed) = (p.to_vec(), vec![0.0; dimension]);
    let parts = directions.chunks_exact(dimension).zip(velocities.chunks_exact(dimension));
    for (i, (link, (direction, velocity))) in links.iter().zip(parts).enumerate() {
        positive("length", i, link.length)?;
        positive("mass", i, link.mass)?;
        positive("stiffness", i, link.stiffness)?;
        let hanging: f64 = links[i..].iter().map(|link| link.mass).sum();
        let along = -GRAVITY * direction[dimension - 1];
        let square: f64 = velocity.iter().map(|v| v * v).sum();
        let mut length = link.length;
        // ℓ stands on both sides; the stretch is small, so the iteration settles at once.
        for _ in 0..20 {
            let tension = hanging * (along + square / length);
            length = link.length + if tension > 0.0 { link.stretch(tension) } else { 0.0 };
        }
        for k in 0..dimension {
            at[k] += length * direction[k];
            speed[k] += velocity[k];
        }
        x.extend_from_slice(&at);
        v.extend_from_slice(&speed);
    }
    Ok(ChainStart { x, v })
}

/// Positions of a chain at rest below the handle at `p`, static stretch included.
///
/// # Errors
/// As [`chain_start`].
pub fn hanging(dimension: usize, links: &[Link], p: &[f64]) -> Result<Vec<f64>, NetworkError> {
    let mut directions = vec![0.0; dimension * links.len()];
    for direction in directions.chunks_exact_mut(dimension) {
        if let Some(vertical) = direction.last_mut() {
            *vertical = -1.0;
        }
    }
    let at_rest = vec![0.0; directions.len()];
    Ok(chain_start(dimension, links, p, &directions, &at_rest)?.x)
}
