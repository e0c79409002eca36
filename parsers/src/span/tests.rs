//! Against `regex::bytes`, the oracle: rules as they are written, cases that are easily wrong, and
//! patterns and texts at random.

use super::{Outcome, Program, Scratch};
use crate::decide::Decisions;
use crate::heads::{Head, Outlines, Sketch};
use crate::lead::Lead;
use regex::bytes::{Regex, RegexBuilder};

fn oracle(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).unicode(false).dot_matches_new_line(true).build().ok()
}

fn expected(regex: &Regex, text: &[u8]) -> Option<Vec<Option<usize>>> {
    let mut locations = regex.capture_locations();
    regex.captures_read(&mut locations, text)?;
    let group = |at| locations.get(at).map_or([None; 2], |(start, end)| [Some(start), Some(end)]);
    Some((0..locations.len()).flat_map(group).collect())
}

/// Compares with the oracle and says what came out; what stands behind the text changes nothing.
fn compare(program: &Program, regex: &Regex, text: &[u8], scratch: &mut Scratch) -> Outcome {
    let mut slots = vec![None; regex.captures_len() * 2];
    let padded = [text, b" port 1: aab bcx\nxyz[]"].concat();
    let with_more = program.search_padded(&padded, text.len(), scratch);
    let places: Vec<_> = (0..regex.captures_len()).map(|group| scratch.group(group)).collect();
    let outcome = program.captures(text, &mut slots, scratch);
    assert_eq!(with_more, outcome);
    if outcome == Outcome::Match {
        let alone: Vec<_> = (0..regex.captures_len()).map(|group| scratch.group(group)).collect();
        assert_eq!(places, alone, "{} {}", regex.as_str(), text.escape_ascii());
    }
    let expected = expected(regex, text);
    let context =
        || format!("pattern {:?} text {:?}", regex.as_str(), text.escape_ascii().to_string());
    match outcome {
        Outcome::Match => assert_eq!(Some(slots), expected, "{}", context()),
        Outcome::NoMatch => assert_eq!(None, expected, "{}", context()),
        Outcome::OutOfFuel => {}
    }
    outcome
}

fn check(pattern: &str, texts: &[&str]) {
    let regex = oracle(pattern).unwrap_or_else(|| panic!("{pattern} is no regex"));
    let program = Program::compile(pattern).unwrap_or_else(|| panic!("{pattern} has no program"));
    assert_eq!(program.slots_len(), regex.captures_len() * 2, "{pattern}");
    let mut scratch = Scratch::default();
    for text in texts {
        let outcome = compare(&program, &regex, text.as_bytes(), &mut scratch);
        assert_ne!(outcome, Outcome::OutOfFuel, "{pattern} {text}");
    }
}

#[test]
fn what_a_field_runs_over_in_vain_is_paid_for() {
    // Each digit is given back once, and from each the rest of the line is run over.
    let program = Program::compile(r"^(\d+)[^\n]*\n").unwrap();
    let text = "5".repeat(16 << 10);
    let outcome = program.search(text.as_bytes(), &mut Scratch::default());
    assert_eq!(outcome, Outcome::OutOfFuel);
}

#[test]
fn rules_match_as_the_regex_does() {
    check(
        r"^Accepted (?<m>\S+) for (?<user>.*) from (?<ip>\S+) port (?<port>\d+)(?: ssh2)?(?:: (?<key>.+))?$",
        &[
            "Accepted password for root from 10.0.0.1 port 22 ssh2",
            "Accepted publickey for a from b from ::1 port 1 ssh2: RSA SHA256:x",
            "Accepted password for root from 10.0.0.1 port x",
            "Accepted",
            "",
        ],
    );
    check(
        r#"^(\S+) (\S+) (\S+) \[([^\]]+)\] "([A-Z]+) ([^ "]+)(?: HTTP/([\d.]+))?" (\d{3}) (\d+|-)"#,
        &[
            "1.2.3.4 - bob [22/Nov/2026:10:00:00 +0000] \"GET /a?b HTTP/1.1\" 200 12",
            "1.2.3.4 - - [x] \"GET /\" 404 -",
            "1.2.3.4 - - [] \"GET /\" 404 -",
        ],
    );
    check(
        r"(?:user|uid)=(\w+)(?:,| |$)",
        &["x user=bob, uid=3", "user=", "uid=7", "useruid=a user=b c"],
    );
    check(
        r"(\d+) connections? from (\S+)$",
        &["12 34 connections from a", "1 connection from b c"],
    );
}

