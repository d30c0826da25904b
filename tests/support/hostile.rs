//! Users who attack their own trees while root mirrors them, and what must not come of it.

use super::compare;
use super::live::while_disturbed;
use super::outcome::Outcome;
use super::pair::Pair;
use super::run::Pmirror;
use super::snapshot::{ATIME, Aspect, MIRRORED, Snapshot, UNCHANGED};
use super::tree::{Entry, Tree};
use super::watch::Watch;
use super::weaken::{self, Weakness};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is done, over and over, while pmirror runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A directory is swapped for a link that leads outside.
    SourceDirectory,
    /// So is one further up, on the way to where pmirror works.
    SourceAbove,
    /// So is a file.
    SourceFile,
    TargetDirectory,
    TargetAbove,
    TargetFile,
    /// A file is swapped for a FIFO, on both sides.
    Fifo,
    /// Or for a device.
    Device,
    /// A file of the target is swapped for a further name of a file outside.
    TargetHardLink,
    /// Our temporary files are swapped for links to a file outside.
    Temporaries,
    /// A directory is swapped with an empty one outside.
    SourceMovedOut,
    TargetMovedOut,
}

impl Attack {
    fn is_on_source(self) -> bool {
        matches!(
            self,
            Attack::SourceDirectory | Attack::SourceAbove | Attack::SourceFile | Attack::Fifo | Attack::Device
        )
    }

    /// A file outside gets and loses names, so that its number of links and its ctime move.
    fn links_outside(self) -> bool {
        matches!(self, Attack::TargetHardLink | Attack::Temporaries)
    }
}

/// What is run meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Sync,
    SyncDelete,
    Rm,
    RmTree,
    Mtimes,
    Cmp,
}

const ALL_MAY_GO: [&str; 4] = ["--max-delete", "100%", "--hold-threshold", "100%"];

impl Command {
    fn on(self, pair: &Pair) -> Pmirror {
        let command = match self {
            // By temporary names all of them, as sizes alone tell nothing of unfinished files.
            Command::Sync => pair.sync().args(&["--size-only", "--chunk-size", "64K"]),
            Command::SyncDelete => pair.sync().args(&["-c", "--delete"]).args(&ALL_MAY_GO),
            Command::Rm => pair.rm().args(&ALL_MAY_GO),
            Command::RmTree => Pmirror::new().rm_tree(pair.target_path()).state_dir(pair.state_path()),
            Command::Mtimes => pair.mtimes(),
            Command::Cmp => pair.cmp().args(&["--level", "hash"]),
        };
        command.timeout(Duration::from_secs(40))
    }

    /// What may come of a tree that does not hold still.
    fn codes(self) -> &'static [i32] {
        match self {
            Command::Sync | Command::Mtimes => &[0, 23, 24],
            Command::SyncDelete => &[0, 23, 24, 25],
            // 3: nothing was proven, so nothing was removed.
            Command::Rm => &[0, 3, 23, 24, 25],
            Command::RmTree => &[0, 23, 25],
            Command::Cmp => &[0, 23, 24, 26],
        }
    }
}

/// What runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// pmirror as it is.
    AsItIs,
    /// pmirror without some of its safety.
    Weakened(Weakness),
    /// A tool that writes into the files that are there.
    InPlace,
}

/// How long an attack lasts.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub swaps: u64,
    pub runs: u64,
}

const RUNS_MAX: u64 = 400;

/// Attacks until the effort is spent; tells the first breach of what pmirror promises.
pub fn breach(attack: Attack, command: Command, how: How, effort: Effort) -> Option<String> {
    let (mut runs, mut swaps) = (0, 0);
    // Where few of the names to be swapped are there at any time, only runs count.
    let wanted = if attack == Attack::Temporaries { 0 } else { effort.swaps };
    while runs < effort.runs || swaps < wanted {
        assert!(runs < RUNS_MAX, "{attack:?}: only {swaps} swaps in {runs} runs");
        let field = Field::new(attack);
        let (found, swapped) = field.fight(command, how);
        if found.is_some() {
            return found;
        }
        (runs, swaps) = (runs + 1, swaps + swapped);
    }
    println!("{attack:?} while {command:?} runs: {swaps} swaps in {runs} runs");
    None
}

/// Places in the trees that are attacked.
const PLACES: u32 = 6;

/// In all that is secret.
const SECRET: &str = "classified";

/// Two trees that are attacked, and what lies outside.
struct Field {
    pair: Pair,
    attack: Attack,
    swaps: Vec<Swap>,
    outside: Snapshot,
    watch: Watch,
}

impl Field {
    fn new(attack: Attack) -> Field {
        let pair = Pair::new();
        build(&pair);
        let swaps: Vec<Swap> = (0..PLACES).flat_map(|place| swaps(&pair, attack, place)).collect();
        let outside = Snapshot::take(outside_of(&pair));
        let mut watch = Watch::new();
        match attack {
            Attack::Fifo | Attack::Device => swaps.iter().for_each(|swap| watch.openings(&swap.partner_path)),
            _ if attack.links_outside() => (),
            _ => Snapshot::paths(outside_of(&pair)).iter().for_each(|path| {
                watch.inode(outside_of(&pair).join(std::str::from_utf8(path).unwrap()));
            }),
        }
        Field { pair, attack, swaps, outside, watch }
    }

