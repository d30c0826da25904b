//! `cmp` and rsync agree: on random trees with random changes, in whether anything differs, and in each
//! letter of what does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use support::difference::{lines, look};
use support::outcome::fault_path;
use support::random::{Dice, change};
use support::*;

type Letters = BTreeMap<Vec<u8>, String>;

/// A random tree twice, and some changes in the target.
fn changed_twins(tree: RandomTree, changes: u64) -> Pair {
    let pair = Pair::new();
    tree.build(&pair.source());
    tree.build(&pair.target());
    let mut dice = Dice::new(tree.seed);
    for _ in 0..changes {
        change(&pair.target(), &pair.target_now(), &mut dice);
    }
    pair
}

/// What `rsync -n -i` says with these options: the letters of each path.
fn rsync(pair: &Pair, options: &[&str]) -> Letters {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "-8", "--numeric-ids", "--delete", "--modify-window=-1", "--out-format=%i %n"]).args(options);
    rsync.args([pair.source_path(), pair.target_path()].map(|path| format!("{}/", path.display())));
    let output = rsync.output().expect("rsync");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| (path_of(&line[12..]), String::from_utf8_lossy(&line[..11]).into_owned())).collect()
}

/// rsync writes what can not be printed as `\#` and three octal digits, and a slash after directories.
fn path_of(mut text: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    while let Some((&first, rest)) = text.split_first() {
        let digits = text.get(2..5).filter(|_| text.starts_with(b"\\#"));
        let octal = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(octal.unwrap_or(first));
        text = if octal.is_some() { &text[5..] } else { rest };
    }
    let path = path.strip_suffix(b"/").unwrap_or(&path);
    if path == b"." { Vec::new() } else { path.to_vec() }
}

/// Of what rsync would delete only the topmost names that the source has not: cmp tells no others.
fn topmost(letters: Letters, source: &Snapshot) -> Letters {
    let is_topmost = |path: &Vec<u8>| {
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let parent = source.entries.get(&path[..slash]);
        !source.has(path) && parent.is_some_and(|parent| parent.kind() == "directory")
    };
    letters.into_iter().filter(|(path, letters)| !letters.starts_with('*') || is_topmost(path)).collect()
}

fn cmp(pair: &Pair, options: &[&str]) -> Letters {
    let run = look(pair, &pair.cmp().arg("--jsonl").args(options));
    run.context(|| assert!([0, 26].contains(&run.code), "exit code {}", run.code));
    let letters = |line: &Value| line["itemize"].as_str().unwrap_or_default().to_string();
    lines(&run).iter().map(|line| (fault_path(line), letters(line))).collect()
}

fn shown(letters: &Letters) -> BTreeSet<String> {
    letters.iter().map(|(path, letters)| format!("{letters} {}", escaped(path))).collect()
}

fn assert_agree(pair: &Pair) {
    let source = pair.source_now();
    for (options, level) in [(&[][..], "meta"), (&["--checksum"], "hash")] {
        let expected = topmost(rsync(pair, options), &source);
        let found = cmp(pair, &["--level", level]);
        let (expected, found) = (shown(&expected), shown(&found));
        let only = |here: &BTreeSet<String>, there| here.difference(there).cloned().collect::<Vec<_>>();
        let (rsync, cmp) = (only(&expected, &found), only(&found, &expected));
        assert!(!expected.is_empty(), "the trees do not differ, so nothing was tried");
        assert!(expected == found, "{options:?}: only rsync says {rsync:#?}, only cmp says {cmp:#?}");
    }
}

/// Runs a check for many seeds; a failure prints the seeds that show it again.
fn for_seeds(seeds: std::ops::Range<u64>, check: impl Fn(u64)) {
    let fails = |seed: &u64| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(*seed))).is_err();
    let failed: Vec<u64> = seeds.filter(fails).collect();
    assert!(failed.is_empty(), "the seeds {failed:?} fail, see above");
}

#[test]
fn each_letter_is_rsyncs_on_trees_with_changes() {
    for_seeds(4000..4015, |seed| assert_agree(&changed_twins(RandomTree::new(seed, 60), 15)));
}

#[test]
fn each_letter_is_rsyncs_on_trees_that_have_little_in_common() {
    for_seeds(4100..4110, |seed| {
        let pair = Pair::new();
        RandomTree::new(seed, 60).build_among(8, &pair.source());
        RandomTree::new(seed + 50_000, 60).build_among(8, &pair.target());
        assert_agree(&pair);
    });
}

#[test]
fn no_difference_is_no_difference_for_both() {
    for_seeds(4200..4220, |seed| {
        let pair = changed_twins(RandomTree::new(seed, 30).linked(), seed % 3);
        let (rsync, cmp) = (rsync(&pair, &["--checksum"]), cmp(&pair, &["--level", "hash"]));
        assert_eq!(rsync.is_empty(), cmp.is_empty(), "rsync: {:#?}, cmp: {:#?}", shown(&rsync), shown(&cmp));
    });
}
