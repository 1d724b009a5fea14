//! The last few snapshots of a run, and how a run finds the one to go on from.

use super::files::{read_limited, remove_folder, write_file_atomic};
use super::{CheckpointError, Snapshot, SnapshotWriter};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file that names the newest snapshot.
const LATEST: &str = "LATEST";

/// The checkpoints of one run: folders `step-000000123/` and the file `LATEST`, which names the
/// newest of them.
///
/// One process at a time may save to a folder.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    root: PathBuf,
    keep: usize,
}

/// What [`Checkpoints::latest`] found.
#[derive(Debug)]
pub struct Latest {
    /// The step and content of the newest complete checkpoint; `None` if there is none.
    pub found: Option<(u64, Snapshot)>,
    /// What was newer by name but could not be used. A user wants to hear of these.
    pub skipped: Vec<Skipped>,
}

/// A checkpoint that could not be used.
#[derive(Debug)]
pub struct Skipped {
    /// The folder, or the file `LATEST`.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: CheckpointError,
}

impl Checkpoints {
    /// The checkpoints in the folder `root`, of which the last `keep` (at least one) stay. Two are
    /// a good choice: should the last be damaged, there is the one before.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, keep: usize) -> Self {
        Self { root: root.into(), keep: keep.max(1) }
    }

    /// The folder of all checkpoints.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Saves what `write` puts into the snapshot as the checkpoint of `step`, and returns its
    /// folder. Older ones beyond those to keep are removed.
    ///
    /// Checkpoints of later steps are removed too: whoever saves step 200 while there is a step
    /// 300 went back, because that one was damaged, and it must not count as the newest again.
    ///
    /// # Errors
    ///
    /// Those of `write`, and [`CheckpointError::Io`]. The earlier checkpoints are untouched then.
    pub fn save(
        &self,
        step: u64,
        write: impl FnOnce(&mut SnapshotWriter) -> Result<(), CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        let name = folder_name(step);
        let mut writer = SnapshotWriter::create(&self.root, &name)?;
        write(&mut writer)?;
        let path = writer.commit()?;
        write_file_atomic(&self.root.join(LATEST), format!("{name}\n").as_bytes())?;
        self.remove_superseded(step);
        Ok(path)
    }

    /// The newest complete checkpoint.
    ///
    /// That is the one that `LATEST` names; if it is damaged or not there, the complete one with
    /// the greatest step. Temporary folders, left by a kill, are ignored. A damaged checkpoint is
    /// no error but stands in [`Latest::skipped`].
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] if the folder cannot be listed. No folder means no checkpoint.
    pub fn latest(&self) -> Result<Latest, CheckpointError> {
        let mut skipped = Vec::new();
        let mut candidates = self.folders()?;
        let named = match self.read_latest() {
            Ok(step) => Some(step),
            Err(CheckpointError::Missing { .. }) => None,
            Err(reason) => {
                skipped.push(Skipped { path: self.root.join(LATEST), reason });
                None
            }
        };
        // The named step first, then the others from the newest down.
        let named = named.map(|step| (step, candidates.remove(&step).unwrap_or_default()));
        for (step, folders) in named.into_iter().chain(candidates.into_iter().rev()) {
            if folders.is_empty() {
                let path = self.root.join(folder_name(step));
                skipped.push(Skipped {
                    reason: CheckpointError::Missing { path: path.clone() },
                    path,
                });
            }
            for path in folders {
                match Snapshot::open(&path) {
                    Ok(snapshot) => return Ok(Latest { found: Some((step, snapshot)), skipped }),
                    Err(reason) => skipped.push(Skipped { path, reason }),
                }
            }
        }
        Ok(Latest { found: None, skipped })
    }

    /// The steps of which there is a checkpoint folder, complete or not, from the oldest up.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] if the folder cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        Ok(self.folders()?.into_keys().collect())
    }

    /// Opens the checkpoint of one step.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::open`].
    pub fn open(&self, step: u64) -> Result<Snapshot, CheckpointError> {
        Snapshot::open(&self.root.join(folder_name(step)))
    }

    /// The step that `LATEST` names.
    fn read_latest(&self) -> Result<u64, CheckpointError> {
        let path = self.root.join(LATEST);
        let text = read_limited(&path, 256)?;
        let text = String::from_utf8_lossy(&text);
        parse_name(text.trim_end()).map(|(step, _)| step).ok_or_else(|| CheckpointError::Format {
            path,
            reason: format!(
                "it names {:?}, not a folder such as `step-000000123`",
                text.trim_end()
            ),
        })
    }

    /// The checkpoint folders of each step; one that was set aside while it was replaced (see
    /// [`SnapshotWriter::commit`]) stands behind the one with the proper name.
    fn folders(&self) -> Result<BTreeMap<u64, Vec<PathBuf>>, CheckpointError> {
        let mut folders: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
        for name in self.names()? {
            if let Some((step, aside)) = parse_name(&name) {
                let of_step = folders.entry(step).or_default();
                of_step.insert(if aside { of_step.len() } else { 0 }, self.root.join(name));
            }
        }
        Ok(folders)
    }

    /// The names in the root folder; none if it does not exist.
    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(CheckpointError::io("read", &self.root))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(CheckpointError::io("read", &self.root))?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    /// Removes what the checkpoint of `step` makes superfluous.
    ///
    /// What cannot be removed now is tried again after the next save; it must not stop a run.
    fn remove_superseded(&self, step: u64) {
        let Ok(names) = self.names() else { return };
        let kept = names.iter().filter_map(|name| parse_name(name));
        let mut kept: Vec<u64> =
            kept.filter(|&(s, aside)| s <= step && !aside).map(|s| s.0).collect();
        kept.sort_unstable();
        let kept = &kept[kept.len().saturating_sub(self.keep)..];
        for name in &names {
            let path = self.root.join(name);
            match parse_name(name) {
                Some((s, aside)) if aside || !kept.contains(&s) => {
                    let _ = remove_folder(&path);
                }
                None if name.ends_with(".tmp") && name.starts_with("step-") => {
                    let _ = remove_folder(&path);
                }
                None if name.ends_with(".tmp") && name.starts_with(LATEST) => {
                    let _ = fs::remove_file(&path);
                }
                _ => {}
            }
        }
    }
}

/// The folder of a step; nine digits keep the folders of any real run in order.
fn folder_name(step: u64) -> String {
    format!("step-{step:09}")
}

/// The step of a folder's name, and whether the folder was set aside; `None` for other names.
fn parse_name(name: &str) -> Option<(u64, bool)> {
    let (proper, aside) = match name.strip_suffix(".replaced") {
        Some(proper) => (proper, true),
        None => (name, false),
    };
    let step = proper.strip_prefix("step-")?.parse().ok()?;
    // Only the spelling that we write: `step-+1` or `step-1` would open another folder.
    (folder_name(step) == proper).then_some((step, aside))
}
