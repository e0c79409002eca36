//! Rows as text: a table for people, JSON lines, CSV.
//!
//! What is in events comes from outside. On a terminal it must not be able to move the cursor, colour
//! the screen or reorder text, so control characters are shown as `\x1b` or `\u{202e}`.

use super::row::{Row, Value};
use crate::time::format_time;
use logweir_document::acts_on_terminal;
use std::io::{self, Write};
use std::str::FromStr;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Table,
    /// One flat object per line.
    Json,
    /// RFC 4180, with a line of names first.
    Csv,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(format!("`{text}` is no format; choose `table`, `json` or `csv`")),
        }
    }
}

/// The columns of tables and CSV unless others are asked for.
const COLUMNS_DEFAULT: [&str; 6] =
    ["@timestamp", "host.name", "event.dataset", "user.name", "source.ip", "message"];
/// The line itself stands in for the message of an event that has none.
const MESSAGE: &str = "message";
const ORIGINAL: &str = "event.original";
/// A table's columns are as wide as the widest of the first rows, up to this; the last is as wide as
/// it is.
const WIDTH_MAX: usize = 40;
const ROWS_MEASURED: usize = 200;

/// Writes rows in a format.
#[derive(Debug)]
pub struct Formatter {
    format: Format,
    columns: Vec<String>,
    terminal: bool,
    /// Rows of a table that wait for the widths.
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Formatter {
    /// `columns` are the fields that are shown; empty: all in JSON, some in the others. `terminal`:
    /// the output is looked at, so nothing in it may control the terminal.
    #[must_use]
    pub fn new(format: Format, columns: &[String], terminal: bool) -> Self {
        let columns = match columns.is_empty() && format != Format::Json {
            true => COLUMNS_DEFAULT.map(str::to_owned).to_vec(),
            false => columns.to_vec(),
        };
        Self { format, columns, terminal, waiting: Vec::new(), widths: None }
    }

    /// The fields that have to be read for it; empty: all.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        let mut fields = self.columns.clone();
        if fields.iter().any(|field| field == MESSAGE) {
            fields.push(ORIGINAL.to_owned());
        }
        fields
    }

    /// # Errors
    /// The output cannot be written.
    pub fn header(&mut self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Table => {
                self.waiting.push(self.columns.clone());
                Ok(())
            }
            Format::Json => Ok(()),
            Format::Csv => self.csv_line(out, &self.columns),
        }
    }

    /// # Errors
    /// The output cannot be written.
    pub fn row(&mut self, out: &mut impl Write, row: &Row) -> io::Result<()> {
        match self.format {
            Format::Json => self.json_line(out, row),
            Format::Csv => self.csv_line(out, &self.cells(row)),
            Format::Table => {
                // In a table even a line break would break it.
                let cells = self.cells(row).iter().map(|cell| visible(cell)).collect::<Vec<_>>();
                if self.widths.is_some() {
                    return self.table_line(out, &cells);
                }
                self.waiting.push(cells);
                match self.waiting.len() > ROWS_MEASURED {
                    true => self.flush(out),
                    false => Ok(()),
                }
            }
        }
    }

    /// Writes what still waits.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.flush(out)?;
        out.flush()
    }

    fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let width = |column: usize| {
            waiting
                .iter()
                .map(|cells| cells[column].chars().count().min(WIDTH_MAX))
                .max()
                .unwrap_or(0)
        };
        self.widths.get_or_insert_with(|| (0..self.columns.len()).map(width).collect());
        waiting.iter().try_for_each(|cells| self.table_line(out, cells))
    }

    fn table_line(&self, out: &mut impl Write, cells: &[String]) -> io::Result<()> {
        let widths = self.widths.as_deref().unwrap_or(&[]);
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if at + 1 == cells.len() {
                line.push_str(cell);
            } else if cell.chars().count() > *width {
                line.extend(cell.chars().take(width.saturating_sub(1)));
                line.push_str("…  ");
            } else {
                line.push_str(&format!("{cell:width$}  "));
            }
        }
        writeln!(out, "{}", line.trim_end())
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let stand_in = self.message_of(row);
        let cell = |name: &String| {
            let value = row.get(name).or_else(|| stand_in.filter(|_| name == MESSAGE));
            value.map(plain).unwrap_or_default()
        };
        self.columns.iter().map(cell).collect()
    }

    /// What stands in for a message that is asked for by its name and is not there.
    fn message_of<'r>(&self, row: &'r Row) -> Option<&'r Value> {
        let asked = self.columns.iter().any(|column| column == MESSAGE);
        row.get(ORIGINAL).filter(|_| asked && row.get(MESSAGE).is_none())
    }

    fn csv_line(&self, out: &mut impl Write, cells: &[String]) -> io::Result<()> {
        let mut line = String::new();
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            let cell = if self.terminal { visible(cell) } else { cell.clone() };
            // A line with nothing in it would pass for none.
            let alone = cells.len() == 1 && cell.is_empty();
            if alone
                || cell.contains([',', '"', '\n', '\r'])
                || cell.starts_with(' ')
                || cell.ends_with(' ')
            {
                line.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
            } else {
                line.push_str(&cell);
            }
        }
        line.push_str("\r\n");
        out.write_all(line.as_bytes())
    }

    fn json_line(&self, out: &mut impl Write, row: &Row) -> io::Result<()> {
        let mut line = vec![b'{'];
        let shown = |name: &String| self.columns.is_empty() || self.columns.contains(name);
        let own = row.fields.iter().filter(|(name, _)| shown(name));
        let own = own.map(|(name, value)| (name.as_str(), value));
        for (name, value) in own.chain(self.message_of(row).map(|value| (MESSAGE, value))) {
            if line.len() > 1 {
                line.push(b',');
            }
            write_string(&mut line, name);
            line.push(b':');
            write_value(&mut line, value);
        }
        line.push(b'}');
        let line = String::from_utf8_lossy(&line);
        match self.terminal {
            // Escapes of JSON, so that it stays JSON.
            true => writeln!(out, "{}", escaped(&line, json_escape)),
            false => writeln!(out, "{line}"),
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    logweir_record::write_escaped(out, text.as_bytes());
    out.push(b'"');
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => write_string(out, text),
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Timestamp(time) => write_string(out, &format_time(*time)),
        Value::List(texts) => {
            out.push(b'[');
            for (at, text) in texts.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(out, text);
            }
            out.push(b']');
        }
        Value::Json(json) => out.extend_from_slice(json.as_bytes()),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Timestamp(time) => format_time(*time),
        Value::List(texts) => texts.join(" "),
        Value::Json(json) => json.clone(),
    }
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match acts_on_terminal(character) {
            true => out.push_str(&escape(character)),
            false => out.push(character),
        }
    }
    out
}

