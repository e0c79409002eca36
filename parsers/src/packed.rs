//! Rules as they are kept until a line comes for one of them.
//!
//! All packs of a host are loaded, and it has lines for a few. A rule that is ready to run takes three
//! kilobytes; packed and compressed, a tenth of it.

use crate::loader::Shared;
use crate::rule::Rule;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// Rules of one file.
#[derive(Debug)]
pub(crate) struct Packed {
    /// None: a rule of a later file stands in the place of that one.
    numbers: Box<[Option<u32>]>,
    file: Arc<str>,
    null_values: Arc<[Vec<u8>]>,
    rules: Box<[u8]>,
}

impl Packed {
    /// Packs what can be: rules of one file with their numbers, of which the others are left.
    pub(crate) fn pack(rules: &mut Vec<(usize, Rule)>) -> Option<Self> {
        let packed: Vec<_> = rules.extract_if(.., |(_, rule)| rule.can_be_packed()).collect();
        let (_, first) = packed.first()?;
        let (file, null_values) = (first.file.clone(), first.null_values.clone());
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let numbers = packed.iter().map(|(number, _)| u32::try_from(*number).ok()).collect();
        let rules: Vec<&Rule> = packed.iter().map(|(_, rule)| rule).collect();
        let bytes = postcard::to_allocvec(&rules).expect("all that it holds can be packed");
        encoder.write_all(&bytes).expect("memory takes it");
        let rules = encoder.finish().expect("memory takes it").into();
        Some(Self { numbers, file, null_values, rules })
    }

    pub(crate) fn has(&self, number: usize) -> bool {
        self.numbers.iter().flatten().any(|known| *known as usize == number)
    }

    /// Another rule has the number from now on.
    pub(crate) fn forget(&mut self, number: usize) {
        let known = self.numbers.iter_mut();
        known.filter(|known| **known == u32::try_from(number).ok()).for_each(|known| *known = None);
    }

    /// The rules with their numbers, as they were read.
    pub(crate) fn unpack(&self) -> Vec<(usize, Rule)> {
        let mut bytes = Vec::new();
        let read = DeflateDecoder::new(&*self.rules).read_to_end(&mut bytes);
        read.expect("this process packed it");
        let rules: Vec<Rule> = postcard::from_bytes(&bytes).expect("this process packed it");
        let (mut parsed_fields, mut mapped_values) = (Shared::default(), Shared::default());
        let mut unpacked = Vec::new();
        for (number, mut rule) in self.numbers.iter().zip(rules) {
            let Some(number) = number else { continue };
            rule.file = self.file.clone();
            rule.null_values = self.null_values.clone();
            for parse in &mut rule.parse {
                parsed_fields.share(&mut parse.fields);
            }
            for map in &mut rule.maps {
                mapped_values.share(&mut map.exact);
            }
            unpacked.push((*number as usize, rule));
        }
        unpacked
    }
}

#[cfg(test)]
mod tests {
    use crate::rule::RuleSet;
    use crate::{LineContext, Parser, Zone, write_event};
    use std::sync::Arc;

    fn event(parser: &mut Parser, line: &str) -> String {
        let zone = Zone::utc();
        let context = LineContext {
            pack: None,
            received_unix_nanos: 1_795_867_200_123_456_789,
            zone: &zone,
            original_bytes: None,
        };
        let mut out = Vec::new();
        write_event(parser, line.as_bytes(), &context, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn unpacked(rules: &RuleSet) -> Vec<usize> {
        let slots = rules.rules.iter().enumerate();
        slots.filter(|(_, slot)| slot.get().is_some()).map(|(number, _)| number).collect()
    }

    #[test]
    fn only_the_packs_that_have_lines_are_unpacked() {
        let rules = Arc::new(RuleSet::load_without_samples(&[], true, &[]).unwrap().rules);
        assert!(unpacked(&rules).is_empty());
        let mut parser = Parser::new(rules.clone());
        let line = "Nov 28 10:15:02 web1 sshd[47]: Accepted publickey for root from 192.0.2.7 port 22 ssh2";
        assert!(event(&mut parser, line).contains("\"event.dataset\":\"sshd"));
        let packs = unpacked(&rules).into_iter().map(|number| rules.rule(number).pack);
        let mut packs: Vec<&str> = packs.map(|pack| rules.dataset(pack)).collect();
        packs.dedup();
        assert_eq!(packs, ["sshd"]);
    }

    #[test]
    fn a_rule_that_a_later_file_replaces_stays_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, pack: &str, rules: &str| {
            let text = format!("pack: {pack}\napplies: {{contains: [quay]}}\nrules:\n{rules}");
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        let rule = |id: &str, word: &str, more: &str| {
            format!("  - {{id: quay.{id}, pattern: '^quay {word}'{more}}}\n")
        };
        let zone = ", time: {field: '{_t}', formats: ['%d.%m. %H:%M'], zone: Europe/Berlin}";
        let first = [rule("a", "one", ""), rule("b", "two", ""), rule("c", "three", zone)];
        write("1.yaml", "quay", &first.concat());
        let second = [rule("b", "pier", ""), rule("c", "mole", "")];
        write("2.yaml", "harbour", &second.concat());
        let paths = ["1.yaml", "2.yaml"].map(|name| directory.path().join(name));
        let rules = RuleSet::load_without_samples(&paths, false, &[]).unwrap().rules;
        let mut parser = Parser::new(Arc::new(rules));
        for (line, rule) in [
            ("quay one", Some("quay.a")),
            ("quay two", None),
            ("quay pier", Some("quay.b")),
            ("quay three", None),
            ("quay mole", Some("quay.c")),
        ] {
            let event: serde_json::Value = serde_json::from_str(&event(&mut parser, line)).unwrap();
            assert_eq!(event["logweir.rule"].as_str(), rule, "{line}");
        }
        let places = (0..3).map(|number| parser.rules().rule_place(number));
        let places: Vec<_> = places.map(|(file, line)| (file.rsplit('/').next(), line)).collect();
        assert_eq!(places, [(Some("1.yaml"), 4), (Some("2.yaml"), 4), (Some("2.yaml"), 5)]);
    }
}
