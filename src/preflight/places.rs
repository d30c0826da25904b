//! Where the trees are: seen alike by all ranks, free to be used, and who else gets there.

use super::{Finding, plural};
use crate::tree::reach::Reach;

/// All ranks see the same trees and the same state directory.
pub fn same_view(ranks: u64, nodes: u64, target_is_proven: bool) -> Finding {
    let ranks_text = plural(ranks, "rank", "ranks");
    let nodes = plural(nodes, "node", "nodes");
    if ranks == 1 {
        return Finding::good(
            "same_view",
            "there is one rank: start as many as the run will have, to see that all nodes have the mounts",
        );
    }
    if target_is_proven {
        return Finding::good(
            "same_view",
            format!("{ranks_text} on {nodes} see the same SRC, DST and state directory"),
        );
    }
    let what = format!("{ranks_text} on {nodes} see the same SRC and state directory, and a DST that looks the same");
    Finding::warning("same_view", what, "only a file that one rank writes there would prove it")
}

/// A root can not be opened, or not by all ranks alike. `check`: which.
pub fn unusable(check: &'static str, error: String) -> Finding {
    // Most messages name their remedy themselves.
    let (what, remedy) = error.split_once("; ").unwrap_or((
        &error,
        "name a directory that is the same on all nodes, apart from the other one, and open to the user",
    ));
    Finding::no_go(check, what, remedy)
}

/// What rank 0 wrote in DST is not seen by all.
pub fn unlike_view(error: String) -> Finding {
    Finding::no_go(
        "same_view",
        error,
        "give all nodes the same mounts, and name SRC, DST and --state-dir as they are there",
    )
}

/// Whether DST is there. `path`: its path, for people.
pub fn target(is_missing: bool, is_empty: bool) -> Finding {
    let what = match (is_missing, is_empty) {
        (true, _) => "DST does not exist: a run makes it; its parent was tried instead",
        (false, true) => "DST is empty",
        (false, false) => "DST holds something already: a run compares it, and copies what differs",
    };
    Finding::good("target", what)
}

/// What another run does there.
pub fn lock(held_by: Option<&str>, has_doubt: bool) -> Finding {
    let check = "lock";
    match held_by {
        Some(error) => Finding::warning(
            check,
            format!("{error}; nothing was tried on DST, so all that follows is by what can be seen"),
            "run preflight again when that run is over",
        ),
        None if has_doubt => Finding::warning(
            check,
            "a run on DST did not end well: the next one compares what it wrote, and takes longer",
            "let pmirror sync run through once",
        ),
        None => Finding::good(check, "no run is under way on DST"),
    }
}

/// Nothing can be written in DST.
pub fn unwritable(error: String) -> Finding {
    Finding::no_go("write", error, "let the user that runs pmirror write there, and make room")
}

/// A signal came, or the time was up.
pub fn stopped() -> Finding {
    Finding::warning("stopped", "it was stopped before all was measured", "run it again, with more time")
}

/// File systems that are mounted in a tree. `name`: SRC or DST.
pub fn mounts(name: &str, paths: &[String], one_file_system: bool) -> Finding {
    let check = if name == "SRC" { "mounts_in_source" } else { "mounts_in_target" };
    let Some(first) = paths.first() else {
        return Finding::good(check, format!("nothing is mounted in {name}"));
    };
    let n = paths.len() as u64;
    let what = format!("{} mounted in {name}, at {first}", plural(n, "file system is", "file systems are"));
    let what = if n > 1 { format!("{what} and elsewhere") } else { what };
    match (name, one_file_system) {
        ("SRC", true) => Finding::good(check, format!("{what}: left out (-x)")),
        ("SRC", false) => Finding::warning(
            check,
            format!("{what}: they are copied too"),
            "leave them out with -x or --exclude, if that is not meant",
        ),
        _ => Finding::warning(check, format!("{what}: their room is not counted"), "see that what goes there fits"),
    }
}

/// Ranks do not have the same mounts in the trees.
pub fn unlike_mounts(error: String) -> Finding {
    Finding::no_go("mounts_in_source", error, "mount it on all nodes, or on none, or leave it out with --exclude")
}

/// Which users get to DST.
pub fn reach(reach: Option<&Reach>, us: u32) -> Finding {
    let check = "reach";
    let Some(reach) = reach else {
        return Finding::good(check, "who can reach DST can not be told here");
    };
    let text = reach.text(us);
    match (reach, text.rsplit_once("; ")) {
        (Reach::Everybody(_) | Reach::Some(..), Some((what, remedy))) => Finding::warning(check, what, remedy),
        _ => Finding::good(check, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;
    use crate::tree::reach::{Gate, judge};

    #[test]
    fn a_dst_that_users_reach_is_a_warning_with_the_remedy_apart() {
        let gate = |mode| Gate { path: b"/".to_vec(), mode, uid: 0, gid: 0, has_acl: false, on_mount: true };
        let open = reach(Some(&judge(&[gate(0o755)], 7)), 7);
        assert!(open.verdict == Verdict::Warning && open.remedy.contains("chmod 0700"), "{open:?}");
        assert!(!open.what.contains("chmod"), "{open:?}");
        assert_eq!(reach(Some(&judge(&[gate(0o700)], 0)), 0).verdict, Verdict::Good);
        assert_eq!(reach(None, 0).verdict, Verdict::Good);
    }

    #[test]
    fn mounts_count_where_they_change_what_is_copied() {
        let one = ["data".to_owned()];
        let verdict = |name, paths: &[String], one_file_system| mounts(name, paths, one_file_system).verdict;
        assert_eq!(verdict("SRC", &[], false), Verdict::Good);
        assert_eq!(verdict("SRC", &one, true), Verdict::Good);
        assert_eq!(verdict("SRC", &one, false), Verdict::Warning);
        assert_eq!(verdict("DST", &one, true), Verdict::Warning);
    }

    #[test]
    fn a_run_that_is_under_way_and_one_that_died_are_told() {
        assert_eq!(lock(None, false).verdict, Verdict::Good);
        assert_eq!(lock(None, true).verdict, Verdict::Warning);
        assert!(lock(Some("DST is being written by run 7"), false).what.contains("run 7"));
        let proven = [(1, true), (2, true), (2, false)].map(|(ranks, proven)| same_view(ranks, 1, proven).verdict);
        assert_eq!(proven, [Verdict::Good, Verdict::Good, Verdict::Warning]);
    }
}
