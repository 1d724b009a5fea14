//! Targets and gradients of one update against differences of what they are derivatives of, in
//! double precision and through the public interface alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use agents::replay::{Batch, TransitionShape};
use agents::{GradientTarget, Sac, SacSettings, UpdateReport, ValueGradientSettings};
use critics::{Activation, Adam, Mlp, MlpSpec, SquashedGaussian};
use dynamics::Stream;
use nalgebra::{DMatrix, DVector};

const NO: usize = 3;
const NU: usize = 2;
const NDX: usize = 2;
const WIDTH: usize = NDX + NU;
const N: usize = 12;
const GAMMA: f64 = 0.97;
const SHAPE: TransitionShape = TransitionShape { n_observations: NO, nu: NU, ndx: NDX };

fn net(sizes: &[usize], scale: f64, stream: &mut Stream) -> Mlp<f64> {
    let spec = MlpSpec { sizes: sizes.to_vec(), hidden: Activation::Tanh };
    let params = (0..spec.n_params()).map(|_| scale * stream.normal()).collect();
    Mlp::new(spec, params).unwrap()
}

fn critic(stream: &mut Stream) -> Mlp<f64> {
    net(&[NO + NU, 5, 4, 1], 0.7, stream)
}

/// Random networks without kinks, the targets not equal to the critics.
fn sac(target: GradientTarget, seed: u64) -> Sac<f64> {
    let stream = &mut Stream::new(seed, "networks", 0);
    let value_gradient = Some(ValueGradientSettings { target, ..Default::default() });
    let settings = SacSettings { batch_size: N, value_gradient, ..SacSettings::vg_sac() };
    // Small weights: where tanh saturates, rounding of 1 − tanh² drowns the differences.
    let actor = net(&[NO, 6, 2 * NU], 0.25, stream);
    let actor = SquashedGaussian::new(actor, &[-1.0, -3.0], &[2.0, 3.0]).unwrap();
    let (critics, targets) = ([critic(stream), critic(stream)], [critic(stream), critic(stream)]);
    Sac::from_networks(&settings, SHAPE, GAMMA, actor, critics, targets)
}

/// Random transitions, two of them ends, with ∂o/∂x that is not the identity.
fn batch(seed: u64) -> Batch<f64> {
    let mut stream = Stream::new(seed, "batch", 0);
    let mut normals = |n: usize| (0..n).map(|_| stream.normal()).collect::<Vec<_>>();
    let mut mask = vec![1.0; N];
    (mask[3], mask[8]) = (0.0, 0.0);
    Batch {
        o: normals(N * NO),
        u: normals(N * NU),
        reward: normals(N),
        o_next: normals(N * NO),
        mask,
        jacobian: normals(N * NO * WIDTH),
        reward_gradient: normals(N * WIDTH),
        observation_jacobian: normals(N * NO * NDX),
    }
}

fn noise(seed: u64) -> Vec<f64> {
    let mut stream = Stream::new(seed, "noise", 0);
    (0..N * NU).map(|_| stream.normal()).collect()
}

/// Central differences of `f` at 0 with one Richardson extrapolation.
fn slope(f: impl Fn(f64) -> f64) -> f64 {
    let central = |h: f64| (f(h) - f(-h)) / (2.0 * h);
    let h = 2e-4;
    (4.0 * central(0.5 * h) - central(h)) / 3.0
}

/// Value of a network for one input.
fn value(net: &Mlp<f64>, o: &[f64], u: &[f64]) -> f64 {
    net.forward(&[o, u].concat(), &mut net.workspace(1))[0]
}

fn act(actor: &SquashedGaussian<f64>, o: &[f64], eps: &[f64]) -> ([f64; NU], f64) {
    let (mut action, mut log_prob) = ([0.0; NU], [0.0]);
    actor.sample(o, eps, &mut actor.workspace(1), &mut action, &mut log_prob);
    (action, log_prob[0])
}

