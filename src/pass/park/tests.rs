//! Whatever item is parked, wherever its worker hangs: the books balance, and nothing else is lost.

use std::ffi::CString;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::tree::item::{Claim, LinkKey, Turn};
use crate::tree::removal::Was;
use crate::tree::{Attributes, ChunkTask, Identity, Parked, Proof, Time};
use crate::wire;

const NOWHERE: Identity = Identity { inode: 7, birth: None };

fn directory_item(path: &str, parked: usize) -> DirectoryItem {
    let parked = (0..parked).fold(Parked::NEVER, |parked, n| parked.and(Some(&name_of(100 + n))));
    DirectoryItem { path: TreePath::from(path.as_bytes()), source: NOWHERE, target: None, mount: 0, made: true, parked }
}

fn name_of(number: usize) -> CString {
    CString::new(format!("name-{number}")).unwrap()
}

fn names_of(kinds: &[Option<Kind>]) -> Names {
    let mut names = Names::new();
    for (number, &kind) in kinds.iter().enumerate() {
        names.push(&name_of(number), Listed { kind, on_target: false });
    }
    names
}

fn chunked() -> ChunkedFile {
    let time = Time::default();
    let source = Attributes {
        kind: Kind::File,
        identity: NOWHERE,
        device: 0,
        links: 1,
        uid: 0,
        gid: 0,
        mode: 0,
        size: 1_000,
        allocated: 0,
        rdev: 0,
        atime: time,
        mtime: time,
        ctime: time,
    };
    let task = ChunkTask::Compare { known_links: 1, may_tell: true };
    ChunkedFile { path: TreePath::from(&b"d/name-0"[..]), source, target: source, chunk_bytes: 100, task, tries: 0 }
}

fn group(members: usize, claims: usize, side: Side) -> LinkGroup {
    let key = LinkKey { side, mount: 0, inode: NOWHERE };
    let directory = TreePath::from(&b"d"[..]);
    LinkGroup {
        key,
        kind: Kind::File,
        links: 9,
        members: (0..members).map(|number| directory.join(&name_of(number))).collect(),
        claims: (0..claims).map(|_| Claim { names: 1, key, kind: Kind::File }).collect(),
        turn: Turn::First,
        leader: None,
        tries: 0,
    }
}

fn was() -> Was {
    let time = Time::default();
    Was { identity: NOWHERE, ctime: time, mtime: time, links: 1, size: 0, uid: 0, gid: 0 }
}

fn doomed() -> Doomed {
    Doomed { path: TreePath::from(&b"d"[..]), target: NOWHERE, proof: Proof::Asked, tries: 0 }
}

fn removal_of(kinds: &[Option<Kind>], looks: bool, stays: Option<Kept>) -> Item {
    let names = names_of(kinds);
    let was = if looks { vec![was(); names.len()] } else { Vec::new() };
    let parts = Parts { rounds: 1, is_first: true, more: 2 };
    Item::Remove { doomed: doomed(), names: DoomedNames { names, was, parts, stays } }
}

fn any_item() -> impl Strategy<Value = Item> {
    let kinds = || {
        let kind = select(vec![None, Some(Kind::File), Some(Kind::Directory), Some(Kind::Symlink)]);
        proptest::collection::vec(kind, 1..12)
    };
    let parked = || 0usize..=NAMES_MAX;
    prop_oneof![
        parked().prop_map(|parked| Item::Directory(directory_item("d", parked))),
        (parked(), 0u32..4)
            .prop_map(|(parked, round)| { Item::Round { directory: directory_item("d", parked), round, rounds: 4 } }),
        (parked(), kinds()).prop_map(|(parked, kinds)| {
            Item::Batch { directory: directory_item("d", parked), names: names_of(&kinds) }
        }),
        (parked(), any::<bool>()).prop_map(|(parked, settles)| {
            Item::Listed { directory: directory_item("d", parked), extent: Extent { start: 1, end: 9 }, settles }
        }),
        Just(Item::Settle { directory: directory_item("d", 0), outcome: Outcome::Created }),
        (0u32..5, 1u32..5).prop_map(|(first, count)| Item::Chunks { file: chunked(), first, count }),
        Just(Item::Publish { file: chunked(), fate: ChunkFate::Right }),
        (0usize..5, 0usize..3, select(vec![Side::Source, Side::Target]))
            .prop_map(|(members, claims, side)| Item::Link(group(members, claims, side))),
        select(vec![None, Some(Kind::File)])
            .prop_map(|kind| { Item::Again { directory: directory_item("d", 0), names: names_of(&[kind]) } }),
        (parked(), 0u32..3).prop_map(|(parked, round)| {
            let DirectoryItem { path, parked, .. } = directory_item("d", parked);
            Item::Doom { path, proof: Proof::Asked, round: (round, 3), parked }
        }),
        (kinds(), any::<bool>(), select(vec![None, Some(Kept::Protected), Some(Kept::HoldsFailed)]))
            .prop_map(|(kinds, looks, stays)| removal_of(&kinds, looks, stays)),
        Just(Item::RemoveDirectory { doomed: doomed(), stays: None, along: Along::NONE }),
    ]
}

