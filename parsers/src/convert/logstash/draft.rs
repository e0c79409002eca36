//! A rule in the making, with what Logstash calls its fields: what later filters do to a field has to be
//! done wherever the rule names it.

use super::super::fields::{beside, field};
use super::super::pack::Rule;
use super::super::pattern::{Capture, Named, captures, inline, rewrite};
use crate::yaml::quoted;
use crate::{ecs, pattern, suggest::identifier};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Whether a change had something to change; or what cannot be said here.
pub(super) type Changed = Result<bool, String>;

#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    /// But for what is below.
    pub(super) rule: Rule,
    /// The number of the chain that it stands in.
    pub(super) chain: Option<usize>,
    /// Names of Logstash and the fields of this rule that they stand for.
    names: BTreeMap<String, String>,
    /// Those of the rules that lead to this one.
    outer: BTreeMap<String, String>,
    when: BTreeMap<String, Vec<String>>,
    pub(super) parse: Vec<Parse>,
    /// Fields, and the rest of a flow mapping.
    pub(super) times: Vec<(String, String)>,
    /// What the names in its patterns stand for.
    definitions: Rc<BTreeMap<String, String>>,
}

/// A line of `parse:`.
#[derive(Debug, Clone, Default)]
pub(super) struct Parse {
    pub(super) form: &'static str,
    /// Of a flow mapping, each with a comma in front.
    pub(super) options: String,
    pub(super) field: Option<String>,
    /// What Logstash puts in front of the keys.
    pub(super) prefix: String,
    /// Keys and their fields.
    pub(super) fields: BTreeMap<String, String>,
    /// Where other keys are kept; if that is nowhere, there are none.
    pub(super) rest: Option<String>,
}

impl Parse {
    fn write(&self, optional: bool) -> String {
        let mut out = format!("{{as: {}{}", self.form, self.options);
        if !self.fields.is_empty() {
            let of =
                |(key, field): (&String, &String)| format!("{}: {}", quoted(key), quoted(field));
            let fields: Vec<String> = self.fields.iter().map(of).collect();
            out.push_str(&format!(", fields: {{{}}}", fields.join(", ")));
        }
        for (key, value) in [("rest", &self.rest), ("field", &self.field)] {
            if let Some(value) = value {
                out.push_str(&format!(", {key}: {}", quoted(value)));
            }
        }
        out.push_str(if optional { ", optional: true}" } else { "}" });
        out
    }
}

/// `[a][b]` as `a.b`.
pub(super) fn plain(name: &str) -> String {
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    inner.map_or_else(|| name.to_owned(), |inner| inner.replace("][", "."))
}

impl Draft {
    pub(super) fn new(line: usize, definitions: BTreeMap<String, String>) -> Self {
        let rule = Rule { line, ..Rule::default() };
        Self { rule, definitions: Rc::new(definitions), ..Self::default() }
    }

    /// The rule stands behind `other`.
    pub(super) fn follow(&mut self, other: &Self) {
        self.outer
            .extend(other.outer.iter().chain(&other.names).map(|(a, b)| (a.clone(), b.clone())));
    }

    /// Takes patterns in; says which values have no field of their own.
    pub(super) fn add_patterns(&mut self, patterns: &[String]) -> Vec<String> {
        let lists: Vec<Vec<Capture>> = patterns.iter().map(|text| captures(text)).collect();
        let together = |one: &str, other: &str| {
            lists.iter().any(|list| {
                let mut named = list.iter().filter(|capture| plain(&capture.name) == one);
                named.any(|capture| {
                    list.iter()
                        .any(|second| plain(&second.name) == other && !capture.excludes(second))
                })
            })
        };
        let mut said = Vec::new();
        for name in lists.iter().flatten().map(|capture| plain(&capture.name)) {
            if !self.names.contains_key(&name) {
                let here = self.names.iter().filter(|(other, _)| together(other, &name));
                let (field, note) = beside(&name, here.chain(&self.outer));
                said.extend(note);
                self.names.insert(name, field);
            }
        }
        for text in patterns {
            let text = rewrite(text, |named| Named {
                name: self.names[&plain(&named.name)].clone(),
                ..named
            });
            self.rule.patterns.push(text);
        }
        said
    }

    pub(super) fn add_column(&mut self, name: &str) -> String {
        let (field, _) = beside(name, self.names.iter());
        self.names.insert(name.to_owned(), field.clone());
        field
    }

    /// Whether the patterns capture a field, also inside of other patterns.
    fn captures(&self, field: &str) -> bool {
        self.rule.patterns.iter().any(|text| {
            pattern::expand(text, &self.definitions)
                .is_ok_and(|expanded| expanded.captures.iter().any(|one| one.name == field))
        })
    }

