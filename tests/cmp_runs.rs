//! How `cmp` runs: on any number of ranks, for any user, over trees that change or can not be read, and
//! with a sample of the files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::errno::Errno;
use std::process::Command;
use support::difference::{found, look, shown};
use support::*;

/// A random tree and another that has much in common with it.
fn random_pair(seed: u64) -> Pair {
    let pair = Pair::new();
    RandomTree::new(seed, 300).linked().build_among(40, &pair.source());
    RandomTree::new(seed, 200).linked().build_among(40, &pair.target());
    pair
}

#[test]
fn any_number_of_ranks_prints_the_same_list() {
    let pair = random_pair(601);
    let alone = look(&pair, &pair.cmp().args(&["--jsonl", "--level", "hash"])).exits(26);
    assert!(found(&alone).len() > 20, "{:?}", shown(&found(&alone)));
    for ranks in [2, 4] {
        let cmp = pair.cmp().args(&["--jsonl", "--level", "hash"]).ranks(Ranks::Mpirun(ranks));
        let run = look(&pair, &cmp).exits(26);
        assert_eq!(shown(&found(&run)), shown(&found(&alone)), "{ranks} ranks");
        assert_eq!(run.stdout, alone.stdout, "{ranks} ranks");
        assert_eq!(run.totals(), alone.totals(), "{ranks} ranks");
    }
}

#[test]
fn a_wide_directory_is_shared_and_each_difference_told_once() {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        for index in 0..5_000 {
            tree.file(format!("wide/{index}"), "").mtime(1_000, 1);
        }
    }
    for index in (0..5_000).step_by(100) {
        pair.target().entry(format!("wide/{index}")).mode(0o600);
    }
    for tree in [pair.source(), pair.target()] {
        tree.entry("wide").mtime(1_000, 2);
        tree.root().mtime(1_000, 2);
    }
    let run = look(&pair, &pair.cmp().args(&["--jsonl", "--threads", "1"]).ranks(Ranks::Mpirun(3))).exits(26);
    run.counts("file", &[("same", 4_950), ("different", 50)]);
    assert_eq!(found(&run).len(), 50);
}

#[test]
fn a_rank_that_sees_another_target_is_named() {
    let pair = random_pair(602);
    let hide = format!(
        "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then \
         exec unshare --mount sh -c 'mount -t tmpfs none \"{}\" && exec \"$@\"' sh \"$@\"; fi; exec \"$@\"",
        pair.target_path().display()
    );
    let cmp = pair.cmp().ranks(Ranks::Mpirun(3)).wrapped_by(&["sh", "-c", &hide, "sh"]);
    look(&pair, &cmp).refuses(3, &["rank 1", &pair.target_path().display().to_string()]);
}

#[test]
fn what_is_missing_or_the_same_is_refused_and_nothing_made() {
    let pair = Pair::without_target();
    pair.cmp().run_unchecked().refuses(3, &["DST", "does not exist"]);
    assert!(!pair.target_path().exists());
    let same = Pmirror::new().cmp(pair.source_path(), pair.source_path()).state_dir(pair.state_path());
    same.run_unchecked().refuses(3, &["same directory"]);
    let inside = pair.cmp().state_dir(pair.source().path("state"));
    std::fs::create_dir(pair.target_path()).unwrap();
    inside.run_unchecked().refuses(3, &["lies in SRC"]);
    assert!(!pair.source().path("state").exists());
}

/// Calls that write below a root, or in it.
const WRITES: &str = "trace=mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,\
                      mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,futimesat,setxattr,\
                      lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,truncate,ftruncate,fallocate,write,\
                      pwrite64,pwritev,writev,copy_file_range,sendfile,open,openat,openat2";

#[test]
fn no_call_writes_below_a_root() {
    let pair = random_pair(603);
    let trace = pair.beside().path("trace");
    let strace = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", WRITES, "-o", trace.to_str().unwrap()];
    look(&pair, &pair.cmp().args(&["--level", "hash"]).wrapped_by(&strace)).exits(26);
    let trace = String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
    let roots = [pair.source_path(), pair.target_path()].map(|path| path.display().to_string());
    let below = |line: &&str| roots.iter().any(|root| line.contains(root.as_str()));
    let opens = |line: &&str| line.contains("open");
    let harmless = |line: &&str| {
        opens(line) && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag))
    };
    assert!(trace.lines().filter(below).filter(opens).count() > 100, "the trace has seen the roots");
    assert!(trace.lines().any(|line| line.contains("mkdir") && line.contains("state")), "and what is written");
    let writes: Vec<&str> = trace.lines().filter(below).filter(|line| !harmless(line)).collect();
    assert!(writes.is_empty(), "{writes:#?}");
}

