//! Properties that librdkafka takes one by one and refuses together: what it says when a client is
//! made becomes a fault at the property that it names.

use super::{FILES, Meaning, Properties, Role, SECRETS, names};
use logweir_document::{Faults, Key, Node, Value};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaType;
use std::fs::File;

impl Properties {
    /// Makes a client as `section` has it, and lets it go again. It comes to know of no broker.
    pub fn try_client(&self, section: &Node, faults: &mut Faults) {
        let mut config = self.client_config();
        config.remove("bootstrap.servers");
        let role = match self.role {
            Role::Producer => RDKafkaType::RD_KAFKA_PRODUCER,
            Role::Consumer => RDKafkaType::RD_KAFKA_CONSUMER,
        };
        let made = config
            .create_native_config()
            .and_then(|native| Client::new(&config, native, role, DefaultClientContext));
        if let Err(error) = made {
            client_fault(section, &error, faults);
        }
    }
}

/// Notes why a client could not be made, at the property in `section` that librdkafka names.
pub fn client_fault(section: &Node, error: &KafkaError, faults: &mut Faults) {
    let reason = match error {
        KafkaError::ClientCreation(reason) => reason.trim_end_matches('.').to_owned(),
        other => other.to_string(),
    };
    let words = reason.split(|c: char| !(c.is_ascii_lowercase() || "._".contains(c)));
    let named: Vec<&str> = words.filter_map(known).collect();
    let Some((name, key, value)) = named.iter().find_map(|name| written(section, name)) else {
        faults.error(section.span, reason.clone()).remedy = Some(remedy(section, &named));
        return;
    };
    let text = value.text().filter(|_| !SECRETS.contains(&name));
    let closed = text.filter(|_| FILES.contains(&name)).and_then(|path| File::open(path).err());
    let (message, remedy) = match (text, closed) {
        (Some(path), Some(error)) => (
            format!("`{}` is `{path}`, which cannot be read: {error}", key.name),
            "name a file that is there and that the program may read".to_owned(),
        ),
        (Some(text), None) => {
            (format!("`{}` is `{text}`: {reason}", key.name), remedy(section, &named))
        }
        (None, _) => (reason, remedy(section, &named)),
    };
    faults.error(value.span, message).remedy = Some(remedy);
}

fn known(name: &str) -> Option<&'static str> {
    match names::meaning(name.trim_end_matches('.')) {
        Meaning::Known(name, _) => Some(name),
        _ => None,
    }
}

/// The entry that leads to the property `name`.
fn written<'n>(section: &'n Node, name: &'static str) -> Option<(&'static str, &'n Key, &'n Node)> {
    let Value::Mapping(entries) = &section.value else { return None };
    let is_it = |key: &str| known(key.strip_suffix(".file").unwrap_or(key)) == Some(name);
    entries.iter().find(|(key, _)| is_it(&key.name)).map(|(key, value)| (name, key, value))
}

fn remedy(section: &Node, named: &[&'static str]) -> String {
    let is_credential = |name: &str| name == "sasl.username" || SECRETS.contains(&name);
    let missing =
        named.iter().filter(|name| is_credential(name) && written(section, name).is_none());
    let missing: Vec<String> = missing
        .map(|name| match SECRETS.contains(name) {
            true => format!("`{name}: {{file: PATH}}`"),
            false => format!("`{name}`"),
        })
        .collect();
    match missing.as_slice() {
        [] => "remove it, or change what it does not go together with".into(),
        missing => format!("add {}", missing.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::{parse, render_all};

    #[test]
    fn what_does_not_go_together_is_told_at_the_property_that_librdkafka_names() {
        for (text, place, said) in [
            ("retries: 0", "2:10", "`retries` is `0`: `retries` must be set >= 1"),
            (
                "max.in.flight: 10",
                "2:16",
                "`max.in.flight` is `10`: `max.in.flight` must be set <=",
            ),
            ("linger.ms: 5000\ndelivery.timeout.ms: 1000", "3:22", "greater than `linger.ms`"),
            (
                "security.protocol: ssl\nssl.ca.location: /nope.pem",
                "3:18",
                "`/nope.pem`, which cannot be read: No such file",
            ),
            (
                "security.protocol: ssl\nssl.ca.location: /proc/self/status",
                "3:18",
                "ssl.ca.location failed",
            ),
            (
                "security.protocol: sasl_plaintext\nsasl.mechanism: PLAIN",
                "1:1",
                "help: add `sasl.username` and `sasl.password: {file: PATH}`",
            ),
            ("linger.ms: 5000", "", ""),
        ] {
            let text = format!("bootstrap.servers: a:1\n{text}\n");
            let document = parse("agent.yaml", &text).unwrap();
            let mut faults = Faults::new(document.source.clone());
            let read = Properties::read(&document.root, "kafka", Role::Producer, &mut faults);
            read.unwrap().try_client(&document.root, &mut faults);
            let shown = render_all(&faults.into_list(), false);
            assert!(shown.contains(said), "{text}{shown}");
            let begin = if place.is_empty() { "" } else { &format!("agent.yaml:{place}: error") };
            assert!(shown.starts_with(begin) && shown.is_empty() == place.is_empty(), "{shown}");
        }
    }
}
