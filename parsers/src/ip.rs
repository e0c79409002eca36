//! Addresses: whether a text is one.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest that an address can be written, IPv4 in IPv6 included.
const BYTES_MAX: usize = 45;

/// An IPv4 address in four decimal numbers without leading zeros, or an IPv6 address, without
/// brackets and zone.
pub(crate) fn is_ip(text: &[u8]) -> bool {
    is_ipv4(text) || is_ipv6(text)
}

/// An address in a text that has more around it: its places, and where the port begins if there is one, as in
/// `192.0.2.7:443`, `[2001:db8::7]:443` and `[2001:db8::7]`; behind it may stand a zone (RFC 4007), as in
/// `fe80::7%eth0`. `None` for all else, an IPv6 address with a port and without brackets included.
pub(crate) fn with_more(text: &[u8]) -> Option<((usize, usize), Option<usize>)> {
    let (port, first, last) = match memchr::memchr2(b'[', b'%', text) {
        Some(0) if text[0] == b'[' => {
            let close = memchr::memchr(b']', text)?;
            let behind = &text[close + 1..];
            let port = behind.strip_prefix(b":").filter(|port| is_port(port));
            if port.is_none() && !behind.is_empty() {
                return None;
            }
            (port.map(|_| close + 2), 1, close)
        }
        Some(_) => (None, 0, text.len()),
        None => {
            let colon = memchr::memrchr(b':', text)?;
            let fits = is_port(&text[colon + 1..]) && is_ipv4(&text[..colon]);
            return fits.then_some(((0, colon), Some(colon + 1)));
        }
    };
    let inner = &text[first..last];
    let zone = memchr::memchr(b'%', inner).unwrap_or(inner.len());
    let fits = is_ipv6(&inner[..zone]) && zone + 1 != inner.len();
    fits.then_some(((first, first + zone), port))
}

fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len())
        && (text[0] != b'0' || text.len() == 1)
        && text.iter().all(u8::is_ascii_digit)
        && text.iter().fold(0, |port, digit| 10 * port + u32::from(digit - b'0')) <= 65_535
}

/// Whether a text is an IPv4 address but for zeros in front of its numbers. To some, `010` is octal, so it is
/// no address here: it may be one or another.
pub(crate) fn has_zeros(text: &[u8]) -> bool {
    !is_ipv4(text)
        && numbers(text).is_some_and(|numbers| numbers.iter().any(|n| n.len() > 1 && n[0] == b'0'))
}

/// The address in such a text that fills all of its numbers up to three digits, as devices do that write
/// columns: `192.168.001.010`. Nobody writes octal numbers so.
pub(crate) fn without_zeros(text: &[u8]) -> Option<Ipv4Addr> {
    let numbers = numbers(text).filter(|numbers| numbers.iter().all(|number| number.len() == 3))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| 10 * n + u32::from(digit - b'0'));
    let [a, b, c, d] = numbers.map(|digits| u8::try_from(number(digits)).ok());
    Some(Ipv4Addr::new(a?, b?, c?, d?))
}

/// Four numbers of up to three digits with dots between them.
fn numbers(text: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = text.split(|byte| *byte == b'.');
    let mut next = || {
        let digits =
            |part: &&[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
        parts.next().filter(digits)
    };
    let numbers = [next()?, next()?, next()?, next()?];
    parts.next().is_none().then_some(numbers)
}

/// The address in a text that may have more behind it; else the text.
pub(crate) fn part(text: &[u8]) -> &[u8] {
    with_more(text).map_or(text, |((from, to), _)| &text[from..to])
}

fn is_ipv4(text: &[u8]) -> bool {
    // 10 and more stand for what is no digit, the end included.
    let digit = |at: usize| text.get(at).map_or(u8::MAX, |byte| byte.wrapping_sub(b'0'));
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            if text.get(at) != Some(&b'.') {
                return false;
            }
            at += 1;
        }
        let (first, second) = (digit(at), digit(at + 1));
        if first > 9 || first == 0 && second <= 9 {
            return false;
        }
        at += 1;
        if second <= 9 {
            let third = digit(at + 1);
            at += 1;
            if third <= 9 {
                if u32::from(first) * 100 + u32::from(second) * 10 + u32::from(third) > 255 {
                    return false;
                }
                at += 1;
            }
        }
    }
    at == text.len()
}

fn is_ipv6(text: &[u8]) -> bool {
    let plausible = (2..=BYTES_MAX).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':'))
        && text.contains(&b':');
    plausible && std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        for text in [
            "",
            "1",
            "1.2.3.4",
            "0.0.0.0",
            "255.255.255.255",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.04",
            "1..2.3",
            "1.2.3.4 ",
            "a.b.c.d",
            "::",
            "::1",
            "fe80::1",
            "2001:db8::7:1",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "12345::",
            "::1%eth0",
            "[::1]",
            "1.2.3.4:80",
            "1234.1.1.1",
        ] {
            assert_eq!(is_ip(text.as_bytes()), text.parse::<IpAddr>().is_ok(), "{text}");
        }
    }
}
