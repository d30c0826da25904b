//! Looks at a pair until both sides hold still, and tells in what they differ.

use std::ffi::CStr;

use super::Look;
use crate::counters::Number;
use crate::fault::{Failure, Side};
use crate::fs::{Fd, attributes, data, names, open, xattr};
use crate::pass::{Effects, metadata};
use crate::tree::difference::{Learnt, Level, aspects, beyond_rights};
use crate::tree::{Aspects, Attributes, Kind, TreePath};

/// How often a pair that changes under us is looked at.
const TRIES_MAX: u32 = 3;

/// The entry under judgement.
pub struct Subject<'s> {
    /// The kind under which it stands in the books.
    pub kind: Kind,
    /// Its path.
    pub path: &'s TreePath,
    /// The name of which it should be a link.
    pub leader: Option<TreePath>,
}

/// What was found of a pair.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// In what it differs.
    pub aspects: Aspects,
    /// Owner, group and extended attributes that our rights would not let us set.
    unset: (bool, bool, bool),
    /// Two files of equal size: their contents are in question.
    asked: bool,
    /// If the content of the file was compared: bytes that were read here for that.
    compared: Option<u64>,
}

impl Found {
    /// Counts what is told beside the books.
    pub fn count(&self, effects: &mut Effects) {
        let (owner, group, xattrs) = self.unset;
        effects.count(Number::OwnerUnset, u64::from(owner));
        effects.count(Number::GroupUnset, u64::from(group));
        effects.count(Number::XattrsUnset, u64::from(xattrs));
        effects.count(Number::ContentsAsked, u64::from(self.asked));
        effects.count(Number::ContentsCompared, u64::from(self.compared.is_some()));
        effects.count(Number::ContentsBytes, self.compared.unwrap_or(0));
    }
}

/// What came of looking at a pair.
#[allow(clippy::large_enum_variant)] // One at a time, on the stack.
pub enum Judged {
    /// Both sides held still while they were looked at.
    Found(Found, (Attributes, Attributes)),
    /// This side changed each time.
    Moving(Side),
}

/// A name in both trees.
pub struct Spot<'s> {
    /// The source directory.
    pub source: &'s Fd,
    /// The target directory.
    pub target: &'s Fd,
    /// The name.
    pub name: &'s CStr,
    /// Its path.
    pub path: &'s TreePath,
    /// What its chunks were found to be.
    pub content: Option<Content>,
}

/// The content of a pair, compared before and elsewhere.
#[derive(Clone, Copy)]
pub struct Content {
    /// The pair as it was then.
    pub was: (Attributes, Attributes),
    /// Whether it was the same.
    pub same: bool,
}

impl Spot<'_> {
    /// Both sides as they are now.
    pub fn look(&self) -> Result<(Attributes, Attributes), Failure> {
        Ok((attributes::of_name(self.source, self.name)?, attributes::of_name(self.target, self.name)?))
    }
}

/// Compares a name that was looked at, until both sides hold still.
pub fn name(look: &Look<'_>, spot: &Spot<'_>, first: (Attributes, Attributes)) -> Result<Judged, Failure> {
    until_still(first, |pair| look_closely(look, spot, pair), || spot.look())
}

/// Compares the attributes of two open directories.
pub fn directory(
    look: &Look<'_>,
    (source, target): (&Fd, &Fd),
    first: (Attributes, Attributes),
) -> Result<Judged, Failure> {
    let closely = |(was, target_was): &(Attributes, Attributes)| {
        let mut learnt = Learnt::NOTHING;
        let mut found = Found::default();
        learn_xattrs(look, (source, target), &mut learnt, &mut found)?;
        Ok(Some(finish(look, (was, target_was), learnt, found)))
    };
    until_still(first, closely, || Ok((attributes::of_fd(source)?, attributes::of_fd(target)?)))
}

/// A pair that agrees has agreed at one moment; where it differs, or was seen to change, another look
/// must show that both sides held still.
fn until_still(
    first: (Attributes, Attributes),
    mut closely: impl FnMut(&(Attributes, Attributes)) -> Result<Option<Found>, Failure>,
    mut again: impl FnMut() -> Result<(Attributes, Attributes), Failure>,
) -> Result<Judged, Failure> {
    let (mut pair, mut side) = (first, Side::Source);
    for _ in 0..TRIES_MAX {
        let found = closely(&pair)?;
        if let Some(found) = found.filter(|found| found.aspects.is_empty()) {
            return Ok(Judged::Found(found, pair));
        }
        let now = again()?;
        let still = (now.0.content_is_as(&pair.0), now.1.content_is_as(&pair.1));
        if let (Some(found), (true, true)) = (found, still) {
            return Ok(Judged::Found(found, pair));
        }
        if now.0.kind != pair.0.kind {
            return Ok(Judged::Moving(Side::Source));
        }
        side = if still.0 && !still.1 { Side::Target } else { Side::Source };
        pair = now;
    }
    Ok(Judged::Moving(side))
}

fn finish(look: &Look<'_>, (source, target): (&Attributes, &Attributes), learnt: Learnt, found: Found) -> Found {
    let policy = &look.context.policy;
    let level = look.comparing.level;
    let aspects = aspects(policy, level, source, target, learnt);
    let (owner, group) = if level >= Level::Quick { beyond_rights(policy, source, target) } else { (false, false) };
    Found { aspects, unset: (owner, group, found.unset.2), ..found }
}

