//! What `solve` prints.

use ddp::{IterationRow, Method, Solution, Status};
use nalgebra::{DMatrix, DVector};
use serde::Serialize;

/// A solution in short; the contracts fix the names. Numbers that are not finite become null.
#[derive(Clone, Serialize)]
pub(super) struct Answer<'a> {
    task: &'a str,
    solver: Method,
    status: &'static str,
    /// Where a number that is not finite arose.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<usize>,
    /// As Crocoddyl counts them: the first pass is 0.
    iterations: usize,
    cost: f64,
    /// One of many starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    x0: Option<&'a [f64]>,
    u0: &'a [f64],
    v0: f64,
    /// Gradient of the value at the start in the tangent there; with a gap at the start behind it.
    vx0: &'a [f64],
    /// Its Hessian, a list of rows.
    vxx0: Vec<Vec<f64>>,
    x_final: &'a [f64],
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// Whether the states follow from the controls.
    feasible: bool,
    #[serde(flatten)]
    full: Option<Trajectory<'a>>,
}

/// Everything about every node; matrices are lists of rows. With it, the answer reads as a
/// [`Solution`].
#[derive(Clone, Serialize)]
struct Trajectory<'a> {
    method: Method,
    discount: f64,
    regularization: f64,
    xs: Vec<&'a [f64]>,
    us: Vec<&'a [f64]>,
    k: Vec<&'a [f64]>,
    gains: Vec<Vec<Vec<f64>>>,
    v: &'a [f64],
    vx: Vec<&'a [f64]>,
    vxx: Vec<Vec<Vec<f64>>>,
    gaps: Vec<&'a [f64]>,
    multipliers: Vec<&'a [f64]>,
    last_vx0: &'a [f64],
    last_vxx0: Vec<Vec<f64>>,
    log: &'a [IterationRow],
}

impl<'a> Answer<'a> {
    /// Of a solution that has one step at least, as all have.
    pub(super) fn new(task: &'a str, solution: &'a Solution) -> Self {
        let Solution { xs, us, v, vxx, multipliers, .. } = solution;
        Self {
            task,
            solver: solution.method,
            status: solution.status.name(),
            node: match solution.status {
                Status::NotFinite { node } => Some(node),
                _ => None,
            },
            iterations: solution.iterations,
            cost: solution.cost,
            x0: None,
            u0: us[0].as_slice(),
            v0: v[0],
            vx0: multipliers[0].as_slice(),
            vxx0: rows(&vxx[0]),
            x_final: xs[us.len()].as_slice(),
            seconds: None,
            feasible: solution.feasible,
            full: None,
        }
    }

    /// With the time that the solve took.
    pub(super) fn timed(self, seconds: f64) -> Self {
        Self { seconds: Some(seconds), ..self }
    }

    /// With the start, which tells the lines of a batch apart.
    pub(super) fn from(self, x0: &'a DVector<f64>) -> Self {
        Self { x0: Some(x0.as_slice()), ..self }
    }

    /// With everything about every node of the same solution.
    pub(super) fn full(self, solution: &'a Solution) -> Self {
        let full = Trajectory {
            method: solution.method,
            discount: solution.discount,
            regularization: solution.regularization,
            xs: vectors(&solution.xs),
            us: vectors(&solution.us),
            k: vectors(&solution.k),
            gains: solution.gains.iter().map(rows).collect(),
            v: &solution.v,
            vx: vectors(&solution.vx),
            vxx: solution.vxx.iter().map(rows).collect(),
            gaps: vectors(&solution.gaps),
            multipliers: vectors(&solution.multipliers),
            last_vx0: solution.last_vx0.as_slice(),
            last_vxx0: rows(&solution.last_vxx0),
            log: &solution.log,
        };
        Self { full: Some(full), ..self }
    }
}

fn vectors(list: &[DVector<f64>]) -> Vec<&[f64]> {
    list.iter().map(DVector::as_slice).collect()
}

fn rows(matrix: &DMatrix<f64>) -> Vec<Vec<f64>> {
    matrix.row_iter().map(|row| row.iter().copied().collect()).collect()
}
