//! Tasks whose objective is a sum of costs, Σₜ ℓ(t, xₜ, uₜ) + ℓ_T(x_T): what solvers minimise and
//! learners see as a reward.

use std::sync::Arc;

use dynamics::{
    ActionBounds, AnyCost, AnyDynamics, AnyPlant, AnyTerminalCost, CostExpansion, DerivativeKind,
    DualOracle, Dynamics, DynamicsError, End, GenericDynamics, Move, Objective, Observation,
    RewardGradient, Scratch, StateObservation, Stream, Task, Termination,
};
use nalgebra::DVector;

use crate::planar_walker::check_horizon;
use crate::{BenchTask, CheckedModel, TaskError, Variant};

/// A model of an [`OptimalControlTask`], with its twin on dual numbers where it has one.
#[derive(Clone)]
pub struct TaskModel {
    dynamics: Arc<dyn AnyDynamics>,
    oracle: Option<Arc<dyn DualOracle>>,
}

impl TaskModel {
    /// A model that is written for every scalar, so that dual numbers check its derivatives.
    #[must_use]
    pub fn generic<M: Dynamics + GenericDynamics + 'static>(model: M) -> Self {
        let model = Arc::new(model);
        Self { dynamics: model.clone(), oracle: Some(model) }
    }

    /// A model whose derivatives only differences check.
    #[must_use]
    pub fn plain<M: Dynamics + 'static>(model: M) -> Self {
        Self { dynamics: Arc::new(model), oracle: None }
    }

    /// The model.
    #[must_use]
    pub fn dynamics(&self) -> &dyn AnyDynamics {
        &*self.dynamics
    }

    fn checked(&self, label: &'static str) -> CheckedModel<'_> {
        CheckedModel { label, model: &*self.dynamics, oracle: self.oracle.as_deref() }
    }
}

/// What an [`OptimalControlTask`] is made of. `nx`, `ndx` and `nu` are those of the nominal model.
pub struct OptimalControlParts {
    /// Name on the command line and in reports.
    pub name: &'static str,
    /// The plant; a clone of `nominal` where nothing tells them apart.
    pub real: TaskModel,
    /// The model that is differentiated.
    pub nominal: TaskModel,
    /// Cost ℓ of each step.
    pub stage: Box<dyn AnyCost>,
    /// Cost ℓ_T of the last state.
    pub terminal: Box<dyn AnyTerminalCost>,
    /// Control steps.
    pub horizon: usize,
    /// Length of a control step (s).
    pub dt: f64,
    /// Where solvers start, nx.
    pub x0: DVector<f64>,
    /// Episodes start at x0 ⊕ δ with δᵢ uniform in ±`start_spread`ᵢ, ndx.
    pub start_spread: Vec<f64>,
    /// The control that the first guess repeats, nu.
    pub us0: DVector<f64>,
    /// Range of the controls, where they are limited.
    pub control_limits: Option<ActionBounds>,
    /// Range that learners choose from where the controls are not limited: their policies need one.
    pub action_bounds: ActionBounds,
    /// Half-width of the box around x0 in which derivatives are checked, ndx.
    pub check_spread: Vec<f64>,
    /// Names of the state's entries with units, nx.
    pub state_names: Vec<String>,
}

/// A sum of costs as a task. The reward of step t is −ℓ(t, x, u); that of the last step has
/// −ℓ_T(x') in addition, so the return of an episode is minus the objective.
///
/// Nothing is discounted, and the time limit ends the episode for good: the terminal cost stands for
/// everything that comes after.
pub struct OptimalControlTask {
    parts: OptimalControlParts,
    /// The middle of where episodes start.
    start: DVector<f64>,
    /// Below it an episode ends.
    worst_reward: f64,
    variant: Variant,
    observation: Box<dyn Observation>,
    /// Draws where episodes start, if that is no box about `start`.
    starts: Option<Starts>,
    /// Discount of values that are learned.
    discount: f64,
    measures: Measures,
}

/// What [`Task::measures`] and [`Task::measure`] say.
#[derive(Default)]
pub(crate) struct Measures {
    pub(crate) names: &'static [&'static str],
    pub(crate) measure: Option<Measure>,
}

