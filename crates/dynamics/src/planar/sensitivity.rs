//! Exact Jacobians of one control step, by hand: the derivatives of the state by the start and the
//! actions are carried through the substeps.

use nalgebra::DMatrix;

use super::PlanarTree;
use super::step::{Kinematics, clip, invert, lever};
use super::tree::{Pair, product};
use crate::Linearization;

/// Columns that are carried side by side.
const LANES: usize = 8;

/// Scratch of a [`PlanarTree`].
#[derive(Debug, Clone)]
pub struct PlanarWorkspace<const N: usize> {
    /// Columns: derivatives by p₀ (N), by ṗ₀ (N) and by u (N − 3).
    panels: Vec<Panel<N>>,
}

/// Eight columns of the sensitivity, row by row.
#[derive(Debug, Clone, Copy)]
struct Panel<const N: usize> {
    /// ∂p/∂·.
    p: [[f64; LANES]; N],
    /// ∂ṗ/∂·.
    w: [[f64; LANES]; N],
    /// What acts on the columns beside p and ṗ: motors on those of u, and the change of the frozen
    /// mass matrix on those of p₀.
    direct: [[f64; LANES]; N],
}

impl<const N: usize> PlanarWorkspace<N> {
    pub(super) fn new() -> Self {
        let zero = [[0.0; LANES]; N];
        let n_panels = (3 * N - 3).div_ceil(LANES);
        Self { panels: vec![Panel { p: zero, w: zero, direct: zero }; n_panels] }
    }
}

/// Derivatives of the right-hand side by p and ṗ, and those of H q̈ by p₀.
struct Slopes<const N: usize> {
    p: [[f64; N]; N],
    w: [[f64; N]; N],
}

impl<const N: usize> PlanarTree<N> {
    /// Writes fx and fu.
    pub(super) fn differentiate(
        &self,
        ws: &mut PlanarWorkspace<N>,
        x: &[f64],
        u: &[f64],
        out: &mut Linearization,
    ) {
        let (mut p, mut w) = self.absolute(x);
        let drive = self.drive(u, &mut |_| ());
        self.seed(ws, u);
        let first = self.kinematics(&p);
        let inverse = invert(&self.mass_matrix(&first));
        let scaled = inverse.map(|row| row.map(|value| value * self.h));
        let mut slopes = Slopes { p: [[0.0; N]; N], w: [[0.0; N]; N] };
        for _ in 0..self.description.n_substeps {
            let kin = self.kinematics(&p);
            let force = self.force(&kin, &p, &w, &drive, &mut |_| ());
            let acceleration = product(&inverse, &force);
            self.set_slopes(&kin, &p, &w, &mut slopes);
            let frozen = self.frozen_slopes(&first, &acceleration);
            for (column, values) in frozen.iter().enumerate() {
                let panel = &mut ws.panels[column / LANES];
                for (row, value) in values.iter().enumerate() {
                    panel.direct[row][column % LANES] = -value;
                }
            }
            for panel in &mut ws.panels {
                panel.advance(&slopes, &scaled, self.h);
            }
            self.move_on(&mut p, &mut w, &acceleration);
        }
        self.collect(ws, out);
    }

    /// Identity for the start, motors for the actions.
    fn seed(&self, ws: &mut PlanarWorkspace<N>, u: &[f64]) {
        let zero = [[0.0; LANES]; N];
        ws.panels.fill(Panel { p: zero, w: zero, direct: zero });
        for i in 0..N {
            ws.panels[i / LANES].p[i][i % LANES] = 1.0;
            ws.panels[(N + i) / LANES].w[i][(N + i) % LANES] = 1.0;
        }
        for (j, &u) in (3..N).zip(u) {
            let (_, slope, _) = clip(u);
            let column = 2 * N + j - 3;
            let body = &self.bodies[j];
            let torque = slope * self.description.strength * body.sign;
            let direct = &mut ws.panels[column / LANES].direct;
            direct[j][column % LANES] += torque;
            direct[body.parent][column % LANES] -= torque;
        }
    }

