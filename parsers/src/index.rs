//! Which of many patterns may match a text, told by their literals without running any of them.
//!
//! Owns one promise: a pattern that matches is among the candidates, and candidates come in the
//! order of the rules. What it costs hardly depends on how many patterns there are:
//!
//! - a pattern that begins with a literal is told by a few of its first bytes, see [`crate::decide`];
//! - any other pattern with a literal of at least [`GRAM`] bytes stands under 4-byte pieces of it.
//!   Of a literal of [`WINDOW`] bytes all four alignments are entered, so that the text is probed at
//!   every fourth byte only; shorter ones are probed for at every byte, or, in texts of any kind, looked for
//!   together many bytes at a time;
//! - what has no such literal is told by what its first bytes can be, see [`crate::heads`].
//!
//! The pieces are looked for lazily: only when the next candidate by beginning needs one that is worth
//! a scan, or stands behind a rule that only they could find. A hit is compared with the whole literal.

use crate::decide::Decisions;
use crate::heads::Head;
use aho_corasick::{Span, packed::Searcher};
use regex_syntax::hir::{Hir, HirKind, Look, literal::Extractor};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// Shorter beginnings tell too little apart.
const PREFIX_BYTES: usize = 3;
/// The bytes of a piece.
const GRAM: usize = 4;
/// A literal of so many bytes holds a whole piece at every alignment.
const WINDOW: usize = 2 * GRAM - 1;
/// So many patterns are run wherever a text begins as they do; those behind them that have a literal go by
/// that.
const SHARED_MAX: usize = 3;
/// More alternatives than this are no help.
const ALTERNATIVES_MAX: usize = 64;
/// So many parts of a pattern are joined to literals.
const JOINED_MAX: usize = 3;
/// Bits for each piece, so that few probes are in vain, and all of them at most.
const BITS_PER_PIECE: usize = 64;
const BITS_MAX: usize = 1 << 16;

/// What a text must hold for one pattern to match it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Every match begins at the start of the text with one of these.
    pub(crate) prefixes: Option<Vec<Vec<u8>>>,
    /// Every match holds one of these.
    pub(crate) holds: Option<Vec<Vec<u8>>>,
    /// Every match begins at the start of the text with one of these.
    pub(crate) heads: Option<Vec<Head>>,
}

impl Need {
    pub(crate) fn of(hir: &Hir) -> Self {
        Self {
            prefixes: prefixes(hir),
            holds: holds(hir).filter(|any| shortest(any) >= GRAM),
            heads: Head::all_of(hir),
        }
    }

    /// That one of `literals` is held.
    pub(crate) fn holding(literals: &[&[u8]]) -> Self {
        let any: Vec<Vec<u8>> = literals.iter().map(|literal| literal.to_vec()).collect();
        let holds = Some(any).filter(|any| shortest(any) >= GRAM);
        Self { holds, ..Self::default() }
    }