    /// One run under attack: the breach, and how often something was swapped.
    fn fight(&self, command: Command, how: How) -> (Option<String>, u64) {
        let (count, mut next) = (AtomicU64::new(0), (0..self.swaps.len()).cycle());
        let attack = || {
            let swap = &self.swaps[next.next().unwrap()];
            let done = if self.attack == Attack::Temporaries { swap.temporaries() } else { swap.once() };
            count.fetch_add(done, Ordering::Relaxed);
        };
        let run = while_disturbed(attack, || match how {
            How::AsItIs => Some(command.on(&self.pair).run_unchecked()),
            How::Weakened(weakness) => Some(weaken::run(&command.on(&self.pair), weakness)),
            How::InPlace => {
                write_in_place(&self.pair);
                None
            }
        });
        (self.judge(run.as_ref().filter(|_| how == How::AsItIs), command), count.into_inner())
    }

    fn judge(&self, run: Option<&Outcome>, command: Command) -> Option<String> {
        if let Some(run) = run {
            run.assert_books_balance();
            run.context(|| assert!(command.codes().contains(&run.code), "one of {:?} expected", command.codes()));
        }
        let seen = self.watch.seen();
        if let Some(first) = seen.first() {
            return Some(format!("{} events outside, first: {first}", seen.len()));
        }
        let moves = |what: &str| self.attack.links_outside() && matches!(what, "links" | "ctime");
        let aspects = [MIRRORED, UNCHANGED, &[ATIME]].concat().into_iter();
        let aspects: Vec<Aspect> = aspects.filter(|(what, _)| !moves(what)).collect();
        let changes = compare::differences(&self.outside, &Snapshot::take(outside_of(&self.pair)), &aspects);
        if let Some(first) = changes.first() {
            return Some(format!("{} changes outside, first: {first}", changes.len()));
        }
        if self.attack.is_on_source() { self.leak() } else { None }
    }

    /// What came to the target from outside: content, names, texts of links, attributes.
    fn leak(&self) -> Option<String> {
        let digests: BTreeSet<u128> =
            self.outside.entries.values().map(|seen| seen.digest).filter(|d| *d != 0).collect();
        let has = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        let target = self.pair.target_now();
        let leaked = target.entries.iter().find(|(path, seen)| {
            has(path)
                || digests.contains(&seen.digest)
                || has(&seen.link)
                || seen.xattrs.values().any(|value| has(value))
        });
        leaked.map(|(path, _)| format!("read from outside: {}", super::escaped(path)))
    }
}

fn outside_of(pair: &Pair) -> PathBuf {
    pair.top_path().join("outside")
}

/// In each place: a file that is to be replaced, one that is to be repaired, one of two names, a directory two levels
/// down, and names that only the target has. Outside there are files of the same names, for who is led there.
fn build(pair: &Pair) {
    let (source, target) = (pair.source(), pair.target());
    // Of the size of what lies outside under the same name.
    let content = "harmless!! content of other";
    for place in 0..PLACES {
        for directory in [format!("{place}"), format!("{place}/above/inner")] {
            let at = |name: &str| format!("{directory}/{name}");
            source.file(at("file"), "new content").owner(7, 7).mode(0o4755).xattr("user.mine", "new").mtime(2_000, 1);
            source.file(at("other"), content).owner(7, 7).mode(0o640).xattr("user.mine", "new").mtime(1_000, 1);
            source.entry(at("other")).acl("u::rw-,u:1000:r--,g::r--,m::r--,o::---").mtime(1_000, 1);
            source.file(at("large"), vec![b'l'; 200_000]);
            source.file(at("leader"), "of two names").mtime(1_000, 1);
            source.hard_link(at("leader"), at("member"));
            target.file(at("leader"), "old");
            target.file(at("file"), "old").mtime(1_000, 1);
            target.file(at("other"), content).mtime(1_000, 1);
            target.file(at("only here/file"), "to go");
            target.file(at("only here too"), "to go");
            source.entry(&directory).owner(7, 7).mode(0o2771).xattr("user.mine", "new").mtime(3_000, 1);
        }
    }
    let outside = pair.beside();
    for directory in ["outside/directory", "outside/directory/inner", "outside/directory/above/inner"] {
        for name in ["file", "other", "leader", "only here/file", "only here too", "classified name"] {
            let entry = outside.file(format!("{directory}/{name}"), format!("{SECRET} content of {name}"));
            entry.mode(0o600).xattr("user.secret", SECRET).mtime(1_000, 1);
            entry.atime(500, 1);
        }
        outside.symlink(format!("{directory}/link"), "classified text");
        outside.entry(directory).mode(0o700).xattr("user.secret", SECRET).mtime(1_000, 1);
    }
    outside.dir("swap");
}

