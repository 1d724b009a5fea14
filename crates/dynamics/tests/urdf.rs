//! The URDF loader: frames and inertia by hand, errors and remarks with their lines, and no panic on
//! any input.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::path::Path;

use dynamics::rigid_body::description::{JointKind, RobotDescription};
use dynamics::rigid_body::error::RobotFileError;
use dynamics::rigid_body::load::load_robot;
use dynamics::rigid_body::mjcf::MjcfOptions;
use dynamics::rigid_body::urdf::{load_urdf, parse_urdf};
use nalgebra::{Matrix3, Vector3};
use proptest::prelude::*;

const TWO_LINK: &str = include_str!("data/two_link.urdf");

fn parse(text: &str) -> Result<RobotDescription, RobotFileError> {
    parse_urdf(Path::new("robot.urdf"), text)
}

/// A robot of a fixed and a moved link, the joint of a type and with something in it.
fn one_joint(kind: &str, inside: &str) -> String {
    format!(
        "<robot name='r'>\n<link name='a'/>\n<link name='b'><inertial><mass value='1'/>\n\
         <inertia ixx='1' ixy='0' ixz='0' iyy='1' iyz='0' izz='1'/></inertial></link>\n\
         <joint name='j' type='{kind}'><parent link='a'/><child link='b'/>\n{inside}</joint>\n\
         </robot>"
    )
}

/// A link whose inertial has a mass, an `ixx`, an `izz` and the height of its centre.
fn one_link(mass: &str, ixx: &str, izz: &str, height: &str) -> String {
    format!(
        "<robot name='r'>\n<link name='a'>\n<inertial><origin xyz='0 0 {height}'/>\n\
         <mass value='{mass}'/>\n<inertia ixx='{ixx}' ixy='0' ixz='0' iyy='1' iyz='0' \
         izz='{izz}'/></inertial></link></robot>"
    )
}

fn remarks(text: &str) -> Vec<String> {
    let robot = parse(text).unwrap();
    robot.warnings.iter().map(|remark| format!("{}: {}", remark.line, remark.text)).collect()
}

#[test]
fn two_link_arm_has_turned_frames_and_inertia() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/two_link.urdf");
    let robot = load_urdf(&path).unwrap();
    assert_eq!(load_robot(&path, MjcfOptions::default()).unwrap(), robot);
    assert_eq!(robot.name, "two_link");
    assert_eq!(robot.gravity, Vector3::new(0.0, 0.0, -9.81));
    let names: Vec<_> = robot.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["base", "upper", "lower", "tool"]);
    assert_eq!(robot.links[1].line, 6);

    // Turned by 90° about z, the old x axis points along y: I_xx and I_yy change places, and
    // x = -y_old makes I_xy = -I_xy_old, I_xz = -I_yz_old, I_yz = I_xz_old.
    let upper = robot.links[1].inertial;
    let expected = Matrix3::new(0.2, -0.01, -0.03, -0.01, 0.1, 0.02, -0.03, 0.02, 0.25);
    assert!((upper.inertia - expected).amax() < 1e-15);
    assert_eq!((upper.mass, upper.center), (2.0, Vector3::new(0.0, 0.0, 0.5)));

    let [shoulder, elbow, flange] = &robot.joints[..] else { panic!("three joints") };
    // Rz(90°) Ry(0) Rx(90°): x goes to y, y goes to z, z goes to x.
    let expected = Matrix3::new(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0);
    assert!((shoulder.rotation - expected).amax() < 1e-15);
    assert_eq!(shoulder.position, Vector3::new(1.0, 2.0, 3.0));
    assert_eq!(shoulder.kind, JointKind::Revolute(Vector3::z()));
    let properties = shoulder.properties;
    assert_eq!(properties.position_limit, [-1.0, 2.0]);
    assert_eq!((properties.effort_limit, properties.velocity_limit), (30.0, 4.0));
    assert_eq!((properties.damping, properties.friction), (0.5, 0.25));
    assert_eq!(elbow.kind, JointKind::Revolute(Vector3::x()), "the default axis");
    assert_eq!(elbow.properties.position_limit, [f64::NEG_INFINITY, f64::INFINITY]);
    assert_eq!((flange.kind, flange.home.len()), (JointKind::Fixed, 0));
    let remarks: Vec<_> = robot.warnings.iter().map(|remark| remark.line).collect();
    assert_eq!(remarks, [26], "the axis of length two alone: {:?}", robot.warnings);
}

