//! A hash of content that does not depend on where its holes are, nor on how it was cut in reads.
//!
//! Only blocks that are not all zero count, each with its place. So a hole of a terabyte costs
//! nothing, and a hole that became zeros, or zeros that became a hole, make no difference.

use super::buffers::data_runs;

/// The function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    /// XXH3, 128 bits: finds every accident.
    Xxh3,
    /// BLAKE3: finds intent too.
    Blake3,
}

/// The hash of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

const BLOCK: usize = 4096;

/// Takes the content in rising order. The blocks and their numbers are hashed apart, as BLAKE3 is
/// several times as fast in long stretches.
pub(super) struct Hasher {
    blocks: Function,
    numbers: Function,
    /// A block that has begun; what is not known of it is zero.
    block: Box<[u8; BLOCK]>,
    number: u64,
    is_begun: bool,
}

enum Function {
    Xxh3(Box<xxhash_rust::xxh3::Xxh3>),
    Blake3(Box<blake3::Hasher>),
}

impl Function {
    fn new(hashing: Hashing) -> Self {
        match hashing {
            Hashing::Xxh3 => Function::Xxh3(Box::new(xxhash_rust::xxh3::Xxh3::new())),
            Hashing::Blake3 => Function::Blake3(Box::new(blake3::Hasher::new())),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Function::Xxh3(hasher) => hasher.update(data),
            Function::Blake3(hasher) => {
                hasher.update(data);
            }
        }
    }

    fn finish(self) -> [u8; 32] {
        match self {
            Function::Xxh3(hasher) => {
                let mut digest = [0; 32];
                let half = hasher.digest128().to_le_bytes();
                digest.iter_mut().zip(half).for_each(|(to, from)| *to = from);
                digest
            }
            Function::Blake3(hasher) => *hasher.finalize().as_bytes(),
        }
    }
}

impl Hasher {
    pub(super) fn new(hashing: Hashing) -> Self {
        let (blocks, numbers) = (Function::new(hashing), Function::new(hashing));
        Self { blocks, numbers, block: Box::new([0; BLOCK]), number: 0, is_begun: false }
    }

    /// The next content; what lies between it and the last is zero.
    pub(super) fn update(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let number = offset / BLOCK as u64;
            let inside = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
            if self.is_begun && self.number != number {
                self.end_block();
            }
            let whole = if inside == 0 { data.len() / BLOCK * BLOCK } else { 0 };
            let length = if whole > 0 { whole } else { (BLOCK - inside).min(data.len()) };
            let (part, rest) = data.split_at(length);
            if whole > 0 {
                self.feed(number, part);
            } else {
                self.begin_block(number, inside, part);
            }
            data = rest;
            offset += length as u64;
        }
    }

    /// Whole blocks: runs of those that are not zero.
    fn feed(&mut self, first: u64, data: &[u8]) {
        for run in data_runs(data, 0, BLOCK) {
            let start = first + (run.start / BLOCK) as u64;
            for number in start..start + (run.len() / BLOCK) as u64 {
                self.numbers.update(&number.to_le_bytes());
            }
            self.blocks.update(data.get(run).unwrap_or_default());
        }
    }

    fn begin_block(&mut self, number: u64, inside: usize, part: &[u8]) {
        self.number = number;
        self.is_begun = true;
        for (to, from) in self.block.iter_mut().skip(inside).zip(part) {
            *to = *from;
        }
        if inside + part.len() == BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::replace(&mut self.block, Box::new([0; BLOCK]));
        self.feed(self.number, block.as_slice());
        self.is_begun = false;
    }

    pub(super) fn finish(mut self) -> Digest {
        if self.is_begun {
            self.end_block();
        }
        self.blocks.update(&self.numbers.finish());
        Digest(self.blocks.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffers::is_zero;
    use super::*;
    use proptest::prelude::*;

    fn of(content: &[u8], cuts: &[usize], hashing: Hashing, skip_zeros: bool) -> Digest {
        let mut hasher = Hasher::new(hashing);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            let part = &content[pair[0]..pair[1]];
            if !(skip_zeros && is_zero(part)) {
                hasher.update(pair[0] as u64, part);
            }
        }
        hasher.finish()
    }

    /// Content of up to 40 KiB, mostly zeros.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let stretch = (prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 1usize..3_000);
        proptest::collection::vec(stretch, 0..20)
            .prop_map(|parts| parts.into_iter().flat_map(|(byte, length)| vec![byte; length]).collect())
    }

    proptest! {
        #[test]
        fn neither_cuts_nor_holes_make_a_difference(
            content in content(), cuts in proptest::collection::vec(any::<usize>(), 0..12), skip in any::<bool>(),
        ) {
            for hashing in [Hashing::Xxh3, Hashing::Blake3] {
                prop_assert_eq!(of(&content, &cuts, hashing, skip), of(&content, &[], hashing, false));
            }
        }

        #[test]
        fn one_other_byte_makes_a_difference(content in content(), at in any::<usize>(), bit in 0u8..8) {
            prop_assume!(!content.is_empty());
            let mut other = content.clone();
            other[at % content.len()] ^= 1 << bit;
            for hashing in [Hashing::Xxh3, Hashing::Blake3] {
                prop_assert_ne!(of(&content, &[], hashing, false), of(&other, &[], hashing, false));
            }
        }
    }

    #[test]
    fn a_block_in_another_place_makes_a_difference() {
        let (mut here, mut there) = (vec![0; 3 * BLOCK], vec![0; 3 * BLOCK]);
        here[..BLOCK].fill(7);
        there[BLOCK..2 * BLOCK].fill(7);
        assert_ne!(of(&here, &[], Hashing::Xxh3, false), of(&there, &[], Hashing::Xxh3, false));
    }
}
