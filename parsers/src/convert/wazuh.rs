//! Wazuh's and OSSEC's decoders.
//!
//! A decoder without a parent says by program or `prematch` which messages are its; its children are
//! tried on those. So it becomes a rule that leads to a chain, and each child a rule of the chain; the
//! children's `offset`s are resolved by writing the expressions one behind the other, those of children of
//! one name as parts that may be there or not. Where a decoder looks for two things at any place, the second is
//! a rule behind the first.

use super::Notes;
use super::fields::{beside, label};
use super::osregex::{Part, os_match, os_regex, pcre2};
use super::pack::{Pack, Rule};
use super::xml::{self, Element};
use crate::yaml::quoted;
use std::collections::BTreeMap;

pub(super) fn read(text: &str, pack: &mut Pack, notes: &mut Notes) {
    let ignores_case =
        "OS_Regex ignores case; these patterns do not: put (?i) in front where it matters";
    if !pack.comments.iter().any(|comment| comment == ignores_case) {
        pack.comments.push(ignores_case.to_owned());
    }
    let mut reader = Reader { pack, notes };
    let (elements, faults) = xml::parse(text);
    for (line, fault) in faults {
        reader.note(line, fault);
    }
    let (decoders, others): (Vec<&Element>, Vec<&Element>) =
        elements.iter().flat_map(listed).partition(|element| is_decoder(element));
    for element in others {
        reader.note(element.line, format!("`<{}>` has no counterpart", element.name));
    }
    for decoder in decoders.iter().filter(|decoder| decoder.attribute("name").is_none()) {
        reader.note(decoder.line, "a `<decoder>` without a name: write `<decoder name=\"…\">`");
    }
    let (roots, children): (Vec<&Element>, Vec<&Element>) =
        decoders.iter().partition(|decoder| decoder.child("parent").is_none());
    reader.families(&roots, &children);
    for child in children.iter().filter(|child| !roots.iter().any(|root| is_parent(root, child))) {
        let why = match decoders.iter().any(|other| is_parent(other, child)) {
            true => "a child of a child",
            false => "its parent is not in this file: put both into one",
        };
        reader.note(child.line, format!("`{}`: {why}", name(child)));
    }
}

/// What stands in a list of decoders, however it is called.
fn listed(element: &Element) -> &[Element] {
    match element.children.iter().any(is_decoder) {
        true => &element.children,
        false => std::slice::from_ref(element),
    }
}

fn is_decoder(element: &Element) -> bool {
    element.name == "decoder"
}

fn name(decoder: &Element) -> &str {
    decoder.attribute("name").unwrap_or("decoder")
}

fn is_parent(decoder: &Element, child: &Element) -> bool {
    child.child("parent").is_some_and(|parent| parent.text.trim() == name(decoder))
}

/// Whether `next` goes on with the message that the decoder before it has taken.
fn continues(decoder: &Element, next: &Element) -> bool {
    let only_regex = next.child("prematch").is_none() && next.child("plugin_decoder").is_none();
    let both = decoder.child("regex").is_some() && next.child("regex").is_some();
    name(decoder) == name(next) && only_regex && both
}

/// What a root asks of its messages.
fn prematch(root: &Element) -> Part {
    joined(root, "prematch").map_or(Part::start(), |found| expression(&found, &[]))
}

/// What is left of a message for a plugin.
const BODY: &str = "_body";

struct Reader<'p> {
    pack: &'p mut Pack,
    notes: &'p mut Notes,
}

