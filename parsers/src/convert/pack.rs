//! The pack that is being written, and how it is written.

use super::{Conversion, Notes};
use crate::fields::check_prefix;
use crate::rule::RuleSet;
use crate::yaml::{comment, quoted};
use logweir_document::{Severity, Source};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A rule in the making. Everything is YAML already but for the patterns.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    pub(super) id: String,
    /// Where it comes from, for notes.
    pub(super) line: usize,
    pub(super) source: Option<Arc<Source>>,
    /// Lines above it.
    pub(super) comments: Vec<String>,
    pub(super) on: Option<String>,
    /// Whose lines the rule takes, where the pack has rules for several programs.
    pub(super) programs: Vec<String>,
    /// Fields and what each may be.
    pub(super) when: Vec<(String, Vec<String>)>,
    pub(super) patterns: Vec<String>,
    /// The lines of `parse:`, as one flow mapping each.
    pub(super) parse: Vec<String>,
    /// Field and value.
    pub(super) sets: Vec<(String, String)>,
    /// Field and steps.
    pub(super) transforms: BTreeMap<String, Vec<String>>,
    /// Flow mappings.
    pub(super) times: Vec<String>,
    /// The field (the message if `None`) and the chain.
    pub(super) then: Option<(Option<String>, String)>,
    pub(super) drops: bool,
}

/// A pattern with a name, for use in others.
#[derive(Debug, Clone)]
pub(super) struct Fragment {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) line: usize,
    pub(super) source: Arc<Source>,
}

#[derive(Debug)]
pub(super) struct Pack {
    pub(super) name: String,
    pub(super) programs: Vec<String>,
    /// Whether the programs were said, not found in the rules.
    said: bool,
    /// Comments above everything.
    pub(super) comments: Vec<String>,
    pub(super) fragments: Vec<Fragment>,
    pub(super) rules: Vec<Rule>,
    pub(super) chains: Vec<(String, Vec<Rule>)>,
}

