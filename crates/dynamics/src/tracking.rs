//! What a tracking policy is made of beside its network: set points, the reference between them, and
//! the controller that follows it (Westenbroek, Levy and Fridovich-Keil, CoRL 2023, section 6).
//!
//! A policy of this kind decides once per *segment* of a few control steps. At its start the network sees
//! [features](Tracker::features) of the state and corrects the task's [set point](Tracker::set_point) at
//! the segment's end and the controller's gains. Until the next decision the
//! [controller](Tracker::control) follows a [reference](Tracker::reference) from the last corrected set
//! point to the new one. What it remembers is that set point: the policy is not a function of the state.

use nalgebra::{DMatrix, DVector};
use num_dual::Dual64;

use crate::continuous::Scalar;

/// Sizes and constants of a [`Tracker`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrackerShape {
    /// Entries of the features.
    pub n_features: usize,
    /// Entries of a set point.
    pub n_set_point: usize,
    /// Entries of the reference at a step.
    pub n_reference: usize,
    /// Control steps of a segment.
    pub segment: usize,
    /// Leading entries of the state that controller and model know of; what comes after them (lags,
    /// commands under way, clocks) moves by itself.
    pub n_tracked: usize,
    /// What a network's outputs within ±1 are multiplied by: corrections of the set point, then of the
    /// gains.
    pub scales: Vec<f64>,
    /// Gains without correction.
    pub gains: Vec<f64>,
}

impl TrackerShape {
    /// Outputs of the network: corrections of the set point, then of the gains.
    #[must_use]
    pub fn n_outputs(&self) -> usize {
        self.n_set_point + self.gains.len()
    }
}

/// Set points, reference and controller of a task.
pub trait Tracker: Send + Sync {
    /// Sizes and constants.
    fn shape(&self) -> &TrackerShape;
    /// Writes what the network sees at step `t` in state `x` (`n_features` entries).
    fn features(&self, t: usize, x: &DVector<f64>, z: &mut [f64]);
    /// Writes ∂z/∂x, `n_features` × nx.
    fn features_jacobian(&self, t: usize, x: &DVector<f64>, zx: &mut DMatrix<f64>);
    /// Writes the set point before the first segment (`n_set_point` entries); `x` starts the episode.
    fn start(&self, x: &DVector<f64>, s: &mut [f64]);
    /// Writes the task's set point for the end of the segment that begins at step `t` in state `x`. It may
    /// depend on clocks in the state, and on nothing that a policy moves.
    fn set_point(&self, t: usize, x: &DVector<f64>, s: &mut [f64]);
    /// Writes the reference (`n_reference` entries) at step `i` of a segment between two set points, which
    /// is linear in both.
    fn reference(&self, i: usize, before: &[f64], s: &[f64], sigma: &mut [f64]);
    /// Writes its derivatives by both set points, `n_reference` × `n_set_point` each.
    fn reference_jacobian(&self, i: usize, by_before: &mut DMatrix<f64>, by_s: &mut DMatrix<f64>);
    /// Writes the action for a state, a reference and gains.
    fn control(&self, x: &DVector<f64>, sigma: &[f64], gains: &[f64], u: &mut DVector<f64>);
    /// Writes its derivatives. Where an action is cut off they are 0.
    fn control_jacobian(
        &self,
        x: &DVector<f64>,
        sigma: &[f64],
        gains: &[f64],
        out: &mut ControlJacobian,
    );
}

/// Derivatives of an action.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlJacobian {
    /// ∂u/∂x, nu × nx.
    pub x: DMatrix<f64>,
    /// ∂u/∂σ, nu × `n_reference`.
    pub sigma: DMatrix<f64>,
    /// ∂u/∂k, nu × gains.
    pub gains: DMatrix<f64>,
}

impl ControlJacobian {
    /// Zeros for a state of `nx` and an action of `nu` entries.
    #[must_use]
    pub fn zeros(nx: usize, nu: usize, shape: &TrackerShape) -> Self {
        Self {
            x: DMatrix::zeros(nu, nx),
            sigma: DMatrix::zeros(nu, shape.n_reference),
            gains: DMatrix::zeros(nu, shape.gains.len()),
        }
    }
}

/// A controller written once for every [`Scalar`]: NX leading entries of the state, NR of the reference,
/// NK gains, NU of the action.
pub trait GenericControl<const NX: usize, const NR: usize, const NK: usize, const NU: usize> {
    /// The action.
    fn control_generic<S: Scalar>(&self, x: &[S; NX], sigma: &[S; NR], gains: &[S; NK]) -> [S; NU];

    /// Writes the action for slices of these lengths; `x` may go on.
    fn write_control(&self, x: &[f64], sigma: &[f64], gains: &[f64], u: &mut [f64]) {
        let u_of = self.control_generic(&head(x), &head(sigma), &head(gains));
        u.copy_from_slice(&u_of);
    }

    /// Writes its derivatives, one evaluation in dual numbers for each input; columns of further entries
    /// of the state are 0.
    fn write_control_jacobian(
        &self,
        x: &[f64],
        sigma: &[f64],
        gains: &[f64],
        out: &mut ControlJacobian,
    ) {
        let lift = |value: f64| Dual64::new(value, 0.0);
        let mut x = head::<NX>(x).map(lift);
        let mut sigma = head::<NR>(sigma).map(lift);
        let mut gains = head::<NK>(gains).map(lift);
        out.x.fill(0.0);
        for input in 0..NX + NR + NK {
            let seed = |x: &mut [Dual64; NX],
                        sigma: &mut [Dual64; NR],
                        gains: &mut [Dual64; NK],
                        eps: f64| {
                match input {
                    i if i < NX => x[i].eps = eps,
                    i if i < NX + NR => sigma[i - NX].eps = eps,
                    i => gains[i - NX - NR].eps = eps,
                }
            };
            seed(&mut x, &mut sigma, &mut gains, 1.0);
            let u = self.control_generic(&x, &sigma, &gains);
            seed(&mut x, &mut sigma, &mut gains, 0.0);
            for (j, u) in u.iter().enumerate() {
                match input {
                    i if i < NX => out.x[(j, i)] = u.eps,
                    i if i < NX + NR => out.sigma[(j, i - NX)] = u.eps,
                    i => out.gains[(j, i - NX - NR)] = u.eps,
                }
            }
        }
    }
}

/// The first N entries.
fn head<const N: usize>(values: &[f64]) -> [f64; N] {
    std::array::from_fn(|i| values[i])
}
