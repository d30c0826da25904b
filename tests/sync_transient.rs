//! What may pass is tried again, a target that takes nothing more stops the run in order, and failures that come
//! thick make a rank look at its roots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::process::Command;
use support::*;

/// Both trees on our file system.
struct Mounted {
    source: FaultFs,
    target: FaultFs,
    pair: Pair,
}

const SOURCE_CALLS: &[&str] = &["readdir", "opendir", "getattr", "lookup", "open", "read", "listxattr", "readlink"];
const TARGET_CALLS: &[&str] = &[
    "create",
    "write",
    "setattr",
    "flush",
    "fsync",
    "mkdir",
    "symlink",
    "link",
    "rename",
    "open_write",
    "readdir",
    "lookup",
];
/// Entries of both trees, and temporary names; not what the run has in `.pmirror`.
const ENTRIES: &str = "{d,deep,new,one,two,three,replaced,large,symlink,linked,other name,.pmirror-*}";

impl Mounted {
    /// New entries of all kinds, some to be replaced, and a large one.
    fn new() -> Mounted {
        let pair = Pair::new();
        let (source, target) = (pair.source(), pair.target());
        for name in ["new", "d/one", "d/two", "d/deep/three"] {
            source.file(name, format!("content of {name}")).mtime(1_000, 1);
        }
        source.file("replaced", "new content").mtime(2_000, 1);
        target.file("replaced", "old").mtime(1_000, 1);
        target.dir("d");
        source.file("large", vec![b'l'; 300_000]).mtime(1_000, 2);
        source.symlink("d/symlink", "nowhere").mtime(1_000, 3);
        source.file("linked", "two names").mtime(1_000, 4);
        source.hard_link("linked", "d/other name");
        let (source, target) = (FaultFs::mount(pair.source_path()), FaultFs::mount(pair.target_path()));
        Mounted { source, target, pair }
    }

    fn with(&self, command: fn(Pmirror, &std::path::Path, &std::path::Path) -> Pmirror) -> Pmirror {
        let command = command(Pmirror::new(), self.source.path(), self.target.path());
        command.state_dir(self.pair.state_path())
    }

    fn sync(&self) -> Pmirror {
        self.with(|run, source, target| run.sync(source, target)).args(&["--chunk-size", "64K"])
    }

    /// All is there in spite of what failed, and each entry is in the books once.
    fn is_mirrored(&self, run: &Outcome) {
        run.assert_books_balance();
        run.context(|| {
            self.pair.assert_mirrored();
            assert_same_links(self.pair.source_path(), self.pair.target_path());
            assert!(run.faults.is_empty(), "what passed is no fault");
            assert_eq!((run.count("file", "seen"), run.count("symlink", "seen")), (8, 1));
        });
    }
}

/// Fails unless the summary says so, as text.
fn assert_tells(run: &Outcome, words: &[&str]) {
    let text = String::from_utf8_lossy(&run.stdout);
    run.context(|| words.iter().for_each(|word| assert!(text.contains(word), "stdout does not say {word:?}")));
}

/// The first of each of these calls fails in one of the trees.
fn is_survived(side: fn(&Mounted) -> &FaultFs, calls: &[&str], errno: Errno) {
    for call in calls {
        let (mounted, logical) = (Mounted::new(), 300_098);
        side(&mounted).rule(Rule::on(call).named(ENTRIES).first(1).error(errno));
        let run = mounted.sync().run_unchecked();
        assert_eq!(run.code, 0, "{errno:?} of {call}: {:?}", run.faults);
        mounted.is_mirrored(&run);
        assert_eq!(run.number("/retried"), 1, "{errno:?} of {call} hit nothing");
        assert_eq!(run.number("/bytes/logical"), logical, "{call}: counted twice");
    }
}

fn source(mounted: &Mounted) -> &FaultFs {
    &mounted.source
}

fn target(mounted: &Mounted) -> &FaultFs {
    &mounted.target
}

#[test]
fn what_passes_in_the_source_is_survived_whatever_call_it_hits() {
    is_survived(source, SOURCE_CALLS, Errno::ETIMEDOUT);
}

#[test]
fn what_passes_in_the_target_is_survived_whatever_call_it_hits() {
    is_survived(target, TARGET_CALLS, Errno::ETIMEDOUT);
}

