//! New files with the layout of their source, and new directories with what theirs hands down, where both file systems have layouts.

use std::ffi::CStr;

use super::{Context, Effects};
use crate::counters::Number;
use crate::fault::Failure;
use crate::fs::{Fd, layout, open};
use crate::tree::decide::Abilities;
use crate::tree::layout::{Plan, plan};

/// Creates a file, 0600, as `open::new_file` does. Where its layout can not be had it gets the default
/// one, which is counted: the copy is whole all the same.
pub fn new_file(
    context: &Context,
    source: &Fd,
    parent: &Fd,
    name: &CStr,
    effects: &mut Effects,
) -> Result<Fd, Failure> {
    if !context.policy.extras.layouts {
        return open::new_file(parent, name);
    }
    // A layout that can not be read is no reason to lose the copy.
    let plan = layout::read(source).map_or(Plan::Unfit, |layout| plan(layout.as_deref()));
    let request = match plan {
        Plan::Ask(request) => request,
        Plan::Ordinary => return open::new_file(parent, name),
        Plan::Unfit => {
            effects.count(Number::LayoutUnset, 1);
            return open::new_file(parent, name);
        }
    };
    let made = layout::make(parent, name, owner(&context.policy.target))?;
    if made.ask(&request).is_err() {
        effects.count(Number::LayoutUnset, 1);
    }
    made.open().inspect_err(|_| {
        let _ = made.take_back(parent, name);
    })
}

/// To whom belongs what we make; `None`: the file system squashes root, and only it knows.
fn owner(able: &Abilities) -> Option<u32> {
    (able.chown || able.uid != 0).then_some(able.uid)
}

/// Gives a new directory what its source hands down to new files, where that is not the file system's
/// default.
pub fn keep_default(context: &Context, source: &Fd, target: &Fd, effects: &mut Effects) {
    if !context.policy.extras.layouts {
        return;
    }
    let kept = match layout::read(source) {
        Ok(None) => Ok(()),
        Ok(Some(handed_down)) => layout::set_default(target, &handed_down),
        Err(failure) => Err(failure),
    };
    effects.count(Number::LayoutUnset, u64::from(kept.is_err()));
}
