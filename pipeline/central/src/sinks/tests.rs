//! What a sink makes of a server's answers.

use super::bulk::Bulk;
use super::clickhouse::ClickHouse;
use super::http::Client;
use super::{Held, Origin, Sink, SinkRecord};
use openssl::ssl::{SslAcceptor, SslMethod};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

/// Reads a request; its body.
fn request(stream: &mut impl Read) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

fn answer(stream: &mut impl Write, status: u16, body: &str) {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} .\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
}

/// A server that gives these answers, one a connection, and tells the bodies that it got.
fn server(answers: &[(u16, &str)]) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<(u16, String)> =
        answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = tell.send(request(&mut stream).unwrap_or_default());
            answer(&mut stream, status, &body);
        }
    });
    (address, told)
}

fn client(address: SocketAddr) -> Client {
    Client::new(&[format!("http://{address}")], None, None).unwrap()
}

fn clickhouse(client: Client) -> ClickHouse {
    ClickHouse::new(client, Origin { group: "g".into(), topic: "e".into() }, "d".into(), "t".into())
}

fn events(count: i64) -> Vec<SinkRecord> {
    let event = |offset| {
        SinkRecord {
        partition: 0,
        offset,
        payload: format!(
            r#"{{"@timestamp":"2026-11-28T00:00:00Z","logweir.source":"{:032x}","log.offset":{offset},"message":"event {offset}"}}"#,
            7
        )
        .into_bytes(),
    }
    };
    (0..count).map(event).collect()
}

#[test]
fn each_event_of_a_request_is_judged_alone() {
    let first = r#"{"items":[{"create":{"status":201}},{"create":{"status":429}},
        {"create":{"status":409}},{"create":{"status":403}},
        {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"no object"}}}]}"#;
    let second = r#"{"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#;
    let (address, told) = server(&[(200, first), (200, second)]);
    let refused = Bulk::new(client(address), "s".into()).write(&events(5)).unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].index, 4);
    assert_eq!(
        refused[0].reason,
        "refused by `s`: status 400, mapper_parsing_exception: no object"
    );
    assert_eq!(told.recv().unwrap().lines().count(), 10);
    let again = told.recv().unwrap();
    assert!(again.contains("event 1") && again.contains("event 3"), "{again}");
    assert_eq!(again.lines().count(), 4, "what was taken or refused is not sent again: {again}");
}

/// How many events each of the requests had.
fn counts(told: &Receiver<String>) -> Vec<usize> {
    told.iter().map(|body| body.matches("event ").count()).collect()
}

#[test]
fn an_event_that_clickhouse_refuses_is_found_by_halves_and_the_rest_is_written() {
    let (yes, no) = ((200, ""), (400, "Cannot parse"));
    let (address, told) = server(&[no, yes, no, yes, no, no, yes]);
    let refused = clickhouse(client(address)).write(&events(5)).unwrap();
    assert_eq!(counts(&told), [5, 2, 3, 1, 2, 1, 1]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].index, 3);
    assert_eq!(refused[0].reason, "refused by `d`.`t`, status 400: Cannot parse");
    for status in [401, 403, 404, 408, 429, 500, 503] {
        let (address, _told) = server(&[(status, "")]);
        assert!(clickhouse(client(address)).write(&events(2)).is_err(), "{status}");
    }
}

