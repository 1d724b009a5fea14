//! Neither the rates of a built-in model nor their Jacobians allocate.
#![allow(unsafe_code, reason = "counting allocations needs a global allocator")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dynamics::models::{
    Acrobot, AcrobotParameters, Airplane, AirplaneParameters, Car, CarParameters, DoublePendulum,
    DoublePendulumParameters, LagParameters, LaggedCar, Quadrotor, QuadrotorParameters, Swimmer,
    SwimmerParameters, Unicycle,
};
use dynamics::{ContinuousDynamics, Linearization};
use nalgebra::DVector;

thread_local! {
    static BLOCKS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // During the end of a thread the counter may be gone; nothing is measured then.
        let _ = BLOCKS.try_with(|blocks| blocks.set(blocks.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn assert_no_blocks(model: &impl ContinuousDynamics) {
    let (nx, nu) = (model.nx(), model.nu());
    let (x, u) = (DVector::from_element(nx, 0.4), DVector::from_element(nu, 50.0));
    let (mut ws, mut rate) = (model.workspace(), x.clone());
    let mut jacobian = Linearization::zeros(nx, nu);
    let before = BLOCKS.get();
    model.xdot(&mut ws, &x, &u, &mut rate);
    model.xdot_jacobian(&mut ws, &x, &u, &mut jacobian);
    assert_eq!(BLOCKS.get() - before, 0, "{}", model.name());
}

#[test]
fn rates_and_jacobians_do_not_allocate() {
    assert_no_blocks(&Acrobot::new(AcrobotParameters::real()).unwrap());
    assert_no_blocks(&DoublePendulum::new(DoublePendulumParameters::real()).unwrap());
    assert_no_blocks(&Unicycle);
    assert_no_blocks(&Car::new(CarParameters::identified()).unwrap());
    let lags = LagParameters::identified();
    assert_no_blocks(&LaggedCar::new(CarParameters::identified(), lags).unwrap());
    assert_no_blocks(&Quadrotor::new(QuadrotorParameters::real()).unwrap());
    assert_no_blocks(&Airplane::new(AirplaneParameters::wind_tunnel()).unwrap());
    assert_no_blocks(&Swimmer::new(SwimmerParameters::uniform(7)).unwrap());
    // The counter counts.
    let before = BLOCKS.get();
    drop(std::hint::black_box(vec![1.0_f64; 4]));
    assert_eq!(BLOCKS.get() - before, 1);
}
