//! Statistics over the rows that match: `count(), sum(source.bytes) by source.ip`, if wanted for each
//! interval of time.
//!
//! ```text
//! stats     = function { "," function } [ "by" field { "," field } ]
//! function  = name "(" [ field ] ")"       name: count distinct sum min max avg
//! ```
//!
//! Bounded: groups up to [`GROUPS_MAX`], the rest are counted together; different values up to
//! [`DISTINCT_MAX`] in all, by their 64-bit hashes.

use super::cells::{Cells, Number, column_for};
use super::compile::check_field;
use super::row::{Row, Value};
use super::syntax::QueryError;
use super::{Query, Scan, SearchOptions, conjuncts};
use crate::error::StoreError;
use crate::schema::{self, COLUMNS, ColumnIndex};
use crate::table::Table;
use crate::time::parse_span;
use arrow_array::RecordBatch;
use logweir_document::nearest;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;

/// More groups than this are counted together, under [`OTHERS`]: about 200 MB.
const GROUPS_MAX: usize = 1_000_000;
/// More different values than this are not told apart any more: about 64 MB.
const DISTINCT_MAX: usize = 4_000_000;
/// Where the intervals are more than this, those without events are not shown.
const INTERVALS_MAX: i64 = 10_000;
const OTHERS: &str = "(others)";
const TIME: &str = COLUMNS[schema::TIMESTAMP].name;

/// What is to be known of the rows.
#[derive(Debug, Clone)]
pub struct Stats {
    measures: Vec<Measure>,
    by: Vec<String>,
    every_us: Option<i64>,
}

#[derive(Debug, Clone)]
struct Measure {
    function: Function,
    field: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Count,
    Distinct,
    Sum,
    Min,
    Max,
    Avg,
}

const FUNCTIONS: [(&str, Function); 6] = [
    ("count", Function::Count),
    ("distinct", Function::Distinct),
    ("sum", Function::Sum),
    ("min", Function::Min),
    ("max", Function::Max),
    ("avg", Function::Avg),
];

/// The answer: a row for each group (and interval), under the names of [`Stats::columns`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsTable {
    pub rows: Vec<Row>,
    /// Groups that are not among the rows because there were more than asked for.
    pub groups_left_out: usize,
    /// Whether there were too many groups or different values to tell all apart.
    pub merged: bool,
    /// Whether there are intervals without events that are not among the rows, as there were too many.
    pub intervals_left_out: bool,
}

impl Stats {
    /// Reads what is to be known, as `count(), sum(source.bytes) by source.ip`; `every` is the length
    /// of the intervals, as `5m`.
    ///
    /// # Errors
    /// The first place that cannot be understood, with a remedy. Columns count in `text`, but for an
    /// error in `every`, which is in column 0.
    pub fn parse(text: &str, every: Option<&str>) -> Result<Self, QueryError> {
        let every_us = match every {
            None => None,
            Some(every) => Some(parse_span(every).filter(|span| *span > 0).ok_or_else(|| {
                QueryError::new(
                    0,
                    format!("`{every}` is no interval"),
                    "write `30s`, `5m`, `1h` or `1d`",
                )
            })?),
        };
        let mut words = Words { text, at: 0 };
        let mut measures = vec![words.measure()?];
        while words.take(",") {
            measures.push(words.measure()?);
        }
        let mut by = Vec::new();
        if words.take("by") {
            by.push(words.field()?);
            while words.take(",") {
                by.push(words.field()?);
            }
        }
        words.end()?;
        Ok(Self { measures, by, every_us })
    }

    /// `count()` by one field.
    pub(super) fn count_by(field: &str) -> Self {
        let measures = vec![Measure { function: Function::Count, field: None }];
        Self { measures, by: vec![field.to_owned()], every_us: None }
    }

