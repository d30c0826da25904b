//! `sync -n` writes nothing and tells what the run without it then does: the same list, the same books.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use support::compare::{assert_untouched, assert_unwritten};
use support::random::{Dice, change};
use support::*;

/// What a run listed and counted, to be compared with another.
fn told(run: &Outcome) -> String {
    let summary = run.summary();
    let mut lines = vec![format!("exit {}", run.code)];
    lines.extend(["skipped", "target_only", "unset", "links"].map(|part| format!("{part}: {}", summary[part])));
    for (kind, row) in summary["entries"].as_object().expect("the books") {
        let count = |word: &str| row[word].as_u64().unwrap_or(0);
        // Whether an inode that is to part from other names may be altered in place depends on which of them
        // has its turn first.
        let changed = count("updated") + count("metadata_only");
        lines.push(format!("{kind}: {changed} updated or metadata_only"));
        let words = ["seen", "same", "created", "linked", "skipped", "vanished", "changed", "failed"];
        lines.extend(words.map(|word| format!("{kind}: {} {word}", count(word))));
    }
    lines.push(String::from_utf8_lossy(&run.stdout).into_owned());
    lines.join("\n")
}

fn list(run: &Outcome) -> Vec<String> {
    String::from_utf8_lossy(&run.stdout).lines().map(str::to_owned).collect()
}

/// Runs it with -n and then with -i: the first touches nothing, and both tell the same. Returns the list.
fn assert_tells_the_truth(pair: &Pair, dry: &Pmirror, real: &Pmirror) -> Vec<String> {
    let before = pair.target_now();
    let dry = dry.clone().arg("-n").run();
    dry.context(|| {
        assert_unwritten(&before, &pair.target_now(), "the dry run wrote to the target");
        pair.assert_canary();
    });
    let real = real.clone().arg("-i").run();
    let (foretold, done) = (told(&dry), told(&real));
    real.context(|| {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (foretold, done) = (lines(&foretold), lines(&done));
        let only = |here: &BTreeSet<String>, there| here.difference(there).cloned().collect::<Vec<_>>();
        let (dry_only, real_only) = (only(&foretold, &done), only(&done, &foretold));
        assert!(foretold == done, "only -n tells {dry_only:#?}, only the real run {real_only:#?}");
    });
    real.context(|| assert_eq!(foretold, done, "another order"));
    list(&real)
}

/// A target that was a mirror, until the source went on and the target was damaged.
fn older(tree: RandomTree, sync: impl Fn(&Pair) -> Pmirror) -> Pair {
    let pair = Pair::new();
    tree.build(&pair.source());
    pair.give_to(NOBODY);
    pair.source().root().mode(0o755).mtime(1_000_000_000, 0);
    sync(&pair).run();
    let mut dice = Dice::new(tree.seed);
    for side in [pair.source(), pair.target()] {
        for _ in 0..12 {
            let now = Snapshot::take(side.path(""));
            change(&side, &now, &mut dice);
        }
    }
    pair
}

/// Two random trees that share some names.
fn strangers(seed: u64) -> Pair {
    let pair = Pair::new();
    RandomTree::new(seed, 60).linked().build_among(6, &pair.source());
    RandomTree::new(seed + 50_000, 60).linked().build_among(6, &pair.target());
    pair
}

#[test]
fn a_dry_run_over_an_older_state_tells_what_the_run_does() {
    for_seeds(7000..7006, |seed| {
        let pair = older(RandomTree::new(seed, 60).linked(), Pair::sync);
        let told = assert_tells_the_truth(&pair, &pair.sync(), &pair.sync());
        assert!(told.len() > 5, "little was changed, so little was tried");
    });
}

#[test]
fn a_dry_run_over_another_tree_tells_what_the_run_does() {
    for_seeds(7100..7106, |seed| {
        let pair = strangers(seed);
        assert_tells_the_truth(&pair, &pair.sync(), &pair.sync());
    });
}

