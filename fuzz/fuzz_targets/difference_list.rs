//! Bytes for `pmirror::fuzz::difference_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::difference_list(bytes);
});
