//! What a value is called: an ECS field where the words around it make that likely, else a label.

use super::scan::Kind;
use crate::ecs::{self, Kind as FieldKind};

/// What stands around a value.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Around<'t> {
    /// The word right before `=` or `:` in front of it.
    pub(super) key: Option<&'t str>,
    /// The word before it.
    pub(super) before: Option<&'t str>,
    /// The word before that.
    pub(super) earlier: Option<&'t str>,
    /// The word behind it.
    pub(super) after: Option<&'t str>,
    /// The field that the value before it got.
    pub(super) last: Option<&'t str>,
    /// Whether nothing but a colon or a hash stands between the two.
    pub(super) joined: bool,
    /// Whether it stands in square brackets.
    pub(super) bracketed: bool,
}

/// Words by which users, logs and products call a value, lower case without `_`, `-` and blanks; the
/// first field that the value's kind fits is taken.
const WORDS: &[(&[&str], &[&str])] = &[
    (
        &[
            "user", "username", "usr", "login", "account", "acct", "uname", "userid", "usrname",
            "by",
        ],
        &["user.name"],
    ),
    (&["uid"], &["user.id"]),
    (&["gid"], &["group.id"]),
    (&["group"], &["group.name"]),
    (&["email", "mail"], &["user.email"]),
    (
        &[
            "from",
            "src",
            "srcip",
            "source",
            "sourceip",
            "client",
            "clientip",
            "clientaddr",
            "remote",
            "remoteaddr",
            "remoteip",
            "rhost",
            "peer",
            "saddr",
            "ip",
            "addr",
            "ipaddress",
            "connection",
        ],
        &["source.ip"],
    ),
    (&["src", "source", "client", "rhost", "peer", "remoteaddr"], &["source.address"]),
    (&["spt", "sport", "srcport", "sourceport", "clientport", "remoteport"], &["source.port"]),
    (
        &[
            "to",
            "dst",
            "dstip",
            "dest",
            "destination",
            "destinationip",
            "daddr",
            "server",
            "upstream",
        ],
        &["destination.ip"],
    ),
    (&["dst", "dest", "destination"], &["destination.address"]),
    (&["dpt", "dport", "dstport", "destport", "destinationport"], &["destination.port"]),
    (&["pid", "process"], &["process.pid"]),
    (&["thread", "tid"], &["process.thread.id", "process.thread.name"]),
    (&["exe", "executable", "binary"], &["process.executable"]),
    (&["cmd", "command", "cmdline"], &["process.command_line"]),
    (&["host", "hostname", "node"], &["host.hostname"]),
    (&["method", "verb"], &["http.request.method"]),
    (&["status", "statuscode", "httpstatus"], &["http.response.status_code"]),
    (&["referer", "referrer"], &["http.request.referrer"]),
    (&["useragent", "agent", "ua"], &["user_agent.original"]),
    (&["url", "uri", "request"], &["url.original"]),
    (&["file", "filename", "path"], &["file.path"]),
    (&["proto", "protocol"], &["network.transport"]),
    (&["level", "lvl", "severity", "loglevel"], &["log.level"]),
    (&["logger", "class"], &["log.logger"]),
    (&["traceid"], &["trace.id"]),
    (&["spanid"], &["span.id"]),
    (&["requestid", "reqid"], &["http.request.id"]),
    (&["action"], &["event.action"]),
    (&["reason", "because"], &["event.reason"]),
    (&["error", "err"], &["error.message"]),
    (&["msg", "message"], &["message"]),
    (&["rule", "ruleid"], &["rule.id"]),
    (&["query"], &["dns.question.name"]),
];

