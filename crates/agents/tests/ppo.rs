//! PPO: losses against differences, advantages against numbers worked by hand, one seed one
//! result, and a task that takes seconds.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agents::{
    Budget, LearnError, Learner, Observer, Outcome, Policy, Ppo, PpoBatch, PpoLearner, PpoNetworks,
    PpoSettings, Progress, Timing, TrainSettings, evaluate, find_method, generalized_advantages,
    log_density, orthogonal, train,
};
use common::PointMass;
use critics::{Activation, Checkpoints, Mlp, MlpSpec, Tensors};
use dynamics::{Stream, Task};
use nalgebra::{DMatrix, DVector};
use tempfile::tempdir;

#[test]
fn advantages_are_those_worked_by_hand() {
    // Two environments, three steps, γ = ½, λ = ½. The first one terminates with its second step;
    // the clock stops the second one after its first, which has γV(s′) = ½·4 in its reward.
    let rewards = [1.0, 3.0, 2.0, 1.0, 4.0, 0.0];
    let values = [2.0, 1.0, 4.0, 2.0, 1.0, 6.0];
    let mask = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let mut advantages = [f64::NAN; 6];
    generalized_advantages(&rewards, &values, &mask, &[8.0, 2.0], 0.5, 0.5, &mut advantages);
    // First:  δ₃ = 4 + ½·8 − 1 = 7, δ₂ = 2 − 4 = −2, δ₁ = 1 + ½·4 − 2 = 1, Â₁ = 1 + ¼·(−2).
    // Second: δ₃ = 0 + ½·2 − 6 = −5, δ₂ = 1 + ½·6 − 2 = 2, Â₂ = 2 + ¼·(−5), δ₁ = 3 − 1 = 2.
    assert_eq!(advantages, [0.5, 2.0, -2.0, 0.75, 7.0, -5.0]);
}

#[test]
fn with_lambda_one_advantage_plus_value_is_the_discounted_return() {
    let (rewards, values) = ([1.0, -2.0, 0.5, 3.0], [0.3, -0.7, 1.1, 5.0]);
    let (gamma, mut advantages) = (0.9, [0.0; 4]);
    generalized_advantages(&rewards, &values, &[1.0; 4], &[2.5], gamma, 1.0, &mut advantages);
    let mut expected = 2.5;
    for i in (0..4).rev() {
        expected = rewards[i] + gamma * expected;
        assert!((advantages[i] + values[i] - expected).abs() < 1e-14, "step {i}");
    }
}

const NO: usize = 3;
const NU: usize = 2;

fn normals(n: usize, index: u64) -> Vec<f64> {
    let mut stream = Stream::new(5, "test numbers", index);
    (0..n).map(|_| stream.normal()).collect()
}

/// Networks that are no longer as they were drawn, and samples of a policy some way from theirs.
fn networks_and_batch(n: usize) -> (PpoSettings, PpoNetworks<f64>, PpoBatch<f64>) {
    let settings = PpoSettings {
        hidden: vec![7, 5],
        minibatch: n,
        entropy_coefficient: 0.03,
        ..PpoSettings::default()
    };
    let mut networks = PpoNetworks::<f64>::new(&settings, NO, NU, 1).unwrap();
    for (index, params) in networks.parameters_mut().into_iter().enumerate() {
        let noise = normals(params.len(), index as u64);
        params.iter_mut().zip(noise).for_each(|(p, noise)| *p += 0.3 * noise);
    }
    let (o, u) = (normals(n * NO, 10), normals(n * NU, 11));
    let mut ws = networks.actor.workspace(n);
    let mean = networks.actor.forward(&o, &mut ws);
    let mut log_prob: Vec<f64> = u
        .chunks_exact(NU)
        .zip(mean.chunks_exact(NU))
        .map(|(u, mean)| log_density(u, mean, &networks.log_std))
        .collect();
    for (log_prob, step) in log_prob.iter_mut().zip(normals(n, 12)) {
        *log_prob += 0.3 * step;
    }
    let batch = PpoBatch { o, u, log_prob, advantages: normals(n, 13), returns: normals(n, 14) };
    (settings, networks, batch)
}

