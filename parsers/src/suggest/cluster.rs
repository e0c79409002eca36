//! Lines of one statement become one template, in the manner of Drain (He et al., "Drain: An Online
//! Log Parsing Approach with Fixed Depth Tree", ICWS 2017): lines with the same signs at the same
//! places and the same first word stand together, and join the template that they share most of
//! their words with.
//!
//! Bounded: at most [`CLUSTERS_MAX`] templates; when they are full, the rarer half goes, and its lines
//! are counted as scattered. Deterministic: nothing depends on the order of a hash table.

use super::scan::{Kind, Token};
use std::collections::BTreeMap;

pub(super) const CLUSTERS_MAX: usize = 4096;
/// So many templates that differ in one word only are one whose word varies.
const SIBLINGS_MIN: usize = 4;

/// A place in a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// Blanks; `None` if they vary.
    Blank(Option<String>),
    Sign(char),
    Word(String),
    /// Values of these kinds, by their bits.
    Value(u32),
}

/// A template, how many lines have it, and two of them.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) program: Option<String>,
    pub(super) slots: Vec<Slot>,
    pub(super) lines: u64,
    /// The number of its first line among all lines.
    pub(super) first: u64,
    pub(super) examples: Vec<String>,
}

/// What lines must share to be compared at all: program, signs and the first word.
type Group = (Option<String>, String);

#[derive(Debug, Default)]
pub(super) struct Clusters {
    groups: BTreeMap<Group, Vec<Cluster>>,
    count: usize,
    /// Lines of templates that had to make room.
    pub(super) scattered: u64,
}

impl Clusters {
    pub(super) fn add(
        &mut self,
        program: Option<&str>,
        line: &str,
        number: u64,
        tokens: &[Token<'_>],
    ) {
        if self.count >= CLUSTERS_MAX {
            self.make_room();
        }
        let group = (program.map(str::to_owned), shape(tokens));
        let list = self.groups.entry(group).or_default();
        let best = list
            .iter_mut()
            .filter_map(|cluster| Some((likeness(&cluster.slots, tokens)?, cluster)))
            .reduce(|best, other| if other.0 > best.0 { other } else { best });
        match best {
            Some((_, cluster)) => cluster.take(line, tokens),
            None => {
                list.push(Cluster {
                    program: program.map(str::to_owned),
                    slots: tokens.iter().map(Slot::of).collect(),
                    lines: 1,
                    first: number,
                    examples: vec![line.to_owned()],
                });
                self.count += 1;
            }
        }
    }

    fn make_room(&mut self) {
        let mut counts: Vec<(u64, u64)> =
            self.groups.values().flatten().map(|cluster| (cluster.lines, cluster.first)).collect();
        counts.sort_unstable();
        let (lines, first) = counts[counts.len() / 2];
        let scattered = &mut self.scattered;
        for list in self.groups.values_mut() {
            list.retain(|cluster| {
                let stays = (cluster.lines, cluster.first) >= (lines, first);
                *scattered += if stays { 0 } else { cluster.lines };
                stays
            });
        }
        self.groups.retain(|_, list| !list.is_empty());
        self.count = self.groups.values().map(Vec::len).sum();
    }

    /// The templates, the most frequent first.
    pub(super) fn finish(self) -> Vec<Cluster> {
        let mut all: Vec<Cluster> = self.groups.into_values().flat_map(join_siblings).collect();
        all.sort_by_key(|cluster| (std::cmp::Reverse(cluster.lines), cluster.first));
        all
    }
}

impl Slot {
    fn of(token: &Token<'_>) -> Self {
        match token {
            Token::Blank(text) => Self::Blank(Some((*text).to_owned())),
            Token::Sign(sign) => Self::Sign(*sign),
            Token::Word(text) => Self::Word((*text).to_owned()),
            Token::Value(kind, _) => Self::Value(kind.bit()),
        }
    }

    fn join(&mut self, other: &Self) {
        let joined = match (&*self, other) {
            (same, other) if same == other => return,
            (Self::Blank(_), Self::Blank(_)) => Self::Blank(None),
            (one, other) => Self::Value(one.bits() | other.bits()),
        };
        *self = joined;
    }

