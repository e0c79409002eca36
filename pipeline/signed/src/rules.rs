//! A rule set as it is published to the agents of a group.
//!
//! Bytes: `LWRULES1`, the signature (64 bytes), and a zstd frame of one JSON object. The signature is
//! over the compressed frame and is checked before it is decompressed; the bounds hold after that, too,
//! so that a mistake of whoever holds the key costs no host its memory.

use crate::keys::{KeyError, PublicKeys, SIGNATURE_BYTES, SigningKey};
use serde::{Deserialize, Serialize};

/// The most bytes of a signed set: what a broker takes in one message unless it is told otherwise.
pub const SIGNED_BYTES_MAX: usize = 900_000;
/// The most bytes of the object in it.
const BODY_BYTES_MAX: usize = 16 << 20;
const FILES_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 128;

const MAGIC: &[u8; 8] = b"LWRULES1";
const PURPOSE: &[u8] = b"logweir rule set";
/// Slower than the default and smaller; it is done once.
const COMPRESSION_LEVEL: i32 = 12;

/// For whom a set is, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub group: String,
    /// Greater than that of every set before it for the group.
    pub version: u64,
    /// The share of the group's hosts that take it, 0 to 100.
    pub percent: u8,
    /// Who published it, and when (RFC 3339), as they said: shown, and nothing depends on it.
    pub by: String,
    pub at: String,
    /// There is no set any more: agents go back to the rules that they have of their own.
    pub withdrawn: bool,
}

/// Rule files with their header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRules {
    #[serde(flatten)]
    pub header: Header,
    /// Name and text, sorted by name.
    pub files: Vec<(String, String)>,
}

/// A name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}`: write at most {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, no dot first")]
pub struct InvalidName(String);

