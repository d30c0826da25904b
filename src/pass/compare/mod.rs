//! Look at both trees side by side, and tell in what they differ: the mirror's walk with hands that
//! only look.

mod entry;
mod judge;
mod large;
mod links;
mod listed;
pub(in crate::pass) mod sides;

use std::time::Instant;

use nix::errno::Errno;

use self::judge::{Judged, Subject};
use self::sides::Sides;
use super::listing::{Listings, Part as Round, TooMany, listings};
use super::mirror::listed::Part;
use super::mirror::{abandon, names_unknown, note, outcome_of, report};
use super::{Context, Effects, Purpose, Watch, chunk, share};
use crate::fault::{Failure, Side};
use crate::fs::attributes;
use crate::tree::difference::{Comparing, Level};
use crate::tree::{Aspect, Aspects, Attributes, Difference, DirectoryItem, Item, Kind, Names, Outcome, TreePath};

/// What every step of a comparison needs.
pub struct Look<'l> {
    /// The run.
    pub context: &'l Context,
    /// What is compared.
    pub comparing: &'l Comparing,
    /// Where we say what we are doing.
    pub watch: &'l Watch,
    /// What comes of it.
    pub effects: &'l mut Effects,
    /// Large files that were cut, for any rank to read.
    pub chunks: Vec<Item>,
}

/// Runs one item.
pub fn process(context: &Context, item: Item, watch: &Watch, effects: &mut Effects) {
    let everything = Comparing { level: Level::Hash, sample: None };
    let comparing = if let Purpose::Compare(comparing) = &context.purpose { comparing } else { &everything };
    let mut look = Look { context, comparing, watch, effects, chunks: Vec::new() };
    match item {
        Item::Directory(item) => look.directory(item),
        Item::Round { directory, round, rounds } => look.round(directory, Round { round, rounds }),
        Item::Batch { directory, names } | Item::Again { directory, names } => look.batch(directory, &names),
        Item::Link(group) => links::group(&mut look, group),
        Item::Listed { directory, extent, settles } => listed::listed(&mut look, Part { directory, extent, settles }),
        Item::Chunks { file, first, count } => chunk::chunks(context, file, first, count, watch, look.effects),
        Item::Publish { file, fate } => large::judge(&mut look, &file, fate),
        // Names are removed, and directories settled, only where something is written.
        Item::Doom { .. }
        | Item::Remove { .. }
        | Item::RemoveDirectory { .. }
        | Item::Resettle(_)
        | Item::Plan { .. } => {}
        Item::Settle { directory, .. } => {
            let note = "nothing is settled where nothing is written";
            look.effects.miss(Kind::Directory, directory.path, Outcome::Failed, Side::Target, note);
        }
    }
    // Last, as a rank takes its newest item: a large file that was begun comes before further ones.
    let chunks = look.chunks;
    effects.items.extend(chunks);
}

