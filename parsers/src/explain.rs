//! Why a line became what it became: which packs and rules were tried, where each stopped, and which
//! rule would have matched had its pack been tried.
//!
//! How far a pattern matches is found by cutting it: the longest beginning of it that still matches
//! ends where the line stops to fit, and what comes next in the pattern is what did not.

use crate::ecs::Kind;
use crate::engine::{Attempt, LineContext, Parsed, Parser, Step, seen};
use crate::header::{self, Header};
use crate::pattern::Pattern;
use crate::rule::{Applies, On, Part, RuleSet};
use crate::span::Scratch;
use crate::time::{TimeContext, write_rfc3339};
use logweir_document::nearest;
use regex::bytes::RegexBuilder;
use regex_syntax::ast::{Ast, parse::Parser as AstParser};

/// Rules of packs that were not tried are looked at only up to so many hits.
const OTHERS_MAX: usize = 5;

/// How a line went through the rules.
#[derive(Debug)]
pub struct Explanation {
    pub parsed: Parsed,
    /// What was found in front of the message: name and value.
    pub header: Vec<(&'static str, String)>,
    pub message: String,
    pub packs: Vec<Tried>,
    pub attempts: Vec<(Attempt, Option<Stop>)>,
    pub steps: Vec<Step>,
    /// Rules that match, of packs that were not tried: the rule, and what the pack's `applies` wants.
    pub elsewhere: Vec<(usize, String)>,
    /// What may help if nothing matches, and what the rules that match have lost on the way.
    pub hints: Vec<String>,
}

/// A pack whose rules were tried.
#[derive(Debug)]
pub struct Tried {
    pub pack: usize,
    pub why: &'static str,
    /// Rules that were passed over because the text lacks what they need, and what that is.
    pub passed_over: Vec<(usize, String)>,
}

/// Where a pattern stopped to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// How many bytes of the text fit.
    pub matched: usize,
    /// The part of the pattern that fits, and what did not fit behind it, with the fields' names.
    pub fits: String,
    pub wants: String,
}

impl Parser {
    /// As [`Parser::parse`], with what happened on the way.
    pub fn explain(
        &mut self,
        line: &[u8],
        context: &LineContext<'_>,
        out: &mut Vec<u8>,
    ) -> Explanation {
        let (parsed, attempts, steps) = self.trace(line, context, out);
        let rules = self.rules().clone();
        let time =
            TimeContext { received_unix_nanos: context.received_unix_nanos, zone: context.zone };
        let mut found = header::parse(line, &time);
        // As the engine does where nothing else matches.
        let in_front = rules
            .dispatch
            .program_in_front(line)
            .filter(|_| found.message.len() == line.len())
            .map(|(program, message)| Header { program: Some(program), message, ..found.clone() });
        if let Some(header) = &in_front
            && parsed.pack.is_some_and(|pack| names_program(&rules.packs[pack].applies, header))
        {
            found = header.clone();
        }
        let stops = attempts
            .into_iter()
            .map(|attempt| {
                let stop = attempt.failure.as_ref().and_then(|_| stop_of(&rules, &attempt));
                (attempt, stop)
            })
            .collect();
        let mut explanation = Explanation {
            parsed,
            header: header_fields(&found),
            message: String::from_utf8_lossy(found.message).into_owned(),
            packs: Vec::new(),
            attempts: stops,
            steps,
            elsewhere: Vec::new(),
            hints: Vec::new(),
        };
        let headers = (&found, in_front.as_ref());
        explanation.packs = tried(&rules, headers, context.pack, &explanation.attempts);
        if parsed.rule.is_none_or(|rule| rules.is_last_resort(rule)) {
            explanation.elsewhere = elsewhere(&rules, line, &found, &explanation.packs);
            explanation.hints = hints(&rules, &found, &explanation);
        }
        let attempts = explanation.attempts.iter().map(|(attempt, _)| attempt);
        explanation.hints.extend(losses(&rules, attempts, &time));
        explanation
    }
}

