//! A folder of files that appears whole under its name, and is checked before it is read.

use super::files::{
    DAMAGED, hash_file, parent_of, plain_path, read_limited, regular_file_length, remove_folder,
    sync_folder, write_and_sync,
};
use super::{CheckpointError, Tensors, content_hash};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Version of the manifest.
const SCHEMA: u64 = 1;

/// The file that lists the others; written last.
const MANIFEST: &str = "manifest.json";

/// Greatest accepted manifest in bytes.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// Greatest accepted JSON file in bytes.
const JSON_LIMIT: u64 = 256 << 20;

/// What the manifest says: `{"schema": 1, "files": {name: {"bytes": …, "blake3": …}}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: u64,
    files: BTreeMap<String, FileEntry>,
}

/// Length and hash of one file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    bytes: u64,
    blake3: String,
}

/// Builds a snapshot under a temporary name and gives it its own with [`commit`](Self::commit).
///
/// Dropped without a commit, it removes what it wrote. A kill leaves `<name>.tmp`, which no reader
/// looks at and the next writer of that name removes.
#[derive(Debug)]
pub struct SnapshotWriter {
    temp: PathBuf,
    target: PathBuf,
    manifest: Manifest,
    committed: bool,
}

impl SnapshotWriter {
    /// Starts the folder `<parent>/<name>.tmp/`; `parent` is created where needed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Name`] for a name that is no plain component, [`CheckpointError::Io`].
    pub fn create(parent: &Path, name: &str) -> Result<Self, CheckpointError> {
        let target = plain_path(parent, name)?;
        let temp = parent.join(format!("{name}.tmp"));
        remove_folder(&temp)?;
        fs::create_dir_all(&temp).map_err(CheckpointError::io("create", &temp))?;
        let manifest = Manifest { schema: SCHEMA, files: BTreeMap::new() };
        Ok(Self { temp, target, manifest, committed: false })
    }

    /// Adds a safetensors file.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn tensors(&mut self, file: &str, tensors: &Tensors) -> Result<(), CheckpointError> {
        self.bytes(file, &tensors.to_bytes()?)
    }

    /// Adds a JSON file for people to read: indented, keys in the order of the struct's fields.
    ///
    /// A finite `f64` reads back with the same bits. JSON has no other numbers: one that is not
    /// finite becomes `null`, so such values belong into [`tensors`](Self::tensors).
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`CheckpointError::Format`] if the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(
        &mut self,
        file: &str,
        value: &T,
    ) -> Result<(), CheckpointError> {
        let path = plain_path(&self.target, file)?;
        self.bytes(file, &json_bytes(&path, value)?)
    }

    /// Adds a file with the given content and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Name`], [`CheckpointError::Duplicate`] or [`CheckpointError::Io`].
    pub fn bytes(&mut self, file: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let path = plain_path(&self.temp, file)?;
        if file == MANIFEST || self.manifest.files.contains_key(file) {
            let path = self.target.clone();
            return Err(CheckpointError::Duplicate { path, name: file.to_owned() });
        }
        write_and_sync(&path, &self.target.join(file), bytes)?;
        let entry = FileEntry { bytes: bytes.len() as u64, blake3: content_hash(bytes) };
        self.manifest.files.insert(file.to_owned(), entry);
        Ok(())
    }

    /// Writes the manifest, gives the folder its name, and returns that path.
    ///
    /// A folder that already has the name is set aside as `<name>.replaced` first and removed
    /// afterwards, so that a kill between the two renames loses neither.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] with the step that failed.
    pub fn commit(mut self) -> Result<PathBuf, CheckpointError> {
        let shown = self.target.join(MANIFEST);
        let manifest = json_bytes(&shown, &self.manifest)?;
        write_and_sync(&self.temp.join(MANIFEST), &shown, &manifest)?;
        sync_folder(&self.temp)?;

        let mut aside = self.target.clone().into_os_string();
        aside.push(".replaced");
        let aside = PathBuf::from(aside);
        if self.target.exists() {
            remove_folder(&aside)?;
            fs::rename(&self.target, &aside)
                .map_err(CheckpointError::io("rename", &self.target))?;
        }
        if let Err(error) = fs::rename(&self.temp, &self.target) {
            // Without effect if nothing was set aside.
            let _ = fs::rename(&aside, &self.target);
            return Err(CheckpointError::io("rename", &self.target)(error));
        }
        self.committed = true;
        sync_folder(parent_of(&self.target))?;
        remove_folder(&aside)?;
        Ok(self.target.clone())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody reads a temporary folder, so one that cannot be removed does no harm.
            let _ = remove_folder(&self.temp);
        }
    }
}

