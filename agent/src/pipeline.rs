//! From lines to a batch of encoded events: envelope, parsed members, position and chain.
//!
//! A batch is one worker's reused buffer; nothing is allocated per line. What Kafka would not take
//! becomes a dead letter here, before anything is sent, so that the chain of `logweir.prev` goes
//! over the events that are sent and over no others.

use crate::accounting::{DropReason, Tally};
use crate::delivery::Lane;
use crate::parsing::{Engine, Line, Outcome, Selection};
use logweir_record::{
    Envelope, FIELD_OFFSET, FIELD_SOURCE, has_member, leave_out, line_of, write_member, write_u64,
};
use std::sync::Arc;

/// A batch is full at this many bytes of encoded events: large enough for librdkafka's batches to
/// fill, small against the memory that a worker may use.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How much of a line a dead letter quotes at most.
const DEAD_LETTER_ORIGINAL_BYTES_MAX: usize = 64 << 10;

/// What all events of a source have in common.
#[derive(Debug)]
pub(crate) struct Route {
    pub lane: Arc<Lane>,
    /// Where outcomes for the lane are addressed to.
    pub slot: u32,
    /// The configured source that it belongs to, by its place.
    pub configured: Arc<str>,
    pub envelope: Envelope,
    pub selection: Selection,
}

/// Encoded events of one source, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each event stands in `bytes`.
    spans: Vec<(usize, usize)>,
    dead_letters: Vec<Vec<u8>>,
    tally: Tally,
    prev: Option<u64>,
    event_bytes_max: usize,
    ask_refusals: bool,
    /// Full at so many bytes.
    bytes_max: usize,
}

impl Batch {
    /// Empties the batch for the next chunk of a source whose last event sent began at `prev`; with
    /// `one` it is full with one event.
    pub(crate) fn begin(
        &mut self,
        route: &Route,
        prev: Option<u64>,
        event_bytes_max: usize,
        one: bool,
    ) {
        self.bytes_max = if one { 1 } else { BATCH_BYTES_MAX };
        self.bytes.clear();
        self.spans.clear();
        self.dead_letters.clear();
        self.tally = Tally::default();
        self.prev = prev;
        self.event_bytes_max = event_bytes_max;
        self.ask_refusals = route.lane.has_refusals();
    }

    /// Encodes one line. `members` are fields that are known besides, by name and as `"name":value`;
    /// what the rules have found out goes before them.
    pub(crate) fn push(
        &mut self,
        engine: &mut Engine,
        route: &Route,
        line: &Line<'_>,
        members: &[(String, Vec<u8>)],
    ) {
        self.tally.read += 1;
        let start = self.bytes.len();
        route.envelope.open_event(&mut self.bytes);
        if let Some(sender) = line.sender {
            write_sender(&mut self.bytes, sender);
        }
        let parsed_from = self.bytes.len();
        let outcome = engine.members(&route.selection, line, &mut self.bytes);
        if let Outcome::Dropped(reason) = outcome {
            self.bytes.truncate(start);
            return self.tally.dropped.add(reason, 1);
        }
        let parsed_to = self.bytes.len();
        for (name, member) in members {
            if !has_member(&self.bytes[start..parsed_to], name) {
                self.bytes.push(b',');
                self.bytes.extend_from_slice(member);
            }
        }
        if !self.close(route, start, parsed_from, line.offset) {
            let detail = "larger than `message.max.bytes`";
            return self.bury(route, start, line.offset, DropReason::TooLarge, detail);
        }
        if self.ask_refusals
            && let Some(refusal) = route.lane.refusal(line.offset)
        {
            if refusal.dead_letter_refused {
                self.bytes.truncate(start);
                return self.tally.dropped.add(DropReason::DeadLetterRefused, 1);
            }
            return self.bury(route, start, line.offset, DropReason::Refused, &refusal.reason);
        }
        self.spans.push((start, self.bytes.len()));
        self.prev = Some(line.offset);
        self.tally.sent += 1;
        self.tally.parsed += u64::from(outcome == Outcome::Parsed);
    }

