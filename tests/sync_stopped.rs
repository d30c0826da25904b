//! Runs that are asked to stop: by signals, by the time, by the end of the allocation, by a rank that falls
//! silent. They leave in order with a code that tells why, and the same command goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use support::compare::assert_unwritten;
use support::*;

const FILES: usize = 300;

/// A source of small files, which a slow run needs some seconds for.
fn pair() -> Pair {
    let pair = Pair::new();
    for index in 0..FILES {
        pair.source().file(format!("d{}/{index}", index % 20), format!("content {index}"));
    }
    pair
}

/// A copy that is held back: 1.5 s of work, or more.
fn slow(pair: &Pair) -> Pmirror {
    pair.sync().args(&["--ops-limit", "200/s", "--threads", "2"])
}

fn copied(pair: &Pair) -> usize {
    pair.target_now().entries.values().filter(|seen| seen.kind() == "file").count()
}

/// Runs it, and does something when the first files are there.
fn while_running(pair: &Pair, sync: &Pmirror, meanwhile: impl FnOnce()) -> Outcome {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        while !(0..20).any(|index| pair.target_path().join(format!("d{index}")).exists()) {
            assert!(!run.is_finished(), "the run was too quick");
            std::thread::sleep(Duration::from_millis(5));
        }
        meanwhile();
        run.join().unwrap()
    })
}

