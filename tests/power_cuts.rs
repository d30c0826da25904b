//! Real power cuts: a machine of its own mirrors with three ranks, and loses its power at a random moment. What is on
//! its disk then is judged by the comparer of these tests, and the next run must make a mirror of it. Run by
//! `make campaign`; each file system prints the row that `docs/internals/campaign.md` keeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use support::random::Dice;
use support::snapshot::Seen;
use support::*;

/// A file system under test.
struct Shape {
    what: &'static str,
    kind: &'static str,
    make: &'static [&'static str],
    /// Of the mount in the guest: what the journal holds reaches the disk within a short run.
    options: &'static [&'static str],
}

const EXT4: Shape =
    Shape { what: "ext4", kind: "ext4", make: &["mkfs.ext4", "-q"], options: &["commit=1", "commit=2", "commit=5"] };
const XFS: Shape = Shape { what: "xfs", kind: "xfs", make: &["mkfs.xfs", "-q"], options: &["rw"] };
/// Its journal does not wait for data: what the doubt is for.
const EXT4_WRITEBACK: Shape = Shape {
    what: "ext4, data=writeback",
    kind: "ext4",
    make: &["mkfs.ext4", "-q"],
    options: &["commit=1,data=writeback", "commit=1,data=writeback,nodelalloc"],
};

/// What the cuts left of the source's files, in all.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    /// The run had ended before the cut.
    ended: u64,
    /// There was no lock yet, or no more.
    unlocked: u64,
    absent: u64,
    /// Another size or time: the next run copies them.
    unfinished: u64,
    right: u64,
    /// Size and time of the source and another content, changed since the durable point: the next run compares them.
    doubted: u64,
    /// The same, but believed.
    believed: Vec<String>,
    /// Files that the next run compared.
    bytes_compared: u64,
}

#[test]
#[ignore = "a quarter of an hour: emulated machines boot"]
fn no_power_cut_leaves_a_wrong_file_that_is_believed_on_ext4() {
    campaign(&EXT4, 1);
}

#[test]
#[ignore = "a quarter of an hour: emulated machines boot"]
fn no_power_cut_leaves_a_wrong_file_that_is_believed_on_xfs() {
    campaign(&XFS, 2);
}

#[test]
#[ignore = "a quarter of an hour: emulated machines boot"]
fn no_power_cut_leaves_a_wrong_file_that_is_believed_where_the_journal_does_not_wait_for_data() {
    campaign(&EXT4_WRITEBACK, 3);
}

