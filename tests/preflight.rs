//! `pmirror preflight`: what it says of real file systems that are small, poor, odd or closed, and that nothing of it stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::compare::assert_unwritten;
use support::*;

/// Quick: nothing is measured. What it finds is told as JSON.
fn preflight(pair: &Pair, target: impl AsRef<Path>) -> Pmirror {
    timed(pair, target, "0").arg("--json")
}

fn timed(pair: &Pair, target: impl AsRef<Path>, seconds: &str) -> Pmirror {
    let words = ["preflight", "--seconds", seconds];
    let command = Pmirror::new().sync(pair.source_path(), target.as_ref()).words(&words);
    let command = command.arg(pair.source_path()).arg(target.as_ref());
    command.state_dir(pair.state_path()).copied_to(pair.top_path())
}

fn told(run: &Outcome) -> Value {
    let told = serde_json::from_slice(&run.stdout);
    run.context(|| assert!(told.is_ok(), "stdout is no JSON"));
    told.unwrap()
}

/// The checks that came to this, each once.
fn checks(told: &Value, verdict: &str) -> Vec<String> {
    let all = told["checks"].as_array().unwrap().iter();
    let mut names: Vec<String> = all
        .filter(|check| check["verdict"] == verdict)
        .map(|check| check["check"].as_str().unwrap().to_string())
        .collect();
    names.dedup();
    names
}

fn check<'t>(told: &'t Value, name: &str) -> &'t Value {
    let all = told["checks"].as_array().unwrap();
    all.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("there is no check {name}: {told}"))
}

/// Each check that is not good says what to do.
fn assert_remedies(told: &Value) {
    for check in told["checks"].as_array().unwrap() {
        let has_remedy = check["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
        assert_eq!(has_remedy, check["verdict"] != "good", "{check}");
    }
}

fn assert_verdict(run: &Outcome, verdict: &str, warnings: &[&str], no_gos: &[&str]) -> Value {
    let told = told(run);
    run.context(|| {
        assert_eq!((checks(&told, "warning"), checks(&told, "no-go")), (strings(warnings), strings(no_gos)));
        assert_eq!(told["verdict"], verdict);
        assert_eq!(told["exit_code"], run.code);
        assert_remedies(&told);
    });
    told
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

/// Nothing was made, changed or removed in DST, its own times included; the state directory holds nothing.
fn leaves_nothing(pair: &Pair, before: Snapshot, target: &Path) {
    let after = Snapshot::take(target);
    let time = |snapshot: &Snapshot| {
        let root = &snapshot.entries[&b""[..]].stat;
        (root.stx_mtime.tv_sec, root.stx_mtime.tv_nsec)
    };
    assert_eq!(time(&before), time(&after), "the times of DST");
    assert_unwritten(&before.without_root(), &after.without_root(), "something was written");
    let left = std::fs::read_dir(pair.state_path()).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the state directory is not empty");
    pair.assert_canary();
}

fn some_files(pair: &Pair) {
    for n in 0..20 {
        pair.source().file(format!("{}/{n}", n % 4), "content").mtime(1_000, 1);
    }
}

#[test]
fn a_closed_and_empty_dst_that_holds_everything_is_a_go_and_nothing_stays_behind() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        // On a file system of its own: whatever fills the disk of the tests would be counted.
        let image = Image::btrfs();
        let pair = Pair::below(image.path());
        some_files(&pair);
        pair.source().file("0/larger", vec![7; 100_000]);
        pair.target().root().mode(0o700).mtime(1_000_000, 5);
        let before = pair.target_now();
        let run = timed(&pair, pair.target_path(), "1").arg("--json").ranks(ranks).run().exits(0);
        let told = assert_verdict(&run, "go", &[], &[]);
        assert!(check(&told, "copying")["what"].as_str().unwrap().contains("reflink"), "{told}");
        let nodes = told["nodes"].as_object().unwrap();
        run.context(|| {
            assert_eq!(nodes.len(), 1);
            for rate in nodes.values().flat_map(|node| node.as_object().unwrap().values()) {
                assert!(rate.as_f64().unwrap() > 0.0, "{told}");
            }
            assert_eq!(told["ranks"].as_array().unwrap().len(), if ranks == Ranks::One { 1 } else { 3 });
        });
        leaves_nothing(&pair, before, &pair.target_path());
    }
}

