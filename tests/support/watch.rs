//! Sees by inotify(7) what is done to inodes, by whatever name they are reached.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Inodes that nobody must open, read, write, or change.
pub struct Watch {
    events: OwnedFd,
    watched: BTreeMap<i32, PathBuf>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Watch {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
        Watch { events, watched: BTreeMap::new() }
    }

    /// Watches one inode; of a directory what is done to the names in it as well.
    pub fn inode(&mut self, path: impl AsRef<Path>) {
        let touched = WatchFlags::OPEN | WatchFlags::ACCESS | WatchFlags::MODIFY | WatchFlags::ATTRIB;
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let path = path.as_ref();
        let watched = inotify::add_watch(&self.events, path, touched | names | WatchFlags::DONT_FOLLOW);
        self.watched.insert(watched.expect("watch an inode"), path.to_path_buf());
    }

    /// Watches only whether one inode is opened.
    pub fn openings(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let watched = inotify::add_watch(&self.events, path, WatchFlags::OPEN | WatchFlags::DONT_FOLLOW);
        self.watched.insert(watched.expect("watch an inode"), path.to_path_buf());
    }

    /// What was done since.
    pub fn seen(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.events, &mut buffer);
        let mut seen = Vec::new();
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => (),
                Ok(event) => {
                    let path = self.watched.get(&event.wd()).map_or("?".into(), |path| path.display().to_string());
                    let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                    seen.push(format!("{:?} of {path} {}", event.events(), name.unwrap_or_default()));
                }
                Err(rustix::io::Errno::AGAIN) => return seen,
                Err(error) => panic!("read what inotify saw: {error}"),
            }
        }
    }
}
