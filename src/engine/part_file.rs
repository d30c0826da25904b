//! A list that a rank writes as JSON lines into the run directory; rank 0 joins those of all ranks.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::fs::operator::RunDirectory;

/// One rank's part of a list.
#[derive(Debug)]
pub struct PartFile {
    directory: RunDirectory,
    name: String,
    file: Option<BufWriter<File>>,
}

impl PartFile {
    /// No line yet; the file is made with the first.
    pub fn new(directory: RunDirectory, name: String) -> Self {
        Self { directory, name, file: None }
    }

    /// Adds a line.
    pub fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(self.directory.create_part(&self.name)?)),
        };
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
