//! Training on a data set.

use std::ops::ControlFlow;

use dynamics::Stream;
use serde::{Deserialize, Serialize};

use super::{
    HessianTargets, SobolevErrors, SobolevTargets, SobolevWeights, SobolevWorkspace, ValueNetwork,
};
use crate::error::{check_finite, check_length};
use crate::{Adam, CriticError, Real};

/// States with their values and derivatives, sample after sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueData<T> {
    /// States, samples × nx.
    pub x: Vec<T>,
    /// V, samples.
    pub v: Vec<T>,
    /// Vx, samples × nx; may be empty where gradients are not trained.
    pub vx: Vec<T>,
    /// Vxx, samples × nx × nx; may be empty where Hessians are not trained.
    pub vxx: Vec<T>,
}

/// How [`ValueNetwork::fit`] trains.
///
/// The order of the loss follows from the weights: order 2 with a weight of the Hessians, else order
/// 1 with a weight of the gradients, else order 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitSettings {
    /// Passes through the data.
    pub epochs: usize,
    /// Samples per step, shuffled anew in every epoch; none takes all of them.
    pub batch: Option<usize>,
    /// Weights of gradients and Hessians.
    pub weights: SobolevWeights,
    /// Random unit directions per sample and step along which Hessians are compared; none compares
    /// the whole matrices.
    pub directions: Option<usize>,
    /// Training stops once the errors of V and of Vx (where trained) are both below these; 0 never
    /// stops.
    pub v_tolerance: f64,
    /// See `v_tolerance`.
    pub vx_tolerance: f64,
    /// Epochs from one validation to the next, at least 1; the first and the last are validated.
    pub validate_every: usize,
}

impl Default for FitSettings {
    /// Order 1, 5000 epochs of full batches, no early stop, validation in every epoch.
    fn default() -> Self {
        Self {
            epochs: 5000,
            batch: None,
            weights: SobolevWeights::default(),
            directions: None,
            v_tolerance: 0.0,
            vx_tolerance: 0.0,
            validate_every: 1,
        }
    }
}

/// One epoch of training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitEpoch {
    /// Counted from 0.
    pub epoch: usize,
    /// Means over the epoch of the errors of each batch before its step.
    pub train: SobolevErrors,
    /// Errors of the validation data after the epoch.
    pub validation: Option<SobolevErrors>,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitStop {
    /// All epochs are done.
    Epochs,
    /// The errors fell below the tolerances.
    Tolerance,
    /// The observer asked for it.
    Observer,
}

/// What [`ValueNetwork::fit`] did.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// All epochs in order.
    pub epochs: Vec<FitEpoch>,
    /// Why there were no more.
    pub stop: FitStop,
}

impl<T: Real> ValueNetwork<T> {
    /// Trains by Adam on `data`, and reports the errors of every epoch.
    ///
    /// Network and optimiser go on from where they stand, so that several calls with changing data
    /// train one network. `stream` shuffles and draws directions; with full batches and whole
    /// matrices it is not touched. `observer` sees every epoch and may stop the training. Equal
    /// arguments give equal bits. Steps allocate nothing.
    ///
    /// Source: Parag et al. (2022) and the code published with it, which also stops on both errors.
    ///
    /// # Errors
    ///
    /// [`CriticError::Shape`] or [`CriticError::NotFinite`] for data that do not fit the network or
    /// the order of the loss, or an optimiser of another network; [`CriticError::Setting`] for a
    /// setting out of range; [`CriticError::Diverged`] once loss or parameters are not finite.
    pub fn fit(
        &mut self,
        adam: &mut Adam<T>,
        data: &ValueData<T>,
        validation: Option<&ValueData<T>>,
        settings: &FitSettings,
        stream: &mut Stream,
        observer: &mut dyn FnMut(&FitEpoch) -> ControlFlow<()>,
    ) -> Result<FitReport, CriticError> {
        settings.validate()?;
        check_length("the optimiser's state", adam.m().len(), self.net().params().len())?;
        data.validate(self.nx(), settings)?;
        if let Some(validation) = validation {
            validation.validate(self.nx(), settings)?;
        }
        let mut steps = Steps::new(self, data, settings);
        let mut report = FitReport { epochs: Vec::new(), stop: FitStop::Epochs };
        for epoch in 0..settings.epochs {
            let train = steps.epoch(self, adam, stream, epoch)?;
            let due = epoch % settings.validate_every == 0 || epoch + 1 == settings.epochs;
            let validation = validation.filter(|_| due).map(|data| {
                let targets = data.targets(settings);
                self.sobolev_errors(&data.x, &targets, &mut steps.ws)
            });
            let row = FitEpoch { epoch, train, validation };
            report.epochs.push(row);
            if observer(&row).is_break() {
                report.stop = FitStop::Observer;
                break;
            }
            let vx_done = train.vx.is_none_or(|error| error < settings.vx_tolerance);
            if train.v < settings.v_tolerance && vx_done {
                report.stop = FitStop::Tolerance;
                break;
            }
        }
        let epoch = report.epochs.len().saturating_sub(1);
        check_finite("`params`", self.net().params())
            .map_err(|error| CriticError::Diverged { epoch, what: error.to_string() })?;
        Ok(report)
    }
}

