//! Deletions: the guards judge the plan of all ranks as a whole; then it is carried out.

use bincode::{Decode, Encode};

use super::agree::agree;
use super::begin;
use super::crew::{Crew, any_rank};
use super::frame::{Entry, Run};
use super::story::Stage;
use super::trash;
use crate::config::Command;
use crate::counters::{Counters, Number};
use crate::engine::{Ended, Engine};
use crate::fault::Error;
use crate::tree::TreePath;
use crate::tree::guard::{self, Guards, Held, Loss, Losses, TooMany, Verdict};

/// What was judged.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Judged {
    /// What the guards said.
    pub verdict: Verdict,
    /// Entries of DST that the plan saw.
    pub seen: u64,
    /// The plan is only written down.
    pub is_plan: bool,
    /// Why nothing is removed, or would be.
    pub refused: Option<String>,
    /// `--trash`: directories that are to go and will not, as something in them stays.
    pub staying: Vec<TreePath>,
}

impl Judged {
    /// Nothing is removed in any case: the plan is what was asked for.
    pub fn only_planned(&mut self) {
        self.is_plan = true;
        self.verdict.too_many = None;
    }
}

fn refusal(too_many: TooMany) -> String {
    let TooMany { planned, seen, limit } = too_many;
    format!(
        "{planned} of {seen} entries of DST would be removed, and only {limit} may be. Look at the plan \
         (pmirror rm --target-only --plan FILE SRC DST); if it is right, pass --max-delete {planned}"
    )
}

/// Subtrees of one rank whose losses are counted; they go to all ranks in one message.
const SUBTREES_MAX: usize = 200_000;

fn too_many_subtrees(max: usize) -> Error {
    Error::Refused(format!(
        "more than {max} subtrees are to be judged, so nothing is removed: choose a smaller --hold-depth, or a larger \
         --max-memory"
    ))
}

/// Judges the plan. All ranks come to the same verdict. `seen`: so many entries DST has beside those that
/// the walk of this run saw.
pub fn judge(engine: &mut Engine<'_>, crew: &Crew<'_>, guards: &Guards, seen: u64) -> Result<Judged, Error> {
    let counters = engine.counters();
    let mine = Loss { seen: counters.number(Number::TargetSeen), planned: counters.planned() };
    let losses: Vec<_> = engine.losses().into_iter().collect();
    let max = SUBTREES_MAX.min(crew.memory.shares.subtrees);
    let losses = if losses.len() <= max { Ok((mine, losses)) } else { Err(too_many_subtrees(max)) };
    let parts = agree(engine.comm(), &crew.roster, losses)?;
    let (mut all, mut subtrees) = (Loss { seen, planned: 0 }, Losses::new());
    for (loss, losses) in parts {
        all.add(loss);
        for (path, loss) in losses {
            subtrees.entry(path).or_default().add(loss);
        }
    }
    let verdict = guard::judge(guards, all, &subtrees);
    let refused = verdict.too_many.map(refusal);
    let judged = Judged { verdict, seen: all.seen, is_plan: false, refused, staying: Vec::new() };
    hold(engine, crew, guards, &judged);
    Ok(judged)
}

/// From now on nothing is removed in the subtrees that the guards hold.
pub fn hold(engine: &Engine<'_>, crew: &Crew<'_>, guards: &Guards, judged: &Judged) {
    let Verdict { held, too_many } = &judged.verdict;
    let held = match too_many {
        // A plan that is only written down is written whole.
        Some(_) if crew.config.writes_deletions() => Held::everything(),
        _ => Held::new(guards.hold_depth, held.iter().map(|tree| tree.path.clone())),
    };
    // Set once a run.
    let _ = engine.context().held.set(held);
}

/// Judges the plan and carries it out, unless it is refused. Before that all ranks look once more whether they see
/// the same two trees.
pub fn pass(run: &mut Run<'_, '_>, guards: &Guards, seen: u64) -> Result<Ended, Error> {
    let entry = run.enter(Stage::Remove);
    if let (Entry::Skipped | Entry::Resumed, Some(judged)) = (entry, &run.story.judged) {
        hold(run.engine, run.crew, guards, judged);
    }
    match entry {
        Entry::Skipped => return Ok(Ended::Quiet),
        Entry::Resumed => {
            trash::open(run)?;
            return Ok(run.resume("remove"));
        }
        Entry::Fresh => {}
    }
    let mut judged = judge(run.engine, run.crew, guards, seen)?;
    if run.crew.config.trash {
        judged.staying = trash::staying(run.engine, run.crew, &judged.verdict)?;
    }
    let is_refused = judged.verdict.too_many.is_some();
    run.story.judged = Some(judged);
    run.tell_story();
    let planned = any_rank(run.engine, run.engine.counters().planned());
    if is_refused || planned == 0 {
        return Ok(Ended::Quiet);
    }
    // After a copy it is no refusal before any change.
    let proven = begin::prove_again(run.crew, run.engine, &run.begun.context);
    let is_sync = matches!(run.crew.config.command, Command::Sync { .. });
    proven.map_err(|error| if is_sync { Error::Fatal(error.to_string()) } else { error })?;
    trash::open(run)?;
    run.progress.enter("remove");
    Ok(run.engine.run_plan(&mut |report| run.progress.observe(report)))
}

/// What the books say of deletions when the run is over: what was refused is held, and what had no turn
/// because the run was stopped is unfinished.
pub fn close_books(all: &mut Counters, ended: Ended, judged: Option<&Judged>) {
    use crate::tree::Fate;
    if judged.is_some_and(|judged| judged.is_plan) {
        all.end_removals(Fate::Removed);
    } else if judged.is_some_and(|judged| judged.verdict.too_many.is_some()) {
        all.end_removals(Fate::Held);
    } else if ended != Ended::Quiet {
        all.end_removals(Fate::Unfinished);
    }
}
