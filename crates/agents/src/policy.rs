//! Policies: what chooses actions once learning is done.

use std::path::Path;

use critics::{
    CheckpointError, CriticError, Mlp, MlpSpec, PolicyWorkspace, SquashedGaussian, Tensors,
    write_file_atomic,
};
use dynamics::{ActionBounds, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::LearnError;

/// A deterministic policy of state and time, which may keep memory within an episode.
pub trait Policy: Send {
    /// Forgets the last episode.
    fn reset(&mut self) {}
    /// Writes the action at step `t` in state `x`.
    fn act(&mut self, t: usize, x: &DVector<f64>, u: &mut DVector<f64>);
}

/// The mean action of a squashed Gaussian, on a task's observation.
pub struct MeanPolicy<'a> {
    task: &'a dyn Task,
    actor: SquashedGaussian<f32>,
    workspace: PolicyWorkspace<f32>,
    observation: Vec<f64>,
    input: Vec<f32>,
    action: Vec<f32>,
}

impl<'a> MeanPolicy<'a> {
    /// The deterministic form of `actor` on `task`.
    ///
    /// # Errors
    /// [`LearnError::Mismatch`] if the actor's sizes are not the task's.
    pub fn new(task: &'a dyn Task, actor: SquashedGaussian<f32>) -> Result<Self, LearnError> {
        let plant = task.plant();
        let n_observations = task.observation().n_observations(plant.any_nx());
        let nu = plant.any_nu();
        if (actor.nx(), actor.nu()) != (n_observations, nu) {
            return Err(LearnError::Mismatch {
                what: format!("the policy (observations, actions) for task `{}`", task.name()),
                found: format!("({}, {})", actor.nx(), actor.nu()),
                needed: format!("({n_observations}, {nu})"),
            });
        }
        Ok(Self {
            task,
            workspace: actor.workspace(1),
            actor,
            observation: vec![0.0; n_observations],
            input: vec![0.0; n_observations],
            action: vec![0.0; nu],
        })
    }
}

impl Policy for MeanPolicy<'_> {
    fn act(&mut self, _t: usize, x: &DVector<f64>, u: &mut DVector<f64>) {
        self.task.observation().observe(x, &mut self.observation);
        narrow(&self.observation, &mut self.input);
        self.actor.mean_action(&self.input, &mut self.workspace, &mut self.action);
        for (u, &a) in u.iter_mut().zip(&self.action) {
            *u = f64::from(a);
        }
    }
}

/// Rounds to single precision, at the one border between physics and networks.
pub(crate) fn narrow(from: &[f64], to: &mut [f32]) {
    for (to, &from) in to.iter_mut().zip(from) {
        #[expect(clippy::cast_possible_truncation, reason = "networks are in single precision")]
        let value = from as f32;
        *to = value;
    }
}

/// What a policy file says of itself, beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyHeader {
    schema: u32,
    spec: MlpSpec,
    low: Vec<f64>,
    high: Vec<f64>,
}

const POLICY_SCHEMA: u32 = 1;

/// Writes an actor with its sizes and action range into one safetensors file.
///
/// # Errors
/// What the file system reports.
pub fn save_policy(
    path: &Path,
    actor: &SquashedGaussian<f32>,
    bounds: &ActionBounds,
) -> Result<(), LearnError> {
    let header = PolicyHeader {
        schema: POLICY_SCHEMA,
        spec: actor.net().spec().clone(),
        low: bounds.low.clone(),
        high: bounds.high.clone(),
    };
    let text = serde_json::to_string(&header).map_err(|error| LearnError::Settings {
        what: "policy header".to_owned(),
        reason: error.to_string(),
    })?;
    let params = actor.net().params();
    let mut tensors = Tensors::new();
    tensors.insert_f32("actor", &[params.len()], params)?;
    tensors.insert_metadata("policy", &text);
    Ok(write_file_atomic(path, &tensors.to_bytes()?)?)
}

/// Reads an actor written by [`save_policy`].
///
/// # Errors
/// A file that is missing, damaged or no policy.
pub fn load_policy(path: &Path) -> Result<SquashedGaussian<f32>, LearnError> {
    let bytes = std::fs::read(path).map_err(|source| LearnError::Io {
        action: "read the policy",
        path: path.to_owned(),
        source,
    })?;
    let tensors = Tensors::from_bytes(path, &bytes)?;
    let damaged = |reason: String| {
        LearnError::Checkpoint(CheckpointError::Format { path: path.to_owned(), reason })
    };
    let text = tensors.metadata("policy").ok_or_else(|| damaged("no policy header".to_owned()))?;
    let header: PolicyHeader =
        serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if header.schema != POLICY_SCHEMA {
        return Err(damaged(format!("schema {}, needed {POLICY_SCHEMA}", header.schema)));
    }
    let (_, params) = tensors.get_f32("actor")?;
    let critic = |error: CriticError| damaged(error.to_string());
    let net = Mlp::new(header.spec, params).map_err(critic)?;
    SquashedGaussian::new(net, &header.low, &header.high).map_err(critic)
}
