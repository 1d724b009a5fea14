//! Rows about hopper and half-cheetah: a control step of 16 substeps, and its Jacobians.

use std::hint::black_box;

use anyhow::{Result, ensure};
use dynamics::models::{HalfCheetahParameters, HopperParameters};
use dynamics::planar::PlanarTree;
use dynamics::{Dynamics, FiniteDifference, Linearization, Plant, Stream};
use nalgebra::DVector;

use super::case::{Case, Source, Unit, Work};

/// Seconds of a control step.
const DT: f64 = 1.0 / 60.0;
/// States that the calls of a row take in turn.
const N_STATES: usize = 16;
/// Control steps from the start of a fall to its last state.
const FALL: usize = 40;

/// A planar model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planar {
    /// The hopper.
    Hopper,
    /// The half-cheetah.
    HalfCheetah,
}

impl Planar {
    /// How names of rows begin.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hopper => "hopper",
            Self::HalfCheetah => "halfcheetah",
        }
    }
}

/// What a call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The control step.
    Step,
    /// Its exact Jacobians.
    Jacobians,
    /// Its Jacobians by central differences.
    Differences,
}

impl Stage {
    /// All in the order of the table.
    pub(super) const ALL: [Self; 3] = [Self::Step, Self::Jacobians, Self::Differences];

    /// How names of rows end.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Jacobians => "jacobians",
            Self::Differences => "differences",
        }
    }

    /// How readers call it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Step => "a control step of 16 substeps, in flight and on the ground",
            Self::Jacobians => "its exact Jacobians",
            Self::Differences => "its Jacobians by central differences",
        }
    }
}

/// Calls at states of falls, before and after the ground is touched, in turn.
///
/// # Errors
/// A model that cannot be built or stepped.
pub(super) fn case(name: &str, model: Planar, stage: Stage) -> Result<Case<'static>> {
    match model {
        Planar::Hopper => of(name, HopperParameters::nominal().model(DT)?, stage),
        Planar::HalfCheetah => of(name, HalfCheetahParameters::nominal().model(DT)?, stage),
    }
}

fn of<const N: usize>(name: &str, model: PlanarTree<N>, stage: Stage) -> Result<Case<'static>> {
    let points = points(&model)?;
    let work: Work<'static> = match stage {
        Stage::Step => {
            let (mut ws, mut x_next) = (model.workspace(), DVector::zeros(model.nx()));
            Box::new(move |calls| {
                for (x, u) in points.iter().cycle().take(calls) {
                    model.step(&mut ws, black_box(x), u, &mut x_next)?;
                    black_box(&mut x_next);
                }
                Ok(())
            })
        }
        Stage::Jacobians => linearizing(model, points),
        Stage::Differences => linearizing(FiniteDifference::new(model)?, points),
    };
    Ok(Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::Microseconds,
        flops: None,
        updates_per_step: None,
        source: Source::timed(N_STATES, N_STATES, work),
    })
}

type Point = (DVector<f64>, DVector<f64>);

fn linearizing<M: Dynamics + 'static>(model: M, points: Vec<Point>) -> Work<'static> {
    let (mut ws, mut out) = (model.workspace(), Linearization::of(&model));
    Box::new(move |calls| {
        for (x, u) in points.iter().cycle().take(calls) {
            model.linearize(&mut ws, black_box(x), u, &mut out)?;
            black_box(&mut out);
        }
        Ok(())
    })
}

/// States and actions: falls from a little above the ground under random actions, of which states
/// are taken early and late in turn.
fn points<const N: usize>(model: &PlanarTree<N>) -> Result<Vec<Point>> {
    let mut stream = Stream::new(0, "bench falls", 0);
    let mut ws = model.workspace();
    let mut points = Vec::with_capacity(N_STATES);
    for i in 0..N_STATES {
        let mut x = DVector::from_fn(2 * N, |_, _| 0.05 * stream.normal());
        x[1] = 0.3;
        let mut u = DVector::zeros(model.nu());
        let mut x_next = x.clone();
        let steps = if i % 2 == 0 { 1 } else { FALL };
        for _ in 0..steps {
            u.iter_mut().for_each(|u| *u = stream.uniform(-1.0, 1.0));
            model.step(&mut ws, &x, &u, &mut x_next)?;
            std::mem::swap(&mut x, &mut x_next);
        }
        ensure!(x.iter().all(|entry| entry.is_finite()), "a fall of `{}` diverged", model.name());
        points.push((x, u));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below<const N: usize>(model: &PlanarTree<N>, height: f64) -> usize {
        points(model).unwrap().iter().filter(|(x, _)| x[1] < height).count()
    }

    #[test]
    fn half_of_the_states_are_in_flight() {
        // Both stand at z ≈ 0 with the joints at 0. Without the ground, a fall of 40 steps would end
        // below −1.4 m.
        let hopper = HopperParameters::nominal().model(DT).unwrap();
        let cheetah = HalfCheetahParameters::nominal().model(DT).unwrap();
        assert_eq!(below(&hopper, 0.2), N_STATES / 2);
        assert_eq!(below(&cheetah, 0.2), N_STATES / 2);
        for (x, _) in points(&hopper).unwrap() {
            assert!(x[1] > -1.4, "the ground holds the hopper at {}", x[1]);
        }
    }
}
