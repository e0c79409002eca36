//! The properties that most configurations name, described for the references of the programs.

use logweir_document::reference::{Key, Kind, Value};

pub const BOOTSTRAP_SERVERS: Key = Key::new(
    "bootstrap.servers",
    Kind::Text,
    Value::Required("'kafka1:9092,kafka2:9092'"),
    "brokers to begin with, `host:port`, separated by commas",
)
.formerly(&["brokers", "hosts", "bootstrap_servers"]);
pub const SECURITY_PROTOCOL: Key = Key::new(
    "security.protocol",
    Kind::Text,
    Value::Apart("SASL_SSL"),
    "`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`",
);
pub const SSL_CA_LOCATION: Key = Key::new(
    "ssl.ca.location",
    Kind::Text,
    Value::Apart("/etc/logweir/kafka-ca.pem"),
    "the certificates, PEM, that vouch for the brokers; those of the system if left out",
);
pub const SSL_CERTIFICATE_LOCATION: Key = Key::new(
    "ssl.certificate.location",
    Kind::Text,
    Value::Apart("/etc/logweir/kafka.pem"),
    "the own certificate, for mutual TLS",
);
pub const SSL_KEY_LOCATION: Key = Key::new(
    "ssl.key.location",
    Kind::Text,
    Value::Apart("/etc/logweir/kafka.key"),
    "its key; not everybody may be able to read the file",
);
pub const SASL_MECHANISM: Key = Key::new(
    "sasl.mechanism",
    Kind::Text,
    Value::Apart("SCRAM-SHA-512"),
    "how to log in: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`",
);
pub const SASL_USERNAME: Key =
    Key::new("sasl.username", Kind::Text, Value::Apart("logweir"), "as whom to log in");
pub const SASL_TOKEN: Key = Key::new(
    "sasl.oauthbearer.token.endpoint.url",
    Kind::Text,
    Value::Apart("file:///run/logweir/kafka.token"),
    "the file, as `file:///PATH`, in which another program renews the token of `OAUTHBEARER`",
);
pub const SASL_PASSWORD: Key = Key::new(
    "sasl.password",
    Kind::Secret,
    Value::Apart("{file: /etc/logweir/kafka.password}"),
    "where the password is, see [Secrets](config.md#secrets)",
);
