//! A run that goes on from a checkpoint, and one that leaves one when it is stopped.

use super::agree::{agree, from_root};
use super::begin::Begun;
use super::crew::{Crew, History, any_rank};
use super::frame::Run;
use super::story::Story;
use crate::comm::Comm;
use crate::engine::{Archive, Ended, Engine, Loader, Manifest};
use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::headway::Headway;
use crate::sched::Stop;
use crate::wire;

/// A checkpoint that is gone on from.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// What all its parts have in common.
    pub manifest: Manifest,
    /// Where the run was.
    pub story: Story,
}

/// Reads the checkpoint that is in force, if the run is to go on from it. Nothing has been touched yet.
pub fn read(crew: &mut Crew<'_>, comm: &mut dyn Comm) -> Result<Option<Resumed>, Error> {
    if !crew.config.resume {
        return Ok(None);
    }
    let run = RunDirectory::new(&crew.config.state_dir, &crew.config.run_id);
    let manifest = from_root(comm, &crew.roster, || Manifest::read(&run)?.ok_or_else(|| no_checkpoint(crew)))?;
    let story: Story =
        wire::decode("story of a run", &manifest.story).map_err(|_| Error::Usage(OTHER_VERSION.to_owned()))?;
    let Manifest { attempt, seconds, headway, .. } = manifest;
    let list = Some(story.list);
    crew.history = History { attempt: attempt + 1, listed: manifest.listed.clone(), seconds, headway, list };
    Ok(Some(Resumed { manifest, story }))
}

const OTHER_VERSION: &str =
    "the checkpoint was taken by another version of pmirror: resume with that one, or run the first command again";

fn no_checkpoint(crew: &Crew<'_>) -> Error {
    Error::Usage(format!(
        "run {} has no checkpoint to go on from: it came to its end, or died before the first one. Run the first \
         command again: what is done is not done twice",
        crew.config.run_id
    ))
}

/// A checkpoint of other trees or options proves nothing about these.
pub fn must_fit(resumed: &Resumed, crew: &Crew<'_>, begun: &Begun) -> Result<(), Error> {
    let mine = Story::new(crew.config, begun);
    let refused = |why| Error::Refused(format!("the checkpoint of run {} can not be used: {why}", crew.config.run_id));
    mine.differs_in(&resumed.story).map_or(Ok(()), |why| Err(refused(why)))
}

/// Takes over what the checkpoint has: items stay with the rank that reads them, and what owners had is dealt out
/// to those of today, before any item runs.
pub fn take_over(engine: &mut Engine<'_>, crew: &mut Crew<'_>, resumed: &Resumed) -> Result<Ended, Error> {
    let (me, ranks) = (crew.rank(), crew.ranks());
    let mut loader = Loader::new(engine.archive().clone(), resumed.manifest.clone(), me, ranks);
    loop {
        let loaded = engine.load(&mut loader);
        let notes =
            agree(engine.comm(), &crew.roster, loaded.as_ref().map(|_| ()).map_err(Clone::clone)).and(loaded)?;
        if any_rank(engine, notes.len() as u64) == 0 {
            break;
        }
        // The checkpoint stays as it was.
        if let stopped @ Ended::Stopped(_) = engine.deal(notes) {
            return Ok(stopped);
        }
    }
    engine.end_loading();
    let temporaries: Vec<Vec<u8>> = loader.temporaries.iter().map(|name| name.to_bytes().to_vec()).collect();
    let temporaries = agree(engine.comm(), &crew.roster, Ok(temporaries))?;
    engine.context().temporaries.spare(temporaries.into_iter().flatten());
    let listed = agree(engine.comm(), &crew.roster, Ok(loader.listed))?;
    crew.history.listed.extend(listed.into_iter().flatten());
    engine.tell_history(crew.history.listed.clone());
    Ok(Ended::Quiet)
}

/// What all ranks have done, and took over.
pub fn headway(engine: &mut Engine<'_>, crew: &Crew<'_>) -> Result<Headway, Error> {
    let mine = engine.headway();
    let all = agree(engine.comm(), &crew.roster, Ok(mine))?;
    Ok(all.into_iter().fold(Headway::default(), Headway::plus))
}

/// The run is over: nothing is left to go on with. What can not be removed takes space, and no more than that.
pub fn forget(run: &RunDirectory) {
    let _ = Archive::new(run, 0).remove();
}

/// Whether a run that ended so leaves a checkpoint.
pub fn goes_on(ended: Ended) -> bool {
    matches!(ended, Ended::Stopped(Stop::Time | Stop::Signal | Stop::Halt))
}

/// All ranks have stopped, nothing is on its way: each writes its part, each node makes durable what it wrote to the
/// target, and then rank 0 puts the checkpoint in force.
pub fn suspend(run: &mut Run<'_, '_>) -> Result<(), Error> {
    // What it left beside that, the checkpoint does not know.
    if !run.begun.context.temporaries.leaves_behind() && !run.engine.has_disowned() {
        run.story.suspended.push(run.begun.context.temporaries.attempt());
    }
    run.tell_story();
    let (engine, crew) = (&mut *run.engine, run.crew);
    let last = engine.last_cut();
    let cuts = agree(engine.comm(), &crew.roster, Ok(last))?;
    let cut = cuts.into_iter().max().unwrap_or(last).next();
    let written = engine.write_part(cut).and_then(|()| super::finish::flush(crew, &run.begun.context));
    agree(engine.comm(), &crew.roster, written)?;
    let headway = headway(engine, crew)?;
    let placed = if crew.is_root() { engine.put_in_force(cut, headway) } else { Ok(()) };
    agree(engine.comm(), &crew.roster, placed).map(|_| ())
}
