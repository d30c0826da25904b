//! Words of other tools, and what stands for them here: a table. docs/reference/from-rsync.md says more of rsync's.

/// `pmirror SRC DST`, as with rsync.
pub const SAY_WHAT_FIRST: &str = "say first what to do: pmirror sync SRC DST copies, pmirror cmp SRC DST compares; \
                                  options stand behind that";

/// `rsync A B C DST`.
pub const SEVERAL_SOURCES: &str = "one SRC and one DST: run it once for each source, or mirror the directory above them \
                                   and choose with --include and --exclude";

/// `pmirror sync -n 4 SRC DST`, `--progress 10`.
pub const NUMBER_ALONE: &str = "two operands, SRC and DST. Ranks are counted in front: mpirun -n 4 pmirror sync SRC DST, and \
                                values of --progress and --verify are joined to them: --progress=10";

/// `--verify xxh3 SRC DST`.
pub const VALUE_ALONE: &str = "two operands, SRC and DST. Values of --verify and --progress are joined to them: --verify=xxh3, \
                               --progress=10";

const NO_NETWORK: &str = "leave it out: pmirror speaks to no other host. Mount both file systems, and share the work among \
                          nodes with srun or mpirun";
const NO_COMPRESSION: &str = "leave it out: nothing goes over a network of its own, so there is nothing to compress";
const WHOLE_FILES: &str = "leave it out: a file that differs is copied whole, always";
const GOES_ON: &str =
    "leave it out: what a stopped run has done is kept. The same command goes on, or pmirror resume RUN";
const NOT_IN_PLACE: &str = "not here: a file that differs gets its new content under a temporary name, so that DST has the \
                            old or the new one, whole";
const DELETE_LAST: &str = "say --delete: it removes when all is copied, after guards have judged the whole plan";
const UNPROVEN: &str =
    "not here: what could not be listed on SRC is never removed from DST. Mend what failed, run again";
const LINKS_STAY: &str = "not here: a symbolic link is copied as one and never followed, in neither tree. Mirror the \
                          directory that it leads to by a run of its own";
const NO_BACKUP: &str = "not here: what a copy replaces is gone, so make a snapshot of DST before the run; what --delete takes \
                         away --trash keeps";
const ONE_MIRROR: &str = "not here: DST is one mirror of SRC. For the state of each day make snapshots of DST; where both \
                          are on one file system that can share blocks, --engine reflink does";
const ONLY_NEW: &str = "not here: every entry is compared. -u leaves alone what is newer on DST, --files-from mirrors a \
                        list of your own";
const SOURCE_STAYS: &str = "not here: SRC is only read. When pmirror cmp --level hash SRC DST finds no difference, remove it \
                            yourself";
const AS_ON_SOURCE: &str = "not here: owners and permissions are those of SRC. --no-owner and --no-perms leave them as they \
                            are made; change them on DST afterwards";
const BY_PATTERNS: &str =
    "say --exclude PATTERN, --include PATTERN or --exclude-from FILE; in FILE `+ PATTERN` keeps in";
const WHOLE_TREE: &str = "leave it out: all below SRC is mirrored, by its path below SRC. Choose with --files-from, --include \
                          and --exclude";
const TOLD_ANYWAY: &str = "leave it out: progress goes to stderr and the summary to stdout anyway. -i lists each change, -v \
                           says what the run goes by, --json is for scripts";
const RECORDED: &str =
    "leave it out: each run keeps summary.json and faults.jsonl in --state-dir; for the log: 2> FILE";
const MORE_RANKS: &str = "say --threads N, for each rank; ranks come from srun -n N or mpirun -n N in front";
const CONTENTS: &str = "say -c, which compares the contents of files of equal size";
const NOTHING_TO_SAY: &str = "leave it out: there is nothing here that it could change";
const ALWAYS: &str = "leave it out: it is always so";
const NAMES_ARE_BYTES: &str = "not here: names are copied byte by byte, whatever they mean";
const FLUSHED: &str = "leave it out: a run that ends with 0 has made durable all that it wrote";

type Habit = (&'static [&'static str], &'static str);

