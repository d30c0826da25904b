//! POSIX ACLs and file capabilities as the bytes of their extended attributes.

/// Where the kernel keeps the ACL that decides on access.
pub const ACCESS: &str = "system.posix_acl_access";
/// Where it keeps the one that new entries of a directory inherit.
pub const DEFAULT: &str = "system.posix_acl_default";
/// Where it keeps file capabilities.
pub const CAPABILITY: &str = "security.capability";

const NO_ID: u32 = u32::MAX;

/// `cap_net_raw` as `setcap cap_net_raw=ep` writes it (VFS_CAP_REVISION_2, effective).
pub fn cap_net_raw() -> Vec<u8> {
    let cap_net_raw = 1u32 << 13;
    let words = [0x0200_0001, cap_net_raw, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The bytes of an ACL written as `u::rwx,u:1000:r--,g::r-x,g:7:rw-,m::r-x,o::---`,
/// its entries in the order the kernel wants: the order of that example.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for entry in text.split(',') {
        let fields: Vec<&str> = entry.split(':').collect();
        let [tag, id, permissions] = fields[..] else {
            panic!("ACL entry {entry:?} is not tag:id:permissions");
        };
        bytes.extend(tag_number(tag, !id.is_empty()).to_le_bytes());
        bytes.extend(permission_bits(permissions).to_le_bytes());
        bytes.extend(id.parse().unwrap_or(NO_ID).to_le_bytes());
    }
    bytes
}

fn tag_number(tag: &str, named: bool) -> u16 {
    match (tag, named) {
        ("u", false) => 0x01,
        ("u", true) => 0x02,
        ("g", false) => 0x04,
        ("g", true) => 0x08,
        ("m", false) => 0x10,
        ("o", false) => 0x20,
        _ => panic!("no such ACL tag: {tag:?}"),
    }
}

fn permission_bits(text: &str) -> u16 {
    let bit = |letter, value| if text.contains(letter) { value } else { 0 };
    bit('r', 4) | bit('w', 2) | bit('x', 1)
}