/// Literals are compared ahead of their operations, and branches that one excludes are not kept.
#[test]
fn a_literal_that_is_compared_ahead_leaves_the_other_ways_open() {
    check(
        r"^(\S+?)(?: port (\d+))?(?: ssh\d?)?(?: \[preauth\])?(?:: (.+))?$",
        &[
            "a port 1 ssh2 [preauth]: x",
            "a port 1",
            "a port x",
            "a: b: c",
            "::1: x",
            "::1 port 22: y",
            "a ssh",
            "a ssh2: ",
            "a [preauth]",
        ],
    );
    check(
        r"^(?:ab(c)?|abd|a(b+)d)(?:ab)*?(x|abx)?",
        &["abc", "abd", "abbd", "abcababx", "abx", "abdx", "ab", "abababab"],
    );
    check(
        r"(.*?) from (.+) to (.*)$",
        &["a from b to c", " from b from c to d to e", "a from b", "a from  to "],
    );
    check(r"(?:x(y)?|xy(z))*(?:xyz|x)$", &["xyz", "xyxyz", "xyzxyzx", "xxyx", "xy"]);
    check(
        r"(?:a b|a {1,2}b|a (?-u:[^c])b)c(?:de)??(?:dex|d|$)",
        &["a bcdex", "a  bc", "a bcde", "a bcd"],
    );
}

/// Turns of a loop that take one byte are a run.
#[test]
fn a_loop_over_a_byte_or_something_else_is_a_run_with_something_in_it() {
    let texts = [
        r#""a \"b\" c" 200"#,
        r#""a b" "c" 200"#,
        r#""" 1"#,
        r#""a\\" 1"#,
        r#""a\""#,
        "aabab",
        "aaabbab\\a",
        "\\\\",
        "ba\\\"x\"x",
        "",
    ];
    for pattern in [
        r#"^"((?:[^"\\]|\\.)*)" (\d+)"#,
        r#"^"((?:[^"\\]|\\.)*?)(?: \w+)?" "#,
        r#""(?:\\.|[^"\\])+""#,
        r"^(?:a|b+a?|\\.)*(b.*)?$",
        r"(?:[ab]|\\[\\x]??)*?x",
        r"(?:[^b]|ba)*b",
        r"^(?:ab|a)*(b?)",
        r"^(?:(?:[^a\\]|\\.)*a){2}(.*)",
    ] {
        check(pattern, &texts);
    }
}

#[test]
fn what_another_way_has_found_is_forgotten() {
    check(
        r"^(\S+?)(?: port (\d+))?(?: as (\w+)(?: of (\w+))?)?(x?)$",
        &["a port 1 as b of c", "a port 1 as b of ", "a port 1x", "a as b", "a port 1 as b of cx"],
    );
    check(
        r"^(.*?)(?:(a)(b)?|(c)(d)?)(?:(e)|(f))*(?:(g)|(h)){2}(i)?$",
        &["abefghi", "cdefgh", "abcdefhg", "acfegg", "abefgcdfhh", "abefghab", "cdghi"],
    );
    check(r"^(?:(a)(b)?(?:(c)|(d))?)+(?:(e)(f)?)?(.*?)$", &["abcad", "acabde", "aef", "abaaef"]);
}

