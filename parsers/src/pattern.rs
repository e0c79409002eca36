//! Patterns: from what a rule says to a compiled regex, its captures, and the literals by which a line
//! can be told not to match without running it.
//!
//! Before the regex compiler sees a pattern, grok references are expanded, names of captures are
//! replaced by numbers (a field may be captured in several alternatives, and carries a type), and
//! constructs of backtracking engines are rewritten where a linear engine needs no more than that:
//! atomic groups and possessive quantifiers are dropped where that changes nothing, look-around that
//! only asks for the edge of a word or of the text is written as such. All else of the kind is refused.

use crate::ecs::Type;
use crate::fields::type_named;
use crate::grok;
use crate::index::{Need, prefixes};
use crate::landmark::Landmark;
use crate::lead::Lead;
use crate::span::{Outcome, Program, Scratch};
use logweir_document::nearest;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use regex_automata::nfa::thompson::{Compiler, Config as NfaConfig, NFA, WhichCaptures};
use regex_automata::util::primitives::PatternID;
use regex_syntax::hir::{Hir, HirKind, Look};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The most that a pattern may compile to; a rule in ASCII needs a tenth of it.
const SIZE_MAX: usize = 256 << 10;
/// With `unicode: true`: the tables of `\w` alone are larger than [`SIZE_MAX`].
const SIZE_MAX_UNICODE: usize = 1 << 20;
const NESTING_MAX: u32 = 100;
/// How deep grok names may refer to each other.
const GROK_DEPTH_MAX: usize = 16;
/// How long a pattern may get by them: ten names, each of which stands for ten others, make a line a
/// gigabyte.
const EXPANDED_MAX: usize = 64 << 10;

/// The faults of names that refer to each other without end, or too often.
const IN_A_CIRCLE: &str = "refers to itself";
const TOO_LONG: &str = "is longer than 64 KiB with what its names stand for";

/// What is wrong with a pattern, and where: characters from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternFault {
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl PatternFault {
    fn new(at: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: remedy.into() }
    }

    /// Whether it is of several grok names together, and of none of them alone.
    pub(crate) fn is_of_several(&self) -> bool {
        [IN_A_CIRCLE, TOO_LONG].iter().any(|fault| self.message.ends_with(fault))
    }
}

/// A capture as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) kind: Option<Type>,
    /// Characters from the beginning of the pattern.
    pub(crate) at: usize,
}

/// A pattern with grok expanded and captures numbered: `regex` has the groups `g0`, `g1`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) regex: String,
    pub(crate) captures: Vec<Capture>,
    /// Bytes of `regex` and the characters of the pattern that they come from, both ascending.
    places: Vec<(usize, usize)>,
    /// Where atomic groups and possessive quantifiers stand in the pattern; in the regex, `a0`, `a1`, …
    /// are what they hold.
    atomic: Vec<usize>,
}

impl Expanded {
    /// The regex without the marks of atomic groups.
    fn unmarked(&self) -> String {
        let mut regex = self.regex.clone();
        for number in 0..self.atomic.len() {
            regex = regex.replacen(&mark(number), "(?:", 1);
        }
        regex
    }

    /// The atomic groups that cannot be dropped.
    fn check_atomic(&self, unicode: bool) -> Result<(), PatternFault> {
        if self.atomic.is_empty() {
            return Ok(());
        }
        let Some(hir) = parse_hir(&self.regex, unicode) else { return Ok(()) };
        match crate::atomic::undroppable(&hir).first() {
            None => Ok(()),
            Some(number) => Err(PatternFault::new(
                self.atomic.get(*number).copied().unwrap_or_default(),
                "an atomic group or possessive quantifier that cannot be dropped: a linear engine \
                 does not give up what was taken, but what follows may begin with it",
                "make what is repeated exclude what follows, such as `[^:]*:`, and drop the mark",
            )),
        }
    }

    /// Where in the pattern a place of the regex comes from.
    fn place(&self, offset: usize) -> usize {
        let at = self.places.partition_point(|(start, _)| *start <= offset);
        at.checked_sub(1).map_or(0, |at| self.places[at].1)
    }
}

