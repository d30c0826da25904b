//! Bytes for `pmirror::fuzz::option_values`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::option_values(bytes);
});
