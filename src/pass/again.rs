//! What failed of an item for a reason that may pass becomes a further item, up to a bound of tries; what does
//! not, a fault. The books have each entry once.

use super::policy::{self, Meaning};
use super::{Context, Effects, Purpose, Watch, link};
use crate::counters::{Number, Slot};
use crate::fault::Failure;
use crate::tree::item::Turn;
use crate::tree::names::Listed;
use crate::tree::{Item, Kind, LinkGroup, LinkNote, Names, Note, Outcome, Side, TreePath};

/// An entry at which a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The type under which it stands in the books.
    pub kind: Kind,
    /// The entry.
    pub path: TreePath,
    /// The call.
    pub failure: Failure,
    /// What was counted of the file: its size, and what the source allocates.
    pub measured: Option<(u64, u64)>,
    /// Its owner on the source, where that is known.
    pub owner: Option<u32>,
}

/// Looks at the stop this often while an item waits for its next try.
const SLICE: std::time::Duration = std::time::Duration::from_millis(20);

/// Before a further try at an item: once for all of its names.
pub fn wait(tries: u8, watch: &Watch) {
    let mut left = if tries == 0 { std::time::Duration::ZERO } else { policy::back_off(tries) };
    while !left.is_zero() && !watch.must_stop() {
        let slice = left.min(SLICE);
        std::thread::sleep(slice);
        left -= slice;
    }
}

/// Closes an item: what failed in it goes again, or into the books.
pub fn close(context: &Context, item: Item, effects: &mut Effects) {
    let mut failures = effects.failed.iter().map(|failed| failed.failure).collect::<Vec<_>>();
    failures.extend(effects.released.iter().chain(&effects.trouble).copied());
    if failures.iter().all(|failure| policy::meaning(*failure) != Meaning::TargetFull) && has_written(effects) {
        context.health.hear_success();
    }
    for failure in &failures {
        let is_again = effects.tries > 0;
        effects.stop = effects.stop.take().or_else(|| context.health.hear(&context.trees, *failure, is_again));
    }
    effects.count(Number::Retried, effects.released.len() as u64);
    if goes_as_a_whole(context, &item, effects) {
        return all_again(item, effects);
    }
    if effects.failed.is_empty() {
        return;
    }
    let (again, lost): (Vec<Failed>, Vec<Failed>) =
        std::mem::take(&mut effects.failed).into_iter().partition(|failed| goes_again(effects, failed.failure));
    lost.into_iter().for_each(|failed| effects.give_up(failed));
    effects.count(Number::Retried, again.len() as u64);
    let tries = next_try(effects);
    if let Item::Link(group) = item {
        return members(group, again, tries, effects);
    }
    let left = entries(&item, again, tries, effects);
    effects.counters.take_back(Slot::Number(Number::Retried), left.len() as u64);
    left.into_iter().for_each(|failed| effects.give_up(failed));
}

fn has_written(effects: &Effects) -> bool {
    let made = [Outcome::Created, Outcome::Updated].into_iter().map(|outcome| effects.counters.ended(outcome));
    made.sum::<u64>() > 0 || effects.counters.number(Number::BytesWritten) > 0
}

/// What the run stops for is done by the attempt that goes on, whatever was tried before.
fn goes_again(effects: &Effects, failure: Failure) -> bool {
    let may = !matches!(policy::meaning(failure), Meaning::Entry | Meaning::OverQuota);
    may && effects.stop.is_some() || effects.may_pass(failure)
}

/// A stop is nobody's fault, and counts as no try.
fn next_try(effects: &Effects) -> u8 {
    if effects.stop.is_some() { effects.tries } else { effects.tries.saturating_add(1) }
}

/// Whether all of the item is done again: nothing of it was done, or nothing that it did is seen.
fn goes_as_a_whole(context: &Context, item: &Item, effects: &Effects) -> bool {
    let in_trouble = effects.trouble.is_some_and(|trouble| goes_again(effects, trouble));
    // A walk that plans removals works on no batches.
    let plans = context.purpose == Purpose::Remove || matches!(item, Item::Plan { .. });
    let only_looks = plans || context.compares();
    let of_all = |failed: &Failed| goes_again(effects, failed.failure) && (plans || !has_name(item, &failed.path));
    in_trouble || only_looks && effects.failed.iter().any(of_all)
}

/// Whether the entry is one of the names that a batch of the item's directory can have.
fn has_name(item: &Item, path: &TreePath) -> bool {
    let directory = match item {
        Item::Directory(directory)
        | Item::Round { directory, .. }
        | Item::Batch { directory, .. }
        | Item::Listed { directory, .. } => directory,
        _ => return false,
    };
    path.split_last().is_some_and(|(parent, _)| parent == directory.path)
}

/// All that the try brought is dropped.
fn all_again(item: Item, effects: &mut Effects) {
    let (tries, stop) = (next_try(effects), effects.stop.take());
    *effects = Effects { items: vec![item.after(tries)], stop, ..Effects::default() };
    effects.count(Number::Retried, 1);
}

