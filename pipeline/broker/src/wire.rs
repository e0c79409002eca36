//! What requests look like, to check their lengths before they are decoded.
//!
//! The codec reserves memory for as many array elements as a request claims, and a claim of two
//! billion would end the whole process. So a request is walked first, by the shapes below: every
//! element must be there in bytes. The shapes follow <https://kafka.apache.org/protocol>.
//!
//! A shape is read as follows: `name:type` is a field, `@7+` or `@2-4` the versions that have it,
//! `[type]` an array of plain values and `{…}` one of structures. From the API's flexible version on,
//! lengths are variable integers and structures end in tagged fields.

use kafka_protocol::messages::ApiKey;
use std::sync::LazyLock;

/// Array elements in one request, so that decoding it takes memory of the order of its bytes.
const ELEMENTS_MAX: usize = 200_000;

/// An API that the broker serves.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) version_min: i16,
    pub(crate) version_max: i16,
    /// The first flexible version.
    flexible: i16,
    shape: &'static str,
}

const fn api(
    key: ApiKey,
    version_min: i16,
    version_max: i16,
    flexible: i16,
    shape: &'static str,
) -> Api {
    Api { key, version_min, version_max, flexible, shape }
}

/// All that is served. Later versions name topics by id or belong to features that are refused.
pub(crate) const APIS: &[Api] = &[
    api(
        ApiKey::Produce,
        3,
        9,
        9,
        "transaction:str acks:i16 timeout:i32 {topic:str {partition:i32 records:bytes}}",
    ),
    api(
        ApiKey::Fetch,
        4,
        12,
        12,
        "replica:i32 wait:i32 min:i32 max:i32 isolation:i8 session:i32@7+ epoch:i32@7+ \
         {topic:str {partition:i32 leader:i32@9+ offset:i64 last:i32@12+ start:i64@5+ max:i32}} \
         {topic:str [i32]}@7+ rack:str@11+",
    ),
    api(
        ApiKey::ListOffsets,
        1,
        6,
        6,
        "replica:i32 isolation:i8@2+ {topic:str {partition:i32 leader:i32@4+ time:i64}}",
    ),
    api(ApiKey::Metadata, 0, 9, 9, "{topic:str} create:i8@4+ cluster:i8@8+ topics:i8@8+"),
    api(
        ApiKey::OffsetCommit,
        2,
        8,
        8,
        "group:str generation:i32 member:str instance:str@7+ retention:i64@2-4 \
         {topic:str {partition:i32 offset:i64 leader:i32@6+ metadata:str}}",
    ),
    api(ApiKey::OffsetFetch, 1, 7, 6, "group:str {topic:str [i32]} stable:i8@7+"),
    api(ApiKey::FindCoordinator, 0, 3, 3, "key:str type:i8@1+"),
    api(
        ApiKey::JoinGroup,
        0,
        7,
        6,
        "group:str session:i32 rebalance:i32@1+ member:str instance:str@5+ type:str \
         {protocol:str metadata:bytes}",
    ),
    api(ApiKey::Heartbeat, 0, 4, 4, "group:str generation:i32 member:str instance:str@3+"),
    api(ApiKey::LeaveGroup, 0, 4, 4, "group:str member:str@0-2 {member:str instance:str}@3+"),
    api(
        ApiKey::SyncGroup,
        0,
        5,
        4,
        "group:str generation:i32 member:str instance:str@3+ type:str@5+ protocol:str@5+ \
         {member:str assignment:bytes}",
    ),
    api(ApiKey::DescribeGroups, 0, 5, 5, "[str] operations:i8@3+"),
    api(ApiKey::ListGroups, 0, 4, 3, "[str]@4+"),
    api(ApiKey::ApiVersions, 0, 3, 3, "software:str@3+ version:str@3+"),
    api(
        ApiKey::CreateTopics,
        2,
        6,
        5,
        "{topic:str partitions:i32 replicas:i16 {partition:i32 [i32]} {name:str value:str}} \
         timeout:i32 dry:i8",
    ),
    api(ApiKey::DeleteTopics, 1, 5, 4, "[str] timeout:i32"),
    api(ApiKey::DeleteRecords, 0, 2, 2, "{topic:str {partition:i32 offset:i64}} timeout:i32"),
    api(ApiKey::InitProducerId, 0, 4, 2, "transaction:str timeout:i32 id:i64@3+ epoch:i16@3+"),
    api(
        ApiKey::OffsetForLeaderEpoch,
        2,
        4,
        4,
        "replica:i32@3+ {topic:str {partition:i32 leader:i32 epoch:i32}}",
    ),
    api(
        ApiKey::DescribeConfigs,
        1,
        4,
        4,
        "{type:i8 name:str [str]} synonyms:i8 documentation:i8@3+",
    ),
    api(ApiKey::AlterConfigs, 0, 2, 2, "{type:i8 name:str {name:str value:str}} dry:i8"),
    api(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        1,
        "{type:i8 name:str {name:str operation:i8 value:str}} dry:i8",
    ),
    api(ApiKey::CreatePartitions, 0, 3, 2, "{topic:str count:i32 {[i32]}} timeout:i32 dry:i8"),
    api(ApiKey::DeleteGroups, 0, 2, 2, "[str]"),
    api(
        ApiKey::ConsumerGroupHeartbeat,
        0,
        1,
        0,
        "group:str member:str epoch:i32 instance:str rack:str rebalance:i32 [str] \
         regex:str@1+ assignor:str {topic:uuid [i32]}",
    ),
];

