//! What a rank's workers are at, in a file of the run directory that outlives the process: whatever ends a
//! run again and again is found there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::operator::RunDirectory;

const PREFIX: &str = "in-flight-";

/// Bytes of a worker's slot; what does not fit is not recorded, and so never set aside.
const SLOT_BYTES: usize = 4096;
/// A sign that it is in use, a checksum, two lengths; then the directory and the name.
const HEAD_BYTES: usize = 16;
const USED: u8 = 1;

/// Files and bytes that are read of an attempt that died.
const FILES_MAX: usize = 100_000;
const FILE_BYTES_MAX: u64 = 2048 * SLOT_BYTES as u64;

/// A directory that a worker had under work, and the name in it, if names were recorded there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Below both roots.
    pub directory: Vec<u8>,
    /// Empty: none was recorded.
    pub name: Vec<u8>,
}

/// One worker's slot.
#[derive(Debug)]
pub struct Slot {
    file: Arc<File>,
    at: u64,
    directory: Vec<u8>,
    is_used: bool,
    has_name: bool,
    /// In the directory under work each name is recorded.
    is_suspect: bool,
}

/// Makes the file of a rank, with a slot for each worker.
pub fn slots(directory: &RunDirectory, rank: u32, workers: usize) -> io::Result<Vec<Slot>> {
    let file = Arc::new(directory.create_part(&name_of(rank))?);
    let slot = |at: u64| Slot {
        file: Arc::clone(&file),
        at,
        directory: Vec::new(),
        is_used: false,
        has_name: false,
        is_suspect: false,
    };
    Ok((0..workers as u64).map(|worker| slot(worker * SLOT_BYTES as u64)).collect())
}

/// The rank's workers have ended in order.
pub fn remove(directory: &RunDirectory, rank: u32) {
    // What can not be removed makes its directories suspect, and no more than that.
    let _ = directory.remove(&name_of(rank));
}

fn name_of(rank: u32) -> String {
    format!("{PREFIX}{rank}")
}

impl Slot {
    /// The worker turns to a directory, or to a name in it. `is_suspect` is asked for a new directory. Never
    /// waits for a disk: the page cache outlives the process.
    pub fn turn_to(&mut self, directory: &[u8], name: &[u8], is_suspect: impl FnOnce() -> bool) {
        if !self.is_used || self.directory != directory {
            self.directory.clear();
            self.directory.extend_from_slice(directory);
            self.is_suspect = is_suspect();
            self.is_used = false;
        }
        if !self.is_used || self.has_name || self.is_suspect && !name.is_empty() {
            self.write(name);
        }
    }

    /// The worker turns to the next name of the same directory.
    pub fn next_name(&mut self, name: &[u8]) {
        if self.is_used && self.is_suspect {
            self.write(name);
        }
    }

    fn write(&mut self, name: &[u8]) {
        let name = if self.is_suspect { name } else { &[] };
        (self.is_used, self.has_name) = (true, !name.is_empty());
        match record(&self.directory, name) {
            Some(record) => self.put(&record),
            None => self.put(&[0]),
        }
    }

    /// The worker is done with its item.
    pub fn clear(&mut self) {
        if self.is_used {
            self.put(&[0]);
        }
        self.is_used = false;
    }

    fn put(&self, bytes: &[u8]) {
        // What is not recorded is not set aside: the run itself goes on.
        let _ = self.file.write_at(bytes, self.at);
    }
}

fn record(directory: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    if HEAD_BYTES + directory.len() + name.len() > SLOT_BYTES {
        return None;
    }
    let [directory_bytes, name_bytes] = [directory, name].map(|bytes| u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    let lengths = [directory_bytes.to_le_bytes(), name_bytes.to_le_bytes()].concat();
    let content = [&lengths, directory, name].concat();
    let sum = xxhash_rust::xxh3::xxh3_64(&content).to_le_bytes();
    Some([&[USED, 0, 0, 0][..], &sum, &content].concat())
}

fn parse(slot: &[u8]) -> Option<InFlight> {
    let (head, content) = slot.split_at_checked(4)?;
    let (sum, content) = content.split_at_checked(8)?;
    let length = |at: usize| {
        let bytes = content.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(bytes)))
    };
    let (directory_bytes, name_bytes) = (length(0)?, length(2)?);
    let content = content.get(..4 + directory_bytes + name_bytes)?;
    let is_sound = xxhash_rust::xxh3::xxh3_64(content).to_le_bytes() == sum;
    let (directory, name) = content.get(4..)?.split_at_checked(directory_bytes)?;
    (head.first() == Some(&USED) && is_sound).then(|| InFlight { directory: directory.to_vec(), name: name.to_vec() })
}

/// What the workers of an attempt that died had under work.
pub fn left(directory: &RunDirectory) -> io::Result<Vec<InFlight>> {
    let mut found = Vec::new();
    for name in files(directory)? {
        let bytes = directory.read(&name, FILE_BYTES_MAX)?;
        found.extend(of_slots(&bytes));
    }
    Ok(found)
}

/// What the slots of a file tell.
pub fn of_slots(bytes: &[u8]) -> impl Iterator<Item = InFlight> {
    bytes.chunks(SLOT_BYTES).filter_map(parse)
}

/// Forgets it.
pub fn forget(directory: &RunDirectory) -> io::Result<()> {
    files(directory)?.iter().try_for_each(|name| directory.remove(name))
}

fn files(directory: &RunDirectory) -> io::Result<Vec<String>> {
    let names = directory.names(FILES_MAX)?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| name.starts_with(PREFIX)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run_directory() -> (tempfile::TempDir, RunDirectory) {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        (state, directory)
    }

    fn flight(directory: &[u8], name: &[u8]) -> InFlight {
        InFlight { directory: directory.to_vec(), name: name.to_vec() }
    }

    #[test]
    fn what_was_begun_and_not_ended_is_left() {
        let (_state, directory) = run_directory();
        let mut slots = slots(&directory, 3, 4).unwrap();
        slots[0].turn_to(b"done", b"", || false);
        slots[0].clear();
        slots[1].turn_to(b"a", b"not recorded", || false);
        slots[3].turn_to(b"long/before", b"", || false);
        slots[3].turn_to(b"", b"", || true);
        slots[3].next_name(b"name");
        assert_eq!(left(&directory).unwrap(), [flight(b"a", b""), flight(b"", b"name")]);
        slots[3].turn_to(b"", b"", || unreachable!());
        assert_eq!(left(&directory).unwrap(), [flight(b"a", b""), flight(b"", b"")]);
        forget(&directory).unwrap();
        assert_eq!(left(&directory).unwrap(), []);
    }

    #[test]
    fn what_does_not_fit_is_not_recorded_nor_what_was_there_before() {
        let (_state, directory) = run_directory();
        let mut slots = slots(&directory, 0, 1).unwrap();
        slots[0].turn_to(b"a", b"", || true);
        slots[0].turn_to(&[b'x'; SLOT_BYTES], b"", || true);
        assert_eq!(left(&directory).unwrap(), []);
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(directory: Vec<u8>, name: Vec<u8>) {
            let record = record(&directory, &name).unwrap();
            prop_assert_eq!(parse(&record), Some(flight(&directory, &name)));
        }

        #[test]
        fn garbage_is_nothing(bytes in proptest::collection::vec(0u8..3, 0..60)) {
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}
