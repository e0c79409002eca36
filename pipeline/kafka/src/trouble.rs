//! Why a cluster cannot be used, in words for the one who can change it: the broker, the principal
//! and what to do.
//!
//! librdkafka tells of a connection in one line, `sasl_ssl://kafka1:9093/bootstrap: what went wrong
//! (after 3ms in state AUTH_REQ)`. What is known about its causes stands here once, for the agent,
//! for ingest and for the commands that look.

use crate::certificate::Certificate;
use crate::properties::Properties;
use crate::token;
use std::fmt;
use std::path::Path;

/// What went wrong, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub reason: String,
    pub remedy: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; help: {}", self.reason, self.remedy)
    }
}

impl Explanation {
    /// What a client said of a connection.
    #[must_use]
    pub fn of_connection(said: &str, properties: &Properties) -> Self {
        let reason = readable(said);
        let remedy = remedy(&reason, properties);
        Self { reason, remedy }
    }

    /// The principal lacks a right on a topic.
    #[must_use]
    pub fn forbidden(operation: Operation, topic: &str, properties: &Properties) -> Self {
        let principal = principal(properties);
        let servers = properties.get("bootstrap.servers").unwrap_or_default();
        let (verb, group) = match operation {
            Operation::Read => {
                ("Read", properties.get("group.id").map(|group| format!(" --group {group}")))
            }
            Operation::Write => ("Write", None),
        };
        Self {
            reason: format!(
                "the brokers do not let `{principal}` {} the topic {topic}",
                verb.to_lowercase()
            ),
            remedy: format!(
                "kafka-acls.sh --bootstrap-server {servers} --add --allow-principal '{principal}' \
                 --operation {verb} --topic {topic}{}",
                group.unwrap_or_default()
            ),
        }
    }
}

/// What a principal needs a right for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
}

/// Whether a reason says that the cluster knows the client and does not let it do what it wants.
#[must_use]
pub fn is_forbidden(reason: &str) -> bool {
    reason.to_ascii_lowercase().contains("authorization failed")
}

/// Who the brokers take a client with these properties for, as access lists name it.
#[must_use]
pub fn principal(properties: &Properties) -> String {
    let protocol = properties.get("security.protocol").unwrap_or_default().to_ascii_lowercase();
    let certificate = properties.get("ssl.certificate.location").map(Path::new);
    if protocol.starts_with("sasl") {
        return match properties.get("sasl.username") {
            Some(user) => format!("User:{user}"),
            None => {
                let token = properties.token_file().and_then(|path| token::read(path).ok());
                let subject = token.map(|token| token.principal_name);
                format!("User:{}", subject.as_deref().unwrap_or("(the subject of the token)"))
            }
        };
    }
    match certificate.map(Certificate::first_of) {
        Some(Ok(certificate)) if protocol == "ssl" => format!("User:{}", certificate.subject),
        _ => "User:ANONYMOUS".to_owned(),
    }
}

/// Without what only librdkafka's developers need: the thread, the state and its duration.
fn readable(said: &str) -> String {
    let said = said.trim();
    let said = match said.split_once("]: ") {
        Some((thread, rest)) if thread.starts_with("[thrd:") => rest,
        _ => said,
    };
    let said = said.find(" (after ").map_or(said, |end| &said[..end]);
    said.replacen("/bootstrap: ", ": ", 1)
}

fn remedy(reason: &str, properties: &Properties) -> String {
    let has = |text: &str| reason.contains(text);
    let principal = || principal(properties);
    let mechanism = properties.get("sasl.mechanism").unwrap_or("GSSAPI");
    if has("mechanism handshake failed") || has("Unsupported SASL mechanism") {
        return format!(
            "`sasl.mechanism` is `{mechanism}`; choose one that this listener of the broker offers"
        );
    }
    if has("SASL OAUTHBEARER token") {
        return "it is read again as soon as it is renewed".to_owned();
    }
    if has("SASL authentication error") || has("Authentication failed") {
        if let Some(path) = properties.token_file() {
            return format!(
                "do the brokers trust who has signed the token `{}`, and is it for the audience that \
                 they expect? it is read again as soon as it is renewed",
                path.display()
            );
        }
        let password = properties.secret_file("sasl.password").map(Path::display);
        let place = password.map_or_else(String::new, |path| {
            format!(" in `{path}`, which is read again when it changes,")
        });
        return format!(
            "does the broker know `{}` with {mechanism}, and is the password{place} right?",
            principal()
        );
    }
    if has("certificate verify failed") {
        let ca = properties.get("ssl.ca.location").unwrap_or("of this system");
        return format!(
            "the authorities in `ssl.ca.location` ({ca}) have not signed the broker's certificate, \
             or it is over or for another name; `logweir-agent doctor` says how long it holds"
        );
    }
    if has("alert") {
        return of_alert(properties);
    }
    if has("PLAINTEXT broker listener") || has("wrong version number") || has("packet length") {
        return "this port does not speak TLS: choose the port, or `security.protocol`, that fits"
            .to_owned();
    }
    if has("SSL listener") || has("SSL_HANDSHAKE") || has("Disconnected") {
        return "does `security.protocol` fit this port? a port for TLS drops what is not"
            .to_owned();
    }
    if has("Failed to resolve") {
        return "is the name right, and does this host's resolver know it?".to_owned();
    }
    "does the broker run, does a firewall let this host through, and does `security.protocol` fit \
     the port?"
        .to_owned()
}

