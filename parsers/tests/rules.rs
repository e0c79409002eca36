//! What docs/rules.md says of rules, one pack for each ability, from the line to the event.

use logweir_parsers::{Disposition, LineContext, Parser, RuleSet, Zone, write_event};
use serde_json::{Value, json};
use std::sync::Arc;

/// 2026-11-28T12:00:00Z.
const RECEIVED_UNIX_NANOS: i64 = 1_795_867_200_000_000_000;

fn load(packs: &[&str]) -> Arc<RuleSet> {
    let directory = tempfile::tempdir().unwrap();
    let write = |(number, text): (usize, &&str)| {
        let path = directory.path().join(format!("{number}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<_> = packs.iter().enumerate().map(write).collect();
    match RuleSet::load(&paths, false) {
        Ok(loaded) => Arc::new(loaded.rules),
        Err(faults) => panic!("{}", logweir_document::render_all(&faults, false)),
    }
}

fn context(zone: &Zone) -> LineContext<'_> {
    LineContext { pack: None, received_unix_nanos: RECEIVED_UNIX_NANOS, zone, original_bytes: None }
}

fn event(rules: &Arc<RuleSet>, line: &[u8]) -> Value {
    event_cut(rules, line, None)
}

/// Of a line that was cut, with its full length.
fn event_cut(rules: &Arc<RuleSet>, line: &[u8], original_bytes: Option<u64>) -> Value {
    let mut out = Vec::new();
    let zone = Zone::utc();
    let mut parser = Parser::new(rules.clone());
    let context = LineContext { original_bytes, ..context(&zone) };
    let parsed = write_event(&mut parser, line, &context, &mut out);
    assert_eq!(parsed.disposition, Disposition::Deliver);
    assert_keys_are_distinct(&out);
    serde_json::from_slice(&out)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
}

/// serde_json keeps the last of two members with one name; an event must not have two.
fn assert_keys_are_distinct(event: &[u8]) {
    struct Keys;
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            while let Some((key, _)) = map.next_entry::<String, Value>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(event);
    let mut keys = serde::Deserializer::deserialize_map(&mut reader, Keys).unwrap();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "{}", String::from_utf8_lossy(event));
}

#[test]
fn a_line_that_was_cut_is_tagged_beside_what_the_rule_tags() {
    let rules = load(&[r"
pack: p
applies: {starts: ['t ', 'u ']}
rules:
  - {id: p.t, pattern: '^t (?<labels.a>\S+)', set: {tags: [one, two]}}
  - {id: p.u, pattern: '^u (?<labels.a>\S+)'}
"]);
    for (line, tags) in [
        ("t \"tags\":[x", serde_json::json!(["truncated", "one", "two"])),
        ("u a", serde_json::json!(["truncated"])),
        ("v a", serde_json::json!(["unparsed", "truncated"])),
    ] {
        assert_eq!(event_cut(&rules, line.as_bytes(), Some(9_999))["tags"], tags, "{line}");
    }
}

/// Every listed field has its value; `null` is absent.
fn check(rules: &Arc<RuleSet>, line: &str, expected: Value) {
    let event = event(rules, line.as_bytes());
    for (field, value) in expected.as_object().unwrap() {
        let got = event.get(field).unwrap_or(&Value::Null);
        assert_eq!(got, value, "{field} of {line}\n{event:#}");
    }
}

#[test]
fn shipped_packs_hold_their_samples() {
    let rules = Arc::new(RuleSet::shipped());
    let outcomes = logweir_parsers::samples::run(&rules);
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    for (_, sample) in rules.samples() {
        event_or_nothing(&rules, sample.line.as_bytes());
    }
}

fn event_or_nothing(rules: &Arc<RuleSet>, line: &[u8]) {
    let mut out = Vec::new();
    let zone = Zone::utc();
    let parsed = write_event(&mut Parser::new(rules.clone()), line, &context(&zone), &mut out);
    if parsed.disposition == Disposition::Deliver {
        assert_keys_are_distinct(&out);
    }
}

#[test]
fn what_every_event_has_stands_in_it_once_whatever_of_it_a_rule_says() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - id: t.a
    pattern: '^(?<_level>\w+) (?<event.reason>.*)$'
    set: {event.dataset: t.alerts, event.module: m}
    map: {event.kind: {from: _level, values: {ALERT: alert}}}
    transform: {event.reason: [lowercase]}
"]);
    for (level, kind) in [("ALERT", "alert"), ("INFO", "event")] {
        let line = format!("Nov 28 10:00:00 h t: {level} SO");
        event_or_nothing(&rules, line.as_bytes());
        check(
            &rules,
            &line,
            json!({"event.dataset": "t.alerts", "event.module": "m", "event.kind": kind,
                "event.reason": "so"}),
        );
    }
}

#[test]
fn the_type_of_a_field_decides_how_it_is_written() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - id: t.a
    pattern: '^(?<source.ip>\S+) (?<source.port>\S+) (?<labels.n:int>\S+) (?<user.name>\S+) (?<event.category>\S+)$'
"]);
    check(
        &rules,
        "Nov 28 10:00:00 h t: 10.0.0.1 22 5 007 web",
        json!({"source.ip": "10.0.0.1", "source.port": 22, "labels.n": 5, "user.name": "007",
            "event.category": ["web"], "related.ip": ["10.0.0.1"], "related.user": ["007"],
            "related.hosts": ["h"], "logweir.rule": "t.a", "event.kind": "event",
            "event.dataset": "t", "event.module": "t", "tags": null,
            "message": "10.0.0.1 22 5 007 web", "@timestamp": "2026-11-28T10:00:00.000Z"}),
    );
    check(
        &rules,
        "Nov 28 10:00:00 h t: host.example x y - web",
        json!({"source.ip": null, "source.address": "host.example", "source.domain": "host.example",
            "source.port": null, "labels.n": "y", "user.name": null, "related.ip": null}),
    );
}

#[test]
fn a_text_that_is_no_date_is_no_value_of_a_date_field() {
    let rule = |pattern: &str, more: &str| {
        let applies = "applies: {starts: ['from ']}";
        format!("pack: t\n{applies}\nrules:\n  - {{id: t.a, pattern: '{pattern}'{more}}}\n")
    };
    let captured = rule(r"^from (?<event.start>.*)$", "");
    let template = rule(r"^from (?<_at>.*)$", ", set: {event.start: '{_at}'}");
    for pack in [captured, template] {
        let rules = load(&[&pack]);
        let dates = ["2026-11-28", "2026-11-28T10:15:02Z", "2026-11-28T10:15:02.5+09:00"];
        for date in dates {
            check(&rules, &format!("from {date}"), json!({"event.start": date}));
        }
        for other in ["yesterday", "2026-11-31", "2026-11-28T25:00:00Z", "2026-11-28 noon"] {
            check(&rules, &format!("from {other}"), json!({"event.start": null}));
        }
    }
}

#[test]
fn a_type_of_one_rule_takes_no_value_from_another() {
    let pack = |name: &str, rule: &str| {
        format!(
            "pack: {name}\nrules:\n  - {{id: {name}.a, {rule}}}\napplies: {{starts: [{name}]}}\n"
        )
    };
    let integer = pack("i", r"pattern: '^i (?<labels.n:int>\S+) (?<labels.m:int>\S+)'");
    let float = pack("f", r"pattern: '^f (?<labels.n:float>\S+)'");
    let without = pack("w", r"pattern: '^w (?<labels.m>\S+)( (?<source.port>\S+))?'");
    let parsed = pack("p", "parse: {as: kv, fields: {m: labels.m}}");
    let constant = pack("c", "pattern: '^c', set: {labels.m: none}");
    let mut packs = [integer, float, without, parsed, constant];
    for _ in 0..2 {
        let rules = load(&packs.each_ref().map(String::as_str));
        check(&rules, "i 5 6", json!({"labels.n": 5, "labels.m": 6}));
        check(&rules, "i x y", json!({"labels.n": "x", "labels.m": "y"}));
        check(&rules, "f 1.5", json!({"labels.n": 1.5}));
        check(&rules, "f x", json!({"labels.n": "x"}));
        check(&rules, "w unbound x", json!({"labels.m": "unbound", "source.port": null}));
        check(&rules, "p m=1.5", json!({"labels.m": "1.5"}));
        check(&rules, "c", json!({"labels.m": "none"}));
        packs.reverse();
    }
}

#[test]
fn a_line_without_a_rule_keeps_all_of_its_header() {
    let rules = load(&["pack: t\nrules:\n  - id: t.a\n    pattern: '^x$'\n"]);
    check(
        &rules,
        "<34>Nov 28 10:00:00 h p[7]: hello",
        json!({"event.dataset": "unparsed", "event.kind": "event", "tags": ["unparsed"],
            "host.hostname": "h", "process.name": "p", "process.pid": 7, "message": "hello",
            "log.syslog.priority": 34, "log.syslog.facility.code": 4, "log.syslog.facility.name": "auth",
            "log.syslog.severity.code": 2, "log.syslog.severity.name": "Critical",
            "log.syslog.hostname": "h", "log.syslog.appname": "p", "log.syslog.procid": "7"}),
    );
    check(
        &rules,
        "<34>1 2026-11-28T10:00:00Z h p 7 - - hello",
        json!({"log.syslog.version": "1", "log.syslog.appname": "p", "message": "hello"}),
    );
    let odd = event(&rules, b"a\xffb");
    assert_eq!(odd["event.original"], "a\u{fffd}b");
    assert_eq!(odd["logweir.original_base64"], "Yf9i");
    assert_eq!(event(&rules, b"")["event.original"], "");
}

#[test]
fn maps_templates_and_transforms_follow_each_other() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
set: {event.category: [network], event.type: [info]}
rules:
  - id: t.a
    pattern: '^(?<network.transport>\S+) (?<http.response.status_code>\d+) (?<_ms>\S+) (?<_path>\S+) (?<_list>\S+)$'
    map:
      network.transport: {tcp: tcp, '*dp': udp}
      event.outcome: {from: http.response.status_code, values: {'1-399': success, '4??': failure}, default: unknown}
      event.type: {from: _list, values: {'a,b,e': [start, end]}}
    set: {event.duration: '{_ms}', url.original: 'http://h{_path}', file.name: '{_path}', process.args: '{_list}', labels.none: '{_absent}x'}
    transform:
      network.transport: lowercase
      event.duration: [{multiply: 1000000}]
      file.name: [url_decode, basename, {strip_suffix: '.txt'}, uppercase]
      process.args: [{split: ','}, {replace: [a, A]}, {gsub: ['[b-d]|%{INT}', '<x>']}, {replace: [e, '']}]
"]);
    check(
        &rules,
        "Nov 28 10:00:00 h t: TCP 404 1.5 /x/a%20b.txt a,b,e",
        json!({"network.transport": "tcp", "event.outcome": "failure", "event.type": ["start", "end"],
            "event.duration": 1_500_000, "url.original": "http://h/x/a%20b.txt", "file.name": "A B",
            "process.args": ["A", "<x>"], "labels.none": null, "event.category": ["network"]}),
    );
    check(
        &rules,
        "Nov 28 10:00:00 h t: UDP 500 x / c",
        json!({"network.transport": "udp", "event.outcome": "unknown", "event.type": ["info"], "event.duration": null}),
    );
}

