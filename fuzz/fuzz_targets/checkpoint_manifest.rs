//! Bytes for `pmirror::fuzz::checkpoint_manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::checkpoint_manifest(bytes);
});
