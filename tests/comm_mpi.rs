//! MPI itself: fragments, launchers that do not belong to the library, MPICH.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::{Pair, Pmirror, Ranks, needs};

fn mpirun(ranks: u32) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", &ranks.to_string()]);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command
}

#[test]
fn long_messages_come_whole_and_in_order() {
    let program = needs::pmirror().with_file_name("examples").join("fragments");
    let said = needs::run_ok(mpirun(2).arg(program));
    assert!(said.contains("all messages came whole"), "{said}");
}

#[test]
fn the_launcher_of_another_mpi_is_refused_before_anything_is_written() {
    let pair = Pair::without_target();
    pair.source().file("a", "content");
    needs::program("mpirun.mpich");
    let start = || {
        let mut mpirun = Command::new("mpirun.mpich");
        mpirun.args(["-n", "3"]).arg(needs::pmirror()).arg("sync").args([pair.source_path(), pair.target_path()]);
        mpirun.output().unwrap()
    };
    // That launcher itself may die of SIGPIPE when its tasks end before it has begun to look after them.
    let said = std::iter::repeat_with(start).take(20).find(|said| said.status.code().is_some()).unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("mpirun of Open MPI").count(), 1, "one of the tasks says it: {text}");
    assert!(!pair.target_path().exists());
}

#[test]
fn what_all_ranks_were_told_wrongly_is_said_once() {
    let pair = Pair::new();
    for wrong in [&["--sandbocks"][..], &["--max-memory", "256"]] {
        let run = pair.sync().ranks(Ranks::Mpirun(3)).args(wrong).run_unchecked();
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        let said =
            ["unexpected argument", "has no unit"].map(|words| text.matches(words).count()).iter().sum::<usize>();
        run.exits(1).context(|| assert_eq!(said, 1, "said by each rank, or by none"));
    }
}

#[test]
fn an_empty_sync_of_eight_ranks_ends_at_once() {
    let pair = Pair::new();
    let best = (0..3)
        .map(|_| pair.sync().ranks(Ranks::Mpirun(8)).timeout(Duration::from_secs(120)).run().exits(0))
        .map(|run| run.summary()["seconds"]["total"].as_f64().unwrap())
        .fold(f64::INFINITY, f64::min);
    assert!(best < 1.0, "{best} s after MPI_Init; benchmarks/ holds it to 0.3 s on a quiet machine");
}

/// A build of its own, as a program is bound to the MPI library that it was built with.
fn built_with_mpich() -> PathBuf {
    needs::program("mpicc.mpich");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = repository.join("target/mpich");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--quiet", "--bin", "pmirror"]).current_dir(repository);
    cargo.env("MPICC", "mpicc.mpich").env("CARGO_TARGET_DIR", &target);
    needs::run_ok(&mut cargo);
    target.join("release/pmirror")
}

#[test]
fn built_with_mpich_it_mirrors_under_mpichs_launcher() {
    let program = built_with_mpich();
    let pair = Pair::new();
    support::RandomTree::new(3, 300).build(&pair.source());
    let mut command = Command::new("mpirun.mpich");
    command.args(["-n", "3"]).arg(program).args(["sync", "--json", "--state-dir"]).arg(pair.state_path());
    let summary = needs::run_ok(command.args([pair.source_path(), pair.target_path()]));
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["ranks"].as_array().map(Vec::len), Some(3));
    pair.assert_mirrored();
}

#[test]
fn one_process_without_a_launcher_needs_no_mpi() {
    let pair = Pair::new();
    pair.source().file("a", "content");
    let run = Pmirror::new().sync(pair.source_path(), pair.target_path()).state_dir(pair.state_path());
    let run = run.env("OMPI_MCA_btl", "none").run().exits(0);
    assert_eq!(run.count("file", "created"), 1);
}
