//! Cartpole swing-up of VG-SAC (Gurumurthy, Kolter and Manchester, L4DC 2023).

use std::f64::consts::{PI, TAU};

use dynamics::models::{Cartpole as Model, CartpoleParameters, DeadbandKind};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, Cost, CostExpansion, CostReward, DerivativeKind, End,
    HessianKind, Move, Objective, QuadraticCost, RewardAt, RewardGradient, Rk4, Scratch, Stream,
    Task, Termination, wrap_to_tau,
};
use nalgebra::{DVector, dvector};
use serde::{Deserialize, Serialize};

use crate::{BenchTask, CheckedModel, Preset, TaskError, Variant};

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CartpoleSettings {
    /// Control steps per episode.
    pub horizon: usize,
    /// Length of a control step (s); one RK4 step.
    pub dt: f64,
    /// Largest force on the cart (N).
    pub u_max: f64,
    /// The plant.
    pub real: CartpoleParameters,
    /// The model that is differentiated.
    pub nominal: CartpoleParameters,
}

impl CartpoleSettings {
    /// The task as released ([`Preset::Released`]) or as the paper describes it
    /// ([`Preset::Paper`]: cart mass 2.0 kg in the place of 1.8 kg, and a deadband that zeroes small
    /// forces in the place of one that raises them).
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let nominal = CartpoleParameters {
            cart_mass: 1.0,
            pole_mass: 0.2,
            length: 0.5,
            gravity: 9.81,
            damping: 0.0,
            friction: 0.0,
            friction_slope: 5.0,
            deadband: 0.0,
            deadband_kind: DeadbandKind::Zeroing,
        };
        let (cart_mass, deadband_kind) = match preset {
            Preset::Released => (1.8, DeadbandKind::Raising),
            Preset::Paper => (2.0, DeadbandKind::Zeroing),
        };
        let real = CartpoleParameters {
            cart_mass,
            pole_mass: 0.6,
            damping: 0.08,
            friction: 0.6,
            deadband: 0.05,
            deadband_kind,
            ..nominal
        };
        Self { horizon: 100, dt: 0.05, u_max: 40.0, real, nominal }
    }
}

/// The task: swing the pole up and keep it there, reward at the next state. The objective for solvers
/// is the sum of 1 − reward over an episode that does not end early, from hanging at rest.
pub struct Cartpole {
    variant: Variant,
    real: Rk4<Model>,
    nominal: Rk4<Model>,
    reward: CostReward<QuadraticCost>,
    stage: FromSecondState,
    hanging: DVector<f64>,
    no_force: DVector<f64>,
    bounds: ActionBounds,
    horizon: usize,
}

