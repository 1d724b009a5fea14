//! Robots from files whose format is found out.

use std::path::Path;

use super::description::RobotDescription;
use super::error::{RobotFileError, RobotFileProblem as Problem};
use super::mjcf::{self, MjcfOptions};
use super::urdf;
use super::xml::{XmlFile, excerpt, read_text};

/// Reads a robot from a URDF or MJCF file, told apart by the outermost element, `robot` or
/// `mujoco`. The options concern MJCF alone.
///
/// # Errors
/// [`RobotFileError`] with file and line, as of [`urdf::load_urdf`] and [`mjcf::load_mjcf`], or if
/// the file is neither.
pub fn load_robot(path: &Path, options: MjcfOptions) -> Result<RobotDescription, RobotFileError> {
    let text = read_text(path)?;
    let file = XmlFile::parse(path, &text)?;
    let root = file.root();
    match root.tag() {
        "robot" => urdf::read_robot(&file),
        "mujoco" => mjcf::read_robot(&file, options),
        found => {
            let needed = "`robot` (URDF) or `mujoco` (MJCF)";
            Err(root.error(Problem::Root { found: excerpt(found), needed }))
        }
    }
}