fn any_stuck() -> impl Strategy<Value = Stuck> {
    let words = select(vec!["open", "list", "copy", "settle", "remove", "rmdir", "link", "flush"]);
    // Directories settle, and are removed, without a name.
    (words, proptest::option::of(0usize..14), select(vec![Side::Source, Side::Target])).prop_map(
        |(operation, name, side)| {
            let name = name.filter(|_| !matches!(operation, "open" | "list" | "settle" | "rmdir")).map(name_of);
            Stuck { operation, directory: TreePath::from(&b"d"[..]), name, kind: Kind::File, side }
        },
    )
}

/// Names and directories that the plan has and that have no fate yet; directories among names are told of
/// as a number.
fn removals_of(items: &[Item]) -> (u64, u64) {
    let mut owed = (0, 0);
    for item in items {
        match item {
            Item::Remove { names, .. } => {
                let of = |wanted: bool| {
                    let is = |kind: Option<Kind>| (kind == Some(Kind::Directory)) == wanted;
                    names.names.iter().filter(|(_, listed)| is(listed.kind)).count() as u64
                };
                owed = (owed.0 + of(false), owed.1 + of(true));
            }
            Item::RemoveDirectory { .. } => owed.0 += 1,
            _ => {}
        }
    }
    owed
}

fn told_directories(effects: &Effects) -> u64 {
    let told = |note: &Note| match note {
        Note::Removal { news: RemovalNews::Part { directories, .. }, .. } => u64::from(*directories),
        _ => 0,
    };
    effects.notes.iter().map(told).sum()
}

fn entries(items: &[Item]) -> u64 {
    items.iter().map(|item| item.entries().1).sum()
}

fn unlooked(items: &[Item]) -> u64 {
    items.iter().map(Item::names).sum()
}

proptest! {
    #[test]
    fn the_books_balance(item in any_item(), stuck in any_stuck(), plans in any::<bool>()) {
        let before = vec![item.clone()];
        let effects = park(item, &stuck, Rules { plans, held: None });
        let after = [effects.items.clone(), effects.planned.clone()].concat();
        let counters = &effects.counters;
        let ended = counters.ended(Outcome::Failed);
        prop_assert_eq!(entries(&before) + counters.seen(), entries(&after) + ended, "entries: {:?}", after);
        prop_assert_eq!(unlooked(&before) + counters.number(Number::Listed), unlooked(&after) + counters.seen());

        // A directory that was to be listed becomes one to be removed: its parent's names have it.
        let listed = u64::from(matches!(before[0], Item::Doom { round: (_, 1), .. }) && after.iter().any(|item| matches!(item, Item::RemoveDirectory { .. })));
        let (owed, directories) = removals_of(&before);
        let (left, directories_left) = removals_of(&after);
        prop_assert_eq!(owed + listed + counters.planned(), left + counters.removals(Fate::Failed));
        prop_assert_eq!(directories, directories_left + told_directories(&effects));

        prop_assert_eq!(counters.number(Number::Parked), 1);
        prop_assert!(effects.faults.iter().any(|fault| fault.note == PARKED && fault.path == stuck.path()));
        prop_assert_eq!(counters.number(Number::Faults), effects.faults.len() as u64);
        prop_assert!(after.is_empty() || wire::decode_items(&wire::encode(&after)).is_ok());
    }

    #[test]
    fn parking_again_and_again_comes_to_an_end(item in any_item(), stuck in any_stuck()) {
        let mut left = vec![item];
        let mut turns = 0;
        while let Some(item) = left.pop() {
            let effects = park(item, &stuck, Rules::default());
            left.extend(effects.items);
            turns += 1;
            prop_assert!(turns < 100, "still {left:?}");
        }
    }

    #[test]
    fn the_owner_hears_of_each_chunk(first in 0u32..5, count in 1u32..5, stuck in any_stuck()) {
        let effects = park(Item::Chunks { file: chunked(), first, count }, &stuck, Rules::default());
        let chunk = |note: &Note| match note {
            Note::Chunk { news: ChunkNews::Ended { chunk, fate: ChunkFate::Failed }, .. } => Some(*chunk),
            _ => None,
        };
        let told: Vec<u32> = effects.notes.iter().filter_map(chunk).collect();
        prop_assert_eq!(told, (first..first + count).collect::<Vec<_>>());
    }
}