impl Pack {
    pub(super) fn new(name: &str, programs: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            programs: programs.to_vec(),
            said: !programs.is_empty(),
            comments: Vec::new(),
            fragments: Vec::new(),
            rules: Vec::new(),
            chains: Vec::new(),
        }
    }

    /// The prefix under which keys of sub-parsers are kept that no field is known for.
    pub(super) fn vendor(&self) -> String {
        let root = self.name.split('.').next().unwrap_or("draft");
        match check_prefix(root) {
            Ok(()) => root.to_owned(),
            Err(_) => format!("own_{}", root.trim_start_matches('_')),
        }
    }

    pub(super) fn add_program(&mut self, program: String) {
        if !self.programs.contains(&program) {
            self.programs.push(program);
        }
    }

    /// An id that no rule has yet.
    pub(super) fn id(&self, what: &str) -> String {
        let what = crate::suggest::identifier(what);
        let stem = format!("{}.{}", self.name, if what.is_empty() { "rule" } else { &what });
        let all = self.rules.iter().chain(self.chains.iter().flat_map(|(_, rules)| rules));
        unused(&stem, all.map(|rule| rule.id.as_str()))
    }

    /// A name that no chain has yet.
    pub(super) fn chain(&self, what: &str) -> String {
        let known = self.chains.iter().map(|(known, _)| known.as_str());
        unused(&crate::suggest::identifier(what), known)
    }

    /// The number of a chain, which is there from now on.
    pub(super) fn chain_number(&mut self, name: &str) -> usize {
        self.chains.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.chains.push((name.to_owned(), Vec::new()));
            self.chains.len() - 1
        })
    }

    /// The fragments as patterns use them: a later one replaces an earlier one, as with Logstash.
    pub(super) fn definitions(&self) -> BTreeMap<String, String> {
        self.fragments.iter().map(|one| (one.name.clone(), one.text.clone())).collect()
    }

    /// What has been read since the last file is of this one.
    pub(super) fn read(&mut self, source: &Arc<Source>) {
        for rule in self.rules.iter_mut().chain(self.chains.iter_mut().flat_map(|(_, list)| list)) {
            rule.source.get_or_insert_with(|| source.clone());
        }
    }

    /// Writes the pack; what does not load is written as a comment.
    pub(super) fn finish(mut self, mut notes: Notes) -> Conversion {
        self.drop_bad_fragments(&mut notes);
        if let [only] = self.rules.as_mut_slice() {
            only.programs.clear();
        }
        self.settle_programs(&mut notes);
        let mut rules = 0;
        let mut out = String::from("# Converted. What is marked `complete` is yours to fill in.\n");
        for text in &self.comments {
            let _ = writeln!(out, "# {}", comment(text));
        }
        out.push_str(&self.head());
        out.push_str(if self.rules.is_empty() { "rules: []\n" } else { "rules:\n" });
        for rule in &self.rules {
            rules += usize::from(self.write_checked(&mut out, rule, "  ", &mut notes));
        }
        if rules == 0 && !self.rules.is_empty() {
            out = out.replacen("rules:\n", "rules: []\n", 1);
        }
        if !self.chains.is_empty() {
            out.push_str("chains:\n");
        }
        for (name, list) in &self.chains {
            let mut body = String::new();
            let before = rules;
            for rule in list {
                rules += usize::from(self.write_checked(&mut body, rule, "    ", &mut notes));
            }
            let empty = if rules == before { " []" } else { "" };
            let _ = write!(out, "  {}:{empty}\n{body}", quoted(name));
        }
        let faults = RuleSet::of_text(&self.name, &out).err().unwrap_or_default();
        Conversion { yaml: out, rules, fragments: self.fragments.len(), notes: notes.list, faults }
    }

    /// `applies` is for all rules: it names the programs only if each rule is for some.
    fn settle_programs(&mut self, notes: &mut Notes) {
        let any = self.rules.iter().find(|rule| rule.programs.is_empty());
        let Some(any) = any.filter(|_| self.rules.len() > 1 && !self.said) else { return };
        if let Some(program) = self.programs.first() {
            let message = format!(
                "`{}` is for any program, others are for `{program}`: which lines the pack is for is left to you",
                any.id
            );
            notes.of(any.source.as_ref());
            self.comments.push(notes.add(any.line, message));
            self.programs.clear();
        }
    }

    /// What stands in front of the rules, and with each of them when it is tried alone.
    fn head(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "pack: {}\ndataset: {}", quoted(&self.name), quoted(&self.name));
        let _ = writeln!(out, "vendor: [{}]", quoted(&self.vendor()));
        if self.programs.is_empty() {
            let _ = writeln!(
                out,
                "# complete: which lines are this pack's, such as `applies: {{program: [NAME]}}`; until then it\n\
                 # is tried where a source says `dataset: {}`",
                comment(&self.name)
            );
        } else {
            let names: Vec<String> = self.programs.iter().map(|name| quoted(name)).collect();
            let _ = writeln!(out, "applies: {{program: [{}]}}", names.join(", "));
        }
        if !self.fragments.is_empty() {
            out.push_str("patterns:\n");
        }
        for Fragment { name, text, .. } in &self.fragments {
            let _ = writeln!(out, "  {}: {}", quoted(name), quoted(text));
        }
        out.push_str("set: {event.kind: event}\n");
        out
    }

    /// Fragments that cannot be compiled, or that use one, are left out.
    fn drop_bad_fragments(&mut self, notes: &mut Notes) {
        let last = self.definitions();
        let mut all = std::mem::take(&mut self.fragments);
        all.retain(|one| last.get(&one.name) == Some(&one.text));
        all.dedup_by(|one, other| one.name == other.name);
        loop {
            self.fragments = all.clone();
            let own = self.definitions();
            all.retain(|one| {
                let compiled = crate::pattern::expand(&one.text, &own)
                    .and_then(|expanded| crate::pattern::compile(&expanded, false));
                let fault = compiled.err();
                if let Some(fault) = &fault {
                    notes.of(Some(&one.source));
                    let message = format!("the pattern `{}`: {}", one.name, fault.message);
                    self.comments.push(notes.add(one.line, message));
                }
                fault.is_none()
            });
            if all.len() == self.fragments.len() {
                return;
            }
        }
    }

    /// Writes a rule if it loads, else as a comment; returns whether it loads.
    fn write_checked(
        &self,
        out: &mut String,
        rule: &Rule,
        indent: &str,
        notes: &mut Notes,
    ) -> bool {
        let text = rule.write(indent);
        let mut alone = self.head();
        let (list, chains) = if indent.len() > 2 {
            ("rules: []\nchains:\n  alone:\n", "")
        } else {
            ("rules:\n", "chains:\n")
        };
        let _ = write!(alone, "{list}{text}");
        if let Some((_, chain)) = &rule.then {
            let _ = writeln!(alone, "{chains}  {}: []", quoted(chain));
        }
        match RuleSet::of_text("converted", &alone) {
            Ok(_) => {
                out.push_str(&text);
                true
            }
            Err(faults) => {
                notes.of(rule.source.as_ref());
                for fault in faults.into_iter().filter(|fault| fault.severity == Severity::Error) {
                    let remedy = fault.remedy.map(|text| format!(" ({text})")).unwrap_or_default();
                    let note =
                        notes.add(rule.line, format!("`{}`: {}{remedy}", rule.id, fault.message));
                    let _ = writeln!(out, "{indent}# {}", comment(&note));
                }
                text.lines().for_each(|line| {
                    let _ = writeln!(
                        out,
                        "{indent}# {}",
                        comment(line.strip_prefix(indent).unwrap_or(line))
                    );
                });
                false
            }
        }
    }
}

