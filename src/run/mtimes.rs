//! `pmirror mtimes`: walk the directories of both trees, settle them.

use super::frame::{self, Passed, Run};
use super::{Circumstances, Conclusion, settle};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::Ended;
use crate::fault::Error;

/// `pmirror mtimes`.
pub fn mtimes(config: &Config, comm: &mut dyn Comm, circumstances: Circumstances) -> Conclusion {
    frame::over_target(config, comm, circumstances, passes)
}

/// The walk settles most directories on the spot: nothing of ours changes one after it was looked at.
fn passes(run: &mut Run<'_, '_>) -> Result<Passed, Error> {
    let mut ended = run.walk("directories");
    let mut root_outcome = None;
    if ended == Ended::Quiet {
        run.progress.enter("settle");
        (ended, root_outcome) = settle::pass(run.engine, run.crew, run.progress)?;
    }
    run.clock.seconds.settle = run.clock.lap();
    Ok(Passed { ended, root_outcome, has_walked: true, judged: None })
}
