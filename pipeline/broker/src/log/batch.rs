//! The header of a record batch, and what is checked of it; the records inside stay opaque.
//!
//! A broker needs no more than this to store and to serve a batch, so records are never decompressed.
//! The layout is magic 2 of <https://kafka.apache.org/documentation/#recordbatch>. Base offset and
//! leader epoch are the broker's to assign and lie outside the checksum, the rest is covered by it.

use thiserror::Error;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count: base offset and the length itself.
const UNCOUNTED_BYTES: usize = 12;
/// Where the checksummed part begins.
const CHECKED_FROM: usize = 21;
const MAGIC: u8 = 2;
const APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// The fields of a header that the broker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// Header and records.
    pub(crate) bytes: usize,
    pub(crate) checksum: u32,
    pub(crate) attributes: i16,
    /// Offset of the last record, relative to the first one; not negative.
    pub(crate) last_offset_delta: i32,
    /// Milliseconds since 1970 of the first record, by the producer's clock.
    pub(crate) base_timestamp: i64,
    /// Milliseconds since 1970 of the newest record, by the producer's clock; or of all records, by
    /// this broker's, see [`stamp`].
    pub(crate) max_timestamp: i64,
    /// −1 if the producer is not idempotent.
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

/// Why bytes are not a batch that the log takes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchFault {
    #[error("shorter than its header or its length")]
    Incomplete,
    #[error("more bytes than one batch")]
    Trailing,
    #[error("not of magic 2")]
    Magic,
    #[error("impossible length, offsets or number of records")]
    Impossible,
    #[error("checksum does not match")]
    Checksum,
    #[error("control batch from a client")]
    Control,
    #[error("part of a transaction")]
    Transactional,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BatchFault> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(BatchFault::Incomplete)?;
        if header[16] != MAGIC {
            return Err(BatchFault::Magic);
        }
        let counted = i32::from_be_bytes(field(header, 8));
        let read = Self {
            base_offset: i64::from_be_bytes(field(header, 0)),
            bytes: usize::try_from(counted).map_err(|_| BatchFault::Impossible)? + UNCOUNTED_BYTES,
            checksum: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            records: i32::from_be_bytes(field(header, 57)),
        };
        let possible = read.bytes >= HEADER_BYTES
            && read.last_offset_delta >= 0
            && read.base_offset >= 0
            && read.base_offset.checked_add(i64::from(read.last_offset_delta) + 1).is_some();
        if possible { Ok(read) } else { Err(BatchFault::Impossible) }
    }

    /// Reads the header of a batch that is complete at the start of `bytes` and has its checksum.
    pub(crate) fn read_checked(bytes: &[u8]) -> Result<Self, BatchFault> {
        let header = Self::read(bytes)?;
        let checked = bytes.get(CHECKED_FROM..header.bytes).ok_or(BatchFault::Incomplete)?;
        if crc32c::crc32c(checked) != header.checksum {
            return Err(BatchFault::Checksum);
        }
        Ok(header)
    }

    /// Checks what a client wants to have appended: exactly one batch of records without holes.
    pub(crate) fn read_produced(bytes: &[u8]) -> Result<Self, BatchFault> {
        let header = Self::read_checked(bytes)?;
        if bytes.len() > header.bytes {
            return Err(BatchFault::Trailing);
        }
        if header.attributes & CONTROL_BIT != 0 {
            return Err(BatchFault::Control);
        }
        if header.attributes & TRANSACTIONAL_BIT != 0 {
            return Err(BatchFault::Transactional);
        }
        let dense = header.records > 0 && header.last_offset_delta == header.records - 1;
        let numbered =
            header.producer_id < 0 || (header.producer_epoch >= 0 && header.base_sequence >= 0);
        if dense && numbered { Ok(header) } else { Err(BatchFault::Impossible) }
    }

    /// Milliseconds since 1970 of the first record.
    pub(crate) fn first_timestamp(&self) -> i64 {
        if self.attributes & APPEND_TIME_BIT != 0 {
            self.max_timestamp
        } else {
            self.base_timestamp
        }
    }

    /// Offset of the last record.
    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset that the record after this batch has.
    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }
}

