//! Dynamics learned from transitions: a small network for each entry of the state.

use critics::{Activation, CriticError, Initialization, Mlp, MlpSpec, MlpWorkspace, Real};
use dynamics::{Dynamics, DynamicsError, Linearization, Plant, Stream, Task};
use nalgebra::{DMatrix, DVector};

use super::settings::{ModelNoise, ModelSettings};
use super::sizes::Sizes;
use crate::Normalization;

/// Smallest and largest log-deviation, in units of the scaled changes.
const LOG_STD: [f64; 2] = [-10.0, 2.0];

/// x' = x + μ(o, a) + σ(o, a) ξ with a network per entry of the state (Heess et al. 2015, section 5):
/// what each predicts is the entry's change, from the normalised observation and the action in units of
/// half its range.
///
/// An entry that has changed by the same amount in every transition seen so far (a target that stays,
/// a clock) is predicted to go on so, and needs no network.
///
/// It is a [`Dynamics`] like any other, in physical units of the control.
#[derive(Clone)]
pub struct LearnedDynamics<'a, T: Real = f32> {
    task: &'a dyn Task,
    sizes: Sizes,
    noise: ModelNoise,
    pub(crate) nets: Vec<Mlp<T>>,
    /// log σ of each entry where it is a parameter; else unused.
    pub(crate) log_std: Vec<T>,
    pub(crate) normalization: Normalization,
    pub(crate) targets: Targets,
}

/// Units of the changes that are learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets {
    /// What is taken off; all of the change where it is known.
    pub mean: Vec<f64>,
    /// What the rest is divided by.
    pub scale: Vec<f64>,
    /// Entries that change by the same amount always.
    pub known: Vec<bool>,
}

impl Targets {
    /// The changes as they are.
    #[must_use]
    pub fn none(ndx: usize) -> Self {
        Self { mean: vec![0.0; ndx], scale: vec![1.0; ndx], known: vec![false; ndx] }
    }
}

/// Scratch of a [`LearnedDynamics`].
pub struct ModelWorkspace<T: Real> {
    nets: Vec<MlpWorkspace<T>>,
    seed: Vec<T>,
    row: Vec<T>,
    /// Means and deviations of the last prediction in the units of the state, samples × ndx.
    pub mean: Vec<f64>,
    /// See `mean`.
    pub std: Vec<f64>,
    /// Of a single step.
    input: Vec<T>,
    o: Vec<f64>,
    a: Vec<f64>,
    changes: Vec<f64>,
    jacobian: Vec<f64>,
    ox: DMatrix<f64>,
}

impl<'a, T: Real> LearnedDynamics<'a, T> {
    /// A model with random weights, of which stream `model weights` number i draws those of entry i.
    ///
    /// # Errors
    /// Layer sizes that make no network.
    pub fn new(
        task: &'a dyn Task,
        settings: &ModelSettings,
        seed: u64,
    ) -> Result<Self, CriticError> {
        let sizes = Sizes::of(task);
        let n_out = if settings.noise == ModelNoise::StateDependent { 2 } else { 1 };
        let mut layers = vec![sizes.no + sizes.nu];
        layers.extend(&settings.hidden);
        layers.push(n_out);
        let spec = MlpSpec { sizes: layers, hidden: Activation::Tanh };
        let net = |entry| {
            let stream = &mut Stream::new(seed, "model weights", entry);
            Mlp::random(spec.clone(), Initialization::Pytorch, &[], stream)
        };
        Ok(Self {
            task,
            sizes,
            noise: settings.noise,
            nets: (0..sizes.ndx as u64).map(net).collect::<Result<_, _>>()?,
            log_std: vec![T::ZERO; sizes.ndx],
            normalization: Normalization::none(sizes.no),
            targets: Targets::none(sizes.ndx),
        })
    }

    /// The same model with other units of observations and changes.
    #[must_use]
    pub fn with_units(self, normalization: Normalization, targets: Targets) -> Self {
        Self { normalization, targets, ..self }
    }

