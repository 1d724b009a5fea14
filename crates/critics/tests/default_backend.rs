//! The backend of a process; in a process of its own, since the choice is for good.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::network;
use critics::{Activation, Backend, BackendError, CandleMlp, backend, set_backend};

#[test]
fn new_networks_run_on_the_backend_that_was_set_and_no_later_choice_replaces_it() {
    let candle: Backend = "candle".parse().unwrap();
    set_backend(candle.clone()).unwrap();
    assert_eq!(backend(), &candle);
    let net = network(&[2, 3, 1], Activation::Tanh, 1);
    assert_eq!(net.backend(), &candle);
    assert_eq!(CandleMlp::from_mlp(&net).unwrap().to_mlp::<f64>().unwrap().backend(), &candle);

    set_backend(candle).unwrap();
    let error = set_backend(Backend::Native).unwrap_err();
    assert!(matches!(error, BackendError::InUse { .. }));
    assert_eq!(
        error.to_string(),
        "networks run on `candle` already; set `native` before the first network is made"
    );
    assert_eq!(net.with_backend(Backend::Native).backend(), &Backend::Native);
}
