//! Bytes for `pmirror::fuzz::known_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::known_record(bytes);
});
