//! File systems that fail or hang at one call: the entry is failed and listed, nothing half-made stays,
//! the rest goes on.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::*;

/// Both trees behind mounts that obey rules.
struct Broken {
    pair: Pair,
    source: FaultFs,
    target: FaultFs,
}

impl Broken {
    /// Five files, `bad` among them.
    fn new() -> Broken {
        let pair = Pair::new();
        for name in ["a", "b", "bad", "c", "directory/d"] {
            pair.source().file(name, name).mtime(1_000_000_000, 0);
        }
        // An owner over quota takes no others along.
        pair.source().entry("bad").owner(1_000, 1_000);
        let source = FaultFs::mount(pair.source_path());
        let target = FaultFs::mount(pair.target_path());
        Broken { pair, source, target }
    }

    fn sync(&self) -> Pmirror {
        Pmirror::new().sync(self.source.path(), self.target.path()).state_dir(self.pair.state_path())
    }

    fn on_target(&self, name: &str) -> PathBuf {
        self.pair.target_path().join(name)
    }

    /// Runs it; the rules would also strike who looks at the trees before and after.
    fn run(&self) -> Outcome {
        let outcome = self.sync().run_unchecked();
        outcome.assert_books_balance();
        outcome
    }

    /// Runs while `bad` can not be copied, and once more when it can.
    fn fails_once(&self, errno: Errno) {
        let run = self.run().exits(23);
        assert_eq!((run.count("file", "created"), run.count("file", "failed")), (4, 1));
        let fault = run.faults[0].to_string();
        assert!(fault.contains("\"bad\"") && fault.contains(&format!("{errno:?}")), "{fault}");
        assert!(!self.on_target("bad").exists(), "nothing half-made stays");
        self.source.clear();
        self.target.clear();
        self.sync().run().exits(0);
        self.pair.assert_mirrored();
    }
}

#[test]
fn a_file_that_can_not_be_opened_or_read_is_failed() {
    for operation in ["open", "read", "listxattr"] {
        let broken = Broken::new();
        broken.source.rule(Rule::on(operation).named("bad").error(Errno::EIO));
        broken.fails_once(Errno::EIO);
    }
}

#[test]
fn a_file_that_can_not_be_written_or_closed_is_failed_and_taken_away() {
    for (operation, errno) in
        [("create", Errno::EDQUOT), ("write", Errno::ENOSPC), ("setattr", Errno::EIO), ("flush", Errno::EDQUOT)]
    {
        let broken = Broken::new();
        broken.target.rule(Rule::on(operation).named("bad").error(errno));
        broken.fails_once(errno);
    }
}

#[test]
fn a_replacement_that_can_not_be_flushed_leaves_the_old_file() {
    let broken = Broken::new();
    broken.pair.target().file("bad", "old content");
    broken.target.rule(Rule::on("fsync").named(".pmirror-*").error(Errno::EIO));
    let run = broken.run().exits(23);
    assert_eq!(run.count("file", "failed"), 1);
    assert_eq!(std::fs::read_to_string(broken.on_target("bad")).unwrap(), "old content");
    broken.target.clear();
    broken.sync().run().exits(0);
    broken.pair.assert_mirrored();
}

#[test]
fn a_directory_whose_listing_breaks_off_is_failed_and_the_rest_goes_on() {
    let broken = Broken::new();
    broken.source.rule(Rule::on("readdir").named("directory").error(Errno::EIO));
    let run = broken.run().exits(23);
    assert_eq!((run.count("file", "created"), run.count("directory", "failed")), (4, 1));
    broken.source.clear();
    broken.sync().run().exits(0);
    broken.pair.assert_mirrored();
}

#[test]
fn calls_that_are_interrupted_are_made_again() {
    let broken = Broken::new();
    broken.source.rule(Rule::on_each(&["open", "read"]).named("bad").first(3).error(Errno::EINTR));
    broken.target.rule(Rule::on_each(&["create", "write", "setattr"]).named("bad").first(3).error(Errno::EINTR));
    broken.run().exits(0);
    broken.pair.assert_mirrored();
}

#[test]
fn a_read_only_target_is_refused_before_any_change() {
    let broken = Broken::new();
    broken.target.rule(Rule::on("modifying").error(Errno::EROFS));
    let run = broken.sync().run_unchecked();
    assert!([3, 11].contains(&run.code), "exit code {}", run.code);
    assert!(String::from_utf8_lossy(&run.stderr).contains("EROFS"));
}

/// What waits with it is the rest of its item: other names of its directory.
#[test]
fn a_call_that_hangs_does_not_stop_other_directories() {
    let broken = Broken::new();
    broken.pair.source().file("stuck/bad2", "late");
    for name in 0..20 {
        broken.pair.source().file(format!("other-{name}/file"), "content");
    }
    let rule = broken.source.rule(Rule::on("open").named("bad2").hang());
    let sync = broken.sync().args(&["--threads", "2"]);
    let run = std::thread::spawn(move || sync.run_unchecked());
    let others = || (0..20).all(|name| broken.on_target(&format!("other-{name}/file")).exists());
    let start = Instant::now();
    while !others() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (done, over) = (others(), run.is_finished());
    broken.source.lift(rule);
    run.join().unwrap().exits(0);
    assert!(done && !over, "the others are done: {done}, the run is over: {over}");
    broken.pair.assert_mirrored();
}
