//! The sorted list of a run's paths, in a file of the run directory: however long it is, a rank holds
//! only pieces of it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::operator::RunDirectory;
use crate::fault::{Failure, Side};
use crate::tree::filter::content_of_line;
use crate::tree::listed::{BadPath, Text, normal, order};

/// The name of the list in the run directory.
const LIST: &str = "files-from.list";

/// Longest path, its NUL included; longest line.
const PATH_BYTES_MAX: usize = 64 << 10;

/// Memory in which paths are sorted. A longer list is sorted in parts, which are then merged: each of
/// them is open then, with a buffer of 8 KiB.
const SORTED_BYTES_MAX: usize = 32 << 20;

/// Why a list can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It can not be read.
    #[error("{0}")]
    Input(io::Error),
    /// It holds what is no path below the root.
    #[error("line {line}, {}: {why}", crate::tree::path::escaped(.text))]
    Line {
        /// Its number, from 1.
        line: u64,
        /// The line.
        text: Vec<u8>,
        /// What is wrong with it.
        why: BadPath,
    },
    /// A line has no end.
    #[error("line {0} is longer than {PATH_BYTES_MAX} bytes")]
    Long(u64),
    /// The run directory does not take it.
    #[error("{0}")]
    Output(io::Error),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the list.
    pub bytes: u64,
    /// It names the root itself, so all is to be mirrored.
    pub has_root: bool,
}

/// Reads the paths that the operator lists, one a line or closed by NUL bytes, and writes them sorted
/// into the run directory.
pub fn write(input: impl Read, nul_ends: bool, directory: &RunDirectory) -> Result<Written, ListError> {
    write_by(directory, |sorter| sort(input, nul_ends, sorter))
}

/// The same for paths that are below the root in any case: `fill` adds them. One with a slash behind it
/// means a directory without what it holds.
pub fn write_paths(
    directory: &RunDirectory,
    fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
) -> Result<Written, ListError> {
    write_by(directory, |sorter| {
        let mut has_root = false;
        let mut add = |path: &[u8]| {
            has_root |= path.is_empty();
            // The root itself is settled in any case.
            if path == b"/" { Ok(()) } else { sorter.add(path) }
        };
        fill(&mut add).map_err(ListError::Input)?;
        let bytes = sorter.finish().map_err(ListError::Output)?;
        Ok(Written { bytes, has_root })
    })
}

fn write_by(
    directory: &RunDirectory,
    sort: impl FnOnce(&mut Sorter<'_>) -> Result<Written, ListError>,
) -> Result<Written, ListError> {
    let mut sorter = Sorter { directory, bytes_max: SORTED_BYTES_MAX, paths: Paths::default(), parts: 0 };
    let written = sort(&mut sorter);
    let parts = sorter.parts;
    (0..parts).for_each(|part| {
        let _ = directory.remove(&part_name(part));
    });
    if written.is_err() {
        remove(directory);
    }
    written
}

/// Removes the list: the run is over.
pub fn remove(directory: &RunDirectory) {
    // What can not be removed takes space in the run directory, and no more than that.
    let _ = directory.remove(LIST);
}

fn sort(input: impl Read, nul_ends: bool, sorter: &mut Sorter<'_>) -> Result<Written, ListError> {
    let mut has_root = false;
    for_each_listed(BufReader::with_capacity(1 << 20, input), nul_ends, |path| {
        has_root |= path.is_empty();
        sorter.add(path).map_err(ListError::Output)
    })?;
    let bytes = sorter.finish().map_err(ListError::Output)?;
    Ok(Written { bytes, has_root })
}

/// Hands out the paths that an operator lists, each as the list keeps it.
pub fn for_each_listed(
    mut input: impl BufRead,
    nul_ends: bool,
    mut visit: impl FnMut(&[u8]) -> Result<(), ListError>,
) -> Result<(), ListError> {
    let end = if nul_ends { 0 } else { b'\n' };
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let mut bounded = (&mut input).take(PATH_BYTES_MAX as u64);
        if bounded.read_until(end, &mut line).map_err(ListError::Input)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.last() == Some(&end) {
            line.pop();
        } else if line.len() == PATH_BYTES_MAX {
            return Err(ListError::Long(number));
        }
        let Some(text) = content_of_line(&line, nul_ends) else { continue };
        visit(&normal(text).map_err(|why| ListError::Line { line: number, text: text.to_vec(), why })?)?;
    }
}

/// Paths in one arena.
#[derive(Default)]
struct Paths {
    bytes: Vec<u8>,
    /// Beginning and end of each.
    places: Vec<(u32, u32)>,
}

impl Paths {
    fn add(&mut self, path: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(path);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.places.push((place(start), place(self.bytes.len())));
    }

    fn memory(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<(u32, u32)>()
    }

    /// The paths in order, each once; none are left.
    fn drain_sorted(&mut self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let Self { bytes, mut places } = std::mem::take(self);
        let path = |&(start, end): &(u32, u32)| bytes.get(start as usize..end as usize).unwrap_or_default();
        places.sort_unstable_by(|a, b| order(path(a), path(b)));
        places.dedup_by(|a, b| path(a) == path(b));
        places.iter().try_for_each(|place| visit(path(place)))
    }
}

struct Sorter<'d> {
    directory: &'d RunDirectory,
    bytes_max: usize,
    paths: Paths,
    /// Sorted parts in the run directory.
    parts: u32,
}

fn part_name(part: u32) -> String {
    format!("files-from-{part}.part")
}

