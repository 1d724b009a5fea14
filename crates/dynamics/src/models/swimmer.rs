//! A chain of links in a viscous fluid, moved by torques at its joints.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::ranges::{require_not_negative, require_positive};
use crate::continuous::{GenericContinuous, Scalar};
use crate::{ContinuousDynamics, DynamicsError, Linearization, SecondOrderDynamics};

/// Parameters of a [`Swimmer`]; one entry of the lists per link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwimmerParameters {
    /// Masses m (kg).
    pub masses: Vec<f64>,
    /// Lengths l (m).
    pub lengths: Vec<f64>,
    /// Drag k₁ against motion across a link, per length.
    pub normal_drag: f64,
    /// Drag k₂ against motion along a link, per length.
    pub tangential_drag: f64,
    /// Torque at action 1 [N·m].
    pub strength: f64,
}

impl SwimmerParameters {
    /// `n_links` links of 1 kg and 1 m, k₁ = 7.5, k₂ = 0.3 (after Coulom 2002 and Tassa 2007); an
    /// action is a torque in N·m.
    #[must_use]
    pub fn uniform(n_links: usize) -> Self {
        Self {
            masses: vec![1.0; n_links],
            lengths: vec![1.0; n_links],
            normal_drag: 7.5,
            tangential_drag: 0.3,
            strength: 1.0,
        }
    }
}

/// Swimmer with n links: x = [R (2), θ (n), W (2), θ̇ (n)] with the centre of mass R, its velocity W
/// and the links' absolute angles θ; u = n − 1 joint torques, +u_j on link j and −u_j on link j + 1,
/// times the strength.
///
/// With tangents t, normals n and link centres rᵢ = R + Σ_j P_ij t_j:
///
/// ```text
/// uᵢ = W + Σ_j P_ij θ̇_j n_j,   Fᵢ = −k₁ lᵢ (uᵢ·nᵢ) nᵢ − k₂ lᵢ (uᵢ·tᵢ) tᵢ
/// Ẇ = Σ Fᵢ/Σ mᵢ,   G = Pᵀ diag(m) P,   M_jk = m_j l_j²/12 δ_jk + G_jk cos(θ_j − θ_k)
/// Σ_k M_jk θ̈_k = −Σ_k G_jk sin(θ_j − θ_k) θ̇_k² + n_j·(PᵀF)_j − k₁ l_j³ θ̇_j/12 + τ_j
/// ```
#[derive(Debug, Clone)]
pub struct Swimmer {
    p: SwimmerParameters,
    mass: f64,
    /// P: link centres relative to the centre of mass, in tangents.
    arms: DMatrix<f64>,
    /// G = Pᵀ diag(m) P.
    coupling: DMatrix<f64>,
}

/// Scratch of a [`Swimmer`].
#[derive(Debug, Clone)]
pub struct SwimmerWorkspace {
    rates: Rates<f64>,
    /// ∂F in [θ, W, θ̇], two rows per link.
    force_z: DMatrix<f64>,
    /// ∂(right-hand side) of θ̈ in [θ, W, θ̇].
    angular_z: DMatrix<f64>,
}

/// What ẋ is made of.
#[derive(Debug, Clone)]
struct Rates<S> {
    /// [cosθ, sinθ] of every link.
    tangents: Vec<[S; 2]>,
    /// Velocities of the links' centres.
    velocities: Vec<[S; 2]>,
    forces: Vec<[S; 2]>,
    /// M, then its Cholesky factor, row by row.
    factor: Vec<S>,
    /// θ̈.
    angular: Vec<S>,
    /// Ẇ.
    linear: [S; 2],
}

impl<S: Scalar> Rates<S> {
    fn new(n: usize) -> Self {
        let pairs = || vec![[S::zero(); 2]; n];
        Self {
            tangents: pairs(),
            velocities: pairs(),
            forces: pairs(),
            factor: vec![S::zero(); n * n],
            angular: vec![S::zero(); n],
            linear: [S::zero(); 2],
        }
    }
}

