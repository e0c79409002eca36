//! Standard output: one event a line, for pipes and for looking.

use super::identity::Identity;
use super::{Guarantee, NotNow, Refused, Sink, SinkRecord};
use std::io::{Write as _, stdout};

pub(super) struct Stdout;

impl Sink for Stdout {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let (events, refused) = Identity::events(batch);
        let mut lines = Vec::new();
        events.iter().for_each(|record| record.write_line(&mut lines));
        let mut out = stdout().lock();
        out.write_all(&lines)
            .and_then(|()| out.flush())
            .map_err(|error| NotNow(format!("standard output: {error}")))?;
        Ok(refused)
    }
}
