//! `--trash`: what SRC lacks is renamed away and never removed, whatever happens meanwhile, and the books have each entry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use support::compare::{assert_same_but, assert_unwritten};
use support::*;

const RUN: &str = "to-the-trash";
const ALL: [&str; 4] = ["--max-delete", "100%", "--hold-threshold", "100%"];

/// Both trees have `both/N/file`; the target has more of every type.
fn pair() -> Pair {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        for n in 0..3 {
            tree.file(format!("both/{n}/file"), "content").mtime(1_000, 1);
        }
    }
    let target = pair.target();
    target.file("file", "x").owner(7, 8).mode(0o4640).xattr("user.note", "kept").mtime(2_000, 3);
    target.symlink("both/1/link", "file");
    target.fifo("both/1/fifo");
    target.char_device("both/1/null", 1, 3);
    target.file("gone/inner/one", "1").mtime(3_000, 1);
    target.file("gone/inner/two", "2");
    target.dir("gone/empty").mode(0o2750).mtime(4_000, 1);
    target.file(&b"gone/\xff\n\x1b"[..], "hostile");
    pair
}

/// Of `pair()`: names, and those that are renamed.
const ENTRIES: u64 = 10;
const TOPMOST: u64 = 5;

fn rm(pair: &Pair) -> Pmirror {
    pair.rm().args(&ALL).arg("--trash").run_id(RUN)
}

/// Runs it: the source is untouched, and the books balance.
fn run(pair: &Pair, command: &Pmirror, code: i32) -> Outcome {
    let before = pair.source_now();
    let run = command.run_unchecked().exits(code);
    assert_unwritten(&before, &pair.source_now(), "the source was written to");
    run.assert_books_balance();
    pair.assert_canary();
    run
}

fn undelete(pair: &Pair, words: &[&str], code: i32) -> Outcome {
    undelete_by(pair, Pmirror::new(), words, code)
}

fn undelete_by(pair: &Pair, program: Pmirror, words: &[&str], code: i32) -> Outcome {
    let state = pair.state_path();
    let program = program.copied_to(pair.top_path()).args(&["undelete", RUN]).args(words);
    program.args(&["--state-dir", state.to_str().unwrap()]).run_unchecked().exits(code)
}

fn purge(pair: &Pair, words: &[&str]) -> Pmirror {
    let purge = Pmirror::new().arg("purge-trash").arg(pair.target_path());
    purge.args(words).state_dir(pair.state_path()).copied_to(pair.top_path())
}

/// What of the target is no run's business.
fn tree(pair: &Pair) -> Snapshot {
    let mut now = pair.target_now();
    now.entries.retain(|path, _| !path.starts_with(b".pmirror"));
    now
}

/// All is as it was but for the times of directories in which names were made and removed: those that both trees have,
/// and these.
fn assert_is_back_but(before: &Snapshot, pair: &Pair, touched: &[&str]) {
    let now = tree(pair);
    let names = |tree: &Snapshot| tree.entries.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(before), names(&now));
    assert_same_but(before, &now, &["mtime"]);
    for (path, seen) in before.entries.iter().filter(|(path, _)| !path.is_empty()) {
        let after = now.at(path);
        assert_eq!((seen.identity(), seen.digest), (after.identity(), after.digest));
        let is_touched =
            ["both", "both/0", "both/1", "both/2"].iter().chain(touched).any(|name| name.as_bytes() == path);
        assert!(is_touched || seen.mtime() == after.mtime(), "{}", escaped(path));
    }
}

/// The same, and nothing is left of the trash.
fn assert_is_back(before: &Snapshot, pair: &Pair) {
    assert_is_back_but(before, pair, &[]);
    assert!(!pair.target_now().has(".pmirror"));
}

/// Every inode that was there is somewhere on the target.
fn assert_nothing_lost(before: &Snapshot, pair: &Pair) {
    let now: BTreeSet<_> = pair.target_now().entries.values().map(|seen| (seen.identity(), seen.digest)).collect();
    for (path, seen) in &before.entries {
        assert!(now.contains(&(seen.identity(), seen.digest)), "lost: {}", escaped(path));
    }
}

