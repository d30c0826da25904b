//! Bytes for `pmirror::fuzz::items`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::items(bytes);
});
