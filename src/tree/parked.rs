//! Names of a directory on which an operation had no answer: a further try at the directory leaves them
//! alone.

use std::ffi::CStr;

use bincode::{Decode, Encode};

use super::names::{Listed, Names};

/// Names that a further try leaves alone; nothing where there was no try before. Small, as nearly all
/// items have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Parked(Option<Box<Names>>);

impl Parked {
    /// The first try.
    pub const NEVER: Parked = Parked(None);

    /// A further try, with one more name left alone.
    #[must_use]
    pub fn and(&self, name: Option<&CStr>) -> Self {
        let mut names = self.0.clone().unwrap_or_default();
        if let Some(name) = name {
            names.push(name, Listed { kind: None, on_target: true });
        }
        Self(Some(names))
    }

    /// There was a try before: what it made may be there already.
    pub fn is_retry(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the name is left alone.
    pub fn has(&self, name: &CStr) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|(parked, _)| parked == name))
    }

    /// How many names are left alone.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |names| names.len())
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |names| size_of::<Names>() + names.bytes() + 2 * names.len())
    }

    /// Whether what came over the wire is sound.
    pub fn is_valid(&self) -> bool {
        self.0.as_ref().is_none_or(|names| names.is_valid())
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
