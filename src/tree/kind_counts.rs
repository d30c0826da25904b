//! How many entries of each type there are.

use bincode::{Decode, Encode};

use super::attributes::Kind;

const KINDS: usize = Kind::ALL.len();

/// How many entries of each type there are. Small where there are none, as very many notes have one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct KindCounts(Option<Box<[u64; KINDS]>>);

impl KindCounts {
    /// None.
    pub const NONE: KindCounts = KindCounts(None);

    /// Adds so many of a type.
    pub fn add(&mut self, kind: Kind, n: u64) {
        if let Some(count) = self.0.get_or_insert_default().get_mut(kind as usize) {
            // Of a message that was forged: the books do not balance then, which is told in order.
            *count = count.saturating_add(n);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &KindCounts) {
        other.each().for_each(|(kind, n)| self.add(kind, n));
    }

    /// The types of which there are any.
    pub fn each(&self) -> impl Iterator<Item = (Kind, u64)> {
        let counts = self.0.iter().flat_map(|counts| Kind::ALL.into_iter().zip(counts.iter().copied()));
        counts.filter(|&(_, n)| n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_own_place() {
        let mut kind_counts = KindCounts::NONE;
        Kind::ALL.into_iter().zip(1..).for_each(|(kind, n)| kind_counts.add(kind, n));
        let doubled = Kind::ALL.into_iter().zip(1..).map(|(kind, n)| (kind, 2 * n)).collect::<Vec<_>>();
        let other = kind_counts.clone();
        kind_counts.merge(&other);
        assert_eq!(kind_counts.each().collect::<Vec<_>>(), doubled);
        assert_eq!(KindCounts::NONE.each().count(), 0);
    }
}
