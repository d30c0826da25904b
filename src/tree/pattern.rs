//! One pattern in rsync's language, as a regular expression over bytes.
//!
//! The subject of every expression is a path below the root with a `/` in front, and `/` and a NUL
//! behind it if it is a directory: `/a/file`, `/a/directory/\0`. No name holds a NUL, so one
//! expression tells both the path and what a trailing `/` or `***` of the pattern asks for.

use std::fmt::Write;

/// Why a pattern is refused: it could never match what its author meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Nothing at all.
    #[error("it is empty; is a variable of the script unset?")]
    Empty,
    /// `[` without its `]`.
    #[error("a [ without its ]; write \\[ for the bracket itself")]
    OpenClass,
    /// `[[:name:]]` with a name that is none.
    #[error("an unknown class between [: and :]")]
    UnknownClass,
    /// A backslash at the end of a pattern with wildcards.
    #[error("a \\ at the end has nothing to stand for")]
    LoneBackslash,
    /// Names hold no NUL.
    #[error("it holds a NUL byte")]
    Nul,
}

/// What a pattern is matched by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// Entries of exactly this name, wherever they are.
    Name(Vec<u8>),
    /// The entry of exactly this path below the root.
    Path(Vec<u8>),
    /// Whatever this regular expression over bytes matches.
    Regex(String),
}

/// A pattern that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What it is matched by.
    pub matcher: Matcher,
    /// It matches directories only. An expression holds that already.
    pub directories_only: bool,
}

