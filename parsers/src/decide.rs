//! Which of many patterns a text's first bytes allow, found by looking at a few of them.
//!
//! A tree of decisions over [`Head`]s: each node asks for the byte at the place that tells the
//! patterns which are left apart best, each leaf lists those that are still possible, in their order.
//! Nothing is looked at that tells nothing apart: what a candidate is, its own program finds out. Two to
//! six look-ups lead through hundreds of patterns.
//!
//! Owns one promise: what matches is among the candidates, and they are in ascending order.

use crate::heads::{Head, PLACES};
use crate::span::ByteSet;
use crate::swar;
use rustc_hash::FxHashMap;

/// Nodes for each head at most, so that heads of wide classes do not multiply.
const NODES_PER_HEAD: usize = 4;
/// Sets of more bytes than this are taken for any byte where places are compared.
const WIDE: u32 = 64;
/// Numbers in the leaves for each head at most.
const NUMBERS_PER_HEAD: usize = 64;
/// A look-up has to rule out so many candidates on the average, in hundredths.
const GAIN_MIN: usize = 30;

/// The heads of many patterns as decisions.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// The root is the first; none: there are no patterns.
    nodes: Vec<Node>,
    /// The lists of all leaves, each once, one behind the other.
    numbers: Vec<u32>,
}

#[derive(Debug)]
enum Node {
    /// These of the numbers.
    Leaf { start: u32, end: u32 },
    /// By one of up to eight bytes.
    Few {
        place: u8,
        /// In one block; the last one again where there are fewer.
        keys: u64,
        /// For each key, then for any other byte, then for a text that ends before the place.
        children: [u32; KEYS + 2],
    },
    /// By any byte.
    Table { place: u8, table: Box<[u8; 256]>, children: Box<[u32]>, short: u32 },
}

const KEYS: usize = swar::BYTES;

impl Decisions {
    /// Of patterns with their numbers; several heads are alternatives of one pattern. `settle` may
    /// change the numbers of each leaf.
    pub(crate) fn new(heads: &[(Head, u32)], settle: impl Fn(&mut [u32])) -> Self {
        let (made, leaves) = (Self::default(), FxHashMap::default());
        let mut builder = Builder { heads, settle, made, leaves, listed: 0 };
        if !heads.is_empty() {
            builder.node((0..heads.len()).collect(), 0, NODES_PER_HEAD * heads.len());
        }
        let mut made = builder.made;
        made.nodes.shrink_to_fit();
        made.numbers.shrink_to_fit();
        made
    }

    /// The numbers of the patterns that `text` may match, ascending.
    #[inline]
    pub(crate) fn candidates(&self, text: &[u8]) -> &[u32] {
        let Some(mut node) = self.nodes.first() else { return &[] };
        loop {
            let child = match node {
                Node::Leaf { start, end } => {
                    return &self.numbers[*start as usize..*end as usize];
                }
                Node::Few { place, keys, children } => match text.get(usize::from(*place)) {
                    Some(byte) => children[swar::place(swar::equal(*keys, *byte))],
                    None => children[KEYS + 1],
                },
                Node::Table { place, table, children, short } => {
                    match text.get(usize::from(*place)) {
                        Some(byte) => children[usize::from(table[usize::from(*byte)])],
                        None => *short,
                    }
                }
            };
            node = &self.nodes[child as usize];
        }
    }

    /// The size in memory.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let table = |node: &Node| match node {
            Node::Table { children, .. } => 256 + 4 * children.len(),
            Node::Leaf { .. } | Node::Few { .. } => 0,
        };
        size_of_val(&*self.nodes)
            + size_of_val(&*self.numbers)
            + self.nodes.iter().map(table).sum::<usize>()
    }
}

/// The class of each byte, and for each class one of its bytes and how many it has.
type Classes = ([u8; 256], Vec<(u8, usize)>);

struct Builder<'h, S> {
    heads: &'h [(Head, u32)],
    settle: S,
    made: Decisions,
    /// The leaves by their lists: many are the same one.
    leaves: FxHashMap<Box<[u32]>, u32>,
    /// How many numbers were listed, each as often as it was.
    listed: usize,
}

