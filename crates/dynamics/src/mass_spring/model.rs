//! The network as a model in discrete time.

use std::sync::Arc;

use nalgebra::DVector;

use super::curvature;
use super::derivative::MassSpringDerivative;
use super::layout::{Layout, NetworkObservation};
use super::mechanics::{Network, Objective};
use super::network::{NetworkError, NetworkSpec};
use super::newton::{Newton, NewtonStatistics, Stalled, TOLERANCE};
use super::scheme::{Coefficients, Integration, Scheme};
use crate::{
    DerivativeKind, Dynamics, DynamicsError, HessianProduct, Linearization, Plant, States,
    StepDerivative,
};

const NAME: &str = "mass-spring";

/// A mass-spring network whose control is the velocity of its handles: p' = p + h u, and the masses
/// follow by implicit integration with the handles at p'.
///
/// The state carries the history of the scheme and is described by [`MassSpring::layout`];
/// [`MassSpring::state`] makes one of positions and velocities. Derivatives are exact for the step.
#[derive(Debug, Clone)]
pub struct MassSpring {
    pub(super) network: Arc<Network>,
    pub(super) integration: Integration,
    layout: Layout,
    start: Coefficients,
    running: Coefficients,
}

/// Scratch of a [`MassSpring`].
pub struct MassSpringWorkspace {
    pub(super) newton: Newton,
    pub(super) objective: Objective,
    pub(super) derivative: MassSpringDerivative,
    pub(super) mu: Vec<f64>,
    pub(super) placed: Vec<f64>,
    pub(super) jacobian: Linearization,
}

impl MassSpringWorkspace {
    /// What the Newton solver has done with this workspace.
    #[must_use]
    pub fn statistics(&self) -> NewtonStatistics {
        self.newton.statistics
    }

    /// Sets the counts to zero.
    pub fn reset_statistics(&mut self) {
        self.newton.statistics = NewtonStatistics::default();
    }
}

impl MassSpring {
    /// A network that is integrated as said.
    ///
    /// # Errors
    /// [`NetworkError`] for the first thing wrong with the description or the time step.
    pub fn new(spec: NetworkSpec, integration: Integration) -> Result<Self, NetworkError> {
        spec.validate()?;
        integration.validate()?;
        let coefficients = |scheme| Coefficients::new(scheme, integration.dt, spec.mass_damping);
        let (running, start) = (coefficients(integration.scheme), coefficients(Scheme::Bdf1));
        let network = Network::new(spec);
        let layout = Layout {
            n: network.n(),
            n_handle_coordinates: network.n_handle_coordinates(),
            has_flag: integration.has_flag(),
        };
        Ok(Self { network: Arc::new(network), integration, layout, start, running })
    }

    /// The description.
    #[must_use]
    pub fn spec(&self) -> &NetworkSpec {
        &self.network.spec
    }

    /// How it is integrated.
    #[must_use]
    pub fn integration(&self) -> Integration {
        self.integration
    }

    /// Where positions, velocities and handles are in the state.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What a policy sees: (p, x, v).
    #[must_use]
    pub fn observation(&self) -> NetworkObservation {
        NetworkObservation(self.layout)
    }

    fn coefficients(&self, state: &DVector<f64>) -> Coefficients {
        if self.layout.is_start(state) { self.start } else { self.running }
    }

    /// Solves the step into the workspace and returns its coefficients.
    fn solve<const D: usize>(
        &self,
        ws: &mut MassSpringWorkspace,
        state: &DVector<f64>,
        u: &DVector<f64>,
    ) -> Result<Coefficients, DynamicsError> {
        let (n, h, y) = (self.layout.n, self.integration.dt, state.as_slice());
        let coefficients = self.coefficients(state);
        let Coefficients { c, alpha, beta, .. } = coefficients;
        let MassSpringWorkspace { newton, objective, .. } = ws;
        let p = &y[self.layout.handles()];
        objective.c = c;
        for i in 0..n {
            objective.target[i] = alpha[0] * y[i]
                + alpha[1] * y[n + i]
                + beta[0] * y[2 * n + i]
                + beta[1] * y[3 * n + i];
            newton.x[i] = y[i] + h * y[2 * n + i];
        }
        for ((next, p), u) in objective.handles.iter_mut().zip(p).zip(u.iter()) {
            *next = p + h * u;
        }
        self.network.set_dashpots::<D>(&y[..n], p, h, &mut objective.dashpots);
        match newton.solve::<D>(&self.network, objective) {
            Ok(()) => Ok(coefficients),
            Err(Stalled { residual, iterations }) => Err(DynamicsError::ImplicitStep {
                model: NAME,
                dt: h,
                residual,
                tolerance: TOLERANCE,
                iterations,
            }),
        }
    }

