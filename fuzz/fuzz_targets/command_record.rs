//! Bytes for `pmirror::fuzz::command_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::command_record(bytes);
});
