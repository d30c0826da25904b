//! Bytes for `pmirror::fuzz::trash_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::trash_record(bytes);
});
