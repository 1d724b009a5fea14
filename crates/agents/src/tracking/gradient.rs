//! The estimator: the model's Jacobians along the plant's trajectory, through the policy's feedback.
//!
//! With Â, B̂ of the model at the recorded (x_t, u_t), κ the controller, σ its reference and k its gains,
//! the costate goes back through segments of L steps (fact sheets call this (13), corrected):
//!
//! ```text
//! b_t = p_{t+1} B̂_t          p_t = ∇R_t + p_{t+1} Â_t + b_t κ_x
//! dJ/ds_j = Σ b_t κ_σ ∂σ/∂s_j  (its own segment, and the next, whose reference begins there)
//! dJ/dk_j = Σ b_t κ_k
//! ```
//!
//! and where a segment begins, the network's own feedback: p += y (∂π/∂z)(∂z/∂x), with y the derivative by
//! the outputs. [`Horizon::Segment`] forgets p there.

use critics::{Mlp, MlpWorkspace};
use ddp::lqr::spectral_radius;
use dynamics::{
    AnyDynamics, ControlJacobian, DynamicsError, Linearization, Move, RewardGradient, Scratch, Task,
};
use nalgebra::{DMatrix, DVector, RowDVector};

use super::policy::{Corrections, Knot, TrackingPolicy};
use super::recording::Recording;
use super::settings::{Derivatives, Horizon, Windows};
use crate::LearnError;

/// The estimator with its scratch.
pub struct TrackingGradient<'a> {
    task: &'a dyn Task,
    model: &'a dyn AnyDynamics,
    horizon: Horizon,
    windows: Windows,
    model_scratch: Scratch,
    reward_scratch: Scratch,
    jacobian: Linearization,
    control: ControlJacobian,
    reward: RewardGradient,
    /// ∂σ/∂ of the set point before, and of that at the segment's end, for each step of a segment.
    references: Vec<[DMatrix<f64>; 2]>,
    zx: DMatrix<f64>,
    ws: Option<MlpWorkspace<f64>>,
    knots: Vec<Knot>,
    /// dJ/d(corrected set point, corrected gains) of every segment, outputs × segments.
    by_knot: DMatrix<f64>,
    u: DVector<f64>,
    sigma: Vec<f64>,
    b: Backward,
}

/// Vectors of the backward pass.
struct Backward {
    /// p.
    p: DVector<f64>,
    c: DVector<f64>,
    b: DVector<f64>,
    by_sigma: DVector<f64>,
    by_before: DVector<f64>,
    /// What the next segment has to say of this one's set point.
    carried: DVector<f64>,
    seed: Vec<f64>,
    gz: DVector<f64>,
}

/// What a pass along a recording found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GradientReport {
    /// J, the sum of rewards.
    pub total_reward: f64,
    /// Largest |u − π| of the recording: 0 to rounding where it was made by this policy.
    pub action_mismatch: f64,
    /// Largest spectral radius of Â + B̂κ_x over the starts of segments, for the entries of the state that
    /// are tracked; infinite where the model's Jacobian is not finite.
    pub closed_loop_radius: f64,
}

