//! The policy: a network that corrects set points and gains, and the controller below it.

use std::path::Path;

use critics::{
    Activation, CheckpointError, Initialization, Mlp, MlpSpec, MlpWorkspace, Tensors,
    write_file_atomic,
};
use dynamics::{Stream, Task, Tracker, TrackerShape};
use nalgebra::DVector;

use crate::{LearnError, Policy};

/// What corrects set points and gains, in shares of their scales.
#[derive(Debug, Clone)]
pub enum Corrections {
    /// tanh of a network's outputs, for its inputs the tracker's features.
    Network(Mlp<f64>),
    /// A number of its own for every output and segment: parameters without feedback of their own, in
    /// which the theory is stated.
    Table(Vec<f64>),
}

/// Corrections at work on a task with a [`Tracker`].
#[derive(Clone)]
pub struct TrackingPolicy<'a> {
    task: &'a dyn Task,
    tracker: &'a dyn Tracker,
    corrections: Corrections,
}

/// Name of the method family in errors.
pub(crate) const METHOD: &str = "tracking";

impl<'a> TrackingPolicy<'a> {
    /// A policy that corrects nothing yet: hidden layers from stream `actor weights` by Glorot's rule, the
    /// last layer 0.
    ///
    /// # Errors
    /// A task without a tracker; layer sizes that make no network.
    pub fn new(task: &'a dyn Task, hidden: &[usize], seed: u64) -> Result<Self, LearnError> {
        let tracker = tracker_of(task)?;
        let shape = tracker.shape();
        let mut sizes = vec![shape.n_features];
        sizes.extend(hidden);
        sizes.push(shape.n_outputs());
        let spec = MlpSpec { sizes, hidden: Activation::Tanh };
        let stream = &mut Stream::new(seed, "actor weights", 0);
        let mut net = Mlp::random(spec, Initialization::Xavier, &[], stream)?;
        let last = net.spec().weight(net.spec().n_layers() - 1).start;
        net.params_mut()[last..].fill(0.0);
        Self::with(task, Corrections::Network(net))
    }

    /// A policy with a table of zeros for `n_segments`.
    ///
    /// # Errors
    /// A task without a tracker.
    pub fn tabled(task: &'a dyn Task, n_segments: usize) -> Result<Self, LearnError> {
        let n = n_segments * tracker_of(task)?.shape().n_outputs();
        Self::with(task, Corrections::Table(vec![0.0; n]))
    }

    /// A policy with these corrections.
    ///
    /// # Errors
    /// A task without a tracker; corrections of other sizes.
    pub fn with(task: &'a dyn Task, corrections: Corrections) -> Result<Self, LearnError> {
        let tracker = tracker_of(task)?;
        let shape = tracker.shape();
        let needed = (shape.n_features, shape.n_outputs());
        let found = match &corrections {
            Corrections::Network(net) => (net.spec().n_in(), net.spec().n_out()),
            Corrections::Table(table) if table.len() % needed.1 == 0 => needed,
            Corrections::Table(table) => (needed.0, table.len()),
        };
        if found != needed {
            return Err(LearnError::Mismatch {
                what: format!("the policy (features, outputs) for task `{}`", task.name()),
                found: format!("{found:?}"),
                needed: format!("{needed:?}"),
            });
        }
        Ok(Self { task, tracker, corrections })
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &'a dyn Task {
        self.task
    }

