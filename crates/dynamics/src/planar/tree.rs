//! A planar mechanism ready to step: constants in absolute-angle coordinates.

use nalgebra::DVector;

use super::description::{PlanarDescription, PlanarInertia};
use super::sensitivity::PlanarWorkspace;
use super::step::Kinematics;
use crate::continuous::Scalar;
use crate::duals::GenericDynamics;
use crate::{Dynamics, DynamicsError, Linearization, Plant};

/// A floating root with hinged links above flat ground, with N coordinates (3 of the root, one for
/// each link), 2 N states and N − 3 actions; see the [module](super) for the equations.
#[derive(Debug, Clone)]
pub struct PlanarTree<const N: usize> {
    pub(super) description: PlanarDescription,
    /// Length of a substep.
    pub(super) h: f64,
    /// Total mass times gravity.
    pub(super) weight: f64,
    /// Indexed by coordinate, as all arrays here: body i has coordinate i + 2, its angle. The
    /// entries of x and z are unused.
    pub(super) bodies: [BodyConstants; N],
    /// Every body with each of its ancestors.
    pub(super) pairs: Vec<Pair>,
    /// Entries of the mass matrix that do not depend on the configuration, armature included.
    pub(super) constant_mass: [[f64; N]; N],
    /// −∂f/∂p of springs, constant.
    pub(super) spring: [[f64; N]; N],
    /// −∂f/∂ṗ of dampers, constant.
    pub(super) damper: [[f64; N]; N],
    pub(super) points: Vec<ContactPoint>,
}

/// What the equations need of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyConstants {
    /// Coordinate of the body that carries it; its own for the root.
    pub(super) parent: usize,
    /// σ of its hinge.
    pub(super) sign: f64,
    /// Its hinge in the frame of the parent.
    pub(super) offset: [f64; 2],
    /// First moment of its mass and, at their hinges, of the masses it carries.
    pub(super) moment: [f64; 2],
    inertia: PlanarInertia,
}

/// A body and one of its ancestors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) ancestor: usize,
    pub(super) body: usize,
    /// The child of the ancestor on the way to the body.
    pub(super) via: usize,
}

/// A point that may touch the ground: the centre of a half ball, lowered by its radius.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContactPoint {
    pub(super) body: usize,
    pub(super) at: [f64; 2],
    pub(super) radius: f64,
}

impl<const N: usize> PlanarTree<N> {
    /// The mechanism of a description with N − 3 links.
    ///
    /// # Errors
    /// [`DynamicsError::Dimension`] for another number of links, [`DynamicsError::Parameter`] for a
    /// number out of its range.
    pub fn new(description: PlanarDescription) -> Result<Self, DynamicsError> {
        const { assert!(N >= 3, "x, z and θ are there without any link") };
        description.check(N)?;
        let (bodies, inertia, total) = augment::<N>(&description);
        let mut tree = Self {
            h: description.dt / description.n_substeps as f64,
            weight: total * description.gravity,
            bodies,
            pairs: Vec::new(),
            constant_mass: [[0.0; N]; N],
            spring: [[0.0; N]; N],
            damper: [[0.0; N]; N],
            points: Vec::new(),
            description,
        };
        tree.set_pairs();
        tree.set_constants(&inertia, total);
        tree.set_points();
        Ok(tree)
    }

    /// What the mechanism is made of.
    #[must_use]
    pub fn description(&self) -> &PlanarDescription {
        &self.description
    }

    /// Length of a control step (s).
    #[must_use]
    pub fn dt(&self) -> f64 {
        self.description.dt
    }

    /// Mass (kg), centre of mass in its own frame (m) and moment of inertia about it [kg·m²] of
    /// body `body` (0: root, i: i-th link).
    ///
    /// # Panics
    /// If there is no such body.
    #[must_use]
    pub fn inertia(&self, body: usize) -> (f64, [f64; 2], f64) {
        let PlanarInertia { mass, center, inertia } = self.bodies[body + 2].inertia;
        (mass, center, inertia)
    }

    /// Heights above ground of all points that may touch it (m), in state x: both ends of each
    /// capsule in order, the root's first.
    #[must_use]
    pub fn clearances(&self, x: &DVector<f64>) -> Vec<f64> {
        let (p, _) = self.absolute(x.as_slice());
        let kin = self.kinematics(&p);
        self.points.iter().map(|point| self.clearance(&kin, point)).collect()
    }

