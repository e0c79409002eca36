//! What a long-running program owes its surroundings: word to systemd of how it goes, a watchdog that
//! is fed only while every thread comes round, sockets at which it is asked how it goes, and metrics in
//! Prometheus' text format, and log lines.
//!
//! Nothing here keeps a program from its work: what cannot be said is not said.

mod endpoint;
mod exposition;
mod log;
mod notify;
mod pulse;
mod socket;

pub use endpoint::{Endpoint, Listen};
pub use exposition::{Exposition, Kind, Metric, reference};
pub use log::{LogConfig, LogFormat, start_log, tell_repeats};
pub use notify::Notifier;
pub use pulse::{Pulse, beat};
pub use socket::{Socket, ask};