/// For `sync`, and for the others where they have nothing of their own.
const OPTIONS: &[Habit] = &[
    (&["--partial", "--partial-dir", "--append", "--append-verify", "--resume", "--continue"], GOES_ON),
    (&["-P"], "leave it out: progress is shown anyway, and what a stopped run has done is kept"),
    (&["--inplace", "--write-devices"], NOT_IN_PLACE),
    (&["-W", "--whole-file", "--no-whole-file", "--no-W", "-B", "--block-size", "-y", "--fuzzy"], WHOLE_FILES),
    (&["-z", "--compress", "--compress-choice", "--compress-level", "--skip-compress", "--zc", "--zl"], NO_COMPRESSION),
    (&["--old-compress", "--new-compress", "--zz"], NO_COMPRESSION),
    (&["-e", "--rsh", "--rsync-path", "--port", "--address", "--password-file", "--sockopts", "--ipv4"], NO_NETWORK),
    (&["--blocking-io", "-M", "--remote-option", "-s", "--secluded-args", "--protect-args", "--ipv6"], NO_NETWORK),
    (&["--old-args", "--trust-sender", "--protocol", "--contimeout", "-4", "-6", "--daemon", "--server"], NO_NETWORK),
    (&["--early-input", "--no-motd", "--sender"], NO_NETWORK),
    (
        &["--del", "--delete-before", "--delete-during", "--delete-delay", "--delete-after", "--remove-extra"],
        DELETE_LAST,
    ),
    (
        &["--force", "--force-delete"],
        "leave it out, or say --delete: what stands in the way is replaced, a directory that holds \
                                      something only with --delete",
    ),
    (&["-f", "--filter", "-F", "-C", "--cvs-exclude", "--include-from"], BY_PATTERNS),
    (&["--exclude-if-present", "--filter-from"], BY_PATTERNS),
    (&["--ignore-errors", "--delete-missing-args", "--ignore-missing-args"], UNPROVEN),
    (&["-L", "--copy-links", "-k", "--copy-dirlinks", "--copy-unsafe-links", "--safe-links"], LINKS_STAY),
    (&["--munge-links", "-K", "--keep-dirlinks", "--dereference"], LINKS_STAY),
    (&["-b", "--backup", "--backup-dir", "--suffix"], NO_BACKUP),
    (
        &["--track-renames", "--track-renames-strategy"],
        "say --detect-renames: it renames directories of DST as those of SRC were",
    ),
    (&["--link-dest", "--copy-dest", "--compare-dest"], ONE_MIRROR),
    (&["--ignore-existing", "--existing", "--ignore-non-existing", "--no-clobber", "--immutable"], ONLY_NEW),
    (&["--remove-source-files", "--remove-sent-files", "--delete-empty-src-dirs"], SOURCE_STAYS),
    (&["--chmod", "--chown", "--usermap", "--groupmap", "-E", "--executability", "--copy-as"], AS_ON_SOURCE),
    (&["--fake-super", "--super"], AS_ON_SOURCE),
    (&["-R", "--relative", "--no-relative", "--no-implied-dirs"], WHOLE_TREE),
    (
        &["-d", "--dirs", "--no-recursive", "--old-dirs", "--old-d"],
        "say --exclude '/*/*' for the names of SRC alone; all below is \
                                                         mirrored otherwise",
    ),
    (
        &["-m", "--prune-empty-dirs"],
        "not here: directories are made, whether they hold anything or not. Leave some out \
                                     with --exclude",
    ),
    (&["--stats", "--info", "--debug", "--human-readable", "--out-format", "--msgs2stderr", "--stderr"], TOLD_ANYWAY),
    (&["--progress2", "-8", "--8-bit-output", "--outbuf", "--log-format", "--stats-one-line"], TOLD_ANYWAY),
    (&["--log-file", "--log-file-format", "--output"], RECORDED),
    (&["--list-only"], "say -n, which lists what a run would do and writes nothing"),
    (&["--dryrun"], "say --dry-run, or -n"),
    (&["--no-o", "--no-g", "--no-group"], "say --no-owner: it leaves owner and group alone"),
    (&["--no-p"], "say --no-perms"),
    (
        &["--no-t", "-O", "--omit-dir-times", "-J", "--omit-link-times"],
        "leave it out, or say --no-times: times of \
                                                                        directories are set when all below is done",
    ),
    (&["--no-D", "--no-devices"], "say --no-specials: it skips FIFOs, sockets and devices"),
    (&["--no-A"], "say --no-acls"),
    (&["--no-X"], "say --no-xattrs"),
    (&["--no-H"], "say --no-hard-links"),
    (&["--no-S"], "say --no-sparse"),
    (
        &["--no-numeric-ids", "--no-l", "--no-links", "--no-r"],
        "not here: the numbers of owners, symbolic links, and all \
                                                               that is below SRC are always mirrored",
    ),
    (&["--devices", "--specials", "--create-empty-src-dirs", "--metadata", "--no-dereference", "--preserve"], ALWAYS),
    (
        &["--no-inc-recursive", "--inc-recursive", "--no-target-directory", "-T", "--temp-dir", "--delay-updates"],
        NOTHING_TO_SAY,
    ),
    (&["--copy-devices"], "not here: a device is copied as a device, and never opened"),
    (&["-N", "--crtimes"], "not here: Linux has no call that sets a birth time"),
    (&["--open-noatime"], "leave it out: access times of SRC stay, wherever the system lets us"),
    (&["--preallocate"], "leave it out: holes are kept, --no-sparse writes zeros in their place"),
    (&["--fsync", "--synchronous"], FLUSHED),
    (&["-I", "--ignore-times", "--contents"], CONTENTS),
    (
        &["--checksum-choice", "--cc", "--checksum-seed"],
        "say -c, which compares the contents themselves; --verify=blake3 \
                                                         reads back what was written",
    ),
    (&["-@"], "say --modify-window SECONDS"),
    (&["--timeout"], "say --op-timeout TIME for an operation without an answer, --rank-timeout for a rank"),
    (&["--stop-after", "--time-limit", "--max-duration"], "say --stop-at +90m"),
    (&["--max-alloc"], "say --max-memory SIZE, for each rank"),
    (&["--tpslimit"], "say --ops-limit, such as 5000/s for the whole job"),
    (&["--iconv"], NAMES_ARE_BYTES),
    (
        &["--write-batch", "--only-write-batch", "--read-batch"],
        "not here: pmirror sync -i lists what was changed, cmp --jsonl \
                                                                what differs",
    ),
    (&["--mkpath"], "make the directories above DST first: mkdir -p; DST itself is made"),
    (&["--transfers", "--checkers", "--multi-thread-streams", "--jobs", "-j", "--parallel", "-np"], MORE_RANKS),
    (
        &["--multi-thread-cutoff", "--multi-thread-chunk-size", "--chunksize"],
        "say --chunk-size SIZE: files of at least two \
                                                                              chunks are copied by all ranks",
    ),
    (&["--bufsize", "--blocksize"], "say --buffer-size SIZE"),
    (&["--batch-files", "--fast-list", "--cutoff-mode"], NOTHING_TO_SAY),
    (&["-V", "--version"], "pmirror --version tells it"),
    (&["--reflink"], "say --engine reflink"),
    (&["--size"], "say --min-size SIZE or --max-size SIZE"),
    (&["--level"], "pmirror cmp has it; sync -c compares contents"),
    (&["--tree", "--target-only", "--plan", "--apply"], "pmirror rm has it; sync --delete removes after a copy"),
];

