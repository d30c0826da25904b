//! Every operation of either side fails for good, each on a name of its own: the run ends, side, operation and
//! errno are told, all else is done, nothing is lost, and the same command without the fault ends complete.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use serde_json::Value;
use support::compare::{assert_none, assert_same_but, assert_untouched, assert_unwritten};
use support::outcome::fault_path;
use support::*;

/// A call that fails, and what must be told of it.
struct Cell {
    /// The operation of FUSE.
    operation: &'static str,
    /// The entry that it is about, below `hit`.
    name: &'static str,
    make: fn(&Tree, &str),
    /// System calls that may be blamed for it; none: the run gets over it.
    blamed: &'static [&'static str],
}

const fn cell(
    operation: &'static str,
    name: &'static str,
    make: fn(&Tree, &str),
    blamed: &'static [&'static str],
) -> Cell {
    Cell { operation, name, make, blamed }
}

const OTHER_NAME: &str = ", its other name";

fn file(tree: &Tree, path: &str) {
    tree.file(path, "content").mtime(1_000_000_000, 1).xattr("trusted.note", "value");
}

/// More than is left to a later flush.
fn long_file(tree: &Tree, path: &str) {
    tree.file(path, vec![7; 1_200_000]).mtime(1_000_000_000, 1);
}

fn symlink(tree: &Tree, path: &str) {
    tree.symlink(path, "nowhere").mtime(1_000_000_000, 1);
}

fn fifo(tree: &Tree, path: &str) {
    tree.fifo(path).mtime(1_000_000_000, 1);
}

fn linked(tree: &Tree, path: &str) {
    tree.file(path, "content").mtime(1_000_000_000, 1);
    tree.hard_link(path, format!("{path}{OTHER_NAME}"));
}

fn directory(tree: &Tree, path: &str) {
    tree.file(format!("{path}/file"), "content").mtime(1_000_000_000, 1);
    tree.file(format!("{path}/directory/file"), "content").mtime(1_000_000_000, 1);
    tree.entry(path).xattr("trusted.note", "value").mtime(1_000_000_000, 2);
}

fn empty_directory(tree: &Tree, path: &str) {
    tree.dir(path).xattr("trusted.note", "value").mtime(1_000_000_000, 2);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Source,
    Target,
}

/// Both trees behind mounts; what is hit lies below `hit`, with names around it that are not.
struct Table {
    pair: Pair,
    source: FaultFs,
    target: FaultFs,
    side: Side,
    cells: &'static [Cell],
}

impl Table {
    fn new(side: Side, cells: &'static [Cell]) -> Table {
        let pair = Pair::new();
        for directory in ["hit", "rest/a", "rest/b"] {
            for name in ["a bystander", "z bystander"] {
                file(&pair.source(), &format!("{directory}/{name}"));
            }
        }
        let (source, target) = (FaultFs::mount(pair.source_path()), FaultFs::mount(pair.target_path()));
        Table { pair, source, target, side, cells }
    }

    /// The entries are in the source only.
    fn with_new(self) -> Table {
        self.cells.iter().for_each(|cell| (cell.make)(&self.pair.source(), &path(cell)));
        self
    }

    /// Both trees have the entries, and they are equal.
    fn with_equal(self) -> Table {
        let table = self.with_new();
        table.pair.sync().run().exits(0);
        table
    }

    /// The target has older versions of the entries. What is to be repaired differs in its metadata only.
    fn with_old(self) -> Table {
        let table = self.with_equal();
        for cell in table.cells {
            let entry = table.pair.source().entry(path(cell));
            entry.xattr("trusted.note", "another");
            if !cell.name.contains("repaired") {
                entry.mtime(1_100_000_000, 3);
            }
        }
        table
    }

    /// The entries are on the target only.
    fn with_extra(self) -> Table {
        self.pair.sync().run().exits(0);
        self.cells.iter().for_each(|cell| (cell.make)(&self.pair.target(), &path(cell)));
        self.pair.target().file("rest/extra/file", "goes");
        self
    }

