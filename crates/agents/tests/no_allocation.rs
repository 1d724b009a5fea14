//! Neither an update nor a learner's step allocates once it is under way, whatever the method; the
//! replay memory alone grows, as it fills.
//!
//! One test, so that every block that the process takes belongs to what is measured, on whichever
//! thread.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use agents::replay::{Batch, TransitionShape};
use agents::svg::{CriticSettings, Estimator, ModelSettings, SvgSettings};
use agents::{
    Budget, GradientTarget, Learner, Ppo, PpoBatch, PpoLearner, PpoNetworks, PpoSettings, Sac,
    SacLearner, SacSettings, SvgLearner, Td3, Td3Learner, Td3Settings, ValueGradientSettings,
};
use common::PointMass;
use critics::{Activation, Mlp, MlpSpec};
use dynamics::{
    ActionBounds, AnyDynamics, AnyPlant, DerivativeKind, Dynamics, DynamicsError, JacobianSource,
    Linearization, Move, Observation, ObservationJacobian, Plant, RewardGradient, Scratch, Stream,
    Task,
};
use nalgebra::{DMatrix, DVector};
use rayon::ThreadPoolBuilder;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator. A vector that grows comes
// here as well: what the trait provides for it takes a new block and gives the old one back.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Memory that a piece of work took.
#[derive(Debug, PartialEq)]
struct Taken {
    blocks: usize,
    /// Bytes that it did not give back.
    kept: isize,
}

const NOTHING: Taken = Taken { blocks: 0, kept: 0 };

