//! `logweir-agent reference`: the pages of the documentation that the program knows itself.

use crate::metrics::METRICS;
use crate::out;
use logweir_service::reference;
use std::process::ExitCode;

/// Print a page of the documentation, in Markdown
#[derive(Debug, clap::Args)]
pub struct Reference {
    #[arg(value_enum)]
    page: Page,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Page {
    /// docs/metrics.md
    Metrics,
}

impl Reference {
    pub fn execute(self) -> ExitCode {
        match self.page {
            Page::Metrics => out!("{}", metrics()),
        }
        ExitCode::SUCCESS
    }
}

const METRICS_HEAD: &str = "\
# Metrics of the agent

With

```yaml
metrics: {listen: '127.0.0.1:9598'}     # or unix:/run/logweir-agent/metrics.sock
```

the agent answers `GET /metrics` in Prometheus' text format. Only a loopback address or a unix socket
(mode 0660) can be given: a Prometheus elsewhere comes over a node's proxy.

```console
$ curl -s http://127.0.0.1:9598/metrics
$ curl -s --unix-socket /run/logweir-agent/metrics.sock http://localhost/metrics
```

In every scrape `events_read_total` = `events_delivered_total` + `events_held` + the sum of
`events_dropped_total`, exactly. Every reason of the agent's own is there from the start, with
0, those of rules once they occur; see [agent.md](agent.md) for what they mean.

The same holds for each `source`, whose four metrics sum up to those of all together. A source is one of
`sources:` by its kind and what it reads, as in `file /var/log/*.log` or `syslog udp 127.0.0.1:514`; there
are as many as are configured, whatever files there are. Two that read the same are one. Under its kind
alone is what no configuration says: the agent's own `heads`, and what an earlier configuration
has left in a spool.

This page is printed by `logweir-agent reference metrics`. The metrics of the ingest are in
[ingest-status.md](ingest-status.md).

";

fn metrics() -> String {
    format!("{METRICS_HEAD}{}", reference(&METRICS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_metrics_is_the_one_that_the_program_prints() {
        assert_eq!(include_str!("../../../docs/metrics.md"), metrics());
    }
}
