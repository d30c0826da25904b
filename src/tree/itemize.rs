//! rsync's eleven letters for what is to be done with an entry (rsync(1), `--itemize-changes`).

use super::attributes::Kind;
use super::difference::{Aspect, Aspects};

/// What moves the content of a file that is on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Another size or modification time: rsync's quick check.
    SizeOrTime,
    /// Another content: rsync's `--checksum`.
    Content,
    /// Another size: rsync's `--size-only`.
    Size,
}

/// The letters, always eleven: how the entry is changed, its type, and what of it.
pub fn letters(kind: Kind, aspects: Aspects, trigger: Trigger) -> String {
    if aspects.has(Aspect::TargetOnly) {
        return "*deleting  ".to_owned();
    }
    if aspects.has(Aspect::Renamed) {
        return format!("c{}.........", type_letter(kind));
    }
    if aspects.has(Aspect::Trashed) {
        return "*trashing  ".to_owned();
    }
    let is_new = aspects.has(Aspect::SourceOnly) || aspects.has(Aspect::Type);
    if is_new {
        let how = match kind {
            _ if aspects.has(Aspect::Links) => 'h',
            Kind::File => '>',
            _ => 'c',
        };
        return format!("{how}{}+++++++++", type_letter(kind));
    }
    let how = how(kind, aspects, trigger);
    let is_changed = how == '>' && (trigger == Trigger::Content || aspects.has(Aspect::Content)) || how == 'c';
    let letter = |aspect, letter| if aspects.has(aspect) { letter } else { '.' };
    let attributes = [
        if is_changed { 'c' } else { '.' },
        letter(Aspect::Size, 's'),
        letter(Aspect::Mtime, 't'),
        letter(Aspect::Mode, 'p'),
        letter(Aspect::Owner, 'o'),
        letter(Aspect::Group, 'g'),
        letter(Aspect::Atime, 'u'),
        letter(Aspect::Acl, 'a'),
        letter(Aspect::Xattr, 'x'),
    ];
    let blank = how != '>' && attributes.iter().all(|&letter| letter == '.');
    let attributes: String = if blank { " ".repeat(attributes.len()) } else { attributes.iter().collect() };
    format!("{how}{}{attributes}", type_letter(kind))
}

/// `>`: its content is copied, `c`: it is made anew, `h`: it becomes a link of another name, `.`: only
/// attributes are set.
fn how(kind: Kind, aspects: Aspects, trigger: Trigger) -> char {
    let moves = aspects.has(Aspect::Size)
        || aspects.has(Aspect::Content)
        || trigger == Trigger::SizeOrTime && aspects.has(Aspect::Mtime);
    if aspects.has(Aspect::Links) {
        'h'
    } else if kind == Kind::File && moves {
        '>'
    } else if aspects.has(Aspect::Text) || aspects.has(Aspect::Device) {
        'c'
    } else {
        '.'
    }
}

fn type_letter(kind: Kind) -> char {
    match kind {
        Kind::Directory => 'd',
        Kind::Symlink => 'L',
        Kind::CharacterDevice | Kind::BlockDevice => 'D',
        Kind::Fifo | Kind::Socket => 'S',
        Kind::File | Kind::Unknown => 'f',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(kind: Kind, aspects: &[Aspect]) -> String {
        letters(kind, aspects.iter().copied().collect(), Trigger::SizeOrTime)
    }

    #[test]
    fn the_letters_are_those_of_rsyncs_manual() {
        use Aspect::*;
        assert_eq!(of(Kind::File, &[SourceOnly]), ">f+++++++++");
        assert_eq!(of(Kind::Directory, &[SourceOnly]), "cd+++++++++");
        assert_eq!(of(Kind::Symlink, &[Type]), "cL+++++++++");
        assert_eq!(of(Kind::Directory, &[TargetOnly]), "*deleting  ");
        assert_eq!(of(Kind::File, &[Trashed]), "*trashing  ");
        assert_eq!(of(Kind::File, &[Size, Mtime]), ">f.st......");
        assert_eq!(of(Kind::File, &[Mode, Owner, Group]), ".f...pog...");
        assert_eq!(of(Kind::Directory, &[Mtime]), ".d..t......");
        assert_eq!(of(Kind::Symlink, &[Text, Mtime]), "cLc.t......");
        assert_eq!(of(Kind::BlockDevice, &[Device]), "cDc........");
        assert_eq!(of(Kind::File, &[Acl, Xattr, Atime]), ".f......uax");
        assert_eq!(of(Kind::File, &[Links]), "hf         ");
        assert_eq!(of(Kind::File, &[Links, Mtime]), "hf..t......");
        assert_eq!(of(Kind::Symlink, &[SourceOnly, Links]), "hL+++++++++");
        assert_eq!(of(Kind::File, &[Content]), ">fc........");
        assert_eq!(of(Kind::Directory, &[Renamed]), "cd.........");
    }

    #[test]
    fn with_checksums_only_another_content_moves_a_file() {
        let of = |aspects: &[Aspect]| letters(Kind::File, aspects.iter().copied().collect(), Trigger::Content);
        assert_eq!(of(&[Aspect::Content]), ">fc........");
        assert_eq!(of(&[Aspect::Size]), ">fcs.......");
        assert_eq!(of(&[Aspect::Mtime]), ".f..t......");
    }

    #[test]
    fn where_only_sizes_are_compared_another_time_moves_nothing() {
        let of = |aspects: &[Aspect]| letters(Kind::File, aspects.iter().copied().collect(), Trigger::Size);
        assert_eq!(of(&[Aspect::Size, Aspect::Mtime]), ">f.st......");
        assert_eq!(of(&[Aspect::Mtime]), ".f..t......");
    }

    proptest! {
        #[test]
        fn there_are_always_eleven_letters(kind in proptest::sample::select(Kind::ALL.to_vec()),
            found in proptest::collection::vec(proptest::sample::select(Aspect::ALL.to_vec()), 1..6), content in any::<bool>()) {
            let trigger = if content { Trigger::Content } else { Trigger::SizeOrTime };
            let letters = letters(kind, found.into_iter().collect(), trigger);
            prop_assert_eq!(letters.len(), 11);
        }
    }
}
