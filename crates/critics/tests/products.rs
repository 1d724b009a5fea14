//! The products of a layer against plain sums in f64, on every path of this processor.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use critics::{InstructionPath, Products, Real};
use dynamics::Stream;
use proptest::prelude::*;

/// Numbers before and after every result that must stay as they are.
const GUARD: usize = 64;

fn paths() -> impl Iterator<Item = InstructionPath> {
    InstructionPath::ALL.into_iter().filter(|path| path.available())
}

fn draw<T: Real>(stream: &mut Stream, n: usize) -> Vec<T> {
    (0..n).map(|_| T::from_f64(stream.normal())).collect()
}

/// Σₚ a(i, p) b(p, j) and Σₚ |a(i, p) b(p, j)| in f64.
fn plain(k: usize, a: impl Fn(usize) -> f64, b: impl Fn(usize) -> f64) -> (f64, f64) {
    (0..k).fold((0.0, 0.0), |(sum, size), p| (sum + a(p) * b(p), size + (a(p) * b(p)).abs()))
}

/// Runs `f` on a result of `n` numbers between guards and returns the result.
fn guarded<T: Real>(n: usize, start: impl Fn(usize) -> T, f: impl FnOnce(&mut [T])) -> Vec<T> {
    let guard = T::from_f64(-777.25);
    let mut memory = vec![guard; n + 2 * GUARD];
    let result = &mut memory[GUARD..GUARD + n];
    result.iter_mut().enumerate().for_each(|(i, c)| *c = start(i));
    f(result);
    let untouched = |part: &[T]| part.iter().all(|x| *x == guard);
    assert!(
        untouched(&memory[..GUARD]) && untouched(&memory[GUARD + n..]),
        "a guard was written to"
    );
    memory[GUARD..GUARD + n].to_vec()
}

/// All three products of one shape on one path; `epsilon` is that of the type.
fn check<T: Real>(
    path: InstructionPath,
    [n_out, n_in, batch]: [usize; 3],
    seed: u64,
    epsilon: f64,
) {
    let products = Products::on(path).unwrap();
    let stream = &mut Stream::new(seed, "products", 0);
    let w = draw::<T>(stream, n_out * n_in);
    let x = draw::<T>(stream, n_in * batch);
    let z = draw::<T>(stream, n_out * batch);
    let nan = |_| T::from_f64(f64::NAN);
    let agree = |what: &str, k: usize, found: &[T], needed: &dyn Fn(usize) -> (f64, f64)| {
        for (i, found) in found.iter().enumerate() {
            let (sum, size) = needed(i);
            // k roundings of random sign, each of at most half an ε of a partial sum.
            let bound = epsilon * (1.0 + size) * (1.0 + k as f64).sqrt();
            assert!(
                (found.to_f64() - sum).abs() <= bound,
                "{what} {n_out} x {n_in} x {batch} on {path}: element {i} is {found}, not {sum}"
            );
        }
    };
    let at = |m: &[T], i: usize| m[i].to_f64();

    let forward = guarded(n_out * batch, nan, |c| products.forward(&w, &x, c, n_out, n_in));
    agree("forward", n_in, &forward, &|i| {
        let (s, o) = (i / n_out, i % n_out);
        plain(n_in, |p| at(&w, o * n_in + p), |p| at(&x, s * n_in + p))
    });
    let input = guarded(n_in * batch, nan, |c| products.input(&w, &z, c, n_out, n_in));
    agree("input", n_out, &input, &|i| {
        let (s, f) = (i / n_in, i % n_in);
        plain(n_out, |p| at(&w, p * n_in + f), |p| at(&z, s * n_out + p))
    });
    // The weight gradient is added to what is there.
    let weight = guarded(n_out * n_in, |i| w[i], |c| products.weight(&z, &x, c, n_out, n_in));
    agree("weight", batch, &weight, &|i| {
        let (o, f) = (i / n_in, i % n_in);
        let (sum, size) = plain(batch, |p| at(&z, p * n_out + o), |p| at(&x, p * n_in + f));
        (sum + at(&w, i), size + at(&w, i).abs())
    });

    // Again, from other addresses: the same bits.
    let again = guarded(n_out * batch, nan, |c| products.forward(&w.clone(), &x, c, n_out, n_in));
    assert!(again == forward, "forward {n_out} x {n_in} x {batch} on {path} is not repeatable");
}

