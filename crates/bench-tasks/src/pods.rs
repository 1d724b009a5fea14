//! The pendulums of PODS (Zamora Mora et al., ICML 2021): one or two masses that hang by springs from a
//! handle, whose velocity is the action, are to stop, or to stop at the origin.

use std::f64::consts::TAU;

use dynamics::mass_spring::{Layout, Link, MassSpring, NetworkError, chain_start, hanging};
use dynamics::{ActionBounds, Stream, Task};
use nalgebra::DVector;

use crate::optimal_control::{Measures, OptimalControlParts, OptimalControlTask, TaskModel};
use crate::optimal_control_settings::OptimalControlSettings;
use crate::pods_settings::{MAX_SPEED, PodsSettings};
use crate::{TaskError, Variant};

/// Names of coordinates; gravity pulls against the last one of the space.
const COORDINATES: [&str; 3] = ["x", "y", "z"];

/// The reward −(w_p ‖p − p*‖² + w_x ‖x − x*‖² + w_v ‖v‖² + w_a ‖a‖²) with sums over the masses, x* where
/// they hang at rest below the goal p*. It is summed over the N states and actions of an episode, and
/// the last transition pays the state's terms at s_N as well. Policies see (p, x, v). Plant and nominal
/// model are the same.
pub(crate) fn build(
    name: &'static str,
    d: usize,
    variant: Variant,
    settings: &PodsSettings,
) -> Result<OptimalControlTask, TaskError> {
    settings.check(name)?;
    let handle = settings.common.goal(name, d)?;
    let network = |source| TaskError::Network { task: name, source };
    let model = settings.model(d).map_err(network)?;
    let (layout, links) = (model.layout(), settings.links());
    // The history has no weight, so its goal does not matter.
    let mut goal = vec![0.0; layout.ndx()];
    let resting = hanging(d, &links, handle.as_slice()).map_err(network)?;
    goal[layout.positions()].copy_from_slice(&resting);
    goal[layout.handles()].copy_from_slice(handle.as_slice());
    let mut scales = vec![0.0; layout.ndx()];
    scales[layout.handles()].fill(settings.handle_weight);
    scales[layout.positions()].fill(settings.mass_weight);
    scales[layout.velocities()].fill(settings.velocity_weight);
    let common = OptimalControlSettings { goal, ..settings.common.clone() };
    let [stage, terminal] = common.quadratic(name, &scales, d, |weight| weight)?;
    let starts = ChainStarts {
        model: model.clone(),
        angle: settings.start_angle,
        speed: settings.start_speed,
        handle_spread: settings.handle_spread,
        links,
    };
    let x0 = match common.x0.is_empty() {
        true => starts.inclined().map_err(network)?,
        false => common.x0(name, layout.nx())?,
    };
    let (observation, us0) = (model.observation(), DVector::zeros(d));
    let nominal = TaskModel::plain(model);
    let parts = OptimalControlParts {
        name,
        real: nominal.clone(),
        nominal,
        stage: Box::new(stage),
        terminal: Box::new(terminal),
        horizon: common.horizon,
        dt: common.dt,
        x0,
        start_spread: vec![0.0; layout.ndx()],
        control_limits: common.control_limits(name, &us0)?,
        us0,
        action_bounds: ActionBounds::symmetric(d, MAX_SPEED),
        check_spread: vec![0.0; layout.ndx()],
        state_names: state_names(layout, d),
    };
    let (meter, n_steps) = (PodsMeter::new(name, settings)?, common.horizon as f64);
    let measures = Measures {
        names: &MEASURES,
        measure: Some(Box::new(move |m, out| {
            out[0] = meter.kinetic_energy(m.x_next);
            out[1] = meter.distance(m.x_next);
            out[2] += m.u.norm() / n_steps;
        })),
    };
    let task = OptimalControlTask::new(variant, parts)?.observed_by(observation);
    let task = task.discounted(settings.discount).measured_by(measures);
    Ok(task.starting_from(Box::new(move |stream, x0| starts.draw(stream, x0))))
}

/// Where episodes start: every link in a cone about the vertical and moving across itself, its spring
/// stretched as far as its load and its rotation ask for.
struct ChainStarts {
    model: MassSpring,
    links: Vec<Link>,
    angle: f64,
    speed: f64,
    handle_spread: f64,
}

impl ChainStarts {
    fn dimension(&self) -> usize {
        self.model.spec().dimension
    }

    /// At rest, every link inclined to the right by the largest angle, the handle as far to the right as
    /// it starts.
    fn inclined(&self) -> Result<DVector<f64>, NetworkError> {
        let (d, n_links) = (self.dimension(), self.links.len());
        let mut p = vec![0.0; d];
        p[0] = self.handle_spread;
        let [direction, ..] = frame(d, self.angle, 0.0);
        self.state(&p, &direction[..d].repeat(n_links), &vec![0.0; d * n_links])
    }

    /// Writes a random start.
    fn draw(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        let (d, spread) = (self.dimension(), self.handle_spread);
        let p: Vec<f64> = (0..d).map(|_| stream.uniform(-spread, spread)).collect();
        let (mut directions, mut velocities) = (Vec::new(), Vec::new());
        for _ in &self.links {
            let [direction, velocity] = match d {
                2 => self.link_in_plane(stream),
                _ => self.link_in_space(stream),
            };
            directions.extend_from_slice(&direction[..d]);
            velocities.extend_from_slice(&velocity[..d]);
        }
        match self.state(&p, &directions, &velocities) {
            Ok(state) => x0.copy_from(&state),
            // The settings have been checked; if they let something pass, environments refuse this.
            Err(_) => x0.fill(f64::NAN),
        }
    }

