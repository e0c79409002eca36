//! What an event must be: a tree of tests on columns, and its evaluation on a batch of rows.
//!
//! Two-valued: a test on a field that an event does not have is false, and `not` of it is true. So
//! `not user.name:root` finds the events without a user too.

use crate::error::StoreError;
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use crate::search::extra;
use crate::search::text::{Contains, Glob};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A tree of tests.
#[derive(Debug, Clone)]
pub(crate) enum Predicate {
    All,
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    Column(ColumnIndex, Test),
    /// A field without a column, by its name.
    Extra(String, Test),
    /// In the line itself, or in the message where the line was not kept.
    Line(Contains),
}

/// A test on one value. A list passes if one of its elements does.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Exists,
    Equal(String),
    Glob(Glob),
    Contains(Contains),
    /// An address or a network.
    Network(Network),
    /// By number, the bounds included.
    Number(i64, i64),
    /// By number, for values that need not be whole.
    Decimal(Bounds<f64>),
    /// By text, or by address if both are.
    Between(Bounds<String>),
}

/// Bounds; `true`: the bound itself is in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounds<T> {
    pub(crate) low: Option<(T, bool)>,
    pub(crate) high: Option<(T, bool)>,
}

impl<T> Bounds<T> {
    fn contain(&self, compare: impl Fn(&T) -> Option<Ordering>) -> bool {
        let low = self.low.as_ref().is_none_or(|(low, inclusive)| match compare(low) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => *inclusive,
            _ => false,
        });
        let high = || {
            self.high.as_ref().is_none_or(|(high, inclusive)| match compare(high) {
                Some(Ordering::Less) => true,
                Some(Ordering::Equal) => *inclusive,
                _ => false,
            })
        };
        low && high()
    }
}

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    first: u128,
    last: u128,
    is_v4: bool,
}

impl Network {
    /// `10.0.0.0/8`, `fe80::/10`, or one address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let (number, width, is_v4) = number_of(address)?;
        let bits = bits.unwrap_or(width);
        let host_bits = width.checked_sub(bits)?;
        let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let hosts = if host_bits == 0 { 0 } else { hosts };
        Some(Self { first: number & !hosts, last: number | hosts, is_v4 })
    }

    fn contains(&self, text: &str) -> bool {
        number_of(text).is_some_and(|(number, _, is_v4)| {
            is_v4 == self.is_v4 && (self.first..=self.last).contains(&number)
        })
    }

    /// If it is one IPv4 address: every text that it can be written as.
    pub(crate) fn only_texts(&self) -> Option<[String; 3]> {
        let number = u32::try_from(self.first).ok()?;
        let address = std::net::Ipv4Addr::from_bits(number);
        (self.is_v4 && self.first == self.last)
            .then(|| ["", MAPPED[0], MAPPED[1]].map(|prefix| format!("{prefix}{address}")))
    }
}

/// Precede an IPv4 address where a socket of IPv6 has accepted it.
const MAPPED: [&str; 2] = ["::ffff:", "::FFFF:"];

/// The address, its width in bits, and whether it is IPv4. An IPv4 address has exactly three
/// texts, without and with [`MAPPED`], so that bloom filters can be asked for it.
fn number_of(text: &str) -> Option<(u128, u32, bool)> {
    let behind = MAPPED.iter().find_map(|prefix| text.strip_prefix(prefix));
    match behind.unwrap_or(text).parse().or_else(|_| text.parse()).ok()? {
        IpAddr::V4(address) => Some((address.to_bits().into(), 32, true)),
        IpAddr::V6(address) => Some((address.to_bits(), 128, false)),
    }
}

