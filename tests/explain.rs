//! `pmirror explain`: why entries of a run failed, by cause, and what to do about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use serde_json::Value;
use std::process::Command;
use support::told::{record, told, told_json};
use support::*;

/// A source of which nobody may not read all, and a `sync` by nobody that failed at it.
fn unreadable(pair: &Pair, paths: &[&[u8]]) {
    for path in paths {
        pair.source().file(path, "secret").mode(0o600);
    }
    pair.source().file("open", "for all");
    pair.give_to(NOBODY);
    pair.sync().as_user(NOBODY).run_id("first").run().exits(23);
}

/// Gives the commands that are told as a user would.
fn give(pair: &Pair, explained: &Value) {
    let program = pair.top_path().join("pmirror");
    for cause in explained["causes"].as_array().unwrap() {
        let line = cause["run"].as_str().unwrap();
        let line = line.replace("pmirror ", &format!("{} ", program.display()));
        let mut shell = Command::new("setpriv");
        shell.args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", &line]);
        let output = shell.current_dir("/").output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn each_cause_is_told_with_its_place_and_the_command_that_mends_it() {
    let pair = Pair::new();
    let paths: [&[u8]; 4] = [b"it's d/a/1", b"it's d/a/2", b"it's d/a/\xff\x1b[2J", b"it's d/a/3"];
    unreadable(&pair, &paths);
    told(&["explain", "first"], pair.state_path()).says(&[
        "run first (sync): ended with exit code 23",
        "4 faults of 1 cause",
        "1. 4 failed (100 %): EACCES (Permission denied), openat on SRC",
        "where    it's d/a\n",
        "such as  it's d/a/1",
        "root_squash",
        "retry ",
        " --errno EACCES --under 'it'\\''s d/a'",
        "Nothing is lost",
    ]);
    for path in paths {
        pair.source().entry(path).mode(0o644);
    }
    give(&pair, &told_json(&["explain", "first"], pair.state_path()));
    pair.assert_mirrored_but(&["owner", "group"]);
}

#[test]
fn names_of_any_bytes_are_told_so_that_a_terminal_and_a_shell_take_them() {
    let pair = Pair::new();
    unreadable(&pair, &[b"d\xff'\x1b[2J/f\n\x1b]0;x\x07"]);
    let said = told(&["explain", "first"], pair.state_path());
    said.says(&["d\\xff'\\u{1b}[2J/f\\n\\u{1b}]0;x\\u{7}", " --under $'d\\377\\'\\033[2J/f\\012\\033]0;x\\007'"]);
    assert!(!said.text.contains(|c: char| c != '\n' && c.is_control()), "{:?}", said.text);
    pair.source().entry(b"d\xff'\x1b[2J/f\n\x1b]0;x\x07").mode(0o644);
    give(&pair, &told_json(&["explain", "first"], pair.state_path()));
    pair.assert_mirrored_but(&["owner", "group"]);
}

#[test]
fn who_is_over_quota_is_named() {
    let pair = Pair::new();
    for (path, owner) in [("a/quota", 1_000), ("b/quota", 54_321)] {
        pair.source().file(path, "content").owner(owner, owner);
    }
    let target = FaultFs::mount(pair.target_path());
    target.rule(Rule::on("write").named("quota").error(Errno::EDQUOT));
    let sync = Pmirror::new().sync(pair.source_path(), target.path()).state_dir(pair.state_path());
    sync.run_id("first").run().exits(23);
    told(&["explain", "first"], pair.state_path()).says(&["EDQUOT", "uid 1000", "uid 54321", "quota on DST"]);
    let explained = told_json(&["explain", "first"], pair.state_path());
    let owners = explained["causes"][0]["owners"].as_array().unwrap();
    assert_eq!(owners.iter().map(|owner| owner["uid"].as_u64().unwrap()).collect::<Vec<_>>(), [1_000, 54_321]);
}

fn line(n: usize, errno: &str, operation: &str, side: &str, path: &str) -> String {
    let fault = serde_json::json!({
        "path": path, "outcome": "failed", "operation": operation, "errno": errno, "message": "", "side": side, "note": "",
        "owner": n % 2000, "rank": n % 64, "host": "n1",
    });
    format!("{fault}\n")
}

#[test]
fn forty_thousand_lines_become_ten() {
    let pair = Pair::new();
    let errors = ["EACCES", "EIO", "EDQUOT", "ESTALE", "EPERM", "ENOSPC", "EINVAL", "EWHAT"];
    let mut list = String::new();
    for n in 0..40_000 {
        // Each is a tenth as frequent as the one before it, or so.
        let errno = errors[(0..8).find(|rare| n % 3_usize.pow(rare + 1) != 0).unwrap_or(7) as usize];
        let (operation, side) = [("openat", "source"), ("write", "target")][n % 2];
        list.push_str(&line(n, errno, operation, side, &format!("projects/p{errno}/{}/dir{n}/file{n}", n % 7)));
    }
    record(&pair.state_path(), "many", &list);
    let explained = told_json(&["explain", "many"], pair.state_path());
    let causes = explained["causes"].as_array().unwrap();
    assert_eq!((causes.len(), explained["faults"].as_u64()), (10, Some(40_000)));
    let counts: Vec<u64> = causes.iter().map(|cause| cause["count"].as_u64().unwrap()).collect();
    let others = explained["others"]["faults"].as_u64().unwrap();
    assert_eq!(counts.iter().sum::<u64>() + others, 40_000);
    assert!(counts.is_sorted_by(|a, b| a >= b) && others > 0, "{counts:?}");
    for cause in causes {
        let place = format!("projects/p{}", cause["errno"].as_str().unwrap());
        let subtrees = cause["subtrees"].as_array().unwrap();
        assert!(subtrees.iter().all(|tree| tree["path"].as_str().unwrap().starts_with(&place)), "{cause}");
    }
    let text = told(&["explain", "many", "--top", "3"], pair.state_path());
    text.says(&["40,000 faults of 16 causes", "\n3. ", "of 13 other causes: --top 16"]);
    assert!(!text.text.contains("\n4. "));
}

#[test]
fn a_list_that_is_damaged_or_gone_is_told_as_far_as_it_goes() {
    let pair = Pair::new();
    let list = format!("{}nonsense\n{{\"path\":\"cut", line(0, "EIO", "pread", "source", "d/f"));
    let directory = record(&pair.state_path(), "cut", &list);
    let said = told(&["explain", "cut"], pair.state_path());
    said.says(&["1 fault of 1 cause", "2 lines of the list can not be read, and are not counted", "which    d/f"]);
    std::fs::remove_file(directory.join("faults.jsonl")).unwrap();
    let summary = r#"{"exit_code":23,"faults":[{"outcome":"failed","operation":"pread","errno":"EIO","side":"source",
        "note":"","count":7}]}"#;
    std::fs::write(directory.join("summary.json"), summary).unwrap();
    told(&["explain", "cut"], pair.state_path()).says(&["7 faults of 1 cause", "EIO", "--errno EIO"]);
}

