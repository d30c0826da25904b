//! Laws of copying and comparing, on real files.

use std::ops::Range;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::fault::Side;
use crate::fs::{attributes, open};

const BLOCK: usize = 4096;

/// Two directories with a file in each: the content, and an empty one.
struct Files {
    source: Fd,
    was: Attributes,
    target: Fd,
    directory: tempfile::TempDir,
}

/// What a stretch of blocks is.
#[derive(Debug, Clone, Copy)]
enum Stretch {
    Hole,
    Zeros,
    Data(u8),
}

type Pattern = Vec<(Stretch, usize)>;

fn pattern() -> impl Strategy<Value = Pattern> {
    let stretch = prop_oneof![Just(Stretch::Hole), Just(Stretch::Zeros), (1u8..).prop_map(Stretch::Data)];
    proptest::collection::vec((stretch, 1usize..12), 1..12)
}

fn content(pattern: &Pattern, tail: usize) -> Vec<u8> {
    let byte = |stretch| if let Stretch::Data(byte) = stretch { byte } else { 0 };
    let mut content: Vec<u8> =
        pattern.iter().flat_map(|&(stretch, blocks)| vec![byte(stretch); blocks * BLOCK]).collect();
    content.truncate(content.len() - tail);
    content
}

#[allow(clippy::disallowed_methods)] // Files of the test.
fn files(pattern: &Pattern, tail: usize) -> Files {
    use std::os::unix::fs::FileExt;
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(directory.path().join("source")).unwrap();
    let content = content(pattern, tail);
    file.set_len(content.len() as u64).unwrap();
    let mut at = 0;
    for &(stretch, blocks) in pattern {
        let end = (at + blocks * BLOCK).min(content.len());
        if !matches!(stretch, Stretch::Hole) {
            file.write_all_at(&content[at..end], at as u64).unwrap();
        }
        at = end;
    }
    let root = |side| {
        let path = std::ffi::CString::new(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        open::operand(side, &path).unwrap()
    };
    let source = open::file_for_reading(&root(Side::Source), c"source").unwrap();
    let target = open::new_file(&root(Side::Target), c"target").unwrap();
    let was = attributes::of_fd(&source).unwrap();
    Files { source, was, target, directory }
}

impl Files {
    fn ends(&self) -> Ends<'_> {
        Ends { source: &self.source, source_was: &self.was, target: &self.target }
    }

    fn copy(&self, range: Range<u64>, how: &Copying) -> Copied {
        copy_range(&self.ends(), range, how, &mut |_| {}).unwrap()
    }

    fn assert_equal(&self) {
        assert!(read(self.directory.path(), "source") == read(self.directory.path(), "target"));
    }

    fn are_same(&self) -> bool {
        same_content(&self.source, &self.target, 0..self.was.size, &mut |_| {}).unwrap()
    }

    fn reads_back(&self, range: Range<u64>, hashing: Hashing, digest: Digest) -> bool {
        reads_back(&self.target, range, hashing, &digest, &mut |_| {}).unwrap()
    }

    fn allocated(&self) -> u64 {
        attributes::of_fd(&self.target).unwrap().allocated
    }
}

#[allow(clippy::disallowed_methods)] // Files of the test.
fn read(directory: &Path, name: &str) -> Vec<u8> {
    std::fs::read(directory.join(name)).unwrap()
}

fn how(hashing: Option<Hashing>, engine: Option<Engine>, buffer_bytes: usize) -> Copying {
    Copying { engine, hashing, buffer_bytes, ..Copying::default() }
}

