//! What a rank may use a second of its file systems: workers ask before they use it, and sleep.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Watch;
use super::bucket::Bucket;
use crate::fs::data::BUFFER_BYTES;

/// A worker that waits looks so often whether the run stops or the rate has changed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A rank that had to wait in so long a time would use more than it may.
const MEMORY: Duration = Duration::from_millis(500);

/// What all ranks together may use a second; `u64::MAX` stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Bytes of file content.
    pub bytes: u64,
    /// Operations: names that are looked at, and reads and writes of one buffer.
    pub operations: u64,
}

impl Rates {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { bytes: u64::MAX, operations: u64::MAX };
}

/// What a rank uses and would use, for who shares the limits out among the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// It may use so much a second.
    pub holds: u64,
    /// It would use so much; `u64::MAX` if it had to wait lately.
    pub wants: u64,
}

/// One thing that is limited.
#[derive(Debug)]
struct Meter {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    /// Until then the rate holds; later it is nothing, until there is a new one.
    until: Duration,
    /// When a worker last had to wait.
    waited: Option<Duration>,
    /// Since `window` so much was used; in the time of the same length before that, so much.
    window: Duration,
    used: u64,
    used_before: u64,
}

impl State {
    fn note_use(&mut self, now: Duration, amount: u64) {
        if now >= self.window + MEMORY {
            let is_next = now < self.window + 2 * MEMORY;
            self.used_before = if is_next { self.used } else { 0 };
            self.used = 0;
            self.window = now;
        }
        self.used += amount;
    }
}

impl Meter {
    fn new(rate: u64) -> Self {
        let (bucket, window) = (Bucket::new(rate), Duration::ZERO);
        let state = State { bucket, until: Duration::MAX, waited: None, window, used: 0, used_before: 0 };
        Self { started: Instant::now(), state: state.into() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.started.elapsed();
        if now > state.until {
            let until = state.until;
            state.bucket.set_rate(until, 0);
        }
        act(&mut state, now)
    }

    /// Sleeps until there are tokens, in small pieces: a stop ends it at once.
    fn take(&self, amount: u64, watch: &Watch) {
        let ticket = self.with(|state, now| state.bucket.ask(now, amount));
        while !watch.must_stop() {
            let due = self.with(|state, now| {
                let due = state.bucket.is_due(now, ticket);
                match due {
                    Ok(()) => state.note_use(now, amount),
                    Err(_) => state.waited = Some(now),
                }
                due
            });
            let Err(wait) = due else { return };
            std::thread::sleep(wait.min(LOOK_AGAIN));
            watch.alive();
        }
    }

    fn usage(&self) -> Usage {
        self.with(|state, now| {
            state.note_use(now, 0);
            let waits = state.waited.is_some_and(|waited| now < waited + MEMORY);
            let used = u128::from(state.used.max(state.used_before));
            // A quarter more than it used, so that it need not wait before it gets more.
            let wants = used * 1_250 / MEMORY.as_millis().max(1);
            let wants = if waits { u64::MAX } else { u64::try_from(wants).unwrap_or(u64::MAX) };
            Usage { holds: state.bucket.rate(), wants }
        })
    }
}

/// The limits of a rank: its share of what all may use.
#[derive(Debug, Default)]
pub struct Limits {
    bytes: Option<Meter>,
    operations: Option<Meter>,
}

impl Limits {
    /// The share of a rank before it hears of another.
    pub fn new(all: Rates, ranks: u32) -> Self {
        let meter = |rate: u64| (rate != u64::MAX).then(|| Meter::new(rate / u64::from(ranks.max(1))));
        Self { bytes: meter(all.bytes), operations: meter(all.operations) }
    }

    /// A name is about to be looked at.
    pub fn entry(&self, watch: &Watch) {
        if let Some(operations) = &self.operations {
            operations.take(1, watch);
        }
    }

    /// So many bytes are about to be read or copied in one call.
    pub fn data(&self, bytes: u64, watch: &Watch) {
        if let Some(meter) = &self.bytes {
            meter.take(bytes, watch);
        }
        if let Some(operations) = &self.operations {
            operations.take(1, watch);
        }
    }

    /// For so many bytes of a file, whose copy tells of what it moved only when it was: asks for the
    /// first buffer.
    pub fn pace<'l>(&'l self, bytes: u64, watch: &'l Watch) -> Pace<'l> {
        let mut pace = Pace { limits: self, watch, left: bytes, taken: 0, moved: 0 };
        pace.moved(0);
        pace
    }

