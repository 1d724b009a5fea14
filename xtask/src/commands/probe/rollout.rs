//! Every state that a list of actions leads through.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use dynamics::Task;
use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::batch;
use super::task::{Outcome, Stepper};

/// What the file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RolloutRequest {
    /// Where the roll-out starts.
    state: Vec<f64>,
    /// One action per step.
    actions: Vec<Vec<f64>>,
}

/// What is printed of a roll-out.
#[derive(Serialize)]
pub(super) struct RolloutAnswer {
    /// The state of the file as it stands there, then the one after each action, wrapped.
    states: Vec<Vec<f64>>,
    /// What a learner gets for each action.
    rewards: Vec<f64>,
    /// The first action at which the task itself ends the episode; the roll-out goes on beyond it,
    /// as it goes beyond the time limit.
    terminated: Option<usize>,
}

/// Rolls out the actions of a file (`-`: standard input).
///
/// # Errors
/// A file that cannot be read or is not such an object, entries that do not fit the task (named by
/// their index), a step that fails or is not finite.
pub(super) fn answer_file(task: &dyn Task, file: &str) -> Result<RolloutAnswer> {
    let mut text = String::new();
    batch::open(file)?
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read `{file}`"))?;
    let request = serde_json::from_str(&text)
        .with_context(|| format!("`{file}` is no {{\"state\": […], \"actions\": [[…], …]}}"))?;
    answer(task, request)
}

fn answer(task: &dyn Task, request: RolloutRequest) -> Result<RolloutAnswer> {
    let RolloutRequest { state, actions } = request;
    let mut stepper = Stepper::new(task);
    // All of the file before the first step: its mistakes come before what they would lead to.
    stepper.check_state("state", &state)?;
    for (t, action) in actions.iter().enumerate() {
        stepper.check_action(&format!("actions[{t}]"), action)?;
    }
    let mut states = Vec::with_capacity(actions.len() + 1);
    let mut rewards = Vec::with_capacity(actions.len());
    let mut terminated = None;
    let mut x = DVector::from_vec(state);
    for (t, action) in actions.into_iter().enumerate() {
        let Outcome { x_next, reward, terminated: ends } = stepper
            .step(t, &x, &DVector::from_vec(action))
            .with_context(|| format!("the roll-out stops at actions[{t}]"))?;
        states.push(x.data.into());
        rewards.push(reward);
        if ends && terminated.is_none() {
            terminated = Some(t);
        }
        x = x_next;
    }
    states.push(x.data.into());
    Ok(RolloutAnswer { states, rewards, terminated })
}