#[test]
fn entries_of_every_type_go_to_the_trash_and_come_back_as_they_were() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        let before = pair.target_now();
        let trashed = run(&pair, &rm(&pair).ranks(ranks).arg("-i"), 0);
        trashed.assert_output_is_escaped();
        assert_eq!((trashed.removals("planned"), trashed.removals("trashed")), (ENTRIES, ENTRIES));
        let now = tree(&pair);
        assert_eq!(now.entries.keys().collect::<Vec<_>>(), pair.source_now().entries.keys().collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&trashed.stdout).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('*')).collect();
        let expected = ["both/1/fifo", "both/1/link", "both/1/null", "file", "gone/"];
        assert_eq!(lines, expected.map(|path| format!("*trashing   {path}")));
        assert_nothing_lost(&before, &pair);
        assert_eq!(pair.target_now().at(".pmirror/trash").mode(), 0o700);

        let json = undelete_by(&pair, Pmirror::new().ranks(ranks), &["--json"], 0).stdout;
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((json["restored"].as_u64(), json["stays"].as_array().map(Vec::len)), (Some(TOPMOST), Some(0)));
        assert_is_back(&before, &pair);
    }
}

#[test]
fn a_dry_run_names_what_goes_and_writes_nothing() {
    let pair = pair();
    let before = pair.target_now();
    let dry = run(&pair, &rm(&pair).arg("-n"), 0);
    assert_unwritten(&before, &pair.target_now(), "the dry run wrote to the target");
    assert_eq!((dry.removals("trashed"), dry.number("/removals/seen")), (ENTRIES, ENTRIES + 7));
    assert!(String::from_utf8_lossy(&dry.stdout).contains("*trashing   gone/\n"));
}

#[test]
fn three_ranks_share_wide_and_deep_trees_and_count_each_entry_once() {
    let pair = pair();
    let target = pair.target();
    for n in 0..2_500 {
        target.file(format!("large/{n}"), "");
    }
    for n in 0..300 {
        target.file(format!("wide/{}/{}/{n}", n % 20, n % 3), "x");
        target.file(format!("both/{}/more {n}", n % 3), "x");
    }
    target.chain("deep", 300).file("leaf", "x");
    target.chain(&"long name ".repeat(20), 30).file("leaf beyond PATH_MAX", "x");
    let before = pair.target_now();
    let trashed = run(&pair, &rm(&pair).ranks(Ranks::Mpirun(3)), 0);
    let all = before.entries.len() - pair.source_now().entries.len();
    assert_eq!(trashed.removals("trashed"), u64::try_from(all).unwrap());
    assert_eq!(tree(&pair).entries.len(), pair.source_now().entries.len());
    undelete(&pair, &[], 0);
    assert_is_back(&before, &pair);
}