    fn run(&self, words: &[&str]) -> Outcome {
        let run = Pmirror::new().sync(self.source.path(), self.target.path()).state_dir(self.pair.state_path());
        let (source, target) = (self.source.path().to_str().unwrap(), self.target.path().to_str().unwrap());
        run.words(&[words, &[source, target]].concat()).run_unchecked()
    }

    /// Runs it while the calls fail. Whatever it is: it ends, the books balance, the source is as it was, what both
    /// trees had the target has still, and a dry run changes nothing.
    fn run_while_failing(&self, errno: Errno, command: &[&str]) -> Outcome {
        let (source, target) = (self.pair.source_now(), self.pair.target_now());
        let hit = if self.side == Side::Source { &self.source } else { &self.target };
        for cell in self.cells {
            hit.rule(Rule::on(cell.operation).named(cell.name).error(errno));
        }
        if command[0] != "cmp" {
            let dry = self.run(&[command, &["--dry-run"]].concat());
            dry.assert_books_balance();
            dry.context(|| assert_unwritten(&unlocked(&target), &unlocked(&self.pair.target_now()), "a dry run wrote"));
        }
        let run = self.run(command);
        hit.clear();
        run.assert_books_balance();
        run.context(|| {
            assert_untouched(&source, &self.pair.source_now(), "the source was touched");
            self.pair.assert_canary();
            let now = self.pair.target_now();
            let lost = target.entries.keys().filter(|path| source.has(path) && !now.has(path));
            assert_none(&lost.map(escaped).collect::<Vec<_>>(), "gone from the target, and the source has it");
        });
        run
    }

    /// Each cell, and none but them, is in the list of faults, rightly.
    fn assert_blamed(&self, run: &Outcome, errno: Errno) {
        let side = if self.side == Side::Source { "source" } else { "target" };
        let mut wrong: Vec<String> = Vec::new();
        for cell in self.cells {
            let faults: Vec<_> = run.faults.iter().filter(|fault| is_about(cell, fault)).collect();
            let rightly = faults.iter().filter(|fault| {
                let operation = fault["operation"].as_str().unwrap_or_default();
                fault["side"] == side && fault["errno"] == format!("{errno:?}") && cell.blamed.contains(&operation)
            });
            if rightly.count() == 0 && !cell.blamed.is_empty() || cell.blamed.is_empty() && !faults.is_empty() {
                wrong
                    .push(format!("{} of \"{}\" is to blame {:?}: {faults:?}", cell.operation, cell.name, cell.blamed));
            }
        }
        let strange = run.faults.iter().filter(|fault| !self.cells.iter().any(|cell| is_about(cell, fault)));
        wrong.extend(strange.map(|fault| format!("nothing was to fail here: {fault}")));
        run.context(|| assert_none(&wrong, "other faults were expected"));
    }

    /// All that was not hit is mirrored.
    fn assert_rest_is_mirrored(&self, run: &Outcome) {
        let rest = |mut snapshot: Snapshot| {
            let is_hit = |path: &[u8]| self.cells.iter().any(|cell| !cell.blamed.is_empty() && is_below(cell, path));
            snapshot.entries.retain(|path, _| !is_hit(path));
            snapshot
        };
        run.context(|| assert_same_but(&rest(self.pair.source_now()), &rest(self.pair.target_now()), &[]));
    }

    /// The command, while the calls fail and when nothing does any more: then it makes all right.
    fn fails_and_converges(&self, errno: Errno, command: &[&str]) {
        let run = self.run_while_failing(errno, command).exits(23);
        self.assert_blamed(&run, errno);
        self.assert_rest_is_mirrored(&run);
        let known = Snapshot::paths(self.pair.source_path());
        let next = self.run(command).exits(0);
        next.context(|| {
            self.pair.assert_mirrored();
            assert_no_litter(&known, self.pair.target_path());
        });
    }
}

