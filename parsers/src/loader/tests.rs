//! What the loader says of the mistakes of packs: each once, at its place, with what to do.

use super::*;
use logweir_document::render_all;
use std::fs;
use std::os::unix::net::UnixListener;

/// `line:column message; remedy` of each fault, in the order of the places.
fn said(text: &str) -> Vec<String> {
    let mut loading = Loading::default();
    loading.add("p.yaml", text);
    let mut faults = match loading.finish() {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults,
    };
    faults.sort_by_key(|fault| (fault.line, fault.column));
    let remedy = |fault: &Diagnostic| fault.remedy.clone().unwrap_or_default();
    let one = |fault: &Diagnostic| {
        format!("{}:{} {}; {}", fault.line, fault.column, fault.message, remedy(fault))
    };
    faults.iter().map(one).collect()
}

#[test]
fn a_key_that_stands_twice_hides_no_other_fault() {
    let text = "
pack: p
rules:
  - id: p.a
    pattern: '^(a'
    map: {event.action: {a: b, a: c}}
pack: q
  ";
    let expected = [
        "5:16 unclosed group; close the group, or write `\\(` for the sign",
        "6:32 duplicate key `a`; the first one is in line 6; keep one of them",
        "7:1 duplicate key `pack`; the first one is in line 2; keep one of them",
    ];
    assert_eq!(said(text), expected);
}

#[test]
fn a_capture_that_is_never_a_date_is_told_unless_a_time_reads_it() {
    let said_of = |pattern: &str, more: &str| {
        said(&format!("pack: p\nrules:\n  - id: p.a\n    pattern: '{pattern}'{more}\n"))
    };
    let remedy = "dates are as 2026-11-28T10:15:02Z; read others by `time: {field: event.start, \
                  formats: […], into: 'event.start'}`";
    let expected = [format!("4:14 what is captured as `event.start` is never a date; {remedy}")];
    assert_eq!(said_of(r"^(?<event.start>\d+)$", ""), expected);
    assert_eq!(said_of("^%{HTTPDATE:@timestamp}$", "").len(), 1);
    let read = "\n    time: {field: event.start, formats: [unix], into: event.start}";
    assert!(said_of(r"^(?<event.start>\d+)$", read).is_empty());
    for pattern in [r"^(?<event.start>\S+) x", r"^(?<event.start>\d{4}-\d\d-\d\d)\b"] {
        assert!(said_of(pattern, "").is_empty(), "{pattern}");
    }
}

