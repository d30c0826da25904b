//! Bytes for `pmirror::fuzz::agreement`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::agreement(bytes);
});
