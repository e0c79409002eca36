//! Metrics as text, in Prometheus' exposition format 0.0.4: one table says what there is, and the
//! reference page and every scrape are made from it.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows, or begins anew.
    Counter,
    Gauge,
}

impl Kind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// One metric: its name with the unit at its end, what it is, its labels, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    /// In the order of the fields.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind, labels, help }
    }
}

/// One scrape while it is written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Writes a metric with its samples: the values of its labels, in their order, and its value.
    ///
    /// A sample with other labels than the metric has is a fault of the program.
    pub fn metric<const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([String; N], f64)>,
    ) {
        assert_eq!(metric.labels.len(), N, "the labels of `{}`", metric.name);
        let Metric { name, kind, labels, help } = metric;
        let _ = writeln!(self.text, "# HELP {name} {}", escaped(help, false));
        let _ = writeln!(self.text, "# TYPE {name} {}", kind.word());
        for (values, value) in samples {
            self.text.push_str(name);
            for (index, (label, text)) in labels.iter().zip(&values).enumerate() {
                let open = if index == 0 { '{' } else { ',' };
                let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(text, true));
            }
            let close = if N == 0 { "" } else { "}" };
            let _ = writeln!(self.text, "{close} {value}");
        }
    }

    /// A metric without labels.
    pub fn value(&mut self, metric: &Metric, value: f64) {
        self.metric(metric, [([], value)]);
    }

    /// What has been written.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

fn escaped(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

/// The rows of a page about the metrics, in Markdown.
#[must_use]
pub fn reference(metrics: &[Metric]) -> String {
    let mut page = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for Metric { name, kind, labels, help } in metrics {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(page, "| `{name}` | {} | {} | {help} |", kind.word(), labels.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_values_keep_their_places() {
        let metric = Metric {
            name: "x_total",
            kind: Kind::Counter,
            labels: &["kind", "name"],
            help: "a \\ b",
        };
        let mut exposition = Exposition::default();
        exposition.metric(&metric, [(["f".into(), "a\"b\\c\nd".into()], 1_234_567_890_123.0)]);
        assert_eq!(
            exposition.finish(),
            "# HELP x_total a \\\\ b\n# TYPE x_total counter\n\
             x_total{kind=\"f\",name=\"a\\\"b\\\\c\\nd\"} 1234567890123\n"
        );
    }
}