/// Values that rules captured and that did not get into the event: of another type than the field, or
/// times that no format reads.
pub(crate) fn losses<'a>(
    rules: &RuleSet,
    attempts: impl Iterator<Item = &'a Attempt>,
    context: &TimeContext<'_>,
) -> Vec<String> {
    let mut found = Vec::new();
    for attempt in attempts.filter(|attempt| attempt.failure.is_none()) {
        let rule = rules.rule(attempt.rule);
        for (name, start, end) in &attempt.captures {
            let value = &attempt.text[*start..*end];
            let Some(id) = rules.fields.find(name.as_bytes()) else { continue };
            if value.is_empty() || rule.is_null(value) {
                continue;
            }
            let shown = String::from_utf8_lossy(value);
            let kind = rules.fields.get(id).kind;
            let changed = rule.transforms.iter().any(|(field, _)| *field == id)
                || rule.maps.iter().any(|map| map.into == id);
            if rules.fields.get(id).emitted && !changed && !fits(kind.kind, &shown) {
                let of_ecs = rules.fields.get(id).of_ecs;
                let then = if of_ecs { "the event goes without it" } else { "it is a text" };
                found.push(format!(
                    "`{}` captures `{shown}` for `{name}`, which is no {}: {then}",
                    rule.id,
                    kind.kind.name()
                ));
            }
            let times = rule.times.iter().filter(
                |time| matches!(time.from.as_slice(), [Part::Field(field)] if *field == id),
            );
            for time in times {
                let text = value.trim_ascii();
                if !time.formats.iter().any(|format| format.parse(text, context).is_some()) {
                    found.push(format!("no format of `time` in `{}` reads `{shown}`", rule.id));
                }
            }
        }
    }
    found
}

/// Whether a text can be written as a number or a truth. Addresses that are none go elsewhere.
fn fits(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Integer | Kind::Float => text.trim().parse::<f64>().is_ok(),
        Kind::Boolean => matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "1" | "0"
        ),
        Kind::Text | Kind::Date | Kind::Ip | Kind::Object => true,
    }
}

/// Why a rule did not get a line that its sample gives it.
pub(crate) fn missed(
    parser: &mut Parser,
    number: usize,
    line: &[u8],
    context: &LineContext<'_>,
) -> Vec<String> {
    let found = parser.explain(line, context, &mut Vec::new());
    let rules = parser.rules().clone();
    let rule = rules.rule(number);
    let mut notes = Vec::new();
    let tried = found.attempts.iter().find(|(attempt, _)| attempt.rule == number);
    let pack_tried = found.packs.iter().any(|tried| tried.pack == rule.pack);
    let in_chain = !rules.packs[rule.pack].list.numbers().contains(&number);
    let unfit = |text: &[u8], stop: &Stop| {
        let need = needs(&rules, number);
        // Where the pattern fits at first, that says enough.
        let more = (!need.is_empty() && stop.matched == 0)
            .then(|| format!("its pattern needs a text that {need}"));
        std::iter::once(stopped(text, stop)).chain(more)
    };
    match tried {
        Some((attempt, stop)) => match (&attempt.failure, stop) {
            (Some(_), Some(stop)) => notes.extend(unfit(&attempt.text, stop)),
            (Some(failure), None) => notes.push(failure.clone()),
            (None, _) => {}
        },
        None if !pack_tried => {
            let program = found.header.iter().find(|(name, _)| *name == "program");
            let program = program.map_or("the line has no program".into(), |(_, program)| {
                format!("the line's program is `{program}`")
            });
            let wants = wanted_of(&rules.packs[rule.pack].applies);
            notes.push(format!(
                "its pack `{}` is not tried: `applies` wants {wants}; {program}",
                rules.packs[rule.pack].name
            ));
        }
        None if !in_chain => {
            let text = if rule.on == On::Line { line } else { found.message.as_bytes() };
            let attempt = Attempt {
                rule: number,
                depth: 0,
                failure: Some(String::new()),
                text: text.to_vec(),
                offset: None,
                captures: Vec::new(),
            };
            notes.extend(stop_of(&rules, &attempt).iter().flat_map(|stop| unfit(text, stop)));
        }
        None => {}
    }
    let taken = found.parsed.rule.filter(|taken| *taken != number && rule.then.is_none());
    notes.extend(taken.map(|taken| format!("the line goes to `{}`", rules.rule_id(taken))));
    notes
}

