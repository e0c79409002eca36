//! TLS (RFC 5425): the server's side, who the client is, and certificates that change.
//!
//! What is read from disk is put into use whole or not at all; connections keep what they began
//! with. OpenSSL, because the Kafka client is linked with it already.

use crate::config::TlsConfig;
use crate::sync::{read, write};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslRef, SslVerifyMode};
use openssl::x509::store::{X509Lookup, X509StoreBuilderRef};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509NameRef, X509Ref};
use std::io;
use std::path::Path;
use std::sync::RwLock;
use std::time::SystemTime;

/// How much of a subject is told.
const SUBJECT_BYTES_MAX: usize = 190;

/// See the module's description.
pub(super) struct Tls {
    config: TlsConfig,
    acceptor: RwLock<SslAcceptor>,
    looked: RwLock<Look>,
}

/// What a change of the files shows in.
type Look = Vec<Option<(u64, SystemTime)>>;

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("config", &self.config).finish()
    }
}

impl Tls {
    /// # Errors
    /// A certificate or key that cannot be used; the message names the file.
    pub(super) fn new(config: &TlsConfig) -> io::Result<Self> {
        let looked = RwLock::new(look(config));
        let acceptor = RwLock::new(acceptor(config)?);
        Ok(Self { config: config.clone(), acceptor, looked })
    }

    /// The state of a new connection.
    pub(super) fn session(&self) -> io::Result<Ssl> {
        Ok(Ssl::new(read(&self.acceptor).context())?)
    }

    /// Puts files that have changed into use; a fault leaves what is in use.
    pub(super) fn refresh(&self) {
        let now = look(&self.config);
        if *read(&self.looked) == now {
            return;
        }
        *write(&self.looked) = now;
        match acceptor(&self.config) {
            Ok(acceptor) => {
                *write(&self.acceptor) = acceptor;
                let listen = self.config.listen.to_string();
                tracing::info!(listen, "changed certificates are in use for new connections");
            }
            Err(error) => tracing::error!(
                %error,
                "the changed certificates have a fault; those in use stay"
            ),
        }
    }

    /// Who the client is, by the subject of its certificate; `None` if it showed none.
    ///
    /// # Errors
    /// None of its names is among those that are wanted.
    pub(super) fn peer(&self, ssl: &SslRef) -> Result<Option<String>, String> {
        let Some(certificate) = ssl.peer_certificate() else { return Ok(None) };
        let subject = subject(certificate.subject_name());
        let wanted = &self.config.client_names;
        let names = names(&certificate);
        if !wanted.is_empty()
            && !names.iter().any(|name| wanted.iter().any(|pattern| matches(pattern, name)))
        {
            return Err(format!(
                "none of the names {names:?} of the client `{subject}` is in `client_names`"
            ));
        }
        Ok(Some(subject))
    }
}

fn look(config: &TlsConfig) -> Look {
    let paths = [
        Some(&config.certificate),
        Some(&config.key),
        config.client_ca.as_ref(),
        config.client_crl.as_ref(),
    ];
    let look = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    paths.into_iter().flatten().map(|path| look(path)).collect()
}

fn acceptor(config: &TlsConfig) -> io::Result<SslAcceptor> {
    let named = |path: &Path, what: &str| {
        let place = path.display().to_string();
        let what = what.to_owned();
        move |error: ErrorStack| {
            io::Error::other(format!("`{place}` is no {what} that can be used: {error}"))
        }
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder
        .set_certificate_chain_file(&config.certificate)
        .map_err(named(&config.certificate, "certificate"))?;
    builder
        .set_private_key_file(&config.key, SslFiletype::PEM)
        .map_err(named(&config.key, "key"))?;
    builder.check_private_key().map_err(named(&config.key, "key of the certificate"))?;
    if let Some(path) = &config.client_ca {
        builder.set_ca_file(path).map_err(named(path, "certificate"))?;
        if let Some(path) = &config.client_crl {
            revocations(builder.cert_store_mut(), path).map_err(named(path, "revocation list"))?;
        }
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    Ok(builder.build())
}

/// Has certificates refused that a list in the file revokes. Once its time is over a list says nothing
/// any more, and every client of its authority is refused (RFC 5280, section 6.3.3).
fn revocations(store: &mut X509StoreBuilderRef, path: &Path) -> Result<(), ErrorStack> {
    store.add_lookup(X509Lookup::file())?.load_crl_file(path, SslFiletype::PEM)?;
    store.set_flags(X509VerifyFlags::CRL_CHECK)
}

/// The subject as in RFC 4514, last part first: `CN=web1,O=Example`.
fn subject(name: &X509NameRef) -> String {
    let part = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = String::from_utf8_lossy(entry.data().as_slice()).into_owned();
        let escaped: String = value
            .chars()
            .flat_map(|c| [",+\"\\<>;".contains(c).then_some('\\'), Some(c)])
            .flatten()
            .collect();
        format!("{key}={escaped}")
    };
    let parts: Vec<String> = name.entries().map(part).collect();
    let mut text = parts.into_iter().rev().collect::<Vec<_>>().join(",");
    text.truncate(text.floor_char_boundary(SUBJECT_BYTES_MAX));
    text
}

/// The DNS names and addresses of a certificate; its common name only if it has none of them (RFC
/// 6125, section 6.4.4). A name with a zero byte is none: the issuer may have read it up to there.
fn names(certificate: &X509Ref) -> Vec<String> {
    let mut names = Vec::new();
    for name in certificate.subject_alt_names().into_iter().flatten() {
        if let Some(dns) = name.dnsname() {
            names.push(dns.to_ascii_lowercase());
        } else if let Some(bytes) = name.ipaddress() {
            let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
            names.extend(v4.or(v6).ok().map(|address| address.to_string()));
        }
    }
    if names.is_empty() {
        let common = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_ascii_lowercase()).ok();
        names.extend(common.filter_map(|entry| text(entry.data().as_slice())));
    }
    names.retain(|name| !name.contains('\0'));
    names
}

/// Whether `name`, of a certificate, is what `pattern`, of the configuration, allows; both are in
/// lower case. A wildcard is a whole first label and stands for one, on either side: a certificate's
/// wildcard is allowed by the same text only, never taken for the names that it would cover.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        _ if pattern == name => true,
        Some(domain) => name.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !label.contains('*') && rest == domain
        }),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_first_label_and_nothing_else() {
        for (pattern, name, fits) in [
            ("web1.example.net", "web1.example.net", true),
            ("web1.example.net", "web2.example.net", false),
            ("*.example.net", "web1.example.net", true),
            ("*.example.net", "a.web1.example.net", false),
            ("*.example.net", "example.net", false),
            ("*.example.net", ".example.net", false),
            ("*.example.net", "web1.example.net.evil.org", false),
            ("foo.*.bar", "foo.x.bar", false),
            ("web1.example.net", "*.example.net", false),
            ("*.example.net", "*.example.net", true),
            ("*.example.net", "w*.example.net", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
