//! `--files-from`: look only at what the list names.

use std::time::Instant;

use super::sides::Sides;
use super::{Look, entry};
use crate::fault::Failure;
use crate::fs::path_list::PathList;
use crate::pass::mirror::listed::{
    PART_BYTES, Part, abandon, cut, directory_failed, find, is_aside, leave_alone, lost, no_list, once_more,
    only_what_is_listed,
};
use crate::pass::mirror::report;
use crate::tree::Item;
use crate::tree::listed::{Extent, Group, Groups};

/// Looks at what a part of the list names in a directory.
pub fn listed(look: &mut Look<'_>, part: Part) {
    let Part { directory, extent, settles } = part;
    look.watch.begin("open", &directory.path, None);
    let Some(list) = look.context.list.as_ref() else {
        return lost(&directory.path, no_list(), look.effects);
    };
    let sides = match Sides::open(look.context, directory.clone()) {
        Ok(sides) => sides,
        Err(trouble) if settles => return report(&directory, trouble, look.effects),
        Err(trouble) => return abandon(list, &directory, extent, trouble, look.effects),
    };
    if settles {
        look.itself(&sides);
    }
    if settles && extent.bytes() > 2 * PART_BYTES {
        cut(list, &sides.item, extent, look.effects);
    } else {
        work_on(look, &sides, list, extent);
    }
}

/// Looks at names until they are done or it is time to let others have the rest.
fn work_on(look: &mut Look<'_>, sides: &Sides, list: &PathList, extent: Extent) {
    let started = Instant::now();
    look.watch.begin("compare", &sides.item.path, None);
    let mut groups = Groups::new(list, &sides.item.path, extent);
    loop {
        let start = groups.rest().start;
        match groups.next() {
            Ok(None) => return,
            Ok(Some(group)) => {
                look.watch.next_name("compare", &group.name, None);
                look.context.limits.entry(look.watch);
                if let Err(failure) = one(look, sides, list, &group) {
                    let extent = Extent { start, end: groups.rest().start };
                    once_more(&sides.item, extent, failure, look.effects);
                }
            }
            Err(failure) => return lost(&sides.item.path, failure, look.effects),
        }
        let is_enough = look.context.grain.is_enough(started, look.watch) || !look.chunks.is_empty();
        if look.watch.must_stop() || is_enough {
            break;
        }
    }
    let left = groups.rest();
    if !left.is_empty() {
        look.effects.items.push(Item::Listed { directory: sides.item.clone(), extent: left, settles: false });
    }
}

/// One name: an entry that is listed itself, or a directory on the way to such entries.
fn one(look: &mut Look<'_>, sides: &Sides, list: &PathList, group: &Group) -> Result<(), Failure> {
    let path = sides.item.path.join(&group.name);
    if is_aside(look.context, group, &path, look.effects) {
        return Ok(());
    }
    if sides.item.parked.has(&group.name) {
        leave_alone(list, group, &path, look.effects);
        return Ok(());
    }
    let Some(source) = find(list, group, &sides.source, &path, look.effects)? else { return Ok(()) };
    let items_before = look.effects.items.len();
    entry::listed(look, sides, &group.name, source);
    if !group.listed {
        only_what_is_listed(look.effects, items_before, group.below);
    }
    directory_failed(look.effects, &path)
}
