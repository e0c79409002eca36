//! Which way traffic goes, told from its two addresses.
//!
//! Owns the list of networks that count as internal: those that are never routed on the Internet, and
//! those that packs name beside them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The words of ECS for `network.direction`, by [`Direction`].
pub(crate) const WORDS: [&str; 4] = ["internal", "outbound", "inbound", "external"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Internal,
    Outbound,
    Inbound,
    External,
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// Without the bits that do not count.
    bits: u128,
    /// Of 128; those of IPv4 stand behind the 96 of `::ffff:0:0/96`.
    prefix: u32,
}

impl Network {
    fn contains(self, address: u128) -> bool {
        address & mask(self.prefix) == self.bits
    }
}

impl FromStr for Network {
    type Err = ();

    /// `192.0.2.0/24`, `2001:db8::/32`, or one address.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| ())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let before = if address.is_ipv4() { 96 } else { 0 };
        let prefix = before + prefix.unwrap_or(128 - before);
        if prefix > 128 {
            return Err(());
        }
        Ok(Self { bits: bits(address) & mask(prefix), prefix })
    }
}

/// The direction from one address to another; `None` if one of the texts is none.
pub(crate) fn direction(source: &[u8], destination: &[u8], own: &[Network]) -> Option<Direction> {
    let internal = |text: &[u8]| {
        let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(is_unrouted(address) || own.iter().any(|network| network.contains(bits(address))))
    };
    Some(match (internal(source)?, internal(destination)?) {
        (true, true) => Direction::Internal,
        (true, false) => Direction::Outbound,
        (false, true) => Direction::Inbound,
        (false, false) => Direction::External,
    })
}

/// Whether the address is one that never leaves its network: RFC 1918, RFC 3927, RFC 4193, loopback,
/// unspecified, limited broadcast and multicast that routers do not forward (RFC 5771, RFC 4291).
fn is_unrouted(address: IpAddr) -> bool {
    let v4 = |address: Ipv4Addr| {
        address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || address.is_broadcast()
            || matches!(address.octets(), [224, 0, 0, _])
    };
    let v6 = |address: Ipv6Addr| {
        address.is_unique_local()
            || address.is_loopback()
            || address.is_unicast_link_local()
            || address.is_unspecified()
            || matches!(address.segments()[0], 0xff01 | 0xff02)
    };
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, destination: &str, own: &[&str], expected: Option<Direction>) {
        let own: Vec<Network> = own.iter().map(|text| text.parse().unwrap()).collect();
        let found = direction(source.as_bytes(), destination.as_bytes(), &own);
        assert_eq!(found, expected, "{source} to {destination}");
    }

    #[test]
    fn the_direction_is_told_by_which_ends_are_internal() {
        check("10.1.2.3", "192.168.0.9", &[], Some(Direction::Internal));
        check("172.31.255.1", "172.32.0.1", &[], Some(Direction::Outbound));
        check("8.8.8.8", "127.0.0.1", &[], Some(Direction::Inbound));
        check("192.0.2.1", "2001:db8::1", &[], Some(Direction::External));
        check("fe80::1", "ff02::fb", &[], Some(Direction::Internal));
        check("0.0.0.0", "255.255.255.255", &[], Some(Direction::Internal));
        check("::ffff:10.0.0.1", "239.1.1.1", &[], Some(Direction::Outbound));
        check("web.example", "10.0.0.1", &[], None);
        check("10.0.0.1", "", &[], None);
    }

    #[test]
    fn packs_name_further_internal_networks() {
        check("203.0.113.77", "198.51.100.1", &["203.0.113.64/26"], Some(Direction::Outbound));
        check("203.0.113.129", "10.0.0.1", &["203.0.113.64/26"], Some(Direction::Inbound));
        check("2001:db8::7", "192.0.2.1", &["2001:db8::/32"], Some(Direction::Outbound));
        check("::ffff:192.0.2.1", "192.0.2.1", &["192.0.2.1"], Some(Direction::Internal));
        check("198.51.100.1", "2001:db8::1", &["0.0.0.0/0"], Some(Direction::Outbound));
        check("198.51.100.1", "2001:db8::1", &["::/0"], Some(Direction::Internal));
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
