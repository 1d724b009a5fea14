//! Energies of a network and their derivatives.

use super::factor::{Band, Pattern};
use super::law::{Dashpot, Stretched, dot, norm};
use super::network::{End, NetworkSpec, Spring};

/// A checked network with the order of its matrix.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) spec: NetworkSpec,
    pub(super) pattern: Pattern,
    /// Mass of each coordinate (kg).
    pub(super) coordinate_masses: Vec<f64>,
    /// Springs with a dashpot, in order.
    pub(super) damped: Vec<usize>,
    /// Springs that end at a handle: (spring, mass, handle).
    pub(super) handled: Vec<(usize, usize, usize)>,
}

/// The energy that a step minimises, Φ(x) = (c/2)(x − x̃)ᵀM(x − x̃) + U(x, p') + dissipation.
#[derive(Debug, Clone)]
pub(super) struct Objective {
    pub(super) c: f64,
    /// x̃.
    pub(super) target: Vec<f64>,
    /// p'.
    pub(super) handles: Vec<f64>,
    /// Dashpots of [`Network::damped`], with the lengths at the start of the step.
    pub(super) dashpots: Vec<Dashpot>,
}

/// A value with the sum of the sizes of its terms, which scales its rounding error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Energy {
    pub(super) value: f64,
    pub(super) size: f64,
}

pub(super) fn point<const D: usize>(points: &[f64], index: usize) -> [f64; D] {
    std::array::from_fn(|i| points[D * index + i])
}

fn add<const D: usize>(points: &mut [f64], index: usize, factor: f64, vector: &[f64; D]) {
    for (out, value) in points[D * index..D * (index + 1)].iter_mut().zip(vector) {
        *out += factor * value;
    }
}

impl Spring {
    /// w = r_A − r_B.
    pub(super) fn vector<const D: usize>(&self, x: &[f64], p: &[f64]) -> [f64; D] {
        let [a, b] = self.ends.map(|end| match end {
            End::Mass(index) => point::<D>(x, index),
            End::Handle(index) => point::<D>(p, index),
        });
        std::array::from_fn(|i| a[i] - b[i])
    }

    /// The same of vectors that belong to masses; handles count as zero.
    pub(super) fn mass_difference<const D: usize>(&self, values: &[f64]) -> [f64; D] {
        let [a, b] = self.ends.map(|end| match end {
            End::Mass(index) => point::<D>(values, index),
            End::Handle(_) => [0.0; D],
        });
        std::array::from_fn(|i| a[i] - b[i])
    }

    /// Adds `factor`·vector to the mass at A and subtracts it from the one at B.
    pub(super) fn scatter<const D: usize>(
        &self,
        factor: f64,
        vector: &[f64; D],
        masses: &mut [f64],
    ) {
        for (end, sign) in self.ends.iter().zip([factor, -factor]) {
            if let End::Mass(index) = *end {
                add(masses, index, sign, vector);
            }
        }
    }

    /// The same for both kinds of points.
    pub(super) fn scatter_all<const D: usize>(
        &self,
        factor: f64,
        vector: &[f64; D],
        masses: &mut [f64],
        handles: &mut [f64],
    ) {
        self.scatter(factor, vector, masses);
        for (end, sign) in self.ends.iter().zip([factor, -factor]) {
            if let End::Handle(index) = *end {
                add(handles, index, sign, vector);
            }
        }
    }
}

impl Network {
    pub(super) fn new(spec: NetworkSpec) -> Self {
        let d = spec.dimension;
        let edges: Vec<_> = spec
            .springs
            .iter()
            .filter_map(|spring| match spring.ends {
                [End::Mass(a), End::Mass(b)] => Some((a, b)),
                _ => None,
            })
            .collect();
        let handled =
            spec.springs
                .iter()
                .enumerate()
                .filter_map(|(index, spring)| match spring.ends {
                    [End::Mass(mass), End::Handle(handle)]
                    | [End::Handle(handle), End::Mass(mass)] => Some((index, mass, handle)),
                    _ => None,
                })
                .collect();
        let damped = (0..spec.springs.len()).filter(|&i| spec.springs[i].damping > 0.0).collect();
        let coordinate_masses =
            spec.masses.iter().flat_map(|&mass| std::iter::repeat_n(mass, d)).collect();
        let pattern = Pattern::new(spec.masses.len(), d, &edges);
        Self { spec, pattern, coordinate_masses, damped, handled }
    }

    /// Coordinates of the masses, n.
    pub(super) fn n(&self) -> usize {
        self.coordinate_masses.len()
    }

    /// Coordinates of the handles, P.
    pub(super) fn n_handle_coordinates(&self) -> usize {
        self.spec.dimension * self.spec.n_handles
    }

    pub(super) fn objective(&self) -> Objective {
        Objective {
            c: 0.0,
            target: vec![0.0; self.n()],
            handles: vec![0.0; self.n_handle_coordinates()],
            dashpots: vec![Dashpot { rate: 0.0, length: 0.0 }; self.damped.len()],
        }
    }

    /// Sets the dashpots for a step of length `h` from (x, p).
    pub(super) fn set_dashpots<const D: usize>(
        &self,
        x: &[f64],
        p: &[f64],
        h: f64,
        dashpots: &mut [Dashpot],
    ) {
        for (&index, dashpot) in self.damped.iter().zip(dashpots) {
            let spring = &self.spec.springs[index];
            let length = norm(&spring.vector::<D>(x, p));
            *dashpot = Dashpot { rate: spring.damping / h, length };
        }
    }

