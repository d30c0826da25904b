//! Bytes for `pmirror::fuzz::link_notes`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::link_notes(bytes);
});