/// For `cmp`.
const OF_CMP: &[Habit] = &[
    (
        &["-c", "--checksum", "--contents", "--download", "--verify"],
        "say --level hash, which reads the contents of both",
    ),
    (&["--size-only", "--brief"], "say --level names, or --level quick for sizes, times, owners and links"),
    (&["--delete", "-u", "--update"], "leave it out: cmp writes nothing, and tells all that differs"),
    (&["--one-way"], "leave it out; what only DST has is told apart"),
    (&["--text"], ALWAYS),
];

/// For `rm`.
const OF_RM: &[Habit] = &[
    (
        &["-r", "-R", "-f", "--recursive", "--force", "-d", "-a"],
        "leave it out: pmirror rm --tree PATH removes a directory \
                                                                 with all that it holds, pmirror rm --target-only SRC DST \
                                                                 what SRC does not have",
    ),
    (&["--delete", "--del"], "leave it out: pmirror rm --target-only SRC DST removes"),
    (&["-I", "--preserve-root"], "leave it out: -n lists what would be removed, and guards judge the plan"),
    (&["--dryrun"], "say --dry-run, or -n"),
];

/// For `resume` and `retry`.
const OF_RUNS: &str =
    "leave it out: the options are those that the run was started with; only how it runs can be told anew";

const COMMANDS: &[Habit] = &[
    (&["copy", "cp", "mirror", "rsync", "dsync", "dcp", "update", "clone", "backup"], "pmirror sync SRC DST"),
    (&["check", "diff", "compare", "verify", "dcmp", "cryptcheck"], "pmirror cmp SRC DST"),
    (
        &["delete", "remove", "purge", "drm", "del", "prune", "clean", "cleanup"],
        "pmirror rm --target-only SRC DST, or \
                                                                                 pmirror rm --tree PATH",
    ),
    (&["move", "mv"], SOURCE_STAYS),
    (&["continue", "restart", "goon"], "pmirror resume RUN"),
    (&["completion", "completions", "man", "manpage"], "pmirror generate bash, zsh, fish or man"),
    (&["version"], "pmirror --version"),
    (&["touch", "times", "settimes"], "pmirror mtimes SRC DST"),
    (&["ls", "list", "size", "du", "count"], "pmirror sync -n SRC DST lists what a run would do"),
];

