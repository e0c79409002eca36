//! Which programs listen on this machine, and whether a log of theirs was found.
//!
//! From `/proc`: the tables of sockets, and whose descriptor each socket is. Only root sees the
//! descriptors of others; a socket without a known owner is not told.

use logweir_parsers::RuleSet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The tables, and the state of a socket that waits for others: TCP_LISTEN, and unconnected UDP.
const TABLES: [(&str, &str, &str); 4] =
    [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")];

/// From here on, a UDP socket is most likely one that asks others, not one that is asked.
const EPHEMERAL_PORT_MIN: u16 = 32_768;

/// A program and where it listens, such as `22/tcp`.
pub(super) type Services = BTreeMap<String, BTreeSet<(u16, &'static str)>>;

/// What listens now; `proc` is `/proc`.
pub(super) fn listening(proc: &Path) -> Services {
    let mut sockets: HashMap<String, (u16, &'static str)> = HashMap::new();
    for (table, protocol, state) in TABLES {
        let text = std::fs::read_to_string(proc.join("net").join(table)).unwrap_or_default();
        let found = text.lines().skip(1).filter_map(|line| socket(line, state));
        sockets.extend(found.map(|(inode, port)| (inode, (port, protocol))));
    }
    let mut services = Services::new();
    for process in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let descriptors = std::fs::read_dir(process.path().join("fd")).into_iter().flatten();
        let held = descriptors.flatten().filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            sockets.get(inode).copied()
        });
        let held: Vec<(u16, &'static str)> = held.collect();
        if let Ok(name) = std::fs::read_to_string(process.path().join("comm"))
            && !held.is_empty()
        {
            services.entry(name.trim().to_owned()).or_default().extend(held);
        }
    }
    services
}

/// The inode and the port of a socket that waits in `state`.
fn socket(line: &str, state: &str) -> Option<(String, u16)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
    let inode = (*fields.get(9)?).to_owned();
    let waits = *fields.get(3)? == state && !(state == "07" && port >= EPHEMERAL_PORT_MIN);
    waits.then_some((inode, port))
}

/// A line for each program, with the log that has its events. `seen` tells where events of a
/// dataset were found.
pub(super) fn table(
    services: &Services,
    rules: &RuleSet,
    seen: &BTreeMap<String, String>,
) -> String {
    let mut out = String::new();
    for (name, sockets) in services {
        let datasets = rules.datasets_of_program(name);
        let place = datasets.iter().find_map(|dataset| seen.get(*dataset));
        let told = match (place, datasets.is_empty()) {
            (Some(place), _) => place.clone(),
            (None, true) => "no rules for a program of this name".to_owned(),
            (None, false) => format!("no log found; rules: {}", datasets.join(", ")),
        };
        let ports: Vec<String> =
            sockets.iter().map(|(port, protocol)| format!("{port}/{protocol}")).collect();
        out.push_str(&format!("{name:20}  {:24}  {told}\n", ports.join(", ")));
    }
    match out.is_empty() {
        true => out,
        false => format!("\n{:20}  {:24}  LOG\n{out}", "LISTENS", "ON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_wait_for_others_are_services() {
        let line = |port: &str, state: &str| {
            format!(
                "  0: 00000000:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 x"
            )
        };
        assert_eq!(socket(&line("0016", "0A"), "0A"), Some(("4711".into(), 22)));
        assert_eq!(socket(&line("0016", "01"), "0A"), None);
        assert_eq!(socket(&line("0202", "07"), "07"), Some(("4711".into(), 514)));
        assert_eq!(socket(&line("D431", "07"), "07"), None);
        assert_eq!(socket("nonsense", "0A"), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found_with_its_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let services = listening(Path::new("/proc"));
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert!(services[own.trim()].contains(&(port, "tcp")), "{services:?}");
    }

    #[test]
    fn a_service_is_told_with_its_log_or_the_rules_that_wait_for_one() {
        let services = Services::from([
            ("sshd".to_owned(), BTreeSet::from([(22, "tcp")])),
            ("named".to_owned(), BTreeSet::from([(53, "tcp"), (53, "udp")])),
            ("own".to_owned(), BTreeSet::from([(8080, "tcp")])),
        ]);
        let rules = RuleSet::load(&[], true).unwrap().rules;
        let seen = BTreeMap::from([("sshd".to_owned(), "/var/log/auth.log".to_owned())]);
        let table = table(&services, &rules, &seen);
        let told = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(told("sshd").contains("22/tcp") && told("sshd").ends_with("/var/log/auth.log"));
        assert!(told("named").contains("53/tcp, 53/udp"), "{table}");
        assert!(told("named").contains("no log found; rules: "), "{table}");
        assert!(told("own").ends_with("no rules for a program of this name"));
    }
}
