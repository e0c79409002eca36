//! From the words of a query to tests on columns: what a field is, and what a value means for it.

use super::predicate::{Bounds, Network, Predicate, Test};
use super::syntax::{self, Node, Operand, QueryError, Text};
use super::text::{Contains, Glob};
use crate::schema::{self, COLUMNS, ColumnIndex, Kind};
use crate::time::{DAY_US, now_us, parse_rfc3339, parse_time};
use logweir_document::{edit_distance, nearest};

/// What is asked for; see `docs/search.md` for the language.
#[derive(Debug, Clone)]
pub struct Query {
    predicate: Predicate,
}

impl Query {
    /// Reads a query; an empty one finds everything. Times such as `15m` are taken from now.
    ///
    /// # Errors
    /// The first place that is no query, with a remedy.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let predicate = compile(&syntax::parse(text)?, now_us())?;
        Ok(Self { predicate })
    }

    pub(crate) fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

/// Columns whose values are sentences: asked for by a part of them, regardless of case.
const PROSE: &[ColumnIndex] = &[schema::MESSAGE, schema::ORIGINAL];

fn compile(node: &Node, now_us: i64) -> Result<Predicate, QueryError> {
    let all = |nodes: &[Node]| -> Result<Vec<_>, _> {
        nodes.iter().map(|node| compile(node, now_us)).collect()
    };
    match node {
        Node::All => Ok(Predicate::All),
        Node::And(nodes) => all(nodes).map(Predicate::And),
        Node::Or(nodes) => all(nodes).map(Predicate::Or),
        Node::Not(node) => Ok(Predicate::Not(Box::new(compile(node, now_us)?))),
        Node::Text(text) => line(text),
        Node::Field { name, value } => field(name, value, now_us),
    }
}

fn line(text: &Text) -> Result<Predicate, QueryError> {
    if text.is_everything() {
        return Ok(Predicate::All);
    }
    contains(text).map(Predicate::Line)
}

fn contains(text: &Text) -> Result<Contains, QueryError> {
    let contains = match &text.pattern {
        Some(pieces) => Contains::of_pattern(pieces),
        None => Contains::new(&text.text),
    };
    contains.ok_or_else(|| too_long(text))
}

fn too_long(text: &Text) -> QueryError {
    QueryError::new(
        text.column,
        "the text is too long to be searched for",
        "search for a part of it",
    )
}

fn field(name: &Text, value: &Operand, now_us: i64) -> Result<Predicate, QueryError> {
    let column = schema::index_of(&name.text);
    check_name(&name.text, name.column, || {
        format!("to search for the text, write `\"{}:…\"` in quotes", name.text)
    })?;
    let on = |test: Test| match column {
        Some(column) => Predicate::Column(column, test),
        None => Predicate::Extra(name.text.clone(), test),
    };
    let kind = column.map(|column| COLUMNS[column].kind);
    let test_of = |text: &Text| -> Result<Test, QueryError> {
        if text.is_everything() {
            return Ok(Test::Exists);
        }
        if column.is_some_and(|column| PROSE.contains(&column)) {
            return contains(text).map(Test::Contains);
        }
        match kind {
            Some(Kind::Long) => number(text).map(|number| Test::Number(number, number)),
            Some(Kind::Time) => moment(text, now_us).map(|(first, last)| Test::Number(first, last)),
            Some(Kind::Ip) => address(text),
            Some(Kind::Text | Kind::List) | None => word(text, kind != Some(Kind::Text)),
        }
    };
    match value {
        Operand::Any(texts) => {
            let mut tests = texts.iter().map(test_of).collect::<Result<Vec<_>, _>>()?;
            match tests.len() {
                1 => Ok(on(tests.swap_remove(0))),
                _ => Ok(Predicate::Or(tests.into_iter().map(on).collect())),
            }
        }
        Operand::Range { low, high } => range(kind, low.as_ref(), high.as_ref(), now_us).map(on),
    }
}

