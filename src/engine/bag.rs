//! The items of a rank. Its workers take the newest, which keeps it small; a thief gets the oldest,
//! which are whole subtrees. Beyond a bound the oldest go to files of the run directory.

use std::collections::VecDeque;

use crate::fault::Error;
use crate::fs::operator::RunDirectory;
use crate::tree::Item;
use crate::wire;

/// Loot of one message: far below `wire::MESSAGE_BYTES_MAX`.
const LOOT_BYTES_MAX: usize = 1 << 20;
const LOOT_ITEMS_MAX: usize = 4_096;

/// Bytes of items that are spilled to one file.
const SPILL_FILE_BYTES_MAX: usize = 8 << 20;

/// Where a bag spills, and when.
#[derive(Debug, Clone)]
pub struct Spill {
    /// The run directory.
    pub directory: RunDirectory,
    /// Tells the files of this bag from others'.
    pub prefix: String,
    /// Bytes of items that are held in memory.
    pub bytes_max: usize,
}

/// Items of a rank.
#[derive(Debug)]
pub struct Bag {
    /// Oldest first.
    items: VecDeque<Item>,
    bytes: usize,
    spill: Spill,
    /// Files with older items still: (number, items in it), oldest first.
    files: Vec<(u64, usize)>,
    next_file: u64,
    in_files: usize,
    spilled: u64,
    error: Option<Error>,
}

impl Bag {
    /// An empty bag.
    pub fn new(spill: Spill) -> Self {
        let (items, files) = (VecDeque::new(), Vec::new());
        Self { items, bytes: 0, spill, files, next_file: 0, in_files: 0, spilled: 0, error: None }
    }

