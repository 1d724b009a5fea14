//! Configurations: neutral, random, moved along tangent vectors, compared.

use nalgebra::{DMatrix, DVector, Matrix3, Matrix6, Quaternion, UnitQuaternion, Vector3, Vector6};

use super::model::{JointMotion, Model};
use super::spatial::{V3, add, apply, cross, dot};
use super::workspace::rotation_of;
use crate::duals::real;
use crate::error::check_vector;
use crate::{DynamicsError, Scalar, Stream};

/// Below this angle (rad), and its square, closed forms of SO(3) are replaced by their series.
const SMALL_ANGLE: f64 = 1e-2;
const SMALL_SQUARE: f64 = SMALL_ANGLE * SMALL_ANGLE;
/// Terms of the series of the right Jacobian at most; a step turns by far less than a radian.
const MAX_TERMS: i32 = 64;
/// How far the norm of a quaternion may be from 1.
const UNIT_TOLERANCE: f64 = 1e-6;

impl Model {
    /// Every scalar joint at 0, every quaternion the identity.
    #[must_use]
    pub fn neutral(&self) -> DVector<f64> {
        let mut q = DVector::zeros(self.nq());
        for body in &self.bodies {
            if body.q.len() > 1 {
                q[body.q.end - 1] = 1.0;
            }
        }
        q
    }

    /// A configuration drawn with `stream`: scalar joints uniform within their limits (of limits wider
    /// than ±π, within the part next to zero), positions of free-flyers within ±1 m, orientations uniform.
    #[must_use]
    pub fn random_configuration(&self, stream: &mut Stream) -> DVector<f64> {
        let mut q = self.neutral();
        for body in &self.bodies {
            let range = body.q.clone();
            if range.len() == 1 {
                let [low, high] = self.dofs[body.v.start].properties.position_limit;
                let reach = std::f64::consts::PI;
                // Of wide or one-sided limits, the part next to zero.
                let low_end = low.max((-reach).min(high - 2.0 * reach));
                let high_end = high.min(reach.max(low + 2.0 * reach));
                q[range.start] = stream.uniform(low_end, high_end);
                continue;
            }
            if range.len() == 7 {
                (0..3).for_each(|k| q[range.start + k] = stream.uniform(-1.0, 1.0));
            }
            let turn: [f64; 4] = std::array::from_fn(|_| stream.normal());
            let norm = turn.iter().map(|x| x * x).sum::<f64>().sqrt();
            for (k, x) in turn.iter().enumerate() {
                q[range.end - 4 + k] = x / norm;
            }
        }
        q
    }

    /// Checks a configuration and a velocity: sizes, finite entries, unit quaternions.
    ///
    /// # Errors
    /// [`DynamicsError`], naming the entry.
    pub fn check_state(&self, q: &DVector<f64>, v: &DVector<f64>) -> Result<(), DynamicsError> {
        check_vector(self.name(), "q", q.as_slice(), self.nq())?;
        check_vector(self.name(), "v", v.as_slice(), self.nv())?;
        for body in self.bodies.iter().filter(|body| body.q.len() > 1) {
            let norm = q.rows_range(body.q.end - 4..body.q.end).norm();
            if (norm - 1.0).abs() > UNIT_TOLERANCE {
                return Err(DynamicsError::Parameter {
                    model: self.name().to_owned(),
                    parameter: "the norm of a quaternion in `q`",
                    value: norm,
                    needed: "1: order x, y, z, w",
                });
            }
        }
        Ok(())
    }

    /// Writes q ⊕ dv. Scalar joints add; spherical joints turn by exp(dv) and free-flyers move by
    /// exp(dv) of SE(3), both in the child's frame.
    pub fn integrate(&self, q: &DVector<f64>, dv: &DVector<f64>, out: &mut DVector<f64>) {
        self.integrate_generic(q.as_slice(), dv.as_slice(), out.as_mut_slice());
    }

