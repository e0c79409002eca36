//! What differs between two configurations: by section, for a reload says what waits for a restart,
//! and by source, for it leaves alone what is the same.

use logweir_document::{Node, Value};

/// The names of the top sections that differ, in their order; how a value is written is no matter, and
/// `agent.limits` neither: changed limits are in use already.
pub(crate) fn changed_sections(old: &Node, new: &Node) -> Vec<String> {
    let (old, new) = (entries(old), entries(new));
    let find = |list: &[(&str, &Node)], name: &str| {
        let node = list.iter().find(|(known, _)| *known == name).map(|(_, node)| *node);
        let without = if name == "agent" { "limits" } else { "" };
        node.map(|node| said(node, without)).filter(|said| without.is_empty() || said != "{}")
    };
    let mut names: Vec<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| find(&old, name) != find(&new, name));
    names.into_iter().map(str::to_owned).collect()
}

fn entries(node: &Node) -> Vec<(&str, &Node)> {
    match &node.value {
        Value::Mapping(entries) => {
            entries.iter().map(|(key, node)| (key.name.as_str(), node)).collect()
        }
        _ => Vec::new(),
    }
}

/// What a value says, the same text however it is written; `without` is a key of it that does not
/// count.
pub(crate) fn said(node: &Node, without: &str) -> String {
    match &node.value {
        Value::Mapping(_) => {
            let mut entries = entries(node);
            entries.retain(|(name, _)| *name != without);
            entries.sort_unstable_by_key(|(name, _)| *name);
            let entries: Vec<String> =
                entries.iter().map(|(name, node)| format!("{name:?}:{}", said(node, ""))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| said(item, "")).collect();
            format!("[{}]", items.join(","))
        }
        Value::Scalar(_) => format!("{}:{:?}", node.kind(), node.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::parse;

    #[test]
    fn only_what_a_value_says_makes_a_section_differ() {
        let old = "agent: {name: a}\nkafka: {topic: b}\nsources: [{type: stdin}]\n";
        for (new, expected) in [
            (old.to_owned(), vec![]),
            ("sources:\n  - type: 'stdin'\nkafka:\n  topic: b\nagent:\n  name: a\n".into(), vec![]),
            (old.replace("name: a", "name: c"), vec!["agent"]),
            (old.replace("stdin}", "stdin}, {type: file}"), vec!["sources"]),
            (format!("{old}metrics: {{}}\n"), vec!["metrics"]),
            (old.replace("name: a", "name: a, limits: {events_per_second: 1}"), vec![]),
            (old.replace("name: a", "limits: {events_per_second: 1}"), vec!["agent"]),
            (old.replace("kafka: {topic: b}\n", ""), vec!["kafka"]),
        ] {
            let node = |text: &str| parse("agent.yaml", text).unwrap().root.clone();
            assert_eq!(changed_sections(&node(old), &node(&new)), expected, "{new}");
            assert_eq!(changed_sections(&node(&new), &node(old)), expected, "{new}");
        }
        let node = |text: &str| parse("agent.yaml", text).unwrap().root.clone();
        let (old, new) = ("sources: []\n", "sources: []\nagent: {limits: {burst: 1s}}\n");
        assert!(changed_sections(&node(old), &node(new)).is_empty());
    }
}
