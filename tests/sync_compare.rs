//! How files are compared: by content, by size, by time within a window, and what is left alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::outcome::second_run_changes_nothing;
use support::random::Dice;
use support::*;

const T: i64 = 1_600_000_000;

/// Source and target have one file of equal size; only what the test sets differs.
fn file_on_both(source: (&str, i64, u32), target: (&str, i64, u32)) -> Pair {
    let pair = Pair::new();
    pair.source().file("file", source.0).mtime(source.1, source.2);
    pair.target().file("file", target.0).mtime(target.1, target.2);
    pair
}

fn content(pair: &Pair) -> String {
    std::fs::read_to_string(pair.target_path().join("file")).unwrap()
}

#[test]
fn another_content_of_equal_size_and_time_is_found_by_checksum_only() {
    let pair = file_on_both(("new", T, 0), ("old", T, 0));
    pair.sync().run().exits(0);
    assert_eq!(content(&pair), "old", "size and time are equal: the default believes them");
    let run = pair.sync().arg("-c").run().exits(0);
    assert_eq!((run.count("file", "updated"), run.number("/bytes/compared")), (1, 3));
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync().arg("--checksum"), 0);
}

#[test]
fn with_checksum_a_file_of_equal_content_gets_its_time_without_being_copied() {
    let pair = file_on_both(("same", T, 0), ("same", T + 100, 0));
    let run = pair.sync().arg("-c").run().exits(0);
    assert_eq!((run.count("file", "metadata_only"), run.number("/bytes/written")), (1, 0));
    pair.assert_mirrored();
}

#[test]
fn a_file_finished_by_checksum_has_its_attributes_too() {
    let pair = file_on_both(("same", T, 0), ("same", T + 100, 0));
    pair.source().entry("file").xattr("user.a", "1").mode(0o640).mtime(T, 0);
    pair.target().entry("file").unlink();
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    // What a run leaves that was killed between content and attributes: younger than the source's change.
    pair.target().file("file", "same");
    pair.sync().arg("-c").run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn size_only_believes_the_size_and_sets_the_time() {
    let pair = file_on_both(("new", T, 0), ("old", T + 5, 0));
    let run = pair.sync().arg("--size-only").run().exits(0);
    assert_eq!((content(&pair).as_str(), run.count("file", "metadata_only")), ("old", 1));
    assert_eq!(pair.target_now().at("file").mtime(), (T, 0));
    second_run_changes_nothing(&pair, &pair.sync().arg("--size-only"), 0);
}

#[test]
fn size_only_copies_another_size() {
    let pair = file_on_both(("longer", T, 0), ("old", T, 0));
    pair.sync().arg("--size-only").run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn update_leaves_a_newer_target_alone_and_says_so() {
    let pair = file_on_both(("new", T, 0), ("mine!", T + 1, 0));
    let run = pair.sync().arg("-u").run().exits(0);
    assert_eq!((content(&pair).as_str(), run.number("/skipped/update")), ("mine!", 1));
    assert_eq!(pair.target_now().at("file").mtime(), (T + 1, 0));
}

#[test]
fn update_copies_over_an_older_target_and_over_another_type() {
    let pair = file_on_both(("new", T, 0), ("older", T - 1, 0));
    pair.source().file("was a link", "file now").mtime(T, 0);
    pair.target().symlink("was a link", "nowhere");
    pair.sync().arg("--update").run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn update_leaves_all_names_of_an_inode_alone_when_one_is_newer() {
    let pair = file_on_both(("new", T, 0), ("mine!", T + 1, 0));
    pair.source().hard_link("file", "other name");
    let run = pair.sync().arg("-u").run().exits(0);
    assert_eq!((content(&pair).as_str(), run.number("/skipped/update")), ("mine!", 2));
}

#[test]
fn times_within_the_window_are_equal() {
    let pair = file_on_both(("new", T, 0), ("old", T + 1, 500_000_000));
    pair.source().root().mtime(T, 0);
    let run = pair.sync().args(&["--modify-window", "1.5"]).run().exits(0);
    assert_eq!((content(&pair).as_str(), run.count("file", "same")), ("old", 1));
    pair.sync().args(&["--modify-window", "1.4"]).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_content_changed_behind_size_and_time_is_found_by_its_ctime_on_request() {
    let pair = Pair::new();
    pair.source().file("file", "first").mtime(T, 0);
    pair.sync().run().exits(0);
    pair.source().file("file", "other").mtime(T, 0);
    pair.sync().run().exits(0);
    assert_eq!(content(&pair), "first", "by default a newer ctime calls for metadata only");
    let run = pair.sync().arg("--ctime=content").run().exits(0);
    assert_eq!(run.count("file", "updated"), 1);
    pair.assert_mirrored();
}

#[test]
fn a_copy_killed_in_the_middle_is_repaired_however_files_are_compared() {
    for (seed, options) in [(1, &["-u"][..]), (2, &["--size-only"]), (3, &["--no-times"]), (4, &["--modify-window=5"])]
    {
        let pair = Pair::new();
        let mut dice = Dice::new(seed);
        for index in 0..200 {
            // Not empty holes, small ones and some of several buffers.
            let size = if index % 50 == 0 { 3 << 20 } else { 1 + dice.below(20_000) };
            pair.source().file(format!("d{}/{index}", index % 7), vec![index as u8; size as usize]);
        }
        for _ in 0..5 {
            let seconds = format!("0.{:03}", 10 + dice.below(80));
            println!("{options:?}: killed after {seconds} s");
            let killed = ["timeout", "-s", "KILL", &seconds];
            pair.sync().args(options).args(&["--chunk-size=1M"]).wrapped_by(&killed).run_unchecked();
        }
        pair.sync().args(options).run().exits(0);
        let times_may_differ = matches!(options, ["--no-times"] | ["--modify-window=5"]);
        pair.assert_mirrored_but(if times_may_differ { &["mtime"] } else { &[] });
    }
}

#[test]
fn options_that_contradict_each_other_or_are_no_numbers_are_refused() {
    let pair = file_on_both(("new", T, 0), ("old", T, 0));
    pair.sync().args(&["-c", "--size-only"]).run_unchecked().refuses(1, &["--checksum", "--size-only"]);
    pair.sync().args(&["--modify-window", "1s"]).run_unchecked().refuses(1, &["1s", "number of seconds"]);
    assert_eq!(content(&pair), "old");
}
