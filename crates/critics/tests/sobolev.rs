//! Sobolev losses of order 0, 1 and 2 against their definition, and their parameter gradients against
//! central differences and identities.

mod common;

use common::values::{heads, shapes, single, smooth, value_network};
use common::{activations, differences, normal, relative_error};
use critics::{
    Activation, Head, HessianTargets, SobolevErrors, SobolevTargets, SobolevWeights, ValueNetwork,
};
use dynamics::HessianKind;
use proptest::prelude::*;

const WEIGHTS: SobolevWeights = SobolevWeights { gradient: 0.7, hessian: 0.4 };

/// States with random targets of all orders; the target Hessians are not symmetric.
struct Data {
    x: Vec<f64>,
    v: Vec<f64>,
    vx: Vec<f64>,
    vxx: Vec<f64>,
    per_sample: usize,
    directions: Vec<f64>,
    products: Vec<f64>,
}

/// What is compared beside values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Zero,
    One,
    Matrices,
    Products,
    /// Hessians without gradients.
    MatricesAlone,
}

const ORDERS: [Order; 5] =
    [Order::Zero, Order::One, Order::Matrices, Order::Products, Order::MatricesAlone];

impl Data {
    fn new(nx: usize, batch: usize, per_sample: usize, seed: u64) -> Self {
        let along = batch * per_sample * nx;
        Self {
            x: normal(batch * nx, seed, "x"),
            v: normal(batch, seed, "v"),
            vx: normal(batch * nx, seed, "vx"),
            vxx: normal(batch * nx * nx, seed, "vxx"),
            per_sample,
            directions: normal(along, seed, "directions"),
            products: normal(along, seed, "products"),
        }
    }

    fn targets(&self, order: Order) -> SobolevTargets<'_, f64> {
        let Self { per_sample, directions, products, .. } = self;
        SobolevTargets {
            v: &self.v,
            vx: (!matches!(order, Order::Zero | Order::MatricesAlone)).then_some(&self.vx),
            vxx: match order {
                Order::Zero | Order::One => None,
                Order::Matrices | Order::MatricesAlone => Some(HessianTargets::Matrices(&self.vxx)),
                Order::Products => {
                    Some(HessianTargets::Products { per_sample: *per_sample, directions, products })
                }
            },
        }
    }

    /// The errors by definition, from the network's own derivatives.
    fn errors(&self, net: &ValueNetwork<f64>, order: Order) -> SobolevErrors {
        let (n, batch) = (net.nx(), self.v.len());
        let (mut v, mut vx) = (vec![0.0; batch], vec![0.0; batch * n]);
        let mut vxx = vec![0.0; batch * n * n];
        let ws = &mut net.workspace(batch);
        net.hessian(HessianKind::Exact, &self.x, ws, &mut v, &mut vx, &mut vxx);
        let mean = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64
        };
        let products: Vec<f64> = (0..self.directions.len())
            .map(|at| {
                let (row, i) = (at / n, at % n);
                let matrix = &vxx[row / self.per_sample * n * n..][..n * n];
                common::dot(&matrix[i * n..][..n], &self.directions[row * n..][..n])
            })
            .collect();
        let targets = self.targets(order);
        SobolevErrors {
            v: mean(&v, &self.v),
            vx: targets.vx.map(|target| mean(&vx, target)),
            vxx: targets.vxx.map(|target| match target {
                HessianTargets::Matrices(target) => mean(&vxx, target),
                HessianTargets::Products { products: target, .. } => mean(&products, target),
            }),
        }
    }
}

