//! A rigid-body tree with motors as a discrete-time [`Plant`] with exact Jacobians.

use nalgebra::{DMatrix, DVector};
use num_dual::Dual64;

use super::configuration::bracket;
use super::description::RobotDescription;
use super::hessian::HessianScratch;
use super::model::{JointMotion, Model, ModelError};
use super::spatial::apply_transposed;
use super::workspace::{Workspace, rotation_of};
use crate::error::check_vector;
use crate::plant::difference_jacobians;
use crate::{
    DerivativeKind, Dynamics, DynamicsError, HessianProduct, Linearization, Plant, Scalar,
    StateSpace, States,
};

/// A motor: joint force = gear · control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motor {
    /// The degree of freedom it acts on.
    pub dof: usize,
    /// Force or torque per unit of control.
    pub gear: f64,
}

/// How a [`RigidBodyPlant`] is integrated. Both stay on the quaternions' sphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RigidBodyScheme {
    /// v' = v + h a(q, v, u), then q' = q ⊕ h v'. First order and cheap. Springs, damping, friction and
    /// limits act as at the end of the step (linearly implicit), so that stiff ones stay stable.
    SemiImplicitEuler,
    /// Fourth-order Runge–Kutta; on Lie groups in the chart q ⊕ ξ with the inverse of the chart's
    /// differential to third order (Munthe-Kaas 1999). Passive forces are explicit: stiff limits need
    /// many substeps.
    Rk4,
}

/// A kinematic tree with motors, in discrete time: x = [q; v], nx = nq + nv, ndx = 2 nv.
///
/// Rotor inertias, springs, damping, friction and limits of its joints act. Jacobians are in the
/// tangent of q ⊕ δ (see [`Model::integrate`]) and exact for the scheme and its substeps: from
/// analytic derivatives for semi-implicit Euler, from dual numbers for RK4. Second derivatives are exact
/// for semi-implicit Euler in one substep, and differences of Jacobians otherwise.
#[derive(Debug, Clone)]
pub struct RigidBodyPlant {
    pub(super) model: Model,
    pub(super) motors: Vec<Motor>,
    scheme: RigidBodyScheme,
    dt: f64,
    substeps: usize,
}

impl RigidBodyPlant {
    /// A plant with a motor of gear 1 on every degree of freedom that has a position of its own
    /// (free-flyers and spherical joints have none), one substep.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] unless `dt` is positive and finite, and some body moves.
    pub fn new(model: Model, scheme: RigidBodyScheme, dt: f64) -> Result<Self, DynamicsError> {
        let motors = (0..model.nv())
            .filter(|&dof| model.dofs()[dof].scalar)
            .map(|dof| Motor { dof, gear: 1.0 })
            .collect();
        let refuse = |parameter, value, needed| {
            let model = model.name().to_owned();
            Err(DynamicsError::Parameter { model, parameter, value, needed })
        };
        if !(dt.is_finite() && dt > 0.0) {
            return refuse("dt", dt, "positive and finite, in seconds");
        }
        if model.nv() == 0 {
            return refuse("the number of moving joints", 0.0, "at least 1");
        }
        Ok(Self { model, motors, scheme, dt, substeps: 1 })
    }

    /// The same with the motors of a description (MJCF files have them); a motor's control range is the
    /// caller's to keep.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for a motor on a joint that does not move by one number.
    pub fn with_motors_of(self, description: &RobotDescription) -> Result<Self, ModelError> {
        let dofs = self.model.dofs();
        let motors = description.motors.iter().map(|motor| {
            let dof = dofs.iter().position(|dof| dof.scalar && dof.joint == motor.joint);
            let dof = dof.ok_or_else(|| ModelError::Unknown {
                what: "joint with one degree of freedom",
                name: motor.joint.clone(),
                valid: dofs.iter().filter(|d| d.scalar).map(|d| d.joint.clone()).collect(),
            })?;
            Ok(Motor { dof, gear: motor.gear })
        });
        let motors = motors.collect::<Result<_, _>>()?;
        self.with_motors(motors)
    }

