//! Bytes for `pmirror::fuzz::lock`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::lock(bytes);
});
