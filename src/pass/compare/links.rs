//! Hard links: the names of one source inode must be the names of one target inode, and no others.
//!
//! Judged group by group when the walk is over. A group of a source inode knows whether its names share
//! one target inode; whether that has further names in the tree only its own group can know. So source
//! inodes have the first turn, and where the target inode has more names than the group, the group's
//! names go on to the target inode's group. That holds all names in question when it has its turn: the
//! walk told it of those whose source has no other name.

use std::collections::BTreeMap;
use std::ffi::CString;

use super::judge::{self, Found, Judged, Spot, Subject};
use super::sides::Place;
use super::{Look, entry};
use crate::counters::Number;
use crate::fault::{Failure, Side};
use crate::fs::attributes;
use crate::pass::mirror::trouble_of_name;
use crate::tree::item::{LinkKey, Turn};
use crate::tree::{Aspect, Attributes, Identity, Kind, LinkGroup, LinkNote, Note, Outcome, Time, TreePath};

/// A name of the group, as it is now.
struct Member {
    path: TreePath,
    source: Attributes,
    target: Attributes,
}

/// Judges a group, or passes it on.
pub fn group(look: &mut Look<'_>, group: LinkGroup) {
    let LinkGroup { key, kind, links, mut members, .. } = group;
    let told = members.len();
    members.sort();
    members.dedup();
    for _ in members.len()..told {
        // Told twice, so it stands in the books twice.
        look.effects.end(kind, Outcome::Same);
    }
    match key.side {
        Side::Source => {
            look.effects.count(Number::LinkGroups, 1);
            look.effects.count(Number::LinkGroupsOutside, u64::from(links as usize > members.len()));
            of_source_inode(look, key, kind, members);
        }
        Side::Target => of_target_inode(look, key, kind, members),
    }
}

/// Its names should be names of one target inode; the one that has most of them is taken for it.
fn of_source_inode(look: &mut Look<'_>, key: LinkKey, kind: Kind, members: Vec<TreePath>) {
    let members = look_at(look, members, kind, |member| member.source.identity == key.inode);
    let inode_of = |member: &Member| member.target.identity;
    let Some((leader, names)) = most_frequent(&members, inode_of) else { return };
    let (right, wrong): (Vec<&Member>, Vec<&Member>) = members.iter().partition(|member| inode_of(member) == leader);
    let leader_path = right.first().map(|member| member.path.clone());
    if right.first().is_some_and(|member| member.target.links as usize > names) {
        for member in &right {
            pass_on(look, kind, member);
        }
    } else {
        judge_all(look, kind, &right, |_| None);
    }
    judge_all(look, kind, &wrong, |_| Some(leader_path.clone()));
}

/// The names have an inode of the target in common: they should be names of one source inode.
fn of_target_inode(look: &mut Look<'_>, key: LinkKey, kind: Kind, members: Vec<TreePath>) {
    let members = look_at(look, members, kind, |member| member.target.identity == key.inode);
    let inode_of = |member: &Member| member.source.identity;
    let Some((leader, _)) = most_frequent(&members, inode_of) else { return };
    let all: Vec<&Member> = members.iter().collect();
    judge_all(look, kind, &all, |member| (inode_of(member) != leader).then_some(None));
}

/// The inode with most of the names, the first in order of those; and how many names it has.
fn most_frequent(members: &[Member], inode_of: impl Fn(&Member) -> Identity) -> Option<(Identity, usize)> {
    let mut names_of: BTreeMap<Identity, (usize, usize)> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        names_of.entry(inode_of(member)).or_insert((0, index)).0 += 1;
    }
    let most = names_of.into_iter().max_by_key(|(_, (names, first))| (*names, usize::MAX - first));
    most.map(|(inode, (names, _))| (inode, names))
}

fn pass_on(look: &mut Look<'_>, kind: Kind, member: &Member) {
    let key = LinkKey { side: Side::Target, mount: 0, inode: member.target.identity };
    tell(look, key, kind, member.target.links, member.path.clone());
}

