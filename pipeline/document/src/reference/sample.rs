//! A configuration with all that can be set: what must be given stands there, the rest is commented
//! out, with its default. A setting that is commented out has no space behind the sign, a remark has
//! one: so a setting is put to use by taking its sign away.

use super::{Key, Kind, Section, Value, plain};

/// The longest line of a remark, in characters.
const WIDTH: usize = 100;

impl Section {
    /// The sample, under `head`, which is remarks.
    #[must_use]
    pub fn sample(&self, head: &str) -> String {
        let mut sample = Sample(head.to_owned());
        for key in self.keys {
            sample.0.push('\n');
            sample.key(key, 0, false);
        }
        sample.0
    }
}

struct Sample(String);

impl Sample {
    /// Writes the key in `depth` steps of indentation; `off` if what it stands in is commented out.
    fn key(&mut self, key: &Key, depth: usize, off: bool) {
        self.remark(&plain(key.about), depth);
        match (&key.kind, &key.value) {
            (Kind::Section(section), value) => {
                let off = off || !matches!(value, Value::Required(_));
                self.line(key.name, "", depth, off);
                self.keys(section, depth + 1, off);
            }
            (Kind::List(list), value) => {
                let off = off || !matches!(value, Value::Required(_));
                self.line(key.name, "", depth, off);
                for (index, variant) in list.variants.iter().enumerate() {
                    let off = off || index > 0;
                    self.0.push('\n');
                    self.remark(&plain(variant.section.about), depth + 1);
                    self.line("- type", variant.name, depth + 1, off);
                    self.keys(variant.section, depth + 2, off);
                    if index == 0 {
                        self.remark("What every entry can have:", depth + 2);
                        self.keys(list.common, depth + 2, off);
                    }
                }
            }
            (_, Value::Required(text)) => self.line(key.name, text, depth, off),
            (_, Value::Apart(text)) => self.remark(&format!("{}: {text}", key.name), depth),
            (_, Value::Default(text) | Value::Computed(_, text) | Value::Optional(text)) => {
                self.line(key.name, text, depth, true);
            }
            (_, Value::Inner) => {}
        }
    }

    fn keys(&mut self, section: &Section, depth: usize, off: bool) {
        for key in section.keys.iter().filter(|key| key.name != "type") {
            self.key(key, depth, off);
        }
    }

    fn line(&mut self, name: &str, value: &str, depth: usize, off: bool) {
        let indent = "  ".repeat(depth);
        let sign = if off { "#" } else { "" };
        let line = format!("{indent}{sign}{name}: {value}");
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// A remark in as many lines as it takes.
    fn remark(&mut self, text: &str, depth: usize) {
        let mut line = String::new();
        let begin = format!("{}# ", "  ".repeat(depth));
        for word in text.split_whitespace() {
            if !line.is_empty()
                && begin.len() + line.chars().count() + word.chars().count() >= WIDTH
            {
                self.0.push_str(&format!("{begin}{line}\n"));
                line.clear();
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        if !line.is_empty() {
            self.0.push_str(&format!("{begin}{line}\n"));
        }
    }
}
