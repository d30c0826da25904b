//! The remarks of a rank, in a file of the run directory.

use super::part_file::PartFile;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report::remarks::Line;
use crate::sched::Rank;
use crate::tree::remark::Remark;

/// The remarks of a rank.
#[derive(Debug)]
pub struct RemarkLog {
    file: PartFile,
}

/// The file of one rank's remarks; rank 0 joins them when the run ends.
pub fn part_name(rank: Rank) -> String {
    format!("notes-{}.jsonl", rank.0)
}

fn broken(error: &std::io::Error) -> Error {
    Error::Fatal(format!("the list of notes can not be written: {error}"))
}

impl RemarkLog {
    /// No remark yet; the file is made with the first.
    pub fn new(directory: RunDirectory, rank: Rank) -> Self {
        Self { file: PartFile::new(directory, part_name(rank)) }
    }

    /// Lists a remark.
    pub fn add(&mut self, remark: &Remark) -> Result<(), Error> {
        self.file.add(&Line::new(remark)).map_err(|error| broken(&error))
    }

    /// Writes what is buffered.
    pub fn close(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|error| broken(&error))
    }
}
