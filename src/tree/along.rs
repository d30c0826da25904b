//! What shares the fate of a directory that is renamed as a whole: how many entries of each type.

use bincode::{Decode, Encode};

use super::attributes::Kind;

const KINDS: usize = Kind::ALL.len();

/// How many entries of each type share the fate of a directory. Small where there are none, as very many notes have one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Along(Option<Box<[u64; KINDS]>>);

impl Along {
    /// None.
    pub const NONE: Along = Along(None);

    /// Adds so many of a type.
    pub fn add(&mut self, kind: Kind, n: u64) {
        if let Some(count) = self.0.get_or_insert_default().get_mut(kind as usize) {
            // Of a message that was forged: the books do not balance then, which is told in order.
            *count = count.saturating_add(n);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Along) {
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
        let mut along = Along::NONE;
        Kind::ALL.into_iter().zip(1..).for_each(|(kind, n)| along.add(kind, n));
        let doubled = Kind::ALL.into_iter().zip(1..).map(|(kind, n)| (kind, 2 * n)).collect::<Vec<_>>();
        let other = along.clone();
        along.merge(&other);
        assert_eq!(along.each().collect::<Vec<_>>(), doubled);
        assert_eq!(Along::NONE.each().count(), 0);
    }
}
