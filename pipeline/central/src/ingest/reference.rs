//! The settings of the ingest, described: what docs/config-ingest.md, the sample and the schema are
//! made of. A test compares it with what the reader asks for; see [`logweir_document::reference`].

use super::config::{FLUSH_INTERVAL_MAX, MEMORY_MIN};
use crate::sinks::{BATCH_BYTES_MAX, WORKERS_MAX};
use logweir_agent::LOG_REFERENCE;
use logweir_document::DURATION_MAX;
use logweir_document::reference::{Key, Kind, List, Others, Section, Value, Variant};
use logweir_kafka::properties::{Role, described, keys};
use std::time::Duration;

const ANY_DURATION: Kind = Kind::Duration(Duration::ZERO, DURATION_MAX);
const ANY_SIZE: Kind = Kind::Size(0, u64::MAX);

/// All of it.
pub static REFERENCE: Section = Section::of(
    "",
    &[
        Key::new("topic", Kind::Text, Value::Default("logweir.events"), "the topic of the events"),
        Key::new(
            "workers",
            Kind::Cores(1024),
            Value::Default("cores"),
            "consumers, each on a thread of its own; more than the topic has partitions are idle",
        ),
        Key::new(
            "pin",
            Kind::Boolean,
            Value::Default("false"),
            "each worker stays on a core of its own, of those that the process may use",
        ),
        Key::new(
            "memory_max",
            Kind::Size(MEMORY_MIN, u64::MAX),
            Value::Computed("256MiB for each worker", "512MiB"),
            "what all workers may hold of events: an eighth is fetched ahead, a worker writes once a \
quarter waits, the rest is for making files of it",
        ),
        Key::new("kafka", Kind::Section(&KAFKA), Value::Required(""), "Where events come from."),
        Key::new("store", Kind::Section(&STORE), Value::Required(""), "The table."),
        Key::new(
            "sinks",
            Kind::List(&SINKS),
            Value::Optional(""),
            "Where events go besides the table, see [sinks.md](sinks.md).",
        ),
        Key::new(
            "status",
            Kind::Section(&STATUS),
            Value::Inner,
            "Questions to the running ingest, see [ingest-status.md](ingest-status.md).",
        ),
        Key::new(
            "metrics",
            Kind::Section(&METRICS),
            Value::Inner,
            "Answers for Prometheus, see [ingest-status.md](ingest-status.md). None are given without \
this section.",
        ),
        Key::new(
            "log",
            Kind::Section(&LOG_REFERENCE),
            Value::Inner,
            "What the ingest says about itself.",
        ),
    ],
);

static STATUS: Section = Section::of(
    "",
    &[Key::new(
        "socket",
        Kind::Text,
        Value::Computed("`/run/logweir/ingest.sock`", "/run/logweir/ingest.sock"),
        "the path of a unix socket at which the ingest is asked how it goes",
    )],
);

static METRICS: Section = Section::of(
    "",
    &[Key::new(
        "listen",
        Kind::Text,
        Value::Required("'127.0.0.1:9599'"),
        "a loopback address, or `unix:` and the path of a socket",
    )],
);

static KAFKA: Section = Section {
    about: "Every property of a consumer, under the name that Kafka or librdkafka gives it. Names of \
Java's client are translated; those that cannot be are reported with what to write instead. Values \
are tried when the file is read.",
    keys: &[
        keys::BOOTSTRAP_SERVERS,
        Key::new(
            "group.id",
            Kind::Text,
            Value::Default("logweir-ingest"),
            "the consumer group; those of the sinks are named after it",
        )
        .formerly(&["group", "group_id"]),
        keys::SECURITY_PROTOCOL,
        keys::SSL_CA_LOCATION,
        keys::SSL_CERTIFICATE_LOCATION,
        keys::SSL_KEY_LOCATION,
        keys::SASL_MECHANISM,
        keys::SASL_USERNAME,
        keys::SASL_PASSWORD,
        keys::SASL_TOKEN,
    ],
    others: Some(Others {
        about: "Defaults that are not Kafka's own:",
        names: || described(Role::Consumer),
    }),
};

