//! A tree that exists in arithmetic only: directories of any number of files, without memory for a name.

use std::ffi::{OsStr, OsString};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use rustix::io::{Errno, Result};

use crate::filesystem::{DIRECT, NO_TIME, answer, prefer, refused};
use crate::gate::Gate;
use crate::rules::Operation;

/// 2001-09-09, so that all is older than any copy of it.
const TIME: u64 = 1_000_000_000;

/// What is in the tree: `FILES[:DIRECTORIES[:BYTES]]`. Without directories the files lie in the root.
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

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word:?}: {error}"));
        let words = text.split(':').map(number).collect::<std::result::Result<Vec<u64>, String>>()?;
        let shape = match words[..] {
            [files] => Self { files, directories: 0, bytes: 0 },
            [files, directories] => Self { files, directories, bytes: 0 },
            [files, directories, bytes] => Self { files, directories, bytes },
            _ => return Err("FILES[:DIRECTORIES[:BYTES]]".to_owned()),
        };
        // Numbers of inodes are 64 bits, and offsets in a listing 63.
        if shape.files >= 1 << 40 || shape.directories >= 1 << 20 {
            return Err("at most 2^40 files in 2^20 directories".to_owned());
        }
        Ok(shape)
    }
}

/// An entry of the tree; its number is its inode's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    Root,
    Directory(u64),
    File { directory: u64, file: u64 },
}

const DIRECTORIES: u64 = 1 << 61;
const FILES: u64 = 1 << 62;

impl Shape {
    fn number(node: Node) -> u64 {
        match node {
            Node::Root => 1,
            Node::Directory(directory) => DIRECTORIES + directory,
            Node::File { directory, file } => FILES + (directory << 40) + file,
        }
    }

    fn node(self, number: u64) -> Result<Node> {
        let node = match number {
            1 => Node::Root,
            FILES.. => Node::File { directory: (number - FILES) >> 40, file: (number - FILES) & ((1 << 40) - 1) },
            DIRECTORIES.. => Node::Directory(number - DIRECTORIES),
            _ => return Err(Errno::STALE),
        };
        Ok(node)
    }

    /// The `index`-th entry of a directory.
    pub fn child(self, parent: Node, index: u64) -> Option<(Node, String)> {
        let file = |directory| (Node::File { directory, file: index }, format!("file-{index:010}"));
        match parent {
            Node::Root if self.directories == 0 => (index < self.files).then(|| file(0)),
            Node::Root => (index < self.directories).then(|| (Node::Directory(index), format!("directory-{index:06}"))),
            Node::Directory(directory) => (index < self.files).then(|| file(directory)),
            Node::File { .. } => None,
        }
    }

    /// The entry of a name.
    pub fn find(self, parent: Node, name: &str) -> Option<Node> {
        let index = name.rsplit('-').next()?.parse().ok()?;
        let (node, found) = self.child(parent, index)?;
        (found == name).then_some(node)
    }

    fn name(self, node: Node) -> OsString {
        let (parent, index) = match node {
            Node::Root => return OsString::new(),
            Node::Directory(directory) => (Node::Root, directory),
            Node::File { file, .. } if self.directories == 0 => (Node::Root, file),
            Node::File { directory, file } => (Node::Directory(directory), file),
        };
        self.child(parent, index).map(|(_, name)| name.into()).unwrap_or_default()
    }

    /// A byte of a file's content.
    fn byte(node: Node, offset: u64) -> u8 {
        let mixed = (Self::number(node) ^ offset >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (8 * (offset & 7))).to_le_bytes()[0]
    }

    fn attributes(self, node: Node) -> FileAttr {
        let is_file = matches!(node, Node::File { .. });
        let time = UNIX_EPOCH + Duration::from_secs(TIME);
        let size = if is_file { self.bytes } else { 4096 };
        let sub_directories = if node == Node::Root { self.directories } else { 0 };
        FileAttr {
            ino: INodeNo(Self::number(node)),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o644 } else { 0o755 },
            nlink: if is_file { 1 } else { u32::try_from(2 + sub_directories).unwrap_or(u32::MAX) },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

/// The file system, which can only be read.
pub struct Synthetic {
    pub gate: Arc<Gate>,
    pub shape: Shape,
}

impl Synthetic {
    fn on_inode(&self, operation: Operation, inode: INodeNo) -> Result<Node> {
        let node = self.shape.node(inode.0)?;
        self.gate.pass(operation, &self.shape.name(node), "")?;
        Ok(node)
    }
}

impl Filesystem for Synthetic {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        prefer(config, false);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.gate.pass(Operation::Lookup, name, "").and_then(|_| {
            let parent = self.shape.node(parent.0)?;
            name.to_str().and_then(|name| self.shape.find(parent, name)).ok_or(Errno::NOENT)
        });
        answer!(reply, found, node => reply.entry(&NO_TIME, &self.shape.attributes(node), Generation(0)));
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.on_inode(Operation::Getattr, inode);
        answer!(reply, found, node => reply.attr(&NO_TIME, &self.shape.attributes(node)));
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != fuser::OpenAccMode::O_RDONLY {
            return reply.error(refused(Errno::ROFS));
        }
        answer!(reply, self.on_inode(Operation::Open, inode), _ => reply.opened(FileHandle(0), DIRECT));
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, self.on_inode(Operation::Read, inode), node => {
            let end = offset.saturating_add(size.into()).min(self.shape.bytes);
            let data: Vec<u8> = (offset..end).map(|offset| Shape::byte(node, offset)).collect();
            reply.data(&data);
        });
    }

    fn flush(&self, _: &Request, inode: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer!(reply, self.on_inode(Operation::Flush, inode), _ => reply.ok());
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.on_inode(Operation::Opendir, inode), _ => {
            reply.opened(FileHandle(0), FopenFlags::empty());
        });
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        answer!(reply, self.on_inode(Operation::Readdir, inode), node => {
            let kind = FileType::Directory;
            let full = offset == 0 && reply.add(inode, 1, kind, ".") || offset <= 1 && reply.add(inode, 2, kind, "..");
            let mut index = offset.saturating_sub(2);
            while let Some((child, name)) = self.shape.child(node, index).filter(|_| !full) {
                let attributes = self.shape.attributes(child);
                if reply.add(attributes.ino, index + 3, attributes.kind, name) {
                    break;
                }
                index += 1;
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, inode: INodeNo, reply: ReplyStatfs) {
        let files = self.shape.files.saturating_mul(self.shape.directories.max(1));
        answer!(reply, self.on_inode(Operation::Statfs, inode), _ => {
            reply.statfs(files, 0, 0, files, 0, 4096, 255, 4096);
        });
    }

    fn listxattr(&self, _: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        answer!(reply, self.on_inode(Operation::Listxattr, inode), _ => {
            if size == 0 { reply.size(0) } else { reply.data(&[]) }
        });
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        let found = self.on_inode(Operation::Getxattr, inode);
        reply.error(refused(found.err().unwrap_or(Errno::NODATA)));
    }
}
