//! Penalty contact of a point with the ground at height 0.

use serde::{Deserialize, Serialize};

use crate::continuous::Scalar;
use crate::duals::real;

/// What the ground does to a point at height c with velocity (v_x, v_n).
///
/// With [`ContactKind::Hard`] nothing at c ≥ 0, and below
///
/// ```text
/// f_n = k_e (−c) + k_d (−c) max(−v_n, 0)
/// f_x = −sign(v_x) min(k_f |v_x|, μ k_e (−c))
/// ```
///
/// With [`ContactKind::Smooth`] the depth −c becomes d = ε softplus(−c/ε), the speed of approach
/// w softplus(−v_n/w), and
///
/// ```text
/// f_x = −μ k_e d tanh(v_x/(μ k_e d/k_f + w))
/// ```
///
/// which tends to the hard law as ε and w tend to zero, but for the corner of the friction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactParameters {
    /// Normal stiffness k_e [N/m].
    pub stiffness: f64,
    /// Normal damping k_d per depth [N·s/m²]; acts while the point approaches.
    pub damping: f64,
    /// Slope k_f of the friction at zero velocity [N·s/m].
    pub friction_slope: f64,
    /// Friction coefficient μ; the cap uses the elastic part of the normal force only.
    pub friction: f64,
    /// Which law.
    pub kind: ContactKind,
    /// Depth ε (m) over which the smooth law sets in; the hard law ignores it.
    pub smoothing_depth: f64,
    /// Speed w [m/s] over which the smooth law changes; the hard law ignores it.
    pub smoothing_speed: f64,
}

/// Whether contact has kinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContactKind {
    /// As in DFlex: kinks at touch-down, at the turn from approach to separation and at the cap of
    /// the friction.
    Hard,
    /// Continuously differentiable everywhere; acts at a distance of a few smoothing depths.
    Smooth,
}

/// Beyond this many smoothing depths the smooth force, below 10⁻¹⁷ of its scale, is taken as zero.
const SMOOTH_REACH: f64 = 40.0;

/// Force and its derivatives.
pub(super) struct ContactSlopes {
    pub(super) normal: f64,
    pub(super) tangential: f64,
    /// ∂f_n/∂c.
    pub(super) normal_c: f64,
    /// ∂f_n/∂v_n.
    pub(super) normal_v: f64,
    /// ∂f_x/∂c.
    pub(super) tangential_c: f64,
    /// ∂f_x/∂v_x.
    pub(super) tangential_v: f64,
}

impl ContactParameters {
    /// Whether a point at height `c` feels the ground.
    pub(super) fn touches(&self, c: f64) -> bool {
        match self.kind {
            ContactKind::Hard => c < 0.0,
            ContactKind::Smooth => c < SMOOTH_REACH * self.smoothing_depth,
        }
    }

    /// (f_x, f_n) on a point that touches.
    pub(super) fn force<S: Scalar>(&self, c: S, v_x: S, v_n: S) -> (S, S) {
        let Self { stiffness, damping, friction_slope, friction, .. } = *self;
        match self.kind {
            ContactKind::Hard => {
                let mut normal = -c * stiffness;
                if real(v_n) < 0.0 {
                    normal += c * v_n * damping;
                }
                let cap = -c * (friction * stiffness);
                let tangential = if self.is_below_cap(real(c), real(v_x)) {
                    -v_x * friction_slope
                } else {
                    -cap * sign(real(v_x))
                };
                (tangential, normal)
            }
            ContactKind::Smooth => {
                let depth = softplus(-c, self.smoothing_depth);
                let approach = softplus(-v_n, self.smoothing_speed);
                let cap = depth * (friction * stiffness);
                let slip = cap * friction_slope.recip() + self.smoothing_speed;
                (-cap * (v_x / slip).tanh(), depth * (approach * damping + stiffness))
            }
        }
    }

    /// The force with its derivatives; at a switch those of the branch that [`Self::force`] takes.
    pub(super) fn slopes(&self, c: f64, v_x: f64, v_n: f64) -> ContactSlopes {
        let Self { stiffness, damping, friction_slope, friction, .. } = *self;
        let (tangential, normal) = self.force(c, v_x, v_n);
        match self.kind {
            ContactKind::Hard => {
                let (normal_c, normal_v) = if v_n < 0.0 {
                    (-stiffness + damping * v_n, damping * c)
                } else {
                    (-stiffness, 0.0)
                };
                let (tangential_c, tangential_v) = if self.is_below_cap(c, v_x) {
                    (0.0, -friction_slope)
                } else {
                    (friction * stiffness * sign(v_x), 0.0)
                };
                ContactSlopes { normal, tangential, normal_c, normal_v, tangential_c, tangential_v }
            }
            ContactKind::Smooth => {
                let depth = softplus(-c, self.smoothing_depth);
                let depth_c = -logistic(-c / self.smoothing_depth);
                let approach = softplus(-v_n, self.smoothing_speed);
                let approach_v = -logistic(-v_n / self.smoothing_speed);
                let cap = friction * stiffness * depth;
                let slip = cap / friction_slope + self.smoothing_speed;
                let tanh = (v_x / slip).tanh();
                // f_x = −cap tanh(v/s), s = cap/k_f + w.
                let flank = cap * (1.0 - tanh * tanh) / slip;
                let tangential_cap = -tanh + flank * v_x / (slip * friction_slope);
                ContactSlopes {
                    normal,
                    tangential,
                    normal_c: (stiffness + damping * approach) * depth_c,
                    normal_v: depth * damping * approach_v,
                    tangential_c: tangential_cap * friction * stiffness * depth_c,
                    tangential_v: -flank,
                }
            }
        }
    }

