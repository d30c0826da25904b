//! `pmirror retry RUN`: what failed in a run is done once more, and nothing else is touched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::path::Path;
use support::*;

/// What nobody can not give away.
const OWNERS: [&str; 2] = ["owner", "group"];

/// A source in which nobody may not read these files, and a `sync` by nobody that failed at them.
fn secrets(paths: &[&[u8]], ranks: Ranks) -> Pair {
    let pair = Pair::new();
    for path in paths {
        pair.source().file(path, "secret").mode(0o600);
    }
    pair.source().file("open", "for all");
    pair.give_to(NOBODY);
    let run = pair.sync().as_user(NOBODY).ranks(ranks).run_id("first").run().exits(23);
    run.counts("file", &[("created", 1), ("failed", paths.len() as u64)]);
    pair
}

fn open_up(pair: &Pair, paths: &[&[u8]]) {
    for path in paths {
        pair.source().entry(path).mode(0o644);
    }
}

#[test]
fn what_failed_is_done_once_more_and_nothing_else() {
    let paths: [&[u8]; 3] = [b"a/secret", b"b/secret", b"secret"];
    let pair = secrets(&paths, Ranks::One);
    open_up(&pair, &paths);
    pair.source().file("a/later", "not in the first run");
    let run = pair.retry("first").as_user(NOBODY).run().exits(0);
    run.counts("file", &[("created", 3)]);
    assert_eq!(run.summary()["retry_of"], "first");
    assert_eq!(run.summary()["command"], "sync");
    assert!(!pair.target_now().has("a/later"));
    pair.sync().as_user(NOBODY).run().exits(0).counts("file", &[("created", 1), ("same", 4)]);
    pair.assert_mirrored_but(&OWNERS);
}

#[test]
fn what_fails_again_is_listed_again_and_can_be_retried() {
    let pair = secrets(&[b"d/secret"], Ranks::One);
    let run = pair.retry("first").as_user(NOBODY).run_id("second").run().exits(23);
    run.has_fault("d/secret", "source", Errno::EACCES);
    open_up(&pair, &[b"d/secret"]);
    pair.retry("second").as_user(NOBODY).run().exits(0).counts("file", &[("created", 1)]);
    pair.assert_mirrored_but(&OWNERS);
}

#[test]
fn names_of_any_bytes_are_found_again() {
    let paths: [&[u8]; 4] = [b"new\nline/x", b"\xff\xfe", b"#hash", b" ;\r"];
    let pair = secrets(&paths, Ranks::One);
    open_up(&pair, &paths);
    pair.retry("first").as_user(NOBODY).run().exits(0).counts("file", &[("created", 4)]);
    pair.assert_mirrored_but(&OWNERS);
}

#[test]
fn several_ranks_agree_on_what_is_to_be_done() {
    let paths: [&[u8]; 3] = [b"a/secret", b"b/secret", b"c/d/secret"];
    let pair = secrets(&paths, Ranks::Mpirun(3));
    open_up(&pair, &paths);
    let retry = pair.retry("first").as_user(NOBODY).ranks(Ranks::Mpirun(3));
    let run = retry.run().exits(0);
    run.counts("file", &[("created", 3)]);
    assert_eq!(run.summary()["ranks"].as_array().map(Vec::len), Some(3));
    pair.assert_mirrored_but(&OWNERS);
    pair.retry("no-such-run").ranks(Ranks::Mpirun(3)).run_unchecked().refuses(1, &["no-such-run"]);
}

#[test]
fn a_directory_that_could_not_be_listed_is_walked_whole() {
    let pair = Pair::new();
    for path in ["closed/a/b/file", "closed/other", "open/file"] {
        pair.source().file(path, path);
    }
    pair.source().entry("closed").mode(0o700);
    pair.give_to(NOBODY);
    pair.sync().as_user(NOBODY).run_id("first").run().exits(23).has_fault("closed", "source", Errno::EACCES);
    pair.source().entry("closed").mode(0o755);
    let run = pair.retry("first").as_user(NOBODY).run().exits(0);
    run.counts("file", &[("created", 2)]);
    pair.assert_mirrored_but(&OWNERS);
}

