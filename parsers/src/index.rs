//! Which of many patterns may match a text, told by their literals without running any of them.
//!
//! Owns one promise: a pattern that matches is among the candidates, and candidates come in the
//! order of the rules. What it costs hardly depends on how many patterns there are:
//!
//! - a pattern that begins with a literal stands in a compressed trie, walked along the first bytes;
//! - any other pattern with a literal of at least [`GRAM`] bytes stands under 4-byte pieces of it.
//!   Of a literal of [`WINDOW`] bytes all four alignments are entered, so that the text is probed at
//!   every fourth byte only; shorter ones are probed for at every byte;
//! - what has no such literal is a candidate wherever its first bytes fit, see [`crate::heads`].
//!
//! A hit is compared with the whole literal, so a candidate really holds it. The pieces are looked
//! for lazily: only when the next candidate by beginning stands behind a rule that they could find.

use crate::heads::{Head, Heads};
use regex_syntax::hir::{Hir, HirKind, Look, literal::Extractor};
use rustc_hash::FxHashMap;

/// Shorter beginnings tell too little apart.
const PREFIX_BYTES: usize = 3;
/// The bytes of a piece.
const GRAM: usize = 4;
/// A literal of so many bytes holds a whole piece at every alignment.
const WINDOW: usize = 2 * GRAM - 1;
/// More patterns than this behind one beginning, and those that have a literal go by that.
const SHARED_MAX: usize = 3;
/// More alternatives than this are no help.
const ALTERNATIVES_MAX: usize = 64;
/// So many parts of a pattern are joined to literals.
const JOINED_MAX: usize = 3;
const BITS: usize = 1 << 16;

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
        self.prefixes.is_some() || self.holds.is_some() || self.has_selective_heads()
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

fn prefixes(hir: &Hir) -> Option<Vec<Vec<u8>>> {
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
#[derive(Debug, Default)]
pub(crate) struct LiteralIndex {
    trie: Trie,
    windows: Grams,
    short: Grams,
    /// What no literal tells.
    heads: Heads,
    /// The first position that only [`Grams`] can find.
    first_in_grams: u32,
}

impl LiteralIndex {
    pub(crate) fn new(needs: &[Need]) -> Self {
        let mut sharing: FxHashMap<&[u8], usize> = FxHashMap::default();
        for prefix in needs.iter().flat_map(|need| need.prefixes.iter().flatten()) {
            *sharing.entry(prefix).or_default() += 1;
        }
        let mut index = Self { first_in_grams: u32::MAX, ..Self::default() };
        for (position, need) in needs.iter().enumerate() {
            let position = position as u32;
            let shared = |any: &Vec<Vec<u8>>| {
                any.iter().any(|prefix| sharing[prefix.as_slice()] > SHARED_MAX)
            };
            let selective = need.heads.as_ref().is_some_and(|heads| {
                let sharing = needs.iter().filter(|other| other.heads_overlap(heads)).count();
                sharing <= SHARED_MAX && need.has_selective_heads()
            });
            match (&need.prefixes, &need.holds) {
                (Some(prefixes), holds) if holds.is_none() || !shared(prefixes) => {
                    prefixes.iter().for_each(|prefix| index.trie.insert(prefix, position));
                }
                (_, Some(holds)) if !selective => {
                    index.first_in_grams = index.first_in_grams.min(position);
                    for literal in holds {
                        let grams = if literal.len() < WINDOW {
                            &mut index.short
                        } else {
                            &mut index.windows
                        };
                        grams.insert(literal, position);
                    }
                }
                _ => index.heads.add(need.heads.as_deref(), position),
            }
        }
        index.heads.seal();
        index
    }

    /// Calls `visit` with each candidate for `text`, in ascending order, until it returns `true`;
    /// returns whether it did. `found` is working space.
    pub(crate) fn visit(
        &self,
        text: &[u8],
        found: &mut Vec<u32>,
        mut visit: impl FnMut(u32) -> bool,
    ) -> bool {
        found.clear();
        self.trie.walk(text, found);
        self.heads.find(text, found);
        sort(found);
        let mut scanned = self.first_in_grams == u32::MAX;
        let mut at = 0;
        loop {
            let next = found.get(at).copied().unwrap_or(u32::MAX);
            if !scanned && self.first_in_grams < next {
                scanned = true;
                self.windows.scan(text, GRAM, found);
                self.short.scan(text, 1, found);
                sort(found);
                // What stands before the first that the scan can add was visited.
                at = found.partition_point(|position| *position < self.first_in_grams);
                continue;
            }
            if next == u32::MAX {
                return false;
            }
            at += 1;
            if visit(next) {
                return true;
            }
        }
    }
}

fn sort(found: &mut Vec<u32>) {
    if found.len() > 1 {
        found.sort_unstable();
        found.dedup();
    }
}

/// A byte trie whose edges are whole strings.
#[derive(Debug)]
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// By their first bytes, which differ.
    edges: Vec<(Vec<u8>, usize)>,
    positions: Vec<u32>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    fn insert(&mut self, mut literal: &[u8], position: u32) {
        let mut node = 0;
        while let Some(first) = literal.first() {
            let Some(edge) =
                self.nodes[node].edges.iter().position(|(label, _)| label[0] == *first)
            else {
                let child = self.nodes.len();
                self.nodes.push(Node::default());
                self.nodes[node].edges.push((literal.to_vec(), child));
                node = child;
                break;
            };
            let label = &self.nodes[node].edges[edge].0;
            let common = label.iter().zip(literal).take_while(|(a, b)| a == b).count();
            if common < label.len() {
                self.split(node, edge, common);
            }
            node = self.nodes[node].edges[edge].1;
            literal = &literal[common..];
        }
        self.nodes[node].positions.push(position);
    }

    /// Puts a node into an edge, `at` bytes behind its beginning.
    fn split(&mut self, node: usize, edge: usize, at: usize) {
        let middle = self.nodes.len();
        let (label, child) = &mut self.nodes[node].edges[edge];
        let tail = label.split_off(at);
        let below = std::mem::replace(child, middle);
        self.nodes.push(Node { edges: vec![(tail, below)], positions: Vec::new() });
    }

    fn walk(&self, mut text: &[u8], found: &mut Vec<u32>) {
        let mut node = &self.nodes[0];
        loop {
            found.extend_from_slice(&node.positions);
            let Some(first) = text.first() else { return };
            let Some((label, child)) = node.edges.iter().find(|(label, _)| label[0] == *first)
            else {
                return;
            };
            let Some(rest) = text.strip_prefix(label.as_slice()) else { return };
            text = rest;
            node = &self.nodes[*child];
        }
    }
}

