//! Robots from a subset of MJCF, the format of MuJoCo.
//!
//! Read are bodies, joints (hinge, slide, ball, free), inertias given or derived from geoms, default
//! classes, angle units and motors. What has no influence on the motion of rigid bodies (looks,
//! cameras, sites, sensors, solver settings) is passed over. Everything else, down to single
//! attributes, is refused by name, or becomes a warning with [`MjcfOptions::allow_unsupported`].
//!
//! **Frames.** A joint's `pos` need not be the origin of its body. The link of a body has the body's
//! axes, but its origin lies at the anchor of the body's last joint; inertia and child bodies are
//! shifted accordingly. Several joints of a body make a chain, in their order, of links without
//! mass, named `body/joint`. A slide joint has no anchor: its link is at the body's origin.
//!
//! **Positions** are those of MuJoCo: `ref` is the position in which the file draws a hinge or
//! slide joint ([`JointDescription::home`](super::description::JointDescription::home)), and a free
//! joint's position is the pose of its body in the world. The quaternion is (x, y, z, w) here.
//!
//! **Left out.** Geoms make no contacts, which a warning says. Limits, friction loss and damping
//! keep their numbers but not MuJoCo's soft constraints (`solref`, `solimp`, `margin`). Integrator
//! and solver settings say how MuJoCo computes, not what the robot is.

mod attributes;
mod bodies;
mod inertia;
mod motors;
mod names;
mod orientation;

use std::path::Path;

use nalgebra::Vector3;

use self::attributes::Classes;
use super::description::RobotDescription;
use super::error::{RobotFileError, RobotFileProblem as Problem};
use super::xml::{Element, Remarks, XmlFile, excerpt, read_text};

/// MuJoCo's gravity where the file says nothing (m/s²).
const GRAVITY: [f64; 3] = [0.0, 0.0, -9.81];

/// How strictly an MJCF file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MjcfOptions {
    /// Go on without what is not supported, with a warning for each. The robot then moves
    /// differently from what the file describes.
    pub allow_unsupported: bool,
}

/// Reads a robot from an MJCF file. No other file is opened.
///
/// # Errors
/// [`RobotFileError`] with file and line, if the file cannot be read, exceeds a limit, is not valid
/// or uses what is not supported.
pub fn load_mjcf(path: &Path, options: MjcfOptions) -> Result<RobotDescription, RobotFileError> {
    parse_mjcf(path, &read_text(path)?, options)
}

/// Reads a robot from the text of an MJCF file; `name` is used in messages only.
///
/// # Errors
/// As [`load_mjcf`].
pub fn parse_mjcf(
    name: &Path,
    text: &str,
    options: MjcfOptions,
) -> Result<RobotDescription, RobotFileError> {
    read_robot(&XmlFile::parse(name, text)?, options)
}

/// Reads a robot from a parsed file.
pub(super) fn read_robot(
    file: &XmlFile<'_>,
    options: MjcfOptions,
) -> Result<RobotDescription, RobotFileError> {
    let root = file.root();
    if root.tag() != "mujoco" {
        let problem = Problem::Root { found: excerpt(root.tag()), needed: "`mujoco`" };
        return Err(root.error(problem));
    }
    let mut context =
        Context { options, settings: Settings::default(), remarks: Remarks::default() };
    let mut robot = RobotDescription {
        name: root.attribute("model").unwrap_or("robot").to_owned(),
        gravity: Vector3::from(GRAVITY),
        ..RobotDescription::default()
    };
    context.check_attributes(root, &["model"], &[])?;
    // Settings hold for the whole file, wherever they stand in it.
    for compiler in sections(root, "compiler") {
        context.compiler(compiler)?;
    }
    for option in sections(root, "option") {
        context.option(option, &mut robot)?;
    }
    let classes = Classes::read(&mut context, root)?;
    for section in root.children() {
        context.other_section(section)?;
    }
    bodies::read(&mut context, &classes, root, &mut robot)?;
    motors::read(&mut context, &classes, root, &mut robot)?;
    robot.warnings = context.remarks.into_sorted();
    Ok(robot)
}

/// The sections of a name, each of which may occur several times.
fn sections<'a, 'i>(
    root: Element<'a, 'i>,
    tag: &'static str,
) -> impl Iterator<Item = Element<'a, 'i>> {
    root.children().filter(move |section| section.tag() == tag && section.namespace().is_none())
}

/// Where the inertia of a body comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InertiaSource {
    /// From `inertial` alone.
    Given,
    /// From `inertial`, or from geoms where there is none.
    Either,
    /// From geoms, or from `inertial` where there are none.
    Geoms,
}

