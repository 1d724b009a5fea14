//! A robot as a file describes it: links, joints and what drives them, before it becomes a tree.
//!
//! The loaders ([`crate::rigid_body::urdf`], [`crate::rigid_body::mjcf`]) make one; so can code.
//! Everything is in SI units; frames are placed by rotation matrices (columns are the axes of the
//! inner frame in the outer one) and origins.

use nalgebra::{Matrix3, Vector3};

/// A robot: links joined to a tree whose root is the one link that is no joint's child.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RobotDescription {
    /// Name of the robot.
    pub name: String,
    /// Links in the order of the file.
    pub links: Vec<LinkDescription>,
    /// Joints in the order of the file.
    pub joints: Vec<JointDescription>,
    /// Motors, for files that have them.
    pub motors: Vec<MotorDescription>,
    /// Gravity (m/s²) in the root's frame.
    pub gravity: Vector3<f64>,
    /// Time step (s) that the file proposes, for files that do.
    pub time_step: Option<f64>,
    /// What the loader noticed and the user should know.
    pub warnings: Vec<Remark>,
}

/// Something noticed in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Line of the file, from 1.
    pub line: u32,
    /// What it is about, in words.
    pub text: String,
}

/// A rigid body.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkDescription {
    /// Name, unique among links.
    pub name: String,
    /// Mass, centre and inertia; zero for a link without any.
    pub inertial: Inertial,
    /// Line of the file.
    pub line: u32,
}

/// Mass and its distribution, in the frame of a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inertial {
    /// Mass (kg).
    pub mass: f64,
    /// Centre of mass (m).
    pub center: Vector3<f64>,
    /// Rotational inertia about the centre of mass, along the axes of the link's frame (kg·m²).
    pub inertia: Matrix3<f64>,
}

impl Inertial {
    /// No mass at all.
    pub const ZERO: Self = Self {
        mass: 0.0,
        center: Vector3::new(0.0, 0.0, 0.0),
        inertia: Matrix3::new(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    };
}

/// A joint, seen from its parent link. The child link's frame is the joint's frame.
#[derive(Debug, Clone, PartialEq)]
pub struct JointDescription {
    /// Name, unique among joints.
    pub name: String,
    /// How it moves.
    pub kind: JointKind,
    /// Name of the link it is fixed to.
    pub parent: String,
    /// Name of the link it carries.
    pub child: String,
    /// Origin of the joint's frame in the parent link's frame (m).
    pub position: Vector3<f64>,
    /// Axes of the joint's frame in the parent link's frame, as columns.
    pub rotation: Matrix3<f64>,
    /// Position q (laid out as [`JointKind`] says) in which the file draws the robot. Formats whose
    /// joints may be drawn away from zero make it differ from [`JointKind::neutral`].
    pub home: Vec<f64>,
    /// What acts in it beside motors.
    pub properties: JointProperties,
    /// Line of the file.
    pub line: u32,
}

/// How a joint moves. Axes are unit vectors in the joint's own frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JointKind {
    /// Does not move: the child becomes part of the parent.
    Fixed,
    /// Turns about an axis (q in rad).
    Revolute(Vector3<f64>),
    /// Slides along an axis (q in m).
    Prismatic(Vector3<f64>),
    /// Slides along two axes and turns about the third, in this order: q = (a, b, angle).
    ///
    /// The normal is the third axis; the loader chooses the other two.
    Planar {
        /// First direction of sliding.
        a: Vector3<f64>,
        /// Second direction of sliding.
        b: Vector3<f64>,
        /// Axis of turning, a × b.
        normal: Vector3<f64>,
    },
    /// Turns about any axis: q is a unit quaternion (x, y, z, w), v the angular velocity in the
    /// child's frame.
    Spherical,
    /// Moves freely: q = (x, y, z, qx, qy, qz, qw), v = (linear, angular) velocity in the child's
    /// frame.
    FreeFlyer,
}

impl JointKind {
    /// Position in which the child's frame is the joint's frame.
    #[must_use]
    pub fn neutral(&self) -> Vec<f64> {
        match self {
            Self::Fixed => Vec::new(),
            Self::Revolute(_) | Self::Prismatic(_) => vec![0.0],
            Self::Planar { .. } => vec![0.0; 3],
            Self::Spherical => vec![0.0, 0.0, 0.0, 1.0],
            Self::FreeFlyer => vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        }
    }
}

/// Springs, friction, limits and rotor inertia of a joint. The same numbers hold for each of its
/// degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointProperties {
    /// Smallest and largest position of a joint with one degree of freedom; infinite without limit.
    pub position_limit: [f64; 2],
    /// Largest force or torque a motor may exert (N or N·m); infinite without limit.
    pub effort_limit: f64,
    /// Largest velocity (m/s or rad/s); infinite without limit.
    pub velocity_limit: f64,
    /// Viscous damping (N·s/m or N·m·s).
    pub damping: f64,
    /// Coulomb friction (N or N·m).
    pub friction: f64,
    /// Spring that pulls towards [`Self::rest`] (N/m or N·m/rad).
    pub stiffness: f64,
    /// Position at which the spring is at rest.
    pub rest: f64,
    /// Rotor inertia, added to the diagonal of the mass matrix (kg or kg·m²).
    pub armature: f64,
}

impl Default for JointProperties {
    fn default() -> Self {
        Self {
            position_limit: [f64::NEG_INFINITY, f64::INFINITY],
            effort_limit: f64::INFINITY,
            velocity_limit: f64::INFINITY,
            damping: 0.0,
            friction: 0.0,
            stiffness: 0.0,
            rest: 0.0,
            armature: 0.0,
        }
    }
}

/// A motor that acts on a joint.
#[derive(Debug, Clone, PartialEq)]
pub struct MotorDescription {
    /// Name.
    pub name: String,
    /// Name of the joint it drives.
    pub joint: String,
    /// Torque per unit of control.
    pub gear: f64,
    /// Range of the control.
    pub control_range: [f64; 2],
    /// Line of the file.
    pub line: u32,
}
