//! Where in a tree many entries lie: a tree of directories that counts, of bounded size. Pure.
//!
//! Each path counts for the directory that holds it. Where the tree grows too large, its lightest leaves are folded
//! into the directories above them: sums stay right, and what is told of a subtree is then at least what it has.

use std::collections::BTreeMap;

/// Directories deeper than this count for the one above them at this depth.
const DEPTH_MAX: usize = 24;

/// The node of all.
const ROOT: usize = 0;

/// A subtree is told if it has at least this part of all.
const SHARE_MIN: u64 = 5;

/// So many subtrees are told of one cause.
const TOLD_MAX: usize = 3;

/// Directories, and how many entries each of them holds.
#[derive(Debug)]
pub struct Subtrees {
    nodes: Vec<Node>,
    nodes_max: usize,
    is_folded: bool,
}

#[derive(Debug, Default)]
struct Node {
    /// Entries below it, whatever their depth.
    count: u64,
    children: BTreeMap<Box<[u8]>, usize>,
}

/// A subtree that has many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heavy {
    /// Below the roots; empty for all.
    pub path: Vec<u8>,
    /// Entries in it, or fewer than there are where the tree was folded.
    pub count: u64,
}

impl Subtrees {
    /// None yet; never more than so many directories.
    pub fn new(nodes_max: usize) -> Self {
        Self { nodes: vec![Node::default()], nodes_max: nodes_max.max(2), is_folded: false }
    }

    /// Counts an entry by its path.
    pub fn add(&mut self, path: &[u8]) {
        let mut names: Vec<&[u8]> = path.split(|&byte| byte == b'/').take(DEPTH_MAX + 1).collect();
        names.pop();
        let mut at = ROOT;
        self.count(at);
        for name in names {
            at = self.child(at, name);
            self.count(at);
        }
        if self.nodes.len() > self.nodes_max {
            self.fold();
        }
    }

    fn count(&mut self, at: usize) {
        if let Some(node) = self.nodes.get_mut(at) {
            node.count += 1;
        }
    }

    fn child(&mut self, at: usize, name: &[u8]) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return ROOT };
        if let Some(&child) = node.children.get(name) {
            return child;
        }
        node.children.insert(name.into(), next);
        self.nodes.push(Node::default());
        next
    }

    /// Entries counted.
    pub fn all(&self) -> u64 {
        self.nodes.get(ROOT).map_or(0, |root| root.count)
    }

    /// Directories that are held.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Whether some counts are less than there is.
    pub fn is_folded(&self) -> bool {
        self.is_folded
    }

    /// Leaves out the lightest directories, until at most half of the nodes are left.
    fn fold(&mut self) {
        self.is_folded = true;
        let mut lightest = 1;
        while self.nodes.len() > self.nodes_max / 2 && self.nodes.len() > 1 {
            let mut kept = Vec::new();
            self.keep(ROOT, lightest, &mut kept);
            self.nodes = kept;
            lightest *= 2;
        }
    }

    /// Copies what has more than so many. Returns where it is now. As deep as the tree, which has a bound.
    fn keep(&self, at: usize, lightest: u64, kept: &mut Vec<Node>) -> usize {
        let place = kept.len();
        let Some(node) = self.nodes.get(at) else { return ROOT };
        kept.push(Node { count: node.count, children: BTreeMap::new() });
        for (name, &child) in &node.children {
            if self.nodes.get(child).is_some_and(|child| child.count > lightest) {
                let child = self.keep(child, lightest, kept);
                if let Some(node) = kept.get_mut(place) {
                    node.children.insert(name.clone(), child);
                }
            }
        }
        place
    }

    /// The deepest subtrees that together hold most of what was counted, the heaviest first: one, or up to three that
    /// do not overlap.
    pub fn heaviest(&self) -> Vec<Heavy> {
        let mut found = Vec::new();
        self.descend(ROOT, Vec::new(), &mut found);
        found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.path.cmp(&b.path)));
        if found.len() <= TOLD_MAX {
            return found;
        }
        // Too many to tell apart: the one that holds them all.
        let (at, path) = self.narrow(ROOT, Vec::new());
        let count = self.nodes.get(at).map_or(0, |node| node.count);
        vec![Heavy { path, count }]
    }

    /// Goes down as long as one directory holds nearly all: nine of ten.
    fn narrow(&self, mut at: usize, mut path: Vec<u8>) -> (usize, Vec<u8>) {
        while let Some(node) = self.nodes.get(at) {
            let heaviest = self.children(node).max_by_key(|(_, _, count)| *count);
            let Some((name, child, _)) = heaviest.filter(|(_, _, count)| *count * 10 >= node.count * 9) else { break };
            join(&mut path, name);
            at = child;
        }
        (at, path)
    }

    fn children<'n>(&'n self, node: &'n Node) -> impl Iterator<Item = (&'n [u8], usize, u64)> {
        let count = |child: usize| self.nodes.get(child).map_or(0, |child| child.count);
        node.children.iter().map(move |(name, &child)| (&**name, child, count(child)))
    }

    /// Where a few directories hold nearly all of one, they are told instead of it.
    fn descend(&self, at: usize, path: Vec<u8>, found: &mut Vec<Heavy>) {
        let (at, path) = self.narrow(at, path);
        let Some(node) = self.nodes.get(at) else { return };
        let is_heavy = |count: u64| count * SHARE_MIN >= self.all();
        let heavy: Vec<_> = self.children(node).filter(|(_, _, count)| is_heavy(*count)).collect();
        let held: u64 = heavy.iter().map(|(_, _, count)| count).sum();
        if heavy.is_empty() || held * 10 < node.count * 8 {
            return found.push(Heavy { path, count: node.count });
        }
        for (name, child, _) in heavy {
            let mut below = path.clone();
            join(&mut below, name);
            self.descend(child, below, found);
        }
    }
}

