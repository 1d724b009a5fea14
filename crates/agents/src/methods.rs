//! Methods by name.

use std::path::Path;

use dynamics::Task;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::mbpo::{MbpoLearner, MbpoSettings};
use crate::svg::{Estimator, SvgSettings};
use crate::tracking::{Horizon, TrackingPolicy, TrackingSettings};
use crate::{
    BpttSettings, DvpLearner, DvpLearnerSettings, LearnError, Learner, PodsSettings,
    PolicySearchLearner, PpoLearner, PpoSettings, SacLearner, SacSettings, StoredPolicy,
    SvgLearner, Td3Learner, Td3Settings, TrackingLearner, ValuePlanner,
};

/// A learner at the start of a run, or why there is none.
pub type BoxedLearner<'a> = Result<Box<dyn Learner + 'a>, LearnError>;

/// A method of the registry.
#[derive(Clone, Copy)]
pub struct Method {
    /// Name on the command line.
    pub name: &'static str,
    /// How reports call it.
    pub label: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Its default settings as a table.
    pub settings: fn() -> Result<toml::Table, LearnError>,
    train: fn(&toml::Table) -> Result<TrainSettings, LearnError>,
    build: for<'a> fn(&'a dyn Task, &toml::Table, u64) -> BoxedLearner<'a>,
    load: for<'a> fn(&'a dyn Task, &toml::Table, &Path) -> Result<StoredPolicy<'a>, LearnError>,
}

impl Method {
    /// A learner at the start of a run on `task` with `seed`; `settings` has every key of
    /// [`Method::settings`].
    ///
    /// # Errors
    /// Settings that cannot be read or are out of range.
    pub fn build<'a>(
        &self,
        task: &'a dyn Task,
        settings: &toml::Table,
        seed: u64,
    ) -> BoxedLearner<'a> {
        (self.build)(task, settings, seed)
    }

    /// The training loop of a run that says nothing else, which may follow from `settings` of the
    /// method.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub fn train_settings(&self, settings: &toml::Table) -> Result<TrainSettings, LearnError> {
        (self.train)(settings)
    }

    /// Reads the policy that [`Learner::save_policy`] has written in a run with these settings.
    ///
    /// # Errors
    /// A file that is missing, damaged or does not fit task and settings.
    pub fn load_policy<'a>(
        &self,
        task: &'a dyn Task,
        settings: &toml::Table,
        path: &Path,
    ) -> Result<StoredPolicy<'a>, LearnError> {
        (self.load)(task, settings, path)
    }
}

/// A stochastic value gradient from its name, its label, its summary and what makes it different.
macro_rules! svg_method {
    ($name:literal, $label:literal, $summary:literal, $estimator:expr) => {
        Method {
            name: $name,
            label: $label,
            summary: $summary,
            settings: || to_table($name, &SvgSettings::of($estimator)),
            train: train_svg,
            build: build_svg,
            load: load_actor,
        }
    };
}

/// The tracking-feedback policy gradient from its name, its label, its summary and its horizon.
macro_rules! tracking_method {
    ($name:literal, $label:literal, $summary:literal, $horizon:expr) => {
        Method {
            name: $name,
            label: $label,
            summary: $summary,
            settings: || to_table($name, &TrackingSettings::of($horizon)),
            train: train_tracking,
            build: build_tracking,
            load: load_tracking,
        }
    };
}

