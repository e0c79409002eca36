//! The words of a query and how they hang together: text in, tree out. What fields mean is decided
//! later, in `compile`.
//!
//! ```text
//! or      = and { "or" and }
//! and     = unary { ["and"] unary }
//! unary   = "not" unary | "(" or ")" | field ":" value | text
//! value   = text | ("<" | "<=" | ">" | ">=") text | "[" text "to" text "]" | "(" text { ["or"] text } ")"
//! text    = word | '"' phrase '"'
//! ```
//!
//! Parsing accepts any text without panic; nesting and length are bounded.

/// Deeper parentheses are refused: evaluation recurses.
const DEPTH_MAX: usize = 64;
/// Longer queries are refused.
const LENGTH_MAX: usize = 64 << 10;

/// How other languages write keywords: lines seldom have them as words, so they would find nothing.
const SIGNS_FOR_KEYWORDS: [(&str, &str); 2] = [("&&", "and"), ("||", "or")];

/// Why a text is no query: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}; {remedy}")]
pub struct QueryError {
    /// The first character is column 1.
    pub column: usize,
    pub message: String,
    pub remedy: String,
}

impl QueryError {
    pub(super) fn new(at: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { column: at, message: message.into(), remedy: remedy.into() }
    }
}

/// A query as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Text(Text),
    Field { name: Text, value: Operand },
}

/// What is behind the colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    /// One of these.
    Any(Vec<Text>),
    /// Bounds; `true`: the bound itself is in.
    Range { low: Option<(Text, bool)>, high: Option<(Text, bool)> },
}

/// A word or a phrase, and the column where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// The same with `*` and `?` as they were meant, if any was.
    pub(super) pattern: Option<Vec<Piece>>,
    pub(super) quoted: bool,
    pub(super) column: usize,
}

/// A piece of a wildcard pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    /// `*`
    Any,
    /// `?`
    One,
}

impl Text {
    /// Whether it is `*` alone.
    pub(super) fn is_everything(&self) -> bool {
        self.pattern.as_deref() == Some(&[Piece::Any])
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(Text),
    /// A word with the colon that touches it.
    Field(Text),
    /// `<`, `<=`, `>`, `>=`, `(`, `)`, `[`, `]`
    Sign(&'static str, usize),
}

impl Token {
    fn column(&self) -> usize {
        match self {
            Self::Text(text) | Self::Field(text) => text.column,
            Self::Sign(_, column) => *column,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.text.clone(),
            Self::Field(text) => format!("{}:", text.text),
            Self::Sign(sign, _) => (*sign).to_owned(),
        }
    }
}

/// Parses a query; an empty one is [`Node::All`].
pub(super) fn parse(query: &str) -> Result<Node, QueryError> {
    if query.len() > LENGTH_MAX {
        let message = format!("the query is longer than {LENGTH_MAX} bytes");
        return Err(QueryError::new(1, message, "make it shorter"));
    }
    let mut parser = Parser { tokens: tokens(query)?, at: 0, depth: 0 };
    if parser.tokens.is_empty() {
        return Ok(Node::All);
    }
    let node = parser.or()?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(QueryError::new(
            token.column(),
            format!("`{}` has nothing to close", token.shown()),
            "remove it, or put it in quotes to search for it",
        )),
    }
}

fn tokens(query: &str) -> Result<Vec<Token>, QueryError> {
    let characters: Vec<char> = query.chars().collect();
    let mut tokens = Vec::new();
    // What closes the list or the range of values that the place is in.
    let mut closing = None;
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1);
        let sign = match (character, next) {
            ('<', Some('=')) => Some("<="),
            ('>', Some('=')) => Some(">="),
            ('<', _) => Some("<"),
            ('>', _) => Some(">"),
            ('(', _) => Some("("),
            (')', _) => Some(")"),
            ('[', _) => Some("["),
            (']', _) => Some("]"),
            _ => None,
        };
        if character.is_whitespace() {
            at += 1;
        } else if let Some(sign) = sign {
            closing = match (sign, tokens.last()) {
                ("(", Some(Token::Field(_))) => Some(")"),
                ("[", Some(Token::Field(_))) => Some("]"),
                _ => closing.filter(|closing| *closing != sign),
            };
            tokens.push(Token::Sign(sign, at + 1));
            at += sign.len();
        } else {
            let is_value = closing.is_some()
                || matches!(
                    tokens.last(),
                    Some(Token::Field(_) | Token::Sign("<" | "<=" | ">" | ">=", _))
                );
            let (text, end) = match character {
                '"' => phrase(&characters, at)?,
                ':' if !is_value => {
                    let remedy = "write `field:value` without a blank before the colon, or put the \
                                  colon in quotes to search for it";
                    return Err(QueryError::new(at + 1, "`:` has no field before it", remedy));
                }
                _ => word(&characters, at, is_value),
            };
            let field = characters.get(end) == Some(&':') && !is_value;
            tokens.push(if field { Token::Field(text) } else { Token::Text(text) });
            at = end + usize::from(field);
        }
    }
    Ok(tokens)
}

