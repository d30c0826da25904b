//! The names of a directory.

use std::ffi::CStr;

use bincode::{Decode, Encode};

use super::attributes::Kind;

/// What a listing tells of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Listed {
    /// The type, where the file system tells it with the name.
    pub kind: Option<Kind>,
    /// Whether the other tree's listing held the name too.
    pub on_target: bool,
}

/// Names in the order of a directory, in one arena: one byte a name beside its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Names {
    /// Each name with its closing NUL.
    bytes: Vec<u8>,
    listed: Vec<Listed>,
}

impl Names {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name at the end.
    pub fn push(&mut self, name: &CStr, listed: Listed) {
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.listed.push(listed);
    }

    /// The name that begins at an offset into the bytes of all.
    pub(super) fn at(&self, offset: u32) -> &[u8] {
        let tail = self.bytes.get(offset as usize..).unwrap_or_default();
        CStr::from_bytes_until_nul(tail).map(CStr::to_bytes).unwrap_or_default()
    }

    /// The remark on the name of this number.
    pub(super) fn listed_mut(&mut self, index: u32) -> Option<&mut Listed> {
        self.listed.get_mut(index as usize)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Bytes of all names.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The names in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&CStr, Listed)> {
        let mut rest = self.bytes.as_slice();
        self.listed.iter().map_while(move |&listed| {
            let name = CStr::from_bytes_until_nul(rest).ok()?;
            rest = rest.get(name.to_bytes_with_nul().len()..)?;
            Some((name, listed))
        })
    }

    /// The type of the first name.
    pub fn first_kind(&self) -> Option<Kind> {
        self.listed.first().and_then(|listed| listed.kind)
    }

    /// Whether what came over the wire is a list of names: as many names as remarks on them, each
    /// a single component.
    pub fn is_valid(&self) -> bool {
        let good = |name: &CStr| is_name(name.to_bytes());
        let closed = self.bytes.last().is_none_or(|&byte| byte == 0);
        let count = self.bytes.iter().filter(|&&byte| byte == 0).count();
        closed && count == self.listed.len() && self.iter().all(|(name, _)| good(name))
    }

    /// The names from number `first` on, in lists of at most `count` names.
    pub fn split_from(&self, first: usize, count: usize) -> Vec<Names> {
        let mut lists = Vec::new();
        for (name, listed) in self.iter().skip(first) {
            if lists.last().is_none_or(|list: &Names| list.len() >= count) {
                lists.push(Names::new());
            }
            if let Some(list) = lists.last_mut() {
                list.push(name, listed);
            }
        }
        lists
    }
}

/// Whether these bytes can be the name of an entry: what readdir gives is not believed unseen.
pub fn is_name(bytes: &[u8]) -> bool {
    !matches!(bytes, b"" | b"." | b"..") && bytes.len() <= 255 && !bytes.contains(&b'/') && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::CString;

    const FILE: Listed = Listed { kind: Some(Kind::File), on_target: false };

    fn names(list: &[CString]) -> Names {
        let mut names = Names::new();
        for name in list {
            names.push(name, FILE);
        }
        names
    }

    fn name() -> impl Strategy<Value = CString> {
        proptest::collection::vec(97u8..103, 1..3).prop_map(|bytes| CString::new(bytes).unwrap())
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing(list in proptest::collection::vec(name(), 0..40), first in 0usize..50, count in 1usize..9) {
            let whole = names(&list);
            let parts = whole.split_from(first, count);
            let joined: Vec<CString> = parts.iter().flat_map(|part| part.iter().map(|(n, _)| n.to_owned())).collect();
            prop_assert!(parts.iter().all(|part| part.is_valid() && (1..=count).contains(&part.len())));
            prop_assert_eq!(&joined, list.get(first..).unwrap_or_default());
        }
    }

    #[test]
    fn garbage_from_the_wire_is_no_list_of_names() {
        let good = names(&[c"a".to_owned(), c"b".to_owned()]);
        assert!(good.is_valid());
        assert!(!Names { listed: vec![FILE], ..good.clone() }.is_valid());
        assert!(!Names { bytes: b"a\0b".to_vec(), ..good.clone() }.is_valid());
        assert!(!Names { bytes: b"a\0..\0".to_vec(), ..good }.is_valid());
    }
}