    /// What a text must hold for any of several patterns to match it.
    pub(crate) fn any_of<'n>(needs: impl Iterator<Item = &'n Self> + Clone) -> Self {
        let all = |part: fn(&'n Self) -> Option<&'n Vec<Vec<u8>>>| {
            let lists: Option<Vec<_>> = needs.clone().map(part).collect();
            let literals: Vec<Vec<u8>> = lists?.into_iter().flatten().cloned().collect();
            (!literals.is_empty()).then_some(literals)
        };
        let long_prefixes =
            |need: &'n Self| need.prefixes.as_ref().filter(|any| shortest(any) >= GRAM);
        let prefixes = all(|need| need.prefixes.as_ref());
        // What a text begins with it also holds.
        let holds = match prefixes {
            Some(_) => all(|need| need.holds.as_ref()),
            None => needs
                .clone()
                .map(|need| need.holds.as_ref().or(long_prefixes(need)).cloned())
                .collect::<Option<Vec<_>>>()
                .map(|lists| lists.concat())
                .filter(|any| !any.is_empty()),
        };
        let heads: Option<Vec<&Vec<Head>>> = needs.map(|need| need.heads.as_ref()).collect();
        let heads = heads.filter(|all| !all.is_empty());
        let heads = heads.map(|all| all.into_iter().flatten().cloned().collect());
        Self { prefixes, holds, heads }
    }

    /// Whether lines are told apart by a literal or by their first bytes.
    pub(crate) fn tells(&self) -> bool {
        self.holds.is_some() || self.is_selective()
    }

    /// Whether they are told apart by their first bytes.
    pub(crate) fn is_selective(&self) -> bool {
        self.prefixes.is_some() || self.has_selective_heads()
    }

    fn has_selective_heads(&self) -> bool {
        self.heads.as_ref().is_some_and(|heads| heads.iter().all(Head::is_selective))
    }

    fn heads_overlap(&self, others: &[Head]) -> bool {
        self.heads.as_ref().is_some_and(|heads| {
            heads.iter().any(|head| others.iter().any(|other| head.overlaps(other)))
        })
    }

    /// Whether `text` holds what it must; exact about literals, so cheap to ask before a regex.
    #[cfg(test)]
    pub(crate) fn met_by(&self, text: &[u8]) -> bool {
        let begins = |any: &Vec<Vec<u8>>| any.iter().any(|literal| text.starts_with(literal));
        let inside = |any: &Vec<Vec<u8>>| {
            any.iter().any(|literal| memchr::memmem::find(text, literal).is_some())
        };
        self.prefixes.as_ref().is_none_or(begins)
            && self.holds.as_ref().is_none_or(inside)
            && self.heads.as_ref().is_none_or(|heads| heads.iter().any(|head| head.fits(text)))
    }
}

fn shortest(any: &[Vec<u8>]) -> usize {
    any.iter().map(Vec::len).min().unwrap_or(0)
}

pub(crate) fn prefixes(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return None;
    }
    let sequence = Extractor::new().extract(hir);
    let literals: Vec<Vec<u8>> =
        sequence.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect();
    (shortest(&literals) >= PREFIX_BYTES).then_some(literals)
}

/// The alternatives of which every match holds one: those whose shortest literal is longest.
fn holds(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => holds(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => holds(&repetition.sub),
        HirKind::Concat(parts) => {
            let alone = parts.iter().filter_map(holds);
            let joined = (0..parts.len()).filter_map(|at| joined(&parts[at..]));
            alone.chain(joined).max_by_key(|any| shortest(any))
        }
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(holds(branch)?);
            }
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        _ => None,
    }
}

