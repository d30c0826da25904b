//! What goes wrong, by consequence: a fault is one entry's, an error ends the run in order.

use bincode::{Decode, Encode};

pub use crate::tree::Side;
use crate::tree::{Outcome, TreePath};

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Which tree it was about.
    pub side: Side,
    /// Its name, as in section 2 of the manual.
    pub operation: &'static str,
    /// The error number (errno(3)).
    pub errno: i32,
}

/// A fault: counted, listed in `faults.jsonl`, survived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The entry.
    pub path: TreePath,
    /// What became of it: failed, vanished or changed.
    pub outcome: Outcome,
    /// Which tree.
    pub side: Side,
    /// The system call, or what the program wanted to do.
    pub operation: &'static str,
    /// The error number; 0 where no system call failed.
    pub errno: i32,
    /// What it means for the entry, for people; may be empty.
    pub note: &'static str,
    /// What `pmirror retry` does about it.
    pub remedy: Remedy,
    /// Who owns the entry on the source, where somebody had looked anyway.
    pub owner: Option<u32>,
}

/// What `pmirror retry` does about a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Remedy {
    /// The entry once more; a directory with all that it holds.
    #[default]
    Again,
    /// The directory itself, and nothing in it.
    Itself,
    /// The entry as a further name of what this path is.
    LinkOf(TreePath),
    /// Nothing: it was to be removed.
    Nothing,
}

impl Fault {
    /// A system call failed for this entry.
    pub fn of(path: TreePath, failure: Failure) -> Self {
        let Failure { side, operation, errno } = failure;
        Self { path, outcome: Outcome::Failed, side, operation, errno, note: "", remedy: Remedy::Again, owner: None }
    }

    /// The same for a directory all of whose entries are cared for.
    pub fn of_itself(path: TreePath, failure: Failure) -> Self {
        Self { remedy: Remedy::Itself, ..Self::of(path, failure) }
    }
}

/// An error: the run ends in order, with the exit code of its variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Error {
    /// The command line, or the way the program was started.
    #[error("{0}")]
    Usage(String),
    /// A guard refused before anything was changed.
    #[error("{0}")]
    Refused(String),
    /// A root or the state directory can not be used.
    #[error("{0}")]
    Fatal(String),
}

impl Error {
    /// The state directory does not take, or give, what it should.
    pub fn of_state(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Error::Fatal(format!(
            "{what}: {error}; see to the room and the rights there, or choose another with --state-dir, and run the same \
             command again"
        ))
    }

    /// The program's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 1,
            Error::Refused(_) => 3,
            Error::Fatal(_) => 11,
        }
    }
}
