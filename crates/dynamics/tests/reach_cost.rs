//! The cost of reaching and the gravity torque in it: identities, differences, numbers of the sheet.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use dynamics::models::iiwa14;
use dynamics::rigid_body::{Base, FrameId, Model, Motor, ReachCost, ReachSettings};
use dynamics::{Cost, CostExpansion, DynamicsError, Stream, TerminalCost};
use nalgebra::{DMatrix, DVector, Rotation3, UnitQuaternion, Vector3, dvector};
use proptest::prelude::*;

#[path = "common/random_tree.rs"]
mod random_tree;
use random_tree::random_tree;

/// Step of the differences; kinks lie at least ten of them away.
const H: f64 = 1e-3;

fn normal(s: &mut Stream, n: usize) -> DVector<f64> {
    DVector::from_fn(n, |_, _| s.normal())
}

/// A cost on a model with a state and control to look at.
struct Case {
    model: Model,
    frame: FrameId,
    motors: Vec<Motor>,
    settings: ReachSettings,
    x: DVector<f64>,
    u: DVector<f64>,
}

impl Case {
    fn cost(&self) -> ReachCost {
        let model = self.model.clone();
        ReachCost::new(model, self.frame, &self.motors, self.settings.clone()).unwrap()
    }

    fn sizes(&self) -> (usize, usize, usize) {
        (self.model.nq(), self.model.nv(), self.motors.len())
    }

    fn random(n: usize, seed: u64, base: Base) -> Option<Self> {
        let mut model = Model::new(&random_tree(n, seed), base).unwrap();
        let (nq, nv) = (model.nq(), model.nv());
        let s = &mut Stream::new(seed, "reach", 0);
        let q = model.random_configuration(s);
        for dof in model.dofs_mut().iter_mut().filter(|dof| dof.scalar) {
            // Some positions within, some beyond, some without limits.
            let at = q[dof.q];
            let [low, high] = [at - s.uniform(-0.2, 1.0), at + s.uniform(0.3, 1.0)];
            dof.properties.position_limit =
                [low, if s.unit() < 0.2 { f64::INFINITY } else { high }];
        }
        let frame = model.find_frame(&format!("l{n}")).ok()?;
        let (_, p) = model.frame_pose(&mut model.workspace(), &q, frame);
        // Motors in any order and number, also two on one joint.
        let motors: Vec<_> = (0..nv.min(4))
            .map(|_| Motor { dof: s.index(nv), gear: s.uniform(0.5, 3.0) * s.normal().signum() })
            .collect();
        let (v, u) = (normal(s, nv), normal(s, motors.len()));
        let mut reference = q.clone();
        model.integrate(&q, &(normal(s, nv) * 0.5), &mut reference);
        let turn =
            UnitQuaternion::from_scaled_axis(Vector3::new(s.normal(), s.normal(), s.normal()));
        let settings = ReachSettings {
            goal: p + Vector3::new(s.normal(), s.normal(), s.normal()),
            orientation: turn,
            orientation_weight: 0.7,
            control_weight: 0.3,
            state_weights: normal(s, 2 * nv),
            state_reference: DVector::from_iterator(
                nq + nv,
                reference.iter().copied().chain((0..nv).map(|i| 0.1 * i as f64)),
            ),
            limit_weight: 1.3,
            velocity_limits: normal(s, nv).map(|x| x.abs() + 1e-3),
            terminal_weight: 2.5,
            ..ReachSettings::new(&model, 0.04, p)
        };
        let x = DVector::from_iterator(nq + nv, q.iter().chain(&v).copied());
        (nv > 0).then_some(Self { model, frame, motors, settings, x, u })
    }