/// Whether there may be a field of this name, which stands at `column` of a text: a query, statistics, or
/// a list of fields.
///
/// # Errors
/// There is no such field; the remedy names the nearest one.
pub fn check_field(name: &str, column: usize) -> Result<(), QueryError> {
    check_name(name, column, || "write the whole name of a field, such as `source.ip`".to_owned())
}

/// A field without a column may be anything that a rule or a configuration has named, so an unknown
/// name is refused only if it cannot be one, or is a known one mistyped.
/// `otherwise` is the remedy where the name is like no field's.
fn check_name(
    name: &str,
    column: usize,
    otherwise: impl FnOnce() -> String,
) -> Result<(), QueryError> {
    if schema::index_of(name).is_some() {
        return Ok(());
    }
    let near = nearest(name, COLUMNS.iter().map(|column| column.name));
    let mistyped = near.filter(|near| edit_distance(name, near) <= 1);
    let remedy = match (mistyped.or(near), name.contains('.')) {
        (Some(near), _) if mistyped.is_some() || !name.contains('.') => {
            format!("did you mean `{near}`?")
        }
        (_, true) => return Ok(()),
        _ => otherwise(),
    };
    Err(QueryError::new(column, format!("there is no field `{name}`"), remedy))
}

/// A word for a text: as it is written, or with wildcards. A network where the field is not known to
/// be something else.
fn word(text: &Text, may_be_network: bool) -> Result<Test, QueryError> {
    if let Some(pieces) = &text.pattern {
        return Glob::new(pieces).map(Test::Glob).ok_or_else(|| too_long(text));
    }
    let network = Network::parse(&text.text).filter(|_| may_be_network && text.text.contains('/'));
    Ok(network.map_or_else(|| Test::Equal(text.text.clone()), Test::Network))
}

fn address(text: &Text) -> Result<Test, QueryError> {
    match Network::parse(&text.text) {
        _ if text.pattern.is_some() => word(text, false),
        Some(network) => Ok(Test::Network(network)),
        None => Err(QueryError::new(
            text.column,
            format!("`{}` is no address", text.text),
            "write an address, a network such as `10.0.0.0/8`, or a pattern such as `10.1.*`",
        )),
    }
}

fn number(text: &Text) -> Result<i64, QueryError> {
    text.text.parse().map_err(|_| {
        QueryError::new(
            text.column,
            format!("`{}` is no whole number", text.text),
            "write digits, a comparison such as `>=500`, or a range such as `[500 to 599]`",
        )
    })
}

fn time(text: &Text, now_us: i64) -> Result<i64, QueryError> {
    parse_time(&text.text, now_us).ok_or_else(|| {
        QueryError::new(
            text.column,
            format!("`{}` is no time", text.text),
            "write one as `2026-11-28T10:00:00Z`, `2026-11-28`, or how long ago, as `15m`",
        )
    })
}

/// The first and the last microsecond of a time, or of a whole day.
fn moment(text: &Text, now_us: i64) -> Result<(i64, i64), QueryError> {
    let from = time(text, now_us)?;
    let is_day = parse_rfc3339(&format!("{}T00:00:00Z", text.text)).is_some();
    Ok((from, if is_day { from + DAY_US - 1 } else { from }))
}

type Bound<'a> = Option<&'a (Text, bool)>;

