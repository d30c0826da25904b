//! Bytes for `pmirror::fuzz::path_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::path_list(bytes);
});
