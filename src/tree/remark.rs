//! What a person should know of an entry although nothing went wrong with it.

use super::path::TreePath;
use super::time::Time;

/// A remark on an entry of the source, for the list of notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The entry.
    pub path: TreePath,
    /// What is to be known.
    pub what: What,
    /// Its last change of anything.
    pub ctime: Time,
    /// Its size, if it is a file.
    pub size: Option<u64>,
}

/// What is to be known of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was changed after the start of the run.
    CtimeAfterStart,
    /// It was changed after its copy was made, although size and modification time are equal.
    CtimeNewer,
}

impl What {
    /// The word for it in the list.
    pub fn word(self) -> &'static str {
        match self {
            What::CtimeAfterStart => "ctime_after_start",
            What::CtimeNewer => "ctime_newer",
        }
    }
}
