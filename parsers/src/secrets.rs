//! Texts to hide, and where they stand in others, upper or lower case.

use crate::escapes::decoded;
use aho_corasick::Anchored;
use aho_corasick::automaton::Automaton as _;
use aho_corasick::nfa::noncontiguous::{Builder, NFA};
use std::ops::Range;

/// Of more than that no part is looked for: all texts are hidden.
const BYTES_MAX: usize = 256 << 10;
/// How many times a text in a text may be escaped before it is taken for a secret.
const ESCAPED_MAX: usize = 8;

/// Several texts and what takes the place of each.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    known: Vec<Secret>,
    /// Finds them all in one pass, however many there are; `None` if they are too many.
    finder: Option<NFA>,
}

#[derive(Debug)]
struct Secret {
    /// How long it is, in signs.
    signs: usize,
    hidden: String,
}

impl Secrets {
    /// Nothing is hidden where there is no text.
    pub(crate) fn new(texts: Vec<(Vec<u8>, String)>) -> Self {
        let bytes: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let mut all = Vec::new();
        for (text, hidden) in texts.into_iter().filter(|(text, _)| !text.is_empty()) {
            let (mut signs, mut pattern) = (0, Vec::with_capacity(text.len()));
            visit_signs(&text, |_, sign| {
                signs += 1;
                pattern.extend_from_slice(sign);
            });
            all.push((pattern, Secret { signs, hidden }));
            if bytes > BYTES_MAX {
                break;
            }
        }
        // Each once; else a place would find as many as there are.
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(again, _), (first, _)| again == first);
        let (patterns, known): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        // More tables than for the first signs take longer to make than they spare.
        let finder = (bytes <= BYTES_MAX && !known.is_empty())
            .then(|| Builder::new().dense_depth(2).prefilter(false).build(patterns).ok());
        Self { known, finder: finder.flatten() }
    }

    /// Whether a text is one of them.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        matches!(self.places(text)[..], [((0, end), _)] if end == text.len())
    }

    /// Where they stand in a text, and what hides them; what overlaps is one place.
    pub(crate) fn places(&self, text: &[u8]) -> Vec<((usize, usize), &str)> {
        let mut places = Vec::new();
        let Some(Secret { hidden, .. }) = self.known.first().filter(|_| !text.is_empty()) else {
            return places;
        };
        let begin = |finder: &NFA| finder.start_state(Anchored::No).ok();
        let Some((finder, mut state)) = self.finder.as_ref().and_then(|f| Some((f, begin(f)?)))
        else {
            return vec![((0, text.len()), hidden)];
        };
        let mut starts = Vec::with_capacity(text.len());
        visit_signs(text, |sign, folded| {
            starts.push(sign.start);
            for byte in folded {
                state = finder.next_state(Anchored::No, state, *byte);
                if finder.is_match(state) {
                    // The first is the longest that ends here.
                    let secret = &self.known[finder.match_pattern(state, 0).as_usize()];
                    let start = starts[starts.len().saturating_sub(secret.signs)];
                    join(&mut places, (start, sign.end), &secret.hidden);
                }
            }
        });
        places
    }

    /// A text without them; `None` if there is none in it. Behind escapes they have no place of their own.
    pub(crate) fn hidden_in(&self, text: &[u8]) -> Option<Vec<u8>> {
        let places = self.places(text);
        if self.are_escaped_in(text, &places) {
            return self.known.first().map(|secret| secret.hidden.clone().into_bytes());
        }
        let (mut new, mut from) = (Vec::new(), 0);
        for ((start, end), hidden) in &places {
            new.extend_from_slice(&text[from..*start]);
            new.extend_from_slice(hidden.as_bytes());
            from = *end;
        }
        new.extend_from_slice(&text[from..]);
        (!places.is_empty()).then_some(new)
    }

    /// Whether a text holds one of them.
    pub(crate) fn are_in(&self, text: &[u8]) -> bool {
        !self.places(text).is_empty()
    }

    /// Whether one of them may stand in a text behind escapes, beside the places where they are known to be.
    pub(crate) fn are_escaped_in(&self, text: &[u8], places: &[((usize, usize), &str)]) -> bool {
        if self.known.is_empty() || memchr::memchr3(b'\\', b'%', b'&', text).is_none() {
            return false;
        }
        let mut shown = text.to_vec();
        places.iter().for_each(|((start, end), _)| shown[*start..*end].fill(b'*'));
        let mut next = decoded(&shown);
        for _ in 0..ESCAPED_MAX {
            let Some(text) = next else { return false };
            if self.are_in(&text) {
                return true;
            }
            next = decoded(&text);
        }
        next.is_some()
    }
}

