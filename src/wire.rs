//! Items and messages to bytes and back. What comes in is bounded and checked, never believed.

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::{Decode, Encode};

use crate::sched::{Envelope, Message};
use crate::tree::{
    Carried, ChunkTask, ChunkedFile, DirectoryItem, Doomed, Item, LinkNote, Note, Proof, RemovalNews, TreePath, names,
};

/// No message is longer. Loot is kept far below it; only a single item with a very long path or
/// very many names comes near.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The messages of this program.
pub type Post = Envelope<Item, Note>;

/// Bytes that are no message of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no {what}: {why}")]
pub struct Garbage {
    what: &'static str,
    why: String,
}

fn config() -> Configuration<LittleEndian, Fixint, bincode::config::Limit<MESSAGE_BYTES_MAX>> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MESSAGE_BYTES_MAX>()
}

/// A value as bytes.
///
/// # Panics
/// When it would be longer than `MESSAGE_BYTES_MAX`: the bounds of bag and listing rule that out.
#[allow(clippy::expect_used)]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config()).expect("a message within its bound")
}

/// A value from bytes; all of them must be used.
pub fn decode<T: Decode<()>>(what: &'static str, bytes: &[u8]) -> Result<T, Garbage> {
    let (value, used) =
        bincode::decode_from_slice(bytes, config()).map_err(|error| Garbage { what, why: error.to_string() })?;
    if used != bytes.len() {
        return Err(Garbage { what, why: format!("{} bytes too many", bytes.len() - used) });
    }
    Ok(value)
}

/// Appends a message to others.
///
/// # Panics
/// When it would be longer than `MESSAGE_BYTES_MAX`, as `encode` does.
#[allow(clippy::expect_used)]
pub fn append_post(posts: &mut Vec<u8>, post: &Post) {
    bincode::encode_into_std_write(post, posts, config()).expect("a message within its bound");
}

/// Messages from bytes, as `append_post` put them one after another: at least one, their names checked.
pub fn decode_posts(mut bytes: &[u8]) -> Result<Vec<Post>, Garbage> {
    let mut posts = Vec::new();
    while !bytes.is_empty() || posts.is_empty() {
        let (post, used) = bincode::decode_from_slice(bytes, config())
            .map_err(|error| Garbage { what: "message", why: error.to_string() })?;
        posts.push(checked(post)?);
        bytes = bytes.get(used..).unwrap_or_default();
    }
    Ok(posts)
}

fn checked(post: Post) -> Result<Post, Garbage> {
    if let Message::Loot { items, .. } = &post.message
        && (items.is_empty() || !items.iter().all(is_sound))
    {
        return Err(Garbage { what: "message", why: "loot with names that are none".to_owned() });
    }
    if let Message::Tell(note) = &post.message
        && !note_is_sound(note)
    {
        return Err(Garbage { what: "message", why: "a note with a name that is none".to_owned() });
    }
    Ok(post)
}

/// Items from bytes, as `encode` made them of a list.
pub fn decode_items(bytes: &[u8]) -> Result<Vec<Item>, Garbage> {
    let items: Vec<Item> = decode("list of items", bytes)?;
    if items.iter().all(is_sound) {
        Ok(items)
    } else {
        Err(Garbage { what: "list of items", why: "names that are none".to_owned() })
    }
}

/// Appends a note to others: as small as bincode makes it, as there may be very many.
///
/// # Panics
/// When it would be longer than `MESSAGE_BYTES_MAX`: the bounds of a path rule that out.
#[allow(clippy::expect_used)]
pub fn append_note(notes: &mut Vec<u8>, note: &LinkNote) {
    let config = bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();
    bincode::encode_into_std_write(note, notes, config).expect("a note within its bound");
}

/// Notes from bytes, as `append_note` put them one after another.
pub fn decode_notes(mut bytes: &[u8]) -> Result<Vec<LinkNote>, Garbage> {
    let config = bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();
    let mut notes = Vec::new();
    while !bytes.is_empty() {
        let (note, used) = bincode::decode_from_slice(bytes, config)
            .map_err(|error| Garbage { what: "list of notes", why: error.to_string() })?;
        if !link_note_is_sound(&note) {
            return Err(Garbage { what: "list of notes", why: "names that are none".to_owned() });
        }
        notes.push(note);
        bytes = bytes.get(used..).unwrap_or_default();
    }
    Ok(notes)
}