/// A piece of a pattern with wildcards.
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**`
    Stars,
    /// `[...]`: which bytes it matches.
    Class(Box<[bool; 256]>),
}

impl Pattern {
    /// Reads a pattern as rsync does (rsync(1), PATTERN MATCHING RULES).
    pub fn parse(text: &[u8]) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.contains(&0) {
            return Err(BadPattern::Nul);
        }
        let (text, directories_only) = match text.strip_suffix(b"/") {
            Some(rest) if !rest.is_empty() => (rest, true),
            _ => (text, false),
        };
        let is_wild = text.iter().any(|byte| b"*[?".contains(byte));
        let matcher = if is_wild { wild(text, directories_only)? } else { literal(text, directories_only) };
        Ok(Self { matcher, directories_only })
    }
}

/// Without a wildcard a backslash is a backslash.
fn literal(text: &[u8], directories_only: bool) -> Matcher {
    match text.strip_prefix(b"/") {
        Some(path) => Matcher::Path(path.to_vec()),
        None if !text.contains(&b'/') => Matcher::Name(text.to_vec()),
        None => {
            let body: String = text.iter().map(|&byte| quoted(byte)).collect();
            Matcher::Regex(format!("^/{ABOVE}{body}{}", end(directories_only, false)))
        }
    }
}

/// Any directories above.
const ABOVE: &str = r"(?:[^\x00]*/)?";

/// `***` at the end of a pattern matches with the `/` behind a directory, so it takes the directory
/// itself too.
fn end(directories_only: bool, takes_slash: bool) -> &'static str {
    match (directories_only, takes_slash) {
        (false, false) => r"(?:/\x00)?$",
        (true, false) => r"/\x00$",
        (false, true) => r"\x00?$",
        (true, true) => r"\x00$",
    }
}

fn wild(text: &[u8], directories_only: bool) -> Result<Matcher, BadPattern> {
    let (anchored, rest) = text.strip_prefix(b"/").map_or((false, text), |rest| (true, rest));
    let has_stars = text.windows(2).any(|two| two == b"**");
    let tokens = tokens(rest)?;
    let start = if anchored {
        "^/".to_owned()
    } else if text.starts_with(b"**") {
        // The stars take the slash in front of the path too, so `**/a` matches `a`.
        "^".to_owned()
    } else {
        format!("^/{ABOVE}")
    };
    // rsync compares as many names from the end of the path as the pattern has slashes, and counts
    // those in brackets, which match none: such a pattern matches nothing.
    let slashes = rest.iter().filter(|&&byte| byte == b'/').count();
    let plain = tokens.iter().filter(|token| matches!(token, Token::Byte(b'/'))).count();
    let never = !anchored && !has_stars && slashes != plain;
    let body: String = if never { NOTHING.to_owned() } else { tokens.iter().map(expression).collect() };
    Ok(Matcher::Regex(format!("{start}{body}{}", end(directories_only, text.ends_with(b"***")))))
}

/// Matches no byte.
const NOTHING: &str = r"[^\x00-\xff]";

fn expression(token: &Token) -> String {
    match token {
        Token::Byte(byte) => quoted(*byte),
        Token::One => r"[^/\x00]".to_owned(),
        Token::Star => r"[^/\x00]*".to_owned(),
        Token::Stars => r"[^\x00]*".to_owned(),
        Token::Class(bytes) => {
            let members: String =
                (0..=u8::MAX).zip(bytes.iter()).filter(|(_, is_in)| **is_in).map(|(byte, _)| quoted(byte)).collect();
            if members.is_empty() { NOTHING.to_owned() } else { format!("[{members}]") }
        }
    }
}

fn quoted(byte: u8) -> String {
    let mut text = String::with_capacity(4);
    // Writing to a String does not fail.
    let _ = write!(text, "\\x{byte:02x}");
    text
}

fn tokens(text: &[u8]) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        tokens.push(match byte {
            b'?' => Token::One,
            b'*' => {
                let more = rest.iter().take_while(|&&byte| byte == b'*').count();
                rest = rest.get(more..).unwrap_or_default();
                if more > 0 { Token::Stars } else { Token::Star }
            }
            b'\\' => {
                let (&escaped, tail) = rest.split_first().ok_or(BadPattern::LoneBackslash)?;
                rest = tail;
                Token::Byte(escaped)
            }
            b'[' => {
                let (class, tail) = class(rest)?;
                rest = tail;
                Token::Class(class)
            }
            byte => Token::Byte(byte),
        });
    }
    Ok(tokens)
}

type Class<'t> = (Box<[bool; 256]>, &'t [u8]);

/// The class whose `[` was read, and what follows its `]`. A `]` in the first place is a member.
fn class(text: &[u8]) -> Result<Class<'_>, BadPattern> {
    let mut bytes = Box::new([false; 256]);
    let (negated, mut rest) = match text.strip_prefix(b"!").or_else(|| text.strip_prefix(b"^")) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut add = |from: u8, to: u8| {
        bytes.iter_mut().zip(0..=u8::MAX).filter(|(_, byte)| (from..=to).contains(byte)).for_each(|(is_in, _)| {
            *is_in = true;
        });
    };
    // The byte from which a `-` would begin a range.
    let mut before = None;
    let mut is_first = true;
    loop {
        let (&byte, tail) = rest.split_first().ok_or(BadPattern::OpenClass)?;
        rest = tail;
        match (byte, before) {
            (b']', _) if !is_first => break,
            (b'-', Some(from)) if rest.first().is_some_and(|&next| next != b']') => {
                let (to, tail) = member(rest)?;
                rest = tail;
                add(from, to);
                before = None;
            }
            (b'[', _) if named(rest).is_some() => {
                let (name, tail) = named(rest).ok_or(BadPattern::OpenClass)?;
                let is_member = named_class(name).ok_or(BadPattern::UnknownClass)?;
                rest = tail;
                (0..=u8::MAX).filter(is_member).for_each(|byte| add(byte, byte));
                before = None;
            }
            _ => {
                let (byte, tail) = if byte == b'\\' { member_behind_backslash(rest)? } else { (byte, rest) };
                rest = tail;
                add(byte, byte);
                before = Some(byte);
            }
        }
        is_first = false;
    }
    for (is_in, byte) in bytes.iter_mut().zip(0..=u8::MAX) {
        *is_in = *is_in != negated && byte != b'/' && byte != 0;
    }
    Ok((bytes, rest))
}

fn member(text: &[u8]) -> Result<(u8, &[u8]), BadPattern> {
    match text.split_first() {
        Some((b'\\', rest)) => member_behind_backslash(rest),
        Some((&byte, rest)) => Ok((byte, rest)),
        None => Err(BadPattern::OpenClass),
    }
}

fn member_behind_backslash(text: &[u8]) -> Result<(u8, &[u8]), BadPattern> {
    text.split_first().map(|(&byte, rest)| (byte, rest)).ok_or(BadPattern::OpenClass)
}

/// The name in `[:name:]`, whose `[` was read, and what follows it.
fn named(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b":")?;
    let end = inner.iter().position(|&byte| byte == b']')?;
    let (name, rest) = inner.split_at(end);
    Some((name.strip_suffix(b":")?, rest.get(1..)?))
}

fn named_class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        // isspace(3) knows the vertical tab too.
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_can_not_match_is_refused() {
        assert_eq!(Pattern::parse(b""), Err(BadPattern::Empty));
        assert_eq!(Pattern::parse(b"a[bc"), Err(BadPattern::OpenClass));
        assert_eq!(Pattern::parse(b"[]"), Err(BadPattern::OpenClass));
        assert_eq!(Pattern::parse(b"[[:letter:]]"), Err(BadPattern::UnknownClass));
        assert_eq!(Pattern::parse(b"*\\"), Err(BadPattern::LoneBackslash));
        assert_eq!(Pattern::parse(b"a\0b"), Err(BadPattern::Nul));
    }

    #[test]
    fn without_wildcards_nothing_is_special() {
        let pattern = Pattern::parse(b"a\\b").unwrap();
        assert_eq!(pattern, Pattern { matcher: Matcher::Name(b"a\\b".to_vec()), directories_only: false });
        let pattern = Pattern::parse(b"/a/b/").unwrap();
        assert_eq!(pattern, Pattern { matcher: Matcher::Path(b"a/b".to_vec()), directories_only: true });
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_an_expression(text in proptest::collection::vec(any::<u8>(), 1..20)) {
            if let Ok(Pattern { matcher: Matcher::Regex(regex), .. }) = Pattern::parse(&text) {
                prop_assert!(regex::bytes::RegexBuilder::new(&regex).unicode(false).build().is_ok(), "{regex}");
            }
        }

        #[test]
        fn an_escaped_name_matches_itself(name in proptest::collection::vec(1u8..=255, 1..12)) {
            prop_assume!(!name.contains(&b'/'));
            let escaped: Vec<u8> = name.iter().flat_map(|&byte| [b'\\', byte]).chain(*b"*").collect();
            let Ok(Pattern { matcher: Matcher::Regex(regex), .. }) = Pattern::parse(&escaped) else {
                return Err(TestCaseError::fail("refused"));
            };
            let regex = regex::bytes::RegexBuilder::new(&regex).unicode(false).build().unwrap();
            prop_assert!(regex.is_match(&[b"/some/where/", &name[..]].concat()));
        }
    }
}
