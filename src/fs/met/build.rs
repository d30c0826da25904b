//! Building a record of directories from the parts of all ranks. However many there are, a few MiB of them are held
//! at once: they are dealt out to a scratch file by their hashes first, and each part of that is sorted then.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::FileExt;

use super::record::{HEADER_BYTES, Header, Roots, bucket_of};
use super::{for_each_met, frame};
use crate::fs::operator::RunDirectory;
use crate::tree::{Met, Time};
use crate::wire;

/// A bucket has so many bytes, about: what a look reads.
const BUCKET_BYTES: u64 = 16 << 10;

/// Directories that are sorted at one time; in memory they take about three times as much.
const PARTITION_BYTES: u64 = 4 << 20;

/// A partition's bytes that are on their way to the scratch file.
const BLOCK_BYTES: usize = 16 << 10;

/// More is not kept: some 60 million directories, and 32 MiB of blocks on their way.
const PARTS_BYTES_MAX: u64 = 8 << 30;

const SCRATCH: &str = "directories.scratch";

/// Writes the record `name` in `directory` from the parts in `run`, durably, in the place of an older one. Returns how
/// many directories it has.
pub fn build(
    (run, parts): (&RunDirectory, &[String]),
    (directory, name): (&RunDirectory, &str),
    roots: Roots,
) -> io::Result<u64> {
    let unfinished = format!("{name}.new");
    let built = scatter(run, parts).and_then(|scattered| {
        let count = gather(&scattered, &run.open(SCRATCH)?, directory.create_part(&unfinished)?, roots)?;
        directory.put_in_place(&unfinished, name).map(|()| count)
    });
    // What can not be removed takes space, and no more than that.
    let _ = run.remove(SCRATCH);
    if built.is_err() {
        let _ = directory.remove(&unfinished);
    }
    built
}

/// Directories in a scratch file, dealt out to partitions by their hashes.
struct Scattered {
    partitions: Vec<Partition>,
    /// The number of partitions is this power of two; so with that of buckets, which are no fewer.
    partition_bits: u32,
    bucket_bits: u32,
    youngest: Time,
}

#[derive(Default)]
struct Partition {
    block: Vec<u8>,
    /// Place and length of blocks in the scratch file.
    written: Vec<(u64, u32)>,
}

/// The power of two of so many pieces.
fn bits_for(bytes: u64, piece: u64) -> u32 {
    bytes.div_ceil(piece).max(1).next_power_of_two().ilog2()
}

fn scatter(run: &RunDirectory, parts: &[String]) -> io::Result<Scattered> {
    let files = parts.iter().map(|part| run.open(part)).collect::<io::Result<Vec<File>>>()?;
    let bytes = files.iter().map(|file| file.metadata().map(|found| found.len())).sum::<io::Result<u64>>()?;
    if bytes > PARTS_BYTES_MAX {
        let text = format!("there are too many directories: {bytes} bytes, and {PARTS_BYTES_MAX} is the most");
        return Err(io::Error::other(text));
    }
    let (partition_bits, bucket_bits) = (bits_for(bytes, PARTITION_BYTES), bits_for(bytes, BUCKET_BYTES));
    let partitions = std::iter::repeat_with(Partition::default).take(1 << partition_bits).collect();
    let youngest = Time { seconds: i64::MIN, nanoseconds: 0 };
    let mut scattered = Scattered { partitions, partition_bits, bucket_bits, youngest };
    let (mut scratch, mut at) = (run.create_part(SCRATCH)?, 0);
    for file in files {
        for_each_met(BufReader::with_capacity(1 << 20, file), |met| scattered.add(&met, &mut scratch, &mut at))?;
    }
    let mut partitions = scattered.partitions.iter_mut();
    partitions.try_for_each(|partition| partition.write(&mut scratch, &mut at))?;
    Ok(scattered)
}

impl Scattered {
    fn add(&mut self, met: &Met, scratch: &mut File, at: &mut u64) -> io::Result<()> {
        self.youngest = self.youngest.max(met.origin.born);
        let number = usize::try_from(bucket_of(met.origin.hash(), self.partition_bits)).unwrap_or(0);
        let Some(partition) = self.partitions.get_mut(number) else { return Ok(()) };
        partition.block.extend(super::framed(met));
        if partition.block.len() >= BLOCK_BYTES { partition.write(scratch, at) } else { Ok(()) }
    }
}

impl Partition {
    fn write(&mut self, scratch: &mut File, at: &mut u64) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        scratch.write_all(&block)?;
        self.written.push((*at, u32::try_from(block.len()).unwrap_or(u32::MAX)));
        *at += block.len() as u64;
        Ok(())
    }

    /// All directories in the order of their hashes. Of what was met twice the later word counts.
    fn sorted(&self, scratch: &File) -> io::Result<Vec<Met>> {
        let mut all = Vec::new();
        for &(at, length) in &self.written {
            let mut block = vec![0; length as usize];
            scratch.read_exact_at(&mut block, at)?;
            for_each_met(block.as_slice(), |met| {
                all.push(met);
                Ok(())
            })?;
        }
        all.sort_by_cached_key(|met| (met.origin.hash(), met.origin));
        all.dedup_by(|later, earlier| {
            let is_same = later.origin == earlier.origin;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        Ok(all)
    }
}

/// Writes the buckets one after another, their index, and at last the header, in front.
fn gather(scattered: &Scattered, scratch: &File, file: File, roots: Roots) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&[0; HEADER_BYTES])?;
    let (mut places, mut at, mut count) = (Vec::new(), HEADER_BYTES as u64, 0);
    let buckets_each = 1u64 << (scattered.bucket_bits - scattered.partition_bits);
    for (partition, number) in scattered.partitions.iter().zip(0u64..) {
        let all = partition.sorted(scratch)?;
        count += all.len() as u64;
        let mut rest = all.as_slice();
        for bucket in number * buckets_each..(number + 1) * buckets_each {
            let is_here = |met: &Met| bucket_of(met.origin.hash(), scattered.bucket_bits) == bucket;
            let (here, others) = rest.split_at(rest.iter().take_while(|met| is_here(met)).count());
            rest = others;
            places.push(at);
            if !here.is_empty() {
                let content = frame(&wire::encode(&here.to_vec()));
                out.write_all(&content)?;
                at += content.len() as u64;
            }
        }
    }
    places.push(at);
    places.iter().try_for_each(|place| out.write_all(&place.to_le_bytes()))?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let header = Header::new(roots, scattered.youngest, count, (scattered.bucket_bits, at));
    file.write_all_at(&header.to_bytes(), 0)?;
    file.sync_all()?;
    Ok(count)
}