    /// Items in memory and in files.
    pub fn len(&self) -> usize {
        self.items.len() + self.in_files
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in memory, oldest first.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// The files of older ones: name, and how many are in it. A file is never changed.
    pub fn files(&self) -> impl Iterator<Item = (String, u64)> {
        self.files.iter().map(|&(number, items)| (self.file_name(number), items as u64))
    }

    /// Bytes of the items in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Items that were written to files so far.
    pub fn spilled(&self) -> u64 {
        self.spilled
    }

    /// Why spilling does not work; the items are in memory still.
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// The same, and keeps it.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Adds items as the newest.
    pub fn push(&mut self, items: Vec<Item>) {
        self.bytes += items.iter().map(Item::bytes).sum::<usize>();
        self.items.extend(items);
        while self.bytes > self.spill.bytes_max && self.items.len() > 1 && self.error.is_none() {
            self.spill_oldest();
        }
    }

    /// Takes all of another bag, whose items become the older ones.
    pub fn take_over(&mut self, other: &mut Bag) {
        std::mem::swap(self, other);
        let newer = other.drain();
        self.push(newer);
    }

    /// Takes the newest item.
    pub fn pop(&mut self) -> Option<Item> {
        if self.items.is_empty() && self.in_files > 0 {
            self.load();
        }
        let item = self.items.pop_back()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Takes the oldest half by weight: at least one, at most `items_max` items, and only what one
    /// message can carry.
    pub fn loot(&mut self, items_max: usize) -> Vec<Item> {
        if self.items.is_empty() && self.in_files > 0 {
            self.load();
        }
        let half = self.items.iter().map(Item::weight).sum::<u64>().div_ceil(2);
        let (mut weight, mut bytes) = (0, 0);
        let mut loot = Vec::new();
        while let Some(item) = self.items.front() {
            bytes += item.bytes();
            let enough = weight >= half || loot.len() >= items_max.min(LOOT_ITEMS_MAX) || bytes > LOOT_BYTES_MAX;
            if !loot.is_empty() && enough {
                break;
            }
            weight += item.weight();
            self.bytes -= item.bytes();
            loot.extend(self.items.pop_front());
        }
        loot
    }

    /// Looks at each item.
    pub fn visit(&self, mut visit: impl FnMut(&Item)) -> Result<(), Error> {
        for (name, _) in self.files() {
            read_file(&self.spill.directory, &name).map_err(|why| lost(&name, &why))?.iter().for_each(&mut visit);
        }
        self.items.iter().for_each(visit);
        Ok(())
    }

    /// Takes everything out of it.
    pub fn drain(&mut self) -> Vec<Item> {
        let mut all = Vec::new();
        while let Some(item) = self.pop() {
            all.push(item);
        }
        all
    }

    /// Throws all items away, and their files.
    pub fn clear(&mut self) {
        self.items.clear();
        for (number, _) in std::mem::take(&mut self.files) {
            let _ = self.spill.directory.remove(&self.file_name(number));
        }
        (self.bytes, self.in_files) = (0, 0);
    }

    fn file_name(&self, number: u64) -> String {
        format!("{}-{number}.items", self.spill.prefix)
    }

    /// Leaves nothing in memory, unless that does not work.
    pub fn spill_all(&mut self) {
        while !self.items.is_empty() && self.error.is_none() {
            self.spill_oldest();
        }
        self.items.shrink_to_fit();
    }

    fn spill_oldest(&mut self) {
        let mut out = Vec::new();
        let mut bytes = 0;
        // At least one item goes, however small the bound.
        let enough = SPILL_FILE_BYTES_MAX.min(self.spill.bytes_max / 2).max(1);
        while bytes < enough {
            let Some(item) = self.items.pop_front() else { break };
            bytes += item.bytes();
            out.push(item);
        }
        let name = self.file_name(self.next_file);
        match write_file(&self.spill.directory, &name, &out) {
            Ok(()) => {
                self.files.push((self.next_file, out.len()));
                self.next_file += 1;
                self.in_files += out.len();
                self.spilled += out.len() as u64;
                self.bytes -= bytes;
            }
            Err(error) => {
                self.error = Some(Error::of_state("items can not be spilled to the run directory", error));
                for item in out.into_iter().rev() {
                    self.items.push_front(item);
                }
            }
        }
    }

    fn load(&mut self) {
        let Some((number, count)) = self.files.pop() else {
            return;
        };
        self.in_files -= count;
        let name = self.file_name(number);
        match read_file(&self.spill.directory, &name) {
            Ok(items) if items.len() == count => {
                self.bytes += items.iter().map(Item::bytes).sum::<usize>();
                self.items.extend(items);
            }
            Ok(_) => self.error = Some(lost(&name, "it holds another number of items")),
            Err(why) => self.error = Some(lost(&name, &why)),
        }
        let _ = self.spill.directory.remove(&name);
    }
}

/// Writes a file of items: a checksum, then the items.
fn write_file(directory: &RunDirectory, name: &str, items: &Vec<Item>) -> std::io::Result<()> {
    let mut bytes = vec![0; CHECKSUM_BYTES];
    bytes.extend(wire::encode(items));
    let (checksum, items) = bytes.split_at_mut(CHECKSUM_BYTES);
    checksum.copy_from_slice(&xxhash_rust::xxh3::xxh3_64(items).to_le_bytes());
    directory.write(name, &bytes)
}

const CHECKSUM_BYTES: usize = 8;

/// Reads a file of items.
pub fn read_file(directory: &RunDirectory, name: &str) -> Result<Vec<Item>, String> {
    let bytes_max = (wire::MESSAGE_BYTES_MAX + CHECKSUM_BYTES) as u64;
    items_of(&directory.read(name, bytes_max).map_err(|error| error.to_string())?)
}

/// The items of such a file.
pub fn items_of(bytes: &[u8]) -> Result<Vec<Item>, String> {
    let (checksum, items) = bytes.split_at_checked(CHECKSUM_BYTES).ok_or("it is cut short")?;
    if xxhash_rust::xxh3::xxh3_64(items).to_le_bytes() != checksum {
        return Err("a checksum is wrong".to_owned());
    }
    wire::decode_items(items).map_err(|garbage| garbage.to_string())
}

fn lost(name: &str, why: &str) -> Error {
    Error::Fatal(format!("items spilled to {name} in the run directory are lost: {why}; run the same command again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{DirectoryItem, Identity, Parked, TreePath};
    use proptest::prelude::*;

    fn item(n: usize) -> Item {
        Item::Directory(DirectoryItem {
            path: TreePath::from(format!("{n:08}").as_bytes()),
            source: Identity { inode: n as u64, birth: None },
            target: None,
            mount: 0,
            made: false,
            parked: Parked::NEVER,
        })
    }

    fn bag(bytes_max: usize) -> (tempfile::TempDir, Bag) {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(state.path(), "run");
        directory.make().unwrap();
        (state, Bag::new(Spill { directory, prefix: "bag-0".to_owned(), bytes_max }))
    }

    #[test]
    fn workers_take_the_newest_and_thieves_the_oldest_half() {
        let (_state, mut bag) = bag(1 << 20);
        bag.push((0..4).map(item).collect());
        assert_eq!(bag.loot(10), [item(0), item(1)]);
        assert_eq!(bag.pop(), Some(item(3)));
        assert_eq!(bag.len(), 1);
    }

    #[test]
    fn a_bound_of_nothing_spills_all_but_one() {
        let (_state, mut bag) = bag(0);
        bag.push((0..4).map(item).collect());
        assert_eq!((bag.spilled(), bag.len()), (3, 4));
        assert_eq!(bag.drain().len(), 4);
        assert_eq!(bag.take_error(), None);
    }

    proptest! {
        // Each case writes and removes dozens of files.
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn spilling_loses_nothing(counts in proptest::collection::vec(0usize..60, 1..12), bytes_max in 1usize..5_000) {
            let (_state, mut bag) = bag(bytes_max);
            let (mut made, mut taken) = (0, Vec::new());
            for count in counts {
                bag.push((made..made + count).map(item).collect());
                made += count;
                taken.extend(bag.pop());
                if bag.len() > 3 {
                    taken.extend(bag.loot(2));
                }
                prop_assert_eq!(bag.len() + taken.len(), made);
            }
            taken.extend(bag.drain());
            prop_assert_eq!(bag.take_error(), None);
            let mut inodes: Vec<_> = taken.iter().map(|item| match item { Item::Directory(d) => d.source.inode, _ => 0 }).collect();
            inodes.sort_unstable();
            prop_assert_eq!(inodes, (0..made as u64).collect::<Vec<_>>());
        }
    }
}
