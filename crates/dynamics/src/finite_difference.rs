//! Derivatives of black boxes by central differences.

use nalgebra::DVector;

use crate::{DerivativeKind, Dynamics, DynamicsError, Linearization, Plant, States};

/// A model whose Jacobians are central differences of its step, whatever the model itself offers.
///
/// Each entry z of state and control is moved by h = `step`·max(1, |z|) both ways. The default,
/// ε^(1/3) ≈ 6·10⁻⁶, balances truncation against rounding and gives about ten digits. Models with
/// `ndx ≠ nx` are refused, since a state cannot be moved along one of its entries there.
#[derive(Debug, Clone)]
pub struct FiniteDifference<M> {
    model: M,
    step: f64,
}

impl<M: Plant> FiniteDifference<M> {
    /// Wraps a model, with the default step.
    ///
    /// # Errors
    /// [`DynamicsError::Dimension`] if the model's state is not a vector space (ndx ≠ nx).
    pub fn new(model: M) -> Result<Self, DynamicsError> {
        Self::with_step(model, f64::EPSILON.cbrt())
    }

    /// Wraps a model, with a relative step of its own.
    ///
    /// # Errors
    /// As [`FiniteDifference::new`]; [`DynamicsError::Parameter`] unless the step is positive.
    pub fn with_step(model: M, step: f64) -> Result<Self, DynamicsError> {
        if model.ndx() != model.nx() {
            return Err(DynamicsError::Dimension {
                model: model.name().to_owned(),
                what: "x",
                found: model.nx(),
                needed: model.ndx(),
            });
        }
        if !(step.is_finite() && step > 0.0) {
            return Err(DynamicsError::Parameter {
                model: model.name().to_owned(),
                parameter: "finite-difference step",
                value: step,
                needed: "positive and finite",
            });
        }
        Ok(Self { model, step })
    }

    /// The wrapped model.
    pub fn inner(&self) -> &M {
        &self.model
    }
}

/// Scratch of [`FiniteDifference`].
pub struct FiniteDifferenceWorkspace<W> {
    model: W,
    x: DVector<f64>,
    u: DVector<f64>,
    plus: DVector<f64>,
    minus: DVector<f64>,
}

impl<M: Plant> Plant for FiniteDifference<M> {
    type Workspace = FiniteDifferenceWorkspace<M::Workspace>;

    fn name(&self) -> &str {
        self.model.name()
    }
    fn nx(&self) -> usize {
        self.model.nx()
    }
    fn nu(&self) -> usize {
        self.model.nu()
    }
    fn n_noise(&self) -> usize {
        self.model.n_noise()
    }
    fn workspace(&self) -> Self::Workspace {
        let (nx, nu) = (self.nx(), self.nu());
        FiniteDifferenceWorkspace {
            model: self.model.workspace(),
            x: DVector::zeros(nx),
            u: DVector::zeros(nu),
            plus: DVector::zeros(nx),
            minus: DVector::zeros(nx),
        }
    }
    fn step(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.model.step(&mut ws.model, x, u, x_next)
    }
    fn step_with_noise(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.model.step_with_noise(&mut ws.model, x, u, noise, x_next)
    }
}

impl<M: Plant> Dynamics for FiniteDifference<M> {
    fn linearize(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        let FiniteDifferenceWorkspace { model, x: x_moved, u: u_moved, plus, minus } = ws;
        x_moved.copy_from(x);
        u_moved.copy_from(u);
        for i in 0..x.len() {
            let (above, below) = neighbours(x[i], self.step);
            x_moved[i] = above;
            self.model.step(model, x_moved, u, plus)?;
            x_moved[i] = below;
            self.model.step(model, x_moved, u, minus)?;
            x_moved[i] = x[i];
            let width = above - below;
            for row in 0..plus.len() {
                out.fx[(row, i)] = (plus[row] - minus[row]) / width;
            }
        }
        for j in 0..u.len() {
            let (above, below) = neighbours(u[j], self.step);
            u_moved[j] = above;
            self.model.step(model, x, u_moved, plus)?;
            u_moved[j] = below;
            self.model.step(model, x, u_moved, minus)?;
            u_moved[j] = u[j];
            let width = above - below;
            for row in 0..plus.len() {
                out.fu[(row, j)] = (plus[row] - minus[row]) / width;
            }
        }
        Ok(())
    }
    fn derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::FiniteDifference
    }
}

/// z ± h as representable numbers, h = step·max(1, |z|).
pub(crate) fn neighbours(z: f64, step: f64) -> (f64, f64) {
    let h = step * z.abs().max(1.0);
    (z + h, z - h)
}

/// The states x ⊕ h eᵢ and x ⊕ −h eᵢ on either side of x along direction `i` of its tangent space,
/// h = step·max(1, |xᵢ|), and the width between them.
pub(crate) struct Sides {
    pub(crate) above: DVector<f64>,
    pub(crate) below: DVector<f64>,
    dx: DVector<f64>,
}

impl Sides {
    pub(crate) fn new(x: &DVector<f64>, ndx: usize) -> Self {
        Self { above: x.clone(), below: x.clone(), dx: DVector::zeros(ndx) }
    }

    /// Places both states and returns their width along the direction.
    pub(crate) fn place(
        &mut self,
        states: States<'_>,
        x: &DVector<f64>,
        i: usize,
        step: f64,
    ) -> f64 {
        let h = step * x[i].abs().max(1.0);
        self.dx.fill(0.0);
        self.dx[i] = h;
        states.integrate(x, &self.dx, &mut self.above);
        self.dx[i] = -h;
        states.integrate(x, &self.dx, &mut self.below);
        states.difference(&self.below, &self.above, &mut self.dx);
        self.dx[i]
    }
}

/// Gradient of a scalar function of a state, in its tangent space, by central differences with the
/// default step.
pub(crate) fn gradient(
    states: States<'_>,
    z: &DVector<f64>,
    out: &mut DVector<f64>,
    mut value: impl FnMut(&DVector<f64>) -> f64,
) {
    let step = f64::EPSILON.cbrt();
    if let States::Manifold(_) = states {
        let mut sides = Sides::new(z, out.len());
        for i in 0..out.len() {
            let width = sides.place(states, z, i, step);
            out[i] = (value(&sides.above) - value(&sides.below)) / width;
        }
        return;
    }
    let mut moved = z.clone();
    for i in 0..z.len() {
        let (above, below) = neighbours(z[i], step);
        moved[i] = above;
        let plus = value(&moved);
        moved[i] = below;
        let minus = value(&moved);
        moved[i] = z[i];
        out[i] = (plus - minus) / (above - below);
    }
}