    /// The field of a name that the rule or one that leads to it is known to have.
    pub(super) fn known(&mut self, name: &str) -> Option<String> {
        let name = plain(name);
        let other = |known: &String| self.names.values().any(|field| field == known);
        if !self.names.contains_key(&name) {
            let known = Some(field(&name)).filter(|known| !other(known) && self.captures(known));
            match known {
                Some(known) => self.names.insert(name.clone(), known),
                None => return self.outer.get(&name).cloned(),
            };
        }
        self.names.get(&name).cloned()
    }

    /// The field of a name that this rule has, or that a key of its sub-parsers may be.
    pub(super) fn own(&mut self, name: &str) -> Option<String> {
        let known = self.known(name);
        let name = plain(name);
        if self.names.contains_key(&name) {
            return known;
        }
        let (field, _) = beside(&name, self.names.iter());
        let mut found = false;
        for parse in self.parse.iter_mut().filter(|parse| parse.rest.is_some()) {
            let Some(key) = name.strip_prefix(&parse.prefix) else { continue };
            if (name != "message" || parse.form == "json") && !parse.fields.contains_key(key) {
                parse.fields.insert(key.to_owned(), field.clone());
                found = true;
            }
        }
        found.then(|| {
            self.names.insert(name, field.clone());
            field
        })
    }

    /// Whether conditions can ask for what the line has under a name.
    pub(super) fn asks(&mut self, name: &str) -> Option<String> {
        // Inputs give these to the event; keys of the line they are not.
        let of_input = ["type", "tags", "fields", "@metadata"];
        let is_key = !of_input.contains(&plain(name).split('.').next().unwrap_or_default());
        let own = if is_key { self.own(name) } else { None };
        let field = own.or_else(|| self.known(name))?;
        let changed = self.rule.transforms.contains_key(&field)
            || self.rule.sets.iter().any(|(set, _)| *set == field);
        (!changed).then_some(field)
    }

    /// Adds a condition; `false` if one that is there excludes it.
    pub(super) fn when(&mut self, field: &str, values: &[String]) -> bool {
        let list = self.when.entry(field.to_owned()).or_insert_with(|| values.to_vec());
        list.retain(|value| values.contains(value));
        !list.is_empty()
    }

