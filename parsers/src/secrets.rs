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
        self.0.iter().any(|(secret, _)| begins(text, secret) == Some(text.len()))
    }

    /// Where they stand in a text, and what hides them; what overlaps is one place.
    pub(crate) fn places(&self, text: &[u8]) -> Vec<((usize, usize), &str)> {
        let mut places: Vec<((usize, usize), &str)> = Vec::new();
        let mut is_first = [false; 256];
        for (secret, _) in &self.0 {
            first_bytes(secret, |first| is_first[usize::from(first)] = true);
        }
        for at in 0..text.len() {
            if !is_first[usize::from(text[at])] {
                continue;
            }
            let found = self.0.iter().find_map(|(secret, hidden)| {
                begins(&text[at..], secret).map(|len| (at + len, hidden))
            });
            let Some((end, hidden)) = found else { continue };
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

/// How much of the beginning of `text` is the secret, upper or lower case.
fn begins(text: &[u8], secret: &[u8]) -> Option<usize> {
    if text.get(..secret.len()).is_some_and(|text| text.eq_ignore_ascii_case(secret)) {
        return Some(secret.len());
    }
    if secret.is_ascii() {
        return None;
    }
    let (mut rest, mut secret) = (text, secret);
    while !secret.is_empty() {
        let (wanted, len) = sign(secret)?;
        let (_, found) = sign(rest).filter(|(found, _)| *found == wanted)?;
        (secret, rest) = (&secret[len..], &rest[found..]);
    }
    Some(text.len() - rest.len())
}

/// The first sign of a text in its one case, and its length; none if that is no UTF-8.
fn sign(text: &[u8]) -> Option<(char, usize)> {
    let sign = text[..text.len().min(4)].utf8_chunks().next()?.valid().chars().next()?;
    let lower = match single(sign.to_lowercase()) {
        // Two forms in lower case, which are one in upper case.
        Some('ς') => 'σ',
        Some('ı') => 'i',
        Some(lower) => lower,
        None => sign,
    };
    Some((lower, sign.len_utf8()))
}

/// The sign if it is one alone.
fn single(mut signs: impl Iterator<Item = char>) -> Option<char> {
    signs.next().filter(|_| signs.next().is_none())
}

/// The bytes that the secret may begin with.
fn first_bytes(secret: &[u8], mut take: impl FnMut(u8)) {
    take(secret[0].to_ascii_lowercase());
    take(secret[0].to_ascii_uppercase());
    if !secret[0].is_ascii() {
        // Whatever it is in the other case.
        (0x80..=u8::MAX).chain(*b"iI").for_each(take);
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
            (&["école"], "ÉCOLE d'Été", Some("redacted d'Été")),
            (&["Ünal Yıldız", "ю"], "ünal yildiz, Юля", Some("redacted, redactedля")),
            // Of other lengths in the other case.
            (&["ⱥb", "ΟΔΟΣ"], "ȺB οδος", Some("redacted redacted")),
            (&["straße"], "STRAßE strasse", Some("redacted strasse")),
            (&["é"], "e Ã\u{3}", None),
            (&[], "a", None),
        ] {
            let mut all = Secrets::default();
            secrets.iter().for_each(|secret| all.add(secret.as_bytes(), "redacted"));
            let got = all.hidden_in(text.as_bytes());
            assert_eq!(got.as_deref(), hidden.map(str::as_bytes), "{secrets:?} in {text}");
        }
    }
}
