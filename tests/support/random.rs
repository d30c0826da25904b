//! Random trees with everything that a file system of users may hold; the seed makes the tree.

use super::snapshot::Snapshot;
use super::tree::{Entry, Tree};
use std::collections::BTreeSet;

/// What to make, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct RandomTree {
    /// The same seed makes the same tree, inode numbers and ctimes apart.
    pub seed: u64,
    /// How many entries there are below the root.
    pub entries: u32,
    /// Whether some of them are further names of others.
    pub hard_links: bool,
}

/// A small generator of our own (SplitMix64), so that a seed means the same for ever.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        let mut bytes: Vec<u8> = words.collect();
        bytes.truncate(length);
        bytes
    }
}

const NAMES: &[&[u8]] = &[
    b"-rf",
    b"--delete",
    b"*",
    b"?[a]{b}",
    b"$(id)",
    b"`id`",
    b"~",
    b" ",
    b"...",
    b"trailing ",
    b"new\nline",
    b"\ttab\r",
    b"\x1b[2J\x07",
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    "\u{e9}".as_bytes(),
    "e\u{301}".as_bytes(),
    b"Foo",
    b"foo",
    b".pmirror-0123456789abcdef",
    b"%s%n",
    b"\\",
    b"\"'",
    b"=cmd()",
];
const MODES: &[u32] = &[0o644, 0o600, 0o755, 0o000, 0o4755, 0o2755, 0o6711, 0o1777, 0o444, 0o7777, 0o070];
const OWNERS: &[u32] = &[0, 1, 1000, 65_534, 4_000_000_000];
const SIZES: &[usize] = &[0, 1, 100, 4095, 4096, 4097, 20_000, 65_536];
const ACLS: &[&str] = &[
    "u::rwx,u:1000:r--,g::r-x,m::r-x,o::---",
    "u::rw-,g::rw-,g:7:rwx,m::r--,o::r--",
    "u::r--,u:1:rwx,u:2:-w-,g::---,g:3:--x,m::rwx,o::--x",
];

impl RandomTree {
    /// Some entries without hard links.
    pub fn new(seed: u64, entries: u32) -> RandomTree {
        RandomTree { seed, entries, hard_links: false }
    }

    /// The same with hard links.
    pub fn linked(self) -> RandomTree {
        RandomTree { hard_links: true, ..self }
    }

    /// Builds it below `tree`.
    pub fn build(self, tree: &Tree) {
        self.build_among(1_000_000, tree);
    }

    /// The same with so many plain names to choose from: few make the trees of two seeds alike.
    pub fn build_among(self, names: u64, tree: &Tree) {
        let mut grower = Grower {
            dice: Dice::new(self.seed),
            tree,
            directories: vec![Vec::new()],
            others: Vec::new(),
            taken: BTreeSet::new(),
            names,
        };
        (0..self.entries).for_each(|_| grower.grow(self.hard_links));
        grower.finish_directories();
    }
}

/// Changes one entry of a tree in one thing, or does nothing where that thing can not be.
pub fn change(tree: &Tree, now: &Snapshot, dice: &mut Dice) {
    let paths: Vec<&Vec<u8>> = now.entries.keys().filter(|path| !path.is_empty()).collect();
    let path = paths[dice.below(paths.len() as u64) as usize];
    let (entry, kind) = (tree.entry(path), now.at(path).kind());
    let (seconds, nanoseconds) = now.at(path).mtime();
    match (dice.below(9), kind) {
        (0, "file") => _ = entry.content("changed").mtime(seconds, nanoseconds),
        (1, "file") => {
            let mut bytes = dice.bytes(now.at(path).content_bytes() as usize);
            bytes.iter_mut().for_each(|byte| *byte |= 1);
            entry.content(bytes).mtime(seconds, nanoseconds);
        }
        (2, "symlink" | "fifo" | "socket" | "file" | "character_device") => {
            entry.unlink();
            tree.file(path, "in its place");
        }
        (3, "file" | "symlink" | "fifo") => entry.unlink(),
        (3, "directory") => drop(tree.file([path, &b"/extra"[..]].concat(), "extra")),
        (4, "symlink") => {
            entry.unlink();
            tree.symlink(path, "elsewhere").mtime(seconds, nanoseconds);
        }
        (4, "character_device") => {
            entry.unlink();
            tree.char_device(path, 9, 9).mtime(seconds, nanoseconds);
        }
        (5, kind) if kind != "symlink" => _ = entry.mode(0o1712),
        (6, _) => _ = entry.owner(77, 78),
        (7, "file" | "directory") => _ = entry.acl("u::rw-,u:5:rw-,g::r--,m::rw-,o::---"),
        (8, "file" | "directory") => _ = entry.xattr("user.changed", dice.bytes(5)),
        _ => _ = entry.mtime(seconds + 1, nanoseconds),
    }
}

/// A tree while it grows.
struct Grower<'a> {
    dice: Dice,
    tree: &'a Tree,
    directories: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
    taken: BTreeSet<Vec<u8>>,
    names: u64,
}