impl<'a> TrackingGradient<'a> {
    /// The estimator for policies like `policy`.
    ///
    /// # Errors
    /// Derivatives of a plant that has none.
    pub fn new(
        policy: &TrackingPolicy<'a>,
        task: &'a dyn Task,
        derivatives: Derivatives,
        horizon: Horizon,
    ) -> Result<Self, LearnError> {
        let model = match derivatives {
            Derivatives::Nominal => task.nominal(),
            Derivatives::Plant => task.plant_dynamics().ok_or(LearnError::Unfit {
                method: super::policy::METHOD,
                task: task.name().to_owned(),
                needed: "derivatives of its plant; set `method.derivatives=nominal`",
            })?,
        };
        let (tracker, shape) = (policy.tracker(), policy.tracker().shape());
        let (nx, nu) = (task.plant().any_nx(), task.plant().any_nu());
        let (ns, nr) = (shape.n_set_point, shape.n_reference);
        let references = (0..shape.segment).map(|i| {
            let mut parts = [DMatrix::zeros(nr, ns), DMatrix::zeros(nr, ns)];
            let [by_before, by_s] = &mut parts;
            tracker.reference_jacobian(i, by_before, by_s);
            parts
        });
        Ok(Self {
            task,
            model,
            horizon,
            windows: Windows::default(),
            model_scratch: model.any_workspace(),
            reward_scratch: task.reward_scratch(),
            jacobian: Linearization::zeros(nx, nu),
            control: ControlJacobian::zeros(nx, nu, shape),
            reward: RewardGradient::zeros(nx, nu),
            references: references.collect(),
            zx: DMatrix::zeros(shape.n_features, nx),
            ws: policy.workspace(),
            knots: Vec::new(),
            by_knot: DMatrix::zeros(shape.n_outputs(), 0),
            u: DVector::zeros(nu),
            sigma: vec![0.0; nr],
            b: Backward {
                p: DVector::zeros(nx),
                c: DVector::zeros(nx),
                b: DVector::zeros(nu),
                by_sigma: DVector::zeros(nr),
                by_before: DVector::zeros(ns),
                carried: DVector::zeros(ns),
                seed: vec![0.0; shape.n_outputs()],
                gz: DVector::zeros(shape.n_features),
            },
        })
    }

    /// The same estimator with rewards that count as often as these windows contain them.
    #[must_use]
    pub fn with_windows(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }

    /// dJ/d(corrected set point, corrected gains) of the last pass: a column per segment.
    #[must_use]
    pub fn by_knot(&self) -> &DMatrix<f64> {
        &self.by_knot
    }

    /// Decides anew at the starts of all segments of a recording.
    fn replay(&mut self, policy: &TrackingPolicy<'_>, recording: &Recording) {
        let (tracker, shape) = (policy.tracker(), policy.tracker().shape());
        let n = recording.n_steps().div_ceil(shape.segment);
        self.knots.resize_with(n, || Knot::zeros(tracker));
        for j in 0..n {
            let t = j * shape.segment;
            if j > 0 {
                let [last, knot] = &mut self.knots[j - 1..=j] else { continue };
                knot.set_point.copy_from_slice(&last.set_point);
            }
            policy.decide(t, &recording.xs[t], &mut self.knots[j], &mut self.ws);
        }
        if self.by_knot.ncols() != n {
            self.by_knot = DMatrix::zeros(shape.n_outputs(), n);
        }
    }

    /// Fills Jacobians and reward gradient of step `t`.
    fn differentiate(
        &mut self,
        policy: &TrackingPolicy<'_>,
        recording: &Recording,
        t: usize,
        report: &mut GradientReport,
    ) -> Result<(), DynamicsError> {
        let (tracker, shape) = (policy.tracker(), policy.tracker().shape());
        let (j, i) = (t / shape.segment, t % shape.segment);
        let (x, u) = (&recording.xs[t], &recording.us[t]);
        let knot = &self.knots[j];
        self.model.any_linearize(&mut self.model_scratch, x, u, &mut self.jacobian)?;
        tracker.reference(i, &knot.before, &knot.set_point, &mut self.sigma);
        tracker.control_jacobian(x, &self.sigma, &knot.gains, &mut self.control);
        tracker.control(x, &self.sigma, &knot.gains, &mut self.u);
        for (wanted, done) in self.u.iter().zip(u.iter()) {
            report.action_mismatch = report.action_mismatch.max((wanted - done).abs());
        }
        let m = Move { t, x, u, x_next: &recording.xs[t + 1] };
        report.total_reward += self.task.reward(&mut self.reward_scratch, &m);
        self.task.reward_gradient(&mut self.reward_scratch, &m, &mut self.reward);
        if i == 0 {
            let n = shape.n_tracked;
            let loop_ = self.jacobian.fx.view((0, 0), (n, n))
                + self.jacobian.fu.rows(0, n) * self.control.x.columns(0, n);
            let finite = loop_.iter().all(|entry| entry.is_finite());
            let radius = if finite { spectral_radius(loop_) } else { f64::INFINITY };
            report.closed_loop_radius = report.closed_loop_radius.max(radius);
        }
        let times = self.windows.containing(j, self.knots.len()) as f64;
        let RewardGradient { r_x, r_u, r_xnext } = &mut self.reward;
        *r_x *= times;
        *r_u *= times;
        *r_xnext *= times;
        Ok(())
    }

