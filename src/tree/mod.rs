//! What trees are made of, and what is decided about them: pure, without input or output.

pub mod attributes;
pub mod chunk;
pub mod decide;
pub mod difference;
pub mod extras;
pub mod filter;
pub mod guard;
pub mod item;
pub mod itemize;
pub mod join;
pub mod layout;
pub mod listed;
pub mod names;
pub mod outcome;
pub mod parked;
pub mod path;
pub mod pattern;
pub mod project;
pub mod remark;
pub mod removal;
pub mod sample;
pub mod side;
pub mod time;

pub use attributes::{Attributes, Identity, Kind};
pub use chunk::{ChunkFate, ChunkNews, ChunkTask, ChunkedFile};
pub use difference::{Aspect, Aspects, Difference};
pub use extras::Extras;
pub use item::{DirectoryItem, Item, LinkGroup, LinkNote, Note};
pub use join::{Join, Joined};
pub use names::Names;
pub use outcome::Outcome;
pub use parked::Parked;
pub use path::TreePath;
pub use removal::{Doomed, Fate, Kept, Proof, RemovalNews};
pub use side::Side;
pub use time::{Time, TimeLimits};
