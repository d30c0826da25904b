//! Bytes for `pmirror::fuzz::settings`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::settings(bytes);
});
