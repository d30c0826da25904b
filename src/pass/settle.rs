//! The final metadata of directories: on the spot where nothing more will happen in them, else in a
//! pass of its own.

use super::effects::Deferred;
use super::metadata::{self, Current};
use super::pair::{Pair, Trouble};
use super::{Context, Effects, Watch, again, changes, dry, frozen, layout, project};
use crate::counters::Number;
use crate::fault::{Failure, Fault};
use crate::fs::attributes;
use crate::fs::xattr::{self, Xattrs};
use crate::tree::decide::{Differences, differences, must_look_at_xattrs, wanted};
use crate::tree::{Attributes, DirectoryItem, Item, Kind, Outcome};

/// What is to stand in the books once the directory is settled: told before anything in it changes,
/// as our own work moves its times.
fn outcome_before_changes(context: &Context, pair: &Pair<'_>) -> Result<Outcome, Failure> {
    if pair.item.made {
        return Ok(Outcome::Created);
    }
    let (source, target) = (&pair.source_was, &pair.target_was);
    let mut found = differences(&context.policy, source, target);
    if !found.any() && must_look_at_xattrs(&context.policy, source, target) {
        let choice = metadata::choice(context);
        found.xattrs = xattr::read(&pair.source, choice)? != xattr::read(&pair.target, choice)?;
    }
    Ok(if found.any() { Outcome::MetadataOnly } else { Outcome::Same })
}

/// The same, and lists what is to be set. What can not be looked at has failed.
pub fn before_changes(context: &Context, pair: &Pair<'_>, effects: &mut Effects) -> Outcome {
    let outcome = outcome_before_changes(context, pair).unwrap_or_else(|failure| {
        effects.fault(Fault::of_itself(pair.item.path.clone(), failure));
        Outcome::Failed
    });
    // One below the root was listed when it was made.
    if outcome == Outcome::MetadataOnly || pair.item.made && pair.item.path.is_root() {
        changes::directory(context, pair, effects);
    }
    outcome
}

/// Settles a directory after its walk, or leaves it to the settle pass. `whole`: nothing of it is
/// left for other items.
pub fn now_or_later(context: &Context, pair: Pair<'_>, outcome: Outcome, whole: bool, effects: &mut Effects) {
    let after_below = after_below(context, &pair.source_was, &pair.item);
    let has_directories = effects.items.iter().any(|item| matches!(item, Item::Directory(_) | Item::Listed { .. }));
    let waits_for_below = after_below.is_some() && has_directories;
    if !whole || waits_for_below || pair.item.path.is_root() {
        return defer(pair.item, outcome, after_below, effects);
    }
    match attributes::of_fd(&pair.source) {
        Ok(source) if source.ctime == pair.source_was.ctime => {
            if let Err(failure) = settle(context, &pair, &source, outcome, effects) {
                not_yet(pair, outcome, after_below, failure, effects);
            }
        }
        Ok(_) => defer(pair.item, outcome, after_below, effects),
        Err(failure) => not_yet(pair, outcome, after_below, failure, effects),
    }
}

/// What may pass is tried again in the settle pass.
fn not_yet(pair: Pair<'_>, outcome: Outcome, after_below: Option<u32>, failure: Failure, effects: &mut Effects) {
    if !effects.may_pass(failure) {
        return failed(&pair, failure, effects);
    }
    effects.released.push(failure);
    let tries = effects.tries + 1;
    effects.deferred.push(Deferred { item: Item::Settle { directory: pair.item, outcome }.after(tries), after_below });
}

/// The depth of a directory that must wait for all that is below it.
fn after_below(context: &Context, source: &Attributes, directory: &DirectoryItem) -> Option<u32> {
    closes_itself(context, source).then(|| u32::try_from(directory.path.depth()).unwrap_or(u32::MAX))
}

/// Whether the final mode would keep us out of the directory.
fn closes_itself(context: &Context, source: &Attributes) -> bool {
    let mode = wanted(&context.policy, source).mode;
    !context.policy.target.overrides_permissions && mode.is_some_and(|mode| mode & 0o700 != 0o700)
}

fn defer(directory: DirectoryItem, outcome: Outcome, after_below: Option<u32>, effects: &mut Effects) {
    effects.deferred.push(Deferred { item: Item::Settle { directory, outcome }.after(0), after_below });
}