#[test]
fn a_dry_run_of_several_ranks_tells_what_one_does_and_the_other_way_round() {
    for_seeds(7200..7202, |seed| {
        let pair = older(RandomTree::new(seed, 60).linked(), Pair::sync);
        let several = pair.sync().ranks(Ranks::Mpirun(3));
        assert_tells_the_truth(&pair, &several, &pair.sync());
        let pair = strangers(seed);
        let several = pair.sync().ranks(Ranks::Mpirun(3));
        assert_tells_the_truth(&pair, &pair.sync(), &several);
    });
}

#[test]
fn a_dry_run_compares_and_chooses_as_the_run_does() {
    let all: [&[&str]; 9] = [
        &["--delete"],
        &["-c"],
        &["-u"],
        &["--size-only"],
        &["--no-times"],
        &["--ctime=content"],
        &["-U"],
        &["--exclude=n1*", "--exclude=*2/"],
        &["--min-size=1", "--no-specials", "--no-hard-links"],
    ];
    for_seeds(0..all.len() as u64, |index| {
        let pair = older(RandomTree::new(7300 + index, 60).linked(), Pair::sync);
        let sync = pair.sync().args(all[index as usize]);
        assert_tells_the_truth(&pair, &sync, &sync);
    });
}

#[test]
fn a_dry_run_of_an_ordinary_user_tells_what_he_may_not_do() {
    for_seeds(7400..7404, |seed| {
        let as_user = |pair: &Pair| pair.sync().as_user(NOBODY);
        let pair = older(RandomTree::new(seed, 60), as_user);
        assert_tells_the_truth(&pair, &as_user(&pair), &as_user(&pair));
    });
}

#[test]
fn a_target_that_is_missing_is_not_made_but_foretold() {
    let pair = Pair::without_target();
    RandomTree::new(7500, 60).linked().build(&pair.source());
    let dry = pair.sync().arg("-n").run().exits(0);
    assert!(!pair.target_path().exists(), "the dry run made the target");
    assert_eq!(list(&dry)[0], "cd+++++++++ ./");
    let real = pair.sync().arg("-i").run().exits(0);
    assert_eq!(told(&dry), told(&real));
    let below = Pmirror::new().sync(pair.source_path(), pair.top_path().join("no/target"));
    below.state_dir(pair.state_path()).arg("-n").run_unchecked().refuses(3, &["its parent can not be opened"]);
}

#[test]
fn a_missing_target_is_not_made_for_the_state_either() {
    let pair = Pair::without_target();
    let sync = Pmirror::new().sync(pair.source_path(), pair.target_path()).state_dir(pair.target_path());
    sync.arg("-n").run_unchecked().refuses(3, &["--state-dir"]);
    assert!(!pair.target_path().exists(), "the dry run made the target");
    let inside = Pmirror::new().sync(pair.source_path(), pair.source_path().join("copy")).state_dir(pair.state_path());
    inside.arg("-n").run_unchecked().refuses(3, &["copied into itself"]);
}

/// Two large files that differ in their content alone, one that is new with a second name, one that is right.
fn large() -> Pair {
    let pair = Pair::new();
    let bytes = |fill: u8| vec![fill; 600_000];
    for tree in [pair.source(), pair.target()] {
        tree.file("right", bytes(1)).mtime(1_000_000_000, 0);
        tree.file("other", bytes(u8::from(tree.path("").ends_with("target")))).mtime(1_000_000_000, 0);
    }
    pair.source().file("new", bytes(3)).mtime(1_000_000_000, 0);
    pair.source().hard_link("new", "second");
    pair.source().file("changed", bytes(4)).mtime(1_000_000_000, 0);
    pair.target().file("changed", bytes(5)).mtime(1_000_000_000, 1);
    pair.source().root().mtime(1_000_000_000, 0);
    pair
}

