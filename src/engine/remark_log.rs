//! The remarks of a rank, in a file of the run directory.

use std::fs::File;
use std::io::{BufWriter, Write};

use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::report::remarks::Line;
use crate::sched::Rank;
use crate::tree::remark::Remark;

/// The remarks of a rank.
#[derive(Debug)]
pub struct RemarkLog {
    directory: RunDirectory,
    rank: Rank,
    file: Option<BufWriter<File>>,
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
        Self { directory, rank, file: None }
    }

    /// Lists a remark.
    pub fn add(&mut self, remark: &Remark) -> Result<(), Error> {
        self.write(&Line::new(remark)).map_err(|error| broken(&error))
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
