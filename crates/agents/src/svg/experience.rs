//! Transitions with what is needed to explain them: the memory of the stochastic value gradients.

use std::ops::Range;

use dynamics::{End, Stream};
use nalgebra::DVector;

use super::sizes::Sizes;

/// A transition as it was observed, or imagined.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Step of the episode, from 0.
    pub t: usize,
    /// State, nx.
    pub x: DVector<f64>,
    /// Action as drawn, in units of half its range, nu.
    pub a: DVector<f64>,
    /// State that followed, nx.
    pub x_next: DVector<f64>,
    /// Reward.
    pub reward: f64,
    /// log π(a|o) of the policy that acted.
    pub log_prob: f64,
    /// Whether the episode ended, and how.
    pub end: Option<End>,
}

impl Transition {
    /// Zeros of the given sizes.
    #[must_use]
    pub fn zeros(nx: usize, nu: usize) -> Self {
        Self {
            t: 0,
            x: DVector::zeros(nx),
            a: DVector::zeros(nu),
            x_next: DVector::zeros(nx),
            reward: 0.0,
            log_prob: 0.0,
            end: None,
        }
    }

    /// Takes over another of the same sizes.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self { t, x, a, x_next, reward, log_prob, end } = other;
        self.x.copy_from(x);
        self.a.copy_from(a);
        self.x_next.copy_from(x_next);
        (self.t, self.reward, self.log_prob, self.end) = (*t, *reward, *log_prob, *end);
    }
}

/// Transitions for one update, in a row; nothing is allocated once it has been as long before.
#[derive(Debug, Clone, Default)]
pub struct Transitions {
    all: Vec<Transition>,
    n: usize,
    /// Which of them belong together, one after the other in time.
    pub windows: Vec<Range<usize>>,
}

impl Transitions {
    /// The transitions.
    #[must_use]
    pub fn as_slice(&self) -> &[Transition] {
        &self.all[..self.n]
    }

    /// Changes every transition.
    pub fn for_each(&mut self, change: impl FnMut(&mut Transition)) {
        self.all[..self.n].iter_mut().for_each(change);
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.n = 0;
        self.windows.clear();
    }

    /// Takes off the last one.
    pub fn pop(&mut self) {
        self.n = self.n.saturating_sub(1);
    }

    /// Makes one window of all.
    pub fn close(&mut self) {
        self.windows.clear();
        self.windows.push(0..self.n);
    }

    /// Room for one more, to be filled.
    pub fn push(&mut self, nx: usize, nu: usize) -> &mut Transition {
        if self.n == self.all.len() {
            self.all.push(Transition::zeros(nx, nu));
        }
        self.n += 1;
        &mut self.all[self.n - 1]
    }
}

/// A ring of transitions in single precision, numbered by the order in which they came. Changes of the
/// state are stored, not states that follow: they are small.
#[derive(Debug, Clone)]
pub(crate) struct Experience {
    sizes: Sizes,
    capacity: usize,
    records: Vec<f32>,
    pushed: u64,
}

impl Experience {
    pub(crate) fn new(sizes: Sizes, capacity: usize) -> Self {
        Self { sizes, capacity: capacity.max(1), records: Vec::new(), pushed: 0 }
    }

    /// Numbers in a record: x, a, x' − x, reward, log π, t, end.
    pub(crate) fn width(&self) -> usize {
        2 * self.sizes.nx + self.sizes.nu + 4
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Transitions ever stored: the number of the next one.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Number of the oldest that is held.
    fn oldest(&self) -> u64 {
        self.pushed.saturating_sub(self.capacity as u64)
    }

    fn slot(&self, number: u64) -> usize {
        (number % self.capacity as u64) as usize * self.width()
    }

    pub(crate) fn push(&mut self, transition: &Transition) {
        let Transition { t, x, a, x_next, reward, log_prob, end } = transition;
        let end = match end {
            None => 0.0,
            Some(End::Truncated) => 1.0,
            Some(End::Terminated) => 2.0,
        };
        #[expect(clippy::cast_possible_truncation, reason = "the memory is in single precision")]
        let numbers = x
            .iter()
            .copied()
            .chain(a.iter().copied())
            .chain(x_next.iter().zip(x.iter()).map(|(next, x)| next - x))
            .chain([*reward, *log_prob, *t as f64, end])
            .map(|number| number as f32);
        let start = self.slot(self.pushed);
        if self.records.len() < start + self.width() {
            self.records.resize(start + self.width(), 0.0);
        }
        for (out, number) in self.records[start..].iter_mut().zip(numbers) {
            *out = number;
        }
        self.pushed += 1;
    }

    /// Reads transition `number`.
    fn read(&self, number: u64, out: &mut Transition) {
        let Sizes { nx, nu, .. } = self.sizes;
        let record = &self.records[self.slot(number)..][..self.width()];
        let (x, rest) = record.split_at(nx);
        let (a, rest) = rest.split_at(nu);
        let (change, rest) = rest.split_at(nx);
        let wide = |out: &mut DVector<f64>, from: &[f32]| {
            out.iter_mut().zip(from).for_each(|(out, &v)| *out = f64::from(v));
        };
        wide(&mut out.x, x);
        wide(&mut out.a, a);
        wide(&mut out.x_next, change);
        out.x_next += &out.x;
        out.reward = f64::from(rest[0]);
        out.log_prob = f64::from(rest[1]);
        out.t = rest[2] as usize;
        out.end = match rest[3] as u8 {
            0 => None,
            1 => Some(End::Truncated),
            _ => Some(End::Terminated),
        };
    }

    /// Draws `n` windows of up to `steps` consecutive transitions, their first ones uniformly from the
    /// last `last` of the memory. A window ends with its episode, or with what is known of it.
    pub(crate) fn sample(
        &self,
        (n, steps, last): (usize, usize, u64),
        stream: &mut Stream,
        out: &mut Transitions,
    ) {
        out.clear();
        let oldest = self.oldest().max(self.pushed.saturating_sub(last));
        for _ in 0..n {
            let first = oldest + stream.index((self.pushed - oldest) as usize) as u64;
            self.append(first..(first + steps as u64).min(self.pushed), out);
        }
    }

    /// The last `n` transitions as one window.
    pub(crate) fn last(&self, n: usize, out: &mut Transitions) {
        out.clear();
        self.append(self.pushed - n as u64..self.pushed, out);
    }

    fn append(&self, numbers: Range<u64>, out: &mut Transitions) {
        let Sizes { nx, nu, .. } = self.sizes;
        let start = out.n;
        for number in numbers {
            let transition = out.push(nx, nu);
            self.read(number, transition);
            if transition.end.is_some() {
                break;
            }
        }
        out.windows.push(start..out.n);
    }

    /// The records numbered `from`.. that are still held, for a checkpoint.
    pub(crate) fn records_from(&self, from: u64) -> (u64, Vec<f32>) {
        let first = from.clamp(self.oldest(), self.pushed);
        let records = (first..self.pushed)
            .flat_map(|number| &self.records[self.slot(number)..][..self.width()])
            .copied();
        (first, records.collect())
    }

    /// Takes up record `number` of a checkpoint; records come in order.
    pub(crate) fn restore_record(&mut self, number: u64, record: &[f32]) {
        let start = self.slot(number);
        if self.records.len() < start + record.len() {
            self.records.resize(start + record.len(), 0.0);
        }
        self.records[start..][..record.len()].copy_from_slice(record);
        self.pushed = number + 1;
    }
}
