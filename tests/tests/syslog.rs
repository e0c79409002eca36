//! Syslog from the network, as devices send it.

use logweir_tests::{
    AgentConfig, Broker, DEADLINE, Delivery, Topic, directory, free_address, line, wait, wait_until,
};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

const MESSAGES: usize = 3_000;

/// A pipeline that listens at the address; with its broker.
fn listening(directory: &Path) -> (Broker, SocketAddr, Delivery) {
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "syslog", 4);
    let address = free_address();
    let mut delivery =
        Delivery::stopped(directory, &topic, &AgentConfig::of_syslog(&topic, address));
    delivery.start();
    (broker, address, delivery)
}

/// A message of RFC 3164 without a line end.
fn message(name: &str, number: usize) -> String {
    format!("<13>{}", line(name, number).trim_end())
}

fn connect(address: SocketAddr) -> TcpStream {
    wait("the agent to listen", DEADLINE, || TcpStream::connect(address).ok())
}

#[test]
fn datagrams_arrive() {
    let directory = directory();
    let (_broker, address, delivery) = listening(directory.path());
    drop(connect(address));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Never more under way than the smallest socket buffer holds: UDP has no other promise.
    for number in 0..MESSAGES {
        if number % 100 == 0 {
            wait_until("the datagrams so far", || delivery.topic.records() >= Some(number));
        }
        socket.send_to(message("udp", number).as_bytes(), address).unwrap();
    }
    delivery.assert_complete(&[("udp", MESSAGES)]);
}

#[test]
fn streams_of_both_framings_arrive() {
    let directory = directory();
    let (_broker, address, delivery) = listening(directory.path());
    let mut by_newline = connect(address);
    let mut by_count = connect(address);
    for number in 0..MESSAGES {
        by_newline.write_all(format!("{}\n", message("newline", number)).as_bytes()).unwrap();
        let counted = message("counted", number);
        by_count.write_all(format!("{} {counted}", counted.len()).as_bytes()).unwrap();
    }
    drop((by_newline, by_count));
    delivery.assert_complete(&[("newline", MESSAGES), ("counted", MESSAGES)]);
}

#[test]
fn a_message_of_rfc_5424_has_its_fields() {
    let directory = directory();
    let (_broker, address, delivery) = listening(directory.path());
    let text = "<34>1 2026-11-28T01:02:03.004Z mail.example su 77 ID47 - 'su root' failed";
    connect(address).write_all(format!("{text}\n").as_bytes()).unwrap();
    wait_until("the message in the topic", || delivery.topic.records() == Some(1));
    delivery.agent.assert_delivered(1);
    let event = &delivery.topic.events()[0];
    assert_eq!(event.text("@timestamp"), "2026-11-28T01:02:03.004Z");
    assert_eq!(event.text("event.original"), text);
    assert!(event.text("log.source.address").starts_with("127.0.0.1"), "{}", event.json);
}