    /// The same with other motors.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for a degree of freedom that there is not.
    pub fn with_motors(mut self, motors: Vec<Motor>) -> Result<Self, ModelError> {
        if let Some(motor) = motors.iter().find(|motor| motor.dof >= self.model.nv()) {
            return Err(ModelError::Unknown {
                what: "degree of freedom",
                name: motor.dof.to_string(),
                valid: self.model.dofs().iter().map(|dof| dof.joint.clone()).collect(),
            });
        }
        self.motors = motors;
        Ok(self)
    }

    /// The same with `substeps` steps of dt/substeps per control step; 0 counts as 1.
    #[must_use]
    pub fn with_substeps(mut self, substeps: usize) -> Self {
        self.substeps = substeps.max(1);
        self
    }

    /// The tree.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The motors, one for each control.
    #[must_use]
    pub fn motors(&self) -> &[Motor] {
        &self.motors
    }

    /// Length of a control step (s).
    #[must_use]
    pub fn dt(&self) -> f64 {
        self.dt
    }

    pub(super) fn h(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a few substeps")]
        let substeps = self.substeps as f64;
        self.dt / substeps
    }

    /// Joint forces of the motors.
    pub(super) fn motor_forces<S: Scalar>(&self, u: &[S], tau: &mut [S]) {
        tau.fill(S::zero());
        for (motor, &u) in self.motors.iter().zip(u) {
            tau[motor.dof] += u * motor.gear;
        }
    }

    /// q̈ into `ws.tree.qdd`, passive forces as over `time_step`.
    fn acceleration<S: Scalar>(&self, ws: &mut Stage<S>, q: &[S], v: &[S], time_step: f64) {
        let model = &self.model;
        for k in 0..model.nv() {
            let passive = model.passive_force(k, q, v, time_step);
            ws.tau[k] = ws.motors[k] + passive.force;
            ws.tree.rotor[k] = passive.inertia + model.dofs[k].properties.armature;
        }
        model.place_moving(&mut ws.tree, q, v);
        model.articulated_body(&mut ws.tree, &ws.tau);
    }

    /// One substep on any scalar, in place.
    fn advance<S: Scalar>(&self, ws: &mut Stage<S>, q: &mut [S], v: &mut [S]) {
        let h = self.h();
        match self.scheme {
            RigidBodyScheme::SemiImplicitEuler => {
                self.acceleration(ws, q, v, h);
                for (v, &a) in v.iter_mut().zip(&ws.tree.qdd) {
                    *v += a * h;
                }
                for (dv, &v) in ws.chart.iter_mut().zip(v.iter()) {
                    *dv = v * h;
                }
                self.model.integrate_generic(q, &ws.chart, &mut ws.q);
                q.copy_from_slice(&ws.q);
            }
            RigidBodyScheme::Rk4 => self.advance_rk4(ws, q, v, h),
        }
    }

