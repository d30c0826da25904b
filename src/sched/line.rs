//! The thieves that wait at this rank until it has something for them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::Rank;

/// Thieves in the order in which their patience ends. Each is answered once: with loot or, when its
/// patience ends, with a refusal.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, Hash))]
pub struct Line {
    /// The key ends with the thief's number of the request; the value is its count of hungry workers.
    waiting: BTreeMap<(Duration, Rank, u64), u32>,
}

/// A thief at the head of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// When it must be answered.
    pub until: Duration,
    /// Who it is.
    pub thief: Rank,
    /// Its number of the request.
    pub request: u64,
    /// Its workers that have nothing to do.
    pub hungry: u32,
}

impl Line {
    /// A thief joins.
    pub fn join(&mut self, Waiting { until, thief, request, hungry }: Waiting) {
        self.waiting.insert((until, thief, request), hungry);
    }

    /// Whose patience ends first.
    pub fn first(&self) -> Option<Waiting> {
        let (&(until, thief, request), &hungry) = self.waiting.first_key_value()?;
        Some(Waiting { until, thief, request, hungry })
    }

    /// The first thief was answered.
    pub fn leave(&mut self) {
        self.waiting.pop_first();
    }

    /// Thieves that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Requests of a pass that ended need no answer.
    pub fn enter_epoch(&mut self) {
        self.waiting.clear();
    }
}
