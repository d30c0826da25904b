//! When a run is to stop by itself: at a time that was named, or before the Slurm allocation ends. Rank 0 alone
//! looks at a clock, and the others hear of it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Conclusion, end};
use crate::cli::time::local;
use crate::comm::Comm;
use crate::config::Config;
use crate::counters::Counters;
use crate::engine::{Ended, StopSign};
use crate::report;
use crate::sched::{Rank, Stop};
use crate::slurm::JobEnd;
use crate::wire;

/// So long before the allocation ends the run stops, unless told otherwise. Workers leave their items within
/// a chunk (64 MiB, some seconds where a server is slow); then each node makes durable what it has in memory
/// (syncfs): a fifth of its memory may wait there, 100 GiB, which at 1 GB/s takes two minutes.
const GRACE: Duration = Duration::from_secs(300);

/// A short allocation does not stop before it began: that grace is at most this part of what is left.
const GRACE_PART: u32 = 4;

/// So long the answer of squeue is waited for, by a thread of its own.
const SQUEUE_WAIT: Duration = Duration::from_secs(10);
const SQUEUE_LOOKS_EVERY: Duration = Duration::from_millis(50);

/// On rank 0: sets the deadline. Slurm may take its time to tell the end of the job, so a thread asks it.
pub fn set(config: &Config, stop_sign: &StopSign) {
    let verbose = config.verbose > 0;
    if let Some(time) = config.stop_at {
        stop_sign.want_at(time);
        say(verbose, &format!("the run stops at {} (--stop-at)", shown(time)));
    }
    let limit = Limit { grace: config.grace, verbose, stop_sign: stop_sign.clone() };
    match &config.job_end {
        JobEnd::None => {}
        JobEnd::At(end) => limit.hear(*end),
        JobEnd::Ask(job) => {
            let job = job.clone();
            // Where no thread can be had, the run begins no worker either, and says so.
            let _ = std::thread::Builder::new().name("squeue".to_owned()).spawn(move || match ask(&job) {
                Ok(end) => limit.hear(end),
                Err(why) => {
                    let instead = "stop in time with --stop-at or #SBATCH --signal=USR1@600";
                    say(verbose, &format!("the end of job {job} is not known ({why}): {instead}"));
                }
            });
        }
    }
}

/// The stop that rank 0 is asked for before anything was done. All ranks call it.
pub fn wanted_already(comm: &mut dyn Comm, stop_sign: &StopSign) -> Option<Stop> {
    let parts = comm.gather(wire::encode(&stop_sign.wanted(Timestamp::now())));
    wire::decode("wish of rank 0", parts.first()?).ok()?
}

/// The end of a run that is too late: nothing was written, and another start has more time.
pub fn too_late(comm: &dyn Comm, stop: Stop) -> Conclusion {
    let why = if stop == Stop::Time { "the time was up (--stop-at, --grace)" } else { "a signal came" };
    if comm.rank() == Rank::ROOT {
        report::say(&format!("{why} before the run began: nothing was done"));
    }
    Conclusion {
        exit_code: end::exit_code(&Counters::default(), Ended::Stopped(stop), None),
        summary: None,
        error: None,
    }
}

/// The end of the allocation, and how long before it the run stops.
struct Limit {
    grace: Option<Duration>,
    verbose: bool,
    stop_sign: StopSign,
}

impl Limit {
    fn hear(&self, end: Timestamp) {
        let grace = grace(self.grace, end, Timestamp::now());
        let Ok(time) = end.checked_sub(grace) else { return };
        self.stop_sign.want_at(time);
        let text = format!(
            "the run stops at {}, {} s before the end of the allocation (--grace)",
            shown(time),
            grace.as_secs()
        );
        say(self.verbose, &text);
    }
}

fn grace(asked: Option<Duration>, end: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    asked.unwrap_or_else(|| GRACE.min(left / GRACE_PART))
}

fn say(verbose: bool, text: &str) {
    if verbose {
        report::say(text);
    }
}

/// As a clock on the wall shows it, with the offset.
fn shown(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Asks Slurm when a job ends.
fn ask(job: &str) -> Result<Timestamp, String> {
    let mut squeue = Command::new("squeue");
    squeue.args(["-h", "-j", job, "-o", "%e"]).env_remove("SLURM_TIME_FORMAT");
    let said = said_within(&mut squeue, SQUEUE_WAIT)?;
    let said = said.trim();
    local(said, &TimeZone::system()).ok_or_else(|| format!("squeue says '{}'", said.escape_default()))
}

/// What a program prints, if it ends well within that time.
fn said_within(program: &mut Command, wait: Duration) -> Result<String, String> {
    let mut child = program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("squeue: {error}"))?;
    let began = Instant::now();
    // Its one line fits into the pipe, so it need not be read meanwhile.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < wait => std::thread::sleep(SQUEUE_LOOKS_EVERY),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("squeue did not answer within {} s", wait.as_secs()));
            }
            Err(error) => return Err(format!("squeue: {error}")),
        }
    };
    let mut said = String::new();
    let line_max = 4096;
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(line_max).read_to_string(&mut said);
    }
    if status.success() { Ok(said) } else { Err(format!("squeue: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn five_minutes_are_kept_of_a_long_allocation_and_a_quarter_of_a_short_one() {
        let kept = |left: i64| grace(None, at(1_000_000 + left), at(1_000_000)).as_secs();
        assert_eq!([86_400, 1_200, 60, 0, -60].map(kept), [300, 300, 15, 0, 0]);
        assert_eq!(grace(Some(Duration::from_secs(90)), at(60), at(0)).as_secs(), 90);
    }

    #[test]
    fn the_first_deadline_counts() {
        let stop_sign = StopSign::default();
        stop_sign.want_at(Timestamp::now().checked_add(Duration::from_secs(7200)).unwrap());
        let limit = Limit { grace: Some(Duration::from_secs(60)), verbose: false, stop_sign: stop_sign.clone() };
        let end = Timestamp::now().checked_add(Duration::from_secs(3600)).unwrap();
        limit.hear(end);
        let before = |seconds| stop_sign.wanted(end.checked_sub(Duration::from_secs(seconds)).unwrap());
        assert_eq!((before(61), before(60)), (None, Some(Stop::Time)));
    }

    fn shell(script: &str, wait: Duration) -> Result<String, String> {
        said_within(Command::new("sh").args(["-c", script]), wait)
    }

    #[test]
    fn a_program_that_hangs_is_not_waited_for() {
        assert_eq!(shell("echo 2026-11-21T17:30:00", SQUEUE_WAIT), Ok("2026-11-21T17:30:00\n".to_owned()));
        assert!(shell("exit 1", SQUEUE_WAIT).is_err());
        let began = Instant::now();
        assert!(shell("exec sleep 60", Duration::from_millis(200)).unwrap_err().contains("did not answer"));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
