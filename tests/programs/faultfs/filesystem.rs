//! What FUSE asks, through the gate, answered from the backing folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, FallocateFlags, SeekFrom};
use rustix::io::{Errno, Result};

use crate::backing::{Backing, Changes, Entry, User};
use crate::files::{Files, Listed};
use crate::gate::Gate;
use crate::inodes::{ROOT, SYNTHETIC};
use crate::rules::Operation;

/// Nothing is cached: each call of a program comes here.
const NO_TIME: Duration = Duration::ZERO;

/// Each read and write of a program is one of ours, as long as it asked for.
const DIRECT: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

/// The number of what needs no descriptor.
const NOTHING_OPEN: u64 = 0;

/// The file system.
pub struct PassThrough {
    pub gate: Arc<Gate>,
    pub backing: Backing,
    pub files: Files,
}

/// An error for the kernel.
fn refused(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw_os_error())
}

/// Answers with what came of the work.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $ok:expr) => {
        match $result {
            Ok($value) => $ok,
            Err(errno) => $reply.error(refused(errno)),
        }
    };
}

fn user(request: &Request) -> User {
    User { uid: request.uid(), gid: request.gid() }
}

/// Synthetic entries never change, so one call is enough to look at one.
fn time_of_attributes(inode: INodeNo) -> Duration {
    if inode.0 >= SYNTHETIC { Duration::from_secs(1) } else { NO_TIME }
}

fn give(reply: ReplyEntry, entry: Result<Entry>) {
    answer!(reply, entry, (attributes, generation) => {
        let generation = Generation(generation);
        reply.entry_with_ttls(&time_of_attributes(attributes.ino), &NO_TIME, &attributes, generation);
    });
}

fn done(reply: ReplyEmpty, result: Result<()>) {
    answer!(reply, result, () => reply.ok());
}

/// A value of an extended attribute, or its size where that is asked.
fn give_value(reply: ReplyXattr, size: u32, value: Result<Vec<u8>>) {
    answer!(reply, value, value => {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        if size == 0 {
            reply.size(length);
        } else if length <= size {
            reply.data(&value);
        } else {
            reply.error(refused(Errno::RANGE));
        }
    });
}

/// What the kernel is asked for at the mount; the ACLs are the backing folder's.
fn prefer(config: &mut KernelConfig, acls: bool) {
    // One by one: an older kernel lacks some.
    let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
    let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
    let _ = config.add_capabilities(InitFlags::FUSE_HANDLE_KILLPRIV_V2);
    if acls {
        let _ = config.add_capabilities(InitFlags::FUSE_POSIX_ACL);
    }
    let _ = config.set_max_background(512);
}

impl PassThrough {
    /// Passes the gate with a call on a name.
    fn on_name(&self, operation: Operation, name: &OsStr) -> Result<()> {
        self.gate.pass(operation, name, "").map(|_| ())
    }

    /// Passes the gate with a call on an inode. Returns how many bytes it may move.
    fn on_inode(&self, operation: Operation, inode: INodeNo, detail: &str) -> Result<usize> {
        self.gate.pass(operation, &self.backing.name(inode.0), detail)
    }

    fn read(&self, inode: INodeNo, file: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>> {
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(self.on_inode(Operation::Read, inode, "")?);
        if let Some((shape, node)) = self.backing.synthetic(inode.0) {
            return Ok(shape.read(node, offset, size));
        }
        let mut data = vec![0; size];
        let length = rustix::io::pread(&self.files.get(file.0)?.fd, &mut data[..], offset)?;
        data.truncate(length);
        Ok(data)
    }

    fn write(&self, inode: INodeNo, file: FileHandle, offset: u64, data: &[u8], kill: bool) -> Result<u32> {
        let bytes_max = self.on_inode(Operation::Write, inode, "")?;
        let data = data.get(..bytes_max).unwrap_or(data);
        let length = rustix::io::pwrite(&self.files.get(file.0)?.fd, data, offset)?;
        if kill {
            self.backing.kill_set_id(inode.0)?;
        }
        u32::try_from(length).map_err(|_| Errno::OVERFLOW)
    }

    fn open(&self, inode: INodeNo, flags: OpenFlags, operation: Operation) -> Result<u64> {
        self.on_inode(operation, inode, "")?;
        if self.backing.synthetic(inode.0).is_some() && operation != Operation::OpenWrite {
            return Ok(NOTHING_OPEN);
        }
        self.backing.open(inode.0, flags.0).map(|fd| self.files.add(fd))
    }

    fn sync(&self, operation: Operation, inode: INodeNo, file: FileHandle, data_only: bool) -> Result<()> {
        self.on_inode(operation, inode, if data_only { "data" } else { "" })?;
        let file = self.files.get(file.0)?;
        if data_only { rustix::fs::fdatasync(&file.fd) } else { rustix::fs::fsync(&file.fd) }
    }

    fn seek(&self, inode: INodeNo, file: FileHandle, offset: i64, whence: i32) -> Result<i64> {
        self.on_inode(Operation::Lseek, inode, "")?;
        let offset = u64::try_from(offset).map_err(|_| Errno::INVAL)?;
        let position = match whence {
            3 => SeekFrom::Data(offset),
            4 => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        rustix::fs::seek(&self.files.get(file.0)?.fd, position).map(u64::cast_signed)
    }
}

impl Filesystem for PassThrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        prefer(config, !self.backing.ways.no_xattrs);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let passed = self.on_name(Operation::Lookup, name);
        give(reply, passed.and_then(|()| self.backing.look_up(parent.0, name)));
    }

