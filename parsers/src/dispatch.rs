//! Which packs a line belongs to, without trying all of them.

use crate::heads::{Outlines, Sketch};
use crate::index::{LiteralIndex, Need};
use crate::landmark::Landmark;
use crate::matcher::glob;
use crate::rule::{Applies, Pack};
use crate::span::Scratch;
use crate::swar;
use memchr::memmem::Finder;
use rustc_hash::FxHashMap;
use std::sync::OnceLock;

/// The indexes over the packs' `applies`; packs stand in them by descending priority.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    programs: Programs,
    program_globs: Globs,
    /// By first byte.
    starts: Vec<Vec<Beginning>>,
    /// Made for the first message that no name of a program has told of.
    probes: OnceLock<Box<Probes>>,
    syslog: Vec<u32>,
}

/// A literal that messages of a pack begin with; not empty.
#[derive(Debug, Clone)]
struct Beginning {
    /// Its first bytes, and by which bytes of a block they are told.
    block: u64,
    mask: u64,
    literal: Vec<u8>,
    pack: u32,
}

impl Beginning {
    fn new(literal: &[u8], pack: u32) -> Self {
        let unused = swar::BYTES.saturating_sub(literal.len());
        let mask = u64::MAX >> (8 * unused);
        Self { block: swar::load(literal, 0), mask, literal: literal.to_vec(), pack }
    }

    /// Whether a text, of which this is the first block, begins with it.
    fn begins(&self, text: &[u8], block: u64) -> bool {
        (self.block ^ block) & self.mask == 0 && text.starts_with(&self.literal)
    }
}

/// What is looked for in the message: first `json_keys`, then `contains`, then `signature`.
#[derive(Debug)]
struct Probes {
    probes: Box<[Probe]>,
    by_literal: LiteralIndex,
}

/// A pack that a message belongs to if it has what the pack's `applies` says.
#[derive(Debug)]
struct Probe {
    pack: u32,
    question: Question,
    /// One of them is in each message that fits; none if that would rule out few.
    landmarks: Vec<Landmark>,
    /// What a message that fits begins with; `None` if that can be anything.
    outlines: Option<Box<Outlines>>,
}

impl Probe {
    /// Of what is looked for anywhere.
    fn new(pack: u32, question: Question) -> Self {
        Self { pack, question, landmarks: Vec::new(), outlines: None }
    }

    fn allows(&self, text: &Sketch) -> bool {
        self.outlines.as_ref().is_none_or(|outlines| outlines.allow(text))
    }
}

/// What is asked of a message that the index names.
#[derive(Debug)]
enum Question {
    /// Nothing: it holds a literal, which is all.
    Held,
    JsonKeys,
    Contains,
    /// By its number in the pack.
    Signature(usize),
}

impl Dispatch {
    pub(crate) fn new(packs: &[Pack]) -> Self {
        let mut dispatch = Self { starts: vec![Vec::new(); 256], ..Self::default() };
        let mut programs = FxHashMap::default();
        for number in order(packs) {
            dispatch.add(number, &packs[number as usize], &mut programs);
        }
        dispatch.programs = Programs::new(programs);
        dispatch
    }

    fn add(&mut self, number: u32, pack: &Pack, programs: &mut FxHashMap<Vec<u8>, Vec<u32>>) {
        let applies = &pack.applies;
        for program in &applies.programs {
            let program = program.as_bytes().to_vec();
            if program.contains(&b'*') || program.contains(&b'?') {
                self.program_globs.push(program, number);
            } else {
                programs.entry(program).or_default().push(number);
            }
        }
        for literal in applies.starts.iter().filter(|literal| !literal.is_empty()) {
            self.starts[usize::from(literal[0])].push(Beginning::new(literal, number));
        }
        if applies.syslog {
            self.syslog.push(number);
        }
    }

    /// Calls `visit` with the packs that fit, in the order in which they are tried, until it returns
    /// `true`. A pack may be named twice. Those for any syslog line are not among them. `found` and
    /// `scratch` are working space.
    pub(crate) fn visit(
        &self,
        packs: &[Pack],
        program: Option<&[u8]>,
        message: &[u8],
        space: (&mut Vec<u32>, &mut Scratch),
        mut visit: impl FnMut(usize) -> bool,
    ) {
        let named = program.map_or(&[][..], |program| self.named(program));
        if !named.iter().any(|number| visit(*number as usize)) {
            self.visit_others(packs, program, (message, message.len()), space, visit);
        }
    }

