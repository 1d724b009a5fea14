//! Attributes of elements, filled up from default classes.

use std::collections::{BTreeMap, HashMap};

use super::super::error::{RobotFileError, RobotFileProblem as Problem};
use super::super::xml::{Element, MAX_COUNT, excerpt};
use super::{Context, sections};

/// Attributes of `geom` that are read.
pub(super) const GEOM_READ: [&str; 18] = [
    "name",
    "class",
    "type",
    "size",
    "fromto",
    "pos",
    "quat",
    "axisangle",
    "euler",
    "xyaxes",
    "zaxis",
    "mass",
    "density",
    "group",
    "contype",
    "conaffinity",
    "mesh",
    "shellinertia",
];
/// Attributes of `geom` that concern looks, contacts and fluids.
pub(super) const GEOM_WITHOUT_INFLUENCE: [&str; 17] = [
    "condim",
    "friction",
    "margin",
    "gap",
    "solmix",
    "solref",
    "solimp",
    "priority",
    "material",
    "rgba",
    "user",
    "hfield",
    "fitscale",
    "fluidshape",
    "fluidcoef",
    "surfacevel",
    "adhesion",
];
/// Attributes of `joint` that are read.
pub(super) const JOINT_READ: [&str; 16] = [
    "name",
    "class",
    "type",
    "pos",
    "axis",
    "range",
    "limited",
    "ref",
    "springref",
    "stiffness",
    "damping",
    "armature",
    "frictionloss",
    "springdamper",
    "actuatorfrcrange",
    "actuatorfrclimited",
];
/// Attributes of `joint` that concern looks and soft constraints.
pub(super) const JOINT_WITHOUT_INFLUENCE: [&str; 8] = [
    "group",
    "margin",
    "solreflimit",
    "solimplimit",
    "solreffriction",
    "solimpfriction",
    "user",
    "actuatorgravcomp",
];
/// Attributes that every kind of actuator has, and that a default for one kind sets for all.
const ACTUATOR_SHARED: [&str; 9] = [
    "gear",
    "ctrlrange",
    "ctrllimited",
    "forcerange",
    "forcelimited",
    "damping",
    "armature",
    "delay",
    "nsample",
];
/// Attributes of `motor` that are read beside those.
pub(super) const MOTOR_READ: [&str; 19] = [
    "gear",
    "ctrlrange",
    "ctrllimited",
    "forcerange",
    "forcelimited",
    "damping",
    "armature",
    "delay",
    "nsample",
    "name",
    "class",
    "joint",
    "jointinparent",
    "tendon",
    "slidersite",
    "cranksite",
    "site",
    "refsite",
    "body",
];
/// Attributes of `motor` that concern looks and what motors on joints do not use.
pub(super) const MOTOR_WITHOUT_INFLUENCE: [&str; 5] =
    ["group", "user", "lengthrange", "cranklength", "interp"];

/// Values and lines by name.
type Attributes<'a> = BTreeMap<&'a str, (&'a str, u32)>;

/// What a default class says, with everything it inherits.
#[derive(Clone, Default)]
pub(super) struct Class<'a> {
    pub(super) joint: Attributes<'a>,
    pub(super) geom: Attributes<'a>,
    pub(super) motor: Attributes<'a>,
}

/// All default classes of a file.
pub(super) struct Classes<'a> {
    /// The first is that of elements that name no class.
    list: Vec<Class<'a>>,
    /// Index and line by name.
    names: HashMap<&'a str, (usize, u32)>,
}

impl<'a> Classes<'a> {
    /// Reads the `default` sections.
    ///
    /// # Errors
    /// If a class has no name or the name of another, if there are too many, or if one sets an
    /// attribute that is not supported.
    pub(super) fn read(
        context: &mut Context,
        root: Element<'a, '_>,
    ) -> Result<Self, RobotFileError> {
        let mut classes = Self { list: vec![Class::default()], names: HashMap::new() };
        for section in sections(root, "default") {
            let name = section.attribute("class").unwrap_or("main");
            classes.names.entry(name).or_insert((0, section.line()));
            let mut open = vec![(section, 0)];
            while let Some((element, idx)) = open.pop() {
                context.check_attributes(element, &["class"], &[])?;
                // A class inherits all that its parent sets, also what stands behind it.
                for child in element.children().filter(|child| child.tag() != "default") {
                    classes.list[idx].set(context, child)?;
                }
                for child in sections(element, "default") {
                    open.push((child, classes.add(child, idx)?));
                }
            }
        }
        classes.names.entry("main").or_insert((0, root.line()));
        Ok(classes)
    }

    fn add(&mut self, element: Element<'a, '_>, parent: usize) -> Result<usize, RobotFileError> {
        let name = element.require("class")?;
        if self.list.len() >= MAX_COUNT {
            return Err(element.error(Problem::Limit { what: "default classes", limit: MAX_COUNT }));
        }
        let idx = self.list.len();
        if let Some((_, first)) = self.names.insert(name, (idx, element.line())) {
            let name = excerpt(name);
            return Err(element.error(Problem::Duplicate { what: "default class", name, first }));
        }
        self.list.push(self.list[parent].clone());
        Ok(idx)
    }

    /// The class that an attribute (`class` or `childclass`) of an element names, if it has it.
    ///
    /// # Errors
    /// If there is no class of that name.
    pub(super) fn named(
        &self,
        element: Element<'_, '_>,
        attribute: &'static str,
    ) -> Result<Option<usize>, RobotFileError> {
        let Some(name) = element.attribute(attribute) else { return Ok(None) };
        match self.names.get(name) {
            Some((idx, _)) => Ok(Some(*idx)),
            None => Err(element.error(Problem::Unknown {
                what: "default class",
                name: excerpt(name),
                referrer: excerpt(element.tag()),
            })),
        }
    }