fn range(
    kind: Option<Kind>,
    low: Bound<'_>,
    high: Bound<'_>,
    now_us: i64,
) -> Result<Test, QueryError> {
    // A bound may be several numbers, the first and the last of them: it is in with all or with none.
    let whole = |parse: &dyn Fn(&Text) -> Result<(i64, i64), QueryError>| {
        let low = match low {
            Some((text, true)) => Some(parse(text)?.0),
            Some((text, false)) => parse(text)?.1.checked_add(1),
            None => Some(i64::MIN),
        };
        let high = match high {
            Some((text, true)) => Some(parse(text)?.1),
            Some((text, false)) => parse(text)?.0.checked_sub(1),
            None => Some(i64::MAX),
        };
        // Nothing is beyond the last number.
        let (low, high) = low.zip(high).unwrap_or((i64::MAX, i64::MIN));
        Ok(Test::Number(low, high))
    };
    let owned = |bound: Bound<'_>| bound.map(|(text, inclusive)| (text.text.clone(), *inclusive));
    match kind {
        Some(Kind::Long) => whole(&|text| number(text).map(|number| (number, number))),
        Some(Kind::Time) => whole(&|text| moment(text, now_us)),
        Some(Kind::Ip) => {
            for (text, _) in low.into_iter().chain(high) {
                address(text)?;
            }
            Ok(Test::Between(Bounds { low: owned(low), high: owned(high) }))
        }
        Some(Kind::Text | Kind::List) | None => {
            let decimal = |bound: Bound<'_>| match bound {
                Some((text, inclusive)) => {
                    text.text.parse().ok().map(|n: f64| Some((n, *inclusive)))
                }
                None => Some(None),
            };
            Ok(match (decimal(low), decimal(high)) {
                (Some(low), Some(high)) => Test::Decimal(Bounds { low, high }),
                _ => Test::Between(Bounds { low: owned(low), high: owned(high) }),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_within_a_range_as_a_whole_or_not_at_all() {
        let us = |text| parse_rfc3339(text).unwrap();
        let (day, next) = (us("2026-11-28T00:00:00Z"), us("2026-11-29T00:00:00Z"));
        for (query, low, high) in [
            ("@timestamp:2026-11-28", day, next - 1),
            ("@timestamp:[2026-11-27 to 2026-11-28]", day - DAY_US, next - 1),
            ("@timestamp:<=2026-11-28", i64::MIN, next - 1),
            ("@timestamp:<2026-11-28", i64::MIN, day - 1),
            ("@timestamp:>2026-11-28", next, i64::MAX),
            ("@timestamp:>=2026-11-28", day, i64::MAX),
            ("@timestamp:<=2026-11-29T00:00", i64::MIN, next),
            ("process.pid:[1 to 2]", 1, 2),
            ("process.pid:>1", 2, i64::MAX),
            ("process.pid:>9223372036854775807", i64::MAX, i64::MIN),
            ("process.pid:<-9223372036854775808", i64::MAX, i64::MIN),
        ] {
            let compiled = Query::parse(query).unwrap().predicate;
            let Predicate::Column(_, Test::Number(from, to)) = compiled else { panic!("{query}") };
            assert_eq!((from, to), (low, high), "{query}");
        }
    }

    #[test]
    fn what_a_field_cannot_be_is_refused_with_a_remedy() {
        for (query, column, message, remedy) in [
            ("user.nam:root", 1, "no field `user.nam`", "`user.name`"),
            ("x and host.anme:a", 7, "no field `host.anme`", "`host.name`"),
            ("http://x", 1, "no field `http`", "in quotes"),
            ("tag:x", 1, "no field `tag`", "`tags`"),
            ("source.ip:10.0.0.0/40", 11, "`10.0.0.0/40` is no address", "a network"),
            ("source.port:http", 13, "`http` is no whole number", "`[500 to 599]`"),
            ("@timestamp:>yesterday", 13, "`yesterday` is no time", "15m"),
            ("process.pid:[1 to x]", 19, "`x` is no whole number", "digits"),
        ] {
            let error = Query::parse(query).unwrap_err();
            assert_eq!(error.column, column, "{query}: {error}");
            assert!(error.message.contains(message), "{query}: {error}");
            assert!(error.remedy.contains(remedy), "{query}: {error}");
        }
        for query in
            ["labels.site:x", "file.hash.md5:x", "source.mac:x", "\"http://x\"", "server.ip:x"]
        {
            assert!(Query::parse(query).is_ok(), "{query}");
        }
    }
}