#[test]
fn large_files_are_foretold_at_once() {
    let expected = [">f+++++++++ new", "hf+++++++++ second => new"];
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let pair = large();
        let sync = pair.sync().arg("--chunk-size=64K").ranks(ranks);
        let told = assert_tells_the_truth(&pair, &sync, &sync);
        assert_eq!(told, [".d..t...... ./", ">f..t...... changed", expected[0], expected[1]]);
        let pair = large();
        let sync = pair.sync().args(&["--chunk-size=64K", "-c"]).ranks(ranks);
        let told = assert_tells_the_truth(&pair, &sync, &sync);
        let both = [">fc.t...... changed", expected[0], ">fc........ other", expected[1]];
        assert_eq!(told[1..], both);
    }
}

#[test]
fn a_list_of_paths_is_foretold_too() {
    let pair = Pair::new();
    let source = pair.source();
    for path in ["a/b/one", "a/two", "three", "c/four"] {
        source.file(path, path).mtime(1_000_000_000, 0);
    }
    pair.target().file("three", "3").mtime(5, 0);
    pair.beside().file("list", "a/b/one\nthree\nc\n");
    let from = format!("--files-from={}", pair.beside().path("list").display());
    let sync = pair.sync().arg(from);
    let told = assert_tells_the_truth(&pair, &sync, &sync);
    assert!(told.contains(&"cd+++++++++ a/b/".to_string()) && told.contains(&">f.st...... three".to_string()));
}

/// Calls that write, or may.
const WRITES: &str = "trace=mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,\
                      mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,futimesat,\
                      setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,truncate,ftruncate,fallocate,\
                      write,pwrite64,pwritev,writev,copy_file_range,sendfile,ioctl,fsync,fdatasync,syncfs,\
                      open,openat,openat2";