fn both(nets: &[Mlp<f64>], o: &[f64], u: &[f64]) -> [f64; 2] {
    [value(&nets[0], o, u), value(&nets[1], o, u)]
}

fn assert_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{what}: {found}, needed {expected}");
}

fn targets(sac: &Sac<f64>) -> Vec<Mlp<f64>> {
    sac.critics.members.iter().map(|critic| critic.target.clone()).collect()
}

#[test]
fn gradient_targets_are_derivatives_of_the_value_behind_them() {
    for target in [GradientTarget::Paper, GradientTarget::Released] {
        for seed in 0..4 {
            let mut sac = sac(target, seed);
            let (batch, eps) = (batch(seed), noise(seed));
            let (actor, targets) = (sac.actor.clone(), targets(&sac));
            sac.update(&batch, &eps, &noise(seed + 100));
            let mut compared = 0;
            for b in 0..N {
                let o_next = &batch.o_next[b * NO..][..NO];
                let eps = &eps[b * NU..][..NU];
                let (held, _) = act(&actor, o_next, eps);
                let [q1, q2] = both(&targets, o_next, &held);
                if (q1 - q2).abs() < 1e-2 {
                    continue; // The minimum changes sides nearby.
                }
                compared += 1;
                // Along o' + h e_k: with the action of the policy there, or the one held.
                let lambda: Vec<f64> = (0..NO)
                    .map(|k| {
                        slope(|h| {
                            let mut o = o_next.to_vec();
                            o[k] += h;
                            let (action, log_prob) = match target {
                                GradientTarget::Paper => act(&actor, &o, eps),
                                GradientTarget::Released => (held, 0.0),
                            };
                            let [q1, q2] = both(&targets, &o, &action);
                            q1.min(q2) - 0.2 * log_prob
                        })
                    })
                    .collect();
                for j in 0..WIDTH {
                    let carried: f64 =
                        (0..NO).map(|k| lambda[k] * batch.jacobian[(b * NO + k) * WIDTH + j]).sum();
                    let expected =
                        batch.reward_gradient[b * WIDTH + j] + GAMMA * batch.mask[b] * carried;
                    let found = sac.critics.gradient_target()[b * WIDTH + j];
                    assert_close(&format!("{target:?} G[{b}, {j}]"), found, expected, 1e-9);
                }
            }
            assert!(compared > N / 2, "{compared} of {N} rows are smooth");
        }
    }
}

#[test]
fn the_two_forms_differ_and_ends_leave_the_reward_gradient_alone() {
    let batch = batch(5);
    let [paper, released] = [GradientTarget::Paper, GradientTarget::Released].map(|target| {
        let mut sac = sac(target, 5);
        sac.update(&batch, &noise(5), &noise(6));
        sac.critics.gradient_target().to_vec()
    });
    for b in 0..N {
        let row = b * WIDTH..(b + 1) * WIDTH;
        if batch.mask[b] == 0.0 {
            assert_eq!(paper[row.clone()], batch.reward_gradient[row.clone()]);
            assert_eq!(released[row.clone()], batch.reward_gradient[row]);
        } else {
            assert_ne!(paper[row.clone()], released[row]);
        }
    }
}

/// Layers of the critic, to be read off the flat parameters: W₁ b₁ W₂ b₂ W₃ b₃.
struct Layers<'a>(&'a [f64]);

