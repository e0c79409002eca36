//! Texts to hide, and where they stand in others, upper or lower case.

/// Several texts and what takes the place of each.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<(Vec<u8>, String)>);

impl Secrets {
    /// Takes in a text; nothing is hidden where there is none.
    pub(crate) fn add(&mut self, text: &[u8], hidden: &str) {
        if !text.is_empty() {
            // The longest first: one may begin with another.
            let at = self.0.partition_point(|(known, _)| known.len() >= text.len());
            self.0.insert(at, (text.to_vec(), hidden.to_owned()));
        }
    }

    /// Whether a text is one of them.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        self.0.iter().any(|(secret, _)| secret.eq_ignore_ascii_case(text))
    }

    /// Where they stand in a text, and what hides them; what overlaps is one place.
    pub(crate) fn places(&self, text: &[u8]) -> Vec<((usize, usize), &str)> {
        let mut places: Vec<((usize, usize), &str)> = Vec::new();
        let mut is_first = [false; 256];
        for (secret, _) in &self.0 {
            for first in [secret[0].to_ascii_lowercase(), secret[0].to_ascii_uppercase()] {
                is_first[usize::from(first)] = true;
            }
        }
        for at in 0..text.len() {
            if !is_first[usize::from(text[at])] {
                continue;
            }
            let begins = |secret: &[u8]| {
                text.get(at..at + secret.len()).is_some_and(|t| t.eq_ignore_ascii_case(secret))
            };
            let Some((secret, hidden)) = self.0.iter().find(|(secret, _)| begins(secret)) else {
                continue;
            };
            let end = at + secret.len();
            match places.last_mut() {
                Some(((_, last), _)) if at < *last => *last = end.max(*last),
                _ => places.push(((at, end), hidden)),
            }
        }
        places
    }

    /// A text without them; `None` if there is none in it.
    pub(crate) fn hidden_in(&self, text: &[u8]) -> Option<Vec<u8>> {
        let places = self.places(text);
        let (mut new, mut from) = (Vec::new(), 0);
        for ((start, end), hidden) in &places {
            new.extend_from_slice(&text[from..*start]);
            new.extend_from_slice(hidden.as_bytes());
            from = *end;
        }
        new.extend_from_slice(&text[from..]);
        (!places.is_empty()).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_hidden_once_wherever_it_stands() {
        for (secrets, text, hidden) in [
            (&["a"][..], "a,b", Some("redacted,b")),
            // What hides one is not looked at for others.
            (&["a", "a,b"], "a,b red", Some("redacted red")),
            (&["e"], "red", Some("rredactedd")),
            (&["bob", "bob@x"], "Bob@X bob", Some("redacted redacted")),
            (&["bob@x", "x.example"], "<bob@x.example>", Some("<redacted>")),
            (&["aa"], "aaa", Some("redacted")),
            (&["alice", ""], "ALIC", None),
            (&[], "a", None),
        ] {
            let mut all = Secrets::default();
            secrets.iter().for_each(|secret| all.add(secret.as_bytes(), "redacted"));
            let got = all.hidden_in(text.as_bytes());
            assert_eq!(got.as_deref(), hidden.map(str::as_bytes), "{secrets:?} in {text}");
        }
    }
}