    /// [`Model::integrate`] for any scalar.
    pub(crate) fn integrate_generic<S: Scalar>(&self, q: &[S], dv: &[S], out: &mut [S]) {
        for body in &self.bodies {
            let (iq, iv) = (body.q.start, body.v.start);
            match body.joint.motion {
                JointMotion::Revolute { .. } | JointMotion::Prismatic { .. } => {
                    out[iq] = q[iq] + dv[iv];
                }
                JointMotion::Spherical { .. } => {
                    let turned = multiply(four(q, iq), exp_rotation(three(dv, iv)));
                    out[iq..iq + 4].copy_from_slice(&turned);
                }
                JointMotion::FreeFlyer { .. } => {
                    let (linear, angular) = (three(dv, iv), three(dv, iv + 3));
                    let r = four(q, iq + 3);
                    let moved = apply(&rotation_of(&r), left_jacobian(angular, linear));
                    out[iq..iq + 3].copy_from_slice(&add(three(q, iq), moved));
                    let turned = multiply(r, exp_rotation(angular));
                    out[iq + 3..iq + 7].copy_from_slice(&turned);
                }
            }
        }
    }

    /// Writes q₁ ⊖ q₀, the tangent vector at `q0` that leads to `q1`.
    pub fn difference(&self, q0: &DVector<f64>, q1: &DVector<f64>, out: &mut DVector<f64>) {
        self.difference_of(q0.as_slice(), q1.as_slice(), out.as_mut_slice());
    }

    pub(crate) fn difference_of(&self, q0: &[f64], q1: &[f64], out: &mut [f64]) {
        for body in &self.bodies {
            let (iq, iv) = (body.q.start, body.v.start);
            match body.joint.motion {
                JointMotion::Revolute { .. } | JointMotion::Prismatic { .. } => {
                    out[iv] = q1[iq] - q0[iq];
                }
                JointMotion::Spherical { .. } => {
                    let turn = quaternion(q0, iq).inverse() * quaternion(q1, iq);
                    out[iv..iv + 3].copy_from_slice(log_rotation(&turn).as_slice());
                }
                JointMotion::FreeFlyer { .. } => {
                    let r0 = quaternion(q0, iq + 3);
                    let angular = log_rotation(&(r0.inverse() * quaternion(q1, iq + 3)));
                    let moved = r0.inverse() * (slice3(q1, iq) - slice3(q0, iq));
                    let linear = inverse_left_jacobian(angular) * moved;
                    out[iv..iv + 3].copy_from_slice(linear.as_slice());
                    out[iv + 3..iv + 6].copy_from_slice(angular.as_slice());
                }
            }
        }
    }

    /// Writes ∂(q₁ ⊖ q₀)/∂q₁ by tangent vectors at `q1` into the blocks of a matrix of at least
    /// nv × nv that couple the degrees of freedom of one joint on a Lie group; others are left alone.
    pub(crate) fn difference_jacobian_of(&self, q0: &[f64], q1: &[f64], out: &mut DMatrix<f64>) {
        for body in self.bodies.iter().filter(|body| body.v.len() > 1) {
            let (iq, iv, size) = (body.q.start, body.v.start, body.v.len());
            let at = if size == 6 { iq + 3 } else { iq };
            let r0 = quaternion(q0, at);
            let angular = log_rotation(&(r0.inverse() * quaternion(q1, at)));
            let linear = if size == 6 {
                let moved = r0.inverse() * (slice3(q1, iq) - slice3(q0, iq));
                inverse_left_jacobian(angular) * moved
            } else {
                Vector3::zeros()
            };
            let inverse = inverse_right_jacobian(linear, angular);
            let offset = 6 - size;
            out.view_mut((iv, iv), (size, size))
                .copy_from(&inverse.view((offset, offset), (size, size)));
        }
    }

    /// D ← A D + J E for matrices of tangent columns (rows of `n` numbers), where A and J are the
    /// derivatives of q ⊕ dv by q and by dv: what a step along dv does to derivatives.
    pub(crate) fn integrate_tangents(&self, dv: &[f64], d: &mut [f64], e: &[f64], n: usize) {
        for body in &self.bodies {
            let v = body.v.clone();
            let (first, size) = (v.start, v.len());
            let rows = first * n..v.end * n;
            let (d, e) = (&mut d[rows.clone()], &e[rows]);
            let (by_q, by_v) = match size {
                1 => {
                    d.iter_mut().zip(e).for_each(|(d, e)| *d += e);
                    continue;
                }
                3 => tangent_maps(Vector3::zeros(), slice3(dv, first)),
                _ => tangent_maps(slice3(dv, first), slice3(dv, first + 3)),
            };
            // A rotation is the angular block of a motion.
            let offset = 6 - size;
            for column in 0..n {
                let mut sums = [0.0; 6];
                for (i, sum) in sums[..size].iter_mut().enumerate() {
                    for k in 0..size {
                        let at = (offset + i, offset + k);
                        *sum += by_q[at] * d[k * n + column] + by_v[at] * e[k * n + column];
                    }
                }
                for (i, sum) in sums[..size].iter().enumerate() {
                    d[i * n + column] = *sum;
                }
            }
        }
    }
}

