//! The tree of bodies and their joints.

use std::collections::HashMap;

use nalgebra::{Matrix3, Rotation3, Unit, UnitQuaternion, Vector3};

use super::super::description::{
    Inertial, JointDescription, JointKind, JointProperties, LinkDescription, RobotDescription,
};
use super::super::error::{RobotFileError, RobotFileProblem as Problem};
use super::super::plausibility;
use super::super::xml::{Element, MAX_COUNT, excerpt};
use super::attributes::{
    Classes, Effective, GEOM_READ, GEOM_WITHOUT_INFLUENCE, JOINT_READ, JOINT_WITHOUT_INFLUENCE,
};
use super::names::Names;
use super::orientation::{self, ORIENTATIONS};
use super::{Context, inertia, sections};

/// Name of the root link, as MuJoCo calls it.
const WORLD: &str = "world";

/// Reads `worldbody` into links and joints. Link 0 is the world; joint i carries link i + 1.
///
/// # Errors
/// If something is wrong or not supported, or if there are too many links.
pub(super) fn read(
    context: &mut Context,
    classes: &Classes<'_>,
    root: Element<'_, '_>,
    robot: &mut RobotDescription,
) -> Result<(), RobotFileError> {
    let mut tree = Tree {
        names: Names::of_file(root),
        context,
        classes,
        robot,
        bodies: Vec::new(),
        open: Vec::new(),
        contact: None,
    };
    let mut worlds = sections(root, "worldbody");
    let line = worlds.next().unwrap_or(root).line();
    tree.names.link(root, line, WORLD)?;
    let inertial = Inertial::ZERO;
    tree.robot.links.push(LinkDescription { name: WORLD.to_owned(), inertial, line });
    for world in sections(root, "worldbody") {
        tree.context.check_attributes(world, &["childclass"], &[])?;
        let class = classes.named(world, "childclass")?.unwrap_or(0);
        tree.contents(world, 0, Vector3::zeros(), class)?;
        while let Some(open) = tree.open.pop() {
            tree.body(&open)?;
        }
    }
    if tree.robot.links.len() == 1 {
        return Err(root.error(Problem::Empty));
    }
    tree.finish()
}

/// A body whose parent has been read.
struct Open<'a, 'i> {
    element: Element<'a, 'i>,
    /// Link of the parent body.
    parent: usize,
    /// Origin of the parent body in that link's frame. Their axes are the same.
    origin: Vector3<f64>,
    /// Default class that holds inside the parent.
    class: usize,
}

/// A link about to be made, with the joint that carries it.
struct Step {
    name: String,
    kind: JointKind,
    position: Vector3<f64>,
    rotation: Matrix3<f64>,
    home: Vec<f64>,
    properties: JointProperties,
    line: u32,
}

struct Tree<'t, 'a, 'i> {
    context: &'t mut Context,
    classes: &'t Classes<'a>,
    robot: &'t mut RobotDescription,
    names: Names<'a>,
    /// Last link of each body and whether the body has joints.
    bodies: Vec<(usize, bool)>,
    /// Bodies still to be read, the next one last.
    open: Vec<Open<'a, 'i>>,
    /// Line of the first geom that would make contact.
    contact: Option<u32>,
}

