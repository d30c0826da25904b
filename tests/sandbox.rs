//! `--sandbox`: with it all comes out as without it, and what it forbids the kernel refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use serde_json::json;
use support::inject::{self, Blow, Sort, Step};
use support::*;

const SANDBOX: &str = "--sandbox";

/// One source and two targets that are alike: one of a run with the sandbox, one of a run without.
struct Twins {
    source: Pair,
    bare: Pair,
    boxed: Pair,
}

impl Twins {
    fn new(fill_source: impl Fn(&Tree), fill_target: impl Fn(&Tree)) -> Twins {
        let twins = Twins { source: Pair::new(), bare: Pair::new(), boxed: Pair::new() };
        fill_source(&twins.source.source());
        for target in [&twins.bare, &twins.boxed] {
            fill_target(&target.target());
            // Both roots may be born in one tick of the clock: then, and only then, their times are equal.
            target.target().root().mtime(1_000_000_000, 0);
        }
        twins
    }

    /// A command in both ways; books and targets must be alike. Returns the run in the sandbox.
    fn run(&self, code: i32, command: impl Fn(Pmirror, &Pair) -> Pmirror) -> Outcome {
        let boxed = self.run_by_books(code, command);
        assert_same(self.bare.target_path(), self.boxed.target_path());
        assert_same_links(self.bare.target_path(), self.boxed.target_path());
        boxed
    }

    /// The same for a command that leaves the time of its end in the target.
    fn run_by_books(&self, code: i32, command: impl Fn(Pmirror, &Pair) -> Pmirror) -> Outcome {
        let run = |target: &Pair| {
            let sync = target.sync().sync(self.source.source_path(), target.target_path());
            command(sync, target)
        };
        let bare = run(&self.bare).run().exits(code);
        let boxed = run(&self.boxed).arg(SANDBOX).run().exits(code);
        assert_eq!(bare.books(), boxed.books());
        assert_eq!(bare.summary()["removals"], boxed.summary()["removals"]);
        assert!(bare.summary().get("sandbox").is_none());
        boxed
    }
}

fn wears_all(run: &Outcome) {
    run.context(|| {
        assert_eq!(run.summary()["sandbox"], json!({"source_read_only": true, "landlock": true, "missing": []}));
    });
}

fn tree(seed: u64) -> impl Fn(&Tree) {
    move |tree| RandomTree::new(seed, 300).linked().build_among(60, tree)
}

fn empty(_: &Tree) {}

#[test]
fn a_random_tree_is_mirrored_as_without_by_one_rank_and_by_three() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let twins = Twins::new(tree(7_101), empty);
        let run = twins.run(0, |sync, _| sync.ranks(ranks));
        wears_all(&run);
        run.says("sandbox: we see SRC read-only");
        assert_same(twins.source.source_path(), twins.boxed.target_path());
        let again = twins.run(0, |sync, _| sync.ranks(ranks));
        assert_eq!(again.total("created") + again.total("updated") + again.total("metadata_only"), 0);
    }
}

#[test]
fn what_the_source_lacks_goes_and_what_changed_is_replaced_as_without() {
    let with_file = |seed: u64, content: &'static str| {
        move |tree_: &Tree| {
            tree(seed)(tree_);
            tree_.file("changed", content);
        }
    };
    let twins = Twins::new(with_file(7_102, "new content"), with_file(7_103, "old"));
    let limits = ["--delete", "--hold-threshold", "100%", "--checksum"];
    let run = twins.run(0, |sync, _| sync.args(&limits).ranks(Ranks::Mpirun(3)));
    wears_all(&run);
    assert!(run.removals("removed") > 0 && run.total("updated") > 0, "{:?}", run.totals());
    assert_same(twins.source.source_path(), twins.boxed.target_path());
}

