//! Headers that few systems write: what stands between time and program beside the host, and lines
//! without the form of time that syslog has; and what relays have put into RFC 5424 with a header of its
//! own. But for that, asked only where the common forms have found no program.
//!
//! Nothing is taken for a header here without a process id, a priority or a facility with its severity, or
//! a second header: everything less may be an application's own text.

use super::{
    Header, HeaderTime, cisco, epoch, is_host, is_level, rfc5424, rfc5424_fields, tag, timestamp,
    word,
};
use crate::event::range_in;
use crate::time::{TimeContext, Zone, rfc3164_prefix, rfc3339_prefix};

/// What a time is followed by where `begun`, from the text `dated`, has no program.
pub(super) fn behind_time<'a>(
    dated: &'a [u8],
    begun: Header<'a>,
    context: &TimeContext<'_>,
) -> Header<'a> {
    let mut header = begun.clone();
    if loose_tag(begun.message, &mut header) || second_header(&mut header, context) {
        return header;
    }
    // `host authpriv.info prog[1]: …` of BusyBox, `<auth.info> host prog: …` of FreeBSD's `syslogd -v`,
    // `host auth|security:info prog: …` of AIX.
    if let Some((priority, rest)) = facility(begun.message) {
        header.priority = begun.priority.or(Some(priority));
        header.message = rest;
        let found =
            tag(rest, &mut header) || begun.hostname.is_none() && host_and_tag(rest, &mut header);
        return if found { header } else { begun };
    }
    let Some(first) = begun.hostname else { return begun };
    if let Some(header) = without_version(dated, &begun) {
        return header;
    }
    // The same where the host should be, as OpenWrt writes it.
    if let Some((priority, [])) = facility(first) {
        header.priority = begun.priority.or(Some(priority));
        header.hostname = None;
        if tag(begun.message, &mut header) || host_and_tag(begun.message, &mut header) {
            return header;
        }
        return begun;
    }
    // ` UTC` behind the time; a host may be called so, but not with another host behind it.
    if let Some(zone) = abbreviation(first)
        && host_and_tag(begun.message, &mut header)
        && let Some((unix_nanos, ..)) =
            rfc3164_prefix(dated, &TimeContext { zone: &zone, ..*context })
    {
        header.timestamp = Some(HeaderTime { unix_nanos, zone_known: true });
        return header;
    }
    begun
}

/// What a relay's time and host stand in front of where the program would be a number: `1663305: Nov 28
/// 10:15:02.135: %SEC-6-…` of Cisco's systems has its sequence number there.
pub(super) fn numbered<'a>(
    after: &'a [u8],
    begun: Header<'a>,
    context: &TimeContext<'_>,
) -> Header<'a> {
    let digits = |program: &&[u8]| program.iter().all(u8::is_ascii_digit);
    let Some(number) = begun.program.filter(digits).filter(|_| begun.pid.is_none()) else {
        return begun;
    };
    let found = range_in(after, number)
        .and_then(|number| cisco(&after[number.start..], begun.priority, context));
    match found {
        Some(inner) => Header {
            timestamp: inner.timestamp.or(begun.timestamp),
            hostname: inner.hostname.or(begun.hostname),
            ..inner
        },
        None => begun,
    }
}

/// `2026-11-28T10:15:02Z host prog 12 - - …`: RFC 5424 but for priority and version.
fn without_version<'a>(dated: &[u8], begun: &Header<'a>) -> Option<Header<'a>> {
    dated.first().filter(|byte| byte.is_ascii_digit())?;
    let header = rfc5424_fields(begun.message, begun)?;
    // Prose has three words, too, but hardly a number and a `-` among them.
    let told = header.pid.map_or(header.message_id.is_none(), |pid| {
        pid.iter().all(u8::is_ascii_digit) && begun.message.len() > header.message.len() + 4
    });
    let more = header.structured_data.is_some() || !header.message.is_empty();
    (header.program.is_some() && told && more).then_some(header)
}

/// What follows an octet count (RFC 6587), where a dump of a connection left it in front of a priority.
pub(super) fn counted(line: &[u8]) -> Option<&[u8]> {
    let digits = line.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let rest = line[digits..].strip_prefix(b" ")?;
    (digits > 0 && super::priority(rest).is_some()).then_some(rest)
}

/// A line that begins neither with a priority nor with a time as syslog writes it.
pub(super) fn without_both<'a>(line: &'a [u8], context: &TimeContext<'_>) -> Option<Header<'a>> {
    let first = *line.first()?;
    if first.is_ascii_digit() {
        if line.starts_with(b"1 ") && matches!(line.get(12), Some(b'T')) {
            return rfc5424(line, None, context).filter(|header| header.program.is_some());
        }
        return otherwise_dated(line, None, context).or_else(|| {
            let mut header = epoch(line, None)?;
            let message = header.message;
            (tag(message, &mut header) && is_identified(&header)).then_some(header)
        });
    }
    if is_weekday(line) {
        return otherwise_dated(line, None, context);
    }
    let mut header = Header { message: line, ..Header::default() };
    let plain = first.is_ascii_alphabetic() || first == b'/';
    (plain && tag(line, &mut header) && is_identified(&header)).then_some(header)
}