    /// Adds dJ/dθ along `recording` to `grads`, by the costate: O(T n²), whatever the number of
    /// parameters.
    ///
    /// # Errors
    /// What model and reward report.
    ///
    /// # Panics
    /// When `grads` has not the length of the policy's parameters, and when the recording does not fit the
    /// task ([`Recording::check`]).
    pub fn costate(
        &mut self,
        policy: &TrackingPolicy<'_>,
        recording: &Recording,
        grads: &mut [f64],
    ) -> Result<GradientReport, DynamicsError> {
        assert_eq!(grads.len(), policy.params().len(), "a number per parameter");
        self.replay(policy, recording);
        let (tracker, shape) = (policy.tracker(), policy.tracker().shape());
        let (ns, n_steps) = (shape.n_set_point, recording.n_steps());
        let mut report = GradientReport::default();
        self.b.p.fill(0.0);
        self.b.carried.fill(0.0);
        self.by_knot.fill(0.0);
        for j in (0..self.knots.len()).rev() {
            let first = j * shape.segment;
            if self.horizon == Horizon::Segment {
                self.b.p.fill(0.0);
            }
            self.b.by_before.fill(0.0);
            for t in (first..n_steps.min(first + shape.segment)).rev() {
                self.differentiate(policy, recording, t, &mut report)?;
                let Backward { p, c, b, by_sigma, by_before, .. } = &mut self.b;
                let [from_before, from_s] = &self.references[t - first];
                c.copy_from(p);
                *c += &self.reward.r_xnext;
                b.copy_from(&self.reward.r_u);
                b.gemv_tr(1.0, &self.jacobian.fu, c, 1.0);
                p.copy_from(&self.reward.r_x);
                p.gemv_tr(1.0, &self.jacobian.fx, c, 1.0);
                p.gemv_tr(1.0, &self.control.x, b, 1.0);
                by_sigma.gemv_tr(1.0, &self.control.sigma, b, 0.0);
                by_before.gemv_tr(1.0, from_before, by_sigma, 1.0);
                let mut column = self.by_knot.column_mut(j);
                column.rows_mut(0, ns).gemv_tr(1.0, from_s, by_sigma, 1.0);
                let n_gains = shape.gains.len();
                column.rows_mut(ns, n_gains).gemv_tr(1.0, &self.control.gains, b, 1.0);
            }
            let Backward { p, by_before, carried, seed, gz, .. } = &mut self.b;
            let mut column = self.by_knot.column_mut(j);
            let mut set_point = column.rows_mut(0, ns);
            set_point += &*carried;
            carried.copy_from(by_before);
            for ((seed, by), scale) in seed.iter_mut().zip(column.iter()).zip(&shape.scales) {
                *seed = by * scale;
            }
            let knot = &self.knots[j];
            match (policy.corrections(), &mut self.ws) {
                (Corrections::Network(net), Some(ws)) => {
                    for (seed, output) in seed.iter_mut().zip(&knot.outputs) {
                        *seed *= 1.0 - output * output;
                    }
                    net.forward(&knot.features, ws);
                    net.backward(seed, ws, grads, Some(gz.as_mut_slice()));
                    if self.horizon == Horizon::Full {
                        tracker.features_jacobian(first, &recording.xs[first], &mut self.zx);
                        p.gemv_tr(1.0, &self.zx, gz, 1.0);
                    }
                }
                _ => {
                    let n = seed.len();
                    if let Some(row) = grads.chunks_exact_mut(n).nth(j) {
                        row.iter_mut().zip(seed.iter()).for_each(|(grad, by)| *grad += *by);
                    }
                }
            }
        }
        Ok(report)
    }

