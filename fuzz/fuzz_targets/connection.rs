//! See [`drywire_fuzz::connection`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::connection(data));
