//! Walk SRC and count what it holds, for what is said before a run. Nothing is written, and DST is not looked at.

use std::collections::HashMap;
use std::ffi::CStr;
use std::time::Instant;

use nix::errno::Errno;

use super::compare::sides::Sides;
use super::listing::{Listings, Part, TooMany, listings};
use super::mirror::{abandon, names_unknown, note, outcome_of, report};
use super::pair::{Trouble as Closed, mount_of};
use super::{Context, Effects, Watch, aside, chosen, share};
use crate::fault::{Failure, Side};
use crate::fs::xattr::{self, Choice, Xattrs};
use crate::fs::{attributes, open};
use crate::tree::census::{Extras, Trouble, folded};
use crate::tree::decide::Skip;
use crate::tree::names::Listed;
use crate::tree::{Attributes, DirectoryItem, Item, Kind, Names, Outcome, Parked, TreePath};

/// Runs one item.
pub fn process(context: &Context, item: Item, watch: &Watch, effects: &mut Effects) {
    let mut count = Count { context, watch, effects };
    match item {
        Item::Directory(item) => count.directory(item),
        Item::Round { directory, round, rounds } => count.round(directory, Part { round, rounds }),
        Item::Batch { directory, names } | Item::Again { directory, names } => count.batch(directory, &names),
        // Nothing else comes of this walk.
        _ => {}
    }
}

struct Count<'c> {
    context: &'c Context,
    watch: &'c Watch,
    effects: &'c mut Effects,
}

