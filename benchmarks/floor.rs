//! The floor: what the system calls of a mirror cost when nothing else is done.
//!
//! `floor copy SRC DST` makes exactly the calls of the in-place recipe, `floor compare SRC DST` the least that an
//! unchanged pass needs (both sides listed, one `statx` a side for each name). There is no safety and no care here:
//! whatever goes wrong ends the program with a message, extended attributes are listed and not copied, hard links
//! are copied apart, and what is neither file, directory nor link is refused. A tool that keeps its promises must
//! cost more; how much more is what `benchmarks/bench.py` measures.

use std::ffi::{CStr, CString};
use std::fmt::{Debug, Display};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{
    self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps,
    Uid,
};
use rustix::io::{self, Errno};

const USAGE: &str = "usage: floor copy|compare SRC DST [--threads N]";

/// Names of a directory that one thread takes at a time: a wide directory is shared, a small one stays with one
/// thread, because two that create in the same directory wait for each other.
const SLICE_NAMES: usize = 256;

/// A file above this size is an item of its own, so that a directory of a few large files is shared too.
const LARGE_BYTES: u64 = 1 << 20;

/// Stays in the second-level cache between its read and its write.
const BUFFER_BYTES: usize = 256 << 10;

/// One `getdents64` for nearly every directory.
const LISTING_BYTES: usize = 64 << 10;

fn main() {
    let order = Order::from_arguments();
    let queue = Queue::new(order.root());
    let sums = thread::scope(|scope| {
        let start = |_| scope.spawn(|| Worker::new(order.job, &queue).run());
        let threads: Vec<_> = (0..order.threads.get()).map(start).collect();
        threads.into_iter().map(joined).fold(Sums::default(), Sums::plus)
    });
    println!("{} entries, {} bytes, {} different", sums.entries, sums.bytes, sums.different);
}

fn joined(thread: thread::ScopedJoinHandle<'_, Sums>) -> Sums {
    thread.join().unwrap_or_else(|_| die("a thread", "panicked"))
}

/// What the command line asks for.
struct Order {
    job: Job,
    source: String,
    target: String,
    threads: NonZeroUsize,
}

/// The two measurements.
#[derive(Clone, Copy, PartialEq)]
enum Job {
    Copy,
    Compare,
}

impl Order {
    fn from_arguments() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (job, source, target, threads) = match words[..] {
            [job, source, target] => (job, source, target, "1"),
            [job, source, target, "--threads", threads] => (job, source, target, threads),
            _ => die(words, USAGE),
        };
        let job = match job {
            "copy" => Job::Copy,
            "compare" => Job::Compare,
            other => die(other, USAGE),
        };
        let threads = threads.parse().unwrap_or_else(|_| die(threads, USAGE));
        Self { job, source: source.to_owned(), target: target.to_owned(), threads }
    }

    /// The item that the walk starts from. The target root may be there already: every tool of the benchmark
    /// gets an empty one.
    fn root(&self) -> Item {
        if self.job == Job::Copy {
            match fs::mkdirat(CWD, &self.target, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => die(&self.target, errno),
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| fs::openat(CWD, path, flags, NO_MODE).or_die(path);
        let (source, target) = (open(&self.source), open(&self.target));
        let listed = stat(&source, c".");
        // The roots are opened once more, as the `.` of a pair without names: one kind of item is enough.
        let parent = Directory::new(source, target, Box::new(listed), Vec::new());
        Item::Directory { parent: Arc::new(parent), name: c".".to_owned(), listed: Box::new(listed) }
    }
}

/// What a thread takes from the queue.
enum Item {
    /// A directory pair to open and list.
    Directory { parent: Arc<Directory>, name: CString, listed: Box<Statx> },
    /// Some names of a listed directory.
    Slice { directory: Arc<Directory>, names: Range<usize> },
}

/// An open, listed pair of directories.
struct Directory {
    source: OwnedFd,
    target: OwnedFd,
    listed: Box<Statx>,
    /// In the order of the file system: its inode tables are read in that order too.
    names: Vec<(CString, FileType)>,
    /// Slices not yet done: whoever ends the last one sets the directory's times.
    slices_open: AtomicUsize,
}

impl Directory {
    fn new(source: OwnedFd, target: OwnedFd, listed: Box<Statx>, names: Vec<(CString, FileType)>) -> Self {
        let slices_open = AtomicUsize::new(names.len().div_ceil(SLICE_NAMES).max(1));
        Self { source, target, listed, names, slices_open }
    }
}

/// What one thread did.
#[derive(Clone, Copy, Default)]
struct Sums {
    entries: u64,
    bytes: u64,
    /// Compare only: names whose size or mtime differ. Shows that the right two trees were compared.
    different: u64,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
            different: self.different + other.different,
        }
    }
}

