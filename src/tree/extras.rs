//! What only some file systems have.

use bincode::{Decode, Encode};

/// What only some file systems have: kept where source and target have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Extras {
    /// Layouts of files, as Lustre has them.
    pub layouts: bool,
    /// Project ids, as quotas count by them.
    pub projects: bool,
}

impl Extras {
    /// Nothing of it.
    pub const NONE: Extras = Extras { layouts: false, projects: false };

    /// What both have.
    pub fn and(self, other: Extras) -> Extras {
        Extras { layouts: self.layouts && other.layouts, projects: self.projects && other.projects }
    }
}
