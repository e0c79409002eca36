//! The syslog header: RFC 5424, RFC 3164, and what is found in the field between and beside them.
//!
//! A fast path by hand takes what nearly all lines are; what it declines although a priority or a date
//! says syslog goes to `syslog_loose`, whose message is taken from the original line (it trims).
//! A line that is no syslog has no header: everything is message. Nothing is ever cut off silently.

mod rare;
pub(crate) mod structured;

use crate::time::{
    TimeContext, Zone, behind_form, rfc3164_prefix, rfc3339_prefix, unix_seconds, without_year,
    without_zone,
};
use chrono::Utc;
use std::cell::Cell;
use syslog_loose::{IncompleteDate, Variant};

/// What stands in front of the message.
#[derive(Debug, Clone, Default)]
pub struct Header<'a> {
    /// Facility * 8 + severity, 0 to 191.
    pub priority: Option<u8>,
    pub timestamp: Option<HeaderTime>,
    /// Whether there is a text for a time, but not such a time, as of the 30th of February.
    pub time_invalid: bool,
    pub hostname: Option<&'a [u8]>,
    pub program: Option<&'a [u8]>,
    pub pid: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub structured_data: Option<&'a [u8]>,
    /// That of RFC 5424, of which 1 is the only one so far (255 stands for all above); else 0.
    pub version: u16,
    pub message: &'a [u8],
}

impl Header<'_> {
    fn dated(self) -> Option<Self> {
        self.timestamp.is_some().then_some(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderTime {
    pub unix_nanos: i64,
    /// Whether the text named its zone.
    pub zone_known: bool,
}

/// The longest that a program's name may be; longer words are prose.
const PROGRAM_BYTES_MAX: usize = 128;

/// The time of the line before, because lines come many to the second: what stands there up to the
/// end of the word behind the time, under which zone and time of reading, and what it means.
#[derive(Debug, Clone, Default)]
pub struct Memo {
    minute: Minute,
    text: Vec<u8>,
    time: Option<HeaderTime>,
    /// Where the time ends.
    end: usize,
    received_unix_nanos: i64,
    zone: Option<Zone>,
}

/// Longer beginnings are not remembered.
const MEMO_BYTES_MAX: usize = 96;

impl Memo {
    fn timestamp<'a>(
        &mut self,
        text: &'a [u8],
        context: &TimeContext<'_>,
    ) -> Option<(HeaderTime, &'a [u8])> {
        if let Some(found) = self.minute.timestamp(text, context) {
            return Some(found);
        }
        let known = !self.text.is_empty()
            && text.starts_with(&self.text)
            && self.received_unix_nanos == context.received_unix_nanos
            && self.zone.as_ref() == Some(context.zone);
        if known {
            return self.time.map(|time| (time, &text[self.end..]));
        }
        let (time, rest) = timestamp(text, context)?;
        let end = text.len() - rest.len();
        // A year may stand behind the time, so the word there belongs to it; so may a zone, if a year
        // follows that, so a word that looks like one is not enough.
        let word = rest.get(1..)?.split(|byte| *byte == b' ').next()?;
        let zone = (3..=4).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
        let length = end + 1 + word.len() + 1;
        self.text.clear();
        if !zone && length <= text.len().min(MEMO_BYTES_MAX) {
            self.text.extend_from_slice(&text[..length]);
            (self.time, self.end) = (Some(time), end);
            self.received_unix_nanos = context.received_unix_nanos;
            if self.zone.as_ref() != Some(context.zone) {
                self.zone = Some(context.zone.clone());
            }
        }
        Some((time, rest))
    }
}

/// The minute of the line before, for times of the form `Mmm dd hh:mm:ss ` behind which neither a
/// year nor a zone can stand: within a minute, only the seconds differ.
#[derive(Debug, Clone, Default)]
struct Minute {
    /// `Mmm dd hh:mm:`
    text: [u8; 13],
    unix_nanos: i64,
    /// The day, in UTC, of the times of reading for which the minute's year is certain.
    received_day: i64,
    zone: Option<Zone>,
}

impl Minute {
    /// `None` if the text does not have this form, or has to be looked at in full.
    fn timestamp<'a>(
        &mut self,
        text: &'a [u8],
        context: &TimeContext<'_>,
    ) -> Option<(HeaderTime, &'a [u8])> {
        let (minute, rest) = text.split_first_chunk::<13>()?;
        let [tens @ b'0'..=b'5', ones @ b'0'..=b'9', b' ', a, b, c, ..] = *rest else {
            return None;
        };
        let year = a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit();
        let zone = a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_uppercase();
        if minute[12] != b':' || year || zone {
            return None;
        }
        let received_day = context.received_unix_nanos.div_euclid(DAY_NANOS);
        let known = self.text == *minute
            && self.received_day == received_day
            && self.zone.as_ref() == Some(context.zone);
        let second = i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
        if !known {
            self.learn(text, second, context)?;
        }
        let unix_nanos = self.unix_nanos + second * 1_000_000_000;
        Some((HeaderTime { unix_nanos, zone_known: false }, &text[15..]))
    }

    fn learn(&mut self, text: &[u8], second: i64, context: &TimeContext<'_>) -> Option<()> {
        const MINUTE_NANOS: i64 = 60 * 1_000_000_000;
        // Zones have changed by whole minutes since then.
        const FROM: i64 = 2 * 366 * DAY_NANOS;
        let (unix_nanos, zone_known, rest) = rfc3164_prefix(text, context)?;
        let begin = unix_nanos - second * 1_000_000_000;
        let day = context.received_unix_nanos.div_euclid(DAY_NANOS);
        // The year is the same for every time of reading on that day; see `time`.
        let certain = begin > FROM.max((day - 330) * DAY_NANOS)
            && begin + MINUTE_NANOS < (day + 31) * DAY_NANOS
            && text[0].is_ascii_uppercase()
            && !text.starts_with(b"Feb 29");
        if zone_known || rest.len() + 15 != text.len() || !certain {
            return None;
        }
        self.text = *text.first_chunk()?;
        (self.unix_nanos, self.received_day) = (begin, day);
        if self.zone.as_ref() != Some(context.zone) {
            self.zone = Some(context.zone.clone());
        }
        Some(())
    }
}

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// Takes the header off `line`.
#[must_use]
pub fn parse<'a>(line: &'a [u8], context: &TimeContext<'_>) -> Header<'a> {
    parse_with(line, context, &mut Memo::default())
}

