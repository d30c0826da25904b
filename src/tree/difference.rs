//! In what the two entries of a pair differ: told, not mended.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::attributes::{Attributes, Kind};
use super::decide::{Policy, wanted};
use super::path::TreePath;
use super::sample::Sample;

/// How closely a pair is looked at. Each level finds all that those before it find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Names and types.
    Names,
    /// Size, times, owner, permissions, links, the text of symbolic links, device numbers.
    Quick,
    /// Extended attributes and ACLs too.
    Meta,
    /// The content of files too.
    Hash,
}

/// What `cmp` is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparing {
    /// How closely pairs are looked at.
    pub level: Level,
    /// Which files' contents are read; `None`: all.
    pub sample: Option<Sample>,
}

/// One thing in which the trees differ at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Only the source has the name.
    SourceOnly,
    /// Only the target has the name.
    TargetOnly,
    /// The type.
    Type,
    /// The size of a file.
    Size,
    /// The content of a file.
    Content,
    /// Where a symbolic link points.
    Text,
    /// The number of a device.
    Device,
    /// The modification time.
    Mtime,
    /// The access time.
    Atime,
    /// The permissions.
    Mode,
    /// The owner.
    Owner,
    /// The group.
    Group,
    /// The ACLs.
    Acl,
    /// The extended attributes other than ACLs.
    Xattr,
    /// Which names share one inode.
    Links,
    /// The name of a directory, which is given the source's.
    Renamed,
    /// Only the target has the name, and it goes to the trash.
    Trashed,
}

impl Aspect {
    /// All aspects, in the order of reports.
    pub const ALL: [Aspect; 17] = [
        Aspect::SourceOnly,
        Aspect::TargetOnly,
        Aspect::Type,
        Aspect::Size,
        Aspect::Content,
        Aspect::Text,
        Aspect::Device,
        Aspect::Mtime,
        Aspect::Atime,
        Aspect::Mode,
        Aspect::Owner,
        Aspect::Group,
        Aspect::Acl,
        Aspect::Xattr,
        Aspect::Links,
        Aspect::Renamed,
        Aspect::Trashed,
    ];

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Aspect::SourceOnly => "source_only",
            Aspect::TargetOnly => "target_only",
            Aspect::Type => "type",
            Aspect::Size => "size",
            Aspect::Content => "content",
            Aspect::Text => "text",
            Aspect::Device => "device",
            Aspect::Mtime => "mtime",
            Aspect::Atime => "atime",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Group => "group",
            Aspect::Acl => "acl",
            Aspect::Xattr => "xattr",
            Aspect::Links => "links",
            Aspect::Renamed => "renamed",
            Aspect::Trashed => "trashed",
        }
    }
}

/// A set of aspects.
#[derive(Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Aspects(u32);

impl Aspects {
    /// No difference.
    pub const NONE: Aspects = Aspects(0);

    /// Adds an aspect.
    pub fn add(&mut self, aspect: Aspect) {
        self.0 |= 1 << aspect as u32;
    }

    /// Adds an aspect if `differs`.
    pub fn add_if(&mut self, differs: bool, aspect: Aspect) {
        if differs {
            self.add(aspect);
        }
    }

    /// Whether the aspect is among them.
    pub fn has(self, aspect: Aspect) -> bool {
        self.0 & 1 << aspect as u32 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The aspects in the order of reports.
    pub fn iter(self) -> impl Iterator<Item = Aspect> {
        Aspect::ALL.into_iter().filter(move |&aspect| self.has(aspect))
    }
}

impl From<Aspect> for Aspects {
    fn from(aspect: Aspect) -> Self {
        let mut aspects = Self::NONE;
        aspects.add(aspect);
        aspects
    }
}

impl FromIterator<Aspect> for Aspects {
    fn from_iter<I: IntoIterator<Item = Aspect>>(aspects: I) -> Self {
        let mut set = Self::NONE;
        aspects.into_iter().for_each(|aspect| set.add(aspect));
        set
    }
}

impl fmt::Debug for Aspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A name at which the trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name.
    pub path: TreePath,
    /// The type of the source entry, or of the target entry where there is no other.
    pub kind: Kind,
    /// In what they differ.
    pub aspects: Aspects,
    /// The source entry, where it was looked at.
    pub source: Option<Box<Attributes>>,
    /// The target entry, where it was looked at.
    pub target: Option<Box<Attributes>>,
    /// With `Aspect::Links`: another name, of which this should be a link. With `Aspect::Renamed`: the old one.
    pub leader: Option<TreePath>,
}

