//! Any bytes have a form or not. What `serde_json` takes for an object is one here, too; the first
//! byte chooses the options of the others.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir_parsers::sub::{
    CsvOptions, FieldSink, KvOptions, Space, SubValue, auditd, cef, csv, json, kv, leef, xml,
};

#[derive(Default)]
struct Count {
    fields: usize,
    bytes: usize,
}

impl FieldSink for Count {
    fn field(&mut self, key: &[u8], value: SubValue<'_>) {
        assert!(!matches!(value, SubValue::Float(number) if !number.is_finite()));
        self.fields += 1;
        self.bytes += key.len();
    }

    /// Both answers, by the key.
    fn wants(&self, key: &[u8]) -> bool {
        key.len().is_multiple_of(2)
    }

    fn item(&mut self, item: SubValue<'_>) {
        assert!(!matches!(item, SubValue::Float(number) if !number.is_finite()));
        self.fields += 1;
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let bit = |n: u8| choice >> n & 1 != 0;
    let (mut count, mut space) = (Count::default(), Space::default());
    let pairs = KvOptions {
        pair_separators: if bit(0) { b", ".to_vec() } else { b" ".to_vec() },
        key_value_separator: if bit(1) { b':' } else { b'=' },
        spaces_in_values: bit(2),
        trim: if bit(3) { b"<>".to_vec() } else { Vec::new() },
    };
    kv::parse(text, &pairs, &mut space, &mut count);
    let columns = CsvOptions {
        separator: if bit(4) { b' ' } else { b',' },
        quote: bit(5).then_some(b'"'),
        columns: ["a", "_", "", "b", "c"].map(str::to_owned).to_vec(),
        collapse: bit(6),
    };
    csv::parse(text, &columns, &mut space, &mut count);
    cef::parse(text, &mut space, &mut count);
    leef::parse(text, &mut count);
    xml::parse(text, &mut space, &mut count);
    auditd::parse(text, &mut space, &mut count);
    let object = json::parse(text, &mut space, &mut count);
    assert!(count.fields <= 16 * text.len() + 64);
    if text.len() < 128 && text.first() == Some(&b'{') {
        let judged = serde_json::from_slice::<serde_json::Value>(text);
        // Deeper than 32 is refused here.
        let deep = text.iter().filter(|b| matches!(b, b'{' | b'[')).count() >= 32;
        assert!(judged.is_err() || object || deep);
    }
});
