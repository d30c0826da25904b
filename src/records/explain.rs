//! `pmirror explain`: the faults of a run by cause, with what probably happened and what to do.

use jiff::Timestamp;
use nix::unistd::{Uid, User};
use serde::Serialize;

use super::besides::{Besides, besides};
use super::causes::{Then, advise};
use super::groups::{Cause, Group, Groups};
use super::job::Tasks;
use super::list;
use super::run::{Run, Seen, State};
use super::subtrees::Heavy;
use super::words::{quoted, shown};
use crate::cli::explain::Explain;
use crate::fault::Error;
use crate::report::json;
use crate::slurm::Environment;

/// What is told of a run.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The run.
    pub run_id: String,
    /// Its directory.
    pub run_directory: String,
    /// It was not named, and is the newest.
    pub is_newest: bool,
    /// See `pmirror status`.
    pub state: &'static str,
    /// What it was.
    pub command: String,
    /// Of a run that has ended.
    pub exit_code: Option<u8>,
    /// What went wrong with it as a whole.
    pub error: Option<String>,
    /// All faults.
    pub faults: u64,
    /// Lines of the list that can not be read.
    pub unreadable_lines: u64,
    /// The causes, the largest first.
    pub causes: Vec<Explained>,
    /// Of a job of many tasks: those that were not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// Causes that are not told, and their faults.
    pub others: Others,
    /// What else kept entries from being mirrored, or should be known.
    pub besides: Vec<Besides>,
    /// How to go on with the run as a whole, where it did not come to its end.
    pub go_on: Option<String>,
}

/// What is left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Others {
    /// Causes.
    pub causes: u64,
    /// Their faults.
    pub faults: u64,
}

/// A cause.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// How many faults.
    pub count: u64,
    /// What became of the entries.
    pub outcome: String,
    /// The error's name.
    pub errno: String,
    /// In words.
    pub message: String,
    /// The system call, or what was done.
    pub operation: String,
    /// The tree.
    pub side: String,
    /// What the run said of it.
    pub note: String,
    /// The deepest directories that hold most of them.
    pub subtrees: Vec<Subtree>,
    /// Whose most of them are.
    pub owners: Vec<Owner>,
    /// One of them.
    pub sample: String,
    /// What probably happened.
    pub happened: &'static str,
    /// What to do first.
    pub remedy: &'static str,
    /// The command to give then.
    pub run: Option<String>,
}

/// A directory that holds many of them.
#[derive(Debug, Serialize)]
pub struct Subtree {
    /// Below the roots.
    pub path: String,
    /// How many.
    pub count: u64,
    /// There may be more.
    pub at_least: bool,
}

/// An owner.
#[derive(Debug, Serialize)]
pub struct Owner {
    /// On the source.
    pub uid: u32,
    /// Here.
    pub name: Option<String>,
    /// How many.
    pub count: u64,
}

/// What is to be printed.
pub fn explain(asked: &Explain, environment: &Environment) -> Result<String, Error> {
    let run = Run::find(asked.run.as_ref(), asked.state_dir.as_deref(), environment)?;
    let seen = run.look(Timestamp::now())?;
    let explanation = explanation(&run, &seen, usize::try_from(asked.top).unwrap_or(usize::MAX))?;
    if asked.json {
        let json = json::pretty(&explanation);
        return json.map(|json| json + "\n").map_err(|error| Error::Fatal(error.to_string()));
    }
    Ok(super::explain_text::render(&explanation))
}

fn explanation(run: &Run, seen: &Seen, top: usize) -> Result<Explanation, Error> {
    let unreadable = |error| Error::Fatal(format!("the faults of run {} can not be read: {error}", run.id));
    let lists = list::of_run(&run.directory, seen.state == State::Ended).map_err(unreadable)?;
    let mut groups = Groups::default();
    let unreadable_lines = list::read(&run.directory, &lists, &mut |fault| groups.add(fault)).map_err(unreadable)?;
    let mut all = groups.all;
    let mut groups = groups.close();
    let counted = seen.ending.as_ref().map_or(0, super::ending::Ending::faults);
    if groups.is_empty() && counted > 0 {
        // The list is gone; the summary still has its causes.
        (all, groups) = (counted, seen.ending.iter().flat_map(super::ending::Ending::causes).collect());
    }
    let told = groups.len().min(top);
    let others = groups.get(told..).unwrap_or_default();
    let others = Others { causes: others.len() as u64, faults: others.iter().map(|group| group.count).sum() };
    groups.truncate(told);
    let then = Commands { run, seen };
    let ending = seen.ending.as_ref();
    let counts = ending.and_then(|ending| ending.job.as_ref()).map(|job| job.tasks);
    let tasks = (seen.started.command == "run").then(|| Tasks::of(&run.directory, counts, top)).transpose();
    Ok(Explanation {
        run_id: run.id.clone(),
        run_directory: shown(run.directory.path().as_os_str().as_encoded_bytes()),
        is_newest: run.is_newest,
        state: seen.state.word(),
        command: seen.started.command.clone(),
        exit_code: ending.map(|ending| ending.exit_code),
        error: ending.and_then(|ending| ending.error.clone()),
        faults: all,
        unreadable_lines,
        causes: groups.iter().map(|group| explained(group, &then)).collect(),
        tasks: tasks.map_err(unreadable)?,
        others,
        besides: ending.map(besides).unwrap_or_default(),
        go_on: then.go_on(),
    })
}

