//! What ended two attempts of this run is not touched by a third: it is reported, and the rest goes on.

use super::{Context, Effects};
use crate::fault::{Failure, Side};
use crate::tree::{Kind, Outcome, TreePath};

/// What a fault says of it.
pub const NOTE: &str = "in flight when two attempts died: set aside; pmirror retry RUN does it";

/// The same of what was to be removed.
pub const NOTE_OF_REMOVAL: &str = "in flight when two attempts died: it stays";

/// In place of a system call that failed: none was made.
pub const UNTOUCHED: Failure = Failure { side: Side::Target, operation: "", errno: 0 };

impl Context {
    /// Whether this path was in flight when two attempts died.
    pub fn sets_aside(&self, path: &TreePath) -> bool {
        self.suspects.has_aside(path)
    }
}

/// The name has failed, untouched. It stands in the books already.
pub fn fail(path: TreePath, kind: Kind, effects: &mut Effects) {
    effects.miss(kind, path, Outcome::Failed, Side::Source, NOTE);
}
