//! Robots from URDF files: the elements that matter for dynamics.
//!
//! Read are `link` with `inertial` (`origin`, `mass`, `inertia`), and `joint` with `origin`,
//! `parent`, `child`, `axis`, `limit` and `dynamics`. Shapes, materials, sensors, transmissions and
//! what else has no influence on the motion is passed over; an element or attribute that is not
//! known gives a warning. `mimic` is refused, since it ties joints together.
//!
//! **Frames.** `rpy` are angles about the fixed axes x, y, z: R = Rz(yaw) Ry(pitch) Rx(roll). The
//! inertia tensor is turned into the axes of the link.
//!
//! **Planar joints** turn about their `axis` n. The first direction of sliding is the part
//! perpendicular to n of that coordinate axis which encloses the largest angle with n (the first of
//! x, y, z where two are alike); the second is n × a. For n = z these are x and y.
//!
//! **Limits.** Files in use leave out what the format requires. A revolute or prismatic joint
//! without `limit`, without both `lower` and `upper`, or with `lower` above `upper`, moves without
//! end, with a warning; a missing `effort` or `velocity` means no limit, again with a warning.
//! One of `lower` and `upper` alone leaves the other at 0, as the format says. A limit may be
//! infinite.

use std::path::Path;

use nalgebra::{Matrix3, Quaternion, Rotation3, UnitQuaternion, Vector3};

use super::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use super::error::{RobotFileError, RobotFileProblem as Problem};
use super::plausibility;
use super::urdf_tree;
use super::xml::{Element, MAX_COUNT, Remarks, XmlFile, excerpt, read_text};

/// Elements without influence on the motion, wherever they stand.
const WITHOUT_INFLUENCE: [&str; 12] = [
    "visual",
    "collision",
    "collision_checking",
    "contact",
    "material",
    "gazebo",
    "transmission",
    "sensor",
    "safety_controller",
    "calibration",
    "ros2_control",
    "verbose",
];
/// Axes shorter than this have no direction.
const SHORTEST_AXIS: f64 = 1e-9;
/// How far the length of an axis may be from one without a warning.
const AXIS_TOLERANCE: f64 = 1e-3;
/// Standard gravity as URDF tools assume it (m/s²).
const GRAVITY: f64 = 9.81;

/// Reads a robot from a URDF file. No other file is opened.
///
/// # Errors
/// [`RobotFileError`] with file and line, if the file cannot be read, exceeds a limit, is a xacro
/// template or is not a tree of links joined by joints.
pub fn load_urdf(path: &Path) -> Result<RobotDescription, RobotFileError> {
    parse_urdf(path, &read_text(path)?)
}

/// Reads a robot from the text of a URDF file; `name` is used in messages only.
///
/// # Errors
/// As [`load_urdf`].
pub fn parse_urdf(name: &Path, text: &str) -> Result<RobotDescription, RobotFileError> {
    read_robot(&XmlFile::parse(name, text)?)
}

/// Reads a robot from a parsed file.
pub(super) fn read_robot(file: &XmlFile<'_>) -> Result<RobotDescription, RobotFileError> {
    let root = file.root();
    refuse_templates(root)?;
    if root.tag() != "robot" {
        let problem = Problem::Root { found: excerpt(root.tag()), needed: "`robot`" };
        return Err(root.error(problem));
    }
    let mut reader = Reader { remarks: Remarks::default() };
    let (mut links, mut joints) = (Vec::new(), Vec::new());
    for element in root.children() {
        match element.tag() {
            "link" if element.namespace().is_none() => {
                ensure_room(element, links.len(), "links")?;
                links.push(reader.link(element)?);
            }
            "joint" if element.namespace().is_none() => {
                ensure_room(element, joints.len(), "joints")?;
                joints.push(reader.joint(element)?);
            }
            _ => reader.unknown_element(root, element),
        }
    }
    urdf_tree::check(file, &links, &joints, &mut reader.remarks)?;
    Ok(RobotDescription {
        name: root.attribute("name").unwrap_or("robot").to_owned(),
        links,
        joints,
        motors: Vec::new(),
        gravity: Vector3::new(0.0, 0.0, -GRAVITY),
        time_step: None,
        warnings: reader.remarks.into_sorted(),
    })
}

