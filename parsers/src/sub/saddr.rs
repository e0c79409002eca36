//! Socket addresses of the audit system: `struct sockaddr` as the kernel saw it, in hexadecimal.
//!
//! The fields are called as in the enriched format: `saddr_fam`, `laddr`, `lport`, `path`.

use super::{FieldSink, SubValue};
use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The family's number has the byte order of the machine; all in use are below 256.
const LOCAL: u16 = 1;
const INET: u16 = 2;
const INET6: u16 = 10;

/// Hands over what is in `hex`; nothing if it is no address of a known family.
pub(super) fn decode(hex: &[u8], space: &mut Vec<u8>, sink: &mut dyn FieldSink) {
    /// `struct sockaddr_storage` has 128 bytes.
    const BYTES_MAX: usize = 128;
    if hex.len() > 2 * BYTES_MAX || !hex.len().is_multiple_of(2) {
        return;
    }
    let mut storage = [0; BYTES_MAX];
    for (byte, pair) in storage.iter_mut().zip(hex.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return };
        *byte = high << 4 | low;
    }
    let address = &storage[..hex.len() / 2];
    let Some((family, rest)) = address.split_first_chunk::<2>() else { return };
    let family = u16::from(family[0] | family[1]);
    match family {
        LOCAL => {
            // A name that begins with NUL is no path; it is shown with an `@` for that.
            let (mark, name) = match rest.split_first() {
                Some((0, name)) if !name.is_empty() => (&b"@"[..], name),
                _ => (&b""[..], rest),
            };
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            sink.field(b"saddr_fam", SubValue::Text(b"local"));
            if end > 0 {
                space.clear();
                space.extend_from_slice(mark);
                space.extend_from_slice(&name[..end]);
                sink.field(b"path", SubValue::Text(space));
            }
        }
        INET => {
            let Some((port, rest)) = rest.split_first_chunk::<2>() else { return };
            let Some(ip) = rest.first_chunk::<4>() else { return };
            internet("inet", Ipv4Addr::from(*ip).into(), *port, space, sink);
        }
        INET6 => {
            // The flow's label stands between port and address.
            let Some((port, rest)) = rest.split_first_chunk::<2>() else { return };
            let Some(ip) = rest.get(4..).and_then(|rest| rest.first_chunk::<16>()) else { return };
            internet("inet6", Ipv6Addr::from(*ip).into(), *port, space, sink);
        }
        _ => {}
    }
}

fn internet(
    family: &'static str,
    ip: IpAddr,
    port: [u8; 2],
    space: &mut Vec<u8>,
    sink: &mut dyn FieldSink,
) {
    let mut field = |key: &[u8], value: &dyn Display| {
        space.clear();
        // Writing to a vector cannot fail.
        let _ = write!(space, "{value}");
        sink.field(key, SubValue::Text(space));
    };
    field(b"saddr_fam", &family);
    field(b"laddr", &ip);
    field(b"lport", &u16::from_be_bytes(port));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Collected;
    use super::decode;

    #[test]
    fn addresses_of_each_family_are_read() {
        for (hex, expected) in [
            ("020000160A00000100000000", &["saddr_fam=inet", "laddr=10.0.0.1", "lport=22"][..]),
            ("000201BB01020304", &["saddr_fam=inet", "laddr=1.2.3.4", "lport=443"]),
            (
                "0A00005000000000000000000000000000000000000000010000",
                &["saddr_fam=inet6", "laddr=::1", "lport=80"],
            ),
            ("01002F6465762F6C6F6700", &["saddr_fam=local", "path=/dev/log"]),
            ("0100006162", &["saddr_fam=local", "path=@ab"]),
            ("0100", &["saddr_fam=local"]),
            ("100000000000000000000000", &[]),
            ("0200", &[]),
            ("02000016", &[]),
            ("0", &[]),
            ("zz00", &[]),
            ("", &[]),
        ] {
            let mut collected = Collected::default();
            decode(hex.as_bytes(), &mut Vec::new(), &mut collected);
            assert_eq!(collected.fields, expected, "{hex}");
        }
        decode("0100".repeat(500).as_bytes(), &mut Vec::new(), &mut Collected::default());
    }
}
