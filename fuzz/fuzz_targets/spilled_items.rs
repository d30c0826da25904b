//! Bytes for `pmirror::fuzz::spilled_items`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::spilled_items(bytes);
});
