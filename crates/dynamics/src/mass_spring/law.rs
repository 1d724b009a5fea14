//! How the energy of a spring depends on its length.

use serde::{Deserialize, Serialize};

use super::network::Spring;

/// How the force of a spring depends on its stretch u = ℓ − L.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Law {
    /// ψ = ½ k u²: pulls and pushes.
    #[default]
    Bilateral,
    /// Pulls only. With ε the smoothing, ψ′ = k (u + ε/2) for u > 0, k (u + ε)²/(2ε) in between and
    /// 0 for u ≤ −ε: twice continuously differentiable. The tension is k ε/2 at the rest length, and
    /// the straight branch has the effective rest length L − ε/2.
    Unilateral {
        /// Length ε over which the spring goes slack (m).
        smoothing: f64,
    },
}

/// An energy ψ(u) and its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slopes {
    /// ψ (J).
    pub energy: f64,
    /// ψ′, the tension (N).
    pub first: f64,
    /// ψ″ [N/m].
    pub second: f64,
    /// ψ‴ [N/m²]; at a knot that of the side which [`Law::slopes`] takes (u > 0 and u > −ε).
    pub third: f64,
}

impl Law {
    /// ψ and its derivatives at the stretch `u` (m) for the stiffness `k` [N/m].
    #[must_use]
    pub fn slopes(self, k: f64, u: f64) -> Slopes {
        match self {
            Self::Bilateral => {
                Slopes { energy: 0.5 * k * u * u, first: k * u, second: k, third: 0.0 }
            }
            Self::Unilateral { smoothing: e } if u > 0.0 => Slopes {
                energy: k * (0.5 * u * (u + e) + e * e / 6.0),
                first: k * (u + 0.5 * e),
                second: k,
                third: 0.0,
            },
            Self::Unilateral { smoothing: e } if u > -e => {
                // With t = u + ε all terms of the cubic gather in t³/(6ε).
                let t = u + e;
                Slopes {
                    energy: k * t * t * t / (6.0 * e),
                    first: k * t * t / (2.0 * e),
                    second: k * t / e,
                    third: k / e,
                }
            }
            Self::Unilateral { .. } => Slopes { energy: 0.0, first: 0.0, second: 0.0, third: 0.0 },
        }
    }
}

/// A stretched spring in space: direction and slopes, in a form that needs no direction where the
/// energy is smooth at length 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretched<const D: usize> {
    /// w = r_A − r_B.
    pub(super) w: [f64; D],
    /// ℓ = |w|.
    pub(super) length: f64,
    /// n = w/ℓ, zero at length 0.
    pub(super) n: [f64; D],
    /// ψ″, dashpot included.
    pub(super) axial: f64,
    /// ψ′/ℓ, dashpot included: the force on A is −(ψ′/ℓ) w.
    pub(super) transverse: f64,
    /// ψ‴.
    pub(super) third: f64,
}

/// b/h of a dashpot and the length ℓₙ from which its step starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dashpot {
    pub(super) rate: f64,
    pub(super) length: f64,
}

pub(super) fn norm<const D: usize>(w: &[f64; D]) -> f64 {
    w.iter().map(|w| w * w).sum::<f64>().sqrt()
}