fn stopped(text: &[u8], stop: &Stop) -> String {
    let fits = String::from_utf8_lossy(&text[..stop.matched]);
    let rest = String::from_utf8_lossy(&text[stop.matched..]);
    let wants = if stop.wants == "$" { "the end".to_owned() } else { format!("`{}`", stop.wants) };
    let here = match rest.as_ref() {
        "" => "ends".to_owned(),
        rest => format!("has `{rest}`"),
    };
    format!("its pattern fits up to `{fits}` and wants {wants} where the text {here}")
}

fn header_fields(header: &Header<'_>) -> Vec<(&'static str, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = Vec::new();
    if let Some(priority) = header.priority {
        fields.push(("priority", priority.to_string()));
    }
    if let Some(time) = header.timestamp {
        let mut out = Vec::new();
        write_rfc3339(&mut out, time.unix_nanos);
        fields.push(("time", text(&out)));
    }
    for (name, value) in [
        ("host", header.hostname),
        ("program", header.program),
        ("process id", header.pid),
        ("message id", header.message_id),
        ("structured data", header.structured_data),
    ] {
        if let Some(value) = value {
            fields.push((name, text(value)));
        }
    }
    fields
}

/// The packs that were tried, in their order, and what was passed over in each. Those for the program that
/// stands `in_front` of a line without a header saw what is behind it.
fn tried(
    rules: &RuleSet,
    (header, in_front): (&Header<'_>, Option<&Header<'_>>),
    wanted: Option<usize>,
    attempts: &[(Attempt, Option<Stop>)],
) -> Vec<Tried> {
    let mut packs: Vec<usize> = wanted.into_iter().collect();
    let add = |packs: &mut Vec<usize>, pack: usize| {
        if !packs.contains(&pack) {
            packs.push(pack);
        }
    };
    let space = (&mut Vec::new(), &mut Scratch::default());
    rules.dispatch.visit(&rules.packs, header.program, header.message, space, |pack| {
        add(&mut packs, pack);
        false
    });
    for (attempt, _) in attempts {
        add(&mut packs, rules.rule(attempt.rule).pack);
    }
    let matched = attempts.iter().find(|(attempt, _)| attempt.failure.is_none());
    let last = matched.map(|(attempt, _)| rules.rule(attempt.rule).pack);
    let reached = last.and_then(|last| packs.iter().position(|pack| *pack == last));
    packs.truncate(reached.map_or(packs.len(), |at| at + 1));
    packs
        .into_iter()
        .map(|pack| {
            let applies = &rules.packs[pack].applies;
            let header = in_front.filter(|header| names_program(applies, header)).unwrap_or(header);
            Tried {
                pack,
                why: why(applies, header, wanted == Some(pack)),
                passed_over: passed_over(rules, pack, header.message, attempts),
            }
        })
        .collect()
}

fn names_program(applies: &Applies, header: &Header<'_>) -> bool {
    header.program.is_some_and(|program| applies.names_program(program))
}