/// As [`parse`], with what the lines before have shown.
#[must_use]
pub fn parse_with<'a>(line: &'a [u8], context: &TimeContext<'_>, memo: &mut Memo) -> Header<'a> {
    // No header begins as JSON does.
    if line.first() == Some(&b'{') {
        return Header { message: line, ..Header::default() };
    }
    let (priority, rest) = match priority(line) {
        Some((priority, rest)) => (Some(priority), rest),
        None => (None, line),
    };
    if priority.is_some()
        && let Some(header) = rfc5424(rest, priority, context)
    {
        return rare::wrapped(header, context);
    }
    // Some devices leave a space behind the priority.
    let start = if priority.is_some() { rest.strip_prefix(b" ").unwrap_or(rest) } else { rest };
    if let Some((time, after)) = memo.timestamp(start, context) {
        let timestamp = Some(time);
        let mut header = Header { priority, timestamp, message: after, ..Header::default() };
        after_time(after, &mut header);
        match header.program {
            None => header = rare::behind_time(start, header, context),
            Some([b'0'..=b'9', ..]) => header = rare::numbered(after, header, context),
            Some(_) => {}
        }
        if priority.is_none() && is_of_application(start, &header) {
            return Header { timestamp: header.timestamp, message: line, ..Header::default() };
        }
        return header;
    }
    if let Some(header) = without_such_time(start, priority) {
        return header;
    }
    if priority.is_some()
        && let Some(header) = cisco(start, priority, context).or_else(|| epoch(start, priority))
    {
        return header;
    }
    match priority {
        Some(_) => without_time(line, rest, priority, context),
        None => without_both(line)
            .or_else(|| rare::without_both(line, context))
            .or_else(|| parse_with(rare::counted(line)?, context, memo).dated())
            .unwrap_or(Header { message: line, ..Header::default() }),
    }
}

/// Neither priority nor time: `web1 sshd[12]: …` still names host, program and process, as some
/// relays and files have it. Nothing less than the process id is taken for a sign.
fn without_both(line: &[u8]) -> Option<Header<'_>> {
    let mut header = Header { message: line, ..Header::default() };
    let (host, after) = word(line).filter(|(host, _)| is_host(host))?;
    let found =
        tag(after, &mut header) && header.pid.is_some_and(|pid| pid.iter().all(u8::is_ascii_digit));
    header.hostname = Some(host);
    found.then_some(header)
}

/// `<134>` and what follows.
fn priority(line: &[u8]) -> Option<(u8, &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|b| *b == b'>')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse::<u8>().ok()?;
    let plain = rest[..end].iter().all(u8::is_ascii_digit);
    (plain && number <= 191).then(|| (number, &rest[end + 1..]))
}

/// What Cisco's systems write behind the priority, each part in front of a colon: a sequence number,
/// the host, a second number, a task, the time (marked `*` or `.` where the clock is not set) or how
/// long the system is up; then `%FACILITY-SEVERITY-MNEMONIC`, by which it is told from all else.
fn cisco<'a>(
    text: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Option<Header<'a>> {
    const PARTS_MAX: usize = 5;
    let mut header = Header { priority, ..Header::default() };
    let mut numbered = false;
    let mut rest = text;
    for _ in 0..PARTS_MAX {
        let unmarked = rest.strip_prefix(b"*").or(rest.strip_prefix(b".")).unwrap_or(rest);
        if header.timestamp.is_none()
            && let Some((time, after)) = dated(unmarked, context)
        {
            header.timestamp = Some(time);
            rest = after.strip_prefix(b":")?.trim_ascii_start();
        } else {
            let Some((part, after)) = word(rest) else { break };
            let Some(part) = part.strip_suffix(b":").filter(|part| !part.is_empty()) else { break };
            if part.iter().all(|b| b.is_ascii_digit() || *b == b':') || is_uptime(part) {
                numbered = true;
            } else if header.hostname.is_none() && is_host(part) {
                header.hostname = Some(part);
            }
            rest = after.trim_ascii_start();
        }
        if rest.first() == Some(&b'%') {
            header.message = rest;
            return (numbered || header.timestamp.is_some()).then_some(header);
        }
    }
    // A time, and a text without a mnemonic, behind a number.
    let time = header.timestamp.filter(|_| numbered && header.hostname.is_none());
    time.map(|_| Header { message: rest, ..header })
}

/// `1d03h`, `2w1d`, `1y12w`, as Cisco's systems write how long they are up.
fn is_uptime(part: &[u8]) -> bool {
    let unit = |byte: &u8| matches!(byte, b'y' | b'w' | b'd' | b'h');
    part.first().is_some_and(u8::is_ascii_digit)
        && part.last().is_some_and(unit)
        && part.iter().all(|byte| byte.is_ascii_digit() || unit(byte))
}

