//! Headers against those that `syslog_loose` reads: over the lines of all shipped samples, where each
//! difference has to have a reason, and over headers put together from parts, where there is none.

use logweir_parsers::header::{self, Header, Memo};
use logweir_parsers::samples::RECEIVED_UNIX_NANOS;
use logweir_parsers::time::TimeContext;
use logweir_parsers::{RuleSet, Zone};
use syslog_loose::{Message, ProcId, Variant, decompose_pri};

fn ours<'l>(line: &'l str, zone: &Zone) -> Header<'l> {
    let context = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone };
    header::parse(line.as_bytes(), &context)
}

/// Lines count as read in the middle of 2026, so that months up to July are of that year.
fn theirs(line: &str) -> Message<&str> {
    let year = |(month, ..): syslog_loose::IncompleteDate| if month <= 7 { 2026 } else { 2025 };
    syslog_loose::parse_message_with_year(line, year, Variant::Either)
}

/// What both know of a header, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    host: String,
    program: String,
    pid: String,
    message_id: String,
    message: String,
}

fn parts_of_ours(header: &Header<'_>) -> Parts {
    let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
    Parts {
        host: text(header.hostname),
        program: text(header.program),
        pid: text(header.pid),
        message_id: text(header.message_id),
        message: text(Some(header.message)),
    }
}

fn parts_of_theirs(message: &Message<&str>) -> Parts {
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    Parts {
        host: text(message.hostname),
        program: text(message.appname),
        pid: match message.procid {
            Some(ProcId::PID(number)) => number.to_string(),
            Some(ProcId::Name(name)) => name.to_owned(),
            None => String::new(),
        },
        message_id: text(message.msgid),
        message: message.msg.to_owned(),
    }
}

/// It trims the line at both ends, and the message of its leading spaces and of one `-`.
fn same_message(ours: &str, theirs: &str) -> bool {
    let ours = ours.trim_end();
    let begun = ours.strip_suffix(theirs.trim_end());
    begun.is_some_and(|begun| begun.matches('-').count() <= 1 && begun.trim().len() <= 1)
}

/// Why the two may differ, in what it says and we do not.
fn reason(line: &str, ours: &Parts, theirs: &Parts) -> Option<&'static str> {
    let behind = |text: &str| line.split_once(text).map_or("", |(_, behind)| behind);
    if theirs.message == line {
        return Some("it has found no header");
    }
    if ours.message == line {
        return Some("a time alone makes a line of an application no line of syslog");
    }
    if ours.program.is_empty() && theirs.program.starts_with('%') {
        return Some("the name of a message of Cisco's belongs to the message");
    }
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if ours.program.is_empty() && number(&theirs.program) && ours.message.starts_with('%') {
        return Some("a sequence number of Cisco's behind a relay's header is no program");
    }
    if ours.program.is_empty() && theirs.program.starts_with('(') {
        return Some("what stands in parentheses alone is no program");
    }
    if !ours.pid.is_empty() && theirs.message.starts_with(&format!("{} - ", ours.pid)) {
        return Some("RFC 5424 is known without its priority and version, too");
    }
    if ours.program.is_empty() && theirs.program.contains("](") {
        return Some("the level behind the number of a process is no part of a program's name");
    }
    if ours.host.is_empty() && theirs.host.contains('[') {
        return Some("a program with its process id is no host");
    }
    let coloned = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if ours.host.is_empty()
        && line.split(": ").next().is_some_and(|time| time.rsplit(':').take(2).all(coloned))
    {
        return Some(
            "behind a time with a colon, which is Cisco's, a rule tells whether there is a host",
        );
    }
    if ours.program.is_empty() && theirs.program.matches('[').count() > 1 {
        return Some("brackets within brackets are no process id; a rule tells what they are");
    }
    if ours.program.is_empty() && !theirs.program.is_empty() {
        let colon = behind(&format!("{}:", theirs.program));
        let spaced = colon.starts_with(' ');
        return (!spaced).then_some("a word without a colon and a space is no program");
    }
    let inner = theirs.message.strip_suffix(&*ours.message).unwrap_or_default();
    if line.contains(">1 ") && inner.contains(&format!(" {} {}", ours.host, ours.program)) {
        return Some("what a relay has put into RFC 5424 has a header of its own");
    }
    if ours.host.is_empty() && theirs.host == ours.program {
        return Some("a word with a colon is no host");
    }
    let name = ours.message.split([' ', ']']).next().unwrap_or_default();
    if name.starts_with('[') && name.contains('"') {
        return Some("an element whose name holds a quote is none of structured data");
    }
    if ours.message.starts_with('[') && !line.contains(">1 ") {
        return Some("only RFC 5424 has structured data");
    }
    if ours.message.starts_with("- - - - ") && theirs.host.is_empty() {
        return Some("the fields of RFC 5424 without a priority in front are no header");
    }
    if ours.host.is_empty() && line.get(15..17) == Some("  ") {
        return Some("an empty host is none, and the program comes behind it");
    }
    if theirs.message == format!("[ID {}] {}", ours.message_id, ours.message) {
        return Some("the id that Solaris gives a message is no part of it");
    }
    if theirs.message == format!("\u{feff}{}", ours.message) {
        return Some("the byte order mark in front of a message is no part of it");
    }
    if theirs.program == format!("{}]", ours.program) {
        return Some("a bracket that closes nothing is no part of the program's name");
    }
    if theirs.program.starts_with(&format!("{}(", ours.program)) {
        return Some("what stands in parentheses is no part of the program's name");
    }
    None
}