fn why(applies: &Applies, header: &Header<'_>, wanted: bool) -> &'static str {
    let message = header.message.trim_ascii_start();
    match () {
        () if wanted => "named with --dataset",
        () if names_program(applies, header) => "by the program",
        () if applies.starts.iter().any(|text| message.starts_with(text)) => {
            "by how the message begins"
        }
        () if !applies.json_keys.is_empty() && message.starts_with(b"{") => "by keys of the JSON",
        () if applies.contains.iter().any(|text| text.find(message).is_some()) => {
            "by what the message holds"
        }
        () if applies.syslog => "any line with a syslog header",
        () => "by its signature",
    }
}

/// The rules of a pack that stand before the one that matched and were not tried.
fn passed_over(
    rules: &RuleSet,
    pack: usize,
    message: &[u8],
    attempts: &[(Attempt, Option<Stop>)],
) -> Vec<(usize, String)> {
    let was_tried = |rule: usize| attempts.iter().any(|(attempt, _)| attempt.rule == rule);
    let matched = attempts
        .iter()
        .find(|(attempt, _)| attempt.failure.is_none() && rules.rule(attempt.rule).pack == pack)
        .map(|(attempt, _)| attempt.rule);
    rules.packs[pack]
        .list
        .numbers()
        .iter()
        .take_while(|rule| Some(**rule) != matched)
        .filter(|rule| !was_tried(**rule))
        .map(|rule| (*rule, Some(needs(rules, *rule)).filter(|need| !need.is_empty())))
        .map(|(rule, need)| (rule, need.unwrap_or_else(|| goes_on(rules, rule, message))))
        .collect()
}

/// What a rule that no literal tells apart wants of a message that begins otherwise.
fn goes_on(rules: &RuleSet, rule: usize, message: &[u8]) -> String {
    let attempt = Attempt {
        rule,
        depth: 0,
        failure: Some(String::new()),
        text: message.to_vec(),
        offset: None,
        captures: Vec::new(),
    };
    match stop_of(rules, &attempt) {
        None => String::new(),
        Some(stop) if stop.matched == 0 => format!("matches `{}` at its start", stop.wants),
        Some(stop) => {
            let fits = String::from_utf8_lossy(&message[..stop.matched]);
            format!("matches `{}` behind `{fits}`", stop.wants)
        }
    }
}

fn needs(rules: &RuleSet, rule: usize) -> String {
    let need = rules.rule(rule).need();
    let list = |literals: &[Vec<u8>]| {
        let shown: Vec<String> = literals
            .iter()
            .take(4)
            .map(|literal| format!("`{}`", String::from_utf8_lossy(literal)))
            .collect();
        let more = if literals.len() > 4 { " or another" } else { "" };
        shown.join(" or ") + more
    };
    match (need.prefixes, need.holds) {
        (Some(begins), _) => format!("begins with {}", list(&begins)),
        (None, Some(holds)) => format!("holds {}", list(&holds)),
        (None, None) => String::new(),
    }
}

/// Rules that match although their packs were not tried; those that match nearly anything say nothing.
fn elsewhere(
    rules: &RuleSet,
    line: &[u8],
    header: &Header<'_>,
    packs: &[Tried],
) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, pack) in rules.packs.iter().enumerate() {
        if packs.iter().any(|tried| tried.pack == number) || pack.applies.syslog {
            continue;
        }
        let matches = |rule: &&usize| {
            let rule = rules.rule(**rule);
            let text = match rule.on {
                On::Message => header.message,
                On::Line => line,
                On::Field(_) => return false,
            };
            rule.patterns.iter().any(|(pattern, _)| {
                pattern.machine().required.as_ref().is_some_and(|part| part.needle().len() > 1)
                    && pattern.regex().is_match(&text[..text.len().min(4096)])
            })
        };
        if let Some(rule) = pack.list.numbers().iter().find(matches) {
            found.push((*rule, wanted_of(&pack.applies)));
        }
        if found.len() == OTHERS_MAX {
            break;
        }
    }
    found
}

/// What a pack's `applies` asks for, in short.
fn wanted_of(applies: &Applies) -> String {
    let mut parts = Vec::new();
    let list = |texts: Vec<String>| texts.into_iter().take(6).collect::<Vec<_>>().join(", ");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !applies.programs.is_empty() {
        parts.push(format!("program: [{}]", list(applies.programs.clone())));
    }
    if !applies.starts.is_empty() {
        parts.push(format!("starts: [{}]", list(applies.starts.iter().map(|t| text(t)).collect())));
    }
    if !applies.contains.is_empty() {
        let texts = applies.contains.iter().map(|finder| text(finder.needle())).collect();
        parts.push(format!("contains: [{}]", list(texts)));
    }
    if !applies.json_keys.is_empty() {
        let texts = applies.json_keys.iter().map(|finder| text(finder.needle())).collect();
        parts.push(format!("json_keys: [{}]", list(texts)));
    }
    if !applies.signatures.is_empty() {
        parts.push("signature: …".into());
    }
    if parts.is_empty() { "nothing: it is tried only by name".into() } else { parts.join(", ") }
}

fn hints(rules: &RuleSet, header: &Header<'_>, found: &Explanation) -> Vec<String> {
    let mut hints = Vec::new();
    let program = header.program.map(String::from_utf8_lossy);
    if let Some(program) = &program
        && !rules.packs.iter().any(|pack| pack.applies.names_program(program.as_bytes()))
    {
        let known = rules.packs.iter().flat_map(|pack| &pack.applies.programs).map(String::as_str);
        hints.push(match nearest(program, known) {
            Some(near) => format!("no pack names the program `{program}`; one names `{near}`"),
            None => format!("no pack names the program `{program}` in `applies`"),
        });
    }
    if found.packs.is_empty() && program.is_none() {
        hints.push(
            "no pack fits: name one with --dataset, or see `applies` in docs/rules.md (without a program in \
             a header, a pack needs `starts`, `contains`, `json_keys` or `signature`)"
                .into(),
        );
    }
    hints
}

