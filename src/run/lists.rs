//! Lists that each rank wrote a part of, made one in the run directory.

use std::io::{self, Read, Write};

use crate::fs::operator::RunDirectory;

/// Joins the parts, in their order, under one name. Without any part there is no list.
pub fn join(directory: &RunDirectory, parts: impl Iterator<Item = String>, name: &str) -> io::Result<()> {
    let mut list = None;
    let mut buffer = vec![0; 1 << 20];
    for part_name in parts {
        let mut part = match directory.open(&part_name) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let list = match &mut list {
            Some(list) => list,
            None => list.insert(directory.create(name)?),
        };
        loop {
            match part.read(&mut buffer)? {
                0 => break,
                got => list.write_all(buffer.get(..got).unwrap_or_default())?,
            }
        }
        directory.remove(&part_name)?;
    }
    list.map_or(Ok(()), |list| list.sync_all())
}