#[test]
fn ranks_go_by_one_run_that_nobody_has_named() {
    let pair = pair();
    let before = pair.target_now();
    // Without a state directory the helper names no run.
    let state = pair.state_path();
    let command = Pmirror::new().rm(pair.source_path(), pair.target_path()).args(&ALL).arg("--trash");
    command.arg("--state-dir").arg(&state).ranks(Ranks::Mpirun(3)).run_unchecked().exits(0);
    let trash = std::fs::read_dir(pair.target_path().join(".pmirror/trash")).unwrap();
    let runs: Vec<_> = trash.map(|run| run.unwrap().file_name()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(tree(&pair).entries.len(), pair.source_now().entries.len());
    Pmirror::new().arg("undelete").arg(&runs[0]).arg("--state-dir").arg(&state).run_unchecked().exits(0);
    assert_is_back(&before, &pair);
}

#[test]
fn what_failed_in_a_run_with_a_trash_is_retried_without_it() {
    let pair = pair();
    pair.source().file("closed", "content").mode(0o000);
    pair.give_to(NOBODY);
    let sync = pair.sync().args(&ALL).args(&["--delete", "--trash", "--hold-depth", "2"]).run_id(RUN);
    sync.as_user(NOBODY).run_unchecked().exits(23);
    pair.source().entry("closed").mode(0o644);
    pair.retry(RUN).args(&["--under", "closed"]).as_user(NOBODY).run_unchecked().exits(0);
    assert!(pair.target_path().join("closed").exists());
}

#[test]
fn what_the_patterns_leave_out_stays_and_the_names_beside_it_go_one_by_one() {
    let pair = pair();
    pair.target().file("gone/inner/keep.log", "stays");
    pair.target().file("gone/other/deep/file", "goes along");
    let before = pair.target_now();
    let trashed = run(&pair, &rm(&pair).args(&["--exclude", "*.log", "-i"]), 0);
    assert_eq!((trashed.removals("trashed"), trashed.kept("protected")), (ENTRIES + 3 - 2, 2));
    let now = tree(&pair);
    assert!(now.has("gone/inner/keep.log") && !now.has("gone/inner/one") && !now.has("gone/other"));
    let text = String::from_utf8_lossy(&trashed.stdout).into_owned();
    assert!(text.contains("*trashing   gone/other/\n") && !text.contains("gone/other/deep"), "{text}");
    undelete(&pair, &[], 0);
    assert_is_back_but(&before, &pair, &["gone", "gone/inner"]);
}

#[test]
fn a_subtree_that_a_guard_holds_stays_and_the_rest_of_its_directory_goes() {
    let pair = pair();
    for n in 0..1_000 {
        pair.target().file(format!("gone/held/{n}"), "");
    }
    let rm = pair.rm().args(&["--trash", "--max-delete", "100%", "--hold-depth", "2"]);
    let trashed = run(&pair, &rm, 25);
    assert_eq!((trashed.removals("held"), trashed.removals("trashed")), (1_001, ENTRIES - 1));
    assert_eq!(trashed.kept("holds_held"), 1);
    assert!(pair.target_now().has("gone/held/7") && !pair.target_now().has("gone/empty"));
}

#[test]
fn a_plan_in_a_file_is_applied_and_what_changed_since_keeps_what_would_take_it_along() {
    let pair = pair();
    pair.target().file("gone too/file", "x");
    let plan = pair.beside().path("plan");
    let planned = |command: Pmirror, how: &str| command.arg(how).arg(&plan);
    run(&pair, &planned(pair.rm(), "--plan"), 0);
    planned(rm(&pair), "--plan").run_unchecked().refuses(1, &["--plan", "--apply"]);
    pair.target().entry("gone/inner/two").touch_ctime();
    pair.target().file("gone too/came meanwhile", "goes along");
    let trashed = run(&pair, &planned(rm(&pair), "--apply"), 25);
    assert_eq!((trashed.removals("trashed"), trashed.kept("changed")), (ENTRIES + 2 - 6, 6));
    assert!(!trashed.faults_of("gone/inner/two").is_empty());
    let now = tree(&pair);
    assert!(now.has("gone/inner/one") && !now.has("gone too") && !now.has("file"));
    assert!(undelete(&pair, &["gone too"], 0).stdout.starts_with(b"put back: 1"));
    assert!(pair.target_now().has("gone too/came meanwhile"));
}

#[test]
fn a_copy_puts_what_is_in_the_way_into_the_trash_and_a_run_may_have_its_name_again() {
    let pair = pair();
    pair.source().file("gone", "a file in the place of a directory");
    let sync = pair.sync().args(&ALL).args(&["--delete", "--trash"]).run_id(RUN);
    let mirrored = run(&pair, &sync, 0);
    assert_eq!(mirrored.removals("trashed"), ENTRIES);
    let mut now = tree(&pair);
    now.entries.retain(|path, _| !path.is_empty());
    assert_same_but(&pair.source_now().without_root(), &now, &[]);
    pair.target().file("file", "the second of its name");
    assert_eq!(run(&pair, &sync, 0).removals("trashed"), 1);
    assert_eq!(run(&pair, &sync, 0).removals("planned"), 0);
    let back = undelete(&pair, &[], 23);
    let said = String::from_utf8_lossy(&back.stdout).into_owned();
    assert!(said.contains("stays     gone: something has its name again"), "{said}");
    assert!(said.contains("stays     file: something has its name again"), "{said}");
    assert_eq!(std::fs::read(pair.target_path().join("file")).unwrap(), b"the second of its name");
    assert_eq!(std::fs::read(pair.target_path().join("gone")).unwrap(), b"a file in the place of a directory");
    std::fs::remove_file(pair.target_path().join("gone")).unwrap();
    undelete(&pair, &["gone"], 0);
    assert_eq!(std::fs::read(pair.target_path().join("gone/inner/one")).unwrap(), b"1");
}

#[test]
fn what_can_not_be_renamed_stays_and_is_never_removed() {
    for errno in [Errno::EXDEV, Errno::EDQUOT] {
        let pair = pair();
        let target = FaultFs::mount(pair.target_path());
        target.rule(Rule::on("rename").named("{gone,file}").error(errno));
        let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path());
        let trashed = run(&pair, &rm.args(&ALL).arg("--trash").run_id(RUN), 25);
        assert_eq!((trashed.removals("trashed"), trashed.kept("unmovable")), (3, ENTRIES - 3));
        trashed.has_fault("gone", "target", errno);
        let now = pair.target_now();
        assert!(now.has("gone/inner/one") && now.has("file") && !now.has("both/1/link"));
    }
}