    /// ∂f/∂p and ∂f/∂ṗ.
    fn set_slopes(
        &self,
        kin: &Kinematics<f64, N>,
        p: &[f64; N],
        w: &[f64; N],
        slopes: &mut Slopes<N>,
    ) {
        let d = &self.description;
        slopes.p = self.spring.map(|row| row.map(|value| -value));
        slopes.w = self.damper.map(|row| row.map(|value| -value));
        let Slopes { p: by_p, w: by_w } = slopes;
        for i in 2..N {
            let [x, z] = kin.moment[i];
            let square = w[i] * w[i];
            by_p[0][i] += square * z;
            by_p[1][i] -= square * x;
            by_p[i][i] += d.gravity * z;
            by_w[0][i] += 2.0 * w[i] * x;
            by_w[1][i] += 2.0 * w[i] * z;
        }
        for &Pair { ancestor, body, via } in &self.pairs {
            let ([ox, oz], [bx, bz]) = (kin.offset[via], kin.moment[body]);
            let (cross, dot) = (oz * bx - ox * bz, ox * bx + oz * bz);
            // ∂cross = dot (δφ_body − δφ_ancestor).
            let (of_body, of_ancestor) = (w[body] * w[body] * dot, w[ancestor] * w[ancestor] * dot);
            by_p[ancestor][ancestor] -= of_body;
            by_p[ancestor][body] += of_body;
            by_p[body][ancestor] += of_ancestor;
            by_p[body][body] -= of_ancestor;
            by_w[ancestor][body] += 2.0 * w[body] * cross;
            by_w[body][ancestor] -= 2.0 * w[ancestor] * cross;
        }
        for (j, link) in (3..N).zip(&d.links) {
            let body = &self.bodies[j];
            let q = (p[j] - p[body.parent]) * body.sign;
            if q < link.limits[0] || q > link.limits[1] {
                let (k, parent) = (d.limit_stiffness, body.parent);
                by_p[j][j] -= k;
                by_p[parent][parent] -= k;
                by_p[j][parent] += k;
                by_p[parent][j] += k;
            }
        }
        self.add_contact_slopes(kin, w, slopes);
    }

    fn add_contact_slopes(&self, kin: &Kinematics<f64, N>, w: &[f64; N], slopes: &mut Slopes<N>) {
        let law = &self.description.contact;
        for point in &self.points {
            let c = self.clearance(kin, point);
            if !law.touches(c) {
                continue;
            }
            let [v_x, v_n] = self.velocity(kin, w, point);
            let s = law.slopes(c, v_x, v_n);
            // Rows of the point's Jacobian, (v_x, v_n) = (J_x ẇ, J_n ẇ), which are also the
            // derivatives of its height; and derivatives of its velocity by p.
            let (mut j_x, mut j_n) = ([0.0; N], [0.0; N]);
            let (mut v_x_p, mut v_n_p) = ([0.0; N], [0.0; N]);
            (j_x[0], j_n[1]) = (1.0, 1.0);
            let mut body = point.body;
            let [mut x, mut z] = lever(kin, point);
            let mut drop = point.radius;
            loop {
                (j_x[body], j_n[body]) = (z, -x);
                // The drop by the radius does not turn with the body.
                v_x_p[body] = -w[body] * x;
                v_n_p[body] = -w[body] * (z + drop);
                // ∂J/∂p is diagonal.
                slopes.p[body][body] -= x * s.tangential + (z + drop) * s.normal;
                if body == 2 {
                    break;
                }
                [x, z] = kin.offset[body];
                drop = 0.0;
                body = self.bodies[body].parent;
            }
            let mut by = [[0.0; N]; 4];
            for i in 0..N {
                by[0][i] = s.tangential_c * j_n[i] + s.tangential_v * v_x_p[i];
                by[1][i] = s.normal_c * j_n[i] + s.normal_v * v_n_p[i];
                by[2][i] = s.tangential_v * j_x[i];
                by[3][i] = s.normal_v * j_n[i];
            }
            let mut row = point.body;
            loop {
                for i in 0..N {
                    slopes.p[row][i] += j_x[row] * by[0][i] + j_n[row] * by[1][i];
                    slopes.w[row][i] += j_x[row] * by[2][i] + j_n[row] * by[3][i];
                }
                // Up the tree to the root, then x and z.
                row = match row {
                    0 => break,
                    1 | 2 => row - 1,
                    _ => self.bodies[row].parent,
                };
            }
        }
    }

