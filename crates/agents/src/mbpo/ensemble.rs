//! The model: an ensemble of networks that predict Gaussians.

use critics::{
    Activation, Adam, AdamSettings, CriticError, Initialization, Mlp, MlpSpec, MlpWorkspace,
};
use dynamics::Stream;
use rayon::prelude::*;

use super::settings::EnsembleSettings;

/// Networks from rows of inputs to mean and log-variance of rows of targets.
pub struct Ensemble {
    settings: EnsembleSettings,
    pub(super) members: Vec<Member>,
    n_in: usize,
    n_out: usize,
    /// Of the targets, the first so many are drawn with noise, the rest are means.
    n_noisy: usize,
    /// Units of the inputs and targets that the last fit saw.
    pub(super) units: Units,
    /// Members that predict, best first.
    pub(super) elites: Vec<usize>,
    seed: u64,
    /// Fits done: the number of the streams of the next one.
    pub(super) fits: u64,
}

/// One network with the bounds of its log-variances, which it learns as well. (In the original the bounds
/// are shared; members that share nothing can learn side by side.)
#[derive(Clone)]
pub(super) struct Member {
    pub(super) net: Mlp<f32>,
    pub(super) adam: Adam<f32>,
    /// Largest and smallest log-variance, one after the other.
    pub(super) bounds: Vec<f32>,
    pub(super) bounds_adam: Adam<f32>,
    ws: MlpWorkspace<f32>,
    grads: Vec<f32>,
    seed: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
}

/// Means and deviations, column by column: of inputs, and of targets. (The original leaves targets as they
/// are; its tasks have changes and rewards of order one.)
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Units {
    pub(super) input_mean: Vec<f32>,
    pub(super) input_deviation: Vec<f32>,
    pub(super) target_mean: Vec<f32>,
    pub(super) target_deviation: Vec<f32>,
}

/// Writes means and deviations of the columns of some rows; a column that never changes has deviation 1.
fn take(rows: &[f32], at: &[usize], mean: &mut [f32], deviation: &mut [f32]) {
    let (width, n) = (mean.len(), at.len() as f64);
    for k in 0..width {
        let column = || at.iter().map(|&row| f64::from(rows[row * width + k]));
        let m = column().sum::<f64>() / n;
        let d = (column().map(|v| (v - m).powi(2)).sum::<f64>() / n).sqrt();
        mean[k] = m as f32;
        deviation[k] = if d < 1e-6 { 1.0 } else { d as f32 };
    }
}

/// What a fit did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FitReport {
    /// Mean squared error of the elites on held-out rows in units of the targets' deviations, mean over
    /// targets: the share of their variance that is not predicted.
    pub holdout_error: f64,
    /// Passes through the rows, mean over members.
    pub epochs: f64,
}

/// Rows of inputs and targets.
pub(super) struct Rows<'a> {
    pub(super) inputs: &'a [f32],
    pub(super) targets: &'a [f32],
}

/// Weight of the bounds in the loss.
const BOUNDS_WEIGHT: f32 = 0.01;
/// Rows that are held out at most.
const MOST_HELD_OUT: usize = 5000;

impl Ensemble {
    /// Random networks; stream `model weights` number i draws those of member i: truncated normal weights
    /// of deviation 1/(2√fan_in), biases 0.
    ///
    /// # Errors
    /// Layer sizes that make no network.
    pub fn new(
        (n_in, n_out, n_noisy): (usize, usize, usize),
        settings: &EnsembleSettings,
        seed: u64,
    ) -> Result<Self, CriticError> {
        let mut sizes = vec![n_in];
        sizes.extend(&settings.hidden);
        sizes.push(2 * n_out);
        let spec = MlpSpec { sizes, hidden: Activation::Silu };
        let member = |i| -> Result<Member, CriticError> {
            let stream = &mut Stream::new(seed, "model weights", i);
            let mut net = Mlp::random(spec.clone(), Initialization::Xavier, &[], stream)?;
            for layer in 0..spec.n_layers() {
                let deviation = 0.5 / (spec.sizes[layer] as f64).sqrt();
                let weights = spec.weight(layer);
                for weight in &mut net.params_mut()[weights] {
                    let normal = loop {
                        let normal = stream.normal();
                        if normal.abs() <= 2.0 {
                            break normal;
                        }
                    };
                    *weight = (deviation * normal) as f32;
                }
            }
            let adam = |n| {
                Adam::new(n, AdamSettings { lr: settings.learning_rate, ..AdamSettings::default() })
            };
            let n_params = net.params().len();
            Ok(Member {
                adam: adam(n_params),
                bounds: [vec![0.5; n_out], vec![-10.0; n_out]].concat(),
                bounds_adam: adam(2 * n_out),
                ws: net.workspace(settings.batch),
                grads: vec![0.0; n_params],
                seed: Vec::new(),
                x: Vec::new(),
                y: Vec::new(),
                net,
            })
        };
        Ok(Self {
            settings: settings.clone(),
            members: (0..settings.members as u64).map(member).collect::<Result<_, _>>()?,
            n_in,
            n_out,
            n_noisy,
            units: Units {
                input_mean: vec![0.0; n_in],
                input_deviation: vec![1.0; n_in],
                target_mean: vec![0.0; n_out],
                target_deviation: vec![1.0; n_out],
            },
            elites: (0..settings.elites).collect(),
            seed,
            fits: 0,
        })
    }

