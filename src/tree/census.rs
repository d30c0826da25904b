//! What a walk over SRC counts before a run: sums, the largest of each sort, and a few examples of each trouble. It
//! takes the same room whatever the tree has.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::{Attributes, Kind, Time, TimeLimits, TreePath};

/// Sorts of names that some file systems do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Class {
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Control characters.
    Control,
    /// One of `\ : * ? " < > |`.
    Punctuation,
    /// A dot or a blank at the end.
    Ending,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 4] = [Class::NotUtf8, Class::Control, Class::Punctuation, Class::Ending];

    /// Whether a name is of this sort.
    pub fn has(self, name: &[u8]) -> bool {
        match self {
            Class::NotUtf8 => std::str::from_utf8(name).is_err(),
            Class::Control => name.iter().any(u8::is_ascii_control),
            Class::Punctuation => name.iter().any(|byte| b"\\:*?\"<>|".contains(byte)),
            Class::Ending => matches!(name.last(), Some(b'.' | b' ')),
        }
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Class::NotUtf8 => "names that are not UTF-8",
            Class::Control => "names with control characters",
            Class::Punctuation => "names with one of \\ : * ? \" < > |",
            Class::Ending => "names that end in a dot or a blank",
        }
    }

    /// One word, for scripts.
    pub fn word(self) -> &'static str {
        match self {
            Class::NotUtf8 => "not_utf8",
            Class::Control => "control_characters",
            Class::Punctuation => "punctuation",
            Class::Ending => "dot_or_blank_at_end",
        }
    }
}

/// What may be the trouble with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Trouble {
    /// A directory or a file that we may not read.
    Unreadable,
    /// A name of a sort that not every file system holds.
    Name(Class),
    /// A name that is another's of the directory but for upper and lower case.
    Folds,
    /// A time that DST does not hold.
    Time,
    /// Extended attributes.
    Xattrs,
    /// Attributes that only root may set.
    RootsXattrs,
    /// An ACL.
    Acl,
    /// Another owner than we are.
    Foreign,
}

impl Trouble {
    /// One word, for scripts.
    pub fn word(self) -> &'static str {
        match self {
            Trouble::Unreadable => "unreadable",
            Trouble::Name(class) => class.word(),
            Trouble::Folds => "same_but_for_case",
            Trouble::Time => "time_not_held",
            Trouble::Xattrs => "xattrs",
            Trouble::RootsXattrs => "xattrs_of_root",
            Trouble::Acl => "acl",
            Trouble::Foreign => "other_owner",
        }
    }
}

/// The largest of a sort, and where it lies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Most {
    /// How large.
    pub value: u64,
    /// The first of those that are so large.
    pub path: TreePath,
}

impl Most {
    fn see(&mut self, value: u64, path: impl FnOnce() -> TreePath) {
        // Of 0 there is no largest.
        if value > self.value {
            *self = Self { value, path: path() };
        } else if value > 0 && value == self.value {
            let path = path();
            self.path = self.path.clone().min(path);
        }
    }
}

/// How many, and some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Cases {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<TreePath>,
}

const EXAMPLES_MAX: usize = 3;

impl Cases {
    fn add(&mut self, count: u64, examples: impl IntoIterator<Item = TreePath>) {
        self.count = self.count.saturating_add(count);
        self.examples.extend(examples);
        self.examples.sort();
        self.examples.truncate(EXAMPLES_MAX);
    }
}

/// What is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Census {
    /// Entries by kind, in the order of `Kind::ALL`.
    pub kinds: [u64; Kind::ALL.len()],
    /// Sizes of all files, each inode of several names as often as it has names in SRC.
    pub bytes: u64,
    /// What they take on SRC, likewise.
    pub allocated: u64,
    /// What of the sizes is there once more under a further name of the same inode: an estimate, as each name counts
    /// for its part of the inode.
    pub linked_bytes: u64,
    /// The largest of each sort.
    pub most: Largest,
    /// The oldest and the newest time of change of content.
    pub times: Option<(Time, Time)>,
    /// The newest time of change of an inode, by SRC's clock.
    pub newest_ctime: Option<Time>,
    /// What may be the trouble.
    pub troubles: BTreeMap<Trouble, Cases>,
}

/// The largest of each sort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Largest {
    /// Bytes of a name.
    pub name: Most,
    /// Bytes of a path.
    pub path: Most,
    /// Directories above an entry.
    pub depth: Most,
    /// Names in a directory.
    pub directory: Most,
    /// Bytes of a file.
    pub file: Most,
    /// Bytes of a symbolic link.
    pub symlink: Most,
    /// Names of an inode.
    pub links: Most,
    /// Bytes of one extended attribute.
    pub xattr: Most,
    /// Bytes of all extended attributes of an entry.
    pub xattrs: Most,
    /// Bytes of an ACL.
    pub acl: Most,
}