#[test]
fn gradients_of_the_loss_are_those_of_central_differences() {
    let (settings, networks, batch) = networks_and_batch(40);
    let mut ppo = Ppo::new(&settings, networks);
    let report = ppo.loss_gradient(&batch);
    // Clipped and free ratios under advantages of both signs are all there.
    assert!(report.clip_fraction > 0.2 && report.clip_fraction < 0.8, "{report:?}");
    let gradients = ppo.gradients().clone();
    let largest = |g: &[f64]| g.iter().fold(0.0_f64, |largest, g| largest.max(g.abs()));
    let h = 1e-5;
    for (part, gradient) in gradients.iter().enumerate() {
        let name = ppo.networks.parameters()[part].0;
        assert!(largest(gradient) > 1e-2, "{name}: nothing to test");
        for i in 0..gradient.len() {
            let mut loss = |step: f64| {
                let start = ppo.networks.parameters()[part].1[i];
                ppo.networks.parameters_mut()[part][i] = start + step;
                let loss = ppo.loss_gradient(&batch).loss;
                ppo.networks.parameters_mut()[part][i] = start;
                loss
            };
            let difference = (loss(h) - loss(-h)) / (2.0 * h);
            let error = (difference - gradient[i]).abs() / largest(gradient).max(1.0);
            assert!(error < 1e-8, "{name} {i}: {} for {difference}", gradient[i]);
        }
    }
    let squares: f64 = gradients.iter().flatten().map(|g| g * g).sum();
    assert!((report.gradient_norm - squares.sqrt()).abs() < 1e-12);
}

#[test]
fn losses_of_one_sample_are_those_worked_by_hand() {
    // μ = 0 and σ = 1 everywhere, V = 0.
    let settings = PpoSettings { hidden: vec![], ..PpoSettings::default() };
    let zeros = |n_out| {
        let spec = MlpSpec { sizes: vec![1, n_out], hidden: Activation::Tanh };
        Mlp::new(spec, vec![0.0; 2 * n_out]).unwrap()
    };
    let networks = PpoNetworks { actor: zeros(1), log_std: vec![0.0], critic: zeros(1) };
    let mut ppo = Ppo::new(&settings, networks);
    let normal = |u: f64| -0.5 * u * u - 0.5 * std::f64::consts::TAU.ln();
    // (ρ, Â, the smaller product, whether it moves): only what would earn more is clipped.
    for (ratio, advantage, objective, moves) in [
        (1.5_f64, 2.0, 2.4, false),
        (1.5, -2.0, -3.0, true),
        (0.5, 2.0, 1.0, true),
        (0.5, -2.0, -1.6, false),
        (1.1, 2.0, 2.2, true),
    ] {
        let batch = PpoBatch {
            o: vec![1.0],
            u: vec![0.5],
            log_prob: vec![normal(0.5) - ratio.ln()],
            advantages: vec![advantage],
            returns: vec![3.0],
        };
        let report = ppo.loss_gradient(&batch);
        assert!((report.policy_loss + objective).abs() < 1e-14, "{ratio}, {advantage}");
        assert!((report.value_loss - 9.0).abs() < 1e-14);
        assert!((report.loss - (report.policy_loss + 4.5)).abs() < 1e-14);
        assert!((report.entropy - 1.418_938_533_204_672_7).abs() < 1e-14);
        assert!((report.approx_kl - (ratio - 1.0 - ratio.ln())).abs() < 1e-14);
        assert_eq!(report.clip_fraction, f64::from(u8::from(ratio != 1.1)));
        // ∂ log π/∂μ = u = ½
        let expected = if moves { -0.5 * ratio * advantage } else { 0.0 };
        assert!((ppo.gradients()[0][1] - expected).abs() < 1e-14);
    }
}

#[test]
fn a_step_goes_along_the_gradient_shortened_as_a_whole() {
    // An ε far beyond any gradient makes the first step −lr·g/ε: its length shows the clipping.
    let (settings, networks, batch) = networks_and_batch(20);
    let settings =
        PpoSettings { adam_epsilon: 1e9, learning_rate: 1e9, value_learning_rate: 1e9, ..settings };
    for max_gradient_norm in [0.05, f64::INFINITY] {
        let settings = PpoSettings { max_gradient_norm, ..settings.clone() };
        let mut ppo = Ppo::new(&settings, networks.clone());
        let report = ppo.update(&batch).unwrap();
        let mut squares = 0.0;
        for ((_, new), (_, old)) in ppo.networks.parameters().into_iter().zip(networks.parameters())
        {
            squares += new.iter().zip(old).map(|(new, old)| (new - old).powi(2)).sum::<f64>();
        }
        let expected = report.gradient_norm.min(max_gradient_norm);
        assert!(report.gradient_norm > 0.1);
        assert!(
            (squares.sqrt() / expected - 1.0).abs() < 1e-4,
            "{} for {expected}",
            squares.sqrt()
        );
    }
}

