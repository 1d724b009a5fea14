//! Rows about networks alone: the machine's peak, updates on a given batch, one policy evaluation.
//!
//! Shapes and data are those of `bench/peers/updates.py`.

use std::hint::black_box;
use std::time::Instant;

use agents::replay::{Batch, TransitionShape};
use agents::{OffPolicy, Sac, SacSettings};
use anyhow::{Result, anyhow};
use critics::{Products, Real};
use dynamics::{ActionBounds, Stream};

use super::case::{Case, Precision, Source, Unit};
use super::flops;

const SHAPE: TransitionShape = TransitionShape { n_observations: 6, nu: 1, ndx: 6 };
const BATCH: usize = 256;
const ACTOR_WIDTH: usize = 256;
const CRITIC_WIDTH: usize = 512;
const DISCOUNT: f64 = 0.99;
/// Bound of the action to either side.
const ACTION_LIMIT: f64 = 2.0;
/// Updates of a sample: the weights of VG-SAC's losses are recomputed at every 20th.
const UPDATES: usize = 20;

/// Outputs, inputs and batch of the products of which the fastest is the machine's peak.
const PEAK_SIZES: [[usize; 3]; 3] = [[512, 512, 256], [512, 512, 512], [768, 768, 768]];

/// A large matrix product on each of so many threads at once: cores share caches and clock, so that
/// two do not reach twice the rate of one.
pub(super) fn peak(name: &str, threads: usize, precision: Precision) -> Case<'static> {
    match precision {
        Precision::F32 => peak_of::<f32>(name, threads, precision),
        Precision::F64 => peak_of::<f64>(name, threads, precision),
    }
}

fn peak_of<T: Real>(name: &str, threads: usize, precision: Precision) -> Case<'static> {
    let mut stream = Stream::new(0, "bench peak", 0);
    let mut draw = |n: usize| -> Vec<T> { (0..n).map(|_| T::from_f64(stream.normal())).collect() };
    let operations =
        |[n_out, n_in, batch]: [usize; 3]| 2.0 * (threads * n_out * n_in * batch) as f64;
    let mut best = (0.0, None);
    for size @ [n_out, n_in, batch] in PEAK_SIZES {
        let mut product = || {
            let (w, x) = (draw(n_out * n_in), draw(n_in * batch));
            let mut z = vec![T::ZERO; n_out * batch];
            move || {
                Products::current().forward(black_box(&w), black_box(&x), &mut z, n_out, n_in);
                black_box(&mut z);
            }
        };
        let mut products: Vec<_> = (0..threads).map(|_| product()).collect();
        at_once(&mut products, 1);
        let start = Instant::now();
        at_once(&mut products, 1);
        let rate = operations(size) / start.elapsed().as_secs_f64();
        if rate > best.0 {
            best = (rate, Some((size, products)));
        }
    }
    let size = best.1.as_ref().map_or([0; 3], |(size, _)| *size);
    let work = move |calls| {
        if let (_, Some((_, products))) = &mut best {
            at_once(products, calls);
        }
        Ok(())
    };
    Case {
        name: name.to_owned(),
        threads,
        unit: Unit::Gflops,
        flops: Some((operations(size), precision)),
        updates_per_step: None,
        source: Source::timed(1, 1, Box::new(work)),
    }
}

/// Calls each function so many times, each on a thread of its own as far as there are threads.
fn at_once<F: FnMut() + Send>(functions: &mut [F], calls: usize) {
    rayon::scope(|scope| {
        for function in functions {
            scope.spawn(move |_| (0..calls).for_each(|_| function()));
        }
    });
}