/// What was learnt of a pair beside its attributes. What was not looked at counts as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learnt {
    /// Two symbolic links point to the same.
    pub same_text: bool,
    /// The ACLs agree.
    pub same_acls: bool,
    /// The other extended attributes agree.
    pub same_xattrs: bool,
    /// The contents agree.
    pub same_content: bool,
}

impl Learnt {
    /// Nothing was looked at.
    pub const NOTHING: Learnt = Learnt { same_text: true, same_acls: true, same_xattrs: true, same_content: true };
}

/// In what a pair differs at a level. Compared is what a sync by the same user would set: an ordinary
/// user gives no file to others, so another owner is no difference to him (see `beyond_rights`).
/// Links are judged by their groups, not here.
pub fn aspects(policy: &Policy, level: Level, source: &Attributes, target: &Attributes, learnt: Learnt) -> Aspects {
    if source.kind != target.kind {
        return Aspect::Type.into();
    }
    let mut found = Aspects::NONE;
    if level < Level::Quick {
        return found;
    }
    let wanted = wanted(policy, source);
    let held = |time| policy.target.times.held(time);
    found.add_if(source.kind == Kind::File && source.size != target.size, Aspect::Size);
    found.add_if(source.kind == Kind::Symlink && !learnt.same_text, Aspect::Text);
    let is_device = matches!(source.kind, Kind::CharacterDevice | Kind::BlockDevice);
    found.add_if(is_device && source.rdev != target.rdev, Aspect::Device);
    found.add_if(wanted.uid.is_some_and(|uid| uid != target.uid), Aspect::Owner);
    found.add_if(wanted.gid.is_some_and(|gid| gid != target.gid), Aspect::Group);
    found.add_if(wanted.mode.is_some_and(|mode| mode != target.mode), Aspect::Mode);
    if let Some(times) = wanted.times {
        // Reading a symbolic link moves its access time, and no flag prevents that.
        let access_times = policy.access_times && source.kind != Kind::Symlink;
        found.add_if(!policy.is_same_time(times.mtime, target.mtime), Aspect::Mtime);
        found.add_if(access_times && held(times.atime) != target.atime, Aspect::Atime);
    }
    found.add_if(level >= Level::Meta && !learnt.same_acls, Aspect::Acl);
    found.add_if(level >= Level::Meta && !learnt.same_xattrs, Aspect::Xattr);
    found.add_if(level >= Level::Hash && !learnt.same_content, Aspect::Content);
    found
}

/// Owner and group that differ, but that our rights do not let us set: told once, no difference.
pub fn beyond_rights(policy: &Policy, source: &Attributes, target: &Attributes) -> (bool, bool) {
    let wanted = wanted(policy, source);
    (wanted.owner_unset && source.uid != target.uid, wanted.group_unset && source.gid != target.gid)
}

/// Whether two access ACLs agree in all that the permissions do not tell. The kernel keeps the owner's
/// permissions, the mask (or the group's) and those of others in both places (acl(5)); a difference
/// there is one of the permissions.
pub fn same_access_acl(source: Option<&[u8]>, target: Option<&[u8]>) -> bool {
    match (source, target) {
        (None, None) => true,
        (Some(source), Some(target)) => source == target || beside_mode(source) == beside_mode(target),
        _ => false,
    }
}

