//! The bytes of a ledger file: JSON lines, so that people can read them.
//!
//! ```text
//! {"format":1,"next_offset":…,"parts":[…],"used_us":…,"expired":[…],"forgotten":…}
//! {"id":"32 hex digits","high_water":…,…}        one line per source
//! {"crc32c":…}                                   of all bytes before this line
//! ```
//!
//! Invariant SPL-3: `decode` accepts any bytes without panic, and refuses what `encode` did not write.

use super::losses::Losses;
use super::source::Source;
use logweir_record::SourceId;
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

/// What a ledger file says of itself. Files of the first versions have fewer members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The Kafka offset behind the last record that it knows of; for people.
    pub(super) next_offset: i64,
    /// The ids of the files that this one builds on, oldest first; none if it is full.
    pub(super) parts: Vec<i64>,
    /// For how long the ledger was in use, in microseconds.
    #[serde(default)]
    pub(super) used_us: i64,
    #[serde(flatten)]
    pub(super) losses: Losses,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeaderLine {
    format: u32,
    #[serde(flatten)]
    header: Header,
}

#[derive(Debug, Serialize)]
struct SourceLineOut<'a> {
    id: String,
    #[serde(flatten)]
    source: &'a Source,
}

#[derive(Debug, Deserialize)]
struct SourceLineIn {
    id: String,
    #[serde(flatten)]
    source: Source,
}

#[derive(Debug, Serialize, Deserialize)]
struct TrailerLine {
    crc32c: u32,
}

pub(super) fn encode<'a>(
    header: &Header,
    sources: impl Iterator<Item = (&'a SourceId, &'a Source)>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_line(&mut bytes, &HeaderLine { format: FORMAT, header: header.clone() });
    for (id, source) in sources {
        push_line(&mut bytes, &SourceLineOut { id: id.to_string(), source });
    }
    let trailer = TrailerLine { crc32c: crc32c::crc32c(&bytes) };
    push_line(&mut bytes, &trailer);
    bytes
}

fn push_line(bytes: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *bytes, line).expect("numbers and strings, into memory");
    bytes.push(b'\n');
}

/// Reads a file; the error is the reason why it is none.
pub(super) fn decode(bytes: &[u8]) -> Result<(Header, Vec<(SourceId, Source)>), String> {
    let body = bytes.strip_suffix(b"\n").ok_or("its end is missing")?;
    let trailer_at = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
    let trailer: TrailerLine =
        serde_json::from_slice(&body[trailer_at..]).map_err(|_| "its end is missing")?;
    if trailer.crc32c != crc32c::crc32c(&bytes[..trailer_at]) {
        return Err("its checksum does not match".into());
    }
    let mut lines = body[..trailer_at].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let header = lines.next().ok_or("it is empty")?;
    let HeaderLine { format, header } =
        serde_json::from_slice(header).map_err(|e| e.to_string())?;
    if format != FORMAT {
        return Err(format!("it has format {format}, this version knows {FORMAT}"));
    }
    let sources = lines
        .map(|line| {
            let line: SourceLineIn = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            let id = line.id.parse().map_err(|_| format!("`{}` is no source", line.id))?;
            Ok((id, line.source))
        })
        .collect::<Result<_, String>>()?;
    Ok((header, sources))
}

#[cfg(test)]
mod tests {
    use super::super::losses::Expired;
    use super::super::source::Gap;
    use super::*;

    fn sample() -> Vec<u8> {
        let source = Source {
            high_water: Some(10),
            gaps: vec![Gap { after: None, from: 0, until: 10, last: 5 }],
            host: "h\n\"".into(),
            ..Source::default()
        };
        let expired = vec![Expired { from: 1, until: 3, records: 2, at_us: 5 }];
        let losses = Losses { expired, forgotten: 3, ..Losses::default() };
        let header = Header { next_offset: 7, parts: vec![1, 2], used_us: 4, losses };
        let bytes = encode(&header, [(&SourceId::derive(&[b"a"]), &source)].into_iter());
        let decoded = decode(&bytes).unwrap();
        assert_eq!(decoded, (header, vec![(SourceId::derive(&[b"a"]), source)]));
        bytes
    }

    #[test]
    fn what_is_damaged_anywhere_or_cut_anywhere_is_refused_without_panic() {
        let bytes = sample();
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            assert!(decode(&damaged).is_err(), "damaged at {at}");
        }
        for other in [&b""[..], b"\n", b"{}\n", b"\0\0\0\0\n", b"{\"crc32c\":0}\n"] {
            assert!(decode(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_file_of_the_first_versions_is_read() {
        let mut bytes = br#"{"format":1,"next_offset":7,"parts":[],"forgotten":3}"#.to_vec();
        bytes.push(b'\n');
        let crc32c = crc32c::crc32c(&bytes);
        push_line(&mut bytes, &TrailerLine { crc32c });
        let losses = Losses { forgotten: 3, ..Losses::default() };
        let header = Header { next_offset: 7, parts: Vec::new(), used_us: 0, losses };
        assert_eq!(decode(&bytes).unwrap(), (header, Vec::new()));
    }
}
