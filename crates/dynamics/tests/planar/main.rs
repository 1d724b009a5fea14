//! Planar mechanisms: equations against an independent formulation, conservation laws, exact
//! Jacobians on every branch.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod conservation;
mod derivatives;
mod models;
mod textbook;

use dynamics::models::{HalfCheetahParameters, HopperParameters};
use dynamics::planar::PlanarTree;
use dynamics::{Plant, Stream};
use nalgebra::DVector;

const DT: f64 = 1.0 / 60.0;

fn roll<const N: usize>(
    model: &PlanarTree<N>,
    x0: &DVector<f64>,
    us: &[DVector<f64>],
) -> DVector<f64> {
    let mut ws = model.workspace();
    let (mut x, mut x_next) = (x0.clone(), x0.clone());
    for u in us {
        model.step(&mut ws, &x, u, &mut x_next).unwrap();
        std::mem::swap(&mut x, &mut x_next);
    }
    x
}

/// A random state and action; low ones are in contact.
fn random_point(
    n: usize,
    stream: &mut Stream,
    low: bool,
    z: [f64; 2],
) -> (DVector<f64>, DVector<f64>) {
    let mut x = DVector::from_fn(2 * n, |i, _| match i {
        0 => stream.uniform(-2.0, 2.0),
        2 => stream.uniform(-0.6, 0.6),
        i if i < n => stream.uniform(-1.2, 0.9),
        i if i < n + 2 => stream.uniform(-2.0, 2.0),
        _ => stream.uniform(-6.0, 6.0),
    });
    x[1] = if low { stream.uniform(z[0], z[1]) } else { stream.uniform(1.0, 2.0) };
    (x, DVector::from_fn(n - 3, |_, _| stream.uniform(-1.3, 1.3)))
}

fn hoppers() -> Vec<PlanarTree<6>> {
    [HopperParameters::nominal(), HopperParameters::real()].map(|p| p.model(DT).unwrap()).to_vec()
}

fn cheetahs() -> Vec<PlanarTree<9>> {
    [HalfCheetahParameters::nominal(), HalfCheetahParameters::real()]
        .map(|p| p.model(DT).unwrap())
        .to_vec()
}

/// Counts which contact branches a set of points visits: sticking, sliding forwards, sliding
/// backwards, approaching; and joint limits.
#[derive(Default, Debug)]
struct Seen {
    stick: usize,
    forwards: usize,
    backwards: usize,
    approach: usize,
    limit: usize,
}

impl Seen {
    fn note<const N: usize>(&mut self, model: &PlanarTree<N>, x: &DVector<f64>, u: &DVector<f64>) {
        let branches = model.branches(x, u);
        let (clips, substeps) = branches.split_at(N - 3);
        assert_eq!(clips.len(), u.len());
        let n_points = model.clearances(x).len();
        for substep in substeps.chunks(N - 3 + n_points) {
            let (limits, contacts) = substep.split_at(N - 3);
            self.limit += limits.iter().filter(|b| **b != 0).count();
            for b in contacts.iter().filter(|b| **b != 0) {
                self.approach += usize::from((b - 1) & 8 != 0);
                match (b - 1) & 7 {
                    0 => self.stick += 1,
                    2 => self.forwards += 1,
                    _ => self.backwards += 1,
                }
            }
        }
    }

    fn all(&self) -> bool {
        [self.stick, self.forwards, self.backwards, self.approach, self.limit]
            .iter()
            .all(|n| *n > 20)
    }
}
