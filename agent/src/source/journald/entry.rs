//! What an entry of the journal says: as a line that the rules know, and as fields of its event.

use super::file::Entry;
use crate::config::JournaldConfig;
use jiff::Timestamp;
use logweir_record::write_member;
use std::sync::LazyLock;

/// Fields of the journal and what they are called in an event.
const NAMES: [(&str, &str); 21] = [
    ("_EXE", "process.executable"),
    ("_CMDLINE", "process.command_line"),
    ("_COMM", "process.name"),
    ("_PID", "process.pid"),
    ("_UID", "user.id"),
    ("_GID", "group.id"),
    ("_HOSTNAME", "host.hostname"),
    ("_BOOT_ID", "host.boot.id"),
    ("CODE_FILE", "log.origin.file.name"),
    ("CODE_LINE", "log.origin.file.line"),
    ("CODE_FUNC", "log.origin.function"),
    ("SYSLOG_IDENTIFIER", "log.syslog.appname"),
    ("_SYSTEMD_UNIT", "systemd.unit"),
    ("_SYSTEMD_USER_UNIT", "systemd.user_unit"),
    ("_SYSTEMD_SLICE", "systemd.slice"),
    ("_TRANSPORT", "systemd.transport"),
    ("_AUDIT_SESSION", "auditd.session"),
    ("_AUDIT_LOGINUID", "user.audit.id"),
    ("_MACHINE_ID", "host.id"),
    ("MESSAGE_ID", "event.code"),
    ("_SELINUX_CONTEXT", "process.selinux_context"),
];
/// Numbers in the event, if they are.
const NUMBERS: [&str; 2] = ["process.pid", "log.origin.file.line"];
/// These are in the line.
const IN_LINE: [&str; 4] = ["MESSAGE", "PRIORITY", "SYSLOG_FACILITY", "SYSLOG_PID"];
/// More fields of a program's own are left out.
const OTHER_MAX: usize = 64;

static BOOT_ID: LazyLock<String> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().replace('-', "")
});

/// Whether the source is to deliver the entry.
pub(super) fn wanted(entry: &Entry, config: &JournaldConfig) -> bool {
    let among = |list: &[String], names: &[&str]| {
        let value = |name: &&str| entry.field(name);
        list.is_empty()
            || names.iter().filter_map(value).any(|v| list.iter().any(|l| l.as_bytes() == v))
    };
    among(&config.units, &["_SYSTEMD_UNIT", "UNIT", "_SYSTEMD_USER_UNIT"])
        && among(&config.identifiers, &["SYSLOG_IDENTIFIER"])
        && config.priority.is_none_or(|most| severity(entry) <= most)
        && (!config.current_boot || entry.field("_BOOT_ID") == Some(BOOT_ID.as_bytes()))
}

fn severity(entry: &Entry) -> u8 {
    number(entry, "PRIORITY").filter(|severity| *severity < 8).unwrap_or(6)
}

fn number(entry: &Entry, name: &str) -> Option<u8> {
    std::str::from_utf8(entry.field(name)?).ok()?.parse().ok()
}

/// The entry as journald itself passes it to a syslog daemon, with a whole time:
/// `<30>2026-11-28T01:02:03.123456Z host program[1]: message`.
pub(super) fn render(entry: &Entry, out: &mut Vec<u8>) {
    let facility = number(entry, "SYSLOG_FACILITY").filter(|facility| *facility < 24).unwrap_or(3);
    let time = Timestamp::from_microsecond(entry.realtime.min(i64::MAX as u64) as i64)
        .unwrap_or(Timestamp::UNIX_EPOCH);
    out.extend_from_slice(format!("<{}>{time:.6} ", facility * 8 + severity(entry)).as_bytes());
    // Nothing of a name may look like the end of the header.
    let word = |out: &mut Vec<u8>, bytes: &[u8]| {
        let legal = |byte: &u8| byte.is_ascii_graphic() && !b"[]:".contains(byte);
        out.extend(bytes.iter().take(128).map(|byte| if legal(byte) { *byte } else { b'_' }));
    };
    word(out, entry.field("_HOSTNAME").unwrap_or(b"localhost"));
    out.push(b' ');
    let program = entry.field("SYSLOG_IDENTIFIER").or_else(|| entry.field("_COMM"));
    word(out, program.unwrap_or(b"unknown"));
    if let Some(pid) = entry.field("SYSLOG_PID").or_else(|| entry.field("_PID")) {
        out.push(b'[');
        word(out, pid);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(entry.field("MESSAGE").unwrap_or_default());
}

/// The other fields, as members each ready to be written: name, and `"name":value`.
pub(super) fn members(entry: &Entry, out: &mut Vec<(String, Vec<u8>)>) {
    let mut others = 0;
    for field in &entry.fields {
        let Some(at) = field.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (&field[..at], &field[at + 1..]);
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let Some(name) =
            std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|b| legal(&b)))
        else {
            continue;
        };
        if IN_LINE.contains(&name) {
            continue;
        }
        let known = NAMES.iter().find(|(ours, _)| *ours == name);
        others += usize::from(known.is_none());
        if known.is_none() && others > OTHER_MAX {
            continue;
        }
        let name = known.map_or_else(
            || format!("journald.{}", name.to_ascii_lowercase()),
            |(_, ecs)| (*ecs).to_owned(),
        );
        // Of a field with several values the first one.
        if out.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let mut member = Vec::new();
        let digits = value.len() < 16 && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let leading = value.len() > 1 && value[0] == b'0';
        if NUMBERS.contains(&name.as_str()) {
            if !digits || leading {
                continue;
            }
            member.extend_from_slice(format!("\"{name}\":").as_bytes());
            member.extend_from_slice(value);
        } else {
            write_member(&mut member, &name, value);
        }
        out.push((name, member));
    }
    if entry.unread > 0 {
        let member = format!("\"journald.unread_fields\":{}", entry.unread).into_bytes();
        out.push(("journald.unread_fields".to_owned(), member));
    }
}