    /// Parameters of the network of an entry.
    #[must_use]
    pub fn n_params(&self) -> usize {
        self.nets.first().map_or(0, |net| net.params().len())
    }

    /// Parameters of the network of entry `i`, to be changed.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn params_mut(&mut self, i: usize) -> &mut [T] {
        self.nets[i].params_mut()
    }

    /// log σ of every entry, to be changed; used with [`ModelNoise::Constant`] alone.
    pub fn log_std_mut(&mut self) -> &mut [T] {
        &mut self.log_std
    }

    /// Units of the changes.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Scratch for up to `n` samples at once.
    #[must_use]
    pub fn scratch(&self, n: usize) -> ModelWorkspace<T> {
        let Sizes { no, nu, ndx, .. } = self.sizes;
        ModelWorkspace {
            nets: self.nets.iter().map(|net| net.workspace(n)).collect(),
            seed: Vec::new(),
            row: Vec::new(),
            mean: Vec::new(),
            std: Vec::new(),
            input: vec![T::ZERO; no + nu],
            o: vec![0.0; no],
            a: vec![0.0; nu],
            changes: vec![0.0; ndx],
            jacobian: vec![0.0; ndx * (no + nu)],
            ox: DMatrix::zeros(no, ndx),
        }
    }

    /// Writes the networks' input for an observation and an action in units of half its range.
    pub fn write_input(&self, o: &[f64], a: &[f64], input: &mut [T]) {
        let (head, tail) = input.split_at_mut(o.len());
        for (j, (input, &o)) in head.iter_mut().zip(o).enumerate() {
            *input = T::from_f64(self.normalization.apply(j, o));
        }
        for (input, &a) in tail.iter_mut().zip(a) {
            *input = T::from_f64(a);
        }
    }

    /// Mean and deviation of the change for rows of inputs, left in `ws`.
    pub fn predict(&self, inputs: &[T], ws: &mut ModelWorkspace<T>) {
        let Sizes { no, nu, ndx, .. } = self.sizes;
        let n = inputs.len() / (no + nu);
        ws.mean.resize(n * ndx, 0.0);
        ws.std.resize(n * ndx, 0.0);
        for (i, net) in self.nets.iter().enumerate() {
            let (shift, scale) = (self.targets.mean[i], self.targets.scale[i]);
            if self.targets.known[i] {
                (0..n).for_each(|s| (ws.mean[s * ndx + i], ws.std[s * ndx + i]) = (shift, 0.0));
                continue;
            }
            let n_out = net.spec().n_out();
            let out = net.forward(inputs, &mut ws.nets[i]);
            for (s, out) in out.chunks_exact(n_out).enumerate() {
                ws.mean[s * ndx + i] = shift + scale * out[0].to_f64();
                ws.std[s * ndx + i] = scale * self.std(i, out).0;
            }
        }
    }

    /// σ of entry `i` in scaled units for its network's outputs, and log σ before it is held in its range.
    fn std(&self, i: usize, out: &[T]) -> (f64, f64) {
        let log_std = match self.noise {
            ModelNoise::StateDependent => out[1].to_f64(),
            ModelNoise::Constant => self.log_std[i].to_f64(),
            ModelNoise::None => return (0.0, f64::NEG_INFINITY),
        };
        (log_std.clamp(LOG_STD[0], LOG_STD[1]).exp(), log_std)
    }

    /// Derivatives of μ + σξ by the networks' inputs with ξ held fixed at what explains `changes`
    /// (samples × ndx), after [`LearnedDynamics::predict`]: `jacobian` gets samples × ndx × inputs.
    pub fn jacobian(&self, changes: &[f64], ws: &mut ModelWorkspace<T>, jacobian: &mut [f64]) {
        let Sizes { no, nu, ndx, .. } = self.sizes;
        let (n_in, n) = (no + nu, changes.len() / ndx);
        for (i, net) in self.nets.iter().enumerate() {
            if self.targets.known[i] {
                for s in 0..n {
                    jacobian[(s * ndx + i) * n_in..][..n_in].fill(0.0);
                }
                continue;
            }
            let n_out = net.spec().n_out();
            let scale = self.targets.scale[i];
            ws.seed.resize(n * n_out, T::ZERO);
            ws.row.resize(n * n_in, T::ZERO);
            let out = ws.nets[i].out();
            for (s, seed) in ws.seed.chunks_exact_mut(n_out).enumerate() {
                seed[0] = T::from_f64(scale);
                if self.noise == ModelNoise::StateDependent {
                    let (_, log_std) = self.std(i, &out[s * n_out..][..n_out]);
                    // ∂(σξ)/∂ log σ = σξ = change − μ
                    let rest = changes[s * ndx + i] - ws.mean[s * ndx + i];
                    let inside = (LOG_STD[0]..=LOG_STD[1]).contains(&log_std);
                    seed[1] = T::from_f64(if inside { rest } else { 0.0 });
                }
            }
            net.input_gradient(&ws.seed, &mut ws.nets[i], &mut ws.row);
            for (s, row) in ws.row.chunks_exact(n_in).enumerate() {
                let out = &mut jacobian[(s * ndx + i) * n_in..][..n_in];
                out.iter_mut().zip(row).for_each(|(out, row)| *out = row.to_f64());
            }
        }
    }

    /// Negative log-likelihood of `changes` (mean over samples and entries, constants left out; half
    /// the mean square without noise) in scaled units, after [`LearnedDynamics::predict`]. The gradients of
    /// its *sum* over entries are added to `grads`, one vector per network, and to `log_std_grads`: each
    /// network learns as if it were alone.
    pub fn loss_gradient(
        &self,
        changes: &[f64],
        ws: &mut ModelWorkspace<T>,
        grads: &mut [Vec<T>],
        log_std_grads: &mut [T],
    ) -> f64 {
        let ndx = self.sizes.ndx;
        let n = changes.len() / ndx;
        let (mut loss, mut learned) = (0.0, 0);
        for (i, net) in self.nets.iter().enumerate() {
            if self.targets.known[i] {
                continue;
            }
            learned += 1;
            let (shift, scale) = (self.targets.mean[i], self.targets.scale[i]);
            let n_out = net.spec().n_out();
            let weight = 1.0 / n as f64;
            ws.seed.resize(n * n_out, T::ZERO);
            let out = ws.nets[i].out();
            let mut spread = 0.0;
            for (s, seed) in ws.seed.chunks_exact_mut(n_out).enumerate() {
                let out = &out[s * n_out..][..n_out];
                let error = (changes[s * ndx + i] - shift) / scale - out[0].to_f64();
                if self.noise == ModelNoise::None {
                    loss += 0.5 * weight * error * error;
                    seed[0] = T::from_f64(-weight * error);
                    continue;
                }
                let (std, log_std) = self.std(i, out);
                let xi = error / std;
                loss += weight * (0.5 * xi * xi + std.ln());
                seed[0] = T::from_f64(-weight * xi / std);
                // Beyond its range log σ only comes back.
                let slope = weight * (1.0 - xi * xi);
                let goes_on =
                    (log_std < LOG_STD[0] && slope > 0.0) || (log_std > LOG_STD[1] && slope < 0.0);
                let slope = if goes_on { 0.0 } else { slope };
                match self.noise {
                    ModelNoise::StateDependent => seed[1] = T::from_f64(slope),
                    _ => spread += slope,
                }
            }
            log_std_grads[i] += T::from_f64(spread);
            net.backward(&ws.seed, &mut ws.nets[i], &mut grads[i], None);
        }
        loss / f64::from(learned.max(1))
    }

    /// Derivatives in the coordinates of the state, fx = 1 + ∂(change)/∂x and fu by the action in units of
    /// half its range, from those by the networks' inputs (ndx × inputs).
    pub(super) fn to_state(
        &self,
        jacobian: &[f64],
        observed: Option<&DMatrix<f64>>,
        fx: &mut DMatrix<f64>,
        fu: &mut DMatrix<f64>,
    ) {
        let Sizes { no, nu, ndx, .. } = self.sizes;
        fx.fill_with_identity();
        for (i, row) in jacobian.chunks_exact(no + nu).enumerate() {
            for (k, &slope) in row[..no].iter().enumerate() {
                let slope = slope / self.normalization.scale[k];
                match observed {
                    None => fx[(i, k)] += slope,
                    Some(ox) => (0..ndx).for_each(|j| fx[(i, j)] += slope * ox[(k, j)]),
                }
            }
            for (j, &slope) in row[no..].iter().enumerate() {
                fu[(i, j)] = slope;
            }
        }
    }

    /// Predicts a single step for an action in units of half its range.
    fn predict_one(&self, x: &DVector<f64>, a: &[f64], ws: &mut ModelWorkspace<T>) {
        let (mut o, mut input) = (std::mem::take(&mut ws.o), std::mem::take(&mut ws.input));
        self.task.observation().observe(x, &mut o);
        self.write_input(&o, a, &mut input);
        self.predict(&input, ws);
        (ws.o, ws.input) = (o, input);
    }

    fn predict_physical(&self, x: &DVector<f64>, u: &DVector<f64>, ws: &mut ModelWorkspace<T>) {
        let mut a = std::mem::take(&mut ws.a);
        self.sizes.to_shares(self.task.action_bounds(), u.as_slice(), &mut a);
        self.predict_one(x, &a, ws);
        ws.a = a;
    }

    /// Writes x' = x + μ + σξ for an action in units of half its range.
    pub(super) fn step_share(
        &self,
        ws: &mut ModelWorkspace<T>,
        x: &DVector<f64>,
        a: &[f64],
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) {
        self.predict_one(x, a, ws);
        for (i, next) in x_next.iter_mut().enumerate() {
            *next = x[i] + ws.mean[i] + ws.std[i] * noise[i];
        }
    }
}

