//! Giving a target inode the metadata of its source, in the order that loses nothing.

use std::ffi::CStr;

use super::{Context, Effects};
use crate::counters::Number;
use crate::fault::Failure;
use crate::fs::xattr::{self, ACCESS_ACL, Choice, DEFAULT_ACL, Xattrs};
use crate::fs::{Fd, attributes};
use crate::tree::decide::{Wanted, wanted};
use crate::tree::difference::same_access_acl;
use crate::tree::{Attributes, Kind};

/// What a target inode has before its metadata are set.
pub enum Current<'x> {
    /// It was just made, 0600 or 0700, ours. The flag: its directory made it inherit an ACL.
    Fresh {
        /// An ACL was inherited.
        inherits_acl: bool,
    },
    /// It was there before.
    Existing {
        /// Its attributes.
        was: &'x Attributes,
        /// Its extended attributes, where they were looked at.
        xattrs: Option<&'x Xattrs>,
    },
}

/// Which extended attributes are kept.
pub fn choice(context: &Context) -> Choice {
    Choice { acls: context.policy.acls, others: context.policy.xattrs, privileged: context.policy.target.chown }
}

/// Whether the ACLs agree, and whether the other extended attributes do.
pub fn agree(mine: &Xattrs, theirs: &Xattrs) -> (bool, bool) {
    let acl = |xattrs: &Xattrs, name| xattrs.kept.get(name).cloned();
    let same_acls = same_access_acl(acl(mine, ACCESS_ACL).as_deref(), acl(theirs, ACCESS_ACL).as_deref())
        && acl(mine, DEFAULT_ACL) == acl(theirs, DEFAULT_ACL);
    let others = |xattrs: &Xattrs| {
        let is_acl = |name: &CStr| name == ACCESS_ACL || name == DEFAULT_ACL;
        xattrs.kept.iter().filter(|(name, _)| !is_acl(name)).map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>()
    };
    (same_acls, others(mine) == others(theirs))
}

/// Sets everything but the times: the owner first, as that clears set-id bits and capabilities; the
/// permissions last, as they alone open the inode to others. `xattrs` are the source's.
pub fn apply(
    context: &Context,
    target: &Fd,
    source: &Attributes,
    xattrs: &Xattrs,
    current: &Current<'_>,
    effects: &mut Effects,
) -> Result<(), Failure> {
    let wanted = wanted(&context.policy, source);
    let owner_changed = set_owner(target, &wanted, current)?;
    count_unset(context, source, xattrs, effects);
    if context.policy.xattrs {
        match current {
            Current::Fresh { .. } => xattr::make_equal(target, xattrs, &Xattrs::default())?,
            Current::Existing { xattrs: Some(theirs), .. } => xattr::make_equal(target, xattrs, theirs)?,
            Current::Existing { xattrs: None, .. } => {}
        }
        if context.policy.target.forgets_xattrs {
            xattr::read_back(target, xattrs)?;
        }
    }
    if source.kind == Kind::Symlink {
        return Ok(());
    }
    set_permissions(context, target, source, &wanted, xattrs, current, owner_changed)
}

/// Counts what an ordinary user may not set: reported once per kind, no fault.
pub fn count_unset(context: &Context, source: &Attributes, xattrs: &Xattrs, effects: &mut Effects) {
    let wanted = wanted(&context.policy, source);
    effects.count(Number::OwnerUnset, u64::from(wanted.owner_unset));
    effects.count(Number::GroupUnset, u64::from(wanted.group_unset));
    effects.count(Number::XattrsUnset, xattrs.beyond_rights);
}

/// Sets the owner where it differs. Returns whether it was set.
fn set_owner(target: &Fd, wanted: &Wanted, current: &Current<'_>) -> Result<bool, Failure> {
    if let Current::Existing { was, .. } = current {
        let right = wanted.uid.is_none_or(|uid| uid == was.uid) && wanted.gid.is_none_or(|gid| gid == was.gid);
        if right {
            return Ok(false);
        }
    }
    attributes::set_owner(target, wanted.uid, wanted.gid)?;
    Ok(true)
}

/// With an access ACL the mode's group bits are its mask, so the ACL itself widens: it comes last,
/// after a mode that lets nobody in. Without one, an inherited ACL goes before the mode widens.
fn set_permissions(
    context: &Context,
    target: &Fd,
    source: &Attributes,
    wanted: &Wanted,
    xattrs: &Xattrs,
    current: &Current<'_>,
    owner_changed: bool,
) -> Result<(), Failure> {
    let (was_mode, theirs, inherits) = match current {
        Current::Fresh { inherits_acl } => (None, None, *inherits_acl),
        Current::Existing { was, xattrs } => (Some(was.mode), *xattrs, false),
    };
    let has_acl = |name| inherits || theirs.is_some_and(|theirs| theirs.kept.contains_key(name));
    let looked = context.policy.acls && (theirs.is_some() || was_mode.is_none());
    if looked && source.kind == Kind::Directory {
        let acl = xattrs.kept.get(DEFAULT_ACL);
        if acl.is_some() || has_acl(DEFAULT_ACL) {
            xattr::set_acl(target, DEFAULT_ACL, acl)?;
        }
    }
    let acl = xattrs.kept.get(ACCESS_ACL).filter(|_| looked);
    if let (Some(acl), Some(mode)) = (acl, wanted.mode) {
        if theirs.and_then(|theirs| theirs.kept.get(ACCESS_ACL)) == Some(acl)
            && was_mode == Some(mode)
            && !owner_changed
        {
            return Ok(());
        }
        attributes::set_mode(target, mode & 0o7000 | mode & 0o700)?;
        return xattr::set_acl(target, ACCESS_ACL, Some(acl));
    }
    if looked && has_acl(ACCESS_ACL) {
        xattr::set_acl(target, ACCESS_ACL, None)?;
    }
    match wanted.mode {
        Some(mode) if owner_changed || inherits || was_mode != Some(mode) => attributes::set_mode(target, mode),
        _ => Ok(()),
    }
}

/// Sets the times: the last step, and for a regular file the record that all others are done.
pub fn set_times(context: &Context, target: &Fd, source: &Attributes) -> Result<(), Failure> {
    match wanted(&context.policy, source).times {
        Some(times) => attributes::set_times(target, times),
        None => Ok(()),
    }
}