#[test]
fn advantages_are_normalized_with_the_deviation_of_a_sample() {
    let mut batch = PpoBatch::<f32>::with_capacity(3, 1, 1);
    batch.log_prob.extend([0.0; 3]);
    batch.advantages.extend([1.0, 2.0, 6.0]);
    batch.normalize_advantages();
    let deviation = 7.0_f64.sqrt() + 1e-8;
    for (found, expected) in batch.advantages.iter().zip([-2.0, -1.0, 3.0]) {
        assert!((found - expected / deviation).abs() < 1e-15, "{:?}", batch.advantages);
    }
    batch.log_prob.truncate(1);
    batch.advantages = vec![4.0];
    batch.normalize_advantages();
    assert_eq!(batch.advantages, [4.0]);
}

#[test]
fn initial_weights_are_orthogonal_with_their_gains() {
    let settings = PpoSettings::default();
    let networks = PpoNetworks::<f64>::new(&settings, 11, 3, 7).unwrap();
    assert_eq!(networks.log_std, [0.0; 3]);
    for (net, head) in [(&networks.actor, 0.01), (&networks.critic, 1.0)] {
        let spec = net.spec();
        for (layer, gain) in [2.0_f64.sqrt(), 2.0_f64.sqrt(), head].into_iter().enumerate() {
            let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
            let w = DMatrix::from_row_slice(n_out, n_in, &net.params()[spec.weight(layer)]);
            let gram = if n_out < n_in { &w * w.transpose() } else { w.transpose() * &w };
            let n = n_in.min(n_out);
            let error = (gram - gain * gain * DMatrix::identity(n, n)).amax();
            assert!(error < 1e-12 * gain, "layer {layer}: {error}");
            assert!(net.params()[spec.bias(layer)].iter().all(|&b| b == 0.0));
        }
    }
}

#[test]
fn orthogonal_matrices_come_from_the_factorization_with_a_positive_diagonal() {
    for (n_rows, n_columns) in [(6, 4), (4, 6), (5, 5)] {
        let q = orthogonal(n_rows, n_columns, &mut Stream::new(3, "matrix", 0));
        let q = if n_rows < n_columns { q.transpose() } else { q };
        let mut stream = Stream::new(3, "matrix", 0);
        let gaussian = DMatrix::from_fn(q.nrows(), q.ncols(), |_, _| stream.normal());
        let r = q.transpose() * gaussian;
        for i in 0..r.nrows() {
            assert!(r[(i, i)] > 0.0, "{r}");
            assert!((0..i).all(|j| r[(i, j)].abs() < 1e-13), "{r}");
        }
    }
}

fn small() -> PpoSettings {
    PpoSettings {
        rollout_steps: 40,
        n_envs: 3,
        // The last minibatch of an epoch has 120 mod 32 = 24.
        minibatch: 32,
        epochs: 2,
        learning_rate: 3e-3,
        hidden: vec![8, 8],
        ..PpoSettings::default()
    }
}

/// Networks and state of a learner, as a checkpoint has them.
fn stored(learner: &mut PpoLearner<'_>, dir: &Path) -> (Tensors, serde_json::Value) {
    let checkpoints = Checkpoints::new(dir.join("look"), 1);
    let step = learner.advance(Budget { env_steps: 0 }).unwrap().env_steps;
    checkpoints.save(step, |writer| learner.save(dir, writer)).unwrap();
    let snapshot = checkpoints.open(step).unwrap();
    (snapshot.tensors("tensors.safetensors").unwrap(), snapshot.json("state.json").unwrap())
}