/// `1 1700000000.25 host text`, as Meraki's devices write it, the version or not.
fn epoch(text: &[u8], priority: Option<u8>) -> Option<Header<'_>> {
    let (version, rest) = match text.strip_prefix(b"1 ") {
        Some(rest) => (1, rest),
        None => (0, text),
    };
    let (stamp, rest) = word(rest)?;
    let whole = stamp.iter().take_while(|b| b.is_ascii_digit()).count();
    if whole != 10 {
        return None;
    }
    let unix_nanos = unix_seconds(stamp)?;
    let (hostname, message) = word(rest).filter(|(host, _)| is_host(host))?;
    let timestamp = Some(HeaderTime { unix_nanos, zone_known: true });
    Some(Header {
        priority,
        timestamp,
        hostname: Some(hostname),
        version,
        message,
        ..Header::default()
    })
}

fn timestamp<'a>(text: &'a [u8], context: &TimeContext<'_>) -> Option<(HeaderTime, &'a [u8])> {
    let first = *text.first()?;
    let (unix_nanos, zone_known, rest) = if first.is_ascii_digit() {
        // Applications begin lines with a date and a space; syslog writes a `T` and a zone.
        if !matches!(text.get(10), Some(b'T' | b't')) {
            return None;
        }
        rfc3339_prefix(text, context)?
    } else if first.is_ascii_uppercase() {
        rfc3164_prefix(text, context)?
    } else {
        return None;
    };
    let time = HeaderTime { unix_nanos, zone_known };
    // Something has to follow the time, or there is no telling what the line is.
    matches!(rest.first(), Some(b' ' | b':')).then_some((time, rest))
}

/// Host and program behind a time that there is not, such as of the 30th of February, or that is too far away
/// to be told: it has none.
fn without_such_time(text: &[u8], priority: Option<u8>) -> Option<Header<'_>> {
    let of_syslog = text.first()?.is_ascii_uppercase() || matches!(text.get(10), Some(b'T' | b't'));
    let after = behind_form(text).filter(|after| of_syslog && after.starts_with(b" "))?;
    let mut header = Header { priority, time_invalid: true, message: after, ..Header::default() };
    after_time(after, &mut header);
    let told =
        header.program.is_some() && (priority.is_some() || !is_of_application(text, &header));
    told.then_some(header)
}

/// A date by the month's name, also with the year in front of it.
fn dated<'a>(text: &'a [u8], context: &TimeContext<'_>) -> Option<(HeaderTime, &'a [u8])> {
    let (unix_nanos, zone_known, rest) = rfc3164_prefix(text, context)?;
    Some((HeaderTime { unix_nanos, zone_known }, rest))
}

/// Host, program and process id behind the time.
fn after_time<'a>(text: &'a [u8], header: &mut Header<'a>) {
    if let Some(rest) = text.strip_prefix(b":") {
        // Cisco: the time ends in a colon and there is no host.
        header.message = rest.trim_ascii_start();
        return;
    }
    let rest = &text[1..];
    let (host, after) = match rest.strip_prefix(b" ") {
        // Two spaces where the host should be: it is empty.
        Some(after) => (None, after),
        None => match word(rest) {
            Some((host, after)) if is_host(host) => (Some(host), after),
            _ => (None, rest),
        },
    };
    header.hostname = host;
    let after = after.strip_prefix(b": ").unwrap_or(after);
    header.message = after;
    if !tag(after, header)
        && let (Some(host), Some((again, rest))) = (host, word(after))
        && host == again
    {
        // A relay has put the host in front once more.
        header.message = rest;
        tag(rest, header);
    }
}

/// Whether a line without a priority, which begins with a time in the form of RFC 3339, is not
/// syslog's. Applications begin lines so, too: `2026-11-28T01:49:46Z INFO …`. Syslog has a zone or a
/// process id, a host that looks like one, and a program, but for messages of the daemon itself and of
/// Cisco.
fn is_of_application(line: &[u8], header: &Header<'_>) -> bool {
    if !line.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let named = header.hostname.is_none_or(|host| !host.iter().all(u8::is_ascii_digit));
    let told = header.program.is_some()
        || header.hostname.is_some_and(|host| host.contains(&b'.'))
        || [&b"%"[..], b"message repeated", b"last message repeated"]
            .iter()
            .any(|begin| header.message.starts_with(begin));
    // So do a relay's plain words: `2026-11-28T10:00:00 web1 mysqld: …`.
    let lower = |word: &[u8]| {
        word.first().is_some_and(u8::is_ascii_lowercase)
            && word.iter().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'/')
            })
    };
    let fraction = || line[19..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
    let ends = match line.get(19) {
        Some(b'.') if line[10] == b'T' => line.get(19 + fraction().count()),
        end => end,
    };
    let plain = ends == Some(&b' ')
        && header.hostname.is_some_and(|host| host.first().is_some_and(u8::is_ascii_alphanumeric))
        && header.hostname.is_some_and(|host| !host.iter().all(u8::is_ascii_uppercase))
        && header.program.is_some_and(lower);
    // Without a zone a process id has to say it, behind a host that is no level (`INFO main[1]:`).
    let identified = header.pid.is_some_and(|pid| pid.iter().all(u8::is_ascii_digit))
        && header.hostname.is_some_and(|host| !host.iter().all(u8::is_ascii_uppercase));
    let zone_known = header.timestamp.is_some_and(|time| time.zone_known);
    !((zone_known || identified || plain) && named && told)
}

/// A priority and then no time that is known.
fn without_time<'a>(
    line: &'a [u8],
    rest: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Header<'a> {
    let mut header = Header { priority, message: rest, ..Header::default() };
    if tag(rest, &mut header) {
        return header;
    }
    if let Some(header) = rare::otherwise_dated(rest.trim_ascii_start(), priority, context) {
        return header;
    }
    if let Some((host, after)) = word(rest)
        && is_host(host)
        && tag(after, &mut header)
    {
        header.hostname = Some(host);
        return header;
    }
    fallback(line, header, context)
}

