//! Holes stay holes, whatever the file system tells of them, and no zero that is written is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use support::outcome::second_run_changes_nothing;
use support::*;

const MIB: u64 = 1 << 20;

/// Files with holes in every place.
fn with_holes() -> Pair {
    let (pair, block) = (Pair::new(), [7u8; 65_536]);
    let source = pair.source();
    let pieces: Vec<(u64, &[u8])> = (0..16).map(|n| (n * 131_072, &block[..])).collect();
    source.sparse("only a hole", 3 * MIB, &[]);
    source.sparse("at the start", 2 * MIB, &[(2 * MIB - 65_536, &block)]);
    source.sparse("at the end", 2 * MIB + 1, &[(0, &block)]);
    source.sparse("in the middle", 2 * MIB, &[(0, &block), (2 * MIB - 5, b"end")]);
    source.sparse("every other block", 16 * 131_072 + 1, &pieces);
    source.sparse("one byte behind", 70_001, &[(70_000, b"x")]);
    source.file("no hole", vec![0; 300_000]);
    pair
}

/// Fails unless each copy takes as little as its source and one block.
fn assert_holes(pair: &Pair) {
    let (source, target) = (pair.source_now(), pair.target_now());
    for (path, seen) in source.entries.iter().filter(|(_, seen)| seen.kind() == "file") {
        let (allocated, most) = (target.at(path).allocated(), seen.allocated() + 65_536);
        assert!(allocated <= most, "{}: {allocated} bytes, {} in the source", escaped(path), seen.allocated());
    }
}

#[test]
fn holes_stay_holes_in_every_place() {
    let pair = with_holes();
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    assert_holes(&pair);
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn where_holes_can_not_be_told_blocks_of_zeros_become_holes() {
    for answer in ["error=EINVAL", "error=EOPNOTSUPP", "retval=0"] {
        let pair = with_holes();
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("inject=lseek:{answer}")];
        pair.sync().wrapped_by(&strace).run().exits(0);
        pair.assert_mirrored();
        assert_holes(&pair);
    }
}

#[test]
fn an_answer_that_stops_making_sense_half_way_is_not_followed() {
    for when in 1..8 {
        let pair = with_holes();
        let inject = format!("inject=lseek:retval=1:when={when}+3");
        pair.sync().wrapped_by(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]).run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn no_sparse_writes_the_holes_out() {
    let pair = with_holes();
    let run = pair.sync().arg("--no-sparse").run().exits(0);
    pair.assert_mirrored();
    let (source, target) = (pair.source_now(), pair.target_now());
    for (path, seen) in source.entries.iter().filter(|(_, seen)| seen.kind() == "file") {
        assert!(target.at(path).allocated() >= seen.stat.stx_size, "{}", escaped(path));
    }
    assert_eq!(run.number("/bytes/written"), run.number("/bytes/logical"));
}

/// A hole is known by what is not allocated; its content would take an hour to read.
#[test]
fn a_hole_of_a_tebibyte_costs_neither_time_nor_space() {
    for verify in [None, Some("--verify")] {
        let pair = Pair::new();
        pair.source().sparse("huge", 1 << 40, &[]);
        pair.source().sparse("with an end", 1 << 40, &[((1 << 40) - 3, b"end")]);
        let started = std::time::Instant::now();
        let run = verify.into_iter().fold(pair.sync(), Pmirror::arg).run_unchecked().exits(0);
        assert!(started.elapsed().as_secs() < 10, "it took {:?}", started.elapsed());
        assert!(run.number("/bytes/written") <= 65_536);
        for name in ["huge", "with an end"] {
            use std::os::unix::fs::{FileExt, MetadataExt};
            let copy = std::fs::File::open(pair.target().path(name)).unwrap();
            let stat = copy.metadata().unwrap();
            assert!(stat.size() == 1 << 40 && stat.blocks() <= 128, "{name}: {stat:?}");
            let mut end = [1; 3];
            copy.read_exact_at(&mut end, (1 << 40) - 3).unwrap();
            assert_eq!(&end, if name == "huge" { b"\0\0\0" } else { b"end" });
        }
    }
}

#[test]
fn sizes_around_two_and_four_gibibytes_are_copied_to_the_last_byte() {
    use std::os::unix::fs::FileExt;
    let pair = Pair::new();
    let sizes: Vec<u64> = [1u64 << 31, 1 << 32].iter().flat_map(|edge| [edge - 1, *edge, edge + 1]).collect();
    for size in &sizes {
        pair.source().sparse(size.to_string(), *size, &[(0, b"begin"), (*size - 3, b"end")]);
    }
    let run = pair.sync().run_unchecked().exits(0);
    run.counts("file", &[("created", 6)]);
    for size in sizes {
        let copy = std::fs::File::open(pair.target().path(size.to_string())).unwrap();
        let (mut begin, mut end) = ([0; 5], [0; 3]);
        copy.read_exact_at(&mut begin, 0).unwrap();
        copy.read_exact_at(&mut end, size - 3).unwrap();
        assert_eq!((copy.metadata().unwrap().len(), &begin, &end), (size, b"begin", b"end"));
    }
    pair.sync().run_unchecked().exits(0).counts("file", &[("same", 6)]);
}

/// tmpfs holds files of 8 EiB, ext4 of 16 TiB.
#[test]
fn a_file_larger_than_the_target_can_hold_fails_alone() {
    let pair = Pair::new();
    let memory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs at /dev/shm");
    let tree = Tree::at(memory.path());
    tree.sparse("huge", 17 << 40, &[(0, b"begin"), ((17 << 40) - 3, b"end")]);
    tree.file("small", "content");
    let sync = Pmirror::new().sync(memory.path(), pair.target_path()).state_dir(pair.state_path());
    let run = sync.run_unchecked().exits(23);
    run.counts("file", &[("created", 1), ("failed", 1)]);
    run.has_fault("huge", "target", nix::errno::Errno::EFBIG);
    assert_eq!(Snapshot::paths(pair.target_path()).len(), 2, "the root and the small one");
}

#[test]
fn blocks_beyond_the_end_of_a_file_are_none_of_its_content() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    needs::run_ok(std::process::Command::new("fallocate").args(["-n", "-l", "1M"]).arg(pair.source().path("file")));
    pair.source().file("empty", "");
    needs::run_ok(std::process::Command::new("fallocate").args(["-n", "-l", "1M"]).arg(pair.source().path("empty")));
    assert!(pair.source_now().at("file").allocated() >= 1 << 20);
    pair.sync().run().exits(0);
    pair.assert_mirrored();
    assert!(pair.target_now().at("file").allocated() <= 65_536);
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}
