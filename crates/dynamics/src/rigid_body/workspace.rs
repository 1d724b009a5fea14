//! Scratch and results of the algorithms on a [`Model`].

use super::model::{Frame, FrameId, JointMotion, Model};
use super::spatial::{
    Coriolis, Force, Inertia, M3, Motion, Symmetric, V3, add, apply, apply_constant, column, cross,
    product, scale,
};
use crate::Scalar;
use crate::duals::real;

/// Everything that the algorithms on one [`Model`] need and leave behind; one per thread, allocated
/// once. `S` is `f64`, or a dual number that carries derivatives.
#[derive(Debug, Clone)]
pub struct Workspace<S = f64> {
    /// The point about which spatial quantities stand: a floating base's own position, so that far
    /// from the world's origin nothing is lost in rounding; otherwise the world's origin.
    pub(crate) origin: V3<f64>,
    /// World placement of every body, from [`Self::origin`].
    pub(crate) r: Vec<M3<S>>,
    pub(crate) p: Vec<V3<S>>,
    /// Column of every degree of freedom: the motion at unit velocity.
    pub(crate) j: Vec<Motion<S>>,
    /// Velocity, acceleration (minus gravity) and velocity-dependent acceleration of every body.
    pub(crate) v: Vec<Motion<S>>,
    pub(crate) a: Vec<Motion<S>>,
    pub(crate) bias: Vec<Motion<S>>,
    /// Inertia of every body, and of the subtree behind it.
    pub(crate) y: Vec<Inertia<S>>,
    pub(crate) y_subtree: Vec<Inertia<S>>,
    /// Mass, and mass times centre, of the subtree behind every body (`gravity.rs`).
    pub(crate) carried: Vec<(f64, V3<S>)>,
    /// Momentum of every body.
    pub(crate) h: Vec<Force<S>>,
    /// Force on every body, or through its joint.
    pub(crate) f: Vec<Force<S>>,
    /// B of every body, then of subtrees.
    pub(crate) b: Vec<Coriolis<S>>,
    /// Columns of the derivatives (`derivatives.rs`).
    pub(crate) da_dq: Vec<Motion<S>>,
    pub(crate) da_dv: Vec<Motion<S>>,
    pub(crate) dv_dq: Vec<V3<S>>,
    /// Articulated inertias and forces (`aba.rs`).
    pub(crate) articulated: Vec<Articulated<S>>,
    pub(crate) u: Vec<Force<S>>,
    pub(crate) d: Vec<S>,
    pub(crate) rest: Vec<S>,
    /// Added to the diagonal of the mass matrix: rotor inertias and what passive forces add; zero for
    /// pure rigid bodies.
    pub(crate) rotor: Vec<S>,
    /// Joint forces and accelerations.
    pub(crate) tau: Vec<S>,
    pub(crate) qdd: Vec<S>,
    /// Mass matrix by rows; L and D of its factorisation.
    pub(crate) m: Vec<S>,
    pub(crate) l: Vec<S>,
    pub(crate) d_inverse: Vec<S>,
    /// ∂τ/∂q and ∂τ/∂v of inverse dynamics by rows.
    pub(crate) dtau_dq: Vec<S>,
    pub(crate) dtau_dv: Vec<S>,
    /// Right-hand sides, then [∂a/∂q, ∂a/∂v, ∂a/∂τ] by rows of 3 nv.
    pub(crate) da: Vec<S>,
}

/// Inertia of a subtree whose joints are free to give, and the force it takes to hold it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Articulated<S> {
    /// Force by linear motion (symmetric), force by angular motion, moment by angular motion
    /// (symmetric).
    pub(crate) linear: Symmetric<S>,
    pub(crate) mixed: M3<S>,
    pub(crate) angular: Symmetric<S>,
    pub(crate) force: Force<S>,
}