fn stuck_at(number: usize) -> Stuck {
    let directory = TreePath::from(&b"d"[..]);
    Stuck { operation: "copy", directory, name: Some(name_of(number)), kind: Kind::File, side: Side::Source }
}

#[test]
fn the_other_names_of_a_batch_are_looked_up_on_the_target() {
    let names = names_of(&[Some(Kind::File), Some(Kind::Directory), Some(Kind::File)]);
    let batch = Item::Batch { directory: directory_item("d", 0), names };
    let effects = park(batch, &stuck_at(1), Rules::default());
    let [Item::Batch { directory, names }] = effects.items.as_slice() else { panic!("{:?}", effects.items) };
    let left: Vec<_> = names.iter().map(|(name, listed)| (name.to_owned(), listed.on_target)).collect();
    assert_eq!(left, [(name_of(0), true), (name_of(2), true)]);
    assert!(directory.parked.has(&name_of(1)) && directory.made);
    assert_eq!(effects.counters.get(Slot::Ended(Kind::Directory, Outcome::Failed)), 1);
}

#[test]
fn a_directory_that_can_not_be_settled_is_walked_all_the_same() {
    let stuck = Stuck { operation: "settle", name: None, ..stuck_at(0) };
    let effects = park(Item::Directory(directory_item("d", 0)), &stuck, Rules::default());
    assert!(matches!(
        effects.items.as_slice(),
        [Item::Round { round: 0, .. }, Item::Round { round: 1, rounds: 2, .. }]
    ));
    assert_eq!(effects.counters.get(Slot::Ended(Kind::Directory, Outcome::Failed)), 1);
}

#[test]
fn a_directory_in_which_name_after_name_hangs_is_given_up() {
    let mut item = Item::Directory(directory_item("d", 0));
    for number in 0..NAMES_MAX {
        let mut effects = park(item, &stuck_at(number), Rules::default());
        item = effects.items.pop().expect("it is walked again");
    }
    let effects = park(item, &stuck_at(NAMES_MAX), Rules::default());
    assert!(effects.items.is_empty());
    assert!(effects.faults.iter().any(|fault| fault.note == NOT_LOOKED_AT));
}

#[test]
fn names_of_an_inode_come_together_without_the_one_that_hangs() {
    let effects = park(Item::Link(group(3, 0, Side::Source)), &stuck_at(1), Rules::default());
    let [Item::Link(left)] = effects.items.as_slice() else { panic!("{:?}", effects.items) };
    assert_eq!(left.members.len(), 2);
    let leader = park(Item::Link(group(3, 0, Side::Source)), &stuck_at(9), Rules::default());
    assert_eq!((leader.items.len(), leader.counters.ended(Outcome::Failed)), (0, 3), "what they are links of hangs");
}

#[test]
fn the_directory_above_one_that_can_not_be_removed_hears_of_it() {
    let doomed = Doomed { path: TreePath::from(&b"a/b"[..]), ..doomed() };
    let effects =
        park(Item::RemoveDirectory { doomed, stays: None, along: Along::NONE }, &stuck_at(0), Rules::default());
    let news = RemovalNews::Child { stays: Some(Kept::HoldsFailed), along: Along::NONE };
    assert_eq!(effects.notes, [Note::Removal { path: TreePath::from(&b"a"[..]), news }]);
}
