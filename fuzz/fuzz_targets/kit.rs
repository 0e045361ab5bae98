//! See [`drywire_fuzz::kit`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::kit(data));