fn explained(group: &Group, then: &Commands<'_>) -> Explained {
    let several = Cause { note: "causes beyond the first hundred".to_owned(), ..Cause::default() };
    let cause = group.cause.clone().unwrap_or(several);
    let advice = advise(&cause);
    let subtree = |heavy: &Heavy| Subtree { path: shown(&heavy.path), count: heavy.count, at_least: group.at_least };
    let owner = |&(uid, count): &(u32, u64)| Owner { uid, name: name_of(uid), count };
    Explained {
        count: group.count,
        message: crate::report::summary::describe(&cause.errno).to_owned(),
        subtrees: group.subtrees.iter().map(subtree).collect(),
        owners: group.owners.iter().map(owner).collect(),
        sample: shown(&group.sample),
        happened: advice.happened,
        remedy: advice.remedy,
        run: then.command(advice.then, &cause, group),
        outcome: cause.outcome,
        errno: cause.errno,
        operation: cause.operation,
        side: cause.side,
        note: cause.note,
    }
}

fn name_of(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// The commands that go on with a run.
pub struct Commands<'r> {
    /// The run.
    pub run: &'r Run,
    /// What was found of it.
    pub seen: &'r Seen,
}

impl Commands<'_> {
    fn of_run(&self, command: &str) -> String {
        format!("pmirror {command} {}", quoted(&self.run.word))
    }

    /// How to go on with a run that did not come to its end.
    pub fn go_on(&self) -> Option<String> {
        let goes_on = self.seen.ending.as_ref().is_some_and(|ending| ending.goes_on);
        let has_died = matches!(self.seen.state, State::Died | State::Silent);
        let resumes = self.seen.checkpoint.is_some() || self.seen.started.command == "run";
        match (resumes, has_died) {
            _ if goes_on => Some(self.of_run("resume")),
            (true, true) => Some(self.of_run("resume")),
            (false, true) => Some(self.same_command()),
            _ => None,
        }
    }

    /// The command of the run, as it was given.
    fn same_command(&self) -> String {
        let words: Vec<String> = self.seen.started.arguments.iter().map(|word| quoted(word.as_bytes())).collect();
        words.join(" ")
    }

    fn command(&self, then: Then, cause: &Cause, group: &Group) -> Option<String> {
        let can_retry = matches!(self.seen.started.command.as_str(), "sync" | "cmp") && cause.outcome == "failed";
        match then {
            Then::Nothing => None,
            // Only a run that has ended can be retried.
            _ if matches!(self.seen.state, State::Died | State::Silent) => self.go_on(),
            Then::Retry if self.is_dry() => Some(self.same_command()),
            Then::Retry if can_retry => Some(format!("{}{}", self.of_run("retry"), choice(cause, group))),
            Then::Retry | Then::SameCommand => Some(self.same_command()),
        }
    }

    fn is_dry(&self) -> bool {
        self.seen.ending.as_ref().is_some_and(|ending| ending.dry_run)
    }
}

/// The options of `retry` that choose a cause: where its error does, and a few directories hold all of it.
fn choice(cause: &Cause, group: &Group) -> String {
    let mut options = String::new();
    if !cause.errno.is_empty() {
        options.push_str(&format!(" --errno {}", cause.errno));
    }
    if group.count == 1 && !group.sample.is_empty() {
        return format!("{options} --under {}", quoted(&group.sample));
    }
    let held: u64 = group.subtrees.iter().map(|heavy| heavy.count).sum();
    let is_below = group.subtrees.iter().all(|heavy| !heavy.path.is_empty());
    if held == group.count && is_below {
        for heavy in &group.subtrees {
            options.push_str(&format!(" --under {}", quoted(&heavy.path)));
        }
    }
    options
}