fn of(table: &[Habit], word: &str) -> Option<&'static str> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, tip)| *tip)
}

/// What to say to an option that the command does not have.
pub fn option(command: &str, word: &str) -> Option<&'static str> {
    match command {
        "cmp" => of(OF_CMP, word).or_else(|| of(OPTIONS, word)),
        "rm" => of(OF_RM, word).or_else(|| of(OPTIONS, word)),
        "sync" | "mtimes" => of(OPTIONS, word),
        _ => None,
    }
}

/// What to say to an option of `sync` that another command does not have.
pub fn option_of_sync(command: &str) -> Option<&'static str> {
    match command {
        "resume" | "retry" => Some(OF_RUNS),
        "rm" | "cmp" | "mtimes" => Some("pmirror sync has it, this command has not: leave it out"),
        _ => None,
    }
}

/// What to say to a command that there is not.
pub fn command(word: &str) -> Option<&'static str> {
    of(COMMANDS, word)
}

/// What to say where operands are missing.
pub fn missing(command: &str) -> Option<&'static str> {
    match command {
        "sync" => {
            Some("pmirror sync SRC DST: SRC is read, DST is written; both are directories, whatever slash they end in")
        }
        "cmp" | "mtimes" => Some("SRC and DST are the two directories, as in pmirror sync SRC DST"),
        "resume" | "retry" => Some("a RUN is a directory of the state directory: ls pmirror-runs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    /// The options of a command, long and short.
    fn options(command: &str) -> BTreeSet<String> {
        let program = Cli::command();
        let command = program.find_subcommand(command).unwrap();
        let words = |arg: &clap::Arg| {
            [arg.get_long().map(|long| format!("--{long}")), arg.get_short().map(|c| format!("-{c}"))]
        };
        command.get_arguments().flat_map(words).flatten().collect()
    }

    fn words_of(tip: &str) -> impl Iterator<Item = &str> {
        tip.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("--"))
    }

    #[test]
    fn no_word_is_one_of_ours_and_none_stands_twice() {
        for (command, table) in [("sync", OPTIONS), ("cmp", OF_CMP), ("rm", OF_RM)] {
            let mut seen = BTreeSet::new();
            for word in table.iter().flat_map(|(words, _)| words.iter()) {
                assert!(!options(command).contains(*word), "{command} has {word}");
                assert!(seen.insert(word), "{word} stands twice");
            }
        }
    }

    #[test]
    fn every_option_that_a_tip_names_exists() {
        let commands: BTreeSet<String> = ["sync", "cmp", "rm", "resume"].into_iter().flat_map(options).collect();
        for (words, tip) in [OPTIONS, OF_CMP, OF_RM, COMMANDS].concat() {
            for word in words_of(tip).filter(|word| !["--version", "--help"].contains(word)) {
                assert!(commands.contains(word), "the tip for {words:?} names {word}");
            }
        }
    }
}