    /// Row numbers that are held out, and the others. A row stays on its side from fit to fit: what a network
    /// has learned once says nothing about how well it predicts. Once the most are held out, later rows are
    /// all learned from.
    fn split(&self, n: usize) -> (Vec<usize>, Vec<usize>) {
        let held_before =
            |row: usize| ((self.settings.holdout * row as f64) as usize).min(MOST_HELD_OUT);
        let (mut held, mut train): (Vec<_>, Vec<_>) =
            (0..n).partition(|&row| held_before(row + 1) > held_before(row));
        if held.is_empty() {
            held.extend(train.pop());
        }
        (held, train)
    }

    /// Fits all members to rows of inputs and targets, from where they are, each on a bootstrap sample of
    /// its own, until the error on held-out rows no longer falls; each keeps its best weights.
    ///
    /// # Panics
    /// When there are fewer than two rows.
    pub fn fit(&mut self, inputs: &[f32], targets: &[f32]) -> FitReport {
        let n = inputs.len() / self.n_in;
        assert!(n >= 2, "a row to learn and a row to be held out");
        let (held, train) = self.split(n);
        let (held, train) = (held.as_slice(), train.as_slice());
        take(inputs, train, &mut self.units.input_mean, &mut self.units.input_deviation);
        take(targets, train, &mut self.units.target_mean, &mut self.units.target_deviation);
        let rows = Rows { inputs, targets };
        let (settings, seed, fits, units) = (&self.settings, self.seed, self.fits, &self.units);
        let n_members = settings.members as u64;
        let reports: Vec<(f64, usize)> = self
            .members
            .par_iter_mut()
            .enumerate()
            .map(|(i, member)| {
                let stream = &mut Stream::new(seed, "model batches", fits * n_members + i as u64);
                member.fit(&rows, units, (train, held), settings, stream)
            })
            .collect();
        self.fits += 1;
        let mut order: Vec<usize> = (0..reports.len()).collect();
        order.sort_by(|&a, &b| reports[a].0.total_cmp(&reports[b].0));
        order.truncate(self.settings.elites);
        self.elites = order;
        let errors = self.elites.iter().map(|&i| reports[i].0).sum::<f64>();
        let epochs = reports.iter().map(|report| report.1).sum::<usize>();
        FitReport {
            holdout_error: errors / self.elites.len() as f64,
            epochs: epochs as f64 / reports.len() as f64,
        }
    }

    /// Draws targets for rows of inputs, each from an elite of its own choice.
    pub fn draw(&mut self, inputs: &[f32], noise: &mut Stream, out: &mut [f32]) {
        let (n_in, n_out) = (self.n_in, self.n_out);
        let n = inputs.len() / n_in;
        let chosen: Vec<usize> =
            (0..n).map(|_| self.elites[noise.index(self.elites.len())]).collect();
        let mut eps = vec![0.0; n * n_out];
        for eps in eps.chunks_exact_mut(n_out) {
            eps[..self.n_noisy].fill_with(|| noise.normal() as f32);
        }
        let units = &self.units;
        let drawn: Vec<(usize, Vec<usize>, Vec<f32>)> = self
            .members
            .par_iter_mut()
            .enumerate()
            .filter_map(|(i, member)| {
                let rows: Vec<usize> = (0..n).filter(|&row| chosen[row] == i).collect();
                if rows.is_empty() {
                    return None;
                }
                let values = member.draw(inputs, &rows, units, &eps);
                Some((i, rows, values))
            })
            .collect();
        for (_, rows, values) in drawn {
            for (row, values) in rows.into_iter().zip(values.chunks_exact(n_out)) {
                out[row * n_out..][..n_out].copy_from_slice(values);
            }
        }
    }
}