#[test]
fn of_a_dst_that_is_missing_the_parent_is_tried_and_dst_is_not_made() {
    let image = Image::btrfs();
    let pair = Pair::below(image.path());
    std::fs::remove_dir(pair.target_path()).unwrap();
    some_files(&pair);
    pair.beside().root().mode(0o700);
    pair.beside().file(".pmirror/note", "somebody's");
    let note = pair.beside().path(".pmirror/note");
    let before = pair.beside().path("");
    let mtime = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let was = mtime(&before);
    let run = preflight(&pair, pair.target_path()).run_unchecked().exits(0);
    let found = assert_verdict(&run, "go", &[], &[]);
    assert!(check(&found, "target")["what"].as_str().unwrap().contains("does not exist"));
    assert!(!pair.target_path().exists());
    assert_eq!(mtime(&before), was);
    assert!(note.exists(), "what the parent has is none of ours");
    std::fs::remove_dir_all(note.parent().unwrap()).unwrap();
    assert_eq!(std::fs::read_dir(pair.top_path()).unwrap().count(), 3, "the source, the state and the canary");
    let run = preflight(&pair, pair.top_path().join("no/such")).run_unchecked().exits(3);
    assert_eq!(checks(&told(&run), "no-go"), ["target"]);
}

#[test]
fn what_does_not_fit_is_a_no_go_with_a_walk_and_so_are_inodes() {
    let (pair, image) = (Pair::new(), Image::small_ext4(16, 200));
    for n in 0..250 {
        pair.source().file(format!("{}/{n}", n % 5), "content");
    }
    pair.source().file("large", vec![7; 20 << 20]);
    let target = image.directory("target");
    std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let before = Snapshot::take(&target);
    let run = preflight(&pair, &target).arg("--walk").run_unchecked().exits(3);
    let told = assert_verdict(&run, "no_go", &[], &["space", "inodes"]);
    assert_eq!(told["census"]["entries"]["file"], 251);
    let run = preflight(&pair, &target).run_unchecked().exits(0);
    // Its blocks are of 1 KiB: 16 GiB are the most.
    let told = assert_verdict(&run, "go_with_warnings", &["space", "inodes", "file_size"], &[]);
    assert!(check(&told, "space")["remedy"].as_str().unwrap().contains("--walk"));
    assert_unwritten(&before.without_root(), &Snapshot::take(&target).without_root(), "something was written");
}

