//! Bytes for `pmirror::fuzz::lustre_layout`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::lustre_layout(bytes);
});
