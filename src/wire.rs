//! Items and messages to bytes and back. What comes in is bounded and checked, never believed.

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::{Decode, Encode};

use crate::sched::{Envelope, Message};
use crate::tree::{Item, Note, names};

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

/// A message from bytes, its names checked.
pub fn decode_post(bytes: &[u8]) -> Result<Post, Garbage> {
    let post: Post = decode("message", bytes)?;
    if let Message::Loot { items, .. } = &post.message
        && (items.is_empty() || !items.iter().all(is_sound))
    {
        return Err(Garbage { what: "message", why: "loot with names that are none".to_owned() });
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

fn is_sound(item: &Item) -> bool {
    let path_is_sound = |path: &[u8]| path.is_empty() || path.split(|&byte| byte == b'/').all(names::is_name);
    match item {
        Item::Directory(directory) | Item::Round { directory, .. } | Item::Settle { directory, .. } => {
            path_is_sound(directory.path.as_bytes())
        }
        Item::Batch { directory, names } => path_is_sound(directory.path.as_bytes()) && names.is_valid(),
        Item::Listed { directory, extent, .. } => {
            path_is_sound(directory.path.as_bytes()) && extent.start <= extent.end
        }
        Item::Link(group) => group.members.iter().all(|member| path_is_sound(member.path.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::{Epoch, Message};
    use crate::tree::names::Listed;
    use crate::tree::{DirectoryItem, Identity, Names, TreePath};
    use proptest::prelude::*;

    fn item(path: &[u8]) -> Item {
        let directory = DirectoryItem {
            path: TreePath::from(path),
            source: Identity { inode: 7, birth: None },
            target: None,
            mount: 0,
            made: true,
        };
        let mut names = Names::new();
        names.push(c"x", Listed { kind: None, on_target: true });
        Item::Batch { directory, names }
    }

    fn post(path: &[u8]) -> Post {
        Envelope { epoch: Epoch(3), message: Message::Loot { request: 1, items: vec![item(path)] } }
    }

    #[test]
    fn a_message_comes_back_as_it_went() {
        assert_eq!(decode_post(&encode(&post(b"a/b"))), Ok(post(b"a/b")));
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_garbage() {
        for path in [&b"../a"[..], b"/a", b"a//b", b"a/..", b"."] {
            assert!(decode_post(&encode(&post(path))).is_err(), "{path:?}");
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
    fn every_truncation_is_garbage() {
        let bytes = encode(&post(b"a/b"));
        for end in 0..bytes.len() {
            assert!(decode_post(&bytes[..end]).is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_post(&bytes);
        }

        #[test]
        fn flipped_bits_never_panic(at in 0usize..1000, bit in 0u8..8) {
            let mut bytes = encode(&post(b"some/where"));
            let index = at % bytes.len();
            bytes[index] ^= 1 << bit;
            let _ = decode_post(&bytes);
        }
    }
}