#[test]
fn floating_and_planar_joints_have_their_layouts() {
    let robot = parse(&one_joint("floating", "")).unwrap();
    assert_eq!(robot.joints[0].kind, JointKind::FreeFlyer);
    assert_eq!(robot.joints[0].home, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let planar = |axis: &str| {
        parse(&one_joint("planar", &format!("<axis xyz='{axis}'/>"))).unwrap().joints[0].kind
    };
    let JointKind::Planar { a, b, normal } = planar("0 0 1") else { panic!("planar") };
    assert_eq!((a, b, normal), (Vector3::x(), Vector3::y(), Vector3::z()));
    let JointKind::Planar { a, b, normal } = planar("0 3 -1") else { panic!("planar") };
    assert_eq!(a, Vector3::x(), "x is perpendicular to the normal");
    assert!((a.cross(&b) - normal).amax() < 1e-15);
}

#[test]
fn quaternion_of_an_origin_is_x_y_z_w() {
    let half = 0.5_f64.sqrt();
    let inside = format!("<origin quat_xyzw='0 0 {half} {half}'/>");
    let robot = parse(&one_joint("fixed", &inside)).unwrap();
    let expected = Matrix3::new(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0);
    assert!((robot.joints[0].rotation - expected).amax() < 1e-15);
}

#[test]
fn errors_name_file_line_and_cause() {
    let link = |name: &str| format!("<link name='{name}'/>\n");
    let joint = |name: &str, parent: &str, child: &str| {
        format!(
            "<joint name='{name}' type='fixed'><parent link='{parent}'/><child link='{child}'/>\
             </joint>\n"
        )
    };
    let robot = |inside: String| format!("<robot name='r'>\n{inside}</robot>");
    let cases: Vec<(String, u32, &str)> = vec![
        ("<robot>\n<link></robot>".into(), 2, "not well-formed XML"),
        ("<!DOCTYPE r [<!ENTITY e 'x'>]>\n<robot/>".into(), 1, "not well-formed XML"),
        ("<sdf/>".into(), 1, "the outermost element is `sdf`, needs `robot`"),
        ("<robot name='r'/>".into(), 1, "the file describes no link"),
        (robot("<link/>".into()), 2, "`link` has no attribute `name`"),
        (robot(link("a") + &link("a")), 3, "the link `a` is defined again; line 2 has the first"),
        (robot(link("a") + &link("b")), 3, "neither is `a` on line 2; a robot has one root"),
        (
            robot(link("a") + &link("b") + &joint("j", "a", "b") + &joint("j", "a", "b")),
            5,
            "the joint `j` is defined again; line 4",
        ),
        (
            robot(link("a") + &link("b") + &joint("j", "a", "b") + &joint("k", "a", "b")),
            5,
            "link `b` is the child of joint `k` and, on line 4, of joint `j`; closed loops",
        ),
        (robot(link("a") + &joint("j", "a", "x")), 3, "`j` names the child link `x`, which"),
        (robot(link("a") + &joint("j", "x", "a")), 3, "`j` names the parent link `x`, which"),
        (robot(link("a") + &joint("j", "a", "a")), 2, "link `a` is part of a circle"),
        (
            robot(
                link("a") + &link("b") + &link("c") + &joint("j", "b", "c") + &joint("k", "c", "b"),
            ),
            3,
            "link `b` is part of a circle of joints",
        ),
        (one_joint("screw", ""), 5, "`type` of `joint` is \"screw\", needs one of revolute"),
        (one_joint("revolute", "<axis xyz='0 0 0'/>"), 6, "\"0 0 0\", needs the direction"),
        (one_joint("revolute", "<axis xyz='1 0'/>"), 6, "\"1 0\", needs 3 finite numbers"),
        (one_joint("fixed", "<origin xyz='1 NaN 0'/>"), 6, "`xyz` of `origin` is \"1 NaN 0\""),
        (one_joint("fixed", "<origin rpy='1 0 inf'/>"), 6, "needs 3 finite numbers"),
        (one_joint("fixed", "<origin xyz='${x} 0 0'/>"), 6, "`${x} 0 0` belongs to xacro"),
        (one_joint("revolute", "<mimic joint='k'/>"), 6, "`mimic` of joint `j` is not supported"),
        (one_joint("revolute", "<dynamics damping='-1'/>"), 6, "a number that is not negative"),
        (one_joint("revolute", "<limit effort='-1'/>"), 6, "a limit that is not negative"),
        (one_link("-1", "1", "1", "0"), 4, "`value` of `mass` is \"-1\", needs a mass"),
        (one_link("nan", "1", "1", "0"), 4, "`value` of `mass` is \"nan\", needs one finite"),
        (one_link("1", "1e400", "1", "0"), 5, "`ixx` of `inertia` is \"1e400\""),
        (robot("<link name='a'><inertial/></link>".into()), 2, "`inertial` has no `mass` in it"),
        (
            "<robot xmlns:xacro='http://ros.org/wiki/xacro'>\n<xacro:include/></robot>".into(),
            2,
            "`xacro:include` belongs to xacro, and templates are not expanded here; run `xacro`",
        ),
        ("<robot>\n<xacro:macro/></robot>".into(), 2, "`xacro:` belongs to xacro"),
    ];
    for (text, line, message) in cases {
        let error = parse(&text).expect_err(message);
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("robot.urdf:{line}: ")), "{shown}\nfrom\n{text}");
        assert!(shown.contains(message), "{shown}\nlacks\n{message}");
        assert_eq!(error.line, Some(line));
    }
}

