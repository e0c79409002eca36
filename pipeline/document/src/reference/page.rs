//! The page of the documentation.

use super::{Key, Kind, Section, Value};
use crate::table::{DURATION_MAX, bounds, show_byte_size, show_duration};
use std::time::Duration;

impl Section {
    /// The settings in Markdown, a table for each section. The first sections have headings of two
    /// signs.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = Page(String::new());
        page.table(self);
        page.inner(self, "");
        page.0
    }
}

struct Page(String);

impl Page {
    fn inner(&mut self, section: &Section, path: &str) {
        for key in section.keys {
            let path =
                if path.is_empty() { key.name.into() } else { format!("{path}.{}", key.name) };
            match &key.kind {
                Kind::Section(section) | Kind::TextOr(section) => {
                    self.0.push_str(&format!("\n## `{path}`\n\n{}\n", key.about));
                    self.about(section);
                    self.table(section);
                    self.inner(section, &path);
                }
                Kind::List(list) => {
                    self.0.push_str(&format!("\n## `{path}`\n\n{}\n", key.about));
                    self.about(list.common);
                    self.table(list.common);
                    self.inner(list.common, &format!("{path}[]"));
                    for variant in list.variants {
                        let heading = format!("\n## `{path}[]` with `type: {}`\n", variant.name);
                        self.0.push_str(&heading);
                        self.about(variant.section);
                        self.table(variant.section);
                        self.inner(variant.section, &format!("{path}[]"));
                    }
                }
                _ => {}
            }
        }
    }

    fn about(&mut self, section: &Section) {
        if !section.about.is_empty() {
            self.0.push_str(&format!("\n{}\n", section.about));
        }
    }

    fn table(&mut self, section: &Section) {
        let leaves: Vec<&Key> = section
            .keys
            .iter()
            .filter(|key| !matches!(key.kind, Kind::Section(_) | Kind::List(_)))
            .collect();
        if !leaves.is_empty() {
            self.0.push_str("\n| key | value | default | a change needs | meaning |\n");
            self.0.push_str("|---|---|---|---|---|\n");
        }
        for key in leaves {
            self.0.push_str(&format!(
                "| `{}` | {} | {} | {} | {} |\n",
                key.name,
                key.kind.words(),
                key.value.words(),
                key.applied.words(),
                key.about
            ));
        }
        if let Some(others) = &section.others {
            self.0.push_str(&format!("\n{}\n", others.about));
            self.0.push_str("\n| property | default here |\n|---|---|\n");
            for other in section.other_names() {
                if let Some(default) = other.default {
                    self.0.push_str(&format!("| `{}` | `{default}` |\n", other.name));
                }
            }
        }
    }
}

impl Kind {
    /// What is written as a value, with its unit and bounds.
    fn words(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Boolean => "`true`, `false`".into(),
            Self::Integer(from, to) => format!("{from} to {to}"),
            Self::Duration(from, to) => {
                let bounds = bounds(&(*from..=*to), Duration::ZERO, DURATION_MAX, show_duration);
                format!("duration {bounds}").trim_end().to_owned()
            }
            Self::Size(from, to) => {
                let bounds = bounds(&(*from..=*to), 0, u64::MAX, show_byte_size);
                format!("size {bounds}").trim_end().to_owned()
            }
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Self::Texts => "list of texts".into(),
            Self::Labels => "names and texts".into(),
            Self::Cores(max) => format!("`cores`, or 1 to {max}"),
            Self::Secret => "`{file: …}`, `{credential: …}`".into(),
            Self::Section(_) | Self::List(_) => String::new(),
            Self::TextOr(_) => "text, or a section".into(),
        }
    }
}

impl Value {
    fn words(&self) -> String {
        match self {
            Self::Default(text) => format!("`{text}`"),
            Self::Computed(words, _) => (*words).to_owned(),
            Self::Optional(_) | Self::Apart(_) | Self::Inner => String::new(),
            Self::Required(_) => "must be given".into(),
        }
    }
}