/// The settings of `compiler`.
struct Settings {
    degrees: bool,
    autolimits: bool,
    inertia: InertiaSource,
    /// Groups of geoms that count for inertia, first and last.
    inertia_groups: [f64; 2],
    /// Axes of `euler`: x, y, z turn with the body, X, Y, Z do not.
    euler_axes: [char; 3],
    total_mass: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            degrees: true,
            autolimits: true,
            inertia: InertiaSource::Either,
            inertia_groups: [0.0, 5.0],
            euler_axes: ['x', 'y', 'z'],
            total_mass: None,
        }
    }
}

/// What every part of the reader needs.
struct Context {
    options: MjcfOptions,
    settings: Settings,
    remarks: Remarks,
}

impl Context {
    /// An angle of the file in radians.
    fn angle(&self, value: f64) -> f64 {
        if self.settings.degrees { value.to_radians() } else { value }
    }

    /// Refuses something by name, or warns if the caller wants to go on without it.
    fn unsupported(
        &mut self,
        element: Element<'_, '_>,
        what: String,
        why: &str,
    ) -> Result<(), RobotFileError> {
        if !self.options.allow_unsupported {
            return Err(element.error(Problem::Unsupported { what, why: why.to_owned() }));
        }
        self.remarks.add(element.line(), format!("{what} is not supported and ignored: {why}"));
        Ok(())
    }

    /// Refuses an element by name.
    fn unsupported_element(&mut self, element: Element<'_, '_>) -> Result<(), RobotFileError> {
        let why = match element.tag() {
            "include" | "attach" | "model" => {
                "no other file is opened; save the compiled model as one file"
            }
            "composite" | "flexcomp" | "replicate" | "frame" => {
                "it stands for other elements; save the compiled model, which spells them out"
            }
            "flex" | "skin" => "bodies are rigid here",
            "plugin" | "instance" => "no foreign code is run",
            "connect" | "weld" | "joint" | "flexvert" | "flexstrain" => {
                "the tree has no constraints between its links"
            }
            "tendon" | "spatial" | "fixed" => "there are no tendons here",
            "pair" => "there are no contacts here",
            "position" | "velocity" | "intvelocity" | "general" | "damper" | "cylinder"
            | "muscle" | "adhesion" | "dcmotor" | "pid" | "orientation" => {
                "only `motor` is, which exerts a torque in proportion to its control"
            }
            _ => "it is not known here",
        };
        self.unsupported(element, format!("`{}`", excerpt(element.tag())), why)
    }

    /// Refuses attributes that are neither read nor known to have no influence.
    fn check_attributes(
        &mut self,
        element: Element<'_, '_>,
        read: &[&str],
        without_influence: &[&str],
    ) -> Result<(), RobotFileError> {
        for (namespace, name, _) in element.attributes() {
            let known = read.contains(&name) || without_influence.contains(&name);
            if namespace.is_some() || !known {
                let what = format!("attribute `{}` of `{}`", excerpt(name), excerpt(element.tag()));
                self.unsupported(element, what, "it is not known here")?;
            }
        }
        Ok(())
    }

    /// Refuses an attribute unless it is absent or has the value that changes nothing.
    fn only(
        &mut self,
        element: Element<'_, '_>,
        attribute: &'static str,
        neutral: &str,
        why: &str,
    ) -> Result<(), RobotFileError> {
        let Some(value) = element.attribute(attribute) else { return Ok(()) };
        let same_number = value.trim().parse::<f64>().ok() == neutral.parse().ok();
        if value == neutral || (same_number && neutral.parse::<f64>().is_ok()) {
            return Ok(());
        }
        let what = format!("`{attribute}=\"{}\"` of `{}`", excerpt(value), excerpt(element.tag()));
        self.unsupported(element, what, why)
    }