impl Cartpole {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError`] for settings out of range.
    pub fn new(variant: Variant, settings: &CartpoleSettings) -> Result<Self, TaskError> {
        for (key, value) in [("u_max", settings.u_max), ("horizon", settings.horizon as f64)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(TaskError::Setting {
                    task: "cartpole",
                    key,
                    value,
                    needed: "a positive finite number",
                });
            }
        }
        let model = |parameters| Rk4::new(Model::new(parameters)?, settings.dt);
        // r = 1 − [0.02 p² + 0.2 δ² + 0.001 ṗ² + 0.001 θ̇²], δ = θ − π.
        let cost = |weights| -> Result<_, TaskError> {
            let goal = vec![0.0, PI, 0.0, 0.0];
            Ok(QuadraticCost::new(goal, weights, vec![0.0])?.with_angles(&[1]))
        };
        let judged = cost(vec![0.02, 0.2, 0.001, 0.001])?;
        Ok(Self {
            variant,
            real: model(settings.real)?,
            nominal: model(settings.nominal)?,
            stage: FromSecondState { first: cost(vec![0.0; 4])?, later: judged.clone() },
            reward: CostReward { cost: judged, offset: 1.0, at: RewardAt::Next },
            hanging: DVector::zeros(4),
            no_force: DVector::zeros(1),
            bounds: ActionBounds::symmetric(1, settings.u_max),
            horizon: settings.horizon,
        })
    }

    fn model(&self) -> &Rk4<Model> {
        match self.variant {
            Variant::Real => &self.real,
            Variant::Nominal => &self.nominal,
        }
    }
}

/// What a reward of the next state leaves for the steps' own states: nothing at the first.
struct FromSecondState {
    first: QuadraticCost,
    later: QuadraticCost,
}

impl FromSecondState {
    fn at(&self, t: usize) -> &QuadraticCost {
        if t == 0 { &self.first } else { &self.later }
    }
}

impl Cost for FromSecondState {
    type Workspace = ();

    fn ndx(&self) -> usize {
        Cost::ndx(&self.later)
    }
    fn nu(&self) -> usize {
        self.later.nu()
    }
    fn workspace(&self) {}
    fn stage(&self, ws: &mut (), t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        self.at(t).stage(ws, t, x, u)
    }
    fn expand_stage(
        &self,
        ws: &mut (),
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        self.at(t).expand_stage(ws, t, x, u, out);
    }
    fn hessian_kind(&self) -> HessianKind {
        Cost::hessian_kind(&self.later)
    }
}

/// An episode ends when the reward falls below this; the reward is kept.
const WORST_REWARD: f64 = -10.0;

impl Task for Cartpole {
    fn name(&self) -> &str {
        "cartpole"
    }
    fn plant(&self) -> &dyn AnyPlant {
        self.model()
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.nominal
    }
    fn plant_dynamics(&self) -> Option<&dyn AnyDynamics> {
        Some(self.model())
    }
    fn horizon(&self) -> usize {
        self.horizon
    }
    fn dt(&self) -> f64 {
        self.nominal.dt()
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-1.0, 1.0);
        x0[1] = wrap_to_tau(PI + stream.uniform(-PI, PI));
        x0[2] = stream.uniform(-0.5, 0.5);
        x0[3] = stream.uniform(-0.5, 0.5);
    }
    fn wrap(&self, x: &mut DVector<f64>) {
        x[1] = wrap_to_tau(x[1]);
    }
    fn reward_scratch(&self) -> Scratch {
        self.reward.scratch()
    }
    fn reward(&self, scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        self.reward.reward(scratch, m)
    }
    fn reward_gradient(&self, scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        self.reward.gradient(scratch, m, out);
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn ends(&self, _m: &Move<'_>, reward: f64) -> Option<Termination> {
        (reward < WORST_REWARD).then_some(Termination { end: End::Terminated, reward })
    }
    fn objective(&self) -> Option<Objective<'_>> {
        Some(Objective {
            stage: &self.stage,
            terminal: &self.reward.cost,
            x0: &self.hanging,
            us0: &self.no_force,
            control_limits: Some(&self.bounds),
        })
    }
    fn state_names(&self) -> Vec<String> {
        ["p [m]", "θ [rad]", "ṗ [m/s]", "θ̇ [rad/s]"].map(String::from).to_vec()
    }
}

impl BenchTask for Cartpole {
    fn as_task(&self) -> &dyn Task {
        self
    }
    fn checked_models(&self) -> Vec<CheckedModel<'_>> {
        vec![
            CheckedModel { label: "real", model: &self.real, oracle: Some(&self.real) },
            CheckedModel { label: "nominal", model: &self.nominal, oracle: Some(&self.nominal) },
        ]
    }
    fn check_points(&self, stream: &mut Stream, n: usize) -> Vec<(DVector<f64>, DVector<f64>)> {
        let u_max = self.bounds.high[0];
        let deadband = self.real.model().parameters().deadband;
        // Degenerate ones first: at rest, hanging, upright, just inside and outside the deadband.
        let mut points: Vec<_> = [0.0, PI, 0.5 * PI]
            .into_iter()
            .flat_map(|theta| {
                [0.5 * deadband, -0.5 * deadband, 2.0 * deadband + 0.1, u_max]
                    .map(|u| (dvector![0.0, theta, 0.0, 0.0], dvector![u]))
            })
            .collect();
        while points.len() < n {
            let x = dvector![
                stream.uniform(-3.0, 3.0),
                stream.uniform(-PI, TAU + PI),
                stream.uniform(-4.0, 4.0),
                stream.uniform(-10.0, 10.0)
            ];
            let u = stream.uniform(-u_max, u_max);
            // Differences are only asserted away from the jumps at |u| = deadband and, where small
            // forces are raised, at 0.
            let reach = 10.0 * dynamics::check::RICHARDSON_STEP * u.abs().max(1.0);
            if (u.abs() - deadband).abs() > reach && u.abs() > reach {
                points.push((x, dvector![u]));
            }
        }
        points.truncate(n);
        points
    }
}
