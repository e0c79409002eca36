//! Reading one pack.

use super::builder::Builder;
use super::rule::{self, PackContext};
use crate::fields::check_prefix;
use crate::pattern;
use crate::rule::{Applies, Pack, RuleList};
use logweir_document::{Faults, Node, Table, Value};
use memchr::memmem::Finder;
use std::collections::BTreeMap;
use std::path::Path;

const PRIORITY_DEFAULT: u64 = 50;

pub(super) fn read(builder: &mut Builder, root: &Node, faults: &mut Faults) {
    let Some(mut table) = Table::open(root, "", faults) else { return };
    if table.entries().is_empty() {
        faults.error(table.span(), "an empty pack").remedy =
            Some("write `pack: NAME` and `rules:`; `rules suggest` drafts them from lines".into());
        return;
    }
    let name = table.required_string("pack", faults).unwrap_or_default().to_owned();
    if let Some(node) = table.node("pack").filter(|_| !is_name(&name)) {
        faults.warning(node.span, format!("`{name}` as a pack's name")).remedy =
            Some("write lower-case letters, digits, `.`, `_` and `-`".into());
    }
    table.string("description", faults);
    let dataset = table.string("dataset", faults).unwrap_or(&name).to_owned();
    let module = table
        .string("module", faults)
        .map_or_else(|| name.split('.').next().unwrap_or_default().to_owned(), str::to_owned);
    let priority = table.integer("priority", 0..=1000, faults).unwrap_or(PRIORITY_DEFAULT);
    let texts = |list: Option<Vec<(&str, _)>>| -> Vec<String> {
        list.unwrap_or_default().into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    let mut names = texts(table.strings("aliases", faults));
    names.extend([name.clone(), dataset.clone()]);
    let vendor = table.strings("vendor", faults).unwrap_or_default();
    for (prefix, span) in &vendor {
        if let Err((message, remedy)) = check_prefix(prefix) {
            faults.error(*span, message).remedy = Some(remedy);
        }
    }
    let vendor = texts(Some(vendor));
    let null_values = table.strings("null_values", faults).map_or_else(
        || vec![b"-".to_vec()],
        |list| list.into_iter().map(|(text, _)| text.as_bytes().to_vec()).collect(),
    );
    let mut patterns = pattern_files(builder, &mut table, faults);
    patterns.extend(fragments(&mut table, faults));
    let applies = applies(&mut table, &patterns, faults);
    let networks = internal_networks(builder, &mut table, faults);
    let chain_names = chain_names(root);
    let chains = chain_names
        .into_iter()
        .map(|chain| {
            let number = builder.chain(&name, &chain);
            (chain, number)
        })
        .collect();
    let number = builder.next_pack();
    let mut context = PackContext {
        number,
        file: faults.source().name.as_str().into(),
        vendor,
        patterns,
        fragments: root.get("patterns"),
        null_values: null_values.into(),
        chains,
        sets: Vec::new(),
        times: None,
        in_chain: None,
    };
    context.sets = rule::pack_sets(builder, &context, &mut table, faults);
    context.times = table.node("time");
    let numbers = match table.sequence("rules", faults) {
        Some(nodes) => rule::read_list(builder, &context, nodes, faults),
        None if networks || table.node("rules").is_some() => Vec::new(),
        None => {
            faults.error(root.span, "a pack without `rules`").remedy =
                Some("add `rules:` with at least one rule".into());
            Vec::new()
        }
    };
    if let Some(chains) = table.table("chains", faults) {
        for (key, node) in chains.entries() {
            let Value::Sequence(nodes) = &node.value else {
                faults
                    .error(node.span, format!("the chain `{}` is {}", key.name, node.kind()))
                    .remedy = Some("write a list of rules".into());
                continue;
            };
            context.in_chain = context.chains.get(&key.name).copied();
            let numbers = rule::read_list(builder, &context, nodes, faults);
            if let Some(chain) = context.in_chain {
                builder.fill_chain(chain, numbers);
                builder.note_chain(chain, key, faults);
            }
        }
    }
    rule::check_fragments(builder, &context, faults);
    builder.end_names(faults);
    table.finish(faults);
    let constants = [
        builder.field_constant("event.dataset", &dataset),
        builder.field_constant("event.module", &module),
    ];
    let list = RuleList::default();
    builder.add_pack(Pack { name, dataset, names, priority, applies, list, constants }, numbers);
}

/// Whether datasets can be called so: the name of a pack is also that of its events' dataset.
fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

/// Takes in the networks that count as internal; whether there are any.
fn internal_networks(builder: &mut Builder, table: &mut Table<'_>, faults: &mut Faults) -> bool {
    let Some(texts) = table.strings("internal_networks", faults) else { return false };
    for (text, span) in texts {
        match text.parse() {
            Ok(network) => builder.internal_networks.push(network),
            Err(()) => {
                faults.error(span, format!("`{text}` is no network")).remedy = Some(
                    "write an address and its prefix: `203.0.113.0/24`, `2001:db8::/32`".into(),
                );
            }
        }
    }
    true
}

fn chain_names(root: &Node) -> Vec<String> {
    match root.get("chains").map(|node| &node.value) {
        Some(Value::Mapping(entries)) => entries.iter().map(|(key, _)| key.name.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Fragments from files of grok patterns, a `NAME regex` on each line; paths are relative to the pack.
fn pattern_files(
    builder: &mut Builder,
    table: &mut Table<'_>,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut fragments = BTreeMap::new();
    for (name, span) in table.strings("pattern_files", faults).unwrap_or_default() {
        if faults.source().name.starts_with(super::PUBLISHED) {
            faults.error(span, "a published pack names a file").remedy =
                Some("write its fragments under `patterns`".into());
            continue;
        }
        let directory = Path::new(&faults.source().name).parent().unwrap_or(Path::new(""));
        let text = match super::read_text(&directory.join(name)) {
            Ok(text) => text,
            Err(message) => {
                faults.error(span, format!("the pattern file `{name}` {message}")).remedy =
                    Some("name a readable file; paths are relative to the pack's directory".into());
                continue;
            }
        };
        builder.note_text(&text);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once([' ', '\t']) {
                Some((key, pattern)) => {
                    fragments.insert(key.to_owned(), pattern.trim().to_owned());
                }
                None => {
                    let message = format!("line {} of `{name}` is no grok pattern", number + 1);
                    faults.error(span, message).remedy =
                        Some("write `NAME regex` on each line".into());
                }
            }
        }
    }
    fragments
}

fn fragments(table: &mut Table<'_>, faults: &mut Faults) -> BTreeMap<String, String> {
    let Some(table) = table.table("patterns", faults) else { return BTreeMap::new() };
    let mut fragments = BTreeMap::new();
    for (key, node) in table.entries() {
        match node.text() {
            Some(text) => {
                fragments.insert(key.name.clone(), text.to_owned());
            }
            None => {
                faults
                    .error(node.span, format!("the pattern `{}` is {}", key.name, node.kind()))
                    .remedy = Some("write a regex in single quotes".into());
            }
        }
    }
    fragments
}

fn applies(
    table: &mut Table<'_>,
    patterns: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Applies {
    let Some(mut table) = table.table("applies", faults) else { return Applies::default() };
    let mut list = |name: &str, faults: &mut Faults| -> Vec<String> {
        let texts = table.strings(name, faults).unwrap_or_default();
        texts.into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    let programs = list("program", faults);
    let starts = list("starts", faults).into_iter().map(String::into_bytes).collect();
    let contains = list("contains", faults);
    let json_keys = list("json_keys", faults);
    let finder = |text: &str| Finder::new(text.as_bytes()).into_owned();
    let nodes = table.texts("signature", faults).unwrap_or_default().into_iter();
    let signatures = nodes.filter_map(|node| {
        let expanded = pattern::expand(node.text()?, patterns);
        let compiled = expanded.and_then(|expanded| pattern::compile(&expanded, false));
        compiled.map_err(|fault| rule::pattern_fault(node, &fault, faults)).ok()
    });
    let signatures = signatures.collect();
    let syslog = table.boolean("syslog", faults).unwrap_or(false);
    table.finish(faults);
    Applies {
        programs,
        starts,
        contains: contains.iter().map(|text| finder(text)).collect(),
        json_keys: json_keys.iter().map(|key| finder(&format!("\"{key}\""))).collect(),
        signatures,
        syslog,
    }
}
