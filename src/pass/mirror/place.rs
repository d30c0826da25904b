//! Where an entry is made: under its own name, or under a temporary one that is renamed when it is right.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::alias;
use crate::fault::Failure;
use crate::fs::names;
use crate::pass::pair::Pair;
use crate::pass::{Context, chunk, project};
use crate::tree::{Attributes, Kind};

/// Where an entry is made.
#[derive(Debug)]
pub struct Place {
    temporary: Option<CString>,
    /// An empty directory has the final name.
    pub over_directory: bool,
    /// Nothing is to be replaced: what has the name all the same must not have another one. Not looked for where
    /// that would cost each small file a call, and the target does not fold names.
    is_new: bool,
}

impl Place {
    /// A name that is free: in its place, unless the comparison of the next run does not rest on
    /// equal times; then an unfinished file would be taken for a finished one. A large file's size is
    /// set before its data, so it is never made in its place.
    pub fn new(context: &Context, source: &Attributes) -> Self {
        let is_large = source.kind == Kind::File && chunk::is_large(context, source.size);
        let temporary = (is_large || !context.policy.times_are_the_record()).then(|| context.temporaries.next());
        let is_new = is_large || context.policy.target.folds_case;
        Self { temporary, over_directory: false, is_new }
    }

    /// A name that is taken: under a temporary name first.
    pub fn over(context: &Context) -> Self {
        Self { temporary: Some(context.temporaries.next()), over_directory: false, is_new: false }
    }

    /// A temporary name that was given before, to what is new or not.
    pub fn given(temporary: CString, over_directory: bool, is_new: bool) -> Self {
        Self { temporary: Some(temporary), over_directory, is_new }
    }

    /// A name that an empty directory has.
    pub fn over_directory(context: &Context) -> Self {
        Self { temporary: Some(context.temporaries.next()), over_directory: true, is_new: false }
    }

    /// Whether it is made under a temporary name.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// The name under which it is made.
    pub fn name<'n>(&'n self, final_name: &'n CStr) -> &'n CStr {
        self.temporary.as_deref().unwrap_or(final_name)
    }
}

/// Renames what was made to its final name. False: a directory there is not empty, and what was
/// made is gone again.
pub fn put_in_place(pair: &Pair<'_>, place: &Place, name: &CStr) -> Result<bool, Failure> {
    let Some(temporary) = &place.temporary else {
        return Ok(true);
    };
    if place.is_new && pair.folds_case() && !pair.keeps_projects() {
        // Another worker may give its file this name in another spelling at the same moment.
        match names::rename_new(&pair.target, temporary, name) {
            Err(failure) if matches!(Errno::from_raw(failure.errno), Errno::EEXIST | Errno::EINVAL) => {}
            result => return result.map(|()| true),
        }
    }
    if place.is_new && alias::has_taken(pair, name)? {
        return Err(pair.target.failure("renameat", Errno::EEXIST));
    }
    if place.over_directory
        && let Err(failure) = names::remove_directory(&pair.target, name)
    {
        if matches!(Errno::from_raw(failure.errno), Errno::ENOTEMPTY | Errno::EEXIST) {
            pair.take_away(temporary);
            return Ok(false);
        }
        if failure.errno != Errno::ENOENT as i32 {
            return Err(failure);
        }
    }
    project::rename(pair, temporary, name)?;
    Ok(true)
}
