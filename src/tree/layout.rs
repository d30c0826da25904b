//! Layouts of files on Lustre: what is asked of the target, given the source's.
//!
//! The bytes are those of the attribute `lustre.lov` (lustre_user.h, little endian): a plain layout,
//! or a composite one of several components, each with a plain layout of its own.

const PLAIN: [u8; 4] = 0x0BD1_0BD0u32.to_le_bytes();
/// Plain, with the name of a pool.
const POOLED: [u8; 4] = 0x0BD3_0BD0u32.to_le_bytes();
const COMPOSITE: [u8; 4] = 0x0BD6_0BD0u32.to_le_bytes();

const PLAIN_BYTES: usize = 32;
const PATTERN: usize = 4;
/// The generation of a layout that was read; the first server where one is asked for, 0 for any.
const GENERATION: usize = 30;
const COMPOSITE_BYTES: usize = 32;
const COMPONENTS: usize = 14;
const COMPONENT_BYTES: usize = 48;
const COMPONENT_OFFSET: usize = 24;

/// HSM took the file's objects away.
const RELEASED: u32 = 0x8000_0000;

/// What is to be done about the layout of a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is asked: the file is created as anywhere.
    Ordinary,
    /// This is asked for, before the file is first opened for writing.
    Ask(Vec<u8>),
    /// The source's can not be had; the file gets the default.
    Unfit,
}

/// Plans for a source file with this layout; `None`: it has none, as it was never written.
pub fn plan(source: Option<&[u8]>) -> Plan {
    match source {
        None => Plan::Ordinary,
        Some(layout) => request(layout).map_or(Plan::Unfit, Plan::Ask),
    }
}

/// The request for a layout such as this: the same bytes, as Lustre takes stripes, sizes, pools and
/// extents from them and leaves the objects aside; but for the generation, which would be understood
/// as the server to begin with.
fn request(layout: &[u8]) -> Option<Vec<u8>> {
    let mut request = layout.to_vec();
    if starts_with(layout, COMPOSITE) {
        let components = usize::from(u16_at(layout, COMPONENTS)?);
        for component in 0..components {
            let at = COMPOSITE_BYTES + component * COMPONENT_BYTES + COMPONENT_OFFSET;
            let offset = usize::try_from(u32_at(layout, at)?).ok()?;
            ask_for_plain(&mut request, offset)?;
        }
        return (components > 0).then_some(request);
    }
    ask_for_plain(&mut request, 0)?;
    Some(request)
}

/// Makes a request of the plain layout at `offset`; `None` for one that can not be asked for.
fn ask_for_plain(request: &mut [u8], offset: usize) -> Option<()> {
    let plain = request.get_mut(offset..)?;
    let known = starts_with(plain, PLAIN) || starts_with(plain, POOLED);
    // A released file has no objects to write to.
    if !known || plain.len() < PLAIN_BYTES || u32_at(plain, PATTERN)? & RELEASED != 0 {
        return None;
    }
    plain.get_mut(GENERATION..GENERATION + 2)?.fill(0);
    Some(())
}

fn starts_with(bytes: &[u8], magic: [u8; 4]) -> bool {
    bytes.starts_with(&magic)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Four stripes of 2 MiB, as getxattr gives them: 128 bytes.
    fn four_stripes(generation: u16) -> Vec<u8> {
        let id = [7; 16];
        let header = [&PLAIN[..], &1u32.to_le_bytes(), &id, &(2u32 << 20).to_le_bytes(), &4u16.to_le_bytes()].concat();
        let objects = [9; 4 * 24];
        [&header[..], &generation.to_le_bytes(), &objects].concat()
    }

    fn composite(parts: &[Vec<u8>]) -> Vec<u8> {
        let count = u16::try_from(parts.len()).unwrap();
        let mut bytes = [&COMPOSITE[..], &[0; 10], &count.to_le_bytes(), &[0; 16]].concat();
        let mut offset = COMPOSITE_BYTES + parts.len() * COMPONENT_BYTES;
        for part in parts {
            bytes.extend([0; COMPONENT_OFFSET]);
            bytes.extend(u32::try_from(offset).unwrap().to_le_bytes());
            bytes.extend([0; COMPONENT_BYTES - COMPONENT_OFFSET - 4]);
            offset += part.len();
        }
        [bytes, parts.concat()].concat()
    }

    #[test]
    fn a_layout_is_asked_for_with_the_bytes_of_the_source() {
        assert_eq!(plan(Some(&four_stripes(0))), Plan::Ask(four_stripes(0)));
        let two = composite(&[four_stripes(0), four_stripes(0)]);
        assert_eq!(plan(Some(&two)), Plan::Ask(two));
    }

    #[test]
    fn a_generation_is_not_mistaken_for_a_server() {
        assert_eq!(plan(Some(&four_stripes(3))), Plan::Ask(four_stripes(0)));
        let (moved, fresh) =
            (composite(&[four_stripes(1), four_stripes(2)]), composite(&[four_stripes(0), four_stripes(0)]));
        assert_eq!(plan(Some(&moved)), Plan::Ask(fresh));
    }

    #[test]
    fn a_file_without_a_layout_asks_for_none() {
        assert_eq!(plan(None), Plan::Ordinary);
    }

    #[test]
    fn what_can_not_be_asked_for_is_the_default() {
        let mut released = four_stripes(0);
        released[7] |= 0x80;
        let foreign = [0xd0, 0x0b, 0xd7, 0x0b, 0, 0, 0, 0].repeat(8);
        let empty = composite(&[]);
        let outside = composite(&[four_stripes(0)])[..COMPOSITE_BYTES + COMPONENT_BYTES].to_vec();
        let no_layout = [0; 32].to_vec();
        for unfit in [composite(&[four_stripes(0), released.clone()]), released, foreign, empty, outside, no_layout] {
            assert_eq!(plan(Some(&unfit)), Plan::Unfit, "{unfit:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_planned_for(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in 0usize..4) {
            let magic = [&PLAIN[..], &POOLED, &COMPOSITE, &[]][magic];
            let layout = [magic, &bytes].concat();
            if let Plan::Ask(request) = plan(Some(&layout)) {
                prop_assert_eq!(request.len(), layout.len());
                prop_assert_eq!(plan(Some(&request)), Plan::Ask(request.clone()), "asking again asks the same");
            }
        }
    }
}