impl FitSettings {
    fn validate(&self) -> Result<(), CriticError> {
        let weights = [("gradient", self.weights.gradient), ("hessian", self.weights.hessian)];
        let tolerances = [("v_tolerance", self.v_tolerance), ("vx_tolerance", self.vx_tolerance)];
        for (name, found) in weights.into_iter().chain(tolerances) {
            if !(found.is_finite() && found >= 0.0) {
                let needed = "it must be finite and at least 0";
                return Err(CriticError::Setting { name, found, needed });
            }
        }
        let counts = [
            ("batch", self.batch.unwrap_or(1)),
            ("directions", self.directions.unwrap_or(1)),
            ("validate_every", self.validate_every),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            None => Ok(()),
            Some((name, _)) => {
                Err(CriticError::Setting { name, found: 0.0, needed: "it must be at least 1" })
            }
        }
    }

    fn trains_hessians(&self) -> bool {
        self.weights.hessian > 0.0
    }

    fn trains_gradients(&self) -> bool {
        self.weights.gradient > 0.0
    }
}

impl<T: Real> ValueData<T> {
    /// Checks what the order of the loss needs.
    fn validate(&self, n: usize, settings: &FitSettings) -> Result<(), CriticError> {
        let samples = self.v.len();
        check_length("`x` of the data", self.x.len(), samples.max(1) * n)?;
        check_finite("`x` of the data", &self.x)?;
        check_finite("`v` of the data", &self.v)?;
        if settings.trains_gradients() {
            check_length("`vx` of the data", self.vx.len(), samples * n)?;
            check_finite("`vx` of the data", &self.vx)?;
        }
        if settings.trains_hessians() {
            check_length("`vxx` of the data", self.vxx.len(), samples * n * n)?;
            check_finite("`vxx` of the data", &self.vxx)?;
        }
        Ok(())
    }

    /// All samples with whole matrices.
    fn targets(&self, settings: &FitSettings) -> SobolevTargets<'_, T> {
        SobolevTargets {
            v: &self.v,
            vx: settings.trains_gradients().then_some(&self.vx),
            vxx: settings.trains_hessians().then_some(HessianTargets::Matrices(&self.vxx)),
        }
    }
}

/// The steps of an epoch and their buffers.
struct Steps<'a, T: Real> {
    data: &'a ValueData<T>,
    settings: &'a FitSettings,
    ws: SobolevWorkspace<T>,
    grads: Vec<T>,
    /// Samples in the order of this epoch.
    order: Vec<usize>,
    /// The batch at hand, where it is not all of the data.
    batch: ValueData<T>,
    /// Directions of the batch, and V̂xx times each.
    directions: Vec<T>,
    products: Vec<T>,
}

impl<'a, T: Real> Steps<'a, T> {
    fn new(net: &ValueNetwork<T>, data: &'a ValueData<T>, settings: &'a FitSettings) -> Self {
        let batch = settings.batch.unwrap_or(usize::MAX).min(data.v.len());
        let numbers = |needed: bool, n: usize| if needed { vec![T::ZERO; n] } else { Vec::new() };
        let along = settings.directions.filter(|_| settings.trains_hessians()).unwrap_or(0);
        let directions = vec![T::ZERO; batch * along * net.nx()];
        Self {
            data,
            settings,
            ws: net.sobolev_workspace(batch),
            grads: vec![T::ZERO; net.net().params().len()],
            order: (0..data.v.len()).collect(),
            batch: ValueData {
                x: numbers(true, batch * net.nx()),
                v: numbers(true, batch),
                vx: numbers(settings.trains_gradients(), batch * net.nx()),
                vxx: numbers(settings.trains_hessians(), batch * net.nx() * net.nx()),
            },
            products: directions.clone(),
            directions,
        }
    }

