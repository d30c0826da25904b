//! The remarks of a rank, in a file of the run directory.

use super::lists::{Author, List};
use super::part_file::PartFile;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report::remarks::Line;
use crate::tree::remark::Remark;

/// The remarks of a rank.
#[derive(Debug)]
pub struct RemarkLog {
    file: PartFile,
}

fn broken(error: &std::io::Error) -> Error {
    Error::of_state("the list of notes can not be written to the run directory", error)
}

impl RemarkLog {
    /// No remark yet; the file is made with the first.
    pub fn new(directory: RunDirectory, author: Author) -> Self {
        Self { file: PartFile::new(directory, List::Remarks.part_name(author)) }
    }

    /// Lists a remark.
    pub fn add(&mut self, remark: &Remark) -> Result<(), Error> {
        self.file.add(&Line::new(remark)).map_err(|error| broken(&error))
    }

    /// The file.
    pub fn part(&mut self) -> &mut PartFile {
        &mut self.file
    }
}