/// A complete snapshot, every byte of which was checked when it was opened.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    manifest: Manifest,
}

impl Snapshot {
    /// Reads the manifest of the folder `dir` and compares every file's length and hash with it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] for a folder without manifest or a listed file that is not
    /// there, [`CheckpointError::Corrupt`] for one that differs from the manifest,
    /// [`CheckpointError::Version`], [`CheckpointError::Format`], [`CheckpointError::TooLarge`],
    /// [`CheckpointError::Name`] or [`CheckpointError::Io`].
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(MANIFEST);
        let bytes = read_limited(&path, MANIFEST_LIMIT)?;
        // The version comes first: a later manifest may have other fields.
        let schema: Schema = parse_json(&path, &bytes)?;
        if schema.schema != SCHEMA {
            let found = schema.schema;
            return Err(CheckpointError::Version { path, found, needed: SCHEMA });
        }
        let manifest: Manifest = parse_json(&path, &bytes)?;
        for (file, entry) in &manifest.files {
            let path = plain_path(dir, file)?;
            check_length(&path, regular_file_length(&path)?, entry)?;
            check_hash(&path, hash_file(&path)?, entry)?;
        }
        Ok(Self { path: dir.to_owned(), manifest })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its files in alphabetical order, without the manifest.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.manifest.files.keys().map(String::as_str)
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes) and [`Tensors::from_bytes`].
    pub fn tensors(&self, file: &str) -> Result<Tensors, CheckpointError> {
        Tensors::from_bytes(&self.path.join(file), &self.bytes(file)?)
    }

    /// Reads a JSON file of at most 256 MiB.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), [`CheckpointError::TooLarge`], and [`CheckpointError::Format`]
    /// with line and column if the text is no `T`.
    pub fn json<T: DeserializeOwned>(&self, file: &str) -> Result<T, CheckpointError> {
        let entry = self.entry(file)?;
        let path = self.path.join(file);
        if entry.bytes > JSON_LIMIT {
            return Err(CheckpointError::TooLarge { path, found: entry.bytes, limit: JSON_LIMIT });
        }
        parse_json(&path, &self.bytes(file)?)
    }

    /// Reads a file, and checks it again: it may have changed since the snapshot was opened.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] if the manifest does not list it,
    /// [`CheckpointError::Corrupt`] or [`CheckpointError::Io`].
    pub fn bytes(&self, file: &str) -> Result<Vec<u8>, CheckpointError> {
        let entry = self.entry(file)?;
        let path = plain_path(&self.path, file)?;
        check_length(&path, regular_file_length(&path)?, entry)?;
        let bytes = read_limited(&path, entry.bytes)?;
        check_hash(&path, content_hash(&bytes), entry)?;
        Ok(bytes)
    }

    fn entry(&self, file: &str) -> Result<&FileEntry, CheckpointError> {
        self.manifest
            .files
            .get(file)
            .ok_or_else(|| CheckpointError::Missing { path: self.path.join(file) })
    }
}

/// The one field that every version of the manifest has.
#[derive(Deserialize)]
struct Schema {
    schema: u64,
}

fn check_length(path: &Path, found: u64, entry: &FileEntry) -> Result<(), CheckpointError> {
    if found == entry.bytes {
        return Ok(());
    }
    let reason = format!("it has {found} bytes, the manifest says {}", entry.bytes);
    Err(CheckpointError::Corrupt { path: path.to_owned(), reason, hint: DAMAGED })
}

fn check_hash(path: &Path, found: String, entry: &FileEntry) -> Result<(), CheckpointError> {
    if found == entry.blake3 {
        return Ok(());
    }
    let reason = format!("its BLAKE3 hash is {found}, the manifest says `{}`", entry.blake3);
    Err(CheckpointError::Corrupt { path: path.to_owned(), reason, hint: DAMAGED })
}

/// The indented JSON of `value`, with a line end.
fn json_bytes<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| json_error(path, &error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn parse_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, CheckpointError> {
    serde_json::from_slice(bytes).map_err(|error| json_error(path, &error))
}

fn json_error(path: &Path, error: &serde_json::Error) -> CheckpointError {
    CheckpointError::Format { path: path.to_owned(), reason: error.to_string() }
}
