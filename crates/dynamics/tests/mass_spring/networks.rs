//! Networks and roll-outs that the tests share.

use dynamics::mass_spring::{
    End, Integration, Law, Link, MassSpring, NetworkSpec, Scheme, Spring, Startup, pendulum,
};
use dynamics::{Plant, Stream};
use nalgebra::DVector;

pub(crate) fn integration(scheme: Scheme, startup: Startup, dt: f64) -> Integration {
    Integration { scheme, startup, dt }
}

pub(crate) fn bdf2(dt: f64) -> Integration {
    integration(Scheme::Bdf2, Startup::Bdf1, dt)
}

pub(crate) fn spring(a: End, b: End, stiffness: f64, rest_length: f64) -> Spring {
    Spring { ends: [a, b], stiffness, rest_length, law: Law::Bilateral, damping: 0.0 }
}

/// Free masses without gravity and springs, to which a test adds.
pub(crate) fn free(dimension: usize, masses: &[f64], n_handles: usize) -> NetworkSpec {
    NetworkSpec {
        dimension,
        masses: masses.to_vec(),
        n_handles,
        springs: Vec::new(),
        mass_damping: 0.0,
        gravity: vec![0.0; dimension],
    }
}

/// A mass of 1 kg on a zero-length spring to a handle: two linear oscillators of frequency `omega`.
pub(crate) fn oscillator(omega: f64) -> NetworkSpec {
    let mut spec = free(2, &[1.0], 1);
    spec.springs = vec![spring(End::Mass(0), End::Handle(0), omega * omega, 0.0)];
    spec
}

/// A box of four masses that hangs by two one-sided cables from two handles.
pub(crate) fn box_on_cables() -> NetworkSpec {
    let mut spec = free(2, &[0.25; 4], 2);
    spec.gravity = vec![0.0, -9.81];
    let corners: [[f64; 2]; 4] = BOX_CORNERS;
    for a in 0..4 {
        for b in a + 1..4 {
            let length = (corners[a][0] - corners[b][0]).hypot(corners[a][1] - corners[b][1]);
            spec.springs.push(spring(End::Mass(a), End::Mass(b), 1e4, length));
        }
    }
    for i in 0..2 {
        spec.springs.push(Spring {
            law: Law::Unilateral { smoothing: 0.02 },
            ..spring(End::Handle(i), End::Mass(i), 1e3, 0.5)
        });
    }
    spec
}

pub(crate) const BOX_CORNERS: [[f64; 2]; 4] =
    [[-0.15, -0.5], [0.15, -0.5], [-0.15, -0.7], [0.15, -0.7]];

/// One of several networks, at a random state that a motion may pass through, with a random control.
pub(crate) struct Case {
    pub(crate) model: MassSpring,
    pub(crate) x: DVector<f64>,
    pub(crate) u: DVector<f64>,
}

pub(crate) const N_CASES: usize = 7;

pub(crate) fn case(which: usize, seed: u64) -> Case {
    let mut stream = Stream::new(seed, "network", which as u64);
    let startup = if seed.is_multiple_of(2) { Startup::Bdf1 } else { Startup::SecondOrder };
    let scheme = if seed % 5 == 4 { Scheme::Bdf1 } else { Scheme::Bdf2 };
    let link = Link::pendulum();
    let soft =
        Link { length: 0.1, mass: 0.05, stiffness: 1e3, law: Law::Unilateral { smoothing: 0.02 } };
    let chain = |dimension, n: usize, length: f64| {
        let mut x = vec![0.0; dimension * n];
        for (i, x) in x.chunks_exact_mut(dimension).enumerate() {
            x[dimension - 1] = -length * (i + 1) as f64;
        }
        x
    };
    let (spec, x, p) = match which {
        0 => (pendulum(2, &[link]), chain(2, 1, 0.5), vec![0.0; 2]),
        1 => (pendulum(3, &[link; 2]), chain(3, 2, 0.5), vec![0.0; 3]),
        2 => (pendulum(3, &[soft; 6]), chain(3, 6, 0.1), vec![0.0; 3]),
        3 => {
            let p = vec![-0.15, 0.0, 0.15, 0.0];
            (box_on_cables(), BOX_CORNERS.concat(), p)
        }
        4 => (oscillator(5.0), vec![0.0; 2], vec![0.0; 2]),
        5 => {
            // Damped in every way.
            let mut spec = pendulum(2, &[Link { stiffness: 300.0, ..link }; 3]);
            spec.mass_damping = 0.7;
            spec.springs.iter_mut().for_each(|spring| spring.damping = 3.0);
            (spec, chain(2, 3, 0.5), vec![0.0; 2])
        }
        _ => {
            // A ring numbered badly, with a dashpot inside and one at the handle.
            let mut spec = free(3, &[0.2; 6], 1);
            let order = [0, 3, 1, 5, 2, 4];
            let mut x = vec![0.0; 18];
            for i in 0..6 {
                let angle = i as f64 * std::f64::consts::FRAC_PI_3;
                let at = 3 * order[i];
                x[at..at + 2].copy_from_slice(&[0.5 * angle.cos(), 0.5 * angle.sin()]);
                let (a, b) = (End::Mass(order[i]), End::Mass(order[(i + 1) % 6]));
                spec.springs.push(spring(a, b, 200.0, 0.4));
            }
            spec.springs[2].damping = 4.0;
            let tied = spring(End::Mass(5), End::Handle(0), 500.0, 0.3);
            spec.springs.push(Spring { damping: 2.0, ..tied });
            (spec, x, vec![0.1, 0.0, 0.4])
        }
    };
    let noisy = |values: &[f64], size: f64, stream: &mut Stream| -> Vec<f64> {
        values.iter().map(|value| value + size * stream.normal()).collect()
    };
    let x = noisy(&x, 0.02, &mut stream);
    let v = noisy(&vec![0.0; x.len()], 0.5, &mut stream);
    let p = noisy(&p, 0.01, &mut stream);
    let model = MassSpring::new(spec, integration(scheme, startup, 1.0 / 60.0)).unwrap();
    let start = model.state(&x, &v, &p).unwrap();
    let u = DVector::from_fn(model.nu(), |_, _| stream.normal());
    // After two steps the history is one that the scheme has made; a third of the cases starts.
    let steps = if seed.is_multiple_of(3) { 0 } else { 2 };
    let x = run(&model, &start, &u, steps).pop().unwrap();
    Case { model, x, u }
}

/// The states of `steps` steps under one control, the start included.
pub(crate) fn run(
    model: &MassSpring,
    start: &DVector<f64>,
    u: &DVector<f64>,
    steps: usize,
) -> Vec<DVector<f64>> {
    let (mut ws, mut states) = (model.workspace(), vec![start.clone()]);
    for t in 0..steps {
        let mut next = start.clone();
        model.step(&mut ws, &states[t], u, &mut next).unwrap();
        states.push(next);
    }
    states
}

pub(crate) fn rest(model: &MassSpring) -> DVector<f64> {
    DVector::zeros(model.nu())
}

/// Largest difference of two stretches of numbers.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
