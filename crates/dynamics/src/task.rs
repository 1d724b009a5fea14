//! A control problem as data.

use nalgebra::{DMatrix, DVector};

use crate::{
    AnyCost, AnyDynamics, AnyPlant, AnyTerminalCost, Cost, CostExpansion, DerivativeKind, Scratch,
    States, Stream, Tracker, finite_difference,
};

/// A control problem: the real plant, the nominal model that is differentiated, the reward, where
/// episodes start, when they end.
///
/// The minimum is [`Task::name`], [`Task::plant`], [`Task::nominal`], [`Task::horizon`],
/// [`Task::dt`], [`Task::action_bounds`], [`Task::sample_x0`] and [`Task::reward`]; everything else
/// has a default. A user's task that implements it runs with every agent.
///
/// Jacobians and reward gradients are in the tangent coordinates of the state, also where the
/// observation differs from the state.
pub trait Task: Send + Sync {
    /// Name on the command line and in reports.
    fn name(&self) -> &str;
    /// The world: what actions are applied to and data come from.
    fn plant(&self) -> &dyn AnyPlant;
    /// The model whose derivatives are used. It has the plant's state and control.
    fn nominal(&self) -> &dyn AnyDynamics;
    /// The plant's own derivatives, where it has them: for checks and for methods that compare with
    /// the true gradient. No method needs them.
    fn plant_dynamics(&self) -> Option<&dyn AnyDynamics> {
        None
    }
    /// Control steps per episode.
    fn horizon(&self) -> usize;
    /// Length of a control step (s).
    fn dt(&self) -> f64;
    /// Discount γ of the return that is learned.
    fn discount(&self) -> f64 {
        0.99
    }
    /// Range of each action. The plant need not clip to it; policies stay inside.
    fn action_bounds(&self) -> &ActionBounds;
    /// Draws an initial state.
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>);
    /// Brings a state that the plant has reached into its canonical form: angles wrapped,
    /// velocities clamped. Derivatives pass through with slope 1.
    fn wrap(&self, _x: &mut DVector<f64>) {}

    /// Scratch that the reward needs, one per thread.
    fn reward_scratch(&self) -> Scratch {
        Scratch::none()
    }
    /// Reward of step `t` from `x` under `u` to `x_next` (wrapped).
    fn reward(&self, scratch: &mut Scratch, transition: &Move<'_>) -> f64;
    /// Gradient of [`Task::reward`] in its three vector arguments. The default takes central
    /// differences.
    fn reward_gradient(
        &self,
        scratch: &mut Scratch,
        transition: &Move<'_>,
        out: &mut RewardGradient,
    ) {
        difference_reward(self, scratch, transition, out);
    }
    /// Where [`Task::reward_gradient`] comes from; override it together with the gradient.
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::FiniteDifference
    }

    /// Whether the task itself ends the episode at this transition, and with which reward.
    fn ends(&self, _transition: &Move<'_>, _reward: f64) -> Option<Termination> {
        None
    }
    /// What reaching [`Task::horizon`] means for the value of the last state.
    fn time_limit(&self) -> End {
        End::Truncated
    }

    /// The sum of costs that the task minimises, for solvers; `None` where its reward is no such sum.
    fn objective(&self) -> Option<Objective<'_>> {
        None
    }
    /// Set points and controller of a policy that follows references; none, the default, where the task
    /// has no such thing.
    fn tracker(&self) -> Option<&dyn Tracker> {
        None
    }

    /// What the policy and critics see of a state.
    fn observation(&self) -> &dyn Observation {
        &StateObservation
    }
    /// Names of the numbers beside the return that tell how good an episode was.
    fn measures(&self) -> &[&'static str] {
        &[]
    }
    /// Takes a transition into the [`Task::measures`] of its episode: `out` is 0 at the start of an
    /// episode, and what the last transition leaves there counts.
    fn measure(&self, _transition: &Move<'_>, _out: &mut [f64]) {}
    /// Names of the state's entries with units, for reports.
    fn state_names(&self) -> Vec<String> {
        (0..self.plant().any_nx()).map(|i| format!("x{i}")).collect()
    }
}

/// Σₜ ℓ(t, xₜ, uₜ) + ℓ_T(x_T), and where solvers start.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// Cost of each step.
    pub stage: &'a dyn AnyCost,
    /// Cost of the last state.
    pub terminal: &'a dyn AnyTerminalCost,
    /// The initial state where none is given.
    pub x0: &'a DVector<f64>,
    /// The control that the first guess repeats at every step where none is given.
    pub us0: &'a DVector<f64>,
    /// The range of the controls, where they are limited.
    pub control_limits: Option<&'a ActionBounds>,
}

/// One transition as the reward sees it.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// Step within the episode, from 0.
    pub t: usize,
    /// State before.
    pub x: &'a DVector<f64>,
    /// Action.
    pub u: &'a DVector<f64>,
    /// State after, wrapped.
    pub x_next: &'a DVector<f64>,
}

/// Why an episode is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The task ended it: there is no value beyond (mask 0).
    Terminated,
    /// The clock ended it: the value of the last state counts (mask 1).
    Truncated,
}

/// The end of an episode, with the reward of its last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Termination {
    /// Kind of end.
    pub end: End,
    /// Reward of the last step; some tasks replace it.
    pub reward: f64,
}

