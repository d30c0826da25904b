//! Directories that exist in arithmetic only: any number of files, without memory for a name. They lie in
//! the root beside what the backing folder has, and can not be changed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};

use crate::files::Listed;
use crate::inodes::{ROOT, SYNTHETIC};

/// 2001-09-09, so that all is older than any copy of it.
const TIME: u64 = 1_000_000_000;

/// What there is: `FILES[:DIRECTORIES[:BYTES]]`, one directory and empty files if nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Files of each directory.
    pub files: u64,
    /// Directories in the root.
    pub directories: u64,
    /// Size of each file.
    pub bytes: u64,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word:?}: {error}"));
        let words = text.split(':').map(number).collect::<Result<Vec<u64>, String>>()?;
        let shape = match words[..] {
            [files] => Self { files, directories: 1, bytes: 0 },
            [files, directories] => Self { files, directories, bytes: 0 },
            [files, directories, bytes] => Self { files, directories, bytes },
            _ => return Err("FILES[:DIRECTORIES[:BYTES]]".to_owned()),
        };
        // Both must fit in the number of an inode.
        if shape.files >= 1 << FILE_BITS || shape.directories >= 1 << 20 {
            return Err("at most 2^40 files in 2^20 directories".to_owned());
        }
        Ok(shape)
    }
}

/// A directory, or a file in one; its number is its inode's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    Directory(u64),
    File { directory: u64, file: u64 },
}

const FILES: u64 = SYNTHETIC << 1;
const FILE_BITS: u32 = 40;

impl Node {
    /// The node of an inode's number; `None`: it is the backing folder's.
    pub fn of(number: u64) -> Option<Self> {
        match number {
            FILES.. => Some(Node::File {
                directory: (number - FILES) >> FILE_BITS,
                file: (number - FILES) & ((1 << FILE_BITS) - 1),
            }),
            SYNTHETIC.. => Some(Node::Directory(number - SYNTHETIC)),
            _ => None,
        }
    }

    /// Its inode's number.
    pub fn number(self) -> u64 {
        match self {
            Node::Directory(directory) => SYNTHETIC + directory,
            Node::File { directory, file } => FILES + (directory << FILE_BITS) + file,
        }
    }

    /// Its name.
    pub fn name(self) -> OsString {
        match self {
            Node::Directory(directory) => format!("synthetic-{directory:06}").into(),
            Node::File { file, .. } => format!("file-{file:010}").into(),
        }
    }

    /// Its type.
    pub fn kind(self) -> FileType {
        match self {
            Node::Directory(_) => FileType::Directory,
            Node::File { .. } => FileType::RegularFile,
        }
    }

    /// The line of a listing that names it.
    pub fn listed(self, name: &OsStr, next: u64) -> Listed<'_> {
        Listed { number: self.number(), next, kind: self.kind(), name: name.as_bytes() }
    }

    /// A byte of its content.
    fn byte(self, offset: u64) -> u8 {
        let mixed = (self.number() ^ (offset >> 3)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.to_le_bytes().get(usize::from(offset.to_le_bytes()[0] & 7)).copied().unwrap_or(0)
    }
}

impl Shape {
    /// The `index`-th entry that a directory has of ours.
    pub fn child(self, parent: u64, index: u64) -> Option<Node> {
        match Node::of(parent) {
            None if parent == ROOT => (index < self.directories).then_some(Node::Directory(index)),
            Some(Node::Directory(directory)) => (index < self.files).then_some(Node::File { directory, file: index }),
            _ => None,
        }
    }

    /// The entry of a name.
    pub fn find(self, parent: u64, name: &OsStr) -> Option<Node> {
        let index = name.to_str()?.rsplit('-').next()?.parse().ok()?;
        self.child(parent, index).filter(|node| node.name() == name)
    }

    /// Lists a directory of ours from `offset` on until `take` says that it is full.
    pub fn list(self, directory: Node, offset: u64, mut take: impl FnMut(Listed<'_>) -> bool) {
        let dots = [(directory.number(), "."), (ROOT, "..")];
        for (next, (number, name)) in (1..).zip(dots).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if take(Listed { number, next, kind: FileType::Directory, name: name.as_bytes() }) {
                return;
            }
        }
        let mut index = offset.saturating_sub(2);
        while let Some(node) = self.child(directory.number(), index) {
            index += 1;
            if take(node.listed(&node.name(), index + 2)) {
                return;
            }
        }
    }

    /// What the kernel is told.
    pub fn attributes(self, node: Node) -> FileAttr {
        let is_file = node.kind() == FileType::RegularFile;
        let time = UNIX_EPOCH + Duration::from_secs(TIME);
        let size = if is_file { self.bytes } else { 4096 };
        FileAttr {
            ino: INodeNo(node.number()),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: node.kind(),
            perm: if is_file { 0o644 } else { 0o755 },
            nlink: if is_file { 1 } else { 2 },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Content of a file.
    pub fn read(self, node: Node, offset: u64, size: usize) -> Vec<u8> {
        let end = offset.saturating_add(size as u64).min(self.bytes);
        (offset..end).map(|offset| node.byte(offset)).collect()
    }
}
