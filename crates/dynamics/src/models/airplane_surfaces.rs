//! Lifting surfaces of the airplane: geometry, coefficients and the force on each, with derivatives.

use std::f64::consts::{FRAC_PI_2, PI};

use nalgebra::{Matrix3, SMatrix, Vector3};

use super::airplane::{Aerodynamics, AirplaneParameters};
use super::attitude::{cross, dot};
use crate::continuous::Scalar;
use crate::duals::real;

/// [throttle, aileron, elevator, rudder], clipped.
pub(super) type Controls<S> = [S; 4];
/// Derivatives of a force or torque in [v (body), ω, controls].
pub(super) type LoadJacobian = SMatrix<f64, 3, 10>;

/// Throttle above which the motor turns.
pub(super) const THROTTLE_THRESHOLD: f64 = 24.0;
/// Neutral position of aileron, elevator and rudder.
const NEUTRAL: f64 = 106.0;

/// Chords of the wing at root and tip (m).
const CHORDS: [f64; 2] = [0.135, 0.08];
/// Reach of the inner wing, the part in the propeller's wash, from the middle (m).
const INNER_REACH: f64 = 0.06;

/// Lift and drag coefficients as polynomials in the angle, ascending, up to `degree`.
#[derive(Debug, Clone, Copy)]
struct Profile {
    lift: [f64; 9],
    drag: [f64; 9],
    degree: usize,
}

impl Profile {
    fn quadratic(lift_slope: f64, drag: [f64; 2]) -> Self {
        let mut profile = Self { lift: [0.0; 9], drag: [0.0; 9], degree: 2 };
        profile.lift[1] = lift_slope;
        profile.drag[0] = drag[0];
        profile.drag[2] = drag[1];
        profile
    }

    /// A thin plate with induced drag: C_L = 2π a, C_D = C_L²/(π · aspect ratio).
    fn plate(aspect_ratio: f64) -> Self {
        Self::quadratic(2.0 * PI, [0.0, 4.0 * PI / aspect_ratio])
    }

    fn wing(aerodynamics: Aerodynamics) -> Self {
        match aerodynamics {
            Aerodynamics::Linear => Self::quadratic(6.0, [0.05, 1.0]),
            Aerodynamics::WindTunnel => Self {
                lift: [
                    -1e-15,
                    3.634_063_117_174_4,
                    -1.155_316_115_022_734,
                    -13.127_972_418_509_98,
                    15.435_976_905_745_736,
                    19.266_141_214_863_08,
                    -52.388_499_489_940_14,
                    38.779_513_049_043_175,
                    -9.781_885_297_556_4,
                ],
                drag: [
                    0.064_645_268_865_914,
                    0.003_598_511_005_068,
                    3.835_222_476_977_072,
                    -0.745_202_453_390_095,
                    -8.905_261_747_777_024,
                    5.809_973_499_615_182,
                    11.861_112_337_513_331,
                    -15.506_103_756_150_457,
                    5.006_504_698_588_22,
                ],
                degree: 8,
            },
        }
    }

    /// C_L and C_D; the angle is clipped to ±π/2.
    fn coefficients<S: Scalar>(&self, angle: S) -> [S; 2] {
        let bound = real(angle).clamp(-FRAC_PI_2, FRAC_PI_2);
        let angle = if bound == real(angle) { angle } else { S::from(bound) };
        [&self.lift, &self.drag].map(|c| {
            c[..self.degree].iter().rev().fold(S::from(c[self.degree]), |sum, &c| sum * angle + c)
        })
    }

    /// dC_L/da and dC_D/da: 0 strictly outside ±π/2.
    fn slopes(&self, angle: f64) -> [f64; 2] {
        if angle.abs() > FRAC_PI_2 {
            return [0.0; 2];
        }
        [&self.lift, &self.drag].map(|c| {
            (1..=self.degree).rev().fold(0.0, |sum, power| sum * angle + power as f64 * c[power])
        })
    }
}

