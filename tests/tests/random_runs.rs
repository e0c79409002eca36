//! Random runs of rotation, kills and broker bounces, each to the verdict that nothing is lost and
//! nothing is in the table twice. `LOGWEIR_RUNS=200` for many; a failing run prints its seed, and
//! `LOGWEIR_SEED=N LOGWEIR_RUNS=1` repeats it.

use logweir_tests::{
    Agent, AgentConfig, Broker, Delivery, Lines, Random, Topic, directory, runs, wait_until,
};
use std::path::Path;

const WRITERS: usize = 3;

/// What may happen; each as often as it stands here.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write,
    Rotate,
    KillAgent,
    StopAgent,
    KillIngest,
    BounceBroker,
    /// Until some of what was written has arrived, so that kills meet every state.
    Wait,
}

const STEPS: [Step; 12] = [
    Step::Write,
    Step::Write,
    Step::Write,
    Step::Rotate,
    Step::Rotate,
    Step::Wait,
    Step::Wait,
    Step::KillAgent,
    Step::KillAgent,
    Step::StopAgent,
    Step::KillIngest,
    Step::BounceBroker,
];

struct Run {
    broker: Broker,
    /// While it is away, nothing can be asked of it.
    broker_is_up: bool,
    delivery: Delivery,
    writers: Vec<Lines>,
    rotations: usize,
}

impl Run {
    fn begin(directory: &Path) -> Self {
        let broker = Broker::started(directory);
        let topic = Topic::create(&broker.bootstrap(), "random", 2);
        let logs = directory.join("logs");
        std::fs::create_dir(&logs).unwrap();
        let config = AgentConfig {
            without_rules: true,
            agent: vec!["checkpoint_interval: 100ms"],
            ..AgentConfig::of_files(&topic, directory, "logs/*")
        };
        let mut delivery = Delivery::stopped(directory, &topic, &config);
        delivery.start();
        let names = (0..WRITERS).map(|number| format!("writer{number}"));
        let writers = names.map(|name| Lines::new(&name, &logs.join(&name))).collect();
        Self { broker, broker_is_up: true, delivery, writers, rotations: 0 }
    }

    fn step(&mut self, step: Step, random: &mut Random) {
        let writer = random.below(WRITERS);
        let agent: &mut Agent = &mut self.delivery.agent;
        match step {
            Step::Write => self.writers[writer].write(1 + random.below(2_000)),
            Step::Rotate => {
                self.rotations += 1;
                let late = random.below(50);
                self.writers[writer].rotate_by_rename(&self.rotations.to_string(), late);
            }
            Step::KillAgent => {
                agent.kill9();
                agent.start();
            }
            Step::StopAgent => {
                let _ = agent.terminate();
                agent.start();
            }
            Step::KillIngest => {
                self.delivery.ingest.kill9();
                self.delivery.ingest.start();
            }
            Step::BounceBroker if self.broker_is_up => {
                self.broker.kill9();
                self.broker_is_up = false;
            }
            Step::BounceBroker => self.bring_back_broker(),
            Step::Wait => self.wait(random),
        }
    }

    fn bring_back_broker(&mut self) {
        if !self.broker_is_up {
            self.broker.start();
            self.broker_is_up = true;
        }
    }

    fn wait(&mut self, random: &mut Random) {
        let topic = &self.delivery.topic;
        let written: usize = self.writers.iter().map(Lines::written).sum();
        if !self.broker_is_up || written == 0 {
            return;
        }
        let point = random.below(written);
        wait_until(&format!("{point} lines in the topic"), || topic.records() >= Some(point));
    }
}

#[test]
fn rotation_kill_and_broker_bounce_in_any_order_lose_and_repeat_nothing() {
    let first = Random::seeded().seed();
    for run in 0..runs(5) {
        let seed = first + run as u64;
        let mut random = Random::of(seed);
        let steps: Vec<Step> =
            (0..8 + random.below(8)).map(|_| STEPS[random.below(STEPS.len())]).collect();
        println!("run {run} (LOGWEIR_SEED={seed}): {steps:?}");
        let directory = directory();
        let mut run = Run::begin(directory.path());
        steps.iter().for_each(|step| run.step(*step, &mut random));
        run.bring_back_broker();
        // So that every writer is in the tally.
        run.writers.iter_mut().for_each(|writer| writer.write(10));
        let tallies: Vec<(&str, usize)> = run.writers.iter().map(Lines::tally).collect();
        run.delivery.assert_complete(&tallies);
    }
}
