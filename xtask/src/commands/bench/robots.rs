//! Rows about rigid-body trees: the algorithms of `dynamics::rigid_body` on an arm, on chains and on
//! robots from files.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use dynamics::Stream;
use dynamics::models::iiwa14;
use dynamics::rigid_body::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use dynamics::rigid_body::urdf::parse_urdf;
use dynamics::rigid_body::{Base, FrameId, Model, Workspace};
use nalgebra::{DMatrix, DVector, Matrix3, Vector3};

use super::case::{Case, Source, Unit};

/// States that the calls of a row take in turn.
const N_STATES: usize = 16;
/// Numbers of links of the chains.
pub(super) const CHAINS: [usize; 6] = [2, 4, 8, 16, 32, 64];

/// A robot whose rows are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Robot {
    /// The 7-dof arm.
    Arm,
    /// So many links, each on a revolute joint of the one before.
    Chain(usize),
    /// A quadruped with 12 joints and a floating base, from the peers' files.
    Quadruped,
    /// A humanoid with 32 joints and a floating base, from the peers' files.
    Humanoid,
}

impl Robot {
    /// Where its file lies among the robot descriptions of the peers, and its nv.
    fn file(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Arm | Self::Chain(_) => None,
            Self::Quadruped => Some(("solo_description/robots/solo12.urdf", 18)),
            Self::Humanoid => Some(("talos_data/robots/talos_reduced.urdf", 38)),
        }
    }

    /// Its file, given the folder of the peers' robot descriptions, if it comes from one.
    pub(super) fn path(self, folder: &Path) -> Option<PathBuf> {
        self.file().map(|(file, _)| folder.join(file))
    }

    /// Whether it is built in.
    pub(super) fn is_built_in(self) -> bool {
        self.file().is_none()
    }

    /// How names of rows begin.
    pub(super) fn name(self) -> String {
        match self {
            Self::Arm => "arm".to_owned(),
            Self::Chain(links) => format!("chain-{links}"),
            Self::Quadruped => "quadruped".to_owned(),
            Self::Humanoid => "humanoid".to_owned(),
        }
    }

    /// How readers call it.
    pub(super) fn what(self) -> String {
        match self {
            Self::Arm => "7-dof arm".to_owned(),
            Self::Chain(links) => format!("chain of {links} revolute links"),
            Self::Quadruped => "quadruped, 18 dof with its floating base".to_owned(),
            Self::Humanoid => "humanoid, 38 dof with its floating base".to_owned(),
        }
    }

    /// The algorithms that are measured on it.
    pub(super) fn algorithms(self) -> &'static [Algorithm] {
        use Algorithm::{Aba, AbaDerivatives, AbaDifferences, Crba, Pose, Rnea, RneaDerivatives};
        match self {
            Self::Arm => &[Rnea, Crba, Aba, RneaDerivatives, AbaDerivatives, AbaDifferences],
            Self::Chain(_) => &[Pose, Rnea, Crba, Aba, RneaDerivatives, AbaDerivatives],
            Self::Quadruped | Self::Humanoid => &[Rnea, Crba, Aba, RneaDerivatives, AbaDerivatives],
        }
    }

    fn model(self, folder: Option<&Path>) -> Result<Model> {
        let Some((file, nv)) = self.file() else {
            let description = match self {
                Self::Chain(links) => chain(links),
                _ => iiwa14(),
            };
            return Ok(Model::new(&description, Base::Fixed)?);
        };
        let folder = folder.with_context(|| format!("there is no folder with `{file}`"))?;
        let path = folder.join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let model = Model::new(&parse_urdf(&path, &without_mimic(&text))?, Base::Floating)?;
        let found = model.nv();
        ensure!(found == nv, "`{file}` has {found} degrees of freedom, needed are {nv}");
        Ok(model)
    }
}

/// What a call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Forward kinematics.
    Pose,
    /// Inverse dynamics.
    Rnea,
    /// The mass matrix.
    Crba,
    /// Forward dynamics.
    Aba,
    /// Analytic derivatives of inverse dynamics.
    RneaDerivatives,
    /// Analytic derivatives of forward dynamics.
    AbaDerivatives,
    /// Central differences of forward dynamics by q, v and τ.
    AbaDifferences,
}

