//! What probably happened, and what to do about it, for each cause of faults: a table, and nothing else.

use super::groups::Cause;

/// What is to be done once the reason is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// `pmirror retry`.
    Retry,
    /// The same command once more.
    SameCommand,
    /// Nothing.
    Nothing,
}

/// An explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What probably happened.
    pub happened: &'static str,
    /// What to do first; may be empty.
    pub remedy: &'static str,
    /// And then.
    pub then: Then,
}

/// A row of the table. The first that fits counts; what is empty fits all.
struct Row {
    outcome: &'static str,
    /// What the note begins with.
    note: &'static str,
    errnos: &'static [&'static str],
    /// What the operation contains.
    operation: &'static str,
    side: &'static str,
    advice: Advice,
}

impl Row {
    fn fits(&self, cause: &Cause) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(self.outcome, &cause.outcome)
            && cause.note.starts_with(self.note)
            && (self.errnos.is_empty() || self.errnos.contains(&cause.errno.as_str()))
            && cause.operation.contains(self.operation)
            && is(self.side, &cause.side)
    }
}

const fn advice(happened: &'static str, remedy: &'static str, then: Then) -> Advice {
    Advice { happened, remedy, then }
}

/// By the outcome, and by what the run itself said of it.
const fn said(outcome: &'static str, note: &'static str, side: &'static str, advice: Advice) -> Row {
    Row { outcome, note, errnos: &[], operation: "", side, advice }
}

/// By the error of the system.
const fn failed(
    errnos: &'static [&'static str],
    operation: &'static str,
    side: &'static str,
    happened: &'static str,
    remedy: &'static str,
) -> Row {
    Row { outcome: "", note: "", errnos, operation, side, advice: advice(happened, remedy, Then::Retry) }
}

/// The explanation of a cause. There is always one.
pub fn advise(cause: &Cause) -> Advice {
    let row = OUTCOMES.iter().chain(ERRORS).find(|row| row.fits(cause));
    row.map_or(UNKNOWN, |row| row.advice)
}

const UNKNOWN: Advice = advice(
    "the system refused it for a reason that pmirror does not know more of",
    "look at one of these entries by hand, and at the log of the file system's server",
    Then::Retry,
);

