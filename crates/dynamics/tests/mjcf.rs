//! The MJCF loader: shapes by closed formulas, whole files against MuJoCo, refusals with their
//! lines, and no panic on any input.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::collections::HashMap;
use std::f64::consts::PI;
use std::path::Path;

use dynamics::rigid_body::description::{Inertial, JointKind, RobotDescription};
use dynamics::rigid_body::error::RobotFileError;
use dynamics::rigid_body::mjcf::{MjcfOptions, load_mjcf, parse_mjcf};
use nalgebra::{Matrix3, Quaternion, Rotation3, Unit, UnitQuaternion, Vector3};
use proptest::prelude::*;

const HOPPER: &str = include_str!("data/hopper.xml");
const FEATURES: &str = include_str!("data/features.xml");
const STRICT: MjcfOptions = MjcfOptions { allow_unsupported: false };
const LENIENT: MjcfOptions = MjcfOptions { allow_unsupported: true };

fn parse(text: &str) -> Result<RobotDescription, RobotFileError> {
    parse_mjcf(Path::new("robot.xml"), text, STRICT)
}

/// A file with a body around something, and sections before it on the second line.
fn one_body(sections: &str, inside: &str) -> String {
    format!(
        "<mujoco>\n{sections}\n<worldbody><body name='b'>\n{inside}\n</body></worldbody></mujoco>"
    )
}

fn geom(attributes: &str) -> Inertial {
    parse(&one_body("", &format!("<geom {attributes}/>"))).unwrap().links[1].inertial
}

fn diagonal(x: f64, y: f64, z: f64) -> Matrix3<f64> {
    Matrix3::from_diagonal(&Vector3::new(x, y, z))
}

/// Mass, moment across and moment along of a capsule of water, from the cylinder and the halves of a
/// sphere that it is made of.
fn capsule(radius: f64, length: f64) -> (f64, f64, f64) {
    let (r, l) = (radius, length);
    let (m_c, m_h) = (1000.0 * PI * r * r * l, 1000.0 * 4.0 / 3.0 * PI * r.powi(3));
    let across = m_c * (l * l / 12.0 + r * r / 4.0)
        + m_h * (2.0 * r * r / 5.0 + l * l / 4.0 + 3.0 * l * r / 8.0);
    (m_c + m_h, across, m_c * r * r / 2.0 + m_h * 2.0 * r * r / 5.0)
}

fn assert_inertial(found: &Inertial, mass: f64, center: Vector3<f64>, inertia: Matrix3<f64>) {
    assert!((found.mass - mass).abs() < 1e-12 * mass, "{found:?}");
    assert!((found.center - center).amax() < 1e-12, "{found:?}");
    assert!((found.inertia - inertia).amax() < 1e-12 * inertia.amax(), "{found:?}");
}

#[test]
fn shapes_have_the_inertia_of_solids() {
    let origin = Vector3::zeros();
    let m = 4000.0 / 3.0 * PI * 0.008;
    let i = 0.4 * m * 0.04;
    assert_inertial(&geom("size='0.2'"), m, origin, diagonal(i, i, i));
    let i = diagonal(0.25 + 0.16, 0.09 + 0.16, 0.09 + 0.25) / 3.0 * 960.0;
    assert_inertial(&geom("type='box' size='.3 .5 .4' density='2000'"), 960.0, origin, i);
    let i = diagonal(0.25 + 0.16, 0.09 + 0.16, 0.09 + 0.25) / 5.0 * 7.0;
    assert_inertial(&geom("type='ellipsoid' size='.3 .5 .4' mass='7'"), 7.0, origin, i);
    let (m, r, h): (f64, f64, f64) = (2.0, 0.1, 0.6);
    let across = m * (3.0 * r * r + h * h) / 12.0;
    let i = diagonal(across, across, m * r * r / 2.0);
    assert_inertial(&geom("type='cylinder' size='.1 .3' mass='2'"), m, origin, i);
    // From x = 1 to x = 1.5: the long axis is x.
    let (m, across, along) = capsule(0.1, 0.5);
    let i = diagonal(along, across, across);
    let found = geom("type='capsule' size='.1' fromto='1 0 0 1.5 0 0'");
    assert_inertial(&found, m, Vector3::new(1.25, 0.0, 0.0), i);
}