/// A compiled pattern.
///
/// It was examined once for its faults. What is kept is its text, for of all rules a host has lines
/// for a few: what runs is made of it for the first line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pattern {
    source: Box<str>,
    unicode: bool,
    /// For each of [`Expanded::captures`], its group in the regex.
    pub(crate) groups: Box<[usize]>,
    #[serde(skip)]
    machine: OnceLock<Box<Machine>>,
    /// For what the span program cannot do: tens of kilobytes of tables.
    #[serde(skip)]
    regex: OnceLock<Regex>,
}

/// What runs of a pattern; of what few of them need, only where it stands, see [`crate::rule::Rule`].
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) program: Option<Program>,
    /// Whether every match begins at the start of the text with a literal.
    begins: bool,
    /// If it begins at the start of the text or behind a literal; for [`Pattern::is_match`].
    lead: Option<Box<Lead>>,
    /// The longest literal that every match holds.
    pub(crate) required: Option<Box<Finder<'static>>>,
}

impl Machine {
    fn of(source: &str, unicode: bool) -> Self {
        let hir = parse_hir(source, unicode);
        let program = hir.as_ref().filter(|_| !unicode).and_then(Program::of);
        Self {
            begins: hir.as_ref().is_some_and(|hir| prefixes(hir).is_some()),
            lead: program
                .as_ref()
                .zip(hir.as_ref())
                .and_then(|(_, hir)| Lead::of(hir))
                .map(Box::new),
            required: hir.as_ref().and_then(required).map(Box::new),
            program,
        }
    }

    /// Whether `text` holds the longest literal. Not asked where the program begins at the start of
    /// the text with a literal: it ends at once if the text is another's.
    pub(crate) fn may_match(&self, text: &[u8]) -> bool {
        self.begins || self.required.as_ref().is_none_or(|part| part.find(text).is_some())
    }
}

/// Expands and numbers `text`; `own` are the pack's fragments.
pub(crate) fn expand(text: &str, own: &BTreeMap<String, String>) -> Result<Expanded, PatternFault> {
    let mut expander = Expander {
        own,
        regex: String::new(),
        captures: Vec::new(),
        places: Vec::new(),
        atomic: Vec::new(),
        atom: None,
        open: Vec::new(),
        in_braces: false,
    };
    expander.walk(text, 0, None)?;
    let Expander { regex, captures, places, atomic, .. } = expander;
    Ok(Expanded { regex, captures, places, atomic })
}

impl Clone for Pattern {
    /// What runs is made anew.
    fn clone(&self) -> Self {
        let Self { source, unicode, groups, .. } = self;
        let (machine, regex) = (OnceLock::new(), OnceLock::new());
        Self { source: source.clone(), unicode: *unicode, groups: groups.clone(), machine, regex }
    }
}

/// Compiles what [`expand`] made.
pub(crate) fn compile(expanded: &Expanded, unicode: bool) -> Result<Pattern, PatternFault> {
    let fault = |flaw: Flaw| match flaw {
        Flaw::TooLarge(limit) => PatternFault::new(
            0,
            format!("compiles to more than {} KiB", limit >> 10),
            "use smaller repetitions and classes; a line costs its length times the pattern's size",
        ),
        Flaw::Syntax(text) => {
            let last = text.lines().last().unwrap_or(&text).trim();
            let last = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            let at = syntax_place(&expanded.regex).map_or(0, |offset| expanded.place(offset));
            PatternFault::new(at, last, remedy_for(&text))
        }
    };
    let text = expanded.unmarked();
    let automaton = examine(&text, unicode).map_err(fault)?;
    expanded.check_atomic(unicode)?;
    let group = |n| automaton.group_info().to_index(PatternID::ZERO, &format!("g{n}"));
    let groups = (0..expanded.captures.len()).map(|n| group(n).unwrap_or(0)).collect();
    let source = text.into();
    let (machine, regex) = (OnceLock::new(), OnceLock::new());
    Ok(Pattern { source, unicode, groups, machine, regex })
}

/// Where the regex is wrong, in bytes.
fn syntax_place(regex: &str) -> Option<usize> {
    match regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(regex) {
        Err(regex_syntax::Error::Parse(error)) => Some(error.span().start.offset),
        Err(regex_syntax::Error::Translate(error)) => Some(error.span().start.offset),
        _ => None,
    }
}

