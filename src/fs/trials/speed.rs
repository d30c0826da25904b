//! How many small files and how many bytes this rank gets through in a time, with all its workers at once.

use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::sample::Sample;
use super::text;
use crate::fault::Failure;
use crate::fs::data::{Copying, Ends};
use crate::fs::private::Private;
use crate::fs::{Fd, attributes, data, names, open};
use crate::preflight::facts::{Rate, Speed};
use crate::tree::Kind;

/// What a small file holds.
const SMALL_BYTES: usize = 4 << 10;
/// What is written at once, and what is flushed at once.
const WRITE_BYTES: usize = 1 << 20;
const FLUSH_BYTES: u64 = 16 << 20;
/// A worker writes its file over again from there on.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Of one file so much is read.
const READ_BYTES_MAX: u64 = 64 << 20;

/// What is measured with.
pub struct Course<'c> {
    /// Where files are made; `None`: nothing may be written.
    pub private: Option<&'c Private>,
    /// What is read.
    pub source: &'c Fd,
    /// Its files, and where among them this rank begins.
    pub sample: &'c Sample,
    /// Likewise.
    pub first: usize,
    /// So that no two ranks make the same names.
    pub rank: u32,
    /// Workers at one time.
    pub workers: u32,
    /// For all of it.
    pub time: Duration,
    /// What one worker may write at most.
    pub room_bytes: u64,
    /// Whether it is to end early.
    pub must_stop: &'c (dyn Fn() -> bool + Sync),
}

/// Two fifths of the time for small files, two for a stream, one for reading.
pub fn measure(course: &Course<'_>) -> Speed {
    let fifth = course.time / 5;
    let mut speed = Speed::default();
    if let Some(private) = course.private {
        speed.files = course.at_once(&mut speed.trouble, |worker| course.small_files(private, worker, 2 * fifth));
        if course.room_bytes < WRITE_BYTES as u64 {
            speed.trouble.get_or_insert_with(|| "DST has too little room to write a stream".to_owned());
        } else {
            speed.written = course.at_once(&mut speed.trouble, |worker| course.stream(private, worker, 2 * fifth));
        }
    }
    course.reading(&mut speed, fifth);
    speed
}

/// One of our own names: no two workers of any rank have the same.
fn name(what: &str, rank: u32, worker: u32) -> CString {
    CString::new(format!("preflight-{what}-{rank}-{worker}")).unwrap_or_default()
}