#[test]
fn a_trash_that_is_full_removes_nothing() {
    let pair = pair();
    let before = pair.target_now();
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("mkdir").named("{d,e}").error(Errno::ENOSPC));
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path());
    let full = run(&pair, &rm.args(&ALL).arg("--trash"), 23);
    assert_eq!((full.removals("trashed"), full.removals("failed")), (0, ENTRIES));
    let now = tree(&pair);
    assert_eq!(before.entries.keys().collect::<Vec<_>>(), now.entries.keys().collect::<Vec<_>>());
}

#[test]
fn where_nothing_can_be_renamed_nothing_is_left_of_the_trash() {
    let pair = pair();
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("rename").named("{gone,file,link,fifo,null}").error(Errno::EXDEV));
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path());
    run(&pair, &rm.args(&ALL).arg("--trash"), 3);
    assert!(!pair.target_now().has(".pmirror"));
}

#[test]
fn a_rename_is_tried_again_and_a_trash_that_is_gone_is_no_reason_to_remove() {
    let pair = pair();
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("rename").named("{gone,link}").first(1).error(Errno::ETIMEDOUT));
    target.rule(Rule::on("rename").named("file").error(Errno::ENOENT));
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path());
    let trashed = run(&pair, &rm.args(&ALL).arg("--trash"), 23);
    assert_eq!(
        (trashed.removals("trashed"), trashed.removals("failed"), trashed.number("/retried")),
        (ENTRIES - 1, 1, 1)
    );
    assert!(pair.target_now().has("file"));
}

/// rename(2) between directories takes a lock of the whole file system on its node, so where one hangs the others do.
#[test]
fn a_rename_that_hangs_is_parked_and_nothing_is_lost() {
    let pair = pair();
    let before = pair.target_now();
    let target = FaultFs::mount(pair.target_path());
    let hangs = target.rule(Rule::on("rename").named("gone").hang());
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path()).run_id(RUN);
    let (rm, summary) =
        (rm.args(&ALL).args(&["--trash", "--op-timeout", "2s"]), pair.state_path().join(RUN).join("summary.json"));
    let trashed = std::thread::scope(|scope| {
        let run = scope.spawn(|| rm.run_unchecked());
        let began = Instant::now();
        while !summary.exists() && !run.is_finished() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        target.lift(hangs);
        run.join().unwrap().exits(23)
    });
    trashed.assert_books_balance();
    assert!(trashed.number("/parked") > 0 && trashed.removals("failed") >= 6, "{}", trashed.summary());
    assert_nothing_lost(&before, &pair);
}

/// Sends a signal to a run when it is in the first rename of this name, by way of a file that tells the shell above it.
fn struck(
    pair: &Pair,
    target: &FaultFs,
    command: &Pmirror,
    (rename, signal): (&str, &str),
    lift: Option<u64>,
) -> Outcome {
    const STRIKE: &str = r#"flag=$1; signal=$2; shift 2; "$@" & run=$!
        until [ -e "$flag" ]; do kill -0 $run || break; sleep 0.02; done; kill -$signal $run; touch "$flag.sent"; wait $run"#;
    let flag = pair.beside().path("strike");
    let sent = pair.beside().path("strike.sent");
    for old in [&flag, &sent] {
        let _ = std::fs::remove_file(old);
    }
    let command = command.clone().wrapped_by(&["sh", "-c", STRIKE, "sh", flag.to_str().unwrap(), signal]);
    target.start_log();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| command.run_unchecked());
        let began = Instant::now();
        let wait = |over: &dyn Fn() -> bool| {
            while !over() && !run.is_finished() && began.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait(&|| target.take_log().iter().any(|line| line.starts_with(rename)));
        std::fs::write(&flag, "").unwrap();
        wait(&|| sent.exists());
        lift.into_iter().for_each(|rule| target.lift(rule));
        run.join().unwrap()
    })
}

#[test]
fn killed_at_any_rename_nothing_is_lost_and_the_same_command_goes_on() {
    for name in ["gone", "file", "link", "fifo", "null"] {
        let pair = pair();
        let before = pair.target_now();
        let target = FaultFs::mount(pair.target_path());
        let hangs = target.rule(Rule::on("rename").named(name).hang());
        let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path()).run_id(RUN);
        let rm = rm.args(&ALL).arg("--trash");
        struck(&pair, &target, &rm, (&format!("rename {name}"), "KILL"), Some(hangs)).exits(137);
        assert_nothing_lost(&before, &pair);
        rm.run_unchecked().exits(0).assert_books_balance();
        assert_nothing_lost(&before, &pair);
        assert_eq!(tree(&pair).entries.len(), pair.source_now().entries.len());
        undelete(&pair, &[], 0);
        assert_is_back_but(&before, &pair, &[]);
    }
}

