//! Runs that are stopped, or die after a checkpoint, and go on with `pmirror resume`: nothing is lost, little is done
//! twice, and the summary tells of all attempts together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::PathBuf;
use support::outcome::second_run_changes_nothing;
use support::*;

const RUN: &str = "stopped";

fn manifest(pair: &Pair) -> PathBuf {
    pair.state_path().join(RUN).join("checkpoint/manifest")
}

/// Files, hard links among them, that a slow run needs some seconds for.
fn pair() -> Pair {
    let pair = Pair::new();
    for index in 0..300 {
        pair.source().file(format!("d{}/{index}", index % 20), format!("content {index}"));
    }
    for index in 0..60 {
        pair.source().hard_link(format!("d{}/{index}", index % 20), format!("links/{index}"));
    }
    pair
}

fn slow(pair: &Pair) -> Pmirror {
    pair.sync().args(&["--ops-limit", "150/s", "--threads", "2"]).run_id(RUN)
}

fn quick(run: Pmirror) -> Pmirror {
    run.args(&["--ops-limit", "1M/s"])
}

#[test]
fn a_stopped_run_goes_on_and_the_books_tell_of_both_attempts() {
    let pair = pair();
    let stopped = slow(&pair).stopped_after("1").run_unchecked().exits(75);
    stopped.assert_books_balance();
    let before = stopped.total("created");
    assert!(before > 0 && stopped.total("unfinished") > 0, "{:?}", stopped.totals());
    assert!(manifest(&pair).exists());

    let seconds = |run: &Outcome| run.summary().pointer("/seconds/total").unwrap().as_f64().unwrap();
    let began = std::time::Instant::now();
    let resumed = quick(slow(&pair).resumed(RUN)).run().exits(0);
    assert!(seconds(&resumed) - seconds(&stopped) <= began.elapsed().as_secs_f64(), "an attempt's time counts once");
    pair.assert_mirrored();
    compare::assert_same_links(pair.source_path(), pair.target_path());
    assert_eq!(resumed.count("file", "seen"), 360, "{:?}", resumed.totals());
    assert_eq!(resumed.count("file", "created") + resumed.count("file", "linked"), 360, "done twice");
    assert_eq!(resumed.number("/attempt"), 2);
    assert!(!manifest(&pair).exists(), "nothing is left to go on with");
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn links_of_one_inode_stay_together_whenever_the_run_is_stopped() {
    let pair = Pair::new();
    for index in 0..40 {
        pair.source().file(format!("files/{index}"), format!("content {index}"));
        for link in 0..4 {
            pair.source().hard_link(format!("files/{index}"), format!("links/{link}/{index}"));
        }
    }
    let mut run = slow(&pair);
    for attempt in 0..12 {
        let ended = run.clone().stopped_after("0.4").run_unchecked();
        if ended.code == 0 {
            assert!(attempt > 1, "the run was too quick to show anything");
            break;
        }
        let ended = ended.exits(75);
        ended.assert_books_balance();
        run = slow(&pair).resumed(RUN);
    }
    run = quick(run);
    if manifest(&pair).exists() {
        run.run().exits(0);
    }
    pair.assert_mirrored();
    compare::assert_same_links(pair.source_path(), pair.target_path());
}

#[test]
fn any_number_of_ranks_goes_on() {
    let pair = pair();
    let stop = ["--stop-at", "+2s"];
    slow(&pair).ranks(Ranks::Mpirun(3)).args(&stop).run_unchecked().exits(75);
    assert!(manifest(&pair).exists());
    slow(&pair)
        .resumed(RUN)
        .ranks(Ranks::One)
        .args(&["--ops-limit", "100/s", "--stop-at", "+1s"])
        .run_unchecked()
        .exits(75);
    let resumed = quick(slow(&pair).resumed(RUN)).ranks(Ranks::Mpirun(2)).run().exits(0);
    pair.assert_mirrored();
    compare::assert_same_links(pair.source_path(), pair.target_path());
    assert_eq!(resumed.number("/attempt"), 3);
    assert_eq!(resumed.count("file", "seen"), 360);
}

#[test]
fn chunks_of_a_large_file_are_copied_once() {
    let pair = Pair::new();
    let bytes: Vec<u8> = (0..16u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    pair.source().file("large", &bytes);
    let sync = pair.sync().run_id(RUN).args(&["--chunk-size", "256K", "--threads", "2"]);
    let slow = sync.clone().args(&["--bwlimit", "8M"]);
    let stopped = slow.stopped_after("1").run_unchecked().exits(75);
    let first = stopped.number("/bytes/written");
    assert!(first > 0 && first < bytes.len() as u64, "{first} bytes in the first attempt");

    let resumed = sync.resumed(RUN).args(&["--bwlimit", "1G"]).run().exits(0);
    pair.assert_mirrored();
    let all = resumed.number("/bytes/written");
    assert!(all <= bytes.len() as u64 + (4 << 18), "{all} bytes were written for {}", bytes.len());
}

#[test]
fn a_stopped_run_that_nobody_goes_on_with_leaves_nothing_for_ever() {
    let pair = Pair::new();
    pair.source().file("large", vec![7; 8 << 20]);
    let sync = pair.sync().run_id(RUN).args(&["--chunk-size", "256K", "--threads", "2"]);
    sync.clone().args(&["--bwlimit", "4M"]).stopped_after("1").run_unchecked().exits(75);
    assert!(Snapshot::paths(pair.target_path()).iter().any(|path| path.starts_with(b".pmirror-")), "none under way");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_run_that_dies_goes_on_from_its_last_checkpoint() {
    let pair = pair();
    let sync = slow(&pair).args(&["--checkpoint-interval", "200ms"]);
    let kill = ["timeout", "--preserve-status", "-s", "KILL", "1.5"];
    sync.wrapped_by(&kill).run_unchecked().exits(137);
    assert!(manifest(&pair).exists());
    let resumed = quick(slow(&pair).resumed(RUN)).run_unchecked().exits(0);
    resumed.assert_books_balance();
    assert_eq!(resumed.count("file", "seen"), 360, "{:?}", resumed.totals());
    let same = resumed.count("file", "same");
    assert!(same < 300, "{same} of 360 files were done by the time of the checkpoint, or all was done again");
    compare::assert_same_links(pair.source_path(), pair.target_path());
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn faults_of_an_earlier_attempt_are_listed_once() {
    let pair = pair();
    for index in 0..20 {
        pair.source().file(format!("d{index}/secret"), "nobody reads this").mode(0);
    }
    pair.give_to(NOBODY);
    for index in 0..20 {
        pair.source().entry(format!("d{index}/secret")).owner(0, 0);
    }
    let run = slow(&pair).as_user(NOBODY).copied_to(pair.top_path());
    let stopped = run.clone().stopped_after("1").run_unchecked().exits(75);
    let resumed = quick(run.resumed(RUN)).run_unchecked().exits(23);
    resumed.assert_books_balance();
    assert!(stopped.faults.len() < 20);
    assert_eq!(resumed.faults.len(), 20);
    assert_eq!(resumed.number("/faults/0/count"), 20);
    for index in 0..20 {
        assert_eq!(resumed.faults_of(format!("d{index}/secret")).len(), 1);
    }
}

#[test]
fn deletions_go_on_as_they_were_judged() {
    let pair = Pair::new();
    pair.source().file("kept", "kept");
    pair.target().file("kept", "kept");
    for index in 0..200 {
        pair.target().file(format!("gone/{}/{index}", index % 20), "gone");
    }
    let rm = pair.rm().run_id(RUN).args(&["--threads", "2", "--max-delete", "100%"]);
    let slow = rm.clone().args(&["--ops-limit", "120/s"]);
    let stopped = slow.stopped_after("1.2").run_unchecked().exits(75);
    stopped.assert_books_balance();
    let first = stopped.removals("removed");
    let resumed = quick(rm.resumed(RUN)).run_unchecked().exits(0);
    resumed.assert_books_balance();
    assert!(first < resumed.removals("removed"), "{first} in the first attempt");
    assert_eq!(resumed.removals("removed") + resumed.kept("gone"), 221);
    assert_eq!(pair.target_now().count("file"), 1);
}

#[test]
fn a_copy_that_was_stopped_while_it_deleted_goes_on_there() {
    let pair = Pair::new();
    pair.source().file("a", "kept");
    pair.source().hard_link("a", "b");
    for index in 0..200 {
        pair.target().file(format!("gone/{}/{index}", index % 20), "gone");
    }
    let guards = ["--delete", "--max-delete", "100%", "--hold-threshold", "100%", "--threads", "2"];
    let sync = pair.sync().run_id(RUN).args(&guards);
    let slow = sync.clone().args(&["--ops-limit", "120/s"]);
    let stopped = slow.stopped_after("1.3").run_unchecked().exits(75);
    let first = stopped.removals("removed");
    assert!(first > 0 && first < 221, "{first} names were removed in the first attempt");
    let resumed = quick(sync.resumed(RUN)).run_unchecked().exits(0);
    resumed.assert_books_balance();
    assert_eq!(resumed.removals("removed") + resumed.kept("gone"), 221);
    pair.assert_mirrored();
    compare::assert_same_links(pair.source_path(), pair.target_path());
}

#[test]
fn a_comparison_goes_on_and_lists_each_difference_once() {
    let pair = pair();
    pair.sync().run().exits(0);
    for index in 0..100 {
        pair.target().file(format!("d{}/{index}", index % 20), "another content");
    }
    let cmp = pair.cmp().run_id(RUN).args(&["--threads", "2"]);
    let slow = cmp.clone().args(&["--ops-limit", "150/s"]);
    slow.stopped_after("1").run_unchecked().exits(75);
    let whole = pair.cmp().run_unchecked().exits(26);
    let resumed = quick(cmp.resumed(RUN)).run_unchecked().exits(26);
    assert_eq!(String::from_utf8_lossy(&resumed.stdout), String::from_utf8_lossy(&whole.stdout));
    assert_eq!(resumed.totals(), whole.totals());
}

#[test]
fn directory_times_go_on() {
    let pair = pair();
    pair.sync().run().exits(0);
    for index in 0..20 {
        pair.target().entry(format!("d{index}")).mtime(5, 0);
    }
    let mtimes = pair.mtimes().run_id(RUN).args(&["--threads", "1"]);
    let slow = mtimes.clone().args(&["--ops-limit", "10/s"]);
    slow.stopped_after("0.7").run_unchecked().exits(75);
    quick(mtimes.resumed(RUN)).run_unchecked().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_checkpoint_of_other_trees_is_refused() {
    let pair = pair();
    slow(&pair).stopped_after("0.7").run_unchecked().exits(75);
    let elsewhere = pair.top_path().join("elsewhere");
    std::fs::rename(pair.source_path(), &elsewhere).unwrap();
    std::fs::create_dir(pair.source_path()).unwrap();
    let before = pair.target_now().below("d0");
    slow(&pair).resumed(RUN).run_unchecked().refuses(3, &["SRC is another directory"]);
    compare::assert_untouched(&before, &pair.target_now().below("d0"), "the target was touched");
    std::fs::remove_dir(pair.source_path()).unwrap();
    std::fs::rename(&elsewhere, pair.source_path()).unwrap();
    quick(slow(&pair).resumed(RUN)).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_checkpoint_of_other_options_is_refused() {
    let pair = pair();
    slow(&pair).stopped_after("0.7").run_unchecked().exits(75);
    let record = pair.state_path().join(RUN).join("command.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("\"options\": [", "\"options\": [ \"--no-owner\",", 1)).unwrap();
    slow(&pair).resumed(RUN).run_unchecked().refuses(3, &["other options"]);
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_command_itself_still_works() {
    let pair = pair();
    slow(&pair).stopped_after("0.7").run_unchecked().exits(75);
    let directory = pair.state_path().join(RUN).join("checkpoint");
    let names = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    // What scripts read of it is no part of it.
    let names: Vec<PathBuf> = names.filter(|name| !name.ends_with("headway")).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let whole = std::fs::read(&name).unwrap();
        for damaged in [&whole[..whole.len() / 2], &[][..], &[&whole[..], b"x"].concat()] {
            std::fs::write(&name, damaged).unwrap();
            slow(&pair).resumed(RUN).run_unchecked().refuses(1, &["checkpoint", "Nothing is lost"]);
        }
        std::fs::remove_file(&name).unwrap();
        slow(&pair).resumed(RUN).run_unchecked().exits(1);
        std::fs::write(&name, &whole).unwrap();
    }
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn without_a_checkpoint_there_is_nothing_to_go_on_with() {
    let pair = pair();
    pair.sync().run_id(RUN).run().exits(0);
    slow(&pair).resumed(RUN).run_unchecked().refuses(1, &["no checkpoint", "came to its end"]);
    slow(&pair).resumed("never-was").run_unchecked().refuses(1, &["never-was"]);
}

#[test]
fn a_list_of_files_is_gone_on_with_as_it_was() {
    let pair = pair();
    let list = pair.top_path().join("list");
    let paths: Vec<String> = (0..200).map(|index| format!("d{}/{index}\n", index % 20)).collect();
    std::fs::write(&list, paths.concat()).unwrap();
    let from = format!("--files-from={}", list.display());
    slow(&pair).arg(&from).stopped_after("0.8").run_unchecked().exits(75);
    std::fs::write(&list, "d0/0\n").unwrap();
    quick(slow(&pair).resumed(RUN)).run_unchecked().exits(0);
    assert_eq!(pair.target_now().count("file"), 200);
}

/// Asks a run under way to stop as soon as a part of a large file is on the target.
fn stop_among_chunks(pair: &Pair, sync: &Pmirror) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let has_part = || {
        let names = std::fs::read_dir(pair.target_path()).unwrap().flatten();
        let mut ours = names.filter(|name| name.file_name().as_encoded_bytes().starts_with(b".pmirror-"));
        ours.any(|name| name.metadata().is_ok_and(|part| part.is_file() && part.blocks() > 0))
    };
    std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        while !has_part() {
            assert!(!run.is_finished(), "the run was too quick");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let lock = std::fs::read(pair.target_path().join(".pmirror/lock")).unwrap();
        let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
        let pid = nix::unistd::Pid::from_raw(lock["pid"].as_i64().unwrap() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
        run.join().unwrap().exits(75)
    })
}

/// Some chunks of the file are on the target when it changes: none of them may be believed.
#[test]
fn a_large_file_that_changed_since_the_stop_is_copied_anew() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let pair = Pair::new();
        pair.source().file("large", vec![b'o'; 8 << 20]).mtime(1_000, 1);
        let sync = pair.sync().run_id(RUN).args(&["--chunk-size", "256K", "--threads", "2"]);
        stop_among_chunks(&pair, &sync.clone().args(&["--bwlimit", "1M"]));
        // Of the same size and time: only the ctime tells.
        pair.source().entry("large").content(vec![b'n'; 8 << 20]).mtime(1_000, 1);
        let resumed = sync.resumed(RUN).ranks(ranks).args(&["--bwlimit", "1G"]).run_unchecked();
        resumed.assert_books_balance();
        resumed.context(|| assert!([0, 24].contains(&resumed.code), "exit code {}", resumed.code));
        if resumed.code == 24 {
            assert_ne!(pair.target_now().entries.get(&b"large"[..]).map(|copy| copy.mtime()), Some((1_000, 1)));
            pair.sync().run_unchecked().exits(0);
        }
        pair.assert_mirrored();
    }
}

#[test]
fn a_run_goes_on_with_the_patterns_that_it_began_with() {
    let pair = pair();
    pair.target().file("d1/kept.o", "protected");
    let patterns = pair.top_path().join("patterns");
    std::fs::write(&patterns, "*.o\n").unwrap();
    let with = |run: Pmirror| {
        let script = format!("exec \"$@\" < '{}'", patterns.display());
        run.wrapped_by(&["sh", "-c", &script, "sh"])
    };
    let asked = ["--delete", "--exclude-from", "-", "--ops-limit", "150/s", "--threads", "2"];
    let stopping = ["--stop-at", "+1s"];
    with(pair.sync().args(&asked).args(&stopping).run_id(RUN)).run_unchecked().exits(75);
    let resumed = || quick(pair.sync().resumed(RUN));
    resumed().run_unchecked().refuses(3, &["--exclude-from holds other patterns"]);
    assert!(pair.target_path().join("d1/kept.o").exists());
    with(resumed()).run().exits(0);
    assert!(pair.target_path().join("d1/kept.o").exists());
}
