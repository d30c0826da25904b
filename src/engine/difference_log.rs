//! The differences that a rank found, in a file of the run directory.

use std::fs::File;
use std::io::{BufWriter, Write};

use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report::differences::Line;
use crate::sched::Rank;
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
    directory: RunDirectory,
    rank: Rank,
    settings: ListSettings,
    lines: u64,
    file: Option<BufWriter<File>>,
}

/// The file of one rank's differences; rank 0 joins them when the run ends.
pub fn part_name(rank: Rank) -> String {
    format!("differences-{}.jsonl", rank.0)
}

fn broken(error: &std::io::Error) -> Error {
    Error::Fatal(format!("the list of differences can not be written: {error}"))
}

impl DifferenceLog {
    /// No difference yet; the file is made with the first.
    pub fn new(directory: RunDirectory, rank: Rank, settings: ListSettings) -> Self {
        Self { directory, rank, settings, lines: 0, file: None }
    }

    /// Lists a difference, unless the list is full.
    pub fn add(&mut self, difference: &Difference) -> Result<(), Error> {
        if self.lines >= self.settings.lines_max {
            return Ok(());
        }
        self.lines += 1;
        self.write(&Line::new(difference, self.settings.trigger)).map_err(|error| broken(&error))
    }

    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(self.directory.create_part(&part_name(self.rank))?)),
        };
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")
    }

    /// Writes what is buffered.
    pub fn close(&mut self) -> Result<(), Error> {
        self.file.as_mut().map_or(Ok(()), Write::flush).map_err(|error| broken(&error))
    }
}