impl<S: Scalar> Workspace<S> {
    /// Scratch for `model`.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let (n, nv) = (model.n_bodies(), model.nv());
        let numbers = |len: usize| vec![S::zero(); len];
        let motions = |len: usize| vec![Motion::zero(); len];
        Self {
            origin: [0.0; 3],
            r: vec![[[S::zero(); 3]; 3]; n],
            p: vec![[S::zero(); 3]; n],
            j: motions(nv),
            v: motions(n),
            a: motions(n),
            bias: motions(n),
            y: vec![Inertia::zero(); n],
            y_subtree: vec![Inertia::zero(); n],
            carried: vec![(0.0, [S::zero(); 3]); n],
            h: vec![Force::zero(); n],
            f: vec![Force::zero(); n],
            b: vec![Coriolis::zero(); n],
            da_dq: motions(nv),
            da_dv: motions(nv),
            dv_dq: vec![[S::zero(); 3]; nv],
            articulated: vec![
                Articulated {
                    linear: [S::zero(); 6],
                    mixed: [[S::zero(); 3]; 3],
                    angular: [S::zero(); 6],
                    force: Force::zero(),
                };
                n
            ],
            u: vec![Force::zero(); nv],
            d: numbers(nv),
            rest: numbers(nv),
            rotor: numbers(nv),
            tau: numbers(nv),
            qdd: numbers(nv),
            m: numbers(nv * nv),
            l: numbers(nv * nv),
            d_inverse: numbers(nv),
            dtau_dq: numbers(nv * nv),
            dtau_dv: numbers(nv * nv),
            da: numbers(3 * nv * nv),
        }
    }
}

/// Rotation matrix of a unit quaternion (x, y, z, w).
#[inline(always)]
pub(crate) fn rotation_of<S: Scalar>(q: &[S]) -> M3<S> {
    let [x, y, z, w] = [q[0], q[1], q[2], q[3]];
    let (x2, y2, z2) = (x + x, y + y, z + z);
    let (xx, yy, zz) = (x * x2, y * y2, z * z2);
    let (xy, xz, yz) = (x * y2, x * z2, y * z2);
    let (wx, wy, wz) = (w * x2, w * y2, w * z2);
    let one = S::one();
    [
        [one - yy - zz, xy - wz, xz + wy],
        [xy + wz, one - xx - zz, yz - wx],
        [xz - wy, yz + wx, one - xx - yy],
    ]
}

impl Model {
    /// Placements of all bodies and columns of all degrees of freedom.
    #[inline]
    pub(crate) fn place<S: Scalar>(&self, ws: &mut Workspace<S>, q: &[S]) {
        let lift = |m: &M3<f64>| m.map(|row| row.map(S::from));
        for (i, body) in self.bodies.iter().enumerate() {
            let position = body.joint.position;
            // In the parent's frame.
            let (r, p) = match &body.joint.motion {
                JointMotion::Revolute { constant, cosine, sine, .. } => {
                    let (s, c) = q[body.q.start].sin_cos();
                    let r: M3<S> = std::array::from_fn(|a| {
                        std::array::from_fn(|b| c * cosine[a][b] + s * sine[a][b] + constant[a][b])
                    });
                    (r, position.map(S::from))
                }
                JointMotion::Prismatic { rotation, axis } => {
                    let displacement = q[body.q.start];
                    let p = std::array::from_fn(|k| displacement * axis[k] + position[k]);
                    (lift(rotation), p)
                }
                JointMotion::Spherical { rotation } => {
                    let r = product(&lift(rotation), &rotation_of(&q[body.q.clone()]));
                    (r, position.map(S::from))
                }
                JointMotion::FreeFlyer { rotation } => {
                    let q = &q[body.q.clone()];
                    let moved = apply(&lift(rotation), [q[0], q[1], q[2]]);
                    let r = product(&lift(rotation), &rotation_of(&q[3..]));
                    (r, std::array::from_fn(|k| moved[k] + position[k]))
                }
            };
            let (r, p, parent) = match body.parent {
                None if i == 0 && matches!(body.joint.motion, JointMotion::FreeFlyer { .. }) => {
                    // A constant point: what depends on q stays in p.
                    ws.origin = p.map(real);
                    (r, std::array::from_fn(|k| p[k] - ws.origin[k]), None)
                }
                None => (r, std::array::from_fn(|k| p[k] - ws.origin[k]), None),
                Some(parent) => {
                    let outer = &ws.r[parent];
                    (product(outer, &r), add(apply(outer, p), ws.p[parent]), Some(parent))
                }
            };
            (ws.r[i], ws.p[i]) = (r, p);
            let turning = |axis: V3<S>| Motion { linear: cross(p, axis), angular: axis };
            let sliding = |axis: V3<S>| Motion { linear: axis, angular: [S::zero(); 3] };
            let outward = |axis: V3<f64>| match parent {
                None => axis.map(S::from),
                Some(parent) => apply_constant(&ws.r[parent], axis),
            };
            let first = body.v.start;
            match &body.joint.motion {
                JointMotion::Revolute { axis, .. } => ws.j[first] = turning(outward(*axis)),
                JointMotion::Prismatic { axis, .. } => ws.j[first] = sliding(outward(*axis)),
                JointMotion::Spherical { .. } => {
                    for k in 0..3 {
                        ws.j[first + k] = turning(column(&r, k));
                    }
                }
                JointMotion::FreeFlyer { .. } => {
                    for k in 0..3 {
                        ws.j[first + k] = sliding(column(&r, k));
                        ws.j[first + 3 + k] = turning(column(&r, k));
                    }
                }
            }
        }
    }

