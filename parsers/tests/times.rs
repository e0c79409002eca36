//! Times as logs write them: years that are left out, leap seconds, the edges of days, and the hours
//! that daylight saving skips and repeats.

use logweir_parsers::Zone;
use logweir_parsers::time::{TimeContext, TimeFormat, write_rfc3339};

fn nanos(format: &str, text: &str, received: &str, zone: &str) -> Option<i64> {
    let utc = Zone::utc();
    let context = TimeContext { received_unix_nanos: 0, zone: &utc };
    let rfc3339 = TimeFormat::compile("rfc3339").expect("a known format");
    let received_unix_nanos = rfc3339.parse(received.as_bytes(), &context).expect("a time");
    let zone = Zone::parse(zone).expect("a known zone");
    let context = TimeContext { received_unix_nanos, zone: &zone };
    TimeFormat::compile(format).expect("a format").parse(text.as_bytes(), &context)
}

fn check(format: &str, text: &str, received: &str, zone: &str, expected: Option<&str>) {
    let got = nanos(format, text, received, zone).map(|nanos| {
        let mut out = Vec::new();
        write_rfc3339(&mut out, nanos);
        String::from_utf8(out).expect("what is written is ASCII")
    });
    assert_eq!(got.as_deref(), expected, "{text:?} as {format} in {zone}, read at {received}");
}