fn join(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(paths: &[(&str, u64)], nodes_max: usize) -> Subtrees {
        let mut tree = Subtrees::new(nodes_max);
        for (path, times) in paths {
            (0..*times).for_each(|_| tree.add(path.as_bytes()));
        }
        tree
    }

    fn told(tree: &Subtrees) -> Vec<(String, u64)> {
        let text = |heavy: Heavy| (String::from_utf8(heavy.path).unwrap(), heavy.count);
        tree.heaviest().into_iter().map(text).collect()
    }

    fn one(path: &str, count: u64) -> Vec<(String, u64)> {
        vec![(path.to_owned(), count)]
    }

    #[test]
    fn the_deepest_directory_that_holds_nearly_all_is_told() {
        let tree = counted(&[("projects/ada/a/x", 500), ("projects/ada/b/y", 400), ("other/z", 10)], 1000);
        assert_eq!(told(&tree), [("projects/ada/a".to_owned(), 500), ("projects/ada/b".to_owned(), 400)]);
        assert_eq!(told(&counted(&[("d/e/f", 7)], 1000)), one("d/e", 7));
        assert_eq!(told(&counted(&[("f", 7)], 1000)), one("", 7));
        assert_eq!(told(&Subtrees::new(9)), one("", 0));
    }

    #[test]
    fn what_lies_everywhere_lies_in_the_directory_above() {
        let names: Vec<String> = (0..100).map(|n| format!("top/{n}/file")).collect();
        let paths: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(told(&counted(&paths, 1000)), one("top", 100));
    }

    #[test]
    fn a_tree_that_grows_too_large_keeps_its_sum_and_what_is_heavy() {
        let mut tree = counted(&[("heavy/one/f", 3000)], 50);
        for n in 0..1000 {
            tree.add(format!("light/{n}/deep/{n}/file").as_bytes());
        }
        assert!(tree.size() <= 50 && tree.is_folded());
        assert_eq!(tree.all(), 4000);
        assert_eq!(told(&tree).first(), Some(&("heavy/one".to_owned(), 3000)));
    }

    #[test]
    fn a_path_may_be_as_deep_as_it_likes() {
        let deep = vec!["d"; 100_000].join("/");
        let tree = counted(&[(&deep, 2)], 1000);
        assert!(tree.size() <= DEPTH_MAX + 2);
        assert_eq!(tree.heaviest().len(), 1);
    }

    proptest! {
        #[test]
        fn sums_agree_and_the_order_does_not_matter(
            paths in proptest::collection::vec("[abc](/[abc]){0,4}", 1..200), turn in 0usize..200, nodes_max in 2usize..60
        ) {
            let fill = |paths: &[String], max| {
                let mut tree = Subtrees::new(max);
                paths.iter().for_each(|path| tree.add(path.as_bytes()));
                tree
            };
            let mut turned = paths.clone();
            turned.rotate_left(turn % paths.len());
            let (whole, other) = (fill(&paths, 10_000), fill(&turned, 10_000));
            prop_assert_eq!(whole.heaviest(), other.heaviest());
            let small = fill(&paths, nodes_max);
            prop_assert_eq!((small.all(), whole.all()), (paths.len() as u64, paths.len() as u64));
            prop_assert!(small.size() <= nodes_max);
            for heavy in whole.heaviest().iter().chain(&small.heaviest()) {
                let holds = |path: &&String| {
                    let rest = path.as_bytes().strip_prefix(heavy.path.as_slice());
                    heavy.path.is_empty() || rest.is_some_and(|rest| rest.starts_with(b"/"))
                };
                prop_assert!(heavy.count <= paths.iter().filter(holds).count() as u64);
            }
            prop_assert!(whole.heaviest().len() <= TOLD_MAX && small.heaviest().len() <= TOLD_MAX);
            let told: u64 = whole.heaviest().iter().map(|heavy| heavy.count).sum();
            prop_assert!(told <= whole.all());
        }
    }
}
