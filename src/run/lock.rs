//! One run at a time on a target: the lock in `DST/.pmirror/`, which also tells the next run that this
//! one did not end well.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::fault::{Error, Failure};
use crate::fs::operator::{system_file, system_link};
use crate::fs::private::Private;
use crate::fs::{Fd, attributes};
use crate::pass::temporary::Attempt;

const LOCK: &CStr = c"lock";

/// How often the holder shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A lock whose time has not moved for so long is a dead run's. Only changes are looked at, no
/// clocks compared.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A process that was just killed takes a moment to be gone: only one that lives so long is alive.
const DEATH_MAX: Duration = Duration::from_secs(3);

/// What the lock says of its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    attempt: u64,
    run_id: String,
    host: String,
    job: String,
    pid: u32,
    /// Where `pid` means something: the boot, the name space, and the start of the process.
    boot: String,
    pid_namespace: String,
    pid_started: String,
    /// Attempts that died before this one on this target: their temporary names may be swept.
    dead: Vec<u64>,
    /// This attempt or a dead one makes new files in their place: only the time tells one that is not
    /// finished.
    #[serde(default)]
    in_place: bool,
    /// This attempt makes no files at all, so it leaves nothing behind.
    #[serde(default)]
    makes_none: bool,
    /// The holder ended well, but did not look everywhere: what the dead ones left may still be there.
    #[serde(default)]
    released: bool,
}

/// What a run leaves for the next one to sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing: it has looked everywhere.
    Nothing,
    /// What dead runs left may still be there.
    Older,
    /// Temporary names of its own too: it could not wait for some of its workers.
    Own,
}

/// The lock, held.
#[derive(Debug)]
pub struct Lock {
    dead: Vec<Attempt>,
    holder: Holder,
    released: Arc<AtomicBool>,
}

impl Lock {
    /// Takes the lock, after a dead run too; waits to see whether its holder lives, at most 20 s.
    /// `make` makes the private directory, which a run that just ends may take away under us.
    pub fn take(make: impl Fn() -> Result<Private, Error>, mut holder: Holder) -> Result<(Private, Self), Error> {
        loop {
            let private = make()?;
            match private.create(LOCK, &holder.to_bytes()) {
                Ok(file) => return Ok((private, Self::held(holder, file))),
                Err(failure) if failure.errno == Errno::ENOENT as i32 => continue,
                Err(failure) if failure.errno == Errno::EEXIST as i32 => {}
                Err(failure) => return Err(unusable(failure)),
            }
            if let Some(dead) = wait_for_sign_of_life(&private, &holder)? {
                if dead.in_place && !holder.in_place && !holder.makes_none {
                    return Err(unfinished(&dead));
                }
                holder.in_place |= dead.in_place;
                holder.dead = dead.dead.clone();
                if !dead.released && !dead.makes_none {
                    holder.dead.push(dead.attempt);
                }
                let lock = take_over(&private, holder)?;
                return Ok((private, lock));
            }
        }
    }

    fn held(holder: Holder, file: Fd) -> Self {
        let released = Arc::new(AtomicBool::new(false));
        let dead = holder.dead.iter().copied().map(Attempt).collect();
        let stop = Arc::clone(&released);
        std::thread::spawn(move || beat(&file, &stop));
        Self { dead, holder, released }
    }

    /// Attempts on this target that are proven to have ended.
    pub fn dead(&self) -> &[Attempt] {
        &self.dead
    }

    /// Gives the lock back. It stays if another run has taken it meanwhile. After a dead run it also stays
    /// until a run has looked everywhere, so that the next one knows what to sweep.
    pub fn release(self, private: &Private, leaves: Leaves) -> Result<(), Failure> {
        self.released.store(true, Ordering::Relaxed);
        if private.read(LOCK).is_ok_and(|content| content != self.holder.to_bytes()) {
            return Ok(());
        }
        let mut dead = if leaves == Leaves::Nothing { Vec::new() } else { self.holder.dead.clone() };
        if leaves == Leaves::Own && !self.holder.makes_none {
            dead.push(self.holder.attempt);
        }
        if dead.is_empty() {
            return private.remove(LOCK);
        }
        let holder = Holder { released: true, dead, ..self.holder };
        let mine = lock_of(&holder);
        private.create(&mine, &holder.to_bytes())?.close()?;
        private.rename(&mine, LOCK)
    }
}

fn unusable(failure: Failure) -> Error {
    let errno = Errno::from_raw(failure.errno);
    Error::Fatal(format!("the lock in DST/.pmirror can not be used: {}: {} ({errno})", failure.operation, errno.desc()))
}

/// Touches the lock until it is released.
fn beat(file: &Fd, released: &AtomicBool) {
    let step = Duration::from_millis(200);
    let steps = u32::try_from(HEARTBEAT.as_millis() / step.as_millis()).unwrap_or(1);
    while !released.load(Ordering::Relaxed) {
        for _ in 0..steps {
            std::thread::sleep(step);
            if released.load(Ordering::Relaxed) {
                return;
            }
        }
        let _ = attributes::touch(file);
    }
}

