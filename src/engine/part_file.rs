//! A list that a rank writes as JSON lines into the run directory; rank 0 joins those of all ranks.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::lists::Extent;
use crate::fs::operator::RunDirectory;
use crate::report::json;

/// One rank's part of a list.
#[derive(Debug)]
pub struct PartFile {
    directory: RunDirectory,
    name: String,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl PartFile {
    /// No line yet; the file is made with the first.
    pub fn new(directory: RunDirectory, name: String) -> Self {
        Self { directory, name, file: None, bytes: 0 }
    }

    /// Adds a line.
    pub fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(self.directory.create_part(&self.name)?)),
        };
        let text = json::compact(line)? + "\n";
        file.write_all(text.as_bytes())?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// How much there is, written or not; `None` without a line.
    pub fn extent(&self) -> Option<Extent> {
        self.file.as_ref().map(|_| Extent { name: self.name.clone(), bytes: self.bytes })
    }

    /// The file, once there is one.
    pub fn file(&self) -> io::Result<Option<File>> {
        self.file.as_ref().map(|file| file.get_ref().try_clone()).transpose()
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
