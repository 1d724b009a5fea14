//! The hopper of DFlex, with the parameters of VG-SAC.

use std::f64::consts::{FRAC_PI_4, PI};

use serde::{Deserialize, Serialize};

use crate::DynamicsError;
use crate::planar::{
    Capsule, ContactKind, ContactParameters, HingeAxis, PlanarDescription, PlanarLink, PlanarTree,
};

/// One leg with a foot under a torso: q = [x, z, θ, thigh, leg, foot], state [q, q̇], actions
/// for the three joints in −1…1 (the model clips). z is relative to the height 1.25 m. Capsules,
/// offsets and limits are those of DFlex's model file (Xu et al., ICLR 2022).
pub type Hopper = PlanarTree<6>;

/// Parameters of a [`Hopper`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopperParameters {
    /// Density of all shapes [kg/m³].
    pub density: f64,
    /// Gravity [m/s²].
    pub gravity: f64,
    /// Added to the diagonal of the mass matrix for every coordinate (kg or kg·m²).
    pub armature: f64,
    /// Damping of the three joints [N·m·s].
    pub joint_damping: f64,
    /// Viscous damping of every coordinate, the root's included [N·s/m or N·m·s].
    pub viscosity: f64,
    /// Stiffness of the joint limits [N·m/rad].
    pub limit_stiffness: f64,
    /// Torque at action 1 [N·m].
    pub strength: f64,
    /// Contact with the ground.
    pub contact: ContactParameters,
    /// Substeps of a control step.
    pub n_substeps: usize,
}

impl HopperParameters {
    /// The nominal model of VG-SAC (Gurumurthy et al., L4DC 2023).
    #[must_use]
    pub fn nominal() -> Self {
        Self {
            density: 1000.0,
            gravity: 9.81,
            armature: 1.0,
            joint_damping: 2.0,
            viscosity: 10.0,
            limit_stiffness: 1000.0,
            strength: 200.0,
            contact: ContactParameters {
                stiffness: 2e4,
                damping: 1e3,
                friction_slope: 1e3,
                friction: 0.9,
                kind: ContactKind::Hard,
                smoothing_depth: 1e-3,
                smoothing_speed: 1e-2,
            },
            n_substeps: 16,
        }
    }

    /// The real plant of VG-SAC: ground five times as stiff, friction and joint damping 20 % lower.
    #[must_use]
    pub fn real() -> Self {
        let nominal = Self::nominal();
        let contact =
            ContactParameters { stiffness: 1e5, damping: 5e3, friction: 0.72, ..nominal.contact };
        Self { joint_damping: 1.6, contact, ..nominal }
    }

    /// The hopper with control steps of `dt` seconds.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a number out of its range.
    pub fn model(&self, dt: f64) -> Result<Hopper, DynamicsError> {
        let along_z = |z, half_length, radius| {
            vec![Capsule { center: [0.0, z], direction: [0.0, 1.0], half_length, radius }]
        };
        let link = |parent, z, limits, capsules| PlanarLink {
            parent,
            offset: [0.0, z],
            axis: HingeAxis::Negative,
            limits,
            stiffness: 0.0,
            damping: self.joint_damping,
            capsules,
        };
        let foot = Capsule {
            center: [0.06, 0.0],
            direction: [1.0, 0.0],
            half_length: 0.195,
            radius: 0.06,
        };
        let bent = [-150.0 * PI / 180.0, 0.0];
        PlanarTree::new(PlanarDescription {
            name: "hopper".to_owned(),
            root_height: 1.25,
            root: along_z(0.0, 0.2, 0.05),
            links: vec![
                link(0, -0.2, bent, along_z(-0.225, 0.225, 0.05)),
                link(1, -0.45, bent, along_z(-0.25, 0.25, 0.04)),
                link(2, -0.5, [-FRAC_PI_4, FRAC_PI_4], vec![foot]),
            ],
            density: self.density,
            gravity: self.gravity,
            armature: self.armature,
            viscosity: self.viscosity,
            limit_stiffness: self.limit_stiffness,
            strength: self.strength,
            contact: self.contact,
            dt,
            n_substeps: self.n_substeps,
        })
    }
}