/// Slow renames, so that all of them together take far longer than the stop.
#[test]
fn a_run_that_is_stopped_while_it_renames_goes_on_with_the_same_plan() {
    let pair = pair();
    for n in 0..60 {
        pair.target().file(format!("both/{}/more {n}", n % 3), "x");
    }
    let (before, target) = (pair.target_now(), FaultFs::mount(pair.target_path()));
    target.rule(Rule::on("rename").latency(Duration::from_millis(300)));
    let rm = Pmirror::new().rm(pair.source_path(), target.path()).state_dir(pair.state_path()).run_id(RUN);
    let rm = rm.args(&ALL).args(&["--trash", "--threads", "1"]);
    let stopped = struck(&pair, &target, &rm, ("rename more", "USR1"), None).exits(75);
    stopped.assert_books_balance();
    assert!(stopped.removals("trashed") > 0 && stopped.removals("unfinished") > 0, "{}", stopped.summary());
    assert_nothing_lost(&before, &pair);
    target.clear();
    let resumed = rm.resumed(RUN).run_unchecked().exits(0);
    resumed.assert_books_balance();
    assert_eq!(resumed.removals("trashed"), ENTRIES + 60);
    assert_eq!(tree(&pair).entries.len(), pair.source_now().entries.len());
    undelete(&pair, &[], 0);
    assert_is_back(&before, &pair);
}

#[test]
fn an_ordinary_user_trashes_what_is_his_and_keeps_what_he_can_not_move() {
    let pair = pair();
    for name in ["file", "both/1/link", "both/1/fifo", "both/1/null"] {
        pair.target().entry(name).unlink();
    }
    pair.target().file("others/file", "of root");
    pair.give_to(NOBODY);
    for path in [&b"gone"[..], b"gone/inner", b"gone/inner/one", b"gone/inner/two", b"gone/empty", b"gone/\xff\n\x1b"] {
        pair.target().entry(path).owner(NOBODY.0, NOBODY.1);
    }
    pair.target().entry("gone").mode(0o500);
    let before = pair.target_now();
    let trashed = run(&pair, &rm(&pair).as_user(NOBODY), 25);
    assert_eq!((trashed.removals("trashed"), trashed.kept("unmovable")), (6, 2));
    trashed.has_fault("others", "target", Errno::EACCES);
    assert!(pair.target_now().has("others/file") && !pair.target_now().has("gone"));
    undelete_by(&pair, Pmirror::new().as_user(NOBODY), &[], 0);
    assert_is_back(&before, &pair);
    assert_eq!(pair.target_now().at("gone").mode(), 0o500);
}

