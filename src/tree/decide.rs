//! What is to be done with a pair of entries: a table, without input or output.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use super::attributes::{Attributes, Kind};
use super::extras::Extras;
use super::time::{Time, TimeLimits};

/// What is kept, and how things are compared. Equal on all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Policy {
    /// Owner and group.
    pub owner: bool,
    /// Permissions.
    pub permissions: bool,
    /// Modification times. Without them a target that is not older than its source is taken for
    /// its copy.
    pub times: bool,
    /// Compare access times too (they are always set with the modification time).
    pub access_times: bool,
    /// Extended attributes other than ACLs.
    pub xattrs: bool,
    /// POSIX ACLs.
    pub acls: bool,
    /// Names of one inode stay names of one inode.
    pub hard_links: bool,
    /// FIFOs, sockets and devices.
    pub specials: bool,
    /// Stay in the file system of the root.
    pub one_file_system: bool,
    /// What only some file systems have; after the probe, what both have.
    pub extras: Extras,
    /// How far the clocks of source and target may differ, in nanoseconds.
    pub clock_skew: u64,
    /// What shows that the content of a file is right.
    pub content: ContentRule,
    /// Leave files alone that are newer on the target.
    pub update: bool,
    /// Modification times that differ by no more than this are equal, in nanoseconds.
    pub modify_window: u64,
    /// What a source that changed after its copy was made calls for, although size and time are equal.
    pub ctime: CtimeRule,
    /// What the target's file system and our rights allow.
    pub target: Abilities,
}

/// What shows that the content of a file is right, where the sizes are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ContentRule {
    /// Equal modification times; without times a target that is not older.
    Times,
    /// The content itself.
    Checksum,
    /// Nothing more.
    SizeOnly,
}

/// What a newer ctime of the source calls for. It moves with any change of the inode, a link or a
/// change of mode too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum CtimeRule {
    /// A look at extended attributes and ACLs.
    Metadata,
    /// A look at the content as well: finds content that changed while size and time were put back.
    Content,
}

impl Policy {
    /// Everything is kept, and compared by size and time. Of the target nothing is known.
    pub const EVERYTHING: Policy = Policy {
        owner: true,
        permissions: true,
        times: true,
        access_times: false,
        xattrs: true,
        acls: true,
        hard_links: true,
        specials: true,
        one_file_system: false,
        extras: Extras::NONE,
        clock_skew: 2_000_000_000,
        content: ContentRule::Times,
        update: false,
        modify_window: 0,
        ctime: CtimeRule::Metadata,
        target: Abilities::NONE,
    };

    /// Whether the next run tells an unfinished file from a finished one by its modification time. Only
    /// then may a new file be made in its place.
    pub fn times_are_the_record(&self) -> bool {
        self.times && !self.update && self.modify_window == 0 && self.content != ContentRule::SizeOnly
    }

    /// Whether a time of the target is the one that the source's became there.
    pub fn is_same_time(&self, source: Time, target: Time) -> bool {
        let held = self.target.times.held(source);
        held == target || (held <= target.plus(self.modify_window) && target <= held.plus(self.modify_window))
    }
}

/// What the target's file system and our rights allow: measured once, see `fs::probe`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Abilities {
    /// The times it can hold.
    pub times: TimeLimits,
    /// We may give files to others.
    pub chown: bool,
    /// Our user.
    pub uid: u32,
    /// The groups that we may give to our own files.
    pub groups: BTreeSet<u32>,
    /// Permissions do not stop us (CAP_DAC_OVERRIDE).
    pub overrides_permissions: bool,
    /// What it has that only some file systems have.
    pub extras: Extras,
    /// It accepts extended attributes that it then does not have: they are read back.
    pub forgets_xattrs: bool,
    /// Names that differ only in upper and lower case are one.
    pub folds_case: bool,
}

impl Abilities {
    /// A target that takes any time, and none of our rights.
    pub const NONE: Abilities = Abilities {
        times: TimeLimits::EXACT,
        chown: false,
        uid: 0,
        groups: BTreeSet::new(),
        overrides_permissions: false,
        extras: Extras::NONE,
        forgets_xattrs: false,
        folds_case: false,
    };
}