/// Takes a transition into the measures of its episode.
pub(crate) type Measure = Box<dyn Fn(&Move<'_>, &mut [f64]) + Send + Sync>;

/// Draws a state, nx, in which an episode starts.
pub(crate) type Starts = Box<dyn Fn(&mut Stream, &mut DVector<f64>) + Send + Sync>;

/// Random steps after which derivatives are checked at most, where starts are drawn by [`Starts`].
const CHECKED_STEPS: usize = 20;

impl OptimalControlTask {
    /// The task on the given plant.
    ///
    /// # Errors
    /// [`TaskError::Setting`] for a horizon of 0, [`DynamicsError::Dimension`] for parts that do not
    /// fit together.
    pub fn new(variant: Variant, parts: OptimalControlParts) -> Result<Self, TaskError> {
        let mut parts = parts;
        check_horizon(parts.name, parts.horizon)?;
        if let Some(limits) = &parts.control_limits {
            parts.action_bounds = limits.clone();
        }
        check_sizes(&parts)?;
        let start = parts.x0.clone();
        Ok(Self {
            start,
            worst_reward: f64::NEG_INFINITY,
            parts,
            variant,
            observation: Box::new(StateObservation),
            starts: None,
            discount: 1.0,
            measures: Measures::default(),
        })
    }

    /// The same task with episodes that end, at the reward −`cost`, with a step that costs more: a
    /// state that runs away under a bad policy. Solvers do not see this.
    pub(crate) fn ending_above(self, cost: f64) -> Self {
        Self { worst_reward: -cost, ..self }
    }

    /// The same task with episodes that start about `start`, nx, in the place of x0.
    pub(crate) fn starting_about(self, start: DVector<f64>) -> Self {
        Self { start, ..self }
    }

    /// The same task with episodes that start where `starts` says. Derivatives are then checked along
    /// roll-outs, since a box about x0 may hold states that no roll-out comes near.
    pub(crate) fn starting_from(self, starts: Starts) -> Self {
        Self { starts: Some(starts), ..self }
    }

    /// The same task with policies that see `observation` in the place of the state.
    pub(crate) fn observed_by(self, observation: impl Observation + 'static) -> Self {
        Self { observation: Box::new(observation), ..self }
    }

    /// The same task with values that are learned with a discount: they have no clock, so the time limit
    /// only cuts episodes off.
    pub(crate) fn discounted(self, discount: f64) -> Self {
        Self { discount, ..self }
    }

    /// The same task with measures of its episodes.
    pub(crate) fn measured_by(self, measures: Measures) -> Self {
        Self { measures, ..self }
    }

    fn model(&self) -> &dyn AnyDynamics {
        match self.variant {
            Variant::Real => self.parts.real.dynamics(),
            Variant::Nominal => self.parts.nominal.dynamics(),
        }
    }

    fn is_last(&self, m: &Move<'_>) -> bool {
        m.t + 1 == self.parts.horizon
    }

    /// Writes x ⊕ δ with δᵢ uniform in ±`spread`ᵢ.
    fn move_away(
        &self,
        x: &DVector<f64>,
        spread: &[f64],
        stream: &mut Stream,
        out: &mut DVector<f64>,
    ) {
        let delta = DVector::from_fn(spread.len(), |i, _| stream.uniform(-spread[i], spread[i]));
        self.parts.nominal.dynamics().any_states().integrate(x, &delta, out);
    }

    /// Where some random actions lead from a start; as far as the model follows.
    fn reach(&self, starts: &Starts, stream: &mut Stream, x: &mut DVector<f64>) {
        starts(stream, x);
        let (model, mut u) = (self.parts.nominal.dynamics(), self.parts.us0.clone());
        let (mut scratch, mut x_next) = (model.any_workspace(), x.clone());
        for _ in 0..stream.index(CHECKED_STEPS + 1) {
            self.parts.action_bounds.sample(stream, u.as_mut_slice());
            if model.any_step(&mut scratch, x, &u, &[], &mut x_next).is_err() {
                break;
            }
            x.copy_from(&x_next);
        }
    }
}

fn check_sizes(parts: &OptimalControlParts) -> Result<(), DynamicsError> {
    let (real, nominal) = (parts.real.dynamics(), parts.nominal.dynamics());
    let (nx, ndx, nu) = (nominal.any_nx(), nominal.any_ndx(), nominal.any_nu());
    for (what, found, needed) in [
        ("state of the plant", real.any_nx(), nx),
        ("control of the plant", real.any_nu(), nu),
        ("tangent of the stage cost", parts.stage.any_ndx(), ndx),
        ("control of the stage cost", parts.stage.any_nu(), nu),
        ("tangent of the terminal cost", parts.terminal.any_ndx(), ndx),
        ("x0", parts.x0.len(), nx),
        ("start_spread", parts.start_spread.len(), ndx),
        ("us0", parts.us0.len(), nu),
        ("action_bounds.low", parts.action_bounds.low.len(), nu),
        ("action_bounds.high", parts.action_bounds.high.len(), nu),
        ("check_spread", parts.check_spread.len(), ndx),
        ("state_names", parts.state_names.len(), nx),
    ] {
        if found != needed {
            let model = parts.name.to_owned();
            return Err(DynamicsError::Dimension { model, what, found, needed });
        }
    }
    Ok(())
}

/// Scratch of the reward.
struct RewardScratch {
    stage: Scratch,
    terminal: Scratch,
    expansion: CostExpansion,
}

impl Task for OptimalControlTask {
    fn name(&self) -> &str {
        self.parts.name
    }
    fn plant(&self) -> &dyn AnyPlant {
        self.model()
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        self.parts.nominal.dynamics()
    }
    fn plant_dynamics(&self) -> Option<&dyn AnyDynamics> {
        Some(self.model())
    }
    fn horizon(&self) -> usize {
        self.parts.horizon
    }
    fn dt(&self) -> f64 {
        self.parts.dt
    }
    fn discount(&self) -> f64 {
        self.discount
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.parts.action_bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        match &self.starts {
            Some(starts) => starts(stream, x0),
            None => self.move_away(&self.start, &self.parts.start_spread, stream, x0),
        }
    }
    fn reward_scratch(&self) -> Scratch {
        let OptimalControlParts { stage, terminal, .. } = &self.parts;
        Scratch::new(RewardScratch {
            stage: stage.any_workspace(),
            terminal: terminal.any_workspace(),
            expansion: CostExpansion::zeros(stage.any_ndx(), stage.any_nu()),
        })
    }
    fn reward(&self, scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        let Some(ws) = scratch.get::<RewardScratch>() else { return f64::NAN };
        let mut cost = self.parts.stage.any_stage(&mut ws.stage, m.t, m.x, m.u);
        if self.is_last(m) {
            cost += self.parts.terminal.any_terminal(&mut ws.terminal, m.x_next);
        }
        -cost
    }
    fn reward_gradient(&self, scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        let Some(RewardScratch { stage, terminal, expansion }) = scratch.get() else {
            out.r_x.fill(f64::NAN);
            return;
        };
        self.parts.stage.any_expand_stage(stage, m.t, m.x, m.u, expansion);
        out.r_x.zip_apply(&expansion.lx, |r, l| *r = -l);
        out.r_u.zip_apply(&expansion.lu, |r, l| *r = -l);
        if self.is_last(m) {
            self.parts.terminal.any_expand_terminal(terminal, m.x_next, expansion);
            out.r_xnext.zip_apply(&expansion.lx, |r, l| *r = -l);
        } else {
            out.r_xnext.fill(0.0);
        }
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn ends(&self, _m: &Move<'_>, reward: f64) -> Option<Termination> {
        let end = Termination { end: End::Terminated, reward: self.worst_reward };
        (reward < self.worst_reward).then_some(end)
    }
    fn time_limit(&self) -> End {
        if self.discount < 1.0 { End::Truncated } else { End::Terminated }
    }
    fn objective(&self) -> Option<Objective<'_>> {
        let OptimalControlParts { stage, terminal, x0, us0, control_limits, .. } = &self.parts;
        Some(Objective {
            stage: &**stage,
            terminal: &**terminal,
            x0,
            us0,
            control_limits: control_limits.as_ref(),
        })
    }
    fn observation(&self) -> &dyn Observation {
        &*self.observation
    }
    fn measures(&self) -> &[&'static str] {
        self.measures.names
    }
    fn measure(&self, transition: &Move<'_>, out: &mut [f64]) {
        if let Some(measure) = &self.measures.measure {
            measure(transition, out);
        }
    }
    fn state_names(&self) -> Vec<String> {
        self.parts.state_names.clone()
    }
}

impl BenchTask for OptimalControlTask {
    fn as_task(&self) -> &dyn Task {
        self
    }
    fn checked_models(&self) -> Vec<CheckedModel<'_>> {
        vec![self.parts.real.checked("real"), self.parts.nominal.checked("nominal")]
    }
    fn check_points(&self, stream: &mut Stream, n: usize) -> Vec<(DVector<f64>, DVector<f64>)> {
        let OptimalControlParts { x0, us0, action_bounds, check_spread, .. } = &self.parts;
        // At the start without effort and with full effort, then anywhere.
        let mut points = vec![
            (x0.clone(), us0.clone()),
            (x0.clone(), DVector::from_column_slice(&action_bounds.high)),
        ];
        while points.len() < n {
            let (mut x, mut u) = (x0.clone(), us0.clone());
            match &self.starts {
                Some(starts) => self.reach(starts, stream, &mut x),
                None => self.move_away(x0, check_spread, stream, &mut x),
            }
            action_bounds.sample(stream, u.as_mut_slice());
            points.push((x, u));
        }
        points.truncate(n);
        points
    }
}