    /// The packs that name the program as it is, which come first.
    #[inline]
    pub(crate) fn named(&self, program: &[u8]) -> &[u32] {
        self.programs.get(program)
    }

    /// A program that a pack names at the beginning of a text, in front of a colon, and what follows.
    pub(crate) fn program_in_front<'t>(&self, text: &'t [u8]) -> Option<(&'t [u8], &'t [u8])> {
        const PROGRAM_BYTES_MAX: usize = 48;
        let head = &text[..text.len().min(PROGRAM_BYTES_MAX)];
        let end = memchr::memmem::find(head, b": ")?;
        let program = &text[..end];
        (!self.named(program).is_empty()).then(|| (program, text[end + 2..].trim_ascii_start()))
    }

    /// As [`Dispatch::visit`], of those behind the ones that name the program as it is. The message is the
    /// first `len` bytes of `padded`; what stands behind them has no meaning.
    pub(crate) fn visit_others(
        &self,
        packs: &[Pack],
        program: Option<&[u8]>,
        (padded, len): (&[u8], usize),
        (found, scratch): (&mut Vec<u32>, &mut Scratch),
        mut visit: impl FnMut(usize) -> bool,
    ) {
        let message = &padded[..len];
        let mut pack = |number: &u32| visit(*number as usize);
        if let Some(program) = program
            && self.program_globs.fitting(program).any(&mut pack)
        {
            return;
        }
        let text = message.trim_ascii_start();
        if let Some(first) = text.first() {
            let (starts, block) = (&self.starts[usize::from(*first)], swar::load(text, 0));
            if starts.iter().any(|start| start.begins(text, block) && pack(&start.pack)) {
                return;
            }
        }
        let Probes { probes, by_literal } = &**self.probes.get_or_init(|| Probes::new(packs));
        let sketch = Sketch::of(message);
        let allowed = |at: u32| probes[at as usize].allows(&sketch);
        by_literal.visit(message, found, allowed, |at| {
            let Probe { pack: number, question, landmarks, .. } = &probes[at as usize];
            (landmarks.is_empty() || landmarks.iter().any(|mark| mark.is_in(message)))
                && question.fits(&packs[*number as usize].applies, (padded, len), scratch)
                && pack(number)
        });
    }

    /// The packs for any line that has a syslog header.
    pub(crate) fn syslog(&self) -> &[u32] {
        &self.syslog
    }
}

/// The packs by descending priority.
fn order(packs: &[Pack]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..packs.len() as u32).collect();
    order.sort_by_key(|number| std::cmp::Reverse(packs[*number as usize].priority));
    order
}

impl Probes {
    #[cold]
    fn new(packs: &[Pack]) -> Box<Self> {
        let order = order(packs);
        let of_packs = || order.iter().map(|number| (*number, &packs[*number as usize].applies));
        let json_keys = of_packs().filter_map(|(pack, applies)| json_keys(pack, applies));
        let contains = of_packs().filter_map(|(pack, applies)| contains(pack, applies));
        let signatures = of_packs().flat_map(|(pack, applies)| signatures(pack, applies));
        let (probes, needs): (Vec<_>, Vec<_>) = json_keys.chain(contains).chain(signatures).unzip();
        Box::new(Self { probes: probes.into(), by_literal: LiteralIndex::of_any_text(&needs) })
    }
}

/// Packs by the name of the program: a table of buckets, found by the first and the last eight
/// bytes of the name, which costs a quarter of what hashing all of it does. All names stand in one text and
/// all packs in one list: there are thousands, and each of its own would take three times as much.
#[derive(Debug, Default)]
struct Programs {
    /// Where the names of each bucket begin, and where the last ends; a power of two of buckets, or none.
    buckets: Box<[u32]>,
    names: Box<[Named]>,
    text: Box<[u8]>,
    packs: Box<[u32]>,
}

/// A name in the text of all, and its packs in the list of all: from and to.
#[derive(Debug, Clone, Copy)]
struct Named {
    text: (u32, u32),
    packs: (u32, u32),
}

