//! A small aerobatic airplane: six lifting surfaces, a propeller and its wash.

use nalgebra::{DVector, Matrix3, SMatrix, Vector3};
use serde::{Deserialize, Serialize};

use super::airplane_surfaces::{
    Controls, LoadJacobian, Surface, THROTTLE_THRESHOLD, Wash, surfaces,
};
use super::attitude::{
    cross, rate, rate_jacobians, rotation, to_body, to_body_jacobian, to_world, to_world_jacobian,
    triple,
};
use super::ranges::{require_not_negative, require_positive};
use crate::continuous::{GenericContinuous, Scalar, XdotHessian};
use crate::duals::{real, xdot_hessian_by_duals};
use crate::{ContinuousDynamics, DynamicsError, Linearization};

/// Parameters of an [`Airplane`] (Gurumurthy et al., L4DC 2023; after Jackson et al. 2022). Tail,
/// chords and motor are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirplaneParameters {
    /// Mass (kg).
    pub mass: f64,
    /// Principal inertias in body axes [kg·m²].
    pub inertia: [f64; 3],
    /// Gravity [m/s²].
    pub gravity: f64,
    /// Density of the air [kg/m³].
    pub air_density: f64,
    /// Span of the wing (m).
    pub wing_span: f64,
    /// Coefficients of the wing and wash of the propeller.
    pub aerodynamics: Aerodynamics,
    /// Angle of attack of the left outer wing.
    pub left_wing: LeftWing,
    /// Axes that feel the angular momentum of the motor.
    pub motor_momentum: MotorMomentum,
    /// Thrust at throttles below 24.
    pub idle_thrust: IdleThrust,
}

/// Coefficients of the wing and speed P of the propeller's wash at throttle t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aerodynamics {
    /// C_L = 6 a, C_D = 0.05 + a², P = 0.06 t.
    Linear,
    /// Polynomials of degree 8 fitted in the wind tunnel; P = 5.568 t^0.199 − 8.859 above t = 24,
    /// otherwise 0. The fits explode at angles below about −15°.
    WindTunnel,
}

/// Which speed along x enters the angle of attack of the left outer wing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftWing {
    /// Its own.
    OwnSpeed,
    /// The right outer wing's (a slip of the released code).
    RightSpeed,
}

/// Which axes feel the angular momentum h of the motor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MotorMomentum {
    /// The axis it turns about: [h, 0, 0].
    RollAxis,
    /// All: [h, h, h] (a slip of the released code).
    AllAxes,
}

/// Thrust at throttles below 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdleThrust {
    /// None.
    Zero,
    /// Negative: the line through 24 goes on (the released code).
    Negative,
}

impl AirplaneParameters {
    /// The nominal model of VG-SAC as released.
    #[must_use]
    pub fn nominal() -> Self {
        Self {
            mass: 0.075 * 1.2,
            inertia: [4.8944e-4, 6.3778e-4, 7.9509e-4],
            gravity: 9.81,
            air_density: 1.2,
            wing_span: 0.45 * 0.95,
            aerodynamics: Aerodynamics::Linear,
            left_wing: LeftWing::RightSpeed,
            motor_momentum: MotorMomentum::AllAxes,
            idle_thrust: IdleThrust::Negative,
        }
    }

    /// The real plant of VG-SAC as released: heavier and shorter, the same linear aerodynamics.
    #[must_use]
    pub fn real() -> Self {
        Self { mass: 0.075 * 1.5, wing_span: 0.45 * 0.85, ..Self::nominal() }
    }

    /// The wind-tunnel model of Jackson et al., which the paper names as its real plant; without the
    /// slips of the released code.
    #[must_use]
    pub fn wind_tunnel() -> Self {
        Self {
            mass: 0.075,
            wing_span: 0.45,
            aerodynamics: Aerodynamics::WindTunnel,
            left_wing: LeftWing::OwnSpeed,
            motor_momentum: MotorMomentum::RollAxis,
            idle_thrust: IdleThrust::Zero,
            ..Self::nominal()
        }
    }
}

/// Airplane: x = [r (world), p (modified Rodrigues parameters), v (world), ω (body)], 12 entries;
/// body axes x nose, y right wing, z down, world z up. u = [throttle, aileron, elevator, rudder],
/// each clipped to 0…255 with 106 neutral.
///
/// ```text
/// ṙ = v,  ṗ = ¼[(1−pᵀp) ω + 2 p×ω + 2 (pᵀω) p]
/// v̇ = R(p) F/m − [0, 0, g],   ω̇ = J⁻¹(T + (Jω + h)×ω)
/// ```
///
/// F and T are the sums over thrust and surfaces in body axes, h is the motor's angular momentum.
#[derive(Debug, Clone)]
pub struct Airplane {
    p: AirplaneParameters,
    surfaces: [Surface; 6],
}

