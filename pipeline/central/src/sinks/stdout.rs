//! Standard output: one event a line, for pipes and for looking.

use super::{Guarantee, NotNow, Refused, Sink, SinkRecord};
use std::io::{Write as _, stdout};

pub(super) struct Stdout;

impl Sink for Stdout {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn write(&mut self, batch: &[SinkRecord]) -> Result<Vec<Refused>, NotNow> {
        let mut lines = Vec::new();
        for record in batch {
            // A line break inside a record would make two lines of it; in JSON it is only space.
            lines.extend(
                record.payload.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }),
            );
            lines.push(b'\n');
        }
        let mut out = stdout().lock();
        out.write_all(&lines)
            .and_then(|()| out.flush())
            .map_err(|error| NotNow(format!("standard output: {error}")))?;
        Ok(Vec::new())
    }
}