/// What begins, behind a priority or not, with a date in another form than syslog's.
pub(super) fn otherwise_dated<'a>(
    text: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Option<Header<'a>> {
    if is_weekday(text) {
        let text = &text[4..];
        return spaced(text, priority, context).or_else(|| with_weekday(text, priority, context));
    }
    text.first().filter(|byte| byte.is_ascii_digit())?;
    spaced(text, priority, context).or_else(|| with_year(text, priority, context))
}

/// `2026-11-28 16:58:05.25 UTC host prog[12]: …`, as `journalctl -o short-full` and templates of
/// relays write it, the fraction and the zone or not.
fn spaced<'a>(
    text: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Option<Header<'a>> {
    let (unix_nanos, zone_known, rest) = rfc3339_prefix(text, context)?;
    // `log show --style syslog` of macOS writes two.
    let rest = rest.strip_prefix(b" ").map(|rest| rest.strip_prefix(b" ").unwrap_or(rest))?;
    let mut header = Header { priority, ..Header::default() };
    let mut time = HeaderTime { unix_nanos, zone_known };
    let (first, after) = word(rest)?;
    let zone = abbreviation(first).filter(|_| !zone_known);
    if let Some(zone) = &zone {
        let (unix_nanos, ..) = rfc3339_prefix(text, &TimeContext { zone, ..*context })?;
        time = HeaderTime { unix_nanos, zone_known: true };
    }
    header.timestamp = Some(time);
    let found = host_and_tag(if zone.is_some() { after } else { rest }, &mut header);
    (found && is_identified(&header)).then_some(header)
}

/// `2026 Nov 28 16:58:05 host prog[12]: …`.
fn with_year<'a>(
    text: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Option<Header<'a>> {
    let (unix_nanos, zone_known, rest) = rfc3164_prefix(text, context)?;
    let timestamp = Some(HeaderTime { unix_nanos, zone_known });
    let mut header = Header { priority, timestamp, ..Header::default() };
    let found = host_and_tag(rest.strip_prefix(b" ")?, &mut header);
    (found && (priority.is_some() || is_identified(&header))).then_some(header)
}

/// `Nov 28 16:58:05 2026 authpriv.info host prog[12]: …` behind a weekday.
fn with_weekday<'a>(
    text: &'a [u8],
    priority: Option<u8>,
    context: &TimeContext<'_>,
) -> Option<Header<'a>> {
    let (time, rest) = timestamp(text, context)?;
    let rest = rest.strip_prefix(b" ")?;
    let mut header = Header { priority, timestamp: Some(time), ..Header::default() };
    let after = match facility(rest) {
        Some((told, after)) => {
            header.priority = priority.or(Some(told));
            after
        }
        None => rest,
    };
    let found = tag(after, &mut header) || host_and_tag(after, &mut header);
    (found && (header.priority.is_some() || is_identified(&header))).then_some(header)
}

/// `host prog[12]: …`.
fn host_and_tag<'a>(text: &'a [u8], header: &mut Header<'a>) -> bool {
    let Some((host, after)) = word(text).filter(|(host, _)| is_host(host)) else { return false };
    let found = tag(after, header);
    if found {
        header.hostname = Some(host);
    }
    found
}

/// `(sd-pam)[12]: …`, of a process before it has its name, and `prog [12]: …`.
fn loose_tag<'a>(text: &'a [u8], header: &mut Header<'a>) -> bool {
    let (name, rest) = if let Some(inner) = text.strip_prefix(b"(") {
        let Some(close) = inner.iter().take(64).position(|b| *b == b')') else { return false };
        (&inner[..close], &inner[close + 1..])
    } else {
        let Some((name, rest)) = word(text) else { return false };
        (name, rest)
    };
    let Some(inner) = rest.strip_prefix(b"[") else { return false };
    let digits = inner.iter().take(10).take_while(|b| b.is_ascii_digit()).count();
    let Some(message) = inner[digits..].strip_prefix(b"]: ") else { return false };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'@');
    if digits == 0 || name.is_empty() || !name.iter().all(plain) || is_level(name) {
        return false;
    }
    (header.program, header.pid, header.message) = (Some(name), Some(&inner[..digits]), message);
    true
}

/// What a relay has put into RFC 5424 with a header of its own, which it did not understand (then it names
/// no program), or with the program and its process id again.
#[inline]
pub(super) fn wrapped<'a>(header: Header<'a>, context: &TimeContext<'_>) -> Header<'a> {
    match header.program {
        Some(program) if header.message.starts_with(program) => named_again(header),
        None if !header.message.is_empty() => with_inner(header, context),
        _ => header,
    }
}

#[inline(never)]
fn with_inner<'a>(header: Header<'a>, context: &TimeContext<'_>) -> Header<'a> {
    let mut inner = header.clone();
    if !second_header(&mut inner, context) {
        return header;
    }
    let Header { version, message_id, structured_data, .. } = header;
    Header { version, message_id, structured_data, ..inner }
}

