//! Trees that others change while we run: nothing outside is read or written, every run ends, and
//! one more run after the last change makes the trees equal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};
use support::compare::assert_unwritten;
use support::*;

const BUDGET: Duration = Duration::from_millis(1_500);

/// Runs again and again until the budget is spent; each run must end in one of these codes.
fn run_repeatedly(sync: &Pmirror, codes: &[i32], mut after_each: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < BUDGET {
        let run = sync.run_unchecked();
        run.assert_books_balance();
        run.context(|| assert!(codes.contains(&run.code), "one of {codes:?} was expected"));
        after_each();
    }
}

/// Nobody disturbs any more: one run must bring over all that the source has. What the source had
/// for a while stays on the target.
fn assert_converges(pair: &Pair) {
    pair.sync().run().exits(0);
    let lines = compare::differences(&pair.source_now(), &pair.target_now(), snapshot::MIRRORED);
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.starts_with('+')).collect();
    compare::assert_none(&lines, "the trees did not become equal");
}

#[test]
fn a_source_directory_that_is_swapped_for_a_link_never_leads_outside() {
    let pair = Pair::new();
    pair.beside().file("private/secret", "must not be copied");
    for index in 0..20 {
        pair.source().file(format!("a/{index}"), "harmless");
    }
    pair.source().symlink("b", "../private");
    let (a, b) = (pair.source().entry("a"), pair.source().entry("b"));
    let swap = || {
        a.exchange(&b);
    };
    while_disturbed(swap, || {
        run_repeatedly(&pair.sync(), &[0, 23, 24], || {
            let target = pair.target_now();
            let leaked = target.entries.keys().find(|path| path.ends_with(b"/secret"));
            assert!(leaked.is_none(), "read through a link: {leaked:?}");
            let _ = std::fs::remove_dir_all(pair.target_path());
        });
    });
}

#[test]
fn a_source_file_that_is_swapped_for_a_link_never_leads_outside() {
    let pair = Pair::new();
    pair.beside().file("secret", "must not be copied");
    let secret = Snapshot::take(pair.beside().path("secret")).at("").digest;
    pair.source().file("a", "harmless");
    pair.source().symlink("b", "../secret");
    let (a, b) = (pair.source().entry("a"), pair.source().entry("b"));
    while_disturbed(
        || {
            a.exchange(&b);
        },
        || {
            run_repeatedly(&pair.sync(), &[0, 24], || {
                let target = pair.target_now();
                let leaked = target.entries.values().any(|seen| seen.digest == secret);
                assert!(!leaked, "read through a link");
                let _ = std::fs::remove_dir_all(pair.target_path());
            });
        },
    );
}

#[test]
fn a_source_file_that_is_swapped_for_a_fifo_does_not_hang_the_run() {
    let pair = Pair::new();
    pair.source().file("a", "content");
    pair.source().fifo("b");
    let (a, b) = (pair.source().entry("a"), pair.source().entry("b"));
    let sync = pair.sync().timeout(Duration::from_secs(60));
    let swap = || {
        a.exchange(&b);
    };
    while_disturbed(swap, || run_repeatedly(&sync, &[0, 24], || ()));
    assert_converges(&pair);
}

#[test]
fn a_target_directory_that_is_swapped_for_a_link_never_leads_outside() {
    let pair = Pair::new();
    pair.beside().file("victim/file", "must not be touched").mode(0o600).mtime(1_000, 1);
    for index in 0..20 {
        pair.source().file(format!("a/{index}"), "new content").mode(0o4777).owner(7, 7);
        pair.source().dir(format!("a/directory {index}")).mode(0o777).owner(7, 7);
    }
    pair.source().file("a/file", "overwritten").mode(0o4777);
    let before = Snapshot::take(pair.beside().path("victim"));
    pair.target().dir("a");
    let (inside, outside) = (pair.target().entry("a"), pair.beside().entry("outside"));
    pair.beside().symlink("outside", "victim");
    let swap = || {
        inside.exchange(&outside);
        // When pmirror replaced the link by a directory, there are two directories: begin again.
        let both_directories = std::fs::read_link(pair.beside().path("outside")).is_err()
            && std::fs::read_link(pair.target().path("a")).is_err();
        if both_directories {
            let _ = std::fs::remove_dir_all(pair.beside().path("outside"));
            let link = pair.beside().path("outside");
            let _ = std::os::unix::fs::symlink(pair.beside().path("victim"), link);
        }
    };
    while_disturbed(swap, || {
        run_repeatedly(&pair.sync(), &[0, 23, 24], || {
            let now = Snapshot::take(pair.beside().path("victim"));
            assert_unwritten(&before, &now, "written through a link");
        });
    });
}