#[test]
fn what_a_poor_dst_lacks_is_a_warning_and_a_no_go_where_src_has_it() {
    let (pair, image) = (Pair::new(), Image::ramfs());
    some_files(&pair);
    let target = image.directory("target");
    std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let lacks = ["xattrs", "trusted", "capabilities", "acls"];
    let bad = |run: &Outcome, verdict: &str| {
        let told = told(run);
        checks(&told, verdict).into_iter().filter(|name| lacks.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let quick = preflight(&pair, &target).run_unchecked();
    assert_eq!(bad(&quick, "warning"), lacks);
    let walked = preflight(&pair, &target).arg("--walk").run_unchecked();
    assert_eq!((bad(&walked, "warning"), bad(&walked, "no-go")), (Vec::new(), Vec::new()));
    pair.source().file("rich", "content").xattr("user.note", "value");
    pair.source().file("shared", "content").acl("u::rwx,u:1000:r--,g::r-x,m::r-x,o::---");
    let walked = preflight(&pair, &target).arg("--walk").run_unchecked().exits(3);
    assert_eq!(bad(&walked, "no-go"), ["xattrs", "acls"]);
    let without = preflight(&pair, &target).args(&["--walk", "--no-xattrs", "--no-acls"]).run_unchecked();
    assert_eq!((bad(&without, "warning"), bad(&without, "no-go")), (Vec::new(), Vec::new()));
}

#[test]
fn names_that_a_dst_would_fold_are_counted() {
    let pair = Pair::new();
    some_files(&pair);
    let mount = FaultFs::mount_with(pair.target_path(), &["--fold-case", "--no-links"]);
    let quick = preflight(&pair, mount.path()).run_unchecked().exits(0);
    let warnings = checks(&told(&quick), "warning");
    assert!(warnings.contains(&"case".to_string()) && warnings.contains(&"hard_links".to_string()), "{warnings:?}");
    pair.source().file("0/File", "one");
    pair.source().file("0/file", "the other");
    let walked = preflight(&pair, mount.path()).arg("--walk").run_unchecked().exits(3);
    let told = told(&walked);
    assert_eq!(checks(&told, "no-go"), ["case"]);
    assert_eq!(told["census"]["troubles"]["same_but_for_case"]["count"], 1);
    assert_eq!(Snapshot::paths(pair.target_path()).len(), 1, "DST has nothing but its root");
}

#[test]
fn a_walk_counts_what_src_holds_whoever_does_it() {
    let pair = Pair::new();
    pair.target().root().mode(0o700);
    let source = pair.source();
    source.file("a/long name with: colon", vec![7; 5_000]).mtime(-3_000_000_000, 0);
    source.file(b"a/\xff\xfe", "").mtime(1_000_000_000, 0);
    source.file("a/b/c/deep", "12345").xattr("user.note", "a value");
    source.sparse("a/sparse", 4 << 20, &[(0, b"piece")]);
    source.symlink("a/link", "b/c/deep");
    source.fifo("a/fifo");
    for n in 0..3_000 {
        source.file(format!("many/{n}"), "x").mtime(1_000_000_000, 0);
    }
    source.hard_link("many/1", "linked");
    let mut seen = Vec::new();
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let run = preflight(&pair, pair.target_path()).arg("--walk").ranks(ranks).run().exits(0);
        let census = told(&run)["census"].clone();
        run.context(|| {
            let number = |pointer: &str| census.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            assert_eq!((number("/entries/file"), number("/entries/directory")), (3_005, 4), "{census}");
            assert_eq!((number("/entries/symlink"), number("/entries/fifo")), (1, 1));
            assert_eq!(number("/bytes"), 5_000 + 5 + (4 << 20) + 3_001);
            assert_eq!(number("/largest/directory_names/value"), 3_000);
            assert_eq!(census["largest"]["file_bytes"]["path"], "a/sparse");
            assert_eq!((number("/largest/links/value"), number("/largest/depth/value")), (2, 4));
            assert_eq!(census["largest"]["xattr_bytes"]["path"], "a/b/c/deep");
            assert_eq!(number("/troubles/not_utf8/count"), 1);
            assert_eq!(census["troubles"]["not_utf8"]["examples"][0]["path_b64"], "YS///g==");
            assert_eq!(number("/troubles/punctuation/count"), 1);
        });
        assert!(run.run_dir.as_ref().unwrap().join("preflight.json").is_file());
        seen.push(census);
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn an_ordinary_user_hears_what_he_may_not_read_or_write() {
    let pair = Pair::new();
    some_files(&pair);
    pair.give_to(NOBODY);
    pair.target().root().mode(0o700);
    let quick = preflight(&pair, pair.target_path()).as_user(NOBODY).run_unchecked().exits(0);
    let warnings = checks(&told(&quick), "warning");
    for expected in ["owner", "xattrs_of_root", "devices"] {
        assert!(warnings.contains(&expected.to_string()), "{expected}: {warnings:?}");
    }
    pair.source().file("closed", "secret").mode(0o600);
    pair.source().file("shut/file", "secret");
    pair.source().entry("shut").mode(0o700);
    let walked = preflight(&pair, pair.target_path()).arg("--walk").as_user(NOBODY).run_unchecked().exits(3);
    let walked = told(&walked);
    assert_eq!(checks(&walked, "no-go"), ["unreadable"]);
    assert_eq!(walked["census"]["troubles"]["unreadable"]["count"], 2);
    pair.target().root().owner(0, 0).mode(0o755);
    let before = pair.target_now();
    let run = preflight(&pair, pair.target_path()).as_user(NOBODY).run_unchecked().exits(3);
    assert_eq!(checks(&told(&run), "no-go"), ["write"]);
    assert_unwritten(&before, &pair.target_now(), "something was written");
}

#[test]
fn a_dst_that_is_mounted_read_only_is_a_no_go() {
    let (pair, image) = (Pair::new(), Image::ext4());
    let target = image.directory("target");
    needs::run_ok(Command::new("mount").args(["-o", "remount,ro"]).arg(image.path()));
    let run = preflight(&pair, &target).run_unchecked().exits(3);
    let told = told(&run);
    assert_eq!(checks(&told, "no-go"), ["write"]);
    assert!(check(&told, "write")["what"].as_str().unwrap().contains("read-only"), "{told}");
}

/// Runs it where one of three ranks lacks what is mounted at `point`.
fn where_a_rank_lacks(pair: &Pair, point: &Path) -> Outcome {
    let other = pair.beside().path("other");
    let (other, point) = (other.display(), point.display());
    let mount = format!("mount --bind '{other}' '{point}' && exec \"$@\"");
    let unmount = format!("[ $OMPI_COMM_WORLD_RANK != 1 ] || umount '{point}'; exec \"$@\"");
    let command = preflight(pair, pair.target_path()).ranks(Ranks::Mpirun(3));
    let command = command.launched_by(&["unshare", "--mount", "sh", "-c", &mount, "sh"]);
    command.wrapped_by(&["unshare", "--mount", "sh", "-c", &unmount, "sh"]).run_unchecked()
}

#[test]
fn a_rank_that_lacks_a_mount_is_a_no_go_and_is_named() {
    for point in ["source", "target", "source/sub"] {
        let pair = Pair::new();
        some_files(&pair);
        pair.source().dir("sub");
        pair.beside().file("other/file", "content");
        let before = pair.target_now();
        let run = where_a_rank_lacks(&pair, &pair.beside().path(point)).exits(3);
        let told = told(&run);
        run.context(|| {
            let expected = if point == "source/sub" { "mounts_in_source" } else { point };
            assert_eq!(checks(&told, "no-go"), [expected]);
            assert!(check(&told, expected)["what"].as_str().unwrap().contains("rank 1 on "), "{told}");
            assert_remedies(&told);
        });
        leaves_nothing(&pair, before, &pair.target_path());
    }
}

#[test]
fn a_dst_that_a_run_writes_is_left_alone_and_the_run_is_named() {
    let pair = Pair::new();
    some_files(&pair);
    let source = FaultFs::mount(pair.source_path());
    source.start_log();
    let rule = source.rule(Rule::on("readdir").named("0").hang());
    let sync = Pmirror::new().sync(source.path(), pair.target_path()).state_dir(pair.state_path()).run_id("busy");
    let (run, preflight) = std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        let hangs = || source.take_log().iter().any(|call| call == "readdir 0");
        while !run.is_finished() && !hangs() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let preflight = preflight(&pair, pair.target_path()).run_unchecked();
        source.lift(rule);
        (run.join().unwrap(), preflight)
    });
    let told = told(&preflight);
    preflight.context(|| {
        assert!(checks(&told, "warning").contains(&"lock".to_string()), "{told}");
        assert!(check(&told, "lock")["what"].as_str().unwrap().contains("busy"), "{told}");
        assert!(checks(&told, "no-go").is_empty() && preflight.code == 0);
    });
    run.exits(0).assert_books_balance();
    pair.assert_mirrored();
}

#[test]
fn what_a_preflight_that_was_killed_left_is_taken_away_by_the_next_run() {
    for is_sync in [false, true] {
        let pair = Pair::new();
        some_files(&pair);
        let target = pair.target();
        for name in ["preflight-stream-0-1", "preflight-files-0-0/new", "preflight"] {
            target.file(format!(".pmirror/{name}"), "left over");
        }
        target.entry(".pmirror").mode(0o700);
        let run = if is_sync { pair.sync() } else { preflight(&pair, pair.target_path()) };
        run.run_unchecked().exits(0);
        assert!(!Snapshot::paths(pair.target_path()).iter().any(|path| path.starts_with(b".pmirror")));
    }
}

#[test]
fn people_get_a_line_for_each_check_and_the_remedy_below() {
    let pair = Pair::new();
    some_files(&pair);
    pair.target().file("there", "already");
    let run = timed(&pair, pair.target_path(), "0").run().exits(0);
    run.assert_output_is_escaped();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    run.context(|| {
        assert!(text.contains("  ok       rename "), "{text}");
        assert!(text.contains("  WARNING  reach "), "{text}");
        assert!(text.contains("-> until the run is over chmod 0700"), "{text}");
        assert!(text.contains("\ngo, with ") && text.ends_with("(exit 0)\n"), "{text}");
    });
}

/// The run is told to stop when it measures: for longer than any test takes.
#[test]
fn a_preflight_that_is_stopped_leaves_nothing_behind() {
    const STOP: &str = r#"begun=$1; shift; "$@" & run=$!
        until ls "$begun"/preflight-files-* >/dev/null 2>&1 || ! kill -0 $run; do sleep 0.02; done
        kill -TERM $run; wait $run"#;
    let pair = Pair::new();
    some_files(&pair);
    let before = pair.target_now();
    let private = pair.target_path().join(".pmirror");
    let command = timed(&pair, pair.target_path(), "500").args(&["--json", "--walk"]);
    let run = command.wrapped_by(&["sh", "-c", STOP, "sh", private.to_str().unwrap()]).run_unchecked().exits(20);
    assert!(checks(&told(&run), "warning").contains(&"stopped".to_string()));
    leaves_nothing(&pair, before, &pair.target_path());
}