#[test]
fn geoms_merge_by_parallel_axes() {
    let two = "<geom size='.1' mass='1' pos='0 0 1'/><geom size='.1' mass='3' pos='0 0 -1'/>";
    let found = parse(&one_body("", two)).unwrap().links[1].inertial;
    // Centre at -0.5; 1 kg at a distance of 1.5 and 3 kg at 0.5 beside the spheres themselves.
    let own = 4.0 * 0.4 * 0.01;
    let across = own + 2.25 + 0.75;
    let inertia = diagonal(across, across, own);
    assert_inertial(&found, 4.0, Vector3::new(0.0, 0.0, -0.5), inertia);
}

#[test]
fn hopper_has_chains_anchors_defaults_and_capsules() {
    let robot = parse(HOPPER).unwrap();
    let links: Vec<_> = robot.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(links, ["world", "torso/x", "torso/z", "torso", "thigh", "shin"]);
    let joints: Vec<_> = robot.joints.iter().map(|joint| joint.name.as_str()).collect();
    assert_eq!(joints, ["x", "z", "pitch", "hip", "knee"]);
    for (joint, link) in robot.joints.iter().zip(&robot.links[1..]) {
        assert_eq!(joint.child, link.name);
    }
    let [x, z, pitch, hip, knee] = &robot.joints[..] else { panic!("five joints") };
    assert_eq!(x.kind, JointKind::Prismatic(Vector3::x()));
    assert_eq!(x.position, Vector3::new(0.0, 0.0, 1.25), "a slide joint has no anchor");
    // At z = 1.25 the torso is at a height of 1.25, so its joint is on the ground.
    assert_eq!((z.position, &z.home[..]), (Vector3::new(0.0, 0.0, -1.25), &[1.25][..]));
    assert_eq!((pitch.parent.as_str(), pitch.position), ("torso/z", Vector3::zeros()));
    assert_eq!(hip.position, Vector3::new(0.0, 0.0, -0.2));
    // The anchor of the knee is 0.25 above the body at -0.7.
    assert!((knee.position - Vector3::new(0.0, 0.0, -0.45)).amax() < 1e-15);

    // The class sets what it says and inherits the rest.
    assert_eq!((x.properties.damping, x.properties.armature), (0.0, 0.0));
    assert_eq!(x.properties.position_limit, [f64::NEG_INFINITY, f64::INFINITY]);
    assert_eq!(pitch.kind, JointKind::Revolute(Vector3::y()));
    assert_eq!(hip.kind, JointKind::Revolute(-Vector3::y()));
    assert_eq!((hip.properties.damping, hip.properties.armature), (1.0, 0.5));
    assert_eq!(hip.properties.position_limit, [-150.0_f64.to_radians(), 0.0]);
    assert_eq!(knee.properties.position_limit[1], -5.0_f64.to_radians());

    let (m, across, along) = capsule(0.05, 0.4);
    let inertia = diagonal(across, across, along);
    assert_inertial(&robot.links[3].inertial, m, Vector3::zeros(), inertia);
    assert_eq!(robot.links[2].inertial, Inertial::ZERO);
    // The shin's link is at the knee, its centre where the body's origin is.
    let (m, across, along) = capsule(0.04, 0.5);
    let center = Vector3::new(0.0, 0.0, -0.25);
    assert_inertial(&robot.links[5].inertial, m, center, diagonal(across, across, along));

    let motors: Vec<_> = robot
        .motors
        .iter()
        .map(|motor| (motor.name.as_str(), motor.joint.as_str(), motor.gear, motor.control_range))
        .collect();
    let range = [-1.0, 1.0];
    assert_eq!(motors, [("hip_motor", "hip", 200.0, range), ("motor_0", "knee", 100.0, range)]);
    let remarks: Vec<_> = robot.warnings.iter().map(|remark| remark.line).collect();
    assert_eq!(remarks, [13], "contacts alone, once: {:?}", robot.warnings);
}

