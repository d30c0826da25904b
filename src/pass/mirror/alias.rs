//! Names that the target takes for another one that it has: it folds case, or knows letters in several forms.
//! What lies there belongs to the other name, and is never taken for this one's copy or replaced by it.

use std::ffi::CStr;

use nix::errno::Errno;

use super::Work;
use super::entry::Entry;
use crate::fault::{Failure, Fault, Side};
use crate::fs::{attributes, list};
use crate::pass::Context;
use crate::pass::pair::Pair;
use crate::tree::Outcome;

/// What is known of a name on the target before it is looked up there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// It is not there.
    Missing,
    /// The target's listing has it, byte for byte.
    Listed,
    /// It may be there: there was no listing, or it was made since.
    Perhaps,
    /// The listing did not have it, and something was there all the same.
    Met,
}

/// What is told of such a name.
pub const NOTE: &str = "the target takes this name for another one that it has (upper and lower case, or forms of \
                        letters): that one stays, and so this entry is not copied";

/// Whether something that was found on the target under this name has another one. A listing costs too much
/// where nothing speaks for it.
pub fn is_another(context: &Context, pair: &Pair<'_>, name: &CStr, twin: Twin) -> Result<bool, Failure> {
    match twin {
        Twin::Missing | Twin::Listed => Ok(false),
        Twin::Perhaps if !context.policy.target.folds_case => Ok(false),
        Twin::Perhaps | Twin::Met => is_unlisted(pair, name),
    }
}

/// Only a listing tells how a name is written.
fn is_unlisted(pair: &Pair<'_>, name: &CStr) -> Result<bool, Failure> {
    let mut is_listed = false;
    list::list(&pair.target, |other, _, _| is_listed |= other == name)?;
    Ok(!is_listed)
}

/// The call that made something under this name says that it is taken, and it is another name that took it.
pub fn refused(pair: &Pair<'_>, name: &CStr, failure: Failure) -> bool {
    let is_taken = failure.side == Side::Target && failure.errno == Errno::EEXIST as i32;
    is_taken && is_unlisted(pair, name) == Ok(true)
}

/// Whether another name has taken the place of what is ready to get this one.
pub fn has_taken(pair: &Pair<'_>, name: &CStr) -> Result<bool, Failure> {
    match attributes::of_name(&pair.target, name) {
        Err(failure) if failure.errno == Errno::ENOENT as i32 => Ok(false),
        Err(failure) => Err(failure),
        Ok(_) => is_unlisted(pair, name),
    }
}

/// The entry has failed.
pub fn fail(work: &mut Work<'_>, entry: &Entry<'_>, operation: &'static str) {
    let failure = Failure { side: Side::Target, operation, errno: Errno::EEXIST as i32 };
    work.effects.end(entry.kind, Outcome::Failed);
    work.effects.fault(Fault { note: NOTE, ..Fault::of(work.pair.path(entry.name), failure) });
}