fn measured<R>(work: impl FnOnce() -> R) -> (Taken, R) {
    let (blocks, bytes) = (BLOCKS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let result = work();
    let blocks = BLOCKS.load(Ordering::Relaxed) - blocks;
    (Taken { blocks, kept: BYTES.load(Ordering::Relaxed) - bytes }, result)
}

/// Waits until threads that have just started, the harness's among them, have what they need.
fn settle() {
    while measured(|| sleep(Duration::from_millis(50))).0 != NOTHING {}
}

fn the_counter_counts() {
    settle();
    let (taken, block) = measured(|| black_box(vec![1_u8; 100]));
    assert_eq!(taken, Taken { blocks: 1, kept: 100 });
    assert_eq!(measured(|| drop(black_box(block))).0, Taken { blocks: 0, kept: -100 });
    let grown = || black_box(vec![0_u64; 3]).extend_from_slice(black_box(&[1; 3]));
    assert_eq!(measured(grown).0, Taken { blocks: 2, kept: 0 });
    let elsewhere = || std::thread::spawn(|| black_box(vec![1_u8; 1000])).join().unwrap();
    let (taken, _block) = measured(elsewhere);
    assert!(taken.blocks > 1 && taken.kept >= 1000, "another thread's blocks: {taken:?}");
}

/// What an update reports: its loss, and κ_s and κ_a of the critics.
type Report = (f64, [f64; 2]);

/// Measures `n` updates after a few, which must learn and weigh their losses anew as often as
/// expected.
fn measure_updates(name: &str, n: usize, mut update: impl FnMut() -> Report, new_weights: usize) {
    for _ in 0..5 {
        update();
    }
    let (taken, (weighed, moved)) = measured(|| {
        let mut before = update();
        let (mut weighed, mut moved) = (0, 0);
        for _ in 1..n {
            let now = update();
            assert!(now.0.is_finite());
            weighed += usize::from(now.1 != before.1);
            moved += usize::from(now.0 != before.0);
            before = now;
        }
        (weighed, moved)
    });
    assert_eq!(taken, NOTHING, "{name}");
    assert_eq!(weighed, new_weights, "{name}: recomputations of κ");
    assert!(10 * moved > 9 * n, "{name}: {moved} updates of {n} changed the loss");
}

const BATCH: usize = 16;
/// The observation is not the state.
const SHAPE: TransitionShape = TransitionShape { n_observations: 5, nu: 2, ndx: 4 };
const GAMMA: f64 = 0.99;

fn numbers(n: usize, index: u64) -> Vec<f32> {
    let mut stream = Stream::new(0, "test numbers", index);
    (0..n).map(|_| stream.normal() as f32).collect()
}

/// A batch of `n` with everything that any method asks for.
fn batch(n: usize) -> Batch<f32> {
    let TransitionShape { n_observations: no, nu, ndx } = SHAPE;
    let mut mask = vec![1.0; n];
    mask[3] = 0.0;
    Batch {
        o: numbers(no * n, 0),
        u: numbers(nu * n, 1),
        reward: numbers(n, 2),
        o_next: numbers(no * n, 3),
        mask,
        jacobian: numbers(no * (ndx + nu) * n, 4),
        reward_gradient: numbers((ndx + nu) * n, 5),
        observation_jacobian: numbers(no * ndx * n, 6),
    }
}

/// Updates on one batch; PPO's, whose last minibatch is shorter, on two in turn.
fn updates_allocate_nothing() {
    let bounds = ActionBounds::symmetric(SHAPE.nu, 2.0);
    let (batch, noise) = (batch(BATCH), [7, 8].map(|index| numbers(SHAPE.nu * BATCH, index)));
    let paper =
        ValueGradientSettings { target: GradientTarget::Paper, ..ValueGradientSettings::default() };
    // κ changes after every 20th update from the sixth to the 1,005th.
    for (name, settings, new_weights) in [
        ("SAC, entropy weight learned", SacSettings::sac(), 0),
        ("SAC as VG-SAC's baseline", SacSettings::paired_sac(), 0),
        ("VG-SAC", SacSettings::vg_sac(), 50),
        (
            "VG-SAC, the paper's target",
            SacSettings { value_gradient: Some(paper.clone()), ..SacSettings::vg_sac() },
            50,
        ),
    ] {
        let mut sac = Sac::new(&sized(settings), SHAPE, GAMMA, &bounds, 0).unwrap();
        let update = || {
            let report = sac.update(&batch, &noise[0], &noise[1]);
            (report.critics.critic_loss, report.critics.kappa)
        };
        measure_updates(name, 1000, update, new_weights);
    }
    for (name, settings, new_weights) in [
        ("DDPG", Td3Settings::ddpg(), 0),
        ("TD3", Td3Settings::td3(), 0),
        ("VG-DDPG", Td3Settings::vg_ddpg(), 50),
        (
            "VG-TD3, the paper's target",
            Td3Settings { n_critics: 2, value_gradient: Some(paper), ..Td3Settings::vg_ddpg() },
            50,
        ),
    ] {
        let mut td3 = Td3::new(&sized_td3(settings), SHAPE, GAMMA, &bounds, 0).unwrap();
        let update = || {
            let report = td3.update(&batch, &noise[0]);
            (report.critics.critic_loss, report.critics.kappa)
        };
        measure_updates(name, 1000, update, new_weights);
    }
    let settings = sized_ppo();
    let networks = PpoNetworks::new(&settings, SHAPE.n_observations, SHAPE.nu, 0).unwrap();
    let mut ppo = Ppo::<f32>::new(&settings, networks);
    let batches = [BATCH, BATCH / 2].map(|n| PpoBatch {
        o: numbers(SHAPE.n_observations * n, 9),
        u: numbers(SHAPE.nu * n, 10),
        log_prob: vec![-2.0; n],
        advantages: numbers(n, 11).into_iter().map(f64::from).collect(),
        returns: numbers(n, 12).into_iter().map(f64::from).collect(),
    });
    let mut turn = batches.iter().cycle();
    let update = || (ppo.update(turn.next().unwrap()).unwrap().loss, [0.0; 2]);
    measure_updates("PPO", 1000, update, 0);
}

fn sized(settings: SacSettings) -> SacSettings {
    SacSettings {
        actor_hidden: vec![8, 8],
        critic_hidden: vec![8, 8],
        batch_size: BATCH,
        replay_capacity: 50,
        random_steps: 40,
        update_after: 20,
        ..settings
    }
}

fn sized_td3(settings: Td3Settings) -> Td3Settings {
    Td3Settings {
        actor_hidden: vec![8, 8],
        critic_hidden: vec![8, 8],
        batch_size: BATCH,
        replay_capacity: 50,
        random_steps: 40,
        update_after: 20,
        exploration_noise: 0.1,
        ..settings
    }
}

const ESTIMATORS: [Estimator; 8] = [
    Estimator::Infinite,
    Estimator::Planner,
    Estimator::One,
    Estimator::OneReplay,
    Estimator::Steps,
    Estimator::Zero,
    Estimator::Deterministic,
    Estimator::ActorCritic,
];

fn sized_svg(estimator: Estimator) -> SvgSettings {
    let settings = SvgSettings::of(estimator);
    SvgSettings {
        hidden: vec![8, 8],
        minibatch: BATCH,
        replay_capacity: 50,
        model: settings.model.map(|model| ModelSettings {
            hidden: vec![5, 5],
            updates: 2,
            ..model
        }),
        critic: settings.critic.map(|critic| CriticSettings { hidden: vec![8, 8], ..critic }),
        ..settings
    }
}

fn sized_ppo() -> PpoSettings {
    PpoSettings {
        rollout_steps: 20,
        n_envs: 2,
        minibatch: BATCH,
        epochs: 2,
        hidden: vec![8, 8],
        ..PpoSettings::default()
    }
}

/// Steps after which memories of 50 transitions are full and every method has learned.
const WARM: u64 = 120;

/// Advances to environment step `until` and returns the updates done by then.
fn advance(learner: &mut dyn Learner, until: u64) -> u64 {
    loop {
        let progress = learner.advance(Budget { env_steps: 1 }).unwrap();
        if progress.env_steps >= until {
            return progress.updates;
        }
    }
}

/// What 1,000 steps of a learner take after [`WARM`] of them; it must do `updates` meanwhile.
fn measure_steps(learner: &mut dyn Learner, updates: u64) -> Taken {
    let before = advance(learner, WARM);
    let (taken, after) = measured(|| advance(learner, WARM + 1000));
    assert_eq!(after - before, updates, "updates of {}", learner.method());
    taken
}

/// Whole steps: acting, the plant, its derivatives, memory or roll-out, updates and ends of
/// episodes.
fn steps_allocate_nothing(task: &dyn Task) {
    let differences = ValueGradientSettings {
        jacobians: JacobianSource::FiniteDifference,
        ..ValueGradientSettings::default()
    };
    let check = |name: &str, learner: &mut dyn Learner, source: Option<JacobianSource>| {
        let mut taken = measure_steps(learner, 1000);
        let by_differences = DerivativeKind::FiniteDifference;
        if source == Some(JacobianSource::FiniteDifference)
            || source.is_some() && task.reward_derivative_kind() == by_differences
        {
            // Central differences of a reward copy the three vectors that they move, at every
            // transition that does not terminate its episode.
            assert!((2500..=3000).contains(&taken.blocks), "{name} on {}: {taken:?}", task.name());
            taken.blocks = 0;
        }
        assert_eq!(taken, NOTHING, "{name} on {}", task.name());
    };
    for (name, settings) in [
        ("SAC, entropy weight learned", SacSettings::sac()),
        ("SAC as VG-SAC's baseline", SacSettings::paired_sac()),
        ("VG-SAC", SacSettings::vg_sac()),
        (
            "VG-SAC by differences",
            SacSettings { value_gradient: Some(differences), ..SacSettings::vg_sac() },
        ),
    ] {
        let source = settings.value_gradient.as_ref().map(|vg| vg.jacobians);
        for random_steps in [40, 10_000] {
            let settings = SacSettings { random_steps, ..sized(settings.clone()) };
            let mut learner = SacLearner::new(task, &settings, 0).unwrap();
            check(&format!("{name}, {random_steps} random steps"), &mut learner, source);
        }
    }
    for settings in [Td3Settings::ddpg(), Td3Settings::td3(), Td3Settings::vg_ddpg()] {
        let source = settings.value_gradient.as_ref().map(|vg| vg.jacobians);
        let mut learner = Td3Learner::new(task, &sized_td3(settings), 0).unwrap();
        check(learner.method(), &mut learner, source);
    }
    // Differences of a reward copy vectors, see above.
    let analytic = task.reward_derivative_kind() == DerivativeKind::Analytic;
    for estimator in ESTIMATORS.into_iter().filter(|_| analytic) {
        let mut learner = SvgLearner::new(task, &sized_svg(estimator), 0).unwrap();
        let per_episode = match estimator {
            Estimator::Infinite | Estimator::Planner => 1,
            // Once the episode under way has a minibatch.
            Estimator::One | Estimator::ActorCritic => task.horizon() + 1 - BATCH,
            _ => task.horizon(),
        };
        let before = advance(&mut learner, WARM);
        let episodes = 1000 / task.horizon();
        let until = WARM + (episodes * task.horizon()) as u64;
        let (taken, after) = measured(|| advance(&mut learner, until));
        assert_eq!(after - before, (episodes * per_episode) as u64, "{}", estimator.name());
        assert_eq!(taken, NOTHING, "{} on {}", estimator.name(), task.name());
    }
    // 40 transitions of two environments, learned from twice in batches of 16, 16 and 8.
    let mut learner = PpoLearner::new(task, &sized_ppo(), 0).unwrap();
    assert_eq!(measure_steps(&mut learner, 1000 / 40 * 6), NOTHING, "ppo on {}", task.name());
}

/// A memory that is not full takes what two vectors take that grow by a record, or a mark, at a
/// time.
fn a_growing_memory_takes_the_blocks_of_its_records_alone() {
    let task = Six::new();
    // [o, u, reward, o', mask], then A, ρ and ∂o/∂x.
    for (settings, width) in
        [(SacSettings::sac(), 8 + 8 + 4), (SacSettings::vg_sac(), 20 + 64 + 8 + 48)]
    {
        let settings = SacSettings { replay_capacity: 10_000, ..sized(settings) };
        let mut learner = SacLearner::new(&task, &settings, 0).unwrap();
        let taken = measure_steps(&mut learner, 1000);
        let (mut records, mut marks) = (Vec::<f32>::new(), Vec::<u64>::new());
        let mut grow = |until| {
            for n in marks.len() + 1..=until {
                records.resize(n * width, 0.0);
                marks.resize(n, 0);
            }
        };
        grow(WARM as usize);
        let (expected, ()) = measured(|| grow(WARM as usize + 1000));
        assert!(expected.blocks > 4 && expected.kept > 0, "{expected:?}");
        assert_eq!(taken, expected, "records of {width} numbers");
    }
}

/// Critics that are worth a thread each, and environments side by side, on two threads.
fn a_second_thread_allocates_nothing() {
    let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let (n, hidden) = (256, 256);
    // Either thread may come to any product of the critics; each keeps what it packs into.
    pool.broadcast(|_| products_of_a_critic(n, hidden));
    settle();
    pool.install(|| {
        let settings = SacSettings {
            critic_hidden: vec![hidden; 2],
            batch_size: n,
            ..sized(SacSettings::vg_sac())
        };
        let bounds = ActionBounds::symmetric(SHAPE.nu, 2.0);
        let mut sac = Sac::new(&settings, SHAPE, GAMMA, &bounds, 0).unwrap();
        let (batch, noise) = (batch(n), numbers(SHAPE.nu * n, 7));
        let update = || {
            let report = sac.update(&batch, &noise, &noise);
            (report.critics.critic_loss, report.critics.kappa)
        };
        measure_updates("VG-SAC on two threads", 40, update, 2);
        let task = Six::new();
        let mut learner = PpoLearner::new(&task, &sized_ppo(), 0).unwrap();
        assert_eq!(measure_steps(&mut learner, 1000 / 40 * 6), NOTHING, "ppo on two threads");
    });
}

/// Every pass of a critic with two hidden layers over `n` samples.
fn products_of_a_critic(n: usize, hidden: usize) {
    let n_in = SHAPE.n_observations + SHAPE.nu;
    let spec = MlpSpec { sizes: vec![n_in, hidden, hidden, 1], hidden: Activation::Tanh };
    let net = Mlp::<f32>::xavier(spec, &[], &mut Stream::new(0, "weights", 0)).unwrap();
    let (mut ws, mut grads) = (net.workspace(n), vec![0.0; net.params().len()]);
    let (x, mut gx, ones) = (numbers(n_in * n, 0), vec![0.0; n_in * n], vec![1.0; n]);
    net.forward(&x, &mut ws);
    net.backward(&ones, &mut ws, &mut grads, None);
    net.input_gradient(&ones, &mut ws, &mut gx);
    net.tangent(&gx, &mut ws);
    net.sobolev_backward(&ones, &ones, &mut ws, &mut grads);
}

/// Six coordinates that a force moves and friction stops, seen with two of their squares: large
/// enough for the blocked kernels of a matrix library.
struct Six {
    bounds: ActionBounds,
}

impl Six {
    fn new() -> Self {
        Self { bounds: ActionBounds::symmetric(2, 1.0) }
    }
}

impl Plant for Six {
    type Workspace = ();
    fn name(&self) -> &str {
        "six coordinates"
    }
    fn nx(&self) -> usize {
        6
    }
    fn nu(&self) -> usize {
        2
    }
    fn workspace(&self) {}
    fn step(
        &self,
        _ws: &mut (),
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        for i in 0..6 {
            x_next[i] = 0.9 * x[i] + 0.1 * u[i % 2];
        }
        Ok(())
    }
}

impl Dynamics for Six {
    fn linearize(
        &self,
        _ws: &mut (),
        _x: &DVector<f64>,
        _u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        out.fx.fill(0.0);
        out.fx.fill_diagonal(0.9);
        for i in 0..6 {
            out.fu[(i, i % 2)] = 0.1;
            out.fu[(i, (i + 1) % 2)] = 0.0;
        }
        Ok(())
    }
}

impl Observation for Six {
    fn n_observations(&self, nx: usize) -> usize {
        nx + 2
    }
    fn observe(&self, x: &DVector<f64>, o: &mut [f64]) {
        o[..6].copy_from_slice(x.as_slice());
        o[6..].copy_from_slice(&[x[0].powi(2), x[1].powi(2)]);
    }
    fn jacobian(&self) -> Option<&dyn ObservationJacobian> {
        Some(self)
    }
}

impl ObservationJacobian for Six {
    fn linearize(&self, x: &DVector<f64>, ox: &mut DMatrix<f64>) {
        ox.fill(0.0);
        ox.fill_diagonal(1.0);
        (ox[(6, 0)], ox[(7, 1)]) = (2.0 * x[0], 2.0 * x[1]);
    }
}

impl Task for Six {
    fn name(&self) -> &str {
        "six coordinates"
    }
    fn plant(&self) -> &dyn AnyPlant {
        self
    }
    fn nominal(&self) -> &dyn AnyDynamics {
        self
    }
    fn horizon(&self) -> usize {
        30
    }
    fn dt(&self) -> f64 {
        0.1
    }
    fn action_bounds(&self) -> &ActionBounds {
        &self.bounds
    }
    fn sample_x0(&self, stream: &mut Stream, x0: &mut DVector<f64>) {
        x0.iter_mut().for_each(|x| *x = stream.uniform(-1.0, 1.0));
    }
    fn reward(&self, _scratch: &mut Scratch, m: &Move<'_>) -> f64 {
        -m.x_next.norm_squared()
    }
    fn reward_gradient(&self, _scratch: &mut Scratch, m: &Move<'_>, out: &mut RewardGradient) {
        out.r_x.fill(0.0);
        out.r_u.fill(0.0);
        out.r_xnext.zip_apply(m.x_next, |r, x| *r = -2.0 * x);
    }
    fn reward_derivative_kind(&self) -> DerivativeKind {
        DerivativeKind::Analytic
    }
    fn observation(&self) -> &dyn Observation {
        self
    }
}

#[test]
fn nothing_is_allocated_under_way() {
    the_counter_counts();
    // A pool of one thread starts no other.
    ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| {
        settle();
        updates_allocate_nothing();
        steps_allocate_nothing(&PointMass::new());
        steps_allocate_nothing(&Six::new());
        a_growing_memory_takes_the_blocks_of_its_records_alone();
    });
    a_second_thread_allocates_nothing();
}
