//! Robots with random topology; used by tests inside and outside the crate.

use dynamics::Stream;
use dynamics::rigid_body::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use nalgebra::{Matrix3, Rotation3, Unit, Vector3};

/// A tree with random topology, joints, axes, placements and inertias.
pub(crate) fn random_tree(n: usize, seed: u64) -> RobotDescription {
    let mut s = Stream::new(seed, "random tree", 0);
    let unit =
        |s: &mut Stream| Unit::new_normalize(Vector3::new(s.normal(), s.normal(), s.normal()));
    let mut robot = RobotDescription {
        name: "random".to_owned(),
        gravity: Vector3::new(0.3, -0.2, -9.81),
        ..RobotDescription::default()
    };
    for i in 0..=n {
        let turn = Rotation3::from_axis_angle(&unit(&mut s), s.uniform(-3.0, 3.0));
        // Sums of two principal moments exceed the third.
        let squares = Vector3::new(s.uniform(0.1, 1.0), s.uniform(0.1, 1.0), s.uniform(0.1, 1.0));
        let moments = Matrix3::from_diagonal(&Vector3::repeat(squares.sum()))
            - Matrix3::from_diagonal(&squares);
        let inertial = Inertial {
            mass: s.uniform(0.2, 3.0),
            center: Vector3::new(s.normal(), s.normal(), s.normal()) * 0.2,
            inertia: turn.matrix() * moments * turn.matrix().transpose() * 0.1,
        };
        robot.links.push(LinkDescription { name: format!("l{i}"), inertial, line: 0 });
        if i == 0 {
            continue;
        }
        let parent = (s.uniform(0.0, 1.0) * i as f64) as usize;
        let axis = unit(&mut s).into_inner();
        let a = axis.cross(&unit(&mut s).into_inner()).normalize();
        let kind = match (s.uniform(0.0, 8.0)) as usize {
            0 | 1 => JointKind::Prismatic(axis),
            2 => JointKind::Spherical,
            3 => JointKind::FreeFlyer,
            4 => JointKind::Planar { a, b: axis.cross(&a), normal: axis },
            5 => JointKind::Fixed,
            _ => JointKind::Revolute(axis),
        };
        let turn = Rotation3::from_axis_angle(&unit(&mut s), s.uniform(-3.0, 3.0));
        robot.joints.push(JointDescription {
            name: format!("j{i}"),
            kind,
            parent: format!("l{parent}"),
            child: format!("l{i}"),
            position: Vector3::new(s.normal(), s.normal(), s.normal()) * 0.4,
            rotation: *turn.matrix(),
            home: kind.neutral(),
            properties: JointProperties::default(),
            line: 0,
        });
    }
    robot
}
