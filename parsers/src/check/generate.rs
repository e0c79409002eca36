//! Texts made from a pattern: such as it matches, and such as cost it most.

use regex_syntax::hir::{Class, Hir, HirKind};

/// How often a repetition without an end is repeated in an ordinary text, at most.
const REPEAT_MAX: u32 = 3;
/// More nested repetitions than this are cut short.
const TEXT_BYTES_MAX: usize = 4096;
/// How many of a pattern's repetitions are pumped.
const PUMPED_MAX: usize = 32;

pub(super) fn parse(source: &str, unicode: bool) -> Option<Hir> {
    regex_syntax::ParserBuilder::new()
        .unicode(unicode)
        .utf8(false)
        .dot_matches_new_line(true)
        .build()
        .parse(source)
        .ok()
}

/// A text that the pattern is likely to match; each `variant` takes other branches and signs.
pub(super) fn example(hir: &Hir, variant: u32) -> Vec<u8> {
    let mut maker = Maker { out: Vec::new(), variant, pumped: None, pump_bytes: 0, seen: 0 };
    maker.make(hir);
    maker.out
}

/// Texts of about `bytes` bytes: each with one of the pattern's open repetitions pumped and an end
/// that does not fit, so that an engine that tries again has to try everywhere.
pub(super) fn adversarial(hir: &Hir, bytes: usize) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for pumped in 0..PUMPED_MAX {
        let mut maker =
            Maker { out: Vec::new(), variant: 0, pumped: Some(pumped), pump_bytes: bytes, seen: 0 };
        maker.make(hir);
        if maker.seen <= pumped {
            break;
        }
        maker.out.truncate(bytes);
        if let Some(last) = maker.out.last_mut() {
            *last = 0;
        }
        texts.push(maker.out);
    }
    // The beginning, over and over: what an unanchored pattern starts on everywhere.
    let once = example(hir, 0);
    let part = &once[..once.len().min(64)];
    if !part.is_empty() {
        texts.push(part.iter().copied().cycle().take(bytes).collect());
        let half = &part[..part.len().div_ceil(2)];
        texts.push(half.iter().copied().cycle().take(bytes).collect());
    }
    texts
}

struct Maker {
    out: Vec<u8>,
    variant: u32,
    /// Which open repetition is pumped, by its number.
    pumped: Option<usize>,
    pump_bytes: usize,
    seen: usize,
}

impl Maker {
    fn make(&mut self, hir: &Hir) {
        if self.out.len() > TEXT_BYTES_MAX.max(self.pump_bytes) {
            return;
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.out.extend_from_slice(&literal.0),
            HirKind::Class(class) => self.class(class),
            HirKind::Capture(capture) => self.make(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.make(part)),
            HirKind::Alternation(branches) => {
                let at = self.choose(branches.len());
                self.make(&branches[at]);
            }
            HirKind::Repetition(repetition) => {
                let mut times = match repetition.max {
                    Some(max) => repetition.min.max(max.min(self.variant % 2)),
                    None => repetition.min + self.variant % REPEAT_MAX,
                };
                if repetition.max.is_none() {
                    if self.pumped == Some(self.seen) {
                        times = u32::MAX;
                    }
                    self.seen += 1;
                }
                self.repeat(&repetition.sub, times);
            }
        }
    }

    fn repeat(&mut self, sub: &Hir, times: u32) {
        let limit = if times == u32::MAX { self.pump_bytes } else { TEXT_BYTES_MAX };
        for _ in 0..times {
            let before = self.out.len();
            self.make(sub);
            if self.out.len() >= limit || self.out.len() == before {
                break;
            }
        }
    }

    fn class(&mut self, class: &Class) {
        match class {
            Class::Bytes(class) => {
                let ranges = class.ranges();
                if ranges.is_empty() {
                    return;
                }
                // Signs of text come first.
                let fits = |wanted: u8| {
                    ranges.iter().any(|range| (range.start()..=range.end()).contains(&wanted))
                };
                let usual: Vec<u8> =
                    b"a5x-Z_.:/ \"[".iter().copied().filter(|byte| fits(*byte)).collect();
                let byte = match self.choose(usual.len()) {
                    _ if usual.is_empty() => ranges[self.choose(ranges.len())].start(),
                    at => usual[at],
                };
                self.out.push(byte);
            }
            Class::Unicode(class) => {
                let ranges = class.ranges();
                if ranges.is_empty() {
                    return;
                }
                let fits = |wanted: char| {
                    ranges.iter().any(|range| (range.start()..=range.end()).contains(&wanted))
                };
                let usual: Vec<char> = "a5x-Zé. ".chars().filter(|c| fits(*c)).collect();
                let c = match self.choose(usual.len()) {
                    _ if usual.is_empty() => ranges[0].start(),
                    at => usual[at],
                };
                self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    /// Another choice at each place and for each variant; the first for variant 0.
    fn choose(&mut self, among: usize) -> usize {
        if self.variant == 0 || among == 0 {
            return 0;
        }
        let mixed =
            u64::from(self.variant).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.out.len() as u64;
        (mixed.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 33) as usize % among
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_match_their_pattern_and_differ() {
        for source in [r"^a (?:b|c)+ \d{2,3} [^x]+$", r"(?P<g0>\S+)@(?P<g1>\w+)", "^$"] {
            let hir = parse(source, false).unwrap();
            let regex = regex::bytes::RegexBuilder::new(source).unicode(false).build().unwrap();
            let texts: Vec<Vec<u8>> = (0..6).map(|variant| example(&hir, variant)).collect();
            let matching = texts.iter().filter(|text| regex.is_match(text)).count();
            assert!(matching >= 5, "{source}: {texts:?}");
        }
        let hir = parse(r"^(?P<g0>\S+) (?P<g1>\S+)$", false).unwrap();
        let texts = adversarial(&hir, 1000);
        assert_eq!(texts.len(), 4);
        assert!(texts.iter().all(|text| text.len() >= 900), "{texts:?}");
    }
}
