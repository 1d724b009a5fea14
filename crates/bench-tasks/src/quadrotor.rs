//! The quadrotor of VG-SAC (Gurumurthy, Kolter and Manchester, L4DC 2023) with a quadratic cost:
//! fly to the goal and hover.

use dynamics::models::{Quadrotor, QuadrotorParameters};
use dynamics::{ActionBounds, Cost, CostExpansion, HessianKind, QuadraticCost, Rk4};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::optimal_control::{OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::{TaskError, Variant};

const NAME: &str = "quadrotor";

/// Everything about the task that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuadrotorSettings {
    #[serde(flatten)]
    common: OptimalControlSettings,
    /// The plant.
    real: QuadrotorParameters,
    /// The model that is differentiated.
    nominal: QuadrotorParameters,
}

impl Default for QuadrotorSettings {
    /// 100 steps of 0.05 s from one metre off along every axis, at rest; plant and model are the
    /// paper's model.
    fn default() -> Self {
        let mut x0 = vec![0.0; 12];
        x0[..3].fill(1.0);
        let common = OptimalControlSettings {
            horizon: 100,
            dt: 0.05,
            state_weight: 0.05,
            control_weight: 0.01,
            terminal_weight: Some(1.0),
            goal: vec![0.0; 12],
            u_max: None,
            x0,
        };
        let model = QuadrotorParameters::nominal();
        Self { common, real: model, nominal: model }
    }
}

/// A quadratic cost of u − `rest` for every control.
struct FromRest {
    cost: QuadraticCost,
    rest: f64,
}

impl Cost for FromRest {
    /// u − rest.
    type Workspace = DVector<f64>;

    fn ndx(&self) -> usize {
        Cost::ndx(&self.cost)
    }
    fn nu(&self) -> usize {
        self.cost.nu()
    }
    fn workspace(&self) -> Self::Workspace {
        DVector::zeros(self.cost.nu())
    }
    fn stage(&self, ws: &mut Self::Workspace, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        ws.zip_apply(u, |off, u| *off = u - self.rest);
        self.cost.stage(&mut (), t, x, ws)
    }
    fn expand_stage(
        &self,
        ws: &mut Self::Workspace,
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        ws.zip_apply(u, |off, u| *off = u - self.rest);
        self.cost.expand_stage(&mut (), t, x, ws, out);
    }
    fn hessian_kind(&self) -> HessianKind {
        Cost::hessian_kind(&self.cost)
    }
}

/// One RK4 step; ℓ = w_x ‖x − goal‖² + w_u ‖u − u_h‖² per step, not times dt, and
/// ℓ_T = w_T ‖x − goal‖², where velocities count a tenth, as in the paper's reward, and u_h is the
/// command that lets the nominal model hover. `u_max` limits u − u_h, and guesses begin at u_h.
///
/// The attitude parameters have no value for a full turn, near which they run away. Learners
/// therefore act within 0.1 of u_h unless `u_max` says otherwise, and their episodes end with a step
/// that costs more than [`WORST_COST`].
pub(crate) fn build(
    variant: Variant,
    settings: &QuadrotorSettings,
) -> Result<OptimalControlTask, TaskError> {
    let QuadrotorSettings { common, real, nominal } = settings;
    let scales: [f64; 12] = std::array::from_fn(|i| if i < 6 { 1.0 } else { 0.1 });
    let [stage, terminal] = common.quadratic(NAME, &scales, 4, |w| w)?;
    let nominal = Quadrotor::new(*nominal)?;
    let rest = nominal.hover_action();
    let us0 = DVector::repeat(4, rest);
    let parts = OptimalControlParts {
        name: NAME,
        real: TaskModel::generic(Rk4::new(Quadrotor::new(*real)?, common.dt)?),
        nominal: TaskModel::generic(Rk4::new(nominal, common.dt)?),
        stage: Box::new(FromRest { cost: stage, rest }),
        terminal: Box::new(terminal),
        horizon: common.horizon,
        dt: common.dt,
        x0: common.x0(NAME, 12)?,
        start_spread: [[1.0; 3], [0.2; 3], [0.5; 3], [0.25; 3]].concat(),
        control_limits: common.control_limits(NAME, &us0)?,
        us0,
        action_bounds: ActionBounds { low: vec![rest - 0.1; 4], high: vec![rest + 0.1; 4] },
        check_spread: [[2.0; 3], [0.8; 3], [3.0; 3], [3.0; 3]].concat(),
        state_names: STATE_NAMES.map(String::from).to_vec(),
    };
    Ok(OptimalControlTask::new(variant, parts)?.ending_above(WORST_COST))
}

/// Far beyond the cost of any state between start and goal.
const WORST_COST: f64 = 100.0;

#[rustfmt::skip]
const STATE_NAMES: [&str; 12] = [
    "x [m]", "y [m]", "z [m]", "m₁", "m₂", "m₃",
    "v₁ [m/s]", "v₂ [m/s]", "v₃ [m/s]", "ω₁ [rad/s]", "ω₂ [rad/s]", "ω₃ [rad/s]",
];
