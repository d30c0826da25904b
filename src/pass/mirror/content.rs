//! Deciding about a pair whose contents must be compared first.

use super::Work;
use super::entry::Entry;
use crate::counters::Number;
use crate::fault::Failure;
use crate::fs::{attributes, data, open};
use crate::pass::{Context, chunk, frozen};
use crate::tree::decide::{self, Action, CtimeRule, Known, must_look_at_xattrs};
use crate::tree::{Attributes, Kind};

/// Decides about the pair, and looks at the contents where that takes it. `None`: they are large, and
/// were cut for all ranks to compare.
pub fn decide(
    work: &mut Work<'_>,
    entry: &Entry<'_>,
    source: &Attributes,
    target: Option<&Attributes>,
    known: Known,
) -> Result<Option<Action>, Failure> {
    let policy = &work.context.policy;
    let action = decide::decide(policy, source, target, known);
    let Some(target) = target else {
        return Ok(Some(action));
    };
    if matches!(action, Action::Keep | Action::Repair(_)) && known.same_content.is_none() {
        frozen::look_at_pair(work.context, (source, target), || work.pair.path(entry.name), work.effects);
    }
    let is_believed = !matches!(action, Action::Keep | Action::Repair(_))
        || source.kind != Kind::File
        || known.same_content.is_some()
        || source.size == 0
        || !may_be_another(work.context, source, target);
    if action != Action::LookAtContent && is_believed {
        return Ok(Some(action));
    }
    if chunk::is_cut(work.context, entry.kind, source.size) {
        chunk::compare(work, entry, source, target);
        return Ok(None);
    }
    let known = Known { same_content: Some(is_same(work, entry, source, target)?), ..known };
    Ok(Some(decide::decide(&work.context.policy, source, Some(target), known)))
}

/// Whether files of one size and time may differ all the same.
fn may_be_another(context: &Context, source: &Attributes, target: &Attributes) -> bool {
    let asked = context.policy.ctime == CtimeRule::Content && must_look_at_xattrs(&context.policy, source, target);
    asked || context.doubts(target)
}

/// Whether both files hold the same bytes. Another inode under either name is another content: the
/// copy that follows finds out what it is.
fn is_same(work: &mut Work<'_>, entry: &Entry<'_>, source: &Attributes, target: &Attributes) -> Result<bool, Failure> {
    let ours = open::file_for_reading(&work.pair.source, entry.name)?;
    let theirs = open::file_for_reading(&work.pair.target, entry.name)?;
    let meant = attributes::of_fd(&ours)?.identity == source.identity
        && attributes::of_fd(&theirs)?.identity == target.identity;
    if !meant {
        return Ok(false);
    }
    work.effects.count(Number::BytesCompared, source.size);
    let mut pace = work.context.limits.pace(source.size, work.watch);
    data::same_content(&ours, &theirs, 0..source.size, &mut |bytes| pace.moved(bytes))
}
