//! Hard links: the names of one source inode become names of one target inode, and those of several
//! source inodes become those of several. All are looked at again at one moment, when the walk is over.

mod part;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::again::Failed;
use super::changes::{self, Subject};
use super::mirror::alias::{self, Twin};
use super::mirror::entry::{self, Entry};
use super::mirror::file;
use super::mirror::place::{Place, put_in_place};
use super::mirror::{Work, trouble_of_name};
use super::pair::Pair;
use super::{Context, Effects, Watch, aside, dry};
use crate::counters::Number;
use crate::fault::{Failure, Fault, Remedy, Side};
use crate::fs::{Fd, attributes, names, open};
use crate::tree::decide::{Action, Known, Skip, decide};
use crate::tree::item::{Claim, LinkKey, Turn};
use crate::tree::{
    Aspect, Aspects, Attributes, Identity, Item, Kind, LinkGroup, LinkNote, Note, Outcome, Time, TreePath,
};

/// A name of the group, as it is now.
struct Member {
    path: TreePath,
    source: Attributes,
    target: Option<Attributes>,
    same_text: bool,
}

/// Settles a group, or has it wait for the answer to its claim.
pub fn group(context: &Context, group: LinkGroup, watch: &Watch, effects: &mut Effects) {
    let members: Vec<TreePath> = group.members.iter().chain(&group.leader).cloned().collect();
    one_turn(context, group, watch, effects);
    name_others(&members, &mut effects.faults);
}

/// A name that failed is to be done again together with one that did not, or else it would become an inode
/// of its own.
pub fn name_others(members: &[TreePath], faults: &mut [Fault]) {
    let failed: BTreeSet<TreePath> = faults.iter().map(|fault| fault.path.clone()).collect();
    let done = members.iter().find(|path| !failed.contains(path));
    for fault in faults {
        let other = done.or_else(|| members.iter().find(|path| **path != fault.path));
        if let Some(other) = other {
            fault.remedy = Remedy::LinkOf(other.clone());
        }
    }
}

fn one_turn(context: &Context, mut group: LinkGroup, watch: &Watch, effects: &mut Effects) {
    let told = group.members.len();
    group.members.sort();
    group.members.dedup();
    for _ in group.members.len()..told {
        // Told twice, so it stands in the books twice.
        effects.end(group.kind, Outcome::Same);
    }
    if group.key.side == Side::Target {
        return part::judge(context, group, watch, effects);
    }
    if watch.must_stop() {
        return effects.items.push(Item::Link(group));
    }
    if group.turn == Turn::First {
        effects.count(Number::LinkGroups, 1);
        effects.count(Number::LinkGroupsOutside, u64::from(group.links as usize > group.members.len()));
    }
    let kind = group.kind;
    let paths = std::mem::take(&mut group.members);
    let mut looked = look_at_all(context, &group, paths, watch, effects);
    if is_put_off(effects) {
        return;
    }
    if !are_alike(&looked) {
        let paths = looked.iter().map(|member| member.path.clone()).collect();
        let again = look_at_all(context, &group, paths, watch, effects);
        if is_put_off(effects) {
            return;
        }
        if !are_alike(&again) && !is_being_written(&looked, &again) {
            return copy_apart(context, &again, kind, watch, effects);
        }
        looked = again;
    }
    if let Some(path) = group.leader.take() {
        return follow(context, &group, path, looked, watch, effects);
    }
    let is_newer = |member: &Member| action(context, member, 1) == Action::Skip(Skip::Newer);
    if looked.iter().any(is_newer) {
        // `-u`: one inode, one fate.
        return looked.iter().for_each(|_| effects.skip(kind, Skip::Newer));
    }
    let choice = choose_leader(context, &looked, group.turn);
    match choice.shared {
        Some(target) if group.turn == Turn::First => claim(&group, looked, target, choice.known_links, effects),
        _ => settle(context, &group, looked, &choice, watch, effects),
    }
}

/// A name could not be looked at, and may be later: all wait for it, as they have one fate.
fn is_put_off(effects: &mut Effects) -> bool {
    effects.trouble = effects.failed.iter().map(|failed| failed.failure).find(|failure| effects.may_pass(*failure));
    effects.trouble.is_some()
}

