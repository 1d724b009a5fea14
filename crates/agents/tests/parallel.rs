//! Evaluation and roll-outs use the threads there are, and give equal bits with any number of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use agents::replay::{Batch, TransitionShape};
use agents::{
    Actor, Budget, Evaluation, LearnError, Learner, MeanPolicy, Policy, PpoLearner, PpoSettings,
    Sac, SacSettings, Squash, VectorEnvironment, evaluate, evaluate_from,
};
use critics::{Activation, Mlp, MlpSpec};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, Dynamics, DynamicsError, Linearization, Move, Plant,
    Scratch, Stream, Task,
};
use nalgebra::DVector;
use rayon::ThreadPoolBuilder;

const DT: f64 = 0.1;
/// The plant breaks beyond this position.
const WALL: f64 = 6.0;

/// A cart on a line with a wall: x = [p, v], v' = v + dt u + noise, p' = p + dt v'.
struct Cart {
    noise: f64,
    /// Sines per step, for a plant that takes its time.
    work: usize,
    meeting: Option<Meeting>,
}

impl Plant for Cart {
    type Workspace = ();
    fn name(&self) -> &str {
        "cart"
    }
    fn nx(&self) -> usize {
        2
    }
    fn nu(&self) -> usize {
        1
    }
    fn n_noise(&self) -> usize {
        usize::from(self.noise > 0.0)
    }
    fn workspace(&self) {}
    fn step(
        &self,
        ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.step_with_noise(ws, x, u, &[], x_next)
    }
    fn step_with_noise(
        &self,
        _ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        if let Some(meeting) = &self.meeting {
            meeting.attend();
        }
        let friction = (0..self.work).fold(x[1], |v, _| v.sin());
        let noise = noise.first().map_or(0.0, |xi| self.noise * xi);
        x_next[1] = x[1] + DT * (u[0] - 0.1 * friction) + noise;
        x_next[0] = x[0] + DT * x_next[1];
        if x_next[0] > WALL {
            x_next[0] = f64::NAN;
        }
        Ok(())
    }
}

impl Dynamics for Cart {
    fn linearize(
        &self,
        _ws: &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.copy_from_slice(&[1.0, 0.0, DT, 1.0]);
        out.fu.copy_from_slice(&[DT * DT, DT]);
        Ok(())
    }
}

/// Where threads wait until a second one has come, or for ten seconds altogether.
#[derive(Default)]
struct Meeting {
    state: Mutex<(Option<Instant>, HashSet<ThreadId>)>,
}

impl Meeting {
    fn attend(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            let began = *state.0.get_or_insert_with(Instant::now);
            state.1.insert(thread::current().id());
            if state.1.len() > 1 || began.elapsed() > Duration::from_secs(10) {
                return;
            }
            drop(state);
            thread::yield_now();
        }
    }

    fn n_threads(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }
}

/// r = 1 − p'² − 0.1 v'², starts in [−1, 1], episodes of 30 steps.
struct Parking {
    cart: Cart,
    bounds: ActionBounds,
}

impl Parking {
    fn new(noise: f64, work: usize, meeting: Option<Meeting>) -> Self {
        let cart = Cart { noise, work, meeting };
        Self { cart, bounds: ActionBounds::symmetric(1, 1.0) }
    }
}

impl Task for Parking {
    fn name(&self) -> &str {
        "parking"
    }
    fn plant(&self) -> &dyn AnyPlant {
        &self.cart
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        &self.cart
    }
    fn horizon(&self) -> usize {
        30
    }
    fn dt(&self) -> f64 {
        DT
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0[0] = stream.uniform(-1.0, 1.0);
        x0[1] = 0.0;
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        1.0 - m.x_next[0].powi(2) - 0.1 * m.x_next[1].powi(2)
    }
}

const POOLS: [usize; 4] = [1, 2, 3, 7];

fn in_pool<R: Send>(n_threads: usize, work: impl FnOnce() -> R + Send) -> R {
    ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap().install(work)
}

