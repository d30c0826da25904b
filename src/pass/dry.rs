//! The hands of a dry run: what the real run would do enters the books, and nothing is done.

use nix::errno::Errno;

use super::changes;
use super::mirror::Work;
use super::mirror::entry::Entry;
use super::pair::Pair;
use super::{Context, Effects, metadata};
use crate::fault::{Failure, Side};
use crate::fs::xattr::{self, Xattrs};
use crate::fs::{Fd, open};
use crate::tree::decide::{differences, must_look_at_xattrs};
use crate::tree::{Aspect, Attributes, Identity, Kind, Outcome};

/// The target inode of what would be made: no other has this number.
pub const NEW: Identity = Identity { inode: 0, birth: None };

/// Makes an entry that is no directory.
pub fn make(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, outcome: Outcome) -> Result<(), Failure> {
    let able = &work.context.policy.target;
    if source.kind == Kind::File && !able.overrides_permissions {
        open::may_read(&work.pair.source, entry.name)?;
    }
    may_change(work.context, work.pair)?;
    // mknod(2): devices are for root.
    if matches!(source.kind, Kind::CharacterDevice | Kind::BlockDevice) && !able.chown {
        return Err(refused("mknodat"));
    }
    count_unset(work.context, source, || open::entry(&work.pair.source, entry.name), work.effects)?;
    changes::done(work, entry, source.kind, outcome);
    Ok(())
}

/// Takes a name of an inode away: those that it has besides are told from others by their number.
pub fn take_away(work: &mut Work<'_>, target: &Attributes) -> Result<(), Failure> {
    if !work.context.dry_run {
        return Ok(());
    }
    may_replace(work.context, work.pair, target)?;
    if target.links > 1 && target.kind != Kind::Directory {
        work.effects.gone.push(target.identity);
    }
    Ok(())
}

/// In a sticky directory only the owner of either takes a name away (unlink(2)).
pub fn may_replace(context: &Context, pair: &Pair<'_>, target: &Attributes) -> Result<(), Failure> {
    let (able, directory) = (&context.policy.target, &pair.target_was);
    let is_owner = target.uid == able.uid || directory.uid == able.uid;
    let is_sticky = pair.has_target && directory.mode & 0o1000 != 0;
    if able.overrides_permissions || is_owner || !is_sticky { Ok(()) } else { Err(refused("renameat")) }
}

/// Sets what differs of the metadata: the owner first, the times last.
pub fn repair(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, target: &Attributes) -> Result<(), Failure> {
    if differences(&work.context.policy, source, target).owner {
        may_set(work.context, target)?;
    }
    count_unset(work.context, source, || open::entry(&work.pair.source, entry.name), work.effects)?;
    // Who may write the file sets its attributes, be he its owner or not (xattr(7)).
    if work.aspects.has(Aspect::Xattr) && !work.context.policy.target.overrides_permissions {
        open::may_write(&work.pair.target, entry.name)?;
    }
    may_set(work.context, target)
}

/// Settles a directory.
pub fn settle(context: &Context, pair: &Pair<'_>, outcome: Outcome, effects: &mut Effects) -> Result<(), Failure> {
    let (source, target) = (&pair.source_was, &pair.target_was);
    match outcome {
        Outcome::Created => count_unset(context, source, || open::child_directory(&pair.source, c"."), effects),
        Outcome::MetadataOnly => repair_directory(context, pair, (source, target), effects),
        _ => Ok(()),
    }
}

/// What of a directory differs decides whether its owner alone may set it.
fn repair_directory(
    context: &Context,
    pair: &Pair<'_>,
    (source, target): (&Attributes, &Attributes),
    effects: &mut Effects,
) -> Result<(), Failure> {
    let found = differences(&context.policy, source, target);
    let (mut mine, mut theirs) = (Xattrs::default(), Xattrs::default());
    if found.owner || found.mode || must_look_at_xattrs(&context.policy, source, target) {
        let choice = metadata::choice(context);
        (mine, theirs) = (xattr::read(&pair.source, choice)?, xattr::read(&pair.target, choice)?);
    }
    if found.owner {
        may_set(context, target)?;
    }
    if found.owner || found.mode || mine != theirs {
        metadata::count_unset(context, source, &mine, effects);
    }
    let (same_acls, same_xattrs) = metadata::agree(&mine, &theirs);
    if found.mode || found.times || !same_acls {
        may_set(context, target)?;
    }
    if same_xattrs { Ok(()) } else { may_change(context, pair) }
}

/// Whether names may be made, renamed and removed in the target directory. An owner lets himself in.
pub fn may_change(context: &Context, pair: &Pair<'_>) -> Result<(), Failure> {
    let able = &context.policy.target;
    if !pair.has_target || able.overrides_permissions || pair.target_was.uid == able.uid {
        return Ok(());
    }
    open::may_change_names(&pair.target)
}

/// Only its owner and root set the times and the permissions of an inode (utimensat(2), chmod(2)).
fn may_set(context: &Context, target: &Attributes) -> Result<(), Failure> {
    let able = &context.policy.target;
    if able.overrides_permissions || target.uid == able.uid { Ok(()) } else { Err(refused("utimensat")) }
}

fn refused(operation: &'static str) -> Failure {
    Failure { side: Side::Target, operation, errno: Errno::EPERM as i32 }
}

/// What our rights would not let us set; only an ordinary user must look for it.
fn count_unset(
    context: &Context,
    source: &Attributes,
    open: impl FnOnce() -> Result<Fd, Failure>,
    effects: &mut Effects,
) -> Result<(), Failure> {
    let xattrs =
        if context.policy.target.chown { Xattrs::default() } else { xattr::read(&open()?, metadata::choice(context))? };
    metadata::count_unset(context, source, &xattrs, effects);
    Ok(())
}
