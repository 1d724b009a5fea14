//! What a model gets that does not give its derivative in a form of its own.

use dynamics::mass_spring::MassSpring;
use dynamics::{Dynamics, DynamicsError, Linearization, Plant, States, StepDerivative};
use nalgebra::DVector;

use crate::networks::{Case, case};

/// The model with the default of [`Dynamics::hessian_product`].
struct ByDifferences<'a>(&'a MassSpring);

impl Plant for ByDifferences<'_> {
    type Workspace = <MassSpring as Plant>::Workspace;

    fn name(&self) -> &str {
        self.0.name()
    }
    fn nx(&self) -> usize {
        self.0.nx()
    }
    fn ndx(&self) -> usize {
        self.0.ndx()
    }
    fn nu(&self) -> usize {
        self.0.nu()
    }
    fn states(&self) -> States<'_> {
        self.0.states()
    }
    fn workspace(&self) -> Self::Workspace {
        self.0.workspace()
    }
    fn step(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.0.step(ws, x, u, x_next)
    }
}

impl Dynamics for ByDifferences<'_> {
    fn linearize(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        self.0.linearize(ws, x, u, out)
    }
}

#[test]
fn the_default_of_derivative_is_a_step_and_its_jacobians_whatever_it_is_given() {
    let Case { model, x, u } = case(1, 4);
    let plain = ByDifferences(&model);
    let (mut next, mut found) = (x.clone(), x.clone());
    model.step(&mut model.workspace(), &x, &u, &mut next).unwrap();
    for mut out in [plain.new_derivative(), model.new_derivative()] {
        plain.derivative(&mut plain.workspace(), &x, &u, &mut found, &mut out).unwrap();
        assert_eq!(found, next);
        let StepDerivative::Dense(jacobian) = &out else { unreachable!("not replaced") };
        let mut expected = Linearization::of(&plain);
        plain.linearize(&mut plain.workspace(), &x, &u, &mut expected).unwrap();
        assert_eq!(jacobian, &expected);
        // And the other way round.
        model.derivative(&mut model.workspace(), &x, &u, &mut found, &mut out).unwrap();
        assert!(matches!(out, StepDerivative::MassSpring(_)));
    }
}
