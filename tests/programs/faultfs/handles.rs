//! File handles: what names an inode for ever, and no other that gets its number later. They cost no
//! descriptor, so that a tree of millions can be mounted under a limit of thousands.
#![allow(unsafe_code)] // Neither nix nor rustix has these two calls.

use std::ffi::{CStr, c_int, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;
use rustix::io::{Errno, Result};

/// MAX_HANDLE_SZ of name_to_handle_at(2).
const BYTES_MAX: usize = 128;

/// A handle in the kernel's form.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
struct Raw {
    bytes: c_uint,
    kind: c_int,
    handle: [u8; BYTES_MAX],
}

/// A handle of an inode of one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    kind: c_int,
    bytes: Box<[u8]>,
}

fn last_error() -> Errno {
    Errno::from_raw_os_error(nix::errno::Errno::last_raw())
}

impl Handle {
    /// The handle of an open inode; EOPNOTSUPP where the file system has none.
    pub fn of(inode: BorrowedFd<'_>) -> Result<Self> {
        let bytes_max = c_uint::try_from(BYTES_MAX).map_err(|_| Errno::OVERFLOW)?;
        let mut raw = Raw { bytes: bytes_max, kind: 0, handle: [0; BYTES_MAX] };
        let mut mount = 0;
        let path: &CStr = c"";
        // SAFETY: `raw` is laid out as struct file_handle with room for the size it names; all
        // pointers live through the call.
        let result = unsafe {
            libc::name_to_handle_at(
                inode.as_raw_fd(),
                path.as_ptr(),
                (&raw mut raw).cast(),
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        if result != 0 {
            return Err(last_error());
        }
        let length = usize::try_from(raw.bytes).unwrap_or(BYTES_MAX);
        let bytes = raw.handle.get(..length).unwrap_or_default();
        Ok(Self { kind: raw.kind, bytes: bytes.into() })
    }

    /// Opens the inode with O_PATH, whatever its type. ESTALE: it is gone.
    pub fn open(&self, mount: BorrowedFd<'_>) -> Result<OwnedFd> {
        let bytes = c_uint::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let mut raw = Raw { bytes, kind: self.kind, handle: [0; BYTES_MAX] };
        raw.handle.get_mut(..self.bytes.len()).ok_or(Errno::OVERFLOW)?.copy_from_slice(&self.bytes);
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: as above; the call reads the handle only.
        let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut raw).cast(), flags) };
        if fd < 0 {
            return Err(last_error());
        }
        // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Tells inodes apart that have the same number one after the other.
    pub fn generation(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.bytes)
    }
}
