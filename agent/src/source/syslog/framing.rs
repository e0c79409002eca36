//! Messages out of a TCP stream: RFC 6587's two framings, decided anew for each message.
//!
//! Digits, a space and `<` begin a counted message; everything else goes up to a line end. Memory
//! follows what was received, never what was claimed: of a message longer than the limit the
//! beginning is kept, the rest is counted and thrown away as it comes.

use crate::source::file::cut;
use memchr::memchr2;

/// More digits than this are no length of a message.
const COUNT_DIGITS_MAX: usize = 7;
/// More digits than this are no count at all, but a line.
const DIGITS_MAX: usize = 20;

/// A message out of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framed<'m> {
    pub(crate) bytes: &'m [u8],
    /// The full length, if the message was cut or its end never came.
    pub(crate) original_bytes: Option<u32>,
    /// The stream ended within it.
    pub(crate) unterminated: bool,
}

impl<'m> Framed<'m> {
    pub(super) fn whole(bytes: &'m [u8], original_bytes: Option<u32>) -> Self {
        Self { bytes, original_bytes, unterminated: false }
    }

    fn unterminated(bytes: &'m [u8], original_bytes: Option<u32>) -> Self {
        Self { bytes, original_bytes, unterminated: true }
    }
}

/// The stream cannot be followed any further; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    #[error("a count of more than {COUNT_DIGITS_MAX} digits")]
    CountTooLong,
    #[error("a count that begins with 0")]
    LeadingZero,
}

/// Cuts one stream into messages.
#[derive(Debug)]
pub(crate) struct Framer {
    bytes_max: usize,
    counted: bool,
    /// What has come and is not used up; it begins at a message's beginning, unless `long` is set.
    buffer: Vec<u8>,
    /// How much of the buffer has been searched for a line end.
    searched: usize,
    long: Option<Long>,
}

/// A message over the limit whose end has not come yet.
#[derive(Debug)]
struct Long {
    kept: Vec<u8>,
    length: usize,
    /// What is still to come of a counted message; `None` in a line.
    left: Option<usize>,
}

/// How a message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// Not known before more has come.
    Unknown,
    Line,
    Counted {
        header: usize,
        length: usize,
    },
}

impl Framer {
    /// `bytes_max` is how much of a message is kept; `counted` allows counted messages.
    pub(crate) fn new(bytes_max: usize, counted: bool) -> Self {
        Self { bytes_max, counted, buffer: Vec::new(), searched: 0, long: None }
    }