/// Collects remarks while it reads.
struct Reader {
    remarks: Remarks,
}

impl Reader {
    fn warn(&mut self, element: Element<'_, '_>, text: String) {
        self.remarks.add(element.line(), text);
    }

    /// Warns about an element inside `parent`, unless it is known to have no influence.
    fn unknown_element(&mut self, parent: Element<'_, '_>, element: Element<'_, '_>) {
        if element.namespace().is_some() || !WITHOUT_INFLUENCE.contains(&element.tag()) {
            let (tag, parent) = (excerpt(element.tag()), excerpt(parent.tag()));
            self.warn(element, format!("`{tag}` in `{parent}` is not known and has no effect"));
        }
    }

    /// Warns about attributes that are not known.
    fn unknown_attributes(&mut self, element: Element<'_, '_>, known: &[&str]) {
        for (namespace, name, _) in element.attributes() {
            if namespace.is_some() || !known.contains(&name) {
                let (tag, name) = (excerpt(element.tag()), excerpt(name));
                self.warn(
                    element,
                    format!("attribute `{name}` of `{tag}` is not known and has no effect"),
                );
            }
        }
    }

    fn link(&mut self, link: Element<'_, '_>) -> Result<LinkDescription, RobotFileError> {
        let name = link.require("name")?.to_owned();
        let mut inertial = None;
        for element in link.children() {
            match element.tag() {
                "inertial" if element.namespace().is_none() => {
                    refuse_second(element, inertial.is_some(), "inertial")?;
                    inertial = Some(self.inertial(element, &name)?);
                }
                _ => self.unknown_element(link, element),
            }
        }
        let inertial = inertial.unwrap_or(Inertial::ZERO);
        Ok(LinkDescription { name, inertial, line: link.line() })
    }

    fn inertial(
        &mut self,
        element: Element<'_, '_>,
        link: &str,
    ) -> Result<Inertial, RobotFileError> {
        for child in element.children() {
            if !["origin", "mass", "inertia"].contains(&child.tag()) {
                self.unknown_element(element, child);
            }
        }
        let (center, rotation) = self.origin(element)?;
        let mass = needed_child(element, "mass")?;
        self.unknown_attributes(mass, &["value"]);
        let value = mass.number("value")?.ok_or_else(|| mass.missing("value"))?;
        if value < 0.0 {
            return Err(mass.invalid("value", "a mass that is not negative (kg)"));
        }
        let inertia = needed_child(element, "inertia")?;
        self.unknown_attributes(inertia, &["ixx", "ixy", "ixz", "iyy", "iyz", "izz"]);
        let moment = |name| inertia.number(name)?.ok_or_else(|| inertia.missing(name));
        let (xx, xy, xz) = (moment("ixx")?, moment("ixy")?, moment("ixz")?);
        let (yy, yz, zz) = (moment("iyy")?, moment("iyz")?, moment("izz")?);
        let own = Matrix3::new(xx, xy, xz, xy, yy, yz, xz, yz, zz);
        // I_link = R I Rᵀ
        let turned = rotation * own * rotation.transpose();
        if !turned.iter().all(|entry| entry.is_finite()) {
            return Err(inertia.error(Problem::Overflow { what: "inertia" }));
        }
        let inertial = Inertial { mass: value, center, inertia: turned };
        for remark in plausibility::remarks(&inertial) {
            self.warn(element, format!("link `{}`: {remark}", excerpt(link)));
        }
        Ok(inertial)
    }

    /// Place given by the `origin` in an element: position and axes; the identity without one.
    fn origin(
        &mut self,
        parent: Element<'_, '_>,
    ) -> Result<(Vector3<f64>, Matrix3<f64>), RobotFileError> {
        let Some(origin) = parent.child("origin") else {
            return Ok((Vector3::zeros(), Matrix3::identity()));
        };
        self.unknown_attributes(origin, &["xyz", "rpy", "quat_xyzw"]);
        let position = origin.vector("xyz")?.unwrap_or_default();
        let rotation = match (origin.vector("rpy")?, origin.vector("quat_xyzw")?) {
            (None, None) => Matrix3::identity(),
            (Some([roll, pitch, yaw]), None) => {
                Rotation3::from_euler_angles(roll, pitch, yaw).into_inner()
            }
            (None, Some([x, y, z, w])) => {
                UnitQuaternion::try_new(Quaternion::new(w, x, y, z), SHORTEST_AXIS)
                    .ok_or_else(|| origin.invalid("quat_xyzw", "a quaternion that is not zero"))?
                    .to_rotation_matrix()
                    .into_inner()
            }
            (Some(_), Some(_)) => {
                return Err(origin.invalid("quat_xyzw", "to stand alone, or `rpy` in its place"));
            }
        };
        Ok((Vector3::from(position), rotation))
    }

