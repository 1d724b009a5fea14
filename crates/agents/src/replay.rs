//! Replay memory: transitions with the derivatives that the model gives at them.

use critics::Real;
use dynamics::Stream;
use nalgebra::DMatrix;

/// Sizes of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransitionShape {
    /// Entries of the observation o.
    pub n_observations: usize,
    /// Entries of the action u.
    pub nu: usize,
    /// Dimension of the state's tangent space.
    pub ndx: usize,
}

/// What of a transition is stored, and where in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLayout {
    /// Sizes.
    pub shape: TransitionShape,
    /// Whether Jacobian and reward gradient are stored.
    pub derivatives: bool,
    /// Whether the observation differs from the state, so that ∂o/∂x is stored too.
    pub observation_jacobian: bool,
}

impl RecordLayout {
    /// Lengths of [o, u, reward, o', mask, A, ρ, ∂o/∂x].
    fn parts(&self) -> [usize; 8] {
        let TransitionShape { n_observations: no, nu, ndx } = self.shape;
        let derivative = |n| if self.derivatives { n } else { 0 };
        [
            no,
            nu,
            1,
            no,
            1,
            derivative(no * (ndx + nu)),
            derivative(ndx + nu),
            if self.observation_jacobian { derivative(no * ndx) } else { 0 },
        ]
    }

    /// Numbers in a record.
    #[must_use]
    pub fn width(&self) -> usize {
        self.parts().iter().sum()
    }
}

/// One transition before it is stored.
pub struct Record<'a> {
    /// Observation.
    pub o: &'a [f32],
    /// Action.
    pub u: &'a [f32],
    /// Reward.
    pub reward: f64,
    /// Observation of the next state (never that of a reset).
    pub o_next: &'a [f32],
    /// 0 if the task ended the episode here, 1 otherwise.
    pub mask: f32,
    /// Derivatives; none are stored as zeros.
    pub derivatives: Option<Derivatives<'a>>,
}

/// Derivatives of a transition in state coordinates.
pub struct Derivatives<'a> {
    /// A = ∂o'/∂x'·[fx, fu], n_observations × (ndx + nu).
    pub jacobian: &'a DMatrix<f64>,
    /// ρ = dr/d[x, u], ndx + nu.
    pub reward_gradient: &'a [f64],
    /// ∂o/∂x, n_observations × ndx; ignored where the observation is the state.
    pub observation_jacobian: &'a DMatrix<f64>,
}

/// A batch of transitions, rows one after the other.
#[derive(Debug, Clone, Default)]
pub struct Batch<T: Real> {
    /// Observations, n × n_observations.
    pub o: Vec<T>,
    /// Actions, n × nu.
    pub u: Vec<T>,
    /// Rewards, n.
    pub reward: Vec<T>,
    /// Next observations, n × n_observations.
    pub o_next: Vec<T>,
    /// Masks, n.
    pub mask: Vec<T>,
    /// Jacobians A, n × (n_observations × (ndx + nu)) by rows; empty without derivatives.
    pub jacobian: Vec<T>,
    /// Reward gradients ρ, n × (ndx + nu); empty without derivatives.
    pub reward_gradient: Vec<T>,
    /// ∂o/∂x, n × (n_observations × ndx) by rows; empty where the observation is the state.
    pub observation_jacobian: Vec<T>,
}

/// A ring of transitions that grows as it fills.
///
/// Records are numbered by the order in which they came; the ring keeps the last `capacity`.
#[derive(Debug, Clone)]
pub struct Replay {
    layout: RecordLayout,
    capacity: usize,
    records: Vec<f32>,
    pushed: u64,
    /// Marks the slots already drawn for a batch, by the number of the batch.
    drawn: Vec<u64>,
    n_batches: u64,
}

impl Replay {
    /// An empty memory for at most `capacity` transitions (at least 1).
    #[must_use]
    pub fn new(layout: RecordLayout, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { layout, capacity, records: Vec::new(), pushed: 0, drawn: Vec::new(), n_batches: 0 }
    }

    /// What is stored of a transition.
    #[must_use]
    pub fn layout(&self) -> &RecordLayout {
        &self.layout
    }