impl Layers<'_> {
    fn layer(&self, index: usize) -> (DMatrix<f64>, DVector<f64>) {
        let sizes = [NO + NU, 5, 4, 1];
        let start: usize = (0..index).map(|l| (sizes[l] + 1) * sizes[l + 1]).sum();
        let (n_in, n_out) = (sizes[index], sizes[index + 1]);
        let (w, b) = self.0[start..].split_at(n_in * n_out);
        (DMatrix::from_row_slice(n_out, n_in, w), DVector::from_row_slice(&b[..n_out]))
    }

    /// Q and ∂Q/∂[o, u], written down a second time.
    fn value_and_gradient(&self, input: &[f64]) -> (f64, Vec<f64>) {
        let [(w1, b1), (w2, b2), (w3, b3)] = [0, 1, 2].map(|l| self.layer(l));
        let x = DVector::from_row_slice(input);
        let h1 = (&w1 * x + b1).map(f64::tanh);
        let h2 = (&w2 * &h1 + b2).map(f64::tanh);
        let q = (&w3 * &h2 + b3)[0];
        let seed2 = w3.transpose().component_mul(&h2.map(|h| 1.0 - h * h));
        let seed1 = (w2.transpose() * seed2).component_mul(&h1.map(|h| 1.0 - h * h));
        (q, (w1.transpose() * seed1).as_slice().to_vec())
    }
}

/// What one critic minimises, with everything but its parameters held.
struct CriticLoss<'a> {
    batch: &'a Batch<f64>,
    y: Vec<f64>,
    target_gradient: Vec<f64>,
    /// M of every column.
    medians: Vec<f64>,
    weights: [f64; 2],
}

impl CriticLoss<'_> {
    /// Errors |mask (∂Q/∂[x, u] − G)|, rows of WIDTH, and mean (Q − y)².
    fn errors(&self, params: &[f64]) -> (Vec<f64>, f64) {
        let (mut errors, mut squares) = (Vec::new(), 0.0);
        for b in 0..N {
            let (o, u) = (&self.batch.o[b * NO..][..NO], &self.batch.u[b * NU..][..NU]);
            let (q, g) = Layers(params).value_and_gradient(&[o, u].concat());
            squares += (q - self.y[b]).powi(2) / N as f64;
            let ox = &self.batch.observation_jacobian[b * NO * NDX..][..NO * NDX];
            for j in 0..WIDTH {
                let in_state = match j {
                    0..NDX => (0..NO).map(|k| ox[k * NDX + j] * g[k]).sum(),
                    _ => g[NO + j - NDX],
                };
                let error: f64 = in_state - self.target_gradient[b * WIDTH + j];
                errors.push((self.batch.mask[b] * error).abs());
            }
        }
        (errors, squares)
    }

    /// Lower medians of the columns of `errors`.
    fn medians_of(errors: &[f64]) -> Vec<f64> {
        (0..WIDTH)
            .map(|j| {
                let mut column: Vec<f64> = errors.iter().skip(j).step_by(WIDTH).copied().collect();
                column.sort_by(f64::total_cmp);
                column[(N - 1) / 2]
            })
            .collect()
    }

    fn value(&self, params: &[f64]) -> f64 {
        let (errors, squares) = self.errors(params);
        let mut losses = [0.0; 2];
        for (at, d) in errors.iter().enumerate() {
            let (j, m) = (at % WIDTH, self.medians[at % WIDTH]);
            let loss = if *d < 2.0 * m { d * d } else { 4.0 * m * d };
            let (kind, columns) = if j < NDX { (0, NDX) } else { (1, NU) };
            losses[kind] += loss / (N * columns) as f64;
        }
        squares + self.weights[0] * losses[0] + self.weights[1] * losses[1]
    }
}

/// The gradient that a fresh Adam has seen, after its first step: m = (1 − β₁) g.
fn first_gradient(optimizer: &Adam<f64>) -> Vec<f64> {
    assert_eq!(optimizer.t(), 1);
    optimizer.m().iter().map(|m| m / (1.0 - 0.9)).collect()
}

fn assert_gradient(what: &str, found: &[f64], params: &[f64], loss: impl Fn(&[f64]) -> f64) {
    let largest = found.iter().fold(0.0_f64, |a, g| a.max(g.abs()));
    assert!(largest > 1e-3, "{what}: a gradient of nothing");
    for (i, found) in found.iter().enumerate() {
        let expected = slope(|h| {
            let mut params = params.to_vec();
            params[i] += h;
            loss(&params)
        });
        assert_close(&format!("{what}[{i}]"), *found, expected, 1e-8);
    }
}