    /// Counts a line that has nothing to say.
    pub(crate) fn skip(&mut self, reason: DropReason) {
        self.lose(reason, 1);
    }

    /// Counts `count` lines that cannot be sent.
    pub(crate) fn lose(&mut self, reason: DropReason, count: u64) {
        self.tally.read += count;
        self.tally.dropped.add(reason, count);
    }

    /// Counts bytes of the source that the chunk covers.
    pub(crate) fn cover(&mut self, bytes: u64, nul_bytes: u64) {
        self.tally.bytes += bytes;
        self.tally.nul_bytes += nul_bytes;
    }

    /// Ends the event that begins at `start`. One that is too large for Kafka goes without its largest
    /// values, which stand in its line as well; returns whether it fits.
    fn close(&mut self, route: &Route, start: usize, parsed_from: usize, offset: u64) -> bool {
        let parsed_to = self.bytes.len();
        route.envelope.close_event(&mut self.bytes, start, offset, self.prev);
        let over = (self.bytes.len() - start).saturating_sub(self.event_bytes_max);
        if over == 0 {
            return true;
        }
        self.bytes.truncate(parsed_to);
        if !leave_out(&mut self.bytes, parsed_from, over) {
            return false;
        }
        route.envelope.close_event(&mut self.bytes, start, offset, self.prev);
        self.bytes.len() - start <= self.event_bytes_max
    }

    /// Makes a dead letter of the event that begins at `start`: of its line as the event has it, in which
    /// what rules mask is masked.
    fn bury(&mut self, route: &Route, start: usize, offset: u64, reason: DropReason, detail: &str) {
        self.tally.dropped.add(reason, 1);
        let quoted = DEAD_LETTER_ORIGINAL_BYTES_MAX.min(self.event_bytes_max / 8);
        let mut letter = vec![b'{'];
        let mut member = |key: &str, value: &[u8]| {
            write_member(&mut letter, key, value);
            letter.push(b',');
        };
        member("logweir.reason", format!("{}: {detail}", reason.word()).as_bytes());
        member(FIELD_SOURCE, route.lane.id().to_string().as_bytes());
        let (original, _) = line_of(&self.bytes[start..]);
        member("event.original", &original.as_bytes()[..original.floor_char_boundary(quoted)]);
        letter.extend_from_slice(format!("\"{FIELD_OFFSET}\":").as_bytes());
        write_u64(&mut letter, offset);
        letter.push(b'}');
        self.dead_letters.push(letter);
        self.bytes.truncate(start);
    }

    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.bytes_max || self.dead_letters.len() >= 64
    }

    /// The offset of the last event in it, or of the one before the batch.
    #[must_use]
    pub(crate) fn prev(&self) -> Option<u64> {
        self.prev
    }

    #[must_use]
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn events(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans.iter().map(|(start, end)| &self.bytes[*start..*end])
    }

    #[must_use]
    pub(crate) fn dead_letters(&self) -> &[Vec<u8>] {
        &self.dead_letters
    }
}

/// The field of a last line that never got its line end, or a message that its stream ended within.
pub(crate) fn unterminated() -> (String, Vec<u8>) {
    let name = "logweir.unterminated";
    (name.to_owned(), format!("\"{name}\":true").into_bytes())
}

/// The address that a message came from, and behind a tab the subject of its sender's certificate.
fn write_sender(out: &mut Vec<u8>, sender: &[u8]) {
    let tab = sender.iter().position(|byte| *byte == b'\t');
    let (address, subject) = sender.split_at(tab.unwrap_or(sender.len()));
    write_member(out, "log.source.address", address);
    out.push(b',');
    if let Some(subject) = subject.get(1..) {
        write_member(out, "tls.client.subject", subject);
        out.push(b',');
    }
}
