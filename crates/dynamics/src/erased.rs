//! Object-safe twins of [`Plant`] and [`Dynamics`], for tasks and registries that hold models of
//! many types. Every model implements them through blanket implementations.

use std::any::{Any, type_name};

use nalgebra::DVector;

use crate::{DerivativeKind, Dynamics, DynamicsError, Linearization, Plant};

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
    /// See [`Dynamics::derivative_kind`].
    fn any_derivative_kind(&self) -> DerivativeKind;
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
    fn any_derivative_kind(&self) -> DerivativeKind {
        self.derivative_kind()
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
    fn derivative_kind(&self) -> DerivativeKind {
        (**self).any_derivative_kind()
    }
}