#[test]
fn a_private_directory_of_another_or_a_link_in_its_place_is_refused() {
    let pair = pair();
    pair.beside().dir("elsewhere");
    pair.target().dir(".pmirror").owner(NOBODY.0, NOBODY.1);
    let before = tree(&pair);
    run(&pair, &rm(&pair), 11);
    purge(&pair, &["--all"]).run_unchecked().exits(11);
    undelete(&pair, &["--target", pair.target_path().to_str().unwrap()], 11);
    std::fs::remove_dir(pair.target_path().join(".pmirror")).unwrap();
    pair.target().symlink(".pmirror", "../elsewhere");
    run(&pair, &rm(&pair), 11);
    purge(&pair, &["--all"]).run_unchecked().exits(11);
    assert_eq!(before.entries.keys().collect::<Vec<_>>(), tree(&pair).entries.keys().collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(pair.beside().path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn a_single_entry_comes_out_of_a_trashed_directory() {
    let pair = pair();
    run(&pair, &rm(&pair), 0);
    let listed = undelete(&pair, &["-n"], 0);
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(said.contains("restored  gone\n") && said.contains("would be put back: 5"), "{said}");
    assert!(!pair.target_now().has("gone"));
    let missing = undelete(&pair, &["gone/inner/one"], 23);
    assert!(String::from_utf8_lossy(&missing.stdout).contains("--parents makes it"));
    let whole = pair.target_path().join("gone/inner/one");
    undelete(&pair, &[whole.to_str().unwrap(), "--parents"], 0);
    assert_eq!(pair.target_now().at("gone/inner/one").mtime(), (3_000, 1));
    assert_eq!(pair.target_now().at("gone/inner").mode(), 0o700);
    undelete(&pair, &["both/1"], 0);
    let now = tree(&pair);
    assert!(now.has("both/1/link") && now.has("both/1/null") && !now.has("file") && !now.has("gone/inner/two"));
}

#[test]
fn what_is_not_in_the_trash_is_told_apart() {
    let pair = pair();
    undelete(&pair, &[], 1).refuses(1, &["no run to-the-trash", "--target"]);
    run(&pair, &rm(&pair).arg("-n"), 0);
    undelete(&pair, &[], 1).refuses(1, &["has no trash of run to-the-trash"]);
    run(&pair, &rm(&pair), 0);
    undelete(&pair, &["both/1/file"], 1).refuses(1, &["nothing at both/1/file"]);
    undelete(&pair, &["../canary"], 1);
    undelete(&pair, &["/etc/passwd"], 1).refuses(1, &["does not lie in DST"]);
    let target = pair.target_path();
    undelete(&pair, &["--target", target.to_str().unwrap(), "gone"], 0);
    assert!(pair.target_now().has("gone/inner/one"));
    pair.sync().arg("--trash").run_unchecked().refuses(1, &["--delete"]);
    Pmirror::new().args(&["rm", "--tree", "a", "--trash"]).run_unchecked().refuses(1, &["rm --tree has no trash"]);
}

#[test]
fn old_trash_goes_and_young_trash_stays() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        let nothing = purge(&pair, &["--all"]).run_unchecked().exits(0);
        assert_eq!(nothing.removals("planned"), 0);
        run(&pair, &rm(&pair), 0);
        pair.target().file("file", "of another run");
        run(&pair, &pair.rm().args(&ALL).arg("--trash").run_id("another"), 0);
        // The record tells the age, whatever the times of the directories are.
        for record in std::fs::read_dir(pair.target_path().join(".pmirror/trash").join(RUN)).unwrap() {
            let record = record.unwrap().path().join("record.json");
            let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
            json["made"] = "2001-02-03T04:05:06Z".into();
            std::fs::write(&record, json.to_string()).unwrap();
        }
        let before = pair.target_now();
        let dry = purge(&pair, &["--older-than", "7d", "-n"]).ranks(ranks).run_unchecked().exits(0);
        assert_unwritten(&before, &pair.target_now(), "the dry run wrote to the target");
        let said = String::from_utf8_lossy(&dry.stdout).into_owned();
        assert!(
            said.contains("keep   another") && said.contains("purge  to-the-trash  2001-02-03T04:05:06Z  5 entries"),
            "{said}"
        );
        let purged = purge(&pair, &["--older-than", "7d"]).ranks(ranks).run_unchecked().exits(0);
        purged.assert_books_balance();
        assert_eq!(
            (dry.removals("removed"), purged.removals("planned")),
            (purged.removals("removed"), purged.removals("removed"))
        );
        let now = pair.target_now();
        assert!(now.has(".pmirror/trash/another") && !now.has(".pmirror/trash/to-the-trash") && now.has("both/1/file"));
        undelete(&pair, &["file"], 1);
        purge(&pair, &["--all"]).ranks(ranks).run_unchecked().exits(0);
        assert!(!pair.target_now().has(".pmirror"));
        assert_eq!(tree(&pair).entries.len(), pair.source_now().entries.len());
    }
}

#[test]
fn a_purge_that_was_killed_is_completed_by_the_next_and_the_trash_comes_back_no_more() {
    let pair = pair();
    run(&pair, &rm(&pair), 0);
    let kill = "inject=unlinkat:signal=SIGKILL:when=4";
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", kill];
    purge(&pair, &["--all", "--threads", "1"]).wrapped_by(&strace).run_unchecked().exits(137);
    undelete(&pair, &[], 1).refuses(1, &["no trash of run"]);
    pair.sync().run_unchecked().exits(0);
    let purged = purge(&pair, &["--older-than", "7d"]).run_unchecked().exits(0);
    assert!(purged.removals("removed") > 0);
    assert!(!pair.target_now().has(".pmirror"));
}

#[test]
fn purge_wants_to_be_told_what_is_old() {
    Pmirror::new().args(&["purge-trash", "/tmp"]).run_unchecked().refuses(1, &["--older-than"]);
    Pmirror::new().args(&["purge-trash", "/tmp", "--all", "--older-than", "1d"]).run_unchecked().exits(1);
}