#[inline(never)]
fn named_again(header: Header<'_>) -> Header<'_> {
    let mut again = header.clone();
    let same = tag(header.message, &mut again)
        && again.program == header.program
        && is_identified(&again)
        && header.pid.is_none_or(|pid| again.pid == Some(pid));
    if same { again } else { header }
}

/// A whole header again behind the relay's: the message's own host and time are what counts.
fn second_header<'a>(header: &mut Header<'a>, context: &TimeContext<'_>) -> bool {
    if header.hostname.is_none() {
        return false;
    }
    let own = super::priority(header.message);
    let (priority, text) =
        own.map_or((header.priority, header.message), |(priority, rest)| (Some(priority), rest));
    let Some((time, rest)) = timestamp(text, context) else { return false };
    let Some(rest) = rest.strip_prefix(b" ") else { return false };
    let mut inner = Header { priority, timestamp: Some(time), ..Header::default() };
    let found = host_and_tag(rest, &mut inner)
        || tag(rest, &mut inner)
        || device(rest, own.is_some(), &mut inner);
    if found {
        inner.hostname = inner.hostname.or(header.hostname);
        *header = inner;
    }
    found
}

/// The host of a device that names no program, and its message. Where its header has no priority of its
/// `own`, the message has to begin as such devices' do: `%ASA-6-…`, `: %ASA-6-…`, `MSWinEventLog` and a tab.
fn device<'a>(text: &'a [u8], own: bool, header: &mut Header<'a>) -> bool {
    let Some((host, rest)) = word(text).filter(|(host, _)| is_host(host)) else { return false };
    let message = rest.strip_prefix(b": ").unwrap_or(rest);
    let blank = memchr::memchr2(b' ', b'\t', message);
    let of_device = message.first() == Some(&b'%') || blank.is_some_and(|at| message[at] == b'\t');
    (header.hostname, header.message) = (Some(host), message);
    own || of_device
}

fn is_identified(header: &Header<'_>) -> bool {
    header.pid.is_some_and(|pid| pid.iter().all(u8::is_ascii_digit))
}

/// `Sat ` in front of a date.
fn is_weekday(text: &[u8]) -> bool {
    const DAYS: [&[u8; 4]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
    text.first_chunk::<4>().is_some_and(|day| DAYS.contains(&day))
}

/// The zones by whose abbreviations servers name theirs.
fn abbreviation(word: &[u8]) -> Option<Zone> {
    let offset = match word {
        b"UTC" | b"GMT" | b"WET" => "+00:00",
        b"CET" | b"BST" | b"WEST" => "+01:00",
        b"CEST" | b"EET" => "+02:00",
        b"EEST" | b"MSK" => "+03:00",
        b"EDT" => "-04:00",
        b"EST" | b"CDT" => "-05:00",
        b"CST" | b"MDT" => "-06:00",
        b"MST" | b"PDT" => "-07:00",
        b"PST" => "-08:00",
        b"IST" => "+05:30",
        b"JST" => "+09:00",
        _ => return None,
    };
    Zone::parse(offset).ok()
}

/// `authpriv.info`, `<4.6>`, `auth|security:info`, and what follows the space behind it: facility * 8
/// + severity.
fn facility(text: &[u8]) -> Option<(u8, &[u8])> {
    const FACILITIES: [(&[u8], u8); 25] = [
        (b"kern", 0),
        (b"user", 1),
        (b"mail", 2),
        (b"daemon", 3),
        (b"auth", 4),
        (b"security", 4),
        (b"auth|security", 4),
        (b"syslog", 5),
        (b"lpr", 6),
        (b"news", 7),
        (b"uucp", 8),
        (b"cron", 9),
        (b"clock", 9),
        (b"authpriv", 10),
        (b"ftp", 11),
        (b"ntp", 12),
        (b"audit", 13),
        (b"local0", 16),
        (b"local1", 17),
        (b"local2", 18),
        (b"local3", 19),
        (b"local4", 20),
        (b"local5", 21),
        (b"local6", 22),
        (b"local7", 23),
    ];
    const SEVERITIES: [(&[u8], u8); 11] = [
        (b"emerg", 0),
        (b"panic", 0),
        (b"alert", 1),
        (b"crit", 2),
        (b"err", 3),
        (b"error", 3),
        (b"warn", 4),
        (b"warning", 4),
        (b"notice", 5),
        (b"info", 6),
        (b"debug", 7),
    ];
    let (word, rest) = word(text).unwrap_or((text, b""));
    let bare = match word.strip_prefix(b"<") {
        Some(inner) => inner.strip_suffix(b">")?,
        None => word,
    };
    let at = bare.iter().take(16).position(|b| matches!(b, b'.' | b':'))?;
    let code = |text: &[u8], names: &[(&[u8], u8)], end: u8| match text {
        digits if bare.len() < word.len() && digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number < end)
        }
        name => names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
    };
    let facility = code(&bare[..at], &FACILITIES, 24)?;
    let severity = code(&bare[at + 1..], &SEVERITIES, 8)?;
    Some((facility * 8 + severity, rest))
}
