//! See [`drywire_fuzz::layers`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::layers(data));