#[test]
fn all_that_may_pass_is_survived() {
    for errno in [Errno::EAGAIN, Errno::ESTALE, Errno::EIO, Errno::ENOMEM] {
        is_survived(source, &["read"], errno);
        is_survived(target, &["write"], errno);
    }
}

#[test]
fn a_try_that_failed_is_counted_and_told() {
    let mounted = Mounted::new();
    mounted.source.rule(Rule::on("read").named("one").first(3).error(Errno::ESTALE));
    let run = mounted.sync().run_unchecked().exits(0);
    assert_eq!(run.number("/retried"), 3, "{}", run.summary());
    assert_tells(&run, &["3 tries that failed were made again"]);
    mounted.is_mirrored(&run);
}

#[test]
fn what_does_not_pass_becomes_one_fault_after_a_bound_of_tries() {
    for (errno, tries) in [(Errno::EIO, 2), (Errno::ESTALE, 4), (Errno::ENOMEM, 4), (Errno::EMFILE, 4)] {
        let mounted = Mounted::new();
        mounted.source.rule(Rule::on("read").named("one").error(errno));
        let run = mounted.sync().run_unchecked().exits(23);
        run.assert_books_balance();
        run.has_fault("d/one", "source", errno);
        assert_eq!((run.faults.len(), run.number("/retried")), (1, tries - 1), "{errno:?}: {:?}", run.faults);
        assert_eq!((run.count("file", "seen"), run.count("file", "failed")), (8, 1));
        assert!(mounted.pair.target_now().has("d/two"));
        let note = run.faults[0]["note"].as_str().unwrap_or_default().to_string();
        assert_eq!(note.contains("ulimit -n"), errno == Errno::EMFILE, "{note}");
        assert_eq!(note.contains("--max-memory"), errno == Errno::ENOMEM, "{note}");
    }
}

#[test]
fn a_large_file_of_which_only_the_end_fails_is_not_copied_for_ever() {
    for has_links in [false, true] {
        let mounted = Mounted::new();
        if has_links {
            mounted.pair.source().hard_link("large", "d/large too");
        }
        mounted.source.rule(Rule::on("listxattr").named("large*").error(Errno::EIO));
        let run = mounted.sync().run_unchecked().exits(23);
        run.assert_books_balance();
        run.context(|| {
            assert!(run.faults.iter().any(|fault| fault["errno"] == "EIO" && fault["side"] == "source"));
            assert!(run.number("/bytes/written") < 4 * 300_000, "it was copied again and again");
        });
        assert_no_litter(&Snapshot::paths(mounted.pair.source_path()), mounted.pair.target_path());
        mounted.source.clear();
        mounted.sync().run_unchecked().exits(0);
        mounted.pair.assert_mirrored();
        assert_same_links(mounted.pair.source_path(), mounted.pair.target_path());
    }
}

#[test]
fn hard_links_stay_together_when_a_name_of_them_passes() {
    for (on_source, call, first) in [(true, "read", 1), (false, "link", 1), (false, "create", 2), (true, "lookup", 9)] {
        let mounted = Mounted::new();
        for name in ["d/third name", "d/deep/fourth name"] {
            mounted.pair.source().hard_link("linked", name);
        }
        let side = if on_source { &mounted.source } else { &mounted.target };
        side.rule(Rule::on(call).named("*[ln][ia][nm][ke]*").first(first).error(Errno::ESTALE));
        let run = mounted.sync().run_unchecked();
        assert_eq!(run.code, 0, "{call}: {:?}", run.faults);
        run.assert_books_balance();
        mounted.pair.assert_mirrored();
        assert_same_links(mounted.pair.source_path(), mounted.pair.target_path());
    }
}

#[test]
fn a_comparison_and_the_times_of_directories_survive_what_passes() {
    let mounted = Mounted::new();
    mounted.sync().run_unchecked().exits(0);
    for call in ["readdir", "opendir", "getattr", "lookup", "open", "read"] {
        for side in [&mounted.source, &mounted.target] {
            let rule = side.rule(Rule::on(call).named(ENTRIES).first(1).error(Errno::ESTALE));
            let cmp = mounted.with(|run, source, target| run.cmp(source, target)).args(&["--level", "hash"]);
            let run = cmp.run_unchecked();
            assert_eq!(run.code, 0, "cmp, {call}: {:?}", run.faults);
            run.assert_books_balance();
            assert_eq!(run.count("file", "same"), 8, "cmp, {call}: {:?}", run.totals());
            side.lift(rule);
            let rule = side.rule(Rule::on(call).named(ENTRIES).first(1).error(Errno::ESTALE));
            let run = mounted.with(|run, source, target| run.mtimes(source, target)).run_unchecked();
            assert_eq!(run.code, 0, "mtimes, {call}: {:?}", run.faults);
            run.assert_books_balance();
            side.lift(rule);
        }
    }
}

