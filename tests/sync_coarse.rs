//! Targets whose times are coarser than the source's: whole seconds, or two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::*;

fn source() -> Pair {
    let pair = Pair::new();
    pair.source().file("directory/file", "content").mtime(1_600_000_001, 987_654_321);
    pair.source().file("directory/other", "content").mtime(1_600_000_002, 1);
    pair.source().symlink("link", "directory").mtime(1_600_000_003, 5);
    pair
}

fn sync_to(pair: &Pair, target: &FaultFs) -> Pmirror {
    Pmirror::new().args(&["sync"]).arg(pair.source_path()).arg(target.path()).state_dir(pair.state_path())
}

#[test]
fn times_are_compared_as_a_coarse_target_holds_them() {
    for times in ["seconds", "two-seconds"] {
        let pair = source();
        let target = FaultFs::mount_with(pair.target_path(), &["--times", times]);
        sync_to(&pair, &target).run().exits(0);
        let again = sync_to(&pair, &target).run().exits(0);
        assert_eq!(again.totals().keys().collect::<Vec<_>>(), [&"same"], "with times of {times}");
        pair.source().file("directory/file", "another").mtime(1_600_000_005, 0);
        let changed = sync_to(&pair, &target).run().exits(0);
        assert_eq!(changed.count("file", "updated"), 1);
    }
}
