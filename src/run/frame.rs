//! What every run over two trees has around its passes: the ranks, the beginning, progress, the end.

use super::begin::{self, Begun};
use super::clock::Clock;
use super::crew::{Crew, any_rank};
use super::finish::{self, Walked};
use super::resume::{self, Resumed};
use super::story::{Stage, Story};
use super::{Circumstances, Conclusion, deadline};
use crate::comm::Comm;
use crate::config::Config;
use crate::engine::{Ended, Engine, Finished};
use crate::fault::{Error, Side};
use crate::report::{self, Progress};
use crate::sched::Stop;
use crate::wire;

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
    /// Where the run is.
    pub story: Story,
    /// The stage that a checkpoint was taken in, until the run is there.
    pub goes_on_at: Option<Stage>,
}

/// How a stage is come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// For the first time.
    Fresh,
    /// In the middle: the checkpoint has what is left of it.
    Resumed,
    /// It was over when the checkpoint was taken.
    Skipped,
}

impl Run<'_, '_> {
    /// Whether the checkpoint was taken after a stage.
    pub fn is_past(&self, stage: Stage) -> bool {
        self.goes_on_at.is_some_and(|at| stage < at)
    }

    /// Comes to a stage.
    pub fn enter(&mut self, stage: Stage) -> Entry {
        match self.goes_on_at {
            Some(at) if stage < at => return Entry::Skipped,
            Some(at) if stage == at => {}
            _ => {
                self.story.stage = stage;
                self.tell_story();
                return Entry::Fresh;
            }
        }
        self.goes_on_at = None;
        Entry::Resumed
    }

    /// Checkpoints that are taken from now on tell where the run is.
    pub fn tell_story(&mut self) {
        self.engine.tell_story(wire::encode(&self.story));
    }

    /// Does what a checkpoint left of a stage.
    pub fn resume(&mut self, name: &'static str) -> Ended {
        self.progress.enter(name);
        self.engine.run_resumed(&mut |report| self.progress.observe(report))
    }

    /// Runs the pass that walks both trees from their roots.
    pub fn walk(&mut self, name: &'static str) -> Ended {
        match self.enter(Stage::Walk) {
            Entry::Skipped => Ended::Quiet,
            Entry::Resumed => self.resume(name),
            Entry::Fresh => {
                self.progress.enter(name);
                let seeds = if self.crew.is_root() { vec![self.begun.seed()] } else { Vec::new() };
                self.engine.run_pass(seeds, &mut |report| self.progress.observe(report))
            }
        }
    }
}

/// One turn of all groups of one side, cut into so many passes that no rank holds more groups than its
/// memory bound. Returns whether there was any, on any rank.
pub fn link_turn(run: &mut Run<'_, '_>, stage: Stage, side: Side) -> (Ended, bool) {
    let mut any = false;
    match run.enter(stage) {
        Entry::Skipped => return (Ended::Quiet, true),
        Entry::Resumed => {
            any = true;
            if let ended @ Ended::Stopped(_) = run.resume("link") {
                return (ended, any);
            }
        }
        Entry::Fresh => {
            run.progress.enter("link");
            run.engine.begin_link_turn(side);
        }
    }
    loop {
        let groups = run.engine.take_link_groups();
        // A rank that gave up needs a pass to say so.
        let mine = groups.len() as u64 + u64::from(run.engine.has_given_up());
        if any_rank(run.engine, mine) == 0 {
            return (Ended::Quiet, any);
        }
        any = true;
        let ended = run.engine.run_pass(groups, &mut |report| run.progress.observe(report));
        if ended != Ended::Quiet {
            return (ended, any);
        }
    }
}

/// How the passes ended.
pub struct Passed {
    /// How the last of them did.
    pub ended: Ended,
    /// The root was walked, so it stands in the books.
    pub has_walked: bool,
}

