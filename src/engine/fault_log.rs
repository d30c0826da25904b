//! The faults of a rank, every one in a file of the run directory.

use bincode::{Decode, Encode};
use serde::Serialize;

use super::lists::{Author, List};
use super::part_file::PartFile;
use crate::fault::{Error, Fault, Remedy, Side};
use crate::fs::operator::RunDirectory;
use crate::sched::Rank;
use crate::tree::TreePath;
use crate::tree::path::escaped;

/// Faults of one cause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct FaultGroup {
    /// What became of the entries.
    pub outcome: String,
    /// The system call.
    pub operation: String,
    /// The error's name, such as `EACCES`; empty where no system call failed.
    pub errno: String,
    /// Which tree.
    pub side: Side,
    /// What it means.
    pub note: String,
}

/// A line of `faults.jsonl`.
#[derive(Debug, Serialize)]
struct Line<'f> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    outcome: &'f str,
    operation: &'f str,
    errno: String,
    message: &'f str,
    side: &'f str,
    note: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_of_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<u32>,
    rank: u32,
    host: &'f str,
}

/// The faults of a rank.
#[derive(Debug)]
pub struct FaultLog {
    rank: Rank,
    host: String,
    file: PartFile,
}

fn broken(error: &std::io::Error) -> Error {
    Error::of_state("the fault list can not be written to the run directory", error)
}

/// The error's name in errno(3).
pub fn errno_name(errno: i32) -> String {
    if errno == 0 { String::new() } else { format!("{:?}", nix::errno::Errno::from_raw(errno)) }
}

impl FaultLog {
    /// No faults yet; the file is made with the first.
    pub fn new(directory: RunDirectory, author: Author, host: String) -> Self {
        let file = PartFile::new(directory, List::Faults.part_name(author));
        Self { rank: author.rank, host, file }
    }

    /// Lists a fault. Returns its cause.
    pub fn add(&mut self, fault: &Fault) -> Result<FaultGroup, Error> {
        self.write(fault).map_err(|error| broken(&error))?;
        Ok(FaultGroup {
            outcome: fault.outcome.word().to_owned(),
            operation: fault.operation.to_owned(),
            errno: errno_name(fault.errno),
            side: fault.side,
            note: fault.note.to_owned(),
        })
    }

    fn write(&mut self, fault: &Fault) -> std::io::Result<()> {
        let (path, path_b64) = shown(&fault.path);
        let (retry, link_of) = match &fault.remedy {
            Remedy::Again => (None, None),
            Remedy::Itself => (Some("itself"), None),
            Remedy::Nothing => (Some("never"), None),
            Remedy::LinkOf(other) => (None, Some(shown(other))),
        };
        let (link_of, link_of_b64) = link_of.map_or((None, None), |(text, base64)| (Some(text), base64));
        let line = Line {
            path,
            path_b64,
            outcome: fault.outcome.word(),
            operation: fault.operation,
            errno: errno_name(fault.errno),
            message: if fault.errno == 0 { "" } else { nix::errno::Errno::from_raw(fault.errno).desc() },
            side: fault.side.word(),
            note: fault.note,
            retry,
            link_of,
            link_of_b64,
            owner: fault.owner,
            rank: self.rank.0,
            host: &self.host,
        };
        self.file.add(&line)
    }

    /// The file.
    pub fn part(&mut self) -> &mut PartFile {
        &mut self.file
    }
}

/// A path as text, and as base64 where that is not all of it.
fn shown(path: &TreePath) -> (String, Option<String>) {
    let bytes = path.as_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| (escaped(bytes), Some(base64(bytes))), |text| (text.to_owned(), None))
}

/// Base64 with padding (RFC 4648), for names that are not UTF-8.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
