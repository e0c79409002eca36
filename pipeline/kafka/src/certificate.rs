//! What a certificate in a PEM file says of itself: whose it is, and how long it holds.

use openssl::asn1::Asn1Time;
use openssl::x509::{X509, X509NameRef};
use std::path::Path;

/// A certificate, read.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// As Kafka's access lists write it: `CN=web1,OU=hosts,O=Example`.
    pub subject: String,
    certificate: X509,
}

impl From<X509> for Certificate {
    fn from(certificate: X509) -> Self {
        Self { subject: subject(certificate.subject_name()), certificate }
    }
}

impl Certificate {
    /// All of a file, the client's own first.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate in it.
    pub fn all_of(path: &Path) -> Result<Vec<Self>, String> {
        let pem = std::fs::read(path).map_err(|error| error.to_string())?;
        match X509::stack_from_pem(&pem) {
            Ok(chain) if !chain.is_empty() => Ok(chain.into_iter().map(Self::from).collect()),
            _ => Err("there is no certificate in PEM format in it".to_owned()),
        }
    }

    /// The first of a file.
    ///
    /// # Errors
    /// See [`Certificate::all_of`].
    pub fn first_of(path: &Path) -> Result<Self, String> {
        Self::all_of(path).map(|mut all| all.swap_remove(0))
    }

    /// Whole days until its end; negative when it is over. `None` if it has no end that is
    /// understood.
    #[must_use]
    pub fn days_left(&self) -> Option<i32> {
        let now = Asn1Time::days_from_now(0).ok()?;
        let left = now.diff(self.certificate.not_after()).ok()?;
        Some(if left.secs < 0 { left.days - 1 } else { left.days })
    }
}

/// A name as Java writes it and Kafka's access lists with it: RFC 2253, the last part first.
fn subject(name: &X509NameRef) -> String {
    let parts: Vec<String> = name
        .entries()
        .map(|entry| {
            let kind = entry.object().nid().short_name().unwrap_or("?").to_owned();
            let value = entry.data().to_string().unwrap_or_default();
            format!("{kind}={}", escaped(&value))
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// RFC 2253, section 2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let outer_space = character == ' ' && (index == 0 || index == last);
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        if special || outer_space || (character == '#' && index == 0) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::x509::X509Name;

    #[test]
    fn a_subject_is_written_as_access_lists_write_it() {
        let mut name = X509Name::builder().unwrap();
        for (kind, value) in [("O", "Example, Inc."), ("OU", "hosts"), ("CN", "web1")] {
            name.append_entry_by_text(kind, value).unwrap();
        }
        assert_eq!(subject(&name.build()), "CN=web1,OU=hosts,O=Example\\, Inc.");
    }
}
