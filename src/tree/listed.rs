//! A long list of paths, sorted so that each directory's are together: what it says of one directory.
//!
//! The list is a text of records, each a path below the root closed by a NUL. It may be far larger than
//! memory, so an item holds the extent of its part, and looks at it through a window. A slash behind a
//! path means a directory without what it holds.

use std::cmp::Ordering;
use std::ffi::CString;

use bincode::{Decode, Encode};

use super::names::is_name;
use super::path::TreePath;

/// A part of the list: from the beginning of a record to the end of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Extent {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

impl Extent {
    /// Its bytes.
    pub fn bytes(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no path.
    pub fn is_empty(self) -> bool {
        self.bytes() == 0
    }
}

/// Where the list is kept.
pub trait Text {
    /// Why it can not be read.
    type Error;

    /// No record is longer, its NUL included.
    const RECORD_BYTES_MAX: usize;

    /// Bytes from `at` on: `length` of them, fewer only where the text ends.
    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Self::Error>;

    /// It is not as it was written.
    fn is_broken(&self) -> Self::Error;
}

/// Why a line of a list can not be a path below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It would lead elsewhere.
    #[error("a path with .. in it")]
    Above,
    /// No entry can have it.
    #[error("a name of more than 255 bytes, or with a NUL")]
    NoName,
}

/// A path as the list keeps it: slashes in front, behind, and two together are dropped, and so is `.`.
/// What is left of `.` or `/` alone is empty: the root.
pub fn normal(line: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut path = Vec::with_capacity(line.len());
    for name in line.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        if name == b".." {
            return Err(BadPath::Above);
        }
        if !is_name(name) {
            return Err(BadPath::NoName);
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    Ok(path)
}

/// The order of the list: a slash is less than any byte of a name, so that what lies in a directory
/// follows it at once.
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

/// What the list says of one name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: CString,
    /// It is listed itself; else only as a directory on the way.
    pub listed: bool,
    /// What is listed below it.
    pub below: Extent,
}

/// The names of one directory, one after another.
pub struct Groups<'t, T> {
    text: &'t T,
    /// The directory's path with its slash, which all records begin with.
    prefix: Vec<u8>,
    rest: Extent,
    /// Bytes of the text from `rest.start` on, some used already.
    window: Vec<u8>,
    used: usize,
}

impl<'t, T: Text> Groups<'t, T> {
    /// What `extent` says of `directory`.
    pub fn new(text: &'t T, directory: &TreePath, extent: Extent) -> Self {
        let mut prefix = directory.as_bytes().to_vec();
        if !directory.is_root() {
            prefix.push(b'/');
        }
        Self { text, prefix, rest: extent, window: Vec::new(), used: 0 }
    }

    /// What was not handed out yet.
    pub fn rest(&self) -> Extent {
        self.rest
    }

