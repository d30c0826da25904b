//! A file system that is mounted in the source, on some nodes and not on others: nothing below it is removed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::compare::assert_unwritten;
use support::*;

/// Some names on the target that the source has only where the file system is mounted, and one that it has nowhere.
fn pair(depth: usize) -> (Pair, String) {
    let pair = Pair::new();
    let point = ["sub"].repeat(depth).into_iter().chain(["mount"]).collect::<Vec<_>>().join("/");
    pair.source().dir(&point);
    for n in 0..60 {
        pair.beside().file(format!("other/{n}/file"), "content");
        pair.target().file(format!("{point}/{n}/file"), "content");
        pair.source().file(format!("both/{n}/file"), "content");
        pair.target().file(format!("both/{n}/file"), "content");
    }
    pair.target().file("extra/file", "goes");
    (pair, point)
}

/// Runs it with the file system mounted for all ranks but one.
fn run_where_one_misses_it(pair: &Pair, point: &str, misses: u32, command: Pmirror) -> Outcome {
    let (other, point) = (pair.beside().path("other"), pair.source_path().join(point));
    let (other, point) = (other.display(), point.display());
    let mount = format!("mount --bind '{other}' '{point}' && exec \"$@\"");
    let unmount = format!("[ $OMPI_COMM_WORLD_RANK != {misses} ] || umount '{point}'; exec \"$@\"");
    let command = command.ranks(Ranks::Mpirun(2)).launched_by(&["unshare", "--mount", "sh", "-c", &mount, "sh"]);
    command.wrapped_by(&["unshare", "--mount", "sh", "-c", &unmount, "sh"]).run_unchecked()
}

/// It is refused, whichever rank misses it and whoever would come to it first; nothing is written.
fn is_refused(cases: &[(usize, u32)], command: impl Fn(&Pair) -> Pmirror) {
    for &(depth, misses) in cases {
        let (pair, point) = pair(depth);
        let before = pair.target_now().without_root();
        let run = run_where_one_misses_it(&pair, &point, misses, command(&pair));
        let (misses, has) = (format!("rank {misses} on "), format!("rank {} on ", 1 - misses));
        let run = run.refuses(3, &[&misses, &has, &point, "SRC"]);
        run.context(|| assert_unwritten(&before, &pair.target_now().without_root(), "something was written"));
    }
}

#[test]
fn rm_is_refused_where_a_rank_misses_a_mount_in_the_source() {
    is_refused(&[(0, 0), (0, 1), (3, 0), (3, 1)], |pair| pair.rm());
}

#[test]
fn sync_is_refused_where_a_rank_misses_a_mount_in_the_source() {
    is_refused(&[(0, 0), (3, 1)], |pair| pair.sync().arg("--delete"));
    is_refused(&[(0, 0)], |pair| pair.sync());
}

#[test]
fn cmp_is_refused_where_a_rank_misses_a_mount_in_the_source() {
    is_refused(&[(0, 1)], |pair| pair.cmp());
}

#[test]
fn a_mount_that_a_rank_misses_may_be_left_out() {
    let (pair, point) = pair(1);
    let command = pair.sync().args(&["--delete", "--exclude", &format!("/{point}")]);
    run_where_one_misses_it(&pair, &point, 0, command).exits(0).assert_books_balance();
    let now = pair.target_now();
    assert!((0..60).all(|n| now.has(format!("{point}/{n}/file"))) && !now.has("extra"));
}

#[test]
fn a_mount_that_all_ranks_have_is_mirrored() {
    let (pair, point) = pair(1);
    run_where_one_misses_it(&pair, &point, 7, pair.sync().arg("--delete")).exits(0).assert_books_balance();
    let now = pair.target_now();
    assert!((0..60).all(|n| now.has(format!("{point}/{n}/file"))) && !now.has("extra"));
}

/// A mount that everybody sees; it is unmounted with the value at the latest.
struct Bound(std::path::PathBuf);

impl Bound {
    fn new(what: &Path, at: &Path) -> Bound {
        needs::run_ok(Command::new("mount").arg("--bind").arg(what).arg(at));
        Bound(at.to_path_buf())
    }

    fn unmount(&self) {
        let _ = Command::new("umount").args(["-q", "-l"]).arg(&self.0).status();
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.unmount();
    }
}

#[test]
fn a_mount_that_is_gone_when_it_comes_to_removing_stops_that() {
    for (removes, code) in [("rm", 3), ("sync", 11)] {
        let (pair, point) = pair(1);
        let bound = Bound::new(&pair.beside().path("other"), &pair.source_path().join(&point));
        let target = FaultFs::mount(pair.target_path());
        target.start_log();
        let rule = target.rule(Rule::on("opendir").named("both").hang());
        let (source, state) = (pair.source_path(), pair.state_path());
        let command = match removes {
            "rm" => Pmirror::new().rm(&source, target.path()),
            _ => Pmirror::new().sync(&source, target.path()).arg("--delete"),
        };
        let command = command.state_dir(state);
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| command.run_unchecked());
            let hangs = || target.take_log().iter().any(|call| call == "opendir both");
            while !run.is_finished() && !hangs() {
                std::thread::sleep(Duration::from_millis(5));
            }
            bound.unmount();
            target.lift(rule);
            run.join().unwrap()
        });
        let run = run.refuses(code, &["SRC", &point, "not there any more"]);
        let now = pair.target_now();
        run.context(|| assert!((0..60).all(|n| now.has(format!("{point}/{n}/file"))) && now.has("extra/file")));
    }
}