fn any_how() -> impl Strategy<Value = Copying> {
    let engines = prop_oneof![Just(None), Just(Some(Engine::CopyFileRange)), Just(Some(Engine::ReadWrite))];
    let hashing = prop_oneof![Just(None), Just(Some(Hashing::Xxh3))];
    (engines, hashing, prop_oneof![Just(4096usize), Just(20_480), Just(1 << 20)], any::<bool>(), any::<bool>())
        .prop_map(|(engine, hashing, buffer, sparse, direct)| Copying {
            sparse,
            direct,
            ..how(hashing, engine, buffer)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn a_whole_file_becomes_the_same_bytes_and_no_more_blocks(
        pattern in pattern(), tail in 0usize..BLOCK, how in any_how(),
    ) {
        let files = files(&pattern, tail);
        let copied = files.copy(0..files.was.size, &how);
        files.assert_equal();
        prop_assert_eq!(copied.end, files.was.size);
        prop_assert_eq!(copied.by_engine.iter().sum::<u64>(), copied.written);
        if how.sparse {
            prop_assert!(files.allocated() <= files.was.allocated + BLOCK as u64);
        }
    }

    #[test]
    fn parts_in_any_order_tile_back_to_the_same_bytes(
        pattern in pattern(), tail in 0usize..BLOCK, part in 1usize..20, seed in any::<u64>(), how in any_how(),
    ) {
        let files = files(&pattern, tail);
        set_size(&files.target, files.was.size).unwrap();
        let part = (part * BLOCK) as u64;
        let blocks_more = (1 + files.was.size.div_ceil(part)) * BLOCK as u64;
        let mut parts: Vec<u64> = (0..files.was.size.div_ceil(part)).collect();
        parts.sort_by_key(|index| index.wrapping_mul(seed | 1).rotate_left(17));
        for index in parts {
            let range = index * part..((index + 1) * part).min(files.was.size);
            let copied = files.copy(range.clone(), &how);
            prop_assert_eq!(copied.end, range.end);
            if let Some(digest) = copied.digest {
                prop_assert!(files.reads_back(range, Hashing::Xxh3, digest));
            }
        }
        files.assert_equal();
        prop_assert!(files.are_same());
        if how.sparse {
            prop_assert!(files.allocated() <= files.was.allocated + blocks_more);
        }
    }

    #[test]
    fn one_other_byte_is_found(pattern in pattern(), at in any::<u64>()) {
        let files = files(&pattern, 0);
        let how = how(Some(Hashing::Blake3), None, 1 << 20);
        let copied = files.copy(0..files.was.size, &how);
        flush(&files.target).unwrap();
        let reads_back = || files.reads_back(0..files.was.size, Hashing::Blake3, copied.digest.unwrap());
        prop_assert!(reads_back());
        let at = at % files.was.size;
        let mut byte = [0];
        calls::read_at(&files.target, &mut byte, at).unwrap();
        calls::write_at(&files.target, &[byte[0] ^ 1], at).unwrap();
        flush(&files.target).unwrap();
        prop_assert!(!reads_back());
        prop_assert!(!files.are_same());
    }
}

#[test]
fn a_hole_of_a_tebibyte_is_copied_and_compared_at_once() {
    let files = files(&vec![(Stretch::Data(1), 1)], 0);
    let size = 1 << 40;
    let source = open::new_file(&root_of(&files), c"huge").unwrap();
    set_size(&source, size).unwrap();
    let was = attributes::of_fd(&source).unwrap();
    let ends = Ends { source: &source, source_was: &was, target: &files.target };
    let started = std::time::Instant::now();
    let copied = copy(&ends, &how(Some(Hashing::Xxh3), None, 1 << 20), &mut |_| {}).unwrap();
    assert_eq!((copied.end, copied.written), (size, 0));
    assert!(same_content(&source, &files.target, 0..size, &mut |_| {}).unwrap());
    assert!(reads_back(&files.target, 0..size, Hashing::Xxh3, &copied.digest.unwrap(), &mut |_| {}).unwrap());
    assert_eq!(files.allocated(), 0);
    assert!(started.elapsed().as_secs() < 5);
}

fn root_of(files: &Files) -> Fd {
    let path = std::ffi::CString::new(files.directory.path().as_os_str().as_encoded_bytes()).unwrap();
    open::operand(Side::Target, &path).unwrap()
}

#[test]
fn a_large_file_passes_by_the_cache_to_its_last_byte() {
    for tail in [0, 1, 2_000, 4_095] {
        let files = files(&vec![(Stretch::Data(1), 1_500), (Stretch::Hole, 100), (Stretch::Data(2), 2_100)], tail);
        let how = Copying { direct: true, ..how(Some(Hashing::Xxh3), None, 1 << 20) };
        let copied = files.copy(0..files.was.size, &how);
        files.assert_equal();
        assert_eq!(copied.end, files.was.size);
        assert!(files.reads_back(0..files.was.size, Hashing::Xxh3, copied.digest.unwrap()));
    }
}

#[test]
fn a_file_that_has_grown_shows_it_in_its_end() {
    let files = files(&vec![(Stretch::Data(1), 3)], 0);
    let was = Attributes { size: files.was.size - 100, ..files.was };
    let ends = Ends { source: &files.source, source_was: &was, target: &files.target };
    let copied = copy(&ends, &Copying::default(), &mut |_| {}).unwrap();
    assert!(copied.end > was.size);
    assert_eq!(attributes::of_fd(&files.target).unwrap().size, was.size);
}

#[test]
fn a_file_that_has_shrunk_shows_it_in_its_end() {
    let files = files(&vec![(Stretch::Data(1), 3)], 0);
    let was = Attributes { size: files.was.size + 1_000_000, allocated: 2_000_000, ..files.was };
    let ends = Ends { source: &files.source, source_was: &was, target: &files.target };
    let copied = copy(&ends, &Copying::default(), &mut |_| {}).unwrap();
    assert_eq!(copied.end, files.was.size);
}
