//! What moves the content: blocks are shared where the file systems can, and what one engine refuses
//! the next one does, with nothing lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::path::Path;
use support::outcome::second_run_changes_nothing;
use support::random::Dice;
use support::*;

/// A large file, one with holes, and one of an odd size.
fn fill(tree: &Tree) {
    let mut dice = Dice::new(7);
    tree.file("large", dice.bytes(24 << 20));
    tree.file("odd", dice.bytes((2 << 20) + 4_097));
    tree.sparse("holes", 9 << 20, &[(1 << 20, &dice.bytes(1 << 20)), ((8 << 20) + 5, b"tail")]);
    tree.file("small", dice.bytes(1_000));
    tree.file("empty", "");
}

/// Files by engine.
fn files(run: &Outcome, engine: &str) -> u64 {
    run.number(&format!("/engines/{engine}/files"))
}

fn used(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    (stat.f_blocks - stat.f_bfree) * stat.f_frsize
}

fn blocks_are_shared_on(image: &Image) {
    let pair = Pair::below(image.path());
    fill(&pair.source());
    let settled = || {
        std::fs::File::open(image.path()).map(|dir| rustix::fs::syncfs(dir).unwrap()).unwrap();
        used(&image.path())
    };
    let before = settled();
    let run = pair.sync().run().exits(0);
    let more = settled().saturating_sub(before);
    assert_eq!((files(&run, "reflink"), files(&run, "read_write")), (3, 2));
    // The lock, the record and the metadata take some; the content alone would be 27 MiB.
    assert!(more < 12 << 20, "{more} bytes more in use");
    pair.assert_mirrored();
    second_run_changes_nothing(&pair, &pair.sync(), 0);
}

#[test]
fn btrfs_shares_blocks() {
    blocks_are_shared_on(&Image::btrfs());
}

#[test]
fn xfs_shares_blocks() {
    blocks_are_shared_on(&Image::xfs());
}

#[test]
fn the_operator_may_want_bytes_of_their_own() {
    let image = Image::btrfs();
    for (engine, word) in [("read-write", "read_write"), ("copy-file-range", "copy_file_range")] {
        let pair = Pair::below(image.path());
        fill(&pair.source());
        let run = pair.sync().args(&["--engine", engine]).run().exits(0);
        assert!(files(&run, word) >= 3, "{:?}", run.summary()["engines"]);
        assert_eq!(files(&run, "reflink"), 0);
        pair.assert_mirrored();
    }
}

#[test]
fn between_file_systems_every_engine_ends_in_reading_and_writing() {
    let image = Image::xfs();
    for engine in ["auto", "reflink", "copy-file-range"] {
        let pair = Pair::new();
        fill(&pair.source());
        let target = image.directory(engine);
        let sync = Pmirror::new().sync(pair.source_path(), &target).state_dir(pair.state_path());
        let run = sync.args(&["--engine", engine]).run().exits(0);
        assert_eq!(files(&run, "read_write"), 5);
        assert_same(pair.source_path(), &target);
    }
}

fn injected(rule: &str) -> [String; 7] {
    ["strace", "-f", "-qq", "-o", "/dev/null", "-e", rule].map(str::to_owned)
}

fn with_answer(pair: &Pair, engine: &str, rule: &str) -> Outcome {
    let words = injected(rule);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // In one piece, as strace counts the calls of each thread.
    let sync = pair.sync().args(&["--engine", engine, "--chunk-size", "1G"]);
    let run = sync.wrapped_by(&words).run().exits(0);
    pair.assert_mirrored();
    run
}

#[test]
fn what_copy_file_range_refuses_is_read_and_written() {
    for errno in ["EXDEV", "EOPNOTSUPP", "EINVAL", "ENOSYS", "EPERM", "ETXTBSY"] {
        let pair = Pair::new();
        fill(&pair.source());
        let run = with_answer(&pair, "copy-file-range", &format!("inject=copy_file_range:error={errno}"));
        assert_eq!(files(&run, "read_write"), 5, "{errno}");
    }
}

#[test]
fn a_copy_file_range_that_ends_early_is_gone_on_with() {
    let pair = Pair::new();
    fill(&pair.source());
    let run = with_answer(&pair, "copy-file-range", "inject=copy_file_range:retval=0");
    assert_eq!(files(&run, "copy_file_range"), 0);
}

#[test]
fn a_copy_file_range_that_stops_working_half_way_is_gone_on_with() {
    for (answer, when) in [("error=EOPNOTSUPP", 2), ("retval=0", 2), ("error=EINVAL", 3)] {
        let pair = Pair::new();
        pair.source().file("large", Dice::new(3).bytes(130 << 20));
        let run = with_answer(&pair, "copy-file-range", &format!("inject=copy_file_range:{answer}:when={when}+"));
        let bytes = |engine: &str| run.number(&format!("/engines/{engine}/bytes"));
        assert!(bytes("copy_file_range") > 0 && bytes("read_write") > 0, "{answer}");
        assert_eq!(bytes("copy_file_range") + bytes("read_write"), 130 << 20);
    }
}