/// ∂r/∂x, ∂r/∂u and ∂r/∂x' of a reward r(t, x, u, x').
#[derive(Debug, Clone, PartialEq)]
pub struct RewardGradient {
    /// ∂r/∂x, ndx.
    pub r_x: DVector<f64>,
    /// ∂r/∂u, nu.
    pub r_u: DVector<f64>,
    /// ∂r/∂x', ndx.
    pub r_xnext: DVector<f64>,
}

impl RewardGradient {
    /// Zeros of the given sizes.
    #[must_use]
    pub fn zeros(ndx: usize, nu: usize) -> Self {
        Self { r_x: DVector::zeros(ndx), r_u: DVector::zeros(nu), r_xnext: DVector::zeros(ndx) }
    }
}

/// Range of each action, `low[j] < high[j]`, both finite.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionBounds {
    /// Smallest value of each action.
    pub low: Vec<f64>,
    /// Largest value of each action.
    pub high: Vec<f64>,
}

impl ActionBounds {
    /// The box [−limit, limit] for `nu` actions.
    #[must_use]
    pub fn symmetric(nu: usize, limit: f64) -> Self {
        Self { low: vec![-limit; nu], high: vec![limit; nu] }
    }

    /// Draws an action uniformly from the box.
    pub fn sample(&self, stream: &mut Stream, u: &mut [f64]) {
        for (u, (&low, &high)) in u.iter_mut().zip(self.low.iter().zip(&self.high)) {
            *u = stream.uniform(low, high);
        }
    }
}

/// The map from a state to what policy and critics see.
pub trait Observation: Send + Sync {
    /// Entries of the observation for a state of `nx` entries.
    fn n_observations(&self, nx: usize) -> usize;
    /// Writes the observation.
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]);
    /// Writes ∂o/∂x (entries of o × ndx). `None` means the observation is the state.
    fn jacobian(&self) -> Option<&dyn ObservationJacobian>;
}

/// ∂o/∂x of an [`Observation`] that is not the state itself.
pub trait ObservationJacobian: Send + Sync {
    /// Writes ∂o/∂x, n_observations × ndx.
    fn linearize(&self, x: &DVector<f64>, ox: &mut DMatrix<f64>);
}

/// The state itself.
#[derive(Debug, Clone, Copy)]
pub struct StateObservation;

impl Observation for StateObservation {
    fn n_observations(&self, nx: usize) -> usize {
        nx
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        o.copy_from_slice(x.as_slice());
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        None
    }
}

/// Which state of a transition a [`CostReward`] judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewardAt {
    /// r(t, x, u, x') = offset − ℓ(t, x, u).
    Current,
    /// r(t, x, u, x') = offset − ℓ(t, x', u).
    Next,
}

/// The one adaptor from a cost to a reward: reward = offset − cost, gradients included.
#[derive(Debug, Clone)]
pub struct CostReward<C> {
    /// The cost ℓ.
    pub cost: C,
    /// Reward at zero cost.
    pub offset: f64,
    /// Which state is judged.
    pub at: RewardAt,
}

/// Scratch of a [`CostReward`].
struct CostScratch<W> {
    cost: W,
    expansion: CostExpansion,
}

impl<C: Cost> CostReward<C> {
    /// For [`Task::reward_scratch`].
    pub fn scratch(&self) -> Scratch {
        Scratch::new(CostScratch {
            cost: self.cost.workspace(),
            expansion: CostExpansion::zeros(self.cost.ndx(), self.cost.nu()),
        })
    }

    /// For [`Task::reward`]; not a number if the scratch is not this adaptor's.
    pub fn reward(&self, scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        match scratch.get::<CostScratch<C::Workspace>>() {
            Some(ws) => self.offset - self.cost.stage(&mut ws.cost, m.t, self.state(m), m.u),
            None => f64::NAN,
        }
    }

    /// For [`Task::reward_gradient`]; not numbers if the scratch is not this adaptor's.
    pub fn gradient(&self, scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        let Some(ws) = scratch.get::<CostScratch<C::Workspace>>() else {
            out.r_x.fill(f64::NAN);
            return;
        };
        self.cost.expand_stage(&mut ws.cost, m.t, self.state(m), m.u, &mut ws.expansion);
        let (judged, other) = match self.at {
            RewardAt::Current => (&mut out.r_x, &mut out.r_xnext),
            RewardAt::Next => (&mut out.r_xnext, &mut out.r_x),
        };
        judged.zip_apply(&ws.expansion.lx, |r, l| *r = -l);
        other.fill(0.0);
        out.r_u.zip_apply(&ws.expansion.lu, |r, l| *r = -l);
    }

    fn state<'a>(&self, m: &Move<'a>) -> &'a DVector<f64> {
        match self.at {
            RewardAt::Current => m.x,
            RewardAt::Next => m.x_next,
        }
    }
}

/// Central differences of [`Task::reward`] in x, u and x', along the tangent space of the plant's states.
pub fn difference_reward<T: Task + ?Sized>(
    task: &T,
    scratch: &mut Scratch,
    m: &Move<'_>,
    out: &mut RewardGradient,
) {
    let Move { t, x, u, x_next } = *m;
    let states = task.plant().any_states();
    finite_difference::gradient(states, x, &mut out.r_x, |x| {
        task.reward(scratch, &Move { t, x, u, x_next })
    });
    finite_difference::gradient(States::Vector, u, &mut out.r_u, |u| {
        task.reward(scratch, &Move { t, x, u, x_next })
    });
    finite_difference::gradient(states, x_next, &mut out.r_xnext, |x_next| {
        task.reward(scratch, &Move { t, x, u, x_next })
    });
}