#[test]
fn each_item_of_a_constant_list_is_transformed() {
    let rules = load(&[r"
pack: t
rules:
  - id: t.a
    pattern: '^(?<_x>[ab])$'
    set: {tags: [aa, bb], labels.list: [cc, dd], process.args: 'x,y', labels.n: 5}
    map: {event.category: {from: _x, values: {a: [web, api]}, default: [host]}}
    transform: {tags: [uppercase], labels.list: [last], event.category: [uppercase], process.args: [{split: ','}]}
applies: {program: [t]}
"]);
    let line = |x: &str| format!("Nov 28 10:00:00 h t: {x}");
    let expected = json!({"tags": ["AA", "BB"], "labels.list": "dd", "event.category": ["WEB", "API"],
        "process.args": ["x", "y"], "labels.n": "5"});
    check(&rules, &line("a"), expected);
    check(&rules, &line("b"), json!({"event.category": ["HOST"]}));
}

#[test]
fn a_combined_log_of_grok_has_escaped_quotes() {
    let rules = load(&[
        "pack: t\nrules: [{id: t.a, pattern: '^%{COMBINEDAPACHELOG}$'}]\napplies: {signature: '^192'}\n",
    ]);
    let start = r#"192.0.2.7 - - [28/Nov/2026:10:15:02 +0000] "GET /a HTTP/1.1" 200 5"#;
    let check = |tail: &str, referrer: &str, agent: &str| {
        let expected = json!({"http.request.referrer": referrer, "user_agent.original": agent});
        check(&rules, &format!("{start} {tail}"), expected);
    };
    check(r#""http://a/" "M (X)""#, "http://a/", "M (X)");
    check(r#""a \" b" "c \"d\" \\""#, r#"a \" b"#, r#"c \"d\" \\"#);
}

#[test]
fn patterns_see_the_beginning_of_a_long_text_and_sub_parsers_all_of_it() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.body, pattern: '^body (?<_body>.*)$', parse: {as: json, field: _body, fields: {user: user.name}}}
  - {id: t.word, pattern: '^word (?<user.name>\w+) (?<event.reason>.*)(?<labels.none>\d*)$', transform: {event.reason: [uppercase]}}
  - {id: t.short, pattern: '(?<user.name>\w+) is last$'}
  - {id: t.json, parse: {as: json, fields: {user: user.name}}, when: {user.name: exists}}
"]);
    let long = "x".repeat(20_000);
    let line = |rest: &str| format!("Nov 28 10:00:00 h t: {rest}");
    let json = format!("{{\"long\":\"{long}\",\"user\":\"alice\"}}");
    for text in [json.clone(), format!("body {json}  ")] {
        check(&rules, &line(&text), json!({"user.name": "alice"}));
    }
    let upper = format!("{} END", long.to_uppercase());
    check(
        &rules,
        &line(&format!("word bob {long} end ")),
        json!({"user.name": "bob", "event.reason": upper, "labels.none": null}),
    );
    check(
        &rules,
        &line(&format!("{long} bob is last")),
        json!({"user.name": null, "logweir.rule": null}),
    );
}

#[test]
fn what_would_get_too_long_is_not_made() {
    let tenfold = |step: &str| vec![format!("{{{step}: [a, aaaaaaaaaa]}}"); 6].join(", ");
    let (replace, gsub) = (tenfold("replace"), tenfold("gsub"));
    let (few, many) = ("{_x}-".repeat(12), "{_x}-".repeat(3000));
    let all: String = (0..40).map(|n| format!("labels.n{n}: '{few}{few}', ")).collect();
    let rules = load(&[&format!(
        r"
pack: t
applies: {{program: [t]}}
rules:
  - {{id: t.replace, pattern: '^replace (?<labels.a>.*)$', transform: {{labels.a: [{replace}]}}}}
  - {{id: t.gsub, pattern: '^gsub (?<labels.a>.*)$', transform: {{labels.a: [{gsub}]}}}}
  - {{id: t.list, pattern: '^list (?<process.args>.*)$', transform: {{process.args: [{{split: ','}}, {replace}]}}}}
  - {{id: t.few, pattern: '^few (?<_x>.*)$', set: {{labels.b: '{few}', labels.c: '{many}'}}}}
  - {{id: t.planned, pattern: '^planned (?<_x>.*)$', set: {{labels.b: '{few}'}}}}
  - {{id: t.all, pattern: '^all (?<_x>.*)$', set: {{{all}labels.z: x}}}}
"
    )]);
    let line = |name: &str, text: &str| {
        event(&rules, format!("Nov 28 10:00:00 h t: {name} {text}").as_bytes())
    };
    let len = |value: &Value| value.as_str().map(str::len);
    for (name, text, field, expected) in [
        ("replace", "a".repeat(15_000), "labels.a", Some(150_000)),
        ("gsub", "a".repeat(15_000), "labels.a", Some(150_000)),
        ("few", "b".repeat(15_000), "labels.b", Some(12 * 15_001)),
        ("few", "b".repeat(15_000), "labels.c", None),
        ("planned", "b".repeat(60_000), "labels.b", Some(12 * 60_001)),
        ("planned", "b".repeat(90_000), "labels.b", None),
    ] {
        assert_eq!(len(&line(name, &text)[field]), expected, "{name} {field}");
    }
    let list = line("list", &"a,".repeat(200));
    let items = list["process.args"].as_array().unwrap();
    assert!(items.len() == 200 && items.iter().all(|item| len(item) == Some(1_000)));
    let all = line("all", &"b".repeat(40_000));
    let made = (0..40).filter(|n| all[format!("labels.n{n}")].is_string()).count();
    assert_eq!((made, &all["labels.z"]), (18, &json!("x")));
}

#[test]
fn a_sum_needs_both_of_its_numbers() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - id: t.a
    pattern: '^(?<source.bytes>\S+)(?: (?<destination.bytes>\S+))?$'
    set: {network.bytes: '{source.bytes}'}
    transform: {network.bytes: [{add: destination.bytes}]}
"]);
    let line = |rest: &str| format!("Nov 28 10:00:00 h t: {rest}");
    check(&rules, &line("300 200"), json!({"network.bytes": 500, "source.bytes": 300}));
    check(&rules, &line("9000000000 -1"), json!({"network.bytes": 8_999_999_999_i64}));
    check(&rules, &line("300"), json!({"network.bytes": null, "source.bytes": 300}));
    check(&rules, &line("300 x"), json!({"network.bytes": null}));
}

#[test]
fn a_direction_is_told_from_two_addresses_unless_the_log_says_it() {
    let rules = load(&[
        r"
pack: t
applies: {program: [t]}
set: {network.direction: {direction: [source, destination]}}
rules:
  - id: t.chain
    pattern: '^chain (?<_rest>.*)$'
    then: {field: _rest, chain: c}
  - id: t.a
    pattern: '^(?<source.address>\S+) (?<destination.ip>\S+)(?: (?<network.direction>\S+))?$'
chains:
  c:
    - id: t.c
      pattern: '^(?<source.ip>\S+) (?<destination.address>\S+)$'
",
        "pack: site\ninternal_networks: [203.0.113.0/24]\n",
    ]);
    let direction = |rest: &str, expected: Value| {
        let line = format!("Nov 28 10:00:00 h t: {rest}");
        check(&rules, &line, json!({ "network.direction": expected }));
    };
    direction("10.0.0.1 198.51.100.1", json!("outbound"));
    direction("198.51.100.1 203.0.113.9", json!("inbound"));
    direction("chain fd00::1 10.0.0.1", json!("internal"));
    direction("chain 192.0.2.1 2001:db8::1", json!("external"));
    direction("10.0.0.1 198.51.100.1 inbound", json!("inbound"));
    direction("host.example 198.51.100.1", json!(null));
    direction("10.0.0.1 -", json!(null));
}

#[test]
fn what_the_agent_writes_itself_is_no_field_of_rules() {
    for field in ["event.created", "event.original", "log.offset", "logweir.rule"] {
        let pack = format!(
            "pack: t\nvendor: [logweir]\nrules:\n  - id: t.a\n    pattern: '^(?<{field}>.*)$'\n"
        );
        let faults = RuleSet::of_text("t.yaml", &pack).unwrap_err();
        let text = logweir_document::render_all(&faults, false);
        assert!(text.contains(&format!("`{field}` is written by the agent itself")), "{text}");
    }
}

#[test]
fn a_time_is_moved_by_a_duration_that_is_there() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - id: t.a
    pattern: '^(?<event.duration>[\d:]+|-) (?<user.name>\S+)(?: from (?<event.start>\S+))?$'
    transform: {event.duration: [duration]}
    time:
      - {field: event.start, into: event.start}
      - {field: '@timestamp', subtract: event.duration, into: event.start}
      - {field: '@timestamp', add: event.duration, into: event.end}
"]);
    let line = |rest: &str| format!("2026-11-28T10:00:00Z h t: {rest}");
    check(
        &rules,
        &line("0:01:30 bob"),
        json!({"event.start": "2026-11-28T09:58:30.000Z", "event.end": "2026-11-28T10:01:30.000Z",
            "@timestamp": "2026-11-28T10:00:00.000Z"}),
    );
    let none = json!({"event.start": "2026-11-28T09:00:00.000Z", "event.end": null});
    check(&rules, &line("- bob from 2026-11-28T09:00:00Z"), none);
}

