//! What a run says at its start of how safe it is: which users get to DST meanwhile, and, with `--sandbox`, what the
//! kernel keeps us from.

use std::mem;

use bincode::{Decode, Encode};
use nix::unistd::geteuid;

use super::agree::{Roster, agree};
use super::crew::Crew;
use crate::comm::Comm;
use crate::config::Command;
use crate::fault::Error;
use crate::fs::cage::Cage;
use crate::fs::operator::{RunDirectory, path_of};
use crate::fs::roots::Belts;
use crate::fs::{Fd, gates, view};
use crate::report;
use crate::report::summary::{Sandbox, TargetReach};
use crate::tree::reach;

/// What a run has secured.
#[derive(Debug, Default)]
pub struct Secured {
    /// The absolute path of the source: a view of it has none.
    pub source_path: Vec<u8>,
    /// What is in force on this rank.
    pub belts: Belts,
    /// For the record.
    pub told: Told,
}

/// What the record says of it.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// `--sandbox`.
    pub sandbox: Option<Sandbox>,
    /// Of a run that writes files.
    pub reach: Option<TargetReach>,
}

/// The trees of a run that is about to begin.
pub struct Places<'p> {
    /// SRC; a view of it may take its place. `None`: the command has none.
    pub source: Option<&'p mut Fd>,
    /// DST; `None`: it is not made.
    pub target: Option<&'p Fd>,
    /// Where workers spill and list.
    pub run_directory: &'p RunDirectory,
}

/// Secures the run on every rank.
pub fn secure(crew: &Crew<'_>, comm: &mut dyn Comm, places: Places<'_>) -> Result<Secured, Error> {
    let source_path = places.source.as_deref().map(path_of).unwrap_or_default();
    let reach = reach_of_target(crew, places.target);
    if let (Some(reach), false) = (&reach, crew.config.quiet) {
        report::say(&reach.text);
    }
    let (belts, sandbox) = if crew.config.sandbox {
        let (belts, worn) = put_on(places, crew.config.writes());
        let told = told(&crew.roster, &agree(comm, &crew.roster, Ok(worn))?);
        if crew.is_root() && !crew.config.quiet {
            told.1.iter().for_each(|line| report::say(line));
        }
        (belts, Some(told.0))
    } else {
        (Belts::default(), None)
    };
    Ok(Secured { source_path, belts, told: Told { sandbox, reach } })
}

/// Rank 0, of a run that fills DST: who gets there.
fn reach_of_target(crew: &Crew<'_>, target: Option<&Fd>) -> Option<TargetReach> {
    let fills = matches!(crew.config.command, Command::Sync { .. }) && crew.config.writes() && crew.is_root();
    // Where it can not be told nothing is told.
    let gates = gates::on_the_way_to(target.filter(|_| fills)?).ok()?;
    let us = geteuid().as_raw();
    let reach = reach::judge(&gates, us);
    Some(TargetReach { users: reach.word(), text: reach.text(us) })
}

/// What one rank could have.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Worn {
    /// The view of SRC, if there is one: whether links in it lead nowhere, or why it can not be had.
    view: Option<Result<bool, String>>,
    /// Landlock.
    cage: Result<(), String>,
}

fn put_on(places: Places<'_>, writes: bool) -> (Belts, Worn) {
    let Places { source, target, run_directory } = places;
    let (mut belts, mut worn) = (Belts::default(), Worn { view: None, cage: Ok(()) });
    let mut readable: Vec<&Fd> = Vec::new();
    if let Some(source) = source {
        worn.view = Some(view::read_only(source).map(|view| {
            belts.mounts = Some(view.mounts);
            belts.unviewed = Some(mem::replace(source, view.root));
            view.follows_no_links
        }));
        readable.push(source);
    }
    let cage = run_directory.open_directory().map_err(|error| error.to_string()).and_then(|run_directory| {
        let mut writable = vec![&run_directory];
        if writes {
            writable.extend(target)
        } else {
            readable.extend(target)
        }
        Cage::build(&readable, &writable)
    });
    worn.cage = cage.map(|cage| belts.cage = Some(cage));
    (belts, worn)
}

