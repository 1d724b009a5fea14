//! The equation of a step written on its own, for dual numbers.

use dynamics::Scalar;
use dynamics::mass_spring::{End, Integration, Law, MassSpring, Scheme, Spring};

/// The residual of the scheme written on its own, from the formulas of v' and a' and the forces of
/// the springs, for any scalar.
pub(crate) fn residual<S: Scalar>(
    model: &MassSpring,
    x_next: &[S],
    y: &[S],
    u: &[S],
    start: bool,
) -> Vec<S> {
    let (spec, Integration { scheme, dt: h, .. }) = (model.spec(), model.integration());
    let (layout, d) = (model.layout(), spec.dimension);
    let parts = [
        layout.positions(),
        layout.previous_positions(),
        layout.velocities(),
        layout.previous_velocities(),
        layout.handles(),
    ];
    let [x, x1, v, v1, p] = parts.map(|part| &y[part]);
    let p_next: Vec<S> = p.iter().zip(u).map(|(&p, &u)| p + u * h).collect();
    let rate = |new: S, now: S, before: S| match scheme {
        Scheme::Bdf2 if !start => (new * 3.0 - now * 4.0 + before) / (2.0 * h),
        _ => (new - now) / h,
    };
    let mut r: Vec<S> = (0..layout.n)
        .map(|i| {
            let v_next = rate(x_next[i], x[i], x1[i]);
            let a = rate(v_next, v[i], v1[i]);
            (a + v_next * spec.mass_damping - spec.gravity[i % d]) * spec.masses[i / d]
        })
        .collect();
    let vector = |spring: &Spring, x: &[S], p: &[S]| -> Vec<S> {
        let [a, b] = spring.ends.map(|end| match end {
            End::Mass(i) => x[d * i..d * (i + 1)].to_vec(),
            End::Handle(i) => p[d * i..d * (i + 1)].to_vec(),
        });
        a.into_iter().zip(b).map(|(a, b)| a - b).collect()
    };
    let length = |w: &[S]| w.iter().fold(S::from(0.0), |sum, &w| sum + w * w).sqrt();
    for spring in &spec.springs {
        let w = vector(spring, x_next, &p_next);
        let force: Vec<S> = if spring.rest_length == 0.0 {
            w.iter().map(|&w| w * spring.stiffness).collect()
        } else {
            let l = length(&w);
            let stretch = l - spring.rest_length;
            let mut tension = match spring.law {
                Law::Bilateral => stretch,
                Law::Unilateral { smoothing: e } if stretch.re() > 0.0 => stretch + 0.5 * e,
                Law::Unilateral { smoothing: e } if stretch.re() > -e => {
                    (stretch + e) * (stretch + e) / (2.0 * e)
                }
                Law::Unilateral { .. } => S::from(0.0),
            } * spring.stiffness;
            tension += (l - length(&vector(spring, x, p))) * (spring.damping / h);
            w.iter().map(|&w| w / l * tension).collect()
        };
        for (end, sign) in spring.ends.iter().zip([1.0, -1.0]) {
            if let End::Mass(i) = *end {
                for (k, &force) in force.iter().enumerate() {
                    r[d * i + k] += force * sign;
                }
            }
        }
    }
    r
}
