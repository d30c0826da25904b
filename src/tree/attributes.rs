//! What statx(2) tells of an entry, in our words.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::time::Time;

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A type that this program does not know, or that was never learnt.
    Unknown,
}

impl Kind {
    /// All kinds, in the order of the summary.
    pub const ALL: [Kind; 8] = [
        Kind::Directory,
        Kind::File,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::CharacterDevice,
        Kind::BlockDevice,
        Kind::Unknown,
    ];

    /// Devices, FIFOs and sockets: rsync's `--specials` and `--devices`.
    pub fn is_special(self) -> bool {
        matches!(self, Kind::Fifo | Kind::Socket | Kind::CharacterDevice | Kind::BlockDevice)
    }

    /// The word for it in the summary.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::File => "file",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharacterDevice => "character_device",
            Kind::BlockDevice => "block_device",
            Kind::Unknown => "unknown",
        }
    }
}

/// What makes an inode the same one when a rank looks again, perhaps on another node. Device
/// numbers differ between nodes; inode numbers are reused, birth times are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Identity {
    /// The inode number.
    pub inode: u64,
    /// The time of birth, where the file system knows it.
    pub birth: Option<Time>,
}

/// What statx(2) tells of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Attributes {
    /// The type.
    pub kind: Kind,
    /// Inode number and time of birth.
    pub identity: Identity,
    /// The device number, comparable inside one process only.
    pub device: u64,
    /// Names of the inode.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions: the low 12 bits of st_mode.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes allocated (blocks of 512).
    pub allocated: u64,
    /// Device number of a device.
    pub rdev: u64,
    /// Last read.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
}

impl Attributes {
    /// The content can not have changed between these two looks at one inode.
    pub fn content_is_as(&self, earlier: &Attributes) -> bool {
        self.identity == earlier.identity
            && self.kind == earlier.kind
            && self.size == earlier.size
            && self.mtime == earlier.mtime
            && self.ctime == earlier.ctime
    }
}
