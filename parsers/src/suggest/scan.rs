//! A line as blanks, signs, words and values whose form says what they are.
//!
//! A value is told by its own form (an address, a time, a number) or by what stands before it
//! (`key=`, `for user`). Everything else is a word, and whether words vary is told by other lines.

use super::dates;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longer lines are looked at up to here only: what differs behind it is one value.
pub(super) const TOKENS_MAX: usize = 96;
/// Longer quoted texts are not taken for one value.
const QUOTED_BYTES_MAX: usize = 512;
/// Levels are looked for among the first words only; later they are prose.
const LEVEL_TOKENS_MAX: usize = 12;

/// What a value may be; a template collects those of its lines as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Integer,
    /// A whole number with a minus.
    Signed,
    Float,
    Hex,
    Uuid,
    Ipv4,
    Ipv6,
    Mac,
    Email,
    Url,
    Path,
    Quoted,
    Apostrophed,
    Level,
    Clock,
    Text,
    Iso,
    Clf,
    Rfc3164,
    Ctime,
    /// Dates with a time of day, by what of the date stands in front.
    YearFirst,
    MonthFirst,
    DayFirst,
    /// Day or month: both may be either.
    EitherFirst,
    /// A date alone.
    Date,
    Rest,
}

impl Kind {
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }

    /// A time of this form: the name of its fragment, the fragment, the format if it is always the same.
    pub(super) fn time(self) -> Option<(&'static str, &'static str, Option<&'static str>)> {
        match self {
            Self::Iso => Some((
                "ISO_TIME",
                r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?",
                Some("rfc3339"),
            )),
            Self::Clf => {
                Some(("CLF_TIME", r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", Some("clf")))
            }
            Self::Rfc3164 => Some(("BSD_TIME", r"\w{3} [ \d]\d \d\d:\d\d:\d\d", Some("rfc3164"))),
            Self::Ctime => Some((
                "C_TIME",
                r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
                Some("%a %b %e %H:%M:%S %Y"),
            )),
            Self::YearFirst | Self::MonthFirst | Self::DayFirst | Self::EitherFirst => {
                Some(("DATE_TIME", dates::DATE_TIME, None))
            }
            _ => None,
        }
    }
}

pub(super) const TIMES: [Kind; 8] = [
    Kind::Iso,
    Kind::Clf,
    Kind::Rfc3164,
    Kind::Ctime,
    Kind::YearFirst,
    Kind::MonthFirst,
    Kind::DayFirst,
    Kind::EitherFirst,
];

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'t> {
    Blank(&'t str),
    Sign(char),
    Word(&'t str),
    Value(Kind, &'t str),
}

/// Takes `text` apart. The texts of the tokens, one after the other, are the text again.
pub(super) fn scan(text: &str) -> Vec<Token<'_>> {
    let mut scanner = Scanner { text, at: 0, tokens: Vec::new() };
    while scanner.at < text.len() {
        if scanner.tokens.len() == TOKENS_MAX {
            scanner.tokens.push(Token::Value(Kind::Rest, &text[scanner.at..]));
            break;
        }
        scanner.step();
    }
    scanner.tokens
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token<'t>>,
}

impl<'t> Scanner<'t> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if blanks > 0 {
            return self.push(blanks, Token::Blank);
        }
        if self.at_boundary() && (self.long_form(rest) || self.quoted(rest)) {
            return;
        }
        let length = run(rest);
        if length == 0 {
            let sign = rest.chars().next().unwrap_or(' ');
            self.at += sign.len_utf8();
            return self.tokens.push(Token::Sign(sign));
        }
        self.word(&rest[..length]);
    }

    fn push(&mut self, length: usize, token: impl Fn(&'t str) -> Token<'t>) {
        let text = &self.text[self.at..self.at + length];
        self.at += length;
        self.tokens.push(token(text));
    }

    fn at_boundary(&self) -> bool {
        !matches!(self.tokens.last(), Some(Token::Word(_) | Token::Value(..)))
    }

    /// Values that hold signs or blanks.
    fn long_form(&mut self, rest: &str) -> bool {
        let found = TIMES
            .iter()
            .find_map(|kind| Some((*kind, time_length(*kind, rest)?)))
            .or_else(|| dates::date(rest))
            .or_else(|| url(rest).map(|length| (Kind::Url, length)))
            .or_else(|| colons(rest));
        let Some((kind, length)) = found else { return false };
        self.push(length, |text| Token::Value(kind, text));
        true
    }

    fn quoted(&mut self, rest: &str) -> bool {
        let (quote, kind) = match rest.as_bytes()[0] {
            b'"' => (b'"', Kind::Quoted),
            b'\'' => (b'\'', Kind::Apostrophed),
            _ => return false,
        };
        let bytes = rest.as_bytes();
        let mut at = 1;
        while at < bytes.len().min(QUOTED_BYTES_MAX) {
            match bytes[at] {
                b'\\' if quote == b'"' => at += 1,
                byte if byte == quote => {
                    let next = rest[at + 1..].chars().next();
                    if next.is_some_and(char::is_alphanumeric) {
                        return false;
                    }
                    let whole = &rest[1..at];
                    self.at += 1;
                    self.tokens.push(Token::Sign(quote as char));
                    if !whole.is_empty() {
                        let kind = classify(whole).filter(|_| !whole.contains(' ')).unwrap_or(kind);
                        self.push(whole.len(), |text| Token::Value(kind, text));
                    }
                    self.at += 1;
                    self.tokens.push(Token::Sign(quote as char));
                    return true;
                }
                _ => {}
            }
            at += 1;
        }
        false
    }

    fn word(&mut self, word: &'t str) {
        if self.follows_key() {
            // The run up to what usually ends a value.
            let rest = &self.text[self.at..];
            let end = rest.find([' ', '\t', ',', ';', ')', ']', '}', '"', '|', '&', '>']);
            let value = &rest[..end.unwrap_or(rest.len())];
            let value = value.trim_end_matches(['.', ':']);
            let value = if value.len() < word.len() { word } else { value };
            let kind = classify(value).unwrap_or(Kind::Text);
            return self.push(value.len(), |text| Token::Value(kind, text));
        }
        if let Some(digits) = with_unit(word) {
            let kind = if word[..digits].contains('.') { Kind::Float } else { Kind::Integer };
            self.push(digits, |text| Token::Value(kind, text));
            return self.push(word.len() - digits, Token::Word);
        }
        if let Some(kind) = classify(word) {
            return self.push(word.len(), |text| Token::Value(kind, text));
        }
        if self.tokens.len() < LEVEL_TOKENS_MAX && is_level(word) {
            return self.push(word.len(), |text| Token::Value(Kind::Level, text));
        }
        let named = self.follows_for_user() || self.is_thread(word);
        if named || word.contains('\u{fffd}') {
            return self.push(word.len(), |text| Token::Value(Kind::Text, text));
        }
        self.push(word.len(), Token::Word);
    }

    /// Whether `key=` stands right before.
    fn follows_key(&self) -> bool {
        matches!(self.tokens.as_slice(), [.., Token::Word(_), Token::Sign('=')])
    }

    /// `[exec-3]` near the beginning.
    fn is_thread(&self, word: &str) -> bool {
        self.tokens.len() < LEVEL_TOKENS_MAX
            && matches!(self.tokens.last(), Some(Token::Sign('[')))
            && word.contains(|c: char| c.is_ascii_digit())
    }

    fn follows_for_user(&self) -> bool {
        match self.tokens.as_slice() {
            [.., Token::Word(first), Token::Blank(_), Token::Word(word), Token::Blank(_)] => {
                first.eq_ignore_ascii_case("for") && word.eq_ignore_ascii_case("user")
            }
            _ => false,
        }
    }
}

/// The length of the word or plain value at the start of `rest`, without the full stop behind it.
fn run(rest: &str) -> usize {
    let inside = |c: char| c.is_alphanumeric() || "_.-@/$%+#~\\*\u{fffd}".contains(c);
    let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
    let run = &rest[..end];
    let trimmed = run.trim_end_matches('.');
    if trimmed.is_empty() { run.len().min(1) } else { trimmed.len() }
}

/// What a text without blanks is by its form; `None` if it may be any word.
pub(super) fn classify(text: &str) -> Option<Kind> {
    let bytes = text.as_bytes();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if digits(unsigned) && unsigned.len() <= 18 {
        return Some(if unsigned.len() == text.len() { Kind::Integer } else { Kind::Signed });
    }
    if let Some((whole, part)) = unsigned.split_once('.')
        && digits(whole)
        && digits(part)
    {
        return Some(Kind::Float);
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(Kind::Ipv4);
    }
    if text.contains(':') && text.parse::<Ipv6Addr>().is_ok() {
        return Some(Kind::Ipv6);
    }
    if is_uuid(bytes) {
        return Some(Kind::Uuid);
    }
    let hex = text.strip_prefix("0x").unwrap_or(text);
    let hexadecimal = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let mixed = hex.bytes().any(|b| b.is_ascii_digit())
        && hex.bytes().any(|b| b.is_ascii_alphabetic())
        && hex.len() >= 8;
    if hexadecimal && (mixed || hex.len() < text.len()) {
        return Some(Kind::Hex);
    }
    if let Some((user, host)) = text.split_once('@')
        && !user.is_empty()
        && host.contains('.')
    {
        return Some(Kind::Email);
    }
    let drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1..].starts_with(b":\\");
    if drive || text.len() > 1 && text.starts_with('/') && !text.starts_with("//") {
        return Some(Kind::Path);
    }
    url(text)
        .filter(|length| *length == text.len())
        .map(|_| Kind::Url)
        .or_else(|| TIMES.into_iter().find(|kind| time_length(*kind, text) == Some(text.len())))
        .or_else(|| dates::date(text).filter(|found| found.1 == text.len()).map(|found| found.0))
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `83ms`, `12.5s`, `80%`: how many bytes the number has.
fn with_unit(word: &str) -> Option<usize> {
    const UNITS: [&str; 17] = [
        "ns", "us", "µs", "ms", "s", "sec", "m", "min", "h", "B", "kB", "KB", "MB", "GB", "KiB",
        "MiB", "%",
    ];
    let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number = &word[..digits];
    (UNITS.contains(&&word[digits..]) && number.parse::<f64>().is_ok()).then_some(digits)
}

fn is_level(word: &str) -> bool {
    matches!(
        word,
        "TRACE"
            | "DEBUG"
            | "INFO"
            | "NOTICE"
            | "WARN"
            | "WARNING"
            | "ERROR"
            | "SEVERE"
            | "FATAL"
            | "CRITICAL"
            | "CRIT"
    )
}

fn url(text: &str) -> Option<usize> {
    let scheme = text.find("://").filter(|at| {
        *at > 0 && *at <= 12 && text[..*at].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+')
    })?;
    let ends = [' ', '\t', '"', '\'', '>', '<', ')', ']', '}', ','];
    let end = text.find(ends).unwrap_or(text.len());
    let trimmed = text[..end].trim_end_matches(['.', ';', ':']);
    (trimmed.len() > scheme + 3).then_some(trimmed.len())
}

/// Values made of hexadecimal digits and colons: IPv6 addresses, MACs, times of day.
fn colons(text: &str) -> Option<(Kind, usize)> {
    let inside = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let end = text.bytes().position(|b| !inside(b)).unwrap_or(text.len());
    let run = text[..end].trim_end_matches(['.', ':']);
    if text[run.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let parts: Vec<&str> = run.split(':').collect();
    let pairs = parts.iter().all(|part| part.len() == 2);
    if parts.len() == 6 && pairs {
        return Some((Kind::Mac, run.len()));
    }
    if parts.len() == 3 && clock_length(run.as_bytes()) == Some(run.len()) {
        return Some((Kind::Clock, run.len()));
    }
    let address = run.matches(':').count() >= 2 && run.parse::<Ipv6Addr>().is_ok();
    address.then_some((Kind::Ipv6, run.len()))
}

/// `10:15:02`, with a fraction or not.
fn clock_length(text: &[u8]) -> Option<usize> {
    if !shaped(text, b"dd:dd:dd") {
        return None;
    }
    match text.get(8) {
        Some(b'.' | b',') => {
            let digits = text[9..].iter().take_while(|b| b.is_ascii_digit()).count();
            Some(if digits > 0 { 9 + digits } else { 8 })
        }
        _ => Some(8),
    }
}

/// Whether `text` begins as `shape` says: `d` a digit, `a` a letter, `D` a digit or a blank.
fn shaped(text: &[u8], shape: &[u8]) -> bool {
    text.len() >= shape.len()
        && shape.iter().zip(text).all(|(shape, byte)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'D' => byte.is_ascii_digit() || *byte == b' ',
            b'a' => byte.is_ascii_alphabetic(),
            b'T' => matches!(byte, b'T' | b' '),
            b'S' => matches!(byte, b'+' | b'-'),
            sign => sign == byte,
        })
}

/// The length of the time of this form at the start of `text`.
fn time_length(kind: Kind, text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let fixed = |shape: &[u8]| shaped(bytes, shape).then_some(shape.len());
    match kind {
        Kind::Iso => {
            if !shaped(bytes, b"dddd-dd-ddTdd:dd:dd") {
                return None;
            }
            let end = 11 + clock_length(&bytes[11..])?;
            let blank = usize::from(bytes.get(end) == Some(&b' '));
            let zone = &bytes[end + blank..];
            let zones: [&[u8]; 2] = [b"Sdd:dd", b"Sdddd"];
            let length = zones.iter().find(|shape| shaped(zone, shape));
            Some(match length {
                Some(shape) => end + blank + shape.len(),
                None => end + usize::from(bytes.get(end) == Some(&b'Z')),
            })
        }
        Kind::Clf => fixed(b"dd/aaa/dddd:dd:dd:dd Sdddd"),
        Kind::Rfc3164 => fixed(b"aaa Dd dd:dd:dd").filter(|_| is_month(&bytes[..3])),
        Kind::Ctime => fixed(b"aaa aaa Dd dd:dd:dd dddd").filter(|_| is_month(&bytes[4..7])),
        _ => None,
    }
}

pub(super) fn is_month(name: &[u8]) -> bool {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    MONTHS.chunks(3).any(|month| month == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(Kind, &str)]) {
        let tokens = scan(text);
        let values: Vec<(Kind, &str)> = tokens
            .iter()
            .filter_map(|token| match token {
                Token::Value(kind, text) => Some((*kind, *text)),
                _ => None,
            })
            .collect();
        assert_eq!(values, expected, "{text}: {tokens:?}");
        let mut again = String::new();
        for token in tokens {
            match token {
                Token::Blank(text) | Token::Word(text) | Token::Value(_, text) => {
                    again.push_str(text);
                }
                Token::Sign(sign) => again.push(sign),
            }
        }
        assert_eq!(again, text);
    }

    #[test]
    fn values_are_told_by_their_form() {
        check(
            "user alice paid 1250 cents in 83ms",
            &[(Kind::Integer, "1250"), (Kind::Integer, "83")],
        );
        check(
            "2026-11-28 10:15:02,123 ERROR [main] x",
            &[(Kind::Iso, "2026-11-28 10:15:02,123"), (Kind::Level, "ERROR")],
        );
        check("28/Nov/2026:10:15:02 +0000", &[(Kind::Clf, "28/Nov/2026:10:15:02 +0000")]);
        check(
            "from 10.0.0.7:5123 to [fe80::1]:22",
            &[
                (Kind::Ipv4, "10.0.0.7"),
                (Kind::Integer, "5123"),
                (Kind::Ipv6, "fe80::1"),
                (Kind::Integer, "22"),
            ],
        );
        check(
            "at 10:15:02.5 mac 00:1a:2b:3c:4d:5e",
            &[(Kind::Clock, "10:15:02.5"), (Kind::Mac, "00:1a:2b:3c:4d:5e")],
        );
        check("open /etc/passwd: denied.", &[(Kind::Path, "/etc/passwd")]);
        check("see https://a.example/x?y=1, then", &[(Kind::Url, "https://a.example/x?y=1")]);
        check(
            "id 550e8400-e29b-41d4-a716-446655440000 3fa85f64",
            &[(Kind::Uuid, "550e8400-e29b-41d4-a716-446655440000"), (Kind::Hex, "3fa85f64")],
        );
        check(
            "k=v msg=\"a b\" u='x' e=",
            &[(Kind::Text, "v"), (Kind::Quoted, "a b"), (Kind::Apostrophed, "x")],
        );
        check("session for user bob isn't here", &[(Kind::Text, "bob")]);
        check("", &[]);
        check("…ü: ñ", &[]);
    }

    #[test]
    fn a_long_line_ends_in_one_value() {
        let text = "a ".repeat(TOKENS_MAX);
        let tokens = scan(&text);
        assert_eq!(tokens.len(), TOKENS_MAX + 1);
        assert!(matches!(tokens.last(), Some(Token::Value(Kind::Rest, _))));
    }
}