    /// The class that holds for an element: its own, else `inherited`.
    ///
    /// # Errors
    /// As [`Self::named`].
    pub(super) fn of(
        &self,
        element: Element<'_, '_>,
        inherited: usize,
    ) -> Result<&Class<'a>, RobotFileError> {
        Ok(&self.list[self.named(element, "class")?.unwrap_or(inherited)])
    }
}

impl<'a> Class<'a> {
    /// Takes over what an element in a `default` says.
    fn set(
        &mut self,
        context: &mut Context,
        element: Element<'a, '_>,
    ) -> Result<(), RobotFileError> {
        let (target, read): (_, &[&str]) = match element.tag() {
            "joint" => {
                context.check_attributes(element, &JOINT_READ, &JOINT_WITHOUT_INFLUENCE)?;
                (&mut self.joint, &JOINT_READ)
            }
            "geom" => {
                context.check_attributes(element, &GEOM_READ, &GEOM_WITHOUT_INFLUENCE)?;
                (&mut self.geom, &GEOM_READ)
            }
            "motor" => {
                context.check_attributes(element, &MOTOR_READ, &MOTOR_WITHOUT_INFLUENCE)?;
                (&mut self.motor, &ACTUATOR_SHARED)
            }
            "general" | "position" | "velocity" | "intvelocity" | "damper" | "cylinder"
            | "muscle" | "adhesion" | "dcmotor" | "pid" | "orientation" => {
                (&mut self.motor, &ACTUATOR_SHARED)
            }
            // They have an effect only where such an element is used, and that is refused there.
            "mesh" | "texture" | "material" | "site" | "camera" | "light" | "pair" | "equality"
            | "tendon" => return Ok(()),
            _ => return context.unsupported_element(element),
        };
        let line = element.line();
        for (_, name, value) in element.attributes().filter(|(space, ..)| space.is_none()) {
            if read.contains(&name) {
                target.insert(name, (value, line));
            }
        }
        Ok(())
    }
}

/// An element seen through its default class.
#[derive(Clone, Copy)]
pub(super) struct Effective<'c, 'a, 'i> {
    pub(super) element: Element<'a, 'i>,
    defaults: Option<&'c Attributes<'a>>,
}

impl<'c, 'a, 'i> Effective<'c, 'a, 'i> {
    /// With the defaults of a class, or without any.
    pub(super) fn new(element: Element<'a, 'i>, defaults: Option<&'c Attributes<'a>>) -> Self {
        Self { element, defaults }
    }

    /// Value of an attribute and the line where it stands.
    pub(super) fn get(&self, name: &str) -> Option<(&'a str, u32)> {
        match self.element.attribute(name) {
            Some(value) => Some((value, self.element.line())),
            None => self.defaults.and_then(|defaults| defaults.get(name)).copied(),
        }
    }

    /// `N` finite numbers, if there is such an attribute.
    pub(super) fn vector<const N: usize>(
        &self,
        name: &str,
    ) -> Result<Option<[f64; N]>, RobotFileError> {
        self.get(name).map(|(text, line)| self.element.parse(name, text, line)).transpose()
    }

    /// One finite number, or `otherwise`.
    pub(super) fn number(&self, name: &str, otherwise: f64) -> Result<f64, RobotFileError> {
        Ok(self.vector::<1>(name)?.map_or(otherwise, |[value]| value))
    }

    /// One number of at least zero, or `otherwise`.
    pub(super) fn not_negative(&self, name: &str, otherwise: f64) -> Result<f64, RobotFileError> {
        let value = self.number(name, otherwise)?;
        if value < 0.0 {
            return Err(self.invalid(name, "a number that is not negative"));
        }
        Ok(value)
    }

    /// Up to `max` finite numbers; fewer may be given.
    pub(super) fn list(&self, name: &str, max: usize) -> Result<Vec<f64>, RobotFileError> {
        let Some((text, line)) = self.get(name) else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        for word in text.split_whitespace() {
            if values.len() == max {
                let needed = format!("at most {max} finite numbers");
                return Err(self.element.value_error(name, text, line, &needed));
            }
            let [value] = self.element.parse(name, word, line)?;
            values.push(value);
        }
        Ok(values)
    }

    /// The range that `range` gives if `limited` is true, or if it is left to the range.
    ///
    /// # Errors
    /// If the range is empty but meant to hold, or there without saying whether it holds.
    pub(super) fn limits(
        &self,
        context: &Context,
        range: &'static str,
        limited: &'static str,
    ) -> Result<Option<[f64; 2]>, RobotFileError> {
        let [lower, upper] = self.vector(range)?.unwrap_or_default();
        match self.get(limited).map_or("auto", |(value, _)| value) {
            "true" if lower < upper => Ok(Some([lower, upper])),
            "true" => Err(self.invalid(range, "the smaller number first, since it is a limit")),
            "false" => Ok(None),
            "auto" if context.settings.autolimits => Ok((lower < upper).then_some([lower, upper])),
            "auto" if lower == 0.0 && upper == 0.0 => Ok(None),
            "auto" => {
                Err(self
                    .invalid(range, &format!("`{limited}` beside it, since `autolimits` is false")))
            }
            _ => Err(self.invalid(limited, "true, false or auto")),
        }
    }

    /// The error that an attribute is wrong, at the line where it stands.
    pub(super) fn invalid(&self, name: &str, needed: &str) -> RobotFileError {
        let (found, line) = self.get(name).unwrap_or(("", self.element.line()));
        self.element.value_error(name, found, line, needed)
    }
}
