//! DVP in the training loop: what comes out, one seed gives one result however the run is cut into
//! pieces, and what is refused.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agents::dvp::{DvpSettings, DvpTerminalCost};
use agents::{
    DvpLearner, DvpLearnerSettings, Evaluation, LearnError, Learner, Observer, Outcome, Policy,
    Progress, Silent, Timing, TrainSettings, ValuePlanner, evaluate_from, find_method,
    load_networks, train,
};
use bench_tasks::{BenchTask, Preset, Variant};
use common::PointMass;
use dynamics::{Stream, Task};
use nalgebra::DVector;
use rayon::ThreadPoolBuilder;
use tempfile::tempdir;

const FILES: [&str; 5] =
    ["networks.safetensors", "policy.safetensors", "curve.csv", "result.json", "rollout.json"];

fn task(name: &str, set: &[(&str, toml::Value)]) -> Box<dyn BenchTask> {
    let entry = bench_tasks::find(name).unwrap();
    let mut table = (entry.settings)(Preset::Released).unwrap();
    for (key, value) in set {
        table.insert((*key).to_owned(), value.clone());
    }
    (entry.build)(Variant::Real, &table).unwrap()
}

fn settings(warm_start: bool) -> DvpLearnerSettings {
    let defaults = DvpLearnerSettings::default();
    let values = DvpSettings {
        samples: 8,
        horizon: 12,
        hidden: vec![8, 8],
        iterations: 5,
        warm_start,
        ..defaults.values
    };
    DvpLearnerSettings { values, plan_horizon: 5, plan_iterations: 2, ..defaults }
}

fn short(settings: &DvpLearnerSettings) -> TrainSettings {
    TrainSettings { evaluation_episodes: 3, ..settings.train_settings() }
}

/// Sets the flag after every part of learning.
struct StopAlways<'a>(&'a AtomicBool);

impl Observer for StopAlways<'_> {
    fn progress(&mut self, _progress: &Progress, _timing: &Timing) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Trains in `dir` on so many threads, in one go or with a new learner after each iteration.