impl Largest {
    /// All of them, with a word for scripts.
    pub fn all(&self) -> [(&'static str, &Most); 10] {
        [
            ("name_bytes", &self.name),
            ("path_bytes", &self.path),
            ("depth", &self.depth),
            ("directory_names", &self.directory),
            ("file_bytes", &self.file),
            ("symlink_bytes", &self.symlink),
            ("links", &self.links),
            ("xattr_bytes", &self.xattr),
            ("xattrs_bytes", &self.xattrs),
            ("acl_bytes", &self.acl),
        ]
    }

    fn all_mut(&mut self) -> [&mut Most; 10] {
        let Self { name, path, depth, directory, file, symlink, links, xattr, xattrs, acl } = self;
        [name, path, depth, directory, file, symlink, links, xattr, xattrs, acl]
    }
}

impl Census {
    /// All entries.
    pub fn entries(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// Entries of a kind.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.kinds.get(kind as usize).copied().unwrap_or(0)
    }

    /// How many entries may be in trouble for this reason.
    pub fn cases(&self, trouble: Trouble) -> u64 {
        self.troubles.get(&trouble).map_or(0, |cases| cases.count)
    }

    /// Bytes that DST needs for files at least, where each inode is there once.
    pub fn bytes_needed(&self) -> u64 {
        self.allocated.min(self.bytes).saturating_sub(self.linked_bytes)
    }

    /// An entry was looked at. `held`: the times that DST holds.
    pub fn see(&mut self, path: &TreePath, found: &Attributes, held: &TimeLimits, us: u32) {
        if let Some(count) = self.kinds.get_mut(found.kind as usize) {
            *count += 1;
        }
        let name = path.split_last().map(|(_, name)| name.to_vec()).unwrap_or_default();
        self.most.name.see(name.len() as u64, || path.clone());
        self.most.path.see(path.as_bytes().len() as u64, || path.clone());
        self.most.depth.see(path.depth() as u64, || path.clone());
        for class in Class::ALL.into_iter().filter(|class| class.has(&name)) {
            self.find(Trouble::Name(class), path);
        }
        match found.kind {
            Kind::File => self.file(path, found),
            Kind::Symlink => self.most.symlink.see(found.size, || path.clone()),
            _ => {}
        }
        if found.kind != Kind::Directory {
            self.most.links.see(u64::from(found.links), || path.clone());
        }
        if found.uid != us {
            self.find(Trouble::Foreign, path);
        }
        self.time(path, found, held);
    }

    fn file(&mut self, path: &TreePath, found: &Attributes) {
        self.bytes = self.bytes.saturating_add(found.size);
        self.allocated = self.allocated.saturating_add(found.allocated);
        let links = u64::from(found.links.max(1));
        let once = found.size.min(found.allocated);
        self.linked_bytes = self.linked_bytes.saturating_add(once - once / links);
        self.most.file.see(found.size, || path.clone());
    }

    /// A time that is cut to whole seconds is held: the run compares what DST can hold.
    fn time(&mut self, path: &TreePath, found: &Attributes, held: &TimeLimits) {
        let time = found.mtime;
        let (oldest, newest) = self.times.unwrap_or((time, time));
        self.times = Some((oldest.min(time), newest.max(time)));
        self.newest_ctime = self.newest_ctime.max(Some(found.ctime));
        if time.seconds < held.earliest || time.seconds > held.latest {
            self.find(Trouble::Time, path);
        }
    }

    /// A directory holds so many names.
    pub fn see_names(&mut self, path: &TreePath, names: u64) {
        self.most.directory.see(names, || path.clone());
    }

    /// What an entry has beside its attributes: bytes of the largest and of all, those for root, and of its ACLs.
    pub fn see_xattrs(&mut self, path: &TreePath, found: Extras) {
        self.most.xattr.see(found.largest, || path.clone());
        self.most.xattrs.see(found.all, || path.clone());
        self.most.acl.see(found.acl, || path.clone());
        let troubles =
            [(found.all > 0, Trouble::Xattrs), (found.for_root, Trouble::RootsXattrs), (found.acl > 0, Trouble::Acl)];
        for (_, trouble) in troubles.into_iter().filter(|(has, _)| *has) {
            self.find(trouble, path);
        }
    }

