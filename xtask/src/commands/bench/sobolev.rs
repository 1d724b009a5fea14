//! Training of V = |r(x)|² on values and gradients, r a tanh network: one epoch is one full-batch
//! Adam step in f64, on the data of `bench/peers/updates.py`.

use anyhow::Result;
use critics::{Activation, Adam, AdamSettings, Mlp, MlpSpec, MlpWorkspace};
use dynamics::Stream;

use super::case::{Case, Precision, Source, Unit};
use super::flops;

const SIZES: [usize; 5] = [3, 64, 64, 64, 3];
const SAMPLES: usize = 100;

/// Epochs of training.
///
/// # Errors
/// Sizes that make no network.
pub(super) fn epochs(name: &str) -> Result<Case<'static>> {
    let mut stream = Stream::new(0, "bench sobolev", 0);
    let mut fit = Fit::new(&SIZES, SAMPLES, &mut stream)?;
    let work = move |calls| {
        (0..calls).for_each(|_| fit.epoch());
        Ok(())
    };
    Ok(Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::Milliseconds,
        flops: Some((flops::sobolev_epoch(&SIZES, SAMPLES), Precision::F64)),
        updates_per_step: None,
        source: Source::timed(10, 10, Box::new(work)),
    })
}

/// The network, its data and the buffers of an epoch.
struct Fit {
    net: Mlp<f64>,
    ws: MlpWorkspace<f64>,
    adam: Adam<f64>,
    grads: Vec<f64>,
    /// Samples × n_in.
    x: Vec<f64>,
    /// V̂ per sample, and ĝ, samples × n_in.
    values: Vec<f64>,
    slopes: Vec<f64>,
    /// Samples × n_out: r, and the seeds of both reverse passes.
    r: Vec<f64>,
    seed: Vec<f64>,
    twice_r: Vec<f64>,
    /// Samples × n_in: g, then ∂L/∂g.
    gx: Vec<f64>,
}

impl Fit {
    /// A fresh network, to be trained on V̂ = |x|² and ĝ = 2x at standard normal x.
    fn new(sizes: &[usize], samples: usize, stream: &mut Stream) -> Result<Self> {
        let spec = MlpSpec { sizes: sizes.to_vec(), hidden: Activation::Tanh };
        let (n_in, n_out) = (spec.n_in(), spec.n_out());
        let x: Vec<f64> = (0..samples * n_in).map(|_| stream.normal()).collect();
        let net = Mlp::xavier(spec, &[], stream)?;
        let n_params = net.params().len();
        Ok(Self {
            ws: net.workspace(samples),
            adam: Adam::new(n_params, AdamSettings { lr: 1e-3, ..AdamSettings::default() }),
            grads: vec![0.0; n_params],
            values: x.chunks_exact(n_in).map(|x| x.iter().map(|x| x * x).sum()).collect(),
            slopes: x.iter().map(|x| 2.0 * x).collect(),
            r: vec![0.0; samples * n_out],
            seed: vec![0.0; samples * n_out],
            twice_r: vec![0.0; samples * n_out],
            gx: vec![0.0; samples * n_in],
            net,
            x,
        })
    }

    fn epoch(&mut self) {
        self.differentiate();
        self.adam.step(self.net.params_mut(), &self.grads);
    }

    /// Writes ∂L/∂θ into `grads` and returns L = mean (V − V̂)² + mean |g − ĝ|², g = ∇V = 2Jᵀr.
    ///
    /// With v = ∂L/∂g held constant, v·dg = d(2 r·Jv) = 2 (Jv)·dr + 2 r·d(Jv). So the value's seed is
    /// ∂L/∂V·2r + 2 Jv, the tangent's 2r, and one reverse pass serves both.
    fn differentiate(&mut self) -> f64 {
        let n = self.values.len();
        let weight = 2.0 / n as f64;
        let n_out = self.r.len() / n;
        self.r.copy_from_slice(self.net.forward(&self.x, &mut self.ws));
        for (twice, r) in self.twice_r.iter_mut().zip(&self.r) {
            *twice = 2.0 * r;
        }
        self.net.input_gradient(&self.twice_r, &mut self.ws, &mut self.gx);
        let mut loss = 0.0;
        for (g, slope) in self.gx.iter_mut().zip(&self.slopes) {
            let error = *g - slope;
            loss += 0.5 * weight * error * error;
            *g = weight * error;
        }
        let tangent = self.net.tangent(&self.gx, &mut self.ws);
        let rows = self.seed.chunks_exact_mut(n_out).zip(tangent.chunks_exact(n_out));
        for (((seed, jv), r), value) in rows.zip(self.r.chunks_exact(n_out)).zip(&self.values) {
            let error = r.iter().map(|r| r * r).sum::<f64>() - value;
            loss += 0.5 * weight * error * error;
            for ((seed, jv), r) in seed.iter_mut().zip(jv).zip(r) {
                *seed = 2.0 * (weight * error * r + jv);
            }
        }
        self.grads.fill(0.0);
        self.net.sobolev_backward(&self.seed, &self.twice_r, &mut self.ws, &mut self.grads);
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Fit {
        Fit::new(&[3, 8, 8, 8, 3], 7, &mut Stream::new(3, "test", 0)).unwrap()
    }

    /// The loss from r and central differences of V, without a derivative of ours.
    fn loss_by_differences(fit: &mut Fit) -> f64 {
        let n = fit.values.len() as f64;
        let Fit { net, ws, x, values, slopes, .. } = fit;
        let mut value_at = |x: &[f64]| -> f64 { net.forward(x, ws).iter().map(|r| r * r).sum() };
        let mut loss = 0.0;
        for ((x, value), slope) in x.chunks_exact(3).zip(&*values).zip(slopes.chunks_exact(3)) {
            loss += (value_at(x) - value).powi(2) / n;
            for i in 0..3 {
                let h = 1e-5;
                let mut at = |h: f64| {
                    let mut x = x.to_vec();
                    x[i] += h;
                    value_at(&x)
                };
                loss += ((at(h) - at(-h)) / (2.0 * h) - slope[i]).powi(2) / n;
            }
        }
        loss
    }

    #[test]
    fn the_loss_is_that_of_values_and_differences_of_values() {
        let mut fit = small();
        let (found, expected) = (fit.differentiate(), loss_by_differences(&mut fit));
        assert!((found - expected).abs() < 1e-8 * expected, "{found} {expected}");
    }

    #[test]
    fn the_closed_form_equals_central_differences_of_the_loss() {
        let mut fit = small();
        fit.differentiate();
        let grads = fit.grads.clone();
        let scale = grads.iter().fold(0.0_f64, |a, g| a.max(g.abs()));
        for (i, &found) in grads.iter().enumerate() {
            let h = 1e-5;
            let mut at = |h: f64| {
                let before = fit.net.params()[i];
                fit.net.params_mut()[i] = before + h;
                let loss = fit.differentiate();
                fit.net.params_mut()[i] = before;
                loss
            };
            let difference = (at(h) - at(-h)) / (2.0 * h);
            let error = (found - difference).abs() / scale;
            assert!(error < 1e-8, "parameter {i}: {found} against {difference}");
        }
    }

    #[test]
    fn training_lowers_the_loss() {
        let mut fit = small();
        let before = fit.differentiate();
        (0..200).for_each(|_| fit.epoch());
        let after = fit.differentiate();
        assert!(after < 0.5 * before, "{before} to {after}");
    }
}
