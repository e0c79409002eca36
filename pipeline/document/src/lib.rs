//! YAML documents whose every node knows where it stands, and the diagnostics that point there.
//!
//! Configuration and rule files are read through this crate so that all faults of a file are
//! reported at once, each with file, line, column, the line itself and a remedy. It knows nothing
//! of what the documents mean; [`Table`] is how a section of a configuration is taken apart.
//!
//! Bounds: a document has at most [`NODES_MAX`] nodes (aliases are counted each time they are
//! used) and [`DEPTH_MAX`] levels.

mod diagnostic;
mod nearest;
mod node;
mod table;

pub use diagnostic::{Diagnostic, Faults, Severity, render_all};
pub use nearest::{edit_distance, nearest};
pub use node::{
    DEPTH_MAX, Document, Key, NODES_MAX, Node, Scalar, Source, Span, Style, Value, parse,
};
pub use table::{Table, parse_byte_size, parse_duration};