    /// Residuals whose half squared norm the cost is, from public operations alone.
    fn residuals(&self, x: &DVector<f64>, u: Option<&DVector<f64>>) -> DVector<f64> {
        let (nq, nv, _) = self.sizes();
        let (q, v) = (x.rows(0, nq).clone_owned(), x.rows(nq, nv).clone_owned());
        let s = &self.settings;
        let mut ws = self.model.workspace();
        let (r, p) = self.model.frame_pose(&mut ws, &q, self.frame);
        let mut out: Vec<f64> = ((p - s.goal) * s.goal_weight.sqrt()).iter().copied().collect();
        let turn =
            Rotation3::from_matrix_unchecked(s.orientation.to_rotation_matrix().inverse() * r);
        let turn = UnitQuaternion::from_rotation_matrix(&turn).scaled_axis();
        out.extend((turn * s.orientation_weight.sqrt()).iter());
        let reference = &s.state_reference;
        let mut dq = DVector::zeros(nv);
        self.model.difference(&reference.rows(0, nq).into(), &q, &mut dq);
        let dv = &v - reference.rows(nq, nv);
        for (w, d) in s.state_weights.iter().zip(dq.iter().chain(&dv)) {
            out.push(s.state_weight.sqrt() * w * d);
        }
        let Some(u) = u else {
            return DVector::from_vec(out) * s.terminal_weight.sqrt();
        };
        let zero = DVector::zeros(nv);
        let mut gravity = zero.clone();
        self.model.rnea(&mut ws, &q, &zero, &zero, &mut gravity);
        for (motor, u) in self.motors.iter().zip(u) {
            out.push(s.control_weight.sqrt() * (u - gravity[motor.dof] / motor.gear));
        }
        out.extend(self.excesses(x).iter().map(|(excess, _)| s.limit_weight.sqrt() * excess));
        DVector::from_vec(out) * s.dt.sqrt()
    }

    /// How far every position and velocity is beyond its limits, and from the nearest of them.
    fn excesses(&self, x: &DVector<f64>) -> Vec<(f64, f64)> {
        let (nq, nv, _) = self.sizes();
        let positions = self.model.dofs().iter().filter(|dof| dof.scalar).map(|dof| {
            let [low, high] = dof.properties.position_limit;
            let shrink = 0.5 * (1.0 - self.settings.limit_margin) * (high - low);
            match shrink.is_finite() {
                true => (x[dof.q], low + shrink, high - shrink),
                false => (0.0, f64::NEG_INFINITY, f64::INFINITY),
            }
        });
        let velocities = (0..nv).map(|k| {
            let limit = self.settings.velocity_limits[k];
            (x[nq + k], -limit, limit)
        });
        let all = positions.chain(velocities);
        all.map(|(x, low, high)| (x - x.clamp(low, high), (x - low).abs().min((x - high).abs())))
            .collect()
    }

    /// x ⊕ dx.
    fn moved(&self, dx: &[f64]) -> DVector<f64> {
        let (nq, nv, _) = self.sizes();
        let mut q = DVector::zeros(nq);
        let start = self.x.rows(0, nq).clone_owned();
        self.model.integrate(&start, &DVector::from_row_slice(&dx[..nv]), &mut q);
        let v = (0..nv).map(|k| self.x[nq + k] + dx[nv + k]);
        DVector::from_iterator(nq + nv, q.iter().copied().chain(v))
    }

    /// Jacobian of the residuals by [dx, du], by Richardson differences.
    fn jacobian(&self, controls: bool) -> DMatrix<f64> {
        let (_, nv, nu) = self.sizes();
        let n = 2 * nv + if controls { nu } else { 0 };
        let columns: Vec<_> = (0..n)
            .map(|k| {
                let at = |h: f64| {
                    let mut along = vec![0.0; 2 * nv + nu];
                    along[k] = h;
                    let u = &self.u + DVector::from_row_slice(&along[2 * nv..]);
                    self.residuals(&self.moved(&along[..2 * nv]), controls.then_some(&u))
                };
                let slope = |h: f64| (at(h) - at(-h)) / (2.0 * h);
                (slope(0.5 * H) * 4.0 - slope(H)) / 3.0
            })
            .collect();
        DMatrix::from_columns(&columns)
    }
}

