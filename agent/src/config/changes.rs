//! What differs between two configurations, by section: a reload says what waits for a restart.

use logweir_document::{Node, Value};

/// The names of the top sections that differ, in their order; how a value is written is no matter.
pub(crate) fn changed_sections(old: &Node, new: &Node) -> Vec<String> {
    let (old, new) = (entries(old), entries(new));
    let find = |list: &[(&str, &Node)], name: &str| {
        list.iter().find(|(known, _)| *known == name).map(|(_, node)| (*node).clone())
    };
    let mut names: Vec<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| match (find(&old, name), find(&new, name)) {
        (Some(old), Some(new)) => !same(&old, &new),
        _ => true,
    });
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

fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Mapping(_), Value::Mapping(_)) => changed_sections(a, b).is_empty(),
        (Value::Sequence(a), Value::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a.kind() == b.kind() && a.text() == b.text(),
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
            (old.replace("kafka: {topic: b}\n", ""), vec!["kafka"]),
        ] {
            let node = |text: &str| parse("agent.yaml", text).unwrap().root.clone();
            assert_eq!(changed_sections(&node(old), &node(&new)), expected, "{new}");
        }
    }
}