/// The target inode has names that are not the group's: only its owner can tell whose they are.
fn claim(group: &LinkGroup, members: Vec<Member>, inode: Identity, names: u32, effects: &mut Effects) {
    let (key, kind) = (group.key, group.kind);
    let target = LinkKey { side: Side::Target, mount: 0, inode };
    effects.notes.push(Note::Link(LinkNote::Claim { key: target, kind, claim: Claim { names, key, kind } }));
    wait(group, members.iter().map(|member| &member.path), effects);
}

/// The names have a later turn.
pub fn wait<'m>(group: &LinkGroup, names: impl Iterator<Item = &'m TreePath>, effects: &mut Effects) {
    let LinkGroup { key, kind, links, turn, .. } = *group;
    let turn = turn.max(Turn::Claimed);
    let name = |path: &TreePath| Note::Link(LinkNote::Name { key, kind, links, path: path.clone(), turn });
    effects.notes.extend(names.map(name));
}

fn look_at_all(
    context: &Context,
    group: &LinkGroup,
    paths: Vec<TreePath>,
    watch: &Watch,
    effects: &mut Effects,
) -> Vec<Member> {
    let one = |path| {
        watch.begin_name("link", &path);
        context.limits.entry(watch);
        look(context, path, Some(group.key.inode), group.kind, effects)
    };
    paths.into_iter().filter_map(one).collect()
}

/// One inode has one size and one modification time. Servers that give a number twice have been seen.
fn are_alike(members: &[Member]) -> bool {
    members.windows(2).all(|pair| matches!(pair, [a, b] if content(a) == content(b)))
}

fn content(member: &Member) -> (Kind, u64, Time) {
    (member.source.kind, member.source.size, member.source.mtime)
}

/// An inode that is being written looks different from one moment to the next, under the same name.
fn is_being_written(before: &[Member], now: &[Member]) -> bool {
    let before: BTreeMap<&TreePath, _> = before.iter().map(|member| (&member.path, content(member))).collect();
    now.iter().any(|member| before.get(&member.path).is_some_and(|before| *before != content(member)))
}

fn parts(path: &TreePath) -> Option<(TreePath, CString)> {
    let (parent, name) = path.split_last()?;
    Some((parent, CString::new(name).ok()?))
}

/// Looks at a name on both sides. `None`: its fate is settled, as it is gone or another inode now.
fn look(
    context: &Context,
    path: TreePath,
    wanted: Option<Identity>,
    kind: Kind,
    effects: &mut Effects,
) -> Option<Member> {
    if context.sets_aside(&path) {
        aside::fail(path, kind, effects);
        return None;
    }
    let (parent, name) = parts(&path)?;
    let pair = match Pair::open_any(context, parent) {
        Ok(pair) => pair,
        Err(trouble) => {
            trouble_of_name(path, kind, trouble, effects);
            return None;
        }
    };
    match both_sides(context, &pair, &name, path.clone()) {
        Ok(Some(member)) if wanted.is_none_or(|wanted| wanted == member.source.identity) => Some(member),
        Ok(Some(_)) => {
            effects.miss(kind, path, Outcome::Changed, Side::Source, "the name is another inode's now");
            None
        }
        Ok(None) => {
            effects.miss(kind, path, Outcome::Vanished, Side::Source, "");
            None
        }
        Err(failure) => {
            effects.fail(kind, path, failure);
            None
        }
    }
}

fn both_sides(context: &Context, pair: &Pair<'_>, name: &CStr, path: TreePath) -> Result<Option<Member>, Failure> {
    let Some(source) = found(attributes::of_name(&pair.source, name))? else {
        return Ok(None);
    };
    let target = if pair.has_target { found(attributes::of_name(&pair.target, name))? } else { None };
    if target.is_some() && alias::is_another(context, pair, name, Twin::Perhaps)? {
        return Err(Failure { side: Side::Target, operation: "statx", errno: Errno::EEXIST as i32 });
    }
    let target = target.map(|target| context.without_gone(target));
    // In a dry run a directory in the way is still there after its removal.
    let is_removed = context.dry_run && context.planning.is_some() && !context.is_held(&path);
    let target = target.filter(|target| !is_removed || target.kind != Kind::Directory);
    let links = source.kind == Kind::Symlink && target.is_some_and(|target| target.kind == Kind::Symlink);
    let same_text = links && names::read_symlink(&pair.source, name)? == names::read_symlink(&pair.target, name)?;
    Ok(Some(Member { path, source, target, same_text }))
}