impl Reader<'_> {
    /// What belongs to no rule.
    fn note(&mut self, line: usize, message: impl Into<String>) {
        let comment = self.notes.add(line, message);
        self.pack.comments.push(comment);
    }

    /// A note that stands above its rule, too.
    fn tell(&mut self, rule: &mut Rule, line: usize, message: impl Into<String>) {
        rule.comments.push(self.notes.add(line, message));
    }

    /// Roots of one name share their children.
    fn families(&mut self, roots: &[&Element], children: &[&Element]) {
        let mut chains: BTreeMap<&str, String> = BTreeMap::new();
        for root in roots {
            let own: Vec<&Element> =
                children.iter().filter(|child| is_parent(root, child)).copied().collect();
            if own.is_empty() {
                self.root(root, None);
                continue;
            }
            let known = chains.get(name(root)).cloned();
            let chain = known.unwrap_or_else(|| self.chain(&self.pack.id(name(root))));
            self.root(root, Some(&chain));
            if chains.insert(name(root), chain.clone()).is_none() {
                let same = roots.iter().filter(|other| name(other) == name(root));
                let parent = Part::any(same.map(|root| prematch(root)).collect());
                let at = self.pack.chains.len();
                self.pack.chains.push((chain, Vec::new()));
                for family in own.chunk_by(|one, next| continues(one, next)) {
                    self.child(family, &parent, at);
                }
            }
        }
    }

    /// The chain behind a rule: of its name, because that is the only one of it.
    fn chain(&self, id: &str) -> String {
        id.strip_prefix(&self.pack.name).unwrap_or(id).trim_start_matches('.').to_owned()
    }

    fn root(&mut self, root: &Element, chain: Option<&str>) {
        let mut rule = Rule { id: self.pack.id(name(root)), line: root.line, ..Rule::default() };
        self.program(root, &mut rule);
        self.left_out(root, &mut rule);
        let Some(chain) = chain else {
            let (own, inner) = self.body(&[root], &Part::start(), &mut rule);
            return self.put(root, rule, own.or(Some(Part::start())), inner, None);
        };
        rule.then = Some((None, chain.to_owned()));
        rule.patterns.push(prematch(root).pattern());
        for element in
            root.children.iter().filter(|child| matches!(&*child.name, "regex" | "plugin_decoder"))
        {
            let message = format!("`<{}>` beside children, which alone are tried", element.name);
            self.tell(&mut rule, element.line, message);
        }
        self.pack.rules.push(rule);
    }

    /// A child, with those of the same name that go on where it ends.
    fn child(&mut self, family: &[&Element], parent: &Part, chain: usize) {
        let child = family[0];
        let mut rule = Rule { id: self.pack.id(name(child)), line: child.line, ..Rule::default() };
        let (own, inner) = self.body(family, parent, &mut rule);
        if own.is_none() && child.child("plugin_decoder").is_none() {
            return self.note(child.line, format!("`{}` has no expression", name(child)));
        }
        family.iter().for_each(|decoder| self.left_out(decoder, &mut rule));
        self.put(child, rule, own, inner, Some(chain));
    }

    /// Puts a rule into a chain, or beside the others; what it cannot look for at the same time, into
    /// a rule behind it.
    fn put(
        &mut self,
        decoder: &Element,
        mut rule: Rule,
        own: Option<Part>,
        inner: Option<Part>,
        chain: Option<usize>,
    ) {
        rule.patterns.extend(own.map(|part| part.pattern()));
        let behind = inner.map(|part| (self.chain(&rule.id), part));
        match &behind {
            Some((chain, _)) => rule.then = Some((None, chain.clone())),
            None => self.plugin(decoder, &mut rule),
        }
        match chain {
            Some(at) => self.pack.chains[at].1.push(rule),
            None => self.pack.rules.push(rule),
        }
        if let Some((chain, part)) = behind {
            let id = self.pack.id(name(decoder));
            let patterns = vec![part.pattern()];
            let mut rule = Rule { id, line: decoder.line, patterns, ..Rule::default() };
            self.plugin(decoder, &mut rule);
            self.pack.chains.push((chain, vec![rule]));
        }
    }

    /// What decides whether a message is the decoder's, and what is looked for in it then.
    fn body(
        &mut self,
        family: &[&Element],
        parent: &Part,
        rule: &mut Rule,
    ) -> (Option<Part>, Option<Part>) {
        let decoder = family[0];
        let mut names = BTreeMap::new();
        let prematch = joined(decoder, "prematch").map(|found| {
            let part = self.expression(&found, &[], rule);
            if found.attribute("offset") == Some("after_parent") {
                parent.then(&part)
            } else {
                part
            }
        });
        let body = match (joined(decoder, "regex"), decoder.child("plugin_decoder")) {
            (Some(found), _) => {
                let fields = self.order(decoder, &mut names, rule);
                let part = self.expression(&found, &fields, rule);
                Some((found.attribute("offset").map(str::to_owned), part))
            }
            (None, Some(plugin)) => plugin.attribute("offset").map(|offset| {
                let part = Part { anchored: true, regex: format!("(?<{BODY}>.*)") };
                (Some(offset.to_owned()), part)
            }),
            (None, None) => None,
        };
        let Some((offset, part)) = body else { return (prematch, None) };
        let offset = offset.as_deref();
        let base = match offset {
            Some("after_prematch") => prematch.as_ref().unwrap_or(parent).clone(),
            Some("after_parent") => parent.clone(),
            _ => Part::start(),
        };
        let first = if family.len() == 1 { base.then(&part) } else { base.maybe(&part) };
        let whole = family[1..]
            .iter()
            .fold(first, |whole, next| whole.maybe(&self.further(next, &mut names, rule)));
        match prematch {
            Some(prematch) if offset != Some("after_prematch") => (Some(prematch), Some(whole)),
            _ => (Some(whole), None),
        }
    }

    /// The expression of a decoder that continues another.
    fn further(
        &mut self,
        decoder: &Element,
        names: &mut BTreeMap<String, String>,
        rule: &mut Rule,
    ) -> Part {
        let Some(found) = joined(decoder, "regex") else { return Part::start() };
        let fields = self.order(decoder, names, rule);
        if found.attribute("offset") == Some("after_regex") {
            return self.expression(&found, &fields, rule);
        }
        let message = format!(
            "`{}` is looked for behind the one of this name before it, not in the whole message",
            name(decoder)
        );
        self.tell(rule, decoder.line, message);
        Part { anchored: false, ..expression(&found, &fields) }
    }

    fn expression(&mut self, element: &Element, fields: &[String], rule: &mut Rule) -> Part {
        let part = expression(element, fields);
        if element.attribute("offset").is_some() && part.asks_for_start() {
            let message = "a `^` inside a group asks for the start of the message, not for the \
                           place of the `offset`: put it in front of the group";
            self.tell(rule, element.line, message);
        }
        part
    }

    /// The fields of the groups; `names` are those that the rule has got so far.
    fn order(
        &mut self,
        decoder: &Element,
        names: &mut BTreeMap<String, String>,
        rule: &mut Rule,
    ) -> Vec<String> {
        let Some(order) = joined(decoder, "order") else { return Vec::new() };
        let mut fields = Vec::new();
        for name in order.text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let (mut field, note) = beside(name, names.iter());
            if let Some(note) = note {
                self.tell(rule, order.line, note);
            }
            if field.starts_with('_') {
                // A time that no decoder has the format of.
                field = label(name);
            }
            names.insert(name.to_owned(), field.clone());
            fields.push(field);
        }
        fields
    }

    /// Programs become the pack's, and the rule's: other families have programs of their own.
    fn program(&mut self, root: &Element, rule: &mut Rule) {
        let Some(element) = joined(root, "program_name") else { return };
        let mut programs = Vec::new();
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
                self.tell(rule, element.line, message);
                return;
            }
            programs.push(format!("{begin}{text}{end}"));
        }
        programs.iter().for_each(|program| self.pack.add_program(program.clone()));
        rule.programs = programs;
    }

    fn plugin(&mut self, decoder: &Element, rule: &mut Rule) {
        let Some(element) = decoder.child("plugin_decoder") else { return };
        if element.text.trim() == "JSON_Decoder" {
            let field =
                element.attribute("offset").map_or(String::new(), |_| format!("field: {BODY}, "));
            rule.parse.push(format!("{{as: json, {field}rest: {}}}", quoted(&self.pack.vendor())));
        } else {
            let message = format!("the plugin `{}` has no counterpart", element.text.trim());
            self.tell(rule, element.line, message);
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
            self.tell(rule, element.line, format!("`<{}>` has no counterpart", element.name));
        }
    }
}