/// The items of all threads, newest first: depth first keeps the number of open directories small.
struct Queue {
    state: Mutex<QueueState>,
    news: Condvar,
}

#[derive(Default)]
struct QueueState {
    items: Vec<Item>,
    /// Threads that hold an item and may still bring new ones.
    running: usize,
    waiting: usize,
}

impl Queue {
    fn new(root: Item) -> Self {
        let state = QueueState { items: vec![root], ..QueueState::default() };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    /// The next item, or `None` when no item exists and no thread can bring one.
    fn take(&self) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop() {
                state.running += 1;
                return Some(item);
            }
            if state.running == 0 {
                return None;
            }
            state.waiting += 1;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn push(&self, item: Item) {
        let mut state = self.lock();
        state.items.push(item);
        if state.waiting > 0 {
            self.news.notify_one();
        }
    }

    /// Ends an item that `take` gave.
    fn finish(&self) {
        let mut state = self.lock();
        state.running -= 1;
        if state.running == 0 {
            self.news.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread with its buffers.
struct Worker<'a> {
    job: Job,
    queue: &'a Queue,
    buffer: Vec<u8>,
    listing: Vec<u8>,
    sums: Sums,
}

impl<'a> Worker<'a> {
    fn new(job: Job, queue: &'a Queue) -> Self {
        let (buffer, listing) = (vec![0; BUFFER_BYTES], Vec::with_capacity(LISTING_BYTES));
        Self { job, queue, buffer, listing, sums: Sums::default() }
    }

    fn run(mut self) -> Sums {
        while let Some(item) = self.queue.take() {
            let (directory, names) = match item {
                Item::Slice { directory, names } => (directory, names),
                Item::Directory { parent, name, listed } => self.open(parent, &name, listed),
            };
            self.directories_first(&directory, names.clone());
            match self.job {
                Job::Copy => self.copy_slice(&directory, names),
                Job::Compare => self.compare_slice(&directory, names),
            }
            let slices_open = directory.slices_open.fetch_sub(1, Ordering::AcqRel);
            if slices_open == 1 && self.job == Job::Copy {
                settle_directory(&directory);
            }
            self.queue.finish();
        }
        self.sums
    }

    /// Opens and lists a pair; keeps the first slice of its names, and gives the others away.
    fn open(&mut self, parent: Arc<Directory>, name: &CStr, listed: Box<Statx>) -> (Arc<Directory>, Range<usize>) {
        let (source, target) = open_pair(&parent, name);
        // Else a deep chain would hold every level open.
        drop(parent);
        if self.job == Job::Compare {
            list(&target, &mut self.listing);
        }
        let names = list(&source, &mut self.listing);
        let count = names.len();
        let directory = Arc::new(Directory::new(source, target, listed, names));
        for start in (SLICE_NAMES..count).step_by(SLICE_NAMES) {
            let names = start..count.min(start + SLICE_NAMES);
            self.queue.push(Item::Slice { directory: Arc::clone(&directory), names });
        }
        (directory, 0..count.min(SLICE_NAMES))
    }

    /// Makes and gives away the subdirectories before the files: another thread may start on them at once.
    fn directories_first(&mut self, directory: &Arc<Directory>, names: Range<usize>) {
        for (name, _) in directory.names[names].iter().filter(|(_, kind)| *kind == FileType::Directory) {
            let listed = Box::new(stat(&directory.source, name));
            match self.job {
                Job::Copy => fs::mkdirat(&directory.target, name, Mode::RWXU).or_die(name),
                Job::Compare => drop(stat(&directory.target, name)),
            }
            self.queue.push(Item::Directory { parent: Arc::clone(directory), name: name.clone(), listed });
            self.sums.entries += 1;
        }
    }

    fn copy_slice(&mut self, directory: &Arc<Directory>, names: Range<usize>) {
        let alone = names.len() == 1;
        for index in names {
            let (name, kind) = &directory.names[index];
            if *kind == FileType::Directory {
                continue;
            }
            let listed = stat(&directory.source, name);
            match kind {
                FileType::RegularFile if listed.stx_size > LARGE_BYTES && !alone => {
                    directory.slices_open.fetch_add(1, Ordering::AcqRel);
                    self.queue.push(Item::Slice { directory: Arc::clone(directory), names: index..index + 1 });
                    continue;
                }
                FileType::RegularFile => self.sums.bytes += copy_file(directory, name, &listed, &mut self.buffer),
                FileType::Symlink => copy_link(directory, name, &listed),
                other => die(name, format!("{other:?} is neither file, directory nor link")),
            }
            self.sums.entries += 1;
        }
    }

    fn compare_slice(&mut self, directory: &Directory, names: Range<usize>) {
        for (name, _) in directory.names[names].iter().filter(|(_, kind)| *kind != FileType::Directory) {
            let (source, target) = (stat(&directory.source, name), stat(&directory.target, name));
            let same = source.stx_size == target.stx_size && mtime(&source) == mtime(&target);
            self.sums.different += u64::from(!same);
            self.sums.entries += 1;
        }
    }
}

/// The recipe, call by call.
fn copy_file(directory: &Directory, name: &CStr, listed: &Statx, buffer: &mut [u8]) -> u64 {
    let read_only = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = fs::openat(&directory.source, name, read_only, NO_MODE).or_die(name);
    let mut filled = io::read(&source, &mut *buffer).or_die(name);
    let target = fs::openat(&directory.target, name, create, Mode::RUSR | Mode::WUSR).or_die(name);
    let mut copied = 0;
    while filled > 0 {
        write_all(name, &target, &buffer[..filled]);
        copied += filled as u64;
        // The size that was listed stands in for the read that returns 0: one call less for each file.
        filled = if copied < listed.stx_size { io::read(&source, &mut *buffer).or_die(name) } else { 0 };
    }
    list_attributes(name, &source);
    fs::fchown(&target, Some(owner(listed)), Some(group(listed))).or_die(name);
    fs::fchmod(&target, mode(listed)).or_die(name);
    fs::statx(&source, c"", AtFlags::EMPTY_PATH, WANTED).or_die(name);
    fs::futimens(&target, &times(listed)).or_die(name);
    copied
}

fn copy_link(directory: &Directory, name: &CStr, listed: &Statx) {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let points_to = fs::readlinkat(&directory.source, name, Vec::with_capacity(4096)).or_die(name);
    fs::symlinkat(&points_to, &directory.target, name).or_die(name);
    let (owner, group) = (Some(owner(listed)), Some(group(listed)));
    fs::chownat(&directory.target, name, owner, group, flags).or_die(name);
    fs::utimensat(&directory.target, name, &times(listed), flags).or_die(name);
}

/// What a directory gets when all its names are there; its subdirectories no longer touch its times.
fn settle_directory(directory: &Directory) {
    let (listed, target) = (&directory.listed, &directory.target);
    list_attributes(c"a directory", &directory.source);
    fs::fchown(target, Some(owner(listed)), Some(group(listed))).or_die("a directory");
    fs::fchmod(target, mode(listed)).or_die("a directory");
    fs::futimens(target, &times(listed)).or_die("a directory");
}

fn open_pair(parent: &Directory, name: &CStr) -> (OwnedFd, OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = fs::openat(&parent.source, name, flags | OFlags::NOATIME, NO_MODE).or_die(name);
    let target = fs::openat(&parent.target, name, flags, NO_MODE).or_die(name);
    (source, target)
}

fn list(directory: &OwnedFd, listing: &mut Vec<u8>) -> Vec<(CString, FileType)> {
    let mut names = Vec::new();
    let mut entries = RawDir::new(directory, listing.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.or_die("a listing");
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    names
}

fn stat(directory: &OwnedFd, name: &CStr) -> Statx {
    fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, WANTED).or_die(name)
}

fn list_attributes(name: &CStr, source: impl AsFd) {
    let mut names = [MaybeUninit::<u8>::uninit(); 1024];
    fs::flistxattr(source, &mut names).or_die(name);
}

fn write_all(name: &CStr, target: &OwnedFd, mut rest: &[u8]) {
    while !rest.is_empty() {
        let written = io::write(target, rest).or_die(name);
        rest = &rest[written..];
    }
}

const NO_MODE: Mode = Mode::empty();

/// What the comparison of a real tool needs: the birth time too.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

fn mode(listed: &Statx) -> Mode {
    Mode::from_raw_mode(listed.stx_mode.into())
}

fn owner(listed: &Statx) -> Uid {
    Uid::from_raw(listed.stx_uid)
}

fn group(listed: &Statx) -> Gid {
    Gid::from_raw(listed.stx_gid)
}

fn times(listed: &Statx) -> Timestamps {
    let time = |stamp: StatxTimestamp| Timespec { tv_sec: stamp.tv_sec, tv_nsec: stamp.tv_nsec.into() };
    Timestamps { last_access: time(listed.stx_atime), last_modification: time(listed.stx_mtime) }
}

fn mtime(listed: &Statx) -> (i64, u32) {
    (listed.stx_mtime.tv_sec, listed.stx_mtime.tv_nsec)
}

/// The whole error handling.
trait OrDie<T> {
    fn or_die(self, what: impl Debug) -> T;
}

impl<T> OrDie<T> for Result<T, Errno> {
    fn or_die(self, what: impl Debug) -> T {
        self.unwrap_or_else(|errno| die(what, errno))
    }
}

fn die(what: impl Debug, why: impl Display) -> ! {
    eprintln!("floor: {what:?}: {why}");
    exit(1)
}
