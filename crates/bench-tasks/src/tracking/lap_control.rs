//! Controllers that drive along a reference, written once for every scalar.

use dynamics::{GenericControl, Scalar, real, wrap_to_pi};
use serde::{Deserialize, Serialize};

/// How a robot follows its reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LapControl {
    /// The law.
    pub law: LapLaw,
    /// Limits of |a| and |ω|, or of u_v and |u_ω|.
    pub limits: [f64; 2],
    /// γ_v of backstepping.
    pub speed_weight: f64,
    /// γ_φ of backstepping.
    pub heading_weight: f64,
    /// Least speed by which backstepping divides its steering [m/s].
    pub min_speed: f64,
}

/// Laws of control; ν is the velocity that is wanted, e_φ = ∠ν − φ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LapLaw {
    /// The car as released: the proportional parts of backstepping. Gains k_x, k_y, k_v, k_φ, k_a, k_ω,
    ///
    /// ```text
    /// ν = ṗ_d + diag(k_x, k_y)(p_d − p)    a = k_a a_ff + k_v(|ν| − v)    ω = k_ω w_ff + k_φ e_φ
    /// ```
    ///
    /// with the reference's acceleration a_ff along its path and its yaw rate w_ff.
    Car,
    /// Full backstepping for v̇ = a, φ̇ = v ω, with e = p_d − p, h(φ) = (cosφ, sinφ) and
    /// ψ = (h(∠ν) − h(φ))/e_φ:
    ///
    /// ```text
    /// a = k_a d|ν|/dt + k_v(|ν| − v) + γ_v e·h(φ)    vω = k_ω d∠ν/dt + k_φ e_φ + γ_φ |ν| e·ψ
    /// ```
    ///
    /// With k_a = k_ω = 1, ½|e|² + e_v²/(2γ_v) + e_φ²/(2γ_φ) never grows.
    Backstepping,
    /// A robot that is told speed and yaw rate, the latter with either sign. Gains k_x, k_y, k_vx, k_φ,
    /// k_vy, k_ω,
    ///
    /// ```text
    /// ν = diag(k_vx, k_vy) ṗ_d + diag(k_x, k_y)(p_d − p)    u_v = |ν|    u_ω = k_ω w_ff + k_φ e_φ
    /// ```
    Unicycle,
}

/// Gains, whatever the law.
pub(crate) const N_GAINS: usize = 6;

impl LapControl {
    /// The car as released.
    #[must_use]
    pub fn car(limits: [f64; 2]) -> Self {
        Self { law: LapLaw::Car, limits, speed_weight: 1.0, heading_weight: 1.0, min_speed: 0.5 }
    }

    /// The robot that is told speed and yaw rate.
    #[must_use]
    pub fn unicycle(limits: [f64; 2]) -> Self {
        Self { law: LapLaw::Unicycle, ..Self::car(limits) }
    }
}

impl GenericControl<4, 6, N_GAINS, 2> for LapControl {
    fn control_generic<S: Scalar>(
        &self,
        x: &[S; 4],
        sigma: &[S; 6],
        gains: &[S; N_GAINS],
    ) -> [S; 2] {
        let [v, phi] = [x[2], x[3]];
        let e = [sigma[0] - x[0], sigma[1] - x[1]];
        let rate = [sigma[2], sigma[3]];
        let acceleration = [sigma[4], sigma[5]];
        let [kx, ky, ..] = *gains;
        let k_phi = gains[3];
        let speed = norm(rate);
        let feed_yaw = cross(rate, acceleration) / (speed * speed);
        let u = match self.law {
            LapLaw::Car => {
                let [_, _, kv, _, ka, kw] = *gains;
                let nu = [rate[0] + kx * e[0], rate[1] + ky * e[1]];
                let feed = dot(rate, acceleration) / speed;
                [ka * feed + kv * (norm(nu) - v), kw * feed_yaw + k_phi * turn(nu, phi)]
            }
            LapLaw::Backstepping => {
                let Self { speed_weight, heading_weight, min_speed, .. } = *self;
                let [_, _, kv, _, ka, kw] = *gains;
                let nu = [rate[0] + kx * e[0], rate[1] + ky * e[1]];
                let (wanted, e_phi) = (norm(nu), turn(nu, phi));
                // ė with the velocity there is, not with the virtual one.
                let (sin, cos) = phi.sin_cos();
                let e_rate = [rate[0] - v * cos, rate[1] - v * sin];
                let nu_rate = [acceleration[0] + kx * e_rate[0], acceleration[1] + ky * e_rate[1]];
                // (h(φ + e_φ) − h(φ))/e_φ = sinc(e_φ/2) h'(φ + e_φ/2)
                let (middle_sin, middle_cos) = (phi + e_phi * 0.5).sin_cos();
                let psi = [-(middle_sin * sinc(e_phi * 0.5)), middle_cos * sinc(e_phi * 0.5)];
                let a = ka * (dot(nu, nu_rate) / wanted)
                    + kv * (wanted - v)
                    + dot(e, [cos, sin]) * speed_weight;
                let yaw = kw * (cross(nu, nu_rate) / (wanted * wanted))
                    + k_phi * e_phi
                    + wanted * dot(e, psi) * heading_weight;
                let divisor = if real(v) > min_speed { v } else { S::from(min_speed) };
                [a, yaw / divisor]
            }
            LapLaw::Unicycle => {
                let [_, _, kvx, _, kvy, kw] = *gains;
                let nu = [kvx * rate[0] + kx * e[0], kvy * rate[1] + ky * e[1]];
                [norm(nu), kw * feed_yaw + k_phi * turn(nu, phi)]
            }
        };
        std::array::from_fn(|j| clamp(u[j], self.limits[j]))
    }
}

fn dot<S: Scalar>(a: [S; 2], b: [S; 2]) -> S {
    a[0] * b[0] + a[1] * b[1]
}

fn cross<S: Scalar>(a: [S; 2], b: [S; 2]) -> S {
    a[0] * b[1] - a[1] * b[0]
}

/// |a|, differentiable at 0.
fn norm<S: Scalar>(a: [S; 2]) -> S {
    (dot(a, a) + 1e-12).sqrt()
}

/// The angle from φ to the direction of ν, in (−π, π].
fn turn<S: Scalar>(nu: [S; 2], phi: S) -> S {
    // Turned back by the angle itself, ν points along the first axis, where the arctangent of the slope has
    // derivatives of every order.
    let angle = real(nu[1]).atan2(real(nu[0]));
    let (sin, cos) = angle.sin_cos();
    let (along, across) = (nu[0] * cos + nu[1] * sin, nu[1] * cos - nu[0] * sin);
    let offset = if real(along) > 0.0 { (across / along).atan() } else { across };
    let turn = offset + angle - phi;
    turn + (wrap_to_pi(real(turn)) - real(turn))
}

/// sin(a)/a.
fn sinc<S: Scalar>(a: S) -> S {
    if real(a).abs() < 1e-3 {
        let squares = a * a;
        squares * squares * (1.0 / 120.0) - squares * (1.0 / 6.0) + 1.0
    } else {
        a.sin() / a
    }
}

/// Within ±limit; constant beyond.
fn clamp<S: Scalar>(u: S, limit: f64) -> S {
    if real(u).abs() > limit { S::from(limit.copysign(real(u))) } else { u }
}