/// Literals of up to eight bytes are one step, and a longer one is told by its first eight.
#[test]
fn literals_of_any_length_are_compared_whole() {
    for length in 1..=26 {
        let literal = &"abcdefghijklmnopqrstuvwxyz"[..length];
        let pattern = format!("^(x*)(?:{literal}(1))?(?:{literal}(2))?(.*)$");
        let off = format!("{}_", &literal[..length - 1]);
        let texts = [
            literal.to_owned(),
            format!("x{literal}1{literal}2"),
            format!("x{literal}2y"),
            format!("{off}1"),
            format!("{literal}1{off}2"),
            off[..length - 1].to_owned(),
        ];
        check(&pattern, &texts.each_ref().map(String::as_str));
        // Behind a run, the literal is compared in the run's step.
        let pattern = format!("^([^a]{{2,}}){literal}(.?)$");
        let texts = [
            format!("xx{literal}"),
            format!("xyz{literal}1"),
            format!("x{literal}"),
            format!("xx{off}"),
            format!("xx{}", &off[..length - 1]),
        ];
        check(&pattern, &texts.each_ref().map(String::as_str));
    }
}

#[test]
fn branches_that_one_byte_tells_apart_are_taken_by_it() {
    check(
        r"^(?:(\d+)|([a-z]+))-(?:\d(x)|([x-z])y|)(?:([ab])|([cd]))*$",
        &["12-", "ab-1x", "ab-xy", "ab-x", "1-1", "1-abcd", "1-xyabcd", "-", "1-xe", "1a-"],
    );
}

#[test]
fn runs_end_at_blanks_and_at_what_may_follow() {
    check(
        r"^(\S+?):(\S+)(?: |\t|$)([^\s=]*)=?([^\s,]+?),",
        &[
            "a:b c=d,",
            "a\u{1}b:c\td,",
            "a::b =d,",
            "a b:c d,",
            "abcdefghijk\u{8}lm:b \u{7}=\u{e}z,,",
        ],
    );
    check(r"^(\S{3,5}?)( ?)(\d{2,4})(.*?)$", &["abc12", "ab 12", "abcdef1", "abcde12345", "abc1"]);
}

#[test]
fn preferences_are_those_of_the_pattern() {
    for (pattern, texts) in [
        ("a|ab", &["ab", "b"][..]),
        ("(a|ab)(c|bcd)(d*)", &["abcd", "abc"]),
        ("(a+?)(a*)", &["aaa"]),
        ("(a{2,3}?)(a?)", &["aaaa", "aa", "a"]),
        ("(?:(a)|(b))+", &["abab", "ba"]),
        ("(?:(a)|b)*c", &["abc", "bac", "c"]),
        ("(.*)x(.*)", &["axbxc", "x", ""]),
        ("(.*?)x(.*?)$", &["axbxc"]),
        (r"\b(\w+)\b", &[" ab ", "", "é x"]),
        (r"(\w+) \1?".trim_end_matches(r"\1?"), &["ab cd "]),
        ("(?m)^(b+)$", &["a\nbb\nc", "b", "ab"]),
        ("", &["", "a"]),
        ("$", &["", "ab"]),
        ("x*", &["", "ax", "xx"]),
        ("x*$", &["axx", "a"]),
        ("[^a]*b", &["ccab", "ccb"]),
        (r"(?i)accepted (\S+)", &["ACCEPTED x", "aCcEpTeD y"]),
        ("(?:ab){2,}c", &["abc", "ababc", "abababc"]),
        ("(?:ab){0,2}?c", &["ababc", "c"]),
        ("(?:(a)|(b)|(c))(?:(d)|e)?$", &["ab", "ae", "bd", "cf", "abce"]),
        ("^(?:(a)x|(a)y|(a+))(?: (b))?z", &["ayz", "aaz", "a bz", "ax bz", "ay z"]),
        ("(?:x(a+))?(.*?)(?:(b)(c))?$", &["xaab", "xabc", "bc", "xbbc"]),
        ("(?:(?:(a))?c)+d", &["acacdcd", "acxcd", "accd"]),
        (
            "^(.+?) from (\\S+?)(?: port (\\d+))?(?:: (.+))?$",
            &["a from b from c port 1: x", "a from b: c"],
        ),
        ("(?:(a{1,2}) )?(a+)b", &["aa ab", "aa aab", "a aa", "aaab"]),
    ] {
        check(pattern, texts);
    }
}

