//! Wazuh's and OSSEC's decoders.
//!
//! A decoder without a parent says by program or `prematch` which messages are its; its children are
//! tried on those. So it becomes a rule that leads to a chain, and each child a rule of the chain; the
//! children's `offset`s are resolved by writing the expressions one behind the other.

use super::Notes;
use super::fields::field;
use super::osregex::{Part, os_match, os_regex, pcre2};
use super::pack::{Pack, Rule};
use super::xml::{self, Element};
use crate::yaml::quoted;

pub(super) fn read(text: &str, pack: &mut Pack, notes: &mut Notes) {
    let ignores_case =
        "OS_Regex ignores case; these patterns do not: put (?i) in front where it matters";
    if !pack.comments.iter().any(|comment| comment == ignores_case) {
        pack.comments.push(ignores_case.to_owned());
    }
    let elements = xml::parse(text);
    let decoders: Vec<&Element> = elements.iter().flat_map(decoders_of).collect();
    for element in elements
        .iter()
        .filter(|element| !matches!(element.name.as_str(), "decoder" | "decoder_list"))
    {
        let comment = notes.add(element.line, format!("`<{}>` has no counterpart", element.name));
        pack.comments.push(comment);
    }
    let roots = decoders.iter().filter(|decoder| decoder.child("parent").is_none());
    for root in roots {
        let name = name(root);
        let children: Vec<&Element> = decoders
            .iter()
            .filter(|decoder| {
                decoder.child("parent").is_some_and(|parent| parent.text.trim() == name)
            })
            .copied()
            .collect();
        Reader { pack, notes }.family(root, &children);
    }
    let orphan = |decoder: &&&Element| {
        decoder
            .child("parent")
            .is_some_and(|parent| !decoders.iter().any(|other| name(other) == parent.text.trim()))
    };
    for decoder in decoders.iter().filter(orphan) {
        let comment = notes
            .add(decoder.line, format!("`{}`: its parent is not in these files", name(decoder)));
        pack.comments.push(comment);
    }
    let grandchild = |decoder: &&&Element| {
        let parent = decoder.child("parent").map(|parent| parent.text.trim().to_owned());
        parent.is_some_and(|parent| {
            decoders.iter().any(|other| name(other) == parent && other.child("parent").is_some())
                && !decoders
                    .iter()
                    .any(|other| name(other) == parent && other.child("parent").is_none())
        })
    };
    for decoder in decoders.iter().filter(grandchild) {
        let comment = notes.add(decoder.line, format!("`{}`: a child of a child", name(decoder)));
        pack.comments.push(comment);
    }
}

fn decoders_of(element: &Element) -> Vec<&Element> {
    match element.name.as_str() {
        "decoder" => vec![element],
        _ => element.children.iter().filter(|child| child.name == "decoder").collect(),
    }
}

fn name(decoder: &Element) -> String {
    decoder.attribute("name").unwrap_or("decoder").to_owned()
}

struct Reader<'p> {
    pack: &'p mut Pack,
    notes: &'p mut Notes,
}