#[test]
fn files_that_come_go_and_change_are_at_worst_vanished_or_changed() {
    let pair = Pair::new();
    let tree = pair.source();
    for index in 0..300 {
        tree.file(format!("{}/{index}", index % 5), index.to_string());
    }
    let mut dice = random::Dice::new(5);
    let churn = || {
        let path = pair.source_path().join(format!("{}/{}", dice.below(5), dice.below(300)));
        match dice.below(4) {
            0 => drop(std::fs::remove_file(path)),
            1 => drop(std::fs::rename(&path, path.with_extension("moved"))),
            2 => drop(std::fs::write(path, dice.next().to_string())),
            _ => drop(std::fs::write(path, vec![1; dice.below(100_000) as usize])),
        }
    };
    while_disturbed(churn, || run_repeatedly(&pair.sync(), &[0, 24], || ()));
    assert_converges(&pair);
}

#[test]
fn directories_that_come_and_go_are_at_worst_vanished_or_changed() {
    let pair = Pair::new();
    for index in 0..60 {
        pair.source().file(format!("{index}/below/file"), index.to_string());
    }
    let mut dice = random::Dice::new(6);
    let churn = || {
        let path = pair.source_path().join(dice.below(60).to_string());
        if std::fs::remove_dir_all(&path).is_err() {
            let _ = std::fs::create_dir_all(path.join("below"));
            let _ = std::fs::write(path.join("below/file"), dice.next().to_string());
        }
    };
    while_disturbed(churn, || run_repeatedly(&pair.sync(), &[0, 24], || ()));
    assert_converges(&pair);
}

/// Appends to a file: some megabytes a second.
fn growing(path: std::path::PathBuf) -> impl FnMut() + Send {
    let mut log = std::fs::File::options().append(true).open(path).unwrap();
    move || {
        std::io::Write::write_all(&mut log, &[7; 5_000]).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn a_file_that_grows_for_ever_does_not_keep_the_run_for_ever() {
    let pair = Pair::new();
    pair.source().file("log", "");
    let grow = growing(pair.source().path("log"));
    let sync = pair.sync().timeout(Duration::from_secs(60));
    while_disturbed(grow, || run_repeatedly(&sync, &[0, 24], || ()));
    assert_converges(&pair);
}

#[test]
fn a_file_that_changed_never_carries_the_time_of_its_source() {
    let pair = Pair::new();
    pair.source().file("log", "");
    let grow = growing(pair.source().path("log"));
    while_disturbed(grow, || {
        let run = pair.sync().run_unchecked();
        if run.count("file", "changed") == 1 {
            let (source, target) = (pair.source_now(), pair.target_now());
            assert_ne!(target.at("log").mtime(), source.at("log").mtime());
            run.exits(24);
        }
    });
    assert_converges(&pair);
}

#[test]
fn a_directory_that_is_removed_while_it_is_listed_has_vanished() {
    let pair = Pair::new();
    pair.source().file("gone/file", "content");
    pair.source().file("stays/file", "content");
    let gone = pair.source().path("gone");
    // getdents(2): ENOENT is the answer for a directory that was removed after it was opened.
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", gone.to_str().unwrap()];
    let inject = ["-e", "trace=getdents64", "-e", "inject=getdents64:error=ENOENT"];
    let run = pair.sync().wrapped_by(&[&strace[..], &inject].concat()).run_unchecked().exits(24);
    run.assert_books_balance();
    assert_eq!(run.count("directory", "vanished"), 1);
    assert_eq!(run.total("failed"), 0);
    assert_converges(&pair);
}

/// Both trees equal but for `file`, whose first read hangs; something is done to the source meanwhile.
fn while_read(content: &str, meanwhile: impl FnOnce(&Tree)) -> (Pair, Outcome) {
    let pair = Pair::new();
    pair.source().file("file", content).mode(0o600).mtime(1_000, 1);
    pair.source().file("other", "content");
    let source = FaultFs::mount(pair.source_path());
    let held = source.rule(Rule::on("read").named("file").first(1).hang());
    source.start_log();
    let sync = Pmirror::new().sync(source.path(), pair.target_path()).state_dir(pair.state_path());
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        while !source.take_log().iter().any(|call| call.starts_with("read file")) {
            assert!(!run.is_finished(), "it was never read");
            std::thread::sleep(Duration::from_millis(5));
        }
        meanwhile(&pair.source());
        source.lift(held);
        run.join().unwrap()
    });
    run.assert_books_balance();
    drop(source);
    (pair, run)
}