#[test]
fn large_and_sparse_files_in_chunks_are_copied_and_verified_as_without() {
    let fill = |tree: &Tree| {
        tree.file("large", vec![7; (1 << 20) + 77]).mode(0o4750).owner(5, 6).capability();
        tree.sparse("sparse", 3 << 20, &[(1 << 20, b"in the middle")]);
        tree.hard_link("large", "below/second");
    };
    let twins = Twins::new(fill, empty);
    let run = twins.run(0, |sync, _| sync.args(&["--chunk-size=64K", "--verify=xxh3"]).ranks(Ranks::Mpirun(3)));
    wears_all(&run);
    assert_same(twins.source.source_path(), twins.boxed.target_path());
}

#[test]
fn comparing_removing_and_setting_times_are_as_without() {
    let twins = Twins::new(tree(7_104), empty);
    twins.run(0, |sync, _| sync);
    for target in [&twins.bare, &twins.boxed] {
        target.target().file("only here/file", "content").mtime(1_000_000_000, 0);
        target.target().entry("only here").mtime(1_000_000_000, 0);
        target.target().root().mtime(1_000_000_000, 0);
    }
    let source = twins.source.source_path();
    wears_all(&twins.run(26, |_, pair| pair.cmp().cmp(&source, pair.target_path()).args(&["--level", "hash"])));
    wears_all(&twins.run_by_books(0, |_, pair| pair.rm().rm(&source, pair.target_path())));
    wears_all(&twins.run(0, |_, pair| pair.mtimes().mtimes(&source, pair.target_path())));
    wears_all(&twins.run(0, |sync, _| sync.arg("--dry-run")));
    assert_same(source, twins.boxed.target_path());

    let removed = Pmirror::new().rm_tree(twins.boxed.target_path()).state_dir(twins.boxed.state_path()).arg(SANDBOX);
    let removed = removed.run().exits(0);
    assert_eq!(removed.summary()["sandbox"], json!({"source_read_only": null, "landlock": true, "missing": []}));
    assert!(!twins.boxed.target_path().exists());
}

#[test]
fn a_run_that_was_stopped_goes_on_in_the_sandbox_it_began_in() {
    let pair = Pair::new();
    for index in 0..200 {
        pair.source().file(format!("d{}/{index}", index % 10), format!("content {index}"));
    }
    let slow = pair.sync().args(&[SANDBOX, "--ops-limit", "60/s", "--stop-at", "+2s"]).run_id("stopped");
    slow.run_unchecked().exits(75);
    let resumed = pair.sync().resumed("stopped").args(&["--ops-limit", "1M/s"]).run().exits(0);
    wears_all(&resumed);
    assert_eq!(resumed.count("file", "created"), 200);
    pair.assert_mirrored();
}

#[test]
fn an_ordinary_user_has_landlock_and_is_told_why_not_the_view() {
    let run = |options: &[&str]| {
        let pair = Pair::new();
        // Below the root: whoever may not read that is refused.
        pair.source().dir("tree");
        tree(7_105)(&Tree::at(pair.source_path().join("tree")));
        pair.source().root().mtime(2_000_000_000, 0);
        pair.give_to(NOBODY).target().root().mtime(1_000_000_000, 0);
        let run = pair.sync().as_user(NOBODY).args(options).run().exits(23);
        (pair, run)
    };
    let ((bare_pair, bare), (boxed_pair, boxed)) = (run(&[]), run(&[SANDBOX]));
    let boxed = boxed.says("no read-only view of SRC: it needs CAP_SYS_ADMIN");
    let sandbox = &boxed.summary()["sandbox"];
    assert_eq!((&sandbox["source_read_only"], &sandbox["landlock"]), (&json!(false), &json!(true)));
    assert_eq!(bare.books(), boxed.books());
    // What can not be read keeps the time at which its failed copy was made.
    compare::assert_same_but(&bare_pair.target_now(), &boxed_pair.target_now(), &["mtime"]);
}