/// Tells the owner of an inode of a name that it is to judge.
pub fn tell(look: &mut Look<'_>, key: LinkKey, kind: Kind, links: u32, path: TreePath) {
    look.effects.notes.push(Note::Link(LinkNote::Name { key, kind, links, path, turn: Turn::First }));
}

/// Looks at all names on both sides. The fate of those that are no longer what the walk saw is settled.
fn look_at(look: &mut Look<'_>, members: Vec<TreePath>, kind: Kind, is_meant: impl Fn(&Member) -> bool) -> Vec<Member> {
    let mut looked = Vec::with_capacity(members.len());
    for path in members {
        look.watch.begin_name("compare", &path);
        let Some((directory, name)) = parts(&path) else { continue };
        let place = match Place::open(look.context, &directory) {
            Ok(place) => place,
            Err(trouble) => {
                trouble_of_name(path, kind, trouble, look.effects);
                continue;
            }
        };
        let pair = attributes::of_name(&place.source, &name)
            .and_then(|source| Ok((source, attributes::of_name(&place.target, &name)?)));
        match pair {
            Ok((source, target)) => {
                let member = Member { path, source, target };
                if is_meant(&member) && source.kind == target.kind {
                    looked.push(member);
                } else {
                    let note = "another inode has the name now";
                    look.effects.miss(kind, member.path, Outcome::Changed, Side::Source, note);
                }
            }
            Err(failure) => look.failed(kind, &path, failure),
        }
    }
    looked
}

fn parts(path: &TreePath) -> Option<(TreePath, CString)> {
    let (directory, name) = path.split_last()?;
    Some((directory, CString::new(name).ok()?))
}

/// What tells a pair of inodes from others. Servers that give an inode's number twice have been seen, so
/// its size and time count, too.
type Inodes = [(Identity, u64, Time); 2];

fn inodes(member: &Member) -> Inodes {
    [&member.source, &member.target].map(|of| (of.identity, of.size, of.mtime))
}

/// Judges names. Two names of the same two inodes agree in all but their links, so each such pair of
/// inodes is compared once. `parted` tells whether the links of a name are wrong, and of which name it
/// should be one.
fn judge_all(
    look: &mut Look<'_>,
    kind: Kind,
    members: &[&Member],
    parted: impl Fn(&Member) -> Option<Option<TreePath>>,
) {
    let mut known: BTreeMap<Inodes, Result<Found, Outcome>> = BTreeMap::new();
    for member in members {
        let inodes = inodes(member);
        let found = match known.get(&inodes) {
            Some(Ok(found)) => *found,
            Some(Err(outcome)) => {
                let note = "another name of the same inode could not be compared";
                look.effects.miss(kind, member.path.clone(), *outcome, Side::Source, note);
                continue;
            }
            None => match compare(look, member) {
                Ok(Judged::Found(found, _)) => {
                    found.count(look.effects);
                    known.insert(inodes, Ok(found));
                    found
                }
                result => {
                    look.conclude(kind, &member.path, result);
                    known.insert(inodes, Err(look.effects.last.unwrap_or(Outcome::Failed)));
                    continue;
                }
            },
        };
        let mut aspects = found.aspects;
        let leader = parted(member);
        aspects.add_if(leader.is_some(), Aspect::Links);
        let subject = Subject { kind, path: &member.path, leader: leader.flatten() };
        look.found(subject, aspects, (member.source, member.target));
    }
}

fn compare(look: &mut Look<'_>, member: &Member) -> Result<Judged, Failure> {
    look.watch.begin_name("compare", &member.path);
    let gone = Failure { side: Side::Source, operation: "openat", errno: nix::errno::Errno::ENOENT as i32 };
    let (directory, name) = parts(&member.path).ok_or(gone)?;
    let place = Place::open(look.context, &directory).map_err(|trouble| entry::failure_of(trouble, gone))?;
    let spot = Spot { source: &place.source, target: &place.target, name: &name, path: &member.path, content: None };
    judge::name(look, &spot, (member.source, member.target))
}
