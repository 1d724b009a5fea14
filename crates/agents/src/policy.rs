//! Policies: what chooses actions once learning is done.

use std::path::Path;

use critics::{
    CheckpointError, CriticError, Mlp, MlpSpec, MlpWorkspace, Tensors, write_file_atomic,
};
use dynamics::{ActionBounds, Task};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::tracking::TrackingPolicy;
use crate::{LearnError, ValuePlanner};

/// A deterministic policy of state and time, which may keep memory within an episode.
pub trait Policy: Send {
    /// Forgets the last episode.
    fn reset(&mut self) {}
    /// Writes the action at step `t` in state `x`.
    fn act(&mut self, t: usize, x: &DVector<f64>, u: &mut DVector<f64>);
    /// The same policy for another thread, with buffers of its own. None, the default, for one
    /// whose actions depend on the episodes before: it must see them in order.
    fn fork(&self) -> Option<Box<dyn Policy + '_>> {
        None
    }
}

/// How an [`Actor`] turns its network's outputs into actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Squash {
    /// middle + half·tanh(output).
    Tanh,
    /// The output, clipped to the range.
    Clip,
}

/// A deterministic policy as a network: the first nu outputs become actions, further ones (such as
/// the log-deviations of a Gaussian) are not used.
#[derive(Debug, Clone)]
pub struct Actor {
    net: Mlp<f32>,
    bounds: ActionBounds,
    squash: Squash,
}

impl Actor {
    /// An actor with actions in `bounds`.
    ///
    /// # Errors
    /// [`CriticError::Shape`] if the network has fewer outputs than there are actions,
    /// [`CriticError::ActionRange`] for a range that is empty or not finite.
    pub fn new(net: Mlp<f32>, bounds: ActionBounds, squash: Squash) -> Result<Self, CriticError> {
        let nu = bounds.low.len();
        if net.spec().n_out() < nu || bounds.high.len() != nu {
            return Err(CriticError::Shape {
                what: "the output of the actor",
                found: vec![net.spec().n_out()],
                needed: vec![nu],
            });
        }
        for (index, (&low, &high)) in bounds.low.iter().zip(&bounds.high).enumerate() {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(CriticError::ActionRange { index, low, high });
            }
        }
        Ok(Self { net, bounds, squash })
    }

    /// Entries of the observation and of the action.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.net.spec().n_in(), self.bounds.low.len())
    }

    /// Scratch for up to `max_batch` observations.
    #[must_use]
    pub fn workspace(&self, max_batch: usize) -> MlpWorkspace<f32> {
        self.net.workspace(max_batch)
    }

    /// Writes the actions for rows of observations.
    pub fn act(&self, o: &[f32], ws: &mut MlpWorkspace<f32>, u: &mut [f64]) {
        let (nu, n_out) = (self.bounds.low.len(), self.net.spec().n_out());
        let out = self.net.forward(o, ws);
        for (u, out) in u.chunks_exact_mut(nu).zip(out.chunks_exact(n_out)) {
            for (j, u) in u.iter_mut().enumerate() {
                let (low, high) = (self.bounds.low[j], self.bounds.high[j]);
                *u = match self.squash {
                    Squash::Tanh => {
                        0.5 * (high + low) + 0.5 * (high - low) * f64::from(out[j].tanh())
                    }
                    Squash::Clip => f64::from(out[j]).clamp(low, high),
                };
            }
        }
    }
}

/// An [`Actor`] at work on a task's observations.
pub struct MeanPolicy<'a> {
    task: &'a dyn Task,
    actor: Actor,
    workspace: MlpWorkspace<f32>,
    observation: Vec<f64>,
    input: Vec<f32>,
}