    /// The names of the answer's fields, in their order.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let time = self.every_us.map(|_| TIME.to_owned());
        time.into_iter()
            .chain(self.by.iter().cloned())
            .chain(self.measures.iter().map(Measure::name))
            .collect()
    }

    /// The name of the first measure, by which groups are ordered.
    #[must_use]
    pub fn first_measure(&self) -> String {
        self.measures[0].name()
    }

    fn read(&self) -> BTreeSet<ColumnIndex> {
        let fields = self.by.iter().chain(self.measures.iter().filter_map(|m| m.field.as_ref()));
        let time = self.every_us.map(|_| schema::TIMESTAMP);
        fields.map(|field| column_for(field)).chain(time).collect()
    }
}

impl Measure {
    fn name(&self) -> String {
        let name = FUNCTIONS.iter().find(|(_, function)| *function == self.function);
        format!("{}({})", name.map_or("", |(name, _)| name), self.field.as_deref().unwrap_or(""))
    }
}

/// The text of a [`Stats`], word by word.
struct Words<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Words<'t> {
    fn rest(&mut self) -> &'t str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    /// A name: whatever has no meaning of its own here.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || "(),".contains(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn take(&mut self, wanted: &str) -> bool {
        let before = self.at;
        let rest = self.rest();
        let found = match wanted {
            "by" => self.word() == wanted,
            sign => {
                self.at += sign.len();
                rest.starts_with(sign)
            }
        };
        if !found {
            self.at = before;
        }
        found
    }

    fn expected(&mut self, what: &str, remedy: &str) -> QueryError {
        let found = match self.rest() {
            "" => "the end".to_owned(),
            rest => format!("`{rest}`"),
        };
        QueryError::new(self.column(), format!("expected {what}, found {found}"), remedy)
    }

    fn measure(&mut self) -> Result<Measure, QueryError> {
        const REMEDY: &str = "write for example `count(), sum(source.bytes) by source.ip`";
        self.rest();
        let column = self.column();
        let name = self.word();
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let near = nearest(name, FUNCTIONS.iter().map(|(name, _)| *name));
            let remedy =
                near.map_or_else(|| REMEDY.to_owned(), |near| format!("did you mean `{near}`?"));
            return Err(QueryError::new(column, format!("`{name}` is no function"), remedy));
        };
        if !self.take("(") {
            return Err(self.expected("`(`", REMEDY));
        }
        let field = if self.take(")") {
            None
        } else {
            let field = self.field()?;
            if !self.take(")") {
                return Err(self.expected("`)`", REMEDY));
            }
            Some(field)
        };
        if field.is_none() && *function != Function::Count {
            return Err(QueryError::new(
                column,
                format!("`{name}()` names no field"),
                format!("write for example `{name}(source.bytes)`"),
            ));
        }
        Ok(Measure { function: *function, field })
    }

    fn field(&mut self) -> Result<String, QueryError> {
        self.rest();
        let column = self.column();
        let name = self.word();
        if name.is_empty() {
            return Err(self.expected("a field", "write for example `source.ip`"));
        }
        check_field(name, column)?;
        Ok(name.to_owned())
    }

    fn end(&mut self) -> Result<(), QueryError> {
        match self.rest() {
            "" => Ok(()),
            _ => {
                Err(self
                    .expected("`,`, `by` or the end", "separate functions and fields by commas"))
            }
        }
    }
}

/// Answers [`Stats`] over the rows that match; of `options` only the times and the threads matter. At
/// most `groups` groups are handed out, those whose first measure is greatest.
///
/// # Errors
/// The log or a file cannot be read.
pub fn stats(
    table: &Table,
    query: &Query,
    options: &SearchOptions,
    stats: &Stats,
    groups: usize,
) -> Result<StatsTable, StoreError> {
    let scan = Scan::new(table, conjuncts(query, options), options)?;
    let all = Mutex::new(Groups::new(stats));
    let columns = stats.read();
    scan.run(
        |_| true,
        |part| {
            let mut own = Groups::new(stats);
            match columns.is_empty() {
                true => own.take_rows(part.matched()),
                false => part.read(&columns, |batch| own.take(batch))?,
            }
            all.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).join(own);
            Ok(())
        },
    )?;
    Ok(all.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_table(groups))
}

/// The groups so far, by the interval and the values that they have in common.
struct Groups<'s> {
    stats: &'s Stats,
    groups: HashMap<Vec<u8>, Vec<Accumulator>>,
    groups_max: usize,
    hasher: RandomState,
    distinct: usize,
    merged: bool,
}

