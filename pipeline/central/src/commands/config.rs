//! `logweir config`: what the ingest can be told, and what it is.

use crate::ingest::{REFERENCE, layers};
use logweir_agent::commands::config::Described;

/// The configuration of the ingest.
pub static INGEST: Described = Described {
    program: "logweir ingest",
    reference: &REFERENCE,
    layers,
    path: "/etc/logweir/ingest.yaml",
    sample_head: "\
# The configuration of `logweir ingest`: all that can be set, commented out with its default where it need
# not be given. docs/config-ingest.md says more.
",
    page_head: include_str!("config.md"),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::IngestConfig;
    use logweir_document::reference::{disagreements, uncommented};
    use logweir_document::{Document, Faults, Shown, parse, render_all, show};

    fn document(text: &str) -> Document {
        parse("sample.yaml", text).unwrap_or_else(|fault| panic!("{}", fault.render(false)))
    }

    fn read(text: &str) -> IngestConfig {
        let read = IngestConfig::read(&document(text));
        read.unwrap_or_else(|faults| panic!("{}\n{text}", render_all(&faults, false)))
    }

    #[test]
    fn the_sample_is_a_configuration_as_it_stands_and_with_every_setting_in_use() {
        assert!(read(&INGEST.sample()).sinks.is_empty());
        assert_eq!(read(&all()).sinks.len(), 5);
    }

    /// Every setting in use; sinks of one kind share a name in the sample.
    fn all() -> String {
        uncommented(&INGEST.sample()).replace("    name: archive", "")
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let text = "sinks:\n- {type: opensearch, url: 'http://bob:hush@a:9200'}\n- {type: clickhouse, url: 'http://b'}\n";
        let shown = show(&document(text), &REFERENCE, Shown::Values);
        assert!(
            shown.contains("url: (hidden)\n") && shown.contains("url: 'http://b'\n"),
            "{shown}"
        );
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn every_setting_that_is_read_is_described_as_what_it_is_and_none_else() {
        let document = document(&all());
        let mut faults = Faults::of(&document, &REFERENCE);
        IngestConfig::sections(&document, &mut faults);
        assert_eq!(disagreements(&REFERENCE, faults.asked()), Vec::<String>::new());
    }

    #[test]
    fn every_default_that_is_described_is_the_one_in_use() {
        let all = all();
        let whole = format!("{:?}", read(&all));
        let mut compared = 0;
        for (key, value) in REFERENCE.defaults() {
            let setting = format!("{key}: {value}");
            let lines = all.lines().enumerate().filter(|(_, line)| line.trim_start() == setting);
            for (at, _) in lines {
                let kept = all.lines().enumerate().filter(|(other, _)| *other != at);
                let kept: Vec<&str> = kept.map(|(_, line)| line).collect();
                let without = format!("{:?}", read(&kept.join("\n")));
                // That the group is named shows among the properties.
                if key != "group.id" {
                    assert_eq!(without, whole, "{setting}");
                }
                compared += 1;
            }
        }
        assert!(compared > 10, "{compared} defaults are in the sample");
    }

    #[test]
    fn the_page_about_the_configuration_is_the_one_that_the_program_prints() {
        assert_eq!(
            include_str!("../../../../docs/config-ingest.md"),
            INGEST.page(),
            "renew it: logweir config reference >docs/config-ingest.md"
        );
    }
}
