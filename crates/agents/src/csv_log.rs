//! Curves as CSV files that can be cut back to a checkpoint, and their reader.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A curve or event file that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused.
    #[error("cannot {action} `{}`{}", path.display(), io_hint(source))]
    Io {
        /// What was tried: `create`, `open`, `read`, `write`, `cut` or `sync`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file has less than a checkpoint says was written to it.
    #[error(
        "`{}` has {found} bytes, but the checkpoint was taken when it had {needed}; put the \
         original file back, or remove the run's folder and start again", path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length in the checkpoint.
        needed: u64,
    },
    /// A checkpoint's length does not lie at the end of a row.
    #[error(
        "`{}` has no row that ends at byte {length}, where the checkpoint was taken; put the \
         original file back, or remove the run's folder and start again", path.display()
    )]
    NotAtRowEnd {
        /// The file.
        path: PathBuf,
        /// The length in the checkpoint.
        length: u64,
    },
    /// The file has other columns than this build writes.
    #[error(
        "`{}` has the columns [{}], but [{}] are written now; go on with the build that began it, \
         or start the run afresh in another folder",
        path.display(), found.join(", "), needed.join(", ")
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// The columns it has.
        found: Vec<String>,
        /// The columns that are to be written.
        needed: Vec<String>,
    },
    /// A row has more or fewer numbers than there are columns.
    #[error("`{}`, line {line}: a row of {found} values for {needed} columns", path.display())]
    RowLength {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Values in the row.
        found: usize,
        /// Columns of the file.
        needed: usize,
    },
    /// A field is no number.
    #[error("`{}`, line {line}, column `{column}`: {found:?} is no number", path.display())]
    Number {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// What stands there.
        found: String,
    },
    /// The text is no CSV.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

impl LogError {
    /// Turns an error of the operating system into one that says what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
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
        io::ErrorKind::NotFound => ": it does not exist",
        _ => "",
    }
}

/// A CSV file of numbers that grows by rows.
///
/// Every row is handed to the operating system when it is appended, so that killing the process
/// loses none. A checkpoint stores [`len_bytes`](Self::len_bytes) after [`sync`](Self::sync), and
/// [`resume`](Self::resume) cuts off what was written after it: curves never overlap.
#[derive(Debug)]
pub struct CsvLog {
    path: PathBuf,
    file: File,
    n_columns: usize,
    len: u64,
    line: u64,
}

impl CsvLog {
    /// Starts a file with a line of column names; an old file of that name is overwritten.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn create(path: &Path, columns: &[&str]) -> Result<Self, LogError> {
        let file = File::create(path).map_err(LogError::io("create", path))?;
        let mut log =
            Self { path: path.to_owned(), file, n_columns: columns.len(), len: 0, line: 1 };
        let header = header_line(columns).map_err(LogError::io("write", path))?;
        log.write(&header)?;
        Ok(log)
    }

    /// Goes on with the file as it was when it had `len_bytes` bytes; later rows are cut off.
    ///
    /// # Errors
    ///
    /// [`LogError::TooShort`], [`LogError::NotAtRowEnd`] or [`LogError::Columns`] if it cannot be
    /// the file that the checkpoint was taken with; it is left unchanged then. [`LogError::Io`].
    pub fn resume(path: &Path, columns: &[&str], len_bytes: u64) -> Result<Self, LogError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(LogError::io("open", path))?;
        let found = file.metadata().map_err(LogError::io("read", path))?.len();
        if found < len_bytes {
            return Err(LogError::TooShort { path: path.to_owned(), found, needed: len_bytes });
        }
        let mut text = Vec::new();
        (&file).take(len_bytes).read_to_end(&mut text).map_err(LogError::io("read", path))?;
        if text.last() != Some(&b'\n') {
            return Err(LogError::NotAtRowEnd { path: path.to_owned(), length: len_bytes });
        }
        let header = header_line(columns).map_err(LogError::io("read", path))?;
        if !text.starts_with(&header) {
            let first = text.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
            return Err(LogError::Columns {
                path: path.to_owned(),
                found: parse(path, first)?.columns,
                needed: columns.iter().map(|&name| name.to_owned()).collect(),
            });
        }
        file.set_len(len_bytes).map_err(LogError::io("cut", path))?;
        file.seek(SeekFrom::End(0)).map_err(LogError::io("cut", path))?;
        let line = 1 + text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(Self { path: path.to_owned(), file, n_columns: columns.len(), len: len_bytes, line })
    }

    /// Appends a row, with as many digits as it takes to read the same bits back.
    ///
    /// # Errors
    ///
    /// [`LogError::RowLength`] or [`LogError::Io`]; nothing of the row is in the file then.
    pub fn append(&mut self, row: &[f64]) -> Result<(), LogError> {
        if row.len() != self.n_columns {
            return Err(LogError::RowLength {
                path: self.path.clone(),
                line: self.line,
                found: row.len(),
                needed: self.n_columns,
            });
        }
        let mut text = row.iter().map(|&value| number(value)).collect::<Vec<_>>().join(",");
        text.push('\n');
        self.write(text.as_bytes())
    }

    /// The length of the file: where [`resume`](Self::resume) can go on from.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Waits until everything is on the disk; a checkpoint must not be ahead of its curves.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`].
    pub fn sync(&self) -> Result<(), LogError> {
        self.file.sync_all().map_err(LogError::io("sync", &self.path))
    }

    /// Writes whole lines.
    fn write(&mut self, text: &[u8]) -> Result<(), LogError> {
        if let Err(error) = self.file.write_all(text) {
            // Half a row would hide the next one; the error at hand is the one to report.
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            return Err(LogError::io("write", &self.path)(error));
        }
        self.len += text.len() as u64;
        self.line += 1;
        Ok(())
    }
}