    /// Kinetic energy (with armature) plus that of gravity, zero on the ground, and of the joint
    /// springs (J), in state x. Limits and contact are left out.
    #[must_use]
    pub fn energy(&self, x: &DVector<f64>) -> f64 {
        let (p, w) = self.absolute(x.as_slice());
        let kin = self.kinematics(&p);
        let momentum = product(&self.mass_matrix(&kin), &w);
        let kinetic: f64 = momentum.iter().zip(&w).map(|(m, w)| 0.5 * m * w).sum();
        // Σ m z over all bodies from the first moments.
        let lift: f64 = kin.moment[2..].iter().map(|moment| moment[1]).sum();
        let height = self.description.root_height + p[1];
        let springs: f64 = (self.description.links.iter().zip(&x.as_slice()[3..N]))
            .map(|(link, q)| 0.5 * link.stiffness * q * q)
            .sum();
        kinetic + self.weight * height + self.description.gravity * lift + springs
    }

    /// Linear momentum along x and z [kg·m/s] and angular momentum about the origin of the ground
    /// [kg·m²/s] in state x, armature included as if it were mass of the coordinates.
    #[must_use]
    pub fn momentum(&self, x: &DVector<f64>) -> [f64; 3] {
        let (p, w) = self.absolute(x.as_slice());
        let m = product(&self.mass_matrix(&self.kinematics(&p)), &w);
        let height = self.description.root_height + p[1];
        [m[0], m[1], m[2..].iter().sum::<f64>() + height * m[0] - p[0] * m[1]]
    }

    /// Which branch each switch of the model takes during the step from x under u: clips of the
    /// actions, limits and contacts of every substep. Two points with equal answers lie on the same
    /// smooth piece of the model.
    #[must_use]
    pub fn branches(&self, x: &DVector<f64>, u: &DVector<f64>) -> Vec<u8> {
        let mut branches = Vec::new();
        let mut x_next = x.clone();
        self.advance(x.as_slice(), u.as_slice(), x_next.as_mut_slice(), |b| branches.push(b));
        branches
    }

    fn set_pairs(&mut self) {
        for body in 2..N {
            let mut via = body;
            while via > 2 {
                let ancestor = self.bodies[via].parent;
                self.pairs.push(Pair { ancestor, body, via });
                via = ancestor;
            }
        }
    }

    fn set_constants(&mut self, inertia: &[f64; N], total: f64) {
        let PlanarDescription { armature, viscosity, ref links, .. } = self.description;
        // In p, a quantity that belongs to q_j = σ (φ_j − φ_parent) couples the two bodies.
        let couple = |m: &mut [[f64; N]; N], j: usize, value: f64| {
            let parent = self.bodies[j].parent;
            m[j][j] += value;
            m[parent][parent] += value;
            m[j][parent] -= value;
            m[parent][j] -= value;
        };
        for i in 0..3 {
            self.constant_mass[i][i] = armature + if i < 2 { total } else { 0.0 };
            self.damper[i][i] = viscosity;
        }
        for (i, &inertia) in inertia.iter().enumerate().skip(2) {
            self.constant_mass[i][i] += inertia;
        }
        for (j, link) in (3..).zip(links) {
            couple(&mut self.constant_mass, j, armature);
            couple(&mut self.damper, j, link.damping + viscosity);
            couple(&mut self.spring, j, link.stiffness);
        }
    }

    fn set_points(&mut self) {
        let PlanarDescription { root, links, .. } = &self.description;
        let bodies = std::iter::once(root).chain(links.iter().map(|link| &link.capsules));
        for (body, capsules) in (2..).zip(bodies) {
            for capsule in capsules {
                let radius = capsule.radius;
                self.points.extend(capsule.ends().map(|at| ContactPoint { body, at, radius }));
            }
        }
    }

    /// p = T⁻¹ q and ṗ of a state.
    pub(super) fn absolute<S: Scalar>(&self, x: &[S]) -> ([S; N], [S; N]) {
        let convert = |from: &[S]| {
            let mut to = [S::zero(); N];
            to.copy_from_slice(from);
            for j in 3..N {
                let BodyConstants { parent, sign, .. } = self.bodies[j];
                to[j] = to[parent] + from[j] * sign;
            }
            to
        };
        (convert(&x[..N]), convert(&x[N..]))
    }