#[test]
fn a_removal_is_tried_again_and_proven_again() {
    for (on_source, call) in
        [(false, "unlink"), (false, "rmdir"), (false, "readdir"), (true, "lookup"), (true, "readdir")]
    {
        let mounted = Mounted::new();
        for name in ["gone", "only/here/a", "only/here/b"] {
            mounted.pair.target().file(name, "to go");
        }
        let side = if on_source { &mounted.source } else { &mounted.target };
        side.rule(Rule::on(call).named("{gone,only,here,a,b,d,deep}").first(1).error(Errno::ETIMEDOUT));
        let rm = mounted.with(|run, source, target| run.rm(source, target));
        let run = rm.args(&["--max-delete", "100%", "--hold-threshold", "100%"]).run_unchecked();
        assert_eq!(run.code, 0, "{call}: {:?}", run.faults);
        run.assert_books_balance();
        assert_eq!((run.removals("removed"), run.number("/retried")), (5, 1), "{call}, source: {on_source}");
        let target = mounted.pair.target_now();
        assert!(!target.has("only") && !target.has("gone") && target.has("replaced"));
    }
}

#[test]
fn listed_paths_are_tried_again_with_what_is_below_them() {
    for call in ["lookup", "getattr", "open", "readdir"] {
        let mounted = Mounted::new();
        mounted.pair.beside().file("list", "d\nreplaced\n");
        let list = mounted.pair.beside().path("list");
        mounted.source.rule(Rule::on(call).named(ENTRIES).first(1).error(Errno::ESTALE));
        let sync = mounted.sync().arg("--files-from").arg(list);
        let run = sync.run_unchecked();
        assert_eq!(run.code, 0, "{call}: {:?}", run.faults);
        run.assert_books_balance();
        let target = mounted.pair.target_now();
        assert!(target.has("d/deep/three") && target.has("d/symlink") && !target.has("new"), "{call}");
    }
}

#[test]
fn an_owner_over_quota_is_left_alone_and_others_go_on() {
    let mounted = Mounted::new();
    for name in 0..20 {
        mounted.pair.source().file(format!("poor/p{name:02}"), "content").owner(1_001, 1_001);
        mounted.pair.source().file(format!("rich/{name:02}"), "content").owner(1_002, 1_002);
    }
    let rule = mounted.target.rule(Rule::on("create").named("p0*").first(1).error(Errno::EDQUOT));
    let sync = mounted.sync().args(&["--threads", "1"]).run_id("first");
    let run = sync.run_unchecked().exits(23);
    assert_tells(&run, &["over quota", "pmirror retry RUN --errno EDQUOT"]);
    run.assert_books_balance();
    mounted.target.lift(rule);
    let failed = run.count("file", "failed");
    assert!((1..=20).contains(&failed) && run.count("file", "created") + failed == 46, "{:?}", run.totals());
    assert_eq!(run.number("/over_quota"), failed - 1);
    assert_eq!(run.faults.len() as u64, failed);
    let retry = mounted.with(|run, source, target| run.retry(source, target, "first"));
    retry.args(&["--errno", "EDQUOT"]).run_unchecked().exits(0);
    mounted.pair.assert_mirrored();
}

/// A small ext4 with a target and room for little.
fn full() -> (Image, Pair) {
    let (image, pair) = (Image::ext4(), Pair::new());
    for name in 0..40 {
        pair.source().file(format!("d{}/{name}", name % 4), vec![name as u8; 1_000_000]);
    }
    (image, pair)
}

fn fill(path: &std::path::Path, mebibytes: u64) {
    let path = path.display();
    let script = format!("head -c {mebibytes}M /dev/zero > {path}/filler; sync {path}/filler");
    support::needs::run_ok(Command::new("sh").args(["-c", &script]));
}

