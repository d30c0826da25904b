//! One slow thing never stops the rest: what has no answer is parked, all else is done, and who comes back
//! late changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::*;

/// Both trees on our file system, with a directory in which one name hangs and others where none does.
struct Mounted {
    source: FaultFs,
    target: FaultFs,
    pair: Pair,
}

const RUN_ID: &str = "parked";
const OP_TIMEOUT: Duration = Duration::from_secs(2);

impl Mounted {
    fn new(make: impl Fn(&Pair)) -> Mounted {
        let pair = Pair::new();
        for directory in 0..6 {
            for file in 0..8 {
                pair.source().file(format!("rest/{directory}/{file}"), "content");
            }
        }
        make(&pair);
        let (source, target) = (FaultFs::mount(pair.source_path()), FaultFs::mount(pair.target_path()));
        Mounted { source, target, pair }
    }

    fn with_file() -> Mounted {
        Mounted::new(|pair| {
            pair.source().file("odd/stuck", "hangs");
            pair.source().file("odd/other", "does not");
        })
    }

    fn summary(&self) -> PathBuf {
        self.pair.state_path().join(RUN_ID).join("summary.json")
    }

    fn sync(&self) -> Pmirror {
        Pmirror::new().sync(self.source.path(), self.target.path()).state_dir(self.pair.state_path())
    }

    /// Runs it while calls hang by this rule, which is lifted only when the run has written its summary: a
    /// thread in the kernel keeps its process until then.
    fn run_while(&self, on: &FaultFs, rule: Rule, command: Pmirror) -> Outcome {
        let rule = on.rule(rule);
        let command = command.args(&["--op-timeout", "2s"]).run_id(RUN_ID);
        let summary = self.summary();
        let started = Instant::now();
        let (run, took) = std::thread::scope(|scope| {
            let run = scope.spawn(|| command.run_unchecked());
            while !summary.exists() && !run.is_finished() && started.elapsed() < Duration::from_secs(40) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let took = started.elapsed();
            on.lift(rule);
            (run.join().unwrap(), took)
        });
        run.context(|| assert!(took < Duration::from_secs(30), "it ended after {took:?}"));
        run.context(|| assert!(took >= OP_TIMEOUT, "nothing was waited for: {took:?}"));
        run.assert_books_balance();
        run
    }

    fn assert_rest_is_mirrored(&self) {
        let (source, target) = (self.pair.source_now().below("rest"), self.pair.target_now().below("rest"));
        compare::assert_same_but(&source, &target, &[]);
    }

    /// The same command, when all answers again, makes all right and takes away what was left.
    fn assert_converges(&self) {
        self.sync().run_unchecked().exits(0);
        self.pair.assert_mirrored();
        assert_no_litter(&Snapshot::paths(self.pair.source_path()), self.pair.target_path());
    }
}

fn assert_parked(run: &Outcome, path: &str, side: &str) {
    run.has_fault(path, side, Errno::ETIMEDOUT);
    assert_eq!(run.number("/parked"), 1, "{}", run.summary());
}

fn file_hangs(operation: &str, on_source: bool, ranks: Ranks) {
    let mounted = Mounted::with_file();
    let on = if on_source { &mounted.source } else { &mounted.target };
    let rule = Rule::on(operation).named("stuck").hang();
    let run = mounted.run_while(on, rule, mounted.sync().ranks(ranks)).exits(23);
    assert_parked(&run, "odd/stuck", if on_source { "source" } else { "target" });
    assert_eq!(run.total("failed"), 1);
    mounted.assert_rest_is_mirrored();
    mounted.assert_converges();
}

#[test]
fn a_source_file_that_can_not_be_opened_does_not_stop_the_rest() {
    file_hangs("open", true, Ranks::One);
}

#[test]
fn a_source_file_that_can_not_be_read_does_not_stop_the_rest() {
    file_hangs("read", true, Ranks::One);
}

#[test]
fn nor_that_of_several_ranks() {
    file_hangs("read", true, Ranks::Mpirun(3));
}

#[test]
fn a_target_file_that_can_not_be_written_does_not_stop_the_rest() {
    file_hangs("write", false, Ranks::One);
}

#[test]
fn a_target_file_whose_metadata_can_not_be_set_does_not_stop_the_rest() {
    file_hangs("setattr", false, Ranks::One);
}

#[test]
fn a_copy_that_can_not_be_renamed_does_not_stop_the_rest() {
    let mounted = Mounted::with_file();
    mounted.pair.target().file("odd/stuck", "of old").mtime(1_000, 1);
    let run = mounted.run_while(&mounted.target, Rule::on("rename").hang(), mounted.sync()).exits(23);
    // The kernel holds the directory's lock meanwhile, so its other names may hang, too.
    run.has_fault("odd/stuck", "target", Errno::ETIMEDOUT);
    mounted.assert_rest_is_mirrored();
    assert_eq!(
        std::fs::read(mounted.pair.target_path().join("odd/stuck")).unwrap(),
        b"hangs",
        "the rename went on late"
    );
    mounted.assert_converges();
}

#[test]
fn a_target_entry_that_can_not_be_looked_at_does_not_stop_the_rest() {
    let mounted = Mounted::with_file();
    mounted.sync().run_unchecked().exits(0);
    mounted.pair.source().file("odd/stuck", "has changed").mtime(2_000, 1);
    mounted.pair.source().file("rest/0/0", "has changed").mtime(2_000, 1);
    let rule = Rule::on_each(&["getattr", "lookup"]).named("stuck").hang();
    let run = mounted.run_while(&mounted.target, rule, mounted.sync()).exits(23);
    run.has_fault("odd/stuck", "target", Errno::ETIMEDOUT);
    mounted.assert_rest_is_mirrored();
    mounted.assert_converges();
}