#[test]
fn what_has_no_place_does_not_compile() {
    for pattern in ["(a*)*", "(?:a|b?)+", "(", "(?u:[äö])", r"(?:(?:ab){100}){100}", r"\b{start}a"]
    {
        assert!(Program::compile(pattern).is_none(), "{pattern}");
    }
    let groups = |count: usize| "(a)?".repeat(count);
    check(&groups(126), &["", &"a".repeat(126)]);
    assert!(Program::compile(&groups(127)).is_none());
}

#[test]
fn steps_are_linear_in_the_text() {
    let mut scratch = Scratch::default();
    let evil = "a".repeat(50_000) + "!";
    for pattern in ["^(?:a|aa)+$", "(?:a+)+b", ".*a.*a.*a.*b", "a*a*a*a*c", "(?:.*?,){9}x"] {
        let program = Program::compile(pattern).unwrap();
        let outcome = program.captures(evil.as_bytes(), &mut [], &mut scratch);
        assert_ne!(outcome, Outcome::Match, "{pattern}");
    }
    // The text is walked once, whatever the run.
    let program = Program::compile(r"(\w+) x").unwrap();
    assert_eq!(program.captures(evil.as_bytes(), &mut [], &mut scratch), Outcome::NoMatch);
}

#[test]
fn slots_are_as_many_as_there_is_room_for() {
    let mut scratch = Scratch::default();
    let program = Program::compile("(a)(b)?").unwrap();
    let mut slots = [Some(9); 8];
    assert_eq!(program.captures(b"xa", &mut slots, &mut scratch), Outcome::Match);
    assert_eq!(slots, [Some(1), Some(2), Some(1), Some(2), None, None, None, None]);
    let mut slots = [Some(9); 1];
    assert_eq!(program.captures(b"xa", &mut slots, &mut scratch), Outcome::Match);
    assert_eq!(slots, [Some(1)]);
    assert_eq!(program.captures(b"x", &mut slots, &mut scratch), Outcome::NoMatch);
    assert_eq!(slots, [Some(1)]);
}

#[test]
fn programs_are_small() {
    let program =
        Program::compile(r"^Failed (\S+) for (.*) from (\S+) port (\d+)(?: ssh2)?$").unwrap();
    assert!(program.bytes() < 1500, "{} bytes", program.bytes());
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn pattern(&mut self, depth: u64, out: &mut String) {
        for _ in 0..=self.below(3) {
            match self.below(if depth == 0 { 6 } else { 10 }) {
                0..=2 => out.push_str(self.pick(&["a", "b", "ab", " ", "1", "a1", "-", "b "])),
                3..=4 => {
                    let class = [
                        ".", r"\d", r"\S", r"\w", r"\s", "[ab]", "[^a]", "[^ ]", "[^b1]", "[0-9a-]",
                    ];
                    out.push_str(self.pick(&class));
                    self.repeat(out);
                }
                5 => {
                    out.push_str(self.pick(&[r"\b", r"\B", "^", "$", "(?m:^)", "(?m:$)", "", "a"]))
                }
                6..=7 => {
                    out.push_str(self.pick(&["(", "(?:", "(?i:"]));
                    self.pattern(depth - 1, out);
                    out.push(')');
                    self.repeat(out);
                }
                _ => {
                    out.push_str(self.pick(&["(", "(?:"]));
                    for _ in 0..=self.below(2) {
                        self.pattern(depth - 1, out);
                        out.push('|');
                    }
                    if self.below(4) > 0 {
                        self.pattern(depth - 1, out);
                    }
                    out.push(')');
                    self.repeat(out);
                }
            }
        }
    }

    fn repeat(&mut self, out: &mut String) {
        let counts = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "{2,}", "{0,3}"];
        let count = self.pick(&counts);
        out.push_str(count);
        if !count.is_empty() && self.below(3) == 0 {
            out.push('?');
        }
    }

    fn text(&mut self) -> Vec<u8> {
        const BYTES: &[u8] = b"aaabbb11  -A\n\xff";
        (0..self.below(14)).map(|_| BYTES[self.below(BYTES.len() as u64) as usize]).collect()
    }
}

