//! Shapes that take minutes: run by `make campaign`. Each prints the row that
//! `docs/internals/campaign.md` keeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// Runs pmirror under time(1), and tells its seconds and the largest peak of a rank in MiB.
fn measured(sync: Pmirror, what: &str) -> (Outcome, f64, u64) {
    needs::program("time");
    let started = Instant::now();
    let run = sync.timeout(HOUR).wrapped_by(&["time", "-f", "peak %M KiB"]).run_unchecked();
    let seconds = started.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    let peaks = text.lines().filter_map(|line| line.strip_prefix("peak ")?.strip_suffix(" KiB")?.parse::<u64>().ok());
    let peak = peaks.max().expect("time tells the peak") / 1024;
    println!("| {what} | {seconds:.0} s | {peak} MiB |");
    (run, seconds, peak)
}

fn sync_of(source: &Path, target: &Path, state: &Path) -> Pmirror {
    Pmirror::new().args(&["sync", "-q"]).arg(source).arg(target).state_dir(state)
}

#[test]
#[ignore = "half an hour: twenty million calls over FUSE"]
fn ten_million_names_in_one_directory_take_half_a_gigabyte_at_most() {
    let pair = Pair::new();
    let source = FaultFs::synthetic(pair.source_path(), "10000000");
    let target = FaultFs::synthetic(pair.target_path(), "10000000");
    let sync = sync_of(source.path(), target.path(), &pair.state_path()).ranks(Ranks::Mpirun(2));
    let (run, _, peak) = measured(sync, "10,000,000 names in one directory, unchanged, 2 ranks of 4 threads");
    let run = run.exits(0);
    assert_eq!(run.count("file", "same"), 10_000_000);
    assert!(peak <= 512, "{peak} MiB");
}

/// Gives the target's directories another time than the source's, as deletes do.
fn move_times(target: &Path) {
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 9, tv_nsec: 9 },
        last_modification: rustix::fs::Timespec { tv_sec: 9, tv_nsec: 9 },
    };
    for outer in 0..1_000 {
        for inner in 0..1_000 {
            let path = target.join(format!("{outer}/{inner}"));
            rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
        }
    }
}

#[test]
#[ignore = "minutes: a million directories are made twice"]
fn a_million_empty_directories() {
    let pair = Pair::new();
    for index in 0..1_000 {
        let place = pair.source_path().join(format!("{index}"));
        std::fs::create_dir(&place).unwrap();
        (0..1_000).for_each(|inner| std::fs::create_dir(place.join(format!("{inner}"))).unwrap());
    }
    let sync = || sync_of(&pair.source_path(), &pair.target_path(), &pair.state_path()).ranks(Ranks::Mpirun(2));
    let (run, _, peak) = measured(sync(), "1,001,000 empty directories, first copy, 2 ranks of 4 threads");
    assert_eq!(run.exits(0).count("directory", "created"), 1_001_000);
    assert!(peak <= 512, "{peak} MiB");
    let (run, ..) = measured(sync(), "the same, unchanged");
    assert_eq!(run.exits(0).count("directory", "same"), 1_001_001);
    move_times(&pair.target_path());
    let mtimes = || {
        let (source, target) = (pair.source_path(), pair.target_path());
        Pmirror::new().args(&["mtimes", "-q"]).arg(source).arg(target).state_dir(pair.state_path())
    };
    let (run, _, peak) = measured(mtimes().ranks(Ranks::Mpirun(2)), "mtimes of these, a million times to be set");
    assert_eq!(run.exits(0).count("directory", "metadata_only"), 1_000_000);
    assert!(peak <= 512, "{peak} MiB");
    let (run, ..) = measured(mtimes().ranks(Ranks::Mpirun(2)), "the same, all right");
    assert_eq!(run.exits(0).count("directory", "same"), 1_001_001);
}

#[test]
#[ignore = "a minute"]
fn a_chain_of_5000_directories_with_long_names() {
    let pair = Pair::new();
    pair.source().chain(&"n".repeat(255), 5_000).file("leaf", "deep down");
    let sync = || sync_of(&pair.source_path(), &pair.target_path(), &pair.state_path());
    let (run, ..) = measured(sync(), "a chain of 5,000 directories with names of 255 bytes, first copy");
    assert_eq!(run.exits(0).count("file", "created"), 1);
    let (run, ..) = measured(sync(), "the same, unchanged");
    assert_eq!(run.exits(0).total("same"), 5_002);
}

/// A file of noise, each mebibyte another.
fn noise(path: &Path, mebibytes: u32) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut block: Vec<u8> = (0..1u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for number in 0..mebibytes {
        block[..4].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
#[ignore = "minutes and 32 GB of disk"]
fn every_rank_has_a_chunk_of_a_huge_file_nine_tenths_of_the_time() {
    let pair = Pair::new();
    noise(&pair.source_path().join("huge"), 16 << 10);
    let sync = sync_of(&pair.source_path(), &pair.target_path(), &pair.state_path());
    let sync = sync.args(&["--threads", "1"]).ranks(Ranks::Mpirun(4));
    let (run, ..) = measured(sync, "one file of 16 GiB, 4 ranks of 1 thread");
    let run = run.exits(0);
    let idle = |rank: &serde_json::Value| rank["idle_share"].as_f64().unwrap();
    let shares: Vec<f64> = run.summary()["ranks"].as_array().unwrap().iter().map(idle).collect();
    println!("idle shares of the ranks: {shares:.3?}");
    assert!(shares.iter().all(|&share| share <= 0.10), "{shares:?}");
    let same = Command::new("cmp").arg(pair.source_path().join("huge")).arg(pair.target_path().join("huge")).status();
    assert!(same.unwrap().success());
}

#[test]
#[ignore = "minutes: a million names of 300,000 inodes"]
fn a_million_hard_links_within_a_bound() {
    let pair = Pair::new();
    let (mut inode, mut left) = (0, 0);
    for name in 0..1_000_000u32 {
        let path = format!("{}/{name}", name % 1_000);
        if left == 0 {
            inode = name;
            left = 2 + name % 9;
            pair.source().file(&path, "");
        } else {
            let of = pair.source_path().join(format!("{}/{inode}", inode % 1_000));
            let place = pair.source_path().join(&path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::hard_link(of, place).unwrap();
        }
        left -= 1;
    }
    let sync = || sync_of(&pair.source_path(), &pair.target_path(), &pair.state_path()).ranks(Ranks::Mpirun(2));
    let (run, _, peak) = measured(sync(), "1,000,000 names in groups of 2 to 10, first copy, 2 ranks of 4 threads");
    assert_eq!(run.exits(0).total("failed"), 0);
    assert!(peak <= 512, "{peak} MiB");
    assert_same_links(pair.source_path(), pair.target_path());
    let (run, ..) = measured(sync(), "the same, unchanged");
    assert_eq!(run.exits(0).count("file", "same"), 1_000_000);
}

#[test]
#[ignore = "needs a terabyte of hole: seconds, but large files"]
fn a_terabyte_of_hole_costs_no_time_and_no_space() {
    let pair = Pair::new();
    std::fs::File::create(pair.source_path().join("hole")).unwrap().set_len(1 << 40).unwrap();
    let sync = sync_of(&pair.source_path(), &pair.target_path(), &pair.state_path());
    let (run, seconds, _) = measured(sync, "one file of 1 TiB that is a hole");
    run.exits(0);
    let allocated = std::os::unix::fs::MetadataExt::blocks(&pair.target_path().join("hole").metadata().unwrap()) * 512;
    assert!(seconds < 30.0 && allocated < 1 << 20, "{seconds} s, {allocated} bytes");
}