    /// The task's set points, reference and controller.
    #[must_use]
    pub fn tracker(&self) -> &'a dyn Tracker {
        self.tracker
    }

    /// What corrects them.
    #[must_use]
    pub fn corrections(&self) -> &Corrections {
        &self.corrections
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> &[f64] {
        match &self.corrections {
            Corrections::Network(net) => net.params(),
            Corrections::Table(table) => table,
        }
    }

    /// All parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut [f64] {
        match &mut self.corrections {
            Corrections::Network(net) => net.params_mut(),
            Corrections::Table(table) => table,
        }
    }

    /// The policy at work, with the memory of one episode.
    #[must_use]
    pub fn follower(&self) -> TrackingFollower<'_> {
        let shape = self.tracker.shape();
        TrackingFollower {
            policy: self,
            knot: Knot::zeros(self.tracker),
            sigma: vec![0.0; shape.n_reference],
            ws: self.workspace(),
        }
    }

    pub(super) fn workspace(&self) -> Option<MlpWorkspace<f64>> {
        match &self.corrections {
            Corrections::Network(net) => Some(net.workspace(1)),
            Corrections::Table(_) => None,
        }
    }

    /// Decides at step `t`, which begins a segment, in state `x`; `knot` holds the decision before, of
    /// which the set point counts unless the episode begins.
    pub(super) fn decide(
        &self,
        t: usize,
        x: &DVector<f64>,
        knot: &mut Knot,
        ws: &mut Option<MlpWorkspace<f64>>,
    ) {
        let (tracker, shape) = (self.tracker, self.tracker.shape());
        let Knot { features, outputs, before, set_point, gains } = knot;
        if t == 0 {
            tracker.start(x, before);
        } else {
            before.copy_from_slice(set_point);
        }
        tracker.features(t, x, features);
        match (&self.corrections, ws) {
            (Corrections::Network(net), Some(ws)) => {
                let out = net.forward(features, ws);
                outputs.iter_mut().zip(out).for_each(|(output, out)| *output = out.tanh());
            }
            (Corrections::Table(table), _) => {
                let n = outputs.len();
                // Beyond its end a table corrects nothing.
                match table.chunks_exact(n).nth(t / shape.segment) {
                    Some(row) => outputs.copy_from_slice(row),
                    None => outputs.fill(0.0),
                }
            }
            (Corrections::Network(_), None) => {}
        }
        tracker.set_point(t, x, set_point);
        gains.copy_from_slice(&shape.gains);
        let corrected = set_point.iter_mut().chain(gains);
        for ((value, output), scale) in corrected.zip(outputs).zip(&shape.scales) {
            *value += scale * *output;
        }
    }

    /// Writes the network into a file.
    ///
    /// # Errors
    /// What the file system reports, and tables, which no file holds.
    pub fn save(&self, path: &Path) -> Result<(), LearnError> {
        Ok(write_file_atomic(path, &self.tensors()?.to_bytes()?)?)
    }

    /// The parameters, with the network's sizes.
    pub(crate) fn tensors(&self) -> Result<Tensors, CheckpointError> {
        let refuse = |reason| CheckpointError::Format { path: "tracking policy".into(), reason };
        let Corrections::Network(net) = &self.corrections else {
            return Err(refuse("a table of corrections, which files do not hold".to_owned()));
        };
        let mut tensors = Tensors::new();
        tensors.insert_f64("tracking", &[self.params().len()], self.params())?;
        let spec = serde_json::to_string(net.spec()).map_err(|error| refuse(error.to_string()))?;
        tensors.insert_metadata(SPEC, &spec);
        Ok(tensors)
    }

    /// Reads a network that [`TrackingPolicy::save`] has written.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another task's sizes.
    pub fn load(task: &'a dyn Task, path: &Path) -> Result<Self, LearnError> {
        let io =
            |source| LearnError::Io { action: "read the policy", path: path.to_owned(), source };
        let tensors = Tensors::from_bytes(path, &std::fs::read(path).map_err(io)?)?;
        let damaged = |reason: String| {
            LearnError::Checkpoint(CheckpointError::Format { path: path.to_owned(), reason })
        };
        let spec = tensors
            .metadata(SPEC)
            .ok_or_else(|| damaged("not the file of a tracking policy".to_owned()))?;
        let spec: MlpSpec =
            serde_json::from_str(spec).map_err(|error| damaged(error.to_string()))?;
        let (_, params) = tensors.get_f64("tracking")?;
        let net = Mlp::new(spec, params).map_err(|error| damaged(error.to_string()))?;
        Self::with(task, Corrections::Network(net))
    }
}

/// Metadata that says what network the tensors are of.
pub(crate) const SPEC: &str = "tracking_spec";

fn tracker_of(task: &dyn Task) -> Result<&dyn Tracker, LearnError> {
    let unfit = |needed| LearnError::Unfit { method: METHOD, task: task.name().to_owned(), needed };
    if task.plant().any_nx() != task.plant().any_ndx() {
        return Err(unfit("a state that is a plain vector"));
    }
    let tracker = task.tracker().ok_or_else(|| {
        unfit("a tracker: set points, a reference and a controller (`Task::tracker`)")
    })?;
    let TrackerShape { segment, n_tracked, scales, .. } = tracker.shape();
    if *segment == 0
        || *n_tracked > task.plant().any_nx()
        || scales.len() != tracker.shape().n_outputs()
    {
        return Err(unfit(
            "a tracker with at least one step per segment, no more tracked entries than the state has, and a \
             scale for every entry of a set point and every gain",
        ));
    }
    Ok(tracker)
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Knot {
    /// What the network saw.
    pub(super) features: Vec<f64>,
    /// Corrections in shares of their scales.
    pub(super) outputs: Vec<f64>,
    /// The corrected set point of the decision before.
    pub(super) before: Vec<f64>,
    /// The corrected set point.
    pub(super) set_point: Vec<f64>,
    /// The corrected gains.
    pub(super) gains: Vec<f64>,
}

impl Knot {
    pub(super) fn zeros(tracker: &dyn Tracker) -> Self {
        let shape = tracker.shape();
        Self {
            features: vec![0.0; shape.n_features],
            outputs: vec![0.0; shape.n_outputs()],
            before: vec![0.0; shape.n_set_point],
            set_point: vec![0.0; shape.n_set_point],
            gains: vec![0.0; shape.gains.len()],
        }
    }
}

/// A [`TrackingPolicy`] in an episode: it remembers its last decision.
pub struct TrackingFollower<'p> {
    policy: &'p TrackingPolicy<'p>,
    knot: Knot,
    sigma: Vec<f64>,
    ws: Option<MlpWorkspace<f64>>,
}

impl TrackingFollower<'_> {
    /// Corrections of the decision at work, in shares of their scales.
    #[must_use]
    pub fn outputs(&self) -> &[f64] {
        &self.knot.outputs
    }

    /// The corrected set point at work.
    #[must_use]
    pub fn set_point(&self) -> &[f64] {
        &self.knot.set_point
    }
}

impl Policy for TrackingFollower<'_> {
    fn act(&mut self, t: usize, x: &DVector<f64>, u: &mut DVector<f64>) {
        let tracker = self.policy.tracker;
        let i = t % tracker.shape().segment;
        if i == 0 {
            self.policy.decide(t, x, &mut self.knot, &mut self.ws);
        }
        let Knot { before, set_point, gains, .. } = &self.knot;
        tracker.reference(i, before, set_point, &mut self.sigma);
        tracker.control(x, &self.sigma, gains, u);
    }

    fn fork(&self) -> Option<Box<dyn Policy + '_>> {
        Some(Box::new(self.policy.follower()))
    }
}
