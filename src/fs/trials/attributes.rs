//! Which attributes, ACLs and types of entries a target takes.

use std::ffi::CStr;

use super::text;
use crate::fs::xattr::{self, ACCESS_ACL};
use crate::fs::{Fd, names};
use crate::preflight::facts::Tried;
use crate::tree::Kind;

/// The kernel takes no larger value (xattr(7)).
const VALUE_BYTES_MAX: u64 = 64 << 10;
/// More entries have not been seen in an ACL.
const ACL_ENTRIES_MAX: u64 = 1_000;

const NAME: &CStr = c"user.pmirror-preflight";

/// Bytes of the largest value of `user.*`.
pub fn largest(file: &Fd) -> Tried<u64> {
    let set = |bytes: u64| xattr::set(file, NAME, &vec![b'x'; usize::try_from(bytes).unwrap_or(1)]);
    let largest = super::largest(VALUE_BYTES_MAX, set);
    let _ = xattr::remove(file, NAME);
    largest
}

/// Sets an attribute and takes it away.
fn takes(file: &Fd, name: &CStr, value: &[u8]) -> Tried {
    xattr::set(file, name, value).and_then(|()| xattr::remove(file, name)).map_err(text)
}

/// What only root sets.
pub fn trusted(file: &Fd) -> Tried {
    takes(file, c"trusted.pmirror-preflight", b"value")
}

/// CAP_NET_RAW, permitted: struct vfs_cap_data of version 2 (linux/capability.h).
const CAPABILITY: [u8; 20] = [0, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// File capabilities.
pub fn capability(file: &Fd) -> Tried {
    takes(file, c"security.capability", &CAPABILITY)
}

/// Entries of the largest ACL, up to a bound.
pub fn largest_acl(file: &Fd) -> Tried<u64> {
    let least = 5;
    let largest = largest_from(least, |entries| xattr::set(file, ACCESS_ACL, &acl(entries)));
    let _ = xattr::remove(file, ACCESS_ACL);
    largest
}

fn largest_from(least: u64, mut works: impl FnMut(u64) -> Result<(), crate::fault::Failure>) -> Tried<u64> {
    super::largest(ACL_ENTRIES_MAX - least + 1, |n| works(n + least - 1)).map(|n| n + least - 1)
}

/// An ACL of so many entries, five at least: all but four are of users that nobody has (posix_acl_xattr.h).
fn acl(entries: u64) -> Vec<u8> {
    let (user_object, user, group_object, mask, other) = (0x01u16, 0x02u16, 0x04u16, 0x10u16, 0x20u16);
    let nobody = u32::MAX;
    let named = (0..entries.saturating_sub(4)).map(|n| (user, 3_000_000 + u32::try_from(n).unwrap_or(0)));
    let all = std::iter::once((user_object, nobody)).chain(named).chain([
        (group_object, nobody),
        (mask, nobody),
        (other, nobody),
    ]);
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, id) in all {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(4u16.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// FIFOs and sockets.
pub fn fifo(directory: &Fd) -> Tried {
    special(directory, Kind::Fifo, 0).and_then(|()| special(directory, Kind::Socket, 0))
}

/// The null device, as a name: it is never opened.
pub fn device(directory: &Fd) -> Tried {
    special(directory, Kind::CharacterDevice, rustix::fs::makedev(1, 3))
}

fn special(directory: &Fd, kind: Kind, rdev: u64) -> Tried {
    let name = c"preflight-special";
    names::make_special(directory, name, kind, rdev).and_then(|()| names::remove(directory, name)).map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;

    #[test]
    fn an_acl_is_as_the_kernel_wants_it() {
        assert_eq!(acl(5).len(), 4 + 5 * 8);
        assert_eq!(acl(9).len(), 4 + 9 * 8);
        let file = Fd::new(tempfile::tempfile().unwrap().into(), Side::Target);
        let largest = largest_acl(&file);
        assert!(largest.as_ref().is_ok_and(|&entries| entries >= 25), "{largest:?}");
    }
}
