//! The names of both sides of a directory, or of a part of a very large one.

use std::ffi::CStr;

use nix::errno::Errno;

use super::chosen::{self, Chosen};
use super::mirror::{note, outcome_of};
use super::pair::{Pair, Trouble};
use super::{Context, Effects};
use crate::counters::Number;
use crate::fault::{Failure, Side};
use crate::fs::{Fd, list};
use crate::tree::names::Listed;
use crate::tree::{DirectoryItem, Join, Names, Outcome};

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

    /// Whether a name falls to it.
    pub fn has(self, name: &CStr) -> bool {
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
    /// Likewise, but the rules leave them out: they are none of our business.
    pub left_out: Names,
    /// Names that both have and the rules leave out, where they are to be removed.
    pub excluded: Names,
}

/// A directory too large to be held at once.
pub struct TooMany {
    /// Parts that can each be held.
    pub rounds: u32,
}

/// Lists both sides of a pair and joins them. What this run made is empty, unless there was a try before:
/// others keep out of 0700, and a name that is there all the same is met when it is to be created.
pub fn both_listings(
    context: &Context,
    pair: &Pair<'_>,
    part: Part,
    effects: &mut Effects,
) -> Result<Listings, TooMany> {
    let is_empty = pair.item.made && !pair.item.parked.is_retry() && !context.resumed;
    let target = (!is_empty && pair.has_target).then_some(&pair.target);
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
    let private = item.path.is_root().then_some(crate::fs::private::NAME);
    // A part that was cut to size is held whatever its size turns out to be.
    let bytes_max = if part.rounds > 1 { usize::MAX } else { context.grain.listing_bytes_max };
    let mut join = Join::default();
    let (mut bytes, mut broken) = (0, None);
    for directory in std::iter::once(source).chain(target) {
        let is_source = directory.side() == Side::Source;
        let visit = |name: &CStr, kind, _inode| {
            if !part.has(name) || !is_source && private == Some(name) || item.parked.has(name) {
                return;
            }
            if join.bytes() > bytes_max {
                bytes += Join::bytes_of(name);
                return;
            }
            let listed = Listed { kind, on_target: false };
            if is_source { join.source(name, listed) } else { join.target(name, listed) }
        };
        if let Err(failure) = list::list(directory, visit) {
            let trouble = if is_gone(failure) { Trouble::Vanished } else { Trouble::Failed(failure) };
            broken = broken.max(Some((outcome_of(trouble), failure.side)));
            note(item, trouble, effects);
        }
    }
    if bytes > 0 {
        // A tenth more than would do, as hashes do not fall evenly.
        let rounds = (join.bytes() + bytes).div_ceil(bytes_max / 10 * 9).max(2);
        return Err(TooMany { rounds: u32::try_from(rounds).unwrap_or(u32::MAX) });
    }
    let mut joined = join.finish();
    // Where names are folded only a listing tells whose an entry is: there a name without one is taken for new.
    if broken.is_some_and(|(_, side)| side == Side::Target) && !context.policy.target.folds_case {
        joined.source = with_unknown_twins(&joined.source);
    }
    effects.count(Number::Listed, joined.source.len() as u64);
    let Chosen { names, target_only, left_out, excluded } =
        chosen::of_listings(context, &item.path, target, joined, effects);
    if broken.is_none() {
        effects.count(Number::TargetOnly, target_only.len() as u64);
    }
    let broken = broken.map(|(outcome, _)| outcome);
    Ok(Listings { names, broken, target_only, left_out, excluded })
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
