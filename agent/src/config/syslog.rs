//! A syslog source, as configured: where it listens, who may send, and how much.

use super::sources::{common, spool, wrong};
use super::{Common, SpoolConfig};
use logweir_document::{Faults, Span, Table, Value};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const CONNECTIONS_MAX_DEFAULT: u64 = 1000;
const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// What the kernel keeps of a path of a socket, its zero byte included, is 108 bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const UNIX_MODE_DEFAULT: u32 = 0o660;

/// A syslog source.
#[derive(Debug, Clone)]
pub(crate) struct SyslogConfig {
    pub common: Common,
    pub listen: Listen,
    pub spool: SpoolConfig,
    /// UDP sockets that share the address.
    pub sockets: usize,
    /// Who may send; everyone if empty.
    pub allow: Vec<Network>,
    pub connections_max: usize,
    pub connections_per_sender_max: usize,
    pub idle_timeout: Duration,
}

/// Where a source listens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listen {
    pub udp: Option<Address>,
    pub tcp: Option<Address>,
    pub tls: Option<TlsConfig>,
    pub unix_datagram: Option<UnixConfig>,
    pub unix_stream: Option<UnixConfig>,
}

/// An address of ours, or the name of a socket that systemd has opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Ip(SocketAddr),
    Systemd(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// TLS as in RFC 5425.
#[derive(Debug, Clone)]
pub(crate) struct TlsConfig {
    pub listen: Address,
    /// The chain, PEM, own certificate first.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Those that may vouch for clients; without, clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// Lists of certificates that are revoked, one of each authority that vouches for clients.
    pub client_crl: Option<PathBuf>,
    /// One of these must be a name in the client's certificate; any will do if empty.
    pub client_names: Vec<String>,
    pub handshake_timeout: Duration,
}

/// A socket in the file system, or the name of one that systemd has opened.
#[derive(Debug, Clone)]
pub(crate) struct UnixConfig {
    pub path: String,
    pub mode: u32,
    /// Names or numbers.
    pub owner: Option<String>,
    pub group: Option<String>,
}

/// A stretch of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// `10.0.0.0/8`, `2001:db8::/32` or one address.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(text) => text.parse().ok().filter(|prefix| *prefix <= bits)?,
        };
        Some(Self { address, prefix })
    }

    #[must_use]
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let address = address.to_canonical();
        let differ = number(address) ^ number(self.address);
        address.is_ipv4() == self.address.is_ipv4()
            && (self.prefix == 0 || differ >> (128 - self.prefix) == 0)
    }
}

