//! The section `rules.published`: whose rules are taken from Kafka, and for which group.

use logweir_document::{DURATION_MAX, Faults, Table};
use logweir_signed::{PublicKeys, check_group};
use std::time::Duration;

/// Long enough for a harmful rule to show on most hosts.
const TRIAL_DEFAULT: Duration = Duration::from_secs(600);
pub(super) const TRIAL_MIN: Duration = Duration::from_secs(1);
const GROUP_DEFAULT: &str = "default";
/// A file of keys that is larger is none.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Whose rules are taken.
#[derive(Debug, Clone)]
pub(crate) struct PublishedConfig {
    pub(crate) keys: PublicKeys,
    pub(crate) group: String,
    /// How long a new set is watched before it counts as good.
    pub(crate) trial: Duration,
}

/// `None` without the section, or if no key can be read.
pub(super) fn read(rules: &mut Table<'_>, faults: &mut Faults) -> Option<PublishedConfig> {
    let mut table = rules.table("published", faults)?;
    let span =
        |table: &mut Table<'_>, name: &str| table.node(name).map_or(table.span(), |node| node.span);
    let path = table.required_string("public_key", faults).map(str::to_owned);
    let key_span = span(&mut table, "public_key");
    let keys = path.and_then(|path| {
        let fault = |reason: String| {
            faults.error(key_span, format!("`{path}` {reason}")).remedy =
                Some("name the file NAME.pub that `logweir rules keygen NAME` has made".into());
        };
        read_keys(&path).map_err(fault).ok()
    });
    let group = table.string("group", faults).unwrap_or(GROUP_DEFAULT).to_owned();
    if let Err(error) = check_group(&group) {
        let span = span(&mut table, "group");
        faults.error(span, format!("`rules.published.group` is `{group}`")).remedy =
            Some(error.to_string());
    }
    let trial = table.duration_within("trial", TRIAL_MIN..=DURATION_MAX, faults);
    table.finish(faults);
    Some(PublishedConfig { keys: keys?, group, trial: trial.unwrap_or(TRIAL_DEFAULT) })
}

fn read_keys(path: &str) -> Result<PublicKeys, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    if std::fs::metadata(path).map_err(unreadable)?.len() > KEY_FILE_BYTES_MAX {
        return Err("is too large for a file of keys".into());
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    PublicKeys::from_pem(&text).map_err(|error| format!("holds no key: {error}"))
}
