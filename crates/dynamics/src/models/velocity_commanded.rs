//! A robot that walks or rolls at the speed and yaw rate it is told.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_finite, require_not_negative, require_positive};
use crate::continuous::Scalar;
use crate::duals::{DualOracle as _, GenericDynamics};
use crate::{Dynamics, DynamicsError, Linearization, Plant};

/// Parameters of a [`VelocityCommanded`] robot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VelocityCommandedParameters {
    /// Speed per commanded speed.
    pub speed_gain: f64,
    /// Speed at the command 0 [m/s].
    pub speed_bias: f64,
    /// Time constant of the speed (s); 0 for none.
    pub speed_lag: f64,
    /// Yaw rate per commanded yaw rate.
    pub yaw_gain: f64,
    /// Yaw rate at the command 0 [rad/s].
    pub yaw_bias: f64,
    /// Drift to the left [m/s].
    pub drift: f64,
}

impl VelocityCommandedParameters {
    /// What is commanded happens: the model of the tracking-feedback policy gradient, equation 12.
    #[must_use]
    pub fn ideal() -> Self {
        Self {
            speed_gain: 1.0,
            speed_bias: 0.0,
            speed_lag: 0.0,
            yaw_gain: 1.0,
            yaw_bias: 0.0,
            drift: 0.0,
        }
    }

    /// The simulated quadruped released with that paper: speed × 1.18, yaw rate + 0.1 rad/s.
    #[must_use]
    pub fn released() -> Self {
        Self { speed_gain: 1.18, yaw_bias: 0.1, ..Self::ideal() }
    }

    /// The quadruped identified from that paper's hardware logs, without its dead times.
    #[must_use]
    pub fn identified() -> Self {
        Self {
            speed_gain: 1.10,
            speed_bias: 0.03,
            speed_lag: 0.13,
            yaw_gain: 0.75,
            yaw_bias: 0.013,
            drift: 0.02,
        }
    }
}

/// x = [x, y, v, φ], u = [v_c, ω_c], in substeps of h:
///
/// ```text
/// v̄ = gain v_c + bias          v' = v + h (v̄ − v)/τ,  or v' = v = v̄ without lag
/// x' = x + h (v cosφ − d sinφ)  y' = y + h (v sinφ + d cosφ)  φ' = φ + h (gain ω_c + bias)
/// ```
///
/// Without lag the speed in the state is the last commanded one and moves nothing.
#[derive(Debug, Clone)]
pub struct VelocityCommanded {
    p: VelocityCommandedParameters,
    dt: f64,
    substeps: usize,
}

impl VelocityCommanded {
    /// A robot with the given parameters, `substeps` steps of Euler per control step of `dt` seconds.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for gains or a `dt` that are not positive, a negative lag, a bias that
    /// is not finite, and no substeps.
    pub fn new(
        parameters: VelocityCommandedParameters,
        dt: f64,
        substeps: usize,
    ) -> Result<Self, DynamicsError> {
        let p = parameters;
        #[expect(clippy::cast_precision_loss, reason = "a few substeps")]
        let n = substeps as f64;
        require_positive(
            NAME,
            &[("speed_gain", p.speed_gain), ("yaw_gain", p.yaw_gain), ("dt", dt), ("substeps", n)],
        )?;
        require_not_negative(NAME, &[("speed_lag", p.speed_lag)])?;
        require_finite(
            NAME,
            &[("speed_bias", p.speed_bias), ("yaw_bias", p.yaw_bias), ("drift", p.drift)],
        )?;
        Ok(Self { p, dt, substeps })
    }

    fn step_of<S: Scalar>(&self, x: [S; 4], u: [S; 2]) -> [S; 4] {
        let p = &self.p;
        #[expect(clippy::cast_precision_loss, reason = "a few substeps")]
        let h = self.dt / self.substeps as f64;
        let [mut px, mut py, mut v, mut phi] = x;
        let target = u[0] * p.speed_gain + p.speed_bias;
        for _ in 0..self.substeps {
            let mut next = target;
            if p.speed_lag > 0.0 {
                next = v + (target - v) * (h / p.speed_lag);
            } else {
                v = target;
            }
            let (sin, cos) = phi.sin_cos();
            px += (v * cos - sin * p.drift) * h;
            py += (v * sin + cos * p.drift) * h;
            phi += (u[1] * p.yaw_gain + p.yaw_bias) * h;
            v = next;
        }
        [px, py, v, phi]
    }
}

const NAME: &str = "velocity-commanded";

impl GenericDynamics for VelocityCommanded {
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S> {
        self.step_of([x[0], x[1], x[2], x[3]], [u[0], u[1]]).to_vec()
    }
}

impl Plant for VelocityCommanded {
    type Workspace = ();

    fn name(&self) -> &str {
        NAME
    }
    fn nx(&self) -> usize {
        4
    }
    fn nu(&self) -> usize {
        2
    }
    fn workspace(&self) {}
    fn step(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next.copy_from_slice(&self.step_of([x[0], x[1], x[2], x[3]], [u[0], u[1]]));
        Ok(())
    }
}

impl Dynamics for VelocityCommanded {
    fn linearize(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        *out = self.dual_linearize(x, u);
        Ok(())
    }
}
