//! A record of the spool: a message with when and from where it came, checked by CRCs.
//!
//! Header, 16 bytes, little-endian: magic, body length, CRC-32C of the body, CRC-32C of the twelve
//! bytes before. The header has a CRC of its own so that a damaged body costs one record only: the
//! length that leads to the next one can be trusted. Behind a damaged header the next whole record is
//! searched. Body: received at (i64, nanoseconds since 1970), full length of the message (31 bits; 0 if
//! it is whole) below one bit for a message that its stream ended within, length of the sender's address
//! (u8), the address, the message.

use jiff::Timestamp;

/// Beside the full length.
const UNTERMINATED: u32 = 1 << 31;
const MAGIC: [u8; 4] = *b"LWm1";
const HEADER_BYTES: usize = 16;
const FIXED_BODY_BYTES: usize = 13;
/// The largest body: the longest line that can be configured, with room for the rest.
const BODY_BYTES_MAX: usize = (512 << 10) + 512;

/// A message in or for the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'m> {
    pub(crate) received_at: Timestamp,
    /// The length of the message before it was cut, if it was.
    pub(crate) original_bytes: Option<u32>,
    /// Its stream ended within it.
    pub(crate) unterminated: bool,
    /// The address, and behind a tab the subject of the sender's certificate; empty if there is
    /// none; at most 255 bytes.
    pub(crate) sender: &'m [u8],
    pub(crate) bytes: &'m [u8],
}

/// What stands at a place of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'d> {
    /// A message; the next record begins at `end`.
    Message { message: Message<'d>, end: usize },
    /// Nothing that can be read up to `end`.
    Damaged { end: usize },
    /// What stands there goes on behind the data.
    Incomplete,
}

/// Appends `message` to `out`.
pub(crate) fn encode(message: &Message<'_>, out: &mut Vec<u8>) {
    let sender = &message.sender[..message.sender.len().min(255)];
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    let body_bytes = FIXED_BODY_BYTES + sender.len() + message.bytes.len();
    out.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    let nanos = message.received_at.as_nanosecond() as i64;
    out.extend_from_slice(&nanos.to_le_bytes());
    let length = message.original_bytes.unwrap_or(0).min(UNTERMINATED - 1);
    let length = length | if message.unterminated { UNTERMINATED } else { 0 };
    out.extend_from_slice(&length.to_le_bytes());
    out.push(sender.len() as u8);
    out.extend_from_slice(sender);
    out.extend_from_slice(message.bytes);
    let body_crc = crc32c::crc32c(&out[start + HEADER_BYTES..]);
    out[start + 8..start + 12].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32c::crc32c(&out[start..start + 12]);
    out[start + 12..start + 16].copy_from_slice(&header_crc.to_le_bytes());
}

/// Reads what stands at `at`. `last` says that nothing follows `data`.
pub(crate) fn decode(data: &[u8], at: usize, last: bool) -> Found<'_> {
    let rest = &data[at..];
    let Some(body_bytes) = header(rest) else {
        if rest.len() < HEADER_BYTES && !last {
            return Found::Incomplete;
        }
        return Found::Damaged { end: resume(data, at, last) };
    };
    let end = HEADER_BYTES + body_bytes;
    let Some(body) = rest.get(HEADER_BYTES..end) else {
        if !last {
            return Found::Incomplete;
        }
        return Found::Damaged { end: resume(data, at, last) };
    };
    match body_of(rest, body) {
        Some(message) => Found::Message { message, end: at + end },
        None => Found::Damaged { end: at + end },
    }
}

/// The length of the body, if a header stands at the beginning of `data`.
fn header(data: &[u8]) -> Option<usize> {
    let header = data.get(..HEADER_BYTES)?;
    let length = word(header, 4) as usize;
    let whole = header.starts_with(&MAGIC)
        && crc32c::crc32c(&header[..12]) == word(header, 12)
        && (FIXED_BODY_BYTES..=BODY_BYTES_MAX).contains(&length);
    whole.then_some(length)
}

