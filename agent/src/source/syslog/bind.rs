//! Sockets to listen with: bound here, or opened by systemd and handed over (socket activation).

use crate::config::{Address, UnixConfig};
use rustix::fs::{Gid, Mode, Uid};
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_reuseaddr, set_socket_reuseport, socket_domain,
    socket_type,
};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// What the kernel may hold for us while we write; it grants as much as `net.core.rmem_max` allows.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// Connections that wait to be accepted; the kernel grants as many as `net.core.somaxconn` allows. One
/// that finds no room is tried again by its client only after a second or more.
const BACKLOG: i32 = 4096;

/// The sockets that systemd has handed over and that no listener has taken yet.
static HANDED_OVER: OnceLock<Mutex<Vec<HandedOver>>> = OnceLock::new();

#[derive(Debug)]
struct HandedOver {
    name: Option<String>,
    socket: OwnedFd,
}

/// Takes the sockets of that name and kind which systemd has handed over (`FileDescriptorName=`).
fn take(name: &str, kind: SocketType, families: &[AddressFamily]) -> io::Result<Vec<OwnedFd>> {
    let all = HANDED_OVER.get_or_init(|| {
        let handed = sd_listen_fds::get().unwrap_or_default().into_iter();
        Mutex::new(handed.map(|(name, fd)| HandedOver { name, socket: fd.into_std() }).collect())
    });
    let fits = |one: &mut HandedOver| {
        one.name.as_deref() == Some(name)
            && socket_type(&one.socket).is_ok_and(|found| found == kind)
            && socket_domain(&one.socket).is_ok_and(|found| families.contains(&found))
    };
    let found: Vec<_> = crate::sync::lock(all).extract_if(.., fits).map(|one| one.socket).collect();
    if found.is_empty() {
        return Err(io::Error::other(format!(
            "systemd has handed over no socket `{name}` of this kind; start the agent by a socket \
             unit with `FileDescriptorName={name}`, or give an address"
        )));
    }
    Ok(found)
}

const INTERNET: [AddressFamily; 2] = [AddressFamily::INET, AddressFamily::INET6];

fn failed(protocol: &str, place: &dyn std::fmt::Display, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        // A port below 1024, or a socket outside of what the unit may write.
        io::ErrorKind::PermissionDenied => {
            "; let systemd open it, with a socket unit and `systemd:NAME` here (docs/syslog.md)"
        }
        io::ErrorKind::AddrInUse => "; another program listens there, `ss -lnp` names it",
        _ => "",
    };
    io::Error::other(format!("cannot listen at {protocol} {place}: {error}{remedy}"))
}