    /// Takes what was received and hands out the messages that are whole.
    ///
    /// # Errors
    /// The stream cannot be followed; messages before the error have been handed out.
    pub(crate) fn push(
        &mut self,
        received: &[u8],
        out: &mut dyn FnMut(Framed<'_>),
    ) -> Result<(), FramingError> {
        if self.buffer.is_empty() {
            let (used, outcome) = self.walk(received, out);
            // Grown to what it must hold: an idle connection holds no more than it was sent.
            self.buffer = received[used..].to_vec();
            return outcome;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(received);
        let (used, outcome) = self.walk(&buffer, out);
        buffer.drain(..used);
        if buffer.is_empty() {
            buffer = Vec::new();
        }
        self.buffer = buffer;
        outcome
    }

    /// Hands out the whole messages at the beginning of `buffer`; returns how much they are.
    fn walk(
        &mut self,
        buffer: &[u8],
        out: &mut dyn FnMut(Framed<'_>),
    ) -> (usize, Result<(), FramingError>) {
        let mut at = 0;
        loop {
            match self.step(&buffer[at..], out) {
                Ok(0) => return (at, Ok(())),
                Ok(used) => {
                    at += used;
                    self.searched = 0;
                }
                Err(error) => return (at, Err(error)),
            }
        }
    }

    /// The stream has ended: hands out what is left.
    pub(crate) fn finish(&mut self, out: &mut dyn FnMut(Framed<'_>)) {
        let rest = std::mem::take(&mut self.buffer);
        self.searched = 0;
        if let Some(long) = self.long.take() {
            return out(Framed::unterminated(&long.kept, Some(length_of(&long))));
        }
        match self.beginning(&rest) {
            Ok(Beginning::Counted { header, length }) if rest.len() > header => {
                let bytes = cut(&rest[header..], self.bytes_max);
                out(Framed::unterminated(bytes, Some(length as u32)));
            }
            Ok(Beginning::Line | Beginning::Unknown) if !trimmed(&rest).is_empty() => {
                let (kept, original_bytes) = self.kept_of(trimmed(&rest));
                out(Framed::unterminated(kept, original_bytes));
            }
            _ => {}
        }
    }

    /// Uses up the beginning of `rest`; returns how much, 0 when more has to come first.
    fn step(
        &mut self,
        rest: &[u8],
        out: &mut dyn FnMut(Framed<'_>),
    ) -> Result<usize, FramingError> {
        if rest.is_empty() {
            return Ok(0);
        }
        if let Some(long) = self.long.take() {
            return Ok(self.step_long(long, rest, out));
        }
        // Line ends between messages: some senders end counted messages with one, too.
        if is_end(rest[0]) || rest[0] == b'\r' {
            return Ok(1);
        }
        match self.beginning(rest)? {
            Beginning::Unknown => Ok(0),
            Beginning::Line => Ok(self.step_line(rest, out)),
            Beginning::Counted { header, length } => {
                Ok(self.step_counted(rest, header, length, out))
            }
        }
    }

    fn beginning(&self, rest: &[u8]) -> Result<Beginning, FramingError> {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !self.counted || digits == 0 || digits > DIGITS_MAX {
            return Ok(Beginning::Line);
        }
        match &rest[digits..] {
            [] | [b' '] => Ok(Beginning::Unknown),
            [b' ', b'<', ..] if rest[0] == b'0' => Err(FramingError::LeadingZero),
            [b' ', b'<', ..] if digits > COUNT_DIGITS_MAX => Err(FramingError::CountTooLong),
            [b' ', b'<', ..] => {
                let length = rest[..digits]
                    .iter()
                    .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
                Ok(Beginning::Counted { header: digits + 1, length })
            }
            _ => Ok(Beginning::Line),
        }
    }

    fn step_counted(
        &mut self,
        rest: &[u8],
        header: usize,
        length: usize,
        out: &mut dyn FnMut(Framed<'_>),
    ) -> usize {
        let kept = length.min(self.bytes_max);
        let Some(bytes) = rest.get(header..header + kept) else { return 0 };
        if kept < length {
            let kept = cut(&rest[header..], self.bytes_max).to_vec();
            self.long = Some(Long { kept, length, left: Some(length - self.bytes_max) });
        } else if !trimmed(bytes).is_empty() {
            out(Framed::whole(trimmed(bytes), None));
        }
        header + kept
    }

    fn step_line(&mut self, rest: &[u8], out: &mut dyn FnMut(Framed<'_>)) -> usize {
        let end = memchr2(b'\n', 0, &rest[self.searched..]);
        if let Some(end) = end {
            let end = self.searched + end;
            let (kept, original_bytes) = self.kept_of(trimmed(&rest[..end]));
            out(Framed::whole(kept, original_bytes));
            return end + 1;
        }
        self.searched = rest.len();
        // One byte more, because it may be the carriage return of the line end.
        if rest.len() <= self.bytes_max + 1 {
            return 0;
        }
        let kept = cut(rest, self.bytes_max).to_vec();
        self.long = Some(Long { kept, length: rest.len(), left: None });
        rest.len()
    }

    /// What is kept of a line, and its length if that is not all.
    fn kept_of<'l>(&self, line: &'l [u8]) -> (&'l [u8], Option<u32>) {
        let kept = cut(line, self.bytes_max);
        (kept, (kept.len() < line.len()).then_some(line.len() as u32))
    }

    fn step_long(&mut self, mut long: Long, rest: &[u8], out: &mut dyn FnMut(Framed<'_>)) -> usize {
        let (used, ended) = match long.left {
            Some(left) => {
                let used = left.min(rest.len());
                long.left = Some(left - used);
                (used, left == used)
            }
            None => match memchr2(b'\n', 0, rest) {
                Some(end) => {
                    long.length = long.length.saturating_add(end);
                    (end + 1, true)
                }
                None => {
                    long.length = long.length.saturating_add(rest.len());
                    (rest.len(), false)
                }
            },
        };
        if ended {
            out(Framed::whole(&long.kept, Some(length_of(&long))));
        } else {
            self.long = Some(long);
        }
        used
    }
}

fn length_of(long: &Long) -> u32 {
    u32::try_from(long.length).unwrap_or(u32::MAX)
}

/// A line feed, or the zero byte that some senders use instead.
fn is_end(byte: u8) -> bool {
    byte == b'\n' || byte == 0
}

/// Without line ends behind.
pub(crate) fn trimmed(bytes: &[u8]) -> &[u8] {
    let last = bytes.iter().rposition(|byte| !is_end(*byte) && *byte != b'\r');
    &bytes[..last.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_tests::{Random, runs};

    const MAX: usize = 16;

    /// The messages of a stream, `~` and the length behind those that were cut, `$` behind one that the
    /// stream ended within.
    fn frame(stream: &[u8], step: usize) -> (Vec<String>, Option<FramingError>) {
        frame_pieces(stream.chunks(step))
    }

    fn frame_pieces<'s>(
        pieces: impl Iterator<Item = &'s [u8]>,
    ) -> (Vec<String>, Option<FramingError>) {
        let mut framer = Framer::new(MAX, true);
        let mut messages = Vec::new();
        let mut take = |framed: Framed| {
            let mut text = String::from_utf8_lossy(framed.bytes).into_owned();
            if let Some(length) = framed.original_bytes {
                text.push_str(&format!("~{length}"));
            }
            if framed.unterminated {
                text.push('$');
            }
            messages.push(text);
        };
        let (mut error, mut longest) = (None, 0);
        for piece in pieces {
            longest = longest.max(piece.len());
            if let Err(found) = framer.push(piece, &mut take) {
                error = Some(found);
                break;
            }
            assert!(framer.buffer.len() <= MAX + DIGITS_MAX + longest, "{}", framer.buffer.len());
        }
        if error.is_none() {
            framer.finish(&mut take);
        }
        (messages, error)
    }

    #[test]
    fn each_message_is_framed_as_it_begins_however_the_stream_is_cut() {
        let rows: &[(&str, &[&str], Option<FramingError>)] = &[
            ("", &[], None),
            ("<1>a\n<2>b\n", &["<1>a", "<2>b"], None),
            ("<1>a\r\n\r\n\n<2>b", &["<1>a", "<2>b$"], None),
            ("<1>a\0<2>b\0", &["<1>a", "<2>b"], None),
            ("4 <1>a4 <2>b", &["<1>a", "<2>b"], None),
            ("4 <1>a\n5 <2>b\n", &["<1>a", "<2>b"], None),
            ("5 <1>\na4 <2>b", &["<1>\na", "<2>b"], None),
            ("4 <1>a<2>b\n4 <3>c<4>d\n", &["<1>a", "<2>b", "<3>c", "<4>d"], None),
            // Over the limit of 16 bytes: cut, and the next one is whole.
            ("<1>0123456789abcdef\n<2>b\n", &["<1>0123456789abc~19", "<2>b"], None),
            ("20 <1>0123456789abcdefg4 <2>b", &["<1>0123456789abc~20", "<2>b"], None),
            ("<1>0123456789abc\r\n<2>b\n", &["<1>0123456789abc", "<2>b"], None),
            // The end never came.
            ("9 <1>a", &["<1>a~9$"], None),
            ("99 <1>0123456789abcdefg", &["<1>0123456789abc~99$"], None),
            ("<1>0123456789abcdefg", &["<1>0123456789abc~20$"], None),
            ("<1>0123456789abcd", &["<1>0123456789abc~17$"], None),
            ("9 ", &["9 $"], None),
            ("9", &["9$"], None),
            // No counts, but lines.
            ("2026-11-28 x\n", &["2026-11-28 x"], None),
            ("42 apples\n4 <1>a", &["42 apples", "<1>a"], None),
            ("12<34>x\n", &["12<34>x"], None),
            ("-1 <1>a\n", &["-1 <1>a"], None),
            ("123456789012345678901 <\n", &["1234567890123456~23"], None),
            // Counts that cannot be meant.
            ("4 <1>a0 <2>b", &["<1>a"], Some(FramingError::LeadingZero)),
            ("007 <1>abcd", &[], Some(FramingError::LeadingZero)),
            ("12345678 <1>a", &[], Some(FramingError::CountTooLong)),
            ("99999999999 <1>a", &[], Some(FramingError::CountTooLong)),
        ];
        for (stream, messages, error) in rows {
            for step in [1, 2, 3, 7, 1000] {
                let expected: Vec<String> = messages.iter().map(|m| (*m).to_owned()).collect();
                assert_eq!(frame(stream.as_bytes(), step), (expected, *error), "{stream:?} {step}");
            }
        }
    }

    /// A message as a sender frames it, and what it says.
    struct Sent {
        frame: Vec<u8>,
        /// Where the content begins in the frame of a counted one.
        counted: Option<usize>,
        content: Vec<u8>,
    }

    impl Sent {
        fn random(random: &mut Random) -> Self {
            let counted = random.below(2) == 0;
            // Within a counted one, line ends and what looks like another frame are text.
            let letters: &[u8] = if counted { b"<1> 23\n\0ab" } else { b"<1> 23ab" };
            let beginnings: &[&[u8]] =
                if counted { &[b"<1>"] } else { &[b"<1>", b"a", b"7 b", b"12<"] };
            let mut content = beginnings[random.below(beginnings.len())].to_vec();
            content
                .extend((0..random.below(2 * MAX)).map(|_| letters[random.below(letters.len())]));
            // So that what is trimmed at the end is a line end and nothing of the text.
            content.push(b'x');
            if counted {
                let header = format!("{} ", content.len());
                let frame = [header.as_bytes(), &content].concat();
                return Self { frame, counted: Some(header.len()), content };
            }
            let ends: &[&[u8]] = &[b"\n", b"\0", b"\r\n"];
            // Of a line that is too long the carriage return counts.
            let end = ends[random.below(if content.len() > MAX { 2 } else { ends.len() })];
            Self { frame: [&content, end].concat(), counted: None, content }
        }

        /// What has to come of it where its stream ends behind so many bytes of its frame.
        fn expected(&self, bytes: usize) -> Option<String> {
            let text =
                |bytes: &[u8]| String::from_utf8(bytes[..bytes.len().min(MAX)].to_vec()).unwrap();
            let length = |bytes: &[u8], length: usize| match bytes.len() {
                kept if kept.min(MAX) < length => format!("~{length}"),
                _ => String::new(),
            };
            if bytes == self.frame.len() {
                return Some(text(&self.content) + &length(&self.content, self.content.len()));
            }
            let come = &self.frame[..bytes];
            let rest = match self.counted {
                Some(header) if bytes > header => {
                    let come = &come[header..];
                    text(come) + &length(come, self.content.len())
                }
                _ => {
                    let line = come.strip_suffix(b"\r").unwrap_or(come);
                    text(line) + &length(line, line.len())
                }
            };
            (bytes > 0).then(|| rest + "$")
        }
    }

    #[test]
    fn no_message_is_merged_or_lost_however_framings_mix_and_streams_are_cut() {
        let mut random = Random::seeded();
        for round in 0..runs(20) * 500 {
            let messages: Vec<Sent> =
                (0..1 + random.below(8)).map(|_| Sent::random(&mut random)).collect();
            let whole: usize = messages.iter().map(|sent| sent.frame.len()).sum();
            let end = if random.below(2) == 0 { whole } else { random.below(whole + 1) };
            let stream = messages.iter().flat_map(|sent| &sent.frame).copied();
            let stream: Vec<u8> = stream.take(end).collect();
            let mut left = end;
            let expected: Vec<String> = messages
                .iter()
                .filter_map(|sent| {
                    let bytes = left.min(sent.frame.len());
                    left -= bytes;
                    sent.expected(bytes)
                })
                .collect();
            let mut cuts: Vec<usize> =
                (0..random.below(12)).map(|_| random.below(end + 1)).chain([0, end]).collect();
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
            let found = frame_pieces(pieces.filter(|piece| !piece.is_empty()));
            let shown = stream.escape_ascii();
            assert_eq!(found, (expected, None), "round {round}, cut at {cuts:?}: {shown}");
        }
    }

    #[test]
    fn memory_follows_what_came_not_what_was_claimed() {
        let mut framer = Framer::new(MAX, true);
        let mut count = 0;
        framer.push(b"9999999 <1>", &mut |_| count += 1).unwrap();
        assert!(framer.buffer.capacity() < 1000);
        for _ in 0..9_999 {
            framer.push(&[b'x'; 1000], &mut |_| count += 1).unwrap();
            assert!(framer.buffer.capacity() < 10_000, "{}", framer.buffer.capacity());
        }
        assert_eq!(count, 0);
        framer.push(&[b'x'; 1000], &mut |_| count += 1).unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn without_counts_a_count_is_text() {
        let mut framer = Framer::new(MAX, false);
        let mut messages = Vec::new();
        framer.push(b"4 <1>a\nb\n", &mut |framed| messages.push(framed.bytes.to_vec())).unwrap();
        assert_eq!(messages, [b"4 <1>a".to_vec(), b"b".to_vec()]);
    }
}
