//! Where a worker says what it is doing, so that others can tell when it hangs.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fs::in_flight::Slot;
use crate::tree::TreePath;
use crate::tree::suspects::Suspects;

/// One worker's operation, read by its rank's main thread.
#[derive(Debug)]
pub struct Watch {
    running: Mutex<Running>,
    signs: Arc<Signs>,
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
    /// `None` while the worker has no item.
    since: Option<Instant>,
}

impl Watch {
    /// A worker that does nothing yet.
    pub fn new(signs: Arc<Signs>) -> Self {
        let running = Running { operation: "", directory: Vec::new(), name: Vec::new(), since: None };
        Self { running: Mutex::new(running), signs, record: None }
    }

    /// The same for one whose work is recorded in a slot.
    pub fn recorded(signs: Arc<Signs>, slot: Slot, suspects: Arc<Suspects>) -> Self {
        Self { record: Some(Record { slot: Mutex::new(slot), suspects }), ..Self::new(signs) }
    }

    /// The worker turns to a directory, or to a name in it.
    pub fn begin(&self, operation: &'static str, directory: &TreePath, name: Option<&CStr>) {
        // Before it is touched.
        if let Some(record) = &self.record {
            record.turn_to(directory, name);
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.operation = operation;
        running.directory.clear();
        running.directory.extend_from_slice(directory.as_bytes());
        running.name.clear();
        running.name.extend_from_slice(name.map(CStr::to_bytes).unwrap_or_default());
        running.since = Some(Instant::now());
    }

    /// The worker turns to the next name of the same directory.
    pub fn next_name(&self, operation: &'static str, name: &CStr) {
        if let Some(record) = &self.record {
            record.next_name(name);
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.operation = operation;
        running.name.clear();
        running.name.extend_from_slice(name.to_bytes());
        running.since = Some(Instant::now());
    }

    /// A long operation moves on.
    pub fn alive(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.since = Some(Instant::now());
    }

    /// The worker is done with its item.
    pub fn end(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).since = None;
        if let Some(record) = &self.record {
            record.slot().clear();
        }
    }

    /// What the worker has been doing, and for how long.
    pub fn oldest(&self) -> Option<(Duration, String)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.running.lock().unwrap_or_else(PoisonError::into_inner).since.map(|since| since.elapsed())
    }

    /// The run is to end early: leave what is left of the item for later.
    pub fn must_stop(&self) -> bool {
        self.signs.stop.load(Ordering::Relaxed)
    }

    /// Somebody has no work: a part of the item would do.
    pub fn is_wanted(&self) -> bool {
        self.signs.hungry.load(Ordering::Relaxed)
    }
}