#[test]
fn a_program_in_front_of_a_line_without_a_header_names_its_pack_if_no_other_has_a_rule() {
    let rules = load(&[
        "pack: t\napplies: {program: [t]}\nrules: [{id: t.hello, pattern: '^hello (?<user.name>\\S+)$'}]\n",
        "pack: u\napplies: {starts: ['t: hello u']}\nrules: [{id: u.any, pattern: '^t: (?<event.reason>.*)'}]\n",
    ]);
    check(
        &rules,
        "t: hello bob",
        json!({"logweir.rule": "t.hello", "process.name": "t", "user.name": "bob", "message": "hello bob"}),
    );
    check(&rules, "t: hello u", json!({"logweir.rule": "u.any", "process.name": null}));
    check(
        &rules,
        "t: bye",
        json!({"logweir.rule": null, "process.name": null, "tags": ["unparsed"]}),
    );
    check(&rules, "v: hello bob", json!({"logweir.rule": null, "tags": ["unparsed"]}));
}

#[test]
fn an_address_with_a_port_or_a_zone_behind_it_is_found() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.address, pattern: '^from (?<source.address>\S+)$'}
  - {id: t.ip, pattern: '^by (?<source.ip>\S+)$'}
  - {id: t.port, pattern: '^of (?<source.address>\S+) port (?<source.port>\d+)$'}
  - {id: t.table, pattern: '^json (?<_json>.*)', parse: {as: json, field: _json, fields: {a: source.ip}}}
"]);
    let line = |text: &str| format!("Nov 28 10:15:02 h t[1]: {text}");
    for word in ["from ", "by "] {
        for (text, ip, port) in [
            ("192.0.2.7:443", "192.0.2.7", 443),
            ("192.0.2.7:0", "192.0.2.7", 0),
            ("[2001:db8::7]:5", "2001:db8::7", 5),
        ] {
            check(
                &rules,
                &line(&format!("{word}{text}")),
                json!({"source.ip": ip, "source.port": port, "source.address": text,
                    "source.domain": null, "related.ip": [ip], "related.hosts": ["h"]}),
            );
        }
        check(
            &rules,
            &line(&format!("{word}fe80::7%eth0")),
            json!({"source.ip": "fe80::7", "source.port": null, "source.address": "fe80::7%eth0",
                "source.domain": null, "related.ip": ["fe80::7"], "related.hosts": ["h"]}),
        );
        for (text, ip, port) in [
            ("[2001:db8::7]", "2001:db8::7", Value::Null),
            ("[fe80::7%eth0]", "fe80::7", Value::Null),
            ("[fe80::7%eth0]:22", "fe80::7", json!(22)),
        ] {
            let expected = json!({"source.ip": ip, "source.port": port, "source.address": text, "source.domain": null});
            check(&rules, &line(&format!("{word}{text}")), expected);
        }
        for text in [
            "[2001:db8::7",
            "[2001:db8::7]x",
            "[2001:db8::7]:007",
            "[fe80::7%]",
            "[192.0.2.7]",
            "[]:5",
            "[web1]:5",
        ] {
            let none = json!({"source.ip": null, "source.port": null, "source.domain": text});
            check(&rules, &line(&format!("{word}{text}")), none);
        }
        for text in ["web1:443", "192.0.2.7:99999", "192.0.2.7:", "192.0.2.7:0443", "fe80::7%"] {
            let none = json!({"source.ip": null, "source.port": null, "source.domain": text});
            check(&rules, &line(&format!("{word}{text}")), none);
        }
    }
    check(
        &rules,
        &line("of 192.0.2.7:443 port 5"),
        json!({"source.ip": "192.0.2.7", "source.port": 5}),
    );
    check(
        &rules,
        &line(r#"json {"a":"192.0.2.7:443"}"#),
        json!({"source.ip": "192.0.2.7", "source.port": 443, "source.domain": null}),
    );
}

#[test]
fn zeros_in_front_of_the_numbers_of_an_address_are_no_part_of_another_one() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.address, pattern: '^from (?<source.address>\S+)$'}
  - {id: t.ip, pattern: '^by (?<source.ip>\S+)$'}
  - {id: t.list, pattern: '^of (?<_ips>\S+)$', transform: {source.address: [{split: ','}]}, set: {source.address: '{_ips}'}}
  - {id: t.mask, pattern: '^mask (?<source.address>\S+)$', action: {mask: [source.address]}}
  - {id: t.mask_ip, pattern: '^mask ip (?<source.address>\S+)$', action: {mask: [source.ip]}}
"]);
    let line = |text: &str| format!("Nov 28 10:15:02 h t[1]: {text}");
    for word in ["from ", "by "] {
        // Three digits each: columns filled up with zeros.
        check(
            &rules,
            &line(&format!("{word}192.168.001.010")),
            json!({"source.ip": "192.168.1.10", "source.domain": null,
                "related.ip": ["192.168.1.10"], "related.hosts": ["h"]}),
        );
        // To some, what begins with a zero is octal: it may be this address or that.
        for text in ["010.0.0.1", "192.168.01.10", "192.168.001.1", "256.001.001.001"] {
            check(
                &rules,
                &line(&format!("{word}{text}")),
                json!({"source.address": text, "source.ip": null, "source.domain": null,
                    "related.ip": null, "related.hosts": ["h"]}),
            );
        }
        for text in ["0.0.0.0", "10.0.0.1"] {
            check(&rules, &line(&format!("{word}{text}")), json!({"source.ip": text}));
        }
        for text in ["010.0.0", "010.0.0.1.2", "010.0.0.a", "0010.0.0.1"] {
            check(&rules, &line(&format!("{word}{text}")), json!({"source.domain": text}));
        }
    }
    let lists = json!({"related.ip": ["192.0.2.7"], "related.hosts": ["h", "web1"], "source.address": "010.0.0.1"});
    check(&rules, &line("of 010.0.0.1,192.0.2.7,web1"), lists);
    for mask in ["mask", "mask ip"] {
        let masked = event(&rules, line(&format!("{mask} 192.168.001.010")).as_bytes()).to_string();
        assert!(
            !masked.contains("192.168.1.10") && !masked.contains("192.168.001.010"),
            "{masked}"
        );
    }
}

#[test]
fn a_pack_has_one_signature_or_several() {
    let pack = |signature: &str| {
        let rules = "rules: [{id: t.any, pattern: '(?<labels.number>\\d+)$'}]";
        load(&[&format!("pack: t\napplies: {{signature: {signature}}}\n{rules}\n")])
    };
    let several = pack(r"['^job \d', 'done in ', '(?:rows|pages): ']");
    for (rules, line, number) in [
        (&pack("'done in '"), "it is done in 7", Some("7")),
        (&pack("'done in '"), "job 7", None),
        (&several, "job 7", Some("7")),
        (&several, "it is done in 7", Some("7")),
        (&several, "pages: 7", Some("7")),
        (&several, "a job 7", None),
        (&several, "page: 7", None),
    ] {
        check(rules, line, json!({"labels.number": number}));
    }
}

