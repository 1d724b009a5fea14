//! Second derivatives of a step.

use nalgebra::DVector;

use super::law::{Dashpot, Stretched, dot};
use super::layout::Layout;
use super::mechanics::Network;
use super::model::MassSpringWorkspace;
use super::network::{End, Spring};
use crate::{HessianProduct, Linearization};

/// Second derivatives of e·(∂ψ/∂w) for one spring by its vectors w after and w₀ before the step; the
/// latter matters to a dashpot only.
struct Curvature<const D: usize> {
    /// By w twice.
    after: [[f64; D]; D],
    dashpot: Option<DashpotCurvature<D>>,
}

struct DashpotCurvature<const D: usize> {
    /// The block by w and w₀ is `turned` n₀ᵀ, with `turned` = −(b/h) e⊥/ℓ.
    turned: [f64; D],
    n0: [f64; D],
    /// −(b/h) α P⊥₀/ℓ₀, by w₀ twice.
    before: [[f64; D]; D],
}

/// How w and w₀ change along one direction of state and control.
struct Change<const D: usize> {
    after: [f64; D],
    before: [f64; D],
}

/// Writes `−ZᵀT[μ]Z` at the step that has been solved in the workspace, its derivative included.
pub(super) fn write<const D: usize>(
    network: &Network,
    layout: Layout,
    ws: &mut MassSpringWorkspace,
    state: &DVector<f64>,
    lambda: &DVector<f64>,
    out: &mut HessianProduct,
) {
    let MassSpringWorkspace { newton, objective, derivative, mu, placed, jacobian } = ws;
    let (n, ndx) = (layout.n, layout.ndx());
    derivative.dense(jacobian);
    for (i, mu) in mu.iter_mut().enumerate() {
        *mu = lambda[i] + derivative.gamma0() * lambda[2 * n + i];
    }
    derivative.solve(mu, placed);
    for block in [&mut out.xx, &mut out.ux, &mut out.uu] {
        block.fill(0.0);
    }
    let y = state.as_slice();
    let mut damped = network.damped.iter().zip(&objective.dashpots).peekable();
    let springs = network.stretched::<D>(&newton.x, &objective.handles, &objective.dashpots);
    for (index, (spring, s)) in springs.enumerate() {
        let dashpot = damped.next_if(|(at, _)| **at == index).map(|(_, dashpot)| *dashpot);
        let w0 = spring.vector::<D>(&y[..n], &y[layout.handles()]);
        let curvature = Curvature::new(&s, &spring.mass_difference(mu), dashpot, &w0);
        for first in 0..ndx + layout.n_handle_coordinates {
            let pulled = curvature.times(&change::<D>(spring, jacobian, layout, first));
            for second in 0..=first {
                let change = change::<D>(spring, jacobian, layout, second);
                let value = dot(&pulled.after, &change.after) + dot(&pulled.before, &change.before);
                if first < ndx {
                    out.xx[(first, second)] -= value;
                } else if second < ndx {
                    out.ux[(first - ndx, second)] -= value;
                } else {
                    out.uu[(first - ndx, second - ndx)] -= value;
                }
            }
        }
    }
    out.xx.fill_upper_triangle_with_lower_triangle();
    out.uu.fill_upper_triangle_with_lower_triangle();
}

/// Column `column` of the stacked [x, u] as a spring sees it.
fn change<const D: usize>(
    spring: &Spring,
    jacobian: &Linearization,
    layout: Layout,
    column: usize,
) -> Change<D> {
    let ndx = layout.ndx();
    let of = |row: usize| {
        if column < ndx { jacobian.fx[(row, column)] } else { jacobian.fu[(row, column - ndx)] }
    };
    let [a, b] = spring.ends.map(|end| match end {
        End::Mass(index) => D * index,
        End::Handle(index) => 4 * layout.n + D * index,
    });
    let at = |row: usize| if row == column { 1.0 } else { 0.0 };
    Change {
        after: std::array::from_fn(|k| of(a + k) - of(b + k)),
        before: std::array::from_fn(|k| at(a + k) - at(b + k)),
    }
}

impl<const D: usize> Curvature<D> {
    fn new(s: &Stretched<D>, e: &[f64; D], dashpot: Option<Dashpot>, w0: &[f64; D]) -> Self {
        let dashpot = dashpot.filter(|dashpot| dashpot.length > 0.0).map(|dashpot| {
            let (alpha, turned) = s.split(e);
            let n0 = w0.map(|w| w / dashpot.length);
            let across = -dashpot.rate * alpha / dashpot.length;
            let before = std::array::from_fn(|i| {
                std::array::from_fn(|j| across * (if i == j { 1.0 } else { 0.0 } - n0[i] * n0[j]))
            });
            let turned = turned.map(|turned| -dashpot.rate * turned);
            DashpotCurvature { turned, n0, before }
        });
        Self { after: s.contraction(e), dashpot }
    }

    fn times(&self, change: &Change<D>) -> Change<D> {
        let mut after = self.after.map(|row| dot(&row, &change.after));
        let mut before = [0.0; D];
        if let Some(DashpotCurvature { turned, n0, before: block }) = &self.dashpot {
            let (longer, across) = (dot(n0, &change.before), dot(turned, &change.after));
            for k in 0..D {
                after[k] += turned[k] * longer;
                before[k] = n0[k] * across + dot(&block[k], &change.before);
            }
        }
        Change { after, before }
    }
}