#[test]
fn implausible_inertia_gives_remarks_with_lines() {
    assert_eq!(remarks(&one_link("1", "1", "1", "0")), [""; 0]);
    let cases = [
        (one_link("1", "-1", "1", "0"), "link `a`: the inertia is not positive definite"),
        (one_link("1", "1", "3", "0"), "no body has this inertia"),
        (one_link("1", "1", "1", "11"), "the centre of mass is 11.000 m away"),
        (one_link("1e-5", "1", "1", "0"), "a radius of gyration of 3.162e2 m"),
        (one_link("0", "1", "1", "0"), "the inertia is not zero but the mass is"),
    ];
    for (text, message) in cases {
        let found = remarks(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("3: ") && found[0].contains(message), "{found:?}");
    }
    // Rounded numbers of a thin plate lie just outside of what a body can have.
    assert_eq!(remarks(&one_link("1", "1", "2.001", "0")), [""; 0]);
}

#[test]
fn moving_links_without_mass_are_noticed() {
    let text = one_joint("continuous", "").replace("value='1'", "value='0'");
    let text = text.replace("ixx='1'", "ixx='0'").replace("yy='1'", "yy='0'");
    let found = remarks(&text.replace("izz='1'", "izz='0'"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("5: link `b`, moved by joint `j`, has no mass: nothing behind"));
}

#[test]
fn limits_that_files_leave_out_do_not_bind() {
    let limit = |inside: &str| {
        let robot = parse(&one_joint("revolute", inside)).unwrap();
        (robot.joints[0].properties.position_limit, robot.warnings.len())
    };
    let free = [f64::NEG_INFINITY, f64::INFINITY];
    assert_eq!(limit(""), (free, 1));
    assert_eq!(limit("<limit effort='1' velocity='1'/>"), (free, 1));
    assert_eq!(limit("<limit lower='1' upper='-1' effort='1' velocity='1'/>"), (free, 1));
    assert_eq!(limit("<limit upper='3' effort='1' velocity='1'/>"), ([0.0, 3.0], 0));
    assert_eq!(
        limit("<limit lower='-inf' upper='2' effort='1' velocity='1'/>"),
        ([free[0], 2.0], 0)
    );
    assert_eq!(limit("<limit lower='1' upper='2'/>"), ([1.0, 2.0], 2));
}

#[test]
fn unknown_elements_and_attributes_give_remarks() {
    let found = remarks(&one_joint("continuous", "<dynamics damping='1' dampign='2'/>\n<spring/>"));
    assert_eq!(
        found,
        [
            "6: attribute `dampign` of `dynamics` is not known and has no effect",
            "7: `spring` in `joint` is not known and has no effect",
        ]
    );
}

#[test]
fn size_depth_and_counts_are_limited() {
    let deep = format!("<robot>{}{}</robot>", "<x>".repeat(100_000), "</x>".repeat(100_000));
    let links: String = (0..5000).map(|idx| format!("<link name='{idx}'/>")).collect();
    let attributes: String = (0..600).map(|idx| format!(" a{idx}='1'")).collect();
    let spaces: String = (0..2000).map(|idx| format!("<x xmlns:a{idx}='{idx}'/>")).collect();
    for (text, message) in [
        (deep, "more than 256 levels of elements"),
        (format!("<robot>{links}</robot>"), "more than 4096 links"),
        (format!("<robot{attributes}/>"), "more than 512 attributes in one element"),
        (format!("<robot>{spaces}</robot>"), "more than 1024 namespace declarations"),
        (format!("<robot>{}</robot>", "<x/>".repeat(600_000)), "more than 500000 elements"),
        (" ".repeat((16 << 20) + 1), "more than 16777216 bytes"),
    ] {
        let shown = parse(&text).unwrap_err().to_string();
        assert!(shown.contains(message), "{shown}");
    }
    let many = format!("<robot><link name='a'/>{}</robot>", "<x/>".repeat(5000));
    let warnings = parse(&many).unwrap().warnings;
    assert_eq!(warnings.len(), 1001);
    assert_eq!(warnings[1000].text, "further remarks are left out");
}

#[test]
fn a_long_chain_of_links_loads() {
    let mut text = String::from("<robot name='chain'><link name='0'/>");
    for idx in 1..4000 {
        text += &format!(
            "<link name='{idx}'/><joint name='{idx}' type='fixed'><parent link='{}'/>\
             <child link='{idx}'/></joint>",
            idx - 1
        );
    }
    assert_eq!(parse(&(text + "</robot>")).unwrap().links.len(), 4000);
}

#[test]
fn only_regular_files_of_text_are_read() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let shown = load_urdf(Path::new(folder)).unwrap_err().to_string();
    assert!(shown.ends_with("this is not a regular file"), "{shown}");
    let shown = load_urdf(&Path::new(folder).join("none.urdf")).unwrap_err().to_string();
    assert!(shown.contains("none.urdf: the file cannot be read"), "{shown}");
}

