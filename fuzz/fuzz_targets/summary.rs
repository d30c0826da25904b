//! Bytes for `pmirror::fuzz::summary`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::summary(bytes);
});
