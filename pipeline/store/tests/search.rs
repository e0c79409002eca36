//! Search over a real table: what it finds, in which order, that pruning changes nothing but the
//! work, and the audit.

use logweir_record::SourceId;
use logweir_store::{
    CompactOptions, Event, Follower, Formatter, Order, PartitionWriter, Query, Row, SearchOptions,
    Stats, Table, TableOptions, Value, around, audit, compact, count, count_by, format_time,
    lost_files, search, stats,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

const MINUTE: i64 = 60_000_000;

fn now_us() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64
}

/// A table with one event per member list, a commit per `rows_per_commit` of them.
struct Sample {
    _directory: tempfile::TempDir,
    table: Arc<Table>,
}

fn sample(events: &[String], rows_per_commit: usize) -> Sample {
    let directory = tempfile::tempdir().unwrap();
    let location = format!("file://{}", directory.path().display());
    let table = Arc::new(Table::open_or_create(&location, TableOptions::default()).unwrap());
    let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
    let source = SourceId::derive(&[b"s"]);
    for (n, members) in events.iter().enumerate() {
        let payload =
            format!(r#"{{"logweir.source":"{source}","log.offset":{}{members}}}"#, n * 100);
        assert_eq!(writer.push(n as i64, payload.as_bytes()), logweir_store::Pushed::Stored);
        if (n + 1) % rows_per_commit == 0 {
            table.commit(vec![writer.seal().unwrap()]).unwrap();
        }
    }
    if writer.has_pending() {
        table.commit(vec![writer.seal().unwrap()]).unwrap();
    }
    Sample { _directory: directory, table }
}

fn found(table: &Table, query: &str, options: &SearchOptions) -> Vec<Row> {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut rows = Vec::new();
    search(table, &query, options, &mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

/// The numbers of the events that a query finds.
fn numbers(table: &Table, query: &str) -> BTreeSet<i64> {
    let options = SearchOptions { limit: 1000, ..SearchOptions::default() };
    found(table, query, &options)
        .iter()
        .map(|row| match row.get("log.offset") {
            Some(Value::Integer(offset)) => offset / 100,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn events() -> Vec<String> {
    let early = format_time(now_us() - 120 * MINUTE);
    [
        r#","source.ip":"10.1.2.3","user.name":"root","event.outcome":"failure","event.original":"Failed password for root""#.to_owned(),
        r#","source.ip":"192.0.2.1","user.name":"Admin","event.outcome":"success","event.original":"Accepted password""#.to_owned(),
        r#","source.ip":"fe80::1","user.name":"adm","tags":["a","b"],"message":"failed PASSWORD only here""#.to_owned(),
        r#","http.response.status_code":500,"url.path":"/a*b","related.ip":["10.9.9.9","::1"],"event.original":"GET /""#.to_owned(),
        r#","http.response.status_code":404,"labels.site":"Berlin","labels.rack":7,"labels.on":true,"event.original":"x""#.to_owned(),
        r#","source.ip":"::ffff:10.1.2.3","labels.site":["Paris","Rom"],"labels.ratio":0.5,"event.original":"über ÄRGER""#.to_owned(),
        format!(r#","event.original":"early","@timestamp":"{early}""#),
    ]
    .to_vec()
}

#[test]
fn queries_find_what_they_say() {
    let hour_ago = format!("@timestamp:<={}", format_time(now_us() - 60 * MINUTE));
    let rows: &[(&str, &[i64])] = &[
        ("", &[0, 1, 2, 3, 4, 5, 6]),
        ("source.ip:10.1.2.3", &[0, 5]),
        ("source.ip:10.0.0.0/8", &[0, 5]),
        (
            "source.ip:10.0.0.0/8 and event.outcome:failure and not user.name:Admin \"failed password\"",
            &[0],
        ),
        ("source.ip:fe80::/10", &[2]),
        ("source.ip:\"fe80:0::1\"", &[2]),
        ("source.ip:10.1.*", &[0]),
        ("source.ip:[10.0.0.0 to 10.255.255.255]", &[0, 5]),
        ("source.ip:*", &[0, 1, 2, 5]),
        ("not source.ip:*", &[3, 4, 6]),
        ("not user.name:root", &[1, 2, 3, 4, 5, 6]),
        ("user.name:root or user.name:adm", &[0, 2]),
        ("user.name:(root adm)", &[0, 2]),
        ("user.name:ROOT", &[]),
        ("user.name:adm*", &[1, 2]),
        ("user.name:ad?", &[2]),
        ("url.path:/a*b", &[3]),
        (r"url.path:/a\*b", &[3]),
        (r#"url.path:"/a*b""#, &[3]),
        (r#"url.path:"/a*""#, &[]),
        ("password", &[0, 1, 2]),
        ("\"FAILED password\"", &[0, 2]),
        ("password not root", &[1, 2]),
        ("pass*root", &[0]),
        ("ärger", &[5]),
        ("message:only", &[2]),
        ("event.original:PASSWORD", &[0, 1]),
        ("http.response.status_code:>=500", &[3]),
        ("http.response.status_code:<500", &[4]),
        ("http.response.status_code:[400 to 500]", &[3, 4]),
        ("http.response.status_code:[401 to *]", &[3, 4]),
        ("http.response.status_code:404", &[4]),
        ("tags:a", &[2]),
        ("tags:c", &[]),
        ("tags:*", &[2]),
        ("related.ip:10.0.0.0/8", &[3]),
        ("related.ip:\"::1\"", &[3]),
        ("labels.site:Berlin", &[4]),
        ("labels.site:Rom", &[5]),
        ("labels.site:*", &[4, 5]),
        ("labels.site:ber*", &[4]),
        ("labels.rack:7", &[4]),
        ("labels.rack:>6.5", &[4]),
        ("labels.ratio:<1", &[5]),
        ("labels.on:true", &[4]),
        ("labels.none:*", &[]),
        ("not labels.site:Berlin", &[0, 1, 2, 3, 5, 6]),
        (&hour_ago, &[6]),
        ("@timestamp:>1h", &[0, 1, 2, 3, 4, 5]),
        ("logweir.kafka_offset:3", &[3]),
        ("(user.name:root or user.name:Admin) and not (event.outcome:success or tags:a)", &[0]),
    ];
    // Events without a time have the time of their arrival; they are tagged.
    for rows_per_commit in [1, 3, 100] {
        let mut events = events();
        let stamp = format_time(now_us());
        for event in events.iter_mut().take(6) {
            event.push_str(&format!(r#","@timestamp":"{stamp}""#));
        }
        let sample = sample(&events, rows_per_commit);
        for (query, expected) in rows {
            assert_eq!(
                numbers(&sample.table, query),
                BTreeSet::from_iter(expected.iter().copied()),
                "{query}"
            );
            let parsed = Query::parse(query).unwrap();
            let counted = count(&sample.table, &parsed, &SearchOptions::default()).unwrap();
            assert_eq!(counted, expected.len() as u64, "{query}");
        }
    }
}

/// Many events of many values, in commits of shuffled times.
fn many() -> Vec<String> {
    let now = now_us();
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    (0..1000)
        .map(|_| {
            let time = format_time(now - 2 * 24 * 60 * MINUTE + (next(3000) as i64) * MINUTE / 2);
            format!(
                r#","@timestamp":"{time}","source.ip":"10.0.{}.{}","user.name":"u{}","host.name":"h{}","source.port":{},"event.original":"line {}""#,
                next(4), next(250), next(500), next(5), next(60000), next(100)
            )
        })
        .collect()
}

#[test]
fn pruning_and_threads_change_the_work_and_not_the_answer() {
    let sample = sample(&many(), 60);
    let table = &*sample.table;
    let now = now_us();
    let mut skipped = 0;
    for query in [
        "",
        "source.ip:10.0.1.7",
        "user.name:u17",
        "host.name:h3 line",
        "source.port:<50",
        "user.name:u1 or user.name:u2",
        "not host.name:h1",
        "user.name:nobody",
        "\"line 42\"",
        "source.ip:10.0.2.0/24 and user.name:u3*",
        "client.ip:*",
    ] {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            for (since, until) in
                [(None, None), (Some(now - 2000 * MINUTE), Some(now - 1900 * MINUTE))]
            {
                for limit in [7, 5000] {
                    let options =
                        SearchOptions { since, until, limit, order, ..Default::default() };
                    let plain = SearchOptions { prune: false, threads: 1, ..options.clone() };
                    let (mine, all) = (found(table, query, &options), found(table, query, &plain));
                    assert_eq!(mine, all, "{query} {options:?}");
                    let times: Vec<i64> = mine.iter().map(time_of).collect();
                    let sorted = match order {
                        Order::NewestFirst => times.is_sorted_by(|a, b| a >= b),
                        Order::OldestFirst => times.is_sorted(),
                    };
                    assert!(sorted, "{query} {options:?}");
                    let parsed = Query::parse(query).unwrap();
                    let summary =
                        search(table, &parsed, &options, &mut |_| ControlFlow::Continue(()))
                            .unwrap();
                    let total = count(table, &parsed, &options).unwrap();
                    assert_eq!(mine.len() as u64, total.min(limit as u64), "{query} {options:?}");
                    assert!(
                        summary.matched <= total && (!summary.exact || summary.matched == total)
                    );
                    skipped += summary.files_pruned;
                }
            }
        }
    }
    assert!(skipped > 100, "pruning skipped {skipped} files");
}

fn time_of(row: &Row) -> i64 {
    match row.get("@timestamp") {
        Some(Value::Timestamp(time)) => *time,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_comes_out_as_it_went_in() {
    let source = SourceId::derive(&[b"s"]).to_string();
    let time = format_time(now_us() / 1000 * 1000);
    let members = format!(
        r#","@timestamp":"{time}","event.category":["authentication"],"source.port":22,"message":"a\u001b\"\\","labels.x":{{"deep":[1,null]}},"labels.n":1.5,"labels.l":["p"],"process.pid":"007""#
    );
    let sample = sample(std::slice::from_ref(&members), 1);
    let mut out = Vec::new();
    let mut formatter = Formatter::new("json".parse().unwrap(), &[], false);
    for row in found(&sample.table, "", &SearchOptions::default()) {
        formatter.row(&mut out, &row).unwrap();
    }
    let mut event: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&out).unwrap();
    for own in ["event.ingested", "logweir.partition", "logweir.kafka_offset"] {
        assert!(event.remove(own).is_some(), "{own}");
    }
    let sent = format!(r#"{{"logweir.source":"{source}","log.offset":0{members}}}"#);
    let sent: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&sent).unwrap();
    assert_eq!(event, sent);
}

#[test]
fn chosen_columns_come_alone_and_from_the_rest_too() {
    let sample = sample(&events(), 100);
    let columns = vec!["labels.site".to_owned(), "http.response.status_code".to_owned()];
    let options = SearchOptions { columns, ..SearchOptions::default() };
    let rows = found(&sample.table, "labels.site:Berlin", &options);
    let names: Vec<&str> = rows[0].fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["http.response.status_code", "labels.site"]);
}

#[test]
fn rows_are_counted_by_the_values_of_any_field() {
    let sample = sample(&events(), 2);
    let by = |field: &str| {
        let all = Query::parse("").unwrap();
        let counts = count_by(&sample.table, &all, &SearchOptions::default(), field).unwrap();
        counts.iter().map(|(value, n)| format!("{value}={n}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(by("user.name"), "=4 Admin=1 adm=1 root=1");
    assert_eq!(by("http.response.status_code"), "=5 404=1 500=1");
    assert_eq!(by("labels.site"), "=5 Berlin=1 Paris=1 Rom=1");
    assert_eq!(by("related.ip"), "=6 10.9.9.9=1 ::1=1");
    assert_eq!(by("client.ip"), "=7");
}

/// What the statistics say, a line a row.
fn told(table: &Table, text: &str, every: Option<&str>, groups: usize) -> Vec<String> {
    let asked = Stats::parse(text, every).unwrap_or_else(|error| panic!("{text}: {error}"));
    let all = Query::parse("").unwrap();
    let answer = stats(table, &all, &SearchOptions::default(), &asked, groups).unwrap();
    let shown = |value: &Value| match value {
        Value::Text(text) | Value::Json(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Timestamp(time) => format_time(*time),
        Value::List(_) => unreachable!("no measure is a list"),
    };
    let line =
        |row: &Row| row.fields.iter().map(|(_, value)| shown(value)).collect::<Vec<_>>().join(" ");
    answer.rows.iter().map(line).collect()
}

#[test]
fn statistics_are_those_of_the_rows() {
    let sample = sample(&events(), 2);
    for (text, expected) in [
        ("count()", vec!["7"]),
        ("count(source.ip), distinct(source.ip), distinct(labels.site)", vec!["4 4 3"]),
        (
            "sum(http.response.status_code), min(http.response.status_code), max(http.response.status_code), avg(http.response.status_code)",
            vec!["904 404 500 452.0"],
        ),
        ("sum(labels.ratio), max(labels.rack)", vec!["0.5 7"]),
        (
            "count() by event.outcome, user.name",
            vec!["  4", " adm 1", "failure root 1", "success Admin 1"],
        ),
        ("max(log.offset) by related.ip", vec![" 600", "10.9.9.9 300", "::1 300"]),
        ("sum(source.port)", vec!["0"]),
    ] {
        assert_eq!(told(&sample.table, text, None, 100), expected, "{text}");
    }
    assert_eq!(told(&sample.table, "count() by user.name", None, 1), [" 4"]);
    assert_eq!(told(&sample.table, "count()", None, 0), ["7"], "a total is no group");
}

#[test]
fn intervals_without_events_are_told_too() {
    let at = |minute: i64| {
        format!(r#","@timestamp":"2026-01-01T10:{minute:02}:30Z","user.name":"u{minute}""#)
    };
    let sample = sample(&[at(0), at(4), at(21), at(22)], 2);
    let told = told(&sample.table, "count()", Some("5m"), 100);
    let expected: Vec<String> = [(0, 2), (5, 0), (10, 0), (15, 0), (20, 2)]
        .iter()
        .map(|(minute, count)| format!("2026-01-01T10:{minute:02}:00.000Z {count}"))
        .collect();
    assert_eq!(told, expected);
    let sample = self::sample(&[at(0), r#","@timestamp":"2026-01-01T13:00:00Z""#.to_owned()], 1);
    let asked = Stats::parse("count()", Some("1s")).unwrap();
    let all = Query::parse("").unwrap();
    let answer = stats(&sample.table, &all, &SearchOptions::default(), &asked, 100).unwrap();
    assert_eq!((answer.rows.len(), answer.intervals_left_out), (2, true));
}

fn offsets(rows: &[Row]) -> Vec<i64> {
    let offset = |row: &Row| match row.get("log.offset") {
        Some(Value::Integer(offset)) => *offset,
        other => panic!("{other:?}"),
    };
    rows.iter().map(offset).collect()
}

#[test]
fn the_neighbours_of_an_event_are_those_of_its_source_whatever_their_times() {
    let sample = sample(&events(), 2);
    let columns = ["log.offset".to_owned()];
    let near = |event: &str, count: (usize, usize)| {
        let mut rows = Vec::new();
        let event: Event = event.parse().unwrap();
        let found = around(&sample.table, event, count, &columns, &mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        });
        (found.unwrap(), offsets(&rows))
    };
    let source = SourceId::derive(&[b"s"]);
    assert_eq!(near(&format!("{source}:300"), (1, 2)), (true, vec![200, 300, 400, 500]));
    assert_eq!(near(&format!("{source}:600"), (2, 2)), (true, vec![400, 500, 600]));
    assert_eq!(near(&format!("{source}:250"), (1, 1)), (false, vec![200, 300]));
    assert_eq!(near(&format!("{}:0", SourceId::derive(&[b"t"])), (5, 5)), (false, vec![]));
    assert!("300".parse::<Event>().unwrap_err().contains("write `logweir.source`"));
}

#[test]
fn what_comes_is_followed_once_also_over_a_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().to_str().unwrap();
    let table = Arc::new(Table::open_or_create(location, TableOptions::default()).unwrap());
    let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
    let source = SourceId::derive(&[b"s"]);
    let mut push = |from: u64, to: u64| {
        for n in from..to {
            let user = if n % 2 == 0 { "even" } else { "odd" };
            let payload =
                format!(r#"{{"logweir.source":"{source}","log.offset":{n},"user.name":"{user}"}}"#);
            writer.push(n as i64, payload.as_bytes());
        }
        table.commit(vec![writer.seal().unwrap()]).unwrap();
    };
    push(0, 10);
    let reader = Table::open(location, TableOptions::default()).unwrap();
    let even = Query::parse("user.name:even").unwrap();
    let mut follower = Follower::new(&reader, even, vec!["log.offset".into()]).unwrap();
    let mut look = || {
        let mut rows = Vec::new();
        follower
            .look(&reader, &mut |row| {
                rows.push(row);
                ControlFlow::Continue(())
            })
            .unwrap();
        offsets(&rows)
    };
    assert!(look().is_empty(), "what was there before is not new");
    push(10, 14);
    push(14, 17);
    assert_eq!(look(), [10, 12, 14, 16]);
    push(17, 21);
    compact(&table, &CompactOptions::default()).unwrap();
    assert_eq!(look(), [18, 20], "in a file of their own or among the old ones");
    assert!(look().is_empty());
}

#[test]
fn another_group_that_begins_to_write_shows_its_own_events_only() {
    let sample = sample(&events(), 2);
    let all = Query::parse("").unwrap();
    let mut follower = Follower::new(&sample.table, all, vec!["log.offset".into()]).unwrap();
    let mut writer = PartitionWriter::open(sample.table.clone(), "other", "t", 0).unwrap();
    for n in 0..3 {
        let source = SourceId::derive(&[b"other"]);
        let payload = format!(r#"{{"logweir.source":"{source}","log.offset":{}}}"#, 7000 + n);
        writer.push(n, payload.as_bytes());
    }
    sample.table.commit(vec![writer.seal().unwrap()]).unwrap();
    let mut rows = Vec::new();
    let mut sink = |row| {
        rows.push(row);
        ControlFlow::Continue(())
    };
    follower.look(&sample.table, &mut sink).unwrap();
    follower.look(&sample.table, &mut sink).unwrap();
    assert_eq!(offsets(&rows), [7000, 7001, 7002]);
}

#[test]
fn a_compaction_of_another_groups_events_shows_none_of_them_again() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().to_str().unwrap();
    let table = Arc::new(Table::open_or_create(location, TableOptions::default()).unwrap());
    let push = |group: &str, kafka_offsets: std::ops::Range<i64>| {
        let mut writer = PartitionWriter::open(table.clone(), group, "t", 0).unwrap();
        let source = SourceId::derive(&[group.as_bytes()]);
        for n in kafka_offsets {
            let payload = format!(
                r#"{{"logweir.source":"{source}","log.offset":{n},"user.name":"{group}"}}"#
            );
            writer.push(n, payload.as_bytes());
        }
        table.commit(vec![writer.seal().unwrap()]).unwrap();
    };
    let join = || {
        let options = CompactOptions { files_min: 2, ..CompactOptions::default() };
        assert_eq!(compact(&table, &options).unwrap().files_after, 1);
    };
    (0..6).for_each(|nth| push("old", 10 * nth..10 * nth + 10));
    let mut follower = Follower::new(&table, Query::parse("").unwrap(), Vec::new()).unwrap();
    let mut look = || {
        let mut rows = Vec::new();
        let mut sink = |row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        follower.look(&table, &mut sink).unwrap();
        assert!(rows.iter().all(|row| row.get("user.name") == Some(&Value::Text("new".into()))));
        offsets(&rows)
    };
    push("new", 0..10);
    assert_eq!(look(), (0..10).collect::<Vec<_>>());
    // At rest, and at the same time as something new.
    join();
    assert!(look().is_empty());
    push("new", 10..20);
    assert_eq!(look(), (10..20).collect::<Vec<_>>());
    join();
    push("new", 20..30);
    assert_eq!(look(), (20..30).collect::<Vec<_>>());
    assert!(look().is_empty());
}

#[test]
fn events_of_the_same_time_are_in_the_order_of_their_arrival_also_after_a_compaction() {
    let same = r#","@timestamp":"2026-01-01T00:00:00Z""#.to_owned();
    let sample = sample(&vec![same; 6], 2);
    let shown = |order, limit| {
        let options = SearchOptions { limit, order, ..SearchOptions::default() };
        offsets(&found(&sample.table, "", &options))
    };
    for _ in 0..2 {
        assert_eq!(shown(Order::NewestFirst, 100), [500, 400, 300, 200, 100, 0]);
        assert_eq!(shown(Order::NewestFirst, 1), [500]);
        assert_eq!(shown(Order::OldestFirst, 3), [0, 100, 200]);
        compact(&sample.table, &CompactOptions::default()).unwrap();
    }
}

#[test]
fn the_sink_can_stop() {
    let sample = sample(&events(), 2);
    let mut seen = 0;
    let query = Query::parse("").unwrap();
    let summary = search(&sample.table, &query, &SearchOptions::default(), &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!((seen, summary.shown), (1, 1));
}

#[test]
fn files_that_are_gone_or_cut_are_named() {
    let sample = sample(&events(), 2);
    assert_eq!(lost_files(&sample.table).unwrap(), []);
    let root = sample._directory.path();
    let of_name = |path: std::path::PathBuf, start: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(start)).collect()
    };
    let folders = of_name(root.to_owned(), "date=").into_iter();
    let mut files: Vec<_> = folders.flat_map(|folder| of_name(folder, "")).collect();
    files.sort();
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::File::options().write(true).open(&files[1]).unwrap().set_len(3).unwrap();
    let relative =
        |path: &std::path::Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let mut lost = lost_files(&sample.table).unwrap();
    lost.sort_by(|a, b| a.path.cmp(&b.path));
    let told: Vec<_> = lost.into_iter().map(|file| (file.path, file.found)).collect();
    assert_eq!(told, [(relative(&files[0]), None), (relative(&files[1]), Some(3))]);
}

#[test]
fn the_audit_names_what_is_missing_and_what_came_twice() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().to_str().unwrap();
    let table = Arc::new(Table::open_or_create(location, TableOptions::default()).unwrap());
    let mut writer = PartitionWriter::open(table.clone(), "g", "t", 3).unwrap();
    let source = SourceId::derive(&[b"s"]);
    let events = [(0, None), (10, Some(0)), (40, Some(30)), (10, Some(0)), (50, Some(40))];
    for (at, (offset, prev)) in events.iter().enumerate() {
        let prev = prev.map(|prev: u64| format!(r#","logweir.prev":{prev}"#)).unwrap_or_default();
        let payload = format!(
            r#"{{"logweir.source":"{source}","agent.name":"web1","log.file.path":"/var/log/a","log.offset":{offset},"event.original":"123456789"{prev}}}"#
        );
        writer.push(at as i64, payload.as_bytes());
    }
    assert!(audit(&table, None, None).unwrap().sources.is_empty(), "nothing is committed yet");
    table.commit(vec![writer.seal().unwrap()]).unwrap();
    let reader = Table::open(location, TableOptions::default()).unwrap();
    let audits = audit(&reader, Some("g"), Some("t")).unwrap();
    assert_eq!((audits.sources.len(), audits.rows), (1, Some(4)));
    let audit_of = &audits.sources[0];
    assert_eq!(
        (audit_of.host.as_str(), audit_of.path.as_str(), audit_of.partition),
        ("web1", "/var/log/a", 3)
    );
    assert_eq!((audit_of.received, audit_of.rows, audit_of.duplicates), (5, 4, 1));
    assert_eq!((audit_of.high_water, audit_of.is_complete()), (50, false));
    let gaps: Vec<_> =
        audit_of.gaps.iter().map(|gap| (gap.after, gap.from, gap.until, gap.last)).collect();
    assert_eq!(gaps, [(Some(10), 20, 40, 30)]);
    assert!(audit(&reader, Some("other"), None).unwrap().sources.is_empty());
}

#[test]
fn the_ledger_keeps_the_newest_day_under_which_a_source_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().to_str().unwrap();
    let table = Arc::new(Table::open_or_create(location, TableOptions::default()).unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_us = now.as_micros() as i64;
    let hour_us = 3_600_000_000;
    // Ages in hours: what is read late keeps its day, what cannot be true has that of its arrival.
    let ages = [(48, 48), (24 * 365, 0), (-24 * 365, 0)];
    let mut writer = PartitionWriter::open(table.clone(), "g", "t", 0).unwrap();
    for (at, (age, _)) in ages.iter().enumerate() {
        let source = SourceId::derive(&[&at.to_le_bytes()]);
        let time = format_time(now_us - age * hour_us);
        let payload =
            format!(r#"{{"@timestamp":"{time}","logweir.source":"{source}","log.offset":0}}"#);
        writer.push(at as i64, payload.as_bytes());
    }
    table.commit(vec![writer.seal().unwrap()]).unwrap();
    let kept = |table: &Table| {
        ages.iter()
            .enumerate()
            .map(|(at, _)| {
                let id = SourceId::derive(&[&at.to_le_bytes()]);
                let sources = audit(table, None, None).unwrap().sources;
                sources.into_iter().find(|source| source.source == id).unwrap().newest_day
            })
            .collect::<Vec<_>>()
    };
    let day = |age: i64| Some(format_time(now_us - age * hour_us)[..10].to_owned());
    let days: Vec<_> = ages.iter().map(|(_, stored)| day(*stored)).collect();
    assert_eq!(kept(&table), days);
    std::fs::remove_dir_all(directory.path().join("_logweir")).unwrap();
    assert_eq!(kept(&table), days, "made anew from the rows");
}

#[test]
fn there_is_no_table_where_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let error =
        Table::open(directory.path().to_str().unwrap(), TableOptions::default()).unwrap_err();
    assert!(error.to_string().contains("there is no table in"), "{error}");
}