/// What is known of one measure in one group.
#[derive(Debug, Clone)]
enum Accumulator {
    Count(u64),
    Distinct(HashSet<u64>),
    Sum { whole: i128, real: f64, any_real: bool },
    Least(Option<Number>),
    Greatest(Option<Number>),
    Mean { sum: f64, count: u64 },
}

impl<'s> Groups<'s> {
    fn new(stats: &'s Stats) -> Self {
        // The same keys in all: hashes of different threads are joined.
        static HASHER: std::sync::LazyLock<RandomState> =
            std::sync::LazyLock::new(RandomState::new);
        let hasher = HASHER.clone();
        Self {
            stats,
            groups: HashMap::new(),
            groups_max: GROUPS_MAX,
            hasher,
            distinct: 0,
            merged: false,
        }
    }

    /// So many rows, when nothing of them has to be read.
    fn take_rows(&mut self, rows: u64) {
        for accumulator in self.group(&[]) {
            if let Accumulator::Count(count) = accumulator {
                *count += rows;
            }
        }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let stats = self.stats;
        let by =
            stats.by.iter().map(|field| Cells::new(batch, field)).collect::<Result<Vec<_>, _>>()?;
        let measured = |measure: &'s Measure| match &measure.field {
            Some(field) => Cells::new(batch, field).map(Some),
            None => Ok(None),
        };
        let measured = stats.measures.iter().map(measured).collect::<Result<Vec<_>, _>>()?;
        let times = Cells::new(batch, TIME)?;
        let mut keys = Vec::new();
        for row in 0..batch.num_rows() {
            let mut prefix = Vec::new();
            if let Some(every) = stats.every_us {
                let mut interval = i64::MIN;
                times.each_number(row, |time| {
                    if let Number::Time(time) = time {
                        interval = time.div_euclid(every) * every;
                    }
                });
                prefix.extend_from_slice(&interval.to_be_bytes());
            }
            keys.clear();
            keys.push(prefix);
            for cells in &by {
                keys = with_values(&keys, cells, row);
            }
            for key in &keys {
                self.measure(key, &measured, row);
            }
        }
        Ok(())
    }

    fn measure(&mut self, key: &[u8], measured: &[Option<Cells<'_>>], row: usize) {
        let hasher = self.hasher.clone();
        let room = DISTINCT_MAX.saturating_sub(self.distinct);
        let mut added = 0;
        for (accumulator, cells) in self.group(key).iter_mut().zip(measured) {
            added += accumulator.take(cells.as_ref(), row, &hasher, room - added.min(room));
        }
        self.distinct += added;
        self.merged |= self.distinct >= DISTINCT_MAX;
    }

    fn group(&mut self, key: &[u8]) -> &mut Vec<Accumulator> {
        let fresh = || self.stats.measures.iter().map(|m| Accumulator::new(m.function)).collect();
        let full = self.groups.len() >= self.groups_max && !self.groups.contains_key(key);
        self.merged |= full;
        let key = if full { others(self.stats, key) } else { key.to_vec() };
        self.groups.entry(key).or_insert_with(fresh)
    }

    fn join(&mut self, other: Self) {
        self.merged |= other.merged;
        for (key, theirs) in other.groups {
            let ours = self.group(&key);
            let mut added = 0;
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                added += ours.join(theirs);
            }
            self.distinct += added;
        }
        self.merged |= self.distinct >= DISTINCT_MAX;
    }

    fn into_table(self, groups: usize) -> StatsTable {
        let stats = self.stats;
        let mut sizes: HashMap<Vec<u8>, f64> = HashMap::new();
        let time_bytes = stats.every_us.map_or(0, |_| 8);
        for (key, values) in &self.groups {
            *sizes.entry(key[time_bytes..].to_vec()).or_default() += values[0].size();
        }
        let mut largest: Vec<(Vec<u8>, f64)> = sizes.into_iter().collect();
        largest.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        // Totals are no group.
        let groups = if stats.by.is_empty() { usize::MAX } else { groups };
        let groups_left_out = largest.len().saturating_sub(groups);
        let places: HashMap<Vec<u8>, usize> =
            largest.into_iter().take(groups).enumerate().map(|(at, (key, _))| (key, at)).collect();
        let mut rows: Vec<_> = self
            .groups
            .into_iter()
            .filter_map(|(key, values)| {
                let place = *places.get(&key[time_bytes..])?;
                let time = (time_bytes > 0)
                    .then(|| i64::from_be_bytes(key[..8].try_into().unwrap_or_default()));
                Some((time, place, texts_of(&key[time_bytes..]), values))
            })
            .collect();
        rows.sort_by_key(|(time, place, ..)| (*time, *place));
        let mut intervals_left_out = false;
        if stats.by.is_empty()
            && let Some(every) = stats.every_us
        {
            (rows, intervals_left_out) = without_holes(rows, every, stats);
        }
        // Nothing matched: the totals are still an answer.
        if rows.is_empty() && stats.by.is_empty() && stats.every_us.is_none() {
            let values = stats.measures.iter().map(|m| Accumulator::new(m.function)).collect();
            rows.push((None, 0, Vec::new(), values));
        }
        let rows =
            rows.into_iter().map(|(time, _, by, values)| row(stats, time, by, &values)).collect();
        StatsTable { rows, groups_left_out, merged: self.merged, intervals_left_out }
    }
}