/// Errors and the gradient of the loss.
fn differentiate(
    net: &ValueNetwork<f64>,
    x: &[f64],
    targets: &SobolevTargets<'_, f64>,
    weights: SobolevWeights,
) -> (SobolevErrors, Vec<f64>) {
    let mut grads = vec![0.0; net.net().params().len()];
    // The workspace is made for less and has to grow.
    let ws = &mut net.sobolev_workspace(1);
    let errors = net.sobolev_gradient(x, targets, weights, ws, &mut grads);
    assert_eq!(net.sobolev_errors(x, targets, ws), errors);
    (errors, grads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn losses_and_their_gradients_agree_with_definition_and_differences(
        (nx, hidden) in shapes(), activation in smooth(), head in heads(), batch in 1_usize..4,
        per_sample in 1_usize..4, seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let data = Data::new(nx, batch, per_sample, seed);
        for order in ORDERS {
            let (errors, grads) = differentiate(&net, &data.x, &data.targets(order), WEIGHTS);
            let expected = data.errors(&net, order);
            let pair = [errors.loss(WEIGHTS), expected.loss(WEIGHTS)];
            prop_assert!(relative_error(&pair[..1], &pair[1..]) < 1e-12, "{order:?}: {pair:?}");
            prop_assert_eq!(errors.vx.is_some(), expected.vx.is_some());
            prop_assert_eq!(errors.vxx.is_some(), expected.vxx.is_some());

            let mut moved = net.clone();
            let by_params = differences(net.net().params(), |params| {
                moved.params_mut().copy_from_slice(params);
                data.errors(&moved, order).loss(WEIGHTS)
            });
            let error = relative_error(&grads, &by_params);
            prop_assert!(error < 1e-7, "{order:?}: {error:e}");
        }
    }

    #[test]
    fn products_with_all_unit_vectors_are_the_matrix(
        (nx, hidden) in shapes(), activation in activations(), head in heads(),
        batch in 1_usize..200, seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let mut data = Data::new(nx, batch, nx, seed);
        let unit = |at: usize| f64::from(u8::from(at / nx % nx == at % nx));
        data.directions = (0..batch * nx * nx).map(unit).collect();
        // Row d of the products is V̂xx d: column d of the matrix.
        let entry = |at: usize| {
            let (sample, d, i) = (at / (nx * nx), at / nx % nx, at % nx);
            data.vxx[sample * nx * nx + i * nx + d]
        };
        data.products = (0..batch * nx * nx).map(entry).collect();
        let whole = differentiate(&net, &data.x, &data.targets(Order::Matrices), WEIGHTS);
        let along = differentiate(&net, &data.x, &data.targets(Order::Products), WEIGHTS);
        let pair = [whole.0.loss(WEIGHTS), along.0.loss(WEIGHTS)];
        prop_assert!(relative_error(&pair[..1], &pair[1..]) < 1e-12);
        prop_assert!(relative_error(&whole.1, &along.1) < 1e-11);
    }

    #[test]
    fn a_batch_is_the_mean_of_its_parts(
        (nx, hidden) in shapes(), activation in activations(), head in heads(),
        batch in 130_usize..300, cut in 1_usize..129, seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let data = Data::new(nx, batch, 2, seed);
        for order in ORDERS {
            let (errors, grads) = differentiate(&net, &data.x, &data.targets(order), WEIGHTS);
            let mut mean = vec![0.0; grads.len()];
            let mut loss = 0.0;
            for samples in [0..cut, cut..batch] {
                let part = |values: &[f64]| {
                    let size = values.len() / batch;
                    values[samples.start * size..samples.end * size].to_vec()
                };
                let piece = Data {
                    x: part(&data.x),
                    v: part(&data.v),
                    vx: part(&data.vx),
                    vxx: part(&data.vxx),
                    per_sample: 2,
                    directions: part(&data.directions),
                    products: part(&data.products),
                };
                let share = samples.len() as f64 / batch as f64;
                let part = differentiate(&net, &piece.x, &piece.targets(order), WEIGHTS);
                loss += share * part.0.loss(WEIGHTS);
                mean.iter_mut().zip(part.1).for_each(|(mean, grad)| *mean += share * grad);
            }
            prop_assert!(relative_error(&[errors.loss(WEIGHTS)], &[loss]) < 1e-12);
            prop_assert!(relative_error(&grads, &mean) < 1e-11);
        }
    }

    #[test]
    fn single_precision_agrees_with_double(
        (nx, hidden) in shapes(), activation in smooth(), head in heads(), seed: u64,
    ) {
        let net = value_network(nx, &hidden, activation, head, seed);
        let data = Data::new(nx, 3, 2, seed);
        let net32 = single(&net);
        let round = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<_>>();
        let (x, v, vx, vxx) =
            (round(&data.x), round(&data.v), round(&data.vx), round(&data.vxx));
        let (directions, products) = (round(&data.directions), round(&data.products));
        let along =
            HessianTargets::Products { per_sample: 2, directions: &directions, products: &products };
        for (order, vxx) in
            [(Order::Matrices, HessianTargets::Matrices(&vxx)), (Order::Products, along)]
        {
            let (errors, grads) = differentiate(&net, &data.x, &data.targets(order), WEIGHTS);
            let targets = SobolevTargets { v: &v, vx: Some(&vx), vxx: Some(vxx) };
            let mut grads32 = vec![0.0; grads.len()];
            let ws = &mut net32.sobolev_workspace(3);
            let errors32 = net32.sobolev_gradient(&x, &targets, WEIGHTS, ws, &mut grads32);
            let pair = [errors32.loss(WEIGHTS), errors.loss(WEIGHTS)];
            prop_assert!(relative_error(&pair[..1], &pair[1..]) < 1e-4);
            let grads32: Vec<f64> = grads32.iter().map(|x| f64::from(*x)).collect();
            prop_assert!(relative_error(&grads32, &grads) < 1e-3);
        }
    }
}

#[test]
fn gradients_are_added_to_their_buffer() {
    let net = value_network(3, &[6, 6], Activation::Tanh, Head::SumOfSquares, 1);
    let data = Data::new(3, 4, 1, 1);
    for order in ORDERS {
        let (_, once) = differentiate(&net, &data.x, &data.targets(order), WEIGHTS);
        let mut twice = once.clone();
        let ws = &mut net.sobolev_workspace(4);
        net.sobolev_gradient(&data.x, &data.targets(order), WEIGHTS, ws, &mut twice);
        let doubled: Vec<f64> = once.iter().map(|grad| 2.0 * grad).collect();
        assert!(relative_error(&twice, &doubled) < 1e-14, "{order:?}");
    }
}

#[test]
fn terms_without_weight_are_measured_but_do_not_train() {
    let net = value_network(3, &[6, 6], Activation::Silu, Head::SmoothNorm, 2);
    let data = Data::new(3, 5, 1, 2);
    let none = SobolevWeights { gradient: 0.0, hessian: 0.0 };
    let (errors, grads) = differentiate(&net, &data.x, &data.targets(Order::Matrices), none);
    let (zero, expected) = differentiate(&net, &data.x, &data.targets(Order::Zero), none);
    assert!(errors.vx.is_some_and(|e| e > 0.0) && errors.vxx.is_some_and(|e| e > 0.0));
    assert_eq!(errors.loss(none), zero.loss(none));
    assert!(relative_error(&grads, &expected) < 1e-14);
}

#[test]
#[should_panic(expected = "one target gradient per state")]
fn targets_of_another_size_are_refused() {
    let net = value_network(3, &[6], Activation::Tanh, Head::Plain, 1);
    let targets = SobolevTargets { v: &[0.0; 2], vx: Some(&[0.0; 5]), vxx: None };
    net.sobolev_errors(&[0.0; 6], &targets, &mut net.sobolev_workspace(2));
}