/// Whether the lock's holder is dead: `Some` with what it left, `None` when the lock has gone
/// meanwhile. An error when it lives. Waits until it is sure.
fn wait_for_sign_of_life(private: &Private, us: &Holder) -> Result<Option<Holder>, Error> {
    let started = Instant::now();
    let first = look(private)?;
    loop {
        let now = look(private)?;
        let Some((bytes, _)) = &now else { return Ok(None) };
        let holder: Option<Holder> = serde_json::from_slice(bytes).ok();
        if holder.as_ref().is_some_and(|holder| holder.released) {
            return Ok(holder);
        }
        let lives = holder.as_ref().and_then(|holder| holder.lives(us));
        let waited = started.elapsed();
        match lives {
            Some(false) => return Ok(holder),
            Some(true) if waited >= DEATH_MAX => return Err(held_by(holder.as_ref())),
            None if now != first => return Err(held_by(holder.as_ref())),
            None if waited >= SILENCE_MAX => return Ok(Some(holder.unwrap_or_else(Holder::unreadable))),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

type Look = Option<(Vec<u8>, crate::tree::Time)>;

fn look(private: &Private) -> Result<Look, Error> {
    match private.read(LOCK).and_then(|bytes| Ok((bytes, private.attributes(LOCK)?.mtime))) {
        Ok(look) => Ok(Some(look)),
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(None),
        Err(failure) => Err(unusable(failure)),
    }
}

fn unfinished(dead: &Holder) -> Error {
    Error::Refused(format!(
        "run {} on DST did not end well: it may have left files that are not finished, which only their times tell; run \
         once without --update, --size-only, --no-times and --modify-window",
        dead.run_id
    ))
}

fn lock_of(holder: &Holder) -> std::ffi::CString {
    std::ffi::CString::new(format!("lock-{:016x}", holder.attempt)).unwrap_or_default()
}

fn held_by(holder: Option<&Holder>) -> Error {
    let who = holder.map_or_else(
        || "a run that is just starting".to_owned(),
        |holder| {
            let job = if holder.job.is_empty() { String::new() } else { format!(", Slurm job {}", holder.job) };
            format!("run {} (host {}, process {}{job})", holder.run_id, holder.host, holder.pid)
        },
    );
    Error::Refused(format!("DST is being written by {who}: wait for it to end, or end it"))
}

/// Renames our lock over the dead one; of several that try, the last one has it.
fn take_over(private: &Private, holder: Holder) -> Result<Lock, Error> {
    let mine = lock_of(&holder);
    let file = private.create(&mine, &holder.to_bytes()).map_err(unusable)?;
    private.rename(&mine, LOCK).map_err(unusable)?;
    std::thread::sleep(Duration::from_millis(300));
    if private.read(LOCK).map_err(unusable)? != holder.to_bytes() {
        return Err(held_by(None));
    }
    Ok(Lock::held(holder, file))
}

impl Holder {
    /// This process, for its lock. `files`: whether it makes new files in their place; `None` if it makes
    /// none at all.
    pub fn this_process(attempt: Attempt, run_id: &str, host: &str, job: &str, files: Option<bool>) -> Self {
        let pid = std::process::id();
        Self {
            attempt: attempt.0,
            run_id: run_id.to_owned(),
            host: host.to_owned(),
            job: job.to_owned(),
            pid,
            boot: system_file("/proc/sys/kernel/random/boot_id"),
            pid_namespace: system_link("/proc/self/ns/pid"),
            pid_started: Process::look(pid).started,
            dead: Vec::new(),
            in_place: files == Some(true),
            makes_none: files.is_none(),
            released: false,
        }
    }

    /// What an unreadable lock says: nothing that could be swept, and the worst of its files.
    fn unreadable() -> Self {
        Self { run_id: "unknown".to_owned(), ..Self::this_process(Attempt(0), "", "", "", Some(true)) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the holder's process lives; `None` where its number means nothing to us.
    fn lives(&self, us: &Holder) -> Option<bool> {
        let comparable = !self.boot.is_empty() && self.boot == us.boot && self.pid_namespace == us.pid_namespace;
        comparable.then(|| {
            let process = Process::look(self.pid);
            !self.pid_started.is_empty() && process.started == self.pid_started && !process.is_dead
        })
    }
}

/// What /proc/PID/stat tells of a process (proc(5)).
#[derive(Debug, Default)]
struct Process {
    /// Ticks since boot, field 22; empty when there is no such process.
    started: String,
    /// It only waits to be reaped, and its last thread is gone: it writes no more.
    is_dead: bool,
}

impl Process {
    fn look(pid: u32) -> Self {
        let stat = system_file(&format!("/proc/{pid}/stat"));
        // The second field, the command's name, may hold spaces and brackets.
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let is_dead = matches!(field(3), "Z" | "X") && matches!(field(20), "0" | "1");
        Self { started: field(22).to_owned(), is_dead }
    }
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
}
