//! What a damaged spool has lost, in messages: the numbers in the headers of its segments tell.

use super::Spool;
use super::segment::Segment;
use crate::accounting::DropReason;
use crate::sync::lock;
use std::io;
use std::sync::atomic::Ordering;

impl Spool {
    /// How many records are lost in the damaged stretch at `offset`. All that a segment has lost is
    /// counted at its first stretch: how it divides cannot be known.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn lost_at(&self, offset: u64) -> io::Result<u64> {
        let Some((segment, next)) = self.segment_at(offset) else { return Ok(0) };
        let (first, lost) = lost_in(&segment, next)?;
        Ok(if first == Some(offset) { lost } else { 0 })
    }

    /// The number of the record at `offset`; `None` if there is nothing at or behind it.
    pub(super) fn number_at(&self, offset: u64) -> io::Result<Option<u64>> {
        let Some((segment, next)) = self.segment_at(offset) else { return Ok(None) };
        if offset <= segment.base() {
            return Ok(Some(segment.header.first));
        }
        let before = segment.walk(offset, |_, _, _| {})?;
        let lost = if before.stretches > 0 { lost_in(&segment, next)?.1 } else { 0 };
        Ok(Some(segment.header.first + before.records + lost))
    }

    /// The segment that holds `offset` or the next one there is, and the number behind its records.
    fn segment_at(&self, offset: u64) -> Option<(Segment, u64)> {
        let state = lock(&self.state);
        let index = state.segments.iter().position(|segment| segment.end() > offset)?;
        let next = state.segments.get(index + 1).map(|next| next.header.first);
        let next = next.unwrap_or_else(|| self.next_number.load(Ordering::Acquire));
        Some((state.segments[index].clone(), next))
    }

    /// Tells of segments that are missing in front of all others, behind what was delivered. How
    /// many records they held nobody knows; they count as one.
    pub(super) fn count_lost_front(&self, acked: u64) {
        let after = lock(&self.state).segments.front().map_or(0, |first| first.header.after);
        if acked == 0 || after <= acked {
            return;
        }
        tracing::error!(
            spool = self.name,
            from = acked,
            to = after,
            "a segment of the spool is missing; what was in it is lost"
        );
        self.count_drop(DropReason::SpoolDamaged, 1);
    }
}

/// Where the first damaged stretch of `segment` is, and how many records it has lost, if the next
/// segment begins with record number `next`.
pub(super) fn lost_in(segment: &Segment, next: u64) -> io::Result<(Option<u64>, u64)> {
    let walked = segment.walked()?;
    let expected = next.saturating_sub(segment.header.first);
    Ok((walked.first_stretch, expected.saturating_sub(walked.records)))
}