/// The numbers of a CSV file.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each with one number per column.
    pub rows: Vec<Vec<f64>>,
}

/// Reads a CSV file of numbers with a line of column names; `NaN`, `inf` and `-inf` are numbers.
///
/// # Errors
///
/// [`LogError::RowLength`], [`LogError::Number`] and [`LogError::Syntax`] with the line;
/// [`LogError::Io`].
pub fn read_csv(path: &Path) -> Result<Table, LogError> {
    parse(path, &fs::read(path).map_err(LogError::io("read", path))?)
}

fn parse(path: &Path, text: &[u8]) -> Result<Table, LogError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let syntax = |error: csv::Error| LogError::Syntax {
        path: path.to_owned(),
        line: error.position().map_or(1, csv::Position::line),
        reason: error.to_string(),
    };
    let columns: Vec<String> =
        reader.headers().map_err(syntax)?.iter().map(str::to_owned).collect();
    if columns.is_empty() {
        let reason = "the line of column names is missing".to_owned();
        return Err(LogError::Syntax { path: path.to_owned(), line: 1, reason });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(syntax)?;
        let line = record.position().map_or(0, |position| line_of(text, position));
        if record.len() != columns.len() {
            return Err(LogError::RowLength {
                path: path.to_owned(),
                line,
                found: record.len(),
                needed: columns.len(),
            });
        }
        let number = |(column, field): (&String, &str)| {
            field.trim().parse::<f64>().map_err(|_| LogError::Number {
                path: path.to_owned(),
                line,
                column: column.clone(),
                found: field.to_owned(),
            })
        };
        rows.push(columns.iter().zip(&record).map(number).collect::<Result<_, _>>()?);
    }
    Ok(Table { columns, rows })
}

/// The line in which the record at `position` begins; the reader's own count stands before the
/// empty lines that it skips.
fn line_of(text: &[u8], position: &csv::Position) -> u64 {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(start..).unwrap_or_default();
    let skipped = rest.iter().take_while(|&&byte| byte == b'\n' || byte == b'\r');
    position.line() + skipped.filter(|&&byte| byte == b'\n').count() as u64
}

/// The line of column names, quoted where a name needs it.
fn header_line(columns: &[&str]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    writer.into_inner().map_err(|error| error.into_error())
}