type Grouped = (Option<i64>, usize, Vec<String>, Vec<Accumulator>);

/// Adds intervals without events, between those that have some, and says whether there were too many.
fn without_holes(rows: Vec<Grouped>, every: i64, stats: &Stats) -> (Vec<Grouped>, bool) {
    let times = |row: Option<&Grouped>| row.and_then(|row| row.0);
    let (Some(first), Some(last)) = (times(rows.first()), times(rows.last())) else {
        return (rows, false);
    };
    let behind_first = last.saturating_sub(first) / every;
    if behind_first >= INTERVALS_MAX {
        let has_holes = behind_first >= rows.len() as i64;
        return (rows, has_holes);
    }
    let mut filled = Vec::with_capacity(rows.len());
    let mut next = first;
    for row in rows {
        while row.0.is_some_and(|time| next < time) {
            let empty = stats.measures.iter().map(|m| Accumulator::new(m.function)).collect();
            filled.push((Some(next), 0, Vec::new(), empty));
            next += every;
        }
        filled.push(row);
        next += every;
    }
    (filled, false)
}

fn row(stats: &Stats, time: Option<i64>, by: Vec<String>, values: &[Accumulator]) -> Row {
    let time = time.map(|time| (TIME.to_owned(), Value::Timestamp(time)));
    let by = stats.by.iter().cloned().zip(by.into_iter().map(Value::Text));
    let measures = stats.measures.iter().zip(values);
    let measures = measures.filter_map(|(measure, value)| Some((measure.name(), value.value()?)));
    Row { fields: time.into_iter().chain(by).chain(measures).collect() }
}

/// Each key with each value of the field behind it; a row without the field has the empty text.
fn with_values(keys: &[Vec<u8>], cells: &Cells<'_>, row: usize) -> Vec<Vec<u8>> {
    let mut longer = Vec::with_capacity(keys.len());
    for key in keys {
        let before = longer.len();
        cells.each_text(row, |text| longer.push(joined(key, text)));
        if longer.len() == before {
            longer.push(joined(key, ""));
        }
    }
    longer
}

/// The text behind the key, so that keys are in the order of their texts and no text can look like
/// two: a zero byte is followed by 255 where it is part of a text, and by 1 where a text ends (as in
/// FoundationDB's tuples).
fn joined(key: &[u8], text: &str) -> Vec<u8> {
    let mut joined = Vec::with_capacity(key.len() + text.len() + 2);
    joined.extend_from_slice(key);
    for (at, piece) in text.as_bytes().split(|byte| *byte == 0).enumerate() {
        if at > 0 {
            joined.extend_from_slice(&[0, 255]);
        }
        joined.extend_from_slice(piece);
    }
    joined.extend_from_slice(&[0, 1]);
    joined
}

