//! A hand that drives a ball by a spring, pushed by a random force: the stochastic plant of the hand-ball
//! task of Heess et al. (2015), after Munos (2006).

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::ranges::{require_not_negative, require_positive};
use crate::continuous::Scalar;
use crate::{
    DerivativeKind, Dynamics, DynamicsError, GenericDynamics, HessianProduct, Linearization, Plant,
};

/// Parameters of a [`HandBall`]. No value is published; the defaults were tried and found to show what
/// the paper claims.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandBallParameters {
    /// Stiffness K of the spring per mass of the ball [1/s²].
    pub stiffness: f64,
    /// Gravity G, downwards [m/s²].
    pub gravity: f64,
    /// Damping c of the ball [1/s].
    pub damping: f64,
    /// Deviation σ of the random acceleration [m/s^1.5]: the velocity of a free ball has variance σ²t.
    pub noise: f64,
}

impl Default for HandBallParameters {
    fn default() -> Self {
        Self { stiffness: 4.0, gravity: 1.0, damping: 0.0, noise: 0.3 }
    }
}

/// Hand h, ball b and the ball's velocity v in the plane, the index τ of the target and a clock s:
/// x = [h, b, v, τ, s], u = velocity of the hand, ξ two standard normal numbers.
///
/// ```text
/// h' = h + dt u
/// v' = v + dt (K (h − b) − G e_y − c v) + √dt σ ξ
/// b' = b + dt v'
/// τ' = τ ,   s' = s + tick
/// ```
///
/// The step is symplectic: explicit Euler would make the undamped spring grow by exp(K dt²/2) a step.
/// τ and s are there because what is best depends on them: a state has to say everything that does.
#[derive(Debug, Clone)]
pub struct HandBall {
    p: HandBallParameters,
    dt: f64,
    tick: f64,
}

impl HandBall {
    /// Where τ stands in the state.
    pub const TARGET: usize = 6;
    /// Where s stands in the state.
    pub const CLOCK: usize = 7;

    /// A hand and a ball; the clock gains `tick` a step.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a stiffness or a step that is not positive, a damping or noise
    /// that is negative, or one that is not finite.
    pub fn new(parameters: HandBallParameters, dt: f64, tick: f64) -> Result<Self, DynamicsError> {
        let p = parameters;
        require_positive(NAME, &[("stiffness", p.stiffness), ("dt", dt), ("tick", tick)])?;
        require_not_negative(
            NAME,
            &[("gravity", p.gravity), ("damping", p.damping), ("noise", p.noise)],
        )?;
        Ok(Self { p, dt, tick })
    }

    /// The parameters.
    pub fn parameters(&self) -> &HandBallParameters {
        &self.p
    }

    fn step_to<S: Scalar>(&self, x: &[S], u: &[S], noise: [f64; 2], out: &mut [S]) {
        let HandBallParameters { stiffness, gravity, damping, noise: sigma } = self.p;
        for axis in 0..2 {
            let (h, b, v) = (x[axis], x[2 + axis], x[4 + axis]);
            let fall = if axis == 1 { gravity } else { 0.0 };
            let push = self.dt.sqrt() * sigma * noise[axis] - self.dt * fall;
            let v_next = v + ((h - b) * stiffness - v * damping) * self.dt + push;
            out[axis] = h + u[axis] * self.dt;
            out[2 + axis] = b + v_next * self.dt;
            out[4 + axis] = v_next;
        }
        out[Self::TARGET] = x[Self::TARGET];
        out[Self::CLOCK] = x[Self::CLOCK] + self.tick;
    }
}

const NAME: &str = "hand-ball";
const NX: usize = 8;

impl GenericDynamics for HandBall {
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S> {
        let mut out = x.to_vec();
        self.step_to(x, u, [0.0; 2], &mut out);
        out
    }
}

impl Plant for HandBall {
    type Workspace = ();

    fn name(&self) -> &str {
        NAME
    }
    fn nx(&self) -> usize {
        NX
    }
    fn nu(&self) -> usize {
        2
    }
    fn n_noise(&self) -> usize {
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
        self.step_to(x.as_slice(), u.as_slice(), [0.0; 2], x_next.as_mut_slice());
        Ok(())
    }
    fn step_with_noise(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let noise = [noise[0], noise[1]];
        self.step_to(x.as_slice(), u.as_slice(), noise, x_next.as_mut_slice());
        Ok(())
    }
}

impl Dynamics for HandBall {
    /// The step is linear: the same everywhere, with noise and without.
    fn linearize(
        &self,
        (): &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        let HandBallParameters { stiffness, damping, .. } = self.p;
        let dt = self.dt;
        let Linearization { fx, fu } = out;
        fx.fill_with_identity();
        fu.fill(0.0);
        for axis in 0..2 {
            let (h, b, v) = (axis, 2 + axis, 4 + axis);
            fu[(h, axis)] = dt;
            fx[(v, h)] = dt * stiffness;
            fx[(v, b)] = -dt * stiffness;
            fx[(v, v)] = 1.0 - dt * damping;
            fx[(b, h)] = dt * dt * stiffness;
            fx[(b, b)] = 1.0 - dt * dt * stiffness;
            fx[(b, v)] = dt * (1.0 - dt * damping);
        }
        Ok(())
    }
    fn hessian_product(
        &self,
        (): &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        _lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        out.xx.fill(0.0);
        out.ux.fill(0.0);
        out.uu.fill(0.0);
        Ok(())
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
}
