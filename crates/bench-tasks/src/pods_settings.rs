//! Settings of the pendulum tasks of PODS.

use dynamics::mass_spring::{
    Integration, Link, MassSpring, NetworkError, Scheme, Startup, pendulum,
};
use serde::{Deserialize, Serialize};

use crate::TaskError;
use crate::optimal_control_settings::OptimalControlSettings;

/// Everything about a pendulum task of PODS (Zamora Mora et al., ICML 2021) that can be set.
///
/// The paper publishes the systems, the form of the reward, that velocities of the handle are limited
/// actions, and BDF2. It does not publish a single number: masses, lengths, stiffness, time step,
/// horizon, weights, limits and starts are proposals that follow physical reasoning and give returns of
/// the size of the paper's table 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodsSettings {
    /// `horizon` (proposed: 100; the paper has 50 steps in figure 3) steps of `dt` (proposed: 1/60 s);
    /// `state_weight` is a factor of the three weights below and `terminal_weight` the one of the last
    /// state, by default the same; `control_weight` is w_a (proposed: 0.1); `goal` is where the handle
    /// is to go (m, published: the origin); `u_max` is the largest velocity of the handle in each
    /// coordinate (proposed: 2 m/s); an empty `x0` is a pendulum at rest, inclined as far as episodes
    /// start at most, its handle at the right edge of where episodes start.
    #[serde(flatten)]
    pub common: OptimalControlSettings,
    /// Weight w_p of the handle's distance from the goal (published: 0 where the task is to stop;
    /// proposed: 5 where it is to stop at the origin).
    pub handle_weight: f64,
    /// Weight w_x of each mass's distance from where it hangs at rest below the goal (as w_p).
    pub mass_weight: f64,
    /// Weight w_v of velocities of masses (proposed: 1).
    pub velocity_weight: f64,
    /// Mass at the lower end of each link, from the handle down (kg; proposed: 1).
    pub masses: Vec<f64>,
    /// Rest length of each link's spring (m; proposed: 0.5).
    pub lengths: Vec<f64>,
    /// Stiffness of the springs [N/m] (proposed: 10⁴).
    pub stiffness: f64,
    /// Damping along the springs [N·s/m] (published: there is none).
    pub damping: f64,
    /// Damping of the masses against the room [1/s] (published: there is none).
    pub mass_damping: f64,
    /// Integrator: `bdf2` (published) or `bdf1`.
    pub scheme: Scheme,
    /// How BDF2 starts: `bdf1` (proposed), which keeps a flag at the end of the state, or
    /// `second_order`, which keeps none.
    pub startup: Startup,
    /// Links start inclined by at most this angle (rad; proposed: 60°).
    pub start_angle: f64,
    /// Masses start with at most this velocity across the link that holds them, relative to the upper
    /// end of the link [m/s] (proposed: 1.5 for one link, 1 for two).
    pub start_speed: f64,
    /// The handle starts in a box of this half-width about the origin (m; proposed: 0 where the task is
    /// to stop, 1 where it is to stop at the origin).
    pub handle_spread: f64,
    /// Discount of what is learned (published: 1). Below 1 values have no clock and the time limit only cuts
    /// episodes off, as in the paper's baselines, which have 0.99; the last transition still pays the
    /// state's terms at s_N.
    pub discount: f64,
}

impl PodsSettings {
    /// "Go to stop" for `n_links` links in `dimension` 2 or 3: only velocities and actions cost.
    #[must_use]
    pub fn stop(dimension: usize, n_links: usize) -> Self {
        Self {
            common: OptimalControlSettings {
                horizon: 100,
                dt: 1.0 / 60.0,
                state_weight: 1.0,
                control_weight: 0.1,
                terminal_weight: None,
                goal: vec![0.0; dimension],
                u_max: Some(MAX_SPEED),
                x0: Vec::new(),
            },
            handle_weight: 0.0,
            mass_weight: 0.0,
            velocity_weight: 1.0,
            masses: vec![1.0; n_links],
            lengths: vec![0.5; n_links],
            stiffness: 1e4,
            damping: 0.0,
            mass_damping: 0.0,
            scheme: Scheme::Bdf2,
            startup: Startup::Bdf1,
            start_angle: std::f64::consts::FRAC_PI_3,
            start_speed: if n_links == 1 { 1.5 } else { 1.0 },
            handle_spread: 0.0,
            discount: 1.0,
        }
    }

    /// "Stop at the origin".
    #[must_use]
    pub fn origin(dimension: usize, n_links: usize) -> Self {
        Self {
            handle_weight: 5.0,
            mass_weight: 5.0,
            handle_spread: 1.0,
            ..Self::stop(dimension, n_links)
        }
    }

    /// The chain.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let link =
            |(&mass, &length)| Link { mass, length, stiffness: self.stiffness, ..Link::pendulum() };
        self.masses.iter().zip(&self.lengths).map(link).collect()
    }

    /// The chain as a model.
    ///
    /// # Errors
    /// [`NetworkError`] for a number that is out of range.
    pub(crate) fn model(&self, dimension: usize) -> Result<MassSpring, NetworkError> {
        let mut spec = pendulum(dimension, &self.links());
        spec.mass_damping = self.mass_damping;
        spec.springs.iter_mut().for_each(|spring| spring.damping = self.damping);
        let Self { scheme, startup, .. } = *self;
        MassSpring::new(spec, Integration { scheme, startup, dt: self.common.dt })
    }

    /// Refuses what [`PodsSettings::model`] lets pass.
    pub(crate) fn check(&self, task: &'static str) -> Result<(), TaskError> {
        for (key, value, most, needed) in [
            ("handle_weight", self.handle_weight, f64::MAX, NOT_NEGATIVE),
            ("mass_weight", self.mass_weight, f64::MAX, NOT_NEGATIVE),
            ("velocity_weight", self.velocity_weight, f64::MAX, NOT_NEGATIVE),
            ("start_speed", self.start_speed, f64::MAX, NOT_NEGATIVE),
            ("handle_spread", self.handle_spread, f64::MAX, NOT_NEGATIVE),
            ("start_angle", self.start_angle, std::f64::consts::PI, "between 0 and π"),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(TaskError::Setting { task, key, value, needed });
            }
        }
        if !(self.discount > 0.0 && self.discount <= 1.0) {
            let (key, value, needed) = ("discount", self.discount, "above 0, at most 1");
            return Err(TaskError::Setting { task, key, value, needed });
        }
        let (found, needed) = (self.lengths.len(), self.masses.len());
        if found != needed {
            return Err(TaskError::Length { task, key: "lengths", found, needed });
        }
        // A spring of length 0 could hold a mass, but would leave a link without direction.
        match self.lengths.iter().find(|&&length| !(length.is_finite() && length > 0.0)) {
            Some(&value) => {
                let needed = "positive and finite in every entry";
                Err(TaskError::Setting { task, key: "lengths", value, needed })
            }
            None => Ok(()),
        }
    }
}

const NOT_NEGATIVE: &str = "finite and not negative";

/// Largest velocity of the handle, and what learners choose from where it is not limited [m/s].
pub(crate) const MAX_SPEED: f64 = 2.0;
