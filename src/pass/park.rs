//! Closing the books of an item whose worker hangs: the entry at which it hangs has failed, the rest of
//! the item is released again without it. Pure: no call is made, least of all on what has no answer.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::Effects;
use super::remove::{self, Told};
use crate::counters::{Number, Slot};
use crate::fault::{Fault, Remedy, Side};
use crate::tree::guard::Held;
use crate::tree::listed::Extent;
use crate::tree::names::Listed;
use crate::tree::removal::{DoomedNames, Parts};
use crate::tree::{
    Along, ChunkFate, ChunkNews, ChunkedFile, DirectoryItem, Doomed, Fate, Item, Kept, Kind, LinkGroup, Names, Note,
    Outcome, RemovalNews, TreePath,
};

/// What is said of a parked entry in the fault list.
pub const PARKED: &str = "no answer within --op-timeout: parked";

/// Names of a directory that are parked one by one. The kernel holds a directory's lock while one of its
/// names is made, renamed or removed, so where that hangs the next name will, too.
const NAMES_MAX: usize = 8;

const NOT_LOOKED_AT: &str = "its remaining names were not looked at";

/// Where a worker hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// What it was doing.
    pub operation: &'static str,
    /// The directory.
    pub directory: TreePath,
    /// The name in it; `None`: it is the directory itself.
    pub name: Option<CString>,
    /// The type of the name, as far as the worker told.
    pub kind: Kind,
    /// The tree of its last call.
    pub side: Side,
}

impl Stuck {
    /// The entry.
    pub fn path(&self) -> TreePath {
        self.name.as_ref().map_or_else(|| self.directory.clone(), |name| self.directory.join(name))
    }

    /// Of the directory.
    fn fault_of_rest(&self) -> Fault {
        Fault { path: self.directory.clone(), ..self.fault(NOT_LOOKED_AT) }
    }

    fn fault(&self, note: &'static str) -> Fault {
        let Stuck { operation, side, .. } = *self;
        let remedy = match operation {
            "settle" => Remedy::Itself,
            "remove" | "rmdir" => Remedy::Nothing,
            _ => Remedy::Again,
        };
        let errno = Errno::ETIMEDOUT as i32;
        Fault { path: self.path(), outcome: Outcome::Failed, side, operation, errno, note, remedy, owner: None }
    }
}

/// What closing the books goes by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'r> {
    /// What is to be removed is planned first.
    pub plans: bool,
    /// The subtrees in which nothing is removed, when that is known.
    pub held: Option<&'r Held>,
}

impl Rules<'_> {
    fn holds(&self, path: &TreePath) -> bool {
        self.held.is_some_and(|held| held.has(path))
    }
}

/// What is to enter the rank's state in the place of what the worker would have brought.
pub fn park(item: Item, stuck: &Stuck, rules: Rules<'_>) -> Effects {
    let mut effects = Effects::default();
    effects.count(Number::Parked, 1);
    effects.fault(stuck.fault(PARKED));
    match item {
        Item::Directory(item) => directory(item, stuck, &mut effects),
        Item::Round { directory, round, rounds } => {
            // The name, or what else the round would have found.
            one_failed(stuck.kind, &mut effects);
            if let Some(directory) = without(directory, stuck, &mut effects) {
                effects.items.push(Item::Round { directory, round, rounds });
            }
        }
        Item::Batch { directory, names } => batch(directory, &names, stuck, &mut effects),
        Item::Listed { directory, extent, settles } => listed(directory, extent, settles, stuck, &mut effects),
        Item::Settle { .. } => effects.end(Kind::Directory, Outcome::Failed),
        Item::Resettle(_) => one_failed(Kind::Directory, &mut effects),
        // What only the target has there stays.
        Item::Plan { round: (_, 1), .. } => effects.end(Kind::Directory, Outcome::Failed),
        Item::Plan { .. } => one_failed(stuck.kind, &mut effects),
        Item::Chunks { file, first, count } => chunks(&file, first, count, &mut effects),
        // Its temporary name stays until the next run sweeps it.
        Item::Publish { .. } => effects.end(Kind::File, Outcome::Failed),
        Item::Link(group) => link(group, stuck, &mut effects),
        Item::Again { directory, names } => again(directory, &names, stuck, &mut effects),
        Item::Doom { path, proof, round, parked } => {
            effects.faults.iter_mut().for_each(|fault| fault.remedy = Remedy::Nothing);
            let victim = remove::Victim { path, proof, round, parked };
            doom(victim, stuck, rules, &mut effects);
        }
        Item::Remove { doomed, names } => removal(doomed, names, stuck, rules, &mut effects),
        Item::RemoveDirectory { doomed, along, .. } => {
            effects.remove(Kind::Directory, Fate::Failed);
            effects.remove_all(&along, Fate::Failed);
            if let Some(path) = doomed.waiting_parent() {
                let news = RemovalNews::Child { stays: Some(Kept::HoldsFailed), along: Along::NONE };
                effects.notes.push(Note::Removal { path, news });
            }
        }
    }
    effects
}