    fn advance_rk4<S: Scalar>(&self, ws: &mut Stage<S>, q: &mut [S], v: &mut [S], h: f64) {
        const NODES: [f64; 4] = [0.0, 0.5, 0.5, 1.0];
        const WEIGHTS: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];
        let nv = self.model.nv();
        ws.sum_q.fill(S::zero());
        ws.sum_v.fill(S::zero());
        ws.rate.fill(S::zero());
        ws.tree.qdd.fill(S::zero());
        for (node, weight) in NODES.into_iter().zip(WEIGHTS) {
            for k in 0..nv {
                ws.chart[k] = ws.rate[k] * (node * h);
                ws.v[k] = v[k] + ws.tree.qdd[k] * (node * h);
            }
            let mut stage_q = std::mem::take(&mut ws.q);
            let stage_v = std::mem::take(&mut ws.v);
            self.model.integrate_generic(q, &ws.chart, &mut stage_q);
            self.acceleration(ws, &stage_q, &stage_v, 0.0);
            self.chart_rate(&ws.chart, &stage_v, &mut ws.rate);
            for k in 0..nv {
                ws.sum_q[k] += ws.rate[k] * (weight * h);
                ws.sum_v[k] += ws.tree.qdd[k] * (weight * h);
            }
            (ws.q, ws.v) = (stage_q, stage_v);
        }
        self.model.integrate_generic(q, &ws.sum_q, &mut ws.q);
        q.copy_from_slice(&ws.q);
        for (v, &dv) in v.iter_mut().zip(&ws.sum_v) {
            *v += dv;
        }
    }

    /// ξ̇ = v + ½ [ξ, v] + 1/12 [ξ, [ξ, v]] in the chart q ⊕ ξ.
    fn chart_rate<S: Scalar>(&self, xi: &[S], v: &[S], out: &mut [S]) {
        out.copy_from_slice(v);
        for body in self.model.bodies.iter().filter(|body| body.v.len() > 1) {
            let range = body.v.clone();
            let size = range.len();
            let (mut once, mut twice) = ([S::zero(); 6], [S::zero(); 6]);
            bracket(&xi[range.clone()], &v[range.clone()], &mut once[..size]);
            bracket(&xi[range.clone()], &once[..size], &mut twice[..size]);
            for (k, out) in out[range].iter_mut().enumerate() {
                *out += once[k] * 0.5 + twice[k] / 12.0;
            }
        }
    }

    /// Derivatives of a step of semi-implicit Euler, substep after substep.
    fn linearize_euler(
        &self,
        ws: &mut RigidBodyWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let (nq, nv, h) = (self.model.nq(), self.model.nv(), self.h());
        let n = 2 * nv + self.motors.len();
        let RigidBodyWorkspace { stage, q, v, dq, dv, step, .. } = ws;
        q.copy_from_slice(&x.as_slice()[..nq]);
        v.copy_from_slice(&x.as_slice()[nq..]);
        self.motor_forces(u.as_slice(), &mut stage.motors);
        dq.fill(0.0);
        dv.fill(0.0);
        for k in 0..nv {
            dq[k * n + k] = 1.0;
            dv[k * n + nv + k] = 1.0;
        }
        for _ in 0..self.substeps {
            let tree = &mut stage.tree;
            self.model.differentiate_acceleration(tree, q, v, &stage.motors, Some(h));
            for k in 0..nv {
                let rates = &tree.da[3 * nv * k..][..3 * nv];
                let row = &mut step[k * n..][..n];
                row.fill(0.0);
                for l in 0..nv {
                    axpy(row, rates[l], &dq[l * n..][..n]);
                    axpy(row, rates[nv + l], &dv[l * n..][..n]);
                }
                for (j, motor) in self.motors.iter().enumerate() {
                    row[2 * nv + j] += rates[2 * nv + motor.dof] * motor.gear;
                }
            }
            for (v, &a) in v.iter_mut().zip(&tree.qdd) {
                *v += h * a;
            }
            axpy(dv, h, step);
            for (e, &dv) in step.iter_mut().zip(dv.iter()) {
                *e = h * dv;
            }
            for (chart, &v) in stage.chart.iter_mut().zip(v.iter()) {
                *chart = h * v;
            }
            self.model.integrate_tangents(&stage.chart, dq, step, n);
            self.model.integrate_generic(q, &stage.chart, &mut stage.q);
            q.copy_from_slice(&stage.q);
        }
        for k in 0..nv {
            for l in 0..2 * nv {
                out.fx[(k, l)] = dq[k * n + l];
                out.fx[(nv + k, l)] = dv[k * n + l];
            }
            for j in 0..self.motors.len() {
                out.fu[(k, j)] = dq[k * n + 2 * nv + j];
                out.fu[(nv + k, j)] = dv[k * n + 2 * nv + j];
            }
        }
    }

    /// Derivatives of a step of either scheme by dual numbers, one input after another.
    fn linearize_dual(
        &self,
        ws: &mut RigidBodyWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let (nq, nv, nu) = (self.model.nq(), self.model.nv(), self.motors.len());
        let DualScratch { stage, q, v, u: controls, start } = &mut ws.dual;
        for input in 0..2 * nv + nu {
            let seed = |at: usize| Dual64::new(0.0, if at == input { 1.0 } else { 0.0 });
            for (q, &x) in start.iter_mut().zip(&x.as_slice()[..nq]) {
                *q = Dual64::from(x);
            }
            for k in 0..nv {
                stage.chart[k] = seed(k);
                v[k] = seed(nv + k) + x[nq + k];
            }
            for (j, control) in controls.iter_mut().enumerate() {
                *control = seed(2 * nv + j) + u[j];
            }
            self.model.integrate_generic(start, &stage.chart, q);
            self.motor_forces(controls, &mut stage.motors);
            for _ in 0..self.substeps {
                self.advance(stage, q, v);
            }
            let (matrix, column) = match input.checked_sub(2 * nv) {
                Some(j) => (&mut out.fu, j),
                None => (&mut out.fx, input),
            };
            self.write_tangent(q, matrix, column);
            for k in 0..nv {
                matrix[(nv + k, column)] = v[k].eps;
            }
        }
    }

    /// The tangent vector along which q moves, into the upper half of a column.
    fn write_tangent(&self, q: &[Dual64], out: &mut DMatrix<f64>, column: usize) {
        for body in &self.model.bodies {
            let (iq, iv) = (body.q.start, body.v.start);
            let mut turn = |at: usize, row: usize| {
                // 2 q⁻¹ q̇, the vector part.
                let [x, y, z, w] = [0, 1, 2, 3].map(|k| q[at + k].re);
                let [dx, dy, dz, dw] = [0, 1, 2, 3].map(|k| q[at + k].eps);
                out[(row, column)] = 2.0 * (w * dx - x * dw - y * dz + z * dy);
                out[(row + 1, column)] = 2.0 * (w * dy - y * dw - z * dx + x * dz);
                out[(row + 2, column)] = 2.0 * (w * dz - z * dw - x * dy + y * dx);
            };
            match body.joint.motion {
                JointMotion::Revolute { .. } | JointMotion::Prismatic { .. } => {
                    out[(iv, column)] = q[iq].eps;
                }
                JointMotion::Spherical { .. } => turn(iq, iv),
                JointMotion::FreeFlyer { .. } => {
                    turn(iq + 3, iv + 3);
                    let r = rotation_of(&[3, 4, 5, 6].map(|k| q[iq + k].re));
                    let moved = apply_transposed(&r, [0, 1, 2].map(|k| q[iq + k].eps));
                    (0..3).for_each(|k| out[(iv + k, column)] = moved[k]);
                }
            }
        }
    }
}

