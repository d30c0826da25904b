//! A source that is said to be frozen, with `--final`: what was written there all the same is named.

use super::{Context, Effects};
use crate::counters::Number;
use crate::tree::decide::must_look_at_xattrs;
use crate::tree::remark::{Remark, What};
use crate::tree::{Attributes, Kind, TreePath};

/// Names an entry that was changed after the start of the run.
pub fn look(context: &Context, source: &Attributes, path: impl FnOnce() -> TreePath, effects: &mut Effects) {
    if context.frozen.is_some_and(|since| source.ctime > since) {
        effects.count(Number::CtimeAfterStart, 1);
        effects.remarks.push(remark(source, path(), What::CtimeAfterStart));
    }
}

/// Counts a file whose size and time are those of its copy, but that was changed after the copy was
/// made; where the source is frozen, it is named.
pub fn look_at_pair(
    context: &Context,
    (source, target): (&Attributes, &Attributes),
    path: impl FnOnce() -> TreePath,
    effects: &mut Effects,
) {
    let policy = &context.policy;
    let seems_same = source.kind == Kind::File
        && source.size > 0
        && source.size == target.size
        && policy.is_same_time(source.mtime, target.mtime);
    if !seems_same || !must_look_at_xattrs(policy, source, target) {
        return;
    }
    effects.count(Number::CtimeNewer, 1);
    effects.count(Number::CtimeNewerBytes, source.size);
    if context.frozen.is_some() {
        effects.remarks.push(remark(source, path(), What::CtimeNewer));
    }
}

fn remark(source: &Attributes, path: TreePath, what: What) -> Remark {
    let size = (source.kind == Kind::File).then_some(source.size);
    Remark { path, what, ctime: source.ctime, size }
}