impl Member {
    /// Gathers rows of inputs and targets, in their units.
    fn gather(&mut self, rows: &Rows<'_>, at: &[usize], units: &Units) {
        let (n_in, n_out) = (units.input_mean.len(), units.target_mean.len());
        let scaled = |row: &[f32], mean: &[f32], deviation: &[f32], out: &mut Vec<f32>| {
            out.extend(row.iter().zip(mean.iter().zip(deviation)).map(|(v, (m, d))| (v - m) / d));
        };
        self.x.clear();
        self.y.clear();
        for &row in at {
            let input = &rows.inputs[row * n_in..][..n_in];
            scaled(input, &units.input_mean, &units.input_deviation, &mut self.x);
            if !rows.targets.is_empty() {
                let target = &rows.targets[row * n_out..][..n_out];
                scaled(target, &units.target_mean, &units.target_deviation, &mut self.y);
            }
        }
    }

    /// Returns the error on held-out rows and the passes made.
    fn fit(
        &mut self,
        rows: &Rows<'_>,
        units: &Units,
        (train, held): (&[usize], &[usize]),
        settings: &EnsembleSettings,
        stream: &mut Stream,
    ) -> (f64, usize) {
        let mut sample: Vec<usize> =
            (0..train.len()).map(|_| train[stream.index(train.len())]).collect();
        let mut best = (self.error(rows, held, units), self.net.clone(), self.bounds.clone());
        // Small steps forward add up: they are measured from the last large one.
        let (mut reference, mut since, mut epochs) = (best.0, 0, 0);
        while epochs < settings.max_epochs && since <= settings.patience {
            shuffle(&mut sample, stream);
            for batch in sample.chunks(settings.batch) {
                self.gather(rows, batch, units);
                self.step(&settings.weight_decay);
            }
            epochs += 1;
            let error = self.error(rows, held, units);
            since += 1;
            if error < 0.99 * reference {
                (reference, since) = (error, 0);
            }
            if error < best.0 {
                best = (error, self.net.clone(), self.bounds.clone());
            }
        }
        self.net.params_mut().copy_from_slice(best.1.params());
        self.bounds.copy_from_slice(&best.2);
        (best.0, epochs)
    }

    /// Mean squared error on some rows.
    fn error(&mut self, rows: &Rows<'_>, at: &[usize], units: &Units) -> f64 {
        let n_out = self.bounds.len() / 2;
        let mut sum = 0.0;
        for part in at.chunks(512) {
            self.gather(rows, part, units);
            let out = self.net.forward(&self.x, &mut self.ws);
            for (out, y) in out.chunks_exact(2 * n_out).zip(self.y.chunks_exact(n_out)) {
                sum += out.iter().zip(y).map(|(m, y)| f64::from(m - y).powi(2)).sum::<f64>();
            }
        }
        sum / (at.len() * n_out) as f64
    }

