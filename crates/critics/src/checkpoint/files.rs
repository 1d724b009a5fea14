//! Single files: whole or not there, and known by their hash.

use super::CheckpointError;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Hint of errors about damaged content.
pub(super) const DAMAGED: &str = "it was cut short or changed after it was written; remove it, and \
                                  an earlier complete one is used";

/// The BLAKE3 hash of `bytes` as 64 hexadecimal digits: what manifests store of a file.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Writes `bytes` to `path` so that a kill or power cut at any moment leaves either the old file or
/// the new one, never a part.
///
/// The bytes go to a temporary name in the same folder (`<name>.<process>-<count>.tmp`), reach the
/// disk, and only then take the place of `path`. The folder must exist.
///
/// # Errors
///
/// [`CheckpointError::Io`] with the step that failed; the temporary file is removed then.
pub fn write_file_atomic(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    // Two threads may write the same path: each has its own temporary name, the last rename wins.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path
        .file_name()
        .ok_or_else(|| CheckpointError::Name { name: path.display().to_string() })?;
    let mut temp_name = name.to_owned();
    temp_name.push(format!(".{}-{count}.tmp", std::process::id()));
    let temp = path.with_file_name(temp_name);
    let written = write_and_sync(&temp, path, bytes)
        .and_then(|()| fs::rename(&temp, path).map_err(CheckpointError::io("rename", path)));
    if written.is_err() {
        // The first error is the one to report; what remains is found and removed later.
        let _ = fs::remove_file(&temp);
    }
    written?;
    sync_folder(parent_of(path))
}

/// Writes a new file and waits until it is on the disk; errors name `shown`.
pub(super) fn write_and_sync(
    path: &Path,
    shown: &Path,
    bytes: &[u8],
) -> Result<(), CheckpointError> {
    let mut file = File::create(path).map_err(CheckpointError::io("create", shown))?;
    write_all(&mut file, shown, bytes)?;
    file.sync_all().map_err(CheckpointError::io("sync", shown))
}

/// Writes all of `bytes`; errors name `shown`.
fn write_all(file: &mut impl Write, shown: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    file.write_all(bytes).map_err(CheckpointError::io("write", shown))
}

/// Waits until the names in `folder` are on the disk.
///
/// A rename is certain to outlive a power cut only after this. Systems other than Unix cannot open
/// a folder as a file and order such writes themselves.
pub(super) fn sync_folder(folder: &Path) -> Result<(), CheckpointError> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(CheckpointError::io("sync", folder))?;
    }
    Ok(())
}

/// The folder that `path` lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes a folder with all its content; one that is not there is as good as removed.
pub(super) fn remove_folder(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CheckpointError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// The limit also holds for a file that grows while it is read.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let found = regular_file_length(path)?;
    if found > limit {
        return Err(CheckpointError::TooLarge { path: path.to_owned(), found, limit });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(CheckpointError::io("read", path))?;
    Ok(bytes)
}

/// The length in bytes of a file that is no folder, link or device.
pub(super) fn regular_file_length(path: &Path) -> Result<u64, CheckpointError> {
    let metadata = fs::symlink_metadata(path).map_err(CheckpointError::io("read", path))?;
    if !metadata.is_file() {
        let reason = "it is no regular file".to_owned();
        return Err(CheckpointError::Format { path: path.to_owned(), reason });
    }
    Ok(metadata.len())
}

/// The BLAKE3 hash of a file's content, read in pieces.
pub(super) fn hash_file(path: &Path) -> Result<String, CheckpointError> {
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(|_| ()))
        .map_err(CheckpointError::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// `folder/name`, after checking that `name` is one plain component on every system.
///
/// Names come from manifests too, which may be forged: `..`, separators, drive letters, and names
/// that end like our temporary ones are refused.
pub(super) fn plain_path(folder: &Path, name: &str) -> Result<PathBuf, CheckpointError> {
    let accepted = name.len() <= 120
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !name.ends_with('.')
        && !name.ends_with(".tmp");
    if accepted {
        Ok(folder.join(name))
    } else {
        Err(CheckpointError::Name { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do_and_that_nothing_is_lost() {
        // This device accepts no byte: every write to it fails as on a full disk.
        let device = Path::new("/dev/full");
        let Ok(mut full) = fs::OpenOptions::new().write(true).open(device) else {
            return;
        };
        let error = write_all(&mut full, device, b"x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write `/dev/full`: the disk or your share of it is full; free some space and \
             run the same command again; nothing that was complete is lost"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        let folder = Path::new("folder");
        let long = "a".repeat(121);
        let bad = [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:x",
            ".hidden",
            "a.",
            "a\0b",
            "a b",
            "name.tmp",
            "ä",
            &long,
        ];
        for name in bad {
            let error = plain_path(folder, name).unwrap_err();
            assert!(matches!(error, CheckpointError::Name { .. }), "{name}: {error}");
        }
        for name in ["a", "critic-1.safetensors", "step-000000123", "x_y.json", "0"] {
            assert_eq!(plain_path(folder, name).unwrap(), folder.join(name));
        }
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_rest() {
        let dir = tempfile::tempdir().unwrap();
        // A folder stands where the file should go, so the rename fails.
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"old").unwrap();
        let error = write_file_atomic(&path, b"new").unwrap_err();
        assert!(error.to_string().starts_with("cannot rename"), "{error}");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names, [path.as_path()]);
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"old");
    }
}