fn body_of<'d>(record: &[u8], body: &'d [u8]) -> Option<Message<'d>> {
    if crc32c::crc32c(body) != word(record, 8) {
        return None;
    }
    let mut nanos = [0; 8];
    nanos.copy_from_slice(&body[..8]);
    let received_at = Timestamp::from_nanosecond(i64::from_le_bytes(nanos).into()).ok()?;
    let length = word(body, 8);
    let original_bytes = Some(length & !UNTERMINATED).filter(|length| *length > 0);
    let unterminated = length & UNTERMINATED != 0;
    let sender_end = FIXED_BODY_BYTES + usize::from(body[12]);
    let sender = body.get(FIXED_BODY_BYTES..sender_end)?;
    Some(Message { received_at, original_bytes, unterminated, sender, bytes: &body[sender_end..] })
}

/// Where the next header stands behind `at`; if there is none, the end of what can hold none.
fn resume(data: &[u8], at: usize, last: bool) -> usize {
    let mut from = at + 1;
    while let Some(found) = memchr::memmem::find(data.get(from..).unwrap_or_default(), &MAGIC) {
        let candidate = from + found;
        if header(&data[candidate..]).is_some() || (!last && data.len() - candidate < HEADER_BYTES)
        {
            return candidate;
        }
        from = candidate + 1;
    }
    if last { data.len() } else { data.len().saturating_sub(MAGIC.len() - 1).max(at + 1) }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Message<'_> {
        let received_at = Timestamp::from_second(1_700_000_000).unwrap();
        Message {
            received_at,
            original_bytes: None,
            unterminated: false,
            sender: b"192.0.2.1",
            bytes,
        }
    }

    fn encoded(texts: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        texts.iter().for_each(|text| encode(&message(text.as_bytes()), &mut out));
        out
    }

    /// The messages of a spool that ends here, and how many stretches are damaged.
    fn walk(data: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let (mut at, mut damaged, mut messages) = (0, 0, Vec::new());
        while at < data.len() {
            at = match decode(data, at, true) {
                Found::Message { message, end } => {
                    messages.push(message.bytes.to_vec());
                    end
                }
                Found::Damaged { end } => {
                    damaged += 1;
                    assert!(end > at, "no way forward at {at}");
                    end
                }
                Found::Incomplete => panic!("incomplete at the end"),
            };
        }
        (messages, damaged)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for (sender, original_bytes, bytes) in
            [(&b"::1"[..], None, &b"hello"[..]), (b"", Some(9), b""), (&[7; 255], None, &[0; 9000])]
        {
            for unterminated in [false, true] {
                let message = Message { original_bytes, unterminated, sender, ..message(bytes) };
                let mut out = Vec::new();
                encode(&message, &mut out);
                assert_eq!(decode(&out, 0, true), Found::Message { message, end: out.len() });
            }
        }
    }

    #[test]
    fn every_flipped_bit_costs_the_record_that_it_is_in_and_no_other() {
        let texts = ["first", "second message", "third"];
        let whole = encoded(&texts);
        let ends: Vec<usize> = (1..=3).map(|n| encoded(&texts[..n]).len()).collect();
        for bit in 0..whole.len() * 8 {
            let mut data = whole.clone();
            data[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|end| bit / 8 < *end).unwrap();
            let mut expected: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
            expected.remove(hit);
            assert_eq!(walk(&data), (expected, 1), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_keeps_the_whole_records_before_it() {
        let texts = ["first", "second message", "third"];
        let whole = encoded(&texts);
        let ends: Vec<usize> = (0..=3).map(|n| encoded(&texts[..n]).len()).collect();
        for length in 0..=whole.len() {
            let (messages, damaged) = walk(&whole[..length]);
            let kept = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!(messages.len(), kept, "{length}");
            assert_eq!(damaged, usize::from(!ends.contains(&length)), "{length}");
            if !ends.contains(&length) {
                assert_eq!(decode(&whole[..length], ends[kept], false), Found::Incomplete);
            }
        }
    }

    #[test]
    fn a_hole_of_zeros_hides_nothing_behind_it() {
        let mut data = encoded(&["first"]);
        data.extend_from_slice(&[0; 1000]);
        data.extend_from_slice(&encoded(&["second"]));
        let expected = vec![b"first".to_vec(), b"second".to_vec()];
        assert_eq!(walk(&data), (expected, 1));
    }

    #[test]
    fn garbage_of_any_kind_is_walked_over() {
        let mut random = 1_u64;
        for length in 0..300 {
            let mut data: Vec<u8> = (0..length)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 56) as u8
                })
                .collect();
            if length % 3 == 0 && length > 8 {
                data[length / 2..length / 2 + 4].copy_from_slice(&MAGIC);
            }
            assert_eq!(walk(&data).0.len(), 0);
        }
    }
}