impl<'a, 'i> Tree<'_, 'a, 'i> {
    fn body(&mut self, open: &Open<'a, 'i>) -> Result<(), RobotFileError> {
        let body = open.element;
        self.context.check_attributes(
            body,
            &[&["name", "childclass", "pos", "mocap", "gravcomp"][..], &ORIENTATIONS].concat(),
            &["user", "simple", "fuse", "sleep"],
        )?;
        self.context.only(body, "mocap", "false", "no body is moved from outside")?;
        self.context.only(body, "gravcomp", "0", "gravity acts on all bodies alike")?;
        let class = self.classes.named(body, "childclass")?.unwrap_or(open.class);
        let name = self.names.body(body)?;
        let position = open.origin + Vector3::from(body.vector("pos")?.unwrap_or_default());
        let rotation = orientation::read(self.context, &Effective::new(body, None))?;

        // The frame that carries the next joint: first that of the parent's link, with the body
        // placed in it, then that of the link before, which has the axes of the body.
        let (mut link, mut position, mut rotation) = (open.parent, position, rotation);
        // Origin of the current link in the frame of the body.
        let mut anchor = Vector3::zeros();
        let joints: Vec<_> = body.children().filter(|child| is_joint(*child)).collect();
        for (idx, &element) in joints.iter().enumerate() {
            let (mut step, next) =
                self.joint(element, class, &name, position - rotation * anchor, rotation)?;
            if step.kind == JointKind::FreeFlyer && (joints.len() > 1 || open.parent != 0) {
                let why = "a free joint is the only one of a body that hangs on the world";
                let found = excerpt(element.tag());
                let problem = Problem::Unsupported { what: format!("`{found}`"), why: why.into() };
                return Err(element.error(problem));
            }
            if step.name.is_empty() {
                step.name = self.names.unnamed_joint(&name);
            }
            let last = idx + 1 == joints.len();
            let child = if last {
                name.clone()
            } else {
                self.names.unused_link(&format!("{name}/{}", step.name))
            };
            link = self.push(element, step, link, child)?;
            (position, rotation, anchor) = (Vector3::zeros(), Matrix3::identity(), next);
        }
        if joints.is_empty() {
            let step = Step {
                name: self.names.unnamed_joint(&name),
                kind: JointKind::Fixed,
                position,
                rotation,
                home: Vec::new(),
                properties: JointProperties::default(),
                line: body.line(),
            };
            link = self.push(body, step, link, name.clone())?;
        }
        let mut inertial = inertia::of_body(self.context, self.classes, class, body)?;
        let line = body.child("inertial").unwrap_or(body).line();
        if inertial.mass > 0.0 || inertial != Inertial::ZERO {
            inertial.center -= anchor;
        }
        for remark in plausibility::remarks(&inertial) {
            self.context.remarks.add(line, format!("body `{}`: {remark}", excerpt(&name)));
        }
        self.robot.links[link].inertial = inertial;
        self.bodies.push((link, !joints.is_empty()));
        self.contents(body, link, -anchor, class)
    }

    /// Adds a link and the joint that carries it.
    fn push(
        &mut self,
        element: Element<'_, '_>,
        step: Step,
        parent: usize,
        child: String,
    ) -> Result<usize, RobotFileError> {
        let finite = step.position.iter().chain(step.rotation.iter()).all(|part| part.is_finite());
        if !finite {
            return Err(element.error(Problem::Overflow { what: "place of a joint" }));
        }
        let link = self.robot.links.len();
        if link >= MAX_COUNT {
            let what = "links (a body has one for each joint)";
            return Err(element.error(Problem::Limit { what, limit: MAX_COUNT }));
        }
        self.robot.joints.push(JointDescription {
            name: step.name,
            kind: step.kind,
            parent: self.robot.links[parent].name.clone(),
            child: child.clone(),
            position: step.position,
            rotation: step.rotation,
            home: step.home,
            properties: step.properties,
            line: step.line,
        });
        self.robot.links.push(LinkDescription {
            name: child,
            inertial: Inertial::ZERO,
            line: step.line,
        });
        Ok(link)
    }

    /// A joint whose body is at `origin` with axes `axes` in the frame of the link before, and the
    /// origin of its link in the frame of the body. A joint without name has an empty one.
    fn joint(
        &mut self,
        element: Element<'a, 'i>,
        class: usize,
        body: &str,
        origin: Vector3<f64>,
        axes: Matrix3<f64>,
    ) -> Result<(Step, Vector3<f64>), RobotFileError> {
        let free = element.tag() == "freejoint";
        let source = if free {
            self.context.check_attributes(element, &["name", "align"], &["group"])?;
            if element.attribute("align") != Some("auto") {
                self.context.only(element, "align", "false", "frames are taken as they are")?;
            }
            // MuJoCo gives this short form no defaults.
            Effective::new(element, None)
        } else {
            self.context.check_attributes(element, &JOINT_READ, &JOINT_WITHOUT_INFLUENCE)?;
            Effective::new(element, Some(&self.classes.of(element, class)?.joint))
        };
        let axis = || {
            let axis = source.vector("axis")?.unwrap_or([0.0, 0.0, 1.0]);
            orientation::direction(Vector3::from(axis))
                .ok_or_else(|| source.invalid("axis", "a direction, which is not zero"))
        };
        let anchor = || source.vector("pos").map(|pos| Vector3::from(pos.unwrap_or_default()));
        let reference = source.number("ref", 0.0)?;
        let kind_name = if free { "free" } else { source.get("type").map_or("hinge", |t| t.0) };
        let mut step = Step {
            name: self.names.joint(element, body)?,
            kind: JointKind::FreeFlyer,
            position: origin,
            rotation: axes,
            home: Vec::new(),
            properties: JointProperties::default(),
            line: element.line(),
        };
        let mut next = Vector3::zeros();
        // At q = ref the body is where the file draws it: the frame that does not move is placed
        // such that moving by ref arrives there.
        match kind_name {
            "hinge" => {
                let (axis, angle) = (axis()?, self.context.angle(reference));
                next = anchor()?;
                step.kind = JointKind::Revolute(axis.into_inner());
                step.position = origin + axes * next;
                step.rotation = axes * turn(&axis, -angle);
                step.home = vec![angle];
            }
            "slide" => {
                let axis = axis()?.into_inner();
                step.kind = JointKind::Prismatic(axis);
                step.position = origin - axes * axis * reference;
                step.home = vec![reference];
            }
            "ball" => {
                next = anchor()?;
                step.kind = JointKind::Spherical;
                step.position = origin + axes * next;
                step.home = step.kind.neutral();
            }
            "free" => {
                // Its position is the pose in the world.
                let turned = Rotation3::from_matrix_unchecked(axes);
                let turned = UnitQuaternion::from_rotation_matrix(&turned);
                step.home = origin.iter().chain(turned.coords.iter()).copied().collect();
                (step.position, step.rotation) = (Vector3::zeros(), Matrix3::identity());
            }
            _ => return Err(source.invalid("type", "one of hinge, slide, ball, free")),
        }
        step.properties = self.properties(&source, kind_name)?;
        Ok((step, next))
    }

    fn properties(
        &mut self,
        source: &Effective<'_, '_, '_>,
        kind: &str,
    ) -> Result<JointProperties, RobotFileError> {
        let element = source.element;
        let scalar = ["hinge", "slide"].contains(&kind);
        // Positions and stiffness of a slide joint are in metres.
        let unit = |value| if kind == "hinge" { self.context.angle(value) } else { value };
        let mut properties = JointProperties {
            damping: source.not_negative("damping", 0.0)?,
            friction: source.not_negative("frictionloss", 0.0)?,
            stiffness: source.not_negative("stiffness", 0.0)?,
            rest: unit(source.number("springref", 0.0)?),
            armature: source.not_negative("armature", 0.0)?,
            ..JointProperties::default()
        };
        let range = match kind {
            // MuJoCo ignores it there.
            "free" => None,
            _ => source.limits(self.context, "range", "limited")?,
        };
        match range {
            Some(range) if scalar => properties.position_limit = range.map(unit),
            Some(_) => {
                let what = "the limit of a ball joint".to_owned();
                self.context.unsupported(
                    element,
                    what,
                    "joints with one axis alone have limits",
                )?;
            }
            None => {}
        }
        match source.limits(self.context, "actuatorfrcrange", "actuatorfrclimited")? {
            Some([lower, upper]) if scalar && lower == -upper => properties.effort_limit = upper,
            Some(_) => {
                let what = "`actuatorfrcrange` with different bounds".to_owned();
                self.context.unsupported(element, what, "an effort limit holds both ways")?;
            }
            None => {}
        }
        if !scalar && properties.stiffness != 0.0 {
            let what = "`stiffness` of a ball or free joint".to_owned();
            self.context.unsupported(element, what, "joints with one axis alone have springs")?;
            properties.stiffness = 0.0;
        }
        if source.vector("springdamper")?.is_some_and(|pair: [f64; 2]| pair != [0.0, 0.0]) {
            let why = "give `stiffness` and `damping` themselves";
            self.context.unsupported(element, "`springdamper`".to_owned(), why)?;
        }
        Ok(properties)
    }

    /// Queues the bodies inside an element and checks what else is in it.
    fn contents(
        &mut self,
        parent: Element<'a, 'i>,
        link: usize,
        origin: Vector3<f64>,
        class: usize,
    ) -> Result<(), RobotFileError> {
        let (mut bodies, mut inertials) = (Vec::new(), 0);
        for element in parent.children() {
            match element.tag() {
                "body" => bodies.push(Open { element, parent: link, origin, class }),
                "geom" => self.geom(element, class)?,
                "inertial" if link != 0 && inertials == 0 => inertials += 1,
                "joint" | "freejoint" if link != 0 => {}
                "site" | "camera" | "light" => {}
                "joint" | "freejoint" | "inertial" => {
                    let what = format!("this `{}`", element.tag());
                    let why = "the world has none, and a body has at most one `inertial`";
                    self.context.unsupported(element, what, why)?;
                }
                _ => self.context.unsupported_element(element)?,
            }
        }
        self.open.extend(bodies.into_iter().rev());
        Ok(())
    }

    /// Checks a geom and notes whether it would make contact.
    fn geom(&mut self, element: Element<'a, 'i>, class: usize) -> Result<(), RobotFileError> {
        self.context.check_attributes(element, &GEOM_READ, &GEOM_WITHOUT_INFLUENCE)?;
        if let Some(inner) = element.children().next() {
            self.context.unsupported_element(inner)?;
        }
        let geom = Effective::new(element, Some(&self.classes.of(element, class)?.geom));
        let touches =
            geom.number("contype", 1.0)? != 0.0 || geom.number("conaffinity", 1.0)? != 0.0;
        if touches && self.contact.is_none() {
            self.contact = Some(element.line());
        }
        Ok(())
    }

    /// Scales the masses if the file says so, and adds what concerns the tree as a whole.
    fn finish(self) -> Result<(), RobotFileError> {
        let Self { context, robot, bodies, contact, .. } = self;
        if let Some(line) = contact {
            context.remarks.add(
                line,
                "geoms make no contacts here: bodies pass through each other and the ground"
                    .to_owned(),
            );
        }
        // What is fixed to a body moves with it. Links stand behind their parents.
        let mut rigid: Vec<f64> = robot.links.iter().map(|link| link.inertial.mass).collect();
        let index: HashMap<&str, usize> =
            robot.links.iter().enumerate().map(|(idx, link)| (link.name.as_str(), idx)).collect();
        for (before, joint) in robot.joints.iter().enumerate().rev() {
            if joint.kind == JointKind::Fixed {
                rigid[index[joint.parent.as_str()]] += rigid[before + 1];
            }
        }
        for (link, moves) in bodies {
            if moves && rigid[link] == 0.0 {
                let link = &robot.links[link];
                let text = format!("body `{}` moves but has no mass", excerpt(&link.name));
                context.remarks.add(link.line, text);
            }
        }
        let Some(total) = context.settings.total_mass else { return Ok(()) };
        let found: f64 = robot.links.iter().map(|link| link.inertial.mass).sum();
        if found > 0.0 {
            for link in &mut robot.links {
                link.inertial.mass *= total / found;
                link.inertial.inertia *= total / found;
            }
        }
        Ok(())
    }
}

fn is_joint(element: Element<'_, '_>) -> bool {
    ["joint", "freejoint"].contains(&element.tag())
}

fn turn(axis: &Unit<Vector3<f64>>, angle: f64) -> Matrix3<f64> {
    Rotation3::from_axis_angle(axis, angle).into_inner()
}
