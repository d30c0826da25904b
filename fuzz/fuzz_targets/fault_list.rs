//! Bytes for `pmirror::fuzz::fault_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::fault_list(bytes);
});
