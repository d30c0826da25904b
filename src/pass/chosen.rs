//! What the operator's choice lets through of the names that were found.

use std::ffi::CStr;

use super::{Context, Effects};
use crate::fs::{Fd, attributes};
use crate::tree::decide::Skip;
use crate::tree::filter::{NamesIn, Verdict};
use crate::tree::names::Listed;
use crate::tree::{Joined, Kind, Names, TreePath};

/// Names of both sides of a directory, sorted out.
pub struct Chosen {
    /// The source's names that are let through.
    pub names: Names,
    /// Names that only the target has, and that no rule leaves out.
    pub target_only: Names,
    /// Names that only the target has, and that a rule leaves out.
    pub left_out: Names,
    /// Names that both have, and that a rule leaves out. Kept only where they are to be removed.
    pub excluded: Names,
}

/// Sorts out the names of both listings. What is left out of the source stands in the books at once. A
/// name whose type the listing did not tell stays in: it is judged when it was looked at.
pub fn of_listings(
    context: &Context,
    path: &TreePath,
    target: Option<&Fd>,
    joined: Joined,
    effects: &mut Effects,
) -> Chosen {
    let Joined { source, target_only } = joined;
    let Some(mut rules) = context.filter.names_in(path) else {
        return Chosen { names: source, target_only, left_out: Names::new(), excluded: Names::new() };
    };
    let removes = context.planning.is_some_and(|planning| planning.excluded);
    let mut chosen =
        Chosen { names: Names::new(), target_only: Names::new(), left_out: Names::new(), excluded: Names::new() };
    for (name, listed) in source.iter() {
        match listed.kind {
            Some(kind) if rules.leaves_out(name, kind == Kind::Directory) => {
                effects.see(kind);
                effects.skip(kind, Skip::Excluded);
                if removes && listed.on_target {
                    // The target may have something else under the name.
                    chosen.excluded.push(name, Listed { kind: None, ..listed });
                }
            }
            _ => chosen.names.push(name, listed),
        }
    }
    for (name, listed) in target_only.iter() {
        let place = if is_left_out_of_target(target, &mut rules, name, listed) {
            &mut chosen.left_out
        } else {
            &mut chosen.target_only
        };
        place.push(name, listed);
    }
    chosen
}

/// What can not be looked at is left alone.
fn is_left_out_of_target(target: Option<&Fd>, rules: &mut NamesIn<'_>, name: &CStr, listed: Listed) -> bool {
    match rules.verdict(name, listed.kind) {
        Verdict::In => false,
        Verdict::Out => true,
        Verdict::LookAtKind => target
            .and_then(|target| attributes::of_name(target, name).ok())
            .is_none_or(|found| rules.leaves_out(name, found.kind == Kind::Directory)),
    }
}

/// Whether the rules leave out a name whose type the listing did not tell.
pub fn leaves_out(context: &Context, directory: &TreePath, name: &CStr, kind: Kind) -> bool {
    context.filter.names_in(directory).is_some_and(|mut rules| rules.leaves_out(name, kind == Kind::Directory))
}
