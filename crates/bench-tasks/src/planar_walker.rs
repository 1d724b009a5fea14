//! What hopper and half-cheetah share: an observation without the root's position, and points for
//! derivative checks.

use dynamics::check::RICHARDSON_STEP;
use dynamics::planar::PlanarTree;
use dynamics::{Observation, ObservationJacobian, Stream};
use nalgebra::{DMatrix, DVector};

use crate::TaskError;

/// The state without its first entry.
pub(crate) struct WithoutRootX;

impl Observation for WithoutRootX {
    fn n_observations(&self, nx: usize) -> usize {
        nx - 1
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        o.copy_from_slice(&x.as_slice()[1..]);
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for WithoutRootX {
    fn linearize(&self, _x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        ox.fill(0.0);
        ox.view_mut((0, 1), (ox.nrows(), ox.nrows())).fill_with_identity();
    }
}

/// An episode needs a step.
pub(crate) fn check_horizon(task: &'static str, horizon: usize) -> Result<(), TaskError> {
    match horizon {
        0 => Err(TaskError::Setting { task, key: "horizon", value: 0.0, needed: "at least 1" }),
        _ => Ok(()),
    }
}

/// Names of [q, q̇] with units, for the given names of joints.
pub(crate) fn state_names(joints: &[&str]) -> Vec<String> {
    let positions = ["x [m]", "z [m]", "θ [rad]"].map(String::from);
    let rates = ["ẋ [m/s]", "ż [m/s]", "θ̇ [rad/s]"].map(String::from);
    let joint = |suffix| joints.iter().map(move |name| format!("{name} [{suffix}]"));
    positions.into_iter().chain(joint("rad")).chain(rates).chain(joint("rad/s")).collect()
}

/// Heights z of the root at which checked points lie.
pub(crate) struct Heights {
    /// Well above ground.
    pub(crate) flight: [f64; 2],
    /// Some feet in the ground.
    pub(crate) ground: [f64; 2],
}

/// Points at which all models are smooth: two in flight at rest with all joints at `bent`, inside and
/// outside the clip of the actions, then random ones, half of them tried near the ground first.
pub(crate) fn check_points<const N: usize>(
    models: &[&PlanarTree<N>],
    stream: &mut Stream,
    n: usize,
    bent: f64,
    heights: &Heights,
) -> Vec<(DVector<f64>, DVector<f64>)> {
    let mut rest = DVector::zeros(2 * N);
    rest[1] = heights.flight[0];
    rest.rows_mut(3, N - 3).fill(bent);
    let mut points: Vec<_> = [0.0, 1.5].map(|u| (rest.clone(), DVector::repeat(N - 3, u))).to_vec();
    while points.len() < n {
        let near_ground = points.len() % 2 == 0;
        let attempt = |k: usize| {
            let [low, high] =
                if near_ground && k < MAX_ATTEMPTS { heights.ground } else { heights.flight };
            random_point::<N>(stream, [low, high])
        };
        let is_smooth = |(x, u): &(DVector<f64>, DVector<f64>)| {
            models.iter().all(|model| is_smooth(model, x, u))
        };
        points.extend((0..).map(attempt).find(is_smooth));
    }
    points.truncate(n);
    points
}

/// Tries near the ground before a point in flight is taken instead: there many switches change
/// within a step.
const MAX_ATTEMPTS: usize = 100;

fn random_point<const N: usize>(
    stream: &mut Stream,
    [low, high]: [f64; 2],
) -> (DVector<f64>, DVector<f64>) {
    let mut x = DVector::from_fn(2 * N, |i, _| match i {
        0 | 1 => stream.uniform(-1.0, 1.0),
        2 => stream.uniform(-0.5, 0.5),
        i if i < N => stream.uniform(-1.0, 0.8),
        _ => stream.uniform(-2.0, 2.0),
    });
    x[1] = stream.uniform(low, high);
    (x, DVector::from_fn(N - 3, |_, _| stream.uniform(-1.2, 1.2)))
}

/// Whether no switch of the model changes within twice the reach of central differences.
fn is_smooth<const N: usize>(model: &PlanarTree<N>, x: &DVector<f64>, u: &DVector<f64>) -> bool {
    let here = model.branches(x, u);
    (0..3 * N - 3).all(|i| {
        [-2.0, -1.0, 1.0, 2.0].into_iter().all(|factor| {
            let (mut x, mut u) = (x.clone(), u.clone());
            let entry = if i < 2 * N { &mut x[i] } else { &mut u[i - 2 * N] };
            *entry += factor * RICHARDSON_STEP * entry.abs().max(1.0);
            model.branches(&x, &u) == here
        })
    })
}
