//! Times that stand for two instants: a header's local time of the hour that comes twice when clocks are
//! set back. The first of the two is taken; this tells that it may have been the second.

use crate::header::{Header, HeaderTime};
use crate::time::Zone;

const MINUTE_NANOS: i64 = 60 * 1_000_000_000;

/// Clocks are set at full minutes, so lines of the same minute need not ask again.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsure {
    zone: Option<Zone>,
    minute: i64,
    ambiguous: bool,
}

impl Unsure {
    /// The header's time in nanoseconds since 1970, if it names no zone and stands for two instants in
    /// `zone`.
    pub(super) fn time(&mut self, header: &Header<'_>, zone: &Zone) -> Option<i64> {
        let HeaderTime { unix_nanos, zone_known: false } = header.timestamp? else { return None };
        if zone.is_fixed() {
            return None;
        }
        let minute = unix_nanos.div_euclid(MINUTE_NANOS);
        if minute != self.minute || self.zone.as_ref() != Some(zone) {
            self.ambiguous = zone.is_ambiguous(minute * 60);
            self.minute = minute;
            self.zone = Some(zone.clone());
        }
        self.ambiguous.then_some(unix_nanos)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{LineContext, Parser, write_event};
    use crate::rule::RuleSet;
    use crate::time::Zone;
    use std::sync::Arc;

    #[test]
    fn the_hour_that_comes_twice_is_marked() {
        let rules = RuleSet::shipped();
        let mut parser = Parser::new(Arc::new(rules));
        let summer = "2026-10-25T03:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let received_unix_nanos = i64::try_from(summer.as_nanosecond()).unwrap();
        let mut event = |zone: &str, line: &str| {
            let zone = Zone::parse(zone).unwrap();
            let context =
                LineContext { pack: None, received_unix_nanos, zone: &zone, original_bytes: None };
            let mut out = Vec::new();
            write_event(&mut parser, line.as_bytes(), &context, &mut out);
            let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
            (
                event["@timestamp"].as_str().unwrap().to_owned(),
                event["logweir.time_ambiguous"] == true,
            )
        };
        let sshd = "web1 sshd[1]: Invalid user x from 192.0.2.1 port 22";
        let other = "web1 nobody[1]: knows this";
        for rest in [sshd, other] {
            for (zone, time, expected) in [
                ("Europe/Berlin", "Oct 25 01:59:59", ("2026-10-24T23:59:59.000Z", false)),
                ("Europe/Berlin", "Oct 25 02:00:00", ("2026-10-25T00:00:00.000Z", true)),
                ("Europe/Berlin", "Oct 25 02:59:59", ("2026-10-25T00:59:59.000Z", true)),
                ("Europe/Berlin", "Oct 25 03:00:00", ("2026-10-25T02:00:00.000Z", false)),
                // Lord Howe Island goes back by half an hour.
                ("Australia/Lord_Howe", "Apr  5 01:29:00", ("2026-04-04T14:29:00.000Z", false)),
                ("Australia/Lord_Howe", "Apr  5 01:45:00", ("2026-04-04T14:45:00.000Z", true)),
                ("+01:00", "Oct 25 02:30:00", ("2026-10-25T01:30:00.000Z", false)),
                // The time says which of the two it is, or is another.
                ("Europe/Berlin", "2026-10-25T02:30:00+01:00", ("2026-10-25T01:30:00.000Z", false)),
            ] {
                let (stamp, marked) = event(zone, &format!("{time} {rest}"));
                assert_eq!((stamp.as_str(), marked), expected, "{zone} {time} {rest}");
            }
        }
    }
}
