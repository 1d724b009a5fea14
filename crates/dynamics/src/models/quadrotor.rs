//! A quadrotor with attitude in modified Rodrigues parameters.

use nalgebra::{DVector, Matrix3, Vector3};
use serde::{Deserialize, Serialize};

use super::attitude::{
    cross, rate, rate_jacobians, rotation, to_body, to_body_jacobian, to_world, to_world_jacobian,
    triple,
};
use super::ranges::{require_finite, require_not_negative, require_positive};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::{real, xdot_hessian_by_duals};
use crate::{ContinuousDynamics, DynamicsError, Linearization};

/// Parameters of a [`Quadrotor`] (Gurumurthy et al., L4DC 2023; after Jackson et al. 2022).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuadrotorParameters {
    /// Mass (kg).
    pub mass: f64,
    /// Inertia about the centre of mass in body axes [kg·m²], row by row.
    pub inertia: [[f64; 3]; 3],
    /// Gravity [m/s²].
    pub gravity: f64,
    /// Distance of the rotors from the centre of mass (m).
    pub arm_length: f64,
    /// Throttle per unit of action: Uᵢ = `throttle_scale` · uᵢ.
    pub throttle_scale: f64,
    /// Thrust per unit of throttle k_f (N).
    pub thrust_gain: f64,
    /// Thrust at throttle 0, b_f (N); negative thrust is not clipped.
    pub thrust_bias: f64,
    /// Torque about z per unit of throttle k_m [N·m].
    pub torque_gain: f64,
    /// Density of the air [kg/m³].
    pub air_density: f64,
    /// Drag coefficients c_d along the body axes.
    pub drag_coefficients: [f64; 3],
    /// Areas A that the drag acts on (m²).
    pub drag_areas: [f64; 3],
    /// What the drag opposes.
    pub drag_on: DragOn,
}

/// What the drag −sign(yⱼ)·½ρ yⱼ² c_d Aⱼ of a [`Quadrotor`] opposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DragOn {
    /// The velocity through the air, y = v (the usual meaning).
    Velocity,
    /// The attitude parameters, y = m (a slip of the released code).
    Attitude,
}

impl QuadrotorParameters {
    /// The nominal model of VG-SAC; it has no drag.
    #[must_use]
    pub fn nominal() -> Self {
        Self {
            mass: 2.0,
            inertia: [
                [0.015_660_89, 3.180_37e-6, 0.0],
                [3.180_37e-6, 0.015_620_78, 0.0],
                [0.0, 0.0, 0.022_268_68],
            ],
            gravity: 9.81,
            arm_length: 0.28,
            throttle_scale: 100.0,
            thrust_gain: 0.024_410_1,
            thrust_bias: -30.485_76,
            torque_gain: 0.000_299_58,
            air_density: 1.27,
            drag_coefficients: [0.0; 3],
            drag_areas: [0.25; 3],
            drag_on: DragOn::Attitude,
        }
    }

    /// The real plant of VG-SAC as released: 10 % heavier, gains 1.1 and bias 0.9 times the nominal
    /// ones, and a drag that acts on the attitude with the y area on all axes.
    #[must_use]
    pub fn real() -> Self {
        let nominal = Self::nominal();
        Self {
            mass: 2.2,
            inertia: [[0.0165, 0.0, 0.0], [0.0, 0.0165, 0.0], [0.0, 0.0, 0.0234]],
            thrust_gain: 1.1 * nominal.thrust_gain,
            thrust_bias: 0.9 * nominal.thrust_bias,
            torque_gain: 1.1 * nominal.torque_gain,
            drag_coefficients: [0.3; 3],
            ..nominal
        }
    }

    /// The real plant as the paper means it: drag on the velocity, with the z area 0.5 m². The arms,
    /// which the paper also counts among what differs, keep their length, as in the released code.
    #[must_use]
    pub fn real_with_air_drag() -> Self {
        Self { drag_on: DragOn::Velocity, drag_areas: [0.25, 0.25, 0.5], ..Self::real() }
    }
}