#[test]
fn a_request_that_is_too_large_for_the_server_is_sent_in_halves() {
    let one = (200, r#"{"items":[{"create":{"status":201}}]}"#);
    let (address, told) = server(&[(413, ""), one, (413, ""), one, (413, "proxy")]);
    let refused = Bulk::new(client(address), "s".into()).write(&events(3)).unwrap();
    assert_eq!(counts(&told), [3, 1, 2, 1, 1]);
    assert_eq!((refused.len(), refused[0].index), (1, 2));
    assert_eq!(refused[0].reason, "too large for `s`, status 413: proxy");
}

#[test]
fn clickhouse_tells_how_far_it_is_and_which_columns_its_table_lacks() {
    let source = format!("{:032x}", 7);
    let (address, _told) = server(&[(200, ""), (200, &format!("41\t{source}\t26\n"))]);
    let mut sink = clickhouse(client(address));
    assert_eq!(sink.position(0).unwrap(), None);
    let last = Some(format!("{source}-1a"));
    assert_eq!(sink.position(0).unwrap(), Some(Held { next: 42, last, own: true }));
    let (address, _told) = server(&[(200, ""), (200, "timestamp\tString\n"), (403, "who?")]);
    let error = clickhouse(client(address)).prepare().unwrap_err().to_string();
    assert!(error.contains("`ALTER TABLE `d`.`t` ADD COLUMN IF NOT EXISTS"), "{error}");
    assert!(error.contains("`logweir_topic` LowCardinality(String)` was refused"), "{error}");
    assert!(!error.contains("`timestamp`"), "{error}");
}

#[test]
fn a_server_that_is_too_busy_or_answers_nonsense_gets_the_whole_batch_again_later() {
    for (status, body, said) in [
        (429, "slow down", "`_bulk` was refused, status 429: slow down"),
        (503, "", "`_bulk` was refused, status 503"),
        (401, "who are you", "status 401: who are you"),
        (200, "<html>", "the answer to `_bulk` cannot be read"),
        (200, r#"{"items":[]}"#, "0 answers to 2 events"),
        (302, "", "status 302"),
    ] {
        let (address, _told) = server(&[(status, body)]);
        let error = Bulk::new(client(address), "s".into()).write(&events(2)).unwrap_err();
        assert!(error.to_string().contains(said), "{status} {body}: {error}");
    }
}

#[test]
fn the_next_server_is_asked_after_a_failure() {
    let (broken, _told) = server(&[(500, "")]);
    let (well, told) = server(&[(200, "")]);
    let urls = [format!("http://{broken}"), format!("http://{well}")];
    let client = Client::new(&urls, None, None).unwrap();
    let mut sink = clickhouse(client);
    assert!(sink.write(&events(3)).unwrap_err().to_string().contains("status 500"));
    assert_eq!(sink.write(&events(3)).unwrap(), []);
    assert_eq!(told.recv().unwrap().lines().count(), 3);
}

/// A certificate for 127.0.0.1 that signs itself, and its key, as PEM files in the directory.
fn certificate(directory: &std::path::Path, name: &str) -> [std::path::PathBuf; 2] {
    let [key, certificate] = ["key", "pem"].map(|end| directory.join(format!("{name}.{end}")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [key, certificate]
}

#[test]
fn a_server_whose_certificate_is_not_trusted_gets_no_event() {
    let temporary = tempfile::tempdir().unwrap();
    let [key, own] = certificate(temporary.path(), "own");
    let [_, other] = certificate(temporary.path(), "other");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_private_key_file(key, openssl::ssl::SslFiletype::PEM).unwrap();
    acceptor.set_certificate_chain_file(&own).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let Some(body) = request(&mut stream) else { continue };
            answer(&mut stream, 200, r#"{"items":[{"create":{"status":201}}]}"#);
            let _ = tell.send(body);
        }
    });
    let sink = |ca: Option<&std::path::Path>| {
        let ca = ca.map(|path| std::fs::read(path).unwrap());
        let client = Client::new(&[format!("https://{address}")], None, ca.as_deref()).unwrap();
        Bulk::new(client, "s".into())
    };
    for ca in [None, Some(other.as_path())] {
        let error = sink(ca).write(&events(1)).unwrap_err();
        assert!(error.to_string().contains("certificate verify failed"), "{error}");
    }
    assert_eq!(sink(Some(&own)).write(&events(1)).unwrap(), []);
    assert!(told.recv().unwrap().contains("event 0"));
    assert!(told.try_recv().is_err(), "only the server that is trusted got the event");
}