    /// Which branches of the hard law a touching point is on; 0 for the smooth law, which has none.
    pub(super) fn branch(&self, c: f64, v_x: f64, v_n: f64) -> u8 {
        match self.kind {
            ContactKind::Smooth => 0,
            ContactKind::Hard => {
                let slip = match self.is_below_cap(c, v_x) {
                    true => 0,
                    false if v_x > 0.0 => 2,
                    false => 4,
                };
                1 + u8::from(v_n < 0.0) * 8 + slip
            }
        }
    }

    /// Whether the viscous branch of the hard friction holds.
    fn is_below_cap(&self, c: f64, v_x: f64) -> bool {
        self.friction_slope * v_x.abs() < -self.friction * self.stiffness * c
    }
}

/// −1, 0 or 1.
fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { 1.0_f64.copysign(value) }
}

/// w ln(1 + exp(y/w)).
fn softplus<S: Scalar>(y: S, width: f64) -> S {
    let y = y * width.recip();
    let bounded = if real(y) > 0.0 { y + (-y).exp().ln_1p() } else { y.exp().ln_1p() };
    bounded * width
}

/// Derivative of ln(1 + exp(y)).
fn logistic(y: f64) -> f64 {
    if y > 0.0 { 1.0 / (1.0 + (-y).exp()) } else { y.exp() / (1.0 + y.exp()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(kind: ContactKind) -> ContactParameters {
        ContactParameters {
            stiffness: 2e4,
            damping: 1e3,
            friction_slope: 1e3,
            friction: 0.9,
            kind,
            smoothing_depth: 1e-3,
            smoothing_speed: 1e-2,
        }
    }

    #[test]
    fn hard_law_by_hand() {
        let law = law(ContactKind::Hard);
        assert!(!law.touches(0.0) && law.touches(-1e-12));
        // Depth 1 cm: elastic 200 N, damping 1000·0.01·0.5 = 5 N while approaching, cap 180 N.
        assert_eq!(law.force(-0.01, 0.05, -0.5), (-50.0, 205.0));
        assert_eq!(law.force(-0.01, 0.05, 0.5), (-50.0, 200.0));
        assert_eq!(law.force(-0.01, -0.5, 0.0), (180.0, 200.0));
        assert_eq!(law.force(-0.01, 0.0, 0.0), (0.0, 200.0));
        // Exactly at the cap, the cap's branch.
        let at_cap = ContactParameters { friction: 1.0, stiffness: 1e3, ..law };
        assert_eq!(at_cap.slopes(-0.5, 0.5, 0.0).tangential_v, 0.0);
        assert_eq!(at_cap.slopes(-0.5, 0.25, 0.0).tangential_v, -1e3);
    }

    #[test]
    fn smooth_law_tends_to_the_hard_one() {
        let hard = law(ContactKind::Hard);
        for (c, v_x, v_n) in [(-0.01_f64, 2.0, -0.5), (-0.02, 1e-4, 0.3), (-0.005, -3.0, -1.0)] {
            let (x, n): (f64, f64) = hard.force(c, v_x, v_n);
            let error = |width: f64| {
                let smooth = ContactParameters {
                    kind: ContactKind::Smooth,
                    smoothing_depth: width,
                    smoothing_speed: width,
                    ..hard
                };
                let (sx, sn) = smooth.force(c, v_x, v_n);
                ((sx - x) / 180.0).abs().max(((sn - n) / 200.0).abs())
            };
            assert!(error(1e-5) < 1e-3, "{} at {c}, {v_x}, {v_n}", error(1e-5));
        }
    }

    #[test]
    fn smooth_forces_vanish_at_the_end_of_their_reach() {
        let law = law(ContactKind::Smooth);
        let (x, n): (f64, f64) = law.force(SMOOTH_REACH * law.smoothing_depth, 1.0, -1.0);
        assert!(x.abs() < 1e-15 && n.abs() < 1e-15, "{x:e} {n:e}");
    }
}