/// The API with this key, if it is served.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}

impl Api {
    pub(crate) fn serves(&self, version: i16) -> bool {
        (self.version_min..=self.version_max).contains(&version)
    }

    /// Whether `body` holds all that it claims to hold, as a request of this API in `version`.
    pub(crate) fn is_whole(&self, body: &[u8], version: i16) -> bool {
        let at = APIS.iter().position(|api| api.key == self.key);
        let fields = at.map_or(&[][..], |at| &SHAPES[at]);
        let mut walk = Walk {
            rest: body,
            version,
            flexible: version >= self.flexible,
            elements_left: ELEMENTS_MAX,
        };
        walk.structure(fields).is_some()
    }
}

static SHAPES: LazyLock<Vec<Vec<Field>>> =
    LazyLock::new(|| APIS.iter().map(|api| parse(&mut api.shape.chars().peekable())).collect());

#[derive(Debug)]
struct Field {
    kind: Kind,
    versions: std::ops::RangeInclusive<i16>,
}

#[derive(Debug)]
enum Kind {
    Fixed(usize),
    Text,
    Bytes,
    Values(Box<Kind>),
    Structures(Vec<Field>),
}

type Characters<'s> = std::iter::Peekable<std::str::Chars<'s>>;

/// Reads fields up to the closing brace or the end.
fn parse(shape: &mut Characters<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    while let Some(&next) = shape.peek() {
        match next {
            '}' => break,
            ' ' => drop(shape.next()),
            _ => {
                let kind = parse_kind(shape);
                fields.push(Field { kind, versions: parse_versions(shape) });
            }
        }
    }
    fields
}

fn parse_kind(shape: &mut Characters<'_>) -> Kind {
    match shape.peek() {
        Some('{') => {
            shape.next();
            let fields = parse(shape);
            shape.next();
            Kind::Structures(fields)
        }
        Some('[') => {
            shape.next();
            let kind = plain(&word(shape));
            shape.next();
            Kind::Values(Box::new(kind))
        }
        _ => {
            word(shape);
            shape.next();
            plain(&word(shape))
        }
    }
}

fn parse_versions(shape: &mut Characters<'_>) -> std::ops::RangeInclusive<i16> {
    if shape.next_if_eq(&'@').is_none() {
        return 0..=i16::MAX;
    }
    let number = |text: String| text.parse().expect("shapes name versions by number");
    let first = number(word(shape));
    if shape.next_if_eq(&'+').is_some() {
        return first..=i16::MAX;
    }
    shape.next();
    first..=number(word(shape))
}

fn word(shape: &mut Characters<'_>) -> String {
    std::iter::from_fn(|| shape.next_if(char::is_ascii_alphanumeric)).collect()
}

fn plain(name: &str) -> Kind {
    match name {
        "i8" => Kind::Fixed(1),
        "i16" => Kind::Fixed(2),
        "i32" => Kind::Fixed(4),
        "i64" => Kind::Fixed(8),
        "uuid" => Kind::Fixed(16),
        "bytes" => Kind::Bytes,
        _ => Kind::Text,
    }
}

struct Walk<'b> {
    rest: &'b [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

/// `None`: the bytes do not hold what they claim.
impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Option<()> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.versions.contains(&version)) {
            self.value(&field.kind)?;
        }
        if self.flexible { self.tagged_fields() } else { Some(()) }
    }

    fn value(&mut self, kind: &Kind) -> Option<()> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Text => {
                let bytes = self.length(2)?;
                self.skip(bytes)
            }
            Kind::Bytes => {
                let bytes = self.length(4)?;
                self.skip(bytes)
            }
            Kind::Values(kind) => {
                for _ in 0..self.elements()? {
                    self.value(kind)?;
                }
                Some(())
            }
            Kind::Structures(fields) => {
                for _ in 0..self.elements()? {
                    self.structure(fields)?;
                }
                Some(())
            }
        }
    }

    fn elements(&mut self) -> Option<usize> {
        let elements = self.length(4)?;
        self.elements_left = self.elements_left.checked_sub(elements)?;
        Some(elements)
    }

    /// A length of `width` bytes, or of as many as needed; null is no length.
    fn length(&mut self, width: usize) -> Option<usize> {
        if self.flexible {
            return Some((self.unsigned()? as usize).saturating_sub(1));
        }
        let (length, rest) = self.rest.split_at_checked(width)?;
        self.rest = rest;
        let length = match *length {
            [a, b] => i32::from(i16::from_be_bytes([a, b])),
            [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
            _ => return None,
        };
        if length == -1 { Some(0) } else { usize::try_from(length).ok() }
    }

    fn unsigned(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn tagged_fields(&mut self) -> Option<()> {
        for _ in 0..self.unsigned()? {
            self.elements_left = self.elements_left.checked_sub(1)?;
            self.unsigned()?;
            let bytes = self.unsigned()? as usize;
            self.skip(bytes)?;
        }
        Some(())
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}
