//! Roll-outs that fail while a policy is searched: dropped, counted, and never silent.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use agents::{Bptt, BpttSettings, LearnError, Pods, PodsSettings};
use ddp::DdpError;
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, Dynamics, DynamicsError, Linearization, Move, Objective,
    Plant, QuadraticCost, Scratch, Stream, Task, ZeroTerminalCost,
};
use nalgebra::{DVector, dvector};

/// x' = x + 0.1 u, broken beyond |x| = 3.
struct Walled;

impl Plant for Walled {
    type Workspace = ();
    fn name(&self) -> &str {
        "walled"
    }
    fn nx(&self) -> usize {
        1
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
        if x[0].abs() > 3.0 {
            let (model, needed) = ("walled".to_owned(), "between the walls");
            return Err(DynamicsError::Parameter { model, parameter: "x", value: x[0], needed });
        }
        x_next[0] = x[0] + 0.1 * u[0];
        Ok(())
    }
}

impl Dynamics for Walled {
    fn linearize(
        &self,
        _ws: &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx[(0, 0)] = 1.0;
        out.fu[(0, 0)] = 0.1;
        Ok(())
    }
}

/// Σ x² + 0.1 u² from starts in ±`widest`, from ±`closest` on.
struct Line {
    cost: QuadraticCost,
    bounds: ActionBounds,
    start: DVector<f64>,
    closest: f64,
    widest: f64,
}

impl Line {
    fn new(closest: f64, widest: f64, limit: f64) -> Self {
        Self {
            cost: QuadraticCost::new(vec![0.0], vec![1.0], vec![0.1]).unwrap(),
            bounds: ActionBounds::symmetric(1, limit),
            start: dvector![0.0],
            closest,
            widest,
        }
    }
}

impl Task for Line {
    fn name(&self) -> &str {
        "line"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &Walled
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &Walled
    }
    fn horizon(&self) -> usize {
        10
    }
    fn dt(&self) -> f64 {
        0.1
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        let side = if stream.unit() < 0.5 { -1.0 } else { 1.0 };
        x0[0] = side * stream.uniform(self.closest, self.widest);
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        -m.x[0].powi(2) - 0.1 * m.u[0].powi(2)
    }
    fn objective(&self) -> Option<Objective<'_>> {
        let terminal = &ZeroTerminalCost { ndx: 1 };
        let (x0, us0) = (&self.start, &self.start);
        Some(Objective { stage: &self.cost, terminal, x0, us0, control_limits: None })
    }
}

fn pods(rollouts: usize) -> PodsSettings {
    PodsSettings { rollouts, hidden: vec![8], ..PodsSettings::second_order() }
}

#[test]
fn failed_rollouts_are_left_out_and_named() {
    let task = Line::new(0.0, 4.0, 1.0);
    let mut learner = Pods::<f32>::new(&task, &pods(60), 0).unwrap();
    for _ in 0..3 {
        let epoch = learner.epoch().unwrap();
        let failures = epoch.failures();
        assert!((5..30).contains(&failures), "{failures}");
        assert_eq!(failures + epoch.kept().count(), 60);
        for error in epoch.rollouts.iter().filter_map(|rollout| rollout.as_ref().err()) {
            assert!(matches!(error, DdpError::Model { .. }), "{error}");
        }
        assert!(epoch.losses.iter().all(|loss| loss.is_finite()));
    }
    let settings = BpttSettings { rollouts: 60, hidden: vec![8], ..BpttSettings::default() };
    let mut learner = Bptt::<f32>::new(&task, &settings, 0).unwrap();
    let epoch = learner.epoch().unwrap();
    assert!((5..30).contains(&epoch.failures()) && epoch.mean_cost().is_finite());
}

/// What fails in some starts leaves the sum over the others as it is without them.
#[test]
fn the_gradient_is_the_mean_over_the_rollouts_that_are_left() {
    let task = Line::new(0.0, 4.0, 1.0);
    let settings = BpttSettings { rollouts: 4, hidden: vec![8], ..BpttSettings::default() };
    let mut learner = Bptt::<f64>::new(&task, &settings, 0).unwrap();
    learner.differentiate(&[dvector![3.5], dvector![1.0], dvector![-3.2], dvector![-2.0]]).unwrap();
    let with_failures = learner.gradient().to_vec();
    learner.differentiate(&[dvector![1.0], dvector![-2.0]]).unwrap();
    assert_eq!(with_failures, learner.gradient());
}

#[test]
fn an_epoch_without_any_rollout_is_an_error() {
    let task = Line::new(3.5, 4.0, 1.0);
    let mut learner = Pods::<f32>::new(&task, &pods(7), 0).unwrap();
    let error = learner.epoch().err().unwrap();
    assert!(matches!(error, LearnError::NoRollouts { rollouts: 7, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("`pods`, epoch 0: all 7 roll-outs"), "{text}");
}

#[test]
fn controls_without_finite_limits_are_refused() {
    let task = Line::new(0.0, 1.0, f64::INFINITY);
    let text = Pods::<f32>::new(&task, &pods(7), 0).err().unwrap().to_string();
    assert!(text.contains("it needs finite limits of all controls"), "{text}");
}