/// A listener for TCP, non-blocking.
pub(super) fn tcp(protocol: &str, address: &Address) -> io::Result<TcpListener> {
    let listener = match address {
        Address::Ip(address) => {
            tcp_socket(*address).map_err(|error| failed(protocol, address, &error))?
        }
        Address::Systemd(name) => take(name, SocketType::STREAM, &INTERNET)?.swap_remove(0).into(),
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn tcp_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = internet_socket(address, SocketType::STREAM)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn internet_socket(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sockets for UDP that share the address; the kernel spreads senders over them.
pub(super) fn udp(address: &Address, count: usize) -> io::Result<Vec<UdpSocket>> {
    let mut sockets: Vec<UdpSocket> = match address {
        Address::Systemd(name) => {
            take(name, SocketType::DGRAM, &INTERNET)?.into_iter().map(UdpSocket::from).collect()
        }
        Address::Ip(address) => {
            let first =
                udp_socket(*address, count > 1).map_err(|error| failed("udp", address, &error))?;
            // With port 0, the others share the port that the first one was given.
            let address = first.local_addr()?;
            let more = (1..count).map(|_| udp_socket(address, true));
            std::iter::once(Ok(first)).chain(more).collect::<io::Result<_>>()?
        }
    };
    for socket in &mut sockets {
        enlarge(socket);
    }
    Ok(sockets)
}

fn udp_socket(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = internet_socket(address, SocketType::DGRAM)?;
    if shared {
        set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket.into())
}

fn enlarge(socket: impl AsFd) {
    // Less is granted where `net.core.rmem_max` is less.
    let _ = set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES);
}

/// A socket in the file system that is ours; it goes when the listener does.
#[derive(Debug)]
pub(super) struct UnixPlace {
    /// Path, device and inode; `None` if systemd has opened the socket.
    ours: Option<(PathBuf, u64, u64)>,
}

impl Drop for UnixPlace {
    fn drop(&mut self) {
        let Some((path, device, inode)) = &self.ours else { return };
        let still = std::fs::symlink_metadata(path)
            .is_ok_and(|found| found.dev() == *device && found.ino() == *inode);
        if still {
            let _ = std::fs::remove_file(path);
        }
    }
}

pub(super) fn unix_datagram(config: &UnixConfig) -> io::Result<(UnixDatagram, UnixPlace)> {
    let (socket, place) = unix(config, SocketType::DGRAM)?;
    enlarge(&socket);
    Ok((socket.into(), place))
}

/// A listener for streams, non-blocking.
pub(super) fn unix_stream(config: &UnixConfig) -> io::Result<(UnixListener, UnixPlace)> {
    let (socket, place) = unix(config, SocketType::STREAM)?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok((listener, place))
}

fn unix(config: &UnixConfig, kind: SocketType) -> io::Result<(OwnedFd, UnixPlace)> {
    if let Some(name) = config.path.strip_prefix("systemd:") {
        let socket = take(name, kind, &[AddressFamily::UNIX])?.swap_remove(0);
        return Ok((socket, UnixPlace { ours: None }));
    }
    let path = Path::new(&config.path);
    bind_unix(path, config, kind).map_err(|error| failed("unix", &config.path, &error))
}

fn bind_unix(
    path: &Path,
    config: &UnixConfig,
    kind: SocketType,
) -> io::Result<(OwnedFd, UnixPlace)> {
    let owner = config.owner.as_deref().map(|name| number_of(name, "/etc/passwd")).transpose()?;
    let group = config.group.as_deref().map(|name| number_of(name, "/etc/group")).transpose()?;
    remove_stale(path)?;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    let mode = Mode::from_raw_mode(config.mode);
    // The file takes its mode from the socket, so there is no moment when it allows more.
    rustix::fs::fchmod(&socket, mode)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let found = std::fs::symlink_metadata(path)?;
    let place = UnixPlace { ours: Some((path.to_owned(), found.dev(), found.ino())) };
    if owner.is_some() || group.is_some() {
        rustix::fs::chown(path, owner.map(Uid::from_raw), group.map(Gid::from_raw))?;
    }
    // The umask has taken from it.
    rustix::fs::chmod(path, mode)?;
    if kind == SocketType::STREAM {
        listen(&socket, BACKLOG)?;
    }
    Ok((socket, place))
}

/// Removes a socket that no one listens at any more, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other("there is something else than a socket; move it away"));
    }
    let refused = |connected: io::Result<()>| {
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    let stream = refused(UnixStream::connect(path).map(drop));
    let datagram = refused(UnixDatagram::unbound().and_then(|socket| socket.connect(path)));
    // A socket of the other type answers with another error than that.
    if !stream && !datagram {
        return Err(io::Error::other(
            "another program listens there; stop it, or give another path",
        ));
    }
    std::fs::remove_file(path)
}

/// The number of a user or a group, given by number or by its name in `table`.
fn number_of(name: &str, table: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(table)?;
    let mut rows = text.lines().map(|row| row.split(':'));
    rows.find_map(|mut row| (row.next()? == name).then(|| row.nth(1)?.parse().ok())?)
        .ok_or_else(|| io::Error::other(format!("`{name}` is not in {table}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path) -> UnixConfig {
        UnixConfig { path: path.display().to_string(), mode: 0o622, owner: None, group: None }
    }

    #[test]
    fn a_socket_has_its_mode_and_goes_with_its_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (_socket, place) = unix_datagram(&config(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o622);
        drop(place);
        assert!(!path.exists());
    }

    #[test]
    fn where_it_may_not_listen_it_is_told_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Ip(taken.local_addr().unwrap());
        let said = tcp("tcp", &address).unwrap_err().to_string();
        assert!(said.ends_with("; another program listens there, `ss -lnp` names it"), "{said}");
        let error = io::ErrorKind::PermissionDenied.into();
        let said = failed("udp", &"0.0.0.0:514", &error).to_string();
        assert!(said.starts_with("cannot listen at udp 0.0.0.0:514: "), "{said}");
        assert!(said.contains("`systemd:NAME`"), "{said}");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for stale_datagram in [true, false] {
            if stale_datagram {
                drop(UnixDatagram::bind(&path).unwrap());
            } else {
                drop(UnixListener::bind(&path).unwrap());
            }
            let (_socket, _place) = unix_stream(&config(&path)).unwrap();
            for error in [
                unix_stream(&config(&path)).unwrap_err(),
                unix_datagram(&config(&path)).unwrap_err(),
            ] {
                assert!(error.to_string().contains("another program listens there"), "{error}");
            }
        }
        std::fs::write(&path, "precious").unwrap();
        let error = unix_datagram(&config(&path)).unwrap_err().to_string();
        assert!(error.contains("something else than a socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn users_are_known_by_name_and_by_number() {
        assert_eq!(number_of("root", "/etc/passwd").unwrap(), 0);
        assert_eq!(number_of("1234", "/etc/passwd").unwrap(), 1234);
        assert!(number_of("no.such.user", "/etc/passwd").is_err());
    }
}
