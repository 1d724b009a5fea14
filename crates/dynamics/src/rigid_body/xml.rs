//! Reading XML that nobody vouches for: limits, positions and numbers.
//!
//! Nothing but the named file is ever opened: no document types, entities or includes. All walks
//! over the document are iterative, so that its depth is bounded by [`MAX_DEPTH`] alone.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};

use super::description::Remark;
use super::error::{RobotFileError, RobotFileProblem as Problem};

/// Largest file that is read (bytes).
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting of elements.
pub(super) const MAX_DEPTH: usize = 256;
/// Largest number of links, of joints, of motors and of default classes.
pub(super) const MAX_COUNT: usize = 4096;
/// Largest number of elements, comments and texts.
const MAX_NODES: u32 = 500_000;
/// Largest number of attributes of one element; the parser compares each with each.
const MAX_ATTRIBUTES: usize = 512;
/// Largest number of namespace declarations; the parser copies those of the parent for each.
const MAX_NAMESPACES: usize = 1024;
/// Largest number of remarks about one file.
const MAX_REMARKS: usize = 1000;
/// Longest piece of the file that is repeated in an error (characters).
const MAX_EXCERPT: usize = 80;

/// The text of a file, at most [`MAX_BYTES`] of UTF-8.
///
/// # Errors
/// If the path names no regular file or reading fails, if it is too large or not UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String, RobotFileError> {
    let error = |line, problem| RobotFileError {
        file: path.to_path_buf(),
        line,
        problem: Box::new(problem),
    };
    let read = |source| error(None, Problem::Read { source });
    let metadata = std::fs::metadata(path).map_err(read)?;
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(error(None, Problem::NotAFile));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, whatever its metadata say.
    let limit = MAX_BYTES as u64 + 1;
    File::open(path).map_err(read)?.take(limit).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() > MAX_BYTES {
        return Err(error(None, Problem::Limit { what: "bytes", limit: MAX_BYTES }));
    }
    String::from_utf8(bytes).map_err(|broken| {
        let good = &broken.as_bytes()[..broken.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        error(Some(line_number(line)), Problem::NotText)
    })
}

/// A parsed file with what is needed to say where something is.
pub(super) struct XmlFile<'i> {
    name: PathBuf,
    document: Document<'i>,
    /// Offset of the first byte of each line. The parser's own positions count from the beginning
    /// of the file each time.
    line_starts: Vec<usize>,
}

