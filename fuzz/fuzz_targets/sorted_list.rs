//! Bytes for `pmirror::fuzz::sorted_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::sorted_list(bytes);
});
