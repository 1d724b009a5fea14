//! States of a network: how they are made, and what they hold.

use nalgebra::DVector;

use super::law::norm;
use super::mechanics::point;
use super::model::MassSpring;
use super::network::{NetworkError, check_slice};
use super::scheme::{Scheme, Startup};

/// Energies of a network (J).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Energies {
    /// ½ Σ m |v|².
    pub kinetic: f64,
    /// Σ ψ.
    pub spring: f64,
    /// −Σ m g·x.
    pub gravity: f64,
}

impl Energies {
    /// Their sum.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.kinetic + self.spring + self.gravity
    }
}

impl MassSpring {
    /// A state that starts at positions `x` and velocities `v` of the masses and positions `p` of
    /// the handles, with the history of [`Startup`].
    ///
    /// # Errors
    /// [`NetworkError::Length`], [`NetworkError::Parameter`] for a number that is not finite, and
    /// [`NetworkError::ZeroLength`].
    pub fn state(&self, x: &[f64], v: &[f64], p: &[f64]) -> Result<DVector<f64>, NetworkError> {
        let (layout, h) = (self.layout(), self.integration.dt);
        let (n, spec) = (layout.n, self.spec());
        check_slice("x", x, n)?;
        check_slice("v", v, n)?;
        check_slice("p", p, layout.n_handle_coordinates)?;
        for (index, spring) in spec.springs.iter().enumerate() {
            if spring.rest_length > 0.0 && self.length(index, x, p) == 0.0 {
                return Err(NetworkError::ZeroLength { spring: index });
            }
        }
        let mut state = DVector::zeros(layout.nx());
        let y = state.as_mut_slice();
        y[layout.positions()].copy_from_slice(x);
        y[layout.velocities()].copy_from_slice(v);
        y[layout.handles()].copy_from_slice(p);
        if self.integration.scheme == Scheme::Bdf2
            && self.integration.startup == Startup::SecondOrder
        {
            let a = self.acceleration(x, v, p);
            for i in 0..n {
                y[n + i] = x[i] - h * v[i] + 0.5 * h * h * a[i];
                y[3 * n + i] = v[i] - h * a[i];
            }
        } else {
            y[layout.previous_positions()].copy_from_slice(x);
            y[layout.previous_velocities()].copy_from_slice(v);
        }
        if let Some(flag) = layout.flag() {
            y[flag] = 1.0;
        }
        Ok(state)
    }

    /// −M⁻¹U_x with all damping, the handles being at rest; n entries each [m/s²].
    #[must_use]
    pub fn acceleration(&self, x: &[f64], v: &[f64], p: &[f64]) -> Vec<f64> {
        match self.spec().dimension {
            2 => self.acceleration_in::<2>(x, v, p),
            _ => self.acceleration_in::<3>(x, v, p),
        }
    }

    fn acceleration_in<const D: usize>(&self, x: &[f64], v: &[f64], p: &[f64]) -> Vec<f64> {
        let spec = self.spec();
        let mut a = vec![0.0; x.len()];
        for spring in &spec.springs {
            let s = spring.stretched::<D>(spring.vector(x, p), None);
            spring.scatter(-s.transverse, &s.w, &mut a);
            let rate = super::law::dot(&s.n, &spring.mass_difference(v));
            spring.scatter(-spring.damping * rate, &s.n, &mut a);
        }
        for (i, (a, v)) in a.iter_mut().zip(v).enumerate() {
            *a = *a / self.network.coordinate_masses[i] + spec.gravity[i % D]
                - spec.mass_damping * v;
        }
        a
    }

    /// Length of a spring (m).
    fn length(&self, spring: usize, x: &[f64], p: &[f64]) -> f64 {
        let spring = &self.spec().springs[spring];
        match self.spec().dimension {
            2 => norm(&spring.vector::<2>(x, p)),
            _ => norm(&spring.vector::<3>(x, p)),
        }
    }

    /// The energies of a state.
    #[must_use]
    pub fn energies(&self, state: &DVector<f64>) -> Energies {
        let (layout, spec) = (self.layout(), self.spec());
        let y = state.as_slice();
        let [x, v, p] =
            [layout.positions(), layout.velocities(), layout.handles()].map(|at| &y[at]);
        let masses = &self.network.coordinate_masses;
        let springs = spec.springs.iter().enumerate();
        Energies {
            kinetic: masses.iter().zip(v).map(|(m, v)| 0.5 * m * v * v).sum(),
            spring: springs.map(|(i, s)| s.slopes(self.length(i, x, p)).energy).sum(),
            gravity: -masses
                .iter()
                .zip(x)
                .zip(spec.gravity.iter().cycle())
                .map(|((m, x), g)| m * g * x)
                .sum::<f64>(),
        }
    }

    /// The linear momentum Σ m v of a state [kg·m/s]; the third entry is 0 in the plane.
    #[must_use]
    pub fn momentum(&self, state: &DVector<f64>) -> [f64; 3] {
        let (layout, spec) = (self.layout(), self.spec());
        let v = &state.as_slice()[layout.velocities()];
        let mut sum = [0.0; 3];
        for (mass, v) in spec.masses.iter().zip(v.chunks_exact(spec.dimension)) {
            for (sum, v) in sum.iter_mut().zip(v) {
                *sum += mass * v;
            }
        }
        sum
    }

    /// The angular momentum Σ m x × v about the origin [kg·m²/s]; in the plane only its third entry
    /// differs from 0.
    #[must_use]
    pub fn angular_momentum(&self, state: &DVector<f64>) -> [f64; 3] {
        let (layout, spec) = (self.layout(), self.spec());
        let y = state.as_slice();
        let (x, v) = (&y[layout.positions()], &y[layout.velocities()]);
        let mut sum = [0.0; 3];
        for (i, mass) in spec.masses.iter().enumerate() {
            let in_space = |points| match spec.dimension {
                2 => {
                    let [x, y] = point::<2>(points, i);
                    [x, y, 0.0]
                }
                _ => point::<3>(points, i),
            };
            let (x, v) = (in_space(x), in_space(v));
            for (k, sum) in sum.iter_mut().enumerate() {
                let (i, j) = ((k + 1) % 3, (k + 2) % 3);
                *sum += mass * (x[i] * v[j] - x[j] * v[i]);
            }
        }
        sum
    }
}
