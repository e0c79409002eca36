//! Records of the Linux audit system: `type=SYSCALL msg=audit(1700000000.123:456): key=value …`.
//!
//! Values are bare, quoted, or — where they come from outside and hold spaces or quotes — written as
//! hexadecimal, which is decoded for the fields that the audit tools encode so. `msg='…'` holds pairs of
//! its own; `saddr` is followed by what it says. Behind a group separator (0x1d) stand the pairs of the enriched format, in upper case.

use super::{FieldSink, Space, SubValue, saddr};

/// Fields whose unquoted values are hexadecimal (audit-userspace's `lib/fieldtab` names most).
const ENCODED: [&[u8]; 16] = [
    b"proctitle",
    b"comm",
    b"exe",
    b"cwd",
    b"name",
    b"cmd",
    b"acct",
    b"data",
    b"path",
    b"dir",
    b"file",
    b"vm",
    b"root_dir",
    b"saddr_path",
    b"grp",
    b"ocomm",
];

/// The keys are `type`, `timestamp`, `sequence`, `node`, and each field's own name.
pub fn parse(input: &[u8], space: &mut Space, sink: &mut dyn FieldSink) -> bool {
    let mut rest = input.trim_ascii();
    if let Some(after) = rest.strip_prefix(b"node=") {
        let end = after.iter().position(|b| *b == b' ').unwrap_or(after.len());
        sink.field(b"node", SubValue::Text(&after[..end]));
        rest = after[end..].trim_ascii_start();
    }
    let kind = rest.strip_prefix(b"type=").map(|after| {
        let end = after.iter().position(|b| *b == b' ').unwrap_or(after.len());
        (&after[..end], after[end..].trim_ascii_start())
    });
    if let Some((_, after)) = kind {
        rest = after;
    }
    let after = rest.strip_prefix(b"msg=").unwrap_or(rest);
    let Some(after) = after.strip_prefix(b"audit(") else { return false };
    let Some(close) = memchr::memchr(b')', after) else { return false };
    let stamp = &after[..close];
    let Some(colon) = memchr::memrchr(b':', stamp) else { return false };
    if let Some((kind, _)) = kind {
        sink.field(b"type", SubValue::Text(kind));
    }
    sink.field(b"timestamp", SubValue::Text(&stamp[..colon]));
    sink.field(b"sequence", SubValue::Text(&stamp[colon + 1..]));
    let body = &after[close + 1..];
    let body = body.strip_prefix(b":").unwrap_or(body);
    // Arguments are text in EXECVE only; in SYSCALL they are numbers in hexadecimal.
    let arguments = kind.is_some_and(|(kind, _)| kind == b"EXECVE");
    pairs(body, arguments, false, &mut space.text, sink);
    true
}

/// `nested`: the text stands in a record's `msg='…'`, and holds no other such.
fn pairs(
    text: &[u8],
    arguments: bool,
    nested: bool,
    space: &mut Vec<u8>,
    sink: &mut dyn FieldSink,
) {
    // The enriched format says behind the separator what addresses are.
    let enriched = memchr::memchr(b'\x1d', text).is_some();
    let mut rest = text;
    loop {
        rest = trim_separators(rest);
        let Some(equals) = rest.iter().position(|b| matches!(b, b'=' | b' ' | b'\x1d')) else {
            return;
        };
        if rest[equals] != b'=' {
            // A word of prose, such as `avc:  denied  { read } for`.
            rest = &rest[equals + 1..];
            continue;
        }
        let key = &rest[..equals];
        let after = &rest[equals + 1..];
        if !nested
            && key == b"msg"
            && let Some((inner, length)) = message(after)
        {
            pairs(inner, arguments, true, space, sink);
            rest = &after[length..];
            continue;
        }
        let (value, length) = value(after);
        rest = &after[length..];
        match value {
            Quoted::Single(inner) | Quoted::Double(inner) => sink.field(key, SubValue::Text(inner)),
            Quoted::Bare(inner) if key == b"saddr" => {
                sink.field(key, SubValue::Text(inner));
                if !enriched {
                    saddr::decode(inner, space, sink);
                }
            }
            Quoted::Bare(inner) if key == b"key" => {
                let keys = keys(inner, space, sink);
                sink.field(key, keys);
            }
            Quoted::Bare(inner) if is_encoded(key, arguments) => {
                sink.field(key, decode(inner, space))
            }
            Quoted::Bare(inner) => sink.field(key, SubValue::Text(inner)),
        }
    }
}

fn trim_separators(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !matches!(b, b' ' | b',' | b'\x1d')).unwrap_or(text.len());
    &text[start..]
}

/// What stands in `msg='…'`, and the length of that. It goes on to the last quote: names in it may hold some.
fn message(text: &[u8]) -> Option<(&[u8], usize)> {
    let inner = text.strip_prefix(b"'")?;
    let end = memchr::memchr(b'\x1d', inner).unwrap_or(inner.len());
    let close = memchr::memrchr(b'\'', &inner[..end])?;
    Some((&inner[..close], close + 2))
}

