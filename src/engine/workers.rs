//! The workers of a rank: each takes an item, has the pass process it, and brings back its effects.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rayon::ThreadPool;

use super::state::{Shared, State};
use crate::counters::Number;
use crate::fault::Error;
use crate::fs::cage::Cage;
use crate::report;

/// Starts workers, by their numbers.
pub fn start(shared: &Arc<Shared>, numbers: Range<usize>) -> Result<ThreadPool, Error> {
    let (first, workers) = (numbers.start, numbers.len());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .thread_name(move |index| format!("worker-{}", first + index))
        .build()
        .map_err(|error| no_thread(&format!("{workers} worker threads"), &error))?;
    for index in numbers {
        let shared = Arc::clone(shared);
        pool.spawn(move || work(&shared, index));
    }
    Ok(pool)
}

/// Why threads could not be started: users, jobs and machines have a limit of them.
pub fn no_thread(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Fatal(format!(
        "{what} can not be started: {error}. Use fewer --threads, or allow more of them (ulimit -u, pids.max of the job)"
    ))
}

fn work(shared: &Shared, index: usize) {
    let Some(watch) = shared.watches.get(index) else { return };
    watch.belongs_to_this_thread();
    // It was tried when the run began, so it is not to be expected that a thread can not.
    if let Some(Err(why)) = shared.context.trees.belts.cage.as_ref().map(Cage::enter) {
        report::say(&format!("sandbox: worker {index} is not bound by Landlock: {why}"));
    }
    let mut state = shared.lock();
    while !state.closing {
        let congested = state.is_congested();
        state.held_back |= congested;
        let permitted = state.busy < shared.threads + state.hung && !congested;
        let item = if permitted { state.take_item(index) } else { None };
        let Some(item) = item else {
            if permitted && state.busy > 0 {
                shared.signs.hungry.store(true, Ordering::Relaxed);
            }
            state = shared.work.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            continue;
        };
        watch.start();
        drop(state);

        let started = Instant::now();
        let mut effects = shared.context.process(item, watch);
        if watch.is_disowned() {
            // What it would bring is in the books already, in another way.
            state = shared.lock();
            state.lost -= 1;
            continue;
        }
        let busy = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        effects.count(Number::Items, 1);
        effects.count(Number::BusyNanoseconds, busy);

        state = shared.take_in(Some(index), effects);
        // Who asked is served from what this item left.
        shared.signs.hungry.store(state.desk.bag.is_empty() && state.busy > 0, Ordering::Relaxed);
        wake_others(shared, &state);
    }
}

/// This worker takes the next item itself; others are woken only for what is left and permitted, and
/// the main thread only when there is something to say: a wake costs as much as a small file.
fn wake_others(shared: &Shared, state: &State) {
    let permits = (shared.threads + state.hung).saturating_sub(state.busy) as usize;
    for _ in 1..state.desk.bag.len().min(permits) {
        shared.work.notify_one();
    }
    if state.needs_main_thread() {
        shared.main.notify_one();
    }
}
