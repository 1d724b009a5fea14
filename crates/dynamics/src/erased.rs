//! Object-safe twins of [`Plant`], [`Dynamics`], [`Cost`] and [`TerminalCost`], for tasks and
//! registries that hold many types. Every type implements its twin through a blanket
//! implementation.

use std::any::{Any, type_name};

use nalgebra::DVector;

use crate::{
    Cost, CostExpansion, DerivativeKind, Dynamics, DynamicsError, HessianKind, HessianProduct,
    Linearization, Plant, States, StepDerivative, TerminalCost,
};

/// Scratch whose type is hidden: made once per thread, handed back at every call.
pub struct Scratch(Box<dyn Any + Send>);

impl Scratch {
    /// Hides `value`.
    #[must_use]
    pub fn new<T: Any + Send>(value: T) -> Self {
        Self(Box::new(value))
    }

    /// Scratch of something that needs none.
    #[must_use]
    pub fn none() -> Self {
        Self::new(())
    }

    /// The hidden value, if it has type `T`.
    pub fn get<T: Any>(&mut self) -> Option<&mut T> {
        self.0.downcast_mut()
    }
}

/// [`Plant`] behind a pointer. The sizes keep their meaning; `any_` marks the methods that take
/// hidden scratch.
pub trait AnyPlant: Send + Sync {
    /// See [`Plant::name`].
    fn any_name(&self) -> &str;
    /// See [`Plant::nx`].
    fn any_nx(&self) -> usize;
    /// See [`Plant::ndx`].
    fn any_ndx(&self) -> usize;
    /// See [`Plant::nu`].
    fn any_nu(&self) -> usize;
    /// See [`Plant::n_noise`].
    fn any_n_noise(&self) -> usize;
    /// See [`Plant::states`].
    fn any_states(&self) -> States<'_>;
    /// See [`Plant::workspace`].
    fn any_workspace(&self) -> Scratch;
    /// See [`Plant::step_with_noise`]; an empty `noise` means zero noise.
    ///
    /// # Errors
    /// As [`Plant::step`], or [`DynamicsError::Workspace`] for another model's scratch.
    fn any_step(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError>;
}

/// [`Dynamics`] behind a pointer.
pub trait AnyDynamics: AnyPlant {
    /// See [`Dynamics::linearize`].
    ///
    /// # Errors
    /// As [`Dynamics::linearize`], or [`DynamicsError::Workspace`] for another model's scratch.
    fn any_linearize(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError>;
    /// See [`Dynamics::new_derivative`].
    fn any_new_derivative(&self) -> StepDerivative;
    /// See [`Dynamics::derivative`].
    ///
    /// # Errors
    /// As [`AnyDynamics::any_linearize`].
    fn any_derivative(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
        out: &mut StepDerivative,
    ) -> Result<(), DynamicsError>;
    /// See [`Dynamics::derivative_kind`].
    fn any_derivative_kind(&self) -> DerivativeKind;
    /// See [`Dynamics::hessian_product`].
    ///
    /// # Errors
    /// As [`AnyDynamics::any_linearize`].
    fn any_hessian_product(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError>;
    /// See [`Dynamics::hessian_product_kind`].
    fn any_hessian_product_kind(&self) -> DerivativeKind;
}

fn scratch_of<M: Plant>(ws: &mut Scratch) -> Result<&mut M::Workspace, DynamicsError> {
    ws.get().ok_or(DynamicsError::Workspace { model: type_name::<M>() })
}

impl<M: Plant> AnyPlant for M {
    fn any_name(&self) -> &str {
        self.name()
    }
    fn any_nx(&self) -> usize {
        self.nx()
    }
    fn any_ndx(&self) -> usize {
        self.ndx()
    }
    fn any_nu(&self) -> usize {
        self.nu()
    }
    fn any_n_noise(&self) -> usize {
        self.n_noise()
    }
    fn any_states(&self) -> States<'_> {
        self.states()
    }
    fn any_workspace(&self) -> Scratch {
        Scratch::new(self.workspace())
    }
    fn any_step(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        let ws = scratch_of::<M>(ws)?;
        if noise.is_empty() {
            self.step(ws, x, u, x_next)
        } else {
            self.step_with_noise(ws, x, u, noise, x_next)
        }
    }
}

impl<M: Dynamics> AnyDynamics for M {
    fn any_linearize(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        self.linearize(scratch_of::<M>(ws)?, x, u, out)
    }
    fn any_new_derivative(&self) -> StepDerivative {
        self.new_derivative()
    }
    fn any_derivative(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
        out: &mut StepDerivative,
    ) -> Result<(), DynamicsError> {
        self.derivative(scratch_of::<M>(ws)?, x, u, x_next, out)
    }
    fn any_derivative_kind(&self) -> DerivativeKind {
        self.derivative_kind()
    }
    fn any_hessian_product(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        self.hessian_product(scratch_of::<M>(ws)?, x, u, lambda, out)
    }
    fn any_hessian_product_kind(&self) -> DerivativeKind {
        self.hessian_product_kind()
    }
}

impl Plant for &dyn AnyDynamics {
    type Workspace = Scratch;