impl Algorithm {
    /// How names of rows end.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pose => "fk",
            Self::Rnea => "rnea",
            Self::Crba => "crba",
            Self::Aba => "aba",
            Self::RneaDerivatives => "rnea-derivatives",
            Self::AbaDerivatives => "aba-derivatives",
            Self::AbaDifferences => "aba-differences",
        }
    }

    /// How readers call it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Pose => "pose of the last link",
            Self::Rnea => "inverse dynamics (RNEA)",
            Self::Crba => "mass matrix (CRBA)",
            Self::Aba => "forward dynamics (ABA)",
            Self::RneaDerivatives => "derivatives of inverse dynamics by q and v",
            Self::AbaDerivatives => "derivatives of forward dynamics by q, v and τ",
            Self::AbaDifferences => "the same by central differences of ABA",
        }
    }
}

/// Calls of an algorithm at random states in turn.
///
/// # Errors
/// A robot that cannot be loaded.
pub(super) fn case(
    name: &str,
    robot: Robot,
    algorithm: Algorithm,
    folder: Option<&Path>,
) -> Result<Case<'static>> {
    let mut runner = Runner::new(robot.model(folder)?)?;
    let work = move |calls| {
        (0..calls).for_each(|i| runner.call(algorithm, i % N_STATES));
        Ok(())
    };
    Ok(Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::Microseconds,
        flops: None,
        updates_per_step: None,
        source: Source::timed(N_STATES, N_STATES, Box::new(work)),
    })
}

/// A robot's text in which joints that follow others are free, as Pinocchio takes them; our loader
/// would refuse them.
fn without_mimic(text: &str) -> String {
    let mut parts = text.split("<mimic");
    let mut free = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        free.push_str(part.split_once("/>").map_or("", |(_, rest)| rest));
    }
    free
}

/// Configuration, velocity, and acceleration or joint forces.
type State = [DVector<f64>; 3];

/// A model with states, scratch and results.
struct Runner {
    model: Model,
    ws: Workspace,
    states: Vec<State>,
    last: FrameId,
    out: DVector<f64>,
    matrix: DMatrix<f64>,
    differences: Differences,
}

impl Runner {
    fn new(model: Model) -> Result<Self> {
        let mut stream = Stream::new(0, "bench states", 0);
        let nv = model.nv();
        let states = (0..N_STATES).map(|_| {
            let q = model.random_configuration(&mut stream);
            let mut draw = || DVector::from_fn(nv, |_, _| stream.uniform(-1.0, 1.0));
            [q, draw(), draw()]
        });
        let last = model.frames().last().context("the robot has no links")?;
        Ok(Self {
            states: states.collect(),
            ws: model.workspace(),
            last: model.find_frame(&last.name)?,
            out: DVector::zeros(nv),
            matrix: DMatrix::zeros(nv, nv),
            differences: Differences::new(nv),
            model,
        })
    }

    fn call(&mut self, algorithm: Algorithm, state: usize) {
        let Self { model, ws, states, last, out, matrix, differences } = self;
        let [q, v, a] = black_box(&mut states[state]);
        match algorithm {
            Algorithm::Pose => {
                black_box(model.frame_pose(ws, q, *last));
            }
            Algorithm::Rnea => model.rnea(ws, q, v, a, out),
            Algorithm::Crba => model.mass_matrix(ws, q, matrix),
            Algorithm::Aba => model.aba(ws, q, v, a, out),
            Algorithm::RneaDerivatives => model.rnea_derivatives(ws, q, v, a),
            Algorithm::AbaDerivatives => model.aba_derivatives(ws, q, v, a),
            Algorithm::AbaDifferences => differences.evaluate(model, ws, &mut states[state]),
        }
        black_box((ws, out, matrix));
    }
}

/// Central differences of forward dynamics, for robots whose q is a vector.
struct Differences {
    plus: DVector<f64>,
    minus: DVector<f64>,
    /// ∂q̈/∂(q, v, τ), nv × 3 nv.
    out: DMatrix<f64>,
}

impl Differences {
    fn new(nv: usize) -> Self {
        Self {
            plus: DVector::zeros(nv),
            minus: DVector::zeros(nv),
            out: DMatrix::zeros(nv, 3 * nv),
        }
    }

