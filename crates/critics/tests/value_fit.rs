//! Training of value networks: what is learnt, what stops it, what repeats.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::ops::ControlFlow;

use common::values::value_network;
use critics::{
    Activation, Adam, AdamSettings, CriticError, FitEpoch, FitReport, FitSettings, FitStop, Head,
    Initialization, Real, Scaling, SobolevWeights, ValueData, ValueNetwork, ValueSpec,
};
use dynamics::Stream;

/// V = ½ xᵀPx + ¼ Σ xᵢ⁴ with P = [2 ½; ½ 1] at uniform states of [−1, 1]², and its derivatives.
fn quartic(samples: usize, seed: u64) -> ValueData<f64> {
    let mut stream = Stream::new(seed, "states", 0);
    let mut data = ValueData::default();
    for _ in 0..samples {
        let [a, b] = [stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)];
        data.x.extend([a, b]);
        data.v.push(a * a + 0.5 * a * b + 0.5 * b * b + 0.25 * (a.powi(4) + b.powi(4)));
        data.vx.extend([2.0 * a + 0.5 * b + a.powi(3), 0.5 * a + b + b.powi(3)]);
        data.vxx.extend([2.0 + 3.0 * a * a, 0.5, 0.5, 1.0 + 3.0 * b * b]);
    }
    data
}

fn small<T: Real>(seed: u64) -> (ValueNetwork<T>, Adam<T>) {
    let spec = ValueSpec { hidden: vec![24, 24], ..ValueSpec::new(2) };
    let stream = &mut Stream::new(seed, "weights", 0);
    let net =
        ValueNetwork::random(spec, Scaling::none(2), Initialization::Pytorch, stream).unwrap();
    let settings = AdamSettings { lr: 3e-3, ..AdamSettings::default() };
    let adam = Adam::new(net.net().params().len(), settings);
    (net, adam)
}

/// Trains from the given seed; the network, the report, and the errors of V on other states.
fn train(
    data: &ValueData<f64>,
    settings: &FitSettings,
    seed: u64,
) -> (ValueNetwork<f64>, FitReport) {
    let (mut net, mut adam) = small(seed);
    let (validation, stream) = (quartic(500, 99), &mut Stream::new(seed, "fit", 0));
    let settings = &FitSettings { validate_every: 1000, ..settings.clone() };
    let go_on = &mut |_: &FitEpoch| ControlFlow::Continue(());
    let report = net.fit(&mut adam, data, Some(&validation), settings, stream, go_on).unwrap();
    (net, report)
}

fn order(gradient: f64, hessian: f64) -> FitSettings {
    let weights = SobolevWeights { gradient, hessian };
    FitSettings { epochs: 2000, weights, ..FitSettings::default() }
}

#[test]
fn a_quartic_value_is_learnt_and_derivatives_replace_samples() {
    for seed in 1..4 {
        let error = |samples, settings: FitSettings| {
            let (_, report) = train(&quartic(samples, seed), &settings, seed);
            assert_eq!((report.stop, report.epochs.len()), (FitStop::Epochs, 2000));
            report.epochs[1999].validation.unwrap().v
        };
        let [zero, one, two] =
            [error(80, order(0.0, 0.0)), error(40, order(1.0, 0.0)), error(40, order(1.0, 0.3))];
        assert!(zero < 3e-4 && one < 5e-5 && two < 5e-6, "{zero:e} {one:e} {two:e}");
        // Half the samples with gradients are better than all without.
        assert!(one < 0.5 * zero && two < 0.3 * one, "{zero:e} {one:e} {two:e}");
    }
}

#[test]
fn random_directions_train_the_whole_hessian() {
    let settings = FitSettings { directions: Some(1), ..order(1.0, 0.3) };
    let (_, report) = train(&quartic(40, 1), &settings, 1);
    let error = |epoch: usize| report.epochs[epoch].validation.unwrap().vxx.unwrap();
    assert!(error(0) > 1.0 && error(1999) < 5e-3, "{:e} to {:e}", error(0), error(1999));
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let data = quartic(50, 1);
    for directions in [None, Some(2)] {
        let settings = FitSettings { epochs: 30, batch: Some(16), directions, ..order(1.0, 0.2) };
        let (net, report) = train(&data, &settings, 3);
        let (again, same) = train(&data, &settings, 3);
        assert_eq!(net, again);
        assert_eq!(report, same);
        // The same weights, shuffled otherwise.
        let (mut other, mut adam) = small(3);
        let go_on = &mut |_: &FitEpoch| ControlFlow::Continue(());
        let stream = &mut Stream::new(4, "fit", 0);
        other.fit(&mut adam, &data, None, &settings, stream, go_on).unwrap();
        assert_ne!(net, other);
    }
}

