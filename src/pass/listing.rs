//! The names of both sides of a directory, or of a part of a very large one.

use std::ffi::CStr;

use nix::errno::Errno;

use super::mirror::{note, outcome_of};
use super::pair::{Pair, Trouble};
use super::{Context, Effects};
use crate::counters::Number;
use crate::fault::{Failure, Side};
use crate::fs::{Fd, list};
use crate::tree::names::Listed;
use crate::tree::{DirectoryItem, Names, Outcome, join};

/// A part of a directory that is looked at in rounds: names whose hash falls to it.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// This part, from 0.
    pub round: u32,
    /// All parts.
    pub rounds: u32,
}

impl Part {
    /// All of it.
    pub const WHOLE: Part = Part { round: 0, rounds: 1 };

    fn has(self, name: &CStr) -> bool {
        self.rounds == 1
            || xxhash_rust::xxh3::xxh3_64(name.to_bytes()) % u64::from(self.rounds) == u64::from(self.round)
    }
}

/// The names of both sides.
pub struct Listings {
    /// The source's names, in its order.
    pub names: Names,
    /// What the directory's fate is if one was not listed to its end. Names that only the target has
    /// count only if both were.
    pub broken: Option<Outcome>,
    /// Names that only the target has.
    pub target_only: Names,
}

/// A directory too large to be held at once.
pub struct TooMany {
    /// How many the larger side has.
    pub names: usize,
}

/// Lists both sides of a pair and joins them. What this run made is empty: others keep out of 0700,
/// and a name that is there all the same is met when it is to be created.
pub fn both_listings(
    context: &Context,
    pair: &Pair<'_>,
    part: Part,
    effects: &mut Effects,
) -> Result<Listings, TooMany> {
    let target = (!pair.item.made).then_some(&pair.target);
    listings(context, &pair.item, &pair.source, target, part, effects)
}

/// Lists both sides and joins them; without a target every name is the source's alone. Faults of the
/// listing are recorded; what only the target has counts only after two complete listings.
pub fn listings(
    context: &Context,
    item: &DirectoryItem,
    source: &Fd,
    target: Option<&Fd>,
    part: Part,
    effects: &mut Effects,
) -> Result<Listings, TooMany> {
    let names_max = context.grain.listing_names_max;
    let source = listing(source, part, names_max, None);
    let private = item.path.is_root().then_some(crate::fs::private::NAME);
    let target = target.map_or_else(Listing::default, |target| listing(target, part, names_max, private));
    let most = source.count.max(target.count);
    if part.rounds == 1 && most > names_max {
        return Err(TooMany { names: most });
    }
    let mut broken = None;
    for failure in [source.failure, target.failure].into_iter().flatten() {
        let trouble = if is_gone(failure) { Trouble::Vanished } else { Trouble::Failed(failure) };
        broken = broken.max(Some(outcome_of(trouble)));
        note(item, trouble, effects);
    }
    let mut joined = join(&source.names, &target.names);
    if target.failure.is_some() {
        joined.source = with_unknown_twins(&joined.source);
    }
    effects.count(Number::Listed, joined.source.len() as u64);
    if broken.is_none() {
        effects.count(Number::TargetOnly, joined.target_only.len() as u64);
    }
    Ok(Listings { names: joined.source, broken, target_only: joined.target_only })
}

/// getdents(2): ENOENT means that the directory was removed after it was opened.
fn is_gone(failure: Failure) -> bool {
    failure.side == Side::Source && failure.operation == "getdents64" && failure.errno == Errno::ENOENT as i32
}

/// After an incomplete listing of the target each name must be looked up there.
fn with_unknown_twins(names: &Names) -> Names {
    let mut marked = Names::new();
    for (name, listed) in names.iter() {
        marked.push(name, Listed { on_target: true, ..listed });
    }
    marked
}

#[derive(Default)]
struct Listing {
    names: Names,
    /// All names of the part, those beyond the bound too.
    count: usize,
    failure: Option<Failure>,
}

fn listing(directory: &Fd, part: Part, names_max: usize, private: Option<&CStr>) -> Listing {
    let mut listing = Listing::default();
    let visit = |name: &CStr, kind, _inode| {
        if !part.has(name) || private == Some(name) {
            return;
        }
        listing.count += 1;
        if part.rounds > 1 || listing.count <= names_max {
            listing.names.push(name, Listed { kind, on_target: false });
        }
    };
    let failure = list::list(directory, visit).err();
    Listing { failure, ..listing }
}
