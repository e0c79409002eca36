//! Certificates and their keys, made for a test.

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};
use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const KEY_ID: &str = "tests";

fn base64_url(bytes: &[u8]) -> String {
    let text = openssl::base64::encode_block(bytes);
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A certificate and its key, made for a test.
#[derive(Debug)]
pub struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    /// Signed by `issuer`, or by itself; valid from so many days ago on for ten days.
    ///
    /// # Panics
    /// OpenSSL refuses, which it has no reason for.
    #[must_use]
    pub fn new(name: &str, alternatives: &[&str], issuer: Option<&Self>, days_ago: i64) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&subject).unwrap();
        let issuer_name = issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name());
        builder.set_issuer_name(issuer_name).unwrap();
        builder.set_pubkey(&key).unwrap();
        let serial = openssl::bn::BigNum::from_u32(rand_serial(name)).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let begin = now.as_secs() as i64 - days_ago * 86_400;
        builder.set_not_before(&Asn1Time::from_unix(begin).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(begin + 864_000).unwrap()).unwrap();
        if issuer.is_none() {
            builder
                .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
                .unwrap();
        }
        if !alternatives.is_empty() {
            let mut extension = SubjectAlternativeName::new();
            for name in alternatives {
                if name.parse::<IpAddr>().is_ok() {
                    extension.ip(name);
                } else {
                    extension.dns(name);
                }
            }
            let context = builder.x509v3_context(None, None);
            let extension = extension.build(&context).unwrap();
            builder.append_extension(extension).unwrap();
        }
        let signer = issuer.map_or(&key, |issuer| &issuer.key);
        builder.sign(signer, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    /// Writes the list of what this authority, written as `name`, has revoked to `name.crl`.
    ///
    /// # Panics
    /// The program `openssl` is missing, or the directory cannot be written.
    pub fn revoke(&self, directory: &Path, name: &str, revoked: &[&Self]) {
        let line = |identity: &&Self| {
            let serial =
                identity.certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap();
            format!("R\t491231235959Z\t250101000000Z\t{serial}\tunknown\t/CN=revoked\n")
        };
        let index: String = revoked.iter().map(line).collect();
        std::fs::write(directory.join("index.txt"), index).unwrap();
        let settings = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\ndefault_md = sha256\n";
        std::fs::write(directory.join("ca.cnf"), settings).unwrap();
        let certificate = format!("{name}.pem");
        let made = Command::new("openssl")
            .current_dir(directory)
            .args(["ca", "-gencrl", "-config", "ca.cnf", "-crldays", "5", "-out", "draft.crl"])
            .args(["-cert", &certificate, "-keyfile", &format!("{name}.key")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::rename(directory.join("draft.crl"), directory.join(format!("{name}.crl")))
            .unwrap();
    }

    /// Its key as a set of keys (JWKS, RFC 7517) by which tokens are verified.
    #[must_use]
    pub fn key_set(&self) -> String {
        let key = self.key.rsa().unwrap();
        let key = serde_json::json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
            "n": base64_url(&key.n().to_vec()), "e": base64_url(&key.e().to_vec())});
        serde_json::json!({ "keys": [key] }).to_string()
    }

    /// A JSON Web Token that it has signed, for the audience `kafka`.
    ///
    /// # Panics
    /// OpenSSL refuses, which it has no reason for.
    #[must_use]
    pub fn token(&self, subject: &str, seconds: i64) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = now.as_secs() as i64;
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID});
        let claims = serde_json::json!({"sub": subject, "aud": "kafka", "iat": now - 60,
            "exp": now + seconds});
        let part = |value: serde_json::Value| base64_url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        signer.update(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64_url(&signer.sign_to_vec().unwrap()))
    }

    /// Writes `name.pem` and `name.key`, each whole at once: whoever uses them may look at any moment.
    ///
    /// # Panics
    /// The directory cannot be written.
    pub fn write(&self, directory: &Path, name: &str) {
        let write = |ending: &str, bytes: Vec<u8>| {
            let (path, draft) =
                (directory.join(format!("{name}.{ending}")), directory.join("draft"));
            std::fs::write(&draft, bytes).unwrap();
            std::fs::set_permissions(&draft, Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(draft, path).unwrap();
        };
        write("key", self.key.private_key_to_pem_pkcs8().unwrap());
        write("pem", self.certificate.to_pem().unwrap());
    }
}

fn rand_serial(name: &str) -> u32 {
    name.bytes().fold(7, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) >> 1
}