#[test]
fn a_target_on_a_read_only_mount_is_compared() {
    let pair = Pair::new();
    RandomTree::new(604, 100).build(&pair.source());
    pair.sync().run().exits(0);
    let target = pair.target_path().display().to_string();
    let read_only = format!("mount --bind -o ro \"{target}\" \"{target}\" && exec \"$@\"");
    let cmp = pair.cmp().args(&["--level", "hash"]);
    look(&pair, &cmp.wrapped_by(&["unshare", "--mount", "sh", "-c", &read_only, "sh"])).exits(0);
}

#[test]
fn the_private_directory_of_a_sync_is_left_out_and_left_alone() {
    let pair = Pair::new();
    pair.source().root().mtime(1_000, 1);
    pair.target().file(".pmirror/lock", "of another run");
    pair.target().root().mtime(1_000, 1);
    let run = look(&pair, &pair.cmp()).exits(0);
    assert_eq!(run.number("/target_only"), 0);
    pair.source().file("deeper/.pmirror/file", "");
    look(&pair, &pair.cmp()).exits(26);
}

/// A pair that nobody may read, but for what `closed` is given.
fn of_root(closed: &str) -> (Pair, Pmirror) {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        tree.file("directory/file", "content").mtime(1_000, 1);
        tree.file("directory/open", "content").mtime(1_000, 1);
        tree.entry("directory").mtime(1_000, 2);
        tree.root().mtime(1_000, 3);
    }
    pair.source().entry(closed).mode(0o700);
    pair.target().entry(closed).mode(0o700);
    pair.beside().entry("state").owner(NOBODY.0, NOBODY.1);
    let cmp = pair.cmp().as_user(NOBODY);
    (pair, cmp)
}

#[test]
fn an_unreadable_file_is_failed_and_never_equal() {
    let (_pair, cmp) = of_root("directory/file");
    cmp.clone().run().exits(0).counts("file", &[("same", 2)]);
    let run = cmp.args(&["--level", "hash"]).run().exits(23);
    run.counts("file", &[("same", 1), ("failed", 1)]);
    run.has_fault("directory/file", "source", Errno::EACCES);
}

#[test]
fn an_unreadable_directory_is_failed_and_the_rest_is_compared() {
    let (pair, cmp) = of_root("directory");
    pair.target().entry("directory").mode(0o755);
    pair.source().file("extra", "");
    let run = cmp.args(&["--jsonl"]).run().exits(23);
    run.has_fault("directory", "source", Errno::EACCES);
    assert_eq!(run.count("directory", "failed"), 1);
    assert_eq!(found(&run)[&b"extra"[..]], ["source_only"]);
    assert!(!found(&run).contains_key(&b"directory/file"[..]), "nothing is known of what lies in it");
}

#[test]
fn what_an_ordinary_user_could_not_set_is_told_but_no_difference() {
    let (pair, cmp) = of_root("directory/file");
    pair.source().entry("directory/open").owner(1000, 1000).mode(0o4755);
    pair.target().entry("directory/open").mode(0o755);
    let run = cmp.run().exits(0);
    assert_eq!((run.number("/unset/owner"), run.number("/unset/group")), (1, 1));
    let run = look(&pair, &pair.cmp().arg("--jsonl")).exits(26);
    assert_eq!(found(&run)[&b"directory/open"[..]], ["mode", "owner", "group"]);
}

#[test]
fn a_file_that_changes_each_time_it_is_read_is_no_difference_but_changed() {
    let pair = Pair::new();
    for tree in [pair.source(), pair.target()] {
        tree.file("busy", vec![7; 3 << 20]).mtime(1_000, 1);
        tree.root().mtime(1_000, 2);
    }
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pread64:delay_enter=30000"];
    let cmp = pair.cmp().args(&["--level", "hash"]).wrapped_by(&slow);
    let over = std::sync::atomic::AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                pair.source().entry("busy").touch_ctime();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let run = cmp.run_unchecked();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        run
    });
    run.assert_books_balance();
    let run = run.exits(24);
    run.counts("file", &[("changed", 1)]);
    assert_eq!(String::from_utf8_lossy(&run.stdout), "");
}

#[test]
fn a_signal_ends_it_in_order_with_balanced_books() {
    let pair = random_pair(605);
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=statx:delay_enter=20000"];
    let words = [&slow[..], &["timeout", "--preserve-status", "-s", "TERM", "1.5"]].concat();
    let run = pair.cmp().wrapped_by(&words).run_unchecked();
    run.assert_books_balance();
    let run = run.exits(20);
    assert!(run.total("unfinished") > 0);
}

#[test]
fn a_signal_while_hard_links_are_judged_leaves_balanced_books() {
    let pair = Pair::new();
    for index in 0..40 {
        let (a, b) = (format!("a{index}"), format!("b{index}"));
        pair.source().file(&a, "");
        pair.source().hard_link(&a, &b);
        pair.target().file(&b, "");
        pair.target().hard_link(&b, &a);
        pair.target().hard_link(&b, format!("c{index}"));
        pair.source().file(format!("c{index}"), "");
    }
    for seconds in ["1.6", "2.4", "3.2"] {
        let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=statx:delay_enter=10000"];
        let words = [&slow[..], &["timeout", "--preserve-status", "-s", "TERM", seconds]].concat();
        let run = pair.cmp().wrapped_by(&words).run_unchecked();
        run.assert_books_balance();
        run.context(|| assert!([20, 26].contains(&run.code), "exit code {}", run.code));
    }
}

