//! What the lock says of the run that holds it, and of those that died before.

use serde::{Deserialize, Serialize};

use crate::fs::process::ProcessId;
use crate::pass::temporary::Attempt;
use crate::tree::{Doubt, Time};

/// What the lock says of its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The last durable point, see `stamp`. First of all, so that it lies in the file's first sector, and always
    /// of one length: it alone is written over.
    #[serde(default)]
    durable: String,
    pub(super) attempt: u64,
    pub(super) run_id: String,
    pub(super) host: String,
    pub(super) job: String,
    pub(super) pid: u32,
    /// Where `pid` means something: the boot, the name space, and the start of the process.
    boot: String,
    pid_namespace: String,
    pid_started: String,
    /// Attempts that died before this one on this target: their temporary names may be swept.
    pub(super) dead: Vec<u64>,
    /// When they wrote what is still to be compared: from, and up to.
    #[serde(default)]
    doubted: Option<(String, Option<String>)>,
    /// This attempt or a dead one makes new files in their place: only the time tells one that is not
    /// finished.
    #[serde(default)]
    pub(super) in_place: bool,
    /// This attempt makes no files at all, so it leaves nothing behind.
    #[serde(default)]
    pub(super) makes_none: bool,
    /// The holder ended in order, but did not look everywhere, or could not flush: what `dead` and `doubted` tell
    /// may still be there.
    #[serde(default)]
    pub(super) released: bool,
}

impl Holder {
    /// This process, for its lock. `files`: whether it makes new files in their place; `None` if it makes
    /// none at all.
    pub fn this_process(attempt: Attempt, run_id: &str, host: &str, job: &str, files: Option<bool>) -> Self {
        let ProcessId { pid, boot, pid_namespace, pid_started } = ProcessId::this();
        Self {
            durable: String::new(),
            attempt: attempt.0,
            run_id: run_id.to_owned(),
            host: host.to_owned(),
            job: job.to_owned(),
            pid,
            boot,
            pid_namespace,
            pid_started,
            dead: Vec::new(),
            doubted: None,
            in_place: files == Some(true),
            makes_none: files.is_none(),
            released: false,
        }
    }

    /// What the lock says, if that can be read. An empty one says that its holder wrote nothing yet: the lock's
    /// content is flushed before anything else is written.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What is to be thought of a holder that is dead, whose lock can not be read: nothing that could be swept,
    /// and the worst of its files, unless it had not even begun.
    pub fn unreadable(bytes: &[u8]) -> Self {
        let files = (!bytes.is_empty()).then_some(true);
        Self { run_id: "unknown".to_owned(), ..Self::this_process(Attempt(0), "", "", "", files) }
    }

    /// The same process, had it started at another time.
    #[cfg(test)]
    pub fn started_at(self, ticks: &str) -> Self {
        Self { pid_started: ticks.to_owned(), ..self }
    }

    /// As it stands in the lock.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The same holder with another durable point.
    pub fn durable_at(&self, point: Time) -> Self {
        Self { durable: stamp(point), ..self.clone() }
    }

    /// Whether both are one attempt, whatever else has changed.
    pub fn is(&self, other: &Holder) -> bool {
        self.attempt == other.attempt && self.pid == other.pid && self.boot == other.boot
    }

    /// What dead runs wrote that is still to be compared.
    pub fn doubt(&self) -> Option<Doubt> {
        let (since, until) = self.doubted.as_ref()?;
        // What can not be read is no limit.
        let since = time(since).unwrap_or(EARLIEST);
        Some(Doubt { since, until: until.as_deref().and_then(time) })
    }

    fn set_doubt(&mut self, doubt: Option<Doubt>) {
        self.doubted = doubt.map(|doubt| (stamp(doubt.since), doubt.until.map(stamp)));
    }

    /// What the holder itself wrote and never knew to be on the disk, and what it has from dead ones.
    fn doubt_of_all(&self) -> Doubt {
        let own = Doubt::since(time(&self.durable).unwrap_or(EARLIEST));
        self.doubt().map_or(own, |inherited| inherited.and(own))
    }

    /// Takes on what a holder left that is over.
    pub fn inherit(&mut self, before: &Holder) {
        self.in_place |= before.in_place;
        self.dead = before.dead.clone();
        let died_writing = !before.released && !before.makes_none;
        if died_writing {
            self.dead.push(before.attempt);
        }
        self.set_doubt(if died_writing { Some(before.doubt_of_all()) } else { before.doubt() });
    }

    /// Whether it has nothing from dead runs.
    pub fn inherits_nothing(&self) -> bool {
        self.dead.is_empty() && self.doubted.is_none()
    }

    /// The lock of a run that ended in order, and flushed what it wrote since `made`, but did not look at all
    /// that dead ones left.
    pub fn partly(self, made: Time) -> Self {
        let doubt = self.doubt().map(|doubt| doubt.ending(made));
        let mut holder = Self { released: true, ..self };
        holder.set_doubt(doubt);
        holder
    }

    /// The same of one that leaves temporary names of its own, for the next run to sweep.
    pub fn littered(self, made: Time) -> Self {
        let mut holder = self.partly(made);
        holder.dead.push(holder.attempt);
        holder
    }

