//! `pmirror.toml`: what the operator wrote down once. File systems by their names, and options of commands.

pub mod file_systems;
pub mod find;
mod known;
pub mod layers;
mod nearest;
mod read;
pub mod show;

use std::ffi::OsString;

use clap::ArgMatches;

pub use self::file_systems::{FileSystem, FileSystems};
pub use self::read::read;
use crate::fault::Error;

/// A commented file in which nothing is in force but one harmless line of each kind.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The table whose options hold for all commands that know them.
const DEFAULTS: &str = "defaults";

/// What the file says; without a file nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[fs.NAME]`.
    pub file_systems: FileSystems,
    /// `[defaults]`, and one for each command.
    tables: Vec<Table>,
}

/// Options of one command, or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    name: String,
    settings: Vec<Setting>,
}

/// An option in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As on the command line, without its dashes.
    option: String,
    /// As clap names it.
    id: String,
    /// What stands for it on a command line; nothing for a flag that is off.
    words: Vec<OsString>,
    /// It means nothing without another option.
    wants: bool,
    /// Where it stands.
    line: usize,
    at: usize,
}

impl Setting {
    fn is_on(&self) -> bool {
        !self.words.is_empty()
    }
}

impl Settings {
    /// The file, as messages name it; nothing if there is none.
    pub fn file(&self) -> Option<&str> {
        self.file_systems.file.as_deref()
    }

    fn table(&self, name: &str) -> &[Setting] {
        self.tables.iter().find(|table| table.name == name).map_or(&[], |table| table.settings.as_slice())
    }

    /// What was given by hand, with what the file adds to it, and operands by their paths.
    pub fn layered(&self, given: ArgMatches) -> Result<ArgMatches, Refusal> {
        layers::layered(self, given)
    }
}

/// Why there is no command to run.
#[derive(Debug)]
pub enum Refusal {
    /// clap says so, or prints what it was asked for.
    Clap(clap::Error),
    /// The file, or an operand.
    Ours(Error),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}