/// A surface at one point of the airplane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    /// In body axes (m).
    pub(super) position: [f64; 3],
    /// (m²).
    pub(super) area: f64,
    /// Whether the propeller blows on it.
    in_wash: bool,
    /// Axis of the lift: 2 for wing and elevator, whose angle is one of attack, 1 for the rudder,
    /// whose angle is one of sideslip.
    lift_axis: usize,
    /// The control that deflects it.
    pub(super) control: usize,
    /// Change of the effective angle per unit of that control (rad).
    pub(super) deflection_gain: f64,
    profile: Profile,
    air_density: f64,
}

/// Right and left outer wing, right and left inner wing, elevator, rudder.
pub(super) fn surfaces(p: &AirplaneParameters) -> [Surface; 6] {
    let [root, tip] = CHORDS;
    let taper = tip / root;
    let inner_area = 2.0 * INNER_REACH * root;
    let outer_area = 0.5 * (root + tip) * p.wing_span - inner_area;
    let outer_reach = p.wing_span / 6.0 * (1.0 + 2.0 * taper) / (1.0 + taper);
    let wing = |side: f64, reach: f64, area: f64, in_wash| Surface {
        position: [0.0, side * reach, 0.0],
        area: 0.5 * area,
        in_wash,
        lift_axis: 2,
        control: 1,
        deflection_gain: side * 0.63 * 15_f64.to_radians() / 100.0,
        profile: Profile::wing(p.aerodynamics),
        air_density: p.air_density,
    };
    let right = wing(1.0, outer_reach, outer_area, false);
    [
        right,
        wing(-1.0, outer_reach, outer_area, false),
        wing(1.0, INNER_REACH, inner_area, true),
        wing(-1.0, INNER_REACH, inner_area, true),
        Surface {
            position: [-0.22, 0.0, 0.0],
            area: 0.008,
            in_wash: true,
            control: 2,
            deflection_gain: 0.88 * 20_f64.to_radians() / 100.0,
            profile: Profile::plate(3.2),
            ..right
        },
        Surface {
            position: [-0.24, 0.0, -0.02],
            area: 0.005_512_5,
            in_wash: true,
            lift_axis: 1,
            control: 3,
            deflection_gain: -0.76 * 35_f64.to_radians() / 100.0,
            profile: Profile::plate(2.0),
            ..right
        },
    ]
}

impl Surface {
    /// V = v + ω × ρ, plus the wash along x.
    pub(super) fn velocity<S: Scalar>(&self, v: [S; 3], omega: [S; 3], wash: S) -> [S; 3] {
        let swing = cross(omega, self.position.map(S::from));
        let mut velocity = std::array::from_fn(|i| v[i] + swing[i]);
        if self.in_wash {
            velocity[0] += wash;
        }
        velocity
    }

    /// ∂V in [v, ω, controls].
    pub(super) fn velocity_jacobian(&self, wash_slope: f64) -> LoadJacobian {
        let mut out = LoadJacobian::zeros();
        out.fixed_columns_mut::<3>(0).copy_from(&Matrix3::identity());
        out.fixed_columns_mut::<3>(3).copy_from(&-Vector3::from(self.position).cross_matrix());
        if self.in_wash {
            out[(0, 6)] = wash_slope;
        }
        out
    }

    /// Change of the effective angle by the controls.
    pub(super) fn deflection<S: Scalar>(&self, controls: Controls<S>) -> S {
        (controls[self.control] - NEUTRAL) * self.deflection_gain
    }

    /// The force in body axes at velocity V, with angle atan2(V along the lift axis, `along`):
    /// −½ρ|V|² A [C_D, C_L] turned by that angle without the deflection.
    pub(super) fn force<S: Scalar>(&self, velocity: [S; 3], along: S, deflection: S) -> [S; 3] {
        let across = velocity[self.lift_axis];
        // In still air there is no direction; the angle is 0 there.
        let still = real(along) == 0.0 && real(across) == 0.0;
        let angle = if still { S::zero() } else { across.atan2(along) };
        let (sin, cos) = angle.sin_cos();
        let [lift, drag] = self.profile.coefficients(angle + deflection);
        let pressure = dot(velocity, velocity) * (-0.5 * self.air_density * self.area);
        let mut force = [S::zero(); 3];
        force[0] = pressure * (drag * cos - lift * sin);
        force[self.lift_axis] = pressure * (drag * sin + lift * cos);
        force
    }

