//! The gate that every call passes: it counts and logs the call, and does to it what the rules say.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use serde::Serialize;

use crate::rules::{Active, Operation, Rule, judge};

/// Calls that the log keeps at most; older ones are not dropped for newer ones.
const LOG_ENTRIES_MAX: usize = 1_000_000;

/// A call as the log has it.
#[derive(Debug, Clone, Serialize)]
pub struct Logged {
    operation: Operation,
    name: String,
    /// The name of an extended attribute, the type of a node.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Active>,
    last_id: u64,
    calls: BTreeMap<Operation, u64>,
    log: Option<Vec<Logged>>,
}

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    lifted: Condvar,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a call, late perhaps. Returns how many bytes it may move.
    pub fn pass(&self, operation: Operation, name: &OsStr, detail: &str) -> Result<usize, Errno> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        if let Some(log) = state.log.as_mut().filter(|log| log.len() < LOG_ENTRIES_MAX) {
            log.push(Logged { operation, name: name.to_string_lossy().into_owned(), detail: detail.to_owned() });
        }
        let verdict = judge(&mut state.rules, operation, name);
        while state.rules.iter().any(|rule| verdict.hangs_by.contains(&rule.id)) {
            state = self.lifted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        if !verdict.latency.is_zero() {
            std::thread::sleep(verdict.latency);
        }
        match verdict.errno {
            Some(errno) => Err(Errno::from_raw_os_error(errno)),
            None => Ok(verdict.bytes_max.unwrap_or(usize::MAX)),
        }
    }

    /// Puts a rule in force.
    pub fn add(&self, rule: Rule) -> Result<u64, String> {
        let mut state = self.state();
        let id = state.last_id + 1;
        state.rules.push(Active::new(id, rule)?);
        state.last_id = id;
        Ok(id)
    }

    /// Lifts a rule, or all of them; calls that hang by it go on.
    pub fn lift(&self, id: Option<u64>) {
        self.state().rules.retain(|rule| id.is_some_and(|id| id != rule.id));
        self.lifted.notify_all();
    }

    /// Begins a new log.
    pub fn start_log(&self) {
        self.state().log = Some(Vec::new());
    }

    /// The calls since the log began or was taken, in the order in which they came.
    pub fn take_log(&self) -> Vec<Logged> {
        self.state().log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many calls there were since the last time.
    pub fn take_calls(&self) -> BTreeMap<Operation, u64> {
        std::mem::take(&mut self.state().calls)
    }
}
