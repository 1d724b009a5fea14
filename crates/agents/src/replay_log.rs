//! The replay memory on disk: segments that are written once and never changed.
//!
//! A checkpoint of a replay memory of a million transitions must not write a million transitions.
//! So every save appends one file with what is new, and the checkpoint's JSON lists the files that
//! make up the memory. Records are numbered by a global push count, from the run's first one; the
//! memory of capacity C holds the last C of them.
//!
//! A segment is 32 bytes of numbers and 64 of hash, then the records as little-endian `f32`:
//! `CSREPLAY`, version and width as `u32`, first number and count as `u64`, and the BLAKE3 hash of
//! the records in hexadecimal digits.

use critics::{CheckpointError, Checkpoints, Snapshot, content_hash, write_file_atomic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"CSREPLAY";
const VERSION: u32 = 1;
/// Folder of the segments below that of a run.
pub(crate) const REPLAY_DIR: &str = "replay";
const HASH_LENGTH: usize = 64;
const HEADER_LENGTH: usize = 32 + HASH_LENGTH;

/// One segment file, as a checkpoint lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRef {
    /// Name of the file, without folder.
    pub file: String,
    /// Number of its first record.
    pub first: u64,
    /// How many records it has.
    pub count: u64,
    /// BLAKE3 hash of its records, in hexadecimal digits.
    pub blake3: String,
}

impl SegmentRef {
    /// The number behind its last record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// A folder of segments, each with records of `width` numbers.
#[derive(Debug)]
pub struct ReplayLog {
    dir: PathBuf,
    width: usize,
    capacity: u64,
    /// The segments of this run that may still hold live records, without gap.
    segments: Vec<SegmentRef>,
}

/// The segments of the run in `dir`, opened at first use.
pub(crate) fn open_once<'l>(
    log: &'l mut Option<ReplayLog>,
    dir: &Path,
    width: usize,
    capacity: usize,
) -> Result<&'l mut ReplayLog, CheckpointError> {
    let opened = match log.take() {
        Some(opened) => opened,
        None => ReplayLog::open(dir.join(REPLAY_DIR), width, capacity as u64)?,
    };
    Ok(log.insert(opened))
}

/// The segments that the kept checkpoints list, as `segments` reads them.
pub(crate) fn listed_segments(
    kept: &Checkpoints,
    segments: impl Fn(&Snapshot) -> Result<Vec<SegmentRef>, CheckpointError>,
) -> Result<Vec<SegmentRef>, CheckpointError> {
    let mut listed = Vec::new();
    for step in kept.steps()? {
        match kept.open(step).and_then(|snapshot| segments(&snapshot)) {
            Ok(segments) => listed.extend(segments),
            Err(error @ CheckpointError::Io { .. }) => return Err(error),
            // From a damaged checkpoint nobody can go on.
            Err(_) => {}
        }
    }
    Ok(listed)
}