/// The text of all elements of this name, one behind the other, with the attributes that any of them has.
fn joined(decoder: &Element, wanted: &str) -> Option<Element> {
    let mut all = decoder.children.iter().filter(|child| child.name == wanted);
    let mut found = all.next()?.clone();
    found.text = literal(&found.text).to_owned();
    for next in all {
        found.text.push_str(literal(&next.text));
        found.attributes.extend(next.attributes.iter().cloned());
    }
    Some(found)
}

/// What an expression looks for: spaces at its ends, too, but no line breaks around it.
fn literal(text: &str) -> &str {
    if text.contains('\n') { text.trim() } else { text }
}

fn expression(element: &Element, fields: &[String]) -> Part {
    match element.attribute("type") {
        Some("pcre2") => pcre2(&element.text, fields),
        Some("osmatch") => os_match(&element.text),
        _ => os_regex(&element.text, fields),
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
            &[
                (2, "`<var>`"),
                (19, "`<accumulate>`"),
                (30, "its parent"),
                (22, "`shop.shop_audit` is for any program"),
            ],
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
    fn decoders_look_where_wazuh_does() {
        let family = r#"<decoder name="p"><prematch type="pcre2">^(?:x|y): </prematch></decoder>"#;
        let check = |text: &str, lines: &[(&str, &[(&str, &str)])]| {
            check(From::Wazuh, &format!("{family}{text}"), lines, &[]);
        };
        // Alternatives that begin at the offset, and what their groups capture.
        check(
            r#"<decoder name="a"><prematch>^Accepted|^Failed</prematch>
<regex offset="after_prematch">^ for (\S+)|^ of (\S+)</regex><order>user</order></decoder>"#,
            &[
                ("Accepted for bob", &[("user.name", "bob")]),
                ("Failed of eve", &[("user.name", "eve")]),
                ("Failed x of eve", &[("user.name", "null")]),
            ],
        );
        // The prematch counts where the regex looks at the whole message.
        check(
            r#"<decoder name="d"><prematch>^D </prematch><regex>a=(\w+)</regex><order>user</order></decoder>
<decoder name="c"><parent>p</parent><prematch offset="after_parent">^n=</prematch>
<regex>n=(\d+)</regex><order>n</order></decoder>"#,
            &[
                ("D a=bob", &[("user.name", "bob"), ("logweir.rule", "shop.d_2")]),
                ("E a=bob", &[("logweir.rule", "null")]),
                ("x: n=5", &[("labels.n", "5")]),
                ("x: m=5 n=5", &[("labels.n", "null")]),
            ],
        );
        // Texts of several elements of one name are one.
        check(
            r#"<decoder name="k"><parent>p</parent><prematch offset="after_parent">^a</prematch><prematch> b</prematch>
<regex offset="after_prematch">c=(\d)</regex><regex>(\d)</regex><order>c, d</order></decoder>"#,
            &[
                ("x: a b c=12", &[("labels.c", "1"), ("labels.d", "2")]),
                ("x: a x c=12", &[("labels.c", "null")]),
            ],
        );
        // What goes on behind a regex, be it there or not.
        check(
            r#"<decoder name="f"><parent>p</parent><regex offset="after_parent">src=(\S+)</regex><order>srcip</order></decoder>
<decoder name="f"><parent>p</parent><regex offset="after_regex">^ dpt=(\d+)</regex><order>dstport</order></decoder>
<decoder name="f"><parent>p</parent><regex offset="after_regex">act=(\w+)</regex><order>action</order></decoder>"#,
            &[
                (
                    "x: src=10.0.0.1 dpt=80 if=1 act=drop",
                    &[
                        ("source.ip", "10.0.0.1"),
                        ("destination.port", "80"),
                        ("event.action", "drop"),
                    ],
                ),
                (
                    "x: src=10.0.0.1 act=drop",
                    &[("source.ip", "10.0.0.1"), ("event.action", "drop")],
                ),
                ("y: act=drop", &[("event.action", "drop")]),
            ],
        );
        check(
            r#"<decoder name="j"><prematch>^J: </prematch><plugin_decoder offset="after_prematch">JSON_Decoder</plugin_decoder></decoder>
<decoder name="c"><parent>p</parent><prematch offset="after_parent">^{"a</prematch>
<plugin_decoder offset="after_parent">JSON_Decoder</plugin_decoder></decoder>"#,
            &[("J: {\"k\":1}", &[("shop.k", "1")]), ("x: {\"a\":1}", &[("shop.a", "1")])],
        );
    }

    #[test]
    fn roots_of_one_name_share_their_children() {
        check(
            From::Wazuh,
            r#"<decoder name="fw"><prematch>^FW-1: </prematch></decoder>
<decoder name="other"><prematch>^x</prematch><regex offset="after_prematch">=(\d)</regex><order>time</order></decoder>
<decoder name="fw"><prematch>^FW-2: </prematch><regex>b</regex></decoder>
<decoder name="fw"><parent>fw</parent><regex offset="after_parent">^src=(\S+)</regex><order>srcip</order></decoder>
<decoder name="fw"><parent>fw</parent><regex>dst=(\S+)</regex><order>dstip</order></decoder>
"#,
            &[
                ("FW-1: src=10.0.0.1 dst=10.0.0.2", &[("destination.ip", "10.0.0.2")]),
                ("FW-2: src=10.0.0.1 dst=10.0.0.2", &[("source.ip", "10.0.0.1")]),
                ("x=1", &[("labels.time", "1")]),
            ],
            &[(5, "behind the one of this name"), (3, "beside children")],
        );
    }

    #[test]
    fn what_differs_or_is_broken_is_told() {
        check(
            From::Wazuh,
            r#"<decoder name="c"><prematch>^CC </prematch></decoder>
<decoder name="c1"><parent>c</parent><regex offset="after_parent" type="pcre2">(?:^|,)(\w+) (\w+)</regex>
<order>user, dstuser</order></decoder>
<decoder name="c2"><parent>c1</parent><regex>z</regex></decoder>
<decoder_list><rule/>
<decoder><prematch>^q </prematch></decoder>
<decoder name="a"><prematch>^A </prematch><regex offset="after_prematch">^user (\S+)</regx>
<order>user</order></decoder>
</decoder_list>
"#,
            &[
                ("CC x,bob eve", &[("user.name", "bob"), ("labels.dstuser", "eve")]),
                ("A user bob", &[("user.name", "bob")]),
                ("q x", &[("logweir.rule", "shop.decoder")]),
            ],
            &[
                (7, "`</regx>` closes `<regex>` of line 7"),
                (5, "`<rule>`"),
                (6, "without a name"),
                (3, "`dstuser`: `user` is `user.name`"),
                (2, "a `^` inside a group"),
                (4, "a child of a child"),
            ],
        );
    }
}