/// Takes in a place that ends behind all others. What it overlaps is one place with it, hidden by what
/// hides the text that begins first, and of those the longest.
fn join<'h>(
    places: &mut Vec<((usize, usize), &'h str)>,
    (mut start, end): (usize, usize),
    mut hidden: &'h str,
) {
    while let Some(((first, _), before)) = places.pop_if(|((_, last), _)| start < *last) {
        if first < start {
            (start, hidden) = (first, before);
        }
    }
    places.push(((start, end), hidden));
}

/// Calls `visit` with the place of each sign of a text, and that in its one case; a byte that is no UTF-8 is
/// one.
fn visit_signs(text: &[u8], mut visit: impl FnMut(Range<usize>, &[u8])) {
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        for sign in chunk.valid().chars() {
            let end = at + sign.len_utf8();
            visit(at..end, folded(sign).encode_utf8(&mut [0; 4]).as_bytes());
            at = end;
        }
        for byte in chunk.invalid() {
            visit(at..at + 1, &[*byte]);
            at += 1;
        }
    }
}

/// A sign in its one case.
fn folded(sign: char) -> char {
    if sign.is_ascii() {
        return sign.to_ascii_lowercase();
    }
    match single(sign.to_lowercase()) {
        // Two forms in lower case, which are one in upper case.
        Some('ς') => 'σ',
        Some('ı') => 'i',
        Some(lower) => lower,
        None => sign,
    }
}

/// The sign if it is one alone.
fn single(mut signs: impl Iterator<Item = char>) -> Option<char> {
    signs.next().filter(|_| signs.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_hidden_once_wherever_it_stands() {
        for (secrets, text, hidden) in [
            (&["a"][..], "a,b", Some("redacted,b")),
            // What hides one is not looked at for others.
            (&["a", "a,b"], "a,b red", Some("redacted red")),
            (&["e"], "red", Some("rredactedd")),
            (&["bob", "bob@x"], "Bob@X bob", Some("redacted redacted")),
            (&["bob@x", "x.example"], "<bob@x.example>", Some("<redacted>")),
            (&["aa"], "aaa", Some("redacted")),
            (&["alice", ""], "ALIC", None),
            (&["école"], "ÉCOLE d'Été", Some("redacted d'Été")),
            (&["Ünal Yıldız", "ю"], "ünal yildiz, Юля", Some("redacted, redactedля")),
            // Of other lengths in the other case.
            (&["ⱥb", "ΟΔΟΣ"], "ȺB οδος", Some("redacted redacted")),
            (&["straße"], "STRAßE strasse", Some("redacted strasse")),
            (&["é"], "e Ã\u{3}", None),
            // One that ends in another that begins before it.
            (&["b", "c", "abcd"], "xbc abcd", Some("xredactedredacted redacted")),
            (&[], "a", None),
        ] {
            let texts = secrets.iter().map(|secret| secret.as_bytes().to_vec());
            let all = Secrets::new(texts.map(|text| (text, "redacted".to_owned())).collect());
            let got = all.hidden_in(text.as_bytes());
            assert_eq!(got.as_deref(), hidden.map(str::as_bytes), "{secrets:?} in {text}");
        }
    }

    #[test]
    fn of_too_many_everything_is_hidden() {
        let long = "x".repeat(BYTES_MAX + 1);
        let all = Secrets::new(vec![(long.into_bytes(), "redacted".to_owned())]);
        assert_eq!(all.hidden_in(b"a b").as_deref(), Some(&b"redacted"[..]));
        assert!(all.has(b"1") && all.hidden_in(b"").is_none());
    }

    #[test]
    fn texts_are_found_behind_escapes() {
        let all = Secrets::new(vec![("élan/x".into(), String::new())]);
        for (text, found) in [
            (r"\u00c9lan\/x", true),
            (r"%C3%a9lan%2Fx", true),
            ("&#xe9;lan/x", true),
            (r"\\u00e9lan/x", true),
            ("%25C3%25A9lan/x", true),
            ("elan/x \\ % & é\\nlan/x", false),
            ("élan/x", false),
            ("%252525252525252525", true),
        ] {
            assert_eq!(all.are_escaped_in(text.as_bytes(), &[]), found, "{text}");
        }
    }

    /// Each a beginning of a text that is all of them: looked for one by one, they take a minute.
    #[test]
    fn a_long_text_of_many_is_looked_at_once() {
        let line = "a".repeat(64 << 10);
        let texts = (1..700).map(|len| (vec![b'a'; len], String::new())).collect();
        assert_eq!(Secrets::new(texts).places(line.as_bytes()), [((0, line.len()), "")]);
    }
}
