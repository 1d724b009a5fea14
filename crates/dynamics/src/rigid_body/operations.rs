//! What a user asks of a [`Model`].
//!
//! Functions that take q and v start from there; nothing of an earlier call is assumed. Sizes are
//! the caller's business (debug assertions); [`Model::check_state`] checks what comes from outside.

use nalgebra::{DMatrix, DMatrixView, DVector, Dyn, Matrix3, Vector3};

use super::model::{FrameId, Model};
use super::spatial::cross;
use super::workspace::Workspace;

/// Velocity of a frame in the world's axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Twist {
    /// Velocity of the frame's origin (m/s).
    pub linear: Vector3<f64>,
    /// Angular velocity (rad/s).
    pub angular: Vector3<f64>,
}

/// Mechanical energy (J).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Energy {
    /// ½ v·M v, without rotor inertias.
    pub kinetic: f64,
    /// −g·Σ m c, zero with all centres at the origin.
    pub potential: f64,
}

impl Model {
    /// Scratch for one thread.
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        Workspace::new(self)
    }

    /// Rotation matrix (world ← frame) and origin (m) of a frame at configuration `q`.
    pub fn frame_pose(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        frame: FrameId,
    ) -> (Matrix3<f64>, Vector3<f64>) {
        self.place(ws, q.as_slice());
        let (r, p) = self.frame_placement(ws, frame);
        (Matrix3::from_fn(|i, j| r[i][j]), Vector3::from(p) + Vector3::from(ws.origin))
    }

    /// Velocity of a frame.
    pub fn frame_velocity(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        frame: FrameId,
    ) -> Twist {
        self.place(ws, q.as_slice());
        self.place_velocities(ws, v.as_slice());
        let (_, p) = self.frame_placement(ws, frame);
        match self.frame(frame).body {
            None => Twist { linear: Vector3::zeros(), angular: Vector3::zeros() },
            Some(body) => {
                let motion = ws.v[body];
                Twist { linear: motion.at(p).into(), angular: motion.angular.into() }
            }
        }
    }

    /// Writes the Jacobian of a frame, 6 × nv: rows 0…2 the velocity of its origin, rows 3…5 the
    /// angular velocity, in the world's axes, per unit of each v.
    pub fn frame_jacobian(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        frame: FrameId,
        out: &mut DMatrix<f64>,
    ) {
        self.place(ws, q.as_slice());
        let (_, p) = self.frame_placement(ws, frame);
        out.fill(0.0);
        let Some(body) = self.frame(frame).body else { return };
        for k in self.ancestors(body).iter().copied().chain(self.bodies[body].v.clone()) {
            let j = ws.j[k];
            let linear = j.at(p);
            for row in 0..3 {
                out[(row, k)] = linear[row];
                out[(3 + row, k)] = j.angular[row];
            }
        }
    }

    /// Centre of mass (m) of all that moves.
    pub fn center_of_mass(&self, ws: &mut Workspace, q: &DVector<f64>) -> Vector3<f64> {
        self.place(ws, q.as_slice());
        self.place_inertias(ws);
        let (mass, moment) = self.total_moment(ws);
        Vector3::from(moment) / mass + Vector3::from(ws.origin)
    }

    /// Writes the Jacobian of the centre of mass, 3 × nv.
    pub fn center_of_mass_jacobian(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        out: &mut DMatrix<f64>,
    ) {
        self.place(ws, q.as_slice());
        self.place_inertias(ws);
        self.gather_inertias(ws);
        let mass: f64 = self.mass();
        for k in 0..self.nv() {
            // The momentum of the subtree that moves, per total mass.
            let momentum = ws.y_subtree[self.dof_body[k]].apply(ws.j[k]);
            (0..3).for_each(|row| out[(row, k)] = momentum.linear[row] / mass);
        }
    }

    /// Kinetic and potential energy.
    pub fn energy(&self, ws: &mut Workspace, q: &DVector<f64>, v: &DVector<f64>) -> Energy {
        self.place_moving(ws, q.as_slice(), v.as_slice());
        Energy { kinetic: self.kinetic_of(ws), potential: self.potential_of(ws) }
    }

    /// Linear momentum and angular momentum about the centre of mass (world axes).
    pub fn momentum(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
    ) -> (Vector3<f64>, Vector3<f64>) {
        self.place_moving(ws, q.as_slice(), v.as_slice());
        let mut linear = Vector3::zeros();
        let mut angular = Vector3::zeros();
        for (y, &v) in ws.y.iter().zip(&ws.v) {
            let h = y.apply(v);
            linear += Vector3::from(h.linear);
            angular += Vector3::from(h.angular);
        }
        let (mass, moment) = self.total_moment(ws);
        let center = Vector3::from(moment) / mass;
        (linear, angular - center.cross(&linear))
    }

    /// Inverse dynamics τ = M(q) a + C(q, v) v + g(q) (RNEA), without armature and passive forces.
    pub fn rnea(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        a: &DVector<f64>,
        tau: &mut DVector<f64>,
    ) {
        self.place_moving(ws, q.as_slice(), v.as_slice());
        self.place_accelerations(ws, a.as_slice());
        self.joint_forces(ws);
        tau.as_mut_slice().copy_from_slice(&ws.tau);
    }

    /// The mass matrix, nv × nv (CRBA), without armature.
    pub fn mass_matrix(&self, ws: &mut Workspace, q: &DVector<f64>, out: &mut DMatrix<f64>) {
        self.place_mass_matrix(ws, q);
        self.write_mass_matrix(ws, out);
    }

    /// M⁻¹, nv × nv, without armature; from the sparse factor of the mass matrix.
    pub fn inverse_mass_matrix(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        out: &mut DMatrix<f64>,
    ) {
        self.place_mass_matrix(ws, q);
        self.factorize(ws);
        out.fill_with_identity();
        for column in out.as_mut_slice().chunks_exact_mut(self.nv()) {
            self.solve_mass(&ws.l, &ws.d_inverse, column);
        }
    }

    /// Forward dynamics (ABA): the acceleration under joint forces `tau`, O(n), without armature and
    /// passive forces.
    pub fn aba(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        tau: &DVector<f64>,
        a: &mut DVector<f64>,
    ) {
        self.place_moving(ws, q.as_slice(), v.as_slice());
        ws.rotor.fill(0.0);
        self.articulated_body(ws, tau.as_slice());
        a.as_mut_slice().copy_from_slice(&ws.qdd);
    }

    /// Derivatives of [`Model::rnea`]: [`Workspace::dtau_dq`], [`Workspace::dtau_dv`]; those by the
    /// acceleration are the mass matrix.
    pub fn rnea_derivatives(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        a: &DVector<f64>,
    ) {
        self.place_moving(ws, q.as_slice(), v.as_slice());
        self.place_accelerations(ws, a.as_slice());
        self.joint_forces(ws);
        self.gather_inertias(ws);
        self.differentiate_joint_forces(ws);
    }

    /// Derivatives of [`Model::aba`] (and its value, [`Workspace::qdd`]): [`Workspace::dqdd_dq`],
    /// [`Workspace::dqdd_dv`], [`Workspace::dqdd_dtau`], the last being M⁻¹.
    pub fn aba_derivatives(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        tau: &DVector<f64>,
    ) {
        self.differentiate_acceleration(ws, q.as_slice(), v.as_slice(), tau.as_slice(), None);
    }

    /// [`Model::aba_derivatives`] of the robot as its file has it: with rotor inertias, springs,
    /// damping, friction and limits. The derivative by τ is the inverse of
    /// [`Model::inertia_matrix`].
    pub fn forward_dynamics_derivatives(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        tau: &DVector<f64>,
    ) {
        self.differentiate_acceleration(ws, q.as_slice(), v.as_slice(), tau.as_slice(), Some(0.0));
    }

    /// [`Model::rnea`] of the robot as its file has it: the joint forces that motors must add to
    /// those of springs, damping, friction and limits, rotor inertias included.
    pub fn inverse_dynamics(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        a: &DVector<f64>,
        tau: &mut DVector<f64>,
    ) {
        self.rnea(ws, q, v, a, tau);
        for (k, tau) in tau.iter_mut().enumerate() {
            let passive = self.passive_force(k, q.as_slice(), v.as_slice(), 0.0).force;
            *tau += self.dofs[k].properties.armature * a[k] - passive;
        }
    }

    /// [`Model::mass_matrix`] with rotor inertias.
    pub fn inertia_matrix(&self, ws: &mut Workspace, q: &DVector<f64>, out: &mut DMatrix<f64>) {
        self.mass_matrix(ws, q, out);
        for (k, dof) in self.dofs.iter().enumerate() {
            out[(k, k)] += dof.properties.armature;
        }
    }

    /// The lower triangle of the mass matrix into `ws.m`, without armature.
    fn place_mass_matrix(&self, ws: &mut Workspace, q: &DVector<f64>) {
        self.place(ws, q.as_slice());
        self.place_inertias(ws);
        self.gather_inertias(ws);
        ws.rotor.fill(0.0);
        self.mass_matrix_of(ws);
    }

    /// The kinetic energy's matrix from its lower triangle.
    fn write_mass_matrix(&self, ws: &Workspace, out: &mut DMatrix<f64>) {
        let nv = self.nv();
        for k in 0..nv {
            for l in 0..=k {
                out[(k, l)] = ws.m[k * nv + l];
                out[(l, k)] = ws.m[k * nv + l];
            }
        }
    }

    /// Acceleration of a frame's origin without that of gravity (m/s², world axes) at (q, v, a).
    pub fn frame_acceleration(
        &self,
        ws: &mut Workspace,
        q: &DVector<f64>,
        v: &DVector<f64>,
        a: &DVector<f64>,
        frame: FrameId,
    ) -> Vector3<f64> {
        self.place(ws, q.as_slice());
        self.place_velocities(ws, v.as_slice());
        self.place_accelerations(ws, a.as_slice());
        let (_, p) = self.frame_placement(ws, frame);
        let Some(body) = self.frame(frame).body else { return Vector3::zeros() };
        let (v, a) = (ws.v[body], ws.a[body]);
        // d/dt (v_O + w × p) = a_O + ẇ × p + w × ṗ
        let point = v.at(p);
        let turning = cross(v.angular, point);
        Vector3::from(a.at(p)) + Vector3::from(turning) + self.gravity()
    }
}

