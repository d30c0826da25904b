//! What is measured before a run.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::Serialize;

use crate::tree::TimeLimits;
use crate::tree::census::Class;

/// What was tried, or why it does not work, in words.
pub type Tried<T = ()> = Result<T, String>;

/// How much a file system has, and how much of it is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Room {
    /// All bytes.
    pub total_bytes: u64,
    /// Bytes that are used.
    pub used_bytes: u64,
    /// Bytes that we may still use.
    pub free_bytes: u64,
    /// Free bytes that only root may use, if we are not.
    pub reserved_bytes: u64,
    /// `None` where inodes are not counted, as on btrfs.
    pub inodes: Option<Inodes>,
    /// Nothing can be written.
    pub is_read_only: bool,
    /// Bytes of the longest name, as the file system tells.
    pub name_bytes_max: u64,
}

/// Inodes of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Inodes {
    /// Those that are used.
    pub used: u64,
    /// Those that are free.
    pub free: u64,
}

/// What a quota still leaves, for bytes and for inodes; `None`: it has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Quota {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Inodes.
    pub inodes: Option<u64>,
}

/// Both file systems as they are before anything is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volumes {
    /// The one that holds SRC.
    pub source: Room,
    /// SRC is all that lies in it.
    pub source_is_whole: bool,
    /// File systems that are mounted in SRC.
    pub mounts_in_source: u64,
    /// The one that holds DST.
    pub target: Room,
    /// Nothing lies in DST yet.
    pub target_is_empty: bool,
    /// What is stored there may take less room than its size: it may be compressed.
    pub target_may_compress: bool,
}

/// What of an entry a run is to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is an option of the command line.
pub struct Kept {
    /// Owners.
    pub owner: bool,
    /// Times.
    pub times: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// ACLs.
    pub acls: bool,
    /// Hard links.
    pub hard_links: bool,
    /// FIFOs, sockets and devices.
    pub specials: bool,
}

/// What was tried on the target, on files of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trials {
    /// We are root.
    pub is_root: bool,
    /// The owner of a file that we make, if it is not we.
    pub made_for: Option<u32>,
    /// Whether a file can be given to another owner.
    pub chown: bool,
    /// The times that it holds.
    pub times: TimeLimits,
    /// Names that differ in case are one.
    pub folds_case: bool,
    /// Bytes of the longest name that could be made.
    pub name_bytes_max: u64,
    /// Sorts of names that are not kept as they are, and what becomes of them.
    pub names: BTreeMap<Class, String>,
    /// Bytes of the longest symbolic link.
    pub symlink: Tried<u64>,
    /// A further name for a file.
    pub hard_link: Tried,
    /// Names that one file may have, as far as its type tells.
    pub links_max: Option<u64>,
    /// Renaming over another file.
    pub rename: Tried,
    /// Bytes of the largest value of `user.*`.
    pub xattr: Tried<u64>,
    /// Attributes that are set are lost without an error.
    pub forgets_xattrs: bool,
    /// `trusted.*`.
    pub trusted: Tried,
    /// File capabilities.
    pub capability: Tried,
    /// Entries of the largest ACL that was tried.
    pub acl: Tried<u64>,
    /// FIFOs and sockets.
    pub fifo: Tried,
    /// Devices.
    pub device: Tried,
    /// Bytes of the largest file.
    pub file_bytes_max: u64,
    /// Holes take no room.
    pub keeps_holes: bool,
    /// How content can be brought from one file to another there.
    pub engine: Option<&'static str>,
}

/// What one rank has, and sees.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Node {
    /// The kernel's release.
    pub kernel: String,
    /// What the kernel lacks of what makes a run quicker or safer.
    pub lacks: Vec<String>,
    /// What `--sandbox` would lack.
    pub sandbox_lacks: Vec<String>,
    /// Files that may be open.
    pub files_max: u64,
    /// Bytes of the largest file that the process may write.
    pub file_bytes_max: Option<u64>,
    /// CPUs of this rank.
    pub cpus: u32,
    /// The clock of the file system of DST against that of the node.
    pub target_clock: Option<super::clocks::Offset>,
    /// The newest time that was seen in SRC lies so many seconds ahead of the node.
    pub source_ahead: Option<f64>,
    /// What it got done in the time it had.
    pub speed: Speed,
}

/// What was done in a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Encode, Decode, Serialize)]
pub struct Rate {
    /// How much.
    pub done: f64,
    /// In so many seconds.
    pub seconds: f64,
}

impl Rate {
    /// A second; 0 where nothing was measured.
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.done / self.seconds } else { 0.0 }
    }
}

/// What a rank got done.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Speed {
    /// Small files made, written, renamed and removed.
    pub files: Rate,
    /// Bytes written in a stream, and flushed.
    pub written: Rate,
    /// Files of SRC that were looked at and opened.
    pub opened: Rate,
    /// Bytes of them that were read.
    pub read: Rate,
    /// Why nothing, or not all of it, was measured.
    pub trouble: Option<String>,
    /// Files of SRC that we could not open for want of rights.
    pub unreadable: u64,
}