/// What helps with the usual mistakes.
fn remedy_for(error: &str) -> &'static str {
    match error {
        text if text.contains("unclosed group") => "close the group, or write `\\(` for the sign",
        text if text.contains("unopened group") => "open the group, or write `\\)` for the sign",
        text if text.contains("unclosed character class") => {
            "close the class, or write `\\[` for the sign"
        }
        text if text.contains("repetition operator missing expression") => {
            "say what is repeated, or put `\\` before the sign"
        }
        text if text.contains("backreferences are not supported") => {
            "capture both and compare them where the events are read; a linear engine cannot"
        }
        text if text.contains("Unicode") => {
            "write `\\w` with `unicode: true`; classes such as `\\p{L}` are not built in"
        }
        _ => "the syntax is that of the Rust crate `regex`",
    }
}

/// Why no regex can be made of a text.
enum Flaw {
    /// More than so many bytes.
    TooLarge(usize),
    Syntax(String),
}

/// Makes of a regex what its size is told by, the automata over bytes, forwards and backwards, and gives
/// the first: whatever makes them, makes the regex, and it takes a fraction of the time and memory.
fn examine(source: &str, unicode: bool) -> Result<NFA, Flaw> {
    let hir = syntax(unicode).parse(source).map_err(|error| Flaw::Syntax(error.to_string()))?;
    let compile = |config: NfaConfig| {
        let config = config.utf8(false).nfa_size_limit(Some(size_max(unicode)));
        let built = Compiler::new().configure(config).build_from_hir(&hir);
        built.map_err(|error| match error.size_limit() {
            Some(limit) => Flaw::TooLarge(limit),
            None => Flaw::Syntax(error.to_string()),
        })
    };
    compile(NfaConfig::new().which_captures(WhichCaptures::None).reverse(true))?;
    compile(NfaConfig::new())
}

fn build(source: &str, unicode: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .unicode(unicode)
        .dot_matches_new_line(true)
        .size_limit(size_max(unicode))
        .nest_limit(NESTING_MAX)
        .build()
}

/// What [`build`] reads a regex by.
fn syntax(unicode: bool) -> regex_syntax::Parser {
    regex_syntax::ParserBuilder::new()
        .unicode(unicode)
        .utf8(false)
        .dot_matches_new_line(true)
        .nest_limit(NESTING_MAX)
        .build()
}

fn size_max(unicode: bool) -> usize {
    if unicode { SIZE_MAX_UNICODE } else { SIZE_MAX }
}

impl Pattern {
    pub(crate) fn machine(&self) -> &Machine {
        self.machine.get_or_init(|| Box::new(Machine::of(&self.source, self.unicode)))
    }

    /// What a text must hold for it to match; made anew for whoever builds an index.
    pub(crate) fn need(&self) -> Need {
        parse_hir(&self.source, self.unicode).as_ref().map(Need::of).unwrap_or_default()
    }

    /// What a text must hold one of for it to match; none if nothing of the kind is known. Made anew.
    pub(crate) fn landmarks(&self) -> Vec<Landmark> {
        let hir = parse_hir(&self.source, self.unicode);
        hir.as_ref().map(Landmark::all_of).unwrap_or_default()
    }

    /// Whether it may find the empty text.
    pub(crate) fn may_find_nothing(&self) -> bool {
        parse_hir(&self.source, self.unicode)
            .is_none_or(|hir| hir.properties().minimum_len().is_none_or(|len| len == 0))
    }

    /// Whether what it captures for one of [`Expanded::captures`] may be one of `texts`.
    pub(crate) fn may_capture(&self, capture: usize, texts: &[String]) -> bool {
        let whole = parse_hir(&self.source, self.unicode)
            .and_then(|hir| group(&hir, self.groups[capture]).cloned())
            .map(|group| Hir::concat(vec![Hir::look(Look::Start), group, Hir::look(Look::End)]));
        let Some(program) = whole.as_ref().and_then(Program::of) else { return true };
        let mut scratch = Scratch::default();
        let mut say = |text: &String| program.search(text.as_bytes(), &mut scratch);
        texts.iter().any(|text| say(text) != Outcome::NoMatch)
    }

    /// Whether it says nothing but that the text holds one of a few literals.
    pub(crate) fn is_literals(&self) -> bool {
        parse_hir(&self.source, self.unicode)
            .is_some_and(|hir| hir.properties().is_alternation_literal())
    }

