//! One journal file, read as systemd.io/JOURNAL_FILE_FORMAT describes it; nothing in it is trusted.
//!
//! Every offset and length from the file is checked against the file, every chain only goes forward,
//! and what does not fit is no entry: any bytes are read without panic, and in bounded memory. A
//! file that is being written ends at the first entry that is not whole yet.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xz4rust::{XzDecoder, XzNextBlockResult};

const SIGNATURE: &[u8] = b"LPKSHHRH";
const HEADER_BYTES: usize = 208;
const OBJECT_HEADER_BYTES: u64 = 16;
const COMPACT: u32 = 1 << 4;
/// Compression with xz, lz4 and zstd, keyed hashes, compact: all that there is by now.
const INCOMPATIBLE_KNOWN: u32 = 0x1f;
const TYPE_DATA: u8 = 1;
const TYPE_ENTRY: u8 = 3;
const TYPE_ENTRY_ARRAY: u8 = 6;
const FLAG_XZ: u8 = 1;
const FLAG_LZ4: u8 = 1 << 1;
const FLAG_ZSTD: u8 = 1 << 2;
const FLAGS_COMPRESSED: u8 = 7;
/// Where the items of an entry and the payload of a datum begin.
const ENTRY_ITEMS_AT: u64 = 64;
const PAYLOAD_AT: u64 = 64;
const PAYLOAD_AT_COMPACT: u64 = 72;
/// More of one field is not read.
pub(super) const FIELD_BYTES_MAX: usize = 512 << 10;
/// journald compresses with a dictionary of this size; one that claims more is not read.
const XZ_DICTIONARY_BYTES: usize = 1 << 20;
/// More fields of one entry are not read; journald itself takes 1024.
const FIELDS_MAX: usize = 1024;
/// By how much the number of the last entry may be above the one before it and the header's.
const NUMBERS_AHEAD_MAX: u64 = 1 << 20;
/// More of one entry is not read.
const ENTRY_BYTES_MAX: usize = 2 << 20;

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct JournalFile {
    file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) seqnum_id: [u8; 16],
    compact: bool,
    first_array: u64,
    /// The number of the last entry when it was opened: after a power cut the header may be behind it.
    last_at_open: u64,
    cursor: Option<Cursor>,
    /// The entry at the cursor, if that is one to be taken: its offset and its number.
    found: Option<(u64, u64)>,
    /// The number of an entry before the cursor. Within a file they rise, so one that is not above is damaged.
    passed: u64,
    /// Entries that are damaged and were not counted yet.
    pub(super) damaged: u64,
    /// The list of the entries is damaged, which is counted as one.
    broken: bool,
}

/// Device and inode.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The list of a file's entries cannot be followed any further.
#[derive(Debug)]
struct Broken;

/// The next entry is item `index` of the array.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    array: u64,
    index: u64,
}

/// An entry array.
#[derive(Debug, Clone, Copy)]
struct Array {
    next: u64,
    items: u64,
}

/// An entry with its fields, `NAME=value` each.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Microseconds since 1970.
    pub(super) realtime: u64,
    pub(super) fields: Vec<Vec<u8>>,
    /// Fields that could not be read: damaged, or larger than is read.
    pub(super) unread: usize,
}