impl Worn {
    fn missing(&self) -> Vec<String> {
        let view = self.view.as_ref().and_then(|view| match view {
            Ok(true) => None,
            Ok(false) => {
                Some("links in SRC are followed by the kernel: it can not forbid that (Linux 5.14)".to_owned())
            }
            Err(why) => Some(format!("no read-only view of SRC: {why}")),
        });
        let cage = self.cage.as_ref().err().map(|why| format!("no Landlock: {why}"));
        view.into_iter().chain(cage).collect()
    }

    fn text(&self) -> String {
        let view = match self.view {
            Some(Ok(true)) => Some("we see SRC read-only, and links in it lead nowhere"),
            Some(Ok(false)) => Some("we see SRC read-only"),
            Some(Err(_)) | None => None,
        };
        let cage = "by Landlock workers open nothing but what the run is about";
        let cage = self.cage.is_ok().then_some(cage);
        let had = view.into_iter().chain(cage).map(str::to_owned);
        had.chain(self.missing()).collect::<Vec<_>>().join("; ")
    }
}

/// For the record, and a line for each sort of ranks.
fn told(roster: &Roster, worn: &[Worn]) -> (Sandbox, Vec<String>) {
    let mut sorts: Vec<(usize, &Worn, usize)> = Vec::new();
    for (rank, worn) in worn.iter().enumerate() {
        match sorts.iter_mut().find(|(_, known, _)| *known == worn) {
            Some((.., others)) => *others += 1,
            None => sorts.push((rank, worn, 0)),
        }
    }
    let place = |rank: usize, others: usize| match (sorts.len(), others) {
        (1, _) => String::new(),
        (_, 0) => format!(" of {}", roster.name(rank)),
        _ => format!(" of {} and {others} more", roster.name(rank)),
    };
    let line =
        |&(rank, worn, others): &(usize, &Worn, usize)| format!("sandbox{}: {}", place(rank, others), worn.text());
    let lines = sorts.iter().map(line).collect();
    let mut missing: Vec<String> = sorts.iter().flat_map(|(_, worn, _)| worn.missing()).collect();
    missing.sort();
    missing.dedup();
    let has_source = worn.iter().any(|worn| worn.view.is_some());
    let source_read_only = has_source.then(|| worn.iter().all(|worn| matches!(worn.view, Some(Ok(_)))));
    let sandbox = Sandbox { source_read_only, landlock: worn.iter().all(|worn| worn.cage.is_ok()), missing };
    (sandbox, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::Alone;

    fn worn(view: Result<bool, &str>, cage: Result<(), &str>) -> Worn {
        Worn { view: Some(view.map_err(str::to_owned)), cage: cage.map_err(str::to_owned) }
    }

    #[test]
    fn one_line_says_what_all_ranks_have_and_what_they_lack() {
        let roster = Roster::call(&mut Alone::default());
        let all = vec![worn(Ok(true), Err("old kernel")); 3];
        let (sandbox, lines) = told(&roster, &all);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("sandbox: we see SRC read-only") && lines[0].ends_with("no Landlock: old kernel"));
        assert_eq!((sandbox.source_read_only, sandbox.landlock), (Some(true), false));
        assert_eq!(sandbox.missing, ["no Landlock: old kernel"]);
    }

    #[test]
    fn ranks_that_lack_more_than_others_are_named() {
        let roster = Roster::call(&mut Alone::default());
        let (good, bad) = (worn(Ok(true), Ok(())), worn(Err("no right"), Ok(())));
        let (sandbox, lines) = told(&roster, &[good, bad.clone(), bad]);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("sandbox of rank 1 on ") && lines[1].contains(" and 1 more: "), "{lines:?}");
        assert_eq!((sandbox.source_read_only, sandbox.landlock), (Some(false), true));
    }
}