    /// Whether the first `len` bytes of `padded` match; the captures are of no interest. What stands behind
    /// them has no meaning; it is quicker if there are some.
    pub(crate) fn is_match(&self, padded: &[u8], len: usize, scratch: &mut Scratch) -> bool {
        let (machine, text) = (self.machine(), &padded[..len]);
        let outcome = match (&machine.lead, &machine.program) {
            (_, Some(_)) if !machine.may_match(text) => Outcome::NoMatch,
            (Some(lead), _) => lead.search(padded, len, scratch),
            (None, Some(program)) => program.search_padded(padded, len, scratch),
            (None, None) => Outcome::OutOfFuel,
        };
        match outcome {
            Outcome::Match => true,
            Outcome::NoMatch => false,
            Outcome::OutOfFuel => self.regex().is_match(text),
        }
    }

    /// The regex as it was compiled.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Searches as the engine does: by the span program, and by the regex where that gives up.
    pub(crate) fn searcher(&self) -> impl FnMut(&[u8]) + '_ {
        let mut scratch = Scratch::default();
        let mut locations = None;
        let machine = self.machine();
        move |text| {
            if !machine.may_match(text) {
                return;
            }
            let outcome = match &machine.program {
                Some(program) => program.search(text, &mut scratch),
                None => Outcome::OutOfFuel,
            };
            if outcome == Outcome::OutOfFuel {
                let regex = self.regex();
                let locations = locations.get_or_insert_with(|| regex.capture_locations());
                std::hint::black_box(regex.captures_read(locations, text));
            }
        }
    }

    pub(crate) fn unicode(&self) -> bool {
        self.unicode
    }

    pub(crate) fn regex(&self) -> &Regex {
        self.regex.get_or_init(|| {
            build(&self.source, self.unicode).expect("it was examined when the rules were loaded")
        })
    }
}

/// See [`Machine::required`].
fn required(hir: &Hir) -> Option<Finder<'static>> {
    let longest = longest_literal(hir);
    tells(longest).then(|| Finder::new(longest).into_owned())
}

/// Whether many texts do not hold the literal, as they do most letters.
fn tells(literal: &[u8]) -> bool {
    match *literal {
        [] => false,
        [byte] => byte.is_ascii_punctuation() && !matches!(byte, b'.' | b':'),
        _ => true,
    }
}

/// The longest literal that every match holds; of alternatives, what all of them hold.
fn longest_literal(hir: &Hir) -> &[u8] {
    match hir.kind() {
        HirKind::Literal(literal) => &literal.0,
        HirKind::Concat(parts) => parts
            .iter()
            .map(longest_literal)
            .max_by_key(|literal| (literal.len(), tells(literal)))
            .unwrap_or_default(),
        HirKind::Capture(capture) => longest_literal(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => longest_literal(&repetition.sub),
        HirKind::Alternation(branches) => {
            let first = branches.first().map(literals).unwrap_or_default();
            let parts = first.into_iter().flat_map(|literal| {
                let ends = |start| (start + 1..=literal.len()).map(move |end| start..end);
                (0..literal.len()).flat_map(ends).map(move |part| &literal[part])
            });
            let in_all = |part: &&[u8]| {
                let held = |literal: &&[u8]| memchr::memmem::find(literal, part).is_some();
                branches.iter().all(|branch| literals(branch).iter().any(held))
            };
            parts.filter(in_all).max_by_key(|part| part.len()).unwrap_or_default()
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) | HirKind::Repetition(_) => &[],
    }
}

/// Short literals that every match holds.
fn literals(hir: &Hir) -> Vec<&[u8]> {
    match hir.kind() {
        HirKind::Literal(literal) if literal.0.len() <= 16 => vec![&literal.0],
        HirKind::Concat(parts) => parts.iter().flat_map(literals).collect(),
        HirKind::Capture(capture) => literals(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => literals(&repetition.sub),
        _ => Vec::new(),
    }
}

struct Expander<'p> {
    /// The pack's fragments.
    own: &'p BTreeMap<String, String>,
    regex: String,
    captures: Vec<Capture>,
    /// See [`Expanded::places`].
    places: Vec<(usize, usize)>,
    /// See [`Expanded::atomic`].
    atomic: Vec<usize>,
    /// Where what a quantifier would repeat begins in `regex`.
    atom: Option<usize>,
    /// Where the groups begin that are open.
    open: Vec<usize>,
    in_braces: bool,
}

/// How an atomic group is marked.
fn mark(number: usize) -> String {
    format!("(?P<a{number}>")
}

/// What a group of a regex captures.
fn group(hir: &Hir, number: usize) -> Option<&Hir> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.index as usize == number => Some(&capture.sub),
        kind => kind.subs().iter().find_map(|sub| group(sub, number)),
    }
}