impl Entry {
    /// The first value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        let mut fields = self.fields.iter();
        fields.find_map(|field| field.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

impl JournalFile {
    /// # Errors
    /// The file cannot be read, is no journal of a kind that is known, or has no entry yet: only with
    /// the first one is it settled to which sequence it belongs.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let incompatible = word(&header, 12);
        if !header.starts_with(SIGNATURE) || incompatible & !INCOMPATIBLE_KNOWN != 0 {
            return Err(io::Error::other("no journal file of a kind that is known"));
        }
        let mut seqnum_id = [0; 16];
        seqnum_id.copy_from_slice(&header[72..88]);
        let compact = incompatible & COMPACT != 0;
        let first_array = long(&header, 176);
        if first_array == 0 {
            return Err(io::Error::other("no entry is in it yet"));
        }
        let mut opened = Self {
            identity: identity(&file.metadata()?),
            file: Arc::new(file),
            path: path.to_owned(),
            seqnum_id,
            compact,
            first_array,
            last_at_open: 0,
            cursor: None,
            found: None,
            passed: 0,
            damaged: 0,
            broken: false,
        };
        opened.last_at_open = opened.last_listed().unwrap_or(0);
        Ok(opened)
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Forgets where it was; the next look searches, and meets again what is damaged.
    pub(super) fn rewind(&mut self) {
        (self.cursor, self.found, self.damaged, self.broken) = (None, None, 0, false);
    }

    /// The offset and the number of the first entry at or behind `from` that is not behind us.
    pub(super) fn peek(&mut self, from: u64) -> Option<(u64, u64)> {
        self.seek(from).unwrap_or_else(|Broken| {
            // Of a file that is all behind us it was counted when we came by.
            if from <= self.last_seqnum() && !std::mem::replace(&mut self.broken, true) {
                self.damaged += 1;
                let path = self.path.display();
                tracing::warn!(%path, "the list of a journal's entries is damaged; its rest is not read");
            }
            None
        })
    }

    fn seek(&mut self, from: u64) -> Result<Option<(u64, u64)>, Broken> {
        if let Some(found) = self.found.filter(|found| found.1 >= from) {
            return Ok(Some(found));
        }
        let mut cursor = match self.cursor {
            Some(cursor) => cursor,
            None => self.start(from).ok_or(Broken)?,
        };
        if let Some((_, taken)) = self.found.take() {
            self.passed = taken;
            cursor.index += 1;
        }
        let counted = self.damaged;
        loop {
            self.cursor = Some(cursor);
            let array = self.array(cursor.array).ok_or(Broken)?;
            if cursor.index >= array.items {
                match array.next {
                    0 => return Ok(None),
                    next if next <= cursor.array => return Err(Broken),
                    next => cursor = Cursor { array: next, index: 0 },
                }
                continue;
            }
            let offset = self.item(cursor).ok_or(Broken)?;
            match self.seqnum(offset) {
                // A slot that is not filled yet.
                None if offset == 0 => return Ok(None),
                // What is damaged before it is behind us.
                Some(seqnum) if self.passed < seqnum && seqnum < from => self.damaged = counted,
                Some(seqnum) if self.fits(cursor, seqnum, from) => {
                    if seqnum == from {
                        self.damaged = counted;
                    }
                    self.found = Some((offset, seqnum));
                    return Ok(self.found);
                }
                _ => {
                    self.damaged += 1;
                    let path = self.path.display();
                    tracing::warn!(%path, offset, "an entry of the journal is damaged");
                }
            }
            cursor.index += 1;
        }
    }

    /// Whether the number of the entry at the cursor lies between those around it, as far as these can be
    /// right: were it taken though it is too high, those behind it would be taken for old ones.
    fn fits(&self, cursor: Cursor, seqnum: u64, from: u64) -> bool {
        let next = Cursor { index: cursor.index + 1, ..cursor };
        let beyond = |array: Array| match next.index < array.items {
            true => self.number(next),
            false => self.number(Cursor { array: array.next, index: 0 }),
        };
        let next = self.array(cursor.array).and_then(beyond);
        let is_below =
            next.is_some_and(|next| self.passed < next && from <= next && next <= seqnum);
        self.passed < seqnum && seqnum <= self.last_seqnum() && !is_below
    }

    /// Goes to where the first entry at or behind `from` may be.
    fn start(&mut self, from: u64) -> Option<Cursor> {
        let cursor = self.search(from)?;
        let before = cursor.index.checked_sub(1);
        let passed = before.and_then(|index| self.number(Cursor { index, ..cursor }));
        self.passed = passed.filter(|passed| *passed < from).unwrap_or(0);
        Some(cursor)
    }

    /// Whether the entry at the cursor is before `from`. One whose number is not above that of the one
    /// before it is not believed.
    fn is_before(&self, cursor: Cursor, from: u64) -> bool {
        let before = cursor.index.checked_sub(1);
        let before = before.and_then(|index| self.number(Cursor { index, ..cursor }));
        let number = self.number(cursor).filter(|number| before.unwrap_or(0) < *number);
        number.is_some_and(|number| number < from)
    }

    /// Where the first entry at or behind `from` may be: whole arrays before it are skipped.
    fn search(&self, from: u64) -> Option<Cursor> {
        let mut at = self.first_array;
        loop {
            let array = self.array(at)?;
            let last = Cursor { array: at, index: array.items.checked_sub(1)? };
            if !self.is_before(last, from) || array.next <= at {
                break;
            }
            at = array.next;
        }
        let (mut low, mut high) = (0, self.array(at)?.items);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.is_before(Cursor { array: at, index: middle }, from) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(Cursor { array: at, index: low })
    }

    /// The number of the last entry.
    pub(super) fn last_seqnum(&self) -> u64 {
        self.last_of_header().max(self.last_at_open)
    }

    fn last_of_header(&self) -> u64 {
        let mut bytes = [0; 8];
        let read = self.file.read_exact_at(&mut bytes, 160);
        read.map_or(0, |()| u64::from_le_bytes(bytes))
    }

    /// The same, by what the list of the entries ends with, unless that is far from all that is known else.
    fn last_listed(&self) -> Option<u64> {
        let end = self.search(u64::MAX)?;
        let last = Cursor { index: end.index.checked_sub(1)?, ..end };
        let before = last.index.checked_sub(1);
        let before = before.and_then(|index| self.number(Cursor { index, ..last }));
        let known = self.last_of_header().max(before.unwrap_or(0));
        self.number(last).filter(|last| *last <= known.saturating_add(NUMBERS_AHEAD_MAX))
    }

    fn item_bytes(&self) -> u64 {
        if self.compact { 4 } else { 8 }
    }

    /// Type, flags and size of the object at `offset`.
    fn object(&self, offset: u64) -> Option<(u8, u8, u64)> {
        if offset < HEADER_BYTES as u64 || !offset.is_multiple_of(8) {
            return None;
        }
        let mut header = [0; OBJECT_HEADER_BYTES as usize];
        self.file.read_exact_at(&mut header, offset).ok()?;
        let size = long(&header, 8);
        (size >= OBJECT_HEADER_BYTES).then_some((header[0], header[1], size))
    }

    fn array(&self, offset: u64) -> Option<Array> {
        let (kind, _, size) = self.object(offset)?;
        if kind != TYPE_ENTRY_ARRAY {
            return None;
        }
        let mut next = [0; 8];
        self.file.read_exact_at(&mut next, offset + OBJECT_HEADER_BYTES).ok()?;
        let items = size.checked_sub(OBJECT_HEADER_BYTES + 8)? / self.item_bytes();
        Some(Array { next: u64::from_le_bytes(next), items })
    }

    fn item(&self, cursor: Cursor) -> Option<u64> {
        let at = cursor.index.checked_mul(self.item_bytes())?.checked_add(cursor.array)?;
        let mut bytes = [0; 8];
        let wanted = &mut bytes[..self.item_bytes() as usize];
        self.file.read_exact_at(wanted, at.checked_add(OBJECT_HEADER_BYTES + 8)?).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn number(&self, cursor: Cursor) -> Option<u64> {
        self.seqnum(self.item(cursor)?)
    }

    fn seqnum(&self, offset: u64) -> Option<u64> {
        let (kind, _, size) = self.object(offset)?;
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset + OBJECT_HEADER_BYTES).ok()?;
        (kind == TYPE_ENTRY && size >= ENTRY_ITEMS_AT).then(|| u64::from_le_bytes(bytes))
    }

    /// The entry at `offset`, which [`Self::peek`] has found.
    pub(super) fn entry(&self, offset: u64) -> Option<Entry> {
        let (kind, _, size) = self.object(offset)?;
        if kind != TYPE_ENTRY || size < ENTRY_ITEMS_AT {
            return None;
        }
        let item_bytes = if self.compact { 4 } else { 16 };
        let items = ((size - ENTRY_ITEMS_AT) / item_bytes).min(FIELDS_MAX as u64);
        let mut bytes = vec![0; (ENTRY_ITEMS_AT + items * item_bytes) as usize];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        let mut entry = Entry { realtime: long(&bytes, 24), ..Entry::default() };
        let mut total = 0;
        for item in bytes[ENTRY_ITEMS_AT as usize..].chunks_exact(item_bytes as usize) {
            let offset = if self.compact { word(item, 0).into() } else { long(item, 0) };
            match self.datum(offset).filter(|field| total + field.len() <= ENTRY_BYTES_MAX) {
                Some(field) => {
                    total += field.len();
                    entry.fields.push(field);
                }
                None => entry.unread += 1,
            }
        }
        Some(entry)
    }

    fn datum(&self, offset: u64) -> Option<Vec<u8>> {
        let (kind, flags, size) = self.object(offset)?;
        let begin = if self.compact { PAYLOAD_AT_COMPACT } else { PAYLOAD_AT };
        let length = usize::try_from(size.checked_sub(begin)?).ok()?;
        if kind != TYPE_DATA || length > FIELD_BYTES_MAX {
            return None;
        }
        let mut payload = vec![0; length];
        self.file.read_exact_at(&mut payload, offset.checked_add(begin)?).ok()?;
        match flags & FLAGS_COMPRESSED {
            0 => Some(payload),
            FLAG_XZ => unpacked_xz(&payload),
            FLAG_ZSTD => {
                let mut field = Vec::new();
                let decoder = zstd::stream::read::Decoder::new(payload.as_slice()).ok()?;
                decoder.take(FIELD_BYTES_MAX as u64).read_to_end(&mut field).ok()?;
                Some(field)
            }
            FLAG_LZ4 => {
                let length = usize::try_from(long(payload.get(..8)?, 0)).ok()?;
                let length = Some(length).filter(|length| *length <= FIELD_BYTES_MAX)?;
                lz4_flex::block::decompress(&payload[8..], length).ok()
            }
            _ => None,
        }
    }
}

/// What an xz stream unpacks to, of which no more than [`FIELD_BYTES_MAX`] is read; `None` if it is
/// damaged.
fn unpacked_xz(mut stream: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(0, XZ_DICTIONARY_BYTES);
    let (mut field, mut filled) = (Vec::new(), 0);
    loop {
        field.resize((filled * 2).clamp(4 << 10, FIELD_BYTES_MAX), 0);
        let step = decoder.decode(stream, &mut field[filled..]).ok()?;
        filled += step.output_produced();
        let ended = matches!(step, XzNextBlockResult::EndOfStream(..));
        if ended || filled == FIELD_BYTES_MAX {
            field.truncate(filled);
            return Some(field);
        }
        stream = &stream[step.input_consumed()..];
        if !step.made_progress() {
            return None;
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(long)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `MESSAGE=` and 40 times `an old journal `, as journald packs it with xz: a dictionary of 1 MiB
    /// and no checksum.
    const PACKED: &str = "fd377a585a000000ff12d9410200210110000000a8708e86e0025f00225d00269146acd06f74b8a5fefb\
        f7415444fd377f2c03e7c9eb7dc6e757e6cd2a83ffc000000000000136e004000000e560c0b6a8000afc\
        020000000000595a";

    fn packed() -> Vec<u8> {
        let digits: Vec<u8> = PACKED.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// A journal of entries with one field each, `MESSAGE=<text>`, numbered from 1.
    fn journal(texts: &[&str]) -> Vec<u8> {
        journal_of(texts.iter().map(|text| (0, format!("MESSAGE={text}").into_bytes())))
    }

    /// A journal of entries with these numbers.
    pub(in super::super) fn journal_from(numbers: &[u64]) -> Vec<u8> {
        journal_numbered(numbers.iter().map(|number| (*number, 0, b"MESSAGE=text".to_vec())))
    }

    /// A journal of entries numbered from 1, of fields by the flags of their compression.
    fn journal_of(fields: impl Iterator<Item = (u8, Vec<u8>)>) -> Vec<u8> {
        journal_numbered((1..).zip(fields).map(|(number, (flags, field))| (number, flags, field)))
    }

    fn journal_numbered(fields: impl Iterator<Item = (u64, u8, Vec<u8>)>) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..8].copy_from_slice(SIGNATURE);
        let object = |bytes: &mut Vec<u8>, (kind, flags): (u8, u8), body: &[u8]| {
            let offset = bytes.len() as u64;
            bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 0, 0, 0]);
            bytes.extend_from_slice(&(16 + body.len() as u64).to_le_bytes());
            bytes.extend_from_slice(body);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            offset
        };
        // Room for more, as journald leaves; the first object, so that it stays where it is.
        let array = object(&mut bytes, (TYPE_ENTRY_ARRAY, 0), &[0; 8 * 9]);
        let mut slot = (array + OBJECT_HEADER_BYTES + 8) as usize;
        let mut last = 0_u64;
        for (number, flags, field) in fields {
            last = number;
            let mut body = vec![0; 48];
            body.extend_from_slice(&field);
            let datum = object(&mut bytes, (TYPE_DATA, flags), &body);
            let mut body = vec![0; 48];
            body[..8].copy_from_slice(&number.to_le_bytes());
            body.extend_from_slice(&datum.to_le_bytes());
            body.extend_from_slice(&[0; 8]);
            let entry = object(&mut bytes, (TYPE_ENTRY, 0), &body);
            bytes[slot..slot + 8].copy_from_slice(&entry.to_le_bytes());
            slot += 8;
        }
        bytes[176..184].copy_from_slice(&array.to_le_bytes());
        bytes[160..168].copy_from_slice(&last.to_le_bytes());
        bytes
    }

    /// The messages from a number on.
    fn read(path: &Path, mut from: u64) -> Vec<String> {
        let Ok(mut file) = JournalFile::open(path) else { return Vec::new() };
        let mut messages = Vec::new();
        while let Some((offset, seqnum)) = file.peek(from) {
            let entry = file.entry(offset).unwrap_or_default();
            let message = entry.field("MESSAGE").unwrap_or(b"?");
            messages.push(String::from_utf8_lossy(message).into_owned());
            let Some(next) = seqnum.checked_add(1) else { break };
            from = next;
        }
        messages
    }

    #[test]
    fn entries_are_found_from_any_number_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        std::fs::write(&path, journal(&["a", "b", "c"])).unwrap();
        for (from, wanted) in [
            (0, &["a", "b", "c"][..]),
            (1, &["a", "b", "c"]),
            (2, &["b", "c"]),
            (3, &["c"]),
            (4, &[]),
        ] {
            assert_eq!(read(&path, from), wanted, "{from}");
        }
    }

