//! One control step, for any scalar.

use super::PlanarTree;
use super::tree::{ContactPoint, Pair, product};
use crate::continuous::Scalar;
use crate::duals::real;

/// Where everything is in one configuration, vectors in world axes. Indexed by coordinate.
pub(super) struct Kinematics<S, const N: usize> {
    /// Sine and cosine of each body's angle.
    pub(super) rotation: [(S, S); N],
    /// First moment of each body.
    pub(super) moment: [[S; 2]; N],
    /// From the origin of the parent to the hinge.
    pub(super) offset: [[S; 2]; N],
    /// Height of each body's origin.
    pub(super) height: [S; N],
}

/// A vector of a body in world axes.
pub(super) fn rotate<S: Scalar>((sin, cos): (S, S), [x, z]: [f64; 2]) -> [S; 2] {
    [cos * x + sin * z, cos * z - sin * x]
}

/// The action after its clip, its slope and which branch was taken.
pub(super) fn clip<S: Scalar>(u: S) -> (S, f64, u8) {
    match real(u) {
        value if value > 1.0 => (S::one(), 0.0, 1),
        value if value < -1.0 => (-S::one(), 0.0, 2),
        _ => (u, 1.0, 0),
    }
}

impl<const N: usize> PlanarTree<N> {
    /// Writes the state after one control step; `visit` is told which branch each switch takes.
    #[inline]
    pub(super) fn advance<S: Scalar>(
        &self,
        x: &[S],
        u: &[S],
        x_next: &mut [S],
        mut visit: impl FnMut(u8),
    ) {
        let (mut p, mut w) = self.absolute(x);
        let drive = self.drive(u, &mut visit);
        let mut inverse = [[S::zero(); N]; N];
        for substep in 0..self.description.n_substeps {
            let kin = self.kinematics(&p);
            if substep == 0 {
                inverse = invert(&self.mass_matrix(&kin));
            }
            let force = self.force(&kin, &p, &w, &drive, &mut visit);
            self.move_on(&mut p, &mut w, &product(&inverse, &force));
        }
        x_next[..N].copy_from_slice(&p);
        x_next[N..].copy_from_slice(&w);
        self.to_relative(&mut x_next[..N]);
        self.to_relative(&mut x_next[N..]);
    }

    /// Semi-implicit Euler.
    #[inline]
    pub(super) fn move_on<S: Scalar>(&self, p: &mut [S; N], w: &mut [S; N], a: &[S; N]) {
        for i in 0..N {
            w[i] += a[i] * self.h;
            p[i] += w[i] * self.h;
        }
    }

    /// Forces of the motors.
    #[inline]
    pub(super) fn drive<S: Scalar>(&self, u: &[S], visit: &mut impl FnMut(u8)) -> [S; N] {
        let mut force = [S::zero(); N];
        for (j, &u) in (3..N).zip(u) {
            let (clipped, _, branch) = clip(u);
            visit(branch);
            let torque = clipped * (self.description.strength * self.bodies[j].sign);
            force[j] += torque;
            force[self.bodies[j].parent] -= torque;
        }
        force
    }

    #[inline]
    pub(super) fn kinematics<S: Scalar>(&self, p: &[S; N]) -> Kinematics<S, N> {
        let zero = S::zero();
        let mut kin = Kinematics {
            rotation: [(zero, zero); N],
            moment: [[zero; 2]; N],
            offset: [[zero; 2]; N],
            height: [zero; N],
        };
        for i in 2..N {
            let body = &self.bodies[i];
            kin.rotation[i] = p[i].sin_cos();
            kin.moment[i] = rotate(kin.rotation[i], body.moment);
            if i == 2 {
                kin.height[i] = p[1] + self.description.root_height;
            } else {
                kin.offset[i] = rotate(kin.rotation[body.parent], body.offset);
                kin.height[i] = kin.height[body.parent] + kin.offset[i][1];
            }
        }
        kin
    }

    /// The mass matrix with armature, in p.
    pub(super) fn mass_matrix<S: Scalar>(&self, kin: &Kinematics<S, N>) -> [[S; N]; N] {
        let mut m = self.constant_mass.map(|row| row.map(S::from));
        let mut set = |i: usize, j: usize, value: S| {
            m[i][j] += value;
            m[j][i] += value;
        };
        for i in 2..N {
            let [x, z] = kin.moment[i];
            set(0, i, z);
            set(1, i, -x);
        }
        for &Pair { ancestor, body, via } in &self.pairs {
            let ([ox, oz], [bx, bz]) = (kin.offset[via], kin.moment[body]);
            set(ancestor, body, ox * bx + oz * bz);
        }
        m
    }