/// The pattern of a rule that came farthest, and where it stopped.
fn stop_of(rules: &RuleSet, attempt: &Attempt) -> Option<Stop> {
    let rule = rules.rule(attempt.rule);
    rule.patterns
        .iter()
        .filter_map(|(pattern, fields)| {
            let names: Vec<&str> =
                fields.iter().map(|field| rules.fields.get(*field).name.as_str()).collect();
            stop(pattern, &names, seen(&attempt.text))
        })
        .reduce(|best, other| if other.matched > best.matched { other } else { best })
}

/// Where a pattern stops on a text that it does not match; `None` if it does match.
fn stop(pattern: &Pattern, names: &[&str], text: &[u8]) -> Option<Stop> {
    let source = pattern.source();
    if pattern.regex().is_match(text) {
        return None;
    }
    let ast = AstParser::new().parse(source).ok()?;
    let mut cuts = vec![Cut { end: 0, close: 0, next: (0, source.len()) }];
    collect(&ast, 0, &mut cuts);
    let longest = |branch: &[Cut]| {
        // A longer beginning matches only where a shorter one does.
        let at = branch.partition_point(|cut| cut.end(source, text, pattern.unicode()).is_some());
        at.checked_sub(1).and_then(|at| {
            let cut = &branch[at];
            let matched = cut.end(source, text, pattern.unicode())?;
            Some(Stop {
                matched,
                fits: with_names(&source[..cut.end], names),
                wants: with_names(&source[cut.next.0..cut.next.1], names),
            })
        })
    };
    longest(&cuts)
}

/// A beginning of a pattern: up to `end`, with so many groups to close; what comes next stands at
/// `next`.
#[derive(Debug)]
struct Cut {
    end: usize,
    close: usize,
    next: (usize, usize),
}

impl Cut {
    /// Where the match of this beginning ends.
    fn end(&self, source: &str, text: &[u8], unicode: bool) -> Option<usize> {
        let beginning = format!("{}{}", &source[..self.end], ")".repeat(self.close));
        let regex = RegexBuilder::new(&beginning)
            .unicode(unicode)
            .dot_matches_new_line(true)
            .build()
            .ok()?;
        regex.find(text).map(|found| found.end())
    }
}

/// The places between the parts of a pattern, from left to right; into groups that are not repeated
/// and have no alternatives.
fn collect(ast: &Ast, open: usize, cuts: &mut Vec<Cut>) {
    let parts: &[Ast] = match ast {
        Ast::Concat(concat) => &concat.asts,
        Ast::Group(group) => return collect(&group.ast, open + 1, cuts),
        other => std::slice::from_ref(other),
    };
    for part in parts {
        let span = part.span();
        let (start, end) = (span.start.offset, span.end.offset);
        if let Some(last) = cuts.last_mut() {
            last.next = (last.end.min(start), end);
        }
        if let Ast::Group(group) = part
            && !matches!(*group.ast, Ast::Alternation(_))
            && matches!(*group.ast, Ast::Concat(_))
        {
            if let Some(last) = cuts.last_mut() {
                last.next = (start, end);
            }
            collect(&group.ast, open + 1, cuts);
        }
        cuts.push(Cut { end, close: open, next: (end, end) });
    }
}