#[test]
fn a_year_that_is_left_out_is_found_at_every_edge() {
    for (text, received, expected) in [
        ("Jan  1 00:00:00", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00.000Z"),
        ("Dec 31 23:59:59", "2027-01-01T00:00:00Z", "2026-12-31T23:59:59.000Z"),
        ("Jan  1 00:00:05", "2026-12-31T23:59:59Z", "2027-01-01T00:00:05.000Z"),
        ("Dec 31 23:59:59", "2026-12-31T23:59:59Z", "2026-12-31T23:59:59.000Z"),
        ("Dec  1 00:00:00", "2027-01-15T00:00:00Z", "2026-12-01T00:00:00.000Z"),
        ("Feb  1 00:00:00", "2027-01-15T00:00:00Z", "2027-02-01T00:00:00.000Z"),
        ("Mar  1 00:00:00", "2027-01-15T00:00:00Z", "2026-03-01T00:00:00.000Z"),
        ("Feb 29 12:00:00", "2028-02-29T12:00:01Z", "2028-02-29T12:00:00.000Z"),
        ("Feb 29 12:00:00", "2028-01-10T00:00:00Z", "2024-02-29T12:00:00.000Z"),
        ("Feb 29 12:00:00", "2028-02-10T00:00:00Z", "2028-02-29T12:00:00.000Z"),
        ("Feb 29 12:00:00", "2027-06-01T00:00:00Z", "2024-02-29T12:00:00.000Z"),
        ("Feb 29 12:00:00", "2103-06-01T00:00:00Z", "2096-02-29T12:00:00.000Z"),
    ] {
        check("rfc3164", text, received, "UTC", Some(expected));
    }
    // In Auckland it is tomorrow already.
    check(
        "rfc3164",
        "Jan  1 08:00:00",
        "2026-12-31T19:00:00Z",
        "Pacific/Auckland",
        Some("2026-12-31T19:00:00.000Z"),
    );
    check("rfc3164", "Feb 30 12:00:00", "2028-02-10T00:00:00Z", "UTC", None);
}

#[test]
fn leap_seconds_and_midnights_are_the_moment_after() {
    const READ: &str = "2026-11-28T12:00:00Z";
    for zone in ["UTC", "Etc/UTC"] {
        for (text, expected) in [
            ("2016-12-31 23:59:60", Some("2017-01-01T00:00:00.000Z")),
            ("2016-12-31 23:59:60.5", Some("2017-01-01T00:00:00.500Z")),
            ("2016-06-30 11:59:60", Some("2016-06-30T12:00:00.000Z")),
            ("2026-02-28 24:00:00", Some("2026-03-01T00:00:00.000Z")),
            ("2026-12-31 24:00:00", Some("2027-01-01T00:00:00.000Z")),
            ("2026-02-28 24:00:01", None),
            ("2026-02-28 24:30:00", None),
            ("2026-02-28 25:00:00", None),
            ("2026-02-28 10:60:00", None),
            ("2026-02-28 10:00:61", None),
        ] {
            check("%Y-%m-%d %H:%M:%S", text, READ, zone, expected);
        }
    }
    let tokyo = Some("2017-01-01T00:00:00.000Z");
    check("%Y-%m-%d %H:%M:%S", "2017-01-01 08:59:60", READ, "Asia/Tokyo", tokyo);
    let (text, berlin) = ("2026-12-31 23:59:60", Some("2026-12-31T23:00:00.000Z"));
    check("%Y-%m-%d %H:%M:%S", text, READ, "Europe/Berlin", berlin);
}

#[test]
fn daylight_saving_skips_forward_and_takes_the_first_of_two() {
    const READ: &str = "2026-11-28T12:00:00Z";
    for (text, zone, expected) in [
        ("2026-03-29 01:59:59", "Europe/Berlin", "2026-03-29T00:59:59.000Z"),
        ("2026-03-29 02:30:00", "Europe/Berlin", "2026-03-29T01:30:00.000Z"),
        ("2026-03-29 03:00:00", "Europe/Berlin", "2026-03-29T01:00:00.000Z"),
        ("2026-10-25 02:30:00", "Europe/Berlin", "2026-10-25T00:30:00.000Z"),
        ("2026-10-25 03:00:00", "Europe/Berlin", "2026-10-25T02:00:00.000Z"),
        ("2026-03-08 02:30:00", "America/New_York", "2026-03-08T07:30:00.000Z"),
        ("2026-11-01 01:30:00", "America/New_York", "2026-11-01T05:30:00.000Z"),
        ("2026-04-05 01:45:00", "Australia/Lord_Howe", "2026-04-04T14:45:00.000Z"),
        ("2026-07-01 12:00:00", "Asia/Kolkata", "2026-07-01T06:30:00.000Z"),
        ("2026-07-01 12:00:00", "-03:30", "2026-07-01T15:30:00.000Z"),
        ("2026-07-01 12:00:00", "+0545", "2026-07-01T06:15:00.000Z"),
    ] {
        check("%Y-%m-%d %H:%M:%S", text, READ, zone, Some(expected));
    }
}

#[test]
fn texts_that_only_resemble_a_time_are_none() {
    const READ: &str = "2026-11-28T12:00:00Z";
    for (format, text) in [
        ("rfc3339", ""),
        ("rfc3339", "2026-11-28"),
        ("rfc3339", "2026-11-28T12:00:00Zx"),
        ("rfc3339", "2026-11-28T12:00:00+99:00"),
        ("rfc3339", "2026-13-28T12:00:00Z"),
        ("rfc3339", "2026-11-28T12:00:00."),
        ("rfc3164", "Nov 28"),
        ("rfc3164", "Nov 28 12:00"),
        ("rfc3164", "Foo 28 12:00:00"),
        ("rfc3164", "Nov 31 12:00:00"),
        ("clf", "22/Nov/2026:18:21:01"),
        ("clf", "22/11/2026:18:21:01 +0900"),
        ("unix", ""),
        ("unix", "-"),
        ("unix", "12x"),
        ("unix", "1."),
        ("unix", "99999999999999"),
        ("%I:%M %p %Y-%m-%d", "10:00 XM 2026-01-01"),
        ("%Y%j", "2026000"),
        ("%Y%j", "2026366"),
    ] {
        check(format, text, READ, "UTC", None);
    }
    check("%Y%j", "2024366", READ, "UTC", Some("2024-12-31T00:00:00.000Z"));
    check("unix", "-0.5", READ, "UTC", Some("1969-12-31T23:59:59.500Z"));
}

/// Both sides of midnight, read five minutes to either side, with the clocks of sender and receiver
/// in different zones.
#[test]
fn newyear() {
    for (text, received, zone, expected) in [
        ("Dec 31 23:59:59", "2026-12-31T23:59:59Z", "UTC", "2026-12-31T23:59:59.000Z"),
        ("Dec 31 23:55:00", "2027-01-01T00:04:59Z", "UTC", "2026-12-31T23:55:00.000Z"),
        ("Jan  1 00:04:59", "2026-12-31T23:55:00Z", "UTC", "2027-01-01T00:04:59.000Z"),
        ("Jan  1 00:00:00", "2027-01-01T00:04:59Z", "UTC", "2027-01-01T00:00:00.000Z"),
        ("Jan  1 00:59:59", "2026-12-31T23:59:59Z", "Europe/Berlin", "2026-12-31T23:59:59.000Z"),
        ("Dec 31 18:59:59", "2026-12-31T23:59:59Z", "America/New_York", "2026-12-31T23:59:59.000Z"),
        ("Dec 31 19:00:00", "2027-01-01T00:00:00Z", "America/New_York", "2027-01-01T00:00:00.000Z"),
    ] {
        check("rfc3164", text, received, zone, Some(expected));
    }
}
