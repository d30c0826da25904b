//! `sync --final`: the source is said to be frozen. What vanishes or changes has failed, and who writes
//! there is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use support::*;

/// The lines of `notes.jsonl`.
fn notes(run: &Outcome) -> Vec<Value> {
    let list = run.run_dir.as_ref().unwrap().join("notes.jsonl");
    let text = std::fs::read_to_string(list).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The paths of which the list says this.
fn noted(run: &Outcome, what: &str) -> BTreeSet<String> {
    let of = |note: &Value| note["path"].as_str().unwrap().to_owned();
    notes(run).iter().filter(|note| note["what"] == what).map(of).collect()
}

fn text(run: &Outcome) -> String {
    // Of a dry run the list is the result, and the summary goes to stderr.
    String::from_utf8_lossy(&[&run.stdout[..], &run.stderr[..]].concat()).into_owned()
}

/// A mirrored pair, and a run of it as one of a frozen source, with clocks that agree.
fn mirrored() -> (Pair, Pmirror) {
    let pair = Pair::new();
    for index in 0..50 {
        pair.source().file(format!("{}/{index}", index % 5), "content").mtime(1_000, 1);
    }
    pair.source().file("busy", "as it was");
    pair.source().dir("busy directory");
    pair.sync().run().exits(0);
    let sync = pair.sync().args(&["--final", "--clock-skew", "0"]);
    (pair, sync)
}

/// Somebody who changes nothing that is compared, but is there.
fn writer(pair: &Pair) -> impl FnMut() + Send {
    let entries = ["busy", "busy directory"].map(|path| pair.source().path(path));
    move || {
        for path in &entries {
            let permissions = std::fs::metadata(path).unwrap().permissions();
            std::fs::set_permissions(path, permissions).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_quiet_source_is_done_and_nothing_is_noted() {
    let (_pair, sync) = mirrored();
    let run = sync.run().exits(0);
    assert_eq!(run.summary()["frozen"]["ctime_after_start"], 0);
    assert_eq!(run.summary()["frozen"]["ctime_newer"]["files"], 0);
    assert!(notes(&run).is_empty());
}

#[test]
fn ages_are_refused_as_they_would_leave_something_behind() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    for age in ["--min-age", "--max-age"] {
        pair.sync().args(&["--final", age, "1h"]).run_unchecked().refuses(1, &["--final", age]);
    }
    assert!(!pair.target_now().has("file"));
}

#[test]
fn what_vanishes_has_failed() {
    let pair = Pair::new();
    pair.source().file("gone/file", "content");
    pair.source().file("stays/file", "content");
    let gone = pair.source().path("gone");
    // getdents(2): ENOENT is the answer for a directory that was removed after it was opened.
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", gone.to_str().unwrap()];
    let inject = ["-e", "trace=getdents64", "-e", "inject=getdents64:error=ENOENT"];
    let wrapper = [&strace[..], &inject].concat();
    let run = pair.sync().arg("--final").wrapped_by(&wrapper).run_unchecked().exits(23);
    run.assert_books_balance();
    assert_eq!((run.count("directory", "failed"), run.total("vanished")), (1, 0));
    assert_eq!(run.faults_of("gone")[0]["outcome"], "failed");
    let live = pair.sync().wrapped_by(&wrapper).run_unchecked().exits(24);
    assert_eq!((live.count("directory", "vanished"), live.total("failed")), (1, 0));
    assert_eq!(live.faults_of("gone")[0]["outcome"], "vanished");
}

#[test]
fn whatever_happens_nothing_has_merely_vanished_or_changed() {
    let pair = Pair::new();
    for index in 0..200 {
        pair.source().file(format!("{}/{index}", index % 5), vec![1; 50_000]);
    }
    let mut dice = random::Dice::new(7);
    let churn = || {
        let path = pair.source_path().join(format!("{}/{}", dice.below(5), dice.below(200)));
        match dice.below(3) {
            0 => drop(std::fs::remove_file(path)),
            1 => drop(std::fs::rename(&path, path.with_extension("moved"))),
            _ => drop(std::fs::write(path, vec![1; dice.below(100_000) as usize])),
        }
    };
    let failed = while_disturbed(churn, || {
        let (started, mut failed) = (Instant::now(), 0);
        while failed == 0 && started.elapsed() < Duration::from_secs(20) {
            let run = pair.sync().arg("--final").run_unchecked();
            run.assert_books_balance();
            run.context(|| assert!([0, 23, 24].contains(&run.code), "0, 23 or 24 was expected"));
            assert_eq!((run.total("vanished"), run.total("changed")), (0, 0));
            failed = run.total("failed");
            assert!(run.faults.iter().all(|fault| fault["outcome"] == "failed"));
            let _ = std::fs::remove_dir_all(pair.target_path().join("0"));
        }
        failed
    });
    assert!(failed > 0, "no run met a change");
}

#[test]
fn who_writes_after_the_start_is_named() {
    let (pair, sync) = mirrored();
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let run = while_disturbed(writer(&pair), || sync.clone().ranks(ranks).run_unchecked());
        run.assert_books_balance();
        let run = run.exits(24);
        let both = ["busy", "busy directory"].map(str::to_owned).into();
        run.context(|| assert_eq!(noted(&run, "ctime_after_start"), both));
        assert_eq!(run.summary()["frozen"]["ctime_after_start"], 2);
        let paths = &run.summary()["frozen"]["paths"];
        assert!(paths.as_array().unwrap().contains(&"busy directory".into()), "{paths}");
        assert_eq!(run.total("changed") + run.total("failed"), 0);
        let text = text(&run);
        assert!(text.contains("2 entries of SRC changed after the start") && text.contains("busy directory"), "{text}");
    }
}

#[test]
fn a_source_that_is_not_said_to_be_frozen_may_be_written_to() {
    let (pair, _) = mirrored();
    let sync = pair.sync().args(&["--clock-skew", "0"]);
    let run = while_disturbed(writer(&pair), || sync.run_unchecked()).exits(0);
    assert!(run.summary().get("frozen").is_none() && notes(&run).is_empty());
}

#[test]
fn clocks_may_differ_by_what_was_said() {
    let (pair, _) = mirrored();
    let sync = pair.sync().args(&["--final", "--clock-skew", "60"]);
    let run = while_disturbed(writer(&pair), || sync.run_unchecked()).exits(0);
    assert!(noted(&run, "ctime_after_start").is_empty());
}

#[test]
fn the_root_is_named_too() {
    let (pair, sync) = mirrored();
    let root = pair.source_path();
    let touch = || {
        std::fs::set_permissions(&root, std::fs::metadata(&root).unwrap().permissions()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    };
    let run = while_disturbed(touch, || sync.run_unchecked()).exits(24);
    assert_eq!(noted(&run, "ctime_after_start"), [String::new()].into());
}

#[test]
fn no_more_than_ten_are_named_in_the_summary() {
    let (pair, sync) = mirrored();
    let paths: Vec<_> = (0..50).map(|index| pair.source().path(format!("{}/{index}", index % 5))).collect();
    let touch = || {
        for path in &paths {
            std::fs::set_permissions(path, std::fs::metadata(path).unwrap().permissions()).unwrap();
        }
    };
    let run = while_disturbed(touch, || sync.run_unchecked()).exits(24);
    assert_eq!(run.summary()["frozen"]["paths"].as_array().unwrap().len(), 10);
    let all = noted(&run, "ctime_after_start").len();
    assert!(all > 10 && run.number("/frozen/ctime_after_start") == all as u64, "{all}");
}

#[test]
fn a_newer_ctime_is_repaired_as_metadata_and_listed_with_its_size() {
    let (pair, sync) = mirrored();
    pair.source().entry("1/1").xattr("user.new", "1");
    let run = sync.run().exits(0);
    run.counts("file", &[("same", 50), ("metadata_only", 1)]);
    assert_eq!(run.summary()["frozen"]["ctime_newer"], serde_json::json!({"files": 1, "bytes": 7}));
    assert_eq!(notes(&run).len(), 1);
    assert_eq!((&notes(&run)[0]["path"], &notes(&run)[0]["size"]), (&"1/1".into(), &7.into()));
    assert_eq!(noted(&run, "ctime_newer"), ["1/1".to_owned()].into());
    pair.assert_mirrored();
}

#[test]
fn a_dry_run_tells_what_comparing_contents_would_read() {
    let (pair, sync) = mirrored();
    pair.source().entry("1/1").touch_ctime();
    pair.source().entry("2/2").touch_ctime();
    let run = sync.arg("-n").run().exits(0);
    assert_eq!(run.summary()["frozen"]["ctime_newer"], serde_json::json!({"files": 2, "bytes": 14}));
    let text = text(&run);
    assert!(
        text.contains("2 files (14 B) changed after the copy was made") && text.contains("--ctime=content"),
        "{text}"
    );
}

#[test]
fn content_that_hides_behind_size_and_time_is_found_where_that_is_asked_for() {
    let (pair, sync) = mirrored();
    pair.source().entry("1/1").content("CONTENT").mtime(1_000, 1);
    sync.run().exits(0).counts("file", &[("same", 51)]);
    let run = sync.arg("--ctime=content").run().exits(0);
    run.counts("file", &[("same", 50), ("updated", 1)]);
    assert_eq!(noted(&run, "ctime_newer"), ["1/1".to_owned()].into());
    pair.assert_mirrored();
}
