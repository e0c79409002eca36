//! Ingests that join, leave, are killed and stand still past their session, while brokers bounce: what
//! was sent is in the table, exactly once, in order per source, and the audit knows it.
//!
//! `LOGWEIR_EVENTS=5000000` for a long run, `LOGWEIR_SLICE` events between two faults, which are spread over
//! `LOGWEIR_FAULT_MINUTES` at least; a failing run prints its seed, and `LOGWEIR_SEED=N` repeats its steps.
//! `LOGWEIR_TABLE` puts the table elsewhere, `LOGWEIR_SINKS` adds lines to the configuration and
//! `LOGWEIR_ALSO` is a command that has to succeed while the ingests still run: `tests/chaos/run` has a table
//! on S3 with them, and sinks of foreign servers.

use logweir_tests::{Cluster, Ingest, Node, Random, Streams, Topic, directory, wait};
use std::env::var;
use std::process::Command;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 6;
const SOURCES: usize = 24;
const MEMBERS_MAX: usize = 3;
/// A machine that does much else takes its time.
const DEADLINE: Duration = Duration::from_secs(600);

/// What may happen; each as often as it stands here.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join,
    Leave,
    Kill,
    /// Until it has lost its partitions; it wakes up later and does not know it.
    Stop,
    BounceBroker,
    RepeatEvents,
}

const STEPS: [Step; 9] = [
    Step::Join,
    Step::Join,
    Step::Leave,
    Step::Kill,
    Step::Kill,
    Step::Stop,
    Step::BounceBroker,
    Step::BounceBroker,
    Step::RepeatEvents,
];

struct Run<'c> {
    cluster: &'c Cluster,
    /// The node that is dead.
    down: Option<Node>,
    template: Ingest,
    members: Vec<Ingest>,
    started: usize,
}

/// How many there were, and when since the start.
#[derive(Default)]
struct Faults {
    count: usize,
    first: Option<Duration>,
    last: Duration,
}

impl Run<'_> {
    fn join(&mut self) {
        let mut member = self.template.member(&format!("member{}", self.started));
        self.started += 1;
        member.start();
        self.members.push(member);
    }

    fn step(&mut self, step: Step, streams: &mut Streams, random: &mut Random) {
        let some = random.below(self.members.len());
        match step {
            Step::Join if self.members.len() < MEMBERS_MAX => self.join(),
            Step::Leave if self.members.len() > 1 => {
                let mut member = self.members.swap_remove(some);
                member.assert_running();
                assert!(member.terminate().success(), "it leaves in order");
            }
            Step::Join | Step::Leave | Step::Kill => {
                self.members[some].assert_running();
                self.members[some].kill9();
                self.members[some].start();
            }
            Step::Stop => self.stop(some),
            Step::BounceBroker => match self.down.take() {
                Some(node) => self.cluster.restart(node),
                None => {
                    let node = Node::ALL[random.below(3)];
                    self.cluster.kill9(node);
                    self.down = Some(node);
                }
            },
            Step::RepeatEvents => streams.repeat(random),
        }
    }

    /// One stands still until the others have its partitions.
    fn stop(&mut self, which: usize) {
        if self.members.len() == 1 {
            self.join();
        }
        self.members[which].assert_running();
        self.members[which].pause();
        wait("the others to have all partitions", DEADLINE, || {
            let others = self.members.iter().enumerate().filter(|(at, _)| *at != which);
            let had: usize = others.map(|(_, member)| member.shares().len()).sum();
            (had >= PARTITIONS as usize).then_some(())
        });
        self.members[which].resume();
    }
}

#[test]
fn whatever_happens_to_ingests_and_brokers_the_table_has_what_was_sent() {
    let Some(cluster) = Cluster::start() else { return };
    let number = |name, default| var(name).map_or(default, |text| text.parse().unwrap());
    let (events, slice) = (number("LOGWEIR_EVENTS", 200_000), number("LOGWEIR_SLICE", 20_000));
    let spread = Duration::from_secs(60 * number("LOGWEIR_FAULT_MINUTES", 0) as u64);
    let mut random = Random::seeded();
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "chaos", PARTITIONS);
    let mut template = Ingest::stopped(directory.path(), cluster.bootstrap(), "chaos");
    if let Ok(table) = var("LOGWEIR_TABLE") {
        template.into_table(&table);
    }
    template.configure(&var("LOGWEIR_SINKS").unwrap_or_default());
    let table = template.table();
    let mut streams = Streams::new(&topic, SOURCES);
    let mut run = Run { cluster: &cluster, down: None, template, members: Vec::new(), started: 0 };
    run.join();
    let began = Instant::now();
    let mut faults = Faults::default();
    while streams.sent() < events {
        streams.write(slice.min(events - streams.sent()), &mut random);
        let share = streams.sent() as f64 / events as f64;
        wait("the moment of the next fault", DEADLINE, || {
            (began.elapsed() >= spread.mul_f64(share)).then_some(())
        });
        let step = STEPS[random.below(STEPS.len())];
        println!("{:4} s: {} sent, {step:?}", began.elapsed().as_secs(), streams.sent());
        faults.first.get_or_insert_with(|| began.elapsed());
        run.step(step, &mut streams, &mut random);
        (faults.count, faults.last) = (faults.count + 1, began.elapsed());
        // So that every fault meets an ingest at work, and none only a backlog.
        let behind = streams.sent().saturating_sub(3 * slice);
        wait(&format!("{behind} events in the table"), DEADLINE, || {
            // What Kafka was told is quick to ask; it was not told what was written while it was away.
            (topic.stored(&topic.name) >= behind || table.rows() >= behind).then_some(())
        });
    }
    if let Some(node) = run.down.take() {
        cluster.restart(node);
    }
    streams.flush();
    wait("all events in the table", DEADLINE, || (table.rows() >= events).then_some(()));
    if let Ok(command) = var("LOGWEIR_ALSO") {
        let status = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{command}: {status}");
    }
    for mut member in run.members {
        member.assert_running();
        assert!(member.terminate().success(), "it ends in order");
    }
    println!("{:4} s: the verdict", began.elapsed().as_secs());
    streams.assert_stored(&table);
    logweir_tests::assert_nothing_missing(&table);
    let audit = table.audit_json();
    let sum =
        |name: &str| audit.iter().map(|of| of[name].as_u64().unwrap() as usize).sum::<usize>();
    assert_eq!((sum("rows"), sum("duplicates")), (events, streams.repeats()));
    println!("{:4} s: {events} events, {} repeats", began.elapsed().as_secs(), streams.repeats());
    let minutes = (faults.last - faults.first.unwrap_or_default()).as_secs_f64() / 60.0;
    println!("{} faults, from the first to the last {minutes:.1} minutes", faults.count);
}
