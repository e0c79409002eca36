//! Rotation of files while they are written.

use logweir_tests::{Broker, Delivery, Lines, Topic, directory, wait_until};
use std::path::Path;

fn rotations(
    directory: &Path,
    glob: &str,
    lines: usize,
    mut rotate: impl FnMut(&mut Lines, &str, &Topic),
) {
    let broker = Broker::started(directory);
    let topic = Topic::create(&broker.bootstrap(), "rotation", 4);
    let mut writer = Lines::new("writer", &directory.join("app.log"));
    let delivery = Delivery::of_files(directory, &topic, glob);
    for turn in 0..6 {
        for _ in 0..lines / 500 {
            writer.write(500);
        }
        rotate(&mut writer, &turn.to_string(), &topic);
    }
    writer.write(100);
    delivery.assert_complete(&[writer.tally()]);
}

#[test]
fn rotation_by_rename_loses_and_repeats_nothing() {
    let directory = directory();
    // What was renamed matches no glob: the agent must have it from the open file.
    rotations(directory.path(), "app.log", 5_000, |writer, suffix, topic| {
        let written = writer.written();
        // The agent knows the file before it is renamed; how far it has read does not matter.
        wait_until("some lines of the file", || topic.records() > Some(written - 5_000));
        writer.rotate_by_rename(suffix, 1_000);
    });
}

#[test]
fn rotation_by_rename_within_the_glob_loses_and_repeats_nothing() {
    let directory = directory();
    rotations(directory.path(), "app.log*", 5_000, |writer, suffix, _| {
        writer.rotate_by_rename(suffix, 1_000);
    });
}

#[test]
fn copytruncate_of_what_was_read_loses_and_repeats_nothing() {
    let directory = directory();
    rotations(directory.path(), "app.log", 5_000, |writer, suffix, topic| {
        let written = writer.written();
        // What is emptied before it is read is gone: that is the nature of copytruncate.
        wait_until("all lines so far", || topic.records() >= Some(written));
        writer.rotate_by_copytruncate(suffix);
    });
}
