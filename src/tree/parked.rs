//! What a further try at a directory is to know of those before: names on which an operation had no answer,
//! which it leaves alone, and how many tries failed.

use std::ffi::CStr;

use bincode::{Decode, Encode};

use super::names::{Listed, Names};

/// Names that a further try leaves alone; nothing where there was no try before. Small, as nearly all
/// items have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Parked {
    names: Option<Box<Names>>,
    /// So many tries failed for a reason that may pass.
    pub tries: u8,
}

impl Parked {
    /// The first try.
    pub const NEVER: Parked = Parked { names: None, tries: 0 };

    /// A further try, with one more name left alone.
    #[must_use]
    pub fn and(&self, name: Option<&CStr>) -> Self {
        let mut names = self.names.clone().unwrap_or_default();
        if let Some(name) = name {
            names.push(name, Listed { kind: None, on_target: true });
        }
        Self { names: Some(names), tries: 0 }
    }

    /// There was a try before: what it made may be there already.
    pub fn is_retry(&self) -> bool {
        self.names.is_some() || self.tries > 0
    }

    /// Whether the name is left alone.
    pub fn has(&self, name: &CStr) -> bool {
        self.names.as_ref().is_some_and(|names| names.iter().any(|(parked, _)| parked == name))
    }

    /// How many names are left alone.
    pub fn count(&self) -> usize {
        self.names.as_ref().map_or(0, |names| names.len())
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.names.as_ref().map_or(0, |names| size_of::<Names>() + names.bytes() + 2 * names.len())
    }

    /// Whether what came over the wire is sound.
    pub fn is_valid(&self) -> bool {
        self.names.as_ref().is_none_or(|names| names.is_valid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_add_up() {
        let parked = Parked::NEVER.and(Some(c"a")).and(None).and(Some(c"b"));
        assert!(parked.is_retry() && parked.count() == 2 && parked.has(c"a") && parked.has(c"b") && !parked.has(c"c"));
        assert!(Parked::NEVER.and(None).is_retry() && Parked::NEVER.and(None).count() == 0);
        assert!(!Parked::NEVER.is_retry() && !Parked::NEVER.has(c"a"));
    }
}
