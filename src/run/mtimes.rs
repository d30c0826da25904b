//! `pmirror mtimes`: begin, walk the directories of both trees and settle them, sum up.

use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::Crew;
use super::finish::{self, Walked};
use super::{Circumstances, Conclusion, settle};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::Ended;
use crate::fault::Error;
use crate::report::Progress;

/// `pmirror mtimes`.
pub fn mtimes(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    let clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let begun = match begin::begin(&crew, comm) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    crew.say_circumstances(begun.run_directory.path());
    let mut progress = crew.progress(&begun);
    let walked = walk(&crew, &begun, comm, &mut progress, clock);
    progress.finish();
    match walked {
        Ok(walked) => finish::finish(crew, comm, begun, walked),
        Err(error) => error.into(),
    }
}

/// The walk settles most directories on the spot: nothing of ours changes one after it was looked at.
fn walk(
    crew: &Crew<'_>,
    begun: &Begun,
    comm: &mut dyn Comm,
    progress: &mut Progress,
    mut clock: Clock,
) -> Result<Walked, Error> {
    let mut engine = crew.engine(begun, comm)?;
    clock.seconds.start = clock.lap();

    progress.enter("directories");
    let seeds = if crew.is_root() { vec![begun.seed()] } else { Vec::new() };
    let mut ended = engine.run_pass(seeds, &mut |report| progress.observe(report));
    let mut root_outcome = None;
    if ended == Ended::Quiet {
        progress.enter("settle");
        (ended, root_outcome) = settle::pass(&mut engine, crew, progress)?;
    }
    clock.seconds.settle = clock.lap();
    Ok(Walked { ended, finished: engine.finish(), root_outcome, has_walked: true, judged: None, clock })
}