const OUTCOMES: &[Row] = &[
    said(
        "vanished",
        "",
        "",
        advice(
            "it was removed or renamed on SRC between the listing and its turn: people work there",
            "nothing: the next run sees what is there by then",
            Then::Nothing,
        ),
    ),
    said(
        "changed",
        "another directory is in its place",
        "",
        advice(
            "the directory was replaced, or a file system that is mounted there is not mounted on that host",
            "see that all mounts inside SRC and DST are there on each host that faults.jsonl names",
            Then::SameCommand,
        ),
    ),
    said(
        "changed",
        "",
        "target",
        advice(
            "something else wrote to DST meanwhile",
            "find out who writes to DST, and have it stop",
            Then::SameCommand,
        ),
    ),
    said(
        "changed",
        "",
        "",
        advice(
            "somebody wrote to it, or replaced it, while it was read: people work on SRC",
            "nothing now: what stands on DST does not carry the time of its source, so the next run copies it",
            Then::SameCommand,
        ),
    ),
    said(
        "skipped",
        "another file system is mounted",
        "",
        advice(
            "it was to be removed from DST, and another file system is mounted there: it stays",
            "unmount it, or leave it",
            Then::SameCommand,
        ),
    ),
    said(
        "skipped",
        "something came into it",
        "",
        advice(
            "it was to be removed from DST, and something came into it since it was listed: it stays",
            "find out who writes to DST",
            Then::SameCommand,
        ),
    ),
    said(
        "skipped",
        "",
        "source",
        advice(
            "it was to be removed from DST, and that SRC lacks it could not be proven: it stays",
            "see that all mounts inside SRC are there on the host that faults.jsonl names",
            Then::SameCommand,
        ),
    ),
    said(
        "skipped",
        "",
        "",
        advice(
            "it was to be removed from DST, and is not what the plan saw: it stays",
            "look at it, then run the command again or make a new plan",
            Then::SameCommand,
        ),
    ),
    said(
        "failed",
        "in flight when two attempts died: it stays",
        "",
        advice(
            "it was being removed when two attempts of the run died: it was left alone from then on",
            "see why the attempts died: the job's log has it",
            Then::SameCommand,
        ),
    ),
    said(
        "failed",
        "in flight when two attempts died",
        "",
        advice(
            "it was under work when two attempts of the run died. It may have ended them, or was there by chance",
            "see why the attempts died: the job's log has it. Try a single one by hand first",
            Then::Retry,
        ),
    ),
    said(
        "failed",
        "no answer within",
        "",
        advice(
            "a server, or a tape, gave no answer within --op-timeout, so the entry was parked",
            "see that the server answers. Restore files that lie on tape first, or say --op-timeout none",
            Then::Retry,
        ),
    ),
    said(
        "failed",
        "not looked at: a directory above it was parked",
        "",
        advice("a directory above it had no answer and was parked", "see that the server answers", Then::Retry),
    ),
    said(
        "failed",
        "its remaining names were not looked at",
        "",
        advice(
            "the directory could not be opened any more, so the names left in it were given up with it",
            "mend what the directory itself failed with",
            Then::Retry,
        ),
    ),
    said(
        "failed",
        "the target has a directory here that is not empty",
        "",
        advice(
            "DST has a directory that holds something, where SRC has a file, a link or another thing",
            "look at it: move it away, or have sync --delete remove it by its plan and guards",
            Then::Retry,
        ),
    ),
    said(
        "failed",
        "the copy differs from what was read",
        "",
        advice(
            "--verify read the copy back and found other bytes: a disk, a cable, a controller or memory alters data",
            "trust neither the host that faults.jsonl names nor DST's hardware until that is found",
            Then::Retry,
        ),
    ),
    said(
        "failed",
        "a root of the two, mounted inside a tree",
        "",
        advice(
            "SRC or DST is mounted once more inside one of the trees: it would be copied into itself",
            "unmount it there, or leave it out with --exclude or -x",
            Then::SameCommand,
        ),
    ),
    said(
        "failed",
        "the target takes this name for another",
        "",
        advice(
            "DST takes two names of SRC for one: upper and lower case, or two forms of one letter",
            "rename one of both on SRC, or use a DST that tells them apart",
            Then::Retry,
        ),
    ),
    said(
        "failed",
        "listed in --files-from, but not found",
        "",
        advice("the list of --files-from names what SRC does not have", "correct the list", Then::SameCommand),
    ),
    said(
        "failed",
        "the list of --files-from can not be read",
        "",
        advice(
            "the run directory could not be read back: its file system failed",
            "look at the state directory's file system",
            Then::SameCommand,
        ),
    ),
    said(
        "failed",
        "DST has no such directory",
        "",
        advice("DST lacks a directory that SRC has", "run pmirror sync first", Then::SameCommand),
    ),
    said(
        "failed",
        "this is the target itself",
        "",
        advice("DST lies inside SRC", "leave it out with --exclude", Then::Nothing),
    ),
];