/// Derivatives of x ⊕ ξ in SE(3) by x and by ξ: Ad(exp(−ξ)) and the right Jacobian
/// J = Σ (−ad ξ)ᵏ/(k + 1)!, of which the first is E − ad ξ J.
pub(super) fn tangent_maps(
    linear: Vector3<f64>,
    angular: Vector3<f64>,
) -> (Matrix6<f64>, Matrix6<f64>) {
    let ad = adjoint(linear, angular);
    let mut jacobian = Matrix6::identity();
    let mut term = Matrix6::identity();
    for k in 1..MAX_TERMS {
        term = -(ad * term) / (f64::from(k) + 1.0);
        jacobian += term;
        if term.amax() < f64::EPSILON * 1e-2 {
            break;
        }
    }
    (Matrix6::identity() - ad * jacobian, jacobian)
}

/// Second derivatives of λ·log(exp(−ξ) exp(ξ + ε)) at ε = 0: the symmetric part of λ·∂J(ε₁) ε₂, with J
/// and its series as in [`tangent_maps`].
pub(super) fn tangent_hessian(
    linear: Vector3<f64>,
    angular: Vector3<f64>,
    lambda: &Vector6<f64>,
) -> Matrix6<f64> {
    let ad = adjoint(linear, angular);
    let generators: [Matrix6<f64>; 6] = std::array::from_fn(|i| {
        let unit = |at: usize| Vector3::from_fn(|k, _| if at + k == i { 1.0 } else { 0.0 });
        adjoint(unit(0), unit(3))
    });
    // λᵀ(−ad ξ)ᵏ/(k + 1)!, and by rows its derivatives along the generators.
    let mut term = lambda.transpose();
    let mut moved = Matrix6::zeros();
    let mut sum = Matrix6::zeros();
    for k in 1..MAX_TERMS {
        let factor = -1.0 / (f64::from(k) + 1.0);
        moved *= ad;
        for (i, generator) in generators.iter().enumerate() {
            let mut row = moved.row_mut(i);
            row += term * generator;
        }
        moved *= factor;
        term = term * ad * factor;
        sum += moved;
        if moved.amax() <= sum.amax() * f64::EPSILON * 1e-2 {
            break;
        }
    }
    (sum + sum.transpose()) * 0.5
}

/// ad ξ.
fn adjoint(linear: Vector3<f64>, angular: Vector3<f64>) -> Matrix6<f64> {
    let mut ad = Matrix6::zeros();
    ad.fixed_view_mut::<3, 3>(0, 0).copy_from(&angular.cross_matrix());
    ad.fixed_view_mut::<3, 3>(0, 3).copy_from(&linear.cross_matrix());
    ad.fixed_view_mut::<3, 3>(3, 3).copy_from(&angular.cross_matrix());
    ad
}

/// J⁻¹ of the right Jacobian J of SE(3), blockwise: with C the angular block of J⁻¹ and B the upper
/// right block of J, J⁻¹ = [C, −C B C; 0, C].
fn inverse_right_jacobian(linear: Vector3<f64>, angular: Vector3<f64>) -> Matrix6<f64> {
    let (_, jacobian) = tangent_maps(linear, angular);
    // J_r(w) = J_l(−w).
    let inverse = inverse_left_jacobian(-angular);
    let coupling = jacobian.fixed_view::<3, 3>(0, 3).into_owned();
    let mut out = Matrix6::zeros();
    out.fixed_view_mut::<3, 3>(0, 0).copy_from(&inverse);
    out.fixed_view_mut::<3, 3>(3, 3).copy_from(&inverse);
    out.fixed_view_mut::<3, 3>(0, 3).copy_from(&(-inverse * coupling * inverse));
    out
}