fn assert_close(what: &str, found: &DMatrix<f64>, expected: &DMatrix<f64>, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let error = (found - expected).amax() / expected.amax().max(1.0);
    assert!(error < tolerance, "{what}: {error}, found {found}, expected {expected}");
}

fn column(v: &DVector<f64>) -> DMatrix<f64> {
    DMatrix::from_column_slice(v.len(), 1, v.as_slice())
}

/// An expansion full of what must be overwritten.
fn unwritten(ndx: usize, nu: usize) -> CostExpansion {
    let mut out = CostExpansion::zeros(ndx, nu);
    for block in [&mut out.lxx, &mut out.lux, &mut out.luu] {
        block.fill(f64::NAN);
    }
    out.lx.fill(f64::NAN);
    out.lu.fill(f64::NAN);
    out
}

/// Value, gradient and Gauss–Newton Hessian of a step and of the end against differences.
fn check(case: &Case) {
    let (_, nv, nu) = case.sizes();
    let (cost, ndx) = (case.cost(), 2 * nv);
    let mut ws = Cost::workspace(&cost);
    let mut out = unwritten(ndx, nu);
    let value = cost.stage(&mut ws, 0, &case.x, &case.u);
    cost.expand_stage(&mut ws, 0, &case.x, &case.u, &mut out);
    let r = case.residuals(&case.x, Some(&case.u));
    let expected = 0.5 * r.norm_squared();
    assert!((value - expected).abs() < 1e-12 * expected.max(1.0), "{value}, {expected}");
    assert!((out.l - expected).abs() < 1e-12 * expected.max(1.0), "{}, {expected}", out.l);
    let j = case.jacobian(true);
    let (gradient, hessian) = (j.tr_mul(&r), j.tr_mul(&j));
    assert_close("lx", &column(&out.lx), &column(&gradient.rows(0, ndx).into()), 1e-7);
    assert_close("lu", &column(&out.lu), &column(&gradient.rows(ndx, nu).into()), 1e-7);
    assert_close("lxx", &out.lxx, &hessian.view((0, 0), (ndx, ndx)).into(), 1e-7);
    assert_close("lux", &out.lux, &hessian.view((ndx, 0), (nu, ndx)).into(), 1e-7);
    assert_close("luu", &out.luu, &hessian.view((ndx, ndx), (nu, nu)).into(), 1e-7);
    assert_eq!(out.lxx, out.lxx.transpose());

    let mut end = unwritten(ndx, nu);
    cost.expand_terminal(&mut ws, &case.x, &mut end);
    let r = case.residuals(&case.x, None);
    let expected = 0.5 * r.norm_squared();
    let value = cost.terminal(&mut ws, &case.x);
    assert!((value - expected).abs() < 1e-12 * expected.max(1.0), "{value}, {expected}");
    assert!((end.l - expected).abs() < 1e-12 * expected.max(1.0), "{}, {expected}", end.l);
    let j = case.jacobian(false);
    assert_close("terminal lx", &column(&end.lx), &column(&j.tr_mul(&r)), 1e-7);
    assert_close("terminal lxx", &end.lxx, &j.tr_mul(&j), 1e-7);
    assert!(end.lu.iter().chain(&end.luu).chain(&end.lux).all(|x| x.is_nan()), "left alone");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn gravity_is_inverse_dynamics_at_rest(n in 1_usize..12, seed: u64, floating: bool) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let model = Model::new(&random_tree(n, seed), base).unwrap();
        let nv = model.nv();
        prop_assume!(nv > 0);
        let q = model.random_configuration(&mut Stream::new(seed, "q", 0));
        let zero = DVector::zeros(nv);
        let (mut expected, mut found) = (zero.clone(), zero.clone());
        let (mut ws, mut alone) = (model.workspace(), model.workspace());
        model.rnea(&mut ws, &q, &zero, &zero, &mut expected);
        model.gravity_torque(&mut alone, &q, &mut found);
        assert_close("g", &column(&found), &column(&expected), 1e-12);
        model.rnea_derivatives(&mut ws, &q, &zero, &zero);
        model.gravity_derivatives(&mut alone, &q);
        assert_close("dg/dq", &alone.dtau_dq().into_owned(), &ws.dtau_dq().into_owned(), 1e-12);
    }

    #[test]
    fn costs_on_random_trees_agree_with_differences(
        n in 1_usize..9, seed: u64, floating: bool, off in 0_usize..6,
    ) {
        let base = if floating { Base::Floating } else { Base::Fixed };
        let case = Case::random(n, seed, base);
        prop_assume!(case.is_some());
        let mut case = case.unwrap();
        let motors = case.motors.clone();
        let made = ReachCost::new(case.model.clone(), case.frame, &motors, case.settings.clone());
        // A link behind fixed joints only.
        prop_assume!(made.is_ok());
        // Half turns and limits are kinks.
        let turn = case.residuals(&case.x, None).rows(3, 3).norm()
            / (case.settings.orientation_weight * case.settings.terminal_weight).sqrt();
        prop_assume!(turn < 2.8);
        prop_assume!(case.excesses(&case.x).iter().all(|&(_, distance)| distance > 10.0 * H));
        let s = &mut case.settings;
        let weights = [
            &mut s.goal_weight,
            &mut s.orientation_weight,
            &mut s.control_weight,
            &mut s.state_weight,
            &mut s.limit_weight,
        ];
        if let Some(weight) = weights.into_iter().nth(off) {
            *weight = 0.0;
        }
        check(&case);
    }
}

