//! Forward and inverse dynamics of a robot with their derivatives.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use dynamics::check_vector;
use dynamics::rigid_body::{Model, Workspace};
use nalgebra::{DMatrix, DVector, Vector3};
use serde::{Deserialize, Serialize};

use super::{check_entries, parse_numbers, rows};
use crate::commands::robot::{Robot, ensure_invertible};
use crate::progress::tell;

/// Gravity of every probe, whatever the file says (m/s²).
const GRAVITY: Vector3<f64> = Vector3::new(0.0, 0.0, -9.81);

/// Arguments of `probe --robot`; all but it conflict with a task, as it does.
#[derive(Args)]
#[group(skip)]
pub(super) struct RobotArgs {
    /// Probe the rigid bodies of a URDF or MJCF file, under a gravity of 9.81 m/s² along −z
    #[arg(long, value_name = "FILE")]
    pub(super) robot: Option<PathBuf>,
    /// Configuration [default: neutral]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["task", "batch"])]
    q: Option<String>,
    /// Velocity [default: 0]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["task", "batch"])]
    v: Option<String>,
    /// Joint forces [default: 0]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["task", "batch"])]
    tau: Option<String>,
    /// Acceleration at which `rnea` is taken [default: 0]
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["task", "batch"])]
    a: Option<String>,
    /// Put a free joint before the root: q = [x y z qx qy qz qw, …], v = [linear, angular, …] in the
    /// root's frame
    #[arg(long, conflicts_with = "task")]
    floating_base: bool,
    /// Add damping, friction, springs, limits and rotor inertias of the file
    #[arg(long, conflicts_with = "task")]
    joint_forces: bool,
    /// Go on without what an MJCF file asks for and is not supported
    #[arg(long, conflicts_with = "task")]
    allow_unsupported: bool,
}

impl RobotArgs {
    /// The point that the command line asks for.
    pub(super) fn request(&self) -> Result<RobotRequest> {
        let numbers = |what, text: &Option<String>| {
            text.as_deref().map(|text| parse_numbers(what, text)).transpose()
        };
        Ok(RobotRequest {
            q: numbers("q", &self.q)?,
            v: numbers("v", &self.v)?,
            tau: numbers("tau", &self.tau)?,
            a: numbers("a", &self.a)?,
        })
    }

    /// Loads the robot; tells the user where to read what the loader noticed.
    pub(super) fn prober(&self, file: &Path) -> Result<RobotProber> {
        let Robot { description, mut model } =
            Robot::load(file, self.floating_base, self.allow_unsupported)?;
        let n_warnings = description.warnings.len();
        if n_warnings > 0 {
            let file = file.display();
            tell(&format!(
                "warnings about `{file}`: {n_warnings}; `cargo xtask check-robot {file}` lists them"
            ));
        }
        ensure!(
            model.nv() > 0,
            "`{}` has no joint that moves; --floating-base sets it free",
            model.name()
        );
        model.set_gravity(GRAVITY);
        Ok(RobotProber {
            workspace: model.workspace(),
            names: Names::of(&model),
            joint_forces: self.joint_forces,
            model,
        })
    }
}

/// One line of a batch; what is missing is neutral or 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RobotRequest {
    q: Option<Vec<f64>>,
    v: Option<Vec<f64>>,
    tau: Option<Vec<f64>>,
    a: Option<Vec<f64>>,
}

/// What is printed of a robot; the contracts fix the names. Matrices are lists of rows.
#[derive(Serialize)]
pub(super) struct RobotAnswer {
    /// Depth first, those of several entries once.
    joint_names: Vec<String>,
    /// Acceleration under the joint forces.
    qdd: Vec<f64>,
    /// Its derivative along tangent vectors of the configuration.
    dqdd_dq: Vec<Vec<f64>>,
    dqdd_dv: Vec<Vec<f64>>,
    dqdd_dtau: Vec<Vec<f64>>,
    /// Joint forces of the acceleration that is asked for.
    rnea: Vec<f64>,
    mass_matrix: Vec<Vec<f64>>,
}

