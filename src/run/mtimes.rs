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
    if ended == Ended::Quiet {
        ended = settle::pass(run)?;
    }
    run.clock.seconds.settle = run.clock.lap();
    Ok(Passed { ended, has_walked: true })
}
