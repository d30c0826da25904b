//! How much a run has before it: what the last run over this pair counted, else what the file system of
//! SRC holds, else nobody knows.

use super::begin::Begun;
use super::crew::Crew;
use super::known::{Known, pair_of};
use crate::config::Command;
use crate::fs::usage;
use crate::report::share::Size;
use crate::report::{Total, say};

/// The total behind the percentage of a walk over SRC.
pub fn of(crew: &Crew<'_>, begun: &Begun) -> Option<Total> {
    let (config, context) = (crew.config, &begun.context);
    if !matches!(config.command, Command::Sync { .. } | Command::Cmp(_)) || context.list.is_some() {
        return None;
    }
    let (source, target) = pair_of(begun);
    match Known::load(&config.state_dir, &source.path, &target.path) {
        Ok(Some(Known { total: Some(total), .. })) => {
            return Some(Total { entries: Some(total.entries), size: Size::Logical(total.bytes) });
        }
        Ok(_) => {}
        Err(error) => say(&error.to_string()),
    }
    // What is left out would be counted too.
    let choose = &config.choose;
    let by_age = choose.min_age.is_some() || choose.max_age.is_some();
    let by_size = choose.min_size.is_some() || choose.max_size.is_some();
    if by_age || by_size || context.filter.has_patterns() {
        return None;
    }
    let used = usage::of_root(&context.trees.source).ok().flatten()?;
    Some(Total { entries: used.inodes, size: Size::Allocated(used.bytes) })
}