    /// Writes the state that follows from a solved step.
    fn write_next(
        &self,
        ws: &MassSpringWorkspace,
        coefficients: Coefficients,
        state: &DVector<f64>,
        next: &mut DVector<f64>,
    ) {
        let (n, gamma) = (self.layout.n, coefficients.gamma);
        let (y, out) = (state.as_slice(), next.as_mut_slice());
        for (i, &x) in ws.newton.x.iter().enumerate() {
            out[i] = x;
            out[n + i] = y[i];
            out[2 * n + i] = gamma[0] * x + gamma[1] * y[i] + gamma[2] * y[n + i];
            out[3 * n + i] = y[2 * n + i];
        }
        out[self.layout.handles()].copy_from_slice(&ws.objective.handles);
        if let Some(flag) = self.layout.flag() {
            out[flag] = 0.0;
        }
    }

    /// Writes the derivative of a solved step.
    fn write_derivative<const D: usize>(
        &self,
        newton: &mut Newton,
        objective: &Objective,
        coefficients: Coefficients,
        state: &DVector<f64>,
        out: &mut MassSpringDerivative,
    ) -> Result<(), DynamicsError> {
        if !out.write::<D>(coefficients, objective, newton, state) {
            newton.statistics.indefinite_derivatives += 1;
            if !out.is_regular() {
                return Err(DynamicsError::SingularStep { model: NAME, dt: self.integration.dt });
            }
        }
        Ok(())
    }

    /// Solves the step and leaves its derivative in the workspace.
    fn solve_with_derivative<const D: usize>(
        &self,
        ws: &mut MassSpringWorkspace,
        state: &DVector<f64>,
        u: &DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let coefficients = self.solve::<D>(ws, state, u)?;
        let MassSpringWorkspace { newton, objective, derivative, .. } = ws;
        self.write_derivative::<D>(newton, objective, coefficients, state, derivative)
    }

    fn empty_derivative(&self) -> MassSpringDerivative {
        let network = Arc::clone(&self.network);
        MassSpringDerivative::new(network, self.layout, self.integration.dt, self.running)
    }
}

/// Calls a method that is generic over the dimension.
macro_rules! in_dimension {
    ($model:expr, $method:ident, $($argument:expr),*) => {
        match $model.network.spec.dimension {
            2 => $model.$method::<2>($($argument),*),
            _ => $model.$method::<3>($($argument),*),
        }
    };
}

impl Plant for MassSpring {
    type Workspace = MassSpringWorkspace;

    fn name(&self) -> &str {
        NAME
    }
    fn nx(&self) -> usize {
        self.layout.nx()
    }
    fn ndx(&self) -> usize {
        self.layout.ndx()
    }
    fn nu(&self) -> usize {
        self.layout.n_handle_coordinates
    }
    fn states(&self) -> States<'_> {
        if self.layout.has_flag { States::Manifold(&self.layout) } else { States::Vector }
    }
    fn workspace(&self) -> MassSpringWorkspace {
        MassSpringWorkspace {
            newton: Newton::new(&self.network),
            objective: self.network.objective(),
            derivative: self.empty_derivative(),
            placed: vec![0.0; self.layout.n],
            mu: vec![0.0; self.layout.n],
            jacobian: Linearization::of(self),
        }
    }
    fn step(
        &self,
        ws: &mut MassSpringWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let coefficients = in_dimension!(self, solve, ws, x, u)?;
        self.write_next(ws, coefficients, x, x_next);
        Ok(())
    }
}

impl Dynamics for MassSpring {
    fn linearize(
        &self,
        ws: &mut MassSpringWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        in_dimension!(self, solve_with_derivative, ws, x, u)?;
        ws.derivative.dense(out);
        Ok(())
    }
    fn new_derivative(&self) -> StepDerivative {
        StepDerivative::MassSpring(self.empty_derivative())
    }
    fn derivative(
        &self,
        ws: &mut MassSpringWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
        out: &mut StepDerivative,
    ) -> Result<(), DynamicsError> {
        let coefficients = in_dimension!(self, solve, ws, x, u)?;
        self.write_next(ws, coefficients, x, x_next);
        if !matches!(out, StepDerivative::MassSpring(it) if it.belongs_to(&self.network)) {
            *out = self.new_derivative();
        }
        let StepDerivative::MassSpring(out) = out else { return Ok(()) };
        let MassSpringWorkspace { newton, objective, .. } = ws;
        in_dimension!(self, write_derivative, newton, objective, coefficients, x, out)
    }
    /// `−ZᵀT[μ]Z` with μ = A⁻¹(λ_x + γ₀λ_v) and Z the derivative of the new positions: the history and
    /// the handles enter linearly, so all curvature is that of the springs.
    fn hessian_product(
        &self,
        ws: &mut MassSpringWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        in_dimension!(self, solve_with_derivative, ws, x, u)?;
        match self.network.spec.dimension {
            2 => curvature::write::<2>(&self.network, self.layout, ws, x, lambda, out),
            _ => curvature::write::<3>(&self.network, self.layout, ws, x, lambda, out),
        }
        Ok(())
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
}
