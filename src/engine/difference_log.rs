//! The differences that a rank found, in a file of the run directory.

use super::lists::{Author, List};
use super::part_file::PartFile;
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report::differences::Line;
use crate::tree::Difference;
use crate::tree::itemize::Trigger;

/// What is listed of the differences.
#[derive(Debug, Clone, Copy)]
pub struct ListSettings {
    /// Which difference moves a file, for rsync's letters.
    pub trigger: Trigger,
    /// Lines of one rank, at most.
    pub lines_max: u64,
}

/// The differences that a rank found.
#[derive(Debug)]
pub struct DifferenceLog {
    file: PartFile,
    settings: ListSettings,
    lines: u64,
}

fn broken(error: &std::io::Error) -> Error {
    Error::of_state("the list of differences can not be written to the run directory", error)
}

impl DifferenceLog {
    /// No difference yet; the file is made with the first.
    pub fn new(directory: RunDirectory, author: Author, settings: ListSettings) -> Self {
        Self { file: PartFile::new(directory, List::Differences.part_name(author)), settings, lines: 0 }
    }

    /// Lists a difference, unless the list is full.
    pub fn add(&mut self, difference: &Difference) -> Result<(), Error> {
        if self.lines >= self.settings.lines_max {
            return Ok(());
        }
        self.lines += 1;
        self.file.add(&Line::new(difference, self.settings.trigger)).map_err(|error| broken(&error))
    }

    /// The file.
    pub fn part(&mut self) -> &mut PartFile {
        &mut self.file
    }
}