/// Whether a path stays below the roots.
pub fn path_is_sound(path: &TreePath) -> bool {
    let path = path.as_bytes();
    path.is_empty() || path.split(|&byte| byte == b'/').all(names::is_name)
}

/// The same for a note.
pub fn note_is_sound(note: &Note) -> bool {
    match note {
        Note::Link(note) => link_note_is_sound(note),
        Note::Chunk { file, .. } => file_is_sound(file),
        Note::Removal { path, news } => path_is_sound(path) && news_are_sound(news),
        Note::Carried(carried) => carried_is_sound(carried),
    }
}

fn carried_is_sound(carried: &Carried) -> bool {
    match carried {
        Carried::Turn(note) => link_note_is_sound(note),
        Carried::Chunked(file, tally) => file_is_sound(file) && tally.is_of(file.chunks().saturating_add(1)),
        Carried::Removal(path, doomed, _) => path_is_sound(path) && doomed.as_ref().is_none_or(doomed_is_sound),
    }
}

fn news_are_sound(news: &RemovalNews) -> bool {
    match news {
        RemovalNews::Part { doomed, .. } => doomed_is_sound(doomed),
        RemovalNews::Child { .. } => true,
    }
}

/// The same for a directory under removal.
pub fn doomed_is_sound(doomed: &Doomed) -> bool {
    proof_is_sound(&doomed.path, &doomed.proof)
}

fn proof_is_sound(path: &TreePath, proof: &Proof) -> bool {
    let reaches = match proof {
        Proof::Asked => true,
        Proof::Absent(absent) => absent.depth as usize <= path.depth(),
    };
    path_is_sound(path) && reaches
}

fn link_note_is_sound(note: &LinkNote) -> bool {
    match note {
        LinkNote::Name { path, .. } | LinkNote::Led { path, .. } => !path.is_root() && path_is_sound(path),
        LinkNote::Claim { .. } | LinkNote::Part { .. } => true,
    }
}

/// The same for a large file.
pub fn file_is_sound(file: &ChunkedFile) -> bool {
    let temporary_is_sound = match &file.task {
        ChunkTask::Copy { temporary, .. } => names::is_name(temporary.to_bytes()),
        ChunkTask::Compare { .. } => true,
    };
    !file.path.is_root() && path_is_sound(&file.path) && temporary_is_sound && file.is_cut_soundly()
}

fn directory_is_sound(directory: &DirectoryItem) -> bool {
    path_is_sound(&directory.path) && directory.parked.is_valid()
}