    /// One step of Adam on the gathered rows: mean (μ − y)² e^(−ℓ) + ℓ, the bounds' weight, and decay.
    fn step(&mut self, weight_decay: &[f64]) {
        let n_out = self.bounds.len() / 2;
        let n = self.y.len();
        let share = 1.0 / n as f32;
        let out = self.net.forward(&self.x, &mut self.ws);
        self.seed.clear();
        self.seed.resize(2 * n, 0.0);
        let mut bounds_grads = vec![BOUNDS_WEIGHT; 2 * n_out];
        bounds_grads[n_out..].fill(-BOUNDS_WEIGHT);
        let (high, low) = self.bounds.split_at(n_out);
        for (row, (out, y)) in
            out.chunks_exact(2 * n_out).zip(self.y.chunks_exact(n_out)).enumerate()
        {
            for k in 0..n_out {
                let v = LogVariance::of(out[n_out + k], high[k], low[k]);
                let error = out[k] - y[k];
                let precision = (-v.value).exp();
                let slope = share * (1.0 - error * error * precision);
                self.seed[row * 2 * n_out + k] = 2.0 * share * error * precision;
                self.seed[row * 2 * n_out + n_out + k] = slope * v.by_raw;
                bounds_grads[k] += slope * v.by_high;
                bounds_grads[n_out + k] += slope * v.by_low;
            }
        }
        self.grads.fill(0.0);
        self.net.backward(&self.seed, &mut self.ws, &mut self.grads, None);
        for layer in 0..self.net.spec().n_layers() {
            let last = weight_decay.last().copied().unwrap_or(0.0);
            let decay = weight_decay.get(layer).copied().unwrap_or(last) as f32;
            let weights = self.net.spec().weight(layer);
            for (grad, weight) in
                self.grads[weights.clone()].iter_mut().zip(&self.net.params()[weights])
            {
                *grad += decay * weight;
            }
        }
        self.adam.step(self.net.params_mut(), &self.grads);
        self.bounds_adam.step(&mut self.bounds, &bounds_grads);
    }

    /// Means plus noise for some rows of the inputs.
    fn draw(&mut self, inputs: &[f32], at: &[usize], units: &Units, eps: &[f32]) -> Vec<f32> {
        let n_out = self.bounds.len() / 2;
        let mut values = Vec::with_capacity(at.len() * n_out);
        for part in at.chunks(512) {
            self.gather(&Rows { inputs, targets: &[] }, part, units);
            let out = self.net.forward(&self.x, &mut self.ws);
            let (high, low) = self.bounds.split_at(n_out);
            for (out, row) in out.chunks_exact(2 * n_out).zip(part) {
                for k in 0..n_out {
                    let v = LogVariance::of(out[n_out + k], high[k], low[k]);
                    let value = out[k] + (0.5 * v.value).exp() * eps[row * n_out + k];
                    values.push(units.target_mean[k] + units.target_deviation[k] * value);
                }
            }
        }
        values
    }
}

/// ℓ between its bounds, softly, and its slopes.
struct LogVariance {
    value: f32,
    by_raw: f32,
    by_high: f32,
    by_low: f32,
}

impl LogVariance {
    /// ℓ = low + softplus(a − low) with a = high − softplus(high − raw).
    fn of(raw: f32, high: f32, low: f32) -> Self {
        let a = high - softplus(high - raw);
        let (inner, outer) = (logistic(high - raw), logistic(a - low));
        Self {
            value: low + softplus(a - low),
            by_raw: outer * inner,
            by_high: outer * (1.0 - inner),
            by_low: 1.0 - outer,
        }
    }
}