    /// The same in f64, and its derivatives in [V, `along`, deflection].
    pub(super) fn force_jacobian(
        &self,
        velocity: [f64; 3],
        along: f64,
        deflection: f64,
    ) -> (Vector3<f64>, SMatrix<f64, 3, 5>) {
        let across = velocity[self.lift_axis];
        let square = along * along + across * across;
        let (angle, angle_across, angle_along) = if square == 0.0 {
            (0.0, 0.0, 0.0)
        } else {
            (across.atan2(along), along / square, -across / square)
        };
        let (sin, cos) = angle.sin_cos();
        let [lift, drag] = self.profile.coefficients(angle + deflection);
        let [lift_slope, drag_slope] = self.profile.slopes(angle + deflection);
        let factor = -0.5 * self.air_density * self.area;
        let pressure = factor * dot(velocity, velocity);
        let turned = |drag: f64, lift: f64| {
            let mut force = Vector3::zeros();
            force[0] = drag * cos - lift * sin;
            force[self.lift_axis] = drag * sin + lift * cos;
            force
        };
        let direction = turned(drag, lift);
        let by_deflection = turned(drag_slope, lift_slope) * pressure;
        // Turning [C_D, C_L] by a right angle is the derivative of the rotation.
        let by_angle = by_deflection + turned(-lift, drag) * pressure;
        let mut out = SMatrix::<f64, 3, 5>::zeros();
        for (axis, speed) in velocity.into_iter().enumerate() {
            out.set_column(axis, &(direction * (2.0 * factor * speed)));
        }
        let mut by_across = out.column_mut(self.lift_axis);
        by_across += by_angle * angle_across;
        out.set_column(3, &(by_angle * angle_along));
        out.set_column(4, &by_deflection);
        (direction * pressure, out)
    }
}

/// Wash of the propeller (m/s) as a function of the throttle.
pub(super) struct Wash(pub(super) Aerodynamics);

impl Wash {
    pub(super) fn speed<S: Scalar>(&self, throttle: S) -> S {
        match self.0 {
            Aerodynamics::Linear => throttle * 0.06,
            Aerodynamics::WindTunnel if real(throttle) > THROTTLE_THRESHOLD => {
                throttle.powf(0.199) * 5.568 - 8.859
            }
            Aerodynamics::WindTunnel => S::zero(),
        }
    }

    pub(super) fn slope(&self, throttle: f64) -> f64 {
        match self.0 {
            Aerodynamics::Linear => 0.06,
            Aerodynamics::WindTunnel if throttle > THROTTLE_THRESHOLD => {
                5.568 * 0.199 * throttle.powf(-0.801)
            }
            Aerodynamics::WindTunnel => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wind_tunnel_fits_explode_at_negative_angles_as_published() {
        let wing = Profile::wing(Aerodynamics::WindTunnel);
        for (degrees, lift, drag) in
            [(-45.0, -18.0, 4.0), (-60.0, -132.0, 31.0), (-90.0, -2113.0, 632.0)]
        {
            let [l, d] = wing.coefficients(f64::to_radians(degrees));
            assert!((l - lift).abs() < 0.5 && (d - drag).abs() < 0.5, "{degrees}: {l} {d}");
        }
        // Clipped beyond a right angle, with slope 0.
        assert_eq!(wing.coefficients(-3.0), wing.coefficients(-FRAC_PI_2));
        assert_eq!(wing.slopes(-3.0), [0.0; 2]);
    }

    #[test]
    fn geometry_follows_the_span() {
        for (p, outer_area, reach) in [
            (AirplaneParameters::nominal(), 0.029_756_25, 0.097_761_63),
            (AirplaneParameters::real(), 0.024_918_75, 0.087_470_93),
            (AirplaneParameters::wind_tunnel(), 0.032_175, 0.102_906_98),
        ] {
            let [right, left, ..] = surfaces(&p);
            assert!((right.area + left.area - outer_area).abs() < 1e-12);
            assert!(
                (right.position[1] - reach).abs() < 1e-8 && left.position[1] == -right.position[1]
            );
        }
    }
}