/// Thrust per unit of throttle above the threshold (N).
const THRUST_GAIN: f64 = 0.006763;
/// Speed of the motor per unit of throttle [rad/s]: 3000 rpm per volt, 7 V at 255.
const MOTOR_SPEED: f64 = 3000.0 * std::f64::consts::TAU / 60.0 * 7.0 / 255.0;
/// Inertia of motor (7 g, radius 7.5 mm) and propeller (2 g, 140 mm) [kg·m²].
const MOTOR_INERTIA: f64 = 0.007 * 0.0075 * 0.0075 + 0.002 * 0.14 * 0.14 / 12.0;
/// Range that every control is clipped to.
const CONTROL_RANGE: [f64; 2] = [0.0, 255.0];

impl Airplane {
    /// An airplane with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a mass, an inertia or the air's density that is not
    /// positive, a negative gravity, or a span too short for its inner wing.
    pub fn new(parameters: AirplaneParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        require_positive(
            "airplane",
            &[
                ("mass", p.mass),
                ("inertia[0]", p.inertia[0]),
                ("inertia[1]", p.inertia[1]),
                ("inertia[2]", p.inertia[2]),
                ("air_density", p.air_density),
                ("wing_span", p.wing_span),
            ],
        )?;
        require_not_negative("airplane", &[("gravity", p.gravity)])?;
        let surfaces = surfaces(&p);
        if surfaces[0].area <= 0.0 {
            return Err(DynamicsError::Parameter {
                model: "airplane".to_owned(),
                parameter: "wing_span",
                value: p.wing_span,
                needed: "long enough for the inner wing, above 0.151 m",
            });
        }
        Ok(Self { p, surfaces })
    }

    /// The parameters.
    pub fn parameters(&self) -> &AirplaneParameters {
        &self.p
    }

    fn wash(&self) -> Wash {
        Wash(self.p.aerodynamics)
    }

    /// The surface whose speed along x enters the angle of surface i.
    fn speed_source(&self, i: usize) -> usize {
        match (i, self.p.left_wing) {
            (1, LeftWing::RightSpeed) => 0,
            _ => i,
        }
    }

    fn thrust<S: Scalar>(&self, throttle: S) -> S {
        if self.thrust_slope(real(throttle)) == 0.0 {
            return S::zero();
        }
        (throttle - THROTTLE_THRESHOLD) * THRUST_GAIN
    }

    fn thrust_slope(&self, throttle: f64) -> f64 {
        match self.p.idle_thrust {
            IdleThrust::Zero if throttle <= THROTTLE_THRESHOLD => 0.0,
            _ => THRUST_GAIN,
        }
    }

    /// Angular momentum of the motor and its slope: 0 up to the threshold.
    fn motor_slope(&self, throttle: f64) -> Vector3<f64> {
        if throttle <= THROTTLE_THRESHOLD {
            return Vector3::zeros();
        }
        let slope = MOTOR_INERTIA * MOTOR_SPEED;
        match self.p.motor_momentum {
            MotorMomentum::RollAxis => Vector3::new(slope, 0.0, 0.0),
            MotorMomentum::AllAxes => Vector3::repeat(slope),
        }
    }

    /// Sum of the forces and of the torques in body axes.
    fn loads<S: Scalar>(&self, v: [S; 3], omega: [S; 3], controls: Controls<S>) -> [[S; 3]; 2] {
        let throttle = controls[0];
        let wash = self.wash().speed(throttle);
        let velocities = self.surfaces.each_ref().map(|s| s.velocity(v, omega, wash));
        let mut force = [self.thrust(throttle), S::zero(), S::zero()];
        let mut torque = [S::zero(); 3];
        for (i, surface) in self.surfaces.iter().enumerate() {
            let along = velocities[self.speed_source(i)][0];
            let push = surface.force(velocities[i], along, surface.deflection(controls));
            let turn = cross(surface.position.map(S::from), push);
            for axis in 0..3 {
                force[axis] += push[axis];
                torque[axis] += turn[axis];
            }
        }
        [force, torque]
    }

    /// Derivatives of the forces and of the torques in (v, ω, controls), and the sum of the forces.
    fn loads_jacobian(
        &self,
        v: [f64; 3],
        omega: [f64; 3],
        controls: Controls<f64>,
    ) -> (Vector3<f64>, LoadJacobian, LoadJacobian) {
        let throttle = controls[0];
        let (wash, wash_slope) = (self.wash().speed(throttle), self.wash().slope(throttle));
        let mut force = Vector3::new(self.thrust(throttle), 0.0, 0.0);
        let (mut force_z, mut torque_z) = (LoadJacobian::zeros(), LoadJacobian::zeros());
        force_z[(0, 6)] = self.thrust_slope(throttle);
        for (i, surface) in self.surfaces.iter().enumerate() {
            let source = &self.surfaces[self.speed_source(i)];
            let along = source.velocity(v, omega, wash)[0];
            let (push, by_input) = surface.force_jacobian(
                surface.velocity(v, omega, wash),
                along,
                surface.deflection(controls),
            );
            // Inputs of the surface: its velocity, the speed along x of its angle, its deflection.
            let mut inputs = SMatrix::<f64, 5, 10>::zeros();
            inputs.fixed_rows_mut::<3>(0).copy_from(&surface.velocity_jacobian(wash_slope));
            inputs.fixed_rows_mut::<1>(3).copy_from(&source.velocity_jacobian(wash_slope).row(0));
            inputs[(4, 6 + surface.control)] = surface.deflection_gain;
            let push_z = by_input * inputs;
            force += push;
            force_z += push_z;
            torque_z += Vector3::from(surface.position).cross_matrix() * push_z;
        }
        (force, force_z, torque_z)
    }
}