/// The process of a rank of the run on this pair; without a launcher there is only rank 0.
fn process(pair: &Pair, rank: u32) -> Pid {
    let target = pair.target_path();
    let of_rank = format!("OMPI_COMM_WORLD_RANK={rank}");
    let has = |path: std::path::PathBuf, word: &[u8]| {
        let words = std::fs::read(path).unwrap_or_default();
        words.split(|&byte| byte == 0).any(|part| part == word)
    };
    let is_it = |process: &Path| {
        let program = std::fs::read_link(process.join("exe")).unwrap_or_default();
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        let is_launched = environment.windows(20).any(|part| part == b"OMPI_COMM_WORLD_RANK");
        program.ends_with("pmirror")
            && has(process.join("cmdline"), target.as_os_str().as_encoded_bytes())
            && (!is_launched && rank == 0 || has(process.join("environ"), of_rank.as_bytes()))
    };
    let mut processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let found = processes.find(|process| is_it(process)).unwrap_or_else(|| panic!("there is no rank {rank}"));
    Pid::from_raw(found.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

fn send(pair: &Pair, rank: u32, signal: Signal) {
    kill(process(pair, rank), signal).unwrap();
}

fn says(run: &Outcome, words: &str) {
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    run.context(|| assert!(said.contains(words), "stderr does not say {words:?}"));
}

fn stopped_too_late(run: &Outcome) -> bool {
    run.count("file", "created") == FILES as u64
}

/// It left in order before its work was done, and the same command goes on.
fn assert_goes_on(pair: &Pair, stopped: &Outcome) {
    stopped.assert_books_balance();
    stopped.context(|| assert!(!stopped_too_late(stopped), "it was stopped too late to show anything"));
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn signals_stop_a_run_with_the_code_that_tells_why() {
    for (signal, code, why) in [
        (Signal::SIGUSR1, 75, "the time is up"),
        (Signal::SIGXCPU, 75, "the time is up"),
        (Signal::SIGINT, 20, "a signal came"),
    ] {
        let pair = pair();
        let stopped = while_running(&pair, &slow(&pair), || send(&pair, 0, signal)).exits(code);
        says(&stopped, &format!("stopping, as {why}"));
        assert_goes_on(&pair, &stopped);
    }
}

#[test]
fn a_checkpoint_comes_into_force_although_the_next_is_due_sooner() {
    let pair = pair();
    let sync =
        pair.sync().args(&["--ops-limit", "60/s", "--threads", "2", "--checkpoint-interval", "1s"]).run_id("run");
    let checkpoint = pair.state_path().join("run/checkpoint");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| sync.run_unchecked());
        let headway = || std::fs::read_to_string(checkpoint.join("headway")).unwrap_or_default();
        while !headway().split(' ').next().is_some_and(|steps| steps.parse().is_ok_and(|steps: u32| steps > 0)) {
            assert!(!run.is_finished(), "no checkpoint came into force");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(checkpoint.join("manifest").exists());
        send(&pair, 0, Signal::SIGUSR1);
        run.join().unwrap().exits(75);
    });
}

#[test]
fn a_lost_terminal_stops_nothing() {
    let pair = pair();
    while_running(&pair, &slow(&pair), || send(&pair, 0, Signal::SIGHUP)).exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_log_that_nobody_takes_stops_nothing() {
    let pair = pair();
    let closed = "exec 2> >(:); sleep 0.1; exec \"$@\"";
    pair.sync().arg("-v").wrapped_by(&["bash", "-c", closed, "bash"]).run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn two_signals_of_slurm_are_one() {
    let pair = pair();
    let twice = || {
        send(&pair, 0, Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(20));
        let _ = kill(process(&pair, 0), Signal::SIGTERM);
    };
    // Long enough in a file that the second comes before the end.
    let slow_writes = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwrite64:delay_enter=300000"];
    let sync = pair.sync().args(&["--threads", "2"]).wrapped_by(&slow_writes);
    let stopped = while_running(&pair, &sync, twice).exits(20);
    assert_goes_on(&pair, &stopped);
}

#[test]
fn who_asks_again_after_a_while_is_obeyed_at_once() {
    let pair = pair();
    let twice = || {
        // Rank 0 would wait for it.
        send(&pair, 1, Signal::SIGSTOP);
        send(&pair, 0, Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(5_200));
        send(&pair, 0, Signal::SIGTERM);
    };
    let began = Instant::now();
    let left = while_running(&pair, &slow(&pair).ranks(Ranks::Mpirun(2)), twice).exits(20);
    assert!(began.elapsed() < Duration::from_secs(15), "it waited for what hangs");
    says(&left, "SIGTERM once more: leaving at once");
    assert!(left.summary.is_none());
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_signal_to_one_rank_stops_all() {
    for (signal, code) in [(Signal::SIGTERM, 20), (Signal::SIGUSR1, 75)] {
        let pair = pair();
        // mpirun kills the others when the first of them leaves with an error.
        let record = "\"$@\"; code=$?; echo $code >> \"$OUT/codes\"; sleep 0.5; exit $code";
        let sync = slow(&pair).ranks(Ranks::Mpirun(3)).env("OUT", pair.top_path());
        let sync = sync.wrapped_by(&["sh", "-c", record, "sh"]);
        let stopped = while_running(&pair, &sync, || send(&pair, 2, signal)).exits(code);
        let codes = std::fs::read_to_string(pair.beside().path("codes")).unwrap();
        assert_eq!(codes, format!("{code}\n").repeat(3));
        assert_goes_on(&pair, &stopped);
    }
}

/// Runs a copy of ten seconds that is to stop after so many, on a pair of its own. How long the ranks need to
/// start is the machine's business: they get more if the time was up before.
fn stopped_after_seconds(sync: impl Fn(&Pair, i64) -> Pmirror) -> (Pair, Outcome) {
    for seconds in [1, 3, 8] {
        let pair = pair();
        let stopped = sync(&pair, seconds).args(&["--threads", "2", "--ops-limit", "60/s", "-v"]).run_unchecked();
        if stopped.summary.is_some() {
            return (pair, stopped.exits(75));
        }
        says(&stopped, "nothing was done");
    }
    panic!("the ranks were never started in time");
}

#[test]
fn a_run_stops_at_the_time_that_was_named() {
    for ranks in [Ranks::One, Ranks::Mpirun(3)] {
        let at = |seconds| format!("--stop-at=+{seconds}s");
        let (pair, stopped) = stopped_after_seconds(|pair, seconds| pair.sync().ranks(ranks).arg(at(seconds)));
        says(&stopped, "(--stop-at)");
        assert_goes_on(&pair, &stopped);
    }
}

#[test]
fn a_run_whose_time_is_up_writes_nothing() {
    for ranks in [Ranks::One, Ranks::Mpirun(2)] {
        let pair = pair();
        let before = pair.target_now();
        let late = pair.sync().ranks(ranks).args(&["--stop-at", "2020-01-01T00:00:00Z"]).run_unchecked().exits(75);
        says(&late, "nothing was done");
        assert_unwritten(&before, &pair.target_now(), "a run that was too late wrote to the target");
        assert_eq!(std::fs::read_dir(pair.state_path()).unwrap().count(), 0);
    }
    let pair = pair();
    let in_job = pair.sync().env("SLURM_JOB_ID", "7").env("SLURM_JOB_END_TIME", in_seconds(60).as_second().to_string());
    says(&in_job.clone().args(&["--grace", "2m"]).run_unchecked().exits(75), "nothing was done");
    in_job.run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn a_time_that_is_none_is_refused_with_examples() {
    let pair = Pair::new();
    for bad in ["25:00", "noon", "2h", "1830"] {
        pair.sync().args(&["--stop-at", bad]).run_unchecked().refuses(1, &[bad, "18:30", "+2h30m"]);
    }
    for option in ["--grace", "--rank-timeout"] {
        pair.sync().args(&[option, "10"]).run_unchecked().refuses(1, &[option, "90s", "10m"]);
    }
    pair.sync().args(&["--rank-timeout", "0s"]).run_unchecked().refuses(1, &["a second at least"]);
}

fn in_seconds(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap()
}

#[test]
fn a_run_stops_before_its_allocation_ends() {
    let (pair, stopped) = stopped_after_seconds(|pair, seconds| {
        let end = in_seconds(30 + seconds).as_second().to_string();
        pair.sync().arg("--grace=30s").env("SLURM_JOB_ID", "7").env("SLURM_JOB_END_TIME", end)
    });
    says(&stopped, "30 s before the end of the allocation");
    assert_goes_on(&pair, &stopped);
}

/// A directory with a program `squeue` that does this.
fn with_squeue(pair: &Pair, script: &str) -> Pmirror {
    let program = pair.beside().path("bin/squeue");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    pair.sync().env("SLURM_JOB_ID", "7").env("PATH", path)
}

#[test]
fn older_slurm_is_asked_when_the_allocation_ends() {
    let (pair, stopped) = stopped_after_seconds(|pair, seconds| {
        let end = in_seconds(30 + seconds).to_zoned(jiff::tz::TimeZone::system());
        let script = format!("[ \"$*\" = '-h -j 7 -o %e' ] && echo {}", end.strftime("%Y-%m-%dT%H:%M:%S"));
        with_squeue(pair, &script).arg("--grace=30s")
    });
    says(&stopped, "30 s before the end of the allocation");
    assert_goes_on(&pair, &stopped);
}

#[test]
fn a_slurm_that_does_not_answer_holds_nothing_up() {
    for (script, said) in [("exec sleep 12", ""), ("exit 1", "is not known"), ("echo N/A", "squeue says 'N/A'")] {
        let pair = pair();
        let began = Instant::now();
        let run = with_squeue(&pair, script).args(&["--ops-limit", "200/s", "-v"]).run().exits(0);
        assert!(began.elapsed() < Duration::from_secs(20), "the run waited for squeue");
        says(&run, said);
        pair.assert_mirrored();
    }
}

#[test]
fn a_rank_that_is_stopped_for_a_while_delays_only_its_own_items() {
    let pair = pair();
    let sync = slow(&pair).ranks(Ranks::Mpirun(3)).args(&["--rank-timeout", "60s"]);
    let mut others = 0;
    let run = while_running(&pair, &sync, || {
        send(&pair, 2, Signal::SIGSTOP);
        let before = copied(&pair);
        std::thread::sleep(Duration::from_millis(4_000));
        others = copied(&pair) - before;
        send(&pair, 2, Signal::SIGCONT);
    });
    run.exits(0);
    assert!(others > FILES / 3, "the others made {others} files meanwhile");
    pair.assert_mirrored();
}

#[test]
fn a_rank_that_is_silent_for_too_long_ends_the_job() {
    let pair = pair();
    let sync = slow(&pair).ranks(Ranks::Mpirun(3)).args(&["--rank-timeout", "2s"]);
    let began = Instant::now();
    let lost = while_running(&pair, &sync, || send(&pair, 2, Signal::SIGSTOP)).exits(11);
    assert!(began.elapsed() < Duration::from_secs(20));
    says(&lost, "pmirror: rank 2 on ");
    says(&lost, "has not answered rank 0 on ");
    pair.sync().run().exits(0);
    pair.assert_mirrored();
}

#[test]
fn what_users_keep_to_themselves_is_in_no_core_dump() {
    let pair = pair();
    let mut limits = String::new();
    while_running(&pair, &slow(&pair), || {
        limits = std::fs::read_to_string(format!("/proc/{}/limits", process(&pair, 0))).unwrap();
    })
    .exits(0);
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}

/// The roots were opened once: their names are the operator's, who may change them.
#[test]
fn a_run_goes_on_in_the_directories_that_it_opened_whatever_becomes_of_their_paths() {
    let pair = pair();
    let moved = ["moved source", "moved target"].map(|name| pair.beside().path(name));
    while_running(&pair, &slow(&pair), || {
        std::fs::rename(pair.source_path(), &moved[0]).unwrap();
        std::fs::rename(pair.target_path(), &moved[1]).unwrap();
        std::fs::create_dir(pair.source_path()).unwrap();
        std::fs::create_dir(pair.target_path()).unwrap();
    })
    .exits(0);
    assert_same(&moved[0], &moved[1]);
    assert_eq!(Snapshot::paths(pair.target_path()).len(), 1, "nothing was written to what has the path now");
}