    /// The next name.
    #[allow(clippy::should_implement_trait)] // It may fail, and ends then.
    pub fn next(&mut self) -> Result<Option<Group>, T::Error> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if first_record(self.unused()).is_none() {
                self.fill()?;
            }
            // The directory itself is listed, without what it holds.
            let is_itself = |record: &[u8]| !self.prefix.is_empty() && record == self.prefix;
            if !first_record(self.unused()).is_some_and(is_itself) {
                break;
            }
            let bytes = self.prefix.len() + 1;
            self.used += bytes;
            self.rest.start += bytes as u64;
        }
        let record = first_record(self.unused()).ok_or_else(|| self.text.is_broken())?;
        let (name, listed) = self.name_of(record).ok_or_else(|| self.text.is_broken())?;
        let (name, record_bytes) = (name.to_vec(), record.len() + 1);
        let mut below = self.rest;
        if listed {
            below.start += record_bytes as u64;
        }
        below.end = match self.end_in_window(&name, record_bytes) {
            Some(bytes) => {
                self.used += bytes;
                self.rest.start + bytes as u64
            }
            None => {
                let end = self.search_end(&name, self.rest)?;
                self.used = self.window.len();
                end
            }
        };
        self.rest.start = below.end;
        let name = CString::new(name).map_err(|_| self.text.is_broken())?;
        Ok(Some(Group { name, listed, below }))
    }

    fn unused(&self) -> &[u8] {
        self.window.get(self.used..).unwrap_or_default()
    }

    fn fill(&mut self) -> Result<(), T::Error> {
        let length = self.rest.bytes().min(4 * T::RECORD_BYTES_MAX as u64);
        self.window = self.text.read(self.rest.start, usize::try_from(length).unwrap_or(0))?;
        self.used = 0;
        Ok(())
    }

    /// The name in this directory that a record is about, and whether the record is that name's own.
    fn name_of<'r>(&self, record: &'r [u8]) -> Option<(&'r [u8], bool)> {
        let path = record.strip_prefix(self.prefix.as_slice())?;
        let name = path.split(|&byte| byte == b'/').next()?;
        is_name(name).then_some((name, name.len() == path.len()))
    }

    /// Bytes of the group of `name`, if it ends in the window.
    fn end_in_window(&self, name: &[u8], first_bytes: usize) -> Option<usize> {
        let mut bytes = first_bytes;
        loop {
            if bytes as u64 >= self.rest.bytes() {
                return Some(bytes);
            }
            let record = first_record(self.unused().get(bytes..)?)?;
            if self.name_of(record)?.0 != name {
                return Some(bytes);
            }
            bytes += record.len() + 1;
        }
    }

    /// Where the group of `name` ends, of which the first record of `extent` is one: by halving.
    fn search_end(&self, name: &[u8], extent: Extent) -> Result<u64, T::Error> {
        let Extent { start: mut low, end: mut high } = extent;
        let window = 4 * T::RECORD_BYTES_MAX as u64;
        while high - low > window {
            let middle = low + (high - low) / 2;
            let (start, record) = self.record_behind(middle)?;
            let (found, _) = self.name_of(&record).filter(|_| start < high).ok_or_else(|| self.text.is_broken())?;
            if found == name {
                low = start;
            } else {
                high = start;
            }
        }
        let bytes = self.text.read(low, usize::try_from(high - low).unwrap_or(0))?;
        let mut at = low;
        for record in bytes.split_inclusive(|&byte| byte == 0) {
            let record = record.strip_suffix(&[0]).ok_or_else(|| self.text.is_broken())?;
            match self.name_of(record) {
                Some((found, _)) if found == name => at += record.len() as u64 + 1,
                Some(_) => return Ok(at),
                None => return Err(self.text.is_broken()),
            }
        }
        Ok(high)
    }

    /// The first record that begins behind `at`.
    fn record_behind(&self, at: u64) -> Result<(u64, Vec<u8>), T::Error> {
        let bytes = self.text.read(at, 2 * T::RECORD_BYTES_MAX)?;
        let record = first_record(&bytes).and_then(|partial| {
            let start = partial.len() + 1;
            Some((at + start as u64, first_record(bytes.get(start..)?)?.to_vec()))
        });
        record.ok_or_else(|| self.text.is_broken())
    }

    /// Cuts the extent into parts of about `part_bytes`, none of which tears a name's group apart.
    pub fn cut(&self, part_bytes: u64) -> Result<Vec<Extent>, T::Error> {
        let Extent { mut start, end } = self.rest;
        let mut parts = Vec::new();
        let record = 2 * T::RECORD_BYTES_MAX as u64;
        while end - start > part_bytes + record {
            let (inside, record) = self.record_behind(start + part_bytes)?;
            let (name, _) = self.name_of(&record).filter(|_| inside < end).ok_or_else(|| self.text.is_broken())?;
            let cut = self.search_end(name, Extent { start: inside, end })?;
            parts.push(Extent { start, end: cut });
            start = cut;
        }
        if start < end {
            parts.push(Extent { start, end });
        }
        Ok(parts)
    }
}

/// Hands out all paths of an extent.
pub fn for_each_path<T: Text>(text: &T, extent: Extent, mut visit: impl FnMut(&[u8])) -> Result<(), T::Error> {
    let mut at = extent.start;
    while at < extent.end {
        let length = (extent.end - at).min(4 * T::RECORD_BYTES_MAX as u64);
        let window = text.read(at, usize::try_from(length).unwrap_or(0))?;
        let mut rest = window.as_slice();
        while let Some(record) = first_record(rest) {
            visit(record.strip_suffix(b"/").unwrap_or(record));
            rest = rest.get(record.len() + 1..).unwrap_or_default();
        }
        let used = window.len() - rest.len();
        if used == 0 {
            return Err(text.is_broken());
        }
        at += used as u64;
    }
    Ok(())
}

