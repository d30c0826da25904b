//! What to do with one item. A pass takes `&self` and a worker's item, and returns what came of it;
//! it knows no rank and no message.

pub mod compare;
pub mod effects;
pub mod link;
mod listing;
pub mod metadata;
pub mod mirror;
pub mod pair;
pub mod settle;
mod share;
pub mod temporary;
pub mod watch;

pub use effects::Effects;
pub use temporary::Temporaries;
pub use watch::Watch;

use crate::fs::roots::Trees;
use crate::tree::Item;
use crate::tree::decide::Policy;
use crate::tree::difference::Comparing;

/// How finely work is cut.
#[derive(Debug, Clone)]
pub struct Grain {
    /// Names of a directory that one item holds at most; a larger listing becomes several batches.
    pub batch_names_max: usize,
    /// Names of a directory that are held in memory at once; a larger one is looked at in rounds.
    pub listing_names_max: usize,
    /// After so long an item ends, and what is left of it can be stolen.
    pub item_time_max: std::time::Duration,
    /// Files that are made durable together, at most.
    pub flush_group_files_max: usize,
    /// Bytes that are made durable together, at most.
    pub flush_group_bytes_max: u64,
}

impl Default for Grain {
    fn default() -> Self {
        Self {
            batch_names_max: 2_048,
            listing_names_max: 262_144,
            item_time_max: std::time::Duration::from_millis(250),
            flush_group_files_max: 32,
            flush_group_bytes_max: 64 << 20,
        }
    }
}

/// What all passes of a run work with: the two trees, and what is to be done with them.
#[derive(Debug)]
pub struct Context {
    /// The two roots.
    pub trees: Trees,
    /// What is kept, and how things are compared.
    pub policy: Policy,
    /// How finely work is cut.
    pub grain: Grain,
    /// Temporary names of this run, and of dead ones.
    pub temporaries: Temporaries,
    /// The trees are only compared, and nothing is written.
    pub comparing: Option<Comparing>,
}

impl Context {
    /// Runs one item.
    pub fn process(&self, item: Item, watch: &Watch) -> Effects {
        let mut effects = Effects::default();
        match item {
            item if self.comparing.is_some() => compare::process(self, item, watch, &mut effects),
            Item::Directory(directory) => mirror::directory(self, directory, watch, &mut effects),
            Item::Round { directory, round, rounds } => {
                mirror::round(self, directory, round, rounds, watch, &mut effects);
            }
            Item::Batch { directory, names } => mirror::batch(self, directory, names, watch, &mut effects),
            Item::Settle { directory, outcome } => settle::later(self, &directory, outcome, watch, &mut effects),
            Item::Link(group) => link::group(self, group, watch, &mut effects),
        }
        watch.end();
        effects
    }
}
