//! The property names: librdkafka's own, and what becomes of the names that only Java's client has.
//!
//! Source: the configuration reference of librdkafka 2.12 and of Apache Kafka 4.1. Properties that
//! take a pointer of a program (callbacks, opaque) are left out.

use super::Role;

/// Names with a role apply to that role only: `/P` producer, `/C` consumer.
const NAMES: &str = "
acks/P allow.auto.create.topics/C api.version.fallback.ms api.version.request
api.version.request.timeout.ms auto.commit.interval.ms/C auto.offset.reset/C batch.num.messages/P
batch.size/P bootstrap.servers broker.address.family broker.address.ttl broker.version.fallback
check.crcs/C client.dns.lookup client.id client.rack compression.level/P compression.type/P
connections.max.idle.ms coordinator.query.interval.ms/C debug delivery.report.only.error/P
delivery.timeout.ms/P enable.auto.commit/C enable.auto.offset.store/C enable.gapless.guarantee/P
enable.idempotence/P enable.metrics.push enable.partition.eof/C enable.random.seed
enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification fetch.error.backoff.ms/C
fetch.max.bytes/C fetch.min.bytes/C fetch.queue.backoff.ms/C fetch.wait.max.ms/C group.id/C
group.instance.id/C group.protocol.type/C group.protocol/C group.remote.assignor/C
heartbeat.interval.ms/C https.ca.location https.ca.pem isolation.level/C linger.ms/P
log.connection.close log.thread.name log_level max.in.flight.requests.per.connection
max.partition.fetch.bytes/C max.poll.interval.ms/C message.copy.max.bytes message.max.bytes
metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy
partition.assignment.strategy/C partitioner/P plugin.library.paths
queue.buffering.backpressure.threshold/P queue.buffering.max.kbytes/P
queue.buffering.max.messages/P queued.max.messages.kbytes/C queued.min.messages/C
receive.message.max.bytes reconnect.backoff.max.ms reconnect.backoff.ms request.timeout.ms/P
retries/P retry.backoff.max.ms retry.backoff.ms sasl.kerberos.keytab sasl.kerberos.kinit.cmd
sasl.kerberos.min.time.before.relogin sasl.kerberos.principal sasl.kerberos.service.name
sasl.mechanism sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file
sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.config
sasl.oauthbearer.extensions sasl.oauthbearer.grant.type
sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method sasl.oauthbearer.scope
sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol
session.timeout.ms/C socket.blocking.max.ms socket.connection.setup.timeout.ms
socket.keepalive.enable socket.max.fails socket.nagle.disable socket.receive.buffer.bytes
socket.send.buffer.bytes socket.timeout.ms ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem
ssl.certificate.location ssl.certificate.pem ssl.cipher.suites ssl.crl.location ssl.curves.list
ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location ssl.key.location
ssl.key.password ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.providers
ssl.sigalgs.list statistics.interval.ms sticky.partitioning.linger.ms/P topic.blacklist
topic.metadata.propagation.max.ms topic.metadata.refresh.fast.interval.ms
topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse transaction.timeout.ms/P
transactional.id/P";

/// A second name of the same property, in librdkafka itself or in Java's client, and the one we use.
const RENAMED: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("max.request.size", "message.max.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("compression.gzip.level", "compression.level"),
    ("compression.lz4.level", "compression.level"),
    ("compression.zstd.level", "compression.level"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
    ("socket.connection.setup.timeout.max.ms", "socket.connection.setup.timeout.ms"),
];

const TOKEN_IN_FILE: &str =
    "tokens come from a file: write `sasl.oauthbearer.token.endpoint.url: file:///PATH`";

/// Java's names that carry a meaning which has to be said otherwise here.
const SAID_OTHERWISE: &[(&str, &str)] = &[
    ("ssl.truststore.location", "give the certificates as a PEM file in `ssl.ca.location`"),
    (
        "ssl.truststore.password",
        "PEM files of certificates have no password; use `ssl.ca.location`",
    ),
    ("sasl.jaas.config", "use `sasl.username` and `sasl.password.file`"),
    ("sasl.login.callback.handler.class", TOKEN_IN_FILE),
    ("sasl.oauthbearer.jwt.retriever.class", TOKEN_IN_FILE),
    ("transaction.two.phase.commit.enable", "transactions are not used; remove it"),
];

/// Java's names without a meaning here; they do no harm.
const MEANINGLESS: &[&str] = &[
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "interceptor.classes",
    "partitioner.class",
    "partitioner.ignore.keys",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "metadata.max.idle.ms",
    "max.poll.records",
    "default.api.timeout.ms",
    "max.block.ms",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "security.providers",
    "ssl.enabled.protocols",
    "ssl.protocol",
    "ssl.keystore.type",
    "ssl.truststore.type",
    "exclude.internal.topics",
    "internal.leave.group.on.close",
    "auto.include.jmx.reporter",
];

/// What a name of a property means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// librdkafka's property of this name, for one role or for both.
    Known(&'static str, Option<Role>),
    /// Java's `buffer.memory`, in bytes.
    BufferMemory,
    /// Has to be said otherwise: the remedy.
    SaidOtherwise(&'static str),
    Meaningless,
    Unknown,
}

pub(super) fn meaning(name: &str) -> Meaning {
    if name == "buffer.memory" {
        return Meaning::BufferMemory;
    }
    if let Some((_, remedy)) = SAID_OTHERWISE.iter().find(|(java, _)| *java == name) {
        return Meaning::SaidOtherwise(remedy);
    }
    if MEANINGLESS.contains(&name) {
        return Meaning::Meaningless;
    }
    let renamed = RENAMED.iter().find(|(other, _)| *other == name);
    let wanted = renamed.map_or(name, |(_, ours)| ours);
    known()
        .find(|(known, _)| *known == wanted)
        .map_or(Meaning::Unknown, |(known, role)| Meaning::Known(known, role))
}

/// Every name that may be written, for finding the nearest one.
pub(super) fn writable() -> impl Iterator<Item = &'static str> {
    let second = RENAMED.iter().map(|(name, _)| *name);
    known().map(|(name, _)| name).chain(second).chain(["buffer.memory"])
}

/// The role of the properties that `name` leads to; `None` if it may be written for both.
pub(super) fn role_of(name: &str) -> Option<Role> {
    match meaning(name) {
        Meaning::Known(_, role) => role,
        Meaning::BufferMemory => Some(Role::Producer),
        _ => None,
    }
}

/// Every property of librdkafka with its role.
pub(super) fn known() -> impl Iterator<Item = (&'static str, Option<Role>)> {
    NAMES.split_whitespace().map(|entry| match entry.split_once('/') {
        Some((name, "P")) => (name, Some(Role::Producer)),
        Some((name, _)) => (name, Some(Role::Consumer)),
        None => (entry, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::config::ClientConfig;
    use rdkafka::error::KafkaError;
    use rdkafka::types::RDKafkaConfRes;

    #[test]
    fn every_listed_name_is_one_that_librdkafka_knows() {
        for (name, _) in known() {
            let outcome = ClientConfig::new().set(name, "\u{1}").create_native_config();
            if let Err(KafkaError::ClientConfig(code, reason, ..)) = outcome {
                let unknown = code == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;
                assert!(!unknown, "{name}: {reason}");
            }
        }
    }

    #[test]
    fn every_second_name_leads_to_a_known_one() {
        for (other, ours) in RENAMED {
            assert!(matches!(meaning(other), Meaning::Known(name, _) if name == *ours), "{other}");
        }
    }
}
