//! What to do with one item. A pass takes `&self` and a worker's item, and returns what came of it;
//! it knows no rank and no message.

mod again;
pub(crate) mod aside;
mod bucket;
mod burst;
pub mod census;
pub mod changes;
mod chosen;
pub mod chunk;
pub mod compare;
pub mod directories;
mod dry;
pub mod effects;
mod frozen;
pub mod health;
pub mod layout;
pub mod limits;
pub mod link;
mod listing;
pub mod metadata;
pub mod mirror;
pub mod pair;
pub mod park;
pub mod plan;
pub(crate) mod policy;
pub mod project;
pub mod remove;
pub mod settle;
mod share;
pub mod temporary;
pub mod watch;

pub use effects::Effects;
pub use health::{Health, NamedRoot};
pub use limits::Limits;
pub use temporary::Temporaries;
pub use watch::{Signs, Watch};

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use self::mirror::listed::Part;
use crate::fs::data::Copying;
use crate::fs::met::Record;
use crate::fs::path_list::PathList;
use crate::fs::roots::Trees;
use crate::tree::decide::Policy;
use crate::tree::difference::Comparing;
use crate::tree::filter::Filter;
use crate::tree::guard::Held;
use crate::tree::suspects::Suspects;
use crate::tree::{Attributes, Doubt, Identity, Item, Time, TreePath};

/// How finely work is cut.
#[derive(Debug, Clone)]
pub struct Grain {
    /// Names of a directory that one item holds at most; a larger listing becomes several batches.
    pub batch_names_max: usize,
    /// Bytes of names that are held for one directory at once; a larger one is looked at in rounds.
    pub listing_bytes_max: usize,
    /// Size of the chunks that a large file is copied in; a file of less than two is copied whole.
    pub chunk_bytes: u64,
    /// After so long an item ends in any case, and what is left of it can be stolen.
    pub item_time_max: std::time::Duration,
    /// After so long it ends if somebody has no work.
    pub item_time_min: std::time::Duration,
    /// Files that are made durable together, at most.
    pub flush_group_files_max: usize,
    /// Bytes that are made durable together, at most.
    pub flush_group_bytes_max: u64,
}

impl Default for Grain {
    fn default() -> Self {
        Self {
            batch_names_max: 2_048,
            listing_bytes_max: 64 << 20,
            chunk_bytes: 64 << 20,
            item_time_max: std::time::Duration::from_secs(1),
            item_time_min: std::time::Duration::from_millis(10),
            flush_group_files_max: 32,
            flush_group_bytes_max: 64 << 20,
        }
    }
}

impl Grain {
    /// Whether a worker has had its item for long enough, and should leave the rest to others.
    pub fn is_enough(&self, started: std::time::Instant, watch: &Watch) -> bool {
        let elapsed = started.elapsed();
        elapsed > self.item_time_max || watch.is_wanted() && elapsed > self.item_time_min
    }
}

/// What all passes of a run work with: the two trees, and what is to be done with them.
#[derive(Debug)]
pub struct Context {
    /// The two roots.
    pub trees: Trees,
    /// What is kept, and how things are compared.
    pub policy: Policy,
    /// What of the source is chosen.
    pub filter: Filter,
    /// `--files-from`: the paths that are to be mirrored, and no others.
    pub list: Option<PathList>,
    /// How finely work is cut.
    pub grain: Grain,
    /// How the content of files is moved.
    pub copying: Copying,
    /// Temporary names of this run, and of dead ones.
    pub temporaries: Temporaries,
    /// What this rank may use a second.
    pub limits: Limits,
    /// What failed calls say of the trees as a whole.
    pub health: Health,
    /// What the walk is for.
    pub purpose: Purpose,
    /// `--final`: the source is frozen. A later ctime was made while we run.
    pub frozen: Option<Time>,
    /// The run goes on from a checkpoint: in a directory that it made something may be already.
    pub resumed: bool,
    /// Runs on this target did not end well: what they wrote then is compared, not believed.
    pub doubt: Option<Doubt>,
    /// Nothing is written: what would be done is only told.
    pub dry_run: bool,
    /// What is changed on the target is listed.
    pub itemizes: bool,
    /// What earlier attempts of this run died over.
    pub suspects: Arc<Suspects>,
    /// `--detect-renames`: what is known of directories that have another name now.
    pub renames: Option<Renames>,
    /// Set if names that only the target has are to be removed: the walk plans that.
    pub planning: Option<Planning>,
    /// What would be removed is renamed into the trash.
    pub trashes: bool,
    /// The trash; set before anything is renamed into it.
    pub trash: OnceLock<remove::Trash>,
    /// The subtrees in which nothing is removed; set when the plan has been judged.
    pub held: OnceLock<Held>,
    /// Target inodes of which a dry run would have taken so many names away; set when the walk is over.
    pub gone: OnceLock<BTreeMap<Identity, u32>>,
}