pub(super) fn dot<const D: usize>(a: &[f64; D], b: &[f64; D]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Spring {
    /// ψ(ℓ) and its derivatives without the dashpot.
    #[must_use]
    pub fn slopes(&self, length: f64) -> Slopes {
        self.law.slopes(self.stiffness, length - self.rest_length)
    }

    /// ψ plus the dissipation energy of the step.
    pub(super) fn energy(&self, length: f64, dashpot: Option<Dashpot>) -> f64 {
        let dissipated = dashpot.map_or(0.0, |d| 0.5 * d.rate * (length - d.length).powi(2));
        self.slopes(length).energy + dissipated
    }

    pub(super) fn stretched<const D: usize>(
        &self,
        w: [f64; D],
        dashpot: Option<Dashpot>,
    ) -> Stretched<D> {
        let length = norm(&w);
        let n = if length > 0.0 { w.map(|w| w / length) } else { [0.0; D] };
        let Slopes { mut first, second: mut axial, third, .. } = self.slopes(length);
        if let Some(d) = dashpot {
            first += d.rate * (length - d.length);
            axial += d.rate;
        }
        let transverse = if self.law == Law::Bilateral && self.rest_length == 0.0 {
            self.stiffness
        } else if first == 0.0 {
            0.0
        } else {
            first / length
        };
        Stretched { w, length, n, axial, transverse, third }
    }
}

impl<const D: usize> Stretched<D> {
    /// K = ψ″ n nᵀ + (ψ′/ℓ)(I − n nᵀ), the block that couples the ends.
    pub(super) fn stiffness(&self) -> [[f64; D]; D] {
        self.block(self.transverse)
    }

    /// The same with the transverse term max(ψ′/ℓ, 0): positive semidefinite.
    pub(super) fn semidefinite(&self) -> [[f64; D]; D] {
        self.block(self.transverse.max(0.0))
    }

    fn block(&self, transverse: f64) -> [[f64; D]; D] {
        let along = self.axial - transverse;
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let diagonal = if i == j { transverse } else { 0.0 };
                along * self.n[i] * self.n[j] + diagonal
            })
        })
    }

    /// (e·n, P⊥e/ℓ): how the direction turns the component of `e` along it.
    pub(super) fn split(&self, e: &[f64; D]) -> (f64, [f64; D]) {
        let along = dot(&self.n, e);
        if self.length > 0.0 {
            (along, std::array::from_fn(|i| (e[i] - along * self.n[i]) / self.length))
        } else {
            (along, [0.0; D])
        }
    }

    /// The third derivative contracted with e = μ_A − μ_B:
    /// T = ψ‴ α n nᵀ + ((ψ″ − ψ′/ℓ)/ℓ)(e⊥ nᵀ + n e⊥ᵀ + α P⊥), α = n·e, e⊥ = P⊥ e.
    pub(super) fn contraction(&self, e: &[f64; D]) -> [[f64; D]; D] {
        let (alpha, turned) = self.split(e);
        let curvature = self.axial - self.transverse;
        let isotropic = if self.length > 0.0 { curvature * alpha / self.length } else { 0.0 };
        let n = &self.n;
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let diagonal = if i == j { isotropic } else { 0.0 };
                (self.third * alpha - isotropic) * n[i] * n[j]
                    + curvature * (turned[i] * n[j] + n[i] * turned[j])
                    + diagonal
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mass_spring::End;

    const K: f64 = 1e4;
    const EPSILON: f64 = 1e-3;
    const SMOOTH: Law = Law::Unilateral { smoothing: EPSILON };

    #[test]
    fn the_one_sided_law_is_twice_continuously_differentiable_at_its_knots() {
        for knot in [0.0, -EPSILON] {
            let (below, above) = (SMOOTH.slopes(K, knot - 1e-12), SMOOTH.slopes(K, knot + 1e-12));
            assert!((below.energy - above.energy).abs() < 1e-10);
            assert!((below.first - above.first).abs() < 1e-7);
            assert!((below.second - above.second).abs() < 1e-4);
        }
    }

    #[test]
    fn the_tension_at_rest_length_is_half_of_k_epsilon_and_vanishes_when_slack() {
        assert!((SMOOTH.slopes(K, 0.0).first - 5.0).abs() < 1e-12);
        let slack = SMOOTH.slopes(K, -EPSILON);
        assert_eq!([slack.energy, slack.first, slack.second, slack.third], [0.0; 4]);
    }

    #[test]
    fn slopes_are_derivatives_of_each_other() {
        let h = 1e-7;
        for law in [Law::Bilateral, SMOOTH] {
            for u in [-2e-3, -0.7e-3, -0.2e-3, 0.5e-3, 0.1] {
                let (at, up, down) = (law.slopes(K, u), law.slopes(K, u + h), law.slopes(K, u - h));
                let close = |found: f64, up: f64, down: f64, scale: f64| {
                    let expected = (up - down) / (2.0 * h);
                    assert!((found - expected).abs() < 1e-7 * scale, "{found} {expected} at {u}");
                };
                close(at.first, up.energy, down.energy, K);
                close(at.second, up.first, down.first, K);
                close(at.third, up.second, down.second, K / EPSILON);
            }
        }
    }

    #[test]
    fn blocks_of_a_spring_are_derivatives_of_its_force() {
        let base = Spring {
            ends: [End::Mass(0), End::Handle(0)],
            stiffness: 700.0,
            rest_length: 1.0,
            law: Law::Unilateral { smoothing: 0.1 },
            damping: 0.0,
        };
        let dashpot = Some(Dashpot { rate: 30.0, length: 0.97 });
        let e = [0.4, -1.1, 0.7];
        // Taut, in transition, slack; and crushed, where the transverse term is negative.
        for (law, length) in [(base.law, 1.2), (base.law, 0.96), (base.law, 0.7)]
            .into_iter()
            .chain([(Law::Bilateral, 0.6)])
        {
            let spring = Spring { law, ..base.clone() };
            let w = [0.48, -0.64, 0.6].map(|w| w * length);
            let at = |w| spring.stretched::<3>(w, dashpot);
            let force = |w| {
                let s = at(w);
                s.w.map(|w| s.transverse * w)
            };
            let pull = |w| at(w).stiffness().map(|row| dot(&row, &e));
            let energy = |w: [f64; 3]| [spring.energy(norm(&w), dashpot); 3];
            let (k, t) = (at(w).stiffness(), at(w).contraction(&e));
            for j in 0..3 {
                let slope = |f: &dyn Fn([f64; 3]) -> [f64; 3], i: usize| {
                    let h = 1e-5;
                    let (mut up, mut down) = (w, w);
                    up[j] += h;
                    down[j] -= h;
                    (f(up)[i] - f(down)[i]) / (2.0 * h)
                };
                assert!((slope(&energy, 0) - force(w)[j]).abs() < 1e-7 * 700.0);
                for i in 0..3 {
                    assert!((slope(&force, i) - k[i][j]).abs() < 1e-7 * 700.0);
                    assert!((slope(&pull, i) - t[i][j]).abs() < 1e-7 * 7000.0);
                }
            }
        }
    }
}
