//! Bytes for `pmirror::fuzz::remark_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::remark_list(bytes);
});
