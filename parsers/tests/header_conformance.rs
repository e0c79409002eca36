//! Syslog headers of the RFCs, of other implementations' tests and of vendors' devices, each with the
//! fields that its origin expects and the licence under which it is given.
//!
//! `valid: false` says that a strict parser refuses the line; here it must be kept whole.

use logweir_parsers::Zone;
use logweir_parsers::header::{self, Header};
use logweir_parsers::time::{TimeContext, TimeFormat, write_rfc3339};
use serde_json::Value;

const SAMPLES: &str = include_str!("data/syslog_headers.jsonl");
/// 2026-11-28T12:00:00Z
const RECEIVED_UNIX_NANOS: i64 = 1_795_867_200_000_000_000;

fn samples() -> impl Iterator<Item = Value> {
    SAMPLES.lines().map(|line| serde_json::from_str(line).expect("a sample is JSON"))
}

/// The header's fields under the names that the samples use.
fn field(header: &Header<'_>, name: &str) -> String {
    let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
    match name {
        "priority" => header.priority.map_or(String::new(), |number| number.to_string()),
        "version" => header.version.to_string(),
        "hostname" => text(header.hostname),
        "program" => text(header.program),
        "pid" => text(header.pid),
        "message_id" => text(header.message_id),
        "message" => text(Some(header.message)),
        "timestamp" => header.timestamp.map_or(String::new(), |time| {
            let mut out = Vec::new();
            write_rfc3339(&mut out, time.unix_nanos);
            text(Some(&out))
        }),
        other => panic!("unknown field {other}"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A sample's time lacks its year where the line does.
fn same_time(got: &str, expected: &str) -> bool {
    let zone = Zone::utc();
    let context = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
    let format = TimeFormat::compile("rfc3339").expect("a known format");
    let year = if expected.starts_with('-') { got.get(..4).unwrap_or("") } else { "" };
    let nanos = |text: String| format.parse(text.as_bytes(), &context);
    nanos(got.to_owned()).is_some_and(|time| Some(time) == nanos(format!("{year}{expected}")))
}

/// What differs, one text a field.
fn differences(sample: &Value) -> Vec<String> {
    let zone = Zone::utc();
    let context = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
    let line = sample["line"].as_str().expect("a sample has a line");
    let header = header::parse(line.as_bytes(), &context);
    let mut differences = Vec::new();
    for (name, expected) in sample["expect"].as_object().expect("a sample has fields") {
        let (got, expected) = (field(&header, name), plain(expected));
        let same = if name == "timestamp" { same_time(&got, &expected) } else { got == expected };
        if !same {
            differences.push(format!("{name}: got {got:?}, expected {expected:?}"));
        }
    }
    differences
}

#[test]
fn every_valid_header_has_the_fields_that_its_origin_expects() {
    let mut report = String::new();
    for sample in samples().filter(|sample| sample["valid"] == true) {
        let differences = differences(&sample);
        if !differences.is_empty() {
            report += &format!("{}\n    {}\n", sample["line"], differences.join("\n    "));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn what_a_strict_parser_refuses_is_kept() {
    let zone = Zone::utc();
    let context = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
    for sample in samples() {
        let line = sample["line"].as_str().expect("a sample has a line").as_bytes();
        let header = header::parse(line, &context);
        assert!(line.ends_with(header.message), "{}", sample["line"]);
    }
}