/// The start of the sheet's arm problem.
fn arm() -> Case {
    let model = Model::new(&iiwa14(), Base::Fixed).unwrap();
    let frame = model.find_frame("tool").unwrap();
    let mut settings = ReachSettings::new(&model, 0.03, Vector3::new(-0.3, -0.4, 0.5));
    settings.state_weights[8] = 2.0;
    let mut x = DVector::zeros(14);
    x.rows_mut(0, 7).copy_from(&dvector![0.1, 0.7, 0.0, 0.7, -0.5, 1.5, 0.0]);
    let motors = (0..7).map(|dof| Motor { dof, gear: 1.0 }).collect();
    Case { model, frame, motors, settings, x, u: DVector::zeros(7) }
}

#[test]
fn the_arm_has_the_cost_of_the_sheet() {
    let mut case = arm();
    let cost = case.cost();
    let mut ws = Cost::workspace(&cost);
    cost.holding_controls(&mut ws, &case.x, &mut case.u);
    let gravity = dvector![0.0, -25.503465, -0.528521, -0.021027, 0.0, -0.364738, 0.0];
    assert_close("g(q0)", &column(&case.u), &column(&gravity), 1e-7);
    // At rest with the arm held, only the distance of the tool counts.
    let distance = Vector3::new(0.380389, -0.019990, 1.089793) - case.settings.goal;
    let expected = 0.03 * 2.0 * 0.5 * distance.norm_squared();
    assert!((cost.stage(&mut ws, 0, &case.x, &case.u) - expected).abs() < 1e-6);
    assert_eq!(cost.terminal(&mut ws, &case.x), 0.0);
    let mut end = unwritten(14, 7);
    cost.expand_terminal(&mut ws, &case.x, &mut end);
    assert_eq!((end.l, end.lx.amax(), end.lxx.amax()), (0.0, 0.0, 0.0));
    // 0.2·½·2²·v² and 0.1·½·(v − 1)² for the second joint.
    let before = cost.stage(&mut ws, 0, &case.x, &case.u);
    case.x[8] = 1.5;
    let by_velocity = cost.stage(&mut ws, 0, &case.x, &case.u) - before;
    assert!((by_velocity - 0.03 * (0.4 * 2.25 + 0.05 * 0.25)).abs() < 1e-12);
    // 95 % of the range of the fourth: curved from the bound on.
    let mut out = CostExpansion::zeros(14, 7);
    let mut curvature = |q: f64| {
        case.x[3] = q;
        cost.expand_stage(&mut ws, 0, &case.x, &case.u, &mut out);
        out.lxx[(3, 3)]
    };
    let bound = 0.95 * 2.0944;
    let step = curvature(bound + 1e-9) - curvature(bound - 1e-9);
    assert!((step - 0.03 * 0.1).abs() < 1e-6, "{step}");
    assert!((curvature(-bound - 1e-9) - curvature(-bound + 1e-9) - 0.03 * 0.1).abs() < 1e-6);
}