fn check_all([n_out, n_in, batch]: [usize; 3], seed: u64) {
    for path in paths() {
        check::<f32>(path, [n_out, n_in, batch], seed, f64::from(f32::EPSILON));
        check::<f64>(path, [n_out, n_in, batch], seed, f64::EPSILON);
    }
}

/// Sizes near the borders of vectors, tiles, panels and blocks, and others between them.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1_usize..40,
        1 => Just(64_usize), 1 => Just(65_usize), 1 => Just(96_usize),
        2 => 40_usize..140,
        1 => 250_usize..270,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn products_agree_with_plain_sums(n_out in size(), n_in in size(), batch in size(), seed: u64) {
        check_all([n_out, n_in, batch], seed);
    }
}

#[test]
fn large_products_of_several_blocks_agree_with_plain_sums() {
    for shape in [[300, 257, 33], [600, 20, 70], [5, 600, 1000], [70, 40, 1000], [513, 34, 520]] {
        check_all(shape, 5);
    }
}

#[test]
fn every_small_shape_agrees_with_plain_sums() {
    for n_out in 1..=9 {
        for n_in in 1..=9 {
            for batch in [1, 2, 3, 7, 8, 9, 17] {
                check_all([n_out, n_in, batch], 7);
            }
        }
    }
}

#[test]
fn an_empty_inner_dimension_gives_zeros_and_an_empty_batch_nothing() {
    for path in paths() {
        let products = Products::on(path).unwrap();
        let mut z = [f32::NAN; 6];
        products.forward(&[], &[], &mut z, 3, 0);
        assert_eq!(z, [0.0; 6]);
        let mut x_bar = [f64::NAN; 6];
        products.input(&[], &[], &mut x_bar, 0, 2);
        assert_eq!(x_bar, [0.0; 6]);
        let mut w_bar = [1.5_f32; 6];
        products.weight(&[], &[], &mut w_bar, 3, 2);
        assert_eq!(w_bar, [1.5; 6]);
        products.forward(&w_bar, &[], &mut [], 3, 2);
        products.input(&w_bar, &[], &mut [], 3, 2);
    }
}

/// Lanes beyond the end of a matrix never reach a result.
#[test]
fn not_a_number_stays_in_its_sample() {
    for path in paths() {
        let products = Products::on(path).unwrap();
        for (n_out, n_in, batch) in [(5, 3, 40), (70, 33, 40), (40, 300, 13)] {
            let w = vec![1.0_f32; n_out * n_in];
            let mut x = vec![1.0_f32; n_in * batch];
            x[7 * n_in + 1] = f32::NAN;
            let mut z = vec![0.0; n_out * batch];
            products.forward(&w, &x, &mut z, n_out, n_in);
            for (i, z) in z.iter().enumerate() {
                assert_eq!(z.is_nan(), i / n_out == 7, "element {i} on {path}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "the left factor of a 2 x 3 x 1 product has 5 numbers")]
fn a_weight_of_another_length_is_refused() {
    Products::current().forward(&[0.0_f32; 5], &[0.0; 3], &mut [0.0; 2], 2, 3);
}

#[test]
#[should_panic(expected = "the left factor")]
fn sizes_whose_product_overflows_are_refused() {
    let huge = 1 << (usize::BITS / 2);
    let mut z = vec![0.0_f32; huge.min(1 << 20)];
    // 2³² × 2³² wraps to the length of an empty slice.
    Products::current().forward(&[], &[], &mut z[..0], huge, huge);
}