const METHODS: [Method; 21] = [
    Method {
        name: "sac",
        label: "SAC",
        summary: "soft actor-critic with Stable-Baselines3's defaults, entropy weight learned",
        settings: || to_table("sac", &SacSettings::sac()),
        train: default_train,
        build: build_sac,
        load: load_actor,
    },
    Method {
        name: "vg-sac",
        label: "VG-SAC",
        summary: "soft actor-critic whose critics also learn the value gradient of the nominal model",
        settings: || to_table("vg-sac", &SacSettings::vg_sac()),
        train: default_train,
        build: build_sac,
        load: load_actor,
    },
    Method {
        name: "ddpg",
        label: "DDPG",
        summary: "deterministic policy gradient with replay, Stable-Baselines3's defaults",
        settings: || to_table("ddpg", &Td3Settings::ddpg()),
        train: default_train,
        build: build_td3,
        load: load_actor,
    },
    Method {
        name: "vg-ddpg",
        label: "VG-DDPG",
        summary: "DDPG whose critic also learns the value gradient of the nominal model",
        settings: || to_table("vg-ddpg", &Td3Settings::vg_ddpg()),
        train: default_train,
        build: build_td3,
        load: load_actor,
    },
    Method {
        name: "td3",
        label: "TD3",
        summary: "twin delayed deterministic policy gradient, Stable-Baselines3's defaults",
        settings: || to_table("td3", &Td3Settings::td3()),
        train: default_train,
        build: build_td3,
        load: load_actor,
    },
    Method {
        name: "ppo",
        label: "PPO",
        summary: "on-policy clipped policy gradient, Stable-Baselines3's defaults",
        settings: || to_table("ppo", &PpoSettings::default()),
        train: default_train,
        build: build_ppo,
        load: load_actor,
    },
    Method {
        name: "mbpo",
        label: "MBPO",
        summary: "soft actor-critic on short roll-outs of an ensemble of learned models",
        settings: || to_table("mbpo", &MbpoSettings::default()),
        train: default_train,
        build: build_mbpo,
        load: load_actor,
    },
    Method {
        name: "dvp",
        label: "DVP",
        summary: "a value learned from trajectory optimisation ends the plans of an MPC; \
                  needs an objective",
        settings: || to_table("dvp", &DvpLearnerSettings::default()),
        train: |settings| Ok(from_table::<DvpLearnerSettings>("method", settings)?.train_settings()),
        build: build_dvp,
        load: load_value,
    },
    Method {
        name: "pods",
        label: "PODS",
        summary: "roll-outs improved by steps of second order, then regression; needs an objective",
        settings: || to_table("pods", &PodsSettings::second_order()),
        train: train_pods,
        build: build_pods,
        load: load_actor,
    },
    Method {
        name: "pods-first-order",
        label: "PODS, 1st order",
        summary: "roll-outs improved by steps of first order, then regression; needs an objective",
        settings: || to_table("pods-first-order", &PodsSettings::first_order()),
        train: train_pods,
        build: build_pods,
        load: load_actor,
    },
    Method {
        name: "bptt",
        label: "BPTT",
        summary: "policy gradient through policy and nominal model; needs an objective",
        settings: || to_table("bptt", &BpttSettings::default()),
        train: |settings| Ok(from_table::<BpttSettings>("method", settings)?.train_settings()),
        build: build_bptt,
        load: load_actor,
    },
    svg_method!(
        "svg-inf",
        "SVG(∞)",
        "value gradient back along the observed episode, through a learned model",
        Estimator::Infinite
    ),
    svg_method!(
        "svg-planner",
        "planner",
        "the same along an episode that the model imagines",
        Estimator::Planner
    ),
    svg_method!(
        "svg-1",
        "SVG(1)",
        "one step of a learned model and a value function, on the episode under way",
        Estimator::One
    ),
    svg_method!(
        "svg-1-er",
        "SVG(1)-ER",
        "the same on remembered transitions with importance weights",
        Estimator::OneReplay
    ),
    svg_method!("svg-k", "SVG(k)-ER", "k remembered steps and a value function", Estimator::Steps),
    svg_method!(
        "svg-0",
        "SVG(0)",
        "through a critic Q, the noise of actions drawn anew; no model",
        Estimator::Zero
    ),
    svg_method!(
        "dpg",
        "DPG",
        "deterministic policy gradient as SVG(0) without noise",
        Estimator::Deterministic
    ),
    svg_method!(
        "ac",
        "AC",
        "actor-critic: TD error times the gradient of the log-density",
        Estimator::ActorCritic
    ),
    tracking_method!(
        "tracking",
        "tracking feedback",
        "the model's derivatives along real trajectories, through a controller; needs a tracker",
        Horizon::Full
    ),
    tracking_method!(
        "tracking-cut",
        "tracking feedback, cut",
        "the same with costates that end at the decisions, as released; needs a tracker",
        Horizon::Segment
    ),
];

fn default_train(_settings: &toml::Table) -> Result<TrainSettings, LearnError> {
    Ok(TrainSettings::default())
}

fn train_pods(settings: &toml::Table) -> Result<TrainSettings, LearnError> {
    Ok(from_table::<PodsSettings>("method", settings)?.train_settings())
}

fn build_sac<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(SacLearner::new(task, &from_table("method", settings)?, seed)?))
}

fn build_mbpo<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(MbpoLearner::new(task, &from_table("method", settings)?, seed)?))
}

fn build_td3<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(Td3Learner::new(task, &from_table("method", settings)?, seed)?))
}

fn build_ppo<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(PpoLearner::new(task, &from_table("method", settings)?, seed)?))
}

fn build_dvp<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(DvpLearner::new(task, &from_table("method", settings)?, seed)?))
}

fn build_pods<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    let settings = from_table("method", settings)?;
    Ok(Box::new(PolicySearchLearner::pods(task, &settings, seed)?))
}

fn build_bptt<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    let settings = from_table("method", settings)?;
    Ok(Box::new(PolicySearchLearner::bptt(task, &settings, seed)?))
}

