//! Statistics of a file, as its `add` action has them.

use super::actions::Add;
use crate::time::parse_rfc3339;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Rows, and smallest and largest values by column; anything may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FileStatistics {
    pub(crate) num_records: Option<u64>,
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
    null_count: Map<String, Value>,
}

impl FileStatistics {
    pub(super) fn of(add: &Add) -> Self {
        add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default()
    }

    /// Smallest and largest time, in microseconds. Other engines cut times to milliseconds; the
    /// largest is widened by one.
    pub(crate) fn times(&self, name: &str) -> Option<(i64, i64)> {
        let time = |map: &Map<String, Value>| parse_rfc3339(map.get(name)?.as_str()?);
        Some((time(&self.min_values)?, time(&self.max_values)?.saturating_add(999)))
    }

    pub(crate) fn longs(&self, name: &str) -> Option<(i64, i64)> {
        Some((self.min_values.get(name)?.as_i64()?, self.max_values.get(name)?.as_i64()?))
    }

    /// Bounds of a text. Other engines cut long texts; such bounds are not used.
    pub(crate) fn texts(&self, name: &str) -> Option<(&str, &str)> {
        let text = |map: &'_ Map<String, Value>| -> Option<usize> {
            map.get(name)?.as_str().map(str::len).filter(|len| *len < 32)
        };
        text(&self.min_values).and(text(&self.max_values))?;
        Some((self.min_values.get(name)?.as_str()?, self.max_values.get(name)?.as_str()?))
    }

    /// Whether no row has the column.
    pub(crate) fn is_absent(&self, name: &str) -> bool {
        let nulls = self.null_count.get(name).and_then(Value::as_u64);
        nulls.is_some() && nulls == self.num_records
    }
}