#[test]
fn a_dry_run_makes_no_call_that_writes_below_a_root() {
    let pair = strangers(7600);
    pair.target().file("same", "a").mtime(5, 5);
    pair.source().file("same", "b").mtime(5, 5);
    let before = (pair.source_now(), pair.target_now());
    let trace = pair.beside().path("trace");
    let strace = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", WRITES, "-o", trace.to_str().unwrap()];
    let run = pair.sync().args(&["-n", "-c", "--delete", "--verify"]).wrapped_by(&strace).run();
    run.context(|| {
        assert_untouched(&before.0, &pair.source_now(), "the source was touched");
        assert_untouched(&before.1, &pair.target_now(), "the target was touched");
    });
    let trace = String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
    let roots = [pair.source_path(), pair.target_path()].map(|path| path.display().to_string());
    let below = |line: &&str| roots.iter().any(|root| line.contains(root.as_str()));
    let opens = |line: &&str| line.contains("open");
    let harmless = |line: &&str| {
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag));
        opens(line) && !writes || line.contains("FS_IOC_FSGETXATTR")
    };
    assert!(trace.lines().filter(below).filter(opens).count() > 30, "the trace has seen the roots");
    let found: Vec<&str> = trace.lines().filter(below).filter(|line| !harmless(line)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The first two letters and the path of each line.
fn in_short(lines: &[String]) -> BTreeSet<String> {
    let path =
        |line: &str| line[12..].split(" => ").next().and_then(|path| path.split(" -> ").next()).map(str::to_owned);
    lines.iter().map(|line| format!("{} {}", &line[..2], path(line).unwrap_or_default())).collect()
}

#[test]
fn rsync_tells_the_same() {
    let pair = Pair::new();
    let source = pair.source();
    for path in ["same", "size", "time", "mode", "xattr", "d/new", "d/type", "links/one", "links/parted"] {
        source.file(path, path).mtime(1_000_000_000, 7);
    }
    source.hard_link("links/one", "links/two");
    source.hard_link("links/parted", "links/parted2");
    source.symlink("link", "there");
    source.fifo("fifo");
    source.dir("empty").mtime(1_000_000_000, 0);
    pair.sync().run().exits(0);
    source.file("d/newer", "newer");
    source.symlink("d/link", "nowhere");
    source.dir("d/deep");
    let target = pair.target();
    target.file("size", "another").mtime(1_000_000_000, 7);
    target.entry("time").mtime(999_999_999, 0);
    target.entry("mode").mode(0o600);
    target.entry("xattr").xattr("user.x", "y");
    for path in ["links/two", "links/parted2", "d/type", "link"] {
        target.entry(path).unlink();
    }
    target.file("links/parted2", "links/parted").mtime(1_000_000_000, 7);
    target.symlink("d/type", "x");
    target.symlink("link", "elsewhere");
    let contents = [pair.source_path(), pair.target_path()].map(|path| format!("{}/", path.display()));
    let rsync = needs::run_ok(Command::new("rsync").args(["-aHAXn", "-i", "--modify-window=-1"]).args(contents));
    let rsync: Vec<String> = rsync.lines().map(str::to_owned).collect();
    let told = assert_tells_the_truth(&pair, &pair.sync(), &pair.sync());
    assert_eq!(in_short(&told), in_short(&rsync));
    pair.assert_mirrored();
}

#[test]
fn cmp_tells_the_same() {
    for_seeds(7700..7703, |seed| {
        let pair = older(RandomTree::new(seed, 60), Pair::sync);
        for (sync, cmp) in [(&["-n"][..], "meta"), (&["-n", "-c"], "hash")] {
            let dry = pair.sync().args(sync).arg("--clock-skew=3600").run().exits(0);
            let cmp = pair.cmp().args(&["-i", "--level", cmp]).run_unchecked();
            let mut found = list(&cmp);
            found.retain(|line| !line.starts_with('*'));
            dry.context(|| assert_eq!(list(&dry), found));
        }
    });
}

#[test]
fn the_list_is_on_stdout_and_the_summary_beside_it() {
    let pair = Pair::new();
    pair.source().file("new", "a").mtime(1_000_000_000, 0);
    pair.source().root().mtime(1_000_000_000, 0);
    let dry = pair.sync().arg("-n").run().exits(0);
    assert_eq!(list(&dry), [".d..t...... ./", ">f+++++++++ new"]);
    let summary = String::from_utf8_lossy(&dry.stderr).into_owned();
    dry.context(|| {
        assert!(summary.contains("(dry run)") && summary.contains("nothing was written"));
        assert!(!summary.contains("flushed"), "nothing was flushed");
        assert_eq!(dry.summary()["dry_run"], true);
    });
    let json = pair.sync().args(&["-n", "--json"]).run().exits(0);
    let parsed: serde_json::Value = serde_json::from_slice(&json.stdout).expect("stdout is one JSON object");
    assert_eq!(parsed["entries"]["file"]["created"], 1);
}

#[test]
fn a_run_that_changes_nothing_lists_nothing() {
    let pair = Pair::new();
    RandomTree::new(7700, 40).linked().build(&pair.source());
    pair.sync().run().exits(0);
    for option in ["-n", "-i"] {
        let run = pair.sync().arg(option).run().exits(0);
        assert_eq!(list(&run), Vec::<String>::new(), "{option}");
    }
}

#[test]
fn a_target_of_a_dead_run_as_source_is_refused_by_a_dry_run_too() {
    let pair = Pair::new();
    pair.source().dir(".pmirror");
    pair.sync().arg("-n").run_unchecked().refuses(3, &[".pmirror"]);
}

#[test]
fn cmp_takes_the_option_as_it_never_writes() {
    let pair = Pair::new();
    pair.source().file("new", "a");
    let run = support::difference::look(&pair, &pair.cmp().args(&["-n", "-i"])).exits(26);
    assert!(list(&run).contains(&">f+++++++++ new".to_string()));
}
