//! The equations against an independent formulation.

use dynamics::planar::{HingeAxis, PlanarDescription, PlanarTree};
use dynamics::{Plant, Stream};
use nalgebra::{DMatrix, DVector, dvector};

use crate::{Seen, cheetahs, hoppers, random_point};

/// One control step written as the textbook has it: in joint coordinates, with a position vector for
/// every body and numerical derivatives of none, H = Σ m JᵀJ + I J_φᵀJ_φ and bias forces from the
/// accelerations at q̈ = 0, solved by LU.
fn textbook_step(d: &PlanarDescription, x: &DVector<f64>, u: &DVector<f64>) -> DVector<f64> {
    let n = d.links.len() + 3;
    let (mut q, mut v) = (x.rows(0, n).into_owned(), x.rows(n, n).into_owned());
    let mut frozen = None;
    let h = d.dt / d.n_substeps as f64;
    for _ in 0..d.n_substeps {
        let bodies = frames(d, &q, &v);
        let mut mass = DMatrix::identity(n, n) * d.armature;
        let mut force = -&v * d.viscosity;
        for (body, frame) in bodies.iter().enumerate() {
            let capsules = if body == 0 { &d.root } else { &d.links[body - 1].capsules };
            for c in capsules {
                // Every capsule is a body of its own.
                let (m, i) = (c.mass(d.density), c.inertia(d.density));
                let at = frame.point(c.center, 0.0);
                mass += m * at.jacobian.transpose() * &at.jacobian
                    + i * frame.turn.transpose() * &frame.turn;
                let wanted = dvector![0.0, -d.gravity] - &at.bias;
                force += m * at.jacobian.transpose() * wanted;
                for end in c.ends() {
                    let tip = frame.point(end, c.radius);
                    let (c, vx, vn) = (tip.position[1], tip.velocity[0], tip.velocity[1]);
                    if c < 0.0 {
                        let k = &d.contact;
                        let normal = k.stiffness * -c + k.damping * -c * (-vn).max(0.0);
                        let size = (k.friction_slope * vx.abs()).min(k.friction * k.stiffness * -c);
                        let side = if vx == 0.0 { 0.0 } else { -vx.signum() * size };
                        force += tip.jacobian.transpose() * dvector![side, normal];
                    }
                }
            }
        }
        for (j, link) in d.links.iter().enumerate() {
            let (q, v) = (q[j + 3], v[j + 3]);
            let [lower, upper] = link.limits;
            let outside = (lower - q).max(0.0) + (upper - q).min(0.0);
            force[j + 3] +=
                d.strength * u[j].clamp(-1.0, 1.0) - link.stiffness * q - link.damping * v
                    + d.limit_stiffness * outside;
        }
        let lu = frozen.get_or_insert_with(|| mass.lu());
        v += lu.solve(&force).unwrap() * h;
        q += &v * h;
    }
    DVector::from_iterator(2 * n, q.iter().chain(v.iter()).copied())
}

struct Frame {
    origin: Material,
    angle: f64,
    rate: f64,
    turn: DMatrix<f64>,
}

struct Material {
    position: DVector<f64>,
    velocity: DVector<f64>,
    /// Acceleration at q̈ = 0.
    bias: DVector<f64>,
    jacobian: DMatrix<f64>,
}

impl Frame {
    /// A material point that lies, now, `drop` below the given place of the body.
    fn point(&self, at: [f64; 2], drop: f64) -> Material {
        let (s, c) = self.angle.sin_cos();
        let r = dvector![c * at[0] + s * at[1], -s * at[0] + c * at[1] - drop];
        let normal = dvector![r[1], -r[0]];
        Material {
            position: &self.origin.position + &r,
            velocity: &self.origin.velocity + &normal * self.rate,
            bias: &self.origin.bias - &r * self.rate.powi(2),
            jacobian: &self.origin.jacobian + &normal * &self.turn,
        }
    }
}

fn frames(d: &PlanarDescription, q: &DVector<f64>, v: &DVector<f64>) -> Vec<Frame> {
    let n = q.len();
    let mut jacobian = DMatrix::zeros(2, n);
    (jacobian[(0, 0)], jacobian[(1, 1)]) = (1.0, 1.0);
    let mut turn = DMatrix::zeros(1, n);
    turn[2] = 1.0;
    let origin = Material {
        position: dvector![q[0], q[1] + d.root_height],
        velocity: dvector![v[0], v[1]],
        bias: dvector![0.0, 0.0],
        jacobian,
    };
    let mut frames = vec![Frame { origin, angle: q[2], rate: v[2], turn }];
    for (j, link) in (3..).zip(&d.links) {
        let parent = &frames[link.parent];
        let sign = if link.axis == HingeAxis::Positive { 1.0 } else { -1.0 };
        let mut turn = parent.turn.clone();
        turn[j] = sign;
        frames.push(Frame {
            origin: parent.point(link.offset, 0.0),
            angle: parent.angle + sign * q[j],
            rate: parent.rate + sign * v[j],
            turn,
        });
    }
    frames
}

fn same_as_textbook<const N: usize>(models: &[PlanarTree<N>], z: [f64; 2]) {
    let mut stream = Stream::new(3, "textbook", N as u64);
    let mut seen = Seen::default();
    for model in models {
        let (mut ws, mut x_next) = (model.workspace(), DVector::zeros(2 * N));
        for i in 0..200 {
            let (x, u) = random_point(N, &mut stream, i % 4 != 0, z);
            seen.note(model, &x, &u);
            model.step(&mut ws, &x, &u, &mut x_next).unwrap();
            let expected = textbook_step(model.description(), &x, &u);
            let error = (&x_next - &expected).amax() / expected.amax().max(1.0);
            assert!(error < 1e-9, "{} at {x}: {error:e}", model.name());
        }
    }
    assert!(seen.all(), "{seen:?}");
}

#[test]
fn hopper_steps_as_the_textbook_formulation() {
    same_as_textbook(&hoppers(), [-0.5, 0.0]);
}

#[test]
fn half_cheetah_steps_as_the_textbook_formulation() {
    same_as_textbook(&cheetahs(), [-0.9, -0.2]);
}
