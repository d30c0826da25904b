//! Symbolic links, FIFOs, sockets and devices: entries without content.

use std::ffi::CStr;

use nix::errno::Errno;

use super::Work;
use super::place::{Place, put_in_place};
use crate::fault::{Failure, Side};
use crate::fs::{Fd, attributes, names, open, xattr};
use crate::pass::metadata::{self, Current};
use crate::tree::{Attributes, Kind};

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// It is there.
    Done,
    /// The source entry was replaced meanwhile; nothing was made.
    Changed,
    /// A directory that is not empty is in the way; nothing was made.
    Conflict,
}

/// Makes the entry with all its metadata, in its place or under a temporary name first.
pub fn make(work: &mut Work<'_>, name: &CStr, source: &Attributes, place: &Place) -> Result<Made, Failure> {
    let from = open::entry(&work.pair.source, name)?;
    if attributes::of_fd(&from)?.identity != source.identity {
        return Ok(Made::Changed);
    }
    let xattrs = xattr::read(&from, metadata::choice(work.context))?;
    let at = place.name(name);
    if source.kind == Kind::Symlink {
        names::make_symlink(&work.pair.target, at, &names::read_symlink(&work.pair.source, name)?)?;
    } else {
        names::make_special(&work.pair.target, at, source.kind, source.rdev)?;
    }
    let made = fresh(work, at, source).and_then(|node| {
        refuse_other_device(&node, source)?;
        let inherits_acl = source.kind != Kind::Symlink && work.pair.inherits_acl()?;
        metadata::apply(work.context, &node, source, &xattrs, &Current::Fresh { inherits_acl }, work.effects)?;
        metadata::set_times(work.context, &node, source)
    });
    let placed = made.and_then(|()| put_in_place(work.pair, place, name));
    match placed {
        Ok(true) => Ok(Made::Done),
        Ok(false) => Ok(Made::Conflict),
        Err(failure) => {
            // Half-made, so it goes again; a name of another's that took its place stays.
            let there = fresh(work, at, source);
            work.pair.note(&there);
            if there.is_ok() {
                work.pair.take_away(at);
            }
            Err(failure)
        }
    }
}

/// Names what was just made, and nothing else that was put in its place: new, ours, with one name.
fn fresh(work: &Work<'_>, name: &CStr, source: &Attributes) -> Result<Fd, Failure> {
    let node = open::entry(&work.pair.target, name)?;
    let found = attributes::of_fd(&node)?;
    let ours =
        found.uid == work.context.policy.target.uid || !work.context.policy.target.chown || found.uid == source.uid;
    if found.kind != source.kind || found.links != 1 || !ours {
        return Err(Failure { side: Side::Target, operation: "mknodat", errno: Errno::ESTALE as i32 });
    }
    Ok(node)
}

/// Lustre cuts large device numbers without an error.
fn refuse_other_device(node: &Fd, source: &Attributes) -> Result<(), Failure> {
    let is_device = matches!(source.kind, Kind::CharacterDevice | Kind::BlockDevice);
    if is_device && attributes::of_fd(node)?.rdev != source.rdev {
        return Err(node.failure("mknodat", Errno::ERANGE));
    }
    Ok(())
}
