//! One Kafka record, decoded: its identity, its members by column, and the rest as JSON.
//!
//! Borrows from the payload wherever a value needs no unescaping. A value that does not fit its
//! column goes to the rest under its own name, so decoding loses nothing; only a payload that is no
//! JSON object, names a column twice, or has no identity is refused.

use crate::object::{Raw, members};
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use crate::time::parse_rfc3339;
use logweir_record::{SourceId, write_escaped};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Room for as many members; most events have fewer.
const MEMBERS: usize = 48;

/// A value that fits the column it is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Member<'a> {
    Text(Cow<'a, str>),
    Long(i64),
    Time(i64),
    List(Vec<Cow<'a, str>>),
}

/// Members by their columns.
pub(crate) type Members<'a> = Vec<(ColumnIndex, Member<'a>)>;

/// The room of members that are done with, for those of another record.
pub(crate) fn recycled<'b>(mut members: Members<'_>) -> Members<'b> {
    members.clear();
    // Collected where it is: the elements, of which there are none, are of one size.
    members.into_iter().map(|_| unreachable!("it was cleared")).collect()
}

/// A decoded record.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) source: SourceId,
    pub(crate) offset: u64,
    pub(crate) prev: Option<u64>,
    /// Each column at most once, in the order of the payload.
    pub(crate) members: Members<'a>,
    /// The members without a column, as `"name":value,…` without braces.
    pub(crate) rest: String,
}

/// Why a payload is no record of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("not a flat JSON object: {0}")]
    Json(#[from] serde_json::Error),
    #[error("`logweir.source` is missing or not 32 hexadecimal digits")]
    Source,
    #[error("`log.offset` is missing or not a number of bytes")]
    Offset,
    #[error("`logweir.prev` is not a number of bytes")]
    Prev,
}

impl DecodeError {
    /// The kind of the error, for counting.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Json(_) => "not_json",
            Self::Source => "no_source",
            Self::Offset => "no_offset",
            Self::Prev => "bad_prev",
        }
    }
}

impl<'a> Record<'a> {
    /// `room` is where its members are put: an allocation of its size costs as much as some of them.
    pub(crate) fn decode(payload: &'a [u8], mut room: Members<'a>) -> Result<Self, DecodeError> {
        room.reserve(MEMBERS);
        let mut fields = Fields { members: room, ..Fields::default() };
        members(payload, |key, value| fields.take(key, value))?;
        let long = |column| match fields.get(column) {
            Some(Member::Long(value)) => u64::try_from(*value).ok(),
            _ => None,
        };
        let source = fields.text(schema::SOURCE).and_then(|text| text.parse().ok());
        let source = source.ok_or(DecodeError::Source)?;
        let offset = long(schema::OFFSET).ok_or(DecodeError::Offset)?;
        let prev = long(schema::PREV);
        if prev.is_none() && fields.seen & (1 << schema::PREV) != 0 {
            return Err(DecodeError::Prev);
        }
        Ok(Self { source, offset, prev, members: fields.members, rest: fields.rest })
    }