impl Programs {
    fn new(programs: FxHashMap<Vec<u8>, Vec<u32>>) -> Self {
        let size = (2 * programs.len()).next_power_of_two();
        let bucket = |program: &[u8]| Self::bucket(program, size);
        let mut programs: Vec<(Vec<u8>, Vec<u32>)> = programs.into_iter().collect();
        programs.sort_unstable_by(|one, other| {
            bucket(&one.0).cmp(&bucket(&other.0)).then_with(|| one.0.cmp(&other.0))
        });
        let (mut text, mut packs, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (program, numbers) in &programs {
            let (text_start, packs_start) = (text.len() as u32, packs.len() as u32);
            text.extend_from_slice(program);
            packs.extend_from_slice(numbers);
            let packs = (packs_start, packs.len() as u32);
            names.push(Named { text: (text_start, text.len() as u32), packs });
        }
        let before =
            |number: usize| programs.partition_point(|(program, _)| bucket(program) < number);
        let buckets = (0..=size).map(|number| before(number) as u32).collect();
        Self { buckets, names: names.into(), text: text.into(), packs: packs.into() }
    }

    #[inline]
    fn get(&self, program: &[u8]) -> &[u32] {
        let bucket = Self::bucket(program, self.buckets.len().saturating_sub(1));
        let Some([from, to]) = self.buckets.get(bucket..bucket + 2) else { return &[] };
        let names = &self.names[*from as usize..*to as usize];
        let known = names.iter().find(|Named { text: (from, to), .. }| {
            self.text[*from as usize..*to as usize] == *program
        });
        known.map_or(&[], |named| &self.packs[named.packs.0 as usize..named.packs.1 as usize])
    }

    #[inline]
    fn bucket(program: &[u8], size: usize) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let key = match (program.first_chunk(), program.last_chunk()) {
            (Some(first), Some(last)) => {
                u64::from_le_bytes(*first).wrapping_mul(MIX) ^ u64::from_le_bytes(*last)
            }
            _ => match (program.first_chunk(), program.last_chunk()) {
                (Some(first), Some(last)) => {
                    u64::from(u32::from_le_bytes(*first)) << 32
                        | u64::from(u32::from_le_bytes(*last))
                }
                _ => program.iter().fold(0, |key, byte| key << 8 | u64::from(*byte)),
            },
        };
        (key.wrapping_mul(MIX) >> 40) as usize & size.wrapping_sub(1)
    }
}

/// Packs by patterns of the name of the program, of which most fit few first bytes.
#[derive(Debug, Default)]
struct Globs {
    all: Vec<(Name, u32)>,
    /// By the first byte of a name: those of all that may fit it, ascending. None: there are none.
    by_first: Box<[Vec<u32>]>,
}

#[derive(Debug)]
enum Name {
    /// As most are written: `postfix/*`.
    Beginning(Vec<u8>),
    Glob(Vec<u8>),
}

impl Name {
    fn new(mut pattern: Vec<u8>) -> Self {
        let wild = |byte: &&u8| matches!(byte, b'*' | b'?');
        if pattern.last() == Some(&b'*') && pattern.iter().filter(wild).count() == 1 {
            pattern.pop();
            return Self::Beginning(pattern);
        }
        Self::Glob(pattern)
    }

    fn fits(&self, program: &[u8]) -> bool {
        match self {
            Self::Beginning(beginning) => program.starts_with(beginning),
            Self::Glob(pattern) => glob(pattern, program),
        }
    }
}

impl Globs {
    fn push(&mut self, pattern: Vec<u8>, pack: u32) {
        if self.by_first.is_empty() {
            self.by_first = vec![Vec::new(); 256].into();
        }
        let place = self.all.len() as u32;
        match pattern.first() {
            Some(b'*' | b'?') | None => self.by_first.iter_mut().for_each(|fit| fit.push(place)),
            Some(first) => self.by_first[usize::from(*first)].push(place),
        }
        self.all.push((Name::new(pattern), pack));
    }

    /// The packs of the patterns that fit, in the order in which they were pushed.
    fn fitting<'g>(&'g self, program: &'g [u8]) -> impl Iterator<Item = &'g u32> {
        // A pattern that fits no byte begins with a star, as those of all lists do.
        let first = program.first().copied().unwrap_or_default();
        let may_fit = self.by_first.get(usize::from(first)).map_or(&[][..], Vec::as_slice);
        let named = may_fit.iter().map(|place| &self.all[*place as usize]);
        named.filter(|(name, _)| name.fits(program)).map(|(_, pack)| pack)
    }
}