    fn compiler(&mut self, compiler: Element<'_, '_>) -> Result<(), RobotFileError> {
        self.check_attributes(
            compiler,
            &[
                "angle",
                "autolimits",
                "inertiafromgeom",
                "inertiagrouprange",
                "eulerseq",
                "settotalmass",
                "coordinate",
                "boundmass",
                "boundinertia",
                "balanceinertia",
                "alignfree",
            ],
            &[
                "assetdir",
                "meshdir",
                "texturedir",
                "strippath",
                "discardvisual",
                "fitaabb",
                "fusestatic",
                "usethread",
                "saveinertial",
                "savecanonical",
                "savecompiled",
                "exactmeshinertia",
                "convexhull",
                "conflict",
                "passthrough",
            ],
        )?;
        if let Some(degrees) = choice(compiler, "angle", &["radian", "degree"])? {
            self.settings.degrees = degrees == 1;
        }
        if let Some(autolimits) = choice(compiler, "autolimits", &["false", "true"])? {
            self.settings.autolimits = autolimits == 1;
        }
        match choice(compiler, "inertiafromgeom", &["false", "auto", "true"])? {
            Some(0) => self.settings.inertia = InertiaSource::Given,
            Some(1) => self.settings.inertia = InertiaSource::Either,
            Some(_) => self.settings.inertia = InertiaSource::Geoms,
            None => {}
        }
        if let Some(groups) = compiler.vector("inertiagrouprange")? {
            self.settings.inertia_groups = groups;
        }
        if let Some(text) = compiler.attribute("eulerseq") {
            let axes: Vec<char> = text.chars().take(4).collect();
            self.settings.euler_axes = <[char; 3]>::try_from(axes)
                .ok()
                .filter(|axes| axes.iter().all(|axis| "xyzXYZ".contains(*axis)))
                .ok_or_else(|| compiler.invalid("eulerseq", "three of x, y, z, X, Y, Z"))?;
        }
        if let Some(mass) = compiler.number("settotalmass")? {
            // The format marks "leave the masses alone" by a negative number.
            self.settings.total_mass = (mass > 0.0).then_some(mass);
        }
        self.only(compiler, "coordinate", "local", "positions are read in the frame of the body")?;
        self.only(compiler, "boundmass", "0", "masses are taken as they are")?;
        self.only(compiler, "boundinertia", "0", "inertias are taken as they are")?;
        self.only(compiler, "balanceinertia", "false", "inertias are taken as they are")?;
        self.only(compiler, "alignfree", "false", "frames are taken as they are")
    }

    fn option(
        &mut self,
        option: Element<'_, '_>,
        robot: &mut RobotDescription,
    ) -> Result<(), RobotFileError> {
        self.check_attributes(
            option,
            &["gravity", "timestep", "density", "viscosity", "actuatorgroupdisable"],
            &[
                "wind",
                "magnetic",
                "integrator",
                "cone",
                "jacobian",
                "solver",
                "iterations",
                "tolerance",
                "ls_iterations",
                "ls_tolerance",
                "noslip_iterations",
                "noslip_tolerance",
                "ccd_iterations",
                "ccd_tolerance",
                "mpr_iterations",
                "mpr_tolerance",
                "sdf_iterations",
                "sdf_initpoints",
                "sleep_tolerance",
                "impratio",
                "apirate",
                "collision",
                "o_margin",
                "o_solref",
                "o_solimp",
                "o_friction",
            ],
        )?;
        if let Some(gravity) = option.vector("gravity")? {
            robot.gravity = Vector3::from(gravity);
        }
        if let Some(step) = option.number("timestep")? {
            if step <= 0.0 {
                return Err(option.invalid("timestep", "a positive time (s)"));
            }
            robot.time_step = Some(step);
        }
        let fluid = "there are no forces of a fluid here";
        self.only(option, "density", "0", fluid)?;
        self.only(option, "viscosity", "0", fluid)?;
        self.only(option, "actuatorgroupdisable", "", "no motor can be switched off")?;
        for flag in option.children() {
            if flag.tag() != "flag" {
                self.unsupported_element(flag)?;
                continue;
            }
            if choice(flag, "gravity", &["enable", "disable"])? == Some(1) {
                robot.gravity = Vector3::zeros();
            }
            for part in [
                "constraint",
                "frictionloss",
                "limit",
                "passive",
                "spring",
                "damper",
                "clampctrl",
                "actuation",
            ] {
                self.only(flag, part, "enable", "no part of the motion can be switched off")?;
            }
        }
        Ok(())
    }

    /// Passes over sections without influence and refuses the others.
    fn other_section(&mut self, section: Element<'_, '_>) -> Result<(), RobotFileError> {
        match section.tag() {
            "compiler" | "option" | "default" | "worldbody" | "actuator" | "size" | "statistic"
            | "visual" | "custom" | "asset" | "sensor" | "keyframe" => Ok(()),
            "contact" | "deformable" => {
                // Skins are looks, and contacts that are excluded are no contacts either way.
                let matters = |part: &Element<'_, '_>| !["exclude", "skin"].contains(&part.tag());
                section.children().filter(matters).try_for_each(|p| self.unsupported_element(p))
            }
            "equality" | "tendon" | "extension" => {
                section.children().try_for_each(|part| self.unsupported_element(part))
            }
            _ => self.unsupported_element(section),
        }
    }
}

/// Index of an attribute's value in a list of words.
fn choice(
    element: Element<'_, '_>,
    attribute: &'static str,
    words: &[&str],
) -> Result<Option<usize>, RobotFileError> {
    let Some(value) = element.attribute(attribute) else { return Ok(None) };
    match words.iter().position(|word| *word == value) {
        Some(idx) => Ok(Some(idx)),
        None => Err(element.invalid(attribute, &format!("one of {}", words.join(", ")))),
    }
}
