//! The mechanics that every planar arm of two hinged links shares.
//!
//! ```text
//! M = [ α + 2β cosθ₂   δ + β cosθ₂ ]     h = β sinθ₂ [ −2θ̇₁θ̇₂ − θ̇₂² ]     φ = [ w₁(θ₁) + w₂(θ₁+θ₂) ]
//!     [ δ + β cosθ₂    δ           ]                 [ θ̇₁²          ]         [ w₂(θ₁+θ₂)         ]
//! M θ̈ = τ − h − φ
//! ```

use nalgebra::DVector;

use crate::Linearization;
use crate::continuous::Scalar;

/// Direction of a link at angle zero.
#[derive(Debug, Clone, Copy)]
pub(super) enum ZeroAngle {
    /// Straight down: the weight's torque is wᵢ sin.
    Hanging,
    /// Horizontal: the weight's torque is wᵢ cos.
    Horizontal,
}

/// Constants of the equations; x = [θ₁, θ₂, θ̇₁, θ̇₂] with θ₂ relative to the first link.
#[derive(Debug, Clone, Copy)]
pub(super) struct TwoLink {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) delta: f64,
    /// Largest torques w₁, w₂ of the weights.
    pub(super) weights: [f64; 2],
    pub(super) zero_angle: ZeroAngle,
}

impl TwoLink {
    /// Entries m₁₁, m₁₂ of the mass matrix and its determinant; m₂₂ = δ.
    fn mass<S: Scalar>(&self, cos2: S) -> [S; 3] {
        let m11 = cos2 * (2.0 * self.beta) + self.alpha;
        let m12 = cos2 * self.beta + self.delta;
        [m11, m12, m11 * self.delta - m12 * m12]
    }

    fn weight<S: Scalar>(&self, link: usize, angle: S) -> S {
        let lever = match self.zero_angle {
            ZeroAngle::Hanging => angle.sin(),
            ZeroAngle::Horizontal => angle.cos(),
        };
        lever * self.weights[link]
    }

    fn weight_slope(&self, link: usize, angle: f64) -> f64 {
        let slope = match self.zero_angle {
            ZeroAngle::Hanging => angle.cos(),
            ZeroAngle::Horizontal => -angle.sin(),
        };
        slope * self.weights[link]
    }

    /// θ̈ under the torques τ.
    pub(super) fn acceleration<S: Scalar>(&self, x: &[S], torque: [S; 2]) -> [S; 2] {
        let (sin2, cos2) = x[1].sin_cos();
        let [m11, m12, determinant] = self.mass(cos2);
        let k = sin2 * self.beta;
        let weight2 = self.weight(1, x[0] + x[1]);
        let r1 = torque[0] + k * x[3] * (x[2] * 2.0 + x[3]) - self.weight(0, x[0]) - weight2;
        let r2 = torque[1] - k * x[2] * x[2] - weight2;
        [(r1 * self.delta - m12 * r2) / determinant, (m11 * r2 - m12 * r1) / determinant]
    }

    /// The torques τ of an acceleration.
    pub(super) fn torques<S: Scalar>(&self, x: &[S], acceleration: [S; 2]) -> [S; 2] {
        let (sin2, cos2) = x[1].sin_cos();
        let [m11, m12, _] = self.mass(cos2);
        let k = sin2 * self.beta;
        let weight2 = self.weight(1, x[0] + x[1]);
        let [a1, a2] = acceleration;
        [
            m11 * a1 + m12 * a2 - k * x[3] * (x[2] * 2.0 + x[3]) + self.weight(0, x[0]) + weight2,
            m12 * a1 + a2 * self.delta + k * x[2] * x[2] + weight2,
        ]
    }

    /// Writes ∂ẋ/∂x into `out.fx` and, with `torque_columns[j]` naming the torque that u_j drives,
    /// ∂ẋ/∂u into `out.fu`.
    pub(super) fn jacobian(
        &self,
        x: &DVector<f64>,
        torque: [f64; 2],
        torque_columns: &[usize],
        out: &mut Linearization,
    ) {
        let [a1, a2] = self.acceleration(x.as_slice(), torque);
        let (w1, w2) = (x[2], x[3]);
        let (sin2, cos2) = x[1].sin_cos();
        let [m11, m12, determinant] = self.mass(cos2);
        let (k, k_theta2) = (self.beta * sin2, self.beta * cos2);
        let slope1 = self.weight_slope(0, x[0]);
        let slope2 = self.weight_slope(1, x[0] + x[1]);
        // ∂θ̈ = M⁻¹(∂r − ∂M θ̈), r the right-hand side; only θ₂ moves M.
        let right_hand_sides = [
            [-slope1 - slope2, -slope2],
            [
                k_theta2 * w2 * (2.0 * w1 + w2) - slope2 + k * (2.0 * a1 + a2),
                -k_theta2 * w1 * w1 - slope2 + k * a1,
            ],
            [2.0 * k * w2, -2.0 * k * w1],
            [2.0 * k * (w1 + w2), 0.0],
        ];
        let solve = |[r1, r2]: [f64; 2]| {
            [(self.delta * r1 - m12 * r2) / determinant, (m11 * r2 - m12 * r1) / determinant]
        };
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fx[(0, 2)] = 1.0;
        fx[(1, 3)] = 1.0;
        for (column, r) in right_hand_sides.into_iter().enumerate() {
            let a = solve(r);
            fx[(2, column)] = a[0];
            fx[(3, column)] = a[1];
        }
        fu.fill(0.0);
        for (column, &joint) in torque_columns.iter().enumerate() {
            let mut unit = [0.0; 2];
            unit[joint] = 1.0;
            let a = solve(unit);
            fu[(2, column)] = a[0];
            fu[(3, column)] = a[1];
        }
    }

    /// Kinetic plus potential energy, the potential zero where both links are horizontal.
    pub(super) fn energy(&self, x: &[f64]) -> f64 {
        let [m11, m12, _] = self.mass(x[1].cos());
        let kinetic = 0.5 * m11 * x[2] * x[2] + m12 * x[2] * x[3] + 0.5 * self.delta * x[3] * x[3];
        // The weight's torque is the slope of the potential, and the potential is minus the slope
        // of the torque: sin and cos.
        kinetic - self.weight_slope(0, x[0]) - self.weight_slope(1, x[0] + x[1])
    }
}