impl<'a> MeanPolicy<'a> {
    /// `actor` on `task`.
    ///
    /// # Errors
    /// [`LearnError::Mismatch`] if the actor's sizes are not the task's.
    pub fn new(task: &'a dyn Task, actor: Actor) -> Result<Self, LearnError> {
        let plant = task.plant();
        let needed = (task.observation().n_observations(plant.any_nx()), plant.any_nu());
        if actor.sizes() != needed {
            return Err(LearnError::Mismatch {
                what: format!("the policy (observations, actions) for task `{}`", task.name()),
                found: format!("{:?}", actor.sizes()),
                needed: format!("{needed:?}"),
            });
        }
        Ok(Self {
            task,
            workspace: actor.workspace(1),
            actor,
            observation: vec![0.0; needed.0],
            input: vec![0.0; needed.0],
        })
    }
}

impl Policy for MeanPolicy<'_> {
    fn act(&mut self, _t: usize, x: &DVector<f64>, u: &mut DVector<f64>) {
        self.task.observation().observe(x, &mut self.observation);
        narrow(&self.observation, &mut self.input);
        self.actor.act(&self.input, &mut self.workspace, u.as_mut_slice());
    }

    fn fork(&self) -> Option<Box<dyn Policy + '_>> {
        Some(Box::new(Self {
            task: self.task,
            workspace: self.actor.workspace(1),
            actor: self.actor.clone(),
            observation: self.observation.clone(),
            input: self.input.clone(),
        }))
    }
}

/// The policy of a finished run, as its file has it.
pub enum StoredPolicy<'a> {
    /// A network that chooses actions.
    Actor(&'a dyn Task, Actor),
    /// A network that is the value at the end of plans.
    Value(Box<ValuePlanner<'a>>),
    /// A network that corrects a controller.
    Tracking(TrackingPolicy<'a>),
}

impl<'a> StoredPolicy<'a> {
    /// Reads an [`Actor`]'s file.
    ///
    /// # Errors
    /// As [`load_policy`].
    pub(crate) fn actor(task: &'a dyn Task, path: &Path) -> Result<Self, LearnError> {
        Ok(Self::Actor(task, load_policy(path)?))
    }

    /// The policy at work.
    ///
    /// # Errors
    /// Sizes that do not fit the task.
    pub fn policy(&self) -> Result<Box<dyn Policy + '_>, LearnError> {
        Ok(match self {
            Self::Actor(task, actor) => Box::new(MeanPolicy::new(*task, actor.clone())?),
            Self::Value(planner) => Box::new(planner.policy()?),
            Self::Tracking(policy) => Box::new(policy.follower()),
        })
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
    squash: Squash,
    low: Vec<f64>,
    high: Vec<f64>,
}

const POLICY_SCHEMA: u32 = 1;

/// Writes an actor with its sizes and action range into one safetensors file.
///
/// # Errors
/// What the file system reports.
pub fn save_policy(path: &Path, actor: &Actor) -> Result<(), LearnError> {
    let header = PolicyHeader {
        schema: POLICY_SCHEMA,
        spec: actor.net.spec().clone(),
        squash: actor.squash,
        low: actor.bounds.low.clone(),
        high: actor.bounds.high.clone(),
    };
    let text = serde_json::to_string(&header).map_err(|error| LearnError::Settings {
        what: "policy header".to_owned(),
        reason: error.to_string(),
    })?;
    let params = actor.net.params();
    let mut tensors = Tensors::new();
    tensors.insert_f32("actor", &[params.len()], params)?;
    tensors.insert_metadata("policy", &text);
    Ok(write_file_atomic(path, &tensors.to_bytes()?)?)
}

/// Reads an actor written by [`save_policy`].
///
/// # Errors
/// A file that is missing, damaged or no policy.
pub fn load_policy(path: &Path) -> Result<Actor, LearnError> {
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
    let net = Mlp::new(header.spec, params).map_err(|error| damaged(error.to_string()))?;
    let bounds = ActionBounds { low: header.low, high: header.high };
    Actor::new(net, bounds, header.squash).map_err(|error| damaged(error.to_string()))
}