#[test]
fn no_key_of_a_line_hides_others() {
    let rules = load(&["pack: p\nvendor: [v]\napplies: {starts: ['{']}\nrules:\n\
         \x20 - {id: p.a, parse: {as: json, fields: {user: user.name}, rest: v}}\n"]);
    let junk: String = (0..1024).map(|n| format!("\"k{n}\":{n},")).collect();
    let (long, deep) = ("k".repeat(600), "{\"a\":".repeat(40) + "1" + &"}".repeat(40));
    let line = format!("{{{junk}\"late\":1,\"{long}\":1,\"deep\":{deep},\"user\":\"eve\"}}");
    check(
        &rules,
        &line,
        json!({"user.name": "eve", "v.k0": "0", "v.k1023": "1023", "v.late": null}),
    );
}

#[test]
fn what_rest_keeps_is_there_for_the_rule_itself() {
    let rules = load(&[r"
pack: p
vendor: [v]
applies: {starts: ['{']}
rules:
  - id: p.a
    parse: [{as: json, fields: {other: v.named}, rest: v}, {as: kv, field: v.pairs, rest: v.p, optional: true}]
    when: {v.a.b: '1'}
    map: {event.action: {from: v.what, values: {x: run}}, v.level: {lo: low}}
    set: {labels.t: 'got {v.c} and {v.named}', v.own: rule}
    transform: {v.name: [uppercase]}
    time: {field: v.when, formats: [unix]}
"]);
    let line = r#"{"a":{"b":1},"c":"x","what":"x","level":"lo","name":"me","when":1795867200,"own":"line","other":"o","named":"n","pairs":"k=w"}"#;
    check(
        &rules,
        line,
        json!({"logweir.rule": "p.a", "v.a.b": "1", "v.c": "x", "event.action": "run", "v.level": "low",
            "labels.t": "got x and o", "v.named": "o", "v.own": "rule", "v.name": "ME",
            "@timestamp": "2026-11-28T12:00:00.000Z", "v.when": "1795867200", "v.p.k": "w", "v.what": "x"}),
    );
    check(&rules, r#"{"a":{"b":2}}"#, json!({"logweir.rule": null}));
}

#[test]
fn the_last_of_equal_keys_stays_and_no_part_of_a_name_is_empty() {
    let rules = load(&[
        "pack: p\nvendor: [v]\napplies: {starts: ['{']}\nrules:\n\
         \x20 - {id: p.a, parse: {as: json, fields: {user: user.name}, rest: v}}\n",
        "pack: c\nvendor: [c]\napplies: {starts: ['CEF:']}\nrules:\n\
         \x20 - {id: c.a, parse: {as: cef, rest: c}}\n",
    ]);
    let line = r#"{"user":"a","n":1,"user":"b","n":2,"":3,"m":{"":4},"":{"o":5},"p.":6}"#;
    let expected = json!({"user.name": "b", "v.n": "2", "v.m": "4", "v.o": "5", "v.p": "6", "v.": null, "v": null, "v.m.": null});
    check(&rules, line, expected);
    check(
        &rules,
        "CEF:0|v|p|1|2|n|3|cs2=x cs2Label=",
        json!({"c.cs2": "x", "c.label.": null, "c.label": null}),
    );
}

#[test]
fn keys_that_are_written_alike_are_one() {
    let rules = load(&["pack: p\nvendor: [v]\napplies: {starts: ['{']}\nrules:\n\
         \x20 - {id: p.a, parse: {as: json, rest: v}}\n"]);
    let event = event(&rules, b"{\"a\xff\":1,\"a\xfe\":2,\"a\xc3\":3,\"\xc3\xa9\":4}");
    assert_eq!(event["v.a\u{fffd}"], "3", "{event:#}");
    assert_eq!(event["v.é"], "4");
}

#[test]
fn a_header_whose_date_there_is_not_still_names_host_and_program() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.a, pattern: '^user (?<user.name>\S+)$'}
  - {id: t.b, pattern: '^at (?<_time>\S+) user (?<user.name>\S+)$', time: {field: _time}}
"]);
    let read = json!({"logweir.rule": "t.a", "user.name": "eve", "host.hostname": "h", "process.pid": 1,
        "@timestamp": "2026-11-28T12:00:00.000Z", "logweir.time_invalid": true});
    for header in [
        "2026-02-30T10:00:00Z h t[1]: ",
        "<13>2026-02-30T10:00:00Z h t[1]: ",
        "<13>1 2026-02-30T10:00:00Z h t 1 - - ",
        "<13>1 2026-13-01T10:00:00Z h t 1 - - ",
        "<13>1 2026-02-01T25:00:00Z h t 1 - - ",
        "<13>0000-00-00T00:00:00Z h t[1]: ",
        "<13>1 9999-12-31T23:59:59Z h t 1 - - ",
        "Feb 30 10:00:00 h t[1]: ",
        "<13>Feb 30 10:00:00 h t[1]: ",
    ] {
        check(&rules, &format!("{header}user eve"), read.clone());
    }
    for no_header in ["2026-02-30 10:00:00 h t: ", "2026-02-30T10:00:00Z INFO t: "] {
        let line = format!("{no_header}user eve");
        check(&rules, &line, json!({"logweir.rule": null, "event.original": line}));
    }
    let own = "Nov 28 10:15:02 h t[1]: at 2026-02-30T10:00:00Z user eve";
    check(
        &rules,
        own,
        json!({"user.name": "eve", "@timestamp": "2026-11-28T10:15:02.000Z", "logweir.time_invalid": null}),
    );
    let of_rule = "Feb 30 10:15:02 h t[1]: at 2026-02-28T10:00:00Z user eve";
    check(
        &rules,
        of_rule,
        json!({"@timestamp": "2026-02-28T10:00:00.000Z", "logweir.time_invalid": null}),
    );
}

#[test]
fn a_rule_has_at_most_64_times_and_transforms() {
    let pack = |more: &str| {
        format!("pack: t\nvendor: [v]\nrules:\n  - {{id: t.a, pattern: '^a', {more}}}\n")
    };
    let faults = |more: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.yaml");
        std::fs::write(&path, pack(more)).unwrap();
        let loaded = RuleSet::load(&[path], false);
        loaded.err().map(|faults| logweir_document::render_all(&faults, false)).unwrap_or_default()
    };
    let times =
        |n: usize| format!("time: [{}]", ["{field: _t, into: event.start}"].repeat(n).join(", "));
    let transforms = |n: usize| {
        let each: Vec<_> = (0..n).map(|n| format!("labels.f{n}: [trim]")).collect();
        format!("transform: {{{}}}", each.join(", "))
    };
    assert!(!faults(&times(64)).contains("more than 64"));
    assert!(!faults(&transforms(64)).contains("more than 64"));
    assert!(faults(&times(65)).contains("more than 64 times in one rule"));
    assert!(faults(&transforms(65)).contains("more than 64 fields with transforms in one rule"));
}