    /// Transitions it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Transitions held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.drawn.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drawn.is_empty()
    }

    /// Transitions ever stored: the number of the next record.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Stores a transition, over the oldest one when full.
    pub fn push(&mut self, record: &Record<'_>) {
        let width = self.layout.width();
        let slot = self.claim();
        let mut out = &mut self.records[slot * width..][..width];
        let mut put = |values: &mut dyn Iterator<Item = f32>, n: usize| {
            let (head, tail) = std::mem::take(&mut out).split_at_mut(n);
            for (out, value) in head.iter_mut().zip(values) {
                *out = value;
            }
            out = tail;
        };
        #[expect(clippy::cast_possible_truncation, reason = "the memory is in single precision")]
        let narrow = |v: f64| v as f32;
        let [no, nu, _, _, _, jacobian, gradient, ox] = self.layout.parts();
        put(&mut record.o.iter().copied(), no);
        put(&mut record.u.iter().copied(), nu);
        put(&mut std::iter::once(narrow(record.reward)), 1);
        put(&mut record.o_next.iter().copied(), no);
        put(&mut std::iter::once(record.mask), 1);
        match &record.derivatives {
            Some(d) => {
                put(&mut by_rows(d.jacobian).map(narrow), jacobian);
                put(&mut d.reward_gradient.iter().map(|&v| narrow(v)), gradient);
                put(&mut by_rows(d.observation_jacobian).map(narrow), ox);
            }
            None => put(&mut std::iter::repeat(0.0), jacobian + gradient + ox),
        }
    }

    /// The records numbered `from`.. that are still held, for a checkpoint.
    #[must_use]
    pub fn records_from(&self, from: u64) -> (u64, Vec<f32>) {
        let width = self.layout.width();
        let oldest = self.pushed - self.len() as u64;
        let first = from.clamp(oldest, self.pushed);
        let mut out = Vec::with_capacity((self.pushed - first) as usize * width);
        for number in first..self.pushed {
            out.extend_from_slice(&self.records[self.slot(number) * width..][..width]);
        }
        (first, out)
    }

    /// Takes up record `number` of a checkpoint; records come in order.
    pub fn restore_record(&mut self, number: u64, record: &[f32]) {
        self.pushed = number;
        let width = self.layout.width();
        let slot = self.claim();
        self.records[slot * width..][..width].copy_from_slice(record);
    }

    /// Draws `n` transitions uniformly into `batch`: different ones, unless there are fewer than
    /// `n`.
    pub fn sample<T: Real>(&mut self, n: usize, stream: &mut Stream, batch: &mut Batch<T>) {
        let repeat = n > self.len();
        self.n_batches += 1;
        let width = self.layout.width();
        let parts = self.layout.parts();
        let mut outs = [
            &mut batch.o,
            &mut batch.u,
            &mut batch.reward,
            &mut batch.o_next,
            &mut batch.mask,
            &mut batch.jacobian,
            &mut batch.reward_gradient,
            &mut batch.observation_jacobian,
        ];
        outs.iter_mut().for_each(|out| out.clear());
        for _ in 0..n {
            let slot = loop {
                let slot = stream.index(self.len());
                if repeat || self.drawn[slot] != self.n_batches {
                    break slot;
                }
            };
            self.drawn[slot] = self.n_batches;
            let mut record = &self.records[slot * width..][..width];
            for (out, length) in outs.iter_mut().zip(parts) {
                let (part, rest) = record.split_at(length);
                out.extend(part.iter().map(|&v| T::from_f64(f64::from(v))));
                record = rest;
            }
        }
    }

    fn slot(&self, number: u64) -> usize {
        (number % self.capacity as u64) as usize
    }

    /// Makes room for the next record and returns its slot.
    fn claim(&mut self) -> usize {
        let slot = self.slot(self.pushed);
        self.pushed += 1;
        if slot >= self.len() {
            // Records restored from a checkpoint may start in the middle of the ring.
            self.records.resize((slot + 1) * self.layout.width(), 0.0);
            self.drawn.resize(slot + 1, 0);
        }
        slot
    }
}

/// Entries row by row, while nalgebra stores them column by column.
fn by_rows(matrix: &DMatrix<f64>) -> impl Iterator<Item = f64> {
    (0..matrix.nrows()).flat_map(|row| matrix.row(row).into_iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: RecordLayout = RecordLayout {
        shape: TransitionShape { n_observations: 2, nu: 1, ndx: 2 },
        derivatives: true,
        observation_jacobian: false,
    };

    fn push(replay: &mut Replay, k: usize) {
        let value = k as f32;
        let jacobian = DMatrix::from_fn(2, 3, |row, column| (10 * row + column) as f64);
        replay.push(&Record {
            o: &[value, -value],
            u: &[value + 0.5],
            reward: f64::from(value),
            o_next: &[value + 1.0, -value],
            mask: 1.0,
            derivatives: (!k.is_multiple_of(2)).then_some(Derivatives {
                jacobian: &jacobian,
                reward_gradient: &[1.0, 2.0, 3.0],
                observation_jacobian: &DMatrix::zeros(2, 2),
            }),
        });
    }

    #[test]
    fn a_batch_holds_different_transitions_with_their_parts_in_place() {
        let mut replay = Replay::new(LAYOUT, 100);
        (0..20).for_each(|k| push(&mut replay, k));
        let mut batch = Batch::<f64>::default();
        replay.sample(20, &mut Stream::new(0, "batch", 0), &mut batch);
        let mut rewards = batch.reward.clone();
        rewards.sort_by(f64::total_cmp);
        assert_eq!(rewards, (0..20).map(f64::from).collect::<Vec<_>>());
        for (b, &reward) in batch.reward.iter().enumerate() {
            assert_eq!(batch.o[2 * b..][..2], [reward, -reward]);
            assert_eq!(batch.o_next[2 * b], reward + 1.0);
            assert_eq!(batch.u[b], reward + 0.5);
            let jacobian = &batch.jacobian[6 * b..][..6];
            if reward % 2.0 == 0.0 {
                assert_eq!(jacobian, [0.0; 6]);
            } else {
                assert_eq!(jacobian, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0], "by rows");
                assert_eq!(batch.reward_gradient[3 * b..][..3], [1.0, 2.0, 3.0]);
            }
        }
    }

    #[test]
    fn the_ring_keeps_the_last_records_and_a_restored_one_draws_the_same() {
        for pushed in [7, 10, 23, 30] {
            let mut replay = Replay::new(LAYOUT, 10);
            (0..pushed).for_each(|k| push(&mut replay, k));
            assert_eq!(replay.len(), pushed.min(10));
            let (first, records) = replay.records_from(0);
            assert_eq!(first as usize, pushed - replay.len());
            let mut again = Replay::new(LAYOUT, 10);
            for (k, record) in records.chunks_exact(LAYOUT.width()).enumerate() {
                again.restore_record(first + k as u64, record);
            }
            assert_eq!(again.pushed(), replay.pushed());
            push(&mut replay, 99);
            push(&mut again, 99);
            let draw = |replay: &mut Replay| {
                let mut batch = Batch::<f32>::default();
                replay.sample(5, &mut Stream::new(3, "batch", 0), &mut batch);
                batch.reward
            };
            assert_eq!(draw(&mut replay), draw(&mut again), "{pushed} pushed");
        }
    }
}