    /// Whether both do the same with the lines that they are for.
    pub(super) fn does_as(&self, other: &Self) -> bool {
        let text = |draft: &Self| {
            let mut rule = Self { when: BTreeMap::new(), ..draft.clone() }.finish();
            rule.comments.clear();
            rule.write("")
        };
        text(self) == text(other)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Changed {
        if let Some(old) = self.own(from)
            && let Some(taken) = self.known(to)
        {
            if self.captures(&taken) && !self.captures(&old) {
                // A key that a line may not have: then what was captured stays.
                return self.move_to(from, &taken, Some(to));
            }
            self.remove(to)?;
        }
        let new = beside(&plain(to), self.names.iter().filter(|(name, _)| **name != plain(from))).0;
        self.move_to(from, &new, Some(to))
    }

    /// A removed field gets a name that is not emitted.
    pub(super) fn remove(&mut self, name: &str) -> Changed {
        let known = self.known(name);
        let Some(old) = known.clone().or_else(|| self.own(name)) else { return Ok(false) };
        let own =
            old.starts_with('_') || self.move_to(name, &format!("_{}", identifier(&old)), None)?;
        if known.is_none() && self.parse.iter().any(|parse| parse.form == "json") {
            return Err(format!(
                "`remove_field` of `{name}`: if that is an object, what is inside of it stays; name its keys"
            ));
        }
        Ok(own)
    }

    fn move_to(&mut self, name: &str, new: &str, to: Option<&str>) -> Changed {
        let old = self.own(name).or_else(|| self.known(name));
        let Some(old) = old else { return Ok(false) };
        let own = self.names.remove(&plain(name));
        let names = if own.is_some() { &mut self.names } else { &mut self.outer };
        names.remove(&plain(name));
        names.extend(to.map(|to| (plain(to), new.to_owned())));
        self.rename_field(&old, new);
        Ok(own.is_some())
    }

    fn rename_field(&mut self, old: &str, new: &str) {
        self.change_captures(old, |named| Named { name: new.to_owned(), ..named });
        let rule = &mut self.rule;
        let parsed = self
            .parse
            .iter_mut()
            .flat_map(|parse| parse.fields.values_mut().chain(&mut parse.field));
        let fields = parsed
            .chain(self.times.iter_mut().map(|(field, _)| field))
            .chain(rule.sets.iter_mut().map(|(field, _)| field))
            .chain(rule.then.iter_mut().flat_map(|(field, _)| field));
        fields.filter(|field| *field == old).for_each(|field| new.clone_into(field));
        for (_, template) in &mut rule.sets {
            *template = template.replace(&format!("{{{old}}}"), &format!("{{{new}}}"));
        }
        if let Some(steps) = rule.transforms.remove(old) {
            rule.transforms.entry(new.to_owned()).or_default().extend(steps);
        }
        if let Some(values) = self.when.remove(old) {
            self.when.insert(new.to_owned(), values);
        }
    }

    /// Changes the captures of a field, also those inside of other patterns.
    fn change_captures(&mut self, field: &str, change: impl Fn(Named) -> Named) {
        for text in &mut self.rule.patterns {
            *text = rewrite(&inline(text, field, &self.definitions), |named| {
                if named.name == field { change(named) } else { named }
            });
        }
    }

    pub(super) fn convert(&mut self, name: &str, kind: &str) -> Changed {
        let Some(field) = self.own(name) else { return Ok(false) };
        // A field of ECS has its type.
        if ecs::type_of(&field).is_none() {
            if !self.captures(&field) {
                return Err(format!(
                    "`convert`: a key such as `{name}` keeps the type that it has in the line"
                ));
            }
            self.change_captures(&field, |named| Named { kind: Some(kind.to_owned()), ..named });
        }
        Ok(true)
    }

    pub(super) fn transform(&mut self, name: &str, step: &str) -> Changed {
        let Some(field) = self.own(name) else { return Ok(false) };
        self.rule.transforms.entry(field).or_default().push(step.to_owned());
        Ok(true)
    }

    pub(super) fn time(&mut self, source: &str, rest: &str) -> Changed {
        let field = self.own(source);
        let found = field.is_some();
        self.times.extend(field.map(|field| (field, rest.to_owned())));
        Ok(found)
    }

    pub(super) fn add(&mut self, name: &str, value: &str) -> Changed {
        if self.known(name).is_some() {
            return Err(format!("a second value for `{name}`: the first one counts"));
        }
        let Some(value) = self.template(value)? else { return Ok(false) };
        let (field, note) = beside(&plain(name), self.names.iter());
        self.rule.sets.push((field.clone(), value));
        self.names.insert(plain(name), field);
        note.map_or(Ok(true), Err)
    }

    /// What was captured is kept for use inside the rule; `set` fills only what has no value.
    pub(super) fn replace(&mut self, name: &str, value: &str) -> Changed {
        let Some(field) = self.own(name) else { return Ok(false) };
        let hidden = format!("_was_{}", identifier(&field));
        self.move_to(name, &hidden, Some(name))?;
        let value = self.template(value)?;
        self.names.insert(plain(name), field.clone());
        self.rule.sets.retain(|(known, _)| *known != hidden);
        self.rule.sets.extend(value.map(|value| (field, value)));
        Ok(true)
    }

    /// `%{a} b` as `{a} b`, if the rule has what it names.
    fn template(&mut self, text: &str) -> Result<Option<String>, String> {
        const OF_HEADER: [&str; 4] = ["host.hostname", "process.name", "process.pid", "@timestamp"];
        let literal = |text: &str| text.replace('{', "{{").replace('}', "}}");
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, (name, behind))) =
            rest.split_once("%{").and_then(|(a, b)| Some((a, b.split_once('}')?)))
        {
            if name.starts_with('+') {
                return Err(format!("`%{{{name}}}`: texts of times have no counterpart"));
            }
            let known = self.known(name).or_else(|| self.own(name));
            let header = Some(field(name)).filter(|field| OF_HEADER.contains(&field.as_str()));
            let Some(field) = known.or(header) else { return Ok(None) };
            out.push_str(&format!("{}{{{field}}}", literal(before)));
            rest = behind;
        }
        Ok(Some(out + &literal(rest)))
    }

    pub(super) fn finish(mut self) -> Rule {
        self.rule.programs = self.when.remove("process.name").unwrap_or_default();
        self.rule.when = self.when.into_iter().collect();
        let alone = self.rule.patterns.is_empty();
        for (at, parse) in self.parse.iter().enumerate() {
            self.rule.parse.push(parse.write(!(alone && at == 0)));
        }
        for (field, rest) in &self.times {
            self.rule.times.push(format!("{{field: {}{rest}}}", quoted(field)));
        }
        self.rule
    }
}