/// The same for an item.
pub fn is_sound(item: &Item) -> bool {
    match item {
        Item::Directory(directory) | Item::Settle { directory, .. } | Item::Resettle(directory) => {
            directory_is_sound(directory)
        }
        Item::Round { directory, round, rounds } => directory_is_sound(directory) && round < rounds,
        Item::Batch { directory, names } | Item::Again { directory, names } => {
            directory_is_sound(directory) && names.is_valid()
        }
        Item::Doom { path, proof, round: (round, rounds), parked } => {
            proof_is_sound(path, proof) && round < rounds && parked.is_valid()
        }
        Item::Remove { doomed, names } => doomed_is_sound(doomed) && names.is_valid(),
        Item::RemoveDirectory { doomed, .. } => doomed_is_sound(doomed),
        Item::Chunks { file, first, count } => {
            let chunks = u64::from(file.chunks());
            file_is_sound(file) && *count > 0 && u64::from(*first) + u64::from(*count) <= chunks
        }
        Item::Publish { file, .. } => file_is_sound(file),
        Item::Link(group) => group.members.iter().all(|path| !path.is_root() && path_is_sound(path)),
        Item::Plan { directory, round: (round, rounds) } => directory_is_sound(directory) && round < rounds,
        Item::Listed { directory, extent, .. } => directory_is_sound(directory) && extent.start <= extent.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use crate::sched::{Cut, Epoch, Message};
    use crate::tree::item::{LinkKey, Turn};
    use crate::tree::names::Listed;
    use crate::tree::{Identity, Kind, Names, Parked};
    use proptest::prelude::*;

    fn item(path: &[u8]) -> Item {
        let directory = DirectoryItem {
            path: TreePath::from(path),
            source: Identity { inode: 7, birth: None },
            target: None,
            mount: 0,
            made: true,
            parked: Parked::NEVER,
        };
        let mut names = Names::new();
        names.push(c"x", Listed { kind: None, on_target: true });
        Item::Batch { directory, names }
    }

    fn post(path: &[u8]) -> Post {
        Envelope { epoch: Epoch(3), cut: Cut(0), message: Message::Loot { request: 1, items: vec![item(path)] } }
    }

    #[test]
    fn a_message_comes_back_as_it_went() {
        assert_eq!(decode_posts(&encode(&post(b"a/b"))), Ok(vec![post(b"a/b")]));
    }

    #[test]
    fn messages_come_back_in_their_order() {
        let mut bytes = Vec::new();
        append_post(&mut bytes, &post(b"a"));
        append_post(&mut bytes, &post(b"b/c"));
        assert_eq!(decode_posts(&bytes), Ok(vec![post(b"a"), post(b"b/c")]));
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_garbage() {
        for path in [&b"../a"[..], b"/a", b"a//b", b"a/..", b"."] {
            assert!(decode_posts(&encode(&post(path))).is_err(), "{path:?}");
        }
    }

    fn note(path: &[u8]) -> LinkNote {
        let key = LinkKey { side: Side::Source, mount: 0, inode: Identity { inode: 7, birth: None } };
        LinkNote::Name { key, kind: Kind::File, links: 2, path: TreePath::from(path), turn: Turn::First }
    }

    #[test]
    fn notes_come_back_in_their_order() {
        let notes = [note(b"a"), note(b"b/c")];
        let mut bytes = Vec::new();
        notes.iter().for_each(|note| append_note(&mut bytes, note));
        assert_eq!(decode_notes(&bytes), Ok(notes.to_vec()));
        assert!(decode_notes(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_note_with_a_path_that_leaves_the_tree_is_garbage() {
        for path in [&b"../a"[..], b"/a", b"a//b", b""] {
            let mut bytes = Vec::new();
            append_note(&mut bytes, &note(path));
            assert!(decode_notes(&bytes).is_err(), "{path:?}");
            let tell: Post = Envelope { epoch: Epoch(3), cut: Cut(0), message: Message::Tell(Note::Link(note(path))) };
            assert!(decode_posts(&encode(&tell)).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_part_of_a_list_that_ends_before_it_begins_is_garbage() {
        let Item::Batch { directory, .. } = item(b"a") else { return };
        let listed = |start, end| Item::Listed {
            directory: directory.clone(),
            extent: crate::tree::listed::Extent { start, end },
            settles: true,
        };
        assert!(decode_items(&encode(&vec![listed(1, 1)])).is_ok());
        assert!(decode_items(&encode(&vec![listed(2, 1)])).is_err());
    }

    #[test]
    fn a_part_of_a_directory_that_is_none_of_its_parts_is_garbage() {
        let Item::Batch { directory, .. } = item(b"a") else { return };
        let round = |round, rounds| vec![Item::Round { directory: directory.clone(), round, rounds }];
        assert!(decode_items(&encode(&round(1, 2))).is_ok());
        assert!(decode_items(&encode(&round(2, 2))).is_err());
        assert!(decode_items(&encode(&round(0, 0))).is_err());
    }

    #[test]
    fn a_name_left_alone_that_is_none_is_garbage() {
        let Item::Batch { mut directory, .. } = item(b"a") else { return };
        directory.parked = Parked::NEVER.and(Some(c"b"));
        assert!(decode_items(&encode(&vec![Item::Directory(directory.clone())])).is_ok());
        directory.parked = Parked::NEVER.and(Some(c"../b"));
        assert!(decode_items(&encode(&vec![Item::Directory(directory)])).is_err());
    }

    #[test]
    fn every_truncation_is_garbage() {
        let bytes = encode(&post(b"a/b"));
        for end in 0..bytes.len() {
            assert!(decode_posts(&bytes[..end]).is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_posts(&bytes);
        }

        #[test]
        fn flipped_bits_never_panic(at in 0usize..1000, bit in 0u8..8) {
            let mut bytes = encode(&post(b"some/where"));
            let index = at % bytes.len();
            bytes[index] ^= 1 << bit;
            let _ = decode_posts(&bytes);
        }
    }
}