#[test]
fn a_mistake_is_told_once() {
    for (text, expected) in [
        (
            "",
            &[
                "1:1 an empty pack; write `pack: NAME` and `rules:`; `rules suggest` drafts them from lines",
            ][..],
        ),
        ("pack: p\nrules: {id: p.a}\n", &["2:8 `rules` is a mapping; write a list"]),
        (
            "pack: p\napplies:\n  signature:\n    - 'a('\n    - [b]\nrules: []\n",
            &[
                "4:9 unclosed group; close the group, or write `\\(` for the sign",
                "5:7 `applies.signature` is a list; write a text",
            ],
        ),
        (
            "pack: p\nrules:\n  - {id: p.a, patern: '^x'}\n",
            &["3:15 unknown key `patern` in `rules[0]`; did you mean `pattern`?"],
        ),
        (
            "pack: p\nrules:\n  - {id: p.a, when: [a]}\n",
            &["3:21 `rules[0].when` is a list, not a mapping; write `key: value` lines"],
        ),
        (
            "pack: p\npatterns: {ONE: '(x', TWO: '%{ONE}y', LOOP: '%{LOOP}'}\nrules:\n\
             \x20 - {id: p.a, patterns: ['^%{ONE}', '^%{TWO:user.name}', '^%{LOOP}']}\n",
            &[
                "2:18 unclosed group; close the group, or write `\\(` for the sign",
                "2:46 `%{LOOP}` refers to itself; define it without itself",
            ],
        ),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn fragments_that_stand_for_too_much_are_a_fault_before_they_are_written_out() {
    let tenfold = (1..9).map(|n| format!("  A{n}: '{}'\n", format!("%{{A{}}}", n - 1).repeat(10)));
    let tenfold = format!("  A0: 'a'\n{}", tenfold.collect::<String>());
    let half = "x".repeat(40 << 10);
    let circle = format!("  A8: '{half}%{{B}}'\n  B: '{half}%{{A8}}'\n");
    for (fragments, place) in [(tenfold, "11:8"), (circle, "3:40968")] {
        let text = format!(
            "pack: p\npatterns:\n{fragments}rules:\n\
             \x20 - {{id: p.a, pattern: '^%{{A8}}'}}\n\
             \x20 - {{id: p.b, pattern: '^%{{A8}}b'}}\n"
        );
        let expected = "is longer than 64 KiB with what its names stand for; name less at once: a \
                        rule for each of the forms that a line may have";
        assert_eq!(said(&text), [format!("{place} {expected}")]);
    }
}

#[test]
fn a_second_document_of_a_file_is_a_fault_and_a_last_line_of_dashes_is_none() {
    let pack = "pack: p\nrules:\n  - {id: p.a, pattern: '^x'}\n---\n";
    assert_eq!(said(pack), Vec::<String>::new());
    assert_eq!(
        said(&format!("{pack}pack: q\n")),
        [
            "4:1 a second document, of which nothing would be read; write each pack into a file of its own"
        ]
    );
}

#[test]
fn names_that_nothing_gives_a_value_are_told_with_the_nearest_that_has_one() {
    let text = r"
pack: p
rules:
  - id: p.a
    pattern: '^(?<_time>\S+) (?<_body>.*)'
    time: {field: _tme, formats: [rfc3339]}
    set: {event.code: '{_lost}'}
    then: {field: _body, chain: c}
  - id: p.b
    parse: {as: csv, columns: [_date, user.name]}
    map: {_level: {from: _date, values: {x: low}}}
    set: {event.code: '{_level}'}
chains:
  c:
    - {id: p.c, pattern: '^x', set: {event.reason: '{_time}', event.code: '{_later}'}}
    - {id: p.d, pattern: '^(?<_later>y)'}
";
    let expected = [
        "6:19 nothing gives `_tme` a value; did you mean `_time`?",
        "7:23 nothing gives `_lost` a value; capture it, such as by `(?<_lost>\\S+)`",
    ];
    assert_eq!(said(text), expected);
}

#[test]
fn a_field_that_two_rules_give_two_types_is_told_with_both_places() {
    let text = r"
pack: p
rules:
  - {id: p.a, pattern: '^a (?<labels.n:int>\S+) (?<labels.m:int>\S+)'}
  - {id: p.b, pattern: '^b (?<labels.n:float>\S+) (?<labels.m:int>\S+)'}
  - {id: p.c, pattern: '^c (?<labels.n:string>\S+) (?<labels.m>\S+)'}
";
    let remedy = "write one type in both places; as it is, the field is";
    let expected = [
        format!("5:28 `labels.n` is float here and integer in p.yaml:4; {remedy} float"),
        format!("6:28 `labels.n` is text here and integer in p.yaml:4; {remedy} text"),
    ];
    assert_eq!(said(text), expected);
}

#[test]
fn a_chain_that_no_rule_leads_to_is_told() {
    let text = "
pack: p
rules:
  - {id: p.a, pattern: '^(?<_b>x)', then: {field: _b, chain: one}}
chains:
  one:
    - {id: p.one, pattern: '^x', then: {chain: two}}
  two:
    - {id: p.two, pattern: '^x'}
  tow:
    - {id: p.tow, pattern: '^x'}
  loop:
    - {id: p.loop, pattern: '^x', then: {chain: pool}}
  pool:
    - {id: p.pool, pattern: '^x', then: {chain: loop}}
";
    let expected = ["tow", "loop", "pool"].into_iter().zip([10, 12, 14]).map(|(chain, line)| {
        format!(
            "{line}:3 no rule leads to the chain `{chain}`; give a rule `then: {{chain: {chain}}}`"
        )
    });
    let expected: Vec<String> = expected.collect();
    assert_eq!(said(text), expected);
}

#[test]
fn only_a_rule_that_leads_on_may_take_every_text() {
    let pack = |rule: &str| said(&format!("pack: p\nrules:\n  - {{id: p.a, {rule}}}\n"));
    assert_eq!(pack("then: {field: message, as: line}"), Vec::<String>::new());
    let expected = "3:5 the rule `p.a` matches every line; give it a `pattern`, `parse` or `when`";
    assert_eq!(pack("set: {event.action: x}"), [expected]);
}

#[test]
fn a_rule_leads_to_a_chain_or_to_all_packs() {
    let rule = |then: &str| {
        let rule = format!("{{id: p.a, pattern: '^(?<_b>x)', then: {then}}}");
        format!(
            "pack: p\nrules:\n  - {rule}\n  - {{id: p.b, pattern: '^y', then: {{chain: c}}}}\n\
             chains:\n  c: [{{id: p.c, pattern: '^x'}}]\n"
        )
    };
    let remedy = "name a chain of the pack, or write `as: line` for all packs";
    for (then, expected) in [
        ("{field: _b, as: line}", String::new()),
        ("{field: _b, as: line, program: _b}", String::new()),
        (
            "{chain: c, program: _b}",
            "3:63 `program` for the rules of a chain; only `as: line` asks for it: packs are found by the \
             program"
                .to_owned(),
        ),
        ("{field: _b}", format!("3:43 `then` has no `chain`; {remedy}")),
        ("{chain: c, as: line}", format!("3:43 `then` has both `chain` and `as`; {remedy}")),
        ("{as: lines}", "3:48 `rules[0].then.as` is `lines`; write one of `line`".to_owned()),
    ] {
        assert_eq!(said(&rule(then)).join("\n"), expected, "{then}");
    }
}

#[test]
fn times_transforms_and_maps_that_are_nearly_right_are_told_what_was_meant() {
    let rule = |what: &str| {
        format!(
            "pack: p\nrules:\n  - id: p.a\n    pattern: '^(?<_t>x)(?<user.name>y)'\n    {what}\n"
        )
    };
    for (what, expected) in [
        ("time: {field: _t, formats: [rfc333]}", "did you mean `rfc3339`?"),
        ("time: {field: _t, formats: [unixms]}", "did you mean `unix_ms`?"),
        ("time: {field: _t, zone: Europe/Berln}", "did you mean `Europe/Berlin`?"),
        ("time: {field: _t, into: user.name}", "`user.name` is no date but text"),
        ("transform: {_t: [{multiply: ten}]}", "`multiply` is `ten`; write a number other than 0"),
        ("transform: {_t: [{splitt: ','}]}", "did you mean `split`?"),
        ("transform: {_t: [{lowercase: true}]}", "takes no argument; write `lowercase` alone"),
        ("transform: {_t: [{replace: [a]}]}", "is not two texts; write `{replace: [from, to]}`"),
        ("transform: {_t: [{gsub: a}]}", "is not a pattern and a text; write `{gsub: ["),
        ("transform: {_t: [{gsub: ['(a', b]}]}", "unclosed group"),
        ("transform: {_t: [{gsub: ['(?<user.id>a)', b]}]}", "`gsub` captures `user.id`"),
        ("transform: {_t: [{gsub: ['a*', b]}]}", "finds the empty text"),
        ("transform: {_t: [{multiply: 2, divide: 3}]}", "two transforms in one step"),
        ("transform: {_t: [{split: ''}]}", "`split` at an empty text; write what stands between"),
        ("time: {field: _t, formats: ['%H:%M:%S']}", "it has no date, so it would never read"),
        ("map: {event.type: {from: _t, value: {x: [info]}}}", "a map without `values`"),
        ("samples: [{line: x, expect: {usr.name: y}}]", "did you mean `user.name`?"),
        ("samples: [{line: x, expect: {_t: y}}]", "`_t` is for use inside the rule"),
    ] {
        let said = said(&rule(what));
        assert!(said.iter().any(|fault| fault.contains(expected)), "{what}: {said:?}");
        let more = usize::from(what.starts_with("map"));
        assert_eq!(said.len(), 1 + more, "{what}: {said:?}");
    }
    let good =
        "samples: [{line: x, expect: {event.original: x, logweir.rule: p.a, dropped: null}}]";
    assert_eq!(said(&rule(good)), Vec::<String>::new());
}

#[test]
fn what_would_load_and_mean_something_else_is_told() {
    let rule = |what: &str| format!("pack: p\nrules:\n  - id: p.a\n    {what}\n");
    let pattern = "pattern: '^(?<_t>x)(?<source.port>y)'";
    for (what, expected) in [
        ("map: {event.outcome: {x: sucess}}", "did you mean `success`?"),
        (
            "map: {event.outcome: {from: _t, values: {x: success}, default: fail}}",
            "is no event.outcome",
        ),
        (
            "map: {source.port: {from: _t, values: {}, default: x}}",
            "`x` is no value for `source.port`",
        ),
        (
            "map: {event.category: {from: _t, values: {x: [web, authn]}}}",
            "`authn` is no event.category",
        ),
        ("map: {event.outcome: {from: _t}}", "a map without `values`"),
        ("map: {event.action: {x: 'is {_t}'}}", "write templates under `set`, outside of lists"),
        ("set: {event.category: ['{_t}']}", "`{_t}` is no template here"),
        ("set: {tags: [a, '{_t}']}", "`{_t}` is no template here"),
        ("set: {event.severity: null}", "no value for `event.severity`; write one, or leave"),
        ("set: {tags: }", "no value for `tags`"),
        ("set: {event.action: {_t}}", "put a template in quotes: `'{_t}'`"),
        ("patterns: ['^y']", "`patterns` beside a `pattern`"),
        ("transform: {_t: [{gsub: ['\\p{L}', b]}]}", "write `\\w` with `unicode: true`"),
        ("parse: {as: csv}", "missing `columns`"),
        ("action: {drop: a, sample: 10}", "keep one of `drop`, `sample` and `mask`"),
        ("action: {mask: [source.port], drop: a}", "keep one of `drop`, `sample` and `mask`"),
        ("when: {source.port: 1000-10}", "write the lower end first: `10-1000`"),
        ("when: {source.port: [22, 9-1]}", "write the lower end first: `1-9`"),
        ("map: {event.action: {from: _t, values: {5-3: a}}}", "write the lower end first: `3-5`"),
        ("on: source.port", "`source.port` is matched before the rule itself fills it"),
        ("on: lin", "`lin` is not an ECS field"),
        ("on: user.name", "nothing fills `user.name` before the rule"),
        ("then: {field: [_t], as: line}", "`rules[0].then.field` is a list"),
        (
            "samples: [{line: x, expect: {user.name:alice}}]",
            "blank behind the colon: `user.name: alice`",
        ),
    ] {
        let said = said(&rule(&format!("{pattern}\n    {what}")));
        assert!(said.len() == 1 && said[0].contains(expected), "{what}: {said:?}");
    }
    for good in [
        "set: {tags: ['{', 'a}'], event.action: '{{_t}}', event.category: '{_t}'}",
        "on: process.name",
        "when: {source.port: ['10-1000', 'a-b', '!x'], _t: ''}",
    ] {
        let said = said(&rule(&format!("{pattern}\n    {good}")));
        assert_eq!(said, Vec::<String>::new(), "{good}");
    }
}

#[test]
fn a_line_names_no_fields_but_under_a_prefix_of_the_packs_own() {
    let pack = |vendor: &str, rest: &str| {
        said(&format!(
            "pack: p\nvendor: [{vendor}]\nrules:\n  - {{id: p.a, parse: {{as: json, rest: {rest}}}}}\n"
        ))
    };
    for (vendor, rest, place, expected) in [
        ("event", "event", "2:10", "`event` is where ECS or the agent has fields; choose a prefix"),
        ("a, logweir.x", "drop", "2:13", "or keep them under `labels.logweir_x`"),
        ("labels", "labels.a", "2:10", "such as `acme`, or keep them under `labels.acme`"),
        ("a", "labels", "4:39", "such as `acme`, or keep them under `labels.acme`"),
        ("_a", "drop", "2:10", "`_a` is no prefix of fields; write a name such as `acme`"),
        ("a.", "drop", "2:10", "`a.` is no prefix"),
        ("a", "event", "4:39", "`event` is where ECS or the agent has fields; choose"),
        ("a", "source.x", "4:39", "or keep them under `labels.source_x`"),
        ("a", "b.c", "4:39", "`b.c` is no vendor prefix of this pack; declare it: `vendor: [b]`"),
        ("a", "''", "4:39", "`` is no prefix of fields"),
        ("a", "a.", "4:39", "`a.` is no prefix of fields"),
        ("a", ".a", "4:39", "`.a` is no prefix of fields"),
        ("a", "labels..b", "4:39", "`labels..b` is no prefix of fields"),
        ("a", "_a", "4:39", "`_a` is no prefix of fields"),
    ] {
        let said = pack(vendor, rest);
        let told = said.len() == 1 && said[0].starts_with(place) && said[0].contains(expected);
        assert!(told, "{vendor} {rest}: {said:?}");
    }
    for (vendor, rest) in [("a", "a"), ("a", "a.b.c"), ("a.b", "a.b"), ("a", "labels.b")] {
        assert_eq!(pack(vendor, rest), Vec::<String>::new(), "{vendor} {rest}");
    }
}

#[test]
fn a_fragment_that_nothing_uses_has_its_faults_told_too() {
    let text = "pack: p\npatterns: {ONE: '(x', TWO: 'y', THREE: '%{NONE}'}\n\
                rules: [{id: p.a, pattern: '^%{TWO:user.name}'}]\n";
    let expected = ["2:18 unclosed group", "2:41 unknown pattern `%{NONE}`"];
    let said = said(text);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.iter().zip(expected).all(|(said, expected)| said.starts_with(expected)),
        "{said:?}"
    );
}

#[test]
fn an_id_stands_once_in_a_directory_and_replaces_that_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pack: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let rule = format!("{{id: x, pattern: '^x', set: {{event.action: {pack}}}}}");
        fs::write(&path, format!("pack: {pack}\nrules:\n  - {rule}\n")).unwrap();
        path
    };
    let (a, b) = (file("one/a.yaml", "a"), file("two/b.yaml", "b"));
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let loads = |named: &[PathBuf]| RuleSet::load(named, false).map(|loaded| loaded.rules);
    let names = |rules: &RuleSet| rules.packs().map(|(.., rules)| rules).collect::<Vec<_>>();
    for named in [&[one.clone(), two.clone()][..], &[a, one.clone(), b.clone(), two.clone()]] {
        let rules = loads(named).unwrap();
        assert_eq!((names(&rules), rules.rule(0).file.as_ref()), (vec![0, 1], b.to_str().unwrap()));
    }
    file("two/c.yaml", "c");
    for named in [&[two.clone()][..], &[one, two]] {
        let shown = render_all(&loads(named).unwrap_err(), false);
        let remedy = format!("the rule in {}:3 has it; choose another", b.display());
        assert!(shown.contains("two/c.yaml:3:") && shown.contains(&remedy), "{shown}");
    }
}

