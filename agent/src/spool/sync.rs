//! Syncing: what makes messages safe from a power cut, and what happens when the disk refuses.
//!
//! The kernel tells once of what it could not write and takes it for written from then on, so syncing
//! the same file again would prove nothing. What could not be synced is therefore written anew into
//! another segment; if that fails too, the spool takes nothing until it succeeds.

use super::segment::{Header, Segment};
use super::{Mark, Spool, State};
use crate::sync::lock;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Spool {
    /// Syncs if it is due. What cannot be synced is rewritten into another segment; if that fails as
    /// well, the spool takes nothing until it succeeds.
    pub(crate) fn sync(&self, now: bool) {
        let (last, from, end) = {
            let mut state = lock(&self.state);
            let number = self.next_number.load(Ordering::Acquire);
            let end = Mark { offset: self.end(), number };
            let unsynced = end.offset.saturating_sub(state.synced.offset);
            let due = now
                || unsynced >= self.settings.sync_bytes
                || state.synced_at.elapsed() >= self.settings.sync_interval;
            let Some(last) = state.segments.back().cloned().filter(|_| due && unsynced > 0) else {
                return;
            };
            state.synced_at = Instant::now();
            if state.failed {
                let from = state.synced;
                let error = io::Error::other("an earlier attempt failed");
                if self.rescue(&mut state, &last, from, &error).is_ok() {
                    state.synced = end;
                }
                return;
            }
            (last, state.synced, end)
        };
        let outcome = last.file.sync_data();
        let mut state = lock(&self.state);
        match outcome {
            Ok(()) if state.synced.offset < end.offset => state.synced = end,
            Ok(()) => {}
            Err(error) => {
                let end =
                    Mark { offset: self.end(), number: self.next_number.load(Ordering::Acquire) };
                let known = |segment: &&Segment| Arc::ptr_eq(&segment.file, &last.file);
                let Some(last) = state.segments.iter().find(known).cloned() else { return };
                if self.rescue(&mut state, &last, from, &error).is_ok() {
                    state.synced = end;
                }
            }
        }
    }

    /// Rewrites what stands in `segment` behind `from` into a segment of its own and syncs that one.
    /// The kernel tells once of what it could not write and takes it for written from then on, so
    /// syncing the same file again would prove nothing.
    pub(super) fn rescue(
        &self,
        state: &mut State,
        segment: &Segment,
        from: Mark,
        error: &io::Error,
    ) -> io::Result<()> {
        let before = segment.header;
        let header = if from.offset > before.base {
            Header { base: from.offset, after: from.offset, first: from.number }
        } else {
            before
        };
        let rescued = match self.write_segment(header, Some(segment)) {
            Ok(rescued) => rescued,
            Err(again) => {
                if !std::mem::replace(&mut state.failed, true) {
                    tracing::error!(
                        spool = self.name, %error, %again,
                        "the spool cannot be synced, and cannot be written anew; it takes no more \
                         messages until it can"
                    );
                }
                return Err(again);
            }
        };
        if std::mem::take(&mut state.failed) {
            tracing::info!(
                spool = self.name,
                "the spool could be written anew; it takes messages again"
            );
        } else {
            tracing::error!(
                spool = self.name, %error,
                "the spool could not be synced; what was not on disk was written anew"
            );
        }
        let known = |known: &Segment| Arc::ptr_eq(&known.file, &segment.file);
        let Some(index) = state.segments.iter().position(known) else { return Ok(()) };
        if header.base == before.base {
            state.segments[index] = rescued;
        } else {
            state.segments[index].length = header.base - before.base;
            state.segments.insert(index + 1, rescued);
        }
        Ok(())
    }
}