/// A network that nobody has trained.
fn policy(task: &dyn Task) -> MeanPolicy<'_> {
    let spec = MlpSpec { sizes: vec![2, 8, 1], hidden: Activation::Tanh };
    let mut stream = Stream::new(4, "test weights", 0);
    let params = (0..2 * 8 + 8 + 8 + 1).map(|_| stream.normal() as f32).collect();
    let net = Mlp::new(spec, params).unwrap();
    let actor = Actor::new(net, task.action_bounds().clone(), Squash::Tanh).unwrap();
    MeanPolicy::new(task, actor).unwrap()
}

fn bits(evaluation: &Evaluation) -> Vec<(u64, usize)> {
    evaluation.episodes.iter().map(|e| (e.total_reward.to_bits(), e.length)).collect()
}

fn stream() -> Stream {
    Stream::new(2, "test starts", 0)
}

fn state(p: f64, v: f64) -> DVector<f64> {
    DVector::from_vec(vec![p, v])
}

#[test]
fn an_evaluation_has_equal_bits_in_every_pool() {
    for noise in [0.0, 0.05] {
        let task = Parking::new(noise, 0, None);
        let [first, others @ ..] = POOLS.map(|n_threads| {
            in_pool(n_threads, || {
                let mut stream = stream();
                let whole = evaluate(&task, &mut policy(&task), 41, &mut stream).unwrap();
                let part = evaluate(&task, &mut policy(&task), 5, &mut stream).unwrap();
                (bits(&whole), bits(&part), stream.state())
            })
        });
        assert_eq!(first.0.len(), 41);
        assert_eq!(first.0.iter().collect::<HashSet<_>>().len(), 41, "episodes differ");
        for (other, n_threads) in others.into_iter().zip(&POOLS[1..]) {
            assert_eq!(other, first, "noise {noise}, {n_threads} threads");
        }
    }
}

#[test]
fn episodes_from_given_starts_are_those_of_an_evaluation_that_draws_them() {
    for noise in [0.0, 0.05] {
        let task = Parking::new(noise, 0, None);
        let drawn = evaluate(&task, &mut policy(&task), 9, &mut stream()).unwrap();
        let mut draw = stream();
        let mut starts = vec![state(0.0, 0.0); 9];
        starts.iter_mut().for_each(|x0| task.sample_x0(&mut draw, x0));
        let given = evaluate_from(&task, &mut policy(&task), &starts, &stream()).unwrap();
        assert_eq!(bits(&given), bits(&drawn));
    }
    let task = Parking::new(0.0, 0, None);
    let none = evaluate_from(&task, &mut policy(&task), &[], &stream()).unwrap();
    assert_eq!(none, Evaluation::default());
}

#[test]
fn every_episode_has_noise_of_its_own() {
    let starts = vec![state(0.3, -0.2); 3];
    let returns = |noise| {
        let task = Parking::new(noise, 0, None);
        let found = evaluate_from(&task, &mut policy(&task), &starts, &stream()).unwrap();
        bits(&found).into_iter().collect::<HashSet<_>>().len()
    };
    assert_eq!((returns(0.0), returns(0.05)), (1, 3));
}

#[test]
fn episodes_run_on_several_threads() {
    let task = Parking::new(0.0, 0, Some(Meeting::default()));
    in_pool(3, || evaluate(&task, &mut policy(&task), 4, &mut stream()).unwrap());
    let n_threads = task.cart.meeting.unwrap().n_threads();
    assert!((2..=3).contains(&n_threads), "{n_threads} threads");
}

/// Pushes harder with every episode it has seen.
#[derive(Default)]
struct Eager {
    episodes: f64,
}

impl Policy for Eager {
    fn reset(&mut self) {
        self.episodes += 1.0;
    }
    fn act(&mut self, _t: usize, _x: &DVector<f64>, u: &mut DVector<f64>) {
        u[0] = -0.1 * self.episodes;
    }
}

#[test]
fn a_policy_that_remembers_episodes_sees_them_in_order() {
    let task = Parking::new(0.0, 0, None);
    let [first, others @ ..] = POOLS.map(|n_threads| {
        in_pool(n_threads, || {
            let mut eager = Eager::default();
            let found = evaluate(&task, &mut eager, 6, &mut stream()).unwrap();
            (bits(&found), eager.episodes)
        })
    });
    assert_eq!(first.1, 6.0);
    assert!(others.iter().all(|other| *other == first));
}

/// Full speed towards the wall.
struct Push;