/// `prog[12]: `, `prog: `, `sshd(pam_unix)[12]: ` at the start of `text`.
fn tag<'a>(text: &'a [u8], header: &mut Header<'a>) -> bool {
    let limit = text.len().min(PROGRAM_BYTES_MAX);
    let ends = |byte: &u8| is(*byte, ENDS_PROGRAM);
    let Some(end) = text[..limit].iter().position(ends) else { return false };
    // The display manager of GNOME calls itself `gdm-password]`.
    let program = text[..end].strip_suffix(b"]").unwrap_or(&text[..end]);
    if program.is_empty() || is_level(program) {
        return false;
    }
    let mut rest = &text[end..];
    if let Some(inner) = rest.strip_prefix(b"(")
        && let Some(close) = inner.iter().take(64).position(|b| *b == b')')
    {
        rest = &inner[close + 1..];
    }
    let mut pid = None;
    if let Some(inner) = rest.strip_prefix(b"[") {
        let Some(close) = inner[..inner.len().min(64)].iter().position(|b| *b == b']') else {
            return false;
        };
        pid = Some(&inner[..close]);
        rest = &inner[close + 1..];
    }
    let Some(message) = rest.strip_prefix(b":") else {
        // `prog[12] message`, as some write; a word and a space alone is prose.
        if let (Some(pid_text), Some(message)) = (pid, rest.strip_prefix(b" "))
            && pid_text.iter().all(u8::is_ascii_digit)
            && !pid_text.is_empty()
        {
            header.program = Some(program);
            header.pid = pid;
            header.message = without_level(message);
            return true;
        }
        return false;
    };
    // `12:30:11` and `C:\` are not programs.
    if !matches!(message.first(), None | Some(b' ')) && pid.is_none() {
        return false;
    }
    header.program = Some(program);
    header.pid = pid.filter(|pid| !pid.is_empty());
    header.message = message.strip_prefix(b" ").unwrap_or(message);
    match header.message.first() {
        Some(b'[') => solaris_id(header),
        Some(b'm') => repeated(header),
        _ => {}
    }
    true
}

/// rsyslog puts `message repeated 3 times: [ ` around what came more than once: the message is in there.
fn repeated(header: &mut Header<'_>) {
    if let Some(rest) = header.message.strip_prefix(b"message repeated ")
        && let digits @ 1..=9 = rest.iter().take(10).take_while(|b| b.is_ascii_digit()).count()
        && let Some(inner) = rest[digits..].strip_prefix(b" times: [")
        && let Some(inner) = inner.strip_suffix(b"]")
    {
        header.message = inner.strip_prefix(b" ").unwrap_or(inner);
    }
}

/// macOS puts `<Notice>: ` behind the process id.
fn without_level(message: &[u8]) -> &[u8] {
    let Some(inner) = message.strip_prefix(b"<") else { return message };
    let letters = inner.iter().take(12).take_while(|b| b.is_ascii_alphabetic()).count();
    inner[letters..].strip_prefix(b">: ").filter(|_| letters > 3).unwrap_or(message)
}

/// Solaris puts `[ID 800047 auth.info] ` in front of the message.
fn solaris_id(header: &mut Header<'_>) {
    if let Some(rest) = header.message.strip_prefix(b"[ID ")
        && let Some(close) = rest.iter().take(64).position(|b| *b == b']')
        && rest[0].is_ascii_digit()
    {
        header.message_id = Some(&rest[..close]);
        header.message = rest[close + 1..].trim_ascii_start();
    }
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text[..text.len().min(256)].iter().position(|b| *b == b' ')?;
    (end > 0).then(|| (&text[..end], &text[end + 1..]))
}

/// What applications and container runtimes write where syslog has its host.
fn is_level(word: &[u8]) -> bool {
    const LEVELS: [&[u8]; 14] = [
        b"info",
        b"warn",
        b"warning",
        b"error",
        b"debug",
        b"trace",
        b"verbose",
        b"trivia",
        b"notice",
        b"fatal",
        b"severe",
        b"critical",
        b"stdout",
        b"stderr",
    ];
    // Nearly all words are told by their ends.
    let [first, .., last] = word else { return false };
    let ends = matches!(first | 0x20, b'c'..=b'f' | b'i' | b'n' | b's' | b't' | b'v' | b'w')
        && matches!(last | 0x20, b'a' | b'e' | b'g' | b'l' | b'n' | b'o' | b'r' | b't');
    ends && (4..=8).contains(&word.len())
        && LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

/// What a byte may be in a header, a bit for each.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut number = 0;
    while number < 256 {
        let byte = number as u8;
        let sign = matches!(byte, b'.' | b'-' | b'_' | b':' | b'@' | b'/' | b'%' | b'[' | b']');
        if byte.is_ascii_alphanumeric() || sign || !byte.is_ascii() {
            bytes[number] |= OF_HOST;
        }
        if matches!(byte, b'[' | b':' | b' ' | b'(' | b'%' | b'{' | b'"' | b'=' | b'<') {
            bytes[number] |= ENDS_PROGRAM;
        }
        number += 1;
    }
    bytes
};
const OF_HOST: u8 = 1;
const ENDS_PROGRAM: u8 = 2;

fn is(byte: u8, kind: u8) -> bool {
    BYTES[usize::from(byte)] & kind != 0
}