fn run(dir: &Path, settings: &DvpLearnerSettings, threads: usize, in_pieces: bool) {
    let task = task("unicycle", &[]);
    let task = task.as_task();
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut pieces = 0;
    loop {
        let stop = AtomicBool::new(false);
        let mut learner = DvpLearner::new(task, settings, 3).unwrap();
        let mut stopping = StopAlways(&stop);
        let observer: &mut (dyn Observer + Send) =
            if in_pieces { &mut stopping } else { &mut Silent };
        let loop_settings = short(settings);
        let outcome =
            pool.install(|| train(task, &mut learner, &loop_settings, 3, dir, observer, &stop));
        pieces += 1;
        if outcome.unwrap() == Outcome::Complete {
            break;
        }
    }
    assert_eq!(pieces, if in_pieces { 5 } else { 1 });
}

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    for name in FILES {
        assert!(fs::read(a.join(name)).unwrap() == fs::read(b.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn pieces_and_threads_leave_the_bits_as_they_are() {
    for warm_start in [false, true] {
        let settings = settings(warm_start);
        let [whole, pieces, threads] = [(1, false), (1, true), (3, false)].map(|(n, in_pieces)| {
            let dir = tempdir().unwrap();
            run(dir.path(), &settings, n, in_pieces);
            dir
        });
        assert_same(whole.path(), pieces.path());
        assert_same(whole.path(), threads.path());
        let result = fs::read_to_string(whole.path().join("result.json")).unwrap();
        // 5 iterations of 8 × 12 nodes.
        assert!(result.contains("\"env_steps\": 480") && result.contains("\"episodes\": 5"));
    }
}

#[test]
fn a_stored_value_plans_as_the_learner_did_and_starts_another_run() {
    let settings = settings(false);
    let dir = tempdir().unwrap();
    run(dir.path(), &settings, 1, false);
    let task = task("unicycle", &[]);
    let task = task.as_task();
    let method = find_method("dvp").unwrap();
    let table = agents::to_table("dvp", &settings).unwrap();
    let networks = load_networks(dir.path()).unwrap();
    let mut learner = DvpLearner::new(task, &settings, 9).unwrap();
    learner.start_from(&networks).unwrap();
    let stored = method.load_policy(task, &table, &dir.path().join("policy.safetensors")).unwrap();
    let act = |policy: &mut dyn Policy| {
        let mut u = DVector::zeros(2);
        policy.act(0, &DVector::from_vec(vec![-0.5, 0.3, 1.0]), &mut u);
        u
    };
    let expected = act(&mut *learner.policy().unwrap());
    assert_eq!(act(&mut *stored.policy().unwrap()), expected);
    // A plain learner has no value yet.
    let mut fresh = DvpLearner::new(task, &settings, 9).unwrap();
    assert_ne!(act(&mut *fresh.policy().unwrap()), expected);
    // What was learned before counts in the first solves.
    let once = |learner: &mut DvpLearner<'_>| {
        let progress = learner.advance(agents::Budget { env_steps: 1 }).unwrap();
        assert_eq!((progress.env_steps, progress.episodes), (96, 1));
        progress.episode.unwrap().total_reward
    };
    assert!(once(&mut learner) < once(&mut fresh));

    let wide = DvpLearnerSettings {
        values: DvpSettings { hidden: vec![8, 9], ..settings.values.clone() },
        ..settings
    };
    let mut other = DvpLearner::new(task, &wide, 9).unwrap();
    let message = other.start_from(&networks).unwrap_err().to_string();
    assert!(message.contains("the value network"), "{message}");
}

fn costs(task: &dyn Task, planner: &ValuePlanner<'_>, starts: &[DVector<f64>]) -> Evaluation {
    let mut policy = planner.policy().unwrap();
    evaluate_from(task, &mut policy, starts, &Stream::new(1, "test", 0)).unwrap()
}

#[test]
fn a_learned_value_makes_short_plans_better() {
    let task = task("pendulum-ddp", &[("u_max", vec![10.0].into())]);
    let task = task.as_task();
    let defaults = DvpLearnerSettings::default();
    let values = DvpSettings { samples: 40, horizon: 50, hidden: vec![32; 2], ..defaults.values };
    let settings = DvpLearnerSettings { values, plan_horizon: 5, ..defaults };
    let mut learner = DvpLearner::new(task, &settings, 0).unwrap();
    for _ in 0..2 {
        learner.advance(agents::Budget { env_steps: 1 }).unwrap();
    }
    let dir = tempdir().unwrap();
    let path = dir.path().join("policy.safetensors");
    learner.save_policy(&path).unwrap();
    let blind = DvpTerminalCost::Constant { ndx: 2, value: 0.0 };
    let blind = ValuePlanner::new(task, blind, &settings).unwrap();
    let planner = ValuePlanner::load(task, &settings, &path).unwrap();
    let mut stream = Stream::new(2, "test starts", 0);
    let starts: Vec<_> = (0..10)
        .map(|_| {
            let mut x0 = DVector::zeros(2);
            task.sample_x0(&mut stream, &mut x0);
            x0
        })
        .collect();
    let [with_value, without] = [&planner, &blind].map(|p| costs(task, p, &starts).mean_return());
    assert!(with_value > 0.5 * without, "{with_value} and {without}");
}

#[test]
fn actions_stay_within_the_bounds_and_repeat_after_a_reset() {
    let task = task("pendulum-ddp", &[]);
    let task = task.as_task();
    let mut learner = DvpLearner::new(task, &settings(false), 0).unwrap();
    learner.advance(agents::Budget { env_steps: 1 }).unwrap();
    let mut policy = learner.policy().unwrap();
    let mut u = DVector::zeros(1);
    let mut actions = |policy: &mut dyn Policy| {
        policy.reset();
        let mut stream = Stream::new(4, "states", 0);
        let mut largest = 0.0_f64;
        let list: Vec<f64> = (0..30)
            .map(|t| {
                let x = DVector::from_fn(2, |_, _| stream.uniform(-8.0, 8.0));
                policy.act(t, &x, &mut u);
                largest = largest.max(u[0].abs());
                u[0]
            })
            .collect();
        assert!((1.9..=2.0).contains(&largest), "{largest}");
        // No plan begins where nothing is finite.
        policy.act(30, &DVector::from_element(2, f64::NAN), &mut u);
        assert_eq!(u[0], 0.0);
        list
    };
    let first = actions(&mut *policy);
    assert_eq!(actions(&mut *policy), first);
    assert_eq!(actions(&mut *policy.fork().unwrap()), first);
}

#[test]
fn later_costs_and_the_value_are_discounted_by_task_and_method() {
    // The discount of the cartpole of VG-SAC is its own.
    let task = task("cartpole", &[]);
    let task = task.as_task();
    assert!(task.discount() < 1.0);
    let cost = |discount: f64, first_bias: f64| {
        let mut settings = settings(false);
        settings.values = DvpSettings { discount, first_bias, iterations: 1, ..settings.values };
        settings.task_terminal = false;
        let mut learner = DvpLearner::new(task, &settings, 0).unwrap();
        let progress = learner.advance(agents::Budget { env_steps: 1 }).unwrap();
        -progress.episode.unwrap().total_reward
    };
    for discount in [1.0, 0.9] {
        let found = cost(discount, 1.0) - cost(discount, 0.0);
        assert!((found - (discount * task.discount()).powi(12)).abs() < 1e-9, "{found}");
    }
}

#[test]
fn tasks_and_settings_that_do_not_fit_are_refused() {
    let refusal = |outcome: Result<DvpLearner<'_>, LearnError>| outcome.err().unwrap();
    let mass = PointMass::new();
    let error = refusal(DvpLearner::new(&mass, &settings(false), 0));
    assert!(matches!(error, LearnError::Unfit { method: "dvp", .. }), "{error}");
    let task = task("unicycle", &[]);
    for (key, change) in [
        ("method.plan_horizon", (|s| s.plan_horizon = 0) as fn(&mut DvpLearnerSettings)),
        ("method.plan_iterations", |s| s.plan_iterations = 0),
        ("method.fit.epochs", |s| s.values.fit.epochs = 0),
        ("method.fit.batch", |s| s.values.fit.batch = Some(0)),
        ("method.learning_rate", |s| s.values.learning_rate = -1.0),
        ("method.samples", |s| s.values.samples = 0),
    ] {
        let mut settings = settings(false);
        change(&mut settings);
        let message = refusal(DvpLearner::new(task.as_task(), &settings, 0)).to_string();
        assert!(message.starts_with(&format!("`{key}` is ")), "{message}");
    }
}
