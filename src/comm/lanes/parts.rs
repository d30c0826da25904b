//! The parts of a gather on their way through a tree of the ranks.

use crate::sched::Rank;

/// Children of a rank. As in the tree of the waves: few hops, and no rank sends much.
const ARITY: u32 = 8;

const HEAD_BYTES: usize = 12;

pub fn parent(rank: Rank) -> Option<Rank> {
    (rank != Rank::ROOT).then(|| Rank((rank.0 - 1) / ARITY))
}

pub fn children(rank: Rank, ranks: u32) -> impl Iterator<Item = Rank> {
    let first = rank.0.saturating_mul(ARITY).saturating_add(1);
    (first..first.saturating_add(ARITY)).take_while(move |&child| child < ranks).map(Rank)
}

/// The part of one rank.
pub fn one(rank: Rank, part: &[u8]) -> Vec<u8> {
    let length = part.len() as u64;
    [&rank.0.to_le_bytes()[..], &length.to_le_bytes(), part].concat()
}

/// The parts of all ranks, in their order.
///
/// # Panics
/// When one is missing: a bug, or another program among our ranks.
#[allow(clippy::panic)]
pub fn apart(mut all: &[u8], ranks: u32) -> Vec<Vec<u8>> {
    let mut parts: Vec<Option<Vec<u8>>> = vec![None; ranks as usize];
    while let Some((rank, part, rest)) = first(all) {
        if let Some(place) = parts.get_mut(rank as usize) {
            *place = Some(part.to_vec());
        }
        all = rest;
    }
    let whole: Vec<Vec<u8>> = parts.into_iter().flatten().collect();
    if whole.len() != ranks as usize || !all.is_empty() {
        panic!("a gather of {ranks} ranks has {} parts, and {} bytes too many", whole.len(), all.len());
    }
    whole
}

fn first(all: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (head, rest) = all.split_at_checked(HEAD_BYTES)?;
    let (rank, length) = head.split_at_checked(4)?;
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    Some((u32::from_le_bytes(rank.try_into().ok()?), part, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_but_the_first_is_the_child_of_its_parent() {
        let ranks = 100;
        for rank in (1..ranks).map(Rank) {
            let parent = parent(rank).unwrap();
            assert!(children(parent, ranks).any(|child| child == rank), "{rank:?}");
        }
        assert_eq!((0..ranks).map(|rank| children(Rank(rank), ranks).count()).sum::<usize>(), 99);
        assert_eq!(parent(Rank::ROOT), None);
    }

    #[test]
    fn parts_come_apart_in_the_order_of_the_ranks() {
        let all = [one(Rank(2), b"c"), one(Rank(0), b""), one(Rank(1), &[7; 300])].concat();
        assert_eq!(apart(&all, 3), [b"".to_vec(), vec![7; 300], b"c".to_vec()]);
    }
}
