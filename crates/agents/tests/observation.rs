//! Learning where the observation is not the state: a pendulum seen through cosine and sine.

use std::f64::consts::PI;

use agents::replay_log::{ReplayLog, SegmentRef};
use agents::{Budget, Learner, SacLearner, SacSettings};
use critics::Checkpoints;
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, Dynamics, DynamicsError, Linearization, Move, Observation,
    ObservationJacobian, Plant, Scratch, Stream, Task,
};
use nalgebra::{DMatrix, DVector, dmatrix, dvector};
use tempfile::tempdir;

/// Largest torque of the [`Pendulum`].
const PENDULUM_BOUND: f64 = 3.0;

/// A frictionless pendulum, x = [θ, θ̇], explicit Euler.
struct Rod;

impl Plant for Rod {
    type Workspace = ();
    fn name(&self) -> &str {
        "rod"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn workspace(&self) {}
    fn step(
        &self,
        _ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        x_next[0] = x[0] + 0.05 * x[1];
        x_next[1] = x[1] + 0.05 * (9.81 * x[0].sin() + u[0]);
        Ok(())
    }
}

impl Dynamics for Rod {
    fn linearize(
        &self,
        _ws: &mut (),
        x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.copy_from_slice(&[1.0, 0.05 * 9.81 * x[0].cos(), 0.05, 1.0]);
        out.fu.copy_from_slice(&[0.0, 0.05]);
        Ok(())
    }
}

/// [cos θ, sin θ, θ̇].
struct OnTheCircle;

impl Observation for OnTheCircle {
    fn n_observations(&self, _nx: usize) -> usize {
        3
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        o.copy_from_slice(&[x[0].cos(), x[0].sin(), x[1]]);
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for OnTheCircle {
    fn linearize(&self, x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        let (sin, cos) = x[0].sin_cos();
        ox.copy_from_slice(&[-sin, cos, 0.0, 0.0, 0.0, 1.0]);
    }
}

/// A pendulum that is seen through cosine and sine.
struct Pendulum {
    model: Rod,
    bounds: ActionBounds,
}

impl Pendulum {
    fn new() -> Self {
        Self { model: Rod, bounds: ActionBounds::symmetric(1, PENDULUM_BOUND) }
    }

    fn model(&self) -> &Rod {
        &self.model
    }
}

impl Task for Pendulum {
    fn name(&self) -> &str {
        "pendulum"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.model
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.model
    }
    fn horizon(&self) -> usize {
        40
    }
    fn dt(&self) -> f64 {
        0.05
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-3.0, 3.0);
        x0[1] = stream.uniform(-1.0, 1.0);
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        m.x_next[0].cos() - 0.01 * m.x_next[1].powi(2)
    }
    fn observation(&self) -> &dyn Observation {
        &OnTheCircle
    }
}

/// ∂o/∂x of [cos θ, sin θ, θ̇].
fn observation_slopes(cos: f64, sin: f64) -> DMatrix<f64> {
    dmatrix![-sin, 0.0; cos, 0.0; 0.0, 1.0]
}

#[test]
fn a_task_that_is_observed_through_cosine_and_sine_stores_and_learns() {
    let task = Pendulum::new();
    let settings = SacSettings {
        actor_hidden: vec![8, 8],
        critic_hidden: vec![8, 8],
        batch_size: 16,
        random_steps: 100,
        update_after: 20,
        ..SacSettings::vg_sac()
    };
    let mut learner = SacLearner::new(&task, &settings, 2).unwrap();
    let progress = loop {
        let progress = learner.advance(Budget { env_steps: 50 }).unwrap();
        if progress.env_steps >= 300 {
            break progress;
        }
    };
    assert!(progress.updates > 250, "{progress:?}");

    let dir = tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 1);
    checkpoints.save(300, |writer| learner.save(dir.path(), writer)).unwrap();
    let state: serde_json::Value = checkpoints.open(300).unwrap().json("state.json").unwrap();
    let segments: Vec<SegmentRef> = serde_json::from_value(state["segments"].clone()).unwrap();
    // o, u, reward, o', mask, A (3 × 3), ρ, ∂o/∂x (3 × 2).
    let mut log = ReplayLog::open(dir.path().join("replay"), 9 + 9 + 3 + 6, 1000).unwrap();
    let mut n_records = 0;
    let nominal: &dyn AnyDynamics = task.model();
    let (mut ws, mut exact) = (nominal.any_workspace(), Linearization::zeros(2, 1));
    log.load(&segments, &mut |_, record| {
        n_records += 1;
        let r: Vec<f64> = record.iter().map(|&v| f64::from(v)).collect();
        let (o, u, o_next) = (&r[..3], r[3], &r[5..8]);
        assert_eq!(r[8], 1.0, "mask");
        assert!(u.abs() <= PENDULUM_BOUND && (o[0].hypot(o[1]) - 1.0).abs() < 1e-6);
        let theta = o[1].atan2(o[0]);
        assert!(theta.abs() <= PI);
        nominal.any_linearize(&mut ws, &dvector![theta, o[2]], &dvector![u], &mut exact).unwrap();
        let mut state_jacobian = DMatrix::zeros(2, 3);
        state_jacobian.columns_mut(0, 2).copy_from(&exact.fx);
        state_jacobian.columns_mut(2, 1).copy_from(&exact.fu);
        let a = observation_slopes(o_next[0], o_next[1]) * state_jacobian;
        let ox = observation_slopes(o[0], o[1]);
        // Single precision is what limits both.
        for (i, expected) in a.transpose().iter().enumerate() {
            assert!((r[9 + i] - expected).abs() < 1e-5, "A[{i}] = {}, {expected}", r[9 + i]);
        }
        for (i, expected) in ox.transpose().iter().enumerate() {
            assert!((r[21 + i] - expected).abs() < 1e-6, "∂o/∂x[{i}]");
        }
    })
    .unwrap();
    assert_eq!(n_records, progress.env_steps);
}