/// A robot with everything that answering needs.
pub(super) struct RobotProber {
    model: Model,
    workspace: Workspace,
    names: Names,
    joint_forces: bool,
}

/// What each entry of q and v is, for messages.
struct Names {
    q: Vec<String>,
    v: Vec<String>,
}

impl Names {
    fn of(model: &Model) -> Self {
        const POSE: [&str; 7] = ["x", "y", "z", "qx", "qy", "qz", "qw"];
        const TWIST: [&str; 6] = ["vx", "vy", "vz", "wx", "wy", "wz"];
        let (mut q, mut v) = (Vec::new(), Vec::new());
        // The degrees of freedom of a joint stand together and share the first entry of q.
        for dofs in model.dofs().chunk_by(|a, b| a.q == b.q) {
            let name = &dofs[0].joint;
            if dofs[0].scalar {
                q.push(name.clone());
                v.push(name.clone());
                continue;
            }
            // A spherical joint has the angular part of a free one.
            let skipped = TWIST.len() - dofs.len();
            let label = |part: &&str| format!("{name}.{part}");
            q.extend(POSE[skipped..].iter().map(label));
            v.extend(TWIST[skipped..].iter().map(label));
        }
        Self { q, v }
    }
}

impl RobotProber {
    pub(super) fn answer(&mut self, request: RobotRequest) -> Result<RobotAnswer> {
        let Self { model, workspace: ws, names, joint_forces } = self;
        let nv = model.nv();
        let checked = |what, values: Option<Vec<f64>>, default: DVector<f64>, names: &[String]| {
            let Some(values) = values else { return Ok(default) };
            check_entries(model.name(), what, &values, names.len(), names)?;
            anyhow::Ok(DVector::from_vec(values))
        };
        let RobotRequest { q, v, tau, a } = request;
        let zero = || DVector::zeros(nv);
        let q = checked("q", q, model.neutral(), &names.q)?;
        let v = checked("v", v, zero(), &names.v)?;
        let tau = checked("tau", tau, zero(), &names.v)?;
        let a = checked("a", a, zero(), &names.v)?;
        // Beside what is checked above: quaternions of unit length.
        model.check_state(&q, &v)?;
        let (mut rnea, mut mass) = (zero(), DMatrix::zeros(nv, nv));
        if *joint_forces {
            model.inverse_dynamics(ws, &q, &v, &a, &mut rnea);
            model.inertia_matrix(ws, &q, &mut mass);
            ensure_invertible(model, &mass)?;
            model.forward_dynamics_derivatives(ws, &q, &v, &tau);
        } else {
            model.rnea(ws, &q, &v, &a, &mut rnea);
            model.mass_matrix(ws, &q, &mut mass);
            ensure_invertible(model, &mass)?;
            model.aba_derivatives(ws, &q, &v, &tau);
        }
        let matrix = |what, matrix: DMatrix<f64>| {
            check_vector(model.name(), what, matrix.as_slice(), nv * nv)?;
            anyhow::Ok(rows(&matrix))
        };
        check_vector(model.name(), "qdd", ws.qdd(), nv)?;
        check_vector(model.name(), "rnea", rnea.as_slice(), nv)?;
        Ok(RobotAnswer {
            joint_names: model.joint_names().into_iter().map(str::to_owned).collect(),
            qdd: ws.qdd().to_vec(),
            dqdd_dq: matrix("dqdd_dq", ws.dqdd_dq().clone_owned())?,
            dqdd_dv: matrix("dqdd_dv", ws.dqdd_dv().clone_owned())?,
            dqdd_dtau: matrix("dqdd_dtau", ws.dqdd_dtau().clone_owned())?,
            rnea: rnea.data.into(),
            mass_matrix: matrix("mass_matrix", mass)?,
        })
    }
}