impl Sorter<'_> {
    fn add(&mut self, path: &[u8]) -> io::Result<()> {
        // The root has no name, and is told apart.
        if !path.is_empty() {
            self.paths.add(path);
        }
        if self.paths.memory() > self.bytes_max { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let name = part_name(self.parts);
        self.directory.remove(&name)?;
        let mut out = Records::new(self.directory.create(&name)?);
        self.parts += 1;
        self.paths.drain_sorted(|path| out.add(path))?;
        out.out.flush()
    }

    /// Writes the whole list, durably, as ranks on other nodes read it.
    fn finish(&mut self) -> io::Result<u64> {
        self.directory.remove(LIST)?;
        let mut out = Records::new(self.directory.create(LIST)?);
        if self.parts == 0 {
            self.paths.drain_sorted(|path| out.add(path))?;
        } else {
            self.spill()?;
            self.merge(&mut out)?;
        }
        out.finish()
    }

    fn merge(&self, out: &mut Records) -> io::Result<()> {
        let mut heads = BinaryHeap::new();
        for part in 0..self.parts {
            let mut input = BufReader::new(self.directory.open(&part_name(part))?);
            if let Some(path) = next_record(&mut input)? {
                heads.push(Reverse(Head { path, input }));
            }
        }
        let mut last = Vec::new();
        while let Some(Reverse(Head { path, mut input })) = heads.pop() {
            if path != last {
                out.add(&path)?;
            }
            if let Some(path) = next_record(&mut input)? {
                heads.push(Reverse(Head { path, input }));
            }
            last = path;
        }
        Ok(())
    }
}

/// The next path of a sorted part.
struct Head {
    path: Vec<u8>,
    input: BufReader<File>,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.path, &other.path)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Head {}

fn next_record(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut record = Vec::new();
    input.read_until(0, &mut record)?;
    Ok(record.pop().map(|_| record))
}

/// Paths closed by NUL bytes, on their way to a file.
struct Records {
    out: BufWriter<File>,
    bytes: u64,
}

impl Records {
    fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(1 << 20, file), bytes: 0 }
    }

    fn add(&mut self, path: &[u8]) -> io::Result<()> {
        self.bytes += path.len() as u64 + 1;
        self.out.write_all(path)?;
        self.out.write_all(&[0])
    }

    fn finish(self) -> io::Result<u64> {
        let bytes = self.bytes;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(bytes)
    }
}

/// The list, open for reading.
#[derive(Debug)]
pub struct PathList {
    file: File,
    /// Of what failed in another run. What is no longer there has vanished; else the operator asked for it,
    /// and it has failed.
    pub of_faults: bool,
}

impl PathList {
    /// Opens the list of a run.
    pub fn open(directory: &RunDirectory, of_faults: bool) -> io::Result<Self> {
        directory.open(LIST).map(|file| Self { file, of_faults })
    }
}

impl Text for PathList {
    type Error = Failure;

    const RECORD_BYTES_MAX: usize = PATH_BYTES_MAX;

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length];
        let mut got = 0;
        while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error.raw_os_error().unwrap_or(Errno::EIO as i32))),
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    fn is_broken(&self) -> Failure {
        lost(Errno::EBADMSG as i32)
    }
}

fn lost(errno: i32) -> Failure {
    Failure { side: Side::Source, operation: "pread64", errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run_directory() -> (tempfile::TempDir, RunDirectory) {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        (state, directory)
    }

    fn records(directory: &RunDirectory, written: Written) -> Vec<Vec<u8>> {
        let text = PathList::open(directory, false).unwrap().read(0, 1 << 20).unwrap();
        assert_eq!(text.len() as u64, written.bytes);
        text.split(|&byte| byte == 0).filter(|record| !record.is_empty()).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn lines_become_sorted_paths() {
        let (_state, directory) = run_directory();
        let lines = b"# comment\nb\n/a/x\r\n\na-\n./a//\nb\n;\nlast";
        let written = write(&lines[..], false, &directory).unwrap();
        assert!(!written.has_root);
        assert_eq!(records(&directory, written), [&b"a"[..], b"a/x", b"a-", b"b", b"last"]);
    }

    #[test]
    fn between_nul_bytes_every_byte_is_the_paths() {
        let (_state, directory) = run_directory();
        let written = write(&b"#b\0a\nc\r\0."[..], true, &directory).unwrap();
        assert!(written.has_root);
        assert_eq!(records(&directory, written), [&b"#b"[..], b"a\nc\r"]);
    }

    #[test]
    fn a_line_that_leads_elsewhere_is_named_and_nothing_is_left() {
        let (_state, directory) = run_directory();
        let error = write(&b"a\n\nb/../../etc\n"[..], false, &directory).unwrap_err();
        assert_eq!(error.to_string(), "line 3, b/../../etc: a path with .. in it");
        let error = write(io::repeat(b'x'), false, &directory).unwrap_err();
        assert!(matches!(error, ListError::Long(1)));
        assert!(PathList::open(&directory, false).is_err());
    }

    proptest! {
        #[test]
        fn sorting_in_parts_is_sorting(paths in proptest::collection::vec("[ab!]{1,2}(/[ab!]{1,2}){0,2}", 0..80), bytes_max in 1usize..400) {
            let (state, directory) = run_directory();
            let mut sorter = Sorter { directory: &directory, bytes_max, paths: Paths::default(), parts: 0 };
            let written = sort(paths.join("\n").as_bytes(), false, &mut sorter).unwrap();
            let mut expected: Vec<Vec<u8>> = paths.iter().map(|path| path.clone().into_bytes()).collect::<BTreeSet<_>>().into_iter().collect();
            expected.sort_by(|a, b| order(a, b));
            prop_assert_eq!(records(&directory, written), expected);
            drop(state);
        }
    }
}
