//! Robots from files, for the commands that take one.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use dynamics::rigid_body::description::RobotDescription;
use dynamics::rigid_body::load::load_robot;
use dynamics::rigid_body::mjcf::MjcfOptions;
use dynamics::rigid_body::{Base, Model};
use nalgebra::DMatrix;

/// A mass matrix with ones on its diagonal counts as singular if one of its pivots is below this.
const SMALLEST_PIVOT: f64 = 1e-13;

/// A robot as its file describes it, and as a tree.
pub(super) struct Robot {
    pub(super) description: RobotDescription,
    pub(super) model: Model,
}

impl Robot {
    /// Reads a URDF or MJCF file.
    ///
    /// # Errors
    /// What the loader reports, with file and line.
    pub(super) fn load(file: &Path, floating_base: bool, allow_unsupported: bool) -> Result<Self> {
        let description = load_robot(file, MjcfOptions { allow_unsupported })?;
        let base = if floating_base { Base::Floating } else { Base::Fixed };
        let model = Model::new(&description, base)
            .with_context(|| format!("`{}` is no robot", file.display()))?;
        Ok(Self { description, model })
    }
}

/// Checks that the joint forces determine the acceleration.
///
/// # Errors
/// A mass matrix that is not positive definite, or singular but for round-off, naming a joint.
pub(super) fn ensure_invertible(model: &Model, mass: &DMatrix<f64>) -> Result<()> {
    let name = |dof: usize| model.dofs()[dof].joint.as_str();
    let diagonal = mass.diagonal();
    if let Some(dof) = diagonal.iter().position(|x| !(x.is_finite() && *x > 0.0)) {
        bail!(
            "`{}`: the inertia that joint `{}` moves is {} here, but must be positive and finite; \
             give the links behind it mass and inertia",
            model.name(),
            name(dof),
            diagonal[dof]
        );
    }
    // With ones on the diagonal the pivots of Gaussian elimination no longer depend on units.
    let scale = diagonal.map(f64::sqrt);
    let n = mass.nrows();
    let mut rest = DMatrix::from_fn(n, n, |i, j| mass[(i, j)] / (scale[i] * scale[j]));
    for dof in 0..n {
        let pivot = rest[(dof, dof)];
        if pivot.abs() <= SMALLEST_PIVOT {
            bail!(
                "`{}`: the mass matrix is singular here: joint `{}` moves nothing that joints before \
                 it do not move alike; give the links that they move mass and inertia",
                model.name(),
                name(dof)
            );
        }
        ensure!(
            pivot > 0.0,
            "`{}`: the mass matrix is not positive definite here, as joint `{}` shows; `cargo xtask \
             check-robot FILE` lists implausible inertias",
            model.name(),
            name(dof)
        );
        let column = rest.column(dof).clone_owned();
        rest.ger(-1.0 / pivot, &column, &column, 1.0);
    }
    Ok(())
}