enum Quoted<'t> {
    Bare(&'t [u8]),
    Single(&'t [u8]),
    Double(&'t [u8]),
}

fn value(text: &[u8]) -> (Quoted<'_>, usize) {
    if let Some(quote @ (b'"' | b'\'')) = text.first().copied()
        && let Some(close) = memchr::memchr(quote, &text[1..])
    {
        let inner = &text[1..=close];
        let value = if quote == b'"' { Quoted::Double(inner) } else { Quoted::Single(inner) };
        return (value, close + 2);
    }
    let end = text.iter().position(|b| matches!(b, b' ' | b'\x1d')).unwrap_or(text.len());
    let bare = &text[..end];
    // `subj=a:b)'` ends the message that it stands in.
    (Quoted::Bare(bare.strip_suffix(b"'").unwrap_or(bare)), end)
}

fn is_encoded(key: &[u8], arguments: bool) -> bool {
    // `a1`, and `a1[0]` where an argument is long.
    let argument = || {
        let number = key.strip_prefix(b"a").unwrap_or_default();
        let plain = |b: &u8| b.is_ascii_digit() || matches!(b, b'[' | b']');
        number.first().is_some_and(u8::is_ascii_digit) && number.iter().all(plain)
    };
    ENCODED.contains(&key) || (arguments && argument())
}

/// Hexadecimal as text; NULs, which separate arguments, as spaces. What is none stays.
fn decode<'t>(text: &'t [u8], space: &'t mut Vec<u8>) -> SubValue<'t> {
    let readable = |b: &u8| matches!(b, 0 | b'\t' | b'\n' | 0x20..=0x7e | 0x80..);
    if !bytes_of(text, space) || !space.iter().all(readable) {
        return SubValue::Text(text);
    }
    for byte in space.iter_mut().filter(|byte| **byte == 0) {
        *byte = b' ';
    }
    SubValue::Text(space.trim_ascii_end())
}

/// The keys of a rule that has several are separated by 0x01, which makes them hexadecimal.
fn keys<'t>(text: &'t [u8], space: &'t mut Vec<u8>, sink: &mut dyn FieldSink) -> SubValue<'t> {
    if !bytes_of(text, space) || !space.contains(&1) {
        return decode(text, space);
    }
    let keys = space.split(|b| *b == 1).filter(|key| !key.is_empty());
    keys.for_each(|key| sink.item(SubValue::Text(key)));
    SubValue::List
}

/// Whether `hex` is hexadecimal; its bytes are then in `space`.
fn bytes_of(hex: &[u8], space: &mut Vec<u8>) -> bool {
    if hex.len() < 4 || !hex.len().is_multiple_of(2) {
        return false;
    }
    let nibble = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    space.clear();
    hex.chunks_exact(2).all(|pair| match (nibble(pair[0]), nibble(pair[1])) {
        (Some(high), Some(low)) => {
            space.push(high << 4 | low);
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Collected, check};
    use super::{Space, parse};

    #[test]
    fn records_are_taken_apart() {
        check(
            "node=h type=EXECVE msg=audit(1700000000.123:45): argc=2 a0=\"ls\" a1=2F746D702F6120 exe=\"/bin/ls\" key=(null)\x1dUID=\"root\"",
            parse,
            true,
            &[
                "node=h",
                "type=EXECVE",
                "timestamp=1700000000.123",
                "sequence=45",
                "argc=2",
                "a0=ls",
                "a1=/tmp/a",
                "exe=/bin/ls",
                "key=(null)",
                "UID=root",
            ],
        );
        check(
            "type=USER_LOGIN msg=audit(1.2:3): pid=1 msg='op=login acct=\"o'brien\" exe=\"/usr/sbin/sshd\" res=failed'\x1dUID='root'",
            parse,
            true,
            &[
                "type=USER_LOGIN",
                "timestamp=1.2",
                "sequence=3",
                "pid=1",
                "op=login",
                "acct=o'brien",
                "exe=/usr/sbin/sshd",
                "res=failed",
                "UID=root",
            ],
        );
        // One record may be in another, however many a line says there are.
        let nested =
            |n| format!("type=X msg=audit(1.2:3): {}op=x{}", "msg='".repeat(n), "'".repeat(n));
        let found = ["type=X", "timestamp=1.2", "sequence=3", "msg=op=x"];
        check(&nested(2), parse, true, &found);
        let (mut space, mut sink) = (Space::default(), Collected::default());
        assert!(parse(nested(1 << 17).as_bytes(), &mut space, &mut sink));
        check(
            "audit(1.2:3): avc:  denied  { read } for  pid=7 proctitle=6C73002D6C",
            parse,
            true,
            &["timestamp=1.2", "sequence=3", "pid=7", "proctitle=ls -l"],
        );
        check(
            "type=EXECVE msg=audit(1.2:3): argc=2 a1_len=4 a1[0]=61622063 a1[1]=64",
            parse,
            true,
            &[
                "type=EXECVE",
                "timestamp=1.2",
                "sequence=3",
                "argc=2",
                "a1_len=4",
                "a1[0]=ab c",
                "a1[1]=64",
            ],
        );
        check(
            "type=SOCKADDR msg=audit(1.2:3): saddr=020000160A000001 key=6E65740161",
            parse,
            true,
            &[
                "type=SOCKADDR",
                "timestamp=1.2",
                "sequence=3",
                "saddr=020000160A000001",
                "saddr_fam=inet",
                "laddr=10.0.0.1",
                "lport=22",
                "key=[net,a]",
            ],
        );
        check(
            "type=SOCKADDR msg=audit(1.2:3): saddr=020000160A000001\x1dSADDR={ saddr_fam=inet laddr=10.0.0.1 lport=22 }",
            parse,
            true,
            &[
                "type=SOCKADDR",
                "timestamp=1.2",
                "sequence=3",
                "saddr=020000160A000001",
                "SADDR={",
                "saddr_fam=inet",
                "laddr=10.0.0.1",
                "lport=22",
            ],
        );
        check("type=X nothing", parse, false, &[]);
    }
}