/// Reads the section of a syslog source. `taken` are the listeners of those before.
pub(super) fn read(
    table: &mut Table<'_>,
    taken: &mut HashSet<(&'static str, String)>,
    faults: &mut Faults,
) -> SyslogConfig {
    let common = common(table, faults);
    let listen = Listen {
        udp: address(table, "udp", faults),
        tcp: address(table, "tcp", faults),
        tls: tls(table, faults),
        unix_datagram: unix(table, "unix_datagram", faults),
        unix_stream: unix(table, "unix_stream", faults),
    };
    let names = ["udp", "tcp", "tls", "unix_datagram", "unix_stream"];
    if names.iter().all(|name| table.node(name).is_none()) {
        let message = format!("`{}` listens nowhere", table.path());
        faults.error(table.span(), message).remedy = Some(
            "give `udp`, `tcp`, `tls`, `unix_datagram` or `unix_stream`, such as \
             `udp: '127.0.0.1:5514'`"
                .into(),
        );
    }
    for (protocol, place) in listen.places() {
        if !place.ends_with(":0") && !taken.insert((protocol, place.clone())) {
            let message = format!("{protocol} {place} is listened to twice");
            faults.error(table.span(), message).remedy = Some("give another address".into());
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let connections_max = table
        .integer("connections_max", 1..=100_000, faults)
        .unwrap_or(CONNECTIONS_MAX_DEFAULT) as usize;
    SyslogConfig {
        common,
        listen,
        spool: spool(table, cores, faults),
        sockets: table.integer("sockets", 1..=64, faults).unwrap_or(1) as usize,
        allow: allow(table, faults),
        connections_max,
        connections_per_sender_max: table
            .integer("connections_per_sender_max", 1..=100_000, faults)
            .map_or(connections_max, |count| count as usize),
        idle_timeout: table.duration("idle_timeout", faults).unwrap_or(IDLE_TIMEOUT_DEFAULT),
    }
}

impl Listen {
    /// The listeners by protocol and place.
    pub(crate) fn places(&self) -> Vec<(&'static str, String)> {
        let mut places = Vec::new();
        let tls = self.tls.as_ref().map(|tls| &tls.listen);
        for (protocol, address) in
            [("udp", self.udp.as_ref()), ("tcp", self.tcp.as_ref()), ("tls", tls)]
        {
            places.extend(address.map(|address| (protocol, address.to_string())));
        }
        let unix = [("unix_datagram", &self.unix_datagram), ("unix_stream", &self.unix_stream)];
        for (protocol, unix) in unix {
            places.extend(unix.as_ref().map(|unix| (protocol, unix.path.clone())));
        }
        places
    }
}

fn parse_address(text: &str) -> Option<Address> {
    match text.strip_prefix("systemd:") {
        Some(name) if !name.is_empty() => Some(Address::Systemd(name.to_owned())),
        _ => text.parse().ok().map(Address::Ip),
    }
}

fn address(table: &mut Table<'_>, name: &str, faults: &mut Faults) -> Option<Address> {
    let node = table.node(name)?;
    let address = node.text().and_then(parse_address);
    if address.is_none() {
        let wanted = "an address such as `127.0.0.1:5514` or `[::]:514`, or `systemd:NAME`";
        wrong(table, name, node, wanted, faults);
    }
    address
}

fn tls(source: &mut Table<'_>, faults: &mut Faults) -> Option<TlsConfig> {
    let mut table = source.table("tls", faults)?;
    table.required("listen", faults);
    let listen = address(&mut table, "listen", faults);
    let certificate = table.required_string("certificate", faults).map(PathBuf::from);
    let key = table.required_string("key", faults).map(PathBuf::from);
    let client_ca = table.string("client_ca", faults).map(PathBuf::from);
    let client_crl = table.string("client_crl", faults).map(PathBuf::from);
    if client_crl.is_some() && client_ca.is_none() {
        let span = table.node("client_crl").map_or(table.span(), |node| node.span);
        faults.error(span, "`client_crl` without `client_ca`").remedy =
            Some("name the file of the certificates that vouch for clients in `client_ca`".into());
    }
    let names = table.strings("client_names", faults).unwrap_or_default();
    if let (Some((_, span)), None) = (names.first(), &client_ca) {
        faults.error(*span, "`client_names` without `client_ca`").remedy =
            Some("name the file of the certificates that vouch for clients in `client_ca`".into());
    }
    for (name, span) in &names {
        check_name(name, *span, faults);
    }
    let handshake_timeout =
        table.duration("handshake_timeout", faults).unwrap_or(HANDSHAKE_TIMEOUT_DEFAULT);
    table.finish(faults);
    Some(TlsConfig {
        listen: listen?,
        certificate: certificate?,
        key: key?,
        client_ca,
        client_crl,
        client_names: names.into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect(),
        handshake_timeout,
    })
}

/// A wildcard is a whole label, the first one, and two labels follow it (RFC 6125, section 6.4.3).
fn check_name(name: &str, span: Span, faults: &mut Faults) {
    let rest = name.strip_prefix("*.");
    if rest.unwrap_or(name).contains('*') || rest.is_some_and(|rest| !rest.contains('.')) {
        faults.error(span, format!("`{name}` is no pattern of names")).remedy =
            Some("write a name, or `*.` in front of a domain: `*.example.net`".into());
    }
}

fn unix(source: &mut Table<'_>, name: &str, faults: &mut Faults) -> Option<UnixConfig> {
    let node = source.node(name)?;
    let (mut mode, mut owner, mut group) = (UNIX_MODE_DEFAULT, None, None);
    let path = if let Value::Mapping(_) = &node.value {
        let mut table = source.table(name, faults)?;
        let path = table.required_string("path", faults).map(str::to_owned);
        if let Some(node) = table.node("mode") {
            let parsed = node.text().and_then(|text| u32::from_str_radix(text, 8).ok());
            match parsed.filter(|mode| *mode <= 0o777) {
                Some(given) => mode = given,
                None => wrong(&table, "mode", node, "an octal mode such as `'0666'`", faults),
            }
        }
        owner = table.string("owner", faults).map(str::to_owned);
        group = table.string("group", faults).map(str::to_owned);
        table.finish(faults);
        path?
    } else {
        node.text().unwrap_or_default().to_owned()
    };
    let named = path.strip_prefix("systemd:").is_some_and(|name| !name.is_empty());
    if !named && (!path.starts_with('/') || path.len() > SOCKET_PATH_BYTES_MAX) {
        let wanted = "an absolute path of at most 107 bytes, or `systemd:NAME`";
        wrong(source, name, node, wanted, faults);
    }
    Some(UnixConfig { path, mode, owner, group })
}

fn allow(table: &mut Table<'_>, faults: &mut Faults) -> Vec<Network> {
    let mut networks = Vec::new();
    for (text, span) in table.strings("allow", faults).unwrap_or_default() {
        match Network::parse(text) {
            Some(network) => networks.push(network),
            None => {
                faults.error(span, format!("`{text}` is no network")).remedy =
                    Some("write an address or a network such as `10.0.0.0/8`".into());
            }
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_of_its_prefix() {
        for (network, address, contained) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/33", "2001:db8:ffff::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), contained, "{network} {address}");
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
