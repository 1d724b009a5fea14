//! What a planar mechanism is made of.

use std::f64::consts::PI;

use super::ContactParameters;
use crate::DynamicsError;

/// A capsule: a cylinder with half a ball at each end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capsule {
    /// Centre in the frame of its body (x, z) (m).
    pub center: [f64; 2],
    /// Unit vector along its axis.
    pub direction: [f64; 2],
    /// Half the length of the cylinder (m).
    pub half_length: f64,
    /// Radius (m).
    pub radius: f64,
}

impl Capsule {
    /// Centres of the two half balls, the one along the direction first.
    #[must_use]
    pub fn ends(&self) -> [[f64; 2]; 2] {
        let Self { center: [x, z], direction: [dx, dz], half_length: l, .. } = *self;
        [[x + l * dx, z + l * dz], [x - l * dx, z - l * dz]]
    }

    /// Mass (kg) of a capsule of the given density [kg/m³].
    #[must_use]
    pub fn mass(&self, density: f64) -> f64 {
        let (ball, cylinder) = self.parts(density);
        ball + cylinder
    }

    /// Moment of inertia [kg·m²] about an axis through the centre, normal to the capsule's own.
    #[must_use]
    pub fn inertia(&self, density: f64) -> f64 {
        let (ball, cylinder) = self.parts(density);
        let (r, length) = (self.radius, 2.0 * self.half_length);
        cylinder * (r * r / 4.0 + length * length / 12.0)
            + ball * (0.4 * r * r + 0.375 * r * length + 0.25 * length * length)
    }

    /// Masses of the two half balls together and of the cylinder.
    fn parts(&self, density: f64) -> (f64, f64) {
        let disc = density * PI * self.radius * self.radius;
        (disc * 4.0 / 3.0 * self.radius, disc * 2.0 * self.half_length)
    }
}

/// About which axis a hinge turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HingeAxis {
    /// The axis of the pitch: a positive angle tips the top towards +x.
    Positive,
    /// The opposite one.
    Negative,
}

impl HingeAxis {
    /// σ = ±1.
    pub(super) fn sign(self) -> f64 {
        match self {
            Self::Positive => 1.0,
            Self::Negative => -1.0,
        }
    }
}

/// A link on an actuated hinge.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanarLink {
    /// The body that carries it: 0 is the root, i the i-th link; comes before this link.
    pub parent: usize,
    /// The hinge in the frame of the parent (x, z) (m).
    pub offset: [f64; 2],
    /// Axis of the hinge.
    pub axis: HingeAxis,
    /// Lower and upper limit of the angle (rad), kept by a spring.
    pub limits: [f64; 2],
    /// Spring that pulls to angle 0 [N·m/rad].
    pub stiffness: f64,
    /// Viscous damping of the hinge [N·m·s].
    pub damping: f64,
    /// Shapes; at least one.
    pub capsules: Vec<Capsule>,
}

/// A planar mechanism with everything that acts on it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanarDescription {
    /// Name used in messages.
    pub name: String,
    /// Height h₀ of the root at z = 0 (m).
    pub root_height: f64,
    /// Shapes of the root; at least one.
    pub root: Vec<Capsule>,
    /// Links in the order of their coordinates q₃, q₄, …; all of them are actuated.
    pub links: Vec<PlanarLink>,
    /// Density of all shapes [kg/m³].
    pub density: f64,
    /// Gravity [m/s²].
    pub gravity: f64,
    /// Added to the diagonal of the mass matrix for every coordinate (kg or kg·m²).
    pub armature: f64,
    /// Viscous damping ν of every coordinate, the root's included [N·s/m or N·m·s].
    pub viscosity: f64,
    /// Stiffness of the joint limits [N·m/rad].
    pub limit_stiffness: f64,
    /// Torque at action 1 [N·m].
    pub strength: f64,
    /// Contact with the ground.
    pub contact: ContactParameters,
    /// Length of a control step (s).
    pub dt: f64,
    /// Substeps of a control step.
    pub n_substeps: usize,
}

