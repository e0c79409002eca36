//! The keeper: makes producers, offers the one that works as the link, replaces those that broke.

use super::courier::Link;
use super::listener::Listener;
use super::shared::{KafkaState, Shared};
use super::shares::Shares;
use crate::sync::{lock, read};
use logweir_kafka::producer::{Producer, ProducerError};
use logweir_kafka::properties::{FileStamps, Properties};
use logweir_kafka::trouble::Explanation;
use logweir_record::TOPIC_DEAD_LETTER;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one question about the cluster may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait between two questions while there is no answer.
const METADATA_RETRY: Duration = Duration::from_millis(500);
/// How often the files of certificates and secrets are looked at.
const FILES_LOOK: Duration = Duration::from_secs(2);
/// How long a producer that is replaced for changed files may take to send what it has.
const REPLACE_GRACE: Duration = Duration::from_secs(5);
/// How often the topic's partitions are counted again.
const PARTITIONS_RECHECK: Duration = Duration::from_secs(60);
/// Between two attempts with a new producer after failures, doubling from the first to the second.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The courier's thread: makes producers and replaces those that broke.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    properties: Properties,
    topic: String,
    /// The files as they were when the producer was made, and when they were last looked at.
    files: FileStamps,
    looked: Instant,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, properties: Properties, topic: String) -> Self {
        let files = properties.file_stamps();
        Self { shared, properties, topic, files, looked: Instant::now() }
    }

    pub(super) fn create(&mut self) -> Result<(Producer, Arc<Listener>), ProducerError> {
        let generation = self.shared.generation.load(Ordering::Relaxed) + 1;
        let batch_bytes = self.shared.batch_bytes.load(Ordering::Relaxed);
        let listener = Arc::new(Listener {
            open: Arc::default(),
            shares: Arc::new(Shares::new(&self.properties)),
            shared: self.shared.clone(),
            topic: self.topic.clone(),
            generation,
            frozen: AtomicBool::new(false),
            batch_bytes,
            shrunk: AtomicBool::new(false),
        });
        self.files = self.properties.file_stamps();
        let mut properties = self.properties.refreshed();
        properties.set("batch.size", &batch_bytes.to_string());
        let producer = Producer::create(&properties, listener.clone())?;
        self.shared.generation.store(generation, Ordering::Release);
        Ok((producer, listener))
    }

    pub(super) fn run(mut self, first: (Producer, Arc<Listener>)) {
        let mut next = Some(first);
        let (mut pause, pause_max) = RESTART_PAUSE;
        while !self.stopped() {
            let Some((producer, listener)) = next.take().or_else(|| self.create_or_wait()) else {
                continue;
            };
            let before = self.shared.acknowledged.load(Ordering::Relaxed);
            self.serve(producer, &listener);
            if self.stopped() {
                return;
            }
            if self.files_changed() {
                tracing::info!("certificates or secrets have changed; they are taken up");
                pause = RESTART_PAUSE.0;
                continue;
            }
            self.shared.restarts.fetch_add(1, Ordering::Relaxed);
            if self.shared.acknowledged.load(Ordering::Relaxed) > before {
                pause = RESTART_PAUSE.0;
            }
            self.shared.pause(pause);
            pause = (pause * 2).min(pause_max);
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn create_or_wait(&mut self) -> Option<(Producer, Arc<Listener>)> {
        self.create()
            .inspect_err(|error| {
                self.shared.tell(&error.to_string());
                self.shared.pause(FILES_LOOK);
            })
            .ok()
    }

    /// Whether the files are others than those that the producer was made with.
    fn files_changed(&self) -> bool {
        self.properties.file_stamps() != self.files
    }

    /// The same, looked at now and then.
    fn files_seen_changed(&mut self) -> bool {
        if self.looked.elapsed() < FILES_LOOK {
            return false;
        }
        self.looked = Instant::now();
        self.files_changed()
    }

    /// Offers the producer as the link until it breaks or the courier stops.
    fn serve(&mut self, producer: Producer, listener: &Listener) {
        let Some(partitions) = self.partitions(&producer) else { return };
        let generation = listener.generation;
        let (open, shares) = (listener.open.clone(), listener.shares.clone());
        let link = Arc::new(Link { producer, generation, partitions, open, shares });
        for lane in read(&self.shared.lanes).values() {
            lane.settle(generation);
        }
        *lock(&self.shared.link) = Some(link.clone());
        self.shared.changed.notify_all();
        self.look_for_dead_letters(&link.producer);
        self.watch(&link);
        if !self.stopped() {
            *lock(&self.shared.link) = None;
            if !link.producer.is_broken() {
                let _ = link.producer.flush(REPLACE_GRACE);
            }
            listener.frozen.store(true, Ordering::Release);
            link.producer.abandon();
        }
    }

    /// Asks for the topic until it is there.
    fn partitions(&mut self, producer: &Producer) -> Option<u32> {
        while !self.stopped() && !producer.is_broken() && !self.files_seen_changed() {
            match producer.partitions(&self.topic, METADATA_TIMEOUT) {
                Ok(Some(partitions)) => {
                    if !self.shared.write_refused.load(Ordering::Relaxed) {
                        self.shared.enter_up(&self.topic);
                    }
                    return Some(partitions);
                }
                Ok(None) => {
                    let reason = format!("there is no topic {}", self.topic);
                    let remedy =
                        format!("create it with `logweir topics create --topic {}`", self.topic);
                    let why = Explanation { reason, remedy };
                    self.shared.enter_down(KafkaState::TopicMissing, &self.topic, &why);
                }
                Err(ProducerError::Forbidden) => self.shared.enter_forbidden(&self.topic),
                Err(error) => self.unreachable(&error),
            }
            self.shared.pause(METADATA_RETRY);
        }
        None
    }

    /// Tells if what Kafka does not take could not be kept, before there is anything that it does not take:
    /// the source that it is from stands still then.
    fn look_for_dead_letters(&self, producer: &Producer) {
        if matches!(producer.partitions(TOPIC_DEAD_LETTER, METADATA_TIMEOUT), Ok(None)) {
            tracing::warn!(
                topic = TOPIC_DEAD_LETTER,
                help = "create it with `logweir topics create`",
                "there is no topic for what Kafka does not take; a source that has such a line will wait for it"
            );
        }
    }

    /// What the client said about its connections tells more than that there was no answer.
    fn unreachable(&self, error: &ProducerError) {
        let said = lock(&self.shared.last_error).clone();
        let said = if said.is_empty() { error.to_string() } else { said };
        let why = Explanation::of_connection(&said, &self.shared.properties);
        self.shared.enter_down(KafkaState::Unreachable, &self.topic, &why);
    }

    fn watch(&mut self, link: &Link) {
        let mut checked = Instant::now();
        let mut told = link.partitions;
        let mut stuck = false;
        while !self.stopped() && !link.producer.is_broken() {
            {
                let guard = lock(&self.shared.link);
                let _ = self.shared.changed.wait_timeout(guard, Duration::from_millis(200));
            }
            if self.files_seen_changed() {
                return;
            }
            stuck = self.tell_stuck(link, stuck);
            if checked.elapsed() < PARTITIONS_RECHECK {
                continue;
            }
            checked = Instant::now();
            let found = link.producer.partitions(&self.topic, METADATA_TIMEOUT);
            let Ok(Some(found)) = found else { continue };
            if found < link.partitions {
                tracing::warn!(
                    topic = self.topic,
                    partitions = found,
                    "the topic was made anew with fewer partitions; sources of those that are gone go to others"
                );
                return;
            }
            if found != told {
                told = found;
                tracing::warn!(
                    topic = self.topic,
                    partitions = found,
                    "the topic has another number of partitions; sources that were read before keep \
                     theirs, new ones use all of them after a restart"
                );
            }
        }
    }

    /// Tells once that some partitions take nothing while others do, and the end of that; returns
    /// whether it is so.
    fn tell_stuck(&self, link: &Link, told: bool) -> bool {
        let stuck = link.shares.stuck();
        if told && stuck.is_empty() {
            tracing::info!("kafka takes events for all partitions again");
        } else if !told && !stuck.is_empty() && self.shared.state() == KafkaState::Up {
            tracing::warn!(
                topic = self.topic,
                partitions = ?stuck,
                help = "see whether this host reaches the brokers that lead them, and whether they \
                        have as many copies in sync as min.insync.replicas wants: logweir topics \
                        describe tells both",
                "kafka takes nothing for some partitions; their sources wait, the others go on"
            );
            return true;
        }
        told && !stuck.is_empty()
    }
}