    /// All springs with their dashpots.
    fn springs<'a>(
        &'a self,
        dashpots: &'a [Dashpot],
    ) -> impl Iterator<Item = (&'a Spring, Option<Dashpot>)> {
        let mut damped = self.damped.iter().zip(dashpots).peekable();
        self.spec.springs.iter().enumerate().map(move |(index, spring)| {
            (spring, damped.next_if(|(at, _)| **at == index).map(|(_, dashpot)| *dashpot))
        })
    }

    /// All springs as they are stretched at (x, p).
    pub(super) fn stretched<'a, const D: usize>(
        &'a self,
        x: &'a [f64],
        p: &'a [f64],
        dashpots: &'a [Dashpot],
    ) -> impl Iterator<Item = (&'a Spring, Stretched<D>)> {
        self.springs(dashpots).map(move |(spring, dashpot)| {
            (spring, spring.stretched(spring.vector::<D>(x, p), dashpot))
        })
    }

    /// Φ(x).
    pub(super) fn energy<const D: usize>(&self, objective: &Objective, x: &[f64]) -> Energy {
        let gravity: [f64; D] = point(&self.spec.gravity, 0);
        let mut sum = Energy { value: 0.0, size: 0.0 };
        for (i, &mass) in self.spec.masses.iter().enumerate() {
            let (at, target) = (point::<D>(x, i), point::<D>(&objective.target, i));
            let moved: [f64; D] = std::array::from_fn(|k| at[k] - target[k]);
            let inertia = 0.5 * objective.c * mass * dot(&moved, &moved);
            let weight = mass * dot(&gravity, &at);
            sum.value += inertia - weight;
            sum.size += inertia + weight.abs();
        }
        for (spring, dashpot) in self.springs(&objective.dashpots) {
            let energy = spring.energy(norm(&spring.vector::<D>(x, &objective.handles)), dashpot);
            sum.value += energy;
            sum.size += energy;
        }
        sum
    }

    /// Writes the residual ∂Φ/∂x and the matrix A = ∂²Φ/∂x².
    pub(super) fn assemble<const D: usize>(
        &self,
        objective: &Objective,
        x: &[f64],
        residual: &mut [f64],
        matrix: &mut Band,
    ) {
        let gravity: [f64; D] = point(&self.spec.gravity, 0);
        self.add_inertia::<D>(objective.c, matrix);
        for (i, &mass) in self.spec.masses.iter().enumerate() {
            for (k, g) in gravity.iter().enumerate() {
                let at = D * i + k;
                residual[at] = mass * (objective.c * (x[at] - objective.target[at]) - g);
            }
        }
        for (spring, s) in self.stretched::<D>(x, &objective.handles, &objective.dashpots) {
            spring.scatter(s.transverse, &s.w, residual);
            self.add_spring(spring, &s.stiffness(), matrix);
        }
    }

    /// Writes a positive definite matrix near A.
    pub(super) fn assemble_semidefinite<const D: usize>(
        &self,
        objective: &Objective,
        x: &[f64],
        matrix: &mut Band,
    ) {
        self.add_inertia::<D>(objective.c, matrix);
        for (spring, s) in self.stretched::<D>(x, &objective.handles, &objective.dashpots) {
            self.add_spring(spring, &s.semidefinite(), matrix);
        }
    }

    fn add_inertia<const D: usize>(&self, c: f64, matrix: &mut Band) {
        matrix.clear();
        for (&place, mass) in self.pattern.place.iter().zip(&self.spec.masses) {
            matrix.add_diagonal(place, D, c * mass);
        }
    }

    fn add_spring<const D: usize>(&self, spring: &Spring, k: &[[f64; D]; D], matrix: &mut Band) {
        let places = spring.ends.map(|end| match end {
            End::Mass(index) => Some(self.pattern.place[index]),
            End::Handle(_) => None,
        });
        for place in places.into_iter().flatten() {
            matrix.add_block(place, place, 1.0, k);
        }
        if let [Some(a), Some(b)] = places {
            matrix.add_block(a, b, -1.0, k);
        }
    }

    /// Bounds on the rounding errors of an entry of the residual (N) and of Φ (J) at `x`, which
    /// positions that are far from the origin, each rounded by itself, make coarse.
    pub(super) fn rounding<const D: usize>(&self, objective: &Objective, x: &[f64]) -> [f64; 2] {
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let reach = largest(x) + largest(&objective.target) + largest(&objective.handles);
        let heaviest = largest(&self.spec.masses);
        let mut force = heaviest * largest(&self.spec.gravity);
        let mut stiffness = objective.c * heaviest;
        let mut forces = 0.0;
        for ((x, target), mass) in x.iter().zip(&objective.target).zip(&self.coordinate_masses) {
            forces += objective.c * mass * (x - target).abs();
        }
        for (_, s) in self.stretched::<D>(x, &objective.handles, &objective.dashpots) {
            let tension = s.transverse.abs() * s.length;
            force = force.max(tension);
            forces += 2.0 * tension;
            stiffness = stiffness.max(2.0 * (s.axial.abs() + s.transverse.abs()));
        }
        let size = self.energy::<D>(objective, x).size;
        [
            8.0 * f64::EPSILON * (stiffness * reach + force),
            8.0 * f64::EPSILON * (forces * reach + size),
        ]
    }
}
