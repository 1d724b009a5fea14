//! DVP on the unicycle: the solves of an iteration, without and with a learned value at their ends,
//! and whole iterations.

#![expect(clippy::expect_used, reason = "a bench has no one to report to")]

use std::f64::consts::TAU;

use agents::dvp::{Dvp, DvpSettings};
use bench_tasks::{BenchTask, Preset, Variant};
use critics::FitSettings;
use divan::Bencher;
use dynamics::Stream;
use mimalloc::MiMalloc;
use rayon::{ThreadPool, ThreadPoolBuilder};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    divan::main();
}

const SAMPLES: usize = 100;
const HORIZON: usize = 60;
const EPOCHS: usize = 1000;

/// The unicycle of figure 1 of the paper; starts are drawn about its goal.
fn unicycle() -> Box<dyn BenchTask> {
    let entry = bench_tasks::find("unicycle").expect("a task");
    let mut settings = (entry.settings)(Preset::Released).expect("settings");
    for key in ["state_weight", "control_weight"] {
        settings.insert(key.to_owned(), 0.1414.into());
    }
    settings.insert("x0".to_owned(), vec![0.0; 3].into());
    (entry.build)(Variant::Nominal, &settings).expect("valid settings")
}

/// Calls `run` with the loop after some iterations, and a pool of so many threads.
fn with_loop(threads: usize, iterations: usize, run: impl FnOnce(&mut Dvp<'_>, &ThreadPool)) {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let task = unicycle();
    let settings = DvpSettings {
        samples: SAMPLES,
        horizon: HORIZON,
        start_spread: vec![2.1, 2.1, TAU],
        fit: FitSettings { epochs: EPOCHS, ..FitSettings::default() },
        ..DvpSettings::default()
    };
    let mut dvp = Dvp::new(task.as_task(), &settings, 0).expect("valid settings");
    for _ in 0..iterations {
        dvp.iterate().expect("an iteration");
    }
    run(&mut dvp, &pool);
}

/// The solves of an iteration; the first has no terminal cost, the second the network.
#[divan::bench(args = [(0, 1), (1, 1), (1, 2)], sample_count = 20)]
fn solves(bencher: Bencher, (iterations, threads): (usize, usize)) {
    with_loop(threads, iterations, |dvp, pool| {
        let starts = dvp.starts(&mut Stream::new(1, "bench starts", 0), SAMPLES);
        bencher.bench_local(|| pool.install(|| dvp.solve(&starts).expect("solutions")));
    });
}

/// Iterations that go on from one another.
#[divan::bench(args = [1, 2], sample_count = 9)]
fn iteration(bencher: Bencher, threads: usize) {
    with_loop(threads, 1, |dvp, pool| {
        bencher.bench_local(|| pool.install(|| dvp.iterate().expect("an iteration")));
    });
}
