//! Quadratic programs on a box by projected Newton steps (Bertsekas 1982; Tassa, Mansard and Todorov
//! 2014).

use crate::kernels::{cholesky, cholesky_solve, dot};

/// Newton steps at most; each identifies at least one bound or ends.
const MAX_STEPS: usize = 100;
/// The free gradient is zero below this share of the linear term.
const TOLERANCE: f64 = 1e-12;
/// Components closer to a bound than this share of the box (at most of 1) count as on it where their
/// gradient points outside (Bertsekas 1982).
const NEAR: f64 = 1e-12;
/// Share of the linear decrease that a step must bring.
const ARMIJO: f64 = 0.1;
/// Halvings of a step at most.
const HALVINGS: i32 = 30;

/// Scratch and result of [`BoxQp::minimize`].
#[derive(Debug, Clone)]
pub(crate) struct BoxQp {
    /// The minimiser; on entry, where the search begins.
    pub(crate) x: Vec<f64>,
    /// Components that no bound holds, in order.
    pub(crate) free: Vec<usize>,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    trial: Vec<f64>,
    factor: Vec<f64>,
}

impl BoxQp {
    pub(crate) fn new(n: usize) -> Self {
        let zeros = || vec![0.0; n];
        Self {
            x: zeros(),
            free: Vec::with_capacity(n),
            gradient: zeros(),
            direction: zeros(),
            trial: zeros(),
            factor: vec![0.0; n * n],
        }
    }

    /// Minimises ½ xᵀHx + qᵀx over low ≤ x ≤ high, H symmetric, n × n. False if H is not positive
    /// definite on the free components.
    pub(crate) fn minimize(&mut self, h: &[f64], q: &[f64], low: &[f64], high: &[f64]) -> bool {
        let n = q.len();
        let small = TOLERANCE * q.iter().fold(1.0, |m: f64, q| m.max(q.abs()));
        for i in 0..n {
            self.x[i] = self.x[i].clamp(low[i], high[i]);
        }
        let mut value = evaluate(h, q, &self.x);
        self.differentiate(h, q);
        for _ in 0..MAX_STEPS {
            self.free.clear();
            for i in 0..n {
                // A component a rounding error away from its bound would stop every step.
                let near = NEAR * (high[i] - low[i]).min(1.0);
                if self.gradient[i] > 0.0 && self.x[i] <= low[i] + near {
                    self.x[i] = low[i];
                } else if self.gradient[i] < 0.0 && self.x[i] >= high[i] - near {
                    self.x[i] = high[i];
                } else {
                    self.free.push(i);
                }
            }
            let n_free = self.free.len();
            for (a, &i) in self.free.iter().enumerate() {
                self.direction[a] = -self.gradient[i];
                for (b, &j) in self.free.iter().enumerate() {
                    self.factor[b * n_free + a] = h[j * n + i];
                }
            }
            if !cholesky(&mut self.factor[..n_free * n_free], n_free) {
                return false;
            }
            if self.direction[..n_free].iter().all(|g| g.abs() <= small) {
                return true;
            }
            cholesky_solve(&self.factor, n_free, &mut self.direction[..n_free]);
            if !self.search(h, q, low, high, &mut value) {
                return true;
            }
            self.differentiate(h, q);
        }
        true
    }

    /// Moves `x` along `direction`, cut off at the box; false if no step brings a decrease.
    fn search(&mut self, h: &[f64], q: &[f64], low: &[f64], high: &[f64], value: &mut f64) -> bool {
        for halving in 0..HALVINGS {
            let step = 0.5_f64.powi(halving);
            self.trial.copy_from_slice(&self.x);
            let mut expected = 0.0;
            for (a, &i) in self.free.iter().enumerate() {
                self.trial[i] = (self.x[i] + step * self.direction[a]).clamp(low[i], high[i]);
                expected += self.gradient[i] * (self.x[i] - self.trial[i]);
            }
            let at_trial = evaluate(h, q, &self.trial);
            let rounding = 4.0 * f64::EPSILON * value.abs();
            if *value - at_trial >= ARMIJO * expected - rounding {
                std::mem::swap(&mut self.x, &mut self.trial);
                *value = at_trial;
                return true;
            }
        }
        false
    }

    fn differentiate(&mut self, h: &[f64], q: &[f64]) {
        let n = q.len();
        for i in 0..n {
            self.gradient[i] = q[i] + dot(&h[i * n..][..n], &self.x);
        }
    }
}

/// ½ xᵀHx + qᵀx.
fn evaluate(h: &[f64], q: &[f64], x: &[f64]) -> f64 {
    let n = q.len();
    (0..n).map(|i| x[i] * (0.5 * dot(&h[i * n..][..n], x) + q[i])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynamics::Stream;

    #[test]
    fn the_minimum_meets_the_optimality_conditions() {
        for seed in 0..300 {
            let mut s = Stream::new(seed, "box qp", 0);
            let n = 1 + seed as usize % 7;
            let g: Vec<f64> = (0..n * n).map(|_| s.normal()).collect();
            let mut h: Vec<f64> = (0..n * n)
                .map(|at| (0..n).map(|k| g[k * n + at % n] * g[k * n + at / n]).sum())
                .collect();
            (0..n).for_each(|i| h[i * n + i] += 1e-3);
            let q: Vec<f64> = (0..n).map(|_| 3.0 * s.normal()).collect();
            let low: Vec<f64> = (0..n).map(|_| s.uniform(-1.0, 0.0)).collect();
            let high: Vec<f64> = (0..n).map(|_| s.uniform(0.0, 1.0)).collect();
            let mut qp = BoxQp::new(n);
            assert!(qp.minimize(&h, &q, &low, &high));
            for i in 0..n {
                let gradient = q[i] + (0..n).map(|j| h[j * n + i] * qp.x[j]).sum::<f64>();
                let (at_low, at_high) = (qp.x[i] == low[i], qp.x[i] == high[i]);
                assert!(qp.x[i] >= low[i] && qp.x[i] <= high[i]);
                match (at_low, at_high) {
                    (true, _) => assert!(gradient > -1e-9),
                    (_, true) => assert!(gradient < 1e-9),
                    _ => assert!(gradient.abs() < 1e-9, "{gradient}"),
                }
                assert_eq!(qp.free.contains(&i), !at_low && !at_high);
            }
        }
    }

    #[test]
    fn a_component_a_rounding_error_away_from_its_bound_stops_nobody() {
        let (h, q) = ([2.0, 1.9, 1.9, 2.0], [-0.1, 5.0]);
        let mut qp = BoxQp::new(2);
        assert!(qp.minimize(&h, &q, &[-1.0, -1e-17], &[1.0, 1.0]));
        assert!((qp.x[0] - 0.05).abs() < 1e-12 && qp.x[1] == -1e-17, "{:?}", qp.x);
    }

    #[test]
    fn an_indefinite_matrix_is_refused() {
        assert!(!BoxQp::new(1).minimize(&[-1.0], &[1.0], &[-1.0], &[1.0]));
    }
}