/// The field for a value of these kinds.
pub(super) fn name(kinds: u32, around: &Around<'_>) -> String {
    let only = |kind: Kind| kinds == kind.bit();
    if only(Kind::Level) {
        return "log.level".into();
    }
    if around.bracketed
        && matches!(around.last, Some("_time" | "log.level"))
        && around.key.is_none()
    {
        return "process.thread.name".into();
    }
    let folded = |word: Option<&str>| word.map(fold).unwrap_or_default();
    if folded(around.key.or(around.before)) == "port" && only(Kind::Integer) {
        return port(around);
    }
    if let Some(port) = around.last.and_then(|last| port_of(last, kinds, around)) {
        return port;
    }
    let named = match around.key {
        Some(_) => by_word(&folded(around.key), kinds),
        // `user name bob`, `client address 10.0.0.7`: the earlier word says more.
        None => by_word(&folded(around.before), kinds).or_else(|| {
            let before = folded(around.before);
            let filler = matches!(
                before.as_str(),
                "address" | "addr" | "ip" | "name" | "id" | "with" | "is"
            );
            filler.then(|| by_word(&folded(around.earlier), kinds)).flatten()
        }),
    };
    named.unwrap_or_else(|| label(kinds, around))
}

fn by_word(word: &str, kinds: u32) -> Option<String> {
    WORDS
        .iter()
        .filter(|(words, _)| words.contains(&word))
        .flat_map(|(_, fields)| fields.iter())
        .find(|field| fits(field, kinds))
        .map(|field| (*field).to_owned())
}

/// Whether values of these kinds can stand in the field.
fn fits(field: &str, kinds: u32) -> bool {
    let among =
        |allowed: &[Kind]| kinds & !allowed.iter().fold(0, |bits, kind| bits | kind.bit()) == 0;
    match field {
        "file.path" | "url.original" if kinds & Kind::Rest.bit() != 0 => false,
        "file.path" => among(&[Kind::Path, Kind::Quoted, Kind::Apostrophed]),
        // Prose says `user 5`, `by 10 %`, `to 3` as well.
        "user.name" | "source.address" | "destination.address" => !among(&[
            Kind::Integer,
            Kind::Signed,
            Kind::Float,
            Kind::Clock,
            Kind::Ipv4,
            Kind::Ipv6,
            Kind::Rest,
        ]),
        "user.email" => among(&[Kind::Email]),
        _ => match ecs::type_of(field).map(|kind| kind.kind) {
            Some(FieldKind::Integer) => among(&[Kind::Integer, Kind::Signed]),
            Some(FieldKind::Ip) => among(&[Kind::Ipv4, Kind::Ipv6]),
            Some(FieldKind::Text) => kinds & Kind::Rest.bit() == 0 || field == "message",
            _ => false,
        },
    }
}

/// `10.0.0.7:5123`, `10.0.0.7 port 5123`: of the same end as the address before.
fn port(around: &Around<'_>) -> String {
    let end = around.last.and_then(|last| last.split('.').next());
    let end = end.filter(|end| matches!(*end, "source" | "destination")).unwrap_or_else(|| {
        let earlier = around.earlier.map(fold).unwrap_or_default();
        if matches!(earlier.as_str(), "from" | "client" | "source") {
            "source"
        } else {
            "destination"
        }
    });
    format!("{end}.port")
}

fn port_of(last: &str, kinds: u32, around: &Around<'_>) -> Option<String> {
    let (end, "ip" | "address") = last.split_once('.')? else { return None };
    let ends = matches!(end, "source" | "destination" | "labels");
    (around.joined && ends && kinds == Kind::Integer.bit()).then(|| format!("{end}.port"))
}