/// The bytes of an ACL (posix_acl_xattr.h: a version of four bytes, then entries of tag, permissions and
/// id) without the permissions that the mode shows.
fn beside_mode(acl: &[u8]) -> Vec<u8> {
    let (user_obj, group_obj, mask, other) = (0x01, 0x04, 0x10, 0x20);
    let (version, entries) = acl.split_at(acl.len().min(4));
    let has_mask = entries.chunks(8).any(|entry| entry.first() == Some(&mask));
    let mut bytes = version.to_vec();
    for entry in entries.chunks(8) {
        let tag = entry.first().copied().unwrap_or(0);
        let in_mode = tag == user_obj || tag == mask || tag == other || tag == group_obj && !has_mask;
        bytes
            .extend(entry.iter().enumerate().map(|(at, &byte)| if in_mode && (at == 2 || at == 3) { 0 } else { byte }));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::decide::{Abilities, ContentRule, CtimeRule, differences};
    use crate::tree::{Extras, Identity, Time, TimeLimits};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn policy(chown: bool) -> Policy {
        let target = Abilities {
            times: TimeLimits::EXACT,
            chown,
            uid: 1000,
            groups: BTreeSet::from([1000]),
            overrides_permissions: chown,
            extras: Extras::default(),
            forgets_xattrs: false,
            folds_case: false,
        };
        Policy {
            owner: true,
            permissions: true,
            times: true,
            access_times: true,
            xattrs: true,
            acls: true,
            hard_links: true,
            specials: true,
            one_file_system: false,
            clock_skew: 0,
            extras: Extras::default(),
            content: ContentRule::Times,
            update: false,
            modify_window: 0,
            ctime: CtimeRule::Metadata,
            target,
        }
    }

    prop_compose! {
        fn attributes()(kind in proptest::sample::select(Kind::ALL.to_vec()), uid in 999u32..1002, gid in 999u32..1002,
            mode in 0u32..0o10000, size in 0u64..3, rdev in 0u64..2, seconds in 0i64..3, access in 0i64..3) -> Attributes {
            let time = |seconds| Time { seconds, nanoseconds: 0 };
            Attributes { kind, identity: Identity { inode: 1, birth: None }, device: 1, links: 1, uid, gid, mode, size,
                allocated: 0, rdev, atime: time(access), mtime: time(seconds), ctime: time(0) }
        }
    }

    const LEVELS: [Level; 4] = [Level::Names, Level::Quick, Level::Meta, Level::Hash];

    fn learnt() -> impl Strategy<Value = Learnt> {
        any::<[bool; 4]>().prop_map(|[same_text, same_acls, same_xattrs, same_content]| Learnt {
            same_text,
            same_acls,
            same_xattrs,
            same_content,
        })
    }

    proptest! {
        #[test]
        fn an_entry_does_not_differ_from_itself(one in attributes(), level in proptest::sample::select(LEVELS.to_vec())) {
            prop_assert_eq!(aspects(&policy(true), level, &one, &one, Learnt::NOTHING), Aspects::NONE);
        }

        #[test]
        fn each_level_finds_what_the_one_before_finds(source in attributes(), target in attributes(), learnt in learnt(), root in any::<bool>()) {
            let found = LEVELS.map(|level| aspects(&policy(root), level, &source, &target, learnt));
            for pair in found.windows(2) {
                prop_assert!(pair[0].iter().all(|aspect| pair[1].has(aspect)), "{:?}", found);
            }
        }

        #[test]
        fn what_differs_is_what_a_sync_would_set(source in attributes(), target in attributes(), root in any::<bool>()) {
            let target = Attributes { kind: source.kind, ..target };
            let policy = policy(root);
            let found = aspects(&policy, Level::Quick, &source, &target, Learnt::NOTHING);
            let set = differences(&policy, &source, &target);
            prop_assert_eq!(set.owner, found.has(Aspect::Owner) || found.has(Aspect::Group));
            prop_assert_eq!(set.mode, found.has(Aspect::Mode));
            prop_assert_eq!(set.times, found.has(Aspect::Mtime) || found.has(Aspect::Atime));
        }

        #[test]
        fn an_owner_differs_or_is_beyond_our_rights_but_never_both(source in attributes(), target in attributes(), root in any::<bool>()) {
            let target = Attributes { kind: source.kind, ..target };
            let found = aspects(&policy(root), Level::Quick, &source, &target, Learnt::NOTHING);
            let (owner, group) = beyond_rights(&policy(root), &source, &target);
            prop_assert!(!(owner && found.has(Aspect::Owner)));
            prop_assert!(!(group && found.has(Aspect::Group)));
            prop_assert_eq!(source.gid != target.gid, group || found.has(Aspect::Group));
        }

        #[test]
        fn a_set_of_aspects_gives_back_what_was_put_in(mut put in proptest::collection::vec(proptest::sample::select(Aspect::ALL.to_vec()), 0..20)) {
            let set: Aspects = put.iter().copied().collect();
            put.sort();
            put.dedup();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), put);
        }
    }

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |&(tag, bits, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [2u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
    }

    #[test]
    fn an_acl_differs_only_in_what_the_permissions_do_not_tell() {
        let none = u32::MAX;
        let with = |user, named, group, mask| {
            acl(&[(1, user, none), (2, named, 7), (4, group, none), (16, mask, none), (32, 0, none)])
        };
        let one = with(7, 4, 5, 5);
        assert!(same_access_acl(Some(&one), Some(&with(6, 4, 5, 7))), "owner and mask are in the mode");
        assert!(!same_access_acl(Some(&one), Some(&with(7, 6, 5, 5))), "a named user is not");
        assert!(!same_access_acl(Some(&one), Some(&with(7, 4, 4, 5))), "nor is the group, beside a mask");
        assert!(!same_access_acl(Some(&one), None));
        assert!(same_access_acl(None, None));
    }
}