/// Pose of a joint's child in the joint's frame.
fn motion(kind: JointKind, q: &[f64]) -> (Matrix3<f64>, Vector3<f64>) {
    let turn = |q: &[f64]| {
        let quaternion = Quaternion::new(q[3], q[0], q[1], q[2]);
        UnitQuaternion::new_normalize(quaternion).to_rotation_matrix().into_inner()
    };
    match kind {
        JointKind::Revolute(axis) => {
            let axis = Unit::new_normalize(axis);
            (Rotation3::from_axis_angle(&axis, q[0]).into_inner(), Vector3::zeros())
        }
        JointKind::Prismatic(axis) => (Matrix3::identity(), axis * q[0]),
        JointKind::Spherical => (turn(q), Vector3::zeros()),
        JointKind::FreeFlyer => (turn(&q[3..]), Vector3::new(q[0], q[1], q[2])),
        JointKind::Fixed | JointKind::Planar { .. } => (Matrix3::identity(), Vector3::zeros()),
    }
}

/// Mass, centre of mass in the world, and the entries xx, yy, zz, xy, xz, yz of the inertia about
/// it along the axes of the world, in the pose of `tests/data/features.xml`. From MuJoCo 3.17.0:
/// `body_mass`, `xipos` and `ximat diag(body_inertia) ximatᵀ` after `mj_kinematics`.
const MUJOCO: [(&str, f64, [f64; 3], [f64; 6]); 5] = [
    (
        "cart",
        2.5,
        [0.10295097399881593, 0.23593781084776738, 0.30998826831479837],
        [
            0.03411674722753233,
            0.04118859163454426,
            0.04469466113792444,
            0.0004708841490285018,
            0.00782018801925471,
            0.0048569845822797626,
        ],
    ),
    (
        "upper",
        1.3355130188988713,
        [0.40419363774308015, 0.3157111313130031, 0.056244471780316635],
        [
            0.01985558861946054,
            0.011144508844086085,
            0.01578096703709,
            -0.005824025279948062,
            -0.0024954430343534146,
            -0.006416630995078992,
        ],
    ),
    (
        "body",
        14.137166941154069,
        [0.5113440563937204, 0.4404518908996723, 0.26188486271693606],
        [
            0.2334848538158489,
            0.25802448466291045,
            0.28594757682211913,
            0.029878577091483536,
            0.02889153960727187,
            -0.08588837890958795,
        ],
    ),
    (
        "tip",
        1.5117812968554742,
        [0.636652820432786, 0.5051309318476973, 0.3332377624180023],
        [
            0.005955085062603277,
            0.006202697548625278,
            0.00564541173060946,
            -0.002080574206971548,
            -0.0008134505853614757,
            0.0004584180005835922,
        ],
    ),
    (
        "ball",
        8.377580409572783,
        [1.0, 2.0, 3.0],
        [0.033510321638291124, 0.033510321638291124, 0.033510321638291124, 0.0, 0.0, 0.0],
    ),
];

