//! An entry whose content is right: compare its extended attributes, set what differs.

use nix::errno::Errno;

use super::Work;
use super::entry::Entry;
use crate::fault::{Failure, Side};
use crate::fs::{Fd, attributes, open, xattr};
use crate::pass::changes::{self, Subject};
use crate::pass::metadata::{self, Current};
use crate::pass::{dry, project};
use crate::tree::decide::{Action, differences, repair as how_to_repair};
use crate::tree::{Aspect, Attributes, Outcome};

/// Compares extended attributes and projects too, and mends what differs. Returns what is still to be done:
/// `Replace` where the inode may not be altered in place.
pub fn compare_and_repair(
    work: &mut Work<'_>,
    entry: &Entry<'_>,
    source: &Attributes,
    target: &Attributes,
) -> Result<Action, Failure> {
    let choice = metadata::choice(work.context);
    let (from, to) = (open::entry(&work.pair.source, entry.name)?, open_meant(work, entry, target)?);
    let (wanted, current) = (xattr::read(&from, choice)?, xattr::read(&to, choice)?);
    let mut found = differences(&work.context.policy, source, target);
    let project = project::missing_by_name(work.context, work.pair, entry.name, target)?;
    found.xattrs = wanted != current || project.is_some();
    let action = how_to_repair(found, target, work.known_links);
    let subject = Subject { entry, source, target, same_text: true };
    work.aspects = changes::of_xattrs(work.context, &subject, &wanted, &current);
    // It counts as an attribute.
    work.aspects.add_if(project.is_some(), Aspect::Xattr);
    match action {
        Action::Repair(_) if work.context.dry_run => {
            dry::repair(work, entry, source, target)?;
            changes::done(work, entry, source.kind, Outcome::MetadataOnly);
        }
        Action::Repair(_) => {
            let existing = Current::Existing { was: target, xattrs: Some(&current) };
            metadata::apply(work.context, &to, source, &wanted, &existing, work.effects)?;
            if let Some((file, project)) = project {
                project::set(&file, project)?;
            }
            metadata::set_times(work.context, &to, source)?;
            changes::done(work, entry, source.kind, Outcome::MetadataOnly);
        }
        Action::Keep => super::entry::keep(work, entry, source, target),
        _ => {}
    }
    Ok(action)
}

/// Sets what differs, extended attributes left alone.
pub fn repair(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, target: &Attributes) -> Result<(), Failure> {
    // A change of owner clears capabilities, and a change of mode touches the ACL: look at them.
    let found = differences(&work.context.policy, source, target);
    if (found.owner || found.mode) && (work.context.policy.xattrs || work.context.policy.acls) {
        compare_and_repair(work, entry, source, target)?;
        return Ok(());
    }
    if work.context.dry_run {
        dry::repair(work, entry, source, target)?;
    } else {
        let to = open_meant(work, entry, target)?;
        let existing = Current::Existing { was: target, xattrs: None };
        metadata::apply(work.context, &to, source, &xattr::Xattrs::default(), &existing, work.effects)?;
        metadata::set_times(work.context, &to, source)?;
    }
    changes::done(work, entry, source.kind, Outcome::MetadataOnly);
    Ok(())
}

/// Opens the inode that was looked at, and no other: not one that was put in its place, nor one that
/// got a further name meanwhile.
fn open_meant(work: &Work<'_>, entry: &Entry<'_>, target: &Attributes) -> Result<Fd, Failure> {
    let fd = open::entry(&work.pair.target, entry.name)?;
    let found = work.context.without_gone(attributes::of_fd(&fd)?);
    if found.identity != target.identity || found.kind != target.kind || found.links > target.links {
        return Err(Failure { side: Side::Target, operation: "openat", errno: Errno::ESTALE as i32 });
    }
    Ok(fd)
}
