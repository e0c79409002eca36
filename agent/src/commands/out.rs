//! What commands tell on standard output, and on standard error.
//!
//! `print!` panics when its reader has gone, which is what `| head` does once it has enough. Here
//! what is left is let go instead, and the command does its work to the end: what it was asked to
//! change must not depend on who reads along, and neither must its exit code.

use logweir_document::acts_on_terminal;
use std::fmt::{Arguments, Display};
use std::io::{self, Write as _};
use std::process::exit;

/// As `print!`, for a reader that may have had enough.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::commands::out::write(::std::format_args!($($text)*)) };
}

/// As `println!`, for a reader that may have had enough.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::commands::out::write(::std::format_args!("{}\n", ::std::format_args!($($text)*)))
    };
}

/// As `eprint!`, for a reader that may have had enough.
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::commands::out::tell(::std::format_args!($($text)*)) };
}

/// As `eprintln!`, for a reader that may have had enough.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => {
        $crate::commands::out::tell(::std::format_args!("{}\n", ::std::format_args!($($text)*)))
    };
}

/// Writes to standard error, as far as that is possible.
pub fn tell(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Writes to standard output. One that fails for another reason than its reader, such as a full
/// disk, ends the program: nobody may take half of a file for all of it.
pub fn write(text: Arguments<'_>) {
    match io::stdout().lock().write_fmt(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            errln!("standard output cannot be written: {error}");
            exit(1);
        }
        _ => {}
    }
}

/// A text from outside, such as the name of a file, without anything that could steer a terminal.
pub(crate) fn printable(text: impl Display) -> String {
    text.to_string().chars().map(|c| if acts_on_terminal(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_replaced() {
        for c in ['\u{1b}', '\u{7f}', '\u{9b}', '\u{61c}', '\u{2028}', '\u{202e}', '\u{2066}'] {
            assert_eq!(printable(format!("é{c}漢")), "é\u{fffd}漢", "{c:?}");
        }
    }
}
