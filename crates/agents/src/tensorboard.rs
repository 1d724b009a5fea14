//! Scalars for TensorBoard, written by hand: the format is small, and its crates are unmaintained.
//!
//! A file is a sequence of records: length (`u64`), masked CRC-32C of the length, payload, masked
//! CRC-32C of the payload, all little-endian. A payload is a protobuf message `Event` with
//! `wall_time` (1, double), `step` (2, int64), and either `file_version` (3, string) or `summary`
//! (5), which holds one `value` (1) with `tag` (1, string) and `simple_value` (2, float).
//! TensorBoard looks for files whose name begins with `events.out.tfevents.`.

use crate::csv_log::LogError;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes one event file.
///
/// Events are buffered: a kill loses those since the last [`flush`](Self::flush), and what is
/// dropped is flushed if it can be. Flush before a checkpoint stores
/// [`len_bytes`](Self::len_bytes).
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
    len: u64,
}

impl EventWriter {
    /// Starts an event file; an old file of that name is overwritten.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create(path).map_err(LogError::io("create", path))?;
        let mut writer = Self { path: path.to_owned(), file: BufWriter::new(file), len: 0 };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        let mut event = Vec::new();
        fixed64(&mut event, 1, now);
        bytes(&mut event, 3, b"brain.Event:2");
        writer.record(&event)?;
        // TensorBoard may look at the file at once, and needs its first record to know it.
        writer.flush()?;
        Ok(writer)
    }

    /// Goes on with the file as it was when it had `len_bytes` bytes; later events are cut off.
    ///
    /// # Errors
    ///
    /// [`LogError::TooShort`] if the file has fewer bytes, [`LogError::Io`].
    pub fn resume(path: &Path, len_bytes: u64) -> Result<Self, LogError> {
        let mut file =
            OpenOptions::new().write(true).open(path).map_err(LogError::io("open", path))?;
        let found = file.metadata().map_err(LogError::io("read", path))?.len();
        if found < len_bytes {
            return Err(LogError::TooShort { path: path.to_owned(), found, needed: len_bytes });
        }
        file.set_len(len_bytes).map_err(LogError::io("cut", path))?;
        file.seek(SeekFrom::End(0)).map_err(LogError::io("cut", path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), len: len_bytes })
    }

    /// Adds the point (`step`, `value`) to the curve `tag`; `wall_time` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn scalar(
        &mut self,
        tag: &str,
        step: u64,
        value: f32,
        wall_time: f64,
    ) -> Result<(), LogError> {
        let mut point = Vec::new();
        bytes(&mut point, 1, tag.as_bytes());
        key(&mut point, 2, WIRE_32);
        point.extend(value.to_le_bytes());
        let mut summary = Vec::new();
        bytes(&mut summary, 1, &point);
        let mut event = Vec::new();
        fixed64(&mut event, 1, wall_time);
        key(&mut event, 2, WIRE_VARINT);
        varint(&mut event, step);
        bytes(&mut event, 5, &summary);
        self.record(&event)
    }

    /// Hands everything to the operating system, so that a viewer sees it.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.file.flush().map_err(LogError::io("write", &self.path))
    }

    /// The length of the file once flushed: where [`resume`](Self::resume) can go on from.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    fn record(&mut self, payload: &[u8]) -> Result<(), LogError> {
        let length = (payload.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(payload);
        record.extend(masked_crc(payload).to_le_bytes());
        self.file.write_all(&record).map_err(LogError::io("write", &self.path))?;
        self.len += record.len() as u64;
        Ok(())
    }
}

/// The format rotates its checksums and adds a constant, so that a checksum of data that contain
/// checksums stays meaningful.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