fn updated(target: GradientTarget, seed: u64, batch: &Batch<f64>) -> (Sac<f64>, UpdateReport) {
    let mut sac = sac(target, seed);
    let report = sac.update(batch, &noise(seed), &noise(seed + 100));
    (sac, report)
}

#[test]
fn both_critics_step_along_the_gradient_of_their_whole_loss() {
    let batch = batch(7);
    let before = sac(GradientTarget::Paper, 7);
    let (after, report) = updated(GradientTarget::Paper, 7, &batch);
    let eps = noise(7);
    // y = r + γ·mask·(min Q̄ − α log π)
    let y = (0..N).map(|b| {
        let o_next = &batch.o_next[b * NO..][..NO];
        let (action, log_prob) = act(&before.actor, o_next, &eps[b * NU..][..NU]);
        let [q1, q2] = both(&targets(&before), o_next, &action);
        batch.reward[b] + GAMMA * batch.mask[b] * (q1.min(q2) - 0.2 * log_prob)
    });
    let mut loss = CriticLoss {
        batch: &batch,
        y: y.collect(),
        target_gradient: after.critics.gradient_target().to_vec(),
        medians: Vec::new(),
        weights: report.critics.kappa.map(|kappa| 0.5 * kappa),
    };
    let mut total = 0.0;
    for i in 0..2 {
        let params = before.critics.members[i].net.params();
        let (errors, _) = loss.errors(params);
        let fresh = CriticLoss::medians_of(&errors);
        // The critics share the running median: the second one's use is the second.
        loss.medians = match i {
            0 => fresh,
            _ => loss.medians.iter().zip(fresh).map(|(m, f)| 0.95 * m + 0.05 * f).collect(),
        };
        for (at, d) in errors.iter().enumerate() {
            let m = loss.medians[at % WIDTH];
            assert!((d - 2.0 * m).abs() > 1e-2 * m, "an error at the jump of the hinge");
        }
        total += loss.value(params);
        assert_gradient(
            &format!("critic {i}"),
            &first_gradient(&after.critics.members[i].optimizer),
            params,
            |p| loss.value(p),
        );
    }
    assert_close("the critics' loss", report.critics.critic_loss, total, 1e-12);
    let stored = |m: &critics::RunningMedian| m.values.clone().unwrap();
    let shared =
        [stored(&after.critics.balance.state_median), stored(&after.critics.balance.action_median)];
    for (found, expected) in shared.concat().iter().zip(&loss.medians) {
        assert_close("running median", *found, *expected, 1e-12);
    }
}

#[test]
fn the_actor_steps_along_the_gradient_of_its_loss_with_the_new_critics() {
    let batch = batch(9);
    let before = sac(GradientTarget::Released, 9);
    let (after, report) = updated(GradientTarget::Released, 9, &batch);
    let eps = noise(109);
    let nets: Vec<_> = after.critics.members.iter().map(|critic| critic.net.clone()).collect();
    let loss = |params: &[f64]| {
        let mut actor = before.actor.clone();
        actor.net_mut().params_mut().copy_from_slice(params);
        let rows = (0..N).map(|b| {
            let o = &batch.o[b * NO..][..NO];
            let (action, log_prob) = act(&actor, o, &eps[b * NU..][..NU]);
            let [q1, q2] = both(&nets, o, &action);
            assert!((q1 - q2).abs() > 1e-3, "the minimum changes sides nearby");
            0.2 * log_prob - q1.min(q2)
        });
        rows.sum::<f64>() / N as f64
    };
    let params = before.actor.net().params();
    assert_close("the actor's loss", report.policy_loss, loss(params), 1e-12);
    assert_gradient("actor", &first_gradient(&after.actor_optimizer), params, loss);
}