static STORE: Section = Section::of(
    "",
    &[
        Key::new(
            "path",
            Kind::Text,
            Value::Required("/var/lib/logweir/table"),
            "a directory, or `s3://…`, `gs://…`, `az://…`, see [ingest.md](ingest.md)",
        ),
        Key::new(
            "flush.interval",
            Kind::Duration(Duration::ZERO, FLUSH_INTERVAL_MAX),
            Value::Default("500ms"),
            "how long an event may wait in a worker: analysts see it about this late, and each flush \
is one commit of the table",
        ),
        Key::new(
            "flush.bytes",
            ANY_SIZE,
            Value::Default("64MiB"),
            "a worker writes earlier once it holds this much of a partition",
        ),
        Key::new(
            "retention",
            ANY_DURATION,
            Value::Optional("90d"),
            "whole days older than this are removed; everything is kept if left out",
        ),
    ],
);

static SINKS: List = List {
    common: &COMMON,
    variants: &[
        Variant { name: "opensearch", section: &BULK },
        Variant { name: "elasticsearch", section: &BULK },
        Variant { name: "clickhouse", section: &CLICKHOUSE },
        Variant { name: "ndjson", section: &NDJSON },
        Variant { name: "stdout", section: &STDOUT },
    ],
};

static COMMON: Section = Section::of(
    "Every sink can have:",
    &[
        Key::new(
            "type",
            Kind::Choice(&["opensearch", "elasticsearch", "clickhouse", "ndjson", "stdout"]),
            Value::Required("opensearch"),
            "what kind of sink it is",
        ),
        Key::new(
            "name",
            Kind::Text,
            Value::Computed("`type`", "archive"),
            "names the sink in logs and its consumer group, `<group.id>.<name>`",
        ),
        Key::new(
            "workers",
            Kind::Integer(1, WORKERS_MAX),
            Value::Default("1"),
            "consumers of this sink in this process, a thread each",
        ),
        Key::new(
            "batch.bytes",
            Kind::Size(1, BATCH_BYTES_MAX),
            Value::Default("8MiB"),
            "a batch is written when it holds this much …",
        ),
        Key::new("batch.interval", ANY_DURATION, Value::Default("1s"), "… or is this old"),
    ],
);

const URL: Key = Key::new(
    "url",
    Kind::Text,
    Value::Required("'https://search1:9200,https://search2:9200'"),
    "one server or several, separated by commas; the next one is asked after a failure",
)
.formerly(&["hosts", "endpoint", "endpoints"]);
const USER: Key = Key::new("user", Kind::Text, Value::Apart("logweir"), "as whom to log in")
    .formerly(&["username"]);
const PASSWORD: Key = Key::new(
    "password",
    Kind::Secret,
    Value::Apart("{file: /etc/logweir/search.password}"),
    "where the password is, see [Secrets](config.md#secrets)",
);
const PASSWORD_FILE: Key = Key::new(
    "password_file",
    Kind::Text,
    Value::Apart("/etc/logweir/search.password"),
    "the same as `password: {file: …}`",
);
const CA_FILE: Key = Key::new(
    "ca_file",
    Kind::Text,
    Value::Apart("/etc/logweir/search-ca.pem"),
    "a certificate in PEM to trust instead of those of the system",
);

static BULK: Section = Section::of(
    "OpenSearch and Elasticsearch.",
    &[
        URL,
        USER,
        PASSWORD,
        PASSWORD_FILE,
        CA_FILE,
        Key::new(
            "data_stream",
            Kind::Text,
            Value::Default("logs-logweir-default"),
            "the data stream; lower-case letters, digits, `-`, `_`, `.`",
        )
        .formerly(&["index"]),
    ],
);

static CLICKHOUSE: Section = Section::of(
    "ClickHouse.",
    &[
        URL,
        USER,
        PASSWORD,
        PASSWORD_FILE,
        CA_FILE,
        Key::new("database", Kind::Text, Value::Default("default"), "the database"),
        Key::new("table", Kind::Text, Value::Default("logweir_events"), "the table; it is created"),
    ],
);

static NDJSON: Section = Section::of(
    "Files of JSON lines.",
    &[
        Key::new("path", Kind::Text, Value::Required("/var/lib/logweir/archive"), "the directory"),
        Key::new(
            "rotate.bytes",
            ANY_SIZE,
            Value::Default("256MiB"),
            "a file that holds this much is followed by a new one",
        ),
    ],
);

static STDOUT: Section = Section::of("Standard output, a JSON line for each event.", &[]);
