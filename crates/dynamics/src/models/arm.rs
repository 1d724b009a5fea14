//! A 7-dof arm: KUKA LBR iiwa 14 R820 with a small tool, as in DVP.

use nalgebra::{Matrix3, Vector3};

use crate::rigid_body::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};

/// One joint of the table: origin, axes, limits of position (rad), torque (N·m) and velocity
/// (rad/s), and the link behind it: mass, centre, xx, yy, zz, yz.
type Row = ([f64; 3], Axes, [f64; 3], f64, [f64; 3], [f64; 4]);

/// How a joint's axes stand in its parent's.
#[derive(Clone, Copy)]
enum Axes {
    Same,
    A,
    B,
    Fourth,
    Fifth,
}

impl Axes {
    fn matrix(self) -> Matrix3<f64> {
        match self {
            Self::Same => Matrix3::identity(),
            Self::A => Matrix3::new(0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0),
            Self::B => Matrix3::new(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            Self::Fourth => Matrix3::new(1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0),
            Self::Fifth => Matrix3::new(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0),
        }
    }
}

#[rustfmt::skip]
const ARM: [Row; 7] = [
    ([0.0, 0.0, 0.1575], Axes::Same, [2.96706, 320.0, 1.48353], 3.94781, [0.0, 0.0, 0.0], [0.00455, 0.00454, 0.00029, -1e-5]),
    ([0.0, 0.0, 0.2025], Axes::A, [2.0944, 320.0, 1.48353], 4.0, [0.0003, 0.059, 0.042], [0.05, 0.018, 0.044, 0.0]),
    ([0.2045, 0.0, 0.0], Axes::B, [2.96706, 176.0, 1.74533], 3.0, [0.0, 0.03, 0.13], [0.08, 0.075, 0.01, 0.0]),
    ([0.0, 0.0, 0.2155], Axes::Fourth, [2.0944, 176.0, 1.309], 2.7, [0.0, 0.067, 0.034], [0.03, 0.01, 0.029, 0.0]),
    ([0.0, 0.1845, 0.0], Axes::Fifth, [2.96706, 110.0, 2.26893], 1.7, [0.0001, 0.021, 0.076], [0.02, 0.018, 0.005, 0.0]),
    ([0.0, -0.0607, 0.2155], Axes::A, [2.0944, 40.0, 2.35619], 1.8, [0.0, 0.0006, 0.0004], [0.005, 0.0036, 0.0047, 0.0]),
    ([0.081, 0.0, 0.0607], Axes::B, [3.05433, 40.0, 2.35619], 0.357, [0.0, 0.0, 0.02319328], [0.00105456, 0.00105456, 0.0010354, 0.0]),
];

/// Height of the tool's point above the last joint (m).
const TOOL: f64 = 0.04;

/// The arm with its tool; the frame `tool` is the point that tasks move. Joints `joint1` …
/// `joint7` turn about their z axes. Without armature.
#[must_use]
pub fn iiwa14() -> RobotDescription {
    let name = |i: usize| if i == 0 { "base".to_owned() } else { format!("link{i}") };
    let mut robot = RobotDescription {
        name: "iiwa14".to_owned(),
        gravity: Vector3::new(0.0, 0.0, -9.81),
        ..RobotDescription::default()
    };
    robot.links.push(LinkDescription { name: name(0), inertial: Inertial::ZERO, line: 0 });
    for (i, (position, axes, [limit, effort, velocity], mass, center, [xx, yy, zz, yz])) in
        ARM.into_iter().enumerate()
    {
        robot.links.push(LinkDescription {
            name: name(i + 1),
            inertial: Inertial {
                mass,
                center: center.into(),
                inertia: Matrix3::new(xx, 0.0, 0.0, 0.0, yy, yz, 0.0, yz, zz),
            },
            line: 0,
        });
        robot.joints.push(JointDescription {
            name: format!("joint{}", i + 1),
            kind: JointKind::Revolute(Vector3::z()),
            parent: name(i),
            child: name(i + 1),
            position: position.into(),
            rotation: axes.matrix(),
            home: vec![0.0],
            properties: JointProperties {
                position_limit: [-limit, limit],
                effort_limit: effort,
                velocity_limit: velocity,
                ..JointProperties::default()
            },
            line: 0,
        });
    }
    robot.links.push(LinkDescription {
        name: "tool".to_owned(),
        inertial: Inertial::ZERO,
        line: 0,
    });
    robot.joints.push(JointDescription {
        name: "tool_joint".to_owned(),
        kind: JointKind::Fixed,
        parent: name(7),
        child: "tool".to_owned(),
        position: Vector3::new(0.0, 0.0, TOOL),
        rotation: Matrix3::identity(),
        home: Vec::new(),
        properties: JointProperties::default(),
        line: 0,
    });
    robot
}