impl<'i> XmlFile<'i> {
    /// Parses a text within the limits. `name` is used in messages only.
    ///
    /// # Errors
    /// If a limit is exceeded, or the text is not well-formed or declares a document type.
    pub(super) fn parse(name: &Path, text: &'i str) -> Result<Self, RobotFileError> {
        let error = |line, problem| RobotFileError {
            file: name.to_path_buf(),
            line,
            problem: Box::new(problem),
        };
        let limit = |what, limit| error(None, Problem::Limit { what, limit });
        if text.len() > MAX_BYTES {
            return Err(limit("bytes", MAX_BYTES));
        }
        if text.matches("xmlns").count() > MAX_NAMESPACES {
            return Err(limit("namespace declarations", MAX_NAMESPACES));
        }
        if text.split('<').any(|tag| attributes_at_most(tag) > MAX_ATTRIBUTES) {
            return Err(limit("attributes in one element", MAX_ATTRIBUTES));
        }
        let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
        let document =
            Document::parse_with_options(text, options).map_err(|reason| match reason {
                roxmltree::Error::NodesLimitReached => {
                    limit("elements, comments and texts", MAX_NODES as usize)
                }
                roxmltree::Error::UnknownNamespace(prefix, position) if prefix == "xacro" => {
                    error(Some(position.row), Problem::Unexpanded { found: "xacro:".to_owned() })
                }
                reason => {
                    let line = reason.pos().row;
                    error(Some(line), Problem::Xml { reason: excerpt(&reason.to_string()) })
                }
            })?;
        let line_starts = std::iter::once(0)
            .chain(
                text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1),
            )
            .collect();
        let file = Self { name: name.to_path_buf(), document, line_starts };
        file.check_depth()?;
        Ok(file)
    }

    /// The outermost element.
    pub(super) fn root(&self) -> Element<'_, 'i> {
        Element { node: self.document.root_element(), file: self }
    }

    /// An error about a line of this file.
    pub(super) fn error(&self, line: u32, problem: Problem) -> RobotFileError {
        RobotFileError { file: self.name.clone(), line: Some(line), problem: Box::new(problem) }
    }

    fn line_at(&self, offset: usize) -> u32 {
        line_number(self.line_starts.partition_point(|start| *start <= offset))
    }

    /// Walks the document in its order, first child before next sibling.
    fn check_depth(&self) -> Result<(), RobotFileError> {
        let mut node = self.document.root_element();
        let mut depth = 1;
        loop {
            if depth > MAX_DEPTH {
                let line = self.line_at(node.range().start);
                let problem = Problem::Limit { what: "levels of elements", limit: MAX_DEPTH };
                return Err(self.error(line, problem));
            }
            if let Some(child) = node.first_element_child() {
                node = child;
                depth += 1;
                continue;
            }
            loop {
                if depth <= 1 {
                    return Ok(());
                }
                if let Some(sibling) = node.next_sibling_element() {
                    node = sibling;
                    break;
                }
                let Some(parent) = node.parent_element() else { return Ok(()) };
                node = parent;
                depth -= 1;
            }
        }
    }
}

/// Collects what a reader notices.
#[derive(Default)]
pub(super) struct Remarks {
    list: Vec<Remark>,
}

impl Remarks {
    /// Adds a remark about a line. After [`MAX_REMARKS`] the rest is left out, and says so.
    pub(super) fn add(&mut self, line: u32, text: String) {
        if self.list.len() < MAX_REMARKS {
            self.list.push(Remark { line, text });
        } else if self.list.len() == MAX_REMARKS {
            self.list.push(Remark { line, text: "further remarks are left out".to_owned() });
        }
    }

    /// The remarks in the order of their lines.
    pub(super) fn into_sorted(mut self) -> Vec<Remark> {
        self.list.sort_by_key(|remark| remark.line);
        self.list
    }
}

/// An element and the file it is in.
#[derive(Clone, Copy)]
pub(super) struct Element<'a, 'i> {
    node: Node<'a, 'i>,
    file: &'a XmlFile<'i>,
}