#[test]
fn messages_repeat_names_in_short_and_without_control_characters() {
    let name = "\u{202e}\u{9b}".to_owned() + &"x".repeat(10_000);
    let text = format!("<robot><link name='{name}'/><link name='{name}'/></robot>");
    let shown = parse(&text).unwrap_err().to_string();
    assert!(shown.len() < 300 && shown.contains("\\u{202e}\\u{9b}xxx"), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_without_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_change_to_a_file_is_refused_or_read_without_panic(
        at in 0..TWO_LINK.len(),
        length in 0..40_usize,
        put in "[<>/='\" a-z0-9.eE+-]{0,12}",
    ) {
        let mut bytes = TWO_LINK.as_bytes().to_vec();
        bytes.splice(at..(at + length).min(TWO_LINK.len()), put.bytes());
        let _ = parse(&String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn any_numbers_give_finite_results(
        numbers in prop::collection::vec(prop::num::f64::ANY, 12),
    ) {
        let n = &numbers;
        let text = format!(
            "<robot><link name='a'><inertial><origin xyz='{} 0 0' rpy='{} {} {}'/><mass \
             value='{}'/><inertia ixx='{}' ixy='{}' ixz='{}' iyy='{}' iyz='{}' izz='{}'/>\
             </inertial></link><link name='b'/><joint name='j' type='planar'><parent link='a'/>\
             <child link='b'/><axis xyz='{} 1 0'/></joint></robot>",
            n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11],
        );
        if let Ok(robot) = parse(&text) {
            prop_assert!(robot.links[0].inertial.inertia.iter().all(|entry| entry.is_finite()));
            let JointKind::Planar { a, b, normal } = robot.joints[0].kind else { panic!("planar") };
            prop_assert!((a.cross(&b) - normal).amax() < 1e-12);
        }
    }
}