const WIRE_VARINT: u64 = 0;
const WIRE_64: u64 = 1;
const WIRE_BYTES: u64 = 2;
const WIRE_32: u64 = 5;

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed64(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, WIRE_64);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, WIRE_BYTES);
    varint(out, value.len() as u64);
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::tempdir;

    /// CRC-32C bit by bit from its reversed polynomial.
    fn slow_crc(data: &[u8]) -> u32 {
        !data.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
            })
        })
    }

    /// The payloads of all records; checks every length and checksum on the way.
    fn payloads(mut file: &[u8]) -> Vec<Vec<u8>> {
        let unmask = |bytes: &[u8]| {
            let masked = u32::from_le_bytes(bytes.try_into().unwrap());
            masked.wrapping_sub(0xa282_ead8).rotate_left(15)
        };
        let mut found = Vec::new();
        while !file.is_empty() {
            let n = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            assert_eq!(unmask(&file[8..12]), slow_crc(&file[..8]));
            assert_eq!(unmask(&file[12 + n..16 + n]), slow_crc(&file[12..12 + n]));
            found.push(file[12..12 + n].to_vec());
            file = &file[16 + n..];
        }
        found
    }

    /// The fields of a protobuf message: number, and content (a number as its little-endian bytes).
    fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn read_varint(message: &mut &[u8]) -> u64 {
            let n = message.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let (digits, rest) = message.split_at(n);
            *message = rest;
            digits.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
        }
        let mut found = Vec::new();
        while !message.is_empty() {
            let key = read_varint(&mut message);
            let n = match key & 7 {
                0 => {
                    let value = read_varint(&mut message).to_le_bytes().to_vec();
                    found.push((key >> 3, value));
                    continue;
                }
                1 => 8,
                2 => read_varint(&mut message) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            found.push((key >> 3, message[..n].to_vec()));
            message = &message[n..];
        }
        found
    }

    #[test]
    fn checksums_are_those_of_the_published_vectors() {
        // The check value of CRC-32C, and the vectors of RFC 3720, B.4.
        let ascending: Vec<u8> = (0..32).collect();
        let vectors: [(&[u8], u32); 4] = [
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ];
        for (data, crc) in vectors {
            assert_eq!(crc32c::crc32c(data), crc);
            assert_eq!(slow_crc(data), crc);
        }
    }

    #[test]
    fn an_independent_parser_reads_the_file() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("events.out.tfevents.1");
        let mut writer = EventWriter::create(&path).unwrap();
        let points = [("return", 0, 1.5, 1e9), ("loss/critic", 300, f32::NAN, 1e9 + 0.25)];
        for (tag, step, value, wall_time) in points {
            writer.scalar(tag, step, value, wall_time).unwrap();
        }
        writer.scalar("last", i64::MAX as u64, -1.0, 0.0).unwrap();
        writer.flush().unwrap();
        let file = fs::read(&path).unwrap();
        assert_eq!(file.len() as u64, writer.len_bytes());
        let events = payloads(&file);
        assert_eq!(events.len(), 4);
        let version = fields(&events[0]);
        assert_eq!(version[1], (3, b"brain.Event:2".to_vec()));
        for (event, (tag, step, value, wall_time)) in events[1..].iter().zip(points) {
            let event = fields(event);
            assert_eq!(event[0], (1, f64::to_le_bytes(wall_time).to_vec()));
            assert_eq!(event[1], (2, u64::to_le_bytes(step).to_vec()));
            assert_eq!(event[2].0, 5);
            let summary = fields(&event[2].1);
            assert_eq!(summary[0].0, 1);
            let point = fields(&summary[0].1);
            assert_eq!(point, [(1, tag.as_bytes().to_vec()), (2, value.to_le_bytes().to_vec())]);
        }
        assert_eq!(fields(&events[3])[1].1, i64::MAX.to_le_bytes());
    }

    #[test]
    fn resuming_cuts_back_to_the_checkpoint() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("events.out.tfevents.1");
        let mut writer = EventWriter::create(&path).unwrap();
        writer.scalar("return", 1, 1.0, 1.0).unwrap();
        writer.flush().unwrap();
        let len = writer.len_bytes();
        writer.scalar("return", 2, 2.0, 2.0).unwrap();
        drop(writer);
        let whole = fs::read(&path).unwrap();

        let mut writer = EventWriter::resume(&path, len).unwrap();
        writer.scalar("return", 2, 2.0, 2.0).unwrap();
        writer.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        let error = EventWriter::resume(&path, whole.len() as u64 + 1).unwrap_err();
        assert!(matches!(error, LogError::TooShort { .. }), "{error}");
    }
}