impl<T: Real> Plant for LearnedDynamics<'_, T> {
    type Workspace = ModelWorkspace<T>;

    fn name(&self) -> &str {
        "learned dynamics"
    }
    fn nx(&self) -> usize {
        self.sizes.nx
    }
    fn nu(&self) -> usize {
        self.sizes.nu
    }
    fn n_noise(&self) -> usize {
        self.sizes.ndx
    }
    fn workspace(&self) -> ModelWorkspace<T> {
        self.scratch(1)
    }
    fn step(
        &self,
        ws: &mut ModelWorkspace<T>,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.predict_physical(x, u, ws);
        for (i, next) in x_next.iter_mut().enumerate() {
            *next = x[i] + ws.mean[i];
        }
        Ok(())
    }
    fn step_with_noise(
        &self,
        ws: &mut ModelWorkspace<T>,
        x: &DVector<f64>,
        u: &DVector<f64>,
        noise: &[f64],
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.step(ws, x, u, x_next)?;
        for (i, next) in x_next.iter_mut().enumerate() {
            *next += ws.std[i] * noise[i];
        }
        Ok(())
    }
}

impl<T: Real> Dynamics for LearnedDynamics<'_, T> {
    fn linearize(
        &self,
        ws: &mut ModelWorkspace<T>,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        self.predict_physical(x, u, ws);
        // Without noise the change is its mean.
        let mut changes = std::mem::take(&mut ws.changes);
        changes.clone_from(&ws.mean);
        let mut jacobian = std::mem::take(&mut ws.jacobian);
        self.jacobian(&changes, ws, &mut jacobian);
        ws.changes = changes;
        let observed = self.task.observation().jacobian();
        if let Some(observation) = observed {
            observation.linearize(x, &mut ws.ox);
        }
        self.to_state(&jacobian, observed.is_some().then_some(&ws.ox), &mut out.fx, &mut out.fu);
        ws.jacobian = jacobian;
        self.sizes.per_unit(self.task.action_bounds(), &mut out.fu);
        Ok(())
    }
}
