//! Signed heads: at an interval the agent says, over its signature, how far each source had come in Kafka.
//!
//! The lines go through a spool of their own and so are a source like others: in order, each once, and
//! sealed if events are. A line says only what has changed since the one before it in this run; there is
//! one in every interval also when nothing has, so that their end tells something, too.

use crate::config::{Common, HeadsConfig, SpoolConfig};
use crate::source::spooled::SpoolTail;
use crate::source::{Context, SpoolSet};
use crate::spool::{Message, Settings, WhenFull, encode};
use crate::sync::lock;
use jiff::Timestamp;
use logweir_record::SourceId;
use logweir_signed::{HEAD_SOURCES_MAX, HEADS_INPUT, Heads};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kind of the source and the name of its spool.
pub(crate) const NAME: &str = HEADS_INPUT;

/// Days without Kafka. What does not fit then is not taken, and said again by the next line that does.
const SPOOL: Settings = Settings {
    bytes_max: 64 << 20,
    when_full: WhenFull::Block,
    disk_free_min: 64 << 20,
    sync_interval: Duration::from_secs(1),
    sync_bytes: 1 << 20,
};

/// The running source.
#[derive(Debug)]
pub(crate) struct HeadsSource {
    spools: Arc<SpoolSet>,
    /// Gone when the source is to end.
    running: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl HeadsSource {
    /// # Errors
    /// The spool cannot be opened.
    pub(crate) fn start(
        context: &Arc<Context>,
        spool_directory: &Path,
        config: HeadsConfig,
    ) -> io::Result<Self> {
        let spool = SpoolConfig { settings: SPOOL, shards: 1 };
        let name = (NAME, NAME);
        let spools = SpoolSet::open(context, spool_directory, name, &Common::default(), &spool)?;
        let spools = Arc::new(spools);
        let (running, stopped) = channel();
        let interval = config.interval;
        let mut signer = Signer {
            context: context.clone(),
            spools: spools.clone(),
            config,
            said: HashMap::new(),
            is_kept: true,
        };
        let thread = std::thread::Builder::new().name(NAME.into()).spawn(move || {
            signer.sign();
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(interval) {
                signer.sign();
            }
        })?;
        let (running, thread) = (Mutex::new(Some(running)), Mutex::new(Some(thread)));
        Ok(Self { spools, running, thread })
    }

    pub(crate) fn tails(&self) -> &[Arc<SpoolTail>] {
        self.spools.tails()
    }

    pub(crate) fn stop(&self) {
        drop(lock(&self.running).take());
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

struct Signer {
    context: Arc<Context>,
    spools: Arc<SpoolSet>,
    config: HeadsConfig,
    /// What the last line about each source said; of sources that the checkpoint knows.
    said: HashMap<SourceId, u64>,
    /// The last line was.
    is_kept: bool,
}

impl Signer {
    /// Appends the heads of this moment to the spool.
    fn sign(&mut self) {
        let ends = self.context.checkpoint.ends();
        let mut changed: Vec<(SourceId, u64)> =
            ends.iter().filter(|(id, end)| self.said.get(id) != Some(end)).copied().collect();
        changed.sort_unstable();
        let now = Timestamp::now();
        let (mut records, mut count) = (Vec::new(), 0);
        let mut rest = changed.as_slice();
        loop {
            let (some, more) = rest.split_at(rest.len().min(HEAD_SOURCES_MAX));
            let heads = Heads {
                agent: self.context.agent.id.clone(),
                at: now.to_string(),
                every_seconds: self.config.interval.as_secs(),
                ends: some.iter().map(|(id, end)| (id.to_string(), *end)).collect(),
            };
            match heads.sign(&self.config.key) {
                Ok(line) => {
                    let bytes = line.as_bytes();
                    let message = Message {
                        received_at: now,
                        original_bytes: None,
                        unterminated: false,
                        sender: b"",
                        bytes,
                    };
                    encode(&message, &mut records);
                    count += 1;
                }
                Err(error) => return tracing::error!(%error, "a head cannot be signed"),
            }
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        match self.spools.append(0, &records, count) {
            Ok(()) => {
                self.said = ends.into_iter().collect();
                self.is_kept = true;
            }
            Err(error) => {
                if self.is_kept {
                    tracing::warn!(
                        %error,
                        "signed heads are not kept; the first one that is says all of what they would have"
                    );
                }
                self.is_kept = false;
            }
        }
    }
}
