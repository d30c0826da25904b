//! Left-overs of dead runs, and of those that could not take them away: temporary names whose attempt is proven to
//! have ended.

use std::ffi::CStr;

use crate::counters::Number;
use crate::fs::attributes;
use crate::pass::pair::Pair;
use crate::pass::{Context, Effects};
use crate::tree::{Kind, Names};

/// Removes the left-overs among names that only the target has. What can not be removed stays, for the next run:
/// it is in nobody's way.
pub fn left_overs(context: &Context, pair: &Pair<'_>, target_only: &Names, effects: &mut Effects) {
    if context.dry_run {
        return;
    }
    for (name, _) in target_only.iter() {
        if context.temporaries.is_left_over(name) && remove(context, pair, name).is_some() {
            effects.count(Number::Swept, 1);
        }
    }
}

/// Only what has one name is removed: the last name of somebody's file is never a left-over. A
/// directory must be empty.
fn remove(context: &Context, pair: &Pair<'_>, name: &CStr) -> Option<()> {
    let found = attributes::of_name(&pair.target, name);
    pair.note(&found);
    let found = found.ok()?;
    let overrides = context.policy.target.overrides_permissions;
    let ours = found.uid == context.policy.target.uid || overrides;
    let prepared = pair.prepare_for_change();
    pair.note(&prepared);
    prepared.ok()?;
    match found.kind {
        Kind::Directory if ours => context.temporaries.take_directory_away(&pair.target, name).ok(),
        _ if ours => context.temporaries.take_away(&pair.target, name).ok(),
        _ => None,
    }
}