#[test]
fn a_directory_whose_times_could_not_be_set_is_settled_and_not_walked() {
    let pair = Pair::new();
    pair.source().file("d/file", "x");
    pair.source().file("d/e/file", "x");
    for path in ["d/e", "d"] {
        pair.source().entry(path).mtime(1_000_000_000, 0);
    }
    let target = FaultFs::mount(pair.target_path());
    let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path());
    let rule = target.rule(Rule::on("setattr").named("d").error(Errno::EIO));
    sync.clone().run_id("first").run().exits(23).has_fault("d", "target", Errno::EIO);
    target.lift(rule);
    let retry = Pmirror::new().retry(pair.source_path(), target.path(), "first").state_dir(pair.state_path());
    let run = retry.run().exits(0);
    assert_eq!((run.total("seen"), run.count("directory", "seen")), (2, 2), "the root and d");
    drop(target);
    pair.assert_mirrored();
}

#[test]
fn errors_and_paths_choose_what_is_done_again() {
    let pair = Pair::new();
    for path in ["a/quota", "b/quota", "b/broken"] {
        pair.source().file(path, "content");
    }
    // An owner over quota takes no others along.
    pair.source().entry("a/quota").owner(1_000, 1_000);
    pair.source().entry("b/quota").owner(1_000, 1_000);
    let target = FaultFs::mount(pair.target_path());
    let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path());
    target.rule(Rule::on("write").named("quota").error(Errno::EDQUOT));
    target.rule(Rule::on("create").named("broken").error(Errno::EIO));
    sync.clone().run_id("first").run().exits(23).counts("file", &[("failed", 3)]);
    target.clear();
    let retry = || Pmirror::new().retry(pair.source_path(), target.path(), "first").state_dir(pair.state_path());
    retry().args(&["--errno=ENOSPC"]).run_unchecked().exits(0).says("nothing of run first");
    retry().args(&["--errno", "EDQUOT", "--under", "b"]).run().exits(0).counts("file", &[("created", 1)]);
    let has = |path| pair.target_now().has(path);
    assert_eq!((has("b/quota"), has("a/quota"), has("b/broken")), (true, false, false));
    let below = format!("--under={}/a", pair.source_path().display());
    retry().arg(below).run().exits(0).counts("file", &[("created", 1)]);
    retry().args(&["--errno=eio"]).run().exits(0).counts("file", &[("created", 1)]);
    retry().args(&["--errno=EWHAT"]).run_unchecked().refuses(1, &["EWHAT", "EDQUOT"]);
    drop(target);
    pair.assert_mirrored();
}

#[test]
fn a_name_of_a_hard_linked_file_does_not_become_a_file_of_its_own() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = Pair::new();
        pair.source().file("first", "content");
        for name in ["d/second", "third", "z/last"] {
            pair.source().hard_link("first", name);
        }
        let target = FaultFs::mount(pair.target_path());
        let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path()).ranks(ranks);
        let rule = target.rule(Rule::on("link").named("[tl][ah]*").error(Errno::EIO));
        let run = sync.clone().run_id("first").run().exits(23);
        run.counts("file", &[("created", 1), ("linked", 1), ("failed", 2)]);
        target.lift(rule);
        let retry = Pmirror::new().retry(pair.source_path(), target.path(), "first").state_dir(pair.state_path());
        retry.ranks(ranks).args(&["--under=third"]).run().exits(0).counts("file", &[("same", 1), ("linked", 1)]);
        let retry = Pmirror::new().retry(pair.source_path(), target.path(), "first").state_dir(pair.state_path());
        retry.ranks(ranks).run().exits(0).counts("file", &[("same", 2), ("linked", 1)]);
        drop(target);
        pair.assert_mirrored();
        assert_same_links(pair.source_path(), pair.target_path());
    }
}

#[test]
fn what_is_gone_since_has_vanished() {
    let pair = secrets(&[b"d/secret", b"gone/secret"], Ranks::One);
    open_up(&pair, &[b"d/secret"]);
    std::fs::remove_dir_all(pair.source_path().join("gone")).unwrap();
    let run = pair.retry("first").as_user(NOBODY).run().exits(24);
    run.counts("file", &[("created", 1)]);
    assert_eq!(run.number("/entries/unknown/vanished"), 1);
}