fn found(looked: Result<Attributes, Failure>) -> Result<Option<Attributes>, Failure> {
    match looked {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(None),
        result => result.map(Some),
    }
}

/// Brings the names together: one that is right is the leader, else the first that can be copied; the
/// others become links of it.
fn settle(
    context: &Context,
    group: &LinkGroup,
    mut members: Vec<Member>,
    choice: &Choice,
    watch: &Watch,
    effects: &mut Effects,
) {
    members.get_mut(..=choice.first).into_iter().for_each(|until| until.rotate_right(1));
    bring_together(context, group, &members, choice.known_links, None, watch, effects);
}

/// The leader is a large file that was copied in chunks since the last turn.
fn follow(
    context: &Context,
    group: &LinkGroup,
    path: TreePath,
    members: Vec<Member>,
    watch: &Watch,
    effects: &mut Effects,
) {
    // Its own fate is in the books already.
    let mut books = Effects::default();
    let leader = look(context, path, Some(group.key.inode), group.kind, &mut books);
    let members_failed = effects.failed.len();
    effects.failed.append(&mut books.failed);
    if is_put_off(effects) {
        return;
    }
    effects.failed.truncate(members_failed);
    let leader = leader.filter(|leader| is_right(action(context, leader, u32::MAX)));
    match leader.and_then(|leader| Some((leader.target?.identity, leader.path))) {
        Some((inode, path)) => bring_together(context, group, &members, 1, Some((inode, &path)), watch, effects),
        None => members.iter().for_each(|member| share_fate(member, group.kind, effects)),
    }
}

/// `known_links`: so many names of the first member's target inode are ours.
fn bring_together<'m>(
    context: &Context,
    group: &LinkGroup,
    members: &'m [Member],
    known_links: u32,
    mut leader: Option<(Identity, &'m TreePath)>,
    watch: &Watch,
    effects: &mut Effects,
) {
    let (kind, parts) = (group.kind, group.turn == Turn::Parts);
    let mut source_failed = false;
    for (turn, member) in members.iter().enumerate() {
        effects.leader = leader.map(|(_, path)| path.clone());
        if watch.must_stop() {
            let rest = members.get(turn..).unwrap_or_default();
            return match leader {
                Some((_, path)) => led(group, path, rest, effects),
                None => release(group, rest, effects),
            };
        }
        let mut how = How { known_links: if turn == 0 { known_links } else { 1 }, parts };
        if let Some((inode, path)) = leader {
            if member.target.is_some_and(|target| target.identity == inode) {
                effects.end(kind, Outcome::Same);
                continue;
            }
            watch.begin_name("link", &member.path);
            let aspects = aspects(context, member, kind);
            match link(context, path, inode, member) {
                Ok(true) => {
                    effects.end(kind, Outcome::Linked);
                    changes::list_link(context, effects, member.source.kind, aspects, (&member.path, path));
                }
                Ok(false) => conflict(member, kind, effects),
                Err(failure) if can_not_link(failure) => {
                    // The file system wants no further link of this inode: the next ones link to a copy.
                    effects.count(Number::LinkGroupsSplit, 1);
                    leader = None;
                    how.known_links = 1;
                }
                Err(failure) => effects.fail(kind, member.path.clone(), failure),
            }
            if leader.is_some() {
                continue;
            }
        }
        if source_failed {
            share_fate(member, kind, effects);
            continue;
        }
        match lead(context, member, kind, how, watch, effects) {
            Made::Right(inode) => leader = Some((inode, &member.path)),
            Made::InChunks => {
                let rest = members.get(turn + 1..).unwrap_or_default();
                return led(group, &member.path, rest, effects);
            }
            // What could not be read will not be read under another name; a place that could not be
            // taken says nothing of other places.
            Made::Not => source_failed = effects.blamed() != Some(Side::Target),
        }
    }
    effects.leader = leader.map(|(_, path)| path.clone());
}

/// The run stops: who goes on with it brings the names together.
fn release(group: &LinkGroup, rest: &[Member], effects: &mut Effects) {
    let members = rest.iter().map(|member| member.path.clone()).collect();
    effects.items.push(Item::Link(LinkGroup { members, ..group.clone() }));
}