/// Why bytes are no set that may be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0} bytes, and {SIGNED_BYTES_MAX} are allowed; publish fewer or smaller packs")]
    TooLarge(usize),
    #[error("no rule set of a kind that this program knows")]
    Unknown,
    #[error("the signature is not by a key that is trusted here")]
    Signature,
    #[error("damaged, or larger than {max} MiB: {0}", max = BODY_BYTES_MAX >> 20)]
    Damaged(String),
    #[error("a name in it cannot be used: {0}")]
    Name(#[from] InvalidName),
    #[error("{0} files, and {FILES_MAX} are allowed")]
    TooManyFiles(usize),
    #[error("cannot sign: {0}")]
    Key(#[from] KeyError),
}

impl PublishedRules {
    /// The signed bytes.
    ///
    /// # Errors
    /// The set is beyond a bound, or cannot be signed.
    pub fn encode(&self, key: &SigningKey) -> Result<Vec<u8>, Refusal> {
        self.check()?;
        let damaged = |error: &dyn std::fmt::Display| Refusal::Damaged(error.to_string());
        let body = serde_json::to_vec(self).map_err(|error| damaged(&error))?;
        if body.len() > BODY_BYTES_MAX {
            return Err(Refusal::Damaged(format!("{} bytes", body.len())));
        }
        let frame =
            zstd::bulk::compress(&body, COMPRESSION_LEVEL).map_err(|error| damaged(&error))?;
        let signature = key.sign(PURPOSE, &frame)?;
        let bytes = [&MAGIC[..], &signature, &frame].concat();
        if bytes.len() > SIGNED_BYTES_MAX {
            return Err(Refusal::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads signed bytes; without `keys` they are not verified, for showing them only.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn decode(bytes: &[u8], keys: Option<&PublicKeys>) -> Result<Self, Refusal> {
        if bytes.len() > SIGNED_BYTES_MAX {
            return Err(Refusal::TooLarge(bytes.len()));
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(Refusal::Unknown)?;
        let (signature, frame) = rest.split_at_checked(SIGNATURE_BYTES).ok_or(Refusal::Unknown)?;
        if keys.is_some_and(|keys| !keys.verify(PURPOSE, frame, signature)) {
            return Err(Refusal::Signature);
        }
        let body = zstd::bulk::decompress(frame, BODY_BYTES_MAX)
            .map_err(|error| Refusal::Damaged(error.to_string()))?;
        let set: Self =
            serde_json::from_slice(&body).map_err(|error| Refusal::Damaged(error.to_string()))?;
        set.check()?;
        Ok(set)
    }

    /// A digest of the files: equal sets have equal hashes, whatever their versions.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, text) in &self.files {
            for part in [name, text] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// The files, each with the version in its name, for diagnostics.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, String)> {
        let version = self.header.version;
        let named = |(name, text): &(String, String)| (format!("{version}/{name}"), text.clone());
        self.files.iter().map(named).collect()
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.files.len() > FILES_MAX {
            return Err(Refusal::TooManyFiles(self.files.len()));
        }
        check_group(&self.header.group)?;
        self.files.iter().try_for_each(|(name, _)| check_group(name))?;
        if self.header.percent > 100 {
            return Err(Refusal::Damaged(format!("{} percent", self.header.percent)));
        }
        Ok(())
    }
}

/// Whether `name` can be the name of a group, or of a file in a set.
///
/// # Errors
/// It cannot.
pub fn check_group(name: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let holds = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.');
    if holds { Ok(()) } else { Err(InvalidName(name.escape_default().take(200).collect())) }
}

/// Whether the host with this id is among the `percent` of hosts: stable, and a greater share only
/// adds hosts.
#[must_use]
pub fn takes_part(host_id: &str, percent: u8) -> bool {
    let hash = blake3::hash(host_id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first) % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> PublishedRules {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        PublishedRules {
            header: Header {
                group: "web".into(),
                version: 7,
                percent: 10,
                by: "ann".into(),
                at: "2026-11-28T12:00:00Z".into(),
                withdrawn: false,
            },
            files: files.iter().map(owned).collect(),
        }
    }

    #[test]
    fn a_set_comes_back_whole_and_no_changed_byte_of_it_does() {
        let key = SigningKey::generate().unwrap();
        let keys = key.public().unwrap();
        let whole = set(&[("a.yaml", "pack: a\n"), ("b.yaml", "pack: b\n")]);
        let bytes = whole.encode(&key).unwrap();
        assert_eq!(PublishedRules::decode(&bytes, Some(&keys)).unwrap(), whole);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(PublishedRules::decode(&changed, Some(&keys)).is_err(), "{at}");
            assert!(PublishedRules::decode(&bytes[..at], Some(&keys)).is_err(), "{at}");
        }
        let other = SigningKey::generate().unwrap().public().unwrap();
        assert!(matches!(PublishedRules::decode(&bytes, Some(&other)), Err(Refusal::Signature)));
    }

    #[test]
    fn what_is_beyond_a_bound_is_refused_although_it_is_signed() {
        let key = SigningKey::generate().unwrap();
        let keys = key.public().unwrap();
        let sign = |body: &[u8]| {
            let frame = zstd::bulk::compress(body, 3).unwrap();
            [&MAGIC[..], &key.sign(PURPOSE, &frame).unwrap(), &frame].concat()
        };
        let bomb = sign(&vec![b' '; BODY_BYTES_MAX + 1]);
        assert!(bomb.len() < SIGNED_BYTES_MAX);
        assert!(matches!(PublishedRules::decode(&bomb, Some(&keys)), Err(Refusal::Damaged(_))));
        let body = |name: &str| serde_json::to_vec(&set(&[(name, "")])).unwrap();
        assert!(PublishedRules::decode(&sign(&body("a.yaml")), Some(&keys)).is_ok());
        for name in ["../a", "", ".a", "a/b", "a\u{1b}"] {
            let found = PublishedRules::decode(&sign(&body(name)), Some(&keys));
            assert!(matches!(found, Err(Refusal::Name(_))), "{name}");
            assert!(set(&[(name, "")]).encode(&key).is_err(), "{name}");
        }
        assert!(PublishedRules::decode(&sign(b"[]"), Some(&keys)).is_err());
        assert!(PublishedRules::decode(&vec![0; SIGNED_BYTES_MAX + 1], None).is_err());
    }

    #[test]
    fn the_hash_is_of_the_files_and_of_where_one_ends() {
        let hash = set(&[("a", "bc")]).hash();
        let mut later = set(&[("a", "bc")]);
        later.header.version += 1;
        assert_eq!(later.hash(), hash);
        for other in [set(&[("ab", "c")]), set(&[("a", "b"), ("c", "")]), set(&[])] {
            assert_ne!(other.hash(), hash);
        }
    }

    #[test]
    fn a_greater_share_only_adds_hosts_and_takes_about_as_many_as_it_says() {
        let hosts: Vec<String> = (0..1000).map(|number| format!("host-{number}")).collect();
        let of = |percent| hosts.iter().filter(move |host| takes_part(host, percent)).count();
        assert_eq!((of(0), of(100)), (0, 1000));
        assert!((70..130).contains(&of(10)), "{}", of(10));
        for percent in 0..100 {
            let more = |host: &&String| takes_part(host, percent) && !takes_part(host, percent + 1);
            assert_eq!(hosts.iter().filter(more).count(), 0);
        }
    }
}
