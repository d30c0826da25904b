//! A file system that is mounted in the source, on some nodes and not on others: nothing below it is removed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::compare::assert_none;
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

fn nothing_below_it_is_removed(command: impl Fn(&Pair) -> Pmirror) {
    for (depth, misses) in [(0, 0), (0, 1), (3, 0), (3, 1)] {
        let (pair, point) = pair(depth);
        let before = Snapshot::paths(pair.target_path().join(&point));
        let run = run_where_one_misses_it(&pair, &point, misses, command(&pair));
        println!(
            "depth {depth}, rank {misses} misses it: exit code {}\n{}",
            run.code,
            String::from_utf8_lossy(&run.stderr)
        );
        run.assert_books_balance();
        let now = Snapshot::paths(pair.target_path().join(&point));
        let lost: Vec<String> = before.difference(&now).map(|path| escaped(path)).collect();
        run.context(|| assert_none(&lost, "removed although a rank sees it in the source"));
    }
}

#[test]
fn rm_removes_nothing_below_a_mount_that_one_rank_misses() {
    nothing_below_it_is_removed(|pair| pair.rm());
}

#[test]
fn sync_removes_nothing_below_a_mount_that_one_rank_misses() {
    nothing_below_it_is_removed(|pair| pair.sync().arg("--delete"));
}
