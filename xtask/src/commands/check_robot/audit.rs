//! The derivatives of a robot's dynamics against identities and differences.

use anyhow::{Context as _, Result};
use dynamics::Stream;
use dynamics::rigid_body::{Model, Workspace};
use nalgebra::{DMatrix, DVector};
use serde::Serialize;

use crate::commands::robot::ensure_invertible;

/// Largest relative error of everything that is checked.
pub(super) const TOLERANCE: f64 = 1e-6;
/// Steps of the differences; each column takes the best of them.
const STEPS: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// The largest error of one check.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// What is compared with what.
    pub(super) check: &'static str,
    /// Largest |a − b| / max(1, ‖b‖∞) over all points; absent if an entry is not finite, which is a
    /// failure.
    pub(super) error: Option<f64>,
    /// Index of the point where it is.
    pub(super) point: usize,
}

impl Row {
    pub(super) fn is_ok(&self) -> bool {
        self.error.is_some_and(|error| error <= TOLERANCE)
    }
}

/// The worst errors at `n_points` random states, and the largest condition number of a mass matrix.
#[derive(Debug, Serialize)]
pub(super) struct Audit {
    pub(super) points: usize,
    pub(super) seed: u64,
    pub(super) tolerance: f64,
    /// Of the mass matrix with ones on its diagonal, so that units do not matter.
    pub(super) condition: f64,
    pub(super) rows: Vec<Row>,
    pub(super) passed: bool,
}

/// One random state, its accelerations drawn and the joint forces from them, so that they suit a
/// robot of any size.
struct Point {
    q: DVector<f64>,
    v: DVector<f64>,
    a: DVector<f64>,
    tau: DVector<f64>,
}

/// Checks forward and inverse dynamics of `model`, without what acts in its joints, at states drawn
/// from `seed`.
///
/// # Errors
/// A mass matrix that cannot be inverted.
pub(super) fn audit(model: &Model, n_points: usize, seed: u64) -> Result<Audit> {
    let mut rows = Vec::new();
    let mut condition = 1.0_f64;
    let mut ws = model.workspace();
    for index in 0..n_points {
        let point = sample(model, &mut ws, seed, index as u64);
        let mut mass = DMatrix::zeros(model.nv(), model.nv());
        model.mass_matrix(&mut ws, &point.q, &mut mass);
        ensure_invertible(model, &mass)
            .with_context(|| format!("no derivatives at random state {index}"))?;
        condition = condition.max(condition_of(&mass));
        let errors = check_point(model, &mut ws, &point, &mass);
        for (i, (check, error)) in errors.into_iter().enumerate() {
            if rows.len() == i {
                rows.push(Row { check, error: Some(0.0), point: 0 });
            }
            add(&mut rows[i], error, index);
        }
    }
    let passed = rows.iter().all(Row::is_ok);
    Ok(Audit { points: n_points, seed, tolerance: TOLERANCE, condition, rows, passed })
}

/// Keeps the worse; what is not finite is the worst.
fn add(row: &mut Row, error: f64, point: usize) {
    let Some(worst) = row.error else { return };
    if !error.is_finite() {
        (row.error, row.point) = (None, point);
    } else if error > worst {
        (row.error, row.point) = (Some(error), point);
    }
}

fn sample(model: &Model, ws: &mut Workspace, seed: u64, index: u64) -> Point {
    let mut stream = Stream::new(seed, "check-robot-points", index);
    let q = model.random_configuration(&mut stream);
    let mut normal = || DVector::from_fn(model.nv(), |_, _| stream.normal());
    let (v, a) = (normal(), normal());
    let mut tau = DVector::zeros(model.nv());
    model.rnea(ws, &q, &v, &a, &mut tau);
    Point { q, v, a, tau }
}

