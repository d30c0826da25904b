//! Names of any bytes as text, and base64 back to bytes.

/// A name as people can read it: printable ASCII stays, all else becomes `\xNN`.
/// A long one is cut in the middle.
pub fn escaped(bytes: impl AsRef<[u8]>) -> String {
    let full: String = bytes.as_ref().iter().map(|byte| one(*byte)).collect();
    if full.len() <= 300 {
        return full;
    }
    let (head, tail) = (&full[..120], &full[full.len() - 120..]);
    format!("{head}...({} characters)...{tail}", full.len())
}

fn one(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_string(),
        0x20..=0x7e => (byte as char).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

/// Bytes of standard base64 (RFC 4648, section 4); `None` for what is not.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).ok()
}