/// What alternatives and what follows them are together: `GET /` and `PUT /` of `(?:GET|PUT) /`.
fn joined(parts: &[Hir]) -> Option<Vec<Vec<u8>>> {
    if !matches!(parts[0].kind(), HirKind::Alternation(_) | HirKind::Class(_) | HirKind::Capture(_))
    {
        return None;
    }
    let together = Hir::concat(parts[..parts.len().min(JOINED_MAX)].to_vec());
    // Classes of more bytes than this would multiply the alternatives.
    let sequence = Extractor::new().limit_class(2).extract(&together);
    let literals = sequence.literals().filter(|all| all.len() <= ALTERNATIVES_MAX)?;
    Some(literals.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

/// The index over a list of patterns; a pattern is its position in the list.
#[derive(Debug)]
pub(crate) struct LiteralIndex {
    /// [`Entry`]s of what begins at the start of the text, and of what nothing tells.
    beginnings: Decisions,
    tiers: [Tier; TIERS],
    /// The first position that a scan alone can find.
    first_loose: u32,
}

impl Default for LiteralIndex {
    fn default() -> Self {
        Self::new(&[])
    }
}

/// Those of literals of a window, those of shorter ones and, if these are looked for apart, those of patterns
/// that may begin anywhere.
const TIERS: usize = 3;
/// Each of them, by bit.
const EACH_TIER: u32 = (1 << TIERS) - 1;

/// What is looked for inside the text.
#[derive(Debug)]
struct Tier {
    grams: Grams,
    /// Where the text is probed: at every so many bytes, 1 or [`GRAM`].
    stride: usize,
    /// The first position of those that may begin anywhere.
    first_loose: u32,
    /// A quicker way than by pieces.
    packed: Option<Packed>,
}

impl Default for Tier {
    fn default() -> Self {
        Self { grams: Grams::default(), stride: 1, first_loose: u32::MAX, packed: None }
    }
}

impl Tier {
    fn scan(&self, text: &[u8], found: &mut Vec<u32>) {
        match &self.packed {
            Some(packed) => packed.scan(text, &self.grams.literals, found),
            None => self.grams.scan(text, self.stride, found),
        }
    }
}

/// A position, and behind it one bit for each tier that has to find the pattern, too.
#[derive(Debug, Clone, Copy)]
struct Entry(u32);

impl Entry {
    fn new(position: u32, tiers: u32) -> Self {
        Self(position << TIERS | tiers)
    }

    fn position(self) -> u32 {
        self.0 >> TIERS
    }

    /// By bit, those that have to find the pattern, too.
    fn tiers(self) -> u32 {
        self.0 & EACH_TIER
    }

    fn is_sure(self) -> bool {
        self.tiers() == 0
    }

    fn is_of(self, tier: usize) -> bool {
        self.0 >> tier & 1 == 1
    }
}

impl LiteralIndex {
    pub(crate) fn new(needs: &[Need]) -> Self {
        Self::with(needs, false)
    }

    /// As [`LiteralIndex::new`], for texts of which nearly each is scanned: it takes more room, and less time.
    pub(crate) fn of_any_text(needs: &[Need]) -> Self {
        Self::with(needs, true)
    }

    fn with(needs: &[Need], packed: bool) -> Self {
        // Those before that are run wherever a text begins so: how many for each prefix, and the heads of each.
        let mut sharing: FxHashMap<&[u8], usize> = FxHashMap::default();
        let mut headed: Vec<&[Head]> = Vec::new();
        let mut beginnings = Vec::new();
        let mut tiers: [Tier; TIERS] = Default::default();
        tiers[0].stride = GRAM;
        for (need, position) in needs.iter().zip(0..) {
            let sure = match &need.prefixes {
                Some(any) => any.iter().all(|prefix| {
                    sharing.get(prefix.as_slice()).is_none_or(|before| *before < SHARED_MAX)
                }),
                None => need.heads.as_ref().is_some_and(|_| {
                    let before = headed.iter().filter(|heads| need.heads_overlap(heads)).count();
                    before < SHARED_MAX && need.has_selective_heads()
                }),
            };
            if sure {
                let own: FxHashSet<&[u8]> =
                    need.prefixes.iter().flatten().map(Vec::as_slice).collect();
                own.into_iter().for_each(|prefix| *sharing.entry(prefix).or_default() += 1);
                headed.extend(need.heads.as_deref());
            }
            let mut of = 0;
            for literal in need.holds.iter().flatten().filter(|_| !sure) {
                let loose = need.prefixes.is_none() && need.heads.is_none();
                let tier = match literal.len() {
                    WINDOW.. => 0,
                    _ if packed && loose => 2,
                    _ => 1,
                };
                of |= 1 << tier;
                tiers[tier].grams.insert(literal, position);
                if loose {
                    tiers[tier].first_loose = tiers[tier].first_loose.min(position);
                }
            }
            let entry = Entry::new(position, of).0;
            match (&need.prefixes, &need.heads) {
                (Some(prefixes), _) => {
                    beginnings.extend(prefixes.iter().map(|prefix| (Head::literal(prefix), entry)));
                }
                (None, Some(heads)) => {
                    beginnings.extend(heads.iter().map(|head| (head.clone(), entry)));
                }
                (None, None) if of == 0 => beginnings.push((Head::default(), entry)),
                (None, None) => {}
            }
        }
        tiers.iter_mut().for_each(|tier| tier.grams.seal());
        tiers[2].packed = Packed::new(&tiers[2].grams.literals);
        let beginnings = Decisions::new(&beginnings, |leaf| settle(leaf, &tiers));
        let first_loose = tiers.iter().map(|tier| tier.first_loose).min().unwrap_or(u32::MAX);
        Self { beginnings, tiers, first_loose }
    }

    /// The candidates for `text`, in ascending order.
    #[inline]
    pub(crate) fn candidates(&self, text: &[u8]) -> Candidates<'_> {
        let begun = self.beginnings.candidates(text);
        Candidates { begun, from: 0, first_loose: self.first_loose }
    }

    /// Calls `visit` with each candidate for `text` that is `allowed`, in ascending order, until it returns
    /// `true`; returns whether it did. `found` is working space.
    #[inline]
    pub(crate) fn visit(
        &self,
        text: &[u8],
        found: &mut Vec<u32>,
        allowed: impl Fn(u32) -> bool,
        mut visit: impl FnMut(u32) -> bool,
    ) -> bool {
        let mut candidates = self.candidates(text);
        while let Some(position) = candidates.next_sure() {
            if allowed(position) && visit(position) {
                return true;
            }
        }
        self.visit_others(text, &candidates, found, allowed, visit)
    }

    /// As [`LiteralIndex::visit`], of the candidates behind the sure ones.
    #[inline]
    pub(crate) fn visit_others(
        &self,
        text: &[u8],
        candidates: &Candidates<'_>,
        found: &mut Vec<u32>,
        allowed: impl Fn(u32) -> bool,
        visit: impl FnMut(u32) -> bool,
    ) -> bool {
        if candidates.is_done() {
            return false;
        }
        found.clear();
        self.visit_scanned(text, (candidates.begun, candidates.from), found, allowed, visit)
    }

    /// Goes on with what is left of the beginnings, from a position on; each tier is scanned once the next candidate is
    /// one of its own or stands behind what it can add. What it finds goes into `found`.
    fn visit_scanned(
        &self,
        text: &[u8],
        (mut begun, mut from): (&[u32], u32),
        found: &mut Vec<u32>,
        allowed: impl Fn(u32) -> bool,
        mut visit: impl FnMut(u32) -> bool,
    ) -> bool {
        // By bit, the tiers that were not scanned yet.
        let (mut open, mut at) = (EACH_TIER, 0);
        loop {
            let entry = begun.first().map(|entry| Entry(*entry));
            if entry.is_some_and(|entry| !allowed(entry.position())) {
                begun = &begun[1..];
                continue;
            }
            let hit = found.get(at).copied().unwrap_or(u32::MAX);
            let next = entry.map_or(u32::MAX, Entry::position).min(hit);
            let wanted = open & (entry.map_or(0, Entry::tiers) | self.loose_before(next));
            if wanted != 0 {
                open &= !wanted;
                self.scan(text, wanted, found);
                // What a scan finds before this was visited, or its beginning does not fit.
                found.retain(|position| *position >= from && allowed(*position));
                sort(found);
                at = 0;
                continue;
            }
            if next == u32::MAX {
                return false;
            }
            at += usize::from(hit == next);
            if let Some(entry) = entry.filter(|entry| entry.position() == next) {
                begun = &begun[1..];
                if hit != next && !entry.is_sure() {
                    continue;
                }
            }
            from = next + 1;
            if visit(next) {
                return true;
            }
        }
    }

    /// By bit, the tiers that can add something up to a position wherever it begins.
    #[inline]
    fn loose_before(&self, next: u32) -> u32 {
        if self.first_loose > next {
            return 0;
        }
        let tiers = self.tiers.iter().enumerate();
        tiers.fold(0, |loose, (number, Tier { first_loose: first, .. })| {
            loose | u32::from(*first != u32::MAX && *first <= next) << number
        })
    }

    /// Scans these tiers, by bit.
    fn scan(&self, text: &[u8], wanted: u32, found: &mut Vec<u32>) {
        for (number, tier) in self.tiers.iter().enumerate() {
            if wanted >> number & 1 == 1 {
                tier.scan(text, found);
            }
        }
    }
}

/// What is known of the candidates for a text before anything is scanned.
#[derive(Debug)]
pub(crate) struct Candidates<'i> {
    begun: &'i [u32],
    /// All before this position are told.
    from: u32,
    first_loose: u32,
}