#[test]
fn every_feature_agrees_with_mujoco() {
    let robot = parse(FEATURES).unwrap();
    assert_eq!(robot.gravity, Vector3::new(0.0, 1.0, -9.0));
    assert_eq!(robot.time_step, Some(0.004));
    let mut poses = HashMap::from([("world", (Matrix3::identity(), Vector3::zeros()))]);
    for joint in &robot.joints {
        let (turn, at) = poses[joint.parent.as_str()];
        let (turn, at) = (turn * joint.rotation, at + turn * joint.position);
        let (turned, moved) = motion(joint.kind, &joint.home);
        poses.insert(&joint.child, (turn * turned, at + turn * moved));
    }
    for (name, mass, center, [xx, yy, zz, xy, xz, yz]) in MUJOCO {
        let link = robot.links.iter().find(|link| link.name == name).unwrap();
        let (turn, at) = poses[name];
        let found = Inertial {
            mass: link.inertial.mass,
            center: at + turn * link.inertial.center,
            inertia: turn * link.inertial.inertia * turn.transpose(),
        };
        let inertia = Matrix3::new(xx, xy, xz, xy, yy, yz, xz, yz, zz);
        assert_inertial(&found, mass, Vector3::from(center), inertia);
    }
    let joint = |name| robot.joints.iter().find(|joint| joint.name == name).unwrap();
    let (rail, swivel) = (joint("rail").properties, joint("swivel").properties);
    assert_eq!((rail.position_limit, rail.stiffness, rail.rest), ([-1.0, 2.0], 3.0, 0.5));
    assert_eq!(swivel.position_limit, [-100.0_f64.to_radians(), 120.0_f64.to_radians()]);
    assert_eq!((swivel.stiffness, swivel.rest), (2.0, -10.0_f64.to_radians()));
    assert_eq!(joint("shoulder").properties.effort_limit, 30.0);
    assert_eq!(joint("shoulder").properties.friction, 0.1);
    let motors: Vec<_> = robot.motors.iter().map(|m| (m.gear, m.control_range)).collect();
    let infinite = [f64::NEG_INFINITY, f64::INFINITY];
    assert_eq!(motors, [(2.0, [-2.0, 3.0]), (7.0, [-0.5, 1.0]), (1.0, infinite)]);
}

#[test]
fn total_mass_scales_mass_and_inertia() {
    let geom = "<geom type='box' size='.1 .2 .3'/>";
    let free = parse(&one_body("", geom)).unwrap().links[1].inertial;
    let scaled = parse(&one_body("<compiler settotalmass='12'/>", geom)).unwrap().links[1].inertial;
    assert_inertial(&scaled, 12.0, free.center, free.inertia * (12.0 / free.mass));
}

#[test]
fn inertia_is_taken_from_where_the_compiler_says() {
    let both = "<inertial pos='0 0 0' mass='3' diaginertia='1 1 1'/><geom size='1' mass='5'/>";
    let mass = |source: &str| {
        let compiler = format!("<compiler inertiafromgeom='{source}'/>");
        parse(&one_body(&compiler, both)).unwrap().links[1].inertial.mass
    };
    assert_eq!((mass("auto"), mass("true"), mass("false")), (3.0, 5.0, 3.0));
    let mesh = "<geom type='mesh' mesh='m'/><inertial pos='0 0 0' mass='3' diaginertia='1 1 1'/>";
    assert_eq!(parse(&one_body("", mesh)).unwrap().links[1].inertial.mass, 3.0);
}

#[test]
fn gravity_can_be_switched_off() {
    let option = "<option><flag gravity='disable'/></option>";
    let robot = parse(&one_body(option, "<geom size='1'/>")).unwrap();
    assert_eq!(robot.gravity, Vector3::zeros());
}