    /// Direction and velocity of a link: angle and speed are uniform.
    fn link_in_plane(&self, stream: &mut Stream) -> [[f64; 3]; 2] {
        let [direction, along, _] = frame(2, stream.uniform(-self.angle, self.angle), 0.0);
        let speed = stream.uniform(-self.speed, self.speed);
        [direction, along.map(|e| speed * e)]
    }

    /// Direction and velocity of a link: the direction is uniform on the cap, the velocity on the disc
    /// across it.
    fn link_in_space(&self, stream: &mut Stream) -> [[f64; 3]; 2] {
        let angle = stream.uniform(self.angle.cos(), 1.0).acos();
        let [direction, along, across] = frame(3, angle, stream.uniform(0.0, TAU));
        let speed = self.speed * stream.unit().sqrt();
        let (sin, cos) = stream.uniform(0.0, TAU).sin_cos();
        [direction, [0, 1, 2].map(|k| speed * (cos * along[k] + sin * across[k]))]
    }

    fn state(
        &self,
        p: &[f64],
        directions: &[f64],
        velocities: &[f64],
    ) -> Result<DVector<f64>, NetworkError> {
        let start = chain_start(self.dimension(), &self.links, p, directions, velocities)?;
        self.model.state(&start.x, &start.v, p)
    }
}

/// The direction of a link that is inclined by `angle`, in space towards the azimuth `turn`, and the
/// unit vectors across it: along growing angles, and in space horizontally. In the plane the third
/// coordinate is 0.
fn frame(d: usize, angle: f64, turn: f64) -> [[f64; 3]; 3] {
    let ((sin, cos), (sin_turn, cos_turn)) = (angle.sin_cos(), turn.sin_cos());
    match d {
        2 => [[sin, -cos, 0.0], [cos, sin, 0.0], [0.0; 3]],
        _ => [
            [sin * cos_turn, sin * sin_turn, -cos],
            [cos * cos_turn, cos * sin_turn, sin],
            [-sin_turn, cos_turn, 0.0],
        ],
    }
}

/// In the order of the [`Layout`]; the history is told apart by `before`.
fn state_names(layout: Layout, d: usize) -> Vec<String> {
    let blocks = [("", "m"), ("before ", "m"), ("v", "m/s"), ("before v", "m/s")];
    let masses = blocks.into_iter().flat_map(|(what, unit)| {
        (0..layout.n)
            .map(move |i| format!("mass {} {what}{} [{unit}]", i / d + 1, COORDINATES[i % d]))
    });
    let handle = COORDINATES[..d].iter().map(|coordinate| format!("handle {coordinate} [m]"));
    let flag = layout.flag().map(|_| "waits for first step".to_owned());
    masses.chain(handle).chain(flag).collect()
}

/// Kinetic energy (J) and distance from the target (m) of the last state, and the handle's speed [m/s]
/// averaged over the episode: figures 8, 9 and 10 of the paper.
const MEASURES: [&str; 3] = ["final_kinetic_energy", "final_distance", "mean_control"];

/// What the paper's figures 8 and 9 show of a state.
pub struct PodsMeter {
    model: MassSpring,
    /// Where the masses hang at rest below the goal.
    target: Vec<f64>,
}

impl PodsMeter {
    /// A meter for the task of these settings.
    ///
    /// # Errors
    /// [`TaskError`] for settings that the task refuses.
    pub fn new(task: &'static str, settings: &PodsSettings) -> Result<Self, TaskError> {
        settings.check(task)?;
        let network = |source| TaskError::Network { task, source };
        let goal = &settings.common.goal;
        let model = settings.model(goal.len()).map_err(network)?;
        let target = hanging(goal.len(), &settings.links(), goal).map_err(network)?;
        Ok(Self { model, target })
    }

    /// Kinetic energy of the masses (J): that of the last state is figure 8.
    #[must_use]
    pub fn kinetic_energy(&self, x: &DVector<f64>) -> f64 {
        self.model.energies(x).kinetic
    }

    /// Distance of the masses from where they are to hang, on average (m): that of the last state is
    /// figure 9.
    #[must_use]
    pub fn distance(&self, x: &DVector<f64>) -> f64 {
        let (d, spec) = (self.model.spec().dimension, self.model.spec());
        let positions = &x.as_slice()[self.model.layout().positions()];
        let squares = |(x, target): (&[f64], &[f64])| -> f64 {
            x.iter().zip(target).map(|(x, target)| (x - target) * (x - target)).sum()
        };
        let pairs = positions.chunks_exact(d).zip(self.target.chunks_exact(d));
        pairs.map(|pair| squares(pair).sqrt()).sum::<f64>() / spec.masses.len() as f64
    }
}

/// `n` starts that no training has seen, the same for every caller: for tests and benches. The training
/// loop has `common_starts` for this.
#[must_use]
pub fn test_starts(task: &dyn Task, n: usize) -> Vec<DVector<f64>> {
    let mut stream = Stream::new(0, "pods test starts", 0);
    let mut x0 = DVector::zeros(task.plant().any_nx());
    let draw = |_| {
        task.sample_x0(&mut stream, &mut x0);
        x0.clone()
    };
    (0..n).map(draw).collect()
}
