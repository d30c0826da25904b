//! What is changed on the target, or would be: listed in the words of `cmp`, where that is asked for.

use super::mirror::Work;
use super::mirror::entry::Entry;
use super::pair::Pair;
use super::{Context, Effects, metadata};
use crate::fault::Failure;
use crate::fs::xattr::{self, Xattrs};
use crate::fs::{Fd, open};
use crate::tree::decide::{Action, Known, Reason};
use crate::tree::difference::{Learnt, Level, aspects};
use crate::tree::{Aspect, Aspects, Attributes, Difference, Kind, Outcome, TreePath};

/// The name of a pair, and what was learnt of it.
pub struct Subject<'s> {
    /// The entry.
    pub entry: &'s Entry<'s>,
    /// The source entry.
    pub source: &'s Attributes,
    /// The target entry.
    pub target: &'s Attributes,
    /// Two symbolic links point to the same.
    pub same_text: bool,
}

/// In what a pair differs that is about to be changed. Looked at only where changes are listed.
pub fn of(
    work: &Work<'_>,
    entry: &Entry<'_>,
    (source, target): (&Attributes, Option<&Attributes>),
    action: Action,
    known: Known,
) -> Aspects {
    if !work.context.itemizes {
        return Aspects::NONE;
    }
    let Some(target) = target else {
        return Aspect::SourceOnly.into();
    };
    let subject = Subject { entry, source, target, same_text: known.same_text };
    match action {
        // With a look at extended attributes it is told what they say.
        Action::Repair(_) => of_attributes(work.context, &subject, Learnt::NOTHING),
        Action::Replace(reason) => {
            let mut found = of_name(work.context, work.pair, &subject);
            // Equal for all that is kept, but another for all that was compared.
            found.add_if(reason == Reason::Mtime, Aspect::Mtime);
            found.add_if(reason == Reason::Content, Aspect::Content);
            found
        }
        Action::ReplaceDirectory => Aspect::Type.into(),
        _ => Aspects::NONE,
    }
}

/// In what two entries differ of which only the attributes were looked at so far.
pub fn of_name(context: &Context, pair: &Pair<'_>, subject: &Subject<'_>) -> Aspects {
    if !context.itemizes {
        return Aspects::NONE;
    }
    let mut learnt = Learnt::NOTHING;
    let keeps_any = context.policy.acls || context.policy.xattrs;
    if keeps_any && subject.source.kind == subject.target.kind {
        // What can not be looked at counts as the same.
        if let Ok((mine, theirs)) = both_xattrs(context, pair, subject) {
            (learnt.same_acls, learnt.same_xattrs) = metadata::agree(&mine, &theirs);
        }
    }
    of_attributes(context, subject, learnt)
}

fn both_xattrs(context: &Context, pair: &Pair<'_>, subject: &Subject<'_>) -> Result<(Xattrs, Xattrs), Failure> {
    let name = subject.entry.name;
    let read = |directory| xattr::read(&open::entry(directory, name)?, metadata::choice(context));
    Ok((read(&pair.source)?, read(&pair.target)?))
}

/// The same where extended attributes were read already.
pub fn of_xattrs(context: &Context, subject: &Subject<'_>, mine: &Xattrs, theirs: &Xattrs) -> Aspects {
    if !context.itemizes {
        return Aspects::NONE;
    }
    let (same_acls, same_xattrs) = metadata::agree(mine, theirs);
    of_attributes(context, subject, Learnt { same_acls, same_xattrs, ..Learnt::NOTHING })
}

fn of_attributes(context: &Context, subject: &Subject<'_>, learnt: Learnt) -> Aspects {
    let learnt = Learnt { same_text: subject.same_text, ..learnt };
    aspects(&context.policy, Level::Meta, subject.source, subject.target, learnt)
}

/// Lists a directory whose metadata are to be set, before our own work in it moves its times.
pub fn directory(context: &Context, pair: &Pair<'_>, effects: &mut Effects) {
    if !context.itemizes {
        return;
    }
    let path = || pair.item.path.clone();
    if pair.item.made {
        return list(context, effects, Kind::Directory, Aspect::SourceOnly.into(), path);
    }
    let mut learnt = Learnt::NOTHING;
    let read = |directory: &Fd| xattr::read(directory, metadata::choice(context));
    if let (Ok(mine), Ok(theirs)) = (read(&pair.source), read(&pair.target)) {
        (learnt.same_acls, learnt.same_xattrs) = metadata::agree(&mine, &theirs);
    }
    let found = aspects(&context.policy, Level::Meta, &pair.source_was, &pair.target_was, learnt);
    list(context, effects, Kind::Directory, found, path);
}

/// Enters the outcome of an entry that was changed, or would be, and lists it: `work.aspects` of it.
pub fn done(work: &mut Work<'_>, entry: &Entry<'_>, kind: Kind, outcome: Outcome) {
    work.effects.end(entry.kind, outcome);
    let (pair, name) = (work.pair, entry.name);
    list(work.context, work.effects, kind, work.aspects, || pair.path(name));
}

/// Lists a change.
pub fn list(context: &Context, effects: &mut Effects, kind: Kind, aspects: Aspects, path: impl FnOnce() -> TreePath) {
    if context.itemizes {
        effects.change(Difference { path: path(), kind, aspects, source: None, target: None, leader: None });
    }
}

/// Lists a directory that was renamed.
pub fn list_renamed(context: &Context, effects: &mut Effects, path: &TreePath, old: &TreePath) {
    if context.itemizes {
        let (path, kind, aspects, leader) = (path.clone(), Kind::Directory, Aspect::Renamed.into(), Some(old.clone()));
        effects.change(Difference { path, kind, aspects, source: None, target: None, leader });
    }
}

/// Lists a name that becomes a link of `leader`.
pub fn list_link(
    context: &Context,
    effects: &mut Effects,
    kind: Kind,
    aspects: Aspects,
    (path, leader): (&TreePath, &TreePath),
) {
    if context.itemizes {
        let (path, leader) = (path.clone(), Some(leader.clone()));
        effects.change(Difference { path, kind, aspects, source: None, target: None, leader });
    }
}