impl Candidates<'_> {
    /// The next one, if no scan is needed to know it.
    #[inline]
    pub(crate) fn next_sure(&mut self) -> Option<u32> {
        let (entry, rest) = self.begun.split_first()?;
        let entry = Entry(*entry);
        let position = entry.position();
        if !entry.is_sure() || self.first_loose < position {
            return None;
        }
        (self.from, self.begun) = (position + 1, rest);
        Some(position)
    }

    /// Whether there are no others.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.begun.is_empty() && self.first_loose == u32::MAX
    }
}

/// Where only a few of a leaf's entries need a scan that nothing else needs, running their programs
/// costs less.
fn settle(leaf: &mut [u32], tiers: &[Tier; TIERS]) {
    for (number, tier) in tiers.iter().enumerate() {
        let own = leaf.iter().filter(|entry| Entry(**entry).is_of(number)).count();
        if tier.first_loose == u32::MAX && own <= 2 * GRAM / tier.stride {
            // Whoever is found by the other tier alone must not be lost.
            leaf.iter_mut().filter(|entry| Entry(**entry).is_of(number)).for_each(|entry| {
                *entry = Entry::new(Entry(*entry).position(), 0).0;
            });
        }
    }
}

fn sort(found: &mut Vec<u32>) {
    if found.len() > 1 {
        found.sort_unstable();
        found.dedup();
    }
}