/// The reasons of the system, with what they mean on each side.
const ERRORS: &[Row] = &[
    failed(
        &["EACCES"],
        "",
        "source",
        "who ran pmirror may not read it: permissions, an ACL, or a mount of SRC that makes root nobody (root_squash)",
        "run it as root on nodes that SRC is exported to without root_squash, or have the owner open it",
    ),
    failed(
        &["EACCES"],
        "",
        "target",
        "who ran pmirror may not write there: another's directory on DST, or a mount that makes root nobody \
         (root_squash)",
        "run it as root on nodes that DST is exported to without root_squash, or open the directory on DST",
    ),
    failed(
        &["EPERM"],
        "",
        "source",
        "who ran pmirror may not do that on SRC: a security module, or a mount that restricts root",
        "run it as root, and look at audit messages of the host",
    ),
    failed(
        &["EPERM"],
        "",
        "target",
        "only root may give files away or make devices; or the entry on DST is immutable or append-only (lsattr)",
        "run it as root; take the attribute away with chattr -i -a",
    ),
    failed(
        &["EDQUOT"],
        "",
        "",
        "the owner, the group or the project of these files has no room left on DST (bytes or inodes)",
        "raise the quota on DST, or have the owner remove something",
    ),
    failed(
        &["ENOSPC"],
        "xattr",
        "",
        "extended attributes or ACLs have no room in the inode of DST's file system",
        "nothing on this file system: copy without (--no-xattrs, --no-acls), or use another DST",
    ),
    failed(&["ENOSPC"], "", "", "DST has no bytes or no inodes left", "make room on DST (df, df -i, lfs df)"),
    failed(&["EROFS"], "", "", "DST is mounted read-only, or became so after an error", "mount it again for writing"),
    failed(
        &["EIO"],
        "",
        "source",
        "the disk or the server of SRC could not read it: a bad block, a lost object (Lustre: a missing OST)",
        "look at the server's log; what can not be read any more comes from a backup",
    ),
    failed(
        &["EIO"],
        "",
        "target",
        "the disk or the server of DST failed",
        "look at the server's log; the same data goes there again only when that is mended",
    ),
    failed(
        &["ESTALE"],
        "",
        "",
        "the server no longer knows the file: it was removed there, or the server was restarted with another export",
        "see that the mount is well on each host that faults.jsonl names",
    ),
    failed(
        &[
            "ETIMEDOUT",
            "ENOTCONN",
            "ESHUTDOWN",
            "EHOSTDOWN",
            "EHOSTUNREACH",
            "ENETDOWN",
            "ENETUNREACH",
            "ECONNREFUSED",
            "ECONNRESET",
            "ECONNABORTED",
            "ECOMM",
            "EREMOTEIO",
            "EPROTO",
        ],
        "",
        "",
        "the server of the file system was away, or the network to it",
        "see that the server answers, and the network of the hosts that faults.jsonl names",
    ),
    failed(
        &["EAGAIN", "EINTR"],
        "",
        "",
        "the system asked to try later, time after time",
        "look at the load of the server, and use fewer ranks or --ops-limit",
    ),
    failed(
        &["EMFILE", "ENFILE"],
        "",
        "",
        "no file descriptors were left on that host",
        "raise ulimit -n (fs.file-max for ENFILE), or use fewer --threads",
    ),
    failed(
        &["ENOMEM"],
        "",
        "",
        "the host had no memory left",
        "lower --max-memory, use fewer --threads or fewer ranks on a node",
    ),
    failed(
        &["ENOENT"],
        "",
        "target",
        "it was removed from DST while we worked on it",
        "find out who else writes to DST",
    ),
    failed(&["ENOENT"], "", "source", "it was removed from SRC while we worked on it", ""),
    failed(
        &["ENAMETOOLONG"],
        "",
        "",
        "the name is longer than the file system takes (255 bytes; eCryptfs: 143)",
        "shorten the name on SRC, or use another DST",
    ),
    failed(
        &["EILSEQ"],
        "",
        "",
        "the name holds bytes that DST does not take: it wants UTF-8",
        "rename it on SRC (convmv), or use another DST",
    ),
    failed(
        &["E2BIG", "ERANGE"],
        "",
        "",
        "extended attributes or ACLs are larger than DST holds",
        "copy without (--no-xattrs, --no-acls), or use another DST",
    ),
    failed(&["EFBIG"], "", "", "the file is larger than DST holds, or than ulimit -f allows", "look at both"),
    failed(
        &["EOPNOTSUPP", "ENOTSUP", "ENOSYS", "ENOTTY"],
        "",
        "",
        "the file system has no such thing (extended attributes, ACLs, devices, links)",
        "leave out what it does not hold (--no-xattrs, --no-acls, --no-specials, --no-hard-links)",
    ),
    failed(
        &["EINVAL"],
        "",
        "",
        "the file system does not take the name, or the value that was to be set",
        "look at one of these entries; pmirror preflight tells what DST takes",
    ),
    failed(
        &["ENOTEMPTY", "EEXIST"],
        "",
        "",
        "something came to be under the name on DST meanwhile",
        "find out who else writes to DST",
    ),
    failed(
        &["ELOOP", "ENOTDIR", "EISDIR", "EXDEV"],
        "",
        "",
        "the entry, or a directory above it, was replaced by something else while we worked on it",
        "find out who works there",
    ),
    failed(
        &["EMLINK"],
        "",
        "",
        "DST allows no further names of one inode, or sub-directories of one directory",
        "use --no-hard-links, or another DST",
    ),
    failed(&["EBUSY", "ETXTBSY"], "", "", "it is in use: a mount point, a swap file, a program that runs", "free it"),
    failed(
        &["ENXIO", "ENODEV"],
        "",
        "",
        "there is nothing behind it: an object or a device is missing",
        "look at the server's log",
    ),
    failed(&["EOVERFLOW"], "", "", "a size, a time or an owner is beyond what the file system holds", ""),
    failed(
        &["EUCLEAN", "EBADMSG"],
        "",
        "",
        "the file system is damaged",
        "have it checked (fsck, lfsck) before anything else",
    ),
    failed(
        &["ENOKEY", "EKEYREJECTED", "EKEYEXPIRED", "EKEYREVOKED"],
        "",
        "",
        "the directory is encrypted, or the mount wants a key (Kerberos), and there is none on that host",
        "give the key on each host (kinit), then",
    ),
    failed(&["ENODATA"], "", "", "an attribute was gone when it was read, or the file has lost its data (tape)", ""),
    failed(&["EBADF"], "", "", "pmirror lost a file that it held open: this is a bug, please report it", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{aside, park, policy};

    fn cause(outcome: &str, errno: &str, operation: &str, side: &str, note: &str) -> Cause {
        let [outcome, errno, operation, side, note] = [outcome, errno, operation, side, note].map(str::to_owned);
        Cause { outcome, errno, operation, side, note }
    }

    /// The errors that a page names.
    fn errors_of(page: &str) -> Vec<&str> {
        let words = page.split(|c: char| !c.is_ascii_alphanumeric());
        let is_error = |word: &&str| {
            word.len() > 2
                && word.starts_with('E')
                && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        words.filter(is_error).collect()
    }

    #[test]
    fn every_error_that_the_page_of_faults_names_has_an_entry() {
        let named = errors_of(include_str!("../../docs/reference/faults.md"));
        assert!(named.contains(&"EDQUOT") && named.contains(&"ESHUTDOWN"), "{named:?}");
        for errno in named {
            for side in ["source", "target"] {
                assert_ne!(advise(&cause("failed", errno, "openat", side, "")), UNKNOWN, "{errno} on the {side}");
            }
        }
    }

    #[test]
    fn every_error_of_the_table_is_one_of_the_system() {
        let known: Vec<String> = (1..134).map(|n| format!("{:?}", nix::errno::Errno::from_raw(n))).collect();
        let aliases = ["ENOTSUP"];
        for errno in ERRORS.iter().flat_map(|row| row.errnos) {
            assert!(known.iter().any(|name| name == errno) || aliases.contains(errno), "{errno}");
        }
    }

    #[test]
    fn what_a_run_says_of_an_entry_has_an_explanation_of_its_own() {
        for note in [aside::NOTE, aside::NOTE_OF_REMOVAL, park::PARKED] {
            let told = advise(&cause("failed", "", "", "source", note));
            assert_ne!(told, UNKNOWN, "{note}");
        }
        let over = advise(&cause("failed", "EDQUOT", "copy", "target", policy::OVER_QUOTA));
        assert!(over.happened.contains("no room left") && over.then == Then::Retry);
        let parked = advise(&cause("failed", "ETIMEDOUT", "copy", "source", park::PARKED));
        assert!(parked.happened.contains("parked"));
    }

    #[test]
    fn sides_and_operations_are_told_apart() {
        let of = |errno, operation, side| advise(&cause("failed", errno, operation, side, "")).happened;
        assert_ne!(of("EACCES", "openat", "source"), of("EACCES", "openat", "target"));
        assert_ne!(of("ENOSPC", "fsetxattr", "target"), of("ENOSPC", "write", "target"));
        assert_eq!(advise(&cause("failed", "EWHAT", "", "source", "")), UNKNOWN);
        assert_eq!(advise(&cause("vanished", "", "", "source", "the directory is gone")).then, Then::Nothing);
    }
}
