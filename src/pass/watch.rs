//! Where a worker says what it is doing, so that others can tell when it hangs.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::park::Stuck;
use crate::fs::fence::{self, Fence};
use crate::fs::in_flight::Slot;
use crate::tree::suspects::Suspects;
use crate::tree::{Kind, TreePath};

/// One worker's operation, read by its rank's main thread.
#[derive(Debug)]
pub struct Watch {
    running: Mutex<Running>,
    signs: Arc<Signs>,
    /// Keeps the worker from the trees when its item is no longer its own.
    fence: Arc<Fence>,
    record: Option<Record>,
}

/// What outlives the process of what the worker is doing.
#[derive(Debug)]
struct Record {
    /// Only the worker itself takes this lock, so it may wait for the run directory.
    slot: Mutex<Slot>,
    suspects: Arc<Suspects>,
}

impl Record {
    fn turn_to(&self, directory: &TreePath, name: Option<&CStr>) {
        let name = name.map(CStr::to_bytes).unwrap_or_default();
        let is_suspect = || self.suspects.watches(directory.as_bytes());
        self.slot().turn_to(directory.as_bytes(), name, is_suspect);
    }

    fn next_name(&self, name: &CStr) {
        self.slot().next_name(name.to_bytes());
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a rank tells its workers while they have an item.
#[derive(Debug, Default)]
pub struct Signs {
    /// The run is to end early.
    pub stop: AtomicBool,
    /// Somebody has no work, and would take a part of what this rank's workers hold.
    pub hungry: AtomicBool,
}

#[derive(Debug)]
struct Running {
    operation: &'static str,
    directory: Vec<u8>,
    name: Vec<u8>,
    /// The type of the name, where it is known.
    kind: Option<Kind>,
    /// `None` while the worker has no item.
    since: Option<Instant>,
    /// The item was taken from the worker: what it says now is of no interest.
    disowned: bool,
}

impl Running {
    fn turn_to(&mut self, operation: &'static str, name: &[u8], kind: Option<Kind>) {
        (self.operation, self.kind) = (operation, kind);
        self.name.clear();
        self.name.extend_from_slice(name);
        self.since = (!self.disowned).then(Instant::now);
    }

    fn turn_to_directory(&mut self, directory: &[u8]) {
        self.directory.clear();
        self.directory.extend_from_slice(directory);
    }
}

impl Watch {
    /// A worker that does nothing yet.
    pub fn new(signs: Arc<Signs>) -> Self {
        let (directory, name) = (Vec::new(), Vec::new());
        let running = Running { operation: "", directory, name, kind: None, since: None, disowned: false };
        Self { running: Mutex::new(running), signs, fence: Arc::default(), record: None }
    }

    /// The same for one whose work is recorded in a slot.
    pub fn recorded(signs: Arc<Signs>, slot: Slot, suspects: Arc<Suspects>) -> Self {
        Self { record: Some(Record { slot: Mutex::new(slot), suspects }), ..Self::new(signs) }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread is this watch's worker, for good.
    pub fn belongs_to_this_thread(&self) {
        fence::stand_behind(Arc::clone(&self.fence));
    }

    /// The worker takes an item.
    pub fn start(&self) {
        self.lock().disowned = false;
        self.fence.lower();
    }

    /// The worker turns to a directory, or to a name in it.
    pub fn begin(&self, operation: &'static str, directory: &TreePath, name: Option<&CStr>) {
        // Before it is touched.
        if let Some(record) = &self.record {
            record.turn_to(directory, name);
        }
        let mut running = self.lock();
        running.turn_to_directory(directory.as_bytes());
        running.turn_to(operation, name.map(CStr::to_bytes).unwrap_or_default(), None);
    }

    /// The worker turns to a name by its path.
    pub fn begin_name(&self, operation: &'static str, path: &TreePath) {
        let (directory, name) = path.split_last().unwrap_or_default();
        if let Some(record) = &self.record {
            let name = std::ffi::CString::new(name).unwrap_or_default();
            record.turn_to(&directory, Some(&name));
        }
        let mut running = self.lock();
        running.turn_to_directory(directory.as_bytes());
        running.turn_to(operation, name, None);
    }

    /// The worker turns to the next name of the same directory. `kind`: under which it stands in the books.
    pub fn next_name(&self, operation: &'static str, name: &CStr, kind: Option<Kind>) {
        if let Some(record) = &self.record {
            record.next_name(name);
        }
        self.lock().turn_to(operation, name.to_bytes(), kind);
    }

    /// A long operation moves on.
    pub fn alive(&self) {
        let mut running = self.lock();
        running.since = (!running.disowned).then(Instant::now);
    }

    /// This process was stopped for a while, and so was the worker: its time begins anew.
    pub fn forgive(&self) {
        let mut running = self.lock();
        running.since = running.since.map(|_| Instant::now());
    }

    /// Takes the item from a worker that has been in one operation for longer than `patience`. From now
    /// on it makes no further call on the trees. Not so when it is done with its item.
    pub fn disown(&self, patience: Duration) -> Option<Stuck> {
        let mut running = self.lock();
        running.since.filter(|since| since.elapsed() > patience)?;
        (running.since, running.disowned) = (None, true);
        self.fence.raise();
        Some(Stuck {
            operation: running.operation,
            directory: TreePath::from(running.directory.as_slice()),
            name: CString::new(running.name.as_slice()).ok().filter(|name| !name.is_empty()),
            kind: running.kind.unwrap_or(Kind::Unknown),
            side: self.fence.side(),
        })
    }

    /// Whether the item was taken from the worker: asked by the worker itself, when it is done.
    pub fn is_disowned(&self) -> bool {
        self.fence.is_raised()
    }

    /// The worker is done with its item.
    pub fn end(&self) {
        self.lock().since = None;
        if let Some(record) = &self.record {
            record.slot().clear();
        }
    }

    /// What the worker has been doing, and for how long.
    pub fn oldest(&self) -> Option<(Duration, String)> {
        let running = self.lock();
        let age = running.since?.elapsed();
        let mut path = running.directory.clone();
        if !path.is_empty() && !running.name.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&running.name);
        Some((age, format!("{} {}", running.operation, crate::tree::path::escaped(&path))))
    }

    /// How long the current operation has been running.
    pub fn age(&self) -> Option<Duration> {
        self.lock().since.map(|since| since.elapsed())
    }

    /// The run is to end early, or the item was taken away: leave what is left of it for later.
    pub fn must_stop(&self) -> bool {
        self.signs.stop.load(Ordering::Relaxed) || self.fence.is_raised()
    }

    /// Somebody has no work: a part of the item would do.
    pub fn is_wanted(&self) -> bool {
        self.signs.hungry.load(Ordering::Relaxed)
    }
}
