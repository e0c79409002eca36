//! The JSON Schema (draft 2020-12), for editors and for whoever writes configurations by program.

use super::{Key, Kind, List, Section, Value};
use serde_json::{Map, Value as Json, json};

const DURATION: &str = "^([0-9]+(ms|s|m|min|h|d))+$";
const SIZE: &str = "^[0-9_]+ *(B|KiB|MiB|GiB|TiB|K|M|G|T|kB|KB|MB|GB)?$";

impl Section {
    /// The schema of a configuration, called `title`.
    #[must_use]
    pub fn schema(&self, title: &str) -> Json {
        let mut schema = self.object(&[]);
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".into(), title.into());
        Json::Object(schema)
    }

    /// The object, with the keys of `also` besides its own.
    fn object(&self, also: &[&Key]) -> Map<String, Json> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for key in self.keys.iter().chain(also.iter().copied()) {
            properties.insert(key.name.into(), key.schema());
            if matches!(key.value, Value::Required(_)) {
                required.push(key.name);
            }
        }
        for other in self.other_names().into_iter().filter(|other| self.key(&other.name).is_none())
        {
            let mut schema = if other.secret { secret() } else { scalar() };
            if let (Some(default), Some(schema)) = (other.default, schema.as_object_mut()) {
                schema.insert("default".into(), default.into());
            }
            properties.insert(other.name, schema);
        }
        let mut object = Map::new();
        object.insert("type".into(), "object".into());
        object.insert("properties".into(), properties.into());
        object.insert("additionalProperties".into(), false.into());
        if !required.is_empty() {
            object.insert("required".into(), required.into());
        }
        object
    }
}

impl Key {
    fn schema(&self) -> Json {
        let mut schema = self.kind.schema();
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".into(), self.about.into());
            if let Value::Default(text) = self.value {
                let value = match self.kind {
                    Kind::Boolean => json!(text == "true"),
                    Kind::Integer(..) => text.parse::<u64>().map_or(json!(text), |n| json!(n)),
                    _ => json!(text),
                };
                object.insert("default".into(), value);
            }
        }
        schema
    }
}

impl Kind {
    fn schema(&self) -> Json {
        match self {
            Self::Text => scalar(),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Integer(from, to) => json!({"type": "integer", "minimum": from, "maximum": to}),
            Self::Duration(..) => json!({"type": "string", "pattern": DURATION}),
            Self::Size(from, to) => json!({
                "type": ["integer", "string"], "pattern": SIZE, "minimum": from, "maximum": to,
            }),
            Self::Choice(words) => json!({"enum": words}),
            Self::Texts => json!({"oneOf": [scalar(), {"type": "array", "items": scalar()}]}),
            Self::Labels => json!({"type": "object", "additionalProperties": scalar()}),
            Self::Cores(max) => json!({
                "oneOf": [{"const": "cores"}, {"type": "integer", "minimum": 1, "maximum": max}],
            }),
            Self::Secret => secret(),
            Self::Section(section) => section.object(&[]).into(),
            Self::TextOr(section) => json!({"oneOf": [scalar(), section.object(&[])]}),
            Self::List(list) => list.schema(),
        }
    }
}

impl List {
    fn schema(&self) -> Json {
        let entry = |variant: &super::Variant| {
            let common: Vec<&Key> = self.common.keys.iter().collect();
            let mut object = variant.section.object(&common);
            if let Some(properties) = object.get_mut("properties").and_then(Json::as_object_mut) {
                properties.insert("type".into(), json!({"const": variant.name}));
            }
            Json::Object(object)
        };
        let entries: Vec<Json> = self.variants.iter().map(entry).collect();
        json!({"type": "array", "items": {"oneOf": entries}})
    }
}

fn scalar() -> Json {
    json!({"type": ["string", "number", "boolean"]})
}

fn secret() -> Json {
    let one = |name: &str| {
        let text = json!({"type": "string"});
        json!({"type": "object", "properties": {name: text}, "required": [name], "additionalProperties": false})
    };
    json!({"oneOf": [one("file"), one("credential")]})
}
