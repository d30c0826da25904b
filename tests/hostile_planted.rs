//! What somebody left in our way before we began: links, FIFOs and names of our own in the target, below `DST/.pmirror`
//! and in the state directory, and trees that hold themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::os::unix::fs::symlink;
use support::compare::assert_unwritten;
use support::*;

/// A file of somebody else, on the file system of the target, and what it was.
fn with_victim(pair: &Pair) -> Snapshot {
    let victim = pair.beside().file("victim/file", "must stay");
    victim.owner(1000, 1000).mode(0o640).xattr("user.note", "must stay").mtime(1_000, 1);
    pair.beside().dir("victim/directory");
    Snapshot::take(pair.beside().path("victim"))
}

fn assert_stays(pair: &Pair, before: &Snapshot) {
    assert_unwritten(before, &Snapshot::take(pair.beside().path("victim")), "written to what is another's");
}

/// The same, but a name of the file inside the target may have gone, which moves its ctime.
fn assert_content_stays(pair: &Pair, before: &Snapshot) {
    let now = Snapshot::take(pair.beside().path("victim"));
    compare::assert_none(&compare::differences(before, &now, snapshot::MIRRORED), "written to what is another's");
}

/// A name as a run gives it to its temporary files.
const TEMPORARY: &str = ".pmirror-00000000000000aa-00000000-000000000000";

#[test]
fn names_like_our_temporaries_are_entries_like_any_other() {
    for delete in [false, true] {
        let pair = Pair::new();
        let before = with_victim(&pair);
        pair.source().file("file", "new");
        pair.target().file("file", "old").mtime(1, 1);
        let victim = pair.beside().path("victim/file");
        for (number, directory) in ["0", "1", "2", "3"].into_iter().enumerate() {
            let name = format!("{directory}/{TEMPORARY}");
            pair.source().dir(directory);
            match number {
                0 => drop(pair.target().symlink(&name, victim.as_os_str().as_encoded_bytes())),
                1 => drop(pair.target().fifo(&name)),
                2 => drop(pair.target().dir(&name)),
                _ => {
                    pair.target().dir(directory);
                    std::fs::hard_link(&victim, pair.target().path(&name)).unwrap();
                }
            }
        }
        let all = ["--delete", "--max-delete", "100%", "--hold-threshold", "100%"];
        let sync = if delete { pair.sync().args(&all) } else { pair.sync() };
        sync.run_unchecked().exits(0).assert_books_balance();
        assert_content_stays(&pair, &before);
        let left = (0..4).filter(|number| pair.target_path().join(format!("{number}/{TEMPORARY}")).is_symlink());
        assert_eq!(left.count(), usize::from(!delete), "only --delete removes what only the target has");
    }
}

#[test]
fn a_name_that_is_also_somebodys_file_is_replaced_and_not_written_to() {
    let pair = Pair::new();
    let before = with_victim(&pair);
    let victim = pair.beside().path("victim/file");
    pair.source().file("other content", "new").mtime(2_000, 1);
    pair.source().file("other mode", "must stay").mode(0o4777).owner(7, 7).mtime(1_000, 1);
    for name in ["other content", "other mode"] {
        std::fs::hard_link(&victim, pair.target().path(name)).unwrap();
    }
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    assert_content_stays(&pair, &before);
}

#[test]
fn a_private_directory_that_is_a_link_or_anothers_is_refused() {
    for owner in [None, Some(NOBODY)] {
        let pair = Pair::new();
        let before = with_victim(&pair);
        pair.source().file("file", "content");
        match owner {
            None => drop(pair.target().symlink(".pmirror", "../victim/directory")),
            Some((user, group)) => {
                pair.target().dir(".pmirror").owner(user, group);
                pair.target().symlink(".pmirror/lock", "../../victim/file");
            }
        }
        pair.sync().run_unchecked().refuses(11, &[".pmirror"]);
        assert!(!pair.target_path().join("file").exists());
        assert_stays(&pair, &before);
    }
}

#[test]
fn links_where_our_own_files_lie_on_the_target_are_not_followed() {
    for name in ["lock", "nonce", "probe"] {
        for is_hard in [false, true] {
            let pair = Pair::new();
            let before = with_victim(&pair);
            pair.source().file("file", "content");
            pair.target().dir(".pmirror").mode(0o700);
            let (victim, link) = (pair.beside().path("victim/file"), pair.target().path(format!(".pmirror/{name}")));
            if is_hard {
                std::fs::hard_link(victim, link).unwrap()
            } else {
                symlink(victim, link).unwrap()
            }
            let run = pair.sync().run_unchecked();
            run.context(|| assert!([0, 3, 11].contains(&run.code), "mirrored or refused"));
            assert_content_stays(&pair, &before);
        }
    }
}

#[test]
fn a_private_directory_with_a_fifo_in_the_place_of_the_lock_does_not_stop_the_run_for_ever() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    pair.target().dir(".pmirror").mode(0o700);
    pair.target().fifo(".pmirror/lock");
    let mut watch = watch::Watch::new();
    watch.openings(pair.target().path(".pmirror/lock"));
    let run = pair.sync().timeout(std::time::Duration::from_secs(20)).run_unchecked();
    run.context(|| assert!([0, 3, 11].contains(&run.code), "mirrored or refused"));
    assert_eq!(watch.seen(), Vec::<String>::new());
}