#[test]
fn only_the_clock_leaves_a_value_beyond_the_end() {
    let task = PointMass::new();
    let settings = PpoSettings { n_envs: 1, ..small() };
    // An actor that pushes far beyond the bounds leaves the range; one at rest lasts to the end.
    for (push, terminates) in [(50.0, true), (0.0, false)] {
        let dir = tempdir().unwrap();
        let mut learner = PpoLearner::new(&task, &settings, 2).unwrap();
        let mut changed = Tensors::new();
        let networks = learner.networks().unwrap();
        for name in networks.names() {
            let (shape, mut values) = networks.get_f32(name).unwrap();
            match name {
                "actor" => {
                    let last = values.len() - 1;
                    values[last] = push;
                }
                "log_std" => values[0] = -1.0,
                _ => {}
            }
            changed.insert_f32(name, &shape, &values).unwrap();
        }
        learner.start_from(&changed).unwrap();
        let episode = learner.advance(Budget { env_steps: 30 }).unwrap().episode.unwrap();
        assert_eq!(episode.length < task.horizon(), terminates, "{episode:?}");

        let (tensors, state) = stored(&mut learner, dir.path());
        let x: Vec<f64> = serde_json::from_value(state["environments"][0]["x"].clone()).unwrap();
        let mut reward = 1.0 - x[0] * x[0] - 0.1 * x[1] * x[1];
        if !terminates {
            let spec = MlpSpec { sizes: vec![2, 8, 8, 1], hidden: Activation::Tanh };
            let critic = Mlp::new(spec, tensors.get_f32("critic").unwrap().1).unwrap();
            let o: Vec<f32> = x.iter().map(|x| *x as f32).collect();
            let value = critic.forward(&o, &mut critic.workspace(1))[0];
            assert!(value.abs() > 1e-3, "nothing to test");
            reward += task.discount() * f64::from(value);
        }
        let (_, rewards) = tensors.get_f64("rollout.rewards").unwrap();
        let (_, mask) = tensors.get_f64("rollout.mask").unwrap();
        assert_eq!(rewards.len(), episode.length);
        assert!((rewards[episode.length - 1] - reward).abs() < 1e-6);
        assert_eq!(mask[episode.length - 1], 0.0);
        assert!(mask[..episode.length - 1].iter().all(|&m| m == 1.0));

        // The plant got the bound, the memory keeps what was drawn with its own density.
        let (_, u) = tensors.get_f32("rollout.u").unwrap();
        let (_, o) = tensors.get_f32("rollout.o").unwrap();
        let (_, log_prob) = tensors.get_f64("rollout.log_prob").unwrap();
        let spec = MlpSpec { sizes: vec![2, 8, 8, 1], hidden: Activation::Tanh };
        let actor = Mlp::new(spec, tensors.get_f32("actor").unwrap().1).unwrap();
        let mut ws = actor.workspace(u.len());
        let mean = actor.forward(&o, &mut ws);
        for i in 0..u.len() {
            assert!(!terminates || u[i] > 40.0, "{}", u[i]);
            let expected = log_density(&u[i..=i], &mean[i..=i], &[-1.0_f32]);
            assert!((log_prob[i] - expected).abs() < 1e-4, "{} for {expected}", log_prob[i]);
        }
    }
}

#[test]
fn environments_step_together_and_are_counted_one_by_one() {
    let task = PointMass::new();
    let dir = tempdir().unwrap();
    let mut learner = PpoLearner::new(&task, &small(), 1).unwrap();
    let progress = learner.advance(Budget { env_steps: 4 }).unwrap();
    assert_eq!((progress.env_steps, progress.updates), (4, 0));
    // Four steps counted, and six made.
    let (tensors, state) = stored(&mut learner, dir.path());
    assert_eq!(state["transitions"], 4);
    assert_eq!(tensors.get_f64("rollout.rewards").unwrap().0, [6]);
    assert_eq!(tensors.get_f32("rollout.u").unwrap().0, [6, 1]);
    let starts: Vec<f32> =
        tensors.get_f32("rollout.o").unwrap().1.chunks(2).take(3).map(|o| o[0]).collect();
    assert!(starts[0] != starts[1] && starts[1] != starts[2], "{starts:?}");
    let steps: Vec<_> = (0..3).map(|i| state["environments"][i]["t"].as_u64()).collect();
    assert_eq!(steps, [Some(2); 3]);

    let metrics = learner.take_metrics();
    assert_eq!(metrics.len(), learner.metric_names().len());
    assert!(metrics.iter().all(|m| m.is_nan()), "{metrics:?}");
    let mut episodes = 0;
    loop {
        let progress = learner.advance(Budget { env_steps: 120 }).unwrap();
        episodes += u64::from(progress.episode.is_some());
        assert_eq!(progress.episodes, episodes);
        // Two epochs of ⌈120/32⌉ minibatches.
        assert_eq!(progress.updates, progress.env_steps / 120 * 8);
        if progress.env_steps >= 360 {
            break;
        }
    }
    let metrics = learner.take_metrics();
    assert!(metrics.iter().all(|m| m.is_finite()), "{metrics:?}");
}

