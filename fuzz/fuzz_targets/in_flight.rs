//! Bytes for `pmirror::fuzz::in_flight`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pmirror::fuzz::in_flight(bytes);
});
