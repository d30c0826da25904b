//! Open files and directories of the backing folder, by the number that the kernel was given.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::FileType;
use rustix::fs::{RawDir, SeekFrom};
use rustix::io::{Errno, Result};

use crate::attributes::file_type;

/// An open file or directory; the lock keeps the position of a listing together with its reading.
#[derive(Debug)]
pub struct Open {
    /// The descriptor.
    pub fd: OwnedFd,
    position: Mutex<()>,
}

/// One name of a listing.
pub struct Listed<'l> {
    /// The inode.
    pub number: u64,
    /// From where a listing goes on behind it.
    pub next: u64,
    /// The type.
    pub kind: FileType,
    /// The name.
    pub name: &'l [u8],
}

impl Open {
    /// Lists from `offset` on until `take` says that it is full.
    pub fn list(&self, offset: u64, mut take: impl FnMut(Listed<'_>) -> bool) -> Result<()> {
        let _position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::fs::seek(&self.fd, SeekFrom::Start(offset))?;
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut lister = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = lister.next() {
            let entry = entry?;
            let (number, next) = (entry.ino(), entry.next_entry_cookie());
            let listed =
                Listed { number, next, kind: file_type(entry.file_type()), name: entry.file_name().to_bytes() };
            if take(listed) {
                break;
            }
        }
        Ok(())
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct Files {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Open>>>,
}

impl Files {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an open file.
    pub fn add(&self, fd: OwnedFd) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.open().insert(number, Arc::new(Open { fd, position: Mutex::default() }));
        number
    }

    /// The open file of a number.
    pub fn get(&self, number: u64) -> Result<Arc<Open>> {
        self.open().get(&number).cloned().ok_or(Errno::BADF)
    }

    /// Closes it when the last call that uses it is done.
    pub fn remove(&self, number: u64) {
        let closed = self.open().remove(&number);
        drop(closed);
    }
}
