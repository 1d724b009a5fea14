//! Weights and references of a reaching task.

use nalgebra::{DVector, UnitQuaternion, Vector3};

use super::model::{FrameId, Model};
use super::plant::Motor;
use crate::DynamicsError;
use crate::error::check_vector;

/// Weights and references of a [`ReachCost`](super::ReachCost).
#[derive(Debug, Clone, PartialEq)]
pub struct ReachSettings {
    /// Length of a step (s); multiplies the cost of a step, not that of the end.
    pub dt: f64,
    /// Where the frame's origin shall be (m, world).
    pub goal: Vector3<f64>,
    /// Weight of ½‖p − goal‖².
    pub goal_weight: f64,
    /// How the frame shall stand (world ← frame).
    pub orientation: UnitQuaternion<f64>,
    /// Weight of ½‖log(R*ᵀ R)‖² with R* of [`Self::orientation`]; half turns away it has a kink.
    pub orientation_weight: f64,
    /// Weight of ½‖u − g(q)‖², where g(q) is what a motor must do to hold the robot at rest.
    pub control_weight: f64,
    /// Weight of ½ Σ wᵢ² (x ⊖ x_ref)ᵢ².
    pub state_weight: f64,
    /// w of each direction of the state, ndx; it counts squared.
    pub state_weights: DVector<f64>,
    /// x_ref, nx.
    pub state_reference: DVector<f64>,
    /// Weight of half the squared excess over limits of positions and velocities.
    pub limit_weight: f64,
    /// The part of a position's range, about its middle, in which no limit is felt: in (0, 1]. Joints
    /// without a position of one number, or without limits on both sides, feel none.
    pub limit_margin: f64,
    /// Largest |v| of each degree of freedom (rad/s, m/s), nv; infinite where there is none.
    pub velocity_limits: DVector<f64>,
    /// Factor of the goal's, orientation's and state's terms at the end.
    pub terminal_weight: f64,
}

impl ReachSettings {
    /// The weights of DVP's arm for any robot: goal 2, control 0.01, state 0.2 on velocities, limits
    /// 0.1 beyond 95 % of a position's range and 1 rad/s, no orientation, nothing at the end.
    #[must_use]
    pub fn new(model: &Model, dt: f64, goal: Vector3<f64>) -> Self {
        let (nq, nv) = (model.nq(), model.nv());
        let neutral = model.neutral();
        Self {
            dt,
            goal,
            goal_weight: 2.0,
            orientation: UnitQuaternion::identity(),
            orientation_weight: 0.0,
            control_weight: 0.01,
            state_weight: 0.2,
            state_weights: DVector::from_fn(2 * nv, |i, _| if i < nv { 0.0 } else { 1.0 }),
            state_reference: DVector::from_fn(
                nq + nv,
                |i, _| if i < nq { neutral[i] } else { 0.0 },
            ),
            limit_weight: 0.1,
            limit_margin: 0.95,
            velocity_limits: DVector::repeat(nv, 1.0),
            terminal_weight: 0.0,
        }
    }

    /// Whether a cost can be made of them: see [`ReachCost::new`](super::ReachCost::new).
    pub(crate) fn check(
        &self,
        model: &Model,
        frame: FrameId,
        motors: &[Motor],
    ) -> Result<(), DynamicsError> {
        let (name, nv) = (model.name(), model.nv());
        let refuse = |parameter, value, needed| {
            Err(DynamicsError::Parameter { model: name.to_owned(), parameter, value, needed })
        };
        check_vector(name, "goal", self.goal.as_slice(), 3)?;
        check_vector(name, "state_weights", self.state_weights.as_slice(), 2 * nv)?;
        check_vector(name, "state_reference", self.state_reference.as_slice(), model.nq() + nv)?;
        if self.velocity_limits.len() != nv {
            return Err(DynamicsError::Dimension {
                model: name.to_owned(),
                what: "velocity_limits",
                found: self.velocity_limits.len(),
                needed: nv,
            });
        }
        if let Some(&limit) =
            self.velocity_limits.iter().find(|&&limit| limit.is_nan() || limit <= 0.0)
        {
            return refuse("velocity_limits", limit, "positive");
        }
        let weights = [
            ("goal_weight", self.goal_weight),
            ("orientation_weight", self.orientation_weight),
            ("control_weight", self.control_weight),
            ("state_weight", self.state_weight),
            ("limit_weight", self.limit_weight),
            ("terminal_weight", self.terminal_weight),
        ];
        for (parameter, value) in weights {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(parameter, value, "finite and not negative");
            }
        }
        if !(self.dt.is_finite() && self.dt > 0.0) {
            return refuse("dt", self.dt, "positive and finite, in seconds");
        }
        if !(self.limit_margin > 0.0 && self.limit_margin <= 1.0) {
            return refuse("limit_margin", self.limit_margin, "a part of 1: in (0, 1]");
        }
        for motor in motors {
            if motor.dof >= nv {
                return refuse(
                    "the degree of freedom of a motor",
                    motor.dof as f64,
                    "one of the model",
                );
            }
            if !(motor.gear.is_finite() && motor.gear != 0.0) {
                return refuse("the gear of a motor", motor.gear, "finite and not 0");
            }
        }
        match model.frame(frame).body {
            None => refuse("the number of joints that move the frame", 0.0, "at least 1"),
            Some(_) => Ok(()),
        }
    }
}
