//! What the last runs over pairs of trees knew of them: a small record for each pair, below
//! `STATE/roots/`.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::begin::Begun;
use super::crew::Crew;
use crate::config::Command;
use crate::fault::Error;
use crate::fs::Fd;
use crate::fs::operator::{RunDirectory, path_of};
use crate::report::{Summary, json, say};
use crate::tree::path::escaped;
use crate::tree::{DirectoryItem, Identity, Time};

/// Their place in the state directory, beside the runs.
const ROOTS: &str = "roots";
const VERSION: u32 = 1;
/// Two paths of 4 KiB, each byte of them escaped, and some figures.
const RECORD_BYTES_MAX: u64 = 64 << 10;
const RECORDS_MAX: usize = 100_000;

/// A pair of trees, as the last run over it that wrote and came to its end saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// SRC.
    pub source: KnownRoot,
    /// DST.
    pub target: KnownRoot,
    /// The run's command.
    pub command: String,
    /// The run.
    pub run_id: String,
    /// When it ended (RFC 3339).
    pub ended: String,
    /// What the last sync of all of SRC counted.
    pub total: Option<KnownTotal>,
}

/// A root as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRoot {
    /// Its absolute path, whatever links and names led to it.
    pub path: Vec<u8>,
    /// Inode and birth.
    pub identity: Identity,
    /// statfs(2)'s number of the file system type.
    pub fs_type: u64,
}

/// How large SRC was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTotal {
    /// Entries seen.
    pub entries: u64,
    /// Sizes of the regular files among them.
    pub bytes: u64,
}

impl Known {
    /// The record of a pair of roots, by their absolute paths ([`path_of`]).
    pub fn load(state: &Path, source: &[u8], target: &[u8]) -> Result<Option<Self>, Error> {
        let known = read(&directory(state), &name_of(source, target))?;
        // Two pairs of one hash: the record is the other's.
        Ok(known.filter(|known| known.source.path == source && known.target.path == target))
    }

    /// All records below a state directory, in no special order.
    pub fn all(state: &Path) -> Result<Vec<Self>, Error> {
        let directory = directory(state);
        let names = directory.names(RECORDS_MAX + 1).map_err(|error| unreadable(&directory, "", &error))?;
        if names.len() > RECORDS_MAX {
            return Err(unreadable(&directory, "", &format!("more than {RECORDS_MAX} records")));
        }
        let names = names.iter().filter_map(|name| name.to_str()).filter(|name| is_record(name));
        names.filter_map(|name| read(&directory, name).transpose()).collect()
    }

    /// Replaces the record of this pair.
    pub fn save(&self, state: &Path) -> Result<(), Error> {
        let directory = directory(state);
        directory.make()?;
        let name = name_of(&self.source.path, &self.target.path);
        let json = json::pretty(&Record::of(self)).unwrap_or_default();
        directory.write(&name, json.as_bytes()).map_err(|error| {
            Error::of_state(format!("what is known of both trees can not be kept: {}", shown(&directory, &name)), error)
        })
    }
}

/// Rank 0, at the end of a run: the record of its pair, if the run wrote and came to its end. That it can not
/// be kept is said and survived: the mirror is complete all the same.
pub fn remember(crew: &Crew<'_>, pair: &(KnownRoot, KnownRoot), is_whole: bool, summary: Option<&Summary>) {
    let Some(summary) = summary.filter(|summary| matches!(summary.exit_code, 0 | 23 | 24 | 25)) else { return };
    let (config, (source, target)) = (crew.config, pair.clone());
    if !config.writes() || !matches!(config.command, Command::Sync { .. } | Command::Rm(_) | Command::Mtimes) {
        return;
    }
    if source.path.is_empty() || target.path.is_empty() {
        return;
    }
    let counted = KnownTotal { entries: summary.entries_seen(), bytes: summary.bytes.logical };
    let total = match config.command {
        Command::Sync { .. } if is_whole => Some(counted),
        _ => Known::load(&config.state_dir, &source.path, &target.path).ok().flatten().and_then(|known| known.total),
    };
    let (command, run_id, ended) = (summary.command.to_owned(), summary.run_id.clone(), summary.ended.clone());
    let known = Known { source, target, command, run_id, ended, total };
    if let Err(error) = known.save(&config.state_dir) {
        say(&error.to_string());
    }
}