/// The text with what acts on a terminal made visible. For whatever of an event is printed otherwise
/// than by a [`Formatter`].
#[must_use]
pub fn visible(text: &str) -> String {
    escaped(text, |character| match character {
        '\n' => r"\n".into(),
        '\r' => r"\r".into(),
        '\t' => r"\t".into(),
        '\0'..='\u{ff}' => format!(r"\x{:02x}", character as u32),
        _ => format!(r"\u{{{:x}}}", character as u32),
    })
}

fn json_escape(character: char) -> String {
    format!(r"\u{:04x}", character as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let field = |name: &str, value: Value| (name.to_owned(), value);
        vec![
            Row {
                fields: vec![
                    field("@timestamp", Value::Timestamp(0)),
                    field("tags", Value::List(vec!["a".into(), "b\"".into()])),
                    field("process.pid", Value::Integer(7)),
                    field("message", Value::Text("x,\"y\"\n\u{1b}[31m\u{202e}".into())),
                    field("labels.o", Value::Json("{\"k\":1}".into())),
                ],
            },
            Row { fields: vec![field("event.original", Value::Text("raw".into()))] },
        ]
    }

    fn written(format: Format, columns: &[&str], terminal: bool) -> String {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut formatter = Formatter::new(format, &columns, terminal);
        let mut out = Vec::new();
        formatter.header(&mut out).unwrap();
        rows().iter().for_each(|row| formatter.row(&mut out, row).unwrap());
        formatter.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_are_written_in_each_format() {
        let json = written(Format::Json, &[], false);
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(
            first,
            serde_json::json!({
                "@timestamp": "1970-01-01T00:00:00.000Z", "tags": ["a", "b\""], "process.pid": 7,
                "message": "x,\"y\"\n\u{1b}[31m\u{202e}", "labels.o": {"k": 1}
            })
        );
        assert_eq!(written(Format::Json, &["process.pid"], false), "{\"process.pid\":7}\n{}\n");
        assert!(written(Format::Json, &["message"], false).ends_with("\n{\"message\":\"raw\"}\n"));
        assert_eq!(
            written(Format::Csv, &["process.pid", "message"], false),
            "process.pid,message\r\n7,\"x,\"\"y\"\"\n\u{1b}[31m\u{202e}\"\r\n,raw\r\n"
        );
        assert_eq!(written(Format::Csv, &["process.pid"], false), "process.pid\r\n7\r\n\"\"\r\n");
        assert_eq!(
            written(Format::Table, &["process.pid", "message"], false),
            "process.pid  message\n7            x,\"y\"\\n\\x1b[31m\\u{202e}\n             raw\n"
        );
    }

    #[test]
    fn nothing_from_an_event_acts_on_a_terminal() {
        for format in [Format::Table, Format::Json, Format::Csv] {
            let shown = written(format, &["process.pid", "message"], true);
            let acting = |c: char| acts_on_terminal(c) && c != '\n' && c != '\r';
            assert!(!shown.contains(acting), "{format:?} {shown:?}");
        }
        assert_eq!(
            visible("a\u{61c}\u{2028}\u{2029}\u{202e}"),
            r"a\u{61c}\u{2028}\u{2029}\u{202e}"
        );
        let json = written(Format::Json, &["message"], true);
        let row: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(row["message"], "x,\"y\"\n\u{1b}[31m\u{202e}");
    }
}
