//! A source, a target, a state directory, and a canary beside them that must not change.

use super::compare;
use super::run::Pmirror;
use super::snapshot::Snapshot;
use super::tree::Tree;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directories of one test, removed with it.
pub struct Pair {
    top: PathBuf,
    canary: Snapshot,
}

impl Pair {
    /// An empty source and an empty target.
    pub fn new() -> Pair {
        let pair = Pair::without_target();
        std::fs::create_dir(pair.target_path()).unwrap();
        pair
    }

    /// An empty source and an empty target on a file system of its own.
    pub fn below(dir: impl AsRef<Path>) -> Pair {
        let pair = Pair::without_target_below(dir.as_ref());
        std::fs::create_dir(pair.target_path()).unwrap();
        pair
    }

    /// An empty source and no target yet.
    pub fn without_target() -> Pair {
        Pair::without_target_below(&super::needs::test_dir())
    }

    fn without_target_below(dir: &Path) -> Pair {
        let top = tempfile::TempDir::with_prefix_in("pmirror-test-", dir);
        let top = top.unwrap().keep();
        for name in ["source", "state", "canary"] {
            std::fs::create_dir(top.join(name)).unwrap();
        }
        let tree = Tree::at(&top);
        tree.root().mode(0o755);
        tree.file("canary/file", "sings").mtime(1_000_000_000, 5);
        tree.symlink("canary/link", "file");
        tree.dir("canary/directory").mode(0o2750);
        let canary = Snapshot::take(top.join("canary"));
        Pair { top, canary }
    }

    /// The directory that holds them all; what a test puts here lies in neither tree.
    pub fn beside(&self) -> Tree {
        Tree::at(&self.top)
    }

    /// The source, to be filled.
    pub fn source(&self) -> Tree {
        Tree::at(self.source_path())
    }

    /// The target, to be prepared.
    pub fn target(&self) -> Tree {
        Tree::at(self.target_path())
    }

    pub fn source_path(&self) -> PathBuf {
        self.top.join("source")
    }

    pub fn target_path(&self) -> PathBuf {
        self.top.join("target")
    }

    pub fn state_path(&self) -> PathBuf {
        self.top.join("state")
    }

    pub fn top_path(&self) -> &Path {
        &self.top
    }

    /// All that can be seen of the source now.
    pub fn source_now(&self) -> Snapshot {
        Snapshot::take(self.source_path())
    }

    /// All that can be seen of the target now.
    pub fn target_now(&self) -> Snapshot {
        Snapshot::take(self.target_path())
    }

    /// `pmirror sync` from the source to the target, to be refined and run.
    pub fn sync(&self) -> Pmirror {
        let sync = Pmirror::new().sync(self.source_path(), self.target_path());
        sync.state_dir(self.state_path()).copied_to(&self.top)
    }

    /// `pmirror rm --target-only` with the source and the target, to be refined and run.
    pub fn rm(&self) -> Pmirror {
        let rm = Pmirror::new().rm(self.source_path(), self.target_path());
        rm.state_dir(self.state_path()).copied_to(&self.top)
    }

    /// `pmirror cmp` of the source and the target, to be refined and run.
    pub fn cmp(&self) -> Pmirror {
        let cmp = Pmirror::new().cmp(self.source_path(), self.target_path());
        cmp.state_dir(self.state_path()).copied_to(&self.top)
    }

    /// `pmirror mtimes` of the source and the target, to be refined and run.
    pub fn mtimes(&self) -> Pmirror {
        let mtimes = Pmirror::new().mtimes(self.source_path(), self.target_path());
        mtimes.state_dir(self.state_path()).copied_to(&self.top)
    }

    /// `pmirror retry` of a run from the source to the target, to be refined and run.
    pub fn retry(&self, run: impl AsRef<std::ffi::OsStr>) -> Pmirror {
        let retry = Pmirror::new().retry(self.source_path(), self.target_path(), run);
        retry.state_dir(self.state_path()).copied_to(&self.top)
    }

    /// Gives the target and the state directory to a user.
    pub fn give_to(&self, (user, group): (u32, u32)) -> &Pair {
        let top = self.beside();
        top.entry("state").owner(user, group);
        top.entry("target").owner(user, group);
        self
    }

    /// Fails unless the target mirrors the source and nothing beside them changed.
    pub fn assert_mirrored(&self) {
        compare::assert_same(self.source_path(), self.target_path());
        self.assert_canary();
    }

    /// The same, but for these aspects of the entries.
    pub fn assert_mirrored_but(&self, aspects: &[&str]) {
        compare::assert_same_but(&self.source_now(), &self.target_now(), aspects);
        self.assert_canary();
    }

    /// Fails if anything changed outside the trees.
    pub fn assert_canary(&self) {
        let now = Snapshot::take(self.top.join("canary"));
        compare::assert_untouched(&self.canary, &now, "changed outside the trees");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // rm goes down by descriptor and without recursion: the trees may be deep.
        let _ = Command::new("rm").arg("-rf").arg("--").arg(&self.top).status();
    }
}
