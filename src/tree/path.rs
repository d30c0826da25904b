//! Names and paths below a root: bytes, never strings.

use std::ffi::CStr;
use std::fmt;

use bincode::{Decode, Encode};

/// Linux refuses longer paths in one system call (limits.h), the closing NUL included.
pub const PATH_MAX: usize = 4096;

/// A path below a root: names joined by `/`; empty for the root itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of a name in this directory. `name` is one name: not empty, without `/`.
    pub fn join(&self, name: &CStr) -> Self {
        let name = name.to_bytes();
        assert!(!name.is_empty());
        assert!(!name.contains(&b'/'));
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        if !self.0.is_empty() {
            bytes.extend_from_slice(&self.0);
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Directories between the root and this: 0 for the root, 1 for what lies in it.
    pub fn depth(&self) -> usize {
        if self.0.is_empty() { 0 } else { 1 + self.0.iter().filter(|&&byte| byte == b'/').count() }
    }

    /// The directory that holds this, and the name in it; `None` for the root.
    pub fn split_last(&self) -> Option<(TreePath, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        let Some(slash) = self.0.iter().rposition(|&byte| byte == b'/') else {
            return Some((Self::root(), &self.0));
        };
        let (parent, name) = self.0.split_at(slash);
        Some((Self(parent.to_vec()), name.get(1..)?))
    }

    /// The directory at this depth above it, or itself: its first `depth` names. `None` if it has fewer.
    pub fn ancestor(&self, depth: usize) -> Option<TreePath> {
        if depth == 0 {
            return Some(Self::root());
        }
        let slashes = self.0.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(index, _)| index);
        let end = slashes.chain((!self.0.is_empty()).then_some(self.0.len())).nth(depth - 1)?;
        self.0.get(..end).map(TreePath::from)
    }

    /// The part of this path below its ancestor at `depth`: empty for that itself.
    pub fn below(&self, depth: usize) -> Option<TreePath> {
        let above = self.ancestor(depth)?;
        let rest = self.0.get(above.0.len()..)?;
        Some(Self(rest.strip_prefix(b"/").unwrap_or(rest).to_vec()))
    }

    /// The path in pieces that each fit one system call: cut between names. None for the root.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Some(window) = rest.get(..PATH_MAX) else {
                return Some(std::mem::take(&mut rest));
            };
            // A name has at most 255 bytes, so a window of 4096 holds a slash.
            let cut = window.iter().rposition(|&byte| byte == b'/')?;
            let (piece, tail) = rest.split_at(cut);
            rest = tail.get(1..)?;
            Some(piece)
        })
    }
}

impl From<&[u8]> for TreePath {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(".") } else { f.write_str(&escaped(&self.0)) }
    }
}

/// Bytes of a name for people: what could move a terminal's cursor or break a line is escaped, and
/// so is what is not UTF-8.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_harmless(&mut text, chunk.valid(), |c| c == '\\');
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A text of several lines for people, whatever was put into it: nothing in it moves a terminal's cursor, or turns
/// round what stands beside it. What was `escaped` stays as it is.
pub fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        push_harmless(&mut harmless, line, |_| false);
        harmless.push_str(end);
    }
    harmless
}

fn push_harmless(text: &mut String, valid: &str, is_escaped_too: impl Fn(char) -> bool) {
    for c in valid.chars() {
        if is_harmful(c) || is_escaped_too(c) {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
}

/// Whether a terminal acts on a character: controls of both sets, and what writes backwards or nothing.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn joins_and_splits() {
        let path = TreePath::root().join(c"a").join(c"b");
        assert_eq!(path.as_bytes(), b"a/b");
        assert_eq!(path.depth(), 2);
        assert_eq!(path.split_last(), Some((TreePath::root().join(c"a"), b"b".as_slice())));
        assert_eq!(TreePath::root().split_last(), None);
    }

    #[test]
    fn a_path_has_an_ancestor_at_each_depth_up_to_its_own() {
        let path = TreePath::from(&b"a/bc/d"[..]);
        let at = |depth| path.ancestor(depth).map(|path| String::from_utf8(path.0).unwrap());
        let expected = ["", "a", "a/bc", "a/bc/d"].map(|text| Some(text.to_owned()));
        assert_eq!([0, 1, 2, 3].map(at), expected);
        assert_eq!((at(4), TreePath::root().ancestor(1)), (None, None));
        let below = |depth| path.below(depth).map(|path| String::from_utf8(path.0).unwrap());
        let expected = ["a/bc/d", "bc/d", "d", ""].map(|text| Some(text.to_owned()));
        assert_eq!([0, 1, 2, 3].map(below), expected);
    }

    #[test]
    fn text_is_harmless() {
        assert_eq!(escaped(b"a\n\x1b[2J\xff\\"), "a\\n\\u{1b}[2J\\xff\\\\");
        assert_eq!(escaped("größe".as_bytes()), "größe");
        assert_eq!(escaped("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(
            harmless("a\\n\n\x1b]52;c;\x07\r\u{9b}2J\u{61c}\nb"),
            "a\\n\n\\u{1b}]52;c;\\u{7}\\r\\u{9b}2J\\u{61c}\nb"
        );
    }

    proptest! {
        #[test]
        fn pieces_fit_and_join_again(lengths in proptest::collection::vec(1usize..=255, 0..120)) {
            let path = TreePath(lengths.iter().map(|&n| vec![b'x'; n]).collect::<Vec<_>>().join(&b'/'));
            let pieces: Vec<&[u8]> = path.pieces().collect();
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() < PATH_MAX));
            prop_assert_eq!(pieces.join(&b'/'), path.0.clone());
        }
    }
}