/// Names and errors of all checks at one point, in the order of the table.
fn check_point(
    model: &Model,
    ws: &mut Workspace,
    point: &Point,
    mass: &DMatrix<f64>,
) -> [(&'static str, f64); 8] {
    let Point { q, v, a, tau } = point;
    let nv = model.nv();
    let mut qdd = DVector::zeros(nv);
    model.aba(ws, q, v, tau, &mut qdd);
    let mut bias = DVector::zeros(nv);
    model.rnea(ws, q, v, &DVector::zeros(nv), &mut bias);
    let forces = mass * a + bias;

    model.aba_derivatives(ws, q, v, tau);
    let by_q = ws.dqdd_dq().clone_owned();
    let by_v = ws.dqdd_dv().clone_owned();
    let by_tau = ws.dqdd_dtau().clone_owned();
    model.rnea_derivatives(ws, q, v, &qdd);
    let (rnea_q, rnea_v) = (ws.dtau_dq().clone_owned(), ws.dtau_dv().clone_owned());

    let mut moved = q.clone();
    let differences_q = differentiate(nv, |d, out| {
        model.integrate(q, d, &mut moved);
        model.aba(ws, &moved, v, tau, out);
    });
    let differences_v = differentiate(nv, |d, out| model.aba(ws, q, &(v + d), tau, out));
    let differences_tau = differentiate(nv, |d, out| model.aba(ws, q, v, &(tau + d), out));
    [
        ("aba(rnea(q̈)) = q̈", error(qdd.as_slice(), a.as_slice())),
        ("M q̈ + bias = rnea(q̈)", error(forces.as_slice(), tau.as_slice())),
        ("M ∂q̈/∂τ = 1", error_of(&(mass * &by_tau), &DMatrix::identity(nv, nv))),
        ("M ∂q̈/∂q = −∂rnea/∂q", error_of(&(mass * &by_q), &-rnea_q)),
        ("M ∂q̈/∂v = −∂rnea/∂v", error_of(&(mass * &by_v), &-rnea_v)),
        ("∂q̈/∂q by differences", error_of(&by_q, &differences_q)),
        ("∂q̈/∂v by differences", error_of(&by_v, &differences_v)),
        ("∂q̈/∂τ by differences", error_of(&by_tau, &differences_tau)),
    ]
}

/// Derivatives of f(δ) by δ at 0: central differences with one step of Richardson's extrapolation.
fn differentiate(nv: usize, mut f: impl FnMut(&DVector<f64>, &mut DVector<f64>)) -> DMatrix<f64> {
    let mut out = DMatrix::zeros(nv, nv);
    let (mut d, mut above, mut below) =
        (DVector::zeros(nv), DVector::zeros(nv), DVector::zeros(nv));
    for column in 0..nv {
        let mut slope = |h: f64| {
            d[column] = h;
            f(&d, &mut above);
            d[column] = -h;
            f(&d, &mut below);
            d[column] = 0.0;
            (&above - &below) / (2.0 * h)
        };
        let mut best = f64::INFINITY;
        for h in STEPS {
            let (coarse, fine) = (slope(h), slope(h / 2.0));
            // What the extrapolation changes tells how good it is.
            let correction = (&fine - coarse) / 3.0;
            let change = correction.amax();
            if change < best {
                best = change;
                out.set_column(column, &(fine + correction));
            }
        }
        if best == f64::INFINITY {
            out.column_mut(column).fill(f64::NAN);
        }
    }
    out
}

/// |a − b| / max(1, ‖b‖∞); NaN if an entry is.
fn error(a: &[f64], b: &[f64]) -> f64 {
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0, |max: f64, x| if x.is_nan() || x > max { x } else { max })
    };
    let difference = largest(&mut a.iter().zip(b).map(|(a, b)| (a - b).abs()));
    difference / largest(&mut b.iter().map(|b| b.abs())).max(1.0)
}

fn error_of(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    error(a.as_slice(), b.as_slice())
}

fn condition_of(mass: &DMatrix<f64>) -> f64 {
    let scale = mass.diagonal().map(f64::sqrt);
    let n = mass.nrows();
    let scaled = DMatrix::from_fn(n, n, |i, j| mass[(i, j)] / (scale[i] * scale[j]));
    let moments = scaled.symmetric_eigenvalues();
    moments.max() / moments.min().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynamics::models::iiwa14;
    use dynamics::rigid_body::Base;
    use nalgebra::dvector;

    #[test]
    fn a_sound_arm_passes_and_the_seed_decides() {
        let model = Model::new(&iiwa14(), Base::Fixed).unwrap();
        let first = audit(&model, 5, 1).unwrap();
        assert!(first.passed, "{first:?}");
        assert!(first.rows.iter().all(|row| row.error.unwrap() > 0.0), "{first:?}");
        let errors = |audit: &Audit| audit.rows.iter().map(|r| r.error).collect::<Vec<_>>();
        assert_eq!(errors(&first), errors(&audit(&model, 5, 1).unwrap()));
        assert_ne!(errors(&first), errors(&audit(&model, 5, 2).unwrap()));
    }

    #[test]
    fn a_free_base_without_mass_is_singular() {
        // Turning the base about the first joint's axis moves what the joint moves.
        let model = Model::new(&iiwa14(), Base::Floating).unwrap();
        let message = format!("{:#}", audit(&model, 5, 1).unwrap_err());
        assert!(message.starts_with("no derivatives at random state 0: "), "{message}");
        assert!(message.contains("the mass matrix is singular here: joint `"), "{message}");
    }

    #[test]
    fn differences_find_slopes_to_ten_digits() {
        let found = differentiate(2, |d, out| {
            out[0] = (3.0 * d[0]).sin() + d[1];
            out[1] = (1.0 + d[0] + 2.0 * d[1]).exp();
        });
        let e = std::f64::consts::E;
        let expected = DMatrix::from_row_slice(2, 2, &[3.0, 1.0, e, 2.0 * e]);
        assert!((found - expected).amax() < 1e-9);
    }

    #[test]
    fn what_is_not_finite_fails_for_good() {
        assert!(error(&[1.0, f64::NAN], &[1.0, 0.0]).is_nan());
        assert_eq!(error(&[3.0, 0.0], &[2.0, 4.0]), 1.0);
        let mut row = Row { check: "", error: Some(0.0), point: 0 };
        add(&mut row, 1e-9, 1);
        assert!(row.is_ok());
        add(&mut row, f64::NAN, 2);
        add(&mut row, 1.0, 3);
        assert!(!row.is_ok() && row.error.is_none() && row.point == 2);
        let infinite = differentiate(1, |d, out| out.copy_from(&dvector![1.0 / (d[0] - d[0])]));
        assert!(infinite[0].is_nan());
    }
}