    /// q = T p, in place, for positions, velocities or their derivatives.
    pub(super) fn to_relative<S: Scalar>(&self, p: &mut [S]) {
        for j in (3..N).rev() {
            let BodyConstants { parent, sign, .. } = self.bodies[j];
            p[j] = (p[j] - p[parent]) * sign;
        }
    }
}

/// The bodies' constants, their moments of inertia with all carried masses at the hinges, and the
/// total mass.
fn augment<const N: usize>(d: &PlanarDescription) -> ([BodyConstants; N], [f64; N], f64) {
    let body = |parent, sign, offset, capsules: &[_]| {
        let inertia = PlanarInertia::of(capsules, d.density);
        let moment = inertia.center.map(|c| c * inertia.mass);
        BodyConstants { parent, sign, offset, moment, inertia }
    };
    let mut bodies = [body(2, 1.0, [0.0; 2], &d.root); N];
    for (j, link) in (3..).zip(&d.links) {
        bodies[j] = body(link.parent + 2, link.axis.sign(), link.offset, &link.capsules);
    }
    let (mut carried, mut about_hinge) = ([0.0; N], [0.0; N]);
    // Links come after what carries them, so the last are finished first.
    for j in (2..N).rev() {
        let BodyConstants { parent, offset: [x, z], inertia, .. } = bodies[j];
        let PlanarInertia { mass, center: [cx, cz], inertia } = inertia;
        carried[j] += mass;
        about_hinge[j] += inertia + mass * (cx * cx + cz * cz);
        if j > 2 {
            let all = carried[j];
            carried[parent] += all;
            about_hinge[parent] += all * (x * x + z * z);
            bodies[parent].moment[0] += all * x;
            bodies[parent].moment[1] += all * z;
        }
    }
    (bodies, about_hinge, carried[2])
}

/// Matrix times vector.
pub(super) fn product<S: Scalar, const N: usize>(m: &[[S; N]; N], v: &[S; N]) -> [S; N] {
    // Column by column, so that the sums run side by side.
    let mut out = [S::zero(); N];
    for (column, &value) in v.iter().enumerate() {
        for (out, row) in out.iter_mut().zip(m) {
            *out += row[column] * value;
        }
    }
    out
}

impl<const N: usize> Plant for PlanarTree<N> {
    type Workspace = PlanarWorkspace<N>;

    fn name(&self) -> &str {
        &self.description.name
    }
    fn nx(&self) -> usize {
        2 * N
    }
    fn nu(&self) -> usize {
        N - 3
    }
    fn workspace(&self) -> Self::Workspace {
        PlanarWorkspace::new()
    }
    fn step(
        &self,
        _ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.check_lengths(x, u)?;
        self.advance(x.as_slice(), u.as_slice(), x_next.as_mut_slice(), |_| ());
        Ok(())
    }
}

impl<const N: usize> Dynamics for PlanarTree<N> {
    fn linearize(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        self.check_lengths(x, u)?;
        self.differentiate(ws, x.as_slice(), u.as_slice(), out);
        Ok(())
    }
}

impl<const N: usize> GenericDynamics for PlanarTree<N> {
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S> {
        let mut x_next = x.to_vec();
        self.advance(x, u, &mut x_next, |_| ());
        x_next
    }
}

impl<const N: usize> PlanarTree<N> {
    fn check_lengths(&self, x: &DVector<f64>, u: &DVector<f64>) -> Result<(), DynamicsError> {
        for (what, found, needed) in [("x", x.len(), 2 * N), ("u", u.len(), N - 3)] {
            if found != needed {
                let model = self.description.name.clone();
                return Err(DynamicsError::Dimension { model, what, found, needed });
            }
        }
        Ok(())
    }

    /// Height of a contact point above the ground.
    pub(super) fn clearance<S: Scalar>(&self, kin: &Kinematics<S, N>, point: &ContactPoint) -> S {
        let (sin, cos) = kin.rotation[point.body];
        kin.height[point.body] - sin * point.at[0] + cos * point.at[1] - point.radius
    }
}