fn first_record(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    bytes.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    struct Memory(Vec<u8>);

    impl Text for Memory {
        type Error = ();
        const RECORD_BYTES_MAX: usize = 12;

        fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, ()> {
            let start = usize::try_from(at).unwrap().min(self.0.len());
            let end = (start + length).min(self.0.len());
            Ok(self.0[start..end].to_vec())
        }

        fn is_broken(&self) {}
    }

    impl Memory {
        fn of(paths: &[String]) -> Self {
            let mut paths = paths.to_vec();
            paths.sort_by(|a, b| order(a.as_bytes(), b.as_bytes()));
            paths.dedup();
            Self(paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect())
        }

        fn whole(&self) -> Extent {
            Extent { start: 0, end: self.0.len() as u64 }
        }

        fn records(&self, extent: Extent) -> Vec<String> {
            let bytes = self.read(extent.start, usize::try_from(extent.bytes()).unwrap()).unwrap();
            String::from_utf8(bytes).unwrap().split_terminator('\0').map(str::to_owned).collect()
        }

        fn groups(&self, directory: &str, extent: Extent) -> Vec<Group> {
            let mut groups = Groups::new(self, &TreePath::from(directory.as_bytes()), extent);
            std::iter::from_fn(|| groups.next().unwrap()).collect()
        }
    }

    /// Walks the list as the items do; returns the paths that are listed themselves.
    fn walk(text: &Memory, directory: &str, extent: Extent, found: &mut Vec<String>) {
        for group in text.groups(directory, extent) {
            let name = group.name.to_str().unwrap();
            let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            if group.listed {
                found.push(path.clone());
            }
            walk(text, &path, group.below, found);
        }
    }

    fn path() -> impl Strategy<Value = String> {
        "[a-c!~]{1,2}(/[a-c!~]{1,2}){0,2}"
    }

    proptest! {
        #[test]
        fn all_paths_of_an_extent_are_handed_out(paths in proptest::collection::vec(path(), 0..50)) {
            let text = Memory::of(&paths);
            let mut found = Vec::new();
            for_each_path(&text, text.whole(), |path| found.push(String::from_utf8(path.to_vec()).unwrap())).unwrap();
            prop_assert_eq!(found, text.records(text.whole()));
        }

        #[test]
        fn every_path_is_met_once(paths in proptest::collection::vec(path(), 0..150)) {
            let text = Memory::of(&paths);
            let mut found = Vec::new();
            walk(&text, "", text.whole(), &mut found);
            prop_assert_eq!(found, text.records(text.whole()));
        }

        #[test]
        fn groups_agree_with_a_map(paths in proptest::collection::vec(path(), 0..150)) {
            let text = Memory::of(&paths);
            let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for path in text.records(text.whole()) {
                expected.entry(path.split('/').next().unwrap().to_owned()).or_default().push(path);
            }
            for group in text.groups("", text.whole()) {
                let name = group.name.to_str().unwrap().to_owned();
                let mut all = text.records(group.below);
                if group.listed { all.insert(0, name.clone()); }
                prop_assert_eq!(expected.remove(&name), Some(all));
            }
            prop_assert!(expected.is_empty());
        }

        #[test]
        fn cutting_tears_no_group_apart(paths in proptest::collection::vec(path(), 0..150), part in 1u64..200) {
            let text = Memory::of(&paths);
            let parts = Groups::new(&text, &TreePath::root(), text.whole()).cut(part).unwrap();
            let joined: Vec<Group> = parts.iter().flat_map(|&part| text.groups("", part)).collect();
            prop_assert_eq!(joined, text.groups("", text.whole()));
        }

        #[test]
        fn garbage_is_an_error_and_no_bug(bytes in proptest::collection::vec(0u8..4, 0..150), end in 0u64..200) {
            let text = Memory(bytes.into_iter().map(|byte| b"\0/a."[usize::from(byte)]).collect());
            let mut groups = Groups::new(&text, &TreePath::root(), Extent { start: 0, end });
            let _ = groups.cut(20);
            let calls_max = 200;
            let ended = (0..calls_max).any(|_| !matches!(groups.next(), Ok(Some(_))));
            prop_assert!(ended);
        }
    }

    #[test]
    fn a_slash_behind_a_directory_leads_there_and_no_further() {
        let text = Memory::of(&["a", "d/", "d/e/", "d/e/f", "z/"].map(str::to_owned));
        let groups = text.groups("", text.whole());
        let found: Vec<(&[u8], bool)> = groups.iter().map(|group| (group.name.to_bytes(), group.listed)).collect();
        assert_eq!(found, [(&b"a"[..], true), (b"d", false), (b"z", false)]);
        let below = text.groups("d", groups[1].below);
        assert_eq!((below.len(), below[0].name.as_c_str(), below[0].listed), (1, c"e", false));
        assert_eq!(text.groups("d/e", below[0].below).len(), 1);
        assert_eq!(text.groups("z", groups[2].below).len(), 0);
    }

    #[test]
    fn paths_are_brought_into_one_form() {
        assert_eq!(normal(b"/a//./b/"), Ok(b"a/b".to_vec()));
        assert_eq!(normal(b"./"), Ok(Vec::new()));
        assert_eq!(normal(b"a/../b"), Err(BadPath::Above));
        assert_eq!(normal(&[b'x'; 256]), Err(BadPath::NoName));
        assert_eq!(normal(b"..a"), Ok(b"..a".to_vec()));
    }
}