/// The broker broke off TLS with an alert: it does not take this client's certificate, if there is
/// one.
fn of_alert(properties: &Properties) -> String {
    let Some(path) = properties.get("ssl.certificate.location") else {
        return "the broker asks for a certificate: give `ssl.certificate.location` and \
                `ssl.key.location`"
            .to_owned();
    };
    match Certificate::first_of(Path::new(path)) {
        Ok(certificate) => match certificate.days_left() {
            Some(days) if days < 0 => format!(
                "the certificate of this client, `{path}`, ended {} days ago: put a new one in \
                 place, it is taken up by itself",
                -days
            ),
            _ => format!(
                "the broker does not take the certificate `{path}` ({}): has an authority that the \
                 broker trusts signed it?",
                certificate.subject
            ),
        },
        Err(error) => format!("the certificate `{path}` cannot be used: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Role;
    use logweir_document::{Faults, parse};

    fn properties(more: &str) -> Properties {
        let document = parse("a.yaml", format!("bootstrap.servers: k:1\n{more}")).unwrap();
        let mut faults = Faults::new(document.source.clone());
        Properties::read(&document.root, "kafka", Role::Producer, &mut faults).unwrap()
    }

    #[test]
    fn a_reason_keeps_the_broker_and_loses_the_state() {
        let said = "[thrd:ssl://k:1/bootstrap]: ssl://k:1/bootstrap: Connect to ipv4#10.0.0.1:1 \
                    failed: Connection refused (after 0ms in state CONNECT)";
        let explained = Explanation::of_connection(said, &properties(""));
        assert_eq!(
            explained.reason,
            "ssl://k:1: Connect to ipv4#10.0.0.1:1 failed: Connection refused"
        );
    }

    #[test]
    fn causes_lead_to_their_remedies() {
        let scram = "security.protocol: sasl_ssl\nsasl.mechanism: SCRAM-SHA-512\n\
                     sasl.username: web1\n";
        for (more, said, expected) in [
            (scram, "x: SASL authentication error: invalid credentials", "`User:web1` with SCRAM"),
            (scram, "x: SASL SCRAM-SHA-512 mechanism handshake failed: no", "choose one"),
            ("security.protocol: ssl\n", "x: certificate verify failed: y", "(of this system)"),
            ("security.protocol: ssl\n", "x: tlsv13 alert certificate required", "asks for a"),
            ("security.protocol: ssl\n", "x: connecting to a PLAINTEXT broker listener?", "TLS"),
            ("", "no broker answers", "does the broker run"),
        ] {
            let explained = Explanation::of_connection(said, &properties(more)).to_string();
            assert!(explained.contains(expected), "{said}: {explained}");
        }
    }

    #[test]
    fn a_missing_right_is_told_with_the_command_that_gives_it() {
        let user =
            properties("security.protocol: sasl_ssl\nsasl.mechanism: PLAIN\nsasl.username: a\n");
        let explained = Explanation::forbidden(Operation::Write, "logweir.events", &user);
        assert_eq!(
            explained.reason,
            "the brokers do not let `User:a` write the topic logweir.events"
        );
        assert_eq!(
            explained.remedy,
            "kafka-acls.sh --bootstrap-server k:1 --add --allow-principal 'User:a' --operation Write \
             --topic logweir.events"
        );
        assert_eq!(principal(&properties("security.protocol: ssl\n")), "User:ANONYMOUS");
        assert_eq!(principal(&properties("")), "User:ANONYMOUS");
    }
}