impl Policy for Push {
    fn act(&mut self, _t: usize, _x: &DVector<f64>, u: &mut DVector<f64>) {
        u[0] = 1.0;
    }
    fn fork(&self) -> Option<Box<dyn Policy + '_>> {
        Some(Box::new(Self))
    }
}

#[test]
fn of_several_errors_the_first_episode_s_is_told() {
    let task = Parking::new(0.0, 200, None);
    // Episodes 3, 5 and 8 meet the wall: the first of them last.
    let mut starts = vec![state(-9.0, 0.0); 12];
    for (episode, p) in [(3, 3.0), (5, 5.999), (8, 5.9)] {
        starts[episode][0] = p;
    }
    for n_threads in POOLS {
        let error = in_pool(n_threads, || evaluate_from(&task, &mut Push, &starts, &stream()));
        let error = error.unwrap_err();
        assert_eq!(error.episode, 3, "{n_threads} threads");
        assert_eq!(error.to_string(), "episode 3 of the evaluation failed");
        let DynamicsError::NotFinite { what, index, .. } = error.source else {
            panic!("{error:?}");
        };
        assert_eq!((what, index), ("x_next", 0));
    }
}

#[test]
fn starts_that_are_no_states_are_refused() {
    let task = Parking::new(0.0, 0, None);
    let refusal = |bad: DVector<f64>| {
        let starts = [state(0.0, 0.0), bad];
        let error = evaluate_from(&task, &mut policy(&task), &starts, &stream()).unwrap_err();
        assert_eq!(error.episode, 1);
        error.source
    };
    assert!(matches!(
        refusal(state(0.0, f64::NAN)),
        DynamicsError::NotFinite { what: "x", index: 1, value, .. } if value.is_nan()
    ));
    assert!(matches!(
        refusal(DVector::zeros(3)),
        DynamicsError::Dimension { what: "x", found: 3, needed: 2, .. }
    ));
}

#[test]
fn ppo_learns_equal_bits_in_every_pool_and_however_it_is_sliced() {
    for noise in [0.0, 0.05] {
        // Steps of this plant take long enough for other threads to join in.
        let task = Parking::new(noise, 4000, None);
        let settings = PpoSettings {
            rollout_steps: 25,
            n_envs: 4,
            minibatch: 32,
            epochs: 2,
            hidden: vec![8, 8],
            ..PpoSettings::default()
        };
        let learned = |n_threads: usize, slice: u64| {
            let (task, settings) = (&task, &settings);
            in_pool(n_threads, move || {
                let mut learner = PpoLearner::new(task, settings, 6).unwrap();
                let mut steps = 0;
                let mut ends = Vec::new();
                while steps < 330 {
                    let env_steps = slice.min(330 - steps);
                    let progress = learner.advance(Budget { env_steps }).unwrap();
                    steps = progress.env_steps;
                    let end = progress.episode.map(|e| (steps, e.total_reward.to_bits(), e.length));
                    ends.extend(end);
                }
                let metrics: Vec<u64> =
                    learner.take_metrics().into_iter().map(f64::to_bits).collect();
                (learner.networks().unwrap().to_bytes().unwrap(), metrics, ends)
            })
        };
        let expected = learned(1, 100);
        // Episodes of four environments end with four steps in a row.
        let ends: Vec<u64> = expected.2.iter().map(|(step, ..)| *step).collect();
        assert_eq!(ends, [117, 118, 119, 120, 237, 238, 239, 240]);
        for (n_threads, slice) in [(2, 100), (3, 1), (7, 7)] {
            assert!(learned(n_threads, slice) == expected, "{n_threads} threads, noise {noise}");
        }
    }
}

/// What the environments show and earn over 70 steps, stored and taken up again in between.
fn rolled_out(task: &Parking, n_rows: usize) -> Vec<u64> {
    const N: usize = 5;
    let new = || VectorEnvironment::new(task, 8, N).with_rows_per_task(n_rows);
    let (mut envs, mut o, mut seen) = (new(), [0.0_f32; 2 * N], Vec::new());
    for t in 0..70 {
        envs.observe(&mut o);
        seen.extend(o.iter().map(|o| u64::from(o.to_bits())));
        let u: Vec<f64> = (0..N).map(|row| (t as f64 * (row + 1) as f64).sin()).collect();
        envs.step(&u).unwrap();
        for row in 0..envs.n_envs() {
            let (outcome, episode) = (envs.outcome(row), envs.episode(row));
            assert_eq!(outcome.end.is_some(), (t + 1) % 30 == 0);
            assert_eq!(episode.length, t % 30 + 1);
            seen.extend([outcome.reward.to_bits(), episode.total_reward.to_bits()]);
        }
        if [12, 29].contains(&t) {
            let saved = envs.save();
            envs = new();
            envs.restore(&saved).unwrap();
        }
    }
    seen
}

