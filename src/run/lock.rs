//! One run at a time on a target: the lock in `DST/.pmirror/`, which also tells the next run that this
//! one did not end well.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::holder::Holder;
use crate::engine::{DurablePoints, no_thread};
use crate::fault::{Error, Failure};
use crate::fs::private::Private;
use crate::fs::{Fd, attributes, data, remedy};
use crate::pass::temporary::Attempt;
use crate::report::say;
use crate::tree::{Doubt, Time};

const LOCK: &CStr = c"lock";

/// How often the holder shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A lock whose time has not moved for so long is a dead run's. Only changes are looked at, no
/// clocks compared.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A process that was just killed takes a moment to be gone: only one that lives so long is alive.
const DEATH_MAX: Duration = Duration::from_secs(3);

/// How a run ends that gives the lock back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All is flushed, and it looked at everything.
    Whole,
    /// All is flushed, but it did not look at everything: what dead runs left is the next one's.
    Partly,
    /// The same, and something of its own stays that it could not take away.
    Littered,
    /// What it wrote is perhaps not on the disk: the next run is to think of it as of a dead one.
    Unflushed,
}

/// The lock, held.
#[derive(Debug, Clone)]
pub struct Lock {
    holder: Holder,
    /// When it was taken, by the target's clock.
    made: Time,
    file: Arc<Fd>,
    released: Arc<AtomicBool>,
}

impl Lock {
    /// Takes the lock, after a dead run too; waits to see whether its holder lives, at most 20 s.
    /// `make` makes the private directory, which a run that just ends may take away under us.
    pub fn take(make: impl Fn() -> Result<Private, Error>, mut holder: Holder) -> Result<(Private, Self), Error> {
        loop {
            let private = make()?;
            match create_whole(&private, &holder) {
                Ok((holder, made, file)) => {
                    private.flush_names().map_err(unusable)?;
                    let held = Self::held(holder, made, file).inspect_err(|_| _ = private.remove(LOCK))?;
                    return Ok((private, held));
                }
                Err(failure) if failure.errno == Errno::ENOENT as i32 => continue,
                Err(failure) if failure.errno == Errno::EEXIST as i32 => {}
                Err(failure) => return Err(unusable(failure)),
            }
            if let Some(dead) = wait_for_sign_of_life(&private, &holder)? {
                if dead.in_place && !holder.in_place && !holder.makes_none {
                    return Err(unfinished(&dead));
                }
                holder.inherit(&dead);
                let lock = take_over(&private, &dead, &holder)?;
                return Ok((private, lock));
            }
        }
    }

    fn held(holder: Holder, made: Time, file: Fd) -> Result<Self, Error> {
        let (file, released) = (Arc::new(file), Arc::new(AtomicBool::new(false)));
        let (beats, stop) = (Arc::clone(&file), Arc::clone(&released));
        let thread = std::thread::Builder::new().name("lock".to_owned());
        thread.spawn(move || beat(&beats, &stop)).map_err(|error| no_thread("the thread of the lock", &error))?;
        Ok(Self { holder, made, file, released })
    }

    /// Attempts on this target that are proven to have ended.
    pub fn dead(&self) -> Vec<Attempt> {
        self.holder.dead.iter().copied().map(Attempt).collect()
    }

    /// What they wrote that nobody knows to be on the disk.
    pub fn doubt(&self) -> Option<Doubt> {
        self.holder.doubt()
    }

    /// The time, by the target's clock, that becomes the durable point when every node's `syncfs` that begins
    /// after this has succeeded: the time that the target's file system gives the lock now.
    pub fn durable_point_begins(&self) -> Result<Time, Error> {
        let touched = attributes::touch(&self.file).and_then(|()| attributes::of_fd(&self.file));
        touched.map(|lock| lock.mtime).map_err(unusable)
    }

    /// All that was written before `point` is on the disk. The lock is written over in place, by our own
    /// descriptor: should another run have taken it by its name, what we write goes nowhere, and we learn of it. A
    /// renamed file would win the lock back. The point has one length and lies in the first sector.
    pub fn durable_point_reached(&self, private: &Private, point: Time) -> Result<(), Error> {
        if !is_lock_of(private, &self.holder).map_err(unusable)? {
            return Err(Error::Fatal("another run has taken DST: this one was thought to be dead. Let that one end, then run the same command".to_owned()));
        }
        data::overwrite(&self.file, &self.holder.durable_at(point).to_bytes()).map_err(unusable)
    }