/// What is done for directories that were renamed on the source.
#[derive(Debug)]
pub struct Renames {
    /// What the last run met, if there is a record of it.
    pub record: Option<Record>,
}

/// What the walk over the trees is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// To make the target a copy of the source.
    Mirror,
    /// To tell in what they differ.
    Compare(Comparing),
    /// To remove what only the target has.
    Remove,
    /// To set the metadata of directories.
    Directories,
    /// To count what the source holds.
    Census,
}

/// How removals are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planning {
    /// The depth of the subtrees whose losses are counted.
    pub hold_depth: u32,
    /// Each name is looked at, for a plan that is written to a file.
    pub looks: bool,
    /// What the patterns leave out goes too.
    pub excluded: bool,
}

impl Context {
    /// Whether the walk comes to every entry that both trees have, and to what dead runs left there.
    pub fn looks_everywhere(&self) -> bool {
        let sweeps = self.purpose == Purpose::Mirror && !self.dry_run;
        sweeps && self.list.is_none() && !self.filter.leaves_out() && !self.policy.one_file_system
    }

    /// Whether the content of this target entry is not believed.
    pub fn doubts(&self, target: &Attributes) -> bool {
        self.doubt.is_some_and(|doubt| doubt.holds(&self.policy, target))
    }

    /// Whether the trees are only compared.
    pub fn compares(&self) -> bool {
        matches!(self.purpose, Purpose::Compare(_))
    }

    /// Whether what is to be removed is planned by a walk of its own: where directories are still renamed by the one that
    /// copies, what only the target has is not known before that is over.
    pub fn plans_apart(&self) -> bool {
        self.planning.is_some() && self.renames.is_some()
    }

    /// Whether a guard holds the removal of what lies there.
    pub fn is_held(&self, path: &TreePath) -> bool {
        self.held.get().is_some_and(|held| held.has(path))
    }

    /// What closing the books of an item goes by.
    pub fn park_rules(&self) -> park::Rules<'_> {
        park::Rules { plans: self.planning.is_some(), held: self.held.get() }
    }

    /// The target inode as the walk left it: a dry run takes no name away, but counts as if it had.
    pub fn without_gone(&self, target: Attributes) -> Attributes {
        let gone = self.gone.get().and_then(|gone| gone.get(&target.identity)).copied().unwrap_or(0);
        Attributes { links: target.links.saturating_sub(gone).max(1), ..target }
    }

    /// Runs one item.
    pub fn process(&self, item: Item, watch: &Watch) -> Effects {
        let (tries, was) = (item.tries(), item.clone());
        again::wait(tries, watch);
        let mut effects = Effects { tries, ..Effects::default() };
        match item {
            Item::Doom { path, proof, round, parked } => {
                remove::doom(self, &remove::Victim { path, proof, round, parked }, watch, &mut effects);
            }
            Item::Remove { doomed, names } => remove::names(self, doomed, names, watch, &mut effects),
            Item::RemoveDirectory { doomed, stays, along } => {
                remove::directory(self, &doomed, stays, along, watch, &mut effects);
            }
            item if self.purpose == Purpose::Census => census::process(self, item, watch, &mut effects),
            item if self.compares() => compare::process(self, item, watch, &mut effects),
            item if self.purpose == Purpose::Remove => plan::process(self, item, watch, &mut effects),
            item if self.purpose == Purpose::Directories => directories::process(self, item, watch, &mut effects),
            Item::Directory(directory) => mirror::directory(self, directory, watch, &mut effects),
            Item::Round { directory, round, rounds } => {
                mirror::round(self, directory, round, rounds, watch, &mut effects);
            }
            Item::Listed { directory, extent, settles } => {
                mirror::listed::listed(self, Part { directory, extent, settles }, watch, &mut effects);
            }
            Item::Batch { directory, names } => mirror::batch(self, directory, names, watch, &mut effects),
            Item::Again { directory, names } => mirror::again(self, &directory, &names, watch, &mut effects),
            Item::Settle { directory, outcome } => settle::later(self, &directory, outcome, watch, &mut effects),
            Item::Resettle(directory) => settle::once_more(self, &directory, watch, &mut effects),
            Item::Plan { directory, round } => plan::after_walk(self, directory, round, watch, &mut effects),
            Item::Chunks { file, first, count } => chunk::chunks(self, file, first, count, watch, &mut effects),
            Item::Publish { file, fate } => chunk::publish(self, &file, fate, watch, &mut effects),
            Item::Link(group) => link::group(self, group, watch, &mut effects),
        }
        if !watch.is_disowned() {
            again::close(self, was, &mut effects);
        }
        watch.end();
        if self.frozen.is_some() {
            effects.harden();
        }
        effects
    }
}