/// Reads what the level asks for. `None`: something else is there by now than was looked at.
fn look_closely(look: &Look<'_>, spot: &Spot<'_>, pair: &(Attributes, Attributes)) -> Result<Option<Found>, Failure> {
    let (source, target) = pair;
    let (mut learnt, mut found) = (Learnt::NOTHING, Found::default());
    let level = look.comparing.level;
    if source.kind != target.kind || level < Level::Quick {
        return Ok(Some(finish(look, (source, target), learnt, found)));
    }
    if source.kind == Kind::Symlink {
        let (here, there) =
            (names::read_symlink(spot.source, spot.name)?, names::read_symlink(spot.target, spot.name)?);
        learnt.same_text = here == there;
    }
    if level >= Level::Meta {
        found.asked = asks_content(look, pair);
        let holds = |was: &(Attributes, Attributes)| source.content_is_as(&was.0) && target.content_is_as(&was.1);
        let known = spot.content.filter(|content| holds(&content.was));
        if let Some(content) = known {
            (learnt.same_content, found.compared) = (content.same, Some(0));
        }
        let reads = known.is_none() && reads_content(look, spot.path, pair);
        let open = if reads { open::file_for_reading } else { open::entry };
        let (from, to) = (open(spot.source, spot.name)?, open(spot.target, spot.name)?);
        let is_meant = || -> Result<bool, Failure> {
            Ok(attributes::of_fd(&from)?.content_is_as(source) && attributes::of_fd(&to)?.content_is_as(target))
        };
        if !is_meant()? {
            return Ok(None);
        }
        learn_xattrs(look, (&from, &to), &mut learnt, &mut found)?;
        if reads {
            let mut pace = look.context.limits.pace(source.size, look.watch);
            learnt.same_content = data::same_content(&from, &to, 0..source.size, &mut |bytes| pace.moved(bytes))?;
            found.compared = Some(source.size);
            if !is_meant()? {
                return Ok(None);
            }
        }
    }
    Ok(Some(finish(look, (source, target), learnt, found)))
}

/// Whether the contents of a pair are in question.
fn asks_content(look: &Look<'_>, (source, target): &(Attributes, Attributes)) -> bool {
    let are_files = source.kind == Kind::File && target.kind == Kind::File;
    look.comparing.level >= Level::Hash && are_files && source.size == target.size && source.size > 0
}

/// Whether they are in question and in the sample.
pub fn reads_content(look: &Look<'_>, path: &TreePath, pair: &(Attributes, Attributes)) -> bool {
    asks_content(look, pair) && look.comparing.sample.is_none_or(|sample| sample.takes(path))
}

fn learn_xattrs(
    look: &Look<'_>,
    (source, target): (&Fd, &Fd),
    learnt: &mut Learnt,
    found: &mut Found,
) -> Result<(), Failure> {
    let policy = &look.context.policy;
    if look.comparing.level < Level::Meta || !policy.acls && !policy.xattrs {
        return Ok(());
    }
    let choice = metadata::choice(look.context);
    let (mine, theirs) = (xattr::read(source, choice)?, xattr::read(target, choice)?);
    (learnt.same_acls, learnt.same_xattrs) = metadata::agree(&mine, &theirs);
    found.unset.2 = mine.beyond_rights != theirs.beyond_rights;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Aspect, Identity, Time};

    /// A pair whose sides have these change times.
    fn pair(source: i64, target: i64) -> (Attributes, Attributes) {
        let at = |seconds| Attributes {
            kind: Kind::File,
            identity: Identity { inode: 1, birth: None },
            device: 1,
            links: 1,
            uid: 0,
            gid: 0,
            mode: 0,
            size: 0,
            allocated: 0,
            rdev: 0,
            atime: Time::default(),
            mtime: Time::default(),
            ctime: Time { seconds, nanoseconds: 0 },
        };
        (at(source), at(target))
    }

    /// Judges a pair that differs while `differs`, and is `later` at each further look.
    fn judge(differs: &[Option<bool>], later: &[(i64, i64)]) -> (Judged, usize) {
        let (mut looks, mut again) = (0, 0);
        let closely = |_: &(Attributes, Attributes)| {
            looks += 1;
            let aspects = |differs| if differs { Aspect::Size.into() } else { Aspects::NONE };
            Ok(differs[looks - 1].map(|differs| Found { aspects: aspects(differs), ..Found::default() }))
        };
        let look_again = || {
            again += 1;
            let (source, target) = later[again - 1];
            Ok(pair(source, target))
        };
        (until_still(pair(0, 0), closely, look_again).unwrap(), looks)
    }

    #[test]
    fn what_agrees_is_looked_at_once() {
        let (judged, looks) = judge(&[Some(false)], &[]);
        assert!(matches!(judged, Judged::Found(found, _) if found.aspects.is_empty()));
        assert_eq!(looks, 1);
    }

    #[test]
    fn what_differs_and_holds_still_differs() {
        let (judged, looks) = judge(&[Some(true)], &[(0, 0)]);
        assert!(matches!(judged, Judged::Found(found, _) if found.aspects.has(Aspect::Size)));
        assert_eq!(looks, 1);
    }

    #[test]
    fn what_was_only_caught_in_a_change_agrees() {
        for seen in [Some(true), None] {
            let (judged, looks) = judge(&[seen, Some(false)], &[(1, 0)]);
            assert!(matches!(judged, Judged::Found(found, _) if found.aspects.is_empty()));
            assert_eq!(looks, 2);
        }
    }

    #[test]
    fn what_never_holds_still_is_no_difference_and_the_side_is_named() {
        let differs = [Some(true); 3];
        let (judged, _) = judge(&differs, &[(1, 0), (2, 0), (3, 0)]);
        assert!(matches!(judged, Judged::Moving(Side::Source)));
        let (judged, _) = judge(&differs, &[(0, 1), (0, 2), (0, 3)]);
        assert!(matches!(judged, Judged::Moving(Side::Target)));
    }
}