/// Literals under pieces of them.
#[derive(Debug, Default)]
struct Grams {
    /// One bit for each hash of a piece, a power of two of them: most probes end here. No more of them
    /// than are of use, for of many lists only a few bytes each stay in the first-level cache. Empty: there
    /// are no pieces.
    bits: Box<[u64]>,
    /// Piece → where it stands in which literals: (literal, offset of the piece in it).
    pieces: FxHashMap<u32, Vec<(u32, u32)>>,
    literals: Vec<(Vec<u8>, u32)>,
}

impl Grams {
    fn insert(&mut self, literal: &[u8], position: u32) {
        let number = self.literals.len() as u32;
        self.literals.push((literal.to_vec(), position));
        let width = literal.len().min(WINDOW);
        let width = if width < WINDOW { GRAM } else { width };
        let start = self.rarest(literal, width);
        for offset in start..=start + width - GRAM {
            let piece = piece(literal, offset);
            self.pieces.entry(piece).or_default().push((number, offset as u32));
        }
    }

    /// Sets the bits of all pieces.
    fn seal(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        let count = (self.pieces.len() * BITS_PER_PIECE).next_power_of_two().min(BITS_MAX);
        let mut bits = vec![0; count / 64];
        for piece in self.pieces.keys() {
            let hash = hash(*piece);
            bits[word(hash, count / 64)] |= 1 << (hash % 64);
        }
        self.bits = bits.into();
    }

    /// Where the part of `width` bytes begins that fewest texts and fewest other patterns hold.
    fn rarest(&self, literal: &[u8], width: usize) -> usize {
        let cost = |start: &usize| {
            let window = &literal[*start..start + width];
            let taken: usize = (*start..=start + width - GRAM)
                .map(|at| self.pieces.get(&piece(literal, at)).map_or(0, Vec::len))
                .sum();
            taken * 64 + window.iter().map(|byte| commonness(*byte)).sum::<usize>()
        };
        (0..=literal.len() - width).min_by_key(cost).unwrap_or(0)
    }