/// The name leads, as it is there or is copied in chunks: the others wait for a later turn to be its links.
fn led(group: &LinkGroup, path: &TreePath, rest: &[Member], effects: &mut Effects) {
    if !rest.is_empty() {
        let LinkGroup { key, kind, .. } = *group;
        effects.notes.push(Note::Link(LinkNote::Led { key, kind, path: path.clone() }));
        wait(group, rest.iter().map(|member| &member.path), effects);
    }
}

/// EMLINK: an inode has its most names. EXDEV: another project or mount. EPERM: a file system
/// without hard links (link(2)).
fn can_not_link(failure: Failure) -> bool {
    failure.operation == "linkat"
        && matches!(Errno::from_raw(failure.errno), Errno::EMLINK | Errno::EXDEV | Errno::EPERM | Errno::EOPNOTSUPP)
}

/// Whose target inode the group gets.
struct Choice {
    /// The member that leads.
    first: usize,
    /// So many names of its target inode are ours.
    known_links: u32,
    /// That inode, if it has other names too.
    shared: Option<Identity>,
}

/// The member whose target inode is right already: best one that has no other names than ours, then
/// the one with the most of ours. If there is none, the first.
fn choose_leader(context: &Context, members: &[Member], turn: Turn) -> Choice {
    let mut names_of: BTreeMap<Identity, (u32, usize)> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        if let Some(target) = member.target.filter(|target| target.kind != Kind::Directory) {
            names_of.entry(target.identity).or_insert((0, index)).0 += 1;
        }
    }
    let right = |(names, first): (u32, usize)| {
        let member = members.get(first)?;
        let target = member.target?;
        let is_shared = target.links > names;
        let is_right = is_right(action(context, member, names)) && !(is_shared && turn == Turn::Parts);
        is_right.then(|| Choice { first, known_links: names, shared: is_shared.then_some(target.identity) })
    };
    let best = names_of.into_values().filter_map(right);
    let best = best.max_by_key(|choice| (choice.shared.is_none(), choice.known_links, usize::MAX - choice.first));
    best.unwrap_or(Choice { first: 0, known_links: 1, shared: None })
}

/// What the table says of a name, of whose target inode so many names are ours.
fn action(context: &Context, member: &Member, links: u32) -> Action {
    let known = Known { same_text: member.same_text, links, ..Known::LITTLE };
    decide(&context.policy, &member.source, member.target.as_ref(), known)
}

fn is_right(action: Action) -> bool {
    matches!(action, Action::Keep | Action::LookAtContent | Action::Repair(_))
}

/// How a leader is made right.
#[derive(Clone, Copy)]
struct How {
    /// So many names of its target inode are ours.
    known_links: u32,
    /// The group is to leave an inode that has further names.
    parts: bool,
}

/// What became of a name that was to be made right.
enum Made {
    /// It is; its target inode.
    Right(Identity),
    /// A large file, which others copy in chunks now.
    InChunks,
    /// It failed, or was skipped.
    Not,
}

/// Makes the leader right.
fn lead(context: &Context, member: &Member, kind: Kind, how: How, watch: &Watch, effects: &mut Effects) -> Made {
    make(context, member, kind, watch, effects, |work, entry| {
        work.known_links = how.known_links;
        match &member.target {
            Some(target) if how.parts && target.kind != Kind::Directory && target.links > how.known_links => {
                entry::part(work, entry, &member.source, target)
            }
            target => entry::act(work, entry, &member.source, target.as_ref()),
        }
    })
}

/// Opens the directories of a name and has it made.
fn make(
    context: &Context,
    member: &Member,
    kind: Kind,
    watch: &Watch,
    effects: &mut Effects,
    hands: impl FnOnce(&mut Work<'_>, &Entry<'_>) -> Result<(), Failure>,
) -> Made {
    let Some((parent, name)) = parts(&member.path) else {
        return Made::Not;
    };
    watch.begin_name("copy", &member.path);
    let pair = match Pair::open_any(context, parent) {
        Ok(pair) => pair,
        Err(trouble) => {
            trouble_of_name(member.path.clone(), kind, trouble, effects);
            return Made::Not;
        }
    };
    let entry = Entry { name: &name, kind };
    let mut work = Work::new(context, &pair, watch, effects);
    work.may_tell = false;
    if let Err(failure) = hands(&mut work, &entry) {
        entry::failed(&mut work, &entry, failure);
    }
    file::finish_group(&mut work);
    if !work.chunks.is_empty() {
        let chunks = work.chunks;
        effects.items.extend(chunks);
        return Made::InChunks;
    }
    let is_right =
        matches!(effects.last, Some(Outcome::Same | Outcome::Created | Outcome::Updated | Outcome::MetadataOnly));
    if context.dry_run && matches!(effects.last, Some(Outcome::Created | Outcome::Updated)) {
        return Made::Right(dry::NEW);
    }
    let found = if is_right { attributes::of_name(&pair.target, &name).ok() } else { None };
    found.map_or(Made::Not, |found| Made::Right(found.identity))
}