/// Literals under pieces of them.
#[derive(Debug, Default)]
struct Grams {
    /// One bit for each hash of a piece: most probes end here, in the first-level cache.
    bits: Vec<u64>,
    /// Piece → where it stands in which literals: (literal, offset of the piece in it).
    pieces: FxHashMap<u32, Vec<(u32, u32)>>,
    literals: Vec<(Vec<u8>, u32)>,
}

impl Grams {
    fn insert(&mut self, literal: &[u8], position: u32) {
        if self.bits.is_empty() {
            self.bits = vec![0; BITS / 64];
        }
        let number = self.literals.len() as u32;
        self.literals.push((literal.to_vec(), position));
        let width = literal.len().min(WINDOW);
        let width = if width < WINDOW { GRAM } else { width };
        let start = self.rarest(literal, width);
        for offset in start..=start + width - GRAM {
            let piece = piece(literal, offset);
            let bit = hash(piece);
            self.bits[bit / 64] |= 1 << (bit % 64);
            self.pieces.entry(piece).or_default().push((number, offset as u32));
        }
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
        if self.bits.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<GRAM>()) {
            let piece = u32::from_le_bytes(*chunk);
            let bit = hash(piece);
            if self.bits[bit / 64] >> (bit % 64) & 1 == 1 {
                self.hit(text, at, piece, found);
            }
            at += stride;
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

fn piece(literal: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([literal[at], literal[at + 1], literal[at + 2], literal[at + 3]])
}

fn hash(piece: u32) -> usize {
    (piece.wrapping_mul(0x9e37_79b1) >> 16) as usize
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
        index.visit(text, &mut found, |position| {
            all.push(position);
            false
        });
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
        let index = LiteralIndex::new(&needs);
        let (mut matched, mut tried) = (0, 0);
        for text in texts() {
            let candidates = visited(&index, text.as_bytes());
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
        let ended = index.visit(b"abcdef", &mut Vec::new(), |position| {
            seen.push(position);
            position == 2
        });
        assert_eq!((ended, seen), (true, vec![0, 1, 2]));
        assert_eq!(visited(&index, b""), [2]);
        assert_eq!(visited(&index, b"xb"), [2]);
    }
}