fn clip<S: Scalar>(control: S) -> S {
    let value = real(control);
    let clipped = value.clamp(CONTROL_RANGE[0], CONTROL_RANGE[1]);
    // A NaN is not replaced by a bound.
    if clipped == value || value.is_nan() { control } else { S::from(clipped) }
}

impl GenericContinuous for Airplane {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let [p, v, omega] = [3, 6, 9].map(|start| triple(x, start));
        let controls: Controls<S> = std::array::from_fn(|i| clip(u[i]));
        let [force, torque] = self.loads(to_body(p, v), omega, controls);
        let motor = self.motor_slope(real(controls[0]));
        // Jω + h, the angular momentum in body axes
        let momentum =
            std::array::from_fn(|i| omega[i] * self.p.inertia[i] + controls[0] * motor[i]);
        let gyroscopic = cross(momentum, omega);
        let force = to_world(p, force);
        out[..3].copy_from_slice(&v);
        out[3..6].copy_from_slice(&rate(p, omega));
        for i in 0..3 {
            out[6 + i] = force[i] / self.p.mass;
            out[9 + i] = (torque[i] + gyroscopic[i]) / self.p.inertia[i];
        }
        out[8] -= self.p.gravity;
    }
}

impl ContinuousDynamics for Airplane {
    type Workspace = ();

    fn name(&self) -> &str {
        "airplane"
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
        u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let [p, v, omega] = [3, 6, 9].map(|start| triple(x.as_slice(), start));
        let controls: Controls<f64> = std::array::from_fn(|i| clip(u[i]));
        let (force, force_z, mut torque_z) = self.loads_jacobian(to_body(p, v), omega, controls);
        let [p, v, omega] = [p, v, omega].map(Vector3::from);

        // T + (Jω + h)×ω: ∂ω adds [Jω + h]× − [ω]× J, ∂throttle adds h'×ω.
        let inertia = Matrix3::from_diagonal(&Vector3::from(self.p.inertia));
        let motor = self.motor_slope(controls[0]);
        let momentum = inertia * omega + motor * controls[0];
        let mut gyroscopic = torque_z.fixed_columns_mut::<3>(3);
        gyroscopic += momentum.cross_matrix() - omega.cross_matrix() * inertia;
        let mut by_throttle = torque_z.column_mut(6);
        by_throttle += motor.cross(&omega);

        // Accelerations in (v_body, ω, controls), then v_body = R(p)ᵀ v.
        let to_world = rotation(&p);
        let linear = to_world * force_z / self.p.mass;
        let angular =
            Matrix3::from_diagonal(&Vector3::from(self.p.inertia.map(f64::recip))) * torque_z;
        let body_p = to_body_jacobian(&p, &v);
        let (rate_p, rate_omega) = rate_jacobians(&p, &omega);
        let by_body = |a: &LoadJacobian| a.fixed_columns::<3>(0).into_owned();
        let by_omega = |a: &LoadJacobian| a.fixed_columns::<3>(3).into_owned();

        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        for (row, column, block) in [
            (0, 6, Matrix3::identity()),
            (3, 3, rate_p),
            (3, 9, rate_omega),
            (6, 3, to_world_jacobian(&p, &force) / self.p.mass + by_body(&linear) * body_p),
            (6, 6, by_body(&linear) * to_world.transpose()),
            (6, 9, by_omega(&linear)),
            (9, 3, by_body(&angular) * body_p),
            (9, 6, by_body(&angular) * to_world.transpose()),
            (9, 9, by_omega(&angular)),
        ] {
            fx.fixed_view_mut::<3, 3>(row, column).copy_from(&block);
        }
        fu.fill(0.0);
        for (column, (&raw, clipped)) in u.iter().zip(controls).enumerate() {
            // Strictly outside its range a control has no effect.
            if raw == clipped {
                fu.fixed_view_mut::<3, 1>(6, column).copy_from(&linear.column(6 + column));
                fu.fixed_view_mut::<3, 1>(9, column).copy_from(&angular.column(6 + column));
            }
        }
    }
    fn xdot_hessian(&self) -> Option<XdotHessian<Self>> {
        Some(xdot_hessian_by_duals::<Self, 12, 4>)
    }
}