    /// ∂(H q̈)/∂p₀ at constant q̈; entry `[column][row]`.
    fn frozen_slopes(&self, first: &Kinematics<f64, N>, a: &[f64; N]) -> [[f64; N]; N] {
        let mut out = [[0.0; N]; N];
        for i in 2..N {
            let [x, z] = first.moment[i];
            out[i][0] = -x * a[i];
            out[i][1] = -z * a[i];
            out[i][i] = -x * a[0] - z * a[1];
        }
        for &Pair { ancestor, body, via } in &self.pairs {
            let ([ox, oz], [bx, bz]) = (first.offset[via], first.moment[body]);
            // H couples the two with the dot product; ∂dot = cross (δφ_ancestor − δφ_body).
            let cross = oz * bx - ox * bz;
            out[ancestor][ancestor] += cross * a[body];
            out[body][ancestor] -= cross * a[body];
            out[ancestor][body] += cross * a[ancestor];
            out[body][body] -= cross * a[ancestor];
        }
        out
    }

    /// Derivatives of q, v by q₀, v₀ and u from those of p, ṗ by p₀, ṗ₀ and u.
    fn collect(&self, ws: &PlanarWorkspace<N>, out: &mut Linearization) {
        let Linearization { fx, fu } = out;
        for column in 0..3 * N - 3 {
            let panel = &ws.panels[column / LANES];
            let target = match column.checked_sub(2 * N) {
                None => &mut fx.as_mut_slice()[2 * N * column..][..2 * N],
                Some(action) => &mut fu.as_mut_slice()[2 * N * action..][..2 * N],
            };
            for i in 0..N {
                target[i] = panel.p[i][column % LANES];
                target[N + i] = panel.w[i][column % LANES];
            }
            self.to_relative(&mut target[..N]);
            self.to_relative(&mut target[N..]);
        }
        self.combine_columns(fx);
    }

    /// A change of q_j turns the whole branch beyond the hinge.
    fn combine_columns(&self, fx: &mut DMatrix<f64>) {
        let columns = fx.as_mut_slice();
        for start in [0, N] {
            for j in (3..N).rev() {
                let body = &self.bodies[j];
                let (before, from) = columns.split_at_mut(2 * N * (start + j));
                let to = &mut before[2 * N * (start + body.parent)..][..2 * N];
                for (to, from) in to.iter_mut().zip(&mut from[..2 * N]) {
                    *to += *from;
                    *from *= body.sign;
                }
            }
        }
    }
}

impl<const N: usize> Panel<N> {
    /// One substep: δẇ += h H⁻¹ (f_p δp + f_w δẇ + direct), then δp += h δẇ.
    fn advance(&mut self, slopes: &Slopes<N>, scaled_inverse: &[[f64; N]; N], h: f64) {
        let mut force = self.direct;
        for row in 0..N {
            let target = &mut force[row];
            for k in 0..N {
                let (by_p, by_w) = (slopes.p[row][k], slopes.w[row][k]);
                // Bodies of different branches do not act on each other, and in flight nothing
                // depends on where the root is.
                if by_p == 0.0 && by_w == 0.0 {
                    continue;
                }
                for lane in 0..LANES {
                    target[lane] += by_p * self.p[k][lane] + by_w * self.w[k][lane];
                }
            }
        }
        for row in 0..N {
            let mut w = self.w[row];
            for k in 0..N {
                let factor = scaled_inverse[row][k];
                for lane in 0..LANES {
                    w[lane] += factor * force[k][lane];
                }
            }
            self.w[row] = w;
            for lane in 0..LANES {
                self.p[row][lane] += h * w[lane];
            }
        }
    }
}