impl Swimmer {
    /// A swimmer with the given parameters.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for fewer than two links, a mass, a length or a strength that is
    /// not positive or a drag that is negative; [`DynamicsError::Dimension`] where masses and
    /// lengths differ in number.
    pub fn new(parameters: SwimmerParameters) -> Result<Self, DynamicsError> {
        let p = parameters;
        let n = p.masses.len();
        if n < 2 {
            return Err(DynamicsError::Parameter {
                model: "swimmer".to_owned(),
                parameter: "number of masses",
                value: n as f64,
                needed: "at least 2, one per link",
            });
        }
        if p.lengths.len() != n {
            return Err(DynamicsError::Dimension {
                model: "swimmer".to_owned(),
                what: "lengths",
                found: p.lengths.len(),
                needed: n,
            });
        }
        for (&mass, &length) in p.masses.iter().zip(&p.lengths) {
            require_positive("swimmer", &[("masses", mass), ("lengths", length)])?;
        }
        require_positive("swimmer", &[("strength", p.strength)])?;
        require_not_negative(
            "swimmer",
            &[("normal_drag", p.normal_drag), ("tangential_drag", p.tangential_drag)],
        )?;
        let mass = p.masses.iter().sum::<f64>();
        // From link 1's centre to link i's: half of both ends, all of the links between.
        let from_first = DMatrix::from_fn(n, n, |i, j| match (i, j) {
            (0, _) => 0.0,
            (_, 0) => 0.5 * p.lengths[0],
            _ if j < i => p.lengths[j],
            _ if j == i => 0.5 * p.lengths[j],
            _ => 0.0,
        });
        let masses = DVector::from_row_slice(&p.masses);
        let mean = from_first.tr_mul(&masses) / mass;
        let arms = DMatrix::from_fn(n, n, |i, j| from_first[(i, j)] - mean[j]);
        let coupling = arms.tr_mul(&(DMatrix::from_diagonal(&masses) * &arms));
        Ok(Self { p, mass, arms, coupling })
    }

    /// The parameters.
    pub fn parameters(&self) -> &SwimmerParameters {
        &self.p
    }

    /// Number of links n.
    pub fn n_links(&self) -> usize {
        self.p.masses.len()
    }

    /// Kinetic energy (J) of state x.
    pub fn kinetic_energy(&self, x: &[f64]) -> f64 {
        let n = self.n_links();
        let (theta, w) = (&x[2..n + 2], &x[n + 4..]);
        let mut energy = 0.5 * self.mass * (x[n + 2].powi(2) + x[n + 3].powi(2));
        for j in 0..n {
            energy += 0.5 * self.inertia(j) * w[j] * w[j];
            for k in 0..n {
                energy += 0.5 * self.coupling[(j, k)] * (theta[j] - theta[k]).cos() * w[j] * w[k];
            }
        }
        energy
    }

    /// Position of the nose, the free end of link 1 (m).
    pub fn nose<S: Scalar>(&self, x: &[S]) -> [S; 2] {
        let mut nose = [x[0], x[1]];
        for j in 0..self.n_links() {
            let (sin, cos) = x[2 + j].sin_cos();
            let arm = self.arms[(0, j)] - if j == 0 { 0.5 * self.p.lengths[0] } else { 0.0 };
            nose[0] += cos * arm;
            nose[1] += sin * arm;
        }
        nose
    }

    fn inertia(&self, link: usize) -> f64 {
        self.p.masses[link] * self.p.lengths[link].powi(2) / 12.0
    }

    /// Drag on link i whose centre moves with `velocity`; linear in it.
    fn drag<S: Scalar>(&self, link: usize, tangent: [S; 2], velocity: [S; 2]) -> [S; 2] {
        let [cos, sin] = tangent;
        let length = self.p.lengths[link];
        let normal = (velocity[1] * cos - velocity[0] * sin) * (-self.p.normal_drag * length);
        let along = (velocity[0] * cos + velocity[1] * sin) * (-self.p.tangential_drag * length);
        [along * cos - normal * sin, along * sin + normal * cos]
    }

    /// Drag torque on link j per θ̇_j.
    fn spin_drag(&self, link: usize) -> f64 {
        self.p.normal_drag * self.p.lengths[link].powi(3) / 12.0
    }

    /// n_j · (PᵀF)_j and t_j · (PᵀF)_j.
    fn lever<S: Scalar>(&self, link: usize, r: &Rates<S>) -> [S; 2] {
        let mut sum = [S::zero(); 2];
        for (i, force) in r.forces.iter().enumerate() {
            sum[0] += force[0] * self.arms[(i, link)];
            sum[1] += force[1] * self.arms[(i, link)];
        }
        let [cos, sin] = r.tangents[link];
        [sum[1] * cos - sum[0] * sin, sum[0] * cos + sum[1] * sin]
    }