#[test]
fn a_full_target_stops_the_run_in_order_and_it_goes_on_when_there_is_room() {
    let (image, pair) = full();
    let target = image.directory("target");
    fill(&image.path(), 35);
    let sync = Pmirror::new().sync(pair.source_path(), &target).state_dir(pair.state_path()).run_id("full");
    let run = sync.run_unchecked().exits(11);
    assert_tells(&run, &["DST has no space left", "pmirror resume"]);
    run.assert_books_balance();
    assert!(run.faults.is_empty(), "that there is no room is no entry's fault: {:?}", run.faults);
    assert!(run.count("file", "created") > 0 && run.total("unfinished") > 0, "{:?}", run.totals());

    std::fs::remove_file(image.path().join("filler")).unwrap();
    let resumed = sync.resumed("full").run_unchecked().exits(0);
    resumed.assert_books_balance();
    assert_eq!((resumed.count("file", "seen"), resumed.count("file", "created")), (40, 40), "{:?}", resumed.totals());
    assert_eq!(resumed.number("/bytes/logical"), 40_000_000, "counted twice");
    assert_same(pair.source_path(), &target);
}

#[test]
fn a_few_entries_for_which_there_is_never_room_are_no_full_target() {
    let mounted = Mounted::new();
    for name in 0..5 {
        mounted.pair.source().file(format!("many/never {name}"), "content");
    }
    mounted.target.rule(Rule::on("write").named("never*").error(Errno::ENOSPC));
    let run = mounted.sync().args(&["--threads", "1"]).run_unchecked().exits(23);
    run.assert_books_balance();
    assert_eq!(run.faults.len(), 5, "{:?}", run.faults);
}

#[test]
fn a_target_that_becomes_read_only_stops_the_run_in_order_and_it_goes_on_afterwards() {
    let mounted = Mounted::new();
    let rule = mounted.target.rule(
        Rule::on("modifying")
            .named("{[0-9]*,many,d,deep,new,one,two,three,.pmirror-*,large,symlink}")
            .error(Errno::EROFS),
    );
    for name in 0..40 {
        mounted.pair.source().file(format!("many/{name}"), "content");
    }
    let sync = mounted.sync().run_id("read-only");
    let run = sync.run_unchecked().exits(11);
    assert_tells(&run, &["DST is read-only", "pmirror resume"]);
    run.assert_books_balance();
    mounted.target.lift(rule);
    let resumed = sync.resumed("read-only").run_unchecked().exits(0);
    resumed.assert_books_balance();
    mounted.pair.assert_mirrored();
    assert_same_links(mounted.pair.source_path(), mounted.pair.target_path());
}

/// A source in which so many files can not be read that its rank doubts its roots.
fn doubtful() -> Mounted {
    let mounted = Mounted::new();
    for name in 0..100 {
        mounted.pair.source().file(format!("many/bad-{name}"), "content");
    }
    mounted.source.rule(Rule::on("open").named("bad-*").error(Errno::EIO));
    mounted
}

#[test]
fn many_failures_are_faults_as_long_as_the_roots_are_there() {
    let mounted = doubtful();
    let run = mounted.sync().run_unchecked().exits(23);
    run.assert_books_balance();
    assert_eq!((run.faults.len(), run.count("file", "failed"), run.count("file", "created")), (100, 100, 6));
}

#[test]
fn many_failures_stop_the_run_when_a_root_is_no_longer_what_it_was() {
    let mounted = doubtful();
    let beside = mounted.pair.beside();
    let named = beside.path("named");
    std::os::unix::fs::symlink(mounted.source.path(), &named).unwrap();
    let waits = mounted.source.rule(Rule::on("open").named("bad-*").first(1).hang());
    let sync = Pmirror::new().sync(&named, mounted.target.path()).state_dir(mounted.pair.state_path());
    let sync = sync.args(&["--threads", "1"]).run_id("lost");
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        mounted.source.start_log();
        while !mounted.source.take_log().iter().any(|line| line.starts_with("open bad-")) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::fs::remove_file(&named).unwrap();
        beside.dir("named");
        mounted.source.lift(waits);
        run.join().unwrap()
    });
    let run = run.exits(11);
    assert_tells(&run, &["is another directory than it was", "pmirror resume"]);
    run.assert_books_balance();
    mounted.source.clear();
    std::fs::remove_dir(&named).unwrap();
    std::os::unix::fs::symlink(mounted.source.path(), &named).unwrap();
    sync.resumed("lost").run_unchecked().exits(0);
    mounted.pair.assert_mirrored();
}