/// Quadrotor: x = [r (world), m, v (body), ω (body)], 12 entries, with attitude parameters
/// m = n tan(φ/4) that are never switched to their shadow set; u = four motor commands, not clipped.
///
/// ```text
/// ṙ = R(m) v,  ṁ = ¼[(1−mᵀm) ω + 2 m×ω + 2 (mᵀω) m]
/// v̇ = ([0, 0, ΣTᵢ] + D)/mass + R(m)ᵀ[0, 0, −g] − ω×v,   Tᵢ = k_f Uᵢ + b_f
/// ω̇ = J⁻¹(Σ ρᵢ×[0, 0, Tᵢ] + [0, 0, k_m (U₁−U₂+U₃−U₄)] − ω×(Jω))
/// ```
///
/// The rotors stand at ρᵢ = l/√2 · (1, 1), (1, −1), (−1, −1), (−1, 1).
#[derive(Debug, Clone)]
pub struct Quadrotor {
    p: QuadrotorParameters,
    inertia: Matrix3<f64>,
    /// J⁻¹, which the generic equations apply to other scalars than f64.
    inverse_inertia: Matrix3<f64>,
}

/// Signs of a rotor's position along x and y, and of its torque about z.
const ROTORS: [[f64; 3]; 4] =
    [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]];

impl Quadrotor {
    /// A quadrotor with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass, length, gain or gravity that is not positive, a
    /// number of the drag that is negative, a bias that is not finite, or an inertia that is not
    /// symmetric and positive definite.
    pub fn new(parameters: QuadrotorParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        require_positive(
            "quadrotor",
            &[
                ("mass", p.mass),
                ("arm_length", p.arm_length),
                ("throttle_scale", p.throttle_scale),
                ("thrust_gain", p.thrust_gain),
            ],
        )?;
        require_not_negative(
            "quadrotor",
            &[
                ("gravity", p.gravity),
                ("torque_gain", p.torque_gain),
                ("air_density", p.air_density),
                ("drag_coefficients[0]", p.drag_coefficients[0]),
                ("drag_coefficients[1]", p.drag_coefficients[1]),
                ("drag_coefficients[2]", p.drag_coefficients[2]),
                ("drag_areas[0]", p.drag_areas[0]),
                ("drag_areas[1]", p.drag_areas[1]),
                ("drag_areas[2]", p.drag_areas[2]),
            ],
        )?;
        require_finite("quadrotor", &[("thrust_bias", p.thrust_bias)])?;
        for value in p.inertia.into_iter().flatten() {
            require_finite("quadrotor", &[("inertia", value)])?;
        }
        let inertia = Matrix3::from_fn(|i, j| p.inertia[i][j]);
        let refuse = |parameter, value, needed| {
            Err(DynamicsError::Parameter {
                model: "quadrotor".to_owned(),
                parameter,
                value,
                needed,
            })
        };
        let asymmetry = (inertia - inertia.transpose()).amax();
        if asymmetry > 1e-12 * inertia.amax() {
            return refuse("asymmetry of the inertia", asymmetry, "0");
        }
        match inertia.cholesky() {
            Some(cholesky) => Ok(Self { p, inertia, inverse_inertia: cholesky.inverse() }),
            None => refuse(
                "determinant of the inertia",
                inertia.determinant(),
                "that of a positive definite matrix",
            ),
        }
    }

    /// The parameters.
    pub fn parameters(&self) -> &QuadrotorParameters {
        &self.p
    }

    /// The command of every motor that carries the weight at rest.
    pub fn hover_action(&self) -> f64 {
        let thrust = 0.25 * self.p.mass * self.p.gravity;
        (thrust - self.p.thrust_bias) / (self.p.thrust_gain * self.p.throttle_scale)
    }

    /// ½ρ c_d A along each axis.
    fn drag_factors(&self) -> Vector3<f64> {
        let p = &self.p;
        Vector3::from_fn(|j, _| 0.5 * p.air_density * p.drag_coefficients[j] * p.drag_areas[j])
    }

    /// [torque about x, about y, about z] of rotor i per unit of thrust (x, y) and throttle (z).
    fn levers(&self, rotor: usize) -> [f64; 3] {
        let [x, y, spin] = ROTORS[rotor];
        let reach = self.p.arm_length * std::f64::consts::FRAC_1_SQRT_2;
        // ρ × [0, 0, T] = [ρ_y T, −ρ_x T, 0]
        [y * reach, -x * reach, spin * self.p.torque_gain]
    }
}