impl Count<'_> {
    fn directory(&mut self, item: DirectoryItem) {
        self.watch.begin("open", &item.path, None);
        let sides = match Sides::open(self.context, item.clone()) {
            Ok(sides) => sides,
            Err(trouble) => {
                self.closed(&item.path, trouble);
                return report(&item, trouble, self.effects);
            }
        };
        self.watch.begin("list", &item.path, None);
        match self.list(&sides, Part::WHOLE) {
            Ok(_) if self.effects.is_put_off() => {}
            Ok(listings) => {
                self.effects.end(Kind::Directory, listings.broken.unwrap_or(Outcome::Same));
                self.effects.census().see_names(&item.path, listings.names.len() as u64);
                self.folds(&item.path, &listings.names);
                self.names(&sides, &listings.names);
            }
            Err(TooMany { rounds }) => {
                self.effects.end(Kind::Directory, Outcome::Same);
                share::rounds(&item, rounds, self.effects);
            }
        }
    }

    /// Of a directory that is looked at in rounds each counts its own names: which fold together is not seen.
    fn round(&mut self, item: DirectoryItem, part: Part) {
        self.watch.begin("list", &item.path, None);
        let sides = match Sides::open(self.context, item.clone()) {
            Ok(sides) => sides,
            Err(trouble) => {
                note(&item, trouble, self.effects);
                return names_unknown(outcome_of(trouble), self.effects);
            }
        };
        if let Ok(listings) = self.list(&sides, part)
            && !self.effects.is_put_off()
        {
            if let Some(outcome) = listings.broken {
                names_unknown(outcome, self.effects);
            }
            let names = (listings.names.len() as u64).saturating_mul(u64::from(part.rounds));
            self.effects.census().see_names(&item.path, names);
            self.names(&sides, &listings.names);
        }
    }

    fn batch(&mut self, item: DirectoryItem, names: &Names) {
        self.watch.begin("open", &item.path, None);
        match Sides::open(self.context, item.clone()) {
            Ok(sides) => self.work_on(&sides, names),
            Err(trouble) => {
                self.closed(&item.path, trouble);
                note(&item, trouble, self.effects);
                abandon(&item, names, trouble, self.effects);
            }
        }
    }

    fn list(&mut self, sides: &Sides, part: Part) -> Result<Listings, TooMany> {
        listings(self.context, &sides.item, &sides.source, None, part, self.effects)
    }

    fn closed(&mut self, path: &TreePath, trouble: Closed) {
        if let Closed::Failed(failure) = trouble {
            self.refused(path, failure);
        }
    }

    /// What we may not read is counted once, however often it is tried.
    fn refused(&mut self, path: &TreePath, failure: Failure) {
        if failure.side == Side::Source && failure.errno == Errno::EACCES as i32 {
            self.effects.census().find(Trouble::Unreadable, path);
        }
    }

    fn folds(&mut self, directory: &TreePath, names: &Names) {
        if !self.context.policy.target.folds_case {
            return;
        }
        let mut known: HashMap<Vec<u8>, ()> = HashMap::with_capacity(names.len());
        for (name, _) in names.iter() {
            if known.insert(folded(name.to_bytes()), ()).is_some() {
                self.effects.census().find(Trouble::Folds, &directory.join(name));
            }
        }
    }

    fn names(&mut self, sides: &Sides, names: &Names) {
        if names.len() <= self.context.grain.batch_names_max {
            return self.work_on(sides, names);
        }
        share::all(self.context, &sides.item, names, self.effects);
    }

    /// Works on names until they are done or it is time to let others have the rest.
    fn work_on(&mut self, sides: &Sides, names: &Names) {
        let (started, mut done) = (Instant::now(), 0);
        self.watch.begin("count", &sides.item.path, None);
        for (name, listed) in names.iter() {
            self.watch.next_name("count", name, listed.kind);
            self.context.limits.entry(self.watch);
            self.one(sides, name, listed);
            done += 1;
            if self.watch.must_stop() || self.context.grain.is_enough(started, self.watch) {
                break;
            }
        }
        if done < names.len() {
            share::rest(self.context, &sides.item, names, done, self.effects);
        }
    }

    fn one(&mut self, sides: &Sides, name: &CStr, listed: Listed) {
        let path = sides.item.path.join(name);
        self.effects.measured = None;
        let looked = attributes::of_name(&sides.source, name);
        let seen = looked.as_ref().map_or(Kind::Unknown, |found| found.kind);
        let kind = listed.kind.unwrap_or(seen);
        self.effects.see(kind);
        if self.context.sets_aside(&path) {
            return aside::fail(path, kind, self.effects);
        }
        if listed.kind.is_none() && chosen::leaves_out(self.context, &sides.item.path, name, seen) {
            return self.effects.skip(kind, Skip::Excluded);
        }
        match looked {
            Ok(found) => self.found(sides, name, (kind, path), &found),
            Err(failure) => self.failed(kind, path, failure),
        }
    }

    fn found(&mut self, sides: &Sides, name: &CStr, (kind, path): (Kind, TreePath), found: &Attributes) {
        let policy = &self.context.policy;
        if let Some(skip) = self.context.filter.of_attributes(found) {
            return self.effects.skip(kind, skip);
        }
        if found.kind.is_special() && !policy.specials {
            return self.effects.skip(kind, Skip::Special);
        }
        let is_directory = found.kind == Kind::Directory;
        if is_directory && policy.one_file_system && found.device != sides.source_was.device {
            return self.effects.skip(kind, Skip::MountPoint);
        }
        if is_directory && kind != Kind::Directory {
            let note = "it became a directory while we looked";
            return self.effects.miss(kind, path, Outcome::Changed, Side::Source, note);
        }
        let (held, us) = (policy.target.times, policy.target.uid);
        let looked = self.look_closer(sides, name, &path, found.kind);
        // What is tried again is counted then.
        if !is_directory && looked.is_err_and(|failure| self.effects.may_pass(failure)) {
            return looked.err().map_or((), |failure| self.failed(kind, path, failure));
        }
        self.effects.census().see(&path, found, &held, us);
        if found.kind == Kind::File {
            self.effects.measure(found);
        }
        match looked {
            Err(failure) if !is_directory => self.failed(kind, path, failure),
            // The item of its own says what is wrong with a directory, and has its place in the books.
            _ if is_directory => self.effects.items.push(Item::Directory(DirectoryItem {
                path,
                source: found.identity,
                target: None,
                mount: mount_of(&sides.item, &sides.source_was, name, found),
                made: false,
                parked: Parked::NEVER,
            })),
            _ => self.effects.end(kind, Outcome::Same),
        }
    }

    /// Whether we may read it, and what it has beside its attributes.
    fn look_closer(&mut self, sides: &Sides, name: &CStr, path: &TreePath, kind: Kind) -> Result<(), Failure> {
        let policy = &self.context.policy;
        let choice = Choice { acls: policy.acls, others: policy.xattrs, privileged: policy.target.uid == 0 };
        if kind == Kind::File && !policy.target.overrides_permissions {
            open::may_read(&sides.source, name)?;
        }
        if !choice.acls && !choice.others {
            return Ok(());
        }
        let found = extras(&xattr::read(&open::entry(&sides.source, name)?, choice)?);
        self.effects.census().see_xattrs(path, found);
        Ok(())
    }

    fn failed(&mut self, kind: Kind, path: TreePath, failure: Failure) {
        if failure.errno == Errno::ENOENT as i32 {
            return self.effects.miss(kind, path, Outcome::Vanished, Side::Source, "");
        }
        self.refused(&path, failure);
        self.effects.fail(kind, path, failure);
    }
}

/// How large what is kept of an entry is.
fn extras(xattrs: &Xattrs) -> Extras {
    let mut extras = Extras { for_root: xattrs.beyond_rights > 0, ..Extras::default() };
    for (name, value) in &xattrs.kept {
        let (bytes, name) = (value.len() as u64, name.as_c_str());
        if name == xattr::ACCESS_ACL || name == xattr::DEFAULT_ACL {
            extras.acl = extras.acl.max(bytes);
            continue;
        }
        extras.largest = extras.largest.max(bytes.max(1));
        extras.all += bytes + name.to_bytes_with_nul().len() as u64;
        extras.for_root |= !name.to_bytes().starts_with(b"user.");
    }
    extras
}
