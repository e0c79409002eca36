//! Names of fields: ECS where the name has a known counterpart, else a label.

use crate::fields::may_name;
use crate::suggest::identifier;

/// Names in use with Logstash, Fluent Bit and Wazuh, lower case, and their ECS fields.
const NAMES: &[(&str, &str)] = &[
    ("clientip", "source.address"),
    ("client", "source.address"),
    ("remote", "source.address"),
    ("remote_addr", "source.address"),
    ("remote_ip", "source.ip"),
    ("src_ip", "source.ip"),
    ("srcip", "source.ip"),
    ("source_ip", "source.ip"),
    ("src_port", "source.port"),
    ("srcport", "source.port"),
    ("source_port", "source.port"),
    ("dst_ip", "destination.ip"),
    ("dstip", "destination.ip"),
    ("dest_ip", "destination.ip"),
    ("dst_port", "destination.port"),
    ("dstport", "destination.port"),
    ("dest_port", "destination.port"),
    ("user", "user.name"),
    ("username", "user.name"),
    ("dstuser", "user.name"),
    ("auth", "user.name"),
    ("srcuser", "source.user.name"),
    ("verb", "http.request.method"),
    ("method", "http.request.method"),
    ("request", "url.original"),
    ("url", "url.original"),
    ("uri", "url.original"),
    ("path", "url.original"),
    ("httpversion", "http.version"),
    ("response", "http.response.status_code"),
    ("code", "http.response.status_code"),
    ("status_code", "http.response.status_code"),
    ("bytes", "http.response.body.bytes"),
    ("size", "http.response.body.bytes"),
    ("referrer", "http.request.referrer"),
    ("referer", "http.request.referrer"),
    ("agent", "user_agent.original"),
    ("useragent", "user_agent.original"),
    ("user_agent", "user_agent.original"),
    ("loglevel", "log.level"),
    ("level", "log.level"),
    ("severity", "log.level"),
    ("logger", "log.logger"),
    ("thread", "process.thread.name"),
    ("pid", "process.pid"),
    ("program", "process.name"),
    ("ident", "process.name"),
    ("syslog_program", "process.name"),
    ("syslog_pid", "process.pid"),
    ("syslog_hostname", "host.hostname"),
    ("logsource", "host.hostname"),
    ("host", "host.hostname"),
    ("hostname", "host.hostname"),
    ("system_name", "host.hostname"),
    ("systemname", "host.hostname"),
    ("msg", "message"),
    ("log", "message"),
    ("syslog_message", "message"),
    ("action", "event.action"),
    ("id", "event.code"),
    ("protocol", "network.transport"),
    ("proto", "network.transport"),
    ("reason", "event.reason"),
];

/// The field for a name of another program; `[a][b]` is `a.b`.
pub(super) fn field(name: &str) -> String {
    let name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inner) => inner.replace("][", "."),
        None => name.to_owned(),
    };
    let lower = name.to_ascii_lowercase();
    if let Some((_, field)) = NAMES.iter().find(|(known, _)| *known == lower) {
        return (*field).to_owned();
    }
    if is_time(&lower) {
        return format!("_{}", identifier(&lower));
    }
    if may_name(&name, &[])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@".contains(&b))
    {
        return name;
    }
    label(&name)
}

/// A label for a name.
pub(super) fn label(name: &str) -> String {
    let label = identifier(name.strip_prefix("labels.").unwrap_or(name));
    format!("labels.{}", if label.is_empty() { "value" } else { &label })
}

/// The field for a name beside others with theirs: a label where another has the field already, and what
/// is to be told of it.
pub(super) fn beside<'o>(
    name: &str,
    mut others: impl Iterator<Item = (&'o String, &'o String)>,
) -> (String, Option<String>) {
    let wanted = field(name);
    match others.find(|(other, field)| *other != name && **field == wanted) {
        Some((other, _)) => {
            let label = label(name);
            let note = format!("`{name}`: `{other}` is `{wanted}` already; it becomes `{label}`");
            (label, Some(note))
        }
        None => (wanted, None),
    }
}

/// Texts of times are of use inside a rule only.
fn is_time(lower: &str) -> bool {
    matches!(
        lower,
        "timestamp"
            | "time"
            | "ts"
            | "date"
            | "datetime"
            | "logdate"
            | "log_timestamp"
            | "log_time"
            | "syslog_timestamp"
            | "time_local"
            | "logtime"
            | "tstamp"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_fields_that_a_pack_may_set() {
        for (name, expected) in [
            ("clientip", "source.address"),
            ("[source][ip]", "source.ip"),
            ("orderId", "labels.order_id"),
            ("timestamp", "_timestamp"),
            ("source.geo", "labels.source_geo"),
            ("ü", "labels.value"),
            ("_x", "_x"),
        ] {
            assert_eq!(field(name), expected);
        }
        for (_, field) in NAMES {
            assert!(may_name(field, &[]), "{field}");
        }
    }
}