/// Why an entry is passed over on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// `--no-specials`.
    Special,
    /// `-x`.
    MountPoint,
    /// `-u`: the target is newer.
    Newer,
    /// `--exclude`, `--exclude-from`.
    Excluded,
    /// `--min-age`.
    TooYoung,
    /// `--max-age`.
    TooOld,
    /// `--min-size`.
    TooSmall,
    /// `--max-size`.
    TooLarge,
}

impl Skip {
    /// All reasons, in the order of the summary.
    pub const ALL: [Skip; 8] = [
        Skip::Special,
        Skip::MountPoint,
        Skip::Newer,
        Skip::Excluded,
        Skip::TooYoung,
        Skip::TooOld,
        Skip::TooSmall,
        Skip::TooLarge,
    ];

    /// The word for it in the summary.
    pub fn word(self) -> &'static str {
        match self {
            Skip::Special => "no_specials",
            Skip::MountPoint => "one_file_system",
            Skip::Newer => "update",
            Skip::Excluded => "exclude",
            Skip::TooYoung => "min_age",
            Skip::TooOld => "max_age",
            Skip::TooSmall => "min_size",
            Skip::TooLarge => "max_size",
        }
    }
}

/// The metadata that a target entry is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `None`: leave the owner.
    pub uid: Option<u32>,
    /// `None`: leave the group.
    pub gid: Option<u32>,
    /// `None`: leave the permissions.
    pub mode: Option<u32>,
    /// `None`: leave the times.
    pub times: Option<Times>,
    /// The owner would be another if we were allowed to set it.
    pub owner_unset: bool,
    /// Likewise the group.
    pub group_unset: bool,
}

/// The two times that are set together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Last read.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
}

/// Set-user-id.
pub const SETUID: u32 = 0o4000;
/// Set-group-id.
pub const SETGID: u32 = 0o2000;

/// The metadata that the copy of `source` is to have under `policy`. A set-id bit goes with its
/// owner only: a program of root must not become a set-user-id program of ours.
pub fn wanted(policy: &Policy, source: &Attributes) -> Wanted {
    let able = &policy.target;
    let may_set_group = able.chown || able.groups.contains(&source.gid);
    let owner_unset = policy.owner && !able.chown && source.uid != able.uid;
    let group_unset = policy.owner && !may_set_group;
    let has_owner = policy.owner && !owner_unset;
    let has_group = policy.owner && !group_unset;
    let mut mode = source.mode;
    if !has_owner && source.uid != able.uid {
        mode &= !SETUID;
    }
    if !has_group && !able.groups.contains(&source.gid) && source.kind != Kind::Directory {
        mode &= !SETGID;
    }
    Wanted {
        uid: (policy.owner && able.chown).then_some(source.uid),
        gid: has_group.then_some(source.gid),
        mode: (policy.permissions && source.kind != Kind::Symlink).then_some(mode),
        times: policy.times.then_some(Times { atime: source.atime, mtime: source.mtime }),
        owner_unset,
        group_unset,
    }
}

/// Metadata in which a target entry is not what is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differences {
    /// Owner or group.
    pub owner: bool,
    /// Permissions.
    pub mode: bool,
    /// Modification time, or access time where that is compared.
    pub times: bool,
    /// Extended attributes or ACLs.
    pub xattrs: bool,
}

impl Differences {
    /// Whether anything differs.
    pub fn any(self) -> bool {
        self.owner || self.mode || self.times || self.xattrs
    }
}

/// The metadata of `target` against what is wanted, xattrs left aside.
pub fn differences(policy: &Policy, source: &Attributes, target: &Attributes) -> Differences {
    let wanted = wanted(policy, source);
    let held = |time| policy.target.times.held(time);
    // Reading a symbolic link moves its access time, and no flag prevents that.
    let access_times = policy.access_times && source.kind != Kind::Symlink;
    Differences {
        owner: wanted.uid.is_some_and(|uid| uid != target.uid) || wanted.gid.is_some_and(|gid| gid != target.gid),
        mode: wanted.mode.is_some_and(|mode| mode != target.mode),
        times: wanted.times.is_some_and(|times| {
            !policy.is_same_time(times.mtime, target.mtime) || access_times && held(times.atime) != target.atime
        }),
        xattrs: false,
    }
}