    fn joint(&mut self, joint: Element<'_, '_>) -> Result<JointDescription, RobotFileError> {
        let name = joint.require("name")?.to_owned();
        for element in joint.children() {
            match element.tag() {
                "mimic" => {
                    return Err(element.error(Problem::Unsupported {
                        what: format!("`mimic` of joint `{}`", excerpt(&name)),
                        why: "it ties this joint to another; make the joint `fixed`, or remove \
                              `mimic` if it may move by itself"
                            .to_owned(),
                    }));
                }
                "origin" | "parent" | "child" | "axis" | "limit" | "dynamics" => {}
                _ => self.unknown_element(joint, element),
            }
        }
        let (position, rotation) = self.origin(joint)?;
        let kind = match joint.require("type")? {
            "fixed" => JointKind::Fixed,
            "floating" => JointKind::FreeFlyer,
            "revolute" | "continuous" => JointKind::Revolute(self.axis(joint)?),
            "prismatic" => JointKind::Prismatic(self.axis(joint)?),
            "planar" => planar(self.axis(joint)?),
            _ => {
                return Err(joint.invalid(
                    "type",
                    "one of revolute, continuous, prismatic, fixed, floating, planar",
                ));
            }
        };
        Ok(JointDescription {
            parent: needed_child(joint, "parent")?.require("link")?.to_owned(),
            child: needed_child(joint, "child")?.require("link")?.to_owned(),
            home: kind.neutral(),
            properties: self.properties(joint, &name)?,
            line: joint.line(),
            name,
            kind,
            position,
            rotation,
        })
    }

    /// Unit vector along the axis of a joint.
    fn axis(&mut self, joint: Element<'_, '_>) -> Result<Vector3<f64>, RobotFileError> {
        let Some(element) = joint.child("axis") else { return Ok(Vector3::x()) };
        self.unknown_attributes(element, &["xyz"]);
        let axis = Vector3::from(element.vector("xyz")?.ok_or_else(|| element.missing("xyz"))?);
        let length = axis.norm();
        if !(SHORTEST_AXIS..=f64::MAX).contains(&length) {
            return Err(element.invalid("xyz", "the direction of an axis, which is not zero"));
        }
        if (length - 1.0).abs() > AXIS_TOLERANCE {
            self.warn(element, format!("the axis of length {length:.6} is normalised"));
        }
        Ok(axis / length)
    }

    fn properties(
        &mut self,
        joint: Element<'_, '_>,
        name: &str,
    ) -> Result<JointProperties, RobotFileError> {
        let mut properties = JointProperties::default();
        if let Some(dynamics) = joint.child("dynamics") {
            self.unknown_attributes(dynamics, &["damping", "friction"]);
            properties.damping = not_negative(dynamics, "damping")?.unwrap_or(0.0);
            properties.friction = not_negative(dynamics, "friction")?.unwrap_or(0.0);
        }
        let bounded = matches!(joint.attribute("type"), Some("revolute" | "prismatic"));
        let name = excerpt(name);
        let Some(limit) = joint.child("limit") else {
            if bounded {
                self.warn(joint, format!("joint `{name}` has no `limit`: it moves without end"));
            }
            return Ok(properties);
        };
        self.unknown_attributes(limit, &["lower", "upper", "effort", "velocity"]);
        // The attributes of continuous, fixed, floating and planar joints are optional and their
        // positions are not limited.
        if bounded {
            properties.position_limit = self.position_limit(limit, &name)?;
        }
        for (attribute, value) in
            [("effort", &mut properties.effort_limit), ("velocity", &mut properties.velocity_limit)]
        {
            match limit_number(limit, attribute)? {
                Some(found) if found < 0.0 => {
                    return Err(limit.invalid(attribute, "a limit that is not negative"));
                }
                Some(found) => {
                    if found == 0.0 && bounded {
                        self.warn(limit, format!("joint `{name}` has a limit of {attribute} of 0"));
                    }
                    *value = found;
                }
                None if bounded => self.warn(
                    limit,
                    format!("`limit` of joint `{name}` has no `{attribute}`: taken as unlimited"),
                ),
                None => {}
            }
        }
        Ok(properties)
    }

