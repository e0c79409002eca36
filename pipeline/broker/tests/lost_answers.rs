//! Answers that are lost on their way: the producer sends again, and nothing is stored twice.
//!
//! Clients reach the broker through a proxy on another loopback address, which the broker tells them.
//! The proxy takes an answer from the broker now and then and ends the connection instead of passing
//! it on, so batches have been stored of which the producer does not know.

mod common;

use common::{config, create, producer, read, send};
use logweir_broker::Broker;
use rdkafka::producer::Producer;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const MESSAGES: u64 = 20_000;
/// Answers that pass on each connection before one is lost: enough to begin to produce.
const ANSWERS_PASSED: u32 = 12;
const CUTS: u32 = 10;

/// Takes connections on `listener` for ever and passes them on to `broker`.
fn proxy(listener: TcpListener, broker: SocketAddr, cuts: Arc<AtomicU32>) {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(broker)) else { return };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = io::copy(&mut &from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let cuts = Arc::clone(&cuts);
            std::thread::spawn(move || {
                let _ = pass_answers(&server, &client, &cuts);
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
}

fn pass_answers(
    mut server: &TcpStream,
    mut client: &TcpStream,
    cuts: &AtomicU32,
) -> io::Result<()> {
    for passed in 0.. {
        let mut answer = vec![0; 4];
        server.read_exact(&mut answer)?;
        let length = u32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]);
        answer.resize(4 + length as usize, 0);
        server.read_exact(&mut answer[4..])?;
        if passed == ANSWERS_PASSED && cuts.fetch_add(1, Ordering::Relaxed) < CUTS {
            return Ok(());
        }
        client.write_all(&answer)?;
    }
    Ok(())
}

#[test]
fn a_batch_whose_acknowledgement_is_lost_is_not_stored_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.advertised_host = Some("127.0.0.2".into());
    let broker = Broker::start(config).unwrap();
    let reached = SocketAddr::from(([127, 0, 0, 2], broker.address().port()));
    let cuts = Arc::new(AtomicU32::new(0));
    proxy(TcpListener::bind(reached).unwrap(), broker.address(), Arc::clone(&cuts));
    create(broker.address(), "kept", 1);
    let settings = [
        ("enable.idempotence", "true"),
        ("batch.num.messages", "20"),
        ("linger.ms", "1"),
        ("delivery.timeout.ms", "600000"),
        ("reconnect.backoff.ms", "1"),
        ("reconnect.backoff.max.ms", "10"),
        ("retry.backoff.ms", "1"),
        ("log_level", "0"),
    ];
    let (producer, acknowledged) = producer(reached, &settings);
    for number in 0..MESSAGES {
        send(&producer, "kept", 0, &number.to_string());
    }
    producer.flush(common::DEADLINE).unwrap();
    assert_eq!(acknowledged.faults(), Vec::<String>::new());
    assert!(cuts.load(Ordering::Relaxed) >= CUTS);
    assert_eq!(broker.topics()[0].partitions[0].end_offset, MESSAGES as i64);
    let expected: Vec<_> = (0..MESSAGES).map(|number| (number as i64, number)).collect();
    assert!(read(broker.address(), "kept", 0, 0, MESSAGES) == expected);
    broker.shutdown();
}