    /// Moves every entry of the state both ways, and leaves the state as it was.
    fn evaluate(&mut self, model: &Model, ws: &mut Workspace, state: &mut State) {
        let Self { plus, minus, out } = self;
        let nv = model.nv();
        for column in 0..3 * nv {
            let (part, entry) = (column / nv, column % nv);
            let middle = state[part][entry];
            let h = f64::EPSILON.cbrt() * middle.abs().max(1.0);
            for (moved, acceleration) in [(middle + h, &mut *plus), (middle - h, &mut *minus)] {
                state[part][entry] = moved;
                let [q, v, tau] = &*state;
                model.aba(ws, q, v, tau, acceleration);
            }
            state[part][entry] = middle;
            let slopes = plus.iter().zip(minus.iter()).map(|(a, b)| (a - b) / (2.0 * h));
            out.column_mut(column).iter_mut().zip(slopes).for_each(|(out, slope)| *out = slope);
        }
        black_box(out);
    }
}

/// Rods of 0.3 m, one on the end of the other, on revolute joints about y and x in turn.
fn chain(links: usize) -> RobotDescription {
    const LENGTH: f64 = 0.3;
    let name = |i: usize| if i == 0 { "base".to_owned() } else { format!("link{i}") };
    let rod = Inertial {
        mass: 1.0,
        center: Vector3::new(0.0, 0.0, 0.5 * LENGTH),
        inertia: Matrix3::from_diagonal(&Vector3::new(8e-3, 8e-3, 1e-3)),
    };
    let link = |i| LinkDescription {
        name: name(i),
        inertial: if i == 0 { Inertial::ZERO } else { rod },
        line: 0,
    };
    let joint = |i: usize| JointDescription {
        name: format!("joint{i}"),
        kind: JointKind::Revolute(if i % 2 == 1 { Vector3::y() } else { Vector3::x() }),
        parent: name(i - 1),
        child: name(i),
        position: Vector3::new(0.0, 0.0, if i == 1 { 0.0 } else { LENGTH }),
        rotation: Matrix3::identity(),
        home: vec![0.0],
        properties: JointProperties::default(),
        line: 0,
    };
    RobotDescription {
        name: format!("chain of {links}"),
        gravity: Vector3::new(0.0, 0.0, -9.81),
        links: (0..=links).map(link).collect(),
        joints: (1..=links).map(joint).collect(),
        ..RobotDescription::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_agree_with_the_derivatives_and_leave_the_state() {
        let mut runner = Runner::new(Robot::Chain(4).model(None).unwrap()).unwrap();
        let before = runner.states[3].clone();
        runner.call(Algorithm::AbaDifferences, 3);
        assert_eq!(runner.states[3], before);
        let [q, v, tau] = &before;
        runner.model.aba_derivatives(&mut runner.ws, q, v, tau);
        let parts = [runner.ws.dqdd_dq(), runner.ws.dqdd_dv(), runner.ws.dqdd_dtau()];
        for (part, exact) in parts.iter().enumerate() {
            let found = runner.differences.out.columns(4 * part, 4);
            let error = (found - exact).norm() / exact.norm();
            assert!(error < 1e-6, "{part}: {error}");
        }
    }

    #[test]
    fn following_joints_are_freed() {
        let text = "<joint><mimic joint='a' offset='0'/><axis/></joint><mimic\n joint='b' />.";
        assert_eq!(without_mimic(text), "<joint><axis/></joint>.");
        assert_eq!(without_mimic("<joint/>"), "<joint/>");
    }

    #[test]
    fn chains_have_their_links_and_end_where_they_should() {
        for links in CHAINS {
            let model = Robot::Chain(links).model(None).unwrap();
            assert_eq!((model.nq(), model.nv(), model.n_bodies()), (links, links, links));
            let mut runner = Runner::new(model).unwrap();
            let q = runner.model.neutral();
            let (_, p) = runner.model.frame_pose(&mut runner.ws, &q, runner.last);
            assert!((p.z - 0.3 * (links - 1) as f64).abs() < 1e-12, "{links}: {p}");
        }
    }
}