/// The leader was not copied, so there is nothing to link to.
fn share_fate(member: &Member, kind: Kind, effects: &mut Effects) {
    if let Some(failed) = effects.failed.last().cloned() {
        return effects.failed.push(Failed { path: member.path.clone(), ..failed });
    }
    let outcome = effects.last.filter(|outcome| *outcome == Outcome::Changed).unwrap_or(Outcome::Failed);
    let note = "another name of the same inode was not copied";
    effects.miss(kind, member.path.clone(), outcome, Side::Source, note);
}

fn conflict(member: &Member, kind: Kind, effects: &mut Effects) {
    effects.miss(kind, member.path.clone(), Outcome::Failed, Side::Target, entry::CONFLICT);
}

/// In what a name differs that becomes a link, before it does.
fn aspects(context: &Context, member: &Member, kind: Kind) -> Aspects {
    let mut found = Aspects::from(Aspect::Links);
    if !context.itemizes {
        return found;
    }
    let Some(target) = &member.target else {
        found.add(Aspect::SourceOnly);
        return found;
    };
    let (source, same_text) = (&member.source, member.same_text);
    let opened = parts(&member.path).and_then(|(parent, name)| Some((Pair::open_any(context, parent).ok()?, name)));
    // What can not be opened will not be linked either.
    if let Some((pair, name)) = opened {
        let subject = Subject { entry: &Entry { name: &name, kind }, source, target, same_text };
        changes::of_name(context, &pair, &subject).iter().for_each(|aspect| found.add(aspect));
    }
    found
}

/// Gives the leader's inode the name of `member`. False: a directory that is not empty is there.
fn link(context: &Context, leader: &TreePath, inode: Identity, member: &Member) -> Result<bool, Failure> {
    let lost = Failure { side: Side::Target, operation: "openat", errno: Errno::ESTALE as i32 };
    let (parent, name) = parts(&member.path).ok_or(lost)?;
    let pair = Pair::open_any(context, parent).map_err(|_| lost)?;
    if context.dry_run {
        dry::may_change(context, &pair)?;
        member.target.map_or(Ok(()), |target| dry::may_replace(context, &pair, &target))?;
        let is_directory = member.target.is_some_and(|target| target.kind == Kind::Directory);
        return if is_directory { entry::directory_is_empty(&pair, &name) } else { Ok(true) };
    }
    let leader = open_leader(context, leader, inode)?.ok_or(lost)?;
    pair.prepare_for_change()?;
    let place = match member.target {
        None => return names::link(&leader, &pair.target, &name).map(|()| true),
        Some(target) if target.kind == Kind::Directory => {
            if !entry::directory_is_empty(&pair, &name)? {
                return Ok(false);
            }
            Place::over_directory(context)
        }
        Some(_) => Place::over(context),
    };
    names::link(&leader, &pair.target, place.name(&name))?;
    put_in_place(&pair, &place, &name).inspect_err(|_| {
        pair.take_away(place.name(&name));
    })
}

/// The leader's inode on the target, if its name still has it.
fn open_leader(context: &Context, leader: &TreePath, inode: Identity) -> Result<Option<Fd>, Failure> {
    let Some((parent, name)) = parts(leader) else {
        return Ok(None);
    };
    let parent = open::directory_below(&context.trees.target, &parent)?;
    let found = open::entry(&parent, &name)?;
    let is_it = attributes::of_fd(&found)?.identity == inode;
    Ok(is_it.then_some(found))
}

/// Names that only seem to be one inode's are copied each for itself, and reported.
fn copy_apart(context: &Context, members: &[Member], kind: Kind, watch: &Watch, effects: &mut Effects) {
    effects.count(Number::LinkGroupsSplit, 1);
    for member in members {
        lead(context, member, kind, How { known_links: 1, parts: false }, watch, effects);
    }
}
