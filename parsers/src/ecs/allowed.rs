//! The words of the fields of categorisation.

/// Names of the fields for which ECS allows only certain words.
pub(crate) const FIELDS: [&str; 4] =
    ["event.kind", "event.category", "event.type", "event.outcome"];

/// The words that ECS allows for a field; `None` if any will do.
pub(crate) fn allowed(name: &str) -> Option<&'static [&'static str]> {
    let words: &[&str] = match name {
        "event.kind" => &[
            "alert",
            "asset",
            "enrichment",
            "event",
            "metric",
            "state",
            "pipeline_error",
            "signal",
        ],
        "event.category" => &[
            "api",
            "authentication",
            "configuration",
            "database",
            "driver",
            "email",
            "file",
            "host",
            "iam",
            "intrusion_detection",
            "library",
            "malware",
            "network",
            "package",
            "process",
            "registry",
            "session",
            "threat",
            "vulnerability",
            "web",
        ],
        "event.type" => &[
            "access",
            "admin",
            "allowed",
            "change",
            "connection",
            "creation",
            "deletion",
            "denied",
            "device",
            "end",
            "error",
            "group",
            "indicator",
            "info",
            "installation",
            "protocol",
            "start",
            "user",
        ],
        "event.outcome" => &["failure", "success", "unknown"],
        _ => return None,
    };
    Some(words)
}