/// Whether xattrs, ACLs and projects must be looked at: not if the target was born after the last change of
/// the source, for then it was made from what the source is now. No rename, link, chown or touch
/// moves the birth of an inode. A target without its source's time may have been left unfinished.
pub fn must_look_at_xattrs(policy: &Policy, source: &Attributes, target: &Attributes) -> bool {
    if !policy.xattrs && !policy.acls && !policy.extras.projects {
        return false;
    }
    if policy.times && !policy.is_same_time(source.mtime, target.mtime) {
        return true;
    }
    let margin = policy.clock_skew + policy.target.times.granularity;
    target.identity.birth.is_none_or(|birth| source.ctime.plus(margin) >= birth)
}

/// What is to be done with a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The target has no such name.
    Create,
    /// The target has something else under the name: make the new one, then rename it over.
    Replace(Reason),
    /// A directory stands in the way: only an empty one gives way.
    ReplaceDirectory,
    /// Both are directories.
    Enter,
    /// Compare the content, then decide again.
    LookAtContent,
    /// Content is equal; set what differs of the metadata.
    Repair(Differences),
    /// Nothing to do, so far as can be told without a look at xattrs.
    Keep,
    /// Passed over on purpose.
    Skip(Skip),
    /// The type is not known to us.
    Unsupported,
}

/// Why a target is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Another type.
    Kind,
    /// Another size.
    Size,
    /// Another modification time.
    Mtime,
    /// Another content.
    Content,
    /// Another symbolic link text.
    Text,
    /// Another device number.
    Device,
    /// Metadata differ, but the inode has links that we do not know.
    ForeignLinks,
}

/// What is known of a pair beside its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Two symbolic links point to the same.
    pub same_text: bool,
    /// So many names of the target's inode are names that we mirror: 1 but for hard links.
    pub links: u32,
    /// Whether the contents of two files are equal, if they were compared.
    pub same_content: Option<bool>,
}

impl Known {
    /// Two inodes of one name each, not looked into.
    pub const LITTLE: Known = Known { same_text: false, links: 1, same_content: None };
}

/// Decides about a pair.
pub fn decide(policy: &Policy, source: &Attributes, target: Option<&Attributes>, known: Known) -> Action {
    if source.kind == Kind::Unknown {
        return Action::Unsupported;
    }
    if source.kind.is_special() && !policy.specials {
        return Action::Skip(Skip::Special);
    }
    let Some(target) = target else {
        return Action::Create;
    };
    match (source.kind, target.kind) {
        (Kind::Directory, Kind::Directory) => Action::Enter,
        (_, Kind::Directory) => Action::ReplaceDirectory,
        (left, right) if left != right => Action::Replace(Reason::Kind),
        _ => decide_alike(policy, source, target, known),
    }
}

/// Two entries of one type, not directories.
fn decide_alike(policy: &Policy, source: &Attributes, target: &Attributes, known: Known) -> Action {
    match source.kind {
        Kind::File => {
            if let Some(action) = decide_content(policy, source, target, known) {
                return action;
            }
        }
        Kind::Symlink if !known.same_text => return Action::Replace(Reason::Text),
        Kind::CharacterDevice | Kind::BlockDevice if source.rdev != target.rdev => {
            return Action::Replace(Reason::Device);
        }
        _ => {}
    }
    repair(differences(policy, source, target), target, known.links)
}

/// What the contents of two files call for; `None` if they are equal.
fn decide_content(policy: &Policy, source: &Attributes, target: &Attributes, known: Known) -> Option<Action> {
    let is_newer = target.mtime > policy.target.times.held(source.mtime);
    if policy.update && is_newer && !policy.is_same_time(source.mtime, target.mtime) {
        return Some(Action::Skip(Skip::Newer));
    }
    if source.size != target.size {
        return Some(Action::Replace(Reason::Size));
    }
    match (policy.content, known.same_content) {
        (_, Some(false)) => Some(Action::Replace(Reason::Content)),
        (ContentRule::SizeOnly, _) | (ContentRule::Checksum, Some(true)) => None,
        // Nothing to read.
        (ContentRule::Checksum, None) if source.size == 0 => None,
        (ContentRule::Checksum, None) => Some(Action::LookAtContent),
        (ContentRule::Times, _) => {
            let same = policy.is_same_time(source.mtime, target.mtime);
            let current = same || !policy.times && is_newer;
            (!current).then_some(Action::Replace(Reason::Mtime))
        }
    }
}