    fn evaluate<S: Scalar>(&self, x: &[S], u: &[S], r: &mut Rates<S>) {
        let n = self.n_links();
        let w = &x[n + 4..];
        for (tangent, theta) in r.tangents.iter_mut().zip(&x[2..]) {
            let (sin, cos) = theta.sin_cos();
            *tangent = [cos, sin];
        }
        r.linear = [S::zero(); 2];
        for i in 0..n {
            let mut velocity = [x[n + 2], x[n + 3]];
            for (j, (&[cos, sin], &speed)) in r.tangents.iter().zip(w).enumerate() {
                velocity[0] -= sin * speed * self.arms[(i, j)];
                velocity[1] += cos * speed * self.arms[(i, j)];
            }
            let force = self.drag(i, r.tangents[i], velocity);
            r.velocities[i] = velocity;
            r.forces[i] = force;
            r.linear[0] += force[0] / self.mass;
            r.linear[1] += force[1] / self.mass;
        }
        for j in 0..n {
            let mut moment = self.lever(j, r)[0] - w[j] * self.spin_drag(j);
            // τ_j = u_j − u_{j−1}
            if j + 1 < n {
                moment += u[j] * self.p.strength;
            }
            if j > 0 {
                moment -= u[j - 1] * self.p.strength;
            }
            for (k, &speed) in w.iter().enumerate() {
                let [cos, sin] = difference(r.tangents[j], r.tangents[k]);
                moment -= sin * speed * speed * self.coupling[(j, k)];
                r.factor[j * n + k] = cos * self.coupling[(j, k)];
            }
            r.factor[j * n + j] += self.inertia(j);
            r.angular[j] = moment;
        }
        factorize(&mut r.factor, n);
        solve(&r.factor, &mut r.angular);
    }

    /// ∂F in [θ, W, θ̇] by the chain F = drag(θᵢ, uᵢ), uᵢ(θ, W, θ̇).
    fn force_jacobian(&self, w: &[f64], r: &Rates<f64>, force_z: &mut DMatrix<f64>) {
        let n = self.n_links();
        let bend = self.p.normal_drag - self.p.tangential_drag;
        for i in 0..n {
            let mut write = |column: usize, velocity_z: [f64; 2]| {
                let force = self.drag(i, r.tangents[i], velocity_z);
                force_z[(2 * i, column)] = force[0];
                force_z[(2 * i + 1, column)] = force[1];
            };
            for (j, &speed) in w.iter().enumerate() {
                let ([cos, sin], arm) = (r.tangents[j], self.arms[(i, j)]);
                // ∂n = −t
                write(j, [-arm * speed * cos, -arm * speed * sin]);
                write(n + 2 + j, [-arm * sin, arm * cos]);
            }
            write(n, [1.0, 0.0]);
            write(n + 1, [0.0, 1.0]);
            // Turning the link at constant velocity: (k₁ − k₂) lᵢ [(u·n) t + (u·t) n]
            let ([cos, sin], velocity) = (r.tangents[i], r.velocities[i]);
            let across = bend * self.p.lengths[i] * (velocity[1] * cos - velocity[0] * sin);
            let along = bend * self.p.lengths[i] * (velocity[0] * cos + velocity[1] * sin);
            force_z[(2 * i, i)] += across * cos - along * sin;
            force_z[(2 * i + 1, i)] += across * sin + along * cos;
        }
    }

    /// ∂(right-hand side) − ∂M θ̈ in [θ, W, θ̇]; still to be solved with M.
    fn moment_jacobian(&self, w: &[f64], ws: &mut SwimmerWorkspace) {
        let n = self.n_links();
        let SwimmerWorkspace { rates: r, force_z, angular_z } = ws;
        for j in 0..n {
            let [cos, sin] = r.tangents[j];
            for column in 0..2 * n + 2 {
                let mut sum = 0.0;
                for i in 0..n {
                    let across =
                        force_z[(2 * i + 1, column)] * cos - force_z[(2 * i, column)] * sin;
                    sum += self.arms[(i, j)] * across;
                }
                angular_z[(j, column)] = sum;
            }
            angular_z[(j, j)] -= self.lever(j, r)[1];
            angular_z[(j, n + 2 + j)] -= self.spin_drag(j);
            for (k, &speed) in w.iter().enumerate() {
                let [cos, sin] =
                    difference(r.tangents[j], r.tangents[k]).map(|c| c * self.coupling[(j, k)]);
                // The right-hand side has −sin θ̇_k², M θ̈ has cos θ̈_k, of the angle θ_j − θ_k.
                let turn = sin * r.angular[k] - cos * speed * speed;
                angular_z[(j, j)] += turn;
                angular_z[(j, k)] -= turn;
                angular_z[(j, n + 2 + k)] -= 2.0 * sin * speed;
            }
        }
    }
}

