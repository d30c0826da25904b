//! What trees are made of, and what is decided about them: pure, without input or output.

pub mod attributes;
pub mod decide;
pub mod difference;
pub mod item;
pub mod itemize;
pub mod names;
pub mod outcome;
pub mod path;
pub mod sample;
pub mod side;
pub mod time;

pub use attributes::{Attributes, Identity, Kind};
pub use difference::{Aspect, Aspects, Difference};
pub use item::{DirectoryItem, Item, LinkGroup, LinkMember, Note};
pub use names::{Names, join};
pub use outcome::Outcome;
pub use path::TreePath;
pub use side::Side;
pub use time::{Time, TimeLimits};