#[test]
fn the_arm_agrees_with_differences_everywhere() {
    for seed in 0..20 {
        let mut case = arm();
        case.settings.orientation_weight = if seed % 2 == 0 { 0.0 } else { 0.4 };
        case.settings.terminal_weight = 1.5;
        let s = &mut Stream::new(seed, "arm", 0);
        case.x = DVector::from_fn(14, |_, _| s.uniform(-2.5, 2.5));
        case.u = normal(s, 7) * 20.0;
        let turn = case.residuals(&case.x, None).rows(3, 3).norm();
        let near = case.excesses(&case.x).iter().any(|&(_, distance)| distance < 10.0 * H);
        if !near && turn < 2.8 * (0.4_f64 * 1.5).sqrt() {
            check(&case);
        }
    }
}

#[test]
fn a_frame_at_its_goal_has_no_singular_derivatives() {
    let mut case = arm();
    let q = case.x.rows(0, 7).clone_owned();
    let (r, p) = case.model.frame_pose(&mut case.model.workspace(), &q, case.frame);
    case.settings.goal = p;
    case.settings.orientation =
        UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(r));
    case.settings.orientation_weight = 1.0;
    case.settings.terminal_weight = 1.0;
    check(&case);
    // On both sides of the switch to the series.
    for angle in [0.5e-2, 0.99e-2, 1.01e-2, 0.1] {
        let turn = UnitQuaternion::from_scaled_axis(Vector3::new(0.6, 0.0, 0.8) * angle);
        let orientation = case.settings.orientation;
        case.settings.orientation *= turn;
        check(&case);
        case.settings.orientation = orientation;
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let case = arm();
    let refusal = |change: &dyn Fn(&mut Case)| {
        let mut case = arm();
        change(&mut case);
        let made = ReachCost::new(case.model, case.frame, &case.motors, case.settings);
        made.map(drop).unwrap_err().to_string()
    };
    let text = refusal(&|case| case.settings.goal_weight = -1.0);
    assert!(text.contains("`iiwa14`: goal_weight is -1, but must be"), "{text}");
    let text = refusal(&|case| case.settings.velocity_limits = DVector::zeros(6));
    assert!(text.contains("velocity_limits"), "{text}");
    let text = refusal(&|case| case.settings.velocity_limits[2] = 0.0);
    assert!(text.contains("velocity_limits is 0"), "{text}");
    let text = refusal(&|case| case.settings.goal.x = f64::NAN);
    assert!(text.contains("goal"), "{text}");
    let text = refusal(&|case| case.settings.limit_margin = 1.5);
    assert!(text.contains("limit_margin is 1.5"), "{text}");
    let text = refusal(&|case| case.motors[3].gear = 0.0);
    assert!(text.contains("gear"), "{text}");
    let text = refusal(&|case| case.motors[3].dof = 7);
    assert!(text.contains("motor is 7"), "{text}");
    let base = case.model.find_frame("base").unwrap();
    let made = ReachCost::new(case.model.clone(), base, &case.motors, case.settings.clone());
    assert!(matches!(made, Err(DynamicsError::Parameter { .. })), "nothing moves the base");
}