/// Evaluations every five episodes: episodes are long.
fn train_svg(_settings: &toml::Table) -> Result<TrainSettings, LearnError> {
    Ok(TrainSettings {
        evaluate_every_episodes: 5,
        evaluation_episodes: 32,
        ..TrainSettings::default()
    })
}

fn build_svg<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(SvgLearner::new(task, &from_table("method", settings)?, seed)?))
}

fn train_tracking(settings: &toml::Table) -> Result<TrainSettings, LearnError> {
    Ok(from_table::<TrackingSettings>("method", settings)?.train_settings())
}

fn build_tracking<'a>(task: &'a dyn Task, settings: &toml::Table, seed: u64) -> BoxedLearner<'a> {
    Ok(Box::new(TrackingLearner::new(task, &from_table("method", settings)?, seed)?))
}

fn load_tracking<'a>(
    task: &'a dyn Task,
    _settings: &toml::Table,
    path: &Path,
) -> Result<StoredPolicy<'a>, LearnError> {
    Ok(StoredPolicy::Tracking(TrackingPolicy::load(task, path)?))
}

fn load_actor<'a>(
    task: &'a dyn Task,
    _settings: &toml::Table,
    path: &Path,
) -> Result<StoredPolicy<'a>, LearnError> {
    StoredPolicy::actor(task, path)
}

fn load_value<'a>(
    task: &'a dyn Task,
    settings: &toml::Table,
    path: &Path,
) -> Result<StoredPolicy<'a>, LearnError> {
    let planner = ValuePlanner::load(task, &from_table("method", settings)?, path)?;
    Ok(StoredPolicy::Value(Box::new(planner)))
}

/// All methods.
#[must_use]
pub fn methods() -> &'static [Method] {
    &METHODS
}

/// The method of the given name.
///
/// # Errors
/// [`LearnError::UnknownMethod`], which lists the names there are.
pub fn find_method(name: &str) -> Result<&'static Method, LearnError> {
    METHODS.iter().find(|method| method.name == name).ok_or_else(|| LearnError::UnknownMethod {
        name: name.to_owned(),
        valid: METHODS.iter().map(|method| method.name).collect(),
    })
}

/// Settings as a table.
///
/// # Errors
/// A value that has no place in TOML.
pub fn to_table(what: &str, settings: &impl Serialize) -> Result<toml::Table, LearnError> {
    toml::Table::try_from(settings)
        .map_err(|error| LearnError::Settings { what: what.to_owned(), reason: error.to_string() })
}

/// Settings from a table that has all their keys.
///
/// # Errors
/// A key that is missing or unknown, or a value of another type.
pub fn from_table<T: DeserializeOwned>(what: &str, table: &toml::Table) -> Result<T, LearnError> {
    T::deserialize(table.clone())
        .map_err(|error| LearnError::Settings { what: what.to_owned(), reason: error.to_string() })
}

/// How long to train and how often to look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Environment steps of the run.
    pub total_steps: u64,
    /// Evaluate after episodes 1, 1 + n, 1 + 2n, …
    pub evaluate_every_episodes: u64,
    /// Episodes per evaluation.
    pub evaluation_episodes: usize,
    /// Every evaluation has the same starts, those of seed 0, whatever the run's seed and method: what
    /// papers call a fixed set of unseen starts. Otherwise each evaluation draws its own.
    pub common_starts: bool,
    /// Environment steps between two checkpoints.
    pub checkpoint_every_steps: u64,
    /// Stop once the best evaluation is older than this many episodes; 0 never stops early.
    pub patience_episodes: u64,
    /// Keep the networks of the best evaluation in the place of the last.
    pub keep_best: bool,
}

impl Default for TrainSettings {
    /// VG-SAC's released evaluation: 40 episodes after episodes 1, 41, 81, …
    fn default() -> Self {
        Self {
            total_steps: 150_000,
            evaluate_every_episodes: 40,
            evaluation_episodes: 40,
            common_starts: false,
            checkpoint_every_steps: 5_000,
            patience_episodes: 0,
            keep_best: false,
        }
    }
}

impl TrainSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LearnError::Setting`] for a number that must not be 0.
    pub fn check(&self) -> Result<(), LearnError> {
        for (key, value) in [
            ("train.total_steps", self.total_steps),
            ("train.evaluate_every_episodes", self.evaluate_every_episodes),
            ("train.evaluation_episodes", self.evaluation_episodes as u64),
            ("train.checkpoint_every_steps", self.checkpoint_every_steps),
        ] {
            if value == 0 {
                return Err(LearnError::Setting {
                    key,
                    value: "0".to_owned(),
                    needed: "at least 1",
                });
            }
        }
        Ok(())
    }
}