fn texts_of(key: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = Vec::new();
    let mut bytes = key.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            0 if bytes.next() == Some(&255) => text.push(0),
            0 => texts.push(String::from_utf8_lossy(&std::mem::take(&mut text)).into_owned()),
            byte => text.push(*byte),
        }
    }
    texts
}

fn others(stats: &Stats, key: &[u8]) -> Vec<u8> {
    let time = stats.every_us.map_or(&[][..], |_| &key[..8]);
    stats.by.iter().fold(time.to_vec(), |key, _| joined(&key, OTHERS))
}

impl Accumulator {
    fn new(function: Function) -> Self {
        match function {
            Function::Count => Self::Count(0),
            Function::Distinct => Self::Distinct(HashSet::new()),
            Function::Sum => Self::Sum { whole: 0, real: 0.0, any_real: false },
            Function::Min => Self::Least(None),
            Function::Max => Self::Greatest(None),
            Function::Avg => Self::Mean { sum: 0.0, count: 0 },
        }
    }

    /// Takes a row; returns how many new different values it brought, at most `room`.
    fn take(
        &mut self,
        cells: Option<&Cells<'_>>,
        row: usize,
        hasher: &RandomState,
        room: usize,
    ) -> usize {
        let Some(cells) = cells else {
            if let Self::Count(count) = self {
                *count += 1;
            }
            return 0;
        };
        let mut added = 0;
        match self {
            Self::Count(count) => {
                let mut has = false;
                cells.each_text(row, |_| has = true);
                *count += u64::from(has);
            }
            Self::Distinct(values) => cells.each_text(row, |text| {
                added += usize::from(added < room && values.insert(hasher.hash_one(text)));
            }),
            _ => cells.each_number(row, |number| self.take_number(number)),
        }
        added
    }

    fn take_number(&mut self, number: Number) {
        match self {
            Self::Sum { whole, real, any_real } => match number {
                Number::Whole(n) | Number::Time(n) => *whole += i128::from(n),
                Number::Real(n) => (*real, *any_real) = (*real + n, true),
            },
            Self::Least(least) if least.is_none_or(|least| number.compare(least).is_lt()) => {
                *least = Some(number)
            }
            Self::Greatest(most) if most.is_none_or(|most| number.compare(most).is_gt()) => {
                *most = Some(number)
            }
            Self::Mean { sum, count } => (*sum, *count) = (*sum + number.real(), *count + 1),
            Self::Least(_) | Self::Greatest(_) | Self::Count(_) | Self::Distinct(_) => {}
        }
    }

    /// Takes what another has taken; returns how many new different values that brought.
    fn join(&mut self, other: Self) -> usize {
        match (self, other) {
            (Self::Count(ours), Self::Count(theirs)) => *ours += theirs,
            (Self::Distinct(ours), Self::Distinct(theirs)) => {
                let before = ours.len();
                ours.extend(theirs);
                return ours.len() - before;
            }
            (Self::Sum { whole, real, any_real }, Self::Sum { whole: w, real: r, any_real: a }) => {
                (*whole, *real, *any_real) = (*whole + w, *real + r, *any_real | a);
            }
            (
                ours @ (Self::Least(_) | Self::Greatest(_)),
                Self::Least(number) | Self::Greatest(number),
            ) => {
                number.into_iter().for_each(|number| ours.take_number(number));
            }
            (Self::Mean { sum, count }, Self::Mean { sum: s, count: c }) => {
                (*sum, *count) = (*sum + s, *count + c)
            }
            _ => {}
        }
        0
    }

    /// For the order of groups.
    fn size(&self) -> f64 {
        match self {
            Self::Count(count) => *count as f64,
            Self::Distinct(values) => values.len() as f64,
            Self::Sum { whole, real, .. } => *whole as f64 + real,
            Self::Least(number) | Self::Greatest(number) => number.map_or(0.0, Number::real),
            Self::Mean { sum, count } => sum / (*count).max(1) as f64,
        }
    }