fn path(cell: &Cell) -> String {
    format!("hit/{}", cell.name)
}

/// The entry itself, what lies below it, or its other name.
fn is_below(cell: &Cell, path: &[u8]) -> bool {
    let rest = path.strip_prefix(b"hit/".as_slice()).and_then(|path| path.strip_prefix(cell.name.as_bytes()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(OTHER_NAME.as_bytes()))
}

fn is_about(cell: &Cell, fault: &Value) -> bool {
    is_below(cell, &fault_path(fault))
}

/// Without the times of the root, below which the lock was.
fn unlocked(snapshot: &Snapshot) -> Snapshot {
    snapshot.clone().without_root()
}

/// What a file system may answer to a look, and to a change.
const OF_LOOKS: &[Errno] = &[Errno::EIO, Errno::EACCES, Errno::ESTALE];
const OF_CHANGES: &[Errno] = &[Errno::EIO, Errno::EACCES, Errno::ESTALE, Errno::ENOSPC];

const LOOKS_AT_NEW: &[Cell] = &[
    cell("lookup", "file, looked up", file, &["openat"]),
    cell("getattr", "file, told", file, &["openat", "statx"]),
    cell("open", "file, opened", file, &["openat"]),
    cell("read", "file, read", file, &["pread"]),
    cell("read", "long file, read", long_file, &["pread", "copy_file_range"]),
    cell("listxattr", "file, attributes listed", file, &["flistxattr"]),
    cell("getxattr", "file, attribute read", file, &["fgetxattr"]),
    cell("flush", "file, closed", file, &[]),
    cell("release", "file, let go", file, &[]),
    cell("lookup", "symlink, looked up", symlink, &["statx"]),
    cell("readlink", "symlink, read", symlink, &["readlinkat"]),
    cell("getattr", "fifo, told", fifo, &["statx"]),
    cell("getattr", "directory, told", directory, &["statx"]),
    cell("opendir", "directory, opened", directory, &["openat2"]),
    cell("readdir", "directory, listed", directory, &["getdents64"]),
    cell("listxattr", "directory, attributes listed", directory, &["flistxattr"]),
    cell("releasedir", "directory, let go", directory, &[]),
];

#[test]
fn what_can_not_be_read_of_new_entries_fails_alone() {
    for errno in OF_LOOKS {
        Table::new(Side::Source, LOOKS_AT_NEW).with_new().fails_and_converges(*errno, &["sync"]);
    }
}

const CHANGES_OF_NEW: &[Cell] = &[
    cell("lookup", "file, looked up", file, &["openat"]),
    cell("create", "file, made", file, &["openat"]),
    cell("write", "file, written", file, &["pwrite"]),
    cell("setxattr", "file, attribute set", file, &["fsetxattr"]),
    cell("setattr", "file, told", file, &["fchown", "fchmod"]),
    cell("flush", "file, closed", file, &["close"]),
    cell("fsync", "file, made durable", long_file, &["fdatasync"]),
    cell("release", "file, let go", file, &[]),
    cell("symlink", "symlink, made", symlink, &["symlinkat"]),
    cell("setattr", "symlink, told", symlink, &["fchownat", "utimensat"]),
    cell("mknod", "fifo, made", fifo, &["mknodat"]),
    cell("link", "file, linked", linked, &["linkat"]),
    cell("mkdir", "directory, made", directory, &["mkdirat"]),
    cell("opendir", "directory, opened", directory, &["openat2"]),
    cell("setattr", "directory, told", empty_directory, &["fchmod", "fchown"]),
    cell("setxattr", "directory, attribute set", empty_directory, &["fsetxattr"]),
];

#[test]
fn what_can_not_be_made_fails_alone() {
    for errno in OF_CHANGES {
        Table::new(Side::Target, CHANGES_OF_NEW).with_new().fails_and_converges(*errno, &["sync"]);
    }
}

const LOOKS_AT_OLD: &[Cell] = &[
    cell("lookup", "file, looked up", file, &["statx"]),
    cell("getattr", "file, told", file, &["statx"]),
    cell("open", "file, opened", file, &["openat"]),
    cell("read", "file, read", file, &["pread"]),
    cell("listxattr", "repaired, attributes listed", file, &["flistxattr"]),
    cell("getxattr", "repaired, attribute read", file, &["fgetxattr"]),
    cell("readlink", "symlink, read", symlink, &["readlinkat"]),
    cell("opendir", "directory, opened", directory, &["openat2"]),
    cell("readdir", "directory, listed", directory, &["getdents64"]),
    cell("getattr", "directory, told", directory, &["statx"]),
    cell("listxattr", "directory, attributes listed", directory, &["flistxattr"]),
];

#[test]
fn what_can_not_be_read_of_changed_entries_fails_alone() {
    for errno in OF_LOOKS {
        Table::new(Side::Source, LOOKS_AT_OLD).with_old().fails_and_converges(*errno, &["sync"]);
    }
}

const CHANGES_OF_OLD: &[Cell] = &[
    cell("lookup", "file, looked up", file, &["statx"]),
    cell("getattr", "file, told", file, &["statx"]),
    cell("rename", "file, renamed", file, &["renameat"]),
    cell("rename", "symlink, renamed", symlink, &["renameat"]),
    cell("readlink", "symlink, read", symlink, &["readlinkat"]),
    cell("setxattr", "repaired, attribute set", file, &["setxattr"]),
    cell("listxattr", "repaired, attributes listed", file, &["listxattr"]),
    cell("opendir", "directory, opened", directory, &["openat2"]),
    cell("readdir", "directory, listed", directory, &["getdents64"]),
    cell("setattr", "directory, told", directory, &["utimensat"]),
    cell("setxattr", "directory, repaired", directory, &["fsetxattr"]),
];

#[test]
fn what_can_not_be_changed_fails_alone() {
    for errno in OF_CHANGES {
        Table::new(Side::Target, CHANGES_OF_OLD).with_old().fails_and_converges(*errno, &["sync"]);
    }
}

const REMOVALS: &[Cell] = &[
    cell("unlink", "file, removed", file, &["unlinkat"]),
    cell("lookup", "file, looked up", file, &["unlinkat"]),
    cell("unlink", "symlink, removed", symlink, &["unlinkat"]),
    cell("rmdir", "directory, removed", empty_directory, &["rmdir"]),
    cell("opendir", "directory, opened", directory, &["openat2"]),
    cell("readdir", "directory, listed", directory, &["getdents64"]),
    cell("getattr", "directory, told", directory, &["statx"]),
];

#[test]
fn what_can_not_be_removed_stays_alone() {
    for errno in OF_LOOKS {
        for command in [&["sync", "--delete"][..], &["rm", "--target-only"]] {
            Table::new(Side::Target, REMOVALS).with_extra().fails_and_converges(*errno, command);
        }
    }
}

const LOOKS_FOR_EXTRA: &[Cell] = &[
    cell("lookup", "file, looked for", file, &["statx"]),
    cell("lookup", "directory, looked for", directory, &["statx"]),
];

#[test]
fn what_can_not_be_looked_for_in_the_source_is_not_removed() {
    for errno in OF_LOOKS {
        for command in [&["sync", "--delete"][..], &["rm", "--target-only"]] {
            let table = Table::new(Side::Source, LOOKS_FOR_EXTRA).with_extra();
            let before = Snapshot::paths(table.pair.target_path());
            let run = table.run_while_failing(*errno, command).exits(23);
            table.assert_blamed(&run, *errno);
            let gone = before.difference(&Snapshot::paths(table.pair.target_path())).cloned().collect::<Vec<_>>();
            run.context(|| assert_eq!(gone, [b"rest/extra".to_vec(), b"rest/extra/file".to_vec()]));
            table.run(command).exits(0);
            table.pair.assert_mirrored();
        }
    }
}