/// Names, addresses, and what relays make of them; not a program with its colon.
fn is_host(word: &[u8]) -> bool {
    let plain = word.iter().all(|byte| is(*byte, OF_HOST));
    // macOS: `--- last message repeated 2 times ---`.
    if !plain || word.first() == Some(&b'%') || word.starts_with(b"--") || is_level(word) {
        return false;
    }
    match word.last() {
        Some(b':') => false,
        // `prog[12]` is no host, `[::1]` is one.
        Some(b']') => word.first() == Some(&b'[') && word.contains(&b':'),
        _ => true,
    }
}

/// `1 2026-11-28T01:49:46Z host app pid msgid [data] message` behind the priority. Where host and time
/// are there and the rest is not, as devices write it, all behind the host is message.
fn rfc5424<'a>(
    rest: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Option<Header<'a>> {
    let (version, rest) = version(rest)?;
    let (stamp, rest) = field(rest)?;
    let timestamp = match stamp {
        None => None,
        Some(text) => {
            let (time, after) = match rfc3339_prefix(text, context) {
                Some((unix_nanos, zone_known, after)) => {
                    (Some(HeaderTime { unix_nanos, zone_known }), after)
                }
                // One that there is not, such as of the 30th of February, is left out.
                None => (None, behind_form(text)?),
            };
            after.is_empty().then_some(time)?
        }
    };
    let (hostname, rest) = field(rest)?;
    let time_invalid = stamp.is_some() && timestamp.is_none();
    let begun = Header {
        priority,
        timestamp,
        time_invalid,
        hostname,
        version,
        message: rest,
        ..Header::default()
    };
    match rfc5424_fields(rest, &begun) {
        None if timestamp.is_some() && hostname.is_some() => Some(begun),
        whole => whole,
    }
}

fn rfc5424_fields<'a>(rest: &'a [u8], begun: &Header<'a>) -> Option<Header<'a>> {
    // Some leave out all behind the host and send a JSON object.
    let (program, rest) = field(rest).filter(|_| !rest.starts_with(b"{"))?;
    let (pid, rest) = field(rest)?;
    let (message_id, rest) = field(rest)?;
    let (structured_data, rest) = structured_data(rest)?;
    let message = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    Some(Header { program, pid, message_id, structured_data, message, ..begun.clone() })
}

/// One to three digits, the first of them no zero, and a space.
fn version(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || text[0] == b'0' {
        return None;
    }
    let number = text[..digits].iter().fold(0_u16, |n, b| n * 10 + u16::from(b - b'0'));
    Some((number, text[digits..].strip_prefix(b" ")?))
}

/// Up to the next space; `-` says that there is none.
fn field(text: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let value = &text[..end];
    (end > 0).then(|| ((value != b"-").then_some(value), text.get(end + 1..).unwrap_or_default()))
}

/// `-`, nothing, or elements in brackets in which `\"`, `\\` and `\]` are escapes.
fn structured_data(text: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if text.is_empty() {
        return Some((None, text));
    }
    if let Some(rest) = text.strip_prefix(b"-") {
        return match rest.first() {
            None => Some((None, rest)),
            Some(b' ') => Some((None, &rest[1..])),
            Some(_) => None,
        };
    }
    // A quote in the element's name makes it none: Check Point writes `[action:"Accept"; …]`, which is
    // its message.
    let name = text.split(|b| matches!(b, b' ' | b']')).next().unwrap_or_default();
    if text[0] == b'[' && name.contains(&b'"') {
        return Some((None, text));
    }
    let mut at = 0;
    while text.get(at) == Some(&b'[') {
        let mut quoted = false;
        at += 1;
        loop {
            match text.get(at)? {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                b']' if !quoted => break,
                _ => {}
            }
            at += 1;
        }
        at += 1;
    }
    let rest = text.get(at..)?;
    (at > 0).then(|| (Some(&text[..at]), rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// `syslog_loose` for what has a priority and is neither; its message by place in the line, our
/// priority where it lost it, and times by the context, because it would ask the machine's clock.
fn fallback<'a>(line: &'a [u8], header: Header<'a>, context: &TimeContext<'_>) -> Header<'a> {
    let Ok(text) = std::str::from_utf8(line) else { return header };
    let yearless = Cell::new(None);
    let year = |date: IncompleteDate| {
        yearless.set(Some(date));
        LEAP_YEAR
    };
    let loose = syslog_loose::parse_message_with_year_tz(text, year, Some(Utc), Variant::Either);
    let place = |found: &str| (found.as_ptr() as usize).checked_sub(line.as_ptr() as usize);
    let part = |found: Option<&str>| -> Option<&'a [u8]> {
        let start = place(found?)?;
        line.get(start..start + found?.len())
    };
    // What it takes for structured data belongs to the message of such a line.
    let data = loose.structured_data.first().and_then(|element| place(element.id)?.checked_sub(1));
    let Some(start) = data.or_else(|| place(loose.msg).filter(|_| !loose.msg.is_empty())) else {
        return header;
    };
    if start == 0 {
        // It has found nothing, not even the priority.
        return header;
    }
    // It trims the message's beginning; nothing of it may be lost.
    let trimmed = line[..start].iter().rev().take_while(|b| matches!(b, b' ' | b'-')).count();
    let start = start - trimmed.saturating_sub(1);
    let unix_nanos = match yearless.get() {
        Some(date) => without_year(date, context),
        None => loose
            .timestamp
            .and_then(|time| time.timestamp_nanos_opt())
            .and_then(|civil_nanos| without_zone(civil_nanos, context)),
    };
    let program = part(loose.appname);
    Header {
        timestamp: unix_nanos.map(|unix_nanos| HeaderTime { unix_nanos, zone_known: false }),
        hostname: part(loose.hostname),
        program,
        pid: loose.appname.and_then(|name| pid_behind(&line[place(name)? + name.len()..])),
        message: &line[start..],
        ..header
    }
}