impl Look<'_> {
    fn directory(&mut self, item: DirectoryItem) {
        self.watch.begin("open", &item.path, None);
        let sides = match Sides::open(self.context, item.clone()) {
            Ok(sides) => sides,
            Err(trouble) => return report(&item, trouble, self.effects),
        };
        self.watch.begin("list", &item.path, None);
        match self.listings(&sides, Round::WHOLE) {
            Ok(_) if self.effects.is_put_off() => {}
            Ok(listings) => {
                match listings.broken {
                    Some(outcome) => self.effects.end(Kind::Directory, outcome),
                    None => self.itself(&sides),
                }
                self.names(&sides, &listings);
            }
            Err(TooMany { rounds }) => {
                self.itself(&sides);
                share::rounds(&item, rounds, self.effects);
            }
        }
    }

    fn round(&mut self, item: DirectoryItem, part: Round) {
        self.watch.begin("list", &item.path, None);
        let sides = match Sides::open(self.context, item.clone()) {
            Ok(sides) => sides,
            Err(trouble) => {
                note(&item, trouble, self.effects);
                return names_unknown(outcome_of(trouble), self.effects);
            }
        };
        if let Ok(listings) = self.listings(&sides, part)
            && !self.effects.is_put_off()
        {
            if let Some(outcome) = listings.broken {
                names_unknown(outcome, self.effects);
            }
            self.names(&sides, &listings);
        }
    }

    fn batch(&mut self, item: DirectoryItem, names: &Names) {
        self.watch.begin("open", &item.path, None);
        match Sides::open(self.context, item.clone()) {
            Ok(sides) => self.work_on(&sides, names),
            Err(trouble) => {
                note(&item, trouble, self.effects);
                abandon(&item, names, trouble, self.effects);
            }
        }
    }

    fn listings(&mut self, sides: &Sides, part: Round) -> Result<Listings, TooMany> {
        let target = sides.target.as_ref().map(|(target, _)| target);
        listings(self.context, &sides.item, &sides.source, target, part, self.effects)
    }

    /// The directory's own attributes. One that only the source has was told with its parent.
    fn itself(&mut self, sides: &Sides) {
        let path = &sides.item.path;
        let Some((target, target_was)) = &sides.target else {
            return self.effects.end(Kind::Directory, Outcome::Different);
        };
        let judged = judge::directory(self, (&sides.source, target), (sides.source_was, *target_was));
        self.conclude(Kind::Directory, path, judged);
    }

    fn names(&mut self, sides: &Sides, listings: &Listings) {
        if listings.broken.is_none() {
            self.target_only(sides, &listings.target_only);
        }
        if listings.names.len() <= self.context.grain.batch_names_max {
            return self.work_on(sides, &listings.names);
        }
        share::all(self.context, &sides.item, &listings.names, self.effects);
    }

    /// The topmost names that only the target has; what lies below them is not looked at.
    fn target_only(&mut self, sides: &Sides, names: &Names) {
        let Some((directory, _)) = &sides.target else { return };
        for (name, listed) in names.iter() {
            let looked = if listed.kind.is_none() { attributes::of_name(directory, name).ok() } else { None };
            let kind = listed.kind.or(looked.map(|found| found.kind)).unwrap_or(Kind::Unknown);
            let aspects = Aspect::TargetOnly.into();
            let path = sides.item.path.join(name);
            self.effects.differ(Difference {
                path,
                kind,
                aspects,
                source: None,
                target: looked.map(Box::new),
                leader: None,
            });
        }
    }

    /// Works on names until they are done or it is time to let others have the rest.
    fn work_on(&mut self, sides: &Sides, names: &Names) {
        let started = Instant::now();
        let mut done = 0;
        self.watch.begin("compare", &sides.item.path, None);
        for (name, listed) in names.iter() {
            self.watch.next_name("compare", name, listed.kind);
            self.context.limits.entry(self.watch);
            entry::one(self, sides, name, listed);
            done += 1;
            let is_enough = self.context.grain.is_enough(started, self.watch) || !self.chunks.is_empty();
            if self.watch.must_stop() || is_enough {
                break;
            }
        }
        if done < names.len() {
            share::rest(self.context, &sides.item, names, done, self.effects);
        }
    }

    /// Enters what was found of a pair.
    fn conclude(&mut self, kind: Kind, path: &TreePath, judged: Result<Judged, Failure>) {
        match judged {
            Ok(Judged::Found(found, pair)) => {
                found.count(self.effects);
                self.found(Subject { kind, path, leader: None }, found.aspects, pair);
            }
            Ok(Judged::Moving(side)) => self.moving(kind, path, side),
            Err(failure) => self.failed(kind, path, failure),
        }
    }

    fn found(&mut self, subject: Subject<'_>, aspects: Aspects, (source, target): (Attributes, Attributes)) {
        let Subject { kind, path, leader } = subject;
        if aspects.is_empty() {
            return self.effects.end(kind, Outcome::Same);
        }
        self.effects.end(kind, Outcome::Different);
        let (path, kind) = (path.clone(), source.kind);
        self.effects.differ(Difference {
            path,
            kind,
            aspects,
            source: Some(source.into()),
            target: Some(target.into()),
            leader,
        });
    }

    /// Only the source has the name, or it has a directory where the target has something else.
    fn alone(&mut self, path: TreePath, aspect: Aspect, source: Attributes, target: Option<Attributes>) {
        let (kind, aspects) = (source.kind, aspect.into());
        self.effects.differ(Difference {
            path,
            kind,
            aspects,
            source: Some(source.into()),
            target: target.map(Box::new),
            leader: None,
        });
    }

    fn moving(&mut self, kind: Kind, path: &TreePath, side: Side) {
        self.effects.miss(kind, path.clone(), Outcome::Changed, side, "changed each time it was looked at");
    }

    /// A system call failed for an entry. It may only show that it is no longer what was listed.
    fn failed(&mut self, kind: Kind, path: &TreePath, failure: Failure) {
        let path = path.clone();
        match (failure.side, Errno::from_raw(failure.errno), failure.operation) {
            (Side::Source, Errno::ENOENT, _) => {
                self.effects.miss(kind, path, Outcome::Vanished, Side::Source, "");
            }
            (side, Errno::ENOENT, _) | (side, Errno::ELOOP, "openat") | (side, Errno::EINVAL, "readlinkat") => {
                self.effects.miss(kind, path, Outcome::Changed, side, "replaced while it was looked at");
            }
            _ => self.effects.fail(kind, path, failure),
        }
    }
}
