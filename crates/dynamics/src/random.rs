//! Named random streams.
//!
//! Every purpose that needs randomness (environment resets, policy noise, initial weights, replay
//! batches, …) owns a [`Stream`] derived from the run's seed, the purpose's name and an index.
//! Adding a consumer therefore never shifts the numbers of another, and parallel work takes streams
//! by index, never by thread.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// A seeded, named, resumable stream of random numbers (ChaCha with 8 rounds).
///
/// Two streams with different names or indices are independent, also for the same seed. The
/// generator is fixed for good: the same seed, name and index give the same numbers in every
/// version of this crate.
#[derive(Debug)]
pub struct Stream {
    seed: u64,
    id: u64,
    rng: ChaCha8Rng,
}

impl Clone for Stream {
    fn clone(&self) -> Self {
        Self::at(self.state())
    }
}

/// Where a [`Stream`] stands: what a checkpoint stores of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// Seed of the run.
    pub seed: u64,
    /// Stream number, derived from name and index.
    pub id: u64,
    /// Position in 32-bit words from the start of the stream.
    pub word: u64,
}

impl Stream {
    /// The stream of the given purpose and index, at its beginning.
    #[must_use]
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        // FNV-1a over the name, then one round of splitmix64 so that neighbouring indices differ in
        // every bit.
        let name = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut id = name.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        id ^= id >> 31;
        Self::at(StreamState { seed, id, word: 0 })
    }

    /// The stream that stood at `state` when it was saved.
    #[must_use]
    pub fn at(state: StreamState) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(state.seed);
        rng.set_stream(state.id);
        rng.set_word_pos(u128::from(state.word));
        Self { seed: state.seed, id: state.id, rng }
    }

    /// Where the stream stands now.
    #[must_use]
    pub fn state(&self) -> StreamState {
        // A run would need 10¹⁹ draws to leave 64 bits.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let word = self.rng.get_word_pos() as u64;
        StreamState { seed: self.seed, id: self.id, word }
    }

    /// A number uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.rng.random::<f64>()
    }

    /// A number uniform in [`low`, `high`).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number from the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.rng)
    }

    /// An index uniform in 0..`n`; 0 for `n` = 0.
    pub fn index(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.rng.random_range(0..n) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_name_index_or_seed_differ() {
        let first = |seed, name, index| Stream::new(seed, name, index).bits();
        let all =
            [first(1, "env", 0), first(2, "env", 0), first(1, "batch", 0), first(1, "env", 1)];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn a_saved_stream_continues_where_it_stood() {
        let mut stream = Stream::new(7, "noise", 3);
        for _ in 0..101 {
            stream.normal();
            stream.uniform(-1.0, 2.0);
            stream.index(10);
        }
        let mut again = Stream::at(stream.state());
        for _ in 0..101 {
            assert_eq!(stream.normal().to_bits(), again.normal().to_bits());
            assert_eq!(stream.index(7), again.index(7));
        }
    }

    #[test]
    fn first_numbers_of_a_stream_never_change() {
        // Pinned: a change here breaks every stored result.
        let mut stream = Stream::new(0, "env", 0);
        assert_eq!([stream.bits(), stream.bits()], PINNED);
    }

    const PINNED: [u64; 2] = [9_788_251_867_488_955_957, 7_027_682_524_892_574_872];

    #[test]
    fn normal_numbers_have_zero_mean_and_unit_variance() {
        let mut stream = Stream::new(11, "normal", 0);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let z = stream.normal();
            sum += z;
            squares += z * z;
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.02, "mean {}", sum / n);
        assert!((squares / n - 1.0).abs() < 0.02, "variance {}", squares / n);
    }
}