/// Pieces that are refused, with the line and the beginning of what is said.
fn refusals() -> Vec<(String, u32, &'static str)> {
    let ball = "<geom size='1'/>";
    let joint = |inside: &str| one_body("", &format!("<joint {inside}/>{ball}"));
    let section = |inside: &str| one_body(inside, ball);
    let actuator = |inside: &str| {
        one_body(&format!("<actuator>{inside}</actuator>"), "<joint name='j'/><geom size='1'/>")
    };
    vec![
        (section("<include file='/etc/passwd'/>"), 2, "`include` is not supported: no other file"),
        (section("<equality><weld/></equality>"), 2, "`weld` is not supported"),
        (section("<tendon><spatial/></tendon>"), 2, "`spatial` is not supported: there are no"),
        (section("<contact><pair/></contact>"), 2, "`pair` is not supported"),
        (section("<deformable><flex/></deformable>"), 2, "`flex` is not supported"),
        (section("<extension><plugin/></extension>"), 2, "`plugin` is not supported: no foreign"),
        (section("<option density='1.2'/>"), 2, "`density=\"1.2\"` of `option` is not supported"),
        (section("<option viscosity='1'/>"), 2, "`viscosity=\"1\"` of `option`"),
        (section("<option gravitiy='0 0 0'/>"), 2, "attribute `gravitiy` of `option` is not"),
        (section("<option><flag passive='disable'/></option>"), 2, "`passive=\"disable\"` of"),
        (section("<compiler coordinate='global'/>"), 2, "`coordinate=\"global\"` of `compiler`"),
        (section("<compiler balanceinertia='true'/>"), 2, "`balanceinertia=\"true\"`"),
        (section("<compiler boundmass='0.1'/>"), 2, "`boundmass=\"0.1\"`"),
        (section("<default><joint strange='1'/></default>"), 2, "attribute `strange` of `joint`"),
        (one_body("", "<composite/>"), 4, "`composite` is not supported"),
        (one_body("", "<frame/>"), 4, "`frame` is not supported"),
        (one_body("", "<geom type='mesh' mesh='m'/>"), 4, "the inertia of a geom of type `mesh`"),
        (one_body("", "<geom size='1' shellinertia='true'/>"), 4, "`shellinertia` is not"),
        (joint("type='ball' range='0 30'"), 4, "the limit of a ball joint is not supported"),
        (joint("type='ball' stiffness='1'"), 4, "`stiffness` of a ball or free joint is not"),
        (joint("springdamper='1 1'"), 4, "`springdamper` is not supported"),
        (joint("actuatorfrcrange='-1 2'"), 4, "`actuatorfrcrange` with different bounds"),
        (actuator("<position joint='j'/>"), 2, "`position` is not supported: only `motor` is"),
        (actuator("<muscle joint='j'/>"), 2, "`muscle` is not supported"),
        (actuator("<motor tendon='t'/>"), 2, "`tendon` of `motor` is not supported"),
        (actuator("<motor joint='j' armature='1'/>"), 2, "`armature` of `motor` is not"),
    ]
}

#[test]
fn what_is_not_supported_is_refused_by_name_or_becomes_a_remark() {
    for (text, line, message) in refusals() {
        let shown = parse(&text).expect_err(message).to_string();
        let expected = format!("robot.xml:{line}: {message}");
        assert!(shown.starts_with(&expected), "{shown}\nis not\n{expected}");
        let robot = parse_mjcf(Path::new("robot.xml"), &text, LENIENT).unwrap();
        let name = message.split(" is not").next().unwrap();
        let noticed = robot.warnings.iter().any(|r| r.line == line && r.text.starts_with(name));
        assert!(noticed, "{:?}", robot.warnings);
    }
}

#[test]
fn mistakes_are_errors_even_when_unsupported_things_are_allowed() {
    let ball = "<geom size='1'/>";
    let joint = |inside: &str| one_body("", &format!("<joint {inside}/>{ball}"));
    let class = "<default><joint damping='x'/></default>";
    let cases = vec![
        ("<mujocoinclude/>".to_owned(), 1, "the outermost element is `mujocoinclude`, needs"),
        ("<mujoco/>".to_owned(), 1, "the file describes no link"),
        (joint("type='screw'"), 4, "needs one of hinge, slide, ball, free"),
        (joint("axis='0 0 0'"), 4, "needs a direction, which is not zero"),
        (joint("limited='true'"), 4, "needs the smaller number first"),
        (joint("limited='yes'"), 4, "needs true, false or auto"),
        (joint("damping='-1'"), 4, "needs a number that is not negative"),
        (joint("class='none'"), 4, "`joint` names the default class `none`, which"),
        (joint("name='j'/><joint name='j'"), 4, "the joint `j` of body `b` is defined again"),
        (one_body(class, "<joint/>"), 2, "`damping` of `joint` is \"x\", needs one finite"),
        (one_body("<default><default/></default>", ball), 2, "has no attribute `class`"),
        (one_body("", "<body name='b'/>"), 4, "the body `b` is defined again; line 3"),
        (one_body("", "<freejoint/><joint/>"), 4, "a free joint is the only one of a body"),
        (one_body("", "<body>\n<freejoint/></body>"), 5, "a free joint is the only one"),
        (one_body("", "<geom size='0'/>"), 4, "needs 1 positive numbers for a sphere"),
        (one_body("", "<geom type='box' size='1'/>"), 4, "needs 3 positive numbers for a box"),
        (one_body("", "<geom type='blob' size='1'/>"), 4, "needs one of plane, hfield"),
        (one_body("", "<geom size='1' mass='-1'/>"), 4, "needs a number that is not negative"),
        (one_body("", "<geom size='1e200'/>"), 3, "the mass and inertia of geoms computed here"),
        (one_body("", "<geom size='1' quat='0 0 0 0'/>"), 4, "needs a direction"),
        (one_body("", "<geom size='1' quat='1 0 0 0' euler='0 0 0'/>"), 4, "to stand alone"),
        (one_body("", "<inertial pos='0 0 0' mass='1'/>"), 4, "no attribute `diaginertia`"),
        (one_body("", "<inertial mass='1' diaginertia='1 1 1'/>"), 4, "no attribute `pos`"),
        (one_body("<compiler eulerseq='abc'/>", ball), 2, "needs three of x, y, z, X, Y, Z"),
        (one_body("<compiler angle='turns'/>", ball), 2, "needs one of radian, degree"),
        (one_body("<actuator><motor joint='k'/></actuator>", ball), 2, "names the joint `k`"),
        (one_body("<actuator><motor/></actuator>", ball), 2, "no attribute `joint`"),
    ];
    for (text, line, message) in cases {
        let error = parse_mjcf(Path::new("robot.xml"), &text, LENIENT).expect_err(message);
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("robot.xml:{line}: ")), "{shown}\nfrom\n{text}");
        assert!(shown.contains(message), "{shown}\nlacks\n{message}");
    }
}