impl GenericContinuous for Quadrotor {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let p = &self.p;
        let [m, v, omega] = [3, 6, 9].map(|start| triple(x, start));
        let (mut lift, mut torque) = (S::zero(), [S::zero(); 3]);
        for (rotor, &command) in u.iter().enumerate() {
            let throttle = command * p.throttle_scale;
            let thrust = throttle * p.thrust_gain + p.thrust_bias;
            let lever = self.levers(rotor);
            lift += thrust;
            torque[0] += thrust * lever[0];
            torque[1] += thrust * lever[1];
            torque[2] += throttle * lever[2];
        }
        let opposed = match p.drag_on {
            DragOn::Velocity => v,
            DragOn::Attitude => m,
        };
        let drag = self.drag_factors();
        let weight = to_body(m, [S::zero(), S::zero(), S::from(-p.gravity)]);
        let swing = cross(omega, v);
        let mut v_dot: [S; 3] = std::array::from_fn(|j| {
            let y = opposed[j];
            let size = if real(y) < 0.0 { -y } else { y };
            weight[j] - swing[j] - y * size * (drag[j] / p.mass)
        });
        v_dot[2] += lift / p.mass;
        let gyroscopic = cross(omega, times(&self.inertia, omega));
        let net = std::array::from_fn(|i| torque[i] - gyroscopic[i]);
        out[..3].copy_from_slice(&to_world(m, v));
        out[3..6].copy_from_slice(&rate(m, omega));
        out[6..9].copy_from_slice(&v_dot);
        out[9..].copy_from_slice(&times(&self.inverse_inertia, net));
    }
}

/// A v for a constant matrix.
fn times<S: Scalar>(a: &Matrix3<f64>, v: [S; 3]) -> [S; 3] {
    std::array::from_fn(|i| v[0] * a[(i, 0)] + v[1] * a[(i, 1)] + v[2] * a[(i, 2)])
}

impl ContinuousDynamics for Quadrotor {
    type Workspace = ();

    fn name(&self) -> &str {
        "quadrotor"
    }
    fn nx(&self) -> usize {
        12
    }
    fn nu(&self) -> usize {
        4
    }
    fn workspace(&self) {}
    fn xdot(&self, (): &mut (), x: &DVector<f64>, u: &DVector<f64>, out: &mut DVector<f64>) {
        self.xdot_generic(x.as_slice(), u.as_slice(), out.as_mut_slice());
    }
    fn xdot_jacobian(
        &self,
        (): &mut (),
        x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let p = &self.p;
        let [m, v, omega] = [3, 6, 9].map(|start| Vector3::from(triple(x.as_slice(), start)));
        let (rate_m, rate_omega) = rate_jacobians(&m, &omega);
        let mut v_dot_m = to_body_jacobian(&m, &Vector3::new(0.0, 0.0, -p.gravity));
        let mut v_dot_v = -omega.cross_matrix();
        let (opposed, block) = match p.drag_on {
            DragOn::Velocity => (v, &mut v_dot_v),
            DragOn::Attitude => (m, &mut v_dot_m),
        };
        let drag = self.drag_factors();
        for j in 0..3 {
            block[(j, j)] -= 2.0 * opposed[j].abs() * drag[j] / p.mass;
        }
        // ∂(−ω×(Jω)) = [Jω]× − [ω]× J
        let gyroscopic =
            (self.inertia * omega).cross_matrix() - omega.cross_matrix() * self.inertia;

        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        for (row, column, block) in [
            (0, 3, to_world_jacobian(&m, &v)),
            (0, 6, rotation(&m)),
            (3, 3, rate_m),
            (3, 9, rate_omega),
            (6, 3, v_dot_m),
            (6, 6, v_dot_v),
            (6, 9, v.cross_matrix()),
            (9, 9, self.inverse_inertia * gyroscopic),
        ] {
            fx.fixed_view_mut::<3, 3>(row, column).copy_from(&block);
        }
        fu.fill(0.0);
        for rotor in 0..4 {
            let [about_x, about_y, about_z] = self.levers(rotor);
            let torque = Vector3::new(about_x * p.thrust_gain, about_y * p.thrust_gain, about_z);
            let turn = self.inverse_inertia * torque * p.throttle_scale;
            fu[(8, rotor)] = p.throttle_scale * p.thrust_gain / p.mass;
            fu.fixed_view_mut::<3, 1>(9, rotor).copy_from(&turn);
        }
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 12, 4>)
    }
}
