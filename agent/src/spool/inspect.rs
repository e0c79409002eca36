//! Looking into spools that no agent has open, and making damaged ones startable.
//!
//! Reading changes nothing. Repairing removes nothing: what keeps an agent from starting is renamed
//! to `NAME.bad`, or `NAME.bad.1` and so on if there is one. Damage that an agent skips and counts by
//! itself is left as it is.

use super::record::{Found, Message};
use super::segment::{self, Header, HeaderFault, Listed, Segment, SpoolError, Walked};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was found in a spool.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) segments: u64,
    /// Records that can be read, delivered or not.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Records that can be read and are not delivered.
    pub(crate) unreleased: u64,
    pub(crate) faults: Vec<Fault>,
}

/// Something that is not as it should be.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// Where in the file, in bytes, if at one place.
    pub(crate) place: Option<u64>,
    pub(crate) what: String,
    /// The agent does not start before it is repaired.
    pub(crate) fatal: bool,
}

impl Fault {
    fn of(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, what: what.into(), fatal: false }
    }

    fn fatal(self) -> Self {
        Self { fatal: true, ..self }
    }
}

/// The spools in `directory`, a state directory's `spool`, by name. None if there is no such
/// directory.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn spools(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut spools = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.contains(".bad") {
            spools.push((name, entry.path()));
        }
    }
    spools.sort();
    Ok(spools)
}

/// Reads the whole spool in `directory`, which was delivered up to `acked`; shows each record that
/// was not, with its offset.
///
/// # Errors
/// Only those of `show`; what is wrong with the spool is among the faults.
pub(crate) fn inspect(
    directory: &Path,
    acked: u64,
    mut show: impl FnMut(u64, &Message<'_>) -> io::Result<()>,
) -> io::Result<Inspection> {
    let mut inspection = Inspection::default();
    let listed = match segment::list(directory) {
        Ok(listed) => listed,
        Err(error) => {
            inspection.faults.push(Fault::of(directory, reason(&error)).fatal());
            return Ok(inspection);
        }
    };
    let mut before: Option<(u64, u64)> = None;
    for (index, entry) in listed.iter().enumerate() {
        inspection.segments += 1;
        let Some((header, mut segment)) = inspection.open(entry) else { continue };
        if let Some(next) = listed.get(index + 1) {
            segment.length = segment.length.min(next.base - segment.base());
        }
        let (expected_end, expected_number) = match (before, header) {
            (Some((end, number)), Some(header)) => {
                inspection.gap(&entry.path, end, number, header);
                (segment.end(), header.first)
            }
            (None, Some(header)) => (segment.end(), header.first),
            (Some((_, number)), None) => (segment.end(), number),
            (None, None) => (segment.end(), 0),
        };
        let walked = inspection.walk(&entry.path, &segment, acked, &mut show)?;
        before = Some((expected_end, expected_number + walked.items()));
    }
    Ok(inspection)
}

impl Inspection {
    fn open(&mut self, entry: &Listed) -> Option<(Option<Header>, Segment)> {
        let fault = |what: String| Fault::of(&entry.path, what);
        let (file, length, header) = match segment::open(entry) {
            Ok(opened) => opened,
            Err(error) => {
                self.faults.push(fault(reason(&error)).fatal());
                return None;
            }
        };
        let placed = Header { base: entry.base, after: entry.base, first: 0 };
        match header {
            Ok(header) => Some((Some(header), Segment::new(header, length, file))),
            Err(HeaderFault::Short) => {
                self.faults.push(fault("it ends within its header; nothing is in it".into()));
                None
            }
            Err(HeaderFault::Damaged) => {
                let what = "the header is damaged; the records are read all the same";
                self.faults.push(Fault { place: Some(0), ..fault(what.into()) });
                Some((None, Segment::new(placed, length, file)))
            }
            Err(HeaderFault::Version(version)) => {
                let what = format!("it is of version {version}, which this program does not know");
                self.faults.push(Fault { place: Some(8), ..fault(what).fatal() });
                None
            }
        }
    }

    fn gap(&mut self, path: &Path, end: u64, number: u64, header: Header) {
        let lost = header.first.saturating_sub(number);
        if end < header.after || lost > 0 {
            let bytes = header.after.saturating_sub(end);
            let what =
                format!("{lost} records and {bytes} bytes in front of this segment are missing");
            self.faults.push(Fault::of(path, what));
        }
    }

    fn walk(
        &mut self,
        path: &Path,
        segment: &Segment,
        acked: u64,
        show: &mut impl FnMut(u64, &Message<'_>) -> io::Result<()>,
    ) -> io::Result<Walked> {
        let mut shown = Ok(());
        let mut stretches = Vec::new();
        let mut unreleased = 0;
        let walked = segment.walk(u64::MAX, |offset, length, found| match found {
            Found::Message { message, .. } if offset >= acked => {
                unreleased += 1;
                if shown.is_ok() {
                    shown = show(offset, message);
                }
            }
            Found::Damaged { .. } => stretches.push((offset, length)),
            Found::Message { .. } | Found::Incomplete => {}
        });
        shown?;
        self.unreleased += unreleased;
        self.bytes += segment.length;
        for (offset, length) in stretches {
            let what = format!("{length} bytes hold no record that can be read; they are skipped");
            let place = Some(segment.place(offset));
            self.faults.push(Fault { place, ..Fault::of(path, what) });
        }
        match walked {
            Ok(walked) => {
                self.records += walked.records;
                Ok(walked)
            }
            Err(error) => {
                self.faults.push(Fault::of(path, format!("it cannot be read: {error}")).fatal());
                Ok(Walked::default())
            }
        }
    }
}

/// What is wrong, without the path and the remedy that stand beside it anyway.
fn reason(error: &SpoolError) -> String {
    match error {
        SpoolError::Io { error, .. } => format!("it cannot be read: {error}"),
        SpoolError::Symlink { .. } => "it is a symbolic link, which could lead anywhere".to_owned(),
        SpoolError::Version { version, .. } => format!("it is of version {version}"),
    }
}

/// Sets `path` aside; returns its new name.
///
/// # Errors
/// It cannot be renamed.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |suffix: String| -> PathBuf {
        let mut name = OsString::from(path.as_os_str());
        name.push(suffix);
        name.into()
    };
    let mut names = std::iter::once(named(".bad".into()))
        .chain((1_u32..).map(|number| named(format!(".bad.{number}"))));
    let free = names.find(|name| fs::symlink_metadata(name).is_err());
    let free = free.ok_or_else(|| io::Error::other("there are too many files of that name"))?;
    fs::rename(path, &free)?;
    Ok(free)
}
