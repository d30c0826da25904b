//! Every decoder with its corpus, as it is and damaged: cut at every byte, with flipped bits, with lengths of 2^63. No
//! panic, and nothing allocated beyond the bound, which an allocator of its own watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pmirror::fuzz::{DECODERS, Decoder};

/// For each byte of input a decoder may have so many: the smallest encoding of an entry of a list, and the entry.
const PER_BYTE: usize = 512;
/// What libraries keep for good, in whichever case they are first used.
const SLACK: usize = 4 << 20;

/// Counts what each thread has.
struct Counting;

thread_local! {
    static HAS: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

fn grew(bytes: usize) {
    HAS.with(|has| has.set(has.get() + bytes));
    MOST.with(|most| most.set(most.get().max(HAS.with(Cell::get))));
}

fn shrank(bytes: usize) {
    // What another thread gave, or what was there before, was not counted.
    HAS.with(|has| has.set(has.get().saturating_sub(bytes)));
}

// SAFETY: all is handed to the system's allocator as it came; the counters are plain cells, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grew(size);
        shrank(layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrank(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Decodes, and judges. Returns the most that was allocated at once.
fn decode(decoder: &Decoder, bytes: &[u8], how: &dyn std::fmt::Display) -> (bool, usize) {
    HAS.set(0);
    MOST.set(0);
    let decoded = catch_unwind(AssertUnwindSafe(|| (decoder.decode)(bytes)));
    let most = MOST.get();
    let Ok(decoded) = decoded else { panic!("{}, {how}: it panics on {bytes:?}", decoder.name) };
    let most_allowed = decoder.bytes_max + PER_BYTE * bytes.len() + SLACK;
    assert!(most <= most_allowed, "{}, {how}: {most} bytes allocated for {} of input", decoder.name, bytes.len());
    (decoded, most)
}

/// The files of a corpus, by name.
fn corpus(decoder: &Decoder) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(decoder.name);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What is written over a place of the input: lengths that nobody has, as fixed integers and as bincode's varints.
fn overwrites() -> Vec<Vec<u8>> {
    let fixed = [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 32, 0].map(|number| number.to_le_bytes().to_vec());
    let varint = [[&[0xfd][..], &(1u64 << 63).to_le_bytes()].concat(), [&[0xfc][..], &u32::MAX.to_le_bytes()].concat()];
    [&fixed[..], &varint, &[vec![0xff], vec![b'9'; 20], vec![0x1b]]].concat()
}

/// So many places of `all`, evenly spread: all of a short input.
fn places(all: usize, at_most: usize) -> impl Iterator<Item = usize> {
    (0..all).step_by(all.div_ceil(at_most).max(1))
}

/// Cases of one kind for one file. The definition of the command line takes a millisecond to build.
fn cases_of(decoder: &Decoder) -> usize {
    if matches!(decoder.name, "command_record" | "patterns" | "settings") { 60 } else { 400 }
}

fn damage(decoder: &Decoder, name: &str, whole: &[u8]) -> (usize, usize) {
    let (mut cases, mut most) = (0, 0);
    let mut judge = |bytes: &[u8], how: String| {
        cases += 1;
        most = most.max(decode(decoder, bytes, &format!("{name}, {how}")).1);
    };
    let cases_max = cases_of(decoder);
    for end in places(whole.len(), cases_max) {
        judge(&whole[..end], format!("cut at {end}"));
    }
    for bit in places(whole.len() * 8, 2 * cases_max) {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        judge(&bytes, format!("bit {bit} flipped"));
    }
    for over in overwrites() {
        for at in places(whole.len(), cases_max / 4) {
            let mut bytes = whole.to_vec();
            let end = (at + over.len()).min(whole.len());
            bytes[at..end].copy_from_slice(&over[..end - at]);
            judge(&bytes, format!("{over:?} at {at}"));
        }
    }
    let twice = [whole, whole].concat();
    judge(&twice, "twice".to_owned());
    (cases, most)
}

#[test]
fn no_decoder_panics_or_allocates_beyond_its_bound_whatever_is_broken() {
    let seen = std::sync::Mutex::new(Vec::new());
    let decode_all = |decoders: &[Decoder]| {
        for decoder in decoders {
            let (mut cases, mut most) = (0, 0);
            for (name, whole) in corpus(decoder) {
                let (decoded, _) = decode(decoder, &whole, &name);
                assert!(decoded || !name.starts_with("good"), "{}/{name} is not decoded", decoder.name);
                assert!(!decoded || !name.starts_with("bad"), "{}/{name} is decoded", decoder.name);
                let (more, peak) = damage(decoder, &name, &whole);
                (cases, most) = (cases + more, most.max(peak));
            }
            assert!(cases > 0, "{} has no corpus", decoder.name);
            seen.lock().unwrap().push((decoder.name, cases, most));
        }
    };
    let (first, second): (Vec<_>, Vec<_>) = DECODERS.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    std::thread::scope(|scope| {
        for half in [first, second] {
            let half: Vec<Decoder> = half.into_iter().map(|(_, decoder)| *decoder).collect();
            scope.spawn(move || decode_all(&half));
        }
    });
    for (name, cases, most) in seen.into_inner().unwrap() {
        println!("{name:<20} {cases:>7} cases, {:>6} KiB at most", most >> 10);
    }
}

#[test]
fn a_decoder_gets_bytes_that_nobody_made() {
    for decoder in DECODERS {
        decode(decoder, &[], &"nothing");
        for byte in [0x00, 0x01, 0x1b, 0x80, 0xff, b'[', b'{', b'"', b'\\', b'('] {
            for length in [1, 2, 3, 4, 8, 12, 16, 31, 64, 255, 4096] {
                decode(decoder, &vec![byte; length], &format!("{length} times {byte}"));
            }
        }
    }
}

#[test]
fn each_decoder_has_its_target_and_its_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let listed = |directory: &str| -> Vec<String> {
        let entries = std::fs::read_dir(fuzz.join(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let mut names: Vec<String> = DECODERS.iter().map(|decoder| decoder.name.to_owned()).collect();
    names.sort();
    assert_eq!(listed("corpus"), names);
    assert_eq!(listed("fuzz_targets"), names.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in names {
        let target = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("pmirror::fuzz::{name}(bytes)")), "{name}.rs calls another decoder");
        assert!(manifest.contains(&format!("\"fuzz_targets/{name}.rs\"")), "fuzz/Cargo.toml lacks {name}");
    }
}