    /// An entry may be in trouble.
    pub fn find(&mut self, trouble: Trouble, path: &TreePath) {
        self.troubles.entry(trouble).or_default().add(1, [path.clone()]);
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: Census) {
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds) {
            *mine += theirs;
        }
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.allocated = self.allocated.saturating_add(other.allocated);
        self.linked_bytes = self.linked_bytes.saturating_add(other.linked_bytes);
        let mut most = other.most;
        for (mine, theirs) in self.most.all_mut().into_iter().zip(most.all_mut()) {
            mine.see(theirs.value, || theirs.path.clone());
        }
        self.times = match (self.times, other.times) {
            (Some(mine), Some(theirs)) => Some((mine.0.min(theirs.0), mine.1.max(theirs.1))),
            (mine, theirs) => mine.or(theirs),
        };
        self.newest_ctime = self.newest_ctime.max(other.newest_ctime);
        for (trouble, cases) in other.troubles {
            self.troubles.entry(trouble).or_default().add(cases.count, cases.examples);
        }
    }
}

/// What an entry has beside its attributes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// Bytes of its largest extended attribute.
    pub largest: u64,
    /// Bytes of all, names included.
    pub all: u64,
    /// Some of them only root may set.
    pub for_root: bool,
    /// Bytes of its ACLs.
    pub acl: u64,
}

/// A name as file systems see it that fold upper and lower case.
pub fn folded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Identity;
    use proptest::prelude::*;

    fn entry(kind: Kind, size: u64, links: u32, seconds: i64) -> Attributes {
        let time = Time { seconds, nanoseconds: 0 };
        let identity = Identity { inode: 1, birth: None };
        let (allocated, uid) = (size, 7);
        let (mtime, ctime, atime) = (time, time, time);
        Attributes {
            kind,
            identity,
            device: 1,
            links,
            uid,
            gid: 7,
            mode: 0o644,
            size,
            allocated,
            rdev: 0,
            atime,
            mtime,
            ctime,
        }
    }

    fn seen(entries: &[(u8, u64, i64)]) -> Census {
        let held = TimeLimits { earliest: 0, ..TimeLimits::EXACT };
        let mut census = Census::default();
        for &(letter, size, seconds) in entries {
            let path = TreePath::from([b'd', b'/', letter, b':'].as_slice());
            census.see(&path, &entry(Kind::File, size, 1, seconds), &held, 7);
        }
        census
    }

    #[test]
    fn the_largest_of_each_sort_is_named() {
        let census = seen(&[(b'a', 5, 10), (b'b', 9, -1), (b'c', 9, 3)]);
        assert_eq!((census.entries(), census.bytes), (3, 23));
        assert_eq!((census.most.file.value, census.most.file.path.as_bytes()), (9, &b"d/b:"[..]));
        assert_eq!(census.most.depth.value, 2);
        assert_eq!((census.cases(Trouble::Time), census.cases(Trouble::Name(Class::Punctuation))), (1, 3));
        assert_eq!(census.times.unwrap().0.seconds, -1);
    }

    #[test]
    fn an_inode_of_several_names_is_needed_once() {
        let mut census = Census::default();
        for name in ["a", "b", "c", "d"] {
            census.see(&TreePath::from(name.as_bytes()), &entry(Kind::File, 400, 4, 1), &TimeLimits::EXACT, 7);
        }
        assert_eq!((census.bytes, census.bytes_needed()), (1_600, 400));
    }

    #[test]
    fn names_fall_into_the_sorts_that_some_file_systems_refuse() {
        let of = |name: &[u8]| Class::ALL.into_iter().filter(|class| class.has(name)).collect::<Vec<_>>();
        assert_eq!(of(b"plain.txt"), []);
        assert_eq!(of("größe".as_bytes()), []);
        assert_eq!(of(b"\xff"), [Class::NotUtf8]);
        assert_eq!(of(b"a:b"), [Class::Punctuation]);
        assert_eq!(of(b"a\n"), [Class::Control]);
        assert_eq!(of(b"what? ."), [Class::Punctuation, Class::Ending]);
        assert_eq!((folded("GRÖSSE".as_bytes()), folded(b"A\xff")), ("grösse".into(), b"a\xff".to_vec()));
    }

    proptest! {
        #[test]
        fn the_order_of_merging_is_of_no_matter(
            a in proptest::collection::vec((any::<u8>().prop_map(|n| n % 26 + b'a'), 0u64..9, -5i64..5), 0..8),
            b in proptest::collection::vec((any::<u8>().prop_map(|n| n % 26 + b'a'), 0u64..9, -5i64..5), 0..8),
        ) {
            let sum = |first: &Census, second: &Census| {
                let mut sum = first.clone();
                sum.merge(second.clone());
                sum
            };
            let (one, other) = (seen(&a), seen(&b));
            prop_assert_eq!(sum(&one, &other), sum(&other, &one));
            prop_assert_eq!(sum(&one, &other), seen(&[a, b].concat()));
        }
    }
}
