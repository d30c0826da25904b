//! Bytes for `pmirror::fuzz::environment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::environment(bytes);
});