    pub(crate) fn get(&self, column: ColumnIndex) -> Option<&Member<'a>> {
        self.members.iter().find(|(at, _)| *at == column).map(|(_, member)| member)
    }

    pub(crate) fn text(&self, column: ColumnIndex) -> Option<&str> {
        match self.get(column) {
            Some(Member::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The event's own time, if the record has a valid one.
    pub(crate) fn time_us(&self) -> Option<i64> {
        match self.get(schema::TIMESTAMP) {
            Some(Member::Time(time)) => Some(*time),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Fields<'a> {
    members: Members<'a>,
    rest: String,
    /// One bit per column.
    seen: u128,
}

impl<'a> Fields<'a> {
    fn get(&self, column: ColumnIndex) -> Option<&Member<'a>> {
        self.members.iter().find(|(at, _)| *at == column).map(|(_, member)| member)
    }

    fn text(&self, column: ColumnIndex) -> Option<&str> {
        match self.get(column) {
            Some(Member::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Takes one member; a column that comes twice is an error.
    fn take(&mut self, key: Cow<'a, str>, raw: Raw<'a>) -> Result<(), serde_json::Error> {
        let column = schema::index_of(&key).filter(|at| !schema::WRITTEN_HERE.contains(at));
        let Some(column) = column else {
            self.take_rest(&key, raw.text);
            return Ok(());
        };
        if self.seen & (1 << column) != 0 {
            let name = COLUMNS[column].name;
            return Err(serde_json::Error::custom(format_args!("`{name}` is there twice")));
        }
        self.seen |= 1 << column;
        match member(COLUMNS[column].kind, raw) {
            Some(member) => self.members.push((column, member)),
            None if raw.text == "null" => {}
            None => self.take_rest(&key, raw.text),
        }
        Ok(())
    }

    fn take_rest(&mut self, key: &str, raw: &str) {
        if !self.rest.is_empty() {
            self.rest.push(',');
        }
        self.rest.push('"');
        if key.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.rest.push_str(key);
        } else {
            let mut escaped = Vec::with_capacity(key.len() + 8);
            write_escaped(&mut escaped, key.as_bytes());
            self.rest.push_str(&String::from_utf8_lossy(&escaped));
        }
        self.rest.push_str("\":");
        self.rest.push_str(raw);
    }
}

/// `raw` as a value of the kind; `None` if it does not fit without loss.
fn member(kind: Kind, raw: Raw<'_>) -> Option<Member<'_>> {
    match kind {
        Kind::Text | Kind::Ip => raw.scalar().map(Member::Text),
        Kind::Long => whole_number(&raw.scalar()?).map(Member::Long),
        Kind::Time => parse_rfc3339(&raw.scalar()?).map(Member::Time),
        Kind::List if raw.text.starts_with('[') => {
            let mut texts = Vec::new();
            raw.elements(|element| element.scalar().map(|text| texts.push(text)))?;
            Some(Member::List(texts))
        }
        Kind::List => raw.scalar().map(|text| Member::List(vec![text])),
    }
}

/// `None` also for `+1`, `007` and `-0`: read as a number, they would not come back as they were.
fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    canonical.then(|| text.parse().ok())?
}

/// A key, borrowed unless it holds escapes.
#[derive(Debug)]
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(KeyVisitor).map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str =
        r#""logweir.source":"000102030405060708090a0b0c0d0e0f","log.offset":4096"#;

    fn decode(members: &str) -> Result<String, String> {
        let payload = format!("{{{IDENTITY}{members}}}");
        let record =
            Record::decode(payload.as_bytes(), Vec::new()).map_err(|error| error.to_string())?;
        assert_eq!(record.offset, 4096);
        let mut shown = String::new();
        for (column, member) in &record.members[2..] {
            shown.push_str(&format!("{}={member:?} ", COLUMNS[*column].name));
        }
        Ok(shown + &record.rest)
    }

    #[test]
    fn members_go_to_their_columns_and_all_else_to_the_rest() {
        for (members, expected) in [
            (r#","message":"a\nb""#, r#"message=Text("a\nb") "#),
            (r#","user.name":7"#, r#"user.name=Text("7") "#),
            (r#","process.pid":7,"source.port":"22""#, "process.pid=Long(7) source.port=Long(22) "),
            (r#","process.pid":"007""#, r#""process.pid":"007""#),
            (r#","process.pid":1.5"#, r#""process.pid":1.5"#),
            (r#","process.pid":18446744073709551615"#, r#""process.pid":18446744073709551615"#),
            (r#","@timestamp":"1970-01-01T00:00:01Z""#, "@timestamp=Time(1000000) "),
            (r#","@timestamp":"yesterday""#, r#""@timestamp":"yesterday""#),
            (r#","tags":["a",1]"#, r#"tags=List(["a", "1"]) "#),
            (r#","tags":"a""#, r#"tags=List(["a"]) "#),
            (r#","tags":[["a"]]"#, r#""tags":[["a"]]"#),
            (r#","user.name":["a"]"#, r#""user.name":["a"]"#),
            (r#","user.name":null"#, ""),
            (
                r#","odd\"key":{"x": [1]},"labels.a":true"#,
                r#""odd\"key":{"x": [1]},"labels.a":true"#,
            ),
            (r#","event.ingested":"x""#, r#""event.ingested":"x""#),
            (r#","logweir.prev":12"#, "logweir.prev=Long(12) "),
        ] {
            assert_eq!(decode(members).as_deref(), Ok(expected), "{members}");
        }
    }

    #[test]
    fn what_has_no_identity_or_is_no_object_is_refused_with_the_reason() {
        for (payload, expected) in [
            ("", "not a flat JSON object"),
            ("[1]", "not a flat JSON object"),
            ("{\"a\":1} x", "not a flat JSON object"),
            ("{\"a\":\"\u{1}\"}", "not a flat JSON object"),
            ("{}", "`logweir.source` is missing"),
            (r#"{"logweir.source":"00"}"#, "`logweir.source` is missing"),
            (r#"{"logweir.source":"000102030405060708090a0b0c0d0e0f"}"#, "`log.offset` is missing"),
            (r#"{"message":"a","message":"b"}"#, "`message` is there twice"),
        ] {
            let error = Record::decode(payload.as_bytes(), Vec::new()).unwrap_err().to_string();
            assert!(error.contains(expected), "{payload}: {error}");
        }
        assert!(decode(r#","logweir.prev":-1"#).unwrap_err().contains("logweir.prev"));
        assert!(Record::decode(b"{\"a\":\"\xff\"}", Vec::new()).is_err());
    }
}