    /// The same by the sensitivities ∂x_t/∂θ, forwards in time: O(T n² p). For tests, and for policies
    /// with few parameters.
    ///
    /// # Errors
    /// What model and reward report.
    ///
    /// # Panics
    /// As [`TrackingGradient::costate`].
    pub fn forward(
        &mut self,
        policy: &TrackingPolicy<'_>,
        recording: &Recording,
        grads: &mut [f64],
    ) -> Result<GradientReport, DynamicsError> {
        let n_params = policy.params().len();
        assert_eq!(grads.len(), n_params, "a number per parameter");
        self.replay(policy, recording);
        let shape = policy.tracker().shape();
        let (nx, ns, nk) = (self.b.p.len(), shape.n_set_point, shape.gains.len());
        let mut report = GradientReport::default();
        let mut s_x = DMatrix::zeros(nx, n_params);
        let mut before = DMatrix::zeros(ns, n_params);
        let mut set_point = DMatrix::zeros(ns, n_params);
        let mut gains = DMatrix::zeros(nk, n_params);
        let mut total = RowDVector::zeros(n_params);
        for t in 0..recording.n_steps() {
            let (j, i) = (t / shape.segment, t % shape.segment);
            if i == 0 {
                if self.horizon == Horizon::Segment {
                    s_x.fill(0.0);
                }
                before.copy_from(&set_point);
                let mut corrected = self.output_sensitivity(policy, j, &s_x, &recording.xs[t]);
                for (mut row, scale) in corrected.row_iter_mut().zip(&shape.scales) {
                    row *= *scale;
                }
                set_point.copy_from(&corrected.rows(0, ns));
                gains.copy_from(&corrected.rows(ns, nk));
            }
            self.differentiate(policy, recording, t, &mut report)?;
            let [from_before, from_s] = &self.references[i];
            let sigma = from_before * &before + from_s * &set_point;
            let u =
                &self.control.x * &s_x + &self.control.sigma * sigma + &self.control.gains * &gains;
            total += self.reward.r_x.transpose() * &s_x + self.reward.r_u.transpose() * &u;
            s_x = &self.jacobian.fx * &s_x + &self.jacobian.fu * u;
            total += self.reward.r_xnext.transpose() * &s_x;
        }
        grads.iter_mut().zip(total.iter()).for_each(|(grad, total)| *grad += total);
        Ok(report)
    }

    /// ∂(outputs of segment j)/∂θ where the state has the sensitivity `s_x`.
    fn output_sensitivity(
        &mut self,
        policy: &TrackingPolicy<'_>,
        j: usize,
        s_x: &DMatrix<f64>,
        x: &DVector<f64>,
    ) -> DMatrix<f64> {
        let (tracker, shape) = (policy.tracker(), policy.tracker().shape());
        let (n, n_params) = (shape.n_outputs(), policy.params().len());
        let knot = &self.knots[j];
        let mut out = DMatrix::zeros(n, n_params);
        match (policy.corrections(), &mut self.ws) {
            (Corrections::Network(net), Some(ws)) => {
                tracker.features_jacobian(j * shape.segment, x, &mut self.zx);
                let z = &self.zx * s_x;
                let jacobians = network_jacobians(net, ws, knot);
                for (row, (by_params, by_z)) in jacobians.into_iter().enumerate() {
                    out.row_mut(row).copy_from(&(by_params + by_z * &z));
                }
            }
            _ => {
                for row in 0..n {
                    if let Some(entry) = (j * n + row < n_params).then_some(j * n + row) {
                        out[(row, entry)] = 1.0;
                    }
                }
            }
        }
        out
    }
}

/// ∂(tanh output)/∂θ and /∂z of every output.
fn network_jacobians(
    net: &Mlp<f64>,
    ws: &mut MlpWorkspace<f64>,
    knot: &Knot,
) -> Vec<(RowDVector<f64>, RowDVector<f64>)> {
    net.forward(&knot.features, ws);
    let row = |(row, output): (usize, &f64)| {
        let mut seed = vec![0.0; knot.outputs.len()];
        seed[row] = 1.0 - output * output;
        let (mut grads, mut gz) = (vec![0.0; net.params().len()], vec![0.0; knot.features.len()]);
        net.backward(&seed, ws, &mut grads, Some(&mut gz));
        (RowDVector::from_vec(grads), RowDVector::from_vec(gz))
    };
    knot.outputs.iter().enumerate().map(row).collect()
}