#[test]
fn bodies_that_move_without_mass_are_noticed() {
    let remark = |inside: &str| parse(&one_body("", inside)).unwrap().warnings;
    let found = remark("<joint/>");
    assert_eq!((found[0].line, found[0].text.as_str()), (4, "body `b` moves but has no mass"));
    assert!(remark("<joint/><body><geom size='1' contype='0' conaffinity='0'/></body>").is_empty());
}

#[test]
fn depth_and_counts_are_limited() {
    let nested = |n: usize| {
        let (open, close) = ("<body><geom size='1'/>".repeat(n), "</body>".repeat(n));
        format!("<mujoco><worldbody>{open}{close}</worldbody></mujoco>")
    };
    assert_eq!(parse(&nested(250)).unwrap().links.len(), 251);
    let classes = |n: usize| {
        let (open, close) = ("<default class='c'>".repeat(n), "</default>".repeat(n));
        format!("<mujoco><default>{open}{close}</default></mujoco>")
    };
    let many: String = (0..5000).map(|_| "<body/>").collect();
    for (text, message) in [
        (nested(50_000), "more than 256 levels of elements"),
        (classes(50_000), "more than 256 levels of elements"),
        (format!("<mujoco><worldbody>{many}</worldbody></mujoco>"), "more than 4096 links"),
        (one_body("", &"<joint/>".repeat(5000)), "more than 4096 links"),
    ] {
        let shown = parse(&text).unwrap_err().to_string();
        assert!(shown.contains(message), "{shown}");
    }
}

#[test]
fn a_file_is_loaded_by_path() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hopper.xml");
    assert_eq!(load_mjcf(&path, STRICT).unwrap(), parse(HOPPER).unwrap());
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_without_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_change_to_a_file_is_refused_or_read_without_panic(
        at in 0..FEATURES.len(),
        length in 0..40_usize,
        put in "[<>/='\" a-z0-9.eE+-]{0,12}",
    ) {
        let mut bytes = FEATURES.as_bytes().to_vec();
        bytes.splice(at..(at + length).min(FEATURES.len()), put.bytes());
        let text = String::from_utf8(bytes).unwrap();
        for options in [STRICT, LENIENT] {
            if let Ok(robot) = parse_mjcf(Path::new("robot.xml"), &text, options) {
                for link in &robot.links {
                    prop_assert!(link.inertial.inertia.iter().all(|entry| entry.is_finite()));
                }
            }
        }
    }
}