/// Settles a directory in the settle pass.
pub fn later(context: &Context, item: &DirectoryItem, outcome: Outcome, watch: &Watch, effects: &mut Effects) {
    watch.begin("settle", &item.path, None);
    let opened = Pair::open(context, item.clone())
        .and_then(|pair| Ok((attributes::of_fd(&pair.source).map_err(Trouble::from)?, pair)));
    match opened {
        Ok((source, pair)) => {
            if let Err(failure) = settle(context, &pair, &source, outcome, effects) {
                effects.trouble = Some(failure);
                failed(&pair, failure, effects);
            }
        }
        Err(trouble) => super::mirror::report(item, trouble, effects),
    }
}

/// Settles a directory once more, of which all else is told elsewhere. What is no longer there, or has changed, is
/// its walk's to tell; what fails stands in the books once more.
pub fn once_more(context: &Context, item: &DirectoryItem, watch: &Watch, effects: &mut Effects) {
    watch.begin("settle", &item.path, None);
    let settled = Pair::open(context, item.clone()).and_then(|pair| {
        let source = attributes::of_fd(&pair.source)?;
        Ok(make_right(context, &pair, &source, effects)?)
    });
    if let Err(Trouble::Failed(failure)) = settled {
        effects.trouble = Some(failure);
        effects.count(Number::Listed, 1);
        effects.see(Kind::Directory);
        effects.end(Kind::Directory, Outcome::Failed);
        effects.fault(Fault::of_itself(item.path.clone(), failure));
    }
}

/// A directory whose times something moves that is done in another item: it is settled once more in the settle pass.
pub fn later_again(context: &Context, source: &Attributes, directory: DirectoryItem, effects: &mut Effects) {
    let after_below = after_below(context, source, &directory);
    effects.deferred.push(Deferred { item: Item::Resettle(directory), after_below });
}

/// Settles a directory where there is no pass: what may pass is tried again at once.
pub fn at_the_end(context: &Context, item: &DirectoryItem, outcome: Outcome) -> Effects {
    let watch = Watch::new(std::sync::Arc::default());
    let mut tries = 0;
    loop {
        let mut effects = Effects { tries, ..Effects::default() };
        later(context, item, outcome, &watch, &mut effects);
        if !effects.is_put_off() {
            effects.count(Number::Retried, u64::from(tries));
            return effects;
        }
        tries += 1;
        again::wait(tries, &watch);
    }
}

/// Sets what is not as it should be, the times last.
fn settle(
    context: &Context,
    pair: &Pair<'_>,
    source: &Attributes,
    outcome: Outcome,
    effects: &mut Effects,
) -> Result<(), Failure> {
    frozen::look(context, source, || pair.item.path.clone(), effects);
    let set = if context.dry_run {
        dry::settle(context, pair, outcome, effects).map(|()| Differences::default())
    } else {
        make_right(context, pair, source, effects)
    };
    let set = set?;
    let touched = outcome == Outcome::Same && (set.owner || set.mode || set.xattrs);
    effects.end(Kind::Directory, if touched { Outcome::MetadataOnly } else { outcome });
    Ok(())
}

/// All that it holds is cared for elsewhere.
fn failed(pair: &Pair<'_>, failure: Failure, effects: &mut Effects) {
    effects.end(Kind::Directory, Outcome::Failed);
    effects.fault(Fault::of_itself(pair.item.path.clone(), failure));
}

fn make_right(
    context: &Context,
    pair: &Pair<'_>,
    source: &Attributes,
    effects: &mut Effects,
) -> Result<Differences, Failure> {
    let current = attributes::of_fd(&pair.target)?;
    let mut found = differences(&context.policy, source, &current);
    let look =
        pair.item.made || found.owner || found.mode || must_look_at_xattrs(&context.policy, source, &pair.target_was);
    let choice = metadata::choice(context);
    let (mine, theirs) = if look {
        (xattr::read(&pair.source, choice)?, Some(xattr::read(&pair.target, choice)?))
    } else {
        (Xattrs::default(), None)
    };
    found.xattrs = theirs.as_ref().is_some_and(|theirs| *theirs != mine);
    if found.owner || found.mode || found.xattrs {
        let existing = Current::Existing { was: &current, xattrs: theirs.as_ref() };
        metadata::apply(context, &pair.target, source, &mine, &existing, effects)?;
    } else if pair.item.made {
        metadata::count_unset(context, source, &mine, effects);
    }
    if pair.item.made {
        layout::keep_default(context, &pair.source, &pair.target, effects);
    }
    // It counts as an attribute.
    found.xattrs |= project::keep(context, Kind::Directory, &pair.source, &pair.target)?;
    if found.times {
        metadata::set_times(context, &pair.target, source)?;
    }
    Ok(found)
}