    /// Gives the lock back. It stays if another run has taken it meanwhile. After a dead run, or one whose files
    /// are perhaps not on the disk, it also stays until a run has looked at everything, so that the next one knows
    /// what to sweep and what to compare.
    pub fn release(self, private: &Private, ending: Ending) -> Result<(), Failure> {
        self.released.store(true, Ordering::Relaxed);
        if !is_lock_of(private, &self.holder)? {
            return Ok(());
        }
        // With the last durable point, which the lock has by now.
        let held = private.read(LOCK).ok().and_then(|bytes| Holder::from_bytes(&bytes)).unwrap_or(self.holder);
        let left = match ending {
            Ending::Whole => None,
            Ending::Partly if held.inherits_nothing() => None,
            Ending::Partly => Some(held.partly(self.made)),
            Ending::Littered => Some(held.littered(self.made)),
            Ending::Unflushed => Some(held.unflushed()),
        };
        match left {
            None => private.remove(LOCK)?,
            Some(left) => {
                let mine = name_of(&left);
                private.create(&mine, &left.to_bytes())?.close()?;
                private.rename(&mine, LOCK)?;
            }
        }
        // Else, should the power go now, the next run thinks that this one died: it reads more, and no harm is done.
        let _ = private.flush_names();
        Ok(())
    }
}

/// The durable points of a run, for its checkpoints.
pub struct Points {
    private: Private,
    lock: Lock,
    begun: Option<Time>,
}

impl Points {
    /// Those that a lock on this target tells.
    pub fn new(lock: &Lock, target: &Fd) -> Result<Self, Error> {
        Ok(Self { private: Private::open(target).map_err(unusable)?, lock: lock.clone(), begun: None })
    }
}

impl DurablePoints for Points {
    fn begin(&mut self) -> Result<(), Error> {
        self.begun = Some(self.lock.durable_point_begins()?);
        Ok(())
    }

    fn reached(&mut self) -> Result<(), Error> {
        self.begun.take().map_or(Ok(()), |point| self.lock.durable_point_reached(&self.private, point))
    }
}

