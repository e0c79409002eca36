//! Any pattern compiles or is refused, any text is a time or none, and what is written is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir_parsers::Zone;
use logweir_parsers::time::{TimeContext, TimeFormat, write_rfc3339};

const NAMES: [&str; 9] = [
    "rfc3339",
    "rfc3164",
    "clf",
    "apache_error",
    "unix",
    "unix_ms",
    "unix_us",
    "unix_ns",
    "%Y%j %s %Z",
];

fuzz_target!(|input: (&str, &[u8], i64)| {
    let (pattern, text, received_unix_nanos) = input;
    let zone = Zone::parse("Europe/Berlin").expect("a known zone");
    let context = TimeContext { received_unix_nanos, zone: &zone };
    for name in NAMES.into_iter().chain([pattern]) {
        if let Ok(format) = TimeFormat::compile(name) {
            let _ = format.parse(text, &context);
        }
    }
    let _ = Zone::parse(pattern);
    let mut written = Vec::new();
    write_rfc3339(&mut written, received_unix_nanos);
    let format = TimeFormat::compile("rfc3339").expect("a known format");
    assert_eq!(format.parse(&written, &context), Some(received_unix_nanos));
});