/// The phrase whose opening quote is at `start`, and where it ends.
fn phrase(characters: &[char], start: usize) -> Result<(Text, usize), QueryError> {
    let mut text = String::new();
    let mut at = start + 1;
    while let Some(&character) = characters.get(at) {
        match (character, characters.get(at + 1)) {
            ('"', _) => {
                return Ok((Text { text, pattern: None, quoted: true, column: start + 1 }, at + 1));
            }
            ('\\', Some(&escaped @ ('"' | '\\'))) => {
                text.push(escaped);
                at += 2;
            }
            _ => {
                text.push(character);
                at += 1;
            }
        }
    }
    Err(QueryError::new(
        start + 1,
        "the quote is not closed",
        "write `\"` at the end of the phrase",
    ))
}

/// The word that begins at `start`. A value may hold colons (times, IPv6).
fn word(characters: &[char], start: usize, is_value: bool) -> (Text, usize) {
    let ends = |character: char| {
        character.is_whitespace() || "()[]\"".contains(character) || (character == ':' && !is_value)
    };
    let mut text = String::new();
    let mut pieces = Vec::new();
    let mut at = start;
    while let Some(&character) = characters.get(at) {
        if ends(character) && at > start {
            break;
        }
        let escaped = match character {
            '\\' => characters.get(at + 1).copied().filter(|next| "*?\\\":()[]<>".contains(*next)),
            _ => None,
        };
        let plain = escaped.unwrap_or(character);
        text.push(plain);
        match (escaped, character) {
            (None, '*') if pieces.last() != Some(&Piece::Any) => pieces.push(Piece::Any),
            (None, '*') => {}
            (None, '?') => pieces.push(Piece::One),
            _ => match pieces.last_mut() {
                Some(Piece::Literal(literal)) => literal.push(plain),
                _ => pieces.push(Piece::Literal(plain.to_string())),
            },
        }
        at += 1 + usize::from(escaped.is_some());
    }
    let pattern = pieces.iter().any(|p| !matches!(p, Piece::Literal(_))).then_some(pieces);
    (Text { text, pattern, quoted: false, column: start + 1 }, at)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Text(text)) if text.is_keyword(keyword));
        self.at += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(other, _)) if *other == sign);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Node, QueryError> {
        let mut nodes = vec![self.and()?];
        while self.take_keyword("or") {
            nodes.push(self.and()?);
        }
        Ok(one_or(nodes, Node::Or))
    }

    fn and(&mut self) -> Result<Node, QueryError> {
        let mut nodes = vec![self.unary()?];
        loop {
            let explicit = self.take_keyword("and");
            let ends = match self.peek() {
                None | Some(Token::Sign(")" | "]", _)) => true,
                Some(Token::Text(text)) => text.is_keyword("or"),
                _ => false,
            };
            if ends && !explicit {
                return Ok(one_or(nodes, Node::And));
            }
            nodes.push(self.unary()?);
        }
    }

    fn unary(&mut self) -> Result<Node, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let at = self.peek().map_or(1, Token::column);
            return Err(QueryError::new(at, "the query is nested too deeply", "make it simpler"));
        }
        let node = self.unary_inside();
        self.depth -= 1;
        node
    }

    fn unary_inside(&mut self) -> Result<Node, QueryError> {
        if self.take_keyword("not") {
            return Ok(Node::Not(Box::new(self.unary()?)));
        }
        match self.next() {
            Some(Token::Sign("(", column)) => {
                let node = self.or()?;
                match self.take_sign(")") {
                    true => Ok(node),
                    false => Err(self.unclosed("(", ")", column)),
                }
            }
            Some(Token::Text(text)) if text.is_keyword("and") || text.is_keyword("or") => {
                let message = format!("`{}` needs something on both sides", text.text);
                let remedy = "add it, or put the word in quotes to search for it";
                Err(QueryError::new(text.column, message, remedy))
            }
            Some(Token::Text(text)) => {
                let keyword = SIGNS_FOR_KEYWORDS.iter().find(|(sign, _)| text.is_keyword(sign));
                match keyword {
                    Some((sign, keyword)) => Err(QueryError::new(
                        text.column,
                        format!("`{sign}` is no word of a query"),
                        format!("write `{keyword}`, or put it in quotes to search for it"),
                    )),
                    None => Ok(Node::Text(text)),
                }
            }
            Some(Token::Field(name)) => {
                self.operand(&name).map(|value| Node::Field { name, value })
            }
            Some(token) => Err(QueryError::new(
                token.column(),
                format!("`{}` stands alone", token.shown()),
                "write `field:` before it, or put it in quotes to search for it",
            )),
            None => Err(QueryError::new(self.end(), "the query ends too early", "complete it")),
        }
    }

    fn operand(&mut self, name: &Text) -> Result<Operand, QueryError> {
        let bound = |parser: &mut Self, inclusive| {
            parser.text(name, "a value").map(|text| Some((text, inclusive)))
        };
        match self.peek() {
            Some(Token::Sign(sign @ ("<" | "<=" | ">" | ">="), _)) => {
                let (above, inclusive) = (sign.starts_with('>'), sign.ends_with('='));
                self.at += 1;
                let bound = bound(self, inclusive)?;
                Ok(match above {
                    true => Operand::Range { low: bound, high: None },
                    false => Operand::Range { low: None, high: bound },
                })
            }
            Some(Token::Sign("[", column)) => {
                let column = *column;
                self.at += 1;
                let low = bound(self, true)?;
                if !self.take_keyword("to") {
                    let at = self.peek().map_or(self.end(), Token::column);
                    let remedy = "write a range as `[low to high]`, with `*` for an open end";
                    return Err(QueryError::new(at, "the range has no `to`", remedy));
                }
                let high = bound(self, true)?;
                if !self.take_sign("]") {
                    return Err(self.unclosed("[", "]", column));
                }
                let open =
                    |bound: Option<(Text, bool)>| bound.filter(|(text, _)| !text.is_everything());
                Ok(Operand::Range { low: open(low), high: open(high) })
            }
            Some(Token::Sign("(", column)) => {
                let column = *column;
                self.at += 1;
                let mut texts = vec![self.listed(name)?];
                while !self.take_sign(")") {
                    if self.peek().is_none() {
                        return Err(self.unclosed("(", ")", column));
                    }
                    self.take_keyword("or");
                    texts.push(self.listed(name)?);
                }
                Ok(Operand::Any(texts))
            }
            _ => self.text(name, "a value").map(|text| Operand::Any(vec![text])),
        }
    }

    /// One value of a list: a keyword there would not mean what it means elsewhere.
    fn listed(&mut self, name: &Text) -> Result<Text, QueryError> {
        let text = self.text(name, "a value")?;
        let keywords = ["and", "or", "not"].into_iter();
        let mut keywords = keywords.chain(SIGNS_FOR_KEYWORDS.iter().map(|(sign, _)| *sign));
        if !keywords.any(|keyword| text.is_keyword(keyword)) {
            return Ok(text);
        }
        let name = &name.text;
        Err(QueryError::new(
            text.column,
            format!("`{}` stands among the values of `{name}:`", text.text),
            format!(
                "write `not {name}:x` or `{name}:a and {name}:b`, or put the word in quotes to search \
                 for it"
            ),
        ))
    }

    fn text(&mut self, name: &Text, what: &str) -> Result<Text, QueryError> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            other => Err(QueryError::new(
                other.as_ref().map_or(self.end(), Token::column),
                format!("`{}:` has no value", name.text),
                format!("write {what} behind it, or `{}:*` for any", name.text),
            )),
        }
    }

    fn unclosed(&self, open: &str, close: &str, column: usize) -> QueryError {
        QueryError::new(column, format!("`{open}` is not closed"), format!("add `{close}`"))
    }

    /// The column behind the last token.
    fn end(&self) -> usize {
        self.tokens.last().map_or(1, |token| token.column() + token.shown().chars().count())
    }
}

