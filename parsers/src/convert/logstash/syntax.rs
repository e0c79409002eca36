//! The language of Logstash's pipelines: blocks, settings, conditions.

/// How deep blocks and values may nest.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// `grok { match => … }`; `filter { … }` has items.
    Block { name: String, line: usize, settings: Vec<Setting>, items: Vec<Item> },
    /// `if … { … }`, `else if … { … }`, `else { … }`.
    Condition { text: String, line: usize, last_line: usize, items: Vec<Item> },
}

/// A line and what is wrong there.
pub(super) type Fault = (usize, String);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) value: Entry,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    Text(String),
    List(Vec<Entry>),
    Hash(Vec<(String, Entry)>),
}

impl Entry {
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The texts of a list; a text alone is a list of one.
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::List(items) => items.iter().filter_map(Self::text).collect(),
            Self::Hash(_) => Vec::new(),
        }
    }

    /// Name and text of a hash; the old form of a list with names and values in turn, too.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        match self {
            Self::Hash(entries) => entries
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.text()?)))
                .collect(),
            _ => {
                self.list().chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
            }
        }
    }

    /// Name and list of texts.
    pub(super) fn lists(&self) -> Vec<(String, Vec<String>)> {
        match self {
            Self::Hash(entries) => {
                entries.iter().map(|(name, value)| (name.clone(), value.list())).collect()
            }
            _ => self.pairs().into_iter().map(|(name, text)| (name, vec![text])).collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
    Arrow,
}

/// Takes a pipeline apart, as far as it can be read: what stands before a fault is there.
pub(super) fn parse(text: &str) -> (Vec<Item>, Option<Fault>) {
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader { tokens: tokens(&chars), chars, at: 0 };
    let mut items = Vec::new();
    let fault = reader.items(0, false, &mut items).err();
    (items, fault)
}

struct Reader {
    chars: Vec<char>,
    tokens: Vec<Placed>,
    at: usize,
}

#[derive(Debug, Clone)]
struct Placed {
    token: Token,
    line: usize,
    /// In characters of the text.
    start: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |placed| placed.line)
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: char) -> Result<(), Fault> {
        let line = self.line();
        if self.take(sign) { Ok(()) } else { Err((line, format!("`{sign}` is missing"))) }
    }

    fn items(&mut self, depth: usize, nested: bool, items: &mut Vec<Item>) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err((self.line(), "nested too deep".into()));
        }
        loop {
            match self.peek().cloned() {
                None if nested => return Err((self.line(), "`}` is missing".into())),
                None => return Ok(()),
                Some(Token::Sign('}')) if nested => {
                    self.at += 1;
                    return Ok(());
                }
                Some(Token::Word(word)) if word == "if" || word == "else" => {
                    let line = self.line();
                    let text = self.condition();
                    self.expect('{')?;
                    let mut inside = Vec::new();
                    let read = self.items(depth + 1, true, &mut inside);
                    let last_line = self.tokens[self.at - 1].line;
                    items.push(Item::Condition { text, line, last_line, items: inside });
                    read?;
                }
                Some(Token::Word(name)) => {
                    let line = self.line();
                    self.at += 1;
                    self.expect('{')?;
                    if !matches!(name.as_str(), "filter" | "input" | "output") {
                        let settings = self.settings(depth)?;
                        items.push(Item::Block { name, line, settings, items: Vec::new() });
                        continue;
                    }
                    let mut inside = Vec::new();
                    let read = self.items(depth + 1, true, &mut inside);
                    items.push(Item::Block { name, line, settings: Vec::new(), items: inside });
                    read?;
                }
                Some(_) => return Err((self.line(), "the name of a filter is expected".into())),
            }
        }
    }

    fn settings(&mut self, depth: usize) -> Result<Vec<Setting>, Fault> {
        let mut settings = Vec::new();
        while !self.take('}') {
            let line = self.line();
            let Some(Token::Word(name) | Token::Text(name)) = self.peek().cloned() else {
                return Err((line, "the name of a setting is expected, or `}`".into()));
            };
            self.at += 1;
            if self.peek() != Some(&Token::Arrow) {
                return Err((line, format!("`=>` is missing after `{name}`")));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            settings.push(Setting { name, line, value });
        }
        Ok(settings)
    }

    fn value(&mut self, depth: usize) -> Result<Entry, Fault> {
        let line = self.line();
        if depth > DEPTH_MAX {
            return Err((line, "nested too deep".into()));
        }
        match self.peek().cloned() {
            Some(Token::Word(text) | Token::Text(text)) => {
                self.at += 1;
                // `json { … }` as a codec: what it holds does not matter here.
                if self.peek() == Some(&Token::Sign('{')) {
                    self.at += 1;
                    self.settings(depth)?;
                }
                Ok(Entry::Text(text))
            }
            Some(Token::Sign('[')) => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.value(depth + 1)?);
                    self.take(',');
                }
                Ok(Entry::List(items))
            }
            Some(Token::Sign('{')) => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.take('}') {
                    let Entry::Text(name) = self.value(depth + 1)? else {
                        return Err((line, "the name of an entry is expected".into()));
                    };
                    if self.peek() != Some(&Token::Arrow) {
                        return Err((self.line(), format!("`=>` is missing after `{name}`")));
                    }
                    self.at += 1;
                    entries.push((name, self.value(depth + 1)?));
                    self.take(',');
                }
                Ok(Entry::Hash(entries))
            }
            _ => Err((line, "a value is expected".into())),
        }
    }

    /// The text up to the `{`, as it stands.
    fn condition(&mut self) -> String {
        let start = self.start();
        while self.peek().is_some_and(|token| *token != Token::Sign('{')) {
            self.at += 1;
        }
        let text: String = self.chars[start..self.start()].iter().collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.strip_prefix("if ").map_or(text.clone(), str::to_owned)
    }

    /// Where the next token begins.
    fn start(&self) -> usize {
        self.tokens.get(self.at).map_or(self.chars.len(), |token| token.start)
    }
}

