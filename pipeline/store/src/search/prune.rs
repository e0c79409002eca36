//! What need not be read: whether a file or a row group can hold a row that passes, from smallest and
//! largest values and bloom filters. It may say yes wrongly, never no.

use super::predicate::{Predicate, Test};
use crate::delta::FileStatistics;
use crate::schema::{COLUMNS, ColumnIndex, Kind};

/// What is known of the values of a column in a file or a row group. `None` is not known.
pub(super) trait Known {
    /// No row has the column.
    fn is_absent(&self, column: ColumnIndex) -> bool;
    fn numbers(&self, column: ColumnIndex) -> Option<(i64, i64)>;
    /// Whether the text is between the smallest and the largest.
    fn text_is_within(&self, column: ColumnIndex, text: &str) -> Option<bool>;
    /// Whether the bloom filter knows the text. Asked last, as it may have to be read.
    fn bloom_has(&self, column: ColumnIndex, text: &str) -> Option<bool>;
}

/// Whether some row may pass.
pub(super) fn may_match(predicate: &Predicate, known: &impl Known) -> bool {
    match predicate {
        Predicate::And(parts) => parts.iter().all(|part| may_match(part, known)),
        Predicate::Or(parts) => parts.iter().any(|part| may_match(part, known)),
        Predicate::Column(column, test) => {
            !known.is_absent(*column) && may_pass(*column, test, known)
        }
        Predicate::All | Predicate::Not(_) | Predicate::Extra(..) | Predicate::Line(_) => true,
    }
}

fn may_pass(column: ColumnIndex, test: &Test, known: &impl Known) -> bool {
    let has = |text: &str| {
        known.text_is_within(column, text) != Some(false)
            && known.bloom_has(column, text) != Some(false)
    };
    match test {
        Test::Number(low, high) if matches!(COLUMNS[column].kind, Kind::Long | Kind::Time) => {
            known.numbers(column).is_none_or(|(min, max)| *low <= max && min <= *high)
        }
        Test::Equal(text) => has(text),
        Test::Network(network) if COLUMNS[column].kind == Kind::Ip => {
            network.only_texts().is_none_or(|texts| texts.iter().any(|text| has(text)))
        }
        _ => true,
    }
}

impl Known for FileStatistics {
    fn is_absent(&self, column: ColumnIndex) -> bool {
        FileStatistics::is_absent(self, COLUMNS[column].name)
    }

    fn numbers(&self, column: ColumnIndex) -> Option<(i64, i64)> {
        match COLUMNS[column].kind {
            Kind::Time => self.times(COLUMNS[column].name),
            _ => self.longs(COLUMNS[column].name),
        }
    }

    fn text_is_within(&self, column: ColumnIndex, text: &str) -> Option<bool> {
        let (min, max) = self.texts(COLUMNS[column].name)?;
        Some(min <= text && text <= max)
    }

    fn bloom_has(&self, _: ColumnIndex, _: &str) -> Option<bool> {
        None
    }
}