impl Course<'_> {
    /// All workers do the same at one time. The rate is the sum of what they did.
    fn at_once(&self, trouble: &mut Option<String>, work: impl Fn(u32) -> Result<Rate, Failure> + Sync) -> Rate {
        let started = Instant::now();
        let results: Vec<Option<Result<Rate, Failure>>> = std::thread::scope(|scope| {
            let start = |worker| {
                let work = &work;
                std::thread::Builder::new().spawn_scoped(scope, move || work(worker))
            };
            let threads: Vec<_> = (0..self.workers).map(start).collect();
            threads.into_iter().map(|thread| thread.ok().and_then(|thread| thread.join().ok())).collect()
        });
        let mut sum = Rate { done: 0.0, seconds: started.elapsed().as_secs_f64() };
        for result in results {
            match result {
                Some(Ok(rate)) => sum.done += rate.done,
                Some(Err(failure)) => {
                    trouble.get_or_insert_with(|| format!("{}: {}", failure.operation, text(failure)));
                }
                None => {
                    trouble.get_or_insert_with(|| "a thread could not be started".to_owned());
                }
            }
        }
        sum
    }

    /// Makes, writes, renames and removes small files in a directory of this worker's own.
    fn small_files(&self, private: &Private, worker: u32, time: Duration) -> Result<Rate, Failure> {
        let own = name("files", self.rank, worker);
        names::make_directory(private.directory(), &own)?;
        let directory = open::child_directory(private.directory(), &own)?;
        let content = vec![7; SMALL_BYTES];
        let (started, mut done, mut result) = (Instant::now(), 0.0, Ok(()));
        while result.is_ok() && (done < 1.0 || self.goes_on(started, time)) {
            result = small_file(&directory, &content);
            done += 1.0;
        }
        let seconds = started.elapsed().as_secs_f64();
        // What a failed call left.
        let _ = (names::remove(&directory, NEW), names::remove(&directory, DONE));
        drop(directory);
        names::remove_directory(private.directory(), &own)?;
        result.map(|()| Rate { done, seconds })
    }

    /// Writes a large file, and flushes it now and then as a run does.
    fn stream(&self, private: &Private, worker: u32, time: Duration) -> Result<Rate, Failure> {
        let own = name("stream", self.rank, worker);
        let file = open::new_file(private.directory(), &own)?;
        let result = self.write(&file, time);
        let closed = file.close();
        names::remove(private.directory(), &own)?;
        result.and_then(|rate| closed.map(|()| rate))
    }

    fn write(&self, file: &Fd, time: Duration) -> Result<Rate, Failure> {
        let room = self.room_bytes.min(FILE_BYTES_MAX);
        // What compresses well would look too quick.
        let content: Vec<u8> = (0..WRITE_BYTES as u64 / 8).flat_map(|n| scattered(n).to_le_bytes()).collect();
        let (started, mut done, mut offset, mut unflushed) = (Instant::now(), 0.0, 0, 0);
        while done < 1.0 || self.goes_on(started, time) {
            data::write_at(file, &content, offset)?;
            done += WRITE_BYTES as f64;
            unflushed += WRITE_BYTES as u64;
            offset += WRITE_BYTES as u64;
            if offset + WRITE_BYTES as u64 > room {
                offset = 0;
            }
            if unflushed >= FLUSH_BYTES {
                data::flush(file)?;
                unflushed = 0;
            }
        }
        data::flush(file)?;
        Ok(Rate { done, seconds: started.elapsed().as_secs_f64() })
    }

    /// Opens and reads files of the source, each worker others.
    fn reading(&self, speed: &mut Speed, time: Duration) {
        let started = Instant::now();
        let results: Vec<(u64, u64, u64)> = std::thread::scope(|scope| {
            let read = |worker: u32| {
                std::thread::Builder::new().spawn_scoped(scope, move || self.read(worker as usize, started, time))
            };
            let threads: Vec<_> = (0..self.workers).map(read).collect();
            threads.into_iter().filter_map(|thread| thread.ok()?.join().ok()).collect()
        });
        let seconds = started.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // Rates for people.
        for (opened, bytes, unreadable) in results {
            speed.opened.done += opened as f64;
            speed.read.done += bytes as f64;
            speed.unreadable += unreadable;
        }
        (speed.opened.seconds, speed.read.seconds) = (seconds, seconds);
    }

    fn read(&self, worker: usize, started: Instant, time: Duration) -> (u64, u64, u64) {
        let (mut opened, mut bytes, mut unreadable) = (0, 0, 0);
        let mut buffer = vec![0; WRITE_BYTES];
        let files = &self.sample.files;
        let step = self.workers as usize;
        let turn = (0..files.len()).skip(worker).step_by(step);
        for index in turn {
            let Some((path, name)) = files.get((self.first + index) % files.len()) else { break };
            // One at least, however late this worker could begin.
            if opened + unreadable > 0 && !self.goes_on(started, time) {
                break;
            }
            match open_file(self.source, path, name) {
                Ok(file) => {
                    opened += 1;
                    bytes += self.read_file(&file, &mut buffer, started, time);
                }
                Err(failure) if failure.errno == Errno::EACCES as i32 => unreadable += 1,
                Err(_) => {}
            }
        }
        (opened, bytes, unreadable)
    }

    fn read_file(&self, file: &Fd, buffer: &mut [u8], started: Instant, time: Duration) -> u64 {
        let mut offset = 0;
        while offset < READ_BYTES_MAX && (offset == 0 || self.goes_on(started, time)) {
            match data::read_at(file, buffer, offset) {
                Ok(0) | Err(_) => break,
                Ok(got) => offset += got as u64,
            }
        }
        offset
    }

    fn goes_on(&self, started: Instant, time: Duration) -> bool {
        started.elapsed() < time && !(self.must_stop)()
    }
}

const NEW: &CStr = c"new";
const DONE: &CStr = c"done";

fn small_file(directory: &Fd, content: &[u8]) -> Result<(), Failure> {
    let file = open::new_file(directory, NEW)?;
    data::write_at(&file, content, 0)?;
    file.close()?;
    names::rename(directory, NEW, DONE)?;
    names::remove(directory, DONE)
}

/// The multiplier of splitmix64: each number gets others with all bits in disorder.
fn scattered(n: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

/// A regular file of the source, for reading.
fn open_file(root: &Fd, path: &crate::tree::TreePath, name: &CStr) -> Result<Fd, Failure> {
    let directory = open::directory_below(root, path)?;
    let file = open::file_for_reading(&directory, name)?;
    if attributes::of_fd(&file)?.kind == Kind::File { Ok(file) } else { Err(file.failure("openat", Errno::ESTALE)) }
}

/// What brings the content of a file of the source to the target; `None`: there is no file to try it with.
pub fn engine(directory: &Fd, sample: &Sample, source: &Fd) -> Option<&'static str> {
    let size_max = 1 << 20;
    let is_fit = |size: u64| size > 0 && size <= size_max;
    let source = sample.files.iter().take(64).find_map(|(path, name)| {
        let file = open_file(source, path, name).ok()?;
        let was = attributes::of_fd(&file).ok().filter(|was| is_fit(was.size))?;
        Some((file, was))
    })?;
    let name = c"preflight-copy";
    let target = open::new_file(directory, name).ok()?;
    let ends = Ends { source: &source.0, source_was: &source.1, target: &target };
    let how = Copying::default();
    // As a run does it: all blocks shared, if that can be, else what the pair takes.
    let copied = match data::clone_whole(&ends, &how, &mut |_| {}) {
        Ok(None) => data::copy(&ends, &how, &mut |_| {}),
        Ok(Some(copied)) => Ok(copied),
        Err(failure) => Err(failure),
    };
    let removed = names::remove(directory, name);
    copied.ok().filter(|_| removed.is_ok()).map(|copied| copied.engine().word())
}