impl Workspace {
    /// q̈ of the last forward dynamics.
    #[must_use]
    pub fn qdd(&self) -> &[f64] {
        &self.qdd
    }
    /// ∂τ/∂q, nv × nv.
    #[must_use]
    pub fn dtau_dq(&self) -> DMatrixView<'_, f64, Dyn, Dyn> {
        by_rows(&self.dtau_dq, self.nv(), self.nv(), 0)
    }
    /// ∂τ/∂v, nv × nv.
    #[must_use]
    pub fn dtau_dv(&self) -> DMatrixView<'_, f64, Dyn, Dyn> {
        by_rows(&self.dtau_dv, self.nv(), self.nv(), 0)
    }
    /// ∂q̈/∂q, nv × nv.
    #[must_use]
    pub fn dqdd_dq(&self) -> DMatrixView<'_, f64, Dyn, Dyn> {
        by_rows(&self.da, self.nv(), 3 * self.nv(), 0)
    }
    /// ∂q̈/∂v, nv × nv.
    #[must_use]
    pub fn dqdd_dv(&self) -> DMatrixView<'_, f64, Dyn, Dyn> {
        by_rows(&self.da, self.nv(), 3 * self.nv(), self.nv())
    }
    /// ∂q̈/∂τ = M⁻¹, nv × nv.
    #[must_use]
    pub fn dqdd_dtau(&self) -> DMatrixView<'_, f64, Dyn, Dyn> {
        by_rows(&self.da, self.nv(), 3 * self.nv(), 2 * self.nv())
    }

    fn nv(&self) -> usize {
        self.j.len()
    }
}

/// Columns `first` … `first` + nv of rows of `stride` numbers.
fn by_rows(data: &[f64], nv: usize, stride: usize, first: usize) -> DMatrixView<'_, f64, Dyn, Dyn> {
    let data = data.get(first..).unwrap_or(&[]);
    DMatrixView::from_slice_with_strides(data, nv, nv, stride, 1)
}