/// Whether the lock is still this holder's. An unreadable one is another's.
fn is_lock_of(private: &Private, holder: &Holder) -> Result<bool, Failure> {
    match private.read(LOCK) {
        Ok(bytes) => Ok(Holder::from_bytes(&bytes).is_some_and(|found| found.is(holder))),
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Makes the lock with its content, or not at all: an empty one says nothing of its holder, so the next run would
/// have to wait whether it lives. Under a name of its own first, where the file system has hard links.
fn create_whole(private: &Private, holder: &Holder) -> Result<(Holder, Time, Fd), Failure> {
    let mine = name_of(holder);
    let made = create(private, &mine, holder);
    let linked = if made.is_ok() { private.link(&mine, LOCK) } else { Ok(()) };
    private.remove(&mine)?;
    match linked {
        Ok(()) => made,
        Err(failure) if has_no_links(failure) => create(private, LOCK, holder),
        Err(failure) => Err(failure),
    }
}

fn has_no_links(failure: Failure) -> bool {
    matches!(Errno::from_raw(failure.errno), Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK)
}

/// Writes the lock of `holder`, whose first durable point is when that was.
fn create(private: &Private, name: &CStr, holder: &Holder) -> Result<(Holder, Time, Fd), Failure> {
    let mut written = (holder.clone(), Time::default());
    let file = private.create_dated(name, |made| {
        written = (holder.durable_at(made), made);
        written.0.to_bytes()
    })?;
    Ok((written.0, written.1, file))
}

fn unusable(failure: Failure) -> Error {
    let errno = Errno::from_raw(failure.errno);
    Error::Fatal(format!("the lock in DST/.pmirror can not be used: {}: {}", failure.operation, remedy::told(errno)))
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
    let (started, mut is_told) = (Instant::now(), false);
    let first = look(private)?;
    loop {
        let now = look(private)?;
        let Some((bytes, _)) = &now else { return Ok(None) };
        let holder = Holder::from_bytes(bytes);
        if holder.as_ref().is_some_and(|holder| holder.released) {
            return Ok(holder);
        }
        let lives = holder.as_ref().and_then(|holder| holder.lives(us));
        let waited = started.elapsed();
        if waited >= DEATH_MAX && lives.is_none() && !is_told {
            is_told = true;
            say(&format!("DST has the lock of {}: waiting whether that lives", name_of_run(holder.as_ref())));
        }
        match lives {
            Some(false) => return Ok(holder),
            Some(true) if waited >= DEATH_MAX => return Err(held_by(holder.as_ref())),
            None if now != first => return Err(held_by(holder.as_ref())),
            None if waited >= SILENCE_MAX => return Ok(Some(holder.unwrap_or_else(|| Holder::unreadable(bytes)))),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

type Look = Option<(Vec<u8>, Time)>;

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

fn name_of(holder: &Holder) -> std::ffi::CString {
    std::ffi::CString::new(format!("lock-{:016x}", holder.attempt)).unwrap_or_default()
}

fn held_by(holder: Option<&Holder>) -> Error {
    let who = name_of_run(holder);
    Error::Refused(format!("DST is being written by {who}: wait for it to end, or end it"))
}

fn name_of_run(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "a run that is just starting".to_owned(),
        |holder| {
            let job = if holder.job.is_empty() { String::new() } else { format!(", Slurm job {}", holder.job) };
            format!("run {} (host {}, process {}{job})", holder.run_id, holder.host, holder.pid)
        },
    )
}

/// Renames our lock over the dead one; of several that try, the last one has it. Durably: what we write next is
/// not to be found beside the dead one's lock.
fn take_over(private: &Private, dead: &Holder, holder: &Holder) -> Result<Lock, Error> {
    let mine = name_of(holder);
    let (holder, made, file) = create(private, &mine, holder).map_err(unusable)?;
    // Another may have taken it while we wrote.
    let now = private.read(LOCK).map_err(unusable)?;
    if Holder::from_bytes(&now).is_some_and(|found| !found.is(dead)) {
        let _ = private.remove(&mine);
        return Err(held_by(None));
    }
    private.rename(&mine, LOCK).and_then(|()| private.flush_names()).map_err(unusable)?;
    std::thread::sleep(Duration::from_millis(300));
    if is_lock_of(private, &holder).map_err(unusable)? { Lock::held(holder, made, file) } else { Err(held_by(None)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use crate::fs::roots::Root;

    /// A target, which goes with its directory.
    struct Target {
        root: Root,
        _directory: tempfile::TempDir,
    }

    impl Target {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = std::ffi::CString::new(directory.path().as_os_str().as_encoded_bytes()).unwrap();
            let root = Root::open(Side::Target, &path).unwrap();
            Self { root, _directory: directory }
        }

        fn take(&self, holder: Holder) -> Result<(Private, Lock), Error> {
            let uid = nix::unistd::geteuid().as_raw();
            Lock::take(|| Private::make(&self.root.fd, uid).map_err(unusable), holder)
        }

        fn read(&self) -> Option<Holder> {
            let private = Private::open(&self.root.fd).ok()?;
            Holder::from_bytes(&private.read(LOCK).ok()?)
        }
    }

    fn us(attempt: u64) -> Holder {
        Holder::this_process(Attempt(attempt), "run", "host", "", Some(true))
    }

    /// This process, before it was started again: dead.
    fn before_us(attempt: u64) -> Holder {
        us(attempt).started_at("1")
    }

    #[test]
    fn until_something_was_flushed_the_durable_point_is_when_the_lock_was_made() {
        let target = Target::new();
        let (_, lock) = target.take(before_us(1)).unwrap();
        let made = lock.made;
        let (_, next) = target.take(us(2)).unwrap();
        assert_eq!((next.dead(), next.doubt()), (vec![Attempt(1)], Some(Doubt::since(made))));
    }

    #[test]
    fn a_point_counts_once_it_was_reached() {
        let target = Target::new();
        let (private, lock) = target.take(before_us(1)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let point = lock.durable_point_begins().unwrap();
        assert!(point > lock.made);
        lock.durable_point_reached(&private, point).unwrap();
        lock.durable_point_begins().unwrap();
        let (_, next) = target.take(us(2)).unwrap();
        assert_eq!(next.doubt(), Some(Doubt::since(point)));
    }

    #[test]
    fn who_was_thought_to_be_dead_learns_it_and_does_not_win_the_lock_back() {
        let target = Target::new();
        let (private, lost) = target.take(before_us(1)).unwrap();
        let (_, lock) = target.take(us(2)).unwrap();
        let point = lost.durable_point_begins().unwrap();
        let error = lost.durable_point_reached(&private, point).unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
        lost.release(&private, Ending::Whole).unwrap();
        assert_eq!(target.read(), Some(lock.holder.clone()));
    }

    #[test]
    fn a_run_that_can_not_take_its_names_away_tells_the_next_one_whose_they_are() {
        let target = Target::new();
        let (private, lock) = target.take(us(1)).unwrap();
        lock.release(&private, Ending::Littered).unwrap();
        let (_, next) = target.take(us(2)).unwrap();
        assert_eq!((next.dead(), next.doubt()), (vec![Attempt(1)], None));
    }

    #[test]
    fn a_run_that_ends_well_leaves_a_lock_only_if_there_is_something_left_of_others() {
        let target = Target::new();
        let endings = [
            (Ending::Partly, false),
            (Ending::Unflushed, true),
            (Ending::Partly, true),
            (Ending::Whole, false),
            (Ending::Littered, true),
            (Ending::Partly, true),
            (Ending::Whole, false),
        ];
        for (ending, remains) in endings {
            let (private, lock) = target.take(us(1)).unwrap();
            lock.release(&private, ending).unwrap();
            assert_eq!(target.read().is_some(), remains, "{ending:?}");
        }
    }
}