fn parse_hir(regex: &str, unicode: bool) -> Option<Hir> {
    syntax(unicode).parse(regex).ok()
}

/// Look-around that only asks for an edge, and what asks for the same in a linear engine.
const EDGES: [(&str, &str); 8] = [
    (r"(?<!\w)", r"\b{start-half}"),
    (r"(?!\w)", r"\b{end-half}"),
    (r"(?=\b)", r"\b"),
    (r"(?<=\b)", r"\b"),
    ("(?=$)", "$"),
    (r"(?=\z)", r"\z"),
    ("(?!.)", r"\z"),
    ("(?<!.)", r"\A"),
];

impl Expander<'_> {
    /// Copies `text`, expanding. Inside a grok definition, faults are placed at `outer`.
    fn walk(&mut self, text: &str, depth: usize, outer: Option<usize>) -> Result<(), PatternFault> {
        let chars: Vec<char> = text.chars().collect();
        let place = |at: usize| outer.unwrap_or(at);
        let mut at = 0;
        let mut after_quantifier = false;
        while at < chars.len() {
            if self.regex.len() > EXPANDED_MAX {
                let remedy = "name less at once: a rule for each of the forms that a line may have";
                return Err(PatternFault::new(place(at), TOO_LONG, remedy));
            }
            self.places.push((self.regex.len(), place(at)));
            let rest = &chars[at..];
            let quantifier = matches!(rest[0], '*' | '+' | '?') || rest[0] == '}' && self.in_braces;
            match rest {
                ['+', ..] if after_quantifier => {
                    self.possessive(place(at));
                    at += 1;
                }
                ['\\', 'h', ..] => {
                    self.push_atom("[ \\t]");
                    at += 2;
                }
                ['\\', 'Z', ..] => {
                    self.push_atom("\\z");
                    at += 2;
                }
                ['\\', escaped, ..] => {
                    self.push_atom(&format!("\\{escaped}"));
                    at += 2;
                }
                ['[', ..] => {
                    let start = self.regex.len();
                    at += self.class(rest);
                    self.atom = Some(start);
                }
                ['%', '{', ..] => {
                    let start = self.regex.len();
                    at += self.grok(rest, place(at), depth)?;
                    self.atom = Some(start);
                }
                ['(', '?', '>', ..] => {
                    self.open.push(self.regex.len());
                    self.regex.push_str(&mark(self.atomic.len()));
                    self.atomic.push(place(at));
                    at += 3;
                }
                ['(', '?', '<', '=' | '!', ..] | ['(', '?', '=' | '!', ..] => {
                    let text: String = rest.iter().take(8).collect();
                    let Some((written, edge)) =
                        EDGES.iter().find(|(written, _)| text.starts_with(written))
                    else {
                        return Err(PatternFault::new(
                            place(at),
                            "look-around is not supported: it cannot be matched in linear time",
                            "say what may stand there as part of the pattern, outside the captures",
                        ));
                    };
                    self.push_atom(edge);
                    at += written.chars().count();
                }
                ['(', '?', 'P', '<', ..] => {
                    self.open.push(self.regex.len());
                    at += self.named(rest, 4, place(at))?;
                }
                ['(', '?', '<', ..] => {
                    self.open.push(self.regex.len());
                    at += self.named(rest, 3, place(at))?;
                }
                [other, ..] => {
                    self.other(*other);
                    at += 1;
                }
                [] => break,
            }
            after_quantifier = quantifier && !after_quantifier;
        }
        Ok(())
    }

    fn push_atom(&mut self, text: &str) {
        self.atom = Some(self.regex.len());
        self.regex.push_str(text);
    }

    /// Copies a sign that stands for itself or for an operator.
    fn other(&mut self, sign: char) {
        let start = self.regex.len();
        self.regex.push(sign);
        match sign {
            '(' => {
                self.open.push(start);
                self.atom = None;
            }
            ')' => self.atom = self.open.pop(),
            '{' if self.atom.is_some() => self.in_braces = true,
            '}' if self.in_braces => self.in_braces = false,
            '*' | '+' | '?' => {}
            _ if self.in_braces => {}
            '|' | '^' | '$' => self.atom = None,
            _ => self.atom = Some(start),
        }
    }

    /// Marks what was repeated last as an atomic group.
    fn possessive(&mut self, at: usize) {
        let Some(start) = self.atom else { return };
        let mark = mark(self.atomic.len());
        self.atomic.push(at);
        self.regex.insert_str(start, &mark);
        self.regex.push(')');
        let behind = self.places.iter_mut().rev().take_while(|(offset, _)| *offset > start);
        behind.for_each(|(offset, _)| *offset += mark.len());
    }

    /// Copies a character class and returns its length.
    fn class(&mut self, rest: &[char]) -> usize {
        let mut at = 1;
        if rest.get(at) == Some(&'^') {
            at += 1;
        }
        if rest.get(at) == Some(&']') {
            at += 1;
        }
        let mut depth = 1;
        while at < rest.len() && depth > 0 {
            match rest[at] {
                '\\' => at += 1,
                '[' if rest.get(at + 1) == Some(&':') => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        let end = at.min(rest.len());
        let mut class: String = rest[..end].iter().collect();
        // What a class of other engines may hold bare and this one reads as a nested class.
        if let Some(inner) = class.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            class = format!("[{}]", escape_nested(inner));
        }
        self.regex.push_str(&class);
        end
    }

    fn named(&mut self, rest: &[char], from: usize, at: usize) -> Result<usize, PatternFault> {
        let Some(end) = rest.iter().position(|c| *c == '>') else {
            return Err(PatternFault::new(
                at,
                "the name of this group has no end",
                "write `(?<name>…)`",
            ));
        };
        let text: String = rest[from.min(end)..end].iter().collect();
        self.begin_capture(&text, at)?;
        Ok(end + 1)
    }

    fn begin_capture(&mut self, text: &str, at: usize) -> Result<(), PatternFault> {
        let (name, kind) = match text.rsplit_once(':') {
            Some((name, kind)) => match type_named(kind) {
                Some(kind) => (name, Some(kind)),
                None => {
                    return Err(PatternFault::new(
                        at,
                        format!("unknown type `{kind}`"),
                        "write int, float, bool, ip or string",
                    ));
                }
            },
            None => (text, None),
        };
        let name = bracketed(name);
        if name.is_empty() {
            return Err(PatternFault::new(
                at,
                "a capture without a name",
                "name a field, or write `(?:…)`",
            ));
        }
        self.regex.push_str(&format!("(?P<g{}>", self.captures.len()));
        self.captures.push(Capture { name, kind, at });
        Ok(())
    }

    fn grok(&mut self, rest: &[char], at: usize, depth: usize) -> Result<usize, PatternFault> {
        let Some(end) = rest.iter().position(|c| *c == '}') else {
            return Err(PatternFault::new(
                at,
                "`%{` without `}`",
                "write `%{NAME:field}`, or `%\\{`",
            ));
        };
        let text: String = rest[2..end].iter().collect();
        let (name, field) = match text.split_once(':') {
            Some((name, field)) => (name, Some(field)),
            None => (text.as_str(), None),
        };
        let Some(definition) = self
            .own
            .get(name)
            .map(String::as_str)
            .or_else(|| grok::definition(name))
            .map(str::to_owned)
        else {
            let mut known: Vec<&str> = self.own.keys().map(String::as_str).collect();
            grok::names().for_each(|name| known.push(name));
            let remedy = nearest(name, known).map_or_else(
                || "define it under `patterns:`".into(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(PatternFault::new(at, format!("unknown pattern `%{{{name}}}`"), remedy));
        };
        if depth >= GROK_DEPTH_MAX {
            return Err(PatternFault::new(
                at,
                format!("`%{{{name}}}` {IN_A_CIRCLE}"),
                "define it without itself",
            ));
        }
        match field {
            Some(field) => self.begin_capture(field, at)?,
            None => self.regex.push_str("(?:"),
        }
        self.walk(&definition, depth + 1, Some(at))?;
        self.regex.push(')');
        Ok(end + 1)
    }
}

/// `[source][ip]` of Logstash as `source.ip`.
fn bracketed(name: &str) -> String {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inner) => inner.replace("][", "."),
        None => name.to_owned(),
    }
}