/// Scratch of a substep.
#[derive(Debug, Clone)]
pub(super) struct Stage<S> {
    pub(super) tree: Workspace<S>,
    /// Joint forces of the motors, and with passive ones.
    pub(super) motors: Vec<S>,
    tau: Vec<S>,
    q: Vec<S>,
    v: Vec<S>,
    pub(super) chart: Vec<S>,
    rate: Vec<S>,
    sum_q: Vec<S>,
    sum_v: Vec<S>,
}

impl<S: Scalar> Stage<S> {
    fn new(model: &Model) -> Self {
        let tangent = || vec![S::zero(); model.nv()];
        Self {
            tree: Workspace::new(model),
            motors: tangent(),
            tau: tangent(),
            q: vec![S::zero(); model.nq()],
            v: tangent(),
            chart: tangent(),
            rate: tangent(),
            sum_q: tangent(),
            sum_v: tangent(),
        }
    }
}

/// Scratch of a [`RigidBodyPlant`].
#[derive(Debug, Clone)]
pub struct RigidBodyWorkspace {
    pub(super) stage: Stage<f64>,
    q: Vec<f64>,
    v: Vec<f64>,
    /// Derivatives of q and v by [q, v, u], and what a substep adds.
    dq: Vec<f64>,
    dv: Vec<f64>,
    step: Vec<f64>,
    pub(super) dual: DualScratch,
    pub(super) hessian: HessianScratch,
}

#[derive(Debug, Clone)]
pub(super) struct DualScratch {
    stage: Stage<Dual64>,
    pub(super) q: Vec<Dual64>,
    pub(super) v: Vec<Dual64>,
    u: Vec<Dual64>,
    start: Vec<Dual64>,
}

impl Plant for RigidBodyPlant {
    type Workspace = RigidBodyWorkspace;