#[test]
fn headers_of_all_samples_differ_for_known_reasons_only() {
    let (zone, rules) = (Zone::utc(), RuleSet::shipped());
    let (mut equal, mut report) = (0, String::new());
    for (_, sample) in rules.samples() {
        let line = sample.line.as_str();
        let (we, they) = (parts_of_ours(&ours(line, &zone)), parts_of_theirs(&theirs(line)));
        let plain = Parts { message: they.message.clone(), ..we.clone() };
        if plain == they && same_message(&we.message, &they.message) {
            equal += 1;
        } else if reason(line, &we, &they).is_none() {
            report += &format!("{line}\n    ours:   {we:?}\n    theirs: {they:?}\n");
        }
    }
    assert!(report.is_empty(), "\n{report}");
    assert!(equal > 100, "only {equal} lines have the header that both read");
}

const HOSTS: [&str; 5] = ["web1", "10.1.2.3", "fe80::1:2", "db-1.example.org", "Mixed_Case"];
const MESSAGES: [&str; 7] =
    ["x", "a b: c[1]: d", " two spaces", "- dash", "key=value [x]", "\"quoted\"", "é ünïcode"];

/// Compares all parts and the time, and that nothing of the message is lost.
fn check(line: &str, message: &str) {
    let zone = Zone::utc();
    let header = ours(line, &zone);
    let oracle = theirs(line);
    let (we, they) = (parts_of_ours(&header), parts_of_theirs(&oracle));
    assert_eq!(we.message, message, "{line}");
    assert!(same_message(&we.message, &they.message), "{line}: {:?}", they.message);
    assert_eq!(Parts { message: they.message.clone(), ..we }, they, "{line}");
    let priority = header.priority.map(decompose_pri);
    assert_eq!(priority.unwrap_or_default(), (oracle.facility, oracle.severity), "{line}");
    // Without a zone it takes that of the machine.
    let time = header.timestamp.map(|time| time.unix_nanos);
    let expected = oracle.timestamp.and_then(|stamp| match header.timestamp?.zone_known {
        true => stamp.timestamp_nanos_opt(),
        false => stamp.naive_local().and_utc().timestamp_nanos_opt(),
    });
    assert!(time.is_some(), "{line}");
    assert_eq!(time, expected, "{line}");
}

#[test]
fn bsd_headers_put_together_are_read_alike() {
    let times = [
        "Jan  2 03:04:05",
        "Dec 31 23:59:59",
        "Jun 15 2024 12:00:00",
        "2026-06-01T10:00:00.123456+02:00",
        "2026-06-01T10:00:00Z",
    ];
    for priority in ["", "<0>", "<13>", "<191>"] {
        for time in times {
            for host in HOSTS {
                for tag in ["sshd[12]:", "kernel:", "postfix/smtpd[4]:", "a-b_c.d[7]:"] {
                    for message in MESSAGES {
                        check(&format!("{priority}{time} {host} {tag} {message}"), message);
                    }
                }
            }
        }
    }
}

#[test]
fn rfc5424_headers_put_together_are_read_alike() {
    let data = ["-", "[a@1 b=\"c\"]", "[a@1 b=\"c d\" e=\"\"][f]", "[a b=\"\\\"x\\] \\\\\"]"];
    for time in ["2026-06-01T10:00:00.123456Z", "2003-08-24T05:14:15.000003-07:00"] {
        for host in HOSTS.into_iter().chain(["-"]) {
            for names in ["app 12 ID47", "- - -", "app - ID47", "app name-12 -"] {
                for data in data {
                    for message in MESSAGES {
                        let line = format!("<165>1 {time} {host} {names} {data} {message}");
                        check(&line, message);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_remembered_of_the_line_before_changes_no_header() {
    let (zone, rules) = (Zone::utc(), RuleSet::shipped());
    let context = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
    let mut memo = Memo::default();
    let mut check = |line: &[u8]| {
        let expected = header::parse(line, &context);
        let got = header::parse_with(line, &context, &mut memo);
        assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{}", line.escape_ascii());
    };
    for (_, sample) in rules.samples() {
        let line = sample.line.as_bytes();
        // Headers end by then; a year or a zone may stand behind the time.
        for end in 0..line.len().min(48) {
            check(line);
            check(&line[..end]);
            if line[end] == b' ' {
                for word in [" CEST", " CEST 2025", " 2025"] {
                    check(&[&line[..end], word.as_bytes(), &line[end..]].concat());
                }
            }
        }
    }
}