    /// `None` where no row had a value.
    fn value(&self) -> Option<Value> {
        let whole = |number: i128| {
            i64::try_from(number).map_or_else(|_| Value::Json(number.to_string()), Value::Integer)
        };
        // `null` for what JSON has no number for: a sum may be infinite.
        let real = |number: f64| Value::Json(serde_json::Value::from(number).to_string());
        match self {
            Self::Count(count) => Some(whole(i128::from(*count))),
            Self::Distinct(values) => Some(whole(values.len() as i128)),
            Self::Sum { real: fraction, any_real: true, whole } => {
                Some(real(*whole as f64 + fraction))
            }
            Self::Sum { whole: sum, .. } => Some(whole(*sum)),
            Self::Least(number) | Self::Greatest(number) => number.map(|number| match number {
                Number::Whole(number) => Value::Integer(number),
                Number::Time(time) => Value::Timestamp(time),
                Number::Real(number) => real(number),
            }),
            Self::Mean { count: 0, .. } => None,
            Self::Mean { sum, count } => Some(real(sum / *count as f64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_known_is_read_or_refused_with_a_remedy() {
        for (text, columns) in [
            ("count()", "count()"),
            ("count ( ) by source.ip", "source.ip count()"),
            (
                "sum(source.bytes),avg(event.duration) by host.name , user.name",
                "host.name user.name sum(source.bytes) avg(event.duration)",
            ),
            ("distinct(labels.x)", "distinct(labels.x)"),
        ] {
            assert_eq!(Stats::parse(text, None).unwrap().columns().join(" "), columns, "{text}");
        }
        for (text, column, message, remedy) in [
            ("", 1, "`` is no function", "write for example"),
            ("coutn()", 1, "`coutn` is no function", "did you mean `count`?"),
            ("count", 6, "expected `(`, found the end", "write"),
            ("count(", 7, "expected a field, found the end", "write"),
            ("sum()", 1, "`sum()` names no field", "sum(source.bytes)"),
            ("count() source.ip", 9, "expected `,`, `by` or the end", "commas"),
            ("count() by", 11, "expected a field", "write"),
            ("count() by source.pi", 12, "no field `source.pi`", "`source.ip`"),
        ] {
            let error = Stats::parse(text, None).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(
                error.message.contains(message) && error.remedy.contains(remedy),
                "{text}: {error}"
            );
        }
        let error = Stats::parse("count()", Some("5 minutes")).unwrap_err();
        assert_eq!((error.column, error.message.as_str()), (0, "`5 minutes` is no interval"));
    }

    #[test]
    fn a_number_is_told_as_json_has_it() {
        for (sum, expected) in [(0.0004, "0.0004"), (4.5, "4.5"), (f64::INFINITY, "null")] {
            let sum = Accumulator::Sum { whole: 0, real: sum, any_real: true };
            assert_eq!(sum.value(), Some(Value::Json(expected.into())));
        }
    }

    #[test]
    fn keys_are_in_the_order_of_their_texts_and_give_them_back() {
        let texts = ["", "\0", "\0\u{1}", "a", "a\0b", "ab", "b", "\u{10ffff}"];
        let mut keys = Vec::new();
        for first in texts {
            for second in texts {
                let key = joined(&joined(&[], first), second);
                assert_eq!(texts_of(&key), [first, second]);
                keys.push(key);
            }
        }
        assert!(keys.is_sorted());
    }

    #[test]
    fn too_many_groups_are_counted_together_and_said_to_be() {
        let stats = Stats::count_by("user.name");
        let mut groups = Groups { groups_max: 10, ..Groups::new(&stats) };
        for number in 0..15 {
            if let Accumulator::Count(count) =
                &mut groups.group(&joined(&[], &number.to_string()))[0]
            {
                *count += 1;
            }
        }
        let table = groups.into_table(1);
        assert!(table.merged);
        assert_eq!(table.groups_left_out, 10);
        let expected = [
            ("user.name".to_owned(), Value::Text(OTHERS.into())),
            ("count()".to_owned(), Value::Integer(5)),
        ];
        assert_eq!(table.rows[0].fields, expected);
    }
}
