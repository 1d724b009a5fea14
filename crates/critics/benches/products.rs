//! The products of a layer against the `gemm` crate on one thread, interleaved in one process.
//!
//! Prints the best of many repetitions: GFLOP/s of each and the ratio of the times (above 1: ours is
//! faster). Arguments: `portable`, `avx2` or `avx512` chooses our instruction path, `512x512x256` a shape.
#![allow(unsafe_code, reason = "`gemm` takes pointers")]
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::expect_used, reason = "a bench that cannot start has failed")]

use std::hint::black_box;
use std::time::Instant;

use critics::{InstructionPath, Products, Real};
use dynamics::Stream;
use gemm::Parallelism;

/// Outputs, inputs and batch of a layer.
const SHAPES: [[usize; 3]; 16] = [
    [512, 512, 256],
    [512, 512, 512],
    [256, 256, 256],
    [256, 256, 512],
    [64, 64, 256],
    [64, 64, 100],
    [64, 256, 256],
    [256, 64, 256],
    [300, 400, 100],
    [256, 18, 256],
    [512, 7, 256],
    [1, 512, 256],
    [12, 256, 256],
    [256, 256, 1],
    [256, 18, 1],
    [256, 256, 8],
];

#[derive(Clone, Copy)]
enum Kind {
    Forward,
    Input,
    Weight,
}

/// Z = W X, X̄ = Wᵀ Z̄ or W̄ += Z̄ Xᵀ with the `gemm` crate.
fn with_gemm<T: Real>(kind: Kind, a: &[T], b: &[T], c: &mut [T], [n_out, n_in, batch]: [usize; 3]) {
    let ([m, n, k], [c_cs, c_rs], [a_cs, a_rs], [b_cs, b_rs]) = match kind {
        Kind::Forward => ([n_out, batch, n_in], [n_out, 1], [1, n_in], [n_in, 1]),
        Kind::Input => ([n_in, batch, n_out], [n_in, 1], [n_in, 1], [n_out, 1]),
        Kind::Weight => ([n_out, n_in, batch], [1, n_in], [n_out, 1], [1, n_in]),
    };
    assert!(c.len() == m * n && a.len() == m * k && b.len() == k * n);
    // SAFETY: the three matrices are dense and fill their slices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_cs as isize,
            c_rs as isize,
            matches!(kind, Kind::Weight),
            a.as_ptr(),
            a_cs as isize,
            a_rs as isize,
            b.as_ptr(),
            b_cs as isize,
            b_rs as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

fn ours<T: Real>(p: Products, kind: Kind, a: &[T], b: &[T], c: &mut [T], size: [usize; 3]) {
    let [n_out, n_in, _] = size;
    match kind {
        Kind::Forward => p.forward(a, b, c, n_out, n_in),
        Kind::Input => p.input(a, b, c, n_out, n_in),
        Kind::Weight => p.weight(a, b, c, n_out, n_in),
    }
}

fn compare<T: Real>(path: InstructionPath, stream: &mut Stream) {
    let p = Products::on(path).expect("the path is available");
    println!("{} on {path}", T::NAME);
    println!(
        "{:<8} {:>16} {:>10} {:>10} {:>9} {:>7}",
        "", "out x in x batch", "gemm", "ours", "µs", "ratio"
    );
    // Words such as the `--bench` that cargo adds are no shapes.
    let only: Option<String> =
        std::env::args().find(|word| word.matches('x').count() == 2 && word.len() < 16);
    for size @ [n_out, n_in, batch] in SHAPES {
        let shape = format!("{n_out}x{n_in}x{batch}");
        if only.as_ref().is_some_and(|only| *only != shape) {
            continue;
        }
        let mut draw = |n: usize| (0..n).map(|_| T::from_f64(stream.normal())).collect::<Vec<_>>();
        let (w, x, z) = (draw(n_out * n_in), draw(n_in * batch), draw(n_out * batch));
        for (name, kind, a, b, n_c) in [
            ("forward", Kind::Forward, &w, &x, z.len()),
            ("input", Kind::Input, &w, &z, x.len()),
            ("weight", Kind::Weight, &z, &x, w.len()),
        ] {
            let mut c = vec![T::ZERO; n_c];
            let flops = 2.0 * (n_out * n_in * batch) as f64;
            // Small products are timed in groups, since reading the clock takes 20 ns.
            let group = (2e5 / flops).ceil() as usize;
            let rounds = (3e9 / flops / group as f64).clamp(60.0, 2000.0) as usize;
            let mut best = [f64::INFINITY; 2];
            for _ in 0..rounds {
                let start = Instant::now();
                for _ in 0..group {
                    with_gemm(kind, black_box(a), black_box(b), black_box(&mut c), size);
                }
                best[0] = best[0].min(start.elapsed().as_secs_f64() / group as f64);
                let start = Instant::now();
                for _ in 0..group {
                    ours(p, kind, black_box(a), black_box(b), black_box(&mut c), size);
                }
                best[1] = best[1].min(start.elapsed().as_secs_f64() / group as f64);
            }
            let [gemm, ours] = best.map(|seconds| flops / seconds * 1e-9);
            println!(
                "{name:<8} {:>16} {gemm:>10.1} {ours:>10.1} {:>9.2} {:>7.2}",
                shape,
                best[1] * 1e6,
                ours / gemm
            );
        }
    }
}

fn main() {
    let path = std::env::args().find_map(|word| word.parse::<InstructionPath>().ok());
    let path = path.unwrap_or_else(InstructionPath::widest);
    let mut stream = Stream::new(1, "bench", 0);
    compare::<f32>(path, &mut stream);
    compare::<f64>(path, &mut stream);
}