fn softplus(z: f32) -> f32 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn logistic(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

fn shuffle(order: &mut [usize], stream: &mut Stream) {
    for i in (1..order.len()).rev() {
        order.swap(i, stream.index(i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EnsembleSettings {
        EnsembleSettings {
            members: 3,
            elites: 2,
            hidden: vec![16, 16],
            learning_rate: 3e-3,
            batch: 32,
            weight_decay: vec![2.5e-5, 5e-5],
            holdout: 0.2,
            max_epochs: 200,
            patience: 10,
        }
    }

    /// The loss of [`Member::step`] without decay.
    fn loss(member: &Member) -> f64 {
        let n_out = member.bounds.len() / 2;
        let (high, low) = member.bounds.split_at(n_out);
        let mut ws = member.net.workspace(8);
        let out = member.net.forward(&member.x, &mut ws);
        let mut sum = 0.0;
        for (out, y) in out.chunks_exact(2 * n_out).zip(member.y.chunks_exact(n_out)) {
            for k in 0..n_out {
                let v = LogVariance::of(out[n_out + k], high[k], low[k]).value;
                sum += f64::from((out[k] - y[k]).powi(2) * (-v).exp() + v);
            }
        }
        let bounds: f32 = high.iter().sum::<f32>() - low.iter().sum::<f32>();
        sum / member.y.len() as f64 + f64::from(BOUNDS_WEIGHT * bounds)
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let mut ensemble = Ensemble::new((3, 2, 2), &settings(), 0).unwrap();
        let member = &mut ensemble.members[0];
        member.bounds.copy_from_slice(&[0.3, -0.2, -1.0, -0.7]);
        let mut stream = Stream::new(1, "rows", 0);
        member.x = (0..24).map(|_| stream.normal() as f32).collect();
        member.y = (0..16).map(|_| stream.normal() as f32).collect();
        let mut moved = member.clone();
        moved.step(&[]);
        // Adam's first step has the gradient's signs alone; its first moment is a tenth of the gradient.
        let exact = |adam: &Adam<f32>, at: usize| 10.0 * f64::from(adam.m()[at]);
        let h = 1e-2;
        for at in [0, 7, 31, 63, moved.grads.len() - 1, moved.grads.len() - 3] {
            let mut at_offset = |offset: f32| {
                member.net.params_mut()[at] += offset;
                let value = loss(member);
                member.net.params_mut()[at] -= offset;
                value
            };
            let slope = (at_offset(h) - at_offset(-h)) / f64::from(2.0 * h);
            let exact = exact(&moved.adam, at);
            assert!((slope - exact).abs() < 2e-3 * exact.abs().max(0.1), "{at}: {slope} {exact}");
        }
        for at in 0..4 {
            let mut at_offset = |offset: f32| {
                member.bounds[at] += offset;
                let value = loss(member);
                member.bounds[at] -= offset;
                value
            };
            let slope = (at_offset(h) - at_offset(-h)) / f64::from(2.0 * h);
            let exact = exact(&moved.bounds_adam, at);
            assert!((slope - exact).abs() < 2e-3 * exact.abs().max(0.1), "{at}: {slope} {exact}");
        }
    }

    #[test]
    fn means_and_noise_are_learned() {
        let mut ensemble = Ensemble::new((2, 1, 1), &settings(), 0).unwrap();
        let mut stream = Stream::new(2, "rows", 0);
        let n = 1000;
        let inputs: Vec<f32> = (0..2 * n).map(|_| stream.uniform(-1.0, 1.0) as f32).collect();
        let mean = |x: &[f32]| (2.0 * x[0]).sin() + 0.5 * x[1];
        let targets: Vec<f32> =
            inputs.chunks_exact(2).map(|x| mean(x) + 0.1 * stream.normal() as f32).collect();
        let report = ensemble.fit(&inputs, &targets);
        // The noise is a hundredth, of a variance of about a half.
        assert!((0.01..0.03).contains(&report.holdout_error), "{report:?}");
        let mut drawn = vec![0.0; n];
        ensemble.draw(&inputs, &mut stream, &mut drawn);
        let squares: f32 =
            inputs.chunks_exact(2).zip(&drawn).map(|(x, d)| (d - mean(x)).powi(2)).sum();
        let deviation = (squares / n as f32).sqrt();
        assert!((0.08..0.15).contains(&deviation), "{deviation}");
    }

    #[test]
    fn what_has_no_noise_is_drawn_as_its_mean() {
        let settings = EnsembleSettings { members: 1, elites: 1, ..settings() };
        let mut ensemble = Ensemble::new((2, 2, 1), &settings, 0).unwrap();
        let draw = |ensemble: &mut Ensemble, seed| {
            let mut drawn = vec![0.0; 2];
            ensemble.draw(&[0.3, -0.4], &mut Stream::new(seed, "noise", 0), &mut drawn);
            drawn
        };
        let (one, other) = (draw(&mut ensemble, 0), draw(&mut ensemble, 1));
        assert!(one[0] != other[0] && one[1] == other[1], "{one:?} {other:?}");
    }

    #[test]
    fn rows_that_are_held_out_stay_so() {
        let ensemble = Ensemble::new((1, 1, 1), &settings(), 0).unwrap();
        let (held, train) = ensemble.split(100);
        assert_eq!((held.len(), train.len()), (20, 80));
        let (more, _) = ensemble.split(260);
        assert!(more.len() == 52 && more.starts_with(&held));
        let (held, train) = ensemble.split(2);
        assert_eq!((held.len(), train.len()), (1, 1));
        let (held, train) = ensemble.split(100_000);
        assert_eq!((held.len(), train.len()), (MOST_HELD_OUT, 100_000 - MOST_HELD_OUT));
    }
}