#[test]
fn a_run_directory_that_is_a_link_or_anothers_is_refused() {
    for is_link in [true, false] {
        let pair = Pair::new();
        let before = with_victim(&pair);
        pair.source().file("file", "content");
        if is_link {
            pair.beside().symlink("state/run", "../victim/directory");
        } else {
            pair.beside().dir("state/run").owner(NOBODY.0, NOBODY.1).mode(0o777);
        }
        pair.sync().run_id("run").run_unchecked().refuses(11, &["state/run"]);
        assert!(!pair.target_path().join("file").exists());
        assert_stays(&pair, &before);
        assert_eq!(std::fs::read_dir(pair.beside().path("victim/directory")).unwrap().count(), 0);
    }
}

#[test]
fn links_where_our_records_are_written_are_replaced_and_not_followed() {
    let records =
        ["summary.json", "faults.jsonl", "command.json", "nonce", "progress.json", "in-flight-0", "checkpoint"];
    for name in records.iter().flat_map(|name| [name.to_string(), format!("{name}.new")]) {
        let pair = Pair::new();
        let before = with_victim(&pair);
        pair.source().file("file", "content");
        pair.source().symlink("x", "y");
        pair.beside().dir("state/run").mode(0o700);
        symlink(pair.beside().path("victim/file"), pair.beside().path(format!("state/run/{name}"))).unwrap();
        let run = pair.sync().run_id("run").run_unchecked();
        run.context(|| assert!([0, 11].contains(&run.code), "{name}: mirrored or refused"));
        assert_stays(&pair, &before);
    }
}

#[test]
fn a_checkpoint_directory_that_is_a_link_is_not_written_to() {
    let pair = Pair::new();
    let before = with_victim(&pair);
    pair.source().file("file", "content");
    pair.beside().dir("state/run").mode(0o700);
    pair.beside().symlink("state/run/checkpoint", "../../victim/directory");
    let _ = pair.sync().run_id("run").run_unchecked();
    assert_stays(&pair, &before);
}

#[test]
fn records_of_known_roots_that_are_a_link_are_not_written_to() {
    let pair = Pair::new();
    let before = with_victim(&pair);
    pair.source().file("file", "content");
    pair.beside().symlink("state/roots", "../victim/directory");
    let run = pair.sync().run_unchecked();
    run.context(|| assert!([0, 11].contains(&run.code), "mirrored or refused"));
    assert_stays(&pair, &before);
}

#[test]
fn a_fifo_in_the_state_directory_does_not_stop_the_run_for_ever() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    pair.beside().dir("state/run").mode(0o700);
    for name in ["suspects.json", "command.json", "manifest"] {
        pair.beside().fifo(format!("state/run/{name}"));
    }
    let run = pair.sync().run_id("run").timeout(std::time::Duration::from_secs(20)).run_unchecked();
    run.context(|| assert!([0, 1, 11].contains(&run.code), "mirrored or refused"));
}

#[test]
fn a_plan_is_not_written_through_a_name_that_was_planted() {
    for kind in ["link", "hard link", "fifo"] {
        let pair = Pair::new();
        let before = with_victim(&pair);
        pair.target().file("only here", "to go");
        pair.source().file("file", "content");
        let (plan, victim) = (pair.beside().path("plan"), pair.beside().path("victim/file"));
        match kind {
            "link" => symlink(victim, pair.beside().path("plan.new")).unwrap(),
            "hard link" => std::fs::hard_link(victim, pair.beside().path("plan.new")).unwrap(),
            _ => drop(pair.beside().fifo("plan.new")),
        }
        let rm = pair.rm().arg("--plan").arg(&plan).timeout(std::time::Duration::from_secs(20));
        rm.run_unchecked().exits(0);
        assert!(plan.is_file());
        assert_content_stays(&pair, &before);
    }
}

/// Runs it where a directory is mounted a second time.
fn with_bind(command: &Pmirror, pair: &Pair, from: &str, to: &str) -> Outcome {
    let (from, to) = (pair.top_path().join(from), pair.top_path().join(to));
    let script = format!("mount --bind \"{}\" \"{}\" && exec \"$@\"", from.display(), to.display());
    command.clone().wrapped_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]).run_unchecked()
}

#[test]
fn a_source_that_is_mounted_in_itself_is_mirrored_once_and_the_loop_is_named() {
    let pair = Pair::new();
    for number in 0..20 {
        pair.source().file(format!("a/{number}"), "content");
    }
    pair.source().dir("a/loop");
    for command in [pair.sync(), pair.cmp(), pair.mtimes()] {
        let run = with_bind(&command, &pair, "source", "source/a/loop");
        run.context(|| assert!([23, 26].contains(&run.code), "the loop is a fault"));
        run.assert_books_balance();
        let loops = run.faults_of("a/loop");
        run.context(|| assert!(loops.iter().any(|fault| fault["note"].to_string().contains("mounted inside"))));
        assert!(pair.target_path().join("a/19").exists());
        assert!(!pair.target_path().join("a/loop/a").exists());
    }
}

#[test]
fn a_target_that_is_mounted_in_itself_is_not_written_or_removed_from_through_the_loop() {
    let pair = Pair::new();
    pair.source().file("kept", "content");
    pair.source().file("a/loop/new", "content");
    pair.target().dir("a/loop");
    pair.target().file("kept", "content");
    let all = ["--delete", "--max-delete", "100%", "--hold-threshold", "100%"];
    let run = with_bind(&pair.sync().args(&all), &pair, "target", "target/a/loop");
    run.context(|| assert!([23, 25].contains(&run.code), "the loop is a fault"));
    assert!(pair.target_path().join("kept").exists());
    assert!(!pair.target_path().join("new").exists());
}