#[test]
fn environments_side_by_side_give_equal_bits_however_they_are_shared_out() {
    for noise in [0.0, 0.05] {
        let task = Parking::new(noise, 0, None);
        let expected = in_pool(1, || rolled_out(&task, 1));
        // Every environment starts elsewhere.
        let starts: HashSet<_> = expected[..10].iter().step_by(2).collect();
        assert_eq!(starts.len(), 5);
        for (n_threads, n_rows) in [(2, 1), (3, 2), (7, 1), (3, usize::MAX)] {
            let found = in_pool(n_threads, || rolled_out(&task, n_rows));
            assert!(found == expected, "{n_threads} threads, {n_rows} rows, noise {noise}");
        }
    }
}

#[test]
fn environments_step_on_several_threads() {
    let task = Parking::new(0.0, 0, Some(Meeting::default()));
    let mut envs = VectorEnvironment::new(&task, 8, 4).with_rows_per_task(1);
    in_pool(2, || envs.step(&[0.0; 4])).unwrap();
    assert_eq!(task.cart.meeting.as_ref().unwrap().n_threads(), 2);
}

#[test]
fn of_several_environments_that_fail_the_first_is_told() {
    let task = Parking::new(0.0, 0, None);
    for n_threads in POOLS {
        let mut envs = VectorEnvironment::new(&task, 8, 6).with_rows_per_task(1);
        let error = in_pool(n_threads, || envs.step(&[0.0, 0.0, 900.0, 0.0, 900.0, 900.0]));
        let error = error.unwrap_err();
        assert_eq!(error.row, 2);
        assert!(matches!(error.source, DynamicsError::NotFinite { what: "x_next", .. }));
    }
    let saved = VectorEnvironment::new(&task, 8, 6).save();
    let error = VectorEnvironment::new(&task, 8, 5).restore(&saved).unwrap_err();
    assert!(matches!(error, LearnError::Mismatch { .. }), "{error}");
}

/// Networks after some updates on batches large enough for two threads.
fn updated(settings: SacSettings, n_threads: usize) -> Vec<Vec<f32>> {
    const N: usize = 256;
    let shape = TransitionShape { n_observations: 6, nu: 1, ndx: 6 };
    let hidden = vec![256, 256];
    let settings = SacSettings {
        actor_hidden: hidden.clone(),
        critic_hidden: hidden,
        batch_size: N,
        ..settings
    };
    let mut sac =
        Sac::<f32>::new(&settings, shape, 0.99, &ActionBounds::symmetric(1, 2.0), 0).unwrap();
    let mut s = Stream::new(0, "batch", 0);
    let mut numbers = |n: usize| (0..n * N).map(|_| s.normal() as f32).collect::<Vec<_>>();
    let batch = Batch {
        o: numbers(6),
        u: numbers(1),
        reward: numbers(1),
        o_next: numbers(6),
        mask: vec![1.0; N],
        jacobian: numbers(42),
        reward_gradient: numbers(7),
        observation_jacobian: Vec::new(),
    };
    let (next, now) = (numbers(1), numbers(1));
    let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    pool.install(|| {
        (0..21).for_each(|_| {
            sac.update(&batch, &next, &now);
        })
    });
    let critics = sac.critics.networks().map(|(_, net)| net.params().to_vec());
    critics.chain([sac.actor.net().params().to_vec()]).collect()
}

#[test]
fn updates_do_not_depend_on_threads() {
    for settings in [SacSettings::sac(), SacSettings::vg_sac()] {
        let alone = updated(settings.clone(), 1);
        assert!(alone.iter().flatten().all(|p| p.is_finite()));
        assert_eq!(alone, updated(settings, 2));
    }
}