    fn forget(&self, _: &Request, inode: INodeNo, answers: u64) {
        self.backing.inodes.forget(inode.0, answers);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let passed = self.on_inode(Operation::Getattr, inode, "");
        let attributes = passed.and_then(|_| self.backing.attributes(inode.0));
        answer!(reply, attributes, attributes => reply.attr(&time_of_attributes(inode), &attributes));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let kinds = [
            ("mode", mode.is_some()),
            ("owner", uid.is_some() || gid.is_some()),
            ("size", size.is_some()),
            ("times", atime.is_some() || mtime.is_some()),
        ];
        let detail: Vec<&str> = kinds.iter().filter(|(_, set)| *set).map(|(kind, _)| *kind).collect();
        let passed = self.on_inode(Operation::Setattr, inode, &detail.join(","));
        let changes = Changes { mode, uid, gid, size, atime, mtime };
        let attributes = passed.and_then(|_| self.backing.change(inode.0, changes));
        answer!(reply, attributes, attributes => reply.attr(&NO_TIME, &attributes));
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        let passed = self.on_inode(Operation::Readlink, inode, "");
        answer!(reply, passed.and_then(|_| self.backing.symlink_text(inode.0)), text => reply.data(&text));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let passed = self.on_name(Operation::Mknod, name);
        give(reply, passed.and_then(|()| self.backing.make_node(parent.0, name, mode, device, user(request))));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let passed = self.on_name(Operation::Mkdir, name);
        give(reply, passed.and_then(|()| self.backing.make_directory(parent.0, name, mode, user(request))));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let passed = self.on_name(Operation::Unlink, name);
        done(reply, passed.and_then(|()| self.backing.remove(parent.0, name, AtFlags::empty())));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let passed = self.on_name(Operation::Rmdir, name);
        done(reply, passed.and_then(|()| self.backing.remove(parent.0, name, AtFlags::REMOVEDIR)));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, text: &Path, reply: ReplyEntry) {
        let passed = self.on_name(Operation::Symlink, name);
        give(reply, passed.and_then(|()| self.backing.make_symlink(parent.0, name, text.as_os_str(), user(request))));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        let passed = self.on_name(Operation::Rename, new_name);
        done(reply, passed.and_then(|()| self.backing.rename((parent.0, name), (new_parent.0, new_name), flags)));
    }