impl Rule {
    pub(super) fn write(&self, indent: &str) -> String {
        let mut out = String::new();
        for text in &self.comments {
            let _ = writeln!(out, "{indent}# {}", comment(text));
        }
        let _ = writeln!(out, "{indent}- id: {}", quoted(&self.id));
        let mut key = |name: &str, value: &str| {
            let _ = writeln!(out, "{indent}  {name}: {value}");
        };
        if let Some(on) = &self.on {
            key("on", &quoted(on));
        }
        match self.patterns.as_slice() {
            [] => {}
            [one] => key("pattern", &quoted(one)),
            many => {
                let lines: Vec<String> =
                    many.iter().map(|text| format!("\n{indent}    - {}", quoted(text))).collect();
                key("patterns", &lines.concat());
            }
        }
        let programs = Some(("process.name".to_owned(), self.programs.clone()));
        let programs = programs.filter(|(_, names)| !names.is_empty());
        let when: Vec<String> = programs
            .iter()
            .chain(&self.when)
            .map(|(field, values)| {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                format!("{}: [{}]", quoted(field), values.join(", "))
            })
            .collect();
        if !when.is_empty() {
            key("when", &format!("{{{}}}", when.join(", ")));
        }
        if !self.parse.is_empty() {
            key("parse", &format!("[{}]", self.parse.join(", ")));
        }
        if !self.transforms.is_empty() {
            let of = |(field, steps): (&String, &Vec<String>)| {
                format!("{}: [{}]", quoted(field), steps.join(", "))
            };
            key(
                "transform",
                &format!("{{{}}}", self.transforms.iter().map(of).collect::<Vec<_>>().join(", ")),
            );
        }
        if !self.sets.is_empty() {
            let of =
                |(field, value): &(String, String)| format!("{}: {}", quoted(field), quoted(value));
            key("set", &format!("{{{}}}", self.sets.iter().map(of).collect::<Vec<_>>().join(", ")));
        }
        match self.times.as_slice() {
            [] => {}
            [one] => key("time", one),
            many => key("time", &format!("[{}]", many.join(", "))),
        }
        match &self.then {
            Some((Some(field), chain)) => {
                key("then", &format!("{{field: {}, chain: {}}}", quoted(field), quoted(chain)));
            }
            Some((None, chain)) => key("then", &format!("{{chain: {}}}", quoted(chain))),
            None => {}
        }
        if self.drops {
            key("action", "{drop: converted}");
        }
        out.replace(":  \n", ":\n").replace("patterns: \n", "patterns:\n")
    }
}

/// `stem`, or the first of `stem_2`, `stem_3`, … that is not used.
/// The stem or, if that is known, the stem with the first number that is free.
fn unused<'n>(stem: &str, known: impl Iterator<Item = &'n str>) -> String {
    let numbers = known.map(|name| match name.strip_prefix(stem)? {
        "" => Some(1),
        rest => rest.strip_prefix('_')?.parse::<usize>().ok(),
    });
    let numbers: Vec<Option<usize>> = numbers.collect();
    // By number, of which there is no 0.
    let mut taken = vec![false; numbers.len() + 2];
    for number in numbers.into_iter().flatten() {
        taken.get_mut(number).into_iter().for_each(|taken| *taken = true);
    }
    match taken.iter().skip(1).position(|taken| !taken) {
        None | Some(0) => stem.to_owned(),
        Some(at) => format!("{stem}_{}", at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_known_gets_the_first_number_that_is_free() {
        for (known, expected) in [
            (&[][..], "a"),
            (&["ab", "a_2", "a_b"], "a"),
            (&["a"], "a_2"),
            (&["a", "a_3", "a_443"], "a_2"),
            (&["a_2", "a", "a_3"], "a_4"),
        ] {
            assert_eq!(unused("a", known.iter().copied()), expected, "{known:?}");
        }
    }
}