/// A name in a tree, and what it is swapped with.
struct Swap {
    inside: Entry,
    inside_path: PathBuf,
    partner: Entry,
    partner_path: PathBuf,
    /// Where the link leads, if the partner is one: it is made again when pmirror replaced it.
    leads_to: Option<PathBuf>,
    victim: PathBuf,
}

fn swaps(pair: &Pair, attack: Attack, place: u32) -> Vec<Swap> {
    let directory = outside_of(pair).join("directory");
    // One that is to be replaced, repaired, or linked.
    let name = ["file", "other", "leader"][(place % 3) as usize];
    let file = format!("{place}/{name}");
    let (inner, above) = (format!("{place}/above/inner"), format!("{place}"));
    let swap = |tree: Tree, inside: &str| {
        let partner = format!("swap/{} {}", if tree.path("") == pair.source().path("") { "s" } else { "t" }, place);
        Swap {
            inside: tree.entry(inside),
            inside_path: tree.path(inside),
            partner: pair.beside().entry(&partner),
            partner_path: pair.beside().path(&partner),
            leads_to: None,
            victim: directory.join(name),
        }
    };
    let link = |tree: Tree, inside: &str, to: &Path| {
        let swap = Swap { leads_to: Some(to.to_path_buf()), ..swap(tree, inside) };
        std::os::unix::fs::symlink(to, &swap.partner_path).unwrap();
        vec![swap]
    };
    let made = |swap: Swap, make: &dyn Fn(&Tree, &str)| {
        let beside = pair.beside();
        let name = swap.partner_path.strip_prefix(pair.top_path()).unwrap().to_str().unwrap().to_string();
        make(&beside, &name);
        swap
    };
    let both = |make: &dyn Fn(&Tree, &str)| {
        [pair.source(), pair.target()].map(|tree| made(swap(tree, &file), make)).into_iter().collect()
    };
    let target = |inside: &str, make: &dyn Fn(&Tree, &str)| vec![made(swap(pair.target(), inside), make)];
    match attack {
        Attack::SourceDirectory => link(pair.source(), &inner, &directory),
        Attack::SourceAbove => link(pair.source(), &above, &directory),
        Attack::SourceFile => link(pair.source(), &file, &directory.join(name)),
        Attack::TargetDirectory => link(pair.target(), &inner, &directory),
        Attack::TargetAbove => link(pair.target(), &above, &directory),
        Attack::TargetFile => link(pair.target(), &file, &directory.join(name)),
        Attack::Fifo => both(&|tree, name| drop(tree.fifo(name))),
        Attack::Device => both(&|tree, name| drop(tree.char_device(name, 1, 3))),
        Attack::TargetHardLink => target(&file, &|tree, partner| {
            drop(tree.hard_link(format!("outside/directory/{name}"), partner));
        }),
        Attack::Temporaries => target(&above, &|_, _| ()),
        Attack::SourceMovedOut => vec![made(swap(pair.source(), &inner), &|tree, name| drop(tree.dir(name)))],
        Attack::TargetMovedOut => target(&inner, &|tree, name| drop(tree.dir(name))),
    }
}

impl Swap {
    /// How often it succeeded.
    fn once(&self) -> u64 {
        let done = self.inside.exchange(&self.partner);
        let is_link = |path: &Path| std::fs::read_link(path).is_ok();
        if let Some(link) = &self.leads_to
            && !is_link(&self.partner_path)
            && !is_link(&self.inside_path)
        {
            let _ = std::fs::remove_dir_all(&self.partner_path);
            let _ = std::fs::remove_file(&self.partner_path);
            let _ = std::os::unix::fs::symlink(link, &self.partner_path);
        }
        u64::from(done)
    }

    /// Swaps each temporary file of the directory for a further name of the victim, or a link to it.
    fn temporaries(&self) -> u64 {
        let Ok(names) = std::fs::read_dir(&self.inside_path) else { return 0 };
        let mut done = 0;
        for name in names.flatten().filter(|name| name.file_name().as_encoded_bytes().starts_with(b".pmirror-")) {
            let _ = std::fs::remove_file(&self.partner_path);
            let planted = match done % 2 {
                0 => std::fs::hard_link(&self.victim, &self.partner_path),
                _ => std::os::unix::fs::symlink(&self.victim, &self.partner_path),
            };
            let temporary = Tree::at(&self.inside_path);
            let swapped =
                planted.is_ok() && temporary.entry(name.file_name().as_encoded_bytes()).exchange(&self.partner);
            done += u64::from(swapped);
        }
        done
    }
}

/// What a tool does that takes the names of the target for its own.
fn write_in_place(pair: &Pair) {
    super::needs::program("rsync");
    let (mut source, mut target) = (pair.source_path().into_os_string(), pair.target_path().into_os_string());
    source.push("/");
    target.push("/");
    // That files vanish under it is none of our business.
    let _ = std::process::Command::new("rsync").args(["-a", "--inplace"]).args([source, target]).output();
}
