//! Loads a robot, differentiates its forward dynamics and simulates it.
//!
//! ```sh
//! cargo run -p dynamics --example robot_from_file [FILE]
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::PathBuf;

use dynamics::rigid_body::load::load_robot;
use dynamics::rigid_body::mjcf::MjcfOptions;
use dynamics::rigid_body::{Base, Model, RigidBodyPlant, RigidBodyScheme};
use dynamics::{Dynamics, Linearization, Plant};
use nalgebra::DVector;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/two_links.urdf");
    let file = std::env::args().nth(1).map_or_else(|| PathBuf::from(shipped), PathBuf::from);
    let robot = load_robot(&file, MjcfOptions::default())?;
    let model = Model::new(&robot, Base::Fixed)?;
    println!("{}: {} joints, {:.2} kg", model.name(), model.n_bodies(), model.mass());

    // Derivatives of q̈ = ABA(q, v, τ) at rest in the neutral configuration.
    let (q, v) = (model.neutral(), DVector::zeros(model.nv()));
    let mut ws = model.workspace();
    model.aba_derivatives(&mut ws, &q, &v, &DVector::zeros(model.nv()));
    println!(
        "q̈ = {:.3?}\n∂q̈/∂q = {:.3}∂q̈/∂τ = M⁻¹ = {:.3}",
        ws.qdd(),
        ws.dqdd_dq(),
        ws.dqdd_dtau()
    );

    // One second of free motion, with friction and limits of the file, in steps of 10 ms.
    let plant = RigidBodyPlant::new(model, RigidBodyScheme::SemiImplicitEuler, 0.01)?;
    let (mut ws, u) = (plant.workspace(), DVector::zeros(plant.nu()));
    let mut x = DVector::from_iterator(plant.nx(), q.iter().chain(v.iter()).copied());
    let (mut next, mut jacobian) = (x.clone(), Linearization::of(&plant));
    for _ in 0..100 {
        plant.linearize(&mut ws, &x, &u, &mut jacobian)?; // what a policy gradient needs
        plant.step(&mut ws, &x, &u, &mut next)?;
        std::mem::swap(&mut x, &mut next);
    }
    println!("after 1 s: x = {:.3?}, |fx| = {:.2}", x.as_slice(), jacobian.fx.norm());
    Ok(())
}