    /// The usage of bytes and operations; `None` without limits.
    pub fn usage(&self) -> Option<[Usage; 2]> {
        if self.bytes.is_none() && self.operations.is_none() {
            return None;
        }
        let of = |meter: &Option<Meter>| meter.as_ref().map_or(Usage { holds: u64::MAX, wants: 0 }, Meter::usage);
        Some([of(&self.bytes), of(&self.operations)])
    }

    /// What the rank may use holds for so long; `None`: what it holds now does. Where nobody says so in
    /// time, the rank may use nothing: others may have its share.
    pub fn renew(&self, share: Option<Rates>, holds_for: Duration) {
        let rates = [share.map(|share| share.bytes), share.map(|share| share.operations)];
        for (meter, rate) in [&self.bytes, &self.operations].into_iter().zip(rates) {
            let Some(meter) = meter else { continue };
            meter.with(|state, now| {
                if let Some(rate) = rate {
                    state.bucket.set_rate(now, rate);
                }
                state.until = now + holds_for;
            });
        }
    }
}

/// Asks for one buffer of a file after another.
#[derive(Debug)]
pub struct Pace<'l> {
    limits: &'l Limits,
    watch: &'l Watch,
    left: u64,
    taken: u64,
    moved: u64,
}

impl Pace<'_> {
    /// So much was moved, and the next buffer is about to be.
    pub fn moved(&mut self, bytes: u64) {
        self.watch.alive();
        self.moved += bytes;
        let is_limited = self.limits.bytes.is_some() || self.limits.operations.is_some();
        while is_limited && self.left > 0 && self.taken < self.moved + BUFFER_BYTES as u64 {
            let buffer = self.left.min(BUFFER_BYTES as u64);
            self.limits.data(buffer, self.watch);
            self.left -= buffer;
            self.taken += buffer;
        }
    }

    /// The file is copied: holes, and what a file has lost meanwhile, cost nothing.
    pub fn end(self, bytes: u64) {
        if let Some(meter) = &self.limits.bytes {
            meter.with(|state, now| state.bucket.give_back(now, self.taken.saturating_sub(bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::Signs;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    const SLOW: Rates = Rates { bytes: 1_000, operations: u64::MAX };

    #[test]
    fn a_stop_ends_the_sleep_at_once() {
        let signs = Arc::<Signs>::default();
        let (limits, watch) = (Limits::new(SLOW, 1), Watch::new(Arc::clone(&signs)));
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                limits.data(1_000_000, &watch);
            });
            std::thread::sleep(Duration::from_millis(50));
            signs.stop.store(true, Ordering::Relaxed);
        });
        assert!(started.elapsed() < Duration::from_secs(5), "it slept to the end");
    }

    #[test]
    fn a_rank_that_waits_wants_more_than_it_has() {
        let signs = Arc::<Signs>::default();
        let (limits, watch) = (Limits::new(SLOW, 2), Watch::new(signs));
        assert_eq!(limits.usage(), Some([Usage { holds: 500, wants: 0 }, Usage { holds: u64::MAX, wants: 0 }]));
        limits.data(1, &watch);
        limits.renew(Some(Rates { bytes: 900, ..SLOW }), Duration::from_secs(60));
        assert_eq!(limits.usage().map(|[bytes, _]| bytes), Some(Usage { holds: 900, wants: u64::MAX }));
    }

    #[test]
    fn a_share_that_nobody_renews_is_lost() {
        let limits = Limits::new(SLOW, 1);
        let holds = || limits.usage().map(|[bytes, _]| bytes.holds);
        limits.renew(None, Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(holds(), Some(0));
        limits.renew(None, Duration::from_secs(60));
        assert_eq!(holds(), Some(0), "it was given away");
        limits.renew(Some(SLOW), Duration::from_secs(60));
        assert_eq!(holds(), Some(1_000));
    }

    #[test]
    fn what_a_copy_did_not_use_is_given_back() {
        let signs = Arc::<Signs>::default();
        let rates = Rates { bytes: 10 << 20, operations: u64::MAX };
        let (limits, watch) = (Limits::new(rates, 1), Watch::new(signs));
        let started = Instant::now();
        for _ in 0..50 {
            limits.pace(1 << 30, &watch).end(0);
        }
        assert!(started.elapsed() < Duration::from_secs(2), "holes were paid for");
    }

    #[test]
    fn without_limits_nothing_is_asked_or_told() {
        assert!(Limits::new(Rates::UNLIMITED, 3).usage().is_none());
    }
}
