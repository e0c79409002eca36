//! Notifications to systemd, sd_notify(3): datagrams of `NAME=value` lines to `$NOTIFY_SOCKET`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where to say how it goes; says nothing if no one asked.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = |name| std::env::var(name).ok();
        let meant = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC")
            .and_then(|usec| usec.parse().ok())
            .filter(|usec| *usec > 0 && meant)
            .map(Duration::from_micros);
        let place = text("NOTIFY_SOCKET").unwrap_or_default();
        Self { watchdog, ..Self::to(&place) }
    }

    /// To a socket: a path, or `@` and an abstract name.
    fn to(place: &str) -> Self {
        let address = match place.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if place.starts_with('/') => SocketAddr::from_pathname(place),
            None => return Self::default(),
        };
        let socket = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        // A supervisor that does not read must not hold the program up.
        let socket = socket.and_then(|(socket, address)| {
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        Self { socket: socket.ok(), watchdog: None }
    }

    /// Whether there is someone who listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// The start, or a reload, is over.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", one_line(status)));
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        self.say("RELOADING=1\nSTATUS=reloading");
    }

    /// The stop begins.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping: sending what is read");
    }

    /// How long systemd waits for [`Notifier::feed_watchdog`] before it kills; `None` if it does not.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_heard())
    }

    /// The program makes progress.
    pub fn feed_watchdog(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // No one to tell it to if this fails.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// A line end would begin another assignment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_supervisor_hears_the_stages_of_a_service() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.to_str().unwrap());
        assert!(notifier.is_heard());
        notifier.ready("it goes\nMAINPID=1");
        assert_eq!(said(&socket), "READY=1\nSTATUS=it goes MAINPID=1");
        notifier.reloading();
        assert!(said(&socket).starts_with("RELOADING=1\n"));
        notifier.feed_watchdog();
        assert_eq!(said(&socket), "WATCHDOG=1");
        notifier.stopping();
        assert!(said(&socket).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn an_abstract_socket_is_reached_too() {
        let name = format!("logweir-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(&format!("@{name}")).status("here");
        assert_eq!(said(&socket), "STATUS=here");
    }

    #[test]
    fn without_a_socket_nothing_is_said() {
        for place in ["", "relative", "vsock:2:3"] {
            assert!(!Notifier::to(place).is_heard(), "{place}");
        }
    }
}
