//! Motors that drive joints.

use std::collections::{HashMap, HashSet};

use super::super::description::{JointKind, MotorDescription, RobotDescription};
use super::super::error::{RobotFileError, RobotFileProblem as Problem};
use super::super::xml::{Element, MAX_COUNT, excerpt};
use super::attributes::{Classes, Effective, MOTOR_READ, MOTOR_WITHOUT_INFLUENCE};
use super::{Context, sections};

/// Attributes by which a motor drives something else than a joint.
const OTHER_TARGETS: [&str; 6] =
    ["jointinparent", "tendon", "slidersite", "cranksite", "site", "body"];

/// Reads the `actuator` sections into [`RobotDescription::motors`].
///
/// # Errors
/// If an actuator is no motor of a hinge or slide joint, or if there are too many.
pub(super) fn read(
    context: &mut Context,
    classes: &Classes<'_>,
    root: Element<'_, '_>,
    robot: &mut RobotDescription,
) -> Result<(), RobotFileError> {
    let joints: HashMap<&str, JointKind> =
        robot.joints.iter().map(|joint| (joint.name.as_str(), joint.kind)).collect();
    let mut motors: Vec<MotorDescription> = Vec::new();
    let elements = || sections(root, "actuator").flat_map(Element::children);
    let given: HashSet<&str> = elements().filter_map(|element| element.attribute("name")).collect();
    let mut lines: HashMap<&str, u32> = HashMap::new();
    let mut made_up = 0;
    for element in elements() {
        if element.tag() != "motor" {
            context.unsupported_element(element)?;
            continue;
        }
        if motors.len() >= MAX_COUNT {
            return Err(element.error(Problem::Limit { what: "motors", limit: MAX_COUNT }));
        }
        let name = match element.attribute("name").filter(|name| !name.is_empty()) {
            Some(name) => {
                if let Some(first) = lines.insert(name, element.line()) {
                    let name = excerpt(name);
                    return Err(element.error(Problem::Duplicate { what: "motor", name, first }));
                }
                name.to_owned()
            }
            None => loop {
                let name = format!("motor_{made_up}");
                made_up += 1;
                if !given.contains(name.as_str()) {
                    break name;
                }
            },
        };
        motors.extend(motor(context, classes, element, &joints, name)?);
    }
    robot.motors = motors;
    Ok(())
}

/// A motor; none if it is not supported and the caller goes on without.
fn motor(
    context: &mut Context,
    classes: &Classes<'_>,
    element: Element<'_, '_>,
    joints: &HashMap<&str, JointKind>,
    name: String,
) -> Result<Option<MotorDescription>, RobotFileError> {
    context.check_attributes(element, &MOTOR_READ, &MOTOR_WITHOUT_INFLUENCE)?;
    let source = Effective::new(element, Some(&classes.of(element, 0)?.motor));
    if let Some(target) = OTHER_TARGETS.iter().find(|name| element.attribute(name).is_some()) {
        context.unsupported(
            element,
            format!("`{target}` of `motor`"),
            "motors drive hinge and slide joints, named by `joint`",
        )?;
        return Ok(None);
    }
    let joint = element.require("joint")?;
    match joints.get(joint) {
        Some(JointKind::Revolute(_) | JointKind::Prismatic(_)) => {}
        Some(_) => {
            let what = format!("a motor on joint `{}`", excerpt(joint));
            context.unsupported(element, what, "motors drive hinge and slide joints")?;
            return Ok(None);
        }
        None => {
            let (name, referrer) = (excerpt(joint), excerpt(&name));
            return Err(element.error(Problem::Unknown { what: "joint", name, referrer }));
        }
    }
    for (attribute, why) in [
        ("damping", "give it to the joint"),
        ("armature", "give it to the joint, times the square of the gear"),
        ("delay", "torques act at once"),
        ("nsample", "torques act at once"),
    ] {
        if source.number(attribute, 0.0)? != 0.0 {
            context.unsupported(element, format!("`{attribute}` of `motor`"), why)?;
        }
    }
    let free = [f64::NEG_INFINITY, f64::INFINITY];
    let control = source.limits(context, "ctrlrange", "ctrllimited")?.unwrap_or(free);
    // The force of a motor is its control, so that a bound of one is a bound of the other.
    let force = source.limits(context, "forcerange", "forcelimited")?.unwrap_or(free);
    let control_range = [control[0].max(force[0]), control[1].min(force[1])];
    if control_range[0] > control_range[1] {
        return Err(source.invalid("forcerange", "a range that overlaps `ctrlrange`"));
    }
    Ok(Some(MotorDescription {
        name,
        joint: joint.to_owned(),
        // The other numbers of a gear are for joints with several axes.
        gear: source.list("gear", 6)?.first().copied().unwrap_or(1.0),
        control_range,
        line: element.line(),
    }))
}