/// Updates of SAC, or of VG-SAC, on a batch that stays the same, with fresh noise.
///
/// # Errors
/// Sizes that make no network.
pub(super) fn update(name: &str, threads: usize, value_gradient: bool) -> Result<Case<'static>> {
    let settings = if value_gradient { SacSettings::vg_sac() } else { SacSettings::paired_sac() };
    let mut sac = networks(settings)?;
    let mut stream = Stream::new(0, "bench batch", 0);
    let batch = batch(&mut stream, value_gradient);
    let mut metrics = vec![0.0; OffPolicy::metric_names(&sac).len()];
    let work = move |calls| {
        for _ in 0..calls {
            OffPolicy::update(&mut sac, &batch, &mut stream, &mut metrics)
                .map_err(|(what, value)| anyhow!("{what} is {value} in a measured update"))?;
        }
        Ok(())
    };
    let TransitionShape { n_observations, nu, .. } = SHAPE;
    let actor = [n_observations, ACTOR_WIDTH, ACTOR_WIDTH, 2 * nu];
    let critic = [n_observations + nu, CRITIC_WIDTH, CRITIC_WIDTH, 1];
    let count = if value_gradient { flops::vg_sac_update } else { flops::sac_update };
    Ok(Case {
        name: name.to_owned(),
        threads,
        unit: Unit::Milliseconds,
        flops: Some((count(&actor, &critic, BATCH), Precision::F32)),
        updates_per_step: None,
        source: Source::timed(UPDATES, UPDATES, Box::new(work)),
    })
}

/// The deterministic action at one state.
///
/// # Errors
/// Sizes that make no network.
pub(super) fn policy(name: &str) -> Result<Case<'static>> {
    let sac = networks(SacSettings::sac())?;
    let mut stream = Stream::new(0, "bench state", 0);
    let state = normal(SHAPE.n_observations, 1.0, &mut stream);
    let mut ws = sac.actor.workspace(1);
    let mut action = vec![0.0; SHAPE.nu];
    let work = move |calls| {
        for _ in 0..calls {
            sac.actor.mean_action(black_box(&state), &mut ws, &mut action);
            black_box(&mut action);
        }
        Ok(())
    };
    Ok(Case {
        name: name.to_owned(),
        threads: 1,
        unit: Unit::Microseconds,
        flops: None,
        updates_per_step: None,
        source: Source::timed(100, 100, Box::new(work)),
    })
}

fn networks(settings: SacSettings) -> Result<Sac<f32>> {
    let settings = SacSettings {
        actor_hidden: vec![ACTOR_WIDTH; 2],
        critic_hidden: vec![CRITIC_WIDTH; 2],
        batch_size: BATCH,
        ..settings
    };
    let bounds = ActionBounds::symmetric(SHAPE.nu, ACTION_LIMIT);
    Ok(Sac::new(&settings, SHAPE, DISCOUNT, &bounds, 0)?)
}

/// Transitions with the distributions of the peers' script.
fn batch(stream: &mut Stream, derivatives: bool) -> Batch<f32> {
    let TransitionShape { n_observations: no, nu, ndx } = SHAPE;
    let derivative = |n: usize| if derivatives { n * BATCH } else { 0 };
    Batch {
        o: normal(no * BATCH, 1.0, stream),
        u: (0..nu * BATCH).map(|_| stream.uniform(-ACTION_LIMIT, ACTION_LIMIT) as f32).collect(),
        reward: normal(BATCH, 1.0, stream),
        o_next: normal(no * BATCH, 1.0, stream),
        mask: (0..BATCH).map(|_| if stream.unit() > 0.02 { 1.0 } else { 0.0 }).collect(),
        jacobian: normal(derivative(no * (ndx + nu)), 0.3, stream),
        reward_gradient: normal(derivative(ndx + nu), 1.0, stream),
        observation_jacobian: Vec::new(),
    }
}

fn normal(n: usize, deviation: f64, stream: &mut Stream) -> Vec<f32> {
    (0..n).map(|_| (deviation * stream.normal()) as f32).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use rayon::ThreadPoolBuilder;

    use super::*;

    #[test]
    fn as_many_functions_run_at_once_as_there_are_threads() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        // Were one to wait for the end of the other, the barrier would never open.
        let barrier = Barrier::new(2);
        let mut counts = [0, 0];
        let mut functions: Vec<_> = counts
            .iter_mut()
            .map(|count| {
                || {
                    barrier.wait();
                    *count += 1;
                }
            })
            .collect();
        pool.install(|| at_once(&mut functions, 3));
        drop(functions);
        assert_eq!(counts, [3, 3]);
    }
}