    fn scan(&self, text: &[u8], stride: usize, found: &mut Vec<u32>) {
        let bits = &*self.bits;
        if bits.is_empty() {
            return;
        }
        let mut probe = |at: usize, chunk: &[u8; GRAM]| {
            let piece = u32::from_le_bytes(*chunk);
            let hash = hash(piece);
            if bits[word(hash, bits.len())] >> (hash % 64) & 1 == 1 {
                self.hit(text, at, piece, found);
            }
        };
        if stride == GRAM {
            let chunks = text.as_chunks().0.iter();
            chunks.enumerate().for_each(|(number, chunk)| probe(number * GRAM, chunk));
        } else {
            text.array_windows().enumerate().for_each(|(at, chunk)| probe(at, chunk));
        }
    }

    #[cold]
    fn hit(&self, text: &[u8], at: usize, piece: u32, found: &mut Vec<u32>) {
        for (number, offset) in self.pieces.get(&piece).map_or(&[][..], Vec::as_slice) {
            let (literal, position) = &self.literals[*number as usize];
            let start = at.checked_sub(*offset as usize);
            if start.is_some_and(|start| text[start..].starts_with(literal)) {
                found.push(*position);
            }
        }
    }
}

/// A few literals, looked for sixteen or more bytes of the text at a time.
#[derive(Debug)]
struct Packed {
    searcher: Searcher,
    /// For each different literal, all that begin as it does: these may stand at the same place.
    alike: Box<[Box<[u32]>]>,
}

impl Packed {
    /// `None` if there are none or too many, or the processor cannot do it.
    fn new(literals: &[(Vec<u8>, u32)]) -> Option<Self> {
        let different: BTreeSet<&[u8]> = literals.iter().map(|(literal, _)| &**literal).collect();
        let alike = |literal: &&[u8]| {
            let others = literals.iter().zip(0..);
            let alike = others.filter(|((other, _), _)| other[..GRAM] == literal[..GRAM]);
            alike.map(|(_, at)| at).collect()
        };
        let searcher = Searcher::new(&different)?;
        Some(Self { searcher, alike: different.iter().map(alike).collect() })
    }

    fn scan(&self, text: &[u8], literals: &[(Vec<u8>, u32)], found: &mut Vec<u32>) {
        let mut from = 0;
        while let Some(hit) = self.searcher.find_in(text, Span { start: from, end: text.len() }) {
            for number in &self.alike[hit.pattern().as_usize()] {
                let (literal, position) = &literals[*number as usize];
                if text[hit.start()..].starts_with(literal) {
                    found.push(*position);
                }
            }
            from = hit.start() + 1;
        }
    }
}

fn piece(literal: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([literal[at], literal[at + 1], literal[at + 2], literal[at + 3]])
}

