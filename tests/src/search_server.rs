//! A server that speaks as much of OpenSearch's `_bulk` as the sink needs, and answers as a test wants:
//! too busy at first, and with a refusal for events that name a word.

use crate::free_address;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module's description.
#[derive(Debug, Clone)]
pub struct SearchServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    refused_word: String,
    /// So many whole requests are answered with 429.
    busy: usize,
    documents: BTreeMap<String, Value>,
    /// By the id of the event: how often it was sent.
    sent: BTreeMap<String, usize>,
}

impl SearchServer {
    /// Is busy for the first `busy` requests, and then for every third event the first time that it comes;
    /// refuses events whose line has `refused_word`.
    ///
    /// # Panics
    /// No port is free.
    #[must_use]
    pub fn start(busy: usize, refused_word: &str) -> Self {
        Self::start_at(free_address(), busy, refused_word)
    }

    /// The same at an address where nobody was before.
    ///
    /// # Panics
    /// Somebody is.
    #[must_use]
    pub fn start_at(address: SocketAddr, busy: usize, refused_word: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let state = State { refused_word: refused_word.into(), busy, ..State::default() };
        let server = Self { address, state: Arc::new(Mutex::new(state)) };
        let serving = server.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&client));
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events that it has, each once.
    #[must_use]
    pub fn documents(&self) -> Vec<Value> {
        self.state().documents.values().cloned().collect()
    }

    /// How often the event that was sent most often was sent.
    #[must_use]
    pub fn sent_most(&self) -> usize {
        self.state().sent.values().copied().max().unwrap_or(0)
    }

    fn serve(&self, client: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client);
        loop {
            let (mut request, mut length) = (String::new(), 0);
            reader.read_line(&mut request).ok().filter(|bytes| *bytes > 0)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let line = line.trim().to_ascii_lowercase();
                if let Some(bytes) = line.strip_prefix("content-length:") {
                    length = bytes.trim().parse().ok()?;
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let (status, answer) = if request.contains("/_bulk ") {
                self.state().bulk(&String::from_utf8(body).ok()?)
            } else {
                (200, json!({"acknowledged": true}))
            };
            let answer = answer.to_string();
            let head = format!("HTTP/1.1 {status} .\r\ncontent-length: {}\r\n\r\n", answer.len());
            let mut client = client;
            client.write_all((head + &answer).as_bytes()).ok()?;
        }
    }
}

impl State {
    fn bulk(&mut self, body: &str) -> (u16, Value) {
        if self.busy > 0 {
            self.busy -= 1;
            return (429, json!({"error": "circuit_breaking_exception"}));
        }
        let mut items = Vec::new();
        let mut lines = body.lines();
        while let (Some(action), Some(document)) = (lines.next(), lines.next()) {
            let action: Value = serde_json::from_str(action).expect("an action is JSON");
            let id = action["create"]["_id"].as_str().expect("an action has an id").to_owned();
            let sent = self.sent.entry(id.clone()).or_default();
            *sent += 1;
            let create = if document.contains(&self.refused_word) {
                json!({"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "object mapping"}})
            } else if *sent == 1 && items.len() % 3 == 2 {
                json!({"status": 429, "error": {"type": "rejected", "reason": "queue is full"}})
            } else if let Entry::Vacant(place) = self.documents.entry(id) {
                place.insert(serde_json::from_str(document).expect("an event is JSON"));
                json!({"status": 201})
            } else {
                json!({"status": 409, "error": {"type": "version_conflict"}})
            };
            items.push(json!({"create": create}));
        }
        (200, json!({"errors": true, "items": items}))
    }
}