fn short() -> TrainSettings {
    TrainSettings {
        total_steps: 500,
        evaluate_every_episodes: 2,
        evaluation_episodes: 3,
        checkpoint_every_steps: 37,
        ..TrainSettings::default()
    }
}

struct StopAt<'a> {
    step: u64,
    flag: &'a AtomicBool,
}

impl Observer for StopAt<'_> {
    fn progress(&mut self, progress: &Progress, _timing: &Timing) {
        if progress.env_steps >= self.step {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

/// What a run leaves that is stopped at each of `stops` and goes on with a new learner.
fn results(settings: &PpoSettings, seed: u64, stops: &[u64]) -> Vec<Vec<u8>> {
    let (task, dir) = (PointMass::new(), tempdir().unwrap());
    for &step in stops.iter().chain([&u64::MAX]) {
        let flag = AtomicBool::new(false);
        let mut observer = StopAt { step, flag: &flag };
        let mut learner = PpoLearner::new(&task, settings, seed).unwrap();
        let outcome =
            train(&task, &mut learner, &short(), seed, dir.path(), &mut observer, &flag).unwrap();
        assert_eq!(outcome == Outcome::Complete, step == u64::MAX, "stop at {step}");
    }
    ["networks.safetensors", "policy.safetensors", "curve.csv", "result.json", "rollout.json"]
        .map(|name| std::fs::read(dir.path().join(name)).unwrap())
        .into()
}

#[test]
fn one_seed_gives_one_result_wherever_it_is_interrupted() {
    for settings in [small(), PpoSettings { n_envs: 1, ..small() }] {
        let whole = results(&settings, 3, &[]);
        assert_eq!(whole, results(&settings, 3, &[]));
        assert_ne!(whole[0], results(&settings, 4, &[])[0]);
        // Within a row of environments, within an episode and a roll-out, where one is full, and
        // after updates.
        for stops in [&[2, 25, 40, 121, 250, 433][..], &[119, 120, 121, 122], &[360, 400]] {
            assert_eq!(whole, results(&settings, 3, stops), "{stops:?}");
        }
    }
}

#[test]
fn a_learner_goes_on_from_any_step_with_equal_bits() {
    let task = PointMass::new();
    let advance_to = |learner: &mut PpoLearner<'_>, until| loop {
        let left = until - learner.advance(Budget { env_steps: 0 }).unwrap().env_steps;
        if left == 0 {
            break;
        }
        learner.advance(Budget { env_steps: left }).unwrap();
    };
    let dir = tempdir().unwrap();
    let mut whole = PpoLearner::new(&task, &small(), 8).unwrap();
    advance_to(&mut whole, 255);
    let expected = stored(&mut whole, dir.path());
    let metrics = whole.take_metrics().into_iter().map(f64::to_bits);
    let metrics: Vec<u64> = metrics.collect();
    for step in [1, 2, 3, 74, 75, 76, 119, 120, 121, 240, 254] {
        let mut first = PpoLearner::new(&task, &small(), 8).unwrap();
        advance_to(&mut first, step);
        let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 1);
        checkpoints.save(step, |writer| first.save(dir.path(), writer)).unwrap();
        let mut second = PpoLearner::new(&task, &small(), 8).unwrap();
        second.load(dir.path(), &checkpoints.open(step).unwrap()).unwrap();
        advance_to(&mut second, 255);
        assert_eq!(stored(&mut second, dir.path()), expected, "step {step}");
        let found: Vec<u64> = second.take_metrics().into_iter().map(f64::to_bits).collect();
        assert_eq!(found, metrics, "step {step}");
    }
}

/// The refusal of a learner with these settings that takes up a checkpoint of `source`.
fn load_refusal(source: &mut dyn Learner, settings: &PpoSettings, seed: u64) -> String {
    let (task, dir) = (PointMass::new(), tempdir().unwrap());
    let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 1);
    source.advance(Budget { env_steps: 17 }).unwrap();
    checkpoints.save(17, |writer| source.save(dir.path(), writer)).unwrap();
    let mut learner = PpoLearner::new(&task, settings, seed).unwrap();
    learner.load(dir.path(), &checkpoints.open(17).unwrap()).unwrap_err().to_string()
}