/// [cos, sin] of the angle from tangent b to tangent a.
fn difference<S: Scalar>(a: [S; 2], b: [S; 2]) -> [S; 2] {
    [a[0] * b[0] + a[1] * b[1], a[1] * b[0] - a[0] * b[1]]
}

/// Overwrites the lower triangle of a symmetric positive definite matrix (row by row) with its
/// Cholesky factor. Anything else leaves numbers that are not finite.
fn factorize<S: Scalar>(a: &mut [S], n: usize) {
    for j in 0..n {
        for i in j..n {
            let mut sum = a[i * n + j];
            for k in 0..j {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = if i == j { sum.sqrt() } else { sum / a[j * n + j] };
        }
    }
}

/// Overwrites b with the solution of L Lᵀ y = b.
fn solve<S: Scalar>(l: &[S], b: &mut [S]) {
    let n = b.len();
    for i in 0..n {
        for k in 0..i {
            b[i] -= l[i * n + k] * b[k];
        }
        b[i] /= l[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] -= l[k * n + i] * b[k];
        }
        b[i] /= l[i * n + i];
    }
}

impl GenericContinuous for Swimmer {
    fn xdot_generic<S: Scalar>(&self, x: &[S], u: &[S], out: &mut [S]) {
        let mut rates = Rates::new(self.n_links());
        self.evaluate(x, u, &mut rates);
        write_rates(x, &rates, out);
    }
}

fn write_rates<S: Scalar>(x: &[S], r: &Rates<S>, out: &mut [S]) {
    let nv = x.len() / 2;
    out[..nv].copy_from_slice(&x[nv..]);
    out[nv..nv + 2].copy_from_slice(&r.linear);
    out[nv + 2..].copy_from_slice(&r.angular);
}

impl ContinuousDynamics for Swimmer {
    type Workspace = SwimmerWorkspace;

    fn name(&self) -> &str {
        "swimmer"
    }
    fn nx(&self) -> usize {
        2 * self.n_links() + 4
    }
    fn nu(&self) -> usize {
        self.n_links() - 1
    }
    fn workspace(&self) -> SwimmerWorkspace {
        let n = self.n_links();
        SwimmerWorkspace {
            rates: Rates::new(n),
            force_z: DMatrix::zeros(2 * n, 2 * n + 2),
            angular_z: DMatrix::zeros(n, 2 * n + 2),
        }
    }
    fn xdot(
        &self,
        ws: &mut SwimmerWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut DVector<f64>,
    ) {
        self.evaluate(x.as_slice(), u.as_slice(), &mut ws.rates);
        write_rates(x.as_slice(), &ws.rates, out.as_mut_slice());
    }
    fn xdot_jacobian(
        &self,
        ws: &mut SwimmerWorkspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) {
        let n = self.n_links();
        let nv = n + 2;
        let w = &x.as_slice()[n + 4..];
        self.evaluate(x.as_slice(), u.as_slice(), &mut ws.rates);
        self.force_jacobian(w, &ws.rates, &mut ws.force_z);
        self.moment_jacobian(w, ws);

        let SwimmerWorkspace { rates: r, force_z, angular_z } = ws;
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        for i in 0..nv {
            fx[(i, nv + i)] = 1.0;
        }
        // Nothing depends on R, so column z of [θ, W, θ̇] is column 2 + z of x.
        for z in 0..2 * n + 2 {
            for i in 0..n {
                fx[(nv, 2 + z)] += force_z[(2 * i, z)] / self.mass;
                fx[(nv + 1, 2 + z)] += force_z[(2 * i + 1, z)] / self.mass;
            }
            let column = &mut angular_z.as_mut_slice()[z * n..(z + 1) * n];
            solve(&r.factor, column);
            for (j, &value) in column.iter().enumerate() {
                fx[(nv + 2 + j, 2 + z)] = value;
            }
        }
        fu.fill(0.0);
        for joint in 0..n - 1 {
            let start = joint * 2 * nv + nv + 2;
            let column = &mut fu.as_mut_slice()[start..start + n];
            column[joint] = self.p.strength;
            column[joint + 1] = -self.p.strength;
            solve(&r.factor, column);
        }
    }
}

impl SecondOrderDynamics for Swimmer {}
