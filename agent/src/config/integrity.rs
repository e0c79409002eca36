//! The section `integrity`: the keys for the evidence of tampering, and how often a head is signed.

use logweir_document::{DURATION_MAX, Faults, Table, secret_of_file, secret_path};
use logweir_record::SealKey;
use logweir_signed::SigningKey;
use std::time::Duration;

const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// It is said in seconds.
pub(super) const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What signs the heads, and how often.
#[derive(Debug, Clone)]
pub(crate) struct HeadsConfig {
    pub(crate) key: SigningKey,
    pub(crate) interval: Duration,
}

/// The key for the seals of events, and that for heads.
pub(super) fn read(
    root: &mut Table<'_>,
    faults: &mut Faults,
) -> (Option<SealKey>, Option<HeadsConfig>) {
    let Some(mut table) = root.table("integrity", faults) else { return (None, None) };
    let (seal, signing) = (table.node("key"), table.node("signing_key"));
    let interval = table.duration_within("interval", INTERVAL_MIN..=DURATION_MAX, faults);
    table.finish(faults);
    let seal_key = seal.and_then(|node| {
        let path = secret_path(node, "integrity.key", faults)?;
        let text = secret_of_file(&path, node.span, faults)?;
        let read: Result<SealKey, _> = text.parse();
        read.map_err(|error| {
            faults.error(node.span, "`integrity.key` holds no key").remedy =
                Some(error.to_string());
        })
        .ok()
    });
    let heads = signing.and_then(|node| {
        let path = secret_path(node, "integrity.signing_key", faults)?;
        let text = secret_of_file(&path, node.span, faults)?;
        let key = SigningKey::from_pem(&text).map_err(|error| {
            faults.error(node.span, format!("`integrity.signing_key`: {error}")).remedy =
                Some("name the file NAME.key that `logweir keygen NAME` has made".into());
        });
        Some(HeadsConfig { key: key.ok()?, interval: interval.unwrap_or(INTERVAL_DEFAULT) })
    });
    (seal_key, heads)
}