    /// The lock of a run that ended in order, but does not know what of its files is on the disk.
    pub fn unflushed(self) -> Self {
        let doubt = self.doubt_of_all();
        let mut holder = Self { released: true, ..self };
        holder.dead.push(holder.attempt);
        holder.set_doubt(Some(doubt));
        holder
    }

    /// Whether the holder's process lives; `None` where its number means nothing to us.
    pub fn lives(&self, us: &Holder) -> Option<bool> {
        self.process().lives(&us.process())
    }

    fn process(&self) -> ProcessId {
        let (boot, pid_namespace) = (self.boot.clone(), self.pid_namespace.clone());
        ProcessId { pid: self.pid, boot, pid_namespace, pid_started: self.pid_started.clone() }
    }
}

const EARLIEST: Time = Time { seconds: i64::MIN, nanoseconds: 0 };

/// A time as the lock has it: always of one length, with a sum by which a torn one is told.
fn stamp(time: Time) -> String {
    let text = format!("{:+020}.{:09}", time.seconds, time.nanoseconds);
    let sum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    format!("{text} {sum:016x}")
}

fn time(stamp_text: &str) -> Option<Time> {
    let (text, _) = stamp_text.split_once(' ')?;
    let (seconds, nanoseconds) = text.split_once('.')?;
    let time = Time { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? };
    (stamp(time) == stamp_text).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_lives_and_one_that_started_at_another_time_does_not() {
        let us = Holder::this_process(Attempt(1), "r", "h", "", Some(true));
        assert_eq!(us.lives(&us), Some(true));
        let other = Holder { pid_started: "1".to_owned(), ..us.clone() };
        assert_eq!(other.lives(&us), Some(false));
        let elsewhere = Holder { boot: "another".to_owned(), ..us.clone() };
        assert_eq!(elsewhere.lives(&us), None);
    }

    fn at(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 5 }
    }

    fn holder(attempt: u64, made: i64) -> Holder {
        Holder::this_process(Attempt(attempt), "r", "h", "", Some(true)).durable_at(at(made))
    }

    /// The next run's lock after this one's.
    fn after(before: &Holder, made: i64) -> Holder {
        let mut next = holder(before.attempt + 1, made);
        next.inherit(before);
        next
    }

    #[test]
    fn what_a_dead_run_wrote_since_its_durable_point_is_doubted() {
        let dead = holder(1, 100).durable_at(at(300));
        let next = after(&dead, 500);
        assert_eq!((next.dead.clone(), next.doubt()), (vec![1], Some(Doubt::since(at(300)))));
    }

    #[test]
    fn the_earliest_point_of_several_dead_runs_is_carried_on() {
        let third = after(&after(&holder(1, 100), 200).durable_at(at(250)), 300);
        assert_eq!((third.dead.clone(), third.doubt()), (vec![1, 2], Some(Doubt::since(at(100)))));
    }

    #[test]
    fn a_run_that_ends_in_order_ends_the_time_of_doubt_but_not_the_doubt() {
        let partly = after(&holder(1, 100), 200).partly(at(200));
        let (doubt, next) = (Doubt { since: at(100), until: Some(at(200)) }, after(&partly, 300));
        assert_eq!((partly.doubt(), next.doubt(), next.dead), (Some(doubt), Some(doubt), vec![1]));
    }

    #[test]
    fn a_run_whose_flush_failed_is_doubted_like_a_dead_one() {
        let next = after(&holder(1, 100).unflushed(), 200);
        assert_eq!((next.dead.clone(), next.doubt()), (vec![1], Some(Doubt::since(at(100)))));
    }

    #[test]
    fn a_dead_run_that_makes_no_files_leaves_no_doubt_but_that_of_others() {
        let mut removing = Holder::this_process(Attempt(2), "r", "h", "", None).durable_at(at(200));
        assert_eq!(after(&removing, 300).doubt(), None);
        removing.inherit(&holder(1, 100));
        assert_eq!(after(&removing, 300).doubt(), Some(Doubt::since(at(100))));
    }

    #[test]
    fn a_lock_without_a_durable_point_doubts_all_and_an_empty_one_nothing() {
        let doubt = |before: &Holder| after(before, 300).doubt();
        assert_eq!(doubt(&Holder::unreadable(b"{torn")), Some(Doubt::since(EARLIEST)));
        let torn = Holder { durable: stamp(at(100)).replace('1', "2"), ..holder(1, 100) };
        assert_eq!(doubt(&torn), Some(Doubt::since(EARLIEST)));
        assert_eq!(doubt(&Holder::unreadable(b"")), None);
    }

    #[test]
    fn a_later_point_is_written_over_an_earlier_one() {
        let (early, late) =
            (holder(1, 0).to_bytes(), holder(1, 0).durable_at(Time { seconds: -1, ..at(0) }).to_bytes());
        assert_eq!(early.len(), late.len());
        let differs = early.iter().zip(&late).rposition(|(a, b)| a != b);
        assert!(differs.is_some_and(|last| last < 512), "all in one sector");
        assert_eq!(Holder::from_bytes(&late).map(|holder| holder.to_bytes()), Some(late));
    }
}