/// A run from its beginning to its end; `passes` runs what the command consists of.
pub fn over_target(
    config: &Config,
    comm: &mut dyn Comm,
    circumstances: Circumstances,
    passes: impl FnOnce(&mut Run<'_, '_>) -> Result<Passed, Error>,
) -> Conclusion {
    let mut clock = Clock::start();
    let is_of_job = circumstances.company.is_some();
    let mut crew = Crew::call(config, comm, circumstances);
    let began =
        resume::read(&mut crew, comm).and_then(|resumed| Ok((begin::begin(&crew, comm, resumed.as_ref())?, resumed)));
    let (begun, resumed) = match began {
        Ok(began) => began,
        Err(error) => return error.into(),
    };
    if let Some(Err(error)) = resumed.as_ref().map(|resumed| resume::must_fit(resumed, &crew, &begun)) {
        return finish::refuse(begun, error);
    }
    if crew.say_circumstances(begun.run_directory.path()) {
        say_abilities(&begun);
    }
    let mut progress = crew.progress(&begun);
    let ran = run_passes(&mut crew, &begun, comm, resumed, (&mut progress, &mut clock), passes);
    progress.end_passes();
    let conclusion = match ran {
        Ok(Ran::Through(passed, story, finished)) => {
            finish::finish(crew, comm, begun, Walked { passed: *passed, story: *story, finished: *finished, clock })
        }
        Ok(Ran::NotYet(stop)) => {
            finish::give_back_untouched(begun);
            deadline::too_late(comm, stop)
        }
        // A later run need not think that this one died.
        Err(error @ (Error::Refused(_) | Error::Usage(_))) => finish::give_up(begun, error, None),
        // The lock would live as long as the job does, though its run is over.
        Err(error) if is_of_job => finish::give_up(begun, error, config.op_timeout),
        Err(error) => error.into(),
    };
    progress.finish();
    conclusion
}

/// How the passes of a run went.
pub enum Ran {
    /// They ended, or were stopped.
    Through(Box<Passed>, Box<Story>, Box<Finished>),
    /// The run was stopped before it had taken over its checkpoint, which stays as it was.
    NotYet(Stop),
}

/// The passes, from where a checkpoint left them; where they are stopped they leave one.
pub fn run_passes(
    crew: &mut Crew<'_>,
    begun: &Begun,
    comm: &mut dyn Comm,
    resumed: Option<Resumed>,
    (progress, clock): (&mut Progress, &mut Clock),
    passes: impl FnOnce(&mut Run<'_, '_>) -> Result<Passed, Error>,
) -> Result<Ran, Error> {
    let mut engine = crew.engine(begun, comm, resumed.as_ref())?;
    if let Some(resumed) = &resumed {
        if let Ended::Stopped(stop) = resume::take_over(&mut engine, crew, resumed)? {
            drop(engine.finish());
            return Ok(Ran::NotYet(stop));
        }
        progress.go_on_from(resume::headway(&mut engine, crew)?);
    }
    clock.seconds.start = clock.lap();
    let goes_on_at = resumed.as_ref().map(|resumed| resumed.story.stage);
    let story = resumed.map_or_else(|| Story::new(crew.config, begun), |resumed| resumed.story);
    let mut run = Run { crew, begun, engine: &mut engine, progress, clock, story, goes_on_at };
    run.tell_story();
    let passed = match passes(&mut run) {
        Ok(passed) => passed,
        Err(error) => {
            // The process may go on with other runs.
            run.engine.dismiss();
            return Err(error);
        }
    };
    let stops_in_order = resume::goes_on(passed.ended) && crew.config.can_go_on();
    let suspended = if stops_in_order { resume::suspend(&mut run).map(|()| true) } else { Ok(false) };
    let story = run.story;
    let mut finished = engine.finish();
    if crew.config.can_go_on() && (passed.ended != Ended::Quiet || finished.error.is_some()) {
        crew.keep_checkpoint();
    }
    match suspended {
        Ok(true) => crew.suspend(),
        Ok(false) => {}
        // The run ends as any that is stopped by an error, with its books.
        Err(error) => finished.error = finished.error.or(Some(error)),
    }
    Ok(Ran::Through(Box::new(passed), Box::new(story), Box::new(finished)))
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