#[test]
fn a_run_without_faults_says_so_and_the_newest_is_meant_where_none_is_named() {
    let pair = Pair::new();
    pair.source().file("a.o", "x");
    pair.source().file("b", "x");
    let missing = told(&["explain"], pair.state_path());
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("there is no run in") && missing.stderr.contains("--state-dir"),
        "{}",
        missing.stderr
    );
    assert_eq!(told(&["explain", "none"], pair.state_path()).code, 1);
    pair.sync().run_id("first").run().exits(0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    pair.sync().arg("--exclude=*.o").run_id("second").run().exits(0);
    told(&["explain"], pair.state_path()).says(&[
        "run second (sync), the newest: ended with exit code 0",
        "no faults",
        "1  were skipped by a pattern (--exclude)",
    ]);
    let mut here = told::command(&["explain"], pair.state_path());
    let output = here.arg(pair.state_path().join("first")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("run first (sync): ended"), "by its path");
    let untouched = std::fs::read_dir(pair.state_path()).unwrap().flatten().count();
    assert_eq!(untouched, 3, "two runs and the roots: nothing was written");
}

#[test]
fn deletions_that_were_held_back_are_told_with_what_to_do() {
    let pair = Pair::new();
    pair.source().file("keep", "x");
    pair.target().file("keep", "x");
    for n in 0..12 {
        pair.target().file(format!("gone/{n}"), "x");
    }
    pair.rm().arg("--max-delete=3").run_id("first").run_unchecked().exits(3);
    told(&["explain", "first"], pair.state_path()).says(&["deletions were refused", "--max-delete"]);
}