/// What no item has brought into the books yet.
fn one_failed(kind: Kind, effects: &mut Effects) {
    effects.count(Number::Listed, 1);
    effects.see(kind);
    effects.end(kind, Outcome::Failed);
}

/// The directory without the name. `None`: it is the directory itself that hangs, or it seems to.
fn without(directory: DirectoryItem, stuck: &Stuck, effects: &mut Effects) -> Option<DirectoryItem> {
    let name = stuck.name.as_deref()?;
    if directory.parked.count() >= NAMES_MAX {
        effects.fault(stuck.fault_of_rest());
        return None;
    }
    let parked = directory.parked.and(Some(name));
    Some(DirectoryItem { parked, ..directory })
}

/// What was found of the directory so far is lost with the attempt, so it is walked again. Where only its
/// own settling hangs that is done in rounds, which leave the directory as it is.
fn directory(item: DirectoryItem, stuck: &Stuck, effects: &mut Effects) {
    if stuck.name.is_some() {
        one_failed(stuck.kind, effects);
    }
    if stuck.name.is_none() && stuck.operation == "settle" {
        // One alone would be held to the bound of a listing. Each of two holds what it finds.
        let directory = DirectoryItem { parked: item.parked.and(None), ..item };
        effects.items.extend((0..2).map(|round| Item::Round { directory: directory.clone(), round, rounds: 2 }));
        return effects.end(Kind::Directory, Outcome::Failed);
    }
    match without(item, stuck, effects) {
        Some(directory) => effects.items.push(Item::Directory(directory)),
        None => effects.end(Kind::Directory, Outcome::Failed),
    }
}

/// The names of a batch are listed, but do not stand in the books as seen.
fn batch(directory: DirectoryItem, names: &Names, stuck: &Stuck, effects: &mut Effects) {
    let split = stuck.name.as_deref().and_then(|name| split(names, name));
    match split.filter(|_| directory.parked.count() < NAMES_MAX) {
        Some((kind, rest)) => {
            effects.see(kind);
            effects.end(kind, Outcome::Failed);
            if let Some(directory) = without(directory, stuck, effects).filter(|_| !rest.is_empty()) {
                effects.items.push(Item::Batch { directory, names: rest });
            }
        }
        None => {
            for (_, listed) in names.iter() {
                let kind = listed.kind.unwrap_or(Kind::Unknown);
                effects.see(kind);
                effects.end(kind, Outcome::Failed);
            }
            effects.fault(stuck.fault_of_rest());
        }
    }
}

/// The type of one of the names, and the others. The attempt may have made any of these on the target.
fn split(names: &Names, name: &CStr) -> Option<(Kind, Names)> {
    let (_, found) = names.iter().find(|(listed, _)| *listed == name)?;
    let mut rest = Names::new();
    for (other, listed) in names.iter().filter(|(listed, _)| *listed != name) {
        rest.push(other, Listed { on_target: true, ..listed });
    }
    Some((found.kind.unwrap_or(Kind::Unknown), rest))
}

fn listed(directory: DirectoryItem, extent: Extent, settles: bool, stuck: &Stuck, effects: &mut Effects) {
    if stuck.name.is_some() || !settles {
        // The name, or what else the list has here.
        one_failed(stuck.kind, effects);
    }
    if stuck.name.is_none() && settles && stuck.operation == "settle" {
        let directory = DirectoryItem { parked: directory.parked.and(None), ..directory };
        effects.items.push(Item::Listed { directory, extent, settles: false });
        return effects.end(Kind::Directory, Outcome::Failed);
    }
    match without(directory, stuck, effects) {
        Some(directory) => effects.items.push(Item::Listed { directory, extent, settles }),
        None if settles => effects.end(Kind::Directory, Outcome::Failed),
        None => {}
    }
}

/// The owner counts the chunks, and must hear of each.
fn chunks(file: &ChunkedFile, first: u32, count: u32, effects: &mut Effects) {
    let ended =
        |chunk| Note::Chunk { file: Box::new(file.clone()), news: ChunkNews::Ended { chunk, fate: ChunkFate::Failed } };
    effects.notes.extend((first..first.saturating_add(count)).map(ended));
}

