//! The memory of a rank is bounded by a number, not by the size of the tree: what is beyond it waits in the run
//! directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use support::*;
use xxhash_rust::xxh3::Xxh3;

/// As little as one worker can do with.
const LITTLE: &[&str] = &["--threads", "1", "--buffer-size", "64K", "--max-memory", "48M"];

fn spilled(run: &Outcome) -> u64 {
    let ranks = run.summary()["ranks"].as_array().unwrap();
    ranks.iter().map(|rank| rank["items_spilled"].as_u64().unwrap()).sum()
}

/// A small table holds fewer than a thousand directories, as their paths are long.
fn wide(directories: u32) -> Pair {
    let pair = Pair::new();
    let place = pair.source_path().join(vec!["n".repeat(200); 8].join("/"));
    std::fs::create_dir_all(&place).unwrap();
    (0..directories).for_each(|index| std::fs::create_dir(place.join(format!("{index}"))).unwrap());
    std::fs::write(place.join("7/file"), "content").unwrap();
    pair
}

#[test]
fn what_is_beyond_the_bound_waits_in_the_run_directory() {
    let pair = wide(1_500);
    let run = pair.sync().args(LITTLE).run().exits(0);
    assert!(spilled(&run) > 0, "nothing was spilled");
    pair.assert_mirrored();
    let enough = Pair::new();
    enough.source().file("a", "content");
    assert_eq!(spilled(&enough.sync().run().exits(0)), 0);
}

#[test]
fn ranks_that_spill_are_stopped_and_go_on() {
    // More than three ranks together hold, however they share them.
    let pair = wide(3_500);
    let held_back = pair.sync().args(LITTLE).args(&["--ops-limit", "400/s", "--stop-at", "+2s"]);
    let stopped = held_back.ranks(Ranks::Mpirun(3)).run_id("r").run_unchecked().exits(75);
    let mut resume = Pmirror::new().arg("resume").arg(pair.state_path().join("r")).args(&["--max-memory", "48M"]);
    resume = resume.ranks(Ranks::Mpirun(2)).state_dir(pair.state_path()).run_id("r");
    let went_on = resume.run_unchecked().exits(0);
    assert!(spilled(&stopped) + spilled(&went_on) > 0, "nothing was spilled");
    pair.assert_mirrored();
}

#[test]
fn too_little_is_refused_with_the_number_that_would_do() {
    let pair = Pair::new();
    pair.source().file("a", "content");
    let sync = |memory| pair.sync().args(&["--threads", "4", "--max-memory", memory]);
    sync("20M").run_unchecked().refuses(1, &["--max-memory", "too little for 4 threads", "give at least"]);
    sync("256").run_unchecked().refuses(1, &["has no unit", "512M"]);
    sync("256M").run().exits(0);
}

#[test]
fn what_may_be_used_is_said_with_where_it_comes_from() {
    let pair = Pair::new();
    pair.source().file("a", "content");
    let run = pair.sync().args(&["-v", "--max-memory", "1G"]).run().exits(0).says("1.0 GiB of memory (--max-memory)");
    run.says("for each table");
    let granted = pair.sync().arg("-v").env("SLURM_MEM_PER_CPU", "400").env("SLURM_CPUS_PER_TASK", "2");
    granted.run().exits(0).says("600.0 MiB of memory (three quarters of Slurm's limit for its CPUs)");
}

/// The plan of a removal of so many directories, made from a plan that pmirror wrote. They were removed meanwhile.
fn plan_of(pair: &Pair, directories: u64, file: &Path) {
    pair.source().file("both/keep", "");
    pair.target().file("both/keep", "");
    pair.target().dir("both/gone");
    let short = pair.beside().path("short.jsonl");
    pair.rm().arg("--plan").arg(&short).run().exits(0);
    std::fs::remove_dir(pair.target_path().join("both/gone")).unwrap();
    let text = std::fs::read_to_string(short).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let find = |line: &str, path: &str| {
        let words = [format!("\"line\":\"{line}\""), format!("\"path\":\"{path}\"")];
        *lines.iter().find(|line| words.iter().all(|word| line.contains(word))).unwrap()
    };
    let (parent, entry, gone) = (find("directory", "both"), find("entry", "both/gone"), find("directory", "both/gone"));
    let (mut out, mut sum, mut written) = (BufWriter::new(std::fs::File::create(file).unwrap()), Xxh3::new(), 0);
    let mut put = |line: &str| {
        sum.update(line.as_bytes());
        sum.update(b"\n");
        writeln!(out, "{line}").unwrap();
        written += 1;
    };
    put(lines[0]);
    let of = |line: &str, index: u64| line.replace("both/gone", &format!("both/directory-{index:07}"));
    for index in 0..directories {
        if index % 60_000 == 0 {
            put(parent);
        }
        put(&of(entry, index));
    }
    (0..directories).for_each(|index| put(&of(gone, index)));
    let digest = sum.digest();
    let end = format!("{{\"line\":\"end\",\"lines\":{written},\"xxh3\":\"{digest:016x}\"}}\n");
    out.write_all(end.as_bytes()).unwrap();
    out.flush().unwrap();
}

const QUEUED: u64 = 5_000_000;
const MEBIBYTES_MAX: u64 = 256;

/// Runs it under time(1), and tells its seconds and the peak in MiB.
fn measured(run: Pmirror, how: &[&str], what: &str) -> Outcome {
    needs::program("time");
    let started = Instant::now();
    let run = run.timeout(Duration::from_secs(3_600)).wrapped_by(&[&["time", "-f", "peak %M KiB"], how].concat());
    let run = run.run_unchecked();
    let seconds = started.elapsed().as_secs();
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    let peaks = text.lines().filter_map(|line| line.strip_prefix("peak ")?.strip_suffix(" KiB")?.parse::<u64>().ok());
    let peak = peaks.max().expect("time tells the peak") / 1024;
    println!("| {what} | {seconds} s | {peak} MiB |");
    assert!(peak <= MEBIBYTES_MAX, "{peak} MiB");
    run
}

#[test]
#[ignore = "minutes, and some gigabytes of disk"]
fn five_million_queued_items_under_256_mib() {
    let pair = Pair::new();
    let file = pair.beside().path("plan.jsonl");
    plan_of(&pair, QUEUED, &file);
    let memory = format!("{MEBIBYTES_MAX}M");
    let apply = || {
        let bounded =
            ["--max-memory", &memory, "--threads", "4", "--max-delete", "10000000", "--checkpoint-interval", "3s"];
        pair.rm().args(&bounded).arg("-q").arg("--apply").arg(&file).state_dir(pair.state_path())
    };
    let whole =
        measured(apply(), &[], &format!("{QUEUED} queued items, one rank of 4 threads, --max-memory 256M")).exits(0);
    assert!(spilled(&whole) > QUEUED / 2, "{} items were spilled", spilled(&whole));
    let manifest = pair.state_path().join("r/checkpoint/manifest").display().to_string();
    let until = "\"$@\" & until [ -e $0 ]; do sleep 0.1; done; kill -USR1 $!; wait $!";
    let stopped =
        measured(apply().run_id("r"), &["bash", "-c", until, &manifest], "the same, stopped after a checkpoint");
    println!("{} items were left", stopped.exits(75).removals("unfinished"));
    let resume = Pmirror::new().arg("resume").arg(pair.state_path().join("r")).state_dir(pair.state_path());
    let resume = resume.run_id("r").args(&["-q", "--max-memory", &memory, "--checkpoint-interval", "3s"]);
    measured(resume, &[], "gone on with").exits(0);
}