#[test]
fn what_reflink_refuses_is_read_and_written() {
    let image = Image::btrfs();
    for errno in ["EOPNOTSUPP", "EINVAL", "EPERM", "ETXTBSY", "EXDEV"] {
        let pair = Pair::below(image.path());
        fill(&pair.source());
        let run = with_answer(&pair, "reflink", &format!("inject=ioctl:error={errno}"));
        assert_eq!(files(&run, "read_write"), 5, "{errno}");
    }
}

#[test]
fn a_file_system_that_can_not_share_blocks_is_asked_once() {
    let pair = Pair::new();
    for index in 0..20 {
        pair.source().file(format!("{index}"), vec![index; 2 << 20]);
    }
    let log = pair.state_path().join("strace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=ioctl", "-o", log.to_str().unwrap()];
    pair.sync().args(&["--threads", "1"]).wrapped_by(&strace).run().exits(0);
    let asked = std::fs::read_to_string(&log).unwrap().matches("FICLONE").count();
    assert_eq!(asked, 1);
}

#[test]
fn a_large_file_shares_its_blocks_whole_and_is_cut_only_where_it_can_not() {
    let image = Image::btrfs();
    for (rule, reflinks, asked) in [("trace=ioctl", 3, 3), ("inject=ioctl:error=ETXTBSY", 0, 3)] {
        let pair = Pair::below(image.path());
        fill(&pair.source());
        let log = pair.state_path().join("strace");
        let strace = ["strace", "-f", "-qq", "-e", "trace=ioctl", "-e", rule, "-o", log.to_str().unwrap()];
        let run = pair.sync().args(&["--chunk-size", "8M"]).wrapped_by(&strace).run().exits(0);
        assert_eq!((files(&run, "reflink"), files(&run, "read_write")), (reflinks, 5 - reflinks), "{rule}");
        pair.assert_mirrored();
        assert_eq!(std::fs::read_to_string(&log).unwrap().matches("FICLONE").count(), asked, "{rule}");
    }
}

#[test]
fn past_the_cache_every_byte_arrives() {
    for image in [Image::xfs(), Image::btrfs()] {
        let pair = Pair::new();
        fill(&pair.source());
        let target = image.directory("target");
        let sync = Pmirror::new().sync(pair.source_path(), &target).state_dir(pair.state_path());
        sync.args(&["--direct", "--verify"]).run().exits(0);
        assert_same(pair.source_path(), &target);
    }
}

#[test]
fn where_the_cache_can_not_be_passed_by_it_is_used() {
    for call in ["fcntl", "pread64", "pwrite64"] {
        let pair = Pair::new();
        fill(&pair.source());
        let tree = if call == "pread64" { pair.source() } else { pair.target() };
        let (path, inject) = (tree.path("large"), format!("inject={call}:error=EINVAL:when=2"));
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", &inject];
        pair.sync().args(&["--direct", "--buffer-size", "300K"]).wrapped_by(&strace).run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn buffers_of_any_size_copy_the_same() {
    for size in ["4K", "5000", "64K", "16M"] {
        let pair = Pair::new();
        fill(&pair.source());
        pair.sync().args(&["--buffer-size", size, "--keep-cache"]).run().exits(0);
        pair.assert_mirrored();
    }
}

#[test]
fn a_file_on_which_somebody_has_a_lease_is_copied_when_he_gives_it_up() {
    let pair = Pair::new();
    pair.source().file("leased", "content");
    let holder = "
import fcntl, os, signal, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
def give_up(*_):
    time.sleep(0.5)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
signal.signal(signal.SIGIO, give_up)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
while True: time.sleep(0.1)
";
    needs::program("python3");
    let mut python = std::process::Command::new("python3");
    let python = python.args(["-c", holder]).arg(pair.source().path("leased")).stdout(std::process::Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "held\n");
    let started = std::time::Instant::now();
    let run = pair.sync().run_unchecked();
    child.kill().and_then(|()| child.wait()).unwrap();
    run.exits(0);
    assert!(started.elapsed().as_millis() >= 500, "the lease was not in the way");
    pair.assert_mirrored();
}

#[test]
fn source_files_that_share_blocks_with_each_other_are_copied_each() {
    let (image, pair) = (Image::btrfs(), Pair::new());
    let source = image.directory("source");
    let content = Dice::new(9).bytes(3 << 20);
    std::fs::write(source.join("a"), &content).unwrap();
    needs::run_ok(std::process::Command::new("cp").arg("--reflink=always").args([source.join("a"), source.join("b")]));
    let changed = std::fs::OpenOptions::new().write(true).open(source.join("b")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&changed, b"only in b", 1 << 20).unwrap();
    drop(changed);
    for engine in ["auto", "read-write"] {
        let target = pair.top_path().join(engine);
        let sync = Pmirror::new().sync(&source, &target).state_dir(pair.state_path()).args(&["--engine", engine]);
        sync.run().exits(0);
        assert_same(&source, &target);
    }
    let target = image.directory("target");
    Pmirror::new().sync(&source, &target).state_dir(pair.state_path()).run().exits(0);
    assert_same(&source, &target);
}
