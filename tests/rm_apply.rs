//! Plans of deletions in files: made once, read by people, applied later.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::PathBuf;
use support::compare::assert_unwritten;
use support::*;

fn pair() -> Pair {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        tree.file("both/file", "content").mtime(1_000, 1);
    }
    let target = pair.target();
    target.file("both/extra", "12345").owner(7, 8);
    target.file("gone/inner/file", "x");
    target.file("gone/inner/other", "x");
    target.dir("gone/empty");
    target.symlink(&b"\xff"[..], "both");
    pair
}

fn plan_file(pair: &Pair) -> PathBuf {
    pair.beside().path("plan.jsonl")
}

fn plan(pair: &Pair) -> Outcome {
    let before = pair.target_now();
    let run = pair.rm().arg("--plan").arg(plan_file(pair)).run().exits(0);
    assert_unwritten(&before, &pair.target_now(), "the plan wrote to the target");
    run
}

fn apply(pair: &Pair) -> Pmirror {
    pair.rm().arg("--apply").arg(plan_file(pair))
}

#[test]
fn a_plan_says_what_each_entry_is_and_its_names_are_a_list() {
    let pair = pair();
    let run = plan(&pair);
    assert_eq!(run.removals("planned"), 7);
    let text = std::fs::read_to_string(plan_file(&pair)).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let extra = lines.iter().find(|line| line["path"] == "both/extra").unwrap();
    let now = pair.target_now().at("both/extra").stat;
    assert_eq!((&extra["type"], &extra["size"]), (&"file".into(), &5.into()));
    assert_eq!((&extra["uid"], &extra["gid"]), (&7.into(), &8.into()));
    assert_eq!((&extra["inode"][0], &extra["ctime"][0]), (&now.stx_ino.into(), &now.stx_ctime.tv_sec.into()));
    let list = std::fs::read(pair.beside().path("plan.jsonl.nul")).unwrap();
    let mut names: Vec<&[u8]> = list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let expected = [&b"both/extra"[..], b"gone", b"gone/empty", b"gone/inner", b"gone/inner/file", b"gone/inner/other"];
    assert_eq!(names, [&expected[..], &[b"\xff"]].concat());
}

#[test]
fn what_is_applied_is_what_was_planned() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = pair();
        plan(&pair);
        pair.target().file("later", "x");
        let dry = apply(&pair).arg("-n").run().exits(0);
        assert_eq!(dry.removals("removed"), 7);
        assert!(pair.target_now().has("gone/inner/file"));
        let run = apply(&pair).ranks(ranks).run().exits(0);
        assert_eq!(run.removals("removed"), 7);
        let now = pair.target_now();
        let left: Vec<String> = now.entries.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        assert_eq!(left, ["", "both", "both/file", "later"]);
    }
}

#[test]
fn what_changed_since_is_kept_and_reported() {
    let pair = pair();
    plan(&pair);
    pair.target().entry("both/extra").touch_ctime();
    pair.target().file("gone/inner/new", "x");
    pair.source().symlink(&b"\xff"[..], "both");
    let run = apply(&pair).run().exits(25);
    assert_eq!((run.removals("removed"), run.removals("kept")), (3, 4));
    assert_eq!((run.kept("changed"), run.kept("not_empty"), run.kept("on_source")), (1, 2, 1));
    let now = pair.target_now();
    for path in [&b"both/extra"[..], b"gone/inner/new", b"\xff"] {
        assert!(now.has(path));
        let named = !run.faults_of(path).is_empty() || path == b"gone/inner/new";
        assert!(named, "not reported: {}", String::from_utf8_lossy(path));
    }
    assert!(!now.has("gone/inner/file") && !now.has("gone/empty"));
}

#[test]
fn all_names_of_one_file_go() {
    let pair = pair();
    pair.target().hard_link("gone/inner/file", "gone/another name");
    pair.target().hard_link("gone/inner/file", "both/a third");
    plan(&pair);
    let run = apply(&pair).run().exits(0);
    assert_eq!((run.removals("removed"), run.removals("kept")), (9, 0));
}

#[test]
fn patterns_belong_to_the_plan() {
    let pair = pair();
    plan(&pair);
    apply(&pair).args(&["--exclude", "*"]).run().refuses(1, &["--apply", "patterns"]);
    assert!(pair.target_now().has("both/extra"));
}

#[test]
fn a_plan_for_other_roots_is_refused() {
    let pair = pair();
    plan(&pair);
    std::fs::rename(pair.target_path(), pair.beside().path("was")).unwrap();
    std::fs::create_dir(pair.target_path()).unwrap();
    let other = pair.beside();
    other.file("target/both/extra", "x");
    apply(&pair).run().refuses(3, &["another DST", "new plan"]);
    assert!(pair.target_now().has("both/extra"));
}

#[test]
fn a_plan_that_was_altered_or_cut_off_is_none() {
    let pair = pair();
    plan(&pair);
    let text = std::fs::read_to_string(plan_file(&pair)).unwrap();
    let altered = text.replace("both/extra", "both/other");
    let cut = text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
    let names = "both/extra\0".to_owned();
    for (broken, word) in [(altered, "altered"), (cut, "cut off"), (names, "cut off"), (String::new(), "cut off")] {
        std::fs::write(plan_file(&pair), broken).unwrap();
        apply(&pair).run().refuses(1, &["--apply", word]);
    }
    std::fs::remove_file(plan_file(&pair)).unwrap();
    apply(&pair).run().refuses(1, &["--apply", "No such file"]);
    assert_eq!(pair.target_now().count("file"), 4);
}

#[test]
fn a_plan_beyond_the_limit_is_written_and_says_so_and_is_refused_when_applied() {
    let pair = pair();
    let run = pair.rm().arg("--plan").arg(plan_file(&pair)).args(&["--max-delete", "6"]).run().exits(0);
    assert!(String::from_utf8_lossy(&run.stdout).contains("--max-delete 7"));
    apply(&pair).args(&["--max-delete", "6"]).run().exits(3);
    assert!(pair.target_now().has("both/extra"));
    apply(&pair).run().exits(0);
}

#[test]
fn what_is_held_is_not_in_the_plan() {
    let pair = pair();
    for n in 0..1_000 {
        pair.target().file(format!("most/{n}"), "");
    }
    let run = plan(&pair);
    assert_eq!((run.removals("held"), run.removals("removed")), (1_001, 7));
    let run = apply(&pair).run().exits(0);
    assert_eq!(run.removals("removed"), 7);
    assert!(pair.target_now().has("most/7"));
}