#[test]
fn options_are_those_of_the_run_and_not_of_the_present_environment() {
    let pair = Pair::new();
    pair.source().file("d/keep", "x").mode(0o600);
    pair.source().file("d/leave.o", "x");
    pair.source().entry("d").mode(0o700);
    pair.give_to(NOBODY);
    let words = ["source", "target", "--exclude-from=patterns"];
    pair.beside().file("patterns", "*.o\n");
    let first = pair.sync().as_user(NOBODY).working_dir(pair.top_path()).env("PMIRROR_NO_TIMES", "true");
    let first = first.words(&[&["sync"], &words[..]].concat());
    first.run_id("first").run().exits(23);
    pair.source().entry("d").mode(0o755).mtime(1_000_000_000, 0);
    pair.source().entry("d/keep").mode(0o644).mtime(1_000_000_000, 0);
    let retry = pair.retry("first").as_user(NOBODY).env("PMIRROR_EXCLUDE", "keep").env("PMIRROR_SIZE_ONLY", "true");
    retry.run().exits(0).counts("file", &[("created", 1), ("skipped", 1)]);
    assert_ne!(pair.target_now().at("d/keep").mtime(), (1_000_000_000, 0), "--no-times of the first environment");
}

#[test]
fn a_run_is_named_by_its_directory_too() {
    let pair = secrets(&[b"secret"], Ranks::One);
    open_up(&pair, &[b"secret"]);
    let path = pair.state_path().join("first");
    let mut retry = Pmirror::new().retry(pair.source_path(), pair.target_path(), &path).copied_to(pair.top_path());
    retry = retry.as_user(NOBODY);
    retry.run_unchecked().exits(0);
    let runs = std::fs::read_dir(pair.state_path()).unwrap().flatten();
    let runs = runs.filter(|entry| entry.path().join("summary.json").is_file()).count();
    assert_eq!(runs, 2, "the new run lies beside the other");
    pair.assert_mirrored_but(&OWNERS);
}

#[test]
fn what_can_not_be_retried_is_refused_with_the_remedy() {
    let pair = Pair::new();
    pair.source().file("file", "x");
    pair.target().file("extra", "x");
    pair.retry("missing").run_unchecked().refuses(1, &["no run missing", "--state-dir"]);
    pair.rm().run_id("removal").run().exits(0);
    pair.retry("removal").run_unchecked().refuses(1, &["was rm", "run the same command again"]);
    let run = pair.sync().run_id("good").run().exits(0);
    pair.retry("good").run_unchecked().exits(0).says("nothing of run good is to be done again");
    std::fs::remove_file(run.run_dir.as_ref().unwrap().join("summary.json")).unwrap();
    pair.retry("good").run_unchecked().refuses(1, &["has not ended"]);
    std::fs::create_dir(pair.state_path().join("other")).unwrap();
    pair.retry("other").run_unchecked().refuses(1, &["command.json"]);
    let left = std::fs::read_dir(pair.state_path()).unwrap().flatten();
    let left = left.filter(|entry| Path::new(&entry.file_name()).to_string_lossy().starts_with("test-")).count();
    assert_eq!(left, 0, "directories of runs that did not begin");
}

#[test]
fn deletions_are_left_to_the_command() {
    let pair = Pair::new();
    pair.source().file("d/secret", "x").mode(0o600);
    pair.target().file("extra", "x");
    pair.give_to(NOBODY);
    pair.target().file("d/extra", "x");
    pair.target().entry("d").owner(NOBODY.0, NOBODY.1);
    let sync = pair.sync().as_user(NOBODY).args(&["--delete", "--max-delete=1"]);
    sync.run_id("first").run_unchecked();
    open_up(&pair, &[b"d/secret"]);
    let run = pair.retry("first").as_user(NOBODY).run_unchecked().exits(0).says("retry removes nothing");
    run.counts("file", &[("created", 1)]);
    assert!(pair.target_now().has("extra") && pair.target_now().has("d/extra"));
}

#[test]
fn a_comparison_looks_again_at_what_it_could_not_read() {
    let pair = Pair::new();
    pair.source().file("d/secret", "one").mode(0o600).mtime(1_000, 0);
    pair.target().file("d/secret", "two").mode(0o600).mtime(1_000, 0);
    pair.source().file("other", "x");
    pair.target().file("other", "y");
    pair.give_to(NOBODY);
    let cmp = pair.cmp().as_user(NOBODY).args(&["--level=hash", "--no-owner"]);
    cmp.run_id("first").run().exits(23).has_fault("d/secret", "source", Errno::EACCES);
    for tree in [pair.source(), pair.target()] {
        tree.entry("d/secret").mode(0o644);
    }
    let run = pair.retry("first").as_user(NOBODY).run().exits(26);
    run.counts("file", &[("different", 1)]);
    assert!(String::from_utf8_lossy(&run.stdout).contains("d/secret"));
}
