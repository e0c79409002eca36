//! Ingests that join, leave, are killed and stand still past their session, while brokers bounce: what
//! was sent is in the table, exactly once, in order per source, and the audit knows it.
//!
//! `LOGWEIR_EVENTS=5000000` for a long run; a failing run prints its seed, and `LOGWEIR_SEED=N` repeats
//! its steps.

use logweir_tests::{Cluster, Ingest, Node, Random, Streams, Topic, directory, wait};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 6;
const SOURCES: usize = 24;
/// Events between two steps.
const SLICE: usize = 20_000;
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
            let had: usize = others.map(|(_, member)| member.partitions().len()).sum();
            (had >= PARTITIONS as usize).then_some(())
        });
        self.members[which].resume();
    }
}

#[test]
fn whatever_happens_to_ingests_and_brokers_the_table_has_what_was_sent() {
    let Some(cluster) = Cluster::start() else { return };
    let events = std::env::var("LOGWEIR_EVENTS").map_or(200_000, |text| text.parse().unwrap());
    let mut random = Random::seeded();
    let directory = directory();
    let topic = Topic::create(cluster.bootstrap(), "chaos", PARTITIONS);
    let template = Ingest::stopped(directory.path(), cluster.bootstrap(), "chaos");
    let table = template.table();
    let mut streams = Streams::new(&topic, SOURCES);
    let mut run = Run { cluster: &cluster, down: None, template, members: Vec::new(), started: 0 };
    run.join();
    let began = Instant::now();
    while streams.sent() < events {
        streams.write(SLICE.min(events - streams.sent()), &mut random);
        let step = STEPS[random.below(STEPS.len())];
        println!("{:4} s: {} sent, {step:?}", began.elapsed().as_secs(), streams.sent());
        run.step(step, &mut streams, &mut random);
        // So that every fault meets an ingest at work, and none only a backlog.
        let behind = streams.sent().saturating_sub(3 * SLICE);
        wait(&format!("{behind} events in the table"), DEADLINE, || {
            (topic.stored(&topic.name) >= behind).then_some(())
        });
    }
    if let Some(node) = run.down.take() {
        cluster.restart(node);
    }
    streams.flush();
    wait("all events in the table", DEADLINE, || (table.rows() >= events).then_some(()));
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
}
