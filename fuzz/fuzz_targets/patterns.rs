//! Bytes for `pmirror::fuzz::patterns`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::patterns(bytes);
});