    /// One pass through the data; the mean errors.
    fn epoch(
        &mut self,
        net: &mut ValueNetwork<T>,
        adam: &mut Adam<T>,
        stream: &mut Stream,
        epoch: usize,
    ) -> Result<SobolevErrors, CriticError> {
        let (samples, length) = (self.data.v.len(), self.batch.v.len());
        if length < samples {
            // Fisher and Yates, from the same order in every epoch: two calls equal one long one.
            self.order.iter_mut().enumerate().for_each(|(sample, place)| *place = sample);
            for last in (1..samples).rev() {
                self.order.swap(last, stream.index(last + 1));
            }
        }
        let mut mean = SobolevErrors { v: 0.0, vx: None, vxx: None };
        for start in (0..samples).step_by(length) {
            let count = length.min(samples - start);
            let errors = self.step(net, adam, stream, start, count);
            if !errors.loss(self.settings.weights).is_finite() {
                let what = format!("the errors of a batch are {errors:?}");
                return Err(CriticError::Diverged { epoch, what });
            }
            #[expect(clippy::cast_precision_loss, reason = "data sets are far smaller than 2⁵²")]
            let share = count as f64 / samples as f64;
            let add = |sum: &mut Option<f64>, error: Option<f64>| {
                *sum = error.map(|error| sum.unwrap_or(0.0) + share * error);
            };
            mean.v += share * errors.v;
            add(&mut mean.vx, errors.vx);
            add(&mut mean.vxx, errors.vxx);
        }
        Ok(mean)
    }

    /// One step on `count` samples from `start` on in the order of the epoch.
    ///
    /// A loss that is not finite changes nothing.
    fn step(
        &mut self,
        net: &mut ValueNetwork<T>,
        adam: &mut Adam<T>,
        stream: &mut Stream,
        start: usize,
        count: usize,
    ) -> SobolevErrors {
        let n = net.nx();
        let data = if count == self.data.v.len() {
            self.data
        } else {
            let samples = &self.order[start..start + count];
            gather(&self.data.x, samples, n, &mut self.batch.x);
            gather(&self.data.v, samples, 1, &mut self.batch.v);
            gather(&self.data.vx, samples, n, &mut self.batch.vx);
            gather(&self.data.vxx, samples, n * n, &mut self.batch.vxx);
            &self.batch
        };
        let per_sample = self.directions.len() / (self.batch.v.len() * n);
        if per_sample > 0 {
            draw_directions(stream, n, &mut self.directions[..count * per_sample * n]);
            multiply(&data.vxx, &self.directions, n, per_sample, &mut self.products);
        }
        let vxx = self.settings.trains_hessians().then(|| {
            if per_sample == 0 {
                return HessianTargets::Matrices(&data.vxx[..count * n * n]);
            }
            let range = 0..count * per_sample * n;
            let (directions, products) = (&self.directions[range.clone()], &self.products[range]);
            HessianTargets::Products { per_sample, directions, products }
        });
        let vx = self.settings.trains_gradients().then(|| &data.vx[..count * n]);
        let targets = SobolevTargets { v: &data.v[..count], vx, vxx };
        let weights = self.settings.weights;
        self.grads.fill(T::ZERO);
        let x = &data.x[..count * n];
        let errors = net.sobolev_gradient(x, &targets, weights, &mut self.ws, &mut self.grads);
        if errors.loss(weights).is_finite() {
            adam.step(net.params_mut(), &self.grads);
        }
        errors
    }
}

/// `to` = the given samples of `from`, `size` numbers each; nothing where `to` is not used.
fn gather<T: Copy>(from: &[T], samples: &[usize], size: usize, to: &mut [T]) {
    for (to, sample) in to.chunks_exact_mut(size).zip(samples) {
        to.copy_from_slice(&from[sample * size..][..size]);
    }
}

/// Fills `directions` with unit vectors, uniform on the sphere.
fn draw_directions<T: Real>(stream: &mut Stream, n: usize, directions: &mut [T]) {
    for direction in directions.chunks_exact_mut(n) {
        let mut square = 0.0;
        // A vector of zeros has no direction; it is next to impossible.
        while square == 0.0 {
            square = 0.0;
            for entry in &mut *direction {
                let z = stream.normal();
                square += z * z;
                *entry = T::from_f64(z);
            }
        }
        let inverse = T::from_f64(square.sqrt().recip());
        direction.iter_mut().for_each(|entry| *entry *= inverse);
    }
}

/// `products` = V̂xx d for all directions of every sample.
fn multiply<T: Real>(vxx: &[T], directions: &[T], n: usize, per_sample: usize, products: &mut [T]) {
    let size = per_sample * n;
    let samples = products.chunks_exact_mut(size).zip(directions.chunks_exact(size));
    for ((products, directions), vxx) in samples.zip(vxx.chunks_exact(n * n)) {
        for (product, d) in products.chunks_exact_mut(n).zip(directions.chunks_exact(n)) {
            for (product, row) in product.iter_mut().zip(vxx.chunks_exact(n)) {
                *product = row.iter().zip(d).map(|(entry, d)| *entry * *d).sum();
            }
        }
    }
}
