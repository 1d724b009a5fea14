//! One row of the table while it is measured.

use std::time::Instant;

use anyhow::{Context as _, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// What a row's numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds a call.
    Milliseconds,
    /// Microseconds a call.
    Microseconds,
    /// Calls a second, where a call is an environment step.
    StepsPerSecond,
    /// 10⁹ operations a second.
    Gflops,
    /// 10⁶ bytes.
    Megabytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// How tables write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::StepsPerSecond => "steps/s",
            Self::Gflops => "GFLOP/s",
            Self::Megabytes => "MB",
            Self::Seconds => "s",
        }
    }

    /// Whether more is better.
    pub(super) fn is_rate(self) -> bool {
        matches!(self, Self::StepsPerSecond | Self::Gflops)
    }

    /// The better end of a range.
    pub(super) fn best(self, (least, greatest): (f64, f64)) -> f64 {
        if self.is_rate() { greatest } else { least }
    }

    /// How many times better `ours` is than `theirs`.
    pub(super) fn ratio(self, ours: f64, theirs: f64) -> f64 {
        if self.is_rate() { ours / theirs } else { theirs / ours }
    }
}

/// Precision of the operations that a row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// Single.
    F32,
    /// Double.
    F64,
}

/// Work that a [`Case`] repeats: so many calls at once.
pub(super) type Work<'a> = Box<dyn FnMut(usize) -> Result<()> + Send + 'a>;

/// One row while it is measured.
pub(super) struct Case<'a> {
    /// Name of the row.
    pub(super) name: String,
    /// Threads that the work may use.
    pub(super) threads: usize,
    /// What its numbers count.
    pub(super) unit: Unit,
    /// Operations that a call needs.
    pub(super) flops: Option<(f64, Precision)>,
    /// Updates per environment step, where steps are counted.
    pub(super) updates_per_step: Option<f64>,
    /// Where the samples come from.
    pub(super) source: Source<'a>,
}

/// Where samples come from.
pub(super) enum Source<'a> {
    /// The clock.
    Timed {
        /// Does so many calls.
        work: Work<'a>,
        /// Calls before the first sample.
        warm_up: usize,
        /// A sample has a multiple of so many calls.
        granule: usize,
        /// Calls of a sample, settled by [`Case::prepare`].
        calls: usize,
    },
    /// A process that is started for it and says the number.
    Process(Box<dyn FnMut() -> Result<f64> + Send + 'a>),
}

impl<'a> Source<'a> {
    /// Samples by the clock.
    pub(super) fn timed(warm_up: usize, granule: usize, work: Work<'a>) -> Self {
        Self::Timed { work, warm_up, granule, calls: granule }
    }
}

impl Case<'_> {
    /// Warms up, and settles how many calls make a sample of at least `seconds`.
    ///
    /// # Errors
    /// What the work reports.
    pub(super) fn prepare(&mut self, pools: &Pools, seconds: f64) -> Result<()> {
        let Source::Timed { work, warm_up, granule, calls } = &mut self.source else {
            return Ok(());
        };
        if *warm_up > 0 {
            pools.time(self.threads, *warm_up, work)?;
        }
        let once = pools.time(self.threads, *granule, work)?;
        // The bound is for clocks that do not move within one call.
        let granules = (seconds / once.max(1e-9)).ceil().clamp(1.0, 1e7);
        *calls = *granule * granules as usize;
        Ok(())
    }

    /// Takes a sample, in the row's unit.
    ///
    /// # Errors
    /// What the work reports.
    pub(super) fn sample(&mut self, pools: &Pools) -> Result<f64> {
        let (work, calls) = match &mut self.source {
            Source::Process(ask) => return ask(),
            Source::Timed { work, calls, .. } => (work, *calls),
        };
        let seconds = pools.time(self.threads, calls, work)? / calls as f64;
        Ok(match self.unit {
            Unit::Milliseconds => 1e3 * seconds,
            Unit::Microseconds => 1e6 * seconds,
            Unit::StepsPerSecond => 1.0 / seconds,
            Unit::Gflops => 1e-9 * self.flops.map_or(f64::NAN, |(flops, _)| flops) / seconds,
            Unit::Megabytes | Unit::Seconds => seconds,
        })
    }
}

/// One pool of threads for each number of them that rows ask for.
pub(super) struct Pools(Vec<(usize, ThreadPool)>);

impl Pools {
    /// Pools of the given sizes.
    ///
    /// # Errors
    /// Threads that the system refuses.
    pub(super) fn new(sizes: impl IntoIterator<Item = usize>) -> Result<Self> {
        let pool = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            Ok((threads, pool.with_context(|| format!("cannot start {threads} threads"))?))
        };
        Ok(Self(sizes.into_iter().map(pool).collect::<Result<_>>()?))
    }

    /// Seconds that so many calls take on a pool of so many threads.
    fn time(&self, threads: usize, calls: usize, work: &mut Work<'_>) -> Result<f64> {
        let pool = self.0.iter().find(|(size, _)| *size == threads);
        let (_, pool) = pool.with_context(|| format!("there is no pool of {threads} threads"))?;
        pool.install(|| {
            let start = Instant::now();
            work(calls)?;
            Ok(start.elapsed().as_secs_f64())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_whole_granules_and_the_threads_asked_for() {
        let pools = Pools::new([1, 2]).unwrap();
        for threads in [1, 2] {
            let mut seen = Vec::new();
            let work: Work<'_> = Box::new(|calls| {
                seen.push((calls, rayon::current_num_threads()));
                std::thread::sleep(std::time::Duration::from_millis(2));
                Ok(())
            });
            let mut case = Case {
                name: "sleep".to_owned(),
                threads,
                unit: Unit::StepsPerSecond,
                flops: None,
                updates_per_step: None,
                source: Source::timed(5, 20, work),
            };
            case.prepare(&pools, 0.0).unwrap();
            let rate = case.sample(&pools).unwrap();
            assert!(rate > 0.0 && rate <= 20.0 / 0.002, "{rate}");
            drop(case);
            assert_eq!(seen, [(5, threads), (20, threads), (20, threads)]);
        }
    }

    #[test]
    fn ratios_above_one_are_better_in_every_unit() {
        assert_eq!(Unit::Milliseconds.ratio(2.0, 6.0), 3.0);
        assert_eq!(Unit::StepsPerSecond.ratio(6.0, 2.0), 3.0);
        assert_eq!(Unit::Milliseconds.best((1.0, 2.0)), 1.0);
        assert_eq!(Unit::Gflops.best((1.0, 2.0)), 2.0);
    }
}
