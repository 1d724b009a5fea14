//! Spatial vectors and rigid-body inertias, for any scalar.
//!
//! Everything is expressed in the world's axes and about one point (the origin of the workspace), so that quantities of
//! different bodies add without transformations. A [`Motion`] is (velocity of the point that passes
//! through the origin, angular velocity); a [`Force`] is (force, moment about the origin).

use crate::Scalar;

/// Three numbers.
pub(crate) type V3<S> = [S; 3];
/// A 3 × 3 matrix by rows.
pub(crate) type M3<S> = [[S; 3]; 3];

#[inline(always)]
pub(crate) fn add<S: Scalar>(a: V3<S>, b: V3<S>) -> V3<S> {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[inline(always)]
pub(crate) fn scale<S: Scalar>(a: V3<S>, k: S) -> V3<S> {
    [a[0] * k, a[1] * k, a[2] * k]
}

#[inline(always)]
pub(crate) fn dot<S: Scalar>(a: V3<S>, b: V3<S>) -> S {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline(always)]
pub(crate) fn cross<S: Scalar>(a: V3<S>, b: V3<S>) -> V3<S> {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// m a.
#[inline(always)]
pub(crate) fn apply<S: Scalar>(m: &M3<S>, a: V3<S>) -> V3<S> {
    [dot(m[0], a), dot(m[1], a), dot(m[2], a)]
}

/// m a with constant a.
#[inline(always)]
pub(crate) fn apply_constant<S: Scalar>(m: &M3<S>, a: V3<f64>) -> V3<S> {
    m.map(|row| row[0] * a[0] + row[1] * a[1] + row[2] * a[2])
}

/// mᵀ a.
#[inline(always)]
pub(crate) fn apply_transposed<S: Scalar>(m: &M3<S>, a: V3<S>) -> V3<S> {
    std::array::from_fn(|j| m[0][j] * a[0] + m[1][j] * a[1] + m[2][j] * a[2])
}

/// a b.
#[inline(always)]
pub(crate) fn product<S: Scalar>(a: &M3<S>, b: &M3<S>) -> M3<S> {
    a.map(|row| apply_transposed(b, row))
}

/// Column j of m.
#[inline(always)]
pub(crate) fn column<S: Scalar>(m: &M3<S>, j: usize) -> V3<S> {
    [m[0][j], m[1][j], m[2][j]]
}

/// A velocity, an acceleration, or a direction of motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Motion<S> {
    pub(crate) linear: V3<S>,
    pub(crate) angular: V3<S>,
}

/// A force with its moment, or a momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Force<S> {
    pub(crate) linear: V3<S>,
    pub(crate) angular: V3<S>,
}

impl<S: Scalar> Motion<S> {
    pub(crate) fn zero() -> Self {
        Self { linear: [S::zero(); 3], angular: [S::zero(); 3] }
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self { linear: add(self.linear, other.linear), angular: add(self.angular, other.angular) }
    }

    /// self + k other.
    #[inline(always)]
    pub(crate) fn add_scaled(self, k: S, other: Self) -> Self {
        Self {
            linear: std::array::from_fn(|i| self.linear[i] + k * other.linear[i]),
            angular: std::array::from_fn(|i| self.angular[i] + k * other.angular[i]),
        }
    }

    /// self × other: the rate of a motion vector that moves with self.
    #[inline(always)]
    pub(crate) fn cross(self, other: Self) -> Self {
        Self {
            linear: add(cross(self.angular, other.linear), cross(self.linear, other.angular)),
            angular: cross(self.angular, other.angular),
        }
    }

    /// self ×* f: the rate of a force vector that moves with self.
    #[inline(always)]
    pub(crate) fn cross_force(self, f: Force<S>) -> Force<S> {
        Force {
            linear: cross(self.angular, f.linear),
            angular: add(cross(self.angular, f.angular), cross(self.linear, f.linear)),
        }
    }

    /// The power of f along self.
    #[inline(always)]
    pub(crate) fn dot(self, f: Force<S>) -> S {
        dot(self.linear, f.linear) + dot(self.angular, f.angular)
    }

    /// Velocity of the point `p` of a body that moves with self.
    #[inline(always)]
    pub(crate) fn at(self, p: V3<S>) -> V3<S> {
        add(self.linear, cross(self.angular, p))
    }
}

impl<S: Scalar> Force<S> {
    pub(crate) fn zero() -> Self {
        Self { linear: [S::zero(); 3], angular: [S::zero(); 3] }
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self { linear: add(self.linear, other.linear), angular: add(self.angular, other.angular) }
    }

    /// self + k other.
    #[inline(always)]
    pub(crate) fn add_scaled(self, k: S, other: Self) -> Self {
        Self {
            linear: std::array::from_fn(|i| self.linear[i] + k * other.linear[i]),
            angular: std::array::from_fn(|i| self.angular[i] + k * other.angular[i]),
        }
    }
}

/// A symmetric 3 × 3 matrix: xx, yy, zz, xy, xz, yz.
pub(crate) type Symmetric<S> = [S; 6];

/// m a for a symmetric m.
#[inline(always)]
pub(crate) fn apply_symmetric<S: Scalar>(m: &Symmetric<S>, a: V3<S>) -> V3<S> {
    [
        m[0] * a[0] + m[3] * a[1] + m[4] * a[2],
        m[3] * a[0] + m[1] * a[1] + m[5] * a[2],
        m[4] * a[0] + m[5] * a[1] + m[2] * a[2],
    ]
}

