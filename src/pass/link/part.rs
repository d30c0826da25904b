//! A target inode that mirrors several source inodes: one keeps it, the others part from it.

use super::{look, make};
use crate::pass::mirror::entry;
use crate::pass::{Context, Effects, Watch};
use crate::tree::item::Claim;
use crate::tree::{LinkGroup, LinkNote, Note, Outcome};

/// Judges who keeps the inode: the group with most of its names, or else the first of the names that
/// are single on the source. Further names that the inode has lie outside of the tree, and are none
/// of our business.
pub fn judge(context: &Context, group: LinkGroup, watch: &Watch, effects: &mut Effects) {
    let LinkGroup { key, kind, members, claims, leader, .. } = group;
    let mut is_taken = !claims.is_empty() || leader.is_some();
    effects.notes.extend(losers(claims).into_iter().map(Note::Link));
    for path in members {
        if !is_taken {
            is_taken = true;
            effects.end(kind, Outcome::Same);
            continue;
        }
        watch.begin_name("part", &path);
        context.limits.entry(watch);
        let Some(member) = look(context, path, None, kind, effects) else { continue };
        let shared = member.target.filter(|target| target.identity == key.inode && target.links > 1);
        make(context, &member, kind, watch, effects, |work, entry| match &shared {
            Some(target) => entry::part(work, entry, &member.source, target),
            None => entry::act(work, entry, &member.source, member.target.as_ref()),
        });
    }
}

/// All groups that claimed the inode but one are told to part from it.
fn losers(claims: Vec<Claim>) -> Vec<LinkNote> {
    let Some(keeper) = claims.iter().max().map(|claim| (claim.key, claim.kind)) else {
        return Vec::new();
    };
    let loses = |claim: &Claim| (claim.key, claim.kind) != keeper;
    claims.into_iter().filter(loses).map(|Claim { key, kind, .. }| LinkNote::Part { key, kind }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use crate::tree::item::LinkKey;
    use crate::tree::{Identity, Kind};
    use proptest::prelude::*;

    fn claim(inode: u64, names: u32) -> Claim {
        let inode = Identity { inode, birth: None };
        Claim { names, key: LinkKey { side: Side::Source, mount: 0, inode }, kind: Kind::File }
    }

    proptest! {
        #[test]
        fn one_keeps_the_inode_whatever_the_order(
            names in proptest::collection::btree_map(0u64..20, 1u32..9, 0..8),
            turn in 0usize..8,
        ) {
            let mut claims: Vec<Claim> = names.iter().map(|(&inode, &names)| claim(inode, names)).collect();
            let told = losers(claims.clone());
            prop_assert_eq!(told.len(), claims.len().saturating_sub(1));
            let kept = claims.iter().find(|claim| !told.contains(&LinkNote::Part { key: claim.key, kind: claim.kind }));
            prop_assert_eq!(kept.map(|claim| claim.names), names.values().max().copied());
            let count = claims.len().max(1);
            claims.rotate_left(turn % count);
            let again = losers(claims.clone());
            prop_assert!(told.iter().all(|note| again.contains(note)));
        }
    }
}