impl Test {
    pub(crate) fn text_passes(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Equal(wanted) => text == wanted,
            Self::Glob(glob) => glob.is_match(text),
            Self::Contains(contains) => contains.is_match(text),
            Self::Network(network) => network.contains(text),
            Self::Number(low, high) => {
                text.parse().is_ok_and(|value: i64| (*low..=*high).contains(&value))
            }
            Self::Decimal(bounds) => text
                .parse()
                .is_ok_and(|value: f64| bounds.contain(|bound| value.partial_cmp(bound))),
            Self::Between(bounds) => {
                bounds.contain(|bound| match (number_of(text), number_of(bound)) {
                    (Some(a), Some(b)) => Some((!a.2, a.0).cmp(&(!b.2, b.0))),
                    _ => Some(text.cmp(bound.as_str())),
                })
            }
        }
    }

    fn number_passes(&self, value: i64) -> bool {
        match self {
            Self::Exists => true,
            Self::Number(low, high) => (*low..=*high).contains(&value),
            other => other.text_passes(&value.to_string()),
        }
    }

    /// How dear it is to evaluate, roughly in units of reading a number.
    fn cost(&self) -> u32 {
        match self {
            Self::Exists | Self::Number(..) => 1,
            Self::Equal(_) | Self::Between(_) => 2,
            Self::Network(_) | Self::Decimal(_) => 4,
            Self::Glob(_) | Self::Contains(_) => 6,
        }
    }
}

impl Predicate {
    /// The columns that it reads.
    pub(crate) fn columns(&self, columns: &mut BTreeSet<ColumnIndex>) {
        match self {
            Self::All => {}
            Self::And(predicates) | Self::Or(predicates) => {
                predicates.iter().for_each(|predicate| predicate.columns(columns));
            }
            Self::Not(predicate) => predicate.columns(columns),
            Self::Column(column, _) => {
                columns.insert(*column);
            }
            Self::Extra(..) => {
                columns.insert(schema::EXTRA);
            }
            Self::Line(_) => columns.extend([schema::ORIGINAL, schema::MESSAGE]),
        }
    }

    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::All => 0,
            Self::And(predicates) | Self::Or(predicates) => predicates.iter().map(Self::cost).sum(),
            Self::Not(predicate) => predicate.cost(),
            Self::Column(column, test) => {
                let width =
                    if [schema::ORIGINAL, schema::MESSAGE].contains(column) { 50 } else { 1 };
                width * test.cost()
            }
            Self::Extra(..) => 200,
            Self::Line(_) => 400,
        }
    }

    /// Its parts that must all hold, cheap ones first.
    pub(crate) fn conjuncts(self) -> Vec<Self> {
        let mut parts = match self {
            Self::All => Vec::new(),
            Self::And(predicates) => predicates.into_iter().flat_map(Self::conjuncts).collect(),
            other => vec![other],
        };
        parts.sort_by_key(Self::cost);
        parts
    }

    /// One bit per row.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanBuffer, StoreError> {
        let rows = batch.num_rows();
        match self {
            Self::All => Ok(BooleanBuffer::new_set(rows)),
            Self::And(predicates) => predicates
                .iter()
                .try_fold(BooleanBuffer::new_set(rows), |mask, p| Ok(&mask & &p.evaluate(batch)?)),
            Self::Or(predicates) => {
                predicates.iter().try_fold(BooleanBuffer::new_unset(rows), |mask, p| {
                    Ok(&mask | &p.evaluate(batch)?)
                })
            }
            Self::Not(predicate) => Ok(!&predicate.evaluate(batch)?),
            Self::Column(column, test) => match column_of(batch, *column) {
                Some(array) => evaluate_column(*column, array, test),
                None => Ok(BooleanBuffer::new_unset(rows)),
            },
            Self::Extra(name, test) => match column_of(batch, schema::EXTRA) {
                Some(array) => {
                    let finder = extra::Finder::new(name);
                    let texts = text_array(schema::EXTRA, array)?;
                    Ok(by_row(texts, |json| finder.any(json, |value| test.text_passes(value))))
                }
                None => Ok(BooleanBuffer::new_unset(rows)),
            },
            Self::Line(contains) => evaluate_line(batch, contains),
        }
    }
}

/// The column of the table in a batch; `None` if the file does not have it.
pub(crate) fn column_of(batch: &RecordBatch, column: ColumnIndex) -> Option<&ArrayRef> {
    batch.column_by_name(COLUMNS[column].name)
}