/// Inertia of a rigid body, or of several that move as one: mass, first moment m c and rotational
/// inertia, all about the world's origin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Inertia<S> {
    pub(crate) mass: f64,
    pub(crate) moment: V3<S>,
    pub(crate) rotational: Symmetric<S>,
}

impl<S: Scalar> Inertia<S> {
    pub(crate) fn zero() -> Self {
        Self { mass: 0.0, moment: [S::zero(); 3], rotational: [S::zero(); 6] }
    }

    /// A body with the given mass, centre and rotational inertia about the centre (body axes), whose
    /// frame is at (`r`, `p`).
    #[inline(always)]
    pub(crate) fn placed(
        mass: f64,
        center: V3<f64>,
        rotational: &Symmetric<f64>,
        r: &M3<S>,
        p: V3<S>,
    ) -> Self {
        let c = add(apply_constant(r, center), p);
        let moment = c.map(|c| c * mass);
        // R I, by rows
        let i = rotational;
        let ri = r.map(|row| {
            [
                row[0] * i[0] + row[1] * i[3] + row[2] * i[4],
                row[0] * i[3] + row[1] * i[1] + row[2] * i[5],
                row[0] * i[4] + row[1] * i[5] + row[2] * i[2],
            ]
        });
        let [x, y, z] = [moment[0] * c[0], moment[1] * c[1], moment[2] * c[2]];
        Self {
            mass,
            moment,
            // R I Rᵀ + m (c·c E − c cᵀ)
            rotational: [
                dot(ri[0], r[0]) + y + z,
                dot(ri[1], r[1]) + x + z,
                dot(ri[2], r[2]) + x + y,
                dot(ri[0], r[1]) - moment[0] * c[1],
                dot(ri[0], r[2]) - moment[0] * c[2],
                dot(ri[1], r[2]) - moment[1] * c[2],
            ],
        }
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            mass: self.mass + other.mass,
            moment: add(self.moment, other.moment),
            rotational: std::array::from_fn(|i| self.rotational[i] + other.rotational[i]),
        }
    }

    /// Y m.
    #[inline(always)]
    pub(crate) fn apply(&self, m: Motion<S>) -> Force<S> {
        let turned = cross(self.moment, m.angular);
        Force {
            linear: std::array::from_fn(|i| m.linear[i] * self.mass - turned[i]),
            angular: add(
                cross(self.moment, m.linear),
                apply_symmetric(&self.rotational, m.angular),
            ),
        }
    }
}

/// B = (v ×*) Y − Y (v ×) + (· ×* h) with h = Y v: what turns a change of motion into a change of
/// the velocity-dependent force (`docs/methods/rigid-bodies.md`).
///
/// All terms in the linear part of its argument cancel: the force is −2 h_l × b for a motion with
/// angular part b, and the moment is [`Self::angular`] b. Matrices of bodies add.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Coriolis<S> {
    /// h_l, the linear momentum.
    pub(crate) momentum: V3<S>,
    /// [w] I − I [w] − [I w] − 2 [m c][v].
    pub(crate) angular: M3<S>,
}

impl<S: Scalar> Coriolis<S> {
    pub(crate) fn zero() -> Self {
        Self { momentum: [S::zero(); 3], angular: [[S::zero(); 3]; 3] }
    }

    /// B of a body with inertia `y`, velocity `v` and momentum `h` = Y v.
    #[inline(always)]
    pub(crate) fn of(y: &Inertia<S>, v: Motion<S>, h: Force<S>) -> Self {
        let (w, i) = (v.angular, &y.rotational);
        // [w] I, by rows; the second product of the commutator is its negative transpose.
        let rows = [[i[0], i[3], i[4]], [i[3], i[1], i[5]], [i[4], i[5], i[2]]];
        let wi: M3<S> = [
            std::array::from_fn(|k| w[1] * rows[2][k] - w[2] * rows[1][k]),
            std::array::from_fn(|k| w[2] * rows[0][k] - w[0] * rows[2][k]),
            std::array::from_fn(|k| w[0] * rows[1][k] - w[1] * rows[0][k]),
        ];
        let iw = apply_symmetric(i, w);
        let (m, u) = (y.moment, v.linear);
        // [m][u] = u mᵀ − (m·u) E
        let mu = dot(m, u);
        let two = 2.0;
        let entry = |a: usize, b: usize| wi[a][b] + wi[b][a] - u[a] * m[b] * two;
        Self {
            momentum: h.linear,
            angular: [
                [entry(0, 0) + mu * two, entry(0, 1) + iw[2], entry(0, 2) - iw[1]],
                [entry(1, 0) - iw[2], entry(1, 1) + mu * two, entry(1, 2) + iw[0]],
                [entry(2, 0) + iw[1], entry(2, 1) - iw[0], entry(2, 2) + mu * two],
            ],
        }
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            momentum: add(self.momentum, other.momentum),
            angular: std::array::from_fn(|i| add(self.angular[i], other.angular[i])),
        }
    }

    /// B m for a motion with angular part `b`.
    #[inline(always)]
    pub(crate) fn apply(&self, b: V3<S>) -> Force<S> {
        Force { linear: cross(b, self.momentum).map(|x| x * 2.0), angular: apply(&self.angular, b) }
    }

    /// The angular part of jᵀ B; the linear part is 0.
    #[inline(always)]
    pub(crate) fn apply_transposed(&self, j: Motion<S>) -> V3<S> {
        // j·(2 b × h) = 2 b·(h × j)
        let linear = cross(self.momentum, j.linear);
        let angular = apply_transposed(&self.angular, j.angular);
        std::array::from_fn(|i| linear[i] * 2.0 + angular[i])
    }
}