impl<S: Fn(&mut [u32])> Builder<'_, S> {
    /// The node for texts that only the heads `left` allow, after the places `tested` (by bit). It and
    /// those below it are at most some twice `room`, of which each has a share by how many heads it
    /// has left: heads that multiply take no room from others.
    fn node(&mut self, left: Vec<usize>, tested: u32, room: usize) -> u32 {
        let mut numbers: Vec<u32> = left.iter().map(|at| self.heads[*at].1).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let full = self.listed > NUMBERS_PER_HEAD * self.heads.len();
        let place = if full || numbers.len() < 2 { None } else { self.place(&left, tested) };
        let classes = place.map(|place| (place, self.classes(&left, place)));
        let Some((place, classes)) = classes.filter(|(_, (_, members))| members.len() < room)
        else {
            (self.settle)(&mut numbers);
            return self.leaf(numbers);
        };
        // The root is the first: its place is taken before those below it are made.
        let number = self.made.nodes.len();
        self.made.nodes.push(Node::Leaf { start: 0, end: 0 });
        let node = self.decision(&left, tested | 1 << place, place, classes, room - 1);
        self.made.nodes[number] = node;
        number as u32
    }

    /// The leaf with this list.
    fn leaf(&mut self, list: Vec<u32>) -> u32 {
        self.listed += list.len();
        if let Some(known) = self.leaves.get(&*list) {
            return *known;
        }
        let (number, start) = (self.made.nodes.len() as u32, self.made.numbers.len() as u32);
        self.made.nodes.push(Node::Leaf { start, end: start + list.len() as u32 });
        self.made.numbers.extend_from_slice(&list);
        self.leaves.insert(list.into(), number);
        number
    }

    fn set(&self, head: usize, place: usize) -> Option<&ByteSet> {
        self.heads[head].0.at(place)
    }

    /// The place whose byte leaves fewest of the heads `left`, on the average of texts that begin
    /// with one of them.
    fn place(&self, left: &[usize], tested: u32) -> Option<usize> {
        let mut best = None;
        for place in (0..PLACES).filter(|place| tested >> place & 1 == 0) {
            let mut counts = [0_usize; 256];
            let mut any = 0;
            let narrow = |head: &usize| self.set(*head, place).filter(|set| set.len() <= WIDE);
            for head in left {
                match narrow(head) {
                    Some(set) => set.bytes().for_each(|byte| counts[usize::from(byte)] += 1),
                    None => any += 1,
                }
            }
            let narrow = left.iter().filter_map(narrow).map(|set| {
                let sum: usize = set.bytes().map(|byte| counts[usize::from(byte)]).sum();
                any * 100 + sum * 100 / set.len().max(1) as usize
            });
            // And one text that begins with none of them.
            let cost = narrow.sum::<usize>() + any * left.len() * 100 + any * 100;
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, place));
            }
        }
        let worth = |cost: usize| cost / (left.len() + 1) + GAIN_MIN <= left.len() * 100;
        best.filter(|(cost, _)| worth(*cost)).map(|(_, place)| place)
    }

    fn decision(
        &mut self,
        left: &[usize],
        tested: u32,
        place: usize,
        (classes, members): Classes,
        room: usize,
    ) -> Node {
        let allowing = |byte: Option<u8>| -> Vec<usize> {
            let allows = |head: &usize| {
                self.set(*head, place).is_none_or(|set| byte.is_some_and(|byte| set.contains(byte)))
            };
            left.iter().copied().filter(allows).collect()
        };
        // A text that ends before the place, then each class.
        let bytes = std::iter::once(None).chain(members.iter().map(|(byte, _)| Some(*byte)));
        let below: Vec<Vec<usize>> = bytes.map(allowing).collect();
        let all: usize = below.iter().map(Vec::len).sum();
        let mut below = below.into_iter().map(|heads| {
            let share = room * heads.len() / all.max(1);
            self.node(heads, tested, share)
        });
        let short = below.next().expect("there is one for texts that end");
        let children: Vec<u32> = below.collect();
        let most = (0..members.len()).max_by_key(|class| members[*class].1).unwrap_or_default();
        let keys: Vec<u8> =
            (0..=u8::MAX).filter(|byte| usize::from(classes[usize::from(*byte)]) != most).collect();
        if keys.len() > KEYS {
            let (table, children) = (Box::new(classes), children.into());
            return Node::Table { place: place as u8, table, children, short };
        }
        let mut block = [keys.last().copied().unwrap_or_default(); KEYS];
        block[..keys.len()].copy_from_slice(&keys);
        let mut few = [children[most]; KEYS + 2];
        for (child, key) in few.iter_mut().zip(block) {
            *child = children[usize::from(classes[usize::from(key)])];
        }
        few[KEYS + 1] = short;
        Node::Few { place: place as u8, keys: u64::from_le_bytes(block), children: few }
    }

    /// Bytes that are alike in all heads at a place.
    fn classes(&self, left: &[usize], place: usize) -> Classes {
        let mut classes = [0_u8; 256];
        let mut count = 1_usize;
        let mut seen: Vec<&ByteSet> = Vec::new();
        for set in left.iter().filter_map(|head| self.set(*head, place)) {
            if seen.contains(&set) {
                continue;
            }
            seen.push(set);
            let mut inside = [0_usize; 256];
            let mut sizes = [0_usize; 256];
            for byte in 0..=u8::MAX {
                let class = usize::from(classes[usize::from(byte)]);
                sizes[class] += 1;
                inside[class] += usize::from(set.contains(byte));
            }
            let mut renamed = [None; 256];
            for byte in set.bytes() {
                let class = &mut classes[usize::from(byte)];
                let old = usize::from(*class);
                if inside[old] < sizes[old] {
                    *class = *renamed[old].get_or_insert_with(|| {
                        count += 1;
                        (count - 1) as u8
                    });
                }
            }
        }
        let mut members = vec![(0, 0); count];
        for byte in 0..=u8::MAX {
            let member = &mut members[usize::from(classes[usize::from(byte)])];
            *member = (byte, member.1 + 1);
        }
        (classes, members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::RegexBuilder;

    fn heads(pattern: &str) -> Vec<Head> {
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
        Head::all_of(&parser.parse(pattern).unwrap()).unwrap_or_else(|| vec![Head::default()])
    }

    fn decisions(patterns: &[String]) -> Decisions {
        let numbered = patterns.iter().zip(0..).flat_map(|(pattern, number)| {
            heads(pattern).into_iter().map(move |head| (head, number))
        });
        Decisions::new(&numbered.collect::<Vec<_>>(), |_| {})
    }

    #[test]
    fn of_many_patterns_those_are_found_whose_heads_fit() {
        let mut patterns: Vec<String> = (0..200).map(|n| format!(r"^\d{{{}}}-", n % 40)).collect();
        patterns.push("x".to_owned());
        let decisions = decisions(&patterns);
        assert_eq!(decisions.candidates(b"123-"), [3, 43, 83, 123, 163, 200]);
        assert_eq!(decisions.candidates(b""), [200]);
        let far: Vec<u32> = (0..200).filter(|n| n % 40 >= 32).chain([200]).collect();
        assert_eq!(decisions.candidates(&[b'1'; 40]), far);
        assert!(Decisions::default().candidates(b"x").is_empty());
    }

    #[test]
    fn what_matches_is_a_candidate_and_few_others_are() {
        let words = ["Accepted", "Failed", "Connection", "Invalid", "%ASA-4", "session", "x"];
        let mut patterns = Vec::new();
        for (n, a) in words.iter().enumerate() {
            for b in words {
                patterns.push(format!("^{a} {b}"));
                patterns.push(format!("^(?:{a}|{b}): [a-z]+"));
                patterns.push(format!(r"^(?:{a} )?(?i:{b}) \d{{{n}}}"));
                patterns.push(format!(r"^\d\d/[A-Z]{{{}}} {b}", n + 1));
            }
        }
        patterns.push(String::from("^.{3}[0-9]"));
        let decisions = decisions(&patterns);
        let regexes: Vec<_> = patterns
            .iter()
            .map(|pattern| RegexBuilder::new(pattern).unicode(false).build().unwrap())
            .collect();
        let mut state = 1_u32;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize % below
        };
        let parts = [
            "Accepted",
            "failed",
            "Connection",
            "%ASA-4",
            "session",
            "x",
            " ",
            " ",
            ": ",
            "12/ABC",
            "7",
        ];
        let (mut matched, mut candidates) = (0, 0);
        for _ in 0..20_000 {
            let text: Vec<&str> = (0..draw(6)).map(|_| parts[draw(parts.len())]).collect();
            let text = text.concat();
            let found = decisions.candidates(text.as_bytes());
            assert!(found.is_sorted_by(|a, b| a < b), "{text}: {found:?}");
            candidates += found.len();
            for (number, regex) in regexes.iter().enumerate() {
                if regex.is_match(text.as_bytes()) {
                    matched += 1;
                    assert!(found.contains(&(number as u32)), "{} on {text}", patterns[number]);
                }
            }
        }
        assert!(matched > 2_000, "{matched}");
        assert!(candidates < 20_000 * patterns.len() / 8, "{candidates}");
    }

    #[test]
    fn heads_that_multiply_take_no_room_from_others() {
        let words = ["session", "channel", "key", "user", "daemon", "request", "Failed", "port"];
        let verbs = ["opened", "refused", "expired", "started", "timed out", "rejected", "lost"];
        let mut patterns = vec!["^Failed password for ".to_owned(), "^error: maximum ".to_owned()];
        for n in 0..1_000 {
            let (word, verb) = (words[n % words.len()], verbs[n / 7 % verbs.len()]);
            patterns.push(match n % 3 {
                0 => format!(r"^{word} {verb}{n} by \S+ from \S+$"),
                1 => format!(r"^\d+ {word} {verb} #{n}: .*$"),
                _ => format!(r"^{word} number {n} {verb}: .*$"),
            });
        }
        let decisions = decisions(&patterns);
        let found = |text: &str| decisions.candidates(text.as_bytes()).len();
        let texts = ["Failed password for root", "error: maximum of user", "port of daemon key"];
        assert!(texts.iter().all(|text| found(text) < 4), "{:?}", texts.map(found));
        let lists = decisions.nodes.iter().filter_map(|node| match node {
            Node::Leaf { start, end } => Some(&decisions.numbers[*start as usize..*end as usize]),
            Node::Few { .. } | Node::Table { .. } => None,
        });
        let lists: Vec<_> = lists.collect();
        let different = std::collections::HashSet::<&[u32]>::from_iter(lists.iter().copied());
        assert_eq!(different.len(), lists.len(), "a list stands in one leaf");
    }

    #[test]
    fn heads_of_wide_classes_do_not_multiply() {
        let wide =
            |n: usize| format!("^[{}-z]{{{}}}.*[0-9]", (b'a' + n as u8 % 25) as char, n % 31 + 1);
        let patterns: Vec<String> = (0..500).map(wide).collect();
        let bytes = decisions(&patterns).bytes();
        assert!(bytes < 1 << 20, "{bytes}");
    }
}