/// Mass, centre of mass and moment of inertia about it, of a body made of capsules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PlanarInertia {
    pub(super) mass: f64,
    pub(super) center: [f64; 2],
    pub(super) inertia: f64,
}

impl PlanarInertia {
    pub(super) fn of(capsules: &[Capsule], density: f64) -> Self {
        let mass: f64 = capsules.iter().map(|capsule| capsule.mass(density)).sum();
        let center = [0, 1].map(|axis| {
            capsules.iter().map(|c| c.mass(density) * c.center[axis]).sum::<f64>() / mass
        });
        let about_center = |c: &Capsule| {
            let (dx, dz) = (c.center[0] - center[0], c.center[1] - center[1]);
            c.inertia(density) + c.mass(density) * (dx * dx + dz * dz)
        };
        Self { mass, center, inertia: capsules.iter().map(about_center).sum() }
    }
}

impl PlanarDescription {
    /// Checks every number.
    pub(super) fn check(&self, n_coordinates: usize) -> Result<(), DynamicsError> {
        let found = self.links.len() + 3;
        if found != n_coordinates {
            let (model, what) = (self.name.clone(), "coordinates (3 and one for each link)");
            return Err(DynamicsError::Dimension { model, what, found, needed: n_coordinates });
        }
        let refuse = |parameter, value, needed| {
            Err(DynamicsError::Parameter { model: self.name.clone(), parameter, value, needed })
        };
        let contact = &self.contact;
        for (name, value) in [
            ("density", self.density),
            ("dt", self.dt),
            ("n_substeps", self.n_substeps as f64),
            ("contact.friction_slope", contact.friction_slope),
            ("contact.smoothing_depth", contact.smoothing_depth),
            ("contact.smoothing_speed", contact.smoothing_speed),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(name, value, "positive and finite");
            }
        }
        if self.n_substeps > 10_000 {
            return refuse("n_substeps", self.n_substeps as f64, "at most 10000");
        }
        for (name, value) in [
            ("gravity", self.gravity),
            ("armature", self.armature),
            ("viscosity", self.viscosity),
            ("limit_stiffness", self.limit_stiffness),
            ("strength", self.strength),
            ("contact.stiffness", contact.stiffness),
            ("contact.damping", contact.damping),
            ("contact.friction", contact.friction),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(name, value, "finite and not negative");
            }
        }
        if !self.root_height.is_finite() {
            return refuse("root_height", self.root_height, "finite");
        }
        for (index, link) in self.links.iter().enumerate() {
            if link.parent > index {
                return refuse("parent", link.parent as f64, "a body that comes before the link");
            }
            for (name, value) in [("stiffness", link.stiffness), ("damping", link.damping)] {
                if !(value.is_finite() && value >= 0.0) {
                    return refuse(name, value, "finite and not negative");
                }
            }
            let [lower, upper] = link.limits;
            if lower.is_nan() || upper.is_nan() || lower > upper {
                return refuse("limits", lower, "a lower limit not above the upper one");
            }
            if !link.offset.iter().all(|v| v.is_finite()) {
                return refuse("offset", link.offset[0], "finite");
            }
        }
        let bodies = std::iter::once(&self.root).chain(self.links.iter().map(|l| &l.capsules));
        for capsules in bodies {
            if capsules.is_empty() {
                return refuse("capsules", 0.0, "at least one for each body");
            }
            for c in capsules {
                if !(c.radius.is_finite() && c.radius > 0.0) {
                    return refuse("radius", c.radius, "positive and finite");
                }
                if !(c.half_length.is_finite() && c.half_length >= 0.0) {
                    return refuse("half_length", c.half_length, "finite and not negative");
                }
                let norm = c.direction[0].hypot(c.direction[1]);
                // A unit vector up to rounding of the numbers it was written with.
                if !((norm - 1.0).abs() < 1e-6 && c.center.iter().all(|v| v.is_finite())) {
                    return refuse("direction", norm, "of length 1, with a finite centre");
                }
            }
        }
        Ok(())
    }
}