#[test]
fn conditions_choose_among_rules_over_one_sub_parser() {
    let rules = load(&[r"
pack: t
vendor: [v]
applies: {json_keys: [kind]}
rules:
  - id: t.alert
    parse: {as: json, fields: {kind: _kind, 'a.ip': source.ip, time: _time, drop: }, rest: v}
    when: {_kind: [alert, alarm], source.ip: exists}
    set: {event.kind: alert}
    time: {field: _time, formats: [unix_ms]}
  - id: t.other
    parse: {as: json, fields: {kind: event.action}}
    when: {event.action: 'f*', source.ip: absent}
"]);
    check(
        &rules,
        r#"{"kind":"alarm","a":{"ip":"::1"},"time":1795867200123,"x":{"y":true},"drop":1,"l":["p","q"],"x.y":7}"#,
        json!({"logweir.rule": "t.alert", "event.kind": "alert", "source.ip": "::1",
            "@timestamp": "2026-11-28T12:00:00.123Z", "v.l": ["p", "q"], "v.drop": null, "_kind": null}),
    );
    // A word may be written in other letters.
    check(
        &rules,
        r#"{"kind":"al\u0061rm","a":{"ip":"::1"}}"#,
        json!({"logweir.rule": "t.alert", "source.ip": "::1"}),
    );
    check(&rules, r#"{"kind":"flow"}"#, json!({"logweir.rule": "t.other", "event.action": "flow"}));
    check(&rules, r#"{"kind":"other"}"#, json!({"logweir.rule": null, "tags": ["unparsed"]}));
}

#[test]
fn chains_go_on_with_a_part_of_the_line() {
    let rules = load(&[r"
pack: t
applies: {starts: ['%T-']}
set: {event.category: [network], event.kind: alert, event.outcome: unknown}
rules:
  - id: t.header
    pattern: '^%T-(?<_level>\d)-(?<event.code>\d+): (?<_body>.*)$'
    map: {event.outcome: {from: _level, values: {6: success}}}
    set: {event.type: [info], labels.outer: '{_level}'}
    then: {field: _body, chain: bodies}
chains:
  bodies:
    - id: t.built
      pattern: '^Built for (?<source.address>\S+)$'
      set: {event.type: [start], event.code: ignored, event.action: built}
"]);
    check(
        &rules,
        "%T-6-77: Built for 10.0.0.9",
        json!({"logweir.rule": "t.built", "event.code": "77", "event.type": ["start"], "labels.outer": "6",
            "source.ip": "10.0.0.9", "event.action": "built", "event.kind": "alert", "event.outcome": "success", "event.category": ["network"],
            "event.dataset": "t"}),
    );
    check(
        &rules,
        "%T-6-78: else",
        json!({"logweir.rule": "t.header", "event.type": ["info"], "event.action": null, "event.code": "78"}),
    );
}

#[test]
fn a_chain_gets_its_text_as_the_outer_rules_transforms_leave_it() {
    let rules = load(&[r"
pack: t
applies: {starts: ['T ']}
rules:
  - id: t.header
    pattern: '^T (?<event.reason>\S+) (?<_body>\S+)$'
    transform: {_body: base64_decode, event.reason: uppercase}
    set: {labels.body: '{_body}'}
    then: {field: _body, chain: bodies}
chains:
  bodies:
    - {id: t.body, pattern: '^user (?<user.name>\S+)$', set: {labels.seen: '{event.reason}'}}
"]);
    check(
        &rules,
        "T why dXNlciBhbGljZQ==",
        json!({"logweir.rule": "t.body", "user.name": "alice", "labels.seen": "why", "event.reason": "WHY",
            "labels.body": "user alice"}),
    );
}

#[test]
fn a_text_in_a_line_goes_to_the_pack_that_it_would_go_to_alone() {
    let rules = load(&[
        r"
pack: outer
applies: {starts: ['%T ']}
set: {event.kind: alert, event.action: passed on}
rules:
  - id: outer.timed
    pattern: '^%T (?<@timestamp>\d{4}-\S+) (?<event.code>\S+) (?<_body>.*)$'
    set: {event.type: [info], labels.action: '{event.action}'}
    then: {field: _body, as: line}
  - id: outer.plain
    pattern: '^%T - (?<event.code>\S+) (?<_body>.*)$'
    then: {field: _body, as: line}
  - id: outer.host
    pattern: '^%T from (?<host.hostname>\S+) (?<_body>.*)$'
    then: {field: _body, as: line}
",
        r"
pack: inner
applies: {program: [inner], starts: ['noise']}
set: {event.category: [network]}
rules:
  - id: inner.noise
    pattern: '^noise$'
    action: {drop: noise}
  - id: inner.built
    pattern: '^Built for (?<source.address>\S+)$'
    set: {event.type: [start], event.code: own, event.action: built, labels.inner: '1'}
",
    ]);
    let built = json!({"logweir.rule": "inner.built", "event.dataset": "inner", "event.code": "77", "event.type": ["start"],
        "event.category": ["network"], "source.ip": "10.0.0.9", "event.action": "built", "event.kind": "event", "labels.inner": "1",
        "process.name": "inner", "process.pid": 7, "host.hostname": "h", "message": "Built for 10.0.0.9"});
    let timed = "%T 2026-11-28T10:15:02.5+01:00 77 Nov 28 10:00:00 h inner[7]: Built for 10.0.0.9";
    for end in ["", "\n", "\r\n"] {
        check(&rules, &format!("{timed}{end}"), built.clone());
    }
    check(
        &rules,
        timed,
        json!({"@timestamp": "2026-11-28T09:15:02.500Z", "labels.action": "built"}),
    );
    let plain = "%T - 77 Nov 28 10:00:00 h inner[7]: Built for 10.0.0.9";
    check(&rules, plain, built);
    check(&rules, plain, json!({"@timestamp": "2026-11-28T10:00:00.000Z"}));
    // Whoever writes the text says nothing of the host.
    check(
        &rules,
        "%T from web1 Nov 28 10:00:00 h inner[7]: Built for 10.0.0.9",
        json!({"logweir.rule": "inner.built", "host.hostname": "web1", "process.name": "inner"}),
    );
    // What no pack has a rule for leaves nothing behind.
    check(
        &rules,
        "%T 2026-11-28T10:15:02.5Z 77 Nov 28 10:00:00 h inner[7]: else",
        json!({"logweir.rule": "outer.timed", "event.dataset": "outer", "event.type": ["info"], "event.action": "passed on", "event.kind": "alert",
            "process.name": null, "host.hostname": null, "@timestamp": "2026-11-28T10:15:02.500Z"}),
    );
    // As deep as rules may lead to rules.
    let deep = format!("{}Nov 28 10:00:00 h inner[7]: Built for 10.0.0.9", "%T - 77 ".repeat(8));
    check(&rules, &deep, json!({"logweir.rule": "inner.built", "source.ip": "10.0.0.9"}));
    check(&rules, &format!("%T - 77 {deep}"), json!({"logweir.rule": "outer.plain"}));

    let mut parser = Parser::new(rules.clone());
    let zone = Zone::utc();
    let dropped = parser.parse(b"%T - 77 noise", &context(&zone), &mut Vec::new());
    let Disposition::Drop(reason) = dropped.disposition else { panic!("{dropped:?}") };
    assert_eq!(rules.drop_reason(reason), "noise");
}

#[test]
fn a_text_goes_to_the_pack_of_the_program_that_a_field_names() {
    let rules = load(&[
        r"
pack: outer
applies: {starts: ['{']}
rules:
  - id: outer.json
    parse: {as: json, fields: {tag: _tag, text: message}}
    then: {field: message, as: line, program: _tag}
",
        r"
pack: inner
applies: {program: [inner]}
rules:
  - {id: inner.built, pattern: '^Built for (?<source.ip>\S+)$'}
  - {id: inner.dated, pattern: '^2026-11-28 10:00:00 lost (?<source.ip>\S+)$'}
",
        r"
pack: general
applies: {syslog: true}
rules:
  - {id: general.any, pattern: '^'}
",
    ]);
    let line = |tag: &str, text: &str| format!(r#"{{"tag":"{tag}","text":"{text}"}}"#);
    let built = json!({"logweir.rule": "inner.built", "event.dataset": "inner", "source.ip": "10.0.0.9",
        "process.name": "inner", "message": "Built for 10.0.0.9"});
    check(&rules, &line("inner", "Built for 10.0.0.9"), built.clone());
    check(&rules, &line("inner", " Built for 10.0.0.9"), json!({"logweir.rule": "inner.built"}));
    check(&rules, &line("in\\u006eer", "Built for 10.0.0.9"), built);
    // An application's own date is no header.
    check(
        &rules,
        &line("inner", "2026-11-28 10:00:00 lost 10.0.0.9"),
        json!({"logweir.rule": "inner.dated", "process.name": "inner"}),
    );
    // What the text itself says goes before; and no pack is asked that takes any syslog line.
    let own = "Nov 28 10:00:00 h inner[7]: Built for 10.0.0.9";
    check(&rules, &line("other", own), json!({"logweir.rule": "inner.built", "process.pid": 7}));
    let other = "Nov 28 10:00:00 h other[7]: Built for 10.0.0.9";
    check(&rules, &line("inner", other), json!({"logweir.rule": "general.any"}));
    for (tag, text) in [("other", "Built for 10.0.0.9"), ("", "Built for 10.0.0.9"), ("inner", "x")]
    {
        let outer = json!({"logweir.rule": "outer.json", "process.name": null, "message": text});
        check(&rules, &line(tag, text), outer);
    }
}

#[test]
fn a_later_file_replaces_rules_and_their_chains() {
    let first = r"
pack: t
applies: {program: [t]}
rules:
  - id: t.a
    pattern: '^(?<_body>.*)$'
    then: {field: _body, chain: c}
chains:
  c:
    - {id: t.b, pattern: '^x$', set: {event.action: old}}
";
    let second = first.replace("old", "new");
    check(
        &load(&[first, &second]),
        "Nov 28 10:00:00 h t: x",
        json!({"logweir.rule": "t.b", "event.action": "new"}),
    );
}

#[test]
fn a_rule_of_the_host_wins_over_a_published_one() {
    let published = "pack: t\napplies: {program: [t]}\nrules:\n  - {id: t.a, pattern: x, set: {event.action: published}}\n  \
                     - {id: t.b, pattern: y, set: {event.action: published}}\n";
    let own = published.lines().take(4).collect::<Vec<_>>().join("\n").replace("published", "own");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("own.yaml"), own).unwrap();
    let between = [("t.yaml".to_owned(), published.to_owned())];
    let loaded = RuleSet::load_between(&[directory.path().to_owned()], false, &between);
    let rules = Arc::new(loaded.expect("both load").rules);
    for (message, action) in [("x", "own"), ("y", "published")] {
        let line = format!("Nov 28 10:00:00 h t: {message}");
        check(&rules, &line, json!({"event.action": action}));
    }
}

#[test]
fn the_first_rule_that_matches_wins_whatever_finds_it() {
    let mut text = String::from("pack: t\napplies: {program: [t]}\nrules:\n");
    let patterns =
        [r"\d+ ends", "^begins with 7", "somewhere inside", r"^begins", r"^\S+ \S+", r"^"];
    for (number, pattern) in patterns.iter().enumerate() {
        text.push_str(&format!("  - {{id: t.{number}, pattern: '{pattern}'}}\n"));
    }
    let rules = load(&[&text]);
    for (message, rule) in [
        ("begins with 7 ends", "t.0"),
        ("begins with 7", "t.1"),
        ("is somewhere inside", "t.2"),
        ("begins somewhere inside", "t.2"),
        ("begins", "t.3"),
        ("two words", "t.4"),
        ("one", "t.5"),
    ] {
        check(&rules, &format!("Nov 28 10:00:00 h t: {message}"), json!({"logweir.rule": rule}));
    }
}

#[test]
fn a_value_of_another_kind_than_its_field_is_left_out() {
    let rules = load(&[r"
pack: p
applies: {starts: ['{']}
rules:
  - id: p.json
    parse: {as: json, fields: {t: '@timestamp', s: event.start, ip: host.ip, v: process.code_signature.valid, n: http.response.status_code}}
"]);
    let received = json!("2026-11-28T12:00:00.000Z");
    for time in ["true", "[\"a\"]", "5", "{\"a\":1}"] {
        let line = format!(r#"{{"t":{time},"s":5,"ip":["192.0.2.1",true,7],"v":1,"n":1.5}}"#);
        check(
            &rules,
            &line,
            json!({"@timestamp": received, "event.start": null, "host.ip": ["192.0.2.1"],
                "process.code_signature.valid": null, "http.response.status_code": null}),
        );
    }
    let right = r#"{"t":"2026-11-28T10:00:00Z","v":true,"n":200.0}"#;
    check(
        &rules,
        right,
        json!({"@timestamp": "2026-11-28T10:00:00.000Z", "process.code_signature.valid": true,
            "http.response.status_code": 200}),
    );
}

#[test]
fn actions_drop_sample_and_mask() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.drop, pattern: '^noise', action: {drop: noise}}
  - {id: t.sample, pattern: '^often', action: {sample: 3}}
  - {id: t.other, pattern: '^other', action: {sample: 3}}
  - {id: t.mask, pattern: '^login (?<user.name>\S+) again (?<labels.w>\S+)', action: {mask: [user.name], with: redact}}
  - {id: t.hash, pattern: '^hash (?<user.name>\S+)', action: {mask: [user.name], with: hash}}
  - {id: t.lower, pattern: '^lower (?<user.name>\S+)', transform: {user.name: [lowercase]}, action: {mask: [user.name], with: redact}}
  - {id: t.json, parse: {as: json, fields: {user: user.name, ids: user.roles, text: message}}, action: {mask: [user.name, user.roles], with: redact}}
"]);
    let mut parser = Parser::new(rules.clone());
    let zone = Zone::utc();
    let mut run = |message: &str| {
        let mut out = Vec::new();
        let line = format!("Nov 28 10:00:00 h t: {message}");
        let parsed = write_event(&mut parser, line.as_bytes(), &context(&zone), &mut out);
        (parsed.disposition, String::from_utf8(out).unwrap())
    };
    let (disposition, out) = run("noise");
    assert!(
        matches!(disposition, Disposition::Drop(reason) if rules.drop_reason(reason) == "noise")
    );
    assert_eq!(out, "");
    // Each rule counts its own lines.
    let mut delivered = |message| run(message).0 == Disposition::Deliver;
    let delivered: Vec<_> = (0..6).map(|_| (delivered("often"), delivered("other"))).collect();
    let third = |at| at % 3 == 2;
    assert_eq!(delivered, (0..6).map(|at| (third(at), third(at))).collect::<Vec<_>>());
    let (_, out) = run("login alice again alice");
    assert!(!out.contains("alice"), "{out}");
    assert!(out.contains(r#""user.name":"redacted""#), "{out}");
    let (_, out) = run("hash alice");
    assert!(!out.contains("alice") && out.contains("user.name"), "{out}");
    // In the line it stands in another form.
    let (_, out) = run("lower ALICE");
    assert!(!out.contains("ALICE") && out.contains(r#""event.original":"***"#), "{out}");
    let (_, out) = run(r#"{"user":"al\"ice","ids":["rose","lily"],"text":"al\"ice has lily"}"#);
    let leaks = ["ice", "rose", "lily"].iter().any(|part| out.contains(part));
    assert!(!leaks && out.contains(r#""user.name":"redacted""#), "{out}");
}

/// What follows from a value stands beside what a rule sets, each field once.
#[test]
fn what_follows_from_an_address_gives_way_to_what_a_rule_sets() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
set: {destination.port: 8443}
rules:
  - {id: t.ip, pattern: '^A (?<source.ip>\S+)$', set: {source.port: 443}}
  - {id: t.address, pattern: '^B (?<client.address>\S+)$', set: {client.port: 443, client.domain: c.example}}
  - {id: t.copy, pattern: '^C (?<_a>\S+)$', set: {server.port: 443, server.address: '{_a}'}}
  - {id: t.pack, pattern: '^D (?<destination.address>\S+)$'}
  - {id: t.both, pattern: '^E (?<source.address>\S+)$', set: {source.ip: 192.0.2.9}}
"]);
    for (message, expected) in [
        ("A 192.0.2.7:80", json!({"source.ip": "192.0.2.7", "source.port": 443})),
        ("A 192.0.2.7", json!({"source.ip": "192.0.2.7", "source.port": 443})),
        ("B 192.0.2.7:80", json!({"client.ip": "192.0.2.7", "client.port": 443})),
        ("B web1", json!({"client.port": 443, "client.domain": "c.example"})),
        ("C 192.0.2.7:80", json!({"server.ip": "192.0.2.7", "server.port": 443})),
        ("D 192.0.2.7:80", json!({"destination.ip": "192.0.2.7", "destination.port": 8443})),
        (
            "E 192.0.2.7:80",
            json!({"source.ip": "192.0.2.9", "source.port": 80,
                "related.ip": ["192.0.2.7", "192.0.2.9"]}),
        ),
        (
            "E 192.0.2.7",
            json!({"source.ip": "192.0.2.9", "related.ip": ["192.0.2.7", "192.0.2.9"]}),
        ),
    ] {
        check(&rules, &format!("Nov 28 10:00:00 h t: {message}"), expected);
    }
}

#[test]
fn constants_numbers_and_every_item_of_a_list_are_related() {
    let rules = load(&[r"
pack: t
vendor: [t]
applies: {program: [t]}
rules:
  - {id: t.set, pattern: '^set$', set: {user.name: root, source.ip: 192.0.2.1, client.address: c.example, host.ip: [192.0.2.2, '::1']}}
  - {id: t.map, pattern: '^map (?<_u>\S+)$', map: {user.name: {from: _u, values: {a: ann}}}}
  - {id: t.address, pattern: '^to', set: {destination.address: '192.0.2.1:53'}}
  - {id: t.split, pattern: '^split (?<user.name>.*)$', transform: {user.name: [{split: ','}]}}
  - {id: t.json, parse: {as: json, fields: {u: user.name, port: source.port, a: source.address, ip: destination.ip, l: labels.l}, rest: t}}
"]);
    for (message, expected) in [
        (
            "set",
            json!({"user.name": "root", "client.domain": "c.example", "related.user": ["root"],
                "related.hosts": ["h", "c.example"], "related.ip": ["192.0.2.1", "192.0.2.2", "::1"]}),
        ),
        ("map a", json!({"user.name": "ann", "related.user": ["ann"]})),
        ("map b", json!({"user.name": null, "related.user": null})),
        (
            "to",
            json!({"destination.ip": "192.0.2.1", "destination.port": 53, "related.ip": ["192.0.2.1"]}),
        ),
        ("split ann, bob", json!({"user.name": "ann", "related.user": ["ann", "bob"]})),
        (r#"{"u":["ann","bob"]}"#, json!({"user.name": "ann", "related.user": ["ann", "bob"]})),
        (r#"{"u":["ann"],"port":[1,2]}"#, json!({"user.name": "ann", "source.port": 1})),
        (r#"{"u":7}"#, json!({"user.name": "7", "related.user": ["7"]})),
        (
            r#"{"a":["192.0.2.7:80","web1"],"ip":["192.0.2.1","192.0.2.2"]}"#,
            json!({"source.ip": "192.0.2.7", "source.port": 80, "destination.ip": "192.0.2.1",
                "related.ip": ["192.0.2.7", "192.0.2.1", "192.0.2.2"], "related.hosts": ["web1", "h"]}),
        ),
        // What ECS does not have may hold several.
        (r#"{"l":["a","b"],"k":[1,2]}"#, json!({"labels.l": ["a", "b"], "t.k": ["1", "2"]})),
    ] {
        let sorted = |mut event: Value| {
            for list in event.as_object_mut().unwrap().values_mut().filter_map(Value::as_array_mut)
            {
                list.sort_by_key(Value::to_string);
            }
            event
        };
        let got = sorted(event(&rules, format!("Nov 28 10:00:00 h t: {message}").as_bytes()));
        for (field, value) in sorted(expected).as_object().unwrap() {
            assert_eq!(
                got.get(field).unwrap_or(&Value::Null),
                value,
                "{field} of {message}\n{got:#}"
            );
        }
    }
}

#[test]
fn an_address_is_related_also_where_another_text_stood_for_one() {
    let rules = load(&[
        "pack: t\napplies: {program: [t]}\nrules:\n  - {id: t.a, parse: {as: json, fields: {via: source.ip, from: source.address}}}\n",
    ]);
    check(
        &rules,
        r#"Nov 28 10:00:00 h t: {"via":"10.300.1.2","from":"192.0.2.7"}"#,
        json!({"source.ip": "192.0.2.7", "source.domain": "10.300.1.2", "related.ip": ["192.0.2.7"]}),
    );
}

/// Each: the rules, a message, what must not be in the event, and what must.
#[test]
fn what_is_masked_is_nowhere_in_the_event() {
    const KV: &str = "- {id: t.kv, parse: {as: kv, fields: {user: user.name, id: user.id, mail: user.email}, rest: t.kv}, ";
    const ENDS: &str = "- {id: t.a, pattern: '^A (?<source.address>\\S+) (?<labels.rest>.*)$', ";
    const OUTER: &str = "- {id: t.outer, pattern: '^user=(?<user.name>\\S+) (?<_body>.*)$', action: {mask: [user.name]}, ";
    let rule = |begin: &str, end: &str| format!("{begin}{end}\n");
    let cases = [
        // Whatever the rules behind it are.
        (
            rule(OUTER, "then: {field: _body, chain: c}}"),
            "user=alice paid 5",
            "alice",
            r#""logweir.rule":"t.paid""#,
        ),
        (rule(OUTER, "then: {field: _body, as: line}}"), "user=alice paid 5", "alice", "redacted"),
        // What a sub-parser keeps without a field of its own.
        (
            rule(KV, "action: {mask: [t.kv.pw]}}"),
            "user=bob pw=hunter2",
            "hunter2",
            r#""t.kv.pw":"redacted""#,
        ),
        // What is derived, and what other things are derived from.
        (
            rule(ENDS, "action: {mask: [source.ip]}}"),
            "A 10.0.0.1 x",
            "10.0.0.1",
            r#""source.address":"redacted""#,
        ),
        (rule(ENDS, "action: {mask: [source.ip]}}"), "A 10.0.0.1 x", "domain", "event.original"),
        (
            rule(ENDS, "action: {mask: [source.address]}}"),
            "A 10.0.0.1 x",
            "10.0.0.1",
            r#""message":"A ******** x""#,
        ),
        // What stands in the line in two forms.
        (
            rule(KV, "transform: {user.name: [lowercase]}, action: {mask: [user.name]}}"),
            "user=ALICE path=/home/alice",
            "ALICE",
            r#""t.kv.path":"/home/redacted""#,
        ),
        (
            rule(KV, "transform: {user.name: [lowercase]}, action: {mask: [user.name]}}"),
            "user=alice ok=1",
            "alice",
            "user=***** ok=1",
        ),
        // What a rule has made of it, where that is the same.
        (
            rule(
                "- {id: t.m, pattern: '^M (?<_u>\\S+)', map: {user.name: {from: _u, values: {root: root}}}, ",
                "action: {mask: [user.name]}}",
            ),
            "M root",
            "root",
            r#""message":"M ****""#,
        ),
        // What a map has made something else of, in the field itself or another.
        (
            rule(
                "- {id: t.m, pattern: '^M (?<labels.card>\\S+) (?<labels.x>.*)', map: {labels.card: {'4*': visa}}, ",
                "action: {mask: [labels.card]}}",
            ),
            "M 4111 x4111",
            "4111",
            r#""event.original":"Nov 28 10:00:00 h t: M **** x****""#,
        ),
        (
            rule(
                "- {id: t.m, pattern: '^M (?<_u>\\S+) (?<labels.x>.*)', map: {user.name: {from: _u, values: {'a*': admin}}}, ",
                "action: {mask: [user.name]}}",
            ),
            "M alice by alice",
            "alice",
            r#""labels.x":"by redacted""#,
        ),
        // What another rule on the way has made, which knows what the line has for it.
        (
            rule(
                "- {id: t.m, pattern: '^M (?<_u>\\S+) (?<_body>.*)', map: {user.name: {from: _u, values: {a1: ann}}}, ",
                "then: {field: _body, chain: c}}",
            ),
            "M a1 hide 5",
            "a1",
            r#""user.name":"redacted""#,
        ),
        // What transforms leave, and of a list the items that the field cannot hold.
        (
            rule(KV, "transform: {user.name: [{split: ','}, first]}, action: {mask: [user.name]}}"),
            "user=ann,bob",
            "ann",
            r#""message":"redacted""#,
        ),
        (
            rule(
                "- {id: t.j, parse: {as: json, fields: {u: user.name}, rest: t.j}, ",
                "action: {mask: [user.name]}}",
            ),
            r#"{"u":["ann","bob"],"of":"bob","bob@x":1}"#,
            "bob",
            r#""t.j.redacted@x":"1""#,
        ),
        // What hides one text is not looked at for another.
        (
            rule(KV, "action: {mask: [user.name, user.id]}}"),
            "user=red id=e by=e.red",
            "redredacted",
            r#""t.kv.by":"redacted.redacted""#,
        ),
        // Upper or lower case.
        (
            rule(KV, "action: {mask: [user.name]}}"),
            "user=alice by=Alice",
            "lice",
            "user=***** by=*****",
        ),
        // A time cannot say that it is hidden.
        (
            rule(
                "- {id: t.d, pattern: '^D (?<event.start>\\S+)', ",
                "action: {mask: [event.start]}}",
            ),
            "D 2026-11-28T10:00:00Z",
            "event.start",
            r#""message":"D ********************""#,
        ),
        // Numbers, and one that holds another.
        (
            rule(KV, "action: {mask: [user.id]}}"),
            "id=1001 owner=1001",
            "1001",
            r#""t.kv.owner":"redacted""#,
        ),
        (
            rule(KV, "action: {mask: [user.name, user.email]}}"),
            "user=bob mail=bob@x.example",
            "x.example",
            "user=*** mail=*************",
        ),
    ];
    for (rules, message, hidden, shown) in cases {
        let pack = format!(
            "pack: t\nvendor: [t]\napplies: {{program: [t]}}\nrules:\n  {rules}\
             chains: {{c: [{{id: t.paid, pattern: '^paid (?<labels.cents:int>\\d+)$'}}, \
             {{id: t.hide, pattern: '^hide', action: {{mask: [user.name]}}}}]}}\n"
        );
        let rules = load(&[&pack]);
        let mut out = Vec::new();
        let line = format!("Nov 28 10:00:00 h t: {message}");
        let zone = Zone::utc();
        write_event(&mut Parser::new(rules), line.as_bytes(), &context(&zone), &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains(hidden) && out.contains(shown), "{pack}{line}\n{out}");
    }
}

/// Each: a message, what must not be in the event, and what must.
#[test]
fn what_is_masked_is_hidden_in_every_form_that_it_has() {
    let rules = load(&[r"
pack: t
vendor: [t]
applies: {program: [t]}
rules:
  - {id: t.j, parse: {as: json, fields: {u: user.name, n: labels.n, l: user.roles}, rest: t.j}, action: {mask: [user.name, labels.n, user.roles, t.j.pw]}}
"]);
    let many = |items: String| format!(r#"{{"l":[{items}"last"]}}"#);
    let others: String = (0..1100).map(|at| format!("\"k{at}\":1,")).collect();
    const STARS: &str = r#""event.original":"***"#;
    let mut leaks = Vec::new();
    for (message, hidden, shown) in [
        // Behind escapes, in what becomes a field and in what does not.
        (r#"{"u":"alice","path":"/home/\u0061lice"}"#.to_owned(), "lice", STARS),
        (r#"{"u":"alice","x":{"u":[{"path":"\/home\/\u0061lice"}]}}"#.to_owned(), "lice", STARS),
        (r#"{"u":"a/b","url":"/x?u=a%2Fb"}"#.to_owned(), "2Fb", STARS),
        (r#"{"u":"alice","log":"{\"u\":\"\\u0061lice\"}"}"#.to_owned(), "lice", STARS),
        // Where nothing is, all else stays.
        (
            r#"{"u":"alice","x":"C:\\x\n\u00e9 50%"}"#.to_owned(),
            "alice",
            r#"{\"u\":\"*****\",\"x\""#,
        ),
        // Numbers as they are spelled.
        (r#"{"n":12.50,"x":1}"#.to_owned(), "50", STARS),
        (r#"{"n":0012,"x":1}"#.to_owned(), "0012", STARS),
        (r#"{"n":12,"x":12.0}"#.to_owned(), "12.0", STARS),
        (r#"{"n":12.5,"x":7}"#.to_owned(), "12.5", r#"{\"n\":****,\"x\":7}"#),
        // What does not become a value.
        (many("\"a\",".repeat(300)), "last", STARS),
        (many("null,\"a\",".repeat(300)), "last", STARS),
        (format!(r#"{{{others}"pw":"hunter2"}}"#), "hunter2", r#""t.j.pw":"redacted""#),
        (r#"{"pw":"hunter1","pw":"hunter2"}"#.to_owned(), "hunter1", r#""t.j.pw":"redacted""#),
    ] {
        let line = format!("Nov 28 10:00:00 h t: {message}");
        let out = event(&rules, line.as_bytes()).to_string();
        if out.contains(hidden) || !out.contains(shown) {
            leaks.push((line, out));
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// A line that is full of what is masked costs no more than its length; with each text looked for by itself it
/// took 20 s.
#[test]
fn many_masked_texts_are_looked_for_at_once() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.a, pattern: '^(?<user.name>.*)$', transform: {user.name: [{split: ','}]}, action: {mask: [user.name]}}
"]);
    let others: String = (0..10_000).map(|at| format!("x{at:05},")).collect();
    for texts in [others, "x00,".repeat(16_000)] {
        let line = format!("Nov 28 10:00:00 h t: {texts}");
        let out = event(&rules, line.as_bytes()).to_string();
        assert!(!out.contains("x00"), "{}", &out[..2000]);
    }
}

/// However many texts a list has, each of them is related once.
#[test]
fn long_lists_of_related_texts_have_each_once() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.a, pattern: '^(?<user.name>.*)$', transform: {user.name: [{split: ','}]}}
"]);
    for many in [20, 32, 33, 40, 20_000] {
        let texts: String = (0..many).map(|at| format!("{at},")).collect();
        let line = format!("Nov 28 10:00:00 h t: {texts}{texts}0,x");
        let found = event(&rules, line.as_bytes());
        let related = found["related.user"].as_array().unwrap();
        assert_eq!(related.len(), many + 1);
        let expected = (0..many).map(|at| at.to_string()).chain(["x".to_owned()]);
        assert!(related.iter().zip(expected).all(|(text, expected)| *text == expected));
    }
}

#[test]
fn a_message_that_was_repeated_ends_before_its_bracket() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.hide, pattern: '^hide (?<user.name>\S+)', action: {mask: [user.name]}}
  - {id: t.a, pattern: '^hi'}
"]);
    for (message, masked) in
        [("hi \"x\"", "hi \"x\""), ("hi é", "hi é"), ("hide bob now", "hide *** now")]
    {
        let line = |message| format!("Nov 28 10:00:00 h t: message repeated 2 times: [ {message}]");
        let found = event(&rules, line(message).as_bytes());
        assert_eq!(found["event.original"], line(masked), "{found}");
        assert_eq!(found["message"], masked, "{found}");
    }
}

#[test]
fn one_text_has_one_hash_wherever_it_stands() {
    let rules = load(&[r"
pack: t
applies: {program: [t]}
rules:
  - {id: t.a, parse: {as: kv, fields: {user: user.name, mail: user.email}}, action: {mask: [user.name, user.email], with: hash}}
"]);
    let hash = |message: &str| {
        let line = format!("Nov 28 10:00:00 h t: {message}");
        event(&rules, line.as_bytes())["user.email"].clone()
    };
    assert_eq!(hash("user=bob mail=bob@x.example"), hash("user=al mail=bob@x.example"));
}

#[test]
fn patterns_see_only_the_beginning_of_a_long_line() {
    let rules = load(&[
        "pack: t\napplies: {program: [t]}\nrules:\n  - {id: t.end, pattern: 'END$'}\n  - {id: t.x, pattern: '^x'}\n",
    ]);
    let line = format!("Nov 28 10:00:00 h t: {}END", "x".repeat(20_000));
    check(&rules, &line, json!({"logweir.rule": "t.x", "event.original": line}));
}

#[test]
fn a_date_that_an_application_wrote_does_not_hide_its_pack() {
    let rules = load(&[r"
pack: t
applies: {signature: '^\d{4}-\d\d-\d\dT\S+ [A-Z]+ '}
rules:
  - id: t.a
    pattern: '^(?<_time>\S+) (?<log.level>[A-Z]+) (?<message>.*)$'
    time: {field: _time, formats: [rfc3339]}
"]);
    check(
        &rules,
        "2026-11-27T10:00:00Z WARN worker: late",
        json!({"logweir.rule": "t.a", "log.level": "WARN", "message": "worker: late", "host.hostname": null,
            "@timestamp": "2026-11-27T10:00:00.000Z"}),
    );
}

#[test]
fn the_reason_of_a_drop_names_a_counter_so_it_is_a_word_and_there_are_not_many() {
    let pack = |rules: &str| RuleSet::of_text("p.yaml", &format!("pack: p\nrules:\n{rules}"));
    let rule = |number: usize, reason: &str| {
        format!("  - {{id: p.r{number}, pattern: '^x{number} ', action: {{drop: '{reason}'}}}}\n")
    };
    let fault = pack(&rule(0, "Too Noisy!")).unwrap_err().remove(0);
    assert_eq!((fault.line, fault.column), (3, 48), "{fault:?}");
    assert!(fault.remedy.unwrap().contains("counter"));
    let many = |count| (0..count).map(|n| rule(n, &format!("r{n}"))).collect::<String>();
    assert_eq!(pack(&many(63)).unwrap().drop_reasons().count(), 63);
    assert_eq!(pack(&many(65)).unwrap_err().len(), 2);
}

/// Each mistake of a newcomer is told at its place, with what to write instead.
#[test]
fn usual_mistakes_are_told_at_their_place_with_a_remedy() {
    let check = |rule: &str, line: usize, column: usize, message: &str, remedy: &str| {
        let text = format!("pack: p\nrules:\n  - id: p.a\n    {rule}\n");
        let faults = RuleSet::of_text("p.yaml", &text).unwrap_err();
        let found = faults.iter().any(|fault| {
            (fault.line, fault.column) == (line, column)
                && fault.message.contains(message)
                && fault.remedy.as_ref().is_some_and(|text| text.contains(remedy))
        });
        assert!(found, "{rule}: {faults:#?}");
    };
    check(r#"pattern: "^\d+""#, 4, 14, "escape", "single quotes");
    check("\tpattern: 'x'", 4, 5, "a tab", "spaces");
    check("pattern: 'it''s (x'", 4, 21, "unclosed group", r"`\(`");
    check("pattern: '^[x'", 4, 16, "unclosed character class", r"`\[`");
    check("patern: '^x'", 4, 5, "unknown key", "`pattern`");
    check("pattern: '^(?<clerk>x)'", 4, 16, "not an ECS field", "`labels.clerk`");
    let time = "{pattern: x, time: {formats: ['dd.MM.yyyy HH:mm']}}";
    let text = format!("pack: p\nrules:\n  - {{id: p.a, {}\n", &time[1..]);
    let fault = RuleSet::of_text("p.yaml", &text).unwrap_err().remove(0);
    assert!(fault.remedy.unwrap().contains("`%d.%m.%Y %H:%M`"));
    check("pattern: x\n    set: {event.severity: high}", 5, 27, "no value for", "whole number");
    check("pattern: x\n    set: {source.ip: web1}", 5, 22, "no value for", "IP address");
    check("pattern: x\n    set: {user.name: [a, b]}", 5, 22, "a list for `user.name`", "one value");
    check(
        "pattern: x\n    action: {mask: ['@timestamp']}",
        5,
        21,
        "cannot be masked",
        "off the list",
    );
    check(
        "pattern: x\n    map: {event.severity: {from: _x, values: {a: b}}}",
        5,
        50,
        "`b`",
        "number",
    );
}

/// A sample that does not hold says why.
#[test]
fn a_failing_sample_says_what_went_wrong() {
    let check = |program: &str, rule: &str, expected: &[&str]| {
        let rules = load(&[&format!(
            "pack: p\napplies: {{program: [{program}]}}\nrules:\n  - id: p.a\n    {rule}\n    samples: [{{line: 'Nov 28 10:15:02 h p: [x] n=a t=1.2.2026', expect: {{labels.n: 5}}}}]\n"
        )]);
        let outcomes = logweir_parsers::samples::run(&rules);
        for (note, part) in outcomes[0].notes.iter().zip(expected) {
            assert!(note.contains(part), "{part}: {:?}", outcomes[0].notes);
        }
        assert_eq!(outcomes[0].notes.len(), expected.len(), "{:?}", outcomes[0].notes);
    };
    check("q", r"pattern: '^\[x\]'", &["`applies` wants program: [q]; the line's program is `p`"]);
    check(
        "p",
        r"pattern: '^\[x\] n=(?<labels.n:int>\d+)'",
        &["up to `[x] n=` and wants `(?<labels.n>\\d+)` where the text has `a t="],
    );
    check(
        "p",
        r"pattern: '^\[x\] n=a t=1.2.2026 end$'",
        &["up to `[x] n=a t=1.2.2026` and wants ` ` where the text ends"],
    );
    check("p", "pattern: '^[x] n=y'", &["wants `[x]`", "needs a text that begins with `x n=y`"]);
    check(
        "p",
        "pattern: '^\\[x\\] n=(?<labels.n:int>\\w+) t=(?<_t>\\S+)'\n    time: {field: _t, formats: ['%Y-%m-%d']}",
        &[
            "captures `a` for `labels.n`, which is no integer",
            "no format of `time` in `p.a` reads `1.2.2026`",
        ],
    );
}

#[test]
fn files_of_grok_patterns_are_fragments_of_the_pack_and_part_of_the_digest() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("shop.grok", "# of the shop\nORDER ORD-%{INT}\n\nLINE\t%{ORDER:labels.order} ok\n");
    write(
        "shop.yaml",
        "pack: shop\napplies: {starts: [x]}\npattern_files: [shop.grok]\nrules:\n  - {id: s.a, pattern: '^x %{LINE}'}\n",
    );
    let load = || RuleSet::load(&[directory.path().to_owned()], false);
    let rules = Arc::new(load().unwrap().rules);
    check(&rules, "x ORD-5 ok", json!({"labels.order": "ORD-5"}));
    write("shop.grok", "LINE (?<labels.order>y)\n");
    assert_ne!(load().unwrap().rules.hash(), rules.hash());
    write("shop.grok", "LINE\n");
    let faults = load().unwrap_err();
    assert!(
        faults.iter().any(|fault| fault.message.contains("line 1 of `shop.grok`")),
        "{faults:?}"
    );
}