fn number_of(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// One file system after the other: the guests of one are enough for a machine.
static TURN: Mutex<()> = Mutex::new(());

fn campaign(shape: &Shape, seed: u64) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    needs::root();
    let (seed, cuts) = (number_of("PMIRROR_POWER_SEED", seed), number_of("PMIRROR_POWER_CUTS", 32));
    let boots = cuts.div_ceil(CUTS_A_BOOT);
    let top = tempfile::TempDir::with_prefix_in("pmirror-power-", needs::test_dir()).unwrap();
    let stage = Stage::build(shape, seed, top.path());
    let whole = stage.boot(&stage.empty, "whole", &mut Dice::new(seed)).0.runs_to_its_end();
    println!("{}: seed {seed}, {cuts} cuts; without one a run takes {:.1} s", shape.what, whole.as_secs_f64());
    let (tally, next) = (Mutex::new(Tally::default()), Mutex::new(0..boots));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // A dead run's lock is waited for: meanwhile the next guest boots.
            scope.spawn(|| {
                while let Some(boot) = { next.lock().unwrap().next() } {
                    stage.one(boot, seed, whole, &tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    let Tally { ended, unlocked, absent, unfinished, right, doubted, believed, bytes_compared, .. } = &tally;
    println!(
        "| {} | {} | {ended} | {unlocked} | {absent} | {unfinished} | {right} | {doubted} | {} | {} MiB |",
        shape.what,
        tally.cuts,
        believed.len(),
        bytes_compared >> 20
    );
    assert!(believed.is_empty() && tally.cuts == boots * CUTS_A_BOOT, "{tally:#?}");
}

/// What all cuts of a file system share.
struct Stage<'s> {
    shape: &'s Shape,
    guest: Guest,
    top: &'s Path,
    source_image: PathBuf,
    source: Mounted,
    before: Snapshot,
    /// A target with nothing in it, and one with an older version of some files.
    empty: PathBuf,
    old: PathBuf,
}

/// An image, mounted here.
struct Mounted(PathBuf);

impl Mounted {
    fn at(image: &Path, options: &str) -> Mounted {
        let place = image.with_extension("mounted");
        std::fs::create_dir_all(&place).unwrap();
        needs::run_ok(Command::new("mount").args(["-o", options]).arg(image).arg(&place));
        Mounted(place)
    }

    fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

impl<'s> Stage<'s> {
    fn build(shape: &'s Shape, seed: u64, top: &'s Path) -> Stage<'s> {
        let source_image = image(top, "source", EXT4.make, |tree| grow(tree, seed));
        let source = Mounted::at(&source_image, "loop,ro");
        let before = look(&source);
        let empty = image(top, "empty", shape.make, |_| {});
        let old = image(top, "old", shape.make, |tree| {
            (0..FILES).step_by(2).for_each(|number| drop(tree.file(name(number), format!("old {number}"))));
            tree.file("large0", vec![b'o'; 3 << 20]);
        });
        Stage { shape, guest: Guest::build(), top, source_image, source, before, empty, old }
    }

    /// A guest on a copy of a target.
    fn boot(&self, base: &Path, name: &str, dice: &mut Dice) -> (support::guest::Powered, PathBuf) {
        let target = self.top.join(name);
        needs::run_ok(Command::new("cp").arg("--sparse=always").arg(base).arg(&target));
        let words = [
            format!("type={}", self.shape.kind),
            format!("options={}", dice.pick(self.shape.options)),
            format!("writeback={}", dice.pick(&[10, 50, 200])),
            format!("expire={}", dice.pick(&[10, 100, 300])),
        ];
        (self.guest.boot(&self.source_image, &target, &words), target)
    }

    /// One guest, and several cuts of it: the last takes its power away.
    fn one(&self, boot: u64, seed: u64, whole: Duration, tally: &Mutex<Tally>) {
        let mut dice = Dice::new(seed << 32 | boot);
        let base = dice.pick(&[&self.empty, &self.old]);
        // Guests that run side by side are slower than the first one was.
        let mut times: Vec<Duration> =
            (0..CUTS_A_BOOT).map(|_| whole.mul_f64(dice.below(2_000) as f64 / 1_000.0)).collect();
        times.sort();
        let (mut guest, image) = self.boot(base, &format!("boot{boot}"), &mut dice);
        let last = times.pop().unwrap();
        let copies = times.iter().enumerate().map(|(cut, &time)| {
            let copy = self.top.join(format!("boot{boot}-{cut}"));
            let ended = guest.disk_after(time, &image, &copy);
            (copy, time, ended)
        });
        let mut disks: Vec<_> = copies.collect();
        let ended = guest.runs_for(last);
        disks.push((image, last, ended));
        std::thread::scope(|scope| {
            for (disk, time, ended) in &disks {
                println!("{} {}: after {:.2} s, ended: {ended}", self.shape.what, disk.display(), time.as_secs_f64());
                scope.spawn(|| {
                    let found = self.go_on(disk, *ended);
                    tally.lock().unwrap().add(found);
                });
            }
        });
    }

    /// Judges a disk, and has the next run make a mirror of it.
    fn go_on(&self, disk: &Path, ended: bool) -> Tally {
        let nouuid = if self.shape.kind == "xfs" { ",nouuid" } else { "" };
        let mounted = Mounted::at(disk, &format!("loop{nouuid}"));
        let mut found = self.judge(&mounted, &disk.display().to_string());
        found.ended = u64::from(ended);
        let state = disk.with_extension("state");
        let next = Pmirror::new().sync(self.source.tree(), mounted.tree()).arg("--chunk-size=1M").state_dir(state);
        let next = next.timeout(Duration::from_secs(600)).run_unchecked().exits(0);
        found.bytes_compared = next.number("/bytes/compared");
        compare::assert_same_but(&self.before, &look(&mounted), &[]);
        drop(mounted);
        std::fs::remove_file(disk).unwrap();
        found
    }

    /// What is on the disk: the files of the source, one by one.
    fn judge(&self, mounted: &Mounted, cut: &str) -> Tally {
        let target = look(mounted);
        let point = durable_point(&mounted.tree());
        let mut tally = Tally { cuts: 1, unlocked: u64::from(point.is_none()), ..Tally::default() };
        for (path, seen) in self.before.entries.iter().filter(|(_, seen)| seen.kind() == "file") {
            let Some(copy) = target.entries.get(path).filter(|copy| copy.kind() == "file") else {
                tally.absent += 1;
                continue;
            };
            if copy.mtime() != seen.mtime() || copy.stat.stx_size != seen.stat.stx_size {
                tally.unfinished += 1;
            } else if copy.digest == seen.digest {
                tally.right += 1;
            } else if is_doubted(copy, point) {
                tally.doubted += 1;
                println!("doubted, and wrong: {cut}: {} of {} bytes", escaped(path), seen.stat.stx_size);
            } else {
                tally.believed.push(format!("{cut}: {}", escaped(path)));
            }
        }
        tally
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.cuts += other.cuts;
        self.ended += other.ended;
        self.unlocked += other.unlocked;
        self.absent += other.absent;
        self.unfinished += other.unfinished;
        self.right += other.right;
        self.doubted += other.doubted;
        self.believed.extend(other.believed);
        self.bytes_compared += other.bytes_compared;
    }
}

/// All that can be seen of a tree. XFS shows ACLs under names of its own too.
fn look(mounted: &Mounted) -> Snapshot {
    let mut seen = Snapshot::take(mounted.tree());
    seen.entries.values_mut().for_each(|seen| seen.xattrs.retain(|name, _| !name.starts_with(b"trusted.SGI_ACL_")));
    seen
}

/// The second at which the lock says that all before is on the disk; `None` if there is no lock.
fn durable_point(tree: &Path) -> Option<i64> {
    let lock = std::fs::read(tree.join(".pmirror/lock")).ok()?;
    let lock: serde_json::Value = serde_json::from_slice(&lock).expect("the lock is never torn");
    let (seconds, _) = lock["durable"].as_str().unwrap().split_once('.').unwrap();
    Some(seconds.parse().unwrap())
}

/// Whether the next run is to compare it: changed at the point or later, two seconds of clock skew allowed for.
fn is_doubted(copy: &Seen, point: Option<i64>) -> bool {
    point.is_some_and(|point| copy.stat.stx_ctime.tv_sec + 2 >= point)
}

/// An image of 512 MiB with a directory `tree` that is filled.
fn image(top: &Path, name: &str, make: &[&str], fill: impl FnOnce(&Tree)) -> PathBuf {
    let file = top.join(name);
    std::fs::File::create(&file).unwrap().set_len(512 << 20).unwrap();
    needs::run_ok(Command::new(make[0]).args(&make[1..]).arg(&file));
    let mounted = Mounted::at(&file, "loop");
    std::fs::create_dir(mounted.tree()).unwrap();
    fill(&Tree::at(mounted.tree()));
    file
}

/// Cuts of one guest.
const CUTS_A_BOOT: u64 = 4;

const FILES: u64 = 160;

fn name(number: u64) -> String {
    format!("d{}/{number}", number % 12)
}

/// Files that are appended and never flushed, of a block and of many; some large ones for chunks; and whatever else
/// there is.
fn grow(tree: &Tree, seed: u64) {
    let mut dice = Dice::new(seed);
    for number in 0..FILES {
        let most = dice.pick(&[4_000, 40_000, 400_000]);
        let length = 1 + dice.below(most) as usize;
        tree.file(name(number), dice.bytes(length)).mtime(1_000_000_000 + number as i64, 5);
    }
    for number in 0..3 {
        tree.file(format!("large{number}"), dice.bytes(3 << 20)).mtime(1_100_000_000, 7);
    }
    tree.dir("random");
    RandomTree { seed, entries: 60, hard_links: true }.build(&Tree::at(tree.path("random")));
}