#[test]
fn random_patterns_say_of_random_texts_what_the_regex_says() {
    let seed = std::env::var("LOGWEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_261_128);
    println!("LOGWEIR_SEED={seed}");
    let mut random = Random(seed);
    let mut scratch = Scratch::default();
    let (mut cases, mut matches, mut out_of_fuel) = (0, 0, 0);
    while cases < 120_000 {
        let mut pattern = String::from(random.pick(&["", "", "^"]));
        random.pattern(2, &mut pattern);
        let (Some(regex), Some(program)) = (oracle(&pattern), Program::compile(&pattern)) else {
            continue;
        };
        for _ in 0..24 {
            let text = random.text();
            match compare(&program, &regex, &text, &mut scratch) {
                Outcome::Match => matches += 1,
                Outcome::NoMatch => {}
                Outcome::OutOfFuel => out_of_fuel += 1,
            }
            cases += 1;
        }
    }
    println!("{cases} cases, {matches} matches, {out_of_fuel} out of fuel");
    assert!(
        matches > cases / 10 && out_of_fuel < cases / 200,
        "{matches} {out_of_fuel} of {cases}"
    );
}

/// What is asked before a program: the heads that an index holds, and where a lead can begin.
#[test]
fn heads_and_leads_miss_nothing_that_a_random_pattern_matches() {
    let mut random = Random(20_261_129);
    let mut scratch = Scratch::default();
    let (mut heads, mut leads) = (0, 0);
    while heads < 20_000 || leads < 5_000 {
        let mut pattern = String::from(random.pick(&["^", "^", "(?:^|a)", "(?:^| )"]));
        random.pattern(2, &mut pattern);
        let mut parser = regex_syntax::ParserBuilder::new();
        let parser = parser.unicode(false).utf8(false).dot_matches_new_line(true);
        let (Some(regex), Ok(hir)) = (oracle(&pattern), parser.build().parse(&pattern)) else {
            continue;
        };
        // Among others, so that places are looked at.
        let others =
            ["^ab", "^[0-9]a", "^.b", "^a?$"].map(|other| parser.build().parse(other).ok());
        let filter = Head::all_of(&hir).map(|own| {
            let others = others.iter().flatten().filter_map(Head::all_of).flatten();
            let own = own.into_iter().map(|head| (head, 1));
            Decisions::new(&own.chain(others.map(|head| (head, 0))).collect::<Vec<_>>(), |_| {})
        });
        let outlines = Head::all_of(&hir).and_then(|own| Outlines::of(&own));
        let lead = Lead::of(&hir);
        for _ in 0..16 {
            let text = random.text();
            let matches = regex.is_match(&text);
            let context = || format!("{pattern:?} on {:?}", text.escape_ascii().to_string());
            if let Some(filter) = &filter {
                assert!(!matches || filter.candidates(&text).contains(&1), "{}", context());
                heads += 1;
            }
            if let Some(outlines) = &outlines {
                assert!(!matches || outlines.allow(&Sketch::of(&text)), "{}", context());
            }
            if let Some(lead) = &lead {
                let outcome = lead.search(&text, text.len(), &mut scratch);
                let fits = outcome == Outcome::OutOfFuel || (outcome == Outcome::Match) == matches;
                assert!(fits, "{}", context());
                leads += 1;
            }
        }
    }
}