    fn position_limit(
        &mut self,
        limit: Element<'_, '_>,
        joint: &str,
    ) -> Result<[f64; 2], RobotFileError> {
        let without = [f64::NEG_INFINITY, f64::INFINITY];
        let (lower, upper) = (limit_number(limit, "lower")?, limit_number(limit, "upper")?);
        if lower.is_none() && upper.is_none() {
            let text = format!("`limit` of joint `{joint}` has no `lower` and `upper`: ignored");
            self.warn(limit, text);
            return Ok(without);
        }
        let (lower, upper) = (lower.unwrap_or(0.0), upper.unwrap_or(0.0));
        if lower > upper {
            let text =
                format!("joint `{joint}`: `lower` {lower} is above `upper` {upper}: both ignored");
            self.warn(limit, text);
            return Ok(without);
        }
        if lower == upper {
            self.warn(limit, format!("joint `{joint}` cannot move: its limits are both {lower}"));
        }
        Ok([lower, upper])
    }
}

/// Refuses files in which a macro language is still at work.
fn refuse_templates(root: Element<'_, '_>) -> Result<(), RobotFileError> {
    let xacro = |namespace: Option<&str>| namespace.is_some_and(|uri| uri.contains("xacro"));
    for element in root.descendants() {
        let attribute = element.attributes().find(|(namespace, ..)| xacro(*namespace));
        let name = match attribute {
            Some((_, name, _)) => name,
            None if xacro(element.namespace()) => element.tag(),
            None => continue,
        };
        return Err(element.error(Problem::Unexpanded { found: excerpt(&format!("xacro:{name}")) }));
    }
    Ok(())
}

/// Slides across its normal, in the directions that the documentation of this module states.
fn planar(normal: Vector3<f64>) -> JointKind {
    let mut nearest = 0;
    for axis in 1..3 {
        if normal[axis].abs() < normal[nearest].abs() {
            nearest = axis;
        }
    }
    let mut a = Vector3::zeros();
    a[nearest] = 1.0;
    let a = (a - normal * normal[nearest]).normalize();
    JointKind::Planar { a, b: normal.cross(&a), normal }
}

fn ensure_room(
    element: Element<'_, '_>,
    count: usize,
    what: &'static str,
) -> Result<(), RobotFileError> {
    if count < MAX_COUNT {
        return Ok(());
    }
    Err(element.error(Problem::Limit { what, limit: MAX_COUNT }))
}

fn refuse_second(
    element: Element<'_, '_>,
    seen: bool,
    what: &'static str,
) -> Result<(), RobotFileError> {
    if !seen {
        return Ok(());
    }
    Err(element.error(Problem::Unsupported {
        what: format!("a second `{what}`"),
        why: "merge both into one".to_owned(),
    }))
}

fn needed_child<'a, 'i>(
    parent: Element<'a, 'i>,
    needed: &'static str,
) -> Result<Element<'a, 'i>, RobotFileError> {
    parent.child(needed).ok_or_else(|| {
        let element = excerpt(parent.tag());
        parent.error(Problem::MissingElement { element, needed })
    })
}

fn not_negative(
    element: Element<'_, '_>,
    attribute: &'static str,
) -> Result<Option<f64>, RobotFileError> {
    match element.number(attribute)? {
        Some(value) if value < 0.0 => {
            Err(element.invalid(attribute, "a number that is not negative"))
        }
        value => Ok(value),
    }
}

/// A number that may be infinite, as limits are.
fn limit_number(
    limit: Element<'_, '_>,
    attribute: &'static str,
) -> Result<Option<f64>, RobotFileError> {
    let Some(text) = limit.attribute(attribute) else { return Ok(None) };
    match text.trim().parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok(Some(value)),
        _ => Err(limit.invalid(attribute, "one number, which may be infinite")),
    }
}