#[test]
fn a_plain_scalar_is_the_number_that_it_looks_like_or_the_text_that_it_is() {
    let value = |text: &str| {
        let document = logweir_document::parse("x", format!("a: {text}\n")).unwrap();
        rule::json(document.root.get("a").unwrap()).to_string()
    };
    for text in ["7", "-7", "1.5", "18446744073709551615", "true"] {
        assert_eq!(value(text), text);
    }
    for text in ["0815", "1.10", "+5", "1e3", ".5", "nan", "18446744073709551616"] {
        assert_eq!(value(text), format!("\"{text}\""));
    }
}

#[test]
fn a_file_that_is_no_text_or_no_file_is_told_with_its_place_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    fs::write(file("latin.yaml"), b"pack: p\ndescription: \"L\xe4den\"\n").unwrap();
    fs::write(file("wide.yaml"), b"\xff\xfep\0a\0c\0k\0").unwrap();
    fs::create_dir(file("directory.yaml")).unwrap();
    let _listener = UnixListener::bind(file("socket.yaml")).unwrap();
    let faults = RuleSet::load(&[directory.path().to_owned()], false).unwrap_err();
    let shown = render_all(&faults, false);
    for expected in [
        "latin.yaml:2:16: error: the byte 0xe4 is not UTF-8\n  help: save it as UTF-8, such as by `iconv -f ISO-8859-1",
        "wide.yaml:1:1: error: the byte 0xff is not UTF-8\n  help: save it as UTF-8, such as by `iconv -f UTF-16",
        "directory.yaml: error: is a directory\n",
        "socket.yaml: error: is no file but a pipe, a socket or a device",
        "4 errors",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
}

#[test]
fn a_directory_without_packs_is_told_only_to_whoever_examines_it() {
    let directory = tempfile::tempdir().unwrap();
    let named = [directory.path().to_owned()];
    fs::write(directory.path().join("readme.txt"), "x").unwrap();
    assert!(RuleSet::load(&named, false).is_ok());
    assert!(render_all(&without_packs(&named), false).contains("holds no rule packs"));
    fs::write(directory.path().join("a.yml"), "pack: p\n").unwrap();
    assert_eq!(without_packs(&named), []);
}