    /// World inertias of all bodies, after [`Model::place`].
    #[inline]
    pub(crate) fn place_inertias<S: Scalar>(&self, ws: &mut Workspace<S>) {
        for (i, body) in self.bodies.iter().enumerate() {
            ws.y[i] = Inertia::placed(body.mass, body.center, &body.rotational, &ws.r[i], ws.p[i]);
        }
    }

    /// Velocities, and the accelerations v × J v that they cause, after [`Model::place`].
    #[inline]
    pub(crate) fn place_velocities<S: Scalar>(&self, ws: &mut Workspace<S>, v: &[S]) {
        for (i, body) in self.bodies.iter().enumerate() {
            let mut joint = Motion::zero();
            for k in body.v.clone() {
                joint = joint.add_scaled(v[k], ws.j[k]);
            }
            match body.parent {
                None => {
                    ws.v[i] = joint;
                    ws.bias[i] = Motion::zero();
                }
                Some(parent) => {
                    // v_i × J v = v_parent × J v
                    ws.bias[i] = ws.v[parent].cross(joint);
                    ws.v[i] = ws.v[parent].add(joint);
                }
            }
        }
    }

    /// Placements, columns, inertias and velocities: where all that depends on q and v starts from.
    #[inline]
    pub(crate) fn place_moving<S: Scalar>(&self, ws: &mut Workspace<S>, q: &[S], v: &[S]) {
        self.place(ws, q);
        self.place_inertias(ws);
        self.place_velocities(ws, v);
    }

    /// Accelerations, with the world accelerating against gravity, after
    /// [`Model::place_velocities`].
    #[inline]
    pub(crate) fn place_accelerations<S: Scalar>(&self, ws: &mut Workspace<S>, qdd: &[S]) {
        for (i, body) in self.bodies.iter().enumerate() {
            let mut a = match body.parent {
                None => self.world_acceleration(),
                Some(parent) => ws.a[parent].add(ws.bias[i]),
            };
            for k in body.v.clone() {
                a = a.add_scaled(qdd[k], ws.j[k]);
            }
            ws.a[i] = a;
        }
    }

    /// −g: a resting robot feels its weight as if the world accelerated upwards.
    #[inline(always)]
    pub(crate) fn world_acceleration<S: Scalar>(&self) -> Motion<S> {
        Motion { linear: self.gravity.map(|g| S::from(-g)), angular: [S::zero(); 3] }
    }

    /// Placement of a frame from the workspace's origin, after [`Model::place`].
    pub(crate) fn frame_placement<S: Scalar>(
        &self,
        ws: &Workspace<S>,
        id: FrameId,
    ) -> (M3<S>, V3<S>) {
        let Frame { body, rotation, position, .. } = self.frame(id);
        let rotation = rotation.map(|row| row.map(S::from));
        let position = position.map(S::from);
        match *body {
            None => (rotation, std::array::from_fn(|k| position[k] - ws.origin[k])),
            Some(body) => {
                let r = &ws.r[body];
                (product(r, &rotation), add(apply(r, position), ws.p[body]))
            }
        }
    }

    /// Mass (kg), and mass times centre of mass from the workspace's origin, of everything that moves,
    /// after [`Model::place_inertias`].
    pub(crate) fn total_moment<S: Scalar>(&self, ws: &Workspace<S>) -> (f64, V3<S>) {
        ws.y.iter()
            .fold((0.0, [S::zero(); 3]), |(mass, moment), y| (mass + y.mass, add(moment, y.moment)))
    }

    /// Kinetic energy ½ Σ v·Y v (J), after [`Model::place_velocities`] and inertias.
    pub(crate) fn kinetic_of<S: Scalar>(&self, ws: &Workspace<S>) -> S {
        let twice = ws.y.iter().zip(&ws.v).fold(S::zero(), |sum, (y, &v)| sum + v.dot(y.apply(v)));
        twice * 0.5
    }

    /// Potential energy −g·Σ m c (J).
    pub(crate) fn potential_of<S: Scalar>(&self, ws: &Workspace<S>) -> S {
        let (mass, moment) = self.total_moment(ws);
        let weighted: V3<S> =
            std::array::from_fn(|k| (moment[k] + mass * ws.origin[k]) * self.gravity[k]);
        scale(weighted, -S::one()).into_iter().fold(S::zero(), |sum, x| sum + x)
    }
}