/// The column has not the type that the table gives it.
pub(crate) fn unfit(column: ColumnIndex, array: &ArrayRef) -> StoreError {
    let name = COLUMNS[column].name;
    StoreError::Unsupported(format!("`{name}` as {}", array.data_type()))
}

pub(crate) fn text_array(
    column: ColumnIndex,
    array: &ArrayRef,
) -> Result<&StringArray, StoreError> {
    array.as_string_opt::<i32>().ok_or_else(|| unfit(column, array))
}

fn by_row(array: &StringArray, passes: impl Fn(&str) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && passes(array.value(row)))
}

fn evaluate_column(
    column: ColumnIndex,
    array: &ArrayRef,
    test: &Test,
) -> Result<BooleanBuffer, StoreError> {
    if matches!(test, Test::Exists) {
        let valid = array.nulls().map(|nulls| nulls.inner().clone());
        return Ok(valid.unwrap_or_else(|| BooleanBuffer::new_set(array.len())));
    }
    let numbers = |values: &[i64]| {
        BooleanBuffer::collect_bool(values.len(), |row| {
            array.is_valid(row) && test.number_passes(values[row])
        })
    };
    match COLUMNS[column].kind {
        Kind::Text | Kind::Ip => {
            let texts = text_array(column, array)?;
            Ok(match test {
                Test::Contains(contains) => contains.rows(texts),
                _ => by_row(texts, |text| test.text_passes(text)),
            })
        }
        Kind::Long => {
            let longs =
                array.as_primitive_opt::<Int64Type>().ok_or_else(|| unfit(column, array))?;
            Ok(numbers(longs.values()))
        }
        Kind::Time => {
            let times = array.as_primitive_opt::<TimestampMicrosecondType>();
            Ok(numbers(times.ok_or_else(|| unfit(column, array))?.values()))
        }
        Kind::List => {
            let lists = array.as_list_opt::<i32>().ok_or_else(|| unfit(column, array))?;
            let elements = text_array(column, lists.values())?;
            let offsets = lists.value_offsets();
            Ok(BooleanBuffer::collect_bool(lists.len(), |row| {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                lists.is_valid(row)
                    && range
                        .into_iter()
                        .any(|at| elements.is_valid(at) && test.text_passes(elements.value(at)))
            }))
        }
    }
}

fn evaluate_line(batch: &RecordBatch, contains: &Contains) -> Result<BooleanBuffer, StoreError> {
    let rows = batch.num_rows();
    let original = match column_of(batch, schema::ORIGINAL) {
        Some(array) => Some(text_array(schema::ORIGINAL, array)?),
        None => None,
    };
    let in_original = original.map_or_else(|| BooleanBuffer::new_unset(rows), |a| contains.rows(a));
    if original.is_some_and(|array| array.null_count() == 0) {
        return Ok(in_original);
    }
    let Some(message) = column_of(batch, schema::MESSAGE) else { return Ok(in_original) };
    let message = text_array(schema::MESSAGE, message)?;
    let mut mask = BooleanBufferBuilder::new(rows);
    mask.append_buffer(&in_original);
    for row in 0..rows {
        if original.is_none_or(|array| array.is_null(row)) && message.is_valid(row) {
            mask.set_bit(row, contains.is_match(message.value(row)));
        }
    }
    Ok(mask.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.0/31", "192.0.2.1", true),
            ("fe80::/10", "fe80::1", true),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "::FFFF:10.0.0.1", true),
            ("::FFFF:10.0.0.1", "::ffff:10.0.0.1", true),
            ("::FFFF:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.0/8", "no address", false),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address), expected, "{network:?} {address}");
        }
        for text in ["", "10.0.0.0/33", "fe80::/129", "10.0.0/8", "10.0.0.0/x"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        let texts = Network::parse("192.0.2.1").unwrap().only_texts().unwrap();
        assert_eq!(texts, ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:192.0.2.1"]);
        assert_eq!(Network::parse("::1").unwrap().only_texts(), None);
    }
}