/// Names become a further batch, and are seen there. Those that earlier items have seen are looked at again. Returns
/// those that can not be.
fn entries(item: &Item, again: Vec<Failed>, tries: u8, effects: &mut Effects) -> Vec<Failed> {
    let (directory, is_seen) = match item {
        Item::Directory(directory)
        | Item::Round { directory, .. }
        | Item::Batch { directory, .. }
        | Item::Listed { directory, .. } => (directory.clone(), false),
        Item::Again { directory, .. } => (directory.clone(), true),
        _ => match effects.home.take() {
            Some(directory) => (directory, true),
            None => return again,
        },
    };
    let (mut names, mut left) = (Names::new(), Vec::new());
    for failed in again {
        let name = failed.path.split_last().filter(|(parent, _)| *parent == directory.path);
        let name = name.and_then(|(_, name)| std::ffi::CString::new(name).ok());
        // A batch would have all of a directory of which only some is listed.
        let has_all = !matches!(item, Item::Listed { .. }) || failed.kind != Kind::Directory;
        let Some(name) = name.filter(|_| has_all) else {
            left.push(failed);
            continue;
        };
        let kind = Some(failed.kind).filter(|kind| *kind != Kind::Unknown);
        names.push(&name, Listed { kind, on_target: true });
        if !is_seen {
            let (size, allocated) = failed.measured.unwrap_or_default();
            effects.counters.take_back(Slot::Seen(failed.kind), 1);
            effects.counters.take_back(Slot::Number(Number::BytesLogical), size);
            effects.counters.take_back(Slot::Number(Number::BytesAllocated), allocated);
        }
    }
    if !names.is_empty() {
        let item = if is_seen { Item::Again { directory, names } } else { Item::Batch { directory, names } };
        effects.items.push(item.after(tries));
    }
    left
}

/// Names of an inode come together with those that are done, or wait with the others for the one that leads.
fn members(group: LinkGroup, again: Vec<Failed>, tries: u8, effects: &mut Effects) {
    let known = effects.leader.iter().chain(&group.leader).cloned();
    let told: Vec<TreePath> = group.members.iter().cloned().chain(known).collect();
    let is_led = |note: &Note| matches!(note, Note::Link(LinkNote::Led { key, .. }) if *key == group.key);
    let members: Vec<TreePath> = again.into_iter().map(|failed| failed.path).collect();
    if effects.notes.iter().any(is_led) {
        link::wait(&group, members.iter(), effects);
    } else if !members.is_empty() {
        // Of a target inode this says that another name keeps it.
        let keeper = if group.key.side == Side::Target { told.first().cloned() } else { group.leader.clone() };
        let leader = effects.leader.take().or(keeper);
        let (turn, claims) = (group.turn.max(Turn::Claimed), Vec::new());
        effects.items.push(Item::Link(LinkGroup { members, turn, claims, leader, tries, ..group }));
    }
    link::name_others(&told, &mut effects.faults);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::item::LinkKey;
    use crate::tree::{DirectoryItem, Identity, Parked};
    use nix::errno::Errno;

    const NOWHERE: Identity = Identity { inode: 7, birth: None };

    fn directory() -> DirectoryItem {
        let path = TreePath::from(&b"d"[..]);
        DirectoryItem { path, source: NOWHERE, target: None, mount: 0, made: true, parked: Parked::NEVER }
    }

    fn failed(path: &str) -> Failed {
        let failure = Failure { side: Side::Source, operation: "pread", errno: Errno::ESTALE as i32 };
        Failed { kind: Kind::File, path: TreePath::from(path.as_bytes()), failure, measured: Some((5, 8)), owner: None }
    }

    /// The names of the only item.
    fn names(effects: &Effects) -> Vec<String> {
        match effects.items.as_slice() {
            [Item::Batch { names, .. } | Item::Again { names, .. }] => {
                names.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
            }
            items => panic!("{items:?}"),
        }
    }

    #[test]
    fn names_that_fail_go_together_and_are_no_longer_seen() {
        let mut effects = Effects::default();
        for _ in 0..3 {
            effects.see(Kind::File);
        }
        effects.count(Number::BytesLogical, 17);
        let left = entries(&Item::Directory(directory()), vec![failed("d/a"), failed("d/b")], 2, &mut effects);
        assert_eq!((left, names(&effects)), (Vec::new(), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((effects.counters.seen(), effects.counters.number(Number::BytesLogical)), (1, 7));
        assert_eq!(effects.items.first().map(Item::tries), Some(2));
    }

    #[test]
    fn names_that_were_seen_by_an_earlier_item_stay_so() {
        let mut list = Names::new();
        list.push(c"a", Listed { kind: Some(Kind::File), on_target: true });
        let mut effects = Effects::default();
        entries(&Item::Again { directory: directory(), names: list }, vec![failed("d/a")], 1, &mut effects);
        assert!(matches!(effects.items.as_slice(), [Item::Again { .. }]));
        assert_eq!(names(&effects), ["a"]);
    }

    #[test]
    fn what_is_in_another_directory_is_left() {
        let mut effects = Effects::default();
        let left = entries(&Item::Directory(directory()), vec![failed("d"), failed("e/a")], 1, &mut effects);
        assert_eq!((left.len(), effects.items.len()), (2, 0));
    }

    #[test]
    fn names_of_an_inode_become_links_of_what_is_done() {
        let key = LinkKey { side: Side::Source, mount: 0, inode: NOWHERE };
        let members = ["a", "b", "c"].map(|path| TreePath::from(path.as_bytes())).to_vec();
        let (claims, turn) = (Vec::new(), Turn::First);
        let group = LinkGroup { key, kind: Kind::File, links: 3, members, claims, turn, leader: None, tries: 0 };
        let leader = Some(TreePath::from(&b"b"[..]));
        let mut effects = Effects { leader: leader.clone(), ..Effects::default() };
        super::members(group, vec![failed("c")], 1, &mut effects);
        let [Item::Link(again)] = effects.items.as_slice() else { panic!("{:?}", effects.items) };
        assert_eq!((again.members.as_slice(), &again.leader), (&[TreePath::from(&b"c"[..])][..], &leader));
        assert_eq!((again.tries, again.turn), (1, Turn::Claimed));
    }
}