    fn bits(&self) -> u32 {
        match self {
            Self::Value(bits) => *bits,
            _ => Kind::Text.bit(),
        }
    }
}

impl Cluster {
    fn take(&mut self, line: &str, tokens: &[Token<'_>]) {
        for (slot, token) in self.slots.iter_mut().zip(tokens) {
            slot.join(&Slot::of(token));
        }
        self.lines += 1;
        if self.examples.len() == 1 && self.examples[0] != line {
            self.examples.push(line.to_owned());
        }
    }

    fn merge(&mut self, other: Self) {
        for (slot, with) in self.slots.iter_mut().zip(&other.slots) {
            slot.join(with);
        }
        self.lines += other.lines;
        if other.first < self.first {
            self.first = other.first;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(2);
    }
}

/// The signs as they stand, a letter for everything else, and the first word if it has no digit.
fn shape(tokens: &[Token<'_>]) -> String {
    let mut shape = String::with_capacity(tokens.len() + 16);
    for token in tokens {
        match token {
            Token::Blank(_) => shape.push(' '),
            Token::Sign(sign) => shape.push(*sign),
            Token::Word(_) | Token::Value(..) => shape.push('w'),
        }
    }
    let first = tokens.iter().find_map(|token| match token {
        Token::Word(text) => Some(*text),
        _ => None,
    });
    if let Some(first) = first.filter(|text| !text.contains(|c: char| c.is_ascii_digit())) {
        shape.push('\n');
        shape.push_str(first);
    }
    shape
}

/// The share of the words that template and line have in common, in 1/1000; `None` if it is half or
/// less. Values of the template say nothing.
fn likeness(slots: &[Slot], tokens: &[Token<'_>]) -> Option<u32> {
    let (mut same, mut compared) = (0_u32, 0_u32);
    for (slot, token) in slots.iter().zip(tokens) {
        match (slot, token) {
            (Slot::Word(word), Token::Word(text)) => {
                compared += 1;
                same += u32::from(word == text);
            }
            (Slot::Word(_), Token::Value(..)) => compared += 1,
            (Slot::Value(bits), Token::Word(_)) if bits & Kind::Text.bit() == 0 => compared += 1,
            _ => {}
        }
    }
    (compared == 0 || 2 * same > compared).then(|| 1000 * same / compared.max(1))
}

/// Joins the templates of one group that differ in the same one word.
fn join_siblings(mut list: Vec<Cluster>) -> Vec<Cluster> {
    let longest = list.first().map_or(0, |cluster| cluster.slots.len());
    for at in 0..longest {
        if list.len() < SIBLINGS_MIN {
            break;
        }
        let mut families: BTreeMap<Vec<Slot>, Vec<Cluster>> = BTreeMap::new();
        for cluster in list.drain(..) {
            let mut others = cluster.slots.clone();
            if matches!(others[at], Slot::Word(_)) {
                others[at] = Slot::Value(0);
            }
            families.entry(others).or_default().push(cluster);
        }
        for family in families.into_values() {
            if family.len() < SIBLINGS_MIN {
                list.extend(family);
            } else {
                let joined = family.into_iter().reduce(|mut all, other| {
                    all.merge(other);
                    all
                });
                list.extend(joined);
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    fn cluster(lines: &[&str]) -> Vec<(u64, Vec<Slot>)> {
        let mut clusters = Clusters::default();
        for (number, line) in lines.iter().enumerate() {
            clusters.add(None, line, number as u64, &scan(line));
        }
        clusters.finish().into_iter().map(|cluster| (cluster.lines, cluster.slots)).collect()
    }

    #[test]
    fn words_that_vary_become_values() {
        let found = cluster(&["user alice paid 5 cents", "user bob paid 7 cents"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1[2], Slot::Value(Kind::Text.bit()));
        assert_eq!(found[0].1[6], Slot::Value(Kind::Integer.bit()));
        assert_eq!(found[0].1[4], Slot::Word("paid".into()));
    }

    #[test]
    fn different_statements_stay_apart() {
        assert_eq!(cluster(&["cache cleared", "session opened", "cache  cleared"]).len(), 2);
        assert_eq!(cluster(&["session 5 opened", "session 6 closed"]).len(), 2);
        assert_eq!(cluster(&["a: b", "a= b"]).len(), 2);
    }

    #[test]
    fn many_templates_that_differ_in_one_word_are_one() {
        let found = cluster(&["hello alice", "hello bob", "hello carol", "hello dave"]);
        assert_eq!(
            found,
            [(
                4,
                vec![
                    Slot::Word("hello".into()),
                    Slot::Blank(Some(" ".into())),
                    Slot::Value(Kind::Text.bit()),
                ]
            )]
        );
    }

    #[test]
    fn the_number_of_templates_is_bounded_and_what_goes_is_counted() {
        let mut clusters = Clusters::default();
        let name = |mut n: usize| {
            let mut text = String::new();
            for _ in 0..4 {
                text.push((b'a' + (n % 26) as u8) as char);
                n /= 26;
            }
            text
        };
        for number in 0..3 * CLUSTERS_MAX {
            let line = name(number);
            clusters.add(None, &line, number as u64, &scan(&line));
            assert!(clusters.count <= CLUSTERS_MAX);
        }
        let scattered = clusters.scattered;
        let kept: u64 = clusters.finish().iter().map(|cluster| cluster.lines).sum();
        assert!(scattered > 0);
        assert_eq!(kept + scattered, 3 * CLUSTERS_MAX as u64);
    }
}