fn one_or(mut nodes: Vec<Node>, several: impl Fn(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        1 => nodes.swap_remove(0),
        _ => several(nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an S-expression.
    fn shown(node: &Node) -> String {
        let all = |nodes: &[Node]| nodes.iter().map(shown).collect::<Vec<_>>().join(" ");
        let text = |text: &Text| match (&text.pattern, text.quoted) {
            (Some(_), _) => format!("~{}", text.text),
            (None, true) => format!("{:?}", text.text),
            (None, false) => text.text.clone(),
        };
        let bound = |bound: &Option<(Text, bool)>| match bound {
            Some((value, true)) => format!("={}", text(value)),
            Some((value, false)) => text(value),
            None => "-".into(),
        };
        match node {
            Node::All => "all".into(),
            Node::And(nodes) => format!("(and {})", all(nodes)),
            Node::Or(nodes) => format!("(or {})", all(nodes)),
            Node::Not(node) => format!("(not {})", shown(node)),
            Node::Text(word) => text(word),
            Node::Field { name, value: Operand::Any(texts) } => {
                let texts: Vec<_> = texts.iter().map(text).collect();
                format!("{}:{}", name.text, texts.join("|"))
            }
            Node::Field { name, value: Operand::Range { low, high } } => {
                format!("{}:[{} {}]", name.text, bound(low), bound(high))
            }
        }
    }

    #[test]
    fn queries_are_read_as_they_are_meant() {
        for (query, expected) in [
            ("", "all"),
            ("  ", "all"),
            ("failed", "failed"),
            ("failed password", "(and failed password)"),
            (r#""failed password""#, r#""failed password""#),
            (r#""a \"b\" \\ \n""#, r#""a \"b\" \\ \\n""#),
            ("a or b c", "(or a (and b c))"),
            ("a OR b AND NOT c", "(or a (and b (not c)))"),
            ("(a or b) c", "(and (or a b) c)"),
            ("not not a", "(not (not a))"),
            (
                r#"source.ip:10.0.0.0/8 and not user.name:root "x""#,
                r#"(and source.ip:10.0.0.0/8 (not user.name:root) "x")"#,
            ),
            ("user.name: root", "user.name:root"),
            ("user.name:adm*", "user.name:~adm*"),
            (r"user.name:adm\*", "user.name:adm*"),
            (r#"user.name:"adm*""#, r#"user.name:"adm*""#),
            ("user.name:*", "user.name:~*"),
            ("a:(x or y z)", "a:x|y|z"),
            ("a:>=500", "a:[=500 -]"),
            ("a:< 5", "a:[- 5]"),
            ("a:[1 to 2]", "a:[=1 =2]"),
            ("a:[* to 2026-11-28T10:00:00Z]", "a:[- =2026-11-28T10:00:00Z]"),
            ("a:(fe80::1 or 1.2.3.4 ::1) b", "(and a:fe80::1|1.2.3.4|::1 b)"),
            ("source.ip:::1 (b:c)", "(and source.ip:::1 b:c)"),
            ("to a:b", "(and to a:b)"),
            ("a:[x to y] to a:b", "(and a:[=x =y] to a:b)"),
            (r#"a:("not" x)"#, r#"a:"not"|x"#),
            ("source.ip:fe80::1 b", "(and source.ip:fe80::1 b)"),
            ("@timestamp:>2026-11-28T10:00", "@timestamp:[2026-11-28T10:00 -]"),
            (r#"a:"or" or "and""#, r#"(or a:"or" "and")"#),
        ] {
            let node = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(shown(&node), expected, "{query}");
        }
    }

    #[test]
    fn errors_say_where_and_what_to_write() {
        for (query, column, message, remedy) in [
            ("a and", 6, "ends too early", "complete"),
            ("and a", 1, "`and` needs something", "quotes"),
            ("a or or b", 6, "`or` needs something", "quotes"),
            ("(a or b", 1, "`(` is not closed", "add `)`"),
            ("a)", 2, "`)` has nothing to close", "remove it"),
            ("x \"abc", 3, "the quote is not closed", "at the end"),
            ("user.name:", 11, "`user.name:` has no value", "`user.name:*`"),
            ("a:[1 2]", 6, "no `to`", "[low to high]"),
            ("a:[1 to 2", 3, "`[` is not closed", "add `]`"),
            ("a:(x", 3, "`(` is not closed", "add `)`"),
            ("a:(not x)", 4, "`not` stands among the values of `a:`", "write `not a:x`"),
            ("a:(x AND y)", 6, "`AND` stands among", "`a:a and a:b`"),
            ("a:(x or or y)", 9, "`or` stands among", "in quotes"),
            ("a:(x || y)", 6, "`||` stands among", "in quotes"),
            ("a && b", 3, "`&&` is no word", "write `and`"),
            ("a || b", 3, "`||` is no word", "write `or`"),
            ("a : b", 3, "`:` has no field", "without a blank"),
            ("a :b", 3, "`:` has no field", "without a blank"),
            (">= 5", 1, "`>=` stands alone", "field:"),
            ("é ]", 3, "`]` has nothing to close", "remove"),
        ] {
            let error = parse(query).unwrap_err();
            assert_eq!(error.column, column, "{query}: {error}");
            assert!(error.message.contains(message), "{query}: {error}");
            assert!(error.remedy.contains(remedy), "{query}: {error}");
        }
        assert!(parse(&"(".repeat(10_000)).is_err());
        assert!(parse(&"not ".repeat(10_000)).is_err());
        assert!(parse(&"a ".repeat(100_000)).is_err());
    }

    #[test]
    fn any_text_is_parsed_or_refused_without_panic() {
        let pieces =
            ["a", ":", "(", ")", "[", "]", "\"", "\\", "*", "to", " ", "or", "not", ">", "=", "é"];
        let mut random = 7u64;
        for _ in 0..20_000 {
            let mut query = String::new();
            for _ in 0..8 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                query.push_str(pieces[(random >> 33) as usize % pieces.len()]);
            }
            let _ = parse(&query);
        }
    }
}