/// Escapes `[`, `&&` and `~~`, which other engines take literally inside a class, and writes out `\h`.
fn escape_nested(inner: &str) -> String {
    let mut out = String::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('h') => out.push_str(" \\t"),
                escaped => out.extend(std::iter::once(c).chain(escaped)),
            },
            '[' if chars.peek() == Some(&':') => {
                out.push(c);
                for next in chars.by_ref() {
                    out.push(next);
                    if next == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            '&' | '~' if chars.peek() == Some(&c) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: &[(&str, &str)]) {
        let expanded = expand(pattern, &BTreeMap::new()).unwrap();
        let compiled = compile(&expanded, false).unwrap_or_else(|f| panic!("{pattern}: {f:?}"));
        let found = compiled.regex().captures(text.as_bytes());
        let got: Vec<(String, String)> = found
            .map(|captures| {
                let with = |(capture, group): (&Capture, &usize)| {
                    let value = captures.get(*group)?.as_bytes();
                    Some((capture.name.clone(), String::from_utf8_lossy(value).into_owned()))
                };
                expanded.captures.iter().zip(&compiled.groups).filter_map(with).collect()
            })
            .unwrap_or_default();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert_eq!(got, expected, "{pattern}");
    }

    #[test]
    fn what_is_examined_without_a_fault_can_be_built() {
        let mut both = [0, 0];
        for unicode in [false, true] {
            for times in (0..400).map(|n| 1 + 16 * n) {
                for piece in ["[a-z0-9_.-]", r"\w+?", "(?:ab|cd|e.)", "(?i:straße)", "x"] {
                    let regex = format!("^(?:{piece}){{1,{times}}}b");
                    let examined = examine(&regex, unicode).is_ok();
                    assert!(!examined || build(&regex, unicode).is_ok(), "{regex} {unicode}");
                    both[usize::from(examined)] += 1;
                }
            }
        }
        assert!(both.iter().all(|count| *count > 100), "{both:?}");
        for wrong in ["a(", "[z-a]", "(?P<g0>a)(?P<g0>b)", r"\p{Greek}", "(?=a)", r"\1"] {
            assert!(examine(wrong, false).is_err() && build(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_brace_and_an_escape_that_stand_for_themselves_stay() {
        check(r"^a}+(?<x>b)$", "a}}b", &[("x", "b")]);
        check(r"^k(?<x>[\\h])b$", "khb", &[("x", "h")]);
        check(r"^k(?<x>[\h])b$", "k b", &[("x", " ")]);
    }

    #[test]
    fn captures_are_fields_in_regex_and_grok() {
        check(r"^(?<source.ip>\S+) (?P<x:int>\d+)$", "::1 5", &[("source.ip", "::1"), ("x", "5")]);
        check(
            "^%{IPORHOST:source.address} %{INT:n:int}",
            "a.b 7",
            &[("source.address", "a.b"), ("n", "7")],
        );
        check(r"%{WORD:[user][name]}=", "bob=", &[("user.name", "bob")]);
        check(r"^(?:a(?<x>\d)|b(?<x>\d))$", "b2", &[("x", "2")]);
        check(r"^(?>ab)c++(?<d>\h+)", "abccc  ", &[("d", "  ")]);
        check(r"^[[:alpha:]&&]+(?<y>[^[]+)", "a&b", &[("y", "b")]);
        check(r"^(?<x>\d{1,3}+)[a-z]", "123a", &[("x", "123")]);
        check(r"(?<!\w)(?<x>\d+)(?!\w)", "a1 22 b", &[("x", "22")]);
        check(r"^(?<x>(?>(?:a|b)[0-9]+)+): %{INT:n}(?=$)", "a1b2: 5", &[("x", "a1b2"), ("n", "5")]);
    }

    #[test]
    fn faults_name_their_place() {
        for (pattern, at, part) in [
            (r"^a(?=b)", 2, "look-around"),
            (r"(?<!x)y", 0, "look-around"),
            (r"x %{IPP:a}", 2, "unknown pattern"),
            (r"(?<a:flot>x)", 0, "unknown type"),
            (r"(?<>x)", 0, "without a name"),
        ] {
            let fault = expand(pattern, &BTreeMap::new()).unwrap_err();
            assert_eq!(
                (fault.at, fault.message.contains(part)),
                (at, true),
                "{pattern}: {fault:?}"
            );
        }
        let big = expand(r"^(\w{100}){200}$", &BTreeMap::new()).unwrap();
        assert!(compile(&big, false).unwrap_err().message.contains("KiB"));
    }

    /// Dropping these would match more than a backtracking engine does.
    #[test]
    fn atomic_groups_that_matter_are_refused_and_others_are_dropped() {
        let compiled = |pattern: &str| {
            expand(pattern, &BTreeMap::new()).and_then(|expanded| compile(&expanded, false))
        };
        for (pattern, at) in [
            (r"^(?>a+)ab", 1),
            (r"^x\w++_", 5),
            (r"(?>a|ab)c", 0),
            (r"^.*+x", 3),
            (r"^\d++\b1", 4),
            (r"^(?:(?>a+)b?)+a", 4),
        ] {
            let fault = compiled(pattern).unwrap_err();
            assert_eq!(
                (fault.at, fault.message.contains("atomic")),
                (at, true),
                "{pattern}: {fault:?}"
            );
        }
        for pattern in [
            r"^(?>a+)b",
            r"^[^:]*+:",
            r"x(?>a|ab)",
            r"^\S++ \S++$",
            r"(?>abc)a",
            r"^a?+$",
            r"(?>Jan|Feb)x",
        ] {
            assert!(compiled(pattern).is_ok(), "{pattern}: {:?}", compiled(pattern).err());
        }
    }

    /// The signatures of all packs on all samples, as they stand and behind a header.
    #[test]
    fn signatures_match_what_their_regexes_match() {
        let rules = crate::RuleSet::shipped();
        let signatures = rules.packs.iter().flat_map(|pack| &pack.applies.signatures);
        let patterns: Vec<(&Pattern, Need)> = signatures.map(|p| (p, p.need())).collect();
        let leads = patterns.iter().filter(|(pattern, _)| pattern.machine().lead.is_some()).count();
        let mut scratch = Scratch::default();
        let mut matched = 0;
        for (_, sample) in rules.samples() {
            let line = sample.line.as_bytes();
            let behind = memchr::memmem::find_iter(line, b": ").map(|at| &line[at + 2..]);
            for text in std::iter::once(line).chain(behind.take(2)) {
                for (pattern, need) in &patterns {
                    let expected = pattern.regex().is_match(text);
                    assert_eq!(
                        pattern.is_match(text, text.len(), &mut scratch),
                        expected,
                        "{} on {}",
                        pattern.source(),
                        text.escape_ascii()
                    );
                    assert!(!expected || need.met_by(text), "{}", pattern.source());
                    matched += usize::from(expected);
                }
            }
        }
        assert!(leads > 0 && matched > 200, "{leads} {matched}");
    }

    #[test]
    fn a_pattern_has_the_literal_that_tells_most_and_alternatives_what_all_of_them_hold() {
        for (pattern, literal) in [
            (r"^(?:a\d, \[b\] x|\[c\] \w+ )$", Some("] ")),
            (r"^(?:ab|\d)", None),
            (r"\d(?:opened|closed)", Some("ed")),
            (r"x(?:opened|closed)? from", Some(" from")),
            (r"^.*?(?:from|to) \S+\[\d+\.\d+ ", Some("[")),
            (r"^\d+ \w+:\d+\.\d+a$", None),
        ] {
            let compiled = compile(&expand(pattern, &BTreeMap::new()).unwrap(), false).unwrap();
            let needle = compiled.machine().required.as_ref().map(|finder| finder.needle());
            assert_eq!(needle, literal.map(str::as_bytes), "{pattern}");
        }
    }

    #[test]
    fn literals_are_found() {
        let pattern =
            |text: &str| compile(&expand(text, &BTreeMap::new()).unwrap(), false).unwrap();
        let prefixes = pattern("^(?:Accepted|Failed) x").need().prefixes.unwrap();
        assert!(
            prefixes.iter().all(|p| p.starts_with(b"Acc") || p.starts_with(b"Fai")),
            "{prefixes:?}"
        );
        assert!(pattern("abc").need().prefixes.is_none());
        assert_eq!(
            pattern(r"\d+ connection (?<a>\S+)").machine().required.as_ref().unwrap().needle(),
            b" connection "
        );
    }
}