/// Both roots of a run as it sees them now.
pub fn pair_of(begun: &Begun) -> (KnownRoot, KnownRoot) {
    let trees = &begun.context.trees;
    pair_at((&trees.source_path, &begun.root, begun.fs_types), &trees.target)
}

/// The same before the run has begun.
pub fn pair_at(
    (source_path, root, fs_types): (&[u8], &DirectoryItem, (u64, u64)),
    target: &Fd,
) -> (KnownRoot, KnownRoot) {
    let source = KnownRoot { path: source_path.to_vec(), identity: root.source, fs_type: fs_types.0 };
    let identity = root.target.unwrap_or(Identity { inode: 0, birth: None });
    (source, KnownRoot { path: path_of(target), identity, fs_type: fs_types.1 })
}

/// Where what is known of pairs of trees lies.
pub fn directory(state: &Path) -> RunDirectory {
    RunDirectory::new(state, ROOTS)
}

fn name_of(source: &[u8], target: &[u8]) -> String {
    format!("{}.json", stem_of(source, target))
}

/// What the names of all files about a pair begin with.
pub fn stem_of(source: &[u8], target: &[u8]) -> String {
    // No path holds a NUL byte, so no two pairs are joined alike.
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&[source, target].join(&0)))
}

fn is_record(name: &str) -> bool {
    let hash = name.strip_suffix(".json").unwrap_or_default();
    hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shown(directory: &RunDirectory, name: &str) -> String {
    escaped(directory.path().join(name).as_os_str().as_encoded_bytes())
}

fn unreadable(directory: &RunDirectory, name: &str, why: &dyn std::fmt::Display) -> Error {
    let path = shown(directory, name);
    Error::Fatal(format!("the record of an earlier run can not be read: {path}: {why}; if it is broken, remove it"))
}

/// A record; `None` if there is none, or if a later version of this program wrote it.
fn read(directory: &RunDirectory, name: &str) -> Result<Option<Known>, Error> {
    let json = match directory.read(name, RECORD_BYTES_MAX + 1) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        json => json.map_err(|error| unreadable(directory, name, &error))?,
    };
    if json.len() as u64 > RECORD_BYTES_MAX {
        return Err(unreadable(directory, name, &"it is too long"));
    }
    match of_json(&json).map_err(|why| unreadable(directory, name, &why))? {
        Ok(known) => Ok(Some(known)),
        Err(version) => {
            let path = shown(directory, name);
            say(&format!("{path} has version {version}, and this pmirror knows only {VERSION}: it is left aside"));
            Ok(None)
        }
    }
}

/// What a record says, or the version of what wrote it if that is not ours.
pub fn of_json(json: &[u8]) -> Result<Result<Known, u32>, String> {
    let garbage = |error: serde_json::Error| error.to_string();
    let Versioned { version } = serde_json::from_slice(json).map_err(garbage)?;
    if version != VERSION {
        return Ok(Err(version));
    }
    let record: Record = serde_json::from_slice(json).map_err(garbage)?;
    record.known().map(Ok).ok_or_else(|| "a path is no base64".to_owned())
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    source: RecordedRoot,
    target: RecordedRoot,
    command: String,
    run_id: String,
    ended: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<KnownTotal>,
}

#[derive(Serialize, Deserialize)]
struct RecordedRoot {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    inode: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    birth: Option<(i64, u32)>,
    fs_type: u64,
}

impl Record {
    fn of(known: &Known) -> Self {
        Self {
            version: VERSION,
            source: RecordedRoot::of(&known.source),
            target: RecordedRoot::of(&known.target),
            command: known.command.clone(),
            run_id: known.run_id.clone(),
            ended: known.ended.clone(),
            total: known.total,
        }
    }

    fn known(self) -> Option<Known> {
        let (source, target) = (self.source.known()?, self.target.known()?);
        let Self { command, run_id, ended, total, .. } = self;
        Some(Known { source, target, command, run_id, ended, total })
    }
}

impl RecordedRoot {
    fn of(root: &KnownRoot) -> Self {
        let text = std::str::from_utf8(&root.path);
        Self {
            path: text.map_or_else(|_| escaped(&root.path), ToOwned::to_owned),
            path_b64: text.is_err().then(|| STANDARD.encode(&root.path)),
            inode: root.identity.inode,
            birth: root.identity.birth.map(|birth| (birth.seconds, birth.nanoseconds)),
            fs_type: root.fs_type,
        }
    }