    #[test]
    fn what_is_damaged_is_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        let whole = journal(&["a", "b", "c"]);
        let array = long(&whole, 176) as usize;
        let entries = [0, 1, 2].map(|slot| long(&whole, array + 24 + 8 * slot) as usize);
        for (damaged, from, wanted, count) in [
            (None, 0, &[1, 2, 3][..], 0),
            (Some(entries[0]), 0, &[2, 3], 1),
            (Some(entries[1]), 0, &[1, 3], 1),
            // Taken and counted by an earlier run.
            (Some(entries[1]), 3, &[3], 0),
            (Some(entries[2]), 0, &[1, 2], 1),
            (Some(array), 0, &[], 1),
        ] {
            let mut bytes = whole.clone();
            damaged.into_iter().for_each(|at| bytes[at] = 0xff);
            std::fs::write(&path, &bytes).unwrap();
            let mut file = JournalFile::open(&path).unwrap();
            let mut numbers = Vec::new();
            let mut next = from;
            while let Some((_, number)) = file.peek(next) {
                numbers.push(number);
                next = number + 1;
            }
            file.peek(next);
            assert_eq!((numbers.as_slice(), file.damaged), (wanted, count), "{damaged:?} {from}");
        }
    }

    /// The numbers that are taken from `from` on, and how many entries are counted as damaged.
    fn taken(path: &Path, from: u64) -> (Vec<u64>, u64) {
        let mut file = JournalFile::open(path).unwrap();
        let (mut numbers, mut next) = (Vec::new(), from);
        while let Some((_, number)) = file.peek(next) {
            numbers.push(number);
            next = number + 1;
        }
        (numbers, file.damaged)
    }

    #[test]
    fn a_damaged_number_costs_its_entry_only_and_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        let whole = journal_from(&[1, 2, 3, 4, 5, 6, 7]);
        let array = long(&whole, 176) as usize;
        for (slot, number, from, wanted) in [
            (1, 6, 0, &[1, 3, 4, 5, 6, 7][..]),
            (1, 1 << 60, 0, &[1, 3, 4, 5, 6, 7]),
            (1, u64::MAX, 0, &[1, 3, 4, 5, 6, 7]),
            (1, 0, 0, &[1, 3, 4, 5, 6, 7]),
            (3, 1, 0, &[1, 2, 3, 5, 6, 7]),
            // Were that taken, nothing later ever would be.
            (6, 1 << 60, 0, &[1, 2, 3, 4, 5, 6]),
            // Where it is looked for where to go on.
            (3, 0, 2, &[2, 3, 5, 6, 7]),
            (3, 1, 4, &[5, 6, 7]),
            (4, 1 << 60, 3, &[3, 4, 6, 7]),
        ] {
            let mut bytes = whole.clone();
            let entry = long(&whole, array + 24 + 8 * slot) as usize;
            bytes[entry + 16..entry + 24].copy_from_slice(&u64::to_le_bytes(number));
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(taken(&path, from), (wanted.to_vec(), 1), "{slot} {number} {from}");
        }
    }

    #[test]
    fn a_damaged_list_is_not_counted_again_when_its_file_is_behind_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        let mut bytes = journal_from(&[1, 2, 3]);
        let array = long(&bytes, 176) as usize;
        bytes[array] = 0;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!([0, 3, 4].map(|from| taken(&path, from).1), [1, 1, 0]);
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        let whole = journal(&["first", "second", "third"]);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                std::fs::write(&path, &bytes).unwrap();
                assert!(read(&path, 0).len() <= 3, "{at} {value}");
            }
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            read(&path, 0);
        }
    }

    #[test]
    fn a_field_that_an_old_journald_packed_with_xz_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.journal");
        let fields = [(FLAG_XZ, packed()), (0, b"MESSAGE=plain".to_vec())];
        std::fs::write(&path, journal_of(fields.into_iter())).unwrap();
        assert_eq!(read(&path, 0), ["an old journal ".repeat(40), "plain".to_owned()]);
    }

    #[test]
    fn any_bytes_for_xz_are_unpacked_without_panic_and_bounded() {
        let whole = packed();
        for at in 0..whole.len() {
            assert_eq!(unpacked_xz(&whole[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let length = unpacked_xz(&bytes).map_or(0, |field| field.len());
                assert!(length <= FIELD_BYTES_MAX, "{at} {bit}: {length}");
            }
        }
    }

    #[test]
    fn no_more_than_a_field_may_have_comes_of_an_xz_stream() {
        // Chunks of LZMA2 that are not compressed, each of 64 KiB, for 1 MiB in all.
        let mut stream = packed()[..24].to_vec();
        for number in 0..16 {
            stream.extend_from_slice(&[1 + u8::from(number > 0), 0xff, 0xff]);
            stream.extend_from_slice(&[b'x'; 64 << 10]);
        }
        assert_eq!(unpacked_xz(&stream).map(|field| field.len()), Some(FIELD_BYTES_MAX));
    }
}
