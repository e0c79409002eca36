//! Ed25519 keys (RFC 8032) in PEM files, as `openssl genpkey -algorithm ed25519` writes them, too.
//!
//! A signature is over a purpose and the message, so that what was signed for one purpose is nothing
//! for another.

use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};
use std::fmt;

/// The length of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// The most public keys in one file: enough for any change from one to another.
pub const KEYS_MAX: usize = 16;

const PEM_END: &str = "-----END PUBLIC KEY-----";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no private key in PEM: {0}")]
    NoPrivateKey(ErrorStack),
    #[error("no public key in PEM (`-----BEGIN PUBLIC KEY-----`)")]
    NoPublicKey,
    #[error("a damaged public key: {0}")]
    BadPublicKey(ErrorStack),
    #[error("a key of another kind than Ed25519")]
    OtherKind,
    #[error("more than {KEYS_MAX} public keys")]
    TooMany,
    #[error("OpenSSL refuses: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// The secret half. Never shown.
#[derive(Clone)]
pub struct SigningKey(PKey<Private>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(hidden)")
    }
}

impl SigningKey {
    /// A new one, from the random numbers of the system.
    ///
    /// # Errors
    /// There are none.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(PKey::generate_ed25519()?))
    }

    /// # Errors
    /// The text is no Ed25519 key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        // With an empty passphrase, because OpenSSL would ask the terminal for one otherwise.
        let key = PKey::private_key_from_pem_passphrase(text.as_bytes(), b"")
            .map_err(KeyError::NoPrivateKey)?;
        if key.id() == Id::ED25519 { Ok(Self(key)) } else { Err(KeyError::OtherKind) }
    }

    /// The key as a file has it: unencrypted PKCS #8 in PEM.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        Ok(String::from_utf8_lossy(&self.0.private_key_to_pem_pkcs8()?).into_owned())
    }

    /// The public half.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub fn public(&self) -> Result<PublicKeys, KeyError> {
        let raw = self.0.raw_public_key()?;
        Ok(PublicKeys(vec![PKey::public_key_from_raw_bytes(&raw, Id::ED25519)?]))
    }

    /// The signature of `message` for `purpose`.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub fn sign(&self, purpose: &[u8], message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signer = Signer::new_without_digest(&self.0)?;
        Ok(signer.sign_oneshot_to_vec(&signed(purpose, message))?)
    }
}

/// Those whose signatures are trusted; several while one key takes the place of another.
#[derive(Clone)]
pub struct PublicKeys(Vec<PKey<Public>>);

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKeys").field(&self.fingerprints()).finish()
    }
}

impl PublicKeys {
    /// Every public key of a text in PEM; what stands around them is passed over.
    ///
    /// # Errors
    /// There is none, or one is damaged or of another kind.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for block in text.split_inclusive(PEM_END).filter(|block| block.ends_with(PEM_END)) {
            let key =
                PKey::public_key_from_pem(block.as_bytes()).map_err(KeyError::BadPublicKey)?;
            if key.id() != Id::ED25519 {
                return Err(KeyError::OtherKind);
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(KeyError::NoPublicKey),
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(KeyError::TooMany),
        }
    }

    /// Each key by itself.
    pub fn one_by_one(self) -> impl Iterator<Item = Self> {
        self.0.into_iter().map(|key| Self(vec![key]))
    }

    /// The keys as a file has them.
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let mut text = String::new();
        for key in &self.0 {
            text.push_str(&String::from_utf8_lossy(&key.public_key_to_pem()?));
        }
        Ok(text)
    }

    /// Whether one of the keys has signed `message` for `purpose`.
    #[must_use]
    pub fn verify(&self, purpose: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let text = signed(purpose, message);
        self.0.iter().any(|key| {
            Verifier::new_without_digest(key)
                .and_then(|mut verifier| verifier.verify_oneshot(signature, &text))
                .unwrap_or(false)
        })
    }

    /// A short name of each key, by which people tell them apart: the first 16 hexadecimal digits of
    /// the BLAKE3 hash of its 32 bytes.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        let one = |key: &PKey<Public>| {
            let raw = key.raw_public_key().unwrap_or_default();
            blake3::hash(&raw).to_hex()[..16].to_owned()
        };
        self.0.iter().map(one).collect()
    }
}

/// The purpose with its length in front of it, then the message.
fn signed(purpose: &[u8], message: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(8 + purpose.len() + message.len());
    text.extend((purpose.len() as u64).to_le_bytes());
    text.extend_from_slice(purpose);
    text.extend_from_slice(message);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_its_purpose_and_its_message_only() {
        let key = SigningKey::generate().unwrap();
        let (own, other) = (key.public().unwrap(), SigningKey::generate().unwrap());
        let signature = key.sign(b"a", b"message").unwrap();
        assert_eq!(signature.len(), SIGNATURE_BYTES);
        assert!(own.verify(b"a", b"message", &signature));
        assert!(!own.verify(b"am", b"essage", &signature));
        assert!(!own.verify(b"a", b"massage", &signature));
        assert!(!own.verify(b"a", b"message", &signature[1..]));
        assert!(!other.public().unwrap().verify(b"a", b"message", &signature));
        let both = own.to_pem().unwrap() + &other.public().unwrap().to_pem().unwrap();
        let both = PublicKeys::from_pem(&both).unwrap();
        assert!(both.verify(b"a", b"message", &signature));
        assert_eq!(both.fingerprints()[0], own.fingerprints()[0]);
    }

    #[test]
    fn keys_come_back_from_pem_and_other_text_is_no_key() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.sign(b"", b"x").unwrap(), key.sign(b"", b"x").unwrap());
        assert_eq!(format!("{key:?}"), "SigningKey(hidden)");
        let rsa = openssl::rsa::Rsa::generate(1024).unwrap();
        let rsa = String::from_utf8(rsa.public_key_to_pem().unwrap()).unwrap();
        assert!(matches!(PublicKeys::from_pem(&rsa), Err(KeyError::OtherKind)));
        for text in ["", "x", PEM_END, &key.to_pem().unwrap()] {
            assert!(PublicKeys::from_pem(text).is_err(), "{text}");
        }
        let public = key.public().unwrap().to_pem().unwrap();
        assert!(SigningKey::from_pem(&public).is_err());
        assert!(matches!(
            PublicKeys::from_pem(&public.repeat(KEYS_MAX + 1)),
            Err(KeyError::TooMany)
        ));
    }
}
