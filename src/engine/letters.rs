//! What this rank says to others, put into letters: MPI takes a tenth of a millisecond for each message when
//! hundreds of thousands wait, as notes of hard links do.

use std::collections::BTreeMap;

use crate::sched::Rank;
use crate::wire::{self, Post};

/// A letter is sent when it has become so large.
const LETTER_BYTES: usize = 256 << 10;

/// Puts messages into letters, in their order for each rank.
pub fn write(posts: impl Iterator<Item = (Rank, Post)>, send: impl FnMut(Rank, Vec<u8>)) {
    of_bytes(LETTER_BYTES, posts, send);
}

fn of_bytes(letter_bytes: usize, posts: impl Iterator<Item = (Rank, Post)>, mut send: impl FnMut(Rank, Vec<u8>)) {
    let mut open: BTreeMap<Rank, Vec<u8>> = BTreeMap::new();
    for (to, post) in posts {
        let letter = open.entry(to).or_default();
        wire::append_post(letter, &post);
        if letter.len() >= letter_bytes {
            send(to, std::mem::take(letter));
        }
    }
    for (to, letter) in open.into_iter().filter(|(_, letter)| !letter.is_empty()) {
        send(to, letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::{Cut, Envelope, Epoch, Message};
    use proptest::prelude::*;

    fn post(number: u64) -> Post {
        Envelope { epoch: Epoch(1), cut: Cut(0), message: Message::Refusal { request: number } }
    }

    proptest! {
        #[test]
        fn each_rank_gets_its_messages_in_their_order(to in proptest::collection::vec(0u32..4, 0..200), letter_bytes in 1usize..500) {
            let (mut letters, mut got) = (0, vec![Vec::new(); 4]);
            of_bytes(letter_bytes, to.iter().enumerate().map(|(n, &to)| (Rank(to), post(n as u64))), |to, letter| {
                letters += 1;
                got[to.0 as usize].extend(wire::decode_posts(&letter).unwrap());
            });
            for rank in 0..4 {
                let wanted = (0u64..).zip(&to).filter(|&(_, &to)| to == rank);
                prop_assert_eq!(&got[rank as usize], &wanted.map(|(n, _)| post(n)).collect::<Vec<_>>());
            }
            let one = wire::encode(&post(0)).len();
            prop_assert!(letters <= 4 + one * to.len() / letter_bytes, "{} letters", letters);
        }
    }

    #[test]
    fn what_is_said_now_and_then_is_not_held_back() {
        let mut sent = Vec::new();
        write([(Rank(1), post(1))].into_iter(), |to, _| sent.push(to));
        write(std::iter::empty(), |to, _| sent.push(to));
        assert_eq!(sent, [Rank(1)]);
    }
}
