//! What was written is read back: a copy that is not what was read fails, and is not left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use support::random::Dice;
use support::*;

const NOTE: &str = "the copy differs from what was read";

fn assert_differs(run: &Outcome, path: &str) {
    let faults = run.faults_of(path);
    let fault = faults.first().expect("a fault");
    assert_eq!((fault["side"].as_str(), fault["note"].as_str()), (Some("target"), Some(NOTE)), "{fault}");
}

#[test]
fn what_is_right_is_counted_and_stays() {
    for option in ["--verify", "--verify=xxh3", "--verify=blake3"] {
        let pair = Pair::new();
        RandomTree::new(21, 150).build(&pair.source());
        pair.source().file("large", Dice::new(1).bytes(5_000_001));
        pair.source().sparse("holes", 9_000_000, &[(4_000_000, b"data")]);
        let run = pair.sync().arg(option).run().exits(0);
        pair.assert_mirrored();
        assert_eq!(run.number("/verified/files"), run.count("file", "created"));
        assert!(run.number("/verified/bytes") >= 14_000_001);
        assert!(String::from_utf8_lossy(&run.stdout).contains("read back"));
    }
}

#[test]
fn without_the_option_nothing_is_said_of_it() {
    let pair = Pair::new();
    pair.source().file("file", "content");
    assert!(pair.sync().run().exits(0).summary()["verified"].is_null());
}

/// The first write of so many bytes to this file is answered, and not done.
fn dropped_write(pair: &Pair, name: &str, bytes: usize, options: &[&str]) -> Outcome {
    let path = pair.target().path(name);
    let inject = format!("inject=pwrite64:retval={bytes}:when=1");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", &inject];
    pair.sync().args(options).wrapped_by(&strace).run()
}

#[test]
fn a_write_that_never_happened_is_found() {
    for (bytes, size) in [(1_000, 1_000), (1 << 20, 3 << 20)] {
        for option in ["--verify", "--verify=blake3"] {
            let pair = Pair::new();
            pair.source().file("file", Dice::new(5).bytes(size));
            pair.source().file("neighbour", "is not concerned");
            let run = dropped_write(&pair, "file", bytes, &[option]).exits(23);
            assert_differs(&run, "file");
            run.counts("file", &[("created", 1), ("failed", 1)]);
            assert_eq!(run.number("/verified/files"), 1);
            assert!(!pair.target_now().has("file"), "a wrong copy was left");
            pair.sync().arg(option).run().exits(0);
            pair.assert_mirrored();
        }
    }
}

/// Waits until the bytes are in the file below a mounted image; tells where.
fn place_of(image: &Image, bytes: &[u8]) -> u64 {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        let content = std::fs::read(image.file()).unwrap();
        let places = content.chunks_exact(512).position(|sector| sector.starts_with(bytes));
        if let Some(sector) = places {
            return sector as u64 * 512;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the content never reached the disk");
}

/// Mirrors `file` to a disk that changes a bit of it between the flush and the look at it. Returns the
/// run, and what is under the name then.
fn with_a_bit_flipped(old: Option<&str>) -> (Outcome, Option<Vec<u8>>) {
    let (image, pair) = (Image::ext4(), Pair::new());
    let content = Dice::new(8).bytes(200_000);
    pair.source().file("file", &content);
    let target = image.directory("target");
    old.inspect(|old| std::fs::write(target.join("file"), old).unwrap());
    let sync = Pmirror::new().sync(pair.source_path(), &target).state_dir(pair.state_path()).arg("--verify");
    // The page cache is dropped after the flush: before that the disk is at our mercy.
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fadvise64:delay_enter=3000000"];
    let sync = sync.wrapped_by(&strace);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        let place = place_of(&image, &content[..64]);
        std::thread::sleep(Duration::from_millis(300));
        let disk = std::fs::OpenOptions::new().write(true).open(image.file()).unwrap();
        disk.write_all_at(&[content[100] ^ 4], place + 100).unwrap();
        run.join().unwrap()
    });
    (run, std::fs::read(target.join("file")).ok())
}

#[test]
fn a_disk_that_changes_a_bit_after_the_flush_is_found_out() {
    let (run, left) = with_a_bit_flipped(None);
    let run = run.exits(23);
    assert_differs(&run, "file");
    assert_eq!(left, None, "a wrong copy was left");
}

#[test]
fn what_was_to_be_replaced_stays_when_the_new_copy_is_wrong() {
    let (run, left) = with_a_bit_flipped(Some("the old content"));
    let run = run.exits(23);
    assert_differs(&run, "file");
    assert_eq!(left.as_deref(), Some(&b"the old content"[..]));
}