/// A year that has every day.
const LEAP_YEAR: i32 = 2024;

fn pid_behind(text: &[u8]) -> Option<&[u8]> {
    let inner = text.strip_prefix(b"[")?;
    let close = inner.iter().take(64).position(|b| *b == b']')?;
    (close > 0).then_some(&inner[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: [&str; 4], message: &str) {
        let zone = Zone::utc();
        let context = TimeContext { received_unix_nanos: 1_795_867_200_000_000_000, zone: &zone };
        let header = parse(line.as_bytes(), &context);
        let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or(b"")).into_owned();
        let time = header.timestamp.map_or(String::new(), |time| {
            let mut out = Vec::new();
            crate::time::write_rfc3339(&mut out, time.unix_nanos);
            String::from_utf8(out).unwrap()
        });
        let got = [time, text(header.hostname), text(header.program), text(header.pid)];
        assert_eq!(got.each_ref().map(String::as_str), expected, "{line}");
        assert_eq!(String::from_utf8_lossy(header.message), message, "{line}");
    }

    #[test]
    fn headers_of_the_field() {
        let nov = "2026-11-22T10:00:00.000Z";
        check("Nov 22 10:00:00 web1 sshd[12]: hi", [nov, "web1", "sshd", "12"], "hi");
        check("<34>Nov 22 10:00:00 web1 su: hi: x", [nov, "web1", "su", ""], "hi: x");
        check("Nov 22 10:00:00  sshd[12]: hi", [nov, "", "sshd", "12"], "hi");
        check("Nov 22 10:00:00 sshd[12]: hi", [nov, "", "sshd", "12"], "hi");
        check("Nov 22 10:00:00 h sshd(pam_unix)[12]: hi", [nov, "h", "sshd", "12"], "hi");
        check("Nov 22 10:00:00 h gdm-password]: hi", [nov, "h", "gdm-password", ""], "hi");
        check("Nov 22 10:00:00 h gdm-password][12]: hi", [nov, "h", "gdm-password", "12"], "hi");
        check("Nov 22 10:00:00 h ]: hi", [nov, "h", "", ""], "]: hi");
        check("Nov 22 10:00:00 h kernel: [ 1.5] x", [nov, "h", "kernel", ""], "[ 1.5] x");
        check("Nov 22 10:00:00 10.0.0.1 %ASA-6-1: x", [nov, "10.0.0.1", "", ""], "%ASA-6-1: x");
        check("Nov 22 10:00:00 10.0.0.1 : %ASA-6-1: x", [nov, "10.0.0.1", "", ""], "%ASA-6-1: x");
        check("Nov 22 2026 10:00:00: %ASA-6-1: x", [nov, "", "", ""], "%ASA-6-1: x");
        check("<189>29: *Nov 22 10:00:00.000: %SYS-5-X: y", [nov, "", "", ""], "%SYS-5-X: y");
        check("<189>29: Nov 22 10:00:00: up again", [nov, "", "", ""], "up again");
        check("<189>36: 000036: 1d03h: %SYS-5-X: y", ["", "", "", ""], "%SYS-5-X: y");
        let relayed = "Nov 22 09:59:00 192.0.2.7 29: Nov 22 10:00:00.000: %SYS-5-X: y";
        check(relayed, [nov, "192.0.2.7", "", ""], "%SYS-5-X: y");
        // Of a device that names no program.
        for (inner, host, message) in [
            ("Nov 22 10:00:00 fw1 : %ASA-6-302014: x", "fw1", "%ASA-6-302014: x"),
            ("<166>Nov 22 2026 10:00:00 fw1 %ASA-6-302014: x", "fw1", "%ASA-6-302014: x"),
            ("<134>Nov 22 10:00:00 mt1 firewall,info x", "mt1", "firewall,info x"),
            ("Nov 22 10:00:00 ws1 MSWinEventLog\t1\tx y", "ws1", "MSWinEventLog\t1\tx y"),
        ] {
            check(&format!("Nov 22 09:59:00 relay {inner}"), [nov, host, "", ""], message);
        }
        let own = "Nov 22 09:00:00 something happened";
        check(&format!("Nov 22 10:00:00 web1 {own}"), [nov, "web1", "", ""], own);
        check("Nov 22 10:00:00 h 29: y", [nov, "h", "29", ""], "y");
        check(
            "2026-11-22T10:00:00+00:00 h postfix/smtpd[1]: -x",
            [nov, "h", "postfix/smtpd", "1"],
            "-x",
        );
        check("<13>h app: x", ["", "h", "app", ""], "x");
        check("2026-11-22T10:00:00 h sshd[12]: x", [nov, "h", "sshd", "12"], "x");
        check("web1 sshd[12]: x", ["", "web1", "sshd", "12"], "x");
        check("Nov 22 10:00:00 h h sshd[12]: x", [nov, "h", "sshd", "12"], "x");
        check("Nov 22 10:00:00 h sshd[12]: [ID 8 auth.info] x", [nov, "h", "sshd", "12"], "x");
        check("<13>app[7]: x", ["", "", "app", "7"], "x");
        check(
            "<165>1 2026-11-22T10:00:00Z h app 8 ID [a@1 b=\"]\\\"\"] hi",
            [nov, "h", "app", "8"],
            "hi",
        );
        check(
            "<134>1 2026-11-22T10:00:00Z h CheckPoint 8 - [action:\"Accept\"; x:\"[1]\"]",
            [nov, "h", "CheckPoint", "8"],
            "[action:\"Accept\"; x:\"[1]\"]",
        );
        check("<165>1 - - - - - -", ["", "", "", ""], "");
        check("<165>1 2026-11-22T10:00:00Z h LEEF:1.0|a b", [nov, "h", "", ""], "LEEF:1.0|a b");
        check(
            "2026-11-22T10:00:00Z h7 slapd 77 - - conn=1 x",
            [nov, "h7", "slapd", "77"],
            "conn=1 x",
        );
        check("2026-11-22T10:00:00Z h7 slapd - - - conn=1 x", [nov, "h7", "slapd", ""], "conn=1 x");
        check("2026-11-22 10:00:00.000+0000  h7 sshd[77]: x", [nov, "h7", "sshd", "77"], "x");
        check("2026-11-22T10:00:00.000000 web1 sudo: x y", [nov, "web1", "sudo", ""], "x y");
        check("<13>{\"a\": 1}", ["", "", "", ""], "{\"a\": 1}");
        check("<13>hello world", ["", "", "", ""], "hello world");
        let object = r#"{"a": 1} - - - x"#;
        check(&format!("<165>1 2026-11-22T10:00:00Z h {object}"), [nov, "h", "", ""], object);
        check("Nov 22 10:00:00 --- again ---", [nov, "", "", ""], "--- again ---");
        check(
            "<189>7: h: 29: .Nov 22 10:00:00 UTC: %SYS-5-X: y",
            [nov, "h", "", ""],
            "%SYS-5-X: y",
        );
        check("<189>h: 2026 Nov 22 10:00:00.0: %SYS-5-X: y", [nov, "h", "", ""], "%SYS-5-X: y");
        check("<134>1 1795341600.0 h flows a=b", [nov, "h", "", ""], "flows a=b");
    }

    #[test]
    fn headers_that_few_systems_write() {
        let nov = "2026-11-22T10:00:00.000Z";
        let sshd = [nov, "web1", "sshd", "12"];
        for begin in [
            "2026-11-22 10:00:00 web1 sshd[12]: ",
            "2026-11-22 10:00:00 UTC web1 sshd[12]: ",
            "2026-11-22 11:00:00 CET web1 sshd[12]: ",
            "Sun 2026-11-22 10:00:00 UTC web1 sshd[12]: ",
            "Sun Nov 22 10:00:00 2026 web1 sshd[12]: ",
            "Nov 22 10:00:00 UTC web1 sshd[12]: ",
            "Nov 22 10:00:00 web1 sshd [12]: ",
            "Nov 22 10:00:00 web1 (sshd)[12]: ",
            "Nov 22 10:00:00 web1 authpriv.info sshd[12]: ",
            "Nov 22 10:00:00 authpriv.info web1 sshd[12]: ",
            "Nov 22 10:00:00 <4.6> web1 sshd[12]: ",
            "Nov 22 10:00:00 web1 auth|security:info sshd[12]: ",
            "Nov 22 10:00:00 web1 sshd[12] <Notice>: ",
            "Nov 22 12:34:56 relay Nov 22 10:00:00 web1 sshd[12]: ",
            "<38>Nov 22 12:34:56 relay <38>Nov 22 10:00:00 web1 sshd[12]: ",
            "<38>2026-11-22 10:00:00 web1 sshd[12]: ",
            "2026 Nov 22 10:00:00 web1 sshd[12]: ",
            "<38>2026 Nov 22 10:00:00 web1 sshd[12]: ",
            "<38>Sun Nov 22 10:00:00 2026 web1 sshd[12]: ",
            "<38>Sun 2026-11-22 10:00:00 web1 sshd[12]: ",
            "1795341600.000000 web1 sshd[12]: ",
            "1 2026-11-22T10:00:00Z web1 sshd 12 - - ",
            "63 <38>1 2026-11-22T10:00:00Z web1 sshd 12 - - ",
            "45 <38>Nov 22 10:00:00 web1 sshd[12]: ",
            "<38>1 2026-11-22T12:34:56Z relay - - - - Nov 22 10:00:00 web1 sshd[12]: ",
            "<38>1 2026-11-22T12:34:56Z relay - - - - <38>2026-11-22T10:00:00Z web1 sshd[12]: ",
            "<38>1 2026-11-22T10:00:00Z web1 sshd 12 - - sshd[12]: ",
            "<38>1 2026-11-22T10:00:00Z web1 sshd - - - sshd[12]: ",
        ] {
            check(&format!("{begin}hi: x"), sshd, "hi: x");
        }
        let line = "Nov 22 10:00:00 web1 sshd[12]: message repeated 2 times: [ hi: [x]]";
        check(line, sshd, "hi: [x]");
        check("sshd[12]: hi", ["", "", "sshd", "12"], "hi");
        check("Nov 22 10:00:00 2001:db8::1 sshd[12]: hi", [nov, "2001:db8::1", "sshd", "12"], "hi");
        check("2026-11-22T10:00:00 srv mysqld: hi", [nov, "srv", "mysqld", ""], "hi");
        let line = "<38>1 2026-11-22T10:00:00Z web1 su - - - sshd[12]: hi";
        check(line, [nov, "web1", "su", ""], "sshd[12]: hi");
        let line = "<38>1 2026-11-22T10:00:00Z web1 - - - - sshd: hi";
        check(line, [nov, "web1", "", ""], "sshd: hi");
        check("<38>verbose sshd[12]: hi", ["", "", "", ""], "verbose sshd[12]: hi");
        let line = "Sun Nov 22 10:00:00 2026 daemon.notice netifd: hi";
        check(line, [nov, "", "netifd", ""], "hi");
        let zone = Zone::utc();
        let context = TimeContext { received_unix_nanos: 0, zone: &zone };
        assert_eq!(parse(line.as_bytes(), &context).priority, Some(3 * 8 + 5));
        // Applications write these.
        for line in [
            "2026-11-22 10:00:00 main worker: started",
            "2026-11-22 10:00:00 INFO worker[12]: started",
            "Sun Nov 22 10:00:00 2026 192.0.2.1:1194 TLS: started",
            "10[12]: x",
            "1795341600.25 web1 x",
            "12 <34> apples",
        ] {
            check(line, ["", "", "", ""], line);
        }
    }

    #[test]
    fn headers_left_to_the_fallback_keep_all_and_ask_no_clock() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        for (line, time, pid, message) in [
            ("<13>Nov 22 1:2:3 h app: x", "2026-11-22T00:02:03.000Z", "", "x"),
            ("<13>Feb 29 1:2:3 h app[7]: - x", "2024-02-29T00:02:03.000Z", "7", "- x"),
            ("<13>Jul 1 2025 1:2:3 h app: x", "2025-06-30T23:02:03.000Z", "", "x"),
            (
                "<13>Nov 22 1:2:3 h app: [a b=\"c\"] x",
                "2026-11-22T00:02:03.000Z",
                "",
                "[a b=\"c\"] x",
            ),
            ("<13>2025-07-01t01:02:03Z h app: x", "2025-07-01T01:02:03.000Z", "", "x"),
        ] {
            // 2026-11-28T12:00:00Z
            let received_unix_nanos = 1_795_867_200_000_000_000;
            let context = TimeContext { received_unix_nanos, zone: &zone };
            let header = parse(line.as_bytes(), &context);
            let mut got = Vec::new();
            crate::time::write_rfc3339(&mut got, header.timestamp.unwrap().unix_nanos);
            assert_eq!(String::from_utf8_lossy(&got), time, "{line}");
            assert_eq!(header.hostname, Some(&b"h"[..]), "{line}");
            assert_eq!(header.program, Some(&b"app"[..]), "{line}");
            assert_eq!(header.pid.unwrap_or_default(), pid.as_bytes(), "{line}");
            assert_eq!(String::from_utf8_lossy(header.message), message, "{line}");
        }
    }

    #[test]
    fn what_is_no_syslog_has_no_header() {
        for line in [
            "",
            "10.0.0.1 - - [22/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5",
            "{\"a\": 1}",
            "2026-11-22 10:00:00,123 INFO x",
            "key=value other=2",
            "<xml>text</xml>",
            "May the force be with you",
            "<999>x",
        ] {
            check(line, ["", "", "", ""], line);
        }
    }

    #[test]
    fn times_of_applications_leave_the_line_whole() {
        let nov = "2026-11-22T10:00:00.000Z";
        for line in [
            "2026-11-22T10:00:00Z INFO foo: bar",
            "2026-11-22T10:00:00Z  INFO foo::bar: baz",
            "2026-11-22T10:00:00Z [INFO] foo: bar",
            "2026-11-22T10:00:00Z ERROR: bar",
            "2026-11-22T10:00:00Z stdout F hello",
            "2026-11-22T10:00:00,000 x [main] c.e.App: x",
            "2026-11-22T10:00:00Z 0 [Note] InnoDB: ready",
            "2026-11-22T10:00:00Z I NETWORK [initandlisten] x",
            "2026-11-22T10:00:00Z Starting server",
        ] {
            check(line, [nov, "", "", ""], line);
        }
        let line = "2026-11-22T10:00:00Z h message repeated 2 times: [x]";
        check(line, [nov, "h", "", ""], "message repeated 2 times: [x]");
        let line = "2026-11-22T10:00:00+00:00 10.1.1.1 %ASA-6-1: x";
        check(line, [nov, "10.1.1.1", "", ""], "%ASA-6-1: x");
        check("Nov 22 10:00:00 ERROR app: x", [nov, "", "", ""], "ERROR app: x");
    }

    #[test]
    fn what_is_remembered_of_a_time_changes_nothing() {
        let zones = [Zone::utc(), Zone::parse("+02:00").unwrap()];
        let lines = [
            "Nov 22 10:00:00 web1 sshd[12]: hi",
            "Nov 22 10:00:00 web1 sshd[12]: hi",
            "Nov 22 10:00:00 web2 sshd[12]: hi",
            "Nov 22 10:00:00 2025 web1 sshd[12]: hi",
            "Nov 22 10:00:00 2025 web1 su: hi",
            "Nov 22 10:00:00 CET web1 su: hi",
            "Nov 22 10:00:00 CEST app: x",
            "Nov 22 10:00:00 CEST 2025 web1 app: x",
            "Nov 22 10:00:00 CE",
            "<34>Nov 22 10:00:00 web1 su: hi",
            "2026-11-22T10:00:00Z h a[1]: x",
            "2026-11-22T10:00:00Z h b[1]: x",
            "2026-11-22T10:00:00Z",
        ];
        let mut memo = Memo::default();
        for received in [1_795_867_200_000_000_000, 1_695_867_200_000_000_000] {
            for zone in zones.iter().chain(&zones) {
                let context = TimeContext { received_unix_nanos: received, zone };
                for line in lines.iter().chain(&lines) {
                    let got = parse_with(line.as_bytes(), &context, &mut memo);
                    let expected = parse(line.as_bytes(), &context);
                    assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{line}");
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic() {
        let zone = Zone::utc();
        let context = TimeContext { received_unix_nanos: 0, zone: &zone };
        let line = b"<34>1 2026-11-22T10:00:00Z h a 1 - [x y=\"z\"] Nov 22 10:00:00 h s[1]: m";
        for start in 0..line.len() {
            for end in start..line.len() {
                let _ = parse(&line[start..end], &context);
            }
        }
    }
}
