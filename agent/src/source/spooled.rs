//! A spool being read: messages flow from it as lines do from a file.

use crate::accounting::{DropReason, SourceSnapshot};
use crate::checkpoint::{Content, Entry, Tracked};
use crate::config::Common;
use crate::delivery::{Guard, Lane, Position};
use crate::dormant::Among;
use crate::parsing::Line;
use crate::pipeline::{Route, unterminated};
use crate::source::Context;
use crate::spool::{Found, Piece, Settings, Spool, decode};
use crate::sync::{lock, read, write};
use crate::workers::{Readiness, Rewind, Turn, Work, Worker};
use logweir_record::SourceId;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

/// How much is read at once; a record that is larger is read with a larger buffer.
const CHUNK_BYTES: usize = 128 << 10;
/// How long a spool rests after it could not be read.
const REST_AFTER_ERROR: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct SpoolTail {
    kind: &'static str,
    spool: Arc<Spool>,
    lane: Arc<Lane>,
    /// Held only for a moment: a reload may put another in its place.
    route: RwLock<Arc<Route>>,
    position: Mutex<Position>,
    readiness: Readiness,
}

impl SpoolTail {
    /// Opens the spool `name` under `parent` and goes on where the checkpoint says.
    ///
    /// # Errors
    /// The spool cannot be opened.
    pub(crate) fn open(
        context: &Context,
        parent: &Path,
        (kind, name): (&'static str, &str),
        common: &Common,
        settings: Settings,
    ) -> io::Result<Arc<Self>> {
        let entry = context.checkpoint.claim(Among::All, |entry| {
            matches!(&entry.content, Content::Spool { name: known } if known == name)
                .then_some(entry.offset)
        });
        let id = entry.as_ref().and_then(Entry::source_id).unwrap_or_else(|| {
            let (agent, salt) = (context.agent.id.as_bytes(), context.salt.as_bytes());
            SourceId::derive(&[b"spool", agent, salt, name.as_bytes()])
        });
        let mut position = entry.as_ref().map_or_else(Position::default, |entry| entry.position());
        let directory = parent.join(name);
        let spool = Arc::new(Spool::open(&directory, name, position.offset, settings)?);
        position.offset = spool.first_from(position.offset);
        let partition = entry.and_then(|entry| entry.partition);
        let lane = Arc::new(context.lane(id, position, partition));
        let route = context.route(lane.clone(), kind, &[], common);
        let tail = Arc::new(Self {
            kind,
            spool,
            lane,
            route: RwLock::new(Arc::new(route)),
            position: Mutex::new(position),
            readiness: Readiness::default(),
        });
        if !context.checkpoint.track(id, tail.clone()) {
            return Err(io::Error::other(format!("the spool `{name}` is of another source, too")));
        }
        Ok(tail)
    }

    /// From the next chunk on, the source is what `common` says.
    pub(crate) fn set_common(&self, context: &Context, common: &Common) {
        let route = &mut *write(&self.route);
        *route = Arc::new(context.reroute(route, self.kind, common));
    }

    fn route(&self) -> Arc<Route> {
        read(&self.route).clone()
    }

    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Up to where Kafka has acknowledged.
    pub(crate) fn acked_offset(&self) -> u64 {
        self.lane.acked().offset
    }

    /// Whether everything in the spool is acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.acked_offset() >= self.spool.end()
    }

    /// The spool's books with those of its lane: a message counts as read when it was accepted.
    pub(crate) fn snapshot(&self) -> SourceSnapshot {
        let drops = self.spool.drops();
        let name = self.spool.name().to_owned();
        let end = Some(self.spool.end());
        let (kind, route) = (self.kind, self.route());
        let mut snapshot = super::lane_snapshot(&self.lane, &route.configured, (kind, name), end);
        // Asked after the lane, so that it is never behind what the lane has read.
        let waiting = self.spool.appended().saturating_sub(snapshot.counts.read);
        snapshot.counts.read += waiting + drops.total();
        snapshot.counts.held += waiting;
        for (word, count) in drops.by_word() {
            *snapshot.counts.dropped.entry(word).or_default() += count;
        }
        snapshot.spool = Some(self.spool.snapshot(snapshot.acked_offset));
        snapshot
    }
}