impl ReplayLog {
    /// The log in the folder `dir`, which is created where needed, for records of `width` numbers
    /// of which the last `capacity` are live.
    ///
    /// Segments that lie in the folder belong to it only after [`load`](Self::load) got them.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`].
    pub fn open(
        dir: impl Into<PathBuf>,
        width: usize,
        capacity: u64,
    ) -> Result<Self, CheckpointError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|source| io_error("create", &dir, source))?;
        Ok(Self { dir, width, capacity, segments: Vec::new() })
    }

    /// The number that the next record gets: where the last segment ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, SegmentRef::end)
    }

    /// Writes `records`, one after the other, of which the first has the number `first`. The file
    /// is on the disk when this returns. No records write no file.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Shape`] unless the length is a multiple of the width,
    /// [`CheckpointError::Format`] if `first` does not follow the last record (numbers may only be
    /// left out before records that fill the memory),
    /// [`CheckpointError::Io`].
    pub fn append(&mut self, first: u64, records: &[f32]) -> Result<(), CheckpointError> {
        if records.is_empty() {
            return Ok(());
        }
        if self.width == 0 || !records.len().is_multiple_of(self.width) {
            return Err(CheckpointError::Shape {
                path: self.dir.clone(),
                name: "records".to_owned(),
                found: vec![records.len()],
                needed: vec![records.len() / self.width.max(1), self.width],
            });
        }
        let count = (records.len() / self.width) as u64;
        if first > self.end() && count >= self.capacity {
            // The ring has overwritten what lies between: nothing on disk is live any more.
            self.segments.clear();
        } else if first != self.end() {
            let reason = match self.end() {
                0 => format!("record {first} cannot be the first one"),
                end => format!("record {first} does not follow record {}", end - 1),
            };
            return Err(CheckpointError::Format { path: self.dir.clone(), reason });
        }
        let payload: Vec<u8> = records.iter().flat_map(|value| value.to_le_bytes()).collect();
        let blake3 = content_hash(&payload);
        let segment = SegmentRef { file: file_name(first, count), first, count, blake3 };
        let mut bytes = self.header(&segment);
        bytes.extend(payload);
        write_file_atomic(&self.dir.join(&segment.file), &bytes)?;
        self.segments.push(segment);
        let oldest = self.oldest_live();
        self.segments.retain(|segment| segment.end() > oldest);
        Ok(())
    }

    /// The segments that hold records numbered `record` or higher, in order.
    #[must_use]
    pub fn list_after(&self, record: u64) -> Vec<SegmentRef> {
        self.segments.iter().filter(|segment| segment.end() > record).cloned().collect()
    }

    /// The segments that hold the live records, in order: what a checkpoint lists.
    #[must_use]
    pub fn live(&self) -> Vec<SegmentRef> {
        self.list_after(self.oldest_live())
    }

    /// Reads the live records of the listed segments, oldest first, into `sink` (number, record),
    /// and goes on from there: the next [`append`](Self::append) follows the last of them.
    ///
    /// Every segment is checked before its first record reaches `sink`; after an error `sink` may
    /// have got the records of earlier segments, and the log is as it was.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Format`] if the list has gaps, names other files or a file is no
    /// segment, [`CheckpointError::Missing`], [`CheckpointError::Corrupt`],
    /// [`CheckpointError::Version`], [`CheckpointError::Shape`] for records of another width, or
    /// [`CheckpointError::Io`].
    pub fn load(
        &mut self,
        segments: &[SegmentRef],
        sink: &mut dyn FnMut(u64, &[f32]),
    ) -> Result<(), CheckpointError> {
        self.check_list(segments)?;
        let end = segments.last().map_or(0, SegmentRef::end);
        let oldest = end.saturating_sub(self.capacity);
        let mut record = vec![0.0; self.width];
        for segment in segments {
            let bytes = self.read_segment(segment)?;
            let records = bytes[HEADER_LENGTH..].chunks_exact(4 * self.width.max(1));
            for (number, bytes) in (segment.first..).zip(records) {
                if number < oldest {
                    continue;
                }
                for (value, bytes) in record.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
                sink(number, &record);
            }
        }
        self.segments = segments.to_vec();
        Ok(())
    }

    /// Deletes the segment files that no kept checkpoint lists: those left from a kill, and those
    /// whose records are all older than the memory. `listed` are the lists of *all* checkpoints
    /// that are kept, together.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`].
    pub fn retain(&self, listed: &[SegmentRef]) -> Result<(), CheckpointError> {
        let listed: BTreeSet<&str> = listed.iter().map(|segment| segment.file.as_str()).collect();
        let read_error = |source| io_error("read", &self.dir, source);
        for entry in fs::read_dir(&self.dir).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let ours =
                name.starts_with("segment-") && (name.ends_with(".f32") || name.ends_with(".tmp"));
            if ours && !listed.contains(name) {
                let path = entry.path();
                fs::remove_file(&path).map_err(|source| io_error("remove", &path, source))?;
            }
        }
        Ok(())
    }

    /// The number of the oldest record that is still live.
    fn oldest_live(&self) -> u64 {
        self.end().saturating_sub(self.capacity)
    }

    fn header(&self, segment: &SegmentRef) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        // A record is a few hundred numbers wide.
        bytes.extend(u32::try_from(self.width).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(segment.first.to_le_bytes());
        bytes.extend(segment.count.to_le_bytes());
        bytes.extend(segment.blake3.as_bytes());
        bytes
    }

    /// Checks that the list, which comes from a file, names segments of this folder without gap.
    fn check_list(&self, segments: &[SegmentRef]) -> Result<(), CheckpointError> {
        let mut expected = None;
        for segment in segments {
            let Some(end) = segment.first.checked_add(segment.count) else {
                let reason = format!("the record numbers of `{}` overflow", segment.file);
                return Err(CheckpointError::Format { path: self.dir.clone(), reason });
            };
            // The name follows from the numbers, so no list can lead to another folder.
            if segment.file != file_name(segment.first, segment.count) {
                let reason = format!(
                    "the list names `{}` where `{}` belongs",
                    segment.file,
                    file_name(segment.first, segment.count)
                );
                return Err(CheckpointError::Format { path: self.dir.clone(), reason });
            }
            if let Some(expected) = expected.filter(|&number| number != segment.first) {
                let reason = format!(
                    "`{}` is listed where a segment with first record {expected} belongs",
                    segment.file
                );
                return Err(CheckpointError::Format { path: self.dir.clone(), reason });
            }
            expected = Some(end);
        }
        Ok(())
    }

    /// The bytes of a segment file, header and length and hash checked.
    fn read_segment(&self, segment: &SegmentRef) -> Result<Vec<u8>, CheckpointError> {
        let path = self.dir.join(&segment.file);
        // The length comes first, so that no forged file is read into memory.
        let found = fs::symlink_metadata(&path).map_err(|e| io_error("read", &path, e))?;
        let record = self.width as u64 * 4;
        let expected =
            segment.count.checked_mul(record).and_then(|n| n.checked_add(HEADER_LENGTH as u64));
        if !found.is_file() {
            return Err(corrupt(&path, "it is no regular file".to_owned()));
        }
        let header = read_header(&path)?;
        if header[..8] != MAGIC {
            return Err(corrupt(&path, "it does not begin as a segment".to_owned()));
        }
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        if number(8) != VERSION {
            return Err(CheckpointError::Version {
                path,
                found: number(8).into(),
                needed: VERSION.into(),
            });
        }
        if number(12) as usize != self.width {
            return Err(CheckpointError::Shape {
                path,
                name: "record".to_owned(),
                found: vec![number(12) as usize],
                needed: vec![self.width],
            });
        }
        if Some(found.len()) != expected {
            let reason = format!(
                "it has {} bytes, {} records of {} numbers need {}",
                found.len(),
                segment.count,
                self.width,
                expected.map_or_else(|| "more than there can be".to_owned(), |n| n.to_string())
            );
            return Err(corrupt(&path, reason));
        }
        let bytes = fs::read(&path).map_err(|source| io_error("read", &path, source))?;
        if bytes.get(..HEADER_LENGTH) != Some(&self.header(segment)[..]) {
            return Err(corrupt(&path, "its header is not what the checkpoint lists".to_owned()));
        }
        let hash = content_hash(&bytes[HEADER_LENGTH..]);
        if hash != segment.blake3 {
            let listed = &segment.blake3;
            let reason =
                format!("the BLAKE3 hash of its records is {hash}, the checkpoint lists {listed}");
            return Err(corrupt(&path, reason));
        }
        Ok(bytes)
    }
}

