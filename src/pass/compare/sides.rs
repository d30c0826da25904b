//! A directory of both trees, or of the source alone, open for reading and proven to be the one that
//! was meant.

use nix::errno::Errno;

use crate::fault::{Failure, Side};
use crate::fs::{Fd, attributes, open};
use crate::pass::Context;
use crate::pass::pair::{Trouble, key, source_trouble};
use crate::tree::{Attributes, DirectoryItem, TreePath};

/// A directory of both trees, or of the source alone.
pub struct Sides {
    /// The item that names it.
    pub item: DirectoryItem,
    /// The source directory.
    pub source: Fd,
    /// What it was when it was opened.
    pub source_was: Attributes,
    /// The target directory, and what it was; `None` where the target has none.
    pub target: Option<(Fd, Attributes)>,
}

const REPLACED: &str = "another directory is in its place, or its mount is missing here";

impl Sides {
    /// Opens the directory below the roots, and looks whether it is that of the item.
    pub fn open(context: &Context, item: DirectoryItem) -> Result<Self, Trouble> {
        if context.sets_aside(&item.path) {
            return Err(Trouble::SetAside);
        }
        let trees = &context.trees;
        let source = open::directory_below(&trees.source, &item.path).map_err(source_trouble)?;
        let source_was = attributes::of_fd(&source)?;
        if source_was.identity != item.source {
            return Err(Trouble::Changed(Side::Source, REPLACED));
        }
        let is_below = !item.path.is_root();
        if key(&source_was) == trees.target_key || is_below && key(&source_was) == trees.source_key {
            return Err(Trouble::Nested);
        }
        let Some(expected) = item.target else {
            return Ok(Self { item, source, source_was, target: None });
        };
        let target = target_directory(context, &item.path)?;
        let target_was = attributes::of_fd(&target)?;
        if target_was.identity != expected {
            return Err(Trouble::Changed(Side::Target, REPLACED));
        }
        let is_loop = is_below && key(&target_was) == trees.target_key;
        if key(&target_was) == key(&source_was) || key(&target_was) == trees.source_key || is_loop {
            return Err(Trouble::Nested);
        }
        Ok(Self { item, source, source_was, target: Some((target, target_was)) })
    }
}

/// The directories of one name.
pub struct Place {
    /// The source directory.
    pub source: Fd,
    /// The target directory.
    pub target: Fd,
}

impl Place {
    /// Opens both directories whatever their identity: for one name whose own identity is known.
    pub fn open(context: &Context, directory: &TreePath) -> Result<Self, Trouble> {
        let source = open::directory_below(&context.trees.source, directory).map_err(source_trouble)?;
        let target = target_directory(context, directory)?;
        Ok(Self { source, target })
    }
}

fn target_directory(context: &Context, path: &TreePath) -> Result<Fd, Trouble> {
    open::directory_below(&context.trees.target, path).map_err(target_trouble)
}

fn target_trouble(failure: Failure) -> Trouble {
    match Errno::from_raw(failure.errno) {
        Errno::ENOENT => Trouble::Changed(Side::Target, "the directory is gone"),
        Errno::ENOTDIR | Errno::ELOOP => Trouble::Changed(Side::Target, "no longer a directory"),
        _ => Trouble::Failed(failure),
    }
}
