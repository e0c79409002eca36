//! What the lines of each pack cost, the dearest first.

use super::mix::samples;
use super::{RECEIVED_UNIX_NANOS, context, engine_for, measure_for};
use logweir_parsers::time::TimeContext;
use logweir_parsers::{Parser, RuleSet, Zone, header};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// There are a hundred packs.
const MEASURE: Duration = Duration::from_millis(60);

struct Row {
    name: String,
    lines: usize,
    bytes: usize,
    nanos: f64,
    /// Of these, for the header.
    header: f64,
    /// Rules that were tried for a line, those that matched included.
    tried: f64,
}

/// Prints for the sample lines of each pack: how many, their length, nanoseconds per line, those of
/// them that the header takes, and how many rules are tried.
pub(super) fn table(shipped: &Arc<RuleSet>) {
    let mut of_packs: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    for (pack, line) in samples(shipped) {
        of_packs.entry(pack).or_default().push(line);
    }
    let mut parser = Parser::new(shipped.clone());
    let mut rows: Vec<Row> =
        of_packs.iter().map(|(pack, lines)| row(&mut parser, *pack, lines)).collect();
    rows.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
    println!(
        "{:<24} {:>6} {:>6} {:>9} {:>7} {:>6}",
        "pack", "lines", "bytes", "ns/line", "header", "tried"
    );
    for row in rows {
        println!(
            "{:<24} {:>6} {:>6} {:>9.0} {:>7.0} {:>6.1}",
            row.name, row.lines, row.bytes, row.nanos, row.header, row.tried
        );
    }
}

fn row(parser: &mut Parser, pack: usize, lines: &[Vec<u8>]) -> Row {
    let zone = Zone::utc();
    let context = context(&zone);
    let time = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
    let mut memo = header::Memo::default();
    let header = measure_for(MEASURE / 4, lines, |lines| {
        for line in lines {
            black_box(header::parse_with(line, &time, &mut memo));
        }
    });
    let mut out = Vec::new();
    let tried: usize = lines
        .iter()
        .map(|line| {
            out.clear();
            parser.explain(line, &context, &mut out).attempts.len()
        })
        .sum();
    Row {
        name: parser.rules().pack(pack).0.to_owned(),
        lines: lines.len(),
        bytes: lines.iter().map(Vec::len).sum::<usize>() / lines.len(),
        nanos: engine_for(MEASURE, parser, lines),
        header,
        tried: tried as f64 / lines.len() as f64,
    }
}
