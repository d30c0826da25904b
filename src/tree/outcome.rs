//! What became of an entry.

use bincode::{Decode, Encode};

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Outcome {
    /// It was right already.
    Same,
    /// Made; the target had no such name.
    Created,
    /// The target had something else under the name, now it is right.
    Updated,
    /// Only metadata were set.
    MetadataOnly,
    /// Made a further name of an inode of the target.
    Linked,
    /// `cmp`: the target has something else, or nothing.
    Different,
    /// Passed over on purpose.
    Skipped,
    /// It was gone from the source when its turn came.
    Vanished,
    /// It kept changing while it was read.
    Changed,
    /// Listed with its reason in the fault list.
    Failed,
    /// The run was stopped before its turn came.
    Unfinished,
}

impl Outcome {
    /// All outcomes, in the order of the summary.
    pub const ALL: [Outcome; 11] = [
        Outcome::Same,
        Outcome::Created,
        Outcome::Updated,
        Outcome::MetadataOnly,
        Outcome::Linked,
        Outcome::Different,
        Outcome::Skipped,
        Outcome::Vanished,
        Outcome::Changed,
        Outcome::Failed,
        Outcome::Unfinished,
    ];

    /// The word for it in the summary.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Same => "same",
            Outcome::Created => "created",
            Outcome::Updated => "updated",
            Outcome::MetadataOnly => "metadata_only",
            Outcome::Linked => "linked",
            Outcome::Different => "different",
            Outcome::Skipped => "skipped",
            Outcome::Vanished => "vanished",
            Outcome::Changed => "changed",
            Outcome::Failed => "failed",
            Outcome::Unfinished => "unfinished",
        }
    }
}