#[test]
fn a_directory_that_can_not_be_listed_does_not_stop_the_rest() {
    for on_source in [true, false] {
        let mounted = Mounted::with_file();
        mounted.pair.target().file("odd/older", "only here");
        let on = if on_source { &mounted.source } else { &mounted.target };
        let rule = Rule::on("readdir").named("odd").hang();
        let run = mounted.run_while(on, rule, mounted.sync().arg("--delete")).exits(23);
        assert_parked(&run, "odd", if on_source { "source" } else { "target" });
        run.counts("directory", &[("created", 7), ("failed", 1), ("metadata_only", 1)]);
        assert!(mounted.pair.target_now().has("odd/older"), "what was not listed proves nothing");
        mounted.assert_rest_is_mirrored();
    }
}

#[test]
fn a_name_that_is_parked_is_not_taken_for_one_that_only_the_target_has() {
    let mounted = Mounted::with_file();
    mounted.sync().run_unchecked().exits(0);
    mounted.pair.source().file("odd/stuck", "has changed").mtime(2_000, 1);
    mounted.pair.target().file("odd/older", "only here");
    let rule = Rule::on("open").named("stuck").hang();
    let run = mounted.run_while(&mounted.source, rule, mounted.sync().arg("--delete")).exits(23);
    assert_parked(&run, "odd/stuck", "source");
    let target = mounted.pair.target_now();
    assert!(target.has("odd/stuck") && !target.has("odd/older"));
}

#[test]
fn a_name_that_can_not_be_removed_does_not_stop_the_rest() {
    for tree in [true, false] {
        let mounted = Mounted::new(|pair| {
            pair.target().file("gone/deep/stuck", "hangs");
            pair.target().file("gone/below/file", "goes");
            pair.target().file("gone too/file", "goes");
        });
        let state = mounted.pair.state_path();
        let command = match tree {
            true => Pmirror::new().rm_tree(mounted.target.path().join("gone")).state_dir(&state),
            false => Pmirror::new().rm(mounted.source.path(), mounted.target.path()).state_dir(&state),
        };
        let run = mounted.run_while(&mounted.target, Rule::on("unlink").named("stuck").hang(), command).exits(23);
        run.has_fault(if tree { "deep/stuck" } else { "gone/deep/stuck" }, "target", Errno::ETIMEDOUT);
        assert_eq!(run.removals("failed"), 1, "{}", run.summary());
        let target = mounted.pair.target_now();
        assert!(target.has("gone/deep") && !target.has("gone/below"));
        assert!(tree || !target.has("gone too"));
    }
}

#[test]
fn a_file_that_can_not_be_compared_does_not_stop_the_rest() {
    let mounted = Mounted::with_file();
    mounted.sync().run_unchecked().exits(0);
    let cmp = Pmirror::new().cmp(mounted.source.path(), mounted.target.path()).state_dir(mounted.pair.state_path());
    let rule = Rule::on("read").named("stuck").hang();
    let run = mounted.run_while(&mounted.target, rule, cmp.args(&["--level", "hash"])).exits(23);
    assert_parked(&run, "odd/stuck", "target");
    assert_eq!((run.count("file", "same"), run.total("different")), (49, 0));
}

#[test]
fn who_comes_back_late_changes_nothing() {
    // In the root, so that all else has its turn when this name is parked.
    let mounted = Mounted::new(|pair| drop(pair.source().file("stuck", "hangs")));
    mounted.target.rule(Rule::on("create").latency(Duration::from_millis(300)));
    let rule = mounted.target.rule(Rule::on("write").named("stuck").hang());
    mounted.target.start_log();
    let command = mounted.sync().args(&["--op-timeout", "2s", "--threads", "2"]).run_id(RUN_ID);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| command.run_unchecked());
        // The rest begins when the name is parked.
        let begins =
            |call: &String| call.starts_with("create ") && call[7..].starts_with(|first: char| first.is_ascii_digit());
        let started = Instant::now();
        while !mounted.target.take_log().iter().any(begins) && started.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        mounted.target.lift(rule);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!mounted.summary().exists(), "the run was over too early to show anything");
        run.join().unwrap()
    });
    let run = run.exits(23);
    assert_parked(&run, "stuck", "target");
    let late = |call: &String| call.contains("stuck") && !call.starts_with("flush") && !call.starts_with("release");
    let late: Vec<String> = mounted.target.take_log().into_iter().filter(late).collect();
    assert!(late.iter().all(|call| call.starts_with("write")), "{late:?}");
    let (source, target) = (mounted.pair.source_now(), mounted.pair.target_now());
    assert_ne!(source.entries[&b"stuck"[..]].mtime(), target.entries[&b"stuck"[..]].mtime());
    mounted.assert_rest_is_mirrored();
    mounted.target.clear();
    mounted.assert_converges();
}

#[test]
fn a_stop_does_not_wait_for_who_hangs() {
    let mounted = Mounted::with_file();
    let rule = mounted.source.rule(Rule::on("read").named("stuck").hang());
    let stop = ["timeout", "--preserve-status", "-s", "TERM", "1"];
    let command = mounted.sync().wrapped_by(&stop).run_id(RUN_ID);
    let started = Instant::now();
    let (run, took) = std::thread::scope(|scope| {
        let run = scope.spawn(|| command.run_unchecked());
        while !mounted.summary().exists() && started.elapsed() < Duration::from_secs(40) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = started.elapsed();
        mounted.source.lift(rule);
        (run.join().unwrap(), took)
    });
    let run = run.exits(20);
    run.assert_books_balance();
    run.context(|| assert!(took < Duration::from_secs(25), "it ended after {took:?}"));
    assert!(run.total("unfinished") > 0 && run.number("/parked") == 0);
    mounted.assert_converges();
}