impl Reader<'_> {
    fn family(&mut self, root: &Element, children: &[&Element]) {
        let name = name(root);
        let mut rule = Rule { id: self.pack.id(&name), line: root.line, ..Rule::default() };
        self.program(root, &mut rule);
        let before = match root.child("prematch") {
            Some(element) => expression(element).plain(),
            None => Part::start(),
        };
        let (parts, fields) = self.body(root, &before, &mut rule);
        let own = parts.unwrap_or_else(|| before.clone());
        rule.patterns.push(match own.pattern(&fields) {
            text if text.is_empty() => "^".to_owned(),
            text => text,
        });
        self.plugin(root, &mut rule);
        self.left_out(root, &mut rule);
        if !children.is_empty() {
            let chain = crate::suggest::identifier(&name);
            rule.then = Some((None, chain.clone()));
            let at = self.pack.chains.len();
            self.pack.chains.push((chain, Vec::new()));
            for child in children {
                self.child(child, &before, at);
            }
        }
        self.pack.rules.push(rule);
    }

    fn child(&mut self, child: &Element, parent: &Part, chain: usize) {
        let mut rule = Rule { id: self.pack.id(&name(child)), line: child.line, ..Rule::default() };
        let (part, fields) = self.body(child, parent, &mut rule);
        self.plugin(child, &mut rule);
        self.left_out(child, &mut rule);
        let follows = child
            .child("regex")
            .is_some_and(|regex| regex.attribute("offset") == Some("after_regex"));
        let list = &self.pack.chains[chain].1;
        let same = |rule: &&Rule| rule.id.starts_with(&self.pack.name) && !follows;
        let sibling = list.iter().filter(same).any(|known| stem(&known.id) == stem(&rule.id));
        if sibling {
            let message = format!(
                "`{}` adds to the decoder of the same name before it; here the first of them that matches counts",
                name(child)
            );
            let comment = self.notes.add(child.line, message);
            rule.comments.push(comment);
        }
        match part {
            Some(part) => rule.patterns.push(part.pattern(&fields)),
            None if rule.parse.is_empty() => {
                let comment =
                    self.notes.add(child.line, format!("`{}` has no expression", name(child)));
                return self.pack.comments.push(comment);
            }
            None => {}
        }
        self.pack.chains[chain].1.push(rule);
    }

    /// The expressions of a decoder, put together, and the fields of their groups.
    fn body(
        &mut self,
        decoder: &Element,
        parent: &Part,
        rule: &mut Rule,
    ) -> (Option<Part>, Vec<String>) {
        let own = decoder.child("parent").and_then(|_| decoder.child("prematch"));
        let prematch = own.map(|element| {
            let part = expression(element).plain();
            match element.attribute("offset") {
                Some("after_parent") => parent.then(&part),
                _ => part,
            }
        });
        let regexes: Vec<&Element> =
            decoder.children.iter().filter(|child| child.name == "regex").collect();
        let Some(first) = regexes.first() else { return (prematch, Vec::new()) };
        let text: String = regexes.iter().map(|regex| literal(&regex.text)).collect();
        let part = expression(&Element { text, ..(*first).clone() });
        let joined = match first.attribute("offset") {
            Some("after_prematch") => match (&prematch, decoder.child("parent")) {
                (Some(prematch), _) => prematch.then(&part),
                (None, _) => parent.then(&part),
            },
            Some("after_parent") => parent.then(&part),
            Some("after_regex") => {
                let comment = self.notes.add(
                    first.line,
                    "`after_regex`: the expression is looked for anywhere, not behind the one before",
                );
                rule.comments.push(comment);
                Part { anchored: false, ..part }
            }
            _ => {
                if prematch.is_some() {
                    let comment = self.notes.add(
                        first.line,
                        "the `prematch`: the `regex` looks at the whole message and decides alone",
                    );
                    rule.comments.push(comment);
                }
                part
            }
        };
        let order = decoder.child("order").map(|order| order.text.as_str()).unwrap_or_default();
        let fields =
            order.split(',').map(str::trim).filter(|name| !name.is_empty()).map(field).collect();
        (Some(joined), fields)
    }

    /// Programs become the pack's, and the rule's: other families have programs of their own.
    fn program(&mut self, root: &Element, rule: &mut Rule) {
        let Some(element) = root.child("program_name") else { return };
        for text in alternatives(element.text.trim()) {
            let (begin, text) = match text.strip_prefix('^') {
                Some(text) => ("", text),
                None => ("*", text.as_str()),
            };
            let (text, end) = match text.strip_suffix('$') {
                Some(text) => (text, ""),
                None => (text, "*"),
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
            if text.is_empty() || !text.chars().all(plain) {
                let message =
                    format!("the program `{}`: name it in `applies`", element.text.trim());
                let comment = self.notes.add(element.line, message);
                rule.comments.push(comment);
                return rule.programs.clear();
            }
            let program = format!("{begin}{text}{end}");
            rule.programs.push(program.clone());
            self.pack.add_program(program);
        }
    }

    fn plugin(&mut self, decoder: &Element, rule: &mut Rule) {
        let Some(element) = decoder.child("plugin_decoder") else { return };
        if element.text.trim() == "JSON_Decoder" {
            rule.parse.push(format!("{{as: json, rest: {}}}", quoted(&self.pack.vendor())));
        } else {
            let message = format!("the plugin `{}` has no counterpart", element.text.trim());
            let comment = self.notes.add(element.line, message);
            rule.comments.push(comment);
        }
    }

    fn left_out(&mut self, decoder: &Element, rule: &mut Rule) {
        const KNOWN: [&str; 10] = [
            "parent",
            "program_name",
            "prematch",
            "regex",
            "order",
            "plugin_decoder",
            "type",
            "fts",
            "ftscomment",
            "use_own_name",
        ];
        for element in decoder.children.iter().filter(|child| !KNOWN.contains(&child.name.as_str()))
        {
            let comment =
                self.notes.add(element.line, format!("`<{}>` has no counterpart", element.name));
            rule.comments.push(comment);
        }
    }
}