#[test]
fn checkpoints_of_another_run_are_refused() {
    let task = PointMass::new();
    let ppo = || PpoLearner::new(&task, &small(), 3).unwrap();
    let message = load_refusal(&mut ppo(), &small(), 4);
    assert!(message.starts_with("the seed of the stored run does not fit"), "{message}");
    let message = load_refusal(&mut ppo(), &PpoSettings { n_envs: 2, ..small() }, 3);
    assert!(message.contains("environments of the stored run") && message.contains("found 3"));
    let message = load_refusal(&mut ppo(), &PpoSettings { hidden: vec![9], ..small() }, 3);
    assert!(message.contains("were the network sizes changed"), "{message}");
    let message = load_refusal(&mut ppo(), &PpoSettings { rollout_steps: 2, ..small() }, 3);
    assert!(message.contains("needed fewer than 6 transitions"), "{message}");
    let sac = find_method("sac").unwrap();
    let mut sac = sac.build(&task, &(sac.settings)().unwrap(), 3).unwrap();
    let message = load_refusal(&mut *sac, &small(), 3);
    assert!(message.contains("the method of the stored run") && message.contains("needed ppo"));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    PpoSettings::default().check().unwrap();
    let ok = PpoSettings::default;
    for (settings, start) in [
        (PpoSettings { rollout_steps: 0, ..ok() }, "`method.rollout_steps` is 0"),
        (PpoSettings { n_envs: 1000, ..ok() }, "`method.rollout_steps` is 2048"),
        (PpoSettings { n_envs: 0, ..ok() }, "`method.n_envs` is 0"),
        (PpoSettings { minibatch: 1 << 40, ..ok() }, "`method.minibatch` is 1099511627776"),
        (PpoSettings { epochs: 0, ..ok() }, "`method.epochs` is 0"),
        (PpoSettings { learning_rate: f64::NAN, ..ok() }, "`method.learning_rate` is NaN"),
        (PpoSettings { adam_epsilon: 0.0, ..ok() }, "`method.adam_epsilon` is 0"),
        (PpoSettings { clip: -0.2, ..ok() }, "`method.clip` is -0.2"),
        (PpoSettings { gae_lambda: 1.5, ..ok() }, "`method.gae_lambda` is 1.5"),
        (PpoSettings { entropy_coefficient: -1.0, ..ok() }, "`method.entropy_coefficient` is -1"),
        (PpoSettings { value_coefficient: f64::NAN, ..ok() }, "`method.value_coefficient` is NaN"),
        (PpoSettings { max_gradient_norm: 0.0, ..ok() }, "`method.max_gradient_norm` is 0"),
    ] {
        let message = settings.check().unwrap_err().to_string();
        assert!(message.starts_with(start) && message.contains("but must be"), "{message}");
    }
}

#[test]
fn numbers_that_blow_up_are_told_with_seed_step_and_update() {
    let task = PointMass::new();
    let settings = PpoSettings { learning_rate: 1e30, ..small() };
    let mut learner = PpoLearner::new(&task, &settings, 5).unwrap();
    let error = loop {
        if let Err(error) = learner.advance(Budget { env_steps: 25 }) {
            break error;
        }
    };
    let LearnError::NotFinite { method, seed, env_step, update, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((method.as_str(), *seed, *env_step), ("ppo", 5, 120));
    assert!(*update >= 1);
}

/// Uniformly random actions.
struct Random(Stream);

impl Policy for Random {
    fn act(&mut self, _t: usize, _x: &DVector<f64>, u: &mut DVector<f64>) {
        u[0] = self.0.uniform(-2.0, 2.0);
    }
}

#[test]
fn it_solves_the_point_mass_far_beyond_random() {
    let task = PointMass::new();
    let mean_return = |policy: &mut dyn Policy| {
        evaluate(&task, policy, 50, &mut Stream::new(9, "test starts", 0)).unwrap().mean_return()
    };
    let random = mean_return(&mut Random(Stream::new(0, "random", 0)));
    assert!(random < -10.0, "random actions return {random}");
    for (n_envs, seed) in [(1, 0), (1, 1), (4, 0)] {
        let settings = PpoSettings {
            rollout_steps: 512 / n_envs,
            n_envs,
            learning_rate: 3e-3,
            hidden: vec![16, 16],
            ..PpoSettings::default()
        };
        let mut learner = PpoLearner::new(&task, &settings, seed).unwrap();
        while learner.advance(Budget { env_steps: 100 }).unwrap().env_steps < 15_000 {}
        let learned = mean_return(&mut *learner.policy().unwrap());
        // 25 would be the middle from the first step on, which no force can reach.
        assert!(learned > 15.0, "{n_envs} environments, seed {seed}: {learned}");
    }
}