/// The other names come together without this one. Where it is the one that they would become links of,
/// they share its fate.
fn link(mut group: LinkGroup, stuck: &Stuck, effects: &mut Effects) {
    let (path, told) = (stuck.path(), group.members.len());
    group.members.retain(|member| *member != path);
    if group.members.len() == told {
        group.members.clear();
    }
    for _ in group.members.len()..told {
        effects.end(group.kind, Outcome::Failed);
    }
    if let (Some(other), Some(fault)) = (group.members.first(), effects.faults.last_mut()) {
        fault.remedy = Remedy::LinkOf(other.clone());
    }
    // Groups that claimed the inode wait for the answer even if none of its own names is left.
    if told > 0 && (!group.members.is_empty() || !group.claims.is_empty()) {
        effects.items.push(Item::Link(group));
    }
}

/// These names stand in the books as seen already.
fn again(directory: DirectoryItem, names: &Names, stuck: &Stuck, effects: &mut Effects) {
    match stuck.name.as_deref().and_then(|name| split(names, name)) {
        Some((kind, rest)) => {
            effects.end(kind, Outcome::Failed);
            if !rest.is_empty() {
                effects.items.push(Item::Again { directory, names: rest });
            }
        }
        None => names.iter().for_each(|(_, listed)| effects.end(listed.kind.unwrap_or(Kind::Unknown), Outcome::Failed)),
    }
}

/// A directory that can not be listed stays, with all that it holds. Where names are removed as they are
/// listed, it is listed again without the one that hangs.
fn doom(victim: remove::Victim, stuck: &Stuck, rules: Rules<'_>, effects: &mut Effects) {
    let remove::Victim { path, proof, round: (round, rounds), parked } = victim;
    let name = stuck.name.as_deref();
    if name.is_some() {
        effects.counters.add(Slot::Planned(stuck.kind), 1);
        effects.remove(stuck.kind, Fate::Failed);
    }
    if name.is_some() && parked.count() < NAMES_MAX {
        return effects.items.push(Item::Doom { path, proof, round: (round, rounds), parked: parked.and(name) });
    }
    let (doomed, stays) = (Doomed { path, target: remove::NO_INODE, proof, tries: 0 }, Some(Kept::HoldsFailed));
    let item = if rounds == 1 {
        Item::RemoveDirectory { doomed, stays, along: Along::NONE }
    } else {
        let parts = Parts { rounds, is_first: true, more: 0 };
        Item::Remove { doomed, names: DoomedNames { names: Names::new(), was: Vec::new(), parts, stays } }
    };
    if rules.plans { effects.planned.push(item) } else { effects.items.push(item) }
}

/// Names that the plan has. The directory stays in any case; its owner hears of it with the rest. Where a
/// second name hangs, it is the directory that does (`NAMES_MAX`).
fn removal(doomed: Doomed, list: DoomedNames, stuck: &Stuck, rules: Rules<'_>, effects: &mut Effects) {
    let stays = list.stays.max(Some(Kept::HoldsFailed));
    let is_second = list.stays == stays;
    if stuck.operation == "rmdir" && !is_second {
        // All names are gone, and will be found so.
        return effects.items.push(Item::Remove { doomed, names: DoomedNames { stays, ..list } });
    }
    let split = stuck.name.as_deref().and_then(|name| split(&list.names, name));
    let Some((kind, _)) = split.filter(|(kind, _)| !is_second && *kind != Kind::Directory) else {
        return none_removed(&doomed, &list, rules, effects);
    };
    effects.remove(kind, Fate::Failed);
    let (mut names, mut was) = (Names::new(), Vec::new());
    for (index, (name, listed)) in list.names.iter().enumerate() {
        if Some(name) != stuck.name.as_deref() {
            names.push(name, listed);
            was.extend(list.was.get(index).copied());
        }
    }
    effects.items.push(Item::Remove { doomed, names: DoomedNames { names, was, stays, ..list } });
}

/// The directory itself has no answer. Directories among the names are told of by others.
fn none_removed(doomed: &Doomed, list: &DoomedNames, rules: Rules<'_>, effects: &mut Effects) {
    let mut directories = 0;
    for (name, listed) in list.names.iter() {
        match listed.kind.unwrap_or(Kind::Unknown) {
            Kind::Directory if rules.holds(&doomed.path.join(name)) => effects.remove(Kind::Directory, Fate::Held),
            Kind::Directory => directories += 1,
            kind => effects.remove(kind, Fate::Failed),
        }
    }
    let told = Told { directories, stays: Some(Kept::HoldsFailed), along: Along::NONE };
    remove::tell(doomed, list, told, effects);
}

#[cfg(test)]
mod tests;