#[test]
fn a_change_behind_size_and_time_while_it_is_read_is_seen_by_the_ctime() {
    let (pair, run) = while_read("first", |tree| {
        tree.entry("file").content("other").mtime(1_000, 1);
    });
    run.context(|| assert!([0, 24].contains(&run.code), "exit code {}", run.code));
    if run.code == 24 {
        assert_ne!(pair.target_now().at("file").mtime(), (1_000, 1), "it would be believed");
    }
    assert_converges(&pair);
    assert_eq!(std::fs::read_to_string(pair.target_path().join("file")).unwrap(), "other");
}

#[test]
fn metadata_that_change_while_the_content_is_read_are_right_in_the_end() {
    let (pair, run) = while_read("content", |tree| {
        tree.entry("file").owner(1000, 1000).mode(0o4755).xattr("user.a", "1");
    });
    run.context(|| assert!([0, 24].contains(&run.code), "exit code {}", run.code));
    let copy = pair.target_now().at("file").clone();
    let was_never = copy.mode() & 0o4000 != 0 && copy.stat.stx_uid == 0;
    assert!(!was_never, "setuid of another owner");
    assert_converges(&pair);
    pair.assert_mirrored();
}

#[test]
fn a_small_file_that_is_removed_while_it_is_read_has_vanished_or_changed() {
    let (pair, run) = while_read("content", |tree| tree.entry("file").unlink());
    let run = run.exits(24);
    assert_eq!(run.total("vanished") + run.total("changed"), 1);
    assert!(pair.target_now().has("other"));
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_is_never_padded_and_believed() {
    let content = "x".repeat(100_000);
    let (pair, run) = while_read(&content, |tree| {
        tree.entry("file").content("short").mtime(1_000, 1);
    });
    run.context(|| assert!([0, 24].contains(&run.code), "exit code {}", run.code));
    let believed = pair.target_now().entries.get(&b"file"[..]).is_some_and(|copy| copy.mtime() == (1_000, 1));
    assert!(!believed || std::fs::read_to_string(pair.target_path().join("file")).unwrap() == "short");
    assert_converges(&pair);
    pair.assert_mirrored();
}

/// From where we have not been to where we have been, and the other way round.
#[test]
fn a_directory_that_moves_within_the_source_is_never_lost() {
    for (from, to) in [("late", "early"), ("early", "late")] {
        let pair = Pair::new();
        for tree in [pair.source(), pair.target()] {
            tree.file("early/stays", "content").mtime(1_000, 1);
            tree.file("late/stays", "content").mtime(1_000, 1);
            tree.file(format!("{from}/moves/below/file"), "content").mtime(1_000, 1);
        }
        let source = FaultFs::mount(pair.source_path());
        let held = source.rule(Rule::on_each(&["opendir", "readdir"]).named("late").hang());
        source.start_log();
        let sync = Pmirror::new().sync(source.path(), pair.target_path()).state_dir(pair.state_path());
        let sync = sync.args(&["--delete", "--threads", "2"]);
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| sync.run_unchecked());
            let seen = |log: &[String], name: &str| log.iter().any(|call| call.ends_with(&format!("dir {name}")));
            let mut log = Vec::new();
            while !(seen(&log, "late") && seen(&log, "early")) {
                assert!(!run.is_finished(), "it never came there: {log:?}");
                log.extend(source.take_log());
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(100));
            let path = |name: &str| pair.source_path().join(name).join("moves");
            std::fs::rename(path(from), path(to)).unwrap();
            source.lift(held);
            run.join().unwrap()
        });
        drop(source);
        run.assert_books_balance();
        run.context(|| assert!([0, 24, 25].contains(&run.code), "exit code {}", run.code));
        pair.sync().arg("--delete").run().exits(0);
        pair.assert_mirrored();
    }
}
