//! What every integration test leans on: trees, an independent comparer, and a way to run pmirror.
//!
//! Nothing here uses pmirror's own code, so that a bug of the program cannot hide itself in the test.

#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

pub mod acl;
pub mod batch;
pub mod calls;
pub mod compare;
pub mod crash;
pub mod difference;
pub mod faultfs;
pub mod guest;
pub mod hostile;
pub mod image;
pub mod inject;
pub mod live;
pub mod needs;
pub mod outcome;
pub mod page;
pub mod pair;
pub mod random;
pub mod run;
pub mod snapshot;
pub mod text;
pub mod told;
pub mod tree;
pub mod watch;
pub mod weaken;

pub use compare::{Clamp, assert_no_litter, assert_same, assert_same_links, rsync_finds_no_difference};
pub use faultfs::{FaultFs, Rule};
pub use guest::Guest;
pub use image::Image;
pub use live::while_disturbed;
pub use outcome::Outcome;
pub use pair::Pair;
pub use random::{RandomTree, for_seeds};
pub use run::{NOBODY, Pmirror, Ranks};
pub use snapshot::{Aspect, Snapshot};
pub use text::escaped;
pub use tree::Tree;
