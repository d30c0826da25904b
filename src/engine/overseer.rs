//! Looks after the workers: lends the permits of those that hang, parks what has no answer, and starts new
//! workers for those that are lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use super::state::Shared;
use super::workers;
use crate::fault::Error;
use crate::pass::Watch;
use crate::pass::park::{self, Stuck};
use crate::tree::Item;

/// Workers beyond the permitted number, which wait until another hangs.
const SPARE: u32 = 4;

/// Workers of a rank that may be lost in the kernel at one time: each holds its stack and its buffers.
const LOST_MAX: u32 = 256;

/// A worker that has been in one operation for so long lends its permit to a spare one.
const HUNG_AFTER: Duration = Duration::from_secs(30);

/// Between two looks, at most.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// A rank that has not looked for so long was stopped itself (SIGSTOP, a suspended job), and its workers
/// with it: they hang no longer than it did.
const ASLEEP: Duration = Duration::from_secs(5);

/// So long a stop waits for the workers; then for those that have been in one operation for `HANGS_IN_STOP`
/// no longer. Slurm leaves 30 s from SIGTERM to SIGKILL (KillWait).
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const HANGS_IN_STOP: Duration = Duration::from_secs(5);

/// All workers that a rank may ever have.
pub fn workers_max(threads: u32) -> u32 {
    threads + SPARE + LOST_MAX
}

/// Looks after the workers of one rank.
pub struct Overseer {
    shared: Arc<Shared>,
    op_timeout: Option<Duration>,
    /// Pools can not grow, but there can be more than one. Dropping one does not wait for its threads.
    pools: Vec<ThreadPool>,
    started: usize,
    look_after: Duration,
    looked: Instant,
    stopped: Option<Instant>,
    has_disowned: bool,
}

impl Overseer {
    /// Starts the workers. `op_timeout`: what takes longer has no answer.
    pub fn start(shared: &Arc<Shared>, op_timeout: Option<Duration>) -> Result<Self, Error> {
        let started = (shared.threads + SPARE) as usize;
        let pools = vec![workers::start(shared, 0..started)?];
        let look_after = op_timeout.map_or(LOOK_AFTER, |timeout| (timeout / 4).min(LOOK_AFTER));
        let shared = Arc::clone(shared);
        Ok(Self {
            shared,
            op_timeout,
            pools,
            started,
            look_after,
            looked: Instant::now(),
            stopped: None,
            has_disowned: false,
        })
    }

    /// Looks at all workers, if it is time to.
    pub fn look(&mut self) {
        let unseen = self.looked.elapsed();
        if unseen < self.look_after {
            return;
        }
        self.looked = Instant::now();
        if unseen > ASLEEP {
            self.shared.watches.iter().for_each(|watch| watch.forgive());
        }
        if let Some(patience) = self.op_timeout {
            for (item, stuck) in self.disown(patience) {
                self.park(item, &stuck);
            }
        }
        self.hurry_a_stop();
        self.lend_permits();
    }

    /// Whether an item was ever taken from a worker.
    pub fn has_disowned(&self) -> bool {
        self.has_disowned
    }

    /// Takes their items from workers that hang. One step: a worker that comes back takes this lock before it does
    /// anything else.
    fn disown(&mut self, patience: Duration) -> Vec<(Item, Stuck)> {
        let mut state = self.shared.lock();
        let watches = self.shared.watches.iter().enumerate();
        let lose = |(worker, watch): (usize, &Watch)| {
            let stuck = watch.disown(patience)?;
            state.lose_worker(worker).map(|item| (item, stuck))
        };
        let taken: Vec<_> = watches.filter_map(lose).collect();
        self.has_disowned |= !taken.is_empty();
        drop(state);
        self.lend(i64::try_from(taken.len()).unwrap_or(0));
        taken
    }

    /// The item goes on without the entry at which its worker hangs.
    fn park(&mut self, item: Item, stuck: &Stuck) {
        let rules = self.shared.context.park_rules();
        let state = self.shared.take_in(None, park::park(item, stuck, rules));
        let wanted = (self.shared.threads + SPARE + state.lost) as usize;
        drop(state);
        if let Err(error) = self.start_up_to(wanted) {
            self.shared.lock().give_up(error);
        }
        self.shared.work.notify_all();
    }

    /// There are always as many workers that are not lost.
    fn start_up_to(&mut self, wanted: usize) -> Result<(), Error> {
        if wanted > self.shared.watches.len() {
            let seconds = self.op_timeout.unwrap_or_default().as_secs();
            return Err(Error::Fatal(format!(
                "more than {LOST_MAX} operations of one rank have had no answer for {seconds} s: is a server down? Run \
                 the same command again when it is back"
            )));
        }
        if wanted > self.started {
            self.pools.push(workers::start(&self.shared, self.started..wanted)?);
            self.started = wanted;
        }
        Ok(())
    }

    fn hurry_a_stop(&mut self) {
        if self.shared.lock().scheduler.stop().is_none() {
            return;
        }
        let since = *self.stopped.get_or_insert_with(Instant::now);
        if since.elapsed() < STOP_PATIENCE {
            return;
        }
        for (item, _) in self.disown(HANGS_IN_STOP) {
            self.shared.lock().give_back(item);
        }
    }

    fn lend_permits(&self) {
        let hung = self.shared.watches.iter().filter(|watch| watch.age().is_some_and(|age| age > HUNG_AFTER)).count();
        let hung = u32::try_from(hung).unwrap_or(SPARE).min(SPARE);
        let mut state = self.shared.lock();
        if hung > state.hung {
            self.shared.work.notify_all();
        }
        let before = std::mem::replace(&mut state.hung, hung);
        drop(state);
        self.lend(i64::from(hung) - i64::from(before));
    }

    /// The end of the engine: what was lent for workers that hang is taken back.
    pub fn retire(&self) {
        let lent = std::mem::take(&mut self.shared.lock().hung);
        self.lend(-i64::from(lent));
    }

    /// In company the permits are those of all lanes.
    fn lend(&self, permits: i64) {
        if let Some(company) = self.shared.company.as_ref().filter(|_| permits != 0) {
            company.permits.add(permits);
        }
    }
}
