//! YAML documents whose every node knows where it stands, and the diagnostics that point there.
//!
//! Configuration and rule files are read through this crate so that all faults of a file are
//! reported at once, each with file, line, column, the line itself and a remedy. It knows nothing
//! of what the documents mean; [`Table`] is how a section of a configuration is taken apart, and
//! [`reference`] how it is described. A configuration may be put together of several files and of
//! environment variables ([`Layers`]); each value keeps its place.
//!
//! Bounds: a document has at most [`NODES_MAX`] nodes (aliases are counted each time they are
//! used) and [`DEPTH_MAX`] levels.

mod diagnostic;
mod layers;
mod nearest;
mod node;
pub mod reference;
mod secret;
mod show;
mod table;
mod terminal;

pub use diagnostic::{Asked, Diagnostic, Faults, Severity, Snippet, render_all};
pub use layers::{Layers, part_files};
pub use nearest::{edit_distance, nearest};
pub use node::{
    DEPTH_MAX, Document, Key, NODES_MAX, Node, Scalar, Source, Span, Style, Value, parse,
    parse_with_duplicates,
};
pub use secret::{private_file, secret_of_file, secret_path, url_has_user};
pub use show::{Shown, show};
pub use table::{
    DURATION_MAX, Shape, Table, parse_byte_size, parse_duration, show_byte_size, show_duration,
};
pub use terminal::{acts_on_terminal, visible};