/// Writes the broker's two fields into a batch: where it lies in the log, and under which leader.
pub(crate) fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    debug_assert!(batch.len() >= HEADER_BYTES, "only a checked batch is placed");
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives all records of a checked batch the time of its arrival, in milliseconds since 1970, and the
/// batch the checksum that comes of it.
pub(crate) fn stamp(batch: &mut [u8], header: &mut BatchHeader, milliseconds: i64) {
    header.attributes |= APPEND_TIME_BIT;
    header.max_timestamp = milliseconds;
    batch[21..23].copy_from_slice(&header.attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&milliseconds.to_be_bytes());
    header.checksum = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[17..21].copy_from_slice(&header.checksum.to_be_bytes());
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("every field lies within the header")
}

/// Batches for the tests of the log.
#[cfg(test)]
pub(crate) mod made {
    use super::{CHECKED_FROM, HEADER_BYTES};

    /// A batch of `records` records without content but for `filler` bytes.
    pub(crate) fn batch(records: i32, filler: usize) -> Vec<u8> {
        sequenced(records, filler, -1, -1, -1)
    }

    /// A batch of an idempotent producer.
    pub(crate) fn sequenced(
        records: i32,
        filler: usize,
        producer_id: i64,
        epoch: i16,
        base_sequence: i32,
    ) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend((0..filler).map(|index| index as u8));
        let counted = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&counted.to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        bytes[43..51].copy_from_slice(&producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&records.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Sets the time of all records.
    pub(crate) fn at_time(mut bytes: Vec<u8>, milliseconds: i64) -> Vec<u8> {
        bytes[27..35].copy_from_slice(&milliseconds.to_be_bytes());
        bytes[35..43].copy_from_slice(&milliseconds.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Computes the checksum anew.
    pub(crate) fn seal(bytes: &mut [u8]) {
        let checksum = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::made::{batch, seal, sequenced};
    use super::*;

    #[test]
    fn only_one_whole_dense_batch_is_taken_from_a_client() {
        fn check(change: impl FnOnce(&mut Vec<u8>), expected: Result<i64, BatchFault>) {
            let mut bytes = sequenced(3, 20, 7, 0, 0);
            change(&mut bytes);
            let read = BatchHeader::read_produced(&bytes).map(|header| header.next_offset());
            assert_eq!(read, expected);
        }
        check(|_| {}, Ok(3));
        check(|bytes| bytes.truncate(60), Err(BatchFault::Incomplete));
        check(|bytes| bytes.truncate(80), Err(BatchFault::Incomplete));
        check(|bytes| bytes.push(0), Err(BatchFault::Trailing));
        check(|bytes| bytes[16] = 1, Err(BatchFault::Magic));
        check(|bytes| bytes[70] ^= 1, Err(BatchFault::Checksum));
        check(|bytes| bytes[8] = 0x80, Err(BatchFault::Impossible));
        check(|bytes| bytes[11] = 48, Err(BatchFault::Impossible));
        let resealed = |at: usize, value: u8| {
            move |bytes: &mut Vec<u8>| {
                bytes[at] = value;
                seal(bytes);
            }
        };
        check(resealed(22, 1 << 5), Err(BatchFault::Control));
        check(resealed(22, 1 << 4), Err(BatchFault::Transactional));
        check(resealed(60, 4), Err(BatchFault::Impossible));
        check(resealed(23, 0x80), Err(BatchFault::Impossible));
        check(resealed(53, 0x80), Err(BatchFault::Impossible));
        check(resealed(51, 0x80), Err(BatchFault::Impossible));
    }

    #[test]
    fn placing_a_batch_keeps_its_checksum() {
        let mut bytes = batch(2, 10);
        place(&mut bytes, 1 << 40, 5);
        assert_eq!(BatchHeader::read_checked(&bytes).unwrap().base_offset, 1 << 40);
    }
}
