//! Tokens of `OAUTHBEARER`, which another program keeps fresh in a file.
//!
//! As in Kafka's own clients, a `file:` address as `sasl.oauthbearer.token.endpoint.url` names the file
//! (KIP-768). It holds a JSON Web Token (RFC 7519) in its compact form, as a workload identity or the
//! agent of an identity provider writes it. Whom it is signed by, the brokers find out; of what it says,
//! only its subject and its end are read.
//!
//! librdkafka asks for a token when a client is made and then after four fifths of each token's life;
//! without one it asks again after ten seconds. A token is therefore given for [`LIFE_MAX`] at most: one
//! that the brokers refuse is replaced soon after its file is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error as ThisError;

/// How long a token is given for, whatever it says itself: its file is read again before.
const LIFE_MAX: Duration = Duration::from_secs(30);

/// Why there is no token. No text of the token is in it.
#[derive(Debug, ThisError)]
pub enum TokenError {
    #[error(
        "no file with a token is named: set `sasl.oauthbearer.token.endpoint.url: file:///PATH`"
    )]
    NoFile,
    #[error("the token `{0}` cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("`{0}` holds no JSON Web Token: {1}")]
    NoToken(PathBuf, &'static str),
    #[error("the token `{0}` ended {1} seconds ago; what renews it has stopped")]
    Ended(PathBuf, u64),
}

/// What a client asks for: the token in the file that the property `sasl.oauthbearer.config` names.
///
/// # Errors
/// See [`TokenError`].
pub fn of_file(path: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
    let path = Path::new(path.ok_or(TokenError::NoFile)?);
    let mut token = read(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let ended = now.as_millis() as i64 - token.lifetime_ms;
    if ended >= 0 {
        return Err(TokenError::Ended(path.to_owned(), ended as u64 / 1_000).into());
    }
    token.lifetime_ms = token.lifetime_ms.min((now + LIFE_MAX).as_millis() as i64);
    Ok(token)
}

/// The token in a file, whether it has ended or not.
///
/// # Errors
/// See [`TokenError`].
pub fn read(path: &Path) -> Result<OAuthToken, TokenError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| TokenError::Unreadable(path.to_owned(), error))?;
    parse(text.trim_ascii()).map_err(|what| TokenError::NoToken(path.to_owned(), what))
}

fn parse(token: &str) -> Result<OAuthToken, &'static str> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("that has three parts with a full stop between them");
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| "its second part is no base64url")?;
    let claims: Value =
        serde_json::from_slice(&claims).map_err(|_| "its second part holds no JSON")?;
    let end =
        claims.get("exp").and_then(Value::as_f64).ok_or("it does not say when it ends (`exp`)")?;
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: subject.replace('\0', ""),
        lifetime_ms: (end * 1_000.0) as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(claims))
    }

    #[test]
    fn subject_and_end_are_read_and_what_is_no_token_is_told_without_its_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let asked = |path: Option<&str>| match of_file(path) {
            Ok(token) => {
                let read = read(Path::new(path.unwrap())).unwrap();
                assert!(token.lifetime_ms < read.lifetime_ms, "{}", token.lifetime_ms);
                format!("{} until {}", read.principal_name, read.lifetime_ms)
            }
            Err(error) => error.to_string(),
        };
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            asked(path.to_str())
        };
        let whole = token(r#"{"sub":"agent","exp":4102444800.5,"aud":["kafka"]}"#);
        assert_eq!(said(&format!("{whole}\n")), "agent until 4102444800500");
        assert!(said(&token(r#"{"sub":"agent","exp":1000}"#)).contains("seconds ago; what renews"));
        for (text, what) in [
            ("secret-text", "three parts"),
            ("secret-text.!.x", "no base64url"),
            (&token("secret-text"), "no JSON"),
            (&token(r#"{"sub":"secret-text"}"#), "(`exp`)"),
            ("", "three parts"),
        ] {
            let said = said(text);
            assert!(said.contains(what) && !said.contains("secret-text"), "{said}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(asked(path.to_str()).contains("cannot be read"));
        assert!(asked(None).contains("file:///PATH"));
    }
}
