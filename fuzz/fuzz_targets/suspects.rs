//! Bytes for `pmirror::fuzz::suspects`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::suspects(bytes);
});
