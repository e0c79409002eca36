//! The door to the rule engine: what the agent knows about a line goes in, members of the event come
//! out. Owns RUL-2 here: whatever the engine does, panic included, the line is in the event.

use crate::config::{Common, RulesConfig};
use jiff::Timestamp;
use logweir_document::Diagnostic;
use logweir_record::{ECS_VERSION, write_member, write_u64};

/// One line or message with what is known about it besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'l> {
    /// Where it begins in its source.
    pub offset: u64,
    /// Without its line end, cut at the length limit.
    pub bytes: &'l [u8],
    /// The full length if it was cut.
    pub original_bytes: Option<u64>,
    /// The address that it came from.
    pub sender: Option<&'l [u8]>,
    pub received_at: Timestamp,
}

/// The rule packs of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Rules {}

impl Rules {
    /// Loads the packs.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn load(_config: &RulesConfig) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self {})
    }

    /// The engine for one source.
    #[must_use]
    pub(crate) fn parser(&self, _common: &Common) -> LineParser {
        LineParser {}
    }
}

/// The engine as one source uses it.
#[derive(Debug)]
pub(crate) struct LineParser {}

impl LineParser {
    /// Appends the members of the event, without braces; returns whether a rule matched.
    pub(crate) fn members(&self, line: &Line<'_>, out: &mut Vec<u8>) -> bool {
        plain(line, out);
        false
    }
}

/// The event of a line that nothing is known about.
fn plain(line: &Line<'_>, out: &mut Vec<u8>) {
    let received_at = format!("{:.3}", line.received_at);
    for key in ["@timestamp", "event.created"] {
        write_member(out, key, received_at.as_bytes());
        out.push(b',');
    }
    write_member(out, "ecs.version", ECS_VERSION.as_bytes());
    out.push(b',');
    write_member(out, "event.original", line.bytes);
    out.extend_from_slice(
        br#","event.kind":"event","event.dataset":"unparsed","tags":["unparsed""#,
    );
    if let Some(length) = line.original_bytes {
        out.extend_from_slice(br#","truncated"],"logweir.original_bytes":"#);
        write_u64(out, length);
    } else {
        out.push(b']');
    }
}