    fn name(&self) -> &str {
        (**self).any_name()
    }
    fn nx(&self) -> usize {
        (**self).any_nx()
    }
    fn ndx(&self) -> usize {
        (**self).any_ndx()
    }
    fn nu(&self) -> usize {
        (**self).any_nu()
    }
    fn n_noise(&self) -> usize {
        (**self).any_n_noise()
    }
    fn states(&self) -> States<'_> {
        (**self).any_states()
    }
    fn workspace(&self) -> Scratch {
        (**self).any_workspace()
    }
    fn step(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        (**self).any_step(ws, x, u, &[], x_next)
    }
    fn step_with_noise(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        (**self).any_step(ws, x, u, noise, x_next)
    }
}

impl Dynamics for &dyn AnyDynamics {
    fn linearize(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        (**self).any_linearize(ws, x, u, out)
    }
    fn new_derivative(&self) -> StepDerivative {
        (**self).any_new_derivative()
    }
    fn derivative(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
        out: &mut StepDerivative,
    ) -> Result<(), DynamicsError> {
        (**self).any_derivative(ws, x, u, x_next, out)
    }
    fn derivative_kind(&self) -> DerivativeKind {
        (**self).any_derivative_kind()
    }
    fn hessian_product(
        &self,
        ws: &mut Scratch,
        x: &DVector<f64>,
        u: &DVector<f64>,
        lambda: &DVector<f64>,
        out: &mut HessianProduct,
    ) -> Result<(), DynamicsError> {
        (**self).any_hessian_product(ws, x, u, lambda, out)
    }
    fn hessian_product_kind(&self) -> DerivativeKind {
        (**self).any_hessian_product_kind()
    }
}

/// [`Cost`] behind a pointer. Another cost's scratch gives values that are not numbers.
pub trait AnyCost: Send + Sync {
    /// See [`Cost::ndx`].
    fn any_ndx(&self) -> usize;
    /// See [`Cost::nu`].
    fn any_nu(&self) -> usize;
    /// See [`Cost::workspace`].
    fn any_workspace(&self) -> Scratch;
    /// See [`Cost::stage`].
    fn any_stage(&self, ws: &mut Scratch, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64;
    /// See [`Cost::expand_stage`].
    fn any_expand_stage(
        &self,
        ws: &mut Scratch,
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    );
    /// See [`Cost::hessian_kind`].
    fn any_hessian_kind(&self) -> HessianKind;
}

impl<C: Cost> AnyCost for C {
    fn any_ndx(&self) -> usize {
        self.ndx()
    }
    fn any_nu(&self) -> usize {
        self.nu()
    }
    fn any_workspace(&self) -> Scratch {
        Scratch::new(self.workspace())
    }
    fn any_stage(&self, ws: &mut Scratch, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        ws.get().map_or(f64::NAN, |ws| self.stage(ws, t, x, u))
    }
    fn any_expand_stage(
        &self,
        ws: &mut Scratch,
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        match ws.get() {
            Some(ws) => self.expand_stage(ws, t, x, u, out),
            None => out.l = f64::NAN,
        }
    }
    fn any_hessian_kind(&self) -> HessianKind {
        self.hessian_kind()
    }
}

impl Cost for &dyn AnyCost {
    type Workspace = Scratch;

    fn ndx(&self) -> usize {
        (**self).any_ndx()
    }
    fn nu(&self) -> usize {
        (**self).any_nu()
    }
    fn workspace(&self) -> Scratch {
        (**self).any_workspace()
    }
    fn stage(&self, ws: &mut Scratch, t: usize, x: &DVector<f64>, u: &DVector<f64>) -> f64 {
        (**self).any_stage(ws, t, x, u)
    }
    fn expand_stage(
        &self,
        ws: &mut Scratch,
        t: usize,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut CostExpansion,
    ) {
        (**self).any_expand_stage(ws, t, x, u, out);
    }
    fn hessian_kind(&self) -> HessianKind {
        (**self).any_hessian_kind()
    }
}

/// [`TerminalCost`] behind a pointer. Another cost's scratch gives values that are not numbers.
pub trait AnyTerminalCost: Send + Sync {
    /// See [`TerminalCost::ndx`].
    fn any_ndx(&self) -> usize;
    /// See [`TerminalCost::workspace`].
    fn any_workspace(&self) -> Scratch;
    /// See [`TerminalCost::terminal`].
    fn any_terminal(&self, ws: &mut Scratch, x: &DVector<f64>) -> f64;
    /// See [`TerminalCost::expand_terminal`].
    fn any_expand_terminal(&self, ws: &mut Scratch, x: &DVector<f64>, out: &mut CostExpansion);
    /// See [`TerminalCost::hessian_kind`].
    fn any_hessian_kind(&self) -> HessianKind;
}

impl<C: TerminalCost> AnyTerminalCost for C {
    fn any_ndx(&self) -> usize {
        self.ndx()
    }
    fn any_workspace(&self) -> Scratch {
        Scratch::new(self.workspace())
    }
    fn any_terminal(&self, ws: &mut Scratch, x: &DVector<f64>) -> f64 {
        ws.get().map_or(f64::NAN, |ws| self.terminal(ws, x))
    }
    fn any_expand_terminal(&self, ws: &mut Scratch, x: &DVector<f64>, out: &mut CostExpansion) {
        match ws.get() {
            Some(ws) => self.expand_terminal(ws, x, out),
            None => out.l = f64::NAN,
        }
    }
    fn any_hessian_kind(&self) -> HessianKind {
        self.hessian_kind()
    }
}

impl TerminalCost for &dyn AnyTerminalCost {
    type Workspace = Scratch;

    fn ndx(&self) -> usize {
        (**self).any_ndx()
    }
    fn workspace(&self) -> Scratch {
        (**self).any_workspace()
    }
    fn terminal(&self, ws: &mut Scratch, x: &DVector<f64>) -> f64 {
        (**self).any_terminal(ws, x)
    }
    fn expand_terminal(&self, ws: &mut Scratch, x: &DVector<f64>, out: &mut CostExpansion) {
        (**self).any_expand_terminal(ws, x, out);
    }
    fn hessian_kind(&self) -> HessianKind {
        (**self).any_hessian_kind()
    }
}