/// The shortest text that reads back with the same bits; `{}` alone would write 1e300 in full.
fn number(value: f64) -> String {
    let plain = value == 0.0 || (1e-5..1e16).contains(&value.abs()) || !value.is_finite();
    if plain { format!("{value}") } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use tempfile::{TempDir, tempdir};

    const COLUMNS: [&str; 2] = ["step", "return, mean"];

    fn new_log() -> (TempDir, PathBuf, CsvLog) {
        let dir = tempdir().unwrap();
        let path = dir.path().join("curve.csv");
        let log = CsvLog::create(&path, &COLUMNS).unwrap();
        (dir, path, log)
    }

    #[test]
    fn every_row_is_in_the_file_at_once_and_reads_back_bit_for_bit() {
        let (_dir, path, mut log) = new_log();
        let values = [1.0, -0.0, 1.0 / 3.0, 1e300, -5e-324, f64::INFINITY, 123_456_789.0];
        for (i, &value) in values.iter().enumerate() {
            log.append(&[i as f64, value]).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), log.len_bytes());
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("step,\"return, mean\"\n0,1\n1,-0\n2,0.3333333333333333\n"),
            "{text}"
        );
        assert!(text.ends_with("3,1e300\n4,-5e-324\n5,inf\n6,123456789\n"), "{text}");
        let table = read_csv(&path).unwrap();
        assert_eq!(table.columns, COLUMNS);
        for (row, value) in table.rows.iter().zip(values) {
            assert_eq!(row[1].to_bits(), value.to_bits());
        }
        log.append(&[7.0, f64::NAN]).unwrap();
        assert!(read_csv(&path).unwrap().rows[7][1].is_nan());
    }

    #[test]
    fn resuming_cuts_back_to_the_checkpoint() {
        let (_dir, path, mut log) = new_log();
        log.append(&[1.0, 10.0]).unwrap();
        log.sync().unwrap();
        let len = log.len_bytes();
        log.append(&[2.0, 20.0]).unwrap();
        drop(log);
        // A kill in the middle of a row.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3,3").unwrap();
        let mut log = CsvLog::resume(&path, &COLUMNS, len).unwrap();
        log.append(&[2.0, 21.0]).unwrap();
        assert_eq!(read_csv(&path).unwrap().rows, [[1.0, 10.0], [2.0, 21.0]]);
        assert_eq!(fs::metadata(&path).unwrap().len(), log.len_bytes());
    }

    #[test]
    fn a_file_that_is_not_the_checkpoints_is_refused_and_left_alone() {
        let (_dir, path, mut log) = new_log();
        log.append(&[1.0, 10.0]).unwrap();
        let len = log.len_bytes();
        let before = fs::read(&path).unwrap();
        let text =
            |columns: &[&str], len| CsvLog::resume(&path, columns, len).unwrap_err().to_string();
        let short = text(&COLUMNS, len + 1);
        assert!(short.contains(&format!("has {len} bytes, but the checkpoint")), "{short}");
        assert!(short.ends_with("or remove the run's folder and start again"), "{short}");
        for wrong in [len - 1, 0] {
            assert!(text(&COLUMNS, wrong).contains(&format!("ends at byte {wrong}")));
        }
        let other = text(&["step", "loss"], len);
        assert!(other.contains("columns [step, return, mean], but [step, loss] are"), "{other}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let missing = CsvLog::resume(&path.with_file_name("x"), &COLUMNS, 0).unwrap_err();
        assert!(missing.to_string().ends_with("x`: it does not exist"), "{missing}");
    }

    #[test]
    fn rows_of_the_wrong_length_are_refused() {
        let (_dir, path, mut log) = new_log();
        log.append(&[1.0, 2.0]).unwrap();
        let error = log.append(&[1.0]).unwrap_err().to_string();
        assert!(error.ends_with("curve.csv`, line 3: a row of 1 values for 2 columns"), "{error}");
        assert_eq!(read_csv(&path).unwrap().rows.len(), 1);
    }

    #[test]
    fn bad_tables_are_told_with_line_and_column() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let text = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            read_csv(&path).unwrap_err().to_string()
        };
        let word = text(b"a,b\n1,2\n3,x\n");
        assert!(word.ends_with("line 3, column `b`: \"x\" is no number"), "{word}");
        assert!(text(b"a,b\n1,2\n\n1,2,3\n").contains("line 4: a row of 3 values for 2 columns"));
        assert!(text(b"a,b\r\n1,2\r\n\r\n1,2\r\n1\r\n").contains("line 5: a row of 1 values"));
        assert!(text(b"").contains("line 1: the line of column names is missing"));
        assert!(text(b"a,b\n1,\xff\n").contains("line 2"));
        assert!(text(b"a,b\n1,\n").contains("\"\" is no number"));
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        // This device accepts no byte: every write to it fails as on a full disk.
        let Ok(file) = OpenOptions::new().write(true).open("/dev/full") else { return };
        let path = PathBuf::from("curve.csv");
        let mut log = CsvLog { path, file, n_columns: 1, len: 0, line: 1 };
        let error = log.append(&[1.0]).unwrap_err();
        assert!(error.to_string().contains("free some space and run the same command again"));
        assert!(error.source().is_some());
        assert_eq!(log.len_bytes(), 0);
    }
}