#[test]
fn two_calls_continue_like_one() {
    let data = quartic(50, 1);
    let go_on = &mut |_: &FitEpoch| ControlFlow::Continue(());
    let run = |calls: &[usize], go_on: &mut dyn FnMut(&FitEpoch) -> ControlFlow<()>| {
        let (mut net, mut adam) = small::<f32>(3);
        let single = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<_>>();
        let data = ValueData {
            x: single(&data.x),
            v: single(&data.v),
            vx: single(&data.vx),
            vxx: Vec::new(),
        };
        let stream = &mut Stream::new(3, "fit", 0);
        for &epochs in calls {
            let settings = FitSettings { epochs, batch: Some(16), ..order(1.0, 0.0) };
            net.fit(&mut adam, &data, None, &settings, stream, go_on).unwrap();
        }
        (net, adam)
    };
    assert!(run(&[20], go_on) == run(&[7, 13], go_on));
}

#[test]
fn training_stops_below_both_tolerances_or_when_the_observer_says_so() {
    let data = quartic(20, 1);
    let settings = FitSettings { v_tolerance: 1e-2, vx_tolerance: 3e-2, ..order(1.0, 0.0) };
    let (_, report) = train(&data, &settings, 1);
    assert_eq!(report.stop, FitStop::Tolerance);
    let below = |epoch: &FitEpoch| epoch.train.v < 1e-2 && epoch.train.vx.unwrap() < 3e-2;
    let (last, earlier) = report.epochs.split_last().unwrap();
    assert!(below(last) && !earlier.iter().any(below));

    let (mut net, mut adam) = small(1);
    let stream = &mut Stream::new(1, "fit", 0);
    let mut seen = Vec::new();
    let report = net.fit(&mut adam, &data, Some(&data), &order(0.0, 0.0), stream, &mut |row| {
        seen.push(*row);
        if row.epoch == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let report = report.unwrap();
    assert_eq!((report.stop, report.epochs.len()), (FitStop::Observer, 5));
    assert_eq!(report.epochs, seen);
    assert!(report.epochs.iter().all(|row| row.train.vx.is_none() && row.validation.is_some()));
    // Full batches without directions draw nothing.
    assert_eq!(stream.state(), Stream::new(1, "fit", 0).state());
    assert_eq!(adam.t(), 5);
}

/// The error of training with these data and settings.
fn refused(change: impl FnOnce(&mut ValueData<f64>, &mut FitSettings)) -> (CriticError, bool) {
    let (mut data, mut settings) = (quartic(10, 1), order(1.0, 0.3));
    change(&mut data, &mut settings);
    let mut net = value_network(2, &[8], Activation::Tanh, Head::Plain, 1);
    let before = net.clone();
    let mut adam = Adam::new(net.net().params().len(), AdamSettings::default());
    let stream = &mut Stream::new(1, "fit", 0);
    let go_on = &mut |_: &FitEpoch| ControlFlow::Continue(());
    let error = net.fit(&mut adam, &data, None, &settings, stream, go_on).unwrap_err();
    (error, net == before)
}

#[test]
fn data_and_settings_that_do_not_fit_are_refused_before_anything_changes() {
    let check = |change: fn(&mut ValueData<f64>, &mut FitSettings), text: &str| {
        let (error, unchanged) = refused(change);
        assert!(unchanged && error.to_string() == text, "{error}");
    };
    check(|data, _| data.vx.truncate(19), "`vx` of the data has shape [19], needed is [20]");
    check(|data, _| data.vxx.clear(), "`vxx` of the data has shape [0], needed is [40]");
    check(|data, _| *data = ValueData::default(), "`x` of the data has shape [0], needed is [2]");
    check(
        |data, _| data.v[3] = f64::NAN,
        "`v` of the data holds NaN at index 3, where only finite numbers are allowed",
    );
    check(|_, settings| settings.batch = Some(0), "`batch` is 0; it must be at least 1");
    check(|_, settings| settings.directions = Some(0), "`directions` is 0; it must be at least 1");
    check(
        |_, settings| settings.weights.gradient = -1.0,
        "`gradient` is -1; it must be finite and at least 0",
    );
    // What the order does not need may be missing.
    let (mut net, mut adam) = small(1);
    let data = ValueData { vx: Vec::new(), vxx: Vec::new(), ..quartic(10, 1) };
    let stream = &mut Stream::new(1, "fit", 0);
    let go_on = &mut |_: &FitEpoch| ControlFlow::Continue(());
    let settings = FitSettings { epochs: 2, ..order(0.0, 0.0) };
    net.fit(&mut adam, &data, None, &settings, stream, go_on).unwrap();
    let mut other = Adam::new(3, AdamSettings::default());
    let error = net.fit(&mut other, &data, None, &settings, stream, go_on).unwrap_err();
    assert!(matches!(error, CriticError::Shape { .. }), "{error}");
}

#[test]
fn training_that_diverges_says_when_and_what_to_do() {
    let (error, unchanged) = refused(|data, _| data.v[0] = 1e200);
    let text = error.to_string();
    assert!(unchanged, "a step was taken");
    assert!(text.starts_with("training diverged in epoch 0: the errors of a batch are"), "{text}");
    assert!(text.ends_with("scale inputs and values to the order of 1"), "{text}");
}

#[test]
fn settings_read_back_from_their_text() {
    let settings = FitSettings { batch: Some(64), directions: Some(1), ..order(0.5, 0.1) };
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<FitSettings>(&text).unwrap(), settings);
    assert!(serde_json::from_str::<FitSettings>(r#"{"epoch": 3}"#).is_err());
}
