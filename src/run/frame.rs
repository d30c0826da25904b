//! What every run over a target has around its passes: the ranks, the beginning, progress, the end.

use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::Crew;
use super::finish::{self, Walked};
use super::prune::Judged;
use super::{Circumstances, Conclusion};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::{Ended, Engine};
use crate::fault::Error;
use crate::report::{self, Progress};
use crate::tree::Outcome;

/// A run under way on this rank.
pub struct Run<'r, 'e> {
    /// The ranks.
    pub crew: &'r Crew<'r>,
    /// The trees.
    pub begun: &'r Begun,
    /// This rank's engine.
    pub engine: &'r mut Engine<'e>,
    /// What is shown meanwhile.
    pub progress: &'r mut Progress,
    /// The clock of the run.
    pub clock: &'r mut Clock,
}

impl Run<'_, '_> {
    /// Runs the pass that walks both trees from their roots.
    pub fn walk(&mut self, name: &'static str) -> Ended {
        self.progress.enter(name);
        let seeds = if self.crew.is_root() { vec![self.begun.seed()] } else { Vec::new() };
        self.engine.run_pass(seeds, &mut |report| self.progress.observe(report))
    }
}

/// How the passes ended.
pub struct Passed {
    /// How the last of them did.
    pub ended: Ended,
    /// What is to stand in the books for the root, on the rank that walked it.
    pub root_outcome: Option<Outcome>,
    /// The root was walked, so it stands in the books.
    pub has_walked: bool,
    /// What the guards said, if anything was to be removed.
    pub judged: Option<Judged>,
}

/// A run from its beginning to its end; `passes` runs what the command consists of.
pub fn over_target(
    config: &Config,
    comm: &mut dyn Comm,
    circumstances: Circumstances,
    passes: impl FnOnce(&mut Run<'_, '_>) -> Result<Passed, Error>,
) -> Conclusion {
    let mut clock = Clock::start();
    let crew = Crew::call(config, comm, circumstances);
    let begun = match begin::begin(&crew, comm) {
        Ok(begun) => begun,
        Err(error) => return error.into(),
    };
    if crew.say_circumstances(begun.run_directory.path()) {
        say_abilities(&begun);
    }
    let mut progress = crew.progress(&begun);
    let passed = crew.engine(&begun, comm).and_then(|mut engine| {
        clock.seconds.start = clock.lap();
        let (engine_of_run, progress, clock) = (&mut engine, &mut progress, &mut clock);
        let passed = passes(&mut Run { crew: &crew, begun: &begun, engine: engine_of_run, progress, clock })?;
        Ok((passed, engine.finish()))
    });
    progress.finish();
    match passed {
        Ok((passed, finished)) => finish::finish(crew, comm, begun, Walked { passed, finished, clock }),
        // A later run need not think that this one died.
        Err(error @ (Error::Refused(_) | Error::Usage(_))) => finish::give_up(begun, error),
        Err(error) => error.into(),
    }
}

/// `--verbose`: what DST can hold, and what we may.
fn say_abilities(begun: &Begun) {
    let able = &begun.context.policy.target;
    let yes = |flag| if flag { "yes" } else { "no" };
    report::say(&format!(
        "DST holds times to {} ns; we may give files away: {}; permissions do not stop us: {}",
        able.times.granularity,
        yes(able.chown),
        yes(able.overrides_permissions)
    ));
}
