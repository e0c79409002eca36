//! What every sink has to know of a record: its identity and its time.

use super::{Refused, SinkRecord};
use serde::Deserialize;
use std::borrow::Cow;

/// The fields of a record that make it one.
#[derive(Debug, Deserialize)]
pub(super) struct Identity<'a> {
    #[serde(rename = "logweir.source", borrow)]
    pub(super) source: Cow<'a, str>,
    #[serde(rename = "log.offset")]
    pub(super) offset: u64,
}

impl<'a> Identity<'a> {
    /// # Errors
    /// Why the payload is no record.
    pub(super) fn of(payload: &'a [u8]) -> Result<Self, String> {
        let identity: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let hexadecimal = identity.source.bytes().all(|byte| byte.is_ascii_hexdigit());
        if identity.source.len() != 32 || !hexadecimal {
            return Err("`logweir.source` is not 32 hexadecimal digits".into());
        }
        if i64::try_from(identity.offset).is_err() {
            return Err("`log.offset` is larger than any file".into());
        }
        Ok(identity)
    }

    /// The records of a batch that are events, and the others, refused.
    pub(super) fn events(batch: &[SinkRecord]) -> (Vec<&SinkRecord>, Vec<Refused>) {
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        for (index, record) in batch.iter().enumerate() {
            match Identity::of(&record.payload) {
                Ok(_) => events.push(record),
                Err(reason) => refused.push(Refused { index, reason }),
            }
        }
        (events, refused)
    }

    /// The same for every repeat of the event, and for no other event.
    pub(super) fn id(&self) -> String {
        format!("{}-{:x}", self.source, self.offset)
    }
}