    fn link(&self, _: &Request, inode: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let passed = self.on_name(Operation::Link, name);
        give(reply, passed.and_then(|()| self.backing.link(inode.0, parent.0, name)));
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let for_reading = flags.acc_mode() == fuser::OpenAccMode::O_RDONLY;
        let operation = if for_reading { Operation::Open } else { Operation::OpenWrite };
        let opened = PassThrough::open(self, inode, flags, operation);
        answer!(reply, opened, number => reply.opened(FileHandle(number), DIRECT));
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, PassThrough::read(self, inode, file, offset, size), data => reply.data(&data));
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        file: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        answer!(reply, PassThrough::write(self, inode, file, offset, data, kill), length => reply.written(length));
    }

    fn flush(&self, _: &Request, inode: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        done(reply, self.on_inode(Operation::Flush, inode, "").map(|_| ()));
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        file: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.remove(file.0);
        done(reply, self.on_inode(Operation::Release, inode, "").map(|_| ()));
    }

    fn fsync(&self, _: &Request, inode: INodeNo, file: FileHandle, data_only: bool, reply: ReplyEmpty) {
        done(reply, self.sync(Operation::Fsync, inode, file, data_only));
    }

    fn opendir(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = PassThrough::open(self, inode, flags, Operation::Opendir);
        answer!(reply, opened, number => reply.opened(FileHandle(number), FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, inode: INodeNo, file: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let passed = self.on_inode(Operation::Readdir, inode, "");
        let mut add = |one: Listed<'_>| reply.add(INodeNo(one.number), one.next, one.kind, OsStr::from_bytes(one.name));
        let listed = passed.and_then(|_| match self.backing.synthetic(inode.0) {
            Some((shape, node)) => {
                shape.list(node, offset, &mut add);
                Ok(())
            }
            None => self.backing.list(inode.0, &*self.files.get(file.0)?, offset, &mut add),
        });
        answer!(reply, listed, () => reply.ok());
    }

    fn releasedir(&self, _: &Request, inode: INodeNo, file: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.files.remove(file.0);
        done(reply, self.on_inode(Operation::Releasedir, inode, "").map(|_| ()));
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, file: FileHandle, data_only: bool, reply: ReplyEmpty) {
        done(reply, self.sync(Operation::Fsyncdir, inode, file, data_only));
    }

    fn statfs(&self, _: &Request, inode: INodeNo, reply: ReplyStatfs) {
        let passed = self.on_inode(Operation::Statfs, inode, "");
        let number = if self.backing.synthetic(inode.0).is_some() { ROOT } else { inode.0 };
        let found = passed.and_then(|_| rustix::fs::fstatvfs(self.backing.inodes.get(number)?));
        let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        answer!(reply, found, found => reply.statfs(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            short(found.f_bsize),
            short(found.f_namemax),
            short(found.f_frsize),
        ));
    }

    fn setxattr(&self, _: &Request, inode: INodeNo, name: &OsStr, value: &[u8], flags: i32, _: u32, reply: ReplyEmpty) {
        let passed = self.on_inode(Operation::Setxattr, inode, &name.to_string_lossy());
        done(reply, passed.and_then(|_| self.backing.set_xattr(inode.0, name, value, flags)));
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let passed = self.on_inode(Operation::Getxattr, inode, &name.to_string_lossy());
        give_value(reply, size, passed.and_then(|_| self.backing.xattr(inode.0, name)));
    }

    fn listxattr(&self, request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        let passed = self.on_inode(Operation::Listxattr, inode, "");
        give_value(reply, size, passed.and_then(|_| self.backing.xattr_names(inode.0, user(request))));
    }

    fn removexattr(&self, _: &Request, inode: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let passed = self.on_inode(Operation::Removexattr, inode, &name.to_string_lossy());
        done(reply, passed.and_then(|_| self.backing.remove_xattr(inode.0, name)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let passed = self.on_name(Operation::Create, name);
        let created = passed.and_then(|()| self.backing.create(parent.0, name, mode, flags, user(request)));
        answer!(reply, created, (fd, (attributes, generation)) => {
            let number = self.files.add(fd);
            reply.created(&NO_TIME, &attributes, Generation(generation), FileHandle(number), DIRECT);
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(refused(Errno::NOTTY));
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let passed = self.on_inode(Operation::Fallocate, inode, "");
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let file = passed.and_then(|_| self.files.get(file.0));
        done(reply, file.and_then(|file| rustix::fs::fallocate(&file.fd, flags, offset, length)));
    }

    fn lseek(&self, _: &Request, inode: INodeNo, file: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        answer!(reply, self.seek(inode, file, offset, whence), offset => reply.offset(offset));
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        from_file: FileHandle,
        mut from_offset: u64,
        _: INodeNo,
        to_file: FileHandle,
        mut to_offset: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let copied = self.on_inode(Operation::CopyFileRange, from, "").and_then(|bytes_max| {
            let (from, to) = (self.files.get(from_file.0)?, self.files.get(to_file.0)?);
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes_max).min(1 << 30);
            rustix::fs::copy_file_range(&from.fd, Some(&mut from_offset), &to.fd, Some(&mut to_offset), length)
        });
        answer!(reply, copied, length => reply.written(u32::try_from(length).unwrap_or(0)));
    }
}