impl<'a, 'i> Element<'a, 'i> {
    /// Its name, without prefix.
    pub(super) fn tag(self) -> &'a str {
        self.node.tag_name().name()
    }

    /// Its namespace, if it has one.
    pub(super) fn namespace(self) -> Option<&'a str> {
        self.node.tag_name().namespace()
    }

    /// Its line, from 1.
    pub(super) fn line(self) -> u32 {
        self.file.line_at(self.node.range().start)
    }

    /// The elements in it, in order.
    pub(super) fn children(self) -> impl Iterator<Item = Self> + use<'a, 'i> {
        let file = self.file;
        self.node.children().filter(Node::is_element).map(move |node| Self { node, file })
    }

    /// The first element of a name in it.
    pub(super) fn child(self, tag: &str) -> Option<Self> {
        self.children().find(|child| child.namespace().is_none() && child.tag() == tag)
    }

    /// The element and all below it, in order.
    pub(super) fn descendants(self) -> impl Iterator<Item = Self> + use<'a, 'i> {
        let file = self.file;
        self.node.descendants().filter(Node::is_element).map(move |node| Self { node, file })
    }

    /// Namespace, name and value of each attribute.
    pub(super) fn attributes(
        self,
    ) -> impl Iterator<Item = (Option<&'a str>, &'a str, &'a str)> + use<'a, 'i> {
        self.node.attributes().map(|found| (found.namespace(), found.name(), found.value()))
    }

    /// Value of an attribute without namespace.
    pub(super) fn attribute(self, name: &str) -> Option<&'a str> {
        self.node.attribute(name)
    }

    /// Value of an attribute that must be there.
    pub(super) fn require(self, name: &'static str) -> Result<&'a str, RobotFileError> {
        self.attribute(name).ok_or_else(|| self.missing(name))
    }

    /// A finite number, if the attribute is there.
    pub(super) fn number(self, name: &'static str) -> Result<Option<f64>, RobotFileError> {
        Ok(self.vector::<1>(name)?.map(|[value]| value))
    }

    /// `N` finite numbers, if the attribute is there.
    pub(super) fn vector<const N: usize>(
        self,
        name: &'static str,
    ) -> Result<Option<[f64; N]>, RobotFileError> {
        self.attribute(name).map(|text| self.parse(name, text, self.line())).transpose()
    }

    /// Reads `N` finite numbers from the text of an attribute that stands on `line`.
    pub(super) fn parse<const N: usize>(
        self,
        attribute: &str,
        text: &str,
        line: u32,
    ) -> Result<[f64; N], RobotFileError> {
        parse_numbers(text).ok_or_else(|| {
            let needed = match N {
                1 => "one finite number".to_owned(),
                n => format!("{n} finite numbers"),
            };
            self.value_error(attribute, text, line, &needed)
        })
    }

    /// The error that an attribute is missing.
    pub(super) fn missing(self, attribute: &'static str) -> RobotFileError {
        let element = excerpt(self.tag());
        self.error(Problem::MissingAttribute { element, attribute })
    }

    /// The error that an attribute of this element is wrong.
    pub(super) fn invalid(self, attribute: &str, needed: &str) -> RobotFileError {
        let found = self.attribute(attribute).unwrap_or_default();
        self.value_error(attribute, found, self.line(), needed)
    }

    /// The error that an attribute, which may come from elsewhere in the file, is wrong.
    pub(super) fn value_error(
        self,
        attribute: &str,
        found: &str,
        line: u32,
        needed: &str,
    ) -> RobotFileError {
        let problem = if found.contains("${") || found.contains("$(") {
            Problem::Unexpanded { found: excerpt(found) }
        } else {
            Problem::Value {
                element: excerpt(self.tag()),
                attribute: excerpt(attribute),
                found: excerpt(found),
                needed: needed.to_owned(),
            }
        };
        self.file.error(line, problem)
    }

    /// An error about this element.
    pub(super) fn error(self, problem: Problem) -> RobotFileError {
        self.file.error(self.line(), problem)
    }
}

/// Exactly `N` finite numbers separated by white space.
fn parse_numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let mut values = [0.0; N];
    let mut words = text.split_whitespace();
    for value in &mut values {
        *value = words.next()?.parse().ok().filter(|number: &f64| number.is_finite())?;
    }
    words.next().is_none().then_some(values)
}

/// A bound from above for the attributes in a piece of text that starts behind a `<`: the equals
/// signs with a quotation mark behind them. Comments, which may hold anything, count as none.
fn attributes_at_most(tag: &str) -> usize {
    if tag.starts_with("!--") {
        return 0;
    }
    tag.split('=').skip(1).filter(|rest| rest.trim_start().starts_with(['"', '\''])).count()
}

/// A piece of the file that is safe to print: short and without control characters.
pub(super) fn excerpt(text: &str) -> String {
    let mut short = String::new();
    for letter in text.chars().take(MAX_EXCERPT) {
        if letter.is_control() || turns_text(letter) {
            short.extend(letter.escape_unicode());
        } else {
            short.push(letter);
        }
    }
    if text.chars().nth(MAX_EXCERPT).is_some() {
        short.push('…');
    }
    short
}

/// Invisible characters, some of which would change the direction of the rest of a message.
fn turns_text(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Lines are counted in `u32`; files are far shorter.
fn line_number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}