fn read_header(path: &Path) -> Result<[u8; HEADER_LENGTH], CheckpointError> {
    let mut header = [0; HEADER_LENGTH];
    let read =
        fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut header));
    match read {
        Ok(()) => Ok(header),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(corrupt(path, format!("it has less than the {HEADER_LENGTH} bytes of a header")))
        }
        Err(source) => Err(io_error("read", path, source)),
    }
}

fn file_name(first: u64, count: u64) -> String {
    format!("segment-{first}-{}.f32", first.saturating_add(count))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> CheckpointError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound if action == "read" => CheckpointError::Missing { path },
        _ => CheckpointError::Io { action, path, source },
    }
}

fn corrupt(path: &Path, reason: String) -> CheckpointError {
    let hint = "the checkpoints that list this segment cannot be used; remove them, or start the \
                run afresh";
    CheckpointError::Corrupt { path: path.to_owned(), reason, hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::{TempDir, tempdir};

    const WIDTH: usize = 3;

    /// Record `n` holds n, n + ½, and a bit pattern that arithmetic could change.
    fn records(range: std::ops::Range<u64>) -> Vec<f32> {
        range
            .flat_map(|n| [n as f32, n as f32 + 0.5, f32::from_bits(0x7fc0_0001 + n as u32)])
            .collect()
    }

    /// Segments 0–4, 4–9 and 9–10, in a memory of six.
    fn written() -> (TempDir, ReplayLog) {
        let dir = tempdir().unwrap();
        let mut log = ReplayLog::open(dir.path().join("replay"), WIDTH, 6).unwrap();
        for range in [0..4, 4..9, 9..10] {
            log.append(range.start, &records(range)).unwrap();
        }
        (dir, log)
    }

    fn load(
        log: &ReplayLog,
        segments: &[SegmentRef],
    ) -> Result<Vec<(u64, Vec<u32>)>, CheckpointError> {
        let mut again = ReplayLog::open(&log.dir, log.width, log.capacity)?;
        let mut found = Vec::new();
        again.load(segments, &mut |number, record| {
            found.push((number, record.iter().map(|value| value.to_bits()).collect()));
        })?;
        assert_eq!(again.live(), segments);
        Ok(found)
    }

    fn files(log: &ReplayLog) -> Vec<String> {
        let entries = fs::read_dir(&log.dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_live_records_come_back_bit_for_bit() {
        let (_dir, log) = written();
        let listed = serde_json::to_string(&log.live()).unwrap();
        let listed: Vec<SegmentRef> = serde_json::from_str(&listed).unwrap();
        let files: Vec<_> = listed.iter().map(|segment| segment.file.as_str()).collect();
        // Records 0–3 are older than the last six.
        assert_eq!(files, ["segment-4-9.f32", "segment-9-10.f32"]);
        let expected: Vec<_> = (4..10)
            .map(|n| (n, records(n..n + 1).iter().map(|value| value.to_bits()).collect()))
            .collect();
        assert_eq!(load(&log, &listed).unwrap(), expected);
        assert_eq!(log.list_after(9).len(), 1);
        assert_eq!(log.list_after(10), []);
    }

    #[test]
    fn records_of_a_part_live_segment_that_are_too_old_are_not_delivered() {
        let (_dir, mut log) = written();
        log.append(10, &records(10..12)).unwrap();
        let found = load(&log, &log.live()).unwrap();
        assert_eq!(found.iter().map(|record| record.0).collect::<Vec<_>>(), [6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn a_run_goes_on_behind_what_it_loaded_and_over_what_a_kill_left() {
        let (_dir, mut log) = written();
        let listed = log.live();
        // Written, but the kill came before a checkpoint listed it.
        log.append(10, &records(10..13)).unwrap();
        let mut again = ReplayLog::open(&log.dir, WIDTH, 6).unwrap();
        again.load(&listed, &mut |_, _| ()).unwrap();
        assert_eq!(again.end(), 10);
        again.append(10, &records(10..13)).unwrap();
        assert_eq!(load(&again, &again.live()).unwrap().len(), 6);
        let gap = again.append(14, &records(14..15)).unwrap_err().to_string();
        assert!(gap.ends_with("record 14 does not follow record 12"), "{gap}");
        // Records that fill the memory leave nothing live of those before them.
        again.append(20, &records(20..26)).unwrap();
        assert_eq!(again.live().len(), 1);
        assert_eq!(load(&again, &again.live()).unwrap()[0].0, 20);
    }

    #[test]
    fn only_listed_segments_are_retained_and_foreign_files_are_left_alone() {
        let (_dir, log) = written();
        for name in ["segment-10-13.f32", "segment-10-13.f32.7-0.tmp", "notes.txt"] {
            fs::write(log.dir.join(name), b"x").unwrap();
        }
        log.retain(&log.live()).unwrap();
        assert_eq!(files(&log), ["notes.txt", "segment-4-9.f32", "segment-9-10.f32"]);
    }

    #[test]
    fn every_change_to_a_segment_is_detected() {
        let (_dir, log) = written();
        let listed = log.live();
        let path = log.dir.join(&listed[0].file);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
            load(&log, &listed).expect_err("a flipped bit");
        }
        for length in [0, 10, HEADER_LENGTH, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            let error = load(&log, &listed).unwrap_err();
            assert!(matches!(error, CheckpointError::Corrupt { .. }), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let error = load(&log, &listed).unwrap_err().to_string();
        assert!(error.ends_with("segment-4-9.f32` is missing"), "{error}");
    }

    #[test]
    fn a_damaged_segment_names_both_hashes() {
        let (_dir, log) = written();
        let listed = log.live();
        let path = log.dir.join(&listed[1].file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER_LENGTH] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = load(&log, &listed).unwrap_err().to_string();
        assert!(error.contains("segment-9-10.f32` is damaged: the BLAKE3 hash"), "{error}");
        assert!(error.contains(&format!("the checkpoint lists {}", listed[1].blake3)), "{error}");
    }

    #[test]
    fn forged_lists_are_refused() {
        let (_dir, log) = written();
        let listed = log.live();
        let change = |change: &dyn Fn(&mut Vec<SegmentRef>)| {
            let mut list = listed.clone();
            change(&mut list);
            load(&log, &list).unwrap_err().to_string()
        };
        let text = change(&|list| list[0].file = "../segment-4-9.f32".to_owned());
        assert!(text.contains("the list names `../segment-4-9.f32` where"), "{text}");
        let text = change(&|list| list.swap(0, 1));
        assert!(text.contains("where a segment with first record 10 belongs"), "{text}");
        let text = change(&|list| list[1].count = u64::MAX);
        assert!(text.contains("overflow"), "{text}");
        change(&|list| list[1].blake3.replace_range(..1, "x"));
    }

    #[test]
    fn another_width_is_told() {
        let (_dir, mut log) = written();
        let listed = log.live();
        let text = log.append(10, &[1.0, 2.0]).unwrap_err().to_string();
        assert!(text.contains("`records` has shape [2], but [0, 3] is needed"), "{text}");
        log.width = 4;
        let text = load(&log, &listed).unwrap_err().to_string();
        assert!(text.contains("`record` has shape [3], but [4] is needed"), "{text}");
    }
}