/// How differences of metadata are mended: in place, unless the inode has names that we do not know.
pub fn repair(differences: Differences, target: &Attributes, known_links: u32) -> Action {
    if !differences.any() {
        Action::Keep
    } else if target.links > known_links && target.kind != Kind::Directory {
        Action::Replace(Reason::ForeignLinks)
    } else {
        Action::Repair(differences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::attributes::Identity;
    use proptest::prelude::*;

    const ONE: Known = Known { same_text: true, links: 1, same_content: None };

    fn policy(chown: bool) -> Policy {
        Policy {
            target: Abilities {
                times: TimeLimits { earliest: -(1 << 31), latest: 1 << 33, granularity: 1 },
                chown,
                uid: 1000,
                groups: BTreeSet::from([1000]),
                overrides_permissions: chown,
                extras: Extras::default(),
                forgets_xattrs: false,
                folds_case: false,
            },
            ..Policy::EVERYTHING
        }
    }

    fn kind() -> impl Strategy<Value = Kind> {
        proptest::sample::select(Kind::ALL.to_vec())
    }

    fn time() -> impl Strategy<Value = Time> {
        (-4i64..4, 0u32..3).prop_map(|(s, nanoseconds)| Time { seconds: s << 32, nanoseconds })
    }

    prop_compose! {
        fn attributes()(kind in kind(), inode in 0u64..3, birth in time(), links in 1u32..3, uid in 999u32..1002,
            gid in 999u32..1002, mode in 0u32..0o10000, size in 0u64..3, mtime in time(), ctime in time(), rdev in 0u64..2) -> Attributes {
            Attributes { kind, identity: Identity { inode, birth: Some(birth) }, device: 1, links, uid, gid, mode, size,
                allocated: 0, rdev, atime: mtime, mtime, ctime }
        }
    }

    /// What the target is after the action was carried out.
    fn carried_out(policy: &Policy, source: &Attributes, target: &Attributes) -> Attributes {
        let wanted = wanted(policy, source);
        Attributes {
            uid: wanted.uid.unwrap_or(target.uid),
            gid: wanted.gid.unwrap_or(target.gid),
            mode: wanted.mode.unwrap_or(target.mode),
            mtime: policy.target.times.held(source.mtime),
            atime: policy.target.times.held(source.atime),
            size: source.size,
            rdev: source.rdev,
            kind: source.kind,
            links: 1,
            ..*target
        }
    }

    proptest! {
        #[test]
        fn after_the_action_nothing_is_left_to_do(source in attributes(), target in attributes(), chown in any::<bool>()) {
            let policy = policy(chown);
            let done = carried_out(&policy, &source, &target);
            let again = decide(&policy, &source, Some(&done), ONE);
            let expected = match source.kind {
                Kind::Unknown => Action::Unsupported,
                Kind::Directory => Action::Enter,
                _ => Action::Keep,
            };
            prop_assert_eq!(again, expected);
        }

        #[test]
        fn an_inode_with_other_names_is_never_repaired_in_place(source in attributes(), target in attributes(), text in any::<bool>()) {
            let action = decide(&policy(true), &source, Some(&target), Known { same_text: text, links: 1, same_content: None });
            let in_place = matches!(action, Action::Repair(_));
            prop_assert!(!(in_place && target.links > 1));
        }

        #[test]
        fn a_set_user_id_bit_goes_with_its_owner_only(source in attributes()) {
            let wanted = wanted(&policy(false), &source);
            let setuid = wanted.mode.is_some_and(|mode| mode & SETUID != 0);
            prop_assert!(!setuid || source.uid == 1000);
        }

        #[test]
        fn without_a_target_everything_known_is_created(source in attributes()) {
            prop_assume!(source.kind != Kind::Unknown);
            prop_assert_eq!(decide(&policy(true), &source, None, ONE), Action::Create);
        }
    }

    #[test]
    fn a_target_born_after_the_last_change_needs_no_look_at_its_xattrs() {
        let mut source = Attributes {
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
            ctime: Time { seconds: 100, nanoseconds: 0 },
        };
        let mut target = source;
        assert!(must_look_at_xattrs(&policy(true), &source, &target), "no birth time");
        target.identity.birth = Some(Time { seconds: 103, nanoseconds: 0 });
        assert!(!must_look_at_xattrs(&policy(true), &source, &target));
        source.ctime.seconds = 101;
        assert!(must_look_at_xattrs(&policy(true), &source, &target), "within the clocks' skew");
    }
}