/// The fields' names instead of the groups' numbers.
fn with_names(source: &str, names: &[&str]) -> String {
    let mut out = source.to_owned();
    for (number, name) in names.iter().enumerate() {
        out = out.replace(&format!("(?P<g{number}>"), &format!("(?<{name}>"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Zone;
    use crate::pattern::{compile, expand};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn check(pattern: &str, text: &str, matched: &str, wants: &str) {
        let expanded = expand(pattern, &BTreeMap::new()).unwrap();
        let compiled = compile(&expanded, false).unwrap();
        let names: Vec<&str> =
            expanded.captures.iter().map(|capture| capture.name.as_str()).collect();
        let stop = stop(&compiled, &names, text.as_bytes()).expect("it does not match");
        assert_eq!((&text[..stop.matched], stop.wants.as_str()), (matched, wants), "{stop:?}");
    }

    #[test]
    fn a_rule_that_is_tried_or_passed_over_for_its_beginning_says_what_it_wants() {
        let pack = r"
pack: p
applies: {program: [p]}
rules:
  - {id: p.a, pattern: '^(?<labels.n>\d+)/(?<labels.m>\d+) x'}
  - {id: p.b, pattern: '^[a-c]+d:'}
";
        let rules = Arc::new(RuleSet::of_text("p.yaml", pack).unwrap());
        let zone = Zone::utc();
        let context =
            LineContext { pack: None, received_unix_nanos: 0, zone: &zone, original_bytes: None };
        let line = b"Nov 28 10:15:02 h p: 12-3 x";
        let found = Parser::new(rules).explain(line, &context, &mut Vec::new());
        let passed: Vec<String> =
            found.packs[0].passed_over.iter().map(|(_, need)| need.clone()).collect();
        assert_eq!(passed, ["matches `[a-c]+` at its start"]);
        let stops: Vec<&str> = found
            .attempts
            .iter()
            .map(|(_, stop)| stop.as_ref().map_or("", |stop| stop.wants.as_str()))
            .collect();
        assert_eq!(stops, ["/"]);
    }

    #[test]
    fn a_pack_for_the_program_in_front_of_a_line_is_told_as_such() {
        let pack = r"
pack: p
applies: {program: [p]}
rules:
  - {id: p.a, pattern: '^(?<labels.n>\d+) x'}
  - {id: p.b, pattern: '^[a-c]+d:'}
";
        let rules = Arc::new(RuleSet::of_text("p.yaml", pack).unwrap());
        let zone = Zone::utc();
        let context =
            LineContext { pack: None, received_unix_nanos: 0, zone: &zone, original_bytes: None };
        for (line, program) in [("p: 12 y", None), ("p: 12 x", Some("p"))] {
            let mut parser = Parser::new(rules.clone());
            let found = parser.explain(line.as_bytes(), &context, &mut Vec::new());
            assert_eq!(found.packs[0].why, "by the program", "{line}");
            let header = found.header.iter().find(|(name, _)| *name == "program");
            assert_eq!(header.map(|(_, program)| program.as_str()), program, "{line}");
        }
    }

    #[test]
    fn a_long_text_is_explained_by_what_patterns_see_of_it() {
        let pack = r"
pack: p
applies: {program: [p]}
rules:
  - {id: p.last, pattern: '^(?<labels.n>\d+) (?<labels.x>x+) last$'}
  - {id: p.rest, pattern: '^(?<labels.n>\d+) (?<labels.rest>.*)$'}
";
        let rules = Arc::new(RuleSet::of_text("p.yaml", pack).unwrap());
        let zone = Zone::utc();
        let context =
            LineContext { pack: None, received_unix_nanos: 0, zone: &zone, original_bytes: None };
        let line = format!("Nov 28 10:15:02 h p: 12 {} last", "x".repeat(20_000));
        let found = Parser::new(rules).explain(line.as_bytes(), &context, &mut Vec::new());
        let [(last, Some(stop)), (rest, None)] = found.attempts.as_slice() else {
            panic!("{:?}", found.attempts);
        };
        assert_eq!((stop.matched, stop.wants.as_str()), (16 << 10, " "));
        assert!(last.captures.is_empty());
        assert_eq!(rest.captures[1], ("labels.rest".to_owned(), 3, rest.text.len()));
    }

    #[test]
    fn a_pattern_stops_where_the_line_differs() {
        check(
            r"^user (?<user.name>\S+) paid (?<n:int>\d+) cents$",
            "user bob paid x cents",
            "user bob paid ",
            r"(?<n>\d+)",
        );
        check("^abc def", "abX", "ab", "c");
        check(r"^a (?:b c)? d", "a x", "a ", " ");
        check(r"^(?:a|b) (?<x>c d)", "a c e", "a c ", "d");
        check(r"^(?<x>\d+)$", "5 ", "5", "$");
        check("x", "abc", "", "x");
    }
}
