//! Which of the two trees is meant.

use bincode::{Decode, Encode};

/// Which of the two trees is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Side {
    /// The tree that is read.
    Source,
    /// The tree that is written.
    Target,
}

impl Side {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Target => "target",
        }
    }
}
