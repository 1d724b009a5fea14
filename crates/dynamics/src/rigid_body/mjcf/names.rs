//! Names of links and joints, given or made up.

use std::collections::{HashMap, HashSet};

use super::super::error::{RobotFileError, RobotFileProblem as Problem};
use super::super::xml::{Element, excerpt};

/// Names of links and joints, with names for what the file leaves unnamed.
pub(super) struct Names<'a> {
    /// All names of the file, which made-up ones avoid.
    reserved: HashSet<&'a str>,
    /// Names in use, with their lines.
    links: HashMap<String, u32>,
    joints: HashMap<String, u32>,
    made_up: usize,
}

impl<'a> Names<'a> {
    /// With the names of a file reserved.
    pub(super) fn of_file(root: Element<'a, '_>) -> Self {
        let reserved = root.descendants().filter_map(|element| element.attribute("name")).collect();
        Self { reserved, links: HashMap::new(), joints: HashMap::new(), made_up: 0 }
    }

    /// Takes a name for a link.
    ///
    /// # Errors
    /// If it is in use.
    pub(super) fn link(
        &mut self,
        element: Element<'_, '_>,
        line: u32,
        name: &str,
    ) -> Result<(), RobotFileError> {
        match self.links.insert(name.to_owned(), line) {
            None => Ok(()),
            Some(first) => {
                let name = excerpt(name);
                Err(element.error(Problem::Duplicate { what: "body", name, first }))
            }
        }
    }

    /// Name of a body, which may be made up.
    pub(super) fn body(&mut self, body: Element<'_, '_>) -> Result<String, RobotFileError> {
        match body.attribute("name").filter(|name| !name.is_empty()) {
            Some(name) => {
                self.link(body, body.line(), name)?;
                Ok(name.to_owned())
            }
            None => Ok(self.unused_link("body")),
        }
    }

    /// A name for a link that nothing else has.
    pub(super) fn unused_link(&mut self, wish: &str) -> String {
        let name = self.unused(wish, |names| &names.links);
        self.links.insert(name.clone(), 0);
        name
    }

    /// Name of a joint, empty if it has none.
    pub(super) fn joint(
        &mut self,
        joint: Element<'_, '_>,
        body: &str,
    ) -> Result<String, RobotFileError> {
        let Some(name) = joint.attribute("name").filter(|name| !name.is_empty()) else {
            return Ok(String::new());
        };
        if let Some(first) = self.joints.insert(name.to_owned(), joint.line()) {
            let name = format!("{}` of body `{}", excerpt(name), excerpt(body));
            return Err(joint.error(Problem::Duplicate { what: "joint", name, first }));
        }
        Ok(name.to_owned())
    }

    /// A name for a joint of a body that nothing else has.
    pub(super) fn unnamed_joint(&mut self, body: &str) -> String {
        let name = self.unused(&format!("{body}/joint"), |names| &names.joints);
        self.joints.insert(name.clone(), 0);
        name
    }

    /// The wish itself, or with a number behind it that has not been used.
    fn unused(&mut self, wish: &str, used: impl Fn(&Self) -> &HashMap<String, u32>) -> String {
        let free = |names: &Self, name: &str| {
            !names.reserved.contains(name) && !used(names).contains_key(name)
        };
        if free(self, wish) {
            return wish.to_owned();
        }
        loop {
            self.made_up += 1;
            let name = format!("{wish}_{}", self.made_up);
            if free(self, &name) {
                return name;
            }
        }
    }
}