impl Grower<'_> {
    fn grow(&mut self, hard_links: bool) {
        let path = self.fresh_path();
        let sort = self.dice.below(100);
        if hard_links && sort < 15 && !self.others.is_empty() {
            let old = self.dice.below(self.others.len() as u64) as usize;
            let old = self.others[old].clone();
            self.tree.hard_link(old, &path);
            return;
        }
        if sort >= 80 {
            self.tree.dir(&path);
            self.directories.push(path);
            return;
        }
        let entry = self.leaf(&path, sort);
        self.decorate(&entry, sort);
        self.others.push(path);
    }

    fn leaf(&mut self, path: &[u8], sort: u64) -> Entry {
        let minor = self.dice.below(300) as u32;
        match sort {
            0..10 => {
                let length = 1 + self.dice.below(80) as usize;
                let target: Vec<u8> = self.dice.bytes(length);
                let target = target.iter().map(|byte| (*byte).max(1));
                self.tree.symlink(path, target.collect::<Vec<u8>>())
            }
            10..13 => self.tree.fifo(path),
            13..15 => self.tree.socket(path),
            15..17 => self.tree.char_device(path, 1, minor),
            17..19 => self.tree.block_device(path, 7, minor),
            19..22 => {
                let offset = self.dice.below(200) * 4096;
                let bytes = self.dice.bytes(5000);
                self.tree.sparse(path, offset * 2 + 7, &[(offset, &bytes)])
            }
            _ => {
                let size = self.dice.pick(SIZES);
                let bytes = self.dice.bytes(size);
                self.tree.file(path, bytes)
            }
        }
    }

    /// Owner first, for it clears what comes after; times last.
    fn decorate(&mut self, entry: &Entry, sort: u64) {
        let (is_link, is_file) = (sort < 10, sort >= 19);
        let (user, group) = (self.dice.pick(OWNERS), self.dice.pick(OWNERS));
        entry.owner(user, group);
        if !is_link {
            entry.mode(self.dice.pick(MODES));
        }
        if !is_link && self.dice.once_in(6) {
            entry.acl(self.dice.pick(ACLS));
        }
        if is_file && self.dice.once_in(5) {
            let value = self.dice.bytes(40);
            entry.xattr("user.note", value).xattr("user.empty", "");
        }
        if is_file && self.dice.once_in(8) {
            entry.capability();
        }
        if self.dice.once_in(8) {
            entry.xattr("trusted.note", "for root only");
        }
        let (seconds, nanoseconds) = self.time();
        entry.mtime(seconds, nanoseconds);
    }

    fn time(&mut self) -> (i64, u32) {
        let seconds = self.dice.below(4_000_000_000) as i64 - 1_000_000_000;
        (seconds, self.dice.below(1_000_000_000) as u32)
    }

    /// Only now: an entry that is made in a directory moves its times.
    fn finish_directories(&mut self) {
        let mut directories = self.directories.clone();
        directories.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in directories {
            let entry = match path.is_empty() {
                true => self.tree.root(),
                false => self.tree.entry(&path),
            };
            let (user, group) = (self.dice.pick(OWNERS), self.dice.pick(OWNERS));
            entry.owner(user, group).mode(self.dice.pick(MODES));
            if self.dice.once_in(5) {
                let acl = self.dice.pick(ACLS);
                entry.acl(acl).default_acl(self.dice.pick(ACLS));
            }
            if self.dice.once_in(8) {
                entry.xattr("user.note", "of a directory");
            }
            let (seconds, nanoseconds) = self.time();
            entry.mtime(seconds, nanoseconds);
        }
    }

    fn fresh_path(&mut self) -> Vec<u8> {
        loop {
            // The newest directory half of the time: so the tree gets deep in places.
            let newest = self.directories.len() - 1;
            let any = self.dice.below(self.directories.len() as u64) as usize;
            let index = if self.dice.once_in(2) { newest } else { any };
            let directory = self.directories[index].clone();
            let name = self.name();
            let path = match directory.is_empty() {
                true => name,
                false => [&directory[..], b"/", &name].concat(),
            };
            if path.len() < 3000 && self.taken.insert(path.clone()) {
                return path;
            }
        }
    }

    fn name(&mut self) -> Vec<u8> {
        match self.dice.below(10) {
            0 => self.dice.pick(NAMES).to_vec(),
            1 => {
                let length = 1 + self.dice.below(60) as usize;
                let bytes = self.dice.bytes(length);
                let plain = |byte: u8| {
                    if byte == 0 || byte == b'/' { b'_' } else { byte }
                };
                let name: Vec<u8> = bytes.into_iter().map(plain).collect();
                if name == b"." || name == b".." { b"dots".to_vec() } else { name }
            }
            _ => format!("n{}", self.dice.below(self.names)).into_bytes(),
        }
    }
}

/// Runs a check for many seeds; a failure prints the seeds that show it again.
pub fn for_seeds(seeds: std::ops::Range<u64>, check: impl Fn(u64)) {
    let fails = |seed: &u64| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(*seed))).is_err();
    let failed: Vec<u64> = seeds.filter(fails).collect();
    assert!(failed.is_empty(), "the seeds {failed:?} fail, see above");
}