/// An id without the number that makes it unique.
fn stem(id: &str) -> &str {
    match id.rsplit_once('_') {
        Some((stem, number)) if number.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => id,
    }
}

/// What an expression looks for: spaces at its ends, too, but no line breaks around it.
fn literal(text: &str) -> &str {
    if text.contains('\n') { text.trim() } else { text }
}

fn expression(element: &Element) -> Part {
    let text = literal(&element.text);
    match element.attribute("type") {
        Some("pcre2") => pcre2(text),
        Some("osmatch") => os_match(text),
        _ => os_regex(text),
    }
}

/// `a|b` and `^(?:a|b)$`.
fn alternatives(text: &str) -> Vec<String> {
    let inner = text
        .strip_prefix("^(?:")
        .or(text.strip_prefix("^("))
        .and_then(|text| text.strip_suffix(")$"));
    match inner {
        Some(inner) => inner.split('|').map(|part| format!("^{part}$")).collect(),
        None => text.split('|').map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::From;
    use super::super::tests::check;

    #[test]
    fn decoders_become_a_rule_and_its_chain() {
        check(
            From::Wazuh,
            r#"<!-- A shop's daemon. -->
<var name="x">y</var>
<decoder name="shopd">
  <program_name>^shopd$|^shop-</program_name>
</decoder>

<decoder name="shopd-login">
  <parent>shopd</parent>
  <prematch>^Login refused</prematch>
  <regex offset="after_prematch">^ for user (\S+) from (\S+) port (\d+)</regex>
  <order>user, srcip, srcport</order>
  <fts>name, user</fts>
</decoder>

<decoder name="shopd-order">
  <parent>shopd</parent>
  <regex type="pcre2">order (\d{3,}) (?:paid|lost) \((\w+)\)</regex>
  <order>order_id, status</order>
  <accumulate />
</decoder>

<decoder name="shop-audit">
  <prematch>^audit: </prematch>
</decoder>
<decoder name="shop-audit-json">
  <parent>shop-audit</parent>
  <regex offset="after_parent">id=(\.+); x</regex>
  <order>id</order>
</decoder>
<decoder name="lost"><parent>nobody</parent><regex>a</regex></decoder>
"#,
            &[
                (
                    "Nov 28 10:15:02 web1 shopd[4]: Login refused for user bob from 10.0.0.1 port 22",
                    &[("user.name", "bob"), ("source.ip", "10.0.0.1"), ("source.port", "22")],
                ),
                (
                    "Nov 28 10:15:02 web1 shop-x: the order 1234 lost (reason)",
                    &[("labels.order_id", "1234"), ("labels.status", "reason")],
                ),
            ],
            &[(2, "`<var>`"), (19, "`<accumulate>`"), (30, "its parent")],
        );
    }

    #[test]
    fn each_family_takes_the_lines_of_its_programs() {
        check(
            From::Wazuh,
            r#"<decoder name="shopd"><program_name>^shopd</program_name></decoder>
<decoder name="shopd-user"><parent>shopd</parent><regex>user (\w+)</regex><order>user</order></decoder>
<decoder name="ftpd"><program_name>ftpd|^vsftpd$</program_name></decoder>
<decoder name="ftpd-success">
  <parent>ftpd</parent>
  <prematch>^FTP LOGIN FROM </prematch>
  <regex offset="after_prematch">^(\S+), \S+ \p(\S+)\p$</regex>
  <order>srcip, user</order>
</decoder>
"#,
            &[
                (
                    "Nov 28 10:15:02 h ftpd[1]: FTP LOGIN FROM 10.0.0.1, x (bob)",
                    &[("source.ip", "10.0.0.1"), ("user.name", "bob")],
                ),
                ("Nov 28 10:15:02 h shopd: user alice", &[("user.name", "alice")]),
            ],
            &[],
        );
    }

    #[test]
    fn what_differs_is_told() {
        check(
            From::Wazuh,
            r#"<decoder name="a"><prematch type="pcre2">^(?:x|y): </prematch></decoder>
<decoder name="a1"><parent>a</parent><prematch offset="after_parent">^n=</prematch>
<regex>n=(\d+)</regex><order>n</order></decoder>
<decoder name="a1"><parent>a</parent><regex offset="after_regex">m=(\d+)</regex><order>m</order></decoder>
"#,
            &[("x: n=5", &[("labels.n", "5")]), ("y: m=6", &[("labels.m", "6")])],
            &[(3, "`prematch`"), (4, "`after_regex`")],
        );
    }
}