impl Tracked for SpoolTail {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn entry(&self) -> Entry {
        let content = Content::Spool { name: self.spool.name().to_owned() };
        Entry::new(self.lane.id(), self.lane.progress(), content)
    }
}

impl Work for SpoolTail {
    fn turn(&self, worker: &mut Worker<'_>) -> Turn {
        let position = &mut *lock(&self.position);
        match worker.rewind(&self.lane) {
            Rewind::Onward => {}
            Rewind::To(acked) => *position = acked,
            Rewind::NotYet(pause) => return Turn::Later(pause),
        }
        self.chunk(position, worker).unwrap_or_else(|error| {
            tracing::warn!(spool = self.spool.name(), %error, "the spool cannot be read; it is tried again");
            Turn::Later(REST_AFTER_ERROR)
        })
    }

    fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl SpoolTail {
    fn chunk(&self, position: &mut Position, worker: &mut Worker<'_>) -> io::Result<Turn> {
        let mut buffer = std::mem::take(worker.buffer);
        buffer.resize(CHUNK_BYTES.max(buffer.len()), 0);
        let route = &*self.route();
        let turn = loop {
            match self.spool.read(position.offset, &mut buffer) {
                Ok(None) => break Ok(Turn::Idle),
                Err(error) => break Err(error),
                Ok(Some(piece)) => {
                    let taken = match self.encode(route, position, worker, &buffer, &piece) {
                        Ok(taken) => taken,
                        Err(error) => break Err(error),
                    };
                    if taken > 0 {
                        let offset = piece.offset + taken as u64;
                        break Ok(self.ship(route, position, worker, offset));
                    }
                    if piece.length < buffer.len() {
                        // Cannot be: records are appended whole. Rest, rather than spin.
                        break Ok(Turn::Later(REST_AFTER_ERROR));
                    }
                    // A record that is larger than the buffer.
                    buffer.resize(buffer.len() * 2, 0);
                }
            }
        };
        *worker.buffer = buffer;
        turn
    }

    /// Encodes the messages of `piece`, which is in `buffer`; returns how much of it was taken.
    fn encode(
        &self,
        route: &Route,
        position: &Position,
        worker: &mut Worker<'_>,
        buffer: &[u8],
        piece: &Piece,
    ) -> io::Result<usize> {
        let data = &buffer[..piece.length];
        worker.begin(route, position.prev);
        if piece.lost > 0 {
            tracing::error!(
                spool = self.spool.name(),
                from = position.offset,
                to = piece.offset,
                messages = piece.lost,
                "a segment of the spool is missing; what was in it is lost"
            );
            worker.batch.lose(DropReason::SpoolDamaged, piece.lost);
        }
        let unterminated = [unterminated()];
        let mut at = 0;
        while at < data.len() && !worker.batch.is_full() {
            let offset = piece.offset + at as u64;
            match decode(data, at, piece.last) {
                Found::Incomplete => break,
                Found::Damaged { end } => {
                    let lost = self.spool.lost_at(offset)?;
                    tracing::error!(
                        spool = self.spool.name(),
                        offset,
                        bytes = end - at,
                        messages = lost,
                        "the spool is damaged here; what cannot be read is skipped"
                    );
                    worker.batch.lose(DropReason::SpoolDamaged, lost);
                    at = end;
                }
                Found::Message { message, end } => {
                    let line = Line {
                        offset,
                        bytes: message.bytes,
                        original_bytes: message.original_bytes.map(u64::from),
                        sender: Some(message.sender).filter(|sender| !sender.is_empty()),
                        received_at: message.received_at,
                    };
                    let marks: &[_] = if message.unterminated { &unterminated } else { &[] };
                    worker.push_with(route, &line, marks);
                    at = end;
                }
            }
        }
        worker.batch.cover(at as u64, 0);
        Ok(at)
    }

    fn ship(
        &self,
        route: &Route,
        position: &mut Position,
        worker: &mut Worker<'_>,
        offset: u64,
    ) -> Turn {
        let end = Position { offset, prev: worker.batch.prev(), guard: Guard::default() };
        if worker.ship(route, end).is_err() {
            return Turn::Later(Duration::from_millis(50));
        }
        *position = end;
        if offset < self.spool.end() { Turn::More } else { Turn::Idle }
    }
}