/// Whether a slash opens a regex: one behind `=~` or `!~` does, others are part of a path.
fn is_regex(sign: char, before: &[Placed]) -> bool {
    sign == '/' && before.last().is_some_and(|placed| placed.token == Token::Sign('~'))
}

fn tokens(chars: &[char]) -> Vec<Placed> {
    let mut out = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        match chars[at] {
            '\n' => {
                line += 1;
                at += 1;
            }
            '#' => at += chars[at..].iter().position(|c| *c == '\n').unwrap_or(chars.len() - at),
            c if c.is_whitespace() => at += 1,
            quote if "\"'".contains(quote) || is_regex(quote, &out) => {
                let first = line;
                let mut value = String::new();
                at += 1;
                while at < chars.len() && chars[at] != quote {
                    // Only the quote itself can be escaped unless `config.support_escapes` is on.
                    if chars[at] == '\\' && chars.get(at + 1) == Some(&quote) {
                        at += 1;
                    }
                    line += usize::from(chars[at] == '\n');
                    value.push(chars[at]);
                    at += 1;
                }
                at += 1;
                out.push(Placed { token: Token::Text(value), line: first, start });
            }
            '=' if chars.get(at + 1) == Some(&'>') => {
                out.push(Placed { token: Token::Arrow, line, start });
                at += 2;
            }
            c if c.is_alphanumeric() || "_-.@/".contains(c) => {
                let end =
                    chars[at..].iter().position(|c| !(c.is_alphanumeric() || "_-.@/".contains(*c)));
                let end = end.map_or(chars.len(), |length| at + length);
                let token = Token::Word(chars[at..end].iter().collect());
                out.push(Placed { token, line, start });
                at = end;
            }
            c => {
                out.push(Placed { token: Token::Sign(c), line, start });
                at += 1;
            }
        }
    }
    out
}