    fn known(self) -> Option<KnownRoot> {
        let path = self.path_b64.map_or(Some(self.path.into_bytes()), |text| STANDARD.decode(text).ok())?;
        let birth = self.birth.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
        Some(KnownRoot { path, identity: Identity { inode: self.inode, birth }, fs_type: self.fs_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(source: &[u8], target: &[u8]) -> Known {
        let birth = Some(Time { seconds: -7, nanoseconds: 9 });
        let root = |path: &[u8], inode, birth| KnownRoot {
            path: path.to_vec(),
            identity: Identity { inode, birth },
            fs_type: 0xEF53,
        };
        Known {
            source: root(source, 2, birth),
            target: root(target, u64::MAX, None),
            command: "sync".to_owned(),
            run_id: "nightly".to_owned(),
            ended: "2026-01-02T03:04:05Z".to_owned(),
            total: Some(KnownTotal { entries: 3, bytes: 4 }),
        }
    }

    fn file_of(state: &Path, known: &Known) -> RunDirectoryFile {
        RunDirectoryFile(directory(state), name_of(&known.source.path, &known.target.path))
    }

    struct RunDirectoryFile(RunDirectory, String);

    impl RunDirectoryFile {
        fn replace(&self, old: &str, new: &str) {
            let text = String::from_utf8(self.0.read(&self.1, RECORD_BYTES_MAX).unwrap()).unwrap();
            assert!(text.contains(old), "{text}");
            self.0.write(&self.1, text.replace(old, new).as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_record_is_found_by_both_paths_whatever_their_bytes() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path();
        let (plain, odd) = (known(b"/a b", b"/c\n"), known(b"/\xff\xfe", b"/c\n"));
        plain.save(state).unwrap();
        odd.save(state).unwrap();
        assert_eq!(Known::load(state, b"/a b", b"/c\n"), Ok(Some(plain.clone())));
        assert_eq!(Known::load(state, b"/\xff\xfe", b"/c\n"), Ok(Some(odd.clone())));
        assert_eq!(Known::load(state, b"/c\n", b"/a b"), Ok(None));
        let mut all = Known::all(state).unwrap();
        all.sort_by_key(|known| std::cmp::Reverse(known.source.path.len()));
        assert_eq!(all, [plain, odd]);
    }

    #[test]
    fn a_state_directory_without_records_knows_nothing() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Known::load(state.path(), b"/a", b"/b"), Ok(None));
        assert_eq!(Known::all(state.path()), Ok(Vec::new()));
    }

    #[test]
    fn a_later_record_takes_the_place_of_an_earlier_one() {
        let state = tempfile::tempdir().unwrap();
        known(b"/a", b"/b").save(state.path()).unwrap();
        let later = Known { total: None, ..known(b"/a", b"/b") };
        later.save(state.path()).unwrap();
        assert_eq!(Known::all(state.path()), Ok(vec![later]));
    }

    #[test]
    fn garbage_is_an_error_that_names_the_file() {
        let state = tempfile::tempdir().unwrap();
        let known = known(b"/a", b"/b");
        known.save(state.path()).unwrap();
        let file = file_of(state.path(), &known);
        file.replace("\"run_id\"", "\"walk_id\"");
        let error = Known::load(state.path(), b"/a", b"/b").unwrap_err().to_string();
        assert!(error.contains(&file.1) && error.contains("run_id"), "{error}");
        assert_eq!(Known::all(state.path()).unwrap_err().to_string(), error);
        file.0.write(&file.1, &vec![b' '; 1 << 20]).unwrap();
        let error = Known::load(state.path(), b"/a", b"/b").unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
    }

    #[test]
    fn a_record_of_a_later_version_is_left_aside() {
        let state = tempfile::tempdir().unwrap();
        let known = known(b"/a", b"/b");
        known.save(state.path()).unwrap();
        file_of(state.path(), &known).replace("\"version\": 1", "\"version\": 2");
        assert_eq!(Known::load(state.path(), b"/a", b"/b"), Ok(None));
        assert_eq!(Known::all(state.path()), Ok(Vec::new()));
    }
}
