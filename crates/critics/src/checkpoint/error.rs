//! What can go wrong with a stored file.

use std::io;
use std::path::{Path, PathBuf};

/// A file or folder of a run that could not be written, read or trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} `{}`{}", path.display(), io_hint(source))]
    Io {
        /// What was tried: `write`, `create`, `read`, `rename`, `sync` or `remove`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file that has to be there is not.
    #[error("`{}` is missing", path.display())]
    Missing {
        /// The file or folder looked for.
        path: PathBuf,
    },
    /// The content is not what was written.
    #[error("`{}` is damaged: {reason}; {hint}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The content is not of the format it should have.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file comes from another version of the format.
    #[error(
        "`{}` has format version {found}, but this build reads version {needed}; use the build \
         that wrote it, or start the run afresh in another folder", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: u64,
        /// The version this build reads.
        needed: u64,
    },
    /// A file is larger than anything that is written here.
    #[error("`{}` has {found} bytes, more than the {limit} that are accepted", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The greatest accepted length in bytes.
        limit: u64,
    },
    /// A tensor that is needed is not in the file.
    #[error("`{}` has no tensor `{name}`; it has {}", path.display(), list(available))]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor looked for.
        name: String,
        /// The tensors that are there.
        available: Vec<String>,
    },
    /// A tensor has another element type than needed.
    #[error("`{}`: tensor `{name}` holds {found}, but {needed} is needed", path.display())]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        found: &'static str,
        /// The element type asked for.
        needed: &'static str,
    },
    /// A tensor has another shape than needed.
    #[error(
        "`{}`: tensor `{name}` has shape {found:?}, but {needed:?} is needed; were the network \
         sizes changed since it was saved?", path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape, or the number of values given for it.
        found: Vec<usize>,
        /// The shape needed.
        needed: Vec<usize>,
    },
    /// A name that could lead out of its folder, or that some system does not accept.
    #[error(
        "`{name}` is not accepted as a file name: it must start with a letter or digit, go on with \
         letters, digits, `-`, `_` and `.`, not end in `.` or `.tmp`, and have at most 120 characters"
    )]
    Name {
        /// The refused name.
        name: String,
    },
    /// One name was given twice.
    #[error("`{}`: the name `{name}` is used twice", path.display())]
    Duplicate {
        /// The file or folder.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

impl CheckpointError {
    /// Turns an error of the operating system into one that says what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound if action == "read" => Self::Missing { path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// What the user can do about `error`; empty where the operating system's own words must do, which
/// a reporter finds as the source of the error.
fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk or your share of it is full; free some space and run the same command \
             again; nothing that was complete is lost"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": permission denied; choose a folder that you may write to, or change its permissions"
        }
        _ => "",
    }
}

/// The names in backticks, the first few of many.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text =
        names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
