//! What must have arrived, compared with what has.

use logweir_record::{FIELD_OFFSET, FIELD_PREV, FIELD_SOURCE};
use serde_json::Value;
use std::collections::BTreeMap;

/// One event, from a topic or from the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub source: String,
    pub offset: u64,
    pub prev: Option<u64>,
    /// The whole event.
    pub json: Value,
}

impl Event {
    /// # Panics
    /// The bytes are not an event as `docs/record.md` has it.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let shown = || String::from_utf8_lossy(bytes).into_owned();
        let json: Value = serde_json::from_slice(bytes)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", shown()));
        let source =
            json[FIELD_SOURCE].as_str().unwrap_or_else(|| panic!("no source: {}", shown()));
        let offset =
            json[FIELD_OFFSET].as_u64().unwrap_or_else(|| panic!("no offset: {}", shown()));
        let prev = json[FIELD_PREV].as_u64();
        Self { source: source.to_owned(), offset, prev, json }
    }

    /// A field as text; empty if it is not there.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    /// The writer and the number of a line made by [`crate::line`].
    #[must_use]
    pub fn numbered(&self) -> Option<(&str, usize)> {
        let (_, rest) = self.text("event.original").split_once(": line ")?;
        let mut words = rest.split(' ');
        let number = words.next()?.parse().ok()?;
        (words.next()? == "of").then_some(())?;
        Some((words.next()?, number))
    }
}

/// Each line below `count` of each writer is there exactly once, and nothing else is.
///
/// # Panics
/// Something is missing, there twice, or not of these writers; says what, and how much.
pub fn assert_exactly_once(events: &[Event], writers: &[(&str, usize)]) {
    let mut seen: BTreeMap<&str, Vec<u32>> =
        writers.iter().map(|(name, count)| (*name, vec![0; *count])).collect();
    for event in events {
        let times = event
            .numbered()
            .and_then(|(name, number)| seen.get_mut(name)?.get_mut(number))
            .unwrap_or_else(|| panic!("nobody wrote this line: {}", event.json));
        *times += 1;
    }
    let mut faults = Vec::new();
    for (name, times) in &seen {
        let numbers = |wanted: fn(u32) -> bool| -> Vec<usize> {
            (0..times.len()).filter(|number| wanted(times[*number])).collect()
        };
        for (word, found) in [("missing", numbers(|n| n == 0)), ("repeated", numbers(|n| n > 1))] {
            if !found.is_empty() {
                let shown = &found[..found.len().min(10)];
                faults.push(format!("{name}: {} {word}, such as {shown:?}", found.len()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("; "));
}

/// The events of each source stand in the order of their offsets, and the lines of each writer
/// within a source in the order of their numbers.
///
/// # Panics
/// Two events stand in the wrong order; shows both.
pub fn assert_in_order_per_source(events: &[Event]) {
    let mut last: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut numbers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in events {
        if let Some(before) = last.insert(&event.source, event) {
            let ordered = before.offset < event.offset;
            assert!(ordered, "out of order: {} then {}", before.json, event.json);
        }
        if let Some((name, number)) = event.numbered() {
            let before = numbers.insert((&event.source, name), number);
            assert!(before < Some(number), "line {before:?} before {}", event.json);
        }
    }
}

/// The events as a reader keeps them that follows the rule of `docs/record.md`: one number per
/// source, the highest offset seen, and what is at or below it is a repeat.
///
/// # Panics
/// An event's `prev` is not the highest offset seen: something is missing between, or the chain
/// is broken.
#[must_use]
pub fn without_repeats(events: Vec<Event>) -> Vec<Event> {
    let mut highest: BTreeMap<String, u64> = BTreeMap::new();
    let mut kept = Vec::with_capacity(events.len());
    for event in events {
        let seen = highest.get(&event.source).copied();
        if seen.is_some_and(|seen| event.offset <= seen) {
            continue;
        }
        assert!(event.prev == seen, "broken chain at {}: seen up to {seen:?}", event.json);
        highest.insert(event.source.clone(), event.offset);
        kept.push(event);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line;

    fn event(name: &str, number: usize, prev: Option<u64>) -> Event {
        let original = line(name, number).trim_end().to_owned();
        let mut json = serde_json::json!({
            "logweir.source": format!("source of {name}"),
            "log.offset": number * 100,
            "event.original": original,
        });
        if let Some(prev) = prev {
            json[FIELD_PREV] = prev.into();
        }
        Event::parse(json.to_string().as_bytes())
    }

    fn fails(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_err()
    }

    #[test]
    fn what_is_complete_passes() {
        let events = [event("a", 0, None), event("b", 0, None), event("a", 1, Some(0))];
        assert_exactly_once(&events, &[("a", 2), ("b", 1)]);
        assert_in_order_per_source(&events);
        assert_eq!(without_repeats(events.to_vec()), events);
    }

    #[test]
    fn what_is_missing_repeated_or_strange_is_found() {
        for numbers in [vec![0, 1], vec![0, 1, 2, 1], vec![0, 1, 2, 3]] {
            let events: Vec<Event> = numbers.iter().map(|n| event("a", *n, None)).collect();
            assert!(fails(move || assert_exactly_once(&events, &[("a", 3)])), "{numbers:?}");
        }
    }

    #[test]
    fn a_wrong_order_is_found() {
        let events = [event("a", 1, None), event("a", 0, None)];
        assert!(fails(move || assert_in_order_per_source(&events)));
    }

    #[test]
    fn repeats_are_left_out_and_holes_are_found() {
        let events = vec![event("a", 0, None), event("a", 1, Some(0)), event("a", 0, None)];
        assert_eq!(without_repeats(events).len(), 2);
        let hole = vec![event("a", 0, None), event("a", 2, Some(100))];
        assert!(fails(move || drop(without_repeats(hole))));
    }
}
