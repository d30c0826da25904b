//! The workers of a rank: each takes an item, has the pass process it, and brings back its effects.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rayon::ThreadPool;

use super::company::Permit;
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
    let mut permit = None;
    let mut state = shared.lock();
    while !state.closing {
        let congested = state.is_congested();
        state.held_back |= congested;
        let permitted = state.busy + state.in_line < shared.threads + state.hung && !congested;
        if permitted && permit.is_none() && !state.desk.bag.is_empty() && !find_permit(shared, &mut permit) {
            // What is in the bag meanwhile is there for thieves and other workers still.
            state.in_line += 1;
            drop(state);
            permit = shared.company.as_ref().map(|company| company.permits.wait());
            state = shared.lock();
            state.in_line -= 1;
            continue;
        }
        let item = if permitted { state.take_item(index) } else { None };
        let Some(item) = item else {
            give_back(shared, &mut permit);
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
            // What it would bring is in the books already, in another way; and its permit was given back.
            permit = None;
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
        pass_on(shared, &mut permit);
    }
    give_back(shared, &mut permit);
}

/// Whether the worker may work at once: alone, or with a permit that is free.
fn find_permit(shared: &Shared, permit: &mut Option<Permit>) -> bool {
    let Some(company) = &shared.company else { return true };
    *permit = company.permits.take_free();
    permit.is_some()
}

fn give_back(shared: &Shared, permit: &mut Option<Permit>) {
    if let (Some(company), Some(permit)) = (&shared.company, permit.take()) {
        company.permits.give_back(permit);
    }
}

/// Other lanes have their turn.
fn pass_on(shared: &Shared, permit: &mut Option<Permit>) {
    let is_due = |permit: &Permit| shared.company.as_ref().is_some_and(|company| company.permits.is_due(permit));
    if permit.as_ref().is_some_and(is_due) {
        give_back(shared, permit);
    }
}

/// This worker takes the next item itself; others are woken only for what is left and permitted, and
/// the main thread only when there is something to say: a wake costs as much as a small file.
fn wake_others(shared: &Shared, state: &State) {
    let permits = (shared.threads + state.hung).saturating_sub(state.busy + state.in_line) as usize;
    for _ in 1..state.desk.bag.len().min(permits) {
        shared.work.notify_one();
    }
    if state.needs_main_thread() {
        shared.main.notify_one();
    }
}
