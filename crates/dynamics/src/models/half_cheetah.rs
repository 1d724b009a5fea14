//! The half-cheetah of DFlex, with the parameters of VG-SAC.

use serde::{Deserialize, Serialize};

use crate::DynamicsError;
use crate::planar::{
    Capsule, ContactKind, ContactParameters, HingeAxis, PlanarDescription, PlanarLink, PlanarTree,
};

/// Two legs under a horizontal torso with a head:
/// q = [x, z, θ, bthigh, bshin, bfoot, fthigh, fshin, ffoot], state [q, q̇], actions for the six
/// joints in −1…1 (the model clips). z is relative to the height 1 m. Capsules, offsets, springs and
/// limits are those of DFlex's model file (Xu et al., ICLR 2022).
pub type HalfCheetah = PlanarTree<9>;

/// Parameters of a [`HalfCheetah`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfCheetahParameters {
    /// Density of all shapes [kg/m³].
    pub density: f64,
    /// Gravity [m/s²].
    pub gravity: f64,
    /// Added to the diagonal of the mass matrix for every coordinate (kg or kg·m²).
    pub armature: f64,
    /// Factor on the joints' own damping.
    pub joint_damping_scale: f64,
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

impl HalfCheetahParameters {
    /// The nominal model of VG-SAC (Gurumurthy et al., L4DC 2023).
    #[must_use]
    pub fn nominal() -> Self {
        Self {
            density: 1000.0,
            gravity: 9.81,
            armature: 0.1,
            joint_damping_scale: 1.0,
            viscosity: 10.0,
            limit_stiffness: 1000.0,
            strength: 200.0,
            contact: ContactParameters {
                stiffness: 2e4,
                damping: 1e3,
                friction_slope: 1e3,
                friction: 1.0,
                kind: ContactKind::Hard,
                smoothing_depth: 1e-3,
                smoothing_speed: 1e-2,
            },
            n_substeps: 16,
        }
    }

    /// The real plant of VG-SAC as released: ground five times as stiff, friction 30 % lower. The
    /// joints' own damping stands in the model file, so the reduction that the paper describes does
    /// not reach it.
    #[must_use]
    pub fn real() -> Self {
        let nominal = Self::nominal();
        let contact =
            ContactParameters { stiffness: 1e5, damping: 5e3, friction: 0.7, ..nominal.contact };
        Self { contact, ..nominal }
    }

    /// The half-cheetah with control steps of `dt` seconds.
    ///
    /// # Errors
    /// [`DynamicsError::Parameter`] for a number out of its range.
    pub fn model(&self, dt: f64) -> Result<HalfCheetah, DynamicsError> {
        let link = |parent, offset, limits, [stiffness, damping]: [f64; 2], capsule| PlanarLink {
            parent,
            offset,
            axis: HingeAxis::Positive,
            limits,
            stiffness,
            damping: damping * self.joint_damping_scale,
            capsules: vec![capsule],
        };
        let torso =
            Capsule { center: [0.0; 2], direction: [1.0, 0.0], half_length: 0.5, radius: RADIUS };
        PlanarTree::new(PlanarDescription {
            name: "halfcheetah".to_owned(),
            root_height: 1.0,
            root: vec![torso, tilted([0.6, 0.1], 0.87, 0.15)],
            links: vec![
                link(
                    0,
                    [-0.5, 0.0],
                    [-0.52, 1.05],
                    [240.0, 6.0],
                    tilted([0.1, -0.13], -3.8, 0.145),
                ),
                link(
                    1,
                    [0.16, -0.25],
                    [-0.785, 0.785],
                    [180.0, 4.5],
                    tilted([-0.14, -0.07], -2.03, 0.15),
                ),
                link(
                    2,
                    [-0.28, -0.14],
                    [-0.4, 0.785],
                    [120.0, 3.0],
                    tilted([0.03, -0.097], -0.27, 0.094),
                ),
                link(0, [0.5, 0.0], [-1.5, 0.8], [180.0, 4.5], tilted([-0.07, -0.12], 0.52, 0.133)),
                link(
                    4,
                    [-0.14, -0.24],
                    [-1.2, 1.1],
                    [120.0, 3.0],
                    tilted([0.065, -0.09], -0.6, 0.106),
                ),
                link(
                    5,
                    [0.13, -0.18],
                    [-3.1, -0.3],
                    [60.0, 1.5],
                    tilted([0.045, -0.07], -0.6, 0.07),
                ),
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

/// Radius of every capsule (m).
const RADIUS: f64 = 0.046;

/// A capsule whose axis is turned by `angle` out of the upright.
fn tilted(center: [f64; 2], angle: f64, half_length: f64) -> Capsule {
    let (sin, cos) = angle.sin_cos();
    Capsule { center, direction: [sin, cos], half_length, radius: RADIUS }
}