fn hash(piece: u32) -> usize {
    (piece.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

/// In which of `count` words, a power of two, the bit of a hash stands.
#[inline]
fn word(hash: usize, count: usize) -> usize {
    (hash / 64) & (count - 1)
}

/// How often a byte stands in logs, roughly: 0 seldom, 8 everywhere.
fn commonness(byte: u8) -> usize {
    match byte {
        b' ' | b'e' => 8,
        b't' | b'o' | b'a' | b'i' | b'n' | b'r' | b's' => 6,
        b'0'..=b'9' | b'.' | b':' => 5,
        b'c' | b'd' | b'l' | b'u' | b'm' | b'p' => 4,
        b'a'..=b'z' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;

    fn need(pattern: &str) -> Need {
        let mut builder = regex_syntax::ParserBuilder::new();
        Need::of(&builder.unicode(false).utf8(false).build().parse(pattern).unwrap())
    }

    fn visited(index: &LiteralIndex, text: &[u8]) -> Vec<u32> {
        let (mut found, mut all) = (Vec::new(), Vec::new());
        let visit = |position| {
            all.push(position);
            false
        };
        index.visit(text, &mut found, |_| true, visit);
        all
    }

    #[test]
    fn needs_are_what_every_match_holds() {
        assert_eq!(need("^Accepted x").prefixes, Some(vec![b"Accepted x".to_vec()]));
        assert_eq!(need("Accepted x").prefixes, None);
        assert_eq!(need(r"\d+ connection (\S+)").holds, Some(vec![b" connection ".to_vec()]));
        let both = Some(vec![b"opened ".to_vec(), b"closed ".to_vec()]);
        assert_eq!(need(r"\d (?:opened|closed) \w").holds, both);
        assert_eq!(need(r"\d (?:opened|\w+)").holds, None);
        assert_eq!(need(r"a(?:closed)*b").holds, None);
    }

    /// Patterns of every kind, many of them sharing beginnings and pieces.
    fn patterns() -> Vec<String> {
        let words = ["Accepted", "Failed", "session opened", "Deny", "user", "from ", "err", "x"];
        let mut all = Vec::new();
        for (n, a) in words.iter().enumerate() {
            for b in &words {
                all.push(format!("^{a} {b}"));
                all.push(format!(r"^{a}\d* .*{b}"));
                all.push(format!(r"^%ASA-\d-{n}0{}: {b}", b.len()));
                all.push(format!(r"\S+ (?:{a}|{b})"));
                all.push(format!(r"{a}.*?{b}$"));
                all.push(format!(r"^(?:{a}|{b}) \w+"));
                all.push(r"^\d+ \w$".to_owned());
            }
        }
        all
    }

    /// Texts of the same words, from a fixed sequence of numbers.
    fn texts() -> Vec<String> {
        let words = [
            "Accepted",
            "Failed",
            "session",
            "opened",
            "Deny",
            "user",
            "from",
            "err",
            "x",
            "7 w",
            "%ASA-4-304: user",
            "%ASA-1-506: Failed",
            "12",
        ];
        let mut state = 1_u32;
        let mut draw = move |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize % below
        };
        let text = |draw: &mut dyn FnMut(usize) -> usize| {
            let count = draw(7);
            let parts: Vec<&str> = (0..count).map(|_| words[draw(words.len())]).collect();
            parts.join(if draw(4) == 0 { "" } else { " " })
        };
        (0..2_000).map(|_| text(&mut draw)).collect()
    }

    #[test]
    fn whatever_matches_is_a_candidate_and_candidates_come_in_order() {
        let patterns = patterns();
        let needs: Vec<Need> = patterns.iter().map(|pattern| need(pattern)).collect();
        let regexes: Vec<_> = patterns
            .iter()
            .map(|pattern| RegexBuilder::new(pattern).unicode(false).build().unwrap())
            .collect();
        let (index, of_any_text) = (LiteralIndex::new(&needs), LiteralIndex::of_any_text(&needs));
        assert!(of_any_text.tiers[2].packed.is_some());
        let (mut matched, mut tried) = (0, 0);
        for (number, text) in texts().into_iter().enumerate() {
            let index = if number % 2 == 0 { &index } else { &of_any_text };
            let candidates = visited(index, text.as_bytes());
            assert!(candidates.is_sorted_by(|a, b| a < b), "{text}: {candidates:?}");
            tried += candidates.len();
            for (position, regex) in regexes.iter().enumerate() {
                if regex.is_match(text.as_bytes()) {
                    matched += 1;
                    assert!(
                        candidates.contains(&(position as u32)),
                        "{} on {text}",
                        patterns[position]
                    );
                    assert!(needs[position].met_by(text.as_bytes()));
                }
            }
        }
        assert!(matched > 10_000 && tried < patterns.len() * 2_000 / 2, "{matched} of {tried}");
    }

    #[test]
    fn a_visit_ends_at_the_first_true() {
        let index = LiteralIndex::new(&[need("^abcd"), need("^ab"), need(r"\d"), need("^abcde")]);
        let mut seen = Vec::new();
        let visit = |position| {
            seen.push(position);
            position == 2
        };
        let ended = index.visit(b"abcdef", &mut Vec::new(), |_| true, visit);
        assert_eq!((ended, seen), (true, vec![0, 1, 2]));
        assert_eq!(visited(&index, b""), [2]);
        assert_eq!(visited(&index, b"xb"), [2]);
    }
}