    /// Everything on the right-hand side, in p.
    #[inline]
    pub(super) fn force<S: Scalar>(
        &self,
        kin: &Kinematics<S, N>,
        p: &[S; N],
        w: &[S; N],
        drive: &[S; N],
        visit: &mut impl FnMut(u8),
    ) -> [S; N] {
        let d = &self.description;
        let mut force = *drive;
        // Root: gravity, centripetal forces of all bodies, viscosity.
        force[0] -= w[0] * d.viscosity;
        force[1] -= w[1] * d.viscosity + self.weight;
        force[2] -= w[2] * d.viscosity;
        let mut square = [S::zero(); N];
        for i in 2..N {
            let [x, z] = kin.moment[i];
            square[i] = w[i] * w[i];
            force[0] += square[i] * x;
            force[1] += square[i] * z;
            force[i] += x * d.gravity;
        }
        for &Pair { ancestor, body, via } in &self.pairs {
            let ([ox, oz], [bx, bz]) = (kin.offset[via], kin.moment[body]);
            let cross = oz * bx - ox * bz;
            force[ancestor] += square[body] * cross;
            force[body] -= square[ancestor] * cross;
        }
        for (j, link) in (3..N).zip(&d.links) {
            let body = &self.bodies[j];
            let q = (p[j] - p[body.parent]) * body.sign;
            let v = (w[j] - w[body.parent]) * body.sign;
            let mut torque = -q * link.stiffness - v * (link.damping + d.viscosity);
            let [lower, upper] = link.limits;
            if real(q) < lower {
                torque += (-q + lower) * d.limit_stiffness;
                visit(1);
            } else if real(q) > upper {
                torque += (-q + upper) * d.limit_stiffness;
                visit(2);
            } else {
                visit(0);
            }
            force[j] += torque * body.sign;
            force[body.parent] -= torque * body.sign;
        }
        self.add_contact(kin, w, &mut force, visit);
        force
    }

    #[inline]
    fn add_contact<S: Scalar>(
        &self,
        kin: &Kinematics<S, N>,
        w: &[S; N],
        force: &mut [S; N],
        visit: &mut impl FnMut(u8),
    ) {
        let law = &self.description.contact;
        // Force on each body, to be handed down to the root once all points are in.
        let mut load = [[S::zero(); 2]; N];
        let mut loaded = false;
        for point in &self.points {
            let c = self.clearance(kin, point);
            if !law.touches(real(c)) {
                visit(0);
                continue;
            }
            loaded = true;
            let body = point.body;
            let [v_x, v_n] = self.velocity(kin, w, point);
            visit(law.branch(real(c), real(v_x), real(v_n)));
            let (f_x, f_n) = law.force(c, v_x, v_n);
            let [x, z] = lever(kin, point);
            force[body] += z * f_x - x * f_n;
            load[body][0] += f_x;
            load[body][1] += f_n;
        }
        if !loaded {
            return;
        }
        for i in (3..N).rev() {
            let parent = self.bodies[i].parent;
            let ([x, z], [f_x, f_n]) = (kin.offset[i], load[i]);
            force[parent] += z * f_x - x * f_n;
            load[parent][0] += f_x;
            load[parent][1] += f_n;
        }
        force[0] += load[2][0];
        force[1] += load[2][1];
    }

    /// Velocity of the material point at a contact point.
    pub(super) fn velocity<S: Scalar>(
        &self,
        kin: &Kinematics<S, N>,
        w: &[S; N],
        point: &ContactPoint,
    ) -> [S; 2] {
        let mut body = point.body;
        let [x, z] = lever(kin, point);
        let (mut v_x, mut v_n) = (w[0] + w[body] * z, w[1] - w[body] * x);
        while body > 2 {
            let [x, z] = kin.offset[body];
            body = self.bodies[body].parent;
            v_x += w[body] * z;
            v_n -= w[body] * x;
        }
        [v_x, v_n]
    }
}

/// From a body's origin to a contact point, the drop by the radius included.
pub(super) fn lever<S: Scalar, const N: usize>(
    kin: &Kinematics<S, N>,
    point: &ContactPoint,
) -> [S; 2] {
    let [x, z] = rotate(kin.rotation[point.body], point.at);
    [x, z - point.radius]
}

/// Inverse of a symmetric positive definite matrix through its Cholesky factor. A matrix that is not
/// positive definite gives numbers that are not finite.
pub(super) fn invert<S: Scalar, const N: usize>(m: &[[S; N]; N]) -> [[S; N]; N] {
    // L with its diagonal inverted.
    let mut l = [[S::zero(); N]; N];
    for i in 0..N {
        for j in 0..=i {
            let mut sum = m[i][j];
            for k in 0..j {
                sum -= l[i][k] * l[j][k];
            }
            l[i][j] = if i == j { sum.sqrt().recip() } else { sum * l[j][j] };
        }
    }
    // L⁻¹, then H⁻¹ = L⁻ᵀ L⁻¹.
    let mut inverse_l = [[S::zero(); N]; N];
    for j in 0..N {
        inverse_l[j][j] = l[j][j];
        for i in j + 1..N {
            let mut sum = S::zero();
            for k in j..i {
                sum -= l[i][k] * inverse_l[k][j];
            }
            inverse_l[i][j] = sum * l[i][i];
        }
    }
    let mut inverse = [[S::zero(); N]; N];
    for i in 0..N {
        for j in 0..=i {
            let mut sum = S::zero();
            for row in &inverse_l[i..] {
                sum += row[i] * row[j];
            }
            inverse[i][j] = sum;
            inverse[j][i] = sum;
        }
    }
    inverse
}