fn json_keys(pack: u32, applies: &Applies) -> Option<(Probe, Need)> {
    let longest = applies.json_keys.iter().max_by_key(|key| key.needle().len())?;
    let need = Need::holding(&[longest.needle()]);
    Some((Probe::new(pack, Question::JsonKeys), need))
}

fn contains(pack: u32, applies: &Applies) -> Option<(Probe, Need)> {
    let literals: Vec<&[u8]> = applies.contains.iter().map(Finder::needle).collect();
    if literals.is_empty() {
        return None;
    }
    let need = Need::holding(&literals);
    let question = if need.holds.is_some() { Question::Held } else { Question::Contains };
    Some((Probe::new(pack, question), need))
}

fn signatures(pack: u32, applies: &Applies) -> impl Iterator<Item = (Probe, Need)> {
    applies.signatures.iter().enumerate().map(move |(number, signature)| {
        let need = signature.need();
        if signature.is_literals() && need.holds.is_some() {
            return (Probe::new(pack, Question::Held), need);
        }
        // Where first bytes and literals tell little.
        let landmarks = if need.is_selective() { Vec::new() } else { signature.landmarks() };
        let outlines = need.heads.as_deref().and_then(Outlines::of).map(Box::new);
        (Probe { landmarks, outlines, ..Probe::new(pack, Question::Signature(number)) }, need)
    })
}

impl Question {
    fn fits(
        &self,
        applies: &Applies,
        (padded, len): (&[u8], usize),
        scratch: &mut Scratch,
    ) -> bool {
        let message = &padded[..len];
        match self {
            Self::Held => true,
            Self::JsonKeys => {
                message.trim_ascii_start().starts_with(b"{")
                    && applies.json_keys.iter().all(|key| key.find(message).is_some())
            }
            Self::Contains => applies.contains.iter().any(|part| part.find(message).is_some()),
            Self::Signature(number) => applies.signatures[*number].is_match(padded, len, scratch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_begins_with_a_literal_of_any_length_or_not() {
        let text = b"{\"EventTime\":1";
        for len in 1..text.len() {
            let beginning = Beginning::new(&text[..len], 0);
            for (other, expected) in [
                (&text[..], true),
                (&text[..len], true),
                (&text[..len - 1], false),
                (b"{\"x", len < 3),
            ] {
                assert_eq!(beginning.begins(other, swar::load(other, 0)), expected, "{len}");
            }
            let mut other = text.to_vec();
            other[len - 1] ^= 1;
            assert!(!beginning.begins(&other, swar::load(&other, 0)), "{len}");
        }
    }

    #[test]
    fn programs_of_any_length_are_found_by_their_names_and_others_are_not() {
        let name = |length: usize, last: char| {
            format!("{}{last}", "abcdefghijklmnopqrstuvwxyz".split_at(length).0)
        };
        let named = (0..26).map(|length| (name(length, 'x').into_bytes(), vec![length as u32]));
        let programs = Programs::new(named.collect());
        for length in 0..26 {
            assert_eq!(programs.get(name(length, 'x').as_bytes()), [length as u32]);
            assert!(programs.get(name(length, 'y').as_bytes()).is_empty());
        }
        assert!(programs.get(b"").is_empty() && Programs::default().get(b"sshd").is_empty());
    }

    #[test]
    fn names_fit_the_patterns_that_globs_say_in_the_order_in_which_these_were_given() {
        let patterns =
            ["post*", "*/nrpe", "?ost*", "*", "a*", "post?ix/*", "post*/*d", "post", "p*t", "z*"];
        let mut globs = Globs::default();
        for (pattern, number) in patterns.iter().zip(0..) {
            globs.push(pattern.as_bytes().to_vec(), number);
        }
        for program in
            ["", "p", "post", "postfix/smtpd", "postfix/qmgr", "a", "x/nrpe", "most", "z"]
        {
            let program = program.as_bytes();
            let found: Vec<u32> = globs.fitting(program).copied().collect();
            let expected: Vec<u32> = (0..)
                .zip(patterns)
                .filter(|(_, p)| glob(p.as_bytes(), program))
                .map(|(n, _)| n)
                .collect();
            assert_eq!(found, expected, "{program:?}");
        }
        assert_eq!(Globs::default().fitting(b"x").next(), None);
    }
}