    fn name(&self) -> &str {
        self.model.name()
    }
    fn nx(&self) -> usize {
        self.model.nq() + self.model.nv()
    }
    fn ndx(&self) -> usize {
        2 * self.model.nv()
    }
    fn nu(&self) -> usize {
        self.motors.len()
    }
    fn states(&self) -> States<'_> {
        let flat = self.model.nq() == self.model.nv();
        if flat { States::Vector } else { States::Manifold(self) }
    }
    fn workspace(&self) -> RigidBodyWorkspace {
        let (nq, nv, nu) = (self.model.nq(), self.model.nv(), self.motors.len());
        let (zero, derivatives) = (Dual64::from(0.0), || vec![0.0; nv * (2 * nv + nu)]);
        RigidBodyWorkspace {
            stage: Stage::new(&self.model),
            q: vec![0.0; nq],
            v: vec![0.0; nv],
            dq: derivatives(),
            dv: derivatives(),
            step: derivatives(),
            dual: DualScratch {
                stage: Stage::new(&self.model),
                q: vec![zero; nq],
                v: vec![zero; nv],
                u: vec![zero; nu],
                start: vec![zero; nq],
            },
            hessian: HessianScratch::new(&self.model, nu),
        }
    }
    fn step(
        &self,
        ws: &mut RigidBodyWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        check_vector(self.name(), "x", x.as_slice(), self.nx())?;
        check_vector(self.name(), "u", u.as_slice(), self.nu())?;
        x_next.copy_from(x);
        self.motor_forces(u.as_slice(), &mut ws.stage.motors);
        let (q, v) = x_next.as_mut_slice().split_at_mut(self.model.nq());
        for _ in 0..self.substeps {
            self.advance(&mut ws.stage, q, v);
        }
        Ok(())
    }
}

impl Dynamics for RigidBodyPlant {
    fn linearize(
        &self,
        ws: &mut RigidBodyWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        check_vector(self.name(), "x", x.as_slice(), self.nx())?;
        check_vector(self.name(), "u", u.as_slice(), self.nu())?;
        match self.scheme {
            RigidBodyScheme::SemiImplicitEuler => self.linearize_euler(ws, x, u, out),
            RigidBodyScheme::Rk4 => self.linearize_dual(ws, x, u, out),
        }
        Ok(())
    }
    fn hessian_product(
        &self,
        ws: &mut RigidBodyWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        match self.hessian_product_kind() {
            DerivativeKind::FiniteDifference => difference_jacobians(self, ws, x, u, lambda, out),
            DerivativeKind::Analytic => {
                check_vector(self.name(), "x", x.as_slice(), self.nx())?;
                check_vector(self.name(), "u", u.as_slice(), self.nu())?;
                self.differentiate_euler_twice(ws, x, u, lambda, out);
                Ok(())
            }
        }
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        match (self.scheme, self.substeps) {
            (RigidBodyScheme::SemiImplicitEuler, 1) => DerivativeKind::Analytic,
            _ => DerivativeKind::FiniteDifference,
        }
    }
}

/// States x = [q; v] of the tree.
impl StateSpace for RigidBodyPlant {
    fn integrate(&self, x: &DVector<f64>, dx: &DVector<f64>, out: &mut DVector<f64>) {
        let (nq, nv) = (self.model.nq(), self.model.nv());
        let (q, v) = x.as_slice().split_at(nq);
        let (dq, dv) = dx.as_slice().split_at(nv);
        let (out_q, out_v) = out.as_mut_slice().split_at_mut(nq);
        self.model.integrate_generic(q, dq, out_q);
        for (out, (v, dv)) in out_v.iter_mut().zip(v.iter().zip(dv)) {
            *out = v + dv;
        }
    }
    fn difference(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DVector<f64>) {
        let (nq, nv) = (self.model.nq(), self.model.nv());
        let (q0, v0) = x0.as_slice().split_at(nq);
        let (q1, v1) = x1.as_slice().split_at(nq);
        let (out_q, out_v) = out.as_mut_slice().split_at_mut(nv);
        self.model.difference_of(q0, q1, out_q);
        for (out, (v1, v0)) in out_v.iter_mut().zip(v1.iter().zip(v0)) {
            *out = v1 - v0;
        }
    }
    fn difference_jacobian(&self, x0: &DVector<f64>, x1: &DVector<f64>, out: &mut DMatrix<f64>) {
        let nq = self.model.nq();
        out.fill_with_identity();
        self.model.difference_jacobian_of(&x0.as_slice()[..nq], &x1.as_slice()[..nq], out);
    }
}

pub(super) fn axpy(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}