#[test]
fn an_earlier_list_of_the_same_run_id_is_kept_and_a_torn_part_replaced() {
    let pair = random_pair(606);
    let cmp = pair.cmp().run_id("again").arg("--jsonl");
    let first = look(&pair, &cmp).exits(26);
    let directory = first.run_dir.clone().unwrap();
    std::fs::write(directory.join("differences-0.jsonl"), "torn").unwrap();
    let second = look(&pair, &cmp).exits(26);
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(std::fs::read(directory.join("differences.1.jsonl")).unwrap(), first.stdout);
}

/// So many files of equal size and time; the contents of all but every tenth differ.
fn spoilt(files: usize) -> Pair {
    let pair = Pair::new();
    for index in 0..files {
        pair.source().file(format!("{index}"), "content").mtime(1_000, 1);
        pair.target().file(format!("{index}"), "CONTENT").mtime(1_000, 1);
    }
    for tree in [pair.source(), pair.target()] {
        tree.root().mtime(1_000, 2);
    }
    pair
}

fn sampled(pair: &Pair, options: &[&str], ranks: Ranks) -> Outcome {
    look(pair, &pair.cmp().args(&["--level", "hash", "--jsonl"]).args(options).ranks(ranks))
}

#[test]
fn a_sample_is_the_same_on_any_number_of_ranks_and_another_with_another_seed() {
    let pair = spoilt(400);
    let alone = sampled(&pair, &["--sample", "10%"], Ranks::One).exits(26);
    let several = sampled(&pair, &["--sample", "10%"], Ranks::Mpirun(3)).exits(26);
    let other = sampled(&pair, &["--sample", "10%", "--seed", "2"], Ranks::One).exits(26);
    assert_eq!(shown(&found(&alone)), shown(&found(&several)));
    assert_ne!(shown(&found(&alone)), shown(&found(&other)));
    for run in [&alone, &other] {
        let read = run.number("/contents/compared");
        assert_eq!(read, found(run).len() as u64, "each that was read differs, and no other is known to");
        assert!((20..=65).contains(&read), "{read} of 400");
        assert_eq!(run.number("/contents/files"), 400);
    }
}

#[test]
fn a_sample_that_finds_nothing_says_what_that_proves() {
    let pair = spoilt(0);
    for index in 0..300 {
        for tree in [pair.source(), pair.target()] {
            tree.file(format!("{index}"), "content").mtime(1_000, 1);
            tree.root().mtime(1_000, 2);
        }
    }
    let run = sampled(&pair, &["--sample", "50%"], Ranks::One).exits(0);
    let read = run.number("/contents/compared");
    let share = run.summary()["contents"]["share_max"].as_f64().unwrap();
    let exact = 1.0 - 0.05f64.powf(1.0 / read as f64);
    assert!((share - exact).abs() < 1e-6, "{read} files: {share}, expected {exact}");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains(&format!("contents of {read} of 300 files compared")), "{said}");
    assert!(said.contains("none differs; with 95 % confidence fewer than"), "{said}");
    let all = sampled(&pair, &[], Ranks::One).exits(0);
    assert_eq!(all.summary()["contents"]["share_max"], 0.0);
}

#[test]
fn a_sample_that_is_none_is_refused() {
    let pair = spoilt(1);
    pair.cmp().args(&["--sample", "5%"]).run_unchecked().refuses(1, &["--level hash"]);
    pair.cmp().args(&["--level", "hash", "--sample", "5"]).run_unchecked().refuses(1, &["--sample", "5%"]);
    pair.cmp().args(&["--level", "hash", "--sample", "0%"]).run_unchecked().exits(1);
}

#[test]
fn what_a_file_system_can_not_hold_is_no_difference() {
    let pair = Pair::new();
    let script =
        "mount -t tmpfs none \"$SRC\" && touch -d @99999999999 \"$SRC/file\" && touch -d @1000 \"$SRC\" && exec \"$@\"";
    pair.target().file("file", "").mtime(Clamp::ext4((99_999_999_999, 0)).0, 0);
    pair.target().root().mtime(1_000, 0).mode(0o1777);
    let on_ext4 = Command::new("stat").args(["-f", "-c", "%T"]).arg(pair.target_path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&on_ext4.stdout).trim(), "ext2/ext3", "the tests run on ext4");
    let cmp = pair.cmp().env("SRC", pair.source_path()).arg("--jsonl");
    let run = cmp.wrapped_by(&["unshare", "--mount", "sh", "-c", script, "sh"]).run_unchecked();
    run.context(|| assert_eq!(String::from_utf8_lossy(&run.stdout), ""));
    run.exits(0);
}
