//! What can be wrong with a robot's file.

use std::path::PathBuf;

use thiserror::Error;

/// A robot's file that cannot be read, with the place where reading stopped.
#[derive(Debug, Error)]
#[error("{}: {problem}", place(file, *line))]
#[non_exhaustive]
pub struct RobotFileError {
    /// The file as the caller named it.
    pub file: PathBuf,
    /// Line from 1; none where the whole file is meant.
    pub line: Option<u32>,
    /// What is wrong there. Boxed, since results with this error are returned by every reader.
    pub problem: Box<RobotFileProblem>,
}

/// What is wrong with a robot's file. Text taken from the file is shortened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RobotFileProblem {
    /// The file could not be read.
    #[error("the file cannot be read: {source}")]
    Read {
        /// What the system said.
        source: std::io::Error,
    },
    /// The path names a folder, a pipe or a device.
    #[error("this is not a regular file")]
    NotAFile,
    /// The file is not UTF-8.
    #[error("the text is not UTF-8; convert the file first")]
    NotText,
    /// A limit for untrusted files is exceeded.
    #[error("the file has more than {limit} {what}; robots this large are refused")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The largest number allowed.
        limit: usize,
    },
    /// The text is not well-formed XML, or it declares a document type.
    #[error("not well-formed XML: {reason}")]
    Xml {
        /// What the parser said.
        reason: String,
    },
    /// The file is a template.
    #[error(
        "`{found}` belongs to xacro, and templates are not expanded here; run `xacro` on the file \
         first and load what it writes"
    )]
    Unexpanded {
        /// Element, attribute or text that gives the template away.
        found: String,
    },
    /// The outermost element is that of another format.
    #[error("the outermost element is `{found}`, needs {needed}")]
    Root {
        /// Its name.
        found: String,
        /// The name it should have.
        needed: &'static str,
    },
    /// An attribute is missing.
    #[error("`{element}` has no attribute `{attribute}`, which it needs")]
    MissingAttribute {
        /// The element.
        element: String,
        /// The attribute.
        attribute: &'static str,
    },
    /// An element is missing.
    #[error("`{element}` has no `{needed}` in it, which it needs")]
    MissingElement {
        /// The element that is incomplete.
        element: String,
        /// What should be in it.
        needed: &'static str,
    },
    /// A value is not of the right form or out of its range.
    #[error("`{attribute}` of `{element}` is \"{found}\", needs {needed}")]
    Value {
        /// The element.
        element: String,
        /// The attribute.
        attribute: String,
        /// What it says.
        found: String,
        /// What it should say, in words.
        needed: String,
    },
    /// A name is used twice.
    #[error("the {what} `{name}` is defined again; line {first} has the first of that name")]
    Duplicate {
        /// Kind of thing.
        what: &'static str,
        /// The name.
        name: String,
        /// Line of the first one.
        first: u32,
    },
    /// Something refers to a name that nothing has.
    #[error("`{referrer}` names the {what} `{name}`, which the file does not define")]
    Unknown {
        /// Kind of thing that is missing.
        what: &'static str,
        /// The name.
        name: String,
        /// Who refers to it.
        referrer: String,
    },
    /// A link hangs on two joints.
    #[error(
        "link `{link}` is the child of joint `{second}` and, on line {first_line}, of joint \
         `{first}`; closed loops are not supported"
    )]
    TwoParents {
        /// The link.
        link: String,
        /// The first joint.
        first: String,
        /// Its line.
        first_line: u32,
        /// The second joint.
        second: String,
    },
    /// Links hang on each other in a circle.
    #[error("link `{link}` is part of a circle of joints and hangs on no root")]
    Cycle {
        /// One link of it.
        link: String,
    },
    /// Two links hang on nothing.
    #[error(
        "link `{second}` is the child of no joint, and neither is `{first}` on line {first_line}; \
         a robot has one root, so join them by a fixed joint"
    )]
    Roots {
        /// The first root.
        first: String,
        /// Its line.
        first_line: u32,
        /// The second root.
        second: String,
    },
    /// The file describes no link.
    #[error("the file describes no link")]
    Empty,
    /// The file asks for something that would change the motion and is not supported.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// Element or attribute, by name.
        what: String,
        /// What is missing or what to do instead.
        why: String,
    },
    /// The numbers are so large that results computed from them overflow.
    #[error("the {what} computed here is not finite; the numbers are too large")]
    Overflow {
        /// What was computed.
        what: &'static str,
    },
}

/// `file:line`, or the file alone.
fn place(file: &std::path::Path, line: Option<u32>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}