/// Mounts a file system in the source, for this run alone; then an option of mount(8) for it.
fn with_mount(pair: &Pair, option: &str) -> Outcome {
    pair.source().dir("mounted");
    let place = pair.source_path().join("mounted");
    let script =
        "mount -t tmpfs none \"$0\" && mount \"$1\" \"$0\" && echo content >\"$0/inside\" && shift && exec \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", script, place.to_str().unwrap(), option];
    pair.sync().arg(SANDBOX).wrapped_by(&wrapper).run_unchecked().exits(0)
}

#[test]
fn what_is_mounted_in_the_source_is_in_the_view() {
    let pair = Pair::new();
    wears_all(&with_mount(&pair, "--make-private"));
    assert_eq!(std::fs::read(pair.target_path().join("mounted/inside")).unwrap(), b"content\n");
}

#[test]
fn a_mount_that_a_view_would_lack_is_mirrored_without_one() {
    let pair = Pair::new();
    let run = with_mount(&pair, "--make-unbindable").says("no read-only view of SRC: what is mounted at");
    assert_eq!(run.summary()["sandbox"]["source_read_only"], false);
    assert_eq!(std::fs::read(pair.target_path().join("mounted/inside")).unwrap(), b"content\n");
}

/// Alters the opening of `SRC/file`: as if the program had a mistake, or somebody had got into it.
fn with_wrong_open(options: &[&str], blow: Blow) -> (Pair, Outcome) {
    let pair = Pair::new();
    pair.source().file("file", "content of the source");
    pair.beside().file("elsewhere/file", "somebody else's");
    let sync = pair.sync().args(options).working_dir(pair.top_path().join("elsewhere"));
    let is_it = |step: &Step| step.call == "open" && step.path.ends_with("/file");
    let struck = inject::run_aimed(&sync, Sort::Looks, is_it, blow);
    assert!(struck.steps.iter().any(is_it), "the file was never opened");
    (pair, struck.outcome)
}

#[test]
fn a_file_of_the_source_that_is_opened_for_writing_is_refused_by_the_kernel() {
    let (boxed, run) = with_wrong_open(&[SANDBOX], Blow::OpenToWrite);
    let run = run.exits(23);
    run.has_fault("file", "source", Errno::EROFS);
    assert!(!boxed.target_path().join("file").exists(), "no fault is skipped in silence");
    boxed.sync().run().exits(0);
    boxed.assert_mirrored();

    // Without the sandbox nothing stops it.
    with_wrong_open(&[], Blow::OpenToWrite).1.exits(0);
}

#[test]
fn a_file_outside_both_trees_can_not_be_opened() {
    let (boxed, run) = with_wrong_open(&[SANDBOX], Blow::OpenElsewhere);
    let run = run.exits(23);
    run.has_fault("file", "source", Errno::EACCES);
    assert!(!boxed.target_path().join("file").exists());

    // Without the sandbox it is read and copied: the test sees what it claims to see.
    let (bare, run) = with_wrong_open(&[], Blow::OpenElsewhere);
    run.exits(0);
    assert_eq!(std::fs::read(bare.target_path().join("file")).unwrap(), b"somebody else's");
}

#[test]
fn the_start_tells_who_can_reach_the_target() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    pair.beside().root().mode(0o755);
    pair.target().root().mode(0o750).owner(0, 100);
    let run = pair.sync().run().exits(0).says("some users can reach DST while it is written");
    assert_eq!(run.summary()["target_reach"]["users"], "some");
    pair.beside().root().mode(0o700);
    let run = pair.sync().run().exits(0).says("only root can reach DST while it is written");
    assert_eq!(run.summary()["target_reach"]["users"], "none");

    let quiet = pair.sync().arg("--quiet").run().exits(0);
    assert!(quiet.stderr.is_empty());
    let dry = pair.sync().arg("--dry-run").run().exits(0);
    assert!(dry.summary().get("target_reach").is_none(), "nothing is written");
}