/// `labels.…` by the word before, the unit behind, or the kind.
fn label(kinds: u32, around: &Around<'_>) -> String {
    let number = kinds & !(Kind::Integer.bit() | Kind::Signed.bit() | Kind::Float.bit()) == 0;
    let word = |word: Option<&str>| {
        let name =
            word.map(identifier).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
        name.filter(|name| !is_filler(name))
    };
    let unit = around.after.filter(|unit| number && is_unit(unit));
    if let (Some(unit), None) = (unit, around.key) {
        return format!("labels.duration_{unit}");
    }
    let found = word(around.key)
        .or_else(|| number.then(|| word(around.after)).flatten())
        .or_else(|| word(around.before))
        .or_else(|| word(around.earlier));
    let kind = || {
        const NAMES: [(Kind, &str); 14] = [
            (Kind::Integer, "number"),
            (Kind::Signed, "number"),
            (Kind::Float, "number"),
            (Kind::Hex, "hex_id"),
            (Kind::Uuid, "uuid"),
            (Kind::Ipv4, "ip"),
            (Kind::Ipv6, "ip"),
            (Kind::Mac, "mac"),
            (Kind::Email, "email"),
            (Kind::Url, "url"),
            (Kind::Path, "path"),
            (Kind::Clock, "clock"),
            (Kind::Date, "date"),
            (Kind::Rest, "rest"),
        ];
        let of = NAMES.iter().find(|(kind, _)| kinds & kind.bit() != 0);
        of.map_or("text", |(_, name)| name).to_owned()
    };
    format!("labels.{}", found.unwrap_or_else(kind))
}

fn is_unit(word: &str) -> bool {
    matches!(word, "ns" | "us" | "ms" | "s" | "sec" | "seconds" | "minutes")
}

fn is_filler(name: &str) -> bool {
    matches!(
        name,
        "a" | "an"
            | "the"
            | "of"
            | "in"
            | "on"
            | "at"
            | "is"
            | "was"
            | "to"
            | "from"
            | "by"
            | "for"
            | "with"
            | "and"
            | "or"
            | "as"
            | "after"
            | "than"
            | "not"
            | "has"
            | "s"
            | "ms"
            | "us"
            | "ns"
            | "b"
            | "no"
            | "all"
            | "be"
            | "been"
            | "took"
    )
}

/// Lower case, and `_` for what a name cannot hold.
pub(crate) fn identifier(word: &str) -> String {
    let mut name = String::new();
    for (at, c) in word.char_indices().take(48) {
        if c.is_ascii_uppercase()
            && at > 0
            && !name.ends_with('_')
            && word[..at].ends_with(|c: char| c.is_ascii_lowercase())
        {
            name.push('_');
        }
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('_') && !name.is_empty() {
            name.push('_');
        }
    }
    name.trim_end_matches('_').to_owned()
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_called_by_the_words_around_them() {
        let check = |kind: Kind, key, before, after, expected: &str| {
            let around = Around { key, before, after, ..Around::default() };
            assert_eq!(name(kind.bit(), &around), expected, "{kind:?} {around:?}");
        };
        check(Kind::Text, None, Some("user"), None, "user.name");
        check(Kind::Integer, None, Some("user"), None, "labels.user");
        check(Kind::Ipv4, None, Some("from"), None, "source.ip");
        check(Kind::Ipv4, Some("dst_ip"), None, None, "destination.ip");
        check(Kind::Text, None, Some("from"), Some("x"), "labels.text");
        check(Kind::Integer, None, Some("paid"), Some("cents"), "labels.cents");
        check(Kind::Integer, Some("dpt"), None, None, "destination.port");
        check(Kind::Text, Some("dpt"), None, None, "labels.dpt");
        check(Kind::Integer, Some("orderId"), None, None, "labels.order_id");
        check(Kind::Level, None, None, None, "log.level");
        check(Kind::Uuid, None, None, None, "labels.uuid");
        let around = Around { last: Some("source.ip"), joined: true, ..Around::default() };
        assert_eq!(name(Kind::Integer.bit(), &around), "source.port");
        let around = Around { last: Some("labels.ip"), after: Some("status"), ..around };
        assert_eq!(name(Kind::Integer.bit(), &around), "labels.port");
    }

    #[test]
    fn every_field_in_the_list_is_one_of_ecs() {
        for (_, fields) in WORDS {
            for field in *fields {
                assert!(ecs::type_of(field).is_some(), "{field}");
            }
        }
    }
}