/// [a, b] of two twists (linear, angular): the rate of b when it is carried along a.
pub(crate) fn bracket<S: Scalar>(a: &[S], b: &[S], out: &mut [S]) {
    if a.len() == 3 {
        out.copy_from_slice(&cross(three(a, 0), three(b, 0)));
        return;
    }
    let (va, wa, vb, wb) = (three(a, 0), three(a, 3), three(b, 0), three(b, 3));
    out[..3].copy_from_slice(&add(cross(wa, vb), cross(va, wb)));
    out[3..].copy_from_slice(&cross(wa, wb));
}

fn three<S: Scalar>(from: &[S], at: usize) -> V3<S> {
    [from[at], from[at + 1], from[at + 2]]
}

fn four<S: Scalar>(from: &[S], at: usize) -> [S; 4] {
    [from[at], from[at + 1], from[at + 2], from[at + 3]]
}

fn slice3(from: &[f64], at: usize) -> Vector3<f64> {
    three(from, at).into()
}

/// Product of quaternions (x, y, z, w).
fn multiply<S: Scalar>(a: [S; 4], b: [S; 4]) -> [S; 4] {
    let (u, v) = (three(&a, 0), three(&b, 0));
    let turned = cross(u, v);
    let xyz: V3<S> = std::array::from_fn(|k| v[k] * a[3] + u[k] * b[3] + turned[k]);
    [xyz[0], xyz[1], xyz[2], a[3] * b[3] - dot(u, v)]
}

/// Unit quaternion of a rotation vector. Written in θ², so that derivatives at 0 exist.
fn exp_rotation<S: Scalar>(w: V3<S>) -> [S; 4] {
    let square = dot(w, w) * 0.25;
    // sin(θ/2)/θ and cos(θ/2)
    let (factor, cosine) = if real(square) < SMALL_SQUARE {
        (
            (square * (square * 0.05 - 1.0) / 6.0 + 1.0) * 0.5,
            square * (square / 12.0 - 1.0) * 0.5 + 1.0,
        )
    } else {
        let half = square.sqrt();
        (half.sin() / half * 0.5, half.cos())
    };
    [w[0] * factor, w[1] * factor, w[2] * factor, cosine]
}

/// J_l(w) a of SO(3): where exp in SE(3) moves the origin.
fn left_jacobian<S: Scalar>(w: V3<S>, a: V3<S>) -> V3<S> {
    let square = dot(w, w);
    // (1 − cos θ)/θ² and (θ − sin θ)/θ³
    let (first, second) = if real(square) < SMALL_SQUARE {
        (
            (square * (square / 30.0 - 1.0) / 12.0 + 1.0) * 0.5,
            (square * (square / 42.0 - 1.0) / 20.0 + 1.0) / 6.0,
        )
    } else {
        let theta = square.sqrt();
        ((-theta.cos() + 1.0) / square, (theta - theta.sin()) / (square * theta))
    };
    let once = cross(w, a);
    let twice = cross(w, once);
    std::array::from_fn(|k| a[k] + once[k] * first + twice[k] * second)
}

fn quaternion(q: &[f64], at: usize) -> UnitQuaternion<f64> {
    UnitQuaternion::new_normalize(Quaternion::new(q[at + 3], q[at], q[at + 1], q[at + 2]))
}

/// The shortest rotation vector.
fn log_rotation(r: &UnitQuaternion<f64>) -> Vector3<f64> {
    let sign = if r.w < 0.0 { -1.0 } else { 1.0 };
    let (w, xyz) = (sign * r.w, sign * r.imag());
    let sine = xyz.norm();
    if sine == 0.0 {
        return xyz * 2.0;
    }
    xyz * (2.0 * sine.atan2(w) / sine)
}

fn inverse_left_jacobian(w: Vector3<f64>) -> Matrix3<f64> {
    let theta = w.norm();
    let cross = w.cross_matrix();
    // 1/θ² − (1 + cos θ)/(2 θ sin θ)
    let b = if theta < SMALL_ANGLE {
        1.0 / 12.0 + theta * theta * (1.0 + theta * theta / 42.0) / 720.0
    } else {
        1.0 / (theta * theta) - 1.0 / (2.0 * theta * (0.5 * theta).tan())
    };
    Matrix3::identity() - cross * 0.5 + cross * cross * b
}
