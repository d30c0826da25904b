//! Bytes for `pmirror::fuzz::directory_part`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::directory_part(bytes);
});
